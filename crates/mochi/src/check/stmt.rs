//! Statements.

use crate::builtins::Builtin;
use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{
    BindId, BindKind, Block, Body, Branch, ExprId, ExprKind, ExternId, ExternKind, FieldInit, FunId, FunKind,
    Ident, List, MapEntry, MapKey, Name, StmtId, StmtKind,
};
use crate::syntax::walk::{self, Node};

use super::narrow::Fact;
use super::scope::{Called, Key, VarRef};
use super::types::{FunTy, Kind, Ty};
use super::{CallLog, Check, Checker, Returns, Stop, error, stop};

impl Checker<'_> {
    /// Checks a statement.
    pub(super) fn stmt(&mut self, id: StmtId) -> Check<()> {
        let ast = self.ast;
        let span = ast[id].span;
        match ast[id].kind {
            StmtKind::Error => Err(Stop::Silent),
            StmtKind::Let { bind, value } => self.let_stmt(bind, value, span),
            StmtKind::Assign { target, value } => self.assign(target, value, span),
            StmtKind::Fun(fun) => self.fun_stmt(fun, span),
            StmtKind::Return(value) => self.return_stmt(value, span),
            StmtKind::If { branches, otherwise } => self.if_stmt(&ast[branches], otherwise),
            StmtKind::While { cond, body } => {
                // The condition is asked again after each turn.
                self.forget_assigned_in(body);
                self.condition(cond)?;
                let mark = self.scope.enter();
                if !self.strict() {
                    let facts = self.facts(cond);
                    self.learn(&facts.truthy);
                }
                self.loop_body(body)?;
                self.scope.leave(mark);
                Ok(())
            }
            StmtKind::ForIn { bind, items, body } => {
                let ty = self.expr(items, None)?;
                let element = match self.types.kind(ty) {
                    Kind::List(element) => element,
                    Kind::Map(key, _) => key,
                    Kind::Str => Ty::STR,
                    Kind::Group(_, element) if !self.strict() => element,
                    _ => {
                        let message = format!("a value of type {} cannot be iterated", self.show(ty));
                        let diagnostic = Diagnostic::error(Code::T022, span, message);
                        let diagnostic = diagnostic.with_label(self.place(items), self.of_type(ty));
                        return stop(self.help_optional(diagnostic, &[ty]));
                    }
                };
                let map = self.iterated_map(items);
                self.for_body(bind, element, body, map)
            }
            StmtKind::ForRange { bind, start, end, body } => {
                let bounds = [self.expr(start, None)?, self.expr(end, None)?];
                for (id, ty) in [start, end].into_iter().zip(bounds) {
                    if !self.is_index(ty) {
                        let message = format!("the bounds of a range are int, not {}", self.show(ty));
                        let diagnostic = Diagnostic::error(Code::T023, span, message);
                        let diagnostic = diagnostic.with_label(self.place(id), self.of_type(ty));
                        return stop(self.help_optional(diagnostic, &[ty]));
                    }
                }
                let element = if bounds[0] == Ty::INT64 { Ty::INT64 } else { Ty::INT };
                self.for_body(bind, element, body, None)
            }
            StmtKind::Break => self.jump("break", span),
            StmtKind::Continue => self.jump("continue", span),
            StmtKind::Expr(value) => self.expr(value, None).map(|_| ()),
            StmtKind::Test { body, .. } | StmtKind::Bench { body, .. } => {
                let in_loop = std::mem::replace(&mut self.in_loop, false);
                self.block(body)?;
                self.in_loop = in_loop;
                Ok(())
            }
            StmtKind::Expect(value) => self.expr(value, Some(Ty::BOOL)).map(|_| ()),
            // Declared with the block; the methods of top-level types are checked apart.
            StmtKind::Type(decl) => self.check_methods(decl),
            StmtKind::Import(import) => {
                let bind = ast[import].bind;
                self.scope.bind(ast[bind].name, Ty::ANY, false);
                Ok(())
            }
            StmtKind::Extern(id) => {
                self.extern_stmt(id);
                Ok(())
            }
            StmtKind::Fetch { url, bind, with } => {
                self.fetch(url, with, span)?;
                self.scope.bind(ast[bind].name, Ty::ANY, false);
                Ok(())
            }
            StmtKind::Update { target, set, filter } => self.update(target, &ast[set], filter, span),
            StmtKind::Fact(_) | StmtKind::Rule { .. } => Ok(()),
            StmtKind::Stream { name, .. } => {
                self.streams.insert(name.name);
                Ok(())
            }
            StmtKind::On { stream, bind, body } => {
                let event = self.stream_type(stream, span)?;
                let in_loop = std::mem::replace(&mut self.in_loop, false);
                let (mark, horizon) = (self.scope.enter(), self.scope.enter_closure(Called::Later));
                self.bind_param(ast[bind].name, event);
                self.block(body)?;
                self.scope.leave(mark);
                self.scope.leave_closure(horizon);
                self.in_loop = in_loop;
                Ok(())
            }
            StmtKind::Emit { stream, fields } => self.emit(stream, fields, span),
            StmtKind::Model { fields, .. } => {
                for field in &ast[fields] {
                    self.expr(field.value, None)?;
                }
                Ok(())
            }
            StmtKind::Agent { name, body } => self.agent(name, body),
            StmtKind::Intent(fun) => {
                let result = self.result_type(fun).unwrap_or(Ty::ANY);
                self.fun_body(fun, Returns::Declared(result))
            }
        }
    }

    /// Checks a block in a scope of its own.
    pub(super) fn block(&mut self, block: Block) -> Check<()> {
        let ast = self.ast;
        let mark = self.scope.enter();
        let stmts = &ast[block.stmts];
        self.declare_types(stmts, false);
        self.declare_methods(stmts, false);
        for &stmt in stmts {
            let before = std::mem::take(&mut self.log);
            self.stmt(stmt)?;
            // Facts about `var`s do not survive calls that may assign them.
            if self.log.may_assign() {
                self.scope.forget_mutable();
            }
            self.learn_behind();
            self.log = before.then(self.log);
        }
        self.scope.leave(mark);
        Ok(())
    }

    /// Checks a statement of the top level, where upstream keeps facts whatever is called, and learns nothing that lasts.
    pub(super) fn stmt_of_top(&mut self, stmt: StmtId) -> Check<()> {
        self.log = CallLog::default();
        self.stmt(stmt)?;
        if !self.strict() && self.log.effects.assigns {
            self.scope.forget_mutable();
        }
        self.learn_behind();
        Ok(())
    }

    /// Applies what the statement that was just checked tells those behind it.
    fn learn_behind(&mut self) {
        let behind = std::mem::take(&mut self.behind);
        self.learn(&behind);
    }

    fn loop_body(&mut self, body: Block) -> Check<()> {
        let in_loop = std::mem::replace(&mut self.in_loop, true);
        self.block(body)?;
        self.in_loop = in_loop;
        Ok(())
    }

    /// Forgets what is known about variables that a loop assigns: it may not hold when the loop comes around. Upstream does
    /// not look that far ahead.
    fn forget_assigned_in(&mut self, body: Block) {
        if self.strict() || !self.scope.may_know_facts() {
            return;
        }
        for var in self.assigned_in(body) {
            let declared = self.scope.var(var).declared;
            self.scope.learn(var, declared);
            self.scope.change(var);
        }
    }

    /// The variables with names that a block assigns.
    fn assigned_in(&self, body: Block) -> Vec<VarRef> {
        let ast = self.ast;
        let (mut open, mut found) = (Vec::new(), Vec::new());
        walk::push_block(ast, body, &mut open);
        while let Some(node) = open.pop() {
            if let Node::Stmt(stmt) = node
                && let StmtKind::Assign { target, .. } = ast[stmt].kind
            {
                found.extend(ast.as_name(target).and_then(|name| self.scope.find(name)));
            }
            walk::push_children(ast, node, &mut open);
        }
        found
    }

    /// The variable of the map over whose keys a loop runs.
    fn iterated_map(&self, items: ExprId) -> Option<VarRef> {
        let mut source = items;
        if let ExprKind::Call { callee, args } = self.ast[items].kind
            && let Some(var) = self.ast.as_name(callee).and_then(|name| self.scope.find(name))
            && self.scope.var(var).builtin == Some(Builtin::Keys)
            && let [map] = self.ast[args]
        {
            source = map;
        }
        let map = self.scope.find(self.ast.as_name(source)?)?;
        let is_map = matches!(self.types.kind(self.scope.current(map)), Kind::Map(..));
        (is_map && !self.strict()).then_some(map)
    }

    /// Checks the body of a loop over elements, or over the keys of a map.
    fn for_body(&mut self, bind: BindId, element: Ty, body: Block, map: Option<VarRef>) -> Check<()> {
        self.forget_assigned_in(body);
        let mark = self.scope.enter();
        let key = self.bind_param(self.ast[bind].name, element);
        // The map that the loop runs over is the one in the variable, in every turn.
        if let Some(map) = map.filter(|&map| self.scope.is_private(map))
            && !self.assigned_in(body).iter().any(|&var| var == map || var == key)
        {
            self.scope.learn_entry(map, Key::Var(key));
        }
        self.loop_body(body)?;
        self.scope.leave(mark);
        Ok(())
    }

    fn jump(&self, word: &str, span: Span) -> Check<()> {
        if self.in_loop {
            return Ok(());
        }
        error(Code::T045, span, format!("`{word}` is possible only in a loop"))
    }

    /// Declares what a statement with an error would have declared, so that uses do not become errors as well. The
    /// letter of upstream knows no such mercy.
    pub(super) fn bind_poisoned(&mut self, id: StmtId) {
        if self.strict() {
            return;
        }
        if let StmtKind::Let { bind, .. } | StmtKind::Fetch { bind, .. } = self.ast[id].kind {
            let bind = &self.ast[bind];
            self.scope.bind(bind.name, Ty::POISON, bind.kind == BindKind::Var);
        }
    }

    fn let_stmt(&mut self, bind: BindId, value: Option<ExprId>, span: Span) -> Check<()> {
        let bind = &self.ast[bind];
        let mutable = bind.kind == BindKind::Var;
        if let (true, Some(value)) = (mutable, value) {
            self.check_constant_shared(value, span)?;
        }
        let ty = match (bind.ty, value) {
            (None, None) => {
                let message = format!("`{}` has neither a type nor a value", self.text_of(bind.name));
                return error(Code::T000, span, message);
            }
            (None, Some(value)) => self.expr(value, None)?,
            (Some(ty), None) => self.resolve(ty),
            (Some(ty), Some(value)) => {
                let declared = self.resolve(ty);
                let ty = self.expr(value, Some(declared))?;
                if !self.types.assignable(ty, declared) {
                    return Err(self.mismatch(declared, ty, span));
                }
                if mutable {
                    self.check_shared(value, ty, declared, span)?;
                    self.check_shared_elements(value, declared)?;
                }
                declared
            }
        };
        let var = self.scope.bind(bind.name, ty, mutable);
        if let (None, Some(value)) = (bind.ty, value)
            && self.present.contains(&value)
        {
            self.scope.mark_tested(var);
        }
        Ok(())
    }

    fn assign(&mut self, target: ExprId, value: ExprId, span: Span) -> Check<()> {
        let ast = self.ast;
        // From the outside in; the parser guarantees a name at the bottom.
        let mut steps = Vec::new();
        let mut root = target;
        let name = loop {
            match ast[root].kind {
                ExprKind::Name(name) => break name,
                ExprKind::Index { base, .. }
                | ExprKind::Slice { base, .. }
                | ExprKind::Field { base, .. } => {
                    steps.push(root);
                    root = base;
                }
                _ => return Err(Stop::Silent),
            }
        };
        let text = self.text_of(name);
        let Some(var) = self.scope.find(name) else {
            let diagnostic = Diagnostic::error(Code::T001, span, format!("there is no variable `{text}`"))
                .with_label(ast[root].span, "not declared");
            return stop(self.suggest_variable(diagnostic, name));
        };
        let info = *self.scope.var(var);
        if info.declared == Ty::POISON {
            return Err(Stop::Silent);
        }
        if !info.mutable {
            let diagnostic = Diagnostic::error(Code::T024, span, format!("`{text}` is a constant"));
            return stop(diagnostic.with_label(ast[root].span, "it cannot change"));
        }
        let mut place = info.declared;
        if !steps.is_empty() && !self.strict() && matches!(self.types.kind(place), Kind::Option(_)) {
            place = self.scope.current(var);
        }
        for &step in steps.iter().rev() {
            place = match ast[step].kind {
                ExprKind::Index { base, index, .. } => self.stored_element(base, place, index, span)?,
                ExprKind::Field { base, name, .. } => self.stored_field(base, place, name)?,
                ExprKind::Slice { base, .. } => {
                    let message = "a slice cannot be assigned to: name a single position";
                    return error(Code::T016, self.token_behind(base), message);
                }
                _ => return Err(Stop::Silent),
            };
            if place == Ty::POISON {
                return Err(Stop::Silent);
            }
        }
        let ty = self.expr(value, Some(place))?;
        if !self.types.unify(place, ty) && !self.types.assignable(ty, place) {
            let message = format!(
                "a value of type {} does not fit into `{text}` of type {}",
                self.show(ty),
                self.show(place)
            );
            let diagnostic = Diagnostic::error(Code::T009, span, message);
            return stop(diagnostic.with_label(self.place(value), self.of_type(ty)));
        }
        if steps.is_empty() {
            self.assigned(var, info.declared, ty);
        } else {
            self.check_shared(value, ty, place, span)?;
            self.check_shared_elements(value, place)?;
            // A call in the value may give the variable another map than the one that the store is to.
            if let ExprKind::Index { base, index, optional: false } = ast[target].kind
                && let Some(Fact::Has(map, key)) = self.entry(base, index)
                && self.scope.is_private(map)
            {
                self.scope.learn_entry(map, key);
            }
        }
        Ok(())
    }

    /// What is known of a variable after a value of type `ty` was assigned.
    fn assigned(&mut self, var: VarRef, declared: Ty, ty: Ty) {
        self.scope.change(var);
        let known = match self.types.kind(declared) {
            Kind::Any => ty,
            Kind::Option(payload) if !matches!(self.types.kind(ty), Kind::Option(_) | Kind::Any) => payload,
            _ if self.types.contains_any(declared) && !self.types.contains_any(ty) => ty,
            _ => declared,
        };
        self.scope.learn(var, known);
    }

    fn fun_stmt(&mut self, id: FunId, span: Span) -> Check<()> {
        let ast = self.ast;
        if let Some(bind) = ast[id].bind {
            if ast[id].parent.is_some() {
                self.check_effects(id, span);
            }
            let ty = self.signature(id, Ty::ANY);
            self.scope.bind(ast[bind].name, ty, false);
        }
        let result = self.result_type(id).unwrap_or(Ty::ANY);
        self.fun_body(id, Returns::Declared(result))
    }

    /// Checks the body of a function as a closure: it runs at another time.
    pub(super) fn fun_body(&mut self, id: FunId, returns: Returns) -> Check<()> {
        let ast = self.ast;
        let Body::Block(body) = ast[id].body else { return Ok(()) };
        let before = self.checkpoint();
        self.enter_fun(id);
        self.returns = returns;
        self.in_loop = false;
        self.block(body)?;
        self.restore(before);
        Ok(())
    }

    /// Opens the scope of a function's body.
    pub(super) fn enter_fun(&mut self, id: FunId) {
        let ast = self.ast;
        // Functions of the top level may be called from further up.
        let hoisted = ast[id].kind != FunKind::Lambda && ast[id].parent.is_none();
        self.scope.enter_closure(if hoisted { Called::Early } else { Called::Later });
        self.log = CallLog::default();
        self.enter_generics(id);
        for &param in &ast[ast[id].params] {
            let ty = self.param_type(param);
            self.bind_param(ast[param].name, ty);
        }
    }

    /// Introduces a parameter or another variable that is no `var`, but may be assigned. To upstream they are `var`s.
    pub(super) fn bind_param(&mut self, name: Name, ty: Ty) -> VarRef {
        let var = self.scope.bind(name, ty, true);
        if !self.strict() {
            self.scope.keep_facts(var);
        }
        var
    }

    fn return_stmt(&mut self, value: Option<ExprId>, span: Span) -> Check<()> {
        match (self.returns, value) {
            (Returns::Declared(expected), None) => {
                if !self.types.unify(Ty::UNIT, expected) {
                    let message =
                        format!("this function returns {}: a value is missing", self.show(expected));
                    return error(Code::T010, span, message);
                }
            }
            (Returns::Declared(expected), Some(value)) => {
                let ty = self.expr(value, Some(expected))?;
                if self.strict() && !self.types.unify(ty, expected) {
                    let message =
                        format!("this function returns {}, not {}", self.show(expected), self.show(ty));
                    return error(Code::T010, span, message);
                }
            }
            (Returns::Inferred(so_far), value) => {
                let ty = value.map_or(Ok(Ty::UNIT), |value| self.expr(value, None))?;
                let joined = match so_far {
                    Some(first) if self.types.unify(first, ty) => first,
                    Some(_) => Ty::ANY,
                    None => ty,
                };
                self.returns = Returns::Inferred(Some(joined));
            }
        }
        Ok(())
    }

    fn if_stmt(&mut self, branches: &[Branch], otherwise: Option<Block>) -> Check<()> {
        let outer = self.scope.enter();
        let before = self.scope.now();
        let (mut falsy, mut ends) = (Vec::new(), true);
        // All calls, and those after which the program may go on behind the statement.
        let (mut all, mut passed) = (std::mem::take(&mut self.log), CallLog::default());
        for branch in branches {
            self.condition(branch.cond)?;
            let calls = std::mem::take(&mut self.log);
            (all, passed) = (all.then(calls), passed.then(calls));
            let facts = self.facts(branch.cond);
            let mark = self.scope.enter();
            self.learn(&facts.truthy);
            self.block(branch.body)?;
            self.scope.leave(mark);
            self.learn(&facts.falsy);
            let calls = std::mem::take(&mut self.log);
            all = all.then(calls);
            if !self.ends(branch.body) {
                (ends, passed) = (false, passed.then(calls));
            }
            if ends {
                falsy.extend(facts.falsy);
            }
        }
        if let Some(block) = otherwise {
            self.block(block)?;
            passed = passed.then(self.log);
        }
        self.log = all.then(self.log);
        self.scope.leave(outer);
        // What comes behind is reached only where none of the conditions held whose blocks end. Other blocks, and calls in
        // them and in conditions, may have assigned. Upstream does not look behind.
        falsy.retain(|&fact| match fact {
            Fact::Has(map, key) => self.scope.is_unchanged(map, key, before),
            Fact::Is(var, _) => {
                !self.strict()
                    && self.scope.var(var).unchanged_since(before)
                    && (self.scope.var(var).keeps_facts() || !passed.may_assign())
            }
        });
        self.behind = falsy;
        Ok(())
    }

    /// Whether what stands behind a block is never reached from it.
    fn ends(&self, block: Block) -> bool {
        let ast = self.ast;
        ast[block.stmts].iter().any(|&stmt| match ast[stmt].kind {
            StmtKind::Return(_) | StmtKind::Break | StmtKind::Continue => true,
            StmtKind::If { branches, otherwise: Some(block) } => {
                ast[branches].iter().all(|branch| self.ends(branch.body)) && self.ends(block)
            }
            StmtKind::Expr(value) => {
                let ExprKind::Call { callee, .. } = ast[value].kind else { return false };
                let var = ast.as_name(callee).and_then(|name| self.scope.find(name));
                var.is_some_and(|var| self.scope.var(var).builtin == Some(Builtin::Panic))
            }
            _ => false,
        })
    }

    /// Checks the condition of `if` and `while`.
    pub(super) fn condition(&mut self, id: ExprId) -> Check<()> {
        let ty = self.expr(id, None)?;
        if self.types.unify(ty, Ty::BOOL) {
            return Ok(());
        }
        error(Code::T040, self.ast[id].span, format!("a condition is a bool, not {}", self.show(ty)))
    }

    fn extern_stmt(&mut self, id: ExternId) {
        let ast = self.ast;
        let decl = &ast[id];
        let (ty, mutable) = match decl.kind {
            ExternKind::Type => return,
            ExternKind::Object => (Ty::ANY, false),
            ExternKind::Let(ty) => (self.resolve(ty), false),
            ExternKind::Var(ty) => (self.resolve(ty), !self.strict()),
            ExternKind::Fun { params, result } => {
                let params = ast[params].iter().map(|&param| self.param_type(param)).collect();
                let result = result.map_or(Ty::ANY, |result| self.resolve(result));
                let (effects, generics) = Default::default();
                (self.types.fun(FunTy { params, rest: None, result, effects, generics }), false)
            }
        };
        match &ast[decl.path] {
            [name] => {
                self.scope.bind(name.name, ty, mutable);
            }
            path => {
                self.externs.insert(path.iter().map(|part| part.name).collect(), ty);
            }
        }
    }

    fn update(&mut self, target: Ident, set: &[MapEntry], filter: Option<ExprId>, span: Span) -> Check<()> {
        let text = self.text_of(target.name);
        let Some(var) = self.scope.find(target.name) else {
            return error(Code::T001, span, format!("there is no variable `{text}`"));
        };
        let ty = self.scope.current(var);
        let element = match self.types.kind(ty) {
            Kind::Poison => return Err(Stop::Silent),
            Kind::List(element) => element,
            _ => return error(Code::T032, span, format!("`{text}` of type {} is no list", self.show(ty))),
        };
        let Some(id) = self.as_struct(element) else {
            let message =
                format!("`update` changes structs, but elements of `{text}` are {}", self.show(element));
            return error(Code::T027, span, message);
        };
        let mark = self.scope.enter();
        let fields = &self.types.struct_info(id).fields;
        for &(name, ty) in fields {
            self.scope.bind(name, ty, true);
        }
        for entry in set {
            let place = match entry.key {
                MapKey::Name(name) => name.span,
                MapKey::Expr(key) => self.ast[key].span,
            };
            let Some(name) = self.ast.key_name(entry.key) else { continue };
            let Some(field) = self.types.struct_field(id, name) else {
                return self.unknown_field(place, name, element);
            };
            let value = self.part(entry.value, Some(field))?;
            if !self.types.unify(field, value) && (self.strict() || !self.types.assignable(value, field)) {
                return Err(self.mismatch(field, value, self.ast[entry.value].span));
            }
        }
        if let Some(filter) = filter {
            self.predicate(filter, Code::T033, "where")?;
        }
        self.scope.leave(mark);
        Ok(())
    }

    fn stream_type(&mut self, stream: Ident, span: Span) -> Check<Ty> {
        match self.scope.constructor(stream.name).filter(|_| self.streams.contains(&stream.name)) {
            Some(id) => Ok(self.types.struct_ty(id)),
            None => {
                let message = format!("there is no stream `{}`", self.text_of(stream.name));
                stop(
                    Diagnostic::error(Code::T031, span, message)
                        .with_label(stream.span, "not declared above"),
                )
            }
        }
    }

    fn emit(&mut self, stream: Ident, fields: List<FieldInit>, span: Span) -> Check<()> {
        let event = self.stream_type(stream, span)?;
        let ast = self.ast;
        for field in &ast[fields] {
            let declared = self.as_struct(event).and_then(|id| self.types.struct_field(id, field.name.name));
            let Some(declared) = declared else {
                return self.unknown_field(field.name.span, field.name.name, event);
            };
            self.expr(field.value, Some(declared))?;
        }
        Ok(())
    }

    fn agent(&mut self, name: Ident, body: Block) -> Check<()> {
        let ast = self.ast;
        let Some(id) = self.scope.constructor(name.name) else { return Ok(()) };
        let mark = self.scope.enter();
        let methods = self.types.struct_info(id).methods.clone();
        for (name, ty) in methods {
            self.scope.bind(name, ty, false);
        }
        for &stmt in &ast[body.stmts] {
            self.stmt(stmt)?;
        }
        self.scope.leave(mark);
        Ok(())
    }
}
