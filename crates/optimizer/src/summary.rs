//! What a compilation made of a function, counted by position: for reports.
//!
//! Passes keep no counts. What can be saved (checks, allocations, routines) is counted in the form as it was built and in the form
//! that is lowered, by bytecode position, and the difference is what all passes did together. An instruction's class follows from
//! the columns of its op. Blocks that run seldom do not count: neither the copy of a loop that has its checks for the case that they
//! are needed, nor slow ways beside quick ones. Calls are told by the builder, which knows why it inlined one or did not
//! ([`crate::ir::CallSite`]); quick ways and loops whose turns are skipped by who makes them ([`crate::ir::Note`]).

use std::collections::BTreeMap;

use crate::cfg::{Cfg, Dominators, Loops};
use crate::ir::{CallSite, Function, InstData, Note, Op, Reason};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A check that leaves machine code where it fails.
    Check(Reason),
    /// An object that is made.
    Allocation,
    /// An instruction that the interpreter's routine does.
    Routine,
}

/// What is counted of one kind at one instruction of the bytecode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// What.
    pub kind: Kind,
    /// The function's engine-wide number: of the one that was compiled, or of one that was inlined.
    pub function: u32,
    /// The word of the instruction.
    pub word: u32,
    /// How many there were when the function was built: more than one where it was inlined several times.
    pub built: u32,
    /// How many are left.
    pub left: u32,
    /// In how many loops the innermost of those built stood.
    pub built_depth: u32,
    /// And of those that are left.
    pub left_depth: u32,
}

/// What a compilation made of a function.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Summary {
    /// Calls of guest functions.
    pub calls: Vec<CallSite>,
    /// What was made that cannot be counted.
    pub notes: Vec<Note>,
    /// Checks, allocations and routines, in the order of kinds and positions.
    pub items: Vec<Item>,
    /// Allocations that stand on the ways alone that need the object.
    pub sunk: u32,
    /// Objects that are made where frames are written, if ever.
    pub virtuals: u32,
}

/// Counts what is in a function at one time.
#[derive(Debug, Default)]
pub struct Census {
    counts: BTreeMap<(Kind, u32, u32), (u32, u32)>,
    sunk: u32,
    virtuals: u32,
}

/// What an instruction counts as, if it counts.
fn class(data: &InstData) -> Option<Kind> {
    let info = data.op.info();
    // Ways out tell nothing until they are taken, and charges stay.
    if !info.leaves || info.terminator || info.charges {
        return None;
    }
    match data.op {
        // Its immediate is a size.
        Op::Stack => Some(Kind::Check(Reason::Stack)),
        Op::Routine => Some(Kind::Routine),
        _ if info.makes => Some(Kind::Allocation),
        _ => (!info.site).then(|| Kind::Check(data.reason())),
    }
}

impl Census {
    /// Counts what a function has now.
    pub fn take(func: &Function) -> Census {
        let cfg = Cfg::new(func);
        let doms = Dominators::new(&cfg);
        let loops = Loops::new(func, &cfg, &doms);
        let mut census = Census::default();
        for &block in func.layout.iter().filter(|&&b| !func.blocks[b].cold) {
            let depth = loops.depth(block);
            for &inst in &func.blocks[block].insts {
                let data = &func.insts[inst];
                if data.op == Op::Virtual {
                    census.virtuals += 1;
                } else if data.op.info().makes && !data.op.info().leaves {
                    census.sunk += 1;
                }
                let Some(kind) = class(data) else { continue };
                let Some(state) = data.state.expand().map(|s| &func.states[s]) else { continue };
                let count = census.counts.entry((kind, state.function, state.word)).or_default();
                *count = (count.0 + 1, count.1.max(depth));
            }
        }
        census
    }

    /// What became of what was counted here.
    pub fn compare(self, after: &Census, func: &Function) -> Summary {
        let mut items: Vec<Item> = self
            .counts
            .into_iter()
            .map(|((kind, function, word), (built, built_depth))| {
                let (left, left_depth) =
                    after.counts.get(&(kind, function, word)).copied().unwrap_or_default();
                Item { kind, function, word, built, left, built_depth, left_depth }
            })
            .collect();
        // What passes bring about for another reason, such as a check in front of a loop for one in it, is left as it is found.
        for (&(kind, function, word), &(left, left_depth)) in &after.counts {
            let known = items.binary_search_by_key(&(kind, function, word), |i| (i.kind, i.function, i.word));
            if let Err(at) = known {
                items.insert(at, Item { kind, function, word, built: 0, left, built_depth: 0, left_depth });
            }
        }
        let (calls, notes) = (func.calls.clone(), func.notes.clone());
        Summary { calls, notes, items, sunk: after.sunk, virtuals: after.virtuals }
    }
}
