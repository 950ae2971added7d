//! Which effects each function has.
//!
//! A function has the effects of its own constructs and of the functions that it calls by name or hands on as
//! arguments. Names are resolved to functions roughly: by the innermost function that binds the name. A declaration with
//! effects behind `!` is taken at its word by callers; its body is compared with it separately. The set of each function
//! only grows, so propagating along reversed calls until nothing changes takes linear time.

use std::collections::{HashMap, HashSet};

use crate::builtins::{Builtin, Effects};
use crate::syntax::ast::{
    BindKind, ExprId, ExprKind, FunId, FunKind, Interner, Name, Program, StmtKind, TypeDeclId, TypeDeclKind,
};
use crate::syntax::walk::{self, Node};

use super::scope::Assigned;
use super::types::FunEffects;

/// The effects of a function.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Inferred {
    /// Those that callers see.
    pub(super) published: FunEffects,
    /// Those of the body.
    pub(super) body: FunEffects,
}

/// What a name is in a function.
#[derive(Clone, Copy)]
enum Entry {
    Fun(FunId),
    Other,
}

struct Finder<'a> {
    ast: &'a Program,
    /// What the names mean that a function (or the top level) binds.
    entries: HashMap<(Option<FunId>, Name), Entry>,
    /// The type that a method belongs to.
    owners: HashMap<FunId, TypeDeclId>,
    methods: HashMap<(TypeDeclId, Name), FunId>,
    /// Effects of the builtins that occur.
    builtins: HashMap<Name, Effects>,
}

/// The effects of all functions of a program, by number, and what they assign.
pub(super) fn infer(ast: &Program, names: &Interner) -> (Vec<Inferred>, Assigned) {
    let finder = Finder::new(ast, names);
    let mut assigned = Assigned::default();
    for stmt in &ast.stmts {
        if let StmtKind::Assign { target, .. } = stmt.kind {
            assigned.anywhere.extend(ast.as_name(target));
        }
    }
    let count = ast.funs.len();
    let mut result = vec![Inferred::default(); count];
    let mut callers: Vec<Vec<FunId>> = vec![Vec::new(); count];
    let mut declared: Vec<bool> = vec![false; count];
    for (index, fun) in ast.funs.iter().enumerate() {
        let id = FunId::new(index);
        let (own, callees) = finder.body(id, &mut assigned.outside);
        result[index].body = own;
        for callee in callees {
            callers[callee.index()].push(id);
        }
        declared[index] = !fun.effects.is_empty();
        result[index].published = own;
        if declared[index] {
            result[index].published.effects = declared_effects(ast, names, id);
        }
    }
    let mut open: Vec<FunId> = (0..count).map(FunId::new).collect();
    while let Some(id) = open.pop() {
        let published = result[id.index()].published;
        for &caller in &callers[id.index()] {
            let entry = &mut result[caller.index()];
            entry.body = entry.body.union(published);
            let mut seen = entry.published.union(published);
            if declared[caller.index()] {
                seen.effects = entry.published.effects;
            }
            if seen != entry.published {
                entry.published = seen;
                open.push(caller);
            }
        }
    }
    (result, assigned)
}

/// The effects that a function declares, without unknown ones.
pub(super) fn declared_effects(ast: &Program, names: &Interner, id: FunId) -> Effects {
    let labels = ast[ast[id].effects].iter().filter_map(|label| Effects::from_label(&names[label.name]));
    labels.fold(Effects::PURE, Effects::union)
}

impl<'a> Finder<'a> {
    fn new(ast: &'a Program, names: &'a Interner) -> Finder<'a> {
        let mut entries = HashMap::new();
        for bind in ast.binds.iter().filter(|bind| bind.kind != BindKind::Fun) {
            entries.insert((bind.fun, bind.name), Entry::Other);
        }
        for stmt in &ast.stmts {
            if let StmtKind::Let { bind, value: Some(value) } = stmt.kind
                && let ExprKind::Fun(id) = ast[value].kind
            {
                entries.insert((ast[bind].fun, ast[bind].name), Entry::Fun(id));
            }
        }
        let builtins = Builtin::ALL.iter().map(|builtin| builtin.info());
        let builtins = builtins.filter_map(|info| Some((names.lookup(info.name)?, info.effects))).collect();
        let mut finder = Finder { ast, entries, owners: HashMap::new(), methods: HashMap::new(), builtins };
        for (index, fun) in ast.funs.iter().enumerate() {
            if let (FunKind::Decl, Some(bind)) = (fun.kind, fun.bind) {
                finder.entries.insert((ast[bind].fun, ast[bind].name), Entry::Fun(FunId::new(index)));
            }
        }
        for (index, decl) in ast.type_decls.iter().enumerate() {
            let TypeDeclKind::Struct { methods, .. } = decl.kind else { continue };
            for &method in &ast[methods] {
                let owner = TypeDeclId::new(index);
                finder.owners.insert(method, owner);
                if let Some(bind) = ast[method].bind {
                    finder.methods.insert((owner, ast[bind].name), method);
                }
            }
        }
        finder
    }

    /// What a name means inside a function: a function, something else, or nothing that the program declares.
    fn resolve(&self, name: Name, from: FunId) -> Option<Entry> {
        let mut at = Some(from);
        loop {
            if let Some(&entry) = self.entries.get(&(at, name)) {
                return Some(entry);
            }
            let inside = at?;
            if let Some(&owner) = self.owners.get(&inside)
                && let Some(&method) = self.methods.get(&(owner, name))
            {
                return Some(Entry::Fun(method));
            }
            at = self.ast[inside].parent;
        }
    }

    /// Effects of the body itself, and the functions that it calls. Adds the variables of others that it assigns.
    fn body(&self, id: FunId, outside: &mut HashSet<Name>) -> (FunEffects, Vec<FunId>) {
        let ast = self.ast;
        let (mut own, mut callees) = (FunEffects::default(), Vec::new());
        let mut open = Vec::new();
        walk::push_body(ast, ast[id].body, &mut open);
        let mut assigns = false;
        let mut label = |effect: Effects| own.effects = own.effects.union(effect);
        while let Some(node) = open.pop() {
            match node {
                Node::Expr(expr) => match ast[expr].kind {
                    ExprKind::Call { callee, args } => {
                        if let ExprKind::Name(name) = ast[callee].kind {
                            match self.resolve(name, id) {
                                Some(Entry::Fun(fun)) => callees.push(fun),
                                Some(Entry::Other) => {}
                                None => label(self.builtins.get(&name).copied().unwrap_or_default()),
                            }
                        }
                        callees.extend(ast[args].iter().filter_map(|&arg| self.callable(arg, id)));
                    }
                    ExprKind::Fetch { .. } => label(Effects::NET),
                    ExprKind::Load { .. } | ExprKind::Save { .. } => label(Effects::FS),
                    _ => {}
                },
                Node::Stmt(stmt) => match ast[stmt].kind {
                    StmtKind::Fetch { .. } => label(Effects::NET),
                    StmtKind::Assign { target, .. } => {
                        // Only the variable itself counts: facts are about variables.
                        if let ExprKind::Name(name) = ast[target].kind
                            && !self.entries.contains_key(&(Some(id), name))
                        {
                            assigns = true;
                            outside.insert(name);
                        }
                    }
                    _ => {}
                },
            }
            walk::push_children(ast, node, &mut open);
        }
        own.assigns = assigns;
        (own, callees)
    }

    /// The function that an argument is, if it is one at sight: calling the callee may call it.
    fn callable(&self, arg: ExprId, from: FunId) -> Option<FunId> {
        match self.ast[arg].kind {
            ExprKind::Fun(id) => Some(id),
            ExprKind::Name(name) => match self.resolve(name, from) {
                Some(Entry::Fun(id)) => Some(id),
                _ => None,
            },
            _ => None,
        }
    }
}
