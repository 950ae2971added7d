//! Block parameters, blocks and branches that are not needed.
//!
//! * A branch or switch on a constant, or whose ways are the same, is a jump.
//! * A way through a block that holds nothing but a jump leads where that jump leads.
//! * A parameter that is the same value on all ways into its block is that value; one that is 1 or 0 by the condition of the branch
//!   that the ways come from is that condition.
//! * A block with one way out joins the block that this leads to where that has no other way in.
//!
//! Unreachable blocks leave the layout, which is in reverse postorder afterwards. Needs nothing but a well-formed function; everything
//! is linear in the function and repeated while one part finds work for another, at most [`ROUNDS`] times.
//!
//! Same parameters are found optimistically (all are the same until shown to differ), as Click's value numbering does, since the
//! pessimistic worklist misses what circles through several parameters, which nested loops and joins in loops make. If
//! it does not settle, which takes a chain of dependent loops, nothing is replaced.

use cranelift_entity::SecondaryMap;

use super::{Replacements, is_bool};
use crate::cfg::Cfg;
use crate::ir::{Block, Cond, Def, Function, InstData, Op, Target, Value};

/// How often the parts are repeated.
const ROUNDS: usize = 6;
/// How often all parameters are looked at before giving up.
const SWEEPS: usize = 24;

/// Runs the pass.
pub fn run(func: &mut Function) -> usize {
    let mut total = 0;
    for _ in 0..ROUNDS {
        let mut changed = terminators(func);
        changed += thread(func);
        let cfg = Cfg::new(func);
        changed += func.layout.len() - cfg.order.len();
        func.layout.clone_from(&cfg.order);
        changed += same_params(func, &cfg);
        changed += merge(func, &cfg);
        total += changed;
        if changed == 0 {
            break;
        }
    }
    relayout(func);
    total
}

/// Brings the layout into reverse postorder, without unreachable blocks.
pub(crate) fn relayout(func: &mut Function) {
    let order = Cfg::new(func).order;
    func.layout = order;
}

/// Branches that always go the same way.
fn terminators(func: &mut Function) -> usize {
    let mut changed = 0;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let Some(inst) = func.terminator(block) else { continue };
        let data = &func.insts[inst];
        let way = match data.op {
            Op::Branch => match func.int_const(data.args[0]) {
                Some(c) => Some(usize::from(c == 0)),
                None => (data.targets[0] == data.targets[1]).then_some(0),
            },
            Op::Switch => match func.int_const(data.args[0]) {
                Some(c) => {
                    let cases = &func.cases[data.imm as usize];
                    Some(cases.iter().position(|&k| k == c).unwrap_or(data.targets.len() - 1))
                }
                None => data.targets[1..].iter().all(|t| *t == data.targets[0]).then_some(0),
            },
            _ => None,
        };
        if let Some(way) = way {
            let data = &mut func.insts[inst];
            let target = data.targets.swap_remove(way);
            *data = InstData::new(Op::Jump, &[]).targets([target]);
            changed += 1;
        }
    }
    changed
}

/// Ways through blocks that only jump.
fn thread(func: &mut Function) -> usize {
    // Where a block without parameters that only jumps leads to.
    let next = |func: &Function, block: Block| -> Option<Target> {
        let data = &func.blocks[block];
        let [inst] = data.insts[..] else { return None };
        let inst = &func.insts[inst];
        let simple = data.params.is_empty() && inst.op == Op::Jump && inst.targets[0].block != block;
        // A cold way stays one.
        (simple && (!data.cold || func.blocks[inst.targets[0].block].cold)).then(|| inst.targets[0].clone())
    };
    let mut changed = 0;
    for i in 0..func.layout.len() {
        let Some(inst) = func.terminator(func.layout[i]) else { continue };
        for t in 0..func.insts[inst].targets.len() {
            // A circle of such blocks is an endless loop: the bound ends the search.
            for _ in 0..8 {
                let Some(to) = next(func, func.insts[inst].targets[t].block) else { break };
                func.insts[inst].targets[t] = to;
                changed += 1;
            }
        }
    }
    changed
}

/// What a parameter may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    /// Nothing was seen yet.
    Unknown,
    /// This value, which may be the parameter itself.
    Value(Value),
    /// A constant: the op and its bits.
    Constant(Op, i64),
}

/// Parameters that are the same on all ways.
fn same_params(func: &mut Function, cfg: &Cfg) -> usize {
    let constant = |func: &Function, v: Value| {
        func.def(v).filter(|d| matches!(d.op, Op::Iconst | Op::Fconst | Op::Cconst)).map(|d| (d.op, d.imm))
    };
    // Parameters stand for what is found of them; other values for themselves.
    let mut found: SecondaryMap<Value, Same> = SecondaryMap::with_default(Same::Unknown);
    found.resize(func.values.len());
    let mut any = false;
    for &block in &cfg.order {
        any |= !func.blocks[block].params.is_empty();
    }
    if !any {
        return 0;
    }
    for &p in &func.blocks[func.entry()].params {
        found[p] = Same::Value(p);
    }
    let look = |func: &Function, found: &SecondaryMap<Value, Same>, v: Value| match func.values[v].def {
        Def::Param(..) => found[v],
        Def::Inst(_) => match constant(func, v) {
            Some((op, imm)) => Same::Constant(op, imm),
            None => Same::Value(v),
        },
    };
    let mut settled = false;
    for _ in 0..SWEEPS {
        let mut changed = false;
        for &block in &cfg.order[1..] {
            for (i, &p) in func.blocks[block].params.iter().enumerate() {
                if found[p] == Same::Value(p) {
                    continue;
                }
                let mut all = Same::Unknown;
                for edge in cfg.preds(block) {
                    let arg = argument(func, edge.from, edge.target, i);
                    let one = look(func, &found, arg);
                    if one == Same::Unknown || one == all {
                        continue;
                    }
                    if all == Same::Unknown {
                        all = one;
                    } else {
                        all = Same::Value(p);
                        break;
                    }
                }
                if all != found[p] {
                    found[p] = all;
                    changed = true;
                }
            }
        }
        if !changed {
            settled = true;
            break;
        }
    }
    let mut replaced = Replacements::new(func);
    let mut gone = SecondaryMap::<Value, bool>::new();
    for &block in &cfg.order[1..] {
        let mut front = Vec::new();
        for i in 0..func.blocks[block].params.len() {
            let p = func.blocks[block].params[i];
            let with = match found[p] {
                Same::Value(v) if settled && v != p => Some(v),
                Same::Constant(op, imm) if settled => {
                    let (inst, value) = func.make(InstData::new(op, &[]).imm(imm));
                    front.push(inst);
                    value
                }
                _ => by_condition(func, cfg, block, i, &mut front),
            };
            if let Some(with) = with {
                replaced.replace(p, with);
                gone[p] = true;
            }
        }
        if !front.is_empty() {
            func.blocks[block].insts.splice(0..0, front);
        }
    }
    if replaced.count() > 0 {
        remove_params(func, &gone);
        replaced.apply(func);
    }
    replaced.count()
}

/// The argument of an edge for a parameter.
pub(crate) fn argument(func: &Function, from: Block, target: u32, param: usize) -> Value {
    match func.terminator(from) {
        Some(inst) => func.insts[inst].targets[target as usize].args[param],
        None => unreachable!("internal error: an edge from a block that does not end"),
    }
}

/// c ? 1 : 0 = c and c ? 0 : 1 = not c, where both ways come from the branch on c itself.
fn by_condition(
    func: &mut Function,
    cfg: &Cfg,
    block: Block,
    param: usize,
    front: &mut Vec<crate::ir::Inst>,
) -> Option<Value> {
    let [a, b] = cfg.preds(block) else { return None };
    if a.from != b.from {
        return None;
    }
    let data = &func.insts[func.terminator(a.from)?];
    if data.op != Op::Branch {
        return None;
    }
    let cond = data.args[0];
    let [x, y] = [0, 1].map(|t| func.int_const(data.targets[t].args[param]));
    if !is_bool(func, cond) {
        return None;
    }
    match (x?, y?) {
        (1, 0) => Some(cond),
        (0, 1) => {
            let (zero, v) = func.make(InstData::new(Op::Iconst, &[]));
            let (not, result) = func.make(InstData::new(Op::Icmp, &[cond, v?]).imm(Cond::Eq as i64));
            front.extend([zero, not]);
            result
        }
        _ => None,
    }
}

/// Takes parameters out of their blocks, and the arguments for them out of the targets.
pub(crate) fn remove_params(func: &mut Function, gone: &SecondaryMap<Value, bool>) {
    for i in 0..func.layout.len() {
        let Some(inst) = func.terminator(func.layout[i]) else { continue };
        let data = &mut func.insts[inst];
        for target in &mut data.targets {
            let mut params = func.blocks[target.block].params.iter();
            target.args.retain(|_| params.next().is_none_or(|&p| !gone[p]));
        }
    }
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let mut params = std::mem::take(&mut func.blocks[block].params);
        params.retain(|&p| !gone[p]);
        for (k, &p) in params.iter().enumerate() {
            func.values[p].def = Def::Param(block, k as u32);
        }
        func.blocks[block].params = params;
    }
}

/// Blocks that join the one before them.
fn merge(func: &mut Function, cfg: &Cfg) -> usize {
    let mut replaced = Replacements::new(func);
    let mut joined = SecondaryMap::<Block, bool>::new();
    let mut count = 0;
    // From behind, so that a block is complete when it joins another.
    for &block in cfg.order.iter().rev() {
        let Some(inst) = func.terminator(block).filter(|&i| func.insts[i].op == Op::Jump) else { continue };
        let next = func.insts[inst].targets[0].block;
        if next == block || next == func.entry() || cfg.preds(next).len() != 1 {
            continue;
        }
        // Code that runs seldom stays apart, unless it is known to run whenever this does, which is so here.
        let args = std::mem::take(&mut func.insts[inst].targets[0].args);
        let taken = std::mem::take(&mut func.blocks[next]);
        for (&p, &arg) in taken.params.iter().zip(&args) {
            replaced.replace(p, arg);
        }
        let data = &mut func.blocks[block];
        data.insts.pop();
        data.insts.extend(taken.insts);
        data.cold |= taken.cold;
        joined[next] = true;
        count += 1;
    }
    if count > 0 {
        func.layout.retain(|&b| !joined[b]);
        replaced.apply(func);
    }
    count
}
