//! Generated programs in every tier: builds `crates/fuzz` optimized and starts it.
//!
//! A process of its own, so that this command stays quick to build.

use std::process::Command;

use crate::{Outcome, root};

/// Runs the subcommand.
pub fn run(parser: &mut lexopt::Parser) -> Outcome {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(["run", "--quiet", "--profile", "fuzz", "-p", "upshift-fuzz", "--"]);
    command.args(parser.raw_args()?);
    Ok(command.status()?.success())
}
