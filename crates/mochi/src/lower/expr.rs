//! Expressions.

use upshift_bytecode::builder::{FunctionBuilder, Reg};
use upshift_bytecode::{
    ANY, Bank, CellConst, CellType, HeapType, Immediate, KeyPolicy, NumberPolicy, ValueType,
};
use upshift_runtime::list::least_room;
use upshift_runtime::object::ObjectKind;

use super::body::{Body, Place, Val};
use super::{Lowerer, Named, POLICY};
use crate::builtins::Builtin;
use crate::infer::{CallKind, Ty, TyId, TyKind};
use crate::resolve::{CtorId, Resolved, StructId};
use crate::syntax::ast::{
    BinaryOp, Choice, ExprId, ExprKind, FieldInit, FunId, Ident, List, MapEntry, MapKey, Name, UnaryOp,
};

/// Evaluating the expression may run guest or host code, which uses the window.
pub(super) const CALLS: u8 = 1;
/// Evaluating it may collect.
pub(super) const ALLOCS: u8 = 2;
/// Evaluating it takes several blocks.
pub(super) const BRANCHES: u8 = 4;

/// What evaluating each expression may do. Children have smaller ids than their parents, so one pass is enough.
pub(super) fn flags(cx: &Lowerer<'_>) -> Vec<u8> {
    let mut flags = vec![0u8; cx.program.exprs.len()];
    for index in 0..flags.len() {
        let id = ExprId::new(index);
        flags[index] = expression_flags(cx, id, &flags);
    }
    flags
}

fn expression_flags(cx: &Lowerer<'_>, id: ExprId, flags: &[u8]) -> u8 {
    const ALL: u8 = CALLS | ALLOCS | BRANCHES;
    let of = |e: ExprId| flags[e.index()];
    let is = |e: ExprId, kind: TyKind| cx.types.get(cx.types.expr(e)) == Ty { kind, nullable: false };
    let number = |e: ExprId| is(e, TyKind::Int) || is(e, TyKind::Float);
    if cx.types.stored(id).is_some() {
        return ALL;
    }
    match cx.kind(id) {
        ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) | ExprKind::Str(_) | ExprKind::None => 0,
        ExprKind::Name(_) => match cx.resolution.name(id) {
            Resolved::Bind(bind) if cx.types.bind(bind) == cx.types.expr(id) => 0,
            Resolved::Undeclared => 0,
            _ => ALL,
        },
        ExprKind::Unary { operand, .. } if number(operand) || is(operand, TyKind::Bool) => of(operand),
        ExprKind::Binary { op, left, right, .. } => {
            let children = of(left) | of(right);
            let scalars =
                (number(left) && number(right)) || (is(left, TyKind::Bool) && is(right, TyKind::Bool));
            let strings = is(left, TyKind::String) && is(right, TyKind::String);
            match op {
                BinaryOp::Add if strings => children | ALLOCS,
                BinaryOp::Equal | BinaryOp::NotEqual if strings => children,
                BinaryOp::And | BinaryOp::Or | BinaryOp::Coalesce | BinaryOp::In => ALL,
                BinaryOp::Union | BinaryOp::UnionAll | BinaryOp::Except | BinaryOp::Intersect => ALL,
                _ if cx.compares_by_value(id) => ALL,
                _ if scalars => children,
                _ => ALL,
            }
        }
        ExprKind::Index { base, index, optional: false } => {
            let Ty { kind, nullable } = cx.types.get(cx.types.expr(base));
            match kind {
                TyKind::List(_) if !nullable && is(index, TyKind::Int) => of(base) | of(index),
                TyKind::String if !nullable && is(index, TyKind::Int) => of(base) | of(index) | ALLOCS,
                _ => ALL,
            }
        }
        ExprKind::Field { base, optional: false, .. } => match cx.types.get(cx.types.expr(base)) {
            Ty { kind: TyKind::Struct(_), nullable: false } => of(base),
            _ => ALL,
        },
        ExprKind::Cast { value, .. } if number(value) && number(id) => of(value),
        ExprKind::Call { args, .. } => match cx.types.call(id) {
            CallKind::Builtin(Builtin::Len) if cx.program[args].len() == 1 => {
                let arg = cx.program[args][0];
                match cx.types.get(cx.types.expr(arg)) {
                    Ty { kind: TyKind::List(_) | TyKind::String | TyKind::Map(..), nullable: false } => {
                        of(arg)
                    }
                    _ => ALL,
                }
            }
            _ => ALL,
        },
        _ => ALL,
    }
}

impl Body<'_, '_> {
    pub fn expr_ty(&self, id: ExprId) -> TyId {
        self.cx.types.expr(id)
    }

    /// Whether the last op of evaluating the expression is the only one that writes its destination, and does so in one
    /// block: then the destination may be a variable that the expression reads, or a window slot.
    pub fn writes_once(&self, id: ExprId) -> bool {
        if self.cx.types.shares(id) {
            return false;
        }
        match self.cx.kind(id) {
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::None
            | ExprKind::Name(_)
            | ExprKind::Unary { .. } => true,
            ExprKind::Binary { op, .. } => {
                !matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Coalesce | BinaryOp::In)
            }
            ExprKind::Index { base, index, optional: false } => {
                let (base, index) = (self.ty(self.expr_ty(base)), self.ty(self.expr_ty(index)));
                matches!(base.kind, TyKind::List(_) | TyKind::String)
                    && !base.nullable
                    && index.kind == TyKind::Int
            }
            ExprKind::Field { base, optional: false, .. } => {
                matches!(self.ty(self.expr_ty(base)), Ty { kind: TyKind::Struct(_), nullable: false })
            }
            ExprKind::Call { args, .. } => match self.cx.types.call(id) {
                CallKind::Direct(_) => true,
                CallKind::Builtin(builtin) => self.is_one_op(id, builtin, &self.cx.program[args]),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether a call of a builtin becomes one op whose destination may be any register of the result's type.
    fn is_one_op(&self, id: ExprId, builtin: Builtin, args: &[ExprId]) -> bool {
        let ty = |i: usize| args.get(i).map(|&a| self.ty(self.expr_ty(a)));
        let is = |i: usize, kind: TyKind| ty(i) == Some(Ty { kind, nullable: false });
        match builtin {
            Builtin::Append | Builtin::Push => {
                args.len() == 2
                    && self.cx.types.in_place(id)
                    && matches!(ty(0), Some(Ty { kind: TyKind::List(_), nullable: false }))
                    && self.expr_ty(args[0]) == self.expr_ty(id)
            }
            Builtin::Len => matches!(
                ty(0),
                Some(Ty { kind: TyKind::List(_) | TyKind::String | TyKind::Map(..), nullable: false })
            ),
            Builtin::Str => is(0, TyKind::Int),
            Builtin::Int => is(0, TyKind::Float),
            Builtin::Abs => is(0, TyKind::Int) || is(0, TyKind::Float),
            Builtin::Floor | Builtin::Ceil => is(0, TyKind::Float),
            Builtin::Substring | Builtin::Substr => {
                args.len() == 3 && is(0, TyKind::String) && is(1, TyKind::Int) && is(2, TyKind::Int)
            }
            _ => false,
        }
    }

    /// Evaluates an expression and converts it to a type.
    pub fn expr_as(&mut self, id: ExprId, ty: TyId) -> Val {
        let val = self.expr(id, None);
        let val = self.convert(val, ty);
        match self.cx.types.stored(id) {
            Some(number) if ty == TyId::ANY => self.widened(val, number),
            _ => val,
        }
    }

    /// Evaluates an expression, converts it to a type and puts it into a register of that type, which no one reads before.
    pub fn expr_into(&mut self, id: ExprId, ty: TyId, dst: Reg) {
        if ty == TyId::ANY && self.cx.types.stored(id).is_some() {
            let val = self.expr_as(id, ty);
            self.copy(ty, dst, val.reg);
            return self.done(val);
        }
        if self.expr_ty(id) == ty && self.writes_once(id) {
            let val = self.expr(id, Some(dst));
            if val.reg != dst {
                self.copy(ty, dst, val.reg);
                self.done(val);
            }
            return;
        }
        let val = self.expr(id, None);
        self.convert_into(val, ty, dst);
    }

    /// Evaluates an expression for its effect.
    pub fn effect(&mut self, id: ExprId) {
        match self.cx.kind(id) {
            // The body of an arm that does nothing is an empty map.
            ExprKind::Map(entries) if self.cx.program[entries].is_empty() => return,
            ExprKind::Match { subject, arms } => {
                self.span(self.cx.program[id].span);
                return self.match_arms(subject, arms, None);
            }
            _ => {}
        }
        let val = self.expr(id, None);
        if val.ty == TyId::NULL && val.temp {
            self.fb.retract(val.reg);
        }
        self.done(val);
    }

    /// Evaluates an expression. The value has the expression's type; it may be in a variable's own register. With a
    /// destination, that is where a value goes that has to be computed.
    pub fn expr(&mut self, id: ExprId, dst: Option<Reg>) -> Val {
        if let Some(&(_, val)) = self.evaluated.iter().find(|known| known.0 == id) {
            return val;
        }
        let node = self.cx.program[id];
        let ty = self.expr_ty(id);
        self.span(node.span);
        let val = match self.cx.kind(id) {
            ExprKind::Error | ExprKind::None => self.null(None),
            ExprKind::Int(value) => self.int_literal(value, ty, dst),
            ExprKind::Float(value) => {
                if let Some(val) = self.hoisted_float(value, dst) {
                    return self.convert(val, ty);
                }
                let val = self.target(TyId::FLOAT, (ty == TyId::FLOAT).then_some(dst).flatten());
                self.fb.load_float(val.reg, value);
                val
            }
            ExprKind::Bool(value) => {
                let val = self.target(TyId::BOOL, (ty == TyId::BOOL).then_some(dst).flatten());
                self.fb.int_const(val.reg, i32::from(value));
                val
            }
            ExprKind::Str(name) => self.text(name, dst.filter(|_| ty == TyId::STRING)),
            ExprKind::Name(_) => self.name(id, ty, dst),
            ExprKind::Field { base, name, .. } => self.field(id, base, name, ty, dst),
            ExprKind::Index { base, index, optional } => self.index(base, index, optional, ty, dst),
            ExprKind::Slice { base, start, end, step } => self.slice(id, base, [start, end, step], ty),
            ExprKind::Call { callee, args } => self.call(id, callee, args, ty, dst),
            ExprKind::Cast { value, .. } => self.cast(id, value, ty, dst),
            ExprKind::Unary { op, operand } => self.unary(op, operand, ty, dst),
            ExprKind::Binary { .. } => self.binary(id, dst),
            ExprKind::If { choices, otherwise } => self.if_value(choices, otherwise, ty),
            ExprKind::List(items) => self.list_literal(id, items, ty),
            ExprKind::Map(entries) => self.map_literal(id, entries, ty),
            ExprKind::Struct { name, fields } => self.struct_literal(name, fields, ty),
            ExprKind::Fun(fun) => {
                let wanted = if self.same_cell(fun, ty) { dst } else { None };
                self.closure(fun, wanted)
            }
            ExprKind::Match { subject, arms } => self.match_value(subject, arms, ty),
            ExprKind::Query(_) | ExprKind::Logic(_) | ExprKind::Generate { .. } | ExprKind::Fetch { .. } => {
                self.null(None)
            }
            ExprKind::Load { path, with, .. } => self.load(id, path, with, ty),
            ExprKind::Save { value, path, with } => self.save(value, path, with),
        };
        if self.cx.types.shares(id) && self.may_be_list(val.ty) {
            self.fb.list_share(val.reg);
        }
        self.convert(val, ty)
    }

    fn same_cell(&mut self, fun: FunId, ty: TyId) -> bool {
        let declared = self.cx.function(fun);
        let closure = self.cell_of(HeapType::Closure(declared.signature));
        self.cx.value(ty) == ValueType::Cell(closure)
    }

    /// Whether a value of the type may be a list.
    pub fn may_be_list(&self, ty: TyId) -> bool {
        matches!(self.kind(ty), TyKind::List(_) | TyKind::Any)
    }

    /// A constant text; one that is used inside a loop is loaded once, at the function's entry.
    pub fn text(&mut self, text: Name, dst: Option<Reg>) -> Val {
        let text = self.cx.names.get(text).to_string();
        let string = self.cx.module.string(&text);
        if dst.is_none()
            && !self.loops.is_empty()
            && let ValueType::Cell(cell) = self.cx.value(TyId::STRING)
            && let Some(reg) = self.fb.hoisted_string(string, cell)
        {
            return Val { reg, ty: TyId::STRING, temp: false };
        }
        let val = self.target(TyId::STRING, dst);
        self.fb.string_const(val.reg, string);
        val
    }

    /// A float constant that is used inside a loop is loaded once, at the function's entry.
    fn hoisted_float(&mut self, value: f64, dst: Option<Reg>) -> Option<Val> {
        if dst.is_some() || self.loops.is_empty() {
            return None;
        }
        let reg = self.fb.hoisted_float(value)?;
        Some(Val { reg, ty: TyId::FLOAT, temp: false })
    }

    fn int_literal(&mut self, value: i64, ty: TyId, dst: Option<Reg>) -> Val {
        if ty == TyId::FLOAT {
            if let Some(val) = self.hoisted_float(value as f64, dst) {
                return val;
            }
            let val = self.target(ty, dst);
            self.fb.load_float(val.reg, value as f64);
            return val;
        }
        if dst.is_none()
            && !self.loops.is_empty()
            && let Some(reg) = self.fb.hoisted_int(value)
        {
            return Val { reg, ty: TyId::INT, temp: false };
        }
        let val = self.target(TyId::INT, (ty == TyId::INT).then_some(dst).flatten());
        self.fb.load_int(val.reg, value);
        val
    }

    // ---- Names ----

    fn name(&mut self, id: ExprId, ty: TyId, dst: Option<Reg>) -> Val {
        match self.cx.resolution.name(id) {
            Resolved::Bind(bind) => self.variable(bind, ty, dst),
            Resolved::Function(fun) => self.function_value(fun),
            Resolved::Method(fun) => self.method_value(fun),
            Resolved::Variant(ctor) if self.cx.types.ctor_fields(ctor).is_empty() => {
                self.construct(ctor, &[])
            }
            Resolved::Variant(ctor) => self.named_value(Named::Constructor(ctor)),
            Resolved::Struct(of) => self.struct_without_values(of),
            Resolved::Builtin(builtin) => self.named_value(Named::Builtin(builtin)),
            Resolved::Undeclared | Resolved::Module(_) | Resolved::Extern(_) => self.null(None),
        }
    }

    /// Reads a variable, nested functions included.
    pub fn variable(&mut self, bind: crate::syntax::ast::BindId, ty: TyId, dst: Option<Reg>) -> Val {
        let slot = self.cx.resolution.slot(bind);
        if self.place(slot).is_none() && !self.cx.globals.contains_key(&slot) {
            // A nested function that refers to itself, or one whose closure was not made because nothing needs it.
            if let Some(fun) = self.cx.resolution.bind(slot).known_fun {
                if Some(fun) == self.fun
                    && let Some(reg) = self.fb.environment()
                {
                    let bind_ty = self.cx.types.bind(slot);
                    return Val { reg, ty: bind_ty, temp: false };
                }
                return self.closure(fun, None);
            }
        }
        let wanted = dst.filter(|_| self.cx.types.bind(slot) == ty);
        self.read(slot, wanted)
    }

    /// A builtin or constructor as a value.
    fn named_value(&mut self, named: Named) -> Val {
        let mut known = self.cx.named_values.iter();
        let &(_, global, _) = known.find(|known| known.0 == named).expect("all of them were found");
        let val = self.target(TyId::ANY, None);
        self.fb.global_cell_get(val.reg, global);
        val
    }

    /// A top-level function as a value.
    fn function_value(&mut self, fun: FunId) -> Val {
        let wrapper = self.cx.wrapper(fun);
        let signature = self.cx.function(fun).signature;
        let cell = self.cell_of(HeapType::Closure(signature));
        let reg = self.fb.cell(cell);
        match self.cx.function_values.get(&fun) {
            Some(&global) => self.fb.global_cell_get(reg, global),
            None => self.fb.closure_new(reg, wrapper),
        }
        self.function_val(reg, fun)
    }

    /// A closure in a register of its own type, as a value: of function type where there is one with this signature.
    fn function_val(&mut self, reg: Reg, fun: FunId) -> Val {
        let node = self.cx.program[fun];
        let params: Vec<TyId> = self.cx.program[node.params].iter().map(|&p| self.cx.types.bind(p)).collect();
        let result = self.cx.types.result(fun);
        let found = self.cx.types.all().iter().position(|t| match t.kind {
            TyKind::Fun(p, r) if !t.nullable => r == result && self.cx.types.params(p) == params,
            _ => false,
        });
        match found {
            Some(index) => Val { reg, ty: TyId(index as u32), temp: true },
            None => {
                let any = self.fb.cell(ANY);
                self.fb.cell_move(any, reg);
                self.fb.free(reg);
                Val { reg: any, ty: TyId::ANY, temp: true }
            }
        }
    }

    /// A method of the running method's struct as a value: it keeps the receiver.
    fn method_value(&mut self, fun: FunId) -> Val {
        let Some(receiver) = self.receiver else { return self.null(None) };
        let wrapper = self.cx.wrapper(fun);
        let signature = self.cx.function(fun).signature;
        let cell = self.cell_of(HeapType::Closure(signature));
        let closure = self.fb.cell(cell);
        self.fb.closure_new(closure, wrapper);
        let callee = self.fb.cell(ANY);
        self.fb.cell_move(callee, closure);
        self.fb.free(closure);
        self.partial(Val { reg: callee, ty: TyId::ANY, temp: true }, &[receiver])
    }

    /// A function of the program as a closure, with the variables that it captures.
    pub fn closure(&mut self, fun: FunId, dst: Option<Reg>) -> Val {
        let declared = self.cx.function(fun);
        if !declared.environment {
            return self.function_value(fun);
        }
        let captures = self.cx.resolution.fun(fun).captures.clone();
        // Values first, window last: boxing may collect.
        let values: Vec<Val> = captures
            .iter()
            .map(|&bind| match self.place(bind) {
                Some(Place::Boxed(reg)) => Val { reg, ty: TyId::ANY, temp: false },
                _ => {
                    let ty = self.cx.types.bind(bind);
                    let val = self.variable(bind, ty, None);
                    match self.cx.value(ty) {
                        ValueType::Cell(_) => val,
                        raw => {
                            let cell = self.cx.cell(ty);
                            let reg = self.fb.cell(cell);
                            self.box_raw(raw, reg, val.reg);
                            self.done(val);
                            Val { reg, ty: TyId::ANY, temp: true }
                        }
                    }
                }
            })
            .collect();
        for (slot, value) in FunctionBuilder::cell_arguments(values.len()).into_iter().zip(&values) {
            self.fb.cell_move(slot, value.reg);
        }
        for value in values {
            self.done(value);
        }
        let cell = self.cell_of(HeapType::Closure(declared.signature));
        let reg = dst.unwrap_or_else(|| self.fb.cell(cell));
        self.fb.closure_new(reg, declared.id);
        if dst.is_some() {
            return Val { temp: false, ..self.named_function_val(reg, fun) };
        }
        self.function_val(reg, fun)
    }

    fn named_function_val(&mut self, reg: Reg, fun: FunId) -> Val {
        let ty = self.cx.program[fun].bind.map_or(TyId::ANY, |bind| self.cx.types.bind(bind));
        Val { reg, ty, temp: false }
    }

    // ---- Fields, indexes, slices ----

    /// dst = field of a record register whose declared field type is `ty`.
    pub fn load_field(&mut self, dst: Reg, record: Reg, field: u16, ty: TyId) {
        match self.bank(ty) {
            Bank::Int => self.fb.record_int_get(dst, record, field),
            Bank::Float => self.fb.record_float_get(dst, record, field),
            Bank::Cell => self.fb.record_cell_get(dst, record, field),
        }
    }

    fn field(&mut self, id: ExprId, base: ExprId, name: Ident, ty: TyId, dst: Option<Reg>) -> Val {
        if let Some(val) = self.module_member(base, name.name, ty) {
            return val;
        }
        let object = self.expr(base, None);
        self.span(self.cx.program[id].span);
        let Ty { kind, nullable } = self.ty(object.ty);
        match kind {
            TyKind::Struct(of)
                if nullable
                    && let Some(index) = self.cx.resolution.field_index(self.cx.program, of, name.name)
                    && let field_ty = self.cx.types.fields(of)[index]
                    && let Some(present) = self.part_of_some(object.ty, field_ty, ty) =>
            {
                // A field of none is none.
                let result = self.target(ty, None);
                self.or_none(object, present, result.reg, |b, record| {
                    let val = b.target(field_ty, None);
                    b.load_field(val.reg, record, index as u16, field_ty);
                    b.convert_into(val, ty, result.reg);
                });
                self.done(object);
                result
            }
            TyKind::Struct(of) if !nullable => {
                if let Some(index) = self.cx.resolution.field_index(self.cx.program, of, name.name) {
                    let field_ty = self.cx.types.fields(of)[index];
                    let val = self.target(field_ty, dst.filter(|_| field_ty == ty));
                    self.load_field(val.reg, object.reg, index as u16, field_ty);
                    self.done(object);
                    return val;
                }
                match self.cx.resolution.method(of, name.name) {
                    Some(fun) => self.method_of(fun, object),
                    None => self.field_of_any(object, name),
                }
            }
            TyKind::Null => {
                self.done(object);
                self.null(None)
            }
            // Maps of rows, whose variables have fields too, are never of a map type.
            TyKind::Map(key, _) if key == TyId::STRING => {
                let key = self.text(name.name, None);
                self.load_element(object, key, ty, dst)
            }
            // Fields of none are none, with `?.` and without.
            _ => self.field_of_any(object, name),
        }
    }

    /// A field of any object, by the shape cached at the site; null and absent fields give null.
    pub fn own_field_of_any(&mut self, object: Val, name: Ident) -> Val {
        let text = self.cx.names.get(name.name).to_string();
        let field = self.cx.module.name(&text, 0);
        let site = self.fb.feedback();
        let reg = self.fb.cell(ANY);
        self.fb.cell_field_get(reg, object.reg, POLICY, field, site);
        Val { reg, ty: TyId::ANY, temp: true }
    }

    /// As [`own_field_of_any`](Self::own_field_of_any), boxing the object. A struct may have a method of the
    /// name instead, which is looked for where there is no field.
    fn field_of_any(&mut self, object: Val, name: Ident) -> Val {
        let object = self.boxed(object);
        let Val { reg, .. } = self.own_field_of_any(object, name);
        let methods = self.methods_named(name.name);
        if !methods.is_empty() {
            let (absent, end) = (self.fb.label(), self.fb.label());
            self.fb.is_branch(reg, Immediate::Nil, absent);
            self.fb.jump(end);
            self.fb.bind(absent);
            for (of, fun) in methods {
                let next = self.fb.label();
                let this = self.if_record(of, object, next);
                let val = self.method_of(fun, this);
                self.convert_into(val, TyId::ANY, reg);
                self.fb.jump(end);
                self.fb.bind(next);
            }
            self.fb.bind(end);
        }
        self.done(object);
        Val { reg, ty: TyId::ANY, temp: true }
    }

    fn index(&mut self, base: ExprId, index: ExprId, _optional: bool, ty: TyId, dst: Option<Reg>) -> Val {
        let object = self.operand(base, index);
        if object.ty == TyId::NULL {
            self.effect(index);
            self.done(object);
            return self.null(None);
        }
        let key = self.expr(index, None);
        self.span(self.cx.program[base].span.to(self.cx.program[index].span));
        self.load_element(object, key, ty, dst)
    }

    /// object[key], as a value of the element's type, nullable where the key may be absent. Frees both.
    pub fn load_element(&mut self, object: Val, key: Val, ty: TyId, dst: Option<Reg>) -> Val {
        let Ty { kind, nullable } = self.ty(object.ty);
        match kind {
            TyKind::List(element) if !nullable && key.ty == TyId::INT => {
                let val = self.target(element, dst.filter(|_| element == ty));
                self.list_get(val.reg, object.reg, key.reg, element);
                self.done(object);
                self.done(key);
                val
            }
            TyKind::List(_) | TyKind::Map(..) | TyKind::String
                if nullable
                    && let Some(part) = self.part_by_key(kind, key.ty)
                    && let Some(present) = self.part_of_some(object.ty, part, ty) =>
            {
                // An element of none is none.
                let result = self.target(ty, None);
                self.or_none(object, present, result.reg, |b, object| {
                    let object = Val { reg: object, ty: present, temp: false };
                    let val = b.load_element(object, Val { temp: false, ..key }, ty, None);
                    b.convert_into(val, ty, result.reg);
                });
                self.done(object);
                self.done(key);
                result
            }
            TyKind::String if !nullable && key.ty == TyId::INT => {
                let val = self.target(TyId::STRING, dst.filter(|_| ty == TyId::STRING));
                self.fb.string_get_rel(val.reg, object.reg, key.reg);
                self.done(object);
                self.done(key);
                val
            }
            TyKind::Map(map_key, value) if !nullable => {
                let cell = self.cx.cell(value);
                let cell = CellType { nullable: true, ..cell };
                let reg = self.fb.cell(cell);
                let get = |b: &mut Self, key: Reg| {
                    if map_key == TyId::INT {
                        b.fb.map_int_get(reg, object.reg, key);
                    } else {
                        b.fb.map_string_get(reg, object.reg, key);
                    }
                };
                match self.cx.key_policy(map_key) {
                    KeyPolicy::Int | KeyPolicy::String if key.ty == map_key => get(self, key.reg),
                    KeyPolicy::Int | KeyPolicy::String if self.is_key_or_none(map_key, key.ty) => {
                        self.if_some(key, map_key, get, |b| {
                            let made =
                                b.element_of_any(Val { temp: false, ..object }, Val { temp: false, ..key });
                            b.fb.cell_cast(reg, made.reg, cell);
                            b.done(made);
                        });
                    }
                    KeyPolicy::Int | KeyPolicy::String => {
                        // A key of another kind: only equal text finds an entry, which the library decides.
                        self.fb.free(reg);
                        return self.element_of_any(object, key);
                    }
                    KeyPolicy::Text | KeyPolicy::Value | KeyPolicy::Protocol => {
                        let boxed = self.boxed(key);
                        let site = self.fb.feedback();
                        self.fb.map_cell_get(reg, object.reg, boxed.reg, NumberPolicy(0), site);
                        self.done(object);
                        self.done(boxed);
                        return self.refine(reg, ty);
                    }
                }
                self.done(object);
                self.done(key);
                self.refine(reg, ty)
            }
            _ => self.element_of_any(object, key),
        }
    }

    /// The type without none of what may be none and has parts of one type, where an expression for such a part is of a type that
    /// says the same or is none.
    fn part_of_some(&self, object: TyId, part: TyId, ty: TyId) -> Option<TyId> {
        let types = &self.cx.types;
        let same = self.is_nullable(ty)
            && (self.kind(ty), self.kind(part)) != (TyKind::Null, TyKind::Null)
            && types.without_null(ty) == types.without_null(part);
        types.without_null(object).filter(|_| same)
    }

    /// The type of what a key finds in a container that is there, where there is an op for keys of that type.
    pub fn part_by_key(&self, container: TyKind, key: TyId) -> Option<TyId> {
        let (part, wanted) = match container {
            TyKind::List(element) => (element, TyId::INT),
            TyKind::String => (TyId::STRING, TyId::INT),
            TyKind::Map(of, value) => match self.cx.key_policy(of) {
                KeyPolicy::Int => (value, TyId::INT),
                KeyPolicy::String => (value, TyId::STRING),
                _ => return None,
            },
            _ => return None,
        };
        (key == wanted).then_some(part)
    }

    /// Whether a key may be none and else is of the type that the keys of a map are.
    pub fn is_key_or_none(&self, of_map: TyId, key: TyId) -> bool {
        self.is_nullable(key) && key != TyId::ANY && self.cx.types.without_null(key) == Some(of_map)
    }

    fn element_of_any(&mut self, object: Val, key: Val) -> Val {
        let object = self.boxed(object);
        let key = self.boxed(key);
        let site = self.fb.feedback();
        let reg = self.fb.cell(ANY);
        self.fb.cell_index_get(reg, object.reg, key.reg, POLICY, site);
        self.done(object);
        self.done(key);
        Val { reg, ty: TyId::ANY, temp: true }
    }

    /// A cell register as a value of a type, checked where the type says more than the register's.
    pub fn refine(&mut self, reg: Reg, ty: TyId) -> Val {
        let have = self.fb.cell_type(reg);
        match self.cx.value(ty) {
            ValueType::Cell(cell) if cell == have => Val { reg, ty, temp: true },
            ValueType::Cell(cell) if cell == ANY => {
                let any = self.fb.cell(ANY);
                self.fb.cell_move(any, reg);
                self.fb.free(reg);
                Val { reg: any, ty, temp: true }
            }
            ValueType::Cell(cell) => {
                let narrow = self.fb.cell(cell);
                self.fb.cell_cast(narrow, reg, cell);
                self.fb.free(reg);
                Val { reg: narrow, ty, temp: true }
            }
            raw => {
                let value = self.fb.value(raw);
                self.unbox_raw(raw, value, reg);
                self.fb.free(reg);
                Val { reg: value, ty, temp: true }
            }
        }
    }

    pub fn list_get(&mut self, dst: Reg, list: Reg, index: Reg, element: TyId) {
        match self.cx.value(element) {
            ValueType::Int => self.fb.list_int_get_rel(dst, list, index),
            ValueType::Float => self.fb.list_float_get_rel(dst, list, index),
            ValueType::Bool => self.fb.list_bool_get_rel(dst, list, index),
            ValueType::Cell(_) => self.fb.list_cell_get_rel(dst, list, index),
        }
    }

    /// The room of a list that begins empty and will grow.
    pub fn least_room(&self, element: TyId) -> usize {
        least_room(match self.cx.value(element) {
            ValueType::Int => ObjectKind::ListInt,
            ValueType::Float => ObjectKind::ListFloat,
            ValueType::Bool => ObjectKind::ListBool,
            ValueType::Cell(_) => ObjectKind::ListCell,
        })
    }

    pub fn list_push(&mut self, list: Reg, value: Reg, element: TyId) {
        match self.cx.value(element) {
            ValueType::Int => self.fb.list_int_push(list, value),
            ValueType::Float => self.fb.list_float_push(list, value),
            ValueType::Bool => self.fb.list_bool_push(list, value),
            ValueType::Cell(_) => self.fb.list_cell_push(list, value),
        }
    }

    /// dst = list with a value behind it; in place where the list is not shared.
    pub fn list_append(&mut self, dst: Reg, list: Reg, value: Reg, element: TyId) {
        match self.cx.value(element) {
            ValueType::Int => self.fb.list_int_append(dst, list, value),
            ValueType::Float => self.fb.list_float_append(dst, list, value),
            ValueType::Bool => self.fb.list_bool_append(dst, list, value),
            ValueType::Cell(_) => self.fb.list_cell_append(dst, list, value),
        }
    }

    /// list = an empty list of a list type.
    pub fn new_list(&mut self, list: Reg, ty: TyId, capacity: usize) {
        let capacity32 = u32::try_from(capacity).unwrap_or(u32::MAX);
        match self.kind(ty) {
            TyKind::List(element) => match self.cx.value(element) {
                ValueType::Int => self.fb.list_int_new(list, capacity32),
                ValueType::Float => self.fb.list_float_new(list, capacity32),
                ValueType::Bool => self.fb.list_bool_new(list, capacity32),
                ValueType::Cell(_) => {
                    let cell = CellType { nullable: false, ..self.cx.cell(ty) };
                    self.fb.list_cell_new(list, capacity.min(usize::from(u16::MAX)) as u16, cell);
                }
            },
            _ => {
                let cell = self.cell_of(HeapType::ListCell(ANY));
                self.fb.list_cell_new(list, capacity.min(usize::from(u16::MAX)) as u16, cell);
            }
        }
    }

    fn slice(&mut self, id: ExprId, base: ExprId, parts: [Option<ExprId>; 3], ty: TyId) -> Val {
        let object = match parts[0].or(parts[1]) {
            Some(part) => self.operand(base, part),
            None => self.expr(base, None),
        };
        let Ty { kind, nullable } = self.ty(object.ty);
        let ints = parts[..2].iter().flatten().all(|&p| self.expr_ty(p) == TyId::INT);
        let typed = !nullable && ints && matches!(kind, TyKind::List(_) | TyKind::String);
        let present = match kind {
            TyKind::List(_) | TyKind::String if nullable && ints && object.ty == ty => {
                self.cx.types.without_null(ty)
            }
            _ => None,
        };
        let object = if typed || present.is_some() { object } else { self.any(object) };
        let typed = typed || present.is_some();
        let from = match parts[0] {
            Some(part) => self.slice_bound(part, typed),
            None => self.slice_default(0, typed),
        };
        let from =
            if parts[1].is_some_and(|p| self.cx.flags[p.index()] != 0) { self.owned(from) } else { from };
        let to = match parts[1] {
            Some(part) => self.slice_bound(part, typed),
            None => self.slice_default(i64::MAX, typed),
        };
        if let Some(step) = parts[2] {
            self.effect(step);
        }
        if let Some(present) = present {
            // A part of none is none.
            let result = self.target(ty, None);
            self.or_none(object, present, result.reg, |b, whole| {
                let made = b.target(present, None);
                if kind == TyKind::String {
                    b.fb.string_slice(made.reg, whole, from.reg, to.reg);
                } else {
                    b.fb.list_slice(made.reg, whole, from.reg, to.reg);
                    b.share_elements(made);
                }
                b.fb.cell_move(result.reg, made.reg);
                b.done(made);
            });
            for v in [object, from, to] {
                self.done(v);
            }
            return result;
        }
        if typed
            && let TyKind::List(element) = kind
            && self.cx.types.in_place(id)
        {
            let val = self.target(object.ty, None);
            self.fb.list_cut(val.reg, object.reg, from.reg, to.reg);
            if self.may_be_list(element) {
                // What is copied after all shares the lists in it.
                let (flag, end) = (self.fb.int(), self.fb.label());
                self.fb.cell_identical(flag, val.reg, object.reg);
                self.fb.if_branch(flag, end);
                self.fb.free(flag);
                self.share_elements(val);
                self.fb.bind(end);
            }
            for v in [object, from, to] {
                self.done(v);
            }
            return val;
        }
        let val = if typed {
            let val = self.target(object.ty, None);
            if kind == TyKind::String {
                self.fb.string_slice(val.reg, object.reg, from.reg, to.reg);
            } else {
                self.fb.list_slice(val.reg, object.reg, from.reg, to.reg);
                self.share_elements(val);
            }
            val
        } else {
            self.host_any("mochi.op.slice", &[object.reg, from.reg, to.reg], ty)
        };
        for v in [object, from, to] {
            self.done(v);
        }
        val
    }

    fn slice_bound(&mut self, part: ExprId, typed: bool) -> Val {
        if typed { self.expr_as(part, TyId::INT) } else { self.expr_as(part, TyId::ANY) }
    }

    fn slice_default(&mut self, value: i64, typed: bool) -> Val {
        let reg = if typed { self.fb.int() } else { self.fb.cell(ANY) };
        if typed {
            self.fb.load_int(reg, value);
            return Val { reg, ty: TyId::INT, temp: true };
        }
        self.fb.load_cell(reg, CellConst::Immediate(Immediate::Nil));
        Val { reg, ty: TyId::ANY, temp: true }
    }

    /// Elements of a fresh list that are lists are in two lists now.
    pub fn share_elements(&mut self, list: Val) {
        let TyKind::List(element) = self.kind(list.ty) else { return };
        if !self.may_be_list(element) {
            return;
        }
        let ty = self.cx.value(list.ty);
        let host = self.host("mochi.share_elements", &[ty], None);
        let slot = FunctionBuilder::cell_arguments(1)[0];
        self.fb.cell_move(slot, list.reg);
        self.fb.call_host_void(host);
    }

    /// Calls a host function with `any` arguments for a result of a type.
    pub fn host_any(&mut self, name: &str, args: &[Reg], ty: TyId) -> Val {
        let any = ValueType::Cell(ANY);
        let result = self.cx.result(ty);
        let host = self.host(name, &vec![any; args.len()], result);
        for (slot, &arg) in FunctionBuilder::cell_arguments(args.len()).into_iter().zip(args) {
            self.fb.cell_move(slot, arg);
        }
        if result.is_none() {
            self.fb.call_host_void(host);
            return self.null(None);
        }
        let val = self.target(ty, None);
        self.call_host(host, result, val.reg);
        val
    }

    // ---- Literals ----

    fn list_literal(&mut self, id: ExprId, items: List<ExprId>, ty: TyId) -> Val {
        self.table(id, ty).unwrap_or_else(|| self.new_list_of(id, items, ty))
    }

    /// The table that a literal is, if it is one.
    fn table(&mut self, id: ExprId, ty: TyId) -> Option<Val> {
        let &global = self.cx.tables.get(&id)?;
        let reg = self.reg(ty);
        self.fb.global_cell_get(reg, global);
        Some(Val { reg, ty, temp: true })
    }

    /// A new list of a literal's elements.
    pub fn new_list_of(&mut self, id: ExprId, items: List<ExprId>, ty: TyId) -> Val {
        let items: Vec<ExprId> = self.cx.program[items].to_vec();
        let element = match self.ty(ty) {
            Ty { kind: TyKind::List(element), nullable: false } => element,
            _ => TyId::ANY,
        };
        let is_list =
            element != TyId::ANY || matches!(self.ty(ty), Ty { kind: TyKind::List(_), nullable: false });
        let reg = if is_list {
            self.reg(ty)
        } else {
            let cell = self.cell_of(HeapType::ListCell(ANY));
            self.fb.cell(cell)
        };
        let room = if self.cx.growing.contains(&id) { self.least_room(element) } else { items.len() };
        self.new_list(reg, if is_list { ty } else { TyId::ANY }, room);
        for item in items {
            let val = self.expr_as(item, element);
            self.list_push(reg, val.reg, element);
            self.done(val);
        }
        if is_list { Val { reg, ty, temp: true } } else { self.widen(reg) }
    }

    /// A cell register of some type as `any`.
    pub fn widen(&mut self, reg: Reg) -> Val {
        let any = self.fb.cell(ANY);
        self.fb.cell_move(any, reg);
        self.fb.free(reg);
        Val { reg: any, ty: TyId::ANY, temp: true }
    }

    fn map_literal(&mut self, id: ExprId, entries: List<MapEntry>, ty: TyId) -> Val {
        self.table(id, ty).unwrap_or_else(|| self.new_map_of(entries, ty))
    }

    /// A new map of a literal's entries.
    pub fn new_map_of(&mut self, entries: List<MapEntry>, ty: TyId) -> Val {
        let entries: Vec<MapEntry> = self.cx.program[entries].to_vec();
        let (reg, map_ty) = self.new_map(ty, entries.len());
        for entry in entries {
            let key = match entry.key {
                MapKey::Name(ident) => self.text(ident.name, None),
                MapKey::Expr(key) => {
                    let val = self.expr(key, None);
                    if self.cx.flags[entry.value.index()] & (CALLS | BRANCHES) != 0 {
                        self.stable(val)
                    } else {
                        val
                    }
                }
            };
            let value_ty = map_ty.map_or(TyId::ANY, |(_, value)| value);
            let value = self.expr_as(entry.value, value_ty);
            self.map_store(reg, map_ty, key, value);
        }
        if map_ty.is_some() { Val { reg, ty, temp: true } } else { self.widen(reg) }
    }

    /// A new map with room for so many entries in a register of its own type, with its key and value types; of `any` where the type is
    /// no map.
    fn new_map(&mut self, ty: TyId, entries: usize) -> (Reg, Option<(TyId, TyId)>) {
        let room = entries.min(u16::MAX.into()) as u16;
        if let Ty { kind: TyKind::Map(key, value), nullable: false } = self.ty(ty) {
            let reg = self.reg(ty);
            let cell = self.cx.cell(ty);
            self.fb.map_new(reg, room, cell);
            return (reg, Some((key, value)));
        }
        let cell = self.any_map();
        let reg = self.fb.cell(cell);
        self.fb.map_new(reg, room, cell);
        (reg, None)
    }

    /// map[key] = value; the value has the map's value type. Frees key and value.
    pub fn map_store(&mut self, map: Reg, ty: Option<(TyId, TyId)>, key: Val, value: Val) {
        let (key_ty, value_ty) = ty.unwrap_or((self.cx.types.any_keys, TyId::ANY));
        // Values of maps are cells, boxed with their own type.
        let value = match self.cx.value(value.ty) {
            ValueType::Cell(_) => value,
            raw => {
                let cell = self.cx.cell(value_ty);
                let reg = self.fb.cell(cell);
                self.box_raw(raw, reg, value.reg);
                self.done(value);
                Val { reg, ty: value_ty, temp: true }
            }
        };
        match self.cx.key_policy(key_ty) {
            KeyPolicy::Int => {
                let key = self.convert(key, TyId::INT);
                self.fb.map_int_set(map, key.reg, value.reg);
                self.done(key);
            }
            KeyPolicy::String => {
                let key = self.convert(key, TyId::STRING);
                self.fb.map_string_set(map, key.reg, value.reg);
                self.done(key);
            }
            KeyPolicy::Text | KeyPolicy::Value | KeyPolicy::Protocol => {
                let key = self.boxed(key);
                let site = self.fb.feedback();
                self.fb.map_cell_set(map, key.reg, value.reg, NumberPolicy(0), site);
                self.done(key);
            }
        }
        self.done(value);
    }

    fn struct_literal(&mut self, name: Ident, fields: List<FieldInit>, ty: TyId) -> Val {
        let fields: Vec<FieldInit> = self.cx.program[fields].to_vec();
        if let Some(&ctor) = self.cx.resolution.ctor_names.get(&name.name)
            && !matches!(self.kind(ty), TyKind::Struct(_))
        {
            let declared: Vec<Name> =
                self.cx.resolution.ctor_fields(self.cx.program, ctor).iter().map(|f| f.name.name).collect();
            let types = self.cx.types.ctor_fields(ctor).to_vec();
            let record = self.cx.ctors[ctor.index()];
            let union = self.cx.resolution.ctors[ctor.index()].union;
            let reg = self.record_with(record, &declared, &types, &fields);
            return self.variant_val(reg, union);
        }
        match self.kind(ty) {
            TyKind::Struct(of) => {
                let declared: Vec<Name> =
                    self.cx.resolution.fields(self.cx.program, of).iter().map(|f| f.name.name).collect();
                let types = self.cx.types.fields(of).to_vec();
                let record = self.cx.structs[of.index()];
                let reg = self.record_with(record, &declared, &types, &fields);
                self.struct_val(reg, of)
            }
            _ => match self.cx.resolution.types.get(&name.name) {
                Some(&crate::resolve::TypeName::Struct(of)) => {
                    let declared: Vec<Name> =
                        self.cx.resolution.fields(self.cx.program, of).iter().map(|f| f.name.name).collect();
                    let types = self.cx.types.fields(of).to_vec();
                    let record = self.cx.structs[of.index()];
                    let reg = self.record_with(record, &declared, &types, &fields);
                    self.widen(reg)
                }
                _ => self.map_of_fields(&fields, ty),
            },
        }
    }

    /// An unknown struct name: a map of the fields.
    fn map_of_fields(&mut self, fields: &[FieldInit], ty: TyId) -> Val {
        let (reg, map_ty) = self.new_map(ty, fields.len());
        for field in fields {
            let key = self.text(field.name.name, None);
            let value = self.expr_as(field.value, map_ty.map_or(TyId::ANY, |(_, value)| value));
            self.map_store(reg, map_ty, key, value);
        }
        if map_ty.is_some() { Val { reg, ty, temp: true } } else { self.widen(reg) }
    }

    /// A record register as a value of the struct's type.
    fn struct_val(&mut self, reg: Reg, of: StructId) -> Val {
        match self.cx.types.find(Ty { kind: TyKind::Struct(of), nullable: false }) {
            Some(ty) => Val { reg, ty, temp: true },
            None => self.widen(reg),
        }
    }

    /// A record register as a value of the union's type.
    fn variant_val(&mut self, reg: Reg, union: crate::resolve::UnionId) -> Val {
        match self.cx.types.find(Ty { kind: TyKind::Union(union), nullable: false }) {
            Some(ty) => {
                let wide = self.reg(ty);
                self.fb.cell_move(wide, reg);
                self.fb.free(reg);
                Val { reg: wide, ty, temp: true }
            }
            None => self.widen(reg),
        }
    }

    /// A record from values by field name, evaluated as written; fields that are missing get none or their zero value, and
    /// values without a field are evaluated and dropped.
    fn record_with(
        &mut self,
        record: upshift_bytecode::RecordId,
        declared: &[Name],
        types: &[TyId],
        fields: &[FieldInit],
    ) -> Reg {
        let mut given: Vec<Option<ExprId>> = vec![None; declared.len()];
        let mut in_order = true;
        let mut next = 0;
        for field in fields {
            match declared.iter().position(|&d| d == field.name.name) {
                Some(index) => {
                    in_order &= index >= next && given[index].is_none();
                    next = index;
                    if let Some(old) = given[index].replace(field.value) {
                        self.effect(old);
                    }
                }
                None => self.effect(field.value),
            }
        }
        let values = if in_order {
            Values::Exprs(given)
        } else {
            // Evaluate as written, then build.
            let mut values: Vec<Option<Val>> = vec![None; declared.len()];
            for field in fields {
                let Some(index) = declared.iter().position(|&d| d == field.name.name) else { continue };
                if given[index] == Some(field.value) {
                    let val = self.expr_as(field.value, types[index]);
                    values[index] = Some(self.owned(val));
                }
            }
            Values::Done(values)
        };
        self.record(record, types, values)
    }

    /// A record from its fields in order.
    pub fn record(&mut self, record: upshift_bytecode::RecordId, types: &[TyId], values: Values) -> Reg {
        if types.is_empty() {
            // All records without fields of a type are equal, and none can be told from another.
            let cell = self.cell_of(HeapType::Record(record));
            let reg = self.fb.cell(cell);
            self.fb.record_const(reg, record);
            return reg;
        }
        let values: Vec<Argument> = match values {
            Values::Exprs(exprs) => {
                exprs.into_iter().map(|e| e.map_or(Argument::Zero, Argument::Expr)).collect()
            }
            Values::Done(vals) => vals.into_iter().map(|v| v.map_or(Argument::Zero, Argument::Val)).collect(),
        };
        self.fill_window(&values, types, false);
        let cell = self.cell_of(HeapType::Record(record));
        let reg = self.fb.cell(cell);
        self.fb.record_new(reg, record);
        reg
    }

    /// A variant from positional values; missing fields are none or zero.
    pub fn construct(&mut self, ctor: CtorId, args: &[ExprId]) -> Val {
        let types = self.cx.types.ctor_fields(ctor).to_vec();
        let union = self.cx.resolution.ctors[ctor.index()].union;
        let mut exprs: Vec<Option<ExprId>> = args.iter().copied().map(Some).collect();
        let surplus: Vec<ExprId> = exprs.drain(types.len().min(exprs.len())..).flatten().collect();
        for extra in surplus {
            self.effect(extra);
        }
        exprs.resize(types.len(), None);
        let record = self.cx.ctors[ctor.index()];
        let reg = self.record(record, &types, Values::Exprs(exprs));
        self.variant_val(reg, union)
    }

    /// A variant of values that were evaluated, in order.
    pub fn construct_of(&mut self, ctor: CtorId, values: &[Val]) -> Val {
        let types = self.cx.types.ctor_fields(ctor).to_vec();
        let union = self.cx.resolution.ctors[ctor.index()].union;
        let mut fields: Vec<Option<Val>> = values.iter().take(types.len()).copied().map(Some).collect();
        fields.resize(types.len(), None);
        let record = self.cx.ctors[ctor.index()];
        let reg = self.record(record, &types, Values::Done(fields));
        self.variant_val(reg, union)
    }

    fn struct_without_values(&mut self, of: StructId) -> Val {
        let types = self.cx.types.fields(of).to_vec();
        let record = self.cx.structs[of.index()];
        let reg = self.record(record, &types, Values::Exprs(vec![None; types.len()]));
        self.struct_val(reg, of)
    }

    // ---- Conditional values ----

    fn if_value(&mut self, choices: List<Choice>, otherwise: Option<ExprId>, ty: TyId) -> Val {
        let choices: Vec<Choice> = self.cx.program[choices].to_vec();
        let result = self.target(ty, None);
        let end = self.fb.label();
        for choice in choices {
            let next = self.fb.label();
            self.jump_unless(choice.cond, next);
            self.expr_into(choice.value, ty, result.reg);
            self.fb.jump(end);
            self.fb.bind(next);
        }
        match otherwise {
            Some(value) => self.expr_into(value, ty, result.reg),
            None => {
                let null = self.null(None);
                self.convert_into(null, ty, result.reg);
            }
        }
        self.fb.bind(end);
        result
    }

    fn unary(&mut self, op: UnaryOp, operand: ExprId, ty: TyId, dst: Option<Reg>) -> Val {
        let span = self.fb.span();
        match op {
            UnaryOp::Not => {
                let val = self.expr(operand, None);
                let flag = self.truth(val);
                let result = self.target(TyId::BOOL, dst.filter(|_| ty == TyId::BOOL));
                self.fb.bool_not(result.reg, flag.reg);
                self.done(flag);
                result
            }
            UnaryOp::Neg => {
                if let ExprKind::Int(value) = self.cx.kind(operand)
                    && let Some(negative) = value.checked_neg()
                {
                    return self.int_literal(negative, ty, dst);
                }
                let val = self.expr(operand, None);
                self.fb.set_span(span);
                match val.ty {
                    TyId::INT => {
                        let result = self.target(TyId::INT, dst.filter(|_| ty == TyId::INT));
                        self.fb.int_neg_checked(result.reg, val.reg);
                        self.done(val);
                        result
                    }
                    TyId::FLOAT => {
                        let result = self.target(TyId::FLOAT, dst.filter(|_| ty == TyId::FLOAT));
                        self.fb.float_neg(result.reg, val.reg);
                        self.done(val);
                        result
                    }
                    _ => {
                        let val = self.boxed(val);
                        let reg = self.fb.cell(ANY);
                        let site = self.fb.feedback();
                        self.fb.cell_neg(reg, val.reg, POLICY, site);
                        self.done(val);
                        Val { reg, ty: TyId::ANY, temp: true }
                    }
                }
            }
        }
    }

    /// The rows of a file, cast to the list of what the program says that they are.
    fn load(&mut self, id: ExprId, path: Option<Ident>, with: Option<ExprId>, ty: TyId) -> Val {
        let span = self.fb.span();
        let [path, options] = self.file(path, with);
        self.fb.set_span(span);
        let declared = self.cx.types.cast(id).unwrap_or(ty);
        let descriptor = self.cx.descriptor(declared, ty);
        let descriptor = self.cx.module.string(&descriptor);
        let target = self.target(TyId::STRING, None);
        self.fb.string_const(target.reg, descriptor);
        let rows = self.host_typed("mochi.load", &[path, options, target], TyId::ANY);
        let result = self.target(ty, None);
        self.cast_call_as(rows, declared, ty, result.reg);
        self.done(rows);
        result
    }

    fn save(&mut self, value: ExprId, path: Option<Ident>, with: Option<ExprId>) -> Val {
        let span = self.fb.span();
        let rows = self.expr_as(value, TyId::ANY);
        let [path, options] = self.file(path, with);
        self.fb.set_span(span);
        let nothing = self.host_typed("mochi.save", &[rows, path, options], TyId::ANY);
        self.done(nothing);
        self.null(None)
    }

    /// Path and options of a file, or none, as values of any type.
    fn file(&mut self, path: Option<Ident>, with: Option<ExprId>) -> [Val; 2] {
        let path = match path {
            Some(path) => self.text(path.name, None),
            None => self.null(None),
        };
        let path = self.any(path);
        let options = match with {
            Some(with) => self.expr_as(with, TyId::ANY),
            None => {
                let none = self.null(None);
                self.any(none)
            }
        };
        [path, options]
    }

    fn cast(&mut self, id: ExprId, value: ExprId, ty: TyId, dst: Option<Reg>) -> Val {
        let span = self.fb.span();
        let val = self.expr(value, None);
        self.fb.set_span(span);
        let written_out = matches!(self.cx.program[value].kind, ExprKind::List(_) | ExprKind::Map(_));
        if let Some(declared) = self.cx.types.cast(id).filter(|&to| to != ty || !written_out) {
            // A new container, also where nothing in it changes.
            let boxed = self.boxed(val);
            let result = self.target(ty, None);
            self.cast_call_as(boxed, declared, ty, result.reg);
            self.done(boxed);
            return result;
        }
        if val.ty == ty {
            return val;
        }
        match (val.ty, ty) {
            (TyId::INT, TyId::FLOAT) => {
                let result = self.target(ty, dst);
                self.fb.float_from_int(result.reg, val.reg);
                self.done(val);
                result
            }
            (TyId::FLOAT, TyId::INT) => {
                let result = self.target(ty, dst);
                self.fb.int_from_float(result.reg, val.reg);
                self.done(val);
                result
            }
            (_, TyId::ANY) => self.any(val),
            _ => {
                let fits = self.passes(val, ty);
                let boxed = self.boxed(val);
                let result = self.target(ty, None);
                let (other, end) = (self.fb.label(), self.fb.label());
                if let Some(cell) = fits {
                    // What is of the type is cast to itself: most are, and need no call.
                    let flag = self.fb.int();
                    self.fb.cell_test(flag, boxed.reg, cell);
                    self.fb.unless_branch(flag, other);
                    self.fb.free(flag);
                    match self.cx.value(ty) {
                        ValueType::Cell(cell) => self.fb.cell_cast(result.reg, boxed.reg, cell),
                        raw => self.unbox_raw(raw, result.reg, boxed.reg),
                    }
                    self.fb.jump(end);
                }
                self.fb.bind(other);
                let call = |b: &mut Self| b.cast_call(boxed, ty, result.reg);
                if matches!(ty, TyId::INT | TyId::FLOAT) && fits.is_some() {
                    self.if_other_number(boxed, ty, result.reg, call);
                } else {
                    call(self);
                }
                self.fb.bind(end);
                self.done(boxed);
                result
            }
        }
    }

    /// The type that a value may have which a cast to another type leaves as it is.
    fn passes(&mut self, val: Val, to: TyId) -> Option<CellType> {
        let (from, target) = (self.ty(val.ty), self.ty(to));
        // Containers become new ones, and what is surely something else needs no test.
        let kept = !matches!(target.kind, TyKind::Any | TyKind::Null | TyKind::List(_) | TyKind::Map(..));
        let may_be = matches!(from.kind, TyKind::Any | TyKind::Union(_)) || from.kind == target.kind;
        if !kept || !may_be {
            return None;
        }
        match (self.cx.value(val.ty), self.cx.value(to)) {
            (ValueType::Cell(_), ValueType::Cell(cell)) => Some(cell),
            (ValueType::Cell(_), ValueType::Int) => Some(self.cell_of(HeapType::Int)),
            (ValueType::Cell(_), ValueType::Float) => Some(self.cell_of(HeapType::Float)),
            (ValueType::Cell(_), ValueType::Bool) => Some(self.cell_of(HeapType::Bool)),
            _ => None,
        }
    }

    /// Evaluates the left one of two operands so that evaluating the right one cannot change it.
    pub fn operand(&mut self, left: ExprId, right: ExprId) -> Val {
        let val = self.expr(left, None);
        if self.cx.reassigned_in_expr && self.cx.flags[right.index()] & BRANCHES != 0 {
            self.owned(val)
        } else {
            val
        }
    }

    /// The value kept apart from variables that what follows may assign.
    pub fn stable(&mut self, val: Val) -> Val {
        if self.cx.reassigned_in_expr { self.owned(val) } else { val }
    }
}

/// Field values of a record, in order.
pub(super) enum Values {
    Exprs(Vec<Option<ExprId>>),
    Done(Vec<Option<Val>>),
}

/// What goes into a window slot.
#[derive(Clone, Copy)]
pub(super) enum Argument {
    Expr(ExprId),
    Val(Val),
    /// The zero value of the slot's type.
    Zero,
}
