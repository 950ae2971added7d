//! Types and patterns.

use super::{Parsed, Parser, Tok};
use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{
    BindKind, Expr, ExprKind, FieldDecl, Ident, List, PatId, Pattern, PatternKind, Type, TypeId, TypeKind,
};

/// How deep a type argument list after `as` may nest to be recognised as one.
const MAX_SKIM: u32 = 64;

impl Parser<'_> {
    /// Reads a type.
    pub(super) fn ty(&mut self) -> Parsed<TypeId> {
        self.type_in(false)
    }

    /// Reads the type of a cast, where `<` may also be a comparison.
    pub(super) fn cast_type(&mut self) -> Parsed<TypeId> {
        self.type_in(true)
    }

    pub(super) fn starts_type(&self, index: usize) -> bool {
        matches!(self.kind_at(index), Tok::Fun | Tok::OpenBrace) || self.kind_at(index).is_name()
    }

    fn type_in(&mut self, cast: bool) -> Parsed<TypeId> {
        self.enter()?;
        let first = self.at;
        let kind = match self.peek() {
            Tok::Fun => self.fun_type()?,
            Tok::OpenBrace => self.struct_type()?,
            kind if kind.is_name() => {
                let name = self.ident("a type")?;
                let generic =
                    self.peek() == Tok::Less && (!cast || self.skim_arguments(self.at, 0).is_some());
                if generic { self.generic_type(name)? } else { TypeKind::Name(name.name) }
            }
            _ => return Err(self.unexpected(Code::P999, "a type")),
        };
        let mut id = self.ast.add(Type { kind, span: self.span_from(first) });
        // In a cast, `?.` and `?[` could be meant for the value; the type takes them all the same.
        if self.eat(Tok::Question) {
            id = self.ast.add(Type { kind: TypeKind::Optional(id), span: self.span_from(first) });
        }
        self.leave();
        Ok(id)
    }

    fn generic_type(&mut self, name: Ident) -> Parsed<TypeKind> {
        let open = self.at;
        self.bump();
        let mut args = Vec::new();
        loop {
            args.push(self.ty()?);
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.close(Tok::Greater, open, Code::P999)?;
        Ok(TypeKind::Generic { name, args: self.ast.add_list(args) })
    }

    fn fun_type(&mut self) -> Parsed<TypeKind> {
        self.bump();
        let open = self.at;
        self.expect(Tok::OpenParen, Code::P052)?;
        let mut params = Vec::new();
        if self.peek() != Tok::CloseParen {
            loop {
                params.push(self.ty()?);
                if !self.eat(Tok::Comma) {
                    break;
                }
            }
        }
        self.close(Tok::CloseParen, open, Code::P052)?;
        let params = self.ast.add_list(params);
        let result = if self.eat(Tok::Colon) { Some(self.ty()?) } else { None };
        Ok(TypeKind::Fun { params, result })
    }

    fn struct_type(&mut self) -> Parsed<TypeKind> {
        let open = self.at;
        self.bump();
        let mut fields = Vec::new();
        while self.peek() != Tok::CloseBrace {
            fields.push(self.field()?);
            if !self.eat(Tok::Comma) {
                break;
            }
        }
        self.close(Tok::CloseBrace, open, Code::P001)?;
        Ok(TypeKind::Struct(self.ast.add_list(fields)))
    }

    /// Reads `name: type`.
    pub(super) fn field(&mut self) -> Parsed<FieldDecl> {
        let name = self.ident("the name of a field")?;
        self.expect(Tok::Colon, Code::P999)?;
        Ok(FieldDecl { name, ty: self.ty()? })
    }

    /// Reads fields in braces; commas between them are optional.
    pub(super) fn fields(&mut self) -> Parsed<List<FieldDecl>> {
        let open = self.at;
        self.expect(Tok::OpenBrace, Code::P001)?;
        let mut fields = Vec::new();
        while self.peek().is_name() {
            fields.push(self.field()?);
            self.eat(Tok::Comma);
        }
        self.close(Tok::CloseBrace, open, Code::P001)?;
        Ok(self.ast.add_list(fields))
    }

    /// Index behind the type arguments that start at a `<`, if they are complete. Looks without reading.
    fn skim_arguments(&self, less: usize, depth: u32) -> Option<usize> {
        let mut index = less;
        loop {
            index = self.skim_type(index + 1, depth + 1)?;
            match self.kind_at(index) {
                Tok::Comma => {}
                Tok::Greater => return Some(index + 1),
                _ => return None,
            }
        }
    }

    /// Index behind the type that starts at `index`.
    pub(super) fn skim_type(&self, mut index: usize, depth: u32) -> Option<usize> {
        if depth > MAX_SKIM {
            return None;
        }
        match self.kind_at(index) {
            Tok::Fun if self.kind_at(index + 1) == Tok::OpenParen => {
                index = self.tokens[index + 1].partner()? + 1;
                if self.kind_at(index) == Tok::Colon {
                    index = self.skim_type(index + 1, depth + 1)?;
                }
            }
            Tok::OpenBrace => index = self.tokens[index].partner()? + 1,
            kind if kind.is_name() => {
                index += 1;
                if self.kind_at(index) == Tok::Less {
                    index = self.skim_arguments(index, depth)?;
                }
            }
            _ => return None,
        }
        Some(if self.kind_at(index) == Tok::Question { index + 1 } else { index })
    }
}

impl Parser<'_> {
    /// Reads the pattern of an arm and the arrow behind it.
    pub(super) fn arm_pattern(&mut self) -> Parsed<PatId> {
        let first = self.at;
        let depth = self.depth;
        let pattern = self.pattern()?;
        self.depth = depth;
        if let Some(pattern) = pattern
            && self.eat(Tok::Arrow)
        {
            return Ok(pattern);
        }
        // What stands before the arrow is an expression, but no pattern; or there is no arrow.
        let behind = self.at;
        while !matches!(self.peek(), Tok::Arrow | Tok::CloseBrace | Tok::Eof) {
            match self.tokens[self.at].partner() {
                Some(partner) if partner > self.at => self.at = partner + 1,
                _ => self.bump(),
            }
        }
        if self.peek() != Tok::Arrow {
            self.at = behind;
            return Err(self.unexpected(Code::P061, "`=>` behind the pattern"));
        }
        let span = self.span_from(first);
        let mut diagnostic = Diagnostic::error(Code::P063, span, "this is not a pattern");
        if self.tokens[first].kind == Tok::Minus {
            diagnostic = diagnostic.with_help("negative numbers cannot be matched; use `if`");
        }
        self.complain(diagnostic);
        self.bump();
        Ok(self.ast.add(Pattern { kind: PatternKind::Error, span }))
    }

    /// Reads a pattern; nothing if there is none.
    fn pattern(&mut self) -> Parsed<Option<PatId>> {
        let first = self.at;
        let literal = match self.peek() {
            Tok::Int => ExprKind::Int(self.int()),
            Tok::Float => ExprKind::Float(self.float()),
            Tok::Str => ExprKind::Str(self.string("a text")?.name),
            Tok::True | Tok::False => {
                let value = self.peek() == Tok::True;
                self.bump();
                ExprKind::Bool(value)
            }
            Tok::None => {
                self.bump();
                ExprKind::None
            }
            Tok::OpenParen => {
                let open = self.at;
                self.enter()?;
                self.bump();
                let Some(inner) = self.pattern()? else { return Ok(None) };
                if self.peek() != Tok::CloseParen {
                    return Ok(None);
                }
                self.bump();
                self.leave();
                self.ast.patterns[inner.index()].span = self.span_from(open);
                return Ok(Some(inner));
            }
            kind if kind.is_name() => return self.name_pattern(first),
            _ => return Ok(None),
        };
        let span = self.span_from(first);
        let literal = self.ast.add(Expr { kind: literal, span });
        Ok(Some(self.ast.add(Pattern { kind: PatternKind::Literal(literal), span })))
    }

    fn name_pattern(&mut self, first: usize) -> Parsed<Option<PatId>> {
        let name = self.ident("a pattern")?;
        let kind = if self.peek() == Tok::OpenParen {
            self.enter()?;
            self.bump();
            let mut args = Vec::new();
            if self.peek() != Tok::CloseParen {
                loop {
                    let Some(arg) = self.pattern()? else { return Ok(None) };
                    args.push(arg);
                    if !self.eat(Tok::Comma) {
                        break;
                    }
                }
            }
            if !self.eat(Tok::CloseParen) {
                return Ok(None);
            }
            self.leave();
            PatternKind::Constructor { name, args: self.ast.add_list(args) }
        } else if &self.names[name.name] == "_" {
            PatternKind::Wildcard
        } else {
            PatternKind::Name { name, bind: self.bind(name, BindKind::Pattern, None) }
        };
        let span: Span = self.span_from(first);
        Ok(Some(self.ast.add(Pattern { kind, span })))
    }
}
