//! The old space: size-class blocks, non-moving, swept lazily.
//!
//! Chunks of [`CHUNK`] bytes are cut into blocks of [`BLOCK`] bytes; a block holds cells of one size. A major
//! collection marks objects in their headers and counts the marks per block. Blocks without marks are free at once; of
//! the others each is swept when its class next needs room, or at the latest before the next marking. Fully free chunks
//! go back to the operating system, except a small reserve.

use std::ptr;

use super::POISON;
use super::pages::Pages;
use crate::object::{Header, ObjectKind, gc};

/// The size of a chunk, and its alignment.
const CHUNK: usize = 1 << 20;
/// The size of a block, and its alignment.
const BLOCK: usize = 1 << 16;
/// So many free blocks are kept, 16 MiB: what a program allocates between two major collections, at the least. Their memory would be
/// asked for again at once.
const RESERVE: usize = 256;

/// The size of cells of a free block whose memory is there.
const PRESENT: u32 = u32::MAX;

/// The largest object that lives in a block; larger ones are allocated on their own.
pub(crate) const SMALL_MAX: usize = 4096;

/// The sizes of cells. From a kilobyte on they are odd multiples of a line of the cache: the rows of a matrix would lie in few of its
/// sets else, and columns would not fit.
const CLASSES: [u16; 31] = [
    16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896,
    1088, 1344, 1600, 1856, 2112, 2624, 3136, 3648, 4160,
];

/// For a size in words the class that it belongs to.
const CLASS_OF: [u8; SMALL_MAX / 8 + 1] = {
    let mut table = [0; SMALL_MAX / 8 + 1];
    let mut words = 0;
    let mut class = 0;
    while words < table.len() {
        while (CLASSES[class] as usize) < words * 8 {
            class += 1;
        }
        table[words] = class as u8;
        words += 1;
    }
    table
};

/// What stands at the start of a block.
#[repr(C)]
struct Block {
    /// The size of its cells.
    cell: u32,
    /// The number of marked objects in it.
    live: u32,
    /// The end of the cells that were ever handed out.
    limit: *mut u8,
}

/// Where the cells of a block start.
const CELLS: usize = 64;

/// A free cell: a header of kind `Free`, then the next one.
#[repr(C)]
struct FreeCell {
    header: Header,
    next: *mut FreeCell,
}

struct Class {
    free: *mut FreeCell,
    /// The part of the current block that was never handed out.
    bump: *mut u8,
    bump_end: *mut u8,
    current: *mut Block,
    swept: Vec<*mut Block>,
    /// Blocks with marks and enough free cells to be worth sweeping when room is needed.
    unswept: Vec<*mut Block>,
    /// Blocks with marks that are nearly full. Sweeping these on demand made single minor collections five times as long.
    full: Vec<*mut Block>,
}

/// The blocks of a heap.
pub(crate) struct OldSpace {
    classes: [Class; CLASSES.len()],
    chunks: Vec<Pages>,
    free_blocks: Vec<*mut Block>,
    /// How many blocks were in use before recent markings: the most, less a quarter for each since.
    high: usize,
    /// Bytes of the cells in use (dead ones included until a marking finds them).
    pub(crate) bytes: usize,
    /// Whether freed cells are overwritten.
    pub(crate) poison: bool,
}

impl OldSpace {
    pub(crate) fn new(poison: bool) -> OldSpace {
        OldSpace {
            classes: std::array::from_fn(|_| Class {
                free: ptr::null_mut(),
                bump: ptr::null_mut(),
                bump_end: ptr::null_mut(),
                current: ptr::null_mut(),
                swept: Vec::new(),
                unswept: Vec::new(),
                full: Vec::new(),
            }),
            chunks: Vec::new(),
            free_blocks: Vec::new(),
            high: 0,
            bytes: 0,
            poison,
        }
    }

    /// The memory of the blocks.
    pub(crate) fn chunks(&self) -> &[Pages] {
        &self.chunks
    }

    /// Room for an object of `size` bytes, at most [`SMALL_MAX`]. Its content is arbitrary.
    #[inline]
    pub(crate) fn alloc(&mut self, size: usize) -> *mut Header {
        let index = CLASS_OF[size.div_ceil(8)] as usize;
        let class = &mut self.classes[index];
        let cell = CLASSES[index] as usize;
        self.bytes += cell;
        let free = class.free;
        if !free.is_null() {
            // SAFETY: the free list links free cells of this class.
            class.free = unsafe { (*free).next };
            return free.cast();
        }
        let bump = class.bump;
        if bump < class.bump_end {
            class.bump = bump.wrapping_add(cell);
            return bump.cast();
        }
        self.alloc_slow(index)
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow(&mut self, index: usize) -> *mut Header {
        let cell = CLASSES[index] as usize;
        while let Some(block) = self.classes[index].unswept.pop() {
            self.sweep(index, block);
            let class = &mut self.classes[index];
            class.swept.push(block);
            let free = class.free;
            if !free.is_null() {
                // SAFETY: as in `alloc`.
                class.free = unsafe { (*free).next };
                return free.cast();
            }
        }
        let block = self.take_block();
        let count = (BLOCK - CELLS) / cell;
        let class = &mut self.classes[index];
        if !class.current.is_null() {
            // SAFETY: the current block is one of ours; all of its cells were handed out.
            unsafe { (*class.current).limit = class.bump_end };
        }
        let first = block.cast::<u8>().wrapping_add(CELLS);
        // SAFETY: the block is ours and unused.
        unsafe { block.write(Block { cell: cell as u32, live: 0, limit: first }) };
        class.swept.push(block);
        class.current = block;
        class.bump = first.wrapping_add(cell);
        class.bump_end = first.wrapping_add(count * cell);
        first.cast()
    }

    fn take_block(&mut self) -> *mut Block {
        if self.free_blocks.is_empty() {
            let Some(pages) = Pages::map(CHUNK, CHUNK) else {
                // Promotion cannot fail half way; the memory limit is what a host sets to stay clear of this.
                std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; CHUNK]>());
            };
            for offset in (0..CHUNK).step_by(BLOCK).rev() {
                self.free_blocks.push(pages.base().wrapping_add(offset).cast());
            }
            self.chunks.push(pages);
        }
        let block = self.free_blocks.pop().expect("a chunk has blocks");
        // All of it is about to be written: one call is cheaper than a fault per page.
        // SAFETY: a free block of ours; fresh memory is zero.
        if unsafe { (*block).cell } != PRESENT {
            Pages::populate(block.cast(), BLOCK);
        }
        block
    }

    /// Counts a marked object in its block.
    ///
    /// # Safety
    /// `object` lives in a block of this space.
    #[inline(always)]
    pub(crate) unsafe fn count_mark(object: *mut Header) {
        let block = object.map_addr(|a| a & !(BLOCK - 1)).cast::<Block>();
        // SAFETY: blocks are aligned to their size, so this is the start of the block that holds the object.
        unsafe { (*block).live += 1 };
    }

    /// Sweeps what is left of the last collection and clears the counts: before marking.
    pub(crate) fn prepare_marking(&mut self) {
        for index in 0..self.classes.len() {
            let full = std::mem::take(&mut self.classes[index].full);
            for block in std::mem::take(&mut self.classes[index].unswept).into_iter().chain(full) {
                self.sweep(index, block);
                self.classes[index].swept.push(block);
            }
            let class = &mut self.classes[index];
            for &block in &class.swept {
                // SAFETY: listed blocks are ours.
                unsafe { (*block).live = 0 };
            }
            if !class.current.is_null() {
                // SAFETY: the current block is ours.
                unsafe { (*class.current).limit = class.bump };
            }
        }
    }

    /// After marking: frees blocks without marks, and leaves the others to be swept on demand. Returns the live bytes.
    pub(crate) fn start_sweep(&mut self) -> usize {
        self.high = self.blocks_in_use().max(self.high - self.high / 4);
        let mut live_bytes = 0;
        for (index, &cell) in CLASSES.iter().enumerate() {
            let class = &mut self.classes[index];
            // Free cells are found again by sweeping.
            class.free = ptr::null_mut();
            let current = class.current;
            for block in std::mem::take(&mut class.swept) {
                // SAFETY: listed blocks are ours.
                let live = unsafe { (*block).live } as usize;
                live_bytes += live * cell as usize;
                if block == current {
                    // Swept at once: its unused rest is handed out from now on, and those objects have no mark.
                    self.sweep(index, block);
                    self.classes[index].swept.push(block);
                } else if live == 0 {
                    if self.poison {
                        // SAFETY: the block is ours and holds nothing.
                        unsafe { ptr::write_bytes(block.cast::<u8>(), POISON, BLOCK) };
                    }
                    // SAFETY: likewise.
                    unsafe { (*block).cell = PRESENT };
                    self.free_blocks.push(block);
                } else if live * 4 > (BLOCK - CELLS) / cell as usize * 3 {
                    self.classes[index].full.push(block);
                } else {
                    self.classes[index].unswept.push(block);
                }
            }
        }
        self.release_chunks();
        self.bytes = live_bytes;
        live_bytes
    }

    /// Puts the unmarked cells of a block onto the free list, in address order, and clears the marks.
    fn sweep(&mut self, index: usize, block: *mut Block) {
        // SAFETY: the block is ours; every cell below its limit starts with a header (of an object or a free cell).
        unsafe {
            let cell = (*block).cell as usize;
            let limit = (*block).limit;
            let mut at = block.cast::<u8>().add(CELLS);
            let mut first: *mut FreeCell = ptr::null_mut();
            let mut last: *mut FreeCell = ptr::null_mut();
            while at < limit {
                let header = at.cast::<Header>();
                if (*header).gc & gc::MARK != 0 {
                    (*header).gc &= !gc::MARK;
                } else {
                    if self.poison && (*header).kind != ObjectKind::Free as u8 {
                        ptr::write_bytes(at, POISON, cell);
                    }
                    let free = at.cast::<FreeCell>();
                    (*free).header = Header { kind: ObjectKind::Free as u8, gc: 0, bits: 0, meta: 0 };
                    if last.is_null() {
                        first = free;
                    } else {
                        (*last).next = free;
                    }
                    last = free;
                }
                at = at.add(cell);
            }
            if !last.is_null() {
                (*last).next = self.classes[index].free;
                self.classes[index].free = first;
            }
        }
    }

    fn blocks_in_use(&self) -> usize {
        self.chunks.len() * (CHUNK / BLOCK) - self.free_blocks.len()
    }

    /// Unmaps chunks that are entirely free, beyond the reserve: a fixed one, or as much as was in use lately. A program that makes
    /// something large again and again would else have the system clear each page of it each time.
    fn release_chunks(&mut self) {
        let reserve = RESERVE.max(self.high.saturating_sub(self.blocks_in_use()));
        if self.free_blocks.len() <= reserve {
            return;
        }
        let mut free = std::mem::take(&mut self.free_blocks);
        free.sort_unstable_by_key(|b| std::cmp::Reverse(b.addr()));
        let chunk_of = |b: &*mut Block| b.addr() & !(CHUNK - 1);
        let mut kept = Vec::new();
        for group in free.chunk_by(|a, b| chunk_of(a) == chunk_of(b)) {
            let base = chunk_of(&group[0]);
            if group.len() == CHUNK / BLOCK && kept.len() >= reserve {
                self.chunks.retain(|pages| pages.base().addr() != base);
            } else {
                kept.extend_from_slice(group);
            }
        }
        // Free blocks of chunks that stay: their memory goes back, except for the reserve.
        // The lowest addresses are handed out first.
        if !self.poison {
            for &block in kept.iter().rev().skip(reserve) {
                // SAFETY: a free block of ours, which holds nothing.
                if unsafe { (*block).cell } == PRESENT {
                    Pages::discard(block.cast(), BLOCK);
                }
            }
        }
        self.free_blocks = kept;
    }

    /// Bytes mapped from the operating system.
    pub(crate) fn mapped(&self) -> usize {
        self.chunks.len() * CHUNK
    }
}
