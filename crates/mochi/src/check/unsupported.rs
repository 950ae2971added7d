//! Constructs that are part of the language but cannot run yet.

use std::collections::HashSet;

use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{ExprId, ExprKind, ExternKind, Import, Interner, Name, Program, StmtKind};

/// What a program uses that cannot run yet: the first place of each construct, in the order of the text.
pub fn unsupported(program: &Program, names: &Interner) -> Vec<Diagnostic> {
    let mut found: Vec<(Span, String)> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut add = |span: Span, what: String| {
        // Tables are not in the order of the text, so an earlier place may come later.
        if seen.insert(what.clone()) {
            found.push((span, what));
        } else if let Some(entry) = found.iter_mut().find(|(at, text)| *text == what && at.start > span.start)
        {
            entry.0 = span;
        }
    };
    for expr in &program.exprs {
        let what = match expr.kind {
            ExprKind::Logic(_) => "logic programming",
            ExprKind::Generate { .. } => "`generate`",
            ExprKind::Fetch { .. } => "`fetch`",
            ExprKind::Field { base, name, .. } => {
                if let Some(what) = unknown_member(program, names, base, name.name) {
                    add(expr.span, what);
                }
                continue;
            }
            _ => continue,
        };
        add(expr.span, what.to_owned());
    }
    let modules: HashSet<Name> = program
        .imports
        .iter()
        .filter(|import| import.lang.is_some())
        .map(|import| program[import.bind].name)
        .collect();
    for stmt in &program.stmts {
        let what = match stmt.kind {
            StmtKind::Fact(_) | StmtKind::Rule { .. } => "logic programming",
            StmtKind::Stream { .. } | StmtKind::On { .. } | StmtKind::Emit { .. } => "a stream",
            StmtKind::Agent { .. } | StmtKind::Intent(_) => "an agent",
            StmtKind::Model { .. } => "`model`",
            StmtKind::Fetch { .. } => "`fetch`",
            StmtKind::Import(id) => match unknown_module(&program[id], names) {
                Some(what) => {
                    add(stmt.span, what);
                    continue;
                }
                None => continue,
            },
            // Declares the name of a type of which nothing is known.
            StmtKind::Extern(id) if matches!(program[id].kind, ExternKind::Type) => continue,
            StmtKind::Extern(id) => {
                let path = &program[program[id].path];
                if path.len() > 1 && path.first().is_some_and(|root| modules.contains(&root.name)) {
                    continue;
                }
                "`extern` without an imported module"
            }
            _ => continue,
        };
        add(stmt.span, what.to_owned());
    }
    found.sort_by_key(|&(span, _)| span.start);
    found
        .into_iter()
        .map(|(span, what)| Diagnostic::error(Code::U001, span, format!("{what} is not supported yet")))
        .collect()
}

/// The member of a module that is imported, if it has none like it. Where variables have the name of the module, too, which of them
/// is meant is not known here; then what is not there is none.
fn unknown_member(program: &Program, names: &Interner, base: ExprId, member: Name) -> Option<String> {
    let root = program.as_name(base)?;
    let mut imports = program.imports.iter();
    let import = imports.find(|import| import.lang.is_some() && program[import.bind].name == root)?;
    let module = crate::foreign::module(&names[import.path.name])?;
    let alone = program.binds.iter().filter(|bind| bind.name == root).count() == 1;
    (alone && !crate::foreign::has_member(module, &names[member]))
        .then(|| format!("`{}.{}`", &names[root], &names[member]))
}

/// The module of an import, if there is none like it.
fn unknown_module(import: &Import, names: &Interner) -> Option<String> {
    let path = &names[import.path.name];
    match import.lang {
        None => Some("importing Mochi packages".to_owned()),
        Some(lang) => (crate::foreign::module(path).is_none())
            .then(|| format!("the {} module \"{path}\"", &names[lang.name])),
    }
}
