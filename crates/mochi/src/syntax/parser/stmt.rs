//! Statements that do something; [`super::decl`] has those that declare.

use super::{Failed, Parsed, Parser, Tok};
use crate::diagnostics::{Code, Diagnostic};
use crate::syntax::ast::{BindKind, Branch, ExprId, ExprKind, Ident, Stmt, StmtId, StmtKind};

impl Parser<'_> {
    /// Reads a statement.
    pub(super) fn statement(&mut self) -> Parsed<StmtId> {
        let first = self.at;
        let kind = match self.peek() {
            Tok::Let | Tok::Var => self.variable()?,
            Tok::If => self.if_stmt()?,
            Tok::While => {
                self.bump();
                let cond = self.head()?;
                StmtKind::While { cond, body: self.block()? }
            }
            Tok::For => self.for_stmt()?,
            Tok::Return => self.return_stmt()?,
            Tok::Break => {
                self.bump();
                StmtKind::Break
            }
            Tok::Continue => {
                self.bump();
                StmtKind::Continue
            }
            Tok::Test => {
                self.bump();
                let name = self.string("the name of the test, in quotes")?;
                StmtKind::Test { name, body: self.block()? }
            }
            Tok::Bench if self.peek_at(1) == Tok::Str => {
                self.bump();
                let name = self.string("the name of the benchmark, in quotes")?;
                StmtKind::Bench { name, body: self.block()? }
            }
            Tok::Expect => {
                self.bump();
                StmtKind::Expect(self.expr()?)
            }
            Tok::Fetch => self.fetch_stmt()?,
            Tok::Update if self.peek_at(1).is_name() && self.peek_at(2) == Tok::Set => {
                self.bump();
                let target = self.ident("the name of a list")?;
                self.bump();
                let set = self.map()?;
                let filter = if self.eat(Tok::Where) { Some(self.expr()?) } else { None };
                StmtKind::Update { target, set, filter }
            }
            Tok::Emit => {
                self.bump();
                let stream = self.ident("the name of a stream")?;
                StmtKind::Emit { stream, fields: self.field_inits()? }
            }
            Tok::Fun if self.peek_at(1) != Tok::OpenParen && self.peek_at(1) != Tok::Less => {
                self.fun_decl()?
            }
            Tok::Export => self.fun_decl()?,
            Tok::Type => self.type_decl()?,
            Tok::Import => self.import()?,
            Tok::Extern => self.extern_decl()?,
            Tok::Fact => self.fact()?,
            Tok::Rule => self.rule()?,
            Tok::Stream => self.stream()?,
            Tok::On => self.on()?,
            Tok::Agent => self.agent()?,
            Tok::Model if self.peek_at(1).is_name() && self.peek_at(2) == Tok::OpenBrace => self.model()?,
            Tok::CloseBrace => {
                let diagnostic = Diagnostic::error(Code::P001, self.here(), "this `}` closes nothing");
                let failed =
                    self.report(diagnostic.with_help("remove it, or add the `{` that it belongs to"));
                self.bump();
                return Err(failed);
            }
            Tok::Else | Tok::Then | Tok::Intent | Tok::Package | Tok::In => return Err(self.misplaced()),
            _ => self.expr_stmt()?,
        };
        let span = self.span_from(first);
        self.grow(span)?;
        Ok(self.ast.add(Stmt { kind, span }))
    }

    fn misplaced(&mut self) -> Failed {
        let help = match self.peek() {
            Tok::Else => "`else` follows the `}` of an `if`",
            Tok::Intent => "an intent stands inside an agent",
            Tok::Package => "`package` is the first word of a file",
            _ => "a statement cannot start with this word",
        };
        let message = format!("unexpected {}", self.found());
        self.report(Diagnostic::error(Code::P999, self.here(), message).with_help(help))
    }

    /// Reads `let` and `var`.
    pub(super) fn variable(&mut self) -> Parsed<StmtKind> {
        let (kind, word) =
            if self.peek() == Tok::Let { (BindKind::Let, "let") } else { (BindKind::Var, "var") };
        self.bump();
        let name = if self.peek() == Tok::None {
            let name = Ident { name: self.name(self.at), span: self.here() };
            self.bump();
            name
        } else {
            self.ident_or(Code::P031, &format!("a name behind `{word}`"))?
        };
        let ty = if self.eat(Tok::Colon) { Some(self.ty()?) } else { None };
        let value = if self.eat(Tok::Assign) { Some(self.expr()?) } else { None };
        Ok(StmtKind::Let { bind: self.bind(name, kind, ty), value })
    }

    fn if_stmt(&mut self) -> Parsed<StmtKind> {
        let mut branches = Vec::new();
        let otherwise = loop {
            self.bump();
            let cond = self.head()?;
            let body = self.block()?;
            branches.push(Branch { cond, body });
            if !self.eat(Tok::Else) {
                break None;
            }
            if self.peek() != Tok::If {
                break Some(self.block()?);
            }
        };
        Ok(StmtKind::If { branches: self.ast.add_list(branches), otherwise })
    }

    fn for_stmt(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let name = self.ident("the name of the loop variable")?;
        self.expect(Tok::In, Code::P999)?;
        let start = self.head()?;
        let end = if self.eat(Tok::DotDot) { Some(self.head()?) } else { None };
        let bind = self.bind(name, BindKind::For, None);
        let body = self.block()?;
        Ok(match end {
            Some(end) => StmtKind::ForRange { bind, start, end, body },
            None => StmtKind::ForIn { bind, items: start, body },
        })
    }

    fn return_stmt(&mut self) -> Parsed<StmtKind> {
        self.bump();
        if !self.starts_expr(self.at) {
            return Ok(StmtKind::Return(None));
        }
        // The value may stand on the next line; but an `if` there may be a statement as well.
        if self.peek() == Tok::If && self.trial.is_none() && self.starts_line(self.at) {
            return Ok(StmtKind::Return(self.attempt(|parser| parser.expr())));
        }
        Ok(StmtKind::Return(Some(self.expr()?)))
    }

    /// Reads `fetch` at the start of a statement, which may put the result into a variable.
    fn fetch_stmt(&mut self) -> Parsed<StmtKind> {
        let first = self.at;
        self.bump();
        let url = self.expr()?;
        if self.eat(Tok::Into) {
            let name = self.ident("the name of a variable")?;
            let with = self.with()?;
            return Ok(StmtKind::Fetch { url, bind: self.bind(name, BindKind::Fetch, None), with });
        }
        let with = self.with()?;
        let span = self.span_from(first);
        Ok(StmtKind::Expr(self.node(ExprKind::Fetch { url, with }, span)?))
    }

    fn expr_stmt(&mut self) -> Parsed<StmtKind> {
        let target = self.expr()?;
        if self.peek() != Tok::Assign {
            return Ok(StmtKind::Expr(target));
        }
        if !self.is_place(target) {
            let span = self.ast[target].span;
            let diagnostic = Diagnostic::error(Code::P999, span, "this cannot be assigned to");
            return Err(self
                .report(diagnostic.with_help("assign to a variable, an element `xs[i]` or a field `p.x`")));
        }
        self.bump();
        Ok(StmtKind::Assign { target, value: self.expr()? })
    }

    /// Whether an expression is a variable, or an element or field of a place.
    fn is_place(&self, mut expr: ExprId) -> bool {
        loop {
            expr = match self.ast[expr].kind {
                ExprKind::Name(_) => return true,
                ExprKind::Field { base, optional: false, .. }
                | ExprKind::Index { base, optional: false, .. }
                | ExprKind::Slice { base, .. } => base,
                _ => return false,
            };
        }
    }
}
