//! Watches in optimized code: what is made for a watch before it is bumped looks at it no more than it has to, and is not entered
//! afterwards. Asserted on counters and events.

mod common;

use common::{function, guarded_plus};
use upshift::bytecode::ValueType::Int;
use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder, Reg};
use upshift::bytecode::{FuncId, Module};
use upshift::tiers::events::Cause;
use upshift::{Config, Engine, Grants, HostContext, Instance, Limits, Tier, Trap, What};

/// How many watches there are.
const WATCHES: i64 = 12;

/// `steps(n)` asks all watches in each turn of a loop without calls; `deep(n, at)` calls itself, has the watch 0 bumped where n is at,
/// and adds a level on the way back; `again(n, at)` does the same in a loop.
fn watching() -> Module {
    let mut m = ModuleBuilder::new("watching");
    let told = m.signature(&[Int], None);
    let bump = m.host("bump", told);
    let watches: Vec<_> = (0..WATCHES).map(|k| m.watch(&k.to_string())).collect();
    let plus = function(&mut m, "plus", &[Int, Int], Some(Int), |_, f| {
        let (a, b) = (f.param(0), f.param(1));
        f.int_mul(a, a, b);
        f.int_add_imm(a, a, 1);
        f.return_int(a);
    });
    function(&mut m, "steps", &[Int], Some(Int), |_, f| {
        let (n, i, sum) = (f.param(0), f.int(), f.int());
        f.load_int(i, 0);
        f.load_int(sum, 0);
        let top = f.label();
        f.begin_loop(top);
        f.int_add_imm(i, i, 1);
        for &watch in &watches {
            let (bumped, done) = (f.label(), f.label());
            f.watch_branch(watch, bumped);
            f.int_add(sum, sum, i);
            f.jump(done);
            f.bind(bumped);
            f.int_sub(sum, sum, i);
            f.bind(done);
        }
        f.int_lt_loop(i, n, top);
        f.return_int(sum);
    });
    let maybe_bump = |f: &mut FunctionBuilder, n: Reg, at: Reg| {
        let other = f.label();
        f.int_ne_branch(n, at, other);
        f.load_int(Reg::window(0), 0);
        f.call_host_void(bump);
        f.bind(other);
    };
    let sig = m.signature(&[Int, Int], Some(Int));
    let deep: FuncId = m.declare("deep", sig, None);
    let mut f = m.define(deep);
    let (n, at, one, r) = (f.param(0), f.param(1), f.int(), f.int());
    let further = f.label();
    f.int_gt_imm_branch(n, 0, further);
    f.return_int(n);
    f.bind(further);
    maybe_bump(&mut f, n, at);
    f.load_int(one, 3);
    guarded_plus(&mut f, watches[0], plus, r, n, one);
    let w = FunctionBuilder::arguments(&[Int, Int], false);
    f.int_add_imm(w[0], n, -1);
    f.int_move(w[1], at);
    f.call_int(one, deep);
    guarded_plus(&mut f, watches[0], plus, r, r, one);
    f.return_int(r);
    f.finish(&mut m);
    function(&mut m, "again", &[Int, Int], Some(Int), |_, f| {
        let (n, at, sum) = (f.param(0), f.param(1), f.int());
        f.load_int(sum, 0);
        let top = f.label();
        f.begin_loop(top);
        guarded_plus(f, watches[0], plus, sum, sum, n);
        maybe_bump(f, n, at);
        guarded_plus(f, watches[0], plus, sum, sum, n);
        f.int_add_imm(n, n, -1);
        f.int_gt_imm_loop(n, 0, top);
        f.return_int(sum);
    });
    m.finish()
}

fn engine(tier: Tier, set: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::default();
    config.tier = tier;
    config.tiers.eager = true;
    config.tiers.baseline_heat = 2;
    config.tiers.sync = true;
    config.tiers.optimize_heat = 50;
    config.tiers.sample = 7;
    config.tiers.verify = true;
    config.hosts.function("bump", |ctx: &mut HostContext<'_>, watch: i64| -> Result<(), Trap> {
        assert!(ctx.bump_watch(&watch.to_string()));
        Ok(())
    });
    set(&mut config);
    Engine::new(config)
}

fn instance(tier: Tier, set: impl FnOnce(&mut Config)) -> Instance {
    let engine = engine(tier, set);
    let module = engine.load(&watching()).expect("it loads");
    engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance")
}

fn bump(i: &mut Instance, watch: i64) {
    i.enter(|ctx| assert!(ctx.bump_watch(&watch.to_string())));
}

/// Events of a kind that a watch caused.
fn by_watches(i: &Instance, what: impl Fn(&What) -> bool) -> usize {
    i.tier_events().filter(|e| e.cause == Cause::Watch && what(&e.what)).count()
}

#[test]
fn code_for_a_watch_goes_with_it() {
    for loops in [false, true] {
        let mut i = instance(Tier::Auto, |config| {
            config.tiers.optimize_loops = loops;
            config.tiers.optimize_functions = !loops;
        });
        let steps = i.function::<(i64,), i64>("steps").expect("the function");
        let run = |i: &mut Instance, bumped: i64| {
            for _ in 0..20 {
                assert_eq!(i.call(&steps, (100,)).expect("no trap"), (WATCHES - 2 * bumped) * 5050);
            }
        };
        run(&mut i, 0);
        let c = i.tier_counters();
        assert_eq!((c.optimized, c.retired), (1, 0), "{loops} {c:?}");
        bump(&mut i, 0);
        // Nothing is left in the middle: what was made for the watch is not entered.
        run(&mut i, 1);
        let c = i.tier_counters();
        assert_eq!((c.optimized, c.retired, c.deopts), (2, 1, 0), "{loops} {c:?}");
        assert_eq!(by_watches(&i, |what| *what == What::Retired), 1);
        // A watch that was bumped before is no news.
        bump(&mut i, 0);
        assert_eq!(i.tier_counters().retired, 1);
    }
}

#[test]
fn in_the_end_code_looks_itself() {
    let retries = 3;
    let mut i = instance(Tier::Auto, |config| {
        config.tiers.optimize_loops = false;
        config.tiers.retries = retries;
    });
    let steps = i.function::<(i64,), i64>("steps").expect("the function");
    for bumped in 0..=WATCHES {
        for _ in 0..20 {
            assert_eq!(i.call(&steps, (100,)).expect("no trap"), (WATCHES - 2 * bumped) * 5050);
        }
        if bumped < WATCHES {
            bump(&mut i, bumped);
        }
    }
    let c = i.tier_counters();
    // The last code stays, whatever is bumped.
    assert_eq!(
        (c.optimized, c.retired, c.deopts),
        (u64::from(retries) + 2, u64::from(retries) + 1, 0),
        "{c:?}"
    );
}

#[test]
fn frames_of_code_that_went_look_behind_each_call() {
    let mut reference = instance(Tier::Interpreter, |_| ());
    for inline in [0, 200] {
        for name in ["deep", "again"] {
            let fresh = || {
                instance(Tier::Auto, |config| {
                    config.tiers.inline_callee = inline;
                    config.tiers.inline_recursion = 0;
                    config.tiers.optimize_loops = false;
                })
            };
            let mut i = fresh();
            let f = i.function::<(i64, i64), i64>(name).expect("the function");
            let same = reference.function::<(i64, i64), i64>(name).expect("the function");
            for _ in 0..100 {
                let wanted = reference.call(&same, (30, -1)).expect("no trap");
                assert_eq!(i.call(&f, (30, -1)).expect("no trap"), wanted, "{name} {inline}");
            }
            let before = i.tier_counters();
            assert_eq!((before.deopts, before.retired), (0, 0), "{name} {inline} {before:?}");
            let made = i.tier_events().filter(|e| &*e.function == name).count();
            assert!(made > 0, "{name} {inline}");
            // In the middle: 24 frames of the code are on the stack, or one in its loop. The first that leaves gives all of them up.
            let wanted = reference.call(&same, (30, 7)).expect("no trap");
            assert_eq!(i.call(&f, (30, 7)).expect("no trap"), wanted, "{name} {inline}");
            let after = i.tier_counters();
            assert_eq!(after.deopts, 1, "{name} {inline} {after:?}");
            assert!(by_watches(&i, |what| *what == What::Retired) > 0, "{name} {inline}");
            // From now on the other meaning is what code is made for.
            for _ in 0..100 {
                let wanted = reference.call(&same, (30, -1)).expect("no trap");
                assert_eq!(i.call(&f, (30, -1)).expect("no trap"), wanted, "{name} {inline}");
            }
            let last = i.tier_counters();
            assert_eq!(
                (last.deopts, last.retired),
                (after.deopts, after.retired),
                "{name} {inline} {last:?}"
            );
            assert!(last.optimized > after.optimized, "{name} {inline} {last:?}");
            // The watches of the interpreter are bumped for good, too.
            reference = instance(Tier::Interpreter, |_| ());
        }
    }
}

#[test]
fn each_instance_has_its_own_watches() {
    let engine = engine(Tier::Auto, |config| config.tiers.optimize_loops = false);
    let module = engine.load(&watching()).expect("it loads");
    let mut both = [(); 2]
        .map(|()| engine.instantiate(&module, Grants::none(), Limits::default()).expect("an instance"));
    for bumped in [0, 1] {
        for (k, i) in both.iter_mut().enumerate() {
            let steps = i.function::<(i64,), i64>("steps").expect("the function");
            let wanted = (WATCHES - if k == 0 { 2 * bumped } else { 0 }) * 5050;
            for _ in 0..20 {
                assert_eq!(i.call(&steps, (100,)).expect("no trap"), wanted);
            }
        }
        bump(&mut both[0], 0);
    }
    assert_eq!(both.map(|i| i.tier_counters().retired), [1, 0]);
}

#[test]
fn what_is_bumped_while_code_is_made_is_not_missed() {
    for wait in [0, 1_000] {
        let mut i = instance(Tier::Auto, |config| {
            config.tiers.sync = false;
            config.tiers.optimize_loops = false;
        });
        let steps = i.function::<(i64,), i64>("steps").expect("the function");
        let hot = |i: &Instance| i.tier_events().any(|e| e.what == What::Hot);
        let run = |i: &mut Instance, bumped: i64| {
            assert_eq!(i.call(&steps, (10,)).expect("no trap"), (WATCHES - 2 * bumped) * 55);
        };
        while !hot(&i) {
            run(&mut i, 0);
        }
        for _ in 0..wait {
            run(&mut i, 0);
        }
        bump(&mut i, 0);
        // Whichever came first, the code or the bump.
        while i.tier_counters().optimized - i.tier_counters().retired == 0 {
            run(&mut i, 1);
        }
        let refused = by_watches(&i, |what| matches!(what, What::Refused { .. })) as u64;
        let c = i.tier_counters();
        assert_eq!((c.retired + refused, c.optimized, c.deopts), (1, 1 + c.retired, 0), "{c:?}");
        run(&mut i, 1);
    }
}
