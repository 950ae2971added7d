//! The programs of `benches/memory`: wall time, peak memory, and what the collector says about its pauses.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::{self, Run};
use super::contestant::Contestant;
use super::json::Json;
use super::report::{self, Figures};
use super::{Options, Outcome};
use crate::root;

/// What a program is to stay within.
struct Limits {
    program: &'static str,
    wall: Option<Duration>,
    peak: Option<u64>,
    minor_pause: Option<Duration>,
}

const MINOR_PAUSE: Duration = Duration::from_millis(2);

const LIMITS: &[Limits] = &[
    Limits { program: "gc_churn", wall: None, peak: Some(64 << 20), minor_pause: Some(MINOR_PAUSE) },
    Limits { program: "deep_frames", wall: None, peak: None, minor_pause: Some(MINOR_PAUSE) },
    Limits { program: "big_old_list", wall: None, peak: None, minor_pause: Some(MINOR_PAUSE) },
    Limits {
        program: "string_append_10mb",
        wall: Some(Duration::from_millis(500)),
        peak: None,
        minor_pause: None,
    },
    Limits {
        program: "hello",
        wall: Some(Duration::from_millis(4)),
        peak: Some(10 << 20),
        minor_pause: None,
    },
];

/// The option that makes the engine report its collections, and how the line begins that it then prints on standard
/// error: `gc: minor N, max pause X us (Y us of cpu), major N, max pause X us (Y us of cpu)`.
const GC_STATS: &str = "--gc-stats";

/// What the collector said. Pauses are processor time where it says so: on a busy machine the rest is other programs.
struct Collections {
    minor: u64,
    minor_pause_us: f64,
    major: u64,
    major_pause_us: f64,
}

impl Collections {
    /// Reads the last such line of a program's standard error.
    fn parse(stderr: &str) -> Option<Collections> {
        let line = stderr.lines().rev().find_map(|line| line.strip_prefix("gc: "))?;
        let mut parts = line.split(", ");
        let minor = number_after(parts.next()?, "minor ")? as u64;
        let minor_pause_us = pause(parts.next()?)?;
        let major = number_after(parts.next()?, "major ")? as u64;
        let major_pause_us = pause(parts.next()?)?;
        Some(Collections { minor, minor_pause_us, major, major_pause_us })
    }
}

/// The number that follows a word.
fn number_after(text: &str, word: &str) -> Option<f64> {
    let (_, rest) = text.split_once(word)?;
    rest.split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?.parse().ok()
}

/// The processor time of a pause in microseconds, or its wall time where that is all there is.
fn pause(part: &str) -> Option<f64> {
    number_after(part, "(").or_else(|| number_after(part, "max pause "))
}

/// Runs the mode.
pub fn run(options: &Options) -> Outcome {
    let repeat = options.repeat.unwrap_or(3);
    let engine = options.engine()?;
    let directory = root().join("benches/memory");
    let flags: &[&str] = if accepts(engine, &directory, GC_STATS) { &[GC_STATS] } else { &[] };
    if flags.is_empty() {
        eprintln!("this build does not know {GC_STATS}: no pauses");
    }
    let headings = ["program", "wall", "CPU", "peak", "minor", "longest", "major", "longest"];
    let mut table = vec![headings.map(str::to_owned).to_vec()];
    let mut json = Vec::new();
    let mut problems = Vec::new();
    for source in programs(&directory)? {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !options.selects(&name) {
            continue;
        }
        eprintln!("{name} ..");
        let runs = match measure(engine, flags, &source, repeat) {
            Ok(runs) => runs,
            Err(why) => {
                table.push(vec![name.clone(), "failed".to_owned()]);
                problems.push(format!("{name}: {why}"));
                continue;
            }
        };
        let Some(figures) = Figures::of(&runs) else { continue };
        // The longest pause of all runs: a pause is a promise, not an average.
        let collections = runs
            .iter()
            .filter_map(|run| Collections::parse(&run.stderr))
            .max_by(|a, b| a.minor_pause_us.total_cmp(&b.minor_pause_us));
        let limits = LIMITS.iter().find(|limits| limits.program == name);
        table.push(row(&name, &figures, collections.as_ref(), limits));
        let mut fields = figures.json();
        if let Some(c) = &collections {
            fields.extend([
                ("minor_collections".to_owned(), Json::Number(c.minor as f64)),
                ("longest_minor_pause_us".to_owned(), Json::Number(c.minor_pause_us)),
                ("major_collections".to_owned(), Json::Number(c.major as f64)),
                ("longest_major_pause_us".to_owned(), Json::Number(c.major_pause_us)),
            ]);
        }
        json.push((name, Json::Object(fields)));
    }
    println!("Medians of {repeat} runs; peak memory and pauses: the highest of all\n");
    report::print_table(&table);
    for problem in &problems {
        println!("\nfailed: {problem}");
    }
    options.write_json("memory", Json::Object(json))?;
    Ok(problems.is_empty())
}

/// The cells of one program, its limits beside what they limit.
fn row(name: &str, figures: &Figures, gc: Option<&Collections>, limits: Option<&Limits>) -> Vec<String> {
    let wall = match limits.and_then(|limits| limits.wall) {
        Some(limit) => report::time_against(figures.wall, limit),
        None => report::time(figures.wall),
    };
    let peak = match limits.and_then(|limits| limits.peak) {
        Some(limit) => {
            let kept = figures.peak <= limit;
            report::against(report::megabytes(figures.peak), report::megabytes(limit), kept)
        }
        None => report::megabytes(figures.peak),
    };
    let mut cells = vec![name.to_owned(), wall, report::time(figures.cpu), peak];
    if let Some(gc) = gc {
        let longest_minor = gc.minor_pause_us / 1e6;
        let pause = match limits.and_then(|limits| limits.minor_pause) {
            Some(limit) => report::time_against(longest_minor, limit),
            None => report::time(longest_minor),
        };
        let longest_major = report::time(gc.major_pause_us / 1e6);
        cells.extend([gc.minor.to_string(), pause, gc.major.to_string(), longest_major]);
    }
    cells
}

/// The programs, by name.
fn programs(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "mochi") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether the engine takes an option: hello world still works with it.
fn accepts(engine: &Contestant, directory: &Path, option: &str) -> bool {
    let source = directory.join("hello.mochi");
    child::run(&mut engine.command_with(&[option], &source)).is_ok_and(|run| run.code == Some(0))
}

/// Runs a program and compares what it prints with the `.out` file beside it.
fn measure(engine: &Contestant, flags: &[&str], source: &Path, repeat: usize) -> Result<Vec<Run>, String> {
    let expected = source.with_extension("out");
    let wanted = fs::read_to_string(&expected).map_err(|e| format!("{}: {e}", expected.display()))?;
    let mut runs = Vec::new();
    for _ in 0..repeat {
        let run =
            child::run(&mut engine.command_with(flags, source)).map_err(|e| e.to_string())?.checked()?;
        if run.stdout != wanted.trim_end() {
            return Err(format!("printed {:?}, not {:?}", run.stdout, wanted.trim_end()));
        }
        runs.push(run);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::Collections;

    #[test]
    fn reads_the_collectors_line() {
        let read = |line: &str| {
            let c = Collections::parse(&format!("warning: x\ngc: {line}\n")).unwrap();
            (c.minor, c.minor_pause_us, c.major, c.major_pause_us)
        };
        let wall = "minor 12, max pause 340.5 us, major 2, max pause 5100 us";
        assert_eq!(read(wall), (12, 340.5, 2, 5100.0));
        let both = "minor 12, max pause 900 us (340 us of cpu), major 2, max pause 7000 us (5100 us of cpu), total 9 us";
        assert_eq!(read(both), (12, 340.0, 2, 5100.0));
        assert!(Collections::parse("nothing").is_none());
    }
}
