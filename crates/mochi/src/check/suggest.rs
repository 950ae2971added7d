//! Help for errors: names that look alike, and what to do about optional values.

use crate::builtins::Builtin;
use crate::diagnostics::Diagnostic;
use crate::syntax::ast::Name;

use super::Checker;
use super::types::{Kind, Ty};

/// So many errors get suggestions: they cost a look at every visible name.
const MAX_SUGGESTIONS: u32 = 20;

impl Checker<'_> {
    /// Suggests the visible variable whose name looks most like `name`.
    pub(super) fn suggest_variable(&self, diagnostic: Diagnostic, name: Name) -> Diagnostic {
        // Builtins that the program does not name are not bound.
        let builtins = Builtin::ALL.iter().filter(|builtin| builtin.info().predeclared || !self.strict());
        let builtins = builtins.map(|builtin| builtin.name());
        self.suggest(diagnostic, name, self.scope.visible().map(|name| self.text_of(name)).chain(builtins))
    }

    /// Suggests one of the names.
    pub(super) fn suggest<'t>(
        &self,
        diagnostic: Diagnostic,
        name: Name,
        candidates: impl Iterator<Item = &'t str>,
    ) -> Diagnostic {
        if self.suggestions.replace(self.suggestions.get() + 1) >= MAX_SUGGESTIONS {
            return diagnostic;
        }
        let wanted: Vec<char> = self.text_of(name).chars().collect();
        let limit = wanted.len().div_ceil(4).min(3);
        let near = candidates.filter_map(|text| Some((distance(&wanted, text, limit)?, text)));
        // The shortest distance, and of those the first by the alphabet: the order of names must not show.
        match near.min() {
            Some((_, text)) => diagnostic.with_help(format!("did you mean `{text}`?")),
            None => diagnostic,
        }
    }

    /// The text of a label.
    pub(super) fn of_type(&self, ty: Ty) -> String {
        format!("of type {}", self.show(ty))
    }

    /// Says what to do if one of the types is optional.
    pub(super) fn help_optional(&self, diagnostic: Diagnostic, types: &[Ty]) -> Diagnostic {
        if types.iter().any(|&ty| matches!(self.types.kind(ty), Kind::Option(_))) {
            return diagnostic.with_help(
                "the value may be none: give a default with `??`, or bind it with `let` and test it",
            );
        }
        diagnostic
    }
}

/// How many characters must be inserted, removed, replaced or swapped with their neighbour to make one text the other;
/// nothing if that is more than `limit`, or no character but the number of them agrees.
fn distance(wanted: &[char], text: &str, limit: usize) -> Option<usize> {
    let text: Vec<char> = text.chars().take(wanted.len() + limit + 1).collect();
    if wanted.len().abs_diff(text.len()) > limit || limit >= wanted.len().max(text.len()) {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=text.len()).collect();
    for (i, &a) in wanted.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, &b) in text.iter().enumerate() {
            let mut best = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a == text[j - 1] && wanted[i - 1] == b {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().filter(|&distance| distance <= limit && distance > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let of = |a: &str, b: &str, limit| distance(&a.chars().collect::<Vec<_>>(), b, limit);
        assert_eq!(of("total", "totals", 2), Some(1));
        assert_eq!(of("total", "toatl", 2), Some(1));
        assert_eq!(of("total", "tutel", 2), Some(2));
        assert_eq!(of("total", "count", 2), None);
        assert_eq!(of("total", "total", 2), None);
        assert_eq!(of("i", "j", 1), None);
        assert_eq!(of("naïve", "naive", 2), Some(1));
    }
}
