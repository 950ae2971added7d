//! The report: from the journal, the samples, and the modules that are loaded.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use upshift_bytecode::OperandKind;
use upshift_optimizer::build::{Facts, Start};
use upshift_optimizer::flow::{self, Extent};
use upshift_optimizer::ir::{Inlining, Made};
use upshift_optimizer::summary::{Item, Kind};
use upshift_runtime::instance::Instance;
use upshift_runtime::linked::FunctionMeta;

use super::codes::Code;
use super::journal::{self, Attempt, Journal};
use super::{
    BaselineReport, Compilation, FunctionReport, InlinedInto, Level, LoopReport, Outcome, Place, Remark,
    Report, Step, TimeRow,
};
use crate::engine::TierConfig;
use crate::profile::sampler::{FrameKind, Profile, SampledFrame};
use crate::tiers::World;

/// What a report is made of.
pub(crate) struct Input<'a> {
    pub instance: &'a Instance,
    pub journal: Journal,
    pub profile: Profile,
    /// `None` without tiers above the interpreter.
    pub config: Option<&'a TierConfig>,
    pub elapsed: Duration,
    pub collector: Duration,
    /// The function that the module's run begins with.
    pub entry: Option<u32>,
}

/// A loop of a function.
struct LoopData {
    header: u32,
    end: u32,
    parent: Option<usize>,
}

/// What is looked up about a function.
struct Known<'a> {
    meta: &'a FunctionMeta,
    loops: Vec<LoopData>,
    /// The innermost loop that code of a span stands in.
    loop_of: HashMap<(u32, u32), usize>,
}

impl Known<'_> {
    /// The innermost loop that a word stands in.
    fn innermost(&self, word: u32) -> Option<usize> {
        self.loops.iter().rposition(|l| (l.header..=l.end).contains(&word))
    }
}

struct Collector<'a> {
    instance: &'a Instance,
    journal: &'a Journal,
    config: Option<&'a TierConfig>,
    /// By function number: the attempts that inlined it and were installed.
    inlined: BTreeMap<u32, BTreeSet<usize>>,
    total: u64,
}

/// Makes the report.
pub(crate) fn collect(input: Input<'_>) -> Report {
    let Input { instance, journal, mut profile, config, elapsed, collector, entry } = input;
    let mut inlined: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for (i, attempt) in journal.attempts.iter().enumerate() {
        if matches!(attempt.outcome, journal::Outcome::Installed { .. }) {
            let done = attempt.summary.calls.iter().filter(|c| c.inlining == Inlining::Done);
            done.filter_map(|c| c.callee).for_each(|f| {
                inlined.entry(f).or_default().insert(i);
            });
        }
    }
    relabel(&mut profile, &journal, instance);
    let total = profile.samples();
    let c = Collector { instance, journal: &journal, config, inlined, total };
    let innermost = leaves(&profile);
    let world = World::new(instance.modules().to_vec());
    let mut ran: BTreeSet<u32> =
        innermost.iter().filter(|f| f.0.kind.is_guest()).map(|f| f.0.number).collect();
    ran.extend(profile.stacks().flat_map(|s| s.0).filter(|f| f.kind.is_guest()).map(|f| f.number));
    ran.extend(journal.lower.keys());
    ran.extend(c.inlined.keys());
    ran.extend(entry);
    let mut guests = 0;
    for module in instance.modules() {
        for meta in &module.functions[..module.guest_functions as usize] {
            guests += 1;
            if instance.entry(meta.index).is_some_and(|e| e.heat > 0) {
                ran.insert(meta.index);
            }
        }
    }
    let mut functions: Vec<FunctionReport> =
        ran.iter().filter_map(|&number| Some(c.function(c.known(&world, number)?, &innermost))).collect();
    let samples = |f: &FunctionReport| f.samples.iter().sum::<u64>();
    functions.sort_by(|a, b| samples(b).cmp(&samples(a)).then(a.number.cmp(&b.number)));
    let idle = guests - functions.len() as u32;
    let time = c.rows(&innermost, &functions, entry);
    let times = |f: fn(&Attempt) -> Duration| journal.attempts.iter().map(f).sum();
    Report {
        elapsed,
        time,
        functions,
        idle,
        baseline_time: journal.lower.values().flat_map(|l| &l.baseline).filter_map(|b| b.time).sum(),
        optimizing_time: times(|a| match a.outcome {
            journal::Outcome::Refused { time, .. } | journal::Outcome::Installed { time, .. } => time,
            journal::Outcome::Pending => Duration::ZERO,
        }),
        sync: config.is_some_and(|c| c.sync),
        collector_time: collector,
        profile,
    }
}

/// A call is charged before the callee begins, where the sampler cannot see whether the callee is inlined there. Who compiled knows.
fn relabel(profile: &mut Profile, journal: &Journal, instance: &Instance) {
    let mut inlined: HashSet<(u32, u32, u32, u32)> = HashSet::new();
    let installed = |a: &&Attempt| matches!(a.outcome, journal::Outcome::Installed { .. });
    for call in journal.attempts.iter().filter(installed).flat_map(|a| &a.summary.calls) {
        let span = instance.function(call.function).and_then(|m| m.span_at(call.word));
        if let (Inlining::Done, Some(callee), Some(span)) = (call.inlining, call.callee, span) {
            inlined.insert((call.function, span.start, span.end, callee));
        }
    }
    profile.relabel(|outer, frame| match outer {
        Some(outer)
            if matches!(outer.kind, FrameKind::Optimized | FrameKind::Inlined)
                && frame.kind.is_guest()
                && inlined.contains(&(outer.number, outer.start, outer.end, frame.number)) =>
        {
            FrameKind::Inlined
        }
        _ => frame.kind,
    });
}

/// What ran in each sample, with the number of samples: the innermost frame, or the compiler where one ran.
fn leaves(profile: &Profile) -> Vec<(&SampledFrame, u64)> {
    let mut samples: HashMap<&SampledFrame, u64> = HashMap::new();
    for (stack, n) in profile.stacks() {
        // A compiler stands around the function that it compiles.
        let compiler = |f: &&&SampledFrame| {
            matches!(f.kind, FrameKind::BaselineCompiler | FrameKind::OptimizingCompiler)
        };
        if let Some(frame) = stack.first().filter(compiler).or(stack.last()) {
            *samples.entry(frame).or_default() += n;
        }
    }
    let mut all: Vec<_> = samples.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.number.cmp(&b.0.number)).then(a.0.start.cmp(&b.0.start)));
    all
}

fn share(samples: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { samples as f64 / total as f64 }
}

/// Where a guest function's samples are counted.
fn slot(kind: FrameKind) -> Option<usize> {
    match kind {
        FrameKind::Interpreter => Some(0),
        FrameKind::Baseline => Some(1),
        FrameKind::Optimized => Some(2),
        FrameKind::Inlined => Some(3),
        _ => None,
    }
}

impl<'a> Collector<'a> {
    fn known(&self, world: &World, number: u32) -> Option<Known<'a>> {
        let meta = self.instance.function(number).filter(|m| m.host.is_none())?;
        let module = self.instance.module_of(number)?;
        let code = &module.code[meta.start as usize..];
        let outline = world.outline(number)?;
        let data = |l: &Extent| LoopData {
            header: l.header,
            end: l.end,
            parent: l.parent.map(|parent| parent as usize),
        };
        let loops: Vec<LoopData> = outline.loops.iter().map(data).collect();
        let mut loop_of = HashMap::new();
        // Outer loops stand before those in them, so the innermost is written last.
        for (i, l) in loops.iter().enumerate() {
            for at in flow::words(code, l.header, l.end + 1) {
                if let Some(span) = meta.span_at(at) {
                    loop_of.insert((span.start, span.end), i);
                }
            }
        }
        Some(Known { meta, loops, loop_of })
    }

    fn name(&self, number: u32) -> Arc<str> {
        self.instance.function(number).map_or("", |m| &m.name).into()
    }

    fn place(&self, function: u32, word: u32) -> Option<Place> {
        // An empty span is that of code which stands for no source.
        let span = self.instance.function(function)?.span_at(word).filter(|s| s.start < s.end)?;
        let source = self.instance.module_of(function)?.sources.get(span.source as usize)?;
        let (line, column) = source.position(span.start);
        let name = source.name.as_str().into();
        Some(Place { function, source: name, line, column, start: span.start, end: span.end })
    }

    /// The source and the first and last line of a part of a function.
    fn lines(&self, meta: &FunctionMeta, from: u32, to: u32) -> Option<(Arc<str>, u32, u32)> {
        let module = self.instance.module_of(meta.index)?;
        let code = &module.code[meta.start as usize..];
        let places: Vec<Place> =
            flow::words(code, from, to).filter_map(|at| self.place(meta.index, at)).collect();
        let source = places.first()?.source.clone();
        let lines = || places.iter().filter(|p| p.source == source).map(|p| p.line);
        let (first, last) = (lines().min()?, lines().max()?);
        Some((source, first, last))
    }

    fn rows(
        &self,
        innermost: &[(&SampledFrame, u64)],
        functions: &[FunctionReport],
        entry: Option<u32>,
    ) -> Vec<TimeRow> {
        let mut rows: Vec<TimeRow> = Vec::new();
        let mut known: HashMap<(FrameKind, u32), usize> = HashMap::new();
        let index = |number| functions.iter().position(|f| f.number == number);
        let mut add = |kind: FrameKind, number: u32, function: Arc<str>, samples: u64| {
            let row = *known.entry((kind, number)).or_insert_with(|| {
                let index = index(number).filter(|_| kind.is_guest());
                rows.push(TimeRow { kind, function, index, samples: 0, share: 0.0 });
                rows.len() - 1
            });
            rows[row].samples += samples;
        };
        for &(frame, samples) in innermost {
            add(frame.kind, frame.number, frame.function.clone(), samples);
        }
        let rest = self.total - innermost.iter().map(|f| f.1).sum::<u64>();
        if rest > 0 {
            add(FrameKind::Deeper, 0, "".into(), rest);
        }
        for row in &mut rows {
            row.share = share(row.samples, self.total);
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.samples));
        // A run between two ticks: all of it is the run's.
        if rows.is_empty()
            && let Some(entry) = entry
        {
            rows.push(TimeRow {
                kind: FrameKind::Interpreter,
                function: self.name(entry),
                index: index(entry),
                samples: 0,
                share: 1.0,
            });
        }
        rows
    }

    fn function(&self, known: Known<'a>, innermost: &[(&SampledFrame, u64)]) -> FunctionReport {
        let meta = known.meta;
        let number = meta.index;
        let mut samples = [0; 4];
        let mut in_loops = vec![0; known.loops.len()];
        for &(frame, n) in innermost.iter().filter(|f| f.0.number == number) {
            let Some(slot) = slot(frame.kind) else { continue };
            samples[slot] += n;
            if frame.line != 0
                && let Some(&l) = known.loop_of.get(&(frame.start, frame.end))
            {
                in_loops[l] += n;
            }
        }
        let lower = self.journal.lower.get(&number);
        let baseline: Vec<BaselineReport> = lower
            .iter()
            .flat_map(|l| &l.baseline)
            .map(|b| BaselineReport { at: b.at, cause: b.cause, heat: b.heat, bytes: b.bytes, time: b.time })
            .collect();
        let attempts: Vec<&Attempt> = self.journal.attempts.iter().filter(|a| a.function == number).collect();
        let compilations: Vec<Compilation> = attempts.iter().map(|a| self.compilation(a, &known)).collect();
        let whole = |c: &&Compilation| c.of_loop.is_none() && c.outcome.installed().is_some();
        let level = match (compilations.iter().any(|c| whole(&c)), baseline.is_empty()) {
            (true, _) => Level::Optimized,
            (false, false) => Level::Baseline,
            (false, true) => Level::Interpreter,
        };
        let mut steps = vec![];
        for b in lower.iter().flat_map(|l| &l.baseline) {
            steps.push(Step { at: b.at, level: Level::Baseline });
            steps.extend(b.evicted.map(|at| Step { at, level: Level::Interpreter }));
        }
        for c in compilations.iter().filter(whole) {
            steps.extend(c.outcome.installed().map(|at| Step { at, level: Level::Optimized }));
            steps.extend(c.retired.map(|at| Step { at, level: Level::Baseline }));
        }
        steps.sort_by_key(|s| (s.at, s.level));
        let mut remarks = Vec::new();
        let inlined = self.inlined.get(&number);
        if let Some(code) = self.why_not_higher(&known, &compilations, level, inlined.is_some()) {
            remarks.push(self.remark(code));
        }
        let mut into = Vec::new();
        for attempt in inlined.into_iter().flatten().map(|&i| &self.journal.attempts[i]) {
            for call in attempt.summary.calls.iter().filter(|c| c.callee == Some(number)) {
                let to = InlinedInto {
                    function: self.name(attempt.function),
                    place: self.place(call.function, call.word),
                };
                if call.inlining == Inlining::Done && !into.contains(&to) {
                    into.push(to);
                }
            }
        }
        let loops = (0..known.loops.len())
            .map(|i| self.of_loop(&known, i, in_loops[i], &attempts, &compilations, &baseline, level))
            .collect();
        FunctionReport {
            number,
            name: self.name(number),
            lines: self.lines(meta, 0, meta.len),
            level,
            steps,
            heat: self.instance.entry(number).map_or(0, |e| e.heat),
            samples,
            share: share(samples.iter().sum(), self.total),
            baseline,
            compilations,
            inlined_into: into,
            loops,
            remarks,
        }
    }

    fn remark(&self, code: Code) -> Remark {
        Remark { code, place: None, count: 1, detail: String::new(), values: Vec::new() }
    }

    /// Why a function has no code of its own in a higher tier.
    fn why_not_higher(
        &self,
        known: &Known<'_>,
        compilations: &[Compilation],
        level: Level,
        inlined: bool,
    ) -> Option<Code> {
        let Some(config) = self.config else {
            return Some(if upshift_baseline::SUPPORTED {
                Code::InterpreterOnly
            } else {
                Code::NoMachineCode
            });
        };
        let last = compilations.iter().rfind(|c| c.of_loop.is_none());
        let obstacle = self.journal.lower.get(&known.meta.index).and_then(|l| l.obstacle);
        let installed = |c: &Compilation| c.outcome.installed().is_some() && c.retired.is_none();
        // What the optimizing compiler was asked for last.
        let asked = match last.map(|c| (c.outcome, c.retired, c.evicted)) {
            Some((Outcome::Refused { code, .. }, ..)) => Some(code),
            Some((Outcome::Pending, ..)) if self.journal.no_compiler => Some(Code::NoCompiler),
            Some((Outcome::Pending, ..)) => Some(Code::Pending),
            Some((Outcome::Installed { .. }, Some(_), _)) => Some(self.after_retirement(compilations)),
            Some((Outcome::Installed { .. }, None, Some(_))) => Some(Code::Evicted),
            Some((Outcome::Installed { .. }, None, None)) | None => None,
        };
        match level {
            Level::Optimized => asked,
            Level::Interpreter => Some(match obstacle {
                _ if asked == Some(Code::TooLarge) => Code::TooLarge,
                Some(Code::TooEarly) if compilations.iter().any(installed) => Code::LoopsAlone,
                Some(Code::TooEarly) | None if inlined => Code::OnlyInlined,
                Some(code) => code,
                None if self.journal.no_memory => Code::NoExecutableMemory,
                None => Code::Cold,
            }),
            Level::Baseline => Some(match asked.or(obstacle) {
                Some(code) => code,
                None if self.journal.no_compiler => Code::NoCompiler,
                None if compilations.iter().any(installed) => Code::LoopsAlone,
                None if compilations.iter().any(|c| c.retired.is_some()) => {
                    self.after_retirement(compilations)
                }
                None if config.optimize_heat == u32::MAX => Code::BaselineOnly,
                None if inlined => Code::OnlyInlined,
                None => Code::Warm,
            }),
        }
    }

    /// Why there is nothing in the place of code that was given up.
    fn after_retirement(&self, compilations: &[Compilation]) -> Code {
        let retired = compilations.iter().filter(|c| c.retired.is_some()).count();
        let retries = self.config.map_or(0, |c| c.retries);
        if retired > retries as usize { Code::GivenUp } else { Code::Retired }
    }

    #[expect(clippy::too_many_arguments, reason = "what is known of the function around")]
    fn of_loop(
        &self,
        known: &Known<'_>,
        i: usize,
        samples: u64,
        attempts: &[&Attempt],
        compilations: &[Compilation],
        baseline: &[BaselineReport],
        function: Level,
    ) -> LoopReport {
        let l = &known.loops[i];
        let around = |of: usize| {
            let mut at = Some(i);
            while let Some(l) = at {
                if l == of {
                    return true;
                }
                at = known.loops[l].parent;
            }
            false
        };
        let covers = |c: &Compilation| c.of_loop.is_none_or(around);
        let number = known.meta.index;
        let elsewhere: Vec<&Attempt> =
            self.inlined.get(&number).into_iter().flatten().map(|&i| &self.journal.attempts[i]).collect();
        let installed = |a: &&Attempt| match a.outcome {
            journal::Outcome::Installed { at, .. } => Some(at),
            _ => None,
        };
        let own = compilations.iter().filter(|c| covers(c)).filter_map(|c| c.outcome.installed());
        let optimized = own.chain(elsewhere.iter().filter_map(installed)).min();
        let (level, since) = match (optimized, baseline.first()) {
            (Some(at), _) => (Level::Optimized, Some(at)),
            (None, Some(b)) => (Level::Baseline, Some(b.at)),
            (None, None) => (Level::Interpreter, None),
        };
        let mut remarks = Vec::new();
        if level < Level::Optimized {
            // That a loop around it is too large says nothing of this one.
            let large = |c: &Compilation| matches!(c.outcome, Outcome::Refused { code: Code::TooLarge, .. });
            let asked = |c: &&Compilation| c.of_loop.is_some_and(|l| around(l) && (l == i || !large(c)));
            let own = compilations.iter().rfind(asked);
            let code = match own.map(|c| c.outcome) {
                Some(Outcome::Refused { code, .. }) => Some(code),
                Some(Outcome::Pending) => Some(Code::Pending),
                _ => self.why_not_higher(known, compilations, function, false),
            };
            remarks.extend(code.map(|code| self.remark(code)));
        } else {
            let here = |function, word| function == number && known.innermost(word) == Some(i);
            let mut own = attempts.iter().zip(compilations).filter(|(_, c)| covers(c));
            let own = own.rfind(|(_, c)| c.outcome.installed().is_some());
            let attempt = own.map(|o| *o.0).or(elsewhere.last().copied());
            remarks.extend(attempt.into_iter().flat_map(|a| self.remarks(a, here)));
            if own.is_some_and(|(_, c)| c.retired.is_some()) {
                remarks.push(self.remark(self.after_retirement(compilations)));
            }
        }
        LoopReport {
            lines: self.lines(known.meta, l.header, l.end + 1),
            parent: l.parent,
            level,
            since,
            samples,
            share: share(samples, self.total),
            remarks,
        }
    }

    fn compilation(&self, attempt: &Attempt, known: &Known<'_>) -> Compilation {
        let of_loop = match attempt.start {
            Start::Function => None,
            Start::Loop(header) => known.loops.iter().position(|l| l.header == header),
        };
        let outcome = match attempt.outcome {
            journal::Outcome::Pending => Outcome::Pending,
            journal::Outcome::Refused { at, time, code } => Outcome::Refused { at, time, code },
            journal::Outcome::Installed { at, time, bytes, instructions } => {
                Outcome::Installed { at, time, bytes, instructions }
            }
        };
        let summary = &attempt.summary;
        let sum = |kind: fn(Kind) -> bool| {
            let of = summary.items.iter().filter(|i| kind(i.kind));
            of.fold((0, 0), |(built, left), i| (built + i.built, left + i.left))
        };
        let inlined = summary.calls.iter().filter(|c| c.inlining == Inlining::Done).count() as u32;
        let mut remarks = self.remarks(attempt, |_, _| true);
        if summary.sunk > 0 {
            remarks.push(Remark { count: summary.sunk.into(), ..self.remark(Code::AllocationSunk) });
        }
        Compilation {
            of_loop,
            asked: attempt.asked,
            cause: attempt.cause,
            heat: attempt.heat,
            outcome,
            retired: attempt.retired,
            evicted: attempt.evicted,
            checks: sum(|k| matches!(k, Kind::Check(_))),
            allocations: sum(|k| k == Kind::Allocation),
            sunk: summary.sunk,
            calls: (summary.calls.len() as u32, inlined),
            remarks,
        }
    }

    /// The remarks of a compilation on some of the words of functions: equal ones at one position are one.
    fn remarks(&self, attempt: &Attempt, here: impl Fn(u32, u32) -> bool) -> Vec<Remark> {
        let summary = &attempt.summary;
        type Key = (Option<Place>, Code, String);
        let mut all: BTreeMap<Key, (u64, Vec<String>)> = BTreeMap::new();
        let mut add = |function, word, code, detail: String, count: u64, values: Vec<String>| {
            if !here(function, word) {
                return;
            }
            let of = all.entry((self.place(function, word), code, detail)).or_default();
            of.0 += count;
            if !values.is_empty() {
                of.1 = values;
            }
        };
        for call in &summary.calls {
            let detail = call.callee.map_or_else(String::new, |f| self.name(f).to_string());
            add(call.function, call.word, Code::of_call(call.inlining), detail, 1, Vec::new());
        }
        for note in &summary.notes {
            let (code, detail) = match note.made {
                Made::Skipped => (Code::TurnsSkipped, String::new()),
                Made::Quick => (Code::QuickRoutine, self.mnemonic(note.function, note.word)),
            };
            add(note.function, note.word, code, detail, 1, Vec::new());
        }
        for item in &summary.items {
            for (code, count) in self.item(item).into_iter().flatten().filter(|c| c.1 > 0) {
                add(item.function, item.word, code, self.detail(item), count.into(), Vec::new());
            }
        }
        for (i, &(reason, function, word)) in attempt.checks.iter().enumerate() {
            let count = attempt.held.as_ref().map_or(0, |held| held.get(i));
            if count > 0 {
                add(function, word, Code::CheckHeld, reason.name().to_string(), count, Vec::new());
            }
        }
        for (&(reason, function, word), exits) in &attempt.exits {
            let code = Code::of_exit(reason);
            add(function, word, code, String::new(), exits.taken, exits.values.clone());
        }
        let remark = |((place, code, detail), (count, values))| Remark { code, place, count, detail, values };
        all.into_iter().map(remark).collect()
    }

    /// What is said of what was counted: what is gone, what stands outside of the loop now, what is left.
    fn item(&self, item: &Item) -> [Option<(Code, u32)>; 2] {
        let gone = item.built.saturating_sub(item.left);
        match item.kind {
            Kind::Check(_) if item.left > 0 && item.left_depth < item.built_depth => {
                [Some((Code::ChecksRemoved, gone)), Some((Code::ChecksHoisted, item.left))]
            }
            Kind::Check(_) => [Some((Code::ChecksRemoved, gone)), Some((Code::ChecksKept, item.left))],
            Kind::Allocation => {
                [Some((Code::AllocationRemoved, gone)), Some((Code::AllocationKept, item.left))]
            }
            Kind::Routine => {
                let left = if self.calls_host(item) { Code::HostCall } else { Code::Routine };
                [Some((Code::RoutineRemoved, gone)), Some((left, item.left))]
            }
        }
    }

    /// More about what was counted.
    fn detail(&self, item: &Item) -> String {
        match item.kind {
            Kind::Check(reason) => reason.name().to_string(),
            Kind::Allocation => self.mnemonic(item.function, item.word),
            Kind::Routine => match self.host_callee(item) {
                Some(callee) => self.name(callee).to_string(),
                None => self.mnemonic(item.function, item.word),
            },
        }
    }

    /// The name of an instruction's op.
    fn mnemonic(&self, function: u32, word: u32) -> String {
        let op = || {
            let meta = self.instance.function(function)?;
            let code = &self.instance.module_of(function)?.code[meta.start as usize..];
            flow::decode(code, word).map(|i| i.op)
        };
        op().map_or_else(String::new, |op| op.info().mnemonic.to_string())
    }

    /// The host function that an instruction calls, where it names it.
    fn host_callee(&self, item: &Item) -> Option<u32> {
        let meta = self.instance.function(item.function)?;
        let code = &self.instance.module_of(item.function)?.code[meta.start as usize..];
        let inst = flow::decode(code, item.word)?;
        let host = |n: u32| self.instance.function(n).is_some_and(|m| m.host.is_some());
        inst.iter().filter(|(kind, _)| *kind == OperandKind::HostId).map(|(_, n)| n as u32).find(|&n| host(n))
    }

    fn calls_host(&self, item: &Item) -> bool {
        self.host_callee(item).is_some()
    }
}
