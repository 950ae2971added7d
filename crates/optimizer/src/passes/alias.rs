//! Objects that are not the same: one that is older than the other.
//!
//! A value that was there before an object was made is not that object. So a list that a loop fills is no list that the loop got from
//! outside, whatever becomes of either, and what is written to the one leaves the other as it is. That needs no escape analysis, only
//! dominance: where the definition of `y` dominates everything that makes what `x` may be, a use of `x` sees an object that is younger
//! than `y`. (Whatever hands the object on, from its maker to the use, is dominated by `y`, too, so `y` is not defined anew on that way.)
//!
//! An analysis of one state of a function: it holds until definitions move.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use smallvec::SmallVec;

use super::params::argument;
use crate::cfg::{Cfg, Dominators};
use crate::ir::{Block, Class, Def, Function, InstData, Op, Value};

/// How many values are followed back to what made them.
const STEPS: usize = 24;

/// What is needed to compare objects' ages.
#[derive(Clone, Copy)]
pub(super) struct Ages<'a> {
    pub func: &'a Function,
    pub cfg: &'a Cfg,
    pub doms: &'a Dominators,
    /// The blocks in which instructions define values.
    pub blocks: &'a SecondaryMap<Value, PackedOption<Block>>,
}

impl Ages<'_> {
    /// Whether an instruction surely leaves an object as it is, and its buffer where it is a list.
    pub(super) fn spares(&self, data: &InstData, object: Value) -> bool {
        let changed = match data.op {
            // The header of a list.
            Op::Store if data.access.is_some_and(|a| matches!(a.class, Class::Len | Class::Bits)) => {
                Some(data.args[0])
            }
            _ => self.func.changed_object(data),
        };
        changed.is_some_and(|changed| self.younger(changed, object))
    }

    /// Whether whatever `x` is was made when `y` was known.
    fn younger(&self, x: Value, y: Value) -> bool {
        let func = self.func;
        let mut seen: SmallVec<[Value; STEPS]> = SmallVec::new();
        let mut work: SmallVec<[Value; STEPS]> = SmallVec::from_slice(&[x]);
        while let Some(value) = work.pop() {
            if seen.contains(&value) {
                continue;
            }
            if seen.len() == STEPS {
                return false;
            }
            seen.push(value);
            match func.values[value].def {
                Def::Param(block, i) => {
                    let edges = self.cfg.preds(block);
                    if edges.is_empty() {
                        return false;
                    }
                    work.extend(edges.iter().map(|e| argument(func, e.from, e.target, i as usize)));
                }
                Def::Inst(inst) => {
                    let data = &func.insts[inst];
                    let new = data.op == Op::Routine
                        && data.site.expand().is_some_and(|s| func.sites[s].effects.new);
                    match func.changed_object(data) {
                        _ if new => {
                            if !self.before(y, value) {
                                return false;
                            }
                        }
                        // The object itself, or one that is made here, which is younger still.
                        Some(object) => work.push(object),
                        None if data.op == Op::SelectCell => work.extend(data.args[1..].iter().copied()),
                        None => return false,
                    }
                }
            }
        }
        true
    }

    /// Whether each way to the definition of `b`, which an instruction makes, passes that of `a`.
    fn before(&self, a: Value, b: Value) -> bool {
        let Some(at) = self.blocks[b].expand() else { return false };
        match self.func.values[a].def {
            Def::Param(block, _) => self.doms.dominates(block, at),
            Def::Inst(inst) => match self.blocks[a].expand() {
                Some(block) if block != at => self.doms.dominates(block, at),
                Some(_) => {
                    let mut both = self.func.blocks[at]
                        .insts
                        .iter()
                        .filter(|&&i| i == inst || self.func.insts[i].result.expand() == Some(b));
                    both.next() == Some(&inst) && both.next().is_some()
                }
                None => false,
            },
        }
    }
}
