//! Splits the text form into tokens with their places.

use std::fmt;

/// Why a text is no module, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextError {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for TextError {}

/// What a token is. Words, numbers and punctuation keep their text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token<'t> {
    /// A name, mnemonic or register: letters, digits, `_`, and `.` or `-` between those.
    Word(&'t str),
    /// A number, with its sign.
    Number(&'t str),
    /// A string, unescaped.
    Text(String),
    /// Punctuation.
    Mark(&'t str),
    /// The end of the text.
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(w) | Token::Number(w) | Token::Mark(w) => write!(f, "`{w}`"),
            Token::Text(_) => f.write_str("a string"),
            Token::End => f.write_str("the end"),
        }
    }
}

/// A cursor over the text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, at: 0 }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// An error at a byte of the text.
    pub(super) fn error(&self, at: usize, message: impl Into<String>) -> TextError {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.bytes().filter(|&b| b == b'\n').count() as u32 + 1;
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        TextError { line, column: before[start..].chars().count() as u32 + 1, message: message.into() }
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.rest().starts_with(';') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    /// The next token with the byte where it starts.
    pub(super) fn next(&mut self) -> Result<(Token<'t>, usize), TextError> {
        self.skip_blanks();
        let start = self.at;
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let Some(&first) = bytes.first() else { return Ok((Token::End, start)) };
        let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
        let take = |lexer: &mut Self, n: usize| {
            lexer.at += n;
            &rest[..n]
        };
        if first == b'"' {
            return Ok((Token::Text(self.string()?), start));
        }
        if first.is_ascii_digit() || (matches!(first, b'-' | b'+') && digit(1)) {
            let mut n = 1;
            while let Some(&b) = bytes.get(n) {
                let exponent_sign = matches!(b, b'-' | b'+')
                    && matches!(bytes[n - 1], b'e' | b'E')
                    && !rest.starts_with("0x")
                    && digit(n + 1);
                if b.is_ascii_alphanumeric() || (b == b'.' && digit(n + 1)) || exponent_sign {
                    n += 1;
                } else {
                    break;
                }
            }
            return Ok((Token::Number(take(self, n)), start));
        }
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if word(first) || (first == b'.' && bytes.get(1).is_some_and(u8::is_ascii_alphabetic)) {
            let mut n = 1;
            while let Some(&b) = bytes.get(n) {
                let joint = matches!(b, b'.' | b'-') && bytes.get(n + 1).copied().is_some_and(word);
                if word(b) || joint {
                    n += 1;
                } else {
                    break;
                }
            }
            return Ok((Token::Word(take(self, n)), start));
        }
        for mark in ["->", "..", "{", "}", "(", ")", ",", ":", "=", "@", "?", "!", "|"] {
            if rest.starts_with(mark) {
                return Ok((Token::Mark(take(self, mark.len())), start));
            }
        }
        let odd = rest.chars().next().unwrap_or(' ');
        Err(self.error(start, format!("unexpected character {odd:?}")))
    }

    /// A string; the cursor is at its opening quote.
    fn string(&mut self) -> Result<String, TextError> {
        let open = self.at;
        let mut out = String::new();
        let mut chars = self.text[open + 1..].char_indices();
        while let Some((i, c)) = chars.next() {
            let here = open + 1 + i;
            match c {
                '"' => {
                    self.at = here + 1;
                    return Ok(out);
                }
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, c @ ('"' | '\\'))) => out.push(c),
                    Some((_, 'u')) => {
                        let rest = chars.as_str();
                        let code = rest.strip_prefix('{').and_then(|r| r.split_once('}')).map(|(hex, _)| hex);
                        let scalar = code
                            .filter(|hex| hex.len() <= 6)
                            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                            .and_then(char::from_u32);
                        let (Some(hex), Some(scalar)) = (code, scalar) else {
                            return Err(self
                                .error(here, "expected \\u{…} with the hexadecimal number of a character"));
                        };
                        out.push(scalar);
                        // Behind the braces: the hexadecimal digits are ASCII.
                        for _ in 0..hex.len() + 2 {
                            chars.next();
                        }
                    }
                    Some(_) | None => return Err(self.error(here, "unknown escape in a string")),
                },
                c => out.push(c),
            }
        }
        Err(self.error(open, "a string without end"))
    }
}
