//! `match`.

use upshift_bytecode::builder::Label;
use upshift_bytecode::{HeapType, RecordId};

use super::body::{Body, Val};
use crate::infer::{Ty, TyId, TyKind};
use crate::resolve::{CtorId, Resolved};
use crate::syntax::ast::{
    Arm, BinaryOp, Body as ArmBody, ExprId, List, PatId, PatternKind, StmtId, StmtKind,
};

impl Body<'_, '_> {
    /// `match subject { pattern => body .. }`; null where no arm matches.
    pub fn match_value(&mut self, subject: ExprId, arms: List<Arm>, ty: TyId) -> Val {
        let arms: Vec<Arm> = self.cx.program[arms].to_vec();
        let value = self.expr(subject, None);
        let value = self.owned(value);
        let result = self.target(ty, None);
        let end = self.fb.label();
        for arm in arms {
            let next = self.fb.label();
            let scope = self.open_scope();
            self.span(arm.span);
            self.pattern(arm.pattern, Val { temp: false, ..value }, next);
            match arm.body {
                ArmBody::Expr(body) => {
                    let val = self.expr(body, None);
                    self.convert_into(val, ty, result.reg);
                }
                ArmBody::Block(block) => self.arm_block(block, ty, result),
            }
            self.close_scope(scope);
            self.fb.jump(end);
            self.fb.bind(next);
        }
        if self.fb.is_reachable() {
            let null = self.null(None);
            self.convert_into(null, ty, result.reg);
        }
        self.fb.bind(end);
        self.done(value);
        result
    }

    /// A block gives the value of its last statement where that is an expression, else null.
    fn arm_block(&mut self, block: crate::syntax::ast::Block, ty: TyId, result: Val) {
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
            let value = match last {
                Some(value) => self.expr(value, None),
                None => self.null(None),
            };
            self.convert_into(value, ty, result.reg);
        }
        self.close_scope(scope);
    }

    /// Jumps to `fail` unless the pattern matches; binds its variables.
    fn pattern(&mut self, id: PatId, value: Val, fail: Label) {
        let pattern = self.cx.program[id];
        match pattern.kind {
            PatternKind::Error | PatternKind::Wildcard => {}
            PatternKind::Literal(literal) => {
                if self.is_none_literal(literal) {
                    self.require_null(value, fail);
                    return;
                }
                let other = self.expr(literal, None);
                let flag = self.operator(BinaryOp::Equal, value, other, TyId::BOOL, None);
                self.jump_on(flag, false, fail, false);
            }
            PatternKind::Name { bind, .. } => match self.cx.resolution.pattern(id) {
                Resolved::Variant(ctor) => {
                    self.variant(ctor, value, fail);
                }
                Resolved::Struct(of) => {
                    let record = self.cx.structs[of.index()];
                    self.record_test(record, value, fail);
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
                        let record = self.variant(ctor, value, fail);
                        let types = self.cx.types.ctor_fields(ctor).to_vec();
                        self.fields(record, &types, &args, fail);
                    }
                    Resolved::Struct(of) => {
                        let record = self.cx.structs[of.index()];
                        let record = self.record_test(record, value, fail);
                        let types = self.cx.types.fields(of).to_vec();
                        self.fields(record, &types, &args, fail);
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

    /// Tests for a variant; gives the record.
    fn variant(&mut self, ctor: CtorId, value: Val, fail: Label) -> Val {
        let record = self.cx.ctors[ctor.index()];
        let union = self.cx.resolution.ctors[ctor.index()].union;
        if self.ty(value.ty) == (Ty { kind: TyKind::Union(union), nullable: false }) {
            let tag = self.fb.int();
            self.fb.record_tag(tag, value.reg);
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
            self.fb.free(tag);
            return self.as_record(record, value);
        }
        self.record_test(record, value, fail)
    }

    fn record_test(&mut self, record: RecordId, value: Val, fail: Label) -> Val {
        let cell = self.cell_of(HeapType::Record(record));
        let boxed = self.boxed(value);
        let flag = self.fb.int();
        self.fb.cell_test(flag, boxed.reg, cell);
        self.fb.unless_branch(flag, fail);
        self.fb.free(flag);
        self.as_record(record, boxed)
    }

    fn as_record(&mut self, record: RecordId, value: Val) -> Val {
        let cell = self.cell_of(HeapType::Record(record));
        let reg = self.fb.cell(cell);
        self.fb.cell_cast(reg, value.reg, cell);
        Val { reg, ty: TyId::ANY, temp: true }
    }

    /// Matches the fields of a record in order; missing patterns match anything.
    fn fields(&mut self, record: Val, types: &[TyId], patterns: &[PatId], fail: Label) {
        if patterns.len() > types.len() {
            self.fb.jump(fail);
        }
        for (i, (&pattern, &ty)) in patterns.iter().zip(types).enumerate() {
            if matches!(self.cx.program[pattern].kind, PatternKind::Wildcard) {
                continue;
            }
            let reg = self.reg(ty);
            self.load_field(reg, record.reg, i as u16, ty);
            let val = Val { reg, ty, temp: false };
            self.pattern(pattern, val, fail);
            self.fb.free(reg);
        }
        self.done(record);
    }
}
