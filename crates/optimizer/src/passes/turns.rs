//! What a turn stores in a list is what the next turn loads.
//!
//! Where a loop that counts stores `a[i + 1]` in each turn and loads `a[i]`, the load gives what the turn before stored: it goes round in a
//! parameter, and the loop waits for no memory. Tables whose entries follow from the ones before are such loops: costs of edits, sums of
//! what came so far. (Predictive commoning, for one store and the distance of one turn.)
//!
//! Needed of the loop: one entry; a counter that all ways back move by the same constant; one instruction that changes memory of the
//! class, a store that each turn does; the same buffer, from outside, so that nothing collects; positions that are the counter and
//! constants. The first turn's value is loaded before the loop. The position is not known to be inside of the list there, so what is
//! loaded may be the buffer's own first word in its place: where the loop gets to the load, a check, here or before, saw that it is inside.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use std::mem::offset_of;
use upshift_runtime::object::Buffer;

use super::memory::Memory;
use super::params::argument;
use super::{Replacements, definitions};
use crate::cfg::{Analyses, Cfg, Dominators, Edge, Loop, Loops};
use crate::ir::{Access, Block, Class, Cond, Def, Function, InstData, Op, Value, Width};

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let stores = |op: Op| op == Op::StoreAt;
    if !func.layout.iter().flat_map(|&b| &func.blocks[b].insts).any(|&i| stores(func.insts[i].op)) {
        return 0;
    }
    let (cfg, doms, loops) = analyses.loops(func);
    let memory = Memory::new(func);
    let blocks = definitions(func);
    let pass = Pass { cfg, doms, loops, memory: &memory, blocks: &blocks };
    let mut replaced = Replacements::new(func);
    for id in loops.loops.keys() {
        for class in [Class::Ints, Class::Floats] {
            if let Some(found) = pass.find(func, id, class) {
                pass.carry(func, &mut replaced, id, &found);
            }
        }
    }
    let count = replaced.count();
    replaced.apply(func);
    count
}

struct Pass<'a> {
    cfg: &'a Cfg,
    doms: &'a Dominators,
    loops: &'a Loops,
    memory: &'a Memory,
    /// The blocks that instructions define values in.
    blocks: &'a SecondaryMap<Value, PackedOption<Block>>,
}

/// A counter: the parameter, what it is in the next turn, and how much that is more.
#[derive(Clone, Copy)]
pub(super) struct Counter {
    pub(super) now: Value,
    pub(super) next: Value,
    pub(super) step: i64,
    pub(super) first: Value,
}

impl Counter {
    /// The counter that a parameter of a loop's header is.
    pub(super) fn new(func: &Function, cfg: &Cfg, header: Block, entry: Edge, i: usize) -> Option<Counter> {
        let now = func.blocks[header].params[i];
        let mut back = cfg.preds(header).iter().filter(|e| e.from != entry.from);
        let next = back.next().map(|e| argument(func, e.from, e.target, i))?;
        if !back.all(|e| argument(func, e.from, e.target, i) == next) {
            return None;
        }
        let first = argument(func, entry.from, entry.target, i);
        let (base, step) = sum(func, next)?;
        (base == now && step != 0).then_some(Counter { now, next, step, first })
    }
}

/// Whether a value comes from outside of a loop; `blocks` has the blocks that instructions define values in.
pub(super) fn outside(
    func: &Function,
    loops: &Loops,
    blocks: &SecondaryMap<Value, PackedOption<Block>>,
    id: Loop,
    value: Value,
) -> bool {
    match func.values[value].def {
        Def::Param(block, _) => !loops.contains(id, block),
        Def::Inst(_) => blocks[value].expand().is_some_and(|b| !loops.contains(id, b)),
    }
}

/// A store and the loads of what it stored in the turn before.
struct Found {
    entry: Edge,
    counter: Counter,
    access: Access,
    buffer: Value,
    stored: Value,
    /// How much the loads' position is more than the counter.
    distance: i64,
    loads: Vec<Value>,
}

impl Pass<'_> {
    fn find(&self, func: &Function, id: Loop, class: Class) -> Option<Found> {
        let data = &self.loops.loops[id];
        if func.blocks[data.header].cold {
            return None;
        }
        let part = 1 << self.memory.part(Access { class, width: Width::Int }, 0);
        let mut store = None;
        for &block in &data.blocks {
            for &inst in &func.blocks[block].insts {
                if self.memory.changes(func, &func.insts[inst]) & part != 0
                    && store.replace((block, inst)).is_some()
                {
                    return None;
                }
            }
        }
        let (at, store) = store?;
        let store = &func.insts[store];
        let [buffer, position, stored] = store.args[..] else { return None };
        let access = store.access?;
        let each = data.latches.iter().all(|&latch| self.doms.dominates(at, latch));
        if store.op != Op::StoreAt
            || !each
            || access.width.bytes() != 8
            || !outside(func, self.loops, self.blocks, id, buffer)
        {
            return None;
        }
        // Of loops inside, each turn would store.
        if self.loops.innermost(at) != Some(id) || store.imm != Buffer::DATA as i64 {
            return None;
        }
        let mut entries =
            self.cfg.preds(data.header).iter().filter(|e| !self.doms.dominates(data.header, e.from));
        let (Some(&entry), None) = (entries.next(), entries.next()) else { return None };
        let params = 0..func.blocks[data.header].params.len();
        let counters = params.filter_map(|i| Counter::new(func, self.cfg, data.header, entry, i));
        counters.into_iter().find_map(|counter| {
            let distance = ahead(func, counter, position)?.checked_sub(counter.step)?;
            let mut loads = Vec::new();
            for &block in &data.blocks {
                for &inst in &func.blocks[block].insts {
                    let data = &func.insts[inst];
                    if data.op == Op::LoadAt
                        && (data.access, data.imm, data.args[0]) == (Some(access), store.imm, buffer)
                        && self.loops.innermost(block) == Some(id)
                        && ahead(func, counter, data.args[1]) == Some(distance)
                    {
                        loads.extend(data.result.expand());
                    }
                }
            }
            let found = Found { entry, counter, access, buffer, stored, distance, loads };
            (!found.loads.is_empty()).then_some(found)
        })
    }

    /// What is stored goes round.
    fn carry(&self, func: &mut Function, replaced: &mut Replacements, id: Loop, found: &Found) {
        let header = self.loops.loops[id].header;
        let Found { entry, counter, access, buffer, .. } = *found;
        let mut new = Vec::new();
        let mut def = |func: &mut Function, data: InstData| {
            let (inst, value) = func.make(data);
            new.push(inst);
            value
        };
        let first = (|| {
            let mut position = counter.first;
            if found.distance != 0 {
                let distance = def(func, InstData::new(Op::Iconst, &[]).imm(found.distance))?;
                position = def(func, InstData::new(Op::Iadd, &[position, distance]))?;
            }
            let capacity = InstData::new(Op::Load, &[buffer]).imm(offset_of!(Buffer, capacity) as i64);
            let capacity = def(func, capacity.access(Class::Capacity, Width::Int))?;
            let inside = InstData::new(Op::Icmp, &[position, capacity]).imm(Cond::Ult as i64);
            let inside = def(func, inside)?;
            let word = -(Buffer::DATA as i64) / i64::from(access.width.bytes());
            let word = def(func, InstData::new(Op::Iconst, &[]).imm(word))?;
            let position = def(func, InstData::new(Op::SelectInt, &[inside, position, word]))?;
            let load = InstData::new(Op::LoadAt, &[buffer, position]).imm(Buffer::DATA as i64);
            def(func, load.access(access.class, access.width))
        })();
        let Some(first) = first else { return };
        let end = func.blocks[entry.from].insts.len() - 1;
        func.blocks[entry.from].insts.splice(end..end, new);
        let param = func.add_param(header, access.width.ty());
        for edge in self.cfg.preds(header) {
            let value = if edge.from == entry.from { first } else { found.stored };
            if let Some(inst) = func.terminator(edge.from) {
                func.insts[inst].targets[edge.target as usize].args.push(value);
            }
        }
        found.loads.iter().for_each(|&load| replaced.replace(load, param));
    }
}

/// A value as another one and a constant.
fn sum(func: &Function, value: Value) -> Option<(Value, i64)> {
    let data = func.def(value)?;
    match data.op {
        Op::Iadd | Op::IaddExit => Some((data.args[0], func.int_const(data.args[1])?)),
        Op::Isub | Op::IsubExit => Some((data.args[0], func.int_const(data.args[1])?.checked_neg()?)),
        _ => None,
    }
}

/// How much a position is more than the counter.
fn ahead(func: &Function, counter: Counter, position: Value) -> Option<i64> {
    let near = |value: Value| match value {
        _ if value == counter.now => Some(0),
        _ if value == counter.next => Some(counter.step),
        _ => None,
    };
    near(position).or_else(|| {
        let (base, more) = sum(func, position)?;
        near(base)?.checked_add(more)
    })
}
