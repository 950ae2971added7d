//! The hash index of maps: 8-byte slots, hash above entry number plus one, linear probing.

use crate::object::Buffer;

/// Searches the index.
#[inline(always)]
pub(super) unsafe fn probe(
    index: *mut Buffer,
    hash: u32,
    mut is: impl FnMut(usize) -> bool,
) -> Option<(usize, usize)> {
    // SAFETY: the index is a live buffer whose capacity is a power of two, at most half full, so a free slot ends the
    // search.
    unsafe {
        let slots = Buffer::data::<u64>(index);
        let mask = (*index).capacity - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = *slots.add(at);
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                let entry = slot as u32 as usize - 1;
                if is(entry) {
                    return Some((at, entry));
                }
            }
            at = (at + 1) & mask;
        }
    }
}

/// Puts an entry that is not there into the index.
#[inline(always)]
pub(super) unsafe fn index_insert(index: *mut Buffer, hash: u32, entry: usize) {
    // SAFETY: as in `probe`.
    unsafe {
        let slots = Buffer::data::<u64>(index);
        let mask = (*index).capacity - 1;
        let mut at = hash as usize & mask;
        while *slots.add(at) != 0 {
            at = (at + 1) & mask;
        }
        *slots.add(at) = u64::from(hash) << 32 | (entry as u64 + 1);
    }
}

/// Takes a slot out of the index and moves later ones back.
pub(super) unsafe fn index_remove(index: *mut Buffer, slot: usize) {
    // SAFETY: as in `probe`.
    unsafe {
        let slots = Buffer::data::<u64>(index);
        let mask = (*index).capacity - 1;
        let mut hole = slot;
        let mut at = (hole + 1) & mask;
        loop {
            let word = *slots.add(at);
            if word == 0 {
                break;
            }
            let home = (word >> 32) as usize & mask;
            // The slot may move back as far as its home.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                *slots.add(hole) = word;
                hole = at;
            }
            at = (at + 1) & mask;
        }
        *slots.add(hole) = 0;
    }
}
