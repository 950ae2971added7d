//! Sharing of lists, maps and structs.
//!
//! Binding an existing aggregate shares it. Two rules keep that safe: a variable does not share a constant's contents
//! (T051), and nothing is shared under a type with other elements (T052), through which something could be stored that
//! does not belong there.

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{ExprId, ExprKind};

use super::types::{Kind, Ty};
use super::{Check, Checker, stop};

impl Checker<'_> {
    /// How messages call an expression that reads an existing value: a name with fields and indexes behind it.
    fn shared_source(&self, id: ExprId) -> Option<String> {
        let (mut at, mut parts) = (id, Vec::new());
        loop {
            match self.ast[at].kind {
                ExprKind::Name(name) => {
                    let mut text = self.text_of(name).to_owned();
                    parts.iter().rev().for_each(|part: &String| text.push_str(part));
                    return Some(text);
                }
                ExprKind::Field { base, name, optional: false } => {
                    parts.push(format!(".{}", self.text_of(name.name)));
                    at = base;
                }
                ExprKind::Index { base, optional: false, .. } | ExprKind::Slice { base, .. } => {
                    parts.push("[..]".to_owned());
                    at = base;
                }
                _ => return None,
            }
        }
    }

    /// Checks the start of `var x = value`.
    pub(super) fn check_constant_shared(&self, value: ExprId, place: Span) -> Check<()> {
        let Some(name) = self.ast.as_name(value) else { return Ok(()) };
        let Some(var) = self.scope.find(name) else { return Ok(()) };
        if self.scope.var(var).mutable || !self.types.is_aggregate(self.scope.current(var)) {
            return Ok(());
        }
        let message =
            format!("a variable cannot share the contents of the constant `{}`", self.text_of(name));
        let diagnostic = Diagnostic::error(Code::T051, place, message);
        stop(diagnostic.with_label(self.place(value), "declared with `let`"))
    }

    /// Checks that a value of type `source` is not shared under a type `target` with other elements.
    pub(super) fn check_shared(&self, value: ExprId, source: Ty, target: Ty, place: Span) -> Check<()> {
        if !self.types.is_aggregate(source)
            || !self.types.is_aggregate(target)
            || self.types.equal(source, target)
        {
            return Ok(());
        }
        let Some(text) = self.shared_source(value) else { return Ok(()) };
        let (source, target) = (self.show(source), self.show(target));
        let message = format!("`{text}` of type {source} cannot be shared as {target}");
        let diagnostic = Diagnostic::error(Code::T052, place, message);
        stop(diagnostic.with_label(self.place(value), format!("shared here as {target}")))
    }

    /// Checks the elements of a literal that goes into a place of type `target`.
    pub(super) fn check_shared_elements(&self, value: ExprId, target: Ty) -> Check<()> {
        match (self.ast[value].kind, self.types.kind(target)) {
            (ExprKind::List(elements), Kind::List(target)) => {
                for &element in &self.ast[elements] {
                    self.check_shared_element(element, target)?;
                }
            }
            (ExprKind::Map(entries), Kind::Map(_, target)) => {
                for entry in &self.ast[entries] {
                    self.check_shared_element(entry.value, target)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check_shared_element(&self, element: ExprId, target: Ty) -> Check<()> {
        let source = self.expr_types[element.index()];
        self.check_shared(element, source, target, self.ast[element].span)?;
        self.check_shared_elements(element, target)
    }
}
