//! The parser: tokens to [`Program`], by recursive descent.
//!
//! The grammar is defined by ordered choice with backtracking. This parser decides each choice by looking ahead instead:
//! at most a few tokens, or a scan over the tokens directly inside one pair of braces, whose nested brackets are jumped
//! over. The one exception, a bare `return` above an `if`, is tried and taken back, never inside another try. So time is
//! linear in the file.
//!
//! A syntax error is reported where it is met; the failure travels up to the statement around it, which is given up, and
//! parsing goes on with the next statement of the same block. A failure that was reported leaves a node of kind `Error`.
//! Two errors are never reported at the same token.
//!
//! Files of this module: [`stmt`] and [`decl`] hold statements, [`expr`] and [`query`] expressions, [`plan`] what queries do, [`ty`] types and patterns,
//! [`literal`] the values of literals; this one holds what they share.

mod decl;
mod expr;
mod literal;
mod plan;
mod query;
mod stmt;
mod ty;

use super::ast::{
    Bind, BindId, BindKind, Block, ExprId, FunId, Ident, Interner, List, MAX_NESTING, Name, Program, Sizes,
    Stmt, StmtId, StmtKind, TypeId,
};
use super::lexer::{self, MAX_ERRORS, Tok, Token};
use crate::diagnostics::{Code, Diagnostic};
use crate::source::{FileId, Span};

/// A syntax error was reported; whoever parses a statement recovers.
pub(super) struct Failed;

type Parsed<T> = Result<T, Failed>;

pub(super) fn parse(file: FileId, text: &str, names: &mut Interner) -> (Program, Vec<Diagnostic>) {
    let (tokens, diagnostics) = lexer::lex(file, text);
    let mut program = Program::default();
    program.file = file;
    let expected = tokens.len();
    program.exprs.reserve(expected / 2);
    program.stmts.reserve(expected / 8);
    let mut parser = Parser::new(text, &tokens, names, program, diagnostics);
    parser.file_body();
    let Parser { mut ast, mut diagnostics, .. } = parser;
    ast.body.span = Span::new(file, 0, text.len() as u32);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    (ast, diagnostics)
}

/// Reads statements of a parsed file again.
pub(crate) struct Again<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

impl<'a> Again<'a> {
    /// The file and its text.
    pub fn new(file: FileId, text: &'a str) -> Self {
        Again { text, tokens: lexer::lex(file, text).0 }
    }

    /// Adds what the statement that begins at an offset is to a program, as nodes of its own; nothing where none begins there.
    pub fn statement(&self, program: &mut Program, names: &mut Interner, at: u32) -> Option<StmtId> {
        let first = self.tokens.binary_search_by_key(&at, |token| token.start).ok()?;
        let mut parser = Parser::new(self.text, &self.tokens, names, std::mem::take(program), Vec::new());
        parser.at = first;
        let read = parser.statement().ok().filter(|_| parser.diagnostics.is_empty());
        *program = parser.ast;
        read
    }
}

struct Parser<'a> {
    file: FileId,
    text: &'a str,
    tokens: &'a [Token],
    /// Index of the token that comes next.
    at: usize,
    names: &'a mut Interner,
    ast: Program,
    diagnostics: Vec<Diagnostic>,
    /// Token at which the last error was reported.
    error_at: usize,
    /// Finished elements of the lists that are being read.
    expr_stack: Vec<ExprId>,
    /// Finished statements of the blocks that are being read.
    stmt_stack: Vec<StmtId>,
    /// The function around the current place.
    fun: Option<FunId>,
    /// How deep the parser is in itself.
    depth: u32,
    /// Height of the tallest tree that was finished in the current expression or statement.
    height: u32,
    /// Whether a block follows the current expression, so that `name {}` ends it; see `is_struct_literal`.
    in_head: bool,
    /// Whether the file declares a variable called `none`.
    none_is_name: bool,
    /// While something is tried: whether it failed. Errors are not reported then.
    trial: Option<bool>,
    /// Whether parsing ended early, after which nothing is reported.
    stopped: bool,
}

/// What a trial has to put back.
struct Mark {
    at: usize,
    sizes: Sizes,
    exprs: usize,
    stmts: usize,
    context: Context,
}

/// What a failure leaves in disorder.
#[derive(Clone, Copy)]
struct Context {
    fun: Option<FunId>,
    depth: u32,
    height: u32,
    in_head: bool,
    exprs: usize,
}

impl<'a> Parser<'a> {
    /// A parser at the first token that adds to a program.
    fn new(
        text: &'a str,
        tokens: &'a [Token],
        names: &'a mut Interner,
        program: Program,
        diagnostics: Vec<Diagnostic>,
    ) -> Self {
        let none_is_name = tokens
            .windows(2)
            .any(|pair| matches!(pair[0].kind, Tok::Let | Tok::Var) && pair[1].kind == Tok::None);
        Parser {
            file: program.file,
            text,
            tokens,
            at: 0,
            names,
            ast: program,
            diagnostics,
            error_at: usize::MAX,
            expr_stack: Vec::new(),
            stmt_stack: Vec::new(),
            fun: None,
            depth: 0,
            height: 0,
            in_head: false,
            none_is_name,
            trial: None,
            stopped: false,
        }
    }
}

// Tokens.
impl Parser<'_> {
    fn peek(&self) -> Tok {
        self.tokens[self.at].kind
    }

    /// The kind of a token further on.
    fn peek_at(&self, distance: usize) -> Tok {
        self.kind_at(self.at + distance)
    }

    fn kind_at(&self, index: usize) -> Tok {
        self.tokens.get(index).map_or(Tok::Eof, |token| token.kind)
    }

    fn bump(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn eat(&mut self, kind: Tok) -> bool {
        let found = self.peek() == kind;
        if found {
            self.bump();
        }
        found
    }

    fn token_span(&self, index: usize) -> Span {
        let token = self.tokens[index];
        Span::new(self.file, token.start, token.end())
    }

    /// Place of the next token.
    fn here(&self) -> Span {
        self.token_span(self.at)
    }

    /// From a token to the last one read.
    fn span_from(&self, first: usize) -> Span {
        let last = self.at.saturating_sub(1).max(first);
        Span::new(self.file, self.tokens[first].start, self.tokens[last].end())
    }

    fn token_text(&self, index: usize) -> &str {
        let token = self.tokens[index];
        &self.text[token.start as usize..token.end() as usize]
    }

    /// Whether a token is the first on its line.
    fn starts_line(&self, index: usize) -> bool {
        let before = index.checked_sub(1).map_or(0, |before| self.tokens[before].end() as usize);
        self.text.as_bytes()[before..self.tokens[index].start as usize].contains(&b'\n')
    }

    fn name(&mut self, index: usize) -> Name {
        let token = self.tokens[index];
        self.names.intern(&self.text[token.start as usize..token.end() as usize])
    }

    /// Reads a name.
    fn ident(&mut self, what: &str) -> Parsed<Ident> {
        self.ident_or(Code::P999, what)
    }

    fn ident_or(&mut self, code: Code, what: &str) -> Parsed<Ident> {
        if !self.peek().is_name() {
            let failed = self.unexpected(code, what);
            // A word of the language in place of a name: it does not start the next statement.
            if self.peek().is_keyword() && !self.starts_line(self.at) {
                self.bump();
            }
            return Err(failed);
        }
        let ident = Ident { name: self.name(self.at), span: self.here() };
        self.bump();
        Ok(ident)
    }

    /// Reads a fixed token.
    fn expect(&mut self, kind: Tok, code: Code) -> Parsed<()> {
        if self.eat(kind) {
            return Ok(());
        }
        let wanted = format!("`{}`", kind.text().unwrap_or_default());
        Err(self.unexpected(code, &wanted))
    }

    /// Reads the bracket that closes the one at `open`.
    fn close(&mut self, kind: Tok, open: usize, code: Code) -> Parsed<()> {
        if self.eat(kind) {
            return Ok(());
        }
        let wanted = format!("`{}`", kind.text().unwrap_or_default());
        let message = format!("expected {wanted}, found {}", self.found());
        let diagnostic = Diagnostic::error(code, self.here(), message)
            .with_label(self.here(), format!("expected {wanted}"))
            .with_label(self.token_span(open), "to close this");
        Err(self.report(diagnostic))
    }
}

// Errors.
impl Parser<'_> {
    /// Reports an error at the next token, unless one was reported there.
    fn report(&mut self, diagnostic: Diagnostic) -> Failed {
        if self.error_at != self.at || self.trial.is_some() {
            if self.trial.is_none() {
                self.error_at = self.at;
            }
            self.complain(diagnostic);
        }
        Failed
    }

    /// Reports an error that does not stop the statement.
    fn complain(&mut self, diagnostic: Diagnostic) {
        if let Some(failed) = &mut self.trial {
            *failed = true;
        } else if !self.stopped {
            self.diagnostics.push(diagnostic);
            if self.diagnostics.len() >= MAX_ERRORS {
                self.stop();
            }
        }
    }

    fn unexpected(&mut self, code: Code, expected: &str) -> Failed {
        let message = format!("expected {expected}, found {}", self.found());
        let mut diagnostic = Diagnostic::error(code, self.here(), message)
            .with_label(self.here(), format!("expected {expected}"));
        let kind = self.peek();
        if kind.is_keyword() && expected.contains("name") {
            let word = kind.text().unwrap_or_default();
            diagnostic =
                diagnostic.with_help(format!("`{word}` is a word of the language; choose another name"));
        }
        self.report(diagnostic)
    }

    /// The next token in words.
    fn found(&self) -> String {
        match self.peek() {
            Tok::Eof => "the end of the file".to_owned(),
            Tok::Str => "a string".to_owned(),
            _ => {
                let text = self.token_text(self.at);
                match text.char_indices().nth(40) {
                    Some((cut, _)) => format!("`{}…`", &text[..cut]),
                    None => format!("`{text}`"),
                }
            }
        }
    }

    /// Ends parsing: the rest of the file is not looked at.
    fn stop(&mut self) {
        self.stopped = true;
        self.at = self.tokens.len() - 1;
    }

    fn too_deep(&mut self, span: Span) -> Failed {
        let message = format!("the program nests more than {MAX_NESTING} levels deep");
        let help = "give inner parts names of their own, with `let` or `fun`";
        self.complain(Diagnostic::error(Code::P999, span, message).with_help(help));
        self.stop();
        Failed
    }

    /// Counts a level of recursion; [`Parser::leave`] ends it, or the recovery of the statement around.
    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_NESTING { Err(self.too_deep(self.here())) } else { Ok(()) }
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Counts a node on top of those that were finished.
    fn grow(&mut self, span: Span) -> Parsed<()> {
        self.height += 1;
        if self.height > MAX_NESTING { Err(self.too_deep(span)) } else { Ok(()) }
    }

    fn context(&self) -> Context {
        Context {
            fun: self.fun,
            depth: self.depth,
            height: self.height,
            in_head: self.in_head,
            exprs: self.expr_stack.len(),
        }
    }

    fn restore(&mut self, context: Context) {
        (self.fun, self.depth) = (context.fun, context.depth);
        (self.height, self.in_head) = (context.height, context.in_head);
        self.expr_stack.truncate(context.exprs);
    }

    /// Tries to parse something: if it fails, everything is as before.
    fn attempt<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Option<T> {
        debug_assert!(self.trial.is_none(), "trials do not nest");
        let mark = Mark {
            at: self.at,
            sizes: self.ast.sizes(),
            exprs: self.expr_stack.len(),
            stmts: self.stmt_stack.len(),
            context: self.context(),
        };
        self.trial = Some(false);
        let result = parse(self).ok();
        let failed = self.trial.take() == Some(true);
        if result.is_some() && !failed {
            return result;
        }
        self.stopped = false;
        self.at = mark.at;
        self.ast.truncate(mark.sizes);
        self.restore(mark.context);
        self.expr_stack.truncate(mark.exprs);
        self.stmt_stack.truncate(mark.stmts);
        None
    }
}

// Statements in a row, and what to do when one fails.
impl Parser<'_> {
    fn file_body(&mut self) {
        if self.eat(Tok::Package) {
            match self.ident("the name of the package") {
                Ok(name) => self.ast.package = Some(name),
                Err(Failed) => self.recover(0, Tok::Eof),
            }
        }
        self.ast.body.stmts = self.statements(Tok::Eof);
    }

    /// Reads statements up to `close` or the end of the file.
    fn statements(&mut self, close: Tok) -> List<StmtId> {
        let base = self.stmt_stack.len();
        let outer = std::mem::take(&mut self.height);
        let mut tallest = outer;
        while self.peek() != close && self.peek() != Tok::Eof {
            let first = self.at;
            let context = self.context();
            let stmts = self.stmt_stack.len();
            let statement = self.statement();
            let id = match statement {
                Ok(id) => id,
                Err(Failed) if self.trial == Some(true) => break,
                Err(Failed) => {
                    self.restore(context);
                    self.stmt_stack.truncate(stmts);
                    self.recover(first, close);
                    let span = self.span_from(first);
                    self.ast.add(Stmt { kind: StmtKind::Error, span })
                }
            };
            self.stmt_stack.push(id);
            tallest = tallest.max(std::mem::take(&mut self.height));
        }
        self.height = tallest;
        self.ast.add_list(self.stmt_stack.drain(base..))
    }

    /// Skips what is left of a statement that failed.
    fn recover(&mut self, first: usize, close: Tok) {
        if self.stopped {
            return;
        }
        // An error inside brackets: go on behind the outermost of those that the statement opened.
        let mut index = first;
        while index < self.at {
            match self.tokens[index].partner() {
                Some(partner) if partner >= self.at => self.at = (partner + 1).min(self.tokens.len() - 1),
                Some(partner) if partner > index => index = partner + 1,
                _ => index += 1,
            }
        }
        loop {
            let kind = self.peek();
            if kind == Tok::Eof
                || kind == close && self.at > first
                || self.at > first && self.starts_statement()
            {
                return;
            }
            match self.tokens[self.at].partner() {
                Some(partner) if partner > self.at => {
                    self.at = partner;
                    self.bump();
                    // Behind a body in braces, the next thing is most likely a new statement.
                    if kind == Tok::OpenBrace && self.peek() != Tok::Else && self.starts_line(self.at) {
                        return;
                    }
                }
                _ => self.bump(),
            }
        }
    }

    /// Whether the next token looks like the beginning of a statement.
    fn starts_statement(&self) -> bool {
        match self.peek() {
            kind if lexer::starts_only_statements(kind) => true,
            Tok::If | Tok::Fun | Tok::Match | Tok::Fetch | Tok::Load | Tok::Save | Tok::On => {
                self.starts_line(self.at)
            }
            kind => kind.is_name() && self.starts_line(self.at),
        }
    }

    /// Reads a block in braces.
    fn block(&mut self) -> Parsed<Block> {
        let open = self.at;
        if !self.eat(Tok::OpenBrace) {
            return Err(self.no_block());
        }
        self.enter()?;
        let in_head = std::mem::replace(&mut self.in_head, false);
        let stmts = self.statements(Tok::CloseBrace);
        self.in_head = in_head;
        self.leave();
        if self.trial == Some(true) {
            return Err(Failed);
        }
        // At the end of the file the blocks around have nothing to add.
        if !self.eat(Tok::CloseBrace) {
            let message = format!("expected `}}`, found {}", self.found());
            let mut diagnostic = Diagnostic::error(Code::P001, self.here(), message)
                .with_label(self.here(), "expected `}`")
                .with_label(self.token_span(open), "to close this");
            if self.error_at != self.at
                && let Some(suspect) = self.badly_indented_block(open)
            {
                let label = "or this, whose `}` stands further left than the line it belongs to";
                diagnostic = diagnostic.with_label(self.token_span(suspect), label);
            }
            self.report(diagnostic);
        }
        Ok(Block { stmts, span: self.span_from(open) })
    }

    /// The first brace behind `open` whose partner starts a line and is indented less than the line of the brace: it took a
    /// partner that was meant for another.
    fn badly_indented_block(&self, open: usize) -> Option<usize> {
        // Lines that are longer than a screen tell nothing, and looking through them takes long.
        let indent = |index: usize| {
            let end = self.tokens[index].start as usize;
            let near = &self.text.as_bytes()[end.saturating_sub(500)..end];
            let line = near.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
            if line.len() == 500 {
                0
            } else {
                line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
            }
        };
        let pairs = (open + 1..self.tokens.len()).filter(|&index| self.tokens[index].kind == Tok::OpenBrace);
        pairs
            .filter_map(|index| Some((index, self.tokens[index].partner()?)))
            .take(10_000)
            .find(|&(index, close)| self.starts_line(close) && indent(close) < indent(index))
            .map(|(index, _)| index)
    }

    fn no_block(&mut self) -> Failed {
        if self.peek() == Tok::Assign {
            let diagnostic = Diagnostic::error(Code::P999, self.here(), "an assignment is not a condition");
            return self.report(diagnostic.with_help("to compare, write `==`"));
        }
        self.unexpected(Code::P001, "`{`")
    }

    fn bind(&mut self, ident: Ident, kind: BindKind, ty: Option<TypeId>) -> BindId {
        self.ast.add(Bind { name: ident.name, span: ident.span, kind, ty, fun: self.fun })
    }
}
