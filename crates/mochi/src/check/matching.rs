//! `match`: patterns, arms that are never reached. What arms leave out is found in `exhaustive`.

use std::collections::HashSet;

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Arm, Body, ExprId, ExprKind, Ident, List, Name, PatId, PatternKind};

use super::types::{Kind, StructId, Ty};
use super::{Check, Checker, Stop, error, stop};

/// A literal as a pattern. Floats compare by their bits, which is finer than `==` and so reports nothing wrongly.
#[derive(PartialEq, Eq, Hash)]
enum Literal {
    Int(i64),
    Float(u64),
    Bool(bool),
    Str(Name),
    None,
}

/// What the arms so far cover.
#[derive(Default)]
struct Covered {
    everything: bool,
    variants: HashSet<StructId>,
    literals: HashSet<Literal>,
}

impl Checker<'_> {
    /// `match subject { .. }`
    pub(super) fn match_expr(
        &mut self,
        id: ExprId,
        subject: ExprId,
        arms: List<Arm>,
        expected: Option<Ty>,
    ) -> Check<Ty> {
        let ast = self.ast;
        let mut ty = self.expr(subject, None)?;
        let none =
            |arm: &Arm| matches!(ast[arm.pattern].kind, PatternKind::Literal(value) if self.is_none(value));
        if ast[arms].iter().any(none) {
            ty = self.untested(subject, ty);
        }
        let mut covered = Covered::default();
        let mut result = None;
        for arm in &ast[arms] {
            let place = ast[arm.pattern].span;
            if covered.everything {
                let message = "this arm is never reached: an arm above takes everything";
                return error(Code::T054, place, message);
            }
            let mark = self.scope.enter();
            self.arm_pattern(arm.pattern, ty, &mut covered, place)?;
            self.learn_from_arm(subject, arm.pattern);
            match arm.body {
                Body::Expr(value) => {
                    let value = self.expr(value, expected)?;
                    match result {
                        None => result = Some(value),
                        Some(first) if !self.types.unify(first, value) => {
                            let fitting = expected.filter(|&expected| self.types.assignable(value, expected));
                            let joined = fitting.or_else(|| self.types.common(first, value));
                            if self.strict() || joined.is_none() {
                                return Err(self.mismatch(first, value, place));
                            }
                            result = joined;
                        }
                        // The first may be `none`, which says less than the second.
                        Some(first) if !self.strict() => {
                            result = self.types.common(first, value).or(result);
                        }
                        Some(_) => {}
                    }
                }
                Body::Block(body) => {
                    // Upstream lets no loop reach into an arm.
                    let in_loop = self.in_loop;
                    self.in_loop &= !self.strict();
                    self.block(body)?;
                    self.in_loop = in_loop;
                }
            }
            self.scope.leave(mark);
        }
        if let (Kind::Union(union), false) = (self.types.kind(ty), covered.everything) {
            let missing = if self.strict() {
                let variants = self.types.union_info(union).variants.iter();
                let missing = variants.filter(|variant| !covered.variants.contains(variant));
                let name = |&variant| self.text_of(self.types.struct_info(variant).name);
                missing.map(|variant| format!("`{}`", name(variant))).collect()
            } else {
                self.unhandled(ty, &ast[arms])
            };
            if !missing.is_empty() {
                let message =
                    format!("this match on {} does not handle {}", self.show(ty), missing.join(", "));
                let diagnostic = Diagnostic::error(Code::T050, self.place(id), message);
                return stop(diagnostic.with_label(self.place(subject), self.of_type(ty)));
            }
        }
        Ok(result.unwrap_or(Ty::ANY))
    }

    /// A pattern of an arm, against a subject of type `ty`.
    fn arm_pattern(&mut self, id: PatId, ty: Ty, covered: &mut Covered, place: Span) -> Check<()> {
        let ast = self.ast;
        match ast[id].kind {
            PatternKind::Error => Err(Stop::Silent),
            PatternKind::Wildcard => {
                covered.everything = true;
                Ok(())
            }
            PatternKind::Literal(value) => {
                self.literal_pattern(value, ty, place)?;
                let literal = match ast[value].kind {
                    ExprKind::Int(value) => Literal::Int(value),
                    ExprKind::Float(value) => Literal::Float(value.to_bits()),
                    ExprKind::Bool(value) => Literal::Bool(value),
                    ExprKind::Str(value) => Literal::Str(value),
                    ExprKind::None => Literal::None,
                    _ => return Ok(()),
                };
                if !covered.literals.insert(literal) {
                    return error(
                        Code::T054,
                        place,
                        "this arm is never reached: the same literal stands above",
                    );
                }
                if !self.strict() {
                    let bools = [true, false].map(|value| covered.literals.contains(&Literal::Bool(value)));
                    covered.everything |= ty == Ty::BOOL && bools == [true, true];
                }
                Ok(())
            }
            PatternKind::Name { name, bind } => match self.variant(name) {
                Some(variant) => self.variant_pattern(variant, ty, true, covered, place),
                None if self.strict() => {
                    // For upstream a name that is no variant is an expression.
                    let Some(var) = self.scope.find(name.name) else {
                        let message = format!("there is no variable `{}`", self.text_of(name.name));
                        return error(Code::T002, place, message);
                    };
                    let value = self.scope.current(var);
                    if self.types.unify(ty, value) { Ok(()) } else { Err(self.mismatch(ty, value, place)) }
                }
                None => {
                    covered.everything = true;
                    let ty = match self.types.kind(ty) {
                        Kind::Option(payload) if covered.literals.contains(&Literal::None) => payload,
                        _ => ty,
                    };
                    self.bind_param(ast[bind].name, ty);
                    Ok(())
                }
            },
            PatternKind::Constructor { name, args } => {
                let Some(variant) = self.variant(name) else {
                    if self.strict() {
                        return Ok(());
                    }
                    let message = format!("there is no variant `{}`", self.text_of(name.name));
                    return error(Code::T003, place, message);
                };
                let fields: Vec<Ty> =
                    self.types.struct_info(variant).fields.iter().map(|&(_, ty)| ty).collect();
                if fields.len() != ast[args].len() {
                    let message = format!(
                        "`{}` has {} fields, not {}",
                        self.text_of(name.name),
                        fields.len(),
                        ast[args].len()
                    );
                    return error(Code::T008, place, message);
                }
                // Only a variant with all its values is done with.
                let all = self.strict() || ast[args].iter().all(|&arg| self.takes_everything(arg));
                self.variant_pattern(variant, ty, all, covered, place)?;
                for (&arg, &field) in ast[args].iter().zip(&fields) {
                    self.inner_pattern(arg, field)?;
                }
                Ok(())
            }
        }
    }

    /// The variant or struct that a name in a pattern stands for.
    pub(super) fn variant(&self, name: Ident) -> Option<StructId> {
        let id = self.scope.constructor(name.name)?;
        let info = self.types.struct_info(id);
        (info.union.is_some() || !self.strict()).then_some(id)
    }

    fn variant_pattern(
        &mut self,
        variant: StructId,
        ty: Ty,
        all: bool,
        covered: &mut Covered,
        place: Span,
    ) -> Check<()> {
        let pattern = self.types.struct_ty(variant);
        let subject = match self.types.kind(ty) {
            Kind::Option(payload) if !self.strict() => payload,
            _ => ty,
        };
        if !self.types.unify(subject, pattern) {
            return Err(self.mismatch(ty, pattern, place));
        }
        if covered.variants.contains(&variant) {
            let name = self.text_of(self.types.struct_info(variant).name);
            return error(Code::T054, place, format!("this arm is never reached: `{name}` is handled above"));
        }
        if all {
            covered.variants.insert(variant);
        }
        Ok(())
    }

    fn literal_pattern(&mut self, value: ExprId, ty: Ty, place: Span) -> Check<()> {
        let literal = self.expr(value, None)?;
        // A literal may be compared with the payload of an option.
        let payload = match self.types.kind(ty) {
            Kind::Option(payload) if !self.strict() => payload,
            _ => ty,
        };
        if self.types.unify(ty, literal) || self.types.unify(payload, literal) {
            return Ok(());
        }
        Err(self.mismatch(ty, literal, place))
    }

    /// Whether a pattern inside of another takes all values.
    fn takes_everything(&self, id: PatId) -> bool {
        match self.ast[id].kind {
            PatternKind::Wildcard => true,
            PatternKind::Name { name, .. } => self.variant(name).is_none(),
            _ => false,
        }
    }

    /// A pattern inside of another. Upstream binds the names there and looks at nothing else.
    fn inner_pattern(&mut self, id: PatId, ty: Ty) -> Check<()> {
        let ast = self.ast;
        if let PatternKind::Name { name, bind } = ast[id].kind
            && (self.strict() || self.variant(name).is_none())
        {
            self.bind_param(ast[bind].name, ty);
            return Ok(());
        }
        if self.strict() {
            return Ok(());
        }
        self.arm_pattern(id, ty, &mut Covered::default(), ast[id].span)
    }

    /// In every arm but that of `none` a subject that is a variable has a value, as `none` went elsewhere.
    fn learn_from_arm(&mut self, subject: ExprId, pattern: PatId) {
        let none = matches!(self.ast[pattern].kind, PatternKind::Literal(value) if self.is_none(value));
        let Some(var) = self.ast.as_name(subject).and_then(|name| self.scope.find(name)).filter(|_| !none)
        else {
            return;
        };
        if let Kind::Option(payload) = self.types.kind(self.scope.current(var)) {
            self.scope.learn(var, payload);
        }
    }

    /// The error about a call with effects where none are allowed.
    pub(super) fn impure<T>(
        &self,
        code: Code,
        what: (Name, Span, crate::builtins::Effects),
        clause: &str,
    ) -> Check<T> {
        let (name, place, effects) = what;
        let message = format!(
            "`{}` has the effect {}, which `{clause}` does not allow",
            self.text_of(name),
            effects.text()
        );
        error(code, place, message)
    }
}
