//! Strings: immutable UTF-8 text; positions count scalars.
//!
//! Text of at most 5 bytes is in the value, longer text in an object. An object knows its number of scalars from the
//! start, and where that equals the number of bytes the text is ASCII and positions are byte offsets. For long other text
//! the heap keeps an index of byte offsets, one per [`STEP`] scalars, from when a position in its middle is asked for until a collection
//! may move or free it.
//!
//! **Building in a loop is linear.** A string that came from a concatenation and is extended once more gets a buffer with
//! room; extending a string that ends where its buffer is used up to, and fits, writes behind it and shares the buffer.
//! All strings of a buffer begin at its start, and no byte that a string reaches is ever changed.
//!
//! **Slices of long text are parts of it**: a slice that is a good part of a large object, which does not move, refers to that instead of
//! copying ([`string_bits::SLICE`]). So a loop that takes off one character after the other is linear, and no slice keeps alive
//! much more than it needs. Putting a text before a long one again and again is linear, too: then buffers have room before their strings,
//! which are slices to the end. Whole words are read from texts that are shorter than any slice.
//!
//! **Extensible strings** (the term is SpiderMonkey's) are the one exception from "immutable": what `string.append` makes stays in one
//! register, which only `string.append`, `string.share` and `string.len` read, so the next append writes behind it without a new object. Sharing
//! makes it an ordinary string for good. See `append.rs`.

mod append;

use std::ptr;

use rustc_hash::FxHashMap;

pub use append::{append, append_quick, share};

use crate::hash;
use crate::heap::{Heap, LARGE_OBJECT, OutOfMemory};
use crate::object::{Header, ObjectKind, StringBuffer, StringObject, gc, string_bits};
use crate::value::{SHORT_MAX, Value};

/// The longest result of a concatenation that is always held in one object.
const INLINE_MAX: usize = 40;
/// The longest string, in bytes.
const LEN_MAX: usize = i32::MAX as usize;
/// Scalars between two entries of an index.
const STEP: usize = 64;
/// Shorter strings are read from their start.
const INDEX_MIN: usize = 128;
/// Shorter parts of texts are copied: more than what is read by words.
const SLICE_MIN: usize = 512;
/// A slice is at least one in so many bytes of what it keeps alive.
const SLICE_SHARE: usize = 4;

/// The bytes of a string.
///
/// # Safety
/// `s` is a string whose object, if any, neither moves nor dies while the result is used.
#[inline(always)]
pub unsafe fn bytes(s: &Value) -> &[u8] {
    debug_assert!(s.is_string());
    if s.is_short_string() {
        return s.short_bytes();
    }
    // SAFETY: by the contract it is a live string object.
    unsafe { object_bytes(s.as_ptr()) }
}

/// The text of a string.
///
/// # Safety
/// As for [`bytes`].
#[inline(always)]
pub unsafe fn text(s: &Value) -> &str {
    // SAFETY: strings are UTF-8 from their making on.
    unsafe { std::str::from_utf8_unchecked(bytes(s)) }
}

/// The text of a string object.
///
/// # Safety
/// `s` points to a live string object that neither moves nor dies during `'a`.
#[inline(always)]
pub unsafe fn object_text<'a>(s: *mut StringObject) -> &'a str {
    // SAFETY: by the contract; strings hold whole UTF-8 sequences.
    unsafe { std::str::from_utf8_unchecked(object_bytes(s)) }
}

/// The bytes of a string object.
///
/// # Safety
/// `s` points to a live string object that neither moves nor dies during `'a`.
#[inline(always)]
unsafe fn object_bytes<'a>(s: *mut StringObject) -> &'a [u8] {
    // SAFETY: by the contract; the layout is that of `StringObject`.
    unsafe {
        let payload = s.cast::<u8>().add(StringObject::PAYLOAD);
        let start = if (*s).header.bits & string_bits::BUFFERED != 0 {
            (*payload.cast::<Value>()).as_ptr::<u8>().add(StringBuffer::DATA)
        } else {
            payload
        };
        std::slice::from_raw_parts(start, (*s).len as usize)
    }
}

/// A string.
#[inline]
pub fn from_str(heap: &mut Heap, text: &str) -> Result<Value, OutOfMemory> {
    if let Some(short) = Value::short_string(text.as_bytes()) {
        return Ok(short);
    }
    from_counted(heap, text.as_bytes(), count_scalars(text.as_bytes()))
}

/// A string of text that is known to have so many scalars.
fn from_counted(heap: &mut Heap, text: &[u8], scalars: usize) -> Result<Value, OutOfMemory> {
    if let Some(short) = Value::short_string(text) {
        return Ok(short);
    }
    let object = new_inline(heap, text.len(), scalars, 0)?;
    // SAFETY: the object has room for the bytes; the source is apart from it.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), payload(object), text.len()) };
    Ok(Value::object(object))
}

/// A string object with room for its own bytes, which are not written yet.
#[inline]
fn new_inline(
    heap: &mut Heap,
    len: usize,
    scalars: usize,
    bits: u16,
) -> Result<*mut StringObject, OutOfMemory> {
    if len > LEN_MAX {
        return Err(OutOfMemory);
    }
    let object = heap.alloc(ObjectKind::String, bits, scalars as u32, StringObject::PAYLOAD + len)?;
    let object = object.cast::<StringObject>();
    // SAFETY: allocated with this layout.
    unsafe {
        (*object).len = len as u32;
        (*object).hash = 0;
    }
    Ok(object)
}

#[inline(always)]
unsafe fn payload(object: *mut StringObject) -> *mut u8 {
    // SAFETY: the payload follows the fixed part inside the object.
    unsafe { object.cast::<u8>().add(StringObject::PAYLOAD) }
}

/// The number of scalars of UTF-8 text.
#[inline]
pub fn count_scalars(bytes: &[u8]) -> usize {
    // Sums of bytes, a few hundred each, are made by the vector.
    const CHUNK: usize = 255;
    let starts = |chunk: &[u8]| chunk.iter().map(|&b| u8::from((b as i8) >= -0x40)).sum::<u8>();
    bytes.chunks(CHUNK).map(|chunk| usize::from(starts(chunk))).sum()
}

/// The number of scalars.
///
/// # Safety
/// `s` is a string with a live object.
#[inline(always)]
pub unsafe fn len(s: Value) -> usize {
    if s.is_short_string() {
        return short_scalars(s.short_word(), s.short_len());
    }
    // SAFETY: by the contract.
    unsafe { (*s.as_ptr::<Header>()).meta as usize }
}

/// The number of bytes.
///
/// # Safety
/// `s` is a string with a live object.
#[inline(always)]
pub unsafe fn byte_len(s: Value) -> usize {
    if s.is_short_string() {
        return s.short_len();
    }
    // SAFETY: by the contract.
    unsafe { (*s.as_ptr::<StringObject>()).len as usize }
}

/// The number of scalars of a short string, by [`Value::short_word`] and length.
#[inline(always)]
fn short_scalars(word: u64, len: usize) -> usize {
    // Counting ones takes a dozen instructions where the machine's own is not assumed.
    if word & 0x0080_8080_8080 == 0 {
        return len;
    }
    // Bytes that continue a scalar begin with the bits 10.
    let following = word & !(word << 1) & 0x0080_8080_8080;
    len - following.count_ones() as usize
}

/// Copies bytes by words.
///
/// # Safety
/// `len` bytes and up to 7 more may be read and written.
#[inline(always)]
unsafe fn copy_words(from: *const u8, to: *mut u8, len: usize) {
    let mut at = 0;
    while at < len {
        // SAFETY: by the contract.
        unsafe { to.add(at).cast::<u64>().write_unaligned(from.add(at).cast::<u64>().read_unaligned()) };
        at += 8;
    }
}

/// One string followed by another, where that takes a few words and the nursery has room for it; else `None`, and nothing is done.
/// What it gives is what [`concat`] does.
///
/// # Safety
/// Both are strings with live objects of the heap.
#[inline(always)]
pub unsafe fn concat_quick(heap: &mut Heap, a: Value, b: Value) -> Option<Value> {
    // What a copy by words may write behind an object.
    const SLACK: usize = 8;
    // SAFETY: by the contract. Words are read from objects, whose size is a multiple of 8, from places in them that are; they are written
    // to new objects and the slack behind them, or to a buffer where it has room for them.
    unsafe {
        let short = b.is_short_string();
        let (b_start, b_len, b_scalars) = if short {
            (ptr::null(), b.short_len(), short_scalars(b.short_word(), b.short_len()))
        } else {
            let object = b.as_ptr::<StringObject>();
            (object_bytes(object).as_ptr(), (*object).len as usize, (*object).header.meta as usize)
        };
        let put = |to: *mut u8| {
            if short {
                to.cast::<u64>().write_unaligned(b.short_word());
            } else {
                copy_words(b_start, to, b_len);
            }
        };
        if a.is_short_string() {
            let (a_len, a_word) = (a.short_len(), a.short_word());
            let len = a_len + b_len;
            if len <= SHORT_MAX && short {
                return Some(Value::short_of_word(len, a_word | b.short_word() << (8 * a_len)));
            }
            if a_len == 0 {
                return Some(b);
            }
            if len > INLINE_MAX {
                return None;
            }
            let scalars = short_scalars(a_word, a_len) + b_scalars;
            let object = quick_inline(heap, len, scalars, string_bits::APPENDED, SLACK)?;
            payload(object).cast::<u64>().write(a_word);
            put(payload(object).add(a_len));
            return Some(Value::object(object));
        }
        if b_len == 0 {
            return Some(a);
        }
        let object = a.as_ptr::<StringObject>();
        let (a_len, bits) = ((*object).len as usize, (*object).header.bits);
        let len = a_len + b_len;
        let scalars = (*object).header.meta as usize + b_scalars;
        if bits & string_bits::BUFFERED != 0 {
            // A slice has no buffer that it could grow in, nor are there whole words behind it.
            if bits & string_bits::SLICE != 0 || b_len >= SLICE_MIN {
                return None;
            }
            let buffer = (*payload(object).cast::<Value>()).as_ptr::<StringBuffer>();
            let used = (*buffer).used as usize;
            if used != a_len || ((*buffer).capacity as usize - used) < b_len + SLACK {
                return None;
            }
            let bits = string_bits::BUFFERED | string_bits::APPENDED;
            let size = StringObject::PAYLOAD + 8;
            let view =
                heap.alloc_quick(ObjectKind::String, bits, scalars as u32, size, 0)?.cast::<StringObject>();
            (*view).len = len as u32;
            (*view).hash = 0;
            payload(view).cast::<Value>().write(Value::object(buffer));
            put(buffer.cast::<u8>().add(StringBuffer::DATA + used));
            (*buffer).used = len as u32;
            return Some(Value::object(view));
        }
        if len > INLINE_MAX {
            return None;
        }
        let joined = quick_inline(heap, len, scalars, string_bits::APPENDED, SLACK)?;
        copy_words(payload(object), payload(joined), a_len);
        put(payload(joined).add(a_len));
        Some(Value::object(joined))
    }
}

/// As [`new_inline`], where the nursery has room, and for `slack` bytes behind the object too.
#[inline(always)]
fn quick_inline(
    heap: &mut Heap,
    len: usize,
    scalars: usize,
    bits: u16,
    slack: usize,
) -> Option<*mut StringObject> {
    let size = StringObject::PAYLOAD + len;
    let object =
        heap.alloc_quick(ObjectKind::String, bits, scalars as u32, size, slack)?.cast::<StringObject>();
    // SAFETY: allocated with this layout.
    unsafe {
        (*object).len = len as u32;
        (*object).hash = 0;
    }
    Some(object)
}

/// As [`from_counted`], where the nursery has room and the text is short enough for it.
#[inline(always)]
fn quick_counted(heap: &mut Heap, text: &[u8], scalars: usize) -> Option<Value> {
    if let Some(short) = Value::short_string(text) {
        return Some(short);
    }
    if text.len() > INLINE_MAX {
        return None;
    }
    let object = quick_inline(heap, text.len(), scalars, 0, 0)?;
    // SAFETY: the object has room for the bytes; the source is apart from it.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), payload(object), text.len()) };
    Some(Value::object(object))
}

/// One string followed by another.
///
/// # Safety
/// Both are strings with live objects of the heap.
#[inline]
pub unsafe fn concat(heap: &mut Heap, a: Value, b: Value) -> Result<Value, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        match concat_quick(heap, a, b) {
            Some(joined) => Ok(joined),
            None => concat_slow(heap, a, b),
        }
    }
}

/// As [`concat`], of what is no short string and not one of the two.
///
/// # Safety
/// As for [`concat`].
#[inline(never)]
unsafe fn concat_slow(heap: &mut Heap, a: Value, b: Value) -> Result<Value, OutOfMemory> {
    // SAFETY: by the contract of `concat`; allocation moves nothing.
    unsafe {
        let (a_bytes, b_bytes) = (bytes(&a), bytes(&b));
        let len = a_bytes.len() + b_bytes.len();
        let scalars = self::len(a) + self::len(b);
        let header = if a.is_short_string() { 0 } else { (*a.as_ptr::<Header>()).bits };
        // A slice is extended as a text with its own bytes is.
        let header = if header & string_bits::SLICE != 0 { 0 } else { header };
        if header & string_bits::BUFFERED != 0 {
            let buffer = (*payload(a.as_ptr()).cast::<Value>()).as_ptr::<StringBuffer>();
            let used = (*buffer).used as usize;
            if used == a_bytes.len() && (*buffer).capacity as usize - used >= b_bytes.len() {
                let object = new_view(heap, buffer, len, scalars)?;
                let end = buffer.cast::<u8>().add(StringBuffer::DATA + used);
                copy_bytes(b_bytes, end);
                (*buffer).used = len as u32;
                return Ok(object);
            }
        }
        let longer = !b.is_short_string() && b_bytes.len() > a_bytes.len() && len > LARGE_OBJECT;
        if longer && let Some(joined) = prepend(heap, a_bytes, b, scalars)? {
            return Ok(joined);
        }
        if len <= INLINE_MAX || header == 0 {
            let bits = string_bits::APPENDED | if longer { string_bits::PREPENDED } else { 0 };
            let object = new_inline(heap, len, scalars, bits)?;
            copy_bytes(a_bytes, payload(object));
            copy_bytes(b_bytes, payload(object).add(a_bytes.len()));
            return Ok(Value::object(object));
        }
        if len > LEN_MAX {
            return Err(OutOfMemory);
        }
        let capacity = (len * 2).min(LEN_MAX).next_multiple_of(8);
        let size = StringBuffer::DATA + capacity;
        let buffer = heap.alloc(ObjectKind::StringBuffer, 0, 0, size)?.cast::<StringBuffer>();
        (*buffer).capacity = capacity as u32;
        (*buffer).used = len as u32;
        let start = buffer.cast::<u8>().add(StringBuffer::DATA);
        copy_bytes(a_bytes, start);
        copy_bytes(b_bytes, start.add(a_bytes.len()));
        new_view(heap, buffer, len, scalars)
    }
}

/// A text followed by a long string that was put behind others before: written into the room before the string, or into a new buffer that
/// has such room. `None` for other strings.
///
/// # Safety
/// `b` is a string with a live object of the heap, both together are more than [`LARGE_OBJECT`], and have so many scalars.
unsafe fn prepend(heap: &mut Heap, a: &[u8], b: Value, scalars: usize) -> Result<Option<Value>, OutOfMemory> {
    // SAFETY: by the contract; large objects do not move, and nothing reaches the bytes before the first of the strings in a buffer.
    unsafe {
        let object = b.as_ptr::<StringObject>();
        let (bits, bytes) = ((*object).header.bits, object_bytes(object));
        let len = a.len() + bytes.len();
        let new_slice_of = |heap: &mut Heap, buffer: *mut StringBuffer, at: usize| {
            (*buffer).used = at as u32;
            let first = buffer.addr() + StringBuffer::DATA + at;
            slice_at(heap, Value::object(buffer), first, len, scalars).map(Some)
        };
        if bits & string_bits::SLICE != 0 {
            let whole = *payload(object).cast::<Value>().add(1);
            let buffer = whole.as_ptr::<StringBuffer>();
            let start = bytes.as_ptr().addr() - buffer.addr() - StringBuffer::DATA;
            // A slice of another string, or one that another text was put before already.
            if !whole.is_object_of(ObjectKind::StringBuffer)
                || (*buffer).header.bits & string_bits::PREPENDED == 0
                || start != (*buffer).used as usize
                || start + bytes.len() != (*buffer).capacity as usize
            {
                return Ok(None);
            }
            if start >= a.len() {
                let at = start - a.len();
                copy_bytes(a, buffer.cast::<u8>().add(StringBuffer::DATA + at));
                return new_slice_of(heap, buffer, at);
            }
        } else if bits & string_bits::PREPENDED == 0 {
            return Ok(None);
        }
        let capacity = (2 * len).next_multiple_of(8);
        if capacity > LEN_MAX {
            return Ok(None);
        }
        let size = StringBuffer::DATA + capacity;
        let buffer = heap.alloc(ObjectKind::StringBuffer, string_bits::PREPENDED, 0, size)?;
        let buffer = buffer.cast::<StringBuffer>();
        (*buffer).capacity = capacity as u32;
        let at = capacity - len;
        let to = buffer.cast::<u8>().add(StringBuffer::DATA + at);
        copy_bytes(a, to);
        copy_bytes(bytes, to.add(a.len()));
        new_slice_of(heap, buffer, at)
    }
}

/// Copies bytes to room that the caller has made.
///
/// # Safety
/// `to` is good for as many bytes, none of them of `from`.
#[inline(always)]
unsafe fn copy_bytes(from: &[u8], to: *mut u8) {
    // SAFETY: by the contract.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
}

/// A string of the first `len` bytes of a buffer.
#[inline(always)]
unsafe fn new_view(
    heap: &mut Heap,
    buffer: *mut StringBuffer,
    len: usize,
    scalars: usize,
) -> Result<Value, OutOfMemory> {
    let bits = string_bits::BUFFERED | string_bits::APPENDED;
    let object = heap.alloc(ObjectKind::String, bits, scalars as u32, StringObject::PAYLOAD + 8)?;
    let object = object.cast::<StringObject>();
    // SAFETY: allocated with this layout.
    unsafe {
        (*object).len = len as u32;
        (*object).hash = 0;
        payload(object).cast::<Value>().write(Value::object(buffer));
    }
    Ok(Value::object(object))
}

/// Scalar `i` as a string; `None` where there is none.
///
/// # Safety
/// `s` is a string with a live object of the heap.
#[inline]
pub unsafe fn get(heap: &mut Heap, s: Value, i: i64) -> Option<Value> {
    // SAFETY: by the contract.
    unsafe {
        let text = bytes(&s);
        let count = len(s);
        if i as u64 >= count as u64 {
            return None;
        }
        let start = if count == text.len() { i as usize } else { heap.byte_offset(s, i as usize) };
        Value::short_string(&text[start..start + width(text[start])])
    }
}

/// The code point of scalar `i`; `None` where there is none.
///
/// # Safety
/// `s` is a string with a live object of the heap.
#[inline]
pub unsafe fn code_at(heap: &mut Heap, s: Value, i: i64) -> Option<i64> {
    // SAFETY: by the contract.
    unsafe {
        let count = len(s);
        if i as u64 >= count as u64 {
            return None;
        }
        let bytes = bytes(&s);
        if count == bytes.len() {
            return Some(i64::from(bytes[i as usize]));
        }
        let start = heap.byte_offset(s, i as usize);
        text(&s)[start..].chars().next().map(|c| i64::from(u32::from(c)))
    }
}

/// The number of bytes of the scalar that begins with this byte.
#[inline(always)]
fn width(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    }
}

/// Where a slice of a sequence of `len` elements starts and ends: negative positions count from the end, then both are
/// clamped; an end before the start gives an empty slice.
#[inline]
pub fn slice_bounds(len: usize, from: i64, to: i64) -> (usize, usize) {
    let clamp = |i: i64| {
        let i = if i < 0 { i.saturating_add(len as i64) } else { i };
        i.clamp(0, len as i64) as usize
    };
    let (from, to) = (clamp(from), clamp(to));
    (from, to.max(from))
}

/// Scalars `from..to`; see [`slice_bounds`].
///
/// # Safety
/// `s` is a string with a live object of the heap.
pub unsafe fn slice(heap: &mut Heap, s: Value, from: i64, to: i64) -> Result<Value, OutOfMemory> {
    // SAFETY: by the contract; allocation moves nothing.
    unsafe {
        if let Some(part) = slice_quick(heap, s, from, to) {
            return Ok(part);
        }
        let count = len(s);
        let (from, to) = slice_bounds(count, from, to);
        if from == 0 && to == count {
            return Ok(s);
        }
        if from == to {
            return Ok(Value::EMPTY_STRING);
        }
        let text = bytes(&s);
        let (start, end) = if count == text.len() {
            (from, to)
        } else {
            let start = heap.byte_offset(s, from);
            (start, if to - from < STEP { skip(text, start, to - from) } else { heap.byte_offset(s, to) })
        };
        if end - start >= SLICE_MIN
            && let Some(slice) = new_slice(heap, s, start, end, to - from)?
        {
            return Ok(slice);
        }
        from_counted(heap, &text[start..end], to - from)
    }
}

/// The bytes `start..end` of a string, which are so many scalars, without copying them; `None` where they are to be copied: what would
/// be kept alive for them may move or is too much.
///
/// # Safety
/// `s` is a string with a live object of the heap, and not extensible; the bytes are whole scalars of it, at least [`SLICE_MIN`].
#[cold]
unsafe fn new_slice(
    heap: &mut Heap,
    s: Value,
    start: usize,
    end: usize,
    scalars: usize,
) -> Result<Option<Value>, OutOfMemory> {
    // SAFETY: by the contract; a large object stays where it is as long as it lives, and the new one keeps it alive.
    unsafe {
        let object = s.as_ptr::<StringObject>();
        let words = payload(object).cast::<Value>();
        let (whole, size) = match (*object).header.bits & (string_bits::BUFFERED | string_bits::SLICE) {
            0 => (s, (*object).len),
            string_bits::BUFFERED => (*words, (*(*words).as_ptr::<StringBuffer>()).capacity),
            _ => {
                let whole = *words.add(1);
                if whole.is_object_of(ObjectKind::StringBuffer) {
                    (whole, (*whole.as_ptr::<StringBuffer>()).capacity)
                } else {
                    (whole, (*whole.as_ptr::<StringObject>()).len)
                }
            }
        };
        if (*whole.as_ptr::<Header>()).gc & gc::LARGE == 0 || (size as usize) > (end - start) * SLICE_SHARE {
            return Ok(None);
        }
        let first = object_bytes(object).as_ptr().addr() + start;
        slice_at(heap, whole, first, end - start, scalars).map(Some)
    }
}

/// A string of `len` bytes from an address on, which are in a large object.
///
/// # Safety
/// `whole` is that object, alive in the heap; the bytes are whole scalars, so many.
unsafe fn slice_at(
    heap: &mut Heap,
    whole: Value,
    first: usize,
    len: usize,
    scalars: usize,
) -> Result<Value, OutOfMemory> {
    let bits = string_bits::BUFFERED | string_bits::SLICE;
    let slice = heap.alloc(ObjectKind::String, bits, scalars as u32, StringObject::PAYLOAD + 16)?;
    let slice = slice.cast::<StringObject>();
    // SAFETY: allocated with this layout.
    unsafe {
        (*slice).len = len as u32;
        (*slice).hash = 0;
        let words = payload(slice).cast::<u64>();
        words.write((first - StringBuffer::DATA) as u64);
        words.add(1).cast::<Value>().write(whole);
    }
    Ok(Value::object(slice))
}

/// As [`slice`], where the text is ASCII, the slice is small and the nursery has room for it; else `None`, and nothing is done.
///
/// # Safety
/// `s` is a string with a live object of the heap.
#[inline(always)]
pub unsafe fn slice_quick(heap: &mut Heap, s: Value, from: i64, to: i64) -> Option<Value> {
    // SAFETY: by the contract; bytes are read by words from objects as in `concat_quick`, where that stays within the text.
    unsafe {
        let count = len(s);
        let (from, to) = slice_bounds(count, from, to);
        let len = to - from;
        if s.is_short_string() {
            if count != s.short_len() {
                return None;
            }
            let word = s.short_word() >> (8 * from) & !(u64::MAX << (8 * len));
            return Some(Value::short_of_word(len, word));
        }
        let object = s.as_ptr::<StringObject>();
        let text = object_bytes(object);
        if count != text.len() || len == count {
            return None;
        }
        if len == 0 {
            return Some(Value::EMPTY_STRING);
        }
        let start = text.as_ptr();
        if len <= SHORT_MAX {
            // The word that ends with the slice, or else the first one.
            let word = if to >= 8 {
                start.add(to - 8).cast::<u64>().read_unaligned() >> (64 - 8 * len)
            } else {
                start.cast::<u64>().read_unaligned() >> (8 * from) & !(u64::MAX << (8 * len))
            };
            return Some(Value::short_of_word(len, word));
        }
        quick_counted(heap, &text[from..to], len)
    }
}

/// The string of a code point; `None` where there is no such scalar.
#[inline]
pub fn from_code(code: i64) -> Option<Value> {
    let c = char::from_u32(u32::try_from(code).ok()?)?;
    Value::short_string(c.encode_utf8(&mut [0; 4]).as_bytes())
}

/// An int in decimal.
#[inline]
pub fn from_int(heap: &mut Heap, i: i64) -> Result<Value, OutOfMemory> {
    if let Some(made) = from_int_quick(heap, i) {
        return Ok(made);
    }
    let decimal = Decimal::new(i);
    from_counted(heap, decimal.bytes(), decimal.bytes().len())
}

/// As [`from_int`], where the nursery has room; else `None`, and nothing is done.
#[inline]
pub fn from_int_quick(heap: &mut Heap, i: i64) -> Option<Value> {
    // Digits are put together in a word, or written where they stay: reading them again from bytes just written would wait for those.
    let size = i.unsigned_abs();
    if (-9_999..=99_999).contains(&i) {
        let mut rest = size as u32;
        let (mut word, mut len) = (0, 0);
        loop {
            word = word << 8 | (u64::from(b'0') + u64::from(rest % 10));
            rest /= 10;
            len += 1;
            if rest == 0 {
                break;
            }
        }
        if i < 0 {
            word = word << 8 | u64::from(b'-');
            len += 1;
        }
        return Some(Value::short_string_of(word, len));
    }
    let len = size.ilog10() as usize + 1 + usize::from(i < 0);
    let object = quick_inline(heap, len, len, 0, 0)?;
    // SAFETY: the object has room for so many bytes.
    unsafe { write_decimal(size, payload(object).add(len)) };
    if i < 0 {
        // SAFETY: as above.
        unsafe { payload(object).write(b'-') };
    }
    Some(Value::object(object))
}

/// Writes a number's digits, which end at a place; where the first one is.
///
/// # Safety
/// As many bytes before the place as the number has digits can be written.
#[inline(always)]
unsafe fn write_decimal(size: u64, end: *mut u8) -> *mut u8 {
    let mut at = end;
    let mut rest = size;
    // SAFETY: by the contract.
    unsafe {
        // Divisions are what takes the time: two digits by each, and most by 32 bits.
        while rest > u64::from(u32::MAX) {
            at = at.sub(2);
            at.cast::<[u8; 2]>().write_unaligned(DIGITS[(rest % 100) as usize]);
            rest /= 100;
        }
        let mut rest = rest as u32;
        while rest >= 10 {
            at = at.sub(2);
            at.cast::<[u8; 2]>().write_unaligned(DIGITS[(rest % 100) as usize]);
            rest /= 100;
        }
        // What is left is one digit, or none but for 0 itself.
        if rest > 0 || size == 0 {
            at = at.sub(1);
            at.write(b'0' + rest as u8);
        }
    }
    at
}

/// The order of two strings by their bytes.
///
/// # Safety
/// Both are strings with live objects.
#[inline]
pub unsafe fn compare(a: Value, b: Value) -> std::cmp::Ordering {
    if a.is_short_string() && b.is_short_string() {
        // From the other end of the words: the bytes, then their number, then what all short strings have.
        return a.bits().swap_bytes().cmp(&b.bits().swap_bytes());
    }
    // SAFETY: by the contract.
    unsafe { bytes(&a).cmp(bytes(&b)) }
}

/// Whether two strings have the same bytes.
///
/// # Safety
/// Both are strings with live objects.
#[inline(always)]
pub unsafe fn equal(a: Value, b: Value) -> bool {
    if a.bits() == b.bits() {
        return true;
    }
    // Short strings are canonical: with other bits they are other strings.
    if a.is_short_string() || b.is_short_string() {
        return false;
    }
    // SAFETY: by the contract both are string objects.
    unsafe { equal_objects(a.as_ptr(), b.as_ptr()) }
}

/// Whether any value is a string with the same bytes as `text`; those of objects are looked at only where the length, and the first of
/// them, agree.
///
/// # Safety
/// `value` is valid, `text` a string, both with live objects, if any.
#[inline(always)]
pub unsafe fn is_text(value: Value, text: Value) -> bool {
    if value.bits() == text.bits() {
        return true;
    }
    // Short strings are canonical.
    if text.is_short_string() || !value.is_object_of(ObjectKind::String) {
        return false;
    }
    // SAFETY: both are string objects, which have more than five bytes and whole words of them.
    unsafe {
        let (a, b) = (value.as_ptr::<StringObject>(), text.as_ptr::<StringObject>());
        let first = |s| object_bytes(s).as_ptr().cast::<u32>().read_unaligned();
        (*a).len == (*b).len && first(a) == first(b) && equal_objects(a, b)
    }
}

#[inline(never)]
unsafe fn equal_objects(a: *mut StringObject, b: *mut StringObject) -> bool {
    // SAFETY: both are live string objects.
    unsafe {
        let hashes = ((*a).hash, (*b).hash);
        (*a).len == (*b).len
            && (hashes.0 == hashes.1 || hashes.0 == 0 || hashes.1 == 0)
            && equal_bytes(object_bytes(a), object_bytes(b))
    }
}

/// Whether the bytes of two string objects, equally many, are the same: few of them word by word.
///
/// # Safety
/// Both are all bytes of a string object.
#[inline(always)]
unsafe fn equal_bytes(a: &[u8], b: &[u8]) -> bool {
    /// The library's routine is called for more.
    const WORDS_MAX: usize = 32;
    let len = a.len();
    if len > WORDS_MAX {
        return a == b;
    }
    // SAFETY: objects and buffers have sizes that are multiples of 8, and bytes begin at places in them that are: so whole words are
    // there.
    unsafe {
        let word = |bytes: &[u8], at: usize| bytes.as_ptr().add(at).cast::<u64>().read_unaligned();
        let mut at = 0;
        while at + 8 <= len {
            if word(a, at) != word(b, at) {
                return false;
            }
            at += 8;
        }
        at == len || (word(a, at) ^ word(b, at)) << (64 - 8 * (len - at)) == 0
    }
}

/// Whether `part` occurs in `s`.
///
/// # Safety
/// Both are strings with live objects.
pub unsafe fn contains(s: Value, part: Value) -> bool {
    if s.is_short_string() {
        return find_short(s, part).is_some();
    }
    // SAFETY: by the contract.
    unsafe { find(bytes(&s), bytes(&part)).is_some() }
}

/// The position in scalars where `part` occurs first in `s`, or -1.
///
/// # Safety
/// Both are strings with live objects.
pub unsafe fn index_of(s: Value, part: Value) -> i64 {
    if s.is_short_string() {
        let before = |at: usize| short_scalars(s.short_word() & !(u64::MAX << (8 * at)), at);
        return find_short(s, part).map_or(-1, |at| before(at) as i64);
    }
    // SAFETY: by the contract.
    unsafe {
        let text = bytes(&s);
        match find(text, bytes(&part)) {
            Some(at) if len(s) == text.len() => at as i64,
            Some(at) => count_scalars(&text[..at]) as i64,
            None => -1,
        }
    }
}

/// A part of a text, by byte offsets; of ASCII text nothing is counted.
///
/// # Errors
/// Where there is no memory.
#[inline]
pub(crate) fn part_of(heap: &mut Heap, text: &str, ascii: bool) -> Result<Value, OutOfMemory> {
    if ascii { from_counted(heap, text.as_bytes(), text.len()) } else { from_str(heap, text) }
}

/// Strings one after the other with another one between each two; `None` where one is no string.
///
/// # Safety
/// The items are valid, and so is the separator, which is a string; their objects are of the heap.
pub unsafe fn join(heap: &mut Heap, items: &[Value], separator: Value) -> Result<Option<Value>, OutOfMemory> {
    /// Longer texts are copied by the library's routine.
    const WORDS_MAX: usize = 64;
    // SAFETY: by the contract; what is copied by words stays within the new object.
    unsafe {
        let between = items.len().saturating_sub(1);
        let mut size = byte_len(separator) * between;
        let mut scalars = len(separator) * between;
        for &item in items {
            if !item.is_string() {
                return Ok(None);
            }
            size += byte_len(item);
            scalars += len(item);
        }
        if size <= SHORT_MAX {
            let mut short = [0; SHORT_MAX];
            let mut at = 0;
            for (i, item) in items.iter().enumerate() {
                for part in [&separator, item].into_iter().skip(usize::from(i == 0)) {
                    let bytes = bytes(part);
                    short[at..at + bytes.len()].copy_from_slice(bytes);
                    at += bytes.len();
                }
            }
            return Ok(Value::short_string(&short[..at]));
        }
        let object = new_inline(heap, size, scalars, 0)?;
        let (mut to, end) = (payload(object), payload(object).add(size));
        let mut put = |part: Value| {
            let room = end.offset_from_unsigned(to);
            let len = if part.is_short_string() {
                let len = part.short_len();
                if room >= size_of::<u64>() {
                    to.cast::<u64>().write_unaligned(part.short_word());
                } else {
                    copy_bytes(part.short_bytes(), to);
                }
                len
            } else {
                let bytes = object_bytes(part.as_ptr());
                if bytes.len() <= WORDS_MAX && bytes.len() + size_of::<u64>() <= room {
                    copy_words(bytes.as_ptr(), to, bytes.len());
                } else {
                    copy_bytes(bytes, to);
                }
                bytes.len()
            };
            to = to.add(len);
        };
        for (i, &item) in items.iter().enumerate() {
            if i > 0 {
                put(separator);
            }
            put(item);
        }
        Ok(Some(Value::object(object)))
    }
}

/// The text with its ASCII letters in the other case: `upper` or lower ones. `None` for text that is not ASCII.
///
/// # Safety
/// `s` is a string with a live object of the heap.
pub unsafe fn ascii_case(heap: &mut Heap, s: Value, upper: bool) -> Result<Option<Value>, OutOfMemory> {
    // SAFETY: by the contract; the new object has room for as many bytes.
    unsafe {
        if len(s) != byte_len(s) {
            return Ok(None);
        }
        let change =
            |to: &mut [u8]| if upper { to.make_ascii_uppercase() } else { to.make_ascii_lowercase() };
        if s.is_short_string() {
            let mut bytes = s.short_word().to_le_bytes();
            change(&mut bytes);
            return Ok(Some(Value::short_of_word(s.short_len(), u64::from_le_bytes(bytes))));
        }
        let bytes = object_bytes(s.as_ptr());
        let object = new_inline(heap, bytes.len(), bytes.len(), 0)?;
        copy_bytes(bytes, payload(object));
        change(std::slice::from_raw_parts_mut(payload(object), bytes.len()));
        Ok(Some(Value::object(object)))
    }
}

/// The byte offset at which a string occurs first in a short one.
#[inline]
fn find_short(s: Value, part: Value) -> Option<usize> {
    // What has an object is longer.
    if !part.is_short_string() || part.short_len() > s.short_len() {
        return None;
    }
    let mask = !(u64::MAX << (8 * part.short_len()));
    (0..=s.short_len() - part.short_len()).find(|at| s.short_word() >> (8 * at) & mask == part.short_word())
}

/// Where bytes occur first in others.
#[inline]
pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    match *part {
        [byte] => find_byte(text, byte),
        _ => memchr::memmem::find(text, part),
    }
}

/// Where a byte occurs first. In few bytes, which are searched most often, eight at a time, before a search that is set up first would
/// have begun.
#[inline]
fn find_byte(text: &[u8], byte: u8) -> Option<usize> {
    const FEW: usize = 64;
    const ONES: u64 = u64::MAX / 0xFF;
    if text.len() > FEW {
        return memchr::memchr(byte, text);
    }
    // In the word of differences the lowest byte that is zero is the first that becomes 0x80: no borrow comes from below it (Mycroft).
    let hit = |word: u64| {
        let differs = word ^ (u64::from(byte) * ONES);
        let zeros = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
        (zeros != 0).then(|| zeros.trailing_zeros() as usize / 8)
    };
    let (words, rest) = text.as_chunks::<8>();
    let found = words.iter().enumerate().find_map(|(i, &word)| Some(8 * i + hit(u64::from_le_bytes(word))?));
    found.or_else(|| rest.iter().position(|&b| b == byte).map(|at| 8 * words.len() + at))
}

/// The hash of a string's content; kept in its object.
///
/// # Safety
/// `s` is a string with a live object.
#[inline(always)]
pub unsafe fn hash_of(s: Value) -> u32 {
    if s.is_short_string() {
        return hash::of_word(s.bits());
    }
    // SAFETY: by the contract.
    unsafe {
        let object = s.as_ptr::<StringObject>();
        let hash = (*object).hash;
        if hash != 0 { hash } else { compute_hash(object) }
    }
}

#[inline(never)]
unsafe fn compute_hash(object: *mut StringObject) -> u32 {
    // SAFETY: a live string object.
    unsafe {
        let hash = hash::of_bytes(object_bytes(object));
        (*object).hash = hash;
        hash
    }
}

/// The hash that a string with these bytes has.
#[inline]
pub fn hash_of_bytes(bytes: &[u8]) -> u32 {
    match Value::short_string(bytes) {
        Some(short) => hash::of_word(short.bits()),
        None => hash::of_bytes(bytes),
    }
}

/// The decimal text of an int.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    buffer: [u8; 20],
    start: u8,
}

/// The decimal digits of the numbers below 100.
const DIGITS: [[u8; 2]; 100] = {
    let mut digits = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        digits[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    digits
};

impl Decimal {
    /// Writes an int.
    #[inline]
    pub fn new(i: i64) -> Decimal {
        let mut buffer = [0; 20];
        let first = buffer.as_mut_ptr();
        // SAFETY: a number of 64 bits has at most 20 digits.
        let at = unsafe { write_decimal(i.unsigned_abs(), first.add(buffer.len())) };
        let mut start = at.addr() - first.addr();
        if i < 0 {
            start -= 1;
            buffer[start] = b'-';
        }
        Decimal { buffer, start: start as u8 }
    }

    /// The text.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start as usize..]
    }
}

/// The byte offset `count` scalars behind `start`, where one starts; there are as many.
///
/// Eight bytes at a time: a byte in which a scalar starts is told by its two highest bits, and a multiplication adds up eight such bits.
#[inline]
fn skip(text: &[u8], start: usize, count: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = start;
    let mut left = count;
    let (words, _) = text[start..].as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let mut starts = (!(word >> 7) | word >> 6) & ONES;
        let here = (starts.wrapping_mul(ONES) >> 56) as usize;
        if here > left {
            for _ in 0..left {
                starts &= starts - 1;
            }
            return at + starts.trailing_zeros() as usize / 8;
        }
        left -= here;
        at += 8;
    }
    // Within a scalar the first of what is left is not yet that.
    let is_start = |&at: &usize| (text[at] as i8) >= -0x40;
    (at..text.len()).filter(is_start).nth(left).unwrap_or(text.len())
}

/// The byte offset `count` scalars before the end.
#[inline]
fn skip_back(text: &[u8], count: usize) -> usize {
    let mut at = text.len();
    for _ in 0..count {
        at -= 1;
        while (text[at] as i8) < -0x40 {
            at -= 1;
        }
    }
    at
}

/// Byte offsets of every [`STEP`]-th scalar of strings.
#[derive(Default)]
pub(crate) struct IndexCache {
    /// Positions in `offsets` by the strings' bits.
    entries: FxHashMap<u64, usize>,
    offsets: Vec<Box<[u32]>>,
    /// Offsets in all of them.
    total: usize,
    /// The positions that were asked for last, in strings whose bits differ in [`IndexCache::slot`].
    recent: [Position; 4],
}

/// A scalar of a string.
#[derive(Clone, Copy, Default)]
struct Position {
    /// The string's bits.
    string: u64,
    scalar: usize,
    byte: usize,
}

impl IndexCache {
    /// Where so many offsets are kept, everything is forgotten for another string's.
    const MOST: usize = 1 << 22;

    /// Forgets everything: strings may move, or be freed.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.recent = Default::default();
        if !self.offsets.is_empty() {
            *self = IndexCache::default();
        }
    }

    /// Forgets strings that are not old: a minor collection moves or frees them.
    ///
    /// # Safety
    /// No string was moved or freed since the last call of this or [`clear`](IndexCache::clear).
    #[inline]
    pub(crate) unsafe fn clear_young(&mut self) {
        self.recent = Default::default();
        if self.offsets.is_empty() {
            return;
        }
        let mut old = IndexCache::default();
        for (bits, at) in self.entries.drain() {
            // SAFETY: by the contract, a live string object.
            let is_old =
                unsafe { (*Value::from_bits(bits).as_ptr::<StringObject>()).header.gc & gc::OLD != 0 };
            if is_old {
                old.insert(bits, std::mem::take(&mut self.offsets[at]));
            }
        }
        *self = old;
    }

    fn insert(&mut self, bits: u64, offsets: Box<[u32]>) -> usize {
        self.total += offsets.len();
        self.offsets.push(offsets);
        self.entries.insert(bits, self.offsets.len() - 1);
        self.offsets.len() - 1
    }

    /// The offsets of a string.
    #[inline]
    fn of(&mut self, s: Value, text: &[u8]) -> &[u32] {
        let at = match self.entries.get(&s.bits()) {
            Some(&at) => at,
            None => self.make(s, text),
        };
        &self.offsets[at]
    }

    #[cold]
    fn make(&mut self, s: Value, text: &[u8]) -> usize {
        if self.total > Self::MOST {
            self.clear();
        }
        let starts = text.iter().enumerate().filter(|(_, b)| (**b as i8) >= -0x40);
        self.insert(s.bits(), starts.step_by(STEP).map(|(at, _)| at as u32).collect())
    }

    /// Which recent position a string's would be: objects are multiples of 16 bytes apart.
    #[inline]
    fn slot(s: Value) -> usize {
        (s.bits() >> 4 ^ s.bits() >> 8) as usize % 4
    }
}

impl Heap {
    /// The byte offset of scalar `i` (at most the number of scalars) of a string that is not ASCII. Loops ask for one position after
    /// the other, so it is looked for from the one before.
    unsafe fn byte_offset(&mut self, s: Value, i: usize) -> usize {
        const NEAR: usize = 4;
        // SAFETY: the callers' contract: a string with a live object.
        let text = unsafe { bytes(&s) };
        let recent = &self.string_index.recent[IndexCache::slot(s)];
        let byte = match i.checked_sub(recent.scalar) {
            Some(steps @ 0..=NEAR) if recent.string == s.bits() => {
                (0..steps).fold(recent.byte, |at, _| at + width(text[at]))
            }
            // SAFETY: as above.
            _ => unsafe { self.far_byte_offset(s, text, i) },
        };
        self.string_index.recent[IndexCache::slot(s)] = Position { string: s.bits(), scalar: i, byte };
        byte
    }

    /// As [`byte_offset`](Heap::byte_offset), from the string's start, end or index.
    unsafe fn far_byte_offset(&mut self, s: Value, text: &[u8], i: usize) -> usize {
        if text.len() < INDEX_MIN || i < STEP {
            return skip(text, 0, i);
        }
        // SAFETY: the callers' contract: a string with a live object.
        let behind = unsafe { len(s) } - i;
        if behind < STEP {
            return skip_back(text, behind);
        }
        match self.string_index.of(s, text).get(i / STEP) {
            Some(&at) => skip(text, at as usize, i % STEP),
            None => text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_in_few_and_in_many() {
        let text: Vec<u8> = (0..100u8).map(|i| i.wrapping_mul(37) | 0x80 & i << 1).collect();
        for len in 0..text.len() {
            for byte in 0..=255 {
                let first = text[..len].iter().position(|&b| b == byte);
                assert_eq!(find(&text[..len], &[byte]), first, "{byte} in {len}");
            }
        }
    }

    #[test]
    fn scalars_are_skipped_as_they_are_iterated() {
        let mut text = String::new();
        for i in 0..40u32 {
            text.extend(
                ["a", "\u{e9}", "\u{20ac}", "\u{10348}"]
                    .iter()
                    .cycle()
                    .skip(i as usize)
                    .take(1 + i as usize % 5)
                    .copied(),
            );
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            for from in 0..starts.len() {
                for to in from..starts.len() {
                    assert_eq!(
                        skip(text.as_bytes(), starts[from], to - from),
                        starts[to],
                        "{text} {from} {to}"
                    );
                }
            }
        }
    }

    #[test]
    fn parts_of_short_strings_are_found() {
        let short = |text: &str| Value::short_string(text.as_bytes()).expect("it is short");
        let texts = [
            "",
            "a",
            "b",
            "ab",
            "ba",
            "aab",
            "abab",
            "aaaaa",
            "ab\u{e9}",
            "\u{e9}",
            "\u{e9}a",
            "\u{10348}",
            "\0a",
            "\0",
        ];
        for text in texts {
            for part in texts {
                let (s, p) = (short(text), short(part));
                let at = text.find(part).map_or(-1, |at| text[..at].chars().count() as i64);
                // SAFETY: neither has an object.
                let found = unsafe { (index_of(s, p), contains(s, p)) };
                assert_eq!(found, (at, at >= 0), "{part:?} in {text:?}");
            }
            // SAFETY: as above.
            assert_eq!(unsafe { len(short(text)) }, text.chars().count(), "{text:?}");
        }
    }

    #[test]
    fn decimals_are_those_of_the_standard_library() {
        let powers = (0..19).flat_map(|n| [10i64.pow(n) - 1, 10i64.pow(n), 10i64.pow(n) + 1]);
        let edges = [i64::MAX, i64::MIN, u32::MAX.into(), i64::from(u32::MAX) + 1, 429_496_729_599];
        for i in powers.chain(edges).flat_map(|i| [i, i.wrapping_neg()]) {
            assert_eq!(Decimal::new(i).bytes(), i.to_string().as_bytes());
        }
    }

    #[test]
    fn strings_of_ints_are_their_decimals() {
        let mut heap = Heap::new(Default::default()).unwrap();
        let near = |i: i64| [i - 1, i, i + 1];
        let powers = (0..18).flat_map(|n| near(10i64.pow(n))).chain([0, i64::MAX, u32::MAX.into()]);
        for i in powers.flat_map(|i| [i, -i, !i]) {
            let text = from_int(&mut heap, i).unwrap();
            // SAFETY: a live string.
            assert_eq!(unsafe { super::text(&text) }, i.to_string());
            assert_eq!(text.is_short_string(), i.to_string().len() <= SHORT_MAX);
        }
    }
}
