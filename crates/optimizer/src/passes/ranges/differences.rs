//! Whether one int is at most another plus a constant, and so whether comparisons are decided.

use super::interval::Range;
use super::{DEPTH, Header, Pass, STEPS};
use crate::ir::{Cond, Def, Op, Value};
use crate::passes::params::argument;

impl Pass<'_> {
    pub(super) fn range(&self, value: Value) -> Range {
        match self.func.int_const(value) {
            Some(k) => Range::new(k, k),
            None => self.ranges[value],
        }
    }

    /// For a sum of a value and a constant that fits: both.
    pub(super) fn sum(&self, value: Value) -> Option<(Value, i64)> {
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
    pub(super) fn at_most(&self, x: Value, y: Value, c: i64) -> bool {
        let mut steps = STEPS;
        self.at_most_within(x, y, c, DEPTH, &mut steps)
    }

    pub(super) fn at_most_within(&self, x: Value, y: Value, c: i64, depth: u32, steps: &mut u32) -> bool {
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
                    let arg = argument(self.func, e.from, e.target, i as usize);
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
    pub(super) fn decide(&self, cond: Cond, a: Value, b: Value) -> Option<bool> {
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
}
