//! What it costs to change between tiers: calls, calls of host functions, exits, entries into loops, collections; and after how many
//! turns code has earned what compiling it took.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use upshift::tiers::measure::{self, Force, Session};
use upshift::{Config, Engine, Grants, Instance, Limits, Module, bytecode};
use upshift_cli::session;
use upshift_micro::{TIERS, clock, instance, load, still};

use crate::Processor;
use crate::report::{Figure, Figures, table, time};

const TURNS: i64 = 10_000;

/// A small function, a loop that calls it, and the same loop without.
const CALLS: &str = "
fun callee(x: int): int { if x > 1000003 { return 0 } return x + 1 }
fun run(n: int): int {
  var s = 0
  for i in 0..n { s = callee(s) }
  return s
}
fun inside(n: int): int {
  var s = 0
  for i in 0..n { if s > 1000003 { s = 0 } s = s + 1 }
  return s
}
let ran = run(1)
let also = inside(1)
";

const HOST: &str = "
module \"host\"
sig0 = (int) -> int
host0 \"identity\" sig0
fn0 \"run\" sig0 {
  raws i3, i4
  window 3
  code
    int.const i3, 0
    int.const i4, 0
    int.le.branch i0, i3, L2
L1:
    loop_header
    int.move w0, i4
    call.host.int i4, host0
    int.for.loop i3, i0, L1
L2:
    return.int i4
}
";

/// `f` sees ints first; a float does not fit the code that is made then.
const GUESS: &str = "
fun f(x: any): any { return x + 1 }
fun ints(n: int): int {
  for i in 0..n { f(i) }
  return n
}
fun floats(n: int): int {
  for i in 0..n { f(1.5) }
  return n
}
let ran = ints(1)
let also = floats(1)
";

const LOOP: &str = "
fun run(n: int): int {
  var s = 1
  for i in 0..n { s = (s * 3 + i) % 1000003 }
  return s
}
let ran = run(1)
";

/// Records, of which so many in a hundred are kept.
const GARBAGE: &str = "
type P { a: int, b: int }
fun run(n: int, keep: int): int {
  var kept: list<P> = []
  for i in 0..n {
    let p = P { a: i, b: n }
    if i % 100 < keep { kept = append(kept, p) }
  }
  return len(kept)
}
let ran = run(1, 1)
";

/// What is compiled in the table of what compiling earns: a name, a program with `run(n)`, and what it shows.
const EARNERS: [(&str, &str); 4] = [
    ("int loop", LOOP),
    ("calls", CALLS),
    (
        "float loop",
        "fun run(n: int): int {
           var x = 0.5
           for i in 0..n { x = 3.7 * x * (1.0 - x) }
           if x > 0.5 { return 1 }
           return 0
         }
         let ran = run(1)",
    ),
    (
        "lists",
        "fun run(n: int): int {
           var xs: list<int> = [0, 1, 2, 3, 4, 5, 6, 7]
           for i in 0..n { xs[i % 8] = xs[(i + 3) % 8] + 1 }
           return xs[0]
         }
         let ran = run(1)",
    ),
];

fn call(instance: &mut Instance, name: &str, n: i64) -> i64 {
    let Ok(function) = instance.function::<(i64,), i64>(name) else { panic!("`{name}` is another function") };
    match instance.call(&function, (n,)) {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn timed(instance: &mut Instance, name: &str, n: i64) -> Duration {
    let started = clock();
    call(instance, name, n);
    clock() - started
}

/// A benchmark of `TURNS` turns.
fn turns(
    c: &mut Criterion<Processor>,
    figures: &mut Figures,
    group: &str,
    name: &str,
    mut made: impl FnMut() -> Instance,
    f: &str,
) {
    let mut group_of = c.benchmark_group(group);
    group_of.bench_function(BenchmarkId::new(name, TURNS), |b| {
        let mut instance = made();
        b.iter(|| call(&mut instance, f, TURNS));
    });
    figures.elements(group, name, TURNS as u64, TURNS as f64);
}

/// Runs them.
///
/// # Panics
/// A program fails, or does not take the way that is to be measured.
pub fn bench(c: &mut Criterion<Processor>, figures: &mut Figures) {
    for (from, caller) in TIERS {
        let made = || instance(still(false), |e| load(e, CALLS), &[("inside", caller)]);
        turns(c, figures, "call", &format!("{from} loop"), made, "inside");
        for (to, callee) in TIERS {
            let made = || instance(still(false), |e| load(e, CALLS), &[("callee", callee), ("run", caller)]);
            turns(c, figures, "call", &format!("{from} to {to}"), made, "run");
        }
        let made = || instance(with_host(), host, &[("run", caller)]);
        turns(c, figures, "call", &format!("{from} to host"), made, "run");
        c.benchmark_group("call").bench_function(BenchmarkId::new(format!("host to {from}"), 1), |b| {
            let mut instance = instance(still(false), |e| load(e, CALLS), &[("callee", caller)]);
            let Ok(callee) = instance.function::<(i64,), i64>("callee") else { panic!("another `callee`") };
            b.iter(|| instance.call(&callee, (1,)).map_err(|e| e.code()));
        });
    }
    exits(c, figures);
    entries(c, figures);
    collections(c);
    earnings(c, figures);
}

fn with_host() -> Config {
    let mut config = still(false);
    config.hosts.function("identity", |_: &mut upshift::HostContext<'_>, x: i64| Ok(x));
    config
}

fn host(engine: &Engine) -> Module {
    let module = bytecode::text::parse(HOST).map(|module| engine.load(&module));
    match module {
        Ok(Ok(module)) => module,
        other => panic!("{other:?}"),
    }
}

/// Code that leaves at each call, beside the same code where its guess holds.
fn exits(c: &mut Criterion<Processor>, figures: &mut Figures) {
    let learned = |force: Option<Force>| {
        let mut instance = instance(still(false), |e| load(e, GUESS), &[]);
        call(&mut instance, "ints", 1_000);
        if let Some(force) = force {
            assert!(measure::force(&mut instance, "f", force), "no code of `f` came about");
        }
        instance
    };
    turns(c, figures, "exit", "guess holds", || learned(Some(Force::Optimized)), "ints");
    turns(c, figures, "exit", "float, interpreter", || learned(None), "floats");
    c.benchmark_group("exit").bench_function(BenchmarkId::new("guess fails", TURNS), |b| {
        let mut instance = learned(Some(Force::Optimized));
        b.iter_custom(|n| {
            let before = instance.tier_counters().deopts;
            let time = (0..n).map(|_| timed(&mut instance, "floats", TURNS)).sum();
            assert_eq!(instance.tier_counters().deopts - before, n * TURNS as u64, "each call leaves");
            time
        });
    });
    figures.elements("exit", "guess fails", TURNS as u64, TURNS as f64);
}

/// A loop that is compiled alone, and entered at its first turn: what a call takes beyond its turns, by two lengths.
fn entries(c: &mut Criterion<Processor>, figures: &mut Figures) {
    for n in ENTRY_TURNS {
        c.benchmark_group("entry").bench_function(BenchmarkId::new("loop alone", n), |b| {
            let mut config = still(false);
            config.tiers.quantum = 1;
            // A loop that is left for the second time asks for its function.
            config.tiers.optimize_functions = false;
            let mut instance = instance(config, |e| load(e, LOOP), &[("run", Some(Force::Loops))]);
            b.iter_custom(|times| {
                let before = instance.tier_counters().osr_entries;
                let time = (0..times).map(|_| timed(&mut instance, "run", n)).sum();
                assert_eq!(instance.tier_counters().osr_entries - before, times, "each call enters the loop");
                time
            });
        });
        figures.elements("entry", "loop alone", n as u64, 1.0);
    }
    c.benchmark_group("entry").bench_function(BenchmarkId::new("interpreter", 1), |b| {
        let mut instance = instance(still(false), |e| load(e, LOOP), &[]);
        b.iter(|| call(&mut instance, "run", 1));
    });
}

const ENTRY_TURNS: [i64; 2] = [1_000, 2_000];

/// Minor collections of the nursery of 1 MiB where none, a tenth or all of it survives.
fn collections(c: &mut Criterion<Processor>) {
    for keep in KEPT {
        c.benchmark_group("minor collection").bench_function(BenchmarkId::new("survive", keep), |b| {
            let engine = session::engine(Config::default());
            let module = load(&engine, GARBAGE);
            b.iter_custom(|times| {
                let (mut time, mut done) = (Duration::ZERO, 0);
                while done < times {
                    let made = engine.instantiate(&module, Grants::none(), Limits::default());
                    let Ok(mut instance) = made else { panic!("no instance") };
                    let Ok(run) = instance.function::<(i64, i64), i64>("run") else {
                        panic!("another `run`")
                    };
                    assert!(instance.call(&run, (120_000, keep as i64)).is_ok(), "it runs");
                    let stats = instance.heap_stats();
                    assert_eq!(stats.major, 0, "only minor collections are in the time");
                    time += stats.total_pause;
                    done += stats.minor;
                }
                time.mul_f64(times as f64 / done as f64)
            });
        });
    }
}

const KEPT: [u64; 3] = [0, 10, 100];

/// Turns in each tier, and what compiling took.
fn earnings(c: &mut Criterion<Processor>, figures: &mut Figures) {
    for (name, text) in EARNERS {
        for (tier, force) in TIERS {
            let made = || {
                let module = |e: &Engine| load(e, text);
                // What it calls is in the same tier.
                let forced = [("callee", force), ("run", force)];
                let calls = usize::from(!text.contains("fun callee"));
                instance(still(true), module, &forced[calls..])
            };
            turns(c, figures, name, tier, made, "run");
        }
        let engine = session::engine(Config::default());
        let module = load(&engine, text);
        c.benchmark_group(name).bench_function("compile baseline", |b| {
            b.iter_custom(|n| (0..n).map(|_| measure::baseline(&module, clock).time).sum());
        });
        c.benchmark_group(name).bench_function("compile optimized", |b| {
            let Some(mut session) = Session::new() else { panic!("an unknown machine") };
            b.iter_custom(|n| {
                (0..n).filter_map(|_| Some(session.optimize(&module, Some("run"), clock).ok()?.time())).sum()
            });
        });
    }
}

/// Prints their tables.
pub fn print(figures: &Figures) {
    let n = TURNS as u64;
    let each = |group: &str, name: &str, size: u64| figures.get(group, name, size).map(Figure::each);
    let shown = |value: Option<f64>| value.map_or("-".to_string(), time);
    let mut head = vec!["from \\ to".to_string()];
    head.extend(TIERS.iter().map(|t| t.0.to_string()).chain(["host function".to_string()]));
    let mut rows: Vec<Vec<String>> = TIERS
        .iter()
        .map(|(from, _)| {
            let cost = |to: &str| {
                let whole = each("call", &format!("{from} to {to}"), n)?;
                Some(whole - each("call", &format!("{from} loop"), n)?)
            };
            let tiers = TIERS.iter().map(|t| t.0).chain(["host"]);
            std::iter::once(from.to_string()).chain(tiers.map(|to| shown(cost(to)))).collect()
        })
        .collect();
    let host = TIERS.iter().map(|(to, _)| shown(each("call", &format!("host to {to}"), 1)));
    rows.push(["host".to_string()].into_iter().chain(host).chain(["-".to_string()]).collect());
    table("A call, without what the callee does", &head, &rows);

    let holds = each("exit", "guess holds", n);
    let fails = each("exit", "guess fails", n);
    let entry = || {
        let [short, long] = ENTRY_TURNS.map(|turns| each("entry", "loop alone", turns as u64));
        let turn = (long? - short?) / (ENTRY_TURNS[1] - ENTRY_TURNS[0]) as f64;
        Some(short? - turn * ENTRY_TURNS[0] as f64 - each("entry", "interpreter", 1)?)
    };
    let mut rows = vec![
        vec!["one exit by a guess that fails".to_string(), shown(fails.zip(holds).map(|(f, h)| f - h))],
        vec!["an entry into a loop in the middle, and the exit at its end".to_string(), shown(entry())],
    ];
    for keep in KEPT {
        let name = format!("a minor collection, {keep} % of the objects survive");
        rows.push(vec![name, shown(each("minor collection", "survive", keep))]);
    }
    table("Changes", &["what", "time"].map(str::to_string), &rows);

    let rows: Vec<Vec<String>> = EARNERS
        .iter()
        .map(|(name, _)| {
            let turn = TIERS.map(|(tier, _)| each(name, tier, n));
            let cost = [each(name, "compile baseline", 0), each(name, "compile optimized", 0)];
            let earned = |cost: Option<f64>, before: Option<f64>, after: Option<f64>| {
                let (cost, saved) = (cost?, before? - after?);
                Some(if saved > 0.0 { format!("{:.0}", (cost / saved).ceil()) } else { "never".to_string() })
            };
            let counts = [earned(cost[0], turn[0], turn[1]), earned(cost[1], turn[1], turn[2])];
            std::iter::once(name.to_string())
                .chain(turn.map(shown))
                .chain(cost.map(shown))
                .chain(counts.map(|c| c.unwrap_or("-".into())))
                .collect()
        })
        .collect();
    let head = [
        "a turn of",
        "interpreter",
        "baseline",
        "optimized",
        "compiling, baseline",
        "compiling, optimized",
        "turns until baseline pays",
        "turns until optimized pays",
    ];
    table("What compiling earns", &head.map(str::to_string), &rows);
}
