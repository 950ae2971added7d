//! Makes a function that shows a fault smaller, while it still shows it.

use cranelift_entity::EntitySet;

use crate::ir::*;
use crate::verify::verify;

/// A smaller function that is well-formed and that `fails` holds for, as it does for this one.
pub(crate) fn reduce(func: &Function, fails: impl Fn(&Function) -> bool) -> Function {
    let mut best = func.clone();
    loop {
        let mut changed = false;
        let mut attempt = |best: &mut Function, change: &dyn Fn(&mut Function)| {
            let mut candidate = best.clone();
            change(&mut candidate);
            tidy(&mut candidate);
            let smaller = candidate != *best && verify(&candidate).is_ok() && fails(&candidate);
            if smaller {
                *best = candidate;
                changed = true;
            }
            smaller
        };
        for block in best.layout.clone() {
            // It may have gone since.
            if !best.layout.contains(&block) {
                continue;
            }
            for target in 0..best.successors(block).count() {
                attempt(&mut best, &|f| {
                    let inst = f.terminator(block).filter(|&i| f.insts[i].targets.len() > 1);
                    if let Some(inst) = inst {
                        let target =
                            f.insts[inst].targets[target.min(f.insts[inst].targets.len() - 1)].clone();
                        f.insts[inst] = InstData::new(Op::Jump, &[]).targets([target]);
                    }
                });
            }
            attempt(&mut best, &|f| {
                if f.terminator(block).is_some_and(|i| f.insts[i].op == Op::Return) {
                    return;
                }
                let value = f.result.map(|ty| constant(f, block, ty));
                let (inst, _) = f.make(InstData::new(Op::Return, value.as_slice()));
                f.blocks[block].insts.pop();
                f.blocks[block].insts.push(inst);
            });
            attempt(&mut best, &|f| inline(f, block));
        }
        for inst in best.insts.keys().collect::<Vec<_>>() {
            if best.insts[inst].op.info().terminator {
                continue;
            }
            let gone = attempt(&mut best, &|f| {
                f.layout.iter().for_each(|&b| f.blocks[b].insts.retain(|&i| i != inst));
            });
            let Some(result) = best.insts[inst].result.expand().filter(|_| !gone) else { continue };
            let ty = best.ty(result);
            let op = match ty {
                Type::Int => Op::Iconst,
                Type::Float => Op::Fconst,
                Type::Cell => Op::Cconst,
                Type::Ptr => continue,
            };
            if best.insts[inst].op != op {
                for imm in [0, 1] {
                    attempt(&mut best, &|f| {
                        f.insts[inst] = InstData { result: result.into(), ..InstData::new(op, &[]).imm(imm) };
                    });
                }
            }
            // An operand, or a parameter, of the same type in its place.
            for from in best.insts[inst].args.clone() {
                if best.ty(from) == ty {
                    attempt(&mut best, &|f| f.replace(|v| if v == result { from } else { v }));
                }
            }
        }
        for state in best.states.keys().collect::<Vec<_>>() {
            attempt(&mut best, &|f| f.states[state].parent = None.into());
            for slot in (0..best.states[state].slots.len()).rev() {
                attempt(&mut best, &|f| {
                    f.states[state].slots.remove(slot);
                });
            }
        }
        for block in best.layout.clone().into_iter().skip(1) {
            for position in (0..best.blocks[block].params.len()).rev() {
                attempt(&mut best, &|f| drop_param(f, block, position));
            }
        }
        if !changed {
            return best;
        }
    }
}

/// A new constant before the end of a block.
fn constant(func: &mut Function, block: Block, ty: Type) -> Value {
    let op = match ty {
        Type::Int | Type::Ptr => Op::Iconst,
        Type::Float => Op::Fconst,
        Type::Cell => Op::Cconst,
    };
    let (inst, value) = func.make(InstData::new(op, &[]));
    let at = func.blocks[block].insts.len().saturating_sub(1);
    func.blocks[block].insts.insert(at, inst);
    value.unwrap()
}

/// A block that only one jump leads to moves to where that is.
fn inline(func: &mut Function, block: Block) {
    let Some(end) = func.terminator(block).filter(|&i| func.insts[i].op == Op::Jump) else { return };
    let target = func.insts[end].targets[0].clone();
    let ways = func.layout.iter().flat_map(|&b| func.successors(b)).filter(|&s| s == target.block).count();
    if ways != 1 || target.block == block {
        return;
    }
    let next = std::mem::take(&mut func.blocks[target.block]);
    func.layout.retain(|&b| b != target.block);
    func.blocks[block].insts.pop();
    func.blocks[block].insts.extend(next.insts);
    let at = |v: Value| next.params.iter().position(|&p| p == v);
    func.replace(|v| at(v).map_or(v, |i| target.args[i]));
}

fn drop_param(func: &mut Function, block: Block, position: usize) {
    func.blocks[block].params.remove(position);
    for (i, &param) in func.blocks[block].params.iter().enumerate() {
        func.values[param].def = Def::Param(block, i as u32);
    }
    for inst in func.insts.values_mut() {
        for target in inst.targets.iter_mut().filter(|t| t.block == block) {
            if position < target.args.len() {
                target.args.remove(position);
            }
        }
    }
}

/// Takes blocks that cannot be reached out of the layout.
fn tidy(func: &mut Function) {
    let mut seen = EntitySet::new();
    let mut stack = vec![func.entry()];
    while let Some(block) = stack.pop() {
        if seen.insert(block) {
            stack.extend(func.successors(block));
        }
    }
    func.layout.retain(|&b| seen.contains(b));
}
