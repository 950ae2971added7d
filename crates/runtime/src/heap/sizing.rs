//! How much of the nursery is used.
//!
//! A small nursery stays in the processor's cache, which is best where nearly all objects die young. Where many survive, because
//! they live for a whole nursery and little longer, a larger one lets them die before a collection copies them. Whether it does is
//! found out by trying: the size doubles where many survive, and goes back where no smaller part of what is allocated survives then.
//! Sizes follow from what was allocated and survived alone, so that runs repeat.

/// The nursery is tried twice as large where at least one byte in so many survives.
const MANY: usize = 8;
/// And halved where one in so many does.
const FEW: usize = 32;
/// So many collections are looked at together, since how much one finds alive depends on when it comes.
const WINDOW: u32 = 4;
/// After a size that did not help so many windows go by before the next try, at least and at most.
const WAITS: (u32, u32) = (2, 64);

/// The size of the nursery, and what the last collections found.
#[derive(Debug)]
pub(super) struct Sizing {
    size: usize,
    least: usize,
    most: usize,
    /// Collections of the running window, bytes that were allocated before them, and bytes that survived.
    collections: u32,
    allocated: usize,
    survived: usize,
    /// What was allocated and survived in the window before a size that is being tried.
    before: Option<(usize, usize)>,
    /// So many windows go by before the next try, and after the next one that does not help.
    wait: u32,
    next_wait: u32,
}

impl Sizing {
    /// Sizes from `least` to `most`, which is `least` doubled some times.
    pub(super) fn new(least: usize, most: usize) -> Sizing {
        Sizing {
            size: least,
            least,
            most,
            collections: 0,
            allocated: 0,
            survived: 0,
            before: None,
            wait: 0,
            next_wait: WAITS.0,
        }
    }

    /// The size in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Chooses the size anew after a collection: before it so many bytes were allocated in the nursery and beyond, of which so many
    /// survived.
    pub(super) fn collected(&mut self, allocated: usize, survived: usize) {
        self.collections += 1;
        self.allocated += allocated;
        self.survived += survived;
        // Where nothing dies in a size that is tried, its collections are as long as they can be: that is seen after one.
        let full = self.before.is_some() && survived >= allocated - allocated / 8;
        if self.collections < WINDOW && !full {
            return;
        }
        let (allocated, survived) = (std::mem::take(&mut self.allocated), std::mem::take(&mut self.survived));
        self.collections = 0;
        match self.before.take() {
            // By less than an eighth better is not better.
            Some((a, s)) if full || share(survived, a) > share(s, allocated) / 8 * 7 => {
                self.size /= 2;
                self.wait = self.next_wait;
                self.next_wait = (self.next_wait * 2).min(WAITS.1);
            }
            Some(_) => self.next_wait = WAITS.0,
            None if survived < allocated / FEW => self.size = self.least.max(self.size / 2),
            None if survived >= allocated / MANY && self.size < self.most => {
                if self.wait > 0 {
                    self.wait -= 1;
                } else {
                    self.before = Some((allocated, survived));
                    self.size *= 2;
                }
            }
            None => {}
        }
    }
}

/// A product of two counts of bytes.
fn share(a: usize, b: usize) -> u128 {
    a as u128 * b as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = 1 << 20;

    /// The sizes that collections leave, each of which finds what `survives` says of the bytes that were allocated.
    fn sizes(collections: usize, survives: impl Fn(usize, usize) -> usize) -> Vec<usize> {
        let mut sizing = Sizing::new(LEAST, 4 * LEAST);
        (0..collections)
            .map(|i| {
                let allocated = sizing.size();
                sizing.collected(allocated, survives(i, allocated));
                sizing.size() / LEAST
            })
            .collect()
    }

    #[test]
    fn the_nursery_stays_small_where_objects_die() {
        assert!(sizes(100, |_, n| n / 20).iter().all(|&s| s == 1));
    }

    #[test]
    fn the_nursery_grows_where_that_lets_objects_die() {
        // Half a MiB lives at any time.
        let sizes = sizes(100, |_, _| LEAST / 2);
        assert_eq!(sizes[..12], [1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 4]);
        assert!(sizes[12..].iter().all(|&s| s == 4));
    }

    #[test]
    fn a_size_that_does_not_help_is_given_up() {
        // All that is allocated lives on: each try is one collection, and tries become rare.
        let sizes = sizes(1000, |_, n| n);
        let tries = sizes.iter().filter(|&&s| s == 2).count();
        assert!((3..=9).contains(&tries), "{tries}");
        assert!(sizes.windows(2).all(|w| w != [2, 2]) && sizes.iter().all(|&s| s <= 2));
        // A quarter lives on, whatever the size.
        let sizes = self::sizes(1000, |_, n| n / 4);
        assert!(sizes.iter().filter(|&&s| s == 1).count() > 900);
    }

    #[test]
    fn the_nursery_shrinks_when_objects_die_again() {
        let sizes = sizes(200, |i, n| if i < 100 { LEAST / 2 } else { n / 100 });
        assert_eq!((sizes[99], sizes[199]), (4, 1));
    }
}
