//! What of lists and strings changes in a loop's cold code only goes round in parameters.
//!
//! A list that a loop appends to has a length, a buffer with a capacity, and a mark that says whether it is shared. The loop loads all
//! four in each turn, because routines in its cold code change them and collections move the buffer; so it does with the buffers of
//! lists that it only reads, and with the bytes of strings. Here such a place is loaded once before the loop, and again behind what may
//! change it in cold blocks. The lengths that the loop itself stores are what is loaded next, as in `promote.rs`: an append then waits
//! for an addition instead of for memory. The stores stay.
//!
//! The list need not be one value: a routine that appends gives the list or another one (`SiteEffects::own`), so each point of the loop has
//! a value that the list is at this point: a parameter of the header, the results of such routines, parameters where these meet.
//! Where two ways do not agree on it, the list is left alone. What changes other lists only (`alias.rs`) changes nothing here.
//!
//! A pointer goes round in a loop that collects in cold blocks only, and is loaded again there, so none lives across a collection. Lists are
//! known before the loop to be lists, as in `licm.rs`, which runs before.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use smallvec::SmallVec;
use std::mem::offset_of;
use upshift_runtime::object::{Buffer, Header, List, StringObject};

use super::alias::Ages;
use super::licm::{Checks, preheaders};
use super::memory::Memory;
use super::params::argument;
use super::{Replacements, definitions};
use crate::cfg::{Analyses, Cfg, Dominators, Loop, Loops};
use crate::ir::{Access, Block, Class, Def, Function, Inst, InstData, Op, Type, Value, Width};

/// How many lists of a loop are looked at.
const LISTS: usize = 6;
/// The most blocks of a loop.
const BLOCKS: usize = 60;

/// The places of a list, a capacity behind the buffer that has it; and where a string's bytes are, which `ascii_base` says, and only
/// collections change.
const PLACES: [(Class, Width, usize); 5] = [
    (Class::Len, Width::Int, offset_of!(List, len)),
    (Class::Bits, Width::U16, offset_of!(Header, bits)),
    (Class::Buffer, Width::Ptr, offset_of!(List, buffer)),
    (Class::Capacity, Width::Int, offset_of!(Buffer, capacity)),
    (Class::Fixed, Width::Ptr, StringObject::PAYLOAD),
];
const LEN: usize = 0;
const BUFFER: usize = 2;
const CAPACITY: usize = 3;
const BYTES: usize = 4;

/// What is in the places at a point.
type Now = [PackedOption<Value>; PLACES.len()];

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    // Most functions have no cold code that changes lists.
    let cold = func.layout.iter().filter(|&&b| func.blocks[b].cold).flat_map(|&b| &func.blocks[b].insts);
    if !cold.into_iter().any(|&i| func.insts[i].op == Op::Routine) {
        return 0;
    }
    let created = preheaders(func, analyses);
    let (cfg, doms, loops) = analyses.loops(func);
    let memory = Memory::new(func);
    let mut pass = Pass {
        blocks: definitions(func),
        replaced: Replacements::new(func),
        func,
        cfg,
        doms,
        loops,
        memory,
        checks: Checks::of_lists(),
    };
    for id in loops.loops.keys() {
        pass.lists(id);
    }
    let count = pass.replaced.count();
    let mut replaced = pass.replaced;
    replaced.apply(func);
    count + created
}

/// The place that an access is of, by class and offset.
fn place(data: &InstData) -> Option<usize> {
    if data.op == Op::AsciiBase {
        return Some(BYTES);
    }
    let Access { class, width } = data.access?;
    PLACES.iter().position(|&p| p == (class, width, data.imm as usize))
}

/// The place that an instruction loads.
fn loads(data: &InstData) -> Option<usize> {
    place(data).filter(|_| matches!(data.op, Op::Load | Op::AsciiBase))
}

/// A list or string of a loop.
struct Followed {
    /// What it is at the start of each block of the loop.
    starts: SecondaryMap<Block, PackedOption<Value>>,
    /// What it is before the loop.
    before: Value,
    /// The places that go round.
    places: [bool; PLACES.len()],
    /// Behind which instructions places are loaded again.
    reloads: Vec<(Inst, [bool; PLACES.len()])>,
}

struct Pass<'a> {
    func: &'a mut Function,
    cfg: &'a Cfg,
    doms: &'a Dominators,
    loops: &'a Loops,
    memory: Memory,
    checks: Checks,
    blocks: SecondaryMap<Value, PackedOption<Block>>,
    replaced: Replacements,
}

impl Pass<'_> {
    /// Looks at the lists of a loop.
    fn lists(&mut self, id: Loop) {
        let data = &self.loops.loops[id];
        if data.blocks.len() > BLOCKS || self.func.blocks[data.header].cold {
            return;
        }
        let outside = |e: &&crate::cfg::Edge| !self.doms.dominates(data.header, e.from);
        let mut entries = self.cfg.preds(data.header).iter().filter(outside);
        let (Some(&entry), None) = (entries.next(), entries.next()) else { return };
        let mut found: SmallVec<[Value; LISTS]> = SmallVec::new();
        for &block in &data.blocks {
            for &inst in &self.func.blocks[block].insts {
                self.checks.note(self.func, self.cfg, self.doms, id, inst);
                let inst = &self.func.insts[inst];
                if loads(inst).is_none_or(|p| p == CAPACITY) {
                    continue;
                }
                let list = inst.args[0];
                let known = match self.func.values[list].def {
                    Def::Param(at, _) => at == data.header || !self.loops.contains(id, at),
                    Def::Inst(_) => self.blocks[list].expand().is_some_and(|b| !self.loops.contains(id, b)),
                };
                if known && self.func.ty(list) == Type::Cell && found.len() < LISTS && !found.contains(&list)
                {
                    found.push(list);
                }
            }
        }
        for list in found {
            if let Some(followed) = self.follow(id, entry.from, list) {
                self.carry(id, entry.from, &followed);
            }
        }
    }

    /// What a list is behind an instruction.
    fn next(&self, data: &InstData, list: Value) -> Value {
        match data.result.expand() {
            Some(result) if self.func.changed_object(data) == Some(list) => result,
            _ => list,
        }
    }

    /// Follows a list through a loop; `None` where that does not pay or cannot be done.
    fn follow(&self, id: Loop, entry: Block, list: Value) -> Option<Followed> {
        let func = &*self.func;
        let data = &self.loops.loops[id];
        let header = data.header;
        let mut starts: SecondaryMap<Block, PackedOption<Value>> = SecondaryMap::new();
        let mut ends: SecondaryMap<Block, PackedOption<Value>> = SecondaryMap::new();
        for &block in &data.blocks {
            let mut now = list;
            if block != header {
                let mut known = self.cfg.preds(block).iter().filter(|e| ends[e.from].is_some());
                let first = ends[known.next()?.from].expand()?;
                now = if known.all(|e| ends[e.from].expand() == Some(first)) {
                    first
                } else {
                    let params = func.blocks[block].params.iter().enumerate();
                    let meets = |i: usize| {
                        let mut known = self.cfg.preds(block).iter().filter(|e| ends[e.from].is_some());
                        known.all(|e| ends[e.from].expand() == Some(argument(func, e.from, e.target, i)))
                    };
                    params.into_iter().find(|&(i, _)| meets(i)).map(|(_, &p)| p)?
                };
            }
            if !self.checks.safe(func, id, now) {
                return None;
            }
            starts[block] = now.into();
            for &inst in &func.blocks[block].insts {
                now = self.next(&func.insts[inst], now);
            }
            ends[block] = now.into();
        }
        // All ways agree.
        let mut before = list;
        for &block in &data.blocks {
            let start = starts[block].expand()?;
            let param = match func.values[start].def {
                Def::Param(at, i) if at == block => Some(i as usize),
                _ => None,
            };
            for edge in self.cfg.preds(block) {
                let comes = match param {
                    Some(i) => argument(func, edge.from, edge.target, i),
                    None => start,
                };
                if block == header && edge.from == entry {
                    before = comes;
                } else if ends[edge.from].expand() != Some(comes) {
                    return None;
                }
            }
        }
        if !self.checks.safe(func, id, before) {
            return None;
        }
        let mut followed = Followed { starts, before, places: [true; PLACES.len()], reloads: Vec::new() };
        self.choose(id, &mut followed);
        followed.places.contains(&true).then_some(followed)
    }

    /// Finds the places that go round, and where they are loaded again.
    fn choose(&self, id: Loop, followed: &mut Followed) {
        let func = &*self.func;
        let ages = Ages { func, cfg: self.cfg, doms: self.doms, blocks: &self.blocks };
        let mut counts = [0; PLACES.len()];
        let mut buffers: SmallVec<[Value; 8]> = SmallVec::new();
        for &block in &self.loops.loops[id].blocks {
            let cold = func.blocks[block].cold;
            let Some(mut list) = followed.starts[block].expand() else { continue };
            for &inst in &func.blocks[block].insts {
                let data = &func.insts[inst];
                if !cold {
                    match loads(data) {
                        Some(CAPACITY) if buffers.contains(&data.args[0]) => counts[CAPACITY] += 1,
                        Some(p) if p != CAPACITY && data.args[0] == list => {
                            counts[p] += 1;
                            if p == BUFFER {
                                buffers.extend(data.result.expand());
                            }
                        }
                        _ => {}
                    }
                }
                let parts = self.memory.changes(func, data);
                let before = list;
                list = self.next(data, list);
                if parts == 0 || self.stores(data, before) {
                    continue;
                }
                let spared = ages.spares(data, before);
                let mut again = [false; PLACES.len()];
                for (p, &(class, width, offset)) in PLACES.iter().enumerate() {
                    let changes = parts >> self.memory.part(Access { class, width }, offset as i64) & 1 != 0;
                    let moves = p >= BUFFER && parts >> Memory::moves() & 1 != 0;
                    again[p] = changes && !spared || moves;
                    if again[p] && (!cold || data.op.info().terminator) {
                        followed.places[p] = false;
                    }
                }
                if cold && again.contains(&true) {
                    followed.reloads.push((inst, again));
                }
            }
        }
        followed.places.iter_mut().zip(counts).for_each(|(place, loads)| *place &= loads > 0);
        followed.places[CAPACITY] &= followed.places[BUFFER];
    }

    /// Whether an instruction stores the length of a list.
    fn stores(&self, data: &InstData, list: Value) -> bool {
        data.op == Op::Store && place(data) == Some(LEN) && data.args[0] == list
    }

    /// The places of a list go round.
    fn carry(&mut self, id: Loop, entry: Block, followed: &Followed) {
        let data = &self.loops.loops[id];
        let mut ends: SecondaryMap<Block, Now> = SecondaryMap::new();
        let mut joins: Vec<(Block, usize)> = Vec::new();
        let places = (0..PLACES.len()).filter(|&p| followed.places[p]);
        for &block in &data.blocks {
            let preds = self.cfg.preds(block);
            let mut now = Now::default();
            for p in places.clone() {
                let first = preds.first().and_then(|e| ends[e.from][p].expand());
                let same = block != data.header
                    && first.is_some()
                    && preds.iter().all(|e| ends[e.from][p].expand() == first);
                now[p] = match first.filter(|_| same) {
                    Some(value) => value,
                    None => {
                        joins.push((block, p));
                        self.func.add_param(block, PLACES[p].1.ty())
                    }
                }
                .into();
            }
            let Some(mut list) = followed.starts[block].expand() else { continue };
            let insts = self.func.blocks[block].insts.clone();
            let mut rest = Vec::with_capacity(insts.len());
            for inst in insts {
                let data = &self.func.insts[inst];
                if let Some(value) = self.held(data, list, &now) {
                    if let Some(result) = data.result.expand() {
                        self.replaced.replace(result, value);
                    }
                    continue;
                }
                rest.push(inst);
                if followed.places[LEN] && self.stores(data, list) {
                    now[LEN] = data.args[1].into();
                }
                list = self.next(data, list);
                if let Some((_, again)) = followed.reloads.iter().find(|r| r.0 == inst) {
                    for p in places.clone().filter(|&p| again[p]) {
                        let (inst, value) = self.load(p, list, &now);
                        rest.push(inst);
                        now[p] = value.into();
                    }
                }
            }
            self.func.blocks[block].insts = rest;
            ends[block] = now;
        }
        // Before the loop, at the end of the block that leads there.
        let mut first = Now::default();
        for p in places {
            let (inst, value) = self.load(p, followed.before, &first);
            let end = self.func.blocks[entry].insts.len() - 1;
            self.func.blocks[entry].insts.insert(end, inst);
            first[p] = value.into();
        }
        for (block, p) in joins {
            for edge in self.cfg.preds(block) {
                let value = if edge.from == entry { first[p] } else { ends[edge.from][p] };
                if let (Some(inst), Some(value)) = (self.func.terminator(edge.from), value.expand()) {
                    self.func.insts[inst].targets[edge.target as usize].args.push(value);
                }
            }
        }
    }

    /// What a load gives, where that goes round.
    fn held(&self, data: &InstData, list: Value, now: &Now) -> Option<Value> {
        let p = loads(data)?;
        let base = data.args[0];
        let there = match p {
            CAPACITY => now[BUFFER].expand() == Some(self.replaced.get(base)),
            _ => base == list,
        };
        now[p].expand().filter(|_| there)
    }

    /// Loads a place of a list.
    fn load(&mut self, p: usize, list: Value, now: &Now) -> (Inst, Value) {
        let (class, width, offset) = PLACES[p];
        let base = if p == CAPACITY { now[BUFFER].expand().unwrap_or(list) } else { list };
        let data = match p {
            BYTES => InstData::new(Op::AsciiBase, &[base]),
            _ => InstData::new(Op::Load, &[base]).imm(offset as i64).access(class, width),
        };
        match self.func.make(data) {
            (inst, Some(value)) => (inst, value),
            _ => unreachable!("internal error: a load without a result"),
        }
    }
}
