//! What compiling costs by phase, for programs of 10 to 1,000,000 instructions of bytecode in two shapes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode};
use upshift::tiers::measure::{self, Optimizer, Session};
use upshift::{Config, Engine, Grants, HostRegistry, Limits, Module, bytecode};
use upshift_cli::session::{self, Parsed, Phases};
use upshift_micro::{Shape, clock, load, parsed};
use upshift_mochi::check::{Mode, check};
use upshift_mochi::infer::{Types, infer};
use upshift_mochi::library;
use upshift_mochi::lower::{Tests, lower};
use upshift_mochi::resolve::{Resolution, resolve};
use upshift_runtime::linked::{Tables, link};

use crate::Processor;
use crate::report::{Figure, Figures};

/// Instructions of bytecode.
pub const SIZES: [u64; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
/// The optimizer takes the functions of a program one by one, so larger programs would say the same again; functions beyond 20,000
/// instructions it refuses.
const LARGEST_OPTIMIZED: u64 = 10_000;
/// The optimizer is repeated until this is used up, and so often at least and at most.
const PATIENCE: Duration = Duration::from_millis(1_500);
const REPEAT: std::ops::RangeInclusive<usize> = 5..=101;

/// How they are laid out.
pub const SHAPES: [Shape; 2] = [Shape::Functions, Shape::OneFunction];

/// A program at each of its stages: what one phase takes is what the one before gave.
pub struct Stages {
    text: Vec<u8>,
    parsed: Parsed,
    resolution: Resolution,
    types: Types,
    lowered: bytecode::Module,
    engine: Engine,
    loaded: Module,
}

impl Stages {
    fn new(text: &str) -> Stages {
        let mut parsed = parsed(text);
        let compiled = session::compile(&mut parsed, Tests::Inline, &mut Phases::default());
        let engine = session::engine(Config::default());
        let loaded = load(&engine, text);
        Stages {
            text: text.into(),
            parsed,
            resolution: compiled.resolution,
            types: compiled.types,
            lowered: compiled.module,
            engine,
            loaded,
        }
    }
}

/// Times each of `n` repetitions; what they make is dropped outside of the time.
fn each<R>(n: u64, mut f: impl FnMut() -> R) -> Duration {
    (0..n)
        .map(|_| {
            let started = clock();
            let made = black_box(f());
            let time = clock() - started;
            drop(made);
            time
        })
        .sum()
}

/// How a phase is repeated so often, and what that takes.
pub type Phase = fn(&mut Stages, u64) -> Duration;

/// The phases in front of the optimizer.
pub const PHASES: [(&str, Phase); 9] = [
    ("parse", |s, n| {
        each(n, || session::parse_program("micro.mochi", s.text.clone(), &mut Phases::default()))
    }),
    ("check", |s, n| each(n, || check(&s.parsed.program, &s.parsed.names, &s.parsed.sources, Mode::Check))),
    ("resolve", |s, n| each(n, || resolve(&s.parsed.program, &mut s.parsed.names))),
    ("infer", |s, n| each(n, || infer(&s.parsed.program, &s.resolution, &s.parsed.names))),
    ("lower", |s, n| {
        let Parsed { program, names, sources, .. } = &s.parsed;
        each(n, || lower(program, names, sources, &s.resolution, &s.types, Tests::Inline))
    }),
    ("verify", |s, n| {
        each(n, || match bytecode::verifier::verify(&s.lowered) {
            Ok(()) => {}
            Err(error) => panic!("{error}"),
        })
    }),
    ("link", |s, n| {
        let (tables, mut hosts) = (Tables::default(), HostRegistry::default());
        library::register(&mut hosts);
        each(n, || match link(&s.lowered, &tables, &|name| hosts.get(name).cloned()) {
            Ok(linked) => linked,
            Err(error) => panic!("{error}"),
        })
    }),
    ("instantiate", |s, n| each(n, || s.engine.instantiate(&s.loaded, Grants::none(), Limits::default()))),
    ("baseline", |s, n| (0..n).map(|_| measure::baseline(&s.loaded, clock).time).sum()),
];

/// The optimizer's phases, and what their time is divided by.
pub const OPTIMIZER: [(&str, &str); 15] = [
    ("build", "bytecode"),
    ("passes", "SSA"),
    ("pass params", "SSA"),
    ("pass gvn", "SSA"),
    ("pass unbox", "SSA"),
    ("pass escape", "SSA"),
    ("pass unroll", "SSA"),
    ("pass licm", "SSA"),
    ("pass promote", "SSA"),
    ("pass ranges", "SSA"),
    ("pass version", "SSA"),
    ("pass dce", "SSA"),
    ("lower", "Cranelift's form"),
    ("Cranelift", "Cranelift's form"),
    ("all", "bytecode"),
];

/// All phases up to running code, and the baseline compiler.
pub fn front(c: &mut Criterion<Processor>, figures: &mut Figures) {
    for shape in SHAPES {
        for size in SIZES {
            // Not made where the filter leaves all of it out.
            let mut stages = None;
            for (name, phase) in PHASES {
                let mut group = c.benchmark_group(name);
                group.sampling_mode(SamplingMode::Flat);
                group.bench_function(BenchmarkId::new(shape.name(), size), |b| {
                    let stages = stages.get_or_insert_with(|| Stages::new(&shape.program(size)));
                    b.iter_custom(|n| phase(stages, n));
                });
                if let Some(stages) = &stages {
                    figures.elements(name, shape.name(), size, measure::count(&stages.loaded) as f64);
                }
            }
        }
    }
}

/// The optimizer's phases and passes.
///
/// # Panics
/// It fails.
pub fn optimizer(figures: &mut Figures) {
    let Some(mut session) = Session::new() else { return };
    for shape in SHAPES {
        for size in SIZES.into_iter().filter(|&s| s <= LARGEST_OPTIMIZED) {
            let engine = session::engine(Config::default());
            let module = load(&engine, &shape.program(size));
            let started = Instant::now();
            let mut runs: Vec<Optimizer> = Vec::new();
            while runs.len() < *REPEAT.start() || runs.len() < *REPEAT.end() && started.elapsed() < PATIENCE {
                match session.optimize(&module, None, clock) {
                    Ok(run) => runs.push(run),
                    Err(error) => panic!("the optimizer fails: {error}"),
                }
            }
            println!("optimizer/{}/{size}: {} runs", shape.name(), runs.len());
            assert_eq!(runs[0].refused, 0, "all functions are compiled");
            let run = &runs[0];
            let mut add = |name: &str, elements: u64, time: &dyn Fn(&Optimizer) -> Duration| {
                let times = runs.iter().map(|r| time(r).as_nanos() as f64).collect();
                figures.add(Figure::of_runs("optimizer", name, shape.name(), size, elements as f64, times));
            };
            add("build", run.instructions, &|r| r.build);
            add("passes", run.built, &|r| r.passes);
            for (i, (pass, _)) in run.each.iter().enumerate() {
                add(&format!("pass {pass}"), run.built, &|r| r.each[i].1);
            }
            add("lower", run.clif, &|r| r.lower);
            add("Cranelift", run.clif, &|r| r.cranelift);
            add("all", run.instructions, &Optimizer::time);
        }
    }
}
