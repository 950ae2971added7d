//! The commands. Programs write to standard output; everything that upshift says itself goes to standard error.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use upshift::bytecode::TrapCode;
use upshift::{Config, Grants, Instance, InterruptHandle, Limits, LoadError, RunError};
use upshift_mochi::check::{Mode, check};
use upshift_mochi::lower::Tests;
use upshift_mochi::testing::TestReport;

use crate::args::{Command, HELP, Options};
use crate::disassembly;
use crate::explain::{self, Explained};
use crate::iterations::Iterations;
use crate::profile::{self, Files};
use crate::report::{self, Style};
use crate::session::{self, Parsed, Phases};

/// Exit code of a run without errors.
pub const OK: u8 = 0;
/// Exit code where the program has errors, fails, or reaches a limit.
pub const FAILED: u8 = 1;
/// Exit code of wrong usage, and of files that cannot be read.
pub const USAGE: u8 = 2;
/// Exit code of a bug in upshift itself.
pub const INTERNAL: u8 = 70;
/// Exit code of an interrupted run.
pub const INTERRUPTED: u8 = 130;

/// How long a program that does not reach a safepoint may go on after Ctrl-C.
const GRACE: Duration = Duration::from_millis(300);

/// Carries out a command; gives the exit code. `started` is when the process began.
pub fn execute(command: Command, started: Instant) -> u8 {
    match command {
        Command::Help => {
            say(HELP);
            OK
        }
        Command::Version => {
            say(&format!("upshift {}\n", env!("CARGO_PKG_VERSION")));
            OK
        }
        Command::Run(options) => run(&options, started),
        Command::Check(options) => check_program(&options),
        Command::Test(options) => test(&options),
        Command::Dump(options) => dump(&options),
    }
}

/// Writes to standard output. A reader that went away is no error: it has seen what it wanted.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether a run ended because nobody reads its output any more.
fn is_broken_pipe(error: &RunError) -> bool {
    error.code() == TrapCode::HostError && error.message().contains("Broken pipe")
}

/// Reads and parses, reporting what is wrong.
fn load_program(path: &Path, options: &Options, style: Style, phases: &mut Phases) -> Result<Parsed, u8> {
    let (name, bytes) = phases.time("read", || session::read(path)).map_err(|error| {
        eprintln!("error: {}", error.0);
        USAGE
    })?;
    let mut parsed = session::parse_program(&name, bytes, phases);
    session::find_unsupported(&mut parsed, phases);
    if !options.quiet || parsed.has_errors() {
        eprint!("{}", report::diagnostics(&parsed.sources, &parsed.diagnostics, style));
    }
    if parsed.has_errors() { Err(FAILED) } else { Ok(parsed) }
}

fn limits(options: &Options) -> Limits {
    let mut limits = Limits::default();
    limits.memory = options.memory_limit;
    limits.fuel = options.fuel;
    limits.timeout = options.timeout;
    limits
}

fn config(options: &Options) -> Config {
    let mut config = Config::default();
    config.tier = options.tier;
    config.gc_stress = options.gc_stress;
    if let Some(bytes) = options.code_cache {
        config.tiers.code_cache = bytes;
    }
    config.tiers.sync = options.sync;
    config.tiers.count_held = options.report.as_ref().is_some_and(|report| report.guards);
    config.profile.clone_from(&options.perf);
    config
}

/// A module that cannot be loaded: the tier is missing, or the front end made a mistake.
fn load_failed(error: &LoadError) -> u8 {
    if let LoadError::AbsentTier(_) = error {
        eprintln!("error: {error}");
        return USAGE;
    }
    eprintln!("internal error: the front end made a module that cannot be loaded: {error}");
    eprintln!("This is a bug of upshift; please report it with the program.");
    INTERNAL
}

/// Standard input that says while somebody waits for it.
struct Input {
    stdin: std::io::BufReader<std::io::Stdin>,
    waiting: Arc<AtomicBool>,
}

impl std::io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.waiting.store(true, Ordering::Release);
        let result = self.stdin.read(buffer);
        self.waiting.store(false, Ordering::Release);
        result
    }
}

impl std::io::BufRead for Input {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.waiting.store(true, Ordering::Release);
        let result = self.stdin.fill_buf();
        self.waiting.store(false, Ordering::Release);
        result
    }
    fn consume(&mut self, count: usize) {
        self.stdin.consume(count);
    }
}

/// Everything that the process has, and whether the program waits for input.
fn grants() -> (Grants, Arc<AtomicBool>) {
    let waiting = Arc::new(AtomicBool::new(false));
    let stdin = Input { stdin: std::io::BufReader::new(std::io::stdin()), waiting: waiting.clone() };
    (Grants::all().stdin(stdin), waiting)
}

/// Ctrl-C stops the guest at its next safepoint. Where it reaches none the process ends: at once while the program waits for
/// input (its output was flushed before), else after a moment.
fn on_interrupt(handle: InterruptHandle, waiting: Arc<AtomicBool>) {
    let result = ctrlc::set_handler(move || {
        handle.interrupt();
        if !waiting.load(Ordering::Acquire) {
            std::thread::sleep(GRACE);
        }
        std::process::exit(i32::from(INTERRUPTED));
    });
    // Without a handler Ctrl-C ends the process at once, which is all that is lost.
    drop(result);
}

fn exit_code(error: &RunError) -> u8 {
    match error.code() {
        TrapCode::Interrupted => INTERRUPTED,
        TrapCode::Exit => error.status().and_then(|s| u8::try_from(s).ok()).unwrap_or(FAILED),
        _ => FAILED,
    }
}

fn run(options: &Options, started: Instant) -> u8 {
    let style = Style::detect(options.json);
    let mut phases = Phases::default();
    let files = match options.profile.as_ref().map(|p| Files::open(p, &options.file)).transpose() {
        Ok(files) => files,
        Err(error) => {
            eprintln!("error: {error}");
            return USAGE;
        }
    };
    let output = match options.report.as_ref().map(|r| r.open()).transpose() {
        Ok(output) => output.flatten(),
        Err(error) => {
            eprintln!("error: {error}");
            return USAGE;
        }
    };
    let engine = session::engine(config(options));
    let mut parsed = match load_program(&options.file, options, style, &mut phases) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let compiled = session::compile(&mut parsed, Tests::Inline, &mut phases);
    if !options.quiet
        && style != Style::Json
        && let Some(line) = report::demotions_line(&compiled.types)
    {
        eprint!("{line}");
    }
    let code = match session::load(&engine, &compiled.module, &mut phases) {
        Ok(code) => code,
        Err(error) => return load_failed(&error),
    };
    drop(compiled);
    let (mut grants, waiting) = grants();
    if options.report.as_ref().is_some_and(|r| r.discards(options.json)) {
        grants = grants.stdout(std::io::sink());
    }
    let mut iterations = None;
    if let Some(count) = options.iterations {
        let (muted, all) = Iterations::new(count, grants);
        (grants, iterations) = (muted, Some(all));
    }
    let instance = phases.time("start", || engine.instantiate(&code, grants, limits(options)));
    let mut instance = match instance {
        Ok(instance) => instance,
        Err(error) => {
            eprintln!("error: {error}");
            return FAILED;
        }
    };
    on_interrupt(instance.interrupt_handle(), waiting);
    if let Some(profile) = &options.profile
        && !instance.start_sampling_with(profile.sampling)
    {
        eprintln!("error: the system gives no thread for the profiler's clock");
        return FAILED;
    }
    if let Some(report) = &options.report
        && !instance.start_explaining(report.frequency.unwrap_or(explain::FREQUENCY))
    {
        eprintln!("error: the system gives no thread for the report's clock");
        return FAILED;
    }
    let result = phases.time("run", || match &mut iterations {
        None => instance.run(),
        Some(iterations) => iterations.run(&mut instance),
    });
    let explained = instance.stop_explaining();
    let sampled = instance.stop_sampling();
    let mut exit = match &result {
        Ok(()) => OK,
        Err(error) => {
            if error.code() != TrapCode::Exit && !is_broken_pipe(error) {
                eprint!("{}", report::run_error(&parsed.sources, error, style));
            }
            exit_code(error)
        }
    };
    if let Some(iterations) = iterations
        && result.is_ok()
    {
        match iterations.report() {
            Ok(times) => say(&times),
            Err(error) => {
                eprintln!("error: {error}");
                exit = FAILED;
            }
        }
    }
    if let (Some(sampled), Some(files)) = (sampled, files) {
        let lines = options.profile.as_ref().is_some_and(|p| p.lines);
        eprint!("{}", profile::table(&sampled));
        match files.write(&sampled, lines, &options.file.display().to_string()) {
            Ok(paths) => paths.iter().for_each(|path| eprintln!("profile: {}", path.display())),
            Err(error) => {
                eprintln!("error: {error}");
                exit = exit.max(FAILED);
            }
        }
    }
    if let (Some(wanted), Some(report)) = (&options.report, explained) {
        let program = options.file.display().to_string();
        let explained = Explained { report: &report, sources: &parsed.sources, program: &program };
        let written = match output {
            None => {
                say(&wanted.render(&explained, options.json));
                Ok(())
            }
            Some(mut file) => file.write_all(wanted.render(&explained, options.json).as_bytes()),
        };
        if let Err(error) = written {
            eprintln!("error: cannot write the report: {error}");
            exit = exit.max(FAILED);
        }
    }
    if options.gc_stats {
        gc_stats(&instance);
    }
    if options.trace_tiers {
        trace_tiers(&instance);
    }
    if options.verbose
        && let Some(problem) = engine.machine_code_problem()
    {
        eprintln!("note: no machine code: {problem}");
    }
    if options.verbose
        && let Some(problem) = engine.profile_problem()
    {
        eprintln!("note: {problem}");
    }
    engine.finish_profiles();
    if options.time {
        phase_times(&phases, started);
    }
    // The process ends: giving a large heap back piece by piece would only take time.
    std::mem::forget(instance);
    exit
}

fn gc_stats(instance: &Instance) {
    let stats = instance.heap_stats();
    eprintln!(
        "gc: minor {}, max pause {} us ({} us of cpu), major {}, max pause {} us ({} us of cpu), total {} us, allocated {} bytes, promoted {} bytes, peak {} bytes",
        stats.minor,
        stats.max_minor_pause.as_micros(),
        stats.max_minor_cpu.as_micros(),
        stats.major,
        stats.max_major_pause.as_micros(),
        stats.max_major_cpu.as_micros(),
        stats.total_pause.as_micros(),
        stats.allocated,
        stats.promoted,
        stats.peak,
    );
}

fn trace_tiers(instance: &Instance) {
    for event in instance.tier_events() {
        eprintln!("tier: {event}");
    }
    let c = instance.tier_counters();
    let each = |total: u64, per: u64| total as f64 / per.max(1) as f64;
    eprintln!(
        "tier: {} functions compiled, {} instructions, {} bytes ({:.1} each), {:.3} ms ({:.1} ns each); {} entries, {} exits, {} evicted",
        c.compiled,
        c.instructions,
        c.bytes,
        each(c.bytes, c.instructions),
        c.compile_nanos as f64 / 1e6,
        each(c.compile_nanos, c.instructions),
        c.entered,
        c.exits,
        c.evicted,
    );
}

fn phase_times(phases: &Phases, started: Instant) {
    for (name, time) in &phases.0 {
        eprintln!("time: {name:8} {:10.3} ms", time.as_secs_f64() * 1e3);
    }
    eprintln!("time: {:8} {:10.3} ms", "total", started.elapsed().as_secs_f64() * 1e3);
}

fn check_program(options: &Options) -> u8 {
    let style = Style::detect(options.json);
    let mut phases = Phases::default();
    let (name, bytes) = match session::read(&options.file) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("error: {}", error.0);
            return USAGE;
        }
    };
    let mut parsed = session::parse_program(&name, bytes, &mut phases);
    if !parsed.has_errors() {
        let mode = if options.strict { Mode::Strict } else { Mode::Check };
        let idle = upshift_mochi::syntax::idle_statements(&parsed.program);
        parsed.diagnostics.extend(idle);
        let found = check(&parsed.program, &parsed.names, &parsed.sources, mode);
        parsed.diagnostics.extend(found.diagnostics);
    }
    eprint!("{}", report::diagnostics(&parsed.sources, &parsed.diagnostics, style));
    let failed = parsed.has_errors();
    let errors = parsed.diagnostics.len();
    if style != Style::Json && failed {
        eprintln!("{errors} {} in {name}", if errors == 1 { "error" } else { "errors" });
    }
    if options.explain {
        parsed.diagnostics.clear();
        let compiled = session::compile(&mut parsed, Tests::Inline, &mut phases);
        say(&report::demotions(&parsed.sources, &compiled.types));
    }
    if failed { FAILED } else { OK }
}

fn dump(options: &Options) -> u8 {
    let style = Style::detect(options.json);
    let mut phases = Phases::default();
    let mut parsed = match load_program(&options.file, options, style, &mut phases) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let compiled = session::compile(&mut parsed, Tests::Inline, &mut phases);
    if options.ssa || options.optimized {
        let engine = session::engine(config(options));
        return match session::load(&engine, &compiled.module, &mut phases) {
            Ok(code) => {
                let sources: Vec<&str> = parsed.sources.files().map(|(_, f)| f.text()).collect();
                say(&if options.ssa {
                    code.ssa(options.passes)
                } else {
                    disassembly::optimized(&compiled.module, &code, &sources)
                });
                OK
            }
            Err(error) => load_failed(&error),
        };
    }
    if options.baseline {
        let engine = session::engine(config(options));
        let code = match session::load(&engine, &compiled.module, &mut phases) {
            Ok(code) => code,
            Err(error) => return load_failed(&error),
        };
        let sources: Vec<&str> = parsed.sources.files().map(|(_, f)| f.text()).collect();
        match disassembly::baseline(&compiled.module, &code, &sources) {
            Ok(text) => say(&text),
            Err(problem) => {
                eprintln!("error: {problem}");
                return FAILED;
            }
        }
        return OK;
    }
    let sources: Vec<String> = parsed.sources.files().map(|(_, f)| f.text().to_string()).collect();
    let text = upshift::bytecode::text::dump(&compiled.module, |source| {
        sources.get(source as usize).map(String::as_str)
    });
    say(&text);
    OK
}

// ---- Tests ----

/// All programs in a folder, in order of their paths.
fn programs_in(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            programs_in(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "mochi") {
            found.push(path);
        }
    }
    Ok(())
}

fn test(options: &Options) -> u8 {
    let mut files = Vec::new();
    if options.file.is_dir() {
        if let Err(error) = programs_in(&options.file, &mut files) {
            eprintln!("error: cannot read `{}`: {error}", options.file.display());
            return USAGE;
        }
    } else {
        files.push(options.file.clone());
    }
    let (mut passed, mut failed, mut worst) = (0, 0, OK);
    for file in files {
        match test_file(&file, options) {
            Ok(report) => {
                for outcome in &report.outcomes {
                    let mark = if outcome.error.is_none() { "ok  " } else { "FAIL" };
                    say(&format!(
                        "{mark} {}: {} ({:.3} ms)\n",
                        file.display(),
                        outcome.name,
                        outcome.time.as_secs_f64() * 1e3
                    ));
                    if let Some(error) = &outcome.error {
                        say(&format!("     {error}\n"));
                    }
                }
                passed += report.passed();
                failed += report.failed();
            }
            Err(code) => worst = worst.max(code),
        }
    }
    say(&format!("{passed} passed, {failed} failed\n"));
    if failed > 0 { worst.max(FAILED) } else { worst }
}

/// Runs the tests of one program, after the rest of its top level, without the program's output.
fn test_file(file: &Path, options: &Options) -> Result<TestReport, u8> {
    let style = Style::detect(options.json);
    let mut phases = Phases::default();
    let engine = session::engine(config(options));
    let mut parsed = load_program(file, options, style, &mut phases)?;
    let compiled = session::compile(&mut parsed, Tests::Report, &mut phases);
    let code = session::load(&engine, &compiled.module, &mut phases).map_err(|error| load_failed(&error))?;
    let failed = |error: RunError| {
        eprint!("{}", report::run_error(&parsed.sources, &error, style));
        exit_code(&error)
    };
    let (grants, waiting) = grants();
    let grants = grants.stdout(std::io::sink());
    let mut instance = engine.instantiate(&code, grants, limits(options)).map_err(failed)?;
    instance.set_data(TestReport::new(options.filter.clone()));
    on_interrupt(instance.interrupt_handle(), waiting);
    instance.run().map_err(failed)?;
    Ok(instance.data::<TestReport>().cloned().unwrap_or_default())
}
