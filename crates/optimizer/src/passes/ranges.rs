//! What ints can be: intervals, and differences of two ints, from branches, checks and loops.
//!
//! With it go: overflow checks of sums that fit; checks of positions that are inside; comparisons, and so branches, that are decided;
//! tests for 48 bits of what has 48 bits; sign extensions and rests of what is small. Values with one possible value become
//! constants. What uses them is left to `fold.rs` and `params.rs`.
//!
//! **Intervals.** The dominator tree is walked with what branches and checks on the way say, which is taken back behind them. Parameters
//! join what their arguments are at the ends of the ways in. Parameters of loops begin with the ways in from outside; as long as
//! the ways back add to them they are widened, walk after walk, then narrowed once. What does not settle is unknown.
//!
//! **Differences.** `x <= y + c` is noted where a condition says so, and searched for through sums, minima, choices and other notes, as
//! in Bodik, Gupta and Sarkar's ABCD, but on demand, to a small depth, and with intervals as the last resort. A loop's parameter is at
//! most what it is at most on the ways back and in; one that only grows is at least what it began with.
//!
//! Needs terms in the form of `fold.rs`, with constants on the right. Blocks stay.

use cranelift_entity::SecondaryMap;
use smallvec::SmallVec;

use super::{Replacements, Rewriter, is_bool};
use crate::cfg::{Cfg, Dominators};
use crate::helper::Helper;
use crate::ir::{Block, Class, Cond, Def, Function, Inst, InstData, Op, Type, Value, Width};

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
/// The ints that one may be subtracted from or added to.
const LEAST: i64 = i64::MIN + 1;
const MOST: i64 = i64::MAX - 1;
/// How long lists can be: their elements have to fit memory.
const LONGEST: i64 = 1 << 40;

/// Runs the pass.
pub fn run(func: &mut Function) -> usize {
    let cfg = Cfg::new(func);
    let doms = Dominators::new(&cfg);
    let mut headers = SecondaryMap::new();
    let mut slots = SecondaryMap::new();
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
        blocks: SecondaryMap::new(),
        mode: Mode::Search,
        replaced: Replacements::new(func),
        spare: Vec::new(),
        changed: 0,
        func,
        cfg: &cfg,
        doms: &doms,
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

/// The ints from one to another, which is not smaller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    lo: i64,
    hi: i64,
}

impl Range {
    const ANY: Range = Range { lo: i64::MIN, hi: i64::MAX };
    const BOOL: Range = Range { lo: 0, hi: 1 };

    const fn new(lo: i64, hi: i64) -> Range {
        Range { lo, hi }
    }

    fn join(self, other: Range) -> Range {
        Range { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// What is in both; what has nothing in common is not reached, and stays as it was.
    fn meet(self, other: Range) -> Range {
        let both = Range { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) };
        if both.lo <= both.hi { both } else { self }
    }

    fn within(self, other: Range) -> bool {
        other.lo <= self.lo && self.hi <= other.hi
    }

    fn single(self) -> Option<i64> {
        (self.lo == self.hi).then_some(self.lo)
    }

    /// Of exact bounds: all of them if they fit, else what `outside` says.
    fn exact(lo: i128, hi: i128, outside: impl FnOnce(i64, i64) -> Range) -> Range {
        let clamp = |x: i128| x.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        let (low, high) = (clamp(lo), clamp(hi));
        if i128::from(low) == lo && i128::from(high) == hi {
            Range::new(low, high)
        } else {
            outside(low, high)
        }
    }
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
    replaced: Replacements,
    /// Room for the instructions of a block.
    spare: Vec<Inst>,
    changed: usize,
}

impl Pass<'_> {
    // ---- Loops ----

    /// Finds what the parameters of loops are.
    fn settle(&mut self) {
        let mut stable = false;
        for _ in 0..WALKS {
            self.walk();
            stable = true;
            for p in self.params.iter_mut().filter(|p| p.header == Header::Loop) {
                // The first walk knows no ways back.
                let before = if self.settled { p.entered } else { p.join.unwrap_or(Range::ANY) };
                let now = p.inputs();
                stable &= now.within(before);
                p.entered = widen(before, now);
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
        let walk = &self.doms.walk;
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
        if let [edge] = self.cfg.preds(block) {
            self.edge_says(edge.from, edge.target);
        }
        let change = self.mode == Mode::Change;
        let mut insts = std::mem::take(&mut self.func.blocks[block].insts);
        let mut out = Rewriter { insts: std::mem::take(&mut self.spare) };
        if change {
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
        }
        for &inst in &insts {
            if change {
                self.replaced.apply_to(&mut self.func.insts[inst]);
            }
            let keeps = self.inst(block, &mut out, inst);
            if change && keeps {
                out.insts.push(inst);
            }
        }
        if change {
            insts.clear();
            insts.extend_from_slice(&out.insts);
            out.insts.clear();
        }
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

    // ---- Conditions ----

    /// What the way of a branch says.
    fn edge_says(&mut self, from: Block, target: u32) {
        let Some(inst) = self.func.terminator(from) else { return };
        let data = &self.func.insts[inst];
        match data.op {
            Op::Branch if data.targets[0].block != data.targets[1].block => {
                self.says(data.args[0], target == 0, 4);
            }
            Op::Switch => {
                let to = data.targets[target as usize].block;
                let once = data.targets.iter().filter(|t| t.block == to).count() == 1;
                let value = data.args[0];
                if let Some(&case) = self.func.cases[data.imm as usize].get(target as usize).filter(|_| once)
                {
                    self.refine(value, Range::new(case, case));
                }
            }
            _ => {}
        }
    }

    /// A condition holds or not.
    fn says(&mut self, cond: Value, truth: bool, depth: u32) {
        let Some(data) = self.func.def(cond) else {
            self.not_zero(cond, truth);
            return;
        };
        let (a, b) = (data.args.first().copied(), data.args.get(1).copied());
        match (data.op, a, b) {
            (Op::Icmp, Some(a), Some(b)) => {
                let c = if truth { data.cond() } else { data.cond().negated() };
                self.compared(c, a, b);
            }
            (Op::Iand, Some(a), Some(b))
                if truth && depth > 0 && is_bool(self.func, a) && is_bool(self.func, b) =>
            {
                self.says(a, true, depth - 1);
                self.says(b, true, depth - 1);
            }
            (Op::Ior, Some(a), Some(b)) if !truth && depth > 0 => {
                self.says(a, false, depth - 1);
                self.says(b, false, depth - 1);
            }
            (Op::IaddOverflows | Op::IsubOverflows | Op::ImulOverflows, Some(a), Some(b)) if !truth => {
                let op = match data.op {
                    Op::IaddOverflows => Op::Iadd,
                    Op::IsubOverflows => Op::Isub,
                    _ => Op::Imul,
                };
                self.exact.push((op, a, b));
                self.undo.push(Undo::Exact);
            }
            _ => self.not_zero(cond, truth),
        }
    }

    fn not_zero(&mut self, value: Value, truth: bool) {
        if !truth {
            self.refine(value, Range::new(0, 0));
            return;
        }
        let range = self.range(value);
        if range.lo == 0 {
            self.refine(value, Range::new(1, i64::MAX));
        } else if range.hi == 0 {
            self.refine(value, Range::new(i64::MIN, -1));
        }
    }

    /// a . b holds.
    fn compared(&mut self, cond: Cond, a: Value, b: Value) {
        match cond {
            Cond::Eq => {
                let both = self.range(a).meet(self.range(b));
                self.refine(a, both);
                self.refine(b, both);
                self.note(a, b, 0);
                self.note(b, a, 0);
                self.fits_bits(a, b);
                self.fits_bits(b, a);
            }
            Cond::Ne => {
                for (x, y) in [(a, b), (b, a)] {
                    let (r, Some(k)) = (self.range(x), self.range(y).single()) else { continue };
                    if r.lo == k && k < i64::MAX {
                        self.refine(x, Range::new(k + 1, i64::MAX));
                    } else if r.hi == k && k > i64::MIN {
                        self.refine(x, Range::new(i64::MIN, k - 1));
                    }
                }
            }
            Cond::Lt => self.less(a, b, -1),
            Cond::Le => self.less(a, b, 0),
            Cond::Gt => self.less(b, a, -1),
            Cond::Ge => self.less(b, a, 0),
            Cond::Ult => self.less_unsigned(a, b, -1),
            Cond::Ule => self.less_unsigned(a, b, 0),
            Cond::Ugt => self.less_unsigned(b, a, -1),
            Cond::Uge => self.less_unsigned(b, a, 0),
        }
    }

    /// a <= b + c, where c is 0 or -1.
    fn less(&mut self, a: Value, b: Value, c: i64) {
        let (x, y) = (self.range(a), self.range(b));
        self.refine(a, Range::new(i64::MIN, y.hi.saturating_add(c)));
        self.refine(b, Range::new(x.lo.saturating_sub(c), i64::MAX));
        self.note(a, b, c);
    }

    /// Without signs: a <= b + c.
    fn less_unsigned(&mut self, a: Value, b: Value, c: i64) {
        if self.range(b).lo >= 0 {
            self.refine(a, Range::new(0, i64::MAX));
            self.less(a, b, c);
        }
    }

    /// (x << k) >> k = x says that x has that many bits.
    fn fits_bits(&mut self, down: Value, x: Value) {
        if let Some(range) = self.shifted(down).filter(|s| s.0 == x).map(|s| s.1) {
            self.refine(x, range);
        }
    }

    /// For (x << k) >> k: x, and the ints that come through unchanged.
    fn shifted(&self, down: Value) -> Option<(Value, Range)> {
        let data = self.func.def(down).filter(|d| d.op == Op::IshrS)?;
        let k = self.func.int_const(data.args[1])?;
        let up = self.func.def(data.args[0]).filter(|d| d.op == Op::Ishl)?;
        if self.func.int_const(up.args[1])? != k || !(1..64).contains(&k) {
            return None;
        }
        Some((up.args[0], Range::new(i64::MIN >> k, i64::MAX >> k)))
    }

    fn refine(&mut self, value: Value, to: Range) {
        self.refine_within(value, to, 3);
    }

    fn refine_within(&mut self, value: Value, to: Range, depth: u32) {
        let before = self.range(value);
        let after = before.meet(to);
        if after == before || self.func.ty(value) != Type::Int {
            return;
        }
        self.undo.push(Undo::Range(value, self.ranges[value]));
        self.ranges[value] = after;
        // What is known of x + c, where that fits, is known of x. Ends that do not fit leave more than there is.
        if depth > 0
            && let Some((x, c)) = self.sum(value)
        {
            let back = Range::new(after.lo.saturating_sub(c), after.hi.saturating_sub(c));
            self.refine_within(x, back, depth - 1);
        }
    }

    /// x <= y + c.
    fn note(&mut self, x: Value, y: Value, c: i64) {
        let constant = |v| matches!(self.func.def(v).map(|d| d.op), Some(Op::Iconst));
        if x == y || constant(x) || constant(y) {
            return;
        }
        self.arena.push(Note { y, c, next: self.notes[x] });
        self.undo.push(Undo::Note(x, self.notes[x]));
        self.notes[x] = self.arena.len() as u32;
    }

    // ---- Questions ----

    fn range(&self, value: Value) -> Range {
        match self.func.int_const(value) {
            Some(k) => Range::new(k, k),
            None => self.ranges[value],
        }
    }

    /// For a sum of a value and a constant that fits: both.
    fn sum(&self, value: Value) -> Option<(Value, i64)> {
        let data = self.func.def(value)?;
        let k = match data.op {
            Op::Iadd | Op::IaddExit => self.func.int_const(data.args[1])?,
            Op::IsubExit => self.func.int_const(data.args[1])?.checked_neg()?,
            _ => return None,
        };
        let x = data.args[0];
        let fits = data.op != Op::Iadd || {
            let r = self.range(x);
            r.lo.checked_add(k).is_some() && r.hi.checked_add(k).is_some()
                || self.exact.contains(&(Op::Iadd, x, data.args[1]))
        };
        fits.then_some((x, k))
    }

    /// Whether x <= y + c is known.
    fn at_most(&self, x: Value, y: Value, c: i64) -> bool {
        let mut steps = STEPS;
        self.at_most_within(x, y, c, DEPTH, &mut steps)
    }

    fn at_most_within(&self, x: Value, y: Value, c: i64, depth: u32, steps: &mut u32) -> bool {
        if x == y && c >= 0 {
            return true;
        }
        let (rx, ry) = (self.range(x), self.range(y));
        if i128::from(rx.hi) <= i128::from(ry.lo) + i128::from(c) {
            return true;
        }
        if depth == 0 || *steps == 0 {
            return false;
        }
        *steps -= 1;
        let depth = depth - 1;
        // x + k <= y + c is x <= y + (c - k).
        if let Some((z, k)) = self.sum(x)
            && let Some(c) = c.checked_sub(k)
            && self.at_most_within(z, y, c, depth, steps)
        {
            return true;
        }
        if let Some((z, k)) = self.sum(y)
            && let Some(c) = c.checked_add(k)
            && self.at_most_within(x, z, c, depth, steps)
        {
            return true;
        }
        let mut at = self.notes[x];
        while at != 0 && *steps > 0 {
            let note = self.arena[at as usize - 1];
            if let Some(c) = c.checked_sub(note.c)
                && self.at_most_within(note.y, y, c, depth, steps)
            {
                return true;
            }
            at = note.next;
        }
        // What several ways bring is at most what each is at most.
        if let Def::Param(block, i) = self.func.values[x].def
            && self.headers[block] == Header::No
            && block != self.func.entry()
            && self.defined_above(y, block)
        {
            let preds = self.cfg.preds(block);
            return preds.len() <= 4
                && preds.iter().all(|e| {
                    let arg = super::params::argument(self.func, e.from, e.target, i as usize);
                    self.at_most_within(arg, y, c, depth, steps)
                });
        }
        if let Some(data) = self.func.def(x) {
            let args = &data.args;
            let found = match data.op {
                Op::Imin => args.iter().any(|&a| self.at_most_within(a, y, c, depth, steps)),
                Op::Imax => args.iter().all(|&a| self.at_most_within(a, y, c, depth, steps)),
                Op::SelectInt => match self.range(args[0]).single() {
                    Some(0) => self.at_most_within(args[2], y, c, depth, steps),
                    Some(_) => self.at_most_within(args[1], y, c, depth, steps),
                    None => args[1..].iter().all(|&a| self.at_most_within(a, y, c, depth, steps)),
                },
                // a % m < m and a % m <= a, a >> k <= a, a / k <= a, a & b <= a, all where a is not negative
                Op::Irem => {
                    let (a, m) = (args[0], args[1]);
                    self.range(m).lo > 0
                        && (c.checked_add(1).is_some_and(|c| self.at_most_within(m, y, c, depth, steps))
                            || self.range(a).lo >= 0 && self.at_most_within(a, y, c, depth, steps))
                }
                Op::IshrS | Op::IshrU if self.range(args[0]).lo >= 0 => {
                    self.at_most_within(args[0], y, c, depth, steps)
                }
                Op::Idiv if self.range(args[0]).lo >= 0 && self.range(args[1]).lo > 0 => {
                    self.at_most_within(args[0], y, c, depth, steps)
                }
                Op::Iand => {
                    args.iter().any(|&a| self.range(a).lo >= 0 && self.at_most_within(a, y, c, depth, steps))
                }
                _ => false,
            };
            if found {
                return true;
            }
        }
        if let Some(data) = self.func.def(y) {
            let args = &data.args;
            return match data.op {
                Op::Imax => args.iter().any(|&a| self.at_most_within(x, a, c, depth, steps)),
                Op::Imin => args.iter().all(|&a| self.at_most_within(x, a, c, depth, steps)),
                Op::SelectInt => match self.range(args[0]).single() {
                    Some(0) => self.at_most_within(x, args[2], c, depth, steps),
                    Some(_) => self.at_most_within(x, args[1], c, depth, steps),
                    None => args[1..].iter().all(|&a| self.at_most_within(x, a, c, depth, steps)),
                },
                _ => false,
            };
        }
        false
    }

    /// Whether a comparison is decided.
    fn decide(&self, cond: Cond, a: Value, b: Value) -> Option<bool> {
        let (x, y) = (self.range(a), self.range(b));
        match cond {
            Cond::Eq => {
                if let (Some(x), Some(y)) = (x.single(), y.single()) {
                    return Some(x == y);
                }
                let apart = x.hi < y.lo || y.hi < x.lo || self.at_most(a, b, -1) || self.at_most(b, a, -1);
                apart.then_some(false)
            }
            Cond::Lt => {
                if self.at_most(a, b, -1) {
                    Some(true)
                } else if self.at_most(b, a, 0) {
                    Some(false)
                } else {
                    None
                }
            }
            Cond::Ult => {
                if (x.lo >= 0 && y.lo >= 0) || (x.hi < 0 && y.hi < 0) {
                    self.decide(Cond::Lt, a, b)
                } else if x.lo >= 0 && y.hi < 0 {
                    Some(true)
                } else if x.hi < 0 && y.lo >= 0 {
                    Some(false)
                } else {
                    None
                }
            }
            Cond::Ne => self.decide(Cond::Eq, a, b).map(|t| !t),
            Cond::Ge => self.decide(Cond::Lt, a, b).map(|t| !t),
            Cond::Gt => self.decide(Cond::Lt, b, a),
            Cond::Le => self.decide(Cond::Lt, b, a).map(|t| !t),
            Cond::Uge => self.decide(Cond::Ult, a, b).map(|t| !t),
            Cond::Ugt => self.decide(Cond::Ult, b, a),
            Cond::Ule => self.decide(Cond::Ult, b, a).map(|t| !t),
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
        let args = self.func.insts[inst].args.clone();
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
                if let Some(k) = self.func.int_const(args[1]) {
                    let k = if op == Op::IaddExit { Some(k) } else { k.checked_neg() };
                    if let Some(k) = k {
                        let x = Range::new(range.lo.saturating_sub(k), range.hi.saturating_sub(k));
                        self.refine(args[0], x);
                    }
                }
            }
            _ => {}
        }
        true
    }

    /// The interval of a result, and for sums, differences and products whether they fit.
    fn transfer(&mut self, inst: Inst) -> (Range, bool) {
        let data = &self.func.insts[inst];
        let op = data.op;
        let arg = |i: usize| self.range(data.args[i]);
        let any = |_, _| Range::ANY;
        let plain = |range| (range, false);
        match op {
            Op::Iconst => plain(Range::new(data.imm, data.imm)),
            Op::Iadd | Op::IaddExit | Op::IaddOverflows => self.arithmetic(inst, Op::Iadd, arg(0), arg(1)),
            Op::Isub | Op::IsubExit | Op::IsubOverflows => self.arithmetic(inst, Op::Isub, arg(0), arg(1)),
            Op::Imul | Op::ImulExit | Op::ImulOverflows => self.arithmetic(inst, Op::Imul, arg(0), arg(1)),
            Op::Idiv => {
                let (a, b) = (arg(0), arg(1));
                if b.lo <= 0 {
                    return plain(Range::ANY);
                }
                let ends = [a.lo / b.lo, a.lo / b.hi, a.hi / b.lo, a.hi / b.hi];
                plain(Range::new(
                    ends.into_iter().fold(i64::MAX, i64::min),
                    ends.into_iter().fold(i64::MIN, i64::max),
                ))
            }
            Op::Irem => {
                let (a, b) = (arg(0), arg(1));
                // Smaller than the divisor, no larger than the dividend, with its sign.
                let most = b.lo.unsigned_abs().max(b.hi.unsigned_abs()).saturating_sub(1).min(i64::MAX as u64)
                    as i64;
                let lo = if a.lo >= 0 { 0 } else { a.lo.max(-most) };
                let hi = if a.hi <= 0 { 0 } else { a.hi.min(most) };
                plain(Range::new(lo, hi))
            }
            Op::Iand => {
                let (a, b) = (arg(0), arg(1));
                plain(match (a.lo >= 0, b.lo >= 0) {
                    (true, true) => Range::new(0, a.hi.min(b.hi)),
                    (true, false) => Range::new(0, a.hi),
                    (false, true) => Range::new(0, b.hi),
                    (false, false) => Range::ANY,
                })
            }
            Op::Ior | Op::Ixor => {
                let (a, b) = (arg(0), arg(1));
                if a.lo < 0 || b.lo < 0 {
                    return plain(Range::ANY);
                }
                let bits = 64 - (a.hi | b.hi).leading_zeros();
                let most = if bits >= 63 { i64::MAX } else { (1 << bits) - 1 };
                plain(Range::new(if op == Op::Ior { a.lo.max(b.lo) } else { 0 }, most))
            }
            Op::Ishl => match arg(1).single() {
                Some(k) if (0..63).contains(&k) => {
                    let a = arg(0);
                    plain(Range::exact(i128::from(a.lo) << k, i128::from(a.hi) << k, any))
                }
                _ => plain(Range::ANY),
            },
            Op::IshrS => {
                let a = arg(0);
                plain(match arg(1).single() {
                    Some(k) => Range::new(a.lo >> (k & 63), a.hi >> (k & 63)),
                    // Towards 0 or -1.
                    None => Range::new(a.lo.min(0), a.hi.max(-1)),
                })
            }
            Op::IshrU => {
                let a = arg(0);
                plain(match arg(1).single().map(|k| k & 63) {
                    Some(k) if a.lo >= 0 => Range::new(a.lo >> k, a.hi >> k),
                    Some(k) if k > 0 => Range::new(0, (u64::MAX >> k) as i64),
                    _ if a.lo >= 0 => Range::new(0, a.hi),
                    _ => Range::ANY,
                })
            }
            Op::Imin => plain(Range::new(arg(0).lo.min(arg(1).lo), arg(0).hi.min(arg(1).hi))),
            Op::Imax => plain(Range::new(arg(0).lo.max(arg(1).lo), arg(0).hi.max(arg(1).hi))),
            Op::Iextend32 => {
                let int32 = Range::new(i64::from(i32::MIN), i64::from(i32::MAX));
                plain(if arg(0).within(int32) { arg(0) } else { int32 })
            }
            Op::Icmp => {
                let (cond, a, b) = (data.cond(), data.args[0], data.args[1]);
                // The search is for when something comes of it.
                let decided = if self.mode == Mode::Change { self.decide(cond, a, b) } else { None };
                plain(match decided {
                    Some(truth) => Range::new(i64::from(truth), i64::from(truth)),
                    None => Range::BOOL,
                })
            }
            Op::Fcmp | Op::IsSmall | Op::IsFloat | Op::IsObject | Op::Same => plain(Range::BOOL),
            Op::SelectInt => {
                let (c, a, b) = (data.args[0], data.args[1], data.args[2]);
                plain(match self.range(c).single() {
                    Some(0) => self.range(b),
                    Some(_) => self.range(a),
                    None => {
                        // Each is what the condition says of it.
                        let mark = self.undo.len();
                        self.says(c, true, 2);
                        let x = self.range(a);
                        self.take_back(mark);
                        self.says(c, false, 2);
                        let y = self.range(b);
                        self.take_back(mark);
                        x.join(y)
                    }
                })
            }
            Op::SmallInt => plain(Range::new(i64::MIN >> 16, i64::MAX >> 16)),
            Op::Load | Op::LoadAt => plain(match data.access {
                Some(access) => match (access.width, access.class) {
                    (Width::U8, Class::Bools) => Range::BOOL,
                    (Width::U8, _) => Range::new(0, 0xFF),
                    (Width::U16, _) => Range::new(0, 0xFFFF),
                    (Width::U32, _) => Range::new(0, 0xFFFF_FFFF),
                    (_, Class::Len | Class::Capacity) => Range::new(0, LONGEST),
                    _ => Range::ANY,
                },
                None => Range::ANY,
            }),
            Op::Helper => plain(match Helper::ALL.get(data.imm as usize) {
                Some(Helper::StringLen | Helper::StringByteLen) => Range::new(0, LONGEST),
                _ => Range::ANY,
            }),
            _ => plain(Range::ANY),
        }
    }

    /// A sum, difference or product, plain, checked, or the question whether it overflows.
    fn arithmetic(&self, inst: Inst, plain: Op, a: Range, b: Range) -> (Range, bool) {
        let data = &self.func.insts[inst];
        let (x, y) = (data.args[0], data.args[1]);
        let wide = i128::from;
        let (lo, hi) = match plain {
            Op::Iadd => (wide(a.lo) + wide(b.lo), wide(a.hi) + wide(b.hi)),
            Op::Isub => (wide(a.lo) - wide(b.hi), wide(a.hi) - wide(b.lo)),
            _ => {
                let ends = [
                    wide(a.lo) * wide(b.lo),
                    wide(a.lo) * wide(b.hi),
                    wide(a.hi) * wide(b.lo),
                    wide(a.hi) * wide(b.hi),
                ];
                (ends.into_iter().fold(i128::MAX, i128::min), ends.into_iter().fold(i128::MIN, i128::max))
            }
        };
        let inside = lo >= wide(i64::MIN) && hi <= wide(i64::MAX);
        let outside = lo > wide(i64::MAX) || hi < wide(i64::MIN);
        // A square is not negative.
        let lo = if plain == Op::Imul && x == y { lo.max(0) } else { lo };
        let fits = inside
            || self.exact.contains(&(plain, x, y))
            // x - y with 0 <= y <= x, as with both of one sign, fits.
            || plain == Op::Isub && (a.lo >= 0 && b.lo >= 0 || a.hi < 0 && b.hi < 0);
        if data.op == plain {
            // Wraps, but where it is known not to.
            let range =
                if fits { Range::exact(lo, hi, Range::new) } else { Range::exact(lo, hi, |_, _| Range::ANY) };
            return (self.difference(plain, x, y, range, fits), fits);
        }
        if data.op.info().leaves {
            // What leaves has no result, so what is outside does not count.
            let range = if outside { Range::ANY } else { Range::exact(lo, hi, Range::new) };
            return (self.difference(plain, x, y, range, true), fits);
        }
        let range = match (fits, outside) {
            (true, _) => Range::new(0, 0),
            (_, true) => Range::new(1, 1),
            _ => Range::BOOL,
        };
        (range, fits)
    }

    /// x - y is not negative where y <= x.
    fn difference(&self, plain: Op, x: Value, y: Value, range: Range, fits: bool) -> Range {
        if plain != Op::Isub || !fits || range.lo >= 0 || self.mode == Mode::Search {
            return range;
        }
        if self.at_most(y, x, -1) {
            range.meet(Range::new(1, i64::MAX))
        } else if self.at_most(y, x, 0) {
            range.meet(Range::new(0, i64::MAX))
        } else {
            range
        }
    }

    /// Something better that an instruction is, by what its result and operands can be. Checks that pass become plain in place.
    fn better(&mut self, out: &mut Rewriter, inst: Inst, range: Range, fits: bool) -> Option<Value> {
        let data = &self.func.insts[inst];
        let op = data.op;
        let checks = op.info().leaves;
        // What may leave has to be done, whatever its result would be.
        let free = op.info().pure || op.info().fixed || op.info().loads || checks && fits;
        if let Some(k) = range.single().filter(|_| free && op != Op::Iconst) {
            let value = out.int(self.func, k);
            self.ranges[value] = range;
            return Some(value);
        }
        let (a, b) = (data.args.first().copied(), data.args.get(1).copied());
        match (op, a, b) {
            // Checked sums that fit.
            (Op::IaddExit | Op::IsubExit | Op::ImulExit, Some(_), Some(_)) if fits => {
                let plain = match op {
                    Op::IaddExit => Op::Iadd,
                    Op::IsubExit => Op::Isub,
                    _ => Op::Imul,
                };
                let data = InstData { result: data.result, ..InstData::new(plain, &data.args) };
                self.func.insts[inst] = data;
                self.changed += 1;
                None
            }
            // (x != 0) = (x = 1) = x where x is 0 or 1
            (Op::Icmp, Some(x), Some(y)) if self.range(x).within(Range::BOOL) => {
                match (data.cond(), self.func.int_const(y)?) {
                    (Cond::Ne, 0) | (Cond::Eq, 1) => Some(x),
                    _ => None,
                }
            }
            // (x << k) >> k = x where x has that many bits
            (Op::IshrS, ..) => {
                let result = data.result.expand()?;
                let (x, through) = self.shifted(result)?;
                self.range(x).within(through).then_some(x)
            }
            (Op::Iextend32, Some(a), _)
                if self.range(a).within(Range::new(i32::MIN.into(), i32::MAX.into())) =>
            {
                Some(a)
            }
            (Op::Imin, Some(a), Some(b)) => match self.decide(Cond::Le, a, b) {
                Some(true) => Some(a),
                Some(false) => Some(b),
                None => self.at_most(b, a, 0).then_some(b),
            },
            (Op::Imax, Some(a), Some(b)) => match self.decide(Cond::Le, a, b) {
                Some(true) => Some(b),
                Some(false) => Some(a),
                None => self.at_most(b, a, 0).then_some(a),
            },
            (Op::SelectInt, Some(c), Some(x)) => match self.range(c) {
                r if r.single() == Some(0) => data.args.get(2).copied(),
                r if r.lo > 0 || r.hi < 0 => Some(x),
                _ => None,
            },
            // x % m = x where 0 <= x < m; x % 2^k = x & (2^k - 1) where x is not negative
            (Op::Irem, Some(x), Some(m)) if self.range(x).lo >= 0 && self.range(m).lo > 0 => {
                if self.at_most(x, m, -1) {
                    return Some(x);
                }
                let k = self.func.int_const(m).filter(|k| k.count_ones() == 1)?;
                let mask = out.int(self.func, k - 1);
                self.ranges[mask] = Range::new(k - 1, k - 1);
                self.instead(inst, Op::Iand, &[x, mask]);
                None
            }
            // x / 2^k = x >> k where x is not negative
            (Op::Idiv, Some(x), Some(m)) if self.range(x).lo >= 0 => {
                let k = self.func.int_const(m).filter(|&k| k > 0 && k.count_ones() == 1)?;
                let shift = i64::from(k.trailing_zeros());
                let shift = out.int(self.func, shift);
                self.ranges[shift] = Range::new(0, 63);
                self.instead(inst, Op::IshrU, &[x, shift]);
                None
            }
            // x & (2^k - 1) = x where 0 <= x < 2^k
            (Op::Iand, Some(x), Some(m)) => {
                let m = self.func.int_const(m)?;
                let r = self.range(x);
                (m >= 0 && (m as u64 + 1).is_power_of_two() && r.lo >= 0 && r.hi <= m).then_some(x)
            }
            _ => None,
        }
    }

    fn instead(&mut self, inst: Inst, op: Op, args: &[Value]) {
        let result = self.func.insts[inst].result;
        self.func.insts[inst] = InstData { result, ..InstData::new(op, args) };
        self.changed += 1;
    }
}

/// What grows on a side is unknown there; but first it is anything that one may be added to, since a test mostly stands between.
fn widen(before: Range, now: Range) -> Range {
    Range {
        lo: if now.lo >= before.lo {
            before.lo
        } else {
            if now.lo >= LEAST && before.lo > LEAST { LEAST } else { i64::MIN }
        },
        hi: if now.hi <= before.hi {
            before.hi
        } else {
            if now.hi <= MOST && before.hi < MOST { MOST } else { i64::MAX }
        },
    }
}
