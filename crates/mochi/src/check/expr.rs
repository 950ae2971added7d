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
        let ty = self.expr_for(id, expected)?;
        match expected {
            Some(expected) if !self.fits(ty, expected) => Err(self.mismatch(expected, ty, self.place(id))),
            _ => Ok(ty),
        }
    }

    /// Checks an expression for a place of type `expected`, without a look at whether it fits.
    fn expr_for(&mut self, id: ExprId, expected: Option<Ty>) -> Check<Ty> {
        let ty = self.value(id, expected)?;
        if ty == Ty::POISON {
            return Err(Stop::Silent);
        }
        self.expr_types[id.index()] = ty;
        Ok(ty)
    }

    /// Checks an expression for a place of type `declared`, about which only elements of literals need to know. Upstream tells
    /// not even these.
    pub(super) fn part(&mut self, id: ExprId, declared: Option<Ty>) -> Check<Ty> {
        let declared = declared.filter(|_| !self.strict()).and_then(|declared| match self.ast[id].kind {
            // What is in `any` may be anything all the way down.
            ExprKind::List(_) if declared == Ty::ANY => Some(self.types.list(Ty::ANY)),
            ExprKind::Map(_) if declared == Ty::ANY => Some(self.types.map(Ty::ANY, Ty::ANY)),
            ExprKind::List(_) | ExprKind::Map(_) => Some(declared),
            _ => None,
        });
        self.expr_for(id, declared)
    }

    /// Whether a value goes where something of type `expected` is wanted.
    pub(super) fn fits(&self, ty: Ty, expected: Ty) -> bool {
        self.types.unify(ty, expected) || self.types.assignable(ty, expected)
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
            ExprKind::List(elements) => self.list(elements, expected),
            ExprKind::Map(entries) => self.map(entries, expected),
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
        // Each branch must fit what is wanted. Where that is not known, and for upstream anyway, it must fit the one before it.
        let wanted = expected.filter(|&expected| expected != Ty::ANY && !self.strict());
        let (mut result, mut before) = (None, expected);
        for choice in &ast[choices] {
            self.condition(choice.cond)?;
            let facts = self.facts(choice.cond);
            let mark = self.scope.enter();
            self.learn(&facts.truthy);
            let ty = self.branch(choice.value, wanted, before, &mut result)?;
            self.scope.leave(mark);
            self.learn(&facts.falsy);
            before = Some(ty);
        }
        // Without `else` the value may be none; upstream takes it for anything.
        if let Some(otherwise) = otherwise {
            self.branch(otherwise, wanted, before, &mut result)?;
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

    /// A branch of an `if` expression, behind others whose values are of type `result`.
    fn branch(
        &mut self,
        value: ExprId,
        wanted: Option<Ty>,
        before: Option<Ty>,
        result: &mut Option<Ty>,
    ) -> Check<Ty> {
        let ty = match wanted {
            Some(_) => self.expr(value, wanted)?,
            None => self.expr_for(value, before)?,
        };
        let common = match *result {
            Some(first) if !self.strict() => self.types.common(first, ty),
            _ => None,
        };
        if let (None, None, Some(before)) = (wanted, common, before)
            && !self.fits(ty, before)
        {
            return Err(self.mismatch(before, ty, self.place(value)));
        }
        *result = Some(common.unwrap_or_else(|| self.join(*result, ty)));
        Ok(ty)
    }

    /// The type of either value.
    fn join(&self, so_far: Option<Ty>, ty: Ty) -> Ty {
        match so_far {
            None => ty,
            Some(first) if self.types.unify(first, ty) => first,
            Some(_) => Ty::ANY,
        }
    }

    fn list(&mut self, elements: List<ExprId>, expected: Option<Ty>) -> Check<Ty> {
        let ast = self.ast;
        let wanted = match expected.map(|ty| self.types.kind(self.types.present(ty))) {
            Some(Kind::List(element)) => Some(element),
            _ => None,
        };
        let (mut element, mut unfit) = (None, None);
        for &id in &ast[elements] {
            let ty = self.part(id, wanted)?;
            if let Some(wanted) = wanted.filter(|&wanted| !self.fits(ty, wanted)) {
                unfit.get_or_insert((wanted, ty, id));
            }
            match element {
                None => element = Some(ty),
                Some(first) if !self.types.unify(first, ty) => {
                    // Elements of several types go where each fits what is declared.
                    let wanted = wanted.filter(|_| !self.strict());
                    match (wanted, unfit) {
                        (Some(_), Some((wanted, ty, id))) => {
                            return Err(self.mismatch(wanted, ty, ast[id].span));
                        }
                        (Some(wanted), None) => element = Some(wanted),
                        (None, _) => return Err(self.mismatch(first, ty, ast[id].span)),
                    }
                }
                Some(_) => {}
            }
        }
        Ok(self.types.list(element.unwrap_or(Ty::ANY)))
    }

    fn map(&mut self, entries: List<MapEntry>, expected: Option<Ty>) -> Check<Ty> {
        let ast = self.ast;
        let wanted = match expected.map(|ty| self.types.kind(self.types.present(ty))) {
            Some(Kind::Map(_, value)) => Some(value),
            _ => None,
        };
        let (mut keys, mut values) = (None, None);
        for entry in &ast[entries] {
            let key = match entry.key {
                MapKey::Name(_) => Ty::STR,
                MapKey::Expr(key) => self.expr(key, None)?,
            };
            keys = Some(self.join(keys, key));
            let value = self.part(entry.value, wanted)?;
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
            let value = self.part(field.value, Some(declared))?;
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
