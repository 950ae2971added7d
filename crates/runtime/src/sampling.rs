//! Where the time of a run goes, by samples: the runtime's part, which knows when somebody asks and where the guest is.
//!
//! A clock elsewhere counts *ticks* into an atomic number. Running code looks at it where it looks at everything else: at
//! *polls*, that is, where a charge finds the budget used up (calls and turns of loops, in every tier), and around host
//! functions, collections and the compiler. So there is no signal handler, frames are walked where they are complete, and
//! code between polls does not know that it is watched.
//!
//! A poll comes after a number of *units* of work, not after a time: which poll sees a tick says little about where the time
//! went. So a tick that a poll finds opens a *window*: for the next [`WINDOW`] charges the budget has one unit, so each of them
//! is a poll, the time between them is taken, and one of these intervals is drawn with a chance in proportion to its time
//! (reservoir sampling with weights: Chao, "A general purpose unequal probability sampling plan", Biometrika 1982). What the
//! polls cost themselves is not in the intervals. The stack at the end of the interval gets all ticks that are due. So shares are
//! those of time for what repeats within a window, and for what lasts longer than a portion of the budget.
//!
//! * An interval ends at the next charge, which may stand behind what took the time. Where it began at a call whose callee charged
//!   nothing itself, callee and caller share the interval by the bytecode between the two charges; elsewhere the line is
//!   that of the charge that ended it, as a function of many instructions without calls and loops shows its caller's next one.
//! * Ticks inside a host function, a collection or the compiler go to it at its end, and those before it to its caller.
//! * What is due when a run ends goes to the function that was called from outside.
//!
//! Machine code is not left for a sample, nothing is invalidated and fuel is counted as ever: a portion of one unit is a
//! portion. Whoever counts heat by portions asks [`Instance::sampled_units`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use upshift_bytecode::{Op, Word};

use crate::frame::{FLAGS, Frame, FunctionEntry};
use crate::instance::Instance;
use crate::object::ObjectKind;
use crate::value::Value;

/// How many charges one window looks at. What repeats within so many calls and turns of loops is weighed by its time; more would
/// cost more for each sample.
pub const WINDOW: u32 = 128;

/// How many frames of a stack are kept, from the innermost; the rest is one [`Place::Deeper`]. Deep recursion would make
/// each sample a walk over megabytes.
pub const DEPTH: usize = 512;

/// What is no longer than this and calls nothing is taken to be inlined into optimized code that calls it.
const SMALL: u32 = 80;

/// The most units between polls while somebody samples, unless another number is asked for. What lasts for fewer units is seen as what
/// follows it: the budget is a register of running code, so that no clock can shorten a portion.
pub const PORTION: u32 = 1_999;

/// The machine code, if any, that a frame runs in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Code {
    /// None: the interpreter.
    Interpreter,
    /// Code of the baseline compiler.
    Baseline,
    /// Optimized code of the function or of a loop in it.
    Optimized,
    /// Optimized code of the function that inlined it, which is the next one outside that is not inlined.
    Inlined,
}

/// What a poll knows about the code it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Running {
    /// The interpreter's loop.
    Interpreter,
    /// Code of the baseline compiler.
    Baseline,
    /// Optimized code that so many of the innermost frames belong to.
    Optimized(usize),
    /// Nothing: the frame is taken to be in the best code that its function has, as frames further out are.
    Unknown,
}

/// What runs beside guest code, told apart in samples.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Activity {
    /// The collector.
    Collector,
    /// The baseline compiler, on the program's own thread.
    BaselineCompiler,
    /// Waiting for the optimizing compiler.
    OptimizingCompiler,
    /// A C function.
    Foreign,
}

/// One line of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Place {
    /// A frame of a guest function.
    Guest {
        /// The function's number.
        function: u32,
        /// The word of its code, or `u32::MAX` where nobody knows.
        word: u32,
        /// What it runs in.
        code: Code,
    },
    /// A frame of a host function.
    Host {
        /// The function's number.
        function: u32,
    },
    /// No frame, but what its caller waits for.
    Activity(Activity),
    /// Frames that were left out.
    Deeper,
}

/// Who takes samples.
pub trait Sink: Send {
    /// A stack, the innermost line first, and how many ticks it stands for.
    fn sample(&mut self, stack: &[Place], ticks: u64);
}

/// A window of charges that are looked at one by one.
#[derive(Debug)]
struct Window {
    left: u32,
    /// When the present interval began.
    since: Instant,
    /// The time of all intervals so far.
    total: Duration,
    /// Where the interval began, if at a call: the frame, the word and the callee.
    call: Option<(*mut u64, u32, u32)>,
}

/// What an instance keeps while somebody samples.
pub struct Sampling {
    due: Arc<AtomicU64>,
    portion: i64,
    /// Ticks that were given away.
    taken: u64,
    window: Option<Window>,
    /// The stack drawn so far in the window; empty if none was.
    drawn: Vec<Place>,
    /// The frame whose loop runs in optimized code of its own, where the driver entered such last.
    in_loop: Option<*mut u64>,
    /// Whether the portion that ended with the last poll was one unit of a window.
    stepped: bool,
    random: u64,
    sink: Box<dyn Sink>,
}

impl std::fmt::Debug for Sampling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampling").field("taken", &self.taken).finish_non_exhaustive()
    }
}

// SAFETY: the frames in a window and of a loop are compared and never followed.
unsafe impl Send for Sampling {}

impl Sampling {
    /// Takes a sample whenever the number is higher than before, with at most so many units between polls.
    pub fn new(due: Arc<AtomicU64>, portion: u32, sink: Box<dyn Sink>) -> Sampling {
        let taken = due.load(Ordering::Relaxed);
        let random = 0x9E37_79B9_7F4A_7C15;
        Sampling {
            due,
            portion: i64::from(portion.max(1)),
            taken,
            window: None,
            drawn: Vec::new(),
            in_loop: None,
            stepped: false,
            random,
            sink,
        }
    }

    #[inline(always)]
    fn is_due(&self) -> bool {
        self.due.load(Ordering::Relaxed) != self.taken
    }

    /// Gives all ticks that are due to a stack; where there is none they stay due.
    fn give(&mut self, stack: &[Place]) {
        if stack.is_empty() {
            return;
        }
        let due = self.due.load(Ordering::Relaxed);
        let ticks = due.wrapping_sub(self.taken);
        self.taken = due;
        if ticks != 0 {
            self.sink.sample(stack, ticks);
        }
    }

    /// Ends the window: what was drawn gets the ticks. Whether there was anything.
    fn close(&mut self) -> bool {
        self.window = None;
        let drawn = std::mem::take(&mut self.drawn);
        if !drawn.is_empty() {
            self.give(&drawn);
        }
        let any = !drawn.is_empty();
        self.drawn = drawn;
        self.drawn.clear();
        any
    }

    /// A number below `bound`, which is not 0 (xorshift: Marsaglia, 2003).
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}

impl Instance {
    /// Begins to take samples. `None` ends it; gives what was there before.
    pub fn set_sampling(&mut self, sampling: Option<Box<Sampling>>) -> Option<Box<Sampling>> {
        std::mem::replace(&mut self.sampling, sampling)
    }

    /// The most units that a refill gives because somebody samples; `None` where nobody does.
    #[inline(always)]
    pub(crate) fn sampled_portion(&self) -> Option<i64> {
        self.sampling.as_ref().map(|s| if s.window.is_some() { 1 } else { s.portion })
    }

    /// What is left of a portion of so many units, if the one that ended with the last poll was smaller because somebody samples.
    #[inline(always)]
    pub fn sampled_units(&self, units: i64) -> i64 {
        self.sampling.as_ref().map_or(units, |s| if s.stepped { 1 } else { units.min(s.portion) })
    }

    /// Ticks so far belong to nobody: a run begins.
    pub(crate) fn sampling_begins(&mut self) {
        if let Some(s) = &mut self.sampling {
            s.taken = s.due.load(Ordering::Relaxed);
        }
    }

    /// A run of a function ends: what is due goes to it.
    pub(crate) fn sampling_ends(&mut self, function: u32) {
        let host = self.function(function).is_none_or(|m| m.host.is_some());
        let code = self.code_of(function);
        if let Some(s) = &mut self.sampling
            && !s.close()
        {
            s.give(&[if host {
                Place::Host { function }
            } else {
                Place::Guest { function, word: u32::MAX, code }
            }]);
        }
    }

    /// A poll: the charge at `pc`, an instruction of the frame on top, found the budget used up. Before the budget is refilled.
    ///
    /// # Safety
    /// The frame is on top, it and all below are live and complete; `pc` is at an instruction of its function.
    #[inline(always)]
    pub unsafe fn sampling_poll(&mut self, frame: Frame, pc: *const Word, running: Running) {
        if let Some(s) = &mut self.sampling {
            s.stepped = s.window.is_some();
            if s.stepped || s.is_due() {
                // SAFETY: passed on.
                unsafe { self.look(frame, pc, running) };
            }
        }
    }

    /// A poll in a window, or one that opens it.
    ///
    /// # Safety
    /// As for [`Instance::sampling_poll`].
    #[cold]
    #[inline(never)]
    unsafe fn look(&mut self, frame: Frame, pc: *const Word, running: Running) {
        let now = Instant::now();
        // SAFETY: by the contract.
        let (word, callee) = unsafe { (word_of(&*frame.entry, pc), callee(frame.fp, pc)) };
        // SAFETY: by the contract.
        let done = unsafe { self.interval(now, frame, word, running) };
        let Some(s) = &mut self.sampling else { return };
        match &mut s.window {
            None => {
                s.window = Some(Window {
                    left: WINDOW,
                    since: Instant::now(),
                    total: Duration::ZERO,
                    call: callee.map(|c| (frame.fp, word, c)),
                });
            }
            Some(_) if done => {
                s.close();
            }
            Some(window) => {
                window.call = callee.map(|c| (frame.fp, word, c));
                window.since = Instant::now();
            }
        }
    }

    /// Ends an interval of the window at an instruction; whether the window is over.
    ///
    /// # Safety
    /// The frame is on top, it and all below are live and complete.
    unsafe fn interval(&mut self, now: Instant, frame: Frame, word: u32, running: Running) -> bool {
        let Some(s) = &mut self.sampling else { return false };
        let Some(window) = &mut s.window else { return false };
        let time = now.saturating_duration_since(window.since);
        window.total += time;
        window.left -= 1;
        let done = window.left == 0;
        let total = window.total.as_nanos() as u64;
        let call = window.call.filter(|call| call.0 == frame.fp);
        if total == 0 || s.below(total) < time.as_nanos() as u64 || s.drawn.is_empty() {
            let mut stack = std::mem::take(&mut s.drawn);
            // SAFETY: by the contract.
            unsafe {
                self.walk(frame, word, running, &mut stack);
                if let Some((_, from, callee)) = call {
                    self.share(callee, from, word, &mut stack);
                }
            }
            if let Some(s) = &mut self.sampling {
                s.drawn = stack;
            }
        }
        done
    }

    /// An interval began at a call and ended in the same frame: the callee charged nothing. It takes part by its length.
    fn share(&mut self, callee: u32, from: u32, to: u32, stack: &mut Vec<Place>) {
        let Some(meta) = self.function(callee) else { return };
        let (len, host) = (u64::from(meta.len), meta.host.is_some());
        // Behind a way back the caller's part is not known, and taken for nothing.
        let own = u64::from(to.saturating_sub(from));
        let code = match stack.first() {
            Some(Place::Guest { code: Code::Optimized | Code::Inlined, .. }) if meta.len <= SMALL => {
                Code::Inlined
            }
            _ => self.code_of(callee),
        };
        let Some(s) = &mut self.sampling else { return };
        if host || s.below(len + own + 1) >= len {
            return;
        }
        if let Some(Place::Guest { word, .. }) = stack.first_mut() {
            *word = from;
        }
        stack.insert(0, Place::Guest { function: callee, word: 0, code });
    }

    /// A host function begins, whose frame this is: what is due so far goes to its caller.
    ///
    /// # Safety
    /// The frame and all below are live and complete.
    #[inline(always)]
    pub(crate) unsafe fn sampling_calls(&mut self, frame: Frame) {
        if let Some(s) = &self.sampling
            && (s.window.is_some() || s.is_due())
        {
            // SAFETY: passed on; return pcs lie behind a call.
            unsafe {
                let back: *const Word =
                    std::ptr::with_exposed_provenance((*frame.header() & !FLAGS) as usize);
                let call = if back.is_null() { back } else { back.sub(1) };
                if let Some(caller) = frame.caller(&self.context) {
                    self.enters(caller, call);
                }
            }
        }
    }

    /// Something other than guest code begins, called from the frame on top: what is due so far goes to that one. `pc` is at
    /// the instruction, or null where it is not known.
    ///
    /// # Safety
    /// The frame and all below are live and complete.
    #[inline(always)]
    pub unsafe fn sampling_enters(&mut self, frame: Frame, pc: *const Word) {
        if let Some(s) = &self.sampling
            && (s.window.is_some() || s.is_due())
        {
            // SAFETY: passed on.
            unsafe { self.enters(frame, pc) };
        }
    }

    /// What [`Instance::sampling_enters`] does where something is due.
    ///
    /// # Safety
    /// As for [`Instance::sampling_enters`].
    #[cold]
    #[inline(never)]
    unsafe fn enters(&mut self, frame: Frame, pc: *const Word) {
        let now = Instant::now();
        // SAFETY: by the contract.
        let word = unsafe { word_of(&*frame.entry, pc) };
        // SAFETY: by the contract.
        unsafe {
            self.interval(now, frame, word, Running::Unknown);
        }
        let Some(s) = &mut self.sampling else { return };
        if !s.close() {
            let mut stack = Vec::new();
            // SAFETY: by the contract.
            unsafe { self.walk(frame, word, Running::Unknown, &mut stack) };
            if let Some(s) = &mut self.sampling {
                s.give(&stack);
            }
        }
    }

    /// What began with [`Instance::sampling_enters`] ends: what has become due since goes to it.
    ///
    /// # Safety
    /// The frame, which is the one of then, or that of the host function, and all below are live and complete.
    #[inline(always)]
    pub unsafe fn sampling_leaves(&mut self, frame: Frame, pc: *const Word, what: Option<Activity>) {
        if let Some(s) = &self.sampling
            && s.is_due()
        {
            // SAFETY: passed on.
            unsafe { self.leaves(frame, pc, what) };
        }
    }

    /// What [`Instance::sampling_leaves`] does where something is due.
    ///
    /// # Safety
    /// As for [`Instance::sampling_leaves`].
    #[cold]
    #[inline(never)]
    unsafe fn leaves(&mut self, frame: Frame, pc: *const Word, what: Option<Activity>) {
        let mut stack = Vec::new();
        // SAFETY: by the contract.
        unsafe { self.walk(frame, word_of(&*frame.entry, pc), Running::Unknown, &mut stack) };
        if let Some(what) = what {
            stack.insert(0, Place::Activity(what));
        }
        if let Some(s) = &mut self.sampling {
            // Guest code that a host function called may have left a window open.
            s.close();
            s.give(&stack);
        }
    }

    /// The driver enters machine code, or has come back: which frame then has optimized code of one of its loops, as the function's
    /// own code does not tell. Gives what held before.
    pub fn sampling_in_loop(&mut self, frame: Option<*mut u64>) -> Option<*mut u64> {
        self.sampling.as_mut().and_then(|s| std::mem::replace(&mut s.in_loop, frame))
    }

    /// The ticks so far, for [`Instance::sampling_since`].
    pub fn sampling_mark(&self) -> u64 {
        self.sampling.as_ref().map_or(0, |s| s.due.load(Ordering::Relaxed))
    }

    /// What went on since a mark had to do with a function, whoever runs: the ticks since then go to it and nothing around.
    pub fn sampling_since(&mut self, mark: u64, what: Activity, function: u32) {
        let code = self.code_of(function);
        if let Some(s) = &mut self.sampling {
            let ticks = s.due.load(Ordering::Relaxed).wrapping_sub(mark);
            if ticks != 0 {
                s.taken = s.taken.wrapping_add(ticks);
                let place = Place::Guest { function, word: u32::MAX, code };
                s.sink.sample(&[place, Place::Activity(what)], ticks);
            }
            if let Some(window) = &mut s.window {
                window.since = Instant::now();
            }
        }
    }

    /// The best code that a function has now.
    fn code_of(&self, function: u32) -> Code {
        let context = &self.context;
        match self.entry(function) {
            None => Code::Interpreter,
            Some(entry) if entry.native == context.uncompiled => Code::Interpreter,
            // SAFETY: the table has an entry for each function.
            Some(_) if unsafe { !(*context.fast.add(function as usize)).is_null() } => Code::Optimized,
            Some(_) => Code::Baseline,
        }
    }

    /// Writes the frames from `frame` on, which is at a word, the innermost first.
    ///
    /// # Safety
    /// The frame and all below are live and complete.
    unsafe fn walk(&self, frame: Frame, word: u32, running: Running, stack: &mut Vec<Place>) {
        stack.clear();
        let mut at = Some(frame);
        let mut word = word;
        while let Some(f) = at {
            // SAFETY: live frames.
            unsafe {
                let entry = &*f.entry;
                let Some(meta) = entry.meta.as_ref() else { break };
                if stack.len() == DEPTH {
                    stack.push(Place::Deeper);
                    break;
                }
                let function = entry.index();
                stack.push(if meta.host.is_some() {
                    Place::Host { function }
                } else {
                    let code = match running {
                        Running::Interpreter if stack.is_empty() => Code::Interpreter,
                        Running::Baseline if stack.is_empty() => Code::Baseline,
                        Running::Optimized(frames) if stack.len() + 1 < frames => Code::Inlined,
                        Running::Optimized(frames) if stack.len() + 1 == frames => Code::Optimized,
                        _ if self.sampling.as_ref().is_some_and(|s| s.in_loop == Some(f.fp)) => {
                            Code::Optimized
                        }
                        _ => self.code_of(function),
                    };
                    Place::Guest { function, word, code }
                });
                let back: *const Word = std::ptr::with_exposed_provenance((*f.header() & !FLAGS) as usize);
                at = f.caller(&self.context);
                if let Some(caller) = at {
                    // The word before the return pc is the call, or the second word of it.
                    word = match word_of(&*caller.entry, back) {
                        0 | u32::MAX => u32::MAX,
                        word => word - 1,
                    };
                }
            }
        }
    }
}

/// The number of a pc in a function's code.
fn word_of(entry: &FunctionEntry, pc: *const Word) -> u32 {
    if pc.is_null() || entry.code.is_null() {
        return u32::MAX;
    }
    u32::try_from((pc as usize).wrapping_sub(entry.code as usize) / size_of::<Word>()).unwrap_or(u32::MAX)
}

/// The function that the instruction at a pc is about to call, where it names it or its closure.
///
/// # Safety
/// The pc is at an instruction of a complete frame.
unsafe fn callee(fp: *const u64, pc: *const Word) -> Option<u32> {
    // SAFETY: by the contract; operands of calls of closures are closures.
    unsafe {
        let word = *pc;
        match Op::from_number(word.op())? {
            Op::CallInt | Op::CallFloat | Op::CallCell | Op::CallVoid | Op::CallIntAddImm => {
                Some(word.wide())
            }
            _ => called_closure(fp, pc),
        }
    }
}

/// The function of the closure that the instruction at a pc calls.
///
/// # Safety
/// The pc is at an instruction of the frame's function, which is complete: cells are valid.
pub unsafe fn called_closure(fp: *const u64, pc: *const Word) -> Option<u32> {
    // SAFETY: by the contract.
    unsafe {
        let word = *pc;
        let slot = match Op::from_number(word.op())? {
            // The linker put the callee of void calls there too.
            Op::CallClosureInt | Op::CallClosureFloat | Op::CallClosureCell | Op::CallClosureVoid => word.b(),
            Op::TailClosure => word.a(),
            _ => return None,
        };
        let closure = Value::from_bits(*fp.add(slot as usize)).as_object()?;
        ((*closure).kind == ObjectKind::Closure as u8).then(|| (*closure).meta)
    }
}
