//! Builds modules without thinking of slots, offsets or words.
//!
//! A [`ModuleBuilder`] interns tables; a [`FunctionBuilder`] takes instructions over virtual registers and labels, one
//! method per op (generated from the op list). [`FunctionBuilder::finish`] then
//!
//! * lays registers out in the frame (parameters, cells, raws) and moves those beyond a 16-bit slot number into the spill
//!   area, reached through scratch registers and `*.local.get` / `*.local.set`;
//! * puts a `frame.clear` in front where a collecting op could see cells that were not assigned yet;
//! * resolves labels, and turns conditional branches whose target is too far for 16 bits into a short branch around a
//!   `jump`;
//! * drops what cannot be reached, so that the verifier sees only live code.
//!
//! Registers are reused: [`FunctionBuilder::free`] gives a temporary back, and the next register of that type takes its
//! slot. Small frames matter: they are what deep recursion and the collector pay for.
//!
//! The builder checks banks in debug builds only; the verifier is what makes code trustworthy.

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use crate::for_each_op;
use crate::frame::{FrameLayout, HEADER_SLOTS, window_slots};
use crate::inst::{Inst, Word};
use crate::module::*;
use crate::ops::{Effects, MAX_OPERANDS, Op, OperandKind, Role};
use crate::types::*;

/// A module in the making: the module itself with indexes for interning.
#[derive(Debug, Default)]
pub struct ModuleBuilder {
    /// What has been built so far.
    pub module: Module,
    signatures: HashMap<Signature, SigId>,
    strings: HashMap<String, StringId>,
    names: HashMap<Name, NameId>,
    hosts: HashMap<HostImport, HostId>,
    arities: HashSet<FuncId>,
}

impl ModuleBuilder {
    /// An empty module.
    pub fn new(name: impl Into<String>) -> ModuleBuilder {
        let mut builder = ModuleBuilder::default();
        builder.module.name = name.into();
        builder
    }

    /// The id of a signature.
    pub fn signature(&mut self, params: &[ValueType], result: Option<ValueType>) -> SigId {
        self.intern_signature(Signature { params: params.to_vec(), rest: false, result })
    }

    /// The id of a signature, with rest arguments or without.
    pub fn intern_signature(&mut self, signature: Signature) -> SigId {
        if let Some(&id) = self.signatures.get(&signature) {
            return id;
        }
        let id = SigId(self.module.signatures.len() as u32);
        self.module.signatures.push(signature.clone());
        self.signatures.insert(signature, id);
        id
    }

    /// The id of a string constant.
    pub fn string(&mut self, text: &str) -> StringId {
        if let Some(&id) = self.strings.get(text) {
            return id;
        }
        let id = StringId(self.module.strings.len() as u32);
        self.module.strings.push(text.to_string());
        self.strings.insert(text.to_string(), id);
        id
    }

    /// The id of an interned name.
    pub fn name(&mut self, text: &str, kind: u8) -> NameId {
        let name = Name { text: text.to_string(), kind };
        if let Some(&id) = self.names.get(&name) {
            return id;
        }
        let id = NameId(self.module.names.len() as u32);
        self.module.names.push(name.clone());
        self.names.insert(name, id);
        id
    }

    /// The id of a host function called with this signature. One host function may be imported with several.
    pub fn host(&mut self, name: &str, signature: SigId) -> HostId {
        let import = HostImport { name: name.to_string(), signature };
        if let Some(&id) = self.hosts.get(&import) {
            return id;
        }
        let id = HostId(self.module.hosts.len() as u32);
        self.module.hosts.push(import.clone());
        self.hosts.insert(import, id);
        id
    }

    /// Adds a global variable.
    pub fn global(&mut self, name: &str, ty: ValueType) -> GlobalId {
        self.module.globals.push(Global { name: name.to_string(), ty });
        GlobalId(self.module.globals.len() as u32 - 1)
    }

    /// Adds a record layout. Fields may be filled in later through `module.records`, so that records can refer to each
    /// other.
    pub fn record(&mut self, name: &str, tag: u16, fields: Vec<Field>) -> RecordId {
        self.module.records.push(Record { name: name.to_string(), tag, fields });
        RecordId(self.module.records.len() as u32 - 1)
    }

    /// Adds a union of records.
    pub fn union(&mut self, name: &str, variants: Vec<RecordId>) -> UnionId {
        self.module.unions.push(Union { name: name.to_string(), variants });
        UnionId(self.module.unions.len() as u32 - 1)
    }

    /// Adds a watch.
    pub fn watch(&mut self, name: &str) -> WatchId {
        self.module.watches.push(Watch { name: name.to_string() });
        WatchId(self.module.watches.len() as u32 - 1)
    }

    /// Adds a source for spans.
    pub fn source(&mut self, source: Source) -> u32 {
        self.module.sources.push(source);
        self.module.sources.len() as u32 - 1
    }

    /// Reserves a function, so that others can call it before its code exists. It must be filled by
    /// [`FunctionBuilder::finish`].
    pub fn declare(&mut self, name: &str, signature: SigId, environment: Option<Vec<CellType>>) -> FuncId {
        self.module.functions.push(Function {
            name: name.to_string(),
            signature,
            environment,
            ..Function::default()
        });
        FuncId(self.module.functions.len() as u32 - 1)
    }

    /// Reserves a function that answers dynamic calls of closures of `head` with the number of arguments that its
    /// signature takes. It has the captures of `head`, and its environment register is of type `function`.
    pub fn declare_arity(&mut self, head: FuncId, name: &str, signature: SigId) -> FuncId {
        let environment = self.module.functions[head.index()].environment.clone();
        let id = self.declare(name, signature, environment);
        self.module.functions[head.index()].arities.push(id);
        self.arities.insert(id);
        id
    }

    /// Starts the code of a declared function.
    pub fn define(&mut self, id: FuncId) -> FunctionBuilder {
        let function = &self.module.functions[id.index()];
        let signature = self.module.signatures[function.signature.index()].clone();
        // The closure that an arity gets is one of the head.
        let own = HeapType::Closure(function.signature);
        let closure = if self.arities.contains(&id) { HeapType::Function } else { own };
        let closure = function.environment.is_some().then(|| self.module.types.cell(closure));
        FunctionBuilder::new(id, signature, closure)
    }

    /// The finished module.
    pub fn finish(self) -> Module {
        self.module
    }
}

/// A virtual register, or a slot of the window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Reg(u32);

const WINDOW: u32 = 1 << 31;

/// The most constants that a function loads at entry.
const MAX_HOISTED: usize = 12;

impl Reg {
    /// The window slot with this number, counted from the window's start. Write only.
    pub fn window(slot: u32) -> Reg {
        Reg(slot | WINDOW)
    }

    fn window_slot(self) -> Option<u32> {
        (self.0 & WINDOW != 0).then_some(self.0 & !WINDOW)
    }

    /// Whether it is a window slot.
    pub fn is_window(self) -> bool {
        self.window_slot().is_some()
    }
}

/// A place in the code that branches can name before it is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Label(u32);

#[derive(Clone, Copy, Debug)]
struct Register {
    bank: Bank,
    /// Meaningful for cells only.
    ty: CellType,
    is_param: bool,
    /// See [`FunctionBuilder::extensible`].
    extensible: bool,
}

#[derive(Clone, Copy, Debug)]
struct Emitted {
    inst: Inst,
    span: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct LabelState {
    /// Index of the instruction that the label stands before.
    place: Option<u32>,
    used: bool,
}

/// One function in the making.
#[derive(Debug)]
pub struct FunctionBuilder {
    id: FuncId,
    signature: Signature,
    registers: Vec<Register>,
    params: Vec<Reg>,
    environment: Option<Reg>,
    free: HashMap<(Bank, CellType), Vec<Reg>>,
    free_extensible: Vec<Reg>,
    code: Vec<Emitted>,
    labels: Vec<LabelState>,
    constants: Vec<u64>,
    constant_index: HashMap<u64, u32>,
    cell_constants: Vec<CellConst>,
    switches: Vec<(Vec<(SwitchKey, Label)>, Label)>,
    handlers: Vec<(Label, Label, Label, Reg)>,
    spans: Vec<Span>,
    feedback: u32,
    window: u32,
    reachable: bool,
    /// The place of the label that was bound last.
    last_bound: u32,
    /// Loads of constants that run once, at entry.
    prologue: Vec<Inst>,
    hoisted: HashMap<(Op, i64), Reg>,
}

/// What a method of [`FunctionBuilder`] takes for an operand.
trait Operand {
    fn encode(self) -> i64;
}
macro_rules! operand_impls {
    ($($ty:ty: |$v:ident| $e:expr;)*) => {$(impl Operand for $ty { fn encode(self) -> i64 { let $v = self; $e } })*};
}
operand_impls! {
    Reg: |v| i64::from(v.0);
    Label: |v| i64::from(v.0);
    i16: |v| i64::from(v);
    u16: |v| i64::from(v);
    i32: |v| i64::from(v);
    u32: |v| i64::from(v);
    FuncId: |v| i64::from(v.0);
    HostId: |v| i64::from(v.0);
    CFuncId: |v| i64::from(v.0);
    StringId: |v| i64::from(v.0);
    NameId: |v| i64::from(v.0);
    GlobalId: |v| i64::from(v.0);
    RecordId: |v| i64::from(v.0);
    WatchId: |v| i64::from(v.0);
    FeedbackId: |v| i64::from(v.0);
    CellType: |v| i64::from(v.id.0) << 1 | i64::from(v.nullable);
    NumberPolicy: |v| i64::from(v.0);
    TruthMask: |v| i64::from(v.0);
    Immediate: |v| v as i64;
    TrapCode: |v| v as i64;
}

macro_rules! operand_type {
    (ImmI16) => {
        i16
    };
    (ImmU16) => {
        u16
    };
    (ImmI32) => {
        i32
    };
    (ImmU32) => {
        u32
    };
    (Label) => {
        Label
    };
    (Label16) => {
        Label
    };
    (Const) => {
        u32
    };
    (CellConst) => {
        u32
    };
    (Slot) => {
        u32
    };
    (SlotDef) => {
        u32
    };
    (Switch) => {
        u32
    };
    (FuncId) => {
        FuncId
    };
    (HostId) => {
        HostId
    };
    (CFuncId) => {
        CFuncId
    };
    (StringId) => {
        StringId
    };
    (NameId) => {
        NameId
    };
    (GlobalId) => {
        GlobalId
    };
    (RecordId) => {
        RecordId
    };
    (Type) => {
        CellType
    };
    (Field) => {
        u16
    };
    (WatchId) => {
        WatchId
    };
    (Policy) => {
        NumberPolicy
    };
    (Mask) => {
        TruthMask
    };
    (Immediate) => {
        Immediate
    };
    (TrapCode) => {
        TrapCode
    };
    (Feedback) => {
        FeedbackId
    };
    ($register:ident) => {
        Reg
    };
}

macro_rules! emitters {
    ($($variant:ident $method:ident $mnemonic:literal [$($name:ident: $kind:ident),*] [$($effect:ident)*] $doc:literal;)*) => {
        /// One method per op; the doc line is the op's meaning.
        #[allow(clippy::too_many_arguments, reason = "generated from the op rows")]
        impl FunctionBuilder {
            $(#[doc = concat!("`", $mnemonic, "`: ", $doc)]
            pub fn $method(&mut self, $($name: operand_type!($kind)),*) {
                self.emit(Op::$variant, &[$(Operand::encode($name)),*]);
            })*
        }
    };
}
for_each_op!(emitters);

impl FunctionBuilder {
    fn new(id: FuncId, signature: Signature, closure: Option<CellType>) -> FunctionBuilder {
        let mut builder = FunctionBuilder {
            id,
            registers: Vec::new(),
            params: Vec::new(),
            environment: None,
            free: HashMap::default(),
            free_extensible: Vec::new(),
            code: Vec::new(),
            labels: Vec::new(),
            constants: Vec::new(),
            constant_index: HashMap::default(),
            cell_constants: Vec::new(),
            switches: Vec::new(),
            handlers: Vec::new(),
            spans: vec![Span::default()],
            feedback: 0,
            window: 0,
            reachable: true,
            last_bound: 0,
            prologue: Vec::new(),
            hoisted: HashMap::default(),
            signature: Signature::default(),
        };
        if let Some(ty) = closure {
            builder.environment = Some(builder.register(Bank::Cell, ty, true));
        }
        for &param in &signature.params {
            let ty = if let ValueType::Cell(ty) = param { ty } else { ANY };
            let reg = builder.register(param.bank(), ty, true);
            builder.params.push(reg);
        }
        builder.signature = signature;
        builder
    }

    fn register(&mut self, bank: Bank, ty: CellType, is_param: bool) -> Reg {
        self.registers.push(Register { bank, ty, is_param, extensible: false });
        Reg(self.registers.len() as u32 - 1)
    }

    /// The function that is built.
    pub fn id(&self) -> FuncId {
        self.id
    }

    /// The register of a parameter.
    pub fn param(&self, index: usize) -> Reg {
        self.params[index]
    }

    /// The register of the running closure, in functions with an environment.
    pub fn environment(&self) -> Option<Reg> {
        self.environment
    }

    fn take(&mut self, bank: Bank, ty: CellType) -> Reg {
        if let Some(reg) = self.free.get_mut(&(bank, ty)).and_then(Vec::pop) {
            return reg;
        }
        self.register(bank, ty, false)
    }

    /// A register for an int or boolean.
    pub fn int(&mut self) -> Reg {
        self.take(Bank::Int, ANY)
    }

    /// A register for a float.
    pub fn float(&mut self) -> Reg {
        self.take(Bank::Float, ANY)
    }

    /// A register for cells of a type.
    pub fn cell(&mut self, ty: CellType) -> Reg {
        self.take(Bank::Cell, ty)
    }

    /// A register for a value.
    pub fn value(&mut self, ty: ValueType) -> Reg {
        match ty {
            ValueType::Int | ValueType::Bool => self.int(),
            ValueType::Float => self.float(),
            ValueType::Cell(ty) => self.cell(ty),
        }
    }

    /// A register for a string that `string.append` extends: nothing but that, `string.share` and `string.len` may read it. Freed, it is reused for
    /// the same only.
    pub fn extensible(&mut self, string: CellType) -> Reg {
        self.free_extensible.pop().unwrap_or_else(|| {
            let reg = self.register(Bank::Cell, string, false);
            self.registers[reg.0 as usize].extensible = true;
            reg
        })
    }

    /// Whether a register is one of [`FunctionBuilder::extensible`].
    pub fn is_extensible(&self, reg: Reg) -> bool {
        !reg.is_window() && self.registers[reg.0 as usize].extensible
    }

    /// Gives a register back for reuse. Parameters and window slots are left alone.
    pub fn free(&mut self, reg: Reg) {
        if reg.is_window() {
            return;
        }
        let Register { bank, ty, is_param, extensible } = self.registers[reg.0 as usize];
        if is_param {
            return;
        }
        let pool =
            if extensible { &mut self.free_extensible } else { self.free.entry((bank, ty)).or_default() };
        debug_assert!(!pool.contains(&reg), "a register is freed twice");
        pool.push(reg);
    }

    /// The bank of a register.
    ///
    /// # Panics
    /// For window slots, which have none of their own.
    pub fn bank(&self, reg: Reg) -> Bank {
        self.registers[reg.0 as usize].bank
    }

    /// The cell type of a cell register.
    ///
    /// # Panics
    /// For window slots, which have none of their own.
    pub fn cell_type(&self, reg: Reg) -> CellType {
        self.registers[reg.0 as usize].ty
    }

    /// A new label, not bound to a place yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(LabelState::default());
        Label(self.labels.len() as u32 - 1)
    }

    /// Binds a label to the place of the next instruction.
    pub fn bind(&mut self, label: Label) {
        let state = &mut self.labels[label.0 as usize];
        debug_assert!(state.place.is_none(), "a label is bound twice");
        state.place = Some(self.code.len() as u32);
        self.last_bound = self.code.len() as u32;
        self.reachable |= state.used;
    }

    /// Binds a label to a place that control reaches otherwise: as handler, or on re-entry.
    pub fn bind_reachable(&mut self, label: Label) {
        self.labels[label.0 as usize].used = true;
        self.bind(label);
    }

    /// Starts a loop here: binds the label to a `loop_header`.
    pub fn begin_loop(&mut self, label: Label) {
        self.bind(label);
        self.loop_header();
    }

    /// Whether the next instruction can be reached; what cannot is dropped.
    pub fn is_reachable(&self) -> bool {
        self.reachable
    }

    /// The source place of the instructions that follow.
    pub fn set_span(&mut self, span: Span) {
        if *self.spans.last().expect("never empty") != span {
            self.spans.push(span);
        }
    }

    /// The source place that instructions get now.
    pub fn span(&self) -> Span {
        *self.spans.last().expect("never empty")
    }

    /// A new feedback site.
    pub fn feedback(&mut self) -> FeedbackId {
        self.feedback += 1;
        FeedbackId(self.feedback - 1)
    }

    /// The index of a 64-bit constant.
    pub fn constant(&mut self, bits: u64) -> u32 {
        let next = self.constants.len() as u32;
        *self.constant_index.entry(bits).or_insert_with(|| {
            self.constants.push(bits);
            next
        })
    }

    /// dst = an int, by the shortest op.
    pub fn load_int(&mut self, dst: Reg, value: i64) {
        match i32::try_from(value) {
            Ok(short) => self.int_const(dst, short),
            Err(_) => {
                let index = self.constant(value as u64);
                self.int_const_wide(dst, index);
            }
        }
    }

    /// dst = a float.
    pub fn load_float(&mut self, dst: Reg, value: f64) {
        let index = self.constant(value.to_bits());
        self.float_const(dst, index);
    }

    /// dst = an immediate cell.
    pub fn load_cell(&mut self, dst: Reg, value: CellConst) {
        let same = |c: &CellConst| match (c, &value) {
            (CellConst::Float(a), CellConst::Float(b)) => a.to_bits() == b.to_bits(),
            _ => *c == value,
        };
        let index = self.cell_constants.iter().position(same).unwrap_or_else(|| {
            self.cell_constants.push(value);
            self.cell_constants.len() - 1
        });
        self.cell_const(dst, index as u32);
    }

    /// dst = nil.
    pub fn load_nil(&mut self, dst: Reg) {
        self.load_cell(dst, CellConst::Immediate(Immediate::Nil));
    }

    /// dst = a, by the move of the bank.
    pub fn move_value(&mut self, bank: Bank, dst: Reg, a: Reg) {
        if dst == a {
            return;
        }
        match bank {
            Bank::Int => self.int_move(dst, a),
            Bank::Float => self.float_move(dst, a),
            Bank::Cell => self.cell_move(dst, a),
        }
    }

    /// A register that holds a constant from the function's entry on, for uses inside loops. `None` once a function has
    /// [`MAX_HOISTED`] of them: each costs a load at every call.
    fn hoist(&mut self, op: Op, value: i64, bank: Bank, ty: CellType) -> Option<Reg> {
        if let Some(&reg) = self.hoisted.get(&(op, value)) {
            return Some(reg);
        }
        if self.hoisted.len() >= MAX_HOISTED {
            return None;
        }
        let reg = self.register(bank, ty, false);
        self.hoisted.insert((op, value), reg);
        self.prologue.push(Inst { op, operands: [i64::from(reg.0), value, 0, 0, 0, 0] });
        Some(reg)
    }

    /// A register with a float constant, loaded at entry. It must not be written or freed.
    pub fn hoisted_float(&mut self, value: f64) -> Option<Reg> {
        let index = self.constant(value.to_bits());
        self.hoist(Op::FloatConst, i64::from(index), Bank::Float, ANY)
    }

    /// A register with an int constant, loaded at entry. It must not be written or freed.
    pub fn hoisted_int(&mut self, value: i64) -> Option<Reg> {
        match i32::try_from(value) {
            Ok(short) => self.hoist(Op::IntConst, i64::from(short), Bank::Int, ANY),
            Err(_) => {
                let index = self.constant(value as u64);
                self.hoist(Op::IntConstWide, i64::from(index), Bank::Int, ANY)
            }
        }
    }

    /// A register of the string type with a string constant, loaded at entry. It must not be written or freed.
    pub fn hoisted_string(&mut self, value: StringId, ty: CellType) -> Option<Reg> {
        self.hoist(Op::StringConst, i64::from(value.0), Bank::Cell, ty)
    }

    /// Takes back the instruction that was emitted last, if it is without effect and only gives `reg` a value that is not
    /// wanted after all.
    pub fn retract(&mut self, reg: Reg) {
        let end = self.code.len() as u32;
        let Some(last) = self.code.last().filter(|_| self.reachable) else { return };
        let info = last.inst.op.info();
        let pure = info.effects.is_pure() && last.inst.operands[0] == i64::from(reg.0);
        let defines =
            info.operands.first().is_some_and(|o| matches!(o.kind.register(), Some((Role::Def, ..))));
        if pure && defines && self.last_bound != end {
            self.code.pop();
        }
    }

    /// The index of a switch table.
    pub fn switch_table(&mut self, cases: Vec<(SwitchKey, Label)>, default: Label) -> u32 {
        for label in cases.iter().map(|c| c.1).chain([default]) {
            self.labels[label.0 as usize].used = true;
        }
        self.switches.push((cases, default));
        self.switches.len() as u32 - 1
    }

    /// Exceptions between `start` and `end` continue at `target` (to be bound with [`Self::bind_reachable`]), the
    /// exception in the cell register `slot` of type `any`. Inner ranges must be added first.
    pub fn handler(&mut self, start: Label, end: Label, target: Label, slot: Reg) {
        self.handlers.push((start, end, target, slot));
    }

    /// The window registers for arguments of these types, in order: where a callee of that signature expects them, or where
    /// `record.new` expects fields.
    pub fn arguments(types: &[ValueType], environment: bool) -> Vec<Reg> {
        window_slots(types, environment).into_iter().map(Reg::window).collect()
    }

    /// The window registers for `count` cells: arguments of a dynamic call, captures, tuple elements.
    pub fn cell_arguments(count: usize) -> Vec<Reg> {
        (0..count as u32).map(|i| Reg::window(HEADER_SLOTS + i)).collect()
    }

    /// Emits an instruction; operands in the row's order, registers and labels as their numbers.
    fn emit(&mut self, op: Op, operands: &[i64]) {
        if !self.reachable {
            return;
        }
        let info = op.info();
        debug_assert_eq!(operands.len(), info.operands.len(), "{}", info.mnemonic);
        let mut inst = Inst { op, operands: [0; MAX_OPERANDS] };
        inst.operands[..operands.len()].copy_from_slice(operands);
        for (operand, &value) in info.operands.iter().zip(operands) {
            if let Some((role, bank, _)) = operand.kind.register() {
                match Reg(value as u32).window_slot() {
                    Some(slot) => {
                        debug_assert_eq!(role, Role::Def, "{} reads a window slot", info.mnemonic);
                        self.window = self.window.max(slot + 1);
                    }
                    None => debug_assert_eq!(
                        self.registers[value as usize].bank, bank,
                        "{}: operand {} has another bank",
                        info.mnemonic, operand.name
                    ),
                }
            }
            if matches!(operand.kind, OperandKind::Label | OperandKind::Label16) {
                self.labels[value as usize].used = true;
            }
        }
        if !self.fuse(&inst) {
            self.code.push(Emitted { inst, span: self.spans.len() as u32 - 1 });
        }
        if info.effects.has(Effects::END) {
            self.reachable = false;
        }
    }

    /// Joins the instruction with the one before it, where one op does both: an argument `x + constant` of a call, and a sum
    /// that is returned. Recursive functions spend a good part of their time on these.
    fn fuse(&mut self, inst: &Inst) -> bool {
        if self.last_bound == self.code.len() as u32 {
            return false;
        }
        let Some(last) = self.code.last_mut() else { return false };
        let before = last.inst;
        let [dst, a, b, ..] = before.operands;
        match (before.op, inst.op) {
            (Op::IntAddImmChecked, Op::CallInt) if dst == i64::from(Reg::window(0).0) => {
                let [result, callee, ..] = inst.operands;
                last.inst = Inst { op: Op::CallIntAddImm, operands: [a, callee, 0, result, b, 0] };
                // Backtraces show the call.
                last.span = self.spans.len() as u32 - 1;
            }
            (Op::IntAddChecked, Op::ReturnInt) if dst == inst.operands[0] => {
                last.inst = Inst { op: Op::ReturnIntAddChecked, operands: [a, b, 0, 0, 0, 0] };
            }
            _ => return false,
        }
        true
    }

    /// Lays out, resolves and encodes, and puts the function into the module.
    pub fn finish(mut self, module: &mut ModuleBuilder) {
        if self.reachable {
            self.trap(TrapCode::Unreachable);
        }
        // Labels behind the last instruction that something still names need an instruction to stand before.
        let end = self.code.len() as u32;
        if self.labels.iter().any(|l| l.used && l.place == Some(end)) {
            self.reachable = true;
            self.trap(TrapCode::Unreachable);
        }
        let first_site = module.module.feedback_sites;
        module.module.feedback_sites += self.feedback;
        let id = self.id;
        let function = &mut module.module.functions[id.index()];
        self.finish_into(function, first_site);
    }

    fn finish_into(mut self, function: &mut Function, first_site: u32) {
        // A caught trap is made into a value in the handler's frame, which may collect.
        let catches = !self.handlers.is_empty();
        let collects = self.code.iter().any(|e| {
            let effects = e.inst.op.effects();
            effects.collects() || (catches && effects.may_trap())
        });
        let slots = self.assign_slots(function);
        let layout = FrameLayout::of(function, &self.signature);
        let first_local = layout.first_cell() + layout.cell_params;
        let cleared = layout.cells - layout.cell_params;

        // Expand to the final instruction sequence; `starts[i]` is where emitted instruction i begins in it.
        let mut out: Vec<Emitted> = Vec::with_capacity(self.code.len() + 1);
        if collects && cleared > 0 {
            let mut operands = [0; MAX_OPERANDS];
            operands[0] = i64::from(first_local);
            operands[1] = i64::from(cleared);
            out.push(Emitted { inst: Inst { op: Op::FrameClear, operands }, span: 0 });
        }
        for &inst in &self.prologue {
            slots.rewrite(Emitted { inst, span: 0 }, layout.size(), first_site, &mut out);
        }
        let mut starts: Vec<u32> = Vec::with_capacity(self.code.len() + 1);
        let code = std::mem::take(&mut self.code);
        for emitted in &code {
            starts.push(out.len() as u32);
            slots.rewrite(*emitted, layout.size(), first_site, &mut out);
        }
        starts.push(out.len() as u32);
        let place_of = |label: i64, labels: &[LabelState]| -> u32 {
            let place = labels[label as usize].place.expect("a used label is bound");
            starts[place as usize]
        };
        for emitted in &mut out {
            for (i, operand) in emitted.inst.op.info().operands.iter().enumerate() {
                if matches!(operand.kind, OperandKind::Label | OperandKind::Label16) {
                    emitted.inst.operands[i] = i64::from(place_of(emitted.inst.operands[i], &self.labels));
                }
            }
        }
        let words = assemble(&out);
        let at = |label: Label| words.position[place_of(i64::from(label.0), &self.labels) as usize];
        function.code = words.code;
        function.constants = self.constants;
        function.cell_constants = self.cell_constants;
        function.window = self.window;
        function.handlers = self
            .handlers
            .iter()
            .map(|(start, end, target, slot)| Handler {
                start: at(*start),
                end: at(*end),
                target: at(*target),
                slot: slots.direct[slot.0 as usize] as u16,
            })
            .filter(|h| h.start < h.end)
            .collect();
        for (pc, inst) in crate::inst::instructions(&function.code) {
            let Ok(inst) = inst else { break };
            for (kind, value) in inst.iter() {
                if kind == OperandKind::Switch {
                    let (cases, default) = &self.switches[value as usize];
                    let distance = |l: Label| at(l) as i32 - pc as i32;
                    let table = SwitchTable {
                        cases: cases.iter().map(|(k, l)| (*k, distance(*l))).collect(),
                        default: distance(*default),
                    };
                    if function.switches.len() <= value as usize {
                        function.switches.resize(value as usize + 1, SwitchTable::default());
                    }
                    function.switches[value as usize] = table;
                }
            }
        }
        let mut last = None;
        for (emitted, &position) in out.iter().zip(&words.position) {
            if last != Some(emitted.span) {
                function.spans.push((position, self.spans[emitted.span as usize]));
                last = Some(emitted.span);
            }
        }
    }

    /// Gives every register a slot and writes the register tables of the function.
    fn assign_slots(&mut self, function: &mut Function) -> Slots {
        /// Slots that 16-bit operands may use; the rest of the range is left to windows.
        const DIRECT: u32 = 60_000;
        let (raw_params, cell_params) = self.signature.counts();
        let fixed = raw_params + cell_params + HEADER_SLOTS + 1;
        let locals: Vec<u32> =
            (0..self.registers.len() as u32).filter(|&r| !self.registers[r as usize].is_param).collect();
        let spills = locals.len() as u32 + fixed > DIRECT;
        // Scratch registers for spilled operands: three of each bank, and of each cell type that is spilled.
        let room = if spills { DIRECT.saturating_sub(fixed + 4096) as usize } else { locals.len() };
        let mut handler_slots: Vec<u32> = self.handlers.iter().map(|h| h.3.0).collect();
        handler_slots.sort_unstable();
        let mut ordered = locals;
        if spills {
            // Registers that handlers name must stay direct.
            ordered.sort_by_key(|r| handler_slots.binary_search(r).is_err());
        }
        let (direct, spilled) = ordered.split_at(room.min(ordered.len()));
        let mut slots = Slots {
            direct: vec![u32::MAX; self.registers.len()],
            spilled: vec![u32::MAX; self.registers.len()],
            banks: self.registers.iter().map(|r| (r.bank, r.ty)).collect(),
            scratch: HashMap::default(),
        };
        let mut cells: Vec<CellType> = Vec::new();
        let mut cell_slot = raw_params + HEADER_SLOTS;
        let mut raw_slot = 0;
        for (r, register) in self.registers.iter().enumerate().filter(|(_, r)| r.is_param) {
            let next = if register.bank == Bank::Cell { &mut cell_slot } else { &mut raw_slot };
            slots.direct[r] = *next;
            *next += 1;
            if register.bank == Bank::Cell {
                cells.push(register.ty);
            }
        }
        for &r in direct {
            let register = self.registers[r as usize];
            if register.bank == Bank::Cell {
                slots.direct[r as usize] = cell_slot;
                cell_slot += 1;
                cells.push(register.ty);
            }
        }
        if !spilled.is_empty() {
            // For results that go into a window too far for 16 bits.
            for place in 0..3 {
                slots.scratch.insert((Bank::Cell, ANY, place), cell_slot);
                cell_slot += 1;
                cells.push(ANY);
            }
        }
        for &r in spilled {
            let register = self.registers[r as usize];
            for place in 0..if register.bank == Bank::Cell { 3 } else { 0 } {
                slots.scratch.entry((Bank::Cell, register.ty, place)).or_insert_with(|| {
                    cell_slot += 1;
                    cells.push(register.ty);
                    cell_slot - 1
                });
            }
        }
        function.cells = cells;
        let mut next = cell_slot;
        let mut raws = Vec::new();
        for &r in direct {
            let register = self.registers[r as usize];
            if register.bank != Bank::Cell {
                slots.direct[r as usize] = next;
                next += 1;
                raws.push(register.bank);
            }
        }
        if !spilled.is_empty() {
            for bank in [Bank::Int, Bank::Float] {
                for place in 0..3 {
                    slots.scratch.insert((bank, ANY, place), next);
                    next += 1;
                    raws.push(bank);
                }
            }
        }
        function.raws = raws;
        for &r in spilled.iter().filter(|&&r| self.registers[r as usize].bank != Bank::Cell) {
            slots.spilled[r as usize] = next;
            next += 1;
            function.spilled_raws.push(self.registers[r as usize].bank);
        }
        for &r in spilled.iter().filter(|&&r| self.registers[r as usize].bank == Bank::Cell) {
            slots.spilled[r as usize] = next;
            next += 1;
            function.spilled_cells.push(self.registers[r as usize].ty);
        }
        slots
    }
}

/// Where each register ended up.
struct Slots {
    /// The slot of each register that 16-bit operands reach.
    direct: Vec<u32>,
    /// The wide slot of each other register.
    spilled: Vec<u32>,
    banks: Vec<(Bank, CellType)>,
    /// Slots that stand in for spilled operands: by bank, cell type and operand place.
    scratch: HashMap<(Bank, CellType, u32), u32>,
}

impl Slots {
    /// Rewrites registers to slots, with loads and stores around where they are spilled or a window slot is too far.
    fn rewrite(&self, emitted: Emitted, frame_size: u32, first_site: u32, out: &mut Vec<Emitted>) {
        let mut inst = emitted.inst;
        if !self.scratch.is_empty() {
            // Scratch registers are read by all kinds of ops.
            match inst.op {
                Op::StringAppend => inst.op = Op::StringConcat,
                Op::StringShare => inst.op = Op::CellMove,
                _ => {}
            }
        }
        let mut after: Vec<Inst> = Vec::new();
        let mut place = 0;
        // A counted loop writes its counter on the way to the branch, so a spilled one is taken apart.
        if inst.op == Op::IntForLoop && self.direct[inst.operands[0] as usize] == u32::MAX {
            let step = Inst { op: Op::IntAddImm, operands: [inst.operands[0], inst.operands[0], 1, 0, 0, 0] };
            self.rewrite(Emitted { inst: step, ..emitted }, frame_size, first_site, out);
            inst.op = Op::IntLtLoop;
        }
        for (i, operand) in inst.op.info().operands.iter().enumerate() {
            if operand.kind == OperandKind::Feedback {
                inst.operands[i] += i64::from(first_site);
            }
            let Some((role, bank, _)) = operand.kind.register() else { continue };
            let reg = Reg(inst.operands[i] as u32);
            if let Some(slot) = reg.window_slot() {
                let wide = i64::from(frame_size + slot);
                if wide <= i64::from(u16::MAX) {
                    inst.operands[i] = wide;
                    continue;
                }
                if inst.op == Op::CellMove {
                    // The store takes the type of what is moved; its source is the next operand.
                    inst = Inst { op: Op::CellLocalSet, operands: [wide, inst.operands[1], 0, 0, 0, 0] };
                    continue;
                }
                let (ty, set) = match bank {
                    Bank::Int => (ANY, Op::IntLocalSet),
                    Bank::Float => (ANY, Op::FloatLocalSet),
                    Bank::Cell => (ANY, Op::CellLocalSet),
                };
                let scratch = i64::from(self.scratch[&(bank, ty, place % 3)]);
                place += 1;
                after.push(Inst { op: set, operands: [wide, scratch, 0, 0, 0, 0] });
                inst.operands[i] = scratch;
                continue;
            }
            let direct = self.direct[reg.0 as usize];
            if direct != u32::MAX {
                inst.operands[i] = i64::from(direct);
                continue;
            }
            let ty = if bank == Bank::Cell { self.banks[reg.0 as usize].1 } else { ANY };
            let scratch = i64::from(self.scratch[&(bank, ty, place % 3)]);
            place += 1;
            let wide = i64::from(self.spilled[reg.0 as usize]);
            let (get, set) = match bank {
                Bank::Int => (Op::IntLocalGet, Op::IntLocalSet),
                Bank::Float => (Op::FloatLocalGet, Op::FloatLocalSet),
                Bank::Cell => (Op::CellLocalGet, Op::CellLocalSet),
            };
            if role != Role::Def {
                out.push(Emitted {
                    inst: Inst { op: get, operands: [scratch, wide, 0, 0, 0, 0] },
                    ..emitted
                });
            }
            if role != Role::Use {
                after.push(Inst { op: set, operands: [wide, scratch, 0, 0, 0, 0] });
            }
            inst.operands[i] = scratch;
        }
        out.push(Emitted { inst, ..emitted });
        out.extend(after.into_iter().map(|inst| Emitted { inst, ..emitted }));
    }
}

struct Assembled {
    code: Vec<Word>,
    /// The word position of each instruction, and of the end.
    position: Vec<u32>,
}

/// Encodes instructions whose label operands are instruction indexes. Conditional branches with 16-bit distances that do
/// not reach become `branch +2; jump over; jump target`; distances only grow, so the search for them ends.
fn assemble(insts: &[Emitted]) -> Assembled {
    let is_short = |op: Op| op.info().operands.iter().position(|o| o.kind == OperandKind::Label16);
    let mut far = vec![false; insts.len()];
    let mut position = vec![0u32; insts.len() + 1];
    loop {
        let mut at = 0;
        for (i, emitted) in insts.iter().enumerate() {
            position[i] = at;
            at += emitted.inst.op.words() as u32 + if far[i] { far_extra(emitted.inst.op) } else { 0 };
        }
        position[insts.len()] = at;
        let mut changed = false;
        if at > i16::MAX as u32 {
            for (i, emitted) in insts.iter().enumerate() {
                if let Some(operand) = is_short(emitted.inst.op)
                    && !far[i]
                {
                    let distance =
                        i64::from(position[emitted.inst.operands[operand] as usize]) - i64::from(position[i]);
                    if i16::try_from(distance).is_err() {
                        far[i] = true;
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    let mut code: Vec<Word> = Vec::with_capacity(position[insts.len()] as usize);
    let push = |inst: Inst, code: &mut Vec<Word>| {
        let (words, count) = inst.encode();
        code.extend_from_slice(&words[..count]);
    };
    for (i, emitted) in insts.iter().enumerate() {
        let mut inst = emitted.inst;
        let target = inst
            .op
            .info()
            .operands
            .iter()
            .position(|o| matches!(o.kind, OperandKind::Label | OperandKind::Label16));
        let Some(operand) = target else {
            push(inst, &mut code);
            continue;
        };
        let destination = i64::from(position[inst.operands[operand] as usize]);
        if !far[i] {
            inst.operands[operand] = destination - i64::from(position[i]);
            push(inst, &mut code);
            continue;
        }
        let backward = inst.op.effects().has(Effects::LOOP);
        if inst.op == Op::IntForLoop {
            push(
                Inst { op: Op::IntAddImm, operands: [inst.operands[0], inst.operands[0], 1, 0, 0, 0] },
                &mut code,
            );
            inst.op = Op::IntLtBranch;
        } else if backward {
            inst.op = forward_twin(inst.op);
        }
        let words = inst.op.words() as i64;
        inst.operands[operand] = words + 1;
        push(inst, &mut code);
        push(Inst { op: Op::Jump, operands: [2, 0, 0, 0, 0, 0] }, &mut code);
        let here = code.len() as i64;
        let jump = if backward { Op::JumpLoop } else { Op::Jump };
        push(Inst { op: jump, operands: [destination - here, 0, 0, 0, 0, 0] }, &mut code);
    }
    Assembled { code, position }
}

/// How many words a branch grows by when its target is far.
fn far_extra(op: Op) -> u32 {
    if op == Op::IntForLoop { 3 } else { 2 }
}

/// The branch that tests the same condition as a `.loop` op.
fn forward_twin(op: Op) -> Op {
    let mnemonic = op.info().mnemonic;
    let twin = mnemonic.strip_suffix(".loop").map(|stem| format!("{stem}.branch"));
    twin.and_then(|t| Op::from_mnemonic(&t)).expect("every conditional .loop op has a .branch twin")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inst::instructions;

    fn int_function(params: usize) -> (ModuleBuilder, FunctionBuilder) {
        let mut module = ModuleBuilder::new("test");
        let signature = module.signature(&vec![ValueType::Int; params], Some(ValueType::Int));
        let id = module.declare("f", signature, None);
        let function = module.define(id);
        (module, function)
    }

    fn ops(module: &ModuleBuilder) -> Vec<Op> {
        instructions(&module.module.functions[0].code).map(|(_, i)| i.expect("decodes").op).collect()
    }

    #[test]
    fn every_conditional_loop_op_has_a_twin() {
        for &op in Op::ALL {
            let effects = op.effects();
            let conditional =
                effects.has(Effects::BRANCH) && effects.has(Effects::LOOP) && !effects.has(Effects::END);
            if conditional && op != Op::IntForLoop {
                let twin = forward_twin(op);
                assert_eq!(twin.info().layout, op.info().layout);
                assert!(!twin.effects().has(Effects::LOOP));
            }
        }
    }

    #[test]
    fn unreachable_code_is_dropped() {
        let (mut module, mut f) = int_function(1);
        f.return_int(f.param(0));
        f.return_int(f.param(0));
        f.finish(&mut module);
        assert_eq!(ops(&module), [Op::ReturnInt]);
    }

    #[test]
    fn far_branches_go_around_a_jump() {
        let (mut module, mut f) = int_function(1);
        let (n, x, end, head) = (f.param(0), f.int(), f.label(), f.label());
        f.load_int(x, 0);
        f.begin_loop(head);
        f.int_ge_imm_branch(n, 7, end);
        for _ in 0..40_000 {
            f.int_add(x, x, n);
        }
        f.int_lt_loop(x, n, head);
        f.bind(end);
        f.return_int(x);
        f.finish(&mut module);
        let code = &module.module.functions[0].code;
        let all: Vec<(usize, Inst)> = instructions(code).map(|(at, i)| (at, i.expect("decodes"))).collect();
        // int.const, loop_header, then the branch with its two jumps.
        assert_eq!(all[2].1.op, Op::IntGeImmBranch);
        assert_eq!(all[2].1.target(), Some(2));
        assert_eq!(all[3].1.target(), Some(2));
        let (last, _) = *all.last().expect("not empty");
        assert_eq!(all[4].0 as i64 + all[4].1.target().expect("a jump"), last as i64);
        let back = all[all.len() - 2];
        assert_eq!(back.1.op, Op::JumpLoop);
        assert_eq!(back.0 as i64 + back.1.target().expect("a jump"), 1);
    }

    #[test]
    fn registers_beyond_the_direct_slots_are_spilled() {
        let (mut module, mut f) = int_function(0);
        let registers: Vec<Reg> = (0..70_000).map(|_| f.int()).collect();
        for (i, &r) in registers.iter().enumerate() {
            f.load_int(r, i as i64);
        }
        f.int_add(registers[0], registers[69_999], registers[69_998]);
        f.return_int(registers[0]);
        f.finish(&mut module);
        let function = &module.module.functions[0];
        assert!(function.spilled_raws.len() >= 10_000);
        let tail: Vec<Op> = ops(&module).into_iter().rev().take(4).collect();
        assert_eq!(tail, [Op::ReturnInt, Op::IntAdd, Op::IntLocalGet, Op::IntLocalGet]);
    }

    #[test]
    fn freed_registers_are_reused() {
        let (_, mut f) = int_function(0);
        let a = f.int();
        f.free(a);
        assert_eq!(f.int(), a);
        assert_ne!(f.float(), a);
    }
}
