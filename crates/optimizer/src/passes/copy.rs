//! Copies of loops, for passes that need a loop twice.
//!
//! [`close`] sees to it that what a loop defines is used outside through parameters of the blocks that its exits lead to, so that other
//! ways into these can be added; [`copy`] makes the copy, whose exits lead where the loop's do.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

use crate::cfg::{Cfg, Dominators, Loop, Loops};
use crate::ir::{Block, BlockData, Def, Function, Inst, InstData, State, Value};

/// A use of a value of a loop outside of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside {
    /// The loop.
    pub(crate) of: Loop,
    block: Block,
    inst: Inst,
    value: Value,
}

/// The uses outside of what some loops define; none of the loops is in another.
pub(crate) fn outside_uses(func: &Function, cfg: &Cfg, loops: &Loops, some: &[Loop]) -> Vec<Outside> {
    let mut homes: SecondaryMap<Value, PackedOption<Loop>> = SecondaryMap::with_capacity(func.values.len());
    for &id in some {
        for &block in &loops.loops[id].blocks {
            let data = &func.blocks[block];
            data.params.iter().for_each(|&p| homes[p] = id.into());
            let results = data.insts.iter().filter_map(|&i| func.insts[i].result.expand());
            results.for_each(|v| homes[v] = id.into());
        }
    }
    let mut uses = Vec::new();
    for &block in &cfg.order {
        let here = loops.innermost(block);
        for &inst in &func.blocks[block].insts {
            each_use(func, inst, |value| {
                if let Some(of) = homes[value].expand()
                    && here != Some(of)
                {
                    uses.push(Outside { of, block, inst, value });
                }
            });
        }
    }
    uses
}

fn each_use(func: &Function, inst: Inst, mut f: impl FnMut(Value)) {
    let data = &func.insts[inst];
    data.args.iter().chain(data.targets.iter().flat_map(|t| &t.args)).for_each(|&v| f(v));
    if let Some(state) = data.state.expand() {
        func.each_state_value(state, f);
    }
}

/// Uses outside of a loop go through parameters of the blocks behind its exits. Where such a block has other ways in, or a use is behind
/// several, nothing is changed and the answer is false.
pub(crate) fn close(
    func: &mut Function,
    cfg: &Cfg,
    doms: &Dominators,
    loops: &Loops,
    id: Loop,
    uses: &[Outside],
) -> bool {
    let data = &loops.loops[id];
    let mut exits: Vec<Block> = Vec::new();
    for edge in &data.exits {
        let to = target(func, edge.from, edge.target);
        if !exits.contains(&to) {
            exits.push(to);
        }
    }
    let own = |block: Block| cfg.preds(block).iter().all(|e| loops.contains(id, e.from));
    let mut places = Vec::new();
    for one in uses.iter().filter(|u| u.of == id) {
        // What is never made is no argument.
        if func.virtual_words(one.value).is_some() {
            return false;
        }
        match exits.iter().copied().find(|&e| doms.dominates(e, one.block)).filter(|&e| own(e)) {
            Some(exit) => places.push((exit, *one)),
            None => return false,
        }
    }
    // One parameter for each value and exit.
    let mut made: Vec<(Block, Value, Value)> = Vec::new();
    for (exit, one) in places {
        let known = made.iter().find(|m| (m.0, m.1) == (exit, one.value)).map(|m| m.2);
        let param = known.unwrap_or_else(|| {
            let param = func.add_param(exit, func.ty(one.value));
            for edge in cfg.preds(exit) {
                if let Some(inst) = func.terminator(edge.from) {
                    func.insts[inst].targets[edge.target as usize].args.push(one.value);
                }
            }
            made.push((exit, one.value, param));
            param
        });
        let map = |v: Value| if v == one.value { param } else { v };
        let data = &mut func.insts[one.inst];
        data.args.iter_mut().for_each(|v| *v = map(*v));
        data.targets.iter_mut().flat_map(|t| t.args.iter_mut()).for_each(|v| *v = map(*v));
        if let Some(state) = data.state.expand() {
            func.insts[one.inst].state = mapped_state(func, state, &map).into();
        }
    }
    true
}

fn target(func: &Function, from: Block, target: u32) -> Block {
    match func.terminator(from) {
        Some(inst) => func.insts[inst].targets[target as usize].block,
        None => unreachable!("internal error: an edge from a block that does not end"),
    }
}

/// A state with other values: itself where none changes.
pub(crate) fn mapped_state(func: &mut Function, state: State, map: &impl Fn(Value) -> Value) -> State {
    let parent = func.states[state].parent;
    let above: PackedOption<State> = match parent.expand() {
        Some(parent) => mapped_state(func, parent, map).into(),
        None => parent,
    };
    let data = &func.states[state];
    if above == parent && data.slots.iter().all(|s| map(s.1) == s.1) {
        return state;
    }
    let mut data = data.clone();
    data.parent = above;
    data.slots.iter_mut().for_each(|s| s.1 = map(s.1));
    func.states.push(data)
}

/// What stands for what in a copy.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    blocks: SecondaryMap<Block, PackedOption<Block>>,
    values: SecondaryMap<Value, PackedOption<Value>>,
}

impl Copied {
    /// The block or its copy.
    pub(crate) fn block(&self, block: Block) -> Block {
        self.blocks[block].expand().unwrap_or(block)
    }

    /// The value or its copy.
    pub(crate) fn value(&self, value: Value) -> Value {
        self.values[value].expand().unwrap_or(value)
    }
}

/// Copies blocks; what leads from them to others leads there from the copies too. The copies are in no layout yet.
pub(crate) fn copy(func: &mut Function, blocks: &[Block]) -> Copied {
    let mut copied = Copied {
        blocks: SecondaryMap::with_capacity(func.blocks.len()),
        values: SecondaryMap::with_capacity(func.values.len()),
    };
    let mut insts: Vec<(Inst, Inst)> = Vec::new();
    for &block in blocks {
        let new = func.blocks.push(BlockData { cold: func.blocks[block].cold, ..BlockData::default() });
        copied.blocks[block] = new.into();
        for i in 0..func.blocks[block].params.len() {
            let p = func.blocks[block].params[i];
            copied.values[p] = func.add_param(new, func.ty(p)).into();
        }
        for i in 0..func.blocks[block].insts.len() {
            let inst = func.blocks[block].insts[i];
            let data = func.insts[inst].clone();
            let (twin, _) = func.make(InstData { result: None.into(), ..data });
            if let (Some(a), Some(b)) = (func.insts[inst].result.expand(), func.insts[twin].result.expand()) {
                debug_assert!(
                    func.values[b].def == Def::Inst(twin),
                    "results are made with their instructions"
                );
                copied.values[a] = b.into();
            }
            func.blocks[new].insts.push(twin);
            insts.push((inst, twin));
        }
    }
    let mut states: SecondaryMap<State, PackedOption<State>> = SecondaryMap::with_capacity(func.states.len());
    for &(_, twin) in &insts {
        let mut data = func.insts[twin].clone();
        data.args.iter_mut().for_each(|v| *v = copied.value(*v));
        for target in &mut data.targets {
            target.block = copied.block(target.block);
            target.args.iter_mut().for_each(|v| *v = copied.value(*v));
        }
        if let Some(state) = data.state.expand() {
            let new = match states[state].expand() {
                Some(new) => new,
                None => {
                    let new = mapped_state(func, state, &|v| copied.value(v));
                    states[state] = new.into();
                    new
                }
            };
            data.state = new.into();
        }
        func.insts[twin] = data;
    }
    copied
}
