//! Statements.

use upshift_bytecode::builder::{FunctionBuilder, Reg};
use upshift_bytecode::{ANY, Bank, HeapType, Immediate, ValueType};

use super::body::{Body, Loop, Val};
use super::{Lowerer, POLICY, Tests};
use crate::infer::{Ty, TyId, TyKind};
use crate::resolve::{Resolved, Storage};
use crate::syntax::ast::{
    BindId, Block, Branch, ExprId, ExprKind, FunId, Ident, List, MapEntry, Name, StmtId, StmtKind,
};

impl<'l, 'a> Body<'l, 'a> {
    /// A function without a source function: one that waits for arguments.
    pub fn bare(cx: &'l mut Lowerer<'a>, fb: FunctionBuilder, result: TyId) -> Body<'l, 'a> {
        let mut body = Body::new(cx, fb, None, result);
        body.result = result;
        body
    }
}

impl Body<'_, '_> {
    pub fn statements(&mut self, stmts: List<StmtId>) {
        for i in 0..stmts.len() {
            let stmt = self.cx.program[stmts][i];
            self.statement(stmt);
        }
    }

    /// Lowers a statement.
    pub fn statement(&mut self, id: StmtId) {
        let stmt = self.cx.program[id];
        self.span(stmt.span);
        match stmt.kind {
            StmtKind::Let { bind, value } => self.let_statement(bind, value),
            StmtKind::Assign { target, value } => self.assign(target, value),
            StmtKind::Fun(fun) => self.nested_function(fun),
            StmtKind::Return(value) => self.return_statement(value),
            StmtKind::If { branches, otherwise } => self.if_statement(branches, otherwise),
            StmtKind::While { cond, body } => self.while_statement(cond, body),
            StmtKind::ForIn { bind, items, body } => self.for_in(bind, items, body),
            StmtKind::ForRange { bind, start, end, body } => self.for_range(bind, start, end, body),
            StmtKind::Break => match self.loops.last().map(|l| l.break_to) {
                Some(target) => self.fb.jump(target),
                None => self.outside_of_loops("break"),
            },
            StmtKind::Continue => match self.loops.last().map(|l| l.continue_to) {
                Some(target) => self.fb.jump(target),
                None => self.outside_of_loops("continue"),
            },
            StmtKind::Expr(value) => self.effect(value),
            StmtKind::Test { name, body } => self.test(name, body),
            StmtKind::Bench { name, body } => self.bench(name, body),
            StmtKind::Expect(value) => self.expect(value, stmt.span),
            StmtKind::Update { set, filter, .. } => self.update(id, set, filter),
            StmtKind::Error
            | StmtKind::Type(_)
            | StmtKind::Import(_)
            | StmtKind::Extern(_)
            | StmtKind::Fetch { .. }
            | StmtKind::Fact(_)
            | StmtKind::Rule { .. }
            | StmtKind::Stream { .. }
            | StmtKind::On { .. }
            | StmtKind::Emit { .. }
            | StmtKind::Model { .. }
            | StmtKind::Agent { .. }
            | StmtKind::Intent(_) => {}
        }
    }

    fn let_statement(&mut self, bind: BindId, value: Option<ExprId>) {
        let ty = self.cx.types.bind(bind);
        let Some(value) = value else {
            let zero = match self.cx.types.declared(bind) {
                Some(declared) => self.zero_of(declared),
                None if self.cx.types.starts_as_zero(bind)
                    && let Some(present) = self.cx.types.without_null(ty) =>
                {
                    let zero = self.zero(present, None);
                    self.convert(zero, ty)
                }
                None => self.zero(ty, None),
            };
            return self.declare(bind, zero);
        };
        // A variable of a register that exists already (a redeclaration) may be read by its own value.
        let fresh =
            self.register_of(bind).is_none() && self.cx.resolution.bind(bind).storage == Storage::Register;
        if fresh && self.writes_once(value) {
            let reg = self.variable_reg(bind);
            self.expr_into(value, ty, reg);
            return self.declare(bind, Val { reg, ty, temp: true });
        }
        let val = self.expr_as(value, ty);
        self.declare(bind, val);
    }

    fn nested_function(&mut self, fun: FunId) {
        let Some(bind) = self.cx.program[fun].bind else { return };
        let info = self.cx.resolution.fun(fun);
        if info.top_level {
            return;
        }
        let declared = self.cx.function(fun);
        if !declared.environment {
            return;
        }
        let ty = self.cx.types.bind(bind);
        let boxed = self.cx.resolution.bind(bind).storage == Storage::Ref;
        if boxed {
            // It may capture the box of its own name.
            let none = self.null(None);
            let none = self.convert(none, ty);
            self.declare(bind, none);
        }
        let closure = self.closure(fun, None);
        let val = self.convert(closure, ty);
        if boxed {
            self.write(bind, val.reg);
            self.done(val);
        } else {
            self.declare(bind, val);
        }
    }

    // ---- Assignment ----

    fn assign(&mut self, target: ExprId, value: ExprId) {
        match self.cx.program[target].kind {
            ExprKind::Name(_) => self.assign_name(target, value),
            ExprKind::Index { base, index, .. } => self.assign_element(base, index, value),
            ExprKind::Field { base, name, .. } => self.assign_field(base, name, value),
            _ => {
                self.effect(value);
            }
        }
    }

    fn assign_name(&mut self, target: ExprId, value: ExprId) {
        let Resolved::Bind(bind) = self.cx.resolution.name(target) else {
            self.effect(value);
            return;
        };
        if self.extend(bind, value) {
            return;
        }
        let ty = self.cx.types.bind(self.cx.resolution.slot(bind));
        match self.register_of(bind) {
            Some(reg) if self.writes_once(value) => self.expr_into(value, ty, reg),
            _ => {
                let val = self.expr_as(value, ty);
                self.write(bind, val.reg);
                self.done(val);
            }
        }
    }

    /// `base[index] = value`: container, then value, then index, then the store.
    fn assign_element(&mut self, base: ExprId, index: ExprId, value: ExprId) {
        let span = self.fb.span();
        let object = self.expr(base, None);
        let object = self.stable(object);
        let Ty { kind, nullable } = self.ty(object.ty);
        match kind {
            TyKind::List(element) if !nullable && self.expr_ty(index) == TyId::INT => {
                let val = self.expr_as(value, element);
                let val = self.stable(val);
                let key = self.expr(index, None);
                self.fb.set_span(span);
                self.list_set(object.reg, key.reg, val.reg, element);
                for v in [object, val, key] {
                    self.done(v);
                }
            }
            TyKind::List(_) | TyKind::Map(..)
                if nullable
                    && let Some(part) = self.part_by_key(kind, self.expr_ty(index))
                    && let Some(present) = self.cx.types.without_null(object.ty) =>
            {
                let val = self.expr_as(value, part);
                let val = self.stable(val);
                let key = self.expr(index, None);
                self.fb.set_span(span);
                let [lent_key, lent_val] = [key, val].map(|v| Val { temp: false, ..v });
                let store = |b: &mut Self, given| match kind {
                    TyKind::Map(key_ty, value_ty) => {
                        b.map_store(given, Some((key_ty, value_ty)), lent_key, lent_val);
                    }
                    _ => b.list_set(given, key.reg, val.reg, part),
                };
                self.if_some(object, present, store, |b| {
                    // Says what is wrong.
                    let (key, val) = (b.boxed(key), b.boxed(val));
                    let site = b.fb.feedback();
                    b.fb.cell_index_set(object.reg, key.reg, val.reg, POLICY, site);
                    b.done(val);
                    b.done(key);
                });
                self.done(object);
            }
            TyKind::Map(key_ty, value_ty) if !nullable && self.key_fits(key_ty, self.expr_ty(index)) => {
                let val = self.expr_as(value, value_ty);
                let val = self.stable(val);
                let key = self.expr(index, None);
                self.fb.set_span(span);
                self.map_store(object.reg, Some((key_ty, value_ty)), key, val);
                self.done(object);
            }
            _ => {
                let object = self.boxed(object);
                // An int becomes what the elements are, whatever the key is.
                let part = match kind {
                    TyKind::List(part) | TyKind::Map(_, part) => part,
                    _ => TyId::ANY,
                };
                let val = self.expr_as(value, part);
                let val = self.boxed(val);
                let val = self.stable(val);
                let key = self.expr(index, None);
                let key = self.boxed(key);
                self.fb.set_span(span);
                let site = self.fb.feedback();
                self.fb.cell_index_set(object.reg, key.reg, val.reg, POLICY, site);
                for v in [object, val, key] {
                    self.done(v);
                }
            }
        }
    }

    fn list_set(&mut self, list: Reg, index: Reg, value: Reg, element: TyId) {
        match self.cx.value(element) {
            ValueType::Int => self.fb.list_int_set_rel(list, index, value),
            ValueType::Float => self.fb.list_float_set_rel(list, index, value),
            ValueType::Bool => self.fb.list_bool_set_rel(list, index, value),
            ValueType::Cell(_) => self.fb.list_cell_set_rel(list, index, value),
        }
    }

    fn key_fits(&self, map_key: TyId, key: TyId) -> bool {
        match self.cx.key_policy(map_key) {
            upshift_bytecode::KeyPolicy::Int => key == TyId::INT,
            upshift_bytecode::KeyPolicy::String => key == TyId::STRING,
            _ => true,
        }
    }

    fn assign_field(&mut self, base: ExprId, name: Ident, value: ExprId) {
        let span = self.fb.span();
        let object = self.expr(base, None);
        let object = self.stable(object);
        let Ty { kind, nullable } = self.ty(object.ty);
        if let (TyKind::Struct(of), false) = (kind, nullable)
            && let Some(index) = self.cx.resolution.field_index(self.cx.program, of, name.name)
        {
            let ty = self.cx.types.fields(of)[index];
            let val = self.expr_as(value, ty);
            self.fb.set_span(span);
            self.store_field(object.reg, index as u16, val.reg, ty);
            self.done(object);
            self.done(val);
            return;
        }
        let text = self.cx.names.get(name.name).to_string();
        if let TyKind::Struct(of) = kind
            && let Some(index) = self.cx.resolution.field_index(self.cx.program, of, name.name)
            && let Some(present) = self.cx.types.without_null(object.ty)
        {
            let ty = self.cx.types.fields(of)[index];
            let val = self.expr_as(value, ty);
            self.fb.set_span(span);
            let store = |b: &mut Self, given| b.store_field(given, index as u16, val.reg, ty);
            self.if_some(object, present, store, |b| {
                // Says what is wrong.
                let val = b.boxed(val);
                let name = b.cx.module.name(&text, 0);
                let site = b.fb.feedback();
                b.fb.cell_field_set(object.reg, val.reg, POLICY, name, site);
                b.done(val);
            });
            self.done(object);
            return;
        }
        let object = self.boxed(object);
        let part = if let TyKind::Map(_, part) = kind { part } else { TyId::ANY };
        let val = self.expr_as(value, part);
        self.fb.set_span(span);
        if let (TyKind::Map(key, value_ty), false) = (kind, nullable)
            && self.cx.key_policy(key) == upshift_bytecode::KeyPolicy::String
        {
            let key_text = self.text(name.name, None);
            self.map_store(object.reg, Some((key, value_ty)), key_text, val);
            self.done(object);
            return;
        }
        let val = self.boxed(val);
        let name = self.cx.module.name(&text, 0);
        let site = self.fb.feedback();
        self.fb.cell_field_set(object.reg, val.reg, POLICY, name, site);
        self.done(object);
        self.done(val);
    }

    pub fn store_field(&mut self, record: Reg, field: u16, value: Reg, ty: TyId) {
        match self.bank(ty) {
            Bank::Int => self.fb.record_int_set(record, field, value),
            Bank::Float => self.fb.record_float_set(record, field, value),
            Bank::Cell => self.fb.record_cell_set(record, field, value),
        }
    }

    // ---- Control ----

    fn return_statement(&mut self, value: Option<ExprId>) {
        if self.fun.is_none() || self.result == TyId::NULL {
            if let Some(value) = value {
                self.effect(value);
            }
            self.fb.return_void();
            return;
        }
        match value {
            Some(value) => {
                let val = self.expr_as(value, self.result);
                self.return_val(val);
            }
            None => self.return_null(),
        }
    }

    /// Returns none.
    pub fn return_null(&mut self) {
        if self.result == TyId::NULL {
            self.fb.return_void();
            return;
        }
        let null = self.null(None);
        let val = self.convert(null, self.result);
        self.return_val(val);
    }

    /// Returns a value of the result type.
    pub fn return_val(&mut self, val: Val) {
        match self.bank(val.ty) {
            Bank::Int => self.fb.return_int(val.reg),
            Bank::Float => self.fb.return_float(val.reg),
            Bank::Cell => self.fb.return_cell(val.reg),
        }
        self.done(val);
    }

    fn if_statement(&mut self, branches: List<Branch>, otherwise: Option<Block>) {
        let end = self.fb.label();
        for i in 0..branches.len() {
            let branch = self.cx.program[branches][i];
            let next = self.fb.label();
            self.jump_unless(branch.cond, next);
            self.block(branch.body);
            if i + 1 < branches.len() || otherwise.is_some() {
                self.fb.jump(end);
            }
            self.fb.bind(next);
        }
        if let Some(block) = otherwise {
            self.block(block);
        }
        self.fb.bind(end);
    }

    fn while_statement(&mut self, cond: ExprId, body: Block) {
        let (head, next, end) = (self.fb.label(), self.fb.label(), self.fb.label());
        let cheap = self.is_cheap_condition(cond);
        if cheap {
            self.jump_unless(cond, end);
            if !self.fb.is_reachable() {
                return self.fb.bind(end);
            }
            self.fb.begin_loop(head);
        } else {
            self.fb.begin_loop(head);
            self.jump_unless(cond, end);
        }
        self.loops.push(Loop { break_to: end, continue_to: next });
        self.block(body);
        self.loops.pop();
        self.fb.bind(next);
        if self.fb.is_reachable() {
            if cheap {
                self.jump_if(cond, true, head, true);
            } else {
                self.fb.jump_loop(head);
            }
        }
        self.fb.bind(end);
    }

    /// Whether a loop's body may use the hidden counter as its variable.
    fn is_plain_variable(&self, bind: BindId) -> bool {
        let info = self.cx.resolution.bind(bind);
        info.storage == Storage::Register && info.assignments == 0
    }

    fn for_range(&mut self, bind: BindId, start: ExprId, end: ExprId, body: Block) {
        let ty = self.cx.types.bind(bind);
        let counter = self.fb.int();
        let limit = self.fb.int();
        self.expr_into(start, TyId::INT, counter);
        self.expr_into(end, TyId::INT, limit);
        let (head, next, done) = (self.fb.label(), self.fb.label(), self.fb.label());
        self.fb.int_le_branch(limit, counter, done);
        self.fb.begin_loop(head);
        let scope = self.open_scope();
        let plain = ty == TyId::INT && self.is_plain_variable(bind);
        if plain {
            self.set_place(bind, super::body::Place::Register(counter));
        } else {
            let val = self.convert(Val { reg: counter, ty: TyId::INT, temp: false }, ty);
            self.declare(bind, val);
        }
        self.loops.push(Loop { break_to: done, continue_to: next });
        self.block(body);
        self.loops.pop();
        self.fb.bind(next);
        self.fb.int_for_loop(counter, limit, head);
        self.fb.bind(done);
        self.close_scope(scope);
        if !plain {
            self.fb.free(counter);
        }
        self.fb.free(limit);
    }

    fn for_in(&mut self, bind: BindId, items: ExprId, body: Block) {
        let span = self.cx.program[items].span;
        let val = self.expr(items, None);
        let Ty { kind, nullable } = self.ty(val.ty);
        self.span(span);
        // The loop's own reference must not see the list grow.
        let private = matches!(self.cx.program[items].kind, ExprKind::Name(_)) && !val.temp;
        if self.may_be_list(val.ty) && self.cx.may_grow(body.span, private) {
            self.fb.list_share(val.reg);
        }
        match kind {
            TyKind::List(element) if !nullable => {
                let list = if val.temp { val } else { self.owned(val) };
                self.for_elements(bind, list, element, body);
                self.done(list);
            }
            TyKind::String if !nullable => {
                let text = self.owned(val);
                self.for_characters(bind, text, body);
                self.done(text);
            }
            TyKind::List(element) if let Some(present) = self.cx.types.without_null(val.ty) => {
                let end = self.fb.label();
                let list = self.unless_none(val, present, end);
                self.for_elements(bind, list, element, body);
                self.done(list);
                self.fb.bind(end);
                self.done(val);
            }
            TyKind::String if let Some(present) = self.cx.types.without_null(val.ty) => {
                let end = self.fb.label();
                let text = self.unless_none(val, present, end);
                self.for_characters(bind, text, body);
                self.done(text);
                self.fb.bind(end);
                self.done(val);
            }
            TyKind::Map(key, _) if let Some(present) = self.cx.types.without_null(val.ty) => {
                let end = self.fb.label();
                let map =
                    if nullable { self.unless_none(val, present, end) } else { Val { temp: false, ..val } };
                let (cell, element) = self.key_list(key);
                let list = self.fb.cell(cell);
                self.fb.map_keys(list, map.reg);
                self.done(map);
                self.for_elements(bind, Val { reg: list, ty: TyId::ANY, temp: true }, element, body);
                self.fb.free(list);
                self.fb.bind(end);
                self.done(val);
            }
            TyKind::Null => self.done(val),
            _ => {
                // A list of `any` is run over itself. Else the library gives the items as one: elements, keys in order, or
                // characters.
                let any = self.any(val);
                let cell = self.any_list();
                let list = self.fb.cell(cell);
                let itself = |b: &mut Self, given| b.fb.cell_move(list, given);
                self.if_cell(any, cell, itself, |b| {
                    let host_any = ValueType::Cell(ANY);
                    let host = b.host("mochi.op.iterate", &[host_any], Some(ValueType::Cell(cell)));
                    let slot = FunctionBuilder::cell_arguments(1)[0];
                    b.fb.cell_move(slot, any.reg);
                    b.fb.call_host_cell(list, host);
                });
                self.done(any);
                self.for_elements(bind, Val { reg: list, ty: TyId::ANY, temp: true }, TyId::ANY, body);
                self.fb.free(list);
            }
        }
    }

    /// Runs over a list with the length that it has at the start.
    fn for_elements(&mut self, bind: BindId, list: Val, element: TyId, body: Block) {
        let (counter, limit) = (self.fb.int(), self.fb.int());
        self.fb.list_len(limit, list.reg);
        self.count_up(bind, counter, limit, body, element, |body, dst, counter| {
            body.list_get(dst, list.reg, counter, element);
        });
    }

    fn for_characters(&mut self, bind: BindId, text: Val, body: Block) {
        let (counter, limit) = (self.fb.int(), self.fb.int());
        self.fb.string_len(limit, text.reg);
        self.count_up(bind, counter, limit, body, TyId::STRING, |body, dst, counter| {
            body.fb.string_get(dst, text.reg, counter);
        });
    }

    fn count_up(
        &mut self,
        bind: BindId,
        counter: Reg,
        limit: Reg,
        body: Block,
        element: TyId,
        load: impl Fn(&mut Self, Reg, Reg),
    ) {
        let ty = self.cx.types.bind(bind);
        self.fb.int_const(counter, 0);
        let (head, next, done) = (self.fb.label(), self.fb.label(), self.fb.label());
        self.fb.int_le_branch(limit, counter, done);
        self.fb.begin_loop(head);
        let scope = self.open_scope();
        let reg = self.reg(element);
        load(self, reg, counter);
        self.share_unless_borrowed(Val { reg, ty: element, temp: true }, bind);
        let val = self.convert(Val { reg, ty: element, temp: true }, ty);
        self.declare(bind, val);
        self.loops.push(Loop { break_to: done, continue_to: next });
        self.block(body);
        self.loops.pop();
        self.fb.bind(next);
        self.fb.int_for_loop(counter, limit, head);
        self.fb.bind(done);
        self.close_scope(scope);
        self.fb.free(counter);
        self.fb.free(limit);
    }

    // ---- Tests ----

    fn test(&mut self, name: Ident, body: Block) {
        if self.cx.tests == Tests::Inline {
            return self.block(body);
        }
        let text = self.cx.names.get(name.name).to_string();
        let text = self.cx.module.string(&text);
        let string = ValueType::Cell(self.cell_of(HeapType::String));
        let begin = self.host("mochi.test_begin", &[string], Some(ValueType::Bool));
        let slot = FunctionBuilder::cell_arguments(1)[0];
        self.fb.string_const(slot, text);
        let selected = self.fb.int();
        self.fb.call_host_int(selected, begin);
        let (skip, start, end, failed) = (self.fb.label(), self.fb.label(), self.fb.label(), self.fb.label());
        self.fb.unless_branch(selected, skip);
        self.fb.free(selected);
        let error = self.fb.cell(ANY);
        self.fb.bind_reachable(start);
        self.block(body);
        let ok = self.fb.label();
        self.fb.jump(ok);
        self.fb.bind_reachable(end);
        self.fb.bind_reachable(failed);
        self.end_test(Some(error));
        self.fb.jump(skip);
        self.fb.bind(ok);
        self.end_test(None);
        self.fb.bind(skip);
        self.fb.handler(start, end, failed, error);
        self.fb.free(error);
    }

    /// Reports how a test ended: with the exception, or with none.
    fn end_test(&mut self, error: Option<Reg>) {
        let host = self.host("mochi.test_end", &[ValueType::Cell(ANY)], None);
        let slot = FunctionBuilder::cell_arguments(1)[0];
        match error {
            Some(error) => self.fb.cell_move(slot, error),
            None => self.fb.load_nil(slot),
        }
        self.fb.call_host_void(host);
    }

    fn bench(&mut self, name: Ident, body: Block) {
        let text = self.cx.names.get(name.name).to_string();
        let text = self.cx.module.string(&text);
        let string = ValueType::Cell(self.cell_of(HeapType::String));
        let begin = self.host("mochi.bench_begin", &[string], None);
        let slot = FunctionBuilder::cell_arguments(1)[0];
        self.fb.string_const(slot, text);
        self.fb.call_host_void(begin);
        self.block(body);
        if self.fb.is_reachable() {
            let end = self.host("mochi.bench_end", &[], None);
            self.fb.call_host_void(end);
        }
    }

    fn expect(&mut self, value: ExprId, span: crate::source::Span) {
        let ok = self.fb.label();
        if self.expr_ty(value) == TyId::BOOL {
            self.jump_if(value, true, ok, false);
        } else {
            let val = self.expr(value, None);
            let val = self.boxed(val);
            self.fb.is_branch(val.reg, Immediate::True, ok);
            self.done(val);
        }
        self.span(span);
        let line = self.cx.sources.line_column(span).line;
        let text = self.cx.sources.file(span.file).line_text(line).trim().to_string();
        let text = self.cx.module.string(&text);
        let string = ValueType::Cell(self.cell_of(HeapType::String));
        let host = self.host("mochi.expect_failed", &[string], None);
        let slot = FunctionBuilder::cell_arguments(1)[0];
        self.fb.string_const(slot, text);
        self.fb.call_host_void(host);
        self.fb.bind(ok);
    }

    /// A jump that has nowhere to go: an error, if it is reached.
    fn outside_of_loops(&mut self, word: &str) {
        let text = self.cx.module.string(word);
        let string = ValueType::Cell(self.cell_of(HeapType::String));
        let host = self.host("mochi.outside_of_loops", &[string], None);
        let slot = FunctionBuilder::cell_arguments(1)[0];
        self.fb.string_const(slot, text);
        self.fb.call_host_void(host);
    }

    // ---- Update ----

    /// `update xs set { f: e } where c`: for each struct of the list, with its fields in scope, the fields are assigned.
    fn update(&mut self, id: StmtId, set: List<MapEntry>, filter: Option<ExprId>) {
        let Some(info) = self.cx.resolution.update(id).cloned() else { return };
        let Resolved::Bind(list_bind) = info.target else { return };
        let entries: Vec<MapEntry> = self.cx.program[set].to_vec();
        let list_ty = self.cx.types.bind(self.cx.resolution.slot(list_bind));
        let list = self.variable(list_bind, list_ty, None);
        let list = self.owned(list);
        let (element, list_reg) = match self.ty(list_ty) {
            Ty { kind: TyKind::List(element), nullable: false } => (element, list.reg),
            _ => {
                let any = self.any(list);
                let cell = self.any_list();
                let host =
                    self.host("mochi.op.iterate", &[ValueType::Cell(ANY)], Some(ValueType::Cell(cell)));
                let slot = FunctionBuilder::cell_arguments(1)[0];
                self.fb.cell_move(slot, any.reg);
                let reg = self.fb.cell(cell);
                self.fb.call_host_cell(reg, host);
                (TyId::ANY, reg)
            }
        };
        let (counter, limit) = (self.fb.int(), self.fb.int());
        self.fb.list_len(limit, list_reg);
        self.fb.int_const(counter, 0);
        let (head, next, done) = (self.fb.label(), self.fb.label(), self.fb.label());
        self.fb.int_le_branch(limit, counter, done);
        self.fb.begin_loop(head);
        let scope = self.open_scope();
        let object = self.reg(element);
        self.list_get(object, list_reg, counter, element);
        let object = Val { reg: object, ty: element, temp: false };
        let names = info.of.map(|of| self.cx.resolution.fields(self.cx.program, of)).unwrap_or_default();
        for (name, bind) in names.iter().map(|field| field.name.name).zip(&info.field_binds) {
            let Some(bind) = *bind else { continue };
            let val = self.element_field(object, name);
            self.share_unless_borrowed(val, bind);
            let val = self.convert(val, self.cx.types.bind(bind));
            self.declare(bind, val);
        }
        if let Some(filter) = filter {
            self.jump_unless(filter, next);
        }
        let mut values = Vec::new();
        for entry in &entries {
            let Some(name) = self.cx.program.key_name(entry.key) else {
                self.effect(entry.value);
                continue;
            };
            let field = self.field_of_element(element, name);
            let ty = match (field, self.kind(element)) {
                (Some((_, ty)), _) | (None, TyKind::Map(_, ty)) => ty,
                _ => TyId::ANY,
            };
            let val = self.expr_as(entry.value, ty);
            values.push((name, field, self.owned(val)));
        }
        for (name, field, val) in values {
            match field {
                Some((index, _)) => {
                    self.store_field(object.reg, index, val.reg, val.ty);
                    self.done(val);
                }
                None => {
                    let boxed = self.boxed(object);
                    let val = self.any(val);
                    let text = self.cx.names.get(name).to_string();
                    let name = self.cx.module.name(&text, 0);
                    let site = self.fb.feedback();
                    self.fb.cell_field_set(boxed.reg, val.reg, POLICY, name, site);
                    self.done(val);
                }
            }
        }
        self.close_scope(scope);
        self.fb.bind(next);
        self.fb.int_for_loop(counter, limit, head);
        self.fb.bind(done);
        self.fb.free(counter);
        self.fb.free(limit);
    }

    /// Binding a variable to what is inside something else makes another reference, if it is a list.
    pub fn share_unless_borrowed(&mut self, val: Val, bind: BindId) {
        if self.may_be_list(val.ty) && !self.cx.types.borrows(bind) {
            self.fb.list_share(val.reg);
        }
    }

    /// Position and type of a field of the elements that `update` changes, if these are surely structs that have it.
    fn field_of_element(&self, element: TyId, name: Name) -> Option<(u16, TyId)> {
        let Ty { kind: TyKind::Struct(of), nullable: false } = self.ty(element) else { return None };
        let index = self.cx.resolution.field_index(self.cx.program, of, name)?;
        Some((index as u16, self.cx.types.fields(of)[index]))
    }

    fn element_field(&mut self, object: Val, name: Name) -> Val {
        if let Some((index, ty)) = self.field_of_element(object.ty, name) {
            let reg = self.reg(ty);
            self.load_field(reg, object.reg, index, ty);
            return Val { reg, ty, temp: true };
        }
        let text = self.cx.names.get(name).to_string();
        let name = self.cx.module.name(&text, 0);
        let site = self.fb.feedback();
        let boxed = self.boxed(object);
        let reg = self.fb.cell(ANY);
        self.fb.cell_field_get(reg, boxed.reg, POLICY, name, site);
        Val { reg, ty: TyId::ANY, temp: true }
    }
}
