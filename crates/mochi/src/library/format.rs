//! Values as text: what `print`, `str` and `json` show.
//!
//! One walk serves all notations. It keeps its own stack, so that a list nested a million deep prints; a container that is
//! met inside itself is shown as `[...]` or `{...}` (in JSON: an error). Lists of numbers are written without making
//! values of their elements.
//!
//! A container that others refer to is written as often as they do, so a small value may have more text than there is time or memory
//! for. The walk charges what it writes ([`Out`]), and standard output gets long texts piece by piece.

use std::ops::{Deref, DerefMut};

use rustc_hash::{FxHashMap, FxHashSet};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use upshift_bytecode::TrapCode;
use upshift_runtime::host::{HostContext, ListView, MapView, RecordView, Val};
use upshift_runtime::io::{FLUSH_AT, Outlet};
use upshift_runtime::string::Decimal;
use upshift_runtime::trap::Trap;

use super::float;
use super::number::Number;
use super::work::{WRITTEN, Work};

/// How values are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notation {
    /// `str`: `[a b]`, `map[k:v]`.
    Text,
    /// Inside what `print` shows: `["a", "b"]`, `{"k": v}`.
    Nested,
    /// JSON with two spaces of indentation.
    Json,
    /// JSON in one line, without spaces.
    CompactJson,
}

impl Notation {
    fn is_json(self) -> bool {
        matches!(self, Notation::Json | Notation::CompactJson)
    }
}

/// Where texts are written: bytes at the end of a vector, which are charged as they become more, and held against the memory limit,
/// or handed on to standard output meanwhile.
pub struct Out<'o> {
    bytes: &'o mut Vec<u8>,
    /// So many bytes are charged.
    charged: usize,
    work: Work,
    stream: Option<Stream<'o>>,
}

/// How the bytes of a line go to standard output before the line is whole.
struct Stream<'o> {
    to: Outlet<'o>,
    /// Where the line begins, until a part of it was handed on.
    start: Option<usize>,
    /// Whether white space at both ends of the line is left out.
    trim: bool,
}

impl Deref for Out<'_> {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        self.bytes
    }
}

impl DerefMut for Out<'_> {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        self.bytes
    }
}

impl<'o> Out<'o> {
    /// So many bytes are charged together.
    const CHUNK: usize = 4 << 10;
    /// No text is longer.
    const LEN_MAX: usize = i32::MAX as usize;

    /// At the end of a vector.
    pub fn new(bytes: &'o mut Vec<u8>) -> Out<'o> {
        Out { charged: bytes.len(), bytes, work: Work::default(), stream: None }
    }

    /// At the end of the buffer of standard output, where a line begins, which may leave out white space at its ends.
    pub fn line((bytes, to): (&'o mut Vec<u8>, Outlet<'o>), trim: bool) -> Out<'o> {
        let stream = Some(Stream { to, start: Some(bytes.len()), trim });
        Out { stream, ..Out::new(bytes) }
    }

    /// Charges what was written. To be asked wherever the text may have become long.
    ///
    /// # Errors
    /// out-of-fuel, interrupted, timed-out; memory-limit where the text has no room; host-error where standard output fails.
    #[inline]
    pub fn charge(&mut self, ctx: &HostContext<'_>) -> Result<(), Trap> {
        if self.bytes.len() - self.charged < Out::CHUNK { Ok(()) } else { self.charge_chunks(ctx) }
    }

    #[cold]
    fn charge_chunks(&mut self, ctx: &HostContext<'_>) -> Result<(), Trap> {
        self.work.steps(ctx, (self.bytes.len() - self.charged) / WRITTEN)?;
        if self.stream.is_some() && self.bytes.len() >= FLUSH_AT {
            self.hand_on()?;
        } else if self.bytes.len() > Out::LEN_MAX {
            return Err(Trap::of(TrapCode::MemoryLimit));
        } else {
            ctx.check_memory(self.bytes.capacity())?;
        }
        self.charged = self.bytes.len();
        Ok(())
    }

    /// Hands on what is known of the line.
    fn hand_on(&mut self) -> Result<(), Trap> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut held = Vec::new();
        if stream.trim {
            if let Some(start) = stream.start {
                trim_start(self.bytes, start);
            }
            // White space is held back: it may be the end.
            let start = stream.start.unwrap_or(0);
            let end = trimmed_end(self.bytes, start);
            if end == start {
                return Ok(());
            }
            held.extend_from_slice(&self.bytes[end..]);
            self.bytes.truncate(end);
        }
        stream.start = None;
        let result = stream.to.hand_on(self.bytes);
        self.bytes.clear();
        self.bytes.append(&mut held);
        result
    }

    /// Ends a line of standard output.
    pub fn end_line(&mut self) {
        if let Some(stream) = &self.stream
            && stream.trim
        {
            if let Some(start) = stream.start {
                trim_start(self.bytes, start);
            }
            self.bytes.truncate(trimmed_end(self.bytes, stream.start.unwrap_or(0)));
        }
        self.bytes.push(b'\n');
    }

    /// Drops a line that failed, unless a part of it was handed on: then what was written so far stays.
    pub fn drop_line(&mut self) {
        if let Some(start) = self.stream.as_ref().and_then(|stream| stream.start) {
            self.bytes.truncate(start);
        }
    }
}

/// Takes white space off the front of what was written from `start`.
fn trim_start(bytes: &mut Vec<u8>, start: usize) {
    let Ok(line) = std::str::from_utf8(&bytes[start..]) else { return };
    let leading = line.len() - line.trim_start().len();
    bytes.drain(start..start + leading);
}

/// Where what was written from `start` ends without white space behind it.
fn trimmed_end(bytes: &[u8], start: usize) -> usize {
    let line = std::str::from_utf8(&bytes[start..]).unwrap_or_default();
    start + line.trim_end().len()
}

/// Writes a value as an argument of `print`: text raw, containers in nested form.
///
/// # Errors
/// memory-limit.
pub fn write_printed(ctx: &HostContext<'_>, out: &mut Out<'_>, val: Val<'_>) -> Result<(), Trap> {
    if let Some(text) = val.as_str() {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    if val.is_nil() {
        out.extend_from_slice(b"nil");
        return Ok(());
    }
    if is_container(val) {
        return write(ctx, out, val, Notation::Nested);
    }
    scalar_counted(ctx, out, val, Notation::Text)
}

/// A value as `str` shows it.
///
/// # Errors
/// memory-limit.
pub fn text(ctx: &HostContext<'_>, val: Val<'_>) -> Result<String, Trap> {
    if let Some(text) = val.as_str() {
        return Ok(text.to_string());
    }
    let mut out = Vec::new();
    write(ctx, &mut Out::new(&mut out), val, Notation::Text)?;
    Ok(into_string(out))
}

/// Bytes that the functions of this module wrote.
pub fn into_string(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn is_container(val: Val<'_>) -> bool {
    val.as_list().is_some() || val.as_map().is_some() || val.as_record().is_some()
}

/// A container whose elements are being written.
enum Open<'h> {
    List {
        list: ListView<'h>,
        next: usize,
    },
    Map {
        keys: ListView<'h>,
        values: ListView<'h>,
        next: usize,
    },
    /// Fields in the order of their names, `__name` among them as `None`.
    Record {
        record: RecordView<'h>,
        order: Vec<Option<usize>>,
        next: usize,
    },
}

/// The containers around the current element.
#[derive(Default)]
struct Path {
    addresses: Vec<usize>,
    /// The same, once there are many.
    set: FxHashSet<usize>,
}

impl Path {
    const MANY: usize = 24;

    fn contains(&self, address: usize) -> bool {
        if self.set.is_empty() { self.addresses.contains(&address) } else { self.set.contains(&address) }
    }

    fn push(&mut self, address: usize) {
        self.addresses.push(address);
        if !self.set.is_empty() {
            self.set.insert(address);
        } else if self.addresses.len() > Path::MANY {
            self.set.extend(self.addresses.iter().copied());
        }
    }

    fn pop(&mut self) {
        if let Some(address) = self.addresses.pop()
            && !self.set.is_empty()
        {
            self.set.remove(&address);
        }
    }
}

/// The entries of the maps that a walk met, once these are many: a map that is met often gives them once.
#[derive(Default)]
struct Entries<'h> {
    maps: usize,
    known: FxHashMap<usize, (ListView<'h>, ListView<'h>)>,
}

impl<'h> Entries<'h> {
    const MANY: usize = 1000;

    fn of(
        &mut self,
        ctx: &'h HostContext<'_>,
        map: MapView<'h>,
    ) -> Result<(ListView<'h>, ListView<'h>), Trap> {
        self.maps += 1;
        if self.maps <= Entries::MANY {
            return ctx.map_entries(map);
        }
        let address = map.val().address().unwrap_or(0);
        if let Some(&known) = self.known.get(&address) {
            return Ok(known);
        }
        let entries = ctx.map_entries(map)?;
        self.known.insert(address, entries);
        Ok(entries)
    }
}

/// Writes a value in a notation.
///
/// # Errors
/// memory-limit; in JSON invalid-argument for what has no JSON form.
pub fn write<'h>(
    ctx: &'h HostContext<'_>,
    out: &mut Out<'_>,
    val: Val<'h>,
    notation: Notation,
) -> Result<(), Trap> {
    write_level(ctx, out, val, notation, 0)
}

/// Indented JSON nests at most this deep: its size grows with the square of the depth.
const INDENTED_DEPTH: usize = 5_000;

/// Containers as keys of containers as keys are shown to this depth: texts of keys are the one place with recursion.
const KEY_LEVELS: usize = 8;

fn write_level<'h>(
    ctx: &'h HostContext<'_>,
    out: &mut Out<'_>,
    val: Val<'h>,
    notation: Notation,
    level: usize,
) -> Result<(), Trap> {
    let mut stack: Vec<Open<'h>> = Vec::new();
    let mut path = Path::default();
    let mut entries = Entries::default();
    let mut current = Some(val);
    loop {
        out.charge(ctx)?;
        if let Some(val) = current.take()
            && let Some(open) = begin(ctx, out, val, notation, (&path, &mut entries), stack.len())?
        {
            path.push(val.address().unwrap_or(0));
            stack.push(open);
        }
        let depth = stack.len();
        if depth > INDENTED_DEPTH && matches!(notation, Notation::Json) {
            let message = format!(
                "json: nested more than {INDENTED_DEPTH} deep, where the indentation outgrows the data; use to_json"
            );
            return Err(Trap::new(TrapCode::InvalidArgument, message));
        }
        let Some(top) = stack.last_mut() else { return Ok(()) };
        match element(ctx, out, top, notation, (depth, level))? {
            Some(val) => current = Some(val),
            None => {
                end(out, top, notation, depth);
                stack.pop();
                path.pop();
            }
        }
    }
}

/// Writes a scalar whole, or the beginning of a container with elements.
fn begin<'h>(
    ctx: &'h HostContext<'_>,
    out: &mut Out<'_>,
    val: Val<'h>,
    notation: Notation,
    (path, entries): (&Path, &mut Entries<'h>),
    depth: usize,
) -> Result<Option<Open<'h>>, Trap> {
    let open = if let Some(list) = val.as_list() {
        if list.is_empty() || raw_list(ctx, out, list, notation, depth)? {
            if list.is_empty() {
                out.extend_from_slice(b"[]");
            }
            return Ok(None);
        }
        Open::List { list, next: 0 }
    } else if let Some(map) = val.as_map() {
        if map.is_empty() {
            out.extend_from_slice(if notation == Notation::Text { b"map[]" } else { b"{}" });
            return Ok(None);
        }
        if path.contains(val.address().unwrap_or(0)) {
            cycle(out, val, notation)?;
            return Ok(None);
        }
        let (keys, values) = entries.of(ctx, map)?;
        Open::Map { keys, values, next: 0 }
    } else if let Some(record) = val.as_record() {
        Open::Record { record, order: sorted_fields(record), next: 0 }
    } else {
        scalar_counted(ctx, out, val, notation)?;
        return Ok(None);
    };
    if path.contains(val.address().unwrap_or(0)) {
        cycle(out, val, notation)?;
        return Ok(None);
    }
    out.extend_from_slice(match (&open, notation) {
        (Open::List { .. }, _) => b"[",
        (_, Notation::Text) => b"map[",
        _ => b"{",
    });
    Ok(Some(open))
}

fn cycle(out: &mut Vec<u8>, val: Val<'_>, notation: Notation) -> Result<(), Trap> {
    if notation.is_json() {
        return Err(Trap::new(
            TrapCode::InvalidArgument,
            "json: a container that contains itself has no JSON form",
        ));
    }
    out.extend_from_slice(match (val.as_list(), notation) {
        (Some(_), _) => b"[...]",
        (None, Notation::Text) => b"map[...]",
        (None, _) => b"{...}",
    });
    Ok(())
}

/// The order in which a record shows its fields; `None` is its name, `__name`.
pub fn sorted_fields(record: RecordView<'_>) -> Vec<Option<usize>> {
    let name = |field: &Option<usize>| field.map_or(NAME_FIELD, |i| record.field_name(i).unwrap_or(""));
    let mut order: Vec<Option<usize>> = std::iter::once(None).chain((0..record.len()).map(Some)).collect();
    order.sort_by(|a, b| name(a).cmp(name(b)));
    order
}

/// The key under which a record shows its type.
pub const NAME_FIELD: &str = "__name";

/// Writes separator and key of the next element and returns its value; `None` behind the last.
fn element<'h>(
    ctx: &'h HostContext<'_>,
    out: &mut Out<'_>,
    top: &mut Open<'h>,
    notation: Notation,
    (depth, level): (usize, usize),
) -> Result<Option<Val<'h>>, Trap> {
    loop {
        match top {
            Open::List { list, next } => {
                let Some(val) = list.get(*next) else { return Ok(None) };
                separator(out, *next == 0, notation, depth);
                *next += 1;
                return Ok(Some(val));
            }
            Open::Map { keys, values, next } => {
                let (Some(key), Some(val)) = (keys.get(*next), values.get(*next)) else { return Ok(None) };
                separator(out, *next == 0, notation, depth);
                *next += 1;
                match key.as_str() {
                    Some(text) => write_key(out, &text, notation),
                    None => {
                        let mut text = Vec::new();
                        if !is_container(key) {
                            scalar(&mut text, key, Notation::Text)?;
                        } else if level < KEY_LEVELS {
                            let mut part = Out::new(&mut text);
                            part.work = std::mem::take(&mut out.work);
                            write_level(ctx, &mut part, key, Notation::Text, level + 1)?;
                            out.work = part.work;
                        } else {
                            cycle(&mut text, key, Notation::Text)?;
                        }
                        write_key(out, &into_string(text), notation);
                    }
                }
                return Ok(Some(val));
            }
            Open::Record { record, order, next } => {
                let Some(&field) = order.get(*next) else { return Ok(None) };
                separator(out, *next == 0, notation, depth);
                *next += 1;
                match field {
                    Some(i) => {
                        write_key(out, record.field_name(i).unwrap_or(""), notation);
                        return Ok(record.get(i));
                    }
                    None => {
                        write_key(out, NAME_FIELD, notation);
                        write_string(out, record.name(), notation);
                    }
                }
            }
        }
    }
}

fn separator(out: &mut Vec<u8>, first: bool, notation: Notation, depth: usize) {
    match notation {
        Notation::Text if first => {}
        Notation::Text => out.push(b' '),
        Notation::Nested if first => {}
        Notation::Nested => out.extend_from_slice(b", "),
        Notation::CompactJson if first => {}
        Notation::CompactJson => out.push(b','),
        Notation::Json => {
            if !first {
                out.push(b',');
            }
            new_line(out, depth);
        }
    }
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth, b' ');
}

fn end(out: &mut Vec<u8>, open: &Open<'_>, notation: Notation, depth: usize) {
    if notation == Notation::Json {
        new_line(out, depth - 1);
    }
    let list = matches!(open, Open::List { .. });
    out.push(if list || notation == Notation::Text { b']' } else { b'}' });
}

fn write_key(out: &mut Vec<u8>, key: &str, notation: Notation) {
    write_string(out, key, notation);
    out.extend_from_slice(match notation {
        Notation::Text | Notation::CompactJson => b":",
        Notation::Nested | Notation::Json => b": ",
    });
}

/// A list of raw numbers, whole. Says whether it was one.
fn raw_list(
    ctx: &HostContext<'_>,
    out: &mut Out<'_>,
    list: ListView<'_>,
    notation: Notation,
    depth: usize,
) -> Result<bool, Trap> {
    let depth = depth + 1;
    if let Some(ints) = list.ints() {
        out.push(b'[');
        for (i, x) in ints.iter().enumerate() {
            separator(out, i == 0, notation, depth);
            write_int(out, x.get());
            out.charge(ctx)?;
        }
    } else if let Some(floats) = list.floats() {
        out.push(b'[');
        for (i, x) in floats.iter().enumerate() {
            separator(out, i == 0, notation, depth);
            write_float(out, x.get(), notation)?;
            out.charge(ctx)?;
        }
    } else if let Some(bools) = list.bools() {
        out.push(b'[');
        for (i, x) in bools.iter().enumerate() {
            separator(out, i == 0, notation, depth);
            out.extend_from_slice(if x.get() != 0 { b"true" } else { b"false" });
            out.charge(ctx)?;
        }
    } else {
        return Ok(false);
    }
    if notation == Notation::Json {
        new_line(out, depth - 1);
    }
    out.push(b']');
    Ok(true)
}

/// Writes an int.
#[inline]
pub fn write_int(out: &mut Vec<u8>, x: i64) {
    out.extend_from_slice(Decimal::new(x).bytes());
}

fn write_float(out: &mut Vec<u8>, x: f64, notation: Notation) -> Result<(), Trap> {
    match notation {
        Notation::Text => float::write_text(out, x),
        Notation::Nested => float::write_nested(out, x),
        Notation::Json | Notation::CompactJson => {
            if !x.is_finite() {
                let name = Number::Float(x).text();
                return Err(Trap::new(TrapCode::InvalidArgument, format!("json: {name} has no JSON form")));
            }
            float::write_json(out, x);
        }
    }
    Ok(())
}

/// As [`scalar`]; of big numbers, whose text takes more than its length says, the work is counted.
fn scalar_counted(
    ctx: &HostContext<'_>,
    out: &mut Out<'_>,
    val: Val<'_>,
    notation: Notation,
) -> Result<(), Trap> {
    if let Some((_, bytes)) = val.as_bytes()
        && bytes.len() > 64
        && let Some(number) = Number::of(val)
    {
        out.work.steps(ctx, number.text_steps())?;
    }
    scalar(out, val, notation)
}

/// Writes a value that contains no others.
fn scalar(out: &mut Vec<u8>, val: Val<'_>, notation: Notation) -> Result<(), Trap> {
    if let Some(i) = val.as_int() {
        write_int(out, i);
    } else if let Some(x) = val.as_float() {
        return write_float(out, x, notation);
    } else if let Some(b) = val.as_bool() {
        out.extend_from_slice(if b { b"true" } else { b"false" });
    } else if let Some(text) = val.as_str() {
        write_string(out, &text, notation);
    } else if val.is_nil() {
        out.extend_from_slice(match notation {
            Notation::Text => b"<nil>",
            Notation::Nested => b"nil",
            Notation::Json | Notation::CompactJson => b"null",
        });
    } else if let Some(number) = Number::of(val) {
        match (&number, notation) {
            (Number::Rat(_), Notation::Json | Notation::CompactJson) => {
                write_json_string(out, &number.text())
            }
            _ => number.write(out),
        }
    } else if notation.is_json() {
        return Err(Trap::new(
            TrapCode::InvalidArgument,
            format!("json: a {} has no JSON form", super::kind_name(val)),
        ));
    } else if let Some(function) = val.as_function() {
        out.extend_from_slice(b"<function ");
        out.extend_from_slice(function.name().as_bytes());
        out.push(b'>');
    } else {
        out.extend_from_slice(b"<function>");
    }
    Ok(())
}

fn write_string(out: &mut Vec<u8>, text: &str, notation: Notation) {
    match notation {
        Notation::Text => out.extend_from_slice(text.as_bytes()),
        Notation::Nested => write_quoted(out, text),
        Notation::Json | Notation::CompactJson => write_json_string(out, text),
    }
}

/// A text in quotes, with escapes for what cannot be seen.
fn write_quoted(out: &mut Vec<u8>, text: &str) {
    use std::io::Write;
    out.push(b'"');
    // Runs of characters that stand for themselves are copied whole.
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        if printable(c) && c != '"' && c != '\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + c.len_utf8();
        let short = match c {
            '"' => '"',
            '\\' => '\\',
            '\n' => 'n',
            '\t' => 't',
            '\r' => 'r',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            _ => '\0',
        };
        let code = c as u32;
        let _ = match (short, code) {
            ('\0', 0..0x80) => write!(out, "\\x{code:02x}"),
            ('\0', 0x80..0x1_0000) => write!(out, "\\u{code:04x}"),
            ('\0', _) => write!(out, "\\U{code:08x}"),
            _ => write!(out, "\\{short}"),
        };
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

fn printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    matches!(
        c.general_category_group(),
        GeneralCategoryGroup::Letter
            | GeneralCategoryGroup::Mark
            | GeneralCategoryGroup::Number
            | GeneralCategoryGroup::Punctuation
            | GeneralCategoryGroup::Symbol
    )
}

fn write_json_string(out: &mut Vec<u8>, text: &str) {
    use std::io::Write;
    out.push(b'"');
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let short = match c {
            '"' => b'"',
            '\\' => b'\\',
            '\n' => b'n',
            '\t' => b't',
            '\r' => b'r',
            '\u{8}' => b'b',
            '\u{c}' => b'f',
            // Characters that HTML and JavaScript would take for their own.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 0,
            _ if c < ' ' => 0,
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + c.len_utf8();
        if short == 0 {
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_trimmed_at_both_ends() {
        for (line, trimmed) in [("a b", "a b"), ("  a ", "a"), ("   ", ""), ("", ""), ("\ta\u{a0}", "a")] {
            let mut out = b"before".to_vec();
            out.extend_from_slice(line.as_bytes());
            trim_start(&mut out, 6);
            out.truncate(trimmed_end(&out, 6));
            assert_eq!(out, format!("before{trimmed}").into_bytes(), "{line:?}");
        }
    }
}
