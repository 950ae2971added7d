//! `cargo xtask large`: prints a program whose top level is one large function: see [`generator`].

use lexopt::Arg::{Long, Short, Value};

use crate::Outcome;

pub mod generator;

const USAGE: &str = "\
Usage: cargo xtask large [--turns N] STATEMENTS

Prints a program in Mochi of so many statements at its top level, with five hot loops among them.

  --turns N   turns of the loops, or a part of that [10000000]
";

/// Runs the subcommand.
pub fn run(parser: &mut lexopt::Parser) -> Outcome {
    let (mut statements, mut turns) = (None, 10_000_000);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => {
                print!("{USAGE}");
                return Ok(true);
            }
            Long("turns") => turns = parser.value()?.to_string_lossy().parse()?,
            Value(n) if statements.is_none() => statements = Some(n.to_string_lossy().parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let statements = statements.ok_or_else(|| format!("a number of statements is missing\n\n{USAGE}"))?;
    print!("{}", generator::program(statements, turns));
    Ok(true)
}
