//! Loops of functions that are too large to be compiled as a whole: what is compiled of them, from where they are entered, and that
//! frames of which the loop names a small part are the interpreter's afterwards. Asserted on counters and events, never on time.

mod common;

use common::frames::frames;
use common::function;
use upshift::bytecode::Module;
use upshift::bytecode::ValueType::Int;
use upshift::bytecode::builder::{ModuleBuilder, Reg};
use upshift::{Config, Engine, Grants, Instance, Limits, Tier, What};
use upshift_optimizer::build::LIMIT;

/// Variables that make a function larger than the optimizer takes, and its frame, too.
const MANY: usize = 8_200;

/// Everything soon, and the optimizer is waited for.
fn hot() -> Config {
    let mut config = Config::default();
    config.tiers.eager = true;
    config.tiers.baseline_heat = 2;
    config.tiers.sync = true;
    config.tiers.optimize_heat = 50;
    config.tiers.sample = 7;
    config
}

/// Likewise, with no room for the baseline code of a large function: what is hot in it is entered from the interpreter.
fn without_room() -> Config {
    let mut config = hot();
    config.tiers.code_cache = 192 << 10;
    config
}

fn instance(module: &Module, config: Config) -> Instance {
    let engine = Engine::new(config);
    let module = engine.load(module).expect("it loads");
    engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance")
}

fn interpreter(stress: bool) -> Config {
    let mut config = Config::default();
    config.tier = Tier::Interpreter;
    config.gc_stress = stress;
    config
}

/// How many loops of a function were optimized, and whether there is baseline code of it. As a whole it was not optimized.
fn made(i: &Instance, name: &str) -> (usize, bool) {
    let events: Vec<&What> = i.tier_events().filter(|e| &*e.function == name).map(|e| &e.what).collect();
    let loops = events.iter().filter(|w| matches!(w, What::Optimized { osr: true, .. })).count();
    assert!(!events.iter().any(|w| matches!(w, What::Optimized { osr: false, .. })), "{name} as a whole");
    (loops, events.iter().any(|w| matches!(w, What::Compiled { .. })))
}

#[test]
fn frames_after_an_exit_of_a_small_part_are_the_interpreters() {
    let module = frames(MANY);
    let run = |i: &mut Instance, n: i64, at: i64, way: i64| {
        let f = i.function::<(i64, i64, i64), i64>("frames").expect("the function");
        i.set_fuel(Some(1_000_000));
        let result = i.call(&f, (n, at, way)).map_err(|e| format!("{e}\n{}", e.backtrace()));
        (result, i.fuel())
    };
    for (stress, deopt) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut interpreter = instance(&module, interpreter(stress));
        for (room, mut config) in [(true, hot()), (false, without_room())] {
            config.gc_stress = stress;
            config.tiers.deopt_stress = deopt;
            config.tiers.failures = u32::MAX;
            // What is called is compiled within the loop.
            config.tiers.optimize_functions = false;
            let mut i = instance(&module, config);
            for _ in 0..10 {
                assert_eq!(
                    run(&mut i, 30, -1, 0),
                    run(&mut interpreter, 30, -1, 0),
                    "{room} {stress} {deopt}"
                );
            }
            let before = i.tier_counters();
            // Where guards leave although they hold, none comes to its end.
            assert!(before.osr_entries > 0 && (deopt || before.left > 0), "{room} {before:?}");
            for way in 1..=3 {
                for (n, at) in [(1, 0), (20, 19), (60, 30)] {
                    let (got, want) = (run(&mut i, n, at, way), run(&mut interpreter, n, at, way));
                    assert_eq!(got, want, "{room} {stress} {deopt}: {n} {at} {way}");
                    assert_eq!(want.0.is_err(), way == 3);
                }
            }
            let after = i.tier_counters();
            assert!(after.deopts > before.deopts && (deopt || after.left > before.left), "{room} {after:?}");
            let (loops, baseline) = made(&i, "frames");
            assert!(loops > 0 && baseline == room, "{room} {loops} {baseline}");
        }
    }
}

/// `large(n)`: a loop of n turns that call `spin`, in a function that is too large for baseline code where there is little room.
fn calls() -> Module {
    let mut m = ModuleBuilder::new("calls");
    // Its turns charge more than what the interpreter gets at once.
    let spin = function(&mut m, "spin", &[Int], Some(Int), |_, f| {
        let (x, i, n, top) = (f.param(0), f.int(), f.int(), f.label());
        f.load_int(i, 0);
        f.load_int(n, 40);
        f.begin_loop(top);
        f.int_xor(x, x, i);
        f.int_for_loop(i, n, top);
        f.return_int(x);
    });
    function(&mut m, "large", &[Int], Some(Int), |_, f| {
        let (n, i, sum, r, top) = (f.param(0), f.int(), f.int(), f.int(), f.label());
        f.load_int(sum, 0);
        for _ in 0..LIMIT {
            f.int_add_imm_checked(sum, sum, 1);
        }
        f.load_int(i, 0);
        f.begin_loop(top);
        f.int_move(Reg::window(0), i);
        f.call_int(r, spin);
        f.int_add_checked(sum, sum, r);
        f.int_for_loop(i, n, top);
        f.return_int(sum);
    });
    m.finish()
}

#[test]
fn a_loop_whose_calls_use_the_budget_up_is_entered_from_the_interpreter() {
    let module = calls();
    let run = |config: Config| {
        let mut i = instance(&module, config);
        let f = i.function::<(i64,), i64>("large").expect("the function");
        (i.call(&f, (20_000,)).expect("no trap"), i)
    };
    let (want, _) = run(interpreter(false));
    let mut config = without_room();
    config.tiers.inline_callee = 0;
    // What is left of it after a call is more than the interpreter gets, and the end of the callee's own loop is long ago.
    config.tiers.sample = 9_973;
    config.tiers.optimize_heat = 300;
    let (got, i) = run(config);
    assert_eq!(got, want);
    let c = i.tier_counters();
    assert_eq!(made(&i, "large"), (1, false), "{c:?}");
    assert!(c.entered < 2_000, "most turns are in the loop's code: {c:?}");
}
