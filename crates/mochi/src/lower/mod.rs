//! From typed syntax trees to bytecode.
//!
//! [`lower`] takes a program with its [`Resolution`] and [`Types`] and makes a [`Module`] whose entry runs the top level.
//! Proven slots become int and float registers and typed storage; what inference leaves as `any` becomes cell operations
//! whose slow paths are the library's protocol functions (`mochi.op.*`).
//!
//! The files: [`types`] (static types as bytecode types), [`body`] (one function in the making: variables, temporaries),
//! [`coerce`] (values that change their representation), [`stmt`], [`expr`], [`ops`] (operators), [`cond`] (jumps on conditions),
//! [`call`], [`pattern`].
//!
//! Invariants:
//! * an expression is evaluated into a register of its *own* type; only [`coerce`] changes representations;
//! * window slots are written last, behind everything that could call or collect (see [`call`]);
//! * functions are lowered from a work list, never inside one another, so nesting costs no Rust stack beyond the parser's
//!   nesting limit.

mod body;
mod call;
mod coerce;
mod cond;
mod expr;
mod ops;
mod pattern;
mod stmt;
mod tables;
mod types;

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use upshift_bytecode::builder::{FunctionBuilder, ModuleBuilder};
use upshift_bytecode::{
    CellType, FuncId, GlobalId, HeapType, HostId, Module, NumberPolicy, Protocol, RecordId, SigId, TrapCode,
    TrapSet, TruthMask, UnionId, ValueType,
};

use crate::builtins::Builtin;
use crate::infer::{CallKind, TyId, TyKind, Types};
use crate::instances::shown;
use crate::resolve::{CtorId, Resolution, Resolved, Storage};
use crate::source::{SourceMap, Span};
use crate::syntax::ast::{
    BinaryLink, BinaryOp, BinarySpine, BindId, ExprId, ExprKind, FunId, FunKind, Interner, Program, StmtKind,
    UnaryOp,
};

use body::Body;

/// What becomes of `test` blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tests {
    /// They run in place, as part of the program.
    #[default]
    Inline,
    /// The library is told where each begins and ends, and a failure ends only its own test.
    Report,
}

/// The kind of `Bytes` objects that hold a bigint.
pub const BIGINT_KIND: u16 = 1;
/// The kind of `Bytes` objects that hold a bigrat.
pub const BIGRAT_KIND: u16 = 2;

/// What Mochi's dynamic operators do without asking the library.
pub const POLICY: NumberPolicy = NumberPolicy::INT_DIV
    .with(NumberPolicy::PROMOTE)
    .with(NumberPolicy::NUMERIC_EQUAL)
    .with(NumberPolicy::FLOAT_DIV_CHECKED)
    .with(NumberPolicy::RELATIVE_INDEX)
    .with(NumberPolicy::ABSENT_IS_NIL)
    .with(NumberPolicy::OVERFLOW_TRAPS)
    .with(NumberPolicy::KINDS_DIFFER)
    .with(NumberPolicy::FIELDS_ARE_ENTRIES)
    .with(NumberPolicy::TEXTS);

/// What counts as false in Mochi.
pub const FALSE_VALUES: TruthMask = TruthMask(TruthMask::KNOWN);

/// The host function behind each protocol entry.
pub const PROTOCOL: &[(Protocol, &str)] = &[
    (Protocol::Add, "mochi.op.add"),
    (Protocol::Sub, "mochi.op.sub"),
    (Protocol::Mul, "mochi.op.mul"),
    (Protocol::Div, "mochi.op.div"),
    (Protocol::Rem, "mochi.op.rem"),
    (Protocol::Neg, "mochi.op.neg"),
    (Protocol::Less, "mochi.op.less"),
    (Protocol::LessEqual, "mochi.op.less_equal"),
    (Protocol::Equal, "mochi.op.equal"),
    (Protocol::Hash, "mochi.op.hash"),
    (Protocol::Text, "mochi.op.text"),
    (Protocol::IndexGet, "mochi.op.index_get"),
    (Protocol::IndexSet, "mochi.op.index_set"),
    (Protocol::FieldGet, "mochi.op.field_get"),
    (Protocol::FieldSet, "mochi.op.field_set"),
    (Protocol::Call, "mochi.op.call"),
    (Protocol::Arity, "mochi.op.arity"),
    (Protocol::TrapValue, "mochi.op.trap_value"),
];

/// Makes the module of a program. The program must have parsed without errors and use nothing unsupported.
pub fn lower(
    program: &Program,
    names: &Interner,
    sources: &SourceMap,
    resolution: &Resolution,
    types: &Types,
    tests: Tests,
) -> Module {
    let file = sources.file(program.file);
    let mut lowerer = Lowerer {
        program,
        names,
        sources,
        resolution,
        types,
        tests,
        module: ModuleBuilder::new(file.name()),
        values: Vec::new(),
        cells: Vec::new(),
        structs: Vec::new(),
        unions: Vec::new(),
        ctors: Vec::new(),
        globals: HashMap::default(),
        constants: HashMap::default(),
        extended: HashSet::default(),
        growing: HashSet::default(),
        functions: vec![None; program.funs.len()],
        wrappers: HashMap::default(),
        waiting: HashMap::default(),
        function_values: HashMap::default(),
        named_values: Vec::new(),
        tables: HashMap::default(),
        appends: Vec::new(),
        calls: Vec::new(),
        pending: Vec::new(),
        flags: Vec::new(),
        reassigned_in_expr: false,
    };
    lowerer.run();
    lowerer.module.finish()
}

/// A function as the module knows it.
#[derive(Clone, Copy, Debug)]
struct Declared {
    id: FuncId,
    signature: SigId,
    /// Whether it runs as a closure.
    environment: bool,
}

/// What has a name everywhere, and a function as its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Builtin(Builtin),
    Constructor(CtorId),
}

/// The state of lowering one program.
struct Lowerer<'a> {
    program: &'a Program,
    names: &'a Interner,
    sources: &'a SourceMap,
    resolution: &'a Resolution,
    types: &'a Types,
    tests: Tests,
    module: ModuleBuilder,
    /// By `TyId`: what a register of the type holds.
    values: Vec<ValueType>,
    /// By `TyId`: what a cell holds when a value of the type is in one.
    cells: Vec<CellType>,
    structs: Vec<RecordId>,
    unions: Vec<UnionId>,
    ctors: Vec<RecordId>,
    globals: HashMap<BindId, GlobalId>,
    /// The literals that variables of functions and inner functions always hold.
    constants: HashMap<BindId, ExprKind>,
    /// Variables that hold strings and are extended by `s = s + ...`: they are read by `string.share` and `string.len` only.
    extended: HashSet<BindId>,
    /// Empty list literals that become the value of a variable which elements are appended to.
    growing: HashSet<ExprId>,
    functions: Vec<Option<Declared>>,
    /// Closures without captures that call a top-level function.
    wrappers: HashMap<FunId, FuncId>,
    /// The functions of closures that wait for arguments, by what they call and how many are given.
    waiting: HashMap<(call::Awaited, usize), FuncId>,
    /// The globals that hold the closures of top-level functions, so that a function is identical to itself.
    function_values: HashMap<FunId, GlobalId>,
    /// Builtins and constructors that are used as values, with where the first use is.
    named_values: Vec<(Named, GlobalId, Span)>,
    /// The globals with the lists of literals that are only read.
    tables: HashMap<ExprId, GlobalId>,
    /// Where lists may grow in place, and where functions are called: places in the text, ascending.
    appends: Vec<u32>,
    calls: Vec<u32>,
    pending: Vec<FunId>,
    /// By expression: what evaluating it may do; see [`expr::flags`].
    flags: Vec<u8>,
    /// Whether some expression contains assignments (match arms with blocks), so that operands in variables are copied.
    reassigned_in_expr: bool,
}

impl<'a> Lowerer<'a> {
    fn run(&mut self) {
        for (_, file) in self.sources.files() {
            let source = upshift_bytecode::Source {
                name: file.name().to_string(),
                line_starts: file.line_starts().to_vec(),
            };
            self.module.source(source);
        }
        self.declare_types();
        self.declare_protocol();
        self.declare_globals();
        self.declare_function_values();
        self.declare_named_values();
        self.find_constants();
        self.find_tables();
        self.find_assignments_in_expressions();
        self.find_appends();
        self.find_extended();
        self.find_growing();
        self.flags = expr::flags(self);
        let signature = self.module.signature(&[], None);
        let main = self.module.declare("main", signature, None);
        self.module.module.entry = Some(main);
        let builder = self.module.define(main);
        Body::main(self, builder);
        while let Some(fun) = self.pending.pop() {
            let declared = self.functions[fun.index()].expect("pending functions are declared");
            let builder = self.module.define(declared.id);
            Body::function(self, fun, builder);
        }
    }

    /// `let` variables of a literal that are more than registers are not read: their uses are the literal.
    fn find_constants(&mut self) {
        for stmt in &self.program.stmts {
            let StmtKind::Let { bind, value: Some(value) } = stmt.kind else { continue };
            let slot = self.resolution.slot(bind);
            let info = self.resolution.bind(slot);
            if info.assignments > 0 || info.read_early || info.storage == Storage::Register {
                continue;
            }
            let kind = match self.program[value].kind {
                ExprKind::Unary { op: UnaryOp::Neg, operand } => match self.program[operand].kind {
                    ExprKind::Int(value) => value.checked_neg().map(ExprKind::Int),
                    ExprKind::Float(value) => Some(ExprKind::Float(-value)),
                    _ => None,
                },
                kind => Some(kind),
            };
            let fits = |kind: &ExprKind| match kind {
                ExprKind::Int(_) => matches!(self.types.bind(slot), TyId::INT | TyId::FLOAT),
                ExprKind::Float(_) => self.types.bind(slot) == TyId::FLOAT,
                ExprKind::Bool(_) => self.types.bind(slot) == TyId::BOOL,
                ExprKind::Str(_) => self.types.bind(slot) == TyId::STRING,
                _ => false,
            };
            if let Some(kind) = kind.filter(fits) {
                self.constants.insert(slot, kind);
            }
        }
    }

    /// What kind of expression it is: for the name of a constant, the literal.
    fn kind(&self, id: ExprId) -> ExprKind {
        let kind = self.program[id].kind;
        if matches!(kind, ExprKind::Name(_))
            && let Resolved::Bind(bind) = self.resolution.name(id)
        {
            return self.constants.get(&self.resolution.slot(bind)).copied().unwrap_or(kind);
        }
        kind
    }

    fn declare_protocol(&mut self) {
        let any = ValueType::Cell(upshift_bytecode::ANY);
        let string = ValueType::Cell(self.module.module.types.cell(HeapType::String));
        for &(entry, name) in PROTOCOL {
            let (params, result): (&[ValueType], Option<ValueType>) = match entry {
                Protocol::Add
                | Protocol::Sub
                | Protocol::Mul
                | Protocol::Div
                | Protocol::Rem
                | Protocol::IndexGet => (&[any, any], Some(any)),
                Protocol::Neg => (&[any], Some(any)),
                Protocol::Less | Protocol::LessEqual | Protocol::Equal => {
                    (&[any, any], Some(ValueType::Bool))
                }
                Protocol::Hash => (&[any], Some(ValueType::Int)),
                Protocol::Text => (&[any], Some(string)),
                Protocol::IndexSet => (&[any, any, any], None),
                Protocol::FieldGet => (&[any, any], Some(any)),
                Protocol::FieldSet => (&[any, any, any], None),
                Protocol::Call | Protocol::Arity => (&[any, any], Some(any)),
                Protocol::TrapValue => (&[any, any], Some(any)),
            };
            let host = self.host(name, params, result);
            self.module.module.protocol.set(entry, upshift_bytecode::Callee::Host(host));
        }
        if self.tests == Tests::Report {
            self.module.module.catchable = [
                TrapCode::IntegerOverflow,
                TrapCode::DivisionByZero,
                TrapCode::IndexOutOfRange,
                TrapCode::MissingKey,
                TrapCode::BadCast,
                TrapCode::TypeMismatch,
                TrapCode::NullAccess,
                TrapCode::Uninitialized,
                TrapCode::InvalidArgument,
                TrapCode::StackOverflow,
                TrapCode::UncaughtException,
                TrapCode::HostError,
                TrapCode::ExpectFailed,
                TrapCode::Panic,
            ]
            .into_iter()
            .fold(TrapSet::default(), TrapSet::with);
        }
    }

    fn declare_globals(&mut self) {
        for index in 0..self.resolution.bind_count() {
            let bind = BindId::new(index);
            let info = self.resolution.bind(bind);
            if info.storage != Storage::Global || self.resolution.slot(bind) != bind {
                continue;
            }
            let ty = self.value(self.types.bind(bind));
            let global = self.module.global(self.names.get(info.name), ty);
            self.globals.insert(bind, global);
        }
    }

    /// The global with the closure of a top-level function; made when the program starts.
    fn declare_function_values(&mut self) {
        for index in 0..self.program.funs.len() {
            let fun = FunId::new(index);
            let info = self.resolution.fun(fun);
            if info.top_level && info.used_as_value && self.program[fun].kind == FunKind::Decl {
                let declared = self.function(fun);
                let cell = self.module.module.types.cell(HeapType::Closure(declared.signature));
                let name = self.module.module.functions[declared.id.index()].name.clone();
                let global = self.module.global(&name, ValueType::Cell(cell));
                self.function_values.insert(fun, global);
            }
        }
    }

    /// The globals with the functions that stand for builtins and constructors as values: each is one value, however often its name
    /// is used.
    fn declare_named_values(&mut self) {
        for index in 0..self.program.exprs.len() {
            let id = ExprId::new(index);
            if !matches!(self.program[id].kind, ExprKind::Name(_)) {
                continue;
            }
            let (named, name) = match self.resolution.name(id) {
                Resolved::Builtin(builtin) => (Named::Builtin(builtin), builtin.name()),
                Resolved::Variant(ctor) if !self.types.ctor_fields(ctor).is_empty() => {
                    (Named::Constructor(ctor), self.names.get(self.resolution.ctors[ctor.index()].name))
                }
                _ => continue,
            };
            if self.named_values.iter().all(|known| known.0 != named) {
                let global = self.module.global(name, ValueType::Cell(upshift_bytecode::ANY));
                self.named_values.push((named, global, self.program[id].span));
            }
        }
    }

    /// Blocks inside expressions are match arms; if one assigns anything, operands that are variables must be copied before
    /// what follows them is evaluated.
    fn find_assignments_in_expressions(&mut self) {
        let has_block_arms = self
            .program
            .exprs
            .iter()
            .any(|e| matches!(e.kind, ExprKind::Match { arms, .. } if self.program[arms].iter().any(|a| matches!(a.body, crate::syntax::ast::Body::Block(_)))));
        self.reassigned_in_expr =
            has_block_arms && self.program.stmts.iter().any(|s| matches!(s.kind, StmtKind::Assign { .. }));
    }

    /// Loops hold their list while they run; if it may grow in place meanwhile, it must be marked as shared.
    fn find_appends(&mut self) {
        for (index, expr) in self.program.exprs.iter().enumerate() {
            let id = ExprId::new(index);
            if self.types.in_place(id) {
                self.appends.push(expr.span.start);
            }
            if !matches!(expr.kind, ExprKind::Call { .. }) {
                continue;
            }
            if !matches!(
                self.types.call(id),
                CallKind::Builtin(_) | CallKind::Construct(_) | CallKind::Undefined
            ) {
                self.calls.push(expr.span.start);
            }
        }
        self.appends.sort_unstable();
        self.calls.sort_unstable();
    }

    /// Variables of registers that `s = s + ...` extends.
    fn find_extended(&mut self) {
        let mut declared = HashSet::default();
        for stmt in &self.program.stmts {
            if let StmtKind::Let { bind, .. } = stmt.kind
                && self.resolution.slot(bind) == bind
                && self.resolution.bind(bind).storage == Storage::Register
                && self.types.bind(bind) == TyId::STRING
            {
                declared.insert(bind);
            }
        }
        for stmt in &self.program.stmts {
            if let StmtKind::Assign { target, value } = stmt.kind
                && let Some(slot) = self.variable_slot(target)
                && declared.contains(&slot)
                && self.parts_added(slot, value).is_some()
            {
                self.extended.insert(slot);
            }
        }
    }

    /// Empty lists that will not stay empty: they get room at once, instead of by the first element.
    fn find_growing(&mut self) {
        let mut appended = HashSet::default();
        for stmt in &self.program.stmts {
            if let StmtKind::Assign { target, value } = stmt.kind
                && self.types.in_place(value)
            {
                appended.extend(self.variable_slot(target));
            }
        }
        for stmt in &self.program.stmts {
            let (slot, value) = match stmt.kind {
                StmtKind::Let { bind, value: Some(value) } => (Some(self.resolution.slot(bind)), value),
                StmtKind::Assign { target, value } => (self.variable_slot(target), value),
                _ => continue,
            };
            if slot.is_some_and(|slot| appended.contains(&slot))
                && matches!(self.program[value].kind, ExprKind::List(items) if items.is_empty())
            {
                self.growing.insert(value);
            }
        }
    }

    /// The variable that an expression names.
    fn variable_slot(&self, id: ExprId) -> Option<BindId> {
        if !matches!(self.program[id].kind, ExprKind::Name(_)) {
            return None;
        }
        match self.resolution.name(id) {
            Resolved::Bind(bind) => Some(self.resolution.slot(bind)),
            _ => None,
        }
    }

    /// What an expression adds to the string in a variable, if that is all it does.
    fn parts_added(&self, slot: BindId, id: ExprId) -> Option<Vec<BinaryLink>> {
        let spine = self.program.binary_spine(id);
        let all = !spine.links.is_empty() && self.string_links(&spine) == spine.links.len();
        (all && self.variable_slot(spine.first) == Some(slot)).then_some(spine.links)
    }

    /// How many operators at the start of a chain put strings together.
    fn string_links(&self, spine: &BinarySpine) -> usize {
        let string = |id: ExprId| self.types.expr(id) == TyId::STRING;
        if !string(spine.first) {
            return 0;
        }
        let joins = |l: &&BinaryLink| {
            l.op == BinaryOp::Add && self.adds_text(self.types.expr(l.right)) && string(l.expr)
        };
        spine.links.iter().take_while(joins).count()
    }

    /// Whether what a text and a value of a type come to is made without a call: see `Body::as_text`.
    fn adds_text(&self, ty: TyId) -> bool {
        ty == TyId::INT || self.types.get(ty).kind == TyKind::String
    }

    /// Whether a list that is held while a part of the text runs may grow in place there. A list that only one register
    /// of this function refers to cannot grow in functions that are called.
    fn may_grow(&self, within: Span, private: bool) -> bool {
        let any = |places: &[u32]| {
            let first = places.partition_point(|&p| p < within.start);
            places.get(first).is_some_and(|&p| p < within.end)
        };
        any(&self.appends) || (!private && any(&self.calls))
    }

    /// Whether a function runs as a closure.
    fn needs_environment(&self, fun: FunId) -> bool {
        let info = self.resolution.fun(fun);
        if info.top_level || self.program[fun].kind == FunKind::Method {
            return false;
        }
        // One that is assigned is a variable like others.
        let assigned = self.program[fun].bind.is_some_and(|bind| self.resolution.bind(bind).assignments > 0);
        let is_lambda = self.program[fun].kind == FunKind::Lambda;
        !info.captures.is_empty() || info.used_as_value || is_lambda || assigned
    }

    /// The module's function of a function of the program; declared and queued on first use.
    fn function(&mut self, fun: FunId) -> Declared {
        if let Some(declared) = self.functions[fun.index()] {
            return declared;
        }
        let node = self.program[fun];
        let mut params = Vec::new();
        if let Some(of) = self.resolution.fun(fun).method_of {
            let record = self.structs[of.index()];
            params.push(ValueType::Cell(self.module.module.types.cell(HeapType::Record(record))));
        }
        for &param in &self.program[node.params] {
            params.push(self.value(self.types.bind(param)));
        }
        let result = self.result(self.types.result(fun));
        let signature = self.module.signature(&params, result);
        let environment = self.needs_environment(fun);
        let captures = environment.then(|| {
            let captures = self.resolution.fun(fun).captures.clone();
            captures.iter().map(|&bind| self.capture_type(bind)).collect()
        });
        let name = match node.bind {
            Some(bind) => shown(self.names.get(self.resolution.bind(bind).name)).to_string(),
            None => "fun".to_string(),
        };
        let id = self.module.declare(&name, signature, captures);
        let declared = Declared { id, signature, environment };
        self.functions[fun.index()] = Some(declared);
        self.pending.push(fun);
        declared
    }

    /// How a captured variable travels in closures: its box, or a copy of its value in a cell.
    fn capture_type(&mut self, bind: BindId) -> CellType {
        let ty = self.types.bind(bind);
        match self.resolution.bind(bind).storage {
            Storage::Ref => self.box_type(ty),
            Storage::Register | Storage::Global => self.cell(ty),
        }
    }

    /// A closure function without captures that passes its arguments on to a function without environment.
    fn wrapper(&mut self, fun: FunId) -> FuncId {
        if let Some(&id) = self.wrappers.get(&fun) {
            return id;
        }
        let target = self.function(fun);
        let name = self.module.module.functions[target.id.index()].name.clone();
        let id = self.module.declare(&name, target.signature, Some(Vec::new()));
        self.wrappers.insert(fun, id);
        let mut builder = self.module.define(id);
        let params = self.module.module.signatures[target.signature.index()].params.clone();
        for (i, (slot, ty)) in FunctionBuilder::arguments(&params, false).into_iter().zip(&params).enumerate()
        {
            let param = builder.param(i);
            builder.move_value(ty.bank(), slot, param);
        }
        builder.tail_call(target.id);
        builder.finish(&mut self.module);
        id
    }

    /// The import of a host function with a signature.
    fn host(&mut self, name: &str, params: &[ValueType], result: Option<ValueType>) -> HostId {
        let signature = self.module.signature(params, result);
        self.module.host(name, signature)
    }

    /// What a call of a function with this result type gives: nothing where the result is always none.
    fn result(&mut self, ty: TyId) -> Option<ValueType> {
        (ty != TyId::NULL).then(|| self.value(ty))
    }
}
