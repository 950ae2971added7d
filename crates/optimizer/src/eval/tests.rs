//! The evaluator itself, and passes judged by it: random functions do the same before and after each pass and the whole pipeline.
//!
//! The same is: they end in the same way, with the same result or in the same frames with the same slots for the same reason, they ask
//! the same questions in the same order, and leave the same memory. Objects that a run makes are compared by what is
//! in them, since a pass may leave some out. What fails is reduced first. `SSA_SEEDS=n` tries so many functions, `SSA_FIRST=n`
//! begins there.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::random::{GLOBALS, Kind, PARAMS, Random, function};
use super::reduce::reduce;
use super::*;
use crate::passes;
use crate::text::{parse, print};
use crate::verify::verify;

/// Passes that may leave earlier than the function did, at a state whose instructions do again what was done.
const MAY_LEAVE_EARLIER: &[&str] = &["licm", "all"];

// ---- The objects of random functions ----

const RECORDS: [u64; 2] = [0x1000, 0x1100];
const REF_INTS: [u64; 2] = [0x2000, 0x2100];
const REF_FLOATS: [u64; 1] = [0x3000];
const LISTS: [u64; 2] = [0x4000, 0x4100];
const BUFFERS: [u64; 4] = [0x5000, 0x5100, 0x5200, 0x5300];
const TABLE: u64 = 0x6000;

fn memory(random: &mut Random) -> Memory {
    let mut memory = Memory::default();
    for at in RECORDS {
        let field = |random: &mut Random| {
            if random.one_in(4) { random.pick(&RECORDS) } else { random.cell().bits() }
        };
        let words = [ObjectKind::Record as u64, field(random), field(random), random.number() as u64];
        memory.put(at, &words);
    }
    for at in REF_INTS {
        memory.put(at, &[ObjectKind::RefInt as u64, random.number() as u64]);
    }
    for at in REF_FLOATS {
        memory.put(at, &[ObjectKind::RefFloat as u64, random.float().to_bits()]);
    }
    for (i, at) in LISTS.into_iter().enumerate() {
        memory.put(at, &[ObjectKind::ListInt as u64, random.below(5) as u64, BUFFERS[i]]);
    }
    for at in BUFFERS {
        let words: Vec<u64> = [4].into_iter().chain((0..4).map(|_| random.number() as u64)).collect();
        memory.put(at, &words);
    }
    memory.put(TABLE, &[random.number() as u64, random.float().to_bits(), random.cell().bits()]);
    memory
}

fn arguments(random: &mut Random) -> Vec<u64> {
    let argument = |kind: &Kind| match kind {
        Kind::Int => random.number() as u64,
        Kind::Float => random.float().to_bits(),
        Kind::Cell if random.one_in(3) => random.pick(&RECORDS),
        Kind::Cell => random.cell().bits(),
        Kind::Record => random.pick(&RECORDS),
        Kind::RefInt => random.pick(&REF_INTS),
        Kind::RefFloat => random.pick(&REF_FLOATS),
        Kind::List => random.pick(&LISTS),
    };
    PARAMS.iter().map(argument).collect()
}

/// Values of one point as text: an object that the run made has a number, by which another value that is the same one is known. Wide
/// ints may be made anew anywhere.
fn describe_together(memory: &Memory, values: &[(Type, u64)]) -> Vec<String> {
    let mut seen = Vec::new();
    let one = |&(ty, bits): &(Type, u64)| {
        let made = ty == Type::Cell && Cell::from_bits(bits).is_object() && bits >= FIRST_NEW;
        let wide = memory.objects.get(&bits).is_none_or(|bytes| bytes[0] == ObjectKind::WideInt as u8);
        let text = describe(memory, ty, bits, 3);
        if !made || wide {
            return text;
        }
        let number = seen.iter().position(|&s| s == bits).unwrap_or(seen.len());
        seen.push(bits);
        format!("#{number} {text}")
    };
    values.iter().map(one).collect()
}

/// A value as text, objects that the run made by what is in them.
fn describe(memory: &Memory, ty: Type, bits: u64, depth: usize) -> String {
    match ty {
        Type::Float if f64::from_bits(bits).is_nan() => "nan".into(),
        Type::Cell if Cell::from_bits(bits).is_object() && bits >= FIRST_NEW => {
            let Some(bytes) = memory.objects.get(&bits) else { return "dangling".into() };
            let words: Vec<u64> =
                bytes.chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
            let kind = ObjectKind::ALL[words[0] as usize];
            let types: &[Type] = match kind {
                ObjectKind::Record => &[Type::Cell, Type::Cell, Type::Int],
                ObjectKind::RefFloat => &[Type::Float],
                _ => &[Type::Int],
            };
            if depth == 0 {
                return format!("{kind:?}…");
            }
            let fields = types.iter().zip(&words[1..]);
            let fields: Vec<String> = fields.map(|(&t, &w)| describe(memory, t, w, depth - 1)).collect();
            format!("{kind:?}({})", fields.join(", "))
        }
        _ => print_bits(ty, bits),
    }
}

/// All that is there before a run, with what it holds now.
fn describe_all(memory: &Memory) -> String {
    let mut out = String::new();
    let mut object = |at: u64, types: &[Type]| {
        let words = memory.objects[&at].chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap()));
        let words: Vec<String> = words.zip(types).map(|(w, &t)| describe(memory, t, w, 4)).collect();
        let _ = writeln!(out, "    {at:#x}: {}", words.join(" "));
    };
    RECORDS.into_iter().for_each(|at| object(at, &[Type::Int, Type::Cell, Type::Cell, Type::Int]));
    REF_INTS.into_iter().for_each(|at| object(at, &[Type::Int, Type::Int]));
    REF_FLOATS.into_iter().for_each(|at| object(at, &[Type::Int, Type::Float]));
    LISTS.into_iter().for_each(|at| object(at, &[Type::Int, Type::Int, Type::Ptr]));
    BUFFERS.into_iter().for_each(|at| object(at, &[Type::Int; 5]));
    object(TABLE, &[Type::Int, Type::Float, Type::Cell]);
    out
}

/// Answers by what the site says that it does.
fn answer(log: &mut String, question: &Question<'_>, memory: &mut Memory) -> Option<Option<u64>> {
    let Question { inst, site, args, slots } = question;
    if inst.op == Op::Helper {
        let (a, b) = (args[0].1, args[1].1);
        let wide =
            [a, b].map(|c| (memory.load(c, Width::Int) == Some(ObjectKind::WideInt as u64)).then_some(c));
        let equal = match wide {
            [Some(a), Some(b)] => memory.load(a + 8, Width::Int) == memory.load(b + 8, Width::Int),
            _ => a == b,
        };
        return (inst.imm == Helper::CellIdentical as i64).then_some(Some(u64::from(equal)));
    }
    let _ = write!(log, "  routine {}", site.routine);
    args.iter().for_each(|&(ty, bits)| log.extend([" ", &describe(memory, ty, bits, 3)]));
    log.push_str(" [");
    let values: Vec<(Type, u64)> = slots.iter().map(|&(_, ty, bits)| (ty, bits)).collect();
    describe_together(memory, &values).iter().for_each(|text| log.extend([" ", text]));
    log.push_str("]\n");
    if site.effects.reads {
        log.push_str(&describe_all(memory));
    }
    // The log is the same up to here, or the runs differ anyway.
    let mut random = Random(log.len() as u64);
    if site.effects.writes {
        let at = random.pick(&RECORDS);
        memory.store(at + 8, Width::Cell, random.cell().bits())?;
        memory.store(at + 24, Width::Int, random.number() as u64)?;
        memory.store(random.pick(&BUFFERS) + 8, Width::Int, random.number() as u64)?;
        memory.store(random.pick(&LISTS) + 8, Width::Int, random.below(5) as u64)?;
        memory.store(random.pick(&LISTS) + 16, Width::Ptr, random.pick(&BUFFERS))?;
        if site.effects.calls {
            memory.store(random.pick(&REF_INTS) + 8, Width::Int, random.number() as u64)?;
            memory.store(random.pick(&REF_FLOATS) + 8, Width::Float, random.float().to_bits())?;
            memory.store(TABLE, Width::Int, random.number() as u64)?;
            // What the run made and gives away may change too: a call sees its operands, a routine what the frame holds.
            let given: Vec<(Type, u64)> = match inst.op {
                Op::Call => args.clone(),
                _ => {
                    let operand = |slot| site.uses.as_ref().is_none_or(|uses| uses.contains(slot));
                    slots.iter().filter(|s| operand(&s.0)).map(|&(_, ty, bits)| (ty, bits)).collect()
                }
            };
            for (_, cell) in given.into_iter().filter(|g| g.0 == Type::Cell) {
                let kind = memory.load(cell, Width::U8).map(|k| ObjectKind::ALL[k as usize]);
                match kind.filter(|_| Cell::from_bits(cell).is_object()) {
                    Some(ObjectKind::Record) => {
                        memory.store(cell + 24, Width::Int, random.number() as u64)?
                    }
                    Some(ObjectKind::RefInt | ObjectKind::RefFloat) => {
                        memory.store(cell + 8, Width::Int, random.number() as u64)?;
                    }
                    _ => {}
                }
            }
        }
    }
    Some(site.result.map(|ty| match ty {
        Type::Int | Type::Ptr => random.number() as u64,
        Type::Float => random.float().to_bits(),
        Type::Cell if random.one_in(3) => memory.allocate(&[ObjectKind::WideInt as u64, random.bits()]),
        Type::Cell => random.cell().bits(),
    }))
}

/// All that can be seen of a run; nothing where it takes too long.
fn run(func: &Function, seed: u64) -> Option<String> {
    let mut random = Random(seed);
    let mut log = String::new();
    let mut world = World::new(memory(&mut random));
    world.tables.insert((Op::Context as u8, GLOBALS), TABLE);
    let args = arguments(&mut random);
    world.answers = Some(Box::new(|question, memory| answer(&mut log, question, memory)));
    let outcome = evaluate(func, &args, &mut world, 20_000);
    let memory = std::mem::take(&mut world.memory);
    drop(world);
    let end = match outcome {
        Outcome::OutOfFuel => return None,
        Outcome::Return(bits) => {
            let value = bits.zip(func.result).map(|(bits, ty)| describe(&memory, ty, bits, 4));
            format!("return {}", value.unwrap_or_default())
        }
        Outcome::Left { state, reason, slots } => {
            let types = slot_types(func, state);
            let values: Vec<(Type, u64)> = slots.iter().map(|&(slot, bits)| (types[&slot], bits)).collect();
            let texts = describe_together(&memory, &values);
            let slots: Vec<String> =
                slots.iter().zip(texts).map(|((slot, _), text)| format!("{slot}: {text}")).collect();
            let mut frames = String::new();
            let mut next = Some(state);
            while let Some(state) = next {
                let data = &func.states[state];
                let _ = write!(frames, " {}:{}:{}", data.function, data.word, data.base);
                next = data.parent.expand();
            }
            format!("leave at{frames} {} [{}]", reason.name(), slots.join(", "))
        }
        // Both may be reached only where the function itself is wrong.
        Outcome::Unsupported(_) | Outcome::Fault(_) => format!("{outcome:?}"),
    };
    Some(format!("  {end}\n{}  log:\n{log}", describe_all(&memory)))
}

/// How often each function runs, each time with other arguments and objects.
const RUNS: u64 = 6;

fn run_seed(seed: u64, run: u64) -> u64 {
    seed << 8 | run
}

/// What a pass does wrong to a function.
fn difference(pass: &str, before: &Function, results: &[Option<String>], seed: u64) -> Option<String> {
    let mut func = before.clone();
    let done = catch_unwind(AssertUnwindSafe(|| match pass {
        "all" => passes::optimize(&mut func),
        name => assert!(passes::run_named(&mut func, name)),
    }));
    let wrong = |message: String| Some(format!("{message}\nafter\n{}", print(&func)));
    if done.is_err() {
        return wrong("panics".into());
    }
    if let Err(e) = verify(&func) {
        return wrong(format!("leaves a wrong function: {e}"));
    }
    for (i, expected) in results.iter().enumerate() {
        let Some(expected) = expected else { continue };
        let found = run(&func, run_seed(seed, i as u64)).unwrap_or_else(|| "out of fuel".into());
        let left = found.starts_with("  leave") && MAY_LEAVE_EARLIER.contains(&pass);
        if found != *expected && !left {
            let args = arguments_of(run_seed(seed, i as u64));
            return wrong(format!("run {i} differs, arguments {args}\nexpected\n{expected}\nfound\n{found}"));
        }
    }
    None
}

fn results(func: &Function, seed: u64) -> Vec<Option<String>> {
    (0..RUNS).map(|i| run(func, run_seed(seed, i))).collect()
}

fn is_wrong(result: &str) -> bool {
    result.starts_with("  Fault") || result.starts_with("  Unsupported")
}

fn check(pass: &str, before: &Function, expected: &[Option<String>], seed: u64) {
    if difference(pass, before, expected, seed).is_none() {
        return;
    }
    let reduced = reduce(before, |func| {
        let results = results(func, seed);
        !results.iter().flatten().any(|r| is_wrong(r)) && difference(pass, func, &results, seed).is_some()
    });
    let message = difference(pass, &reduced, &results(&reduced, seed), seed).unwrap_or_default();
    panic!("seed {seed}, {pass}, reduced:\n{}\n{message}", print(&reduced));
}

fn arguments_of(seed: u64) -> String {
    let mut random = Random(seed);
    memory(&mut random);
    let args = arguments(&mut random);
    let args: Vec<String> = PARAMS.iter().zip(args).map(|(k, a)| print_bits(k.ty(), a)).collect();
    args.join(", ")
}

#[test]
fn random_functions_do_the_same_after_passes() {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (first, count): (u64, u64) = (number("SSA_FIRST", 0), number("SSA_SEEDS", 2500));
    let (mut returned, mut left, mut wrong) = (0_u64, 0_u64, 0);
    for seed in first..first + count {
        // Small ones first: they fail with less to read.
        let size = 3 + (seed / 25).min(57) as usize;
        let func = function(&mut Random(seed), size);
        if let Err(e) = verify(&func) {
            panic!("seed {seed}: the generator made a wrong function: {e}\n{}", print(&func));
        }
        let results = results(&func, seed);
        for result in results.iter().flatten() {
            returned += u64::from(result.starts_with("  return"));
            left += u64::from(result.starts_with("  leave"));
            wrong += usize::from(result.starts_with("  Fault") || result.starts_with("  Unsupported"));
        }
        for pass in passes::PASSES.iter().map(|p| p.name).chain(["all"]) {
            check(pass, &func, &results, seed);
        }
        let text = print(&func);
        assert_eq!(parse(&text).map(|f| print(&f)).as_ref(), Ok(&text));
    }
    assert_eq!(wrong, 0, "the generator's functions keep to what ops assume");
    // Both ways to end are tried, and few runs are too long to compare.
    let runs = RUNS * count;
    assert!(
        count < 500 || (4 * returned > runs && 4 * left > runs),
        "of {runs}, {returned} returned, {left} left"
    );
}

// ---- The evaluator ----

fn eval(text: &str, args: &[u64]) -> String {
    let func = parse(text).unwrap();
    assert_eq!(verify(&func), Ok(()));
    evaluate(&func, args, &mut World::default(), 1000).show(&func).to_string()
}

#[test]
fn ends_that_are_no_results() {
    let endless = "function \"f\" {\nblock0:\njump block1\nblock1:\njump block1\n}";
    assert_eq!(eval(endless, &[]), "out of fuel");
    let divides = "function \"f\" -> int {\nblock0(v0: int, v1: int):\nv2 = idiv v0, v1\nreturn v2\n}";
    assert_eq!(eval(divides, &[7, 2]), "return 3");
    assert_eq!(eval(divides, &[7, 0]), "fault: `v2 = idiv v0, v1`: the quotient does not exist");
    let loads = "function \"f\" -> int {\nblock0(v0: cell):\nv1 = load.len.int v0 + 8\nreturn v1\n}";
    assert_eq!(eval(loads, &[0x1000]), "fault: `v1 = load.len.int v0 + 8`: 0x1008 is in no object");
    assert_eq!(eval(loads, &[u64::MAX]), "fault: `v1 = load.len.int v0 + 8`: 0x7 is in no object");
    let asks = "function \"f\" {\nblock0:\nv0 = constant 3\nreturn\n}";
    assert_eq!(eval(asks, &[]), "unsupported: constant");
}

#[test]
fn memory_has_ends() {
    let mut memory = Memory::default();
    memory.put(0x1000, &[1, 2]);
    assert_eq!(memory.load(0x1008, Width::Int), Some(2));
    assert_eq!(memory.load(0x100C, Width::U32), Some(0));
    assert_eq!(memory.load(0x100C, Width::Int), None);
    assert_eq!(memory.load(0xFFF, Width::U8), None);
    assert_eq!(memory.load(0x1010, Width::U8), None);
    assert_eq!(memory.store(0x1001, Width::U8, 0x1FF), Some(()));
    assert_eq!(memory.load(0x1000, Width::U16), Some(0xFF01));
    assert!(memory.allocate(&[5]) != memory.allocate(&[5]));
}
