//! What tests before a place prove there: that a variable is not none, and that a map has a key.
//!
//! Facts about variables that nothing but the function itself assigns *last*: calls keep them, and an assignment drops those of its
//! variable. Others end with the next call of something that may run code of the program, and where a loop begins. That a map has a key
//! stays true as long as the names mean the same objects, for maps never lose keys.

use crate::builtins::Builtin;
use crate::resolve::{Resolution, Resolved};
use crate::syntax::ast::{BinaryOp, BindId, Expr, ExprId, ExprKind, FunId, Name, Program, UnaryOp};

/// A key that can be compared before the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Bind(BindId),
    Str(Name),
    Int(i64),
}

/// What is known at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fact {
    /// The variable is not none.
    NonNull(BindId),
    /// The map in the variable has the key.
    Has(BindId, Key),
}

impl Fact {
    fn is_about(self, bind: BindId) -> bool {
        match self {
            Fact::NonNull(it) => it == bind,
            Fact::Has(map, key) => map == bind || key == Key::Bind(bind),
        }
    }
}

/// More facts than this are not kept; tests nest less deeply.
const LIMIT: usize = 48;

/// The facts of a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts(Vec<Fact>);

impl Facts {
    pub(super) fn has(&self, fact: Fact) -> bool {
        self.0.contains(&fact)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, fact: Fact) {
        if self.0.len() < LIMIT && !self.has(fact) {
            self.0.push(fact);
        }
    }

    /// The variable gets another value.
    pub(super) fn forget(&mut self, bind: BindId) {
        self.0.retain(|fact| !fact.is_about(bind));
    }

    /// Keeps what holds in both.
    pub(super) fn meet(&mut self, other: &Facts) {
        self.0.retain(|fact| other.0.contains(fact));
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(BindId) -> bool) {
        self.0.retain(|fact| match *fact {
            Fact::NonNull(bind) => keep(bind),
            Fact::Has(map, key) => {
                keep(map)
                    && match key {
                        Key::Bind(bind) => keep(bind),
                        _ => true,
                    }
            }
        });
    }
}

/// Finds facts in conditions.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub program: &'a Program,
    pub resolution: &'a Resolution,
    /// The function that the place is in.
    pub fun: Option<FunId>,
    /// Where calls stand that may run code of the program, in order.
    pub calls: &'a [u32],
}

/// Where calls stand that may run code of the program, in order.
pub(super) fn calls(program: &Program, resolution: &Resolution) -> Vec<u32> {
    let call = |expr: &Expr| match expr.kind {
        ExprKind::Call { callee, .. } => runs_code(resolution, callee),
        _ => false,
    };
    let mut calls: Vec<u32> = program.exprs.iter().filter(|e| call(e)).map(|e| e.span.start).collect();
    calls.sort_unstable();
    calls
}

/// Whether a call may run code of the program: builtins do not, but for those that take functions.
pub(super) fn runs_code(resolution: &Resolution, callee: ExprId) -> bool {
    let Some(names) = resolution.callee(callee) else { return true };
    let quiet =
        matches!(names.otherwise, Resolved::Builtin(b) if !matches!(b, Builtin::Reduce | Builtin::Eval));
    !quiet || !resolution.candidates(names).is_empty()
}

impl Reader<'_> {
    /// The slot of the variable of a name expression.
    pub(super) fn variable(&self, id: ExprId) -> Option<BindId> {
        if !matches!(self.program[id].kind, ExprKind::Name(_)) {
            return None;
        }
        let Resolved::Bind(bind) = self.resolution.name(id) else { return None };
        Some(self.resolution.slot(bind))
    }

    /// Whether facts about a slot last: only the function at hand assigns it.
    pub(super) fn lasts(&self, slot: BindId) -> bool {
        let info = self.resolution.bind(slot);
        info.assignments == 0 || !info.assigned_inside && info.fun == self.fun
    }

    /// Whether a call in an expression may run code of the program.
    pub(super) fn has_call(&self, id: ExprId) -> bool {
        let span = self.program[id].span;
        let first = self.calls.partition_point(|&call| call < span.start);
        self.calls.get(first).is_some_and(|&call| call < span.end)
    }

    /// Drops the facts that end with a call.
    pub(super) fn call(&self, facts: &mut Facts) {
        facts.retain(|slot| self.lasts(slot));
    }

    /// A key that can be told again.
    pub(super) fn key(&self, id: ExprId) -> Option<Key> {
        match self.program[id].kind {
            ExprKind::Str(text) => Some(Key::Str(text)),
            ExprKind::Int(number) => Some(Key::Int(number)),
            ExprKind::Name(_) => self.variable(id).map(Key::Bind),
            _ => None,
        }
    }

    fn is_null(&self, id: ExprId) -> bool {
        match self.program[id].kind {
            ExprKind::None => true,
            ExprKind::Name(_) => self.resolution.name(id) == Resolved::Undeclared,
            _ => false,
        }
    }

    fn is_literal(&self, id: ExprId) -> bool {
        use ExprKind::{Bool, Float, Int, List, Map, Str};
        matches!(self.program[id].kind, Int(_) | Float(_) | Bool(_) | Str(_) | List(_) | Map(_))
    }

    /// Adds what holds where the condition turned out so.
    pub(super) fn learn(&self, facts: &mut Facts, condition: ExprId, truth: bool) {
        if self.has_call(condition) {
            // A part of the condition may have been found out before the call.
            let mut new = Facts::default();
            self.learn_all(&mut new, condition, truth);
            self.call(&mut new);
            new.0.into_iter().for_each(|fact| facts.add(fact));
        } else {
            self.learn_all(facts, condition, truth);
        }
    }

    fn learn_all(&self, facts: &mut Facts, condition: ExprId, truth: bool) {
        let mut work = vec![(condition, truth)];
        while let Some((id, truth)) = work.pop() {
            match self.program[id].kind {
                ExprKind::Unary { op: UnaryOp::Not, operand } => work.push((operand, !truth)),
                ExprKind::Binary { op, left, right, .. } => match (op, truth) {
                    (BinaryOp::And, true) | (BinaryOp::Or, false) => {
                        work.extend([(left, truth), (right, truth)])
                    }
                    (BinaryOp::Equal, false) | (BinaryOp::NotEqual, true) => {
                        if self.is_null(right) {
                            self.not_null(facts, left);
                        } else if self.is_null(left) {
                            self.not_null(facts, right);
                        }
                    }
                    (BinaryOp::Equal, true) | (BinaryOp::NotEqual, false) => {
                        if self.is_literal(right) {
                            self.not_null(facts, left);
                        } else if self.is_literal(left) {
                            self.not_null(facts, right);
                        }
                    }
                    // A comparison with none is false.
                    (
                        BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual,
                        true,
                    ) => {
                        self.not_null(facts, left);
                        self.not_null(facts, right);
                    }
                    (BinaryOp::In, true) => {
                        if let (Some(map), Some(key)) = (self.variable(right), self.key(left)) {
                            facts.add(Fact::Has(map, key));
                        }
                    }
                    _ => {}
                },
                ExprKind::Name(_) if truth => self.not_null(facts, id),
                _ => {}
            }
        }
    }

    fn not_null(&self, facts: &mut Facts, id: ExprId) {
        if let Some(bind) = self.variable(id) {
            facts.add(Fact::NonNull(bind));
        } else if let ExprKind::Index { base, index, .. } = self.program[id].kind
            && let (Some(map), Some(key)) = (self.variable(base), self.key(index))
        {
            facts.add(Fact::Has(map, key));
        }
    }
}
