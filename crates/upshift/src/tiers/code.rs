//! Machine code of an engine: the memory, which is mapped at first need, and what was compiled into it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use std::sync::atomic::{AtomicU32, Ordering};

use upshift_baseline::{Facts, Input, Machine, Scratch, Stub, Stubs, TooLarge};
use upshift_optimizer::lower::{Effort, Stub as OptStub};
use upshift_runtime::linked::{FunctionMeta, LinkedModule};

use crate::code_memory::{CodeBlock, CodeMemory, Purpose, Unavailable};
use crate::engine::TierConfig;
use crate::profile::{CodeInfo, Format, Frame, Profiler, Registration};
use crate::tiers::optimized::{self, Background, Done, Inbox, Job, OptimizedCode};

/// Functions take whole cache lines, so all begin at the start of one: in the middle of a line the same code of fib took a
/// seventh longer on Zen 5.
pub const LINE: usize = 64;

/// The machine code of one function, shared by the instances of an engine.
#[derive(Debug)]
pub struct Code {
    /// What profilers and debuggers know; it goes before the code does.
    registration: Option<Registration>,
    block: CodeBlock,
    /// Where frames can be continued: word and offset, sorted by word.
    resume: Box<[(u32, u32)]>,
    /// Which bytecode it was made from: its address. Equal addresses are equal functions as long as the code is in use, since
    /// who uses it keeps the module.
    bytecode: usize,
    /// Instructions of bytecode.
    pub instructions: u32,
}

impl Code {
    /// The entry.
    pub fn entry(&self) -> *const u8 {
        self.block.address()
    }

    /// The number of bytes.
    pub fn bytes(&self) -> u32 {
        self.block.len() as u32
    }

    /// Where a frame at an instruction continues.
    pub fn resume(&self, word: u32) -> Option<*const u8> {
        let i = self.resume.binary_search_by_key(&word, |r| r.0).ok()?;
        Some(self.block.address().wrapping_add(self.resume[i].1 as usize))
    }
}

/// The memory with its stubs.
#[derive(Debug)]
pub struct Memory {
    /// What profilers and debuggers know of the stubs; it goes before they do.
    #[expect(dead_code, reason = "held until the stubs go")]
    registrations: Vec<Registration>,
    memory: Arc<CodeMemory>,
    block: CodeBlock,
    stubs: Stubs,
}

impl Memory {
    fn new(cap: usize, profiler: Option<&Profiler>) -> Result<Memory, Unavailable> {
        let purpose = match profiler {
            None => Purpose::Execution,
            Some(profiler) if profiler.keeps_code() => Purpose::Debugging,
            Some(_) => Purpose::Profiling,
        };
        let memory = CodeMemory::with(cap, purpose)?;
        let stubs = Stubs::new();
        let mut block = memory
            .allocate(stubs.text.len().next_multiple_of(LINE))
            .ok_or_else(|| Unavailable::new("no room for the stubs"))?;
        if !block.write(0, &stubs.text) {
            return Err(Unavailable::new("the stubs cannot be written"));
        }
        block.publish();
        let registrations =
            profiler.map_or_else(Vec::new, |profiler| register_stubs(profiler, &block, &stubs));
        Ok(Memory { registrations, memory, block, stubs })
    }

    /// The entry of functions without machine code.
    pub fn uncompiled(&self) -> *const u8 {
        self.block.address().wrapping_add(self.stubs.uncompiled as usize)
    }

    /// The way into machine code.
    pub fn enter(&self) -> *const u8 {
        self.block.address().wrapping_add(self.stubs.enter as usize)
    }

    /// Puts optimized code into memory. `code` gives addresses of functions' bytecode.
    pub fn place_optimized(
        &self,
        done: Done,
        cap: usize,
        profiler: Option<&Profiler>,
        modules: &[Arc<LinkedModule>],
        code: impl Fn(u32) -> Option<usize>,
    ) -> Option<OptimizedCode> {
        let machine = done.machine.ok()?;
        let entry = optimized::way_in(&machine);
        let len = (entry.text.len().next_multiple_of(LINE) + machine.text.len()).next_multiple_of(LINE);
        if self.memory.used() + len > cap + self.block.len().next_multiple_of(16) {
            return None;
        }
        let mut block = self.memory.allocate(len)?;
        let stub = |stub| {
            let place = match stub {
                OptStub::Call => self.stubs.call,
                OptStub::Leave => self.stubs.leave,
                OptStub::Exit => self.stubs.deopt,
                OptStub::ExitAt => self.stubs.deopt_at,
                OptStub::Poll => self.stubs.poll,
                OptStub::PollAt => self.stubs.poll_at,
                OptStub::Run => self.stubs.run,
                OptStub::RunAt => self.stubs.run_at,
                OptStub::Quiet => self.stubs.quiet,
                OptStub::QuietAt => self.stubs.quiet_at,
            };
            self.block.offset() + place as usize
        };
        let slow_return = self.block.offset() + self.stubs.place(Stub::Return) as usize;
        let (text, body) = optimized::link(&machine, entry, block.offset(), stub, slow_return, code)?;
        if !block.write(0, &text) {
            return None;
        }
        block.publish();
        let entry = block.address();
        let registration = profiler.map(|profiler| {
            let place = |at: u32, function: u32, word: u32| {
                let (module, meta) = modules.iter().find_map(|m| Some((m, m.function(function)?)))?;
                let (source, line) = place_of(module, meta, word)?;
                Some((at + body as u32, source, line))
            };
            let places = machine.map.iter().filter_map(|&(at, function, word)| place(at, function, word));
            let places: Vec<_> = places.collect();
            // One file: lines of functions from others are left to what stands before them.
            let source = places.first().map(|p| p.1);
            let lines: Vec<(u32, u32)> =
                places.iter().filter(|p| Some(p.1) == source).map(|p| (p.0, p.2)).collect();
            let name = modules.iter().find_map(|m| m.function(done.index)).map_or("", |m| &m.name);
            profiler.register(&CodeInfo {
                name,
                tier: if machine.fast { "optimized" } else { "optimized loop" },
                address: entry.addr(),
                size: text.len(),
                text: &text,
                source,
                lines: &lines,
                frame: Some(Frame { register: RBP, size: 16, saved: &[(RBP, 16)] }),
            })
        });
        let fast = if machine.fast { entry.wrapping_add(body) } else { std::ptr::null() };
        let taken = vec![0; machine.exits.len()];
        Some(OptimizedCode {
            block,
            index: done.index,
            start: done.start,
            entry,
            fast,
            exits: machine.exits,
            taken,
            failures: 0,
            entered: 0,
            missed: false,
            hunted: 0,
            left: 0,
            retired: false,
            inlined: done.inlined,
            open: done.open,
            watches: done.watches,
            held: done.held,
            registration,
        })
    }

    /// Puts the code of a function into memory.
    fn place(&self, machine: &mut Machine, bytecode: usize, cap: usize) -> Option<Code> {
        if self.memory.used() + machine.text.len() > cap + self.block.len().next_multiple_of(16) {
            return None;
        }
        let mut block = self.memory.allocate(machine.text.len().next_multiple_of(LINE))?;
        let base = block.offset();
        for &(at, stub) in &machine.stubs {
            let target = self.block.offset() + self.stubs.place(stub) as usize;
            let distance = (target as i64 - (base + at as usize + 4) as i64) as i32;
            machine.text[at as usize..at as usize + 4].copy_from_slice(&distance.to_le_bytes());
        }
        for &(at, distance) in &machine.literals {
            let address = bytecode as u64 + u64::from(distance);
            machine.text[at as usize..at as usize + 8].copy_from_slice(&address.to_le_bytes());
        }
        if !block.write(0, &machine.text) {
            return None;
        }
        block.publish();
        let resume = std::mem::take(&mut machine.resume).into_boxed_slice();
        Some(Code { registration: None, block, resume, bytecode, instructions: machine.instructions })
    }
}

/// Tells profilers and debuggers of the stubs.
fn register_stubs(profiler: &Profiler, block: &CodeBlock, stubs: &Stubs) -> Vec<Registration> {
    // Who calls from a stub, and how it finds its own caller, is in `stencils/control.c`; numbers are DWARF's for x86-64. The
    // way in has pushed six registers and a word of the context, the call from optimized code the same registers; the others
    // keep the stack pointer in rbp.
    const SAVED: &[(u16, u32)] = &[(RBP, 16), (3, 24), (12, 32), (13, 40), (14, 48), (15, 56)];
    let enter = Frame { register: RSP, size: 64, saved: SAVED };
    let call = Frame { register: RSP, size: 56, saved: SAVED };
    let kept = |size| Frame { register: RBP, size, saved: &[] };
    let mut all = [
        ("stub.enter", stubs.enter, Some(enter)),
        ("stub.uncompiled", stubs.uncompiled, None),
        ("stub.leave", stubs.place(Stub::Leave), None),
        ("stub.routine", stubs.place(Stub::Routine), Some(kept(8))),
        ("stub.exit", stubs.place(Stub::Exit), None),
        ("stub.return", stubs.place(Stub::Return), Some(kept(16))),
        ("stub.opt_call", stubs.call, Some(call)),
        ("stub.opt_leave", stubs.leave, None),
        ("stub.opt_exit", stubs.deopt, None),
        ("stub.opt_exit_at", stubs.deopt_at, None),
        ("stub.opt_poll", stubs.poll, None),
        ("stub.opt_run", stubs.run, None),
        ("stub.opt_quiet", stubs.quiet, None),
        ("stub.opt_poll_at", stubs.poll_at, None),
        ("stub.opt_run_at", stubs.run_at, None),
        ("stub.opt_quiet_at", stubs.quiet_at, None),
    ];
    all.sort_unstable_by_key(|stub| stub.1);
    let ends = all[1..].iter().map(|stub| stub.1).chain([stubs.text.len() as u32]).collect::<Vec<_>>();
    let register = |(&(name, start, frame), end): (&(_, u32, _), u32)| {
        let address = block.address().addr() + start as usize;
        let size = (end - start) as usize;
        profiler.register(&CodeInfo {
            name,
            tier: "baseline",
            address,
            size,
            text: &stubs.text[start as usize..end as usize],
            source: None,
            lines: &[],
            frame,
        })
    };
    all.iter().zip(ends).map(register).collect()
}

/// DWARF's numbers of the stack pointer and the frame pointer on x86-64.
const RSP: u16 = 7;
const RBP: u16 = 6;

/// The source and the line of a word of a function.
fn place_of<'a>(module: &'a LinkedModule, meta: &FunctionMeta, word: u32) -> Option<(&'a str, u32)> {
    let span = meta.span_at(word)?;
    let source = module.sources.get(span.source as usize)?;
    Some((source.name.as_str(), source.position(span.start).0))
}

/// Tells profilers and debuggers of a function.
fn register(
    profiler: &Profiler,
    module: &LinkedModule,
    meta: &FunctionMeta,
    machine: &Machine,
    code: &Code,
) -> Registration {
    let mut source = None;
    let mut lines = Vec::new();
    for &(offset, word) in &machine.map {
        let Some((name, line)) = place_of(module, meta, word) else { continue };
        source.get_or_insert(name);
        if lines.last().is_none_or(|l: &(u32, u32)| l.1 != line) {
            lines.push((offset, line));
        }
    }
    profiler.register(&CodeInfo {
        name: &meta.name,
        tier: "baseline",
        address: code.entry().addr(),
        size: code.bytes() as usize,
        text: &machine.text,
        source,
        lines: &lines,
        // The native stack holds return addresses and nothing else.
        frame: Some(Frame { register: RSP, size: 8, saved: &[] }),
    })
}

/// How compiling ended.
pub enum Outcome {
    /// New code.
    Made(Arc<Code>, Duration),
    /// Code of another instance.
    Shared(Arc<Code>),
    /// The memory is full.
    Full,
    /// Beyond what machine code can address.
    TooLarge,
}

/// What was compiled, by function number, and the compiler's memory.
#[derive(Debug, Default)]
struct Known {
    code: Vec<Weak<Code>>,
    scratch: Scratch,
}

/// Code memory and compiler threads that several engines use, one after another or at once, where each would otherwise map memory and
/// start a thread of its own: see [`Config::shared`](crate::Config::shared). Cloning is cheap and gives the same.
///
/// The memory is mapped, and a thread started, when an engine first needs it; they go with the last engine and the last handle.
///
/// ```
/// use upshift::{Config, Engine, SharedMachinery};
///
/// let mut config = Config::default();
/// config.shared = Some(SharedMachinery::new(16 << 20));
/// let (one, another) = (Engine::new(config.clone()), Engine::new(config));
/// # let _ = (one, another);
/// ```
#[derive(Clone, Debug)]
pub struct SharedMachinery(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    memory: OnceLock<Result<Memory, Unavailable>>,
    /// By effort.
    background: [OnceLock<Option<Background>>; 2],
}

impl SharedMachinery {
    /// With room for so many bytes of machine code in all; the [`code_cache`](TierConfig::code_cache) of each engine counts besides.
    pub fn new(capacity: usize) -> SharedMachinery {
        SharedMachinery(Arc::new(Shared {
            capacity,
            memory: OnceLock::new(),
            background: [const { OnceLock::new() }; 2],
        }))
    }
}

/// What an engine knows of machine code.
pub struct Machinery {
    config: TierConfig,
    profiler: Option<Profiler>,
    /// Whose memory and threads are used instead of the engine's own.
    shared: Option<SharedMachinery>,
    memory: OnceLock<Result<Memory, Unavailable>>,
    known: Mutex<Known>,
    background: OnceLock<Option<Background>>,
    /// How many times optimized code was asked for.
    number: AtomicU32,
}

impl std::fmt::Debug for Machinery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machinery")
            .field("config", &self.config)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

impl Machinery {
    /// With the engine's configuration.
    pub fn new(config: TierConfig, profile: &[Format], shared: Option<SharedMachinery>) -> Machinery {
        let profiler = (!profile.is_empty()).then(|| Profiler::new(profile));
        // What profilers are told of is the engine's alone.
        let shared = shared.filter(|_| profiler.is_none());
        Machinery {
            config,
            profiler,
            shared,
            memory: OnceLock::new(),
            known: Mutex::default(),
            background: OnceLock::new(),
            number: AtomicU32::new(0),
        }
    }

    /// The memory, which is mapped now if it was not yet.
    pub fn memory(&self) -> Result<&Memory, &Unavailable> {
        match &self.shared {
            Some(shared) => shared.0.memory.get_or_init(|| Memory::new(shared.0.capacity, None)),
            None => self.memory.get_or_init(|| Memory::new(self.config.code_cache, self.profiler.as_ref())),
        }
        .as_ref()
    }

    /// Who is told of code.
    pub fn profiler(&self) -> Option<&Profiler> {
        self.profiler.as_ref()
    }

    /// A number that no other optimized code has.
    pub fn next_number(&self) -> u32 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks for optimized code, which arrives in the inbox; whether anybody will answer. The compiler has a stack of its own: that of
    /// the guest may be nearly full.
    pub fn optimize(&self, job: Job, inbox: &Arc<Inbox>) -> bool {
        let effort = if self.config.quick { Effort::Quick } else { Effort::Full };
        match self.background().get_or_init(|| Background::start(effort)) {
            Some(background) => {
                background.ask(job, inbox);
                true
            }
            None => false,
        }
    }

    fn background(&self) -> &OnceLock<Option<Background>> {
        match &self.shared {
            Some(shared) => &shared.0.background[usize::from(self.config.quick)],
            None => &self.background,
        }
    }

    /// The number of the function that the optimizing compiler's thread works at; of any engine's, where they share it.
    pub fn compiling(&self) -> Option<u32> {
        let background = self.background().get()?.as_ref()?;
        Some(background.compiling.load(Ordering::Relaxed)).filter(|&function| function != 0)
    }

    /// Why profilers and debuggers were told less than was asked for.
    pub fn profile_problem(&self) -> Option<String> {
        self.profiler.as_ref()?.problem()
    }

    /// Why there is no memory, where it was asked for.
    pub fn problem(&self) -> Option<String> {
        let memory = self.shared.as_ref().map_or(&self.memory, |shared| &shared.0.memory);
        memory.get()?.as_ref().err().map(|e| e.reason().to_owned())
    }

    /// The code of a function: made now, or by another instance.
    pub fn compile(
        &self,
        memory: &Memory,
        module: &LinkedModule,
        meta: &FunctionMeta,
        facts: &dyn Facts,
    ) -> Outcome {
        let code = &module.code[meta.start as usize..];
        let bytecode = code.as_ptr().addr();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = known.code.get(meta.index as usize).and_then(Weak::upgrade)
            && code.bytecode == bytecode
        {
            return Outcome::Shared(code);
        }
        let started = Instant::now();
        let input = Input { meta, code, facts, map: self.profiler.is_some(), pin: self.config.pin };
        let machine = upshift_baseline::compile(input, &mut known.scratch);
        let mut machine = match machine {
            Ok(machine) => machine,
            Err(TooLarge) => return Outcome::TooLarge,
        };
        match memory.place(&mut machine, bytecode, self.config.code_cache) {
            None => Outcome::Full,
            Some(mut code) => {
                if let Some(profiler) = &self.profiler {
                    code.registration = Some(register(profiler, module, meta, &machine, &code));
                }
                let code = Arc::new(code);
                let i = meta.index as usize;
                if known.code.len() <= i {
                    known.code.resize(i + 1, Weak::new());
                }
                known.code[i] = Arc::downgrade(&code);
                known.scratch.recycle(machine);
                Outcome::Made(code, started.elapsed())
            }
        }
    }
}
