//! Everything that Cargo does not do: benchmarks and generated documents, long tests.
//!
//! Each subcommand is a module with a `run` function that takes the rest of the arguments. Nothing here is used
//! by the engine, and nothing here is needed to build or to test it.
#![forbid(unsafe_code)]

mod bench;
mod docs;
mod fuzz;
mod large;
mod micro;
mod stencils;
mod warmup;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::Arg::{Long, Short, Value};

/// What a subcommand returns: whether it found everything in order, or why it could not tell.
type Outcome = Result<bool, Box<dyn Error>>;

const USAGE: &str = "\
Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  bench   compare Upshift with its peers; measure memory, start-up, large programs
  docs    write the generated pages of the book
  fuzz    run generated programs in every tier, compare, and make what differs small
  warmup  time iterations of the kernels in many processes, and say how they warm up
  large   print a program that is one large function with hot loops in it
  micro   time phases of compiling, operators, calls, exits, collections
  stencils  compile the stencils of the baseline compiler (needs clang-19)

`cargo xtask COMMAND --help` lists the options of a command.
";

fn main() -> ExitCode {
    match dispatch() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn dispatch() -> Outcome {
    let mut parser = lexopt::Parser::from_env();
    match parser.next()? {
        Some(Value(command)) if command == "bench" => bench::run(&mut parser),
        Some(Value(command)) if command == "docs" => docs::run(&mut parser),
        Some(Value(command)) if command == "fuzz" => fuzz::run(&mut parser),
        Some(Value(command)) if command == "large" => large::run(&mut parser),
        Some(Value(command)) if command == "warmup" => warmup::run(&mut parser),
        Some(Value(command)) if command == "micro" => micro::run(&mut parser),
        Some(Value(command)) if command == "stencils" => stencils::run(&mut parser),
        Some(Short('h') | Long("help")) => {
            print!("{USAGE}");
            Ok(true)
        }
        None => Err(format!("a command is missing\n\n{USAGE}").into()),
        Some(Value(command)) => {
            Err(format!("unknown command `{}`\n\n{USAGE}", command.to_string_lossy()).into())
        }
        Some(other) => Err(other.unexpected().into()),
    }
}

/// The directory of the workspace.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}
