//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;
use upshift::Tier;

use crate::explain::ExplainOptions;
use crate::profile::ProfileOptions;

/// What `--help` prints.
pub const HELP: &str = "\
upshift: runs programs on the Upshift engine

Usage: upshift COMMAND [OPTIONS] FILE [ARGS]

Commands:
  run FILE [ARGS]      run a program; `-` reads it from standard input
  profile FILE [ARGS]  run a program and sample where its time goes, in all tiers
  explain FILE [ARGS]  run a program and show on its source what became of it: tiers, times, and why not faster
  check FILE           report parse and type errors without running
  test FILE|DIR        run the test blocks of a program, or of all programs in a folder
  dump --bytecode FILE print the bytecode of a program
  dump --baseline FILE print the machine code of the baseline compiler beside bytecode and source lines
  dump --ssa FILE      print the form that the optimizer makes of a program before it runs; with --passes after each pass
  dump --optimized FILE print the optimized machine code of a program before it runs

Options of run, profile, explain and test:
  --tier TIER          interp, baseline, optimized or auto (default)
  --sync               the program waits for the optimizing compiler, so that runs repeat
  --trace-tiers        say on stderr which functions went to which tier, when and why
  --code-cache SIZE    most memory for machine code (default 64M)
  --perf FORMAT        tell a profiler or debugger about machine code: map or jitdump (perf), gdb; may be repeated
  --verbose            say on stderr what is missing on this machine
  --time               say on stderr how long each phase took
  --memory-limit SIZE  most memory for the program's data: bytes, or with K, M, G
  --timeout TIME       longest run: seconds, or with ms, s, m
  --fuel N             most calls and loop turns
  --gc-stats           say on stderr what the collector did
  --gc-stress          collect at every opportunity, for testing
  --iterations N       run: run the program N times in one instance; print, instead of its output, the times as JSON
  --quiet              no warnings
  --filter TEXT        test: only test blocks whose name contains the text

Options of profile:
  --folded FILE        write folded stacks, for flame graph tools
  --svg FILE           write a flame graph; without both options NAME.folded and NAME.svg are written
  --frequency N        samples a second (default 1000)
  --grain N            calls and loop turns between looks at the clock (default 1999): fewer are exacter and slower
  --lines              tell lines of functions apart

Options of explain:
  --json               write the report as JSON
  --html               write the report as a page
  -o, --output FILE    write the report to a file, not to standard output; a page or JSON on standard output stands
                       there alone: what the program prints is discarded
  --discard            discard what the program prints
  --frequency N        samples a second (default 500)
  --guards             count how often checks of optimized code hold, too, which makes it slower

Options of check:
  --strict             the letter of the reference checker
  --explain            list slots that run would treat as dynamic, with reasons

Options of all:
  --json               diagnostics as JSON, one object a line
  -h, --help           print this
  -V, --version        print the version

Exit codes: 0 success; 1 the program has errors, failed or was stopped by a limit; 2 wrong usage, or a file that cannot
be read; 70 a bug of upshift itself; 130 interrupted. The NO_COLOR variable turns colours off.
";

/// The tiers by the names that `--tier` takes.
const TIERS: &[(&str, Tier)] = &[
    ("interp", Tier::Interpreter),
    ("baseline", Tier::Baseline),
    ("optimized", Tier::Optimized),
    ("auto", Tier::Auto),
];

/// The formats by the names that `--perf` takes.
const PERF: &[(&str, upshift::ProfileFormat)] = &[
    ("map", upshift::ProfileFormat::PerfMap),
    ("jitdump", upshift::ProfileFormat::Jitdump),
    ("gdb", upshift::ProfileFormat::Gdb),
];

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
    /// Run a program, or with [`Options::profile`] profile it, or with [`Options::report`] explain it.
    Run(Options),
    /// Check a program.
    Check(Options),
    /// Run tests.
    Test(Options),
    /// Print bytecode or machine code.
    Dump(Options),
}

/// Options of all commands.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// The program, or a folder of programs for `test`.
    pub file: PathBuf,
    /// Arguments for the program.
    pub args: Vec<OsString>,
    /// How code runs.
    pub tier: Tier,
    /// Report the decisions of the tiers.
    pub trace_tiers: bool,
    /// Most bytes of machine code.
    pub code_cache: Option<usize>,
    /// Who is told about machine code.
    pub perf: Vec<upshift::ProfileFormat>,
    /// Say what is missing.
    pub verbose: bool,
    /// Dump machine code instead of bytecode.
    pub baseline: bool,
    /// `dump --ssa`.
    pub ssa: bool,
    /// `dump --ssa --passes`: after each pass.
    pub passes: bool,
    /// `dump --optimized`.
    pub optimized: bool,
    /// Whether the program waits for the optimizing compiler.
    pub sync: bool,
    /// Report phase times.
    pub time: bool,
    /// Most bytes of the heap.
    pub memory_limit: Option<usize>,
    /// Longest run.
    pub timeout: Option<Duration>,
    /// Most units of work.
    pub fuel: Option<u64>,
    /// Report what the collector did.
    pub gc_stats: bool,
    /// Collect at every opportunity.
    pub gc_stress: bool,
    /// No warnings.
    pub quiet: bool,
    /// The letter of the reference checker.
    pub strict: bool,
    /// List dynamic slots.
    pub explain: bool,
    /// What a report is written as, and where, if there is one.
    pub report: Option<ExplainOptions>,
    /// Diagnostics as JSON.
    pub json: bool,
    /// Only tests whose name contains this.
    pub filter: Option<String>,
    /// How often the program runs, if its iterations are timed.
    pub iterations: Option<u32>,
    /// Where a profile goes, if one is taken.
    pub profile: Option<ProfileOptions>,
}

/// Reads the command line, without the program's name.
///
/// # Errors
/// A sentence about what is wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut command: Option<String> = None;
    let mut options = Options::default();
    let mut file: Option<PathBuf> = None;
    let mut bytecode = false;
    let mut profile = ProfileOptions::default();
    let mut report = ExplainOptions::default();
    while let Some(arg) = parser.next().map_err(|e| e.to_string())? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("tier") => {
                let text = text(&mut parser)?;
                let names: Vec<&str> = TIERS.iter().map(|t| t.0).collect();
                let known = TIERS.iter().find(|t| t.0 == text).map(|t| t.1);
                options.tier =
                    known.ok_or_else(|| format!("unknown tier `{text}`; there are {}", names.join(", ")))?;
            }
            Long("trace-tiers") => options.trace_tiers = true,
            Long("verbose") => options.verbose = true,
            Long("baseline") => options.baseline = true,
            Long("ssa") => options.ssa = true,
            Long("passes") => options.passes = true,
            Long("optimized") => options.optimized = true,
            Long("sync") => options.sync = true,
            Long("code-cache") => {
                options.code_cache = Some(size("--code-cache", &text(&mut parser)?)?);
            }
            Long("perf") => {
                let text = text(&mut parser)?;
                let format = PERF.iter().find(|p| p.0 == text).map(|p| p.1);
                let format = format
                    .ok_or_else(|| format!("unknown format `{text}`; there are map, jitdump and gdb"))?;
                options.perf.push(format);
            }
            Long("time") => options.time = true,
            Long("gc-stats") => options.gc_stats = true,
            Long("gc-stress") => options.gc_stress = true,
            Long("quiet") | Short('q') => options.quiet = true,
            Long("strict") => options.strict = true,
            Long("explain") => options.explain = true,
            Long("html") => report.html = true,
            Long("discard") => report.discard = true,
            Long("guards") => report.guards = true,
            Long("output") | Short('o') => report.output = Some(path(&mut parser)?),
            Long("json") => options.json = true,
            Long("bytecode") => bytecode = true,
            Long("iterations") => {
                let text = text(&mut parser)?;
                let number = text.parse().ok().filter(|&n| n > 0);
                options.iterations =
                    Some(number.ok_or_else(|| format!("`--iterations {text}` is not a number from 1 on"))?);
            }
            Long("folded") => profile.folded = Some(path(&mut parser)?),
            Long("svg") => profile.svg = Some(path(&mut parser)?),
            Long("frequency") => {
                let most = upshift::profile::sampler::MAX_FREQUENCY;
                let number = number("--frequency", &text(&mut parser)?, most)?;
                profile.sampling.frequency = number;
                report.frequency = Some(number);
            }
            Long("grain") => {
                profile.sampling.portion = number("--grain", &text(&mut parser)?, 10_000)?;
            }
            Long("lines") => profile.lines = true,
            Long("filter") => options.filter = Some(text(&mut parser)?),
            Long("memory-limit") => options.memory_limit = Some(size("--memory-limit", &text(&mut parser)?)?),
            Long("timeout") => options.timeout = Some(duration(&text(&mut parser)?)?),
            Long("fuel") => {
                let text = text(&mut parser)?;
                options.fuel = Some(text.parse().map_err(|_| format!("`--fuel {text}` is not a number"))?);
            }
            Value(value) if command.is_none() => {
                let text = value.into_string().map_err(|v| format!("unknown command {v:?}"))?;
                command = Some(text);
            }
            Value(value) => {
                file = Some(PathBuf::from(value));
                // What follows the file belongs to the program, options included. Only commands that run nothing still
                // take options of their own.
                if matches!(command.as_deref(), Some("run" | "profile" | "explain")) {
                    options.args = parser.raw_args().map_err(|e| e.to_string())?.collect();
                    break;
                }
            }
            Short(_) | Long(_) => return Err(arg.unexpected().to_string()),
        }
    }
    let Some(command) = command else { return Err("no command given".to_string()) };
    if !matches!(command.as_str(), "run" | "profile" | "explain" | "check" | "test" | "dump") {
        let known = "run, profile, explain, check, test and dump";
        return Err(format!("unknown command `{command}`; there are {known}"));
    }
    options.file = file.ok_or_else(|| format!("`upshift {command}` needs a file"))?;
    Ok(match command.as_str() {
        "run" => Command::Run(options),
        "profile" => Command::Run(Options { profile: Some(profile), ..options }),
        "explain" => Command::Run(Options { report: Some(report), ..options }),
        "check" => Command::Check(options),
        "test" => Command::Test(options),
        _ if bytecode || options.baseline || options.ssa || options.optimized => Command::Dump(options),
        _ => {
            return Err(
                "`upshift dump` needs to know what to print: --bytecode, --baseline, --ssa or --optimized"
                    .to_string(),
            );
        }
    })
}

fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value = parser.value().map_err(|e| e.to_string())?;
    value.into_string().map_err(|v| format!("{v:?} is not valid text"))
}

fn path(parser: &mut lexopt::Parser) -> Result<PathBuf, String> {
    parser.value().map(PathBuf::from).map_err(|e| e.to_string())
}

fn number(option: &str, text: &str, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|n| (1..=most).contains(n));
    number.ok_or_else(|| format!("`{option} {text}` is not a number from 1 to {most}"))
}

/// A number with a unit behind it.
fn number_with_unit(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, &text[end..]))
}

fn size(option: &str, text: &str) -> Result<usize, String> {
    let wrong = || format!("`{option} {text}` is not a size; write bytes, or a number with K, M or G");
    let (number, unit) = number_with_unit(text).ok_or_else(wrong)?;
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "K" | "KB" | "KIB" => 1024.0,
        "M" | "MB" | "MIB" => 1024.0 * 1024.0,
        "G" | "GB" | "GIB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    Ok((number * factor) as usize)
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`--timeout {text}` is not a time; write seconds, or a number with ms, s or m");
    let (number, unit) = number_with_unit(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "" | "s" => number,
        "ms" => number / 1000.0,
        "m" => number * 60.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_behind_the_file_belong_to_the_program() {
        let Ok(Command::Run(options)) = parse_words("run --fuel 10 a.mochi --fuel 20 x") else { panic!() };
        assert_eq!(options.fuel, Some(10));
        assert_eq!(options.args, ["--fuel", "20", "x"]);
    }

    #[test]
    fn sizes_and_times_take_units() {
        assert_eq!(size("--memory-limit", "64M"), Ok(64 << 20));
        assert_eq!(size("--memory-limit", "100"), Ok(100));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert!(size("--memory-limit", "many").is_err());
        assert!(duration("2 weeks").is_err());
        assert!(duration("99999999999999999999999").is_err());
    }

    #[test]
    fn wrong_usage_is_explained() {
        for (line, part) in [
            ("", "no command"),
            ("fly a.mochi", "unknown command `fly`"),
            ("run", "needs a file"),
            ("run --tier quantum a", "unknown tier"),
            ("dump a.mochi", "--bytecode"),
            ("check --frobnicate a", "frobnicate"),
            ("run --iterations none a", "from 1 on"),
            ("profile --frequency 0 a", "from 1 to"),
            ("profile --grain 20000 a", "from 1 to 10000"),
        ] {
            let error = parse_words(line).expect_err("must be rejected");
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
