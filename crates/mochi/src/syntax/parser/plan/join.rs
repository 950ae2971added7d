//! Joins: loops over the rows that go together.
//!
//! What goes with a row is found by trying each candidate. Where the condition begins with the equality of a candidate's field and of
//! something else, only candidates with an equal key are tried, though by the whole condition: a plan with *lookups*.
//!
//! ```text
//! join b in bs on a.x == b.y
//!
//! if len(links) == 0 { for b in bs { rows = append(rows, b) }   links = links of(rows) }
//! var j = if len(rows) > 0 { first of(links, rows, a.x, "y") } else { -1 }
//! while j >= 0 { let b = rows[j]   if a.x == b.y { .. }   j = links[j] }
//! ```
//!
//! `links` leads from each row to the next one, at first to all of them; once many rows have been looked for, the library makes it a
//! hash table with chains. The candidates are evaluated where the first row needs them, as without lookups.

use super::{Clause, Planner};
use crate::builtins::Builtin;
use crate::syntax::ast::{
    BinaryOp, BindKind, Choice, ExprId, ExprKind, JoinKind, Name, Program, StmtId, StmtKind,
};

/// How the rows of a clause are found that may go with another one.
#[derive(Clone, Copy)]
pub(super) struct Lookup {
    /// The key that is looked for, in the condition.
    probe: ExprId,
    /// The fields that lead to the keys of candidates, with dots between them.
    path: Name,
    /// The clause that has the candidates.
    of: usize,
    /// The list of the candidates of `from`, inner and left joins.
    rows: Name,
    links: Name,
}

/// The fields that lead from a variable to an expression, outermost first, and the variable.
fn path(ast: &Program, mut expr: ExprId) -> Option<(Name, Vec<Name>)> {
    let mut path = Vec::new();
    loop {
        expr = match ast[expr].kind {
            ExprKind::Name(name) => return Some((name, path)),
            ExprKind::Field { base, name, .. } => {
                path.push(name.name);
                base
            }
            ExprKind::Index { base, index, .. } => {
                let ExprKind::Str(name) = ast[index].kind else { return None };
                path.push(name);
                base
            }
            _ => return None,
        };
    }
}

/// The first of the conditions that `&&` joins.
fn first_condition(ast: &Program, mut cond: ExprId) -> ExprId {
    while let ExprKind::Binary { op: BinaryOp::And, left, .. } = ast[cond].kind {
        cond = left;
    }
    cond
}

impl Planner<'_> {
    // ---- Lookups ----

    /// Finds out which clauses can have lookups; whether one can.
    pub(super) fn find_lookups(&mut self, clauses: &mut [Clause], filter: Option<ExprId>) -> bool {
        let mut found = false;
        for at in 1..clauses.len() {
            let condition = match clauses[at].join {
                Some((_, on)) => Some(on),
                // All rows of the last source meet the condition of the query.
                None => filter.filter(|_| at + 1 == clauses.len()),
            };
            if let Some(condition) = condition {
                clauses[at].lookup = self.lookup(&clauses[..=at], condition);
                found |= clauses[at].lookup.is_some();
            }
        }
        found
    }

    /// The lookup of the last of the clauses, which has this condition.
    fn lookup(&mut self, clauses: &[Clause], condition: ExprId) -> Option<Lookup> {
        let (last, before) = clauses.split_last()?;
        let first = first_condition(self.ast, condition);
        let ExprKind::Binary { op: BinaryOp::Equal, left, right, .. } = self.ast[first].kind else {
            return None;
        };
        // A right join looks for rows on its left.
        let is_right = matches!(last.join, Some((JoinKind::Right, _)));
        let candidates = if is_right { before } else { std::slice::from_ref(last) };
        let names: Vec<Name> = candidates.iter().map(|clause| clause.name).collect();
        let (probe, of, path) = [(left, right), (right, left)].into_iter().find_map(|(probe, key)| {
            let (variable, path) = path(self.ast, key)?;
            // Of variables of one name the last one is meant.
            let at = names.iter().rposition(|&name| name == variable)?;
            let of = if is_right { at } else { before.len() };
            self.is_plain(probe, &names).then_some((probe, of, path))
        })?;
        // What the other kinds keep of their sources does not depend on rows either.
        let kept = matches!(last.join, Some((JoinKind::Right | JoinKind::Outer, _)));
        if !kept && !self.is_fixed(last.source, before) {
            return None;
        }
        let path: Vec<&str> = path.iter().rev().map(|&name| &self.names[name]).collect();
        if path.iter().any(|name| name.contains('.')) {
            return None;
        }
        let path = path.join(".");
        let path = self.names.intern(&path);
        let [rows, links] = ["rows", "links"].map(|what| self.own(&format!("{what} {}", before.len())));
        Some(Lookup { probe, path, of, rows, links })
    }

    /// Whether an expression is a variable, a field or a constant, and none of these variables.
    fn is_plain(&self, expr: ExprId, but: &[Name]) -> bool {
        match self.ast[expr].kind {
            ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Bool(_) | ExprKind::Str(_) => true,
            _ => path(self.ast, expr).is_some_and(|(variable, _)| !but.contains(&variable)),
        }
    }

    /// Whether a source is the same for all rows of the clauses before it.
    fn is_fixed(&self, source: ExprId, before: &[Clause]) -> bool {
        let names: Vec<Name> = before.iter().map(|clause| clause.name).collect();
        self.is_plain(source, &names)
    }

    /// Declares the variables of lookups.
    pub(super) fn declare_lookups(&mut self, clauses: &[Clause]) -> Vec<StmtId> {
        let names =
            clauses.iter().filter_map(|clause| clause.lookup).flat_map(|known| [known.rows, known.links]);
        names.map(|name| self.declare_list(name)).collect()
    }

    /// `links = links of(rows)`
    fn link(&mut self, links: Name, rows: Name) -> StmtId {
        let rows = self.get(rows);
        let value = self.call(Builtin::LinksOf, &[rows]);
        self.assign(links, value)
    }

    /// Runs `body`, with `at` as the number of the row, for all `rows` that may go with the current one.
    fn look_up(&mut self, lookup: Lookup, rows: Name, at: Name, mut body: Vec<StmtId>) -> [StmtId; 2] {
        let (list, links, path) =
            (self.get(rows), self.get(lookup.links), self.expr(ExprKind::Str(lookup.path)));
        let probe = self.copy(lookup.probe);
        let first = self.call(Builtin::FirstOf, &[links, list, probe, path]);
        let (is_empty, none) = (self.is_empty(rows), self.int(-1));
        let choices = self.ast.add_list([Choice { cond: is_empty, value: none }]);
        let start = self.expr(ExprKind::If { choices, otherwise: Some(first) });
        let next = self.element(lookup.links, at);
        body.push(self.assign(at, next));
        let (here, zero) = (self.get(at), self.int(0));
        let cond = self.binary(BinaryOp::GreaterEqual, here, zero);
        let body = self.block(body);
        [self.declare_var(at, start), self.stmt(StmtKind::While { cond, body })]
    }

    /// The same expression once more. It is [plain](Self::is_plain).
    fn copy(&mut self, expr: ExprId) -> ExprId {
        let mut node = self.ast[expr];
        if let ExprKind::Field { base, .. } = &mut node.kind {
            *base = self.copy(*base);
        } else if let ExprKind::Index { base, index, .. } = &mut node.kind {
            (*base, *index) = (self.copy(*base), self.copy(*index));
        }
        self.ast.add(node)
    }

    /// Runs `body` for all rows of a clause, or those that may go with the current one.
    pub(super) fn partners(&mut self, last: Clause, body: Vec<StmtId>) -> Vec<StmtId> {
        let Some(lookup) = last.lookup else { return vec![self.each(last.bind, last.source, body)] };
        let keep = vec![self.push(lookup.rows, last.name)];
        let fill = vec![self.each(last.bind, last.source, keep), self.link(lookup.links, lookup.rows)];
        let is_new = self.is_empty(lookup.links);
        let at = self.own("candidate");
        let mut turn = vec![self.take_row(last.name, lookup.rows, at, false)];
        turn.extend(body);
        let [start, search] = self.look_up(lookup, lookup.rows, at, turn);
        vec![self.when(is_new, fill), start, search]
    }

    // ---- Kinds ----

    /// The partners of a row, or none where there is none.
    pub(super) fn left_join(&mut self, last: Clause, on: ExprId, body: Vec<StmtId>) -> Vec<StmtId> {
        let partners = self.own("partners");
        let candidate = self.bind(last.name, BindKind::For);
        let found = vec![self.push(partners, last.name)];
        let test = vec![self.when(on, found)];
        let none = self.expr(ExprKind::None);
        let lonely = vec![self.push_value(partners, none)];
        let list = self.get(partners);
        let is_empty = self.is_empty(partners);
        let mut stmts = vec![self.declare_list(partners)];
        stmts.extend(self.partners(Clause { bind: candidate, ..last }, test));
        stmts.extend([self.when(is_empty, lonely), self.each(last.bind, list, body)]);
        stmts
    }

    /// Keeps the rows of the clauses, a list for each variable, so that they can be run through again.
    fn columns(&mut self, clauses: &[Clause]) -> (Vec<StmtId>, Vec<Name>) {
        let columns: Vec<Name> =
            (0..clauses.len()).map(|i| self.own(&format!("column {} of {}", i, clauses.len()))).collect();
        let mut stmts: Vec<StmtId> = columns.iter().map(|&column| self.declare_list(column)).collect();
        let body = (columns.iter().zip(clauses)).map(|(&column, clause)| self.push(column, clause.name));
        let body = body.collect();
        stmts.extend(self.rows(clauses, body));
        (stmts, columns)
    }

    /// The variables of the clauses as they are in the row of this number.
    fn restore(&mut self, clauses: &[Clause], columns: &[Name], row: Name, or_none: bool) -> Vec<StmtId> {
        let places: Vec<(Name, Name)> =
            clauses.iter().map(|clause| clause.name).zip(columns.iter().copied()).collect();
        places.into_iter().map(|(name, column)| self.take_row(name, column, row, or_none)).collect()
    }

    /// `let name = column[row]`, which is none for the row -1 if `or_none`.
    fn take_row(&mut self, name: Name, column: Name, row: Name, or_none: bool) -> StmtId {
        let missing = or_none.then(|| {
            let (row, zero) = (self.get(row), self.int(0));
            let cond = self.binary(BinaryOp::Less, row, zero);
            let none = self.expr(ExprKind::None);
            Choice { cond, value: none }
        });
        let element = self.element(column, row);
        let value = match missing {
            Some(choice) => {
                let choices = self.ast.add_list([choice]);
                self.expr(ExprKind::If { choices, otherwise: Some(element) })
            }
            None => element,
        };
        self.declare(name, value)
    }

    pub(super) fn right_join(
        &mut self,
        before: &[Clause],
        last: Clause,
        on: ExprId,
        body: Vec<StmtId>,
    ) -> Vec<StmtId> {
        let (partners, row) = (self.own("partners"), self.own("row"));
        let (mut stmts, columns) = self.columns(before);
        let mut test = self.restore(before, &columns, row, false);
        let found = vec![self.push(partners, row)];
        test.push(self.when(on, found));
        let search = match last.lookup {
            Some(lookup) => {
                stmts.push(self.link(lookup.links, columns[lookup.of]));
                self.look_up(lookup, columns[lookup.of], row, test).to_vec()
            }
            None => vec![self.count_through(row, columns[0], test)],
        };
        let minus_one = self.int(-1);
        let lonely = vec![self.push_value(partners, minus_one)];
        let mut inner = self.restore(before, &columns, row, true);
        inner.extend(body);
        let row = self.bind(row, BindKind::For);
        let list = self.get(partners);
        let is_empty = self.is_empty(partners);
        let mut turn = vec![self.declare_list(partners)];
        turn.extend(search);
        turn.extend([self.when(is_empty, lonely), self.each(row, list, inner)]);
        stmts.push(self.each(last.bind, last.source, turn));
        stmts
    }

    pub(super) fn outer_join(
        &mut self,
        before: &[Clause],
        last: Clause,
        on: ExprId,
        body: Vec<StmtId>,
    ) -> Vec<StmtId> {
        let [right, seen, hit] = ["right", "seen", "hit"].map(|name| self.own(name));
        let [lefts, rights, i, j, n] =
            ["lefts", "rights", "left row", "right row", "pair"].map(|name| self.own(name));
        let (mut stmts, columns) = self.columns(before);
        for list in [right, seen, lefts, rights] {
            stmts.push(self.declare_list(list));
        }
        let no = self.expr(ExprKind::Bool(false));
        let copy = vec![self.push(right, last.name), self.push_value(seen, no)];
        stmts.push(self.each(last.bind, last.source, copy));
        // Each row of the left with its partners.
        let mut turn = self.restore(before, &columns, i, false);
        let no = self.expr(ExprKind::Bool(false));
        turn.push(self.declare(hit, no));
        let (yes, also) = (self.expr(ExprKind::Bool(true)), self.expr(ExprKind::Bool(true)));
        let target = self.element(seen, j);
        let found = vec![
            self.assign(hit, yes),
            self.stmt(StmtKind::Assign { target, value: also }),
            self.push(lefts, i),
            self.push(rights, j),
        ];
        let test = vec![self.take_row(last.name, right, j, false), self.when(on, found)];
        match last.lookup {
            Some(lookup) => {
                stmts.push(self.link(lookup.links, right));
                turn.extend(self.look_up(lookup, right, j, test));
            }
            None => turn.push(self.count_through(j, right, test)),
        }
        let minus_one = self.int(-1);
        let lonely = vec![self.push(lefts, i), self.push_value(rights, minus_one)];
        let hit = self.get(hit);
        let missed = self.not(hit);
        turn.push(self.when(missed, lonely));
        stmts.push(self.count_through(i, columns[0], turn));
        // What is left of the right.
        let minus_one = self.int(-1);
        let lonely = vec![self.push_value(lefts, minus_one), self.push(rights, j)];
        let was_seen = self.element(seen, j);
        let missed = self.not(was_seen);
        let rest = vec![self.when(missed, lonely)];
        stmts.push(self.count_through(j, right, rest));
        // All pairs.
        let (left_row, right_row) = (self.element(lefts, n), self.element(rights, n));
        let mut pair = vec![self.declare(i, left_row), self.declare(j, right_row)];
        pair.extend(self.restore(before, &columns, i, true));
        pair.push(self.take_row(last.name, right, j, true));
        pair.extend(body);
        stmts.push(self.count_through(n, lefts, pair));
        stmts
    }
}
