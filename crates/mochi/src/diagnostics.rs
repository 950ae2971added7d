//! What the front end has to say about a program: codes, messages, places, help.
//!
//! Every code is declared once, in the list below, with a title and a default help text. A [`Diagnostic`] is data; it
//! becomes text with an excerpt through [`render`], or JSON through [`to_json`]. Nothing here knows about terminals:
//! whether to colour is the caller's decision.

use std::fmt::{self, Write as _};
use std::ops::Range;

use ariadne::{Color, Config, Fmt as _, IndexType, Label, Report, ReportKind};

use crate::source::{SourceFile, SourceMap, Span};

macro_rules! codes {
    ($($code:ident $title:literal, $help:literal;)*) => {
        /// Codes of diagnostics: `P` for syntax, `T` for types, `U` for what is not there yet.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code {
            $(#[doc = $title] $code,)*
        }

        impl Code {
            /// All codes in order.
            pub const ALL: &[Code] = &[$(Code::$code),*];

            /// As it is shown: `P001`.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$code => stringify!($code),)* }
            }

            /// What it stands for, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$code => $title,)* }
            }

            /// What usually helps; empty where only the place can tell.
            pub const fn help(self) -> &'static str {
                match self { $(Code::$code => $help,)* }
            }
        }
    };
}

codes! {
    P001 "missing brace", "every `{` needs a `}`";
    P031 "missing name", "write a name here, for example `let count = 0`";
    P040 "unterminated string", "close the string with `\"` on the same line";
    P041 "unknown escape in a string", "write a backslash as `\\\\`; known escapes are \\a \\b \\f \\n \\r \\t \\v \\\\ \\\" \\xHH \\ooo \\uHHHH \\UHHHHHHHH";
    P042 "unterminated block comment", "close the comment with `*/`; block comments do not nest";
    P043 "number followed by a letter", "names cannot start with a digit; put a space or an operator behind the number";
    P044 "line break in a string", "write `\\n` for a line break";
    P045 "integer literal too large", "integers have 64 bits, up to 9223372036854775807; larger numbers need `bigint`";
    P046 "number prefix without digits", "write digits behind the prefix, for example 0xff, 0b101 or 0o17";
    P047 "byte order mark inside the file", "remove the invisible character U+FEFF; it may stand only at the very start";
    P048 "float literal out of range", "floats reach up to about 1.8e308";
    P051 "missing comma", "separate the elements with `,`";
    P052 "unbalanced parenthesis or bracket", "close what was opened before it";
    P060 "empty index", "write a position, as in `xs[0]`, or a range, as in `xs[1:3]`";
    P061 "match arm without body", "an arm is `pattern => value` or `pattern => { .. }`";
    P062 "empty path", "write the path of the file, or leave the text out";
    P063 "not a pattern", "a pattern is a literal, a name, `_`, or a constructor with patterns, as in `Some(x)`";
    P064 "unknown import language", "known languages are go, python, typescript, zig, lua, clj and clojure";
    P065 "expression without effect", "assign the value to a variable, or print it";
    P999 "syntax error", "";
    T000 "variable without type and value", "write a type, as in `let x: int`, or a value, as in `let x = 0`";
    T001 "assignment to an undeclared variable", "declare it first with `var`";
    T002 "undefined variable", "check the spelling, or declare it with `let` or `var`";
    T003 "undefined function", "check the spelling, or declare it with `fun`";
    T004 "call of something that is no function", "only functions can be called";
    T005 "method parameter without type", "write its type, as in `fun scale(k: int)`";
    T006 "too many arguments", "leave out the extra arguments";
    T007 "argument of the wrong type", "convert the argument with `as`";
    T008 "value of the wrong type", "change the value or the declared type";
    T009 "assigned value of the wrong type", "change the value or the declared type";
    T010 "wrong return", "return a value of the declared type";
    T013 "comparison of different kinds", "convert one side with `as`";
    T015 "index is not an integer", "lists and strings are indexed by int";
    T016 "missing index", "write a position between the brackets";
    T017 "slice of a map", "maps have no order to slice; use `keys` or `values`";
    T018 "value cannot be indexed", "only lists, strings and maps can be indexed";
    T019 "map key of the wrong type", "use a key of the map's key type";
    T020 "operator on unsuitable values", "convert the operands with `as` or `str`";
    T021 "unknown operator", "";
    T022 "value cannot be iterated", "`for` runs over lists, maps and strings";
    T023 "range bound is not an integer", "both ends of `a..b` are int";
    T024 "assignment to a constant", "declare the variable with `var`";
    T025 "unknown type", "check the spelling, or declare the type with `type`";
    T026 "unknown field", "check the spelling of the field";
    T027 "field of something that has none", "only structs have fields";
    T028 "fetch address is not a string", "write the address as a string";
    T029 "fetch options are not a map", "write the options as `{method: \"GET\"}`";
    T030 "fetch option of the wrong type", "";
    T031 "undeclared stream", "declare it with `stream`";
    T032 "query source is no list", "a query runs over lists and groups";
    T033 "`where` is not a condition", "write an expression of type bool";
    T034 "join source is no list", "a join runs over lists and groups";
    T035 "`on` is not a condition", "write an expression of type bool";
    T036 "`len` of something without length", "`len` takes a list, a map or a string";
    T037 "`count` of something that cannot be counted", "`count` takes a list or a group";
    T038 "`avg` of something that is no list of numbers", "`avg` takes a list or a group of numbers";
    T039 "wrong number of arguments of a builtin", "";
    T040 "condition is not bool", "compare explicitly, for example `x != 0`";
    T041 "`sum` of something that is no list of numbers", "`sum` takes a list or a group of numbers";
    T042 "`having` is not a condition", "write an expression of type bool";
    T044 "effect in a filter", "`where` and `having` must be pure: compute the value before the query";
    T045 "`break` or `continue` outside of a loop", "";
    T046 "impossible cast", "";
    T047 "arguments of a generic function disagree", "";
    T048 "type parameter cannot be inferred", "pass an argument that fixes the type parameter";
    T049 "wrong number of type arguments", "";
    T050 "match misses variants", "add arms for the missing variants, or `_ =>`";
    T051 "variable shares a constant's contents", "copy the value, or declare both with `let`";
    T052 "value shared under another element type", "build a new value of the wanted type";
    T053 "missing fields in a struct literal", "give every field a value";
    T054 "arm that is never reached", "remove the arm";
    T055 "`skip` or `take` is not an integer", "write an expression of type int";
    T056 "sort key has no order", "sort by numbers, strings, bools or lists of those";
    T057 "`distinct` on values that cannot be compared", "";
    T058 "field of an optional value", "test for `none` first, or use `?.`";
    T059 "optional compared with a plain value", "use `??` to give a default first";
    T060 "`?.` on a value that is not optional", "use `.`";
    T061 "`?.` on an optional that holds no struct", "";
    T062 "`?[` on a value that is not optional", "use `[`";
    T063 "`?[` on an optional that cannot be indexed", "";
    T064 "unknown effect", "effects are io, fs, net, time and meta";
    T065 "effect that is not declared", "add the effect to the list after `!`";
    T066 "effect where none is allowed", "compute the value outside first";
    U001 "not supported yet", "";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How serious a diagnostic is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The program cannot be used.
    Error,
    /// It can, but something looks wrong.
    Warning,
}

impl Severity {
    /// `error`, `warning`
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A remark about a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// What kind of remark.
    pub code: Code,
    /// How serious.
    pub severity: Severity,
    /// What is wrong here, as a sentence without a full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// Remarks at places; without any the excerpt marks `span` alone.
    pub labels: Vec<(Span, String)>,
    /// Further sentences.
    pub notes: Vec<String>,
    /// What would repair it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error with the code's default help.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        let help = Some(code.help()).filter(|help| !help.is_empty()).map(str::to_owned);
        let (labels, notes) = (Vec::new(), Vec::new());
        Diagnostic { code, severity: Severity::Error, message: message.into(), span, labels, notes, help }
    }

    /// A warning with the code's default help.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// Adds a remark at a place.
    #[must_use]
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push((span, text.into()));
        self
    }

    /// Adds a sentence.
    #[must_use]
    pub fn with_note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// Replaces the help text.
    #[must_use]
    pub fn with_help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }
}

/// How many characters of a line an excerpt shows before and behind a place when the line is long.
const WINDOW: usize = 60;

/// Lines up to this length, in bytes, are shown whole.
const WHOLE_LINE: usize = 200;

/// The diagnostic as text: code and message, an excerpt of the source, notes and help, ending in a line break.
///
/// Lines that are very long are cut around the places of interest, and control characters are replaced, so that the text
/// is safe to print whatever the program contains.
pub fn render(sources: &SourceMap, diagnostic: &Diagnostic, color: bool) -> String {
    render_as(sources, diagnostic.code.name(), diagnostic, color)
}

/// An error at run time as text, in the form of [`render`]: `code` is the name of the trap.
pub fn render_run_error(
    sources: &SourceMap,
    code: &str,
    message: &str,
    span: Span,
    help: Option<&str>,
    color: bool,
) -> String {
    let mut diagnostic = Diagnostic::error(Code::P999, span, message);
    diagnostic.help = help.map(str::to_owned);
    render_as(sources, code, &diagnostic, color)
}

fn render_as(sources: &SourceMap, code: &str, diagnostic: &Diagnostic, color: bool) -> String {
    let (kind, tint) = match diagnostic.severity {
        Severity::Error => (ReportKind::Error, Color::Red),
        Severity::Warning => (ReportKind::Warning, Color::Yellow),
    };
    let file = sources.file(diagnostic.span.file);
    let place = file.line_column(diagnostic.span.start);
    let (mut here, elsewhere): (Vec<_>, Vec<_>) =
        diagnostic.labels.iter().partition(|(span, _)| span.file == diagnostic.span.file);
    let only = (diagnostic.span, "here".to_owned());
    if here.is_empty() {
        here.push(&only);
    }
    // Labels that are not in order would be shown as one excerpt each.
    here.sort_by_key(|(span, _)| span.start);
    let mut spans = vec![diagnostic.span];
    spans.extend(here.iter().map(|(span, _)| *span));
    let (excerpt, ranges) = excerpt(file, &spans);

    let config = Config::new().with_color(color).with_index_type(IndexType::Byte).with_tab_width(4);
    let mut report = Report::build(kind, (PLACE, ranges[0].clone())).with_config(config);
    for ((span, text), range) in here.iter().zip(&ranges[1..]) {
        let color = if *span == diagnostic.span || here.len() == 1 { tint } else { Color::Cyan };
        report =
            report.with_label(Label::new((PLACE, range.clone())).with_message(clean(text)).with_color(color));
    }
    for (span, text) in elsewhere {
        let (file, place) = (sources.file(span.file), sources.line_column(*span));
        report = report.with_note(format!(
            "{}:{}:{}: {}",
            clean(file.name()),
            place.line,
            place.column,
            clean(text)
        ));
    }
    report.with_notes(diagnostic.notes.iter().map(|note| clean(note)));
    if let Some(help) = &diagnostic.help {
        report = report.with_help(clean(help));
    }
    let mut out = Vec::new();
    let written = report.finish().write((PLACE, ariadne::Source::from(excerpt)), &mut out);
    debug_assert!(written.is_ok(), "a vector takes all that is written");
    let text = String::from_utf8_lossy(&out);
    let mut lines = String::with_capacity(text.len() + 80);
    let headline = format!("{}[{code}]", diagnostic.severity.name()).fg(color.then_some(tint)).to_string();
    let _ = writeln!(lines, "{headline}: {}", clean(&diagnostic.message));
    // The headline is ours, and so is the place above the excerpt: the columns of a cut line are not those of the file.
    for line in text.lines().skip(1) {
        match line.split_once(PLACE) {
            Some((before, after)) => {
                let behind =
                    after.trim_start_matches([':', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
                let name = clean(file.name());
                let _ = write!(lines, "{before}{name}:{}:{}{behind}", place.line, place.column);
            }
            None => lines.push_str(line.trim_end()),
        }
        lines.push('\n');
    }
    lines
}

/// Stands for the place of the diagnostic in what the excerpt's renderer writes.
const PLACE: &str = "\u{1}";

/// A text of the lines that the spans are on, each cut to what matters and all others empty, and the spans in it. Spans
/// that reach over several lines end with their first.
fn excerpt(file: &SourceFile, spans: &[Span]) -> (String, Vec<Range<usize>>) {
    let text = file.text();
    let starts = file.line_starts();
    let mut places: Vec<(usize, usize, usize, usize)> = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        let start = floor_boundary(text, span.start as usize);
        let line = file.line(start as u32) as usize;
        let line_start = starts[line - 1] as usize;
        let line_end = line_start + file.line_text(line as u32).len();
        let start = start.min(line_end);
        let end = floor_boundary(text, span.end as usize).clamp(start, line_end);
        places.push((line, start, end, index));
    }
    places.sort_unstable();
    let mut out = String::new();
    let mut ranges = vec![0..0; spans.len()];
    let mut line_number = 1;
    let mut rest = &places[..];
    while let Some(&(line, first, ..)) = rest.first() {
        out.extend(std::iter::repeat_n('\n', line - line_number));
        line_number = line;
        let count = rest.iter().take_while(|place| place.0 == line).count();
        let (on_line, later) = rest.split_at(count);
        rest = later;
        let mut start = starts[line - 1] as usize;
        if start == 0 && text.starts_with('\u{feff}') {
            start = '\u{feff}'.len_utf8();
        }
        let line_text = file.line_text(line as u32);
        let mut end = (starts[line - 1] as usize + line_text.len()).max(start);
        let (mut cut_start, mut cut_end) = (false, false);
        if line_text.len() > WHOLE_LINE {
            let from = floor_boundary(text, first.saturating_sub(WINDOW).max(start));
            let to = floor_boundary(text, (first + 2 * WINDOW).min(end));
            (cut_start, cut_end) = (from > start, to < end);
            (start, end) = (from, to);
        }
        let base = out.len();
        if cut_start {
            out.push('…');
        }
        let shift = out.len();
        out.push_str(&clean(&text[start..end]));
        if cut_end {
            out.push('…');
        }
        for &(_, from, to, index) in on_line {
            let column = |offset: usize| shift + clean(&text[start..offset.clamp(start, end)]).len();
            ranges[index] = column(from).max(base)..column(to);
            // A place between characters is marked at the next one, or at a space behind the line.
            if ranges[index].is_empty() {
                let at = ranges[index].start;
                if at >= out.len() {
                    out.push(' ');
                }
                ranges[index].end = at + out[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
    }
    out.push('\n');
    (out, ranges)
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset.min(text.len()))
}

/// A text without characters that do something to a terminal.
fn clean(text: &str) -> String {
    let unsafe_char = |c: char| {
        c.is_control() && c != '\t' && c != '\n'
            || matches!(c, '\u{feff}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if unsafe_char(c) { '\u{fffd}' } else { c }).collect()
}

/// The diagnostic as a JSON object: `file`, `line`, `column`, `endLine`, `endColumn` (from one, columns in characters, the end
/// behind the last), `severity`, `code`, `title`, `message`, `labels`, `notes`, `help`.
pub fn to_json(sources: &SourceMap, diagnostic: &Diagnostic) -> serde_json::Value {
    let place = |span: Span| {
        let file = sources.file(span.file);
        let (start, end) = (file.line_column(span.start), file.line_column(span.end));
        serde_json::json!({
            "file": file.name(),
            "line": start.line,
            "column": start.column,
            "endLine": end.line,
            "endColumn": end.column,
        })
    };
    let labels = diagnostic.labels.iter().map(|(span, text)| {
        let mut label = place(*span);
        label["message"] = text.as_str().into();
        label
    });
    let mut object = place(diagnostic.span);
    object["severity"] = diagnostic.severity.name().into();
    object["code"] = diagnostic.code.name().into();
    object["title"] = diagnostic.code.title().into();
    object["message"] = diagnostic.message.as_str().into();
    object["labels"] = labels.collect();
    object["notes"] = diagnostic.notes.clone().into();
    object["help"] = diagnostic.help.clone().into();
    object
}
