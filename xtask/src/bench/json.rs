//! Just enough JSON to write figures: nothing here reads it, so a library would be a dependency for fifty lines.

use std::fmt::{self, Display, Formatter};

/// A JSON value. Objects keep the order they were made in.
pub enum Json {
    /// A number; one that is not finite is written as null.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Display for Json {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write(self, f, 0)
    }
}

/// Lists of scalars stay on one line, everything else gets a line per entry.
fn write(value: &Json, f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
    match value {
        Json::Number(n) if n.is_finite() => write!(f, "{n}"),
        Json::Number(_) => f.write_str("null"),
        Json::Text(text) => write_text(text, f),
        Json::List(items) if items.iter().all(|item| !matches!(item, Json::List(_) | Json::Object(_))) => {
            f.write_str("[")?;
            for (i, item) in items.iter().enumerate() {
                f.write_str(if i == 0 { "" } else { ", " })?;
                write(item, f, depth)?;
            }
            f.write_str("]")
        }
        Json::List(items) => {
            f.write_str("[")?;
            for (i, item) in items.iter().enumerate() {
                new_line(f, i > 0, depth + 1)?;
                write(item, f, depth + 1)?;
            }
            new_line(f, false, depth)?;
            f.write_str("]")
        }
        Json::Object(fields) if fields.is_empty() => f.write_str("{}"),
        Json::Object(fields) => {
            f.write_str("{")?;
            for (i, (name, field)) in fields.iter().enumerate() {
                new_line(f, i > 0, depth + 1)?;
                write_text(name, f)?;
                f.write_str(": ")?;
                write(field, f, depth + 1)?;
            }
            new_line(f, false, depth)?;
            f.write_str("}")
        }
    }
}

fn new_line(f: &mut Formatter<'_>, comma: bool, depth: usize) -> fmt::Result {
    write!(f, "{}\n{:width$}", if comma { "," } else { "" }, "", width = depth * 2)
}

fn write_text(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn writes_nested_values_and_escapes() {
        let value = Json::Object(vec![
            ("text".into(), Json::Text("a \"b\"\n\\ \u{1}".into())),
            ("runs".into(), Json::List(vec![Json::Number(1.5), Json::Number(f64::NAN)])),
            ("rows".into(), Json::List(vec![Json::Object(vec![]), Json::Number(2.0)])),
        ]);
        let wanted = "{\n  \"text\": \"a \\\"b\\\"\\n\\\\ \\u0001\",\n  \"runs\": [1.5, null],\n  \"rows\": [\n    {},\n    2\n  ]\n}";
        assert_eq!(value.to_string(), wanted);
    }
}
