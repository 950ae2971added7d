//! The tiers of an instance: the driver, which takes turns with interpreter and machine code, and the policy.
//!
//! [`run`] stands where an instance would call the interpreter. Frames are the same in both tiers, so a switch is a jump: the
//! driver looks whether the function has machine code with an entry at the pc, and enters it; machine code leaves with a
//! status, and the context says where to go on. Native frames hold return addresses only and are given up on the way out;
//! what they stood for continues through the frames' headers.
//!
//! Who is warm: the interpreter counts calls (`tier_entry`) and, by the budget, which it gets in small portions here, turns
//! of loops. At a function's threshold the driver compiles it, unless compiling would cost more than the run has earned:
//! see [`Driver::worth`].

mod code;
pub mod events;
pub mod measure;
mod optimized;
mod payoff;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use upshift_baseline::Facts;
use upshift_bytecode::{Effects, Op, Word};
use upshift_interpreter::routines;
use upshift_optimizer::build::{LIMIT, Options, Start};
use upshift_optimizer::helper::Helper as OptHelper;
use upshift_optimizer::ir::Reason;
use upshift_optimizer::lower::Effort;
use upshift_runtime::context::{Context, Helper, RunEnd, Status};
use upshift_runtime::frame::{FLAGS, Frame, FunctionEntry, SPECIAL};
use upshift_runtime::heap::thread_time;
use upshift_runtime::instance::{Instance, TierHooks};
use upshift_runtime::linked::LinkedModule;
use upshift_runtime::routine::Routine;
use upshift_runtime::sampling::{Activity, Running};
use upshift_runtime::value::Value;

use code::{Code, Outcome};
pub use code::{Machinery, SharedMachinery};
use events::{Cause, Event, Ring, What};
pub(crate) use optimized::HeldCounts;
pub(crate) use optimized::World;
use optimized::{Job, Optimized, OptimizedCode, Seen};

use crate::engine::TierConfig;
use crate::explain::codes::Code as Why;
use crate::explain::journal::{self, Journal, Outcome as Answer};

/// Runs that end before this never map the code memory, which takes about as long.
const PATIENCE: Duration = Duration::from_micros(200);
/// Compiling may take so long whatever the run has earned.
const ALLOWANCE: Duration = Duration::from_micros(250);
/// And the part of the running time that it may take beyond that: one in so many.
const SHARE: u32 = 80;
/// After the end of a loop that was compiled alone, so many turns of loops are interpreted and looked at one by one: the next loop
/// may be one, too, or the loop around.
const HUNT: u32 = 64;
/// What was too early to compile is looked at again at twice the heat, but no later than after so many units.
const AGAIN: u32 = 1_000;
/// So many units are looked at one by one before a loop is optimized: they show what is come to again and again.
const PROBE: u32 = 256;
/// And so many where they show nothing but the loop, whose turns may be many.
const PROBE_LONG: u32 = 2_048;
/// For at most so many units each is a poll after a loop got code of its own, as that is entered at a poll behind its header: inner
/// loops may take most units.
const CHASE: u32 = 4_096;
/// A loop around the one that is hot, or its function, is optimized instead where that costs at most so many times as much.
const WIDER: u32 = 3;
/// What the way out of optimized code of a loop and through the driver costs, in units.
const LEFT: u32 = 1_000;
/// What compiling an instruction costs, estimated.
const COST: Duration = Duration::from_nanos(50);

/// The routines by number, as [`Routine`] has them, then the helpers of optimized code, then its charge.
struct Table([Helper; Routine::ALL.len() + OptHelper::ALL.len() + 1]);

macro_rules! routine_table {
    ($($name:ident $function:ident,)*) => {
        const ROUTINES: [Helper; Routine::ALL.len()] = [$(routines::$function as *const () as Helper),*];
    };
}
upshift_runtime::for_each_routine!(routine_table);

macro_rules! helper_table {
    ($($name:ident $function:ident,)*) => {
        const HELPERS: [Helper; OptHelper::ALL.len()] = [$(routines::helpers::$function as *const () as Helper),*];
    };
}
upshift_optimizer::for_each_helper!(helper_table);

static TABLE: Table = {
    let mut table = [std::ptr::null(); Routine::ALL.len() + OptHelper::ALL.len() + 1];
    let mut i = 0;
    while i < ROUTINES.len() {
        table[i] = ROUTINES[i];
        i += 1;
    }
    table[Routine::NativeBudget as usize] = budget as *const () as Helper;
    let mut i = 0;
    while i < HELPERS.len() {
        table[ROUTINES.len() + i] = HELPERS[i];
        i += 1;
    }
    table[ROUTINES.len() + HELPERS.len()] = poll as *const () as Helper;
    Table(table)
};

// SAFETY: addresses of functions.
unsafe impl Sync for Table {}

/// A look at units one by one.
#[derive(Debug)]
struct Probe {
    /// For this function.
    function: u32,
    /// How many there were.
    done: u32,
    seen: Seen,
}

/// Where machine code goes on.
#[derive(Clone, Copy, Debug)]
struct Target {
    address: *const u8,
    /// Whether it is optimized code of one loop.
    of_loop: bool,
}

/// Stands for the stub of functions without machine code until the memory is mapped. Never jumped to: only machine code does.
static NOWHERE: u8 = 0;

/// The tiers' side of an instance.
#[derive(Debug)]
pub struct Driver {
    machinery: Arc<Machinery>,
    config: TierConfig,
    /// Code of this instance's functions, by number.
    code: Vec<Option<Arc<Code>>>,
    enter: *const u8,
    /// There is no executable memory.
    unavailable: bool,
    started: Instant,
    /// What compiling took so far, in processor time.
    spent: Duration,
    /// After the memory was full, functions have to be so much warmer.
    backoff: u32,
    /// Up to where the units of machine code were counted, by the instance's clock of units.
    counted: i64,
    /// What is looked at more closely.
    probe: Option<Probe>,
    /// For so many units each is a poll, since a loop has new code, which is entered at a poll behind its header.
    chase: u32,
    events: Ring,
    counters: Counters,
    optimized: Optimized,
    /// Where somebody wants a report.
    journal: Option<Box<Journal>>,
}

/// What an instance's tiers did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Functions compiled for this instance by the baseline compiler.
    pub compiled: u64,
    /// Instructions of bytecode in these.
    pub instructions: u64,
    /// Bytes of machine code made for these.
    pub bytes: u64,
    /// The time that it took, in nanoseconds.
    pub compile_nanos: u64,
    /// Entries into machine code from the driver.
    pub entered: u64,
    /// Exits from machine code to the interpreter in the middle of a function.
    pub exits: u64,
    /// Functions whose code was given up.
    pub evicted: u64,
    /// Functions and loops that optimized code was made for.
    pub optimized: u64,
    /// The time that it took, in nanoseconds, on whichever thread.
    pub optimize_nanos: u64,
    /// Entries into optimized code of a loop, from the driver.
    pub osr_entries: u64,
    /// Exits of optimized code by an assumption that failed.
    pub deopts: u64,
    /// Other exits of optimized code: traps, ends of loops that were compiled alone.
    pub left: u64,
    /// Optimized code that was retired.
    pub retired: u64,
}

// SAFETY: the pointer leads into the code memory, which the machinery keeps.
unsafe impl Send for Driver {}

impl Driver {
    /// For an instance that has no modules yet.
    pub fn install(machinery: Arc<Machinery>, config: TierConfig, instance: &mut Instance) -> Box<Driver> {
        let mut driver = Box::new(Driver {
            machinery,
            config,
            code: Vec::new(),
            enter: std::ptr::null(),
            unavailable: false,
            started: Instant::now(),
            spent: Duration::ZERO,
            backoff: 1,
            counted: 0,
            probe: None,
            chase: 0,
            events: Ring::default(),
            counters: Counters::default(),
            optimized: Optimized::default(),
            journal: None,
        });
        instance.set_tiers(TierHooks {
            uncompiled: &raw const NOWHERE,
            threshold: config.baseline_heat.max(1),
            routines: TABLE.0.as_ptr(),
            driver: (&raw mut *driver).cast(),
            bumped,
        });
        driver
    }

    /// The events so far.
    pub fn events(&self) -> &Ring {
        &self.events
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The time since the instance was made.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Begins, or ends, to write down what a report needs; gives what was written so far.
    pub(crate) fn set_journal(&mut self, journal: Option<Box<Journal>>) -> Option<Box<Journal>> {
        std::mem::replace(&mut self.journal, journal)
    }

    /// How it is set up.
    pub(crate) fn config(&self) -> &TierConfig {
        &self.config
    }

    fn note(&mut self, entry: &FunctionEntry, cause: Cause, what: What) {
        // SAFETY: entries of functions that ran are of loaded modules.
        let name = unsafe { entry.meta() }.name.as_ref();
        let at = self.started.elapsed();
        if let Some(journal) = &mut self.journal {
            journal.note(at, entry, cause, &what);
        }
        self.events.push(Event {
            at,
            function: name.into(),
            index: entry.index(),
            cause,
            heat: entry.heat,
            what,
        });
    }

    /// Whether compiling so many instructions pays: what it takes in all stays within a small part of the time that the
    /// program ran, so that no program is slower for it by more than that and the allowance, whatever it does next.
    fn worth(&self, instructions: u32) -> bool {
        if self.config.eager {
            return true;
        }
        let ran = self.started.elapsed();
        (!self.enter.is_null() || ran >= PATIENCE)
            && self.spent + COST * instructions <= ALLOWANCE + ran / SHARE
    }

    /// Looks at a function that reached its threshold.
    fn consider(&mut self, instance: &mut Instance, index: u32, cause: Cause, word: Option<u32>) {
        let uncompiled = instance.context.uncompiled;
        let Some(entry) = instance.entry_mut(index) else { return };
        if entry.native != uncompiled {
            let frame = Self::frame_on_top(instance, index);
            self.consider_optimizing(instance, index, cause, word, frame);
            return;
        }
        // SAFETY: the entry is of a loaded function.
        let meta = unsafe { entry.meta() };
        let seen = *entry;
        let optimize = self.config.optimize_heat;
        // A function that costs more than the allowance by itself may wait for long, but its loops need not.
        let large = COST * meta.len > ALLOWANCE;
        let later = |entry: &mut FunctionEntry| {
            entry.threshold = entry.heat.saturating_mul(2).max(2).min(entry.heat.saturating_add(AGAIN));
        };
        if self.unavailable {
            entry.threshold = u32::MAX;
            return;
        }
        if self.optimized.functions.get(&index).is_some_and(|a| seen.heat < a.baseline_at) {
            later(entry);
            self.consider_loop(instance, &seen, word);
            return;
        }
        if !self.worth(meta.len) {
            later(entry);
            // Once it is hot, its loops are what is looked at.
            if !large || seen.heat < optimize {
                self.note(&seen, cause, What::TooEarly);
            }
            if large {
                self.consider_loop(instance, &seen, word);
            }
            return;
        }
        let machinery = self.machinery.clone();
        let mark = instance.sampling_mark();
        let (started, worked) = (Instant::now(), thread_time());
        let memory = match machinery.memory() {
            Ok(memory) => memory,
            Err(_) => {
                self.unavailable = true;
                self.note(&seen, cause, What::NoMemory);
                return;
            }
        };
        self.mapped(instance, memory);
        let Some(module) = instance.module_of(index).cloned() else { return };
        let mut outcome = machinery.compile(memory, &module, meta, &Loaded(instance));
        if matches!(outcome, Outcome::Full) {
            self.note(&seen, cause, What::CacheFull);
            if self.evict(instance) {
                outcome = machinery.compile(memory, &module, meta, &Loaded(instance));
            }
        }
        // Where others ran meanwhile, that is not what compiling took. Not every system tells.
        let worked = thread_time().saturating_sub(worked);
        self.spent += if worked.is_zero() { started.elapsed() } else { worked };
        instance.sampling_since(mark, Activity::BaselineCompiler, index);
        let made = matches!(outcome, Outcome::Made(..) | Outcome::Shared(_));
        match outcome {
            Outcome::Made(code, time) => {
                self.counters.compiled += 1;
                self.counters.instructions += u64::from(code.instructions);
                self.counters.bytes += u64::from(code.bytes());
                self.counters.compile_nanos += time.as_nanos() as u64;
                let what = What::Compiled { bytes: code.bytes(), instructions: code.instructions, time };
                self.note(&seen, cause, what);
                self.put(instance, index, code);
            }
            Outcome::Shared(code) => {
                self.note(&seen, cause, What::Shared { bytes: code.bytes() });
                self.put(instance, index, code);
            }
            Outcome::Full => {
                self.note(&seen, cause, What::NoRoom);
                self.without_baseline(instance, &seen, word, seen.heat.saturating_mul(16).max(1 << 12));
            }
            Outcome::TooLarge => {
                self.note(&seen, cause, What::TooLarge);
                self.without_baseline(instance, &seen, word, u32::MAX);
            }
        }
        if made && self.config.optimize_heat == 0 {
            let frame = Self::frame_on_top(instance, index);
            self.consider_optimizing(instance, index, cause, word, frame);
        }
    }

    /// Baseline code of a function is not tried for before it has so much heat.
    fn without_baseline(
        &mut self,
        instance: &mut Instance,
        seen: &FunctionEntry,
        word: Option<u32>,
        heat: u32,
    ) {
        let index = seen.index();
        let optimize = self.config.optimize_heat;
        self.optimized.functions.entry(index).or_default().baseline_at = heat;
        if let Some(entry) = instance.entry_mut(index) {
            entry.threshold = heat.min(entry.heat.saturating_add(optimize.max(1)));
        }
        self.consider_loop(instance, seen, word);
    }

    /// Looks at the loop that turns in the interpreter, in a function that has no baseline code yet and may get none: what its code
    /// costs the optimizer does not depend on the function around it.
    fn consider_loop(&mut self, instance: &mut Instance, seen: &FunctionEntry, word: Option<u32>) {
        let patient = self.config.eager || self.started.elapsed() >= PATIENCE;
        if seen.heat < self.config.optimize_heat || !patient {
            return;
        }
        let index = seen.index();
        let frame = Self::frame_on_top(instance, index);
        let word = word.or_else(|| self.loop_around(instance, index, frame));
        if word.is_some() {
            self.consider_optimizing(instance, index, Cause::Loop, word, frame);
        }
    }

    /// From here on there is executable memory.
    fn mapped(&mut self, instance: &mut Instance, memory: &code::Memory) {
        if self.enter.is_null() {
            self.enter = memory.enter();
            instance.replace_uncompiled(memory.uncompiled());
        }
    }

    /// The frame on top, in the driver's turn, where it is the function's.
    fn frame_on_top(instance: &Instance, index: u32) -> Option<*const u64> {
        let context = &instance.context;
        // SAFETY: in the driver's turn the context describes the frame on top.
        let here = !context.entry.is_null() && unsafe { (*context.entry).index() } == index;
        here.then_some(context.fp.cast_const())
    }

    fn put(&mut self, instance: &mut Instance, index: u32, code: Arc<Code>) {
        let i = index as usize;
        if self.code.len() <= i {
            self.code.resize(i + 1, None);
        }
        let optimize = self.config.optimize_heat;
        if let Some(entry) = instance.entry_mut(index) {
            entry.native = code.entry();
            entry.threshold = entry.heat.saturating_add(optimize);
            self.optimized.functions.entry(index).or_default().since = entry.heat;
        }
        self.code[i] = Some(code);
    }

    /// Gives up all code of this instance, if nothing on its native stack can return into it; whether there was any. Functions
    /// have to be warmer than before to come back, so that too small a memory does not make the compiler run all the time.
    fn evict(&mut self, instance: &mut Instance) -> bool {
        // The driver runs now, so the run on top has no native frames; those further out may have.
        if instance.nesting() > 1 || self.code.iter().all(Option::is_none) {
            return false;
        }
        self.backoff = self.backoff.saturating_mul(2).min(1 << 16);
        let uncompiled = instance.context.uncompiled;
        let now = self.now();
        for (number, code) in self.optimized.live.drain() {
            if let Some(journal) = &mut self.journal {
                journal.evicted(number, now);
            }
            instance.set_fast(code.index, std::ptr::null());
            if let Some(entry) = instance.entry_mut(code.index) {
                entry.native = uncompiled;
            }
            self.counters.evicted += 1;
        }
        self.optimized.loops.clear();
        for attempts in self.optimized.functions.values_mut() {
            attempts.asked.clear();
            attempts.current = None;
            attempts.since = 0;
        }
        for i in 0..self.code.len() {
            if self.code[i].take().is_none() {
                continue;
            }
            self.counters.evicted += 1;
            if let Some(attempts) = self.optimized.functions.get_mut(&(i as u32)) {
                attempts.baseline_at = 0;
            }
            if let Some(entry) = instance.entry_mut(i as u32) {
                entry.native = uncompiled;
                entry.heat = 0;
                entry.threshold = self.config.baseline_heat.max(1).saturating_mul(self.backoff);
                let seen = *entry;
                self.note(&seen, Cause::Calls, What::Evicted);
            }
        }
        true
    }

    /// Where machine code goes on at an instruction of a function, if it does; with `optimized` not in the middle of baseline code.
    fn target(
        &mut self,
        entry: &FunctionEntry,
        pc: *const Word,
        uncompiled: *const u8,
        optimized: bool,
    ) -> Option<Target> {
        let target = |address| Target { address, of_loop: false };
        if pc == entry.code || pc == entry.start {
            return (entry.native != uncompiled).then_some(target(entry.native));
        }
        let word = u32::try_from((pc as usize).wrapping_sub(entry.code as usize) / 8).ok()?;
        if let Some(number) = self.optimized.loops.get(&(entry.index(), word))
            && let Some(code) = self.optimized.live.get_mut(number)
        {
            if code.entered == 0 {
                self.chase = 0;
            }
            code.entered = code.entered.saturating_add(1);
            self.counters.osr_entries += 1;
            return Some(Target { address: code.entry, of_loop: true });
        }
        if optimized {
            return None;
        }
        let code = self.code.get(entry.index() as usize)?.as_ref()?;
        code.resume(word).map(target)
    }

    // ---- Tier 2 ----

    /// Looks at a function with machine code that has become hot, at a place behind a loop header or anywhere.
    fn consider_optimizing(
        &mut self,
        instance: &mut Instance,
        index: u32,
        cause: Cause,
        word: Option<u32>,
        frame: Option<*const u64>,
    ) {
        self.finish(instance);
        let heat = self.config.optimize_heat;
        let around = word.or_else(|| self.loop_around(instance, index, frame));
        let cause = if around.is_some() { Cause::Loop } else { cause };
        let attempts = self.optimized.functions.entry(index).or_default();
        let exhausted = heat == u32::MAX || attempts.retired > self.config.retries;
        let uncompiled = instance.context.uncompiled;
        let Some(entry) = instance.entry_mut(index) else { return };
        entry.threshold = if exhausted { u32::MAX } else { entry.heat.saturating_add(heat) };
        if exhausted {
            return;
        }
        // What a loop in the interpreter would save is so much that there is nothing to weigh.
        let compiled = entry.native != uncompiled;
        if !self.config.eager && compiled {
            self.weigh(instance, index, cause, around, frame);
            return;
        }
        // A loop that turns in slower code although its own was entered before is entered anew: by the loop around it, or by calls of
        // the function. What is on its way, or was not entered yet, may be enough.
        let inner = around.filter(|_| self.config.optimize_loops).map(|word| word - 1);
        let outer = inner.and_then(|header| self.outermost(instance, index, header));
        let whole = self.config.optimize_functions.then_some(Start::Function);
        for start in [inner.map(Start::Loop), outer.map(Start::Loop), whole].into_iter().flatten() {
            let attempts = self.optimized.functions.entry(index).or_default();
            if !attempts.asked.contains(&start) {
                self.ask(instance, index, start, cause, frame);
                return;
            }
            if attempts.pending.contains(&start) || self.optimized.is_fresh(index, start) {
                return;
            }
        }
    }

    /// Decides whether the time has come to optimize a function or a loop of it, and which: see [`payoff`].
    fn weigh(
        &mut self,
        instance: &mut Instance,
        index: u32,
        cause: Cause,
        around: Option<u32>,
        frame: Option<*const u64>,
    ) {
        let Some(&FunctionEntry { heat, .. }) = instance.entry(index) else { return };
        let later = |instance: &mut Instance, threshold| {
            if let Some(entry) = instance.entry_mut(index) {
                entry.threshold = threshold;
            }
        };
        // What is on its way may have this built in.
        if self.optimized.pending > 0 || self.probe.is_some() {
            later(instance, heat.saturating_add(self.config.sample.into()));
            return;
        }
        let inner = around.filter(|_| self.config.optimize_loops).map(|word| word - 1);
        let outer = inner.and_then(|header| self.outermost(instance, index, header));
        let whole = self.config.optimize_functions.then_some(Start::Function);
        let attempts = self.optimized.functions.entry(index).or_default();
        let (since, seen) = (attempts.since, attempts.seen.clone());
        let mut open: Vec<Start> = Vec::new();
        for start in [inner.map(Start::Loop), outer.map(Start::Loop), whole].into_iter().flatten() {
            let attempts = self.optimized.functions.entry(index).or_default();
            if !attempts.asked.contains(&start) {
                open.push(start);
            } else if self.optimized.is_fresh(index, start) {
                open.clear();
                break;
            }
        }
        let gained = heat.saturating_sub(since);
        let Some(least) = open.first().map(|&start| self.rent(instance, index, start)) else {
            later(instance, heat.saturating_add(self.config.optimize_heat));
            return;
        };
        if gained < least {
            later(instance, since.saturating_add(least));
            return;
        }
        // A loop that turns in slower code although its own was entered before is entered anew: by the loop around it, or by calls of the
        // function. Else a look shows it.
        let first = inner.is_some_and(|header| open[0] == Start::Loop(header));
        if first && seen.is_none() {
            later(instance, u32::MAX);
            self.probe = Some(Probe { function: index, done: 0, seen: Seen::default() });
            self.set_portion(instance);
            return;
        }
        let narrow = open[0];
        let again = |start: &Start| match (start, &seen) {
            _ if *start == narrow => true,
            (Start::Function, Some(seen)) if first => seen.called,
            (Start::Loop(header), Some(seen)) if first => seen.headers.contains(header),
            // The loop around it first.
            _ => false,
        };
        for start in open.into_iter().rev().filter(again) {
            let rent = self.rent(instance, index, start);
            if rent > least.saturating_mul(WIDER) {
                continue;
            }
            if gained < rent {
                later(instance, since.saturating_add(rent));
                return;
            }
            let attempts = self.optimized.functions.entry(index).or_default();
            (attempts.since, attempts.seen) = (heat, None);
            later(instance, heat.saturating_add(self.config.optimize_heat));
            self.ask(instance, index, start, cause, frame);
            return;
        }
    }

    /// How many units something has to run in baseline code before it is optimized.
    fn rent(&mut self, instance: &Instance, index: u32, start: Start) -> u32 {
        let attempts = self.optimized.functions.entry(index).or_default();
        if let Some(&rent) = attempts.rents.get(&start) {
            return rent;
        }
        let options = self.options();
        let outline = self.optimized.outline(instance, index);
        let estimate = outline.and_then(|o| payoff::estimate(instance, &o, index, start, &options));
        let rent = estimate.map_or(u32::MAX, |e| e.units()).max(self.config.optimize_heat);
        self.optimized.functions.entry(index).or_default().rents.insert(start, rent);
        rent
    }

    /// Sets after how many units machine code polls.
    fn set_portion(&self, instance: &mut Instance) {
        let single = self.probe.is_some() || self.chase > 0;
        instance.set_quantum(if single { 1 } else { self.config.sample.into() });
    }

    /// Notes a unit on the way to the header of a loop that has new code.
    fn chased(&mut self, instance: &mut Instance) {
        if self.chase > 0 {
            self.chase -= 1;
            if self.chase == 0 {
                self.set_portion(instance);
            }
        }
    }

    /// Notes a unit that is looked at by itself: a call, or a turn of a loop, which is known by where it goes on.
    fn probed(&mut self, instance: &mut Instance, callee: Option<u32>, index: u32, behind: Option<u32>) {
        let Some(probe) = &mut self.probe else { return };
        probe.seen.called |= callee == Some(probe.function);
        if index == probe.function
            && let Some(header) = behind.map(|word| word - 1)
            && !probe.seen.headers.contains(&header)
        {
            probe.seen.headers.push(header);
        }
        probe.done += 1;
        let alone = !probe.seen.called && probe.seen.headers.len() < 2;
        if probe.done < if alone { PROBE_LONG } else { PROBE } {
            return;
        }
        let Some(probe) = self.probe.take() else { return };
        self.set_portion(instance);
        self.optimized.functions.entry(probe.function).or_default().seen = Some(probe.seen);
        if let Some(entry) = instance.entry_mut(probe.function) {
            entry.threshold = entry.heat;
        }
    }

    /// The word behind the header of the innermost loop around the call that the frame on top is at. Its turns are what is known to
    /// go on: who else calls the function is seen at other calls.
    fn loop_around(&mut self, instance: &Instance, index: u32, frame: Option<*const u64>) -> Option<u32> {
        frame?;
        let distance = (instance.context.pc as usize).wrapping_sub(instance.entry(index)?.code as usize);
        let word = u32::try_from(distance / size_of::<Word>()).ok().filter(|&word| word != 0)?;
        self.optimized.outline(instance, index)?.innermost(word).map(|l| l.header + 1)
    }

    /// The header of the outermost loop around another loop, which is given by its header, that is not too large to be compiled.
    fn outermost(&mut self, instance: &Instance, index: u32, header: u32) -> Option<u32> {
        let outline = self.optimized.outline(instance, index)?;
        outline.outermost(header, LIMIT).map(|l| l.header).filter(|&outer| outer != header)
    }

    /// Looks at a function that has become hot while native frames are on the stack: nothing may be evicted.
    fn consider_from_inside(&mut self, instance: &mut Instance, index: u32) {
        let uncompiled = instance.context.uncompiled;
        if instance.entry(index).is_some_and(|e| e.native != uncompiled) {
            self.consider_optimizing(instance, index, Cause::Calls, None, None);
        }
    }

    /// Asks for code. `frame` is a frame of the function, which is running now: its closures are taken for what later calls have.
    fn ask(
        &mut self,
        instance: &mut Instance,
        index: u32,
        start: Start,
        cause: Cause,
        frame: Option<*const u64>,
    ) {
        if !self.optimized.functions.entry(index).or_default().asked.insert(start) {
            return;
        }
        let machinery = self.machinery.clone();
        let number = machinery.next_number();
        let modules = instance.modules().to_vec();
        let feedback = modules.iter().map(|m| instance.feedback(m).to_vec()).collect();
        let closures = match (frame, instance.function(index)) {
            // SAFETY: the frame is the function's, and live.
            (Some(fp), Some(meta)) => unsafe {
                optimized::closures(&instance.heap, fp, meta, cause == Cause::Loop)
            },
            _ => HashMap::new(),
        };
        let outline = self.optimized.outline(instance, index);
        let outlines = outline.into_iter().map(|outline| (index, outline)).collect();
        let options = self.options();
        let attempts = self.optimized.functions.entry(index).or_default();
        let looks = attempts.bumped > self.config.retries;
        let bumped = (0..).zip(&*instance.watches()).filter(|w| *w.1 != 0).map(|w| w.0).collect();
        let failed = self.optimized.failed.clone();
        let job = Job {
            world: World { modules, feedback, closures, failed, bumped, looks, outlines },
            index,
            start,
            options,
            number,
            stress: self.config.deopt_stress,
            verify: self.config.verify,
            counted: self.journal.is_some(),
            held: (self.journal.is_some() && self.config.count_held).then(|| Arc::new(HeldCounts::new())),
        };
        let now = self.now();
        if let Some(entry) = instance.entry(index).copied() {
            self.note(&entry, cause, What::Hot);
            if let Some(journal) = &mut self.journal {
                journal.asked(number, index, start, cause, entry.heat, now);
            }
        }
        if !machinery.optimize(job, &self.optimized.inbox) {
            if let Some(journal) = &mut self.journal {
                journal.no_compiler = true;
            }
            self.config.optimize_heat = u32::MAX;
            return;
        }
        self.optimized.pending += 1;
        self.optimized.functions.entry(index).or_default().pending.insert(start);
        if self.config.sync {
            let mark = instance.sampling_mark();
            let all = self.optimized.inbox.wait();
            instance.sampling_since(mark, Activity::OptimizingCompiler, index);
            for done in all {
                self.optimized.pending -= 1;
                self.installed(instance, done);
            }
        }
    }

    /// How much is inlined.
    fn options(&self) -> Options {
        Options {
            callee: self.config.inline_callee,
            recursion: self.config.inline_recursion,
            unseen: !self.config.eager,
            ..Options::default()
        }
    }

    /// Takes results of the compiler.
    fn finish(&mut self, instance: &mut Instance) {
        if self.optimized.waits() {
            for done in self.optimized.inbox.take() {
                self.optimized.pending -= 1;
                self.installed(instance, done);
            }
        }
    }

    fn installed(&mut self, instance: &mut Instance, mut done: optimized::Done) {
        if let Some(attempts) = self.optimized.functions.get_mut(&done.index) {
            attempts.pending.remove(&done.start);
        }
        let Some(seen) = instance.entry(done.index).copied() else { return };
        let (index, start, number, time) = (done.index, done.start, done.number, done.time);
        self.counters.optimize_nanos += time.as_nanos() as u64;
        let instructions = done.instructions;
        let summary = done.summary.take();
        let now = self.now();
        if let Err(refused) = &done.machine {
            if let Some(journal) = &mut self.journal {
                journal.answered(number, Answer::Refused { at: now, time, code: refused.code }, summary);
            }
            self.note(&seen, Cause::Calls, What::Refused { reason: refused.text.as_str().into() });
            return;
        }
        if is_stale(instance, &done.watches) {
            if let Some(attempts) = self.optimized.functions.get_mut(&index) {
                attempts.asked.remove(&start);
                attempts.bumped += 1;
            }
            if let Some(journal) = &mut self.journal {
                journal.answered(number, Answer::Refused { at: now, time, code: Why::Retired }, summary);
            }
            self.note(&seen, Cause::Watch, What::Refused { reason: "a watch was bumped meanwhile".into() });
            return;
        }
        let machinery = self.machinery.clone();
        let Ok(memory) = machinery.memory() else { return };
        self.mapped(instance, memory);
        let addresses = |function| instance.entry(function).map(|e| e.code.expose_provenance());
        let (profiler, modules) = (machinery.profiler(), instance.modules());
        let checks =
            done.machine.as_mut().map(|machine| std::mem::take(&mut machine.held)).unwrap_or_default();
        let Some(code) = memory.place_optimized(done, self.config.code_cache, profiler, modules, addresses)
        else {
            if let Some(journal) = &mut self.journal {
                journal.answered(number, Answer::Refused { at: now, time, code: Why::NoRoom }, summary);
            }
            self.note(&seen, Cause::Calls, What::NoRoom);
            return;
        };
        self.counters.optimized += 1;
        let bytes = code.block.len() as u32;
        if let Some(journal) = &mut self.journal {
            journal.answered(number, Answer::Installed { at: now, time, bytes, instructions }, summary);
            journal.counts(number, checks, code.held.clone());
        }
        self.note(
            &seen,
            Cause::Calls,
            What::Optimized { bytes, instructions, time, osr: matches!(start, Start::Loop(_)) },
        );
        match start {
            Start::Function => {
                let attempts = self.optimized.functions.entry(index).or_default();
                attempts.current = Some(number);
                if let Some(entry) = instance.entry_mut(index) {
                    entry.native = code.entry;
                }
                instance.set_fast(index, code.fast);
            }
            Start::Loop(header) => {
                self.optimized.loops.insert((index, header + 1), number);
                self.chase = CHASE;
                self.set_portion(instance);
            }
        }
        self.optimized.live.insert(number, code);
    }

    /// Counts an exit, and retires code that fails too often.
    fn left(
        &mut self,
        instance: &mut Instance,
        number: u32,
        exit: u32,
        reason: Reason,
        place: &optimized::Place,
    ) {
        let Some(code) = self.optimized.live.get_mut(&number) else { return };
        if let Some(taken) = code.taken.get_mut(exit as usize) {
            *taken = taken.saturating_add(1);
        }
        let index = code.index;
        if let Some(journal) = &mut self.journal {
            // SAFETY: the place is before an instruction of a loaded function, whose frame is complete.
            let at = unsafe {
                let entry = &*place.entry;
                (entry.index(), place.pc.offset_from(entry.code) as u32)
            };
            // SAFETY: likewise.
            let values = || unsafe { journal::operands(instance, place.fp, place.pc) };
            journal.left(number, reason, at, values);
        }
        if reason == Reason::Region {
            self.counters.left += 1;
            code.left = code.left.saturating_add(1);
            let (left, start) = (code.left, code.start);
            let Start::Loop(header) = start else { return };
            if self.config.eager {
                if left == 2 {
                    self.widen(instance, index, header);
                }
            } else if self.sample(instance, index, LEFT) {
                let frame = Self::frame_on_top(instance, index);
                self.weigh(instance, index, Cause::Loop, Some(header + 1), frame);
            }
            return;
        }
        if reason.is_trap() {
            self.counters.left += 1;
            return;
        }
        self.counters.deopts += 1;
        code.failures += 1;
        let often = code.failures >= self.config.failures;
        let start = code.start;
        // SAFETY: the place is at an instruction of a loaded function.
        let (function, word) = unsafe {
            let entry = &*place.entry;
            (entry.index(), place.pc.offset_from(entry.code) as u32)
        };
        if reason != Reason::Unseen {
            let failed = Arc::make_mut(&mut self.optimized.failed);
            failed.insert((function, word));
            if reason == Reason::Negative {
                failed.insert((function, upshift_optimizer::build::ANYWHERE));
            }
        }
        if let Some(entry) = instance.entry(index).copied() {
            self.note(&entry, Cause::Calls, What::Deoptimized { reason });
        }
        let code = self.optimized.live.get_mut(&number);
        if !often || self.config.deopt_stress || code.is_none_or(|c| std::mem::replace(&mut c.retired, true))
        {
            return;
        }
        self.optimized.functions.entry(index).or_default().retired += 1;
        self.retire(instance, number, index, start, Cause::Calls);
    }

    /// Code is entered no more, and may be asked for anew. It stays where it is: native frames may return into it.
    fn retire(&mut self, instance: &mut Instance, number: u32, index: u32, start: Start, cause: Cause) {
        self.counters.retired += 1;
        let now = self.now();
        if let Some(journal) = &mut self.journal {
            journal.retired(number, now);
        }
        let attempts = self.optimized.functions.entry(index).or_default();
        attempts.asked.remove(&start);
        match start {
            Start::Loop(header) => {
                self.optimized.loops.remove(&(index, header + 1));
            }
            Start::Function if attempts.current == Some(number) => {
                attempts.current = None;
                instance.set_fast(index, std::ptr::null());
                let uncompiled = instance.context.uncompiled;
                let baseline = self.code.get(index as usize).and_then(Option::as_ref).map(|c| c.entry());
                if let Some(entry) = instance.entry_mut(index) {
                    entry.native = baseline.unwrap_or(uncompiled);
                }
            }
            Start::Function => {}
        }
        if let Some(entry) = instance.entry_mut(index) {
            entry.threshold = entry.heat.saturating_add(self.config.optimize_heat);
            let entry = *entry;
            self.optimized.functions.entry(index).or_default().since = entry.heat;
            self.note(&entry, cause, What::Retired);
        }
    }

    /// Watches were bumped: retires the code that was made for them as they were. Frames that are in it look again behind each call.
    fn bumped(&mut self, instance: &mut Instance) {
        let stale = |code: &OptimizedCode| !code.retired && is_stale(instance, &code.watches);
        let live = self.optimized.live.iter_mut().filter(|(_, code)| stale(code));
        let mut all: Vec<(u32, u32, Start)> = live
            .map(|(&number, code)| {
                code.retired = true;
                (number, code.index, code.start)
            })
            .collect();
        all.sort_unstable_by_key(|code| code.0);
        for (number, index, start) in all {
            self.optimized.functions.entry(index).or_default().bumped += 1;
            self.retire(instance, number, index, start, Cause::Watch);
        }
    }

    /// A loop that was compiled alone is left again and again: asks for the outermost loop around it, or the function.
    fn widen(&mut self, instance: &mut Instance, index: u32, header: u32) {
        let frame = Self::frame_on_top(instance, index);
        match self.outermost(instance, index, header) {
            Some(outer) if self.config.optimize_loops => {
                self.ask(instance, index, Start::Loop(outer), Cause::Loop, frame);
            }
            _ if self.config.optimize_functions => {
                self.ask(instance, index, Start::Function, Cause::Loop, frame);
            }
            _ => {}
        }
    }

    /// The units that machine code used up since it was asked last.
    fn portion(&mut self, instance: &Instance) -> u32 {
        let now = instance.units();
        let portion = now - self.counted;
        self.counted = now;
        portion.clamp(0, u32::MAX.into()) as u32
    }

    /// Makes a function warmer by a portion of the budget; whether it is to be looked at.
    fn sample(&mut self, instance: &mut Instance, index: u32, portion: u32) -> bool {
        let Some(entry) = instance.entry_mut(index) else { return false };
        entry.heat = entry.heat.saturating_add(portion);
        entry.heat >= entry.threshold
    }

    /// The function that an instruction calls, where its number says so.
    unsafe fn called(pc: *const Word) -> Option<u32> {
        // SAFETY: the pc is at an instruction.
        let word = unsafe { *pc };
        match Op::from_number(word.op())? {
            Op::CallInt | Op::CallFloat | Op::CallCell | Op::CallVoid | Op::CallIntAddImm | Op::TailCall => {
                Some(word.wide())
            }
            _ => None,
        }
    }
}

/// Where a loop goes on that charged a turn at an instruction.
///
/// # Safety
/// The pc is at a verified instruction.
unsafe fn behind_charge(pc: *const Word) -> Option<*const Word> {
    // SAFETY: by the contract; a header is no last instruction.
    unsafe {
        if Op::from_number((*pc).op()) == Some(Op::LoopHeader) {
            return Some(pc.add(1));
        }
        routines::loop_target(pc)
    }
}

/// Where what is left at a charge goes on, with the cells of the window that are in use there: behind a loop's charge, or at a call, which
/// is done as a whole by whoever goes on, who charges it again.
///
/// # Safety
/// The place is that of the exit, whose frames are complete.
unsafe fn left_at(
    instance: &mut Instance,
    place: &optimized::Place,
    exit: &upshift_optimizer::lower::Exit,
) -> Option<(*const Word, (*mut Value, usize))> {
    // SAFETY: by the contract; the callee's arguments stand in the window.
    unsafe {
        if let Some(pc) = behind_charge(place.pc).filter(|_| exit.windowless) {
            return Some((pc, (std::ptr::null_mut(), 0)));
        }
        let word = *place.pc;
        let callee = match Op::from_number(word.op())? {
            Op::TailClosure => {
                Some((*Value::from_bits(*place.fp.add(word.a() as usize)).as_object_unchecked()).meta)
            }
            // It collects itself.
            Op::TailCell => None,
            _ => Some(Driver::called(place.pc)?),
        };
        let window = match callee {
            None => (std::ptr::null_mut(), 0),
            Some(callee) => {
                let meta = instance.function(callee)?;
                // The environment's place is written by the call.
                let environment = usize::from(meta.environment);
                let first = meta.layout.first_cell() as usize + environment;
                let window = place.fp.byte_add((*place.entry).size()).add(first);
                (window.cast(), (meta.layout.cell_params as usize).saturating_sub(environment))
            }
        };
        instance.context.budget += 1;
        Some((place.pc, window))
    }
}

/// The budget is used up in machine code: as the interpreter's routine, and a sample for the tiers.
///
/// # Safety
/// See [`upshift_runtime::context::Routine`].
unsafe extern "C" fn budget(
    ctx: *mut Context,
    fp: *mut u64,
    pc: *const Word,
    entry: *const FunctionEntry,
) -> Status {
    // SAFETY: passed on; references are let go before code runs.
    unsafe {
        (*ctx.cast::<Instance>()).sampling_poll(Frame { fp, entry }, pc, Running::Baseline);
        let status = routines::native_budget(ctx, fp, pc, entry);
        if status != Status::Continue {
            return status;
        }
        let driver = (*ctx).tiers.cast::<Driver>();
        let instance = &mut *ctx.cast::<Instance>();
        let portion = (*driver).portion(instance);
        let mut look = (*driver).optimized.waits();
        let index = (*entry).index();
        let behind = behind_charge(pc).map(|target| target.offset_from((*entry).code) as u32);
        // A loop that has code of its own is entered.
        look |= behind.is_some_and(|word| (*driver).optimized.loops.contains_key(&(index, word)));
        (*driver).probed(instance, Driver::called(pc), index, behind);
        (*driver).chased(instance);
        if let Some(callee) = Driver::called(pc)
            && (*driver).sample(instance, callee, portion)
        {
            (*driver).consider_from_inside(instance, callee);
        }
        look |= (*driver).sample(instance, (*entry).index(), portion);
        if !look {
            return Status::Continue;
        }
        let op = Op::from_number((*pc).op()).unwrap_or(Op::Nop);
        (*ctx).pc = if let Some(target) = behind_charge(pc) {
            target
        } else {
            if !op.effects().has(Effects::CALL) {
                return Status::Continue;
            }
            // The call charges again.
            (*ctx).budget += 1;
            pc
        };
        (*ctx).fp = fp;
        (*ctx).entry = (*ctx).functions.add((*entry).index() as usize);
        Status::Switch
    }
}

/// The budget is used up in optimized code, at a charge that its table of exits describes. Gives a status.
///
/// # Safety
/// The context is live, `fp` the root frame of the code that the exit is of.
unsafe extern "C" fn poll(ctx: *mut Context, fp: *mut u64, exit: u64) -> u64 {
    // SAFETY: by the contract.
    unsafe {
        let driver = (*ctx).tiers.cast::<Driver>();
        let Some(code) = (*driver).optimized.code((exit >> 32) as u32) else {
            return Status::Continue as u64;
        };
        let exit = &code.exits[exit as u32 as usize];
        let place = optimized::complete(ctx, fp, exit, false);
        // What is built in is not called.
        let site = (exit.frames[0].function, exit.frames[0].word);
        let callee = Driver::called(place.pc).filter(|_| !code.inlined.contains(&site));
        let frame = Frame { fp: place.fp, entry: place.entry };
        (*ctx.cast::<Instance>()).sampling_poll(frame, place.pc, Running::Optimized(exit.frames.len()));
        let status = routines::native_budget(ctx, place.fp, place.pc, place.entry);
        if status == Status::Continue {
            let instance = &mut *ctx.cast::<Instance>();
            // A loop or recursion that makes objects where nothing may collect is left, so that something does.
            if instance.heap.overdrawn()
                && let Some((pc, window)) = left_at(instance, &place, exit)
            {
                optimized::complete(ctx, fp, exit, true);
                instance.safepoint(frame, place.pc, window);
                ((*ctx).fp, (*ctx).pc, (*ctx).entry) = (place.fp, pc, place.entry);
                return Status::Switch as u64;
            }
            (*driver).finish(instance);
            let portion = (*driver).portion(instance);
            (*driver).probed(instance, None, u32::MAX, None);
            (*driver).chased(instance);
            if let Some(callee) = callee
                && (*driver).sample(instance, callee, portion)
            {
                (*driver).consider_from_inside(instance, callee);
            }
        }
        status as u64
    }
}

/// Whether one of these watches was bumped.
fn is_stale(instance: &Instance, watches: &[u32]) -> bool {
    !watches.is_empty() && {
        let table = instance.watches();
        watches.iter().any(|&watch| table.get(watch as usize).is_none_or(|&bumped| bumped != 0))
    }
}

/// Watches were bumped.
///
/// # Safety
/// The driver is a [`Driver`], which nobody else refers to.
unsafe fn bumped(driver: *mut (), instance: &mut Instance) {
    // SAFETY: by the contract.
    unsafe { (*driver.cast::<Driver>()).bumped(instance) }
}

/// The machine code of one function, for looking at. Not placed: calls to stubs lead nowhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MachineCode {
    /// The function's name.
    pub name: String,
    /// The bytes.
    pub text: Vec<u8>,
    /// Where code that runs seldom begins; behind it stand thunks and literals.
    pub cold: u32,
    /// Where the literals begin.
    pub literals: u32,
    /// Which instruction hot code belongs to: offset in `text`, and word of the function's bytecode.
    pub map: Vec<(u32, u32)>,
    /// Instructions of bytecode.
    pub instructions: u32,
}

/// The optimized code of one function, for looking at. Not placed: calls lead nowhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OptimizedFunction {
    /// The function's name.
    pub name: String,
    /// The form of the code generator, Cranelift, as text; or a comment on why there is no code.
    pub form: String,
    /// The machine code.
    pub text: Vec<u8>,
    /// Which instruction code belongs to, from an offset in `text` on: the number of a function in the module, since others are
    /// inlined, and a word of its bytecode.
    pub map: Vec<(u32, u32, u32)>,
}

/// What is known of loaded functions and shapes.
struct Loaded<'a>(&'a Instance);

impl Facts for Loaded<'_> {
    fn header(&self, function: u32) -> Option<u32> {
        self.0.entry(function).map(|e| e.header)
    }
    fn captures(&self, function: u32) -> Option<u32> {
        self.0.function(function).map(|m| m.captures.len() as u32)
    }
    fn shape(&self, shape: u32) -> Option<(u32, u32, u16)> {
        self.0.heap.shapes.get(shape).map(|s| (s.cells, s.raws, s.tag))
    }
}

/// What each function of a module becomes before anything ran: gives the SSA form to `f`, under the pass's name.
fn each_form(
    module: &Arc<LinkedModule>,
    mut f: impl FnMut(&World, u32, &str, &upshift_optimizer::ir::Function),
) {
    let world = World::new(vec![module.clone()]);
    let options = Options { unseen: false, ..Options::default() };
    for meta in &module.functions[..module.guest_functions as usize] {
        if let Ok(mut func) = upshift_optimizer::build::build(&world, meta.index, Start::Function, options) {
            upshift_optimizer::passes::optimize_with(&mut func, &mut |pass, func| {
                f(&world, meta.index, pass, func)
            });
            f(&world, meta.index, "", &func);
        }
    }
}

pub(crate) fn ssa(module: &Arc<LinkedModule>, every_pass: bool) -> String {
    let mut out = String::new();
    each_form(module, |_, _, pass, func| {
        if every_pass && !pass.is_empty() {
            out.push_str(&format!("; {pass}\n"));
        }
        if every_pass != pass.is_empty() {
            out.push_str(&upshift_optimizer::text::print(func));
            out.push('\n');
        }
    });
    out
}

pub(crate) fn optimized_functions(module: &Arc<LinkedModule>) -> Vec<OptimizedFunction> {
    let mut all = Vec::new();
    let Some(mut compiler) = upshift_optimizer::lower::Compiler::new(Effort::Full) else { return all };
    each_form(module, |world, index, pass, func| {
        if !pass.is_empty() {
            return;
        }
        let mut form = String::new();
        let mut show = |clif: &str, _: &str| form.push_str(clif);
        let machine = compiler.compile(world, func, index, 0, false, Some(&mut show));
        let first = module.bases.functions;
        let (text, map) = match machine {
            Ok(machine) => {
                let places = machine.map.into_iter();
                (machine.text, places.map(|(at, function, word)| (at, function - first, word)).collect())
            }
            Err(error) => {
                form = format!("; {error}\n");
                (Vec::new(), Vec::new())
            }
        };
        all.push(OptimizedFunction { name: func.name.clone(), form, text, map });
    });
    all
}

/// Compiles all functions of a module, for looking at.
pub(crate) fn disassemble(module: &LinkedModule) -> Vec<Option<MachineCode>> {
    let mut scratch = upshift_baseline::Scratch::default();
    module.functions[..module.guest_functions as usize]
        .iter()
        .map(|meta| {
            let code = &module.code[meta.start as usize..];
            let input = upshift_baseline::Input { meta, code, facts: module, map: true, pin: true };
            let machine = upshift_baseline::compile(input, &mut scratch).ok()?;
            Some(MachineCode {
                name: meta.name.to_string(),
                text: machine.text,
                cold: machine.hot,
                literals: machine.data,
                map: machine.map,
                instructions: machine.instructions,
            })
        })
        .collect()
}

/// Why a function is looked at where it stands, and the word where that is behind the header of a loop.
unsafe fn where_at(entry: &FunctionEntry, pc: *const Word) -> (Cause, Option<u32>) {
    // SAFETY: the pc is at an instruction of the function's code.
    unsafe {
        let word = pc.offset_from(entry.code);
        let behind = word > 0 && (*pc.sub(1)).op() == Op::LoopHeader as u16;
        match behind {
            true => (Cause::Loop, Some(word as u32)),
            false => (Cause::Calls, None),
        }
    }
}

// Routines and this entry have one convention: see `upshift_baseline::SUPPORTED`.
type Enter = unsafe extern "C" fn(*mut Context, *mut u64, *const u8) -> u32;

/// Runs the frame at `fp` from `pc` until the frame that Rust entered through returns or is unwound, in whichever tier.
///
/// # Safety
/// As for [`upshift_interpreter::run`]; the instance's tiers are a [`Driver`].
pub unsafe fn run(ctx: *mut Context, fp: *mut u64, pc: *const Word, entry: *const FunctionEntry) -> RunEnd {
    let (mut fp, mut pc, mut entry) = (fp, pc, entry);
    // SAFETY: for the whole function: the context is an instance's, whose driver outlives the run; references to both are
    // let go before code runs. Frames are complete, and machine code of verified bytecode keeps them so.
    unsafe {
        let driver = (*ctx).tiers.cast::<Driver>();
        let instance = ctx.cast::<Instance>();
        let mut interpret = false;
        let mut came_back = false;
        let mut hunt = 0;
        loop {
            (*driver).finish(&mut *instance);
            let uncompiled = (*ctx).uncompiled;
            let mut target =
                if interpret { None } else { (*driver).target(&*entry, pc, uncompiled, hunt > 0) };
            interpret = false;
            if std::mem::take(&mut came_back) && target.is_none() {
                // An interpreted frame that calls machine code: each call is a change of tiers there and back, so it counts.
                let index = (*entry).index();
                ((*ctx).fp, (*ctx).pc, (*ctx).entry) = (fp, pc, entry);
                if let Some(entry) = (*instance).entry_mut(index) {
                    entry.heat = entry.heat.saturating_add(1);
                    if entry.heat >= entry.threshold {
                        (*driver).consider(&mut *instance, index, Cause::Calls, None);
                        let entry = *(*ctx).functions.add(index as usize);
                        target = (*driver).target(&entry, pc, (*ctx).uncompiled, hunt > 0);
                        // What the calls charge leaves nothing for the turns of a loop, which may have code.
                        if target.is_none() {
                            hunt = HUNT;
                        }
                    }
                }
            }
            if let Some(target) = target
                && (*instance).native_room().is_none_or(|room| room >= routines::NATIVE_ROOM + (80 << 10))
            {
                (*driver).set_portion(&mut *instance);
                (*driver).counters.entered += 1;
                // The table may move while code runs.
                let index = (*entry).index();
                let enter = std::mem::transmute::<*const u8, Enter>((*driver).enter);
                let outer = (*instance).sampling_in_loop(target.of_loop.then_some(fp));
                let status = enter(ctx, fp, target.address);
                (*instance).sampling_in_loop(outer);
                if status == Status::Exit as u32 {
                    return if (*instance).pending.is_some() { RunEnd::Unwound } else { RunEnd::Returned };
                }
                if status == Status::Returned as u32 {
                    // The frame that was entered returned: its header says where to. Frames above it are gone, and a tail
                    // call would have left.
                    let frame = Frame { fp, entry: (*ctx).functions.add(index as usize) };
                    let header = frame.header();
                    let link = *header.add(1);
                    let word = *header;
                    pc = std::ptr::with_exposed_provenance((word & !FLAGS) as usize);
                    fp = fp.byte_sub((link >> 32) as usize);
                    let has_result = (*frame.entry).meta().result.is_some();
                    entry = (*ctx).functions.add(link as u32 as usize);
                    // With flags the result was converted and written.
                    if has_result && word & SPECIAL == 0 {
                        *fp.add((*pc.sub(1)).a() as usize) = (*ctx).result;
                    }
                    came_back = true;
                    continue;
                }
                if status == Status::Deopt as u32 {
                    let id = (*ctx).result;
                    let (number, exit) = ((id >> 32) as u32, id as u32);
                    let Some(code) = (*driver).optimized.code(number) else {
                        debug_assert!(false, "code in use is kept");
                        return RunEnd::Unwound;
                    };
                    let windowless = code.exits[exit as usize].windowless;
                    let place = optimized::complete(ctx, (*ctx).fp, &code.exits[exit as usize], true);
                    (*driver).left(&mut *instance, number, exit, place.reason, &place);
                    (fp, pc, entry) =
                        (place.fp, place.pc, (*ctx).functions.add((*place.entry).index() as usize));
                    // Exits make objects without collecting.
                    if windowless && (*instance).heap.overdrawn() {
                        (*instance).safepoint(Frame { fp, entry }, pc, (std::ptr::null_mut(), 0));
                    }
                    if place.reason == Reason::Region {
                        hunt = HUNT;
                    }
                    interpret = !matches!(place.reason, Reason::Region | Reason::Native);
                    continue;
                }
                if status == Status::Interpret as u32 {
                    (*driver).counters.exits += 1;
                    interpret = true;
                }
                (fp, pc, entry) = ((*ctx).fp, (*ctx).pc, (*ctx).entry);
                let tail = status == Status::Reload as u32 && pc == (*entry).start;
                if tail {
                    // A call that machine code does not make itself, by way of the driver: it charged nothing that anybody samples.
                    pc = (*entry).code;
                    (*ctx).pc = pc;
                    let index = (*entry).index();
                    if let Some(entry) = (*instance).entry_mut(index) {
                        entry.heat = entry.heat.saturating_add(1);
                    }
                }
                if tail || status == Status::Switch as u32 {
                    let index = (*entry).index();
                    if (*entry).heat >= (*entry).threshold {
                        let (cause, word) = where_at(&*entry, pc);
                        (*driver).consider(&mut *instance, index, cause, word);
                        entry = (*ctx).functions.add(index as usize);
                    }
                }
                continue;
            }
            let quantum = if hunt > 0 { 1 } else { i64::from((*driver).config.quantum) };
            (*instance).set_quantum(quantum);
            if hunt > 0 {
                (*instance).end_portion();
                hunt -= 1;
            }
            let before = (*instance).units();
            let end = upshift_interpreter::run(ctx, fp, pc, entry);
            let interpreted = ((*instance).units() - before).max(0);
            (*driver).counted = ((*driver).counted + interpreted).min((*instance).units());
            match end {
                RunEnd::Switch => {
                    (fp, pc, entry) = ((*ctx).fp, (*ctx).pc, (*ctx).entry);
                    let index = (*entry).index();
                    // At the start of a function the call was counted; elsewhere a loop used its portion up, or a frame
                    // came back.
                    let (_, word) = where_at(&*entry, pc);
                    let cause = if pc == (*entry).code { Cause::Calls } else { Cause::Loop };
                    if cause == Cause::Loop
                        && let Some(entry) = (*instance).entry_mut(index)
                    {
                        entry.heat = entry.heat.saturating_add(interpreted.min(quantum) as u32);
                    }
                    if (*entry).heat >= (*entry).threshold {
                        (*driver).consider(&mut *instance, index, cause, word);
                    }
                }
                end => return end,
            }
        }
    }
}
