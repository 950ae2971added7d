//! Objects that are not the same: one that is older than the other.
//!
//! A value that was there before an object was made is not that object. So a list that a loop fills is no list that the loop got from
//! outside, whatever becomes of either, and what is written to the one leaves the other as it is. That needs no escape analysis, only
//! dominance: where the definition of `y` dominates everything that makes what `x` may be, a use of `x` sees an object that is younger
//! than `y`. (Whatever hands the object on, from its maker to the use, is dominated by `y`, too, so `y` is not defined anew on that way.)
//! Nor are two values the same object that have no maker in common.
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

/// What makes an object.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Maker {
    /// The object.
    value: Value,
    /// Whether all that the value may be is made there. Else it may be handed on, and then what it is was made elsewhere, before.
    first: bool,
}

type Makers = SmallVec<[Maker; 4]>;

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
        changed.is_some_and(|changed| self.distinct(changed, object))
    }

    /// Whether two values surely are different objects.
    fn distinct(&self, x: Value, y: Value) -> bool {
        let (first, second) = (self.makers(x), self.makers(y));
        let younger = |makers: &Option<Makers>, than: Value| {
            makers.as_ref().is_some_and(|all| all.iter().all(|m| !m.first || self.before(than, m.value)))
        };
        match (&first, &second) {
            // What makes the one makes no object of the other.
            (Some(a), Some(b)) if !a.iter().any(|m| b.contains(m)) => true,
            _ => younger(&first, y) || younger(&second, x),
        }
    }

    /// What makes the objects that a value may be; `None` where it may have another origin.
    fn makers(&self, value: Value) -> Option<Makers> {
        let func = self.func;
        let mut makers = Makers::new();
        let mut seen: SmallVec<[Value; STEPS]> = SmallVec::new();
        let mut work: SmallVec<[Value; STEPS]> = SmallVec::from_slice(&[value]);
        while let Some(value) = work.pop() {
            if seen.contains(&value) {
                continue;
            }
            if seen.len() == STEPS {
                return None;
            }
            seen.push(value);
            match func.values[value].def {
                Def::Param(block, i) => {
                    let edges = self.cfg.preds(block);
                    if edges.is_empty() {
                        return None;
                    }
                    work.extend(edges.iter().map(|e| argument(func, e.from, e.target, i as usize)));
                }
                Def::Inst(inst) => {
                    let data = &func.insts[inst];
                    let new = match data.op {
                        Op::Alloc | Op::Make => true,
                        Op::Routine => data.site.expand().is_some_and(|s| func.sites[s].effects.new),
                        _ => false,
                    };
                    match func.changed_object(data) {
                        _ if new => makers.push(Maker { value, first: true }),
                        // The object itself, or one that is made here.
                        Some(object) => {
                            makers.push(Maker { value, first: false });
                            work.push(object);
                        }
                        None if data.op == Op::SelectCell => work.extend(data.args[1..].iter().copied()),
                        None => return None,
                    }
                }
            }
        }
        Some(makers)
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
