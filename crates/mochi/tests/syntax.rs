//! The syntax layer: the text tests of `filetests/parse`, positions, and hostile input.
//!
//! A text test is a file whose first line is `# test parse: KIND`; the program follows, up to a line `# ----`, and below it
//! stands what is expected. Kinds: `print` (the canonical text), `errors` (place, code and message of each diagnostic),
//! `render` (the diagnostics as shown), `json` (as JSON lines). `BLESS=1` rewrites the expectations.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use upshift_mochi::diagnostics::{Code, Diagnostic, Severity, render, to_json};
use upshift_mochi::source::SourceMap;
use upshift_mochi::syntax::ast::{ExprKind, Interner, MAX_NESTING, Program, StmtKind};
use upshift_mochi::syntax::{idle_statements, parse, print};

const SEPARATOR: &str = "# ----\n";

struct Parsed {
    sources: SourceMap,
    names: Interner,
    program: Program,
    diagnostics: Vec<Diagnostic>,
}

fn parsed(text: impl Into<Vec<u8>>) -> Parsed {
    let (mut sources, mut names) = (SourceMap::new(), Interner::new());
    let (file, loading) = sources.add_bytes("test.mochi", text.into());
    if let Some(diagnostic) = loading {
        return Parsed { sources, names, program: Program::default(), diagnostics: vec![diagnostic] };
    }
    let (program, mut diagnostics) = parse(&sources, file, &mut names);
    if diagnostics.is_empty() {
        diagnostics = idle_statements(&program);
    }
    Parsed { sources, names, program, diagnostics }
}

fn errors(parsed: &Parsed) -> String {
    let mut out = String::new();
    for diagnostic in &parsed.diagnostics {
        let place = parsed.sources.line_column(diagnostic.span);
        let _ = writeln!(out, "{}:{} {} {}", place.line, place.column, diagnostic.code, diagnostic.message);
    }
    out
}

fn outcome(kind: &str, parsed: &Parsed) -> String {
    let all = |show: &dyn Fn(&Diagnostic) -> String| parsed.diagnostics.iter().map(show).collect::<String>();
    match kind {
        "print" if parsed.diagnostics.is_empty() => print(&parsed.program, &parsed.names),
        "print" | "errors" => errors(parsed),
        "render" => all(&|diagnostic| render(&parsed.sources, diagnostic, false)),
        "json" => all(&|diagnostic| format!("{}\n", to_json(&parsed.sources, diagnostic))),
        _ => panic!("unknown kind of parse test: {kind}"),
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/parse");
    let entries = std::fs::read_dir(folder).expect("the folder of parse tests");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    files.sort();
    files
}

#[test]
fn text_tests() {
    let mut failures = String::new();
    let mut codes = BTreeSet::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("a readable test").replace("\r\n", "\n");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (header, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let Some(kind) = header.strip_prefix("# test parse: ") else { panic!("{name}: no header") };
        let (program, expected) = rest.split_once(SEPARATOR).unwrap_or((rest, ""));
        let parsed = parsed(program);
        codes.extend(parsed.diagnostics.iter().map(|diagnostic| diagnostic.code));
        let actual = outcome(kind, &parsed);
        if actual == expected {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            let text = format!("{header}\n{program}{SEPARATOR}{actual}");
            std::fs::write(&path, text).expect("the test can be rewritten");
        } else {
            let _ = writeln!(failures, "{name}: expected\n{expected}\ngot\n{actual}");
        }
    }
    assert!(failures.is_empty(), "{failures}");
    // P047 is in a test below: a byte order mark in a text test would be too easy to lose.
    let missing: Vec<&Code> = Code::ALL
        .iter()
        .filter(|code| code.name().starts_with('P') && **code != Code::P047 && !codes.contains(code))
        .collect();
    assert!(missing.is_empty(), "no text test for {missing:?}");
}

#[track_caller]
fn check(text: impl Into<Vec<u8>>, expected: &str) {
    assert_eq!(errors(&parsed(text)), expected);
}

#[test]
fn byte_order_marks() {
    check("\u{feff}print(1)", "");
    check("let x = 1\n\u{feff}print(1)", "2:1 P047 a byte order mark in the middle of the file\n");
    check("print(\"\u{feff}\")", "");
    check("\u{feff}let = 1", "1:5 P031 expected a name behind `let`, found `=`\n");
}

#[test]
fn invalid_utf8() {
    check(
        b"let a = 1\nlet s = \"caf\xe9\"".to_vec(),
        "2:13 P999 the file is not valid UTF-8: unexpected byte 0xe9 at offset 22\n",
    );
    check(b"\xff\xfe".to_vec(), "1:1 P999 the file is not valid UTF-8: unexpected byte 0xff at offset 0\n");
}

#[test]
fn names_are_unicode() {
    check("let größe = 1\nlet 数 = 2\nlet _x1 = 3\nlet ☃ = 4\nlet x² = größe + 数 + ☃", "");
    check("let x\u{301} = 1", "1:6 P999 the invisible character U+0301\n");
}

#[test]
fn an_empty_file_is_a_program() {
    for text in ["", "\n", "\u{feff}", "// nothing", "# nothing", "/* nothing */", ";;;"] {
        let parsed = parsed(text);
        assert!(parsed.diagnostics.is_empty(), "{text:?}");
        assert!(parsed.program.body.stmts.is_empty(), "{text:?}");
    }
}

/// Texts that nest deeply, with the depth; none of them may hurt, and those beyond the limit give one error each.
fn nested(depth: usize) -> Vec<String> {
    let around = |open: &str, middle: &str, close: &str| {
        format!("let x = {}{middle}{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        around("(", "1", ")"),
        around("[", "", "]"),
        around("{a: ", "1", "}"),
        around("f(", "1", ")"),
        around("xs[", "1", "]"),
        around("-", "1", ""),
        around("!", "a", ""),
        around("fun() => ", "1", ""),
        around("fun() { ", "", " }"),
        around("1 + (", "1", ")"),
        around("if a { ", "1", " }"),
        around("match a { b => ", "1", " }"),
        around("match a { b => { ", "", " } }"),
        around("P { x: ", "1", " }"),
        around("from x in ", "xs", " select x"),
        around("a", "", ".b"),
        around("a", "", "(1)").replacen(&"a".repeat(depth), "a", 1),
        around("", "a", "[0]"),
        around("", "a", " as int"),
        format!("let x: {}int{}", "list<".repeat(depth), ">".repeat(depth)),
        format!("let x: {}int", "fun(): ".repeat(depth)),
        format!("{}{}", "if a { ".repeat(depth), "}".repeat(depth)),
        format!("{}{}", "while a { ".repeat(depth), "}".repeat(depth)),
        format!("{}{}", "fun f() { ".repeat(depth), "}".repeat(depth)),
        format!("{}{}", "test \"a\" { ".repeat(depth), "}".repeat(depth)),
        format!("let x = match a {{ {}b{} => 1 }}", "C(".repeat(depth), ")".repeat(depth)),
        format!("{}\n", "return\nif a { fun() {".repeat(depth)),
        "{".repeat(depth),
        "(".repeat(depth),
        ")".repeat(depth),
        "[".repeat(depth) + &"}".repeat(depth),
        "{(".repeat(depth) + &")]".repeat(depth),
    ]
}

#[test]
fn deep_nesting() {
    for text in nested(MAX_NESTING as usize / 3) {
        let parsed = parsed(text);
        let text = print(&parsed.program, &parsed.names);
        assert!(!text.is_empty());
    }
    for depth in [MAX_NESTING as usize - 10, MAX_NESTING as usize * 2, 10_000, 100_000] {
        for text in nested(depth) {
            let parsed = parsed(text);
            for diagnostic in parsed.diagnostics.iter().take(3) {
                let shown = render(&parsed.sources, diagnostic, true);
                assert!(shown.len() < 5_000, "{shown}");
            }
        }
    }
}

#[test]
fn nesting_has_a_limit() {
    let text = format!("let x = {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    check(text, "1:509 P999 the program nests more than 500 levels deep\n");
    let text = format!("print(1)\n{}", "if a {\n".repeat(10_000));
    check(text, "502:4 P999 the program nests more than 500 levels deep\n");
    // Chains on the left count too, where they hold something deep.
    let inner = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let text = format!("let x = f({inner}){}", "(1)".repeat(300));
    assert_eq!(parsed(text).diagnostics.len(), 1);
}

#[test]
fn long_is_not_deep() {
    let sum = format!("let x = 1{}", " + 1".repeat(100_000));
    let chain = format!("if a {{}}{}", " else if b {}".repeat(10_000));
    let choice = format!("let x = if a {{ 1 }}{} else {{ 2 }}", " else if b { 1 }".repeat(10_000));
    let list = format!("let x = [{}1]", "1, ".repeat(100_000));
    let mixed = format!("let x = a{}", " && b == c * d - e || f in g ?? h union all i".repeat(10_000));
    for text in [sum, chain, choice, list, mixed] {
        let first = parsed(text);
        assert!(first.diagnostics.is_empty(), "{}", errors(&first));
        let printed = print(&first.program, &first.names);
        let second = parsed(printed.clone());
        assert!(print(&second.program, &second.names) == printed);
    }
}

#[test]
fn a_spine_is_a_list() {
    let parsed = parsed("let x = a * b + c * d - e");
    let StmtKind::Let { value: Some(value), .. } = parsed.program.stmts[0].kind else { panic!("a let") };
    let spine = parsed.program.binary_spine(value);
    assert!(matches!(parsed.program[spine.first].kind, ExprKind::Name(_)));
    let operators: Vec<&str> = spine.links.iter().map(|link| link.op.text()).collect();
    assert_eq!(operators, ["*", "+", "-"]);
    assert_eq!(spine.links[2].expr, value);
}

#[test]
fn huge_lines_are_quick() {
    let start = Instant::now();
    let string = format!("let s = \"{}\"", "a".repeat(100_000_000));
    assert!(parsed(string).diagnostics.is_empty());
    let blank = " ".repeat(100_000_000) + ")";
    let blank = parsed(blank);
    assert_eq!(errors(&blank), "1:100000001 P999 expected an expression, found `)`\n");
    assert!(render(&blank.sources, &blank.diagnostics[0], false).len() < 1_000);
    let many = format!("let x = [{}1]", "1,".repeat(20_000_000));
    check(many, "1:8388614 P999 the file has more than 8388608 tokens\n");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn errors_have_a_limit() {
    for text in ["@ ".repeat(10_000), "let = 1\n".repeat(10_000), "let x = \"\\q\"\n".repeat(10_000)] {
        assert_eq!(parsed(text).diagnostics.len(), 100);
    }
}

#[test]
fn codes_are_described() {
    for code in Code::ALL {
        assert!(!code.title().is_empty(), "{code}");
        assert!(!code.title().ends_with('.') && !code.help().ends_with('.'), "{code}");
    }
    let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let order = names.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, order);
}

#[test]
fn rendering_is_safe_for_terminals() {
    let parsed = parsed("let x = \"\u{1b}[31m\u{202e}\" )\u{1b}");
    for diagnostic in &parsed.diagnostics {
        let shown = render(&parsed.sources, diagnostic, false);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
        assert!(render(&parsed.sources, diagnostic, true).contains('\u{1b}'));
    }
    assert_eq!(parsed.diagnostics.len(), 2);
}

#[test]
fn labels_in_other_files_become_notes() {
    let mut sources = SourceMap::new();
    let first = sources.add("a.mochi", "let x = 1\n");
    let second = sources.add("b.mochi", "\nx = 2\n");
    let span = |file, start, end| upshift_mochi::source::Span::new(file, start, end);
    let diagnostic = Diagnostic::warning(Code::T024, span(second, 1, 2), "x never changes")
        .with_label(span(first, 4, 5), "declared here")
        .with_note("constants stay as they are");
    assert_eq!(diagnostic.severity, Severity::Warning);
    let shown = render(&sources, &diagnostic, false);
    for part in
        ["warning[T024]: x never changes", "b.mochi:2:1", "a.mochi:1:5: declared here", "stay as they are"]
    {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn parsing_takes_linear_time() {
    let line = "fun f(a: int, b: list<int>): int { return a * 2 + b[0] - g(a, { k: 1 }) }\n";
    // In turn, and the best of several, since other processes may get in between: more where that is so.
    let (mut small, mut large) = (Duration::MAX, Duration::MAX);
    for attempt in 0..60 {
        for (lines, best) in [(2_000, &mut small), (20_000, &mut large)] {
            let text = line.repeat(lines);
            let start = Instant::now();
            assert!(parsed(text.as_str()).diagnostics.is_empty());
            *best = start.elapsed().min(*best);
        }
        if attempt > 3 && large < small * 40 {
            break;
        }
    }
    assert!(large < small * 40, "2,000 lines: {small:?}, 20,000 lines: {large:?}");
}
