//! Text tests of the type checker: `filetests/check`.
//!
//! Behind `# test check` (or `# test check: strict`) comes a program, below `# ----` what the checker says about it, a line
//! for each diagnostic. Run with `BLESS=1` to rewrite that part.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use upshift_mochi::check::{Mode, check};
use upshift_mochi::diagnostics::Code;
use upshift_mochi::source::SourceMap;
use upshift_mochi::syntax::ast::Interner;
use upshift_mochi::syntax::parse;

const SEPARATOR: &str = "# ----\n";

/// What the checker says, a line for each diagnostic.
fn report(text: &str, mode: Mode) -> String {
    let (mut sources, mut names) = (SourceMap::new(), Interner::new());
    let file = sources.add("test.mochi", text);
    let (program, errors) = parse(&sources, file, &mut names);
    let diagnostics =
        if errors.is_empty() { check(&program, &names, &sources, mode).diagnostics } else { errors };
    let line = |diagnostic: &upshift_mochi::diagnostics::Diagnostic| {
        let place = sources.line_column(diagnostic.span);
        format!("{}:{} {} {}\n", place.line, place.column, diagnostic.code, diagnostic.message)
    };
    diagnostics.iter().map(line).collect()
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/check");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn text_tests() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut failures = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let (head, rest) = text.split_once('\n').unwrap();
        let mode = match head {
            "# test check" => Mode::Check,
            "# test check: strict" => Mode::Strict,
            _ => panic!("{}: unknown test `{head}`", path.display()),
        };
        let (program, expected) = rest.split_once(SEPARATOR).unwrap_or((rest, ""));
        let found = report(program, mode);
        if found == expected {
            continue;
        }
        if bless {
            fs::write(&path, format!("{head}\n{program}{SEPARATOR}{found}")).unwrap();
        } else {
            failures.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}\nBLESS=1 rewrites", failures.join("\n"));
}

#[test]
fn every_type_code_occurs() {
    let mut seen = BTreeSet::new();
    for path in files() {
        let text = fs::read_to_string(path).unwrap();
        let (_, expected) = text.split_once(SEPARATOR).unwrap();
        seen.extend(expected.lines().filter_map(|line| line.split(' ').nth(1).map(str::to_owned)));
    }
    // The grammar has no operators that the checker does not know.
    let unreachable = [Code::T021];
    let missing: Vec<Code> = Code::ALL
        .iter()
        .copied()
        .filter(|code| {
            !code.name().starts_with('P') && !unreachable.contains(code) && !seen.contains(code.name())
        })
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn suggestions_and_help() {
    let help = |text: &str| {
        let (mut sources, mut names) = (SourceMap::new(), Interner::new());
        let file = sources.add("test.mochi", text);
        let (program, _) = parse(&sources, file, &mut names);
        check(&program, &names, &sources, Mode::Check)
            .diagnostics
            .pop()
            .and_then(|diagnostic| diagnostic.help)
    };
    let expect = |text: &str, part: &str| {
        let help = help(text).unwrap_or_default();
        assert!(help.contains(part), "{text}: {help}");
    };
    expect("let total = 1 print(totl)", "did you mean `total`?");
    expect("let total = 1 print(somethingElse)", "check the spelling");
    expect("prnt(1)", "did you mean `print`?");
    expect("type P { left: int } let p = P{left: 1} print(p.lfet)", "did you mean `left`?");
    expect("fun f(): void { }", "leave the result type out");
    expect("let x: strin = 1", "did you mean `string`?");
    expect("let m = {\"a\": 1} print(m[\"a\"] + 1)", "`??`");
    expect("let m = {\"a\": 1} let n: int = m[\"a\"]", "`??`");
    expect("let n: int = \"a\"", "change the value");
}

fn codes(text: &str) -> Vec<String> {
    report(text, Mode::Check).lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn deep_nesting_is_checked() {
    let depth = 450;
    let nested = |open: &str, inner: &str, close: &str| {
        format!("let x = {}{inner}{}\n", open.repeat(depth), close.repeat(depth))
    };
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("-", "1", ""),
        ("fun(a: int) => ", "1", ""),
        ("str(", "1", ")"),
        ("{a: ", "1", "}"),
        ("match 1 { _ => ", "1", "}"),
        ("if true then ", "1", " else 2"),
    ] {
        assert_eq!(codes(&nested(open, inner, close)), [""; 0], "{open}");
        assert_eq!(codes(&nested(open, "missing", close)), ["T002"], "{open}");
    }
    assert_eq!(codes(&format!("{}print(x){}", "if true {".repeat(depth), "}".repeat(depth))), ["T002"]);
    assert_eq!(codes(&format!("{}x(){}", "fun f() {".repeat(depth), "}".repeat(depth))), ["T003"]);
    assert_eq!(codes(&format!("let x: {}Nope{} = []", "list<".repeat(depth), ">".repeat(depth))), ["T025"]);
}

#[test]
fn long_chains_are_checked() {
    let sum = format!("let x: string = 1{}", " + 1".repeat(100_000));
    assert_eq!(codes(&sum), ["T008"]);
    let mut tests: String = (0..5000).map(|i| format!("let x{i}: int? = {i}\n")).collect();
    let all: Vec<String> = (0..5000).map(|i| format!("x{i} != none")).collect();
    tests += &format!("let a = {} && x0 + x4999 > 1\n", all.join(" && "));
    tests += &format!("let b = {} || x0 + x4999 > 1\n", all.join(" && "));
    assert_eq!(codes(&tests), ["T020"]);
    let choices: String = (0..5000).map(|i| format!("if a == {i} {{ print(a) }} else ")).collect();
    assert_eq!(codes(&format!("let a = 1\n{choices} {{ print(b) }}")), ["T002"]);
    let aliases: String = (0..10_000).map(|i| format!("type A{i} = A{}\n", i + 1)).collect();
    assert_eq!(codes(&format!("{aliases}type A10000 = int\nlet x: A0 = \"a\"")), ["T008"]);
    assert_eq!(codes(&format!("{aliases}type A10000 = A0\nlet x: A0 = 1")), ["T025"]);
}

#[test]
fn types_that_double_stay_small() {
    let grow = |line: &dyn Fn(usize) -> String| (0..2000).map(line).collect::<String>();
    let maps = grow(&|i| format!("let a{} = fun(y: int) => {{(str(a{i})): [a{i}, a{i}], b: a{i}}}\n", i + 1));
    assert_eq!(codes(&format!("let a0 = 1\n{maps}let x = a2000 == a1999\n")), [""; 0]);
    let keys = grow(&|i| format!("let a{} = {{(a{i}): a{i}}}\n", i + 1));
    assert_eq!(codes(&format!("let a0 = 1\n{keys}let x: int = a2000\n")), ["T008"]);
}

#[test]
fn structs_may_be_cyclic() {
    let structs: String =
        (0..5000).map(|i| format!("type S{i} {{ next: S{}, v: int }}\n", (i + 1) % 5000)).collect();
    let query = "fun f(xs: list<S0>) { let q = from x in xs select distinct x }";
    assert_eq!(codes(&format!("{structs}{query}")), [""; 0]);
}

#[test]
fn an_error_leaves_no_trace() {
    // The failed statement opened scopes, a closure and facts; what follows must not see them.
    let text = "
var v: int? = 1
if v != none {
  let f = fun(w: int) {
    for i in 0..1 {
      let x: string = v
    }
  }
}
let a = v + 1
let b = w
break
";
    assert_eq!(codes(text), ["T008", "T020", "T002", "T045"]);
}
