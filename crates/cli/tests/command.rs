//! The command as users run it: exit codes, streams, limits, and clear errors for bad input.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program in a file of its own.
fn program(name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("command");
    std::fs::create_dir_all(&folder).expect("a folder for programs");
    let path = folder.join(format!("{name}.mochi"));
    std::fs::write(&path, text).expect("a file for the program");
    path
}

fn upshift(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_upshift"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A program that reads nothing closes its input early.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the binary ends")
}

/// Runs the command and checks its exit code, its whole standard output, and parts of its standard error.
#[track_caller]
fn check(args: &[&str], input: &str, code: i32, stdout: &str, stderr: &[&str]) {
    let output = upshift(args, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{args:?}: {errors}");
    for part in stderr {
        assert!(errors.contains(part), "{args:?} lacks {part:?}: {errors}");
    }
    assert!(!errors.contains("panicked"), "{args:?}: {errors}");
    if stderr.is_empty() {
        assert_eq!(errors, "", "{args:?}");
    }
}

#[track_caller]
fn check_program(
    name: &str,
    text: impl AsRef<[u8]>,
    args: &[&str],
    code: i32,
    stdout: &str,
    stderr: &[&str],
) {
    let path = program(name, text);
    let mut all = vec!["run"];
    all.extend(args);
    all.push(path.to_str().expect("a plain path"));
    check(&all, "", code, stdout, stderr);
}

#[test]
fn programs_run_from_files_and_from_standard_input() {
    check_program("hello", "print(\"hello\")", &[], 0, "hello\n", &[]);
    check(&["run", "-"], "print(1 + 2)", 0, "3\n", &[]);
    let echo = program("echo", "print(input() + \"!\")\nprint(input() == \"\")");
    check(&["run", echo.to_str().expect("plain")], "one", 0, "one!\ntrue\n", &[]);
}

#[test]
fn rows_go_to_files_and_come_back() {
    let file = program("rows", "").with_extension("rows");
    let path = file.to_str().expect("a plain path");
    for format in ["csv", "tsv", "json", "jsonl", "yaml"] {
        let options = format!("with {{ format: \"{format}\", header: true }}");
        let text = format!(
            "type Row {{ id: int  name: string  price: float }}\n\
             let rows = [Row {{ id: 1, name: \"a, b\", price: 2 }}, Row {{ id: 2, name: \"c: \\\"d\\\"\", price: 0.5 }}]\n\
             save rows to \"{path}\" {options}\n\
             let again = load \"{path}\" as Row {options}\n\
             print(again == rows, again[0].price / 4)\n"
        );
        check_program(format, text, &[], 0, "true 0.5\n", &[]);
    }
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    check(&[], "", 2, "", &["no command"]);
    check(&["run"], "", 2, "", &["needs a file"]);
    check(&["run", "/no/such/file.mochi"], "", 2, "", &["there is no file"]);
    check(&["run", "/"], "", 2, "", &["is a folder"]);
    check(&["run", "--tier", "warp", "x"], "", 2, "", &["unknown tier", "interp"]);
    let path = program("tier", "print(1)");
    let path = path.to_str().expect("plain");
    for tier in ["interp", "baseline", "optimized", "auto"] {
        check(&["run", "--tier", tier, path], "", 0, "1\n", &[]);
    }
    check(&["--version"], "", 0, &format!("upshift {}\n", env!("CARGO_PKG_VERSION")), &[]);
    assert!(upshift(&["--help"], "").status.success());
}

#[test]
fn several_errors_are_reported_in_one_run() {
    let text = "let = 5\nprint(1 +)\nlet s = \"abc\nprint(s)\n";
    check_program(
        "syntax",
        text,
        &[],
        1,
        "",
        &["P031", "P999", "P040", "syntax.mochi:1:5", "syntax.mochi:3:9"],
    );
    let path = program("types", "let x: int = \"a\"\nlet y: strin = 1\n");
    let path = path.to_str().expect("plain");
    check(&["check", path], "", 1, "", &["T008", "T025", "2 errors"]);
    check(&["run", "--quiet", path], "", 0, "", &[]);
    let json = upshift(&["check", "--json", path], "");
    let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&json.stderr)
        .lines()
        .map(|l| serde_json::from_str(l).expect("one JSON object a line"))
        .collect();
    let codes: Vec<&str> = lines.iter().map(|l| l["code"].as_str().expect("a code")).collect();
    assert_eq!(codes, ["T008", "T025"]);
    assert_eq!((lines[1]["line"].as_u64(), lines[1]["column"].as_u64()), (Some(2), Some(8)));
}

#[test]
fn bad_bytes_and_bad_shapes_are_errors() {
    check_program("bytes", b"print(\"\xff\")", &[], 1, "", &["UTF-8", "bytes.mochi:1:8"]);
    check_program("empty", "", &[], 0, "", &[]);
    check_program(
        "parens",
        format!("print({}1{})", "(".repeat(10_000), ")".repeat(10_000)),
        &[],
        1,
        "",
        &["P999"],
    );
    check_program("blocks", "if true {".repeat(10_000) + &"}".repeat(10_000), &[], 1, "", &["P999"]);
    let sum = format!("let x = 1\nprint({})", vec!["x"; 100_000].join("+"));
    check_program("sum", sum, &[], 0, "100000\n", &[]);
    let line = format!("print(len(\"{}\"))", "a".repeat(20_000_000));
    check_program("line", line, &[], 0, "20000000\n", &[]);
}

#[test]
fn programs_nest_up_to_the_limit_without_exhausting_the_stack() {
    let wrap = |open: &str, inner: &str, close: &str| open.repeat(480) + inner + &close.repeat(480);
    check_program("lists", format!("print(len({}))", wrap("[", "1", "]")), &[], 0, "1\n", &[]);
    check_program("ifs", wrap("if true { ", "print(7)", " }"), &[], 0, "7\n", &[]);
    check_program("loops", wrap("for i in 0..1 { ", "print(8)", " }"), &[], 0, "8\n", &[]);
    check_program("minus", format!("print({})", wrap("(-", "9", ")")), &[], 0, "9\n", &[]);
    check_program(
        "lambdas",
        format!("let f = {}\nprint(1)", wrap("fun(x) => ", "x", "")),
        &["--quiet"],
        0,
        "1\n",
        &[],
    );
    let calls = format!("fun id(n: int): int {{ return n }}\nprint({})", wrap("id(", "5", ")"));
    check_program("calls", calls, &[], 0, "5\n", &[]);
}

#[test]
fn failures_keep_the_output_and_name_the_line() {
    let text = "print(\"before\")\nfun f(n: int): int {\n  return 10 / n\n}\nprint(f(0))\n";
    check_program(
        "divide",
        text,
        &[],
        1,
        "before\n",
        &["division-by-zero", "divide.mochi:3:10", "at f", "at main"],
    );
    let text = "fun f(n: int): int { return f(n + 1) + 1 }\nprint(\"go\")\nprint(f(0))";
    check_program(
        "recursion",
        text,
        &[],
        1,
        "go\n",
        &["stack-overflow", "more frames", "recursion.mochi:3:7"],
    );
    check_program(
        "panic",
        "print(1)\npanic(\"stop here\")",
        &[],
        1,
        "1\n",
        &["stop here", "panic.mochi:2:1"],
    );
    check_program("expect", "print(1)\nexpect 1 + 1 == 3", &[], 1, "1\n", &["expect-failed", "1 + 1 == 3"]);
}

#[test]
fn limits_stop_programs() {
    let forever = "print(\"go\")\nwhile true { }";
    check_program("forever", forever, &["--timeout", "50ms"], 1, "go\n", &["timed-out", "forever.mochi:2"]);
    check_program("fuel", forever, &["--fuel", "100000"], 1, "go\n", &["out-of-fuel"]);
    let bomb = "print(\"go\")\nvar xs: list<list<int>> = []\nwhile true { xs = append(xs, [1, 2, 3]) }";
    check_program("bomb", bomb, &["--memory-limit", "32M"], 1, "go\n", &["memory-limit", "bomb.mochi:3"]);
    let text = "print(\"go\")\nvar s = \"0123456789\"\nwhile true { s = s + s }";
    check_program("string-bomb", text, &["--memory-limit", "32M"], 1, "go\n", &["memory-limit"]);
}

#[test]
fn tests_run_apart_and_are_counted() {
    let text = "let base = 40\nprint(\"hidden\")\ntest \"adds\" { expect base + 2 == 42 }\n\
                test \"fails\" { expect base == 0 }\ntest \"divides\" { let x = 1 / (base - 40)\n expect x == 0 }\n";
    let path = program("tested", text);
    let path = path.to_str().expect("plain");
    let output = upshift(&["test", path], "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["ok", "adds", "FAIL", "fails", "divides", "division", "1 passed, 2 failed"] {
        assert!(text.contains(part), "lacks {part:?}: {text}");
    }
    assert!(!text.contains("hidden"), "{text}");
    let output = upshift(&["test", "--filter", "adds", path], "");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed, 0 failed"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn phases_and_bytecode_can_be_seen() {
    let path = program("seen", "fun twice(n: int): int { return n + n }\nprint(twice(4))");
    let path = path.to_str().expect("plain");
    check(&["run", "--time", path], "", 0, "8\n", &["parse", "lower", "run", "total"]);
    let dump = upshift(&["dump", "--bytecode", path], "");
    let text = String::from_utf8_lossy(&dump.stdout);
    for part in ["int.add_checked", "call.int", "\"twice\"", "return n + n"] {
        assert!(text.contains(part), "lacks {part:?}: {text}");
    }
}

#[test]
fn plain_values_are_compared_without_the_library() {
    let path = program(
        "plain",
        "type P { x: int, y: float, name: string }\n\
         fun same(a: P, b: P): bool { return a == b }\n\
         fun find(ps: list<P>, p: P): int {\n  for q in ps { if q == p { return q.x } }\n  return -1\n}\n\
         let p = P { x: 1, y: 0.5, name: \"a\" }\nprint(same(p, p), find([p], p))",
    );
    let path = path.to_str().expect("plain");
    check(&["run", path], "", 0, "true 1\n", &[]);
    let calls = |path: &str| {
        let dump = upshift(&["dump", "--bytecode", path], "");
        String::from_utf8_lossy(&dump.stdout).matches("cell.eq ").count()
    };
    assert_eq!(calls(path), 0);
    let path = program(
        "tags",
        "type Color = Red | Green\ntype Tok = Num(v: int) | Op(op: string) | End\n\
         fun red(c: Color): bool { return c == Red }\n\
         fun same(a: Tok, b: Tok): bool { return a != b }\nprint(red(Green), same(Num(1), Num(2)))",
    );
    let path = path.to_str().expect("plain");
    check(&["run", path], "", 0, "false true\n", &[]);
    assert_eq!(calls(path), 0);
    let path = program(
        "written",
        "fun goal(s: list<int>): bool { return s == [1, 2, 0] }\n\
         fun row(r: list<string>, p: string): int {\n  if r == [p, p, p] { return 1 }\n  return 0\n}\n\
         print(goal([1, 2, 0]), row([\"X\", \"X\", \"X\"], \"X\"))",
    );
    let path = path.to_str().expect("plain");
    check(&["run", path], "", 0, "true 1\n", &[]);
    assert_eq!(calls(path), 0);
    // What may be none, or has parts of its own, is the library's.
    let path = program(
        "parts",
        "type L { next: L?, x: int }\nfun same(a: L, b: L): bool { return a == b }\n\
         fun both(a: L?, b: L?): bool { return a == b }\n\
         let l = L { next: none, x: 1 }\nprint(same(l, l), both(l, none))",
    );
    let path = path.to_str().expect("plain");
    check(&["run", path], "", 0, "true false\n", &[]);
    assert_eq!(calls(path), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let path = program("chatty", "for i in 0..200000 { print(\"line\", i) }");
    for command in ["run", "dump --bytecode"] {
        let line = format!("{} {command} {} | head -n 1", env!("CARGO_BIN_EXE_upshift"), path.display());
        let output = Command::new("sh").args(["-c", &line]).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
        assert_eq!(output.stdout.iter().filter(|&&b| b == b'\n').count(), 1, "{command}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_stops_a_running_program() {
    for (name, text) in [("spin", "print(\"go\")\nwhile true { }"), ("wait", "print(\"go\")\nprint(input())")]
    {
        let path = program(name, text);
        let mut child = Command::new(env!("CARGO_BIN_EXE_upshift"))
            .arg("run")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let input = child.stdin.take();
        std::thread::sleep(std::time::Duration::from_millis(400));
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
        assert!(kill.success());
        let output = child.wait_with_output().expect("the program ends");
        drop(input);
        assert_eq!(output.status.code(), Some(130), "{name}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "go\n", "{name}");
    }
}

const SUM: &str = "fun twice(n: int): int { return n + n }\nvar total = 0\nfor i in 0..2000000 { total = total + twice(i) }\nprint(total)\n";

#[test]
fn tiers_can_be_watched_and_their_code_seen() {
    let path = program("tiers", SUM);
    let path = path.to_str().expect("plain");
    // What is warm when, and whether a call is inlined before it is compiled, differs from run to run.
    check(&["run", "--trace-tiers", path], "", 0, "3999998000000\n", &["tier:", "functions compiled"]);
    let parts = ["tier:", "twice: baseline after", "functions compiled"];
    check(&["run", "--trace-tiers", "--tier", "baseline", path], "", 0, "3999998000000\n", &parts);
    let parts = ["tier: 0 functions compiled"];
    check(&["run", "--trace-tiers", "--tier", "interp", path], "", 0, "3999998000000\n", &parts);
    check(&["run", "--code-cache", "4K", path], "", 0, "3999998000000\n", &[]);
    let dump = upshift(&["dump", "--baseline", path], "");
    let text = String::from_utf8_lossy(&dump.stdout);
    for part in [
        "twice: 1 instruction, ",
        "; line 1: fun twice(n: int): int",
        "int.add_checked",
        "jo ",
        "; cold",
        "ret",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn small_address_spaces_and_forbidden_machine_code_are_no_errors() {
    let path = program("bounded", SUM);
    let run = |limit: &str| {
        let script =
            format!("ulimit {limit}; exec \"$0\" run --verbose --trace-tiers --tier baseline \"$1\"");
        let output = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_upshift")])
            .arg(&path)
            .output()
            .expect("a shell");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "3999998000000\n", "{limit}: {errors}");
        assert!(output.status.success(), "{limit}: {errors}");
        errors
    };
    // Reservations halve until they fit into 256 MB.
    assert!(run("-v 262144").contains("twice: baseline after"));
    // No file may grow, not even one in memory: the interpreter does everything, and says so once.
    let errors = run("-f 0");
    assert!(errors.contains("0 functions compiled"), "{errors}");
    assert_eq!(errors.matches("note: no machine code: ").count(), 1, "{errors}");
}

#[test]
fn the_forms_of_the_optimizer_are_shown() {
    let path = program("forms", "fun twice(x: int): int { return x + x }\nprint(twice(21))");
    let path = path.to_str().expect("plain");
    let shown = |args: &[&str]| {
        let output = upshift(&[&["dump"], args, &[path]].concat(), "");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let ssa = shown(&["--ssa"]);
    assert!(ssa.contains("twice") && ssa.contains("iadd"), "{ssa}");
    let passes = shown(&["--ssa", "--passes"]);
    assert!(passes.contains("; build\n") && passes.contains("; gvn\n"), "{passes}");
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        let code = shown(&["--optimized"]);
        assert!(code.contains("; twice\n") && code.contains("block0"), "{code}");
        // Without a loop nothing is put away for exits.
        assert!(!code.contains("context and frame, "), "{code}");
    }
    check(&["dump", path], "", 2, "", &["--bytecode, --baseline, --ssa or --optimized"]);
    check(&["run", "--sync", path], "", 0, "42\n", &[]);
}

#[test]
fn exits_of_loops_read_context_and_frame_from_the_stack() {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return;
    }
    let text = "fun sum_to(xs: list<int>, n: int): int {\n  var sum = 0\n  for i in 0..n { sum = sum + xs[i] }\n  return sum\n}\n";
    let path = program("exits", format!("{text}print(sum_to([1, 2, 3], 3))"));
    let output = upshift(&["dump", "--optimized", path.to_str().expect("plain")], "");
    let code = String::from_utf8_lossy(&output.stdout);
    let function = code.split_once("; sum_to\n").expect("the function").1;
    let function = &function[..function.find("\n}").expect("its end")];
    let region = |what: &str| {
        let line = function.lines().find(|line| line.contains(what)).expect("a region");
        line.split_whitespace().next().expect("its name").to_owned()
    };
    let written = region("context and frame, written");
    let written =
        [format!("store.i64 notrap aligned {written} v"), format!("store notrap aligned {written} v")];
    let read = format!("= load.i64 notrap aligned {} v", region("context and frame, read"));
    // Context and frame, before the loop, and two arguments of the polls of its two copies; then the frame, where exits and polls store.
    let writes: usize = written.iter().map(|store| function.matches(store).count()).sum();
    assert_eq!(writes, 6, "{function}");
    assert!(function.matches(&read).count() >= 4, "{function}");
    assert!(function.find(&written[0]) < function.find(&read), "{function}");
}

/// The items are made only where frames are written, which collects nothing, so polls at calls have to.
#[test]
fn a_recursion_is_collected_on_its_way_down() {
    let source = "type Item { depth: int, weight: int }
fun descend(depth: int, parent: Item): int {
  let item = Item { depth: depth, weight: parent.weight + 1 }
  if depth == 0 { return item.weight }
  let below = descend(depth - 1, item)
  return below + item.weight - parent.weight
}
print(descend(300000, Item { depth: 0, weight: 0 }))
";
    let path = program("owed", source);
    let output =
        upshift(&["run", "--tier", "optimized", "--sync", "--gc-stats", &path.to_string_lossy()], "");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "600001\n", "{errors}");
    // 7 MB of items live: the nursery's 1 MB and what may be owed hold them in several parts.
    let count = errors.split_once("gc: minor ").and_then(|(_, rest)| rest.split(',').next());
    let count: u32 = count.and_then(|c| c.parse().ok()).unwrap_or_else(|| panic!("no statistics: {errors}"));
    assert!(count >= 3, "{errors}");
}

#[test]
fn iterations_are_timed_one_by_one() {
    let path = program("iterations", "var total = 0\nfor i in 0..10 { total = total + i }\nprint(total)\n");
    let output = upshift(&["run", "--iterations", "5", path.to_str().expect("a plain path")], "");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let times: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    for clock in ["wall", "cpu"] {
        let times = times[clock].as_array().expect("a list");
        assert!(times.len() == 5 && times.iter().all(serde_json::Value::is_u64), "{clock}: {times:?}");
    }
    // An iteration that prints something else is no measurement of the same thing.
    check_program(
        "iterations-differ",
        "print(now())\n",
        &["--iterations", "3"],
        1,
        "",
        &["iteration 2 printed something else than the first"],
    );
}
