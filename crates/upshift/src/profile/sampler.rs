//! A sampling profiler of guest code: where the time of an instance's runs goes, by function, source position and tier.
//!
//! A thread of its own is the clock. It counts ticks, and the running guest sees them at its next poll; how that gives a stack
//! each, what is weighed and how, and which bias remains, is in [`upshift_runtime::sampling`]. Nothing here knows a language:
//! functions are named and placed by what their module says.
//!
//! The clock is that of the wall: a host function that waits is shown as time. Ticks come once in each interval, at a random point
//! of it, so that a program that does things in step with the clock is not seen at one of them only. A clock that comes late, on
//! a busy machine, counts all ticks that were missed, so totals stay true to time.
//!
//! The optimizing compiler works on another thread. What it compiles at a tick is counted too, apart from the guest's samples,
//! as both run at once.
//!
//! Stacks are kept as a tree, whose nodes are frames; equal beginnings are kept once.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use upshift_runtime::instance::Instance;
use upshift_runtime::sampling::{Activity, Code, PORTION, Place, Sampling, Sink};

use crate::tiers::Machinery;

/// The most nodes of the tree, some 60 MiB: samples whose stack would need more go to the part of it that is there.
const NODES: usize = 1 << 20;

/// The most ticks a second.
pub const MAX_FREQUENCY: u32 = 100_000;

/// How samples are taken.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Samples a second, 1 to [`MAX_FREQUENCY`].
    pub frequency: u32,
    /// The most units of work, calls and turns of loops, between two looks at the clock, 1 to 10,000. What lasts for fewer is seen
    /// as what follows it, and each look takes some 100 ns.
    pub portion: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { frequency: 1000, portion: PORTION }
    }
}

/// What a line of a sampled stack is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FrameKind {
    /// A guest function in the interpreter.
    Interpreter,
    /// A guest function in machine code of the baseline compiler.
    Baseline,
    /// A guest function in optimized machine code, its own or that of one of its loops.
    Optimized,
    /// A guest function in the optimized machine code of the function that it was inlined into.
    Inlined,
    /// A host function.
    Host,
    /// A C function, whose name is not known.
    Foreign,
    /// The collector.
    Collector,
    /// The baseline compiler, which the program waits for.
    BaselineCompiler,
    /// The optimizing compiler, where the program waits for it.
    OptimizingCompiler,
    /// Frames that were left out, since the stack was too deep.
    Deeper,
}

impl FrameKind {
    /// The name of the tier, for guest functions; of what it is, for others.
    pub fn name(self) -> &'static str {
        match self {
            FrameKind::Interpreter => "interpreter",
            FrameKind::Baseline => "baseline",
            FrameKind::Optimized => "optimized",
            FrameKind::Inlined => "inlined",
            FrameKind::Host => "host",
            FrameKind::Foreign => "C function",
            FrameKind::Collector => "collector",
            FrameKind::BaselineCompiler => "baseline compiler",
            FrameKind::OptimizingCompiler => "optimizing compiler",
            FrameKind::Deeper => "…",
        }
    }

    /// Whether it is a guest function.
    pub fn is_guest(self) -> bool {
        matches!(
            self,
            FrameKind::Interpreter | FrameKind::Baseline | FrameKind::Optimized | FrameKind::Inlined
        )
    }
}

/// A line of a sampled stack.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct SampledFrame {
    /// The name of the function; empty for what is none.
    pub function: Arc<str>,
    /// The function's engine-wide number; 0 for what is none.
    pub number: u32,
    /// What it is, with the tier of guest functions. The tier of the innermost frame, and of those inlined with it, is the one it
    /// ran in; for frames further out it is the best that the function had code in at that time.
    pub kind: FrameKind,
    /// The source's name, where the code has positions.
    pub source: Option<Arc<str>>,
    /// Line, from 1; 0 where the code has no position, or it is not known.
    pub line: u32,
    /// First byte of the span in the source.
    pub start: u32,
    /// First byte behind the span.
    pub end: u32,
}

impl fmt::Display for SampledFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FrameKind::Host => write!(f, "[host] {}", self.function),
            kind if kind.is_guest() => f.write_str(&self.function),
            kind => write!(f, "[{}]", kind.name()),
        }
    }
}

/// How much of a frame becomes its name in [`Profile::folded`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// The tier of guest functions, in brackets: the same function in two tiers is two frames.
    pub tiers: bool,
    /// The line: calls from two lines are two frames.
    pub lines: bool,
}

impl Detail {
    /// The name of a frame, without what has a meaning in folded stacks.
    pub fn name(self, frame: &SampledFrame) -> String {
        let mut name: String =
            frame.to_string().chars().map(|c| if c == ';' || c.is_control() { '?' } else { c }).collect();
        if self.lines && frame.line != 0 {
            name.push_str(&format!(":{}", frame.line));
        }
        if self.tiers && frame.kind.is_guest() {
            name.push_str(&format!(" [{}]", frame.kind.name()));
        }
        name
    }
}

/// What the samples say.
#[derive(Clone, Debug)]
pub struct Profile {
    frequency: u32,
    /// A node is behind its parent; the root, which is no frame, is the first.
    nodes: Vec<Node>,
    frames: Vec<SampledFrame>,
    compiled: Vec<(Arc<str>, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    /// In a tree that grows, the place's number; in a profile, the frame's.
    frame: u32,
    /// Samples whose stack ends here.
    samples: u64,
}

impl Profile {
    /// How many samples a second were asked for; 0 where ticks came from elsewhere.
    pub fn frequency(&self) -> u32 {
        self.frequency
    }

    /// How many samples there are of the guest's thread. Each is one tick of the clock, so that this by [`Profile::frequency`] is
    /// how long the runs took.
    pub fn samples(&self) -> u64 {
        self.nodes.iter().map(|n| n.samples).sum()
    }

    /// The stacks, the outermost frame first, with their samples. No two are equal.
    pub fn stacks(&self) -> impl Iterator<Item = (Vec<&SampledFrame>, u64)> {
        self.nodes.iter().enumerate().filter(|(_, n)| n.samples != 0).map(|(i, n)| {
            let mut stack = Vec::new();
            let mut at = i as u32;
            while at != 0 {
                let node = &self.nodes[at as usize];
                stack.push(&self.frames[node.frame as usize]);
                at = node.parent;
            }
            stack.reverse();
            (stack, n.samples)
        })
    }

    /// The innermost frames of all stacks, with the samples that they are innermost in; most samples first.
    pub fn innermost(&self) -> Vec<(&SampledFrame, u64)> {
        let mut samples = vec![0; self.frames.len()];
        for node in self.nodes.iter().skip(1) {
            samples[node.frame as usize] += node.samples;
        }
        let mut all: Vec<_> = self.frames.iter().zip(samples).filter(|&(_, n)| n != 0).collect();
        all.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
        all
    }

    /// Says of frames what `kind` knows better, which is asked with the frame outside, if any; stacks that become equal are one.
    pub(crate) fn relabel(&mut self, kind: impl Fn(Option<&SampledFrame>, &SampledFrame) -> FrameKind) {
        let mut frames: Vec<SampledFrame> = Vec::new();
        let mut numbers: HashMap<SampledFrame, u32> = HashMap::new();
        let mut tree = Merged::new(self.nodes[0]);
        for i in 1..self.nodes.len() {
            let node = self.nodes[i];
            let outer = node.parent as usize;
            let outer = (outer != 0).then(|| &frames[tree.frame_of(outer) as usize]);
            let mut frame = self.frames[node.frame as usize].clone();
            frame.kind = kind(outer, &frame);
            let number = *numbers.entry(frame.clone()).or_insert_with(|| {
                frames.push(frame);
                frames.len() as u32 - 1
            });
            tree.add(node, number);
        }
        (self.nodes, self.frames) = (tree.nodes, frames);
    }

    /// The functions that the optimizing compiler's thread was seen to compile, with samples of their own; most first.
    pub fn compiler(&self) -> &[(Arc<str>, u64)] {
        &self.compiled
    }

    /// Folded stacks, as flame graph tools read them: a line for each stack, its frames from the outermost with semicolons
    /// between, a space, and the number of samples. The compiler's thread has stacks of its own, which begin with
    /// `[compiler thread]`. Lines are sorted.
    pub fn folded(&self, detail: Detail) -> String {
        let mut lines: HashMap<String, u64> = HashMap::new();
        for (stack, samples) in self.stacks() {
            let names: Vec<String> = stack.into_iter().map(|frame| detail.name(frame)).collect();
            *lines.entry(names.join(";")).or_default() += samples;
        }
        for (function, samples) in &self.compiled {
            let name = function.replace(|c: char| c == ';' || c.is_control(), "?");
            *lines.entry(format!("[compiler thread];{name}")).or_default() += samples;
        }
        let mut lines: Vec<String> =
            lines.into_iter().map(|(stack, samples)| format!("{stack} {samples}\n")).collect();
        lines.sort();
        lines.concat()
    }
}

/// Stacks while they are collected.
#[derive(Debug)]
struct Tree {
    nodes: Vec<Node>,
    children: HashMap<(u32, Place), u32>,
    places: Vec<Place>,
    numbers: HashMap<Place, u32>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            nodes: vec![Node { parent: 0, frame: 0, samples: 0 }],
            children: HashMap::new(),
            places: Vec::new(),
            numbers: HashMap::new(),
        }
    }
}

impl Tree {
    fn add(&mut self, stack: &[Place], ticks: u64) {
        let mut at = 0;
        for &place in stack.iter().rev() {
            at = match self.children.get(&(at, place)) {
                Some(&child) => child,
                None if self.nodes.len() >= NODES => break,
                None => {
                    let child = self.nodes.len() as u32;
                    let places = &mut self.places;
                    let frame = *self.numbers.entry(place).or_insert_with(|| {
                        places.push(place);
                        places.len() as u32 - 1
                    });
                    self.nodes.push(Node { parent: at, frame, samples: 0 });
                    self.children.insert((at, place), child);
                    child
                }
            };
        }
        self.nodes[at as usize].samples += ticks;
    }
}

/// A tree whose frames are given other numbers, some of them the same: children of a node that become equal are one.
#[derive(Debug)]
struct Merged {
    nodes: Vec<Node>,
    /// The node that stands for one of the old tree.
    numbers: Vec<u32>,
    children: HashMap<(u32, u32), u32>,
}

impl Merged {
    fn new(root: Node) -> Merged {
        Merged { nodes: vec![root], numbers: vec![0], children: HashMap::new() }
    }

    /// The next node of the old tree, with its frame's new number.
    fn add(&mut self, node: Node, frame: u32) {
        let parent = self.numbers[node.parent as usize];
        let nodes = &mut self.nodes;
        let number = *self.children.entry((parent, frame)).or_insert_with(|| {
            nodes.push(Node { parent, frame, samples: 0 });
            nodes.len() as u32 - 1
        });
        self.nodes[number as usize].samples += node.samples;
        self.numbers.push(number);
    }

    /// The new number of the frame of a node of the old tree.
    fn frame_of(&self, old: usize) -> u32 {
        self.nodes[self.numbers[old] as usize].frame
    }
}

/// What clock, guest and owner share.
#[derive(Debug, Default)]
struct Shared {
    tree: Mutex<Tree>,
    /// By function number: ticks that found it being compiled.
    compiled: Mutex<HashMap<u32, u64>>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

struct Collect(Arc<Shared>);

impl Sink for Collect {
    fn sample(&mut self, stack: &[Place], ticks: u64) {
        self.0.tree.lock().unwrap_or_else(PoisonError::into_inner).add(stack, ticks);
    }
}

/// Samples of an instance that are being taken.
#[derive(Debug)]
pub(crate) struct Sampler {
    frequency: u32,
    shared: Arc<Shared>,
    clock: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Begins. `None` where the system gives no thread.
    pub(crate) fn start(
        options: Options,
        instance: &mut Instance,
        machinery: Arc<Machinery>,
    ) -> Option<Sampler> {
        let frequency = options.frequency.clamp(1, MAX_FREQUENCY);
        let ticks = Arc::new(AtomicU64::new(0));
        let mut sampler = Sampler::counted(ticks.clone(), options.portion, instance);
        let shared = sampler.shared.clone();
        let interval = Duration::from_secs(1) / frequency;
        let clock = std::thread::Builder::new()
            .name("upshift-sampler".to_string())
            .spawn(move || tick(&shared, &ticks, interval, &machinery));
        sampler.frequency = frequency;
        sampler.clock = clock.ok();
        sampler.clock.is_some().then_some(sampler)
    }

    /// Begins, with ticks that somebody else counts.
    pub(crate) fn counted(ticks: Arc<AtomicU64>, portion: u32, instance: &mut Instance) -> Sampler {
        let shared = Arc::new(Shared::default());
        let sampling = Sampling::new(ticks, portion, Box::new(Collect(shared.clone())));
        instance.set_sampling(Some(Box::new(sampling)));
        Sampler { frequency: 0, shared, clock: None }
    }

    /// Ends, and says what was found.
    pub(crate) fn stop(mut self, instance: &mut Instance) -> Profile {
        self.end();
        instance.set_sampling(None);
        let tree = std::mem::take(&mut *self.shared.tree.lock().unwrap_or_else(PoisonError::into_inner));
        let compiled =
            std::mem::take(&mut *self.shared.compiled.lock().unwrap_or_else(PoisonError::into_inner));
        let mut names = Names { instance, sources: HashMap::new(), functions: HashMap::new() };
        let mut frames = Vec::new();
        let mut known: HashMap<SampledFrame, u32> = HashMap::new();
        let numbers: Vec<u32> = tree
            .places
            .iter()
            .map(|&place| {
                let frame = names.frame(place);
                *known.entry(frame.clone()).or_insert_with(|| {
                    frames.push(frame);
                    frames.len() as u32 - 1
                })
            })
            .collect();
        // Words of one position are different places and one frame: their nodes become one.
        let mut merged = Merged::new(tree.nodes[0]);
        for &node in &tree.nodes[1..] {
            merged.add(node, numbers[node.frame as usize]);
        }
        let mut compiled: Vec<_> =
            compiled.into_iter().map(|(function, ticks)| (names.function(function), ticks)).collect();
        compiled.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Profile { frequency: self.frequency, nodes: merged.nodes, frames, compiled }
    }

    fn end(&mut self) {
        *self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stop.notify_all();
        if let Some(clock) = self.clock.take() {
            // A clock that panicked has stopped too.
            let _ = clock.join();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.end();
    }
}

/// The clock: counts until it is stopped.
fn tick(shared: &Shared, due: &AtomicU64, interval: Duration, machinery: &Machinery) {
    let started = Instant::now();
    let nanos = interval.as_nanos() as u64;
    let mut random = nanos | 1;
    let mut ticks = 0_u64;
    let mut stopped = shared.stopped.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let next = Duration::from_nanos(ticks * nanos + random % nanos);
        while let Some(rest) = next.checked_sub(started.elapsed()).filter(|rest| !rest.is_zero()) {
            if *stopped {
                return;
            }
            stopped = shared.stop.wait_timeout(stopped, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        if *stopped {
            return;
        }
        let now = (started.elapsed().as_nanos() as u64 / nanos).max(ticks + 1);
        due.store(now, Ordering::Relaxed);
        if let Some(function) = machinery.compiling() {
            let mut compiled = shared.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            *compiled.entry(function).or_default() += now - ticks;
        }
        ticks = now;
    }
}

/// Names and positions of an instance's functions.
struct Names<'a> {
    instance: &'a Instance,
    sources: HashMap<(u32, u32), Arc<str>>,
    functions: HashMap<u32, Arc<str>>,
}

impl Names<'_> {
    fn function(&mut self, function: u32) -> Arc<str> {
        let instance = self.instance;
        // Functions of other instances of the engine are compiled by the same thread.
        let name = || instance.function(function).map_or("[another instance]", |m| &m.name).into();
        self.functions.entry(function).or_insert_with(name).clone()
    }

    fn frame(&mut self, place: Place) -> SampledFrame {
        let named = |function, number, kind| SampledFrame {
            function,
            number,
            kind,
            source: None,
            line: 0,
            start: 0,
            end: 0,
        };
        match place {
            Place::Host { function } => named(self.function(function), function, FrameKind::Host),
            Place::Deeper => named("".into(), 0, FrameKind::Deeper),
            Place::Activity(activity) => named(
                "".into(),
                0,
                match activity {
                    Activity::Collector => FrameKind::Collector,
                    Activity::BaselineCompiler => FrameKind::BaselineCompiler,
                    Activity::OptimizingCompiler => FrameKind::OptimizingCompiler,
                    Activity::Foreign => FrameKind::Foreign,
                },
            ),
            Place::Guest { function, word, code } => {
                let kind = match code {
                    Code::Interpreter => FrameKind::Interpreter,
                    Code::Baseline => FrameKind::Baseline,
                    Code::Optimized => FrameKind::Optimized,
                    Code::Inlined => FrameKind::Inlined,
                };
                let frame = named(self.function(function), function, kind);
                let placed = || {
                    let entry = self.instance.entry(function).filter(|_| word != u32::MAX)?;
                    let span = self.instance.function(function)?.span_at(word)?;
                    let module = self.instance.modules().get(entry.module as usize)?;
                    let source = module.sources.get(span.source as usize)?;
                    Some(((entry.module, span.source), source, span))
                };
                let Some((key, source, span)) = placed() else { return frame };
                let name = self.sources.entry(key).or_insert_with(|| source.name.as_str().into());
                let line = source.position(span.start).0;
                SampledFrame { source: Some(name.clone()), line, start: span.start, end: span.end, ..frame }
            }
        }
    }
}
