//! What is wrong with a program although it parses, and can be seen without types.

use super::ast::{ExprId, ExprKind, Program, StmtKind};
use crate::diagnostics::{Code, Diagnostic};

/// P065: statements that compute a value, do nothing with it, and have no call in them that could do something else. Such
/// programs run; checking rejects them.
pub fn idle_statements(program: &Program) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for stmt in &program.stmts {
        if let StmtKind::Expr(expr) = stmt.kind
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
    tree.take_while(|expr| expr.span.start >= span.start).all(|expr| {
        !matches!(
            expr.kind,
            ExprKind::Call { .. }
                | ExprKind::Fetch { .. }
                | ExprKind::Load { .. }
                | ExprKind::Save { .. }
                | ExprKind::Generate { .. }
                | ExprKind::Error
        )
    })
}
