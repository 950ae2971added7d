//! Maps: entries in the order of insertion, and an open-addressing index into them.
//!
//! An entry is two words, key and value, or three: with a text key policy, or a view that is sorted by text of keys that
//! may be of any kind, the third holds the text of a key that is neither an int nor a string (hole for those that are).
//! Keys of the int policy are raw words. A removed entry stays, with a mark as its value, until the entries are packed.
//!
//! The index has 8-byte slots, hash above entry number plus one, 0 where empty; collisions go to the next slot, and
//! removal moves later slots back, so there are no marks in it. Hashes in the slots mean that growing reads no key. Maps
//! of at most [`SMALL`] entries have no index and are searched in order, except under the protocol policy, where comparing
//! costs a call.
//!
//! Int keys that share all but their low three bits share a cache line of the index; that makes dense keys cheap without
//! an array part. In text maps, text that is the decimal form of an int hashes as that int, so 1 and "1" meet.
//!
//! The protocol policy is driven by the caller, who computes hashes and asks for equality: see [`candidate`].

use std::cmp::Ordering;

use upshift_bytecode::types::{KeyPolicy, OrderPolicy};

use crate::hash;
use crate::heap::{Heap, OutOfMemory, empty_buffer};
use crate::list;
use crate::object::*;
use crate::string::{self, Decimal};
use crate::value::Value;

/// The largest map without an index.
pub const SMALL: usize = 8;
/// The most entries, removed ones included.
const ENTRIES_MAX: usize = 1 << 30;

const POLICY_MASK: u16 = 7;
const SORTED: u16 = 8;
const TEXTS: u16 = 16;

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
    let mut bits = key as u16;
    if order == OrderPolicy::SortedByText {
        bits |= SORTED;
    }
    let sorted_any =
        order == OrderPolicy::SortedByText && matches!(key, KeyPolicy::Value | KeyPolicy::Protocol);
    if key == KeyPolicy::Text || sorted_any {
        bits |= TEXTS;
    }
    let entries = new_entries(heap, bits, capacity)?;
    let indexed = capacity > SMALL || key == KeyPolicy::Protocol;
    let index = if indexed { new_index(heap, capacity.max(SMALL))? } else { empty_buffer() };
    let map = heap.alloc(ObjectKind::Map, bits, 0, size_of::<MapObject>())?.cast::<MapObject>();
    // SAFETY: allocated with this layout.
    unsafe {
        (*map).len = 0;
        (*map).used = 0;
        (*map).entries = entries;
        (*map).index = index;
        (*map).sorted = Value::HOLE;
    }
    Ok(map)
}

fn new_entries(heap: &mut Heap, bits: u16, capacity: usize) -> Result<*mut Buffer, OutOfMemory> {
    if capacity > ENTRIES_MAX {
        return Err(OutOfMemory);
    }
    let pairs = if bits & POLICY_MASK == KeyPolicy::Int as u16 { buffer_bits::PAIRS } else { 0 };
    list::new_buffer(heap, true, pairs, 8, capacity * stride_of(bits), false)
}

/// An index for so many entries: at most half full.
fn new_index(heap: &mut Heap, entries: usize) -> Result<*mut Buffer, OutOfMemory> {
    list::new_buffer(heap, false, 0, 8, (entries * 2).next_power_of_two(), true)
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

#[inline(always)]
unsafe fn stride(map: *mut MapObject) -> usize {
    // SAFETY: callers pass a live map.
    stride_of(unsafe { (*map).header.bits })
}

/// Searches the index.
#[inline(always)]
unsafe fn probe(index: *mut Buffer, hash: u32, mut is: impl FnMut(usize) -> bool) -> Option<(usize, usize)> {
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
unsafe fn index_insert(index: *mut Buffer, hash: u32, entry: usize) {
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
unsafe fn index_remove(index: *mut Buffer, slot: usize) {
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

// Int keys.

#[inline(always)]
unsafe fn find_int(map: *mut MapObject, key: i64) -> Option<usize> {
    // SAFETY: callers pass a live map with int keys; its entries are pairs of a raw key and a value.
    unsafe {
        let entries = Buffer::data::<Value>((*map).entries);
        let index = (*map).index;
        if (*index).capacity == 0 {
            let used = (*map).used as usize;
            return (0..used).find(|&e| {
                entries.add(2 * e).read().bits() as i64 == key
                    && entries.add(2 * e + 1).read() != Value::TOMBSTONE
            });
        }
        probe(index, hash_int(key), |e| entries.add(2 * e).read().bits() as i64 == key).map(|(_, e)| e)
    }
}

/// The value at an int key.
///
/// # Safety
/// `map` points to a live map with int keys.
#[inline(always)]
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
                let slot = entry_at(map, 2, e).add(1);
                *slot = value;
                heap.write_barrier_slot((*map).entries, slot);
                Ok(())
            }
            None => {
                insert(heap, map, Value::from_bits(key as u64), hash_int(key), value, Value::HOLE).map(|_| ())
            }
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
        remove_entry(heap, map, entry, hash_int(key));
        true
    }
}

// String keys.

#[inline(always)]
unsafe fn find_string(map: *mut MapObject, key: Value) -> Option<usize> {
    // SAFETY: callers pass a live map with string keys and a live string.
    unsafe {
        let entries = Buffer::data::<Value>((*map).entries);
        let index = (*map).index;
        if (*index).capacity == 0 {
            let used = (*map).used as usize;
            // Removed entries have a hole as key, which equals no string.
            return (0..used).find(|&e| {
                let other = entries.add(2 * e).read();
                other.bits() == key.bits() || other.is_object() && string::equal(other, key)
            });
        }
        probe(index, string::hash_of(key), |e| string::equal(entries.add(2 * e).read(), key)).map(|(_, e)| e)
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
                let slot = entry_at(map, 2, e).add(1);
                *slot = value;
                heap.write_barrier_slot((*map).entries, slot);
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

// Keys of any kind.

/// How a key is looked for in a text map.
#[derive(Clone, Copy)]
enum TextKey {
    /// The decimal form of an int.
    Int(i64),
    /// Other text.
    Text(Value),
}

/// The int whose decimal form the bytes are.
#[inline]
fn parse_decimal(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let first = *digits.first()?;
    if !first.is_ascii_digit() || digits.len() > 19 || (first == b'0' && bytes.len() > 1) {
        return None;
    }
    let mut magnitude = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if digits.len() == bytes.len() {
        i64::try_from(magnitude).ok()
    } else {
        0i64.checked_sub_unsigned(magnitude)
    }
}

/// What a key with this text is looked for as; `None` where the text is needed and not given.
#[inline]
unsafe fn text_key(key: Value, text: Option<Value>) -> Option<TextKey> {
    if let Some(i) = key.as_int() {
        return Some(TextKey::Int(i));
    }
    let text = if key.is_string() { key } else { text? };
    // SAFETY: callers pass live strings.
    Some(match parse_decimal(unsafe { string::bytes(&text) }) {
        Some(i) => TextKey::Int(i),
        None => TextKey::Text(text),
    })
}

impl TextKey {
    #[inline]
    unsafe fn hash(self) -> u32 {
        match self {
            TextKey::Int(i) => hash_int(i),
            // SAFETY: a live string.
            TextKey::Text(text) => unsafe { string::hash_of(text) },
        }
    }

    /// Whether an entry has this text.
    #[inline]
    unsafe fn is(self, entry: *mut Value) -> bool {
        // SAFETY: an entry of a text map; its strings are alive.
        unsafe {
            let (key, text) = (*entry, *entry.add(2));
            if *entry.add(1) == Value::TOMBSTONE {
                return false;
            }
            let text = if text.is_hole() { key } else { text };
            match self {
                TextKey::Int(i) => match text.as_int() {
                    Some(other) => i == other,
                    None => Decimal::new(i).bytes() == string::bytes(&text),
                },
                TextKey::Text(own) => text.is_string() && string::equal(own, text),
            }
        }
    }
}

/// Whether two keys are the same by value.
#[inline(always)]
unsafe fn same_value(a: Value, b: Value) -> bool {
    // SAFETY: callers pass live values.
    a.identical(b) || (a.is_object() && a.is_string() && b.is_string() && unsafe { string::equal(a, b) })
}

/// The hash of a key by value; `None` for an object without an identity hash, unless it is to get one.
#[inline]
unsafe fn value_hash(heap: &mut Heap, key: Value, make: bool) -> Option<u32> {
    if let Some(i) = key.as_int() {
        return Some(hash_int(i));
    }
    let Some(object) = key.as_object() else { return Some(hash::of_word(key.bits())) };
    // SAFETY: callers pass live values.
    unsafe {
        if (*object).kind == ObjectKind::String as u8 {
            return Some(string::hash_of(key));
        }
        if !make && (*object).gc & gc::HASHED == 0 {
            return None;
        }
        Some(heap.identity_hash(object))
    }
}

/// Searches a map of any policy. `text` is the text of a key that is neither an int nor a string, where the caller has it.
///
/// # Safety
/// `map` points to a live map of the heap; key and text are live values.
pub unsafe fn find(heap: &mut Heap, map: *mut MapObject, key: Value, text: Option<Value>) -> Find {
    // SAFETY: by the contract.
    unsafe {
        match key_policy(map) {
            KeyPolicy::Int => match key.as_int() {
                Some(i) => find_int(map, i).map_or(Find::Absent, Find::Entry),
                None => Find::WrongKind,
            },
            KeyPolicy::String if key.is_string() => find_string(map, key).map_or(Find::Absent, Find::Entry),
            KeyPolicy::String => Find::WrongKind,
            KeyPolicy::Value => find_value(heap, map, key).map_or(Find::Absent, Find::Entry),
            KeyPolicy::Text => match text_key(key, text) {
                Some(key) => find_text(map, key).map_or(Find::Absent, Find::Entry),
                None => Find::NeedsText,
            },
            KeyPolicy::Protocol => Find::NeedsProtocol,
        }
    }
}

unsafe fn find_value(heap: &mut Heap, map: *mut MapObject, key: Value) -> Option<usize> {
    // SAFETY: as in `find`.
    unsafe {
        let stride = stride(map);
        let is = |e: usize| same_value(*entry_at(map, stride, e), key);
        if (*(*map).index).capacity == 0 {
            let used = (*map).used as usize;
            return (0..used).find(|&e| is(e) && *entry_at(map, stride, e).add(1) != Value::TOMBSTONE);
        }
        let hash = value_hash(heap, key, false)?;
        probe((*map).index, hash, is).map(|(_, e)| e)
    }
}

unsafe fn find_text(map: *mut MapObject, key: TextKey) -> Option<usize> {
    // SAFETY: as in `find`.
    unsafe {
        let is = |e: usize| key.is(entry_at(map, 3, e));
        if (*(*map).index).capacity == 0 {
            return (0..(*map).used as usize).find(|&e| is(e));
        }
        probe((*map).index, key.hash(), is).map(|(_, e)| e)
    }
}

/// The value at a key of a map of any policy.
///
/// # Safety
/// As for [`find`].
pub unsafe fn get(heap: &mut Heap, map: *mut MapObject, key: Value, text: Option<Value>) -> (Find, Value) {
    // SAFETY: by the contract.
    unsafe {
        let found = find(heap, map, key, text);
        (found, if let Find::Entry(e) = found { value_at(map, e) } else { Value::NIL })
    }
}

/// Inserts or replaces the value at a key. Done where `Entry` comes back; else nothing was changed. Where an entry is
/// there, its key stays as it is.
///
/// # Safety
/// As for [`find`]; the value is one of the heap.
pub unsafe fn set(
    heap: &mut Heap,
    map: *mut MapObject,
    key: Value,
    text: Option<Value>,
    value: Value,
) -> Result<Find, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        let found = find(heap, map, key, text);
        match found {
            Find::Entry(e) => {
                set_value_at(heap, map, e, value);
                return Ok(found);
            }
            Find::Absent => {}
            Find::NeedsText | Find::NeedsProtocol | Find::WrongKind => return Ok(found),
        }
        let own_text = if needs_text(map, key) {
            match text {
                Some(text) => text,
                None => return Ok(Find::NeedsText),
            }
        } else {
            Value::HOLE
        };
        let (word, hash) = match key_policy(map) {
            KeyPolicy::Int => {
                let i = key.as_int().unwrap_or(0);
                (Value::from_bits(i as u64), hash_int(i))
            }
            KeyPolicy::Text => (key, text_key(key, text).map_or(0, |k| k.hash())),
            KeyPolicy::String | KeyPolicy::Value | KeyPolicy::Protocol => {
                (key, value_hash(heap, key, true).unwrap_or(0))
            }
        };
        insert(heap, map, word, hash, value, own_text).map(Find::Entry)
    }
}

/// Removes a key. `Entry` says that it was there, `Absent` that it was not; else the key needs more.
///
/// # Safety
/// As for [`find`].
pub unsafe fn remove(heap: &mut Heap, map: *mut MapObject, key: Value, text: Option<Value>) -> Find {
    // SAFETY: by the contract.
    unsafe {
        let found = find(heap, map, key, text);
        if let Find::Entry(entry) = found {
            let hash = match key_policy(map) {
                KeyPolicy::Int => key.as_int().map_or(0, hash_int),
                KeyPolicy::Text => text_key(key, text).map_or(0, |k| k.hash()),
                // An object that was found by a small map may have no hash yet; then there is no index either.
                KeyPolicy::String | KeyPolicy::Value | KeyPolicy::Protocol => {
                    value_hash(heap, key, false).unwrap_or(0)
                }
            };
            remove_entry(heap, map, entry, hash);
        }
        found
    }
}

// Protocol keys.

/// The `n`-th entry whose key has this hash, in a map of the protocol policy.
///
/// The caller asks the protocol whether that key equals the one it looks for, and goes on with `n + 1` where not. As the
/// answer may be guest code that collects or changes the map, each step starts anew from the map; after a call that said
/// yes, the caller fetches the candidate again and sees that its key is still identical.
///
/// # Safety
/// `map` points to a live map of the protocol policy.
pub unsafe fn candidate(map: *mut MapObject, hash: u32, n: usize) -> Option<(usize, Value)> {
    // SAFETY: by the contract.
    unsafe {
        let mut seen = 0;
        let is = |_: usize| {
            seen += 1;
            seen > n
        };
        let (_, entry) = probe((*map).index, hash, is)?;
        Some((entry, *entry_at(map, stride(map), entry)))
    }
}

/// Inserts a key that is not there into a map of the protocol policy. `text` is needed where [`needs_text`] says so.
///
/// # Safety
/// `map` points to a live map of the heap of the protocol policy; key, text and value are values of the heap.
pub unsafe fn insert_hashed(
    heap: &mut Heap,
    map: *mut MapObject,
    key: Value,
    hash: u32,
    value: Value,
    text: Option<Value>,
) -> Result<usize, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        debug_assert!(text.is_some() || !needs_text(map, key));
        let text = if needs_text(map, key) { text.unwrap_or(Value::EMPTY_STRING) } else { Value::HOLE };
        insert(heap, map, key, hash, value, text)
    }
}

/// Removes an entry of a map of the protocol policy.
///
/// # Safety
/// `map` points to a live map of the protocol policy; `entry` is one of its entries and was inserted with the hash.
pub unsafe fn remove_hashed(heap: &mut Heap, map: *mut MapObject, entry: usize, hash: u32) {
    // SAFETY: by the contract.
    unsafe { remove_entry(heap, map, entry, hash) }
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
        let slot = entry_at(map, stride(map), entry).add(1);
        *slot = value;
        heap.write_barrier_slot((*map).entries, slot);
    }
}

/// Adds an entry whose key is not there, and returns its number.
#[inline(never)]
unsafe fn insert(
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
        if ((*map).used as usize + 1) * stride > (*(*map).entries).capacity {
            make_room(heap, map)?;
        }
        let entry = (*map).used as usize;
        let slot = entry_at(map, stride, entry);
        let entries = (*map).entries;
        slot.write(key);
        slot.add(1).write(value);
        if bits & POLICY_MASK != KeyPolicy::Int as u16 {
            heap.write_barrier_slot(entries, slot);
        }
        heap.write_barrier_slot(entries, slot.add(1));
        if stride == 3 {
            slot.add(2).write(text);
            heap.write_barrier_slot(entries, slot.add(2));
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
unsafe fn remove_entry(heap: &mut Heap, map: *mut MapObject, entry: usize, hash: u32) {
    // SAFETY: callers pass a live map, one of its entries and that key's hash.
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
unsafe fn make_room(heap: &mut Heap, map: *mut MapObject) -> Result<(), OutOfMemory> {
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
unsafe fn entry_hash(heap: &mut Heap, map: *mut MapObject, entry: *mut Value) -> u32 {
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
unsafe fn pack(heap: &mut Heap, map: *mut MapObject) {
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
        heap.write_barrier((*map).entries);
        debug_assert_eq!(to, (*map).len as usize);
    }
}

// Order.

/// The entries of a map in its order. Valid until the map changes or a collection runs.
#[derive(Clone, Debug)]
pub struct Entries {
    map: *mut MapObject,
    sorted: Option<*mut Buffer>,
    next: usize,
}

impl Iterator for Entries {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        // SAFETY: `entries` had a live map, and its caller promises that nothing changed since.
        unsafe {
            if let Some(sorted) = self.sorted {
                if self.next >= (*sorted).capacity {
                    return None;
                }
                self.next += 1;
                return Some(*Buffer::data::<u32>(sorted).add(self.next - 1) as usize);
            }
            let stride = stride(self.map);
            while self.next < (*self.map).used as usize {
                let entry = self.next;
                self.next += 1;
                if *entry_at(self.map, stride, entry).add(1) != Value::TOMBSTONE {
                    return Some(entry);
                }
            }
            None
        }
    }
}

/// The numbers of the entries in the order of the map's policy. The sorted view is kept until the set of keys changes.
///
/// # Safety
/// `map` points to a live map of the heap; while the result is used, it does not change and no collection runs.
pub unsafe fn entries(heap: &mut Heap, map: *mut MapObject) -> Result<Entries, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        let sorted = match order_policy(map) {
            OrderPolicy::Insertion => None,
            OrderPolicy::SortedByText => Some(sorted_view(heap, map)?),
        };
        Ok(Entries { map, sorted, next: 0 })
    }
}

unsafe fn sorted_view(heap: &mut Heap, map: *mut MapObject) -> Result<*mut Buffer, OutOfMemory> {
    // SAFETY: as in `entries`.
    unsafe {
        if !(*map).sorted.is_hole() {
            return Ok((*map).sorted.as_ptr());
        }
        let len = (*map).len as usize;
        let view = list::new_buffer(heap, false, 0, 4, len, false)?;
        let numbers = Entries { map, sorted: None, next: 0 };
        let data = Buffer::data::<u32>(view);
        if key_policy(map) == KeyPolicy::Int {
            let mut items: Vec<(u128, u32)> =
                numbers.map(|e| (decimal_order(int_key_at(map, e)), e as u32)).collect();
            items.sort_unstable();
            items.iter().enumerate().for_each(|(i, item)| data.add(i).write(item.1));
        } else {
            let stride = stride(map);
            let mut items: Vec<(u64, u32)> =
                numbers.map(|e| (with_text(entry_at(map, stride, e), stride, prefix), e as u32)).collect();
            items.sort_unstable_by(|a, b| {
                a.0.cmp(&b.0).then_with(|| {
                    compare_texts(
                        entry_at(map, stride, a.1 as usize),
                        entry_at(map, stride, b.1 as usize),
                        stride,
                    )
                })
            });
            items.iter().enumerate().for_each(|(i, item)| data.add(i).write(item.1));
        }
        (*map).sorted = Value::object(view);
        heap.write_barrier(map);
        Ok(view)
    }
}

/// A number whose order is the byte order of the decimal texts.
fn decimal_order(i: i64) -> u128 {
    let magnitude = i.unsigned_abs();
    let digits = magnitude.checked_ilog10().unwrap_or(0) + 1;
    // At most 19 digits, and 19 nines fit 64 bits. Of texts that begin alike the shorter comes first; '-' comes before
    // the digits.
    let scaled = magnitude * 10u64.pow(19 - digits);
    u128::from(i >= 0) << 72 | u128::from(scaled) << 8 | u128::from(digits)
}

/// Hands the text of an entry's key to `f`.
unsafe fn with_text<R>(entry: *mut Value, stride: usize, f: impl FnOnce(&[u8]) -> R) -> R {
    // SAFETY: callers pass an entry of a live map.
    unsafe {
        let key = *entry;
        let text = if stride == 3 && !(*entry.add(2)).is_hole() { *entry.add(2) } else { key };
        match text.as_int() {
            Some(i) => f(Decimal::new(i).bytes()),
            None if text.is_string() => f(string::bytes(&text)),
            None => f(&[]),
        }
    }
}

/// The first 8 bytes as a number whose order is theirs.
fn prefix(text: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = text.len().min(8);
    first[..len].copy_from_slice(&text[..len]);
    u64::from_be_bytes(first)
}

unsafe fn compare_texts(a: *mut Value, b: *mut Value, stride: usize) -> Ordering {
    // SAFETY: callers pass entries of a live map.
    unsafe { with_text(a, stride, |a| with_text(b, stride, |b| a.cmp(b))) }
}

/// A new list of the keys in the map's order: of raw ints for int keys, else of cells.
///
/// # Safety
/// `map` points to a live map of the heap.
pub unsafe fn keys(heap: &mut Heap, map: *mut MapObject) -> Result<*mut List, OutOfMemory> {
    // SAFETY: by the contract; the lists are fresh and have room.
    unsafe {
        let entries = entries(heap, map)?;
        let stride = stride(map);
        let ints = key_policy(map) == KeyPolicy::Int;
        let kind = if ints { ObjectKind::ListInt } else { ObjectKind::ListCell };
        let list = list::new_of(heap, kind, (*map).len as usize)?;
        let data = Buffer::data::<Value>((*list).buffer);
        // Raw keys and cells are both one word.
        entries.enumerate().for_each(|(i, e)| data.add(i).write(*entry_at(map, stride, e)));
        (*list).len = (*map).len as usize;
        Ok(list)
    }
}

/// A new list of cells: the values in the map's order.
///
/// # Safety
/// `map` points to a live map of the heap.
pub unsafe fn values(heap: &mut Heap, map: *mut MapObject) -> Result<*mut List, OutOfMemory> {
    // SAFETY: by the contract; the list is fresh and has room.
    unsafe {
        let entries = entries(heap, map)?;
        let list = list::new_of(heap, ObjectKind::ListCell, (*map).len as usize)?;
        let data = Buffer::data::<Value>((*list).buffer);
        entries.enumerate().for_each(|(i, e)| data.add(i).write(value_at(map, e)));
        (*list).len = (*map).len as usize;
        Ok(list)
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
        let index = list::new_buffer(heap, false, 0, 8, (*old_index).capacity, false)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_order_is_the_order_of_texts() {
        let mut ints = vec![0, 1, 9, 10, 11, 19, 100, -1, -9, -10, i64::MAX, i64::MIN, 12345, 123, 1230];
        let mut texts: Vec<String> = ints.iter().map(|i: &i64| i.to_string()).collect();
        ints.sort_by_key(|&i| decimal_order(i));
        texts.sort();
        assert_eq!(ints.iter().map(|i| i.to_string()).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn only_canonical_decimals_are_ints() {
        for i in [0, 7, -7, i64::MAX, i64::MIN, 1_000_000] {
            assert_eq!(parse_decimal(i.to_string().as_bytes()), Some(i));
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "+1",
            "1 ",
            " 1",
            "1.0",
            "9223372036854775808",
            "12345678901234567890",
            "a",
        ] {
            assert_eq!(parse_decimal(text.as_bytes()), None, "{text}");
        }
    }
}
