//! The driver of the tiers: what moves up and when, and what comes back. Asserted on counters and events, never on time.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::function;
use upshift::bytecode::ValueType::Int;
use upshift::bytecode::builder::{ModuleBuilder, Reg};
use upshift::bytecode::{Module, TrapCode};
use upshift::{Config, Engine, Grants, HostContext, Instance, Limits, Tier, What};

/// `double(x) = x + x`, and `sum(n)`, which adds the doubles of 0..n in a loop.
fn sums() -> Module {
    let mut m = ModuleBuilder::new("sums");
    let double = function(&mut m, "double", &[Int], Some(Int), |_, f| {
        let (x, r) = (f.param(0), f.int());
        f.int_add_checked(r, x, x);
        f.return_int(r);
    });
    function(&mut m, "sum", &[Int], Some(Int), |_, f| {
        let (n, i, total, term) = (f.param(0), f.int(), f.int(), f.int());
        f.load_int(i, 0);
        f.load_int(total, 0);
        let top = f.label();
        f.begin_loop(top);
        f.int_move(Reg::window(0), i);
        f.call_int(term, double);
        f.int_add_checked(total, total, term);
        f.int_add_imm(i, i, 1);
        f.int_lt_loop(i, n, top);
        f.return_int(total);
    });
    m.finish()
}

fn config() -> Config {
    let mut config = Config::default();
    config.tiers.eager = true;
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
    for _ in 0..2 {
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
        for (tier, quantum) in [(Tier::Baseline, 32), (Tier::Auto, 1), (Tier::Auto, 7), (Tier::Auto, 32)] {
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
    // Room for both, for one, and for none.
    for room in [64 << 20, 700, 100] {
        let mut config = config();
        config.tiers.code_cache = room;
        let mut i = instance(&module, config);
        let even = i.function::<(i64,), i64>("even").expect("the function");
        for _ in 0..2 {
            assert_eq!(i.call(&even, (1_000_000,)).expect("no trap"), 1_000_000, "{room}");
        }
        let made = i.tier_counters().compiled;
        assert!(if room == 100 { made == 0 } else { made > 0 }, "{room}: {made}");
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
    for tier in [Tier::Baseline, Tier::Auto] {
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

/// Kilobytes of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) * 4
}

#[test]
fn modules_that_come_and_go_leave_nothing() {
    let rounds = std::env::var("UPSHIFT_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(3_000);
    let mut config = config();
    config.tier = Tier::Baseline;
    let engine = Engine::new(config);
    let (mut after_warm_up, mut bytes) = (0, 0);
    for round in 0..rounds {
        let module = engine.load(&sums()).expect("it loads");
        let limits = Limits::default().stack(64 << 10);
        let mut i = engine.instantiate(&module, Grants::none(), limits).expect("an instance");
        let sum = i.function::<(i64,), i64>("sum").expect("the function");
        assert_eq!(i.call(&sum, (10,)).expect("no trap"), 90);
        assert_eq!(i.tier_counters().compiled, 2, "round {round}");
        bytes += i.tier_counters().bytes;
        if round == rounds / 3 {
            after_warm_up = resident();
        }
    }
    let grown = resident().saturating_sub(after_warm_up);
    assert!(grown < 2_000, "{grown} KB more after {rounds} rounds with {bytes} bytes of code");
}
