//! Objects that nobody else sees are not made: their fields are values, and they are made where they are first needed, if at all.
//!
//! One `alloc` is looked at after the other. What is done with its object divides into
//!
//! * loads and stores of its words, and questions about the cell, which are answered by values;
//! * frame states, which name a `virtual` object with the words of that point. Machine code makes it where frames are written: in the
//!   cold code of an exit or a poll, on the slow path of another allocation, and before calls. Behind what collects it reads
//!   the cells back from there. Only this copy is in the frames, and only as long as the interpreter needs it;
//! * everything else: there the object *escapes*, and is made (`make`) right before. From there on it is real.
//!
//! Calls in blocks that are not cold count as escapes too, since there a copy would be made for each; so does a routine that may take
//! the object as an operand.
//!
//! Where ways meet on one of which the object is real, it is made at the end of the others. So no way makes it more than once, as in
//! the partial escape analysis of Stadler, Würthinger and Mössenböck; unlike theirs, objects are looked at one by one, which
//! needs no lattice of the heap. An object in another one's words is looked at again once the other is gone, as often as that helps. An
//! object that is made on all ways that are not cold stays where it is. What goes round a loop in a parameter, or is chosen
//! among several, escapes at first; `carried.rs` has the way out.
//!
//! A stored word becomes a parameter wherever ways meet, as in `promote.rs`; `params.rs` takes back what is not needed.
//!
//! Of lists, their length, their flags and the elements that their buffers have room for count as words, and what is done with the
//! address of the buffer as done with the list. Where a position is no constant, a load chooses among all elements of a short list, and a store
//! chooses for each of them; a longer list escapes there.
//!
//! `virtual` objects stand in the block of what names them, with no store between, so that all that name one object at one
//! point name one value: the interpreter must find one object there.

use std::collections::HashMap;
use std::mem::offset_of;

use cranelift_entity::{EntitySet, SecondaryMap};
use upshift_runtime::object::{Buffer, Header, List};

use super::carried::{self, Copies, Passed};
use super::copy::mapped_state;
use super::params::relayout;
use super::{Replacements, Rewriter, collects, words_of};
use crate::cfg::{Analyses, Cfg, Edge, Loops};
use crate::ir::{
    Access, Block, Class, Cond, Def, Function, Inst, InstData, LIST_WORDS, Op, RoutineKind, State, Target,
    Type, Value, Width, elements_of,
};

/// Where the length of a list stands.
const LEN: usize = offset_of!(List, len);
/// Where its flags do.
const FLAGS: usize = offset_of!(Header, bits);
/// Where the address of its buffer does.
const BUFFER: usize = offset_of!(List, buffer);

/// How often all allocations are looked at.
const ROUNDS: usize = 4;
/// How many allocations are looked at in one round.
const OBJECTS: usize = 100;
/// How many sets of parameters that choose among objects are looked at.
const WEBS: usize = 8;
/// Lists of so many elements may be accessed at positions that are no constants.
const CHOICES: usize = 4;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    if objects(func).is_empty() {
        return 0;
    }
    let count = alone(func, analyses);
    match carried(func, analyses) {
        0 => count,
        more => count + more + alone(func, analyses),
    }
}

/// Objects by themselves; gives how many are no longer made where they were.
fn alone(func: &mut Function, analyses: &mut Analyses) -> usize {
    let mut count = 0;
    for _ in 0..ROUNDS {
        let before = count;
        for object in objects(func) {
            if let Some(plan) = Plan::new(func, analyses, object) {
                if plan.apply(func) {
                    relayout(func, analyses);
                }
                count += 1;
            }
        }
        if count == before {
            break;
        }
    }
    count
}

/// Objects that parameters choose among: see `carried.rs`. Gives how many parameters are gone.
fn carried(func: &mut Function, analyses: &mut Analyses) -> usize {
    let mut count = 0;
    let mut tried = EntitySet::new();
    for _ in 0..WEBS {
        let cfg = analyses.cfg(func);
        let mut webs = carried::webs(func, cfg).into_iter();
        let Some(web) = webs.find(|web| tried.insert(web[0].value)) else { break };
        let before = func.clone();
        let copies = carried::copies(func, cfg, &web);
        if copies.is_some_and(|copies| copied(func, analyses, &copies)) {
            count += web.len();
        } else {
            *func = before;
            analyses.forget();
        }
    }
    count
}

/// Does without all objects that were copied and all copies; false where a copy could be told from what it was made of, or where
/// something is not gained.
fn copied(func: &mut Function, analyses: &mut Analyses, copies: &Copies) -> bool {
    let mut objects: Vec<Value> = copies.passed.iter().map(|p| p.object).collect();
    objects.extend(&copies.made);
    objects.sort_unstable();
    objects.dedup();
    for &object in &objects {
        let Some(plan) = Plan::new(func, analyses, object) else { return false };
        let other = |p: &&Passed| p.object == object;
        let seen = |p: &Passed| plan.real_out.contains(p.from) || plan.live.contains(p.to);
        if copies.passed.iter().filter(other).any(seen) {
            return false;
        }
    }
    objects.iter().all(|&object| {
        let Some(plan) = Plan::new(func, analyses, object) else { return false };
        if plan.apply(func) {
            relayout(func, analyses);
        }
        true
    })
}

/// The allocations that are looked at: those in blocks that are not cold.
fn objects(func: &Function) -> Vec<Value> {
    let hot = func.layout.iter().filter(|&&b| !func.blocks[b].cold);
    let insts = hot.flat_map(|&b| &func.blocks[b].insts).map(|&i| &func.insts[i]);
    let made = insts.filter(|d| d.op == Op::Alloc).filter_map(|d| d.result.expand());
    made.take(OBJECTS).collect()
}

/// What a place in an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// In the first word: what is there never changes.
    Fixed(i64),
    /// One of the words behind, by its position among the operands.
    Word(usize),
    /// The element of a list at this position.
    Element(Value),
    /// The address of a list's buffer.
    Buffer,
}

/// What an instruction does with an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// Nothing.
    None,
    /// It can do without it.
    Answered,
    /// Its frame state names it, or a virtual object has it in a word.
    Named,
    /// It needs it.
    Escape,
}

/// Whether the object is there.
#[derive(Clone, Debug)]
enum Status {
    /// It is not: these are its words.
    Virtual(Vec<Value>),
    /// It is.
    Real(Value),
}

/// The states that say by a value what others say by the object.
type States = HashMap<(State, Value), State>;

/// What changes while an object is done without.
struct Edits {
    replaced: Replacements,
    /// Addresses of its buffer that are no longer loaded, since it was not made where they were.
    dropped: EntitySet<Value>,
}

/// What is to be done about one allocation.
struct Plan<'a> {
    cfg: &'a Cfg,
    object: Value,
    inst: Inst,
    home: Block,
    /// The first word.
    header: i64,
    words: Vec<Value>,
    /// How the elements are accessed, of a list.
    elements: Option<Access>,
    /// Values that are the address of its buffer.
    buffers: EntitySet<Value>,
    /// Which words are ever stored to while the object is virtual.
    stored: Vec<bool>,
    /// The blocks at whose start the object lives, in order.
    region: Vec<Block>,
    live: EntitySet<Block>,
    /// Blocks at whose start it is real.
    real_in: EntitySet<Block>,
    /// Blocks at whose end it is.
    real_out: EntitySet<Block>,
}

impl<'a> Plan<'a> {
    /// What is to be done, where anything is gained.
    fn new(func: &Function, analyses: &'a mut Analyses, object: Value) -> Option<Plan<'a>> {
        let (cfg, _, loops) = analyses.loops(func);
        Plan::of(func, cfg, loops, object).filter(|plan| plan.gains(func))
    }

    /// What is to be done.
    fn of(func: &Function, cfg: &'a Cfg, loops: &Loops, object: Value) -> Option<Plan<'a>> {
        let Def::Inst(inst) = func.values[object].def else { return None };
        let home = *cfg.order.iter().find(|&&b| func.blocks[b].insts.contains(&inst))?;
        let data = &func.insts[inst];
        let mut plan = Plan {
            cfg,
            object,
            inst,
            home,
            header: data.imm,
            words: data.args.to_vec(),
            elements: elements_of(data.imm),
            buffers: EntitySet::new(),
            stored: vec![false; data.args.len()],
            region: Vec::new(),
            live: EntitySet::new(),
            real_in: EntitySet::new(),
            real_out: EntitySet::new(),
        };
        plan.read(func, loops);
        Some(plan)
    }

    /// Finds where the object lives and where it is real.
    fn read(&mut self, func: &Function, loops: &Loops) {
        let from = self.cfg.position(self.home);
        if self.elements.is_some() {
            for &inst in self.cfg.order[from..].iter().flat_map(|&b| &func.blocks[b].insts) {
                let data = &func.insts[inst];
                let loads = data.op == Op::Load && data.args[0] == self.object;
                if loads && self.place(func, data) == Some(Place::Buffer) {
                    self.buffers.extend(data.result.expand());
                }
            }
        }
        let mut work = Vec::new();
        let mut escapes = EntitySet::new();
        for &block in &self.cfg.order[from..] {
            let mut used = false;
            let turns = loops.innermost(block).is_some_and(|id| !loops.contains(id, self.home));
            for &inst in &func.blocks[block].insts {
                match self.what(func, block, inst) {
                    Use::None => continue,
                    // A list that lives through a loop would take a register for each element, and each access a choice for each.
                    Use::Answered if turns && self.chosen(func, inst) => {
                        escapes.insert(block);
                    }
                    Use::Answered => self.note_store(func, inst),
                    Use::Named => {}
                    Use::Escape => {
                        escapes.insert(block);
                    }
                }
                used = true;
            }
            if used && block != self.home {
                work.push(block);
            }
        }
        while let Some(block) = work.pop() {
            if self.live.insert(block) {
                let preds = self.cfg.preds(block).iter().map(|e| e.from);
                work.extend(preds.filter(|&p| p != self.home));
            }
        }
        self.region = self.cfg.order[from..].iter().copied().filter(|&b| self.live.contains(b)).collect();
        // Real somewhere before is real here.
        if escapes.contains(self.home) {
            self.real_out.insert(self.home);
        }
        let mut changed = true;
        while changed {
            changed = false;
            for &block in &self.region {
                if self.cfg.preds(block).iter().any(|e| self.real_out.contains(e.from)) {
                    changed |= self.real_in.insert(block);
                }
                if self.real_in.contains(block) || escapes.contains(block) {
                    changed |= self.real_out.insert(block);
                }
            }
        }
    }

    fn note_store(&mut self, func: &Function, inst: Inst) {
        let data = &func.insts[inst];
        if !data.op.info().stores {
            return;
        }
        match self.place(func, data) {
            Some(Place::Word(i)) => self.stored[i] = true,
            Some(Place::Element(_)) => self.stored[LIST_WORDS..].fill(true),
            Some(Place::Fixed(_) | Place::Buffer) | None => {}
        }
    }

    /// Whether the object need not be made on some way that is not cold.
    fn gains(&self, func: &Function) -> bool {
        let mut seen = EntitySet::new();
        let mut work = vec![self.home];
        while let Some(block) = work.pop() {
            if self.real_out.contains(block) || !seen.insert(block) {
                continue;
            }
            if func.successors(block).next().is_none() {
                return true;
            }
            for next in func.successors(block).filter(|&b| !func.blocks[b].cold) {
                if !self.live.contains(next) {
                    return true;
                }
                if !self.real_in.contains(next) {
                    work.push(next);
                }
            }
        }
        false
    }

    // ---- Uses ----

    /// What an instruction does with the object while it is virtual.
    fn what(&self, func: &Function, block: Block, inst: Inst) -> Use {
        let data = &func.insts[inst];
        if data.targets.iter().any(|t| t.args.iter().any(|&v| self.is(v))) {
            return Use::Escape;
        }
        let named = match data.state.expand() {
            Some(state) => self.named(func, block, data, state),
            None => Use::None,
        };
        if named == Use::Escape || !data.args.iter().any(|&v| self.is(v)) {
            return named;
        }
        let answered = match data.op {
            Op::Load | Op::LoadAt => self.place(func, data).is_some_and(|place| match place {
                Place::Fixed(_) | Place::Element(_) | Place::Buffer => true,
                Place::Word(i) => data.access.is_some_and(|a| a.width.ty() == func.ty(self.words[i])),
            }),
            Op::Store | Op::StoreCell | Op::StoreAt | Op::StoreCellAt => {
                let (base, value) = (data.args[0], data.args[data.args.len() - 1]);
                self.is(base)
                    && !self.is(value)
                    && match self.place(func, data) {
                        Some(Place::Word(i)) => func.ty(value) == func.ty(self.words[i]),
                        Some(Place::Element(_)) => true,
                        _ => false,
                    }
            }
            Op::IsObject | Op::IsSmall | Op::IsFloat | Op::Same => true,
            Op::Virtual => return Use::Named,
            _ => false,
        };
        if answered { Use::Answered } else { Use::Escape }
    }

    /// Whether an access is at a position that is no constant.
    fn chosen(&self, func: &Function, inst: Inst) -> bool {
        let data = &func.insts[inst];
        let accesses = matches!(data.op, Op::LoadAt | Op::StoreAt | Op::StoreCellAt);
        accesses && matches!(self.place(func, data), Some(Place::Element(_)))
    }

    /// Whether a value is the object or the address of its buffer.
    fn is(&self, value: Value) -> bool {
        value == self.object || self.buffers.contains(value)
    }

    /// What it is to an instruction that its frame state names the object.
    fn named(&self, func: &Function, block: Block, data: &InstData, state: State) -> Use {
        let mut slots = Vec::new();
        let named = |s: &&(u32, Value)| s.1 == self.object;
        func.each_state(state, |of| slots.extend(of.slots.iter().filter(named).map(|s| s.0)));
        if slots.is_empty() {
            return Use::None;
        }
        let seldom = func.blocks[block].cold;
        match data.op {
            // On their slow paths.
            Op::Alloc | Op::BoxInt => Use::Named,
            Op::Call | Op::CallClosure if seldom => Use::Named,
            Op::Call | Op::CallClosure => Use::Escape,
            Op::Routine => {
                let site = data.site.expand().map(|s| &func.sites[s]);
                let uses = site.and_then(|s| s.uses.as_deref());
                let end = func.states[state].end;
                let operand = |slot: &u32| *slot >= end || uses.is_none_or(|u| u.contains(slot));
                let switches = site.is_none_or(|s| s.kind == RoutineKind::Switch);
                if seldom && !switches && !slots.iter().any(operand) { Use::Named } else { Use::Escape }
            }
            _ if collects(func, data) => Use::Escape,
            _ => Use::Named,
        }
    }

    /// The place in the object that an access of it reaches.
    fn place(&self, func: &Function, data: &InstData) -> Option<Place> {
        let access = data.access?;
        if self.buffers.contains(data.args[0]) {
            return self.element(func, data, access);
        }
        if data.args[0] != self.object {
            return None;
        }
        let Access { class, width } = access;
        let mut offset = data.imm;
        if matches!(data.op, Op::LoadAt | Op::StoreAt) {
            let index = func.int_const(data.args[1])?;
            offset = index.checked_mul(i64::from(width.bytes()))?.checked_add(offset)?;
        }
        if self.elements.is_some() {
            match usize::try_from(offset).map(|offset| (class, offset)) {
                Ok((Class::Len, LEN)) => return Some(Place::Word(0)),
                Ok((Class::Bits, FLAGS)) => return Some(Place::Word(1)),
                Ok((Class::Buffer, BUFFER)) => return Some(Place::Buffer),
                _ => {}
            }
        }
        let bytes = i64::from(width.bytes());
        if (0..8).contains(&offset) {
            let raw = matches!(width, Width::U8 | Width::U16 | Width::U32);
            // The collector's bits are nobody's business.
            let there = offset + bytes <= 8 && (offset >= 2 || (offset, bytes) == (0, 1));
            let load = !data.op.info().stores && matches!(class, Class::Fixed | Class::Bits);
            if !raw || !there || !load {
                return None;
            }
            let word = self.header as u64 >> (8 * offset) & ((1 << (8 * bytes)) - 1);
            return Some(Place::Fixed(word as i64));
        }
        if offset < 8 || offset % 8 != 0 || bytes != 8 || words_of(self.header) != Some(class) {
            return None;
        }
        let word = usize::try_from(offset / 8 - 1).ok()?;
        (word < self.words.len()).then_some(Place::Word(word))
    }

    /// The place in its buffer that an access reaches.
    fn element(&self, func: &Function, data: &InstData, access: Access) -> Option<Place> {
        let room = self.words.len() - LIST_WORDS;
        if access.class == Class::Capacity && !data.op.info().stores {
            return Some(Place::Fixed(room as i64));
        }
        if Some(access) != self.elements {
            return None;
        }
        let first = (data.imm - Buffer::DATA as i64) / 8;
        let index = match data.op {
            Op::LoadAt | Op::StoreAt | Op::StoreCellAt => match func.int_const(data.args[1]) {
                Some(index) => index.checked_add(first)?,
                None => return (first == 0 && room <= CHOICES).then_some(Place::Element(data.args[1])),
            },
            _ => first,
        };
        let index = usize::try_from(index).ok().filter(|&i| i < room)?;
        Some(Place::Word(LIST_WORDS + index))
    }

    // ---- The change ----

    /// Gives whether there are new blocks.
    fn apply(self, func: &mut Function) -> bool {
        let mut edits = Edits { replaced: Replacements::new(func), dropped: EntitySet::new() };
        let mut ends: SecondaryMap<Block, Option<Status>> = SecondaryMap::new();
        let mut joins: EntitySet<Block> = EntitySet::new();
        let mut status = Status::Virtual(self.words.clone());
        self.block(func, &mut edits, self.home, &mut status);
        ends[self.home] = Some(status);
        for &block in &self.region {
            let mut status = self.start(func, &ends, block, &mut joins);
            self.block(func, &mut edits, block, &mut status);
            ends[block] = Some(status);
        }
        let mut split = false;
        for &block in &self.region {
            for &Edge { from, target } in self.cfg.preds(block) {
                let (Some(status), Some(inst)) = (&ends[from], func.terminator(from)) else { continue };
                let args = match status {
                    Status::Virtual(words) if self.real_in.contains(block) => {
                        let (made, object) = self.make(func, words);
                        if func.insts[inst].targets.len() == 1 {
                            let end = func.blocks[from].insts.len() - 1;
                            func.blocks[from].insts.insert(end, made);
                        } else {
                            self.between(func, inst, target, made, object);
                            split = true;
                            continue;
                        }
                        vec![object]
                    }
                    Status::Virtual(words) => {
                        words.iter().zip(&self.stored).filter(|w| *w.1).map(|w| *w.0).collect()
                    }
                    Status::Real(object) => vec![*object],
                };
                if joins.contains(block) {
                    func.insts[inst].targets[target as usize].args.extend(args);
                }
            }
        }
        edits.replaced.apply(func);
        split
    }

    /// Puts what makes the object into a new block on a way to a block that takes the object as its last parameter.
    fn between(&self, func: &mut Function, inst: Inst, target: u32, made: Inst, object: Value) {
        let new = func.add_block();
        let way = &mut func.insts[inst].targets[target as usize];
        let mut old = std::mem::replace(way, Target::new(new));
        old.args.push(object);
        func.blocks[new].cold = func.blocks[old.block].cold;
        func.blocks[new].insts.push(made);
        func.append(new, InstData::new(Op::Jump, &[]).targets([old]));
    }

    /// What the object is at the start of a block.
    fn start(
        &self,
        func: &mut Function,
        ends: &SecondaryMap<Block, Option<Status>>,
        block: Block,
        joins: &mut EntitySet<Block>,
    ) -> Status {
        let preds = self.cfg.preds(block);
        let first = preds.first().and_then(|e| ends[e.from].clone());
        if self.real_in.contains(block) {
            if let Some(Status::Real(object)) = first
                && preds.iter().all(|e| matches!(ends[e.from], Some(Status::Real(other)) if other == object))
            {
                return Status::Real(object);
            }
            joins.insert(block);
            return Status::Real(func.add_param(block, Type::Cell));
        }
        let mut words = self.words.clone();
        if !self.stored.contains(&true) {
            return Status::Virtual(words);
        }
        if let Some(Status::Virtual(words)) = first
            && preds.iter().all(|e| matches!(&ends[e.from], Some(Status::Virtual(other)) if *other == words))
        {
            return Status::Virtual(words);
        }
        joins.insert(block);
        for (word, _) in words.iter_mut().zip(&self.stored).filter(|w| *w.1) {
            *word = func.add_param(block, func.ty(*word));
        }
        Status::Virtual(words)
    }

    /// Rewrites a block, from the allocation on where that is in it.
    fn block(&self, func: &mut Function, edits: &mut Edits, block: Block, status: &mut Status) {
        let insts = std::mem::take(&mut func.blocks[block].insts);
        let mut out = Rewriter { insts: Vec::with_capacity(insts.len() + 4) };
        let mut reached = block != self.home;
        // The virtual object with the words of this point, where it exists.
        let mut snapshot: Option<Value> = None;
        let mut states = States::default();
        for (i, &inst) in insts.iter().enumerate() {
            if inst == self.inst {
                reached = true;
                continue;
            }
            if !reached {
                out.insts.push(inst);
                continue;
            }
            let info = func.insts[inst].op.info();
            if let Status::Virtual(words) = status {
                let mut used = self.what(func, block, inst);
                // A virtual object has what its user has: not a copy beside the real one.
                if func.insts[inst].op == Op::Virtual
                    && used == Use::Named
                    && self.soon_escapes(func, block, &insts[i + 1..])
                {
                    used = Use::Escape;
                }
                match used {
                    Use::None => {}
                    Use::Answered => self.answer(func, edits, &mut out, inst, words),
                    Use::Named => {
                        let object = *snapshot.get_or_insert_with(|| {
                            let data = InstData::new(Op::Virtual, words).imm(self.header);
                            out.def(func, data)
                        });
                        self.put(func, &mut states, inst, object);
                    }
                    Use::Escape => {
                        let (made, object) = self.make(func, words);
                        out.insts.push(made);
                        *status = Status::Real(object);
                    }
                }
                if info.stores || info.site {
                    snapshot = None;
                }
            }
            if let Status::Real(object) = *status {
                self.put(func, &mut states, inst, object);
                self.put_buffer(func, edits, &mut out, inst, object);
            }
            let answered =
                matches!(status, Status::Virtual(_)) && func.insts[inst].args.iter().any(|&v| self.is(v));
            if !answered {
                out.insts.push(inst);
            }
        }
        func.blocks[block].insts = out.insts;
    }

    /// Whether the object escapes before the next store or site is passed, or right there.
    fn soon_escapes(&self, func: &Function, block: Block, insts: &[Inst]) -> bool {
        for &inst in insts {
            if self.what(func, block, inst) == Use::Escape {
                return true;
            }
            let info = func.insts[inst].op.info();
            if info.stores || info.site {
                break;
            }
        }
        false
    }

    /// What the object is asked is known.
    fn answer(
        &self,
        func: &mut Function,
        edits: &mut Edits,
        out: &mut Rewriter,
        inst: Inst,
        words: &mut [Value],
    ) {
        let data = &func.insts[inst];
        let answer = match data.op {
            Op::IsObject => Place::Fixed(1),
            Op::IsSmall | Op::IsFloat => Place::Fixed(0),
            // No other value is a cell of this object.
            Op::Same => Place::Fixed(i64::from(data.args[0] == data.args[1])),
            _ => match self.place(func, data) {
                Some(Place::Word(i)) if data.op.info().stores => {
                    words[i] = data.args[data.args.len() - 1];
                    return;
                }
                Some(Place::Element(at)) if data.op.info().stores => {
                    let value = data.args[data.args.len() - 1];
                    for (word, i) in words[LIST_WORDS..].iter_mut().zip(0..) {
                        *word = choice(func, out, (at, i), value, *word);
                    }
                    return;
                }
                Some(place) => place,
                None => unreachable!("internal error: an access of an object that was no place in it"),
            },
        };
        let Some(result) = data.result.expand() else { return };
        let with = match answer {
            Place::Fixed(bits) => out.int(func, bits),
            Place::Word(i) => words[i],
            Place::Element(at) => {
                let mut with = words[words.len() - 1];
                for (&word, i) in words[LIST_WORDS..words.len() - 1].iter().zip(0..) {
                    with = choice(func, out, (at, i), word, with);
                }
                with
            }
            Place::Buffer => {
                edits.dropped.insert(result);
                return;
            }
        };
        edits.replaced.replace(result, with);
    }

    /// The object, which has these words now, as an instruction that is in no block yet.
    fn make(&self, func: &mut Function, words: &[Value]) -> (Inst, Value) {
        match func.make(InstData::new(Op::Make, words).imm(self.header)) {
            (inst, Some(object)) => (inst, object),
            (_, None) => unreachable!("internal error: an object is a result"),
        }
    }

    /// An instruction gets the address of the buffer of the object, which is made now, for one that is no longer loaded.
    fn put_buffer(&self, func: &mut Function, edits: &Edits, out: &mut Rewriter, inst: Inst, object: Value) {
        let data = &func.insts[inst];
        let mut values = data.args.iter().chain(data.targets.iter().flat_map(|t| t.args.iter()));
        if !values.any(|&v| edits.dropped.contains(v)) {
            return;
        }
        let load = InstData::new(Op::Load, &[object]).imm(BUFFER as i64).access(Class::Buffer, Width::Ptr);
        let buffer = out.def(func, load);
        let data = &mut func.insts[inst];
        let values = data.args.iter_mut().chain(data.targets.iter_mut().flat_map(|t| t.args.iter_mut()));
        values.filter(|v| edits.dropped.contains(**v)).for_each(|v| *v = buffer);
    }

    /// An instruction names a value for the object. States that were one stay one.
    fn put(&self, func: &mut Function, states: &mut States, inst: Inst, value: Value) {
        let map = |v: Value| if v == self.object { value } else { v };
        let data = &mut func.insts[inst];
        data.args.iter_mut().for_each(|v| *v = map(*v));
        data.targets.iter_mut().flat_map(|t| t.args.iter_mut()).for_each(|v| *v = map(*v));
        if let Some(state) = data.state.expand() {
            let new = states.entry((state, value)).or_insert_with(|| mapped_state(func, state, &map));
            func.insts[inst].state = (*new).into();
        }
    }
}

/// `then` where an int is a constant, else `other`.
fn choice(
    func: &mut Function,
    out: &mut Rewriter,
    (int, constant): (Value, i64),
    then: Value,
    other: Value,
) -> Value {
    let constant = out.int(func, constant);
    let same = out.def(func, InstData::new(Op::Icmp, &[int, constant]).imm(Cond::Eq as i64));
    let op = match func.ty(then) {
        Type::Float => Op::SelectFloat,
        Type::Cell => Op::SelectCell,
        Type::Int | Type::Ptr => Op::SelectInt,
    };
    out.def(func, InstData::new(op, &[same, then, other]))
}
