//! Loops with and without checks of positions.
//!
//! A loop that counts and checks whether positions that follow from its counter are inside of lists is copied, and which of the two runs is
//! decided where it is entered: the one that is kept runs where the first and the last position are inside, which `ranges.rs` then
//! finds out from the branch, so that its checks go; the copy has them all. Nothing is assumed, so nothing is given up where it does
//! not hold.
//!
//! This is the splitting of LLVM's inductive range check elimination, without the loops before and after: lists are nearly always long
//! enough for all turns or the program traps. Guards before the loop that leave to the interpreter would cost no code, but a program
//! whose loop stops before the end of a list that is too short would leave each time.
//!
//! Innermost, small loops that run from or to a value from outside, by steps of a constant or of a value from outside. Runs behind `licm.rs` and `ranges.rs`, before `ranges.rs` again.

use smallvec::SmallVec;

use super::copy::{close, copy, outside_uses};
use super::params::relayout;
use crate::cfg::{Cfg, Dominators, Loop, Loops};
use crate::ir::{Block, Class, Cond, Def, Function, InstData, Op, Target, Value};

/// The most instructions that a loop has.
const SIZE: usize = 80;
/// The most loops of a function.
const LOOPS: usize = 12;
/// The most conditions.
const CONDITIONS: usize = 5;
/// The most that a position differs from the counter.
const REACH: i64 = 1 << 20;

/// Runs the pass.
pub fn run(func: &mut Function) -> usize {
    let cfg = Cfg::new(func);
    let doms = Dominators::new(&cfg);
    let loops = Loops::new(func, &cfg, &doms);
    let plan = |func: &Function, id: Loop| plan(func, &cfg, &doms, &loops, id);
    let mut some: Vec<Loop> = loops.loops.keys().filter(|&id| plan(func, id).is_some()).take(LOOPS).collect();
    if some.is_empty() {
        return 0;
    }
    // All are closed before one is copied, and before what is compared is settled: what a loop defines may be used in another.
    let uses = outside_uses(func, &cfg, &loops, &some);
    some.retain(|&id| close(func, &cfg, &doms, &loops, id, &uses));
    let plans: Vec<Plan> = some.iter().filter_map(|&id| plan(func, id)).collect();
    plans.iter().for_each(|plan| split(func, &loops, plan));
    relayout(func);
    plans.len()
}

/// What has to hold.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Condition {
    /// The first is at most the second plus the constant.
    AtMost(Value, Value, i64),
    /// The first is at least the constant.
    AtLeast(Value, i64),
}

struct Plan {
    id: Loop,
    before: Block,
    conditions: SmallVec<[Condition; CONDITIONS]>,
}

/// What a counter changes by.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    /// A constant, which is not 0.
    Constant(i64),
    /// A value from outside of the loop: up, which has to hold.
    Up(Value),
}

/// A loop's counter.
struct Counter {
    param: Value,
    init: Value,
    step: Step,
}

struct Looking<'a> {
    func: &'a Function,
    loops: &'a Loops,
    id: Loop,
    /// The values that instructions of the loop define.
    inside: cranelift_entity::EntitySet<Value>,
}

impl Looking<'_> {
    fn outside(&self, value: Value) -> bool {
        match self.func.values[value].def {
            Def::Param(block, _) => !self.loops.contains(self.id, block),
            Def::Inst(_) => !self.inside.contains(value),
        }
    }

    /// x and c where a value is x + c.
    fn sum(&self, value: Value) -> (Value, i64) {
        let data = self.func.def(value);
        let constant = data.filter(|d| matches!(d.op, Op::Iadd | Op::IaddExit)).and_then(|d| {
            let c = self.func.int_const(d.args[1]).filter(|c| (-REACH..=REACH).contains(c))?;
            Some((d.args[0], c))
        });
        constant.unwrap_or((value, 0))
    }

    /// What a parameter changes by, where its next value is this.
    fn step(&self, param: Value, next: Value) -> Option<Step> {
        let (x, c) = self.sum(next);
        if x == param && c != 0 {
            return Some(Step::Constant(c));
        }
        let data = self.func.def(next).filter(|d| matches!(d.op, Op::Iadd | Op::IaddExit))?;
        let (a, b) = (data.args[0], data.args[1]);
        let step = if a == param { b } else { a };
        ((a == param) != (b == param) && self.outside(step)).then_some(Step::Up(step))
    }
}

/// Whether a loop is worth it, and what has to hold.
fn plan(func: &Function, cfg: &Cfg, doms: &Dominators, loops: &Loops, id: Loop) -> Option<Plan> {
    let data = &loops.loops[id];
    let header = data.header;
    let inner = loops.loops.values().any(|l| l.parent.expand() == Some(id));
    let size: usize = data.blocks.iter().map(|&b| func.blocks[b].insts.len()).sum();
    if inner || size > SIZE || func.blocks[header].cold {
        return None;
    }
    let mut entries = cfg.preds(header).iter().filter(|e| !doms.dominates(header, e.from));
    let (Some(entry), None) = (entries.next(), entries.next()) else { return None };
    let before = entry.from;
    if func.terminator(before).is_none_or(|i| func.insts[i].op != Op::Jump) {
        return None;
    }
    let mut look = Looking { func, loops, id, inside: cranelift_entity::EntitySet::new() };
    let insts = || data.blocks.iter().flat_map(|&b| &func.blocks[b].insts).map(|&i| &func.insts[i]);
    insts().filter_map(|d| d.result.expand()).for_each(|v| {
        look.inside.insert(v);
    });
    // Counters: parameters that each way back moves by the same constant.
    let mut counters: SmallVec<[Counter; 2]> = SmallVec::new();
    for (i, &param) in func.blocks[header].params.iter().enumerate() {
        if func.ty(param) != crate::ir::Type::Int {
            continue;
        }
        let mut step = None;
        let mut init = None;
        let mut regular = true;
        for edge in cfg.preds(header) {
            let arg = super::params::argument(func, edge.from, edge.target, i);
            if edge.from == before {
                init = Some(arg);
                continue;
            }
            let new = look.step(param, arg);
            regular &= new.is_some() && step.is_none_or(|s| Some(s) == new);
            step = new;
        }
        if let (true, Some(init), Some(step)) = (regular, init, step) {
            counters.push(Counter { param, init, step });
        }
    }
    if counters.is_empty() {
        return None;
    }
    // What the counters run to: x <= y + d in the turn that follows.
    let mut limits: SmallVec<[(Value, Value, i64); 4]> = SmallVec::new();
    for &block in &data.blocks {
        let Some(end) = func.terminator(block).map(|i| &func.insts[i]).filter(|d| d.op == Op::Branch) else {
            continue;
        };
        let stays = [0, 1].map(|t: usize| loops.contains(id, end.targets[t].block));
        let Some(test) = func.def(end.args[0]).filter(|d| d.op == Op::Icmp && stays[0] != stays[1]) else {
            continue;
        };
        let cond = if stays[0] { test.cond() } else { test.cond().negated() };
        let (x, y, d) = match cond {
            Cond::Lt => (test.args[0], test.args[1], -1),
            Cond::Le => (test.args[0], test.args[1], 0),
            Cond::Gt => (test.args[1], test.args[0], -1),
            Cond::Ge => (test.args[1], test.args[0], 0),
            _ => continue,
        };
        if look.outside(y) {
            limits.push((x, y, d));
        }
    }
    let mut conditions: SmallVec<[Condition; CONDITIONS]> = SmallVec::new();
    for data in insts().filter(|d| d.op == Op::Guard) {
        let Some(test) = func.def(data.args[0]).filter(|d| d.op == Op::Icmp && d.cond() == Cond::Ult) else {
            continue;
        };
        let len = test.args[1];
        let is_len = func
            .def(len)
            .is_some_and(|d| d.op == Op::Load && d.access.is_some_and(|a| a.class == Class::Len));
        if !is_len || !look.outside(len) {
            continue;
        }
        let (x, c) = look.sum(test.args[0]);
        let Some(counter) = counters.iter().find(|k| k.param == x) else { continue };
        let mut wanted: SmallVec<[Condition; 4]> = SmallVec::new();
        if !matches!(counter.step, Step::Constant(..0)) {
            // A test at the end is of the counter's next value, one at the start of its own.
            let limit = limits.iter().find_map(|&(x, y, d)| {
                let next = look.step(counter.param, x) == Some(counter.step);
                (next || x == counter.param).then_some((y, d, next))
            });
            let Some((y, d, behind)) = limit else { continue };
            if behind {
                wanted.push(Condition::AtMost(counter.init, y, d));
            }
            wanted.push(Condition::AtMost(y, len, -1 - c - d));
            wanted.push(Condition::AtLeast(counter.init, -c));
            if let Step::Up(step) = counter.step {
                wanted.push(Condition::AtLeast(step, 1));
            }
        } else {
            wanted.push(Condition::AtMost(counter.init, len, -1 - c));
        }
        for one in wanted {
            add(func, &mut conditions, one);
        }
    }
    let asks = conditions.iter().any(|c| matches!(c, Condition::AtMost(..)));
    (asks && conditions.len() <= CONDITIONS).then_some(Plan { id, before, conditions })
}

/// Adds a condition where none that is there says as much.
fn add(func: &Function, conditions: &mut SmallVec<[Condition; CONDITIONS]>, new: Condition) {
    if let Condition::AtLeast(x, c) = new
        && func.int_const(x).is_some_and(|k| k >= c)
    {
        return;
    }
    for old in conditions.iter_mut() {
        match (old, new) {
            (Condition::AtMost(x, y, c), Condition::AtMost(a, b, d)) if (*x, *y) == (a, b) => {
                *c = (*c).min(d);
                return;
            }
            (Condition::AtLeast(x, c), Condition::AtLeast(a, d)) if *x == a => {
                *c = (*c).max(d);
                return;
            }
            _ => {}
        }
    }
    conditions.push(new);
}

/// Makes the copy and the branch.
fn split(func: &mut Function, loops: &Loops, plan: &Plan) {
    let data = &loops.loops[plan.id];
    let copied = copy(func, &data.blocks);
    for &block in &data.blocks {
        let twin = copied.block(block);
        func.blocks[twin].cold = true;
        func.layout.push(twin);
    }
    let Some(jump) = func.blocks[plan.before].insts.pop() else { return };
    let args = func.insts[jump].targets[0].args.clone();
    let def = |func: &mut Function, data: InstData| -> Value {
        let (inst, value) = func.make(data);
        func.blocks[plan.before].insts.push(inst);
        value.unwrap_or(args[0])
    };
    let mut all = None;
    for condition in &plan.conditions {
        let test = match *condition {
            // The second is a list's length, or nothing is added to it but -1: that fits, or the sum is a larger number and the
            // comparison decides for the copy or is right all the same.
            Condition::AtMost(x, y, 0) => InstData::new(Op::Icmp, &[x, y]).imm(Cond::Le as i64),
            Condition::AtMost(x, y, -1) => InstData::new(Op::Icmp, &[x, y]).imm(Cond::Lt as i64),
            Condition::AtMost(x, y, c) => {
                let c = def(func, InstData::new(Op::Iconst, &[]).imm(c));
                let sum = def(func, InstData::new(Op::Iadd, &[y, c]));
                InstData::new(Op::Icmp, &[x, sum]).imm(Cond::Le as i64)
            }
            Condition::AtLeast(x, c) => {
                let c = def(func, InstData::new(Op::Iconst, &[]).imm(c));
                InstData::new(Op::Icmp, &[x, c]).imm(Cond::Ge as i64)
            }
        };
        let test = def(func, test);
        all = Some(match all {
            Some(before) => def(func, InstData::new(Op::Iand, &[before, test])),
            None => test,
        });
    }
    let Some(all) = all else { return };
    let fast = Target { block: data.header, args: args.clone() };
    let slow = Target { block: copied.block(data.header), args };
    func.append(plan.before, InstData::new(Op::Branch, &[all]).targets([fast, slow]));
}
