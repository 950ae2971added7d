//! `upshift explain`: runs a program and shows what became of it, on its source.
//!
//! The engine's report ([`upshift::explain`]) knows numbers and spans; here it meets the texts. `text.rs` writes it for the terminal,
//! `json.rs` for programs, `html.rs` as a page that needs nothing else.

mod html;
mod json;
mod lines;
mod text;

pub use html::html;
pub use json::json;
pub use text::text;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use upshift::explain::{Code, Compilation, FunctionReport, Level, Remark, Report, TimeRow};
use upshift::profile::sampler::FrameKind;
use upshift_mochi::source::SourceMap;

/// Samples a second where nobody asks for another number. A window of polls is open for each, which costs programs that do little
/// but call some 35 µs: 500 stay well below 5% of the time, 1000 do not on a busy machine.
pub const FREQUENCY: u32 = 500;

/// What is written, and where.
#[derive(Debug, Default, Clone)]
pub struct ExplainOptions {
    /// As a page.
    pub html: bool,
    /// To this file instead of standard output.
    pub output: Option<PathBuf>,
    /// What the program prints is discarded.
    pub discard: bool,
    /// Samples a second.
    pub frequency: Option<u32>,
    /// Checks that hold are counted.
    pub guards: bool,
}

impl ExplainOptions {
    /// Opens the file, if one is named: before the program runs, so that a folder that cannot be written is known before the wait.
    ///
    /// # Errors
    /// A sentence about the file that cannot be written.
    pub fn open(&self) -> Result<Option<File>, String> {
        let open = |path: &PathBuf| {
            File::create(path).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
        };
        self.output.as_ref().map(open).transpose()
    }

    /// Whether the program's output is discarded: JSON or a page on standard output would be no use in the middle of it.
    pub fn discards(&self, json: bool) -> bool {
        self.discard || self.output.is_none() && (json || self.html)
    }

    /// The report as it was asked for.
    pub fn render(&self, explained: &Explained<'_>, as_json: bool) -> String {
        match (self.html, as_json) {
            (true, _) => html(explained),
            (false, true) => format!("{:#}\n", json(explained)),
            (false, false) => text(explained),
        }
    }
}

/// A report with the texts that it is about.
#[derive(Debug)]
pub struct Explained<'a> {
    /// The report.
    pub report: &'a Report,
    /// The texts.
    pub sources: &'a SourceMap,
    /// How the program was named.
    pub program: &'a str,
}

impl<'a> Explained<'a> {
    /// The text of a source, by its name.
    pub fn source(&self, name: &str) -> Option<&'a str> {
        self.sources.files().find(|(_, f)| f.name() == name).map(|(_, f)| f.text())
    }

    /// The name of a function, with its first line where others of the report have the same.
    pub fn name(&self, function: &FunctionReport) -> String {
        let same = self.report.functions.iter().filter(|f| f.name == function.name).count();
        match &function.lines {
            Some((_, first, _)) if same > 1 => format!("{}:{first}", function.name),
            _ => function.name.to_string(),
        }
    }

    /// What a row of times is called.
    pub fn row_name(&self, row: &TimeRow) -> String {
        match row.index.and_then(|i| self.report.functions.get(i)) {
            Some(function) => row_name(row.kind, &self.name(function)),
            None => row_name(row.kind, &row.function),
        }
    }

    /// The sources that guest functions of the report are in, in the order of the texts.
    pub fn names(&self) -> Vec<&'a str> {
        let used = |name: &str| {
            self.report.functions.iter().any(|f| f.lines.as_ref().is_some_and(|l| &*l.0 == name))
        };
        self.sources.files().map(|(_, f)| f.name()).filter(|name| used(name)).collect()
    }
}

/// What a frame is called.
fn row_name(kind: FrameKind, function: &str) -> String {
    match kind {
        FrameKind::Interpreter | FrameKind::Baseline | FrameKind::Optimized | FrameKind::Inlined => {
            format!("{function} [{}]", kind.name())
        }
        FrameKind::Host => format!("host: {function}"),
        FrameKind::Deeper => "stacks that were left out".to_string(),
        _ => kind.name().to_string(),
    }
}

/// A letter for a tier.
fn letter(level: Level) -> &'static str {
    match level {
        Level::Interpreter => "I",
        Level::Baseline => "B",
        Level::Optimized => "O",
    }
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// A remark in short: its code, what it is about, how often, and what an exit worked on, once or in several cases.
fn note(code: Code, detail: &str, count: u64, cases: &[String]) -> String {
    let mut text = code.text().to_string();
    if !detail.is_empty() {
        text.push(' ');
        text.push_str(detail);
    }
    if count > 1 {
        text.push_str(&format!(" ×{count}"));
    }
    if !cases.is_empty() {
        text.push_str(&format!(" with {}", cases.join(" or ")));
    }
    text
}

/// A remark of a report in short.
fn short_remark(r: &Remark) -> String {
    let values = r.values.join(", ");
    note(r.code, &r.detail, r.count, if values.is_empty() { &[] } else { std::slice::from_ref(&values) })
}

/// The tier of a function, for people.
fn tier(f: &FunctionReport) -> String {
    let loops = f.loops.iter().map(|l| l.level).max();
    match loops.filter(|&l| l > f.level && f.remarks.iter().any(|r| r.code == Code::LoopsAlone)) {
        Some(loops) => format!("{}, loops {}", f.level.name(), loops.name()),
        None => f.level.name().to_string(),
    }
}

/// What was saved by a compilation.
fn saved(c: &Compilation) -> String {
    let mut text = format!(
        "calls inlined {} of {}, checks left {} of {}, allocations left {} of {}",
        c.calls.1, c.calls.0, c.checks.1, c.checks.0, c.allocations.1, c.allocations.0
    );
    if c.sunk > 0 {
        text.push_str(&format!(" and {} on ways that need them", c.sunk));
    }
    text
}

/// What a compilation is of.
fn what(f: &FunctionReport, c: &Compilation) -> String {
    match c.of_loop.and_then(|l| f.loops.get(l)).map(|l| &l.lines) {
        Some(Some((_, first, _))) => format!("loop at line {first}"),
        Some(None) => "loop".to_string(),
        None => "function".to_string(),
    }
}

/// The codes that a report has, in the order of the list.
fn used_codes(report: &Report) -> Vec<Code> {
    let of_function = |f: &FunctionReport| {
        let compiled = f.compilations.iter().flat_map(|c| &c.remarks);
        let loops = f.loops.iter().flat_map(|l| &l.remarks);
        compiled.chain(loops).chain(&f.remarks).map(|r| r.code).collect::<Vec<_>>()
    };
    let mut codes: Vec<Code> = report.functions.iter().flat_map(of_function).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}
