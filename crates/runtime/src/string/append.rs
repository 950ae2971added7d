//! Extensible strings: what `string.append` makes.
//!
//! The verifier sees to it that a register which `string.append` extends is read by `string.append`, `string.share` and `string.len` only. So nobody
//! but that register refers to an object with the `EXTENSIBLE` bit, and the object may change: its length grows, and bytes are written
//! behind it. Such an object has its bytes in itself, where there is room for [`OWN_ROOM`], or in a buffer that nobody else may extend
//! meanwhile. The field for the hash, which nobody asks for, says up to which length it may grow without a look at the buffer.
//!
//! Sharing ends all of that: the object is then as one that a concatenation made. So does leaving the nursery where the bytes are in
//! the object, so that what lives long takes no more room than it needs.

use std::ptr;

use super::{INLINE_MAX, LEN_MAX, copy_words, object_bytes, payload, short_scalars};
use crate::heap::{Heap, OutOfMemory};
use crate::object::{Header, ObjectKind, StringBuffer, StringObject, string_bits};
use crate::value::{SHORT_MAX, Value};

/// What a copy by words may write behind a text.
const SLACK: usize = 8;
/// Room for bytes in an extensible object without a buffer: with what stands before them, a line of the cache.
const OWN_ROOM: usize = INLINE_MAX + SLACK;
/// The largest object that is made without a look at the heap's state.
const QUICK_MAX: usize = 512;
/// Longer texts are copied by the library's routine.
const WORDS_MAX: usize = 64;
/// The bits of extensible objects.
const BITS: u16 = string_bits::EXTENSIBLE | string_bits::APPENDED;

/// Writes a string's bytes, and up to 7 more, to a place.
///
/// # Safety
/// `s` is a string with a live object; the place has room for its bytes and [`SLACK`], apart from the string.
#[inline(always)]
unsafe fn put(to: *mut u8, s: Value) {
    // SAFETY: by the contract; words are read from objects, whose size is a multiple of 8, from places in them that are.
    unsafe {
        if s.is_short_string() {
            to.cast::<u64>().write_unaligned(s.short_word());
            return;
        }
        let bytes = object_bytes(s.as_ptr());
        if bytes.len() <= WORDS_MAX {
            copy_words(bytes.as_ptr(), to, bytes.len());
        } else {
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }
}

/// The numbers of bytes and of scalars.
///
/// # Safety
/// `s` is a string with a live object.
#[inline(always)]
unsafe fn sizes(s: Value) -> (usize, usize) {
    if s.is_short_string() {
        return (s.short_len(), short_scalars(s.short_word(), s.short_len()));
    }
    let object = s.as_ptr::<StringObject>();
    // SAFETY: by the contract it is a live string object.
    unsafe { ((*object).len as usize, (*object).header.meta as usize) }
}

/// One string followed by another where that takes a few words: the first one itself, which grew, or a new string; else `None`, and
/// nothing is done. What it gives is what [`append`] does.
///
/// # Safety
/// Both are strings with live objects of the heap. Where the first is extensible, nothing reads it any more.
#[inline(always)]
pub unsafe fn append_quick(heap: &mut Heap, a: Value, b: Value) -> Option<Value> {
    // SAFETY: by the contract. An extensible object, or its buffer, has room for `SLACK` bytes behind the length up to which it may
    // grow.
    unsafe {
        let (b_len, b_scalars) = sizes(b);
        if !a.is_short_string() {
            let object = a.as_ptr::<StringObject>();
            let a_len = (*object).len as usize;
            let extensible = (*object).header.bits & string_bits::EXTENSIBLE != 0;
            if !extensible || a_len + b_len > (*object).hash as usize {
                return if b_len == 0 { Some(a) } else { grow_quick(heap, a, b) };
            }
            put(object_bytes(object).as_ptr().cast_mut().add(a_len), b);
            (*object).len = (a_len + b_len) as u32;
            (*object).header.meta += b_scalars as u32;
            return Some(a);
        }
        let a_len = a.short_len();
        let len = a_len + b_len;
        if len <= SHORT_MAX && b.is_short_string() {
            return Some(Value::short_of_word(len, a.short_word() | b.short_word() << (8 * a_len)));
        }
        if a_len == 0 {
            return Some(b);
        }
        if b_len == 0 { Some(a) } else { grow_quick(heap, a, b) }
    }
}

/// One string followed by another, in the first one's own object where that is extensible and has room. The result, where it is not one
/// of the two, is extensible: it must be shared before anything but another append reads it.
///
/// # Safety
/// As for [`append_quick`].
#[inline]
pub unsafe fn append(heap: &mut Heap, a: Value, b: Value) -> Result<Value, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        match append_quick(heap, a, b) {
            Some(longer) => Ok(longer),
            None => grow_slow(heap, a, b),
        }
    }
}

/// As [`grow`], where the nursery has room.
///
/// # Safety
/// As for [`append_quick`].
#[inline(never)]
unsafe fn grow_quick(heap: &mut Heap, a: Value, b: Value) -> Option<Value> {
    // SAFETY: by the contract.
    unsafe {
        grow(
            a,
            b,
            |kind, bits, meta, size| {
                if size <= QUICK_MAX { heap.alloc_quick(kind, bits, meta, size, 0) } else { None }
            },
        )
    }
}

/// As [`grow`].
///
/// # Safety
/// As for [`append_quick`].
#[inline(never)]
unsafe fn grow_slow(heap: &mut Heap, a: Value, b: Value) -> Result<Value, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe { grow(a, b, |kind, bits, meta, size| heap.alloc(kind, bits, meta, size).ok()).ok_or(OutOfMemory) }
}

/// As [`append`], where that takes a new object; `None` where there is no memory for it.
///
/// # Safety
/// As for [`append_quick`]. `alloc` makes objects by kind, bits, `meta` and size, and moves none.
#[inline(always)]
unsafe fn grow(
    a: Value,
    b: Value,
    mut alloc: impl FnMut(ObjectKind, u16, u32, usize) -> Option<*mut Header>,
) -> Option<Value> {
    // SAFETY: by the contract.
    unsafe {
        let (a_len, a_scalars) = sizes(a);
        let (b_len, b_scalars) = sizes(b);
        let (len, scalars) = (a_len + b_len, a_scalars + b_scalars);
        let bits = if a.is_short_string() { 0 } else { (*a.as_ptr::<Header>()).bits };
        if len > LEN_MAX {
            return None;
        }
        let view = (BITS | string_bits::BUFFERED, StringObject::PAYLOAD + 8);
        let view_of_buffer = string_bits::BUFFERED | string_bits::EXTENSIBLE | string_bits::SLICE;
        if bits & view_of_buffer == string_bits::BUFFERED {
            let buffer = (*payload(a.as_ptr()).cast::<Value>()).as_ptr::<StringBuffer>();
            let room = ((*buffer).capacity as usize).saturating_sub(SLACK);
            if (*buffer).used as usize == a_len && len <= room {
                let view = alloc(ObjectKind::String, view.0, scalars as u32, view.1)?;
                put(buffer.cast::<u8>().add(StringBuffer::DATA + a_len), b);
                return Some(view_of(view, buffer, len));
            }
        }
        if len <= INLINE_MAX {
            let size = StringObject::PAYLOAD + OWN_ROOM;
            let object = alloc(ObjectKind::String, BITS, scalars as u32, size)?.cast::<StringObject>();
            (*object).len = len as u32;
            (*object).hash = INLINE_MAX as u32;
            put(payload(object), a);
            put(payload(object).add(a_len), b);
            return Some(Value::object(object));
        }
        // What grew before will grow again; else some room, as most texts are put together from several parts.
        let room = if bits & string_bits::APPENDED != 0 { len } else { len / 4 + 64 };
        let capacity = ((len + room).min(LEN_MAX) + SLACK).next_multiple_of(8);
        let size = StringBuffer::DATA + capacity;
        let buffer = alloc(ObjectKind::StringBuffer, 0, 0, size)?.cast::<StringBuffer>();
        (*buffer).capacity = capacity as u32;
        let start = buffer.cast::<u8>().add(StringBuffer::DATA);
        put(start, a);
        put(start.add(a_len), b);
        let view = alloc(ObjectKind::String, view.0, scalars as u32, view.1)?;
        Some(view_of(view, buffer, len))
    }
}

/// Makes a new string object one of the first `len` bytes of a buffer, which it takes.
///
/// # Safety
/// The object has room for an address; the buffer is alive and holds so many bytes.
#[inline(always)]
unsafe fn view_of(object: *mut Header, buffer: *mut StringBuffer, len: usize) -> Value {
    let object = object.cast::<StringObject>();
    // SAFETY: by the contract.
    unsafe {
        (*object).len = len as u32;
        (*object).hash = ((*buffer).capacity as usize - SLACK).min(LEN_MAX) as u32;
        payload(object).cast::<Value>().write(Value::object(buffer));
        (*buffer).used = StringBuffer::TAKEN;
    }
    Value::object(object)
}

/// Makes an extensible string an ordinary one, which is what it gives.
///
/// # Safety
/// `s` is a string with a live object.
#[inline(always)]
pub unsafe fn share(s: Value) -> Value {
    // SAFETY: by the contract.
    unsafe {
        if !s.is_short_string() {
            let object = s.as_ptr::<StringObject>();
            if (*object).header.bits & string_bits::EXTENSIBLE != 0 {
                (*object).header.bits &= !string_bits::EXTENSIBLE;
                (*object).hash = 0;
                if (*object).header.bits & string_bits::BUFFERED != 0 {
                    let buffer = (*payload(object).cast::<Value>()).as_ptr::<StringBuffer>();
                    (*buffer).used = (*object).len;
                }
            }
        }
        s
    }
}
