//! What later languages need and no front end uses yet, run end to end: watches, names, arities, feedback, tuples, caught
//! overflows of the stack, and depth of dynamic code. What allocates also runs with a collection at every allocation.

mod common;

use common::{function, function_of, guarded_plus, instance, instance_with};
use upshift::bytecode::ValueType::{Cell, Int};
use upshift::bytecode::builder::{FunctionBuilder, ModuleBuilder, Reg};
use upshift::bytecode::{
    ANY, Callee, CellConst, Field, FuncId, HeapType, HostId, Immediate, Kind, NumberPolicy, Protocol,
    Signature, SwitchKey, TrapCode, TrapSet, TruthMask, ValueType,
};
use upshift::feedback::{MEGAMORPHIC, OVERFLOW, RESULT_MANY, RESULT_NONE, SLOW};
use upshift::{Engine, Grants, HostContext, HostRegistry, Limits, Ret, Trap};

const ANY_T: ValueType = Cell(ANY);
const STRESS: [bool; 2] = [false, true];

fn boxed(f: &mut FunctionBuilder, value: i64) -> Reg {
    let (raw, cell) = (f.int(), f.cell(ANY));
    f.load_int(raw, value);
    f.box_int(cell, raw);
    cell
}

/// A module with `add(a, b)` and `around(a, b)`, which adds, has `plus` redefined as a product, and adds again.
fn watching(name: &str) -> upshift::bytecode::Module {
    let mut m = ModuleBuilder::new(name);
    let none = m.signature(&[], None);
    let redefine: HostId = m.host("redefine", none);
    let watch = m.watch("plus");
    let other = m.watch("minus");
    let plus = function(&mut m, "plus", &[Int, Int], Some(Int), |_, f| {
        let (a, b) = (f.param(0), f.param(1));
        f.int_mul(a, a, b);
        f.return_int(a);
    });
    function(&mut m, &format!("add-{name}"), &[Int, Int], Some(Int), |_, f| {
        let (a, b, r) = (f.param(0), f.param(1), f.int());
        guarded_plus(f, watch, plus, r, a, b);
        f.return_int(r);
    });
    function(&mut m, &format!("around-{name}"), &[Int, Int], Some(Int), |_, f| {
        let (a, b, first, second) = (f.param(0), f.param(1), f.int(), f.int());
        let intact = f.label();
        guarded_plus(f, watch, plus, first, a, b);
        f.call_host_void(redefine);
        guarded_plus(f, watch, plus, second, a, b);
        f.int_mul_imm_checked(first, first, 1000);
        f.int_add(first, first, second);
        let bumped = f.label();
        f.watch_branch(other, bumped);
        f.jump(intact);
        f.bind(bumped);
        f.load_int(first, -1);
        f.bind(intact);
        f.return_int(first);
    });
    m.finish()
}

#[test]
fn a_bumped_watch_ends_the_inline_meaning() {
    let mut config = common::config();
    config.hosts.function("redefine", |ctx: &mut HostContext<'_>| -> Result<(), Trap> {
        assert!(ctx.bump_watch("plus"));
        assert!(!ctx.bump_watch("times"));
        Ok(())
    });
    let engine = Engine::new(config);
    let modules = ["a", "b"].map(|name| engine.load(&watching(name)).expect("it loads"));
    let mut instances = [(); 2].map(|()| {
        let mut i = engine.empty(Grants::none(), Limits::default()).expect("an instance");
        for module in &modules {
            i.load(module).expect("memory");
        }
        i
    });
    let [i, untouched] = &mut instances;
    let add = |i: &mut upshift::Instance, name: &str| {
        let f = i.function::<(i64, i64), i64>(name).expect("the function");
        i.call(&f, (5, 6)).expect("no trap")
    };
    assert_eq!((add(i, "add-a"), add(i, "add-b")), (11, 11));
    assert_eq!(add(i, "around-a"), 11_030);
    // All code that watches the name sees it, in both modules; the other instance has its own.
    assert_eq!((add(i, "add-a"), add(i, "add-b"), add(i, "around-b")), (30, 30, 30_030));
    assert_eq!((add(untouched, "add-a"), add(untouched, "around-b")), (11, 11_030));
}

#[test]
fn names_are_one_in_all_modules() {
    let engine = Engine::new(common::config());
    // Other names come first, so the tables of the modules differ.
    let mut a = ModuleBuilder::new("a");
    for text in ["x", "y"] {
        a.name(text, 1);
    }
    let given = [("red", 1), ("green", 1), ("red", 2), ("violet", 1)];
    for (k, (text, kind)) in given.into_iter().enumerate() {
        let name = a.name(text, kind);
        function(&mut a, &format!("give{k}"), &[], Some(ANY_T), |m, f| {
            let ty = m.module.types.cell(HeapType::Name);
            let c = f.cell(ty);
            f.name_const(c, name);
            f.return_cell(c);
        });
    }
    let mut b = ModuleBuilder::new("b");
    let keys = [b.name("green", 1), b.name("red", 2), b.name("red", 1), b.name("blue", 1)];
    function(&mut b, "which", &[ANY_T], Some(Int), |_, f| {
        let (c, r) = (f.param(0), f.int());
        let labels: Vec<_> = keys.iter().map(|_| f.label()).collect();
        let default = f.label();
        let names = keys.iter().zip(&labels).map(|(k, l)| (SwitchKey::Name(*k), *l));
        let small = f.label();
        let cases = names.chain([(SwitchKey::Int(7), small)]).collect();
        let table = f.switch_table(cases, default);
        f.cell_switch(c, table);
        for (k, l) in labels.into_iter().chain([small]).enumerate() {
            f.bind(l);
            f.load_int(r, k as i64);
            f.return_int(r);
        }
        f.bind(default);
        f.load_int(r, -1);
        f.return_int(r);
    });
    function(&mut b, "same", &[ANY_T], Some(Int), |m, f| {
        let ty = m.module.types.cell(HeapType::Name);
        let (c, own, r) = (f.param(0), f.cell(ty), f.int());
        f.name_const(own, keys[2]);
        f.cell_identical(r, c, own);
        f.return_int(r);
    });
    let (a, b) = (engine.load(&a.finish()).expect("it loads"), engine.load(&b.finish()).expect("it loads"));
    // The order of loading differs, too.
    for order in [[&a, &b], [&b, &a]] {
        let mut i = engine.empty(Grants::none(), Limits::default()).expect("an instance");
        for module in order {
            i.load(module).expect("memory");
        }
        i.enter(|ctx| {
            let expected = [(2, 1), (0, 0), (1, 0), (-1, 0)];
            for (k, ((text, kind), (case, same))) in given.into_iter().zip(expected).enumerate() {
                let name = ctx.call_named(&format!("give{k}"), &[]).expect("no trap");
                let (found, spelled) = ctx.get(name).as_name().expect("a name");
                assert_eq!((&*spelled, found), (text, kind));
                assert!(ctx.get(name).identical(ctx.name(kind, text)));
                let which = ctx.call_named("which", &[name]).expect("no trap");
                assert_eq!(ctx.get(which).as_int(), Some(case), "{text} {kind}");
                let equal = ctx.call_named("same", &[name]).expect("no trap");
                assert_eq!(ctx.get(equal).as_int(), Some(same));
            }
            let (seven, eight) = (ctx.int(7).expect("small"), ctx.int(8).expect("small"));
            for (value, case) in [(ctx.root(seven), 4), (ctx.root(eight), -1)] {
                let which = ctx.call_named("which", &[value]).expect("no trap");
                assert_eq!(ctx.get(which).as_int(), Some(case));
            }
        });
    }
}

/// Adds a function object with answers for one argument, two ints, and three and more; `make` gives it.
fn many_arities(m: &mut ModuleBuilder) -> FuncId {
    let any_list = m.module.types.cell(HeapType::ListCell(ANY));
    let one_sig = m.signature(&[ANY_T], Some(ANY_T));
    let two_sig = m.signature(&[Int, Int], Some(Int));
    let params = vec![ANY_T, ANY_T, ANY_T, Cell(any_list)];
    let more_sig = m.intern_signature(Signature { params, rest: true, result: Some(Int) });
    let one = m.declare("one", one_sig, Some(vec![ANY]));
    let more = m.declare_arity(one, "more", more_sig);
    let two = m.declare_arity(one, "two", two_sig);
    let mut f = m.define(one);
    let captured = f.cell(ANY);
    f.capture_get(captured, 0);
    f.return_cell(captured);
    f.finish(m);
    let mut f = m.define(two);
    let (a, b) = (f.param(0), f.param(1));
    f.int_add(a, a, b);
    f.return_int(a);
    f.finish(m);
    let mut f = m.define(more);
    let (list, n) = (f.param(3), f.int());
    f.list_len(n, list);
    f.int_add_imm(n, n, 100);
    f.return_int(n);
    f.finish(m);
    function(m, "make", &[], Some(ANY_T), |m, f| {
        let ty = m.module.types.cell(HeapType::Closure(one_sig));
        let (c, forty) = (f.cell(ty), boxed(f, 40));
        f.cell_move(FunctionBuilder::cell_arguments(1)[0], forty);
        f.closure_new(c, one);
        f.return_cell(c);
    });
    one
}

#[test]
fn host_functions_reach_every_arity() {
    for stress in STRESS {
        let mut m = ModuleBuilder::new("t");
        let head = many_arities(&mut m);
        // The function object has the type of closures of its head, and of no other answer.
        for (k, function_id) in [head, FuncId(head.0 + 1), FuncId(head.0 + 2)].into_iter().enumerate() {
            let signature = m.module.functions[function_id.index()].signature;
            function(&mut m, &format!("is{k}"), &[ANY_T], Some(Int), |m, f| {
                let ty = m.module.types.cell(HeapType::Closure(signature));
                let (c, r) = (f.param(0), f.int());
                f.cell_test(r, c, ty);
                f.return_int(r);
            });
        }
        let mut i = instance(&m.finish(), stress);
        i.enter(|ctx| {
            let function = ctx.call_named("make", &[]).expect("no trap");
            for (count, expected) in [(1, 40), (2, 1), (3, 100), (4, 101), (20, 117)] {
                let args: Vec<_> = (0..count)
                    .map(|k| {
                        let k = ctx.int(k).expect("a small int");
                        ctx.root(k)
                    })
                    .collect();
                let result = ctx.call(function, &args).expect("no trap");
                assert_eq!(ctx.get(result).as_int(), Some(expected), "{count}");
            }
            // Outside of all modules there is no protocol to ask.
            let none = ctx.call(function, &[]).expect_err("no answer");
            assert_eq!(none.code(), TrapCode::TypeMismatch);
            for (k, expected) in [1, 0, 0].into_iter().enumerate() {
                let is = ctx.call_named(&format!("is{k}"), &[function]).expect("no trap");
                assert_eq!(ctx.get(is).as_int(), Some(expected), "{k}");
            }
        });
    }
}

/// The bits of these kinds.
fn kinds(kinds: &[Kind]) -> u16 {
    kinds.iter().fold(0, |set, &k| set | 1 << k as u16)
}

#[test]
fn feedback_says_what_sites_saw() {
    let mut m = ModuleBuilder::new("t");
    let results = m.module.types.cell(HeapType::Results);
    let pair = m.signature(&[ANY_T, ANY_T], Some(ANY_T));
    let first = function_of(&mut m, "first", pair, |_, f| {
        let a = f.param(0);
        f.return_cell(a);
    });
    for entry in [Protocol::Add, Protocol::Call, Protocol::Arity, Protocol::FieldGet] {
        m.module.protocol.set(entry, Callee::Function(first));
    }
    // Site 0 adds, 1 calls with one argument, 2 with two, 3 reads a field.
    function(&mut m, "add", &[ANY_T, ANY_T], Some(ANY_T), |_, f| {
        let (a, b, site) = (f.param(0), f.param(1), f.feedback());
        f.cell_add(a, a, b, NumberPolicy::PROMOTE, site);
        f.return_cell(a);
    });
    for count in 1..3u16 {
        let params = vec![ANY_T; usize::from(count) + 1];
        function(&mut m, &format!("call{count}"), &params, Some(Cell(results)), |_, f| {
            let (callee, r, site) = (f.param(0), f.cell(results), f.feedback());
            for (k, w) in FunctionBuilder::cell_arguments(usize::from(count)).into_iter().enumerate() {
                let arg = f.param(k + 1);
                f.cell_move(w, arg);
            }
            f.cell_call(r, callee, count, NumberPolicy::default(), site);
            f.return_cell(r);
        });
    }
    let field = m.name("size", 0);
    function(&mut m, "get", &[ANY_T], Some(ANY_T), |_, f| {
        let (a, site) = (f.param(0), f.feedback());
        f.cell_field_get(a, a, NumberPolicy::default(), field, site);
        f.return_cell(a);
    });
    many_arities(&mut m);
    // Five callees: three give a value, one none, one many.
    let answer = m.signature(&[ANY_T], Some(Cell(results)));
    let closure = m.module.types.cell(HeapType::Closure(answer));
    for k in 0..5 {
        let id = m.declare(&format!("answer{k}"), answer, Some(vec![]));
        let mut f = m.define(id);
        let (a, r) = (f.param(0), f.cell(results));
        match k {
            3 => f.load_cell(r, CellConst::Immediate(Immediate::None)),
            4 => {
                f.results_clear();
                f.results_push(a);
                f.results_push(a);
                f.load_cell(r, CellConst::Immediate(Immediate::Many));
            }
            _ => f.cell_move(r, a),
        }
        f.return_cell(r);
        f.finish(&mut m);
        function(&mut m, &format!("closure{k}"), &[], Some(ANY_T), |_, f| {
            let c = f.cell(closure);
            f.closure_new(c, id);
            f.return_cell(c);
        });
    }
    let records: Vec<_> = (0..2)
        .map(|k| {
            let fields = vec![Field { name: "size".into(), ty: Int }];
            m.record(&format!("r{k}"), 0, fields)
        })
        .collect();
    for (k, record) in records.into_iter().enumerate() {
        function(&mut m, &format!("record{k}"), &[], Some(ANY_T), |m, f| {
            let ty = m.module.types.cell(HeapType::Record(record));
            let c = f.cell(ty);
            f.load_int(Reg::window(0), 3);
            f.record_new(c, record);
            f.return_cell(c);
        });
    }
    let engine = Engine::new(common::config());
    // Something else comes first, so that numbers of sites and functions do not begin at 0.
    let before = engine.load(&watched_sites()).expect("it loads");
    let module = engine.load(&m.finish()).expect("it loads");
    let mut i = engine.empty(Grants::none(), Limits::default()).expect("an instance");
    i.load(&before).expect("memory");
    assert!(i.feedback(&module).is_empty());
    i.load(&module).expect("memory");
    assert_eq!(i.feedback(&module).len(), 4);
    assert!(i.feedback(&module).iter().all(|f| *f == Default::default()));

    let add = |i: &mut upshift::Instance, a: f64, b: i64, int: bool| {
        i.enter(|ctx| {
            let a = if int { ctx.int(a as i64).expect("memory") } else { ctx.float(a) };
            let a = ctx.root(a);
            let b = ctx.int(b).expect("memory");
            let b = ctx.root(b);
            ctx.call_named("add", &[a, b]).expect("no trap");
        });
    };
    add(&mut i, 1.0, 2, true);
    let site = i.feedback(&module)[0];
    assert_eq!((site.left, site.right, site.flags), (kinds(&[Kind::Int]), kinds(&[Kind::Int]), 0));
    add(&mut i, 1.5, 2, false);
    let site = i.feedback(&module)[0];
    assert_eq!(site.left, kinds(&[Kind::Int, Kind::Float]));
    assert_eq!((site.right, site.flags), (kinds(&[Kind::Int]), 0));
    add(&mut i, (1i64 << 62) as f64, i64::MAX, true);
    assert_eq!(i.feedback(&module)[0].flags, OVERFLOW | SLOW);

    let call = |i: &mut upshift::Instance, callee: &str, count: usize| {
        i.enter(|ctx| {
            let callee = ctx.call_named(callee, &[]).expect("no trap");
            let one = ctx.int(1).expect("a small int");
            let one = ctx.root(one);
            let args = [callee, one, one];
            ctx.call_named(&format!("call{count}"), &args[..=count]).expect("no trap");
        });
    };
    for k in 0..3 {
        for _ in 0..2 {
            call(&mut i, &format!("closure{k}"), 1);
        }
        let site = i.feedback(&module)[1];
        assert_eq!((site.cached, site.flags), (k + 1, 0), "{k}");
        assert_eq!(site.ids.iter().filter(|id| **id != 0).count(), usize::from(k) + 1);
    }
    call(&mut i, "closure3", 1);
    assert_eq!(i.feedback(&module)[1].flags, RESULT_NONE);
    call(&mut i, "closure4", 1);
    let site = i.feedback(&module)[1];
    assert_eq!((site.cached, site.flags), (4, RESULT_NONE | RESULT_MANY | MEGAMORPHIC));
    // A function object is one callee, whichever of its arities answers.
    call(&mut i, "make", 2);
    call(&mut i, "make", 2);
    let site = i.feedback(&module)[2];
    assert_eq!((site.cached, site.left, site.flags), (1, 0, 0));
    let none = i.feedback(&module)[3];
    assert_eq!(none, Default::default());
    for k in [0, 1, 0] {
        i.enter(|ctx| {
            let record = ctx.call_named(&format!("record{k}"), &[]).expect("no trap");
            let size = ctx.call_named("get", &[record]).expect("no trap");
            assert_eq!(ctx.get(size).as_int(), Some(3));
        });
    }
    let site = i.feedback(&module)[3];
    assert_eq!((site.cached, site.left, site.flags), (2, kinds(&[Kind::Record]), 0));
    assert_eq!((site.slots[0].kind, site.slots[1].kind), (1, 1));
}

/// A module with sites of its own.
fn watched_sites() -> upshift::bytecode::Module {
    let mut m = ModuleBuilder::new("before");
    function(&mut m, "sum", &[ANY_T], Some(ANY_T), |_, f| {
        let a = f.param(0);
        for _ in 0..3 {
            let site = f.feedback();
            f.cell_add(a, a, a, NumberPolicy::WRAP64, site);
        }
        f.return_cell(a);
    });
    m.finish()
}

#[test]
fn handlers_catch_stack_overflow_and_the_room_is_free_again() {
    for stress in STRESS {
        let mut hosts = HostRegistry::default();
        hosts.dynamic("call", |ctx, args| {
            let f = args.val(ctx, 0)?;
            let f = ctx.root(f);
            ctx.call(f, &[f]).map(Ret::Root)
        });
        let mut m = ModuleBuilder::new("t");
        m.module.catchable = TrapSet::default().with(TrapCode::StackOverflow);
        let any_sig = m.signature(&[ANY_T], Some(ANY_T));
        let call = m.host("call", any_sig);
        // Endless in the guest: each frame calls the next dynamically.
        let down = m.declare("down", any_sig, Some(vec![]));
        let mut f = m.define(down);
        let (own, r, site) = (f.param(0), f.cell(ANY), f.feedback());
        let results = m.module.types.cell(HeapType::Results);
        let any = f.cell(results);
        f.cell_move(FunctionBuilder::cell_arguments(1)[0], own);
        f.cell_call(any, own, 1, NumberPolicy::default(), site);
        f.cell_cast(r, any, ANY);
        f.return_cell(r);
        f.finish(&mut m);
        // Endless through the host, each a run of its own.
        let again = m.declare("again", any_sig, Some(vec![]));
        let mut f = m.define(again);
        let (own, r) = (f.param(0), f.cell(ANY));
        f.cell_move(FunctionBuilder::cell_arguments(1)[0], own);
        f.call_host_cell(r, call);
        f.return_cell(r);
        f.finish(&mut m);
        let depth = m.declare("depth", any_sig, None);
        let mut f = m.define(depth);
        let (n, r, one, stop) = (f.param(0), f.cell(ANY), boxed(&mut f, 1), f.label());
        let (minus, plus) = (f.feedback(), f.feedback());
        f.falsy_branch(n, TruthMask::ZERO, stop);
        f.cell_sub(r, n, one, NumberPolicy::WRAP64, minus);
        f.cell_move(FunctionBuilder::cell_arguments(1)[0], r);
        f.call_cell(r, depth);
        f.cell_add(n, r, one, NumberPolicy::WRAP64, plus);
        f.bind(stop);
        f.return_cell(n);
        f.finish(&mut m);
        let closure = m.module.types.cell(HeapType::Closure(any_sig));
        for (name, callee) in [("guest", down), ("host", again)] {
            // Catches three times; after each, so many frames fit again. The sum of what they count.
            function(&mut m, name, &[Int], Some(Int), |_, f| {
                let (n, sum, one, r, e) = (f.param(0), f.int(), f.int(), f.cell(ANY), f.cell(ANY));
                let c = f.cell(closure);
                f.load_int(sum, 0);
                for _ in 0..3 {
                    let (start, end, target) = (f.label(), f.label(), f.label());
                    f.closure_new(c, callee);
                    f.cell_move(FunctionBuilder::cell_arguments(1)[0], c);
                    f.bind(start);
                    f.cell_move(FunctionBuilder::cell_arguments(1)[0], c);
                    f.call_host_cell(r, call);
                    f.return_int(sum);
                    f.bind(end);
                    f.bind_reachable(target);
                    f.handler(start, end, target, e);
                    f.box_int(r, n);
                    f.cell_move(FunctionBuilder::cell_arguments(1)[0], r);
                    f.call_cell(r, depth);
                    f.unbox_int(one, r);
                    f.int_add(sum, sum, one);
                }
                f.return_int(sum);
            });
        }
        let limits = Limits::default().stack(256 << 10);
        let mut i = instance_with(&m.finish(), hosts, limits, stress);
        for name in ["guest", "host"] {
            let f = i.function::<(i64,), i64>(name).expect("the function");
            assert_eq!(i.call(&f, (1_000,)).expect("caught"), 3_000, "{name}");
        }
    }
}

#[test]
fn tuples_keep_bits_and_identity_when_they_move() {
    for stress in STRESS {
        let mut hosts = HostRegistry::default();
        hosts.dynamic("hash", |ctx, args| {
            let val = args.val(ctx, 0)?;
            let tuple = val.as_tuple().expect("a tuple");
            assert_eq!((tuple.tuple_kind(), tuple.len()), (5, 2));
            let hash = ctx.identity_hash(val).expect("an object");
            Ok(Ret::Int(i64::from(hash)))
        });
        let mut m = ModuleBuilder::new("t");
        let tuple = m.module.types.cell(HeapType::Tuple(5));
        let ints = m.module.types.cell(HeapType::ListInt);
        let hash_sig = m.signature(&[ANY_T], Some(Int));
        let hash = m.host("hash", hash_sig);
        // keep(n): two tuples with bits, n allocations in between; 1000 where a hash changed or both are equal, else the
        // bits and the content.
        function(&mut m, "keep", &[Int], Some(Int), |_, f| {
            let (n, r, x) = (f.param(0), f.int(), f.int());
            let (a, b, l, c) = (f.cell(tuple), f.cell(tuple), f.cell(ints), f.cell(ANY));
            let slots = FunctionBuilder::cell_arguments(2);
            for (t, value) in [(a, 20), (b, 40)] {
                let content = boxed(f, value);
                f.cell_move(slots[0], content);
                f.cell_move(slots[1], content);
                f.tuple_new(t, 2, 5);
            }
            f.tuple_set_bits(a, 0b101);
            f.tuple_set_bits(b, 0x8000);
            let hashes: Vec<Reg> = [a, b]
                .into_iter()
                .map(|t| {
                    let h = f.int();
                    f.cell_move(slots[0], t);
                    f.call_host_int(h, hash);
                    h
                })
                .collect();
            f.tuple_set_bits(a, 0b010);
            let (head, wrong) = (f.label(), f.label());
            f.load_int(x, 0);
            f.begin_loop(head);
            f.list_int_new(l, 10);
            f.list_int_push(l, x);
            f.int_for_loop(x, n, head);
            for (t, h) in [(a, hashes[0]), (b, hashes[1])] {
                f.cell_move(slots[0], t);
                f.call_host_int(x, hash);
                f.int_ne_branch(x, h, wrong);
            }
            f.int_eq_branch(hashes[0], hashes[1], wrong);
            f.tuple_bits(r, a);
            f.tuple_bits(x, b);
            f.int_add(r, r, x);
            f.load_int(x, 1);
            for t in [a, b] {
                f.tuple_get(c, t, x);
                let y = f.int();
                f.unbox_int(y, c);
                f.int_add(r, r, y);
            }
            f.return_int(r);
            f.bind(wrong);
            f.load_int(r, 1000);
            f.return_int(r);
        });
        let mut i = instance_with(&m.finish(), hosts, Limits::default(), stress);
        let f = i.function::<(i64,), i64>("keep").expect("the function");
        let before = i.heap_stats().minor;
        assert_eq!(i.call(&f, (if stress { 100 } else { 100_000 },)).expect("no trap"), 7 + 0x8000 + 60);
        assert!(i.heap_stats().minor > before + 2, "{:?}", i.heap_stats());
    }
}

/// `main(n)` counts down to zero by dynamic calls and back up.
fn counting() -> upshift::bytecode::Module {
    let mut m = ModuleBuilder::new("t");
    let results = m.module.types.cell(HeapType::Results);
    let sig = m.signature(&[ANY_T], Some(ANY_T));
    let count = m.declare("count", sig, Some(vec![]));
    let mut f = m.define(count);
    let (n, own, stop) = (f.param(0), f.environment().expect("a closure"), f.label());
    let (r, any, one) = (f.cell(results), f.cell(ANY), f.cell(ANY));
    let sites = [f.feedback(), f.feedback(), f.feedback()];
    f.falsy_branch(n, TruthMask::ZERO.with(TruthMask::FLOAT_ZERO), stop);
    f.load_cell(one, CellConst::Float(1.0));
    f.cell_sub(any, n, one, NumberPolicy::PROMOTE, sites[0]);
    f.cell_move(FunctionBuilder::cell_arguments(1)[0], any);
    f.cell_call(r, own, 1, NumberPolicy::default(), sites[1]);
    f.cell_cast(any, r, ANY);
    f.cell_add(any, any, one, NumberPolicy::PROMOTE, sites[2]);
    f.return_cell(any);
    f.bind(stop);
    f.return_cell(n);
    f.finish(&mut m);
    function(&mut m, "main", &[Int], Some(Int), |m, f| {
        let ty = m.module.types.cell(HeapType::Closure(sig));
        let (n, c, arg, r, any) = (f.param(0), f.cell(ty), f.cell(ANY), f.cell(results), f.cell(ANY));
        let (x, site) = (f.float(), f.feedback());
        f.closure_new(c, count);
        f.box_int(arg, n);
        f.cell_move(FunctionBuilder::cell_arguments(1)[0], arg);
        f.cell_call(r, c, 1, NumberPolicy::default(), site);
        f.cell_cast(any, r, ANY);
        f.unbox_number(x, any);
        f.int_from_float(n, x);
        f.return_int(n);
    });
    m.finish()
}

#[test]
fn a_million_frames_of_dynamic_code_live() {
    for (stress, depth) in [(false, 1_000_000), (true, 300)] {
        let mut i = instance(&counting(), stress);
        let f = i.function::<(i64,), i64>("main").expect("the function");
        for _ in 0..2 {
            assert_eq!(i.call(&f, (depth,)).expect("no trap"), depth);
        }
    }
}

#[test]
fn dynamic_calls_do_not_run_out_of_native_stack() {
    use upshift::InterruptHandle;
    use upshift_runtime::instance::{Instance, InstanceConfig};
    use upshift_runtime::linked::{self, Tables};
    use upshift_runtime::value::Value;
    let tables = Tables::default();
    let linked = linked::link(&counting(), &tables, &|_| None).expect("it links");
    let mut config = InstanceConfig::default();
    // Guest frames for a native stack of many times this size, if each took eight bytes of it.
    config.native_stack = 512 << 10;
    config.stack = 64 << 20;
    let run = common::run();
    let instance = Instance::new(&config, tables, Grants::none(), InterruptHandle::default(), run);
    let mut instance = instance.expect("an instance");
    let _tiers = common::install(&mut instance);
    instance.load(&linked).expect("it loads");
    let main = linked.function_named("main").expect("the function");
    let call = |instance: &mut Instance, n: i64| {
        instance.call_function(main, None, &[Value::small_int(n).expect("small")]).map_err(|e| e.code())
    };
    assert_eq!(call(&mut instance, 300_000), Ok(Value::small_int(300_000).expect("small")));
    assert_eq!(call(&mut instance, 10_000_000), Err(TrapCode::StackOverflow));
    assert_eq!(call(&mut instance, 300_000), Ok(Value::small_int(300_000).expect("small")));
}
