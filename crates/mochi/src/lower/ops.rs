//! Binary operators.

use upshift_bytecode::builder::{Label, Reg};
use upshift_bytecode::{ANY, HeapType, Immediate, KeyPolicy, NumberPolicy, OrderPolicy, RecordId, ValueType};

use super::Lowerer;
use super::POLICY;
use super::body::{Body, Place, Val};
use crate::builtins::Builtin;
use crate::infer::{CallKind, Ty, TyId, TyKind};
use crate::resolve::Resolved;
use crate::syntax::ast::{BinaryLink, BinaryOp, BindId, ExprId, ExprKind, UnaryOp};

/// `in` compares with up to so many constants one by one, instead of making a list of them.
pub const COMPARED: usize = 16;
/// Records of up to so many fields are compared field by field in place, and unions of so many variants and fields.
const PLAIN: usize = 8;

/// All ints below are floats.
const WHOLE: f64 = 9_007_199_254_740_992.0;

impl Lowerer<'_> {
    /// Whether an operator compares an int with a float and both may be compared as floats: one is a constant so small, or a length,
    /// that nothing that is rounded equals it.
    pub fn compares_as_floats(&self, id: ExprId) -> bool {
        self.compared(id).is_some_and(|(a, b)| self.is_small_number(a) || self.is_small_number(b))
    }

    /// Whether an operator compares an int with a float and may not round.
    pub fn compares_by_value(&self, id: ExprId) -> bool {
        self.compared(id).is_some_and(|(a, b)| !self.is_small_number(a) && !self.is_small_number(b))
    }

    /// The operands of a comparison of an int with a float.
    fn compared(&self, id: ExprId) -> Option<(ExprId, ExprId)> {
        let ExprKind::Binary { op, left, right, .. } = self.program[id].kind else { return None };
        let mixed = matches!(
            (self.types.expr(left), self.types.expr(right)),
            (TyId::INT, TyId::FLOAT) | (TyId::FLOAT, TyId::INT)
        );
        (compares(op) && mixed).then_some((left, right))
    }

    fn is_small_number(&self, id: ExprId) -> bool {
        match self.kind(id) {
            ExprKind::Int(value) => value.unsigned_abs() < WHOLE as u64,
            ExprKind::Float(value) => value.abs() < WHOLE,
            ExprKind::Unary { op: UnaryOp::Neg, operand } => match self.kind(operand) {
                ExprKind::Int(value) => value.unsigned_abs() < WHOLE as u64,
                ExprKind::Float(value) => value.abs() < WHOLE,
                _ => false,
            },
            ExprKind::Call { .. } => matches!(self.types.call(id), CallKind::Builtin(Builtin::Len)),
            _ => false,
        }
    }
}

/// What two values are compared by in place.
pub enum Parts {
    /// The types of a record's fields.
    Record(Vec<TyId>),
    /// The tag, then the fields of the variant.
    Union {
        /// The variants whose fields are compared so.
        variants: Vec<Variant>,
        /// Whether these are all; the library compares others.
        whole: bool,
        /// Whether no variant has fields.
        alike: bool,
    },
}

/// A variant of a union.
pub struct Variant {
    record: RecordId,
    tag: i16,
    fields: Vec<TyId>,
}

/// The types of fields, if these are few and all of them numbers, booleans or strings.
fn plain(fields: &[TyId]) -> Option<&[TyId]> {
    let plain = |ty: &TyId| matches!(*ty, TyId::INT | TyId::FLOAT | TyId::BOOL | TyId::STRING);
    ((1..=PLAIN).contains(&fields.len()) && fields.iter().all(plain)).then_some(fields)
}

impl Body<'_, '_> {
    /// A chain of binary operators, from its innermost operand outwards, without recursion along the chain.
    pub fn binary(&mut self, id: ExprId, dst: Option<Reg>) -> Val {
        if self.cx.types.in_place(id)
            && let ExprKind::Binary { left, right, .. } = self.cx.program[id].kind
        {
            if let ExprKind::List(items) = self.cx.program[right].kind {
                let items = self.cx.program[items].to_vec();
                return self.append_all(id, left, &items, dst);
            }
            return self.extend_list(id, left, right, dst);
        }
        let spine = self.cx.program.binary_spine(id);
        let mut left = self.expr(spine.first, None);
        // Three strings and more are put together in one that grows.
        let joined = match self.cx.string_links(&spine) {
            n @ 2.. if left.ty == TyId::STRING => {
                left = self.joined(left, &spine.links[..n], dst.filter(|_| n == spine.links.len()));
                n
            }
            _ => 0,
        };
        for (i, link) in spine.links.iter().enumerate().skip(joined) {
            let dst = if i + 1 == spine.links.len() { dst } else { None };
            left = self.link(left, link, dst);
            let ty = self.expr_ty(link.expr);
            if self.cx.types.shares(link.expr) && self.may_be_list(left.ty) {
                self.fb.list_share(left.reg);
            }
            left = self.convert(left, ty);
        }
        left
    }

    /// `xs = xs + [a, b]`, in place where nothing else refers to the list. All operands are of one list type.
    fn append_all(&mut self, id: ExprId, list: ExprId, items: &[ExprId], dst: Option<Reg>) -> Val {
        let target = self.expr(list, None);
        let target = self.stable(target);
        let TyKind::List(element) = self.kind(target.ty) else { return target };
        let mut values = Vec::with_capacity(items.len());
        for &item in items {
            let val = self.expr_as(item, element);
            values.push(self.stable(val));
        }
        self.span(self.cx.program[id].span);
        let result = self.target(target.ty, dst);
        let mut from = target.reg;
        for val in values {
            self.list_append(result.reg, from, val.reg, element);
            self.done(val);
            from = result.reg;
        }
        self.done(target);
        result
    }

    /// `xs = xs + ys`, in place where nothing else refers to the list. Both operands are of one list type.
    fn extend_list(&mut self, id: ExprId, list: ExprId, other: ExprId, dst: Option<Reg>) -> Val {
        let target = self.expr(list, None);
        let target = self.stable(target);
        let other = self.expr(other, None);
        self.span(self.cx.program[id].span);
        self.share_elements(other);
        let result = self.target(target.ty, dst);
        self.fb.list_extend(result.reg, target.reg, other.reg);
        self.done(other);
        self.done(target);
        result
    }

    /// A string with others behind it. Frees it.
    fn joined(&mut self, left: Val, links: &[BinaryLink], dst: Option<Reg>) -> Val {
        let string = self.cx.cell(TyId::STRING);
        let text = self.fb.extensible(string);
        self.fb.cell_move(text, left.reg);
        self.done(left);
        for link in links {
            let right = self.expr(link.right, None);
            self.span(self.cx.program[link.expr].span);
            let right = self.as_text(right);
            self.fb.string_append(text, text, right.reg);
            self.done(right);
        }
        let val = self.target(TyId::STRING, dst);
        self.fb.string_share(val.reg, text);
        self.fb.free(text);
        val
    }

    /// The register of a variable that is extended in place.
    pub fn extended(&self, id: ExprId) -> Option<Reg> {
        let slot = self.cx.variable_slot(id).filter(|slot| self.cx.extended.contains(slot))?;
        match self.place(slot)? {
            Place::Register(text) => Some(text),
            Place::Boxed(_) => None,
        }
    }

    /// `s = s + ...` where the variable has a register to extend the string in; whether it does so.
    pub fn extend(&mut self, bind: BindId, value: ExprId) -> bool {
        let slot = self.cx.resolution.slot(bind);
        let (Some(Place::Register(text)), true) = (self.place(slot), self.cx.extended.contains(&slot)) else {
            return false;
        };
        let Some(links) = self.cx.parts_added(slot, value) else { return false };
        if self.cx.reassigned_in_expr && links.iter().any(|l| self.cx.flags[l.right.index()] != 0) {
            return false;
        }
        // All parts come first: they may read the variable.
        let parts: Vec<Val> = links.iter().map(|link| self.expr(link.right, None)).collect();
        for (link, part) in links.iter().zip(parts) {
            self.span(self.cx.program[link.expr].span);
            let part = self.as_text(part);
            self.fb.string_append(text, text, part.reg);
            self.done(part);
        }
        true
    }

    /// The operator with its left operand done. Frees it.
    fn link(&mut self, left: Val, link: &BinaryLink, dst: Option<Reg>) -> Val {
        let ty = self.expr_ty(link.expr);
        match link.op {
            BinaryOp::And | BinaryOp::Or => return self.short_circuit(left, link, ty),
            BinaryOp::Coalesce => return self.coalesce(left, link, ty),
            _ => {}
        }
        let left = if self.cx.reassigned_in_expr && self.cx.flags[link.right.index()] != 0 {
            self.owned(left)
        } else {
            left
        };
        if let Some(val) = self.with_immediate(left, link, dst) {
            return val;
        }
        if link.op == BinaryOp::In
            && let Some((items, element)) = self.constants(link.right, left.ty)
        {
            return self.one_of(left, &items, element);
        }
        if matches!(link.op, BinaryOp::Equal | BinaryOp::NotEqual)
            && let Some((items, element)) = self.written_out(link.right, left.ty)
        {
            let list = |body: &mut Self, end| body.jump_unlike(left, &items, element, end);
            return self.by_difference(link.op, list);
        }
        let right = self.expr(link.right, None);
        self.span(self.cx.program[link.expr].span);
        if self.cx.compares_as_floats(link.expr) {
            let left = self.convert(left, TyId::FLOAT);
            let right = self.convert(right, TyId::FLOAT);
            return self.operator(link.op, left, right, ty, dst);
        }
        self.operator(link.op, left, right, ty, dst)
    }

    /// The elements of a list that is written out, if there are few and the list is of a type whose elements are numbers, booleans or
    /// strings; and that of the elements.
    pub fn written_out(&self, list: ExprId, ty: TyId) -> Option<(Vec<ExprId>, TyId)> {
        let (ExprKind::List(items), Ty { kind: TyKind::List(element), nullable: false }) =
            (self.cx.program[list].kind, self.ty(ty))
        else {
            return None;
        };
        let items = &self.cx.program[items];
        let scalar = matches!(element, TyId::INT | TyId::FLOAT | TyId::BOOL | TyId::STRING);
        (scalar && self.expr_ty(list) == ty && items.len() <= COMPARED).then(|| (items.to_vec(), element))
    }

    /// Jumps if a list has not these elements. All of them are evaluated first, but no list is made of them. Frees the list.
    pub fn jump_unlike(&mut self, list: Val, items: &[ExprId], element: TyId, target: Label) {
        let mut values = Vec::with_capacity(items.len());
        for &item in items {
            let val = self.expr_as(item, element);
            values.push(self.stable(val));
        }
        let index = self.fb.int();
        self.fb.list_len(index, list.reg);
        self.fb.int_ne_imm_branch(index, items.len() as i16, target);
        for (i, value) in values.into_iter().enumerate() {
            let item = self.target(element, None);
            self.fb.int_const(index, i as i32);
            self.list_get(item.reg, list.reg, index, element);
            match element {
                TyId::FLOAT => self.fb.float_ne_branch(item.reg, value.reg, target),
                TyId::STRING => self.fb.string_ne_branch(item.reg, value.reg, target),
                _ => self.fb.int_ne_branch(item.reg, value.reg, target),
            }
            self.done(item);
            self.done(value);
        }
        self.fb.free(index);
        self.done(list);
    }

    /// The small constant that an operand is, if it is one.
    pub fn small_int(&self, id: ExprId) -> Option<i16> {
        let value = match self.cx.kind(id) {
            ExprKind::Int(value) => value,
            ExprKind::Unary { op: UnaryOp::Neg, operand } => match self.cx.program[operand].kind {
                ExprKind::Int(value) => -value,
                _ => return None,
            },
            _ => return None,
        };
        i16::try_from(value).ok()
    }

    /// int op small constant, in one op.
    fn with_immediate(&mut self, left: Val, link: &BinaryLink, dst: Option<Reg>) -> Option<Val> {
        if left.ty != TyId::INT || self.expr_ty(link.right) != TyId::INT {
            return None;
        }
        let value = self.small_int(link.right)?;
        let ty = self.expr_ty(link.expr);
        let result = if compares(link.op) { TyId::BOOL } else { TyId::INT };
        let wanted = dst.filter(|_| ty == result);
        match link.op {
            BinaryOp::Sub if value == i16::MIN => return None,
            BinaryOp::Div | BinaryOp::Rem if matches!(value, 0 | -1) => return None,
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::Equal
            | BinaryOp::NotEqual => {}
            _ => return None,
        }
        self.span(self.cx.program[link.expr].span);
        let val = self.target(result, wanted);
        let (d, a) = (val.reg, left.reg);
        match link.op {
            BinaryOp::Add => self.fb.int_add_imm_checked(d, a, value),
            BinaryOp::Sub => self.fb.int_add_imm_checked(d, a, -value),
            BinaryOp::Mul => self.fb.int_mul_imm_checked(d, a, value),
            BinaryOp::Div => self.fb.int_div_imm(d, a, value),
            BinaryOp::Rem => self.fb.int_rem_imm(d, a, value),
            BinaryOp::Less => self.fb.int_lt_imm(d, a, value),
            BinaryOp::LessEqual => self.fb.int_le_imm(d, a, value),
            BinaryOp::Greater => self.fb.int_gt_imm(d, a, value),
            BinaryOp::GreaterEqual => self.fb.int_ge_imm(d, a, value),
            BinaryOp::Equal => self.fb.int_eq_imm(d, a, value),
            _ => self.fb.int_ne_imm(d, a, value),
        }
        self.done(left);
        Some(val)
    }

    /// An operator on evaluated operands. Frees them. The result is of a natural type of the operation, to be converted.
    pub fn operator(&mut self, op: BinaryOp, left: Val, right: Val, ty: TyId, dst: Option<Reg>) -> Val {
        match op {
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem => {
                self.arithmetic(op, left, right, ty, dst)
            }
            BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::Equal
            | BinaryOp::NotEqual => self.comparison(op, left, right, dst.filter(|_| ty == TyId::BOOL)),
            BinaryOp::In => self.contains(left, right),
            BinaryOp::Union | BinaryOp::UnionAll | BinaryOp::Except | BinaryOp::Intersect => {
                let name = match op {
                    BinaryOp::Union => "mochi.op.union",
                    BinaryOp::UnionAll => "mochi.op.union_all",
                    BinaryOp::Except => "mochi.op.except",
                    _ => "mochi.op.intersect",
                };
                self.host_typed(name, &[left, right], ty)
            }
            BinaryOp::And | BinaryOp::Or | BinaryOp::Coalesce => {
                unreachable!("short-circuit operators have no right value")
            }
        }
    }

    fn arithmetic(&mut self, op: BinaryOp, left: Val, right: Val, ty: TyId, dst: Option<Reg>) -> Val {
        match (left.ty, right.ty) {
            (TyId::INT, TyId::INT) => {
                let val = self.target(TyId::INT, dst.filter(|_| ty == TyId::INT));
                let (d, a, b) = (val.reg, left.reg, right.reg);
                match op {
                    BinaryOp::Add => self.fb.int_add_checked(d, a, b),
                    BinaryOp::Sub => self.fb.int_sub_checked(d, a, b),
                    BinaryOp::Mul => self.fb.int_mul_checked(d, a, b),
                    BinaryOp::Div => self.fb.int_div(d, a, b),
                    _ => self.fb.int_rem(d, a, b),
                }
                self.done(left);
                self.done(right);
                val
            }
            (TyId::FLOAT | TyId::INT, TyId::FLOAT | TyId::INT) => {
                let left = self.convert(left, TyId::FLOAT);
                let right = self.convert(right, TyId::FLOAT);
                let val = self.target(TyId::FLOAT, dst.filter(|_| ty == TyId::FLOAT));
                let (d, a, b) = (val.reg, left.reg, right.reg);
                match op {
                    BinaryOp::Add => self.fb.float_add(d, a, b),
                    BinaryOp::Sub => self.fb.float_sub(d, a, b),
                    BinaryOp::Mul => self.fb.float_mul(d, a, b),
                    BinaryOp::Div => self.fb.float_div_checked(d, a, b),
                    _ => self.fb.float_rem_checked(d, a, b),
                }
                self.done(left);
                self.done(right);
                val
            }
            (TyId::STRING, TyId::STRING) if op == BinaryOp::Add => {
                let val = self.target(TyId::STRING, dst.filter(|_| ty == TyId::STRING));
                self.fb.string_concat(val.reg, left.reg, right.reg);
                self.done(left);
                self.done(right);
                val
            }
            (TyId::STRING, other) | (other, TyId::STRING)
                if op == BinaryOp::Add && self.cx.adds_text(other) =>
            {
                let left = self.as_text(left);
                let right = self.as_text(right);
                self.operator(op, left, right, ty, dst)
            }
            _ if op == BinaryOp::Add && left.ty == right.ty && self.is_list(left.ty) => {
                let val = self.target(left.ty, None);
                self.fb.list_concat(val.reg, left.reg, right.reg);
                self.share_elements(val);
                self.done(left);
                self.done(right);
                val
            }
            _ if op == BinaryOp::Add
                && let Some(list) = self.lists_or_none(left.ty, right.ty) =>
            {
                self.lists_added(left, right, list, ty)
            }
            _ => {
                let left = self.boxed(left);
                let right = self.boxed(right);
                let result = self.target(TyId::ANY, dst.filter(|_| ty == TyId::ANY));
                let reg = result.reg;
                let site = self.fb.feedback();
                match op {
                    BinaryOp::Add => self.fb.cell_add(reg, left.reg, right.reg, POLICY, site),
                    BinaryOp::Sub => self.fb.cell_sub(reg, left.reg, right.reg, POLICY, site),
                    BinaryOp::Mul => self.fb.cell_mul(reg, left.reg, right.reg, POLICY, site),
                    BinaryOp::Div => self.fb.cell_div(reg, left.reg, right.reg, POLICY, site),
                    _ => self.fb.cell_rem(reg, left.reg, right.reg, POLICY, site),
                }
                self.done(left);
                self.done(right);
                result
            }
        }
    }

    /// The type without none of two lists, where both have it.
    fn lists_or_none(&self, left: TyId, right: TyId) -> Option<TyId> {
        let [left, right] = [left, right].map(|ty| self.ty(ty).kind);
        let is = left == right && matches!(left, TyKind::List(_));
        self.cx.types.find(Ty { kind: left, nullable: false }).filter(|_| is)
    }

    /// The sum of two lists that may be none: none adds no elements, but two make none. Frees them.
    fn lists_added(&mut self, left: Val, right: Val, list: TyId, ty: TyId) -> Val {
        let both = self.ty(left.ty).nullable && self.ty(right.ty).nullable;
        let (sum, end) = (self.fb.label(), self.fb.label());
        let result = self.target(if both { left.ty } else { list }, None);
        if both {
            self.fb.is_not_branch(left.reg, Immediate::Nil, sum);
            self.fb.is_not_branch(right.reg, Immediate::Nil, sum);
            self.fb.load_nil(result.reg);
            self.fb.jump(end);
        }
        self.fb.bind(sum);
        let [left, right] = [left, right].map(|val| match self.ty(val.ty).nullable {
            true => self.list_or_empty(val, list),
            false => val,
        });
        let left = self.operator(BinaryOp::Add, left, right, ty, None);
        self.fb.cell_move(result.reg, left.reg);
        self.done(left);
        self.fb.bind(end);
        result
    }

    /// A text, none or an int as the text that it adds to a text. Frees it.
    fn as_text(&mut self, val: Val) -> Val {
        if val.ty == TyId::STRING || !self.cx.adds_text(val.ty) {
            return val;
        }
        let result = self.target(TyId::STRING, None);
        if val.ty == TyId::INT {
            self.fb.string_from_int(result.reg, val.reg);
        } else {
            let (none, end) = (self.fb.label(), self.fb.label());
            let (string, text) = (self.cx.cell(TyId::STRING), self.cx.module.string("<nil>"));
            self.fb.is_branch(val.reg, Immediate::Nil, none);
            self.fb.cell_cast(result.reg, val.reg, string);
            self.fb.jump(end);
            self.fb.bind(none);
            self.fb.string_const(result.reg, text);
            self.fb.bind(end);
        }
        self.done(val);
        result
    }

    pub fn is_list(&self, ty: TyId) -> bool {
        matches!(self.ty(ty), Ty { kind: TyKind::List(_), nullable: false })
    }

    fn comparison(&mut self, op: BinaryOp, left: Val, right: Val, dst: Option<Reg>) -> Val {
        let (op, left, right) = match op {
            BinaryOp::Greater => (BinaryOp::Less, right, left),
            BinaryOp::GreaterEqual => (BinaryOp::LessEqual, right, left),
            _ => (op, left, right),
        };
        let equality = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
        if equality && (left.ty == TyId::NULL || right.ty == TyId::NULL) {
            return self.null_test(op, left, right);
        }
        if matches!((left.ty, right.ty), (TyId::INT, TyId::FLOAT) | (TyId::FLOAT, TyId::INT)) {
            return self.compare_by_value(op, left, right);
        }
        if equality && let Some(parts) = self.plain_parts(left.ty, right.ty) {
            return self.by_difference(op, |body, end| body.jump_different(left, right, &parts, end));
        }
        let val = self.target(TyId::BOOL, dst);
        let d = val.reg;
        match (left.ty, right.ty) {
            (TyId::INT, TyId::INT) => {
                let (a, b) = (left.reg, right.reg);
                match op {
                    BinaryOp::Less => self.fb.int_lt(d, a, b),
                    BinaryOp::LessEqual => self.fb.int_le(d, a, b),
                    BinaryOp::Equal => self.fb.int_eq(d, a, b),
                    _ => self.fb.int_ne(d, a, b),
                }
                self.done(left);
                self.done(right);
            }
            (TyId::BOOL, TyId::BOOL) if equality => {
                if op == BinaryOp::Equal {
                    self.fb.int_eq(d, left.reg, right.reg);
                } else {
                    self.fb.int_ne(d, left.reg, right.reg);
                }
                self.done(left);
                self.done(right);
            }
            (TyId::FLOAT, TyId::FLOAT) => {
                self.compare_floats(op, d, left.reg, right.reg);
                self.done(left);
                self.done(right);
            }
            (TyId::STRING, TyId::STRING) => {
                match op {
                    BinaryOp::Equal => self.fb.string_eq(d, left.reg, right.reg),
                    BinaryOp::NotEqual => self.fb.string_ne(d, left.reg, right.reg),
                    _ => {
                        let order = self.fb.int();
                        self.fb.string_compare(order, left.reg, right.reg);
                        if op == BinaryOp::Less {
                            self.fb.int_lt_imm(d, order, 0);
                        } else {
                            self.fb.int_le_imm(d, order, 0);
                        }
                        self.fb.free(order);
                    }
                }
                self.done(left);
                self.done(right);
            }
            _ => self.compare_cells(op, d, left, right),
        }
        val
    }

    /// Whether two things are equal, or else whether they are not, by what jumps if they differ. The value is in a register of its
    /// own: the destination may be a window slot, which is written in one block.
    fn by_difference(&mut self, op: BinaryOp, jump_different: impl FnOnce(&mut Self, Label)) -> Val {
        let val = self.target(TyId::BOOL, None);
        let (equal, end) = (i32::from(op == BinaryOp::Equal), self.fb.label());
        self.fb.int_const(val.reg, 1 - equal);
        jump_different(self, end);
        self.fb.int_const(val.reg, equal);
        self.fb.bind(end);
        val
    }

    fn compare_floats(&mut self, op: BinaryOp, dst: Reg, a: Reg, b: Reg) {
        match op {
            BinaryOp::Less => self.fb.float_lt(dst, a, b),
            BinaryOp::LessEqual => self.fb.float_le(dst, a, b),
            BinaryOp::Equal => self.fb.float_eq(dst, a, b),
            _ => self.fb.float_ne(dst, a, b),
        }
    }

    /// Compares as cells. Frees the values.
    fn compare_cells(&mut self, op: BinaryOp, dst: Reg, left: Val, right: Val) {
        let left = self.boxed(left);
        let right = self.boxed(right);
        let site = self.fb.feedback();
        let (a, b) = (left.reg, right.reg);
        match op {
            BinaryOp::Less => self.fb.cell_lt(dst, a, b, POLICY, site),
            BinaryOp::LessEqual => self.fb.cell_le(dst, a, b, POLICY, site),
            BinaryOp::Equal => self.fb.cell_eq(dst, a, b, POLICY, site),
            _ => self.fb.cell_ne(dst, a, b, POLICY, site),
        }
        self.done(left);
        self.done(right);
    }

    /// Compares an int with a float by value. Frees them.
    ///
    /// Where the int as a float differs from the float, the int does so too, in the same direction, since rounding keeps the
    /// order. Where it does not, it is what the int is if it is below [`WHOLE`]; beyond, the values are compared without rounding,
    /// which hardly ever happens, so as cells.
    fn compare_by_value(&mut self, op: BinaryOp, left: Val, right: Val) -> Val {
        let (int, other) = if left.ty == TyId::INT { (left, right) } else { (right, left) };
        let val = self.target(TyId::BOOL, None);
        let end = self.fb.label();
        let float = self.fb.float();
        self.fb.float_from_int(float, int.reg);
        let (a, b) = if left.ty == TyId::INT { (float, other.reg) } else { (other.reg, float) };
        self.compare_floats(op, val.reg, a, b);
        self.fb.float_ne_branch(float, other.reg, end);
        let limit = self.fb.float();
        self.fb.load_float(limit, WHOLE * WHOLE);
        self.fb.float_mul(float, float, float);
        self.fb.float_lt_branch(float, limit, end);
        self.fb.free(limit);
        self.fb.free(float);
        self.compare_cells(op, val.reg, left, right);
        self.fb.bind(end);
        val
    }

    /// How two values of one type are compared in place: records whose fields are few and all of them numbers, booleans or strings, and
    /// unions with such variants, or variants without fields.
    pub fn plain_parts(&self, a: TyId, b: TyId) -> Option<Parts> {
        let Ty { kind, nullable: false } = self.ty(a) else { return None };
        if a != b {
            return None;
        }
        match kind {
            TyKind::Struct(of) => {
                plain(self.cx.types.fields(of)).map(|fields| Parts::Record(fields.to_vec()))
            }
            TyKind::Union(of) => {
                let ctors = &self.cx.resolution.unions[of.index()].ctors;
                let variants: Vec<_> = ctors
                    .iter()
                    .filter_map(|&ctor| {
                        let record = self.cx.ctors[ctor.index()];
                        let tag = i16::try_from(self.cx.module.module.records[record.index()].tag).ok()?;
                        let fields = self.cx.types.ctor_fields(ctor);
                        let fields = if fields.is_empty() { fields } else { plain(fields)? };
                        Some(Variant { record, tag, fields: fields.to_vec() })
                    })
                    .collect();
                let size: usize = variants.iter().map(|variant| 1 + variant.fields.len()).sum();
                let whole = variants.len() == ctors.len();
                let alike = whole && variants.iter().all(|variant| variant.fields.is_empty());
                (!variants.is_empty() && (alike || size <= PLAIN)).then_some(Parts::Union {
                    variants,
                    whole,
                    alike,
                })
            }
            _ => None,
        }
    }

    /// Jumps if two values differ, which are compared part by part. Frees them.
    pub fn jump_different(&mut self, a: Val, b: Val, parts: &Parts, target: Label) {
        let (variants, whole, alike) = match parts {
            Parts::Record(fields) => return self.jump_fields(a, b, fields, target),
            Parts::Union { variants, whole, alike } => (variants, *whole, *alike),
        };
        let (tag, other, equal) = (self.fb.int(), self.fb.int(), self.fb.label());
        self.fb.record_tag(tag, a.reg);
        self.fb.record_tag(other, b.reg);
        self.fb.int_ne_branch(tag, other, target);
        for variant in variants.iter().filter(|_| !alike) {
            if variant.fields.is_empty() {
                // There is one object of it.
                self.fb.int_eq_imm_branch(tag, variant.tag, equal);
                continue;
            }
            let next = self.fb.label();
            self.fb.int_ne_imm_branch(tag, variant.tag, next);
            let cell = self.cell_of(HeapType::Record(variant.record));
            let [x, y] = [a, b].map(|val| {
                let reg = self.fb.cell(cell);
                self.fb.cell_cast(reg, val.reg, cell);
                Val { reg, ty: val.ty, temp: true }
            });
            self.jump_fields(x, y, &variant.fields, target);
            self.fb.jump(equal);
            self.fb.bind(next);
        }
        if !whole {
            let site = self.fb.feedback();
            self.fb.cell_eq(other, a.reg, b.reg, POLICY, site);
            self.fb.unless_branch(other, target);
        }
        self.fb.bind(equal);
        self.fb.free(tag);
        self.fb.free(other);
        self.done(a);
        self.done(b);
    }

    /// Jumps if two records differ in one of their fields, whose types these are. Frees them.
    fn jump_fields(&mut self, a: Val, b: Val, fields: &[TyId], target: Label) {
        let equal = self.fb.label();
        for (i, &ty) in fields.iter().enumerate() {
            let (x, y) = (self.target(ty, None), self.target(ty, None));
            self.load_field(x.reg, a.reg, i as u16, ty);
            self.load_field(y.reg, b.reg, i as u16, ty);
            match ty {
                TyId::STRING => self.fb.string_ne_branch(x.reg, y.reg, target),
                // A record with a NaN in it equals itself.
                TyId::FLOAT => {
                    let (next, same) = (self.fb.label(), self.fb.int());
                    self.fb.float_eq_branch(x.reg, y.reg, next);
                    self.fb.cell_identical(same, a.reg, b.reg);
                    self.fb.unless_branch(same, target);
                    self.fb.jump(equal);
                    self.fb.bind(next);
                    self.fb.free(same);
                }
                _ => self.fb.int_ne_branch(x.reg, y.reg, target),
            }
            self.done(x);
            self.done(y);
        }
        self.fb.bind(equal);
        self.done(a);
        self.done(b);
    }

    /// Equality with none.
    fn null_test(&mut self, op: BinaryOp, left: Val, right: Val) -> Val {
        let other = if left.ty == TyId::NULL { right } else { left };
        let result = self.target(TyId::BOOL, None);
        let equal = i32::from(op == BinaryOp::Equal);
        if other.ty == TyId::NULL || !self.is_nullable(other.ty) {
            let value = if other.ty == TyId::NULL { equal } else { 1 - equal };
            self.fb.int_const(result.reg, value);
        } else {
            let end = self.fb.label();
            self.fb.int_const(result.reg, equal);
            self.fb.is_branch(other.reg, Immediate::Nil, end);
            self.fb.int_const(result.reg, 1 - equal);
            self.fb.bind(end);
        }
        self.done(left);
        self.done(right);
        result
    }

    /// The elements of a list that is written out, if there are few, all constants of one type, and what is looked for may be
    /// of that type, which is the second result.
    pub fn constants(&self, list: ExprId, ty: TyId) -> Option<(Vec<ExprId>, TyId)> {
        let (ExprKind::List(items), TyKind::List(element)) =
            (self.cx.program[list].kind, self.kind(self.expr_ty(list)))
        else {
            return None;
        };
        let items = &self.cx.program[items];
        let constant =
            |&item: &ExprId| self.cx.constant_type(item).is_some() && self.expr_ty(item) == element;
        let scalar = matches!(element, TyId::INT | TyId::FLOAT | TyId::BOOL | TyId::STRING);
        let possible = ty == TyId::ANY || self.kind(ty) == self.kind(element);
        (scalar && possible && (1..=COMPARED).contains(&items.len()) && items.iter().all(constant))
            .then(|| (items.to_vec(), element))
    }

    /// Whether a value equals one of these constants. Frees it.
    fn one_of(&mut self, val: Val, items: &[ExprId], element: TyId) -> Val {
        let result = self.target(TyId::BOOL, None);
        let (found, end) = (self.fb.label(), self.fb.label());
        self.fb.int_const(result.reg, 0);
        self.jump_one_of(val, items, element, found, end);
        self.fb.jump(end);
        self.fb.bind(found);
        self.fb.int_const(result.reg, 1);
        self.fb.bind(end);
        result
    }

    /// Jumps to `found` if a value equals one of these constants of a type. A value of another type jumps to `other`, one that
    /// equals none falls through or does so too. Frees it.
    pub fn jump_one_of(&mut self, val: Val, items: &[ExprId], element: TyId, found: Label, other: Label) {
        let of_type = if val.ty == element {
            Val { temp: false, ..val }
        } else {
            let cell = self.cx.cell(element);
            let flag = self.fb.int();
            self.fb.cell_test(flag, val.reg, cell);
            self.fb.unless_branch(flag, other);
            self.fb.free(flag);
            let of_type = self.target(element, None);
            match self.cx.value(element) {
                ValueType::Cell(cell) => self.fb.cell_cast(of_type.reg, val.reg, cell),
                raw => self.unbox_raw(raw, of_type.reg, val.reg),
            }
            of_type
        };
        for &item in items {
            self.jump_equal(of_type, item, found);
        }
        self.done(of_type);
        self.done(val);
    }

    /// Jumps if a value equals a constant of its type.
    fn jump_equal(&mut self, val: Val, constant: ExprId, target: Label) {
        if let (TyId::INT, Some(value)) = (val.ty, self.small_int(constant)) {
            return self.fb.int_eq_imm_branch(val.reg, value, target);
        }
        let other = self.expr(constant, None);
        match val.ty {
            TyId::FLOAT => self.fb.float_eq_branch(val.reg, other.reg, target),
            TyId::STRING => self.fb.string_eq_branch(val.reg, other.reg, target),
            _ => self.fb.int_eq_branch(val.reg, other.reg, target),
        }
        self.done(other);
    }

    /// `left in right`
    fn contains(&mut self, left: Val, right: Val) -> Val {
        let Ty { kind, nullable } = self.ty(right.ty);
        match kind {
            TyKind::String | TyKind::Map(..) | TyKind::List(_)
                if nullable && let Some(present) = self.cx.types.without_null(right.ty) =>
            {
                // Nothing is in none.
                let result = self.target(TyId::BOOL, None);
                let end = self.fb.label();
                self.fb.int_const(result.reg, 0);
                let given = self.unless_none(right, present, end);
                let is = self.contains(Val { temp: false, ..left }, given);
                self.fb.int_move(result.reg, is.reg);
                self.done(is);
                self.fb.bind(end);
                self.done(left);
                self.done(right);
                result
            }
            TyKind::String if !nullable && left.ty == TyId::STRING => {
                let result = self.target(TyId::BOOL, None);
                self.fb.string_contains(result.reg, right.reg, left.reg);
                self.done(left);
                self.done(right);
                result
            }
            TyKind::Map(key, _) if !nullable => {
                let result = self.target(TyId::BOOL, None);
                let has = |b: &mut Self, left: Reg| {
                    if key == TyId::INT {
                        b.fb.map_int_has(result.reg, right.reg, left);
                    } else {
                        b.fb.map_string_has(result.reg, right.reg, left);
                    }
                };
                match self.cx.key_policy(key) {
                    KeyPolicy::Int | KeyPolicy::String if left.ty == key => has(self, left.reg),
                    KeyPolicy::Int | KeyPolicy::String if self.is_key_or_none(key, left.ty) => {
                        self.if_some(left, key, has, |b| {
                            let [left, right] = [left, right].map(|val| Val { temp: false, ..val });
                            let is = b.host_typed("mochi.op.in", &[left, right], TyId::BOOL);
                            b.fb.int_move(result.reg, is.reg);
                            b.done(is);
                        });
                    }
                    KeyPolicy::Int | KeyPolicy::String => {
                        self.done(result);
                        return self.host_typed("mochi.op.in", &[left, right], TyId::BOOL);
                    }
                    KeyPolicy::Text | KeyPolicy::Value | KeyPolicy::Protocol => {
                        let boxed = self.boxed(left);
                        let site = self.fb.feedback();
                        self.fb.map_cell_has(result.reg, right.reg, boxed.reg, NumberPolicy(0), site);
                        self.done(boxed);
                        self.done(right);
                        return result;
                    }
                }
                self.done(left);
                self.done(right);
                result
            }
            TyKind::List(element)
                if !nullable && element == left.ty && matches!(left.ty, TyId::INT | TyId::STRING) =>
            {
                let at = self.target(TyId::INT, None);
                if left.ty == TyId::INT {
                    self.fb.list_int_index_of(at.reg, right.reg, left.reg);
                } else {
                    self.fb.list_string_index_of(at.reg, right.reg, left.reg);
                }
                self.done(left);
                self.done(right);
                let result = self.target(TyId::BOOL, None);
                self.fb.int_ge_imm(result.reg, at.reg, 0);
                self.done(at);
                result
            }
            _ => self.host_typed("mochi.op.in", &[left, right], TyId::BOOL),
        }
    }

    /// Calls a host function with the operands as they are. Frees them.
    pub fn host_typed(&mut self, name: &str, args: &[Val], ty: TyId) -> Val {
        let params: Vec<ValueType> = args.iter().map(|a| self.cx.value(a.ty)).collect();
        let result = self.cx.result(ty);
        let host = self.host(name, &params, result);
        let slots = upshift_bytecode::builder::FunctionBuilder::arguments(&params, false);
        for ((slot, arg), param) in slots.into_iter().zip(args).zip(&params) {
            self.fb.move_value(param.bank(), slot, arg.reg);
        }
        for &arg in args {
            self.done(arg);
        }
        if result.is_none() {
            self.fb.call_host_void(host);
            return self.null(None);
        }
        let val = self.target(ty, None);
        self.call_host(host, result, val.reg);
        val
    }

    /// `left && right`, `left || right` as values: the operand that decides.
    fn short_circuit(&mut self, left: Val, link: &BinaryLink, ty: TyId) -> Val {
        let result = self.target(ty, None);
        let (other, end) = (self.fb.label(), self.fb.label());
        // Only where the left operand decides is it converted: what it is otherwise need not fit the result.
        let decides = link.op == BinaryOp::Or;
        self.jump_on(Val { temp: false, ..left }, !decides, other, false);
        self.convert_into(Val { temp: false, ..left }, ty, result.reg);
        self.fb.jump(end);
        self.fb.bind(other);
        self.done(left);
        self.expr_into(link.right, ty, result.reg);
        self.fb.bind(end);
        result
    }

    /// `left ?? right`
    fn coalesce(&mut self, left: Val, link: &BinaryLink, ty: TyId) -> Val {
        if !self.is_nullable(left.ty) {
            return left;
        }
        let result = self.target(ty, None);
        let (null, end) = (self.fb.label(), self.fb.label());
        if left.ty != TyId::NULL {
            self.fb.is_branch(left.reg, Immediate::Nil, null);
            if let Some(present) = self.cx.types.without_null(left.ty) {
                match self.cx.value(present) {
                    ValueType::Cell(_) => self.convert_into(Val { temp: false, ..left }, ty, result.reg),
                    raw => {
                        let reg = self.fb.value(raw);
                        self.unbox_raw(raw, reg, left.reg);
                        self.convert_into(Val { reg, ty: present, temp: true }, ty, result.reg);
                    }
                }
            } else {
                self.convert_into(Val { temp: false, ..left }, ty, result.reg);
            }
            self.fb.jump(end);
        }
        self.fb.bind(null);
        self.done(left);
        self.expr_into(link.right, ty, result.reg);
        self.fb.bind(end);
        result
    }

    /// Whether an expression is written as none or an undeclared name, which is none.
    pub fn is_none_literal(&self, id: ExprId) -> bool {
        match self.cx.program[id].kind {
            ExprKind::None => true,
            ExprKind::Name(_) => self.cx.resolution.name(id) == Resolved::Undeclared,
            _ => false,
        }
    }

    /// The heap type of lists of `any`.
    pub fn any_list(&mut self) -> upshift_bytecode::CellType {
        self.cell_of(HeapType::ListCell(ANY))
    }

    /// The heap type of maps that are seen as `any`.
    pub fn any_map(&mut self) -> upshift_bytecode::CellType {
        let key = self.cx.key_policy(self.cx.types.any_keys);
        self.cell_of(HeapType::Map { key, order: OrderPolicy::SortedByText, value: ANY })
    }
}

/// Whether an operator compares.
pub(super) fn compares(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::Equal
            | BinaryOp::NotEqual
    )
}
