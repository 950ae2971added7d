//! Sets of slots, and maps from slots: sized by what they hold, not by the frame.
//!
//! A loop of a large function names few slots of a frame that may have a hundred thousand, and what is known of slots is kept for
//! each block and each instruction. So both are pages in order. A frame of ordinary size has all its first pages, which are found
//! where they would be in a plain table; other pages are searched for.

/// The pages that are there, by number, in order.
type Pages<T> = Vec<(u32, T)>;

/// Where a page is, or belongs.
fn find<T>(pages: &Pages<T>, page: u32) -> Result<usize, usize> {
    match pages.get(page as usize) {
        Some(p) if p.0 == page => Ok(page as usize),
        _ => pages.binary_search_by_key(&page, |p| p.0),
    }
}

/// A set of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots(Pages<u64>);

impl Slots {
    /// Adds a slot.
    pub fn insert(&mut self, slot: u32) {
        self.add(slot / 64, 1 << (slot % 64));
    }

    fn add(&mut self, page: u32, bits: u64) -> bool {
        match find(&self.0, page) {
            Ok(i) => {
                let old = self.0[i].1;
                self.0[i].1 |= bits;
                bits & !old != 0
            }
            Err(i) => {
                self.0.insert(i, (page, bits));
                bits != 0
            }
        }
    }

    /// Removes a slot.
    pub fn remove(&mut self, slot: u32) {
        if let Ok(i) = find(&self.0, slot / 64) {
            self.0[i].1 &= !(1 << (slot % 64));
        }
    }

    /// Whether a slot is in it.
    pub fn contains(&self, slot: u32) -> bool {
        find(&self.0, slot / 64).is_ok_and(|i| self.0[i].1 >> (slot % 64) & 1 != 0)
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|p| p.1 == 0)
    }

    /// Adds all slots of another set; whether that changed this one.
    pub fn union(&mut self, other: &Slots) -> bool {
        let mut changed = false;
        for &(page, bits) in &other.0 {
            changed |= self.add(page, bits);
        }
        changed
    }

    /// Removes all slots of another set.
    pub fn subtract(&mut self, other: &Slots) {
        for (page, bits) in &mut self.0 {
            if let Ok(i) = find(&other.0, *page) {
                *bits &= !other.0[i].1;
            }
        }
    }

    /// The slots in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|&(page, word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    page * 64 + bit
                })
            })
        })
    }
}

/// Slots of a page of a [`SlotMap`].
const PAGE: u32 = 16;

/// Something about each slot, which for most is the default.
#[derive(Clone, Debug, Default)]
pub struct SlotMap<T>(Pages<[T; PAGE as usize]>);

impl<T: Copy + Default + PartialEq> SlotMap<T> {
    /// What there is about a slot.
    pub fn get(&self, slot: u32) -> T {
        find(&self.0, slot / PAGE).map_or_else(|_| T::default(), |i| self.0[i].1[(slot % PAGE) as usize])
    }

    /// Changes it.
    pub fn set(&mut self, slot: u32, to: T) {
        let i = match find(&self.0, slot / PAGE) {
            Ok(i) => i,
            Err(_) if to == T::default() => return,
            Err(i) => {
                self.0.insert(i, (slot / PAGE, [T::default(); PAGE as usize]));
                i
            }
        };
        self.0[i].1[(slot % PAGE) as usize] = to;
    }

    /// The slots with something else than the default, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, T)> + '_ {
        let places = self.0.iter().flat_map(|(page, all)| (page * PAGE..).zip(all));
        places.filter(|(_, t)| **t != T::default()).map(|(slot, t)| (slot, *t))
    }

    /// Gives the slots from one on what `f` makes of what they have; those with the default keep it.
    pub fn map_from(&mut self, first: u32, mut f: impl FnMut(u32, T) -> T) {
        let from = self.0.partition_point(|p| p.0 < first / PAGE);
        for (page, all) in &mut self.0[from..] {
            for (slot, t) in (*page * PAGE..).zip(all.iter_mut()) {
                if slot >= first && *t != T::default() {
                    *t = f(slot, *t);
                }
            }
        }
    }

    /// Nothing is about any slot.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots near and far, across pages.
    const SOME: [u32; 8] = [0, 5, 63, 64, 65, 130, 70_000, 1_000_000];

    #[test]
    fn sets_hold_near_and_far_slots() {
        let mut s = Slots::default();
        for slot in SOME.iter().rev() {
            s.insert(*slot);
            s.insert(*slot);
        }
        assert_eq!(s.iter().collect::<Vec<_>>(), SOME);
        assert!(SOME.iter().all(|&slot| s.contains(slot)) && !s.contains(6) && !s.contains(999_999));
        s.remove(5);
        s.remove(6);
        s.remove(70_000);
        let mut other = Slots::default();
        other.insert(64);
        other.insert(70_000);
        assert!(s.union(&other) && !s.union(&other));
        s.subtract(&other);
        assert_eq!(s.iter().collect::<Vec<_>>(), [0, 63, 65, 130, 1_000_000]);
        let all = s.clone();
        s.subtract(&all);
        assert!(s.is_empty() && !all.is_empty());
    }

    #[test]
    fn maps_hold_near_and_far_slots() {
        let mut m = SlotMap::default();
        for slot in SOME.iter().rev() {
            m.set(*slot, slot + 1);
        }
        m.set(77, 0);
        assert_eq!(m.iter().collect::<Vec<_>>(), SOME.map(|s| (s, s + 1)));
        assert_eq!((m.get(65), m.get(66), m.get(5_000_000)), (66, 0, 0));
        m.map_from(65, |slot, t| if slot == 130 { 0 } else { t + 1 });
        let wanted = [(0, 1), (5, 6), (63, 64), (64, 65), (65, 67), (70_000, 70_002), (1_000_000, 1_000_002)];
        assert_eq!(m.iter().collect::<Vec<_>>(), wanted);
        m.clear();
        assert_eq!(m.iter().count(), 0);
    }
}
