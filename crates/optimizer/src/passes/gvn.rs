//! What was computed before.
//!
//! Walks the dominator tree and gives every value a *number*: the first value that is congruent to it, that is, has the same op,
//! immediate, numbers of operands and, for loads, version of the memory that it reads (`memory.rs`). A value is replaced by a
//! congruent one that dominates it. Rules of `fold.rs` are applied on the way, since each finds work for the other.
//!
//! * Loads find what was loaded from or stored to the same place, and what new objects were made from. A store of what is there
//!   already goes.
//! * Checks, and ops that leave, go where the same one was passed.
//! * What a passed check or the way of a branch says is used below it: the condition is 1 or 0, a value is the constant that it was
//!   found equal to.
//!
//! Congruence and availability are two things. A pointer, or a cell that may be an object, is available only where no collecting
//! instruction came in between, or (cells) each of them names it in its frame state; where it is not, a new value of the same
//! number takes over, so that what is read through a pointer that was computed anew is still known.
//!
//! This is the dominator-based value numbering of Briggs, Cooper and Simpson. The partitioning algorithm would also find
//! congruent cycles; but loops rarely have two variables that are always equal, and `params.rs` finds those that never change.
//! Not done here: redundancies on some ways only.

use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntityRef, SecondaryMap};

use smallvec::{SmallVec, smallvec};
use std::mem::offset_of;
use upshift_runtime::object::{Header, List};

use super::fold::{Outcome, simplify};
use super::memory::{Entries, Memory, Version, Versions};
use super::params::relayout;
use super::{Replacements, Rewriter, is_bool, may_be_object, words_of};
use crate::cfg::{Analyses, Cfg, Dominators};
use crate::ir::{
    Access, Block, Class, Cond, Def, Function, Inst, InstData, Op, Type, Value, WATCH_BYTES, Width,
    elements_of,
};

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let (cfg, doms, loops) = analyses.loops(func);
    let memory = Memory::new(func);
    let entries = Entries::new(func, &memory, cfg, doms, loops);
    let values = func.values.len();
    let mut pass = Pass {
        replaced: Replacements::new(func),
        table: Table::new(values),
        facts: Facts { numbers: sized(values), known: sized(values), undo: Vec::new() },
        leaders: sized(values),
        blocks: sized(values),
        valid: sized(values),
        valid_undo: Vec::new(),
        versions: Versions::default(),
        block: func.entry(),
        spare: Vec::new(),
        changed: 0,
        ended: false,
        swapped: false,
        func,
        doms,
        memory,
    };
    let mut scopes: Vec<(Block, usize, usize)> = Vec::new();
    for &block in &doms.walk {
        while let Some(&(above, facts, valid)) = scopes.last().filter(|s| Some(s.0) != doms.idom(block)) {
            debug_assert!(above != block, "a block is walked once");
            pass.undo(facts, valid);
            scopes.pop();
        }
        scopes.push((block, pass.facts.undo.len(), pass.valid_undo.len()));
        pass.versions.enter(&entries, block);
        pass.block(cfg, block);
    }
    let Pass { mut replaced, changed, ended, swapped, .. } = pass;
    replaced.apply_to_states(func);
    if ended {
        relayout(func, analyses);
    } else if swapped {
        analyses.forget();
    }
    changed
}

/// A table with room for all values there are.
fn sized<T: Clone + Default>(values: usize) -> SecondaryMap<Value, T> {
    let mut map = SecondaryMap::new();
    map.resize(values);
    map
}

/// What a value is computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    op: Op,
    access: Option<Access>,
    imm: i64,
    args: [u32; 3],
    version: Version,
}

impl Key {
    fn hash(&self) -> u64 {
        const K: u64 = 0x9E37_79B9_7F4A_7C15;
        let access = self.access.map_or(0, |a| 1 + a.class as u64 * 16 + a.width as u64);
        let mut h = (self.op as u64) << 32 | access;
        for word in [
            self.imm as u64,
            u64::from(self.args[0]) << 32 | u64::from(self.args[1]),
            u64::from(self.args[2]) << 32 | u64::from(self.version),
        ] {
            h = (h.rotate_left(23) ^ word).wrapping_mul(K);
        }
        h ^ h >> 29
    }
}

const NO_ARG: u32 = u32::MAX;

/// Numbers by keys: open addressing, never more than half full.
struct Table {
    slots: Vec<u32>,
    entries: Vec<(Key, Value)>,
}

impl Table {
    fn new(insts: usize) -> Table {
        Table {
            slots: vec![u32::MAX; (2 * insts + 16).next_power_of_two()],
            entries: Vec::with_capacity(insts),
        }
    }

    fn find(&self, key: &Key) -> Result<Value, usize> {
        let mask = self.slots.len() - 1;
        let mut at = key.hash() as usize & mask;
        loop {
            match self.slots[at] {
                u32::MAX => return Err(at),
                i if self.entries[i as usize].0 == *key => return Ok(self.entries[i as usize].1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Adds a key if it is not there.
    fn insert(&mut self, key: Key, value: Value) {
        if let Err(at) = self.find(&key) {
            self.insert_at(at, key, value);
        }
    }

    /// Adds a key that is not there, where it was not found.
    fn insert_at(&mut self, at: usize, key: Key, value: Value) {
        self.slots[at] = self.entries.len() as u32;
        self.entries.push((key, value));
        if 2 * self.entries.len() > self.slots.len() {
            self.grow();
        }
    }

    fn grow(&mut self) {
        self.slots = vec![u32::MAX; 2 * self.slots.len()];
        let mask = self.slots.len() - 1;
        for (i, (key, _)) in self.entries.iter().enumerate() {
            let mut at = key.hash() as usize & mask;
            while self.slots[at] != u32::MAX {
                at = (at + 1) & mask;
            }
            self.slots[at] = i as u32;
        }
    }
}

/// Numbers, and what is known of them where the walk stands.
struct Facts {
    numbers: SecondaryMap<Value, PackedOption<Value>>,
    /// The bits that a value of this number is known to have.
    known: SecondaryMap<Value, Option<i64>>,
    undo: Vec<Value>,
}

impl Facts {
    fn number(&self, value: Value) -> Value {
        self.numbers[value].expand().unwrap_or(value)
    }

    fn known(&self, value: Value) -> Option<i64> {
        self.known[self.number(value)]
    }

    fn learn(&mut self, value: Value, bits: i64) {
        let number = self.number(value);
        if self.known[number].is_none() {
            self.known[number] = Some(bits);
            self.undo.push(number);
        }
    }

    /// A condition is true or false.
    fn truth(&mut self, func: &Function, cond: Value, truth: bool, depth: u32) {
        if !truth {
            self.learn(cond, 0);
        } else if is_bool(func, cond) {
            self.learn(cond, 1);
        }
        let Some(data) = func.def(cond) else { return };
        match data.op {
            // Both are true where a & b is 1; both are false where a | b is 0.
            Op::Iand if truth && data.args.iter().all(|&a| is_bool(func, a)) && depth > 0 => {
                data.args.iter().for_each(|&a| self.truth(func, a, true, depth - 1));
            }
            Op::Ior if !truth && depth > 0 => {
                data.args.iter().for_each(|&a| self.truth(func, a, false, depth - 1));
            }
            Op::Icmp => {
                let equal = match data.cond() {
                    Cond::Eq => truth,
                    Cond::Ne => !truth,
                    _ => return,
                };
                if equal && let Some(c) = func.int_const(data.args[1]) {
                    self.learn(data.args[0], c);
                }
            }
            Op::Same if truth => {
                for (a, b) in [(0, 1), (1, 0)] {
                    if let Some(k) = func.def(data.args[b]).filter(|d| d.op == Op::Cconst) {
                        self.learn(data.args[a], k.imm);
                    }
                }
            }
            _ => {}
        }
    }
}

struct Pass<'a> {
    func: &'a mut Function,
    doms: &'a Dominators,
    memory: Memory,
    replaced: Replacements,
    table: Table,
    facts: Facts,
    /// By number: the value that stands for it.
    leaders: SecondaryMap<Value, PackedOption<Value>>,
    /// Where instructions' values are defined, as far as the walk came.
    blocks: SecondaryMap<Value, PackedOption<Block>>,
    /// The version of what collections change up to which a cell or pointer is known to live.
    valid: SecondaryMap<Value, Version>,
    valid_undo: Vec<(Value, Version)>,
    versions: Versions,
    block: Block,
    /// Room for the instructions of a block.
    spare: Vec<Inst>,
    changed: usize,
    ended: bool,
    /// A rule may have exchanged the ways of a branch.
    swapped: bool,
}

impl Pass<'_> {
    fn undo(&mut self, facts: usize, valid: usize) {
        for number in self.facts.undo.drain(facts..) {
            self.facts.known[number] = None;
        }
        while self.valid_undo.len() > valid {
            if let Some((value, version)) = self.valid_undo.pop() {
                self.valid[value] = version;
            }
        }
    }

    fn moves(&self) -> Version {
        self.versions.get(Memory::moves())
    }

    /// A cell or pointer is used or defined here, so it lives here.
    fn lives(&mut self, value: Value) {
        let now = self.moves();
        if self.valid[value] != now {
            self.valid_undo.push((value, self.valid[value]));
            self.valid[value] = now;
        }
    }

    /// Whether a value that was defined before may be used here.
    fn available(&self, value: Value) -> bool {
        let block = match self.func.values[value].def {
            Def::Param(block, _) => block,
            Def::Inst(_) => match self.blocks[value].expand() {
                Some(block) => block,
                None => return false,
            },
        };
        if !self.doms.dominates(block, self.block) {
            return false;
        }
        match self.func.ty(value) {
            Type::Int | Type::Float => true,
            Type::Cell => !may_be_object(self.func, value) || self.valid[value] == self.moves(),
            Type::Ptr => self.valid[value] == self.moves(),
        }
    }

    fn block(&mut self, cfg: &Cfg, block: Block) {
        self.block = block;
        for i in 0..self.func.blocks[block].params.len() {
            let p = self.func.blocks[block].params[i];
            if matches!(self.func.ty(p), Type::Cell | Type::Ptr) {
                self.lives(p);
            }
        }
        // What the only way here says.
        if let Some(edge) = self.doms.way_in(cfg, block)
            && let Some(inst) = self.func.terminator(edge.from)
        {
            let data = &self.func.insts[inst];
            // A rule may have exchanged the ways since the edges were listed.
            let mut ways = data.targets.iter().enumerate().filter(|(_, t)| t.block == block).map(|(i, _)| i);
            let way = ways.next();
            debug_assert!(ways.next().is_none(), "two ways are no only way");
            match data.op {
                Op::Branch => {
                    let cond = data.args[0];
                    self.truth(cond, way == Some(0));
                }
                Op::Switch => {
                    let cases = &self.func.cases[data.imm as usize];
                    if let Some(&case) = way.and_then(|way| cases.get(way)) {
                        self.facts.learn(data.args[0], case);
                    }
                }
                _ => {}
            }
        }
        let mut insts = std::mem::take(&mut self.func.blocks[block].insts);
        let mut out = Rewriter { insts: std::mem::take(&mut self.spare) };
        for inst in insts.drain(..) {
            self.replaced.apply_to(&mut self.func.insts[inst]);
            self.use_facts(&mut out, inst);
            let outcome = self.simplified(&mut out, inst);
            match outcome {
                Outcome::Keep | Outcome::Again => {
                    if self.keep(inst) {
                        out.insts.push(inst);
                    } else {
                        self.changed += 1;
                    }
                }
                Outcome::Value(with) => self.is(inst, with),
                Outcome::Drop => {}
                Outcome::Ends => {
                    out.insts.push(inst);
                    self.ended = true;
                    break;
                }
            }
        }
        insts.extend_from_slice(&out.insts);
        self.func.blocks[block].insts = insts;
        out.insts.clear();
        self.spare = out.insts;
    }

    /// A condition is true or false, and its negation is not.
    fn truth(&mut self, cond: Value, truth: bool) {
        self.facts.truth(self.func, cond, truth, 4);
        let Some(data) = self.func.def(cond).filter(|d| matches!(d.op, Op::Icmp | Op::Fcmp)) else { return };
        if let Some(number) = self.negation(data) {
            self.facts.learn(number, i64::from(!truth));
        }
    }

    /// The number of what holds where a comparison does not, if that was computed.
    fn negation(&self, data: &InstData) -> Option<Value> {
        let key = self.key(data)?;
        self.table.find(&Key { imm: Cond::ALL[key.imm as usize].negated() as i64, ..key }).ok()
    }

    /// The result of an instruction is another value.
    fn is(&mut self, inst: Inst, with: Value) {
        if let Some(result) = self.func.insts[inst].result.expand() {
            let number = self.facts.number(with);
            self.facts.numbers[result] = number.into();
            self.replaced.replace(result, with);
            self.changed += 1;
        }
    }

    /// Operands that are known to be constants.
    fn use_facts(&mut self, out: &mut Rewriter, inst: Inst) {
        if self.facts.undo.is_empty() {
            return;
        }
        let data = &self.func.insts[inst];
        let info = data.op.info();
        // What memory is reached from stays, and so does what is constant.
        for i in usize::from(info.loads || info.stores)..data.args.len() {
            if let Some(constant) = self.as_constant(out, self.func.insts[inst].args[i]) {
                self.func.insts[inst].args[i] = constant;
            }
        }
        for t in 0..self.func.insts[inst].targets.len() {
            for i in 0..self.func.insts[inst].targets[t].args.len() {
                if let Some(constant) = self.as_constant(out, self.func.insts[inst].targets[t].args[i]) {
                    self.func.insts[inst].targets[t].args[i] = constant;
                }
            }
        }
    }

    /// The constant that a value is known to be.
    fn as_constant(&mut self, out: &mut Rewriter, value: Value) -> Option<Value> {
        let bits = self.facts.known(value)?;
        let op = match self.func.ty(value) {
            Type::Int => Op::Iconst,
            Type::Cell => Op::Cconst,
            Type::Float | Type::Ptr => return None,
        };
        if self.func.def(value).is_some_and(|d| d.op == op) {
            return None;
        }
        self.changed += 1;
        Some(self.constant(out, op, bits))
    }

    /// A constant that is defined here or before.
    fn constant(&mut self, out: &mut Rewriter, op: Op, bits: i64) -> Value {
        let value = out.def(self.func, InstData::new(op, &[]).imm(bits));
        let inst = out.insts.pop();
        if let Some(inst) = inst.filter(|&i| self.keep(i)) {
            out.insts.push(inst);
        }
        self.replaced.get(value)
    }

    /// What takes a cell apart that cannot be used here, but whose number is a box, asks the box: what is in it may be used.
    fn ask_the_box(&mut self, inst: Inst) -> Option<Value> {
        let data = &self.func.insts[inst];
        if !matches!(data.op, Op::IsSmall | Op::IsFloat | Op::IsObject | Op::SmallInt | Op::CellFloat) {
            return None;
        }
        let cell = data.args[0];
        let number = self.facts.number(cell);
        let made = self.func.def(number).filter(|_| number != cell)?;
        // Whether the cell is an object at all is asked of itself: what is read of it hangs on that, and passes look for it there.
        let known = !matches!(data.op, Op::IsSmall | Op::IsObject);
        let boxes = match made.op {
            Op::BoxSmall | Op::BoxFloat | Op::BoxBool => true,
            Op::BoxInt => known,
            _ => false,
        };
        let above = self.blocks[number].expand().is_some_and(|b| self.doms.dominates(b, self.block));
        (boxes && above).then(|| {
            self.func.insts[inst].args[0] = number;
            cell
        })
    }

    /// Applies rules, and numbers what they made.
    fn simplified(&mut self, out: &mut Rewriter, inst: Inst) -> Outcome {
        for _ in 0..4 {
            let start = out.insts.len();
            let asked = self.ask_the_box(inst);
            let (outcome, count) = simplify(self.func, out, inst);
            if let (Some(cell), Outcome::Keep, 0) = (asked, outcome, count) {
                self.func.insts[inst].args[0] = cell;
            }
            self.changed += count;
            self.swapped |= count > 0 && self.func.insts[inst].op == Op::Branch;
            if out.insts.len() > start {
                for new in out.insts.split_off(start) {
                    self.replaced.apply_to(&mut self.func.insts[new]);
                    if self.keep(new) {
                        out.insts.push(new);
                    }
                }
                self.replaced.apply_to(&mut self.func.insts[inst]);
            }
            match outcome {
                Outcome::Value(with) => return Outcome::Value(self.replaced.get(with)),
                Outcome::Keep | Outcome::Again => {}
                Outcome::Drop | Outcome::Ends => return outcome,
            }
            match self.by_facts(out, inst) {
                Outcome::Again => self.changed += 1,
                other => return other,
            }
        }
        Outcome::Keep
    }

    /// Rules that need what was checked.
    fn by_facts(&mut self, out: &mut Rewriter, inst: Inst) -> Outcome {
        let data = &self.func.insts[inst];
        let (made, check) = match data.op {
            // x / 2^k = x >> k where the low k bits of x are 0
            Op::Idiv => {
                let Some(d) = self.func.int_const(data.args[1]).filter(|&d| d > 1 && d.count_ones() == 1)
                else {
                    return Outcome::Keep;
                };
                let number = |data: InstData| self.key_of(&data).and_then(|key| self.table.find(&key).ok());
                let x = data.args[0];
                let low = number(InstData::new(Op::Iconst, &[]).imm(d - 1))
                    .and_then(|mask| number(InstData::new(Op::Iand, &[x, mask])));
                if low.is_none_or(|low| self.facts.known[low] != Some(0)) {
                    return Outcome::Keep;
                }
                let result = data.result;
                let shift = self.constant(out, Op::Iconst, i64::from(d.trailing_zeros()));
                self.func.insts[inst] = InstData { result, ..InstData::new(Op::IshrS, &[x, shift]) };
                return Outcome::Again;
            }
            // box_small(small_int(x)) = x where x is a small int; box_float(cell_float(x)) = x where x is a float
            Op::BoxSmall => (Op::SmallInt, Op::IsSmall),
            Op::BoxFloat => (Op::CellFloat, Op::IsFloat),
            // A watch that is not bumped at the entry, where nothing since could have bumped it
            Op::Load if self.intact(data) => {
                let result = data.result;
                self.func.insts[inst] = InstData { result, ..InstData::new(Op::Iconst, &[]).imm(0) };
                return Outcome::Again;
            }
            // The negation is known.
            Op::Icmp | Op::Fcmp => {
                let known = self.negation(data);
                let Some(known) = known.and_then(|n| self.facts.known[n]) else { return Outcome::Keep };
                let result = data.result;
                let truth = i64::from(known == 0);
                self.func.insts[inst] = InstData { result, ..InstData::new(Op::Iconst, &[]).imm(truth) };
                return Outcome::Again;
            }
            _ => return Outcome::Keep,
        };
        let Some(cell) = self.func.def(data.args[0]).filter(|d| d.op == made).map(|d| d.args[0]) else {
            return Outcome::Keep;
        };
        let known = self.key_of(&InstData::new(check, &[cell])).and_then(|key| self.table.find(&key).ok());
        match known.and_then(|n| self.facts.known[n]) {
            Some(1) if self.available(cell) => Outcome::Value(cell),
            _ => Outcome::Keep,
        }
    }

    /// Whether a load is of a watch that cannot have been bumped.
    fn intact(&self, data: &InstData) -> bool {
        let Some(access) = data.access.filter(|a| a.class == Class::Watch) else { return false };
        let watch = u32::try_from(data.imm / WATCH_BYTES as i64);
        watch.is_ok_and(|watch| self.func.watches.binary_search(&watch).is_ok())
            && self.versions.get(self.memory.part(access, data.imm)) == Memory::AT_ENTRY
    }

    /// What an instruction's result is computed from, if it is computed from operands and memory alone.
    fn key(&self, data: &InstData) -> Option<Key> {
        if data.result.is_some() { self.key_of(data) } else { None }
    }

    /// Likewise, for what may not exist.
    fn key_of(&self, data: &InstData) -> Option<Key> {
        let info = data.op.info();
        let version = match data.op {
            Op::Load | Op::LoadAt => self.versions.get(self.memory.part(data.access?, data.imm)),
            Op::Context => {
                let access = Access { class: Class::Context, width: Width::Ptr };
                self.versions.get(self.memory.part(access, data.imm))
            }
            Op::Helper => {
                let effects = self.func.sites[data.site.expand()?].effects;
                if effects.writes || effects.calls || effects.collects {
                    return None;
                }
                Memory::read_by(data.imm).map_or(0, |part| self.versions.get(part))
            }
            Op::IaddExit | Op::IsubExit | Op::ImulExit | Op::BoxInt | Op::Constant => 0,
            _ if info.pure || info.fixed => 0,
            _ => return None,
        };
        if data.args.len() > 3 {
            return None;
        }
        let mut args = [NO_ARG; 3];
        for (slot, &arg) in args.iter_mut().zip(&data.args) {
            *slot = self.facts.number(arg).index() as u32;
        }
        // Reasons are not what is computed.
        let mut imm = match data.op {
            Op::IaddExit | Op::IsubExit | Op::ImulExit => 0,
            _ => data.imm,
        };
        if args[0] > args[1] && args[1] != NO_ARG {
            if data.op.commutes() {
                args.swap(0, 1);
            } else if data.op == Op::Icmp {
                args.swap(0, 1);
                imm = data.cond().swapped() as i64;
            }
        }
        Some(Key { op: data.op, access: data.access, imm, args, version })
    }

    /// Numbers an instruction that stays; false where it need not stay after all.
    fn keep(&mut self, inst: Inst) -> bool {
        let data = &self.func.insts[inst];
        let op = data.op;
        let key = self.key(data);
        for i in 0..self.func.insts[inst].args.len() {
            let arg = self.func.insts[inst].args[i];
            if matches!(self.func.ty(arg), Type::Cell | Type::Ptr) {
                self.lives(arg);
            }
        }
        if let (Some(key), Some(result)) = (key, self.func.insts[inst].result.expand()) {
            let found = self.table.find(&key);
            if let Ok(number) = found {
                let leader = self.leaders[number].expand().filter(|&l| self.available(l));
                let leader = leader.or_else(|| Some(number).filter(|&n| self.available(n)));
                let leader = leader.filter(|&l| self.asks_the_same(inst, l));
                if let Some(leader) = leader {
                    self.leaders[number] = leader.into();
                    self.facts.numbers[result] = number.into();
                    self.replaced.replace(result, leader);
                    return false;
                }
                self.facts.numbers[result] = number.into();
                self.leaders[number] = result.into();
            } else if let Err(at) = found {
                self.table.insert_at(at, key, result);
                self.leaders[result] = result.into();
                // A sum that does not leave is the sum.
                let plain = match op {
                    Op::IaddExit => Some(Op::Iadd),
                    Op::IsubExit => Some(Op::Isub),
                    Op::ImulExit => Some(Op::Imul),
                    _ => None,
                };
                if let Some(op) = plain {
                    self.table.insert(Key { op, imm: 0, ..key }, result);
                }
            }
        }
        let stored = self.stored(inst);
        if let Some((key, value)) = stored
            && self.table.find(&key) == Ok(value)
        {
            return false;
        }
        self.effects(inst);
        if let Some((key, value)) = stored {
            let key = Key { version: self.versions.get(self.part_of(&key)), ..key };
            self.table.insert(key, value);
        }
        if op == Op::Guard {
            let cond = self.func.insts[inst].args[0];
            self.truth(cond, true);
        }
        if let Some(result) = self.func.insts[inst].result.expand() {
            self.blocks[result] = self.block.into();
            if matches!(self.func.ty(result), Type::Cell | Type::Ptr) {
                self.lives(result);
            }
        }
        if matches!(op, Op::Alloc | Op::Make) {
            self.made(inst);
        }
        true
    }

    /// Whether what is computed from operands and headers of objects alone has the very operands of what would replace it. An answer
    /// about a cell that cannot be used any more is as good an answer about the congruent one that took over, but then nothing says
    /// that what is behind it needs that one to be an object: `licm.rs` would load from it before the question. A constant is no question
    /// any more.
    fn asks_the_same(&self, inst: Inst, leader: Value) -> bool {
        let data = &self.func.insts[inst];
        let asks = data.access.is_none_or(|a| matches!(a.class, Class::Fixed | Class::Bits));
        let same = |d: &InstData| d.op == Op::Iconst || data.args.iter().all(|arg| d.args.contains(arg));
        !asks || self.func.def(leader).is_none_or(same)
    }

    fn part_of(&self, key: &Key) -> usize {
        key.access.map_or(Memory::any(), |access| self.memory.part(access, key.imm))
    }

    /// For stores: the key of a load from there as memory is now, and the number of what is stored.
    fn stored(&self, inst: Inst) -> Option<(Key, Value)> {
        let data = &self.func.insts[inst];
        let access = data.access?;
        let (op, value) = match data.op {
            Op::Store | Op::StoreCell => (Op::Load, data.args[1]),
            Op::StoreAt | Op::StoreCellAt => (Op::LoadAt, data.args[2]),
            _ => return None,
        };
        // Of narrow stores only that of a boolean gives back what was stored.
        let whole = access.width.bytes() == 8 || is_bool(self.func, value);
        if !whole || access.width.ty() != self.func.ty(value) {
            return None;
        }
        let number = |v| self.facts.number(v).index() as u32;
        let index = if op == Op::LoadAt { number(data.args[1]) } else { NO_ARG };
        let args = [number(data.args[0]), index, NO_ARG];
        let key = Key { op, access: Some(access), imm: data.imm, args, version: 0 };
        let version = self.versions.get(self.part_of(&key));
        Some((Key { version, ..key }, self.facts.number(value)))
    }

    /// What an instruction changes, and what it lets live.
    fn effects(&mut self, inst: Inst) {
        let parts = self.memory.changes(self.func, &self.func.insts[inst]);
        if parts == 0 {
            return;
        }
        let before = self.moves();
        self.versions.change(parts, inst);
        if self.moves() == before {
            return;
        }
        let mut named = Vec::new();
        self.func.each_kept_value(inst, |v| {
            let v = self.replaced.get(v);
            if self.func.ty(v) == Type::Cell && self.valid[v] == before {
                named.push(v);
            }
        });
        named.into_iter().for_each(|v| self.lives(v));
    }

    /// What is in a new object.
    fn made(&mut self, inst: Inst) {
        let data = &self.func.insts[inst];
        let Some(object) = data.result.expand() else { return };
        let places: SmallVec<[(Access, i64, Value); 8]> = match words_of(data.imm) {
            Some(class) => {
                let words = data.args.iter().zip(0..);
                words
                    .map(|(&v, i)| (Access { class, width: self.func.ty(v).width() }, 8 + 8 * i, v))
                    .collect()
            }
            // What is in the buffer is stored right away.
            None if elements_of(data.imm).is_some() => smallvec![
                (Access { class: Class::Len, width: Width::Int }, offset_of!(List, len) as i64, data.args[0]),
                (
                    Access { class: Class::Bits, width: Width::U16 },
                    offset_of!(Header, bits) as i64,
                    data.args[1]
                ),
            ],
            None => return,
        };
        for (access, imm, value) in places {
            let args = [object.index() as u32, NO_ARG, NO_ARG];
            let version = self.versions.get(self.memory.part(access, imm));
            let key = Key { op: Op::Load, access: Some(access), imm, args, version };
            self.table.insert(key, self.facts.number(value));
        }
    }
}
