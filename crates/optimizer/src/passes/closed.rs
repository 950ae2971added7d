//! Closed forms: what a loop computes in many turns, computed at once.
//!
//! In a loop that is one way around, what its ints are in turn `t` is often a polynomial in `t`: counters, sums of counters, sums
//! of products of these. Such a value is kept as a *chain of recurrences* in Newton's form, `c0 + c1 * t + c2 * t (t - 1) / 2 + ...`,
//! whose coefficients are ints that are known where the loop is entered; sums, differences and products of chains are
//! chains, and a parameter to which each turn adds a chain is one (Bachmann, Wang and Zima, "Chains of Recurrences", ISSAC 1994; LLVM's
//! scalar evolution). A sum that is reduced modulo something in each turn is the sum reduced once, where nothing is negative; where
//! it is multiplied too, as generators of random numbers do, many turns are one affine map, found by squaring ([`Helper::AffineRest`]).
//! So they are where two values update each other ([`Helper::AffinePair`]), as Fibonacci numbers modulo something do.
//!
//! Before such a loop stands code that counts how often the way back will be taken, skips as many turns as can be skipped, and enters
//! a copy of the loop with the parameters of the turn that is then due: all that is computed by the last turn, or used behind the loop, comes
//! from the loop itself. Turns are skipped where nothing in them overflows, which the sum of the magnitudes of a chain's terms
//! shows; what is reduced is less than what it is reduced by. Where that does not show it for so many turns, fewer are tried, and at last the loop does them and leaves at the turn that
//! overflows. Skipped turns are charged ([`Helper::SkipTurns`]), so fuel ends at the same turn.
//!
//! What is needed of a loop: it is innermost, each turn goes one way through it, it has one way out, which compares what changes by a
//! constant with what does not change, and it does nothing but compute and charge. Runs behind `licm.rs` and `ranges.rs`.

use std::collections::HashMap;

use smallvec::{SmallVec, smallvec};

use super::copy::{close, copy, outside_uses};
use super::fold::holds;
use super::params::{argument, relayout};
use crate::cfg::{Analyses, Cfg, Dominators, Loop, Loops};
use crate::helper::Helper;
use crate::ir::{Block, BlockData, Cond, Def, Function, Inst, InstData, Made, Note, Op, Target, Type, Value};

/// The most instructions that a loop has.
const SIZE: usize = 60;
/// The most loops of a function.
const LOOPS: usize = 8;
/// The highest degree of a polynomial.
const DEGREE: usize = 4;
/// How many coefficients what is added may have where a parameter is multiplied: [`Helper::AffineRest`] takes so many.
const MAP_DEGREE: usize = 2;
/// How many turns at once keep the products in binomials within 64 bits, by their degree.
const TURNS: [i64; DEGREE + 1] = [1 << 62, 1 << 62, 1 << 31, 1 << 21, 1 << 15];
/// The most instructions that are put before a loop.
const EMITTED: usize = 240;
/// Fewer turns are done rather than skipped.
const FEW: i64 = 24;
/// And where maps are squared, which takes about as long as so many turns.
const FEW_MAPS: i64 = 200;
/// And where such maps are of two values.
const FEW_PAIRS: i64 = 600;
/// How often turns are skipped before the rest is done, since skipping is not interrupted.
const STRIPS: i64 = 1 << 16;
/// The largest modulus: the product of two rests fits.
const MODULUS: i64 = 1 << 31;
/// How deep definitions are followed.
const DEPTH: u32 = 24;

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let (cfg, doms, loops) = analyses.loops(func);
    let shape = |func: &Function, id: Loop| Shape::of(func, cfg, doms, loops, id);
    let mut some: Vec<Loop> =
        loops.loops.keys().filter(|&id| shape(func, id).is_some()).take(LOOPS).collect();
    if some.is_empty() {
        return 0;
    }
    // All are closed before shapes are settled: what a loop defines may be used in another.
    let uses = outside_uses(func, cfg, loops, &some);
    some.retain(|&id| close(func, cfg, doms, loops, id, &uses));
    let mut changed = 0;
    for id in some {
        if let Some(shape) = shape(func, id)
            && skip(func, loops, &shape).is_some()
        {
            changed += 1;
        }
    }
    if changed != 0 {
        relayout(func, analyses);
    }
    changed
}

/// A loop that may have a closed form.
struct Shape {
    id: Loop,
    header: Block,
    /// The way in.
    from: Block,
    target: u32,
    /// What the header's parameters are at first, and in the turn after this.
    first: Vec<Value>,
    next: Vec<Value>,
    /// The instructions.
    insts: Vec<Inst>,
    /// There is a further turn where the condition holds between these.
    cond: Cond,
    sides: [Value; 2],
    /// How many units of the budget a turn takes.
    units: i64,
    /// Where its header is, or else where it takes them: function and word.
    position: (u32, u32),
}

impl Shape {
    fn of(func: &Function, cfg: &Cfg, doms: &Dominators, loops: &Loops, id: Loop) -> Option<Shape> {
        let data = &loops.loops[id];
        let header = data.header;
        let inner = loops.loops.values().any(|l| l.parent.expand() == Some(id));
        let size: usize = data.blocks.iter().map(|&b| func.blocks[b].insts.len()).sum();
        let ([latch], [exit], false) = (&data.latches[..], &data.exits[..], inner) else { return None };
        if size > SIZE || func.blocks[header].cold || func.blocks[header].params.is_empty() {
            return None;
        }
        let mut entries = cfg.preds(header).iter().filter(|e| e.from != *latch);
        let (Some(entry), None) = (entries.next(), entries.next()) else { return None };
        let back = cfg.preds(header).iter().find(|e| e.from == *latch)?;
        let insts: Vec<Inst> = data.blocks.iter().flat_map(|&b| &func.blocks[b].insts).copied().collect();
        let (mut units, mut position) = (0, None);
        for &inst in &insts {
            let op = func.insts[inst].op;
            match op {
                Op::Poll | Op::Charge => {
                    units += 1;
                    let state = func.insts[inst].state.expand().map(|s| &func.states[s]);
                    position = state.map(|s| (s.function, s.word)).or(position);
                }
                Op::Jump | Op::Branch | Op::IaddExit | Op::IsubExit | Op::ImulExit => {}
                _ if op.info().pure || op.info().fixed => {}
                _ => return None,
            }
        }
        // Each turn goes through all blocks: where there is one way out, only its branch has two ways.
        let branches = data.blocks.iter().filter(|&&b| func.successors(b).count() != 1).count();
        if branches != 1 || units == 0 || !doms.dominates(exit.from, *latch) {
            return None;
        }
        let end = &func.insts[func.terminator(exit.from)?];
        let test = func.def(*end.args.first()?).filter(|d| end.op == Op::Branch && d.op == Op::Icmp)?;
        let cond = if exit.target == 0 { test.cond().negated() } else { test.cond() };
        let arguments = |from: Block, target: u32| {
            (0..func.blocks[header].params.len()).map(|i| argument(func, from, target, i)).collect()
        };
        Some(Shape {
            id,
            header,
            from: entry.from,
            target: entry.target,
            first: arguments(entry.from, entry.target),
            next: arguments(back.from, back.target),
            insts,
            cond,
            sides: [test.args[0], test.args[1]],
            units,
            position: func.blocks[header].position.or(position)?,
        })
    }
}

/// A coefficient.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Coefficient {
    Constant(i64),
    Value(Value),
}

use Coefficient::Constant;

/// A polynomial in the turn: coefficients of the binomials of the turn over 0, 1, 2, ...
type Chain = SmallVec<[Coefficient; DEGREE + 1]>;

/// An affine map of one or two parameters: what each is multiplied by, and what is added.
#[derive(Clone, Debug)]
struct Affine {
    factors: SmallVec<[Coefficient; 2]>,
    added: Chain,
}

impl Affine {
    /// Whether it only adds to its one parameter.
    fn adds(&self) -> bool {
        self.factors[..] == [Constant(1)]
    }
}

/// A step of such a map's computation.
#[derive(Clone, Debug)]
enum Step {
    Add(Chain),
    Multiply(Coefficient),
}

/// What each turn maps and reduces.
#[derive(Clone, Debug)]
struct Reduced {
    map: Affine,
    /// What is done one after the other.
    steps: Vec<Step>,
    modulus: Coefficient,
}

/// Two parameters that update each other, both reduced by the same: one may be a copy of the other.
#[derive(Clone, Debug)]
struct Pair {
    /// Which parameters of the header.
    places: [usize; 2],
    maps: [Affine; 2],
    steps: Vec<Step>,
    modulus: Coefficient,
}

/// What parameters of a turn a value is looked for as a map of, and what was found.
struct Search<'s> {
    params: &'s [Value],
    /// Remainders by it are left out.
    modulus: Option<Coefficient>,
    /// What the maps that were found are made of, with the values on the way.
    steps: Vec<(Value, Step)>,
    known: HashMap<Value, Option<Affine>>,
}

impl<'s> Search<'s> {
    fn new(params: &'s [Value], modulus: Option<Coefficient>) -> Search<'s> {
        Search { params, modulus, steps: Vec::new(), known: HashMap::new() }
    }

    /// The parameter itself.
    fn itself(&self, value: Value) -> Option<Affine> {
        let place = self.params.iter().position(|&p| p == value)?;
        let factors = (0..self.params.len()).map(|i| Constant(i64::from(i == place))).collect();
        Some(Affine { factors, added: smallvec![Constant(0)] })
    }
}

/// What a parameter of the header is.
#[derive(Clone, Debug)]
enum Parameter {
    Chain(Chain),
    Reduced(Reduced),
    /// So many in the pair.
    Paired(usize),
}

/// Computes chains where the parameters of the header are certain values, by instructions that are in no block yet.
struct Chains<'a> {
    func: &'a mut Function,
    loops: &'a Loops,
    shape: &'a Shape,
    /// What the parameters are in turn 0.
    base: &'a [Value],
    emitted: Vec<Inst>,
    /// Ints of which each is 0 unless coefficients wrapped.
    wrapped: Vec<Value>,
    /// Ints of which each is 1 if chains are what they are taken for.
    holds: Vec<Value>,
    known: HashMap<Value, Option<Chain>>,
    /// Values of arithmetic, which have to fit.
    fits: Vec<Chain>,
    /// What is computed on the way to what is reduced.
    partial: Vec<Value>,
    depth: u32,
}

impl<'a> Chains<'a> {
    fn new(func: &'a mut Function, loops: &'a Loops, shape: &'a Shape, base: &'a [Value]) -> Chains<'a> {
        Chains {
            func,
            loops,
            shape,
            base,
            emitted: Vec::new(),
            wrapped: Vec::new(),
            holds: Vec::new(),
            known: HashMap::new(),
            fits: Vec::new(),
            partial: Vec::new(),
            depth: 0,
        }
    }

    // ---- Instructions ----

    fn def(&mut self, data: InstData) -> Value {
        let (inst, value) = self.func.make(data);
        self.emitted.push(inst);
        debug_assert!(value.is_some(), "what is made here defines a value");
        value.unwrap_or_else(|| Value::from_u32(0))
    }

    fn op(&mut self, op: Op, a: Value, b: Value) -> Value {
        self.def(InstData::new(op, &[a, b]))
    }

    fn iconst(&mut self, c: i64) -> Value {
        self.def(InstData::new(Op::Iconst, &[]).imm(c))
    }

    fn compare(&mut self, cond: Cond, a: Value, b: i64) -> Value {
        let b = self.iconst(b);
        self.def(InstData::new(Op::Icmp, &[a, b]).imm(cond as i64))
    }

    fn value(&mut self, c: Coefficient) -> Value {
        match c {
            Constant(c) => self.iconst(c),
            Coefficient::Value(v) => v,
        }
    }

    /// A sum, difference or product of coefficients; that it fits is noted as a condition.
    fn arithmetic(&mut self, op: Op, a: Coefficient, b: Coefficient) -> Option<Coefficient> {
        let overflows = match op {
            Op::Iadd => Op::IaddOverflows,
            Op::Isub => Op::IsubOverflows,
            _ => Op::ImulOverflows,
        };
        match (op, a, b) {
            (Op::Iadd, Constant(a), Constant(b)) => return a.checked_add(b).map(Constant),
            (Op::Isub, Constant(a), Constant(b)) => return a.checked_sub(b).map(Constant),
            (_, Constant(a), Constant(b)) => return a.checked_mul(b).map(Constant),
            (Op::Iadd | Op::Isub, a, Constant(0)) | (Op::Imul, a, Constant(1)) => return Some(a),
            (Op::Iadd, Constant(0), b) | (Op::Imul, Constant(1), b) => return Some(b),
            (Op::Imul, Constant(0), _) | (Op::Imul, _, Constant(0)) => return Some(Constant(0)),
            _ => {}
        }
        if self.emitted.len() > EMITTED {
            return None;
        }
        let (a, b) = (self.value(a), self.value(b));
        let over = self.op(overflows, a, b);
        self.wrapped.push(over);
        Some(Coefficient::Value(self.op(op, a, b)))
    }

    /// Notes as a condition how a coefficient compares with a constant.
    fn require(&mut self, cond: Cond, c: Coefficient, with: i64) -> Option<()> {
        match c {
            Constant(c) => holds(cond, c, with).then_some(()),
            Coefficient::Value(v) => {
                let test = self.compare(cond, v, with);
                self.holds.push(test);
                Some(())
            }
        }
    }

    /// Whether all that was noted holds, as an int that is 0 or 1.
    fn condition(&mut self) -> Value {
        let mut any = None;
        for v in std::mem::take(&mut self.wrapped) {
            any = Some(any.map_or(v, |a| self.op(Op::Ior, a, v)));
        }
        let mut all = any.map(|any| self.compare(Cond::Eq, any, 0));
        for v in std::mem::take(&mut self.holds) {
            all = Some(all.map_or(v, |a| self.op(Op::Iand, a, v)));
        }
        all.unwrap_or_else(|| self.iconst(1))
    }

    // ---- Chains ----

    fn inside(&self, value: Value) -> bool {
        match self.func.values[value].def {
            Def::Param(block, _) => self.loops.contains(self.shape.id, block),
            Def::Inst(inst) => self.shape.insts.contains(&inst),
        }
    }

    /// The chain that a value of the loop is, if it is one.
    fn chain(&mut self, value: Value) -> Option<Chain> {
        if self.func.ty(value) != Type::Int || self.depth > DEPTH {
            return None;
        }
        if let Some(known) = self.known.get(&value) {
            return known.clone();
        }
        if let Some(c) = self.func.int_const(value) {
            return Some(smallvec![Constant(c)]);
        }
        if !self.inside(value) {
            return Some(smallvec![Coefficient::Value(value)]);
        }
        // What needs itself is none.
        self.known.insert(value, None);
        self.depth += 1;
        let chain = self.find(value);
        self.depth -= 1;
        self.known.insert(value, chain.clone());
        chain
    }

    fn find(&mut self, value: Value) -> Option<Chain> {
        let data = match self.func.values[value].def {
            Def::Param(block, i) if block == self.shape.header => {
                return match self.parameter(i as usize)? {
                    Parameter::Chain(chain) => Some(chain),
                    Parameter::Reduced(_) | Parameter::Paired(_) => None,
                };
            }
            Def::Param(..) => return None,
            Def::Inst(inst) => &self.func.insts[inst],
        };
        let (op, a, b) = (data.op, *data.args.first()?, *data.args.get(1)?);
        let (x, y) = match op {
            Op::Iadd | Op::IaddExit | Op::Isub | Op::IsubExit | Op::Imul | Op::ImulExit => {
                (self.chain(a)?, self.chain(b)?)
            }
            Op::Ishl => {
                let by = self.func.int_const(b).filter(|by| (0..62).contains(by))?;
                (self.chain(a)?, smallvec![Constant(1 << by)])
            }
            _ => return None,
        };
        let chain = match op {
            Op::Iadd | Op::IaddExit => self.termwise(Op::Iadd, &x, &y)?,
            Op::Isub | Op::IsubExit => self.termwise(Op::Isub, &x, &y)?,
            _ => self.product(&x, &y)?,
        };
        if chain.len() > 1 && !self.fits.contains(&chain) {
            self.fits.push(chain.clone());
        }
        Some(chain)
    }

    fn termwise(&mut self, op: Op, x: &Chain, y: &Chain) -> Option<Chain> {
        let of = |chain: &Chain, i: usize| chain.get(i).copied().unwrap_or(Constant(0));
        (0..x.len().max(y.len())).map(|i| self.arithmetic(op, of(x, i), of(y, i))).collect()
    }

    /// The product of binomials over i and j is a sum over k of binomials over k, k! / ((k - i)! (k - j)! (i + j - k)!) of each.
    fn product(&mut self, x: &Chain, y: &Chain) -> Option<Chain> {
        let degree = x.len() + y.len() - 2;
        if degree > DEGREE {
            return None;
        }
        let factorial = |n: usize| (1..=n as i64).product::<i64>();
        let mut product: Chain = smallvec![Constant(0); degree + 1];
        for (i, &a) in x.iter().enumerate() {
            for (j, &b) in y.iter().enumerate() {
                let ab = self.arithmetic(Op::Imul, a, b)?;
                for k in i.max(j)..=i + j {
                    let times = factorial(k) / (factorial(k - i) * factorial(k - j) * factorial(i + j - k));
                    let term = self.arithmetic(Op::Imul, ab, Constant(times))?;
                    product[k] = self.arithmetic(Op::Iadd, product[k], term)?;
                }
            }
        }
        Some(product)
    }

    /// The map that makes a value of parameters, if it is one and not the same in all turns.
    fn map(&mut self, search: &mut Search<'_>, value: Value) -> Option<Affine> {
        if let Some(itself) = search.itself(value) {
            return Some(itself);
        }
        if !self.inside(value) || self.depth > DEPTH {
            return None;
        }
        if let Some(known) = search.known.get(&value) {
            return known.clone();
        }
        self.depth += 1;
        let map = self.find_map(search, value);
        self.depth -= 1;
        search.known.insert(value, map.clone());
        map
    }

    fn find_map(&mut self, search: &mut Search<'_>, value: Value) -> Option<Affine> {
        if let Some((inner, by)) = self.remainder(value) {
            return if Some(by) == search.modulus { self.map(search, inner) } else { None };
        }
        let data = self.func.def(value)?;
        let (op, a, b) = (data.op, *data.args.first()?, *data.args.get(1)?);
        let (op, commutes) = match op {
            Op::Iadd | Op::IaddExit => (Op::Iadd, true),
            // What is reduced may not become negative.
            Op::Isub | Op::IsubExit if search.modulus.is_none() => (Op::Isub, false),
            Op::Imul | Op::ImulExit => (Op::Imul, true),
            Op::Ishl => (Op::Ishl, false),
            _ => return None,
        };
        let x = self.map(search, a);
        let y = if commutes { self.map(search, b) } else { None };
        let (Affine { mut factors, added }, other) = match (x, y) {
            (Some(x), Some(y)) => {
                if op != Op::Iadd {
                    return None;
                }
                let mut factors = x.factors;
                for (factor, more) in factors.iter_mut().zip(y.factors) {
                    *factor = self.arithmetic(op, *factor, more)?;
                }
                search.steps.push((value, Step::Add(smallvec![Constant(0)])));
                return Some(Affine { factors, added: self.termwise(op, &x.added, &y.added)? });
            }
            (Some(x), None) => (x, b),
            (None, Some(y)) => (y, a),
            (None, None) => return None,
        };
        let times = match op {
            Op::Ishl => Some(Constant(1 << self.func.int_const(other).filter(|by| (0..62).contains(by))?)),
            Op::Imul => match self.chain(other)?[..] {
                [by] => Some(by),
                _ => return None,
            },
            _ => None,
        };
        if let Some(by) = times {
            search.steps.push((value, Step::Multiply(by)));
            for factor in &mut factors {
                *factor = self.arithmetic(Op::Imul, *factor, by)?;
            }
            return Some(Affine { factors, added: self.product(&added, &smallvec![by])? });
        }
        let piece = self.chain(other)?;
        let added = self.termwise(op, &added, &piece)?;
        search.steps.push((value, Step::Add(piece)));
        Some(Affine { factors, added })
    }

    /// What a remainder is of, and by what; nothing if that changes from turn to turn.
    fn remainder(&self, value: Value) -> Option<(Value, Coefficient)> {
        let data = self.func.def(value)?;
        let (&a, &b) = (data.args.first()?, data.args.get(1)?);
        match (data.op, self.func.int_const(b)) {
            (Op::Irem, Some(by)) => Some((a, Constant(by))),
            (Op::Irem, None) if !self.inside(b) => Some((a, Coefficient::Value(b))),
            // What is not negative is reduced by a power of two so.
            (Op::Iand, Some(mask)) if (0..MODULUS).contains(&mask) => {
                (mask & (mask + 1) == 0).then_some((a, Constant(mask + 1)))
            }
            _ => None,
        }
    }

    /// What a parameter of the header is.
    fn parameter(&mut self, i: usize) -> Option<Parameter> {
        let param = self.func.blocks[self.shape.header].params[i];
        let (base, next) = (Coefficient::Value(self.base[i]), self.shape.next[i]);
        let base = self.func.int_const(self.base[i]).map_or(base, Constant);
        if next == param {
            return Some(Parameter::Chain(smallvec![base]));
        }
        if self.func.ty(param) != Type::Int {
            return None;
        }
        let params = [param];
        if let Some((value, modulus)) = self.remainder(next) {
            let mut search = Search::new(&params, Some(modulus));
            let map = self.map(&mut search, value)?;
            if map.added.len() > if map.adds() { DEGREE } else { MAP_DEGREE } {
                return None;
            }
            let steps = self.went_by(search);
            return Some(Parameter::Reduced(Reduced { map, steps, modulus }));
        }
        let map = self.map(&mut Search::new(&params, None), next)?;
        if !map.adds() || map.added.len() > DEGREE {
            return None;
        }
        Some(Parameter::Chain(std::iter::once(base).chain(map.added).collect()))
    }

    /// Two parameters of the header as a pair.
    fn pair(&mut self, places: [usize; 2]) -> Option<Pair> {
        let params = places.map(|i| self.func.blocks[self.shape.header].params[i]);
        if params.iter().any(|&p| self.func.ty(p) != Type::Int) {
            return None;
        }
        let nexts = places.map(|i| self.shape.next[i]);
        let moduli = nexts.map(|next| self.remainder(next).map(|r| r.1));
        let modulus = moduli[0].or(moduli[1])?;
        if moduli.iter().flatten().any(|&m| m != modulus) {
            return None;
        }
        let mut search = Search::new(&params, Some(modulus));
        let mut map = |next: Value| match self.remainder(next) {
            Some((value, _)) => self.map(&mut search, value),
            // What is not reduced is as it was.
            None => search.itself(next),
        };
        let maps = [map(nexts[0])?, map(nexts[1])?];
        if maps.iter().any(|map| map.added.len() > MAP_DEGREE) {
            return None;
        }
        let steps = self.went_by(search);
        Some(Pair { places, maps, steps, modulus })
    }

    /// The steps of what was found. The values on the way are partial.
    fn went_by(&mut self, search: Search<'_>) -> Vec<Step> {
        let (values, steps): (Vec<Value>, Vec<Step>) = search.steps.into_iter().unzip();
        self.partial.extend(values);
        steps
    }

    /// All parameters, and what is asked of the instructions: all that may leave are chains, or partial sums.
    fn all(&mut self) -> Option<(Vec<Parameter>, Option<Pair>)> {
        let count = self.shape.next.len();
        let mut parameters: Vec<Option<Parameter>> = Vec::with_capacity(count);
        for i in 0..count {
            let param = self.func.blocks[self.shape.header].params[i];
            let parameter = match self.chain(param) {
                Some(chain) => Some(Parameter::Chain(chain)),
                None => self.parameter(i),
            };
            parameters.push(parameter);
        }
        // What is nothing by itself may be together with another.
        let mut open = (0..count).filter(|&i| parameters[i].is_none());
        let pair = match (open.next(), open.next(), open.next()) {
            (None, ..) => None,
            (Some(a), Some(b), None) => Some(self.pair([a, b])?),
            (Some(a), None, _) => {
                let reduced = |i: &usize| matches!(parameters[*i], Some(Parameter::Reduced(_)));
                Some((0..count).filter(reduced).find_map(|b| self.pair([a, b]))?)
            }
            _ => return None,
        };
        for (i, place) in pair.iter().flat_map(|pair| pair.places).enumerate() {
            parameters[place] = Some(Parameter::Paired(i));
        }
        let parameters = parameters.into_iter().collect::<Option<Vec<_>>>()?;
        for &inst in &self.shape.insts {
            let data = &self.func.insts[inst];
            if data.op.info().leaves
                && let Some(value) = data.result.expand()
                && !self.partial.contains(&value)
            {
                self.chain(value)?;
            }
        }
        Some((parameters, pair))
    }

    /// How many further turns there are.
    fn turns(&mut self) -> Option<Value> {
        let [x, y] = self.shape.sides;
        let mut cond = self.shape.cond;
        let (mut x, mut y) = (self.chain(x)?, self.chain(y)?);
        if x.len() == 1 {
            (x, y) = (y, x);
            cond = cond.swapped();
        }
        let (&[first, Constant(step)], &[limit]) = (&x[..], &y[..]) else { return None };
        let (from, to, by) =
            if step > 0 { (first, limit, step) } else { (limit, first, step.checked_neg()?) };
        let distance = self.arithmetic(Op::Isub, to, from)?;
        // Steps of one are as many as the distance, or one more.
        let (beside, more) = match cond {
            Cond::Lt if step == 1 => (0, 0),
            Cond::Gt if step == -1 => (0, 0),
            Cond::Lt if step > 0 => (-1, 1),
            Cond::Gt if step < 0 => (-1, 1),
            Cond::Le if step > 0 => (0, 1),
            Cond::Ge if step < 0 => (0, 1),
            Cond::Ne if by == 1 => (0, 0),
            _ => return None,
        };
        if by == 0 || by > i64::from(i32::MAX) {
            return None;
        }
        let distance = self.arithmetic(Op::Iadd, distance, Constant(beside))?;
        let mut distance = self.value(distance);
        if by != 1 {
            let by = self.iconst(by);
            distance = self.op(Op::Idiv, distance, by);
        }
        let turns = self.arithmetic(Op::Iadd, Coefficient::Value(distance), Constant(more))?;
        Some(self.value(turns))
    }

    // ---- Many turns ----

    /// The binomials of a number of turns over 0, 1, 2, ... up to a degree.
    fn binomials(&mut self, turns: Value, degree: usize) -> Vec<Value> {
        let mut all = vec![self.iconst(1), turns];
        for k in 2..=degree {
            let (less, by) = (self.iconst(k as i64 - 1), self.iconst(k as i64));
            let left = self.op(Op::Isub, turns, less);
            let product = self.op(Op::Imul, all[k - 1], left);
            all.push(self.op(Op::Idiv, product, by));
        }
        all
    }

    /// What a chain is after some turns.
    fn after(&mut self, chain: &Chain, binomials: &[Value]) -> Value {
        let mut sum = self.value(chain[0]);
        for (&c, &n) in chain.iter().zip(binomials).skip(1) {
            let term = match c {
                Constant(0) => continue,
                Constant(1) => n,
                c => {
                    let c = self.value(c);
                    self.op(Op::Imul, c, n)
                }
            };
            sum = self.op(Op::Iadd, sum, term);
        }
        sum
    }

    /// What is mapped and reduced in each of some turns, after them.
    fn mapped(&mut self, reduced: &Reduced, first: Value, turns: Value) -> Value {
        let added = |i: usize| reduced.map.added.get(i).copied().unwrap_or(Constant(0));
        let [factor, modulus, constant, step] =
            [reduced.map.factors[0], reduced.modulus, added(0), added(1)].map(|c| self.value(c));
        let site = self.func.sites.push(Helper::AffineRest.site());
        let args = [first, factor, modulus, turns, constant, step];
        self.def(InstData::new(Op::Helper, &args).imm(Helper::AffineRest as i64).site(site))
    }

    /// What a pair is after some turns.
    fn mapped_pair(&mut self, pair: &Pair, first: [Value; 2], turns: Value) -> [Value; 2] {
        let [x, y] = &pair.maps;
        let added = |map: &Affine, i: usize| map.added.get(i).copied().unwrap_or(Constant(0));
        let rows = [
            [x.factors[0], x.factors[1]],
            [y.factors[0], y.factors[1]],
            [added(x, 0), added(y, 0)],
            [added(x, 1), added(y, 1)],
        ];
        let mut args = vec![self.pack(first)];
        for row in rows {
            let row = row.map(|c| self.rest(c, pair.modulus));
            args.push(self.pack(row));
        }
        let modulus = self.value(pair.modulus);
        args.push(self.pack([turns, modulus]));
        let site = self.func.sites.push(Helper::AffinePair.site());
        let both = self.def(InstData::new(Op::Helper, &args).imm(Helper::AffinePair as i64).site(site));
        let half = self.iconst(32);
        let second = self.iconst(0xFFFF_FFFF);
        [self.op(Op::IshrU, both, half), self.op(Op::Iand, both, second)]
    }

    /// Two ints below 2^32 in one.
    fn pack(&mut self, [first, second]: [Value; 2]) -> Value {
        let half = self.iconst(32);
        let first = self.op(Op::Ishl, first, half);
        self.op(Op::Ior, first, second)
    }

    /// A coefficient that is not negative as something below 2^32 that is the same modulo something that is at most 2^31.
    fn rest(&mut self, c: Coefficient, modulus: Coefficient) -> Value {
        let value = self.value(c);
        match c {
            Constant(0..MODULUS) => value,
            _ => {
                let modulus = self.value(modulus);
                self.op(Op::Irem, value, modulus)
            }
        }
    }

    /// Notes as conditions that nothing is negative in what is reduced, and no factor 0, so that nothing on the way is more than
    /// the whole, and that the modulus is one.
    fn reducible(&mut self, steps: &[Step], first: &[Value], modulus: Coefficient) -> Option<()> {
        for step in steps {
            match step {
                Step::Add(piece) => piece.iter().try_for_each(|&c| self.require(Cond::Ge, c, 0))?,
                Step::Multiply(by) => self.require(Cond::Gt, *by, 0)?,
            }
        }
        first.iter().try_for_each(|&v| self.require(Cond::Ge, Coefficient::Value(v), 0))?;
        self.require(Cond::Gt, modulus, 0)?;
        self.require(Cond::Le, modulus, MODULUS)
    }

    /// Notes as a condition that a map of what is at most this fits, with all that is added in so many turns.
    fn bound_map(&mut self, map: &Affine, most: Coefficient, binomials: &[Value]) -> Option<()> {
        let mut sum = map.added.clone();
        for &factor in &map.factors {
            let from = self.arithmetic(Op::Imul, factor, most)?;
            sum[0] = self.arithmetic(Op::Iadd, sum[0], from)?;
        }
        self.bound(&sum, binomials)
    }

    /// Notes as a condition that the sum of the terms' magnitudes fits, and so the chain in each of the turns.
    fn bound(&mut self, chain: &Chain, binomials: &[Value]) -> Option<()> {
        let mut sum = Constant(0);
        for (&c, &n) in chain.iter().zip(binomials) {
            let size = match c {
                Constant(c) => Constant(c.checked_abs()?),
                Coefficient::Value(v) => {
                    let zero = self.iconst(0);
                    let less = self.op(Op::Isub, zero, v);
                    let size = self.op(Op::Imax, v, less);
                    // That of the least int is none.
                    self.require(Cond::Ge, Coefficient::Value(size), 0)?;
                    Coefficient::Value(size)
                }
            };
            let term = if n == binomials[0] {
                size
            } else {
                self.arithmetic(Op::Imul, size, Coefficient::Value(n))?
            };
            sum = self.arithmetic(Op::Iadd, sum, term)?;
        }
        Some(())
    }
}

/// Puts the code before a loop that skips turns.
fn skip(func: &mut Function, loops: &Loops, shape: &Shape) -> Option<()> {
    let types: Vec<Type> = func.blocks[shape.header].params.iter().map(|&p| func.ty(p)).collect();
    let block = |func: &mut Function| func.blocks.push(BlockData::default());
    let (enter, strip, check, fewer, take) =
        (block(func), block(func), block(func), block(func), block(func));
    let plain = block(func);
    let base: Vec<Value> = types.iter().map(|&ty| func.add_param(strip, ty)).collect();
    let (left, strips) = (func.add_param(strip, Type::Int), func.add_param(strip, Type::Int));
    let tried = func.add_param(check, Type::Int);
    let to = |block: Block, args: &[Value]| Target { block, args: args.into() };
    let with = |args: &[Value], more: &[Value]| [args, more].concat();

    // How many turns there are, and whether they are worth it.
    let mut chains = Chains::new(func, loops, shape, &shape.first);
    let turns = chains.turns()?;
    let most = chains.iconst(STRIPS);
    let (at_enter, wrapped) = (chains.emitted, chains.wrapped);

    // What parameters and values are, seen from the turn that is due.
    let mut chains = Chains::new(func, loops, shape, &base);
    let (parameters, pair) = chains.all()?;
    let degree = |p: &Parameter| match p {
        Parameter::Chain(chain) => chain.len() - 1,
        Parameter::Reduced(reduced) => reduced.map.added.len(),
        // The number of turns is one of two in an int.
        Parameter::Paired(_) => 2,
    };
    let maps = parameters.iter().any(|p| matches!(p, Parameter::Reduced(r) if !r.map.adds()));
    let few = match &pair {
        Some(_) => FEW_PAIRS,
        None if maps => FEW_MAPS,
        None => FEW,
    };
    let fits = chains.fits.clone();
    let degree = parameters.iter().map(degree).chain(fits.iter().map(|c| c.len() - 1)).max()?.max(1);
    let at_once = chains.iconst(*TURNS.get(degree)?);
    let at_once = chains.op(Op::Imin, left, at_once);
    for (parameter, &first) in parameters.iter().zip(&base) {
        if let Parameter::Reduced(reduced) = parameter {
            chains.reducible(&reduced.steps, &[first], reduced.modulus)?;
        }
    }
    if let Some(pair) = &pair {
        let first = pair.places.map(|i| base[i]);
        chains.reducible(&pair.steps, &first, pair.modulus)?;
        let modulus = chains.value(pair.modulus);
        for first in first {
            // So that a copy is reduced, too.
            let less = chains.def(InstData::new(Op::Icmp, &[first, modulus]).imm(Cond::Lt as i64));
            chains.holds.push(less);
        }
    }
    let exact = chains.condition();
    let at_strip = std::mem::take(&mut chains.emitted);

    // Whether all fits for so many turns.
    let binomials = chains.binomials(tried, degree);
    for chain in &fits {
        chains.bound(chain, &binomials)?;
    }
    for (parameter, &first) in parameters.iter().zip(&base) {
        if let Parameter::Reduced(reduced) = parameter {
            // The largest: of the first value or a rest, and what is added last.
            let from = chains.arithmetic(Op::Iadd, Coefficient::Value(first), reduced.modulus)?;
            chains.bound_map(&reduced.map, from, &binomials)?;
        }
    }
    if let Some(pair) = &pair {
        pair.maps.iter().try_for_each(|map| chains.bound_map(map, pair.modulus, &binomials))?;
    }
    let fit = chains.condition();
    let at_check = std::mem::take(&mut chains.emitted);

    // An eighth of that.
    let three = chains.iconst(3);
    let eighth = chains.op(Op::IshrS, tried, three);
    let enough = chains.compare(Cond::Ge, eighth, few / 2);
    let at_fewer = std::mem::take(&mut chains.emitted);

    // The turn that is due then.
    let units = chains.iconst(shape.units);
    let site = chains.func.sites.push(Helper::SkipTurns.site());
    let skipped = InstData::new(Op::Helper, &[tried, units]).imm(Helper::SkipTurns as i64).site(site);
    let skipped = chains.def(skipped);
    let binomials = chains.binomials(skipped, degree);
    let paired = pair.as_ref().map(|pair| chains.mapped_pair(pair, pair.places.map(|i| base[i]), skipped));
    let mut then = Vec::with_capacity(base.len());
    for (parameter, &first) in parameters.iter().zip(&base) {
        let value = match parameter {
            Parameter::Paired(i) => paired?[*i],
            Parameter::Chain(chain) if chain.len() == 1 => first,
            Parameter::Chain(chain) => chains.after(chain, &binomials),
            Parameter::Reduced(reduced) if !reduced.map.adds() => chains.mapped(reduced, first, skipped),
            Parameter::Reduced(reduced) => {
                let modulus = chains.value(reduced.modulus);
                let mut sum = chains.op(Op::Irem, first, modulus);
                for (&c, &n) in reduced.map.added.iter().zip(&binomials[1..]).filter(|t| *t.0 != Constant(0))
                {
                    // Each less than 2^31.
                    let c = chains.value(c);
                    let (c, n) = (chains.op(Op::Irem, c, modulus), chains.op(Op::Irem, n, modulus));
                    let term = chains.op(Op::Imul, c, n);
                    let term = chains.op(Op::Irem, term, modulus);
                    sum = chains.op(Op::Iadd, sum, term);
                }
                let rest = chains.op(Op::Irem, sum, modulus);
                chains.def(InstData::new(Op::SelectInt, &[skipped, rest, first]))
            }
        };
        then.push(value);
    }
    let rest = chains.op(Op::Isub, left, skipped);
    let one = chains.iconst(1);
    let again = chains.op(Op::Isub, strips, one);
    let more = chains.compare(Cond::Ge, rest, few);
    let some = chains.compare(Cond::Gt, skipped, 0);
    let further = chains.compare(Cond::Gt, again, 0);
    let more = chains.op(Op::Iand, more, some);
    let more = chains.op(Op::Iand, more, further);
    let at_take = std::mem::take(&mut chains.emitted);

    (chains.emitted, chains.wrapped) = (at_enter, wrapped);
    chains.require(Cond::Ge, Coefficient::Value(turns), few)?;
    let ready = chains.condition();
    let at_enter = chains.emitted;
    if [&at_enter, &at_strip, &at_check, &at_fewer, &at_take].iter().map(|b| b.len()).sum::<usize>() > EMITTED
    {
        return None;
    }

    let way = func.terminator(shape.from)?;
    func.insts[way].targets[shape.target as usize] = Target::new(enter);
    // The turns that are due are done by a copy, so that the loop starts as it did where there are few.
    let copied = copy(func, &loops.loops[shape.id].blocks);
    let due = copied.block(shape.header);
    for block in
        loops.loops[shape.id].blocks.iter().map(|&b| copied.block(b)).chain([strip, check, fewer, take])
    {
        // It is run once where the loop would be many times, and must not be in the way of those that are short.
        func.blocks[block].cold = true;
    }
    func.layout.extend(loops.loops[shape.id].blocks.iter().map(|&b| copied.block(b)));
    let branch = |c: Value, a: Target, b: Target| InstData::new(Op::Branch, &[c]).targets([a, b]);
    let mut finish = |block: Block, insts: Vec<Inst>, end: InstData| {
        func.blocks[block].insts = insts;
        func.append(block, end);
    };
    finish(enter, at_enter, branch(ready, to(strip, &with(&shape.first, &[turns, most])), to(plain, &[])));
    finish(strip, at_strip, branch(exact, to(check, &[at_once]), to(due, &base)));
    finish(check, at_check, branch(fit, to(take, &[]), to(fewer, &[])));
    finish(fewer, at_fewer, branch(enough, to(check, &[eighth]), to(due, &base)));
    finish(take, at_take, branch(more, to(strip, &with(&then, &[rest, again])), to(due, &then)));
    finish(plain, Vec::new(), InstData::new(Op::Jump, &[]).targets([to(shape.header, &shape.first)]));
    func.layout.extend([enter, strip, check, fewer, take, plain]);
    let (function, word) = shape.position;
    for block in [enter, strip, check, fewer, take, plain] {
        func.blocks[block].position = Some(shape.position);
    }
    func.notes.push(Note { function, word, made: Made::Skipped });
    Some(())
}
