//! What became of a run: for each function and loop the tier it reached and when, where the time went, what the optimizer did and
//! did not, which exits were taken and why, and why something is not faster.
//!
//! [`Instance::start_explaining`](crate::Instance::start_explaining) begins to write down and to sample,
//! [`Instance::stop_explaining`](crate::Instance::stop_explaining) gives the [`Report`]. Shares of time are samples
//! ([`crate::profile::sampler`]); all else is exact, since the driver of the tiers writes it down where it decides.
//!
//! Nothing here knows a language. Functions have names and engine-wide numbers; positions are spans in the sources that modules
//! name, and who has the texts can show them.
//!
//! * `codes.rs`: the list of what remarks can say.
//! * `journal.rs`: what the driver writes down.
//! * `collect.rs`: the report, from the journal, the samples and the modules.

pub(crate) mod codes;
mod collect;
pub(crate) mod journal;

use std::sync::Arc;
use std::time::Duration;

use crate::profile::sampler::{FrameKind, Profile};
use crate::tiers::events::Cause;

pub use codes::{Code, Topic};
pub(crate) use collect::{Input, collect};

/// What became of a run.
///
/// ```
/// use upshift::explain::{Code, Level};
/// # use upshift::{Config, Engine, Grants, Limits};
/// # use upshift::bytecode::{builder::ModuleBuilder, ValueType};
/// # let mut builder = ModuleBuilder::new("example");
/// # let ints = builder.signature(&[ValueType::Int], Some(ValueType::Int));
/// # let count = builder.declare("count", ints, None);
/// # let mut code = builder.define(count);
/// # let (n, i) = (code.param(0), code.int());
/// # code.load_int(i, 0);
/// # let top = code.label();
/// # code.begin_loop(top);
/// # code.int_add_imm(i, i, 1);
/// # code.int_lt_loop(i, n, top);
/// # code.return_int(i);
/// # code.finish(&mut builder);
/// # let module = builder.finish();
/// # let mut config = Config::default();
/// # config.tiers.sync = true;
/// # let engine = Engine::new(config);
/// # let module = engine.load(&module)?;
/// let mut instance = engine.instantiate(&module, Grants::none(), Limits::default())?;
/// let count = instance.function::<(i64,), i64>("count")?;
/// instance.start_explaining(1000);
/// instance.call(&count, (10_000_000,))?;
/// let report = instance.stop_explaining().expect("it was started");
/// let count = report.functions.iter().find(|f| &*f.name == "count").expect("it ran");
/// # #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
/// assert_eq!(count.loops[0].level, Level::Optimized);
/// for remark in &count.loops[0].remarks {
///     println!("{}: {}", remark.code.text(), remark.code.meaning());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// How long it was, from start to stop.
    pub elapsed: Duration,
    /// Where the time went: most first. All samples are in one of the rows, and shares add up to 1.
    pub time: Vec<TimeRow>,
    /// The guest functions that ran; most time first.
    pub functions: Vec<FunctionReport>,
    /// How many guest functions did not run.
    pub idle: u32,
    /// How long the baseline compiler took, on the program's thread.
    pub baseline_time: Duration,
    /// How long the optimizing compiler took, on its own thread, or, where the program waits for it, beside the program.
    pub optimizing_time: Duration,
    /// Whether the program waited for the optimizing compiler.
    pub sync: bool,
    /// How long the collector took.
    pub collector_time: Duration,
    /// The samples, as stacks.
    pub profile: Profile,
}

/// Where a part of the time went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TimeRow {
    /// What it is.
    pub kind: FrameKind,
    /// The function, for guest functions and host functions; else empty.
    pub function: Arc<str>,
    /// The guest function's place in [`Report::functions`].
    pub index: Option<usize>,
    /// Samples that had it innermost.
    pub samples: u64,
    /// Its part of all samples, 0 to 1.
    pub share: f64,
}

/// A tier, as code has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// The interpreter.
    Interpreter,
    /// Code of the baseline compiler.
    Baseline,
    /// Code of the optimizing compiler.
    Optimized,
}

impl Level {
    /// The name that users see.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Interpreter => "interpreter",
            Level::Baseline => "baseline",
            Level::Optimized => "optimized",
        }
    }
}

/// A position.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub struct Place {
    /// The engine-wide number of the guest function.
    pub function: u32,
    /// The source's name.
    pub source: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in bytes.
    pub column: u32,
    /// The first byte.
    pub start: u32,
    /// The first byte behind.
    pub end: u32,
}

/// Something worth knowing about a function, a loop or a position.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Remark {
    /// What.
    pub code: Code,
    /// Where; `None` for all of a function or loop.
    pub place: Option<Place>,
    /// How often: places in the code for what the compilers did, times for exits.
    pub count: u64,
    /// More: the callee's name, the kind of check, the instruction.
    pub detail: String,
    /// For exits, what the instruction that was done again worked on when it was last looked at, in the order of its operands.
    pub values: Vec<String>,
}

/// A change of tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Step {
    /// When, since the instance was made.
    pub at: Duration,
    /// What there is from then on.
    pub level: Level,
}

/// What became of a guest function.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FunctionReport {
    /// The engine-wide number.
    pub number: u32,
    /// The name.
    pub name: Arc<str>,
    /// The source and the first and last line with code of it.
    pub lines: Option<(Arc<str>, u32, u32)>,
    /// The highest tier that it had code of its own in.
    pub level: Level,
    /// When it changed tiers, in order.
    pub steps: Vec<Step>,
    /// How warm it was at the end: calls and turns of loops, as far as they were counted.
    pub heat: u32,
    /// Samples that had it innermost, by where it ran: interpreter, baseline, optimized, inlined.
    pub samples: [u64; 4],
    /// The part of all samples, 0 to 1.
    pub share: f64,
    /// What the baseline compiler made; more than once where it was given up.
    pub baseline: Vec<BaselineReport>,
    /// What the optimizing compiler was asked for.
    pub compilations: Vec<Compilation>,
    /// Where its code was built into others.
    pub inlined_into: Vec<InlinedInto>,
    /// Its loops, in the order of the code.
    pub loops: Vec<LoopReport>,
    /// About all of it: why it is in no higher tier.
    pub remarks: Vec<Remark>,
}

/// Code of the baseline compiler.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BaselineReport {
    /// When it was made, since the instance was made.
    pub at: Duration,
    /// Why then.
    pub cause: Cause,
    /// How warm the function was.
    pub heat: u32,
    /// Bytes of machine code.
    pub bytes: u32,
    /// How long it took; `None` where another instance had made it.
    pub time: Option<Duration>,
}

/// What the optimizing compiler was asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compilation {
    /// The loop that it is of, by its place in [`FunctionReport::loops`]; `None` for the whole function.
    pub of_loop: Option<usize>,
    /// When it was asked, since the instance was made.
    pub asked: Duration,
    /// Why then.
    pub cause: Cause,
    /// How warm the function was.
    pub heat: u32,
    /// What came of it.
    pub outcome: Outcome,
    /// When the code was given up because its assumptions failed.
    pub retired: Option<Duration>,
    /// When the code was given up for room.
    pub evicted: Option<Duration>,
    /// Checks that the function had as it was built, and that are left. What runs seldom does not count.
    pub checks: (u32, u32),
    /// Places that make an object as it was built, and that are left.
    pub allocations: (u32, u32),
    /// Places that make an object instead on a way that needs one, such as behind a loop.
    pub sunk: u32,
    /// Calls of guest functions, and how many of them were inlined.
    pub calls: (u32, u32),
    /// What was done, what costs time, and which exits were taken, in the order of positions.
    pub remarks: Vec<Remark>,
}

/// What came of a compilation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing until the run ended.
    Pending,
    /// No code.
    Refused {
        /// When, since the instance was made.
        at: Duration,
        /// How long the compiler took.
        time: Duration,
        /// Why.
        code: Code,
    },
    /// Code.
    Installed {
        /// From when on it could run, since the instance was made.
        at: Duration,
        /// How long the compiler took.
        time: Duration,
        /// Bytes of machine code.
        bytes: u32,
        /// Instructions of SSA.
        instructions: u32,
    },
}

impl Outcome {
    /// From when on there was code.
    pub fn installed(self) -> Option<Duration> {
        match self {
            Outcome::Installed { at, .. } => Some(at),
            Outcome::Pending | Outcome::Refused { .. } => None,
        }
    }
}

/// A place where a function is built into another.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct InlinedInto {
    /// The function that was compiled.
    pub function: Arc<str>,
    /// The call: in that function, or in one that is inlined too.
    pub place: Option<Place>,
}

/// What became of a loop.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoopReport {
    /// The first and last line with code of it.
    pub lines: Option<(Arc<str>, u32, u32)>,
    /// The loop around it, by its place in the list.
    pub parent: Option<usize>,
    /// The highest tier that it had code in: its own, its function's, or that of a function that its function is inlined into.
    pub level: Level,
    /// Since when, counted from when the instance was made.
    pub since: Option<Duration>,
    /// Samples inside it, loops in it and functions that are called not included.
    pub samples: u64,
    /// The part of all samples, 0 to 1.
    pub share: f64,
    /// Why it is in no higher tier, what was done, and what costs time.
    pub remarks: Vec<Remark>,
}
