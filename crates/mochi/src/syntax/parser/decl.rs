//! Declarations: functions, types, imports, and the parts for logic and agents.

use super::{Parsed, Parser, Tok};
use crate::diagnostics::{Code, Diagnostic};
use crate::syntax::ast::{
    BindId, BindKind, Block, Body, Condition, Extern, ExternKind, FunId, FunKind, Ident, Import, List, Stmt,
    StmtKind, TypeDecl, TypeDeclKind, Variant,
};

const LANGUAGES: [&str; 7] = ["go", "python", "typescript", "zig", "lua", "clj", "clojure"];

// Functions.
impl Parser<'_> {
    pub(super) fn fun_decl(&mut self) -> Parsed<StmtKind> {
        let first = self.at;
        let exported = self.eat(Tok::Export);
        self.expect(Tok::Fun, Code::P999)?;
        Ok(StmtKind::Fun(self.named_fun(first, FunKind::Decl, exported)?))
    }

    /// Reads a function from its name on.
    fn named_fun(&mut self, first: usize, kind: FunKind, exported: bool) -> Parsed<FunId> {
        let name = self.ident("the name of the function")?;
        let id = self.begin_fun(kind, Some(name), exported);
        let type_params = self.type_params()?;
        self.signature(id, type_params)?;
        let body = Body::Block(self.block()?);
        self.end_fun(id, body, first);
        Ok(id)
    }

    pub(super) fn type_params(&mut self) -> Parsed<List<Ident>> {
        let open = self.at;
        if !self.eat(Tok::Less) {
            return Ok(List::EMPTY);
        }
        let mut names = Vec::new();
        loop {
            names.push(self.ident("the name of a type parameter")?);
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.close(Tok::Greater, open, Code::P999)?;
        Ok(self.ast.add_list(names))
    }

    /// Reads parameters, result and effects into a function.
    pub(super) fn signature(&mut self, id: FunId, type_params: List<Ident>) -> Parsed<()> {
        let params = self.params()?;
        let result = if self.eat(Tok::Colon) { Some(self.ty()?) } else { None };
        let mut effects = Vec::new();
        if self.eat(Tok::Bang) {
            loop {
                effects.push(self.ident("the name of an effect")?);
                if !self.eat(Tok::Comma) {
                    break;
                }
            }
        }
        let effects = self.ast.add_list(effects);
        let fun = &mut self.ast.funs[id.index()];
        (fun.type_params, fun.params, fun.result, fun.effects) = (type_params, params, result, effects);
        Ok(())
    }

    fn params(&mut self) -> Parsed<List<BindId>> {
        let open = self.at;
        self.expect(Tok::OpenParen, Code::P052)?;
        let mut params = Vec::new();
        if self.peek() != Tok::CloseParen {
            loop {
                let name = self.ident("the name of a parameter")?;
                let ty = if self.eat(Tok::Colon) { Some(self.ty()?) } else { None };
                params.push(self.bind(name, BindKind::Param, ty));
                if self.eat(Tok::Comma) {
                    continue;
                }
                if !self.peek().is_name() {
                    break;
                }
                self.missing_comma(open, Tok::CloseParen)?;
            }
        }
        self.close(Tok::CloseParen, open, Code::P052)?;
        Ok(self.ast.add_list(params))
    }
}

// Types.
impl Parser<'_> {
    pub(super) fn type_decl(&mut self) -> Parsed<StmtKind> {
        let first = self.at;
        self.bump();
        let name = self.ident("the name of the type")?;
        let kind = if self.peek() == Tok::OpenBrace {
            self.struct_decl()?
        } else {
            self.expect(Tok::Assign, Code::P999)?;
            self.type_decl_body()?
        };
        let decl = TypeDecl { name, kind, span: self.span_from(first) };
        Ok(StmtKind::Type(self.ast.add(decl)))
    }

    fn type_decl_body(&mut self) -> Parsed<TypeDeclKind> {
        if self.peek() == Tok::OpenBrace {
            return self.struct_decl();
        }
        if self.peek() == Tok::Bar {
            let diagnostic = Diagnostic::error(Code::P999, self.here(), "no `|` before the first variant");
            return Err(self.report(diagnostic.with_help("write `type T = A | B`")));
        }
        if !self.peek().is_name() || !self.is_variant(self.at + 1) {
            return Ok(TypeDeclKind::Alias(self.ty()?));
        }
        let mut variants = Vec::new();
        loop {
            let first = self.at;
            let name = self.ident("the name of a variant")?;
            let fields = self.payload()?;
            variants.push(Variant { name, fields, span: self.span_from(first) });
            if !self.eat(Tok::Bar) {
                break;
            }
        }
        Ok(TypeDeclKind::Union(self.ast.add_list(variants)))
    }

    /// Whether the name before `index` is a variant: it has a payload, or another variant follows.
    fn is_variant(&self, index: usize) -> bool {
        match self.kind_at(index) {
            Tok::Bar | Tok::OpenBrace => true,
            Tok::OpenParen => self.kind_at(index + 1).is_name() && self.kind_at(index + 2) == Tok::Colon,
            _ => false,
        }
    }

    fn payload(&mut self) -> Parsed<List<crate::syntax::ast::FieldDecl>> {
        match self.peek() {
            Tok::OpenBrace => self.fields(),
            Tok::OpenParen if self.is_variant(self.at) => {
                let open = self.at;
                self.bump();
                let mut fields = Vec::new();
                while self.peek() != Tok::CloseParen {
                    fields.push(self.field()?);
                    if !self.eat(Tok::Comma) {
                        break;
                    }
                }
                self.close(Tok::CloseParen, open, Code::P052)?;
                Ok(self.ast.add_list(fields))
            }
            _ => Ok(List::EMPTY),
        }
    }

    /// Reads fields and methods in braces.
    fn struct_decl(&mut self) -> Parsed<TypeDeclKind> {
        let open = self.at;
        self.bump();
        let (mut fields, mut methods) = (Vec::new(), Vec::new());
        while self.peek() != Tok::CloseBrace {
            let first = self.at;
            if self.peek() == Tok::Fun {
                self.bump();
                methods.push(self.named_fun(first, FunKind::Method, false)?);
            } else if self.peek().is_name() || self.peek().is_keyword() {
                fields.push(self.field()?);
            } else {
                break;
            }
            self.eat(Tok::Comma);
        }
        self.close(Tok::CloseBrace, open, Code::P001)?;
        Ok(TypeDeclKind::Struct { fields: self.ast.add_list(fields), methods: self.ast.add_list(methods) })
    }
}

// Imports and externs.
impl Parser<'_> {
    pub(super) fn import(&mut self) -> Parsed<StmtKind> {
        let first = self.at;
        self.bump();
        let lang = if self.peek().is_name() { Some(self.ident("a language")?) } else { None };
        let path = self.string("the path of the package, in quotes")?;
        let has_alias = self.eat(Tok::As);
        let alias = if has_alias { Some(self.ident("the name for the package")?) } else { None };
        let auto =
            self.peek() == Tok::Auto && !matches!(self.peek_at(1), Tok::Assign | Tok::OpenParen | Tok::Dot);
        if auto {
            self.bump();
        }
        let span = self.span_from(first);
        if let Some(lang) = lang
            && !LANGUAGES.contains(&&self.names[lang.name])
        {
            let message = format!("there is no import language `{}`", &self.names[lang.name]);
            let diagnostic =
                Diagnostic::error(Code::P064, span, message).with_label(lang.span, "unknown language");
            self.complain(diagnostic);
        }
        let alias = alias.unwrap_or_else(|| {
            let path_text = self.names[path.name].trim_end_matches('/');
            let segment = path_text.rsplit('/').next().unwrap_or_default();
            let stem = segment.rsplit_once('.').map_or(segment, |(stem, _)| stem).to_owned();
            Ident { name: self.names.intern(&stem), span: path.span }
        });
        let bind = self.bind(alias, BindKind::Import, None);
        let import = Import { lang, path, bind, has_alias, auto, span };
        Ok(StmtKind::Import(self.ast.add(import)))
    }

    pub(super) fn extern_decl(&mut self) -> Parsed<StmtKind> {
        let first = self.at;
        self.bump();
        let what = self.peek();
        if !matches!(what, Tok::Type | Tok::Object | Tok::Let | Tok::Var | Tok::Fun) {
            return Err(self.unexpected(Code::P999, "`type`, `object`, `let`, `var` or `fun`"));
        }
        self.bump();
        let mut path = vec![self.ident("a name")?];
        if matches!(what, Tok::Let | Tok::Var | Tok::Fun) {
            while self.eat(Tok::Dot) {
                path.push(self.ident("a name")?);
            }
        }
        let (kind, ty) = match what {
            Tok::Type => (ExternKind::Type, None),
            Tok::Object => (ExternKind::Object, None),
            Tok::Fun => {
                let params = self.params()?;
                let result = if self.eat(Tok::Colon) { Some(self.ty()?) } else { None };
                (ExternKind::Fun { params, result }, None)
            }
            _ => {
                self.expect(Tok::Colon, Code::P999)?;
                let ty = self.ty()?;
                (if what == Tok::Let { ExternKind::Let(ty) } else { ExternKind::Var(ty) }, Some(ty))
            }
        };
        let is_variable = path.len() == 1 && what != Tok::Type;
        let bind = is_variable.then(|| self.bind(path[0], BindKind::Extern, ty));
        let decl = Extern { kind, path: self.ast.add_list(path), bind, span: self.span_from(first) };
        Ok(StmtKind::Extern(self.ast.add(decl)))
    }
}

// Logic, streams and agents.
impl Parser<'_> {
    pub(super) fn fact(&mut self) -> Parsed<StmtKind> {
        self.bump();
        Ok(StmtKind::Fact(self.pred()?))
    }

    pub(super) fn rule(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let head = self.pred()?;
        if self.peek() != Tok::Colon || self.peek_at(1) != Tok::Minus {
            return Err(self.unexpected(Code::P999, "`:-`"));
        }
        self.at += 2;
        let mut body = Vec::new();
        loop {
            body.push(if self.peek_at(1) == Tok::NotEqual {
                let left = self.ident("the name of a variable")?;
                self.bump();
                Condition::NotEqual(left, self.ident("the name of a variable")?)
            } else {
                Condition::Pred(self.pred()?)
            });
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        Ok(StmtKind::Rule { head, body: self.ast.add_list(body) })
    }

    pub(super) fn stream(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let name = self.ident("the name of the stream")?;
        Ok(StmtKind::Stream { name, fields: self.fields()? })
    }

    pub(super) fn on(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let stream = self.ident("the name of a stream")?;
        self.expect(Tok::As, Code::P999)?;
        let name = self.ident("the name of the event variable")?;
        let bind = self.bind(name, BindKind::Event, None);
        Ok(StmtKind::On { stream, bind, body: self.block()? })
    }

    pub(super) fn model(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let name = self.ident("the name of the model")?;
        let open = self.at;
        self.bump();
        let mut fields = Vec::new();
        while self.peek() != Tok::CloseBrace {
            let name = self.ident("the name of a setting")?;
            self.expect(Tok::Colon, Code::P999)?;
            fields.push(crate::syntax::ast::FieldInit { name, value: self.inner()? });
            self.eat(Tok::Comma);
        }
        self.close(Tok::CloseBrace, open, Code::P001)?;
        Ok(StmtKind::Model { name, fields: self.ast.add_list(fields) })
    }

    pub(super) fn agent(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let name = self.ident("the name of the agent")?;
        let open = self.at;
        self.expect(Tok::OpenBrace, Code::P001)?;
        let base = self.stmt_stack.len();
        let mut tallest = self.height;
        while self.peek() != Tok::CloseBrace && self.peek() != Tok::Eof {
            self.height = 0;
            let first = self.at;
            let id = if self.peek() == Tok::Intent {
                self.bump();
                let kind = StmtKind::Intent(self.named_fun(first, FunKind::Intent, false)?);
                let span = self.span_from(first);
                self.grow(span)?;
                self.ast.add(Stmt { kind, span })
            } else {
                self.statement()?
            };
            if !matches!(
                self.ast[id].kind,
                StmtKind::Let { .. } | StmtKind::Assign { .. } | StmtKind::On { .. } | StmtKind::Intent(_)
            ) {
                let span = self.ast[id].span;
                let diagnostic =
                    Diagnostic::error(Code::P999, span, "this statement cannot stand directly in an agent");
                self.complain(
                    diagnostic.with_help("an agent holds variables, assignments, `on` handlers and intents"),
                );
            }
            self.stmt_stack.push(id);
            tallest = tallest.max(self.height);
        }
        self.height = tallest;
        self.close(Tok::CloseBrace, open, Code::P001)?;
        let stmts = self.ast.add_list(self.stmt_stack.drain(base..));
        let body = Block { stmts, span: self.span_from(open) };
        Ok(StmtKind::Agent { name, body })
    }
}
