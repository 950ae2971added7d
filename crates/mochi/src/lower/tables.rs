//! List literals that are tables: of constants, and only read. `[31, 28, 31][m - 1]` would make a list each time it is evaluated; a
//! table is made once, when the program starts, and stands in a global that has no name.
//!
//! Nobody may hold such a list but to read it, so its places are those whose result cannot be the list itself: an index, a loop's
//! list, the right side of `in`, and a variable that is never assigned and only used so, or for its length.

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use upshift_bytecode::ValueType;

use super::Lowerer;
use super::body::Body;
use super::ops::COMPARED;
use crate::builtins::Builtin;
use crate::infer::{CallKind, Ty, TyId, TyKind};
use crate::resolve::Storage;
use crate::syntax::ast::{BinaryOp, BindId, BindKind, ExprId, ExprKind, StmtKind, UnaryOp};

/// All tables together have at most so many elements, since a program makes them before it does anything else.
const ELEMENTS: usize = 2000;

impl Lowerer<'_> {
    /// Finds the literals that are tables, and declares their globals.
    pub(super) fn find_tables(&mut self) {
        let mut found: Vec<ExprId> = Vec::new();
        // How often a variable is named at all.
        let mut named: HashMap<BindId, u32> = HashMap::default();
        let mut targets: HashSet<ExprId> = HashSet::default();
        for stmt in &self.program.stmts {
            match stmt.kind {
                StmtKind::Assign { target, .. } => {
                    targets.insert(target);
                }
                StmtKind::ForIn { items, .. } => found.push(items),
                _ => {}
            }
        }
        for index in 0..self.program.exprs.len() {
            let id = ExprId::new(index);
            if let Some(slot) = self.variable_slot(id) {
                *named.entry(slot).or_default() += 1;
            }
            match self.program[id].kind {
                ExprKind::Index { base, .. } if !targets.contains(&id) => found.push(base),
                // Few elements are compared one by one.
                ExprKind::Binary { op: BinaryOp::In, right, .. } => match self.program[right].kind {
                    ExprKind::List(items) if items.len() <= COMPARED => {}
                    _ => found.push(right),
                },
                ExprKind::Call { args, .. } if self.types.call(id) == CallKind::Builtin(Builtin::Len) => {
                    found.extend(self.program[args].iter().copied());
                }
                _ => {}
            }
        }
        let mut read: HashMap<BindId, u32> = HashMap::default();
        found.retain(|&id| match self.variable_slot(id) {
            Some(slot) => {
                *read.entry(slot).or_default() += 1;
                false
            }
            None => true,
        });
        for stmt in &self.program.stmts {
            let StmtKind::Let { bind, value: Some(value) } = stmt.kind else { continue };
            let slot = self.resolution.slot(bind);
            let info = self.resolution.bind(slot);
            // A global's literal is evaluated once.
            let fits = slot == bind
                && info.kind == BindKind::Let
                && info.assignments == 0
                && info.storage != Storage::Global
                && self.types.bind(slot) == self.types.expr(value);
            if fits && read.contains_key(&slot) && named.get(&slot) == read.get(&slot) {
                found.push(value);
            }
        }
        found.sort_unstable();
        found.dedup();
        let mut elements = 0;
        for id in found {
            let Some(count) = self.constants_in(id) else { continue };
            elements += count;
            if elements > ELEMENTS {
                break;
            }
            let cell = self.cell(self.types.expr(id));
            let global = self.module.global("a table", ValueType::Cell(cell));
            self.tables.insert(id, global);
        }
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

    /// How many constants a list literal has, of the type of its elements, if it has nothing else.
    fn constants_in(&self, id: ExprId) -> Option<usize> {
        let ExprKind::List(items) = self.program[id].kind else { return None };
        let Ty { kind: TyKind::List(element), nullable: false } = self.types.get(self.types.expr(id)) else {
            return None;
        };
        if !matches!(element, TyId::INT | TyId::FLOAT | TyId::BOOL | TyId::STRING) {
            return None;
        }
        let constant = |&item: &ExprId| {
            let ty = self.constant_type(item);
            ty == Some(element) || (ty, element) == (Some(TyId::INT), TyId::FLOAT)
        };
        let items = &self.program[items];
        (!items.is_empty() && items.iter().all(constant)).then_some(items.len())
    }
}

impl Body<'_, '_> {
    /// Makes the tables.
    pub(super) fn start_tables(&mut self) {
        let mut tables: Vec<_> = self.cx.tables.iter().map(|(&id, &global)| (id, global)).collect();
        tables.sort_unstable();
        for (id, global) in tables {
            let ExprKind::List(items) = self.cx.program[id].kind else { continue };
            let list = self.new_list_of(id, items, self.expr_ty(id));
            self.fb.global_cell_set(list.reg, global);
            self.done(list);
        }
    }
}
