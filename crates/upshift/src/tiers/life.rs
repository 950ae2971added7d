//! What becomes of machine code: it is put in place, and given up for room, after failures, or because a watch was bumped.

use std::sync::Arc;

use upshift_optimizer::build::Start;
use upshift_optimizer::ir::Reason;
use upshift_runtime::instance::Instance;

use super::Driver;
use super::code::Code;
use super::events::{Cause, What};
use super::optimized;
use crate::explain::codes::Code as Why;
use crate::explain::journal::{self, Outcome as Answer};

/// For at most so many units each is a poll after a loop got code of its own, as that is entered at a poll behind its header: inner
/// loops may take most units.
const CHASE: u32 = 4_096;
/// What the way out of optimized code of a loop and through the driver costs, in units.
const LEFT: u32 = 1_000;

impl Driver {
    pub(super) fn put(&mut self, instance: &mut Instance, index: u32, code: Arc<Code>) {
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
    pub(super) fn evict(&mut self, instance: &mut Instance) -> bool {
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

    /// Takes results of the compiler.
    pub(super) fn finish(&mut self, instance: &mut Instance) {
        if self.optimized.waits() {
            for done in self.optimized.inbox.take() {
                self.optimized.pending -= 1;
                self.installed(instance, done);
            }
        }
    }

    pub(super) fn installed(&mut self, instance: &mut Instance, mut done: optimized::Done) {
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
        // What callers would save by having it built in is less now.
        if start == Start::Function {
            self.optimized.functions.values_mut().for_each(|attempts| attempts.rents.clear());
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
                (self.chase, self.chased_code) = (CHASE, number);
                self.set_portion(instance);
            }
        }
        self.optimized.live.insert(number, code);
    }

    /// Counts an exit, and retires code that fails too often.
    pub(super) fn left(
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
        let (function, word) = code.exits[exit as usize].origin;
        if reason == Reason::Callee {
            // SAFETY: the frame is complete; a check that stands before a loop is of a closure that the loop leaves alone.
            unsafe {
                let entry = &*place.entry;
                if entry.index() == function {
                    let weight = self.config.sample.into();
                    self.note_callee(place.frame(), entry.code.add(word as usize), weight);
                }
            }
        }
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
        if often && !self.config.deopt_stress && self.retire(instance, number, Cause::Calls) {
            self.optimized.functions.entry(index).or_default().retired += 1;
        }
    }

    /// Code is entered no more, and may be asked for anew; false where that was so before. It stays where it is: native frames may
    /// return into it.
    fn retire(&mut self, instance: &mut Instance, number: u32, cause: Cause) -> bool {
        let Some(code) = self.optimized.live.get_mut(&number) else { return false };
        if std::mem::replace(&mut code.retired, true) {
            return false;
        }
        let (index, start) = (code.index, code.start);
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
        true
    }

    /// Watches were bumped: retires the code that was made for them as they were. Frames that are in it look again behind each call.
    pub(super) fn bumped(&mut self, instance: &mut Instance) {
        let live = self.optimized.live.iter().filter(|(_, code)| is_stale(instance, &code.watches));
        let mut all: Vec<(u32, u32)> = live.map(|(&number, code)| (number, code.index)).collect();
        // Events in the order in which code was asked for.
        all.sort_unstable();
        for (number, index) in all {
            if self.retire(instance, number, Cause::Watch) {
                self.optimized.functions.entry(index).or_default().bumped += 1;
            }
        }
    }
}

/// Whether one of these watches was bumped.
fn is_stale(instance: &Instance, watches: &[u32]) -> bool {
    !watches.is_empty() && {
        let table = instance.watches();
        watches.iter().any(|&watch| table.get(watch as usize).is_none_or(|&bumped| bumped != 0))
    }
}
