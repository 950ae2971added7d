//! Generated programs in every tier, for as long as one likes. `cargo xtask fuzz` starts it.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;
use upshift_fuzz::campaign::{self, Options};
use upshift_fuzz::mochi;
use upshift_fuzz::tree::render;

const USAGE: &str = "\
Usage: cargo xtask fuzz [OPTIONS]
       cargo xtask fuzz show SEED
       cargo xtask fuzz one FILE SCHEDULE

Runs generated programs in the interpreter and under schedules of tiers, and compares. What differs is made smaller and written
to a directory. `show` prints a program, `one` compares a program under one schedule.

Options:
  --seed N         the first number (default: from the clock)
  --count N        so many programs
  --seconds N      for so long (default: 60, if there is no count)
  --jobs N         so many processes at once (default: 2)
  --schedules N    random schedules for each program, beside the five fixed ones (default: 4)
  --out DIR        where finds go (default: target/fuzz)
";

fn main() -> ExitCode {
    match dispatch() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn dispatch() -> Result<u8, Box<dyn Error>> {
    let mut parser = lexopt::Parser::from_env();
    let mut options = Options {
        seed: std::time::UNIX_EPOCH.elapsed()?.as_secs() << 20,
        count: u64::MAX,
        time: Duration::MAX,
        jobs: 2,
        schedules: 4,
        out: "target/fuzz".into(),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => {
                let rest: Vec<String> = parser.raw_args()?.map(|a| a.string()).collect::<Result<_, _>>()?;
                return subcommand(&word.string()?, &rest);
            }
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("count") => options.count = parser.value()?.parse()?,
            Long("seconds") => options.time = Duration::from_secs(parser.value()?.parse()?),
            Long("jobs") => options.jobs = parser.value()?.parse()?,
            Long("schedules") => options.schedules = parser.value()?.parse()?,
            Long("out") => options.out = parser.value()?.into(),
            Short('h') | Long("help") => {
                print!("{USAGE}");
                return Ok(0);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if options.count == u64::MAX && options.time == Duration::MAX {
        options.time = Duration::from_secs(60);
    }
    println!("from seed {}", options.seed);
    Ok(u8::from(campaign::campaign(&options)? > 0))
}

fn subcommand(word: &str, rest: &[String]) -> Result<u8, Box<dyn Error>> {
    let number = |i: usize| -> Result<u64, Box<dyn Error>> {
        Ok(rest.get(i).ok_or("an argument is missing")?.parse()?)
    };
    match word {
        "child" => campaign::child(number(0)?, number(1)?, number(2)?),
        "show" => print!("{}", render(&mochi::program(number(0)?))),
        "one" => {
            let text = std::fs::read_to_string(&rest[0])?;
            return Ok(campaign::one(&text, number(1)?, rest.len() > 2));
        }
        other => return Err(format!("unknown command `{other}`\n\n{USAGE}").into()),
    }
    Ok(0)
}
