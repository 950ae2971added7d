//! Large objects: allocated on their own, never moved.
//!
//! A large object is born young: it is in the list of young large objects and has no `OLD` bit. The minor collection
//! that reaches it sets the bit and moves it to the other list; those not reached are freed. Large old cell buffers
//! remember stores slot by slot, and where these become too many by cards of [`CARD`] bytes, so that a store into a list
//! of millions does not make the next minor collection read all of it.
//!
//! Cell buffers from [`RECORDED`] bytes on have the barrier from birth, for the minor collection that promotes a list of
//! millions is not to read all of it either. While they are young, their slots are kept with each buffer, as those of
//! buffers that turn out to be garbage must keep nothing alive.
//!
//! A raw buffer that loses bytes at its front, as a queue does, moves up in its allocation, prefix and header, instead of
//! its elements moving down: [`LargeSpace::trim`] (V8 trims arrays in this way).
//!
//! Memory of large objects that were freed is kept for the next ones ([`Spares`]): what programs make and drop again and again would
//! otherwise come as fresh pages from the system each time, which costs more than to fill it.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::ptr;

use super::pages::Pages;
use crate::object::{Buffer, Header, gc};
use crate::value::Value;

/// The bytes of data that one card covers.
pub(crate) const CARD: usize = 512;

/// From this size on cell buffers have the barrier from birth. Smaller ones are read whole by the collection that promotes
/// them, which is cheap while there are few, and stores into them cost nothing until then.
pub(crate) const RECORDED: usize = 64 << 10;

/// What stands in front of a large object.
#[repr(C)]
pub(crate) struct Prefix {
    /// The size of the object, with what was trimmed off its front.
    pub(crate) size: usize,
    /// The bytes of the whole allocation.
    allocated: usize,
    /// So many bytes behind the start of the allocation this stands.
    trimmed: usize,
    /// Where the object stands in the list of young or old ones.
    place: usize,
    /// One byte per card, or null before the first store that needs one.
    pub(crate) cards: *mut u8,
    /// Whether the object is in the list of those with dirty cards.
    pub(crate) dirty: bool,
    /// Whether any slot of a young buffer with the barrier may hold a young object; `slots` is then without meaning.
    pub(crate) any_slot: bool,
    /// The slots of a young buffer with the barrier that were given young objects.
    pub(crate) slots: Vec<*mut Value>,
    /// How many slots of an old buffer were remembered since the collection with the number `counted`.
    pub(crate) remembered: usize,
    /// See `remembered`.
    pub(crate) counted: u64,
}

/// From this size on huge pages are asked for.
const HUGE: usize = 4 << 20;

const PREFIX: usize = size_of::<Prefix>();

/// The large objects of a heap.
#[derive(Default)]
pub(crate) struct LargeSpace {
    pub(crate) young: Vec<*mut Header>,
    pub(crate) old: Vec<*mut Header>,
    pub(crate) young_bytes: usize,
    /// Bytes of young cell buffers below [`RECORDED`].
    pub(crate) young_unrecorded: usize,
    /// Whether young large objects include any that cells can refer to: others than buffers.
    pub(crate) young_values: bool,
    pub(crate) old_bytes: usize,
    /// Old cell buffers with dirty cards.
    pub(crate) dirty: Vec<*mut Header>,
    spares: Spares,
}

/// From this size on the memory of freed objects is kept: what is smaller allocators keep themselves.
const SPARE: usize = 128 << 10;
/// And so much of it.
const SPARES: usize = 8 << 20;

/// Memory of objects that were freed, for the next ones.
#[derive(Default)]
struct Spares {
    /// Allocations, each with its bytes.
    blocks: Vec<(*mut u8, usize)>,
    /// Their bytes.
    bytes: usize,
}

impl Spares {
    /// The smallest that has so many bytes and not more than twice as many.
    fn take(&mut self, bytes: usize) -> Option<(*mut u8, usize)> {
        // Most large objects are not that large.
        if bytes < SPARE / 2 {
            return None;
        }
        let fits = |block: &(*mut u8, usize)| (bytes..=bytes.saturating_mul(2)).contains(&block.1);
        let blocks = self.blocks.iter().enumerate().filter(|b| fits(b.1));
        let found = blocks.min_by_key(|b| b.1.1)?.0;
        let block = self.blocks.swap_remove(found);
        self.bytes -= block.1;
        Some(block)
    }

    /// Keeps an allocation, or gives it back to the allocator.
    ///
    /// # Safety
    /// It is one of large objects, of so many bytes, and nobody uses it.
    unsafe fn give(&mut self, start: *mut u8, bytes: usize) {
        if bytes >= SPARE && self.bytes + bytes <= SPARES {
            self.blocks.push((start, bytes));
            self.bytes += bytes;
        } else {
            // SAFETY: by the contract.
            unsafe { dealloc(start, allocation(bytes).expect("was allocated with it")) };
        }
    }

    /// Gives all of it back.
    fn clear(&mut self) {
        for (start, bytes) in self.blocks.drain(..) {
            // SAFETY: what is kept is used by nobody.
            unsafe { dealloc(start, allocation(bytes).expect("was allocated with it")) };
        }
        self.bytes = 0;
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The prefix of a large object.
///
/// # Safety
/// `object` is a large object.
#[inline]
pub(crate) unsafe fn prefix(object: *mut Header) -> *mut Prefix {
    // SAFETY: large objects follow their prefix.
    unsafe { object.cast::<u8>().sub(PREFIX).cast() }
}

/// The layout of an allocation of so many bytes.
fn allocation(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, 16).ok()
}

/// The layout of the allocation of an object.
fn layout(size: usize) -> Option<Layout> {
    allocation(size.checked_add(PREFIX)?)
}

impl LargeSpace {
    /// A young large object of `size` bytes, of which those from `zeroed` on are 0, without its header. `None` where there is no memory.
    pub(crate) fn alloc(&mut self, size: usize, zeroed: usize) -> Option<*mut Header> {
        let layout = layout(size)?;
        let (start, allocated) = match self.spares.take(layout.size()) {
            Some((start, bytes)) => {
                let arbitrary = PREFIX + zeroed.min(size);
                // SAFETY: the allocation is ours, and large enough.
                unsafe { start.add(arbitrary).write_bytes(0, layout.size() - arbitrary) };
                (start, bytes)
            }
            None => (self.fresh(layout, zeroed < size)?, layout.size()),
        };
        // SAFETY: the prefix is the first part of the allocation.
        let object = unsafe {
            start.cast::<Prefix>().write(Prefix {
                size,
                allocated,
                trimmed: 0,
                place: self.young.len(),
                cards: ptr::null_mut(),
                dirty: false,
                any_slot: false,
                remembered: 0,
                counted: 0,
                slots: Vec::new(),
            });
            start.add(PREFIX).cast::<Header>()
        };
        self.young.push(object);
        self.young_bytes += size;
        Some(object)
    }

    /// Memory that the system gives; what is kept goes back first where it gives none.
    fn fresh(&mut self, layout: Layout, zeroed: bool) -> Option<*mut u8> {
        // SAFETY: the layout is not empty.
        let ask = || unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
        let mut start = ask();
        if start.is_null() && self.spares.bytes > 0 {
            self.spares.clear();
            start = ask();
        }
        if start.is_null() {
            return None;
        }
        start.expose_provenance();
        if layout.size() >= HUGE {
            Pages::prefer_huge(start, layout.size());
        }
        Some(start)
    }

    /// Bytes that are kept for objects to come.
    pub(crate) fn spare_bytes(&self) -> usize {
        self.spares.bytes
    }

    /// Makes an object longer: in what its allocation has, in memory that is kept, or by the system's means, which need not copy it.
    /// `None`, and nothing is done, where there is no memory.
    ///
    /// # Safety
    /// The object is a live large raw buffer, and `size` more than its size.
    pub(crate) unsafe fn extend(&mut self, object: *mut Header, size: usize) -> Option<*mut Header> {
        // SAFETY: by the contract; the prefix stands behind what was trimmed off.
        let (start, trimmed, old, allocated) = unsafe {
            let prefix = prefix(object);
            let trimmed = (*prefix).trimmed;
            (prefix.cast::<u8>().sub(trimmed), trimmed, (*prefix).size, (*prefix).allocated)
        };
        // What is left of the object, with its prefix; what was trimmed off may be more than what is asked for.
        let (live, size) = (PREFIX + old - trimmed, size.max(old));
        let (before, after) = (allocation(allocated)?, layout(size)?);
        let (moved, bytes) = if after.size() <= allocated {
            // SAFETY: both places are in the allocation.
            unsafe { ptr::copy(start.add(trimmed), start, live) };
            (start, allocated)
        } else if let Some((other, bytes)) = self.spares.take(after.size()) {
            // SAFETY: both allocations are ours; what is kept has room for the object, which is left behind.
            unsafe {
                ptr::copy_nonoverlapping(start.add(trimmed), other, live);
                self.spares.give(start, allocated);
            }
            (other, bytes)
        } else {
            // SAFETY: it was allocated with the layout before; the size is not zero and was checked by making the layout after.
            let moved = unsafe { realloc(start, before, after.size()) };
            if moved.is_null() {
                return None;
            }
            moved.expose_provenance();
            if size >= HUGE {
                Pages::prefer_huge(moved, size);
            }
            // SAFETY: both places are in the allocation.
            unsafe { ptr::copy(moved.add(trimmed), moved, live) };
            (moved, after.size())
        };
        // SAFETY: the prefix moved along as the first part of the allocation.
        let object = unsafe {
            let prefix = moved.cast::<Prefix>();
            ((*prefix).size, (*prefix).allocated, (*prefix).trimmed) = (size, bytes, 0);
            moved.add(PREFIX).cast::<Header>()
        };
        // SAFETY: a live large object.
        let is_old = unsafe { self.list_again(object) };
        if is_old {
            self.old_bytes += size - old;
        } else {
            self.young_bytes += size - old;
        }
        Some(object)
    }

    /// Takes so many bytes off the front of an object's data: it begins behind them. Where more than half of it was taken off so, it
    /// goes back to the start of its allocation, and is as long as it was there. Gives where it stands, and how many bytes longer it is
    /// than what is left of it.
    ///
    /// # Safety
    /// The object is a live large raw buffer with at least so much data; `bytes` is a multiple of eight.
    pub(crate) unsafe fn trim(&mut self, object: *mut Header, bytes: usize) -> (*mut Header, usize) {
        debug_assert!(bytes.is_multiple_of(8), "objects are aligned");
        // SAFETY: by the contract; all places are in the allocation, and the first ones are overwritten only.
        unsafe {
            let old = prefix(object);
            let (size, before) = ((*old).size, (*old).trimmed);
            let (trimmed, front) = (before + bytes, PREFIX + Buffer::DATA);
            let regained = if trimmed <= size / 2 { 0 } else { trimmed };
            let place = old.byte_sub(before).byte_add(trimmed - regained);
            // The data stands behind both places of the front.
            let data = object.cast::<u8>().add(Buffer::DATA + bytes);
            ptr::copy(old.cast::<u8>(), place.cast(), front);
            if regained > 0 {
                ptr::copy(data, place.cast::<u8>().add(front), size - trimmed - Buffer::DATA);
            }
            (*place).trimmed = trimmed - regained;
            let object = place.cast::<u8>().add(PREFIX).cast();
            self.list_again(object);
            (object, regained)
        }
    }

    /// Names the place of an object that was moved in the list that it is in; whether that is the one of old objects.
    ///
    /// # Safety
    /// A live large object.
    unsafe fn list_again(&mut self, object: *mut Header) -> bool {
        // SAFETY: by the contract.
        let (is_old, place) = unsafe { ((*object).gc & gc::OLD != 0, (*prefix(object)).place) };
        let list = if is_old { &mut self.old } else { &mut self.young };
        list[place] = object;
        is_old
    }

    /// Gives the memory of an object back that is in no list any more.
    ///
    /// # Safety
    /// The object came from `alloc` and nothing refers to it.
    unsafe fn free(spares: &mut Spares, object: *mut Header, poison: bool) {
        // SAFETY: by the contract.
        unsafe {
            let prefix = prefix(object);
            let (size, allocated, trimmed) = ((*prefix).size, (*prefix).allocated, (*prefix).trimmed);
            let cards = (*prefix).cards;
            drop(std::mem::take(&mut (*prefix).slots));
            if !cards.is_null() {
                drop(Box::from_raw(ptr::slice_from_raw_parts_mut(cards, card_count(size))));
            }
            if poison {
                ptr::write_bytes(object.cast::<u8>(), super::POISON, size - trimmed);
            }
            spares.give(prefix.cast::<u8>().sub(trimmed), allocated);
        }
    }

    /// Ends a minor collection: frees young objects that were not reached, and makes the others old.
    pub(crate) fn finish_minor(&mut self, poison: bool) {
        for object in self.young.drain(..) {
            // SAFETY: listed objects are alive until freed here, once.
            unsafe {
                if (*object).gc & gc::OLD != 0 {
                    let prefix = prefix(object);
                    self.old_bytes += (*prefix).size;
                    (*prefix).place = self.old.len();
                    self.old.push(object);
                } else {
                    LargeSpace::free(&mut self.spares, object, poison);
                }
            }
        }
        self.young_bytes = 0;
        self.young_unrecorded = 0;
        self.young_values = false;
    }

    /// Ends a marking: frees old objects without a mark and clears the marks of the others.
    pub(crate) fn sweep(&mut self, poison: bool) {
        debug_assert!(self.dirty.is_empty() && self.young.is_empty());
        // What was not used since the marking before may not be used at all.
        self.spares.clear();
        let (mut bytes, mut place, spares) = (0, 0, &mut self.spares);
        self.old.retain(|&object| {
            // SAFETY: as above.
            unsafe {
                if (*object).gc & gc::MARK != 0 {
                    (*object).gc &= !gc::MARK;
                    let prefix = prefix(object);
                    bytes += (*prefix).size;
                    (*prefix).place = place;
                    place += 1;
                    true
                } else {
                    LargeSpace::free(spares, object, poison);
                    false
                }
            }
        });
        self.old_bytes = bytes;
    }

    /// Remembers that a slot of a large old cell buffer was written; without a slot: that any may have been.
    ///
    /// # Safety
    /// `object` is a large old cell buffer, and `slot` is inside its data.
    pub(crate) unsafe fn mark_card(&mut self, object: *mut Header, slot: Option<*mut u8>) {
        // SAFETY: by the contract.
        unsafe {
            let prefix = prefix(object);
            let count = card_count((*prefix).size);
            if (*prefix).cards.is_null() {
                (*prefix).cards = Box::into_raw(vec![0u8; count].into_boxed_slice()).cast();
            }
            match slot {
                Some(slot) => {
                    let offset = slot.addr() - object.addr() - Buffer::DATA;
                    debug_assert!(offset / CARD < count);
                    *(*prefix).cards.add(offset / CARD) = 1;
                }
                None => ptr::write_bytes((*prefix).cards, 1, count),
            }
            if !(*prefix).dirty {
                (*prefix).dirty = true;
                self.dirty.push(object);
            }
        }
    }
}

/// The number of cards of a buffer of `size` bytes.
pub(crate) fn card_count(size: usize) -> usize {
    (size - Buffer::DATA).div_ceil(CARD)
}

impl Drop for LargeSpace {
    fn drop(&mut self) {
        for object in self.young.drain(..).chain(self.old.drain(..)) {
            // SAFETY: the heap goes away, so nothing refers to its objects.
            unsafe { LargeSpace::free(&mut self.spares, object, false) };
        }
    }
}
