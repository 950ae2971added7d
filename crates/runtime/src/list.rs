//! Lists: growable arrays of raw ints, raw floats, booleans (one byte each) or cells.
//!
//! A list is a small object that points to a buffer, which only this list refers to. The forms with an element type in
//! their name ([`Element`]) serve typed code: they check positions and nothing else. The storage kind of a list never
//! changes.

use std::ptr;

use crate::heap::{Heap, LARGE_OBJECT, OutOfMemory, empty_buffer};
use crate::object::{Buffer, Header, List, ObjectKind, list_bits};
use crate::string::slice_bounds;
use crate::value::Value;

mod sealed {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for f64 {}
    impl Sealed for bool {}
    impl Sealed for super::Value {}
}

/// What lists store: `i64`, `f64`, `bool` or [`Value`].
pub trait Element: Copy + sealed::Sealed {
    /// The kind of lists of it.
    const LIST: ObjectKind;
    /// The kind of their buffers.
    const BUFFER: ObjectKind;
    /// The size of an element.
    const SIZE: usize;
}

impl Element for i64 {
    const LIST: ObjectKind = ObjectKind::ListInt;
    const BUFFER: ObjectKind = ObjectKind::RawBuffer;
    const SIZE: usize = 8;
}

impl Element for f64 {
    const LIST: ObjectKind = ObjectKind::ListFloat;
    const BUFFER: ObjectKind = ObjectKind::RawBuffer;
    const SIZE: usize = 8;
}

impl Element for bool {
    const LIST: ObjectKind = ObjectKind::ListBool;
    const BUFFER: ObjectKind = ObjectKind::RawBuffer;
    const SIZE: usize = 1;
}

impl Element for Value {
    const LIST: ObjectKind = ObjectKind::ListCell;
    const BUFFER: ObjectKind = ObjectKind::CellBuffer;
    const SIZE: usize = 8;
}

/// The most elements that a list may have.
const LEN_MAX: usize = isize::MAX as usize / 16;

/// The size of an element of lists of this kind.
#[inline(always)]
fn element_size(kind: ObjectKind) -> usize {
    if kind == ObjectKind::ListBool { 1 } else { 8 }
}

/// The room that a list of a kind has from its first element on: what to ask for where an empty list will grow.
pub fn least_room(kind: ObjectKind) -> usize {
    if kind == ObjectKind::ListBool { 16 } else { 4 }
}

/// A new buffer. Cell buffers are filled with holes behind the first `written` elements, which the caller writes at once; raw ones are
/// zeroed with `zeroed` only.
pub(crate) fn new_buffer(
    heap: &mut Heap,
    cells: bool,
    bits: u16,
    element: usize,
    capacity: usize,
    zeroed: bool,
    written: usize,
) -> Result<*mut Buffer, OutOfMemory> {
    if capacity == 0 {
        return Ok(empty_buffer());
    }
    if capacity > LEN_MAX {
        return Err(OutOfMemory);
    }
    let size = Buffer::DATA + capacity * element;
    let buffer = if cells {
        heap.alloc_zeroed_from(ObjectKind::CellBuffer, bits, 0, size, Buffer::DATA + written * element)?
    } else if zeroed {
        heap.alloc_zeroed(ObjectKind::RawBuffer, element as u16, 0, size)?
    } else {
        heap.alloc(ObjectKind::RawBuffer, element as u16, 0, size)?
    };
    let buffer = buffer.cast::<Buffer>();
    // SAFETY: allocated with this layout.
    unsafe { (*buffer).capacity = capacity };
    Ok(buffer)
}

/// A new empty list of a kind, with room for `capacity` elements.
#[inline]
pub fn new_of(heap: &mut Heap, kind: ObjectKind, capacity: usize) -> Result<*mut List, OutOfMemory> {
    let cells = kind == ObjectKind::ListCell;
    let buffer = new_buffer(heap, cells, 0, element_size(kind), capacity, false, 0)?;
    let list = heap.alloc(kind, 0, 0, size_of::<List>())?.cast::<List>();
    // SAFETY: allocated with this layout.
    unsafe {
        (*list).len = 0;
        (*list).buffer = buffer;
    }
    Ok(list)
}

/// A new empty list with room for `capacity` elements.
#[inline]
pub fn new<T: Element>(heap: &mut Heap, capacity: usize) -> Result<*mut List, OutOfMemory> {
    new_of(heap, T::LIST, capacity)
}

/// A new list of elements.
pub fn from_slice<T: Element>(heap: &mut Heap, elements: &[T]) -> Result<*mut List, OutOfMemory> {
    let list = new::<T>(heap, elements.len())?;
    // SAFETY: the fresh buffer has room.
    unsafe {
        ptr::copy_nonoverlapping(elements.as_ptr(), Buffer::data::<T>((*list).buffer), elements.len());
        (*list).len = elements.len();
        if T::LIST as u8 == ObjectKind::ListCell as u8 {
            heap.write_barrier_range((*list).buffer, 0, elements.len());
        }
    }
    Ok(list)
}

/// The number of elements.
///
/// # Safety
/// `list` points to a live list.
#[inline(always)]
pub unsafe fn len(list: *mut List) -> usize {
    // SAFETY: by the contract.
    unsafe { (*list).len }
}

/// The position of the first element that is an int, or -1.
///
/// # Safety
/// `list` points to a live list of ints.
pub unsafe fn index_of_int(list: *mut List, i: i64) -> i64 {
    // SAFETY: by the contract; nothing else runs meanwhile.
    let ints = unsafe { slice_of::<i64>(list) };
    ints.iter().position(|&x| x == i).map_or(-1, |at| at as i64)
}

/// The position of the first element that is a string with the same text as another, or -1.
///
/// # Safety
/// `list` points to a live list of cells; `text` is a live string.
pub unsafe fn index_of_text(list: *mut List, text: Value) -> i64 {
    // SAFETY: by the contract; nothing else runs meanwhile.
    unsafe {
        let cells = slice_of::<Value>(list);
        cells.iter().position(|&cell| crate::string::is_text(cell, text)).map_or(-1, |at| at as i64)
    }
}

/// The elements.
///
/// # Safety
/// `list` points to a live list of `T` that is neither changed, moved nor freed during `'a`.
#[inline(always)]
pub unsafe fn slice_of<'a, T: Element>(list: *mut List) -> &'a [T] {
    // SAFETY: by the contract; the first `len` elements are initialised.
    unsafe { std::slice::from_raw_parts(Buffer::data::<T>((*list).buffer), (*list).len) }
}

/// Element `i`; `None` where there is none.
///
/// # Safety
/// `list` points to a live list of `T`.
#[inline(always)]
pub unsafe fn get<T: Element>(list: *mut List, i: i64) -> Option<T> {
    // SAFETY: by the contract; the position is checked.
    unsafe {
        if (i as u64) < (*list).len as u64 {
            Some(*Buffer::data::<T>((*list).buffer).add(i as usize))
        } else {
            None
        }
    }
}

/// The position that a possibly negative one means.
///
/// # Safety
/// `list` points to a live list.
#[inline(always)]
pub unsafe fn relative(list: *mut List, i: i64) -> i64 {
    // SAFETY: by the contract.
    if i < 0 { i.wrapping_add(unsafe { (*list).len } as i64) } else { i }
}

/// Writes raw element `i`; false where there is none.
///
/// # Safety
/// `list` points to a live list of `T`, which is not [`Value`].
#[inline(always)]
pub unsafe fn set_raw<T: Element>(list: *mut List, i: i64, value: T) -> bool {
    // SAFETY: by the contract; the position is checked.
    unsafe {
        if (i as u64) < (*list).len as u64 {
            *Buffer::data::<T>((*list).buffer).add(i as usize) = value;
            true
        } else {
            false
        }
    }
}

/// Writes cell `i`, with the barrier; false where there is none.
///
/// # Safety
/// `list` points to a live list of cells of the heap; the value is one of the heap.
#[inline(always)]
pub unsafe fn set_cell(heap: &mut Heap, list: *mut List, i: i64, value: Value) -> bool {
    // SAFETY: by the contract; the position is checked.
    unsafe {
        if (i as u64) >= (*list).len as u64 {
            return false;
        }
        let buffer = (*list).buffer;
        let slot = Buffer::data::<Value>(buffer).add(i as usize);
        *slot = value;
        heap.write_barrier_slot(buffer, slot);
        true
    }
}

/// Appends an element in place, with the barrier.
///
/// # Safety
/// `list` points to a live list of `T` of the heap; the value is one of the heap.
#[inline(always)]
pub unsafe fn push<T: Element>(heap: &mut Heap, list: *mut List, value: T) -> Result<(), OutOfMemory> {
    // SAFETY: by the contract; there is room behind the `len` elements, or it is made.
    unsafe {
        let len = (*list).len;
        if len >= (*(*list).buffer).capacity {
            reserve(heap, list, 1)?;
        }
        let buffer = (*list).buffer;
        let slot = Buffer::data::<T>(buffer).add(len);
        slot.write(value);
        (*list).len = len + 1;
        if T::LIST as u8 == ObjectKind::ListCell as u8 {
            heap.write_barrier_slot(buffer, slot.cast());
        }
        Ok(())
    }
}

/// Makes room for so many more elements; at least doubles a buffer that is replaced.
///
/// # Safety
/// `list` points to a live list of the heap.
#[cold]
#[inline(never)]
pub unsafe fn reserve(heap: &mut Heap, list: *mut List, more: usize) -> Result<(), OutOfMemory> {
    // SAFETY: by the contract; allocation moves nothing.
    unsafe {
        let (len, old) = ((*list).len, (*list).buffer);
        let needed = len.saturating_add(more);
        if needed <= (*old).capacity {
            return Ok(());
        }
        let kind = (*list).header.object_kind();
        let capacity = needed.max((*old).capacity.saturating_mul(2)).max(least_room(kind));
        let element = element_size(kind);
        let size = |capacity: usize| Buffer::DATA + capacity * element;
        if capacity <= LEN_MAX
            && (*old).capacity > 0
            && let Some(buffer) = heap.extend(old.cast(), size((*old).capacity), size(capacity))
        {
            let buffer = buffer.cast::<Buffer>();
            if kind == ObjectKind::ListCell {
                let from = Buffer::data::<Value>(buffer).add((*buffer).capacity);
                from.write_bytes(0, capacity - (*buffer).capacity);
            }
            (*buffer).capacity = capacity;
            (*list).buffer = buffer;
            return Ok(());
        }
        let new = new_buffer(heap, kind == ObjectKind::ListCell, 0, element, capacity, false, len)?;
        ptr::copy_nonoverlapping(Buffer::data::<u8>(old), Buffer::data::<u8>(new), len * element);
        (*list).buffer = new;
        if kind == ObjectKind::ListCell {
            heap.write_barrier_range(new, 0, len);
        }
        // The new buffer is young, and so is known to the next collection through the list alone.
        heap.write_barrier(list);
        Ok(())
    }
}

/// Makes room for so many more elements where the nursery has that much, or where a small buffer is not enough, for a start from which
/// doubling goes on; else, and where the list is marked shared, nothing is done. What is seen of the list stays as it is.
///
/// # Safety
/// `list` points to a live list of the heap.
pub unsafe fn reserve_quick(heap: &mut Heap, list: *mut List, more: usize) {
    // SAFETY: by the contract; allocation moves nothing.
    unsafe {
        let (len, old) = ((*list).len, (*list).buffer);
        let kind = (*list).header.object_kind();
        let element = element_size(kind);
        let most = (LARGE_OBJECT - Buffer::DATA) / element;
        let (needed, has) = (len.saturating_add(more), (*old).capacity);
        if needed <= has || is_shared(list) {
            return;
        }
        // What has elements may be filled by many such loops, so it at least doubles, too.
        let wanted = if len == 0 { needed } else { needed.max(2 * has) };
        let capacity = if wanted <= most { wanted } else { most.next_power_of_two() / 2 };
        if capacity <= has {
            return;
        }
        let cells = kind == ObjectKind::ListCell;
        let (of, bits) =
            if cells { (ObjectKind::CellBuffer, 0) } else { (ObjectKind::RawBuffer, element as u16) };
        let Some(new) = heap.alloc_quick(of, bits, 0, Buffer::DATA + capacity * element, 0) else { return };
        let new = new.cast::<Buffer>();
        (*new).capacity = capacity;
        let data = Buffer::data::<u8>(new);
        ptr::copy_nonoverlapping(Buffer::data::<u8>(old), data, len * element);
        if cells {
            data.add(len * element).write_bytes(0, (capacity - len) * element);
        }
        (*list).buffer = new;
        // As in `reserve`; what is in the nursery needs no barrier of its own.
        heap.write_barrier(list);
    }
}

/// The list with a value at its end: the list itself where it is not marked shared, else a new one. Then both lists have the
/// elements, and those that are lists are marked.
///
/// # Safety
/// As for [`push`].
#[inline]
pub unsafe fn append<T: Element>(
    heap: &mut Heap,
    list: *mut List,
    value: T,
) -> Result<*mut List, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        let list = if is_shared(list) {
            if T::LIST as u8 == ObjectKind::ListCell as u8 {
                slice_of::<Value>(list).iter().copied().for_each(share_value);
            }
            copy(heap, list, 1)?
        } else {
            list
        };
        push(heap, list, value)?;
        Ok(list)
    }
}

/// Marks that a second lasting reference to the list may exist.
///
/// # Safety
/// `list` points to a live list.
#[inline(always)]
pub unsafe fn share(list: *mut List) {
    // SAFETY: by the contract.
    unsafe { (*list).header.bits |= list_bits::SHARED };
}

/// Marks a value that is a list as shared.
#[inline]
pub fn share_value(value: Value) {
    if let Some(object) = value.as_object() {
        // SAFETY: an object value points to a live object, and the kind is tested.
        unsafe {
            if is_list_kind((*object).object_kind()) {
                share(object.cast());
            }
        }
    }
}

/// Whether the kind is that of a list.
#[inline(always)]
pub fn is_list_kind(kind: ObjectKind) -> bool {
    (ObjectKind::ListInt as u8..=ObjectKind::ListCell as u8).contains(&(kind as u8))
}

/// Whether a second lasting reference may exist.
///
/// # Safety
/// `list` points to a live list.
#[inline(always)]
pub unsafe fn is_shared(list: *mut List) -> bool {
    // SAFETY: by the contract.
    unsafe { (*list).header.bits & list_bits::SHARED != 0 }
}

/// A new, unshared list of the elements, with room for `extra` more.
///
/// # Safety
/// `list` points to a live list of the heap.
pub unsafe fn copy(heap: &mut Heap, list: *mut List, extra: usize) -> Result<*mut List, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe { join(heap, list, 0, (*list).len, None, extra) }
}

/// A new list of the elements `from..to`; see [`slice_bounds`].
///
/// # Safety
/// `list` points to a live list of the heap.
pub unsafe fn slice(heap: &mut Heap, list: *mut List, from: i64, to: i64) -> Result<*mut List, OutOfMemory> {
    // SAFETY: by the contract; the bounds are clamped.
    unsafe {
        let (from, to) = slice_bounds((*list).len, from, to);
        join(heap, list, from, to - from, None, 0)
    }
}

/// Rooms of so many elements are kept for any number of them when a list is cut.
pub const CUT_SMALL: usize = 64;

/// The elements `from..to` (see [`slice_bounds`]): the list itself, cut, where it is not marked shared, else a new list. A new
/// one also where little would be left in much room, which so becomes free.
///
/// # Safety
/// `list` points to a live list of the heap.
pub unsafe fn cut(heap: &mut Heap, list: *mut List, from: i64, to: i64) -> Result<*mut List, OutOfMemory> {
    // SAFETY: by the contract; the bounds are clamped.
    unsafe {
        let (from, to) = slice_bounds((*list).len, from, to);
        let (count, room) = (to - from, (*(*list).buffer).capacity);
        if is_shared(list) || room > CUT_SMALL && count < room / 8 {
            return join(heap, list, from, count, None, 0);
        }
        let kind = (*list).header.object_kind();
        let element = element_size(kind);
        if from > 0 {
            if let Some(buffer) = heap.trim((*list).buffer, from * element, element) {
                (*list).buffer = buffer;
            } else {
                let data = Buffer::data::<u8>((*list).buffer);
                ptr::copy(data.add(from * element), data, count * element);
                if kind == ObjectKind::ListCell {
                    heap.write_barrier_range((*list).buffer, 0, count);
                }
            }
        }
        truncate(list, count);
        Ok(list)
    }
}

/// A new list of the elements of `a`, then those of `b`.
///
/// # Safety
/// Both point to live lists of the heap of one storage kind.
pub unsafe fn concat(heap: &mut Heap, a: *mut List, b: *mut List) -> Result<*mut List, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        debug_assert_eq!((*a).header.kind, (*b).header.kind);
        join(heap, a, 0, (*a).len, Some(b), 0)
    }
}

/// A new list of `count` elements of `a` from `from` on, then those of `b`, with room for `extra` more.
unsafe fn join(
    heap: &mut Heap,
    a: *mut List,
    from: usize,
    count: usize,
    b: Option<*mut List>,
    extra: usize,
) -> Result<*mut List, OutOfMemory> {
    // SAFETY: the callers' contract: live lists of one kind and a range inside `a`.
    unsafe {
        let kind = (*a).header.object_kind();
        let element = element_size(kind);
        let more = b.map_or(0, |b| (*b).len);
        let len = count + more;
        let list = new_of(heap, kind, len.saturating_add(extra))?;
        let data = Buffer::data::<u8>((*list).buffer);
        ptr::copy_nonoverlapping(Buffer::data::<u8>((*a).buffer).add(from * element), data, count * element);
        if let Some(b) = b {
            ptr::copy_nonoverlapping(
                Buffer::data::<u8>((*b).buffer),
                data.add(count * element),
                more * element,
            );
        }
        (*list).len = len;
        if kind == ObjectKind::ListCell {
            heap.write_barrier_range((*list).buffer, 0, len);
        }
        Ok(list)
    }
}

/// Appends the elements of another list.
///
/// # Safety
/// Both point to live lists of the heap of one storage kind.
pub unsafe fn extend(heap: &mut Heap, list: *mut List, other: *mut List) -> Result<(), OutOfMemory> {
    // SAFETY: by the contract; there is room for all of them.
    unsafe {
        debug_assert_eq!((*list).header.kind, (*other).header.kind);
        let (len, more) = ((*list).len, (*other).len);
        reserve(heap, list, more)?;
        let kind = (*list).header.object_kind();
        let element = element_size(kind);
        ptr::copy_nonoverlapping(
            Buffer::data::<u8>((*other).buffer),
            Buffer::data::<u8>((*list).buffer).add(len * element),
            more * element,
        );
        (*list).len = len + more;
        if kind == ObjectKind::ListCell {
            heap.write_barrier_range((*list).buffer, len, more);
        }
        Ok(())
    }
}

/// The list with the elements of another behind it: the list itself where it is not marked shared, else a new one. Then both lists have
/// the elements of the first, and those that are lists are marked.
///
/// # Safety
/// Both point to live lists of the heap of one storage kind; they may be the same.
pub unsafe fn append_all(
    heap: &mut Heap,
    list: *mut List,
    other: *mut List,
) -> Result<*mut List, OutOfMemory> {
    // SAFETY: by the contract.
    unsafe {
        if is_shared(list) {
            if (*list).header.object_kind() == ObjectKind::ListCell {
                slice_of::<Value>(list).iter().copied().for_each(share_value);
            }
            return concat(heap, list, other);
        }
        extend(heap, list, other)?;
        Ok(list)
    }
}

/// Appends elements of another list by position, those of positions that it has.
///
/// # Safety
/// Both point to live lists of the heap of one storage kind, and are not the same.
pub unsafe fn extend_picked(
    heap: &mut Heap,
    list: *mut List,
    other: *mut List,
    positions: impl ExactSizeIterator<Item = usize>,
) -> Result<(), OutOfMemory> {
    unsafe fn pick<T: Copy>(
        list: *mut List,
        other: *mut List,
        positions: impl ExactSizeIterator<Item = usize>,
    ) {
        // SAFETY: the caller's contract and `reserve`: so many more elements have room, and positions are checked.
        unsafe {
            let room = positions.len();
            let (from, to) = (Buffer::data::<T>((*other).buffer), Buffer::data::<T>((*list).buffer));
            for at in positions.take(room).filter(|&at| at < (*other).len) {
                to.add((*list).len).write(*from.add(at));
                (*list).len += 1;
            }
        }
    }
    // SAFETY: by the contract; the kind decides the size of elements.
    unsafe {
        debug_assert_eq!((*list).header.kind, (*other).header.kind);
        let len = (*list).len;
        reserve(heap, list, positions.len())?;
        match (*list).header.object_kind() {
            ObjectKind::ListBool => pick::<u8>(list, other, positions),
            ObjectKind::ListCell => {
                pick::<u64>(list, other, positions);
                heap.write_barrier_range((*list).buffer, len, (*list).len - len);
            }
            _ => pick::<u64>(list, other, positions),
        }
        Ok(())
    }
}

/// Element `i` of a list of any kind as a value; `None` where there is none.
///
/// # Safety
/// `list` points to a live list of the heap.
#[inline]
pub unsafe fn get_boxed(heap: &mut Heap, list: *mut List, i: i64) -> Result<Option<Value>, OutOfMemory> {
    // SAFETY: by the contract; the kind decides the element type.
    unsafe {
        Ok(match (*list.cast::<Header>()).object_kind() {
            ObjectKind::ListInt => match get::<i64>(list, i) {
                Some(i) => Some(heap.box_int(i)?),
                None => None,
            },
            ObjectKind::ListFloat => get::<f64>(list, i).map(Value::float),
            ObjectKind::ListBool => get::<bool>(list, i).map(Value::bool),
            _ => get::<Value>(list, i),
        })
    }
}

/// Removes the elements from `len` on. The room stays.
///
/// # Safety
/// `list` points to a live list of the heap.
pub unsafe fn truncate(list: *mut List, len: usize) {
    // SAFETY: by the contract; cells behind the end become holes, so that they keep nothing alive.
    unsafe {
        if len >= (*list).len {
            return;
        }
        if (*list).header.kind == ObjectKind::ListCell as u8 {
            let data = Buffer::data::<Value>((*list).buffer);
            ptr::write_bytes(data.add(len), 0, (*list).len - len);
        }
        (*list).len = len;
    }
}
