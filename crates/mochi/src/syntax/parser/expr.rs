//! Expressions.

use super::{Failed, Parsed, Parser, Tok};
use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{
    Arm, BinaryOp, BindKind, Body, Choice, Expr, ExprId, ExprKind, FieldInit, Fun, FunId, FunKind, Ident,
    List, MapEntry, MapKey, UnaryOp,
};

impl Parser<'_> {
    /// Reads an expression.
    pub(super) fn expr(&mut self) -> Parsed<ExprId> {
        self.binary(0)
    }

    /// Reads an expression that a block follows: `name {}` is a name and an empty block there.
    pub(super) fn head(&mut self) -> Parsed<ExprId> {
        let in_head = std::mem::replace(&mut self.in_head, true);
        let expr = self.expr()?;
        self.in_head = in_head;
        Ok(expr)
    }

    /// Reads an expression inside brackets.
    pub(super) fn inner(&mut self) -> Parsed<ExprId> {
        let in_head = std::mem::replace(&mut self.in_head, false);
        let expr = self.expr()?;
        self.in_head = in_head;
        Ok(expr)
    }

    /// Whether the next token can start an expression.
    pub(super) fn starts_expr(&self, index: usize) -> bool {
        use Tok::{
            Bang, False, Fetch, Float, Fun, Generate, If, Int, Load, Match, Minus, None, OpenBrace,
            OpenBracket, OpenParen, Save, Str, True,
        };
        match self.kind_at(index) {
            Int | Float | Str | True | False | None | OpenParen | OpenBracket | OpenBrace | Minus | Bang
            | If | Match | Generate | Fetch | Load | Save => true,
            Fun => matches!(self.kind_at(index + 1), OpenParen | Tok::Less),
            kind => kind.is_name(),
        }
    }

    pub(super) fn node(&mut self, kind: ExprKind, span: Span) -> Parsed<ExprId> {
        self.grow(span)?;
        Ok(self.ast.add(Expr { kind, span }))
    }

    /// Reads operators of at least a level with their operands.
    fn binary(&mut self, level: u8) -> Parsed<ExprId> {
        self.enter()?;
        let outer = std::mem::take(&mut self.height);
        let mut left = self.unary()?;
        let mut in_chain = false;
        while let Some((op, width)) = self.binary_op() {
            if op.level() < level {
                break;
            }
            let first = self.at;
            self.at += width;
            let op_span = self.span_from(first);
            if self.peek() == Tok::Assign || self.peek() == Tok::Plus && op == BinaryOp::Add {
                return Err(self.no_such_operator(op_span));
            }
            // A chain of operators counts as one level, however long.
            let height = std::mem::take(&mut self.height);
            let right = self.binary(op.level() + 1)?;
            self.height = (self.height + 1).max(height + u32::from(!in_chain));
            in_chain = true;
            let span = self.ast[left].span.to(self.ast[right].span);
            if self.height > super::MAX_NESTING {
                return Err(self.too_deep(span));
            }
            left = self.ast.add(Expr { kind: ExprKind::Binary { op, op_span, left, right }, span });
        }
        self.height = self.height.max(outer);
        self.leave();
        Ok(left)
    }

    /// `x += 1` and `x++`, which other languages have.
    fn no_such_operator(&mut self, op_span: Span) -> Failed {
        let span = op_span.to(self.here());
        let text = &self.text[span.start as usize..span.end as usize];
        let op = &text[..1];
        let message = format!("there is no operator `{text}`");
        let help = format!("write the variable twice, as in `x = x {op} 1`");
        self.report(Diagnostic::error(Code::P999, span, message).with_help(help))
    }

    /// The next token as a binary operator, with the number of tokens that it takes.
    fn binary_op(&self) -> Option<(BinaryOp, usize)> {
        let op = match self.peek() {
            Tok::Star => BinaryOp::Mul,
            Tok::Slash => BinaryOp::Div,
            Tok::Percent => BinaryOp::Rem,
            Tok::Plus => BinaryOp::Add,
            Tok::Minus => BinaryOp::Sub,
            Tok::Less => BinaryOp::Less,
            Tok::LessEqual => BinaryOp::LessEqual,
            Tok::Greater => BinaryOp::Greater,
            Tok::GreaterEqual => BinaryOp::GreaterEqual,
            Tok::EqualEqual => BinaryOp::Equal,
            Tok::NotEqual => BinaryOp::NotEqual,
            Tok::In => BinaryOp::In,
            Tok::And => BinaryOp::And,
            Tok::Or => BinaryOp::Or,
            Tok::Coalesce => BinaryOp::Coalesce,
            Tok::Union if self.peek_at(1) == Tok::All && self.is_set_operand(2) => {
                return Some((BinaryOp::UnionAll, 2));
            }
            Tok::Union if self.is_set_operand(1) => BinaryOp::Union,
            Tok::Except if self.is_set_operand(1) => BinaryOp::Except,
            Tok::Intersect if self.is_set_operand(1) => BinaryOp::Intersect,
            _ => return None,
        };
        Some((op, 1))
    }

    /// Whether the next word is an operator and not a name at the start of the next statement: `union(a, b)` at the start of
    /// a line is a call, all else that can be an operand continues the expression.
    fn is_set_operand(&self, distance: usize) -> bool {
        let index = self.at + distance;
        if !self.starts_expr(index) {
            return false;
        }
        let adjacent = self.tokens[self.at].end() == self.tokens[index].start;
        if self.kind_at(index) != Tok::OpenParen || !adjacent || !self.starts_line(self.at) {
            return true;
        }
        let Some(close) = self.tokens[index].partner() else { return true };
        let mut inside = index + 1;
        while inside < close {
            if self.kind_at(inside) == Tok::Comma {
                return false;
            }
            if self.kind_at(inside) == Tok::As
                && let Some(behind) = self.skim_type(inside + 1, 0)
            {
                inside = behind;
                continue;
            }
            inside = self.tokens[inside].partner().filter(|&partner| partner > inside).unwrap_or(inside) + 1;
        }
        close > index + 1
    }

    fn unary(&mut self) -> Parsed<ExprId> {
        let first = self.at;
        while matches!(self.peek(), Tok::Minus | Tok::Bang) {
            self.bump();
        }
        let behind = self.at;
        let mut operand = self.postfix()?;
        for index in (first..behind).rev() {
            let op = if self.kind_at(index) == Tok::Minus { UnaryOp::Neg } else { UnaryOp::Not };
            let span = self.token_span(index).to(self.ast[operand].span);
            operand = self.node(ExprKind::Unary { op, operand }, span)?;
        }
        Ok(operand)
    }

    fn postfix(&mut self) -> Parsed<ExprId> {
        let mut base = self.primary()?;
        loop {
            let start = self.ast[base].span;
            let kind = match self.peek() {
                Tok::OpenParen => ExprKind::Call { callee: base, args: self.args()? },
                Tok::OpenBracket => self.index(base)?,
                Tok::Dot => {
                    self.bump();
                    ExprKind::Field { base, name: self.ident("the name of a field")?, optional: false }
                }
                Tok::Question if self.peek_at(1) == Tok::Dot => {
                    self.at += 2;
                    ExprKind::Field { base, name: self.ident("the name of a field")?, optional: true }
                }
                Tok::Question if self.peek_at(1) == Tok::OpenBracket => {
                    let open = self.at + 1;
                    self.at += 2;
                    let index = self.inner()?;
                    self.close(Tok::CloseBracket, open, Code::P999)?;
                    ExprKind::Index { base, index, optional: true }
                }
                Tok::As if self.starts_type(self.at + 1) => {
                    self.bump();
                    ExprKind::Cast { value: base, ty: self.cast_type()? }
                }
                _ => return Ok(base),
            };
            let span = start.to(self.token_span(self.at - 1));
            base = self.node(kind, span)?;
        }
    }

    fn args(&mut self) -> Parsed<List<ExprId>> {
        self.elements(Tok::CloseParen, false)
    }

    /// Reads expressions between brackets, the first of which comes next.
    fn elements(&mut self, close: Tok, trailing_comma: bool) -> Parsed<List<ExprId>> {
        let open = self.at;
        self.bump();
        let base = self.expr_stack.len();
        let in_head = std::mem::replace(&mut self.in_head, false);
        if self.peek() != close {
            loop {
                let element = self.expr()?;
                self.expr_stack.push(element);
                if self.eat(Tok::Comma) {
                    if trailing_comma && self.peek() == close {
                        break;
                    }
                } else if self.peek() == close {
                    break;
                } else {
                    self.missing_comma(open, close)?;
                }
            }
        }
        self.in_head = in_head;
        self.bump();
        Ok(self.ast.add_list(self.expr_stack.drain(base..)))
    }

    /// Neither comma nor closing bracket behind an element: reading goes on if another element seems to follow.
    pub(super) fn missing_comma(&mut self, open: usize, close: Tok) -> Parsed<()> {
        let element = self.starts_expr(self.at) && !matches!(self.peek(), Tok::OpenBrace | Tok::If);
        if !element || self.starts_line(self.at) && self.tokens[open].partner().is_none() {
            return self.close(close, open, Code::P052);
        }
        let before = self.token_span(self.at - 1);
        let gap = Span::new(self.file, before.end, before.end);
        let message = format!("expected `,`, found {}", self.found());
        let diagnostic =
            Diagnostic::error(Code::P051, self.here(), message).with_label(gap, "a comma is missing here");
        self.report(diagnostic);
        Ok(())
    }

    fn index(&mut self, base: ExprId) -> Parsed<ExprKind> {
        let open = self.at;
        self.bump();
        let in_head = std::mem::replace(&mut self.in_head, false);
        let mut parts = [None; 3];
        let mut colons = 0;
        loop {
            if self.peek() == Tok::Colon && colons < 2 {
                self.bump();
                colons += 1;
            } else if self.peek() == Tok::CloseBracket || parts[colons].is_some() {
                break;
            } else {
                parts[colons] = Some(self.expr()?);
            }
        }
        if self.peek() == Tok::DotDot {
            let diagnostic = Diagnostic::error(Code::P999, self.here(), "a slice is not written with `..`");
            return Err(self.report(diagnostic.with_help("write `xs[a:b]`")));
        }
        self.in_head = in_head;
        self.close(Tok::CloseBracket, open, Code::P999)?;
        match parts {
            [None, None, None] => {
                let diagnostic =
                    Diagnostic::error(Code::P060, self.span_from(open), "the brackets are empty");
                self.complain(diagnostic);
                Ok(ExprKind::Error)
            }
            [Some(index), ..] if colons == 0 => Ok(ExprKind::Index { base, index, optional: false }),
            [start, end, step] => Ok(ExprKind::Slice { base, start, end, step }),
        }
    }

    fn primary(&mut self) -> Parsed<ExprId> {
        let first = self.at;
        let kind = match self.peek() {
            Tok::Int => ExprKind::Int(self.int()),
            Tok::Float => ExprKind::Float(self.float()),
            Tok::Str => ExprKind::Str(self.string("a text")?.name),
            Tok::True | Tok::False => {
                let value = self.peek() == Tok::True;
                self.bump();
                ExprKind::Bool(value)
            }
            Tok::None if self.none_is_name => {
                let name = self.name(self.at);
                self.bump();
                ExprKind::Name(name)
            }
            Tok::None => {
                self.bump();
                ExprKind::None
            }
            Tok::OpenParen => return self.parens(),
            Tok::OpenBracket => ExprKind::List(self.elements(Tok::CloseBracket, true)?),
            Tok::OpenBrace => ExprKind::Map(self.map()?),
            Tok::If => self.if_expr()?,
            Tok::Fun => ExprKind::Fun(self.lambda()?),
            Tok::Match => self.match_expr()?,
            Tok::Generate => {
                self.bump();
                let target = self.ident("`text`, `embedding` or the name of a type")?;
                ExprKind::Generate { target, fields: self.field_inits()? }
            }
            Tok::Fetch => {
                self.bump();
                let url = self.expr()?;
                ExprKind::Fetch { url, with: self.with()? }
            }
            Tok::Load => self.load()?,
            Tok::Save => self.save()?,
            Tok::From if self.peek_at(1).is_name() && self.peek_at(2) == Tok::In => self.query()?,
            Tok::Query if self.peek_at(1).is_name() && self.peek_at(2) == Tok::OpenParen => {
                self.bump();
                ExprKind::Logic(self.pred()?)
            }
            kind if kind.is_name() => {
                let name = self.ident("a name")?;
                if self.is_struct_literal() {
                    ExprKind::Struct { name, fields: self.field_inits()? }
                } else {
                    ExprKind::Name(name.name)
                }
            }
            _ => return Err(self.no_expr()),
        };
        self.node(kind, self.span_from(first))
    }

    fn no_expr(&mut self) -> Failed {
        let kind = self.peek();
        let doubled = self.at > 0 && self.kind_at(self.at - 1) == kind;
        let help = match kind {
            Tok::Fun => "a function inside an expression has no name: `fun(x) => x`",
            Tok::Question => "there is no `a ? b : c`; write `if a { b } else { c }`",
            Tok::Bar => "the logical or is `||`",
            Tok::Less | Tok::Greater if doubled => {
                "there are no shift operators; multiply or divide by a power of two"
            }
            Tok::Star if doubled => "there is no power operator; write a function or multiply",
            Tok::Else => "`else` follows the `}` of an `if`",
            _ if kind.is_keyword() => "this word starts a statement, which cannot stand inside an expression",
            _ => return self.unexpected(Code::P999, "an expression"),
        };
        let message = format!("expected an expression, found {}", self.found());
        self.report(Diagnostic::error(Code::P999, self.here(), message).with_help(help))
    }

    fn parens(&mut self) -> Parsed<ExprId> {
        let open = self.at;
        self.bump();
        let expr = self.inner()?;
        self.close(Tok::CloseParen, open, Code::P052)?;
        self.ast.exprs[expr.index()].span = self.span_from(open);
        Ok(expr)
    }

    /// Whether a name that was just read starts a struct literal: what comes next are braces with a field in them. Empty
    /// braces are a struct literal too, unless a block is expected behind the expression.
    fn is_struct_literal(&self) -> bool {
        self.peek() == Tok::OpenBrace
            && match self.peek_at(1) {
                Tok::CloseBrace => !self.in_head,
                kind => (kind.is_name() || kind.is_keyword()) && self.peek_at(2) == Tok::Colon,
            }
    }

    /// Reads `{ name: value, .. }`.
    pub(super) fn field_inits(&mut self) -> Parsed<List<FieldInit>> {
        let open = self.at;
        self.expect(Tok::OpenBrace, Code::P001)?;
        let mut fields = Vec::new();
        while self.peek() != Tok::CloseBrace {
            let name = self.ident("the name of a field")?;
            self.expect(Tok::Colon, Code::P999)?;
            fields.push(FieldInit { name, value: self.inner()? });
            if !self.eat(Tok::Comma) {
                if self.peek() == Tok::CloseBrace {
                    break;
                }
                self.missing_field_comma(open)?;
            }
        }
        self.bump();
        Ok(self.ast.add_list(fields))
    }

    fn missing_field_comma(&mut self, open: usize) -> Parsed<()> {
        if matches!(self.peek_at(1), Tok::Colon) {
            self.missing_comma(open, Tok::CloseBrace)
        } else {
            self.close(Tok::CloseBrace, open, Code::P001)
        }
    }

    /// Reads a map literal.
    pub(super) fn map(&mut self) -> Parsed<List<MapEntry>> {
        let open = self.at;
        self.expect(Tok::OpenBrace, Code::P001)?;
        let mut entries = Vec::new();
        while self.peek() != Tok::CloseBrace {
            let key = if self.peek().is_name() && self.peek_at(1) == Tok::Colon {
                MapKey::Name(self.ident("a key")?)
            } else if self.peek().is_keyword()
                && self.peek_at(1) == Tok::Colon
                && !matches!(self.peek(), Tok::None | Tok::True | Tok::False)
            {
                let word = self.found();
                let diagnostic =
                    Diagnostic::error(Code::P999, self.here(), format!("{word} is a word of the language"));
                return Err(self.report(diagnostic.with_help("write the key as a string, in quotes")));
            } else {
                MapKey::Expr(self.inner()?)
            };
            if self.peek() != Tok::Colon && matches!(self.peek(), Tok::Comma | Tok::CloseBrace) {
                let diagnostic = Diagnostic::error(Code::P999, self.here(), "a map entry needs a value");
                return Err(
                    self.report(diagnostic.with_help("an entry is `key: value`; a list is written in `[ ]`"))
                );
            }
            self.expect(Tok::Colon, Code::P999)?;
            entries.push(MapEntry { key, value: self.inner()? });
            if !self.eat(Tok::Comma) {
                if self.peek() == Tok::CloseBrace {
                    break;
                }
                self.missing_field_comma(open)?;
            }
        }
        self.bump();
        Ok(self.ast.add_list(entries))
    }

    /// Whether the brace at `open` starts a map literal and not a block: it is empty, or a colon comes before anything that
    /// cannot be in a key.
    fn is_map(&self, open: usize) -> bool {
        let mut index = open + 1;
        if self.kind_at(index) == Tok::CloseBrace {
            return true;
        }
        loop {
            use Tok::{
                Arrow, Assign, Bar, CloseBrace, CloseBracket, CloseParen, Colon, Comma, DotDot, Eof,
                OpenBrace, OpenBracket, OpenParen,
            };
            match self.kind_at(index) {
                Colon => return true,
                OpenBrace | OpenBracket | OpenParen => match self.tokens[index].partner() {
                    Some(close) => index = close,
                    None => return false,
                },
                CloseBrace | CloseBracket | CloseParen | Comma | Assign | Arrow | Bar | DotDot | Eof => {
                    return false;
                }
                Tok::In | Tok::None | Tok::True | Tok::False | Tok::Generate => {}
                kind if kind.is_keyword() => return false,
                _ => {}
            }
            index += 1;
        }
    }

    fn if_expr(&mut self) -> Parsed<ExprKind> {
        let mut choices = Vec::new();
        let otherwise = loop {
            self.bump();
            let cond = self.head()?;
            let value = match self.peek() {
                Tok::OpenBrace => self.braced()?,
                Tok::Then => {
                    self.bump();
                    self.expr()?
                }
                _ => return Err(self.no_block()),
            };
            choices.push(Choice { cond, value });
            if !self.eat(Tok::Else) {
                break None;
            }
            match self.peek() {
                Tok::If => {}
                Tok::OpenBrace if !self.is_map(self.at) => break Some(self.braced()?),
                _ => break Some(self.expr()?),
            }
        };
        Ok(ExprKind::If { choices: self.ast.add_list(choices), otherwise })
    }

    /// Reads the branch of an `if` expression.
    fn braced(&mut self) -> Parsed<ExprId> {
        let open = self.at;
        self.bump();
        let value = self.inner()?;
        if self.peek() != Tok::CloseBrace && self.peek() != Tok::Eof {
            let message = format!("expected `}}`, found {}", self.found());
            let diagnostic = Diagnostic::error(Code::P001, self.here(), message)
                .with_label(self.token_span(open), "to close this")
                .with_help("a branch of an `if` inside an expression holds one expression");
            return Err(self.report(diagnostic));
        }
        self.close(Tok::CloseBrace, open, Code::P001)?;
        Ok(value)
    }

    fn match_expr(&mut self) -> Parsed<ExprKind> {
        self.bump();
        let subject = self.head()?;
        let open = self.at;
        self.expect(Tok::OpenBrace, Code::P001)?;
        let in_head = std::mem::replace(&mut self.in_head, false);
        let mut arms = Vec::new();
        while self.peek() != Tok::CloseBrace && self.peek() != Tok::Eof {
            let first = self.at;
            let pattern = self.arm_pattern()?;
            let body = match self.peek() {
                Tok::CloseBrace | Tok::Eof => {
                    let diagnostic =
                        Diagnostic::error(Code::P061, self.span_from(first), "this arm does nothing");
                    self.complain(diagnostic);
                    Body::Expr(self.node(ExprKind::Error, self.here())?)
                }
                Tok::OpenBrace if !self.is_map(self.at) => Body::Block(self.block()?),
                _ => Body::Expr(self.expr()?),
            };
            arms.push(Arm { pattern, body, span: self.span_from(first) });
            match self.peek() {
                Tok::Comma => {
                    let diagnostic =
                        Diagnostic::error(Code::P999, self.here(), "no comma between the arms of a match");
                    self.report(diagnostic.with_help("remove the comma"));
                    self.bump();
                }
                Tok::Arrow => {
                    let diagnostic = Diagnostic::error(
                        Code::P063,
                        self.here(),
                        "what stands before `=>` is not a pattern",
                    );
                    return Err(self.report(diagnostic));
                }
                _ => {}
            }
        }
        self.in_head = in_head;
        self.close(Tok::CloseBrace, open, Code::P001)?;
        Ok(ExprKind::Match { subject, arms: self.ast.add_list(arms) })
    }

    fn lambda(&mut self) -> Parsed<FunId> {
        let first = self.at;
        self.bump();
        let id = self.begin_fun(FunKind::Lambda, None, false);
        let type_params = self.type_params()?;
        if self.peek().is_name() {
            return Err(self.no_expr_for_named_fun());
        }
        self.signature(id, type_params)?;
        let body = match self.peek() {
            Tok::Arrow => {
                self.bump();
                match self.peek() {
                    Tok::OpenBrace if !self.is_map(self.at) => Body::Block(self.block()?),
                    _ => Body::Expr(self.expr()?),
                }
            }
            _ => Body::Block(self.block()?),
        };
        self.end_fun(id, body, first);
        Ok(id)
    }

    fn no_expr_for_named_fun(&mut self) -> Failed {
        let diagnostic =
            Diagnostic::error(Code::P999, self.here(), "a function inside an expression has no name");
        self.report(diagnostic.with_help("leave the name out, or declare the function as a statement"))
    }

    /// Starts a function: what is read until [`Parser::end_fun`] belongs to it.
    pub(super) fn begin_fun(&mut self, kind: FunKind, name: Option<Ident>, exported: bool) -> FunId {
        let bind = name.map(|name| self.bind(name, BindKind::Fun, None));
        let id = self.ast.add(Fun {
            kind,
            bind,
            exported,
            type_params: List::EMPTY,
            params: List::EMPTY,
            result: None,
            effects: List::EMPTY,
            body: Body::Block(super::Block::default()),
            parent: self.fun,
            span: self.here(),
        });
        self.fun = Some(id);
        id
    }

    pub(super) fn end_fun(&mut self, id: FunId, body: Body, first: usize) {
        let span = self.span_from(first);
        let fun = &mut self.ast.funs[id.index()];
        fun.body = body;
        fun.span = span;
        self.fun = fun.parent;
    }
}
