//! Which values the arms of a `match` leave out.
//!
//! The algorithm by columns of Maranget's "Warnings for pattern matching" (2007): rows are arms, columns are values that are still to be
//! looked at. A column is split by what its type can be (the variants of a union, the two bools, none and the payload of an option); of
//! types with no end of values only rows that take all of them count.
//!
//! Telling is hard in the worst case, so it ends after [`STEPS`]; a match that took longer counts as complete.

use std::collections::HashMap;

use crate::syntax::ast::{Arm, ExprKind, PatId, PatternKind};

use super::Checker;
use super::types::{Kind, StructId, Ty};

/// So many patterns are looked at.
const STEPS: usize = 1_000_000;

/// Columns are split at most so often on the way to a value.
const DEPTH: usize = 200;

/// So many values are found below a variant of the subject.
const VALUES: usize = 4;

/// What a value can be at first sight.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Head {
    Variant(StructId),
    Bool(bool),
    None,
    /// Something of which there are always others, as numbers.
    Other,
}

/// Values that no arm takes.
#[derive(Clone)]
enum Missing {
    /// Any, or any that no literal takes.
    Every,
    Variant(StructId, Vec<Missing>),
    Bool(bool),
    None,
}

/// A row's patterns, those of the next column last; `None` takes everything.
type Row = Vec<Option<PatId>>;

struct Search<'c, 'a> {
    checker: &'c Checker<'a>,
    steps: usize,
}

impl Checker<'_> {
    /// The values of type `ty` that no arm takes, as patterns, in the order of the variants.
    pub(super) fn unhandled(&self, ty: Ty, arms: &[Arm]) -> Vec<String> {
        let rows = arms.iter().map(|arm| vec![Some(arm.pattern)]).collect();
        let mut search = Search { checker: self, steps: STEPS };
        let found = search.missing(&[ty], rows, usize::MAX, DEPTH);
        found.iter().flatten().map(|missing| format!("`{}`", self.show_missing(missing))).collect()
    }

    fn show_missing(&self, missing: &Missing) -> String {
        match missing {
            Missing::Every => "_".to_string(),
            Missing::Bool(value) => value.to_string(),
            Missing::None => "none".to_string(),
            Missing::Variant(id, fields) => {
                let name = self.text_of(self.types.struct_info(*id).name);
                // A name alone stands for all values of the variant.
                if fields.iter().all(|field| matches!(field, Missing::Every)) {
                    return name.to_string();
                }
                let fields: Vec<String> = fields.iter().map(|field| self.show_missing(field)).collect();
                format!("{name}({})", fields.join(", "))
            }
        }
    }
}

impl Search<'_, '_> {
    /// Values of the columns, whose types are given, that no row takes; at most `limit`.
    fn missing(&mut self, types: &[Ty], rows: Vec<Row>, limit: usize, depth: usize) -> Vec<Vec<Missing>> {
        let Some(steps) = self.steps.checked_sub((rows.len() + 1) * (types.len() + 1)) else {
            return Vec::new();
        };
        self.steps = steps;
        if rows.is_empty() {
            return vec![vec![Missing::Every; types.len()]];
        }
        // A row that takes everything leaves nothing, whatever is in the others.
        if rows.iter().any(|row| row.iter().all(|&pattern| self.head(pattern).is_none())) {
            return Vec::new();
        }
        // Columns that every row takes whole need no look.
        let split = (0..types.len()).rev().find(|&at| rows.iter().any(|row| self.head(row[at]).is_some()));
        let (Some(split), Some(depth)) = (split, depth.checked_sub(1)) else { return Vec::new() };
        let (whole, ty) = (types.len() - split - 1, types[split]);
        // The rows by what they take of the column; those that take everything go to all.
        let mut by_head: HashMap<Head, Vec<Row>> = HashMap::new();
        let mut default = Vec::new();
        for mut row in rows {
            row.truncate(split + 1);
            let pattern = row.pop().flatten();
            match self.head(pattern) {
                None => default.push(row),
                Some(head) => {
                    row.extend(self.fields(head, pattern));
                    by_head.entry(head).or_default().push(row);
                }
            }
        }
        let mut found = Vec::new();
        let Some(heads) = self.heads(ty) else {
            found = self.missing(&types[..split], default, limit, depth);
            for values in &mut found {
                values.extend(vec![Missing::Every; whole + 1]);
            }
            return found;
        };
        for head in heads {
            let Some(left) = limit.checked_sub(found.len()).filter(|&left| left > 0) else { break };
            let fields = self.field_types(head);
            let mut rows = by_head.remove(&head).filter(|_| head != Head::Other).unwrap_or_default();
            rows.extend(default.iter().map(|row| {
                let mut row = row.clone();
                row.extend(vec![None; fields.len()]);
                row
            }));
            let types: Vec<Ty> = types[..split].iter().chain(fields.iter().rev()).copied().collect();
            for mut values in self.missing(&types, rows, left.min(VALUES), depth) {
                let mut fields = values.split_off(split);
                fields.reverse();
                values.push(match head {
                    Head::Variant(id) => Missing::Variant(id, fields),
                    Head::Bool(value) => Missing::Bool(value),
                    Head::None => Missing::None,
                    Head::Other => Missing::Every,
                });
                values.extend(vec![Missing::Every; whole]);
                found.push(values);
            }
        }
        found
    }

    /// What a pattern takes, unless that is everything.
    fn head(&self, pattern: Option<PatId>) -> Option<Head> {
        let ast = self.checker.ast;
        match ast[pattern?].kind {
            PatternKind::Error | PatternKind::Wildcard => None,
            PatternKind::Name { name, .. } => self.checker.variant(name).map(Head::Variant),
            PatternKind::Constructor { name, .. } => self.checker.variant(name).map(Head::Variant),
            PatternKind::Literal(value) => Some(match ast[value].kind {
                ExprKind::Bool(value) => Head::Bool(value),
                ExprKind::None => Head::None,
                _ => Head::Other,
            }),
        }
    }

    /// What a type's values can be, if that comes to an end.
    fn heads(&self, ty: Ty) -> Option<Vec<Head>> {
        let types = &self.checker.types;
        match types.kind(ty) {
            Kind::Union(id) => {
                Some(types.union_info(id).variants.iter().map(|&variant| Head::Variant(variant)).collect())
            }
            Kind::Struct(id) => Some(vec![Head::Variant(id)]),
            Kind::Bool => Some(vec![Head::Bool(true), Head::Bool(false)]),
            Kind::Option(payload) => {
                let rest = match types.kind(payload) {
                    Kind::Option(_) => None,
                    _ => self.heads(payload),
                };
                Some([Head::None].into_iter().chain(rest.unwrap_or_else(|| vec![Head::Other])).collect())
            }
            _ => None,
        }
    }

    /// The types of what is in a value, in order.
    fn field_types(&self, head: Head) -> Vec<Ty> {
        match head {
            Head::Variant(id) => {
                self.checker.types.struct_info(id).fields.iter().map(|&(_, ty)| ty).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The patterns of what is in a value, the first one last.
    fn fields(&self, head: Head, pattern: Option<PatId>) -> Row {
        let ast = self.checker.ast;
        match pattern.map(|pattern| ast[pattern].kind) {
            Some(PatternKind::Constructor { args, .. }) => {
                ast[args].iter().rev().map(|&arg| Some(arg)).collect()
            }
            _ => vec![None; self.field_types(head).len()],
        }
    }
}
