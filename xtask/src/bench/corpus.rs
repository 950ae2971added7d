//! The programs of `programs/` and `examples/`, one tier against another: what a tier costs where it cannot win.
//! They are small, so that compiling, starting and falling back weigh more than the code that comes of it.
//!
//! The first tier is the one that the others are compared with. Whether the tiers print the right thing is asked here
//! only so that no time is taken of something else; the tests compare in full, error messages included.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::child::{self, Run};
use super::contestant::{self, Contestant};
use super::json::Json;
use super::report;
use super::{Options, Outcome};
use crate::root;

/// A tier may take this much longer than the first one: a part, and something for the grain of the clock.
const FACTOR: f64 = 1.02;
const SLACK_SECONDS: f64 = 0.0003;
/// About as much in instructions.
const SLACK_INSTRUCTIONS: f64 = 1e6;

/// With `--instructions`, programs that take the first tier less than this are counted instead of timed.
const SHORT: f64 = 0.05;

/// What looks too slow is measured again with this many times the runs: in half a thousand programs, some median of
/// five is off.
const AGAIN: usize = 3;

/// How many of the worst are shown.
const SHOWN: usize = 20;

/// A program and what it must do.
struct Program {
    name: String,
    source: PathBuf,
    input: Option<PathBuf>,
    /// Standard output, trimmed at the end.
    stdout: String,
    code: i32,
}

/// What the figures of a program count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Instructions,
}

impl Unit {
    /// The longest that is no slower than `first`, by more than may be chance.
    fn limit(self, first: f64) -> f64 {
        let slack = match self {
            Unit::Seconds => SLACK_SECONDS,
            Unit::Instructions => SLACK_INSTRUCTIONS,
        };
        first * FACTOR + slack
    }

    fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds => report::time(value),
            Unit::Instructions => format!("{:.2} M instr", value / 1e6),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "cpu_seconds",
            Unit::Instructions => "instructions",
        }
    }
}

/// A program, measured: a value for each tier.
struct Measured {
    program: String,
    unit: Unit,
    values: Vec<f64>,
    /// Why a short program was timed where it should have been counted.
    uncounted: Option<String>,
}

/// One tier's value for a program beside the first tier's.
struct Pair<'a> {
    program: &'a str,
    tier: usize,
    unit: Unit,
    first: f64,
    value: f64,
}

impl Pair<'_> {
    fn ratio(&self) -> f64 {
        self.value / self.first
    }

    fn is_slow(&self) -> bool {
        self.value > self.unit.limit(self.first)
    }

    fn difference(&self) -> String {
        let sign = if self.value < self.first { '-' } else { '+' };
        format!("{sign}{}", self.unit.show((self.value - self.first).abs()))
    }
}

/// Runs the mode.
pub fn run(options: &Options) -> Outcome {
    let repeat = options.repeat.unwrap_or(5);
    let tiers = &options.upshift;
    if tiers.len() < 2 {
        return Err("this mode compares tiers: name two or more".into());
    }
    if options.instructions && contestant::find("valgrind").is_none() {
        return Err("`valgrind` is not installed".into());
    }
    let mut programs = Vec::new();
    for directory in ["programs", "examples"] {
        collect(&root().join(directory), &mut programs)?;
    }
    programs.retain(|program| options.selects(&program.name));
    if programs.is_empty() {
        return Err("no program has such a name".into());
    }
    eprintln!("{} programs ..", programs.len());
    let mut measured = Vec::new();
    let mut problems = Vec::new();
    for program in &programs {
        match measure(program, tiers, repeat, options.instructions) {
            Ok(row) => measured.push(row),
            Err(why) => problems.push(format!("{}: {why}", program.name)),
        }
    }
    report(options, &measured, &problems, repeat)
}

/// Finds the programs of a directory and those below it, by name.
fn collect(directory: &Path, found: &mut Vec<Program>) -> Result<(), Box<dyn Error>> {
    let entries = fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "mochi") {
            found.extend(program(path)?);
        }
    }
    Ok(())
}

/// A program with what belongs to it, as `programs/README.md` says; none if it is not known what it must print.
fn program(source: PathBuf) -> Result<Option<Program>, Box<dyn Error>> {
    let beside = |extension: &str| Some(source.with_extension(extension)).filter(|path| path.exists());
    let fails = beside("err").is_some();
    let stdout = match beside("out") {
        Some(path) => String::from_utf8_lossy(&fs::read(path)?).trim_end().to_owned(),
        None if fails => String::new(),
        None => return Ok(None),
    };
    let text = String::from_utf8_lossy(&fs::read(&source)?).into_owned();
    let input = beside("in").or_else(|| example_input(&text));
    let name = source.strip_prefix(root()).unwrap_or(&source).with_extension("");
    Ok(Some(Program { name: name.display().to_string(), input, stdout, code: i32::from(fails), source }))
}

/// An example says at its head which file of `examples/data` it reads.
fn example_input(text: &str) -> Option<PathBuf> {
    let (_, rest) = text.split_once("< examples/data/")?;
    let path = root().join("examples/data").join(rest.split_whitespace().next()?);
    path.exists().then_some(path)
}

/// Measures a program under each tier.
fn measure(
    program: &Program,
    tiers: &[Contestant],
    repeat: usize,
    instructions: bool,
) -> Result<Measured, String> {
    let mut runs: Vec<Vec<f64>> = vec![Vec::new(); tiers.len()];
    let name = program.name.clone();
    let mut uncounted = None;
    if instructions {
        // One run of each says which programs are short, and that they work.
        time(program, tiers, 1, &mut runs)?;
        if runs[0][0] < SHORT {
            match tiers.iter().map(|tier| count(program, tier)).collect() {
                Ok(values) => {
                    return Ok(Measured { program: name, unit: Unit::Instructions, values, uncounted: None });
                }
                Err(why) => uncounted = Some(why),
            }
        }
    }
    time(program, tiers, repeat, &mut runs)?;
    let medians = |runs: &[Vec<f64>]| runs.iter().filter_map(|list| report::median(list)).collect::<Vec<_>>();
    let mut values = medians(&runs);
    if values.iter().any(|value| *value > Unit::Seconds.limit(values[0])) {
        time(program, tiers, repeat * AGAIN, &mut runs)?;
        values = medians(&runs);
    }
    Ok(Measured { program: name, unit: Unit::Seconds, values, uncounted })
}

/// Lets the tiers take turns and adds their CPU times in seconds.
fn time(program: &Program, tiers: &[Contestant], repeat: usize, runs: &mut [Vec<f64>]) -> Result<(), String> {
    for round in 0..repeat {
        for turn in 0..tiers.len() {
            let who = (round + turn) % tiers.len();
            let run =
                child::run_with_input(&mut tiers[who].command(&program.source), program.input.as_deref());
            let run = run.map_err(|e| e.to_string())?;
            check(program, &run).map_err(|why| format!("{}: {why}", tiers[who].name))?;
            runs[who].push(run.cpu.as_secs_f64());
        }
    }
    Ok(())
}

/// Whether a run did what the program must do.
fn check(program: &Program, run: &Run) -> Result<(), String> {
    if run.code != Some(program.code) {
        let ended =
            run.code.map_or_else(|| "by a signal".to_owned(), |code| format!("with exit code {code}"));
        // Valgrind talks on the same stream.
        let said = run.stderr.lines().find(|line| !line.starts_with("==") && !line.starts_with("--"));
        let said = said.map(|line| format!(": {line}")).unwrap_or_default();
        return Err(format!("ended {ended}, not with exit code {}{said}", program.code));
    }
    if run.stdout != program.stdout {
        return Err("printed something else than it must".to_owned());
    }
    Ok(())
}

/// The instructions of one run. Valgrind takes the vDSO away from a program, and one that asks the kernel for its
/// address instead of the C library then crashes: such a build of the engine can only be timed.
fn count(program: &Program, tier: &Contestant) -> Result<f64, String> {
    let plain = tier.command(&program.source);
    let mut command = Command::new("valgrind");
    command.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    command.arg(plain.get_program()).args(plain.get_args());
    let run = child::run_with_input(&mut command, program.input.as_deref()).map_err(|e| e.to_string())?;
    check(program, &run)?;
    instructions(&run.stderr).ok_or_else(|| "Valgrind did not say how many instructions".to_owned())
}

/// Reads the line `==123== I   refs:      1,234,567`.
fn instructions(stderr: &str) -> Option<f64> {
    let is_count = |line: &&str| line.starts_with("==") && line.contains(" I ") && line.contains("refs:");
    let (_, number) = stderr.lines().rev().find(is_count)?.split_once("refs:")?;
    number.trim().replace(',', "").parse().ok()
}

/// Prints the worst ratios and writes the JSON.
fn report(options: &Options, measured: &[Measured], problems: &[String], repeat: usize) -> Outcome {
    let tiers = &options.upshift;
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for row in measured {
        for (tier, &value) in row.values.iter().enumerate().skip(1) {
            pairs.push(Pair { program: &row.program, tier, unit: row.unit, first: row.values[0], value });
        }
    }
    pairs.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    println!(
        "CPU time, medians of {repeat} interleaved runs, {} where a tier seemed slow",
        repeat * (AGAIN + 1)
    );
    if options.instructions {
        let counted = measured.iter().filter(|row| row.unit == Unit::Instructions).count();
        println!("Instructions instead for {counted} programs that take less than {}", report::time(SHORT));
    }
    println!("{}", report::machine());
    println!("{}\n", options.versions().join("\n"));
    report::print_table(&table(tiers, &pairs));
    let slow: Vec<_> = pairs.iter().filter(|pair| pair.is_slow()).collect();
    println!("\n{} programs compared, {} pairs beyond the limit", measured.len(), slow.len());
    for (tier, contestant) in tiers.iter().enumerate().skip(1) {
        let ratios: Vec<f64> = pairs.iter().filter(|pair| pair.tier == tier).map(Pair::ratio).collect();
        if let Some(mean) = report::geometric_mean(&ratios) {
            println!("geometric mean of {} / {}: {mean:.3}", contestant.short_name(), tiers[0].short_name());
        }
    }
    let slow: Vec<_> = slow
        .iter()
        .map(|pair| {
            let tier = tiers[pair.tier].short_name();
            format!("{} {tier}: {:.3}x, {}", pair.program, pair.ratio(), pair.difference())
        })
        .collect();
    let title = format!("Slower than {FACTOR}x + {} (marked !)", report::time(SLACK_SECONDS));
    report::print_list(&title, &slow);
    let uncounted: Vec<_> = measured.iter().filter_map(|row| row.uncounted.as_ref()).collect();
    if let Some(why) = uncounted.first() {
        println!("\n{} short programs were timed, for Valgrind failed; the first: {why}", uncounted.len());
    }
    let mut shown: Vec<_> = problems.iter().take(SHOWN).cloned().collect();
    if problems.len() > SHOWN {
        shown.push(format!("and {} more", problems.len() - SHOWN));
    }
    report::print_list("Failed", &shown);
    options.write_json("corpus", Json::List(measured.iter().map(|row| json(row, tiers)).collect()))?;
    Ok(problems.is_empty())
}

/// The worst pairs as a table.
fn table(tiers: &[Contestant], pairs: &[Pair<'_>]) -> Vec<Vec<String>> {
    let headings = ["program", tiers[0].short_name(), "tier", "its own", "ratio", "difference"];
    let mut table = vec![headings.map(str::to_owned).to_vec()];
    for pair in pairs.iter().take(SHOWN) {
        table.push(vec![
            pair.program.to_owned(),
            pair.unit.show(pair.first),
            tiers[pair.tier].short_name().to_owned(),
            pair.unit.show(pair.value),
            format!("{:.3}x{}", pair.ratio(), if pair.is_slow() { "!" } else { "" }),
            pair.difference(),
        ]);
    }
    table
}

/// The JSON of one program.
fn json(row: &Measured, tiers: &[Contestant]) -> Json {
    let values = tiers.iter().zip(&row.values);
    let values = values.map(|(tier, value)| (tier.name.clone(), Json::Number(*value))).collect();
    Json::Object(vec![
        ("program".into(), Json::Text(row.program.clone())),
        (row.unit.name().into(), Json::Object(values)),
    ])
}

#[cfg(test)]
mod tests {
    use super::{Unit, instructions};

    #[test]
    fn reads_valgrinds_count() {
        let stderr = "oh\n==7== Cachegrind\n==7== \n==7== I   refs:      2,012,345\n";
        assert_eq!(instructions(stderr), Some(2_012_345.0));
        assert_eq!(instructions("==7== I refs: 12"), Some(12.0));
        assert_eq!(instructions("no I refs: 12"), None);
    }

    #[test]
    fn limits_are_a_part_and_a_little() {
        assert!((Unit::Seconds.limit(1.0) - 1.0203).abs() < 1e-12);
        assert!((Unit::Instructions.limit(1e6) - 2.02e6).abs() < 1e-3);
    }
}
