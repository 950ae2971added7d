//! Tokens.
//!
//! The whole file becomes one vector of [`Token`]s before parsing starts: the parser looks ahead freely at no cost and
//! jumps over bracketed regions, because every bracket knows its partner. A token is nine bytes of facts and no text;
//! names are interned and literals are read when the parser gets to them. Comments and white space, `;` included, leave
//! nothing behind.
//!
//! Malformed text gives a diagnostic and, where there is one, the token that was probably meant, so that the parser has
//! nothing to add. A file with [`MAX_ERRORS`] of these, or over [`MAX_TOKENS`] tokens, has no tokens at all.

use memchr::{memchr, memchr2, memchr3, memmem};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::diagnostics::{Code, Diagnostic};
use crate::source::{FileId, Span};

/// How many syntax errors one file is told about.
pub const MAX_ERRORS: usize = 100;

/// How many tokens a file may have: some 40 MB of ordinary text. The tree takes up to 60 bytes for a token, and a hostile
/// file shall not fill the memory.
pub const MAX_TOKENS: usize = 1 << 23;

macro_rules! tokens {
    (
        keywords { $($keyword:ident $keyword_text:literal)* }
        soft { $($soft:ident $soft_text:literal)* }
        punctuation { $($punct:ident $punct_text:literal)* }
    ) => {
        /// Kinds of tokens.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub(crate) enum Tok {
            $($keyword,)*
            /// A name that is no word of the language.
            Ident,
            // Words that mean something in one place and are names elsewhere; see [`Tok::is_name`].
            $($soft,)*
            Int,
            Float,
            Str,
            $($punct,)*
            /// End of the file.
            Eof,
        }

        impl Tok {
            /// The fixed text of the token, if it has one.
            pub(crate) const fn text(self) -> Option<&'static str> {
                match self {
                    $(Tok::$keyword => Some($keyword_text),)*
                    $(Tok::$soft => Some($soft_text),)*
                    $(Tok::$punct => Some($punct_text),)*
                    Tok::Ident | Tok::Int | Tok::Float | Tok::Str | Tok::Eof => None,
                }
            }

            /// Whether it is a reserved word.
            pub(crate) const fn is_keyword(self) -> bool {
                (self as u8) < (Tok::Ident as u8)
            }

            /// Whether it can stand where a name is wanted.
            pub(crate) const fn is_name(self) -> bool {
                self as u8 >= Tok::Ident as u8 && (self as u8) < (Tok::Int as u8)
            }
        }

        /// The words with their kinds.
        const WORDS: &[(&str, Tok)] = &[$(($keyword_text, Tok::$keyword),)* $(($soft_text, Tok::$soft),)*];
    };
}

tokens! {
    keywords {
        Test "test"
        Expect "expect"
        Agent "agent"
        Intent "intent"
        On "on"
        Stream "stream"
        Emit "emit"
        Type "type"
        Fun "fun"
        Extern "extern"
        Import "import"
        Return "return"
        Break "break"
        Continue "continue"
        Let "let"
        Var "var"
        If "if"
        Else "else"
        Then "then"
        For "for"
        While "while"
        In "in"
        Generate "generate"
        Match "match"
        Fetch "fetch"
        Load "load"
        Save "save"
        Package "package"
        Export "export"
        Fact "fact"
        Rule "rule"
        None "none"
        True "true"
        False "false"
    }
    soft {
        All "all"
        Bench "bench"
        Model "model"
        Update "update"
        Set "set"
        Where "where"
        Query "query"
        From "from"
        Join "join"
        Left "left"
        Right "right"
        Outer "outer"
        Group "group"
        By "by"
        Into "into"
        Having "having"
        Sort "sort"
        Order "order"
        Skip "skip"
        Take "take"
        Select "select"
        Distinct "distinct"
        As "as"
        With "with"
        To "to"
        Union "union"
        Except "except"
        Intersect "intersect"
        Object "object"
        Auto "auto"
    }
    punctuation {
        EqualEqual "=="
        NotEqual "!="
        LessEqual "<="
        GreaterEqual ">="
        And "&&"
        Or "||"
        Arrow "=>"
        DotDot ".."
        Coalesce "??"
        Minus "-"
        Plus "+"
        Star "*"
        Slash "/"
        Percent "%"
        Assign "="
        Less "<"
        Greater ">"
        Bang "!"
        Bar "|"
        OpenBrace "{"
        CloseBrace "}"
        OpenBracket "["
        CloseBracket "]"
        OpenParen "("
        CloseParen ")"
        Comma ","
        Dot "."
        Colon ":"
        Question "?"
    }
}

/// Where [`word`] looks first, and the table it looks in: open addressing, filled at compile time. A lookup mostly
/// compares with one word, and a name that is no word mostly with none.
const fn word_slot(text: &[u8]) -> usize {
    let (first, last) = (text[0] as usize, text[text.len() - 1] as usize);
    first.wrapping_mul(17) ^ last.wrapping_mul(41) ^ text.len().wrapping_mul(91)
}

const WORD_TABLE: [u8; 512] = {
    let mut table = [u8::MAX; 512];
    let mut index = 0;
    while index < WORDS.len() {
        let mut slot = word_slot(WORDS[index].0.as_bytes()) % 512;
        while table[slot] != u8::MAX {
            slot = (slot + 1) % 512;
        }
        table[slot] = index as u8;
        index += 1;
    }
    table
};

fn word(text: &[u8]) -> Tok {
    let mut slot = word_slot(text) % 512;
    while WORD_TABLE[slot] != u8::MAX {
        let (candidate, kind) = WORDS[WORD_TABLE[slot] as usize];
        if candidate.as_bytes() == text {
            return kind;
        }
        slot = (slot + 1) % 512;
    }
    Tok::Ident
}

/// A token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Tok,
    /// Offset of the first byte.
    pub(crate) start: u32,
    /// Offset behind the last byte; of a bracket, which has one byte, the index of its partner, or `u32::MAX`.
    end: u32,
}

impl Token {
    /// Offset behind the last byte.
    pub(crate) fn end(self) -> u32 {
        if self.is_bracket() { self.start + 1 } else { self.end }
    }

    /// The matching bracket of a bracket.
    pub(crate) fn partner(self) -> Option<usize> {
        (self.is_bracket() && self.end != u32::MAX).then_some(self.end as usize)
    }

    fn is_bracket(self) -> bool {
        (Tok::OpenBrace as u8..=Tok::CloseParen as u8).contains(&(self.kind as u8))
    }
}

/// Cuts a text into tokens, ending with one [`Tok::Eof`].
pub(crate) fn lex(file: FileId, text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let mut lexer = Lexer {
        file,
        text,
        bytes: text.as_bytes(),
        at: 0,
        tokens: Vec::with_capacity((text.len() / 4 + 16).min(1 << 20)),
        diagnostics: Vec::new(),
    };
    if text.starts_with('\u{feff}') {
        lexer.at = 3;
    }
    lexer.run();
    if lexer.full() {
        // The file is given up: an end in the middle of something would only give more errors.
        lexer.tokens = Vec::new();
    }
    let end = text.len() as u32;
    lexer.tokens.push(Token { kind: Tok::Eof, start: end, end });
    match_brackets(&mut lexer.tokens);
    (lexer.tokens, lexer.diagnostics)
}

/// Whether a character can start a name.
pub(crate) fn starts_name(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic() || c == '_';
    }
    use GeneralCategory::{
        LowercaseLetter, ModifierLetter, OtherLetter, OtherSymbol, TitlecaseLetter, UppercaseLetter,
    };
    matches!(
        c.general_category(),
        UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter | OtherSymbol
    )
}

/// Whether a character can continue a name.
pub(crate) fn continues_name(c: char) -> bool {
    starts_name(c) || c.is_numeric()
}

/// Classes of bytes, for the main loop.
const SPACE: u8 = 1;
const WORD: u8 = 2;
const DIGIT: u8 = 3;
const WIDE: u8 = 4;
const OTHER: u8 = 0;

const CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b' ' | b'\t' | b'\r' | b'\n' | b';' => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => WORD,
            b'0'..=b'9' => DIGIT,
            0x80.. => WIDE,
            _ => OTHER,
        };
        byte += 1;
    }
    class
};

struct Lexer<'a> {
    file: FileId,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    diagnostics: Vec<Diagnostic>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            match CLASS[byte as usize] {
                SPACE => self.at += 1,
                WORD => self.name(),
                DIGIT => self.number(),
                WIDE => self.wide(),
                _ => self.punctuation(byte),
            }
            if self.tokens.len() >= MAX_TOKENS {
                let message = format!("the file has more than {MAX_TOKENS} tokens");
                let help = "keep large data in a file of its own, and read it when the program runs";
                self.report(
                    Diagnostic::error(Code::P999, self.span(self.at, self.at), message).with_help(help),
                );
                return;
            }
            if self.diagnostics.len() >= MAX_ERRORS {
                return;
            }
        }
    }

    fn full(&self) -> bool {
        self.tokens.len() >= MAX_TOKENS || self.diagnostics.len() >= MAX_ERRORS
    }

    fn byte(&self, offset: usize) -> u8 {
        self.bytes.get(self.at + offset).copied().unwrap_or(0)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start as u32, end as u32)
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn push(&mut self, kind: Tok, start: usize) {
        self.tokens.push(Token { kind, start: start as u32, end: self.at as u32 });
    }

    fn char_at(&self, at: usize) -> Option<char> {
        self.text[at..].chars().next()
    }

    /// Moves behind the characters that continue a name.
    fn skip_name(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            match CLASS[byte as usize] {
                WORD | DIGIT => self.at += 1,
                WIDE => match self.char_at(self.at) {
                    Some(c) if continues_name(c) => self.at += c.len_utf8(),
                    _ => return,
                },
                _ => return,
            }
        }
    }

    fn name(&mut self) {
        let start = self.at;
        self.at += 1;
        self.skip_name();
        let kind = word(&self.bytes[start..self.at]);
        self.push(kind, start);
    }

    fn wide(&mut self) {
        let start = self.at;
        let c = self.char_at(start).expect("the lexer stops at character boundaries");
        self.at += c.len_utf8();
        if starts_name(c) {
            self.skip_name();
            self.push(Tok::Ident, start);
            return;
        }
        let span = self.span(start, self.at);
        let code = if c == '\u{feff}' { Code::P047 } else { Code::P999 };
        let message = match c {
            '\u{feff}' => "a byte order mark in the middle of the file".to_owned(),
            _ if c.is_whitespace() || c.is_control() || !is_visible(c) => {
                format!("the invisible character U+{:04X}", c as u32)
            }
            _ => format!("unexpected character `{c}`"),
        };
        let diagnostic = Diagnostic::error(code, span, message);
        self.report(match c {
            '\u{feff}' => diagnostic,
            '“' | '”' | '„' | '«' | '»' => {
                diagnostic.with_help("strings are written in straight quotes: \"")
            }
            '‘' | '’' => diagnostic.with_help("strings are written in straight double quotes: \""),
            '−' | '–' | '—' => diagnostic.with_help("the minus sign is `-`"),
            '×' | '·' => diagnostic.with_help("multiplication is `*`"),
            '≤' => diagnostic.with_help("write `<=`"),
            '≥' => diagnostic.with_help("write `>=`"),
            '≠' => diagnostic.with_help("write `!=`"),
            _ => diagnostic.with_help("remove it; such characters may stand in strings and comments only"),
        });
    }

    fn number(&mut self) {
        let start = self.at;
        let radix = match (self.byte(0), self.byte(1) | 0x20) {
            (b'0', b'x') => 16,
            (b'0', b'b') => 2,
            (b'0', b'o') => 8,
            _ => 10,
        };
        let mut kind = Tok::Int;
        if radix == 10 {
            self.skip_digits();
            if self.byte(0) == b'.' && self.byte(1).is_ascii_digit() {
                self.at += 1;
                self.skip_digits();
                kind = Tok::Float;
            }
            let sign = usize::from(matches!(self.byte(1), b'+' | b'-'));
            if self.byte(0) | 0x20 == b'e' && self.byte(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.skip_digits();
                kind = Tok::Float;
            }
        } else {
            self.at += 2;
            let digits = self.at;
            while (self.byte(0) as char).is_digit(radix) {
                self.at += 1;
            }
            if self.at == digits {
                self.skip_name();
                let prefix = &self.text[start..start + 2];
                let message = format!("digits are missing behind `{prefix}`");
                self.report(Diagnostic::error(Code::P046, self.span(start, self.at), message));
                self.push_zero(start);
                return;
            }
        }
        let end = self.at;
        self.skip_name();
        if self.at > end {
            let rest = self.span(end, self.at);
            let message = format!("`{}` directly behind a number", &self.text[end..self.at]);
            let diagnostic = Diagnostic::error(Code::P043, self.span(start, self.at), message)
                .with_label(rest, "not a part of a number");
            self.report(match self.bytes[end] {
                b'_' => diagnostic.with_help("numbers are written without `_`"),
                b'e' | b'E' => diagnostic.with_help("an exponent needs digits, as in 1e9"),
                _ => diagnostic,
            });
            self.push_zero(start);
            return;
        }
        self.push(kind, start);
    }

    /// A number that was reported already: a token of its first digit alone, which reads without further errors.
    fn push_zero(&mut self, start: usize) {
        self.tokens.push(Token { kind: Tok::Int, start: start as u32, end: start as u32 + 1 });
    }

    fn skip_digits(&mut self) {
        while self.byte(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    fn punctuation(&mut self, byte: u8) {
        let start = self.at;
        let next = self.byte(1);
        let (kind, len) = match (byte, next) {
            (b'"', _) => return self.string(),
            (b'#', _) | (b'/', b'/') => return self.line_comment(),
            (b'/', b'*') => return self.block_comment(),
            (b'=', b'=') => (Tok::EqualEqual, 2),
            (b'!', b'=') => (Tok::NotEqual, 2),
            (b'<', b'=') => (Tok::LessEqual, 2),
            (b'>', b'=') => (Tok::GreaterEqual, 2),
            (b'&', b'&') => (Tok::And, 2),
            (b'|', b'|') => (Tok::Or, 2),
            (b'=', b'>') => (Tok::Arrow, 2),
            (b'.', b'.') => (Tok::DotDot, 2),
            (b'?', b'?') => (Tok::Coalesce, 2),
            (b'-', _) => (Tok::Minus, 1),
            (b'+', _) => (Tok::Plus, 1),
            (b'*', _) => (Tok::Star, 1),
            (b'/', _) => (Tok::Slash, 1),
            (b'%', _) => (Tok::Percent, 1),
            (b'=', _) => (Tok::Assign, 1),
            (b'<', _) => (Tok::Less, 1),
            (b'>', _) => (Tok::Greater, 1),
            (b'!', _) => (Tok::Bang, 1),
            (b'|', _) => (Tok::Bar, 1),
            (b'{', _) => (Tok::OpenBrace, 1),
            (b'}', _) => (Tok::CloseBrace, 1),
            (b'[', _) => (Tok::OpenBracket, 1),
            (b']', _) => (Tok::CloseBracket, 1),
            (b'(', _) => (Tok::OpenParen, 1),
            (b')', _) => (Tok::CloseParen, 1),
            (b',', _) => (Tok::Comma, 1),
            (b'.', _) => (Tok::Dot, 1),
            (b':', _) => (Tok::Colon, 1),
            (b'?', _) => (Tok::Question, 1),
            _ => return self.unexpected(byte),
        };
        self.at += len;
        self.push(kind, start);
    }

    fn unexpected(&mut self, byte: u8) {
        let start = self.at;
        self.at += 1;
        let message = if byte.is_ascii_graphic() {
            format!("unexpected character `{}`", byte as char)
        } else {
            format!("the invisible character U+{byte:04X}")
        };
        let mut diagnostic = Diagnostic::error(Code::P999, self.span(start, self.at), message);
        match byte {
            b'\'' => {
                diagnostic = diagnostic.with_help("strings are written in double quotes: \"");
                // What looks like a string counts as one, so that its words give no errors.
                let rest = &self.bytes[self.at..];
                if let Some(len) = memchr2(b'\'', b'\n', rest).filter(|&len| rest[len] == b'\'') {
                    self.at += len + 1;
                    diagnostic.span.end = self.at as u32;
                    "a string in single quotes".clone_into(&mut diagnostic.message);
                    self.push(Tok::Str, start);
                }
            }
            b'&' => {
                diagnostic = diagnostic.with_help("the logical and is `&&`");
                self.push(Tok::And, start);
            }
            b'@' | b'$' | b'`' | b'~' | b'^' | b'\\' => {
                diagnostic =
                    diagnostic.with_help("this character means nothing outside of strings and comments");
            }
            _ => diagnostic = diagnostic.with_help("remove it"),
        }
        self.report(diagnostic);
    }

    fn line_comment(&mut self) {
        self.at += memchr(b'\n', &self.bytes[self.at..]).unwrap_or(self.bytes.len() - self.at);
    }

    fn block_comment(&mut self) {
        let start = self.at;
        match memmem::find(&self.bytes[start + 2..], b"*/") {
            Some(len) => self.at = start + 2 + len + 2,
            None => {
                self.at = self.bytes.len();
                let message = "the comment is never closed";
                let label = self.span(start, start + 2);
                self.report(
                    Diagnostic::error(Code::P042, self.span(start, self.at), message)
                        .with_label(label, "the comment starts here"),
                );
            }
        }
    }

    fn string(&mut self) {
        let start = self.at;
        self.at += 1;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(len) = memchr3(b'"', b'\\', b'\n', rest) else {
                self.at = self.bytes.len();
                return self.unterminated(start, Code::P040);
            };
            self.at += len;
            match rest[len] {
                b'"' => {
                    self.at += 1;
                    return self.push(Tok::Str, start);
                }
                b'\\' if rest.get(len + 1).is_some_and(|&next| next != b'\n') => {
                    // A wide character behind the backslash keeps its later bytes, which are none of the three.
                    self.at += 2;
                }
                b'\\' => self.at += 1,
                _ => return self.broken(start),
            }
        }
    }

    /// A string that meets the end of its line. Either its quote is missing, or it was meant to go on in the next lines.
    /// The first line below that has quotes decides: an odd number of them means that one closes this string.
    fn broken(&mut self, start: usize) {
        let newline = self.at;
        let mut lines = self.bytes[newline + 1..].split(|&byte| byte == b'\n').take(200);
        let mut offset = newline + 1;
        let closing = lines.find_map(|line| {
            let quotes = line.iter().filter(|&&byte| byte == b'"').count();
            let first = memchr(b'"', line).map(|at| offset + at);
            offset += line.len() + 1;
            first.map(|first| (quotes % 2 == 1).then_some(first))
        });
        match closing.flatten() {
            Some(quote) => {
                self.at = quote + 1;
                let message = "a string may not contain a line break";
                let label = self.span(start, newline);
                self.report(
                    Diagnostic::error(Code::P044, self.span(start, self.at), message)
                        .with_label(label, "the line ends inside this string"),
                );
                self.push_reported_string(start);
            }
            None => self.unterminated(start, Code::P040),
        }
    }

    fn unterminated(&mut self, start: usize, code: Code) {
        let end = self.text[..self.at].trim_end_matches('\r').len();
        let diagnostic = Diagnostic::error(code, self.span(start, end), "the string is never closed");
        self.report(diagnostic.with_label(self.span(start, start + 1), "the string starts here"));
        self.push_reported_string(start);
    }

    /// A string that was reported already: a token of its opening quote alone.
    fn push_reported_string(&mut self, start: usize) {
        self.tokens.push(Token { kind: Tok::Str, start: start as u32, end: start as u32 + 1 });
    }
}

fn is_visible(c: char) -> bool {
    use GeneralCategory::{Format, NonspacingMark, PrivateUse, Unassigned};
    !matches!(c.general_category(), Format | NonspacingMark | PrivateUse | Unassigned)
}

/// Whether a word can stand only at the start of a statement.
pub(crate) fn starts_only_statements(kind: Tok) -> bool {
    use Tok::{
        Agent, Break, Continue, Emit, Expect, Export, Extern, Fact, For, Import, Let, Return, Rule, Stream,
        Test, Type, Var, While,
    };
    matches!(
        kind,
        Let | Var
            | Return
            | Break
            | Continue
            | For
            | While
            | Type
            | Test
            | Expect
            | Import
            | Extern
            | Export
            | Fact
            | Rule
            | Stream
            | Agent
            | Emit
    )
}

/// Tells each bracket its partner. A closing bracket matches the nearest open one of its kind, and what was opened in
/// between stays without partner; but no `)` or `]` reaches across a `{`, or across a word that only statements start with, so
/// that one missing parenthesis does not spoil what is around it.
fn match_brackets(tokens: &mut [Token]) {
    let mut open: Vec<u32> = Vec::new();
    let mut braces = 0;
    for at in 0..tokens.len() {
        let wanted = match tokens[at].kind {
            Tok::OpenBrace | Tok::OpenBracket | Tok::OpenParen => {
                tokens[at].end = u32::MAX;
                open.push(at as u32);
                braces += usize::from(tokens[at].kind == Tok::OpenBrace);
                continue;
            }
            Tok::CloseBrace => Tok::OpenBrace,
            Tok::CloseBracket => Tok::OpenBracket,
            Tok::CloseParen => Tok::OpenParen,
            kind if starts_only_statements(kind) || kind == Tok::Fun && tokens[at + 1].kind.is_name() => {
                while open.last().is_some_and(|&index| tokens[index as usize].kind != Tok::OpenBrace) {
                    open.pop();
                }
                continue;
            }
            _ => continue,
        };
        tokens[at].end = u32::MAX;
        let kinds = open.iter().rev().map(|&index| tokens[index as usize].kind);
        // Without these bounds a long run of brackets of the wrong kind would cost quadratic time.
        let reach = match wanted {
            Tok::OpenBrace if braces == 0 => 0,
            Tok::OpenBrace => usize::MAX,
            _ => 64,
        };
        let found = kinds
            .take(reach)
            .take_while(|&kind| kind == wanted || kind != Tok::OpenBrace)
            .position(|kind| kind == wanted);
        if let Some(distance) = found {
            open.truncate(open.len() - distance);
            braces -= usize::from(wanted == Tok::OpenBrace);
            let partner = open.pop().expect("the position is inside the stack");
            tokens[partner as usize].end = at as u32;
            tokens[at].end = partner;
        }
    }
}
