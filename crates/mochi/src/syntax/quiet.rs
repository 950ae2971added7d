//! Queries whose rows nothing can change while they are gone through.
//!
//! All code that may run for a row is looked at: the clauses, and the functions that they name or that those name, whoever calls
//! them. It must not store into anything but variables of its own function, and must not call what is not known: values of variables and
//! fields. A row then has the same fields whenever it is looked at.

use std::collections::{HashMap, HashSet};

use super::ast::{BindKind, ExprKind, FunId, Interner, Name, Program, QueryId, StmtKind};
use super::walk::{Node, push_body, push_children};
use crate::builtins::Builtin;

/// The queries with a [plan by keys](super::ast::Query::keyed) that may be used. Queries are not planned yet.
pub(super) fn keyed_queries(program: &Program, names: &Interner) -> HashSet<QueryId> {
    let with_keys = (0..program.queries.len()).map(QueryId::new).filter(|&id| program[id].keyed.is_some());
    let with_keys: Vec<QueryId> = with_keys.collect();
    if with_keys.is_empty() {
        return HashSet::new();
    }
    let mut walk =
        Walk { program, names, declared: HashMap::new(), variables: HashMap::new(), known: HashSet::new() };
    for (at, fun) in program.funs.iter().enumerate() {
        if let Some(bind) = fun.bind {
            walk.declared.entry(program.bind_name(bind)).or_default().push(FunId::new(at));
        }
    }
    for bind in program.binds.iter().filter(|bind| bind.kind != BindKind::Fun) {
        walk.variables.entry(bind.name).or_default().push(bind.fun);
    }
    with_keys.into_iter().filter(|&id| walk.is_quiet(id)).collect()
}

struct Walk<'a> {
    program: &'a Program,
    names: &'a Interner,
    declared: HashMap<Name, Vec<FunId>>,
    /// The functions that have a variable of the name.
    variables: HashMap<Name, Vec<Option<FunId>>>,
    /// Functions that are known to be quiet, and so is what they can reach.
    known: HashSet<FunId>,
}

impl Walk<'_> {
    fn is_quiet(&mut self, id: QueryId) -> bool {
        let program = self.program;
        let query = &program[id];
        let mut nodes: Vec<Node> = Vec::new();
        let joins = program[query.joins].iter().flat_map(|join| [join.source, join.on]);
        let sources = program[query.sources].iter().map(|source| source.source);
        nodes.extend(sources.chain(joins).chain(query.filter).map(Node::Expr));
        match query.group {
            // What follows runs behind the last row.
            Some(group) => nodes.extend(program[group.keys].iter().map(|&key| Node::Expr(key))),
            None => nodes.extend([Some(query.select), query.sort].into_iter().flatten().map(Node::Expr)),
        }
        // The functions that can be reached from here.
        let mut seen: HashSet<FunId> = HashSet::new();
        let mut next: Vec<FunId> = Vec::new();
        let mut quiet = self.look_through(nodes, None, &mut next);
        while let (true, Some(fun)) = (quiet, next.pop()) {
            if !self.known.contains(&fun) && seen.insert(fun) {
                let mut nodes = Vec::new();
                push_body(program, program[fun].body, &mut nodes);
                quiet = self.look_through(nodes, Some(fun), &mut next);
            }
        }
        if quiet {
            self.known.extend(seen);
        }
        quiet
    }

    /// Looks at the code of a function, or at clauses. Adds the functions that it names.
    fn look_through(&self, mut nodes: Vec<Node>, fun: Option<FunId>, next: &mut Vec<FunId>) -> bool {
        let program = self.program;
        while let Some(node) = nodes.pop() {
            let is_quiet = match node {
                Node::Expr(id) => match program[id].kind {
                    ExprKind::Fun(inner) => {
                        next.push(inner);
                        true
                    }
                    ExprKind::Name(name) => {
                        next.extend(self.declared.get(&name).into_iter().flatten());
                        true
                    }
                    ExprKind::Call { callee, .. } => {
                        program.as_name(callee).is_some_and(|name| self.is_known(name))
                    }
                    ExprKind::Error
                    | ExprKind::Logic(_)
                    | ExprKind::Generate { .. }
                    | ExprKind::Fetch { .. }
                    | ExprKind::Load { .. }
                    | ExprKind::Save { .. } => false,
                    _ => true,
                },
                Node::Stmt(id) => match program[id].kind {
                    StmtKind::Assign { target, .. } => {
                        program.as_name(target).is_some_and(|name| self.is_own(name, fun))
                    }
                    StmtKind::Let { .. }
                    | StmtKind::Return(_)
                    | StmtKind::If { .. }
                    | StmtKind::While { .. }
                    | StmtKind::ForIn { .. }
                    | StmtKind::ForRange { .. }
                    | StmtKind::Break
                    | StmtKind::Continue
                    | StmtKind::Fun(_)
                    | StmtKind::Expr(_) => true,
                    _ => false,
                },
            };
            if !is_quiet {
                return false;
            }
            push_children(program, node, &mut nodes);
        }
        true
    }

    /// Whether calls of the name run declared functions, which are looked at, or a builtin that calls nothing.
    fn is_known(&self, name: Name) -> bool {
        let runs_others =
            matches!(Builtin::from_name(&self.names[name]), Some(Builtin::Eval | Builtin::Reduce));
        !self.variables.contains_key(&name) && !runs_others
    }

    /// Whether the name is a variable of the function and of no code around it.
    fn is_own(&self, name: Name, fun: Option<FunId>) -> bool {
        let Some(fun) = fun else { return false };
        let Some(having) = self.variables.get(&name) else { return false };
        let mut around = self.program[fun].parent;
        while let Some(outer) = around {
            if having.contains(&Some(outer)) {
                return false;
            }
            around = self.program[outer].parent;
        }
        having.contains(&Some(fun)) && !having.contains(&None)
    }
}
