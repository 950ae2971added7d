//! Loops with and without checks.
//!
//! An innermost loop that counts is copied, and which of the two runs is decided where it is entered. What its ints can be follows from
//! the counter's first and last value, from values outside of the loop and from what they are computed by: each gets a least and a
//! greatest value, as expressions that are computed before the loop. Where these show that positions are inside of lists and that sums
//! and products fit, the loop that is kept runs, without these checks; the copy has them all. Nothing is assumed, so nothing is given
//! up where it does not hold.
//!
//! This joins the splitting of LLVM's inductive range check elimination, without the loops before and after, with interval arithmetic
//! at run time: lists are nearly always long enough for all turns or the program traps, and sums nearly always fit. Guards before the
//! loop that leave to the interpreter would cost no code, but a program whose loop stops before the end of a list that is too short
//! would leave each time.
//!
//! What is needed of a loop: one entry; a counter, which each way back moves by the same constant, or up by a value from outside; a
//! test of the counter's next value that each way back passes. An *accumulator* is a parameter to which each turn adds something: it
//! lies within its first value and the turns times the least and greatest of what is added. One that turns set anew, as a sum that each
//! turn reduces, lies within its first value and what it is set to.
//!
//! Runs behind `licm.rs` and `ranges.rs`, before `ranges.rs` again.

use std::collections::HashMap;

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use smallvec::SmallVec;

use super::bounds;
use super::copy::{close, copy, outside_uses};
use super::params::{argument, relayout};
use crate::cfg::{Analyses, Cfg, Dominators, Loop, Loops};
use crate::ir::{Block, Cond, Def, Function, Inst, InstData, Op, Target, Type, Value};

/// The most instructions that a loop has.
const SIZE: usize = 100;
/// The most loops of a function.
const LOOPS: usize = 12;
/// The most expressions that are computed before a loop.
const EXPRESSIONS: usize = 40;
/// The most conditions.
const CONDITIONS: usize = 16;
/// What has to be saved in a turn, in instructions.
const WORTH: usize = 2;
/// How deep definitions are followed.
const DEPTH: u32 = 24;
/// Values from outside are asked to lie within this of zero: sums and products of a few of them fit.
const NEAR: i64 = 1 << 31;
/// Likewise for the first values of accumulators.
const FAR: i64 = 1 << 61;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let (cfg, doms, loops) = analyses.loops(func);
    let plan = |func: &Function, id: Loop| Planner::plan(func, cfg, doms, loops, id);
    let mut some: Vec<Loop> = loops.loops.keys().filter(|&id| plan(func, id).is_some()).take(LOOPS).collect();
    if some.is_empty() {
        return 0;
    }
    // All are closed before one is copied, and before what is compared is settled: what a loop defines may be used in another.
    let uses = outside_uses(func, cfg, loops, &some);
    some.retain(|&id| close(func, cfg, doms, loops, id, &uses));
    let plans: Vec<Plan> = some.iter().filter_map(|&id| plan(func, id)).collect();
    plans.iter().for_each(|plan| split(func, loops, plan));
    relayout(func, analyses);
    plans.len()
}

/// An expression, by its number.
type Expr = u32;

/// What is computed before the loop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Expression {
    Constant(i64),
    /// A value from outside.
    Value(Value),
    Add(Expr, Expr),
    Sub(Expr, Expr),
    Mul(Expr, Expr),
    Shift(Expr, i64),
    Min(Expr, Expr),
    Max(Expr, Expr),
}

/// The least and the greatest value of something.
type Interval = (Expr, Expr);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition {
    /// The first is at most the second.
    AtMost(Expr, Expr),
    /// The first is less than the value.
    Below(Expr, Value),
    /// A value lies within so much of zero.
    Within(Value, i64),
}

/// What becomes of an instruction of the loop that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    /// A comparison holds.
    True(Inst),
    /// A choice is the second of the values.
    Second(Inst),
    /// A checked op does not leave.
    Unchecked(Inst),
}

struct Plan {
    id: Loop,
    before: Block,
    expressions: Vec<Expression>,
    /// Sums, differences and products that may not fit, so that is tested.
    tested: Vec<Expr>,
    conditions: SmallVec<[Condition; 8]>,
    changes: Vec<Change>,
}

/// What a counter changes by.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    /// A constant, which is not 0.
    Constant(i64),
    /// A value from outside of the loop: up, which has to hold.
    Up(Value),
}

/// Whether a choice has its first value, where the condition holds, or its second.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Chosen {
    Where,
    Unless,
}

struct Planner<'a> {
    func: &'a Function,
    cfg: &'a Cfg,
    doms: &'a Dominators,
    loops: &'a Loops,
    id: Loop,
    header: Block,
    before: Block,
    /// The blocks of the values that instructions of the loop define.
    inside: SecondaryMap<Value, PackedOption<Block>>,
    expressions: Vec<Expression>,
    numbers: HashMap<Expression, Expr>,
    /// What expressions are surely between, if the conditions hold.
    bounds: Vec<(i128, i128)>,
    conditions: SmallVec<[Condition; 8]>,
    /// Expressions from whose bounds something follows that mentions them no more.
    relied: Vec<Expr>,
    intervals: HashMap<Value, Option<Interval>>,
    /// How many turns there are at most.
    turns: Expr,
}

impl<'a> Planner<'a> {
    /// Whether a loop is worth it, and what has to hold.
    fn plan(
        func: &'a Function,
        cfg: &'a Cfg,
        doms: &'a Dominators,
        loops: &'a Loops,
        id: Loop,
    ) -> Option<Plan> {
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
        let insts = || data.blocks.iter().flat_map(|&b| &func.blocks[b].insts).copied();
        let checks = insts().any(|i| {
            let op = func.insts[i].op;
            matches!(op, Op::Guard | Op::IaddExit | Op::IsubExit | Op::ImulExit | Op::Branch)
        });
        if !checks {
            return None;
        }
        let mut planner = Planner {
            func,
            cfg,
            doms,
            loops,
            id,
            header,
            before,
            inside: SecondaryMap::new(),
            expressions: Vec::new(),
            numbers: HashMap::new(),
            bounds: Vec::new(),
            conditions: SmallVec::new(),
            relied: Vec::new(),
            intervals: HashMap::new(),
            turns: 0,
        };
        for &block in &data.blocks {
            let results = func.blocks[block].insts.iter().filter_map(|&i| func.insts[i].result.expand());
            results.for_each(|v| planner.inside[v] = block.into());
        }
        let (counter, (least, greatest)) = planner.counter(doms)?;
        planner.intervals.insert(counter, Some((least, greatest)));
        let one = planner.constant(1)?;
        let distance = planner.sub(greatest, least)?;
        planner.turns = planner.add(distance, one)?;
        let mut changes = Vec::new();
        let mut saved = 0;
        let warm = data.blocks.iter().filter(|&&b| !func.blocks[b].cold);
        for &inst in warm.flat_map(|&b| &func.blocks[b].insts) {
            // What an interval was found with stays asked for, whatever it is used for later.
            if let Some((some, worth)) = planner.change(inst) {
                changes.extend(some);
                saved += worth;
            }
            if planner.expressions.len() > EXPRESSIONS || planner.conditions.len() > CONDITIONS {
                return None;
            }
        }
        if saved < WORTH || changes.is_empty() {
            return None;
        }
        planner.finish(changes)
    }

    /// The expressions that conditions need, with the leaves' conditions, and what has to be tested.
    fn finish(mut self, changes: Vec<Change>) -> Option<Plan> {
        let mut needed = vec![false; self.expressions.len()];
        let mut work: Vec<Expr> = std::mem::take(&mut self.relied);
        for condition in &self.conditions {
            match *condition {
                Condition::AtMost(a, b) => work.extend([a, b]),
                Condition::Below(a, _) => work.push(a),
                Condition::Within(..) => {}
            }
        }
        for change in &changes {
            if let Change::Unchecked(inst) = *change
                && let Some(v) = self.func.insts[inst].result.expand()
                && let Some(&Some((a, b))) = self.intervals.get(&v)
            {
                work.extend([a, b]);
            }
        }
        let mut tested = Vec::new();
        let mut leaves = Vec::new();
        while let Some(e) = work.pop() {
            if std::mem::replace(&mut needed[e as usize], true) {
                continue;
            }
            let fits = |(a, b): (i128, i128)| a >= i128::from(i64::MIN) && b <= i128::from(i64::MAX);
            match self.expressions[e as usize] {
                Expression::Constant(_) => {}
                Expression::Value(v) => leaves.push((v, self.bounds[e as usize])),
                Expression::Add(a, b) | Expression::Sub(a, b) | Expression::Mul(a, b) => {
                    if !fits(self.exact(e)) {
                        tested.push(e);
                    }
                    work.extend([a, b]);
                }
                Expression::Shift(a, _) => work.push(a),
                Expression::Min(a, b) | Expression::Max(a, b) => work.extend([a, b]),
            }
        }
        tested.sort_unstable();
        for (v, (least, _)) in leaves {
            if bounds(self.func, v).is_none() {
                let condition = Condition::Within(v, if least == -i128::from(FAR) { FAR } else { NEAR });
                if !self.conditions.contains(&condition) {
                    self.conditions.push(condition);
                }
            }
        }
        if self.conditions.len() + tested.len() > CONDITIONS {
            return None;
        }
        Some(Plan {
            id: self.id,
            before: self.before,
            expressions: self.expressions,
            tested,
            conditions: self.conditions,
            changes,
        })
    }

    // ---- The counter ----

    fn outside(&self, value: Value) -> bool {
        match self.func.values[value].def {
            Def::Param(block, _) => !self.loops.contains(self.id, block),
            Def::Inst(_) => self.inside[value].is_none(),
        }
    }

    /// What a parameter changes by, where its next value is this.
    fn step(&self, param: Value, next: Value) -> Option<Step> {
        let data = self.func.def(next)?;
        match data.op {
            Op::Iadd | Op::IaddExit => {
                let (a, b) = (data.args[0], data.args[1]);
                let step = if a == param { b } else { a };
                if (a == param) == (b == param) {
                    return None;
                }
                match self.func.int_const(step) {
                    Some(c) => (c != 0 && c.unsigned_abs() < NEAR as u64).then_some(Step::Constant(c)),
                    None => self.outside(step).then_some(Step::Up(step)),
                }
            }
            Op::Isub | Op::IsubExit if data.args[0] == param => {
                let c = self.func.int_const(data.args[1])?.checked_neg()?;
                (c != 0 && c.unsigned_abs() < NEAR as u64).then_some(Step::Constant(c))
            }
            _ => None,
        }
    }

    /// A counter with the values that it has at the starts of turns.
    fn counter(&mut self, doms: &Dominators) -> Option<(Value, Interval)> {
        let func = self.func;
        let data = &self.loops.loops[self.id];
        for (i, &param) in func.blocks[self.header].params.iter().enumerate() {
            if func.ty(param) != Type::Int {
                continue;
            }
            // One value comes next, on all ways back.
            let (mut init, mut next, mut single) = (None, None, true);
            for edge in self.cfg.preds(self.header) {
                let arg = argument(func, edge.from, edge.target, i);
                if edge.from == self.before {
                    init = Some(arg);
                } else {
                    single &= next.is_none_or(|n| n == arg);
                    next = Some(arg);
                }
            }
            let (Some(init), Some(next), true) = (init, next, single) else { continue };
            let Some(step) = self.step(param, next) else { continue };
            for &block in &data.blocks {
                if !data.latches.iter().all(|&latch| doms.dominates(block, latch)) {
                    continue;
                }
                let Some(end) = func.terminator(block).map(|i| &func.insts[i]).filter(|d| d.op == Op::Branch)
                else {
                    continue;
                };
                let stays = [0, 1].map(|t: usize| self.loops.contains(self.id, end.targets[t].block));
                let Some(test) = func.def(end.args[0]).filter(|d| d.op == Op::Icmp && stays[0] != stays[1])
                else {
                    continue;
                };
                let mut cond = if stays[0] { test.cond() } else { test.cond().negated() };
                let (mut x, mut y) = (test.args[0], test.args[1]);
                if y == next {
                    (x, y) = (y, x);
                    cond = cond.swapped();
                }
                if x != next || !self.outside(y) {
                    continue;
                }
                let up = !matches!(step, Step::Constant(..0));
                // The next turn's counter is at most, or at least, this.
                let beside = match cond {
                    Cond::Lt if up => -1,
                    Cond::Le if up => 0,
                    Cond::Gt if !up => 1,
                    Cond::Ge if !up => 0,
                    _ => continue,
                };
                let first = self.leaf(init, NEAR)?;
                let limit = self.leaf(y, NEAR)?;
                let beside = self.constant(beside)?;
                let last = self.add(limit, beside)?;
                let interval = if up { (first, last) } else { (last, first) };
                self.require(Condition::AtMost(interval.0, interval.1))?;
                if let Step::Up(step) = step {
                    let (one, step) = (self.constant(1)?, self.leaf(step, NEAR)?);
                    self.require(Condition::AtMost(one, step))?;
                }
                return Some((param, interval));
            }
        }
        None
    }

    // ---- Expressions ----

    fn expression(&mut self, e: Expression) -> Option<Expr> {
        if let Some(&number) = self.numbers.get(&e) {
            return Some(number);
        }
        let number = self.expressions.len() as Expr;
        self.expressions.push(e);
        self.numbers.insert(e, number);
        // Wider than any i64 is of no use.
        let (a, b) = self.exact(number);
        let (low, high) = (i128::from(i64::MIN), i128::from(i64::MAX));
        self.bounds.push((a.clamp(low, high), b.clamp(low, high)));
        (a <= high && b >= low).then_some(number)
    }

    /// What an expression is between, where nothing wraps.
    fn exact(&self, e: Expr) -> (i128, i128) {
        let of = |e: Expr| self.bounds[e as usize];
        match self.expressions[e as usize] {
            Expression::Constant(c) => (c.into(), c.into()),
            Expression::Value(_) => {
                self.bounds.get(e as usize).copied().unwrap_or((-i128::from(NEAR), NEAR.into()))
            }
            Expression::Add(a, b) => (of(a).0 + of(b).0, of(a).1 + of(b).1),
            Expression::Sub(a, b) => (of(a).0 - of(b).1, of(a).1 - of(b).0),
            Expression::Mul(a, b) => {
                let (a, b) = (of(a), of(b));
                let all = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
                (all.into_iter().min().unwrap_or(0), all.into_iter().max().unwrap_or(0))
            }
            Expression::Shift(a, by) => (of(a).0 >> by, of(a).1 >> by),
            Expression::Min(a, b) => (of(a).0.min(of(b).0), of(a).1.min(of(b).1)),
            Expression::Max(a, b) => (of(a).0.max(of(b).0), of(a).1.max(of(b).1)),
        }
    }

    fn constant(&mut self, c: i64) -> Option<Expr> {
        self.expression(Expression::Constant(c))
    }

    /// A value from outside, which is then asked to be within `near` of zero, unless it is known to be.
    fn leaf(&mut self, value: Value, near: i64) -> Option<Expr> {
        if let Some(c) = self.func.int_const(value) {
            return self.constant(c);
        }
        let known = !self.numbers.contains_key(&Expression::Value(value));
        let e = self.expression(Expression::Value(value))?;
        if known {
            let (low, high) = bounds(self.func, value).unwrap_or((-near, near - 1));
            self.bounds[e as usize] = (low.into(), high.into());
        } else if self.bounds[e as usize].0 == -i128::from(FAR) && near < FAR {
            // Asked for more at another place.
            return None;
        }
        Some(e)
    }

    fn same(&self, e: Expr, c: i64) -> bool {
        self.expressions[e as usize] == Expression::Constant(c)
    }

    fn constants(&self, a: Expr, b: Expr) -> Option<(i64, i64)> {
        match (self.expressions[a as usize], self.expressions[b as usize]) {
            (Expression::Constant(a), Expression::Constant(b)) => Some((a, b)),
            _ => None,
        }
    }

    fn add(&mut self, a: Expr, b: Expr) -> Option<Expr> {
        match self.constants(a, b) {
            Some((x, y)) => self.constant(x.checked_add(y)?),
            None if self.same(a, 0) => Some(b),
            None if self.same(b, 0) => Some(a),
            None => match (self.expressions[a as usize], self.expressions[b as usize]) {
                // Constants stand behind, and are one: the next turn's counter ends with the limit itself.
                (Expression::Constant(_), Expression::Add(..)) => self.add(b, a),
                (Expression::Add(x, c), Expression::Constant(d))
                    if let Some((c, _)) = self.constants(c, c) =>
                {
                    let sum = self.constant(c.checked_add(d)?)?;
                    self.add(x, sum)
                }
                _ => self.expression(Expression::Add(a, b)),
            },
        }
    }

    fn sub(&mut self, a: Expr, b: Expr) -> Option<Expr> {
        match self.constants(a, b) {
            Some((x, y)) => self.constant(x.checked_sub(y)?),
            None if self.same(b, 0) => Some(a),
            None if a == b => self.constant(0),
            None => self.expression(Expression::Sub(a, b)),
        }
    }

    fn mul(&mut self, a: Expr, b: Expr) -> Option<Expr> {
        match self.constants(a, b) {
            Some((x, y)) => self.constant(x.checked_mul(y)?),
            None if self.same(a, 0) || self.same(b, 0) => self.constant(0),
            None if self.same(a, 1) => Some(b),
            None if self.same(b, 1) => Some(a),
            None => self.expression(Expression::Mul(a, b)),
        }
    }

    fn min(&mut self, a: Expr, b: Expr) -> Option<Expr> {
        let (x, y) = (self.bounds[a as usize], self.bounds[b as usize]);
        match () {
            () if a == b => Some(a),
            () if x.1 <= y.0 => self.relying(a, b, a),
            () if y.1 <= x.0 => self.relying(a, b, b),
            () => self.expression(Expression::Min(a, b)),
        }
    }

    fn max(&mut self, a: Expr, b: Expr) -> Option<Expr> {
        let (x, y) = (self.bounds[a as usize], self.bounds[b as usize]);
        match () {
            () if a == b => Some(a),
            () if x.0 >= y.1 => self.relying(a, b, a),
            () if y.0 >= x.1 => self.relying(a, b, b),
            () => self.expression(Expression::Max(a, b)),
        }
    }

    /// Notes that something follows from what two expressions are between, so that what they are computed from is asked to be so.
    fn relying<T>(&mut self, a: Expr, b: Expr, then: T) -> Option<T> {
        self.relied.extend([a, b]);
        Some(then)
    }

    /// Adds a condition, where it is not known to hold; nothing where it cannot.
    fn require(&mut self, condition: Condition) -> Option<()> {
        if let Condition::AtMost(a, b) = condition {
            let (x, y) = (self.bounds[a as usize], self.bounds[b as usize]);
            if a == b {
                return Some(());
            }
            if x.1 <= y.0 {
                return self.relying(a, b, ());
            }
            if x.0 > y.1 {
                return None;
            }
        }
        if !self.conditions.contains(&condition) {
            self.conditions.push(condition);
        }
        Some(())
    }

    fn at_least_zero(&mut self, e: Expr) -> Option<()> {
        let zero = self.constant(0)?;
        self.require(Condition::AtMost(zero, e))
    }

    // ---- Values of the loop ----

    /// What a value is between.
    fn interval(&mut self, value: Value, depth: u32) -> Option<Interval> {
        if let Some(&known) = self.intervals.get(&value) {
            return known;
        }
        if depth == 0 || self.expressions.len() > EXPRESSIONS || self.func.ty(value) != Type::Int {
            return None;
        }
        // Where it comes back here there is no answer.
        self.intervals.insert(value, None);
        let found = self.compute(value, depth - 1);
        self.intervals.insert(value, found);
        found
    }

    fn compute(&mut self, value: Value, depth: u32) -> Option<Interval> {
        if self.outside(value) {
            let e = self.leaf(value, NEAR)?;
            return Some((e, e));
        }
        let func = self.func;
        let data = match func.values[value].def {
            Def::Param(block, i) if block == self.header => {
                return self.accumulator(value, i as usize, depth);
            }
            Def::Param(block, i) => {
                let mut all: Option<Interval> = None;
                for edge in self.cfg.preds(block) {
                    let v = argument(func, edge.from, edge.target, i as usize);
                    let next = self.interval(v, depth)?;
                    all = Some(match all {
                        None => next,
                        Some(old) => (self.min(old.0, next.0)?, self.max(old.1, next.1)?),
                    });
                }
                return all;
            }
            Def::Inst(inst) => &func.insts[inst],
        };
        match data.op {
            Op::Iadd | Op::IaddExit => {
                let (a, b) = (self.interval(data.args[0], depth)?, self.interval(data.args[1], depth)?);
                Some((self.add(a.0, b.0)?, self.add(a.1, b.1)?))
            }
            Op::Isub | Op::IsubExit => {
                let (a, b) = (self.interval(data.args[0], depth)?, self.interval(data.args[1], depth)?);
                Some((self.sub(a.0, b.1)?, self.sub(a.1, b.0)?))
            }
            Op::Imul | Op::ImulExit => {
                let (a, b) = (self.interval(data.args[0], depth)?, self.interval(data.args[1], depth)?);
                self.product(a, b)
            }
            Op::Ishl => {
                let by = self.func.int_const(data.args[1]).filter(|c| (0..31).contains(c))?;
                let (a, power) = (self.interval(data.args[0], depth)?, self.constant(1 << by)?);
                Some((self.mul(a.0, power)?, self.mul(a.1, power)?))
            }
            Op::IshrS => {
                let by = self.func.int_const(data.args[1]).filter(|c| (0..63).contains(c))?;
                let a = self.interval(data.args[0], depth)?;
                Some((
                    self.expression(Expression::Shift(a.0, by))?,
                    self.expression(Expression::Shift(a.1, by))?,
                ))
            }
            Op::Imin | Op::Imax => {
                let (a, b) = (self.interval(data.args[0], depth)?, self.interval(data.args[1], depth)?);
                Some(match data.op {
                    Op::Imin => (self.min(a.0, b.0)?, self.min(a.1, b.1)?),
                    _ => (self.max(a.0, b.0)?, self.max(a.1, b.1)?),
                })
            }
            Op::SelectInt => {
                let a = self.chosen(data.args[0], data.args[1], Chosen::Where, depth)?;
                let b = self.chosen(data.args[0], data.args[2], Chosen::Unless, depth)?;
                Some((self.min(a.0, b.0)?, self.max(a.1, b.1)?))
            }
            _ => {
                let (a, b) = bounds(self.func, value)?;
                Some((self.constant(a)?, self.constant(b)?))
            }
        }
    }

    /// What a value is between where a condition holds, or where it does not.
    fn chosen(&mut self, test: Value, value: Value, chosen: Chosen, depth: u32) -> Option<Interval> {
        let all = self.interval(value, depth)?;
        let Some(data) = self.func.def(test).filter(|d| d.op == Op::Icmp) else { return Some(all) };
        let (mut cond, other) = match data.args[..] {
            [a, b] if a == value => (data.cond(), b),
            [a, b] if b == value => (data.cond().swapped(), a),
            _ => return Some(all),
        };
        if chosen == Chosen::Unless {
            cond = cond.negated();
        }
        match self.interval(other, depth) {
            Some(other) => self.narrowed(all, cond, other),
            None => Some(all),
        }
    }

    /// What something is between that compares like this with something else.
    fn narrowed(&mut self, all: Interval, cond: Cond, other: Interval) -> Option<Interval> {
        let (least, greatest) = other;
        let (one, back) = (self.constant(1)?, self.constant(-1)?);
        Some(match cond {
            Cond::Lt => (all.0, {
                let most = self.add(greatest, back)?;
                self.min(all.1, most)?
            }),
            Cond::Le => (all.0, self.min(all.1, greatest)?),
            Cond::Gt => (
                {
                    let few = self.add(least, one)?;
                    self.max(all.0, few)?
                },
                all.1,
            ),
            Cond::Ge => (self.max(all.0, least)?, all.1),
            // An end of the interval, which it then is not.
            Cond::Ne if least == greatest && all.1 == least => (all.0, self.add(all.1, back)?),
            Cond::Ne if least == greatest && all.0 == least => (self.add(all.0, one)?, all.1),
            _ => all,
        })
    }

    fn product(&mut self, a: Interval, b: Interval) -> Option<Interval> {
        let single = |i: Interval| i.0 == i.1;
        let (a, b) = if single(a) { (b, a) } else { (a, b) };
        if single(b) {
            let (x, y) = (self.mul(a.0, b.0)?, self.mul(a.1, b.0)?);
            let known = self.bounds[b.0 as usize];
            return match () {
                () if known.0 >= 0 => Some((x, y)),
                () if known.1 <= 0 => Some((y, x)),
                () => Some((self.min(x, y)?, self.max(x, y)?)),
            };
        }
        self.at_least_zero(a.0)?;
        self.at_least_zero(b.0)?;
        Some((self.mul(a.0, b.0)?, self.mul(a.1, b.1)?))
    }

    /// A parameter of the header to which each turn adds something, or which it sets anew.
    fn accumulator(&mut self, param: Value, i: usize, depth: u32) -> Option<Interval> {
        let mut init = None;
        let mut added: Option<Interval> = None;
        let mut set: Option<Interval> = None;
        for edge in self.cfg.preds(self.header) {
            let arg = argument(self.func, edge.from, edge.target, i);
            if edge.from == self.before {
                init = Some(arg);
                continue;
            }
            let (known, next) = match self.added(param, arg, depth) {
                Some(more) => (&mut added, more),
                None => (&mut set, self.interval(arg, depth)?),
            };
            let next = match *known {
                None => next,
                Some(old) => (self.min(old.0, next.0)?, self.max(old.1, next.1)?),
            };
            *known = Some(next);
        }
        let init = self.leaf(init?, if added.is_some() { FAR } else { NEAR })?;
        let start = match set {
            None => (init, init),
            Some(set) => (self.min(init, set.0)?, self.max(init, set.1)?),
        };
        let Some(added) = added else { return Some(start) };
        let zero = self.constant(0)?;
        let (down, up) = (self.min(added.0, zero)?, self.max(added.1, zero)?);
        let (down, up) = (self.mul(down, self.turns)?, self.mul(up, self.turns)?);
        Some((self.add(start.0, down)?, self.add(start.1, up)?))
    }

    /// What a value is more than a parameter.
    fn added(&mut self, param: Value, value: Value, depth: u32) -> Option<Interval> {
        if value == param {
            let zero = self.constant(0)?;
            return Some((zero, zero));
        }
        let depth = depth.checked_sub(1)?;
        if self.outside(value) {
            return None;
        }
        let func = self.func;
        let data = match func.values[value].def {
            Def::Param(block, _) if block == self.header => return None,
            Def::Param(block, i) => {
                let mut all: Option<Interval> = None;
                for edge in self.cfg.preds(block) {
                    let v = argument(func, edge.from, edge.target, i as usize);
                    let next = self.added(param, v, depth)?;
                    all = Some(match all {
                        None => next,
                        Some(old) => (self.min(old.0, next.0)?, self.max(old.1, next.1)?),
                    });
                }
                return all;
            }
            Def::Inst(inst) => &func.insts[inst],
        };
        match data.op {
            Op::Iadd | Op::IaddExit => {
                for (a, b) in [(data.args[0], data.args[1]), (data.args[1], data.args[0])] {
                    if let Some(old) = self.added(param, a, depth) {
                        let more = self.interval(b, depth)?;
                        return Some((self.add(old.0, more.0)?, self.add(old.1, more.1)?));
                    }
                }
                None
            }
            Op::Isub | Op::IsubExit => {
                let old = self.added(param, data.args[0], depth)?;
                let less = self.interval(data.args[1], depth)?;
                Some((self.sub(old.0, less.1)?, self.sub(old.1, less.0)?))
            }
            Op::SelectInt => {
                let (a, b) =
                    (self.added(param, data.args[1], depth)?, self.added(param, data.args[2], depth)?);
                Some((self.min(a.0, b.0)?, self.max(a.1, b.1)?))
            }
            _ => None,
        }
    }

    // ---- Checks ----

    /// What branches of the turn say where a value of the loop is defined, and so wherever it is used: what compares how with what.
    fn told(&self, value: Value) -> SmallVec<[(Cond, Value, Value); 4]> {
        let mut told = SmallVec::new();
        let Some(mut at) = self.inside[value].expand() else { return told };
        while at != self.header
            && let Some(above) = self.doms.idom(at)
        {
            if let Some(edge) = self.doms.way_in(self.cfg, at)
                && let Some(end) = self.func.terminator(edge.from).map(|i| &self.func.insts[i])
                && end.op == Op::Branch
                && end.targets[0].block != end.targets[1].block
                && let Some(test) = self.func.def(end.args[0]).filter(|d| d.op == Op::Icmp)
            {
                let cond = if edge.target == 0 { test.cond() } else { test.cond().negated() };
                told.push((cond, test.args[0], test.args[1]));
            }
            at = above;
        }
        told
    }

    /// What a value is between where comparisons are known to hold: of itself, of what it is a sum or difference of.
    fn interval_where(
        &mut self,
        value: Value,
        told: &[(Cond, Value, Value)],
        depth: u32,
    ) -> Option<Interval> {
        let mut all = self.interval(value, DEPTH)?;
        for &(cond, a, b) in told {
            let (cond, other) = match () {
                () if a == value => (cond, b),
                () if b == value => (cond.swapped(), a),
                () => continue,
            };
            if let Some(other) = self.interval(other, DEPTH) {
                all = self.narrowed(all, cond, other)?;
            }
        }
        let data = match self.func.values[value].def {
            Def::Inst(inst) if depth > 0 && !told.is_empty() && !self.outside(value) => {
                &self.func.insts[inst]
            }
            _ => return Some(all),
        };
        let (least, greatest) = match data.op {
            Op::Iadd | Op::IaddExit => {
                let a = self.interval_where(data.args[0], told, depth - 1)?;
                let b = self.interval_where(data.args[1], told, depth - 1)?;
                (self.add(a.0, b.0)?, self.add(a.1, b.1)?)
            }
            Op::Isub | Op::IsubExit => {
                let (x, y) = (data.args[0], data.args[1]);
                let a = self.interval_where(x, told, depth - 1)?;
                let b = self.interval_where(y, told, depth - 1)?;
                let mut least = self.sub(a.0, b.1)?;
                // The difference of what is greater and what is less.
                for &(cond, a, b) in told {
                    let cond = if (a, b) == (x, y) { cond } else { cond.swapped() };
                    let by = match cond {
                        Cond::Ge => 0,
                        Cond::Gt => 1,
                        _ => continue,
                    };
                    if (a, b) == (x, y) || (b, a) == (x, y) {
                        let by = self.constant(by)?;
                        least = self.max(least, by)?;
                    }
                }
                (least, self.sub(a.1, b.0)?)
            }
            _ => return Some(all),
        };
        Some((self.max(all.0, least)?, self.min(all.1, greatest)?))
    }

    /// What becomes of an instruction, and what that saves, in instructions; conditions are added.
    fn change(&mut self, inst: Inst) -> Option<(SmallVec<[Change; 2]>, usize)> {
        let func = self.func;
        let data = &func.insts[inst];
        match data.op {
            Op::IaddExit | Op::IsubExit | Op::ImulExit => {
                let v = data.result.expand()?;
                // What the op itself is computed from, and that it fits.
                self.interval(v, DEPTH)?;
                Some((SmallVec::from_slice(&[Change::Unchecked(inst)]), 1))
            }
            Op::Guard | Op::Branch => {
                let Def::Inst(test) = func.values[data.args[0]].def else { return None };
                let compares = &func.insts[test];
                if compares.op != Op::Icmp || compares.cond() != Cond::Ult {
                    return None;
                }
                let (mut position, len) = (compares.args[0], compares.args[1]);
                if !self.outside(len) || self.outside(position) {
                    return None;
                }
                // Of other branches nobody knows which way is the usual one.
                if data.op == Op::Branch && func.def(len).is_none_or(|d| d.op != Op::AsciiLen) {
                    return None;
                }
                let mut changes: SmallVec<[Change; 2]> = SmallVec::from_slice(&[Change::True(test)]);
                let mut worth = 2;
                // What is changed serves all its users, so what is asked must hold where the first of it is defined.
                let mut first = data.args[0];
                // Positions that count from the end where they are negative.
                if let Def::Inst(choice) = func.values[position].def
                    && func.insts[choice].op == Op::SelectInt
                    && let [c, _, x] = func.insts[choice].args[..]
                    && let Some(negative) = func.def(c).filter(|d| d.op == Op::Icmp && d.cond() == Cond::Lt)
                    && negative.args[0] == x
                    && func.int_const(negative.args[1]) == Some(0)
                {
                    (first, position) = (position, x);
                    changes.push(Change::Second(choice));
                    worth += 2;
                }
                // A check that some turns do not come to holds for those that do.
                let told = self.told(first);
                let (least, greatest) = self.interval_where(position, &told, 2)?;
                self.at_least_zero(least)?;
                self.require(Condition::Below(greatest, len))?;
                Some((changes, worth))
            }
            _ => None,
        }
    }
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
    let mut emit = Emit { func, block: plan.before, plan, values: vec![None; plan.expressions.len()] };
    let mut all = None;
    for condition in &plan.conditions {
        let test = emit.condition(*condition);
        all = Some(emit.both(all, test));
    }
    for &e in &plan.tested {
        let test = emit.fits(e);
        all = Some(emit.both(all, test));
    }
    let all = match all {
        Some(all) => all,
        None => emit.iconst(1),
    };
    let zero = emit.iconst(0);
    let fast = Target { block: data.header, args: args.clone() };
    let slow = Target { block: copied.block(data.header), args };
    func.append(plan.before, InstData::new(Op::Branch, &[all]).targets([fast, slow]));
    // The loop that is kept.
    for change in &plan.changes {
        match *change {
            Change::True(inst) => {
                let result = func.insts[inst].result;
                func.insts[inst] = InstData { result, ..InstData::new(Op::Iconst, &[]).imm(1) };
            }
            Change::Second(inst) => func.insts[inst].args[0] = zero,
            Change::Unchecked(inst) => {
                let data = &func.insts[inst];
                let op = match data.op {
                    Op::IaddExit => Op::Iadd,
                    Op::IsubExit => Op::Isub,
                    _ => Op::Imul,
                };
                let (result, args) = (data.result, data.args.clone());
                func.insts[inst] = InstData { result, ..InstData::new(op, &args) };
            }
        }
    }
}

struct Emit<'a> {
    func: &'a mut Function,
    block: Block,
    plan: &'a Plan,
    values: Vec<Option<Value>>,
}

impl Emit<'_> {
    fn def(&mut self, data: InstData) -> Value {
        let (inst, value) = self.func.make(data);
        self.func.blocks[self.block].insts.push(inst);
        debug_assert!(value.is_some(), "what is made here defines a value");
        value.unwrap_or_else(|| Value::from_u32(0))
    }

    fn iconst(&mut self, c: i64) -> Value {
        self.def(InstData::new(Op::Iconst, &[]).imm(c))
    }

    fn both(&mut self, all: Option<Value>, one: Value) -> Value {
        match all {
            Some(all) => self.def(InstData::new(Op::Iand, &[all, one])),
            None => one,
        }
    }

    fn compare(&mut self, cond: Cond, a: Value, b: Value) -> Value {
        self.def(InstData::new(Op::Icmp, &[a, b]).imm(cond as i64))
    }

    fn value(&mut self, e: Expr) -> Value {
        if let Some(v) = self.values[e as usize] {
            return v;
        }
        let v = match self.plan.expressions[e as usize] {
            Expression::Constant(c) => self.iconst(c),
            Expression::Value(v) => v,
            Expression::Add(a, b) => self.op(Op::Iadd, a, b),
            Expression::Sub(a, b) => self.op(Op::Isub, a, b),
            Expression::Mul(a, b) => self.op(Op::Imul, a, b),
            Expression::Min(a, b) => self.op(Op::Imin, a, b),
            Expression::Max(a, b) => self.op(Op::Imax, a, b),
            Expression::Shift(a, by) => {
                let (a, by) = (self.value(a), self.iconst(by));
                self.def(InstData::new(Op::IshrS, &[a, by]))
            }
        };
        self.values[e as usize] = Some(v);
        v
    }

    fn op(&mut self, op: Op, a: Expr, b: Expr) -> Value {
        let (a, b) = (self.value(a), self.value(b));
        self.def(InstData::new(op, &[a, b]))
    }

    fn condition(&mut self, condition: Condition) -> Value {
        match condition {
            Condition::AtMost(a, b) => {
                let (a, b) = (self.value(a), self.value(b));
                self.compare(Cond::Le, a, b)
            }
            Condition::Below(a, b) => {
                let a = self.value(a);
                self.compare(Cond::Lt, a, b)
            }
            Condition::Within(v, near) => {
                let (near, both) = (self.iconst(near), self.iconst(near.wrapping_mul(2)));
                let up = self.def(InstData::new(Op::Iadd, &[v, near]));
                self.compare(Cond::Ult, up, both)
            }
        }
    }

    /// Whether a sum, difference or product of values is an i64.
    fn fits(&mut self, e: Expr) -> Value {
        let (op, a, b) = match self.plan.expressions[e as usize] {
            Expression::Add(a, b) => (Op::IaddOverflows, a, b),
            Expression::Sub(a, b) => (Op::IsubOverflows, a, b),
            Expression::Mul(a, b) => (Op::ImulOverflows, a, b),
            _ => return self.iconst(1),
        };
        let over = self.op(op, a, b);
        let zero = self.iconst(0);
        self.compare(Cond::Eq, over, zero)
    }
}
