//! `load` and `save`: rows in files.
//!
//! What is read becomes a tree first, which is small work beside the file itself, then guest values of no declared type; the cast to
//! the type that the program names is the caller's. What is written goes the way that `json` goes, except for CSV and YAML, whose
//! rows are trees again.

use serde_json::{Map, Number, Value};
use upshift_bytecode::{KeyPolicy, OrderPolicy, TrapCode};
use upshift_runtime::host::{Args, HostContext, Ret, Val};
use upshift_runtime::trap::Trap;

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

/// `mochi.load(path, options)`: the rows as a list of values of any type
pub fn load<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let options = options(ctx, args.val(ctx, 1)?, "load")?;
    let bytes = match path(ctx, &args, 0)? {
        Some(path) => ctx.io().read_file(path)?,
        None => ctx.io().read_all()?,
    };
    steps(ctx, bytes.len() / WRITTEN)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let rows = match options.format {
        Format::Separated => separated(text, options.delimiter, options.header.unwrap_or(true))?,
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

/// The rows of separated values, with the names of the first row or c0, c1, ...
fn separated(text: &str, delimiter: u8, header: bool) -> Result<Vec<Value>, Trap> {
    let mut lines = cells(text, delimiter)?.into_iter();
    let mut named = if header { lines.next().unwrap_or_default() } else { Vec::new() };
    let row = |line: Vec<String>| {
        for index in named.len()..if header { 0 } else { line.len() } {
            named.push(format!("c{index}"));
        }
        let cell = |text: String| number(&text).unwrap_or(Value::String(text));
        let mut line = line.into_iter();
        named
            .iter()
            .map(|name| (name.clone(), line.next().map_or(Value::Null, cell)))
            .collect::<Map<_, _>>()
            .into()
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
            let trees = rows.into_iter().map(|row| tree(ctx, row)).collect::<Result<Vec<_>, _>>()?;
            write_separated(&mut bytes, &trees, &options)?;
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

fn tree(ctx: &HostContext<'_>, val: Val<'_>) -> Result<Value, Trap> {
    let mut bytes = Vec::new();
    format::write(ctx, &mut Out::new(&mut bytes), val, Notation::CompactJson)?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("save: {error}")))
}

/// Columns are all names that rows have, in their order.
fn write_separated(out: &mut Vec<u8>, rows: &[Value], options: &Options) -> Result<(), Trap> {
    let mut columns = std::collections::BTreeSet::new();
    for row in rows {
        let Value::Object(entries) = row else {
            return Err(mismatch(format!("save: a row is a map or a struct, not {row}")));
        };
        columns.extend(entries.keys());
    }
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
        line(&mut columns.iter().map(|&name| match row.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }));
    }
    Ok(())
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
