//! Functions in SSA form, before and after the passes, in the evaluator.
//!
//! The function may come from anywhere: what the verifier takes, the passes must take, and leave in order. What it does is compared where
//! it works on values alone. Memory is left to programs of the builder: passes rely on what it says of classes and shapes, which
//! a text may contradict without breaking a rule.
//!
//! Passes may leave for the interpreter where a loop is entered and nothing of it was done, although a check fails later. Such an end is
//! right if the function came by there with the same frames.

use std::collections::BTreeSet;

use upshift_bytecode::testing::Random;
use upshift_optimizer::eval::{Memory, Outcome, Question, World, evaluate};
use upshift_optimizer::ir::{Function, Op, SiteData, State, Type};
use upshift_optimizer::text::print;
use upshift_optimizer::{passes, verify};
use upshift_runtime::value::Value as Cell;

/// Functions with more instructions are not tried.
const SIZE: usize = 3_000;
/// Sets of arguments.
const RUNS: u64 = 6;
/// Instructions of a run before the passes; after them ten times as many.
const FUEL: u64 = 10_000;

/// What a check came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Checked {
    /// The verifier refuses it, or it is too large.
    Refused,
    /// The passes left a whole function; so many runs were compared.
    Agree(u64),
    /// They did not, or it does something else.
    Differ(String),
}

/// Runs the passes on a function and compares. Panics of passes are not caught.
pub fn check(before: &Function, seed: u64) -> Checked {
    if before.insts.len() > SIZE || verify::verify(before).is_err() {
        return Checked::Refused;
    }
    let mut after = before.clone();
    passes::optimize(&mut after);
    if let Err(error) = verify::verify(&after) {
        return Checked::Differ(format!("after the passes: {error}\n{}\n{}", print(before), print(&after)));
    }
    if !plain(before) {
        return Checked::Agree(0);
    }
    let asking = asking(before);
    let mut compared = 0;
    for run in 0..RUNS {
        let mut r = Random(seed.wrapping_mul(RUNS).wrapping_add(run));
        let params = &before.blocks[before.entry()].params;
        let args: Vec<u64> = params.iter().map(|&p| argument(&mut r, before.ty(p))).collect();
        let (want, places) = ended(&asking, &args, FUEL);
        let Some(want) = want else { continue };
        let (got, _) = ended(&after, &args, FUEL * 10);
        compared += 1;
        let early = |got: &End| matches!(got, End::Left(_, place) if places.contains(place));
        if !got.as_ref().is_some_and(|got| *got == want || early(got)) {
            let (before, after) = (print(before), print(&after));
            return Checked::Differ(format!(
                "arguments {args:x?}\n{want:x?} before the passes\n{got:x?} after them\n{before}\n{after}"
            ));
        }
    }
    Checked::Agree(compared)
}

/// Whether it works on values alone.
fn plain(func: &Function) -> bool {
    func.layout.iter().flat_map(|&b| &func.blocks[b].insts).all(|&inst| {
        let info = func.insts[inst].op.info();
        let tables = matches!(func.insts[inst].op, Op::Context | Op::Constant | Op::Code);
        !(info.loads || info.stores || info.site || info.makes || info.string || tables)
    })
}

fn argument(r: &mut Random, ty: Type) -> u64 {
    let small = |n: i64| Cell::small_int(n).unwrap_or(Cell::NIL);
    let float = |r: &mut Random| match r.below(6) {
        0 => r.pick(&[0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 1e300]),
        _ => r.below(40) as f64 / 4.0 - 3.0,
    };
    match ty {
        Type::Int => match r.below(5) {
            0 => r.pick(&[i64::MAX, i64::MIN, i64::MAX - 1, 1 << 47, (1 << 31) - 1, -1]) as u64,
            1 => r.below(2000) as u64,
            _ => (r.below(12) as i64 - 3) as u64,
        },
        Type::Float => float(r).to_bits(),
        Type::Cell => match r.below(5) {
            0 => Cell::NIL.bits(),
            1 => Cell::float(float(r)).bits(),
            _ => small(r.below(12) as i64 - 3).bits(),
        },
        // Nothing reads there.
        Type::Ptr => 0,
    }
}

/// Frames, each with function and word, and what their slots hold.
type Place = (Vec<(u32, u32)>, Vec<(u32, u64)>);

#[derive(PartialEq, Eq, Debug)]
enum End {
    Return(Option<u64>),
    Left(&'static str, Place),
}

fn frames(func: &Function, state: State) -> Vec<(u32, u32)> {
    let states = std::iter::successors(Some(state), |&s| func.states[s].parent.expand());
    states.map(|s| (func.states[s].function, func.states[s].word)).collect()
}

/// The function that asks the world where a loop is entered and where it turns.
fn asking(func: &Function) -> Function {
    let mut func = func.clone();
    let site = func.sites.push(SiteData::plain(0));
    for inst in func.insts.values_mut().filter(|i| i.op == Op::Poll) {
        inst.op = Op::Routine;
        inst.site = site.into();
    }
    func
}

/// How a run ends, if it does and that can be compared, and where it asked.
fn ended(func: &Function, args: &[u64], fuel: u64) -> (Option<End>, BTreeSet<Place>) {
    let mut places = BTreeSet::new();
    let mut world = World::new(Memory::default());
    world.answers = Some(Box::new(|question: &Question<'_>, _: &mut Memory| {
        let state = question.inst.state.expand()?;
        places.insert((frames(func, state), question.slots.iter().map(|s| (s.0, s.2)).collect()));
        Some(None)
    }));
    let outcome = evaluate(func, args, &mut world, fuel);
    drop(world);
    let end = match outcome {
        Outcome::Return(bits) => Some(End::Return(bits.map(|b| canonical(func.result, b)))),
        Outcome::Left { state, reason, slots } => {
            Some(End::Left(reason.name(), (frames(func, state), slots)))
        }
        Outcome::OutOfFuel | Outcome::Unsupported(_) | Outcome::Fault(_) => None,
    };
    (end, places)
}

/// All NaN are one.
fn canonical(ty: Option<Type>, bits: u64) -> u64 {
    if ty == Some(Type::Float) && f64::from_bits(bits).is_nan() { f64::NAN.to_bits() } else { bits }
}
