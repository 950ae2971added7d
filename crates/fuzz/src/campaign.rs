//! Runs many programs: a parent process hands numbers to children, which say what they run before they do. So a program that kills
//! its process, or does not end, is known, and the numbers after it go on in another child. Finds are made smaller with a process
//! for each attempt, for the same reason.
//!
//! What takes the time is the optimizing compiler, two thirds of it. With five schedules a program, memory and threads mapped and started
//! for each run, and no link-time optimization, a program took 20 to 22 ms of processor time; now it is 6.8 ms, two hours a million.
//! Keeping code for other schedules of the same program is not worth it: their feedback and inlining make 85 to 96 of 100
//! instructions of Cranelift's form differ.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::reduce::{reduce, reduce_bytecode};
use crate::run::{self, Outcome, Ready};
use crate::schedule::{self, Schedule, reference};
use crate::tree::{self, render};
use crate::{bytecode, mochi};

/// Calls get so much, which one in a hundred programs uses up: these take the most time, and find no more than others.
pub const FUEL: u64 = 50_000;
/// And so much with collections at every opportunity.
const STRESS_FUEL: u64 = 5_000;
/// So many programs run in a child, which takes as long to start as one program.
const BATCH: u64 = 200;
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
        let slow = schedule.stress() && total > STRESS_FUEL;
        let part = |used: &u64| match schedule.fuel {
            0 | 32 if slow => STRESS_FUEL * used / total,
            0 => *used,
            32 => used.saturating_sub(1),
            part if slow => STRESS_FUEL * used / total * part / 32,
            part => used * part / 32,
        };
        before(seed);
        let (fuel, want) = if schedule.fuel == 0 && !slow {
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
    /// Schedules for each program that optimize.
    pub schedules: u64,
    /// Where finds go.
    pub out: PathBuf,
}

/// The processor time of this process.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A child's work: numbers from `seed` on. Writes a line before each run, and one for each result, with its processor time so far in
/// microseconds.
pub fn child(kind: Kind, seed: u64, count: u64, schedules: u64) {
    let mut out = std::io::stdout().lock();
    for seed in seed..seed + count {
        let _ = writeln!(out, "program {seed}");
        let _ = out.flush();
        let verdict =
            check(&Subject::new(kind, seed).ready(), schedule::of_program(seed, schedules), |schedule| {
                let _ = writeln!(out, "run {seed} {schedule}");
                let _ = out.flush();
            });
        let time = processor_time().as_micros();
        let _ = match verdict {
            Verdict::Agree(fuel, runs, end) => writeln!(out, "agree {seed} {time} {fuel} {runs} {end}"),
            Verdict::Differ(d) => writeln!(out, "differ {seed} {time} {}", d.schedule.seed),
            Verdict::Invalid(e) => writeln!(out, "invalid {seed} {time} {}", e.lines().next().unwrap_or("")),
            Verdict::Skipped => writeln!(out, "skipped {seed} {time}"),
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

/// What a campaign did so far.
#[derive(Debug, Default)]
struct Totals {
    programs: u64,
    runs: u64,
    fuel: u64,
    finds: u64,
    /// Processor time of the children.
    time: Duration,
    ends: BTreeMap<String, u64>,
    /// By job: the program that it runs now.
    at: Vec<Option<u64>>,
}

impl Totals {
    /// Takes a line of a job's child; gives what it found.
    fn take(&mut self, job: usize, state: &mut Progress, line: &str) -> Option<Find> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words.get(i).and_then(|w| w.parse::<u64>().ok()).unwrap_or(0);
        let seed = number(1);
        match words[0] {
            "program" => {
                (state.seed, state.schedule) = (seed, None);
                self.at[job] = Some(seed);
                return None;
            }
            "run" => {
                state.schedule = Some(number(2));
                return None;
            }
            _ => {}
        }
        let time = Duration::from_micros(number(2));
        self.time += time.saturating_sub(state.time);
        state.time = time;
        self.programs += 1;
        match words[0] {
            "agree" => {
                self.fuel += number(3) * number(4);
                self.runs += number(4);
                *self.ends.entry(words[5..].join(" ")).or_default() += 1;
                None
            }
            "skipped" => {
                *self.ends.entry("skipped".to_string()).or_default() += 1;
                None
            }
            "differ" => Some(Find { seed, schedule: Some(number(3)), what: "difference".into() }),
            _ => Some(Find { seed, schedule: None, what: words[3..].join(" ") }),
        }
    }

    /// What was done in a time.
    fn tell(&self, elapsed: Duration) -> String {
        let each = self.time.as_secs_f64() * 1000.0 / self.programs.max(1) as f64;
        format!(
            "{} programs, {} runs, {} million units of fuel, {} finds, {} s, {:.1} a second; {} s of processor time, {each:.2} ms each",
            self.programs,
            self.runs,
            self.fuel / 1_000_000,
            self.finds,
            elapsed.as_secs(),
            self.programs as f64 / elapsed.as_secs_f64().max(0.001),
            self.time.as_secs()
        )
    }
}

/// Where a child is.
#[derive(Debug, Default)]
struct Progress {
    seed: u64,
    schedule: Option<u64>,
    /// Its processor time so far.
    time: Duration,
}

/// Runs a campaign; how many finds.
///
/// # Errors
/// Processes that cannot be started, files that cannot be written.
pub fn campaign(options: &Options) -> Result<u64, Box<dyn Error>> {
    std::fs::create_dir_all(&options.out)?;
    let started = Instant::now();
    let next = AtomicU64::new(options.seed);
    let totals = Mutex::new(Totals { at: vec![None; options.jobs], ..Totals::default() });
    let totals = || totals.lock().unwrap_or_else(PoisonError::into_inner);
    let stop = AtomicBool::new(false);
    let (send, finds) = mpsc::channel::<Find>();
    let end = options.seed.saturating_add(options.count);
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        for job in 0..options.jobs {
            let send = send.clone();
            let (next, totals, stop) = (&next, &totals, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && started.elapsed() < options.time {
                    let mut from = next.fetch_add(BATCH, Ordering::Relaxed);
                    if from >= end {
                        break;
                    }
                    let to = end.min(from + BATCH);
                    totals().at[job] = Some(from);
                    while from < to {
                        let mut state = Progress { seed: from, ..Progress::default() };
                        let left = options.time.saturating_sub(started.elapsed());
                        let ended = batch(options, from, to - from, left, &mut |line| {
                            if let Some(find) = totals().take(job, &mut state, line) {
                                let _ = send.send(find);
                            }
                        });
                        // Time is up.
                        if ended == End::Hang && started.elapsed() >= options.time {
                            return;
                        }
                        if ended == End::Agree {
                            break;
                        }
                        let what = format!("{ended:?}");
                        let _ = send.send(Find { seed: state.seed, schedule: state.schedule, what });
                        from = state.seed + 1;
                        totals().at[job] = Some(from);
                    }
                    totals().at[job] = None;
                }
            });
        }
        drop(send);
        let mut told = Instant::now();
        loop {
            match finds.recv_timeout(Duration::from_secs(1)) {
                Ok(find) => {
                    let found = {
                        let mut totals = totals();
                        totals.finds += 1;
                        totals.finds
                    };
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
                println!("{}", totals().tell(started.elapsed()));
            }
        }
        Ok(())
    })?;
    let totals = totals();
    println!("{}", totals.tell(started.elapsed()));
    println!("how they end: {:?}", totals.ends);
    // All below it are done; with several jobs some above it are, too.
    let at = totals.at.iter().flatten().copied().min().unwrap_or(u64::MAX).min(next.into_inner());
    if at < end {
        println!("what is next: --seed {at}");
    }
    Ok(totals.finds)
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
