//! What conditions say: of the interval of each operand, and of the difference of both.

use super::interval::Range;
use super::{Note, Pass, Undo};
use crate::ir::{Block, Cond, Op, Type, Value};
use crate::passes::is_bool;

impl Pass<'_> {
    /// What the way of a branch says.
    pub(super) fn edge_says(&mut self, from: Block, target: u32) {
        let Some(inst) = self.func.terminator(from) else { return };
        let data = &self.func.insts[inst];
        match data.op {
            Op::Branch if data.targets[0].block != data.targets[1].block => {
                self.says(data.args[0], target == 0, 8);
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
    pub(super) fn says(&mut self, cond: Value, truth: bool, depth: u32) {
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

    pub(super) fn not_zero(&mut self, value: Value, truth: bool) {
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
    pub(super) fn compared(&mut self, cond: Cond, a: Value, b: Value) {
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
    pub(super) fn less(&mut self, a: Value, b: Value, c: i64) {
        let (x, y) = (self.range(a), self.range(b));
        self.refine(a, Range::new(i64::MIN, y.hi.saturating_add(c)));
        self.refine(b, Range::new(x.lo.saturating_sub(c), i64::MAX));
        self.note(a, b, c);
        // x + k <= b + c is x <= b + (c - k), where the sum fits.
        if let Some((x, k)) = self.sum(a)
            && let Some(c) = c.checked_sub(k)
        {
            self.note(x, b, c);
        }
    }

    /// Without signs: a <= b + c.
    pub(super) fn less_unsigned(&mut self, a: Value, b: Value, c: i64) {
        if self.range(b).lo >= 0 {
            self.refine(a, Range::new(0, i64::MAX));
            self.less(a, b, c);
        }
    }

    /// (x << k) >> k = x says that x has that many bits.
    pub(super) fn fits_bits(&mut self, down: Value, x: Value) {
        if let Some(range) = self.shifted(down).filter(|s| s.0 == x).map(|s| s.1) {
            self.refine(x, range);
        }
    }

    /// For (x << k) >> k: x, and the ints that come through unchanged.
    pub(super) fn shifted(&self, down: Value) -> Option<(Value, Range)> {
        let data = self.func.def(down).filter(|d| d.op == Op::IshrS)?;
        let k = self.func.int_const(data.args[1])?;
        let up = self.func.def(data.args[0]).filter(|d| d.op == Op::Ishl)?;
        if self.func.int_const(up.args[1])? != k || !(1..64).contains(&k) {
            return None;
        }
        Some((up.args[0], Range::new(i64::MIN >> k, i64::MAX >> k)))
    }

    pub(super) fn refine(&mut self, value: Value, to: Range) {
        self.refine_within(value, to, 3);
    }

    pub(super) fn refine_within(&mut self, value: Value, to: Range, depth: u32) {
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
    pub(super) fn note(&mut self, x: Value, y: Value, c: i64) {
        let constant = |v| matches!(self.func.def(v).map(|d| d.op), Some(Op::Iconst));
        if x == y || constant(x) || constant(y) {
            return;
        }
        self.arena.push(Note { y, c, next: self.notes[x] });
        self.undo.push(Undo::Note(x, self.notes[x]));
        self.notes[x] = self.arena.len() as u32;
    }
}
