//! `upshift explain`: what it says of programs whose way through the tiers is known, and its documents.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use upshift::explain::Code;

fn program(name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain");
    std::fs::create_dir_all(&folder).expect("a folder for programs");
    let path = folder.join(format!("{name}.mochi"));
    std::fs::write(&path, text).expect("a file for the program");
    path
}

fn explain(options: &[&str], path: &Path) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_upshift"))
        .arg("explain")
        .args(options)
        .arg(path)
        .output()
        .expect("the binary runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    output
}

/// The report on a program as JSON; the optimizing compiler is waited for, so that runs repeat.
fn report(name: &str, text: &str) -> Value {
    report_with(&[], name, text)
}

fn report_with(options: &[&str], name: &str, text: &str) -> Value {
    let options = [options, &["--sync", "--json"]].concat();
    let output = explain(&options, &program(name, text));
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}: {errors}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn function<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found = list(&report["functions"]).iter().find(|f| f["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is missing: {report:#}"))
}

/// All remarks of a function and its compilations and loops.
fn remarks(function: &Value) -> Vec<&Value> {
    let parts = list(&function["compilations"]).iter().chain(list(&function["loops"])).chain([function]);
    parts.flat_map(|part| list(&part["remarks"])).collect()
}

#[track_caller]
fn remark<'a>(function: &'a Value, code: &str) -> &'a Value {
    assert!(Code::from_text(code).is_some(), "{code} is no code");
    let found = remarks(function).into_iter().find(|r| r["code"] == code);
    found.unwrap_or_else(|| panic!("{code} is missing: {function:#}"))
}

const HOT: &str = "\
fun double(x: int): int { return x + x }
fun sum(n: int): int {
  var total = 0
  for i in 0..n {
    total = total + double(i)
  }
  return total
}
print(sum(3000000))
";

#[test]
fn a_hot_loop_reaches_the_optimizer_and_its_callee_is_named() {
    let report = report("hot", HOT);
    let sum = function(&report, "sum");
    let of_loop = &sum["loops"][0];
    assert_eq!((&of_loop["tier"], &of_loop["lines"]["first"]), (&"optimized".into(), &4.into()));
    assert!(of_loop["sinceMs"].as_f64().is_some_and(|at| at > 0.0), "{of_loop:#}");
    let inlined = remark(sum, "inlined");
    assert_eq!((&inlined["detail"], &inlined["place"]["line"]), (&"double".into(), &5.into()));
    let double = function(&report, "double");
    assert_eq!(double["inlinedInto"][0]["function"], "sum");
    assert_eq!(double["inlinedInto"][0]["place"]["line"], 5);
    // The sums of the loop follow from its bounds.
    let removed = remark(of_loop, "checks-removed");
    assert_eq!(removed["detail"], "overflow");
    let compilation = &sum["compilations"][0];
    assert_eq!(compilation["result"]["outcome"], "installed");
    assert!(compilation["result"]["bytes"].as_u64() > Some(0));
    assert!(compilation["calls"]["inlined"].as_u64() > Some(0));
    let baseline = &sum["baseline"][0];
    assert!(baseline["bytes"].as_u64() > Some(0) && baseline["compileMs"].is_number(), "{baseline:#}");
}

#[test]
fn shares_add_up_to_everything_and_all_rows_have_names() {
    for (name, text) in [("hot-shares", HOT), ("tiny", "print(1)\n"), ("strings", STRINGS)] {
        let report = report(name, text);
        let rows = list(&report["time"]);
        let sum: f64 = rows.iter().map(|r| r["share"].as_f64().expect("a share")).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{name}: {sum}");
        let samples: u64 = rows.iter().map(|r| r["samples"].as_u64().expect("samples")).sum();
        assert_eq!(Some(samples), report["samples"].as_u64(), "{name}");
        for row in rows {
            let text = row["name"].as_str().expect("a name");
            assert!(!text.is_empty() && !text.contains("unknown"), "{name}: {text}");
        }
        let stacks: u64 = list(&report["stacks"]).iter().filter_map(|s| s["samples"].as_u64()).sum();
        assert_eq!(stacks, samples, "{name}");
    }
}

const STRINGS: &str = "\
fun words(n: int): int {
  var all: list<string> = []
  var found = 0
  for i in 0..n {
    all = append(all, \"word \" + str(i))
    if i % 3 == 0 { print(i) }
    found = found + len(keys({\"nine\": i}))
  }
  return found
}
print(words(2000000))
";

#[test]
fn the_library_and_objects_that_are_made_are_costs() {
    let report = report("costs", STRINGS);
    let words = function(&report, "words");
    let host = remark(words, "host-call");
    assert_eq!((&host["detail"], &host["place"]["line"]), (&"mochi.print".into(), &6.into()));
    let routine = remark(words, "routine");
    assert_eq!((&routine["detail"], &routine["place"]["line"]), (&"map.keys".into(), &7.into()));
}

#[test]
fn failed_guards_have_their_reason_and_the_values() {
    let text = "\
fun total(n: int): any {
  var sum: any = 0
  for i in 0..n {
    var x: any = i
    if i > 2000000 { x = 1.5 }
    sum = sum + x
  }
  return sum
}
print(total(3000000))
";
    let report = report("guards", text);
    let exit = remark(function(&report, "total"), "exit-kind");
    assert_eq!((&exit["topic"], &exit["place"]["line"]), (&"exit".into(), &6.into()));
    assert!(exit["count"].as_u64() > Some(0));
    assert!(list(&exit["values"]).contains(&"1.5".into()), "{exit:#}");
}

#[test]
fn positions_that_failed_are_shown() {
    let text = "\
fun at(xs: list<int>, n: int): int {
  var sum = 0
  for i in 0..n {
    sum = sum + xs[i % 4 - i / 2000000]
  }
  return sum
}
print(at([1, 2, 3, 4], 2500000))
";
    let report = report("positions", text);
    let exit = remark(function(&report, "at"), "exit-negative");
    assert_eq!(exit["values"], serde_json::json!(["list of 4", "-1"]));
    assert_eq!(exit["place"]["line"], 4);
}

#[test]
fn allocations_that_are_not_made_are_told() {
    let text = "\
type Point { x: int, y: int }
fun walk(n: int): int {
  var p = Point { x: 0, y: 0 }
  for i in 0..n {
    p = Point { x: p.x + 1, y: p.y + i % 3 }
  }
  return p.x + p.y
}
print(walk(1000000))
";
    let report = report("objects", text);
    let walk = function(&report, "walk");
    assert_eq!(remark(walk, "allocation-removed")["place"]["line"], 5);
    let compiled = &walk["compilations"][0]["allocations"];
    assert!(compiled["built"].as_u64() > compiled["left"].as_u64(), "{walk:#}");
}

#[test]
fn skipped_turns_and_quick_texts_are_told() {
    let text = "\
fun work(n: int): int {
  var total = 0
  for i in 0..n {
    total = total + i * 3
  }
  return total
}
fun pieces(n: int): int {
  var total = 0
  for i in 0..n {
    let piece = str(i) + \"-\"
    total = total + len(piece)
  }
  return total
}
var all = 0
for i in 0..60000 {
  all = all + work(100) % 7
}
print(all)
print(pieces(2000000))
";
    let report = report("skipped", text);
    let skipped = remark(function(&report, "work"), "turns-skipped");
    assert_eq!((&skipped["place"]["line"], &skipped["count"]), (&3.into(), &1.into()));
    let pieces = function(&report, "pieces");
    let quick: Vec<&str> = remarks(pieces)
        .into_iter()
        .filter(|r| r["code"] == "quick-routine" && r["place"]["line"] == 11)
        .filter_map(|r| r["detail"].as_str())
        .collect();
    assert!(quick.contains(&"string.concat") && quick.contains(&"string.from_int"), "{quick:?}");
}

#[test]
fn checks_that_hold_are_counted_where_that_is_asked_for() {
    let text = "\
fun pick(xs: list<int>, rounds: int): int {
  var at = 1
  for i in 0..rounds {
    at = xs[at]
  }
  return at
}
print(pick([3, 2, 0, 1], 8000000))
";
    let held = |report: &Value| -> u64 {
        let pick = function(report, "pick");
        let counts =
            remarks(pick).into_iter().filter(|r| r["code"] == "check-held" && r["place"]["line"] == 4);
        counts.filter_map(|r| r["count"].as_u64()).max().unwrap_or(0)
    };
    assert_eq!(held(&report_with(&[], "unheld", text)), 0);
    let counted = held(&report_with(&["--guards"], "held", text));
    assert!(counted > 4_000_000 && counted < 8_000_000, "{counted}");
}

/// A function that is beyond what the optimizing compiler takes, with a loop that is not.
fn large() -> String {
    let mut text = String::from(
        "fun large(n: int): int {\n  var x = n\n  for i in 0..n { x = (x * 3 + i) % 1000003 }\n",
    );
    for i in 0..11_000 {
        text.push_str(&format!("  x = (x * {} + n) % 1000003\n", i % 7 + 2));
    }
    text.push_str("  return x\n}\nvar sum = 0\nfor i in 0..6 { sum = sum + large(200 + i) }\nprint(sum)\n");
    text
}

#[test]
fn what_cannot_be_optimized_says_why_not() {
    // Compiled at the first call, whether that pays or not.
    let report = report_with(&["--tier", "optimized"], "large", &large());
    let large = function(&report, "large");
    assert_eq!(large["tier"], "baseline");
    let why = list(&large["remarks"]).first().expect("a reason");
    assert_eq!((&why["code"], &why["topic"]), (&"too-large".into(), &"tier".into()));
    assert!(why["hint"].as_str().is_some_and(|h| h.contains("split")), "{why:#}");
    let refused = list(&large["compilations"]).iter().find(|c| c["loop"].is_null()).expect("it was tried");
    assert_eq!(
        (&refused["result"]["outcome"], &refused["result"]["code"]),
        (&"refused".into(), &"too-large".into())
    );
}

#[test]
fn lower_tiers_have_their_reasons() {
    let tier = |tier: &str| report_with(&["--tier", tier], "reasons", HOT);
    remark(function(&tier("interp"), "sum"), "interpreter-only");
    remark(function(&tier("baseline"), "sum"), "baseline-only");
    let report = report("once", "fun once(): int { return 1 }\nprint(once())\n");
    let once = function(&report, "once");
    assert_eq!(once["tier"], "interpreter");
    assert_eq!(remarks(once).len(), 1, "{once:#}");
}

#[test]
fn text_goes_behind_the_output_and_documents_stand_alone() {
    let path = program("output", HOT);
    let text = explain(&["--sync"], &path);
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(text.starts_with("8999997000000\n"), "{text}");
    for part in ["Where the time went", "> loop: optimized since", "+ inlined double", "inlined: the callee"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let discarded = explain(&["--sync", "--discard"], &path);
    assert!(!String::from_utf8_lossy(&discarded.stdout).contains("8999997000000"));
    let file = path.with_extension("json");
    let output = explain(&["--sync", "--json", "--output", file.to_str().expect("plain")], &path);
    assert_eq!(output.stdout, b"8999997000000\n");
    let written = std::fs::read(&file).expect("the report");
    assert_eq!(serde_json::from_slice::<Value>(&written).expect("JSON")["version"], 1);
    let output = explain(&["--output", "/no/such/folder/report"], &path);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), b"".as_slice()));
}

#[test]
fn the_exit_code_is_the_programs_and_the_report_is_there_all_the_same() {
    let path = program("fails", "let xs = [1]\nprint(xs[3])\n");
    let output = explain(&["--json"], &path);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    function(&report, "main");
    assert!(String::from_utf8_lossy(&output.stderr).contains("index-out-of-range"));
}

#[test]
fn the_documentation_has_every_code() {
    let page = include_str!("../../../docs/explain.md");
    for code in Code::ALL {
        let row = format!("| `{}` | {} | {} |", code.text(), code.meaning(), code.hint());
        assert!(page.lines().any(|line| line == row), "docs/explain.md lacks this row:\n{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Code::ALL.len(), "docs/explain.md has rows of codes that are not there");
}
