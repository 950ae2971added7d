//! What tests against `none` tell about variables.
//!
//! `x != none` says in the branch where it holds that `x` has a value, `x == none` in the other one. `a && b` says what
//! both say where it holds, `a || b` where it does not. `k in m`, and likewise `m[k] != none`, says of the names `m` and `k`, or of a literal
//! `k`, that `m[k]` has a value. Only bare names get facts.

use crate::syntax::ast::{BinaryOp, ExprId, ExprKind, UnaryOp};

use super::Checker;
use super::scope::{Key, VarRef};
use super::types::{Kind, Ty};

/// Something that is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fact {
    /// The variable is of the type.
    Is(VarRef, Ty),
    /// The map in the variable has the key.
    Has(VarRef, Key),
}

/// What a condition tells.
#[derive(Default, Debug)]
pub(super) struct Facts {
    /// Where it holds.
    pub(super) truthy: Vec<Fact>,
    /// Where it does not hold.
    pub(super) falsy: Vec<Fact>,
}

impl Facts {
    /// What `left op right` tells.
    pub(super) fn combine(self, op: BinaryOp, right: Facts) -> Facts {
        let (mut truthy, mut falsy) = (self.truthy, self.falsy);
        match op {
            BinaryOp::And => {
                truthy.extend(right.truthy);
                falsy.clear();
            }
            BinaryOp::Or => {
                falsy.extend(right.falsy);
                truthy.clear();
            }
            _ => return Facts::default(),
        }
        Facts { truthy, falsy }
    }
}

impl Checker<'_> {
    /// What a condition that was checked tells.
    pub(super) fn facts(&self, id: ExprId) -> Facts {
        let spine = self.ast.binary_spine(id);
        let mut left = spine.first;
        let mut facts = self.facts_of_operand(left);
        for link in &spine.links {
            facts = match link.op {
                BinaryOp::And | BinaryOp::Or => facts.combine(link.op, self.facts(link.right)),
                _ => self.facts_of_test(link.op, left, link.right),
            };
            left = link.expr;
        }
        facts
    }

    /// What an expression that is no binary operator tells.
    pub(super) fn facts_of_operand(&self, id: ExprId) -> Facts {
        match self.ast[id].kind {
            ExprKind::Unary { op: UnaryOp::Not, operand } if !self.strict() => {
                let Facts { truthy, falsy } = self.facts(operand);
                Facts { truthy: falsy, falsy: truthy }
            }
            _ => Facts::default(),
        }
    }

    /// What `left op right` tells if it is a comparison of a variable or of an entry with `none`, or a test for a key.
    pub(super) fn facts_of_test(&self, op: BinaryOp, left: ExprId, right: ExprId) -> Facts {
        let fact = match op {
            BinaryOp::Equal | BinaryOp::NotEqual if self.is_none(right) => self.has_value(left),
            BinaryOp::Equal | BinaryOp::NotEqual if self.is_none(left) => self.has_value(right),
            BinaryOp::In => self.entry(right, left),
            _ => None,
        };
        let facts = fact.into_iter().collect();
        match op {
            BinaryOp::Equal => Facts { truthy: Vec::new(), falsy: facts },
            _ => Facts { truthy: facts, falsy: Vec::new() },
        }
    }

    /// What is known where an expression has a value.
    fn has_value(&self, id: ExprId) -> Option<Fact> {
        if let ExprKind::Index { base, index, .. } = self.ast[id].kind {
            return self.entry(base, index);
        }
        let var = self.scope.find(self.ast.as_name(id)?)?;
        match self.types.kind(self.scope.current(var)) {
            Kind::Option(payload) => Some(Fact::Is(var, payload)),
            _ => None,
        }
    }

    /// The fact that a map has a key, if both can be told again. Upstream knows no such facts.
    pub(super) fn entry(&self, map: ExprId, key: ExprId) -> Option<Fact> {
        if self.strict() {
            return None;
        }
        let map = self.scope.find(self.ast.as_name(map)?)?;
        if !matches!(self.types.kind(self.scope.current(map)), Kind::Map(..)) {
            return None;
        }
        let key = match self.ast[key].kind {
            ExprKind::Str(text) => Key::Str(text),
            ExprKind::Int(number) => Key::Int(number),
            ExprKind::Name(name) => Key::Var(self.scope.find(name)?),
            _ => return None,
        };
        Some(Fact::Has(map, key))
    }

    /// Whether `map[key]` is known to be there.
    pub(super) fn is_present(&self, map: ExprId, key: ExprId) -> bool {
        matches!(self.entry(map, key), Some(Fact::Has(map, key)) if self.scope.has_entry(map, key))
    }

    /// Whether an expression has its type because of a test for a key: it is an entry, or a variable made from one.
    pub(super) fn is_tested(&self, id: ExprId) -> bool {
        let var = self.ast.as_name(id).and_then(|name| self.scope.find(name));
        self.present.contains(&id) || var.is_some_and(|var| self.scope.var(var).tested)
    }

    /// The type that an expression would have without a test for a key: where a program asks once more.
    pub(super) fn untested(&mut self, id: ExprId, ty: Ty) -> Ty {
        if self.is_tested(id) { self.lift(ty) } else { ty }
    }

    /// Whether an expression is `none`, or one of its other names.
    pub(super) fn is_none(&self, id: ExprId) -> bool {
        match self.ast[id].kind {
            ExprKind::None => true,
            ExprKind::Name(name) => self.is_nil(name),
            _ => false,
        }
    }

    /// Applies facts until the end of the scope.
    pub(super) fn learn(&mut self, facts: &[Fact]) {
        for &fact in facts {
            match fact {
                Fact::Is(var, ty) => self.scope.learn(var, ty),
                Fact::Has(map, key) => self.scope.learn_entry(map, key),
            }
        }
    }
}
