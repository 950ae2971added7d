//! What does not change in a loop is done before it.
//!
//! Inner loops first; each loop's blocks are read once in reverse postorder, and instructions whose operands come from outside move to
//! the block before the loop, which is made where there is none. What moves:
//!
//! * Pure ops. Ops that hold only behind a check, where everything before them in the loop moved too.
//! * Loads of memory that the loop does not write, or writes in younger objects only (`alias.rs`). A pointer, or a cell that may be an object, moves out of a loop that does not
//!   collect only.
//! * Checks, and ops that leave, that each turn does. They take the frame state of the loop's entry: where one fails, the interpreter
//!   starts with the first turn, whose instructions have not been done.
//!
//! A load may be done where it was not reached before, so it must be safe there. That its base is an object of the right kind follows from
//! types or from checks; it moves only if no check or branch that stays in the loop before it asks about the kind of the base, also where
//! the answer comes from before the loop, in a parameter of a block (`kinds.rs` makes such). The kind itself is only read of
//! what may be of another: that moves behind a check that it is an object, or where nothing before it can leave. For
//! elements of a list the position must be inside too: they move behind a check of it that moved, or where nothing
//! before them in the loop can leave.
//!
//! Loops as the builder makes them test at their end, and a `poll` stands in the block before them, with the state at the loop's entry.
//! Not done here: loads of what the loop itself stores (`promote.rs`), and checks that hold for all turns if they hold for the last.

use std::collections::HashMap;
use std::mem::offset_of;

use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntityRef, SecondaryMap};
use smallvec::SmallVec;
use upshift_runtime::object::Header;

use super::alias::Ages;
use super::memory::{Memory, Parts};
use super::params::{argument, relayout};
use super::{is_bool, may_be_object};
use crate::cfg::{Analyses, Cfg, Dominators, Edge, Loop, Loops};
use crate::ir::{
    Block, Class, Cond, Def, Function, Inst, InstData, Op, State, StateData, Target, Type, Value, Width,
};

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let created = preheaders(func, analyses);
    let (cfg, doms, loops) = analyses.loops(func);
    if loops.loops.is_empty() {
        return 0;
    }
    let mut blocks = SecondaryMap::with_capacity(func.values.len());
    let memory = Memory::new(func);
    let mut parts: SecondaryMap<Loop, Parts> = SecondaryMap::new();
    for &block in &cfg.order {
        let mut mask = 0;
        for &inst in &func.blocks[block].insts {
            mask |= memory.changes(func, &func.insts[inst]);
            if let Some(result) = func.insts[inst].result.expand() {
                blocks[result] = block.into();
            }
        }
        let mut next = loops.innermost(block);
        while let Some(id) = next {
            parts[id] |= mask;
            next = loops.loops[id].parent.expand();
        }
    }
    let (checks, origins) = (Checks::default(), HashMap::new());
    let mut pass = Pass { func, cfg, doms, loops, memory, blocks, checks, origins, moved: 0 };
    for id in loops.loops.keys() {
        pass.hoist(id, parts[id]);
    }
    pass.moved + created
}

/// Makes a block before each loop's header that leads nowhere else, where there is none; gives how many.
pub(crate) fn preheaders(func: &mut Function, analyses: &mut Analyses) -> usize {
    let (cfg, doms) = analyses.dominators(func);
    let mut created = 0;
    for &header in &cfg.order {
        let back = |e: &&Edge| doms.dominates(header, e.from);
        if !cfg.preds(header).iter().any(|e| back(&e)) {
            continue;
        }
        let outside: SmallVec<[Edge; 4]> = cfg.preds(header).iter().filter(|e| !back(e)).copied().collect();
        if matches!(outside[..], [edge] if func.successors(edge.from).count() == 1) {
            continue;
        }
        let block = func.add_block();
        func.blocks[block].cold = func.blocks[header].cold;
        let types: Vec<Type> = func.blocks[header].params.iter().map(|&p| func.ty(p)).collect();
        let args = types.iter().map(|&ty| func.add_param(block, ty)).collect();
        func.append(block, InstData::new(Op::Jump, &[]).targets([Target { block: header, args }]));
        for edge in outside {
            if let Some(inst) = func.terminator(edge.from) {
                func.insts[inst].targets[edge.target as usize].block = block;
            }
        }
        created += 1;
    }
    if created > 0 {
        relayout(func, analyses);
    }
    created
}

/// The most blocks that are looked at for what decides a parameter.
const DECIDING: usize = 64;

struct Pass<'a> {
    func: &'a mut Function,
    cfg: &'a Cfg,
    doms: &'a Dominators,
    loops: &'a Loops,
    memory: Memory,
    /// Where instructions' values are defined now.
    blocks: SecondaryMap<Value, PackedOption<Block>>,
    checks: Checks,
    /// The states of what may leave before a loop, by the instruction that it is for.
    origins: HashMap<(State, (u32, u32)), State>,
    moved: usize,
}

/// Which cells the checks of a loop ask about.
#[derive(Default)]
pub(super) struct Checks {
    /// By cell: the last loop in which a check asked about its kind, and one.
    checked: SecondaryMap<Value, u32>,
    /// By cell: the last loop before which it was checked to be an object, and one.
    shown: SecondaryMap<Value, u32>,
    /// By value: the last loop in which a check was seen to depend on it, and one.
    seen: SecondaryMap<Value, u32>,
    /// The last loop in which a check may ask about any cell, and one.
    any: u32,
    /// Whether it matters only which cells are lists: what their headers' bits say decides nothing there.
    lists: bool,
    /// What is still to be followed.
    work: Vec<Value>,
}

impl Checks {
    /// For what is loaded from lists alone.
    pub(super) fn of_lists() -> Checks {
        Checks { lists: true, ..Checks::default() }
    }

    /// Notes the check that an instruction of a loop is, if it is one.
    pub(super) fn note(&mut self, func: &Function, cfg: &Cfg, doms: &Dominators, id: Loop, inst: Inst) {
        let data = &func.insts[inst];
        let stamp = stamp(id);
        if is_kind(data) {
            self.checked[data.args[0]] = stamp;
        }
        if !matches!(data.op, Op::Guard | Op::Branch | Op::Switch) {
            return;
        }
        self.work.push(data.args[0]);
        while let Some(value) = self.work.pop() {
            if self.seen[value] == stamp {
                continue;
            }
            self.seen[value] = stamp;
            if func.ty(value) == Type::Cell {
                self.checked[value] = stamp;
            }
            let Some(data) = func.def(value) else {
                self.chosen(func, cfg, doms, stamp, value);
                continue;
            };
            let info = data.op.info();
            // What an object holds says nothing about what it is, but for its header.
            let header =
                data.access.is_some_and(|a| a.class == Class::Fixed || a.class == Class::Bits && !self.lists);
            // That it is a string was known before.
            if info.string {
                continue;
            }
            if info.pure || info.fixed || data.op == Op::Helper || info.loads && header {
                self.work.extend(&data.args);
            }
        }
    }

    /// Notes that a check is made before a loop.
    fn show(&mut self, func: &Function, id: Loop, check: Inst) {
        let mut conditions: SmallVec<[Value; 4]> = SmallVec::from_slice(&func.insts[check].args[..1]);
        while let Some(data) = conditions.pop().and_then(|v| func.def(v)) {
            match data.op {
                Op::Iand => conditions.extend_from_slice(&data.args),
                Op::IsObject => self.shown[data.args[0]] = stamp(id),
                _ => {}
            }
        }
    }

    /// Follows what a parameter is, and what decides which of it: a question may have been answered on the ways that meet there.
    fn chosen(&mut self, func: &Function, cfg: &Cfg, doms: &Dominators, stamp: u32, param: Value) {
        let Def::Param(block, i) = func.values[param].def else { return };
        let ways = || cfg.preds(block).iter().map(|e| (e.from, argument(func, e.from, e.target, i as usize)));
        // A counter is no answer.
        let counts = |v: Value| {
            func.def(v).is_some_and(|d| {
                let adds = matches!(d.op, Op::Iadd | Op::IaddExit | Op::Isub | Op::IsubExit);
                adds && d.args.contains(&param)
            })
        };
        if block == func.entry() || ways().any(|(_, arg)| counts(arg)) {
            return;
        }
        self.work.extend(ways().map(|(_, arg)| arg));
        let Some(top) = doms.idom(block) else { return };
        let mut blocks: SmallVec<[Block; 8]> = ways().map(|(from, _)| from).collect();
        let mut next = 0;
        while let Some(&from) = blocks.get(next) {
            next += 1;
            if next > DECIDING {
                self.any = stamp;
                return;
            }
            if let Some(end) = func.terminator(from).map(|i| &func.insts[i])
                && matches!(end.op, Op::Branch | Op::Switch)
            {
                self.work.push(end.args[0]);
            }
            if from != top {
                let above = cfg.preds(from).iter().map(|e| e.from).filter(|b| !blocks.contains(b));
                let above: SmallVec<[Block; 4]> = above.collect();
                blocks.extend(above);
            }
        }
    }

    /// Whether no check of the loop that was noted asks about what a value is reached from, so that that is known before the loop to
    /// be what it has to be.
    pub(super) fn safe(&self, func: &Function, id: Loop, value: Value) -> bool {
        self.safe_within(func, stamp(id), value, 4)
    }

    fn safe_within(&self, func: &Function, stamp: u32, value: Value, depth: u32) -> bool {
        // What is no object is loaded from nowhere, but that may not have been found out yet.
        let never = func.ty(value) == Type::Cell && !may_be_object(func, value);
        if never || self.any == stamp || self.checked[value] == stamp {
            return false;
        }
        match func.def(value) {
            // What a choice is known to be may have been asked about what it chooses from.
            Some(data) if data.op == Op::SelectCell => {
                depth > 0 && data.args[1..].iter().all(|&v| self.safe_within(func, stamp, v, depth - 1))
            }
            // Whether a number has become an object is asked of the number, and of no object anything else is read.
            Some(data) if matches!(data.op, Op::BoxSmall | Op::BoxInt | Op::BoxFloat | Op::BoxBool) => false,
            Some(data) if data.op == Op::Load && func.ty(value) == Type::Ptr => {
                depth > 0 && self.safe_within(func, stamp, data.args[0], depth - 1)
            }
            _ => true,
        }
    }
}

/// By what a loop is known.
fn stamp(id: Loop) -> u32 {
    id.index() as u32 + 1
}

/// Whether an instruction asks which kind of object a cell is. What is known by its type to be of one is not asked.
fn is_kind(data: &InstData) -> bool {
    data.op == Op::Load
        && data.access.is_some_and(|a| a.class == Class::Fixed)
        && data.imm == offset_of!(Header, kind) as i64
}

/// In so many blocks before a loop checks of divisors are looked for.
const CHECKED: usize = 4;

/// A loop while it is read.
struct Hoist {
    id: Loop,
    /// Where what moves goes.
    before: Block,
    /// What its blocks may change.
    parts: Parts,
    /// What changes memory.
    changes: Vec<(Inst, Parts)>,
    /// The block that every entry of the loop passes, unless it leaves, and so do those that dominate it.
    always: Block,
    /// The frame state at its entry.
    state: Option<State>,
    /// What moves, in order.
    moved: Vec<Inst>,
    /// Positions and the lists that they are inside of, by checks that moved.
    inside: Vec<(Value, Value)>,
    /// Nothing that stays in the loop before this point leaves or branches.
    clean: bool,
}

impl Pass<'_> {
    fn hoist(&mut self, id: Loop, parts: Parts) {
        let data = &self.loops.loops[id];
        let header = data.header;
        let Some(before) =
            self.cfg.preds(header).iter().map(|e| e.from).find(|&b| !self.doms.dominates(header, b))
        else {
            return;
        };
        let mut always = data.latches[0];
        for &latch in &data.latches[1..] {
            always = self.doms.common(self.cfg, always, latch);
        }
        for exit in &data.exits {
            // Ways out that are seldom taken, or only leave, are as good as checks.
            let to = self
                .func
                .terminator(exit.from)
                .map(|i| self.func.insts[i].targets[exit.target as usize].block);
            let leaves = to.is_some_and(|b| {
                let end = self.func.terminator(b).map(|i| self.func.insts[i].op);
                self.func.blocks[b].cold || end == Some(Op::Exit)
            });
            if !leaves {
                always = self.doms.common(self.cfg, always, exit.from);
            }
        }
        let (state, at) = self.entry_state(id, before);
        let insts = data.blocks.iter().flat_map(|&b| &self.func.blocks[b].insts);
        let changes = insts.map(|&i| (i, self.memory.changes(self.func, &self.func.insts[i])));
        let changes = if parts == 0 { Vec::new() } else { changes.filter(|c| c.1 != 0).collect() };
        let mut hoist = Hoist {
            id,
            before,
            parts,
            changes,
            always,
            state,
            moved: Vec::new(),
            inside: Vec::new(),
            clean: true,
        };
        for &block in &data.blocks {
            if block != header {
                // The chain of blocks that only lead to each other is one; other blocks may not be reached.
                let chained =
                    matches!(self.cfg.preds(block), [edge] if self.func.successors(edge.from).count() == 1);
                hoist.clean &= chained;
            }
            // Read as a whole until then, since edges are looked at.
            let insts = self.func.blocks[block].insts.clone();
            let mut rest = Vec::with_capacity(insts.len());
            for inst in insts {
                if self.moves(&hoist, block, inst) {
                    self.move_out(&mut hoist, before, inst);
                } else {
                    self.stays(&mut hoist, inst);
                    rest.push(inst);
                }
            }
            self.func.blocks[block].insts = rest;
        }
        self.moved += hoist.moved.len();
        self.func.blocks[before].insts.splice(at..at, hoist.moved);
    }

    /// The frame state of the loop's entry, and where in the block before it what needs it may stand.
    fn entry_state(&mut self, id: Loop, before: Block) -> (Option<State>, usize) {
        let insts = &self.func.blocks[before].insts;
        let end = insts.len() - 1;
        let data = &self.loops.loops[id];
        // A charge on a way back names the branch, which is not to be done again.
        let place = |func: &Function, state: State| {
            let s = &func.states[state];
            (s.function, s.word, s.parent)
        };
        let on_way_back = |func: &Function, state: State| {
            data.latches.iter().flat_map(|&b| &func.blocks[b].insts).any(|&i| {
                let other = &func.insts[i];
                other.op == Op::Poll
                    && other.state.expand().is_some_and(|s| place(func, s) == place(func, state))
            })
        };
        for (at, &inst) in insts.iter().enumerate().rev().skip(1) {
            let data = &self.func.insts[inst];
            let info = data.op.info();
            if data.op == Op::Poll {
                let state = data.state.expand().filter(|&s| !on_way_back(self.func, s));
                if state.is_none() {
                    return (None, end);
                }
                // What stands behind the charge computes only: the charge may come after it.
                self.func.blocks[before].insts[at..end].rotate_left(1);
                return (state, end - 1);
            }
            if !info.pure && !info.fixed && !info.loads {
                break;
            }
        }
        // A loop that is compiled alone is entered with the frame of its entry.
        if before == self.func.entry()
            && let Some(word) = self.func.osr
            && insts[..end].iter().all(|&i| {
                let data = &self.func.insts[i];
                let info = data.op.info();
                info.pure || info.fixed || info.loads || matches!(data.op, Op::Guard | Op::Stack)
            })
            && let Some(root) = self.func.states.values().find(|s| s.parent.is_none())
        {
            let params = self.func.blocks[before].params.iter();
            let slots = self.func.params.iter().copied().zip(params.copied()).collect();
            let state = StateData { word, origin: None, base: 0, slots, ..root.clone() };
            return (Some(self.func.states.push(state)), end);
        }
        (self.header_state(id, before), end)
    }

    /// The state of a charge that the header begins with, as it is at the loop's entry.
    fn header_state(&mut self, id: Loop, before: Block) -> Option<State> {
        let header = self.loops.loops[id].header;
        let first = &self.func.insts[*self.func.blocks[header].insts.first()?];
        if first.op != Op::Poll {
            return None;
        }
        let state = first.state.expand()?;
        let jump = self.func.terminator(before)?;
        let args = self.func.insts[jump].targets[0].args.clone();
        let value = |func: &Function, v: Value| match func.values[v].def {
            Def::Param(block, i) if block == header => args[i as usize],
            _ => v,
        };
        let mut chain = Vec::new();
        let mut next = Some(state);
        while let Some(state) = next {
            let mut data = self.func.states[state].clone();
            data.slots.iter_mut().for_each(|(_, v)| *v = value(self.func, *v));
            next = data.parent.expand();
            chain.push(data);
        }
        let mut parent = PackedOption::default();
        for data in chain.into_iter().rev() {
            parent = self.func.states.push(StateData { parent, ..data }).into();
        }
        parent.expand()
    }

    /// Whether a value is defined outside of the loop, as it is now.
    fn invariant(&self, id: Loop, value: Value) -> bool {
        match self.func.values[value].def {
            Def::Param(block, _) => !self.loops.contains(id, block),
            Def::Inst(_) => self.blocks[value].expand().is_some_and(|b| !self.loops.contains(id, b)),
        }
    }

    fn moves(&self, hoist: &Hoist, block: Block, inst: Inst) -> bool {
        let func = &*self.func;
        let data = &func.insts[inst];
        let info = data.op.info();
        if info.terminator || !data.args.iter().all(|&v| self.invariant(hoist.id, v)) {
            return false;
        }
        let constant = matches!(data.op, Op::Iconst | Op::Fconst | Op::Cconst);
        if func.blocks[block].cold && !constant {
            return false;
        }
        // What the collector moves.
        if let Some(result) = data.result.expand()
            && hoist.parts >> Memory::moves() & 1 != 0
            && (func.ty(result) == Type::Ptr || may_be_object(func, result))
        {
            return false;
        }
        match data.op {
            Op::BoxSmall => hoist.clean || fits(func, data.args[0]),
            Op::Idiv | Op::Irem => {
                hoist.clean
                    || func.int_const(data.args[1]).is_some_and(|c| !matches!(c, 0 | -1))
                    || self.divides(hoist, data)
            }
            Op::Load => {
                let Some(access) = data.access else { return false };
                let part = self.memory.part(access, data.imm);
                let fixed = hoist.parts >> part & 1 == 0
                    || matches!(access.class, Class::Len | Class::Bits)
                        && self.spared(hoist, part, data.args[0]);
                let shown = || self.checks.shown[data.args[0]] == stamp(hoist.id);
                fixed && self.safe(hoist, data.args[0]) && (!is_kind(data) || hoist.clean || shown())
            }
            Op::LoadAt => {
                let Some(access) = data.access else { return false };
                hoist.parts >> self.memory.part(access, data.imm) & 1 == 0
                    && (hoist.clean
                        || self.safe(hoist, data.args[0])
                            && self
                                .list_of(data.args[0])
                                .is_some_and(|l| hoist.inside.contains(&(data.args[1], l))))
            }
            Op::Context => {
                let access = crate::ir::Access { class: Class::Context, width: Width::Ptr };
                hoist.parts >> self.memory.part(access, data.imm) & 1 == 0
            }
            Op::Constant => true,
            Op::Helper => {
                let Some(site) = data.site.expand() else { return false };
                let effects = func.sites[site].effects;
                let ints = data.args.iter().any(|&v| func.ty(v) == Type::Int);
                data.result.is_some()
                    && !(effects.writes || effects.calls || effects.collects)
                    && Memory::read_by(data.imm).is_none_or(|part| hoist.parts >> part & 1 == 0)
                    && (hoist.clean || !ints && data.args.iter().all(|&v| self.safe(hoist, v)))
            }
            Op::Guard | Op::IaddExit | Op::IsubExit | Op::ImulExit => {
                hoist.state.is_some() && self.doms.dominates(block, hoist.always)
            }
            _ if info.string => hoist.clean || self.safe(hoist, data.args[0]),
            _ if info.pure => true,
            _ if info.fixed => hoist.clean,
            _ => false,
        }
    }

    /// Whether checks that moved out of the loop, or stand before it, say that a division does not trap.
    fn divides(&self, hoist: &Hoist, division: &InstData) -> bool {
        let func = &*self.func;
        let mut checked = [false; 2];
        let mut note = |inst: Inst| {
            let data = &func.insts[inst];
            let Some(cond) = (data.op == Op::Guard).then(|| func.def(data.args[0])).flatten() else { return };
            let differs = |cond: &InstData, v: Value, from: i64| {
                cond.op == Op::Icmp
                    && cond.cond() == Cond::Ne
                    && cond.args[0] == v
                    && func.int_const(cond.args[1]) == Some(from)
            };
            checked[0] |= differs(cond, division.args[1], 0);
            checked[1] |= cond.op == Op::Ior && {
                let sides = [cond.args[0], cond.args[1]].map(|v| func.def(v));
                matches!(sides, [Some(a), Some(b)]
                    if differs(a, division.args[0], i64::MIN) && differs(b, division.args[1], -1))
            };
        };
        hoist.moved.iter().for_each(|&inst| note(inst));
        let mut block = Some(hoist.before);
        for _ in 0..CHECKED {
            let Some(at) = block else { break };
            func.blocks[at].insts.iter().for_each(|&inst| note(inst));
            block = self.doms.idom(at);
        }
        checked[0] && (checked[1] || division.op == Op::Irem)
    }

    /// Whether what changes a part of memory leaves an object alone.
    fn spared(&self, hoist: &Hoist, part: usize, object: Value) -> bool {
        let ages = Ages { func: self.func, cfg: self.cfg, doms: self.doms, blocks: &self.blocks };
        let mut changes = hoist.changes.iter().filter(|c| c.1 >> part & 1 != 0);
        changes.all(|c| ages.spares(&self.func.insts[c.0], object))
    }

    fn safe(&self, hoist: &Hoist, value: Value) -> bool {
        self.checks.safe(self.func, hoist.id, value)
    }

    /// The list whose buffer a pointer is.
    fn list_of(&self, buffer: Value) -> Option<Value> {
        let data = self.func.def(buffer)?;
        let access = data.access.filter(|_| data.op == Op::Load)?;
        (access.class == Class::Buffer).then(|| data.args[0])
    }

    fn move_out(&mut self, hoist: &mut Hoist, before: Block, inst: Inst) {
        let data = &self.func.insts[inst];
        if let (true, Some(from), Some(state)) = (data.op.info().leaves, data.state.expand(), hoist.state) {
            // An assumption is not made again where it was made.
            let state = if data.reason().is_trap() { state } else { self.state_for(state, from) };
            self.func.insts[inst].state = state.into();
        }
        let data = &self.func.insts[inst];
        if let Some(result) = data.result.expand() {
            self.blocks[result] = before.into();
        }
        hoist.moved.push(inst);
        if data.op == Op::Guard {
            self.checks.show(self.func, hoist.id, inst);
        }
        // A check that a position is inside of a list.
        let data = &self.func.insts[inst];
        if data.op == Op::Guard
            && let Some(test) =
                self.func.def(data.args[0]).filter(|d| d.op == Op::Icmp && d.cond() == Cond::Ult)
            && let Some(len) = self.func.def(test.args[1]).filter(|d| d.op == Op::Load)
            && len.access.is_some_and(|a| a.class == Class::Len)
        {
            hoist.inside.push((test.args[0], len.args[0]));
        }
    }

    /// A state for what comes from another one: what fails there was assumed here.
    fn state_for(&mut self, state: State, from: State) -> State {
        let from = &self.func.states[from];
        let origin = from.origin.unwrap_or((from.function, from.word));
        let here = &self.func.states[state];
        if (here.function, here.word) == origin {
            return state;
        }
        *self.origins.entry((state, origin)).or_insert_with(|| {
            let data = StateData { origin: Some(origin), ..self.func.states[state].clone() };
            self.func.states.push(data)
        })
    }

    fn stays(&mut self, hoist: &mut Hoist, inst: Inst) {
        let data = &self.func.insts[inst];
        let info = data.op.info();
        if info.leaves {
            hoist.clean = false;
        }
        self.checks.note(self.func, self.cfg, self.doms, hoist.id, inst);
    }
}

/// Whether an int surely has 48 bits, by its definition.
fn fits(func: &Function, value: Value) -> bool {
    let Some(data) = func.def(value) else { return false };
    match data.op {
        Op::Iconst => upshift_runtime::value::Value::is_small(data.imm),
        Op::SmallInt | Op::Iextend32 => true,
        Op::Load | Op::LoadAt => {
            data.access.is_some_and(|a| matches!(a.width, Width::U8 | Width::U16 | Width::U32))
        }
        _ => is_bool(func, value),
    }
}
