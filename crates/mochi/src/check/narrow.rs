//! What tests against `none` tell about variables.
//!
//! `x != none` says in the branch where it holds that `x` has a value, `x == none` in the other one. `a && b` says what
//! both say where it holds, `a || b` where it does not. Only bare names get facts.

use crate::syntax::ast::{BinaryOp, ExprId, ExprKind, UnaryOp};

use super::Checker;
use super::scope::VarRef;
use super::types::{Kind, Ty};

/// What a condition tells.
#[derive(Default, Debug)]
pub(super) struct Facts {
    /// Where it holds.
    pub(super) truthy: Vec<(VarRef, Ty)>,
    /// Where it does not hold.
    pub(super) falsy: Vec<(VarRef, Ty)>,
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

    /// What `left op right` tells if it is a comparison of a variable with `none`.
    pub(super) fn facts_of_test(&self, op: BinaryOp, left: ExprId, right: ExprId) -> Facts {
        if !matches!(op, BinaryOp::Equal | BinaryOp::NotEqual) {
            return Facts::default();
        }
        let name = if self.is_none(right) {
            self.ast.as_name(left)
        } else if self.is_none(left) {
            self.ast.as_name(right)
        } else {
            None
        };
        let Some(var) = name.and_then(|name| self.scope.find(name)) else { return Facts::default() };
        let Kind::Option(payload) = self.types.kind(self.scope.current(var)) else { return Facts::default() };
        let facts = vec![(var, payload)];
        match op {
            BinaryOp::NotEqual => Facts { truthy: facts, falsy: Vec::new() },
            _ => Facts { truthy: Vec::new(), falsy: facts },
        }
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
    pub(super) fn learn(&mut self, facts: &[(VarRef, Ty)]) {
        for &(var, ty) in facts {
            self.scope.learn(var, ty);
        }
    }
}
