//! Large programs: a generated one of 10,000 lines and one ten times as long. What counts is the time from source
//! to result when nearly all code runs once, and that it grows with the length and not faster.
//!
//! The generator also computes what the program must print, so a compiler that drops or confuses one function out
//! of thirty thousand is found out.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::{self, Run};
use super::contestant::Contestant;
use super::json::Json;
use super::report::{self, Figures};
use super::{Options, Outcome};
use crate::root;

/// Lines of the shorter program, and how many functions it has.
const LINES: usize = 10_000;
const FUNCTIONS: usize = 3_000;
/// How much longer the longer one is.
const FACTOR: usize = 10;

const SHORT_TARGET: Duration = Duration::from_millis(60);
const RATIO_TARGET: f64 = 11.0;

/// The option that makes the engine print the time of each phase on standard error.
const PHASES: &str = "--time";

/// Runs the mode.
pub fn run(options: &Options) -> Outcome {
    let repeat = options.repeat.unwrap_or(11);
    let engine = options.engine()?;
    let programs = [generate(1), generate(FACTOR)];
    let sources = programs.iter().map(write).collect::<Result<Vec<_>, _>>()?;
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..repeat {
        for ((program, source), runs) in programs.iter().zip(&sources).zip(&mut runs) {
            runs.push(run_once(engine, program, source)?);
        }
    }
    let [Some(short), Some(long)] = [Figures::of(&runs[0]), Figures::of(&runs[1])] else {
        return Err("nothing was run".into());
    };
    let ratio = long.wall / short.wall;
    let mut table = vec![["lines", "functions", "wall", "CPU", "peak"].map(str::to_owned).to_vec()];
    for (program, figures) in programs.iter().zip([&short, &long]) {
        let wall = if program.lines == LINES {
            report::time_against(figures.wall, SHORT_TARGET)
        } else {
            report::time(figures.wall)
        };
        table.push(vec![
            program.lines.to_string(),
            program.functions.to_string(),
            wall,
            report::time(figures.cpu),
            report::megabytes(figures.peak),
        ]);
    }
    println!("Medians of {repeat} runs\n");
    report::print_table(&table);
    let kept = ratio <= RATIO_TARGET;
    let ratio_text = report::against(format!("{ratio:.2}x"), format!("{RATIO_TARGET:.1}x"), kept);
    println!("\n{FACTOR} times the lines take {ratio_text} the time");
    print_phases(engine, &sources);
    options.write_json(
        "lines",
        Json::Object(vec![
            (programs[0].lines.to_string(), Json::Object(short.json())),
            (programs[1].lines.to_string(), Json::Object(long.json())),
            ("ratio".into(), Json::Number(ratio)),
        ]),
    )?;
    Ok(true)
}

/// Runs the shorter program under each of the engine's tiers in turn.
pub fn measure_short(
    engines: &[Contestant],
    repeat: usize,
) -> Result<Vec<(String, Figures)>, Box<dyn Error>> {
    let program = generate(1);
    let source = write(&program)?;
    let mut runs: Vec<Vec<Run>> = engines.iter().map(|_| Vec::new()).collect();
    for _ in 0..repeat {
        for (engine, runs) in engines.iter().zip(&mut runs) {
            runs.push(run_once(engine, &program, &source)?);
        }
    }
    let figures = engines.iter().zip(&runs);
    Ok(figures.filter_map(|(engine, runs)| Some((engine.name.clone(), Figures::of(runs)?))).collect())
}

/// Writes a program where engines find it.
fn write(program: &Program) -> Result<PathBuf, Box<dyn Error>> {
    let directory = root().join("target/bench-lines");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{}_lines.mochi", program.lines));
    fs::write(&path, &program.text)?;
    Ok(path)
}

/// One run, whose answer must be right.
fn run_once(engine: &Contestant, program: &Program, source: &Path) -> Result<Run, Box<dyn Error>> {
    let run = child::run(&mut engine.command(source))?.checked()?;
    if run.stdout != program.printed {
        let (lines, wanted) = (program.lines, &program.printed);
        return Err(format!("{lines} lines: printed {}, not {wanted}", run.stdout).into());
    }
    Ok(run)
}

/// Shows where the time goes, if the engine says.
fn print_phases(engine: &Contestant, sources: &[PathBuf]) {
    for source in sources {
        let Ok(run) = child::run(&mut engine.command_with(&[PHASES], source)) else { return };
        if run.code == Some(0) && !run.stderr.trim().is_empty() {
            let name = source.file_name().unwrap_or_default();
            println!("\nPhases of {}:\n{}", Path::new(name).display(), run.stderr.trim_end());
        }
    }
}

/// A generated program and what it prints.
struct Program {
    text: String,
    lines: usize,
    functions: usize,
    printed: String,
}

/// Makes a program of `scale` times the lines. Functions of seven kinds follow each other with varying constants;
/// the calls come at the end, three to a line, and comments fill the text up to the exact length.
fn generate(scale: usize) -> Program {
    let functions = FUNCTIONS * scale;
    let mut text = String::from(HEAD);
    let mut total: i64 = 0;
    let mut calls = String::new();
    for i in 0..functions {
        let n = i as i64;
        let argument = n % 89;
        total += function(&mut text, n, argument);
        let _ = match i % 3 {
            0 => write!(calls, "total = total + f{i}({argument})"),
            1 => write!(calls, " + f{i}({argument})"),
            _ => writeln!(calls, " + f{i}({argument})"),
        };
    }
    let written = text.lines().count() + calls.lines().count() + 2;
    for _ in written..LINES * scale {
        text.push_str("// Makes the length exact.\n");
    }
    text.push_str("var total = 0\n");
    text.push_str(&calls);
    text.push_str("print(total)\n");
    Program { lines: text.lines().count(), text, functions, printed: total.to_string() }
}

const HEAD: &str = "\
type Point { x: int  y: int }
type Sample { name: string  weight: float  count: int }
let offsets = [3, 1, 4, 1, 5, 9, 2, 6]
";

/// Appends the function `f{n}` and returns what it yields for `x`.
fn function(text: &mut String, n: i64, x: i64) -> i64 {
    let a = n % 13 + 2;
    let b = n % 31;
    let (body, value) = match n % 7 {
        0 => (format!("  return (x * {a} + {b}) % 1009\n"), (x * a + b) % 1009),
        1 => {
            let body = format!("  if x % {a} == 0 {{ return x + {b} }}\n  return x - {b}\n");
            (body, if x % a == 0 { x + b } else { x - b })
        }
        2 => (
            format!("  return len(\"item {n} \" + str(x * {a}))\n"),
            format!("item {n} {}", x * a).len() as i64,
        ),
        3 => (format!("  let p = Point {{ x: x, y: {b} }}\n  return p.x * {a} - p.y\n"), x * a - b),
        4 => {
            let body =
                format!("  let xs = [x, {a}, {b}, x + {a}]\n  return xs[{}] + offsets[x % 8]\n", n % 4);
            let offsets = [3, 1, 4, 1, 5, 9, 2, 6];
            (body, [x, a, b, x + a][(n % 4) as usize] + offsets[(x % 8) as usize])
        }
        5 => {
            let body = format!("  var sum = {b}\n  for i in 0..{a} {{ sum = sum + i * x }}\n  return sum\n");
            (body, b + (0..a).map(|i| i * x).sum::<i64>())
        }
        _ => {
            let body = format!(
                "  let s = Sample {{ name: \"s{n}\", weight: 0.5, count: {a} }}\n  return s.count + int(s.weight * float(x)) + len(s.name)\n"
            );
            (body, a + x / 2 + format!("s{n}").len() as i64)
        }
    };
    if body.lines().count() == 1 {
        let _ = writeln!(text, "fun f{n}(x: int): int {{ {} }}", body.trim());
    } else if n % 20 >= 3 {
        let _ = write!(text, "fun f{n}(x: int): int {{\n{body}}}\n");
    } else {
        let _ = writeln!(
            text,
            "fun f{n}(x: int): int {{ {} }}",
            body.split_whitespace().collect::<Vec<_>>().join(" ")
        );
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{FACTOR, FUNCTIONS, LINES, generate};

    #[test]
    fn programs_have_the_exact_length() {
        for scale in [1, FACTOR] {
            let program = generate(scale);
            assert_eq!(program.lines, LINES * scale);
            assert_eq!(program.text.matches("fun f").count(), FUNCTIONS * scale);
        }
    }
}
