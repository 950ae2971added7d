//! Every program of `programs/` and `examples/` against its expected output, in every tier and mode: see [`Mode`].
//!
//! `name.mochi` comes with `name.out` (standard output, exact), and optionally `name.in` (standard input) and `name.err`:
//! then the program must fail, and each line of the file must occur in what is written to standard error.
//! The first line of a program says which section of the language reference it covers.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use upshift::profile::sampler::{MAX_FREQUENCY, Profile};
use upshift::{Config, Grants, Limits, Tier};
use upshift_cli::report::{self, Style};
use upshift_cli::session::{self, Phases};
use upshift_mochi::lower::Tests;

mod common;
use common::Output;

#[path = "../../../xtask/src/large/generator.rs"]
mod generator;

/// How a program is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Stress,
    Baseline,
    BaselineStress,
    /// Functions and loops move up in the middle of their work.
    Tiny,
    /// As `Tiny`, with so little room for code that functions keep losing theirs.
    OnePage,
    /// Little memory: the same outcome as the interpreter with as little.
    Memory,
    /// Every function optimized at its first call.
    Optimized,
    /// Likewise, with a collection at every opportunity.
    OptimizedStress,
    /// Likewise, and every guard leaves now and then although it holds.
    OptimizedDeopt,
    /// Both.
    OptimizedDeoptStress,
    /// Every loop is optimized alone and entered at its first turn.
    Osr,
    /// Functions and loops move up through all tiers in the middle of their work, and down again.
    Everything,
    /// Likewise, while a profile is taken: each poll is looked at.
    Sampled,
}

impl Mode {
    const ALL: [(Mode, &str); 14] = [
        (Mode::Plain, ""),
        (Mode::Stress, " (stress)"),
        (Mode::Baseline, " (baseline)"),
        (Mode::BaselineStress, " (baseline, stress)"),
        (Mode::Tiny, " (tiny thresholds)"),
        (Mode::OnePage, " (a page of code)"),
        (Mode::Memory, " (little memory)"),
        (Mode::Optimized, " (optimized)"),
        (Mode::OptimizedStress, " (optimized, stress)"),
        (Mode::OptimizedDeopt, " (optimized, deopt)"),
        (Mode::OptimizedDeoptStress, " (optimized, deopt, stress)"),
        (Mode::Osr, " (every loop)"),
        (Mode::Everything, " (all tiers)"),
        (Mode::Sampled, " (all tiers, sampled)"),
    ];

    fn stress(self) -> bool {
        matches!(
            self,
            Mode::Stress | Mode::BaselineStress | Mode::OptimizedStress | Mode::OptimizedDeoptStress
        )
    }

    fn config(self) -> Config {
        let mut config = Config::default();
        config.gc_stress = self.stress();
        config.tiers.eager = true;
        match self {
            Mode::Plain | Mode::Stress => config.tier = Tier::Interpreter,
            Mode::Baseline | Mode::BaselineStress | Mode::Memory => config.tier = Tier::Baseline,
            Mode::Tiny | Mode::OnePage => {
                config.tiers.baseline_heat = 3;
                config.tiers.quantum = 3;
                config.tiers.optimize_heat = u32::MAX;
            }
            Mode::Optimized | Mode::OptimizedStress => config.tier = Tier::Optimized,
            Mode::OptimizedDeopt | Mode::OptimizedDeoptStress => {
                config.tier = Tier::Optimized;
                config.tiers.deopt_stress = true;
            }
            Mode::Osr => {
                config.tiers.baseline_heat = 1;
                config.tiers.quantum = 1;
                config.tiers.sample = 1;
                config.tiers.optimize_heat = 0;
                config.tiers.optimize_functions = false;
                config.tiers.sync = true;
            }
            Mode::Everything | Mode::Sampled => {
                config.tiers.baseline_heat = 2;
                config.tiers.quantum = 3;
                config.tiers.sample = 3;
                config.tiers.optimize_heat = 3;
                config.tiers.deopt_stress = true;
                config.tiers.sync = true;
            }
        }
        if self == Mode::OnePage {
            config.tiers.code_cache = 4096;
        }
        config
    }
}

/// What the mode with little memory gives.
const LITTLE: usize = 3 << 20;

/// Programs whose data are too large to collect at every opportunity: the reason is the size alone.
const NO_STRESS: &[&str] = &["limits/", "algorithms/"];

/// What a run wrote, and whether it succeeded.
struct Ran {
    stdout: String,
    stderr: String,
    ok: bool,
    /// Entries into optimized code of loops.
    loops: u64,
}

fn run(
    path: &Path,
    input: Vec<u8>,
    config: Config,
    memory: Option<usize>,
    sampled: bool,
) -> Result<Ran, Failed> {
    let name = path.file_name().expect("a file").to_string_lossy();
    run_text(&name, std::fs::read(path)?, input, config, memory, sampled)
}

fn run_text(
    name: &str,
    text: Vec<u8>,
    input: Vec<u8>,
    config: Config,
    memory: Option<usize>,
    sampled: bool,
) -> Result<Ran, Failed> {
    let style = Style::Text { color: false };
    let mut phases = Phases::default();
    let mut parsed = session::parse_program(name, text, &mut phases);
    session::find_unsupported(&mut parsed, &mut phases);
    let mut stderr = report::diagnostics(&parsed.sources, &parsed.diagnostics, style);
    if parsed.has_errors() {
        return Ok(Ran { stdout: String::new(), stderr, ok: false, loops: 0 });
    }
    let compiled = session::compile(&mut parsed, Tests::Inline, &mut phases);
    let engine = session::engine(config);
    let code = session::load(&engine, &compiled.module, &mut phases)?;
    let output = Output::default();
    let grants = Grants::all().stdout(output.clone()).stdin(Cursor::new(input));
    let mut limits = Limits::default();
    limits.timeout = Some(Duration::from_secs(60));
    limits.memory = memory;
    let mut instance = engine.instantiate(&code, grants, limits)?;
    if sampled {
        instance.start_sampling(MAX_FREQUENCY);
    }
    let result = instance.run();
    let profile = instance.stop_sampling();
    for (stack, samples) in profile.iter().flat_map(Profile::stacks) {
        // Everything begins at the top level, and what is compiled meanwhile has no frame around it.
        let outermost = &stack[0];
        if samples == 0 || (&*outermost.function != "main" && outermost.kind.is_guest()) {
            return Err(format!("a stack of the profile is wrong: {stack:?}").into());
        }
    }
    if let Err(error) = &result {
        stderr.push_str(&report::run_error(&parsed.sources, error, style));
    }
    // The compiler's thread survives what goes wrong in it, and the program goes on in a lower tier.
    if let Some(event) = instance.tier_events().find(|event| event.to_string().contains("an internal error"))
    {
        return Err(event.to_string().into());
    }
    let stdout = String::from_utf8(output.0.lock().expect("not poisoned").clone())?;
    let loops = instance.tier_counters().osr_entries;
    Ok(Ran { stdout, stderr, ok: result.is_ok(), loops })
}

/// The first difference of two texts, by line.
fn difference(expected: &str, found: &str) -> String {
    let mut lines = expected.lines().zip(found.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((i, (a, b))) => format!("line {}:\n  expected {a:?}\n  found    {b:?}", i + 1),
        None => format!("expected {} lines, found {}", expected.lines().count(), found.lines().count()),
    }
}

fn check(path: &Path, mode: Mode) -> Result<(), Failed> {
    let read = |extension: &str| std::fs::read(path.with_extension(extension)).ok();
    let input = read("in").or_else(|| example_input(path)).unwrap_or_default();
    let expected = String::from_utf8(read("out").unwrap_or_default())?;
    if mode == Mode::Memory {
        let mut interpreter = Config::default();
        interpreter.tier = Tier::Interpreter;
        let wanted = run(path, input.clone(), interpreter, Some(LITTLE), false)?;
        let ran = run(path, input, mode.config(), Some(LITTLE), false)?;
        return match (wanted.stdout == ran.stdout, wanted.stderr == ran.stderr) {
            (false, _) => Err(difference(&wanted.stdout, &ran.stdout).into()),
            (_, false) => Err(difference(&wanted.stderr, &ran.stderr).into()),
            _ => Ok(()),
        };
    }
    let ran = run(path, input, mode.config(), None, mode == Mode::Sampled)?;
    if ran.stdout != expected {
        return Err(format!(
            "standard output differs: {}\n{}",
            difference(&expected, &ran.stdout),
            ran.stderr
        )
        .into());
    }
    match read("err") {
        None if !ran.ok => Err(format!("the program failed:\n{}", ran.stderr).into()),
        None => Ok(()),
        Some(_) if ran.ok => Err("the program succeeded, but should fail".into()),
        Some(expected) => {
            let expected = String::from_utf8(expected)?;
            match expected.lines().find(|line| !line.is_empty() && !ran.stderr.contains(line)) {
                None => Ok(()),
                Some(line) => Err(format!("standard error lacks {line:?}:\n{}", ran.stderr).into()),
            }
        }
    }
}

/// A top level that is too large to be optimized as a whole, in every mode and with everything as it is by default.
fn check_large(mode: Option<Mode>) -> Result<(), Failed> {
    const STATEMENTS: usize = 8_000;
    let stress = mode.is_some_and(Mode::stress);
    // Each collection looks at the whole frame.
    let text = generator::program(STATEMENTS, if stress { 400 } else { 40_000 }).into_bytes();
    let mut interpreter = Config::default();
    interpreter.tier = Tier::Interpreter;
    let wanted = run_text("large", text.clone(), Vec::new(), interpreter, None, false)?;
    let config = mode.map_or_else(Config::default, Mode::config);
    let (optimizes, sampled) = (config.tiers.optimize_heat != u32::MAX, mode == Some(Mode::Sampled));
    let tier = config.tier;
    let ran = run_text("large", text, Vec::new(), config, None, sampled)?;
    if !ran.ok || !wanted.ok {
        return Err(format!("the program failed:\n{}{}", wanted.stderr, ran.stderr).into());
    }
    if ran.stdout != wanted.stdout {
        return Err(difference(&wanted.stdout, &ran.stdout).into());
    }
    // By default whether the code is there in time depends on the machine.
    let optimizes = optimizes && matches!(tier, Tier::Auto | Tier::Optimized) && mode.is_some();
    if optimizes && ran.loops < generator::LOOPS as u64 {
        return Err(format!("optimized code of loops was entered {} times", ran.loops).into());
    }
    Ok(())
}

/// Examples read what their header says from `examples/data`.
fn example_input(path: &Path) -> Option<Vec<u8>> {
    let text = std::fs::read_to_string(path).ok()?;
    let at = text.find("< examples/data/")?;
    let name = text[at + 2..].split_whitespace().next()?;
    std::fs::read(root().join(name)).ok()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("readable").map(|e| e.expect("readable").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "mochi") {
            found.push(path);
        }
    }
}

/// The sections of the reference that the core consists of, with the least number of programs for each.
const SECTIONS: &[(&str, usize)] = &[
    ("1", 8),
    ("2", 8),
    ("3", 6),
    ("4", 20),
    ("5.1", 1),
    ("5.2", 15),
    ("5.3", 15),
    ("5.4", 8),
    ("5.5", 6),
    ("6.1", 3),
    ("6.2", 3),
    ("6.3", 5),
    ("6.4", 5),
    ("6.5", 5),
    ("6.6", 5),
    ("6.7", 3),
    ("6.8", 2),
    ("6.9", 2),
    ("7", 8),
    ("9", 4),
    ("10", 3),
    ("13", 25),
    ("14.1", 6),
    ("14.2", 4),
    ("14.3", 4),
    ("15.1", 8),
    ("18", 25),
];

/// Prints the table of sections, and fails where one has too few programs.
fn coverage(counts: &BTreeMap<String, usize>) -> Result<(), Failed> {
    let mut missing = Vec::new();
    for (section, least) in SECTIONS {
        let count = counts.get(*section).copied().unwrap_or(0);
        println!("section {section:5} {count:4} programs");
        if count < *least {
            missing.push(format!("section {section} has {count} programs, not {least}"));
        }
    }
    let total: usize = counts.values().sum();
    println!("{total} programs");
    if total < 250 {
        missing.push(format!("{total} programs in all, not 250"));
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n").into()) }
}

fn main() {
    let arguments = Arguments::from_args();
    let root = root();
    let mut programs = Vec::new();
    collect(&root.join("programs"), &mut programs);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for path in &programs {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let section = text.lines().find_map(|l| l.strip_prefix("// section:")).unwrap_or("none").trim();
        *counts.entry(section.to_string()).or_default() += 1;
    }
    collect(&root.join("examples"), &mut programs);
    let mut trials = vec![Trial::test("coverage of the reference", move || coverage(&counts))];
    for path in programs {
        let name = path.strip_prefix(&root).expect("inside").display().to_string();
        let heavy = NO_STRESS.iter().any(|part| name.contains(part)) || name.starts_with("examples/");
        for (mode, label) in Mode::ALL {
            if !(heavy && mode.stress()) {
                let path = path.clone();
                trials.push(Trial::test(format!("{name}{label}"), move || check(&path, mode)));
            }
        }
    }
    let default = (None, " (default)");
    for (mode, label) in Mode::ALL.map(|(mode, label)| (Some(mode), label)).into_iter().chain([default]) {
        trials.push(Trial::test(format!("a large top level{label}"), move || check_large(mode)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
