//! What the driver decided, kept in a ring buffer: which function went to which tier, when and why; and why not.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use upshift_optimizer::ir::Reason;

/// How many events an instance keeps.
pub const CAPACITY: usize = 4096;

/// Why a function was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// It was called often enough.
    Calls,
    /// A loop in it turned often enough.
    Loop,
    /// A watch was bumped.
    Watch,
}

impl Cause {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Calls => "calls",
            Cause::Loop => "loop",
            Cause::Watch => "watch",
        }
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum What {
    /// The baseline compiler made machine code.
    Compiled {
        /// Bytes of machine code.
        bytes: u32,
        /// Instructions of bytecode.
        instructions: u32,
        /// How long it took.
        time: Duration,
    },
    /// Another instance of the engine had made the code already.
    Shared {
        /// Bytes of machine code.
        bytes: u32,
    },
    /// Compiling now would cost more than the run has earned so far; the function is looked at again when it is warmer.
    TooEarly,
    /// The code memory is full: cold code goes.
    CacheFull,
    /// The function's code was given up to make room.
    Evicted,
    /// The code memory is full of code in use, or the function alone does not fit: it stays in the interpreter.
    NoRoom,
    /// The function is beyond what machine code can address.
    TooLarge,
    /// It is hot: the optimizing compiler was asked.
    Hot,
    /// The optimizing compiler made machine code.
    Optimized {
        /// Bytes of machine code.
        bytes: u32,
        /// Instructions of SSA that were lowered.
        instructions: u32,
        /// How long it took.
        time: Duration,
        /// Whether it is of one loop.
        osr: bool,
    },
    /// The optimizing compiler made none.
    Refused {
        /// Why.
        reason: Arc<str>,
    },
    /// An assumption of optimized code failed: the interpreter went on.
    Deoptimized {
        /// Which kind of assumption.
        reason: Reason,
    },
    /// Optimized code whose assumptions failed too often, or that was made for a watch before it was bumped, was given up.
    Retired,
    /// There is no executable memory here: everything stays in the interpreter.
    NoMemory,
}

/// One decision.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The time since the instance was made.
    pub at: Duration,
    /// The function's name.
    pub function: Arc<str>,
    /// The function's number.
    pub index: u32,
    /// Why it was looked at.
    pub cause: Cause,
    /// How warm it was: calls and turns of loops in the interpreter.
    pub heat: u32,
    /// What came of it.
    pub what: What,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:10.3} ms  {}", self.at.as_secs_f64() * 1e3, self.function)?;
        let cause = self.cause.name();
        match &self.what {
            What::Compiled { bytes, instructions, time } => write!(
                f,
                ": baseline after {} ({cause}): {instructions} instructions, {bytes} bytes, {:.1} us",
                self.heat,
                time.as_secs_f64() * 1e6
            ),
            What::Shared { bytes } => {
                write!(
                    f,
                    ": baseline after {} ({cause}): {bytes} bytes that another instance made",
                    self.heat
                )
            }
            What::TooEarly => write!(f, ": interpreter, too early to pay after {} ({cause})", self.heat),
            What::CacheFull => write!(f, ": code memory full, cold code goes"),
            What::Evicted => write!(f, ": back to the interpreter, its code made room"),
            What::NoRoom => write!(f, ": interpreter, no room in code memory"),
            What::TooLarge => write!(f, ": interpreter, too large for machine code"),
            What::Hot => write!(f, ": hot after {}", self.heat),
            What::Optimized { bytes, instructions, time, osr } => write!(
                f,
                ": optimized{}: {instructions} instructions, {bytes} bytes, {:.1} us",
                if *osr { " loop" } else { "" },
                time.as_secs_f64() * 1e6
            ),
            What::Refused { reason } => write!(f, ": not optimized: {reason}"),
            What::Deoptimized { reason } => write!(f, ": left optimized code: {}", reason.name()),
            What::Retired if self.cause == Cause::Watch => {
                write!(f, ": optimized code retired: a watch was bumped")
            }
            What::Retired => write!(f, ": optimized code retired"),
            What::NoMemory => write!(f, ": interpreter, no executable memory"),
        }
    }
}

/// The last events.
#[derive(Debug, Default)]
pub struct Ring {
    events: VecDeque<Event>,
    /// How many were dropped because newer ones came.
    pub dropped: u64,
}

impl Ring {
    /// Adds an event; the oldest goes where the ring is full.
    pub fn push(&mut self, event: Event) {
        if self.events.len() == CAPACITY {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }

    /// The events, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }
}
