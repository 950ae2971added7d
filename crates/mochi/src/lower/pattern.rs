//! `match`.

use upshift_bytecode::builder::{Label, Reg};
use upshift_bytecode::{HeapType, RecordId};

use super::body::{Body, Val};
use crate::infer::{Ty, TyId, TyKind};
use crate::resolve::{CtorId, Resolved, Storage, UnionId};
use crate::syntax::ast::{
    Arm, BinaryOp, Body as ArmBody, ExprId, ExprKind, List, PatId, PatternKind, StmtId, StmtKind,
};

impl Body<'_, '_> {
    /// `match subject { pattern => body .. }`; null where no arm matches.
    pub fn match_value(&mut self, subject: ExprId, arms: List<Arm>, ty: TyId) -> Val {
        let result = self.target(ty, None);
        self.match_arms(subject, arms, Some((ty, result.reg)));
        result
    }

    /// Runs the arm of a `match` that matches; its value, converted to a type, goes where that is asked for.
    pub fn match_arms(&mut self, subject: ExprId, arms: List<Arm>, result: Option<(TyId, Reg)>) {
        let arms: Vec<Arm> = self.cx.program[arms].to_vec();
        let value = self.expr(subject, None);
        let value = if self.stays(subject, &arms) { value } else { self.owned(value) };
        let end = self.fb.label();
        let variants: Vec<Option<CtorId>> = arms.iter().map(|arm| self.variant_of(arm.pattern)).collect();
        let union = self.union_of(value.ty);
        // Several arms look at the tag, which is read once.
        let tag = (union.is_some() && variants.iter().flatten().count() > 1).then(|| {
            let tag = self.fb.int();
            self.fb.record_tag(tag, value.reg);
            tag
        });
        let mut left: Vec<CtorId> =
            union.map_or(Vec::new(), |union| self.cx.resolution.unions[union.index()].ctors.clone());
        for (arm, &variant) in arms.iter().zip(&variants) {
            if !self.fb.is_reachable() {
                break;
            }
            let next = self.fb.label();
            let scope = self.open_scope();
            self.span(arm.span);
            let subject = Subject { tag, only: left.len() == 1 && variant == Some(left[0]) };
            self.pattern(arm.pattern, Val { temp: false, ..value }, next, subject);
            if self.takes_all(arm.pattern) {
                left.retain(|&ctor| Some(ctor) != variant);
            }
            match arm.body {
                ArmBody::Expr(body) => self.arm_value(body, result),
                ArmBody::Block(block) => self.arm_block(block, result),
            }
            self.close_scope(scope);
            self.fb.jump(end);
            self.fb.bind(next);
        }
        if self.fb.is_reachable() {
            self.no_value(result);
        }
        self.fb.bind(end);
        if let Some(tag) = tag {
            self.fb.free(tag);
        }
        self.done(value);
    }

    fn arm_value(&mut self, value: ExprId, result: Option<(TyId, Reg)>) {
        match result {
            Some((ty, reg)) => self.expr_into(value, ty, reg),
            None => self.effect(value),
        }
    }

    fn no_value(&mut self, result: Option<(TyId, Reg)>) {
        if let Some((ty, reg)) = result {
            let null = self.null(None);
            self.convert_into(null, ty, reg);
        }
    }

    /// Whether an expression is a variable in a register that keeps its value through all arms.
    fn stays(&self, subject: ExprId, arms: &[Arm]) -> bool {
        let (Some(first), Some(last)) = (arms.first(), arms.last()) else { return false };
        let ExprKind::Name(_) = self.cx.program[subject].kind else { return false };
        let Resolved::Bind(bind) = self.cx.resolution.name(subject) else { return false };
        self.cx.resolution.bind(bind).storage == Storage::Register
            && !self.cx.resolution.is_assigned_between(bind, first.span.start, last.span.end)
    }

    /// The union whose variants alone values of a type are.
    fn union_of(&self, ty: TyId) -> Option<UnionId> {
        match self.ty(ty) {
            Ty { kind: TyKind::Union(union), nullable: false } => Some(union),
            _ => None,
        }
    }

    /// The variant that a pattern asks for.
    fn variant_of(&self, pattern: PatId) -> Option<CtorId> {
        match (self.cx.program[pattern].kind, self.cx.resolution.pattern(pattern)) {
            (PatternKind::Name { .. } | PatternKind::Constructor { .. }, Resolved::Variant(ctor)) => {
                Some(ctor)
            }
            _ => None,
        }
    }

    /// Whether a pattern matches whatever it is given.
    fn matches_all(&self, pattern: PatId) -> bool {
        match self.cx.program[pattern].kind {
            PatternKind::Wildcard => true,
            PatternKind::Name { .. } => self.binds(pattern),
            _ => false,
        }
    }

    /// Whether a pattern is a variable.
    fn binds(&self, pattern: PatId) -> bool {
        let name = matches!(self.cx.program[pattern].kind, PatternKind::Name { .. });
        name && !matches!(self.cx.resolution.pattern(pattern), Resolved::Variant(_) | Resolved::Struct(_))
    }

    /// Whether a pattern that asks for a variant matches all its values.
    fn takes_all(&self, pattern: PatId) -> bool {
        let Some(ctor) = self.variant_of(pattern) else { return false };
        match self.cx.program[pattern].kind {
            PatternKind::Constructor { args, .. } => {
                let args = &self.cx.program[args];
                args.len() <= self.cx.types.ctor_fields(ctor).len()
                    && args.iter().all(|&p| self.matches_all(p))
            }
            _ => true,
        }
    }

    /// A block gives the value of its last statement where that is an expression, else null.
    fn arm_block(&mut self, block: crate::syntax::ast::Block, result: Option<(TyId, Reg)>) {
        let stmts: Vec<StmtId> = self.cx.program[block.stmts].to_vec();
        let last = stmts.last().and_then(|&last| match self.cx.program[last].kind {
            StmtKind::Expr(value) => Some(value),
            _ => None,
        });
        let scope = self.open_scope();
        for &stmt in &stmts[..stmts.len() - usize::from(last.is_some())] {
            self.statement(stmt);
        }
        if self.fb.is_reachable() {
            match last {
                Some(value) => self.arm_value(value, result),
                None => self.no_value(result),
            }
        }
        self.close_scope(scope);
    }

    /// Jumps to `fail` unless the pattern matches; binds its variables.
    fn pattern(&mut self, id: PatId, value: Val, fail: Label, subject: Subject) {
        let pattern = self.cx.program[id];
        match pattern.kind {
            PatternKind::Error | PatternKind::Wildcard => {}
            PatternKind::Literal(literal) => {
                if self.is_none_literal(literal) {
                    self.require_null(value, fail);
                    return;
                }
                if value.ty == TyId::INT
                    && self.expr_ty(literal) == TyId::INT
                    && let Some(small) = self.small_int(literal)
                {
                    return self.fb.int_ne_imm_branch(value.reg, small, fail);
                }
                let other = self.expr(literal, None);
                if value.ty == TyId::STRING && other.ty == TyId::STRING {
                    self.fb.string_ne_branch(value.reg, other.reg, fail);
                    return self.done(other);
                }
                let flag = self.operator(BinaryOp::Equal, value, other, TyId::BOOL, None);
                self.jump_on(flag, false, fail, false);
            }
            PatternKind::Name { bind, .. } => match self.cx.resolution.pattern(id) {
                Resolved::Variant(ctor) => self.variant_test(ctor, value, fail, subject),
                Resolved::Struct(of) => {
                    let record = self.cx.structs[of.index()];
                    let boxed = self.record_test(record, value, fail);
                    self.done(boxed);
                }
                _ => {
                    let ty = self.cx.types.bind(bind);
                    self.share_unless_borrowed(value, bind);
                    let val = self.convert(value, ty);
                    self.declare(bind, val);
                }
            },
            PatternKind::Constructor { args, .. } => {
                let args: Vec<PatId> = self.cx.program[args].to_vec();
                match self.cx.resolution.pattern(id) {
                    Resolved::Variant(ctor) => {
                        self.variant_test(ctor, value, fail, subject);
                        let record = self.cx.ctors[ctor.index()];
                        let types = self.cx.types.ctor_fields(ctor).to_vec();
                        let value = self.boxed(value);
                        self.fields(record, value, &types, &args, fail);
                    }
                    Resolved::Struct(of) => {
                        let record = self.cx.structs[of.index()];
                        let value = self.record_test(record, value, fail);
                        let types = self.cx.types.fields(of).to_vec();
                        self.fields(record, value, &types, &args, fail);
                    }
                    _ => self.fb.jump(fail),
                }
            }
        }
    }

    fn require_null(&mut self, value: Val, fail: Label) {
        if value.ty == TyId::NULL {
            return;
        }
        if self.is_nullable(value.ty) {
            self.fb.is_not_branch(value.reg, upshift_bytecode::Immediate::Nil, fail);
        } else {
            self.fb.jump(fail);
        }
    }

    /// Tests for a variant.
    fn variant_test(&mut self, ctor: CtorId, value: Val, fail: Label, subject: Subject) {
        if subject.only {
            return;
        }
        let record = self.cx.ctors[ctor.index()];
        let union = self.cx.resolution.ctors[ctor.index()].union;
        if self.union_of(value.ty) != Some(union) {
            let boxed = self.record_test(record, value, fail);
            return self.done(boxed);
        }
        let tag = subject.tag.unwrap_or_else(|| {
            let tag = self.fb.int();
            self.fb.record_tag(tag, value.reg);
            tag
        });
        let number = self.cx.module.module.records[record.index()].tag;
        match i16::try_from(number) {
            Ok(number) => self.fb.int_ne_imm_branch(tag, number, fail),
            Err(_) => {
                let wanted = self.fb.int();
                self.fb.load_int(wanted, i64::from(number));
                self.fb.int_ne_branch(tag, wanted, fail);
                self.fb.free(wanted);
            }
        }
        if subject.tag.is_none() {
            self.fb.free(tag);
        }
    }

    /// Tests for a record of a type; gives the value as a cell.
    fn record_test(&mut self, record: RecordId, value: Val, fail: Label) -> Val {
        let cell = self.cell_of(HeapType::Record(record));
        let boxed = self.boxed(value);
        let flag = self.fb.int();
        self.fb.cell_test(flag, boxed.reg, cell);
        self.fb.unless_branch(flag, fail);
        self.fb.free(flag);
        boxed
    }

    /// Matches the fields of what was found to be a record of a type in order; missing patterns match anything.
    fn fields(&mut self, record: RecordId, value: Val, types: &[TyId], patterns: &[PatId], fail: Label) {
        if patterns.len() > types.len() {
            self.fb.jump(fail);
        }
        let asked = |&p: &PatId| !matches!(self.cx.program[p].kind, PatternKind::Wildcard);
        if !patterns.iter().take(types.len()).any(asked) {
            return self.done(value);
        }
        let cell = self.cell_of(HeapType::Record(record));
        let object = self.fb.cell(cell);
        self.fb.cell_cast(object, value.reg, cell);
        for (i, (&pattern, &ty)) in patterns.iter().zip(types).enumerate() {
            if matches!(self.cx.program[pattern].kind, PatternKind::Wildcard) {
                continue;
            }
            let reg = self.reg(ty);
            self.load_field(reg, object, i as u16, ty);
            // A variable takes the register over.
            let temp = self.binds(pattern);
            self.pattern(pattern, Val { reg, ty, temp }, fail, Subject::default());
            if !temp {
                self.fb.free(reg);
            }
        }
        self.fb.free(object);
        self.done(value);
    }
}

/// What is known of the value of a pattern.
#[derive(Clone, Copy, Default)]
struct Subject {
    /// The register that its tag was read into.
    tag: Option<Reg>,
    /// Whether it can only be the variant that the pattern asks for.
    only: bool,
}
