//! Blocks in versions by the kinds of cells.
//!
//! An op on dynamic values tests their kinds, does its work on each of its ways, and these meet again, where what was learned and what
//! the result is made of is forgotten; the next op tests anew. So a block behind such a meeting is copied, one version for each
//! combination of kinds that comes in and that something behind it asks for, up to [`VERSIONS`], and in the copies the tests are
//! decided. This is basic block versioning (Chevalier-Boisvert and Feeley, "Simple and Effective Type Check Removal through Lazy Basic
//! Block Versioning"), done ahead of running in one sweep over the blocks.
//!
//! What is known of a cell at the start of a version is its key: of blocks with several ways in, whether it is a small int or a float;
//! of others all that the branch before says. Only cells whose kind is asked for behind the block, before the next header of a loop,
//! count. Headers, the blocks before them and those that lead back have one version, for which nothing is known: loops keep their
//! shape, and parameters of loops are `unbox.rs`'s. What comes from a block that runs seldom brings nothing either, and a version
//! that only such blocks lead to runs seldom itself.
//!
//! Values that blocks in several versions define are looked up from each use backwards, with parameters where versions meet (Braun et
//! al., "Simple and Efficient Construction of Static Single Assignment Form"); `params.rs` takes those away that always are the same.
//!
//! Needs objects that are all real: runs before `escape.rs`. Choices among cells become branches again where the kind of what is chosen is
//! asked for; `params.rs` makes choices of those that are left.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use smallvec::SmallVec;
use upshift_runtime::value::Value as Cell;

use super::copy::mapped_state;
use super::params::relayout;
use crate::cfg::{Analyses, Cfg, Dominators};
use crate::ir::{Block, BlockData, Cond, Def, Function, InstData, Op, State, Target, Value};

/// The most versions of a block with several ways in, beside the one for which nothing is known.
const VERSIONS: usize = 6;
/// The most instructions that copies have in a function.
const GROWTH: usize = 1200;
/// Functions of more blocks are left alone.
const BLOCKS: usize = 3000;
/// How deep conditions are followed.
const DEPTH: u32 = 6;

/// What a cell may be: a set of these.
type Kinds = u8;
const SMALL: Kinds = 1;
const FLOAT: Kinds = 2;
const OBJECT: Kinds = 4;
const OTHER: Kinds = 8;
const ALL: Kinds = 15;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    if func.layout.len() > BLOCKS || !asks(func) {
        return 0;
    }
    let chosen = branch_choices(func);
    if chosen > 0 {
        relayout(func, analyses);
    }
    let plan = Plan::new(func, analyses.cfg(func));
    let changed = plan.gains();
    if changed > 0 {
        Copies::make(func, &plan);
        analyses.forget();
    }
    changed + chosen
}

/// Whether ways of different kinds meet at all: some number is boxed, or a kind is a branch, and kinds are tested.
fn asks(func: &Function) -> bool {
    let ops = || func.layout.iter().flat_map(|&b| &func.blocks[b].insts).map(|&i| func.insts[i].op);
    ops().filter(|op| matches!(op, Op::IsSmall | Op::IsFloat)).nth(1).is_some()
        && ops().any(|op| op == Op::Branch)
}

/// The cell whose kind an instruction tests, and what the test is for.
fn test(data: &InstData) -> Option<(Value, Kinds)> {
    match data.op {
        Op::IsSmall => Some((data.args[0], SMALL)),
        Op::IsFloat => Some((data.args[0], FLOAT)),
        Op::IsObject => Some((data.args[0], OBJECT)),
        _ => None,
    }
}

/// Choices among cells whose kind is tested become branches.
fn branch_choices(func: &mut Function) -> usize {
    let mut tested: SecondaryMap<Value, bool> = SecondaryMap::new();
    for &block in func.layout.iter().filter(|&&b| !func.blocks[b].cold) {
        for &inst in &func.blocks[block].insts {
            if let Some((v, SMALL | FLOAT)) = test(&func.insts[inst]) {
                tested[v] = true;
            }
        }
    }
    let mut made = 0;
    let mut i = 0;
    while i < func.layout.len() {
        let block = func.layout[i];
        i += 1;
        let choice = func.blocks[block].insts.iter().position(|&inst| {
            let data = &func.insts[inst];
            data.op == Op::SelectCell && data.result.expand().is_some_and(|r| tested[r])
        });
        let Some(at) = choice else { continue };
        let rest = func.blocks[block].insts.split_off(at);
        let data = func.insts[rest[0]].clone();
        let cold = func.blocks[block].cold;
        let [a, b, after] = [0; 3].map(|_| func.blocks.push(BlockData { cold, ..BlockData::default() }));
        if let Some(result) = data.result.expand() {
            func.values[result].def = Def::Param(after, 0);
            func.blocks[after].params.push(result);
        }
        func.blocks[after].insts.extend_from_slice(&rest[1..]);
        func.append(block, InstData::new(Op::Branch, &data.args[..1]).targets([a, b].map(Target::new)));
        for (from, arg) in [(a, data.args[1]), (b, data.args[2])] {
            let target = Target { block: after, args: [arg].into_iter().collect() };
            func.append(from, InstData::new(Op::Jump, &[]).targets([target]));
        }
        func.layout.splice(i..i, [a, b, after]);
        made += 1;
    }
    made
}

/// What is known of cells at a point; what is not in it may be anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Facts(SmallVec<[(Value, Kinds); 6]>);

impl Facts {
    fn get(&self, v: Value) -> Kinds {
        self.0.iter().find(|f| f.0 == v).map_or(ALL, |f| f.1)
    }

    fn narrow(&mut self, v: Value, kinds: Kinds) {
        match self.0.iter_mut().find(|f| f.0 == v) {
            Some(fact) => fact.1 &= kinds,
            None => self.0.push((v, kinds)),
        }
    }

    /// What a cell may be.
    fn kinds(&self, func: &Function, v: Value) -> Kinds {
        self.get(v) & own(func, v)
    }

    /// What a condition is, where that is known.
    fn eval(&self, func: &Function, v: Value, depth: u32) -> Option<i64> {
        let data = func.def(v).filter(|_| depth > 0)?;
        let arg = |i: usize| self.eval(func, data.args[i], depth - 1);
        if let Some((cell, of)) = test(data) {
            let kinds = self.kinds(func, cell);
            return if kinds & of == 0 {
                Some(0)
            } else if kinds & !of == 0 {
                Some(1)
            } else {
                None
            };
        }
        match data.op {
            Op::Iconst => Some(data.imm),
            Op::Same if self.kinds(func, data.args[0]) & self.kinds(func, data.args[1]) == 0 => Some(0),
            Op::Iand => match (arg(0), arg(1)) {
                (Some(0), _) | (_, Some(0)) => Some(0),
                (Some(a), Some(b)) => Some(a & b),
                _ => None,
            },
            Op::Ior => Some(arg(0)? | arg(1)?),
            Op::Icmp if data.cond() == Cond::Eq => Some(i64::from(arg(0)? == arg(1)?)),
            Op::Icmp if data.cond() == Cond::Ne => Some(i64::from(arg(0)? != arg(1)?)),
            _ => None,
        }
    }

    /// Takes in that a condition is not zero, or that it is.
    fn learn(&mut self, func: &Function, v: Value, holds: bool, depth: u32) {
        let Some(data) = func.def(v).filter(|_| depth > 0) else { return };
        if let Some((cell, of)) = test(data) {
            return self.narrow(cell, if holds { of } else { !of & ALL });
        }
        let is_test = |v: Value| func.def(v).is_some_and(|d| test(d).is_some());
        match data.op {
            Op::Iand if holds => data.args.iter().for_each(|&a| self.learn(func, a, true, depth - 1)),
            Op::Ior if !holds => data.args.iter().for_each(|&a| self.learn(func, a, false, depth - 1)),
            Op::Iand | Op::Ior if data.args.iter().all(|&a| is_test(a)) => {
                // One of the two is known: the other decides.
                let neutral = i64::from(data.op == Op::Iand);
                for (one, other) in [(0, 1), (1, 0)] {
                    if self.eval(func, data.args[one], 1 + DEPTH) == Some(neutral) {
                        self.learn(func, data.args[other], holds, depth - 1);
                    }
                }
            }
            Op::Icmp
                if matches!(data.cond(), Cond::Eq | Cond::Ne) && func.int_const(data.args[1]) == Some(0) =>
            {
                self.learn(func, data.args[0], holds == (data.cond() == Cond::Ne), depth - 1);
            }
            _ => {}
        }
    }
}

/// What a cell is by its definition.
fn own(func: &Function, v: Value) -> Kinds {
    let Some(data) = func.def(v) else { return ALL };
    match data.op {
        Op::BoxSmall => SMALL,
        Op::BoxFloat => FLOAT,
        Op::BoxBool => OTHER,
        Op::BoxInt => SMALL | OBJECT,
        Op::Cconst => {
            let cell = Cell::from_bits(data.imm as u64);
            if cell.is_small_int() {
                SMALL
            } else if cell.is_float() {
                FLOAT
            } else {
                OBJECT | OTHER
            }
        }
        _ => ALL,
    }
}

/// The cells whose kinds a condition depends on.
fn tested(func: &Function, cond: Value, depth: u32, f: &mut impl FnMut(Value)) {
    let Some(data) = func.def(cond).filter(|_| depth > 0) else { return };
    match test(data) {
        Some((cell, _)) => f(cell),
        None if matches!(data.op, Op::Iand | Op::Ior | Op::Icmp) => {
            data.args.iter().for_each(|&a| tested(func, a, depth - 1, f));
        }
        None => {}
    }
}

/// A block for certain kinds.
#[derive(Debug)]
struct Version {
    block: Block,
    /// What is known at its start.
    key: Facts,
    /// Whether only blocks lead to it that run seldom.
    cold: bool,
    /// Instructions, by place, that are constants.
    constants: Vec<(usize, i64)>,
    /// Guards, by place, that hold.
    held: Vec<usize>,
    /// The targets that are left, with the version each leads to.
    ways: SmallVec<[(usize, usize); 2]>,
}

/// Which versions there are.
struct Plan<'a> {
    func: &'a Function,
    cfg: &'a Cfg,
    /// The cells whose kinds something asks for, at the start of each block.
    asked: SecondaryMap<Block, BTreeSet<Value>>,
    /// Blocks of one version.
    single: SecondaryMap<Block, bool>,
    of: SecondaryMap<Block, SmallVec<[usize; 2]>>,
    all: Vec<Version>,
    open: BinaryHeap<Reverse<(usize, usize)>>,
    grown: usize,
}

/// What is left of a plan when the function is changed by it.
struct Planned {
    of: SecondaryMap<Block, SmallVec<[usize; 2]>>,
    all: Vec<Version>,
}

impl Planned {
    /// How many blocks are in several versions, and how many tests were decided in these.
    fn gains(&self) -> usize {
        let copies = self.of.values().map(|of| of.len().saturating_sub(1)).sum::<usize>();
        let decided = self.all.iter().filter(|v| self.of[v.block].len() > 1);
        if copies == 0 { 0 } else { decided.map(|v| v.constants.len() + v.held.len()).sum() }
    }
}

impl<'a> Plan<'a> {
    #[expect(clippy::new_ret_no_self, reason = "the plan without what it was made from")]
    fn new(func: &'a Function, cfg: &'a Cfg) -> Planned {
        let mut single: SecondaryMap<Block, bool> = SecondaryMap::with_capacity(func.blocks.len());
        for &block in &cfg.order {
            if cfg.preds(block).iter().any(|e| cfg.is_backward(e.from, block)) {
                single[block] = true;
                cfg.preds(block).iter().for_each(|e| single[e.from] = true);
            }
        }
        let mut plan = Plan {
            func,
            cfg,
            asked: asked(func, cfg),
            single,
            of: SecondaryMap::with_capacity(func.blocks.len()),
            all: Vec::new(),
            open: BinaryHeap::new(),
            grown: 0,
        };
        plan.version(func.entry(), Facts::default(), false);
        while let Some(Reverse((_, version))) = plan.open.pop() {
            plan.walk(version);
        }
        Planned { of: plan.of, all: plan.all }
    }

    /// The version of a block for what is known.
    fn version(&mut self, block: Block, mut key: Facts, cold: bool) -> usize {
        let find =
            |plan: &Self, key: &Facts| plan.of[block].iter().copied().find(|&v| plan.all[v].key == *key);
        if self.single[block] {
            key = Facts::default();
        }
        let mut found = find(self, &key);
        if found.is_none() && !self.of[block].is_empty() && !key.0.is_empty() {
            let size = self.func.blocks[block].insts.len();
            if self.of[block].len() >= VERSIONS || self.grown + size > GROWTH {
                key = Facts::default();
                found = find(self, &key);
            } else {
                self.grown += size;
            }
        }
        if let Some(found) = found {
            self.all[found].cold &= cold;
            return found;
        }
        let id = self.all.len();
        self.all.push(Version {
            block,
            key,
            cold,
            constants: Vec::new(),
            held: Vec::new(),
            ways: SmallVec::new(),
        });
        self.of[block].push(id);
        self.open.push(Reverse((self.cfg.position(block), id)));
        id
    }

    /// Goes through a version.
    fn walk(&mut self, id: usize) {
        let func = self.func;
        let block = self.all[id].block;
        let mut facts = self.all[id].key.clone();
        let mut ways: SmallVec<[(usize, usize); 2]> = SmallVec::new();
        for (i, &inst) in func.blocks[block].insts.iter().enumerate() {
            let data = &func.insts[inst];
            if test(data).is_some() {
                if let Some(k) = data.result.expand().and_then(|r| facts.eval(func, r, DEPTH)) {
                    self.all[id].constants.push((i, k));
                }
            } else if data.op == Op::Guard {
                match facts.eval(func, data.args[0], DEPTH) {
                    Some(0) | None => {}
                    Some(_) => self.all[id].held.push(i),
                }
                facts.learn(func, data.args[0], true, DEPTH);
            } else if data.op == Op::Branch {
                let known = facts.eval(func, data.args[0], DEPTH).map(|k| usize::from(k == 0));
                for (t, target) in
                    data.targets.iter().enumerate().filter(|&(t, _)| known.is_none_or(|k| k == t))
                {
                    let mut facts = facts.clone();
                    facts.learn(func, data.args[0], t == 0, DEPTH);
                    ways.push((t, self.way(id, target, &facts)));
                }
            } else {
                for (t, target) in data.targets.iter().enumerate() {
                    ways.push((t, self.way(id, target, &facts)));
                }
            }
        }
        self.all[id].ways = ways;
    }

    /// The version that a way out of a version leads to.
    fn way(&mut self, from: usize, target: &Target, facts: &Facts) -> usize {
        let cold = self.all[from].cold || self.func.blocks[self.all[from].block].cold;
        let several = self.cfg.preds(target.block).len() > 1;
        let mut key = Facts::default();
        if !(cold && several) {
            for &v in &self.asked[target.block] {
                let kinds = match self.func.values[v].def {
                    Def::Param(block, i) if block == target.block => {
                        facts.kinds(self.func, target.args[i as usize])
                    }
                    _ => facts.get(v),
                };
                if matches!(kinds, SMALL | FLOAT) || !several && kinds != ALL {
                    key.0.push((v, kinds));
                }
            }
        }
        self.version(target.block, key, cold)
    }
}

/// The cells whose kinds are asked for behind the start of each block, before the next header of a loop.
fn asked(func: &Function, cfg: &Cfg) -> SecondaryMap<Block, BTreeSet<Value>> {
    let mut all: SecondaryMap<Block, BTreeSet<Value>> = SecondaryMap::with_capacity(func.blocks.len());
    let is_header = |block: Block| cfg.preds(block).iter().any(|e| cfg.is_backward(e.from, block));
    for &block in cfg.order.iter().rev() {
        let data = &func.blocks[block];
        if data.cold {
            continue;
        }
        let mut set = BTreeSet::new();
        if let Some(end) = func.terminator(block) {
            for target in func.insts[end].targets.iter().filter(|t| !is_header(t.block)) {
                for &v in &all[target.block] {
                    set.insert(match func.values[v].def {
                        Def::Param(home, i) if home == target.block => target.args[i as usize],
                        _ => v,
                    });
                }
            }
        }
        for &inst in &data.insts {
            let inst = &func.insts[inst];
            match inst.op {
                Op::IsSmall | Op::IsFloat => {
                    set.insert(inst.args[0]);
                }
                Op::Guard | Op::Branch => tested(func, inst.args[0], DEPTH, &mut |v| {
                    set.insert(v);
                }),
                _ => {}
            }
        }
        for &inst in &data.insts {
            if let Some(result) = func.insts[inst].result.expand() {
                set.remove(&result);
            }
        }
        set.retain(|&v| matches!(func.values[v].def, Def::Param(..)) || own(func, v) == ALL);
        all[block] = set;
    }
    all
}

/// Makes the copies and mends what uses their values.
#[derive(Default)]
struct Copies {
    /// The block, as it was, that defines a value, where it is in several versions.
    homes: SecondaryMap<Value, PackedOption<Block>>,
    /// What a value is in a version of the block that defines it, or at the start of a block.
    known: HashMap<(Block, Value), Value>,
    /// What makes the cells among these that are no objects. They are made anew where versions meet: they need no parameter.
    plain: HashMap<Value, InstData>,
    /// Where what the versions of a block define meets.
    meetings: HashMap<Block, HashSet<Block>>,
    /// Parameters that lack arguments: in order for each block.
    open: VecDeque<(Block, Value)>,
}

impl Copies {
    fn make(func: &mut Function, plan: &Planned) {
        let mut copies = Copies::default();
        // All copies are made of blocks as they were.
        let blocks: Vec<Block> = (0..plan.all.len()).map(|id| copies.block(func, plan, id)).collect();
        for (version, &block) in plan.all.iter().zip(&blocks) {
            settle(func, version, block, &blocks);
        }
        let cfg = Cfg::new(func);
        let doms = Dominators::new(&cfg);
        func.layout.clone_from(&cfg.order);
        copies.find_meetings(&cfg, &doms, plan, &blocks);
        for &block in &cfg.order {
            copies.rename(func, &doms, block);
        }
        while let Some((block, value)) = copies.open.pop_front() {
            for edge in cfg.preds(block) {
                let arg = copies.at_end(func, &doms, edge.from, value);
                if let Some(end) = func.terminator(edge.from) {
                    func.insts[end].targets[edge.target as usize].args.push(arg);
                }
            }
        }
    }

    /// Finds where parameters are needed: the iterated dominance frontier of each block's versions. Fewer would not do, and needless ones
    /// would hide from frame states that a cell is the one that a loop had before.
    fn find_meetings(&mut self, cfg: &Cfg, doms: &Dominators, plan: &Planned, blocks: &[Block]) {
        let mut frontiers: SecondaryMap<Block, SmallVec<[Block; 2]>> = SecondaryMap::new();
        for &block in &cfg.order {
            let preds = cfg.preds(block);
            if preds.len() < 2 {
                continue;
            }
            let stop = doms.idom(block);
            for edge in preds {
                let mut at = Some(edge.from);
                while let Some(runner) = at.filter(|_| at != stop) {
                    if !frontiers[runner].contains(&block) {
                        frontiers[runner].push(block);
                    }
                    at = doms.idom(runner);
                }
            }
        }
        for home in self.homes.values().filter_map(|h| h.expand()) {
            self.meetings.entry(home).or_insert_with(|| {
                let mut work: Vec<Block> = plan.of[home].iter().map(|&id| blocks[id]).collect();
                let mut found = HashSet::new();
                while let Some(block) = work.pop() {
                    work.extend(frontiers[block].iter().filter(|&&b| found.insert(b)));
                }
                found
            });
        }
    }

    /// The block of a version: the first is the block itself.
    fn block(&mut self, func: &mut Function, plan: &Planned, id: usize) -> Block {
        let block = plan.all[id].block;
        let of = &plan.of[block];
        let defined: Vec<Value> = func.blocks[block].params.to_vec();
        let insts = func.blocks[block].insts.clone();
        let results = || insts.iter().filter_map(|&i| func.insts[i].result.expand());
        if of[0] == id {
            if of.len() > 1 {
                for v in defined.into_iter().chain(results()).collect::<Vec<_>>() {
                    self.homes[v] = block.into();
                    self.known.insert((block, v), v);
                    if let Some(data) = func.def(v).filter(|d| d.op.info().plain) {
                        self.plain.insert(v, InstData { result: None.into(), ..data.clone() });
                    }
                }
            }
            return block;
        }
        let data = &func.blocks[block];
        let new =
            func.blocks.push(BlockData { cold: data.cold, position: data.position, ..BlockData::default() });
        for p in defined {
            let param = func.add_param(new, func.ty(p));
            self.known.insert((new, p), param);
        }
        for inst in insts {
            let (twin, result) = func.make(InstData { result: None.into(), ..func.insts[inst].clone() });
            func.blocks[new].insts.push(twin);
            if let (Some(v), Some(result)) = (func.insts[inst].result.expand(), result) {
                self.known.insert((new, v), result);
            }
        }
        new
    }

    /// What a block uses of what is defined in several versions is what it is there.
    fn rename(&mut self, func: &mut Function, doms: &Dominators, block: Block) {
        let mut states: HashMap<State, State> = HashMap::new();
        for inst in func.blocks[block].insts.clone() {
            let mut data = func.insts[inst].clone();
            let args = data.args.iter_mut().chain(data.targets.iter_mut().flat_map(|t| t.args.iter_mut()));
            args.for_each(|v| *v = self.at_end(func, doms, block, *v));
            if let Some(state) = data.state.expand() {
                data.state = PackedOption::from(match states.get(&state) {
                    Some(&known) => known,
                    None => {
                        let mut named = Vec::new();
                        func.each_state_value(state, |v| named.push(v));
                        named.retain(|&v| self.homes[v].is_some());
                        let map: HashMap<Value, Value> =
                            named.into_iter().map(|v| (v, self.at_end(func, doms, block, v))).collect();
                        let new = mapped_state(func, state, &|v| map.get(&v).copied().unwrap_or(v));
                        states.insert(state, new);
                        new
                    }
                });
            }
            func.insts[inst] = data;
        }
    }

    /// What a value is at the end of a block. The block that defines it has it from its definition on, which is before all uses.
    fn at_end(&mut self, func: &mut Function, doms: &Dominators, block: Block, value: Value) -> Value {
        let Some(home) = self.homes[value].expand() else { return value };
        let mut passed: SmallVec<[Block; 8]> = SmallVec::new();
        let mut at = block;
        let found = loop {
            if let Some(&known) = self.known.get(&(at, value)) {
                break known;
            }
            passed.push(at);
            if self.meetings[&home].contains(&at) {
                if let Some(mut data) = self.plain.get(&value).cloned() {
                    data.args.iter_mut().for_each(|v| *v = self.at_end(func, doms, at, *v));
                    let (inst, made) = func.make(data);
                    func.blocks[at].insts.insert(0, inst);
                    break made.unwrap_or(value);
                }
                self.open.push_back((at, value));
                break func.add_param(at, func.ty(value));
            }
            match doms.idom(at) {
                Some(before) => at = before,
                None => unreachable!("internal error: {value} is used where it is not defined"),
            }
        };
        for block in passed {
            self.known.insert((block, value), found);
        }
        found
    }
}

/// Does in a block what its version knows.
fn settle(func: &mut Function, version: &Version, block: Block, blocks: &[Block]) {
    let insts = func.blocks[block].insts.clone();
    for &(i, k) in &version.constants {
        let result = func.insts[insts[i]].result;
        func.insts[insts[i]] = InstData { result, ..InstData::new(Op::Iconst, &[]).imm(k) };
    }
    if let Some(&end) = insts.last() {
        let targets: SmallVec<[Target; 2]> = version
            .ways
            .iter()
            .map(|&(t, to)| Target { block: blocks[to], args: func.insts[end].targets[t].args.clone() })
            .collect();
        if func.insts[end].op == Op::Branch && targets.len() == 1 {
            func.insts[end] = InstData::new(Op::Jump, &[]);
        }
        func.insts[end].targets = targets;
    }
    for &i in version.held.iter().rev() {
        func.blocks[block].insts.remove(i);
    }
    func.blocks[block].cold |= version.cold;
}
