//! Which units of the code memory are free.
//!
//! Free ranges are kept twice, ordered by start (to merge neighbours) and by length (to find the shortest that is long
//! enough; among equals the lowest, which keeps live code together). Both steps are logarithmic in the number of free
//! ranges, which neighbours that merge keep at or below the number of live blocks plus one. A first fit over the ordered
//! starts was not taken: it walks past every small hole.
//!
//! Works on numbers alone; no memory is touched here.

use std::collections::{BTreeMap, BTreeSet};

/// The free ranges. No two of them overlap or touch.
#[derive(Debug)]
pub(super) struct Ranges {
    /// From start to length.
    by_start: BTreeMap<u32, u32>,
    /// The same as length and start.
    by_len: BTreeSet<(u32, u32)>,
}

impl Ranges {
    /// All units from 0 to `units` are free.
    pub(super) fn new(units: u32) -> Ranges {
        let mut ranges = Ranges { by_start: BTreeMap::new(), by_len: BTreeSet::new() };
        if units > 0 {
            ranges.insert(0, units);
        }
        ranges
    }

    /// Takes `units` (not 0) units and gives the first of them; `None` where no free range is long enough.
    pub(super) fn take(&mut self, units: u32) -> Option<u32> {
        let &(len, start) = self.by_len.range((units, 0)..).next()?;
        self.remove(start, len);
        if len > units {
            self.insert(start + units, len - units);
        }
        Some(start)
    }

    /// Gives back a range that was taken.
    pub(super) fn give(&mut self, start: u32, units: u32) {
        let (mut first, mut len) = (start, units);
        if let Some((&before, &before_len)) = self.by_start.range(..start).next_back() {
            debug_assert!(before + before_len <= start, "a range is given back twice");
            if before + before_len == start {
                self.remove(before, before_len);
                first = before;
                len += before_len;
            }
        }
        if let Some((&after, &after_len)) = self.by_start.range(start..).next() {
            debug_assert!(start + units <= after, "a range is given back twice");
            if start + units == after {
                self.remove(after, after_len);
                len += after_len;
            }
        }
        self.insert(first, len);
    }

    fn insert(&mut self, start: u32, len: u32) {
        self.by_start.insert(start, len);
        self.by_len.insert((len, start));
    }

    fn remove(&mut self, start: u32, len: u32) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;
    use crate::code_memory::tests::Random;

    /// What the indexes must say, given which units are taken.
    fn check(ranges: &Ranges, taken: &[bool]) {
        let mut expected = Vec::new();
        let mut at = 0;
        while at < taken.len() {
            let len = taken[at..].iter().take_while(|&&t| t == taken[at]).count();
            if !taken[at] {
                expected.push((at as u32, len as u32));
            }
            at += len;
        }
        assert!(ranges.by_start.iter().map(|(&s, &l)| (s, l)).eq(expected.iter().copied()));
        expected.iter_mut().for_each(|(start, len)| std::mem::swap(start, len));
        expected.sort_unstable();
        assert!(ranges.by_len.iter().copied().eq(expected));
    }

    #[test]
    fn agrees_with_a_table_of_units() {
        const UNITS: usize = 300;
        let mut random = Random(7);
        let mut ranges = Ranges::new(UNITS as u32);
        let mut taken = [false; UNITS];
        let mut live: Vec<(u32, u32)> = Vec::new();
        for _ in 0..20_000 {
            if random.below(2) == 0 {
                let units = 1 + random.below(24) as u32;
                let fits = taken.split(|&t| t).filter(|free| free.len() >= units as usize);
                let best = fits.map(<[bool]>::len).min();
                let got = ranges.take(units);
                assert_eq!(got.is_some(), best.is_some());
                if let Some(start) = got {
                    let range = start as usize..(start + units) as usize;
                    assert!(!taken[range.clone()].contains(&true));
                    taken[range].fill(true);
                    live.push((start, units));
                }
            } else if !live.is_empty() {
                let (start, units) = live.swap_remove(random.below(live.len()));
                taken[start as usize..(start + units) as usize].fill(false);
                ranges.give(start, units);
            }
            check(&ranges, &taken);
        }
        for (start, units) in live {
            ranges.give(start, units);
        }
        check(&ranges, &[false; UNITS]);
    }

    #[test]
    fn the_tightest_hole_is_taken_and_the_lowest_of_equals() {
        let mut ranges = Ranges::new(100);
        assert_eq!(ranges.take(100), Some(0));
        for (start, units) in [(10, 8), (30, 5), (50, 5), (70, 20)] {
            ranges.give(start, units);
        }
        assert_eq!(ranges.take(5), Some(30));
        assert_eq!(ranges.take(4), Some(50));
        assert_eq!(ranges.take(6), Some(10));
        assert_eq!(ranges.take(21), None);
        assert_eq!(ranges.take(20), Some(70));
    }

    #[test]
    fn no_units_at_all() {
        assert_eq!(Ranges::new(0).take(1), None);
    }
}
