//! Samples of runs: what stacks say in each tier, and that no tick is lost. The clock is a thread that ticks all the time, so
//! that nothing depends on how fast the machine is.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::{function, sum};
use upshift::bytecode::Module;
use upshift::bytecode::ValueType::Int;
use upshift::bytecode::builder::{ModuleBuilder, Reg};
use upshift::profile::sampler::{Detail, FrameKind, Profile, SampledFrame};
use upshift::{Config, Engine, Grants, HostContext, Instance, Limits, Tier, TierConfig};

/// `main(n)` calls `outer(i)` for each i below n, which calls `inner(200)`, a loop that calls `leaf`; and, every 64th time, the
/// host's `wait`.
fn nested() -> Module {
    let mut m = ModuleBuilder::new("nested");
    let one = m.signature(&[Int], Some(Int));
    let wait = m.host("wait", one);
    let leaf = function(&mut m, "leaf", &[Int], Some(Int), |_, f| {
        let (x, r) = (f.param(0), f.int());
        f.int_mul(r, x, x);
        for _ in 0..40 {
            f.int_add_imm(r, r, 1);
            f.int_xor(r, r, x);
        }
        f.return_int(r);
    });
    let inner = sum(&mut m, "inner", leaf);
    let outer = function(&mut m, "outer", &[Int], Some(Int), |_, f| {
        let (i, n, r, low) = (f.param(0), f.int(), f.int(), f.int());
        f.load_int(n, 200);
        f.int_move(Reg::window(0), n);
        f.call_int(r, inner);
        f.load_int(low, 63);
        f.int_and(low, low, i);
        let done = f.label();
        let zero = f.int();
        f.load_int(zero, 0);
        f.int_ne_branch(low, zero, done);
        f.int_move(Reg::window(0), i);
        f.call_host_int(low, wait);
        f.bind(done);
        f.return_int(r);
    });
    sum(&mut m, "main", outer);
    m.finish()
}

/// One clock at a time: where several share the processors with who reads them, a clock may tick in nothing but pauses.
static ONE: Mutex<()> = Mutex::new(());

/// Ticks as long as it lives.
struct Clock {
    _one: MutexGuard<'static, ()>,
    ticks: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Clock {
    fn start() -> Clock {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (ticks, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (ticks, stop) = (ticks.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    ticks.fetch_add(1, Ordering::Relaxed);
                    std::hint::spin_loop();
                }
            }
        });
        Clock { _one: one, ticks, stop, thread: Some(thread) }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("once").join().expect("it only counts");
    }
}

fn tiers(tier: Tier) -> TierConfig {
    let mut config = TierConfig::default();
    if tier == Tier::Auto {
        config.baseline_heat = 2;
        config.optimize_heat = 1_000;
        config.eager = true;
        config.sync = true;
    }
    config
}

/// Runs `main` until so many stacks are in the profile.
fn sampled(tier: Tier, configure: impl FnOnce(&mut Config), enough: impl Fn(&Profile) -> bool) -> Profile {
    let mut config = Config::default();
    config.tier = tier;
    config.tiers = tiers(tier);
    configure(&mut config);
    // A host function during which the clock ticks.
    let clock = Clock::start();
    let ticks = clock.ticks.clone();
    config.hosts.function("wait", move |_: &mut HostContext<'_>, x: i64| {
        let before = ticks.load(Ordering::Relaxed);
        while ticks.load(Ordering::Relaxed) == before {
            std::thread::yield_now();
        }
        Ok(x)
    });
    let engine = Engine::new(config);
    let module = engine.load(&nested()).expect("it loads");
    let mut instance = engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance");
    let main = instance.function::<(i64,), i64>("main").expect("the function");
    let plain = instance.call(&main, (2_000,)).expect("no trap");
    let mut last = String::new();
    for _ in 0..1_000 {
        instance.start_sampling_by(clock.ticks.clone());
        assert_eq!(instance.call(&main, (2_000,)).expect("no trap"), plain);
        let profile = instance.stop_sampling().expect("it was started");
        if enough(&profile) {
            return profile;
        }
        last = profile.folded(Detail { tiers: true, lines: false });
    }
    panic!("{tier:?}: a stack does not show up:\n{last}");
}

fn names<'a>(stack: &[&'a SampledFrame]) -> Vec<&'a str> {
    stack.iter().map(|f| &*f.function).collect()
}

fn has(profile: &Profile, stack: &[&str]) -> bool {
    profile.stacks().any(|(frames, _)| names(&frames) == stack)
}

#[test]
fn stacks_nest_as_calls_do() {
    for tier in [Tier::Interpreter, Tier::Baseline, Tier::Optimized, Tier::Auto] {
        let profile = sampled(
            tier,
            |_| (),
            |p| has(p, &["main", "outer", "inner", "leaf"]) && has(p, &["main", "outer", "wait"]),
        );
        let mut total = 0;
        for (stack, samples) in profile.stacks() {
            let full = ["main", "outer", "inner", "leaf"];
            let names = names(&stack);
            // Loops become hot while samples are taken, too, and the program waits for their code.
            if tier == Tier::Auto && stack[0].kind == FrameKind::OptimizingCompiler {
                assert!(names.len() == 2 && full.contains(&names[1]), "{names:?}");
                total += samples;
                continue;
            }
            assert!(full.starts_with(&names) || names == ["main", "outer", "wait"], "{tier:?}: {names:?}");
            assert!(samples > 0);
            total += samples;
            for (frame, next) in stack.iter().zip(stack.iter().skip(1)) {
                assert!(frame.kind.is_guest(), "{tier:?}: {stack:?}");
                assert!(next.kind == FrameKind::Host || next.kind.is_guest(), "{tier:?}: {stack:?}");
            }
            let innermost = stack.last().expect("no stack is empty");
            assert_eq!(innermost.kind == FrameKind::Host, names.ends_with(&["wait"]));
            match tier {
                Tier::Interpreter => assert!(
                    stack.iter().all(|f| { matches!(f.kind, FrameKind::Interpreter | FrameKind::Host) })
                ),
                Tier::Baseline => {
                    assert!(stack.iter().all(|f| { matches!(f.kind, FrameKind::Baseline | FrameKind::Host) }))
                }
                _ => {}
            }
        }
        assert_eq!(total, profile.samples());
        assert_eq!(profile.innermost().iter().map(|&(_, n)| n).sum::<u64>(), total);
        if matches!(tier, Tier::Optimized | Tier::Auto) {
            let fast = |f: &SampledFrame| matches!(f.kind, FrameKind::Optimized | FrameKind::Inlined);
            assert!(profile.innermost().iter().any(|(f, _)| fast(f)), "{:?}", profile.innermost());
        }
    }
}

#[test]
fn folded_stacks_add_up() {
    let profile = sampled(Tier::Baseline, |_| (), |p| has(p, &["main", "outer", "inner", "leaf"]));
    for detail in [Detail::default(), Detail { tiers: true, lines: true }] {
        let folded = profile.folded(detail);
        let mut total = 0;
        let mut seen = Vec::new();
        for line in folded.lines() {
            let (stack, samples) = line.rsplit_once(' ').expect("a count");
            total += samples.parse::<u64>().expect("a number");
            assert!(!seen.contains(&stack), "{stack} is there twice");
            seen.push(stack);
        }
        assert_eq!(total, profile.samples());
        let wanted = if detail.tiers {
            "main [baseline];outer [baseline];inner [baseline];leaf [baseline]"
        } else {
            "main;outer;inner;leaf"
        };
        assert!(seen.contains(&wanted), "{folded}");
    }
}

#[test]
fn samples_do_not_change_what_runs_where() {
    let run = |sampled: bool| {
        let mut config = Config::default();
        config.tiers = tiers(Tier::Auto);
        config.hosts.function("wait", |_: &mut HostContext<'_>, x: i64| Ok(x));
        let engine = Engine::new(config);
        let module = engine.load(&nested()).expect("it loads");
        let mut instance: Instance =
            engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance");
        instance.set_fuel(Some(1_000_000_000));
        let main = instance.function::<(i64,), i64>("main").expect("the function");
        let clock = Clock::start();
        if sampled {
            instance.start_sampling_by(clock.ticks.clone());
        }
        let result = instance.call(&main, (2_000,)).expect("no trap");
        let c = instance.tier_counters();
        (result, instance.fuel(), c.deopts, c.retired, c.evicted, c.optimized > 0)
    };
    let plain = run(false);
    assert_eq!(plain.3, 0);
    assert_eq!(run(true), plain);
}

#[test]
fn callers_whose_loop_alone_is_optimized_are_in_that_tier() {
    // The host function is the clock: each call is a tick, and a sample of itself with its caller.
    let mut m = ModuleBuilder::new("loop");
    let one = m.signature(&[Int], Some(Int));
    let tick = m.host("tick", one);
    function(&mut m, "turns", &[Int], Some(Int), |_, f| {
        let (n, i, r) = (f.param(0), f.int(), f.int());
        f.load_int(i, 0);
        let top = f.label();
        f.begin_loop(top);
        f.int_move(Reg::window(0), i);
        f.call_host_int(r, tick);
        f.int_add_imm(i, i, 1);
        f.int_lt_loop(i, n, top);
        f.return_int(r);
    });
    let ticks = Arc::new(AtomicU64::new(0));
    let mut config = Config::default();
    config.tiers = tiers(Tier::Auto);
    config.tiers.optimize_functions = false;
    config.hosts.function("tick", {
        let ticks = ticks.clone();
        move |_: &mut HostContext<'_>, x: i64| {
            ticks.fetch_add(1, Ordering::Relaxed);
            Ok(x)
        }
    });
    let engine = Engine::new(config);
    let module = engine.load(&m.finish()).expect("it loads");
    let mut i = engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance");
    i.start_sampling_by(ticks);
    let turns = i.function::<(i64,), i64>("turns").expect("the function");
    assert_eq!(i.call(&turns, (100_000,)).expect("no trap"), 99_999);
    let profile = i.stop_sampling().expect("it was started");
    assert!(i.tier_counters().osr_entries > 0);
    let of = |kind| {
        let called = |stack: &[&SampledFrame]| stack.len() == 2 && stack[0].kind == kind;
        profile.stacks().filter(|(stack, _)| called(stack)).map(|s| s.1).sum::<u64>()
    };
    // The first turns were in lower tiers.
    let lower = of(FrameKind::Interpreter) + of(FrameKind::Baseline);
    assert!(
        of(FrameKind::Optimized) > 20 * lower,
        "{}",
        profile.folded(Detail { tiers: true, lines: false })
    );
}
