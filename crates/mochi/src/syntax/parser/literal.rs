//! Values of literals.

use memchr::memchr;

use super::{Parser, Tok};
use crate::diagnostics::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Ident, Name};

impl Parser<'_> {
    /// Reads an integer literal.
    pub(super) fn int(&mut self) -> i64 {
        let text = self.token_text(self.at);
        let value = match text.as_bytes() {
            [b'0', b'x' | b'X', ..] => i64::from_str_radix(&text[2..], 16),
            [b'0', b'b' | b'B', ..] => i64::from_str_radix(&text[2..], 2),
            [b'0', b'o' | b'O', ..] => i64::from_str_radix(&text[2..], 8),
            _ => text.parse(),
        };
        let value = value.unwrap_or_else(|_| {
            let message = format!("{} does not fit in 64 bits", self.found());
            self.complain(Diagnostic::error(Code::P045, self.here(), message));
            0
        });
        self.bump();
        value
    }

    /// Reads a float literal.
    pub(super) fn float(&mut self) -> f64 {
        let value = self.token_text(self.at).parse().unwrap_or(f64::INFINITY);
        if value.is_infinite() {
            let message = format!("{} is too large for a float", self.found());
            self.complain(Diagnostic::error(Code::P048, self.here(), message));
        }
        self.bump();
        value
    }

    /// Reads a string literal.
    pub(super) fn string(&mut self, what: &str) -> Result<Ident, super::Failed> {
        if self.peek() != Tok::Str {
            return Err(self.unexpected(Code::P999, what));
        }
        let span = self.here();
        let inner =
            self.text.get(span.start as usize + 1..(span.end as usize).saturating_sub(1)).unwrap_or("");
        let name = match memchr(b'\\', inner.as_bytes()) {
            None => self.names.intern(inner),
            Some(_) => self.unescape(span, inner),
        };
        self.bump();
        Ok(Ident { name, span })
    }

    fn unescape(&mut self, span: Span, inner: &str) -> Name {
        let bytes = inner.as_bytes();
        let mut out = Vec::with_capacity(inner.len());
        let mut at = 0;
        while let Some(len) = memchr(b'\\', &bytes[at..]) {
            out.extend_from_slice(&bytes[at..at + len]);
            at += len;
            match escape(&bytes[at..]) {
                Ok((value, len)) => {
                    match value {
                        Escape::Byte(byte) => out.push(byte),
                        Escape::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                    at += len;
                }
                Err(why) => {
                    let next = inner[at + 1..].chars().next();
                    let end = at + 1 + next.map_or(0, char::len_utf8);
                    let start = span.start + 1;
                    let place = Span::new(span.file, start + at as u32, start + end as u32);
                    let message = format!("{why}: `{}`", &inner[at..end]);
                    let mut diagnostic =
                        Diagnostic::error(Code::P041, span, message).with_label(place, "here");
                    if next == Some('\'') {
                        diagnostic = diagnostic.with_help("a single quote needs no backslash");
                    }
                    self.complain(diagnostic);
                    at = end;
                }
            }
        }
        out.extend_from_slice(&bytes[at..]);
        match String::from_utf8(out) {
            Ok(text) => self.names.intern(&text),
            Err(_) => {
                let message = "the escaped bytes are not valid UTF-8";
                let help = "write characters beyond ASCII as themselves or with \\u";
                self.complain(Diagnostic::error(Code::P041, span, message).with_help(help));
                self.names.intern("")
            }
        }
    }
}

enum Escape {
    Byte(u8),
    Char(char),
}

/// The value and length of the escape that a text starts with.
fn escape(text: &[u8]) -> Result<(Escape, usize), &'static str> {
    let digits = |count: usize, radix: u32| -> Option<u32> {
        let digits = text.get(if radix == 8 { 1..1 + count } else { 2..2 + count })?;
        digits.iter().try_fold(0, |value, &digit| Some(value * radix + (digit as char).to_digit(radix)?))
    };
    let simple = |byte| Ok((Escape::Byte(byte), 2));
    let scalar = |count| {
        let value = digits(count, 16).ok_or("digits are missing in an escape")?;
        let c = char::from_u32(value).ok_or("an escape that is no character")?;
        Ok((Escape::Char(c), 2 + count))
    };
    match text.get(1) {
        Some(b'a') => simple(7),
        Some(b'b') => simple(8),
        Some(b'f') => simple(12),
        Some(b'n') => simple(b'\n'),
        Some(b'r') => simple(b'\r'),
        Some(b't') => simple(b'\t'),
        Some(b'v') => simple(11),
        Some(b'\\') => simple(b'\\'),
        Some(b'"') => simple(b'"'),
        Some(b'x') => {
            let value = digits(2, 16).ok_or("digits are missing in an escape")?;
            Ok((Escape::Byte(value as u8), 4))
        }
        Some(b'0'..=b'7') => {
            let value = digits(3, 8).and_then(|value| u8::try_from(value).ok());
            Ok((Escape::Byte(value.ok_or("an octal escape has three digits, up to \\377")?), 4))
        }
        Some(b'u') => scalar(4),
        Some(b'U') => scalar(8),
        _ => Err("unknown escape"),
    }
}
