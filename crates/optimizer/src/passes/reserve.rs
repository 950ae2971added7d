//! Room for what a loop that counts appends to a list.
//!
//! `for i in 0..n { row = append(row, 0) }` lets the list grow step by step: each doubling is a call of a routine from a slow path, copies
//! what is there, and leaves a buffer to the collector. Where each turn appends, and the turns that are left are known when the loop is
//! entered, the room is asked for there, once. That is a wish: the helper grants it where the nursery has it, up to a small buffer, and nothing
//! of what is seen of the list changes, so a loop that is left early loses memory for a while and nothing else.
//!
//! Needed of the loop: one entry; a counter that goes up by one; a branch that each turn passes, by which the loop goes on while the
//! counter is below what does not change in it; a routine that appends, in a cold block whose closest dominator each turn passes; a list
//! that is the same in all turns, or goes round in a parameter and is never another one than what was appended to.
//!
//! Runs behind `licm.rs`, which takes bounds out of loops, and before `reload.rs`, which loads buffers before them.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use smallvec::SmallVec;

use super::licm::preheaders;
use super::params::{argument, relayout};
use super::turns::{Counter, outside};
use super::{Rewriter, definitions};
use crate::cfg::{Analyses, Cfg, Dominators, Edge, Loop, Loops};
use crate::helper::Helper;
use crate::ir::{Block, Cond, Def, Function, Inst, InstData, Op, Target, Value};

/// What new lists have room for.
const LEAST_ROOM: i64 = 4;
/// The most elements that are asked for where a loop may be left before its counter ends it.
const UNSURE: i64 = 64;
/// The most elements in any case: more than small buffers hold.
const MOST: i64 = 1 << 16;
/// How many values a list is followed through.
const STEPS: u32 = 8;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let cold = func.layout.iter().filter(|&&b| func.blocks[b].cold).flat_map(|&b| &func.blocks[b].insts);
    if !cold.into_iter().any(|&i| appends(func, i)) {
        return 0;
    }
    let created = preheaders(func, analyses);
    let (cfg, doms, loops) = analyses.loops(func);
    let blocks = definitions(func);
    let pass = Pass { func, cfg, doms, loops, blocks: &blocks };
    let found: Vec<Found> = loops.loops.keys().filter_map(|id| pass.find(id)).collect();
    found.iter().for_each(|found| reserve(func, found));
    if !found.is_empty() {
        relayout(func, analyses);
    }
    found.len() + created
}

/// Whether an instruction appends by a routine.
fn appends(func: &Function, inst: Inst) -> bool {
    let data = &func.insts[inst];
    data.op == Op::Routine && data.site.expand().is_some_and(|site| func.sites[site].effects.grows)
}

/// What is asked for.
struct Found {
    /// The block before the loop.
    before: Block,
    lists: SmallVec<[Value; 2]>,
    first: Value,
    bound: Value,
    /// Whether the bound is reached, too.
    inclusive: bool,
    most: i64,
}

struct Pass<'a> {
    func: &'a Function,
    cfg: &'a Cfg,
    doms: &'a Dominators,
    loops: &'a Loops,
    blocks: &'a SecondaryMap<Value, PackedOption<Block>>,
}

impl Pass<'_> {
    fn find(&self, id: Loop) -> Option<Found> {
        let (func, data) = (self.func, &self.loops.loops[id]);
        if func.blocks[data.header].cold {
            return None;
        }
        let mut entries =
            self.cfg.preds(data.header).iter().filter(|e| !self.doms.dominates(data.header, e.from));
        let (Some(&entry), None) = (entries.next(), entries.next()) else { return None };
        let mut lists: SmallVec<[Value; 2]> = SmallVec::new();
        for &block in data.blocks.iter().filter(|&&b| func.blocks[b].cold) {
            for &inst in func.blocks[block].insts.iter().filter(|&&i| appends(func, i)) {
                let each = self.doms.idom(block).is_some_and(|b| self.each_turn(id, b));
                let list = func.changed_object(&func.insts[inst]).filter(|_| each);
                let list = list.and_then(|list| self.before(id, entry, list));
                lists.extend(list.filter(|list| !lists.contains(list)));
            }
        }
        if lists.is_empty() {
            return None;
        }
        let (counter, bound, inclusive, exit) = self.turns(id, entry)?;
        let sure = data.exits.iter().all(|e| *e == exit || func.blocks[self.target(e)].cold);
        let most = if sure { MOST } else { UNSURE };
        Some(Found { before: entry.from, lists, first: counter.first, bound, inclusive, most })
    }

    fn target(&self, edge: &Edge) -> Block {
        self.func.successors(edge.from).nth(edge.target as usize).unwrap_or(edge.from)
    }

    /// Whether each turn of a loop passes a block, and once.
    fn each_turn(&self, id: Loop, block: Block) -> bool {
        self.loops.innermost(block) == Some(id)
            && self.loops.loops[id].latches.iter().all(|&latch| self.doms.dominates(block, latch))
    }

    /// What a list that a loop appends to is before it.
    fn before(&self, id: Loop, entry: Edge, list: Value) -> Option<Value> {
        let (func, header) = (self.func, self.loops.loops[id].header);
        if outside(func, self.loops, self.blocks, id, list) {
            return Some(list);
        }
        let Def::Param(at, i) = func.values[list].def else { return None };
        if at != header {
            return None;
        }
        let back = self.cfg.preds(header).iter().filter(|e| e.from != entry.from);
        let same = |e: &Edge| self.is_longer(argument(func, e.from, e.target, i as usize), list, STEPS);
        back.into_iter().all(same).then(|| argument(func, entry.from, entry.target, i as usize))
    }

    /// Whether a value is a list as it was, or with more elements.
    fn is_longer(&self, value: Value, list: Value, steps: u32) -> bool {
        if value == list {
            return true;
        }
        let (func, Some(steps)) = (self.func, steps.checked_sub(1)) else { return false };
        match func.values[value].def {
            Def::Inst(inst) => {
                let from = func.changed_object(&func.insts[inst]).filter(|_| appends(func, inst));
                from.is_some_and(|from| self.is_longer(from, list, steps))
            }
            Def::Param(block, i) => self.cfg.preds(block).iter().all(|e| {
                !self.doms.dominates(block, e.from)
                    && self.is_longer(argument(func, e.from, e.target, i as usize), list, steps)
            }),
        }
    }

    /// A counter that goes up by one, what it stays below, whether it reaches that, and the way out.
    fn turns(&self, id: Loop, entry: Edge) -> Option<(Counter, Value, bool, Edge)> {
        let (func, data) = (self.func, &self.loops.loops[id]);
        let params = 0..func.blocks[data.header].params.len();
        let counters = params.filter_map(|i| Counter::new(func, self.cfg, data.header, entry, i));
        let counters: SmallVec<[Counter; 4]> = counters.filter(|c| c.step == 1).collect();
        data.exits.iter().filter(|exit| self.each_turn(id, exit.from)).find_map(|exit| {
            let branch = &func.insts[func.terminator(exit.from)?];
            let test = func.def(*branch.args.first().filter(|_| branch.op == Op::Branch)?)?;
            if test.op != Op::Icmp {
                return None;
            }
            // The first target is where the condition holds.
            let goes_on = if exit.target == 1 { test.cond() } else { test.cond().negated() };
            let [a, b] = test.args[..] else { return None };
            [(a, b, goes_on), (b, a, goes_on.swapped())].into_iter().find_map(|(value, bound, cond)| {
                let counter = counters.iter().find(|c| [c.now, c.next].contains(&value))?;
                let below = matches!(cond, Cond::Lt | Cond::Le | Cond::Ne);
                (below && outside(func, self.loops, self.blocks, id, bound)).then_some((
                    *counter,
                    bound,
                    cond == Cond::Le,
                    *exit,
                ))
            })
        })
    }
}

/// Asks for the room, where there are more turns than new lists have room for.
fn reserve(func: &mut Function, found: &Found) {
    let Some(jump) = func.blocks[found.before].insts.pop() else { return };
    let (ask, go) = (func.add_block(), func.add_block());
    for block in [ask, go] {
        func.blocks[block].cold = func.blocks[found.before].cold;
    }
    func.blocks[go].insts.push(jump);
    let mut new = Rewriter { insts: std::mem::take(&mut func.blocks[found.before].insts) };
    let mut turns = new.def(func, InstData::new(Op::Isub, &[found.bound, found.first]));
    if found.inclusive {
        let one = new.int(func, 1);
        turns = new.def(func, InstData::new(Op::Iadd, &[turns, one]));
    }
    let room = new.int(func, LEAST_ROOM);
    let more = new.def(func, InstData::new(Op::Icmp, &[turns, room]).imm(Cond::Gt as i64));
    func.blocks[found.before].insts = new.insts;
    func.append(found.before, InstData::new(Op::Branch, &[more]).targets([ask, go].map(Target::new)));
    let mut new = Rewriter { insts: Vec::new() };
    let most = new.int(func, found.most);
    let turns = new.def(func, InstData::new(Op::Imin, &[turns, most]));
    for &list in &found.lists {
        let site = func.sites.push(Helper::ListReserve.site());
        let call = InstData::new(Op::Helper, &[list, turns]).imm(Helper::ListReserve as i64);
        let (call, _) = func.make(call.site(site));
        new.insts.push(call);
    }
    func.blocks[ask].insts = new.insts;
    func.append(ask, InstData::new(Op::Jump, &[]).targets([Target::new(go)]));
}
