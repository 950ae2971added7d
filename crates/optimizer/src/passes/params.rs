//! Block parameters, blocks and branches that are not needed.
//!
//! * A branch or switch on a constant, or whose ways are the same, is a jump.
//! * A branch around a few cheap ops does these in any case.
//! * A branch whose ways lead to one block and differ in few arguments is a jump with choices.
//! * A way through a block that holds nothing but a jump leads where that jump leads; through one that holds nothing but a branch on a
//!   parameter, where that branch leads, if the argument is a constant.
//! * A parameter that is the same value on all ways into its block is that value.
//! * A block with one way out joins the block that this leads to where that has no other way in.
//!
//! Unreachable blocks leave the layout, which is in reverse postorder afterwards. Needs nothing but a well-formed function; everything
//! is linear in the function and repeated while one part finds work for another, at most [`ROUNDS`] times.
//!
//! Same parameters are found optimistically (all are the same until shown to differ), as Click's value numbering does, since the
//! pessimistic worklist misses what circles through several parameters, which nested loops and joins in loops make. If
//! it does not settle, which takes a chain of dependent loops, nothing is replaced.

use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntityRef, SecondaryMap};

use super::Replacements;
use crate::cfg::{Analyses, Cfg};
use crate::ir::{Block, Def, Function, InstData, Op, Target, Type, Value};
use crate::ops::OpInfo;

/// How often the parts are repeated.
const ROUNDS: usize = 6;
/// How many instructions are done in any case instead of a branch around them.
const CHEAP: usize = 2;
/// How many arguments a choice replaces.
const CHOICES: usize = 2;
/// How many instructions a condition is followed through.
const REASONS: usize = 16;
/// How often all parameters are looked at before giving up.
const SWEEPS: usize = 24;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let mut total = 0;
    for _ in 0..ROUNDS {
        let threads = thread(func) + arms(func);
        let branches = terminators(func);
        let changed = branches + threads;
        if changed > 0 {
            analyses.forget();
        }
        let cfg = analyses.cfg(func);
        total += changed + func.layout.len() - cfg.order.len();
        func.layout.clone_from(&cfg.order);
        let params = same_params(func, cfg);
        let merged = merge(func, cfg);
        if merged > 0 {
            analyses.forget();
        }
        total += params + merged;
        // Parameters that are constants decide branches; branches that are gone leave parameters with fewer ways in.
        if threads + branches + params == 0 {
            break;
        }
    }
    total
}

/// The function has another shape: brings the layout into reverse postorder, without unreachable blocks.
pub(crate) fn relayout(func: &mut Function, analyses: &mut Analyses) {
    analyses.forget();
    func.layout.clone_from(&analyses.cfg(func).order);
}

/// Branches that always go the same way.
fn terminators(func: &mut Function) -> usize {
    let mut changed = 0;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let Some(inst) = func.terminator(block) else { continue };
        let data = &func.insts[inst];
        if !matches!(data.op, Op::Branch | Op::Switch) {
            continue;
        }
        let way = match func.int_const(data.args[0]) {
            Some(value) => Some(way(func, data, value)),
            None => data.targets[1..].iter().all(|t| *t == data.targets[0]).then_some(0),
        };
        if let Some(way) = way.or_else(|| choices(func, block)) {
            let data = &mut func.insts[inst];
            let target = data.targets.swap_remove(way);
            *data = InstData::new(Op::Jump, &[]).targets([target]);
            changed += 1;
        }
    }
    changed
}

/// The way of a branch or switch for a value.
fn way(func: &Function, data: &InstData, value: i64) -> usize {
    if data.op == Op::Branch {
        return usize::from(value == 0);
    }
    let cases = &func.cases[data.imm as usize];
    cases.iter().position(|&k| k == value).unwrap_or(data.targets.len() - 1)
}

/// Blocks of few cheap ops on ints, between a branch and the block that its other way leads to, are done before the branch, which is a
/// jump with choices afterwards. Such branches are mostly about data, so hard to foresee, and the choice is one instruction.
fn arms(func: &mut Function) -> usize {
    let mut ways: SecondaryMap<Block, u32> = SecondaryMap::new();
    ways.resize(func.blocks.len());
    for &block in &func.layout {
        func.successors(block).for_each(|b| ways[b] += 1);
    }
    /// The block's jump, where it is such a block.
    fn arm<'a>(func: &'a Function, ways: &SecondaryMap<Block, u32>, block: Block) -> Option<&'a Target> {
        if ways[block] != 1 {
            return None;
        }
        let data = &func.blocks[block];
        let (&last, first) = data.insts.split_last()?;
        let jump = &func.insts[last];
        let count = || first.iter().filter(|&&i| func.insts[i].op != Op::Iconst).count();
        let fits = data.params.is_empty()
            && !data.cold
            && jump.op == Op::Jump
            && first.iter().all(|&i| func.insts[i].op.info().cheap)
            && count() <= CHEAP;
        fits.then(|| &jump.targets[0])
    }
    let mut changed = 0;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let Some(inst) = func.terminator(block).filter(|&i| func.insts[i].op == Op::Branch) else { continue };
        let targets = [0, 1].map(|t| &func.insts[inst].targets[t]);
        let to = match targets.map(|t| arm(func, &ways, t.block)) {
            [Some(a), Some(b)] if a.block == b.block => [Some(a), Some(b)],
            [Some(a), _] if a.block == targets[1].block => [Some(a), None],
            [_, Some(b)] if b.block == targets[0].block => [None, Some(b)],
            _ => continue,
        };
        let ends = [0, 1].map(|t| to[t].unwrap_or(targets[t]));
        let pairs = ends[0].args.iter().copied().zip(ends[1].args.iter().copied());
        let differ: Vec<(Value, Value)> = pairs.filter(|(x, y)| x != y).collect();
        if !(1..=CHOICES).contains(&differ.len())
            || differ.iter().any(|&(x, _)| func.ty(x) != Type::Int)
            || follows(func, func.insts[inst].args[0], &differ)
        {
            continue;
        }
        let (targets, to) = (targets.map(|t| t.block), to.map(|t| t.cloned()));
        for t in 0..2 {
            let Some(to) = &to[t] else { continue };
            let mut insts = std::mem::take(&mut func.blocks[targets[t]].insts);
            let jump = insts.pop();
            func.blocks[targets[t]].insts.extend(jump);
            let end = func.blocks[block].insts.len() - 1;
            func.blocks[block].insts.splice(end..end, insts);
            func.insts[inst].targets[t] = to.clone();
        }
        choices(func, block);
        let target = func.insts[inst].targets[0].clone();
        func.insts[inst] = InstData::new(Op::Jump, &[]).targets([target]);
        changed += 1;
    }
    changed
}

/// if c b(x) else b(y) = b(c ? x : y): the choices are made, and the first way is the one to go.
fn choices(func: &mut Function, block: Block) -> Option<usize> {
    let inst = func.terminator(block)?;
    let data = &func.insts[inst];
    if data.op != Op::Branch || data.targets[0].block != data.targets[1].block {
        return None;
    }
    let cond = data.args[0];
    let pairs = data.targets[0].args.iter().zip(&data.targets[1].args).enumerate();
    let differ: Vec<(usize, Value, Value)> =
        pairs.filter(|(_, (x, y))| x != y).map(|(i, (&x, &y))| (i, x, y)).collect();
    let both: Vec<(Value, Value)> = differ.iter().map(|&(_, x, y)| (x, y)).collect();
    let pointer = both.iter().any(|&(x, _)| func.ty(x) == Type::Ptr);
    if both.len() > CHOICES || pointer || follows(func, cond, &both) {
        return None;
    }
    for (i, x, y) in differ {
        let op = match func.ty(x) {
            Type::Int => Op::SelectInt,
            Type::Float => Op::SelectFloat,
            Type::Cell | Type::Ptr => Op::SelectCell,
        };
        let (choice, result) = func.make(InstData::new(op, &[cond, x, y]));
        let end = func.blocks[block].insts.len() - 1;
        func.blocks[block].insts.insert(end, choice);
        func.insts[inst].targets[0].args[i] = result?;
    }
    Some(0)
}

/// Whether a value that goes round in a loop would be chosen or replaced by what memory holds behind it: in the object that a cell is,
/// or at the position that an int is (`if len(t) > 1000 { t = "" }`, `if xs[i] < xs[least] { least = i }`). A choice would make each
/// turn wait for that load before the next one can begin, where a branch is foreseen. It is not where several values differ together,
/// as the ends in a binary search, nor where the other value follows from this one, as the place of a child in a heap does.
fn follows(func: &Function, cond: Value, differ: &[(Value, Value)]) -> bool {
    let goes_round = |v: Value| matches!(func.values[v].def, Def::Param(block, _) if block != func.entry());
    let holds = |kept: Value, other: Value| {
        let loads = |info: &OpInfo| info.loads || info.site || info.string;
        goes_round(kept) && comes_of(func, cond, kept, loads) && !comes_of(func, other, kept, |_| true)
    };
    differ.iter().any(|&(x, y)| match func.ty(x) {
        Type::Cell => holds(x, y) || holds(y, x),
        Type::Int => differ.len() == 1 && (holds(x, y) || holds(y, x)),
        Type::Float | Type::Ptr => false,
    })
}

/// Whether a value comes of an instruction of some kind that has another value as operand.
fn comes_of(func: &Function, value: Value, of: Value, is: impl Fn(&OpInfo) -> bool) -> bool {
    let mut work = vec![value];
    let mut seen = 0;
    while let Some(value) = work.pop() {
        let Some(data) = func.def(value) else { continue };
        if is(data.op.info()) && data.args.contains(&of) {
            return true;
        }
        seen += 1;
        if seen > REASONS {
            return false;
        }
        work.extend(data.args.iter().copied());
    }
    false
}

/// Ways through blocks that only jump.
fn thread(func: &mut Function) -> usize {
    // Parameters that something else than the jump of their block uses.
    let mut used: SecondaryMap<Value, bool> = SecondaryMap::new();
    let alone = |func: &Function, block: Block| matches!(func.blocks[block].insts[..], [i] if matches!(func.insts[i].op, Op::Jump | Op::Branch | Op::Switch));
    let mut any = false;
    for &block in &func.layout {
        any |= alone(func, block) && !func.blocks[block].params.is_empty();
    }
    if any {
        let note = |used: &mut SecondaryMap<Value, bool>, v: Value, by: Option<Block>| {
            if let Def::Param(block, _) = func.values[v].def
                && by != Some(block)
            {
                used[v] = true;
            }
        };
        for &block in &func.layout {
            let by = alone(func, block).then_some(block);
            for &inst in &func.blocks[block].insts {
                let data = &func.insts[inst];
                let args = data.args.iter().chain(data.targets.iter().flat_map(|t| &t.args));
                args.for_each(|&v| note(&mut used, v, by));
            }
        }
        for state in func.states.values() {
            state.slots.iter().for_each(|&(_, v)| note(&mut used, v, None));
        }
    }
    // Where a block that only jumps leads to.
    let next = |func: &Function, target: &Target| -> Option<Target> {
        let data = &func.blocks[target.block];
        if !alone(func, target.block) || data.params.iter().any(|&p| used[p]) {
            return None;
        }
        let end = &func.insts[data.insts[0]];
        let way = match end.op {
            Op::Jump => 0,
            _ => {
                let Def::Param(block, i) = func.values[end.args[0]].def else { return None };
                let value =
                    func.int_const(*target.args.get(i as usize).filter(|_| block == target.block)?)?;
                way(func, end, value)
            }
        };
        let mut to = end.targets[way].clone();
        // A cold way stays one.
        if to.block == target.block || data.cold && !func.blocks[to.block].cold {
            return None;
        }
        for arg in &mut to.args {
            if let Def::Param(block, i) = func.values[*arg].def
                && block == target.block
            {
                *arg = target.args[i as usize];
            }
        }
        Some(to)
    };
    let mut changed = 0;
    for i in 0..func.layout.len() {
        let Some(inst) = func.terminator(func.layout[i]) else { continue };
        for t in 0..func.insts[inst].targets.len() {
            // A circle of such blocks is an endless loop: the bound ends the search.
            for _ in 0..8 {
                let Some(to) = next(func, &func.insts[inst].targets[t]) else { break };
                func.insts[inst].targets[t] = to;
                changed += 1;
            }
        }
    }
    changed
}

/// Parameters that are the same on all ways.
fn same_params(func: &mut Function, cfg: &Cfg) -> usize {
    // Blocks with parameters that are not known to differ yet, and the arguments for them.
    let mut ways: Vec<&[Value]> = Vec::new();
    let mut open: Vec<(Block, usize)> = Vec::new();
    for &block in &cfg.order[1..] {
        if !func.blocks[block].params.is_empty() {
            open.push((block, ways.len()));
            ways.extend(cfg.preds(block).iter().map(|e| arguments(func, e.from, e.target)));
        }
    }
    if open.is_empty() {
        return 0;
    }
    let constant = |func: &Function, v: Value| {
        func.def(v).filter(|d| matches!(d.op, Op::Iconst | Op::Fconst | Op::Cconst)).map(|d| (d.op, d.imm))
    };
    // Constants are the same where their bits are.
    let equal =
        |a: Value, b: Value| a == b || constant(func, a).is_some_and(|k| constant(func, b) == Some(k));
    // What each value is found to be: other values than parameters are themselves, of parameters nothing was seen yet.
    let mut found: Vec<PackedOption<Value>> = func.values.keys().map(PackedOption::from).collect();
    for &(block, _) in &open {
        func.blocks[block].params.iter().for_each(|p| found[p.index()] = None.into());
    }
    // What was found to be the same by way of a parameter that turned out to differ has to be found again: in an inner loop it would
    // differ from what it was itself found to be before. So each finding has a time, and so has what was left.
    let mut now = 0_u32;
    let mut seen = vec![0; found.len()];
    let mut left = SecondaryMap::<Value, u32>::new();
    let mut settled = false;
    for _ in 0..SWEEPS {
        let mut changed = false;
        open.retain(|&(block, first)| {
            let ways = &ways[first..first + cfg.preds(block).len()];
            let mut differ = true;
            for (i, &p) in func.blocks[block].params.iter().enumerate() {
                if found[p.index()] == p.into() {
                    continue;
                }
                let valid =
                    |v: Value| found[v.index()].expand().filter(|&f| f == v || seen[v.index()] >= left[f]);
                let before = valid(p);
                let mut all = None;
                for args in ways {
                    let Some(one) = valid(args[i]) else { continue };
                    match all {
                        None => all = Some(one),
                        Some(some) if equal(some, one) => {}
                        Some(_) => {
                            all = Some(p);
                            break;
                        }
                    }
                }
                if let Some(all) = all
                    && before.is_none_or(|b| !equal(b, all))
                {
                    found[p.index()] = all.into();
                    changed = true;
                    now += 1;
                    seen[p.index()] = now;
                    if let Some(before) = before.filter(|_| all == p) {
                        left[before] = now;
                    }
                }
                differ &= all == Some(p);
            }
            !differ
        });
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
            let with = found[p.index()].expand().filter(|&v| settled && v != p && seen[p.index()] >= left[v]);
            let Some(mut with) = with else { continue };
            if let Some((op, imm)) = constant(func, with) {
                let (inst, value) = func.make(InstData::new(op, &[]).imm(imm));
                front.push(inst);
                with = value.unwrap_or(with);
            }
            replaced.replace(p, with);
            gone[p] = true;
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
    arguments(func, from, target)[param]
}

/// The arguments of an edge.
fn arguments(func: &Function, from: Block, target: u32) -> &[Value] {
    match func.terminator(from) {
        Some(inst) => &func.insts[inst].targets[target as usize].args,
        None => unreachable!("internal error: an edge from a block that does not end"),
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
