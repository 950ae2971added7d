//! A branch around a checked sum is a sum with a choice.
//!
//! `if c { x = x + k }` adds `c ? k : 0` in any case, where k is known before the branch. Whether such a branch is taken depends on data mostly,
//! as in counts and in costs that are smallest of some, so it is hard to foresee. Adding 0 never overflows, so where the sum leaves, the
//! branch would have been taken, and its frame state is that of the sum behind the branch.
//!
//! Sums that are not checked are choices already (`params.rs`). This runs behind `ranges.rs`, which takes checks away by what a branch says.

use cranelift_entity::SecondaryMap;

use super::Rewriter;
use crate::cfg::Analyses;
use crate::ir::{Block, Function, InstData, Op, Value};

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let mut ways: SecondaryMap<Block, u32> = SecondaryMap::new();
    ways.resize(func.blocks.len());
    for &block in &func.layout {
        func.successors(block).for_each(|b| ways[b] += 1);
    }
    let mut changed = 0;
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let Some(found) = find(func, &ways, block) else { continue };
        rewrite(func, block, &found);
        changed += 1;
    }
    if changed > 0 {
        analyses.forget();
    }
    changed
}

/// A branch around a sum.
struct Found {
    /// Which way leads to the sum.
    way: usize,
    /// The sum, with what is added or subtracted on the right.
    sum: InstData,
    /// Which argument of the block behind it is.
    position: usize,
}

fn find(func: &Function, ways: &SecondaryMap<Block, u32>, block: Block) -> Option<Found> {
    let branch = &func.insts[func.terminator(block)?];
    if branch.op != Op::Branch {
        return None;
    }
    (0..2).find_map(|way| {
        let (arm, around) = (branch.targets[way].block, &branch.targets[1 - way]);
        let data = &func.blocks[arm];
        if ways[arm] != 1 || data.cold || !data.params.is_empty() || arm == around.block {
            return None;
        }
        let (&last, first) = data.insts.split_last()?;
        let mut others = first.iter().map(|&i| &func.insts[i]).filter(|d| d.op != Op::Iconst);
        let (sum, None) = (others.next()?, others.next()) else { return None };
        let result = sum.result.expand().filter(|_| matches!(sum.op, Op::IaddExit | Op::IsubExit))?;
        let jump = &func.insts[last];
        if jump.op != Op::Jump || jump.targets[0].block != around.block {
            return None;
        }
        let pairs = || jump.targets[0].args.iter().zip(&around.args);
        let position = pairs().position(|(a, _)| *a == result)?;
        let rest = pairs().enumerate().all(|(i, (a, b))| i == position || a == b);
        let mut sum = sum.clone();
        if sum.op == Op::IaddExit && around.args[position] == sum.args[1] {
            sum.args.swap(0, 1);
        }
        (rest && around.args[position] == sum.args[0]).then_some(Found { way, sum, position })
    })
}

fn rewrite(func: &mut Function, block: Block, found: &Found) {
    let Some(end) = func.blocks[block].insts.pop() else { return };
    let branch = &func.insts[end];
    let (condition, arm) = (branch.args[0], branch.targets[found.way].block);
    let mut target = branch.targets[1 - found.way].clone();
    let mut new = Rewriter { insts: std::mem::take(&mut func.blocks[block].insts) };
    // The frame state may name these.
    new.insts.extend(func.blocks[arm].insts.extract_if(.., |i| func.insts[*i].op == Op::Iconst));
    let (added, zero) = (found.sum.args[1], new.int(func, 0));
    let both: [Value; 2] = if found.way == 0 { [added, zero] } else { [zero, added] };
    let more = new.def(func, InstData::new(Op::SelectInt, &[condition, both[0], both[1]]));
    let mut sum = found.sum.clone();
    sum.args[1] = more;
    let sum = new.def(func, sum);
    target.args[found.position] = sum;
    let (jump, _) = func.make(InstData::new(Op::Jump, &[]).targets([target]));
    new.insts.push(jump);
    func.blocks[block].insts = new.insts;
}
