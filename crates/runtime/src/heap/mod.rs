//! The heap: one per instance; generational, with exact roots.
//!
//! New objects are bump-allocated in a nursery. A minor collection copies what is reachable there into the old space
//! ([`old`]) and starts over with an empty nursery; survivors are promoted at once, so afterwards no object is young.
//! The old space is collected by marking, in between. Objects beyond a few KiB are allocated on their own and never move
//! ([`large`]).
//!
//! **When objects move.** Allocation never collects: where the nursery is full, it takes another chunk and requests a
//! collection. A collecting op begins with `if heap.collection_due() { heap.collect(roots) }`, while all its operands are
//! in frame slots. From there to its end, addresses of objects are stable.
//!
//! **Fresh objects are not zeroed.** Whoever allocates writes every cell of the object before the next collection may
//! run.
//!
//! **Write barrier.** After a cell is stored into an object, [`Heap::write_barrier`] (for cell buffers,
//! [`Heap::write_barrier_slot`]) must run, unless the object was allocated since the last collection and is no cell
//! buffer. It tests one header bit and leaves the meaning to its slow path. After cells were copied into a cell buffer in
//! bulk, even a fresh one, [`Heap::write_barrier_range`] must run: long buffers have the barrier from birth ([`large`]).
//!
//! **Out of memory.** Allocation fails only by the configured limit (or where the system refuses a large object).
//! Routines allocate before they change anything, so an op that failed may be run again after [`Heap::collect_full`].

mod collect;
mod large;
mod old;
pub(crate) mod pages;
mod sizing;

use std::fmt;
use std::time::Duration;

use rustc_hash::FxHashMap;

pub use collect::{Roots, Visitor, thread_time};

use crate::hash;
use crate::object::{Buffer, Header, MIN_OBJECT, ObjectKind, WideInt, buffer_bits, gc};
use crate::record::ShapeTable;
use crate::value::Value;
use large::{LargeSpace, RECORDED, prefix};
use old::{OldSpace, SMALL_MAX};
use pages::Pages;
use sizing::Sizing;

/// The byte that freed memory is filled with where poisoning is on.
pub const POISON: u8 = 0xF5;

/// Objects beyond this size are allocated on their own and never move.
pub const LARGE_OBJECT: usize = SMALL_MAX;

/// The size of further chunks where one routine allocates more than the nursery holds.
const OVERFLOW_CHUNK: usize = 256 << 10;
/// So many of them are called too many.
const OVERDRAWN: usize = 3;
/// So many slots of large buffers are remembered one by one. Cards would make a minor collection look at 64 old neighbours
/// of each: with random stores into a list of 10 million, that took 72 ms instead of 2.
const SLOTS_MAX: usize = 1 << 17;
/// So many remembered slots request a collection: each costs it a cache miss or two, and this many about a millisecond.
/// (A smaller nursery would bound the pause too, but doubled the time of programs whose objects live for half of one.)
const SLOTS_DUE: usize = 1 << 13;
/// Where one in so many elements of a large buffer is remembered, the buffer is looked through as a whole: remembering a slot and
/// looking there costs as much as looking at this many in a row.
const SLOTS_SHARE: usize = 16;
/// Young large objects beyond this request a collection.
const LARGE_YOUNG: usize = 8 << 20;
/// Where young large cell buffers without the barrier are beyond this, which the next collection may have to read, further
/// ones have it from birth.
const UNRECORDED_YOUNG: usize = 2 << 20;

/// The memory limit was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the heap reached its limit")
    }
}

impl std::error::Error for OutOfMemory {}

/// How a heap behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeapConfig {
    /// The size of the nursery in bytes.
    pub nursery: usize,
    /// The nursery grows to at most so many times that, rounded down to a power of two, where many objects survive.
    pub nursery_growth: usize,
    /// The most bytes that objects may take, the nursery left out.
    pub limit: usize,
    /// A major collection runs when the old space holds at least this much (and twice what lived after the last one).
    pub major_minimum: usize,
    /// A collection is due before every allocating op.
    pub stress: bool,
    /// Freed memory is overwritten.
    pub poison: bool,
}

impl Default for HeapConfig {
    fn default() -> HeapConfig {
        HeapConfig {
            nursery: 1 << 20,
            nursery_growth: 4,
            limit: usize::MAX,
            major_minimum: 16 << 20,
            stress: false,
            poison: cfg!(debug_assertions),
        }
    }
}

/// What a heap did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapStats {
    /// Minor collections.
    pub minor: u64,
    /// Major collections.
    pub major: u64,
    /// The longest minor collection.
    pub max_minor_pause: Duration,
    /// The most processor time of a minor collection. The pause also has the time when the system let others run.
    pub max_minor_cpu: Duration,
    /// The longest major collection.
    pub max_major_pause: Duration,
    /// The most processor time of a major collection.
    pub max_major_cpu: Duration,
    /// The time of all collections.
    pub total_pause: Duration,
    /// Bytes of all objects that were ever allocated.
    pub allocated: u64,
    /// Bytes that were copied out of the nursery.
    pub promoted: u64,
    /// Bytes that lived after the last major collection.
    pub live: usize,
    /// The most bytes that old and large objects took.
    pub peak: usize,
}

/// The objects of an instance. The first two fields are read and written by machine code.
#[repr(C)]
pub struct Heap {
    /// Where the next object goes.
    top: *mut u8,
    /// The end of the room for objects that machine code makes: null while a collection is due, so that one comparison finds both.
    end: *mut u8,
    /// Whether a collection should run at the next opportunity.
    requested: bool,
    /// The end of the room for objects.
    limit: *mut u8,
    /// Whether the next allocations fail: more lives than the limit allows.
    exhausted: bool,
    config: HeapConfig,
    /// Where `top` started in the present region.
    region_start: *mut u8,
    /// The pages of the nursery, of which the first are in use: as many as `sizing` says.
    nursery: Pages,
    sizing: Sizing,
    /// Chunks that were taken because the nursery was full.
    overflow: Vec<Pages>,
    /// Overflow chunks kept for the next time, as many as it takes until a poll collects: fresh pages cost more than filling them.
    spares: Vec<Pages>,
    pub(crate) old: OldSpace,
    pub(crate) large: LargeSpace,
    /// Small old objects that may point to young ones; their `BARRIER` bit is clear.
    remembered: Vec<*mut Header>,
    /// Slots of large old cell buffers that were given young objects; beyond [`SLOTS_MAX`], cards are marked.
    slots: Vec<*mut Value>,
    /// The number of slots that were remembered one by one since the last collection.
    stored: usize,
    /// Young buffers with the barrier that the running minor collection has reached.
    reached: Vec<*mut Header>,
    /// Cells of promoted objects that were not visited yet.
    work: Vec<collect::Cells>,
    /// Identity hashes, by address.
    identity: FxHashMap<usize, u32>,
    /// Young objects with an identity hash.
    young_hashed: Vec<*mut Header>,
    next_identity: u32,
    major_threshold: usize,
    stats: HeapStats,
    /// The record layouts.
    pub shapes: ShapeTable,
    /// Places in strings that are not ASCII; cleared by collections.
    pub(crate) string_index: crate::string::IndexCache,
}

/// Byte offset of the allocation pointer in [`Heap`], for machine code.
pub const HEAP_TOP: usize = std::mem::offset_of!(Heap, top);
/// Byte offset of the allocation end in [`Heap`], for machine code: null where a collection is due.
pub const HEAP_END: usize = std::mem::offset_of!(Heap, end);
/// Byte offset of the request flag (a byte) in [`Heap`], for machine code.
pub const HEAP_REQUESTED: usize = std::mem::offset_of!(Heap, requested);

const _: () = {
    assert!(HEAP_TOP == 0);
    assert!(HEAP_END == 8);
    assert!(HEAP_REQUESTED == 16);
};

// SAFETY: a heap owns all memory that its pointers lead to (the shared empty buffer is never written), so it may move to
// another thread as a whole.
unsafe impl Send for Heap {}

/// A buffer without room that empty lists and maps point to. Its bits keep the collector and the barrier away from it.
static EMPTY_BUFFER: Shared = Shared(Buffer {
    header: Header {
        kind: ObjectKind::RawBuffer as u8,
        gc: gc::OLD | gc::MARK | gc::LARGE,
        bits: 8,
        meta: 0,
    },
    capacity: 0,
});

#[repr(transparent)]
struct Shared(Buffer);

// SAFETY: nothing ever writes to it: it has no elements, no `BARRIER` bit, and is marked already.
unsafe impl Sync for Shared {}

/// The shared buffer without room.
#[inline(always)]
pub(crate) fn empty_buffer() -> *mut Buffer {
    (&raw const EMPTY_BUFFER.0).cast_mut()
}

const fn round(size: usize) -> usize {
    let size = (size + 7) & !7;
    if size < MIN_OBJECT { MIN_OBJECT } else { size }
}

impl Heap {
    /// An empty heap. Fails where the system has no memory for the nursery.
    pub fn new(config: HeapConfig) -> Result<Heap, OutOfMemory> {
        let size = config.nursery.clamp(64 << 10, 1 << 30).next_multiple_of(64 << 10);
        let most = size << config.nursery_growth.clamp(1, 1 << 10).ilog2();
        let nursery = Pages::map(most, 1 << 16).ok_or(OutOfMemory)?;
        let base = nursery.base();
        (&raw const EMPTY_BUFFER).expose_provenance();
        let mut heap = Heap {
            top: base,
            end: std::ptr::null_mut(),
            requested: config.stress,
            limit: base,
            exhausted: false,
            config: HeapConfig { nursery: size, ..config },
            region_start: base,
            nursery,
            sizing: Sizing::new(size, most),
            overflow: Vec::new(),
            spares: Vec::new(),
            old: OldSpace::new(config.poison),
            large: LargeSpace::default(),
            remembered: Vec::new(),
            slots: Vec::new(),
            stored: 0,
            reached: Vec::new(),
            work: Vec::new(),
            identity: FxHashMap::default(),
            young_hashed: Vec::new(),
            next_identity: 0,
            major_threshold: 0,
            stats: HeapStats::default(),
            shapes: ShapeTable::default(),
            string_index: crate::string::IndexCache::default(),
        };
        heap.major_threshold = config.major_minimum;
        heap.reset_nursery(0);
        Ok(heap)
    }

    /// How the heap behaves.
    pub fn config(&self) -> &HeapConfig {
        &self.config
    }

    /// Changes the memory limit.
    pub fn set_limit(&mut self, limit: usize) {
        self.config.limit = limit;
    }

    /// The word at an address, if that is in memory for small objects. For looks at cells that may be out of date: what is there may be
    /// anything.
    pub fn peek(&self, address: usize) -> Option<u64> {
        let inside = |pages: &Pages| (pages.base().addr()..pages.end().addr()).contains(&address);
        let young = std::iter::once(&self.nursery).chain(&self.overflow);
        let found = address.is_multiple_of(8) && young.chain(self.old.chunks()).any(inside);
        // SAFETY: the pages are mapped, their ends are aligned, and any bytes are a word.
        found.then(|| unsafe { std::ptr::with_exposed_provenance::<u64>(address).read_volatile() })
    }

    /// What the heap did so far.
    pub fn stats(&self) -> HeapStats {
        let mut stats = self.stats;
        stats.allocated += (self.top.addr() - self.region_start.addr()) as u64;
        stats.peak = stats.peak.max(self.in_use());
        stats
    }

    /// Bytes of old and large objects (dead ones included until a collection finds them) and of overflow chunks.
    pub fn in_use(&self) -> usize {
        self.old.bytes + self.large.old_bytes + self.large.young_bytes + self.overflow.len() * OVERFLOW_CHUNK
    }

    /// Bytes of large objects that were made since the last collection, and of chunks beside the nursery.
    pub fn young_bytes(&self) -> usize {
        self.large.young_bytes + self.overflow.len() * OVERFLOW_CHUNK
    }

    /// Whether so many bytes of other memory are within the limit beside what the heap holds.
    pub fn has_room_beside(&self, bytes: usize) -> bool {
        self.in_use().saturating_add(bytes) <= self.config.limit
    }

    /// Bytes that the heap holds of the operating system: nursery, blocks and large objects.
    pub fn mapped(&self) -> usize {
        self.sizing.size()
            + (self.overflow.len() + self.spares.len()) * OVERFLOW_CHUNK
            + self.old.mapped()
            + self.large.old_bytes
            + self.large.young_bytes
            + self.large.spare_bytes()
    }

    /// Whether a collection should run before the next allocating op.
    #[inline(always)]
    pub fn collection_due(&self) -> bool {
        self.requested
    }

    /// Asks for a collection at the next opportunity.
    pub fn request_collection(&mut self) {
        self.requested = true;
        self.end = std::ptr::null_mut();
    }

    /// Sets where the room for objects ends.
    fn set_room(&mut self, limit: *mut u8) {
        self.limit = limit;
        self.end = if self.requested { std::ptr::null_mut() } else { limit };
    }

    /// The collector's bits of a new object.
    #[inline(always)]
    fn birth_bits(&self, kind: ObjectKind, size: usize) -> u8 {
        if size <= LARGE_OBJECT {
            0
        } else if kind as u8 == ObjectKind::CellBuffer as u8
            && (size >= RECORDED || self.large.young_unrecorded > UNRECORDED_YOUNG)
        {
            gc::LARGE | gc::BARRIER
        } else {
            gc::LARGE
        }
    }

    /// A new object of `size` bytes, with its header written and the rest arbitrary. Never collects.
    #[inline(always)]
    pub fn alloc(
        &mut self,
        kind: ObjectKind,
        bits: u16,
        meta: u32,
        size: usize,
    ) -> Result<*mut Header, OutOfMemory> {
        let size = round(size);
        let object = if size <= LARGE_OBJECT && size <= self.limit.addr().wrapping_sub(self.top.addr()) {
            let object = self.top.cast::<Header>();
            self.top = self.top.wrapping_add(size);
            object
        } else {
            self.alloc_slow(kind, size, size)?
        };
        // SAFETY: the memory is ours, 8-aligned and at least a header long.
        unsafe { object.write(Header { kind: kind as u8, gc: self.birth_bits(kind, size), bits, meta }) };
        Ok(object)
    }

    /// Whether the nursery has room for so many bytes.
    #[inline(always)]
    pub fn has_room(&self, size: usize) -> bool {
        size <= self.limit.addr().wrapping_sub(self.top.addr())
    }

    /// As [`Heap::alloc`] where the nursery has room for the object and `slack` bytes behind it, which may be written until the
    /// next object is made; else nothing is done.
    #[inline(always)]
    pub fn alloc_quick(
        &mut self,
        kind: ObjectKind,
        bits: u16,
        meta: u32,
        size: usize,
        slack: usize,
    ) -> Option<*mut Header> {
        let size = round(size);
        debug_assert!(size <= LARGE_OBJECT, "only small objects are made quickly");
        if size + slack > self.limit.addr().wrapping_sub(self.top.addr()) {
            return None;
        }
        let object = self.top.cast::<Header>();
        self.top = self.top.wrapping_add(size);
        // SAFETY: the memory is ours, 8-aligned and at least a header long.
        unsafe { object.write(Header { kind: kind as u8, gc: 0, bits, meta }) };
        Some(object)
    }

    /// As [`Heap::alloc`], with all bytes behind the header zero.
    #[inline]
    pub fn alloc_zeroed(
        &mut self,
        kind: ObjectKind,
        bits: u16,
        meta: u32,
        size: usize,
    ) -> Result<*mut Header, OutOfMemory> {
        self.alloc_zeroed_from(kind, bits, meta, size, size_of::<Header>())
    }

    /// As [`Heap::alloc`], of which the bytes from a distance on are 0.
    pub fn alloc_zeroed_from(
        &mut self,
        kind: ObjectKind,
        bits: u16,
        meta: u32,
        size: usize,
        from: usize,
    ) -> Result<*mut Header, OutOfMemory> {
        let size = round(size);
        if size > LARGE_OBJECT {
            let object = self.alloc_slow(kind, size, from)?;
            // SAFETY: the memory is ours.
            unsafe { object.write(Header { kind: kind as u8, gc: self.birth_bits(kind, size), bits, meta }) };
            return Ok(object);
        }
        let object = self.alloc(kind, bits, meta, size)?;
        // SAFETY: the object is `size` bytes long.
        unsafe { object.cast::<u8>().add(from).write_bytes(0, size - from) };
        Ok(object)
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(
        &mut self,
        kind: ObjectKind,
        size: usize,
        zeroed: usize,
    ) -> Result<*mut Header, OutOfMemory> {
        if self.exhausted {
            self.request_collection();
            // One allocation fails, so that a handler has some room; beyond the slack all do.
            if self.in_use()
                <= self.config.limit.saturating_add(self.config.limit / 8).saturating_add(4 << 20)
            {
                self.exhausted = false;
                self.set_room(self.soft_end());
            }
            return Err(OutOfMemory);
        }
        if size > LARGE_OBJECT {
            return self.alloc_large(kind, size, zeroed);
        }
        self.request_collection();
        let tail = self.nursery_end();
        if self.overflow.is_empty() && self.limit != tail {
            self.set_room(tail);
            if size <= tail.addr() - self.top.addr() {
                return Ok(self.bump(size));
            }
        }
        if self.in_use().saturating_add(OVERFLOW_CHUNK) > self.config.limit {
            return Err(OutOfMemory);
        }
        self.take_chunk().ok_or(OutOfMemory)?;
        Ok(self.bump(size))
    }

    /// Goes on in another chunk; `None` where there is no memory for one.
    fn take_chunk(&mut self) -> Option<()> {
        let chunk = self.spares.pop().or_else(|| Pages::map(OVERFLOW_CHUNK, 1 << 16))?;
        self.stats.allocated += (self.top.addr() - self.region_start.addr()) as u64;
        self.top = chunk.base();
        self.region_start = self.top;
        self.set_room(chunk.end());
        self.overflow.push(chunk);
        Some(())
    }

    /// A new small object whose first word is `header` and whose other bytes are arbitrary, whatever the memory limit says: for
    /// objects that the program has made already as far as it can tell, so that there is nobody to tell that they do not fit.
    /// Never collects; asks for a collection where there was no room. The limit is met by the next allocation that may fail.
    pub fn alloc_owed(&mut self, header: u64, size: usize) -> *mut Header {
        let size = round(size);
        debug_assert!(size <= LARGE_OBJECT, "objects that are owed are small");
        if size > self.limit.addr().wrapping_sub(self.top.addr()) {
            self.request_collection();
            let end = self.overflow.last().map_or(self.nursery_end(), Pages::end);
            if size > end.addr() - self.top.addr() {
                if self.take_chunk().is_none() {
                    std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; OVERFLOW_CHUNK]>());
                }
            } else {
                self.set_room(end);
            }
        }
        let object = self.bump(size);
        if self.exhausted {
            self.set_room(self.top);
        } else if !self.config.stress {
            // Nobody collects here, so machine code may have what room there is; else each such object would come this way until a poll.
            self.end = self.limit;
        }
        // SAFETY: the memory is ours, 8-aligned and at least a header long.
        unsafe { object.cast::<u64>().write(header) };
        object
    }

    /// Whether so much was allocated without a collection that one should run as soon as it can.
    pub fn overdrawn(&self) -> bool {
        self.overflow.len() > OVERDRAWN
    }

    fn bump(&mut self, size: usize) -> *mut Header {
        let object = self.top.cast();
        self.top = self.top.wrapping_add(size);
        object
    }

    fn alloc_large(
        &mut self,
        kind: ObjectKind,
        size: usize,
        zeroed: usize,
    ) -> Result<*mut Header, OutOfMemory> {
        let in_use = self.in_use();
        if in_use.saturating_add(size) > self.config.limit {
            self.request_collection();
            return Err(OutOfMemory);
        }
        let object = self.large.alloc(size, zeroed).ok_or(OutOfMemory)?;
        self.stats.allocated += size as u64;
        match kind {
            ObjectKind::RawBuffer | ObjectKind::StringBuffer => {}
            ObjectKind::CellBuffer if size < RECORDED => self.large.young_unrecorded += size,
            ObjectKind::CellBuffer => {}
            _ => self.large.young_values = true,
        }
        // Young large garbage may take as much as a quarter of what lives.
        let young = self.large.young_bytes;
        if young > LARGE_YOUNG.max(self.stats.live / 4)
            || in_use + size > self.config.limit - self.config.limit / 8
        {
            self.request_collection();
        }
        Ok(object)
    }

    /// Makes an object longer where it stands, if it was the last one made and the nursery has room, or if it is a large raw buffer;
    /// gives where it stands then. Its new part is arbitrary, and who refers to it has to be told when it moved.
    ///
    /// # Safety
    /// `object` is a live object of `old` bytes of this heap, `new` is more, and the caller keeps the object's own account of its size.
    pub unsafe fn extend(&mut self, object: *mut Header, old: usize, new: usize) -> Option<*mut Header> {
        let (old, new) = (round(old), round(new));
        if old <= LARGE_OBJECT {
            let fits = object.addr() + old == self.top.addr()
                && new <= LARGE_OBJECT
                && object.addr() + new <= self.limit.addr();
            if !fits {
                return None;
            }
            self.top = self.top.wrapping_add(new - old);
            return Some(object);
        }
        let more = new - old;
        // SAFETY: a live object.
        let raw = unsafe { (*object).object_kind() } == ObjectKind::RawBuffer;
        if !raw || self.in_use().saturating_add(new) > self.config.limit - self.config.limit / 8 {
            return None;
        }
        // SAFETY: by the contract; raw buffers have neither cards nor slots.
        let object = unsafe { self.large.extend(object, new) }?;
        self.stats.allocated += more as u64;
        if self.large.young_bytes > LARGE_YOUNG.max(self.stats.live / 4) {
            self.request_collection();
        }
        Some(object)
    }

    /// Takes bytes off the front of a large raw buffer, which stands elsewhere then, and shortens its capacity. `None`, and nothing is
    /// done, for other objects.
    ///
    /// # Safety
    /// `buffer` is a live buffer of this heap with at least so much data, and the caller tells who refers to it that it moved. Its
    /// elements have `element` bytes each.
    pub unsafe fn trim(&mut self, buffer: *mut Buffer, bytes: usize, element: usize) -> Option<*mut Buffer> {
        // SAFETY: by the contract.
        unsafe {
            let header = (*buffer).header;
            let raw = header.kind == ObjectKind::RawBuffer as u8 && header.gc & gc::LARGE != 0;
            if !raw || !bytes.is_multiple_of(8) {
                return None;
            }
            let (object, regained) = self.large.trim(buffer.cast(), bytes);
            let buffer = object.cast::<Buffer>();
            (*buffer).capacity = (*buffer).capacity - bytes / element + regained / element;
            Some(buffer)
        }
    }

    /// Where the nursery is called full: the rest is for the op that finds it so.
    fn soft_end(&self) -> *mut u8 {
        self.nursery_end().wrapping_sub((32 << 10).min(self.sizing.size() / 4))
    }

    /// The end of the part of the nursery that is in use.
    fn nursery_end(&self) -> *mut u8 {
        self.nursery.base().wrapping_add(self.sizing.size())
    }

    /// Bytes that were allocated since the last collection in the nursery and in chunks beyond it.
    fn bumped(&self) -> usize {
        let chunks = self.overflow.len();
        let here = self.top.addr() - self.region_start.addr();
        if chunks == 0 { here } else { self.sizing.size() + (chunks - 1) * OVERFLOW_CHUNK + here }
    }

    /// Empties the nursery, after a collection has copied what lives, which are so many bytes.
    fn reset_nursery(&mut self, survived: usize) {
        self.stats.allocated += (self.top.addr() - self.region_start.addr()) as u64;
        let young = self.bumped();
        if self.config.poison {
            let used = young.min(self.sizing.size());
            // SAFETY: the nursery is ours and holds nothing alive.
            unsafe { self.nursery.base().write_bytes(POISON, used) };
        }
        // What comes long before the nursery is full tells nothing about its size.
        if young >= self.sizing.size() / 2 {
            self.sizing.collected(young, survived);
        }
        let kept = (OVERDRAWN + 1).saturating_sub(self.spares.len());
        self.spares.extend(self.overflow.drain(..).take(kept));
        self.top = self.nursery.base();
        self.region_start = self.top;
        self.stored = 0;
        self.requested = self.config.stress;
        self.set_room(self.soft_end());
    }

    /// What must follow a store of a cell into an object that is no cell buffer.
    ///
    /// # Safety
    /// `object` points to a live object of this heap.
    #[inline(always)]
    pub unsafe fn write_barrier<T>(&mut self, object: *mut T) {
        let object = object.cast::<Header>();
        // SAFETY: by the contract.
        if unsafe { (*object).gc } & gc::BARRIER != 0 {
            // SAFETY: by the contract.
            unsafe { self.write_barrier_slow(object) };
        }
    }

    /// What must follow a store of a cell into `slot` of a cell buffer.
    ///
    /// # Safety
    /// `buffer` points to a live cell buffer of this heap, `slot` into its elements.
    #[inline(always)]
    pub unsafe fn write_barrier_slot(&mut self, buffer: *mut Buffer, slot: *mut Value) {
        // SAFETY: by the contract.
        if unsafe { (*buffer).header.gc } & gc::BARRIER != 0 {
            // SAFETY: by the contract.
            unsafe { self.write_barrier_slot_slow(buffer, slot) };
        }
    }

    /// The part of [`Heap::write_barrier`] behind the test of the bit.
    ///
    /// # Safety
    /// As there.
    #[cold]
    #[inline(never)]
    pub unsafe fn write_barrier_slow(&mut self, object: *mut Header) {
        // SAFETY: by the contract.
        unsafe {
            if (*object).kind == ObjectKind::CellBuffer as u8 && (*object).gc & gc::LARGE != 0 {
                if (*object).gc & gc::OLD != 0 {
                    self.large.mark_card(object, None);
                } else {
                    (*prefix(object)).any_slot = true;
                }
            } else {
                (*object).gc &= !gc::BARRIER;
                self.remembered.push(object);
            }
        }
    }

    /// The part of [`Heap::write_barrier_slot`] behind the test of the bit.
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    pub unsafe fn write_barrier_slot_slow(&mut self, buffer: *mut Buffer, slot: *mut Value) {
        // SAFETY: by the contract.
        unsafe {
            let object = buffer.cast::<Header>();
            if (*object).gc & gc::LARGE == 0 {
                (*object).gc &= !gc::BARRIER;
                self.remembered.push(object);
            } else if let Some(value) = (*slot).as_object()
                && (*value).gc & gc::OLD == 0
            {
                if self.remembers_whole(object) {
                    return;
                }
                self.remember_slot(object, slot);
                self.stored += 1;
                if self.stored == SLOTS_DUE {
                    self.request_collection();
                }
            }
        }
    }

    /// What must follow a change of several elements of a cell buffer, even of a fresh one: of `count` from `first` on.
    ///
    /// # Safety
    /// `buffer` points to a live cell buffer of this heap with those elements.
    #[inline(always)]
    pub unsafe fn write_barrier_range(&mut self, buffer: *mut Buffer, first: usize, count: usize) {
        // SAFETY: by the contract.
        if unsafe { (*buffer).header.gc } & gc::BARRIER != 0 {
            // SAFETY: by the contract.
            unsafe { self.write_barrier_range_slow(buffer, first, count) };
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn write_barrier_range_slow(&mut self, buffer: *mut Buffer, first: usize, count: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            let object = buffer.cast::<Header>();
            if (*object).gc & gc::LARGE == 0 {
                (*object).gc &= !gc::BARRIER;
                self.remembered.push(object);
                return;
            }
            let (nursery, size) = (self.nursery.base().addr(), self.nursery.len());
            // Elsewhere only a header tells what is young; reading those of a million elements would take long.
            let elsewhere = !self.overflow.is_empty() || self.large.young_values;
            let pairs = (*object).bits & buffer_bits::PAIRS != 0;
            let data = Buffer::data::<Value>(buffer);
            let (mut at, step) = if pairs { (first | 1, 2) } else { (first, 1) };
            while at < first + count {
                let slot = data.add(at);
                at += step;
                if let Some(value) = (*slot).as_object()
                    && (value.addr().wrapping_sub(nursery) < size || elsewhere && (*value).gc & gc::OLD == 0)
                {
                    self.remember_slot(object, slot);
                }
            }
        }
    }

    /// Counts a slot of a large cell buffer with the barrier, and remembers the buffer instead where those are many. Then stores into it
    /// have no slow path until the next collection, as in loops that sort what was just made and have no place to collect.
    ///
    /// # Safety
    /// `object` is such a buffer.
    unsafe fn remembers_whole(&mut self, object: *mut Header) -> bool {
        // SAFETY: by the contract.
        unsafe {
            let many = (*object.cast::<Buffer>()).capacity / SLOTS_SHARE;
            let prefix = &mut *prefix(object);
            if (*object).gc & gc::OLD == 0 {
                if prefix.slots.len() < many {
                    return false;
                }
                prefix.any_slot = true;
            } else {
                if prefix.counted != self.stats.minor {
                    (prefix.counted, prefix.remembered) = (self.stats.minor, 0);
                }
                prefix.remembered += 1;
                if prefix.remembered < many {
                    return false;
                }
                self.remembered.push(object);
            }
            (*object).gc &= !gc::BARRIER;
            true
        }
    }

    /// Remembers a slot of a large cell buffer with the barrier that holds a young object.
    ///
    /// # Safety
    /// `object` is such a buffer, and the slot is one of its cells.
    #[inline]
    unsafe fn remember_slot(&mut self, object: *mut Header, slot: *mut Value) {
        // SAFETY: by the contract.
        unsafe {
            if (*object).gc & gc::OLD == 0 {
                let prefix = &mut *prefix(object);
                if prefix.slots.len() < SLOTS_MAX {
                    prefix.slots.push(slot);
                } else {
                    prefix.any_slot = true;
                }
            } else if self.slots.len() < SLOTS_MAX {
                self.slots.push(slot);
            } else {
                self.large.mark_card(object, Some(slot.cast()));
            }
        }
    }

    /// An int of any width as a value; may allocate a wide one.
    #[inline(always)]
    pub fn box_int(&mut self, i: i64) -> Result<Value, OutOfMemory> {
        if Value::is_small(i) { Ok(Value::small_int_unchecked(i)) } else { self.wide_int(i) }
    }

    #[inline(never)]
    fn wide_int(&mut self, i: i64) -> Result<Value, OutOfMemory> {
        let object = self.alloc(ObjectKind::WideInt, 0, 0, size_of::<WideInt>())?.cast::<WideInt>();
        // SAFETY: allocated with this layout.
        unsafe { (*object).value = i };
        Ok(Value::object(object))
    }

    /// A hash of an object's identity: the same for as long as it lives, wherever it moves.
    ///
    /// # Safety
    /// `object` points to a live object of this heap.
    pub unsafe fn identity_hash<T>(&mut self, object: *mut T) -> u32 {
        let object = object.cast::<Header>();
        // SAFETY: by the contract.
        unsafe {
            if (*object).gc & gc::HASHED != 0 {
                return self.identity.get(&object.addr()).copied().unwrap_or(0);
            }
            (*object).gc |= gc::HASHED;
            if (*object).gc & gc::OLD == 0 {
                self.young_hashed.push(object);
            }
        }
        self.next_identity = self.next_identity.wrapping_add(1);
        let hash = hash::of_word(u64::from(self.next_identity));
        self.identity.insert(object.addr(), hash);
        hash
    }
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap")
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
