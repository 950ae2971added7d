//! Runs many programs: a parent process hands numbers to children, which say what they run before they do. So a program that kills
//! its process, or does not end, is known, and the numbers after it go on in another child. Finds are made smaller with a process
//! for each attempt, for the same reason.
//!
//! What takes the time is the optimizing compiler: with programs as long as one in eight is now, 80% of it (Cranelift and its register
//! allocator 34, memory management 18, passes and the rest of the optimizer 15), and 45 ms of processor time a program with five runs.
//! With short programs it is 22 ms, six hours a million. Keeping code for other schedules of the same program is not worth it: their
//! feedback and inlining make 85 to 96 of 100 instructions of Cranelift's form differ.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::reduce::{reduce, reduce_bytecode};
use crate::run::{self, Outcome, Ready};
use crate::schedule::{Schedule, reference};
use crate::tree::{self, render};
use crate::{bytecode, mochi};

/// No program needs so much.
pub const FUEL: u64 = 150_000;
/// With collections at every opportunity, programs that need more are not run.
const STRESS_FUEL: u64 = 5_000;
/// A program that shows nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The configuration.
    pub schedule: Schedule,
    /// What the interpreter showed.
    pub want: Outcome,
    /// What this configuration showed.
    pub got: Outcome,
}

/// What came of one program.
#[derive(Debug)]
pub enum Verdict {
    /// All agree; the fuel that the whole takes, and how many runs there were.
    Agree(u64, u64, String),
    /// They differ.
    Differ(Box<Difference>),
    /// The front end refuses it or panics, the verifier refuses it, or the interpreter panics.
    Invalid(String),
    /// Nothing can be said.
    Skipped,
}

/// What is found in a program of a kind under two random schedules, by the numbers of 64 bits that an input begins with; what is
/// missing is zero, since libFuzzer begins with short inputs. Panics are kept and not printed, so a find says itself what it is.
pub fn of_bytes(kind: Kind, bytes: &[u8]) -> Option<String> {
    let number = |at: usize| bytes.iter().skip(8 * at).take(8).rev().fold(0, |n, &b| n << 8 | u64::from(b));
    let (program, schedules) = (number(0), [number(1), number(2)]);
    let subject = Subject::new(kind, program);
    match check(&subject.ready(), schedules.into_iter(), |_| {}) {
        Verdict::Differ(d) => Some(format!("program {program}: {d:#?}\n{}", subject.text())),
        Verdict::Invalid(error) => Some(format!("program {program}: {error}")),
        Verdict::Agree(..) | Verdict::Skipped => None,
    }
}

/// The schedules of a program: two of the fixed ones in turn, so that five programs see each of them twice, and random ones. Another
/// program finds more than another schedule does.
pub fn schedules(seed: u64, random: u64) -> impl Iterator<Item = u64> {
    [seed % 5, (seed + 1) % 5].into_iter().chain((0..random).map(move |k| 1000 + seed * 64 + k))
}

/// What programs are generated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// Most are Mochi programs.
    #[default]
    Both,
    /// Mochi programs.
    Mochi,
    /// Modules of bytecode.
    Bytecode,
}

/// A generated program.
#[derive(Clone, Debug)]
pub enum Subject {
    /// In Mochi.
    Mochi(tree::Program),
    /// In bytecode.
    Bytecode(bytecode::Program),
}

impl Subject {
    /// The program of a number.
    pub fn new(kind: Kind, seed: u64) -> Subject {
        match kind {
            Kind::Both if seed % 6 == 5 => Subject::Bytecode(bytecode::Program::new(seed as usize)),
            Kind::Bytecode => Subject::Bytecode(bytecode::Program::new(seed as usize)),
            _ => Subject::Mochi(mochi::program(seed)),
        }
    }

    /// Its text.
    pub fn text(&self) -> String {
        match self {
            Subject::Mochi(program) => render(program),
            Subject::Bytecode(program) => {
                upshift_bytecode::text::print(&bytecode::module(std::slice::from_ref(program)))
            }
        }
    }

    fn extension(&self) -> &'static str {
        match self {
            Subject::Mochi(_) => "mochi",
            Subject::Bytecode(_) => "bytecode",
        }
    }

    /// Ready to run.
    ///
    /// # Errors
    /// What the front end says.
    pub fn ready(&self) -> Result<Ready, String> {
        match self {
            Subject::Mochi(program) => run::compile(&render(program)),
            Subject::Bytecode(program) => run::bytecode(bytecode::module(std::slice::from_ref(program))),
        }
    }
}

/// Runs a program under schedules; `before` is called with each before it runs.
pub fn check(
    ready: &Result<Ready, String>,
    seeds: impl Iterator<Item = u64>,
    mut before: impl FnMut(u64),
) -> Verdict {
    let ready = match ready {
        Ok(ready) => ready,
        Err(error) => return Verdict::Invalid(error.clone()),
    };
    let plenty = vec![FUEL; ready.calls()];
    let Some(whole) = ready.run(&reference(), &plenty) else { return Verdict::Skipped };
    // Where all tiers fail alike there is no difference.
    if whole.failed() {
        return Verdict::Invalid(whole.end);
    }
    let total: u64 = whole.fuel.iter().sum();
    let mut runs = 1;
    for seed in seeds {
        let schedule = Schedule::new(seed);
        if schedule.stress() && total > STRESS_FUEL {
            continue;
        }
        let part = |used: &u64| match schedule.fuel {
            32 => used.saturating_sub(1),
            part => used * part / 32,
        };
        before(seed);
        let (fuel, want) = if schedule.fuel == 0 {
            (plenty.clone(), whole.clone())
        } else {
            let fuel: Vec<u64> = whole.fuel.iter().map(part).collect();
            let Some(want) = ready.run(&reference(), &fuel) else { continue };
            (fuel, want)
        };
        let Some(got) = ready.run(&schedule.config, &fuel) else { continue };
        runs += 1;
        if want != got || want.failed() {
            return Verdict::Differ(Box::new(Difference { schedule, want, got }));
        }
    }
    let end = if whole.fuel.len() > 1 { "bytecode" } else { whole.end.split(']').next().unwrap_or("") };
    let end = end.replace("error[", "");
    Verdict::Agree(total, runs, if end.is_empty() { "no-error".into() } else { end })
}

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Options {
    /// What programs.
    pub kind: Kind,
    /// The first number.
    pub seed: u64,
    /// How many.
    pub count: u64,
    /// For how long, at most.
    pub time: Duration,
    /// How many at once.
    pub jobs: usize,
    /// Random schedules for each program.
    pub schedules: u64,
    /// Where finds go.
    pub out: PathBuf,
}

/// A child's work: numbers from `seed` on. Writes a line before each run, and one for each result.
pub fn child(kind: Kind, seed: u64, count: u64, random: u64) {
    let mut out = std::io::stdout().lock();
    for seed in seed..seed + count {
        let _ = writeln!(out, "program {seed}");
        let _ = out.flush();
        let verdict = check(&Subject::new(kind, seed).ready(), schedules(seed, random), |schedule| {
            let _ = writeln!(out, "run {seed} {schedule}");
            let _ = out.flush();
        });
        let _ = match verdict {
            Verdict::Agree(fuel, runs, end) => writeln!(out, "agree {seed} {fuel} {runs} {end}"),
            Verdict::Differ(d) => writeln!(out, "differ {seed} {}", d.schedule.seed),
            Verdict::Invalid(e) => writeln!(out, "invalid {seed} {}", e.lines().next().unwrap_or("")),
            Verdict::Skipped => writeln!(out, "skipped {seed}"),
        };
        let _ = out.flush();
    }
}

/// Checks one text under one schedule, for the reducer: the exit code says what came of it.
pub fn one(path: &Path, schedule: u64, tell: bool) -> std::io::Result<u8> {
    let text = std::fs::read_to_string(path)?;
    let mochi = path.to_string_lossy().contains(".mochi");
    let ready = if mochi { run::compile(&text) } else { run::parse(&text) };
    Ok(match check(&ready, std::iter::once(schedule), |_| {}) {
        Verdict::Differ(d) => {
            if tell {
                println!(
                    "{}\n\n--- the interpreter\n{}\n--- this schedule\n{}",
                    d.schedule,
                    show(&d.want),
                    show(&d.got)
                );
            }
            if d.got.end.starts_with("panic") { 11 } else { 10 }
        }
        Verdict::Invalid(e) => {
            if tell {
                println!("{e}");
            }
            if e.starts_with("panic") { 12 } else { 1 }
        }
        _ => 0,
    })
}

fn show(outcome: &Outcome) -> String {
    format!("{}{}fuel {:?}\n", outcome.output, outcome.end, outcome.fuel)
}

/// How a process that checked one text ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Agree,
    Code(i32),
    Crash,
    Hang,
}

fn wait(child: &mut Child, patience: Duration) -> End {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return end(status),
            Ok(None) if started.elapsed() > patience => {
                let _ = child.kill();
                let _ = child.wait();
                return End::Hang;
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn end(status: ExitStatus) -> End {
    match status.code() {
        Some(0) => End::Agree,
        Some(code) => End::Code(code),
        None => End::Crash,
    }
}

/// A find that was not reduced yet.
#[derive(Clone, Debug)]
struct Find {
    seed: u64,
    schedule: Option<u64>,
    what: String,
}

/// Runs a campaign; how many finds.
///
/// # Errors
/// Processes that cannot be started, files that cannot be written.
pub fn campaign(options: &Options) -> Result<usize, Box<dyn Error>> {
    std::fs::create_dir_all(&options.out)?;
    let started = Instant::now();
    let next = AtomicU64::new(options.seed);
    let (programs, runs, fuel) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let ends = Mutex::new(BTreeMap::<String, u64>::new());
    let stop = AtomicBool::new(false);
    let (send, finds) = mpsc::channel::<Find>();
    let end = options.seed.saturating_add(options.count);
    let mut found = 0;
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        for _ in 0..options.jobs {
            let send = send.clone();
            let (next, programs, runs, fuel, stop) = (&next, &programs, &runs, &fuel, &stop);
            let ends = &ends;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && started.elapsed() < options.time {
                    let mut from = next.fetch_add(50, Ordering::Relaxed);
                    if from >= end {
                        break;
                    }
                    let to = end.min(from + 50);
                    while from < to && started.elapsed() < options.time {
                        let mut at = (from, None);
                        let left = options.time.saturating_sub(started.elapsed());
                        let status = batch(options, from, to - from, left, &mut |line| {
                            let words: Vec<&str> = line.split(' ').collect();
                            let number =
                                |i: usize| words.get(i).and_then(|w| w.parse::<u64>().ok()).unwrap_or(0);
                            match words[0] {
                                "program" => at = (number(1), None),
                                "run" => at = (number(1), Some(number(2))),
                                "agree" => {
                                    programs.fetch_add(1, Ordering::Relaxed);
                                    fuel.fetch_add(number(2) * number(3), Ordering::Relaxed);
                                    runs.fetch_add(number(3), Ordering::Relaxed);
                                    let mut ends = ends.lock().unwrap_or_else(|e| e.into_inner());
                                    *ends.entry(words[4].to_string()).or_default() += 1;
                                }
                                "skipped" => {
                                    let mut ends = ends.lock().unwrap_or_else(|e| e.into_inner());
                                    *ends.entry("skipped".to_string()).or_default() += 1;
                                }
                                "differ" => {
                                    let what = "difference".into();
                                    let _ =
                                        send.send(Find { seed: number(1), schedule: Some(number(2)), what });
                                }
                                _ => {
                                    let what = words[2..].join(" ");
                                    let _ = send.send(Find { seed: number(1), schedule: None, what });
                                }
                            }
                        });
                        match status {
                            End::Agree => break,
                            // Time is up.
                            End::Hang if started.elapsed() >= options.time => break,
                            other => {
                                let what = format!("{other:?}");
                                let _ = send.send(Find { seed: at.0, schedule: at.1, what });
                                from = at.0 + 1;
                            }
                        }
                    }
                }
            });
        }
        drop(send);
        let mut told = Instant::now();
        loop {
            match finds.recv_timeout(Duration::from_secs(1)) {
                Ok(find) => {
                    found += 1;
                    report(&find, options)?;
                    if found > 200 {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if told.elapsed() > Duration::from_secs(30) {
                told = Instant::now();
                println!(
                    "{} programs, {} runs, {found} finds, {} s",
                    programs.load(Ordering::Relaxed),
                    runs.load(Ordering::Relaxed),
                    started.elapsed().as_secs()
                );
            }
        }
        Ok(())
    })?;
    println!(
        "{} programs, {} runs, {} million units of fuel, {found} finds, {} s",
        programs.into_inner(),
        runs.into_inner(),
        fuel.into_inner() / 1_000_000,
        started.elapsed().as_secs()
    );
    println!("how they end: {:?}", ends.into_inner().unwrap_or_default());
    Ok(found)
}

fn myself() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "upshift-fuzz".into()));
    // A compilation takes and gives back the same memory again and again: the C library is to keep it.
    command.env("MALLOC_TRIM_THRESHOLD_", "1000000000").env("MALLOC_MMAP_THRESHOLD_", "1000000000");
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs a child over numbers.
fn batch(options: &Options, seed: u64, count: u64, left: Duration, line: &mut dyn FnMut(&str)) -> End {
    let mut command = myself();
    command.args(["child", &format!("{:?}", options.kind), &seed.to_string(), &count.to_string()]);
    command.arg(options.schedules.to_string());
    let Ok(mut child) = command.stdout(Stdio::piped()).spawn() else { return End::Code(-1) };
    let Some(out) = child.stdout.take() else { return End::Code(-1) };
    let (send, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let started = Instant::now();
    let result = loop {
        match lines.recv_timeout(PATIENCE.min(left.saturating_sub(started.elapsed()))) {
            Ok(text) => line(&text),
            Err(mpsc::RecvTimeoutError::Disconnected) => break wait(&mut child, PATIENCE),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                break End::Hang;
            }
        }
    };
    let _ = reader.join();
    result
}

/// Checks a text in a process of its own.
fn apart(path: &Path, text: &str, schedule: u64) -> End {
    if std::fs::write(path, text).is_err() {
        return End::Agree;
    }
    let mut command = myself();
    command.arg("one").arg(path).arg(schedule.to_string()).arg("quiet").stdout(Stdio::null());
    match command.spawn() {
        Ok(mut child) => wait(&mut child, Duration::from_secs(20)),
        Err(_) => End::Agree,
    }
}

/// Makes a find small and writes it down.
fn report(find: &Find, options: &Options) -> Result<(), Box<dyn Error>> {
    println!("find: program {}, schedule {:?}: {}", find.seed, find.schedule, find.what);
    let subject = Subject::new(options.kind, find.seed);
    let base = options.out.join(format!("seed-{}.{}", find.seed, subject.extension()));
    let schedule = find.schedule.unwrap_or(0);
    let named = |extension: &str| {
        let mut name = base.clone().into_os_string();
        name.push(extension);
        PathBuf::from(name)
    };
    let (temporary, whole) = (named(".tmp"), named(".whole"));
    std::fs::write(&whole, subject.text())?;
    let end = apart(&temporary, &subject.text(), schedule);
    println!("  again: {end:?}");
    if end == End::Agree || end == End::Code(1) {
        std::fs::remove_file(&temporary)?;
        return Ok(());
    }
    let time = Duration::from_secs(120);
    let small = match subject {
        Subject::Mochi(program) => Subject::Mochi(reduce(program, time, &mut |candidate| {
            apart(&temporary, &render(candidate), schedule) == end
        })),
        Subject::Bytecode(program) => Subject::Bytecode(reduce_bytecode(program, time, &mut |candidate| {
            let text = Subject::Bytecode(candidate.clone()).text();
            apart(&temporary, &text, schedule) == end
        })),
    };
    std::fs::remove_file(&temporary)?;
    std::fs::write(&base, small.text())?;
    let path = &base;
    let told = myself().arg("one").arg(path).arg(schedule.to_string()).output()?;
    let mut text = String::from_utf8_lossy(&told.stdout).into_owned();
    text += &format!("\n{end:?}, schedule {schedule}: {}\n", Schedule::new(schedule));
    std::fs::write(named(".txt"), &text)?;
    println!("  {} lines in {}\n{text}", small.text().lines().count(), path.display());
    Ok(())
}
