//! Intervals of ints.

/// The ints that one may be subtracted from or added to.
pub(super) const LEAST: i64 = i64::MIN + 1;
pub(super) const MOST: i64 = i64::MAX - 1;

/// The ints from one to another, which is not smaller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) lo: i64,
    pub(super) hi: i64,
}

impl Range {
    pub(super) const ANY: Range = Range { lo: i64::MIN, hi: i64::MAX };
    pub(super) const BOOL: Range = Range { lo: 0, hi: 1 };

    pub(super) const fn new(lo: i64, hi: i64) -> Range {
        Range { lo, hi }
    }

    pub(super) fn join(self, other: Range) -> Range {
        Range { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// What is in both; what has nothing in common is not reached, and stays as it was.
    pub(super) fn meet(self, other: Range) -> Range {
        let both = Range { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) };
        if both.lo <= both.hi { both } else { self }
    }

    pub(super) fn within(self, other: Range) -> bool {
        other.lo <= self.lo && self.hi <= other.hi
    }

    pub(super) fn single(self) -> Option<i64> {
        (self.lo == self.hi).then_some(self.lo)
    }

    /// Of exact bounds: all of them if they fit, else what `outside` says.
    pub(super) fn exact(lo: i128, hi: i128, outside: impl FnOnce(i64, i64) -> Range) -> Range {
        let clamp = |x: i128| x.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        let (low, high) = (clamp(lo), clamp(hi));
        if i128::from(low) == lo && i128::from(high) == hi {
            Range::new(low, high)
        } else {
            outside(low, high)
        }
    }
}

/// What grows on a side is unknown there; but first it is what is next to the next of the ints that it is compared with, which are in
/// order, and then anything that one may be added to, since a test mostly stands between. `far` says on which sides that was done before.
pub(super) fn widen(before: Range, now: Range, compared: &[i64], far: &mut [bool; 2]) -> Range {
    let mut range = before;
    if now.lo < before.lo {
        let at = compared.partition_point(|&c| c.saturating_sub(1) <= now.lo);
        range.lo = match at.checked_sub(1).filter(|_| !std::mem::replace(&mut far[0], true)) {
            Some(at) => compared[at].saturating_sub(1),
            None if now.lo >= LEAST && before.lo > LEAST => LEAST,
            None => i64::MIN,
        };
    }
    if now.hi > before.hi {
        let at = compared.partition_point(|&c| c.saturating_add(1) < now.hi);
        range.hi = match compared.get(at).filter(|_| !std::mem::replace(&mut far[1], true)) {
            Some(&c) => c.saturating_add(1),
            None if now.hi <= MOST && before.hi < MOST => MOST,
            None => i64::MAX,
        };
    }
    range
}
