//! Calls, unwinding, traps, limits and host functions, through modules that are built by hand. What allocates also runs with
//! a collection at every allocation.

mod common;

use std::time::{Duration, Instant};

use common::{function, function_of, instance, instance_with};
use upshift::bytecode::ValueType::{Bool, Cell, Float, Int};
use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder, Reg};
use upshift::bytecode::{
    ANY, CImport, CType, Callee, CellConst, HeapType, Immediate, NumberPolicy, Protocol, Signature, Source,
    Span, SwitchKey, TrapCode, TrapSet, TruthMask,
};
use upshift::{HostContext, HostRegistry, Limits, Ret, Root, Trap};

const ANY_T: upshift::bytecode::ValueType = Cell(ANY);
const STRESS: [bool; 2] = [false, true];

fn boxed(f: &mut FunctionBuilder, value: i64) -> Reg {
    let (raw, cell) = (f.int(), f.cell(ANY));
    f.load_int(raw, value);
    f.box_int(cell, raw);
    cell
}

#[test]
fn tail_calls_take_no_stack() {
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[Int, Int], Some(Int));
    let even = m.declare("even", sig, None);
    let odd = m.declare("odd", sig, None);
    for (own, other, result) in [(even, odd, 1), (odd, even, 0)] {
        let mut f = m.define(own);
        let (n, sum) = (f.param(0), f.param(1));
        let more = f.label();
        f.int_gt_imm_branch(n, 0, more);
        f.load_int(n, result);
        f.return_int(n);
        f.bind(more);
        f.int_add(Reg::window(1), sum, n);
        f.int_add_imm(Reg::window(0), n, -1);
        f.tail_call(other);
        f.finish(&mut m);
    }
    let limits = Limits::default().stack(64 << 10);
    let mut i = instance_with(&m.finish(), HostRegistry::default(), limits, false);
    let f = i.function::<(i64, i64), i64>("even").expect("the function");
    assert_eq!(i.call(&f, (5_000_001, 0)).expect("no trap"), 0);
}

/// Builds `count(n, sum)`, which calls itself last of all, and `outer(n)`, which calls it; the sum gets 1 less than `n` in each turn.
fn counting() -> upshift::bytecode::Module {
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[Int, Int], Some(Int));
    let count = m.declare("count", sig, None);
    let mut f = m.define(count);
    let (n, sum, less) = (f.param(0), f.param(1), f.int());
    let more = f.label();
    f.int_gt_imm_branch(n, 0, more);
    f.return_int(sum);
    f.bind(more);
    f.int_add_imm(less, n, -1);
    f.int_move(Reg::window(0), less);
    f.int_add_checked(Reg::window(1), sum, less);
    f.tail_call(count);
    f.finish(&mut m);
    let sig = m.signature(&[Int], Some(Int));
    let outer = m.declare("outer", sig, None);
    let mut f = m.define(outer);
    let (n, r) = (f.param(0), f.int());
    f.int_move(Reg::window(0), n);
    f.load_int(r, 7);
    f.int_move(Reg::window(1), r);
    f.call_int(r, count);
    f.int_add(r, r, n);
    f.return_int(r);
    f.finish(&mut m);
    m.finish()
}

#[test]
fn functions_that_tail_call_themselves_are_loops() {
    let limits = Limits::default().stack(64 << 10);
    let mut i = instance_with(&counting(), HostRegistry::default(), limits, false);
    let count = i.function::<(i64, i64), i64>("count").expect("the function");
    let outer = i.function::<(i64,), i64>("outer").expect("the function");
    for n in [0, 1, 2, 3, 10, 1_000_000] {
        let sum = n * (n - 1) / 2;
        assert_eq!(i.call(&count, (n, 3)).expect("no trap"), 3 + sum);
        assert_eq!(i.call(&outer, (n,)).expect("no trap"), 7 + sum + n);
    }
}

/// Builds `deep(n)`: a frame with a list in each level, which gets an element on the way back.
fn deep_module() -> upshift::bytecode::Module {
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[Int], Some(Int));
    let deep = m.declare("deep", sig, None);
    let mut f = m.define(deep);
    let ty = m.module.types.cell(HeapType::ListInt);
    let (n, list, r) = (f.param(0), f.cell(ty), f.int());
    let more = f.label();
    f.list_int_new(list, 1);
    f.int_gt_imm_branch(n, 0, more);
    f.load_int(r, 0);
    f.return_int(r);
    f.bind(more);
    f.int_add_imm(Reg::window(0), n, -1);
    f.call_int(r, deep);
    f.list_int_push(list, r);
    f.list_int_push(list, n);
    f.list_len(n, list);
    f.int_add(r, r, n);
    f.return_int(r);
    f.finish(&mut m);
    m.finish()
}

#[test]
fn a_million_frames_live() {
    let mut i = instance(&deep_module(), false);
    let f = i.function::<(i64,), i64>("deep").expect("the function");
    assert_eq!(i.call(&f, (1_000_000,)).expect("no trap"), 2_000_000);
    assert!(i.heap_stats().minor > 5, "{:?}", i.heap_stats());
}

#[test]
fn deep_frames_survive_collection_at_every_allocation() {
    let mut i = instance(&deep_module(), true);
    let f = i.function::<(i64,), i64>("deep").expect("the function");
    assert_eq!(i.call(&f, (300,)).expect("no trap"), 600);
}

#[test]
fn endless_recursion_is_a_trap_with_an_elided_backtrace() {
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[Int], Some(Int));
    let f = m.declare("down", sig, None);
    let mut code = m.define(f);
    let (n, r) = (code.param(0), code.int());
    code.int_add_imm(Reg::window(0), n, 1);
    code.call_int(r, f);
    code.int_add(r, r, n);
    code.return_int(r);
    code.finish(&mut m);
    let mut i = instance_with(&m.finish(), HostRegistry::default(), Limits::default().stack(1 << 20), false);
    let f = i.function::<(i64,), i64>("down").expect("the function");
    for _ in 0..2 {
        let error = i.call(&f, (0,)).expect_err("a trap");
        assert_eq!(error.code(), TrapCode::StackOverflow);
        assert!(error.backtrace().elided > 1000, "{}", error.backtrace().elided);
        assert_eq!(error.backtrace().frames().count(), 32);
    }
}

#[test]
fn traps_say_where() {
    let text = "fun main\n  x = list[9]\nend\n";
    let mut m = ModuleBuilder::new("t");
    let source = m.source(Source::new("main.src", text));
    let inner = function(&mut m, "inner", &[Int], Some(Int), |m, f| {
        let ty = m.module.types.cell(HeapType::ListInt);
        let (l, i, r) = (f.cell(ty), f.param(0), f.int());
        f.set_span(Span { source, start: 0, end: 3 });
        f.list_int_new(l, 0);
        f.list_int_push(l, i);
        f.set_span(Span { source, start: 15, end: 22 });
        f.list_int_get(r, l, i);
        f.set_span(Span { source, start: 23, end: 26 });
        f.return_int(r);
    });
    function(&mut m, "outer", &[Int], Some(Int), |_, f| {
        let (i, r) = (f.param(0), f.int());
        f.set_span(Span { source, start: 4, end: 8 });
        f.int_move(Reg::window(0), i);
        f.call_int(r, inner);
        f.return_int(r);
    });
    let mut i = instance(&m.finish(), false);
    let f = i.function::<(i64,), i64>("outer").expect("the function");
    assert_eq!(i.call(&f, (0,)).expect("no trap"), 0);
    let error = i.call(&f, (9,)).expect_err("a trap");
    assert_eq!(error.to_string(), "index-out-of-range: index 9 is out of range for a list of length 1");
    let frames: Vec<String> = error.backtrace().frames().map(ToString::to_string).collect();
    assert_eq!(frames, ["inner (main.src:2:7)", "outer (main.src:1:5)"]);
}

/// `work(n)`: a loop of n turns that calls a function each turn: 1 + n calls, n turns.
fn work_module() -> upshift::bytecode::Module {
    module_of_turns(false)
}

/// A module whose `work` counts to a number, calling a function in each turn; all turns can be skipped, or have to be done.
fn module_of_turns(done: bool) -> upshift::bytecode::Module {
    let mut m = ModuleBuilder::new("t");
    let leaf = function(&mut m, "leaf", &[Int], Some(Int), |_, f| {
        let a = f.param(0);
        f.return_int(a);
    });
    function(&mut m, "work", &[Int], Some(Int), |_, f| {
        let (n, i, r, mixed) = (f.param(0), f.int(), f.int(), f.int());
        let top = f.label();
        f.load_int(i, 0);
        f.load_int(mixed, 0);
        f.begin_loop(top);
        f.int_move(Reg::window(0), i);
        f.call_int(r, leaf);
        if done {
            f.int_xor(mixed, mixed, r);
            f.int_move(r, mixed);
        }
        f.int_for_loop(i, n, top);
        f.return_int(i);
    });
    m.finish()
}

#[test]
fn fuel_is_exact() {
    let module = work_module();
    // Entering the loop and each jump back charge one unit, and so does each call.
    for n in [1, 5, 4_999, 5_000, 12_345] {
        let need = 2 * n as u64;
        for (fuel, fits) in [(need, true), (need - 1, false), (need + 1, true)] {
            let mut i = instance_with(&module, HostRegistry::default(), Limits::default().fuel(fuel), false);
            let f = i.function::<(i64,), i64>("work").expect("the function");
            let result = i.call(&f, (n,));
            assert_eq!(result.is_ok(), fits, "{n} turns with {fuel}: {result:?}");
            let left = if fits { fuel - need } else { 0 };
            assert_eq!(i.fuel(), Some(left));
            if let Err(error) = result {
                assert_eq!(error.code(), TrapCode::OutOfFuel);
            }
        }
    }
}

/// Builds `work(n, units)`: `n` turns of a loop that calls the host function `charge` with `units`.
fn charging() -> upshift::bytecode::Module {
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[Int], Some(Int));
    let charge = m.host("charge", sig);
    function(&mut m, "work", &[Int, Int], Some(Int), |_, f| {
        let (n, units, i, r) = (f.param(0), f.param(1), f.int(), f.int());
        let top = f.label();
        f.load_int(i, 0);
        f.begin_loop(top);
        f.int_move(Reg::window(0), units);
        f.call_host_int(r, charge);
        f.int_for_loop(i, n, top);
        f.return_int(i);
    });
    m.finish()
}

fn charging_hosts() -> HostRegistry {
    let mut hosts = HostRegistry::default();
    hosts
        .function("charge", |ctx: &mut HostContext<'_>, units: i64| ctx.charge(units as u64).map(|()| units));
    hosts
}

#[test]
fn host_functions_charge_their_work() {
    let module = charging();
    for (n, units) in [(1, 0), (1, 1), (3, 7), (50, 999), (40_000, 1), (3, 1_000_000)] {
        // The turns, and what is charged in each.
        let need = n as u64 * (1 + units as u64);
        for (fuel, fits) in
            [(need, true), (need - 1, false), (need + 1, true), (need + 20_000, true), (need / 2, false)]
        {
            let mut i = instance_with(&module, charging_hosts(), Limits::default().fuel(fuel), false);
            let f = i.function::<(i64, i64), i64>("work").expect("the function");
            let result = i.call(&f, (n, units));
            assert_eq!(result.is_ok(), fits, "{n} turns of {units} with {fuel}: {result:?}");
            assert_eq!(
                i.fuel(),
                Some(if fits { fuel - need } else { 0 }),
                "{n} turns of {units} with {fuel}"
            );
            if let Err(error) = result {
                assert_eq!(error.code(), TrapCode::OutOfFuel);
            }
        }
    }
}

#[test]
fn host_functions_see_interrupts_where_they_charge() {
    let mut i = instance_with(&charging(), charging_hosts(), Limits::default(), false);
    let f = i.function::<(i64, i64), i64>("work").expect("the function");
    let handle = i.interrupt_handle();
    handle.interrupt();
    // A single turn: no loop would look.
    assert_eq!(i.call(&f, (1, 10_000)).expect_err("a trap").code(), TrapCode::Interrupted);
    assert_eq!(i.call(&f, (1, 10_000)).expect("no trap"), 1);
    // And outside of calls.
    handle.interrupt();
    let trap = i.enter(|ctx| ctx.charge(10_000)).expect_err("a trap");
    assert_eq!(trap.code(), TrapCode::Interrupted);
    i.set_fuel(Some(5));
    assert!(i.enter(|ctx| ctx.charge(5)).is_ok());
    assert_eq!(i.fuel(), Some(0));
    assert_eq!(i.enter(|ctx| ctx.charge(1)).expect_err("a trap").code(), TrapCode::OutOfFuel);
}

#[test]
fn interrupts_and_timeouts_stop_endless_loops() {
    let module = module_of_turns(true);
    let mut i = instance_with(
        &module,
        HostRegistry::default(),
        Limits::default().timeout(Duration::from_millis(20)),
        false,
    );
    let f = i.function::<(i64,), i64>("work").expect("the function");
    let start = Instant::now();
    assert_eq!(i.call(&f, (i64::MAX,)).expect_err("a trap").code(), TrapCode::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(5));

    let mut i = instance(&module, false);
    let f = i.function::<(i64,), i64>("work").expect("the function");
    let handle = i.interrupt_handle();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        handle.interrupt();
    });
    assert_eq!(i.call(&f, (i64::MAX,)).expect_err("a trap").code(), TrapCode::Interrupted);
    stopper.join().expect("no panic");
    assert_eq!(i.call(&f, (3,)).expect("no trap: the interrupt was used up"), 3);
}

#[test]
fn exceptions_reach_the_innermost_handler() {
    for stress in STRESS {
        let mut m = ModuleBuilder::new("t");
        let string = m.module.types.cell(HeapType::String);
        let text = m.string("a long exception text");
        let raise = function(&mut m, "raise", &[Int], Some(Int), |_, f| {
            let s = f.cell(string);
            f.string_const(s, text);
            f.throw(s);
        });
        function(&mut m, "catch", &[Int], Some(Int), |_, f| {
            let (n, r, e, s) = (f.param(0), f.int(), f.cell(ANY), f.cell(string));
            let (start, end, target) = (f.label(), f.label(), f.label());
            f.bind(start);
            f.int_move(Reg::window(0), n);
            f.call_int(r, raise);
            f.bind(end);
            f.return_int(r);
            f.bind_reachable(target);
            f.handler(start, end, target, e);
            f.cell_cast(s, e, string);
            f.string_len(r, s);
            f.return_int(r);
        });
        function(&mut m, "miss", &[Int], Some(Int), |_, f| {
            let (n, r) = (f.param(0), f.int());
            f.int_move(Reg::window(0), n);
            f.call_int(r, raise);
            f.return_int(r);
        });
        let mut i = instance(&m.finish(), stress);
        let f = i.function::<(i64,), i64>("catch").expect("the function");
        assert_eq!(i.call(&f, (1,)).expect("no trap"), 21);
        let f = i.function::<(i64,), i64>("miss").expect("the function");
        let error = i.call(&f, (1,)).expect_err("a trap");
        assert_eq!(error.code(), TrapCode::UncaughtException);
        assert!(error.message().contains("a long exception text"), "{error}");
        assert_eq!(error.backtrace().frames().count(), 2);
    }
}

/// A module that catches division by zero and stack overflow as the code, or 1000 where the trap has no value.
#[test]
fn modules_choose_which_traps_are_caught() {
    for stress in STRESS {
        let mut m = ModuleBuilder::new("t");
        m.module.catchable = TrapSet::default().with(TrapCode::DivisionByZero).with(TrapCode::StackOverflow);
        let value_sig = m.signature(&[ANY_T, ANY_T], Some(ANY_T));
        let value = function_of(&mut m, "trap_value", value_sig, |_, f| {
            let code = f.param(0);
            f.return_cell(code);
        });
        m.module.protocol.set(Protocol::TrapValue, Callee::Function(value));
        let sig = m.signature(&[Int], Some(Int));
        let down = m.declare("down", sig, None);
        {
            let mut f = m.define(down);
            let (n, r) = (f.param(0), f.int());
            f.int_move(Reg::window(0), n);
            f.call_int(r, down);
            f.int_add(r, r, n);
            f.return_int(r);
            f.finish(&mut m);
        }
        function(&mut m, "guarded", &[Int], Some(Int), |_, f| {
            let (n, r, e, d) = (f.param(0), f.int(), f.cell(ANY), f.int());
            let (start, end, target, recurse, overflow) =
                (f.label(), f.label(), f.label(), f.label(), f.label());
            f.bind(start);
            f.int_eq_imm_branch(n, 1, recurse);
            f.int_eq_imm_branch(n, 2, overflow);
            f.load_int(d, 0);
            f.int_div(r, n, d);
            f.return_int(r);
            f.bind(recurse);
            f.int_move(Reg::window(0), n);
            f.call_int(r, down);
            f.return_int(r);
            f.bind(overflow);
            f.load_int(d, i64::MAX);
            f.int_add_checked(r, d, n);
            f.return_int(r);
            f.bind(end);
            f.bind_reachable(target);
            f.handler(start, end, target, e);
            f.unbox_int(r, e);
            f.return_int(r);
        });
        let limits = Limits::default().stack(1 << 20);
        let mut i = instance_with(&m.finish(), HostRegistry::default(), limits, stress);
        let f = i.function::<(i64,), i64>("guarded").expect("the function");
        assert_eq!(i.call(&f, (0,)).expect("caught"), TrapCode::DivisionByZero as i64);
        assert_eq!(i.call(&f, (1,)).expect("caught"), TrapCode::StackOverflow as i64);
        assert_eq!(i.call(&f, (2,)).expect_err("not caught").code(), TrapCode::IntegerOverflow);
    }
}

/// `apply(callee, n boxed ints)` as dynamic calls of all kinds.
#[test]
fn dynamic_calls_adapt_arguments_and_results() {
    for stress in STRESS {
        let mut m = ModuleBuilder::new("t");
        let any_list = m.module.types.cell(HeapType::ListCell(ANY));
        // A typed function: (int, float, any) -> float.
        let typed = function(&mut m, "typed", &[Int, Float, ANY_T], Some(Float), |_, f| {
            let (a, b, c) = (f.param(0), f.param(1), f.param(2));
            let (x, y) = (f.float(), f.float());
            f.float_from_int(x, a);
            f.float_add(x, x, b);
            f.unbox_number(y, c);
            f.float_add(x, x, y);
            f.return_float(x);
        });
        // Rest arguments: the number of surplus ones.
        let rest_sig = m.intern_signature(Signature {
            params: vec![ANY_T, Cell(any_list)],
            rest: true,
            result: Some(Int),
        });
        let rest = function_of(&mut m, "rest", rest_sig, |_, f| {
            let (l, n) = (f.param(1), f.int());
            f.list_len(n, l);
            f.return_int(n);
        });
        let arity_sig = m.signature(&[ANY_T, ANY_T], Some(ANY_T));
        let arity = function_of(&mut m, "arity", arity_sig, |_, f| {
            let (l, list, n, c) = (f.param(1), f.cell(any_list), f.int(), f.cell(ANY));
            f.cell_cast(list, l, any_list);
            f.list_len(n, list);
            f.int_add_imm(n, n, 100);
            f.box_int(c, n);
            f.return_cell(c);
        });
        let odd = function_of(&mut m, "odd", arity_sig, |_, f| {
            let callee = f.param(0);
            f.return_cell(callee);
        });
        m.module.protocol.set(Protocol::Arity, Callee::Function(arity));
        m.module.protocol.set(Protocol::Call, Callee::Function(odd));
        // Closures without captures of both, through an environment.
        let typed_sig = m.module.functions[typed.index()].signature;
        let env = m.declare("env", typed_sig, Some(vec![ANY]));
        {
            let mut f = m.define(env);
            let (a, captured, x, y) = (f.param(0), f.cell(ANY), f.float(), f.float());
            f.float_from_int(x, a);
            f.capture_get(captured, 0);
            f.unbox_number(y, captured);
            f.float_add(x, x, y);
            f.return_float(x);
            f.finish(&mut m);
        }
        let rest_env = m.declare("rest_env", rest_sig, Some(vec![]));
        {
            let mut f = m.define(rest_env);
            let (l, n) = (f.param(1), f.int());
            f.list_len(n, l);
            f.return_int(n);
            f.finish(&mut m);
        }
        let _ = rest;
        let results = m.module.types.cell(HeapType::Results);
        // call(which, argc, tail)
        for tail in [false, true] {
            for spread in [false, true] {
                for (name, callee) in [("env", Some(env)), ("rest", Some(rest_env)), ("odd", None)] {
                    for argc in 0..4u16 {
                        let full = format!("{name}{argc}{tail}{spread}");
                        function(&mut m, &full, &[], Some(Cell(results)), |m, f| {
                            let closure = match callee {
                                Some(callee) => {
                                    let function = m.module.functions[callee.index()].signature;
                                    let ty = m.module.types.cell(HeapType::Closure(function));
                                    let c = f.cell(ty);
                                    if callee == env {
                                        let forty = boxed(f, 40);
                                        f.cell_move(FunctionBuilder::cell_arguments(1)[0], forty);
                                    }
                                    f.closure_new(c, callee);
                                    c
                                }
                                None => boxed(f, 9),
                            };
                            let values: Vec<Reg> = (0..argc)
                                .map(|k| {
                                    if k == 1 {
                                        let (x, c) = (f.float(), f.cell(ANY));
                                        f.load_float(x, 0.5);
                                        f.box_float(c, x);
                                        c
                                    } else {
                                        boxed(f, i64::from(k) + (1 << 50))
                                    }
                                })
                                .collect();
                            let values = if spread {
                                let list = f.cell(any_list);
                                f.list_cell_new(list, 0, any_list);
                                for v in values.iter().skip(1) {
                                    f.list_cell_push(list, *v);
                                }
                                values.first().copied().into_iter().chain([list]).collect()
                            } else {
                                values
                            };
                            let count = values.len() as u16;
                            for (w, v) in
                                FunctionBuilder::cell_arguments(values.len()).into_iter().zip(&values)
                            {
                                f.cell_move(w, *v);
                            }
                            let r = f.cell(results);
                            let site = f.feedback();
                            let policy = NumberPolicy::default();
                            match (tail, spread) {
                                (false, false) => f.cell_call(r, closure, count, policy, site),
                                (false, true) => f.cell_call_spread(r, closure, count, policy, site),
                                (true, false) => f.tail_cell(closure, count, policy, site),
                                (true, true) => f.tail_cell_spread(closure, count, policy, site),
                            }
                            if !tail {
                                f.return_cell(r);
                            }
                        });
                    }
                }
            }
        }
        // What a typed caller gets from all of these: a number.
        let names: Vec<String> = m.module.functions.iter().map(|f| f.name.clone()).collect();
        for (k, name) in names.iter().enumerate() {
            if name.ends_with("true") || name.ends_with("false") {
                let callee = upshift::bytecode::FuncId(k as u32);
                function(&mut m, &format!("get_{name}"), &[], Some(Float), |_, f| {
                    let (r, any, x) = (f.cell(results), f.cell(ANY), f.float());
                    f.call_cell(r, callee);
                    f.cell_cast(any, r, ANY);
                    f.unbox_number(x, any);
                    f.return_float(x);
                });
            }
        }
        let mut i = instance(&m.finish(), stress);
        for tail in [false, true] {
            for spread in [false, true] {
                for argc in 0..4u16 {
                    for name in ["env", "rest", "odd"] {
                        let full = format!("get_{name}{argc}{tail}{spread}");
                        let f = i.function::<(), f64>(&full).expect("the function");
                        let got = i.call(&f, ()).unwrap_or_else(|e| panic!("{full}: {e}\n{}", e.backtrace()));
                        let expected = match name {
                            "odd" => 9.0,
                            "env" if argc == 3 => (1i64 << 50) as f64 + 40.0,
                            "env" => 100.0 + f64::from(argc),
                            _ if argc == 0 => 100.0,
                            _ => f64::from(argc - 1),
                        };
                        assert_eq!(got, expected, "{full}");
                    }
                }
            }
        }
    }
}

/// A dynamic tail call of a function without machine code that returns a number, in a frame that a static call made: the result is boxed,
/// and goes where the call says.
#[test]
fn numbers_of_functions_that_run_first_are_boxed_for_the_caller() {
    for stress in STRESS {
        let mut m = ModuleBuilder::new("t");
        let sig = m.signature(&[], Some(Int));
        let callee = m.declare("seven", sig, Some(vec![]));
        let mut f = m.define(callee);
        let n = f.int();
        f.load_int(n, 7);
        f.return_int(n);
        f.finish(&mut m);
        let closure = m.module.types.cell(HeapType::Closure(sig));
        let results = m.module.types.cell(HeapType::Results);
        let gives = m.signature(&[], Some(Cell(results)));
        let tail = function_of(&mut m, "tail", gives, |_, f| {
            let c = f.cell(closure);
            f.closure_new(c, callee);
            let site = f.feedback();
            f.tail_cell(c, 0, NumberPolicy::default(), site);
        });
        function(&mut m, "run", &[], Some(Int), |_, f| {
            let (r, other, any) = (f.cell(results), f.int(), f.cell(ANY));
            let n = f.int();
            f.load_int(other, 1000);
            f.call_cell(r, tail);
            f.cell_cast(any, r, ANY);
            f.unbox_int(n, any);
            f.int_add(n, n, other);
            f.return_int(n);
        });
        let mut i = instance(&m.finish(), stress);
        let f = i.function::<(), i64>("run").expect("the function");
        for _ in 0..3 {
            assert_eq!(i.call(&f, ()).expect("no trap"), 1007);
        }
    }
}

#[test]
fn dynamic_arguments_of_the_wrong_kind_trap() {
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[Int], Some(Int));
    let callee = m.declare("callee", sig, Some(vec![]));
    let mut f = m.define(callee);
    let a = f.param(0);
    f.return_int(a);
    f.finish(&mut m);
    let closure = m.module.types.cell(HeapType::Closure(sig));
    let results = m.module.types.cell(HeapType::Results);
    function(&mut m, "main", &[Float], Some(Cell(results)), |_, f| {
        let (x, c, v, r) = (f.param(0), f.cell(closure), f.cell(ANY), f.cell(results));
        f.closure_new(c, callee);
        f.box_float(v, x);
        f.cell_move(FunctionBuilder::cell_arguments(1)[0], v);
        let site = f.feedback();
        f.cell_call(r, c, 1, NumberPolicy::default(), site);
        f.return_cell(r);
    });
    function(&mut m, "run", &[], None, |m, f| {
        let r = f.cell(results);
        let x = f.float();
        let main = m.module.functions.iter().position(|f| f.name == "main").expect("main");
        f.load_float(x, 1.0);
        f.float_move(Reg::window(0), x);
        f.call_cell(r, upshift::bytecode::FuncId(main as u32));
        f.return_void();
    });
    let mut i = instance(&m.finish(), false);
    let f = i.function::<(), ()>("run").expect("the function");
    let error = i.call(&f, ()).expect_err("a trap");
    assert_eq!(error.code(), TrapCode::TypeMismatch);
    assert!(error.message().contains("argument 1 is float"), "{error}");
}

#[test]
fn arithmetic_follows_the_policy() {
    let policies = [
        NumberPolicy::WRAP64,
        NumberPolicy::WRAP32,
        NumberPolicy::OVERFLOW_TRAPS,
        NumberPolicy::default(),
        NumberPolicy::PROMOTE.with(NumberPolicy::INT_DIV),
    ];
    let mut m = ModuleBuilder::new("t");
    // The protocol answers -1 to everything.
    let sig = m.signature(&[ANY_T, ANY_T], Some(ANY_T));
    let minus = function_of(&mut m, "minus", sig, |_, f| {
        let c = boxed(f, -1);
        f.return_cell(c);
    });
    for entry in [Protocol::Add, Protocol::Sub, Protocol::Mul, Protocol::Div, Protocol::Rem] {
        m.module.protocol.set(entry, Callee::Function(minus));
    }
    for (k, policy) in policies.into_iter().enumerate() {
        for op in 0..5 {
            function(&mut m, &format!("op{op}p{k}"), &[Int, Int], Some(Int), |_, f| {
                let (a, b, r) = (f.cell(ANY), f.cell(ANY), f.cell(ANY));
                let (x, y) = (f.param(0), f.param(1));
                f.box_int(a, x);
                f.box_int(b, y);
                let site = f.feedback();
                match op {
                    0 => f.cell_add(r, a, b, policy, site),
                    1 => f.cell_sub(r, a, b, policy, site),
                    2 => f.cell_mul(r, a, b, policy, site),
                    3 => f.cell_div(r, a, b, policy, site),
                    _ => f.cell_rem(r, a, b, policy, site),
                }
                f.unbox_int(x, r);
                f.return_int(x);
            });
        }
    }
    let mut i = instance(&m.finish(), false);
    let values = [0, 1, -1, 7, 1 << 31, 1 << 46, 1 << 47, i64::MAX, i64::MIN];
    for (k, policy) in policies.into_iter().enumerate() {
        for op in 0..5 {
            let f = i.function::<(i64, i64), i64>(&format!("op{op}p{k}")).expect("the function");
            for a in values {
                for b in values {
                    let (exact, wrapped) = match op {
                        0 => (a.checked_add(b), a.wrapping_add(b)),
                        1 => (a.checked_sub(b), a.wrapping_sub(b)),
                        2 => (a.checked_mul(b), a.wrapping_mul(b)),
                        3 if b != 0 && policy.has(NumberPolicy::INT_DIV) => {
                            (a.checked_div(b), a.wrapping_div(b))
                        }
                        4 if b != 0 => (Some(a.wrapping_rem(b)), a.wrapping_rem(b)),
                        _ => {
                            assert_eq!(i.call(&f, (a, b)).expect("the protocol answers"), -1);
                            continue;
                        }
                    };
                    let expected = if policy.has(NumberPolicy::WRAP32) {
                        Ok(i64::from(wrapped as i32))
                    } else if let Some(exact) = exact {
                        Ok(exact)
                    } else if policy.has(NumberPolicy::WRAP64) {
                        Ok(wrapped)
                    } else if policy.has(NumberPolicy::OVERFLOW_TRAPS) {
                        Err(TrapCode::IntegerOverflow)
                    } else {
                        Ok(-1)
                    };
                    assert_eq!(i.call(&f, (a, b)).map_err(|e| e.code()), expected, "{op} {k} {a} {b}");
                }
            }
        }
    }
}

#[test]
fn comparisons_go_to_the_protocol_and_come_back_as_ints() {
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[ANY_T, ANY_T], Some(Bool));
    for (entry, answer) in [(Protocol::Equal, 1), (Protocol::Less, 0), (Protocol::LessEqual, 1)] {
        let f = function_of(&mut m, entry.text(), sig, |_, f| {
            let r = f.int();
            f.load_int(r, answer);
            f.return_int(r);
        });
        m.module.protocol.set(entry, Callee::Function(f));
    }
    function(&mut m, "all", &[], Some(Int), |m, f| {
        // Two lists are nothing that the fast paths know.
        let ty = m.module.types.cell(HeapType::ListInt);
        let (a, r, sum) = (f.cell(ty), f.int(), f.int());
        f.list_int_new(a, 0);
        f.load_int(sum, 0);
        for op in 0..4 {
            let site = f.feedback();
            let policy = NumberPolicy::default();
            match op {
                0 => f.cell_eq(r, a, a, policy, site),
                1 => f.cell_ne(r, a, a, policy, site),
                2 => f.cell_lt(r, a, a, policy, site),
                _ => f.cell_le(r, a, a, policy, site),
            }
            f.int_shl_imm(sum, sum, 1);
            f.int_or(sum, sum, r);
        }
        f.return_int(sum);
    });
    let mut i = instance(&m.finish(), true);
    let f = i.function::<(), i64>("all").expect("the function");
    assert_eq!(i.call(&f, ()).expect("no trap"), 0b1001);
}

#[test]
fn switches_find_every_key_and_nothing_else() {
    let mut m = ModuleBuilder::new("t");
    for (name, keys) in
        [("dense", [3i64, 4, 5, 9, -2]), ("sparse", [0, 1 << 40, -(1 << 40), i64::MAX, i64::MIN])]
    {
        function(&mut m, name, &[Int], Some(Int), |_, f| {
            let (a, r) = (f.param(0), f.int());
            let labels: Vec<_> = keys.iter().map(|_| f.label()).collect();
            let default = f.label();
            let cases = keys.iter().zip(&labels).map(|(k, l)| (SwitchKey::Int(*k), *l)).collect();
            let table = f.switch_table(cases, default);
            f.int_switch(a, table);
            for (k, l) in labels.into_iter().enumerate() {
                f.bind(l);
                f.load_int(r, k as i64);
                f.return_int(r);
            }
            f.bind(default);
            f.load_int(r, -1);
            f.return_int(r);
        });
    }
    // Strings, long and short: `pick(k)` switches on constant k.
    let texts = ["", "a", "five5", "sixsix", "a rather long text", "a rather long texT"];
    let ids: Vec<_> = texts.iter().map(|t| m.string(t)).collect();
    let other = m.string("another");
    let string = m.module.types.cell(HeapType::String);
    for (k, id) in ids.iter().chain([&other]).enumerate() {
        function(&mut m, &format!("text{k}"), &[], Some(Int), |_, f| {
            let (s, r) = (f.cell(string), f.int());
            f.string_const(s, *id);
            let labels: Vec<_> = ids.iter().map(|_| f.label()).collect();
            let default = f.label();
            let cases = ids.iter().zip(&labels).map(|(k, l)| (SwitchKey::String(*k), *l)).collect();
            let table = f.switch_table(cases, default);
            f.string_switch(s, table);
            for (k, l) in labels.into_iter().enumerate() {
                f.bind(l);
                f.load_int(r, k as i64);
                f.return_int(r);
            }
            f.bind(default);
            f.load_int(r, -1);
            f.return_int(r);
        });
    }
    let mut i = instance(&m.finish(), false);
    for (name, keys) in
        [("dense", [3i64, 4, 5, 9, -2]), ("sparse", [0, 1 << 40, -(1 << 40), i64::MAX, i64::MIN])]
    {
        let f = i.function::<(i64,), i64>(name).expect("the function");
        for (k, key) in keys.iter().enumerate() {
            assert_eq!(i.call(&f, (*key,)).expect("no trap"), k as i64);
        }
        for other in [6, -3, 10, 1 << 41, i64::MAX - 1] {
            assert_eq!(i.call(&f, (other,)).expect("no trap"), -1);
        }
    }
    for k in 0..=texts.len() {
        let f = i.function::<(), i64>(&format!("text{k}")).expect("the function");
        assert_eq!(i.call(&f, ()).expect("no trap"), if k == texts.len() { -1 } else { k as i64 });
    }
}

#[test]
fn host_functions_call_back_and_exceptions_pass_through() {
    for stress in STRESS {
        let mut hosts = HostRegistry::default();
        // map2(f, x) = f(f(x)); each value is a fresh string, so collections matter.
        hosts.dynamic("twice", |ctx, args| {
            let (f, x) = {
                let (f, x) = (args.val(ctx, 0)?, args.val(ctx, 1)?);
                (ctx.root(f), ctx.root(x))
            };
            let mut value = x;
            for _ in 0..2 {
                value = ctx.call(f, &[value])?;
            }
            Ok(Ret::Root(value))
        });
        hosts.function("len", |_: &mut HostContext<'_>, s: String| Ok(s.chars().count() as i64));
        hosts.function("fail", |_: &mut HostContext<'_>| -> Result<(), Trap> {
            Err(Trap::new(TrapCode::HostError, "no such file"))
        });
        let mut m = ModuleBuilder::new("t");
        let string = m.module.types.cell(HeapType::String);
        let two = m.signature(&[ANY_T, ANY_T], Some(ANY_T));
        let len_sig = m.signature(&[Cell(string)], Some(Int));
        let none = m.signature(&[], None);
        let (twice, len, fail) = (m.host("twice", two), m.host("len", len_sig), m.host("fail", none));
        let step_sig = m.signature(&[ANY_T], Some(ANY_T));
        let step = m.declare("step", step_sig, Some(vec![ANY]));
        let suffix = m.string("suffix ");
        {
            let mut f = m.define(step);
            let (x, s, t, limit, n, k) =
                (f.param(0), f.cell(string), f.cell(string), f.cell(ANY), f.int(), f.int());
            f.cell_cast(s, x, string);
            f.string_const(t, suffix);
            f.string_concat(s, s, t);
            f.string_len(n, s);
            f.capture_get(limit, 0);
            f.unbox_int(k, limit);
            let fine = f.label();
            f.int_le_branch(n, k, fine);
            f.throw(s);
            f.bind(fine);
            f.return_cell(s);
            f.finish(&mut m);
        }
        let closure = m.module.types.cell(HeapType::Closure(step_sig));
        // main(limit) = length of step(step("suffix ")), or minus the length of the exception.
        function(&mut m, "main", &[Int], Some(Int), |_, f| {
            let (limit, c, s, r, out, e) =
                (f.param(0), f.cell(closure), f.cell(string), f.cell(ANY), f.int(), f.cell(ANY));
            let b = f.cell(ANY);
            f.box_int(b, limit);
            f.cell_move(FunctionBuilder::cell_arguments(1)[0], b);
            f.closure_new(c, step);
            f.string_const(s, suffix);
            let (start, end, target) = (f.label(), f.label(), f.label());
            f.bind(start);
            let w = FunctionBuilder::cell_arguments(2);
            f.cell_move(w[0], c);
            f.cell_move(w[1], s);
            f.call_host_cell(r, twice);
            f.bind(end);
            f.cell_cast(s, r, string);
            f.cell_move(FunctionBuilder::cell_arguments(1)[0], s);
            f.call_host_int(out, len);
            f.return_int(out);
            f.bind_reachable(target);
            f.handler(start, end, target, e);
            f.cell_cast(s, e, string);
            f.string_len(out, s);
            f.int_neg(out, out);
            f.return_int(out);
        });
        function(&mut m, "broken", &[], None, |_, f| {
            f.call_host_void(fail);
            f.return_void();
        });
        let mut i = instance_with(&m.finish(), hosts, Limits::default(), stress);
        let f = i.function::<(i64,), i64>("main").expect("the function");
        assert_eq!(i.call(&f, (100,)).expect("no trap"), 21);
        assert_eq!(i.call(&f, (20,)).expect("no trap"), -21);
        assert_eq!(i.call(&f, (10,)).expect("no trap"), -14);
        let f = i.function::<(), ()>("broken").expect("the function");
        let error = i.call(&f, ()).expect_err("a trap");
        assert_eq!(error.to_string(), "host-error: no such file");
        assert_eq!(error.backtrace().frames().next().map(|f| f.function.as_str()), Some("broken"));
    }
}

#[test]
fn endless_reentry_is_a_stack_overflow() {
    let mut hosts = HostRegistry::default();
    hosts.dynamic("again", |ctx, args| {
        let f = args.val(ctx, 0)?;
        let f = ctx.root(f);
        let result = ctx.call(f, &[f])?;
        Ok(Ret::Root(result))
    });
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[ANY_T], Some(ANY_T));
    let again = m.host("again", sig);
    let f = m.declare("f", sig, Some(vec![]));
    {
        let mut code = m.define(f);
        let (x, r) = (code.param(0), code.cell(ANY));
        code.cell_move(FunctionBuilder::cell_arguments(1)[0], x);
        code.call_host_cell(r, again);
        code.return_cell(r);
        code.finish(&mut m);
    }
    let closure = m.module.types.cell(HeapType::Closure(sig));
    function(&mut m, "main", &[], None, |_, code| {
        let (c, r) = (code.cell(closure), code.cell(ANY));
        code.closure_new(c, f);
        code.cell_move(FunctionBuilder::cell_arguments(1)[0], c);
        code.call_host_cell(r, again);
        code.return_void();
    });
    let mut i = instance_with(&m.finish(), hosts, Limits::default(), false);
    let f = i.function::<(), ()>("main").expect("the function");
    for _ in 0..2 {
        assert_eq!(i.call(&f, ()).expect_err("a trap").code(), TrapCode::StackOverflow);
    }
}

#[test]
fn c_functions_take_ints_floats_and_texts() {
    let mut m = ModuleBuilder::new("t");
    let import = |symbol: &str, library: Option<&str>, params: &[CType], result| CImport {
        library: library.map(str::to_string),
        symbol: symbol.to_string(),
        params: params.to_vec(),
        result,
    };
    m.module.c_functions = vec![
        import("strlen", None, &[CType::CString], CType::Int64),
        import("ldexp", Some("libm.so.6"), &[CType::Double, CType::Int32], CType::Double),
        import("abs", None, &[CType::Int32], CType::Int32),
        import("no_such_function", None, &[], CType::Void),
    ];
    let id = upshift::bytecode::CFuncId;
    let text = m.string("seven!!");
    let string = m.module.types.cell(HeapType::String);
    function(&mut m, "strlen", &[], Some(Int), |_, f| {
        let (s, r) = (f.cell(string), f.int());
        f.string_const(s, text);
        f.cell_move(FunctionBuilder::cell_arguments(1)[0], s);
        f.call_c_int(r, id(0));
        f.return_int(r);
    });
    function(&mut m, "ldexp", &[Float, Int], Some(Float), |_, f| {
        let (x, e, r) = (f.param(0), f.param(1), f.float());
        f.float_move(Reg::window(0), x);
        f.int_move(Reg::window(1), e);
        f.call_c_float(r, id(1));
        f.return_float(r);
    });
    function(&mut m, "abs", &[Int], Some(Int), |_, f| {
        let (x, r) = (f.param(0), f.int());
        f.int_move(Reg::window(0), x);
        f.call_c_int(r, id(2));
        f.return_int(r);
    });
    function(&mut m, "missing", &[], None, |_, f| {
        f.call_c_void(id(3));
        f.return_void();
    });
    let mut i = instance(&m.finish(), false);
    if cfg!(not(all(target_os = "linux", target_env = "gnu"))) {
        return;
    }
    let f = i.function::<(), i64>("strlen").expect("the function");
    assert_eq!(i.call(&f, ()).expect("no trap"), 7);
    let f = i.function::<(f64, i64), f64>("ldexp").expect("the function");
    assert_eq!(i.call(&f, (1.5, 4)).expect("no trap"), 24.0);
    let f = i.function::<(i64,), i64>("abs").expect("the function");
    assert_eq!(i.call(&f, (-5,)).expect("no trap"), 5);
    let f = i.function::<(), ()>("missing").expect("the function");
    assert_eq!(i.call(&f, ()).expect_err("a trap").code(), TrapCode::HostError);
}

#[test]
fn truth_follows_the_mask() {
    let masks = [TruthMask::NIL.with(TruthMask::FALSE), TruthMask(TruthMask::KNOWN)];
    let mut m = ModuleBuilder::new("t");
    let string = m.module.types.cell(HeapType::String);
    let list = m.module.types.cell(HeapType::ListInt);
    let empty = m.string("");
    for (k, mask) in masks.into_iter().enumerate() {
        function(&mut m, &format!("truth{k}"), &[], Some(Int), |_, f| {
            let (sum, r) = (f.int(), f.int());
            f.load_int(sum, 0);
            let (s, l, zero) = (f.cell(string), f.cell(list), f.cell(ANY));
            f.string_const(s, empty);
            f.list_int_new(l, 0);
            f.load_cell(zero, CellConst::Float(-0.0));
            let mut cells = vec![s, l, zero];
            for constant in [
                CellConst::Immediate(Immediate::Nil),
                CellConst::Immediate(Immediate::False),
                CellConst::Immediate(Immediate::True),
                CellConst::Int(0),
                CellConst::Int(3),
            ] {
                let c = f.cell(ANY);
                f.load_cell(c, constant);
                cells.push(c);
            }
            for c in cells {
                let yes = f.label();
                f.cell_truthy(r, c, mask);
                f.int_shl_imm(sum, sum, 1);
                f.int_or(sum, sum, r);
                f.truthy_branch(c, mask, yes);
                f.int_xor(r, r, r);
                f.bind(yes);
            }
            f.return_int(sum);
        });
    }
    let mut i = instance(&m.finish(), false);
    let f = i.function::<(), i64>("truth0").expect("the function");
    assert_eq!(i.call(&f, ()).expect("no trap"), 0b1110_0111);
    let f = i.function::<(), i64>("truth1").expect("the function");
    assert_eq!(i.call(&f, ()).expect("no trap"), 0b0000_0101);
}

#[test]
fn memory_bombs_are_traps() {
    let mut m = ModuleBuilder::new("t");
    function(&mut m, "bomb", &[], None, |m, f| {
        let any = m.module.types.cell(HeapType::ListCell(ANY));
        let (l, v) = (f.cell(any), f.cell(any));
        let top = f.label();
        f.list_cell_new(l, 0, any);
        f.begin_loop(top);
        f.list_cell_new(v, 100, any);
        f.list_cell_push(l, v);
        f.jump_loop(top);
    });
    let mut i =
        instance_with(&m.finish(), HostRegistry::default(), Limits::default().memory(32 << 20), false);
    let f = i.function::<(), ()>("bomb").expect("the function");
    for _ in 0..2 {
        assert_eq!(i.call(&f, ()).expect_err("a trap").code(), TrapCode::MemoryLimit);
    }
}

#[test]
fn trails_undo_stores() {
    for stress in STRESS {
        let mut m = ModuleBuilder::new("t");
        let reference = m.module.types.cell(HeapType::RefCell(ANY));
        let string = m.module.types.cell(HeapType::String);
        let (one, two) = (m.string("the first long text"), m.string("the second, longer text"));
        function(&mut m, "main", &[], Some(Int), |_, f| {
            let (r, s, any, mark, n, k) =
                (f.cell(reference), f.cell(string), f.cell(ANY), f.int(), f.int(), f.int());
            f.string_const(s, one);
            f.ref_cell_new(r, s, reference);
            f.trail_mark(mark);
            f.string_const(s, two);
            f.string_concat(s, s, s);
            f.ref_cell_set_trailed(r, s);
            f.ref_cell_get(any, r);
            f.cell_cast(s, any, string);
            f.string_len(n, s);
            f.trail_undo(mark);
            f.ref_cell_get(any, r);
            f.cell_cast(s, any, string);
            f.string_len(k, s);
            f.int_mul_imm_checked(n, n, 1000);
            f.int_add(n, n, k);
            f.return_int(n);
        });
        let mut i = instance(&m.finish(), stress);
        let f = i.function::<(), i64>("main").expect("the function");
        assert_eq!(i.call(&f, ()).expect("no trap"), 46_019);
    }
}

#[test]
fn wrong_types_of_handles_are_errors() {
    let mut i = instance(&work_module(), false);
    let error = i.function::<(f64,), i64>("work").expect_err("an error");
    assert_eq!(error.to_string(), "work is (int) -> int, not (float) -> int");
    assert_eq!(
        i.function::<(), ()>("nothing").expect_err("an error").to_string(),
        "no function is called \"nothing\""
    );
    let mut other = instance(&work_module(), false);
    let handle = other.function::<(i64,), i64>("work").expect("the function");
    assert_eq!(i.call(&handle, (1,)).expect_err("an error").code(), TrapCode::InvalidArgument);
    assert_eq!(other.call(&handle, (1,)).expect("no trap"), 1);
}

#[test]
fn roots_outlive_collections() {
    let mut m = ModuleBuilder::new("t");
    let sig = m.signature(&[], None);
    let id = m.declare("nothing", sig, None);
    let mut f = m.define(id);
    f.return_void();
    f.finish(&mut m);
    let mut i = instance(&m.finish(), true);
    i.enter(|ctx| {
        let roots: Vec<Root> = (0..100)
            .map(|k| {
                let v = ctx.string(&format!("text number {k}")).expect("memory");
                ctx.root(v)
            })
            .collect();
        ctx.request_collection();
        for (k, root) in roots.iter().enumerate() {
            assert_eq!(ctx.get(*root).as_str().as_deref(), Some(format!("text number {k}").as_str()));
        }
    });
}

#[test]
fn lists_that_a_host_passes_or_gets_are_shared() {
    let mut m = ModuleBuilder::new("t");
    let make = m.signature(&[ANY_T], Some(ANY_T));
    let id = m.declare("same", make, None);
    let mut f = m.define(id);
    let list = f.param(0);
    f.return_cell(list);
    f.finish(&mut m);
    let mut i = instance(&m.finish(), true);
    i.enter(|ctx| {
        let list = ctx.new_list_int([1, 2]).expect("memory");
        assert!(!ctx.list_is_shared(list.as_list().expect("a list")));
        let list = ctx.root(list);
        let result = ctx.call_named("same", &[list]).expect("no trap");
        for root in [list, result] {
            assert!(ctx.list_is_shared(ctx.get(root).as_list().expect("a list")));
        }
    });
}

#[test]
fn thousands_of_small_modules_live_in_one_instance() {
    let mut engine_config = common::config();
    engine_config.hosts.function("twice", |_: &mut HostContext<'_>, x: i64| Ok(2 * x));
    let engine = upshift::Engine::new(engine_config);
    let mut i = engine.empty(upshift::Grants::none(), Limits::default()).expect("an instance");
    for k in 0..2_000i64 {
        let mut m = ModuleBuilder::new(format!("form {k}"));
        let sig = m.signature(&[Int], Some(Int));
        let twice = m.host("twice", sig);
        let global = m.global("seen", Int);
        let text = m.string(&format!("text number {k}"));
        let string = m.module.types.cell(HeapType::String);
        // Every form redefines `step`: x -> 2x + length of a string of its own.
        function(&mut m, "step", &[Int], Some(Int), |_, f| {
            let (x, s, n) = (f.param(0), f.cell(string), f.int());
            f.int_move(Reg::window(0), x);
            f.call_host_int(x, twice);
            f.string_const(s, text);
            f.string_len(n, s);
            f.int_add(x, x, n);
            f.global_int_set(x, global);
            f.global_int_get(n, global);
            f.return_int(n);
        });
        let module = engine.load(&m.finish()).expect("it loads");
        i.load(&module).expect("memory");
        let f = i.function::<(i64,), i64>("step").expect("the function");
        let digits = k.to_string().len() as i64;
        assert_eq!(i.call(&f, (k,)).expect("no trap"), 2 * k + 12 + digits);
    }
}

#[test]
fn equal_types_of_different_modules_meet() {
    // One module makes a closure, another calls it under a type of its own with the same structure.
    let engine = upshift::Engine::new(common::config());
    let build = |names: &[&str]| {
        let mut m = ModuleBuilder::new("m");
        // Different modules number their types differently.
        for name in names {
            let _ = m.string(name);
            m.module.types.cell(HeapType::Tuple(names.len() as u16));
        }
        m
    };
    let mut a = build(&["x"]);
    let float_sig = a.signature(&[Float], Some(Float));
    let int_sig = a.signature(&[Int], Some(Int));
    let global_a = a.global("shared", ANY_T);
    let _ = global_a;
    let half = a.declare("half", float_sig, Some(vec![]));
    let mut f = a.define(half);
    let (x, y) = (f.param(0), f.float());
    f.load_float(y, 0.5);
    f.float_mul(x, x, y);
    f.return_float(x);
    f.finish(&mut a);
    function(&mut a, "make", &[], Some(ANY_T), |m, f| {
        let ty = m.module.types.cell(HeapType::Closure(float_sig));
        let c = f.cell(ty);
        f.closure_new(c, half);
        f.return_cell(c);
    });
    let _ = int_sig;
    let mut b = build(&["x", "y", "z"]);
    let sig = b.signature(&[Float], Some(Float));
    let other = b.signature(&[Int], Some(Float));
    for (name, sig) in [("apply", sig), ("misapply", other)] {
        function(&mut b, name, &[ANY_T], Some(ANY_T), |m, f| {
            let ty = m.module.types.cell(HeapType::Closure(sig));
            let (any, c, x, r) = (f.param(0), f.cell(ty), f.float(), f.cell(ANY));
            f.cell_cast(c, any, ty);
            f.load_float(x, 5.0);
            if name == "apply" {
                f.float_move(Reg::window(0), x);
            } else {
                let n = f.int();
                f.load_int(n, 5);
                f.int_move(Reg::window(0), n);
            }
            f.call_closure_float(x, c);
            f.box_float(r, x);
            f.return_cell(r);
        });
    }
    let (a, b) = (engine.load(&a.finish()).expect("it loads"), engine.load(&b.finish()).expect("it loads"));
    let mut i = engine.empty(upshift::Grants::none(), Limits::default()).expect("an instance");
    i.load(&a).expect("memory");
    i.load(&b).expect("memory");
    i.enter(|ctx| {
        let half = ctx.call_named("make", &[]).expect("no trap");
        let result = ctx.call_named("apply", &[half]).expect("no trap");
        assert_eq!(ctx.get(result).as_float(), Some(2.5));
        assert_eq!(ctx.call_named("misapply", &[half]).expect_err("a trap").code(), TrapCode::BadCast);
        assert_eq!(ctx.call_named("nobody", &[]).expect_err("a trap").code(), TrapCode::InvalidArgument);
    });
}
