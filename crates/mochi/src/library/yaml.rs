//! The subset of YAML that rows are kept in: blocks, scalars, and flow collections in one line; no anchors, tags or texts of
//! several lines.

use serde_json::{Map, Value};
use upshift_runtime::trap::Trap;

use super::files::{invalid, number};

/// Collections nest at most this deep.
const DEPTH: usize = 128;

// ---- Reading ----

/// A line that says something.
struct Line<'t> {
    number: usize,
    indent: usize,
    text: &'t str,
}

struct Yaml<'t> {
    lines: Vec<Line<'t>>,
    at: usize,
}

/// The value of a document.
///
/// # Errors
/// invalid-argument.
pub fn read(text: &str) -> Result<Value, Trap> {
    let lines = text.lines().enumerate().filter_map(|(index, line)| {
        let text = without_comment(line).trim_end();
        let indent = text.len() - text.trim_start_matches(' ').len();
        let says = indent < text.len() && !(indent == 0 && matches!(text, "---" | "..."));
        says.then(|| Line { number: index + 1, indent, text: &text[indent..] })
    });
    let mut parser = Yaml { lines: lines.collect(), at: 0 };
    let Some(first) = parser.lines.first() else { return Ok(Value::Null) };
    let value = parser.block(first.indent, 0)?;
    match parser.lines.get(parser.at) {
        Some(line) => {
            Err(invalid(format!("load: line {} of the YAML does not belong to what is before", line.number)))
        }
        None => Ok(value),
    }
}

/// The characters of a text with their places, and whether they stand in quotes.
fn quoted(text: &str) -> impl Iterator<Item = (usize, char, bool)> {
    let (mut quote, mut escaped, mut before) = (None, false, ' ');
    text.char_indices().map(move |(index, c)| {
        let within = quote.is_some();
        match quote {
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | '[' | '{' | ',' | ':') => {
                quote = Some(c)
            }
            Some('"') if escaped || c == '\\' => escaped = !escaped,
            Some(open) if c == open => quote = None,
            _ => {}
        }
        before = c;
        (index, c, within || quote.is_some())
    })
}

/// A line up to a `#` that begins a comment.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (index, c, quoted) in quoted(line) {
        if c == '#' && !quoted && before.is_whitespace() {
            return &line[..index];
        }
        before = c;
    }
    line
}

/// The key of `key: rest` or `key:`, and the rest.
fn entry(text: &str) -> Option<(String, &str)> {
    let ends = |at: usize| matches!(text[at + 1..].chars().next(), None | Some(' '));
    let (end, ..) = quoted(text).find(|&(at, c, quoted)| c == ':' && !quoted && ends(at))?;
    let key = text[..end].trim_end();
    let key = match key.chars().next() {
        Some('[' | '{') => return None,
        Some('"' | '\'') => match scalar(key) {
            Value::String(key) => key,
            _ => return None,
        },
        _ => key.to_owned(),
    };
    Some((key, text[end + 1..].trim()))
}

/// What stands behind the dash of an item, and how far behind the dash's place.
fn item(text: &str) -> Option<(&str, usize)> {
    let rest = text.strip_prefix('-')?;
    let inner = rest.trim_start_matches(' ');
    (rest.is_empty() || rest.len() > inner.len()).then(|| (inner, text.len() - inner.len()))
}

impl<'t> Yaml<'t> {
    fn line(&self, indent: usize) -> Option<&'t str> {
        self.lines.get(self.at).filter(|line| line.indent == indent).map(|line| line.text)
    }

    /// What lies deeper than the line before, or is none.
    fn inner(&mut self, indent: usize, items_too: bool, depth: usize) -> Result<Value, Trap> {
        match self.lines.get(self.at) {
            Some(line) if line.indent > indent => self.block(line.indent, depth + 1),
            Some(line) if items_too && line.indent == indent && item(line.text).is_some() => {
                self.block(indent, depth + 1)
            }
            _ => Ok(Value::Null),
        }
    }

    fn block(&mut self, indent: usize, depth: usize) -> Result<Value, Trap> {
        if depth > DEPTH {
            return Err(invalid("load: the YAML nests too deep"));
        }
        let Some(text) = self.line(indent) else { return Ok(Value::Null) };
        if item(text).is_some() {
            let mut items = Vec::new();
            while let Some((rest, offset)) = self.line(indent).and_then(item) {
                if rest.is_empty() {
                    self.at += 1;
                    items.push(self.inner(indent, false, depth)?);
                } else {
                    // What follows on the line begins a block of its own.
                    let line = &mut self.lines[self.at];
                    (line.indent, line.text) = (indent + offset, rest);
                    items.push(self.block(indent + offset, depth + 1)?);
                }
            }
            return Ok(items.into());
        }
        if entry(text).is_none() {
            self.at += 1;
            return Ok(scalar(text));
        }
        let mut entries = Map::new();
        while let Some((key, rest)) = self.line(indent).and_then(entry) {
            self.at += 1;
            let value = if rest.is_empty() { self.inner(indent, true, depth)? } else { scalar(rest) };
            entries.insert(key, value);
        }
        Ok(entries.into())
    }
}

/// A value in one line.
fn scalar(text: &str) -> Value {
    let text = text.trim();
    let within = |open: char, close: char| text.strip_prefix(open).and_then(|text| text.strip_suffix(close));
    if let Some(items) = within('[', ']').and_then(parts) {
        return items.into_iter().map(scalar).collect::<Vec<_>>().into();
    }
    if let Some(entries) = within('{', '}').and_then(parts) {
        let entries = entries.into_iter().filter_map(|part| entry(part.trim()));
        return entries.map(|(key, rest)| (key, scalar(rest))).collect::<Map<_, _>>().into();
    }
    if within('"', '"').is_some() {
        return serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    }
    if let Some(inner) = within('\'', '\'') {
        return inner.replace("''", "'").into();
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ => number(text).unwrap_or_else(|| text.into()),
    }
}

/// The parts between the commas of a flow collection, unless it is deeper than [`DEPTH`].
fn parts(text: &str) -> Option<Vec<&str>> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (index, c, quoted) in quoted(text) {
        match c {
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                found.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
        if depth > DEPTH {
            return None;
        }
    }
    found.push(&text[start..]);
    found.retain(|part| !part.trim().is_empty());
    Some(found)
}

// ---- Writing ----

/// Writes a value whose first line begins where the writing is, and whose others are this far in.
pub fn write(out: &mut Vec<u8>, value: &Value, indent: usize) {
    let pad = |out: &mut Vec<u8>, index: usize| {
        if index > 0 {
            out.resize(out.len() + indent, b' ');
        }
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                pad(out, index);
                out.extend_from_slice(b"- ");
                write(out, item, indent + 2);
            }
        }
        Value::Object(entries) if !entries.is_empty() => {
            for (index, (key, value)) in entries.iter().enumerate() {
                pad(out, index);
                out.extend_from_slice(plain_or_quoted(key).as_bytes());
                out.push(b':');
                let holds = matches!(value, Value::Array(items) if !items.is_empty())
                    || matches!(value, Value::Object(entries) if !entries.is_empty());
                if holds {
                    // The next multiple of four.
                    let inner = indent / 4 * 4 + 4;
                    out.push(b'\n');
                    out.resize(out.len() + inner, b' ');
                    write(out, value, inner);
                } else {
                    out.push(b' ');
                    write(out, value, indent);
                }
            }
        }
        Value::String(text) => {
            out.extend_from_slice(plain_or_quoted(text).as_bytes());
            out.push(b'\n');
        }
        other => {
            out.extend_from_slice(other.to_string().as_bytes());
            out.push(b'\n');
        }
    }
}

/// A text of YAML, in quotes if it would be read as something else.
fn plain_or_quoted(text: &str) -> String {
    let same = matches!(scalar(text), Value::String(read) if read == text) && entry(text).is_none();
    let first = text.chars().next().is_some_and(|c| !"-?:,[]{}#&*!|>'\"%@` ".contains(c));
    if same && first && without_comment(text) == text && !text.contains(char::is_control) {
        return text.to_owned();
    }
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(text: &str) -> String {
        read(text).map_or_else(|trap| trap.to_string(), |value| value.to_string())
    }

    #[test]
    fn yaml_of_blocks() {
        let text = "# people\n---\n- name: Ann # first\n  age: 30\n  tags: [a, 'b, c']\n  home: {city: X, zip: 1}\n-\n  name: \"B: b\"\n  kids:\n  - x\n  - - 1\n    - 2.5\n  none: ~\n";
        assert_eq!(
            text_of(text),
            r#"[{"age":30,"home":{"city":"X","zip":1},"name":"Ann","tags":["a","b, c"]},{"kids":["x",[1,2.5]],"name":"B: b","none":null}]"#
        );
        assert_eq!(
            text_of("a: 1\n b: 2\n"),
            "invalid-argument: load: line 2 of the YAML does not belong to what is before"
        );
        assert_eq!(text_of(""), "null");
    }

    #[test]
    fn yaml_reads_what_it_writes() {
        let text = r##"[{"a":{"b":[1,"x: y","- z",""," w",[],{}],"c d":null},"e":[[true],{"f":"no#","g":"#h"}]},"007","1.5","true","a\nb","it's"]"##;
        let value: Value = serde_json::from_str(text).unwrap();
        let mut out = Vec::new();
        write(&mut out, &value, 0);
        let written = String::from_utf8(out).unwrap();
        assert_eq!(text_of(&written), value.to_string(), "{written}");
    }
}
