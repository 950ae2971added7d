//! Errors as text for people, or as JSON for programs.

use std::fmt::Write;

use upshift::bytecode::TrapCode;
use upshift::{Backtrace, BacktraceFrame, RunError};
use upshift_mochi::diagnostics::{Diagnostic, render, render_run_error, to_json};
use upshift_mochi::infer::Types;
use upshift_mochi::source::{SourceMap, Span};

/// How errors are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Text with an excerpt of the source.
    Text {
        /// With colours.
        color: bool,
    },
    /// One JSON object a line.
    Json,
}

impl Style {
    /// Text, in colour where standard error is a terminal and NO_COLOR is not set.
    pub fn detect(json: bool) -> Style {
        use std::io::IsTerminal;
        if json {
            return Style::Json;
        }
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Style::Text { color: wanted && std::io::stderr().is_terminal() }
    }
}

/// Diagnostics of the front end.
pub fn diagnostics(sources: &SourceMap, found: &[Diagnostic], style: Style) -> String {
    let mut text = String::new();
    for diagnostic in found {
        match style {
            Style::Text { color } => text.push_str(&render(sources, diagnostic, color)),
            Style::Json => {
                let _ = writeln!(text, "{}", to_json(sources, diagnostic));
            }
        }
    }
    text
}

/// The place of a frame in the sources.
fn span(sources: &SourceMap, frame: &BacktraceFrame) -> Option<Span> {
    let source = frame.source.as_ref()?;
    let (file, _) = sources.files().find(|(_, f)| f.name() == source)?;
    (frame.line != 0).then(|| Span::new(file, frame.start, frame.end))
}

fn help(code: TrapCode) -> Option<&'static str> {
    match code {
        TrapCode::IntegerOverflow => {
            Some("int has 64 bits; declare the values `bigint` to compute without a limit")
        }
        TrapCode::StackOverflow => Some("a function that calls itself without end looks like this"),
        _ => None,
    }
}

/// An error that stopped a run: the place, what happened there, and the calls that led to it.
pub fn run_error(sources: &SourceMap, error: &RunError, style: Style) -> String {
    let code = error.code().text();
    let backtrace = error.backtrace();
    let place = backtrace.frames().next().and_then(|f| span(sources, f));
    match style {
        Style::Json => {
            let frames: Vec<serde_json::Value> = backtrace
                .frames()
                .map(|f| serde_json::json!({"function": f.function, "file": f.source, "line": f.line, "column": f.column}))
                .collect();
            let object = serde_json::json!({
                "severity": "error",
                "code": code,
                "message": error.message(),
                "help": help(error.code()),
                "backtrace": frames,
            });
            format!("{object}\n")
        }
        Style::Text { color } => {
            let mut text = match place {
                Some(span) => {
                    render_run_error(sources, code, error.message(), span, help(error.code()), color)
                }
                None => format!("error[{code}]: {}\n", error.message()),
            };
            text.push_str(&calls(backtrace));
            text
        }
    }
}

fn calls(backtrace: &Backtrace) -> String {
    if backtrace.frames().next().is_none() {
        return String::new();
    }
    format!("backtrace:\n{backtrace}")
}

/// One line that says how many slots became dynamic; nothing where none did.
pub fn demotions_line(types: &Types) -> Option<String> {
    let count = types.demotions.len();
    (count > 0).then(|| {
        let slots = if count == 1 { "slot is" } else { "slots are" };
        format!(
            "warning: {count} {slots} dynamic because uses disagree with their types; \
             `upshift check --explain` lists them, --quiet hides this\n"
        )
    })
}

/// The slots that became dynamic, with reasons.
pub fn demotions(sources: &SourceMap, types: &Types) -> String {
    let mut text = format!(
        "{} of {} slots have a type; {} are less precise than declared or used:\n",
        types.proven_count,
        types.slot_count,
        types.demotions.len()
    );
    for demotion in &types.demotions {
        let place = sources.line_column(demotion.span);
        let file = sources.file(demotion.span.file).name();
        let _ = write!(
            text,
            "{file}:{}:{}: {} became {}: {}",
            place.line, place.column, demotion.expected, demotion.found, demotion.reason
        );
        if let Some(cause) = demotion.cause {
            let at = sources.line_column(cause);
            let _ = write!(text, " (line {}, column {})", at.line, at.column);
        }
        text.push('\n');
    }
    text
}
