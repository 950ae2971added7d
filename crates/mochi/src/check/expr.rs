//! Expressions, except for operators, access, calls, `match` and queries.

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{
    Body, Choice, ExprId, ExprKind, FieldInit, FunId, Ident, List, MapEntry, MapKey, Name,
};

use super::access::Use;
use super::types::{FunTy, Kind, Ty};
use super::{Check, Checker, Returns, Stop, error, stop};

impl Checker<'_> {
    /// Checks an expression, which must fit `expected` if that is given.
    ///
    /// Recursion is bounded by the nesting that the parser allows; chains of operators are loops.
    pub(super) fn expr(&mut self, id: ExprId, expected: Option<Ty>) -> Check<Ty> {
        let ty = self.value(id, expected)?;
        if ty == Ty::POISON {
            return Err(Stop::Silent);
        }
        self.expr_types[id.index()] = ty;
        match expected {
            Some(expected) if !self.types.unify(ty, expected) && !self.types.assignable(ty, expected) => {
                Err(self.mismatch(expected, ty, self.place(id)))
            }
            _ => Ok(ty),
        }
    }

    /// The error about a value that does not fit.
    #[cold]
    pub(super) fn mismatch(&self, expected: Ty, ty: Ty, place: Span) -> Stop {
        let message = format!("expected {}, got {}", self.show(expected), self.show(ty));
        let diagnostic = Diagnostic::error(Code::T008, place, message);
        let optional = [ty].into_iter().filter(|_| !matches!(self.types.kind(expected), Kind::Option(_)));
        Stop::Error(Box::new(self.help_optional(diagnostic, &optional.collect::<Vec<_>>())))
    }

    fn value(&mut self, id: ExprId, expected: Option<Ty>) -> Check<Ty> {
        let ast = self.ast;
        match ast[id].kind {
            ExprKind::Error => Err(Stop::Silent),
            ExprKind::Int(_) => Ok(Ty::INT),
            ExprKind::Float(_) => Ok(Ty::FLOAT),
            ExprKind::Bool(_) => Ok(Ty::BOOL),
            ExprKind::Str(_) => Ok(Ty::STR),
            ExprKind::None => Ok(self.types.option(Ty::ANY)),
            ExprKind::Name(name) => self.name(id, name),
            ExprKind::Field { base, name, optional: false } => self.field(id, base, name, Use::Value),
            ExprKind::Field { base, name, optional: true } => self.optional_field(base, name),
            ExprKind::Index { base, index, optional: false } => self.index(id, base, index, expected),
            ExprKind::Index { base, index, optional: true } => self.optional_index(base, index),
            ExprKind::Slice { base, start, end, step } => self.slice(base, [start, end, step]),
            ExprKind::Call { callee, args } => self.call(id, callee, args),
            ExprKind::Cast { value, ty } => self.cast(value, ty),
            ExprKind::Unary { op, operand } => self.unary(op, operand, self.place(id)),
            ExprKind::Binary { .. } => self.binary(id),
            ExprKind::If { choices, otherwise } => self.if_expr(id, choices, otherwise, expected),
            ExprKind::List(elements) => self.list(elements),
            ExprKind::Map(entries) => self.map(entries),
            ExprKind::Struct { name, fields } => self.struct_literal(id, name, fields),
            ExprKind::Fun(fun) => self.lambda(id, fun, expected),
            ExprKind::Match { subject, arms } => self.match_expr(id, subject, arms, expected),
            ExprKind::Query(query) => self.query(query),
            ExprKind::Logic(_) => {
                let row = self.types.map(Ty::STR, Ty::ANY);
                Ok(self.types.list(row))
            }
            ExprKind::Generate { target, fields } => self.generate(id, target, fields),
            ExprKind::Fetch { url, with } => {
                self.fetch(url, with, self.place(id))?;
                Ok(expected.unwrap_or(Ty::ANY))
            }
            ExprKind::Load { ty, with, .. } => self.load(ty, with),
            ExprKind::Save { value, with, .. } => self.save(value, with),
        }
    }

    fn name(&mut self, id: ExprId, name: Name) -> Check<Ty> {
        match self.scope.find(name) {
            Some(var) => Ok(self.scope.current(var)),
            None if self.is_nil(name) => Ok(Ty::ANY),
            None => {
                let message = format!("there is no variable `{}`", self.text_of(name));
                stop(self.suggest_variable(Diagnostic::error(Code::T002, self.place(id), message), name))
            }
        }
    }

    /// Whether a name that nobody declares stands for `none`.
    pub(super) fn is_nil(&self, name: Name) -> bool {
        !self.strict() && matches!(self.text_of(name), "nil" | "null") && self.scope.find(name).is_none()
    }

    fn cast(&mut self, value: ExprId, ty: crate::syntax::ast::TypeId) -> Check<Ty> {
        let from = self.expr(value, None)?;
        let to = self.resolve(ty);
        if self.can_cast(from, to) {
            return Ok(to);
        }
        let message = format!("a value of type {} cannot be cast to {}", self.show(from), self.show(to));
        stop(self.help_optional(Diagnostic::error(Code::T046, self.token_behind(value), message), &[from]))
    }

    fn can_cast(&self, from: Ty, to: Ty) -> bool {
        if self.types.castable(from, to) {
            return true;
        }
        if self.strict() {
            // Upstream records this one as accepted, against its own rule.
            return from == Ty::STR && to == Ty::BOOL;
        }
        // Upstream rejects what follows, and its own programs are full of it.
        match (self.types.kind(from), self.types.kind(to)) {
            (Kind::Str, _) => self.types.is_numeric(to),
            // An entry of a map of anything.
            (Kind::Option(Ty::ANY), _) => true,
            (Kind::List(from), Kind::List(to)) => self.can_cast(from, to),
            (Kind::Map(a, x), Kind::Map(b, y)) => self.can_cast(a, b) && self.can_cast(x, y),
            _ => false,
        }
    }

    fn if_expr(
        &mut self,
        id: ExprId,
        choices: List<Choice>,
        otherwise: Option<ExprId>,
        expected: Option<Ty>,
    ) -> Check<Ty> {
        let ast = self.ast;
        let outer = self.scope.enter();
        // Each branch must fit the one before it.
        let (mut result, mut hint) = (None, expected);
        for choice in &ast[choices] {
            self.condition(choice.cond)?;
            let facts = self.facts(choice.cond);
            let mark = self.scope.enter();
            self.learn(&facts.truthy);
            let ty = self.expr(choice.value, hint)?;
            self.scope.leave(mark);
            self.learn(&facts.falsy);
            // What is known here says nothing of the other branches.
            let ty = self.untested(choice.value, ty);
            result = Some(self.join(result, ty));
            hint = Some(ty);
        }
        // Without `else` the value may be none; upstream takes it for anything.
        if let Some(otherwise) = otherwise {
            let ty = self.expr(otherwise, hint)?;
            result = Some(self.join(result, ty));
        }
        self.scope.leave(outer);
        let ty = result.unwrap_or(Ty::ANY);
        match expected {
            Some(expected) if self.strict() && !self.types.unify(ty, expected) => {
                Err(self.mismatch(expected, ty, self.place(id)))
            }
            _ => Ok(ty),
        }
    }

    /// The type of either value.
    fn join(&self, so_far: Option<Ty>, ty: Ty) -> Ty {
        match so_far {
            None => ty,
            Some(first) if self.types.unify(first, ty) => first,
            Some(_) => Ty::ANY,
        }
    }

    fn list(&mut self, elements: List<ExprId>) -> Check<Ty> {
        let ast = self.ast;
        let mut element = None;
        for &id in &ast[elements] {
            let ty = self.expr(id, None)?;
            match element {
                None => element = Some(ty),
                Some(first) if !self.types.unify(first, ty) => {
                    return Err(self.mismatch(first, ty, ast[id].span));
                }
                Some(_) => {}
            }
        }
        Ok(self.types.list(element.unwrap_or(Ty::ANY)))
    }

    fn map(&mut self, entries: List<MapEntry>) -> Check<Ty> {
        let ast = self.ast;
        let (mut keys, mut values) = (None, None);
        for entry in &ast[entries] {
            let key = match entry.key {
                MapKey::Name(_) => Ty::STR,
                MapKey::Expr(key) => self.expr(key, None)?,
            };
            keys = Some(self.join(keys, key));
            let value = self.expr(entry.value, None)?;
            values = Some(self.join(values, value));
        }
        Ok(self.types.map(keys.unwrap_or(Ty::ANY), values.unwrap_or(Ty::ANY)))
    }

    fn struct_literal(&mut self, id: ExprId, name: Ident, fields: List<FieldInit>) -> Check<Ty> {
        let ast = self.ast;
        let Some(target) = self.scope.constructor(name.name) else {
            for field in &ast[fields] {
                self.expr(field.value, None)?;
            }
            return Ok(self.types.map(Ty::STR, Ty::ANY));
        };
        let ty = self.types.struct_ty(target);
        let mut given = std::collections::HashSet::new();
        for field in &ast[fields] {
            let Some(declared) = self.types.struct_field(target, field.name.name) else {
                return self.unknown_field(self.place(id), field.name.name, ty);
            };
            let value = self.expr(field.value, None)?;
            if !self.types.unify(declared, value)
                && (self.strict() || !self.types.assignable(value, declared))
            {
                return Err(self.mismatch(declared, value, ast[field.value].span));
            }
            given.insert(field.name.name);
        }
        let info = self.types.struct_info(target);
        let missing: Vec<String> = info
            .fields
            .iter()
            .filter(|&&(field, _)| !info.optional_fields && !given.contains(&field))
            .map(|&(field, _)| format!("`{}`", self.text_of(field)))
            .collect();
        if !missing.is_empty() {
            let message = format!("`{}` also has {}", self.text_of(name.name), missing.join(", "));
            return error(Code::T053, self.place(id), message);
        }
        Ok(ty)
    }

    fn lambda(&mut self, id: ExprId, fun: FunId, expected: Option<Ty>) -> Check<Ty> {
        let ast = self.ast;
        let hint = expected.and_then(|ty| self.types.as_fun(ty)).map(|fun| fun.result);
        self.check_effects(fun, self.place(id));
        let before = self.checkpoint();
        self.enter_fun(fun);
        self.in_loop = false;
        let declared = self.result_type(fun).or(hint);
        let result = match ast[fun].body {
            Body::Expr(value) => {
                let ty = self.expr(value, None)?;
                match declared {
                    Some(declared) => {
                        let fits = self.types.unify(declared, ty)
                            || !self.strict() && self.types.assignable(ty, declared);
                        if !fits {
                            return Err(self.mismatch(declared, ty, self.place(id)));
                        }
                        declared
                    }
                    None => ty,
                }
            }
            Body::Block(body) => {
                self.returns = declared.map_or(Returns::Inferred(None), Returns::Declared);
                self.block(body)?;
                match self.returns {
                    Returns::Declared(ty) => ty,
                    Returns::Inferred(ty) => ty.unwrap_or(Ty::UNIT),
                }
            }
        };
        let params = ast[ast[fun].params].iter().map(|&param| self.param_type(param)).collect();
        let generics = self.generics.get(&fun).cloned().unwrap_or_default();
        self.restore(before);
        let effects = self.effects[fun.index()].published;
        Ok(self.types.fun(FunTy { params, rest: None, result, effects, generics }))
    }
}
