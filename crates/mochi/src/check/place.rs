//! Where diagnostics point.
//!
//! The tree keeps the span of each node with the parentheses around it. Diagnostics about an expression point inside of
//! those, and some point at a token between two nodes: a bracket, a question mark, the word `as`.

use crate::source::Span;
use crate::syntax::ast::{ExprId, ExprKind};

use super::Checker;

impl Checker<'_> {
    /// The span of an expression without parentheses around it.
    pub(super) fn place(&self, id: ExprId) -> Span {
        let span = self.ast[id].span;
        let start = match self.ast[id].kind {
            // The first operand's parentheses belong to the expression.
            ExprKind::Binary { .. } => self.ast[self.ast.binary_spine(id).first].span.start,
            ExprKind::Field { base, .. } | ExprKind::Index { base, .. } | ExprKind::Slice { base, .. } => {
                self.ast[base].span.start
            }
            ExprKind::Call { callee, .. } => self.ast[callee].span.start,
            ExprKind::Cast { value, .. } => self.ast[value].span.start,
            _ => {
                let mut start = self.skip_blanks(span.start, span.end);
                while start < span.end && self.byte(start) == Some(b'(') {
                    start = self.skip_blanks(start + 1, span.end);
                }
                start
            }
        };
        Span { start, ..self.without_closing(span, start) }
    }

    /// The span without the parentheses at its end that close those before `start`.
    fn without_closing(&self, span: Span, start: u32) -> Span {
        let open = (span.start..start).filter(|&at| self.byte(at) == Some(b'(')).count();
        let mut end = span.end;
        for _ in 0..open {
            while end > start && self.byte(end - 1).is_some_and(is_blank) {
                end -= 1;
            }
            if end > start && self.byte(end - 1) == Some(b')') {
                end -= 1;
            }
        }
        while end > start && self.byte(end - 1).is_some_and(is_blank) {
            end -= 1;
        }
        if end <= start { span } else { Span { end, ..span } }
    }

    /// The place of the leftmost part of a chain of fields, indexes and calls.
    pub(super) fn chain_root(&self, mut id: ExprId) -> Span {
        loop {
            id = match self.ast[id].kind {
                ExprKind::Field { base, .. }
                | ExprKind::Index { base, .. }
                | ExprKind::Slice { base, .. }
                | ExprKind::Call { callee: base, .. }
                | ExprKind::Cast { value: base, .. } => base,
                _ => return self.place(id),
            };
        }
    }

    /// The token behind an expression: the bracket of an index, the `as` of a cast.
    pub(super) fn token_behind(&self, id: ExprId) -> Span {
        let span = self.ast[id].span;
        let text = self.text;
        let start = self.skip_blanks(span.end, text.len() as u32);
        let rest = text.get(start as usize..).unwrap_or("");
        let word = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let other = rest.chars().next().map_or(0, char::len_utf8);
        Span { start, end: start + if word == 0 { other } else { word } as u32, ..span }
    }

    /// The word `word` before a span, if it stands there.
    pub(super) fn word_before(&self, span: Span, word: &str) -> Span {
        let before = self.text.get(..span.start as usize).unwrap_or("").trim_end();
        if !before.ends_with(word) {
            return span;
        }
        Span { start: (before.len() - word.len()) as u32, ..span }
    }

    fn byte(&self, at: u32) -> Option<u8> {
        self.text.as_bytes().get(at as usize).copied()
    }

    /// The first position from `at` on, below `end`, that is neither white space nor in a comment.
    fn skip_blanks(&self, mut at: u32, end: u32) -> u32 {
        while at < end {
            let rest = &self.text.as_bytes()[at as usize..end as usize];
            if rest[0] == b'#' || rest.starts_with(b"//") {
                at += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()) as u32;
            } else if rest.starts_with(b"/*") {
                let close = rest[2..].windows(2).position(|pair| pair == b"*/");
                at += close.map_or(rest.len(), |close| close + 4) as u32;
            } else if is_blank(rest[0]) {
                at += 1;
            } else {
                break;
            }
        }
        at
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b';'
}
