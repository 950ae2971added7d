//! Random modules for tests: [`garbage`] to try the serial forms and the verifier with anything, [`valid`] for programs that pass the
//! verifier and end soon, [`mutate`] to break them in small ways.
//!
//! What passes the verifier after [`mutate`] must run without corrupting memory, whatever it computes; it may then loop
//! for long, so runs need fuel.

use crate::inst::{Inst, Word};
use crate::module::*;
use crate::ops::{Constraint, Effects, MAX_OPERANDS, Op, OperandKind, Role};
use crate::types::*;
use crate::verifier::verify;

/// A small generator of random numbers, the same on all platforms (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }
    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    /// One of the items.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
    /// Numbers that tend to be small or extreme.
    pub fn number(&mut self) -> i64 {
        match self.below(4) {
            0 => self.below(4) as i64,
            1 => self.below(300) as i64 - 20,
            2 => self.pick(&[i64::MAX, i64::MIN, -1, 1 << 47, -(1 << 47) - 1, i64::from(i32::MAX)]),
            _ => self.bits() as i64,
        }
    }
    fn many<T>(&mut self, most: usize, mut item: impl FnMut(&mut Random) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| item(self)).collect()
    }
    fn text(&mut self) -> String {
        let alphabet =
            ['a', 'Z', '0', '"', '\\', '\n', '\t', '\r', ' ', ';', '\u{0}', 'é', '\u{2028}', '😀', '{'];
        self.many(6, |r| r.pick(&alphabet)).into_iter().collect()
    }
    fn id(&mut self) -> u32 {
        if self.one_in(30) { self.bits() as u32 } else { self.below(4) as u32 }
    }
    fn cell_type(&mut self) -> CellType {
        let id = if self.one_in(30) { self.bits() as u32 >> 1 } else { self.below(12) as u32 };
        CellType { id: TypeId(id), nullable: self.one_in(2) }
    }
    fn value_type(&mut self) -> ValueType {
        match self.below(4) {
            0 => ValueType::Int,
            1 => ValueType::Bool,
            2 => ValueType::Float,
            _ => ValueType::Cell(self.cell_type()),
        }
    }
    fn heap_type(&mut self) -> HeapType {
        match self.below(22) {
            0 => HeapType::Any,
            1 => HeapType::Results,
            2 => HeapType::Int,
            3 => HeapType::Float,
            4 => HeapType::Bool,
            5 => HeapType::Name,
            6 => HeapType::String,
            7 => HeapType::ListInt,
            8 => HeapType::ListFloat,
            9 => HeapType::ListBool,
            10 => HeapType::ListCell(self.cell_type()),
            11 | 12 => HeapType::Map {
                key: self.pick(&[
                    KeyPolicy::Int,
                    KeyPolicy::String,
                    KeyPolicy::Value,
                    KeyPolicy::Text,
                    KeyPolicy::Protocol,
                ]),
                order: self.pick(&[OrderPolicy::Insertion, OrderPolicy::SortedByText]),
                value: self.cell_type(),
            },
            13 => HeapType::Record(RecordId(self.id())),
            14 => HeapType::Union(UnionId(self.id())),
            15 => HeapType::Closure(SigId(self.id())),
            16 => HeapType::Function,
            17 => HeapType::RefInt,
            18 => HeapType::RefFloat,
            19 => HeapType::RefCell(self.cell_type()),
            20 => HeapType::Tuple(self.bits() as u16),
            _ => HeapType::Bytes(self.below(3) as u16),
        }
    }
    fn operand(&mut self, kind: OperandKind) -> i64 {
        let bits = match self.below(4) {
            0 => self.bits() as i64,
            1 => -(self.below(8) as i64),
            _ => self.below(16) as i64,
        };
        match (kind.units(), crate::inst::is_signed(kind)) {
            (1, true) => i64::from(bits as i16),
            (1, false) => i64::from(bits as u16),
            (_, true) => i64::from(bits as i32),
            (_, false) => i64::from(bits as u32),
        }
    }
    fn immediate(&mut self) -> Immediate {
        self.pick(Immediate::ALL)
    }
}

/// A module of random tables and random code, almost surely wrong.
pub fn garbage(seed: u64) -> Module {
    let r = &mut Random(seed);
    let mut types = TypeTable::default();
    for _ in 0..r.below(12) {
        types.intern(r.heap_type());
    }
    let mut protocol = ProtocolTable::default();
    if r.one_in(8) {
        protocol.0.resize(r.below(40), None);
    }
    for entry in &mut protocol.0 {
        if r.one_in(5) {
            let callee = Callee::Function(FuncId(r.id()));
            *entry = Some(if r.one_in(2) { callee } else { Callee::Host(HostId(r.id())) });
        }
    }
    let c_types = [CType::Void, CType::Int32, CType::Int64, CType::Double, CType::Pointer, CType::CString];
    Module {
        name: r.text(),
        types,
        records: r.many(3, |r| Record {
            name: r.text(),
            tag: r.below(3) as u16,
            fields: r.many(3, |r| Field { name: r.text(), ty: r.value_type() }),
        }),
        unions: r.many(2, |r| Union { name: r.text(), variants: r.many(3, |r| RecordId(r.id())) }),
        signatures: r.many(4, |r| Signature {
            params: r.many(4, Random::value_type),
            rest: r.one_in(6),
            result: (!r.one_in(3)).then(|| r.value_type()),
        }),
        hosts: r.many(2, |r| HostImport { name: r.text(), signature: SigId(r.id()) }),
        c_functions: r.many(2, |r| CImport {
            library: r.one_in(2).then(|| r.text()),
            symbol: r.text(),
            params: r.many(4, |r| r.pick(&c_types)),
            result: r.pick(&c_types),
        }),
        globals: r.many(3, |r| Global { name: r.text(), ty: r.value_type() }),
        strings: r.many(3, Random::text),
        names: r.many(3, |r| Name { text: r.text(), kind: r.bits() as u8 }),
        watches: r.many(2, |r| Watch { name: r.text() }),
        feedback_sites: r.id(),
        protocol,
        catchable: TrapSet(if r.one_in(2) { 0 } else { r.bits() as u32 }),
        sources: r.many(2, |r| Source { name: r.text(), line_starts: r.many(4, |r| r.id()) }),
        entry: r.one_in(2).then(|| FuncId(r.id())),
        functions: r.many(3, garbage_function),
    }
}

fn garbage_function(r: &mut Random) -> Function {
    let mut code = Vec::new();
    for _ in 0..r.below(30) {
        if r.one_in(20) {
            code.push(Word(r.bits()));
            continue;
        }
        let op = r.pick(Op::ALL);
        let mut operands = [0; MAX_OPERANDS];
        for (i, operand) in op.info().operands.iter().enumerate() {
            operands[i] = r.operand(operand.kind);
        }
        let (words, n) = Inst { op, operands }.encode();
        code.extend(&words[..n]);
        if r.one_in(20) {
            code.pop();
        }
    }
    let key = |r: &mut Random| match r.below(4) {
        0 => SwitchKey::Immediate(r.immediate()),
        1 => SwitchKey::Name(NameId(r.id())),
        2 => SwitchKey::String(StringId(r.id())),
        _ => SwitchKey::Int(r.number()),
    };
    let bank = |r: &mut Random| r.pick(&[Bank::Int, Bank::Float, Bank::Float, Bank::Int, Bank::Cell]);
    let mut spans = r.many(5, |r| (r.below(40) as u32, Span { source: r.id(), start: r.id(), end: r.id() }));
    if !r.one_in(4) {
        spans.sort_unstable();
    }
    Function {
        name: r.text(),
        signature: SigId(r.id()),
        environment: r.one_in(3).then(|| r.many(3, Random::cell_type)),
        arities: r.many(2, |r| FuncId(r.id())),
        cells: r.many(4, Random::cell_type),
        raws: r.many(4, bank),
        spilled_raws: r.many(1, bank),
        spilled_cells: r.many(1, Random::cell_type),
        code,
        constants: r.many(3, |r| r.number() as u64),
        cell_constants: r.many(3, |r| match r.below(3) {
            0 => CellConst::Int(r.number()),
            1 => CellConst::Float(f64::from_bits(r.bits() & !(1 << 62))),
            _ => CellConst::Immediate(r.immediate()),
        }),
        switches: r.many(2, |r| SwitchTable {
            cases: r.many(3, |r| (key(r), r.operand(OperandKind::ImmI32) as i32)),
            default: r.below(20) as i32,
        }),
        handlers: r.many(2, |r| Handler {
            start: r.below(30) as u32,
            end: r.below(40) as u32,
            target: r.id(),
            slot: r.bits() as u16,
        }),
        spans,
        window: r.id(),
    }
}

/// Breaks something small.
pub fn mutate(module: &mut Module, r: &mut Random) {
    if module.functions.is_empty() {
        return;
    }
    let n = r.below(module.functions.len());
    let records = module.records.len();
    let f = &mut module.functions[n];
    match r.below(12) {
        0 if !f.cells.is_empty() => {
            let i = r.below(f.cells.len());
            f.cells[i] = r.cell_type();
        }
        1 if !f.raws.is_empty() => {
            let i = r.below(f.raws.len());
            f.raws[i] = r.pick(&[Bank::Int, Bank::Float]);
        }
        2 if !f.handlers.is_empty() => {
            let i = r.below(f.handlers.len());
            let h = &mut f.handlers[i];
            let place = r.below(f.code.len() + 1) as u32;
            *r.pick_mut(&mut [&mut h.start, &mut h.end, &mut h.target]) = place;
        }
        3 if !f.switches.is_empty() => {
            let i = r.below(f.switches.len());
            f.switches[i].default = r.below(20) as i32;
        }
        4 => f.window = r.below(20) as u32,
        5 if records > 0 => {
            let record = &mut module.records[r.below(records)];
            if !record.fields.is_empty() {
                let i = r.below(record.fields.len());
                record.fields[i].ty = r.value_type();
            }
        }
        6 if !module.globals.is_empty() => {
            let i = r.below(module.globals.len());
            module.globals[i].ty = r.value_type();
        }
        7 if !module.signatures.is_empty() => {
            let i = r.below(module.signatures.len());
            let signature = &mut module.signatures[i];
            match r.below(2) {
                0 => signature.result = Some(r.value_type()),
                _ => {
                    signature.params.pop();
                }
            }
        }
        8 if !f.arities.is_empty() => {
            let i = r.below(f.arities.len());
            f.arities[i] = FuncId(r.id());
        }
        _ => mutate_code(f, r),
    }
}

impl Random {
    fn pick_mut<'a, T>(&mut self, items: &'a mut [&mut T]) -> &'a mut T {
        let n = self.below(items.len());
        &mut *items[n]
    }
}

fn mutate_code(f: &mut Function, r: &mut Random) {
    let places: Vec<usize> = crate::inst::instructions(&f.code).map(|(at, _)| at).collect();
    if places.is_empty() {
        return;
    }
    let at = r.pick(&places);
    let Ok(mut inst) = Inst::decode(&f.code[at..]) else { return };
    let n = inst.op.words();
    let replacement = match r.below(6) {
        // Another op of the same shape, so that operands still make some sense.
        0 => {
            let shape = |op: Op| -> Vec<(usize, Option<Bank>)> {
                let operands = op.info().operands.iter();
                operands.map(|o| (o.kind.units(), o.kind.register().map(|k| k.1))).collect()
            };
            let twins: Vec<Op> = Op::ALL.iter().copied().filter(|&op| shape(op) == shape(inst.op)).collect();
            inst.op = r.pick(&twins);
            inst
        }
        1 => Inst { op: Op::Nop, operands: [0; MAX_OPERANDS] },
        2 => {
            // An instruction from elsewhere.
            match Inst::decode(&f.code[r.pick(&places)..]) {
                Ok(other) if other.op.words() == n => other,
                Ok(_) | Err(_) => return,
            }
        }
        _ => {
            let operands = inst.op.info().operands;
            if operands.is_empty() {
                return;
            }
            let i = r.below(operands.len());
            let near = inst.operands[i] + r.pick(&[-2, -1, 1, 2]);
            inst.operands[i] = if r.one_in(3) { r.operand(operands[i].kind) } else { near };
            inst
        }
    };
    let (words, length) = replacement.encode();
    f.code[at..at + length.min(n)].copy_from_slice(&words[..length.min(n)]);
    for word in &mut f.code[at + length.min(n)..at + n] {
        *word = Word(Op::Nop as u64);
    }
}

/// A module that passes the verifier, calls only forward (but through hosts) and loops only a few times, so that running `entry` ends.
///
/// What it imports are host functions of any behaviour; those that call back may make it run for long. All registers are
/// written at the start of a function, so that any instruction of the right types can follow; which are right is asked of the
/// verifier, one instruction at a time.
pub fn valid(seed: u64) -> Module {
    let mut r = Random(seed);
    let mut m = tables(&mut r);
    let functions = 2 + r.below(3);
    // Stubs first, so that calls have signatures to look at.
    let trap = Inst { op: Op::Trap, operands: [TrapCode::Unreachable as i64, 0, 0, 0, 0, 0] };
    for i in 0..functions + CLOSURES {
        let closure = i >= functions;
        let signature = if i == 0 { SigId(0) } else { SigId(r.below(SIGNATURES) as u32) };
        let signature = if closure { SigId((i - functions + 1) as u32) } else { signature };
        let any_string = m.types.find(&HeapType::String).map(|id| CellType { id, nullable: false });
        m.functions.push(Function {
            name: format!("f{i}"),
            // The last ones are what `closure.new` makes closures of.
            signature,
            environment: closure.then(|| any_string.into_iter().chain([ANY]).collect()),
            ..Function::default()
        });
        let params = m.signatures[m.functions[i].signature.index()].params.clone();
        let environment = m.types.find(&HeapType::Closure(signature));
        let f = &mut m.functions[i];
        f.cells.extend(environment.filter(|_| closure).map(|id| CellType { id, nullable: false }));
        f.cells.extend(params.iter().filter_map(|p| match p {
            ValueType::Cell(c) => Some(*c),
            ValueType::Int | ValueType::Bool | ValueType::Float => None,
        }));
        push(&mut f.code, trap);
    }
    // One of the closures may answer for others with other numbers of arguments.
    let head = functions + r.below(CLOSURES);
    let answers = |m: &Module, i: usize| {
        let signature = &m.signatures[m.functions[i].signature.index()];
        (signature.rest, if signature.rest { 0 } else { signature.params.len() })
    };
    let mut seen = vec![answers(&m, head)];
    for i in (functions..functions + CLOSURES).filter(|&i| i != head) {
        let answer = answers(&m, i);
        let function = m.types.find(&HeapType::Function).filter(|_| !seen.contains(&answer) && r.one_in(2));
        if let Some(id) = function {
            seen.push(answer);
            m.functions[i].cells[0] = CellType { id, nullable: false };
            m.functions[head].arities.push(FuncId(i as u32));
        }
    }
    // The verifier is asked often, so what is done makes way for a stub again.
    let mut done = Vec::new();
    for i in (0..functions + CLOSURES).rev() {
        let stub = m.functions[i].clone();
        Generator::new(&mut m, i, &mut r).run();
        done.push(std::mem::replace(&mut m.functions[i], stub));
    }
    done.reverse();
    m.functions = done;
    m.entry = Some(FuncId(0));
    m
}

fn push(code: &mut Vec<Word>, inst: Inst) {
    let (words, n) = inst.encode();
    code.extend(&words[..n]);
}

/// How many functions have an environment: one for each signature behind the first.
const CLOSURES: usize = 4;

/// How many signatures the functions have.
const SIGNATURES: usize = 6;

fn tables(r: &mut Random) -> Module {
    let mut m = Module { name: "random".into(), ..Module::default() };
    let string = m.types.cell(HeapType::String);
    let maybe_string = m.types.nullable(HeapType::String);
    for ty in [
        HeapType::Results,
        HeapType::Int,
        HeapType::Float,
        HeapType::Bool,
        HeapType::Name,
        HeapType::ListInt,
        HeapType::ListFloat,
        HeapType::ListBool,
        HeapType::ListCell(ANY),
        HeapType::ListCell(string),
        HeapType::Map { key: KeyPolicy::Int, order: OrderPolicy::Insertion, value: ANY },
        HeapType::Map { key: KeyPolicy::String, order: OrderPolicy::SortedByText, value: string },
        HeapType::Map { key: KeyPolicy::Value, order: OrderPolicy::Insertion, value: ANY },
        HeapType::Record(RecordId(0)),
        HeapType::Record(RecordId(1)),
        HeapType::Record(RecordId(2)),
        HeapType::Union(UnionId(0)),
        HeapType::Closure(SigId(1)),
        HeapType::Closure(SigId(2)),
        HeapType::Closure(SigId(3)),
        HeapType::Closure(SigId(4)),
        HeapType::Function,
        HeapType::RefInt,
        HeapType::RefFloat,
        HeapType::RefCell(ANY),
        HeapType::RefCell(string),
        HeapType::Tuple(3),
    ] {
        m.types.intern(ty);
    }
    let field = |name: &str, ty| Field { name: name.into(), ty };
    let fields = vec![
        field("a", ValueType::Int),
        field("b", ValueType::Cell(maybe_string)),
        field("c", ValueType::Float),
        field("d", ValueType::Cell(ANY)),
    ];
    m.records.push(Record { name: "R".into(), tag: 0, fields });
    let fields = vec![field("x", ValueType::Cell(string)), field("y", ValueType::Bool)];
    m.records.push(Record { name: "S".into(), tag: 1, fields });
    m.records.push(Record { name: "E".into(), tag: 2, fields: vec![] });
    let variants = vec![RecordId(0), RecordId(1), RecordId(2)];
    m.unions.push(Union { name: "U".into(), variants });
    let int_list = m.types.cell(HeapType::ListInt);
    m.signatures.push(Signature { params: vec![], rest: false, result: None });
    for result in [ValueType::Cell(string), ValueType::Int, ValueType::Float, ValueType::Cell(ANY)] {
        let params = [ValueType::Int, ValueType::Cell(string), ValueType::Float, ValueType::Cell(int_list)];
        let params = r.many(3, |r| r.pick(&params));
        m.signatures.push(Signature { params, rest: false, result: Some(result) });
    }
    let results = ValueType::Cell(m.types.nullable(HeapType::Results));
    let any_list = ValueType::Cell(m.types.cell(HeapType::ListCell(ANY)));
    let params = vec![ValueType::Cell(ANY), any_list];
    m.signatures.push(Signature { params, rest: true, result: Some(results) });
    for i in 0..m.signatures.len() {
        m.hosts.push(HostImport { name: format!("host{i}"), signature: SigId(i as u32) });
    }
    for &entry in Protocol::ALL {
        let result = match entry.result() {
            ProtocolResult::Nothing => None,
            ProtocolResult::Bool => Some(ValueType::Bool),
            ProtocolResult::Int => Some(ValueType::Int),
            ProtocolResult::String => Some(ValueType::Cell(string)),
            ProtocolResult::Any | ProtocolResult::Results => Some(ValueType::Cell(ANY)),
        };
        let params = vec![ValueType::Cell(ANY); entry.arity()];
        let signature = SigId(m.signatures.len() as u32);
        m.signatures.push(Signature { params, rest: false, result });
        if r.one_in(2) {
            let host = HostId(m.hosts.len() as u32);
            m.hosts.push(HostImport { name: entry.text().into(), signature });
            m.protocol.0[entry as usize] = Some(Callee::Host(host));
        }
    }
    for ty in [ValueType::Int, ValueType::Float, ValueType::Cell(ANY), ValueType::Cell(string)] {
        m.globals.push(Global { name: "g".into(), ty });
    }
    m.strings = ["", "short", "a string that does not fit a cell", "é😀"].map(String::from).to_vec();
    m.names = vec![Name { text: "n".into(), kind: 1 }];
    m.watches = vec![Watch { name: "w".into() }];
    for &code in TrapCode::ALL {
        if !matches!(code, TrapCode::OutOfFuel | TrapCode::Exit) {
            m.catchable = m.catchable.with(code);
        }
    }
    m
}

/// Writes the code of one function.
struct Generator<'a> {
    m: &'a mut Module,
    index: usize,
    r: &'a mut Random,
    code: Vec<Word>,
    /// How many instructions may still come.
    fuel: usize,
    /// Where the code after the prologue begins.
    prologue: usize,
    ints: Vec<i64>,
    floats: Vec<i64>,
    cells: Vec<(i64, CellType)>,
    /// The string that `string.append` extends.
    extended: i64,
    /// Counters and limits of loops, which nothing else writes.
    counters: Vec<i64>,
    size: i64,
    /// Wide slots of an int, a float and a cell of type `any`.
    wide: Option<[i64; 3]>,
}

const WINDOW: u32 = 12;

impl<'a> Generator<'a> {
    fn new(m: &'a mut Module, index: usize, r: &'a mut Random) -> Generator<'a> {
        let types: Vec<(TypeId, HeapType)> = m.types.iter().map(|(id, t)| (id, t.clone())).collect();
        let f = &mut m.functions[index];
        let params = f.cells.len();
        for (id, ty) in &types {
            let nullable = matches!(ty, HeapType::Any | HeapType::Results);
            f.cells.push(CellType { id: *id, nullable });
            if *ty == HeapType::String || *ty == HeapType::Any {
                f.cells.push(CellType { id: *id, nullable: true });
            }
        }
        let string = types.iter().find(|(_, t)| *t == HeapType::String).map_or(ANY.id, |(id, _)| *id);
        f.cells.push(CellType { id: string, nullable: false });
        f.raws = vec![Bank::Int; 7];
        f.raws.extend([Bank::Float; 3]);
        f.window = WINDOW;
        f.constants = vec![r.bits(), 2.5f64.to_bits()];
        f.cell_constants = vec![
            CellConst::Immediate(Immediate::Nil),
            CellConst::Immediate(Immediate::None),
            CellConst::Immediate(Immediate::True),
            CellConst::Int(7),
            CellConst::Float(0.5),
            CellConst::Immediate(Immediate::Hole),
        ];
        if r.one_in(3) {
            f.spilled_raws = vec![Bank::Int, Bank::Float];
            f.spilled_cells = vec![ANY];
        }
        let f = &m.functions[index];
        let layout = crate::FrameLayout::of(f, &m.signatures[f.signature.index()]);
        let first_raw = i64::from(layout.first_raw());
        let cells = f.cells.iter().enumerate().skip(params);
        let mut cells: Vec<(i64, CellType)> =
            cells.map(|(i, &t)| (i64::from(layout.first_cell()) + i as i64, t)).collect();
        let extended = cells.pop().map_or(0, |(slot, _)| slot);
        Generator {
            index,
            r,
            code: Vec::new(),
            fuel: 60,
            prologue: 0,
            ints: (first_raw..first_raw + 3).collect(),
            floats: (first_raw + 7..first_raw + 10).collect(),
            cells,
            extended,
            counters: (first_raw + 3..first_raw + 7).collect(),
            size: i64::from(layout.size()),
            wide: (layout.spilled_cells > 0).then(|| {
                let first = i64::from(layout.first_spilled_raw());
                [first, first + 1, first + 2]
            }),
            m,
        }
    }

    fn op(&mut self, op: Op, operands: &[i64]) {
        let mut all = [0; MAX_OPERANDS];
        all[..operands.len()].copy_from_slice(operands);
        push(&mut self.code, Inst { op, operands: all });
    }

    fn run(mut self) {
        self.start();
        self.prologue = self.code.len();
        self.block(3);
        self.finish();
        let code = std::mem::take(&mut self.code);
        self.m.functions[self.index].code = code;
    }

    /// Writes all registers. Cells of type `any` stand before those that are made of them.
    fn start(&mut self) {
        let first = self.cells[0].0;
        self.op(Op::FrameClear, &[first, self.cells.len() as i64 + 1]);
        self.op(Op::StringConst, &[self.extended, 0]);
        for slot in self.ints.clone().into_iter().chain(self.counters.clone()) {
            let number = if self.r.one_in(3) { self.r.number() } else { self.r.below(3) as i64 };
            let value = i64::from(number as i32);
            self.op(Op::IntConst, &[slot, value]);
        }
        for slot in self.floats.clone() {
            self.op(Op::FloatConst, &[slot, 1]);
        }
        let (int, float, w) = (self.ints[0], self.floats[0], self.size);
        if let Some([a, b, _]) = self.wide {
            self.op(Op::IntLocalSet, &[a, int]);
            self.op(Op::FloatLocalSet, &[b, float]);
        }
        let types: Vec<HeapType> = self.cells.iter().map(|(_, t)| self.m.types[t.id].clone()).collect();
        let of = |cells: &[(i64, CellType)], wanted: &HeapType| {
            cells.iter().zip(&types).find(|(_, t)| *t == wanted).map_or(0, |(c, _)| c.0)
        };
        let string = of(&self.cells, &HeapType::String);
        let closures = self.m.functions.len() as i64 - CLOSURES as i64;
        for ((slot, ty), heap) in self.cells.clone().into_iter().zip(&types) {
            let id = i64::from(ty.id.0) << 1;
            match heap {
                HeapType::Any => self.op(Op::CellConst, &[slot, 0]),
                HeapType::Results => self.op(Op::CellConst, &[slot, 1]),
                HeapType::Int => self.op(Op::BoxInt, &[slot, int]),
                HeapType::Float => self.op(Op::BoxFloat, &[slot, float]),
                HeapType::Bool => self.op(Op::CellConst, &[slot, 2]),
                HeapType::Name => self.op(Op::NameConst, &[slot, 0]),
                HeapType::String => {
                    let text = self.r.below(4) as i64;
                    self.op(Op::StringConst, &[slot, text]);
                }
                HeapType::ListInt => self.op(Op::ListIntNew, &[slot, 0]),
                HeapType::ListFloat => self.op(Op::ListFloatNew, &[slot, 1]),
                HeapType::ListBool => self.op(Op::ListBoolNew, &[slot, 2]),
                HeapType::ListCell(_) => self.op(Op::ListCellNew, &[slot, 1, id]),
                HeapType::Map { .. } => self.op(Op::MapNew, &[slot, 1, id]),
                HeapType::Record(RecordId(0)) => {
                    self.op(Op::IntMove, &[w, int]);
                    self.op(Op::FloatMove, &[w + 1, float]);
                    self.op(Op::CellConst, &[w + 4, 0]);
                    self.op(Op::CellConst, &[w + 5, 3]);
                    self.op(Op::RecordNew, &[slot, 0]);
                }
                HeapType::Record(RecordId(2)) => self.op(Op::RecordConst, &[slot, 2]),
                HeapType::Record(_) => {
                    self.op(Op::CellMove, &[w + 3, string]);
                    self.op(Op::IntConst, &[w, 1]);
                    self.op(Op::RecordNew, &[slot, 1]);
                }
                HeapType::Union(_) => {
                    let variant = RecordId(1 + self.r.below(2) as u32);
                    let record = of(&self.cells, &HeapType::Record(variant));
                    self.op(Op::CellMove, &[slot, record]);
                }
                HeapType::Closure(_) | HeapType::Function => {
                    let closure = match heap {
                        HeapType::Closure(s) => closures + i64::from(s.0) - 1,
                        _ => closures,
                    };
                    self.op(Op::CellMove, &[w + 2, string]);
                    self.op(Op::CellMove, &[w + 3, string]);
                    self.op(Op::ClosureNew, &[slot, closure]);
                }
                HeapType::RefInt => self.op(Op::RefIntNew, &[slot, int]),
                HeapType::RefFloat => self.op(Op::RefFloatNew, &[slot, float]),
                HeapType::RefCell(_) => self.op(Op::RefCellNew, &[slot, string, id]),
                HeapType::Tuple(kind) => {
                    self.op(Op::CellMove, &[w + 2, string]);
                    self.op(Op::TupleNew, &[slot, 1, i64::from(*kind)]);
                }
                // Host functions make those.
                HeapType::Bytes(_) => {}
            }
        }
        if let Some([_, _, wide]) = self.wide {
            let any = of(&self.cells, &HeapType::Any);
            self.op(Op::CellLocalSet, &[wide, any]);
        }
    }

    fn block(&mut self, depth: usize) {
        for _ in 0..2 + self.r.below(8) {
            if self.fuel == 0 {
                return;
            }
            self.fuel -= 1;
            let start = self.code.len();
            match self.r.below(12) {
                0 if depth > 0 => self.conditional(depth),
                1 if depth > 0 && self.counters.len() >= 2 => self.counted_loop(depth),
                2 if depth > 1 => self.guarded(depth),
                3 if self.r.one_in(2) => self.call_host(),
                3 => self.call(),
                4 if depth > 0 && self.r.one_in(3) => self.multiway(depth),
                5 if self.r.one_in(4) => self.raise(),
                6 => self.call_closure(),
                _ => self.instruction(),
            }
            let end = self.code.len();
            if start < end && !self.r.one_in(4) {
                // Most traps are caught, so that more than the beginning of a function runs.
                let any = self.cells.iter().find(|c| c.1 == ANY).map_or(0, |c| c.0);
                let (start, end) = (start as u32, end as u32);
                let handler = Handler { start, end, target: end, slot: any as u16 };
                self.m.functions[self.index].handlers.push(handler);
                self.op(Op::Nop, &[]);
            }
        }
    }

    /// A forward branch around a block.
    fn conditional(&mut self, depth: usize) {
        let branches: Vec<Op> = Op::ALL
            .iter()
            .copied()
            .filter(|op| op.effects().has(Effects::BRANCH) && !op.effects().has(Effects::END))
            .filter(|op| !op.effects().has(Effects::LOOP))
            .collect();
        let op = self.r.pick(&branches);
        let at = self.code.len();
        let Some(inst) = self.random(op) else { return };
        push(&mut self.code, inst);
        self.block(depth - 1);
        self.op(Op::Nop, &[]);
        self.retarget(at, self.code.len() as i64 - 1 - at as i64);
    }

    fn retarget(&mut self, at: usize, distance: i64) {
        let Ok(mut inst) = Inst::decode(&self.code[at..]) else { return };
        for (i, operand) in inst.op.info().operands.iter().enumerate() {
            if matches!(operand.kind, OperandKind::Label | OperandKind::Label16) {
                inst.operands[i] = distance;
            }
        }
        let (words, n) = inst.encode();
        self.code[at..at + n].copy_from_slice(&words[..n]);
    }

    fn counted_loop(&mut self, depth: usize) {
        let (Some(counter), Some(limit)) = (self.counters.pop(), self.counters.pop()) else { return };
        self.op(Op::IntConst, &[counter, 0]);
        let turns = 1 + self.r.below(3) as i64;
        self.op(Op::IntConst, &[limit, turns]);
        let head = self.code.len() as i64;
        self.op(Op::LoopHeader, &[]);
        self.block(depth - 1);
        self.turn(counter, limit, turns, head);
        self.counters.extend([limit, counter]);
    }

    /// The end of a loop that runs `turns` times.
    fn turn(&mut self, counter: i64, limit: i64, turns: i64, head: i64) {
        let kind = self.r.below(21);
        if kind > 0 {
            self.op(Op::IntAddImm, &[counter, counter, 1]);
        }
        let flag = self.ints[0];
        let (x, y) = (self.floats[0], self.floats[1]);
        match kind {
            5 => self.op(Op::IntLt, &[flag, counter, limit]),
            6 => self.op(Op::IntGeImm, &[flag, counter, turns]),
            7 => self.op(Op::IntGeImmBranch, &[counter, turns, 2]),
            12 | 13 => self.op(Op::IntAddImm, &[limit, limit, -1]),
            15.. => {
                self.op(Op::FloatFromInt, &[x, counter]);
                self.op(Op::FloatFromInt, &[y, limit]);
            }
            _ => {}
        }
        let back = head - self.code.len() as i64;
        match kind {
            0 => self.op(Op::IntForLoop, &[counter, limit, back]),
            1 => self.op(Op::IntLtLoop, &[counter, limit, back]),
            2 => self.op(Op::IntNeLoop, &[counter, limit, back]),
            3 => self.op(Op::IntLtImmLoop, &[counter, turns, back]),
            4 | 14 => self.op(Op::IntLeImmLoop, &[counter, turns - 1, back]),
            5 => self.op(Op::IfLoop, &[flag, back]),
            6 => self.op(Op::UnlessLoop, &[flag, back]),
            8 => self.op(Op::IntEqLoop, &[counter, limit, back]),
            9 => self.op(Op::IntLeLoop, &[counter, limit, back]),
            10 => self.op(Op::IntEqImmLoop, &[counter, turns, back]),
            11 => self.op(Op::IntNeImmLoop, &[counter, turns, back]),
            12 => self.op(Op::IntGtImmLoop, &[limit, 0, back]),
            13 => self.op(Op::IntGeImmLoop, &[limit, 1, back]),
            15 => self.op(Op::FloatEqLoop, &[x, y, back]),
            16 => self.op(Op::FloatNeLoop, &[x, y, back]),
            17 => self.op(Op::FloatLtLoop, &[x, y, back]),
            18 => self.op(Op::FloatLeLoop, &[x, y, back]),
            19 => self.op(Op::FloatNotLtLoop, &[y, x, back]),
            20 => self.op(Op::FloatNotLeLoop, &[y, x, back]),
            _ => {
                self.op(Op::JumpLoop, &[back]);
                self.op(Op::Nop, &[]);
            }
        }
    }

    /// A multiway branch into a few blocks that all continue behind the last.
    fn multiway(&mut self, depth: usize) {
        let op = self.r.pick(&[Op::IntSwitch, Op::CellSwitch, Op::StringSwitch]);
        let (subject, keys) = match op {
            Op::IntSwitch => {
                (self.r.pick(&self.ints), vec![SwitchKey::Int(0), SwitchKey::Int(self.r.number() | 1)])
            }
            Op::CellSwitch => {
                let keys =
                    [SwitchKey::Immediate(Immediate::Nil), SwitchKey::Int(7), SwitchKey::Name(NameId(0))];
                (self.of_type(&HeapType::Any), keys.to_vec())
            }
            _ => (
                self.of_type(&HeapType::String),
                vec![SwitchKey::String(StringId(0)), SwitchKey::String(StringId(3))],
            ),
        };
        let table = self.m.functions[self.index].switches.len();
        self.m.functions[self.index].switches.push(SwitchTable::default());
        let at = self.code.len();
        self.op(op, &[subject, table as i64]);
        let mut cases = Vec::new();
        let mut jumps = Vec::new();
        for key in keys {
            cases.push((key, (self.code.len() - at) as i32));
            self.block(depth - 1);
            jumps.push(self.code.len());
            self.op(Op::Jump, &[0]);
        }
        let default = (self.code.len() - at) as i32;
        self.op(Op::Nop, &[]);
        for jump in jumps {
            self.retarget(jump, (at + default as usize - jump) as i64);
        }
        self.m.functions[self.index].switches[table] = SwitchTable { cases, default };
    }

    /// An exception, or a trap, that is raised on one of two ways.
    fn raise(&mut self) {
        let flag = self.r.pick(&self.ints);
        self.op(Op::UnlessBranch, &[flag, 2]);
        if self.r.one_in(2) {
            let any = self.of_type(&HeapType::Any);
            self.op(Op::Throw, &[any]);
        } else {
            let code = self.r.pick(&[TrapCode::IndexOutOfRange, TrapCode::Panic]);
            self.op(Op::Trap, &[code as i64]);
        }
        self.op(Op::Nop, &[]);
    }

    /// A register of a heap type, not nullable where there is a choice.
    fn of_type(&self, wanted: &HeapType) -> i64 {
        let found = self.cells.iter().find(|c| {
            self.m.types[c.1.id] == *wanted
                && c.1.nullable == matches!(wanted, HeapType::Any | HeapType::Results)
        });
        found.map_or(0, |c| c.0)
    }

    /// A block whose traps continue behind it.
    fn guarded(&mut self, depth: usize) {
        let start = self.code.len() as u32;
        self.op(Op::Nop, &[]);
        self.block(depth - 1);
        let end = self.code.len() as u32;
        self.op(Op::Nop, &[]);
        let any = self.cells.iter().find(|c| c.1 == ANY).map_or(0, |c| c.0);
        let handler = Handler { start, end, target: end, slot: any as u16 };
        self.m.functions[self.index].handlers.push(handler);
    }

    /// A call of a later function, its arguments moved into the window first.
    fn call(&mut self) {
        let later = self.index + 1..self.m.functions.len() - CLOSURES;
        if later.is_empty() {
            return;
        }
        let callee = later.start + self.r.below(later.len());
        let signature = self.m.signatures[self.m.functions[callee].signature.index()].clone();
        self.arguments(&signature.params, false);
        let first = signature.params.iter().find(|p| !p.is_cell());
        let ints = matches!(first, Some(ValueType::Int | ValueType::Bool))
            && matches!(signature.result, Some(ValueType::Int | ValueType::Bool));
        if ints && self.r.one_in(2) {
            let (a, to) = (self.r.pick(&self.ints), self.r.pick(&self.ints));
            let value = self.r.below(5) as i64 - 2;
            self.op(Op::CallIntAddImm, &[a, callee as i64, 0, to, value]);
            return;
        }
        let ops = [Op::CallVoid, Op::CallInt, Op::CallFloat, Op::CallCell];
        self.leave(ops, signature.result, callee as i64);
    }

    /// A call of a host function.
    fn call_host(&mut self) {
        let host = self.r.below(SIGNATURES);
        let signature = self.m.signatures[self.m.hosts[host].signature.index()].clone();
        self.arguments(&signature.params, false);
        let ops = [Op::CallHostVoid, Op::CallHostInt, Op::CallHostFloat, Op::CallHostCell];
        self.leave(ops, signature.result, host as i64);
    }

    /// The call itself, with one of the ops for no result, an int, a float and a cell.
    fn leave(&mut self, ops: [Op; 4], result: Option<ValueType>, callee: i64) {
        match result.filter(|_| !self.r.one_in(8)) {
            None => self.op(ops[0], &[callee]),
            Some(ValueType::Int | ValueType::Bool) => {
                let to = self.r.pick(&self.ints);
                self.op(ops[1], &[to, callee]);
            }
            Some(ValueType::Float) => {
                let to = self.r.pick(&self.floats);
                self.op(ops[2], &[to, callee]);
            }
            Some(ValueType::Cell(ty)) => {
                let to = self.cells.iter().find(|c| c.1 == ty).map_or(0, |c| c.0);
                self.op(ops[3], &[to, callee]);
            }
        }
    }

    /// Arguments of a dynamic call; gives how many.
    fn dynamic_arguments(&mut self, callee: SigId) -> i64 {
        let params = self.m.signatures[callee.index()].params.clone();
        let argc = if self.r.one_in(4) { self.r.below(3) } else { params.len() };
        let (int, from) = (self.of_type(&HeapType::Int), self.r.pick(&self.ints));
        self.op(Op::BoxInt, &[int, from]);
        for k in 0..argc {
            let to = self.size + 2 + k as i64;
            match params.get(k) {
                Some(ValueType::Int | ValueType::Bool) => self.op(Op::CellMove, &[to, int]),
                Some(ValueType::Float) => self.op(Op::CellMove, &[to, self.of_type(&HeapType::Float)]),
                Some(ValueType::Cell(ty)) => {
                    let from = self.cells.iter().find(|c| c.1 == *ty).map_or(0, |c| c.0);
                    self.op(Op::CellMove, &[to, from]);
                }
                None => self.op(Op::CellMove, &[to, self.of_type(&HeapType::String)]),
            }
        }
        argc as i64
    }

    /// A closure that a function of this index may call, if there is one.
    fn callable(&mut self) -> Option<SigId> {
        let first = self.m.functions.len() - CLOSURES;
        let later = first.max(self.index + 1)..self.m.functions.len();
        if later.is_empty() {
            return None;
        }
        Some(SigId((later.start + self.r.below(later.len()) - first + 1) as u32))
    }

    /// A call of a later closure, by its type or dynamically.
    fn call_closure(&mut self) {
        let Some(callee) = self.callable() else { return };
        let closure = self.of_type(&HeapType::Closure(callee));
        if self.r.one_in(2) {
            let argc = self.dynamic_arguments(callee);
            let results = self.of_type(&HeapType::Results);
            let policy = self.immediate(OperandKind::Policy);
            let site = self.immediate(OperandKind::Feedback);
            if argc > 0 && self.r.one_in(3) {
                let which = self.r.below(3);
                let list =
                    self.of_type(&[HeapType::ListInt, HeapType::ListBool, HeapType::ListCell(ANY)][which]);
                self.op(Op::CellMove, &[self.size + 1 + argc, list]);
                self.op(Op::CellCallSpread, &[results, closure, argc, policy, site]);
            } else {
                self.op(Op::CellCall, &[results, closure, argc, policy, site]);
            }
            return;
        }
        let signature = self.m.signatures[callee.index()].clone();
        self.arguments(&signature.params, true);
        let ops = [Op::CallClosureVoid, Op::CallClosureInt, Op::CallClosureFloat, Op::CallClosureCell];
        self.leave(ops, signature.result, closure);
    }

    /// Moves registers of the types into the window.
    fn arguments(&mut self, params: &[ValueType], environment: bool) {
        for (ty, slot) in params.iter().zip(crate::frame::window_slots(params, environment)) {
            let to = self.size + i64::from(slot);
            match ty {
                ValueType::Int | ValueType::Bool => {
                    let from = self.r.pick(&self.ints);
                    self.op(Op::IntMove, &[to, from]);
                }
                ValueType::Float => {
                    let from = self.r.pick(&self.floats);
                    self.op(Op::FloatMove, &[to, from]);
                }
                ValueType::Cell(ty) => {
                    let from = self.cells.iter().find(|c| c.1 == *ty).map_or(0, |c| c.0);
                    self.op(Op::CellMove, &[to, from]);
                }
            }
        }
    }

    /// Any instruction that neither jumps nor leaves, if a few attempts find one that fits.
    fn instruction(&mut self) {
        for _ in 0..6 {
            let op = self.r.pick(Op::ALL);
            let effects = op.effects();
            let control = [Effects::BRANCH, Effects::END, Effects::LOOP, Effects::RETURN];
            // Dynamic calls would leave the order of functions.
            if control.iter().any(|e| effects.has(*e))
                || matches!(op, Op::CellCall | Op::CellCallSpread | Op::FrameClear)
            {
                continue;
            }
            if let Some(inst) = self.random(op) {
                push(&mut self.code, inst);
                return;
            }
        }
    }

    /// The op with operands of the right kinds, if the verifier takes it.
    fn random(&mut self, op: Op) -> Option<Inst> {
        let mut operands = [0; MAX_OPERANDS];
        for (i, operand) in op.info().operands.iter().enumerate() {
            operands[i] = match operand.kind.register() {
                Some((Role::Update, _, _)) => return None,
                Some((_, Bank::Int, _)) => self.r.pick(&self.ints),
                Some((_, Bank::Float, _)) => self.r.pick(&self.floats),
                Some((_, Bank::Cell, constraint)) => self.cell(constraint)?,
                None => self.immediate(operand.kind),
            };
        }
        match op {
            Op::StringAppend => operands[..2].fill(self.extended),
            Op::StringShare => operands[1] = self.extended,
            _ => {}
        }
        let inst = Inst { op, operands };
        self.fits(inst).then_some(inst)
    }

    fn cell(&mut self, constraint: Constraint) -> Option<i64> {
        let types = &self.m.types;
        let fitting: Vec<i64> = self
            .cells
            .iter()
            .filter(|(_, t)| {
                let list = [HeapType::ListInt, HeapType::ListFloat, HeapType::ListBool];
                match (constraint, &types[t.id]) {
                    (Constraint::String, heap) => *heap == HeapType::String && !t.nullable,
                    (Constraint::List, heap) => list.contains(heap) || matches!(heap, HeapType::ListCell(_)),
                    (Constraint::ListInt, heap) => *heap == HeapType::ListInt,
                    (Constraint::ListFloat, heap) => *heap == HeapType::ListFloat,
                    (Constraint::ListBool, heap) => *heap == HeapType::ListBool,
                    (Constraint::ListCell, heap) => matches!(heap, HeapType::ListCell(_)),
                    (Constraint::Map, heap) => matches!(heap, HeapType::Map { .. }),
                    (Constraint::MapInt, heap) => matches!(heap, HeapType::Map { key: KeyPolicy::Int, .. }),
                    (Constraint::MapString, heap) => {
                        matches!(heap, HeapType::Map { key: KeyPolicy::String, .. })
                    }
                    (Constraint::MapCell, heap) => {
                        matches!(heap, HeapType::Map { key: KeyPolicy::Value, .. })
                    }
                    (Constraint::Record | Constraint::Union, heap) => matches!(heap, HeapType::Record(_)),
                    (Constraint::RefInt, heap) => *heap == HeapType::RefInt,
                    (Constraint::RefFloat, heap) => *heap == HeapType::RefFloat,
                    (Constraint::RefCell, heap) => matches!(heap, HeapType::RefCell(_)),
                    (Constraint::Tuple, heap) => matches!(heap, HeapType::Tuple(_)),
                    // The verifier will say.
                    (_, _) => true,
                }
            })
            .map(|c| c.0)
            .collect();
        (!fitting.is_empty()).then(|| self.r.pick(&fitting))
    }

    fn immediate(&mut self, kind: OperandKind) -> i64 {
        match kind {
            OperandKind::Policy => self.r.bits() as i64 & i64::from(NumberPolicy::KNOWN),
            OperandKind::Mask => self.r.bits() as i64 & i64::from(TruthMask::KNOWN),
            OperandKind::Type => {
                let ty = self.r.pick(&self.cells).1;
                i64::from(ty.id.0) << 1 | i64::from(ty.nullable)
            }
            OperandKind::ImmI16 | OperandKind::ImmI32 => i64::from(self.r.number() as i16),
            OperandKind::ImmU16 | OperandKind::ImmU32 => {
                let high = self.r.pick(&[2, 20]);
                self.r.below(high) as i64
            }
            OperandKind::Slot | OperandKind::SlotDef => {
                if let Some(wide) = self.wide.filter(|_| self.r.one_in(2)) {
                    return self.r.pick(&wide);
                }
                let raws = [self.r.pick(&self.ints), self.r.pick(&self.floats), self.r.pick(&self.cells).0];
                self.r.pick(&raws)
            }
            OperandKind::Feedback => {
                self.m.feedback_sites += 1;
                i64::from(self.m.feedback_sites) - 1
            }
            // Behind the branch, for the trial; the real target comes later.
            OperandKind::Label | OperandKind::Label16 => 2,
            _ => self.r.below(4) as i64,
        }
    }

    /// Whether the instruction passes behind the prologue.
    fn fits(&mut self, inst: Inst) -> bool {
        let f = &mut self.m.functions[self.index];
        let mut code = self.code[..self.prologue].to_vec();
        push(&mut code, inst);
        if inst.op.words() == 1 {
            push(&mut code, Inst { op: Op::Nop, operands: [0; MAX_OPERANDS] });
        }
        push(&mut code, Inst { op: Op::Trap, operands: [0; MAX_OPERANDS] });
        let old = std::mem::replace(&mut f.code, code);
        let handlers = std::mem::take(&mut f.handlers);
        let fits = verify(self.m).is_ok();
        let f = &mut self.m.functions[self.index];
        f.code = old;
        f.handlers = handlers;
        fits
    }

    fn finish(&mut self) {
        let signature = self.m.functions[self.index].signature;
        let result = self.m.signatures[signature.index()].result;
        // A later function with that result can return in place of this one.
        let twin = (self.index + 1..self.m.functions.len() - CLOSURES).find(|&i| {
            let callee = self.m.functions[i].signature;
            self.m.signatures[callee.index()].result == result
        });
        if let Some(callee) = twin.filter(|_| self.r.one_in(2)) {
            let params = self.m.signatures[self.m.functions[callee].signature.index()].params.clone();
            self.arguments(&params, false);
            self.op(Op::TailCall, &[callee as i64]);
            return;
        }
        if let Some(callee) = self.callable().filter(|_| self.r.one_in(2)) {
            let closure = self.of_type(&HeapType::Closure(callee));
            let signature = self.m.signatures[callee.index()].clone();
            if signature.result == result {
                self.arguments(&signature.params, true);
                self.op(Op::TailClosure, &[closure]);
                return;
            }
            let results = self.of_type(&HeapType::Results);
            let wanted = self.cells.iter().find(|c| c.0 == results).map(|c| ValueType::Cell(c.1));
            if result.is_some() && result == wanted {
                let argc = self.dynamic_arguments(callee);
                let policy = self.immediate(OperandKind::Policy);
                let site = self.immediate(OperandKind::Feedback);
                if argc > 0 && self.r.one_in(2) {
                    let list = self.of_type(&HeapType::ListCell(ANY));
                    self.op(Op::CellMove, &[self.size + 1 + argc, list]);
                    self.op(Op::TailCellSpread, &[closure, argc, policy, site]);
                } else {
                    self.op(Op::TailCell, &[closure, argc, policy, site]);
                }
                return;
            }
        }
        match self.m.signatures[signature.index()].result {
            None => self.op(Op::ReturnVoid, &[]),
            Some(ValueType::Int | ValueType::Bool) => {
                let a = self.r.pick(&self.ints);
                if self.r.one_in(3) {
                    let b = self.r.pick(&self.ints);
                    self.op(Op::ReturnIntAddChecked, &[a, b]);
                } else {
                    self.op(Op::ReturnInt, &[a]);
                }
            }
            Some(ValueType::Float) => {
                let a = self.r.pick(&self.floats);
                self.op(Op::ReturnFloat, &[a]);
            }
            Some(ValueType::Cell(ty)) => {
                let a = self.cells.iter().find(|c| c.1 == ty).map_or(0, |c| c.0);
                self.op(Op::ReturnCell, &[a]);
            }
        }
    }
}
