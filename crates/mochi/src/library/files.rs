//! `load` and `save`: rows in files.
//!
//! What is read becomes a tree first, which is small work beside the file itself, then guest values of no declared type; the cast to
//! the type that the program names is the caller's. Cells of separated values are texts, so there the type of their column decides what
//! they are read as. What is written goes the way that `json` goes; rows of CSV are texts by name, and those of YAML trees again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};
use upshift_bytecode::{KeyPolicy, OrderPolicy, TrapCode};
use upshift_runtime::host::{Args, HostContext, Ret, Val};
use upshift_runtime::trap::Trap;

use super::cast::{Column, Columns, Reading};
use super::format::{self, Notation, Out};
use super::work::{WRITTEN, steps};
use super::{access, kind_name, mismatch, yaml};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Separated,
    Json,
    JsonLines,
    Yaml,
}

/// What stands behind `with`.
struct Options {
    format: Format,
    header: Option<bool>,
    /// A character of ASCII.
    delimiter: u8,
}

/// A trap for content or options that mean nothing.
pub fn invalid(message: impl Into<String>) -> Trap {
    Trap::new(TrapCode::InvalidArgument, message.into())
}

fn options(ctx: &HostContext<'_>, given: Val<'_>, what: &str) -> Result<Options, Trap> {
    let mut options = Options { format: Format::Separated, header: None, delimiter: b',' };
    if given.is_nil() {
        return Ok(options);
    }
    let wrong = |name: &str, val: Val<'_>| mismatch(format!("{what}: {name} may not be {}", kind_name(val)));
    let format = access::field_get(ctx, given, "format")?;
    if !format.is_nil() {
        let text = format.as_str().ok_or_else(|| wrong("format", format))?;
        options.format = match &*text {
            "csv" => Format::Separated,
            "tsv" => {
                options.delimiter = b'\t';
                Format::Separated
            }
            "json" => Format::Json,
            "jsonl" => Format::JsonLines,
            "yaml" => Format::Yaml,
            other => return Err(invalid(format!("{what}: there is no format {other:?}"))),
        };
    }
    let header = access::field_get(ctx, given, "header")?;
    if !header.is_nil() {
        options.header = Some(header.as_bool().ok_or_else(|| wrong("header", header))?);
    }
    let delimiter = access::field_get(ctx, given, "delimiter")?;
    if !delimiter.is_nil() {
        let text = delimiter.as_str().ok_or_else(|| wrong("delimiter", delimiter))?;
        options.delimiter = match *text.as_bytes() {
            [c] if c.is_ascii() && !matches!(c, b'"' | b'\n' | b'\r') => c,
            _ => return Err(invalid(format!("{what}: {:?} is no delimiter", &*text))),
        };
    }
    Ok(options)
}

/// The path, if it is not that of standard input and output.
fn path(ctx: &HostContext<'_>, args: &Args<'_>, index: usize) -> Result<Option<String>, Trap> {
    let val = args.val(ctx, index)?;
    Ok(val.as_str().map(|text| text.to_string()).filter(|path| path != "-"))
}

// ---- Reading ----

/// `mochi.load(path, options, type)`: the rows as a list of values of any type, which will be cast to the type
pub fn load<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let options = options(ctx, args.val(ctx, 1)?, "load")?;
    let columns = Columns::of_rows(ctx, &args.text(ctx, 2)?)?;
    let bytes = match path(ctx, &args, 0)? {
        Some(path) => ctx.io().read_file(path)?,
        None => ctx.io().read_all()?,
    };
    steps(ctx, bytes.len() / WRITTEN)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let rows = match options.format {
        Format::Separated => separated(text, options.delimiter, options.header.unwrap_or(true), &columns)?,
        Format::Json => rows_of(parse_json(text)?),
        Format::JsonLines => {
            text.lines().filter(|line| !line.trim().is_empty()).map(parse_json).collect::<Result<_, _>>()?
        }
        Format::Yaml => rows_of(yaml::read(text)?),
    };
    let rows: Vec<Val<'h>> = rows.iter().map(|row| guest(ctx, row)).collect::<Result<_, _>>()?;
    Ok(ctx.new_list_cells(rows)?.into())
}

fn parse_json(text: &str) -> Result<Value, Trap> {
    serde_json::from_str(text).map_err(|error| invalid(format!("load: {error}")))
}

/// A list is its elements; anything else is one row.
fn rows_of(value: Value) -> Vec<Value> {
    match value {
        Value::Array(rows) => rows,
        Value::Null => Vec::new(),
        row => vec![row],
    }
}

/// The guest value of a tree, which is not deep.
fn guest<'h>(ctx: &'h HostContext<'_>, value: &Value) -> Result<Val<'h>, Trap> {
    Ok(match value {
        Value::Null => ctx.nil(),
        Value::Bool(flag) => ctx.bool(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(i) => ctx.int(i)?,
            None => ctx.float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => ctx.string(text)?,
        Value::Array(items) => {
            let items: Vec<Val<'h>> = items.iter().map(|item| guest(ctx, item)).collect::<Result<_, _>>()?;
            ctx.new_list_cells(items)?
        }
        Value::Object(entries) => {
            let made = ctx.new_map(KeyPolicy::Text, OrderPolicy::SortedByText)?;
            if let Some(map) = made.as_map() {
                for (key, value) in entries {
                    ctx.map_set(map, ctx.string(key)?, guest(ctx, value)?)?;
                }
            }
            made
        }
    })
}

/// An int or float, as programs and spreadsheets write them.
pub fn number(text: &str) -> Option<Value> {
    if let Ok(i) = text.parse::<i64>() {
        return Some(i.into());
    }
    // Not the words for infinity and what is no number.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    let float = text.parse::<f64>().ok().filter(|_| plain)?;
    Number::from_f64(float).map(Value::Number)
}

/// What a cell holds.
fn cell(text: String, column: Column) -> Value {
    if text.is_empty() && column.optional {
        return Value::Null;
    }
    let read = match column.reading {
        Reading::Guess => number(&text),
        Reading::Text => None,
        Reading::Bool => text.parse().ok().map(Value::Bool),
        Reading::Exact(of_floats) => number(&text).filter(|_| text.contains(of_floats)),
        Reading::Json => serde_json::from_str(&text).ok(),
    };
    read.unwrap_or(Value::String(text))
}

/// The rows of separated values, with the names of the first row or c0, c1, ...
fn separated(text: &str, delimiter: u8, header: bool, columns: &Columns) -> Result<Vec<Value>, Trap> {
    let mut lines = cells(text, delimiter)?.into_iter();
    let mut named = if header { lines.next().unwrap_or_default() } else { Vec::new() };
    let mut known: Vec<Column> = named.iter().map(|name| columns.get(name)).collect();
    let row = |line: Vec<String>| {
        for index in named.len()..if header { 0 } else { line.len() } {
            named.push(format!("c{index}"));
            known.push(columns.get(&named[index]));
        }
        let mut line = line.into_iter();
        let entry = |(name, column): (&String, &Column)| {
            (name.clone(), line.next().map_or(Value::Null, |text| cell(text, *column)))
        };
        named.iter().zip(&known).map(entry).collect::<Map<_, _>>().into()
    };
    Ok(lines.map(row).collect())
}

/// The cells of the lines that are not empty.
fn cells(text: &str, delimiter: u8) -> Result<Vec<Vec<String>>, Trap> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let line = |line: csv::Result<csv::StringRecord>| {
        let line = line.map_err(|error| invalid(format!("load: {error}")))?;
        Ok(line.iter().map(str::to_owned).collect())
    };
    reader.records().map(line).collect()
}

// ---- Writing ----

/// `mochi.save(value, path, options)`
pub fn save<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let value = args.val(ctx, 0)?;
    let options = options(ctx, args.val(ctx, 2)?, "save")?;
    let mut bytes = Vec::new();
    let rows: Vec<Val<'h>> = match value.as_list() {
        Some(list) => list.iter().collect(),
        None if value.is_nil() => Vec::new(),
        None => vec![value],
    };
    match options.format {
        Format::Json => {
            format::write(ctx, &mut Out::new(&mut bytes), value, Notation::Json)?;
            bytes.push(b'\n');
        }
        Format::JsonLines => {
            for row in rows {
                format::write(ctx, &mut Out::new(&mut bytes), row, Notation::CompactJson)?;
                bytes.push(b'\n');
            }
        }
        Format::Separated => {
            let rows = rows.into_iter().map(|row| texts(ctx, row)).collect::<Result<Vec<_>, _>>()?;
            write_separated(&mut bytes, &rows, &options);
        }
        Format::Yaml => yaml::write(&mut bytes, &tree(ctx, value)?, 0),
    }
    steps(ctx, bytes.len() / WRITTEN)?;
    match path(ctx, &args, 1)? {
        Some(path) => ctx.io().write_file(path, &bytes)?,
        None => ctx.io().write_stdout(&bytes)?,
    }
    Ok(Ret::Nothing)
}

fn json(ctx: &HostContext<'_>, val: Val<'_>) -> Result<String, Trap> {
    let mut bytes = Vec::new();
    format::write(ctx, &mut Out::new(&mut bytes), val, Notation::CompactJson)?;
    String::from_utf8(bytes).map_err(|error| invalid(format!("save: {error}")))
}

fn tree(ctx: &HostContext<'_>, val: Val<'_>) -> Result<Value, Trap> {
    serde_json::from_str(&json(ctx, val)?).map_err(|error| invalid(format!("save: {error}")))
}

/// The cells of a row, by the names of their columns.
fn texts(ctx: &HostContext<'_>, row: Val<'_>) -> Result<BTreeMap<String, String>, Trap> {
    let text = |val: Val<'_>| match val.as_str() {
        Some(text) => Ok::<String, Trap>(text.to_string()),
        None if val.is_nil() => Ok(String::new()),
        None => {
            let json = json(ctx, val)?;
            // Some numbers are texts there.
            Ok(serde_json::from_str(&json).unwrap_or(json))
        }
    };
    if let Some(record) = row.as_record() {
        let cell = |field| {
            Ok(match field {
                Some(i) => {
                    let name = record.field_name(i).unwrap_or("");
                    (name.to_string(), text(record.get(i).unwrap_or(ctx.nil()))?)
                }
                None => (format::NAME_FIELD.to_string(), record.name().to_string()),
            })
        };
        return format::sorted_fields(record).into_iter().map(cell).collect();
    }
    let Some(map) = row.as_map() else {
        return Err(mismatch(format!("save: a row is a map or a struct, not {}", json(ctx, row)?)));
    };
    let (keys, values) = ctx.map_entries(map)?;
    let entry = |(key, val)| Ok((format::text(ctx, key)?, text(val)?));
    keys.iter().zip(values.iter()).map(entry).collect()
}

/// Columns are all names that rows have, in their order.
fn write_separated(out: &mut Vec<u8>, rows: &[BTreeMap<String, String>], options: &Options) {
    let columns: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        for (index, cell) in cells.enumerate() {
            if index > 0 {
                out.push(options.delimiter);
            }
            let special = |c: char| c == char::from(options.delimiter) || matches!(c, '"' | '\n' | '\r');
            if cell.contains(special) || cell.starts_with(char::is_whitespace) {
                out.extend_from_slice(format!("\"{}\"", cell.replace('"', "\"\"")).as_bytes());
            } else {
                out.extend_from_slice(cell.as_bytes());
            }
        }
        out.push(b'\n');
    };
    if options.header == Some(true) {
        line(&mut columns.iter().map(|&name| name.clone()));
    }
    for row in rows {
        line(&mut columns.iter().map(|&name| row.get(name).cloned().unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_in_quotes() {
        let found = cells("a,b\r\n\"x,\"\"y\"\"\",\n\n\"\"\n\"l1\nl2\",z", b',').unwrap();
        assert_eq!(found, [vec!["a", "b"], vec!["x,\"y\"", ""], vec![""], vec!["l1\nl2", "z"]]);
    }
}
