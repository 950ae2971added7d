//! `cargo xtask warmup`: whether kernels get fast and stay so, and how long it takes.
//!
//! After Barrett, Bolz-Tereick, Killick, Mount and Tratt, "Virtual Machine Warmup Blows Hot and Cold" (OOPSLA 2017): many fresh
//! processes run a kernel many times within one instance each, and the time of each iteration is kept. Each process's curve is
//! cut where its level changes ([`change_points`]), and the levels say what kind of curve it is ([`classify`]): flat, warm-up,
//! slow-down, or none that settles. A kernel has as many verdicts as processes; their shares are what is reported, since runs
//! of the same program differ. Beside them stands the verdict on the curve of medians over processes: what the engine does, it
//! does in most processes at about the same iteration, and what the machine does, it does in few at once.
//!
//! What differs from the paper: 1000 iterations instead of 2000 (and windows for outliers that are as many times smaller), of
//! kernels made small (`benches/kernels/small.tsv`), so that all of them take minutes and not days; and processor time of the
//! program's thread instead of wall time, since the machine is used by others too. Time that the compiler's thread takes is not
//! in it.
//!
//! With `--control` the kernels' C programs run beside them ([`control`]): code that cannot change, whose curves show what the
//! machine does.
//!
//! Nothing here asserts on time.

mod change_points;
mod classify;
mod control;
mod report;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;

use crate::bench::{child, progress::Progress, upshift_binary};
use crate::{Outcome, root};
use classify::{Curve, Verdict};

const USAGE: &str = "\
Usage: cargo xtask warmup [OPTIONS]

Runs each kernel of benches/kernels, made small, in many fresh processes, times its iterations, and says which kind of
curve each is. Writes target/bench/: warmup.html, warmup.json, warmup.md; with filters target/bench/part/

Options
  --filter NAME     only kernels whose name contains NAME (may be repeated)
  --processes N     processes for each kernel; default 10
  --iterations N    iterations in each process; default 1000
  --tier TIER       interp, baseline, optimized or auto (default)
  --control         the kernels in C too, compiled by gcc -O2: what the machine does to code that cannot change
  --wall            the time of the clock instead of the processor time of the program's thread
  --bin PATH        the `upshift` to measure; default: build target/release/upshift
  --no-build        do not build, take target/release/upshift as it is
  -h, --help
";

/// What is measured.
struct Options {
    filters: Vec<String>,
    processes: usize,
    iterations: usize,
    tier: String,
    wall: bool,
    control: bool,
}

/// A kernel with little to do in each iteration.
struct Small {
    kernel: String,
    /// The program in Mochi.
    text: String,
    /// What stands in the C program once, and what makes it small in its place.
    in_c: (String, String),
}

/// A kernel and what its processes did.
struct Measured {
    kernel: String,
    curves: Vec<Curve>,
    /// Those of the C program; none without `--control`.
    control: Vec<Curve>,
}

impl Measured {
    /// The curve of medians over processes, which what disturbs single processes is not in.
    fn together(&self) -> Curve {
        let longest = self.curves.iter().map(|curve| curve.times.len()).max().unwrap_or(0);
        let at = |i: usize| {
            let times: Vec<f64> = self.curves.iter().filter_map(|c| c.times.get(i).copied()).collect();
            crate::bench::report::median(&times)
        };
        Curve::of((0..longest).filter_map(at).collect())
    }

    /// How many processes have a verdict.
    fn count(&self, verdict: Verdict) -> usize {
        count(&self.curves, verdict)
    }

    /// The median over processes of something of their curves; `None` where none has it.
    fn median(&self, of: impl Fn(&Curve) -> Option<f64>) -> Option<f64> {
        let all: Vec<f64> = self.curves.iter().filter_map(of).collect();
        crate::bench::report::median(&all)
    }
}

/// How many curves have a verdict.
fn count(curves: &[Curve], verdict: Verdict) -> usize {
    curves.iter().filter(|curve| curve.verdict == verdict).count()
}

/// Runs the subcommand on the rest of the arguments.
pub fn run(parser: &mut lexopt::Parser) -> Outcome {
    let mut options = Options {
        filters: Vec::new(),
        processes: 10,
        iterations: 1000,
        tier: "auto".to_owned(),
        wall: false,
        control: false,
    };
    let mut bin: Option<PathBuf> = None;
    let mut build = true;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("filter") => options.filters.push(parser.value()?.string()?),
            Long("processes") => options.processes = parser.value()?.parse::<usize>()?.max(1),
            Long("iterations") => options.iterations = parser.value()?.parse::<usize>()?.max(classify::LEAST),
            Long("tier") => options.tier = parser.value()?.string()?,
            Long("wall") => options.wall = true,
            Long("control") => options.control = true,
            Long("bin") => bin = Some(PathBuf::from(parser.value()?)),
            Long("no-build") => build = false,
            Short('h') | Long("help") => {
                print!("{USAGE}");
                return Ok(true);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let kernels = root().join("benches/kernels");
    let small = small(&kernels, &options.filters)?;
    if small.is_empty() {
        return Err("no kernel has such a name".into());
    }
    let binary = upshift_binary(bin, build)?;
    let folder = root().join("target/bench/warmup");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut measured = Vec::new();
    for one in &small {
        let path = folder.join(format!("{}.mochi", one.kernel));
        fs::write(&path, &one.text).map_err(|e| format!("{}: {e}", path.display()))?;
        let control = if options.control { Some(control::compile(&kernels, one, &folder)?) } else { None };
        let of = Measured { kernel: one.kernel.clone(), curves: Vec::new(), control: Vec::new() };
        measured.push((of, path, control));
    }
    let progress = Progress::new(small.len() * options.processes);
    // Kernels take turns, so that a machine that changes its speed does not meet one of them alone.
    for process in 0..options.processes {
        for (of, path, control) in &mut measured {
            progress.step(&of.kernel, &format!("process {}", process + 1));
            let failed = |e| format!("{}: {e}", of.kernel);
            let mut command = Command::new(&binary);
            command.args(["run", "--quiet", "--tier", &options.tier, "--iterations"]);
            command.arg(options.iterations.to_string()).arg(&*path);
            of.curves.push(Curve::of(times(&mut command, &options).map_err(failed)?));
            if let Some(control) = control {
                let mut command = Command::new(&*control);
                command.arg(options.iterations.to_string());
                of.control.push(Curve::of(times(&mut command, &options).map_err(failed)?));
            }
        }
    }
    let measured: Vec<Measured> = measured.into_iter().map(|(of, ..)| of).collect();
    progress.finish();
    report::write(&measured, &options, &crate::bench::reports(!options.filters.is_empty())?)?;
    Ok(true)
}

/// The kernels that are selected, made small.
fn small(kernels: &Path, filters: &[String]) -> Result<Vec<Small>, Box<dyn Error>> {
    let list = kernels.join("small.tsv");
    let lines = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let mut all = Vec::new();
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (kernel, large, less, in_c) = match columns[..] {
            [kernel, large, less] => (kernel, large, less, (large, less)),
            [kernel, large, less, large_in_c, less_in_c] => (kernel, large, less, (large_in_c, less_in_c)),
            _ => return Err(format!("{}: neither three columns nor five: {line}", list.display()).into()),
        };
        if !filters.is_empty() && !filters.iter().any(|filter| kernel.contains(filter.as_str())) {
            continue;
        }
        let path = kernels.join(kernel).join(format!("{kernel}.mochi"));
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        if text.matches(large).count() != 1 {
            return Err(format!("{}: `{large}` must be there once", path.display()).into());
        }
        all.push(Small {
            kernel: kernel.to_owned(),
            text: text.replace(large, less),
            in_c: (in_c.0.to_owned(), in_c.1.to_owned()),
        });
    }
    Ok(all)
}

/// Runs one process; gives the times of its iterations in seconds.
fn times(command: &mut Command, options: &Options) -> Result<Vec<f64>, Box<dyn Error>> {
    let run = child::run(command)?.checked()?;
    let which = if options.wall { "wall" } else { "cpu" };
    let times = numbers(&run.stdout, which).ok_or("the times are not what was expected")?;
    if times.len() != options.iterations {
        return Err(format!("{} iterations instead of {}", times.len(), options.iterations).into());
    }
    Ok(times.into_iter().map(|nanos| nanos / 1e9).collect())
}

/// The list of numbers under a name in a JSON object of such lists, which is all that has to be read here.
fn numbers(json: &str, name: &str) -> Option<Vec<f64>> {
    let (_, rest) = json.split_once(&format!("\"{name}\":["))?;
    let (list, _) = rest.split_once(']')?;
    list.split(',').map(|number| number.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_name() {
        let json = r#"{"cpu":[1,20,300],"wall":[4,5,6]}"#;
        assert_eq!(numbers(json, "wall"), Some(vec![4.0, 5.0, 6.0]));
        assert_eq!(numbers(json, "cpu"), Some(vec![1.0, 20.0, 300.0]));
        assert_eq!(numbers(json, "user"), None);
        assert_eq!(numbers(r#"{"cpu":[1,x]}"#, "cpu"), None);
    }

    #[test]
    fn every_kernel_can_be_made_small() {
        let kernels = root().join("benches/kernels");
        let small = small(&kernels, &[]).unwrap();
        let folders = fs::read_dir(&kernels).unwrap().flatten().filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = folders.map(|f| f.file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(small.into_iter().map(|one| one.kernel).collect::<Vec<_>>(), names);
    }
}
