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

use std::sync::Arc;
use std::time::{Duration, Instant};

use upshift_baseline::Facts;
use upshift_interpreter::routines;
use upshift_runtime::context::{Context, Helper, RunEnd, Status};
use upshift_runtime::frame::{FLAGS, Frame, FunctionEntry, SPECIAL};
use upshift_runtime::instance::{Instance, REFILL, TierHooks};
use upshift_runtime::linked::LinkedModule;

pub use code::Machinery;
use code::{Code, Outcome};
use events::{Cause, Event, Ring, What};

use crate::engine::TierConfig;

/// Runs that end before this never map the code memory, which takes about as long.
const PATIENCE: Duration = Duration::from_micros(200);
/// Compiling may take so long whatever the run has earned.
const ALLOWANCE: Duration = Duration::from_micros(250);
/// And the part of the running time that it may take beyond that: one in so many.
const SHARE: u32 = 80;
/// What compiling an instruction costs, estimated.
const COST: Duration = Duration::from_nanos(50);

macro_rules! table {
    ($($name:ident $function:ident,)*) => {
        /// The routines by number, as `upshift_baseline::Routine` has them.
        struct Table([Helper; upshift_baseline::Routine::ALL.len()]);
        static TABLE: Table = Table([$(routines::$function as *const () as Helper),*]);
    };
}
upshift_baseline::for_each_routine!(table);

// SAFETY: addresses of functions.
unsafe impl Sync for Table {}

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
    /// What compiling took so far.
    spent: Duration,
    /// After the memory was full, functions have to be so much warmer.
    backoff: u32,
    events: Ring,
    counters: Counters,
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
            events: Ring::default(),
            counters: Counters::default(),
        });
        instance.set_tiers(TierHooks {
            uncompiled: &raw const NOWHERE,
            threshold: config.baseline_heat.max(1),
            routines: TABLE.0.as_ptr(),
            driver: (&raw mut *driver).cast(),
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

    fn note(&mut self, entry: &FunctionEntry, cause: Cause, what: What) {
        // SAFETY: entries of functions that ran are of loaded modules.
        let name = unsafe { entry.meta() }.name.as_ref();
        self.events.push(Event {
            at: self.started.elapsed(),
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
    fn consider(&mut self, instance: &mut Instance, index: u32, cause: Cause) {
        let uncompiled = instance.context.uncompiled;
        let Some(entry) = instance.entry_mut(index) else { return };
        if entry.native != uncompiled {
            return;
        }
        // SAFETY: the entry is of a loaded function.
        let meta = unsafe { entry.meta() };
        let seen = *entry;
        let later = |entry: &mut FunctionEntry| entry.threshold = entry.heat.saturating_mul(2).max(2);
        if self.unavailable {
            entry.threshold = u32::MAX;
            return;
        }
        if !self.worth(meta.len) {
            later(entry);
            self.note(&seen, cause, What::TooEarly);
            return;
        }
        let machinery = self.machinery.clone();
        let started = Instant::now();
        let memory = match machinery.memory() {
            Ok(memory) => memory,
            Err(_) => {
                self.unavailable = true;
                self.note(&seen, cause, What::NoMemory);
                return;
            }
        };
        if self.enter.is_null() {
            self.enter = memory.enter();
            instance.replace_uncompiled(memory.uncompiled());
        }
        let Some(module) = instance.module_of(index).cloned() else { return };
        let mut outcome = machinery.compile(memory, &module, meta, &Loaded(instance));
        if matches!(outcome, Outcome::Full) {
            self.note(&seen, cause, What::CacheFull);
            if self.evict(instance) {
                outcome = machinery.compile(memory, &module, meta, &Loaded(instance));
            }
        }
        self.spent += started.elapsed();
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
                if let Some(entry) = instance.entry_mut(index) {
                    entry.threshold = entry.heat.saturating_mul(16).max(1 << 12);
                }
            }
            Outcome::TooLarge => {
                self.note(&seen, cause, What::TooLarge);
                if let Some(entry) = instance.entry_mut(index) {
                    entry.threshold = u32::MAX;
                }
            }
        }
    }

    fn put(&mut self, instance: &mut Instance, index: u32, code: Arc<Code>) {
        let i = index as usize;
        if self.code.len() <= i {
            self.code.resize(i + 1, None);
        }
        if let Some(entry) = instance.entry_mut(index) {
            entry.native = code.entry();
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
        for i in 0..self.code.len() {
            if self.code[i].take().is_none() {
                continue;
            }
            self.counters.evicted += 1;
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

    /// Where machine code goes on at an instruction of a function, if it does.
    fn target(&self, entry: &FunctionEntry, pc: *const upshift_bytecode::Word) -> Option<*const u8> {
        let code = self.code.get(entry.index() as usize)?.as_ref()?;
        if pc == entry.code || pc == entry.start {
            return Some(code.entry());
        }
        let word = (pc as usize).wrapping_sub(entry.code as usize) / 8;
        code.resume(u32::try_from(word).ok()?)
    }
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

// Routines and this entry have one convention: see `upshift_baseline::SUPPORTED`.
type Enter = unsafe extern "C" fn(*mut Context, *mut u64, *const u8) -> u32;

/// Runs the frame at `fp` from `pc` until the frame that Rust entered through returns or is unwound, in whichever tier.
///
/// # Safety
/// As for [`upshift_interpreter::run`]; the instance's tiers are a [`Driver`].
pub unsafe fn run(
    ctx: *mut Context,
    fp: *mut u64,
    pc: *const upshift_bytecode::Word,
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
        loop {
            let mut target = if interpret { None } else { (*driver).target(&*entry, pc) };
            interpret = false;
            if std::mem::take(&mut came_back) && target.is_none() {
                // An interpreted frame that calls machine code: each call is a change of tiers there and back, so it counts.
                let index = (*entry).index();
                if let Some(entry) = (*instance).entry_mut(index) {
                    entry.heat = entry.heat.saturating_add(1);
                    if entry.heat >= entry.threshold {
                        (*driver).consider(&mut *instance, index, Cause::Calls);
                        target = (*driver).target(&*(*ctx).functions.add(index as usize), pc);
                    }
                }
            }
            if let Some(target) = target
                && (*instance).native_room().is_none_or(|room| room >= routines::NATIVE_ROOM + 4096)
            {
                (*instance).set_quantum(REFILL);
                (*driver).counters.entered += 1;
                // The table may move while code runs.
                let index = (*entry).index();
                let enter = std::mem::transmute::<*const u8, Enter>((*driver).enter);
                let status = enter(ctx, fp, target);
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
                if status == Status::Interpret as u32 {
                    (*driver).counters.exits += 1;
                    interpret = true;
                }
                (fp, pc, entry) = ((*ctx).fp, (*ctx).pc, (*ctx).entry);
                continue;
            }
            let quantum = i64::from((*driver).config.quantum);
            (*instance).set_quantum(quantum);
            match upshift_interpreter::run(ctx, fp, pc, entry) {
                RunEnd::Switch => {
                    (fp, pc, entry) = ((*ctx).fp, (*ctx).pc, (*ctx).entry);
                    let index = (*entry).index();
                    // At the start of a function the call was counted; elsewhere a loop used its portion up, or a frame
                    // came back.
                    let cause = if pc == (*entry).code { Cause::Calls } else { Cause::Loop };
                    if cause == Cause::Loop
                        && let Some(entry) = (*instance).entry_mut(index)
                    {
                        entry.heat = entry.heat.saturating_add(quantum as u32);
                    }
                    if (*entry).heat >= (*entry).threshold {
                        (*driver).consider(&mut *instance, index, cause);
                    }
                }
                end => return end,
            }
        }
    }
}
