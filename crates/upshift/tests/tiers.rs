//! The driver of the tiers: what moves up and when, and what comes back. Asserted on counters and events, never on time.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::frames::frames;
use common::{function, sums};
use upshift::bytecode::ValueType::{Cell, Float, Int};
use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder, Reg};
use upshift::bytecode::{ANY, Callee, FuncId, HeapType, Module, NumberPolicy, Protocol, TrapCode};
use upshift::tiers::measure::{Force, force};
use upshift::{Config, Engine, Grants, HostContext, Instance, Limits, Ret, Tier, TierConfig, What};

fn config() -> Config {
    let mut config = Config::default();
    (config.tiers.eager, config.tiers.baseline_heat) = (true, 2);
    config
}

fn instance(module: &Module, config: Config) -> Instance {
    let engine = Engine::new(config);
    let module = engine.load(module).expect("it loads");
    engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance")
}

fn compiled(i: &Instance) -> Vec<String> {
    let made = i.tier_events().filter(|e| matches!(e.what, What::Compiled { .. }));
    made.map(|e| e.function.to_string()).collect()
}

#[test]
fn a_function_moves_up_at_its_second_call() {
    let mut i = instance(&sums(), config());
    let double = i.function::<(i64,), i64>("double").expect("the function");
    assert_eq!(i.call(&double, (4,)).expect("no trap"), 8);
    assert_eq!(compiled(&i), Vec::<String>::new());
    assert_eq!(i.call(&double, (5,)).expect("no trap"), 10);
    assert_eq!(compiled(&i), ["double"]);
    assert_eq!(i.tier_counters().entered, 1);
    let error = i.call(&double, (i64::MAX,)).expect_err("it overflows");
    assert_eq!(error.code(), TrapCode::IntegerOverflow);
    assert_eq!(error.message(), "9223372036854775807 + 9223372036854775807 does not fit 64 bits");
    assert_eq!(i.tier_counters().exits, 1);
}

#[test]
fn a_loop_moves_up_in_the_middle() {
    let mut i = instance(&sums(), config());
    let sum = i.function::<(i64,), i64>("sum").expect("the function");
    assert_eq!(i.call(&sum, (100_000,)).expect("no trap"), 9_999_900_000);
    let mut names = compiled(&i);
    names.sort();
    assert_eq!(names, ["double", "sum"]);
    // Once for each tier change, not for each turn.
    assert!(i.tier_counters().entered < 100, "{:?}", i.tier_counters());
}

#[test]
fn the_interpreter_alone_compiles_nothing() {
    let mut config = config();
    config.tier = Tier::Interpreter;
    let mut i = instance(&sums(), config);
    let sum = i.function::<(i64,), i64>("sum").expect("the function");
    assert_eq!(i.call(&sum, (1_000,)).expect("no trap"), 999_000);
    assert_eq!((i.tier_events().count(), i.tier_counters()), (0, upshift::Counters::default()));
}

#[test]
fn short_runs_compile_nothing() {
    let mut i = instance(&sums(), Config::default());
    let double = i.function::<(i64,), i64>("double").expect("the function");
    for _ in 0..TierConfig::default().baseline_heat {
        assert_eq!(i.call(&double, (4,)).expect("no trap"), 8);
    }
    // Unless this machine was very slow between these lines, it was too early.
    let events: Vec<_> = i.tier_events().map(|e| e.what.clone()).collect();
    assert!(events.len() == 1, "{events:?}");
}

#[test]
fn fuel_is_the_same_in_every_tier() {
    let left = |tier: Tier, quantum: u16, fuel: u64| {
        let mut config = config();
        config.tier = tier;
        config.tiers.quantum = quantum;
        let mut i = instance(&sums(), config);
        i.set_fuel(Some(fuel));
        let sum = i.function::<(i64,), i64>("sum").expect("the function");
        let result = i.call(&sum, (20_000,)).map_err(|e| e.code());
        (result, i.fuel())
    };
    for fuel in [0, 1, 100, 9_999, 39_999, 40_000, 40_001, 100_000] {
        let wanted = left(Tier::Interpreter, 32, fuel);
        for (tier, quantum) in
            [(Tier::Baseline, 32), (Tier::Optimized, 32), (Tier::Auto, 1), (Tier::Auto, 7), (Tier::Auto, 32)]
        {
            assert_eq!(left(tier, quantum, fuel), wanted, "{tier:?} {quantum} {fuel}");
        }
    }
}

#[test]
fn instances_of_an_engine_share_code() {
    let engine = Engine::new(config());
    let module = engine.load(&sums()).expect("it loads");
    let run = || {
        let mut i = engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance");
        let sum = i.function::<(i64,), i64>("sum").expect("the function");
        assert_eq!(i.call(&sum, (1_000,)).expect("no trap"), 999_000);
        i
    };
    let first = run();
    let second = run();
    assert_eq!(first.tier_counters().compiled, 2);
    assert_eq!(second.tier_counters().compiled, 0);
    assert_eq!(second.tier_events().filter(|e| matches!(e.what, What::Shared { .. })).count(), 2);
    drop((first, second));
    // With the last instance the code goes.
    assert_eq!(run().tier_counters().compiled, 2);
}

#[test]
fn code_that_makes_room_comes_back() {
    let mut config = config();
    config.tiers.code_cache = 900;
    let mut m = ModuleBuilder::new("many");
    for k in 0..8 {
        function(&mut m, &format!("f{k}"), &[Int], Some(Int), |_, f| {
            let (x, r) = (f.param(0), f.int());
            f.int_add_imm_checked(r, x, k);
            f.int_mul_checked(r, r, r);
            f.return_int(r);
        });
    }
    let mut i = instance(&m.finish(), config);
    for round in 0..200 {
        for k in 0..8 {
            let f = i.function::<(i64,), i64>(&format!("f{k}")).expect("the function");
            assert_eq!(i.call(&f, (round,)).expect("no trap"), (round + k) * (round + k));
        }
    }
    let c = i.tier_counters();
    assert!(c.evicted > 0 && c.compiled > 8, "{c:?}");
    // Each time they have to be warmer, so the compiler does not run all the time.
    assert!(c.compiled < 100, "{c:?}");
    assert!(i.tier_events().any(|e| e.what == What::CacheFull));
}

/// `even(n)` and `odd(n)`, which call each other and add one on the way back.
fn deep(m: &mut ModuleBuilder) {
    let sig = m.signature(&[Int], Some(Int));
    let ids = ["even", "odd"].map(|name| m.declare(name, sig, None));
    for (id, other) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let mut f = m.define(id);
        let (n, r) = (f.param(0), f.int());
        let end = f.label();
        f.load_int(r, 0);
        f.int_eq_imm_branch(n, 0, end);
        f.int_add_imm(Reg::window(0), n, -1);
        f.call_int(r, other);
        f.int_add_imm(r, r, 1);
        f.bind(end);
        f.return_int(r);
        f.finish(m);
    }
}

#[test]
fn a_million_frames_that_alternate_between_tiers() {
    let mut m = ModuleBuilder::new("deep");
    deep(&mut m);
    let module = m.finish();
    // Room for both, for one, and for none; and optimized from the first call on.
    for (tier, room) in
        [(Tier::Auto, 64 << 20), (Tier::Auto, 700), (Tier::Auto, 100), (Tier::Optimized, 64 << 20)]
    {
        let mut config = config();
        config.tier = tier;
        config.tiers.code_cache = room;
        let mut i = instance(&module, config);
        let even = i.function::<(i64,), i64>("even").expect("the function");
        for _ in 0..2 {
            assert_eq!(i.call(&even, (1_000_000,)).expect("no trap"), 1_000_000, "{room}");
        }
        let made = i.tier_counters().compiled;
        assert!(if room == 100 { made == 0 } else { made > 0 }, "{room}: {made}");
        assert!(tier != Tier::Optimized || i.tier_counters().optimized > 0, "{:?}", i.tier_counters());
    }
}

#[test]
fn endless_recursion_ends_alike_in_every_tier() {
    let mut m = ModuleBuilder::new("deep");
    deep(&mut m);
    let module = m.finish();
    let fail = |tier: Tier| {
        let mut config = config();
        config.tier = tier;
        let engine = Engine::new(config);
        let module = engine.load(&module).expect("it loads");
        let limits = Limits::default().stack(1 << 20);
        let mut i = engine.instantiate(&module, Grants::none(), limits).expect("an instance");
        let odd = i.function::<(i64,), i64>("odd").expect("the function");
        let error = i.call(&odd, (-1,)).expect_err("no end");
        (error.code(), error.backtrace().elided, error.to_string())
    };
    let wanted = fail(Tier::Interpreter);
    assert_eq!(wanted.0, TrapCode::StackOverflow);
    for tier in [Tier::Baseline, Tier::Optimized, Tier::Auto] {
        assert_eq!(fail(tier), wanted, "{tier:?}");
    }
}

/// Mappings of this process that are writable and executable, and how many are executable at all.
fn mappings() -> (Vec<String>, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let rights = |l: &&str, r: &str| l.split(' ').nth(1).is_some_and(|p| r.chars().all(|c| p.contains(c)));
    let both = maps.lines().filter(|l| rights(l, "wx")).map(str::to_owned).collect();
    (both, maps.lines().filter(|l| rights(l, "x")).count())
}

static LOOKED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn no_page_is_writable_and_executable_while_code_runs() {
    let mut config = config();
    config.tier = Tier::Baseline;
    config.hosts.function("look", |_: &mut HostContext<'_>| -> Result<(), upshift::Trap> {
        let (both, executable) = mappings();
        assert!(both.is_empty(), "{both:?}");
        LOOKED.fetch_add(executable, Ordering::Relaxed);
        Ok(())
    });
    let mut m = ModuleBuilder::new("look");
    let none = m.signature(&[], None);
    let look = m.host("look", none);
    function(&mut m, "main", &[], Some(Int), |_, f| {
        let r = f.int();
        f.call_host_void(look);
        f.load_int(r, 1);
        f.return_int(r);
    });
    let mut i = instance(&m.finish(), config);
    let main = i.function::<(), i64>("main").expect("the function");
    assert_eq!(i.call(&main, ()).expect("no trap"), 1);
    assert_eq!(i.tier_counters().compiled, 1);
    if cfg!(target_os = "linux") {
        assert!(LOOKED.load(Ordering::Relaxed) > 1, "the mappings were looked at");
    }
}

// ---- Optimized code ----

/// Everything soon, and the optimizer is waited for.
fn hot() -> Config {
    let mut config = config();
    config.tiers.sync = true;
    config.tiers.optimize_heat = 50;
    config.tiers.sample = 7;
    config
}

/// How often code was made for a function, or a loop of it.
fn optimized(i: &Instance, name: &str, loops: bool) -> usize {
    let made = |what: &What| matches!(what, What::Optimized { osr, .. } if *osr == loops);
    i.tier_events().filter(|e| &*e.function == name && made(&e.what)).count()
}

fn counted(i: &Instance, what: &What) -> usize {
    i.tier_events().filter(|e| e.what == *what).count()
}

#[test]
fn a_hot_loop_is_entered_in_its_middle() {
    let mut config = hot();
    config.tiers.optimize_functions = false;
    let mut i = instance(&sums(), config);
    let sum = i.function::<(i64,), i64>("sum").expect("the function");
    assert_eq!(i.call(&sum, (100_000,)).expect("no trap"), 9_999_900_000);
    let c = i.tier_counters();
    assert_eq!((optimized(&i, "sum", true), c.osr_entries, c.optimized, c.deopts), (1, 1, 1, 0), "{c:?}");
}

#[test]
fn a_hot_function_is_optimized() {
    let mut config = hot();
    config.tiers.optimize_loops = false;
    let mut i = instance(&sums(), config);
    let sum = i.function::<(i64,), i64>("sum").expect("the function");
    for n in 0..200 {
        assert_eq!(i.call(&sum, (n,)).expect("no trap"), n * (n - 1), "{n}");
    }
    let c = i.tier_counters();
    assert_eq!((optimized(&i, "sum", false), c.osr_entries, c.deopts), (1, 0, 0), "{c:?}");
    assert!(counted(&i, &What::Hot) >= 1);
}

#[test]
fn results_of_the_background_arrive() {
    let mut config = hot();
    config.tiers.sync = false;
    let mut i = instance(&sums(), config);
    let sum = i.function::<(i64,), i64>("sum").expect("the function");
    let mut rounds = 0;
    while i.tier_counters().optimized == 0 {
        assert_eq!(i.call(&sum, (1_000,)).expect("no trap"), 999_000);
        assert!(rounds < 1_000_000, "{:?}", i.tier_counters());
        std::thread::yield_now();
        rounds += 1;
    }
    assert_eq!(i.call(&sum, (100_000,)).expect("no trap"), 9_999_900_000);
}

/// `mix(n, k)`: n turns around `COUNT` dynamic sums, each of an int, but the one with number k of a float.
fn mixes() -> Module {
    let mut m = ModuleBuilder::new("mixes");
    function(&mut m, "mix", &[Int, Int], Some(Float), |_, f| {
        let (n, k, i, x, total, part) = (f.param(0), f.param(1), f.int(), f.float(), f.float(), f.float());
        let sums: Vec<_> = (0..COUNT).map(|_| (f.cell(ANY), f.feedback())).collect();
        let v = f.cell(ANY);
        f.load_int(i, 0);
        f.load_float(total, 0.0);
        for (sum, _) in &sums {
            f.box_int(*sum, i);
        }
        let top = f.label();
        f.begin_loop(top);
        for (j, &(sum, site)) in sums.iter().enumerate() {
            let (float, add) = (f.label(), f.label());
            f.int_eq_imm_branch(k, j as i16, float);
            f.box_int(v, i);
            f.jump(add);
            f.bind(float);
            f.load_float(x, 0.5);
            f.box_float(v, x);
            f.bind(add);
            f.cell_add(sum, sum, v, NumberPolicy::WRAP64.with(NumberPolicy::PROMOTE), site);
        }
        f.int_for_loop(i, n, top);
        for (sum, _) in sums {
            f.unbox_number(part, sum);
            f.float_add(total, total, part);
        }
        f.return_float(total);
    });
    m.finish()
}

/// Dynamic sums in `mix`.
const COUNT: usize = 12;

/// What `mix` gives.
fn mixed(n: i64, k: i64) -> f64 {
    let ints = COUNT as i64 - i64::from((0..COUNT as i64).contains(&k));
    (ints * (n * (n - 1) / 2)) as f64 + if ints < COUNT as i64 { 0.5 * n as f64 } else { 0.0 }
}

#[test]
fn a_wrong_guess_is_not_made_again() {
    for loops in [false, true] {
        let mut config = hot();
        config.tiers.optimize_loops = loops;
        config.tiers.optimize_functions = !loops;
        config.tiers.failures = 2;
        let mut i = instance(&mixes(), config);
        let mix = i.function::<(i64, i64), f64>("mix").expect("the function");
        let run = |i: &mut Instance, k| assert_eq!(i.call(&mix, (100, k)).expect("no trap"), mixed(100, k));
        for _ in 0..20 {
            run(&mut i, -1);
        }
        assert_eq!((optimized(&i, "mix", loops), i.tier_counters().deopts), (1, 0), "{loops}");
        for _ in 0..20 {
            run(&mut i, 3);
        }
        let c = i.tier_counters();
        assert_eq!((c.deopts, c.retired, optimized(&i, "mix", loops)), (2, 1, 2), "{loops} {c:?}");
        assert_eq!(counted(&i, &What::Retired), 1);
        // The second code does not guess there, so it stays.
        for round in 0..100 {
            run(&mut i, if round % 2 == 0 { 3 } else { -1 });
        }
        assert_eq!((i.tier_counters().deopts, i.tier_counters().optimized), (2, 2), "{loops}");
    }
}

/// `add(n, float)`: n turns around a dynamic sum with what was made before the loop, 1 or 0.5.
fn adds() -> Module {
    let mut m = ModuleBuilder::new("adds");
    function(&mut m, "add", &[Int, Int], Some(Float), |_, f| {
        let (n, k, i, x, y) = (f.param(0), f.param(1), f.int(), f.int(), f.float());
        let (v, sum, site) = (f.cell(ANY), f.cell(ANY), f.feedback());
        let (float, start) = (f.label(), f.label());
        f.load_int(i, 0);
        f.box_int(sum, i);
        f.int_ne_imm_branch(k, 0, float);
        f.load_int(x, 1);
        f.box_int(v, x);
        f.jump(start);
        f.bind(float);
        f.load_float(y, 0.5);
        f.box_float(v, y);
        f.bind(start);
        let top = f.label();
        f.begin_loop(top);
        f.cell_add(sum, sum, v, NumberPolicy::WRAP64.with(NumberPolicy::PROMOTE), site);
        f.int_for_loop(i, n, top);
        f.unbox_number(y, sum);
        f.return_float(y);
    });
    m.finish()
}

#[test]
fn the_loop_that_knows_the_closures_is_optimized() {
    let mut i = instance(&picks(), patient());
    let around = i.function::<(i64,), i64>("around").expect("the function");
    let each: i64 = (0..PICKED).map(|k| 499_500 + 1_000 * k).sum();
    assert_eq!(i.call(&around, (3_000,)).expect("no trap"), 3_000 * each);
    // First the function that calls them, with those built in that it calls most, and then its caller with it.
    let (own, whole) = (optimized(&i, "turns", true), optimized(&i, "turns", false));
    assert!(own + whole > 0, "{own} {whole}");
    assert_eq!(optimized(&i, "around", true), 1);
    let c = i.tier_counters();
    assert_eq!((c.retired, c.deopts), (0, 0), "{c:?}");
}

#[test]
fn a_wrong_guess_before_a_loop_is_not_made_again() {
    for loops in [false, true] {
        let mut config = hot();
        config.tiers.optimize_loops = loops;
        config.tiers.optimize_functions = !loops;
        config.tiers.failures = 2;
        let mut i = instance(&adds(), config);
        let add = i.function::<(i64, i64), f64>("add").expect("the function");
        let run = |i: &mut Instance, float: bool| {
            let each = if float { 0.5 } else { 1.0 };
            assert_eq!(i.call(&add, (100, i64::from(float))).expect("no trap"), 100.0 * each);
        };
        for float in [false, true] {
            for _ in 0..20 {
                run(&mut i, float);
            }
        }
        // What is checked before the loop is for the sum in it: the second code does not guess there.
        for round in 0..100 {
            run(&mut i, round % 2 == 0);
        }
        let c = i.tier_counters();
        assert_eq!((c.deopts, c.retired, optimized(&i, "add", loops)), (2, 1, 2), "{loops} {c:?}");
    }
}

#[test]
fn code_is_made_again_a_limited_number_of_times() {
    for loops in [false, true] {
        let mut config = hot();
        config.tiers.optimize_loops = loops;
        config.tiers.optimize_functions = !loops;
        config.tiers.failures = 1;
        config.tiers.retries = 4;
        let mut i = instance(&mixes(), config);
        let mix = i.function::<(i64, i64), f64>("mix").expect("the function");
        for k in -1..COUNT as i64 {
            for _ in 0..20 {
                assert_eq!(i.call(&mix, (100, k)).expect("no trap"), mixed(100, k), "{k}");
            }
        }
        let c = i.tier_counters();
        assert_eq!((c.optimized, c.retired, c.deopts), (5, 5, 5), "{loops} {c:?}");
    }
}

/// `spin(n)`: counts in a global as long as it is not n.
fn spins() -> Module {
    let mut m = ModuleBuilder::new("spins");
    let sig = m.signature(&[Int], None);
    let tell = m.host("tell", sig);
    let count = m.global("count", Int);
    function(&mut m, "spin", &[Int], Some(Int), |_, f| {
        let (n, i) = (f.param(0), f.int());
        f.load_int(i, 0);
        f.int_move(Reg::window(0), n);
        f.call_host_void(tell);
        let top = f.label();
        f.begin_loop(top);
        f.int_add_imm(i, i, 1);
        f.global_int_set(i, count);
        f.int_ne_loop(i, n, top);
        f.return_int(i);
    });
    function(&mut m, "count", &[], Some(Int), |_, f| {
        let r = f.int();
        f.global_int_get(r, count);
        f.return_int(r);
    });
    m.finish()
}

/// Where endless loops are optimized: forced, as a function, and alone.
fn forced(tier: Tier) -> [Config; 3] {
    let all = [(tier, true, true), (Tier::Auto, true, false), (Tier::Auto, false, true)];
    all.map(|(tier, functions, loops)| {
        let mut config = hot();
        config.tier = tier;
        config.tiers.optimize_functions = functions;
        config.tiers.optimize_loops = loops;
        config
    })
}

#[test]
fn fuel_stops_an_optimized_loop_where_it_stops_the_interpreter() {
    let stop = |mut config: Config, fuel: u64| {
        config
            .hosts
            .function("tell", |_: &mut HostContext<'_>, _: i64| -> Result<(), upshift::Trap> { Ok(()) });
        let mut i = instance(&spins(), config);
        let spin = i.function::<(i64,), i64>("spin").expect("the function");
        let count = i.function::<(), i64>("count").expect("the function");
        // Warm.
        assert_eq!(i.call(&spin, (3_000,)).expect("no trap"), 3_000);
        assert_eq!(i.call(&spin, (3_000,)).expect("no trap"), 3_000);
        i.set_fuel(Some(fuel));
        let code = i.call(&spin, (-1,)).expect_err("no end").code();
        let left = i.fuel();
        i.set_fuel(None);
        let c = i.tier_counters();
        ((code, left, i.call(&count, ()).expect("no trap")), c.optimized)
    };
    for fuel in [1, 2, 3, 100, 9_999, 123_456] {
        let mut config = config();
        config.tier = Tier::Interpreter;
        let (wanted, _) = stop(config, fuel);
        assert_eq!(wanted.0, TrapCode::OutOfFuel);
        for (way, config) in forced(Tier::Optimized).into_iter().enumerate() {
            let (got, optimized) = stop(config, fuel);
            assert_eq!(got, wanted, "{way} {fuel}");
            assert!(optimized > 0, "{way}");
        }
    }
}

#[test]
fn interrupts_stop_an_optimized_loop() {
    for (way, mut config) in forced(Tier::Optimized).into_iter().enumerate() {
        let (sender, told) = std::sync::mpsc::channel();
        config.hosts.function("tell", move |_: &mut HostContext<'_>, n: i64| -> Result<(), upshift::Trap> {
            let _ = sender.send(n);
            Ok(())
        });
        let mut i = instance(&spins(), config);
        let spin = i.function::<(i64,), i64>("spin").expect("the function");
        for _ in 0..2 {
            assert_eq!(i.call(&spin, (3_000,)).expect("no trap"), 3_000);
        }
        assert!(i.tier_counters().optimized > 0, "{way}");
        let handle = i.interrupt_handle();
        let stopper = std::thread::spawn(move || {
            while told.recv() != Ok(-1) {}
            handle.interrupt();
        });
        assert_eq!(i.call(&spin, (-1,)).expect_err("no end").code(), TrapCode::Interrupted, "{way}");
        stopper.join().expect("no panic");
        assert_eq!(i.call(&spin, (3_000,)).expect("the interrupt was used up"), 3_000);
    }
}

#[test]
fn frames_after_an_exit_are_the_interpreters() {
    let module = frames(0);
    let run = |i: &mut Instance, n: i64, at: i64, way: i64| {
        let f = i.function::<(i64, i64, i64), i64>("frames").expect("the function");
        i.set_fuel(Some(1_000_000));
        let result = i.call(&f, (n, at, way)).map_err(|e| format!("{e}\n{}", e.backtrace()));
        (result, i.fuel())
    };
    for (stress, inline) in [(false, 80), (false, 0), (true, 80)] {
        let make = |mut config: Config| {
            config.gc_stress = stress;
            config.tiers.inline_callee = inline;
            // Code that fails stays, so that it fails again in the next run.
            config.tiers.failures = u32::MAX;
            instance(&module, config)
        };
        let mut interpreter = config();
        interpreter.tier = Tier::Interpreter;
        let mut interpreter = make(interpreter);
        for (kind, config) in forced(Tier::Auto).into_iter().enumerate() {
            let mut i = make(config);
            for _ in 0..10 {
                assert_eq!(run(&mut i, 30, -1, 0), run(&mut interpreter, 30, -1, 0), "{kind} {inline}");
            }
            let before = i.tier_counters();
            assert!(before.optimized > 0, "{kind} {inline} {before:?}");
            for way in 1..=3 {
                // The run ends with the turn of the exit, some turns later, or much later.
                for (n, at) in [(1, 0), (2, 1), (20, 19), (20, 10), (20, 0), (60, 59), (60, 30)] {
                    let (got, want) = (run(&mut i, n, at, way), run(&mut interpreter, n, at, way));
                    assert_eq!(got, want, "{kind} {inline} {stress}: {n} {at} {way}");
                    assert_eq!(want.0.is_err(), way == 3);
                }
            }
            let after = i.tier_counters();
            // A loop alone, without what it calls, neither guesses nor traps.
            if kind != 2 || inline > 0 {
                assert!(after.deopts > before.deopts, "{kind} {inline} {after:?}");
                assert!(after.left > before.left, "{kind} {inline} {after:?}");
            }
        }
    }
}

#[test]
fn code_is_retired_once_however_many_frames_it_has() {
    // again(n, float) adds 1 to again(n - 1, float), each level in a run of its own, below which optimized frames wait. The
    // innermost gives an int or a float, so on the way back the guess of each level fails.
    let mut m = ModuleBuilder::new("again");
    let sig = m.signature(&[Int, Int], Some(Cell(ANY)));
    let deeper = m.host("deeper", sig);
    function(&mut m, "again", &[Int, Int], Some(Cell(ANY)), |_, f| {
        let (n, float) = (f.param(0), f.param(1));
        let (r, one, raw, x, site) = (f.cell(ANY), f.cell(ANY), f.int(), f.float(), f.feedback());
        let (further, ints) = (f.label(), f.label());
        f.int_gt_imm_branch(n, 0, further);
        f.box_int(r, n);
        f.int_eq_imm_branch(float, 0, ints);
        f.load_float(x, 0.5);
        f.box_float(r, x);
        f.bind(ints);
        f.return_cell(r);
        f.bind(further);
        let w = FunctionBuilder::arguments(&[Int, Int], false);
        f.int_add_imm(w[0], n, -1);
        f.int_move(w[1], float);
        f.call_host_cell(r, deeper);
        f.load_int(raw, 1);
        f.box_int(one, raw);
        f.cell_add(r, r, one, NumberPolicy::WRAP64.with(NumberPolicy::PROMOTE), site);
        f.return_cell(r);
    });
    function(&mut m, "top", &[Int, Int], Some(Float), |m, f| {
        let (n, float, r, x) = (f.param(0), f.param(1), f.cell(ANY), f.float());
        let again = m.module.functions.iter().position(|f| f.name == "again").expect("again");
        let w = FunctionBuilder::arguments(&[Int, Int], false);
        f.int_move(w[0], n);
        f.int_move(w[1], float);
        f.call_cell(r, FuncId(again as u32));
        f.unbox_number(x, r);
        f.return_float(x);
    });
    let mut config = hot();
    config.tiers.optimize_loops = false;
    config.tiers.inline_callee = 0;
    config.tiers.failures = 2;
    config.hosts.dynamic("deeper", |ctx, args| {
        let mut given = Vec::new();
        for k in 0..2 {
            let value = args.val(ctx, k)?;
            given.push(ctx.root(value));
        }
        ctx.call_named("again", &given).map(Ret::Root)
    });
    let mut i = instance(&m.finish(), config);
    let top = i.function::<(i64, i64), f64>("top").expect("the function");
    for _ in 0..100 {
        assert_eq!(i.call(&top, (20, 0)).expect("no trap"), 20.0);
    }
    assert_eq!(optimized(&i, "again", false), 1, "{:?}", i.tier_counters());
    assert_eq!(i.call(&top, (20, 1)).expect("no trap"), 20.5);
    let c = i.tier_counters();
    assert_eq!((c.deopts, c.retired), (20, 1), "{c:?}");
    for _ in 0..100 {
        assert_eq!(i.call(&top, (20, 1)).expect("no trap"), 20.5);
    }
    assert_eq!((optimized(&i, "again", false), i.tier_counters().retired), (2, 1));
}

/// A module of `filetests/run`.
fn from_file(name: &str) -> Module {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/run").join(name);
    let text = std::fs::read_to_string(path).expect("the file");
    upshift::bytecode::text::parse(&text).expect("a module")
}

#[test]
fn tail_calls_become_loops() {
    let module = from_file("tail-calls.txt");
    let run = |config: Config, name: &str, n: i64, fuel: u64| {
        let mut i = instance(&module, config);
        let f = i.function::<(i64, i64), i64>(name).expect("the function");
        for _ in 0..100 {
            i.call(&f, (20, 0)).expect("no trap");
        }
        let before = i.tier_counters();
        i.set_fuel(Some(fuel));
        let result = i.call(&f, (n, 0)).map_err(|e| format!("{e}\n{}", e.backtrace()));
        (result, i.fuel(), before, i.tier_counters())
    };
    for name in ["count", "ping", "doubled"] {
        for (n, fuel) in [(20, 1_000), (100_000, 1_000_000), (100_000, 30_000), (100_000, 99_999), (1, 0)] {
            let mut interpreter = config();
            interpreter.tier = Tier::Interpreter;
            let want = run(interpreter, name, n, fuel);
            let [all, functions, _] = forced(Tier::Optimized);
            // Not built in, partners jump to each other.
            let mut apart = hot();
            apart.tiers.inline_callee = 0;
            let apart = (name == "ping").then_some(apart);
            for config in [all, functions, hot()].into_iter().chain(apart) {
                let (result, left, before, after) = run(config, name, n, fuel);
                assert_eq!((&result, left), (&want.0, want.1), "{name} {n} {fuel}");
                assert!(before.optimized > 0, "{name} {before:?}");
                // Neither the turns nor what they call leave the code.
                assert!(after.left - before.left <= 1 && after.entered - before.entered <= 2, "{after:?}");
            }
        }
    }
}

#[test]
fn jumps_of_tail_calls_take_no_native_stack_and_return_to_their_caller() {
    let mut config = hot();
    config.tiers.inline_callee = 0;
    let module = from_file("tail-calls.txt");
    let engine = Engine::new(config);
    let module = engine.load(&module).expect("it loads");
    let limits = Limits::default().stack(64 << 10);
    let mut i = engine.instantiate(&module, Grants::none(), limits).expect("an instance");
    let both = i.function::<(i64,), i64>("both").expect("the function");
    for _ in 0..100 {
        assert_eq!(i.call(&both, (10,)).expect("no trap"), 1055);
    }
    for name in ["both", "ping", "pong"] {
        assert!(optimized(&i, name, false) > 0, "{name} {:?}", i.tier_counters());
    }
    let before = i.tier_counters();
    assert_eq!(i.call(&both, (3_000_000,)).expect("no trap"), 4_500_001_501_000);
    let after = i.tier_counters();
    assert!(after.left - before.left <= 1 && after.entered - before.entered <= 2, "{before:?} {after:?}");
    // Where the other has no optimized code, the driver goes on with it, and each unit is charged once.
    let mut config = hot();
    config.tiers.inline_callee = 0;
    (config.tiers.baseline_heat, config.tiers.optimize_heat) = (u32::MAX, u32::MAX);
    let mut i = instance(&from_file("tail-calls.txt"), config);
    assert!(force(&mut i, "ping", Force::Optimized));
    assert_eq!((optimized(&i, "ping", false), optimized(&i, "pong", false)), (1, 0));
    let fuel_after = |i: &mut Instance| {
        let [ping, pong] =
            ["ping", "pong"].map(|name| i.function::<(i64, i64), i64>(name).expect("the function"));
        i.set_fuel(Some(1_000));
        assert_eq!(i.call(&pong, (100, 0)).expect("no trap"), -5_050);
        let between = i.fuel();
        assert_eq!(i.call(&ping, (101, 0)).expect("no trap"), -5_151);
        (between, i.fuel())
    };
    let mut interpreter = hot();
    interpreter.tier = Tier::Interpreter;
    let mut interpreted = instance(&from_file("tail-calls.txt"), interpreter);
    assert_eq!(fuel_after(&mut i), fuel_after(&mut interpreted));
}

#[test]
fn a_tail_call_in_slower_code_is_counted() {
    let mut config = hot();
    config.tiers.inline_callee = 0;
    let mut i = instance(&from_file("tail-calls.txt"), config);
    let f = i.function::<(i64, i64), i64>("ping").expect("the function");
    assert_eq!(i.call(&f, (10_000, 0)).expect("no trap"), 50_005_000);
    assert!(optimized(&i, "ping", false) > 0 && optimized(&i, "pong", false) > 0, "{:?}", i.tier_counters());
}

// ---- When optimizing is expected to pay ----

/// As programs run, but that the optimizer is waited for.
fn patient() -> Config {
    let mut config = Config::default();
    config.tiers.sync = true;
    config
}

/// `nest(n, k)`: n turns around k turns of additions; `nests(m, n, k)`: m calls of it.
fn nests() -> Module {
    let mut m = ModuleBuilder::new("nests");
    let nest = function(&mut m, "nest", &[Int, Int], Some(Int), |_, f| {
        let (n, k, i, j, total) = (f.param(0), f.param(1), f.int(), f.int(), f.int());
        f.load_int(i, 0);
        f.load_int(total, 0);
        let (outer, inner) = (f.label(), f.label());
        f.begin_loop(outer);
        f.load_int(j, 0);
        f.begin_loop(inner);
        f.int_add_checked(total, total, j);
        f.int_for_loop(j, k, inner);
        f.int_for_loop(i, n, outer);
        f.return_int(total);
    });
    function(&mut m, "nests", &[Int, Int, Int], Some(Int), |_, f| {
        let (m, n, k, i, total, term) = (f.param(0), f.param(1), f.param(2), f.int(), f.int(), f.int());
        f.load_int(i, 0);
        f.load_int(total, 0);
        let top = f.label();
        f.begin_loop(top);
        f.int_move(Reg::window(0), n);
        f.int_move(Reg::window(1), k);
        f.call_int(term, nest);
        f.int_add_checked(total, total, term);
        f.int_for_loop(i, m, top);
        f.return_int(total);
    });
    m.finish()
}

#[test]
fn what_could_not_have_saved_its_cost_yet_is_not_optimized() {
    let mut i = instance(&sums(), patient());
    let sum = i.function::<(i64,), i64>("sum").expect("the function");
    assert_eq!(i.call(&sum, (50_000,)).expect("no trap"), 2_499_950_000);
    assert_eq!((counted(&i, &What::Hot), i.tier_counters().optimized), (0, 0));
    // But what goes on is, after not much longer.
    let n = 10_000_000;
    assert_eq!(i.call(&sum, (n,)).expect("no trap"), n * (n - 1));
    let first = i.tier_events().find(|e| e.what == What::Hot).expect("an event").clone();
    assert!((100_000..2_000_000).contains(&first.heat), "{first:?}");
    assert!(i.tier_counters().optimized >= 1);
}

#[test]
fn the_loop_around_is_optimized_at_once_where_both_turn() {
    let mut i = instance(&nests(), patient());
    let nest = i.function::<(i64, i64), i64>("nest").expect("the function");
    assert_eq!(i.call(&nest, (2_000_000, 5)).expect("no trap"), 20_000_000);
    let c = i.tier_counters();
    assert_eq!((c.optimized, optimized(&i, "nest", true), c.osr_entries), (1, 1, 1), "{c:?}");
}

#[test]
fn a_loop_around_long_ones_is_entered_when_it_turns_next() {
    let mut i = instance(&nests(), patient());
    let nest = i.function::<(i64, i64), i64>("nest").expect("the function");
    assert_eq!(i.call(&nest, (4_000, 1_000)).expect("no trap"), 4_000 * 499_500);
    let c = i.tier_counters();
    assert_eq!((c.optimized, optimized(&i, "nest", true), c.osr_entries), (1, 1, 1), "{c:?}");
}

#[test]
fn a_loop_that_others_keep_from_turning_is_not_waited_for() {
    // Where the loop around turns while units are looked at one by one, it is optimized first, and then turns too late to be entered.
    for m in (4_500..20_000).step_by(500) {
        let mut i = instance(&nests(), patient());
        let nest = i.function::<(i64, i64), i64>("nest").expect("the function");
        let n = 12_000_000 / m;
        assert_eq!(i.call(&nest, (n, m)).expect("no trap"), n * (m * (m - 1) / 2), "{m}");
        let c = i.tier_counters();
        assert!(c.osr_entries > 0, "{m} {c:?}");
    }
}

#[test]
fn a_loop_that_goes_on_is_optimized_alone() {
    let mut i = instance(&nests(), patient());
    let nest = i.function::<(i64, i64), i64>("nest").expect("the function");
    let n = 10_000_000;
    assert_eq!(i.call(&nest, (1, n)).expect("no trap"), n * (n - 1) / 2);
    let c = i.tier_counters();
    assert_eq!((c.optimized, optimized(&i, "nest", true), c.osr_entries), (1, 1, 1), "{c:?}");
}

#[test]
fn what_is_called_again_and_again_is_optimized_as_a_whole() {
    let mut i = instance(&nests(), patient());
    let nests = i.function::<(i64, i64, i64), i64>("nests").expect("the function");
    assert_eq!(i.call(&nests, (400_000, 3, 5)).expect("no trap"), 12_000_000);
    assert_eq!((optimized(&i, "nest", false), optimized(&i, "nest", true)), (1, 0));
}

/// `rows(a, b, c, k)`: a turns around b turns of c turns around k turns of additions.
fn rows() -> Module {
    let mut m = ModuleBuilder::new("rows");
    function(&mut m, "rows", &[Int, Int, Int, Int], Some(Int), |_, f| {
        let total = f.int();
        f.load_int(total, 0);
        let counters: Vec<Reg> = (0..4).map(|_| f.int()).collect();
        let tops: Vec<_> = (0..4).map(|_| f.label()).collect();
        for (&counter, &top) in counters.iter().zip(&tops) {
            f.load_int(counter, 0);
            f.begin_loop(top);
        }
        f.int_add_checked(total, total, counters[3]);
        for i in (0..4).rev() {
            let most = f.param(i);
            f.int_for_loop(counters[i], most, tops[i]);
        }
        f.return_int(total);
    });
    m.finish()
}

#[test]
fn of_loops_in_each_other_those_that_turn_are_optimized() {
    // The two inner ones turn again and again, the ones around them seldom.
    let mut i = instance(&rows(), patient());
    let rows = i.function::<(i64, i64, i64, i64), i64>("rows").expect("the function");
    assert_eq!(i.call(&rows, (3, 3, 1_000_000, 5)).expect("no trap"), 90_000_000);
    let (c, outline) = (i.tier_counters(), optimized(&i, "rows", true));
    assert_eq!((c.optimized, outline), (1, 1), "{c:?}");
    // It is entered once for each time that it is come to, and again where the tier changed.
    assert!((9..=11).contains(&c.osr_entries), "{c:?}");
}

#[test]
fn a_call_that_is_the_only_one_is_not_optimized_as_a_whole() {
    let run = |calls: usize| {
        let mut i = instance(&rows(), patient());
        let rows = i.function::<(i64, i64, i64, i64), i64>("rows").expect("the function");
        for _ in 0..calls {
            assert_eq!(
                i.call(&rows, (2_000_000 / calls as i64, 2, 2, 2)).expect("no trap"),
                8_000_000 / calls as i64
            );
        }
        optimized(&i, "rows", false)
    };
    assert_eq!(run(1), 0);
    assert_eq!(run(100_000), 1);
}

#[test]
fn one_thing_is_optimized_at_a_time() {
    let mut i = instance(&nests(), Config::default());
    let nests = i.function::<(i64, i64, i64), i64>("nests").expect("the function");
    let mut rounds = 0;
    while i.tier_counters().optimized < 2 {
        assert_eq!(i.call(&nests, (10_000, 20, 5)).expect("no trap"), 2_000_000);
        assert!(rounds < 100_000, "{:?}", i.tier_counters());
        rounds += 1;
    }
    let mut under_way = 0;
    for event in i.tier_events() {
        match event.what {
            What::Hot => under_way += 1,
            What::Optimized { .. } | What::Refused { .. } => under_way -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&under_way), "{event:?}");
    }
}

#[test]
fn heat_is_what_was_charged_where_tiers_alternate() {
    let mut m = ModuleBuilder::new("alternate");
    // It does not fit the code memory, so each call is a change of tiers there and back.
    let large = function(&mut m, "large", &[Int], Some(Int), |_, f| {
        let (x, r) = (f.param(0), f.int());
        f.int_move(r, x);
        for _ in 0..3_000 {
            f.int_add_imm(r, r, 1);
        }
        f.return_int(r);
    });
    common::sum(&mut m, "sum", large);
    let mut config = config();
    config.tiers.sync = true;
    config.tiers.code_cache = 8 << 10;
    config.tiers.optimize_heat = 100_000;
    let mut i = instance(&m.finish(), config);
    i.set_fuel(Some(20_000));
    let sum = i.function::<(i64,), i64>("sum").expect("the function");
    let error = i.call(&sum, (1_000_000,)).expect_err("no fuel is left");
    assert_eq!(error.code(), TrapCode::OutOfFuel);
    assert!(compiled(&i).contains(&"sum".to_string()));
    assert!(i.tier_counters().entered > 1_000, "{:?}", i.tier_counters());
    assert_eq!(counted(&i, &What::Hot), 0);
}

/// `pick(n, k)`: the sum of `n` turns in `turns` that call a closure, which adds `k`, below [`PICKED`].
fn picks() -> Module {
    let mut m = ModuleBuilder::new("picks");
    let one = m.signature(&[Int], Some(Int));
    let closure = m.module.types.cell(HeapType::Closure(one));
    let adds: Vec<FuncId> = (0..PICKED)
        .map(|k| {
            let id = m.declare(&format!("add{k}"), one, Some(Vec::new()));
            let mut f = m.define(id);
            let (x, r) = (f.param(0), f.int());
            f.int_add_imm(r, x, k as i16);
            f.return_int(r);
            f.finish(&mut m);
            id
        })
        .collect();
    let turns = function(&mut m, "turns", &[Int, Cell(closure)], Some(Int), |_, f| {
        let (n, c, i, v, total) = (f.param(0), f.param(1), f.int(), f.int(), f.int());
        f.load_int(i, 0);
        f.load_int(total, 0);
        let top = f.label();
        f.begin_loop(top);
        f.int_move(Reg::window(0), i);
        f.call_closure_int(v, c);
        f.int_add(total, total, v);
        f.int_for_loop(i, n, top);
        f.return_int(total);
    });
    // Calls `turns(1000, ..)` with each closure in turn.
    function(&mut m, "around", &[Int], Some(Int), |_, f| {
        let (n, i, c, r, total) = (f.param(0), f.int(), f.cell(closure), f.int(), f.int());
        f.load_int(i, 0);
        f.load_int(total, 0);
        let top = f.label();
        f.begin_loop(top);
        for &add in &adds {
            f.closure_new(c, add);
            f.load_int(Reg::window(0), 1_000);
            f.cell_move(Reg::window(3), c);
            f.call_int(r, turns);
            f.int_add(total, total, r);
        }
        f.int_for_loop(i, n, top);
        f.return_int(total);
    });
    function(&mut m, "pick", &[Int, Int], Some(Int), |_, f| {
        let (n, k, c, r) = (f.param(0), f.param(1), f.cell(closure), f.int());
        let call = f.label();
        for (i, &add) in adds.iter().enumerate() {
            let next = f.label();
            f.int_ne_imm_branch(k, i as i16, next);
            f.closure_new(c, add);
            f.jump(call);
            f.bind(next);
        }
        f.closure_new(c, adds[0]);
        f.bind(call);
        f.int_move(Reg::window(0), n);
        // Behind the int and the header.
        f.cell_move(Reg::window(3), c);
        f.call_int(r, turns);
        f.return_int(r);
    });
    m.finish()
}

/// Closures of `pick`.
const PICKED: i64 = 6;

#[test]
fn a_callee_that_changes_is_not_guessed_again() {
    for loops in [false, true] {
        let mut config = hot();
        config.tiers.optimize_loops = loops;
        config.tiers.optimize_functions = !loops;
        config.tiers.failures = 2;
        // The closures are inlined, and their callers are not.
        config.tiers.inline_callee = 3;
        let mut i = instance(&picks(), config);
        let pick = i.function::<(i64, i64), i64>("pick").expect("the function");
        let run = |i: &mut Instance, k| {
            assert_eq!(i.call(&pick, (100, k)).expect("no trap"), 4950 + 100 * k, "{k}");
        };
        for _ in 0..20 {
            run(&mut i, 0);
        }
        assert_eq!((optimized(&i, "turns", loops), i.tier_counters().deopts), (1, 0), "{loops}");
        // The check stands before the loop, and leaves there.
        for _ in 0..20 {
            run(&mut i, 1);
        }
        let c = i.tier_counters();
        assert_eq!((c.deopts, c.retired, optimized(&i, "turns", loops)), (2, 1, 2), "{loops} {c:?}");
        // The second code has both built in, and calls others.
        for round in 0..100 {
            run(&mut i, round % PICKED);
        }
        let c = i.tier_counters();
        assert_eq!((c.deopts, c.retired, optimized(&i, "turns", loops)), (2, 1, 2), "{loops} {c:?}");
    }
}

#[test]
fn loops_do_not_fall_into_step_with_operators_that_the_host_answers() {
    // Each of them charges a unit, so a turn takes one more than it has operators.
    const TURNS: i64 = 300_000;
    for operators in 1..8 {
        let mut m = ModuleBuilder::new("step");
        let two = m.signature(&[Cell(ANY), Cell(ANY)], Some(Cell(ANY)));
        let first = m.host("first", two);
        m.module.protocol.set(Protocol::Sub, Callee::Host(first));
        function(&mut m, "turns", &[Int], Some(Int), |_, f| {
            let (n, i, c) = (f.param(0), f.int(), f.cell(ANY));
            f.load_int(i, 0);
            f.box_bool(c, i);
            let top = f.label();
            f.begin_loop(top);
            for _ in 0..operators {
                let site = f.feedback();
                f.cell_sub(c, c, c, NumberPolicy::default(), site);
            }
            f.int_add_imm(i, i, 1);
            f.int_lt_loop(i, n, top);
            f.return_int(i);
        });
        let mut config = Config::default();
        config.tiers.sync = true;
        config.hosts.function("first", |_: &mut HostContext<'_>, a: bool, _: bool| Ok(a));
        let mut i = instance(&m.finish(), config);
        let turns = i.function::<(i64,), i64>("turns").expect("the function");
        assert_eq!(i.call(&turns, (TURNS,)).expect("no trap"), TURNS);
        assert!(i.tier_counters().osr_entries > 0, "{operators} operators: {:?}", i.tier_counters());
    }
}
