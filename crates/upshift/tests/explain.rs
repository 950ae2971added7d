//! Reports on runs, from modules built by hand: what they say of tiers, calls, checks and exits, and that they are whole.

mod common;

use common::{function, sums};
use upshift::bytecode::ValueType::{Float, Int};
use upshift::bytecode::builder::{ModuleBuilder, Reg};
use upshift::bytecode::{HeapType, Module, TrapCode};
use upshift::explain::{Code, FunctionReport, Level, Outcome, Remark, Report};
use upshift::{Config, Engine, Grants, Instance, Limits, Tier};

/// Everything is compiled early, and waited for.
fn config() -> Config {
    let mut config = Config::default();
    config.tiers.eager = true;
    config.tiers.baseline_heat = 2;
    config.tiers.sync = true;
    config.tiers.optimize_heat = 100;
    config.tiers.sample = 31;
    config
}

fn instance(module: &Module, config: Config) -> Instance {
    let engine = Engine::new(config);
    let module = engine.load(module).expect("it loads");
    let mut instance = engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance");
    assert!(instance.start_explaining(1000));
    instance
}

#[track_caller]
fn report(instance: &mut Instance) -> Report {
    let report = instance.stop_explaining().expect("it was begun");
    assert!(instance.stop_explaining().is_none());
    let samples: u64 = report.time.iter().map(|r| r.samples).sum();
    assert_eq!(samples, report.profile.samples());
    let shares: f64 = report.time.iter().map(|r| r.share).sum();
    assert!(report.time.is_empty() || (shares - 1.0).abs() < 1e-9, "{shares}");
    report
}

#[track_caller]
fn of<'a>(report: &'a Report, name: &str) -> &'a FunctionReport {
    report.functions.iter().find(|f| &*f.name == name).expect("it ran")
}

fn found(remarks: &[Remark], code: Code) -> Option<&Remark> {
    remarks.iter().find(|r| r.code == code)
}

#[test]
fn a_hot_loop_and_what_is_inlined_into_it() {
    let mut i = instance(&sums(), config());
    let sum = i.function::<(i64,), i64>("sum").expect("the function");
    for _ in 0..3 {
        assert_eq!(i.call(&sum, (100_000,)).expect("no trap"), 9_999_900_000);
    }
    let report = report(&mut i);
    let sum = of(&report, "sum");
    assert_eq!((sum.loops.len(), sum.loops[0].level), (1, Level::Optimized));
    assert!(sum.loops[0].since.is_some());
    assert_eq!(found(&sum.loops[0].remarks, Code::Inlined).map(|r| &*r.detail), Some("double"));
    // The sum follows from the number of turns: the copy of the loop that runs has no check.
    let removed = found(&sum.loops[0].remarks, Code::ChecksRemoved).expect("checks are removed");
    assert_eq!((&*removed.detail, removed.count), ("overflow", 1));
    assert!(found(&sum.loops[0].remarks, Code::ChecksKept).is_none(), "{:?}", sum.loops[0].remarks);
    let c = sum.compilations.iter().find(|c| c.outcome.installed().is_some()).expect("code");
    assert!(
        matches!(c.outcome, Outcome::Installed { bytes, instructions, .. } if bytes > 0 && instructions > 0)
    );
    assert_eq!((c.calls, c.allocations), ((1, 1), (0, 0)));
    assert!(c.checks.1 < c.checks.0, "{c:?}");
    assert!(sum.baseline.iter().all(|b| b.bytes > 0 && b.time.is_some()));
    let double = of(&report, "double");
    assert!(double.inlined_into.iter().any(|i| &*i.function == "sum"), "{double:?}");
    assert!(sum.steps.windows(2).all(|s| s[0].at <= s[1].at));
}

/// `large(n)`: two loops of n turns, the second among so many instructions in a loop that nobody optimizes these.
fn large() -> Module {
    let mut m = ModuleBuilder::new("large");
    function(&mut m, "large", &[Int], Some(Int), |_, f| {
        let (n, i, j, sum) = (f.param(0), f.int(), f.int(), f.int());
        let tops = [f.label(), f.label(), f.label()];
        f.load_int(sum, 0);
        f.load_int(i, 0);
        f.begin_loop(tops[0]);
        f.int_xor(sum, sum, i);
        f.int_for_loop(i, n, tops[0]);
        f.load_int(i, 0);
        f.begin_loop(tops[1]);
        for _ in 0..upshift_optimizer::build::LIMIT {
            f.int_add_imm_checked(sum, sum, 1);
        }
        f.load_int(j, 0);
        f.begin_loop(tops[2]);
        f.int_xor(sum, sum, j);
        f.int_for_loop(j, n, tops[2]);
        f.int_add_imm_checked(i, i, 100);
        f.int_lt_loop(i, n, tops[1]);
        f.return_int(sum);
    });
    m.finish()
}

#[test]
fn of_what_is_too_large_the_loops_that_fit_are_optimized() {
    let module = large();
    // With baseline code of the function, and without.
    for (room, level) in [(64 << 20, Level::Baseline), (128 << 10, Level::Interpreter)] {
        let mut config = config();
        config.tiers.code_cache = room;
        let mut i = instance(&module, config);
        let f = i.function::<(i64,), i64>("large").expect("the function");
        for _ in 0..3 {
            i.call(&f, (1_000,)).expect("no trap");
        }
        let report = report(&mut i);
        let large = of(&report, "large");
        assert_eq!(large.level, level);
        let levels: Vec<Level> = large.loops.iter().map(|l| l.level).collect();
        assert_eq!(levels, [Level::Optimized, level, Level::Optimized], "{room}");
        assert!(found(&large.loops[1].remarks, Code::TooLarge).is_some(), "{:?}", large.loops[1].remarks);
        assert!(found(&large.loops[0].remarks, Code::TooLarge).is_none(), "{:?}", large.loops[0].remarks);
        let why = large.remarks.iter().map(|r| r.code);
        let why: Vec<Code> =
            why.filter(|c| matches!(c, Code::TooLarge | Code::LoopsAlone | Code::NoRoom)).collect();
        assert!(!why.is_empty(), "{room} {:?}", large.remarks);
    }
}

#[test]
fn exits_have_the_values_that_they_met() {
    let mut config = config();
    config.tier = Tier::Optimized;
    let mut i = instance(&sums(), config);
    let double = i.function::<(i64,), i64>("double").expect("the function");
    for n in 0..1_000 {
        assert_eq!(i.call(&double, (n,)).expect("no trap"), 2 * n);
    }
    let error = i.call(&double, (i64::MAX - 1,)).expect_err("it overflows");
    assert_eq!(error.code(), TrapCode::IntegerOverflow);
    let report = report(&mut i);
    let c = of(&report, "double").compilations.last().expect("it is hot");
    let exit = found(&c.remarks, Code::ExitOverflow).expect("it was left");
    assert_eq!(
        (exit.count, &exit.values[..]),
        (1, &["9223372036854775806".to_string(), exit.values[1].clone()][..])
    );
    assert_eq!(exit.values[0], exit.values[1]);
}

#[test]
fn nothing_hides_why_a_function_is_no_higher() {
    let run = |config: Config| {
        let mut i = instance(&sums(), config);
        let sum = i.function::<(i64,), i64>("sum").expect("the function");
        i.call(&sum, (10_000,)).expect("no trap");
        let report = report(&mut i);
        let sum = of(&report, "sum");
        (sum.level, sum.remarks.first().map(|r| r.code), sum.loops[0].level)
    };
    let with = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        run(config)
    };
    assert_eq!(
        with(|c| c.tier = Tier::Baseline),
        (Level::Baseline, Some(Code::BaselineOnly), Level::Baseline)
    );
    assert_eq!(
        with(|c| c.tiers.baseline_heat = u32::MAX),
        (Level::Interpreter, Some(Code::Cold), Level::Interpreter)
    );
    assert_eq!(
        with(|c| c.tiers.optimize_heat = 1_000_000),
        (Level::Baseline, Some(Code::Warm), Level::Baseline)
    );
    assert_eq!(
        with(|c| c.tiers.optimize_functions = false),
        (Level::Baseline, Some(Code::LoopsAlone), Level::Optimized)
    );
    assert_eq!(
        with(|c| c.tiers.code_cache = 64),
        (Level::Interpreter, Some(Code::NoRoom), Level::Interpreter)
    );
}

#[test]
fn assumptions_that_keep_failing_end_in_a_reason() {
    // Alternates between positions from the start and from the end: the guess that there are only the former fails.
    let mut m = ModuleBuilder::new("positions");
    let list = m.module.types.cell(HeapType::ListInt);
    let ints = m.signature(&[Int], Some(Int));
    let at = m.declare("at", ints, None);
    let mut f = m.define(at);
    let (i, r, xs) = (f.param(0), f.int(), f.cell(list));
    f.load_int(r, 7);
    f.list_int_new(xs, 1);
    f.list_int_push(xs, r);
    f.list_int_get_rel(r, xs, i);
    f.return_int(r);
    f.finish(&mut m);
    let mut config = config();
    config.tier = Tier::Optimized;
    config.tiers.failures = 2;
    config.tiers.retries = 0;
    let mut i = instance(&m.finish(), config);
    let at = i.function::<(i64,), i64>("at").expect("the function");
    for n in 0..500 {
        assert_eq!(i.call(&at, (if n > 300 { -1 } else { 0 },)).expect("no trap"), 7);
    }
    let report = report(&mut i);
    let at = of(&report, "at");
    let c = &at.compilations[0];
    let exit = found(&c.remarks, Code::ExitNegative).expect("it was left");
    assert_eq!((exit.count, &exit.values[..]), (2, &["list of 1".to_string(), "-1".to_string()][..]));
    assert!(c.retired.is_some());
    assert_eq!(found(&at.remarks, Code::GivenUp).map(|r| r.count), Some(1), "{:?}", at.remarks);
}

#[test]
fn calls_that_are_not_inlined_say_why() {
    let mut m = ModuleBuilder::new("large");
    let large = function(&mut m, "large", &[Float], Some(Float), |_, f| {
        let (x, r) = (f.param(0), f.float());
        f.float_move(r, x);
        for _ in 0..100 {
            f.float_add(r, r, x);
        }
        f.return_float(r);
    });
    function(&mut m, "calls", &[Float, Int], Some(Float), |_, f| {
        let (x, n, i, r) = (f.param(0), f.param(1), f.int(), f.float());
        f.load_int(i, 0);
        let top = f.label();
        f.begin_loop(top);
        f.float_move(Reg::window(0), x);
        f.call_float(r, large);
        f.int_add_imm(i, i, 1);
        f.int_lt_loop(i, n, top);
        f.return_float(r);
    });
    let mut i = instance(&m.finish(), config());
    let calls = i.function::<(f64, i64), f64>("calls").expect("the function");
    assert_eq!(i.call(&calls, (0.5, 10_000)).expect("no trap"), 50.5);
    let report = report(&mut i);
    let calls = of(&report, "calls");
    let remark = found(&calls.loops[0].remarks, Code::CalleeTooLarge).expect("it is too large");
    assert_eq!(remark.detail, "large");
    assert!(of(&report, "large").inlined_into.is_empty());
}

/// A function that calls itself twice and adds up, with so many moves and so many sums more.
fn recursive(m: &mut ModuleBuilder, name: &str, moves: usize, sums: usize) {
    function(m, name, &[Int], Some(Int), |_, f| {
        let (n, r, s) = (f.param(0), f.int(), f.int());
        let (this, end) = (f.id(), f.label());
        f.load_int(r, 1);
        f.int_lt_imm_branch(n, 1, end);
        f.int_add_imm(Reg::window(0), n, -1);
        f.call_int(r, this);
        f.int_add_imm(Reg::window(0), n, -2);
        f.call_int(s, this);
        f.int_add(r, r, s);
        for _ in 0..moves {
            f.int_move(s, r);
        }
        for _ in 0..sums {
            f.int_add(r, r, s);
        }
        f.bind(end);
        f.return_int(r);
    });
}

#[test]
fn moves_do_not_keep_a_function_from_being_inlined_into_itself() {
    let mut m = ModuleBuilder::new("recursive");
    recursive(&mut m, "moves", 30, 0);
    recursive(&mut m, "sums", 0, 30);
    let mut i = instance(&m.finish(), config());
    for name in ["moves", "sums"] {
        let f = i.function::<(i64,), i64>(name).expect("the function");
        assert!(i.call(&f, (20,)).expect("no trap") != 0);
    }
    let report = report(&mut i);
    let into_itself = |name: &str| of(&report, name).inlined_into.iter().any(|i| &*i.function == name);
    assert!(into_itself("moves") && !into_itself("sums"));
    let sums = of(&report, "sums");
    let remarks =
        |f: &FunctionReport| f.compilations.iter().any(|c| found(&c.remarks, Code::Recursive).is_some());
    assert!(remarks(sums), "{sums:?}");
}

#[test]
fn what_was_not_begun_gives_no_report() {
    let engine = Engine::new(config());
    let module = engine.load(&sums()).expect("it loads");
    let mut i = engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance");
    assert!(i.stop_explaining().is_none());
}
