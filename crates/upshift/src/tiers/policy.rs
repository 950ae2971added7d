//! The policy of the tiers: who is warm enough for machine code, who for optimized code, and when that pays.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use upshift_bytecode::Word;
use upshift_optimizer::build::{LIMIT, Options, Start, divisors};
use upshift_runtime::frame::{FLAGS, Frame, FunctionEntry};
use upshift_runtime::heap::thread_time;
use upshift_runtime::instance::Instance;
use upshift_runtime::sampling::Activity;

use super::code::Outcome;
use super::events::{Cause, What};
use super::optimized::{self, HeldCounts, Job, Seen, World};
use super::{Driver, Loaded, payoff};

/// Runs that end before this never map the code memory, which takes about as long.
const PATIENCE: Duration = Duration::from_micros(200);
/// Compiling may take so long whatever the run has earned.
const ALLOWANCE: Duration = Duration::from_micros(250);
/// And the part of the running time that it may take beyond that: one in so many.
const SHARE: u32 = 80;
/// What a unit, a call or a turn of a loop, saves at least where it runs in machine code: some ten instructions are not dispatched.
const SAVED: u64 = 2;
/// What was too early to compile is looked at again at twice the heat, but no later than after so many units.
const AGAIN: u32 = 1_000;
/// So many units are looked at one by one before a loop is optimized: they show what is come to again and again.
const PROBE: u32 = 256;
/// And so many where they show nothing but the loop, whose turns may be many.
const PROBE_LONG: u32 = 2_048;
/// A loop around the one that is hot, or its function, is optimized instead where that costs at most so many times as much.
const WIDER: u32 = 3;
/// So many callers are looked at for a loop that knows which closures a function is given.
const CALLERS: usize = 3;
/// Of what such a function did in optimized code one part in so many could have been saved, of what it saves against baseline code.
const CREDIT: u32 = 4;
/// What compiling an instruction costs, estimated.
const COST: Duration = Duration::from_nanos(50);

/// A look at units one by one.
#[derive(Debug)]
pub(super) struct Probe {
    /// For this function.
    function: u32,
    /// How many there were.
    done: u32,
    seen: Seen,
}

impl Driver {
    /// Whether compiling so many instructions pays: what it takes in all stays within a small part of the time that the
    /// program ran and what machine code has saved it so far, so that no program is slower for it by more than that part and the
    /// allowance, whatever it does next.
    pub(super) fn worth(&self, instructions: u32) -> bool {
        if self.config.eager {
            return true;
        }
        let ran = self.started.elapsed();
        (!self.enter.is_null() || ran >= PATIENCE)
            && self.spent + COST * instructions <= ALLOWANCE + ran / SHARE + self.saved
    }

    /// Looks at a function that reached its threshold.
    pub(super) fn consider(&mut self, instance: &mut Instance, index: u32, cause: Cause, word: Option<u32>) {
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
    pub(super) fn without_baseline(
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
    pub(super) fn consider_loop(&mut self, instance: &mut Instance, seen: &FunctionEntry, word: Option<u32>) {
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

    /// Looks at a function with machine code that has become hot, at a place behind a loop header or anywhere.
    pub(super) fn consider_optimizing(
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
        let exhausted = attempts.exhausted(&self.config);
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
    pub(super) fn weigh(
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
        let outline = inner.and_then(|_| self.optimized.outline(instance, index));
        let mut loops: Vec<Start> = inner.into_iter().map(Start::Loop).collect();
        if let (Some(header), Some(outline)) = (inner, &outline) {
            loops.extend(outline.around(header, LIMIT).skip(1).map(|l| Start::Loop(l.header)));
        }
        let attempts = self.optimized.functions.entry(index).or_default();
        let (since, seen) = (attempts.since, attempts.seen.clone());
        let called = around.is_none() || seen.as_ref().is_some_and(|seen| seen.called);
        let once = !called && self.runs_once(instance, index, frame);
        let whole = (self.config.optimize_functions && !once).then_some(Start::Function);
        let mut open: Vec<Start> = Vec::new();
        for start in loops.into_iter().chain(whole) {
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

    /// Whether the frame is that of the first call that Rust made, and there was no other one of this function: a program's top level, of
    /// which code for the next call is of no use.
    fn runs_once(&self, instance: &Instance, index: u32, frame: Option<*const u64>) -> bool {
        let header = instance.entry(index).map(|entry| entry.header as usize);
        // SAFETY: the frame is the function's, and live; its header says where it returns to.
        let back = frame.zip(header).map(|(fp, header)| unsafe { *fp.byte_add(header) } & !FLAGS);
        self.first_call == Some(index) && back == Some(0)
    }

    /// How many units something has to run in baseline code before it is optimized.
    pub(super) fn rent(&mut self, instance: &Instance, index: u32, start: Start) -> u32 {
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

    /// Sets after how many units machine code polls. Each time after other many, up to an eighth less, as nested loops fall into step
    /// with any fixed number: where polls come would show some calls again and again and others never.
    pub(super) fn set_portion(&mut self, instance: &mut Instance) {
        let single = self.probe.is_some() || self.chase > 0;
        let most = u32::from(self.config.sample);
        self.random = self.random.wrapping_mul(0x9E37_79B1).wrapping_add(0x7F4A_7C15);
        let less = (u64::from(self.random) * u64::from(most / 8 + 1)) >> 32;
        instance.set_quantum(if single { 1 } else { i64::from(most) - less as i64 });
    }

    /// Notes a unit on the way to the header of a loop that has new code. Where it does not come, a loop inside turns for long: that is
    /// then optimized alone, and what follows on its end is looked at turn by turn.
    pub(super) fn chased(&mut self, instance: &mut Instance) {
        if self.chase > 0 {
            self.chase -= 1;
            if self.chase == 0 {
                if let Some(code) = self.optimized.live.get_mut(&self.chased_code) {
                    code.missed = code.entered == 0;
                }
                self.set_portion(instance);
            }
        }
    }

    /// Notes a unit that is looked at by itself: a call, or a turn of a loop, which is known by where it goes on.
    pub(super) fn probed(
        &mut self,
        instance: &mut Instance,
        callee: Option<u32>,
        index: u32,
        behind: Option<u32>,
    ) {
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
    pub(super) fn loop_around(
        &mut self,
        instance: &Instance,
        index: u32,
        frame: Option<*const u64>,
    ) -> Option<u32> {
        frame?;
        let distance = (instance.context.pc as usize).wrapping_sub(instance.entry(index)?.code as usize);
        let word = u32::try_from(distance / size_of::<Word>()).ok().filter(|&word| word != 0)?;
        self.optimized.outline(instance, index)?.innermost(word).map(|l| l.header + 1)
    }

    /// The header of the outermost loop around another loop, which is given by its header, that is not too large to be compiled.
    pub(super) fn outermost(&mut self, instance: &Instance, index: u32, header: u32) -> Option<u32> {
        let outline = self.optimized.outline(instance, index)?;
        outline.outermost(header, LIMIT).map(|l| l.header).filter(|&outer| outer != header)
    }

    /// Looks at a function that has become hot while native frames are on the stack: nothing may be evicted.
    pub(super) fn consider_from_inside(&mut self, instance: &mut Instance, index: u32) {
        let uncompiled = instance.context.uncompiled;
        if instance.entry(index).is_some_and(|e| e.native != uncompiled) {
            self.consider_optimizing(instance, index, Cause::Calls, None, None);
        }
    }

    /// What a frame has in the slots that one of its function's loops divides by.
    ///
    /// # Safety
    /// `fp` is a live frame of the function.
    unsafe fn divisors(
        &mut self,
        instance: &Instance,
        index: u32,
        header: u32,
        fp: *const u64,
    ) -> HashMap<u32, i64> {
        let outline = self.optimized.outline(instance, index);
        let (Some(outline), Some((_, code))) = (outline, payoff::function(instance, index)) else {
            return HashMap::new();
        };
        let Some(of) = outline.at(header) else { return HashMap::new() };
        // SAFETY: slots of the frame.
        let number = |slot: u32| (slot, unsafe { *fp.add(slot as usize) } as i64);
        divisors(code, of).into_iter().map(number).collect()
    }

    /// Asks for code. `frame` is a frame of the function, which is running now: its closures are taken for what later calls have.
    pub(super) fn ask(
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
        let divisors = match (frame, start) {
            // SAFETY: the frame is the function's, and live.
            (Some(fp), Start::Loop(header)) => unsafe { self.divisors(instance, index, header, fp) },
            _ => HashMap::new(),
        };
        let outline = self.optimized.outline(instance, index);
        let outlines = outline.into_iter().map(|outline| (index, outline)).collect();
        let options = self.options();
        let attempts = self.optimized.functions.entry(index).or_default();
        let looks = attempts.bumped > self.config.retries;
        let bumped = (0..).zip(&*instance.watches()).filter(|w| *w.1 != 0).map(|w| w.0).collect();
        let (callees, failed) = (self.optimized.callees.clone(), self.optimized.failed.clone());
        let job = Job {
            world: World { modules, feedback, closures, divisors, callees, failed, bumped, looks, outlines },
            index,
            start,
            options,
            number,
            stress: self.config.deopt_stress,
            verify: self.config.verify,
            counted: self.journal.is_some(),
            held: (self.journal.is_some() && self.config.count_held).then(|| Arc::new(HeldCounts::new())),
            framed: machinery.profiler().is_some(),
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

    /// Code of a function that calls closures that it does not know ran for a while: the loop around the call of the function, in its
    /// caller or that one's, knows them, as a call of `map` knows its lambda. Where the function can be built in there, the loop grows
    /// warmer by a part of what the function did, which runs in optimized code already, and is asked for once it has paid.
    ///
    /// # Safety
    /// The frame is a live one of the instance, and those around it are complete.
    pub(super) unsafe fn credit_caller(&mut self, instance: &mut Instance, frame: Frame, portion: u32) {
        if self.config.eager || !self.config.optimize_loops {
            return;
        }
        let options = self.options();
        let mut frame = frame;
        for _ in 0..CALLERS {
            // SAFETY: by the contract; the header says where the frame returns to.
            let (index, caller, back) = unsafe {
                let back = *frame.header() & !FLAGS;
                let index = (*frame.entry).index();
                let Some(caller) = frame.caller(&instance.context).filter(|_| back != 0) else { return };
                (index, caller, back as usize)
            };
            let Some(outline) = self.optimized.outline(instance, index) else { return };
            if options.fits(0, outline.instructions, outline.weight, 0).is_err() {
                return;
            }
            // SAFETY: an entry of the table.
            let (index, code) = unsafe { ((*caller.entry).index(), (*caller.entry).code as usize) };
            let word = (back.wrapping_sub(code) / size_of::<Word>()).wrapping_sub(1);
            let Some(outline) = self.optimized.outline(instance, index) else { return };
            let Some(header) =
                u32::try_from(word).ok().and_then(|word| outline.innermost(word)).map(|l| l.header)
            else {
                frame = caller;
                continue;
            };
            let start = Start::Loop(header);
            let attempts = self.optimized.functions.entry(index).or_default();
            let done = attempts.current.is_some() || attempts.asked.contains(&start);
            let (since, uncompiled) = (attempts.since, instance.context.uncompiled);
            let exhausted = attempts.exhausted(&self.config);
            let Some(entry) = instance.entry_mut(index).filter(|e| e.native != uncompiled) else { return };
            if done || exhausted {
                return;
            }
            entry.heat = entry.heat.saturating_add(portion / CREDIT);
            let heat = entry.heat;
            let busy = self.optimized.pending > 0 || self.probe.is_some();
            if busy || heat.saturating_sub(since) < self.rent(instance, index, start) {
                return;
            }
            self.optimized.functions.entry(index).or_default().since = heat;
            self.ask(instance, index, start, Cause::Loop, Some(caller.fp));
            return;
        }
    }

    /// How much is inlined.
    pub(super) fn options(&self) -> Options {
        Options {
            callee: self.config.inline_callee,
            recursion: self.config.inline_recursion,
            unseen: !self.config.eager,
            ..Options::default()
        }
    }

    /// A loop that was compiled alone is left again and again: asks for the outermost loop around it, or the function.
    pub(super) fn widen(&mut self, instance: &mut Instance, index: u32, header: u32) {
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
    pub(super) fn portion(&mut self, instance: &Instance) -> u32 {
        let now = instance.units();
        let portion = now - self.counted;
        self.counted = now;
        self.saved += Duration::from_nanos(SAVED * portion.max(0) as u64);
        portion.clamp(0, u32::MAX.into()) as u32
    }

    /// Makes a function warmer by a portion of the budget; whether it is to be looked at.
    pub(super) fn sample(&mut self, instance: &mut Instance, index: u32, portion: u32) -> bool {
        let Some(entry) = instance.entry_mut(index) else { return false };
        entry.heat = entry.heat.saturating_add(portion);
        entry.heat >= entry.threshold
    }
}
