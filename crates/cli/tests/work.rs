//! What library functions charge for their work: fuel, interrupts and the memory limit hold inside of them as they do in loops, alike
//! in all tiers.
//!
//! Each case is a program that ends with one long call, marked `HERE`. Run with just too little fuel it must end in that call; run with an
//! interrupt that comes right before it, likewise. Without the charges the calls would end, as none takes long: so each case can fail.

mod common;

use std::sync::{Arc, Mutex};

use common::Output;
use upshift::{Config, Engine, Grants, InterruptHandle, Limits, RunError, Tier, TrapCode};
use upshift_cli::session::{self, Phases};
use upshift_mochi::lower::Tests;

/// The ways to run a program.
fn configs() -> Vec<(&'static str, Config)> {
    let make = |tier: Tier, change: fn(&mut Config)| {
        let mut config = Config::default();
        config.tier = tier;
        config.tiers.eager = true;
        change(&mut config);
        config
    };
    vec![
        ("interpreter", make(Tier::Interpreter, |_| {})),
        ("baseline", make(Tier::Baseline, |_| {})),
        ("optimized", make(Tier::Optimized, |c| c.tiers.sync = true)),
        ("guards leave", make(Tier::Optimized, |c| c.tiers.deopt_stress = true)),
        (
            "tiers",
            make(Tier::Auto, |c| {
                c.tiers.baseline_heat = 2;
                c.tiers.quantum = 3;
                c.tiers.sample = 3;
                c.tiers.optimize_heat = 3;
                c.tiers.sync = true;
            }),
        ),
    ]
}

/// How a run ended.
#[derive(PartialEq, Debug)]
struct Ended {
    output: String,
    /// The trap with its message and backtrace.
    error: Option<(TrapCode, String)>,
    /// The fuel that was used.
    used: u64,
}

/// More fuel than anything here needs.
const PLENTY: u64 = 1 << 40;

/// Runs a program. `now()` in it interrupts the run, if `interrupts` is set.
fn run(source: &str, mut config: Config, fuel: u64, memory: Option<usize>, interrupts: bool) -> Ended {
    let mut phases = Phases::default();
    let mut parsed = session::parse_program("test.mochi", source.as_bytes().to_vec(), &mut phases);
    session::find_unsupported(&mut parsed, &mut phases);
    assert!(!parsed.has_errors(), "{:?}\n{source}", parsed.diagnostics);
    let compiled = session::compile(&mut parsed, Tests::Inline, &mut phases);
    let handle: Arc<Mutex<Option<InterruptHandle>>> = Arc::default();
    upshift_mochi::library::register(&mut config.hosts);
    let of_run = handle.clone();
    config.hosts.function("mochi.now", move |_: &mut upshift::HostContext<'_>| {
        if let Some(handle) = &*of_run.lock().expect("not poisoned") {
            handle.interrupt();
        }
        Ok(0i64)
    });
    let engine = Engine::new(config);
    let code = engine.load(&compiled.module).expect("lowered modules are valid");
    let output = Output::default();
    let mut limits = Limits::default().fuel(fuel);
    limits.memory = memory;
    let grants = Grants::none().stdout(output.clone());
    let mut instance = engine.instantiate(&code, grants, limits).expect("there is memory");
    if interrupts {
        *handle.lock().expect("not poisoned") = Some(instance.interrupt_handle());
    }
    let result = instance.run();
    let used = fuel - instance.fuel().expect("fuel is limited");
    let output = String::from_utf8(output.0.lock().expect("not poisoned").clone()).expect("output is text");
    let error = result.err().map(|e: RunError| (e.code(), format!("{e}\n{}", e.backtrace())));
    Ended { output, error, used }
}

/// Checks that the marked line of a program, its last to do anything, is charged at least a thousand units, alike everywhere, and
/// that it ends where fuel ends and where somebody interrupts.
#[track_caller]
fn charges(source: &str) {
    let line = 1 + source.lines().position(|line| line.ends_with("// HERE")).expect("a marked line");
    let here = format!("test.mochi:{line}:");
    let mut wanted: Option<[Ended; 3]> = None;
    for (name, config) in configs() {
        let whole = run(source, config.clone(), PLENTY, None, false);
        assert_eq!(whole.error, None, "{name}: {source}");
        let short = run(source, config.clone(), whole.used.saturating_sub(1000), None, false);
        let (code, text) = short.error.as_ref().unwrap_or_else(|| panic!("{name}: no trap: {source}"));
        assert_eq!(*code, TrapCode::OutOfFuel, "{name}: {text}");
        assert!(text.contains(&here), "{name}: not in line {line}: {text}\n{source}");
        let stopped = run(source, config, PLENTY, None, true);
        let (code, text) = stopped.error.as_ref().unwrap_or_else(|| panic!("{name}: not stopped: {source}"));
        assert_eq!(*code, TrapCode::Interrupted, "{name}: {text}");
        assert!(text.contains(&here), "{name}: stopped elsewhere than in line {line}: {text}\n{source}");
        // When an interrupt is seen is up to the tier, as the budget comes in other portions.
        let ended = [whole, short, Ended { used: 0, ..stopped }];
        match &wanted {
            None => wanted = Some(ended),
            Some(wanted) => assert_eq!(&ended, wanted, "{name} differs from the interpreter: {source}"),
        }
    }
}

/// A value with 3^11 parts that are 11 objects.
const SHARED: &str = "type R { xs: list<R> }\n\
    fun shared(): R {\n  var a = R{xs: []}\n  for i in 0..11 { a = R{xs: [a, a, a]} }\n  return a\n}\n\
    let a = shared()\n";

#[test]
fn texts_of_shared_values() {
    for expression in ["print(a)", "print(1, a, 2)", "json(a)", "let s = str(a)", "let s = to_json(a)"] {
        charges(&format!("{SHARED}print(\"before\")\nlet t = now()\n{expression} // HERE"));
    }
    let text = "let m = {\"a\": a, \"b\": a}\nlet t = now()\nprint(m) // HERE";
    charges(&format!("{SHARED}{text}"));
}

#[test]
fn texts_of_long_lists() {
    for element in ["i", "i * 0.5", "i > 3", "str(i)"] {
        charges(&format!(
            "fun all(): list<any> {{\n  var xs = []\n  for i in 0..60000 {{ xs = append(xs, {element}) }}\n  return xs\n}}\n\
             let xs = all()\nlet t = now()\nlet s = str(xs) // HERE"
        ));
    }
}

#[test]
fn comparisons() {
    let lists = "fun all(): list<list<int>> {\n  var xs: list<list<int>> = []\n\
        for i in 0..40000 { xs = append(xs, [i, i + 1]) }\n  return xs\n}\nlet a = all()\nlet b = all()\n";
    charges(&format!("{lists}let t = now()\nlet same = a == b // HERE"));
    let maps = "fun all(): map<string, any> {\n  var m: map<string, any> = {}\n\
        for i in 0..20000 { m[str(i)] = i }\n  return m\n}\nlet a = all()\nlet b = all()\n";
    charges(&format!("{maps}let t = now()\nlet same = a == b // HERE"));
    let ints = "fun all(): list<int> {\n  var xs: list<int> = []\n  for i in 0..200000 { xs = append(xs, i) }\n\
        return xs\n}\nlet a = all()\nlet b = all()\n";
    charges(&format!("{ints}let t = now()\nlet same = a == b // HERE"));
}

#[test]
fn calls_by_the_library() {
    let xs = "fun all(): list<int> {\n  var xs: list<int> = []\n  for i in 0..20000 { xs = append(xs, i) }\n  return xs\n}\n\
        let xs = all()\n";
    for function in ["fun(a: int, x: int): int => a", "fun(a: int, x: int): int => (a + x) % 7"] {
        charges(&format!("{xs}let t = now()\nlet n = reduce(xs, {function}, 0) // HERE"));
        // The library calls back where the list is dynamic.
        charges(&format!("{xs}let ys: any = xs\nlet t = now()\nlet n = reduce(ys, {function}, 0) // HERE"));
    }
}

#[test]
fn sets_and_order() {
    // Each is hashed by all its parts.
    let alike = "fun all(): list<list<int>> {\n  var xs: list<list<int>> = []\n\
        for i in 0..5000 { xs = append(xs, [0, 0, 0, 0, 0, 0, 0, 0, i]) }\n  return xs\n}\nlet a = all()\nlet b = all()\n";
    for operator in ["union", "except", "intersect"] {
        charges(&format!("{alike}let t = now()\nlet c = a {operator} b // HERE"));
    }
    let texts = "fun all(): list<string> {\n  var xs: list<string> = []\n\
        for i in 0..20000 { xs = append(xs, str(i * 7919 % 20011)) }\n  return xs\n}\nlet xs = all()\n";
    charges(&format!("{texts}let t = now()\nlet n = contains(xs, \"none\") // HERE"));
    let sorted = "fun order(xs: list<string>): list<string> {\n  let t = now()\n  return from x in xs sort by x select x // HERE\n}\n";
    // The query itself has loops, whose turns see the interrupt first.
    let source = format!("{texts}{sorted}let ys = order(xs)");
    let whole = run(&source, configs().remove(0).1, PLENTY, None, false);
    for (name, config) in configs() {
        assert_eq!(run(&source, config, PLENTY, None, false), whole, "{name}");
    }
    let plain = source.replace("sort by x ", "");
    let unsorted = run(&plain, configs().remove(0).1, PLENTY, None, false);
    assert!(whole.used > unsorted.used + 10_000, "{} and {}", whole.used, unsorted.used);
}

#[test]
fn functions_on_lists_and_texts() {
    let texts = "fun all(): list<string> {\n  var xs: list<string> = []\n  for i in 0..30000 { xs = append(xs, str(i)) }\n\
        return xs\n}\nlet xs = all()\n";
    for call in ["join(xs, \", \")", "distinct(xs)", "max(xs)"] {
        charges(&format!("{texts}let t = now()\nlet r = {call} // HERE"));
    }
    // Elements that are moved only are charged by the eight.
    charges("let xs = range(0, 400000)\nlet t = now()\nlet r = reverse(xs) // HERE");
    let text = "let s = repeat(\"ab \", 200000)\n";
    for call in ["upper(s)", "split(s, \" \")", "sha256(s)", "reverse(s)"] {
        charges(&format!("{text}let t = now()\nlet r = {call} // HERE"));
    }
    charges("let t = now()\nlet s = repeat(\"abc\", 10000000) // HERE");
    charges("let t = now()\nlet xs = range(0, 100000) // HERE");
}

#[test]
fn casts_of_shared_values() {
    let source = "fun shared(): any {\n  var a: any = [1, 2]\n  for i in 0..4 { a = [a, a, a, a, a, a, a, a] }\n  return a\n}\n\
        let a = shared()\nlet t = now()\nlet r = a as list<list<list<list<list<int>>>>> // HERE\nif len(r) > 0 { print(len(r)) }";
    charges(source);
}

#[test]
fn big_numbers() {
    let number = "let b: bigint = 3\nlet n = pow(b, 100000)\n";
    for work in ["n * n * n * n", "pow(n, 8)", "str(n)", "n * n % n"] {
        charges(&format!("{number}let t = now()\nlet r = {work} // HERE"));
    }
}

/// Instructions are not charged, but many long ones keep nobody waiting for the end of a portion of the budget, thousands of them.
#[test]
fn long_comparisons_of_texts_are_interrupted_soon() {
    for question in ["xs[i % 2] == ys[i % 2]", "xs[i % 2] < ys[i % 2]", "indexOf(xs[i % 2], \"no\") >= 0"] {
        let source = format!(
            "fun texts(): list<string> {{ return [repeat(\"a\", 1000000) + \"b\", repeat(\"a\", 1000000) + \"c\"] }}\n\
             fun go(xs: list<string>, ys: list<string>) {{\n  for i in 0..5000 {{\n    let t = now()\n    if {question} {{ print(\"yes\") }} else {{ print(\"no\") }}\n  }}\n}}\n\
             go(texts(), texts())"
        );
        for (name, config) in configs() {
            let ended = run(&source, config, PLENTY, None, true);
            assert_eq!(ended.error.map(|e| e.0), Some(TrapCode::Interrupted), "{name}: {question}");
            let turns = ended.output.lines().count();
            assert!(turns < 50, "{name}: {question}: {turns} turns");
        }
    }
}

#[test]
fn short_calls_are_free() {
    let source = "let xs = [1, 2]\nlet ys = [1, 2]\nprint([1, 2, 3], {\"a\": [1.5]}, \"text\")\nprint(str([1]) + to_json([2]), xs == ys)\n";
    for (name, config) in configs() {
        // One unit is for the comparison.
        let ended = run(source, config, 10, None, false);
        assert_eq!((ended.error, ended.used), (None, 1), "{name}");
    }
}

/// The text of a long value is made within the memory limit, or handed on as it is made.
#[test]
fn texts_obey_the_memory_limit() {
    let source = format!("{}print(\"before\")\n", SHARED.replace("0..11", "0..14"));
    for (name, config) in configs() {
        for (call, column) in [("let s = str(a)", 9), ("let s = to_json(a)", 9), ("json(a)", 1)] {
            let ended = run(&format!("{source}{call}"), config.clone(), PLENTY, Some(8 << 20), false);
            let (code, text) = ended.error.expect("a trap");
            assert_eq!(code, TrapCode::MemoryLimit, "{name}: {call}: {text}");
            assert!(text.contains(&format!("test.mochi:9:{column}")), "{name}: {call}: {text}");
            assert_eq!(ended.output, "before\n", "{name}: {call}");
        }
        let ended = run(&format!("{source}print(a)"), config, PLENTY, Some(8 << 20), false);
        assert_eq!(ended.error, None, "{name}");
        assert!(ended.output.len() > 64 << 20 && ended.output.ends_with("}]}\n"), "{name}");
    }
}

/// A line that goes out in pieces is the same text, without white space at its ends where there are three values or more.
#[test]
fn long_lines_are_whole() {
    let source = "let s = repeat(\" \", 100000)\nlet x = repeat(\"x\", 100000)\nprint(s, [x, x], s)\nprint(s + x, 1)\nprint(s, s, s)\n";
    let (blanks, long) = (" ".repeat(100_000), "x".repeat(100_000));
    let wanted = format!("[\"{long}\", \"{long}\"]\n{blanks}{long} 1\n\n");
    let ended = run(source, configs().remove(0).1, PLENTY, None, false);
    assert_eq!(ended.error, None);
    assert!(ended.output == wanted, "{} bytes, not {}", ended.output.len(), wanted.len());
    // White space that may be the end is held back over several pieces.
    let source =
        "let s = repeat(\"\\n\", 100000)\nlet x = repeat(\"x\", 100000)\nprint(x, [1], s, s, x, s, s)\n";
    let breaks = "\n".repeat(100_000);
    let ended = run(source, configs().remove(0).1, PLENTY, None, false);
    let wanted = format!("{long} [1] {breaks} {breaks} {long}\n");
    assert!(ended.output == wanted, "{} bytes, not {}", ended.output.len(), wanted.len());
}

/// What was written before a stop stays written, also of the line that was being written.
#[test]
fn output_before_a_stop_stays() {
    let source = format!("{}print(\"before\")\nprint(a)", SHARED.replace("0..11", "0..200"));
    for (name, config) in configs() {
        let ended = run(&source, config, 20_000, None, false);
        assert_eq!(ended.error.map(|e| e.0), Some(TrapCode::OutOfFuel), "{name}");
        assert!(ended.output.starts_with("before\n{\"__name\": \"R\", \"xs\": [{"), "{name}");
        assert!(ended.output.len() > 1 << 20, "{name}: {}", ended.output.len());
        assert_eq!(ended.used, 20_000, "{name}");
    }
}
