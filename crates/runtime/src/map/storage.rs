//! Adding and removing entries, growing and packing.

use upshift_bytecode::types::KeyPolicy;

use super::index::{index_insert, index_remove, probe};
use super::ints::{insert_int, remove_int};
use super::keys::{text_key, value_hash};
use super::{
    POLICY_MASK, SMALL, entry_at, hash_int, key_policy, new_entries, new_index, store, stride, stride_of,
};
use crate::heap::{Heap, OutOfMemory};
use crate::object::*;
use crate::string;
use crate::value::Value;

/// Adds an entry whose key is not there, and returns its number.
#[inline(never)]
pub(super) unsafe fn insert(
    heap: &mut Heap,
    map: *mut MapObject,
    key: Value,
    hash: u32,
    value: Value,
    text: Value,
) -> Result<usize, OutOfMemory> {
    // SAFETY: callers pass a live map and values of the heap; allocation moves nothing.
    unsafe {
        let bits = (*map).header.bits;
        if bits & POLICY_MASK == KeyPolicy::Int as u16 {
            return insert_int(heap, map, key.bits() as i64, value);
        }
        if ((*map).used as usize + 1) * stride_of(bits) > (*(*map).entries).capacity {
            make_room(heap, map)?;
        }
        insert_hashed_entry(heap, map, key, hash, value, text)
    }
}

/// Adds an entry that there is room for.
#[inline(always)]
pub(super) unsafe fn insert_hashed_entry(
    heap: &mut Heap,
    map: *mut MapObject,
    key: Value,
    hash: u32,
    value: Value,
    text: Value,
) -> Result<usize, OutOfMemory> {
    // SAFETY: callers pass a live map and values of the heap; allocation moves nothing.
    unsafe {
        let bits = (*map).header.bits;
        let stride = stride_of(bits);
        let entry = (*map).used as usize;
        let slot = entry_at(map, stride, entry);
        if bits & POLICY_MASK == KeyPolicy::Int as u16 {
            slot.write(key);
        } else {
            store(heap, map, slot, key);
        }
        store(heap, map, slot.add(1), value);
        if stride == 3 {
            store(heap, map, slot.add(2), text);
        }
        if (*(*map).index).capacity != 0 {
            index_insert((*map).index, hash, entry);
        }
        (*map).used += 1;
        (*map).len += 1;
        (*map).sorted = Value::HOLE;
        Ok(entry)
    }
}

/// Removes an entry.
pub(super) unsafe fn remove_entry(heap: &mut Heap, map: *mut MapObject, entry: usize, hash: u32) {
    // SAFETY: callers pass a live map, one of its entries and that key's hash.
    unsafe {
        if (*map).header.bits & POLICY_MASK == KeyPolicy::Int as u16 {
            remove_int(heap, map, entry, hash);
        } else {
            remove_indexed(heap, map, entry, hash);
        }
    }
}

/// Removes an entry of a map that is not dense.
pub(super) unsafe fn remove_indexed(heap: &mut Heap, map: *mut MapObject, entry: usize, hash: u32) {
    // SAFETY: as in `remove_entry`.
    unsafe {
        let stride = stride(map);
        let slot = entry_at(map, stride, entry);
        *slot = Value::HOLE;
        *slot.add(1) = Value::TOMBSTONE;
        if stride == 3 {
            *slot.add(2) = Value::HOLE;
        }
        let index = (*map).index;
        if (*index).capacity != 0
            && let Some((at, _)) = probe(index, hash, |e| e == entry)
        {
            index_remove(index, at);
        }
        (*map).len -= 1;
        (*map).sorted = Value::HOLE;
        if (*map).len == 0 {
            (*map).used = 0;
        } else if entry + 1 == (*map).used as usize {
            (*map).used -= 1;
        } else if (*map).used as usize > 4 * SMALL && (*map).len < (*map).used / 4 {
            pack(heap, map);
        }
    }
}

/// Makes room for one more entry: packs, or doubles.
#[cold]
#[inline(never)]
pub(super) unsafe fn make_room(heap: &mut Heap, map: *mut MapObject) -> Result<(), OutOfMemory> {
    // SAFETY: callers pass a live map of the heap; allocation moves nothing.
    unsafe {
        let bits = (*map).header.bits;
        let stride = stride_of(bits);
        let (len, used) = ((*map).len as usize, (*map).used as usize);
        if len + len / 4 < used && used >= SMALL {
            pack(heap, map);
            return Ok(());
        }
        let capacity = if used < 4 { 4 } else { used * 2 };
        let entries = new_entries(heap, bits, capacity)?;
        let old_index = (*map).index;
        let had_index = (*old_index).capacity != 0;
        let index = if had_index || capacity > SMALL { new_index(heap, capacity)? } else { old_index };
        std::ptr::copy_nonoverlapping(
            Buffer::data::<Value>((*map).entries),
            Buffer::data::<Value>(entries),
            used * stride,
        );
        heap.write_barrier_range(entries, 0, used * stride);
        (*map).entries = entries;
        if had_index {
            let slots = Buffer::data::<u64>(old_index);
            for i in 0..(*old_index).capacity {
                let slot = *slots.add(i);
                if slot != 0 {
                    index_insert(index, (slot >> 32) as u32, slot as u32 as usize - 1);
                }
            }
        } else if capacity > SMALL {
            for entry in 0..used {
                let slot = entry_at(map, stride, entry);
                if *slot.add(1) != Value::TOMBSTONE {
                    index_insert(index, entry_hash(heap, map, slot), entry);
                }
            }
        }
        (*map).index = index;
        heap.write_barrier(map);
        Ok(())
    }
}

/// The hash of the key of an entry, in maps that compute it themselves.
pub(super) unsafe fn entry_hash(heap: &mut Heap, map: *mut MapObject, entry: *mut Value) -> u32 {
    // SAFETY: callers pass an entry of a live map.
    unsafe {
        match key_policy(map) {
            KeyPolicy::Int => hash_int((*entry).bits() as i64),
            KeyPolicy::String => string::hash_of(*entry),
            KeyPolicy::Text => {
                let text = Some(*entry.add(2)).filter(|t| !t.is_hole());
                text_key(*entry, text).map_or(0, |k| k.hash())
            }
            KeyPolicy::Value | KeyPolicy::Protocol => value_hash(heap, *entry, true).unwrap_or(0),
        }
    }
}

/// Closes the gaps of removed entries.
pub(super) unsafe fn pack(heap: &mut Heap, map: *mut MapObject) {
    // SAFETY: callers pass a live map of the heap.
    unsafe {
        let stride = stride(map);
        let used = (*map).used as usize;
        let index = (*map).index;
        let slots = Buffer::data::<u64>(index);
        // New numbers of the entries; then the index follows.
        let mut numbers = vec![0u32; used];
        let mut to = 0;
        for (from, number) in numbers.iter_mut().enumerate() {
            let source = entry_at(map, stride, from);
            if *source.add(1) == Value::TOMBSTONE {
                continue;
            }
            *number = to as u32;
            if to != from {
                std::ptr::copy_nonoverlapping(source, entry_at(map, stride, to), stride);
            }
            to += 1;
        }
        std::ptr::write_bytes(entry_at(map, stride, to), 0, (used - to) * stride);
        (*map).used = to as u32;
        for i in 0..(*index).capacity {
            let slot = *slots.add(i);
            if slot != 0 {
                let entry = numbers[slot as u32 as usize - 1];
                *slots.add(i) = slot & 0xFFFF_FFFF_0000_0000 | (u64::from(entry) + 1);
            }
        }
        // Cells changed places all over the buffer.
        heap.write_barrier_range((*map).entries, 0, to * stride);
        debug_assert_eq!(to, (*map).len as usize);
    }
}
