//! What nobody uses.
//!
//! Marks from what has effects: terminators, stores, checks, calls, charges, and routines, which may trap. Everything that
//! these use, their frame states included, is used; parameters are used where what they feed is. The rest goes: instructions whose
//! result is all that they are for (loads, new objects and boxes among them), parameters, and the arguments for them.
//!
//! Needs a well-formed function; keeps blocks and terminators.

use cranelift_entity::SecondaryMap;

use super::params::remove_params;
use super::removable;
use crate::cfg::Analyses;
use crate::ir::{Def, Function, Inst, State, Value};

struct Marks {
    values: SecondaryMap<Value, bool>,
    states: SecondaryMap<State, bool>,
    work: Vec<Value>,
}

impl Marks {
    fn value(&mut self, value: Value) {
        if !self.values[value] {
            self.values[value] = true;
            self.work.push(value);
        }
    }

    /// The operands of an instruction and what its frame state names, but not the arguments of its targets.
    fn inst(&mut self, func: &Function, inst: Inst) {
        let data = &func.insts[inst];
        data.args.iter().for_each(|&v| self.value(v));
        let mut next = data.state.expand();
        // States that were seen were seen with those around them.
        while let Some(state) = next.filter(|&s| !self.states[s]) {
            self.states[state] = true;
            let data = &func.states[state];
            data.slots.iter().for_each(|&(_, v)| self.value(v));
            next = data.parent.expand();
        }
    }
}

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let cfg = analyses.cfg(func);
    let mut marks = Marks { values: SecondaryMap::new(), states: SecondaryMap::new(), work: Vec::new() };
    marks.values.resize(func.values.len());
    for &block in &cfg.order {
        for &inst in &func.blocks[block].insts {
            if !removable(func, &func.insts[inst]) {
                marks.inst(func, inst);
            }
        }
    }
    func.blocks[func.entry()].params.iter().for_each(|&p| marks.value(p));
    while let Some(value) = marks.work.pop() {
        match func.values[value].def {
            Def::Inst(inst) => marks.inst(func, inst),
            Def::Param(block, i) => {
                if block == func.entry() || !cfg.reachable(block) {
                    continue;
                }
                for edge in cfg.preds(block) {
                    marks.value(super::params::argument(func, edge.from, edge.target, i as usize));
                }
            }
        }
    }
    let mut changed = 0;
    let mut gone = SecondaryMap::<Value, bool>::new();
    for &block in &cfg.order {
        for &p in &func.blocks[block].params {
            if !marks.values[p] {
                gone[p] = true;
                changed += 1;
            }
        }
    }
    if changed > 0 {
        remove_params(func, &gone);
    }
    for &block in &cfg.order {
        let mut insts = std::mem::take(&mut func.blocks[block].insts);
        let before = insts.len();
        insts.retain(|&i| {
            let data = &func.insts[i];
            !removable(func, data) || data.result.expand().is_some_and(|v| marks.values[v])
        });
        changed += before - insts.len();
        func.blocks[block].insts = insts;
    }
    changed
}
