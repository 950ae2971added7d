//! How types relate: equal, unifiable, subtype, assignable, castable.
//!
//! *Unify* is the loose relation of operands, arguments, results and elements, in which `any` fits everything. It is not
//! quite symmetric: numbers unify with wider ones in one direction only. *Assignable* is the stricter one of `let`,
//! `var` and assignments: a bare `any` flows into nothing else.
//!
//! All recursion here is over parts of types, whose depth is bounded.

use super::types::{Kind, Ty, Types};

impl Types {
    /// Whether the types are the same, up to effects of functions.
    pub(super) fn equal(&self, a: Ty, b: Ty) -> bool {
        if a == b {
            return true;
        }
        match (self.kind(a), self.kind(b)) {
            (Kind::Poison, _) | (_, Kind::Poison) => true,
            (Kind::List(a), Kind::List(b)) | (Kind::Option(a), Kind::Option(b)) => self.equal(a, b),
            (Kind::Map(a, x), Kind::Map(b, y)) | (Kind::Group(a, x), Kind::Group(b, y)) => {
                self.equal(a, b) && self.equal(x, y)
            }
            (Kind::Inline(a), Kind::Inline(b)) => {
                let (a, b) = (self.inline_fields(a), self.inline_fields(b));
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && self.equal(a.1, b.1))
            }
            (Kind::Fun(a), Kind::Fun(b)) => {
                let (a, b) = (self.fun_ty(a), self.fun_ty(b));
                a.params.len() == b.params.len()
                    && a.rest.is_some() == b.rest.is_some()
                    && a.params.iter().zip(&b.params).all(|(&a, &b)| self.equal(a, b))
                    && a.rest.zip(b.rest).is_none_or(|(a, b)| self.equal(a, b))
                    && self.equal(a.result, b.result)
            }
            _ => false,
        }
    }

    /// Whether a value of type `a` may meet type `b`.
    pub(super) fn unify(&self, a: Ty, b: Ty) -> bool {
        if a == b {
            return true;
        }
        match (self.kind(a), self.kind(b)) {
            (Kind::Any | Kind::Poison, _) | (_, Kind::Any | Kind::Poison) => true,
            (Kind::List(a), Kind::List(b)) | (Kind::Option(a), Kind::Option(b)) => self.unify(a, b),
            (Kind::Map(a, x), Kind::Map(b, y)) | (Kind::Group(a, x), Kind::Group(b, y)) => {
                self.unify(a, b) && self.unify(x, y)
            }
            (Kind::Struct(variant), Kind::Union(union)) | (Kind::Union(union), Kind::Struct(variant)) => {
                self.struct_info(variant).union == Some(union)
            }
            (Kind::Inline(a), Kind::Inline(b)) => {
                let (a, b) = (self.inline_fields(a), self.inline_fields(b));
                self.unify_fields(a, b)
            }
            (Kind::Inline(a), Kind::Struct(b)) => {
                self.unify_fields(self.inline_fields(a), &self.struct_info(b).fields)
            }
            (Kind::Struct(a), Kind::Inline(b)) => {
                self.unify_fields(&self.struct_info(a).fields, self.inline_fields(b))
            }
            (Kind::Fun(a), Kind::Fun(b)) => {
                let (a, b) = (self.fun_ty(a), self.fun_ty(b));
                a.params.len() == b.params.len()
                    && a.rest.is_some() == b.rest.is_some()
                    && a.params.iter().zip(&b.params).all(|(&a, &b)| self.unify(a, b))
                    && a.rest.zip(b.rest).is_none_or(|(a, b)| self.unify(a, b))
                    && self.unify(a.result, b.result)
            }
            (Kind::Int, Kind::BigInt) | (Kind::Int64, Kind::Int) => true,
            (Kind::BigInt, Kind::Int | Kind::Int64) => true,
            (Kind::BigRat, Kind::Float | Kind::Int | Kind::Int64 | Kind::BigInt) => true,
            _ => false,
        }
    }

    /// Structs without a common name agree if their fields do. An inline struct is at least one side, so this ends.
    fn unify_fields(&self, a: &[(super::Name, Ty)], b: &[(super::Name, Ty)]) -> bool {
        a.len() == b.len()
            && a.iter().all(|&(name, ty)| {
                b.iter().find(|&&(other, _)| other == name).is_some_and(|&(_, other)| self.unify(ty, other))
            })
    }

    /// Whether every value of type `sub` is one of type `sup`.
    pub(super) fn subtype(&self, sub: Ty, sup: Ty) -> bool {
        if sup == Ty::ANY || self.equal(sub, sup) {
            return true;
        }
        match (self.kind(sub), self.kind(sup)) {
            (Kind::Int, Kind::Int64 | Kind::BigInt | Kind::BigRat) => true,
            (Kind::Int64, Kind::BigInt | Kind::BigRat) => true,
            (Kind::BigInt | Kind::Float, Kind::BigRat) => true,
            (Kind::List(a), Kind::List(b)) | (Kind::Option(a), Kind::Option(b)) => self.subtype(a, b),
            (Kind::Struct(variant), Kind::Union(union)) => self.struct_info(variant).union == Some(union),
            (Kind::Fun(a), Kind::Fun(b)) => {
                let (a, b) = (self.fun_ty(a), self.fun_ty(b));
                a.params.len() == b.params.len()
                    && a.rest.is_some() == b.rest.is_some()
                    && a.params.iter().zip(&b.params).all(|(&a, &b)| self.subtype(b, a))
                    && a.rest.zip(b.rest).is_none_or(|(a, b)| self.subtype(b, a))
                    && self.subtype(a.result, b.result)
            }
            _ => false,
        }
    }

    /// Whether a value of type `source` flows into a place of type `target`.
    pub(super) fn assignable(&self, source: Ty, target: Ty) -> bool {
        self.flows(source, target, false)
    }

    /// `in_element`: whether this is about elements, where the `any` of `[]`, `{}` and `none` fits everything.
    fn flows(&self, source: Ty, target: Ty, in_element: bool) -> bool {
        if target == Ty::ANY
            || source == Ty::POISON
            || target == Ty::POISON
            || in_element && source == Ty::ANY
        {
            return true;
        }
        match (self.kind(source), self.kind(target)) {
            (Kind::List(a), Kind::List(b)) | (Kind::Option(a), Kind::Option(b)) => self.flows(a, b, true),
            (Kind::Map(a, x), Kind::Map(b, y)) => self.flows(a, b, true) && self.flows(x, y, true),
            (_, Kind::Option(payload)) => self.flows(source, payload, in_element),
            _ => self.subtype(source, target),
        }
    }

    /// The type without `none`.
    pub(super) fn present(&self, ty: Ty) -> Ty {
        if let Kind::Option(payload) = self.kind(ty) { payload } else { ty }
    }

    /// The type of values of which some are of type `a` and others of type `b`, where one of them may be none, or they are different
    /// variants of a union.
    pub(super) fn common(&mut self, a: Ty, b: Ty) -> Option<Ty> {
        match (self.kind(a), self.kind(b)) {
            (Kind::Option(Ty::ANY), Kind::Any) | (Kind::Any, Kind::Option(Ty::ANY)) => Some(Ty::ANY),
            (Kind::Option(Ty::ANY), Kind::Option(_)) => Some(b),
            (Kind::Option(_), Kind::Option(Ty::ANY)) => Some(a),
            (Kind::Option(Ty::ANY), _) => Some(self.option(b)),
            (_, Kind::Option(Ty::ANY)) => Some(self.option(a)),
            (Kind::Option(payload), _) => {
                let payload = if self.unify(payload, b) { payload } else { self.common(payload, b)? };
                Some(self.option(payload))
            }
            (_, Kind::Option(_)) => self.common(b, a),
            (Kind::Struct(first), Kind::Struct(second)) if first != second => {
                let union = self.struct_info(first).union?;
                (self.struct_info(second).union == Some(union)).then(|| self.union_ty(union))
            }
            _ => None,
        }
    }

    /// Whether `as` may be asked to make a `to` of a `from`.
    pub(super) fn castable(&self, from: Ty, to: Ty) -> bool {
        if from == Ty::ANY || to == Ty::ANY || self.equal(from, to) {
            return true;
        }
        match (self.kind(from), self.kind(to)) {
            (Kind::Union(union), Kind::Struct(variant)) | (Kind::Struct(variant), Kind::Union(union)) => {
                self.struct_info(variant).union == Some(union)
            }
            (Kind::Map(..), Kind::Struct(_) | Kind::Inline(_)) => true,
            _ => self.is_numeric(from) && self.is_numeric(to),
        }
    }

    /// The type of arithmetic on two numbers.
    pub(super) fn numeric_join(&self, a: Ty, b: Ty) -> Option<Ty> {
        if !self.is_numeric(a) || !self.is_numeric(b) {
            return None;
        }
        if a == Ty::FLOAT || b == Ty::FLOAT {
            let exact = |ty| matches!(ty, Ty::BIGINT | Ty::BIGRAT);
            return Some(if exact(a) || exact(b) { Ty::BIGRAT } else { Ty::FLOAT });
        }
        [Ty::BIGRAT, Ty::BIGINT, Ty::INT64].into_iter().find(|&ty| a == ty || b == ty).or(Some(Ty::INT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Atoms, and everything made of them once.
    fn samples() -> (Types, Vec<Ty>) {
        let mut types = Types::new();
        let atoms =
            [Ty::ANY, Ty::UNIT, Ty::BOOL, Ty::INT, Ty::INT64, Ty::FLOAT, Ty::BIGINT, Ty::BIGRAT, Ty::STR];
        let mut all = atoms.to_vec();
        for a in atoms {
            all.extend([types.list(a), types.option(a), types.plain_fun(&[a], a)]);
            all.extend(atoms.map(|b| types.map(a, b)));
            all.extend(atoms.map(|b| types.plain_fun(&[a], b)));
        }
        (types, all)
    }

    #[test]
    fn subtypes_are_ordered() {
        let (types, all) = samples();
        for &a in &all {
            assert!(types.equal(a, a) && types.unify(a, a) && types.subtype(a, a) && types.castable(a, a));
            assert!(types.subtype(a, Ty::ANY) && types.unify(a, Ty::ANY) && types.unify(Ty::ANY, a));
            for &b in &all {
                assert!(!types.subtype(a, b) || types.assignable(a, b));
                // Neither is both above and below another.
                assert!(!types.subtype(a, b) || !types.subtype(b, a) || types.equal(a, b));
                if !types.subtype(a, b) {
                    continue;
                }
                for &c in &all {
                    assert!(!types.subtype(b, c) || types.subtype(a, c));
                }
            }
        }
    }

    #[test]
    fn numbers() {
        let (types, _) = samples();
        assert!(types.unify(Ty::INT, Ty::BIGINT) && types.unify(Ty::INT64, Ty::INT));
        assert!(!types.unify(Ty::INT, Ty::INT64) && !types.unify(Ty::INT, Ty::FLOAT));
        assert!(!types.subtype(Ty::INT, Ty::FLOAT) && types.subtype(Ty::FLOAT, Ty::BIGRAT));
        let join = |a, b| types.numeric_join(a, b);
        assert_eq!(join(Ty::INT, Ty::FLOAT), Some(Ty::FLOAT));
        assert_eq!(join(Ty::BIGINT, Ty::FLOAT), Some(Ty::BIGRAT));
        assert_eq!(join(Ty::INT, Ty::INT64), Some(Ty::INT64));
        assert_eq!(join(Ty::INT, Ty::INT), Some(Ty::INT));
        assert_eq!(join(Ty::INT, Ty::STR), None);
    }

    #[test]
    fn any_flows_only_as_an_element() {
        let (mut types, _) = samples();
        let (any_list, int_list, any_option) =
            (types.list(Ty::ANY), types.list(Ty::INT), types.option(Ty::ANY));
        let int_option = types.option(Ty::INT);
        assert!(types.assignable(any_list, int_list) && !types.assignable(Ty::ANY, Ty::INT));
        assert!(types.assignable(any_option, int_option) && types.assignable(Ty::INT, int_option));
        assert!(!types.assignable(int_option, Ty::INT) && !types.assignable(any_option, Ty::INT));
    }

    #[test]
    fn what_may_be_none_has_a_common_type_with_what_may_not() {
        let (mut types, _) = samples();
        let (none, int, float) = (types.option(Ty::ANY), types.option(Ty::INT), types.option(Ty::FLOAT));
        for (a, b, common) in [
            (Ty::INT, none, Some(int)),
            (none, int, Some(int)),
            (int, Ty::INT, Some(int)),
            (int, float, None),
            (int, Ty::STR, None),
            (Ty::INT, Ty::STR, None),
        ] {
            assert_eq!(types.common(a, b), common);
            assert_eq!(types.common(b, a), common);
        }
    }

    #[test]
    fn types_do_not_grow_without_bound() {
        let mut types = Types::new();
        let (mut deep, mut wide) = (Ty::INT, Ty::INT);
        for _ in 0..10_000 {
            deep = types.list(deep);
            wide = types.map(wide, wide);
        }
        let int_list = types.list(Ty::INT);
        assert!(!types.equal(deep, int_list) && types.contains_any(deep));
        assert!(types.unify(wide, wide) && types.contains_any(wide));
    }
}
