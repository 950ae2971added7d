//! What ints can be: intervals, and differences of two ints, from branches, checks and loops.
//!
//! With it go: overflow checks of sums that fit; checks of positions that are inside; comparisons, and so branches, that are decided;
//! tests for 48 bits of what has 48 bits; sign extensions and rests of what is small. Values with one possible value become
//! constants. What uses them is left to `fold.rs` and `params.rs`.
//!
//! **Intervals.** The dominator tree is walked with what branches and checks on the way say, which is taken back behind them. Parameters
//! join what their arguments are at the ends of the ways in. Parameters of loops begin with the ways in from outside; as long as
//! the ways back add to them they are widened, walk after walk, first to what they are compared with, then narrowed once. What does not
//! settle is unknown. These walks leave out blocks from which no such loop is reached: they tell its parameters nothing.
//!
//! **Differences.** `x <= y + c` is noted where a condition says so, and searched for through sums, minima, choices and other notes, as
//! in Bodik, Gupta and Sarkar's ABCD, but on demand, to a small depth, and with intervals as the last resort. A loop's parameter is at
//! most what it is at most on the ways back and in; one that only grows is at least what it began with.
//!
//! Each has a file: `interval.rs`, `conditions.rs`, `differences.rs`; `ops.rs` has what ops give and what is better than they are.
//!
//! Needs terms in the form of `fold.rs`, with constants on the right. Blocks stay.

mod conditions;
mod differences;
mod interval;
mod ops;

use cranelift_entity::{EntitySet, SecondaryMap};
use smallvec::SmallVec;

use self::interval::{MOST, Range, widen};
use super::params::argument;
use super::{Replacements, Rewriter};
use crate::cfg::{Analyses, Cfg, Dominators};
use crate::ir::{Block, Def, Function, Inst, Op, Type, Value};

/// How often loops are widened before they are given up.
const WALKS: usize = 8;
/// How often loops are narrowed.
const NARROWER: usize = 2;
/// How many steps the search for a difference takes.
const STEPS: u32 = 32;
/// How deep it goes.
const DEPTH: u32 = 6;
/// Among how many parameters of a loop counters are looked for.
const COUNTERS: usize = 8;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let (cfg, doms) = analyses.dominators(func);
    let mut headers = SecondaryMap::with_capacity(func.blocks.len());
    let mut slots = SecondaryMap::with_capacity(func.values.len());
    let mut params = Vec::new();
    for &block in &cfg.order[1..] {
        // Of a cycle with several entries nothing is known.
        for edge in cfg.preds(block).iter().filter(|e| cfg.is_backward(e.from, block)) {
            let natural = doms.dominates(block, edge.from) && headers[block] != Header::Opaque;
            headers[block] = if natural { Header::Loop } else { Header::Opaque };
        }
        for &p in func.blocks[block].params.iter().filter(|&&p| func.ty(p) == Type::Int) {
            params.push(Param { value: p, header: headers[block], ..Param::default() });
            slots[p] = params.len() as u32;
        }
    }
    let mut pass = Pass {
        ranges: SecondaryMap::with_default(Range::ANY),
        params,
        slots,
        settled: false,
        notes: SecondaryMap::new(),
        arena: Vec::new(),
        exact: Vec::new(),
        undo: Vec::new(),
        headers,
        blocks: SecondaryMap::with_capacity(func.values.len()),
        mode: Mode::Search,
        insts: Vec::new(),
        telling: SecondaryMap::with_capacity(func.blocks.len()),
        search: Vec::new(),
        replaced: Replacements::new(func),
        spare: Vec::new(),
        changed: 0,
        func,
        cfg,
        doms,
    };
    pass.ranges.resize(pass.func.values.len());
    pass.notes.resize(pass.func.values.len());
    if pass.params.iter().any(|p| p.header == Header::Loop) {
        pass.settle();
    }
    pass.mode = Mode::Change;
    pass.walk();
    let Pass { mut replaced, changed, .. } = pass;
    replaced.apply_to_states(func);
    changed
}

/// What a walk is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// To find what the parameters of loops are.
    Search,
    /// And what bounds them.
    Bounds,
    /// To change the function.
    Change,
}

/// What a block is to the ways back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Header {
    /// None leads to it.
    #[default]
    No,
    /// All ways to their source pass it.
    Loop,
    /// Not so.
    Opaque,
}

/// An int parameter.
#[derive(Clone, Debug)]
struct Param {
    value: Value,
    header: Header,
    /// What the arguments that were seen in this walk are, from ahead and from behind.
    join: Option<Range>,
    back: Option<Range>,
    /// Loops: what it is taken to be.
    entered: Range,
    /// Loops: the ints that it is compared with, in order, and whether it was widened to such below and above.
    compared: SmallVec<[i64; 2]>,
    far: [bool; 2],
    /// Loops: it is at most a value from outside plus a constant on all ways back; and whether that fails on a way in.
    above: SmallVec<[(Value, i64, bool); 2]>,
    /// Loops: it never shrinks, it never grows on the ways back.
    steps: (bool, bool),
    /// Loops: it is at most another parameter plus a constant.
    behind: SmallVec<[(Value, i64); 2]>,
    /// Loops: how many ways back and in were seen.
    backs: u32,
    ins: u32,
    /// Loops: what it is on the last way in.
    init: Option<Value>,
}

impl Default for Param {
    fn default() -> Param {
        Param {
            value: Value::from_u32(0),
            header: Header::No,
            join: None,
            back: None,
            entered: Range::ANY,
            compared: SmallVec::new(),
            far: [false; 2],
            above: SmallVec::new(),
            behind: SmallVec::new(),
            steps: (false, false),
            backs: 0,
            ins: 0,
            init: None,
        }
    }
}

impl Param {
    /// What the arguments were in the last walk.
    fn inputs(&self) -> Range {
        match (self.join, self.back) {
            (Some(a), Some(b)) => a.join(b),
            (Some(a), None) | (None, Some(a)) => a,
            (None, None) => Range::ANY,
        }
    }
}

/// x <= y + c, and the next note of the same x.
#[derive(Clone, Copy, Debug)]
struct Note {
    y: Value,
    c: i64,
    next: u32,
}

enum Undo {
    Range(Value, Range),
    Note(Value, u32),
    Exact,
}

struct Pass<'a> {
    func: &'a mut Function,
    cfg: &'a Cfg,
    doms: &'a Dominators,
    /// The interval of each int, where the walk stands.
    ranges: SecondaryMap<Value, Range>,
    params: Vec<Param>,
    /// By value: its place among the parameters, and one.
    slots: SecondaryMap<Value, u32>,
    /// Whether the parameters of loops are what `entered` says.
    settled: bool,
    /// By value: its last note in the arena, and one.
    notes: SecondaryMap<Value, u32>,
    arena: Vec<Note>,
    /// Operations that are known to fit: the op that does not check, and its operands.
    exact: Vec<(Op, Value, Value)>,
    undo: Vec<Undo>,
    headers: SecondaryMap<Block, Header>,
    /// Where instructions' values are defined, as far as the walk came.
    blocks: SecondaryMap<Value, Option<Block>>,
    mode: Mode,
    /// For the walks that change nothing: the blocks that lead to a loop, in the order of the walk, and the instructions of each that
    /// define ints other than constants or check something.
    search: Vec<Block>,
    insts: Vec<Inst>,
    telling: SecondaryMap<Block, (u32, u32)>,
    replaced: Replacements,
    /// Room for the instructions of a block.
    spare: Vec<Inst>,
    changed: usize,
}

impl Pass<'_> {
    // ---- Loops ----

    /// Finds what the parameters of loops are.
    fn settle(&mut self) {
        self.search = self.leading_to_loops();
        for &block in &self.search {
            let first = self.insts.len() as u32;
            for &inst in &self.func.blocks[block].insts {
                let data = &self.func.insts[inst];
                if let Some(result) = data.result.expand() {
                    self.blocks[result] = Some(block);
                    // What constants are is known without a walk.
                    if self.func.ty(result) == Type::Int && data.op != Op::Iconst {
                        self.insts.push(inst);
                    }
                } else if data.op == Op::Guard {
                    self.insts.push(inst);
                }
            }
            self.telling[block] = (first, self.insts.len() as u32);
        }
        self.find_compared();
        let mut stable = false;
        for _ in 0..WALKS {
            self.walk();
            stable = true;
            for p in self.params.iter_mut().filter(|p| p.header == Header::Loop) {
                // The first walk knows no ways back.
                let before = if self.settled { p.entered } else { p.join.unwrap_or(Range::ANY) };
                let now = p.inputs();
                stable &= now.within(before);
                p.entered = widen(before, now, &p.compared, &mut p.far);
            }
            self.settled = true;
            if stable {
                break;
            }
        }
        self.mode = Mode::Bounds;
        if !stable {
            self.params.iter_mut().for_each(|p| p.entered = Range::ANY);
            self.walk();
            return;
        }
        // Narrower, as long as that holds as well: what inner loops are follows from outer ones.
        for _ in 0..NARROWER {
            let wide: Vec<Range> = self.params.iter().map(|p| p.entered).collect();
            for p in self.params.iter_mut().filter(|p| p.header == Header::Loop) {
                p.entered = p.inputs().meet(p.entered);
            }
            self.bounds_anew();
            self.walk();
            if self.params.iter().any(|p| p.header == Header::Loop && !p.inputs().within(p.entered)) {
                self.params.iter_mut().zip(&wide).for_each(|(p, &range)| p.entered = range);
                self.bounds_anew();
                self.walk();
                break;
            }
            if self.params.iter().zip(wide).all(|(p, range)| p.entered == range) {
                break;
            }
        }
    }

    /// What the parameters of loops, or what they are in the next turn, are compared with: counters stop there.
    fn find_compared(&mut self) {
        let mut compared: Vec<(Value, i64)> = Vec::new();
        for &block in &self.search {
            let (first, end) = self.telling[block];
            for &inst in &self.insts[first as usize..end as usize] {
                let data = &self.func.insts[inst];
                if let (Op::Icmp, Some(c)) = (data.op, data.args.get(1).and_then(|&c| self.func.int_const(c)))
                {
                    compared.push((data.args[0], c));
                }
            }
        }
        for p in self.params.iter_mut().filter(|p| p.header == Header::Loop) {
            let Def::Param(block, i) = self.func.values[p.value].def else { continue };
            for &(value, c) in &compared {
                let mut ways = self.cfg.preds(block).iter();
                if value == p.value
                    || ways.any(|e| argument(self.func, e.from, e.target, i as usize) == value)
                {
                    p.compared.push(c);
                }
            }
            p.compared.sort_unstable();
        }
    }

    /// The blocks from which a loop with int parameters is reached, in the order of the walk. With a block those that dominate it are
    /// among them, and all on the ways from these to it.
    fn leading_to_loops(&self) -> Vec<Block> {
        let mut found: EntitySet<Block> = EntitySet::with_capacity(self.func.blocks.len());
        let mut work: Vec<Block> = Vec::with_capacity(self.cfg.order.len());
        for p in self.params.iter().filter(|p| p.header == Header::Loop) {
            if let Def::Param(block, _) = self.func.values[p.value].def
                && found.insert(block)
            {
                work.push(block);
            }
        }
        while let Some(block) = work.pop() {
            work.extend(self.cfg.preds(block).iter().map(|e| e.from).filter(|&b| found.insert(b)));
        }
        self.doms.walk.iter().copied().filter(|&b| found.contains(b)).collect()
    }

    fn bounds_anew(&mut self) {
        for p in &mut self.params {
            (p.backs, p.steps) = (0, (false, false));
            p.above.clear();
            p.behind.clear();
        }
    }

    // ---- The walk ----

    fn walk(&mut self) {
        let mut scopes: Vec<(Block, usize)> = Vec::new();
        let search = std::mem::take(&mut self.search);
        let walk = if self.mode == Mode::Change { &self.doms.walk } else { &search };
        for p in &mut self.params {
            (p.join, p.back) = (None, None);
        }
        for &block in walk {
            while let Some(&(_, mark)) = scopes.last().filter(|s| Some(s.0) != self.doms.idom(block)) {
                self.take_back(mark);
                scopes.pop();
            }
            scopes.push((block, self.undo.len()));
            self.block(block);
        }
        self.take_back(0);
        self.search = search;
    }

    fn take_back(&mut self, mark: usize) {
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::Range(value, range)) => self.ranges[value] = range,
                Some(Undo::Note(value, note)) => {
                    self.notes[value] = note;
                    self.arena.pop();
                }
                Some(Undo::Exact) => {
                    self.exact.pop();
                }
                None => {}
            }
        }
    }

    fn block(&mut self, block: Block) {
        let entry = block == self.func.entry();
        for &value in &self.func.blocks[block].params {
            let Some(slot) = (self.slots[value] as usize).checked_sub(1) else { continue };
            let p = &self.params[slot];
            self.ranges[value] = match p.header {
                Header::Opaque => Range::ANY,
                Header::Loop if self.settled => p.entered,
                _ => p.join.unwrap_or(Range::ANY),
            };
        }
        if self.headers[block] == Header::Loop && self.mode == Mode::Change {
            self.bounds_hold(block);
        }
        if let Some(edge) = self.doms.way_in(self.cfg, block) {
            self.edge_says(edge.from, edge.target);
        }
        if self.mode != Mode::Change {
            let (first, end) = self.telling[block];
            for i in first..end {
                self.inst(block, &mut Rewriter::default(), self.insts[i as usize]);
            }
            self.leaves(block);
            return;
        }
        let mut insts = std::mem::take(&mut self.func.blocks[block].insts);
        let mut out = Rewriter { insts: std::mem::take(&mut self.spare) };
        for i in 0..self.func.blocks[block].params.len() {
            let p = self.func.blocks[block].params[i];
            if self.func.ty(p) == Type::Int
                && !entry
                && let Some(k) = self.ranges[p].single()
            {
                let with = out.int(self.func, k);
                self.grow(with, k, block);
                self.replaced.replace(p, with);
                self.changed += 1;
            }
        }
        for &inst in &insts {
            self.replaced.apply_to(&mut self.func.insts[inst]);
            if self.inst(block, &mut out, inst) {
                out.insts.push(inst);
            }
        }
        insts.clear();
        insts.extend_from_slice(&out.insts);
        out.insts.clear();
        self.func.blocks[block].insts = insts;
        self.spare = out.insts;
        self.leaves(block);
    }

    /// A constant that was made during the walk.
    fn grow(&mut self, value: Value, k: i64, block: Block) {
        self.ranges[value] = Range::new(k, k);
        self.blocks[value] = Some(block);
    }

    /// What the ways out of a block give to the parameters that they lead to.
    fn leaves(&mut self, block: Block) {
        let Some(inst) = self.func.terminator(block) else { return };
        for t in 0..self.func.insts[inst].targets.len() {
            let target = &self.func.insts[inst].targets[t];
            let to = target.block;
            if target.args.is_empty() {
                continue;
            }
            let back = self.cfg.is_backward(block, to);
            let mark = self.undo.len();
            self.edge_says(block, t as u32);
            for i in 0..self.func.blocks[to].params.len() {
                let p = self.func.blocks[to].params[i];
                let Some(slot) = (self.slots[p] as usize).checked_sub(1) else { continue };
                let arg = self.func.insts[inst].targets[t].args[i];
                let range = self.range(arg);
                let p = &mut self.params[slot];
                let join = if back { &mut p.back } else { &mut p.join };
                *join = Some(join.map_or(range, |r| r.join(range)));
                if p.header == Header::Loop {
                    self.bounds(slot, arg, to, back);
                }
            }
            if back && self.headers[to] == Header::Loop && self.mode == Mode::Bounds {
                self.counters(inst, t, to);
            }
            self.take_back(mark);
        }
    }

    /// Parameters of a loop that grow no faster than a counter: that hold p <= q + c where the loop is entered, and on a way back if
    /// it holds before.
    fn counters(&mut self, inst: Inst, t: usize, header: Block) {
        let params = self.func.blocks[header].params.len();
        let slot =
            |this: &Self, i: usize| (this.slots[this.func.blocks[header].params[i]] as usize).checked_sub(1);
        let ints = (0..params).filter(|&i| slot(self, i).is_some()).count();
        if ints > COUNTERS {
            return;
        }
        for q in 0..params {
            let Some(counter) = slot(self, q) else { continue };
            let (value, to) = (self.params[counter].value, self.func.insts[inst].targets[t].args[q]);
            if self.step(to, value).is_none_or(|k| k <= 0) || self.params[counter].entered.hi == i64::MAX {
                continue;
            }
            for p in (0..params).filter(|&p| p != q) {
                let Some(other) = slot(self, p) else { continue };
                let (first, at) = (self.params[other].backs == 1, &self.params[other]);
                let known = at.behind.iter().find(|b| b.0 == value).map(|b| b.1);
                let (Some(a), Some(b)) = (at.join, self.params[counter].join) else { continue };
                let candidate = known.or(if first { a.hi.checked_sub(b.lo) } else { None });
                let Some(c) = candidate.filter(|_| at.entered.hi >= MOST) else { continue };
                let (x, arg) = (at.value, self.func.insts[inst].targets[t].args[p]);
                let mark = self.undo.len();
                self.note(x, value, c);
                let holds = self.at_most(arg, to, c);
                self.take_back(mark);
                let behind = &mut self.params[other].behind;
                if holds && known.is_none() {
                    behind.push((value, c));
                } else if !holds {
                    behind.retain(|b| b.0 != value);
                }
            }
        }
    }

    /// What bounds the argument of a way into a loop.
    fn bounds(&mut self, slot: usize, arg: Value, header: Block, back: bool) {
        let mut above = std::mem::take(&mut self.params[slot].above);
        match (self.mode, back) {
            (Mode::Bounds, true) => {
                if self.params[slot].backs == 0 {
                    self.noted(arg, 0, header, &mut above);
                    if let Some((x, k)) = self.sum(arg) {
                        self.noted(x, k, header, &mut above);
                    }
                } else {
                    above.retain(|&mut (y, c, _)| self.at_most(arg, y, c));
                }
                let step = self.step(arg, self.params[slot].value);
                let (up, down) = step.map_or((false, false), |k| (k >= 0, k <= 0));
                let p = &mut self.params[slot];
                p.steps = if p.backs == 0 { (up, down) } else { (p.steps.0 && up, p.steps.1 && down) };
                p.backs += 1;
            }
            (Mode::Change, false) => {
                for (y, c, fails) in &mut above {
                    *fails |= !self.at_most(arg, *y, *c);
                }
                let p = &mut self.params[slot];
                p.ins += 1;
                p.init = Some(arg);
            }
            _ => {}
        }
        self.params[slot].above = above;
    }

    /// The notes of x, moved by a constant, about values from outside of a loop.
    fn noted(&self, x: Value, by: i64, header: Block, above: &mut SmallVec<[(Value, i64, bool); 2]>) {
        let mut at = self.notes[x];
        while at != 0 && above.len() < 4 {
            let note = self.arena[at as usize - 1];
            if let Some(c) = note.c.checked_add(by)
                && self.defined_above(note.y, header)
            {
                above.push((note.y, c, false));
            }
            at = note.next;
        }
    }

    /// The constant that an argument is a parameter plus, where the sum fits.
    fn step(&self, arg: Value, p: Value) -> Option<i64> {
        if arg == p {
            return Some(0);
        }
        let (x, k) = self.sum(arg)?;
        (x == p).then_some(k)
    }

    /// Whether a value is defined on every way to a block, and not in it.
    fn defined_above(&self, value: Value, header: Block) -> bool {
        let block = match self.func.values[value].def {
            Def::Param(block, _) => Some(block),
            Def::Inst(_) => self.blocks[value],
        };
        block.is_some_and(|b| b != header && self.doms.dominates(b, header))
    }

    /// Notes the bounds of a loop's parameters that hold on all ways in.
    fn bounds_hold(&mut self, header: Block) {
        for i in 0..self.func.blocks[header].params.len() {
            let value = self.func.blocks[header].params[i];
            let Some(slot) = (self.slots[value] as usize).checked_sub(1) else { continue };
            if self.params[slot].backs == 0 {
                continue;
            }
            let above = std::mem::take(&mut self.params[slot].above);
            for &(y, c, fails) in &above {
                if !fails {
                    self.note(value, y, c);
                }
            }
            self.params[slot].above = above;
            for (q, c) in std::mem::take(&mut self.params[slot].behind) {
                self.note(value, q, c);
                let (p, q) = (self.range(value), (q, self.range(q)));
                self.refine(value, Range::new(i64::MIN, q.1.hi.saturating_add(c)));
                self.refine(q.0, Range::new(p.lo.saturating_sub(c), i64::MAX));
            }
            // Of several ways in each has its own beginning.
            let p = &self.params[slot];
            let (up, down) = p.steps;
            if let (Some(init), 1) = (p.init, p.ins) {
                if up {
                    self.note(init, value, 0);
                }
                if down {
                    self.note(value, init, 0);
                }
            }
        }
    }

    // ---- Instructions ----

    /// Finds the interval of what an instruction defines, and changes it; false where it goes.
    fn inst(&mut self, block: Block, out: &mut Rewriter, inst: Inst) -> bool {
        let data = &self.func.insts[inst];
        let op = data.op;
        if op == Op::Guard {
            let cond = data.args[0];
            self.says(cond, true, 4);
            return true;
        }
        let Some(result) = data.result.expand() else { return true };
        self.blocks[result] = Some(block);
        if self.func.ty(result) != Type::Int {
            return true;
        }
        let (range, fits) = self.transfer(inst);
        self.ranges[result] = range;
        if self.mode == Mode::Change
            && let Some(with) = self.better(out, inst, range, fits)
            && self.func.insts[inst].op != Op::Iconst
        {
            self.replaced.replace(result, with);
            self.changed += 1;
            return false;
        }
        // What passed is known of the operands.
        match op {
            Op::IaddExit | Op::IsubExit => {
                let args = &self.func.insts[inst].args;
                let (first, second) = (args[0], args[1]);
                if let Some(k) = self.func.int_const(second) {
                    let k = if op == Op::IaddExit { Some(k) } else { k.checked_neg() };
                    if let Some(k) = k {
                        let x = Range::new(range.lo.saturating_sub(k), range.hi.saturating_sub(k));
                        self.refine(first, x);
                    }
                }
            }
            _ => {}
        }
        true
    }
}
