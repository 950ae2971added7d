//! The tiers of an instance: the driver, which takes turns with interpreter and machine code.
//!
//! [`run`] stands where an instance would call the interpreter. Frames are the same in both tiers, so a switch is a jump: the
//! driver looks whether the function has machine code with an entry at the pc, and enters it; machine code leaves with a
//! status, and the context says where to go on. Native frames hold return addresses only and are given up on the way out;
//! what they stood for continues through the frames' headers.
//!
//! Who is warm: the interpreter counts calls (`tier_entry`) and, by the budget, which it gets in small portions here, turns
//! of loops. At a function's threshold the policy (`policy.rs`) decides; what becomes of code is in `life.rs`.

mod code;
pub mod events;
mod life;
pub mod measure;
mod optimized;
mod payoff;
mod policy;
mod show;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use upshift_baseline::Facts;
use upshift_bytecode::{Effects, Op, Word};
use upshift_interpreter::routines;
use upshift_optimizer::helper::Helper as OptHelper;
use upshift_optimizer::ir::Reason;
use upshift_optimizer::lower::ExitFrame;
use upshift_runtime::check::{self, Test};
use upshift_runtime::context::{Context, Helper, RunEnd, Status};
use upshift_runtime::frame::{FLAGS, Frame, FunctionEntry, SPECIAL};
use upshift_runtime::instance::{Instance, TierHooks};
use upshift_runtime::routine::Routine;
use upshift_runtime::sampling::{Running, called_closure};
use upshift_runtime::value::Value;

use code::Code;
pub use code::{Machinery, SharedMachinery};
use events::{Cause, Event, Ring, What};
pub(crate) use optimized::HeldCounts;
use optimized::Optimized;
pub(crate) use optimized::World;
use policy::Probe;
pub use show::{MachineCode, OptimizedFunction};
pub(crate) use show::{disassemble, optimized_functions, ssa};

use crate::engine::TierConfig;
use crate::explain::journal::Journal;

/// After the end of a loop that was compiled alone, so many turns of loops are interpreted and looked at one by one: the next loop
/// may be one, too, or the loop around.
const HUNT: u32 = 64;

/// So many where a loop around has code that was never entered: between the end of the last loop in it and its own next turn.
const HUNT_FAR: u32 = 4_096;

/// So many in all for one code, beyond the first of each hunt.
const HUNT_IN_ALL: u32 = 1 << 16;

/// So many polls at calls by routines make the next charge another one, before a portion is left to run.
const BETWEEN: u8 = 16;

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
    /// What machine code saved at least against the interpreter.
    saved: Duration,
    /// After the memory was full, functions have to be so much warmer.
    backoff: u32,
    /// Up to where the units of machine code were counted, by the instance's clock of units.
    counted: i64,
    /// Whether the interpreter runs, not machine code.
    interprets: bool,
    /// The function that Rust called first, if it did so once.
    first_call: Option<u32>,
    /// How many polls at calls by routines came one behind the other.
    between: u8,
    /// What varies how many units portions have; from the same start in each run, so that runs repeat.
    random: u32,
    /// What is looked at more closely.
    probe: Option<Probe>,
    /// For so many units each is a poll, since a loop has new code, which is entered at a poll behind its header.
    chase: u32,
    /// The number of that code.
    chased_code: u32,
    /// The code of the loop around one that ended, whose turn is waited for.
    hunted: u32,
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
            saved: Duration::ZERO,
            backoff: 1,
            counted: 0,
            interprets: true,
            first_call: None,
            between: 0,
            random: 0,
            probe: None,
            chase: 0,
            chased_code: 0,
            hunted: 0,
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
            polled,
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

    /// How many turns are looked at one by one behind the end of a loop that was compiled alone.
    fn hunt(&mut self, instance: &Instance, entry: &FunctionEntry, pc: *const Word) -> u32 {
        let word = (pc as usize).wrapping_sub(entry.code as usize) / size_of::<Word>();
        let around = |driver: &mut Driver| {
            let outline = driver.optimized.outline(instance, entry.index())?;
            let inner = outline.innermost(u32::try_from(word).ok()?)?.header;
            let headers = [Some(inner), driver.outermost(instance, entry.index(), inner)];
            headers.into_iter().flatten().find_map(|header| {
                let number = *driver.optimized.loops.get(&(entry.index(), header + 1))?;
                let code = driver.optimized.live.get(&number)?;
                (code.entered == 0 && code.hunted < HUNT_IN_ALL).then_some(number)
            })
        };
        match around(self) {
            Some(number) => {
                self.hunted = number;
                HUNT_FAR
            }
            None => HUNT,
        }
    }

    /// The function that an instruction calls, where its number or the closure in the frame says so.
    ///
    /// # Safety
    /// The frame is complete, at this instruction.
    unsafe fn called(frame: Frame, pc: *const Word) -> Option<u32> {
        // SAFETY: the pc is at an instruction.
        let word = unsafe { *pc };
        match Op::from_number(word.op())? {
            Op::CallInt | Op::CallFloat | Op::CallCell | Op::CallVoid | Op::CallIntAddImm | Op::TailCall => {
                Some(word.wide())
            }
            // SAFETY: by the contract.
            _ => unsafe { called_closure(frame.fp, pc) },
        }
    }

    /// Notes the function of the closure that is called.
    ///
    /// # Safety
    /// As for [`Driver::called`], or before a loop that has the instruction and leaves the closure alone.
    unsafe fn note_callee(&mut self, frame: Frame, pc: *const Word, weight: u32) {
        // SAFETY: by the contract; the entry is the frame's.
        unsafe {
            if let Some(callee) = called_closure(frame.fp, pc) {
                let entry = &*frame.entry;
                let word = pc.offset_from(entry.code) as u32;
                Arc::make_mut(&mut self.optimized.callees).note(entry.index(), word, callee, weight);
            }
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
        let callee = match Op::from_number((*place.pc).op())? {
            // It collects itself.
            Op::TailCell => None,
            _ => Some(Driver::called(place.frame(), place.pc)?),
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
        (*driver).between = 0;
        let portion = (*driver).portion(instance);
        let mut look = (*driver).optimized.waits();
        let index = (*entry).index();
        let behind = behind_charge(pc).map(|target| target.offset_from((*entry).code) as u32);
        // A loop that has code of its own is entered.
        look |= behind.is_some_and(|word| (*driver).optimized.loops.contains_key(&(index, word)));
        let callee = Driver::called(Frame { fp, entry }, pc);
        (*driver).probed(instance, callee, index, behind);
        (*driver).chased(instance);
        (*driver).note_callee(Frame { fp, entry }, pc, portion);
        if let Some(callee) = callee
            && (*driver).sample(instance, callee, portion)
        {
            (*driver).consider_from_inside(instance, callee);
        }
        (*driver).set_portion(instance);
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
        let ExitFrame { function, word, .. } = exit.frames[0];
        let frame = place.frame();
        let callee = Driver::called(frame, place.pc);
        let callee = callee.filter(|&callee| !code.inlined.contains(&(function, word, callee)));
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
            (*driver).between = 0;
            let portion = (*driver).portion(instance);
            (*driver).probed(instance, None, u32::MAX, None);
            (*driver).chased(instance);
            (*driver).note_callee(frame, place.pc, portion);
            if code.open
                && let Some(root) = exit.frames.last()
            {
                let entry = (*ctx).functions.add(root.function as usize);
                (*driver).credit_caller(instance, Frame { fp, entry }, portion);
            }
            (*driver).set_portion(instance);
            if let Some(callee) = callee
                && (*driver).sample(instance, callee, portion)
            {
                (*driver).consider_from_inside(instance, callee);
            }
        }
        status as u64
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

/// The budget was used up at a call that a routine makes: a sample, as at other polls.
///
/// # Safety
/// The driver is a [`Driver`], which nobody else refers to; the frame is live.
unsafe fn polled(driver: *mut (), instance: &mut Instance, caller: Frame, callee: u32) {
    // SAFETY: by the contract.
    unsafe {
        let driver = &mut *driver.cast::<Driver>();
        if !driver.interprets {
            let portion = driver.portion(instance);
            let index = (*caller.entry).index();
            driver.probed(instance, Some(callee), index, None);
            driver.chased(instance);
            driver.set_portion(instance);
            driver.sample(instance, index, portion);
            let guest = instance.function(callee).is_some_and(|meta| meta.host.is_none());
            if guest && driver.sample(instance, callee, portion) {
                driver.consider_from_inside(instance, callee);
            }
        }
        // Portions and the turns of a loop with such calls may have fallen into step. So that polls at the turns come, where the tier
        // can change, the next charge is one: again and again, unless there are very many such calls in a turn.
        driver.between += 1;
        if driver.between < BETWEEN {
            instance.end_portion();
        } else {
            driver.between = 0;
        }
    }
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
    fn test(&self, code: u32) -> Option<Test> {
        check::test(&self.0.tables().lock(), code)
    }
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
    // SAFETY: passed on; a host function may have been called in between.
    unsafe {
        let driver = (*ctx).tiers.cast::<Driver>();
        let index = (*entry).index();
        (*driver).first_call = match (*driver).first_call {
            None => Some(index),
            // Not the only one any more; no function has this number.
            Some(first) if first == index => Some(u32::MAX),
            first => first,
        };
        let (interprets, entered) = ((*driver).interprets, (*ctx).entered);
        let end = take_turns(ctx, fp, pc, entry);
        (*driver).interprets = interprets;
        (*ctx).entered = entered;
        end
    }
}

/// Interpreter and machine code take turns.
///
/// # Safety
/// As for [`run`].
unsafe fn take_turns(
    ctx: *mut Context,
    fp: *mut u64,
    pc: *const Word,
    entry: *const FunctionEntry,
) -> RunEnd {
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
                (*ctx).entered = (*entry).index();
                let enter = std::mem::transmute::<*const u8, Enter>((*driver).enter);
                let outer = (*instance).sampling_in_loop(target.of_loop.then_some(fp));
                (*driver).interprets = false;
                let status = enter(ctx, fp, target.address);
                (*instance).sampling_in_loop(outer);
                if status == Status::Exit as u32 {
                    return if (*instance).pending.is_some() { RunEnd::Unwound } else { RunEnd::Returned };
                }
                if status == Status::Returned as u32 {
                    // The frame that was entered returned, whoever had it last: its header says where to. Frames above it are gone.
                    // The table may have moved while code ran.
                    let frame = Frame { fp, entry: (*ctx).functions.add((*ctx).entered as usize) };
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
                        hunt = (*driver).hunt(&*instance, &*entry, pc);
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
                if hunt >= HUNT
                    && let Some(code) = (*driver).optimized.live.get_mut(&(*driver).hunted)
                {
                    code.hunted += 1;
                }
            }
            let before = (*instance).units();
            (*driver).interprets = true;
            let end = upshift_interpreter::run(ctx, fp, pc, entry);
            let interpreted = ((*instance).units() - before).max(0);
            (*driver).counted = ((*driver).counted + interpreted).min((*instance).units());
            match end {
                RunEnd::Switch => {
                    (*driver).between = 0;
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
