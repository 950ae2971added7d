//! Sums that would take longer to overflow than anything runs.
//!
//! What starts near zero and changes by little in each addition that is done has to be added to for years before it overflows: a value
//! that begins within 2^62 and changes by at most [`STEP`] each time needs 2^58 additions to leave 63 bits, and at three thousand million
//! of them a second these take three years. So counters need no checks, whatever the loops around them do: `n = n + 1` in a loop
//! without a known end, a count of what matched, a difference of two such counts that goes up and down.
//!
//! A value *counts* if it is a sum or difference of one that counts, or is near zero, and a small one; or a choice, or a parameter,
//! between such. The largest set of values for which that holds is found by assuming it of all and taking back what fails
//! (`ranges.rs` knows intervals, which such values outgrow turn by turn, and bounds that loops have, which these need not have).
//! Behind it no check of a sum in the set is needed, so none keeps a frame state alive.

use cranelift_entity::EntitySet;

use super::bounds;
use crate::cfg::Analyses;
use crate::ir::{Function, InstData, Op, Type, Value};

/// The most that one addition changes.
const STEP: u64 = 16;
/// Where values may start.
const NEAR: u64 = 1 << 62;

/// How often the function is walked before that is given up. Each walk follows a chain of values to its end, up to the way back of a loop.
const WALKS: usize = 24;

/// Runs the pass.
pub fn run(func: &mut Function, _: &mut Analyses) -> usize {
    let checked = |data: &InstData| matches!(data.op, Op::IaddExit | Op::IsubExit);
    let insts = || func.layout.iter().flat_map(|&b| &func.blocks[b].insts).copied();
    if !insts().any(|inst| checked(&func.insts[inst])) {
        return 0;
    }
    let mut counts = Counts { func, set: EntitySet::with_capacity(func.values.len()) };
    let entry = func.entry();
    for &block in func.layout.iter().filter(|&&b| b != entry) {
        counts.set.extend(func.blocks[block].params.iter().copied().filter(|&p| func.ty(p) == Type::Int));
    }
    let results = insts().filter_map(|inst| {
        let data = &func.insts[inst];
        adds_or_chooses(data.op).then(|| data.result.expand()).flatten()
    });
    counts.set.extend(results);
    if !(0..WALKS).any(|_| !counts.take_back()) {
        return 0;
    }
    let fitting: Vec<_> = insts()
        .filter(|&inst| {
            let data = &func.insts[inst];
            checked(data) && data.result.expand().is_some_and(|v| counts.set.contains(v))
        })
        .collect();
    for &inst in &fitting {
        let data = &func.insts[inst];
        let op = if data.op == Op::IaddExit { Op::Iadd } else { Op::Isub };
        func.insts[inst] = InstData { result: data.result, ..InstData::new(op, &data.args) };
    }
    fitting.len()
}

fn adds_or_chooses(op: Op) -> bool {
    matches!(op, Op::Iadd | Op::IaddExit | Op::Isub | Op::IsubExit | Op::SelectInt | Op::Imin | Op::Imax)
}

struct Counts<'a> {
    func: &'a Function,
    /// What is taken to count.
    set: EntitySet<Value>,
}

impl Counts<'_> {
    /// Takes values back that do not count as the others are taken; whether there were any.
    fn take_back(&mut self) -> bool {
        let func = self.func;
        let mut failed = false;
        for &inst in func.layout.iter().flat_map(|&b| &func.blocks[b].insts) {
            let data = &func.insts[inst];
            for target in &data.targets {
                for (&param, &arg) in func.blocks[target.block].params.iter().zip(&target.args) {
                    if self.set.contains(param) && !self.counts(arg) {
                        failed |= self.set.remove(param);
                    }
                }
            }
            let Some(result) = data.result.expand().filter(|&v| self.set.contains(v)) else { continue };
            let args = &data.args;
            let holds = match data.op {
                Op::Iadd | Op::IaddExit => {
                    self.counts(args[0]) && self.most(args[1]) <= STEP
                        || self.counts(args[1]) && self.most(args[0]) <= STEP
                }
                Op::Isub | Op::IsubExit => self.counts(args[0]) && self.most(args[1]) <= STEP,
                Op::SelectInt => self.counts(args[1]) && self.counts(args[2]),
                _ => self.counts(args[0]) && self.counts(args[1]),
            };
            if !holds {
                failed |= self.set.remove(result);
            }
        }
        failed
    }

    /// Whether a value is in the set, or where values may start.
    fn counts(&self, value: Value) -> bool {
        self.set.contains(value) || self.most(value) <= NEAR
    }

    /// The largest magnitude that a value can have, as its definition alone shows.
    fn most(&self, value: Value) -> u64 {
        let bounds = bounds(self.func, value).or_else(|| self.wide(value));
        bounds.map_or(u64::MAX, |(low, high)| low.unsigned_abs().max(high.unsigned_abs()))
    }

    /// What a value lies between that is smaller than another, which may be anything, or one of two constants.
    fn wide(&self, value: Value) -> Option<(i64, i64)> {
        let data = self.func.def(value)?;
        let constant = |i: usize| self.func.int_const(data.args[i]);
        match data.op {
            Op::Iextend32 => Some((i32::MIN.into(), i32::MAX.into())),
            Op::Idiv => {
                let d = constant(1)?.unsigned_abs();
                let most = i64::MIN.unsigned_abs().checked_div(d).filter(|_| d > 1)? as i64;
                Some((-most, most))
            }
            Op::IshrS => constant(1).map(|by| (i64::MIN >> (by & 63), i64::MAX >> (by & 63))),
            Op::IshrU => {
                constant(1).map(|by| by & 63).filter(|&by| by > 0).map(|by| (0, (u64::MAX >> by) as i64))
            }
            Op::SelectInt => {
                let (a, b) = (constant(1)?, constant(2)?);
                Some((a.min(b), a.max(b)))
            }
            _ => None,
        }
    }
}
