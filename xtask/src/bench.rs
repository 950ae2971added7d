//! `cargo xtask bench`: compares the engine with its peers and measures memory, start-up and large programs.
//!
//! Every figure comes from whole processes, measured from outside (CPU time and peak memory as the kernel counts
//! them for that child), so that start-up, compiling and collecting are part of it. Contestants take turns within
//! one run, because a machine changes its speed over minutes; only ratios of one run are worth quoting.
//! Nothing here asserts on time: a missed target is shown, a wrong answer fails.

mod chart;
pub mod child;
mod contestant;
mod corpus;
pub mod json;
mod kernels;
mod lines;
mod memory;
pub mod page;
pub mod progress;
pub mod report;
mod startup;
mod summary;
mod targets;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;

use crate::{Outcome, root};
use contestant::Contestant;
use json::Json;

const USAGE: &str = "\
Usage: cargo xtask bench [MODE] [OPTIONS]

Modes (without one: the kernels of benches/kernels, tier by tier against the peers; without filters with start-up
and a program of 10,000 lines too. Writes target/bench/: index.html with charts, results.json, tables.md; with a
choice of kernels, peers or tiers target/bench/part/, so that the whole report stays)
  --memory          the programs of benches/memory: wall time, peak memory, collector pauses
  --lines           generated programs of 10,000 and 100,000 lines
  --startup         hello world
  --corpus          every program of programs/ and examples/, one tier against another

Options
  --filter NAME     only kernels or programs whose name contains NAME (may be repeated)
  --peers LIST      of gcc, gcc-noinline, clang, luajit, luajit-joff, lua5.4, node, node-noopt, python3, pypy3;
                    or `all`, or `none`; default: all that are installed but python3, which is slow, and
                    gcc-noinline for fib and tak alone
  --tiers LIST      run Upshift once per tier (interp, baseline, optimized, auto), and compare with the first;
                    default for kernels: all four, for --corpus: interp,baseline, else auto
  --instructions    --corpus: count the instructions of short programs with Valgrind, which is slow and exact
  --repeat N        runs of each; default 5 (50 for --startup)
  --patience SECS   kernels: who takes more CPU time than this is not run again; default 3
  --json FILE       write the figures to FILE as well
  --bin PATH        the `upshift` to measure; default: build target/release/upshift
  --no-build        do not build, take target/release/upshift as it is
  --peers-only      leave Upshift out
  -h, --help
";

/// The options that all modes share.
struct Options {
    filters: Vec<String>,
    /// Kernels, peers or tiers were chosen: the figures are a part of the whole report.
    part: bool,
    repeat: Option<usize>,
    patience: Option<Duration>,
    instructions: bool,
    json: Option<PathBuf>,
    upshift: Vec<Contestant>,
    peers: Vec<Contestant>,
}

impl Options {
    /// Whether a kernel or program is to be run.
    fn selects(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }

    /// The engine under test, for modes that are about nothing else.
    fn engine(&self) -> Result<&Contestant, Box<dyn Error>> {
        self.upshift.first().ok_or_else(|| "this mode measures Upshift: drop --peers-only".into())
    }

    /// What the contestants say about their versions, each version once.
    fn versions(&self) -> Vec<String> {
        let mut versions = Vec::new();
        let mut seen = Vec::new();
        for contestant in self.upshift.iter().chain(&self.peers) {
            let version = contestant.version();
            if !seen.contains(&version) {
                versions.push(format!("{}: {version}", contestant.name));
                seen.push(version);
            }
        }
        versions
    }

    /// Writes the figures where `--json` says, with what identifies the machine.
    fn write_json(&self, mode: &str, figures: Json) -> Result<(), Box<dyn Error>> {
        self.write(&self.document(mode, figures, Vec::new()))
    }

    /// The figures with what identifies the machine before them and more fields after them.
    fn document(&self, mode: &str, figures: Json, more: Vec<(String, Json)>) -> Json {
        let versions = self
            .peers
            .iter()
            .chain(&self.upshift)
            .map(|c| (c.name.clone(), Json::Text(c.version())))
            .collect();
        let mut fields = vec![
            ("mode".into(), Json::Text(mode.into())),
            ("machine".into(), Json::Text(report::machine())),
            ("versions".into(), Json::Object(versions)),
            ("results".into(), figures),
        ];
        fields.extend(more);
        Json::Object(fields)
    }

    /// Writes a document where `--json` says.
    fn write(&self, document: &Json) -> Result<(), Box<dyn Error>> {
        let Some(path) = &self.json else { return Ok(()) };
        fs::write(path, format!("{document}\n")).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(())
    }
}

/// What is to be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Kernels,
    Memory,
    Lines,
    Startup,
    Corpus,
}

/// Runs the subcommand on the rest of the arguments.
pub fn run(parser: &mut lexopt::Parser) -> Outcome {
    let mut mode = Mode::Kernels;
    let mut filters = Vec::new();
    let mut peers: Option<String> = None;
    let mut tiers: Option<String> = None;
    let mut repeat = None;
    let mut patience = None;
    let mut json = None;
    let mut bin: Option<PathBuf> = None;
    let mut build = true;
    let mut peers_only = false;
    let mut instructions = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("memory") => mode = Mode::Memory,
            Long("lines") => mode = Mode::Lines,
            Long("startup") => mode = Mode::Startup,
            Long("corpus") => mode = Mode::Corpus,
            Long("filter") => filters.push(parser.value()?.string()?),
            Long("peers") => peers = Some(parser.value()?.string()?),
            // One or several: either word reads well.
            Long("tier" | "tiers") => tiers = Some(parser.value()?.string()?),
            Long("repeat") => repeat = Some(parser.value()?.parse::<usize>()?.max(1)),
            Long("patience") => patience = Some(Duration::from_secs_f64(seconds(parser.value()?.parse()?)?)),
            Long("json") => json = Some(PathBuf::from(parser.value()?)),
            Long("bin") => bin = Some(PathBuf::from(parser.value()?)),
            Long("no-build") => build = false,
            Long("peers-only") => peers_only = true,
            Long("instructions") => instructions = true,
            Short('h') | Long("help") => {
                print!("{USAGE}");
                return Ok(true);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    // All peers are more than the whole report needs.
    let chosen = peers.as_ref().is_some_and(|peers| peers != "all") || tiers.is_some() || peers_only;
    let part = chosen || !filters.is_empty();
    if mode == Mode::Corpus {
        peers = Some("none".to_owned());
        tiers.get_or_insert_with(|| "interp,baseline".to_owned());
    }
    if mode == Mode::Kernels {
        tiers.get_or_insert_with(|| "interp,baseline,optimized,auto".to_owned());
    }
    // A misspelt peer is found out before a long build.
    let peers = contestant::peers(peers.as_deref())?;
    let upshift = if peers_only {
        Vec::new()
    } else {
        contestant::upshift(&upshift_binary(bin, build)?, tiers.as_deref())
    };
    let options = Options { filters, part, repeat, patience, instructions, json, upshift, peers };
    let outcome = match mode {
        Mode::Kernels => kernels::run(&options),
        Mode::Memory => memory::run(&options),
        Mode::Lines => lines::run(&options),
        Mode::Startup => startup::run(&options),
        Mode::Corpus => corpus::run(&options),
    };
    contestant::remove_scratch();
    outcome
}

/// Where the reports of a mode go: a part of the figures beside the whole report, which takes long to make, and not over it.
/// Figures of two runs are not mixed, since only ratios of one run are worth something.
///
/// # Errors
/// The folder cannot be made.
pub fn reports(part: bool) -> Result<PathBuf, Box<dyn Error>> {
    let whole = root().join("target/bench");
    let directory = if part { whole.join("part") } else { whole };
    fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    Ok(directory)
}

/// A number of seconds that makes sense.
fn seconds(value: f64) -> Result<f64, Box<dyn Error>> {
    if (0.0..1e6).contains(&value) { Ok(value) } else { Err(format!("{value} seconds").into()) }
}

/// Finds the `upshift` to measure: the one named, or the release build, made up to date first.
pub fn upshift_binary(bin: Option<PathBuf>, build: bool) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = bin {
        return match path.canonicalize() {
            Ok(path) => Ok(path),
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        };
    }
    if build {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--package", "upshift-cli"])
            .current_dir(root())
            .status()?;
        if !status.success() {
            return Err("the release build failed".into());
        }
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let path = target.join("release").join(format!("upshift{}", std::env::consts::EXE_SUFFIX));
    if path.exists() { Ok(path) } else { Err(format!("{} does not exist", path.display()).into()) }
}
