//! Maps with int keys: dense or hashed.
//!
//! **Dense** maps have no index: the entry of a key is its distance from the map's `base`, and entries below `used` whose
//! key is not there are marked as removed. Where the order of insertion shows, that holds only while each new key is the
//! successor of the last one; where keys are shown sorted, for any order of insertion, as long as the keys fill at
//! least a third of their range, which is about what the index of a hashed map would cost. Maps start dense and fall back
//! when a key does not fit; hashed maps whose keys are shown sorted become dense again when they grow, if they can.
//!
//! **Hashed** maps keep in `base` the distance of the key that was found last from its entry. So one test, "the entry at
//! key − base has this key", serves both: in dense maps it finds everything that is there, in hashed ones the key of the
//! operation before and runs of keys that were inserted in sequence, without hashing.
//!
//! Measured with 20 million increments of 60,000 counters in random order: both together took the interpreter from 0.95 s
//! to 0.43 s. With keys too far apart to be dense, 5 million increments went from 0.21 s to 0.16 s.

use std::ops::RangeInclusive;

use super::index::{index_insert, probe};
use super::storage::{insert_hashed_entry, make_room, remove_indexed};
use super::{DENSE, ENTRIES_MAX, SMALL, SORTED, entry_at, hash_int, new_entries, new_index, store};
use crate::heap::{Heap, OutOfMemory, empty_buffer};
use crate::object::*;
use crate::value::Value;

/// A dense map has room for at most so many times its entries, but for growth.
const SPREAD: u64 = 3;

/// The entry of a key, where it is where the map expects it.
#[inline(always)]
unsafe fn guess(map: *mut MapObject, key: i64) -> Option<usize> {
    // SAFETY: callers pass a live map with int keys; entries below `used` are initialised.
    unsafe {
        let entry = key.wrapping_sub((*map).base) as u64;
        if entry >= u64::from((*map).used) {
            return None;
        }
        let slot = entry_at(map, 2, entry as usize);
        let here = (*slot).bits() == key as u64 && *slot.add(1) != Value::TOMBSTONE;
        here.then_some(entry as usize)
    }
}

/// The place of the value of a key, where that is found without a search: always in dense maps, in others where the key
/// was the last that was found. `None` says nothing about whether the key is there.
///
/// # Safety
/// `map` points to a live map with int keys.
#[inline(always)]
pub unsafe fn int_slot(map: *mut MapObject, key: i64) -> Option<*mut Value> {
    // SAFETY: by the contract.
    unsafe { guess(map, key).map(|e| entry_at(map, 2, e).add(1)) }
}

/// Whether a key is there, where that needs no search: in dense maps always.
///
/// # Safety
/// `map` points to a live map with int keys.
#[inline(always)]
pub unsafe fn int_known(map: *mut MapObject, key: i64) -> Option<bool> {
    // SAFETY: by the contract.
    unsafe {
        match guess(map, key) {
            Some(_) => Some(true),
            None if (*map).header.bits & DENSE != 0 => Some(false),
            None => None,
        }
    }
}

/// The number of an int key's entry: its key and value are the words from twice the number on.
///
/// # Safety
/// `map` points to a live map with int keys.
#[inline(always)]
pub unsafe fn int_find(map: *mut MapObject, key: i64) -> Option<usize> {
    // SAFETY: by the contract.
    unsafe { find_int(map, key) }
}

#[inline(always)]
pub(super) unsafe fn find_int(map: *mut MapObject, key: i64) -> Option<usize> {
    // SAFETY: as in `guess`.
    unsafe { guess(map, key).or_else(|| search(map, key)) }
}

/// Finds a key that was not where it was expected.
#[inline(never)]
unsafe fn search(map: *mut MapObject, key: i64) -> Option<usize> {
    // SAFETY: as in `guess`; the index knows entries in use only.
    unsafe {
        if (*map).header.bits & DENSE != 0 {
            return None;
        }
        let entries = entry_at(map, 2, 0);
        let index = (*map).index;
        let is = |e: usize| entries.add(2 * e).read().bits() == key as u64;
        let entry = if (*index).capacity == 0 {
            let used = (*map).used as usize;
            (0..used).find(|&e| is(e) && entries.add(2 * e + 1).read() != Value::TOMBSTONE)?
        } else {
            probe(index, hash_int(key), is)?.1
        };
        (*map).base = key.wrapping_sub(entry as i64);
        Some(entry)
    }
}

/// The value at an int key.
///
/// # Safety
/// `map` points to a live map with int keys.
#[inline]
pub unsafe fn int_get(map: *mut MapObject, key: i64) -> Option<Value> {
    // SAFETY: by the contract.
    unsafe { find_int(map, key).map(|e| *entry_at(map, 2, e).add(1)) }
}

/// Inserts or replaces the value at an int key.
///
/// # Safety
/// `map` points to a live map of the heap with int keys; the value is one of the heap.
#[inline]
pub unsafe fn int_set(
    heap: &mut Heap,
    map: *mut MapObject,
    key: i64,
    value: Value,
) -> Result<(), OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        match find_int(map, key) {
            Some(e) => {
                store(heap, map, entry_at(map, 2, e).add(1), value);
                Ok(())
            }
            None => insert_int(heap, map, key, value).map(|_| ()),
        }
    }
}

/// Removes an int key; whether it was there.
///
/// # Safety
/// `map` points to a live map with int keys.
pub unsafe fn int_remove(heap: &mut Heap, map: *mut MapObject, key: i64) -> bool {
    // SAFETY: by the contract.
    unsafe {
        let Some(entry) = find_int(map, key) else { return false };
        remove_int(heap, map, entry, hash_int(key));
        true
    }
}

/// Adds a key that is not there, and returns its entry.
#[inline(never)]
pub(super) unsafe fn insert_int(
    heap: &mut Heap,
    map: *mut MapObject,
    key: i64,
    value: Value,
) -> Result<usize, OutOfMemory> {
    // SAFETY: callers pass a live map with int keys and a value of the heap; allocation moves nothing.
    unsafe {
        while (*map).header.bits & DENSE != 0 {
            let (used, capacity) = ((*map).used as usize, (*(*map).entries).capacity / 2);
            if used == 0 {
                (*map).base = key;
            }
            let entry = key.wrapping_sub((*map).base) as u64;
            let fits = if (*map).header.bits & SORTED != 0 {
                entry < capacity as u64
            } else {
                entry == used as u64 && used < capacity
            };
            if fits {
                let entry = entry as usize;
                bury(map, used, entry);
                let slot = entry_at(map, 2, entry);
                slot.write(Value::from_bits(key as u64));
                store(heap, map, slot.add(1), value);
                (*map).used = used.max(entry + 1) as u32;
                (*map).len += 1;
                (*map).sorted = Value::HOLE;
                return Ok(entry);
            }
            grow_dense(heap, map, key)?;
        }
        if ((*map).used as usize + 1) * 2 > (*(*map).entries).capacity {
            if (*map).header.bits & SORTED != 0
                && let Some((range, spread)) = extent(map, key)
                && spread <= room_for((*map).len)
            {
                to_dense(heap, map, *range.start(), (spread + spread / 4) as usize)?;
                return insert_int(heap, map, key, value);
            }
            make_room(heap, map)?;
        }
        let word = Value::from_bits(key as u64);
        let entry = insert_hashed_entry(heap, map, word, hash_int(key), value, Value::HOLE)?;
        (*map).base = key.wrapping_sub(entry as i64);
        Ok(entry)
    }
}

/// Removes an entry.
pub(super) unsafe fn remove_int(heap: &mut Heap, map: *mut MapObject, entry: usize, hash: u32) {
    // SAFETY: callers pass a live map with int keys, one of its entries and that key's hash.
    unsafe {
        if (*map).header.bits & DENSE == 0 {
            remove_indexed(heap, map, entry, hash);
            return;
        }
        bury(map, entry, entry + 1);
        (*map).len -= 1;
        (*map).sorted = Value::HOLE;
        if (*map).len == 0 {
            (*map).used = 0;
            return;
        }
        while is_gone(map, (*map).used as usize - 1) {
            (*map).used -= 1;
        }
        if (*map).used as usize > 4 * SMALL && (*map).len < (*map).used / 8 {
            shrink_dense(heap, map);
        }
    }
}

/// Marks entries of a dense map as removed.
unsafe fn bury(map: *mut MapObject, from: usize, to: usize) {
    // SAFETY: callers pass entries that the map has room for.
    unsafe {
        for entry in from..to {
            let slot = entry_at(map, 2, entry);
            slot.write(Value::HOLE);
            slot.add(1).write(Value::TOMBSTONE);
        }
    }
}

#[inline(always)]
unsafe fn is_gone(map: *mut MapObject, entry: usize) -> bool {
    // SAFETY: callers pass an entry in use.
    unsafe { *entry_at(map, 2, entry).add(1) == Value::TOMBSTONE }
}

/// The largest range of keys that may be dense with one entry more than these.
fn room_for(len: u32) -> u64 {
    ((u64::from(len) + 1) * SPREAD).min(ENTRIES_MAX as u64 / 2)
}

/// The range of the keys, with a further one, and its length; `None` where that has no number.
unsafe fn extent(map: *mut MapObject, key: i64) -> Option<(RangeInclusive<i64>, u64)> {
    // SAFETY: callers pass a live map with int keys.
    unsafe {
        let (mut min, mut max) = (key, key);
        for entry in 0..(*map).used as usize {
            if !is_gone(map, entry) {
                let key = (*entry_at(map, 2, entry)).bits() as i64;
                (min, max) = (min.min(key), max.max(key));
            }
        }
        let spread = (max.wrapping_sub(min) as u64).checked_add(1)?;
        Some((min..=max, spread))
    }
}

/// Makes room in a dense map for a key beyond its range, or makes it a hashed one.
#[cold]
#[inline(never)]
unsafe fn grow_dense(heap: &mut Heap, map: *mut MapObject, key: i64) -> Result<(), OutOfMemory> {
    // SAFETY: callers pass a live dense map of the heap.
    unsafe {
        let (base, used) = ((*map).base, (*map).used);
        if used == 0 {
            return to_dense(heap, map, key, 4);
        }
        let next = (*map).header.bits & SORTED != 0 || key.wrapping_sub(base) as u64 == u64::from(used);
        if next
            && let Some((range, spread)) = extent(map, key)
            && spread <= room_for((*map).len)
        {
            // Room beyond the end that the key is at.
            let below = if key == *range.start() { (spread / 2) as i64 } else { 0 };
            let start = range.start().saturating_sub(below);
            return to_dense(heap, map, start, (spread * 2) as usize);
        }
        to_hashed(heap, map)
    }
}

/// Lays the entries out by key, from `start` on; there must be room for all.
unsafe fn to_dense(heap: &mut Heap, map: *mut MapObject, start: i64, room: usize) -> Result<(), OutOfMemory> {
    // SAFETY: callers pass a live map with int keys that are in the range; allocation moves nothing.
    unsafe {
        let bits = (*map).header.bits | DENSE;
        let entries = new_entries(heap, bits, room.max(4))?;
        let (from, used) = (entry_at(map, 2, 0), (*map).used as usize);
        let to = Buffer::data::<Value>(entries);
        let mut end = 0;
        for i in 0..used {
            let (key, value) = (*from.add(2 * i), *from.add(2 * i + 1));
            if value != Value::TOMBSTONE {
                let entry = (key.bits() as i64).wrapping_sub(start) as usize;
                debug_assert!(entry < room);
                // A hole is a value as any other; only the gaps up to here are gone.
                for gap in end..entry {
                    to.add(2 * gap + 1).write(Value::TOMBSTONE);
                }
                to.add(2 * entry).write(key);
                to.add(2 * entry + 1).write(value);
                end = end.max(entry + 1);
            }
        }
        (*map).header.bits = bits;
        (*map).base = start;
        (*map).used = end as u32;
        (*map).entries = entries;
        (*map).index = empty_buffer();
        (*map).sorted = Value::HOLE;
        heap.write_barrier_range(entries, 0, 2 * end);
        heap.write_barrier(map);
        Ok(())
    }
}

/// Closes the gaps and makes an index, with room for one more entry.
unsafe fn to_hashed(heap: &mut Heap, map: *mut MapObject) -> Result<(), OutOfMemory> {
    // SAFETY: callers pass a live dense map of the heap; allocation moves nothing.
    unsafe {
        let bits = (*map).header.bits & !DENSE;
        let len = (*map).len as usize;
        let capacity = if len < SMALL { SMALL } else { len * 2 };
        let entries = new_entries(heap, bits, capacity)?;
        let index = if capacity > SMALL { new_index(heap, capacity)? } else { empty_buffer() };
        let (from, used) = (entry_at(map, 2, 0), (*map).used as usize);
        let to = Buffer::data::<Value>(entries);
        let mut end = 0;
        for i in 0..used {
            let (key, value) = (*from.add(2 * i), *from.add(2 * i + 1));
            if value != Value::TOMBSTONE {
                to.add(2 * end).write(key);
                to.add(2 * end + 1).write(value);
                if capacity > SMALL {
                    index_insert(index, hash_int(key.bits() as i64), end);
                }
                end += 1;
            }
        }
        (*map).header.bits = bits;
        (*map).used = end as u32;
        (*map).entries = entries;
        (*map).index = index;
        (*map).sorted = Value::HOLE;
        heap.write_barrier_range(entries, 0, 2 * end);
        heap.write_barrier(map);
        Ok(())
    }
}

/// Gives up the room of removed keys at the start, or of most keys.
#[cold]
#[inline(never)]
unsafe fn shrink_dense(heap: &mut Heap, map: *mut MapObject) {
    // SAFETY: callers pass a live dense map of the heap whose last entry in use is there.
    unsafe {
        let used = (*map).used as usize;
        let Some(first) = (0..used).find(|&e| !is_gone(map, e)) else { return };
        if (used - first) as u64 <= room_for((*map).len) {
            std::ptr::copy(entry_at(map, 2, first), entry_at(map, 2, 0), 2 * (used - first));
            std::ptr::write_bytes(entry_at(map, 2, used - first), 0, 2 * first);
            (*map).base += first as i64;
            (*map).used = (used - first) as u32;
            // Cells changed places all over the buffer.
            heap.write_barrier_range((*map).entries, 0, 2 * (used - first));
        } else {
            // Where there is no memory for it, it stays as it is.
            let _ = to_hashed(heap, map);
        }
    }
}
