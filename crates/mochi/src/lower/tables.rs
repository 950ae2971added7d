//! List and map literals that are tables: of constants, and only read. `[31, 28, 31][m - 1]` would make a list each time it is evaluated; a
//! table is made once, when the program starts, and stands in a global that has no name.
//!
//! Nobody may hold such a list or map but to read it, and that goes for the lists and maps in it. So its places are those whose result cannot
//! be it: an index or field that gives no list or map, or one that is only read in turn; the list of a loop whose variable is only read;
//! the right side of `in`; `len` and `keys`; and a variable that is never assigned and only used so.

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use upshift_bytecode::ValueType;

use super::Lowerer;
use super::body::Body;
use super::ops::COMPARED;
use crate::builtins::Builtin;
use crate::infer::{CallKind, Ty, TyId, TyKind};
use crate::resolve::{Resolved, Storage};
use crate::syntax::ast::{BinaryOp, BindId, Expr, ExprId, ExprKind, MapKey, StmtId, StmtKind, UnaryOp};

/// All tables together have at most so many elements, since a program makes them before it does anything else.
const ELEMENTS: usize = 2000;

/// How deep variables and indices are followed.
const STEPS: u32 = 16;

/// What is done with an expression that is read.
#[derive(Clone, Copy)]
enum Reading {
    /// A part of it is taken.
    Part(ExprId),
    /// A loop runs over its elements.
    Each(BindId),
    /// It is given a name.
    Named(BindId),
    /// What comes out is not in it.
    Done,
}

/// Who reads what.
#[derive(Default)]
struct Readings {
    places: HashMap<ExprId, Reading>,
    /// The places where a variable is named.
    named: HashMap<BindId, Vec<ExprId>>,
    /// The variables whose elements `update` changes.
    updated: HashSet<BindId>,
}

impl Lowerer<'_> {
    /// Finds the literals that are tables, and declares their globals.
    pub(super) fn find_tables(&mut self) {
        let literal = |e: &Expr| matches!(e.kind, ExprKind::List(items) if !items.is_empty());
        let literal =
            |e: &Expr| literal(e) || matches!(e.kind, ExprKind::Map(entries) if !entries.is_empty());
        if !self.program.exprs.iter().any(literal) {
            return;
        }
        let readings = self.readings();
        let mut elements = 0;
        for index in 0..self.program.exprs.len() {
            let id = ExprId::new(index);
            if !literal(&self.program[id]) || !self.reads_only(&readings, id, STEPS) {
                continue;
            }
            let ty = self.types.expr(id);
            let Some(count) = self.constants_in(id, ty) else { continue };
            elements += count;
            if elements > ELEMENTS {
                break;
            }
            let cell = self.cell(ty);
            let global = self.module.global("a table", ValueType::Cell(cell));
            self.tables.insert(id, global);
        }
    }

    fn readings(&self) -> Readings {
        let mut all = Readings::default();
        let mut targets: HashSet<ExprId> = HashSet::default();
        for (index, stmt) in self.program.stmts.iter().enumerate() {
            match stmt.kind {
                StmtKind::Assign { target, .. } => {
                    targets.insert(target);
                }
                StmtKind::Update { .. } => {
                    let target = self.resolution.update(StmtId::new(index)).map(|info| info.target);
                    if let Some(Resolved::Bind(bind)) = target {
                        all.updated.insert(self.resolution.slot(bind));
                    }
                }
                StmtKind::ForIn { bind, items, .. } => {
                    all.places.insert(items, Reading::Each(bind));
                }
                StmtKind::Let { bind, value: Some(value) } => {
                    all.places.insert(value, Reading::Named(bind));
                }
                _ => {}
            }
        }
        for index in 0..self.program.exprs.len() {
            let id = ExprId::new(index);
            if let Some(slot) = self.variable_slot(id) {
                all.named.entry(slot).or_default().push(id);
            }
            match self.program[id].kind {
                ExprKind::Index { base, .. } | ExprKind::Field { base, .. } if !targets.contains(&id) => {
                    all.places.insert(base, Reading::Part(id));
                }
                // Few elements are compared one by one.
                ExprKind::Binary { op: BinaryOp::In, right, .. } => match self.program[right].kind {
                    ExprKind::List(items) if items.len() <= COMPARED => {}
                    _ => {
                        all.places.insert(right, Reading::Done);
                    }
                },
                ExprKind::Call { args, .. }
                    if matches!(self.types.call(id), CallKind::Builtin(Builtin::Len | Builtin::Keys)) =>
                {
                    all.places.extend(self.program[args].iter().map(|&arg| (arg, Reading::Done)));
                }
                _ => {}
            }
        }
        all
    }

    /// Whether an expression's list or map, and those in it, are only read.
    fn reads_only(&self, readings: &Readings, id: ExprId, steps: u32) -> bool {
        let Some(steps) = steps.checked_sub(1) else { return false };
        match readings.places.get(&id) {
            Some(Reading::Done) => true,
            Some(&Reading::Part(part)) => {
                self.is_scalar(self.types.expr(part)) || self.reads_only(readings, part, steps)
            }
            Some(&Reading::Each(bind)) => {
                self.is_scalar(self.types.bind(self.resolution.slot(bind)))
                    || self.named_to_read(readings, bind, steps)
            }
            Some(&Reading::Named(bind)) => {
                let slot = self.resolution.slot(bind);
                // A global's literal is evaluated once.
                let once = self.resolution.bind(slot).storage == Storage::Global
                    && matches!(self.program[id].kind, ExprKind::List(_) | ExprKind::Map(_));
                !once
                    && self.types.bind(slot) == self.types.expr(id)
                    && self.named_to_read(readings, bind, steps)
            }
            None => false,
        }
    }

    /// Whether what a variable holds, and what is in that, is only read. It is never assigned.
    fn named_to_read(&self, readings: &Readings, bind: BindId, steps: u32) -> bool {
        let slot = self.resolution.slot(bind);
        let none = Vec::new();
        let uses = readings.named.get(&slot).unwrap_or(&none);
        slot == bind
            && !readings.updated.contains(&slot)
            && self.resolution.bind(slot).assignments == 0
            && uses.iter().all(|&id| self.reads_only(readings, id, steps))
    }

    /// Whether values of a type are numbers, booleans, strings or none.
    fn is_scalar(&self, ty: TyId) -> bool {
        matches!(self.types.get(ty).kind, TyKind::Int | TyKind::Float | TyKind::Bool | TyKind::String)
    }

    /// The type of a constant: of a literal, one with a sign, or the name of one.
    pub(super) fn constant_type(&self, id: ExprId) -> Option<TyId> {
        match self.kind(id) {
            ExprKind::Unary { op: UnaryOp::Neg, operand } => match self.kind(operand) {
                ExprKind::Int(_) => Some(TyId::INT),
                ExprKind::Float(_) => Some(TyId::FLOAT),
                _ => None,
            },
            ExprKind::Int(_) => Some(TyId::INT),
            ExprKind::Float(_) => Some(TyId::FLOAT),
            ExprKind::Bool(_) => Some(TyId::BOOL),
            ExprKind::Str(_) => Some(TyId::STRING),
            _ => None,
        }
    }

    /// How many constants a literal of a list or map has, those in literals in it included, if it has nothing else and all are of the types
    /// of its elements.
    fn constants_in(&self, id: ExprId, ty: TyId) -> Option<usize> {
        if self.types.expr(id) != ty {
            return None;
        }
        match (self.program[id].kind, self.types.get(ty)) {
            (ExprKind::List(items), Ty { kind: TyKind::List(element), nullable: false }) => {
                self.program[items].iter().map(|&item| self.constants_of(item, element)).sum()
            }
            (ExprKind::Map(entries), Ty { kind: TyKind::Map(key, value), nullable: false }) => {
                let entries = self.program[entries].iter();
                entries
                    .map(|entry| {
                        let keyed = match entry.key {
                            MapKey::Name(_) => key == TyId::STRING,
                            MapKey::Expr(id) => self.constant_type(id) == Some(key),
                        };
                        self.constants_of(entry.value, value).filter(|_| keyed).map(|count| count + 1)
                    })
                    .sum()
            }
            _ => None,
        }
    }

    /// As [`Self::constants_in`], of a part of a literal.
    fn constants_of(&self, id: ExprId, ty: TyId) -> Option<usize> {
        match self.constant_type(id) {
            Some(own) => (own == ty || (own, ty) == (TyId::INT, TyId::FLOAT)).then_some(1),
            None => self.constants_in(id, ty),
        }
    }
}

impl Body<'_, '_> {
    /// Makes the tables.
    pub(super) fn start_tables(&mut self) {
        let mut tables: Vec<_> = self.cx.tables.iter().map(|(&id, &global)| (id, global)).collect();
        tables.sort_unstable();
        for (id, global) in tables {
            let ty = self.expr_ty(id);
            let table = match self.cx.program[id].kind {
                ExprKind::List(items) => self.new_list_of(id, items, ty),
                ExprKind::Map(entries) => self.new_map_of(entries, ty),
                _ => continue,
            };
            self.fb.global_cell_set(table.reg, global);
            self.done(table);
        }
    }
}
