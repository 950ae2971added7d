//! Unary and binary operators.

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{BinaryOp, ExprId, UnaryOp};

use super::types::{Kind, Ty};
use super::{Check, Checker, Stop, error, stop};

impl Checker<'_> {
    /// `op operand`
    pub(super) fn unary(&mut self, op: UnaryOp, operand: ExprId, place: Span) -> Check<Ty> {
        let ty = self.expr(operand, None)?;
        if self.strict() {
            // Upstream does not look at prefix operators at all.
            return Ok(ty);
        }
        let good = ty == Ty::ANY
            || match op {
                UnaryOp::Neg => self.types.is_numeric(ty),
                UnaryOp::Not => ty == Ty::BOOL,
            };
        if !good {
            let text = match op {
                UnaryOp::Neg => "-",
                UnaryOp::Not => "!",
            };
            return error(Code::T020, place, format!("`{text}` does not work on {}", self.show(ty)));
        }
        Ok(if op == UnaryOp::Not { Ty::BOOL } else { ty })
    }

    /// A chain of binary operators. Right operands of `&&` and `||` know what the left operand tells; as a chain may be
    /// long, facts are added as it goes on and taken back only where they end.
    pub(super) fn binary(&mut self, id: ExprId) -> Check<Ty> {
        let spine = self.ast.binary_spine(id);
        let mark = self.scope.enter();
        let mut left = spine.first;
        let mut ty = self.expr(left, None)?;
        let mut facts = self.facts_of_operand(left);
        // The operator whose facts are applied, and how many of them.
        let (mut applied_for, mut applied) = (None, 0);
        for link in &spine.links {
            let logical = matches!(link.op, BinaryOp::And | BinaryOp::Or).then_some(link.op);
            if logical != applied_for {
                self.scope.leave(mark);
                (applied_for, applied) = (logical, 0);
            }
            let known = match link.op {
                BinaryOp::And => &facts.truthy[..],
                BinaryOp::Or => &facts.falsy[..],
                _ => &[],
            };
            self.learn(&known[applied.min(known.len())..]);
            applied = known.len();
            let right = self.expr(link.right, None)?;
            facts = match logical {
                Some(op) => {
                    let right = self.facts(link.right);
                    facts.combine(op, right)
                }
                None => self.facts_of_test(link.op, left, link.right),
            };
            ty = if self.is_repeated_test(link.op, left, link.right) {
                Ty::BOOL
            } else {
                let sides = self.untested_sides(link.op, (left, ty), (link.right, right));
                self.operator(link.op, link.op_span, sides.0, sides.1)?
            };
            if ty == Ty::POISON {
                return Err(Stop::Silent);
            }
            self.expr_types[link.expr.index()] = ty;
            left = link.expr;
        }
        self.scope.leave(mark);
        Ok(ty)
    }

    /// Whether this asks about a variable once more what is known already: whether it is `none`. Upstream then compares the
    /// payload with `none`, which is an error.
    fn is_repeated_test(&self, op: BinaryOp, left: ExprId, right: ExprId) -> bool {
        let subject = match (self.is_none(left), self.is_none(right)) {
            (false, true) => left,
            (true, false) => right,
            _ => return false,
        };
        let var = self.ast.as_name(subject).and_then(|name| self.scope.find(name));
        let declared = var.map(|var| self.types.kind(self.scope.var(var).declared));
        !self.strict()
            && matches!(op, BinaryOp::Equal | BinaryOp::NotEqual)
            && (matches!(declared, Some(Kind::Option(_))) || self.is_tested(subject))
    }

    /// The types of operands of which one may be an entry that is known to be there, but is asked for once more: `m[k] ?? 0`.
    fn untested_sides(&mut self, op: BinaryOp, left: (ExprId, Ty), right: (ExprId, Ty)) -> (Ty, Ty) {
        let optional = |ty| matches!(self.types.kind(ty), Kind::Option(_));
        let (in_left, in_right) = match op {
            BinaryOp::Coalesce => (true, false),
            BinaryOp::Equal | BinaryOp::NotEqual => (optional(right.1), optional(left.1)),
            _ => (false, false),
        };
        let left = if in_left { self.untested(left.0, left.1) } else { left.1 };
        (left, if in_right { self.untested(right.0, right.1) } else { right.1 })
    }

    fn operator(&mut self, op: BinaryOp, place: Span, left: Ty, right: Ty) -> Check<Ty> {
        use BinaryOp::{
            Add, And, Coalesce, Div, Equal, Except, Greater, GreaterEqual, In, Intersect, Less, LessEqual,
            Mul, NotEqual, Or, Rem, Sub, Union, UnionAll,
        };
        if left == Ty::ANY || right == Ty::ANY {
            return Ok(match op {
                Add if left == Ty::STR || right == Ty::STR => Ty::STR,
                // As upstream: text plus anything is text.
                Add if self.strict() => Ty::STR,
                Add | Sub | Mul | Div | Rem | Coalesce | Union | UnionAll | Except | Intersect => Ty::ANY,
                Less | LessEqual | Greater | GreaterEqual | Equal | NotEqual | And | Or | In => Ty::BOOL,
            });
        }
        if op == Coalesce
            && let Some(ty) = self.coalesce(left, right)
        {
            return Ok(ty);
        }
        let types = &self.types;
        let fits = match op {
            Add | Union | UnionAll | Except | Intersect
                if matches!((types.kind(left), types.kind(right)), (Kind::List(_), Kind::List(_))) =>
            {
                types.unify(left, right).then_some(left)
            }
            Union | UnionAll | Except | Intersect => None,
            Add if left == Ty::STR || right == Ty::STR => Some(Ty::STR),
            Add | Sub | Mul | Div | Rem => types.numeric_join(left, right),
            Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual => {
                return self.comparison(op, place, left, right).map(|()| Ty::BOOL);
            }
            In => {
                let inside = match types.kind(right) {
                    Kind::Map(element, _) | Kind::List(element) => types.unify(left, element),
                    Kind::Group(_, element) if !self.strict() => types.unify(left, element),
                    _ => left == Ty::STR && right == Ty::STR,
                };
                inside.then_some(Ty::BOOL)
            }
            And | Or => (left == Ty::BOOL && right == Ty::BOOL).then_some(Ty::BOOL),
            Coalesce => None,
        };
        match fits {
            Some(ty) => Ok(ty),
            None => {
                let (left_text, right_text) = (self.show(left), self.show(right));
                let message = format!("`{}` does not work on {left_text} and {right_text}", op.text());
                stop(self.help_optional(Diagnostic::error(Code::T020, place, message), &[left, right]))
            }
        }
    }

    fn comparison(&self, op: BinaryOp, place: Span, left: Ty, right: Ty) -> Check<()> {
        if self.types.unify(left, right) || self.types.is_numeric(left) && self.types.is_numeric(right) {
            return Ok(());
        }
        // Not quite symmetric: list<bigint> unifies with list<int64>, but not the other way round.
        if !self.strict() && self.types.unify(right, left) {
            return Ok(());
        }
        let (left_text, right_text) = (self.show(left), self.show(right));
        let optional = |ty| matches!(self.types.kind(ty), Kind::Option(_));
        let equality = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
        let code = if equality && optional(left) != optional(right) { Code::T059 } else { Code::T013 };
        let message = format!("`{}` cannot compare {left_text} with {right_text}", op.text());
        let diagnostic = Diagnostic::error(code, place, message);
        stop(if code == Code::T013 { self.help_optional(diagnostic, &[left, right]) } else { diagnostic })
    }

    /// The type of `left ?? right`.
    fn coalesce(&mut self, left: Ty, right: Ty) -> Option<Ty> {
        let Kind::Option(payload) = self.types.kind(left) else { return None };
        if let Kind::Option(other) = self.types.kind(right) {
            // Without a common payload nothing is known but that both may be none.
            return Some(if self.types.unify(payload, other) { left } else { self.types.option(Ty::ANY) });
        }
        if self.types.unify(payload, right) {
            // The payload of `none` itself is unknown, so the right side says more.
            return Some(if payload == Ty::ANY && !self.strict() { right } else { payload });
        }
        self.types.numeric_join(payload, right)
    }
}
