//! Objects of front-end kinds: tuples (a tail of cells) and bytes (a tail of bytes).
//!
//! Both carry 16 header bits that the language owns, and a 32-bit content hash that the front end computes and keeps.
//! `Heap::identity_hash` gives a hash of identity.

use std::ptr;

use crate::heap::{Heap, OutOfMemory};
use crate::object::{Bytes, ObjectKind, Tuple};
use crate::value::Value;

/// A new tuple of a front-end kind.
///
/// # Safety
/// `cells` points to `count` valid cells.
#[inline]
pub unsafe fn new(
    heap: &mut Heap,
    kind: u16,
    cells: *const Value,
    count: usize,
) -> Result<*mut Tuple, OutOfMemory> {
    let len = u32::try_from(count).map_err(|_| OutOfMemory)?;
    let tuple = heap.alloc(ObjectKind::Tuple, 0, u32::from(kind), Tuple::CELLS + 8 * count)?.cast::<Tuple>();
    // SAFETY: the object has room for `count` cells.
    unsafe {
        (*tuple).len = len;
        (*tuple).hash = 0;
        ptr::copy_nonoverlapping(cells, Tuple::cells(tuple), count);
    }
    Ok(tuple)
}

/// A new bytes object of a front-end kind.
pub fn new_bytes(heap: &mut Heap, kind: u16, content: &[u8]) -> Result<*mut Bytes, OutOfMemory> {
    let len = u32::try_from(content.len()).map_err(|_| OutOfMemory)?;
    let bytes =
        heap.alloc(ObjectKind::Bytes, 0, u32::from(kind), Bytes::DATA + content.len())?.cast::<Bytes>();
    // SAFETY: the object has room for the content.
    unsafe {
        (*bytes).len = len;
        (*bytes).hash = 0;
        ptr::copy_nonoverlapping(content.as_ptr(), Bytes::data(bytes), content.len());
    }
    Ok(bytes)
}

/// The content of a bytes object.
///
/// # Safety
/// `bytes` points to a live bytes object that neither moves nor dies during `'a`.
pub unsafe fn bytes_of<'a>(bytes: *mut Bytes) -> &'a [u8] {
    // SAFETY: by the contract.
    unsafe { std::slice::from_raw_parts(Bytes::data(bytes), (*bytes).len as usize) }
}

/// Cell `i` of a tuple.
///
/// # Safety
/// `tuple` points to a live tuple.
#[inline(always)]
pub unsafe fn get(tuple: *mut Tuple, i: i64) -> Option<Value> {
    // SAFETY: by the contract; the position is checked.
    unsafe {
        if (i as u64) < u64::from((*tuple).len) { Some(*Tuple::cells(tuple).add(i as usize)) } else { None }
    }
}

/// Writes cell `i` of a tuple, with the barrier; false where there is none.
///
/// # Safety
/// `tuple` points to a live tuple of the heap; the value is one of the heap.
#[inline(always)]
pub unsafe fn set(heap: &mut Heap, tuple: *mut Tuple, i: i64, value: Value) -> bool {
    // SAFETY: by the contract; the position is checked.
    unsafe {
        if (i as u64) >= u64::from((*tuple).len) {
            return false;
        }
        *Tuple::cells(tuple).add(i as usize) = value;
        heap.write_barrier(tuple);
        true
    }
}

/// The front-end kind of a tuple.
///
/// # Safety
/// `tuple` points to a live tuple.
#[inline(always)]
pub unsafe fn kind_of(tuple: *mut Tuple) -> u16 {
    // SAFETY: by the contract.
    unsafe { (*tuple).header.meta as u16 }
}

/// Sets bits of the language's header bits.
///
/// # Safety
/// `tuple` points to a live tuple.
#[inline(always)]
pub unsafe fn set_bits(tuple: *mut Tuple, bits: u16) {
    // SAFETY: by the contract.
    unsafe { (*tuple).header.bits |= bits };
}
