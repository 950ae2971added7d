//! Minor and major collections.
//!
//! A minor collection visits the roots, the remembered set and dirty cards; each young object found is copied to the old
//! space once, leaves its new address behind, and has its own cells visited in turn. The textbook scan of the copies in
//! address order (Cheney) does not apply, as size classes scatter them; an explicit list stands in. A major collection runs
//! right after a minor one, so all objects are old, and marks with an explicit stack, on which huge buffers are taken in
//! slices. Neither recurses.

use std::ptr;
use std::time::{Duration, Instant};

use super::large::{CARD, card_count, prefix};
use super::old::OldSpace;
use super::{Heap, OVERFLOW_CHUNK};
use crate::object::*;
use crate::record::ShapeTable;
use crate::value::Value;

/// What keeps objects alive from outside the heap.
pub trait Roots {
    /// Visits every cell that may refer to an object. With `minor`, those may be left out that surely refer to no object
    /// allocated since the last collection.
    fn trace(&mut self, minor: bool, visitor: &mut Visitor<'_>);
}

/// No roots: everything is garbage.
impl Roots for () {
    fn trace(&mut self, _minor: bool, _visitor: &mut Visitor<'_>) {}
}

impl Roots for Vec<Value> {
    fn trace(&mut self, _minor: bool, visitor: &mut Visitor<'_>) {
        self.iter_mut().for_each(|v| visitor.visit(v));
    }
}

impl<R: Roots + ?Sized> Roots for &mut R {
    fn trace(&mut self, minor: bool, visitor: &mut Visitor<'_>) {
        (**self).trace(minor, visitor);
    }
}

/// Takes the cells that [`Roots`] are made of, and updates them where objects move.
pub struct Visitor<'a> {
    heap: &'a mut Heap,
    marks: Option<&'a mut MarkStack>,
}

impl Visitor<'_> {
    /// Visits a cell.
    #[inline]
    pub fn visit(&mut self, cell: &mut Value) {
        // SAFETY: the cell is valid, and cells of roots refer to live objects of the heap.
        unsafe { self.visit_range(cell, 1) };
    }

    /// Visits `count` cells from `first`.
    ///
    /// # Safety
    /// All of them are valid cells whose objects belong to this heap.
    #[inline]
    pub unsafe fn visit_range(&mut self, first: *mut Value, count: usize) {
        let cells = Cells { first, count, stride: 1 };
        // SAFETY: by the contract.
        unsafe {
            match &mut self.marks {
                Some(marks) => cells.each(|cell| mark(&self.heap.shapes, marks, *cell)),
                None => cells.each(|cell| self.heap.forward(cell)),
            }
        }
    }
}

/// A run of words, of which every `stride`-th is a cell.
#[derive(Clone, Copy)]
pub(super) struct Cells {
    first: *mut Value,
    count: usize,
    stride: usize,
}

impl Cells {
    const NONE: Cells = Cells { first: ptr::null_mut(), count: 0, stride: 1 };

    #[inline(always)]
    unsafe fn each(self, mut f: impl FnMut(*mut Value)) {
        for i in 0..self.count {
            // SAFETY: the run lies inside one object or one frame.
            f(unsafe { self.first.add(i * self.stride) });
        }
    }
}

/// The cells of marked objects that were not visited yet.
type MarkStack = Vec<Cells>;

/// So many cells of a run are visited before what they led to, which bounds the stack.
const SLICE: usize = 1024;

/// The cells of an object, without the buffer of cells that it owns.
///
/// # Safety
/// `object` is a live object.
#[inline(always)]
unsafe fn cells(shapes: &ShapeTable, object: *mut Header) -> Cells {
    // SAFETY: each kind's layout is as `crate::object` says.
    unsafe {
        let at = |offset: usize| object.cast::<u8>().add(offset).cast::<Value>();
        match (*object).object_kind() {
            ObjectKind::ListInt | ObjectKind::ListFloat | ObjectKind::ListBool => {
                Cells { first: at(16), count: 1, stride: 1 }
            }
            ObjectKind::CellBuffer => buffer_cells(object, (*object.cast::<Buffer>()).capacity),
            ObjectKind::Record => {
                Cells { first: at(Record::FIELDS), count: shapes.cells_of((*object).meta), stride: 1 }
            }
            ObjectKind::String => {
                let buffered = usize::from((*object).bits & string_bits::BUFFERED);
                // What a slice is a part of.
                let behind = if (*object).bits & string_bits::SLICE != 0 { 8 } else { 0 };
                Cells { first: at(StringObject::PAYLOAD + behind), count: buffered, stride: 1 }
            }
            ObjectKind::Map => Cells { first: at(24), count: 2, stride: 1 },
            ObjectKind::Closure => {
                Cells { first: at(Closure::CAPTURES), count: (*object).bits as usize, stride: 1 }
            }
            ObjectKind::RefCell => Cells { first: at(8), count: 1, stride: 1 },
            ObjectKind::Tuple => {
                Cells { first: at(Tuple::CELLS), count: (*object.cast::<Tuple>()).len as usize, stride: 1 }
            }
            ObjectKind::Free
            | ObjectKind::Forwarded
            | ObjectKind::WideInt
            | ObjectKind::ListCell
            | ObjectKind::StringBuffer
            | ObjectKind::RawBuffer
            | ObjectKind::RefInt
            | ObjectKind::RefFloat
            | ObjectKind::Bytes => Cells::NONE,
        }
    }
}

/// The cells among the first `words` elements of a cell buffer.
///
/// # Safety
/// `buffer` is a live cell buffer with that many elements.
#[inline(always)]
unsafe fn buffer_cells(buffer: *mut Header, words: usize) -> Cells {
    // SAFETY: by the contract.
    unsafe {
        let first = Buffer::data::<Value>(buffer.cast());
        if (*buffer).bits & buffer_bits::PAIRS != 0 {
            Cells { first: first.add(1), count: words / 2, stride: 2 }
        } else {
            Cells { first, count: words, stride: 1 }
        }
    }
}

/// The buffer of cells that an object owns: the place of its address, and how many elements are in use. Only these are
/// visited, so that room ahead costs nothing.
///
/// # Safety
/// `object` is a live object.
#[inline(always)]
unsafe fn owned_buffer(object: *mut Header) -> Option<(*mut Value, usize)> {
    // SAFETY: each kind's layout is as `crate::object` says; nothing else refers to the buffer.
    unsafe {
        if (*object).kind == ObjectKind::ListCell as u8 {
            let list = object.cast::<List>();
            Some(((&raw mut (*list).buffer).cast(), (*list).len))
        } else if (*object).kind == ObjectKind::Map as u8 {
            let map = object.cast::<MapObject>();
            Some(((&raw mut (*map).entries).cast(), crate::map::used_words(map)))
        } else {
            None
        }
    }
}

/// The size of an object in bytes.
///
/// # Safety
/// `object` is a live object that was not forwarded.
#[inline(always)]
unsafe fn size(shapes: &ShapeTable, object: *mut Header) -> usize {
    // SAFETY: as in `cells`.
    let size = unsafe {
        match (*object).object_kind() {
            ObjectKind::Free | ObjectKind::Forwarded | ObjectKind::WideInt => 16,
            ObjectKind::RefInt | ObjectKind::RefFloat | ObjectKind::RefCell => 16,
            ObjectKind::String => {
                let behind = match (*object).bits & (string_bits::BUFFERED | string_bits::SLICE) {
                    0 => (*object.cast::<StringObject>()).len as usize,
                    string_bits::BUFFERED => 8,
                    _ => 16,
                };
                StringObject::PAYLOAD + behind
            }
            ObjectKind::StringBuffer => {
                StringBuffer::DATA + (*object.cast::<StringBuffer>()).capacity as usize
            }
            ObjectKind::ListInt | ObjectKind::ListFloat | ObjectKind::ListBool | ObjectKind::ListCell => {
                size_of::<List>()
            }
            ObjectKind::RawBuffer => {
                Buffer::DATA + (*object.cast::<Buffer>()).capacity * (*object).bits as usize
            }
            ObjectKind::CellBuffer => Buffer::DATA + (*object.cast::<Buffer>()).capacity * 8,
            ObjectKind::Map => size_of::<MapObject>(),
            ObjectKind::Record => shapes.size_of((*object).meta),
            ObjectKind::Closure => Closure::CAPTURES + 8 * (*object).bits as usize,
            ObjectKind::Tuple => Tuple::CELLS + 8 * (*object.cast::<Tuple>()).len as usize,
            ObjectKind::Bytes => Bytes::DATA + (*object.cast::<Bytes>()).len as usize,
        }
    };
    super::round(size)
}

/// Marks the object of a cell.
///
/// # Safety
/// The cell is valid and all objects are old.
#[inline(always)]
unsafe fn mark(shapes: &ShapeTable, stack: &mut MarkStack, cell: Value) {
    let Some(object) = cell.as_object() else { return };
    // SAFETY: by the contract.
    unsafe {
        if !set_mark(object) {
            return;
        }
        if let Some((buffer, words)) = owned_buffer(object) {
            let buffer = (*buffer).as_object_unchecked();
            if set_mark(buffer) {
                stack.push(buffer_cells(buffer, words));
            }
        }
        let cells = cells(shapes, object);
        if cells.count > 0 {
            stack.push(cells);
        }
    }
}

/// Sets the mark of an object; whether it was new.
///
/// # Safety
/// `object` is a live old object.
#[inline(always)]
unsafe fn set_mark(object: *mut Header) -> bool {
    // SAFETY: by the contract.
    unsafe {
        if (*object).gc & gc::MARK != 0 {
            return false;
        }
        debug_assert!((*object).gc & gc::OLD != 0, "a young object in a major collection");
        (*object).gc |= gc::MARK;
        if (*object).gc & gc::LARGE == 0 {
            OldSpace::count_mark(object);
        }
        true
    }
}

impl Heap {
    /// Runs a minor collection, and a major one where the old space has grown enough.
    #[cold]
    #[inline(never)]
    pub fn collect(&mut self, roots: &mut dyn Roots) {
        self.minor(roots);
        let in_use = self.in_use();
        if in_use > self.major_threshold
            || in_use > self.config.limit
            || (self.config.stress && self.stats.minor.is_multiple_of(16))
        {
            self.major(roots);
        }
        self.check_limit();
    }

    /// Runs a minor and a major collection.
    #[cold]
    #[inline(never)]
    pub fn collect_full(&mut self, roots: &mut dyn Roots) {
        self.minor(roots);
        self.major(roots);
        self.check_limit();
    }

    /// Runs a minor collection and nothing else.
    pub fn collect_minor(&mut self, roots: &mut dyn Roots) {
        self.minor(roots);
        self.check_limit();
    }

    fn check_limit(&mut self) {
        self.exhausted = self.in_use() > self.config.limit;
        if self.exhausted {
            self.set_room(self.top);
        }
    }

    fn minor(&mut self, roots: &mut dyn Roots) {
        let start = Stopwatch::start(self.config.stress);
        self.stats.peak = self.stats.peak.max(self.in_use());
        let before = self.old.bytes;
        // SAFETY: every collection begins with this or forgets all strings.
        unsafe { self.string_index.clear_young() };
        roots.trace(true, &mut Visitor { heap: self, marks: None });
        // SAFETY: remembered objects and buffers with dirty cards are old and alive: only a major collection frees old
        // objects, and both lists are empty when it runs.
        unsafe {
            let mut remembered = std::mem::take(&mut self.remembered);
            for &object in &remembered {
                (*object).gc |= gc::BARRIER;
                self.scan(object);
            }
            remembered.clear();
            self.remembered = remembered;
            let mut slots = std::mem::take(&mut self.slots);
            self.forward_slots(&slots);
            slots.clear();
            self.slots = slots;
            for buffer in std::mem::take(&mut self.large.dirty) {
                self.scan_cards(buffer);
            }
            loop {
                while let Some(cells) = self.work.pop() {
                    cells.each(|cell| self.forward(cell));
                }
                let Some(buffer) = self.reached.pop() else { break };
                let slots = std::mem::take(&mut (*prefix(buffer)).slots);
                self.forward_slots(&slots);
            }
        }
        self.update_identity();
        self.large.finish_minor(self.config.poison);
        let survived = self.old.bytes - before;
        self.stats.promoted += survived as u64;
        self.reset_nursery(survived);
        self.stats.minor += 1;
        let (pause, cpu) = start.stop();
        self.stats.total_pause += pause;
        self.stats.max_minor_pause = self.stats.max_minor_pause.max(pause);
        self.stats.max_minor_cpu = self.stats.max_minor_cpu.max(cpu);
    }

    /// Forwards the cells at remembered slots.
    ///
    /// # Safety
    /// All are valid cells.
    unsafe fn forward_slots(&mut self, slots: &[*mut Value]) {
        // The slots are all over the memory. Loads that depend on nothing overlap, so a first pass brings some of them close,
        // before a second one works on each.
        for some in slots.chunks(64) {
            // SAFETY: by the contract.
            let bits = unsafe { some.iter().fold(0, |bits, &slot| bits ^ (*slot).bits()) };
            std::hint::black_box(bits);
            // SAFETY: by the contract.
            some.iter().for_each(|&slot| unsafe { self.forward(slot) });
        }
    }

    /// Moves the object of a cell out of the nursery, and updates the cell.
    ///
    /// # Safety
    /// The cell is valid.
    #[inline(always)]
    unsafe fn forward(&mut self, cell: *mut Value) {
        // SAFETY: valid cells refer to live objects, or to ones that were moved by this collection.
        unsafe {
            let Some(object) = (*cell).as_object() else { return };
            if (*object).gc & gc::OLD == 0 {
                let (new, fresh) = self.promote(object);
                *cell = Value::object(new);
                if fresh {
                    self.scan(new);
                }
            }
        }
    }

    /// Notes the cells of an object for a visit, and moves the buffer that it owns.
    ///
    /// # Safety
    /// `object` is live and old.
    #[inline(always)]
    unsafe fn scan(&mut self, object: *mut Header) {
        // SAFETY: by the contract.
        unsafe {
            if let Some((slot, words)) = owned_buffer(object) {
                let buffer = (*slot).as_object_unchecked();
                if (*buffer).gc & gc::OLD == 0 {
                    let recorded = (*buffer).gc & gc::BARRIER != 0 && !(*prefix(buffer)).any_slot;
                    let (new, fresh) = self.promote(buffer);
                    *slot = Value::object(new);
                    if fresh {
                        if recorded {
                            self.reached.push(new);
                        } else {
                            self.work.push(buffer_cells(new, words));
                        }
                    }
                }
            }
            let cells = cells(&self.shapes, object);
            if cells.count > 0 {
                self.work.push(cells);
            }
        }
    }

    /// The old place of a young object, to which it is moved unless it was before; and whether it was now.
    ///
    /// # Safety
    /// `object` is young: alive, or moved, and then its second word is the new address.
    #[inline(always)]
    unsafe fn promote(&mut self, object: *mut Header) -> (*mut Header, bool) {
        // SAFETY: by the contract.
        unsafe {
            let header = *object;
            let second = object.add(1).cast::<Value>();
            if header.kind == ObjectKind::Forwarded as u8 {
                return ((*second).as_object_unchecked(), false);
            }
            if header.gc & gc::LARGE != 0 {
                (*object).gc |= gc::OLD | gc::BARRIER;
                return (object, true);
            }
            let size = size(&self.shapes, object);
            let new = self.old.alloc(size);
            copy_words(object.cast(), new.cast(), size / 8);
            (*new).gc |= gc::OLD | gc::BARRIER;
            let own_room = string_bits::EXTENSIBLE | string_bits::BUFFERED;
            if header.kind == ObjectKind::String as u8 && header.bits & own_room == string_bits::EXTENSIBLE {
                // The room behind its bytes was left behind.
                (*new).bits &= !string_bits::EXTENSIBLE;
                (*new.cast::<StringObject>()).hash = 0;
            }
            (*object).kind = ObjectKind::Forwarded as u8;
            *second = Value::object(new);
            (new, true)
        }
    }

    /// Visits the dirty cards of a large old cell buffer and cleans them.
    ///
    /// # Safety
    /// `buffer` is a live large cell buffer with cards.
    unsafe fn scan_cards(&mut self, buffer: *mut Header) {
        // SAFETY: by the contract.
        unsafe {
            let prefix = prefix(buffer);
            (*prefix).dirty = false;
            let capacity = (*buffer.cast::<Buffer>()).capacity;
            let pairs = (*buffer).bits & buffer_bits::PAIRS != 0;
            let (skip, stride) = if pairs { (1, 2) } else { (0, 1) };
            let data = Buffer::data::<Value>(buffer.cast());
            let cards = std::slice::from_raw_parts_mut((*prefix).cards, card_count((*prefix).size));
            const GROUP: usize = 64;
            for (group_index, group) in cards.chunks_mut(GROUP).enumerate() {
                // Most cards are clean; a group is tested as a whole.
                if group.iter().fold(0, |a, &b| a | b) == 0 {
                    continue;
                }
                for (i, card) in group.iter_mut().enumerate() {
                    if *card == 0 {
                        continue;
                    }
                    *card = 0;
                    let first = (group_index * GROUP + i) * (CARD / 8);
                    let last = (first + CARD / 8).min(capacity);
                    let count =
                        (last - first).div_ceil(stride) - usize::from(pairs && (last - first) % 2 == 1);
                    Cells { first: data.add(first + skip), count, stride }.each(|cell| self.forward(cell));
                }
            }
        }
    }

    /// Carries the identity hashes of young objects over to where they went.
    fn update_identity(&mut self) {
        for object in std::mem::take(&mut self.young_hashed) {
            let Some(hash) = self.identity.remove(&object.addr()) else { continue };
            // SAFETY: nursery and young large objects are still mapped here.
            unsafe {
                if (*object).kind == ObjectKind::Forwarded as u8 {
                    let new = (*object.add(1).cast::<Value>()).bits() as usize;
                    self.identity.insert(new, hash);
                } else if (*object).gc & gc::OLD != 0 {
                    self.identity.insert(object.addr(), hash);
                }
            }
        }
    }

    fn major(&mut self, roots: &mut dyn Roots) {
        let start = Stopwatch::start(self.config.stress);
        debug_assert!(self.remembered.is_empty() && self.slots.is_empty() && self.large.dirty.is_empty());
        self.string_index.clear();
        self.old.prepare_marking();
        let mut stack = MarkStack::new();
        roots.trace(false, &mut Visitor { heap: self, marks: Some(&mut stack) });
        while let Some(mut cells) = stack.pop() {
            // SAFETY: the cells of marked objects, which are alive; all are old.
            unsafe {
                if cells.count > SLICE {
                    stack.push(Cells {
                        first: cells.first.add(SLICE * cells.stride),
                        count: cells.count - SLICE,
                        stride: cells.stride,
                    });
                    cells.count = SLICE;
                }
                cells.each(|cell| mark(&self.shapes, &mut stack, *cell));
            }
        }
        self.identity.retain(|&address, _| {
            let object: *mut Header = ptr::with_exposed_provenance_mut(address);
            // SAFETY: the table holds addresses of objects that lived at the last major collection or came since.
            unsafe { (*object).gc & gc::MARK != 0 }
        });
        self.large.sweep(self.config.poison);
        let live = self.old.start_sweep() + self.large.old_bytes;
        self.stats.live = live;
        self.major_threshold = self.config.major_minimum.max(live.saturating_mul(2));
        self.stats.major += 1;
        let (pause, cpu) = start.stop();
        self.stats.total_pause += pause;
        self.stats.max_major_pause = self.stats.max_major_pause.max(pause);
        self.stats.max_major_cpu = self.stats.max_major_cpu.max(cpu);
        debug_assert!(self.overflow.len() * OVERFLOW_CHUNK == 0);
    }
}

/// Measures a pause.
struct Stopwatch {
    wall: Instant,
    cpu: Option<Duration>,
}

impl Stopwatch {
    /// With `stress` the processor's time is not asked for: there it would take longer than many a collection.
    fn start(stress: bool) -> Stopwatch {
        Stopwatch { cpu: (!stress).then(thread_time), wall: Instant::now() }
    }

    /// The time since the start, and the processor time of it that this thread had.
    fn stop(self) -> (Duration, Duration) {
        let wall = self.wall.elapsed();
        (wall, self.cpu.map_or(Duration::ZERO, |cpu| thread_time().saturating_sub(cpu)))
    }
}

/// The processor time that this thread has used; 0 where the system does not tell.
pub fn thread_time() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

/// Copies a small object. A loop of words beats `memcpy` for objects of a few words.
///
/// # Safety
/// Both ranges are valid, 8-aligned and apart.
#[inline(always)]
unsafe fn copy_words(from: *const u64, to: *mut u64, words: usize) {
    // SAFETY: by the contract.
    unsafe {
        if words > 16 {
            ptr::copy_nonoverlapping(from, to, words);
            return;
        }
        for i in 0..words {
            to.add(i).write(from.add(i).read());
        }
    }
}
