//! Queries, predicates, and what reads and writes data.

use super::{Parsed, Parser, Tok};
use crate::diagnostics::{Code, Diagnostic};
use crate::syntax::ast::{
    BindKind, ExprId, ExprKind, Group, Ident, Join, JoinKind, Pred, PredId, Query, Source, Term,
};

impl Parser<'_> {
    /// Reads a query; `from name in` comes next.
    pub(super) fn query(&mut self) -> Parsed<ExprKind> {
        let first = self.at;
        let first_expr = self.ast.exprs.len();
        let mut sources = Vec::new();
        while self.peek() == Tok::From {
            self.bump();
            let name = self.ident("the name of the row variable")?;
            self.expect(Tok::In, Code::P999)?;
            let source = self.expr()?;
            sources.push(Source { bind: self.bind(name, BindKind::Query, None), source });
        }
        let mut joins = Vec::new();
        while let Some(join) = self.join()? {
            joins.push(join);
        }
        let filter = self.clause(Tok::Where)?;
        let group = if self.eat(Tok::Group) { Some(self.group()?) } else { None };
        let sort = if matches!(self.peek(), Tok::Sort | Tok::Order) {
            self.bump();
            self.expect(Tok::By, Code::P999)?;
            Some(self.expr()?)
        } else {
            None
        };
        let skip = self.clause(Tok::Skip)?;
        let take = self.clause(Tok::Take)?;
        if !self.eat(Tok::Select) {
            return Err(self.no_select());
        }
        let distinct = self.peek() == Tok::Distinct && self.starts_expr(self.at + 1);
        if distinct {
            self.bump();
        }
        let select = self.expr()?;
        let mut query = Query {
            sources: self.ast.add_list(sources),
            joins: self.ast.add_list(joins),
            filter,
            group,
            sort,
            skip,
            take,
            select,
            distinct,
            plan: select,
            keyed: None,
            span: self.span_from(first),
        };
        (query.plan, query.keyed) = self.plan(&query, first_expr)?;
        Ok(ExprKind::Query(self.ast.add(query)))
    }

    fn no_select(&mut self) -> super::Failed {
        let clause = matches!(
            self.peek(),
            Tok::From
                | Tok::Join
                | Tok::Where
                | Tok::Group
                | Tok::Having
                | Tok::Sort
                | Tok::Order
                | Tok::Skip
                | Tok::Take
        );
        let message = format!("expected `select`, found {}", self.found());
        let diagnostic = Diagnostic::error(Code::P999, self.here(), message);
        self.report(diagnostic.with_help(if clause {
            "the clauses of a query come in this order: from, join, where, group by, sort by, skip, take, select"
        } else {
            "a query ends with `select` and what each row becomes"
        }))
    }

    fn clause(&mut self, word: Tok) -> Parsed<Option<ExprId>> {
        if self.eat(word) { Ok(Some(self.expr()?)) } else { Ok(None) }
    }

    fn join(&mut self) -> Parsed<Option<Join>> {
        let first = self.at;
        let kind = match (self.peek(), self.peek_at(1)) {
            (Tok::Join, _) => JoinKind::Inner,
            (Tok::Left, Tok::Join) => JoinKind::Left,
            (Tok::Right, Tok::Join) => JoinKind::Right,
            (Tok::Outer, Tok::Join) => JoinKind::Outer,
            _ => return Ok(None),
        };
        self.at += if kind == JoinKind::Inner { 1 } else { 2 };
        if self.peek() == Tok::From && self.peek_at(1) != Tok::In {
            self.bump();
        }
        let name = self.ident("the name of the row variable")?;
        self.expect(Tok::In, Code::P999)?;
        let source = self.expr()?;
        let bind = self.bind(name, BindKind::Query, None);
        self.expect(Tok::On, Code::P999)?;
        let on = self.expr()?;
        Ok(Some(Join { kind, bind, source, on, span: self.span_from(first) }))
    }

    fn group(&mut self) -> Parsed<Group> {
        self.expect(Tok::By, Code::P999)?;
        let mut keys = Vec::new();
        loop {
            keys.push(self.expr()?);
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.expect(Tok::Into, Code::P999)?;
        let name = self.ident("the name of the group variable")?;
        let into = self.bind(name, BindKind::Group, None);
        let having = self.clause(Tok::Having)?;
        Ok(Group { keys: self.ast.add_list(keys), into, having })
    }

    /// Reads `name(x, "a", 1)`.
    pub(super) fn pred(&mut self) -> Parsed<PredId> {
        let first = self.at;
        let name = self.ident("the name of a relation")?;
        let open = self.at;
        self.expect(Tok::OpenParen, Code::P052)?;
        let mut terms = Vec::new();
        if self.peek() != Tok::CloseParen {
            loop {
                let term = match self.peek() {
                    Tok::Int => {
                        let span = self.here();
                        Term::Int(self.int(), span)
                    }
                    Tok::Str => Term::Str(self.string("a text")?),
                    _ => Term::Var(self.ident("a variable name, a text or an integer")?),
                };
                terms.push(term);
                if !self.eat(Tok::Comma) {
                    break;
                }
            }
        }
        self.close(Tok::CloseParen, open, Code::P052)?;
        let pred = Pred { name, terms: self.ast.add_list(terms), span: self.span_from(first) };
        Ok(self.ast.add(pred))
    }

    pub(super) fn with(&mut self) -> Parsed<Option<ExprId>> {
        if self.peek() == Tok::With && self.starts_expr(self.at + 1) {
            self.clause(Tok::With)
        } else {
            Ok(None)
        }
    }

    pub(super) fn load(&mut self) -> Parsed<ExprKind> {
        let first = self.at;
        self.bump();
        let path = if self.peek() == Tok::Str { Some(self.path(first)?) } else { None };
        self.expect(Tok::As, Code::P999)?;
        let ty = self.ty()?;
        Ok(ExprKind::Load { path, ty, with: self.with()? })
    }

    pub(super) fn save(&mut self) -> Parsed<ExprKind> {
        let first = self.at;
        self.bump();
        let value = self.expr()?;
        let to = self.peek() == Tok::To && self.peek_at(1) == Tok::Str;
        let path = if to {
            self.bump();
            Some(self.path(first)?)
        } else {
            None
        };
        Ok(ExprKind::Save { value, path, with: self.with()? })
    }

    fn path(&mut self, first: usize) -> Parsed<Ident> {
        let closed = self.here().len() > 1;
        let path = self.string("the path of a file")?;
        if self.names[path.name].is_empty() && closed {
            let diagnostic = Diagnostic::error(Code::P062, self.span_from(first), "the path is empty");
            self.complain(diagnostic.with_label(path.span, "no file has this name"));
        }
        Ok(path)
    }
}
