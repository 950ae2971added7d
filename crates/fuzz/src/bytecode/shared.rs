//! What the programs of a module share: types, globals, and functions to call.

use upshift::bytecode::ValueType::{Cell, Float, Int};
use upshift::bytecode::builder::ModuleBuilder;
use upshift::bytecode::{
    ANY, Callee, CellType, Field, FuncId, GlobalId, HeapType, KeyPolicy, NameId, OrderPolicy, Protocol,
    RecordId, Source, Span, TrapCode, TrapSet, ValueType,
};

use super::function;

/// The type of all cells.
pub const ANY_T: ValueType = Cell(ANY);

/// What all functions of a module share.
pub struct Shared {
    pub ints: CellType,
    pub floats: CellType,
    pub bools: CellType,
    pub cells: CellType,
    pub map: CellType,
    pub strings: CellType,
    pub string: CellType,
    pub results: CellType,
    pub closure: CellType,
    pub record: RecordId,
    pub record_type: CellType,
    /// The names of the record's fields.
    pub names: [NameId; 3],
    pub ref_int: CellType,
    pub ref_float: CellType,
    pub global_int: GlobalId,
    pub global_float: GlobalId,
    pub global_cell: GlobalId,
    pub mixed: FuncId,
    pub float: FuncId,
    pub guarded: FuncId,
    pub next: FuncId,
    pub void: FuncId,
    pub looping: FuncId,
    pub push: FuncId,
    pub captured: FuncId,
    /// Closures whose parameters and results are cells: two of one parameter, one of two.
    pub boxed: [FuncId; 3],
    pub boxed_types: [CellType; 3],
    pub source: u32,
}

impl Shared {
    pub fn new(m: &mut ModuleBuilder) -> Shared {
        let types = &mut m.module.types;
        let ints = types.cell(HeapType::ListInt);
        let floats = types.cell(HeapType::ListFloat);
        let bools = types.cell(HeapType::ListBool);
        let cells = types.cell(HeapType::ListCell(ANY));
        let map =
            types.cell(HeapType::Map { key: KeyPolicy::Int, order: OrderPolicy::Insertion, value: ANY });
        let string = types.cell(HeapType::String);
        let results = types.cell(HeapType::Results);
        let strings =
            types.cell(HeapType::Map { key: KeyPolicy::String, order: OrderPolicy::Insertion, value: ANY });
        let ref_int = types.cell(HeapType::RefInt);
        let ref_float = types.cell(HeapType::RefFloat);
        let field = |name: &str, ty| Field { name: name.into(), ty };
        let record = m.record("r", 7, vec![field("i", Int), field("x", Float), field("c", ANY_T)]);
        let names = ["i", "x", "c"].map(|name| m.name(name, 0));
        let record_type = m.module.types.cell(HeapType::Record(record));
        let global_int = m.global("gi", Int);
        let global_float = m.global("gf", Float);
        let global_cell = m.global("gc", ANY_T);
        let source = m.source(Source::new("p", &"x\n".repeat(2000)));

        // Handlers catch what the programs trap with; the value is the code.
        m.module.catchable = TrapSet::default()
            .with(TrapCode::DivisionByZero)
            .with(TrapCode::IntegerOverflow)
            .with(TrapCode::IndexOutOfRange)
            .with(TrapCode::TypeMismatch);
        let value = function(m, "trap_value", &[ANY_T, ANY_T], Some(ANY_T), |_, f| {
            let code = f.param(0);
            f.return_cell(code);
        });
        m.module.protocol.set(Protocol::TrapValue, Callee::Function(value));
        // What dynamic ops leave: numbers of two kinds, overflow, division by zero.
        for entry in [Protocol::Add, Protocol::Sub, Protocol::Mul, Protocol::Div, Protocol::Rem] {
            let name = format!("protocol{}", entry as usize);
            let callee = function(m, &name, &[ANY_T, ANY_T], Some(ANY_T), |_, f| {
                let (a, n) = (f.param(0), f.int());
                f.global_int_get(n, global_int);
                f.int_add_imm(n, n, 1 + entry as i16);
                f.global_int_set(n, global_int);
                f.return_cell(a);
            });
            m.module.protocol.set(entry, Callee::Function(callee));
        }
        for entry in [Protocol::Less, Protocol::LessEqual, Protocol::Equal] {
            let name = format!("protocol{}", entry as usize);
            let callee = function(m, &name, &[ANY_T, ANY_T], Some(ValueType::Bool), |_, f| {
                let (a, b, r) = (f.param(0), f.param(1), f.int());
                f.cell_identical(r, a, b);
                f.return_int(r);
            });
            m.module.protocol.set(entry, Callee::Function(callee));
        }

        let mixed = function(m, "mixed", &[Int, Float, Int], Some(Int), |_, f| {
            let (a, x, b, y) = (f.param(0), f.param(1), f.param(2), f.float());
            let more = f.label();
            f.int_mul(a, a, b);
            f.float_from_int(y, b);
            f.float_le_branch(x, y, more);
            f.int_xor(a, a, b);
            f.bind(more);
            f.return_int(a);
        });
        let float = function(m, "float", &[Float, Int], Some(Float), |_, f| {
            let (x, a, y) = (f.param(0), f.param(1), f.float());
            f.float_from_int(y, a);
            f.float_add(x, x, y);
            f.return_float(x);
        });
        let guarded = function(m, "guarded", &[Int], Some(Int), |_, f| {
            let (a, b) = (f.param(0), f.int());
            f.set_span(Span { source, start: 3998, end: 3999 });
            f.int_and_imm(b, a, 7);
            f.int_add_imm(b, b, -3);
            f.int_rem(a, a, b);
            f.return_int(a);
        });
        let next = function(m, "next", &[Int], Some(Int), |_, f| {
            let (a, one) = (f.param(0), f.int());
            f.load_int(one, 1);
            f.int_add_checked(a, a, one);
            f.return_int(a);
        });
        let void = function(m, "void", &[], None, |_, f| {
            let a = f.int();
            f.global_int_get(a, global_int);
            f.int_add_imm(a, a, 1);
            f.global_int_set(a, global_int);
            f.return_void();
        });
        let looping = function(m, "looping", &[Int, Float], Some(Float), |_, f| {
            let (n, x, i) = (f.param(0), f.param(1), f.int());
            let top = f.label();
            f.int_and_imm(n, n, 7);
            f.load_int(i, 0);
            f.begin_loop(top);
            f.float_add(x, x, x);
            f.int_for_loop(i, n, top);
            f.return_float(x);
        });
        let push = function(m, "push", &[Int, Cell(ints)], None, |_, f| {
            let (a, l) = (f.param(0), f.param(1));
            f.list_int_push(l, a);
            f.return_void();
        });
        let signature = m.signature(&[Int], Some(Int));
        let closure = m.module.types.cell(HeapType::Closure(signature));
        let captured = m.declare("captured", signature, Some(vec![ANY]));
        let mut f = m.define(captured);
        let (a, b, c) = (f.param(0), f.int(), f.cell(ANY));
        f.capture_get(c, 0);
        f.unbox_int(b, c);
        f.int_sub(a, a, b);
        f.return_int(a);
        f.finish(m);
        let one = m.signature(&[ANY_T], Some(ANY_T));
        let two = m.signature(&[ANY_T, ANY_T], Some(ANY_T));
        let signatures = [one, one, two];
        let boxed_types = signatures.map(|s| m.module.types.cell(HeapType::Closure(s)));
        let mut number = 0;
        let boxed = signatures.map(|signature| {
            number += 1;
            let callee = m.declare(&format!("boxed{number}"), signature, Some(vec![ANY]));
            let mut f = m.define(callee);
            let (a, c, n, out) = (f.param(0), f.cell(ANY), f.int(), f.label());
            let last = f.param(if signature == two { 1 } else { 0 });
            f.global_int_get(n, global_int);
            f.int_add_imm(n, n, number);
            f.global_int_set(n, global_int);
            f.capture_get(c, 0);
            f.int_and_imm(n, n, 1);
            f.if_branch(n, out);
            f.return_cell(if number == 1 { c } else { a });
            f.bind(out);
            f.return_cell(last);
            f.finish(m);
            callee
        });
        function(m, "globals", &[], Some(Int), |_, f| {
            let (a, b, x) = (f.int(), f.int(), f.float());
            let number = f.label();
            f.global_int_get(a, global_int);
            f.global_float_get(x, global_float);
            f.load_int(b, 77);
            f.float_ne_branch(x, x, number);
            f.int_from_bits(b, x);
            f.bind(number);
            f.int_xor(a, a, b);
            f.load_int(b, 0);
            f.global_int_set(b, global_int);
            f.float_from_int(x, b);
            f.global_float_set(x, global_float);
            f.return_int(a);
        });
        Shared {
            ints,
            floats,
            bools,
            cells,
            map,
            strings,
            string,
            results,
            closure,
            record,
            record_type,
            names,
            ref_int,
            ref_float,
            global_int,
            global_float,
            global_cell,
            mixed,
            float,
            guarded,
            next,
            void,
            looping,
            push,
            captured,
            boxed,
            boxed_types,
            source,
        }
    }
}
