//! Short loops with a known number of turns are done turn by turn.
//!
//! Where a counter starts with a constant, moves by one, and is compared with one, the turns are counted by doing them. As many copies
//! of the loop as it has turns are put before it, each leading to the next where it led back, so that the loop itself is not reached
//! any more; that it is not, and what the counter is in each copy, is found by `params.rs` and `gvn.rs`. Charges are copied too, so
//! a run is charged as before.
//!
//! Innermost loops, and small ones: the copies are of the size of a small function. Loops whose number of turns is not known stay as
//! they are; doing several of their turns at once would save a test and a jump for each, but not the charge.

use super::copy::{close, copy, outside_uses};
use super::fold::holds;
use super::params::{argument, relayout};
use crate::cfg::{Analyses, Cfg, Dominators, Loop, Loops};
use crate::ir::{Block, Function, Op, Value};

/// The most turns.
const TURNS: usize = 8;
/// The most instructions that all turns have together.
const SIZE: usize = 120;
/// The most loops of a function.
const LOOPS: usize = 8;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let (cfg, doms, loops) = analyses.loops(func);
    let mut plans: Vec<(Loop, usize)> = Vec::new();
    for id in loops.loops.keys() {
        if plans.len() < LOOPS
            && let Some(turns) = turns(func, cfg, doms, loops, id)
        {
            plans.push((id, turns));
        }
    }
    if plans.is_empty() {
        return 0;
    }
    let some: Vec<Loop> = plans.iter().map(|p| p.0).collect();
    let uses = outside_uses(func, cfg, loops, &some);
    plans.retain(|&(id, _)| close(func, cfg, doms, loops, id, &uses));
    for &(id, turns) in &plans {
        let header = loops.loops[id].header;
        let entries = cfg.preds(header).iter().filter(|e| !doms.dominates(header, e.from));
        let mut entries: Vec<Block> = entries.map(|e| e.from).collect();
        for _ in 0..turns {
            entries = peel(func, loops, id, &entries);
        }
    }
    relayout(func, analyses);
    plans.len()
}

/// How often a small loop is done, if that is known and seldom.
fn turns(func: &Function, cfg: &Cfg, doms: &Dominators, loops: &Loops, id: Loop) -> Option<usize> {
    let data = &loops.loops[id];
    let header = data.header;
    let size: usize = data.blocks.iter().map(|&b| func.blocks[b].insts.len()).sum();
    let inner = loops.loops.values().any(|l| l.parent.expand() == Some(id));
    let ([latch], false) = (&data.latches[..], inner || func.blocks[header].cold || 2 * size > SIZE) else {
        return None;
    };
    // The branch that decides whether there is a further turn: the only way from it that stays is taken, and it is passed in each.
    for edge in &data.exits {
        if !doms.dominates(edge.from, *latch) {
            continue;
        }
        let end = &func.insts[func.terminator(edge.from)?];
        let test = func.def(*end.args.first()?).filter(|d| d.op == Op::Icmp);
        let (Op::Branch, Some(test)) = (end.op, test) else { continue };
        let Some(limit) = func.int_const(test.args[1]) else { continue };
        let (x, c) = sum(func, test.args[0]);
        let Some(i) = func.blocks[header].params.iter().position(|&p| p == x) else { continue };
        let (mut init, mut step) = (None, None);
        for pred in cfg.preds(header) {
            let arg = argument(func, pred.from, pred.target, i);
            if doms.dominates(header, pred.from) {
                let (y, k) = sum(func, arg);
                step = (y == x).then_some(k);
            } else if init.is_none() {
                init = func.int_const(arg);
            } else {
                return None;
            }
        }
        let (Some(mut at), Some(step)) = (init, step) else { continue };
        let cond = if edge.target == 0 { test.cond().negated() } else { test.cond() };
        for turn in 1..=TURNS.min(SIZE / size) {
            if !holds(cond, at.checked_add(c)?, limit) {
                return Some(turn);
            }
            at = at.checked_add(step)?;
        }
    }
    None
}

/// x and c where a value is x + c.
fn sum(func: &Function, value: Value) -> (Value, i64) {
    let data = func.def(value).filter(|d| matches!(d.op, Op::Iadd | Op::IaddExit));
    match data.and_then(|d| Some((d.args[0], func.int_const(d.args[1])?))) {
        Some(sum) => sum,
        None => (value, 0),
    }
}

/// Puts a copy of a loop before it: the entries lead to the copy, and what leads back there leads to the loop. Gives the blocks that do.
fn peel(func: &mut Function, loops: &Loops, id: Loop, entries: &[Block]) -> Vec<Block> {
    let data = &loops.loops[id];
    let copied = copy(func, &data.blocks);
    let first = copied.block(data.header);
    let lead = |func: &mut Function, from: Block, was: Block, to: Block| {
        if let Some(inst) = func.terminator(from) {
            let targets = func.insts[inst].targets.iter_mut().filter(|t| t.block == was);
            targets.for_each(|t| t.block = to);
        }
    };
    entries.iter().for_each(|&from| lead(func, from, data.header, first));
    let latches: Vec<Block> = data.latches.iter().map(|&b| copied.block(b)).collect();
    latches.iter().for_each(|&from| lead(func, from, first, data.header));
    data.blocks.iter().for_each(|&b| func.layout.push(copied.block(b)));
    latches
}
