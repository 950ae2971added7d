//! Visiting the nodes of a function without recursion. Nested functions are not entered.

use crate::syntax::ast::{Block, Body, ExprId, ExprKind, MapEntry, MapKey, Program, StmtId, StmtKind};

/// A node to visit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node {
    Expr(ExprId),
    Stmt(StmtId),
}

/// Adds the nodes of a block.
pub(crate) fn push_block(program: &Program, block: Block, out: &mut Vec<Node>) {
    out.extend(program[block.stmts].iter().map(|&id| Node::Stmt(id)));
}

/// Adds the nodes of a body.
pub(crate) fn push_body(program: &Program, body: Body, out: &mut Vec<Node>) {
    match body {
        Body::Expr(id) => out.push(Node::Expr(id)),
        Body::Block(block) => push_block(program, block, out),
    }
}

/// Adds the children of a node, in no particular order.
pub(crate) fn push_children(program: &Program, node: Node, out: &mut Vec<Node>) {
    match node {
        Node::Expr(id) => push_expr_children(program, program[id].kind, out),
        Node::Stmt(id) => push_stmt_children(program, program[id].kind, out),
    }
}

fn push_entries(entries: &[MapEntry], out: &mut Vec<Node>) {
    for entry in entries {
        if let MapKey::Expr(key) = entry.key {
            out.push(Node::Expr(key));
        }
        out.push(Node::Expr(entry.value));
    }
}

fn push_expr_children(program: &Program, kind: ExprKind, out: &mut Vec<Node>) {
    match kind {
        ExprKind::Error
        | ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Bool(_)
        | ExprKind::Str(_)
        | ExprKind::None
        | ExprKind::Name(_)
        | ExprKind::Fun(_)
        | ExprKind::Logic(_) => {}
        ExprKind::Field { base, .. } => out.push(Node::Expr(base)),
        ExprKind::Index { base, index, .. } => out.extend([base, index].map(Node::Expr)),
        ExprKind::Slice { base, start, end, step } => {
            out.extend([Some(base), start, end, step].into_iter().flatten().map(Node::Expr));
        }
        ExprKind::Call { callee, args } => {
            out.push(Node::Expr(callee));
            out.extend(program[args].iter().map(|&id| Node::Expr(id)));
        }
        ExprKind::Cast { value, .. } => out.push(Node::Expr(value)),
        ExprKind::Unary { operand, .. } => out.push(Node::Expr(operand)),
        ExprKind::Binary { left, right, .. } => out.extend([left, right].map(Node::Expr)),
        ExprKind::If { choices, otherwise } => {
            out.extend(
                program[choices].iter().flat_map(|choice| [choice.cond, choice.value]).map(Node::Expr),
            );
            out.extend(otherwise.map(Node::Expr));
        }
        ExprKind::List(items) => out.extend(program[items].iter().map(|&id| Node::Expr(id))),
        ExprKind::Map(entries) => push_entries(&program[entries], out),
        ExprKind::Struct { fields, .. } | ExprKind::Generate { fields, .. } => {
            out.extend(program[fields].iter().map(|field| Node::Expr(field.value)));
        }
        ExprKind::Match { subject, arms } => {
            out.push(Node::Expr(subject));
            for arm in &program[arms] {
                push_body(program, arm.body, out);
            }
        }
        ExprKind::Query(id) => {
            let query = &program[id];
            out.extend(program[query.sources].iter().map(|source| Node::Expr(source.source)));
            out.extend(program[query.joins].iter().flat_map(|join| [join.source, join.on]).map(Node::Expr));
            if let Some(group) = query.group {
                out.extend(program[group.keys].iter().map(|&id| Node::Expr(id)));
                out.extend(group.having.map(Node::Expr));
            }
            let clauses = [query.filter, query.sort, query.skip, query.take, Some(query.select)];
            out.extend(clauses.into_iter().flatten().map(Node::Expr));
        }
        ExprKind::Fetch { url, with } => {
            out.push(Node::Expr(url));
            out.extend(with.map(Node::Expr));
        }
        ExprKind::Load { with, .. } => out.extend(with.map(Node::Expr)),
        ExprKind::Save { value, with, .. } => {
            out.push(Node::Expr(value));
            out.extend(with.map(Node::Expr));
        }
    }
}

fn push_stmt_children(program: &Program, kind: StmtKind, out: &mut Vec<Node>) {
    match kind {
        StmtKind::Error
        | StmtKind::Break
        | StmtKind::Continue
        | StmtKind::Fun(_)
        | StmtKind::Intent(_)
        | StmtKind::Type(_)
        | StmtKind::Import(_)
        | StmtKind::Extern(_)
        | StmtKind::Fact(_)
        | StmtKind::Rule { .. }
        | StmtKind::Stream { .. } => {}
        StmtKind::Let { value, .. } | StmtKind::Return(value) => out.extend(value.map(Node::Expr)),
        StmtKind::Assign { target, value } => out.extend([target, value].map(Node::Expr)),
        StmtKind::If { branches, otherwise } => {
            for branch in &program[branches] {
                out.push(Node::Expr(branch.cond));
                push_block(program, branch.body, out);
            }
            if let Some(block) = otherwise {
                push_block(program, block, out);
            }
        }
        StmtKind::While { cond, body } => {
            out.push(Node::Expr(cond));
            push_block(program, body, out);
        }
        StmtKind::ForIn { items, body, .. } => {
            out.push(Node::Expr(items));
            push_block(program, body, out);
        }
        StmtKind::ForRange { start, end, body, .. } => {
            out.extend([start, end].map(Node::Expr));
            push_block(program, body, out);
        }
        StmtKind::Expr(id) | StmtKind::Expect(id) => out.push(Node::Expr(id)),
        StmtKind::Test { body, .. }
        | StmtKind::Bench { body, .. }
        | StmtKind::On { body, .. }
        | StmtKind::Agent { body, .. } => push_block(program, body, out),
        StmtKind::Fetch { url, with, .. } => {
            out.push(Node::Expr(url));
            out.extend(with.map(Node::Expr));
        }
        StmtKind::Update { set, filter, .. } => {
            push_entries(&program[set], out);
            out.extend(filter.map(Node::Expr));
        }
        StmtKind::Emit { fields, .. } | StmtKind::Model { fields, .. } => {
            out.extend(program[fields].iter().map(|field| Node::Expr(field.value)));
        }
    }
}
