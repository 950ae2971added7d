//! The interval of what each op gives, and what is better than an op whose operands and result have the intervals that they have.

use super::interval::Range;
use super::{Mode, Pass};
use crate::helper::Helper;
use crate::ir::{Cond, Inst, InstData, Op, Value};
use crate::passes::Rewriter;
use crate::passes::{LONGEST, loaded};

impl Pass<'_> {
    /// The interval of a result, and for sums, differences and products whether they fit.
    pub(super) fn transfer(&mut self, inst: Inst) -> (Range, bool) {
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
            Op::Load | Op::LoadAt => {
                plain(data.access.and_then(loaded).map_or(Range::ANY, |(low, high)| Range::new(low, high)))
            }
            Op::Helper => plain(match Helper::ALL.get(data.imm as usize) {
                Some(Helper::StringByteLen) => Range::new(0, LONGEST),
                Some(Helper::StringCodeAt) => Range::new(0, 0x10_FFFF),
                _ => Range::ANY,
            }),
            Op::StringLen | Op::AsciiLen => plain(Range::new(0, LONGEST)),
            _ => plain(Range::ANY),
        }
    }

    /// A sum, difference or product, plain, checked, or the question whether it overflows.
    pub(super) fn arithmetic(&self, inst: Inst, plain: Op, a: Range, b: Range) -> (Range, bool) {
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
    pub(super) fn difference(&self, plain: Op, x: Value, y: Value, range: Range, fits: bool) -> Range {
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
    pub(super) fn better(
        &mut self,
        out: &mut Rewriter,
        inst: Inst,
        range: Range,
        fits: bool,
    ) -> Option<Value> {
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
                let k = self.func.int_const(m)?;
                if k.count_ones() != 1 {
                    return self.natural(inst);
                }
                let mask = out.int(self.func, k - 1);
                self.ranges[mask] = Range::new(k - 1, k - 1);
                self.instead(inst, Op::Iand, &[x, mask]);
                None
            }
            // x / 2^k = x >> k where x is not negative
            (Op::Idiv, Some(x), Some(m)) if self.range(x).lo >= 0 => {
                let k = self.func.int_const(m).filter(|&k| k > 0)?;
                if k.count_ones() != 1 {
                    return self.natural(inst);
                }
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

    /// Notes that the dividend is not negative.
    fn natural(&mut self, inst: Inst) -> Option<Value> {
        let data = &mut self.func.insts[inst];
        self.changed += usize::from(data.imm == 0);
        data.imm = 1;
        None
    }

    pub(super) fn instead(&mut self, inst: Inst, op: Op, args: &[Value]) {
        let result = self.func.insts[inst].result;
        self.func.insts[inst] = InstData { result, ..InstData::new(op, args) };
        self.changed += 1;
    }
}
