//! Micro-benchmarks: builds and runs `benches/micro`, which prints tables and writes `target/bench/micro.json`.
//!
//! A process of its own, so that this command stays quick to build.

use std::process::Command;

use lexopt::Arg::{Long, Short, Value};

use crate::{Outcome, root};

const USAGE: &str = "\
Usage: cargo xtask micro [OPTIONS] [FILTER]

What compiling costs by phase, what operators cost in each tier, what calls, exits and collections cost, and when compiling pays.
With a filter only the benchmarks whose name contains it.

Options:
  --profile NAME   the profile that is measured (default: bench, which is release)
  --verbose        show each benchmark with its bounds
";

/// Runs the subcommand.
pub fn run(parser: &mut lexopt::Parser) -> Outcome {
    let (mut filter, mut profile, mut verbose) = (None, None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(value) if filter.is_none() => filter = Some(value),
            Long("profile") => profile = Some(parser.value()?),
            Long("verbose") => verbose = true,
            Short('h') | Long("help") => {
                print!("{USAGE}");
                return Ok(true);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(["bench", "--quiet", "-p", "upshift-micro", "--bench", "micro"]);
    if let Some(profile) = profile {
        command.arg("--profile").arg(profile);
    }
    command.arg("--");
    command.args(filter).args((!verbose).then_some("--quiet"));
    Ok(command.status()?.success())
}
