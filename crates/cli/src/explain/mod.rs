//! `upshift explain`: runs a program and shows what became of it, on its source.
//!
//! The engine's report ([`upshift::explain`]) knows numbers and spans; here it meets the texts. `text.rs` writes it for the terminal,
//! `json.rs` for programs, `html.rs` as a page that needs nothing else.

mod json;
mod text;

pub use json::json;
pub use text::text;

use std::path::PathBuf;

use upshift::explain::{Level, Report};
use upshift::profile::sampler::FrameKind;
use upshift_mochi::source::SourceMap;

/// Samples a second.
pub const FREQUENCY: u32 = 1000;

/// What is written, and where.
#[derive(Debug, Default, Clone)]
pub struct ExplainOptions {
    /// As a page.
    pub html: bool,
    /// To this file instead of standard output.
    pub output: Option<PathBuf>,
    /// What the program prints is discarded.
    pub discard: bool,
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

    /// The sources that guest functions of the report are in, in the order of the texts.
    pub fn names(&self) -> Vec<&'a str> {
        let used = |name: &str| {
            self.report.functions.iter().any(|f| f.lines.as_ref().is_some_and(|l| &*l.0 == name))
        };
        self.sources.files().map(|(_, f)| f.name()).filter(|name| used(name)).collect()
    }
}

/// What a row of times is called.
pub fn row_name(kind: FrameKind, function: &str) -> String {
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
pub fn letter(level: Level) -> &'static str {
    match level {
        Level::Interpreter => "I",
        Level::Baseline => "B",
        Level::Optimized => "O",
    }
}
