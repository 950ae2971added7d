//! Keys of any kind: by value, by text, and what the protocol policy needs.

use upshift_bytecode::types::KeyPolicy;

use super::index::probe;
use super::storage::{insert, remove_entry};
use super::{
    Find, entry_at, find_int, find_string, hash_int, key_policy, needs_text, set_value_at, stride, value_at,
};
use crate::hash;
use crate::heap::{Heap, OutOfMemory};
use crate::object::*;
use crate::string::{self, Decimal};
use crate::value::Value;

/// How a key is looked for in a text map.
#[derive(Clone, Copy)]
pub(super) enum TextKey {
    /// The decimal form of an int.
    Int(i64),
    /// Other text.
    Text(Value),
}

/// The int whose decimal form the bytes are.
#[inline]
pub(super) fn parse_decimal(bytes: &[u8]) -> Option<i64> {
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
pub(super) unsafe fn text_key(key: Value, text: Option<Value>) -> Option<TextKey> {
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
    pub(super) unsafe fn hash(self) -> u32 {
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
pub(super) unsafe fn same_value(a: Value, b: Value) -> bool {
    // SAFETY: callers pass live values.
    a.identical(b) || (a.is_object() && a.is_string() && b.is_string() && unsafe { string::equal(a, b) })
}

/// The hash of a key by value; `None` for an object without an identity hash, unless it is to get one.
#[inline]
pub(super) unsafe fn value_hash(heap: &mut Heap, key: Value, make: bool) -> Option<u32> {
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

pub(super) unsafe fn find_value(heap: &mut Heap, map: *mut MapObject, key: Value) -> Option<usize> {
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

/// The entry of a map without an index, and with so many words an entry, whose key is a cell itself: most keys are short, or constants of
/// the program. Removed entries have a hole as key.
#[inline(always)]
pub(super) unsafe fn same_cell(map: *mut MapObject, stride: usize, key: Value) -> Option<usize> {
    // SAFETY: as in `find`.
    unsafe { (0..(*map).used as usize).find(|&e| (*entry_at(map, stride, e)).bits() == key.bits()) }
}

pub(super) unsafe fn find_text(map: *mut MapObject, key: TextKey) -> Option<usize> {
    // SAFETY: as in `find`.
    unsafe {
        let is = |e: usize| key.is(entry_at(map, 3, e));
        if (*(*map).index).capacity == 0 {
            let same = if let TextKey::Text(own) = key { same_cell(map, 3, own) } else { None };
            return same.or_else(|| (0..(*map).used as usize).find(|&e| is(e)));
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

/// The value at a string of a map with string keys, or with keys that are told apart by their text; nil where there is none. `None`
/// for other maps.
///
/// # Safety
/// `map` points to a live map; the key is a live string.
pub unsafe fn at_text(map: *mut MapObject, key: Value) -> Option<Value> {
    // SAFETY: by the contract.
    unsafe {
        let found = match key_policy(map) {
            KeyPolicy::String => find_string(map, key),
            KeyPolicy::Text => text_find(map, key).flatten(),
            _ => return None,
        };
        Some(found.map_or(Value::NIL, |entry| value_at(map, entry)))
    }
}

/// The entry of a key of a map whose keys are told apart by their text, where the key is an int or a string: `None` in it where the map
/// does not have it. `None` for other maps and keys.
///
/// # Safety
/// `map` points to a live map; the key is a live value.
pub unsafe fn text_find(map: *mut MapObject, key: Value) -> Option<Option<usize>> {
    // SAFETY: by the contract.
    unsafe {
        if key_policy(map) != KeyPolicy::Text {
            return None;
        }
        if (*(*map).index).capacity == 0
            && let Some(entry) = same_cell(map, 3, key)
        {
            return Some(Some(entry));
        }
        Some(find_text(map, text_key(key, None)?))
    }
}

/// What a map has as the field of a name: as [`at_text`], but `None` too where the map has no such entry and is marked, as
/// then the language says what it has.
///
/// # Safety
/// As for [`at_text`].
pub unsafe fn field(map: *mut MapObject, name: Value) -> Option<Value> {
    // SAFETY: by the contract.
    unsafe { at_text(map, name).filter(|value| !value.is_nil() || super::mark(map) == 0) }
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

#[cfg(test)]
mod tests {
    use super::*;

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
