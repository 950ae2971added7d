//! What is known of loops of large functions, and which of them are compiled.

use upshift_bytecode::ValueType::Int;
use upshift_bytecode::builder::ModuleBuilder;
use upshift_bytecode::ops::Role;
use upshift_bytecode::{Module, text};
use upshift_optimizer::build::{self, Facts, LIMIT, Options, Refusal, Start};
use upshift_optimizer::flow::{self, Flow};
use upshift_optimizer::ir::Op;
use upshift_optimizer::slots::Slots;

use super::World;
use super::events::What;
use crate::{Config, Engine, Grants, Instance, Limits, Tier};

fn instance(module: &Module, config: Config) -> Instance {
    let engine = Engine::new(config);
    let loaded = engine.load(module).expect("it loads");
    engine.instantiate(&loaded, Grants::none(), Limits::default()).expect("an instance")
}

/// A module, of which nothing ran.
fn world(module: &Module) -> World {
    let mut i = instance(module, Config::default());
    let (_, instance) = i.driver().expect("tiers");
    World::new(instance.modules().to_vec())
}

/// `nest(n)`: a loop that is too large, in it a loop with two loops in it; all turn n times. Gives what they count.
fn nest() -> Module {
    let mut m = ModuleBuilder::new("nest");
    let signature = m.signature(&[Int], Some(Int));
    let id = m.declare("nest", signature, None);
    let mut f = m.define(id);
    let n = f.param(0);
    let turns: Vec<_> = (0..4).map(|_| f.int()).collect();
    let (sum, tops) = (f.int(), (0..4).map(|_| f.label()).collect::<Vec<_>>());
    f.load_int(sum, 0);
    f.load_int(turns[0], 0);
    f.begin_loop(tops[0]);
    for _ in 0..LIMIT {
        f.int_add_imm_checked(sum, sum, 1);
    }
    f.load_int(turns[1], 0);
    f.begin_loop(tops[1]);
    for k in [2, 3] {
        f.load_int(turns[k], 0);
        f.begin_loop(tops[k]);
        // Not a sum that could be computed at once.
        f.int_xor(sum, sum, turns[k]);
        f.int_add_imm_checked(sum, sum, k as i16);
        f.int_for_loop(turns[k], n, tops[k]);
    }
    f.int_for_loop(turns[1], n, tops[1]);
    f.int_for_loop(turns[0], n, tops[0]);
    f.return_int(sum);
    f.finish(&mut m);
    m.finish()
}

/// Everything is compiled early, and waited for.
fn eager() -> Config {
    let mut config = Config::default();
    config.tiers.eager = true;
    config.tiers.sync = true;
    config.tiers.optimize_heat = 50;
    config
}

#[test]
fn the_outermost_loop_that_fits_is_optimized() {
    let module = nest();
    let run = |config: Config| {
        let mut i = instance(&module, config);
        let nest = i.function::<(i64,), i64>("nest").expect("the function");
        let results = [40, 41, 3].map(|n| i.call(&nest, (n,)).expect("no trap"));
        (results, i)
    };
    let (want, _) = run(Config { tier: Tier::Interpreter, ..Config::default() });
    // With room for the function's baseline code, and without.
    for room in [64 << 20, 192 << 10] {
        let mut config = eager();
        config.tiers.sample = 7;
        config.tiers.code_cache = room;
        let (got, i) = run(config);
        assert_eq!(got, want, "{room}");
        let c = i.tier_counters();
        let made = |osr| {
            i.tier_events().filter(move |e| matches!(e.what, What::Optimized { osr: o, .. } if o == osr))
        };
        // The inner loops, as far as they were found first, and the one around them; never the outermost, or the function.
        assert!((2..=3).contains(&made(true).count()) && made(false).count() == 0, "{room} {c:?}");
        // These are asked for once at the most.
        let refused: Vec<_> =
            i.tier_events().filter(|e| matches!(e.what, What::Refused { .. })).map(|e| &e.what).collect();
        let large = What::Refused { reason: "too large".into() };
        assert!(refused.len() <= 2 && refused.iter().all(|&what| *what == large), "{refused:?}");
        assert_eq!(c.compiled > 0, room > 1 << 20, "{c:?}");
        // Once in the loop around them, the inner ones are not entered alone: there is an entry for each turn of the outermost.
        assert!(c.osr_entries < 150, "{c:?}");
    }
}

#[test]
fn outlines_find_loops_by_their_extents() {
    let module = nest();
    let world = world(&module);
    let nest = (0..).find(|&f| world.function(f).is_some_and(|g| &*g.meta.name == "nest")).expect("nest");
    let outline = world.outline(nest).expect("the outline");
    let [outer, middle, first, second] = outline.loops[..] else { panic!("{:?}", outline.loops) };
    assert_eq!([outer.parent, middle.parent, first.parent, second.parent], [None, Some(0), Some(1), Some(1)]);
    assert_eq!((first.instructions, second.instructions), (4, 4));
    assert_eq!(middle.instructions, 12);
    assert!(outer.instructions > LIMIT && outline.instructions > outer.instructions);
    let innermost = |word| outline.innermost(word).map(|l| l.header);
    assert_eq!(innermost(0), None);
    assert_eq!(innermost(outer.header + 1), Some(outer.header));
    assert_eq!(innermost(first.end), Some(first.header));
    assert_eq!(innermost(first.end + 1), Some(middle.header));
    assert_eq!(innermost(second.header), Some(second.header));
    assert_eq!(innermost(outer.end), Some(outer.header));
    assert_eq!(innermost(outer.end + 2), None);
    let outermost = |header, limit| outline.outermost(header, limit).map(|l| l.header);
    assert_eq!(outermost(first.header, LIMIT), Some(middle.header));
    assert_eq!(outermost(second.header, 11), Some(second.header));
    assert_eq!(outermost(second.header, u32::MAX), Some(outer.header));
    assert_eq!((outermost(outer.header, LIMIT), outermost(first.header + 1, LIMIT)), (None, None));
    // The function and its outermost loop are refused for their size, the others are not.
    let refused = |start| build::build(&world, nest, start, Options::default()).err();
    assert_eq!(refused(Start::Function), Some(Refusal::TooLarge));
    assert_eq!(refused(Start::Loop(outer.header)), Some(Refusal::TooLarge));
    assert_eq!(refused(Start::Loop(middle.header)), None);
    assert_eq!(refused(Start::Loop(middle.header + 1)), Some(Refusal::Absent));
}

/// The slots that instructions between two words name.
fn named(world: &World, index: u32, from: u32, to: u32) -> Slots {
    let mut slots = Slots::default();
    let Some(guest) = world.function(index) else { return slots };
    for at in flow::words(guest.code, from, to) {
        if let Some(inst) = flow::instruction(guest.code, at) {
            flow::registers(&inst).for_each(|(slot, ..)| slots.insert(slot));
        }
    }
    slots
}

#[test]
fn of_a_loop_alone_is_known_what_is_known_in_its_function() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../filetests/run");
    let mut loops = 0;
    for file in std::fs::read_dir(folder).expect("the folder") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("the text");
        let Ok(module) = text::parse(&text) else { continue };
        // Some have host functions, which are not here.
        if Engine::new(Config::default()).load(&module).is_err() {
            continue;
        }
        let world = world(&module);
        for (index, guest) in (0..1_000).filter_map(|i| Some((i, world.function(i)?))) {
            if guest.meta.host.is_some() {
                continue;
            }
            let whole = Flow::new(&world, guest.meta, guest.code);
            let outline = world.outline(index).expect("the outline");
            assert_eq!(whole.loops.len(), outline.loops.len());
            for (l, extent) in whole.loops.iter().zip(&outline.loops) {
                loops += 1;
                assert_eq!((l.header, l.end), (extent.header, extent.end));
                let alone = Flow::region(&world, guest.meta, guest.code, extent);
                assert_eq!(alone.instructions, extent.instructions);
                let named = named(&world, index, l.header, l.end + 1);
                let of = |flow: &Flow, word| -> Vec<u32> {
                    flow.live_at(word).expect("known").iter().filter(|&s| named.contains(s)).collect()
                };
                for word in alone.blocks.iter().map(|b| b.start).chain(alone.outside.keys().copied()) {
                    let (got, want) = (of(&alone, word), of(&whole, word));
                    if guest.meta.handlers.is_empty() {
                        assert_eq!(got, want, "{} at {word}", guest.meta.name);
                    }
                    assert!(want.iter().all(|slot| got.contains(slot)), "{} at {word}", guest.meta.name);
                }
            }
        }
    }
    assert!(loops > 10, "there are loops: {loops}");
}

#[test]
fn what_is_used_far_behind_a_loop_is_live() {
    // far(n): a loop writes `used`, `unused` and `again`; instructions of another variable follow, more than a walk looks at, or few;
    // then `again` is written, and the result is of it and `used`.
    let far = |between: u32| {
        let mut m = ModuleBuilder::new("far");
        let signature = m.signature(&[Int], Some(Int));
        let id = m.declare("far", signature, None);
        let mut f = m.define(id);
        let (n, i, other, top) = (f.param(0), f.int(), f.int(), f.label());
        let [used, unused, again] = [f.int(), f.int(), f.int()];
        for r in [i, other, used, unused, again] {
            f.load_int(r, 0);
            f.int_add_imm_checked(r, r, 1);
        }
        f.begin_loop(top);
        f.int_xor(used, used, i);
        f.int_add_imm_checked(unused, used, 1);
        f.int_add_imm_checked(again, unused, 1);
        f.int_for_loop(i, n, top);
        for _ in 0..between {
            f.int_add_imm_checked(other, other, 1);
        }
        f.int_move(again, other);
        f.int_add_checked(used, used, again);
        f.return_int(used);
        f.finish(&mut m);
        m.finish()
    };
    for (between, wanted) in [(10, [true, false, false]), (LIMIT, [true; 3])] {
        let module = far(between);
        let world = world(&module);
        let index = (0..).find(|&f| world.function(f).is_some_and(|g| &*g.meta.name == "far")).expect("far");
        let guest = world.function(index).expect("far");
        let outline = world.outline(index).expect("the outline");
        let l = &outline.loops[0];
        let alone = Flow::region(&world, guest.meta, guest.code, l);
        // What the three sums write, in order.
        let written: Vec<u32> = flow::words(guest.code, l.header, l.end)
            .filter_map(|at| flow::instruction(guest.code, at))
            .flat_map(|inst| {
                flow::registers(&inst).filter(|r| r.1 == Role::Def).map(|r| r.0).collect::<Vec<_>>()
            })
            .collect();
        let live: Vec<bool> =
            alone.outside.values().flat_map(|live| written.iter().map(|&s| live.contains(s))).collect();
        assert_eq!(live, wanted, "{between}");
        let run = |config: Config| {
            let mut i = instance(&module, config);
            let far = i.function::<(i64,), i64>("far").expect("the function");
            let results = [1, 2, 1_000, 1_001].map(|n| i.call(&far, (n,)).expect("no trap"));
            (results, i.tier_counters().osr_entries)
        };
        let (want, _) = run(Config { tier: Tier::Interpreter, ..Config::default() });
        let mut config = eager();
        config.tiers.sample = 31;
        config.tiers.optimize_functions = false;
        let (got, entered) = run(config);
        assert_eq!(got, want, "{between}");
        assert!(entered > 0, "{between}");
    }
}

#[test]
fn constants_in_front_of_a_loop_alone_are_known_in_it() {
    let text = r#"
module "constants"
type1 = string
sig0 = (int, int) -> int
str0 "some text"
str1 "ab"
str2 "some other"

fn0 "count" sig0 {  ; (int, int) -> int
  cells c4: string, c5: string, c6: string
  raws i7, i8, i9
  code
    string.const c4, str0
    int.const i7, 1
    int.eq.branch i0, i7, L0
    string.const c4, str1
    int.const i7, 2
    int.eq.branch i0, i7, L0
    string.const c4, str2
L0:
    string.const c5, str0
    string.const c6, str1
    int.const i7, 0
    int.const i8, 0
    int.move i9, i1
    int.le.branch i9, i8, L5
L1:
    loop_header
    string.eq.branch c4, c5, L2
    string.ne.branch c4, c6, L3
L2:
    int.add_checked i7, i7, i8
    jump L4
L3:
    int.sub_checked i7, i7, i8
L4:
    int.for.loop i8, i9, L1
L5:
    return.int i7
}
"#;
    let module = text::parse(text).expect("a module");
    let world = world(&module);
    let count = (0..).find(|&f| world.function(f).is_some_and(|g| &*g.meta.name == "count")).expect("count");
    let header = world.outline(count).expect("the outline").loops[0].header;
    let func = build::build(&world, count, Start::Loop(header), Options::default()).expect("the loop");
    // The text, the two sums and the end come from the frame; the two constants do not.
    assert_eq!(func.params, [4, 7, 8, 9]);
    let made = |wanted| func.insts.values().filter(|inst| inst.op == wanted).count();
    assert_eq!(made(Op::Constant) + made(Op::Cconst), 2);
    // What the loop leaves is what the function gives, whichever code ran.
    let mut i = instance(&module, eager());
    let count = i.function::<(i64, i64), i64>("count").expect("the function");
    for (given, of_one) in [(1, 1), (2, 1), (3, -1)] {
        let want = of_one * (0..50_000).sum::<i64>();
        assert_eq!(i.call(&count, (given, 50_000)).expect("no trap"), want, "{given}");
    }
    assert!(i.tier_counters().osr_entries > 0);
}
