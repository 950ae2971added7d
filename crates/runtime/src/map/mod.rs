//! Maps: entries in the order of insertion, and an open-addressing index into them.
//!
//! An entry is two words, key and value, or three: with a text key policy, or a view that is sorted by text of keys that
//! may be of any kind, the third holds the text of a key that is neither an int nor a string (hole for those that are).
//! Keys of the int policy are raw words. A removed entry stays, with a mark as its value, until the entries are packed.
//!
//! The index has 8-byte slots, hash above entry number plus one, 0 where empty; collisions go to the next slot, and
//! removal moves later slots back, so there are no marks in it. Hashes in the slots mean that growing reads no key. Maps
//! of at most [`SMALL`] entries have no index and are searched in order, except under the protocol policy, where comparing
//! costs a call. In text maps, text that is the decimal form of an int hashes as that int, so 1 and "1" meet.
//!
//! The entry that was found last is remembered for int and string keys: programs ask whether a key is there, read its value
//! and replace it, one after the other. Maps with int keys need no index while the keys are dense: see [`ints`].
//!
//! The protocol policy is driven by the caller, who computes hashes and asks for equality: see [`candidate`].

mod index;
mod ints;
mod keys;
mod order;
mod storage;

use upshift_bytecode::types::{KeyPolicy, OrderPolicy};

use crate::hash;
use crate::heap::{Heap, OutOfMemory, empty_buffer};
use crate::list;
use crate::object::*;
use crate::string;
use crate::value::Value;
use index::probe;
use ints::find_int;
pub use ints::{int_find, int_get, int_known, int_remove, int_set, int_slot};
use keys::same_cell;
pub use keys::{at_text, candidate, field, find, get, insert_hashed, remove, remove_hashed, set, text_find};
pub use order::{Entries, entries, keys, values};
use storage::{insert, remove_entry};

/// The largest map without an index.
pub const SMALL: usize = 8;
/// The most entries, removed ones included.
const ENTRIES_MAX: usize = 1 << 30;

/// The bits of a header that hold the policy of keys.
pub const POLICY_MASK: u16 = 7;
const SORTED: u16 = 8;
const TEXTS: u16 = 16;
/// The bit of maps whose keys are their positions: see `ints.rs`.
pub const DENSE: u16 = 32;

/// The bits of the number that a language marks maps with, for its own ends.
const MARK: u16 = 3 << MARK_SHIFT;
const MARK_SHIFT: u16 = 6;

/// What a search by key found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// The entry with this number.
    Entry(usize),
    /// No entry.
    Absent,
    /// The text of the key must be passed: it is neither an int nor a string.
    NeedsText,
    /// Hash and equality must be asked of the protocol: see [`candidate`].
    NeedsProtocol,
    /// The map never holds keys of this kind.
    WrongKind,
}

/// A new empty map, with room for `capacity` entries.
pub fn new(
    heap: &mut Heap,
    key: KeyPolicy,
    order: OrderPolicy,
    capacity: usize,
) -> Result<*mut MapObject, OutOfMemory> {
    let bits = bits_of(key, order);
    let entries = new_entries(heap, bits, capacity)?;
    let indexed = capacity > SMALL && key != KeyPolicy::Int || key == KeyPolicy::Protocol;
    let index = if indexed { new_index(heap, capacity.max(SMALL))? } else { empty_buffer() };
    new_object(heap, bits, entries, index)
}

/// The bits of the header of a map with these policies.
pub fn bits_of(key: KeyPolicy, order: OrderPolicy) -> u16 {
    let mut bits = key as u16;
    if order == OrderPolicy::SortedByText {
        bits |= SORTED;
    }
    let sorted_any =
        order == OrderPolicy::SortedByText && matches!(key, KeyPolicy::Value | KeyPolicy::Protocol);
    if key == KeyPolicy::Text || sorted_any {
        bits |= TEXTS;
    }
    if key == KeyPolicy::Int {
        bits |= DENSE;
    }
    bits
}

fn new_object(
    heap: &mut Heap,
    bits: u16,
    entries: *mut Buffer,
    index: *mut Buffer,
) -> Result<*mut MapObject, OutOfMemory> {
    let map = heap.alloc(ObjectKind::Map, bits, 0, size_of::<MapObject>())?.cast::<MapObject>();
    // SAFETY: allocated with this layout.
    unsafe {
        (*map).len = 0;
        (*map).used = 0;
        (*map).entries = entries;
        (*map).index = index;
        (*map).sorted = Value::HOLE;
        (*map).base = 0;
    }
    Ok(map)
}

/// A new empty map whose header has these bits, which are not of a map by the protocol, where it is a small one and the nursery has
/// room for it; else `None`, and nothing is done.
pub fn new_quick(heap: &mut Heap, bits: u16, capacity: usize) -> Option<*mut MapObject> {
    const LARGEST: usize = size_of::<MapObject>() + Buffer::DATA + SMALL * 3 * size_of::<Value>();
    if capacity > SMALL || !heap.has_room(LARGEST) {
        return None;
    }
    let entries = new_entries(heap, bits, capacity).ok()?;
    new_object(heap, bits, entries, empty_buffer()).ok()
}

fn new_entries(heap: &mut Heap, bits: u16, capacity: usize) -> Result<*mut Buffer, OutOfMemory> {
    if capacity > ENTRIES_MAX {
        return Err(OutOfMemory);
    }
    let pairs = if bits & POLICY_MASK == KeyPolicy::Int as u16 { buffer_bits::PAIRS } else { 0 };
    list::new_buffer(heap, true, pairs, 8, capacity * stride_of(bits), false, 0)
}

/// An index for so many entries: at most half full.
fn new_index(heap: &mut Heap, entries: usize) -> Result<*mut Buffer, OutOfMemory> {
    list::new_buffer(heap, false, 0, 8, (entries * 2).next_power_of_two(), true, 0)
}

#[inline(always)]
fn stride_of(bits: u16) -> usize {
    if bits & TEXTS != 0 { 3 } else { 2 }
}

/// The number of entries.
///
/// # Safety
/// `map` points to a live map.
#[inline(always)]
pub unsafe fn len(map: *mut MapObject) -> usize {
    // SAFETY: by the contract.
    unsafe { (*map).len as usize }
}

/// What the language has marked the map with; 0 for nothing.
///
/// # Safety
/// `map` points to a live map.
pub unsafe fn mark(map: *mut MapObject) -> u8 {
    // SAFETY: by the contract.
    let bits = unsafe { (*map).header.bits & MARK };
    (bits >> MARK_SHIFT) as u8
}

/// Marks the map, for good, with a number from 1 to 3.
///
/// # Safety
/// `map` points to a live map.
pub unsafe fn set_mark(map: *mut MapObject, mark: u8) {
    debug_assert!((1..=3).contains(&mark), "{mark}");
    // SAFETY: by the contract.
    unsafe { (*map).header.bits |= u16::from(mark) << MARK_SHIFT & MARK }
}

/// Calls `f` for the values in the order of insertion, until it says no; whether it never did.
///
/// # Safety
/// `map` points to a live map, which `f` does not change.
pub unsafe fn raw_values(map: *mut MapObject, f: &mut dyn FnMut(Value) -> bool) -> bool {
    // SAFETY: by the contract; entries below `used` are initialised.
    unsafe {
        let stride = stride(map);
        (0..(*map).used as usize).all(|i| {
            let value = *entry_at(map, stride, i).add(1);
            value == Value::TOMBSTONE || f(value)
        })
    }
}

/// The words of the entries in use, for the collector.
///
/// # Safety
/// `map` points to a live map.
#[inline(always)]
pub(crate) unsafe fn used_words(map: *mut MapObject) -> usize {
    // SAFETY: by the contract.
    unsafe { (*map).used as usize * stride(map) }
}

/// How keys are held and compared.
///
/// # Safety
/// `map` points to a live map.
#[inline(always)]
pub unsafe fn key_policy(map: *mut MapObject) -> KeyPolicy {
    const POLICIES: [KeyPolicy; 8] = {
        let mut policies = [KeyPolicy::Protocol; 8];
        policies[KeyPolicy::Int as usize] = KeyPolicy::Int;
        policies[KeyPolicy::String as usize] = KeyPolicy::String;
        policies[KeyPolicy::Value as usize] = KeyPolicy::Value;
        policies[KeyPolicy::Text as usize] = KeyPolicy::Text;
        policies
    };
    // SAFETY: by the contract.
    POLICIES[unsafe { (*map).header.bits & POLICY_MASK } as usize]
}

/// Whether a text is enough to find an entry.
///
/// # Safety
/// `map` points to a live map.
#[inline(always)]
pub unsafe fn finds_by_text(map: *mut MapObject) -> bool {
    // SAFETY: by the contract.
    matches!(unsafe { key_policy(map) }, KeyPolicy::String | KeyPolicy::Text)
}

/// The order in which keys are shown.
///
/// # Safety
/// `map` points to a live map.
#[inline(always)]
pub unsafe fn order_policy(map: *mut MapObject) -> OrderPolicy {
    // SAFETY: by the contract.
    if unsafe { (*map).header.bits } & SORTED != 0 {
        OrderPolicy::SortedByText
    } else {
        OrderPolicy::Insertion
    }
}

/// Whether an insertion of this key must come with its text.
///
/// # Safety
/// `map` points to a live map.
#[inline]
pub unsafe fn needs_text(map: *mut MapObject, key: Value) -> bool {
    // SAFETY: by the contract.
    unsafe { (*map).header.bits & TEXTS != 0 && !key.is_int() && !key.is_string() }
}

/// The hash of an int key.
#[inline(always)]
pub fn hash_int(key: i64) -> u32 {
    hash::of_word((key >> 3) as u64) << 3 | key as u32 & 7
}

/// The words of an entry.
#[inline(always)]
unsafe fn entry_at(map: *mut MapObject, stride: usize, entry: usize) -> *mut Value {
    // SAFETY: callers pass numbers of entries in use.
    unsafe { Buffer::data::<Value>((*map).entries).add(entry * stride) }
}

/// Writes a cell of an entry.
#[inline(always)]
unsafe fn store(heap: &mut Heap, map: *mut MapObject, slot: *mut Value, value: Value) {
    // SAFETY: callers pass a cell of the map's entries and a value of the heap. The barrier is for young objects only.
    unsafe {
        *slot = value;
        if value.is_object() {
            heap.write_barrier_slot((*map).entries, slot);
        }
    }
}

#[inline(always)]
unsafe fn stride(map: *mut MapObject) -> usize {
    // SAFETY: callers pass a live map.
    stride_of(unsafe { (*map).header.bits })
}

// String keys.

/// The place of the value of a key, where it is the one that was found last. `None` says nothing about whether the key is
/// there.
///
/// # Safety
/// `map` points to a live map with string keys, `key` is a string.
#[inline(always)]
pub unsafe fn string_slot(map: *mut MapObject, key: Value) -> Option<*mut Value> {
    // SAFETY: by the contract; entries below `used` are initialised, and those that were removed have a hole as key.
    unsafe {
        let last = (*map).base as usize;
        if last >= (*map).used as usize {
            return None;
        }
        let entry = entry_at(map, 2, last);
        ((*entry).bits() == key.bits()).then(|| entry.add(1))
    }
}

/// The number of a string key's entry: its key and value are the words from twice the number on.
///
/// # Safety
/// `map` points to a live map with string keys, `key` is a live string.
#[inline(always)]
pub unsafe fn string_find(map: *mut MapObject, key: Value) -> Option<usize> {
    // SAFETY: by the contract.
    unsafe { find_string(map, key) }
}

#[inline(always)]
unsafe fn find_string(map: *mut MapObject, key: Value) -> Option<usize> {
    // SAFETY: callers pass a live map with string keys and a live string.
    unsafe {
        let last = (*map).base as usize;
        if string_slot(map, key).is_some() { Some(last) } else { search_string(map, key) }
    }
}

/// Finds a string that is not the one that was found last.
#[inline(never)]
unsafe fn search_string(map: *mut MapObject, key: Value) -> Option<usize> {
    // SAFETY: as in `find_string`.
    unsafe {
        let entries = Buffer::data::<Value>((*map).entries);
        let index = (*map).index;
        let entry = if (*index).capacity == 0 {
            let used = (*map).used as usize;
            match same_cell(map, 2, key) {
                Some(entry) => entry,
                None if key.is_object() => (0..used).find(|&e| {
                    let other = entries.add(2 * e).read();
                    other.is_object() && string::equal(other, key)
                })?,
                None => return None,
            }
        } else {
            probe(index, string::hash_of(key), |e| string::equal(entries.add(2 * e).read(), key))?.1
        };
        (*map).base = entry as i64;
        Some(entry)
    }
}

/// The value at a string key.
///
/// # Safety
/// `map` points to a live map with string keys, `key` is a live string.
#[inline(always)]
pub unsafe fn string_get(map: *mut MapObject, key: Value) -> Option<Value> {
    // SAFETY: by the contract.
    unsafe { find_string(map, key).map(|e| *entry_at(map, 2, e).add(1)) }
}

/// Inserts or replaces the value at a string key.
///
/// # Safety
/// `map` points to a live map of the heap with string keys, `key` is a live string; the value is one of the heap.
#[inline]
pub unsafe fn string_set(
    heap: &mut Heap,
    map: *mut MapObject,
    key: Value,
    value: Value,
) -> Result<(), OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        match find_string(map, key) {
            Some(e) => {
                store(heap, map, entry_at(map, 2, e).add(1), value);
                Ok(())
            }
            None => insert(heap, map, key, string::hash_of(key), value, Value::HOLE).map(|_| ()),
        }
    }
}

/// Removes a string key; whether it was there.
///
/// # Safety
/// `map` points to a live map with string keys, `key` is a live string.
pub unsafe fn string_remove(heap: &mut Heap, map: *mut MapObject, key: Value) -> bool {
    // SAFETY: by the contract.
    unsafe {
        let Some(entry) = find_string(map, key) else { return false };
        remove_entry(heap, map, entry, string::hash_of(key));
        true
    }
}

// Entries.

/// The key of an entry; may allocate where it is an int.
///
/// # Safety
/// `map` points to a live map, `entry` is one of its entries.
#[inline]
pub unsafe fn key_at(heap: &mut Heap, map: *mut MapObject, entry: usize) -> Result<Value, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        let word = *entry_at(map, stride(map), entry);
        if key_policy(map) == KeyPolicy::Int { heap.box_int(word.bits() as i64) } else { Ok(word) }
    }
}

/// The key of an entry of a map with int keys.
///
/// # Safety
/// `map` points to a live map with int keys, `entry` is one of its entries.
#[inline]
pub unsafe fn int_key_at(map: *mut MapObject, entry: usize) -> i64 {
    // SAFETY: by the contract.
    unsafe { (*entry_at(map, 2, entry)).bits() as i64 }
}

/// The text kept for the key of an entry, where it has one of its own.
///
/// # Safety
/// `map` points to a live map, `entry` is one of its entries.
pub unsafe fn text_at(map: *mut MapObject, entry: usize) -> Option<Value> {
    // SAFETY: by the contract.
    unsafe {
        if stride(map) < 3 {
            return None;
        }
        Some(*entry_at(map, 3, entry).add(2)).filter(|t| !t.is_hole())
    }
}

/// The value of an entry.
///
/// # Safety
/// `map` points to a live map, `entry` is one of its entries.
#[inline(always)]
pub unsafe fn value_at(map: *mut MapObject, entry: usize) -> Value {
    // SAFETY: by the contract.
    unsafe { *entry_at(map, stride(map), entry).add(1) }
}

/// Replaces the value of an entry.
///
/// # Safety
/// `map` points to a live map of the heap, `entry` is one of its entries; the value is one of the heap.
#[inline]
pub unsafe fn set_value_at(heap: &mut Heap, map: *mut MapObject, entry: usize, value: Value) {
    // SAFETY: by the contract.
    unsafe {
        store(heap, map, entry_at(map, stride(map), entry).add(1), value);
    }
}

/// A new map with the policies and entries of another.
///
/// # Safety
/// `map` points to a live map of the heap.
pub unsafe fn copy(heap: &mut Heap, map: *mut MapObject) -> Result<*mut MapObject, OutOfMemory> {
    // SAFETY: by the contract; the new buffers are young and have the capacities of the old ones.
    unsafe {
        let (old_entries, old_index) = ((*map).entries, (*map).index);
        let bits = (*map).header.bits;
        let entries = new_entries(heap, bits, (*old_entries).capacity / stride_of(bits))?;
        let index = list::new_buffer(heap, false, 0, 8, (*old_index).capacity, false, 0)?;
        let new = heap.alloc(ObjectKind::Map, bits, 0, size_of::<MapObject>())?.cast::<MapObject>();
        let (len, used) = ((*map).len, (*map).used);
        let words = used as usize * stride_of(bits);
        std::ptr::copy_nonoverlapping(Buffer::data::<Value>(old_entries), Buffer::data(entries), words);
        std::ptr::copy_nonoverlapping(
            Buffer::data::<u64>(old_index),
            Buffer::data(index),
            (*old_index).capacity,
        );
        (*new).len = len;
        (*new).used = used;
        (*new).entries = entries;
        (*new).index = index;
        (*new).sorted = Value::HOLE;
        (*new).base = (*map).base;
        heap.write_barrier_range(entries, 0, words);
        Ok(new)
    }
}

/// Removes all entries. The room stays.
///
/// # Safety
/// `map` points to a live map of the heap.
pub unsafe fn clear(map: *mut MapObject) {
    // SAFETY: by the contract.
    unsafe {
        let (entries, index) = ((*map).entries, (*map).index);
        std::ptr::write_bytes(
            Buffer::data::<u64>(entries),
            0,
            (*entries).capacity.min((*map).used as usize * stride(map)),
        );
        if (*index).capacity > 0 {
            std::ptr::write_bytes(Buffer::data::<u64>(index), 0, (*index).capacity);
        }
        (*map).len = 0;
        (*map).used = 0;
        (*map).sorted = Value::HOLE;
    }
}
