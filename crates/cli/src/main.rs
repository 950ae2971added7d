//! The `upshift` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let started = std::time::Instant::now();
    let code = match upshift_cli::args::parse(std::env::args_os().skip(1)) {
        Ok(command) => upshift_cli::commands::execute(command, started),
        Err(message) => {
            eprintln!("error: {message}\n\nTry `upshift --help`.");
            upshift_cli::commands::USAGE
        }
    };
    ExitCode::from(code)
}
