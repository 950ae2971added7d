//! What a loop loads and stores in one place goes round in a parameter.
//!
//! Variables in boxes, fields of one object, globals, elements of lists: where all stores of a loop to a part of memory (`memory.rs`) are
//! to the same place, the place is loaded once before the loop, and what is stored is what is loaded next. A sum in such a place
//! then waits for an addition instead of for memory. The stores stay: whatever leaves the loop, a check above all, and whatever loads
//! from there by another name, finds memory as it should be.
//!
//! Needs the base to be known before the loop to be what it has to be, as in `licm.rs`, which runs before, so that bases and checks are
//! outside of the loop; of an element a check before the loop has to say that it is there. Cells that may be objects would live across
//! collections, so they go round only in loops that do not collect.
//!
//! Parameters are added where several ways meet, more than are needed; `params.rs` takes those back.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use smallvec::SmallVec;
use std::mem::offset_of;
use upshift_runtime::object::List;

use super::Replacements;
use super::licm::{Checks, preheaders};
use super::memory::{Memory, Parts};
use crate::cfg::{Analyses, Cfg, Dominators, Loop, Loops};
use crate::ir::{Access, Block, Class, Cond, Def, Function, Inst, InstData, Op, Value, Width};

/// How many places of a loop go round at most.
const PLACES: usize = 4;
/// In so many blocks before a loop a check of a position is looked for.
const CHECKED: usize = 16;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    // Most functions have no loop that stores in a place.
    let stores = func.layout.iter().flat_map(|&b| &func.blocks[b].insts);
    if !stores.into_iter().any(|&i| is_store(func.insts[i].op)) {
        return 0;
    }
    preheaders(func, analyses);
    let (cfg, doms, loops) = analyses.loops(func);
    let memory = Memory::new(func);
    let mut checks = Checks::default();
    let mut replaced = Replacements::new(func);
    let mut count = 0;
    for id in loops.loops.keys() {
        for place in places(func, cfg, doms, loops, &memory, &mut checks, id) {
            promote(func, cfg, doms, loops, &mut replaced, id, &place);
            count += 1;
        }
    }
    replaced.apply(func);
    count
}

/// Whether it stores in a place.
fn is_store(op: Op) -> bool {
    matches!(op, Op::Store | Op::StoreCell | Op::StoreAt)
}

/// What is loaded and stored.
#[derive(Clone, PartialEq, Debug)]
struct Place {
    base: Value,
    /// The position of an element.
    index: Option<Value>,
    offset: i64,
    access: Access,
}

impl Place {
    /// The place that an instruction loads or stores.
    fn of(data: &InstData) -> Option<Place> {
        let indexed = matches!(data.op, Op::LoadAt | Op::StoreAt);
        let access = data.access.filter(|a| a.width.bytes() == 8)?;
        (indexed || matches!(data.op, Op::Load | Op::Store | Op::StoreCell)).then(|| Place {
            base: data.args[0],
            index: indexed.then(|| data.args[1]),
            offset: data.imm,
            access,
        })
    }
}

/// The places of a loop that go round.
fn places(
    func: &Function,
    cfg: &Cfg,
    doms: &Dominators,
    loops: &Loops,
    memory: &Memory,
    checks: &mut Checks,
    id: Loop,
) -> SmallVec<[Place; PLACES]> {
    let data = &loops.loops[id];
    let mut places: SmallVec<[Place; PLACES]> = SmallVec::new();
    // Parts with other stores than to one place.
    let mut spoiled: Parts = 0;
    let mut all: Parts = 0;
    let part = |p: &Place| memory.part(p.access, p.offset);
    for &block in &data.blocks {
        for &inst in &func.blocks[block].insts {
            checks.note(func, cfg, doms, id, inst);
            let data = &func.insts[inst];
            let changes = memory.changes(func, data);
            if changes == 0 {
                continue;
            }
            all |= changes;
            let Some(place) = Place::of(data).filter(|_| is_store(data.op)) else {
                spoiled |= changes;
                continue;
            };
            match places.iter().position(|p| part(p) == part(&place)) {
                Some(i) if places[i] == place => {}
                None if places.len() < PLACES => places.push(place),
                _ => spoiled |= 1 << part(&place),
            }
        }
    }
    let outside = |v: Value| match func.values[v].def {
        Def::Param(block, _) => !loops.contains(id, block),
        Def::Inst(_) => true,
    };
    let collects = all >> Memory::moves() & 1 != 0;
    let header = data.header;
    let mut entries = cfg.preds(header).iter().filter(|e| !doms.dominates(header, e.from));
    let (Some(entry), None) = (entries.next(), entries.next()) else { return SmallVec::new() };
    places.retain(|p| spoiled >> part(p) & 1 == 0 && p.access.class != Class::Fixed);
    if places.is_empty() {
        return places;
    }
    let inside = inside(func, loops, id);
    let loaded = |p: &Place| {
        let mut insts = data.blocks.iter().flat_map(|&b| &func.blocks[b].insts).map(|&i| &func.insts[i]);
        insts.any(|i| matches!(i.op, Op::Load | Op::LoadAt) && Place::of(i).as_ref() == Some(p))
    };
    places.retain(|p| {
        let moved = matches!(p.access.width.ty(), crate::ir::Type::Cell | crate::ir::Type::Ptr);
        !(collects && moved)
            && [Some(p.base), p.index].into_iter().flatten().all(|v| outside(v) && !inside[v])
            && checks.safe(func, id, p.base)
            && p.index
                .is_none_or(|index| is_there(func, (cfg, doms, loops), memory, entry.from, p.base, index))
            && loaded(p)
    });
    places
}

/// Whether a check before a loop says that a position is inside of the list whose elements are at `base`, and no list got another length
/// since. The loop is entered from `block`.
fn is_there(
    func: &Function,
    (cfg, doms, loops): (&Cfg, &Dominators, &Loops),
    memory: &Memory,
    block: Block,
    base: Value,
    index: Value,
) -> bool {
    let of_list = |v: Value, class: Class| {
        let data = func.def(v).filter(|d| d.op == Op::Load && d.access.is_some_and(|a| a.class == class))?;
        Some(data.args[0])
    };
    let Some(list) = of_list(base, Class::Buffer) else { return false };
    let says = |guard: &InstData| {
        let cond = (guard.op == Op::Guard).then(|| func.def(guard.args[0])).flatten();
        cond.is_some_and(|cond| {
            cond.op == Op::Icmp
                && cond.cond() == Cond::Ult
                && cond.args[0] == index
                && of_list(cond.args[1], Class::Len) == Some(list)
        })
    };
    let len = Access { class: Class::Len, width: Width::Int };
    let len = memory.part(len, offset_of!(List, len) as i64);
    let changes = |data: &InstData| memory.changes(func, data) >> len & 1 != 0;
    let insts = |block: Block| func.blocks[block].insts.iter().map(|&inst| &func.insts[inst]);
    let mut at = block;
    for _ in 0..CHECKED {
        for data in insts(at).rev() {
            if says(data) {
                return true;
            }
            if changes(data) {
                return false;
            }
        }
        let Some(above) = doms.idom(at) else { return false };
        // From there alone, and from the ends of a loop that changes no length either.
        let mut others = cfg.preds(at).iter().filter(|e| e.from != above).peekable();
        if others.peek().is_some() {
            let around = loops.innermost(at).map(|id| &loops.loops[id]).filter(|l| l.header == at);
            let quiet = around.is_some_and(|l| !l.blocks.iter().any(|&b| insts(b).any(changes)));
            if !quiet || !others.all(|e| doms.dominates(at, e.from)) {
                return false;
            }
        }
        at = above;
    }
    false
}

/// Values that instructions of a loop define.
fn inside(func: &Function, loops: &Loops, id: Loop) -> SecondaryMap<Value, bool> {
    let mut inside = SecondaryMap::new();
    for &block in &loops.loops[id].blocks {
        for &inst in &func.blocks[block].insts {
            if let Some(result) = func.insts[inst].result.expand() {
                inside[result] = true;
            }
        }
    }
    inside
}

/// A place goes round.
fn promote(
    func: &mut Function,
    cfg: &Cfg,
    doms: &Dominators,
    loops: &Loops,
    replaced: &mut Replacements,
    id: Loop,
    place: &Place,
) {
    let header = loops.loops[id].header;
    let ty = place.access.width.ty();
    // What is in the place at the end of each block, and the parameters that hold it.
    let mut ends: SecondaryMap<Block, PackedOption<Value>> = SecondaryMap::new();
    let mut joins: Vec<Block> = Vec::new();
    for &block in &loops.loops[id].blocks {
        let preds = cfg.preds(block);
        let first = preds.first().and_then(|e| ends[e.from].expand());
        let same = block != header && first.is_some() && preds.iter().all(|e| ends[e.from].expand() == first);
        let mut now = match first.filter(|_| same) {
            Some(value) => value,
            None => {
                joins.push(block);
                func.add_param(block, ty)
            }
        };
        let mut insts = std::mem::take(&mut func.blocks[block].insts);
        insts.retain(|&inst: &Inst| {
            let data = &func.insts[inst];
            let there = Place::of(data).is_some_and(|p| {
                let [here, there] =
                    [&p, place].map(|p| (replaced.get(p.base), p.index.map(|v| replaced.get(v))));
                (p.access, p.offset) == (place.access, place.offset) && here == there
            });
            match data.result.expand() {
                Some(result) if there => {
                    replaced.replace(result, now);
                    false
                }
                _ => {
                    if there && let Some(&stored) = data.args.last() {
                        now = stored;
                    }
                    true
                }
            }
        });
        func.blocks[block].insts = insts;
        ends[block] = now.into();
    }
    for block in joins {
        for &edge in cfg.preds(block) {
            let outside = block == header && !doms.dominates(header, edge.from);
            let value = if outside { load_before(func, edge.from, place) } else { ends[edge.from].expand() };
            if let (Some(inst), Some(value)) = (func.terminator(edge.from), value) {
                func.insts[inst].targets[edge.target as usize].args.push(value);
            }
        }
    }
}

/// Loads what is in a place at the end of a block.
fn load_before(func: &mut Function, block: Block, place: &Place) -> Option<Value> {
    let data = match place.index {
        Some(index) => InstData::new(Op::LoadAt, &[place.base, index]),
        None => InstData::new(Op::Load, &[place.base]),
    };
    let (inst, value) = func.make(data.imm(place.offset).access(place.access.class, place.access.width));
    let end = func.blocks[block].insts.len() - 1;
    func.blocks[block].insts.insert(end, inst);
    value
}
