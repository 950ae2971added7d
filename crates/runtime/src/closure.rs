//! Closures and captured-variable boxes.

use std::ptr;

use crate::heap::{Heap, OutOfMemory};
use crate::object::{Closure, ObjectKind, Ref};
use crate::value::Value;

/// A new closure of an instance-wide function id with its captures.
///
/// # Safety
/// `captures` points to `count` valid cells.
#[inline]
pub unsafe fn new(
    heap: &mut Heap,
    function: u32,
    captures: *const Value,
    count: u16,
) -> Result<*mut Closure, OutOfMemory> {
    let size = Closure::CAPTURES + 8 * count as usize;
    let closure = heap.alloc(ObjectKind::Closure, count, function, size)?.cast::<Closure>();
    // SAFETY: the object has room for `count` cells.
    unsafe { ptr::copy_nonoverlapping(captures, Closure::captures(closure), count as usize) };
    Ok(closure)
}

/// The function of a closure.
///
/// # Safety
/// `closure` points to a live closure.
#[inline(always)]
pub unsafe fn function_of(closure: *mut Closure) -> u32 {
    // SAFETY: by the contract.
    unsafe { (*closure).header.meta }
}

/// A capture.
///
/// # Safety
/// `closure` points to a live closure with more than `index` captures.
#[inline(always)]
pub unsafe fn capture(closure: *mut Closure, index: usize) -> Value {
    // SAFETY: by the contract.
    unsafe {
        debug_assert!(index < (*closure).header.bits as usize);
        *Closure::captures(closure).add(index)
    }
}

/// A new box of a raw int.
#[inline]
pub fn new_ref_int(heap: &mut Heap, content: i64) -> Result<*mut Ref, OutOfMemory> {
    new_ref(heap, ObjectKind::RefInt, content as u64)
}

/// A new box of a raw float.
#[inline]
pub fn new_ref_float(heap: &mut Heap, content: f64) -> Result<*mut Ref, OutOfMemory> {
    new_ref(heap, ObjectKind::RefFloat, content.to_bits())
}

/// A new box of a cell.
#[inline]
pub fn new_ref_cell(heap: &mut Heap, content: Value) -> Result<*mut Ref, OutOfMemory> {
    new_ref(heap, ObjectKind::RefCell, content.bits())
}

#[inline(always)]
fn new_ref(heap: &mut Heap, kind: ObjectKind, content: u64) -> Result<*mut Ref, OutOfMemory> {
    let object = heap.alloc(kind, 0, 0, size_of::<Ref>())?.cast::<Ref>();
    // SAFETY: allocated with this layout.
    unsafe { (*object).content = content };
    Ok(object)
}

/// The cell in a box.
///
/// # Safety
/// `object` points to a live box of a cell.
#[inline(always)]
pub unsafe fn ref_cell(object: *mut Ref) -> Value {
    // SAFETY: by the contract.
    Value::from_bits(unsafe { (*object).content })
}

/// Writes the cell of a box, with the barrier.
///
/// # Safety
/// `object` points to a live box of a cell of the heap; the value is one of the heap.
#[inline(always)]
pub unsafe fn set_ref_cell(heap: &mut Heap, object: *mut Ref, content: Value) {
    // SAFETY: by the contract.
    unsafe {
        (*object).content = content.bits();
        heap.write_barrier(object);
    }
}
