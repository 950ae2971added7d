//! Values: what a cell holds, 8 bytes, NaN-boxed.
//!
//! A heap pointer is a plain address, so that typed heap ops dereference a cell without untagging; everything else is
//! moved out of the way. The ranges, from low to high:
//!
//! | bits | meaning |
//! |---|---|
//! | `0` | hole: fresh zeroed memory is valid cells |
//! | `1 ..= 0x0000_FFFF_FFFF_FFFF` | the address of an object's header, 8-aligned |
//! | `0x0002_… ..= 0xFFF2_…` | a float: its bits plus `FLOAT_OFFSET`, NaN canonical |
//! | `0xFFFB_…nn` | an immediate of `upshift_bytecode`, by its number (hole is 0 instead) |
//! | `0xFFFC_LLbb_bbbb_bbbb` | a string of at most 5 bytes: length, then the bytes, the first in the lowest byte |
//! | `0xFFFD_00kk_iiii_iiii` | an interned name: kind and id |
//! | `0xFFFE_…` | used inside the runtime only, never in a cell that guest code sees |
//! | `0xFFFF_…` | an int of 48 bits, two's complement |
//!
//! Invariants: ints that fit 48 bits are inline, others are `WideInt` objects; strings of at most [`SHORT_MAX`] bytes are
//! inline, longer ones are objects. So equal inline values have equal bits, and an inline value never equals an object.

use std::fmt;
use std::ptr;

use upshift_bytecode::module::{Immediate, Kind};

use crate::object::{Header, ObjectKind, WideInt};

/// What a cell holds. Copying one is copying 8 bytes; an object that it points to lives as long as the heap finds it from
/// the roots, and may move at a collection.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Value(u64);

#[cfg(target_endian = "big")]
compile_error!("short strings are read in place and need a little-endian machine");

/// What is added to the bits of a float.
pub const FLOAT_OFFSET: u64 = 0x0002_0000_0000_0000;
/// The bits of the only NaN, before `FLOAT_OFFSET` is added.
pub const CANONICAL_NAN: u64 = 0x7FF8_0000_0000_0000;
/// The largest encoded float: minus infinity.
pub const FLOAT_LAST: u64 = 0xFFF0_0000_0000_0000 + FLOAT_OFFSET;
/// The smallest bits that are no address.
pub const ADDRESS_END: u64 = 1 << 48;
/// The upper 16 bits of immediates.
pub const TAG_IMMEDIATE: u64 = 0xFFFB;
/// The upper 16 bits of short strings.
pub const TAG_SHORT_STRING: u64 = 0xFFFC;
/// The upper 16 bits of interned names.
pub const TAG_NAME: u64 = 0xFFFD;
/// The upper 16 bits of marks inside the runtime's own tables.
pub const TAG_INTERNAL: u64 = 0xFFFE;
/// The upper 16 bits of inline ints.
pub const TAG_INT: u64 = 0xFFFF;
/// The longest string, in bytes, that a value holds itself.
pub const SHORT_MAX: usize = 5;
/// The smallest inline int.
pub const INT_MIN: i64 = -(1 << 47);
/// The largest inline int.
pub const INT_MAX: i64 = (1 << 47) - 1;

const INT_MASK: u64 = 0x0000_FFFF_FFFF_FFFF;
/// What of a value that is no object says what it is stands from this bit on.
pub const TAG_SHIFT: u32 = 48;
/// Where in the bits of a short string its number of bytes stands.
pub const SHORT_LEN_SHIFT: u32 = 40;

const SHORT_WORD: u64 = (1 << SHORT_LEN_SHIFT) - 1;

const fn immediate(number: u64) -> Value {
    Value(TAG_IMMEDIATE << TAG_SHIFT | number)
}

impl Value {
    /// Unbound or uninitialised.
    pub const HOLE: Value = Value(0);
    /// The absent value.
    pub const NIL: Value = immediate(Immediate::Nil as u64);
    /// False.
    pub const FALSE: Value = immediate(Immediate::False as u64);
    /// True.
    pub const TRUE: Value = immediate(Immediate::True as u64);
    /// No result.
    pub const NONE: Value = immediate(Immediate::None as u64);
    /// The results are in the instance's result list.
    pub const MANY: Value = immediate(Immediate::Many as u64);
    /// The empty string.
    pub const EMPTY_STRING: Value = Value(TAG_SHORT_STRING << TAG_SHIFT);
    /// Marks removed entries in the runtime's tables.
    pub const TOMBSTONE: Value = Value(TAG_INTERNAL << TAG_SHIFT);

    /// The value with these bits, as [`Value::bits`] gave them.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Value {
        Value(bits)
    }

    /// The bits.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// A float; every NaN becomes the canonical one.
    #[inline(always)]
    pub const fn float(x: f64) -> Value {
        let bits = if x.is_nan() { CANONICAL_NAN } else { x.to_bits() };
        Value(bits.wrapping_add(FLOAT_OFFSET))
    }

    /// A boolean.
    #[inline(always)]
    pub const fn bool(b: bool) -> Value {
        // False and true are neighbours.
        Value(Value::FALSE.0 + b as u64)
    }

    /// An int, where it fits 48 bits. `Heap::box_int` takes every int.
    #[inline(always)]
    pub const fn small_int(i: i64) -> Option<Value> {
        if Value::is_small(i) { Some(Value::small_int_unchecked(i)) } else { None }
    }

    /// An int that is known to fit 48 bits.
    #[inline(always)]
    pub const fn small_int_unchecked(i: i64) -> Value {
        debug_assert!(Value::is_small(i));
        Value(TAG_INT << TAG_SHIFT | (i as u64 & INT_MASK))
    }

    /// Whether an int is held inline.
    #[inline(always)]
    pub const fn is_small(i: i64) -> bool {
        (i << 16) >> 16 == i
    }

    /// One of the reserved immediates.
    pub const fn immediate(what: Immediate) -> Value {
        match what {
            Immediate::Hole => Value::HOLE,
            Immediate::Nil | Immediate::False | Immediate::True | Immediate::None | Immediate::Many => {
                immediate(what as u64)
            }
        }
    }

    /// An interned name.
    #[inline(always)]
    pub const fn name(kind: u8, id: u32) -> Value {
        Value(TAG_NAME << TAG_SHIFT | (kind as u64) << 32 | id as u64)
    }

    /// A string of at most [`SHORT_MAX`] bytes, which must be UTF-8; `None` where it is longer.
    #[inline]
    pub const fn short_string(bytes: &[u8]) -> Option<Value> {
        if bytes.len() > SHORT_MAX {
            return None;
        }
        let mut word = 0;
        let mut i = bytes.len();
        while i > 0 {
            i -= 1;
            word = word << 8 | bytes[i] as u64;
        }
        Some(Value::short_string_of(word, bytes.len()))
    }

    /// The string of so many bytes, at most [`SHORT_MAX`], which must be UTF-8: the first one is the lowest of the word, and what is above
    /// them is 0.
    #[inline(always)]
    pub const fn short_string_of(word: u64, len: usize) -> Value {
        debug_assert!(len <= SHORT_MAX && word >> (8 * len) == 0, "a short string has few bytes");
        Value(TAG_SHORT_STRING << TAG_SHIFT | (len as u64) << SHORT_LEN_SHIFT | word)
    }

    /// A pointer to an object of the heap.
    #[inline(always)]
    pub fn object<T>(object: *mut T) -> Value {
        let address = object.expose_provenance() as u64;
        debug_assert!(
            address != 0 && address < ADDRESS_END && address.is_multiple_of(8),
            "no object address: {address:#x}"
        );
        Value(address)
    }

    /// Whether it is the hole.
    #[inline(always)]
    pub const fn is_hole(self) -> bool {
        self.0 == 0
    }

    /// Whether it is nil.
    #[inline(always)]
    pub const fn is_nil(self) -> bool {
        self.0 == Value::NIL.0
    }

    /// Whether it points to an object.
    #[inline(always)]
    pub const fn is_object(self) -> bool {
        self.0.wrapping_sub(1) < ADDRESS_END - 1
    }

    /// Whether it is a float.
    #[inline(always)]
    pub const fn is_float(self) -> bool {
        self.0.wrapping_sub(FLOAT_OFFSET) <= FLOAT_LAST - FLOAT_OFFSET
    }

    /// Whether it is an inline int.
    #[inline(always)]
    pub const fn is_small_int(self) -> bool {
        self.0 >= TAG_INT << TAG_SHIFT
    }

    /// Whether it is a boolean.
    #[inline(always)]
    pub const fn is_bool(self) -> bool {
        self.0.wrapping_sub(Value::FALSE.0) <= 1
    }

    /// Whether it is an interned name.
    #[inline(always)]
    pub const fn is_name(self) -> bool {
        self.0 >> TAG_SHIFT == TAG_NAME
    }

    /// Whether it is an inline string.
    #[inline(always)]
    pub const fn is_short_string(self) -> bool {
        self.0 >> TAG_SHIFT == TAG_SHORT_STRING
    }

    /// Whether it is a string of any length.
    #[inline(always)]
    pub fn is_string(self) -> bool {
        self.is_short_string() || self.is_object_of(ObjectKind::String)
    }

    /// Whether it points to an object of this kind.
    #[inline(always)]
    pub fn is_object_of(self, kind: ObjectKind) -> bool {
        // SAFETY: an object value points to a live header (the heap's invariant; values are only made from such).
        self.is_object() && unsafe { (*self.as_object_unchecked()).kind == kind as u8 }
    }

    /// Whether it is an int of any width.
    #[inline(always)]
    pub fn is_int(self) -> bool {
        self.is_small_int() || self.is_object_of(ObjectKind::WideInt)
    }

    /// The inline int in a value that is known to be one.
    #[inline(always)]
    pub const fn small_int_of(self) -> i64 {
        ((self.0 << 16) as i64) >> 16
    }

    /// The inline int in it.
    #[inline(always)]
    pub const fn as_small_int(self) -> Option<i64> {
        if self.is_small_int() { Some(self.small_int_of()) } else { None }
    }

    /// The int in it, of any width.
    #[inline(always)]
    pub fn as_int(self) -> Option<i64> {
        if self.is_small_int() { Some(self.small_int_of()) } else { self.as_wide_int() }
    }

    /// The int in it, where it is a wide one.
    #[inline]
    pub fn as_wide_int(self) -> Option<i64> {
        if self.is_object_of(ObjectKind::WideInt) {
            // SAFETY: the kind was tested, and an object value points to a live object.
            Some(unsafe { (*self.as_object_unchecked().cast::<WideInt>()).value })
        } else {
            None
        }
    }

    /// The float in a value that is known to be one.
    #[inline(always)]
    pub const fn float_of(self) -> f64 {
        f64::from_bits(self.0.wrapping_sub(FLOAT_OFFSET))
    }

    /// The float in it.
    #[inline(always)]
    pub const fn as_float(self) -> Option<f64> {
        if self.is_float() { Some(self.float_of()) } else { None }
    }

    /// The boolean in it.
    #[inline(always)]
    pub const fn as_bool(self) -> Option<bool> {
        if self.is_bool() { Some(self.0 == Value::TRUE.0) } else { None }
    }

    /// Kind and id of the interned name in it.
    #[inline(always)]
    pub const fn as_name(self) -> Option<(u8, u32)> {
        if self.is_name() { Some(((self.0 >> 32) as u8, self.0 as u32)) } else { None }
    }

    /// The length in bytes of a value that is known to be an inline string.
    #[inline(always)]
    pub const fn short_len(self) -> usize {
        (self.0 >> SHORT_LEN_SHIFT) as usize & 7
    }

    /// The bytes of a value that is known to be an inline string, from the lowest on; those behind its end are 0.
    #[inline(always)]
    pub const fn short_word(self) -> u64 {
        self.0 & SHORT_WORD
    }

    /// The inline string of so many bytes, at most [`SHORT_MAX`], with the given [`Value::short_word`].
    #[inline(always)]
    pub(crate) const fn short_of_word(len: usize, word: u64) -> Value {
        debug_assert!(len <= SHORT_MAX && word >> (8 * len) == 0);
        Value(TAG_SHORT_STRING << TAG_SHIFT | (len as u64) << SHORT_LEN_SHIFT | word)
    }

    /// The bytes of a value that is known to be an inline string, in place.
    #[inline(always)]
    pub fn short_bytes(&self) -> &[u8] {
        debug_assert!(self.is_short_string());
        let len = self.short_len().min(SHORT_MAX);
        // SAFETY: the first `len` <= 5 bytes of the 8 of `self` are the string's bytes on little-endian machines.
        unsafe { std::slice::from_raw_parts(ptr::from_ref(self).cast::<u8>(), len) }
    }

    /// The header of the object that it points to.
    #[inline(always)]
    pub fn as_object(self) -> Option<*mut Header> {
        if self.is_object() { Some(self.as_object_unchecked()) } else { None }
    }

    /// The header of the object in a value that is known to point to one.
    #[inline(always)]
    pub fn as_object_unchecked(self) -> *mut Header {
        ptr::with_exposed_provenance_mut(self.0 as usize)
    }

    /// The object in a value that is known to point to one of this layout.
    #[inline(always)]
    pub fn as_ptr<T>(self) -> *mut T {
        ptr::with_exposed_provenance_mut(self.0 as usize)
    }

    /// The object kind, where it points to an object.
    #[inline(always)]
    pub fn object_kind(self) -> Option<ObjectKind> {
        // SAFETY: an object value points to a live header.
        self.as_object().map(|o| unsafe { (*o).object_kind() })
    }

    /// The kind as `cell.kind` numbers it.
    #[inline]
    pub fn kind(self) -> Kind {
        match self.0 >> TAG_SHIFT {
            TAG_INT => Kind::Int,
            TAG_SHORT_STRING => Kind::String,
            TAG_NAME => Kind::Name,
            TAG_IMMEDIATE if self.is_bool() => Kind::Bool,
            TAG_IMMEDIATE | TAG_INTERNAL => Kind::Nil,
            _ => match self.object_kind() {
                Some(kind) => kind.kind(),
                None if self.is_hole() => Kind::Nil,
                None => Kind::Float,
            },
        }
    }

    /// Whether two cells are the same value: equal bits, or wide ints of equal value.
    #[inline(always)]
    pub fn identical(self, other: Value) -> bool {
        self.0 == other.0 || (self.is_object() && other.is_object() && self.same_wide_int(other))
    }

    #[inline(never)]
    fn same_wide_int(self, other: Value) -> bool {
        match (self.as_wide_int(), other.as_wide_int()) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
    }
}

impl Default for Value {
    fn default() -> Value {
        Value::HOLE
    }
}

impl fmt::Debug for Value {
    /// Shows what the bits say and reads no object, so that it can be used on values whose object is gone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_object() {
            write!(f, "object({:#x})", self.0)
        } else if let Some(i) = self.as_small_int() {
            write!(f, "{i}")
        } else if let Some(x) = self.as_float() {
            write!(f, "{x:?}")
        } else if self.is_short_string() {
            write!(f, "{:?}", String::from_utf8_lossy(self.short_bytes()))
        } else if let Some((kind, id)) = self.as_name() {
            write!(f, "name({kind}, {id})")
        } else if self.is_hole() {
            f.write_str("hole")
        } else if self.0 >> TAG_SHIFT == TAG_IMMEDIATE {
            f.write_str(Immediate::from_number(self.0 & INT_MASK).map_or("immediate?", Immediate::text))
        } else {
            write!(f, "bits({:#x})", self.0)
        }
    }
}

const _: () = {
    assert!(Immediate::Hole as u64 == 0);
    assert!(Immediate::False as u64 + 1 == Immediate::True as u64);
    assert!(size_of::<Value>() == 8);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_keep_their_bits_and_stay_out_of_other_ranges() {
        for x in [
            0.0,
            -0.0,
            1.5,
            -1.5,
            f64::MAX,
            f64::MIN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            5e-324,
        ] {
            let v = Value::float(x);
            assert!(v.is_float() && !v.is_object() && !v.is_small_int() && !v.is_string() && !v.is_bool());
            assert_eq!(v.as_float().map(f64::to_bits), Some(x.to_bits()));
            assert_eq!(v.kind(), Kind::Float);
        }
        for bits in [CANONICAL_NAN, 0xFFF8_0000_0000_0001, 0x7FF0_0000_0000_0001, u64::MAX] {
            let v = Value::float(f64::from_bits(bits));
            assert_eq!(v, Value::float(f64::NAN));
            assert!(v.as_float().is_some_and(f64::is_nan));
        }
    }

    #[test]
    fn ints_are_inline_up_to_48_bits() {
        for i in [0, 1, -1, 42, INT_MAX, INT_MIN] {
            let v = Value::small_int(i).unwrap();
            assert_eq!(v.as_int(), Some(i));
            assert_eq!(v.kind(), Kind::Int);
            assert!(!v.is_float() && !v.is_object());
        }
        for i in [INT_MAX + 1, INT_MIN - 1, i64::MAX, i64::MIN] {
            assert_eq!(Value::small_int(i), None);
        }
    }

    #[test]
    fn immediates_are_what_they_say() {
        for &i in Immediate::ALL {
            let v = Value::immediate(i);
            assert!(!v.is_object() && !v.is_float() && !v.is_small_int());
            assert_eq!(v.is_bool(), matches!(i, Immediate::True | Immediate::False));
            assert_eq!(format!("{v:?}"), i.text());
        }
        assert_eq!(Value::bool(true), Value::TRUE);
        assert_eq!(Value::bool(false), Value::FALSE);
        assert_eq!(Value::TRUE.as_bool(), Some(true));
        assert_eq!(Value::NIL.as_bool(), None);
        assert_eq!(Value::NIL.kind(), Kind::Nil);
        assert_eq!(Value::TRUE.kind(), Kind::Bool);
    }

    #[test]
    fn short_strings_are_canonical() {
        for s in ["", "a", "ab", "abcde", "ä", "日", "\0", "\0\0"] {
            let v = Value::short_string(s.as_bytes()).unwrap();
            assert_eq!(v.short_bytes(), s.as_bytes());
            assert!(v.is_string() && !v.is_float());
        }
        assert_eq!(Value::short_string(b"abcdef"), None);
        assert_ne!(Value::short_string(b"\0"), Value::short_string(b""));
        assert_eq!(Value::short_string(b""), Some(Value::EMPTY_STRING));
    }

    #[test]
    fn names_carry_kind_and_id() {
        let v = Value::name(7, u32::MAX);
        assert_eq!(v.as_name(), Some((7, u32::MAX)));
        assert_eq!(v.kind(), Kind::Name);
        assert!(!v.is_string());
    }
}
