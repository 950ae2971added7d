//! Jumps on conditions, fused with comparisons where operands are typed.

use upshift_bytecode::builder::{Label, Reg};
use upshift_bytecode::{Immediate, ValueType};

use super::FALSE_VALUES;
use super::body::{Body, Val};
use super::expr::{BRANCHES, CALLS};
use super::ops::compares;
use crate::infer::TyId;
use crate::syntax::ast::{BinaryOp, ExprId, ExprKind, UnaryOp};

/// Emits the forward or the loop form of a branch.
macro_rules! branch {
    ($self:ident, $back:expr, $branch:ident / $loop:ident ($($arg:expr),*)) => {
        if $back { $self.fb.$loop($($arg),*) } else { $self.fb.$branch($($arg),*) }
    };
}

impl Body<'_, '_> {
    /// Falls through if the condition holds, else jumps.
    pub fn jump_unless(&mut self, cond: ExprId, target: Label) {
        self.jump_if(cond, false, target, false);
    }

    /// Whether testing a condition twice, before a loop and at its end, costs little code.
    pub fn is_cheap_condition(&self, cond: ExprId) -> bool {
        fn size(body: &Body<'_, '_>, id: ExprId, budget: &mut u32) -> bool {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            match body.cx.kind(id) {
                ExprKind::Int(_)
                | ExprKind::Float(_)
                | ExprKind::Bool(_)
                | ExprKind::Str(_)
                | ExprKind::None => true,
                ExprKind::Name(_) => true,
                ExprKind::Unary { operand, .. } => size(body, operand, budget),
                ExprKind::Binary { op, left, right, .. } => {
                    let plain = !matches!(op, BinaryOp::In | BinaryOp::Coalesce);
                    plain && size(body, left, budget) && size(body, right, budget)
                }
                ExprKind::Index { base, index, .. } => size(body, base, budget) && size(body, index, budget),
                ExprKind::Field { base, .. } => size(body, base, budget),
                ExprKind::Call { args, .. } => {
                    body.cx.flags[id.index()] & (CALLS | BRANCHES) == 0
                        && body.cx.program[args].iter().all(|&a| size(body, a, budget))
                }
                _ => false,
            }
        }
        size(self, cond, &mut 16)
    }

    /// Jumps to `target` if the truth of the condition is `sense`, else falls through. With `back`, the target is a loop
    /// header before this place.
    pub fn jump_if(&mut self, cond: ExprId, sense: bool, target: Label, back: bool) {
        let node = self.cx.program[cond];
        self.span(node.span);
        match self.cx.kind(cond) {
            ExprKind::Bool(value) => {
                if value == sense {
                    branch!(self, back, jump / jump_loop(target));
                }
            }
            ExprKind::Unary { op: UnaryOp::Not, operand } => self.jump_if(operand, !sense, target, back),
            ExprKind::Binary { op: op @ (BinaryOp::And | BinaryOp::Or), .. } => {
                let operands = self.chain(cond, op);
                // `and` is false as soon as one operand is; `or` true as soon as one is.
                let decides = op == BinaryOp::Or;
                if sense == decides {
                    for operand in operands {
                        self.jump_if(operand, sense, target, back);
                    }
                } else {
                    let (last, rest) = operands.split_last().expect("a chain has operands");
                    let skip = self.fb.label();
                    for &operand in rest {
                        self.jump_if(operand, decides, skip, false);
                    }
                    self.jump_if(*last, sense, target, back);
                    self.fb.bind(skip);
                }
            }
            ExprKind::Binary { op, left, right, .. } if compares(op) => {
                self.jump_compare(cond, op, left, right, sense, target, back);
            }
            ExprKind::Binary { op: BinaryOp::In, left, right, .. } if !back => {
                let Some((items, element)) = self.constants(right, self.expr_ty(left)) else {
                    let val = self.expr(cond, None);
                    return self.jump_on(val, sense, target, back);
                };
                let val = self.expr(left, None);
                let (found, other) =
                    if sense { (target, self.fb.label()) } else { (self.fb.label(), target) };
                self.jump_one_of(val, &items, element, found, other);
                if !sense {
                    self.fb.jump(target);
                    self.fb.bind(found);
                } else {
                    self.fb.bind(other);
                }
            }
            _ => {
                let val = self.expr(cond, None);
                self.jump_on(val, sense, target, back);
            }
        }
    }

    /// The operands of a chain of one short-circuit operator.
    fn chain(&self, id: ExprId, op: BinaryOp) -> Vec<ExprId> {
        let mut operands = Vec::new();
        let mut at = id;
        while let ExprKind::Binary { op: this, left, right, .. } = self.cx.program[at].kind
            && this == op
        {
            operands.push(right);
            at = left;
        }
        operands.push(at);
        operands.reverse();
        operands
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one comparison")]
    fn jump_compare(
        &mut self,
        cond: ExprId,
        op: BinaryOp,
        left: ExprId,
        right: ExprId,
        sense: bool,
        target: Label,
        back: bool,
    ) {
        let equality = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
        if equality && (self.is_none_literal(left) || self.is_none_literal(right)) {
            let other = if self.is_none_literal(left) { right } else { left };
            let val = self.expr(other, None);
            let when_null = (op == BinaryOp::Equal) == sense;
            self.jump_null(val, when_null, target, back);
            return;
        }
        let a = self.expr(left, None);
        let a =
            if self.cx.reassigned_in_expr && self.cx.flags[right.index()] != 0 { self.owned(a) } else { a };
        if a.ty == TyId::INT
            && self.expr_ty(right) == TyId::INT
            && let Some(value) = self.small_int(right)
        {
            self.jump_int_imm(if sense { op } else { negated(op) }, a.reg, value, target, back);
            return self.done(a);
        }
        if equality && let Some((items, element)) = self.written_out(right, a.ty) {
            let list = |body: &mut Self, a, different| body.jump_unlike(a, &items, element, different);
            return self.jump_by_difference(a, (op == BinaryOp::Equal) == sense, target, back, list);
        }
        let b = self.expr(right, None);
        self.span(self.cx.program[cond].span);
        if equality && let Some(parts) = self.plain_parts(a.ty, b.ty) {
            let by_parts = |body: &mut Self, a, different| body.jump_different(a, b, &parts, different);
            return self.jump_by_difference(a, (op == BinaryOp::Equal) == sense, target, back, by_parts);
        }
        match (a.ty, b.ty) {
            (TyId::INT, TyId::INT) => {
                self.jump_int(if sense { op } else { negated(op) }, a.reg, b.reg, target, back);
                self.done(a);
                self.done(b);
            }
            (TyId::BOOL, TyId::BOOL) if equality => {
                self.jump_int(if sense { op } else { negated(op) }, a.reg, b.reg, target, back);
                self.done(a);
                self.done(b);
            }
            (TyId::FLOAT | TyId::INT, TyId::FLOAT | TyId::INT)
                if a.ty == b.ty || self.cx.compares_as_floats(cond) =>
            {
                let a = self.convert(a, TyId::FLOAT);
                let b = self.convert(b, TyId::FLOAT);
                self.jump_float(op, sense, a.reg, b.reg, target, back);
                self.done(a);
                self.done(b);
            }
            (TyId::STRING, TyId::STRING) if equality && !back => {
                if (op == BinaryOp::Equal) == sense {
                    self.fb.string_eq_branch(a.reg, b.reg, target);
                } else {
                    self.fb.string_ne_branch(a.reg, b.reg, target);
                }
                self.done(a);
                self.done(b);
            }
            _ => {
                let val = self.operator(op, a, b, TyId::BOOL, None);
                self.jump_on(val, sense, target, back);
            }
        }
    }

    /// Jumps if a value is equal to something, or else if it is not, by what jumps if they differ.
    fn jump_by_difference(
        &mut self,
        val: Val,
        when_equal: bool,
        target: Label,
        back: bool,
        jump_different: impl FnOnce(&mut Self, Val, Label),
    ) {
        if !when_equal && !back {
            return jump_different(self, val, target);
        }
        let (different, end) = (self.fb.label(), self.fb.label());
        jump_different(self, val, different);
        if when_equal {
            branch!(self, back, jump / jump_loop(target));
            self.fb.bind(different);
        } else {
            self.fb.jump(end);
            self.fb.bind(different);
            self.fb.jump_loop(target);
        }
        self.fb.bind(end);
    }

    /// Jumps if whether the value is null equals `when_null`. Frees it.
    fn jump_null(&mut self, val: Val, when_null: bool, target: Label, back: bool) {
        let known = if val.ty == TyId::NULL {
            Some(true)
        } else if !self.is_nullable(val.ty) {
            Some(false)
        } else {
            None
        };
        match known {
            Some(null) => {
                if null == when_null {
                    branch!(self, back, jump / jump_loop(target));
                }
            }
            None => {
                let skip = self.fb.label();
                match (when_null, back) {
                    (true, false) => self.fb.is_branch(val.reg, Immediate::Nil, target),
                    (false, false) => self.fb.is_not_branch(val.reg, Immediate::Nil, target),
                    (true, true) => {
                        self.fb.is_not_branch(val.reg, Immediate::Nil, skip);
                        self.fb.jump_loop(target);
                    }
                    (false, true) => {
                        self.fb.is_branch(val.reg, Immediate::Nil, skip);
                        self.fb.jump_loop(target);
                    }
                }
                self.fb.bind(skip);
            }
        }
        self.done(val);
    }

    /// Jumps if the truth of a value is `sense`. Frees it.
    pub fn jump_on(&mut self, val: Val, sense: bool, target: Label, back: bool) {
        match self.cx.value(val.ty) {
            ValueType::Int | ValueType::Bool => {
                if sense {
                    branch!(self, back, if_branch / if_loop(val.reg, target));
                } else {
                    branch!(self, back, unless_branch / unless_loop(val.reg, target));
                }
            }
            ValueType::Float => {
                let zero = self.fb.float();
                self.fb.load_float(zero, 0.0);
                if sense {
                    branch!(self, back, float_ne_branch / float_ne_loop(val.reg, zero, target));
                } else {
                    branch!(self, back, float_eq_branch / float_eq_loop(val.reg, zero, target));
                }
                self.fb.free(zero);
            }
            ValueType::Cell(_) => {
                let skip = self.fb.label();
                match (sense, back) {
                    (true, false) => self.fb.truthy_branch(val.reg, FALSE_VALUES, target),
                    (false, false) => self.fb.falsy_branch(val.reg, FALSE_VALUES, target),
                    (true, true) => {
                        self.fb.falsy_branch(val.reg, FALSE_VALUES, skip);
                        self.fb.jump_loop(target);
                    }
                    (false, true) => {
                        self.fb.truthy_branch(val.reg, FALSE_VALUES, skip);
                        self.fb.jump_loop(target);
                    }
                }
                self.fb.bind(skip);
            }
        }
        self.done(val);
    }

    /// The truth of a value as 0 or 1. Frees it.
    pub fn truth(&mut self, val: Val) -> Val {
        match self.cx.value(val.ty) {
            ValueType::Bool => val,
            ValueType::Int => {
                let flag = self.target(TyId::BOOL, None);
                self.fb.int_ne_imm(flag.reg, val.reg, 0);
                self.done(val);
                flag
            }
            ValueType::Float => {
                let flag = self.target(TyId::BOOL, None);
                let zero = self.fb.float();
                self.fb.load_float(zero, 0.0);
                self.fb.float_ne(flag.reg, val.reg, zero);
                self.fb.free(zero);
                self.done(val);
                flag
            }
            ValueType::Cell(_) => {
                let flag = self.target(TyId::BOOL, None);
                self.fb.cell_truthy(flag.reg, val.reg, FALSE_VALUES);
                self.done(val);
                flag
            }
        }
    }

    pub fn jump_int(&mut self, op: BinaryOp, a: Reg, b: Reg, target: Label, back: bool) {
        match op {
            BinaryOp::Equal => branch!(self, back, int_eq_branch / int_eq_loop(a, b, target)),
            BinaryOp::NotEqual => branch!(self, back, int_ne_branch / int_ne_loop(a, b, target)),
            BinaryOp::Less => branch!(self, back, int_lt_branch / int_lt_loop(a, b, target)),
            BinaryOp::LessEqual => branch!(self, back, int_le_branch / int_le_loop(a, b, target)),
            BinaryOp::Greater => branch!(self, back, int_lt_branch / int_lt_loop(b, a, target)),
            _ => branch!(self, back, int_le_branch / int_le_loop(b, a, target)),
        }
    }

    fn jump_int_imm(&mut self, op: BinaryOp, a: Reg, value: i16, target: Label, back: bool) {
        match op {
            BinaryOp::Equal => branch!(self, back, int_eq_imm_branch / int_eq_imm_loop(a, value, target)),
            BinaryOp::NotEqual => branch!(self, back, int_ne_imm_branch / int_ne_imm_loop(a, value, target)),
            BinaryOp::Less => branch!(self, back, int_lt_imm_branch / int_lt_imm_loop(a, value, target)),
            BinaryOp::LessEqual => branch!(self, back, int_le_imm_branch / int_le_imm_loop(a, value, target)),
            BinaryOp::Greater => branch!(self, back, int_gt_imm_branch / int_gt_imm_loop(a, value, target)),
            _ => branch!(self, back, int_ge_imm_branch / int_ge_imm_loop(a, value, target)),
        }
    }

    /// Comparisons of floats have no complement among themselves: with NaN both `a < b` and `b <= a` are false.
    fn jump_float(&mut self, op: BinaryOp, sense: bool, a: Reg, b: Reg, target: Label, back: bool) {
        let (op, a, b) = match op {
            BinaryOp::Greater => (BinaryOp::Less, b, a),
            BinaryOp::GreaterEqual => (BinaryOp::LessEqual, b, a),
            _ => (op, a, b),
        };
        match (op, sense) {
            (BinaryOp::Equal, true) | (BinaryOp::NotEqual, false) => {
                branch!(self, back, float_eq_branch / float_eq_loop(a, b, target));
            }
            (BinaryOp::Equal, false) | (BinaryOp::NotEqual, true) => {
                branch!(self, back, float_ne_branch / float_ne_loop(a, b, target));
            }
            (BinaryOp::Less, true) => branch!(self, back, float_lt_branch / float_lt_loop(a, b, target)),
            (BinaryOp::Less, false) => {
                branch!(self, back, float_not_lt_branch / float_not_lt_loop(a, b, target))
            }
            (_, true) => branch!(self, back, float_le_branch / float_le_loop(a, b, target)),
            (_, false) => branch!(self, back, float_not_le_branch / float_not_le_loop(a, b, target)),
        }
    }
}

/// The comparison of ints that holds exactly if this one does not.
fn negated(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Equal => BinaryOp::NotEqual,
        BinaryOp::NotEqual => BinaryOp::Equal,
        BinaryOp::Less => BinaryOp::GreaterEqual,
        BinaryOp::LessEqual => BinaryOp::Greater,
        BinaryOp::Greater => BinaryOp::LessEqual,
        _ => BinaryOp::Less,
    }
}
