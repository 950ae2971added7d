//! `--perf` as users meet it: the map and the jitdump in `/tmp`, a profile of `perf`, and a session of GDB; and
//! `upshift profile`.
//!
//! Where `perf` or GDB is not installed, or the system does not let it look at processes, a test says so and passes.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const UPSHIFT: &str = env!("CARGO_BIN_EXE_upshift");

/// Calls itself from two lines, so that a backtrace has more than one line of it.
const PROGRAM: &str = "\
fun guestFib(n: int): int {
  if n < 2 { return n }
  let before = guestFib(n - 2)
  return before + guestFib(n - 1)
}
print(guestFib(COUNT))
";

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("profiling");
    std::fs::create_dir_all(&folder).expect("a folder for programs");
    folder
}

/// The program for one test, with a number to compute.
fn program(test: &str, count: u32) -> PathBuf {
    let path = folder().join(format!("{test}.mochi"));
    std::fs::write(&path, PROGRAM.replace("COUNT", &count.to_string())).expect("a file for the program");
    path
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// Removes a file in the end.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The map of a process, removed with it.
fn map_of(process: u32) -> Remove {
    Remove(PathBuf::from(format!("/tmp/perf-{process}.map")))
}

#[test]
fn the_map_has_functions_and_stubs() {
    let child = Command::new(UPSHIFT)
        .args(["run", "--tier", "baseline", "--perf", "map"])
        .arg(program("map", 20))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let map = map_of(child.id());
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(text(&output), "6765\n");

    let lines = std::fs::read_to_string(&map.0).expect("the map is there");
    let mut functions: Vec<(u64, u64, &str)> = lines
        .lines()
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut number = || u64::from_str_radix(words.next().unwrap(), 16).unwrap();
            (number(), number(), words.next().unwrap())
        })
        .collect();
    for name in ["upshift::guestFib [baseline]", "upshift::stub.enter [baseline]"] {
        assert_eq!(functions.iter().filter(|function| function.2 == name).count(), 1, "{name}:\n{lines}");
    }
    functions.sort_unstable();
    for &(start, size, _) in &functions {
        assert!((1 << 16..1 << 47).contains(&start) && (1..1 << 20).contains(&size), "{lines}");
    }
    for pair in functions.windows(2) {
        // All of one memory: behind each other, and not far.
        let distance = pair[1].0 - pair[0].0;
        assert!(distance >= pair[0].1 && distance < 64 << 20, "{lines}");
    }
}

#[test]
fn without_the_option_there_is_no_map() {
    let child = Command::new(UPSHIFT)
        .args(["run", "--tier", "baseline"])
        .arg(program("no-map", 20))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let map = map_of(child.id());
    assert!(child.wait_with_output().expect("the binary ends").status.success());
    assert!(!map.0.exists());
}

#[test]
fn perf_names_the_function() {
    let program = program("perf", 32);
    let data = Remove(folder().join("perf.data"));
    let mut record = Command::new("perf");
    // The clock of the kernel, as virtual machines count no cycles.
    record.args(["record", "--quiet", "--no-buildid-cache", "-e", "cpu-clock:u", "-F", "5000", "-o"]);
    record.arg(&data.0).args(["--", UPSHIFT, "run", "--tier", "baseline", "--perf", "map"]).arg(program);
    let output = match record.output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: perf cannot be started: {error}"),
    };
    if !text(&output).contains("2178309\n") {
        return println!("skipped: perf records nothing here: {}", text(&output));
    }
    let report = |what: &[&str]| {
        let mut report = Command::new("perf");
        report.args(what).arg("-i").arg(&data.0);
        text(&report.output().expect("perf ran before"))
    };
    let processes = report(&["script", "-F", "pid"]);
    let Some(process) = processes.lines().find_map(|line| line.trim().parse().ok()) else {
        return println!("skipped: perf has no samples: {processes}");
    };
    let _map = map_of(process);
    let profile = report(&["report", "--stdio", "--percent-limit", "20", "--sort", "symbol"]);
    assert!(profile.contains("upshift::guestFib [baseline]"), "{profile}");
}

#[test]
fn perf_reads_the_jitdump() {
    let program = program("jitdump", 32);
    let name = program.display().to_string();
    let data = Remove(folder().join("jitdump.data"));
    let jitted = Remove(folder().join("jitdump.jitted"));
    let mut record = Command::new("perf");
    record.args(["record", "--quiet", "--no-buildid-cache", "-k", "mono", "-e", "cpu-clock:u", "-F", "5000"]);
    record.arg("-o").arg(&data.0);
    record.args(["--", UPSHIFT, "run", "--tier", "baseline", "--perf", "jitdump"]).arg(program);
    let output = match record.output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: perf cannot be started: {error}"),
    };
    if !text(&output).contains("2178309\n") {
        return println!("skipped: perf records nothing here: {}", text(&output));
    }
    let perf = |args: &[&str]| text(&Command::new("perf").args(args).output().expect("perf ran before"));
    let path = |file: &Remove| file.0.display().to_string();
    let processes = perf(&["script", "-F", "pid", "-i", &path(&data)]);
    let Some(process) = processes.lines().find_map(|line| line.trim().parse::<u32>().ok()) else {
        return println!("skipped: perf has no samples: {processes}");
    };
    let dump = Remove(PathBuf::from(format!("/tmp/jit-{process}.dump")));
    let bytes = std::fs::read(&dump.0).expect("the dump is there");
    assert!(bytes.starts_with(b"DTiJ") && bytes.windows(name.len()).any(|w| w == name.as_bytes()));
    // The last record is the one that closes the file, and has no body.
    assert_eq!(bytes[bytes.len() - 16..][..8], [3, 0, 0, 0, 16, 0, 0, 0]);

    // What perf makes of it: a file for each function, beside the dump.
    let said = perf(&["inject", "--jit", "-i", &path(&data), "-o", &path(&jitted)]);
    let made = std::fs::read_dir("/tmp").expect("the folder").flatten().filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(&format!("jitted-{process}-")))
    });
    let made: Vec<Remove> = made.map(|entry| Remove(entry.path())).collect();
    if !jitted.0.exists() {
        return println!("skipped: this perf has no inject --jit: {said}");
    }
    assert!(!made.is_empty(), "{said}");
    let profile =
        perf(&["report", "--stdio", "--percent-limit", "20", "--sort", "dso,symbol", "-i", &path(&jitted)]);
    let line = profile.lines().find(|line| line.contains("upshift::guestFib [baseline]"));
    assert!(line.is_some_and(|line| line.contains(&format!("jitted-{process}-"))), "{profile}");
}

#[test]
fn profile_writes_folded_stacks_and_a_flame_graph() {
    let (folded, svg) = (Remove(folder().join("own.folded")), Remove(folder().join("own.svg")));
    let output = Command::new(UPSHIFT)
        .args(["profile", "--sync", "--frequency", "20000", "--folded"])
        .arg(&folded.0)
        .arg("--svg")
        .arg(&svg.0)
        .arg(program("own", 34))
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "5702887\n");
    let table = String::from_utf8_lossy(&output.stderr).into_owned();
    let samples: u64 = table
        .strip_prefix("profile: ")
        .and_then(|rest| rest.split_once(" samples, 20000 a second"))
        .and_then(|(samples, _)| samples.parse().ok())
        .unwrap_or_else(|| panic!("{table}"));

    let stacks = std::fs::read_to_string(&folded.0).expect("the stacks are there");
    let (mut total, mut recursive) = (0, 0);
    for line in stacks.lines().filter(|line| !line.starts_with("[compiler thread];")) {
        let (stack, count) = line.rsplit_once(' ').expect("a count");
        let count: u64 = count.parse().expect("a number");
        total += count;
        let mut frames = stack.split(';');
        let outermost = frames.next().expect("a frame");
        if outermost.starts_with("main [") && frames.clone().count() > 1 {
            assert!(frames.all(|frame| frame.starts_with("guestFib [") || frame.starts_with('[')), "{stack}");
            recursive += count;
        }
    }
    assert_eq!(total, samples);
    assert!(recursive > 0, "{stacks}");
    let graph = std::fs::read_to_string(&svg.0).expect("the graph is there");
    assert!(graph.contains("<svg") && graph.contains("guestFib ["), "no flame graph");
}

#[test]
fn profile_says_what_it_cannot_write() {
    let output = Command::new(UPSHIFT)
        .args(["profile", "--svg", "/absent/folder/x.svg"])
        .arg(program("unwritable", 5))
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(text(&output).contains("cannot write `/absent/folder/x.svg`"), "{}", text(&output));
}

/// Runs the program under GDB with these commands. `None`, after a message, where that is impossible.
fn gdb(program: &Path, commands: &[&str]) -> Option<String> {
    let mut gdb = Command::new("gdb");
    // No initialization files, no downloads, and nothing that containers do not permit.
    gdb.args(["-nx", "-batch"]).env_remove("DEBUGINFOD_URLS");
    let setup = [
        "set startup-with-shell off",
        "set disable-randomization off",
        "set width 0",
        "set print thread-events off",
        "set breakpoint pending on",
    ];
    gdb.args(setup.iter().chain(commands).flat_map(|command| ["-ex", command]));
    gdb.arg("--args").arg(UPSHIFT).args(["run", "--tier", "baseline", "--perf", "gdb"]).arg(program);
    let output = match gdb.stdin(Stdio::null()).output() {
        Ok(output) => text(&output),
        Err(error) => {
            println!("skipped: gdb cannot be started: {error}");
            return None;
        }
    };
    println!("{output}");
    if !["hit ", "received signal", "[Inferior 1"].iter().any(|sign| output.contains(sign)) {
        println!("skipped: gdb cannot start a process here");
        return None;
    }
    Some(output)
}

/// Panics unless the parts are in the text, in this order. How the process ended is better not among them: GDB 13 may lose
/// it there ("Couldn't get registers: No such process") where another thread, which waits for signals, ends with it.
#[track_caller]
fn check_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some(at) = rest.find(part) else { panic!("GDB does not print {part:?} where it should") };
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn gdb_stops_in_a_function() {
    let program = program("gdb-function", 20);
    let commands = [
        "break guestFib",
        "run",
        "backtrace",
        "info line *$pc",
        "info symbol $pc",
        "continue",
        "backtrace",
        "delete",
        "continue",
    ];
    let Some(output) = gdb(&program, &commands) else { return };
    let line = |line: u32| format!("guestFib () at {}:{line}\n", program.display());
    check_order(
        &output,
        &[
            &format!("hit Breakpoint 1, {}", line(2)),
            "if n < 2 { return n }",
            &format!("#0  {}", line(2)),
            &format!("Line 2 of \"{}\" starts at address ", program.display()),
            "<guestFib",
            "upshift::guestFib [baseline] ",
            &format!("hit Breakpoint 1, {}", line(2)),
            &format!("#0  {}", line(2)),
            &line(3),
            // And so on, through the way into machine code, to where the process began.
            "in stub.enter ()\n",
            " in main ",
            // The breakpoint is out of the code again.
            "6765\n",
        ],
    );
}

#[test]
fn gdb_stops_at_a_line() {
    let program = program("gdb-line", 10);
    let file = program.file_name().and_then(OsStr::to_str).expect("a plain name");
    // As long as the function is not compiled, GDB takes the next line that is, which is the last one.
    let place = format!("tbreak {file}:4");
    // Once by a breakpoint, and once by single steps over the code.
    let commands =
        ["tbreak guestFib", "run", &place, "continue", "info line *$pc", "stepi", "backtrace 1", "continue"];
    let Some(output) = gdb(&program, &commands) else { return };
    let at = format!("guestFib () at {}:4\n", program.display());
    check_order(
        &output,
        &[
            "hit Temporary breakpoint 1, ",
            &format!("hit Temporary breakpoint 2, {at}"),
            "return before + guestFib(n - 1)",
            &format!("Line 4 of \"{}\" starts at address ", program.display()),
            &at,
            "55\n",
        ],
    );
}

#[test]
fn gdb_sees_functions_behind_routines() {
    let path = folder().join("gdb-routine.mochi");
    let text = "\
fun guestJoin(n: int): string {
  var all = \"\"
  for i in 0..n {
    all = all + str(i)
  }
  return all
}
print(guestJoin(12))
";
    std::fs::write(&path, text).expect("a file for the program");
    // A function of the engine that machine code calls. Others of that name are done with by then.
    let commands =
        ["tbreak guestJoin", "run", "break string_append", "continue", "backtrace", "delete", "continue"];
    let Some(output) = gdb(&path, &commands) else { return };
    let guest = format!(" in guestJoin () at {}:4\n", path.display());
    check_order(
        &output,
        &[
            "hit Temporary breakpoint 1, guestJoin () ",
            "#0  ",
            " in stub.routine ()\n",
            &guest,
            " in stub.enter ()\n",
            " in main ",
            "01234567891011\n",
        ],
    );
}

/// `left` and `right` have their frames' headers in the same place, and each is built into a caller of its own.
const SHARED_PLACE: &str = "\
fun grow(xs: list<int>, n: int, m: int): int {
  if n > 0 { return grow([n, xs[0]], n - 1, m) }
  return 10 / (20002 - m)
}
fun left(xs: list<int>, n: int): int { return grow(xs, 4, n) + n }
fun first(xs: list<int>, n: int): int {
  let t = left(xs, n)
  return t * 2 + xs[1]
}
fun small(n: int): int { return n * 7 % 13 }
fun right(n: int): int { return small(n) + small(n + 1) + small(n + 2) + small(n + 3) + small(n + 4) + small(n + 5) }
fun second(n: int): int {
  let a = n * 3 % 5
  let b = n * 4 % 6
  let t = right(n)
  return t * 2 + a + b
}
fun run(turns: int): int {
  var sum = 0
  for i in 0..turns {
    let xs = [i, i + 1]
    sum = (sum + first(xs, i) + second(i) + first(xs, i + 1) + second(i + 1) + first(xs, i + 2)) % 1000003
  }
  return sum
}
print(run(30000))
";

#[test]
fn looks_at_the_clock_leave_frames_as_calls_find_them() {
    let path = folder().join("shared-place.mochi");
    std::fs::write(&path, SHARED_PLACE).expect("a file for the program");
    let calls = ["grow", "grow", "grow", "grow", "grow", "left", "first", "run", "main"];
    for grain in ["11", "13", "17", "29", "41"] {
        let output = Command::new(UPSHIFT)
            .args(["profile", "--tier", "optimized", "--sync", "--grain", grain, "--svg"])
            .args([folder().join("shared-place.svg"), path.clone()])
            .output()
            .expect("the binary runs");
        let said = text(&output);
        let called: Vec<&str> =
            (said.lines()).filter_map(|line| line.strip_prefix("  at ")?.split(' ').next()).collect();
        assert_eq!(called, calls, "every {grain} charges:\n{said}");
    }
}
