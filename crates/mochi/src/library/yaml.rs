//! YAML of rows: read by a library, written here, as the reference implementation indents it.

use serde_json::Value;
use upshift_runtime::trap::Trap;

use super::files::invalid;

/// Collections nest at most this deep, as in JSON.
const DEPTH: usize = 128;

/// The value of a document; null where there is none.
///
/// # Errors
/// invalid-argument.
pub fn read(text: &str) -> Result<Value, Trap> {
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { max_depth: DEPTH } };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let told = error.to_string();
        let first = told.lines().next().unwrap_or("this is no YAML");
        invalid(format!("load: {}", first.strip_prefix("error: ").unwrap_or(first)))
    })
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
    let plain = text.chars().next().is_some_and(|c| !"-?:,[]{}#&*!|>'\"%@` ".contains(c))
        && !text.contains(char::is_control)
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' ']);
    if plain && matches!(read(text), Ok(Value::String(same)) if same == text) {
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
            "invalid-argument: load: line 2 column 3: mapping values are not allowed in this context"
        );
        assert_eq!(text_of(""), "null");
        assert_eq!(text_of("# nothing\n"), "null");
        assert_eq!(text_of("- &a [1, 2]\n- *a\n- |\n  two\n  lines\n"), r#"[[1,2],[1,2],"two\nlines\n"]"#);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(text_of(&deep).starts_with("invalid-argument: load: "));
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
