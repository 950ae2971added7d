//! What a loop loads and stores in one place goes round in a parameter.
//!
//! Variables in boxes, fields of one object, globals: where all stores of a loop to a part of memory (`memory.rs`) are to the same place,
//! and loads are from there, the place is loaded once before the loop, and what is stored is what is loaded next. A sum in such a place
//! then waits for an addition instead of for memory. The stores stay: whatever leaves the loop, a check above all, finds memory as
//! it should be.
//!
//! Needs the base to be known before the loop to be what it has to be, as in `licm.rs`, which runs before, so that bases are outside of
//! the loop. Cells that may be objects would live across collections, so they go round only in loops that do not collect.
//!
//! Parameters are added where several ways meet, more than are needed; `params.rs` takes those back.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use smallvec::SmallVec;

use super::Replacements;
use super::licm::{Checks, preheaders};
use super::memory::{Memory, Parts};
use crate::cfg::{Analyses, Cfg, Dominators, Loop, Loops};
use crate::ir::{Access, Block, Class, Def, Function, Inst, InstData, Op, Value};

/// How many places of a loop go round at most.
const PLACES: usize = 4;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    // Most functions have no loop that stores in a place.
    let stores = func.layout.iter().flat_map(|&b| &func.blocks[b].insts);
    if !stores.into_iter().any(|&i| matches!(func.insts[i].op, Op::Store | Op::StoreCell)) {
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

/// What is loaded and stored.
#[derive(Clone, PartialEq, Debug)]
struct Place {
    base: Value,
    offset: i64,
    access: Access,
    loads: u32,
    stores: u32,
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
    // Parts with other accesses than to one place.
    let mut spoiled: Parts = 0;
    let mut all: Parts = 0;
    for &block in &data.blocks {
        for &inst in &func.blocks[block].insts {
            checks.note(func, cfg, doms, id, inst);
            let data = &func.insts[inst];
            let changes = memory.changes(func, data);
            all |= changes;
            let plain = matches!(data.op, Op::Load | Op::Store | Op::StoreCell);
            let Some(access) = data.access else {
                spoiled |= changes;
                continue;
            };
            let part = memory.part(access, data.imm);
            if !plain || access.width.bytes() != 8 {
                spoiled |= 1 << part;
                continue;
            }
            let stores = u32::from(data.op != Op::Load);
            let (base, offset) = (data.args[0], data.imm);
            match places.iter().position(|p| memory.part(p.access, p.offset) == part) {
                Some(i) if (places[i].base, places[i].offset, places[i].access) == (base, offset, access) => {
                    places[i].loads += 1 - stores;
                    places[i].stores += stores;
                }
                None if places.len() < PLACES => {
                    places.push(Place { base, offset, access, loads: 1 - stores, stores });
                }
                _ => spoiled |= 1 << part,
            }
        }
    }
    let outside = |v: Value| match func.values[v].def {
        Def::Param(block, _) => !loops.contains(id, block),
        Def::Inst(_) => true,
    };
    let collects = all >> Memory::moves() & 1 != 0;
    let header = data.header;
    let inside = inside(func, loops, id);
    places.retain(|p| {
        let moved = matches!(p.access.width.ty(), crate::ir::Type::Cell | crate::ir::Type::Ptr);
        spoiled >> memory.part(p.access, p.offset) & 1 == 0
            && p.loads > 0
            && p.stores > 0
            && p.access.class != Class::Fixed
            && !(collects && moved)
            && outside(p.base)
            && !inside[p.base]
            && checks.safe(func, id, p.base)
    });
    let alone = cfg.preds(header).iter().filter(|e| !doms.dominates(header, e.from)).count() == 1;
    if !alone {
        places.clear();
    }
    places
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
            let there = data.access == Some(place.access)
                && data.imm == place.offset
                && data.args.first().is_some_and(|&b| replaced.get(b) == replaced.get(place.base));
            if !there {
                return true;
            }
            match data.op {
                Op::Load => {
                    if let Some(result) = data.result.expand() {
                        replaced.replace(result, now);
                    }
                    false
                }
                _ => {
                    now = data.args[1];
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
    let data = InstData::new(Op::Load, &[place.base]).imm(place.offset);
    let (inst, value) = func.make(data.access(place.access.class, place.access.width));
    let end = func.blocks[block].insts.len() - 1;
    func.blocks[block].insts.insert(end, inst);
    value
}
