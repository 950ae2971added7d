//! Leaves out what nobody uses, before Cranelift sees it.
//!
//! Cranelift keeps every load, used or not, and every parameter of a block. After a call all cells of the frame state are read again
//! from the frame, of which most are not used any more. So this marks what instructions with effects need, through parameters of
//! blocks, and takes the rest out.
//!
//! All loads of optimized code are from memory that is there, so a load has no effect of its own.

use cranelift_codegen::ir::{self as clif, Opcode, ValueDef};
use cranelift_entity::{EntitySet, SecondaryMap};

/// Runs it; gives how many instructions went.
pub(super) fn run(func: &mut clif::Function) -> usize {
    let blocks: Vec<clif::Block> = func.layout.blocks().collect();
    let mut ways: SecondaryMap<clif::Block, Vec<clif::Inst>> = SecondaryMap::new();
    let mut insts: EntitySet<clif::Inst> = EntitySet::new();
    let mut params: EntitySet<clif::Value> = EntitySet::new();
    let mut work: Vec<clif::Value> = Vec::new();
    for &block in &blocks {
        for inst in func.layout.block_insts(block) {
            let data = &func.dfg.insts[inst];
            for call in data.branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables) {
                let to = call.block(&func.dfg.value_lists);
                if ways[to].last() != Some(&inst) {
                    ways[to].push(inst);
                }
            }
            if has_effect(data.opcode()) && insts.insert(inst) {
                work.extend(func.dfg.inst_args(inst));
            }
        }
    }
    while let Some(value) = work.pop() {
        match func.dfg.value_def(func.dfg.resolve_aliases(value)) {
            ValueDef::Result(inst, _) => {
                if insts.insert(inst) {
                    work.extend(func.dfg.inst_args(inst));
                }
            }
            ValueDef::Param(block, n) => {
                if !params.insert(func.dfg.block_params(block)[n]) {
                    continue;
                }
                for &inst in &ways[block] {
                    let data = &func.dfg.insts[inst];
                    for call in data.branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables) {
                        if call.block(&func.dfg.value_lists) == block
                            && let Some(clif::BlockArg::Value(v)) = call.args(&func.dfg.value_lists).nth(n)
                        {
                            work.push(v);
                        }
                    }
                }
            }
            ValueDef::Union(..) => {}
        }
    }
    let mut gone = 0;
    for &block in &blocks {
        let dead: Vec<clif::Inst> = func.layout.block_insts(block).filter(|&i| !insts.contains(i)).collect();
        gone += dead.len();
        dead.into_iter().for_each(|inst| func.layout.remove_inst(inst));
    }
    // The parameters of the entry are those of the function.
    for &block in blocks.iter().skip(1) {
        for n in (0..func.dfg.num_block_params(block)).rev() {
            let param = func.dfg.block_params(block)[n];
            if params.contains(param) {
                continue;
            }
            func.dfg.remove_block_param(param);
            let dfg = &mut func.dfg;
            for &inst in &ways[block] {
                let calls =
                    dfg.insts[inst].branch_destination_mut(&mut dfg.jump_tables, &mut dfg.exception_tables);
                for call in calls {
                    if call.block(&dfg.value_lists) == block {
                        call.remove(n, &mut dfg.value_lists);
                    }
                }
            }
        }
    }
    gone
}

fn has_effect(op: Opcode) -> bool {
    let loads = matches!(op, Opcode::Load | Opcode::Uload8 | Opcode::Uload16 | Opcode::Uload32);
    !loads
        && (op.can_trap()
            || op.can_store()
            || op.can_load()
            || op.is_call()
            || op.is_terminator()
            || op.is_branch()
            || op.other_side_effects())
}
