//! Generated loops over more variables than there are machine registers, in the interpreter and as machine code.
//!
//! A program is a function with ints, floats, lists and other objects, and loops in loops around statements of all sorts:
//! arithmetic, comparisons, branches, early ends, switches, calls, and handlers around what traps. Variables of innermost
//! loops are pinned to registers or stay in their slots, values local to a block get what is free, and everything between
//! has to store and load. So the programs try the compiler's bookkeeping where `stencils.rs` tries what it puts together.
//!
//! Each program runs in the interpreter, as machine code with pins and without, and with a change of tier in the middle of
//! loops. Compared are the result (a hash of all variables and lists), globals, the trap with its message and all lines of
//! its backtrace, the fuel that was used, and what sites of dynamic ops learned; and all of it once more with less fuel.
//!
//! Programs are made from their number alone; where one fails it is made smaller as long as it still fails, and printed as
//! bytecode. `UPSHIFT_LOOPS=7` runs the program with number 7 alone, `UPSHIFT_LOOPS=7..9000` those from 7 on; with
//! `--nocapture` the numbers are told before they run, which helps where the process dies.
//!
//! Of 81 errors that were put into the compiler one at a time (a register that is not stored, a state taken a line too late),
//! the first 3,000 programs find 64; the other 17 store or load what need not be, or drop what is put back before it is read.

#![cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]

use std::collections::BTreeMap;
use std::ops::Range;

use upshift::bytecode::text;
use upshift::{Config, Engine, Grants, Instance, Limits, Tier};
use upshift_fuzz::bytecode::{INPUTS, Program, module, smaller};

/// How many programs a run of the tests tries.
const PROGRAMS: usize = 1000;
/// How many of them are in a module.
const BATCH: usize = 25;
/// Nothing needs so much fuel.
const FUEL: u64 = 3_000_000;

/// What a run shows.
#[derive(PartialEq, Debug)]
struct Outcome {
    /// The result, or the trap with its backtrace.
    result: Result<i64, String>,
    /// The globals, which start anew for the next run.
    globals: Option<i64>,
    fuel: u64,
}

fn run(instance: &mut Instance, program: &Program, input: (i64, f64), fuel: u64) -> Outcome {
    let name = format!("p{}", program.number);
    let f = instance.function::<(i64, f64), i64>(&name).expect("the program");
    let globals = instance.function::<(), i64>("globals").expect("the function");
    instance.set_fuel(Some(fuel));
    let result = instance.call(&f, input).map_err(|e| format!("{e}\n{}", e.backtrace()));
    let left = instance.fuel().expect("fuel is limited");
    instance.set_fuel(None);
    let globals = instance.call(&globals, ()).ok();
    Outcome { result, globals, fuel: fuel - left }
}

/// What a number of runs did.
#[derive(Default, Debug)]
struct Statistics {
    /// By trap; those without one by "none".
    ends: BTreeMap<String, usize>,
    fuel: u64,
    /// Functions compiled, entries into machine code and exits in the middle of a function, by way to run.
    tiers: BTreeMap<&'static str, [u64; 3]>,
}

/// What is optimized.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Optimize {
    No,
    Functions,
    /// Functions, and guards leave now and then although they hold.
    Deopt,
    Loops,
}

/// Runs programs of one module everywhere; the first that differs from the interpreter, and how.
fn difference(programs: &[Program], stress: bool, statistics: &mut Statistics) -> Option<(usize, String)> {
    let module = module(programs);
    let instance = |tier: Tier, pin: bool, optimize: Optimize| {
        let mut config = Config::default();
        config.tier = tier;
        config.gc_stress = stress;
        config.tiers.pin = pin;
        config.tiers.code_cache = 8 << 20;
        // Where the engine decides, functions are compiled in the second turn of a loop or at the second call.
        config.tiers.eager = true;
        config.tiers.quantum = 1;
        config.tiers.sync = true;
        config.tiers.optimize_heat = if optimize == Optimize::No { u32::MAX } else { 0 };
        config.tiers.deopt_stress = optimize == Optimize::Deopt;
        if optimize == Optimize::Loops {
            config.tiers.optimize_functions = false;
            config.tiers.baseline_heat = 1;
            config.tiers.sample = 1;
        }
        let engine = Engine::new(config);
        let loaded = engine.load(&module).unwrap_or_else(|e| panic!("{e}\n{}", text::print(&module)));
        (engine.instantiate(&loaded, Grants::none(), Limits::default()).expect("an instance"), loaded)
    };
    let (mut reference, loaded) = instance(Tier::Interpreter, true, Optimize::No);
    let mut others = [
        ("with pins", instance(Tier::Baseline, true, Optimize::No)),
        ("without pins", instance(Tier::Baseline, false, Optimize::No)),
        ("changing tiers", instance(Tier::Auto, true, Optimize::No)),
        ("optimized", instance(Tier::Optimized, true, Optimize::Functions)),
        ("with failing guards", instance(Tier::Optimized, true, Optimize::Deopt)),
        ("every loop alone", instance(Tier::Auto, true, Optimize::Loops)),
    ];
    for (i, program) in programs.iter().enumerate() {
        for &input in INPUTS {
            let mut fuel = vec![FUEL];
            while let Some(fuel_now) = fuel.pop() {
                let want = run(&mut reference, program, input, fuel_now);
                let end = want.result.as_ref().map_or_else(|e| e.split(':').next().unwrap_or(e), |_| "none");
                *statistics.ends.entry(end.into()).or_default() += 1;
                statistics.fuel += want.fuel;
                for (name, (instance, _)) in &mut others {
                    let got = run(instance, program, input, fuel_now);
                    if got != want {
                        let events: Vec<String> = instance.tier_events().map(|e| e.to_string()).collect();
                        let events = &events[events.len().saturating_sub(12)..];
                        let text = format!(
                            "{name}, with {input:?} and fuel {fuel_now}: {got:#?}\nnot {want:#?}\nafter {events:#?}"
                        );
                        return Some((i, text));
                    }
                }
                // Again with fuel that ends somewhere in the middle, and with the last unit missing.
                if fuel_now == FUEL && want.fuel > 1 && input.0 == INPUTS[1].0 {
                    fuel.extend([want.fuel - 1, want.fuel / 2]);
                }
            }
        }
        // Optimized code keeps no feedback.
        for (name, (instance, own)) in &others[..3] {
            let (want, got) = (reference.feedback(&loaded), instance.feedback(own));
            if let Some(site) = (0..want.len()).find(|&site| want[site] != got[site]) {
                let (want, got) = (want[site], got[site]);
                return Some((i, format!("{name}, site {site}: {got:#?}\nnot {want:#?}")));
            }
        }
    }
    for (name, (instance, _)) in &others {
        let counters = instance.tier_counters();
        let all = statistics.tiers.entry(name).or_default();
        for (sum, n) in all.iter_mut().zip([counters.compiled, counters.entered, counters.exits]) {
            *sum += n;
        }
    }
    None
}

/// Makes a program that fails as small as it gets.
fn shrink(mut program: Program, stress: bool) -> (Program, String) {
    let mut text = String::new();
    loop {
        let smaller = smaller(&program.body).into_iter().map(|body| Program { body, ..program.clone() });
        let fewer = [
            Program { ints: program.ints - 1, ..program.clone() },
            Program { floats: program.floats - 1, ..program.clone() },
        ];
        let fewer = fewer.into_iter().filter(|p| p.ints > 0 && p.floats > 0);
        let found = fewer.chain(smaller).find_map(|candidate| {
            let (_, text) = difference(std::slice::from_ref(&candidate), stress, &mut Statistics::default())?;
            Some((candidate, text))
        });
        match found {
            Some((smaller, why)) => (program, text) = (smaller, why),
            None => return (program, text),
        }
    }
}

fn check(numbers: Range<usize>) {
    let told = std::env::var_os("UPSHIFT_LOOPS").is_some();
    let numbers: Vec<usize> = numbers.collect();
    let mut statistics = Statistics::default();
    for batch in numbers.chunks(BATCH) {
        if told {
            println!("{} to {}", batch[0], batch[batch.len() - 1]);
        }
        let programs: Vec<Program> = batch.iter().map(|&n| Program::new(n)).collect();
        // Now and then with a collection at every allocation.
        let stress = batch[0] / BATCH % 8 == 3;
        let Some((i, why)) = difference(&programs, stress, &mut statistics) else { continue };
        let number = programs[i].number;
        let (small, small_why) = shrink(programs[i].clone(), stress);
        let text = text::print(&module(std::slice::from_ref(&small)));
        let at = text.rfind(&format!("p{number}")).unwrap_or(0);
        let stress = if stress { ", with a collection at every allocation" } else { "" };
        let small_why = if small_why.is_empty() { "it agrees when it runs alone".into() } else { small_why };
        panic!("program {number} {why}{stress}\n\nmade smaller {small_why}\n\n{small:?}\n\n…{}", &text[at..]);
    }
    println!("{} programs: {statistics:#?}", numbers.len());
    // They ran as machine code, and left it where only the interpreter goes on.
    for (name, [compiled, entered, exits]) in statistics.tiers {
        assert!(compiled as usize >= numbers.len(), "{name}: {compiled} functions compiled");
        let leaves = exits > 0 || told || !["with pins", "without pins", "changing tiers"].contains(&name);
        assert!(entered > 0 && leaves, "{name}: {entered} entries, {exits} exits");
    }
}

/// The numbers of the programs to run: one half of all, or what the environment says.
fn numbers(half: usize) -> Range<usize> {
    let Ok(text) = std::env::var("UPSHIFT_LOOPS") else {
        return half * PROGRAMS / 2..(half + 1) * PROGRAMS / 2;
    };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let all = match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&text)..number(&text) + 1,
    };
    let middle = all.start + all.len().div_ceil(2);
    if half == 0 { all.start..middle } else { middle..all.end }
}

#[test]
fn generated_loops_agree() {
    check(numbers(0));
}

#[test]
fn more_generated_loops_agree() {
    check(numbers(1));
}
