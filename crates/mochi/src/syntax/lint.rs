//! What is wrong with a program although it parses, and can be seen without types.

use std::collections::HashSet;

use super::ast::{Body, ExprId, ExprKind, Program, StmtId, StmtKind};
use super::walk::{Node, push_children};
use crate::diagnostics::{Code, Diagnostic};

/// P065: statements that compute a value, do nothing with it, and have no call in them that could do something else, nor a `match` whose
/// arms assign, return, break or the like. Such programs run; checking rejects them.
pub fn idle_statements(program: &Program) -> Vec<Diagnostic> {
    // The last statement of a block as arm of a `match` is the arm's value.
    let arms = program.exprs.iter().filter_map(|expr| match expr.kind {
        ExprKind::Match { arms, .. } => Some(&program[arms]),
        _ => None,
    });
    let values: HashSet<StmtId> = arms
        .flatten()
        .filter_map(|arm| match arm.body {
            Body::Block(block) => program[block.stmts].last().copied(),
            Body::Expr(_) => None,
        })
        .collect();
    let mut found = Vec::new();
    for (index, stmt) in program.stmts.iter().enumerate() {
        if let StmtKind::Expr(expr) = stmt.kind
            && !values.contains(&StmtId::new(index))
            && is_idle(program, expr)
        {
            found.push(Diagnostic::error(Code::P065, stmt.span, "this statement has no effect"));
        }
    }
    found.sort_by_key(|diagnostic| diagnostic.span.start);
    found
}

fn is_idle(program: &Program, root: ExprId) -> bool {
    let span = program[root].span;
    // Children come before their parents, and no other expressions come between: what lies inside the span is the tree.
    let tree = program.exprs[..=root.index()].iter().rev();
    let idle = tree.take_while(|expr| expr.span.start >= span.start).all(|expr| {
        !matches!(
            expr.kind,
            ExprKind::Call { .. }
                | ExprKind::Fetch { .. }
                | ExprKind::Load { .. }
                | ExprKind::Save { .. }
                | ExprKind::Generate { .. }
                | ExprKind::Error
        )
    });
    idle && !acts(program, root)
}

/// Whether statements in arms of a `match` inside the expression do something beyond them.
fn acts(program: &Program, root: ExprId) -> bool {
    let mut open = vec![Node::Expr(root)];
    while let Some(node) = open.pop() {
        if let Node::Stmt(id) = node {
            match program[id].kind {
                StmtKind::Let { .. }
                | StmtKind::Fun(_)
                | StmtKind::Type(_)
                | StmtKind::If { .. }
                | StmtKind::While { .. }
                | StmtKind::ForIn { .. }
                | StmtKind::ForRange { .. }
                | StmtKind::Expr(_) => {}
                _ => return true,
            }
        }
        push_children(program, node, &mut open);
    }
    false
}
