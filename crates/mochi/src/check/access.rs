//! Fields, indexes and slices.

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{ExprId, ExprKind, Ident, Name};

use super::types::{Kind, Ty};
use super::{Check, Checker, error, stop};

/// Whether a field is the callee of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Value,
    Callee,
}

impl Checker<'_> {
    /// Whether a value can be a position.
    pub(super) fn is_index(&self, ty: Ty) -> bool {
        self.types.unify(ty, Ty::INT) || self.types.unify(ty, Ty::INT64)
    }

    /// `base.name`
    pub(super) fn field(&mut self, id: ExprId, base: ExprId, name: Ident, how: Use) -> Check<Ty> {
        if let Some(ty) = self.extern_member(id) {
            return Ok(ty);
        }
        if let Some(ty) = self.known_module_member(base, name) {
            return Ok(ty);
        }
        let ty = self.expr(base, None)?;
        if let Some(member) = self.member(ty, name.name, how) {
            return Ok(member);
        }
        let place = self.chain_root(base);
        match self.types.kind(ty) {
            Kind::Option(_) => {
                let message = format!(
                    "this may be none, so its field `{}` needs a test first",
                    self.text_of(name.name)
                );
                let diagnostic = Diagnostic::error(Code::T058, place, message);
                stop(diagnostic.with_label(self.place(base), self.of_type(ty)))
            }
            Kind::Struct(_) | Kind::Inline(_) => self.unknown_field(place, name.name, ty),
            _ => {
                let message =
                    format!("a value of type {} has no field `{}`", self.show(ty), self.text_of(name.name));
                error(Code::T027, place, message)
            }
        }
    }

    /// Type of a member, if there is one.
    fn member(&mut self, ty: Ty, name: Name, how: Use) -> Option<Ty> {
        let text = self.text_of(name);
        // Builtin methods hide no entries of maps, except for upstream.
        let called = how == Use::Callee || self.strict();
        match self.types.kind(ty) {
            Kind::Any | Kind::Poison => Some(ty),
            Kind::Struct(id) => self.types.struct_member(id, name),
            Kind::Inline(id) => self.types.inline_field(id, name),
            Kind::Group(key, element) => Some(match text {
                "key" => key,
                "items" => self.types.list(element),
                _ => Ty::ANY,
            }),
            Kind::Str => match text {
                "contains" => Some(self.types.plain_fun(&[Ty::STR], Ty::BOOL)),
                "padStart" => Some(self.types.plain_fun(&[Ty::INT, Ty::STR], Ty::STR)),
                "starts_with" if !self.strict() => Some(self.types.plain_fun(&[Ty::STR], Ty::BOOL)),
                _ => None,
            },
            Kind::Map(key, value) => match text {
                "keys" if called => {
                    let element = if self.strict() { Ty::ANY } else { key };
                    let keys = self.types.list(element);
                    Some(self.types.plain_fun(&[], keys))
                }
                "values" if called && !self.strict() => {
                    let values = self.types.list(value);
                    Some(self.types.plain_fun(&[], values))
                }
                "get" if called => Some(self.types.plain_fun(&[key, value], value)),
                _ => self.types.unify(key, Ty::STR).then_some(value),
            },
            Kind::List(_) if how == Use::Callee && text == "join" && !self.strict() => {
                Some(self.types.plain_fun(&[Ty::STR], Ty::STR))
            }
            Kind::Int | Kind::Int64 | Kind::Float | Kind::BigInt
                if how == Use::Callee && text == "padStart" && !self.strict() =>
            {
                Some(self.types.plain_fun(&[Ty::INT, Ty::STR], Ty::STR))
            }
            _ => None,
        }
    }

    /// Type of an extern declaration that a chain of names refers to.
    fn extern_member(&self, id: ExprId) -> Option<Ty> {
        if self.externs.is_empty() {
            return None;
        }
        let (mut path, mut at) = (Vec::new(), id);
        loop {
            match self.ast[at].kind {
                ExprKind::Field { base, name, optional: false } => {
                    path.push(name.name);
                    at = base;
                }
                ExprKind::Name(name) => {
                    path.push(name);
                    break;
                }
                _ => return None,
            }
        }
        path.reverse();
        self.externs.get(&path).copied()
    }

    /// `strings.ToUpper` and `strings.ToLower` are known without an import.
    fn known_module_member(&mut self, base: ExprId, name: Ident) -> Option<Ty> {
        let module =
            self.ast.as_name(base).filter(|&module| !self.strict() && self.scope.find(module).is_none())?;
        let known =
            self.text_of(module) == "strings" && matches!(self.text_of(name.name), "ToUpper" | "ToLower");
        known.then(|| self.types.plain_fun(&[Ty::STR], Ty::STR))
    }

    /// `base?.name`
    pub(super) fn optional_field(&mut self, base: ExprId, name: Ident) -> Check<Ty> {
        let ty = self.expr(base, None)?;
        let ty = self.untested(base, ty);
        let place = self.token_behind(base);
        let payload = match self.types.kind(ty) {
            Kind::Option(payload) => payload,
            Kind::Any => return Ok(self.types.option(Ty::ANY)),
            _ => {
                let message = format!("`?.` needs an optional value, not {}", self.show(ty));
                return error(Code::T060, place, message);
            }
        };
        let member = match self.types.kind(payload) {
            Kind::Any => Some(Ty::ANY),
            Kind::Struct(id) => self.types.struct_member(id, name.name),
            Kind::Inline(id) => self.types.inline_field(id, name.name),
            Kind::Map(key, value) if self.types.unify(key, Ty::STR) => Some(value),
            _ => {
                let message = format!(
                    "the value is {}, which has no field `{}`",
                    self.show(payload),
                    self.text_of(name.name)
                );
                return error(Code::T061, place, message);
            }
        };
        match member {
            Some(member) => Ok(self.lift(member)),
            None => self.unknown_field(place, name.name, payload),
        }
    }

    /// The type as an optional one. Options of options do not exist when running.
    pub(super) fn lift(&mut self, ty: Ty) -> Ty {
        match self.types.kind(ty) {
            Kind::Option(_) if !self.strict() => ty,
            _ => self.types.option(ty),
        }
    }

    /// `base?[index]`
    pub(super) fn optional_index(&mut self, base: ExprId, index: ExprId) -> Check<Ty> {
        let ty = self.expr(base, None)?;
        let ty = self.untested(base, ty);
        let place = self.token_behind(base);
        let payload = match self.types.kind(ty) {
            Kind::Option(payload) => payload,
            Kind::Any => Ty::ANY,
            _ => {
                let message = format!("`?[` needs an optional value, not {}", self.show(ty));
                return error(Code::T062, place, message);
            }
        };
        let element = match self.types.kind(payload) {
            Kind::List(_) | Kind::Map(..) | Kind::Any => self.element(payload, index, place)?,
            Kind::Str if !self.strict() => self.element(payload, index, place)?,
            _ => {
                let message = format!("the value is {}, which cannot be indexed", self.show(payload));
                return error(Code::T063, place, message);
            }
        };
        Ok(self.lift(element.unwrap_or(Ty::ANY)))
    }

    /// `base[index]`
    pub(super) fn index(
        &mut self,
        id: ExprId,
        base: ExprId,
        index: ExprId,
        expected: Option<Ty>,
    ) -> Check<Ty> {
        let ty = self.expr(base, None)?;
        let optional = expected.is_some_and(|ty| matches!(self.types.kind(ty), Kind::Option(_)));
        match self.element(ty, index, self.token_behind(base))? {
            Some(element) if !optional && self.is_present(base, index) => {
                self.present.insert(id);
                Ok(element)
            }
            Some(element) if matches!(self.types.kind(ty), Kind::Map(..)) => Ok(self.lift(element)),
            Some(element) => Ok(element),
            None => {
                let message = format!("a value of type {} cannot be indexed", self.show(ty));
                stop(self.help_optional(Diagnostic::error(Code::T018, self.chain_root(base), message), &[ty]))
            }
        }
    }

    /// The type of a place `base[index]` that is assigned to.
    pub(super) fn stored_element(&mut self, base: ExprId, ty: Ty, index: ExprId, place: Span) -> Check<Ty> {
        match self.element(ty, index, self.token_behind(base))? {
            Some(element) => Ok(element),
            None => error(Code::T018, place, format!("a value of type {} cannot be indexed", self.show(ty))),
        }
    }

    /// What an index finds in a value of type `ty`: none if it cannot be indexed.
    fn element(&mut self, ty: Ty, index: ExprId, place: Span) -> Check<Option<Ty>> {
        match self.types.kind(ty) {
            Kind::List(element) => {
                self.position(index, place)?;
                Ok(Some(element))
            }
            Kind::Str => {
                self.position(index, place)?;
                Ok(Some(Ty::STR))
            }
            Kind::Map(key, value) => {
                let given = self.expr(index, None)?;
                if !self.types.unify(given, key) {
                    let message =
                        format!("the keys of this map are {}, not {}", self.show(key), self.show(given));
                    return error(Code::T019, place, message);
                }
                Ok(Some(value))
            }
            Kind::Any => {
                if !self.strict() {
                    self.expr(index, None)?;
                }
                Ok(Some(Ty::ANY))
            }
            Kind::Group(_, element) if !self.strict() => {
                self.position(index, place)?;
                Ok(Some(element))
            }
            _ => Ok(None),
        }
    }

    fn position(&mut self, index: ExprId, place: Span) -> Check<()> {
        let ty = self.expr(index, None)?;
        if self.is_index(ty) {
            return Ok(());
        }
        let diagnostic =
            Diagnostic::error(Code::T015, place, format!("an index is an int, not {}", self.show(ty)));
        let diagnostic = diagnostic.with_label(self.place(index), self.of_type(ty));
        stop(self.help_optional(diagnostic, &[ty]))
    }

    /// `base[start:end:step]`
    pub(super) fn slice(&mut self, base: ExprId, parts: [Option<ExprId>; 3]) -> Check<Ty> {
        let ty = self.expr(base, None)?;
        let place = self.token_behind(base);
        match self.types.kind(ty) {
            Kind::Map(..) => return error(Code::T017, place, "maps cannot be sliced"),
            Kind::List(_) | Kind::Str | Kind::Any => {}
            _ => {
                let message = format!("a value of type {} cannot be sliced", self.show(ty));
                return error(Code::T018, self.chain_root(base), message);
            }
        }
        for part in parts.into_iter().flatten() {
            self.position(part, place)?;
        }
        Ok(ty)
    }

    /// The type of a place `base.name` that is assigned to.
    pub(super) fn stored_field(&mut self, base: ExprId, ty: Ty, name: Ident) -> Check<Ty> {
        let place = self.token_behind(base);
        let field = match self.types.kind(ty) {
            Kind::Any => Some(Ty::ANY),
            Kind::Struct(id) => self.types.struct_field(id, name.name),
            Kind::Inline(id) => self.types.inline_field(id, name.name),
            Kind::Map(key, value) if self.types.unify(key, Ty::STR) => Some(value),
            _ => {
                let message =
                    format!("a value of type {} has no field `{}`", self.show(ty), self.text_of(name.name));
                return error(Code::T027, place, message);
            }
        };
        match field {
            Some(field) => Ok(field),
            None => self.unknown_field(place, name.name, ty),
        }
    }
}
