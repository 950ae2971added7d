//! Source texts and positions in them.
//!
//! A [`SourceMap`] owns the text of every file of a session; a [`FileId`] names one of them, and a [`Span`] is a range
//! of bytes in one file. Every later phase carries spans and nothing else; lines and columns are worked out only when
//! a diagnostic or a backtrace is shown, from a table of line starts that is built on first use.
//!
//! Texts are valid UTF-8: [`SourceMap::add_bytes`] replaces what is not and hands back a diagnostic that points at it.
//! Files are limited to [`MAX_FILE_BYTES`], so that offsets fit `u32`.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::diagnostics::{Code, Diagnostic};

/// The longest text that a file may have, in bytes.
pub const MAX_FILE_BYTES: usize = u32::MAX as usize - 16;

/// Names a file of a [`SourceMap`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId(pub u32);

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file{}", self.0)
    }
}

/// A range of bytes, `start..end`, of one file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end` of `file`.
    pub const fn new(file: FileId, start: u32, end: u32) -> Span {
        Span { file, start, end }
    }

    /// The smallest range that holds both, which must be of the same file.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        debug_assert_eq!(self.file, other.file);
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Number of bytes.
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no byte.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A place for people: both numbers count from one, columns count Unicode scalars.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineColumn {
    /// Line number.
    pub line: u32,
    /// Column number.
    pub column: u32,
}

/// A named text.
#[derive(Debug)]
pub struct SourceFile {
    name: String,
    text: Arc<str>,
    lines: OnceLock<Vec<u32>>,
}

impl SourceFile {
    /// The name to show, usually the path as the user gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, shared.
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// Offsets at which lines start; the first is 0.
    pub fn line_starts(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let newlines = self.text.bytes().enumerate().filter(|&(_, b)| b == b'\n');
            std::iter::once(0).chain(newlines.map(|(at, _)| at as u32 + 1)).collect()
        })
    }

    /// Line number, from one, of a byte offset. Takes logarithmic time, whatever the length of the line.
    pub fn line(&self, offset: u32) -> u32 {
        self.line_starts().partition_point(|&start| start <= offset) as u32
    }

    /// Line and column of a byte offset; offsets past the end count as the end.
    pub fn line_column(&self, offset: u32) -> LineColumn {
        let mut offset = (offset as usize).min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line(offset as u32);
        let start = self.line_starts()[line as usize - 1] as usize;
        let mut before = &self.text[start..offset];
        if start == 0 {
            // A byte order mark is no column.
            before = before.strip_prefix('\u{feff}').unwrap_or(before);
        }
        LineColumn { line, column: before.chars().count() as u32 + 1 }
    }

    /// Text of a line, counted from one, without its line end. Empty if there is no such line.
    pub fn line_text(&self, line: u32) -> &str {
        let starts = self.line_starts();
        let Some(&start) = (line as usize).checked_sub(1).and_then(|index| starts.get(index)) else {
            return "";
        };
        let end = starts.get(line as usize).map_or(self.text.len(), |&next| next as usize);
        self.text[start as usize..end].trim_end_matches(['\n', '\r'])
    }
}

/// The texts of a session.
#[derive(Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// No files yet.
    pub fn new() -> SourceMap {
        SourceMap::default()
    }

    /// Takes a text in.
    ///
    /// A text over [`MAX_FILE_BYTES`] is cut to nothing; load files of unknown size through [`SourceMap::add_bytes`], which
    /// says so.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let mut text = text.into();
        if text.len() > MAX_FILE_BYTES {
            text = Arc::from("");
        }
        let id = u32::try_from(self.files.len()).expect("four billion files do not fit in memory");
        self.files.push(SourceFile { name: name.into(), text, lines: OnceLock::new() });
        FileId(id)
    }

    /// Takes the contents of a file in. Bytes that are not UTF-8 and files that are too long give a diagnostic beside the
    /// file, which then should not be parsed.
    pub fn add_bytes(&mut self, name: impl Into<String>, bytes: Vec<u8>) -> (FileId, Option<Diagnostic>) {
        if bytes.len() > MAX_FILE_BYTES {
            let file = self.add(name, "");
            let message =
                format!("the file has {} bytes; at most {MAX_FILE_BYTES} are possible", bytes.len());
            return (file, Some(Diagnostic::error(Code::P999, Span::new(file, 0, 0), message)));
        }
        let error = match String::from_utf8(bytes) {
            Ok(text) => return (self.add(name, text), None),
            Err(error) => error,
        };
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        let file = self.add(name, String::from_utf8_lossy(error.as_bytes()));
        let span = Span::new(file, at as u32, at as u32 + '\u{fffd}'.len_utf8() as u32);
        let message = format!("the file is not valid UTF-8: unexpected byte 0x{byte:02x} at offset {at}");
        let diagnostic = Diagnostic::error(Code::P999, span, message)
            .with_label(span, "this is not a character")
            .with_help("save the file as UTF-8");
        (file, Some(diagnostic))
    }

    /// The file of an id.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// All files with their ids.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(index, file)| (FileId(index as u32), file))
    }

    /// The text of a span.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).text().get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// Where a span starts.
    pub fn line_column(&self, span: Span) -> LineColumn {
        self.file(span.file).line_column(span.start)
    }
}
