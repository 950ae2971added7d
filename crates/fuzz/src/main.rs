//! Generated programs in every tier, for as long as one likes. `cargo xtask fuzz` starts it.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;
use upshift_fuzz::campaign::{self, Kind, Options, Subject};

const USAGE: &str = "\
Usage: cargo xtask fuzz [OPTIONS]
       cargo xtask fuzz [--mochi | --bytecode] show SEED
       cargo xtask fuzz one FILE SCHEDULE

Runs generated programs in the interpreter and under schedules of tiers, and compares. What differs is made smaller and written
to a directory. `show` prints a program, `one` compares a program under one schedule.

Options:
  --seed N         the first number (default: from the clock); a campaign that ends says with which the next one goes on
  --count N        so many programs
  --seconds N      for so long (default: 60, if there is no count)
  --jobs N         so many processes at once (default: 2)
  --schedules N    schedules for each program that optimize (default: 2), beside the interpreter and, in every second
                   program, the baseline compiler
  --mochi, --bytecode   programs of this kind only
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
        kind: Kind::Both,
        seed: std::time::UNIX_EPOCH.elapsed()?.as_secs() << 20,
        count: u64::MAX,
        time: Duration::MAX,
        jobs: 2,
        schedules: 2,
        out: "target/fuzz".into(),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => {
                let rest: Vec<String> = parser.raw_args()?.map(|a| a.string()).collect::<Result<_, _>>()?;
                return subcommand(options.kind, &word.string()?, &rest);
            }
            Long("mochi") => options.kind = Kind::Mochi,
            Long("bytecode") => options.kind = Kind::Bytecode,
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

fn subcommand(kind: Kind, word: &str, rest: &[String]) -> Result<u8, Box<dyn Error>> {
    let number = |i: usize| -> Result<u64, Box<dyn Error>> {
        Ok(rest.get(i).ok_or("an argument is missing")?.parse()?)
    };
    match word {
        "child" => {
            let kind = match rest.first().map_or("", |k| k) {
                "Mochi" => Kind::Mochi,
                "Bytecode" => Kind::Bytecode,
                _ => Kind::Both,
            };
            campaign::child(kind, number(1)?, number(2)?, number(3)?);
        }
        "show" => print!("{}", Subject::new(kind, number(0)?).text()),
        "one" => {
            let path = rest.first().ok_or("a file is missing")?;
            return Ok(campaign::one(Path::new(path), number(1)?, rest.get(2).is_none_or(|w| w != "quiet"))?);
        }
        other => return Err(format!("unknown command `{other}`\n\n{USAGE}").into()),
    }
    Ok(0)
}
