//! What the driver of the tiers writes down while somebody wants a report: every decision by function and loop, and every way out of
//! optimized code with the values that led to it.
//!
//! Kept beside the ring of events, which forgets. All of it is written where the driver decides, compiles or takes an exit, so
//! code that runs knows nothing of it; without a report there is no journal and nothing is written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use upshift_bytecode::ops::Role;
use upshift_bytecode::{Bank, Op, Word};
use upshift_optimizer::build::Start;
use upshift_optimizer::flow;
use upshift_optimizer::ir::Reason;
use upshift_optimizer::summary::Summary;
use upshift_runtime::frame::FunctionEntry;
use upshift_runtime::instance::Instance;
use upshift_runtime::object::{Header, List, ObjectKind};
use upshift_runtime::string;
use upshift_runtime::value::Value;

use super::codes::Code;
use crate::tiers::HeldCounts;
use crate::tiers::events::{Cause, What};

/// How often the values at one exit are read: exits that are taken all the time would cost.
const VALUES: u64 = 8;
/// How many bytes of a text are shown.
const TEXT: usize = 40;

/// Code of the baseline compiler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline {
    pub at: Duration,
    pub cause: Cause,
    pub heat: u32,
    pub bytes: u32,
    /// Nothing where another instance made it.
    pub time: Option<Duration>,
    pub evicted: Option<Duration>,
}

/// What the driver knows of one function's way through the lower tiers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lower {
    pub baseline: Vec<Baseline>,
    /// The last reason why there is no machine code.
    pub obstacle: Option<Code>,
}

/// What became of a compilation.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Pending,
    Refused { at: Duration, time: Duration, code: Code },
    Installed { at: Duration, time: Duration, bytes: u32, instructions: u32 },
}

/// One compilation by the optimizer.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub function: u32,
    pub start: Start,
    pub cause: Cause,
    pub heat: u32,
    pub asked: Duration,
    pub outcome: Outcome,
    /// When the code was given up because assumptions failed.
    pub retired: Option<Duration>,
    /// When it was given up for room.
    pub evicted: Option<Duration>,
    pub summary: Summary,
    pub exits: BTreeMap<(Reason, u32, u32), Exits>,
    /// The checks that count how often they hold (reason, function, word), and the counts in their order.
    pub checks: Vec<(Reason, u32, u32)>,
    pub held: Option<Arc<HeldCounts>>,
}

/// What is known of one way out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exits {
    pub taken: u64,
    /// The operands of the instruction that was done again, when it was last read.
    pub values: Vec<String>,
}

/// Everything that was written down.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub lower: BTreeMap<u32, Lower>,
    pub attempts: Vec<Attempt>,
    by_number: HashMap<u32, usize>,
    /// There was no executable memory.
    pub no_memory: bool,
    /// There was no thread for the optimizing compiler.
    pub no_compiler: bool,
}

impl Journal {
    /// A decision about a function; those about the optimizer's code come by the other ways.
    pub fn note(&mut self, at: Duration, entry: &FunctionEntry, cause: Cause, what: &What) {
        let lower = self.lower.entry(entry.index()).or_default();
        let mut made = |bytes, time| {
            lower.obstacle = None;
            let heat = entry.heat;
            lower.baseline.push(Baseline { at, cause, heat, bytes, time, evicted: None });
        };
        match *what {
            What::Compiled { bytes, time, .. } => made(bytes, Some(time)),
            What::Shared { bytes } => made(bytes, None),
            What::TooEarly => lower.obstacle = Some(Code::TooEarly),
            What::Evicted => {
                lower.obstacle = Some(Code::Evicted);
                if let Some(last) = lower.baseline.last_mut() {
                    last.evicted = Some(at);
                }
            }
            What::NoRoom => lower.obstacle = Some(Code::NoRoom),
            What::TooLarge => lower.obstacle = Some(Code::TooLargeForMachineCode),
            What::NoMemory => {
                self.no_memory = true;
                lower.obstacle = Some(Code::NoExecutableMemory);
            }
            What::CacheFull
            | What::Hot
            | What::Optimized { .. }
            | What::Refused { .. }
            | What::Deoptimized { .. }
            | What::Retired => {}
        }
    }

    /// The optimizer was asked.
    pub fn asked(&mut self, number: u32, function: u32, start: Start, cause: Cause, heat: u32, at: Duration) {
        self.by_number.insert(number, self.attempts.len());
        self.attempts.push(Attempt {
            function,
            start,
            cause,
            heat,
            asked: at,
            outcome: Outcome::Pending,
            retired: None,
            evicted: None,
            summary: Summary::default(),
            exits: BTreeMap::new(),
            checks: Vec::new(),
            held: None,
        });
    }

    fn attempt(&mut self, number: u32) -> Option<&mut Attempt> {
        self.attempts.get_mut(*self.by_number.get(&number)?)
    }

    /// The optimizer answered.
    pub fn answered(&mut self, number: u32, outcome: Outcome, summary: Option<Summary>) {
        if let Some(attempt) = self.attempt(number) {
            attempt.outcome = outcome;
            attempt.summary = summary.unwrap_or_default();
        }
    }

    /// What code counts, and where.
    pub fn counts(&mut self, number: u32, checks: Vec<(Reason, u32, u32)>, held: Option<Arc<HeldCounts>>) {
        if let Some(attempt) = self.attempt(number) {
            (attempt.checks, attempt.held) = (checks, held);
        }
    }

    /// Optimized code was given up because its assumptions failed.
    pub fn retired(&mut self, number: u32, at: Duration) {
        if let Some(attempt) = self.attempt(number) {
            attempt.retired = Some(at);
        }
    }

    /// Optimized code was given up for room.
    pub fn evicted(&mut self, number: u32, at: Duration) {
        if let Some(attempt) = self.attempt(number) {
            attempt.evicted = Some(at);
        }
    }

    /// Optimized code was left. `values` reads what the interpreter finds.
    pub fn left(
        &mut self,
        number: u32,
        reason: Reason,
        (function, word): (u32, u32),
        values: impl FnOnce() -> Vec<String>,
    ) {
        let Some(attempt) = self.attempt(number) else { return };
        let exit = attempt.exits.entry((reason, function, word)).or_default();
        exit.taken += 1;
        // Ends of loops and ways not taken before follow from no value of the instruction.
        if exit.taken <= VALUES && !matches!(reason, Reason::Region | Reason::Unseen) {
            exit.values = values();
        }
    }
}

/// The operands of the instruction at a pc, as far as they stand in the frame.
///
/// # Safety
/// The frame at `fp` is complete and stands before the instruction at `pc`, of a loaded function.
pub(crate) unsafe fn operands(instance: &Instance, fp: *const u64, pc: *const Word) -> Vec<String> {
    // SAFETY: the pc is at an instruction, which has as many words as its op says.
    let code = unsafe {
        let words = Op::from_number((*pc).op()).map_or(1, Op::words);
        std::slice::from_raw_parts(pc, words)
    };
    let Some(inst) = flow::decode(code, 0) else { return Vec::new() };
    flow::registers(&inst)
        .filter(|r| r.1 != Role::Def)
        .map(|(slot, _, bank)| {
            // SAFETY: operands are slots of the frame or its window, and were written before.
            let bits = unsafe { *fp.add(slot as usize) };
            match bank {
                Bank::Int => (bits as i64).to_string(),
                Bank::Float => format!("{:?}", f64::from_bits(bits)),
                Bank::Cell => cell(instance, Value::from_bits(bits)),
            }
        })
        .collect()
}

/// A cell in a few words.
fn cell(instance: &Instance, value: Value) -> String {
    if let Some(int) = value.as_int() {
        return int.to_string();
    }
    if let Some(float) = value.as_float() {
        return format!("{float:?}");
    }
    if let Some(bool) = value.as_bool() {
        return bool.to_string();
    }
    let kind = value.kind();
    if value.is_string() {
        // SAFETY: the cell is live.
        let bytes = unsafe { string::bytes(&value) };
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT)]);
        let more = if bytes.len() > TEXT { "…" } else { "" };
        return format!("string {text:?}{more}");
    }
    let Some(object) = value.object_kind() else {
        return kind.text().to_string();
    };
    // SAFETY: the cell is a live object.
    let meta = unsafe { (*value.as_ptr::<Header>()).meta };
    match object {
        ObjectKind::ListInt | ObjectKind::ListFloat | ObjectKind::ListBool | ObjectKind::ListCell => {
            // SAFETY: it is a list.
            format!("list of {}", unsafe { (*value.as_ptr::<List>()).len })
        }
        ObjectKind::Record => format!("record {}", instance.shape(meta).name),
        ObjectKind::Closure => match instance.function(meta) {
            Some(function) => format!("function {}", function.name),
            None => kind.text().to_string(),
        },
        _ => kind.text().to_string(),
    }
}
