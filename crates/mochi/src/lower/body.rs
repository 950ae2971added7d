//! One function in the making: its variables, temporaries and loops.

use upshift_bytecode::builder::{FunctionBuilder, Label, Reg};
use upshift_bytecode::{Bank, CellType, HeapType, HostId, ValueType};

use super::{Lowerer, Named};
use crate::infer::{Declared, DeclaredKind, Ty, TyId, TyKind};
use crate::resolve::{BindSource, Storage};
use crate::source::Span;
use crate::syntax::ast::{BindId, Block, Body as FunBody, ExprId, FunId, StmtId, StmtKind};

/// A value in a register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Val {
    pub reg: Reg,
    pub ty: TyId,
    /// Whether nobody else uses the register, so that it can be freed and overwritten.
    pub temp: bool,
}

/// Where a variable is, in the function that is being lowered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// In a register of its type.
    Register(Reg),
    /// In the box that this register holds.
    Boxed(Reg),
}

/// A loop around the statement that is being lowered.
pub(super) struct Loop {
    pub break_to: Label,
    pub continue_to: Label,
}

/// One function in the making.
pub(super) struct Body<'l, 'a> {
    pub cx: &'l mut Lowerer<'a>,
    pub fb: FunctionBuilder,
    pub fun: Option<FunId>,
    /// Type of the result; null in the main function.
    pub result: TyId,
    places: Vec<(BindId, Place)>,
    place_index: rustc_hash::FxHashMap<BindId, usize>,
    pub loops: Vec<Loop>,
    /// The receiver, in methods.
    pub receiver: Option<Reg>,
    /// Receivers of `?.` calls that are being made, which have been evaluated.
    pub evaluated: Vec<(ExprId, Val)>,
}

impl<'l, 'a> Body<'l, 'a> {
    pub fn new(
        cx: &'l mut Lowerer<'a>,
        fb: FunctionBuilder,
        fun: Option<FunId>,
        result: TyId,
    ) -> Body<'l, 'a> {
        Body {
            cx,
            fb,
            fun,
            result,
            places: Vec::new(),
            place_index: rustc_hash::FxHashMap::default(),
            loops: Vec::new(),
            receiver: None,
            evaluated: Vec::new(),
        }
    }

    /// The main function: the statements of the top level.
    pub fn main(cx: &'l mut Lowerer<'a>, fb: FunctionBuilder) {
        let mut body = Body::new(cx, fb, None, TyId::NULL);
        body.start_globals();
        body.start_function_values();
        body.start_named_values();
        body.start_tables();
        let is_fun = |&stmt: &StmtId| matches!(body.cx.program[stmt].kind, StmtKind::Fun(_));
        let stmts = &body.cx.program[body.cx.program.body.stmts];
        // Variables that top-level functions are have them before anything runs.
        let (functions, others): (Vec<StmtId>, Vec<StmtId>) = stmts.iter().partition(|stmt| is_fun(stmt));
        for stmt in functions.into_iter().chain(others) {
            body.statement(stmt);
        }
        body.fb.return_void();
        body.fb.finish(&mut body.cx.module);
    }

    /// A function of the program.
    pub fn function(cx: &'l mut Lowerer<'a>, fun: FunId, fb: FunctionBuilder) {
        let result = cx.types.result(fun);
        let mut body = Body::new(cx, fb, Some(fun), result);
        let node = body.cx.program[fun];
        body.span(node.span);
        body.open_captures(fun);
        let first = usize::from(body.cx.resolution.fun(fun).method_of.is_some());
        if first == 1 {
            let receiver = body.fb.param(0);
            body.receiver = Some(receiver);
            if let Some(bind) = body.cx.resolution.fun(fun).receiver {
                body.set_place(bind, Place::Register(receiver));
            }
            body.open_fields(fun);
        }
        for (i, &param) in body.cx.program[node.params].iter().enumerate() {
            let reg = body.fb.param(first + i);
            let reg = match body.converts(body.cx.types.declared(param)) {
                Some(number) => body.widened(Val { reg, ty: TyId::ANY, temp: false }, number).reg,
                None => reg,
            };
            body.adopt(param, reg);
        }
        match node.body {
            FunBody::Block(block) => {
                body.block(block);
                if body.fb.is_reachable() {
                    body.return_null();
                }
            }
            FunBody::Expr(value) => {
                if body.result == TyId::NULL {
                    let v = body.expr(value, None);
                    body.done(v);
                    body.fb.return_void();
                } else {
                    let v = body.expr_as(value, body.result);
                    body.return_val(v);
                }
            }
        }
        body.fb.finish(&mut body.cx.module);
    }

    fn open_captures(&mut self, fun: FunId) {
        let captures = self.cx.resolution.fun(fun).captures.clone();
        for (i, bind) in captures.into_iter().enumerate() {
            let cell = self.cx.capture_type(bind);
            let reg = self.fb.cell(cell);
            self.fb.capture_get(reg, i as u16);
            if self.cx.resolution.bind(bind).storage == Storage::Ref {
                self.set_place(bind, Place::Boxed(reg));
                continue;
            }
            if matches!(self.cx.resolution.bind(bind).source, BindSource::Receiver { .. }) {
                self.receiver = Some(reg);
            }
            let ty = self.cx.types.bind(bind);
            match self.cx.value(ty) {
                ValueType::Cell(_) => self.set_place(bind, Place::Register(reg)),
                raw => {
                    let value = self.fb.value(raw);
                    self.unbox_raw(raw, value, reg);
                    self.fb.free(reg);
                    self.set_place(bind, Place::Register(value));
                }
            }
        }
    }

    /// Fields of the receiver are copied into variables.
    fn open_fields(&mut self, method: FunId) {
        let info = self.cx.resolution.fun(method);
        let (Some(of), binds) = (info.method_of, info.field_binds.clone()) else { return };
        let receiver = self.fb.param(0);
        for (field, bind) in binds.into_iter().enumerate() {
            let Some(bind) = bind else { continue };
            let ty = self.cx.types.fields(of)[field];
            let reg = self.reg(ty);
            self.load_field(reg, receiver, field as u16, ty);
            let value = Val { reg, ty, temp: true };
            self.share_unless_borrowed(value, bind);
            let value = self.convert(value, self.cx.types.bind(bind));
            self.declare(bind, value);
        }
    }

    /// Sets the source place of what follows.
    pub fn span(&mut self, span: Span) {
        self.fb.set_span(upshift_bytecode::Span { source: span.file.0, start: span.start, end: span.end });
    }

    // ---- Types ----

    pub fn kind(&self, ty: TyId) -> TyKind {
        self.cx.types.get(ty).kind
    }

    pub fn ty(&self, id: TyId) -> Ty {
        self.cx.types.get(id)
    }

    pub fn is_nullable(&self, id: TyId) -> bool {
        self.cx.types.get(id).nullable
    }

    /// The type of a bytecode heap type, never null.
    pub fn cell_of(&mut self, heap: HeapType) -> CellType {
        self.cx.module.module.types.cell(heap)
    }

    // ---- Temporaries ----

    /// A new register for values of a type.
    pub fn reg(&mut self, ty: TyId) -> Reg {
        let value = self.cx.value(ty);
        self.fb.value(value)
    }

    /// A new register for a variable.
    pub fn variable_reg(&mut self, bind: BindId) -> Reg {
        let slot = self.cx.resolution.slot(bind);
        let ty = self.cx.types.bind(bind);
        if self.cx.extended.contains(&slot) {
            let string = self.cx.cell(ty);
            return self.fb.extensible(string);
        }
        self.reg(ty)
    }

    /// A register to put a result of a type into: the wanted one, or a new one.
    pub fn target(&mut self, ty: TyId, dst: Option<Reg>) -> Val {
        match dst {
            Some(reg) => Val { reg, ty, temp: false },
            None => Val { reg: self.reg(ty), ty, temp: true },
        }
    }

    /// Gives a temporary back.
    pub fn done(&mut self, val: Val) {
        if val.temp {
            self.fb.free(val.reg);
        }
    }

    pub fn bank(&self, ty: TyId) -> Bank {
        self.cx.value(ty).bank()
    }

    /// Copies a value of a type.
    pub fn copy(&mut self, ty: TyId, dst: Reg, src: Reg) {
        let bank = self.bank(ty);
        self.fb.move_value(bank, dst, src);
    }

    /// The value in a register that nobody else changes.
    pub fn owned(&mut self, val: Val) -> Val {
        if val.temp {
            return val;
        }
        let reg = self.reg(val.ty);
        self.copy(val.ty, reg, val.reg);
        Val { reg, ty: val.ty, temp: true }
    }

    /// None as a value.
    pub fn null(&mut self, dst: Option<Reg>) -> Val {
        let val = self.target(TyId::NULL, dst);
        self.fb.load_nil(val.reg);
        val
    }

    pub fn host(&mut self, name: &str, params: &[ValueType], result: Option<ValueType>) -> HostId {
        self.cx.host(name, params, result)
    }

    // ---- Variables ----

    pub fn set_place(&mut self, bind: BindId, place: Place) {
        self.place_index.insert(bind, self.places.len());
        self.places.push((bind, place));
    }

    pub fn place(&self, bind: BindId) -> Option<Place> {
        let bind = self.cx.resolution.slot(bind);
        self.place_index.get(&bind).map(|&i| self.places[i].1)
    }

    /// Takes a parameter's register as the variable, or boxes it where closures share it.
    fn adopt(&mut self, bind: BindId, reg: Reg) {
        if self.cx.resolution.bind(bind).storage == Storage::Register {
            self.set_place(bind, Place::Register(reg));
        } else {
            let ty = self.cx.types.bind(bind);
            self.declare(bind, Val { reg, ty, temp: false });
        }
    }

    /// Starts a variable with a value of its type.
    pub fn declare(&mut self, bind: BindId, value: Val) {
        let slot = self.cx.resolution.slot(bind);
        let ty = self.cx.types.bind(bind);
        match self.cx.resolution.bind(bind).storage {
            Storage::Global => {
                self.store_global(slot, value.reg);
                self.done(value);
            }
            Storage::Ref => {
                let cell = self.cx.box_type(ty);
                let reg = match self.place(bind) {
                    Some(Place::Boxed(reg)) => reg,
                    _ => self.fb.cell(cell),
                };
                self.new_box(reg, value.reg, ty, cell);
                self.set_place(slot, Place::Boxed(reg));
                self.done(value);
            }
            Storage::Register => match self.place(bind) {
                Some(Place::Register(reg)) => {
                    self.copy(ty, reg, value.reg);
                    self.done(value);
                }
                _ if self.cx.extended.contains(&slot) && !self.fb.is_extensible(value.reg) => {
                    let reg = self.variable_reg(bind);
                    self.copy(ty, reg, value.reg);
                    self.done(value);
                    self.set_place(slot, Place::Register(reg));
                }
                _ => {
                    let owned = self.owned(value);
                    self.set_place(slot, Place::Register(owned.reg));
                }
            },
        }
    }

    /// The register that a declaration may evaluate into directly, if the variable is one.
    pub fn register_of(&mut self, bind: BindId) -> Option<Reg> {
        if self.cx.resolution.bind(bind).storage != Storage::Register {
            return None;
        }
        match self.place(bind) {
            Some(Place::Register(reg)) => Some(reg),
            _ => None,
        }
    }

    fn new_box(&mut self, dst: Reg, value: Reg, ty: TyId, cell: CellType) {
        match self.cx.value(ty) {
            ValueType::Int | ValueType::Bool => self.fb.ref_int_new(dst, value),
            ValueType::Float => self.fb.ref_float_new(dst, value),
            ValueType::Cell(_) => self.fb.ref_cell_new(dst, value, cell),
        }
    }

    fn store_global(&mut self, slot: BindId, value: Reg) {
        let global = self.cx.globals[&slot];
        match self.bank(self.cx.types.bind(slot)) {
            Bank::Int => self.fb.global_int_set(value, global),
            Bank::Float => self.fb.global_float_set(value, global),
            Bank::Cell => self.fb.global_cell_set(value, global),
        }
    }

    /// Globals that functions may read or call before their declaration has run start as none.
    fn start_globals(&mut self) {
        let mut binds: Vec<BindId> = self.cx.globals.keys().copied().collect();
        binds.sort_unstable();
        for bind in binds {
            let ty = self.cx.types.bind(bind);
            let info = self.cx.resolution.bind(bind);
            if (info.read_early || info.called_early) && self.is_nullable(ty) {
                let reg = self.reg(ty);
                self.fb.load_nil(reg);
                self.store_global(bind, reg);
                self.fb.free(reg);
            }
        }
    }

    /// Makes the functions of builtins and constructors that are used as values.
    fn start_named_values(&mut self) {
        for (named, global, span) in self.cx.named_values.clone() {
            self.span(span);
            let val = match named {
                Named::Builtin(builtin) => self.builtin_value(builtin),
                Named::Constructor(ctor) => self.constructor_value(ctor),
            };
            self.fb.global_cell_set(val.reg, global);
            self.done(val);
        }
    }

    /// Makes the closures of top-level functions that are used as values.
    fn start_function_values(&mut self) {
        let mut values: Vec<_> =
            self.cx.function_values.iter().map(|(&fun, &global)| (global, fun)).collect();
        values.sort_unstable();
        for (global, fun) in values {
            let wrapper = self.cx.wrapper(fun);
            let signature = self.cx.function(fun).signature;
            let cell = self.cell_of(HeapType::Closure(signature));
            let reg = self.fb.cell(cell);
            self.fb.closure_new(reg, wrapper);
            self.fb.global_cell_set(reg, global);
            self.fb.free(reg);
        }
    }

    /// Reads a variable. The result is the variable's own register where it has one.
    pub fn read(&mut self, bind: BindId, dst: Option<Reg>) -> Val {
        let slot = self.cx.resolution.slot(bind);
        let ty = self.cx.types.bind(slot);
        match self.place(slot) {
            Some(Place::Register(reg)) if self.cx.extended.contains(&slot) => {
                let val = self.target(ty, dst);
                self.fb.string_share(val.reg, reg);
                val
            }
            Some(Place::Register(reg)) => Val { reg, ty, temp: false },
            Some(Place::Boxed(r)) => {
                let val = self.target(ty, dst);
                match self.bank(ty) {
                    Bank::Int => self.fb.ref_int_get(val.reg, r),
                    Bank::Float => self.fb.ref_float_get(val.reg, r),
                    Bank::Cell => self.fb.ref_cell_get(val.reg, r),
                }
                val
            }
            None => match self.cx.globals.get(&slot).copied() {
                Some(global) => {
                    let val = self.target(ty, dst);
                    match self.bank(ty) {
                        Bank::Int => self.fb.global_int_get(val.reg, global),
                        Bank::Float => self.fb.global_float_get(val.reg, global),
                        Bank::Cell => self.fb.global_cell_get(val.reg, global),
                    }
                    val
                }
                // A variable whose declaration lies elsewhere: none, as for undeclared names.
                None => self.zero(ty, dst),
            },
        }
    }

    /// Writes a value of the variable's type.
    pub fn write(&mut self, bind: BindId, value: Reg) {
        let slot = self.cx.resolution.slot(bind);
        let ty = self.cx.types.bind(slot);
        match self.place(slot) {
            Some(Place::Register(reg)) => self.copy(ty, reg, value),
            Some(Place::Boxed(r)) => match self.bank(ty) {
                Bank::Int => self.fb.ref_int_set(r, value),
                Bank::Float => self.fb.ref_float_set(r, value),
                Bank::Cell => self.fb.ref_cell_set(r, value),
            },
            None if self.cx.globals.contains_key(&slot) => self.store_global(slot, value),
            None => {
                let reg = self.reg(ty);
                self.copy(ty, reg, value);
                self.set_place(slot, Place::Register(reg));
            }
        }
    }

    /// The value that a variable without initial value holds.
    pub fn zero(&mut self, ty: TyId, dst: Option<Reg>) -> Val {
        let val = self.target(ty, dst);
        let reg = val.reg;
        let Ty { kind, nullable } = self.ty(ty);
        match kind {
            TyKind::Int | TyKind::Bool if !nullable => self.fb.int_const(reg, 0),
            TyKind::Float if !nullable => self.fb.load_float(reg, 0.0),
            TyKind::String if !nullable => {
                let empty = self.cx.module.string("");
                self.fb.string_const(reg, empty);
            }
            TyKind::List(_) if !nullable => self.new_list(reg, ty, 0),
            TyKind::Map(..) if !nullable => {
                let cell = self.cx.cell(ty);
                self.fb.map_new(reg, 0, cell);
            }
            _ if nullable => self.fb.load_nil(reg),
            // Inference saw no value that gets here.
            _ => self.fb.trap(upshift_bytecode::TrapCode::Uninitialized),
        }
        val
    }

    /// The value that a variable without initial value holds which is declared so and became `any`.
    pub fn zero_of(&mut self, declared: Declared) -> Val {
        let ty = match declared.kind {
            _ if declared.nullable => TyId::NULL,
            DeclaredKind::Int => TyId::INT,
            DeclaredKind::Float => TyId::FLOAT,
            DeclaredKind::Bool => TyId::BOOL,
            DeclaredKind::String => TyId::STRING,
            DeclaredKind::BigInt | DeclaredKind::BigRat => TyId::NULL,
            DeclaredKind::List => {
                let cell = self.any_list();
                let reg = self.fb.cell(cell);
                self.fb.list_cell_new(reg, 0, cell);
                return self.widen(reg);
            }
            DeclaredKind::Map => {
                let cell = self.any_map();
                let reg = self.fb.cell(cell);
                self.fb.map_new(reg, 0, cell);
                return self.widen(reg);
            }
        };
        let zero = self.zero(ty, None);
        self.any(zero)
    }

    /// The statements of a block; registers of its variables are free behind it.
    pub fn block(&mut self, block: Block) {
        let mark = self.places.len();
        self.statements(block.stmts);
        self.close_scope(mark);
    }

    /// How many variables have places now; see [`Self::close_scope`].
    pub fn open_scope(&self) -> usize {
        self.places.len()
    }

    /// Frees the registers of variables that were declared since.
    pub fn close_scope(&mut self, mark: usize) {
        for (bind, place) in self.places.split_off(mark) {
            self.place_index.remove(&bind);
            match place {
                Place::Register(reg) | Place::Boxed(reg) => self.fb.free(reg),
            }
        }
    }
}
