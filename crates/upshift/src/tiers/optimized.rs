//! Tier 2 of an instance: what is compiled when, the thread that does it, and the ways out of optimized code.
//!
//! A function or loop is asked for when samples find it: wherever machine code refills its budget, the running function, and the
//! callee where that is at a call, grow warmer by what the budget was. The job carries a snapshot: modules, and what feedback
//! sites saw. Results wait in the instance's inbox until the driver runs, at the latest at the next refill.
//!
//! An exit completes the interpreter's frames by its table and counts. Assumptions that failed are kept and not made again; code
//! that left too often by them is retired, and its function may be compiled again a limited number of times.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use upshift_baseline::{Bank, Entry, optimized_entry};
use upshift_bytecode::{CType, CellType, HeapType, KeyPolicy, Op, OrderPolicy, ValueType, Word};
use upshift_optimizer::build::{self, Facts, Guest, Options, Refusal, Start, Watched};
use upshift_optimizer::entries::entry_numbers;
use upshift_optimizer::flow::Outline;
use upshift_optimizer::ir::{CallSite, Function, Inlining, Op as SsaOp, Reason, Type};
use upshift_optimizer::lower::{Compiler, Counters, Effort, Exit, Machine, Stub as OptStub, Target};
use upshift_optimizer::passes;
use upshift_optimizer::summary::{Census, Summary};
use upshift_runtime::check::{self, Test};
use upshift_runtime::context::Context;
use upshift_runtime::feedback::Feedback;
use upshift_runtime::frame::{FLAGS, Frame, FunctionEntry, LONG};
use upshift_runtime::heap::Heap;
use upshift_runtime::instance::Instance;
use upshift_runtime::linked::{FunctionMeta, LinkedModule, type_code, type_of_code};
use upshift_runtime::object::{Closure, ObjectKind};
use upshift_runtime::record::Shape;
use upshift_runtime::value::Value;

use crate::code_memory::CodeBlock;
use crate::engine::TierConfig;
use crate::explain::codes::Code;
use crate::profile::Registration;
use crate::tiers::code::LINE;

/// What a compilation knows: loaded modules, feedback, failed assumptions.
#[derive(Debug)]
pub struct World {
    /// The modules.
    pub modules: Vec<Arc<LinkedModule>>,
    /// The feedback of each module, in order.
    pub feedback: Vec<Vec<Feedback>>,
    /// The functions of closures that the running frame has: by slot, then captures.
    pub closures: HashMap<Vec<u32>, u32>,
    /// The numbers that divisors of the loop are in the running frame, by slot.
    pub divisors: HashMap<u32, i64>,
    /// What calls of closures were seen to call.
    pub callees: Arc<Callees>,
    /// Instructions whose assumption failed: function and word.
    pub failed: Arc<HashSet<(u32, u32)>>,
    /// Watches that were bumped.
    pub bumped: HashSet<u32>,
    /// Whether code looks at watches itself, instead of being made for them as they are.
    pub looks: bool,
    /// What was read of functions.
    pub outlines: HashMap<u32, Arc<Outline>>,
}

/// The functions that calls of closures were seen to call, with their weights: by the calls' functions and words. They are seen at
/// polls and weigh as much as was done since the poll before, so weights are in proportion to calls.
#[derive(Clone, Debug, Default)]
pub struct Callees(HashMap<(u32, u32), Vec<(u32, u64)>>);

impl Callees {
    /// So many are known of each call.
    const MOST: usize = 8;

    /// Notes a call.
    pub fn note(&mut self, function: u32, word: u32, callee: u32, weight: u32) {
        let seen = self.0.entry((function, word)).or_default();
        let room = seen.len() < Callees::MOST;
        match seen.iter_mut().find(|s| s.0 == callee) {
            Some(s) => s.1 = s.1.saturating_add(weight.into()),
            None if room => seen.push((callee, weight.into())),
            None => {}
        }
    }
}

/// How many closures of a frame are looked at.
const CLOSURES: usize = 32;
/// How many captures lead from a slot to one.
const DEPTH: usize = 3;

/// The functions of the closures that a frame has, and of those that they have captured. Slots that are not in use may hold anything,
/// so each address is looked at before it is followed, and what is found is no more than likely.
///
/// # Safety
/// `fp` is a live frame of this function.
pub unsafe fn closures(
    heap: &Heap,
    fp: *const u64,
    meta: &FunctionMeta,
    all: bool,
) -> HashMap<Vec<u32>, u32> {
    let mut found = HashMap::new();
    let layout = &meta.layout;
    let cells: Vec<u32> = if all {
        (layout.first_cell()..layout.first_raw()).chain(layout.first_spilled_cell()..layout.size()).collect()
    } else {
        let environment = meta.environment.then(|| layout.first_cell());
        let params = meta.params.iter().filter(|p| p.ty.is_cell()).map(|p| p.slot);
        environment.into_iter().chain(params).collect()
    };
    let mut work: VecDeque<(Vec<u32>, u64)> = cells
        .into_iter()
        // SAFETY: slots of the frame.
        .map(|slot| (slot, unsafe { *fp.add(slot as usize) }))
        .filter(|&(_, cell)| Value::from_bits(cell).is_object())
        .map(|(slot, cell)| (vec![slot], cell))
        .collect();
    while let Some((path, cell)) = work.pop_front() {
        if !Value::from_bits(cell).is_object() {
            continue;
        }
        let Some(header) = heap.peek(cell as usize).filter(|h| *h as u8 == ObjectKind::Closure as u8) else {
            continue;
        };
        if found.len() == CLOSURES {
            break;
        }
        if path.len() <= DEPTH {
            for i in 0..((header >> 16) as u32 & 0xFFFF).min(CLOSURES as u32) {
                let Some(v) = heap.peek(cell as usize + Closure::CAPTURES + 8 * i as usize) else { break };
                work.push_back((path.iter().copied().chain([i]).collect(), v));
            }
        }
        found.insert(path, (header >> 32) as u32);
    }
    found
}

impl World {
    /// Modules of which nothing is known to have run.
    pub fn new(modules: Vec<Arc<LinkedModule>>) -> World {
        World {
            modules,
            feedback: Vec::new(),
            closures: HashMap::new(),
            divisors: HashMap::new(),
            callees: Arc::default(),
            failed: Arc::default(),
            bumped: HashSet::new(),
            looks: false,
            outlines: HashMap::new(),
        }
    }

    fn module(&self, index: u32) -> Option<&Arc<LinkedModule>> {
        self.modules.iter().find(|m| {
            let first = m.bases.functions;
            (first..first + m.functions.len() as u32).contains(&index)
        })
    }

    fn heap_type(&self, ty: CellType) -> Option<HeapType> {
        let tables = self.modules.first()?.tables().lock();
        tables.types.get(ty.id).cloned()
    }
}

/// Reads a function.
fn outline(module: &LinkedModule, index: u32) -> Option<Arc<Outline>> {
    let meta = module.function(index).filter(|meta| meta.host.is_none())?;
    let code = module.code.get(meta.start as usize..)?.get(..meta.len as usize)?;
    Some(Arc::new(Outline::new(code)))
}

impl Facts for World {
    fn function(&self, index: u32) -> Option<Guest<'_>> {
        let module = self.module(index)?;
        let meta = module.function(index)?;
        let code = if meta.host.is_some() { &[][..] } else { &module.code[meta.start as usize..] };
        Some(Guest { meta, code })
    }

    fn outline(&self, index: u32) -> Option<Arc<Outline>> {
        let known = self.outlines.get(&index).cloned();
        known.or_else(|| self.module(index).and_then(|module| outline(module, index)))
    }

    fn shape(&self, id: u32) -> Option<&Shape> {
        self.modules.iter().find_map(|m| {
            let i = id.checked_sub(m.bases.shapes)?;
            m.shapes.get(i as usize).map(|s| &**s)
        })
    }

    fn c_params(&self, index: u32) -> Option<Vec<CType>> {
        self.modules.iter().find_map(|m| {
            let i = index.checked_sub(m.bases.c_functions)?;
            m.c_functions.get(i as usize).map(|c| c.params.clone())
        })
    }

    fn closure_params(&self, ty: CellType) -> Option<Vec<ValueType>> {
        let tables = self.modules.first()?.tables().lock();
        match tables.types.get(ty.id)? {
            HeapType::Closure(signature) => tables.signature_at(*signature).map(|s| s.params.clone()),
            _ => None,
        }
    }

    fn closure(&self, path: &[u32]) -> Option<u32> {
        self.closures.get(path).copied()
    }

    fn divisor(&self, slot: u32) -> Option<i64> {
        self.divisors.get(&slot).copied()
    }

    fn callees(&self, function: u32, word: u32) -> &[(u32, u64)] {
        self.callees.0.get(&(function, word)).map_or(&[], |seen| seen)
    }

    fn constant(&self, number: u32) -> Option<Value> {
        self.modules.iter().find_map(|m| m.inline_constant(number.checked_sub(m.bases.constants)?))
    }

    fn text(&self, number: u32) -> Option<&str> {
        self.modules.iter().find_map(|m| m.string_constant(number.checked_sub(m.bases.constants)?))
    }

    fn entry_number(&self, number: u32) -> Option<u32> {
        self.modules.iter().find_map(|m| {
            let text = m.text_constant(number.checked_sub(m.bases.constants)?)?;
            m.entry_numbers.get_or_init(|| entry_numbers(m)).get(text).copied()
        })
    }

    fn element_code(&self, code: u32) -> Option<u32> {
        match self.heap_type(type_of_code(code))? {
            HeapType::ListCell(e) | HeapType::RefCell(e) | HeapType::Map { value: e, .. } => {
                Some(type_code(e))
            }
            _ => Some(0),
        }
    }

    fn map_policies(&self, code: u32) -> Option<(KeyPolicy, OrderPolicy)> {
        match self.heap_type(type_of_code(code))? {
            HeapType::Map { key, order, .. } => Some((key, order)),
            _ => None,
        }
    }

    fn test(&self, code: u32) -> Option<Test> {
        check::test(&self.modules.first()?.tables().lock(), code)
    }

    fn may_be_results(&self, ty: CellType) -> bool {
        matches!(self.heap_type(ty), Some(HeapType::Results))
    }

    fn feedback(&self, site: u32) -> Feedback {
        let found = self.modules.iter().zip(&self.feedback).find_map(|(m, sites)| {
            let i = site.checked_sub(m.bases.feedback)?;
            sites.get(i as usize)
        });
        found.copied().unwrap_or_default()
    }

    fn failed(&self, function: u32, word: u32) -> bool {
        self.failed.contains(&(function, word))
    }

    fn watch(&self, watch: u32) -> Watched {
        match (self.bumped.contains(&watch), self.looks) {
            (true, _) => Watched::Bumped,
            (false, false) => Watched::Intact,
            (false, true) => Watched::Unknown,
        }
    }
}

/// Where results wait.
#[derive(Debug, Default)]
pub struct Inbox {
    done: Mutex<Vec<Done>>,
    arrived: Condvar,
    /// Whether there are any.
    pub ready: AtomicBool,
}

impl Inbox {
    /// Takes what is there.
    pub fn take(&self) -> Vec<Done> {
        self.ready.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a result, and takes what is there.
    pub fn wait(&self) -> Vec<Done> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        while done.is_empty() {
            done = self.arrived.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
        self.ready.store(false, Ordering::Relaxed);
        std::mem::take(&mut done)
    }

    fn put(&self, done: Done) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        self.ready.store(true, Ordering::Release);
        self.arrived.notify_one();
    }
}

/// What is to be compiled.
#[derive(Debug)]
pub struct Job {
    /// What is known.
    pub world: World,
    /// The function.
    pub index: u32,
    /// All of it, or a loop.
    pub start: Start,
    /// How much is inlined.
    pub options: Options,
    /// What exits will call the code.
    pub number: u32,
    /// Whether every guard leaves now and then: for tests.
    pub stress: bool,
    /// Whether the form is verified after each pass: for tests.
    pub verify: bool,
    /// Whether what was saved is counted, for a report.
    pub counted: bool,
    /// Where the code counts checks that hold, for a report.
    pub held: Option<Arc<HeldCounts>>,
    /// Whether the code has native frames that profilers and debuggers can walk.
    pub framed: bool,
}

/// How often checks held, as the code that makes them counts. Who has the code has these.
#[derive(Debug)]
pub struct HeldCounts(Box<[AtomicU64]>);

impl HeldCounts {
    /// For the checks of one function: beyond so many nothing is counted.
    const ROOM: usize = 4096;

    /// All zero.
    pub fn new() -> HeldCounts {
        HeldCounts((0..Self::ROOM).map(|_| AtomicU64::new(0)).collect())
    }

    /// A count; zero where there is none.
    pub fn get(&self, counter: usize) -> u64 {
        self.0.get(counter).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn place(&self) -> Counters {
        Counters { address: self.0.as_ptr().expose_provenance() as u64, room: self.0.len() as u32 }
    }
}

/// A result.
#[derive(Debug)]
pub struct Done {
    /// The function.
    pub index: u32,
    /// All of it, or a loop.
    pub start: Start,
    /// What exits call the code.
    pub number: u32,
    /// The code, or why there is none.
    pub machine: Result<Machine, Refused>,
    /// What was saved, where that was asked for.
    pub summary: Option<Summary>,
    /// The job's counters.
    pub held: Option<Arc<HeldCounts>>,
    /// How long it took.
    pub time: Duration,
    /// Instructions of SSA that were lowered.
    pub instructions: u32,
    /// The calls whose callee is built in wherever they stand: function, word and callee.
    pub inlined: HashSet<(u32, u32, u32)>,
    /// Whether it calls closures that it does not know: its callers may.
    pub open: bool,
    /// Watches that must not be bumped where it is entered.
    pub watches: Vec<u32>,
}

/// Why there is no code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// For programs.
    pub code: Code,
    /// For people.
    pub text: String,
}

impl Refused {
    fn new(code: Code, text: impl Into<String>) -> Refused {
        Refused { code, text: text.into() }
    }
}

/// Builds, optimizes and lowers.
pub fn compile(compiler: &mut Compiler, job: &Job) -> Done {
    let started = Instant::now();
    let mut instructions = 0;
    let mut summary = None;
    let (mut inlined, mut open) = (HashSet::new(), false);
    let mut watches = Vec::new();
    let machine = match build::build(&job.world, job.index, job.start, job.options) {
        Err(Refusal::Absent) => Err(Refused::new(Code::CompilerFailed, "there is no such function or loop")),
        Err(Refusal::TooLarge) => Err(Refused::new(Code::TooLarge, "too large")),
        Err(Refusal::Irregular) => {
            Err(Refused::new(Code::IrregularLoop, "a loop is entered past its header"))
        }
        Ok(mut func) => {
            let built = job.counted.then(|| Census::take(&func));
            passes::optimize_with(&mut func, &mut |pass, func| {
                if job.verify
                    && let Err(error) = upshift_optimizer::verify::verify(func)
                {
                    panic!("after {pass}: {error}");
                }
            });
            summary = built.map(|built| built.compare(&Census::take(&func), &func));
            instructions = count(&func);
            inlined = built_in(&func);
            open = is_open(&func);
            compiler.count_held(job.held.as_ref().map(|held| held.place()));
            compiler.keep_frames(job.framed);
            let machine = compiler.compile(&job.world, &func, job.index, job.number, job.stress, None);
            watches = func.watches;
            machine.map_err(|text| Refused::new(Code::CompilerFailed, text))
        }
    };
    let (index, start, number) = (job.index, job.start, job.number);
    let held = job.held.clone();
    let time = started.elapsed();
    Done { index, start, number, machine, summary, held, time, instructions, inlined, open, watches }
}

/// The calls whose callee is built in wherever they stand.
fn built_in(func: &Function) -> HashSet<(u32, u32, u32)> {
    let done = func.calls.iter().filter(|c| c.inlining == Inlining::Done);
    let mut built: HashSet<_> = done.filter_map(|c| Some((c.function, c.word, c.callee?))).collect();
    for call in &func.calls {
        match call.inlining {
            Inlining::Done | Inlining::Rest => {}
            _ => built.retain(|b| {
                (b.0, b.1) != (call.function, call.word) || call.callee.is_some_and(|callee| callee != b.2)
            }),
        }
    }
    built
}

/// Whether there are calls of closures that are not known, or are checked.
fn is_open(func: &Function) -> bool {
    let unknown = |c: &CallSite| matches!(c.inlining, Inlining::Unknown | Inlining::Several | Inlining::Rest);
    let insts = func.layout.iter().flat_map(|&b| &func.blocks[b].insts).map(|&i| &func.insts[i]);
    let mut guards = insts.filter(|i| i.op == SsaOp::Guard);
    func.calls.iter().any(unknown) || guards.any(|g| g.reason() == Reason::Callee)
}

/// Instructions of SSA.
pub fn count(func: &Function) -> u32 {
    func.layout.iter().map(|&b| func.blocks[b].insts.len() as u32).sum()
}

/// The thread that compiles, and its queue.
#[derive(Debug)]
pub struct Background {
    queue: Mutex<Sender<(Job, Arc<Inbox>)>>,
    /// The number of the function that is being compiled; 0 where none is.
    pub compiling: Arc<AtomicU32>,
}

impl Background {
    /// Starts the thread, which sets up the code generator itself: whoever asks is running a program. `None` where the system gives no
    /// thread.
    pub fn start(effort: Effort) -> Option<Background> {
        let (queue, jobs) = channel::<(Job, Arc<Inbox>)>();
        let compiling = Arc::new(AtomicU32::new(0));
        let now = compiling.clone();
        std::thread::Builder::new()
            .name("upshift-compiler".to_string())
            .stack_size(16 << 20)
            .spawn(move || {
                let mut compiler = Compiler::new(effort);
                while let Ok((job, inbox)) = jobs.recv() {
                    // Whoever asked may be gone.
                    if Arc::strong_count(&inbox) == 1 {
                        continue;
                    }
                    now.store(job.index, Ordering::Relaxed);
                    let refused = |code, text| Done {
                        index: job.index,
                        start: job.start,
                        number: job.number,
                        machine: Err(Refused::new(code, text)),
                        summary: None,
                        held: None,
                        time: Duration::ZERO,
                        instructions: 0,
                        inlined: HashSet::new(),
                        open: false,
                        watches: Vec::new(),
                    };
                    let done = match &mut compiler {
                        Some(compiler) => {
                            let work = std::panic::AssertUnwindSafe(|| compile(compiler, &job));
                            std::panic::catch_unwind(work).ok()
                        }
                        None => {
                            Some(refused(Code::NoCompiler, "the code generator does not know this machine"))
                        }
                    };
                    let done = done.unwrap_or_else(|| {
                        // What it was in the middle of would be in the way of the next.
                        compiler = Compiler::new(effort);
                        refused(Code::CompilerFailed, "an internal error: this is a bug")
                    });
                    now.store(0, Ordering::Relaxed);
                    inbox.put(done);
                }
            })
            .ok()?;
        Some(Background { queue: Mutex::new(queue), compiling })
    }

    /// Asks for code.
    pub fn ask(&self, job: Job, inbox: &Arc<Inbox>) {
        // The thread lives as long as the queue.
        let _ = self.queue.lock().unwrap_or_else(PoisonError::into_inner).send((job, inbox.clone()));
    }
}

/// Optimized code in memory.
#[derive(Debug)]
pub struct OptimizedCode {
    /// Where it is.
    pub block: CodeBlock,
    /// The function.
    pub index: u32,
    /// All of it, or a loop.
    pub start: Start,
    /// Where native code enters.
    pub entry: *const u8,
    /// Where optimized code enters, with arguments in registers.
    pub fast: *const u8,
    /// The ways out.
    pub exits: Vec<Exit>,
    /// How often each was taken.
    pub taken: Vec<u32>,
    /// How often assumptions failed, in all.
    pub failures: u32,
    /// How often it was entered by the driver.
    pub entered: u32,
    /// Whether its loop was not come to while each unit was a poll: one inside of it turns for long.
    pub missed: bool,
    /// How many turns of slower code were looked at, beyond the first, to find its loop's behind the end of one inside of it.
    pub hunted: u32,
    /// How often a loop that was compiled alone was left by its end.
    pub left: u32,
    /// Whether it was given up: frames that are still in it go on, nothing enters it.
    pub retired: bool,
    /// The calls whose callee is built in wherever they stand: function, word and callee.
    pub inlined: HashSet<(u32, u32, u32)>,
    /// Whether it calls closures that it does not know: its callers may.
    pub open: bool,
    /// Watches that must not be bumped where it is entered.
    pub watches: Vec<u32>,
    /// What it counts into.
    pub held: Option<Arc<HeldCounts>>,
    /// What profilers and debuggers know.
    pub registration: Option<Registration>,
}

/// The way into machine code from native code.
pub fn way_in(machine: &Machine) -> Entry {
    let bank = |ty: Type| if ty == Type::Float { Bank::Float } else { Bank::Int };
    let arguments: Vec<(u32, Bank)> = machine.arguments.iter().map(|&(slot, ty)| (slot, bank(ty))).collect();
    optimized_entry(&arguments, machine.result.map(bank), machine.function, machine.header)
}

/// Puts machine code where a block is, and fills in what it refers to. `stub`, `slow_return` and `code` are addresses.
pub fn link(
    machine: &Machine,
    entry: Entry,
    base: usize,
    stub: impl Fn(OptStub) -> usize,
    slow_return: usize,
    code: impl Fn(u32) -> Option<usize>,
) -> Option<(Vec<u8>, usize)> {
    let Entry { mut text, call, slow_return: jump } = entry;
    let body = text.len().next_multiple_of(LINE);
    text.resize(body, 0xCC);
    text.extend_from_slice(&machine.text);
    let distance = (body as i64 - (call as i64 + 4)) as i32;
    text[call..call + 4].copy_from_slice(&distance.to_le_bytes());
    let distance = (slow_return as i64 - (base + jump + 4) as i64) as i32;
    text[jump..jump + 4].copy_from_slice(&distance.to_le_bytes());
    for reloc in &machine.relocs {
        let at = body + reloc.at as usize;
        match reloc.target {
            Target::Body => {
                let distance = (body as i64 + reloc.addend - at as i64) as i32;
                text[at..at + 4].copy_from_slice(&distance.to_le_bytes());
            }
            Target::Stub(which) => {
                let distance = (stub(which) as i64 + reloc.addend - (base + at) as i64) as i32;
                text[at..at + 4].copy_from_slice(&distance.to_le_bytes());
            }
            Target::Code(function) => {
                let address = code(function)? as i64 + reloc.addend;
                text[at..at + 8].copy_from_slice(&address.to_le_bytes());
            }
        }
    }
    Some((text, body))
}

/// Where the interpreter goes on.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The frame.
    pub fp: *mut u64,
    /// The instruction.
    pub pc: *const Word,
    /// The function.
    pub entry: *const FunctionEntry,
    /// Why.
    pub reason: Reason,
}

impl Place {
    /// The frame.
    pub fn frame(&self) -> Frame {
        Frame { fp: self.fp, entry: self.entry }
    }
}

/// Completes the interpreter's frames at an exit. With `leaving`, machine code is left for good, and the root's return looks at the
/// tiers.
///
/// # Safety
/// `fp` is the root frame of the code that has the exit, which has stored what the exit says.
pub unsafe fn complete(ctx: *mut Context, fp: *mut u64, exit: &Exit, leaving: bool) -> Place {
    // SAFETY: by the contract; slots are inside the frames that the code was checked to have room for.
    unsafe {
        for &(slot, bits) in &exit.constants {
            *fp.add(slot as usize) = bits;
        }
        for (i, frame) in exit.frames.iter().enumerate() {
            let entry = (*ctx).functions.add(frame.function as usize);
            let layout = &(*entry).meta().layout;
            let cells =
                (layout.first_cell()..layout.first_raw()).chain(layout.first_spilled_cell()..layout.size());
            let mut live = frame.live.iter().copied().peekable();
            let kept = exit.entered_complete && i + 1 == exit.frames.len();
            for slot in cells.filter(|_| !kept) {
                let slot = frame.base + slot;
                while live.next_if(|&l| l < slot).is_some() {}
                if live.peek() != Some(&slot) {
                    *fp.add(slot as usize) = 0;
                }
            }
            let header = fp.add((frame.base + layout.header()) as usize);
            match exit.frames.get(i + 1) {
                Some(outer) => {
                    let caller = (*ctx).functions.add(outer.function as usize);
                    let call = (*caller).code.add(outer.word as usize);
                    let words = Op::from_number((*call).op()).map_or(1, Op::words);
                    *header = call.add(words).expose_provenance() as u64;
                    *header.add(1) = (*caller).link;
                }
                None => {
                    if leaving && *header & FLAGS == 0 {
                        *header |= LONG;
                    }
                }
            }
        }
        let inner = &exit.frames[0];
        let entry = (*ctx).functions.add(inner.function as usize);
        Place {
            fp: fp.add(inner.base as usize),
            pc: (*entry).code.add(inner.word as usize),
            entry,
            reason: exit.reason,
        }
    }
}

/// What an instance knows of its optimized code.
#[derive(Debug, Default)]
pub struct Optimized {
    /// Results to come.
    pub inbox: Arc<Inbox>,
    /// Code by number.
    pub live: FxHashMap<u32, OptimizedCode>,
    /// Loops that are compiled alone, by function and the word behind the header.
    pub loops: FxHashMap<(u32, u32), u32>,
    /// The state of functions that were asked for.
    pub functions: FxHashMap<u32, Attempts>,
    /// What calls of closures were seen to call.
    pub callees: Arc<Callees>,
    /// Assumptions that failed.
    pub failed: Arc<HashSet<(u32, u32)>>,
    /// What was read of functions that were looked at.
    outlines: HashMap<u32, Arc<Outline>>,
    /// How many jobs are on their way.
    pub pending: u32,
}

/// What was tried with a function.
#[derive(Debug, Default)]
pub struct Attempts {
    /// What was asked for and is on its way, is there, or is refused.
    pub asked: HashSet<Start>,
    /// What of this is on its way.
    pub pending: HashSet<Start>,
    /// The number of the function's code, where there is some.
    pub current: Option<u32>,
    /// How often its code was retired because assumptions failed.
    pub retired: u32,
    /// How often its code was retired, or not taken, because a watch was bumped. Beyond the limit code looks at watches itself.
    pub bumped: u32,
    /// Baseline code had no room, or was too large: it is not tried for again before the function has so much heat.
    pub baseline_at: u32,
    /// The heat at which it began to run in baseline code, or at which something was last asked for.
    pub since: u32,
    /// How many units each has to run in baseline code before it is optimized.
    pub rents: HashMap<Start, u32>,
    /// What a look at units one by one showed.
    pub seen: Option<Seen>,
}

impl Attempts {
    /// Whether nothing is tried any more.
    pub fn exhausted(&self, config: &TierConfig) -> bool {
        config.optimize_heat == u32::MAX || self.retired > config.retries
    }
}

/// What was come to while units were looked at one by one.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Whether the function was called.
    pub called: bool,
    /// The headers of its loops that turned.
    pub headers: Vec<u32>,
}

impl Optimized {
    /// Code by its number.
    pub fn code(&self, number: u32) -> Option<&OptimizedCode> {
        self.live.get(&number)
    }

    /// What is read of a function once.
    pub fn outline(&mut self, instance: &Instance, index: u32) -> Option<Arc<Outline>> {
        if let Some(known) = self.outlines.get(&index) {
            return Some(known.clone());
        }
        let new = outline(instance.module_of(index)?, index)?;
        self.outlines.insert(index, new.clone());
        Some(new)
    }

    /// Whether a loop has code that was never entered, but may be soon.
    pub fn is_fresh(&self, index: u32, start: Start) -> bool {
        let Start::Loop(header) = start else { return false };
        let number = self.loops.get(&(index, header + 1));
        number.and_then(|number| self.live.get(number)).is_some_and(|code| code.entered == 0 && !code.missed)
    }

    /// Whether results wait.
    pub fn waits(&self) -> bool {
        self.inbox.ready.load(Ordering::Acquire)
    }
}
