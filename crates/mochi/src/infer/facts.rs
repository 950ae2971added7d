//! What tests before a place prove there: that a variable is not none, and that a map has a key.
//!
//! Facts are about variables that nothing but the function itself assigns, so calls keep them; an assignment drops those
//! of its variable. That a map has a key stays true as long as the names mean the same objects, for maps never
//! lose keys.

use crate::resolve::{Resolution, Resolved};
use crate::syntax::ast::{BinaryOp, BindId, ExprId, ExprKind, FunId, Name, Program, UnaryOp};

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
}

impl Reader<'_> {
    /// The variable of a name expression, if facts about it last.
    pub(super) fn variable(&self, id: ExprId) -> Option<BindId> {
        if !matches!(self.program[id].kind, ExprKind::Name(_)) {
            return None;
        }
        let Resolved::Bind(bind) = self.resolution.name(id) else { return None };
        self.lasting(bind)
    }

    /// The slot of a variable, if only the function at hand assigns it.
    pub(super) fn lasting(&self, bind: BindId) -> Option<BindId> {
        let slot = self.resolution.slot(bind);
        let info = self.resolution.bind(slot);
        let lasts = info.assignments == 0 || !info.assigned_inside && info.fun == self.fun;
        lasts.then_some(slot)
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
