//! What a query does, as statements.
//!
//! A query is kept in two forms. The clauses, as written, are what the checker and the printer see. The *plan* is an expression
//! that computes the same with loops over lists, and [`Program::plan_queries`] puts it in the query's place before the program
//! is resolved to run. Both share the expressions that the clauses hold, so a program must not be walked in both ways at once.
//!
//! ```text
//! from x in xs where c sort by k select e     a block, as a `match` with one arm, in which:
//!
//! var out = []   var keys = []
//! for x in xs { if c { let key = k   let value = e
//!                      out = append(out, value)   keys = append(keys, key) } }
//! sort by(out, keys)
//! ```
//!
//! The plan is made when the query has been read, so that its nodes lie between those of the clauses and the query itself: children
//! keep smaller ids than their parents. All have the span of the query, which tells the analyses that go by the place in the text that
//! anything in the query may run before or after anything else in it. The names of its variables hold a space, and so does the name
//! by which it calls builtins: no program can declare those.

mod join;

use self::join::Lookup;
use super::{Parsed, Parser};
use crate::builtins::Builtin;
use crate::source::Span;
use crate::syntax::ast::{
    Arm, BinaryOp, Bind, BindId, BindKind, Block, Body, Branch, Expr, ExprId, ExprKind, FunId, Ident,
    Interner, JoinKind, MapEntry, MapKey, Name, Patch, Pattern, PatternKind, Program, Query, Stmt, StmtId,
    StmtKind, UnaryOp,
};

impl Parser<'_> {
    /// Makes the plan of a query whose clauses are the expressions from `first` on, and [`Query::keyed`].
    pub(super) fn plan(&mut self, query: &Query, first: usize) -> Parsed<(ExprId, Option<ExprId>)> {
        // Walkers recurse into the loops of the plan.
        let clauses = query.sources.len() + query.joins.len();
        for _ in 0..8 + 4 * clauses + 2 * (clauses - 1) {
            self.grow(query.span)?;
        }
        let number = self.ast.queries.len();
        let (ast, names) = (&mut self.ast, &mut *self.names);
        let mut planner = Planner { ast, names, span: query.span, fun: self.fun, number, first };
        let mut clauses = planner.clauses(query);
        let plan = planner.query(query, &clauses);
        let keyed = planner.find_lookups(&mut clauses, query.filter);
        Ok((plan, keyed.then(|| planner.query(query, &clauses))))
    }
}

/// A `from` or `join` clause.
#[derive(Clone, Copy)]
struct Clause {
    bind: BindId,
    name: Name,
    source: ExprId,
    /// The kind and condition of a join.
    join: Option<(JoinKind, ExprId)>,
    /// How rows that go together are found.
    lookup: Option<Lookup>,
}

struct Planner<'a> {
    ast: &'a mut Program,
    names: &'a mut Interner,
    span: Span,
    fun: Option<FunId>,
    /// Tells the variables of this plan from those of other plans.
    number: usize,
    /// The first expression of the clauses.
    first: usize,
}

impl Planner<'_> {
    fn clauses(&mut self, query: &Query) -> Vec<Clause> {
        let ast = &self.ast;
        let sources = ast[query.sources].iter().map(|source| (source.bind, source.source, None));
        let joins = ast[query.joins].iter().map(|join| (join.bind, join.source, Some((join.kind, join.on))));
        let clauses = sources.chain(joins).map(|(bind, source, join)| {
            let name = ast.bind_name(bind);
            Clause { bind, name, source, join, lookup: None }
        });
        clauses.collect()
    }

    fn query(&mut self, query: &Query, clauses: &[Clause]) -> ExprId {
        let (out, keys) = (self.own("out"), self.own("keys"));
        let mut stmts = vec![self.declare_list(out)];
        if query.sort.is_some() {
            stmts.push(self.declare_list(keys));
        }
        stmts.extend(self.declare_lookups(clauses));
        let row = self.row(query, out, keys);
        if let Some(group) = query.group {
            let keys = self.ast[group.keys].to_vec();
            let grouping = self.grouping(clauses, &keys, query.filter, &mut stmts);
            stmts.extend(self.rows(clauses, grouping));
            stmts.push(self.groups(query, group.into, group.having, row));
        } else {
            let row = match query.filter {
                Some(filter) => vec![self.when(filter, row)],
                None => row,
            };
            stmts.extend(self.rows(clauses, row));
        }
        let value = self.result(query, out, keys);
        stmts.push(self.stmt(StmtKind::Expr(value)));
        self.block_value(stmts)
    }

    /// Adds the value of `select`, and that of `sort by`, to the lists of the results and keys.
    fn row(&mut self, query: &Query, out: Name, keys: Name) -> Vec<StmtId> {
        let (key, value) = (self.own("key of row"), self.own("value"));
        let mut stmts = Vec::new();
        if let Some(sort) = query.sort {
            stmts.push(self.declare(key, sort));
        }
        stmts.push(self.declare(value, query.select));
        stmts.push(self.push(out, value));
        if query.sort.is_some() {
            stmts.push(self.push(keys, key));
        }
        stmts
    }

    /// The list of results, sorted and cut, or what an aggregate makes of it.
    fn result(&mut self, query: &Query, out: Name, keys: Name) -> ExprId {
        let mut value = self.get(out);
        if query.sort.is_some() {
            let keys = self.get(keys);
            value = self.call(Builtin::SortBy, &[value, keys]);
        }
        if query.distinct {
            value = self.call(Builtin::Distinct, &[value]);
        }
        if query.skip.is_some() {
            value = self.expr(ExprKind::Slice { base: value, start: query.skip, end: None, step: None });
        }
        if query.take.is_some() {
            value = self.expr(ExprKind::Slice { base: value, start: None, end: query.take, step: None });
        }
        match (query.group, self.aggregate(query.select)) {
            (None, Some((name, builtin, arg))) => {
                let call = self.call(builtin, &[value]);
                let patch = Patch::Aggregate { name, select: query.select, arg, call, list: value };
                self.ast.add_list([patch]);
                call
            }
            _ => value,
        }
    }

    /// `sum(x)` and its like, as the value of `select`.
    fn aggregate(&self, select: ExprId) -> Option<(Name, Builtin, ExprId)> {
        let ExprKind::Call { callee, args } = self.ast[select].kind else { return None };
        let name = self.ast.as_name(callee)?;
        let &[arg] = &self.ast[args] else { return None };
        let builtin = Builtin::from_name(&self.names[name])?;
        let aggregates =
            matches!(builtin, Builtin::Sum | Builtin::Avg | Builtin::Min | Builtin::Max | Builtin::Count);
        let plain = !matches!(self.ast[arg].kind, ExprKind::Query(_));
        (aggregates && plain).then_some((name, builtin, arg))
    }

    // ---- Rows ----

    /// Runs `body` for each row of the clauses.
    fn rows(&mut self, clauses: &[Clause], body: Vec<StmtId>) -> Vec<StmtId> {
        let Some((&last, before)) = clauses.split_last() else { return body };
        let body = match last.join {
            None => self.partners(last, body),
            Some((JoinKind::Inner, on)) => {
                let body = vec![self.when(on, body)];
                self.partners(last, body)
            }
            Some((JoinKind::Left, on)) => self.left_join(last, on, body),
            Some((JoinKind::Right, on)) => return self.right_join(before, last, on, body),
            Some((JoinKind::Outer, on)) => return self.outer_join(before, last, on, body),
        };
        self.rows(before, body)
    }

    // ---- Groups ----

    /// What a row does in a query with groups: it joins the group of its key, which is told by its text. The lists of
    /// groups are declared in `stmts`.
    fn grouping(
        &mut self,
        clauses: &[Clause],
        keys: &[ExprId],
        filter: Option<ExprId>,
        stmts: &mut Vec<StmtId>,
    ) -> Vec<StmtId> {
        let [numbers, group_keys, group_items] =
            ["groups", "group keys", "group items"].map(|name| self.own(name));
        let [key, text, at, item] = ["group key", "text", "group", "item"].map(|name| self.own(name));
        let entries = self.ast.add_list([]);
        let empty = self.expr(ExprKind::Map(entries));
        stmts.extend([
            self.declare(numbers, empty),
            self.declare_list(group_keys),
            self.declare_list(group_items),
        ]);
        let key_value = match *keys {
            [key] => key,
            _ => {
                let entries: Vec<MapEntry> = (keys.iter().enumerate())
                    .map(|(index, &key)| MapEntry { key: self.key_name(index, key), value: key })
                    .collect();
                let entries = self.ast.add_list(entries);
                self.expr(ExprKind::Map(entries))
            }
        };
        let key_again = self.get(key);
        let key_text = self.call(Builtin::Str, &[key_again]);
        let list = self.get(group_keys);
        let next = self.call(Builtin::Len, &[list]);
        let (known_text, known) = (self.get(text), self.get(numbers));
        let is_known = self.binary(BinaryOp::In, known_text, known);
        let (target, number) = (self.element(numbers, text), self.get(at));
        let no_items = self.empty_list();
        let first_of_group = vec![
            self.stmt(StmtKind::Assign { target, value: number }),
            self.push(group_keys, key),
            self.push_value(group_items, no_items),
        ];
        let found = self.element(numbers, text);
        let found = vec![self.assign(at, found)];
        let item_value = match *clauses {
            [only] => self.get(only.name),
            _ => {
                let entries: Vec<MapEntry> = clauses
                    .iter()
                    .map(|clause| {
                        let name = Ident { name: clause.name, span: self.span };
                        MapEntry { key: MapKey::Name(name), value: self.get(clause.name) }
                    })
                    .collect();
                let entries = self.ast.add_list(entries);
                let variables = self.expr(ExprKind::Map(entries));
                self.call(Builtin::Row, &[variables])
            }
        };
        let (target, list, new) =
            (self.element(group_items, at), self.element(group_items, at), self.get(item));
        let longer = self.call(Builtin::Append, &[list, new]);
        let body = vec![
            self.declare(key, key_value),
            self.declare(text, key_text),
            self.declare_var(at, next),
            self.choose(is_known, found, first_of_group),
            self.declare(item, item_value),
            self.stmt(StmtKind::Assign { target, value: longer }),
        ];
        match filter {
            Some(filter) => vec![self.when(filter, body)],
            None => body,
        }
    }

    /// The name of a part of a group's key: the last one in the expression, or its number.
    fn key_name(&mut self, index: usize, key: ExprId) -> MapKey {
        let name = match self.ast[key].kind {
            ExprKind::Name(name) => name,
            ExprKind::Field { name, .. } => name.name,
            _ => self.names.intern(&format!("k{}", index + 1)),
        };
        MapKey::Name(Ident { name, span: self.span })
    }

    /// Runs `row` for each group, with the group's key and items in variables in whose favour the uses of the group
    /// variable are given up. Only where the group itself is handed on is it made, as a map that acts as its items.
    fn groups(&mut self, query: &Query, into: BindId, having: Option<ExprId>, row: Vec<StmtId>) -> StmtId {
        let [group_keys, group_items, n] =
            ["group keys", "group items", "group number"].map(|name| self.own(name));
        let (key, items) = (self.own("the key"), self.own("the items"));
        let (key_value, items_value) = (self.element(group_keys, n), self.element(group_items, n));
        let mut body = vec![self.declare(key, key_value), self.declare(items, items_value)];
        if self.replace_uses(into, key, items, query) {
            let entries = [("key", key), ("items", items)].map(|(name, value)| {
                let name = Ident { name: self.names.intern(name), span: self.span };
                MapEntry { key: MapKey::Name(name), value: self.get(value) }
            });
            let entries = self.ast.add_list(entries);
            let parts = self.expr(ExprKind::Map(entries));
            let group = self.call(Builtin::Group, &[parts]);
            body.push(self.stmt(StmtKind::Let { bind: into, value: Some(group) }));
        }
        match having {
            Some(having) => body.push(self.when(having, row)),
            None => body.extend(row),
        }
        self.count_through(n, group_keys, body)
    }

    /// Notes that `g.key`, `g.items`, and `g` where a list of items is meant, will be the variables. Whether `g` is
    /// used otherwise, too.
    fn replace_uses(&mut self, into: BindId, key: Name, items: Name, query: &Query) -> bool {
        let first = self.first;
        let Bind { name, span, .. } = self.ast[into];
        // Nodes of clauses before `into` see no group, nor do those of the plan, which have the span of the query.
        let end = self.ast[query.select].span.end;
        let shadows = self.shadows(name, span.end, end, first);
        let is_group = |ast: &Program, id: ExprId| {
            let Span { start, end: till, .. } = ast[id].span;
            matches!(ast[id].kind, ExprKind::Name(other) if other == name)
                && span.end <= start
                && till <= end
                && !shadows.iter().any(|&(from, to)| from <= start && till <= to)
        };
        let mut uses: Vec<ExprId> = Vec::new();
        let mut as_list: Vec<ExprId> = Vec::new();
        let mut patches: Vec<Patch> = Vec::new();
        let mut fields: Vec<ExprId> = Vec::new();
        for index in first..self.ast.exprs.len() {
            let id = ExprId::new(index);
            match self.ast[id].kind {
                ExprKind::Name(_) if is_group(self.ast, id) => uses.push(id),
                ExprKind::Field { base, name, .. } if is_group(self.ast, base) => {
                    let variable = match &self.names[name.name] {
                        "key" => key,
                        "items" => items,
                        _ => continue,
                    };
                    fields.push(base);
                    patches.push(Patch::Rename { at: id, name: variable });
                }
                ExprKind::Call { callee, args } => {
                    let builtin =
                        self.ast.as_name(callee).and_then(|name| Builtin::from_name(&self.names[name]));
                    let takes_items = builtin.is_some_and(|builtin| {
                        use Builtin::{Avg, Count, Exists, Len, Max, Min, Sum};
                        matches!(builtin, Len | Count | Sum | Avg | Min | Max | Exists)
                    });
                    if let (true, &[arg]) = (takes_items, &self.ast[args]) {
                        as_list.push(arg);
                    }
                }
                ExprKind::Query(inner) => {
                    let inner = &self.ast[inner];
                    as_list.extend(self.ast[inner.sources].iter().map(|source| source.source));
                    as_list.extend(self.ast[inner.joins].iter().map(|join| join.source));
                }
                _ => {}
            }
        }
        let loops = self.ast.stmts.iter().filter_map(|stmt| match stmt.kind {
            StmtKind::ForIn { items, .. } => Some(items),
            _ => None,
        });
        as_list.extend(loops);
        as_list.retain(|&id| is_group(self.ast, id));
        as_list.sort_unstable();
        as_list.dedup();
        patches.extend(as_list.iter().map(|&at| Patch::Rename { at, name: items }));
        self.ast.add_list(patches);
        fields.sort_unstable();
        uses.iter().any(|id| fields.binary_search(id).is_err() && as_list.binary_search(id).is_err())
    }

    /// Where, between two places of the text, another variable has the name: inner queries from where they declare it, lambdas with
    /// such a parameter, arms whose pattern binds it, loops, and what follows a declaration in a block.
    fn shadows(&self, name: Name, start: u32, end: u32, first: usize) -> Vec<(u32, u32)> {
        let ast = &*self.ast;
        let is_inside = |span: Span| start <= span.start && span.end <= end;
        let is_name = |bind: BindId| ast[bind].name == name;
        let mut shadows = Vec::new();
        for query in ast.queries.iter().filter(|query| is_inside(query.span)) {
            let end = query.span.end;
            let sources = ast[query.sources].iter().map(|source| (source.bind, source.source));
            let joins = ast[query.joins].iter().map(|join| (join.bind, join.source));
            let rows = sources.chain(joins).filter(|&(bind, _)| is_name(bind));
            shadows.extend(rows.map(|(_, source)| (ast[source].span.end, end)));
            let group = query.group.filter(|group| is_name(group.into));
            shadows.extend(group.map(|group| (ast[group.into].span.end, end)));
        }
        // Blocks that a declaration may stand in.
        let mut bodies: Vec<Span> = Vec::new();
        for fun in ast.funs.iter().filter(|fun| is_inside(fun.span)) {
            bodies.push(fun.span);
            if ast[fun.params].iter().any(|&param| is_name(param)) {
                shadows.push((fun.span.start, fun.span.end));
            }
        }
        for expr in &ast.exprs[first..] {
            let ExprKind::Match { arms, .. } = expr.kind else { continue };
            for arm in ast[arms].iter().filter(|arm| is_inside(arm.span)) {
                bodies.push(arm.span);
                let mut patterns = vec![arm.pattern];
                while let Some(pattern) = patterns.pop() {
                    match ast[pattern].kind {
                        PatternKind::Name { bind, .. } if is_name(bind) => {
                            shadows.push((arm.span.start, arm.span.end));
                        }
                        PatternKind::Constructor { args, .. } => patterns.extend(&ast[args]),
                        _ => {}
                    }
                }
            }
        }
        // The statements of inner plans have the spans of their queries.
        let is_planned = |span: Span| ast.queries.iter().any(|query| query.span == span);
        for stmt in ast.stmts.iter().filter(|stmt| is_inside(stmt.span)) {
            let (bind, body) = match stmt.kind {
                StmtKind::ForIn { bind, body, .. } | StmtKind::ForRange { bind, body, .. } => {
                    (bind, Some(body))
                }
                StmtKind::Let { bind, .. } => (bind, None),
                _ => continue,
            };
            if !is_name(bind) || is_planned(stmt.span) {
                continue;
            }
            shadows.extend(match body {
                Some(body) => Some((body.span.start, body.span.end)),
                None => bodies
                    .iter()
                    .filter(|body| body.start <= stmt.span.start && stmt.span.end <= body.end)
                    .min_by_key(|body| body.end - body.start)
                    .map(|body| (stmt.span.end, body.end)),
            });
        }
        shadows
    }

    // ---- Nodes ----

    /// A name that no program can declare, for this plan alone.
    fn own(&mut self, what: &str) -> Name {
        self.names.intern(&format!("{what} {}", self.number))
    }

    fn bind(&mut self, name: Name, kind: BindKind) -> BindId {
        self.ast.add(Bind { name, span: self.span, kind, ty: None, fun: self.fun })
    }

    fn expr(&mut self, kind: ExprKind) -> ExprId {
        self.ast.add(Expr { kind, span: self.span })
    }

    fn stmt(&mut self, kind: StmtKind) -> StmtId {
        self.ast.add(Stmt { kind, span: self.span })
    }

    fn block(&mut self, stmts: Vec<StmtId>) -> Block {
        Block { stmts: self.ast.add_list(stmts), span: self.span }
    }

    fn get(&mut self, name: Name) -> ExprId {
        self.expr(ExprKind::Name(name))
    }

    fn int(&mut self, value: i64) -> ExprId {
        self.expr(ExprKind::Int(value))
    }

    fn empty_list(&mut self) -> ExprId {
        let items = self.ast.add_list([]);
        self.expr(ExprKind::List(items))
    }

    fn element(&mut self, list: Name, index: Name) -> ExprId {
        let (base, index) = (self.get(list), self.get(index));
        self.expr(ExprKind::Index { base, index, optional: false })
    }

    fn binary(&mut self, op: BinaryOp, left: ExprId, right: ExprId) -> ExprId {
        self.expr(ExprKind::Binary { op, op_span: self.span, left, right })
    }

    fn not(&mut self, operand: ExprId) -> ExprId {
        self.expr(ExprKind::Unary { op: UnaryOp::Not, operand })
    }

    fn is_empty(&mut self, list: Name) -> ExprId {
        let list = self.get(list);
        let len = self.call(Builtin::Len, &[list]);
        let zero = self.int(0);
        self.binary(BinaryOp::Equal, len, zero)
    }

    fn call(&mut self, builtin: Builtin, args: &[ExprId]) -> ExprId {
        let name = self.names.intern(&builtin.plan_name());
        let callee = self.get(name);
        let args = self.ast.add_list(args.iter().copied());
        self.expr(ExprKind::Call { callee, args })
    }

    fn declare(&mut self, name: Name, value: ExprId) -> StmtId {
        let bind = self.bind(name, BindKind::Let);
        self.stmt(StmtKind::Let { bind, value: Some(value) })
    }

    fn declare_var(&mut self, name: Name, value: ExprId) -> StmtId {
        let bind = self.bind(name, BindKind::Var);
        self.stmt(StmtKind::Let { bind, value: Some(value) })
    }

    fn declare_list(&mut self, name: Name) -> StmtId {
        let empty = self.empty_list();
        self.declare_var(name, empty)
    }

    fn assign(&mut self, name: Name, value: ExprId) -> StmtId {
        let target = self.get(name);
        self.stmt(StmtKind::Assign { target, value })
    }

    /// `list = append(list, item)`
    fn push(&mut self, list: Name, item: Name) -> StmtId {
        let item = self.get(item);
        self.push_value(list, item)
    }

    fn push_value(&mut self, list: Name, item: ExprId) -> StmtId {
        let before = self.get(list);
        let longer = self.call(Builtin::Append, &[before, item]);
        self.assign(list, longer)
    }

    fn when(&mut self, cond: ExprId, body: Vec<StmtId>) -> StmtId {
        let body = self.block(body);
        let branches = self.ast.add_list([Branch { cond, body }]);
        self.stmt(StmtKind::If { branches, otherwise: None })
    }

    fn choose(&mut self, cond: ExprId, body: Vec<StmtId>, otherwise: Vec<StmtId>) -> StmtId {
        let (body, otherwise) = (self.block(body), self.block(otherwise));
        let branches = self.ast.add_list([Branch { cond, body }]);
        self.stmt(StmtKind::If { branches, otherwise: Some(otherwise) })
    }

    fn each(&mut self, bind: BindId, items: ExprId, body: Vec<StmtId>) -> StmtId {
        let body = self.block(body);
        self.stmt(StmtKind::ForIn { bind, items, body })
    }

    /// Counts `name` through the positions of a list.
    fn count_through(&mut self, name: Name, list: Name, body: Vec<StmtId>) -> StmtId {
        let bind = self.bind(name, BindKind::For);
        let start = self.int(0);
        let list = self.get(list);
        let end = self.call(Builtin::Len, &[list]);
        let body = self.block(body);
        self.stmt(StmtKind::ForRange { bind, start, end, body })
    }

    /// An expression that runs statements, the last of which has its value.
    fn block_value(&mut self, stmts: Vec<StmtId>) -> ExprId {
        let body = Body::Block(self.block(stmts));
        let pattern = self.ast.add(Pattern { kind: PatternKind::Wildcard, span: self.span });
        let arms = self.ast.add_list([Arm { pattern, body, span: self.span }]);
        let subject = self.expr(ExprKind::None);
        self.expr(ExprKind::Match { subject, arms })
    }
}
