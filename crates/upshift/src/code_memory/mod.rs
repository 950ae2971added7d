//! Memory for machine code, shared by both compilers of an engine.
//!
//! An engine makes one [`CodeMemory`]; the baseline and the optimizing tier take a [`CodeBlock`] for each function or
//! stub, fill it, publish it and keep it as long as anybody may run it. Dropping the block frees the range.
//!
//! It is one reservation of address space, so that a 32-bit displacement reaches from any block to any other, backed by
//! memory that is mapped twice: a view that can be written but not run, and a view that can be run but not written. No page
//! is ever both (W^X), and no protection ever changes after set-up: an `mprotect` for each function that is compiled was
//! measured at 81 µs against 0.43 µs for a write through the second view. Inaccessible pages stand on both sides of each
//! view.
//!
//! What the memory is depends on who else looks at it, the [`Purpose`]. For a debugger, **and only there, W^X does not
//! hold**: breakpoints are written into the code, so it is one view that can be written and run. That is for the developer's
//! own machine; no embedder gets it without asking for the format.
//!
//! * `ranges`: which bytes of the reservation are free. A best fit over two ordered indexes that merges neighbours.
//! * `chunks`: which parts of the reservation have memory behind them. Taken before the first write and checked, so
//!   that a system without memory is an answer and not a signal; given back lazily.
//! * `views`: the mappings. Where the system or the processor has none, a twin says so.
//!
//! Invariants: a block's range belongs to that block alone until it drops, and for debugging nobody has it after that
//! either. Every byte with memory behind it that no block has written is a trapping instruction. A process that was forked
//! off never writes: the memory is shared with its parent, so there `allocate` finds no room, `write` refuses and nothing is
//! freed. (Memory for debugging is not shared, and the rule is the same.)
//!
//! Deliberately absent: it does not know whether code is running. Who drops a block promises that no thread is inside it
//! and that no jump, call, return address or pointer leads there any more. It decides nothing about which code is cold,
//! and it asks for no huge pages.
//!
//! Measured on one thread, freeing a random block and allocating another of up to 1 KiB, the fill with traps included:
//! 0.4 µs with 100 live blocks, 0.9 µs with 100,000. Making the memory takes 0.1 ms.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunks::Chunks;
use ranges::Ranges;
use views::Views;

mod chunks;
mod ranges;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod views;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
#[path = "views_unsupported.rs"]
mod views;

#[cfg(test)]
mod tests;

/// The unit in which ranges are handed out, in bytes; every block starts at a multiple of it.
const UNIT: usize = 16;

/// The least capacity that is worth having, in bytes.
const LEAST: usize = 64 << 10;

/// The greatest capacity in which a direct branch reaches everything, in bytes.
const MOST: usize = if cfg!(target_arch = "aarch64") { 128 << 20 } else { 2 << 30 };

const _: () = assert!(LEAST.is_multiple_of(chunks::CHUNK) && MOST.is_multiple_of(chunks::CHUNK));
const _: () = assert!(MOST / UNIT <= u32::MAX as usize);

/// What the code is for, besides being run: who else reads it, or writes into it, decides what memory it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Nothing else. A profiler that asks the system sees all code as one file without functions.
    #[default]
    Execution,
    /// Profilers are to find its functions in the perf map. No page is writable and executable here either.
    Profiling,
    /// Debuggers are to set breakpoints in it.
    ///
    /// **All pages are writable and executable**, so whoever can make the process write to a stray address can make it run
    /// anything: do not use it where untrusted code or input is near. The addresses of a freed block are never used again,
    /// nor are those of the memory after it is gone, because a debugger goes on to write where it had a breakpoint: a
    /// process that compiles without end finds the memory full.
    Debugging,
}

/// A reservation of address space for machine code: [`allocate`](Self::allocate) hands out parts of it.
///
/// All methods may be called from any thread. The addresses go when the last handle and the last block are gone.
pub struct CodeMemory {
    purpose: Purpose,
    views: Views,
    space: Mutex<Space>,
    /// The units of all live blocks. Changed under the lock, read without.
    used: AtomicUsize,
}

/// What is taken and what is free.
struct Space {
    /// The free units.
    ranges: Ranges,
    /// What has memory behind it.
    chunks: Chunks,
}

impl CodeMemory {
    /// The capacity for those who have no reason for another, in bytes.
    pub const DEFAULT_CAPACITY: usize = 64 << 20;

    /// [`with`](Self::with) no other purpose than execution.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn new(cap: usize) -> Result<Arc<CodeMemory>, Unavailable> {
        CodeMemory::with(cap, Purpose::Execution)
    }

    /// Reserves up to `cap` bytes, and runs a function of two instructions to see that it works.
    ///
    /// `cap` is rounded down to a multiple of 64 KiB and brought between 64 KiB and what a direct branch spans (2 GiB; on
    /// aarch64 128 MiB). Where the system refuses, it is halved until it fits. Only address space is taken; memory comes
    /// with the blocks.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where the platform is not supported, the system refuses even 64 KiB, or the function does not
    /// return what it should. Engines then run without machine code.
    pub fn with(cap: usize, purpose: Purpose) -> Result<Arc<CodeMemory>, Unavailable> {
        let views = reserve(cap, purpose)?;
        let capacity = views.capacity();
        let ranges = Ranges::new((capacity / UNIT) as u32);
        let space = Space { ranges, chunks: Chunks::new(capacity) };
        let used = AtomicUsize::new(0);
        let mut memory =
            Arc::new(CodeMemory { purpose: Purpose::Execution, views, space: Mutex::new(space), used });
        memory.probe()?;
        // Only now: no debugger knows of the block of the probe, so its addresses may be used again whatever the purpose.
        Arc::get_mut(&mut memory).expect("the block of the probe is gone").purpose = purpose;
        Ok(memory)
    }

    /// A block of `len` bytes at a multiple of 16, all of them trapping instructions. `None` where no free range is long
    /// enough, the system has no memory, or the process was forked off since [`with`](Self::with).
    pub fn allocate(self: &Arc<Self>, len: usize) -> Option<CodeBlock> {
        if len > self.capacity() || !self.views.is_owner() {
            return None;
        }
        let units = len.div_ceil(UNIT).max(1) as u32;
        let mut space = self.space();
        let start = space.ranges.take(units)?;
        let bytes = start as usize * UNIT..(start + units) as usize * UNIT;
        if !space.chunks.occupy(bytes, |part| self.views.commit(part)) {
            space.ranges.give(start, units);
            return None;
        }
        self.used.fetch_add(units as usize, Ordering::Relaxed);
        drop(space);
        Some(CodeBlock { memory: self.clone(), start, units, len })
    }

    /// The first byte of the executable view.
    pub fn base(&self) -> *const u8 {
        self.views.executable()
    }

    /// The number of bytes from [`base`](Self::base) on.
    pub fn capacity(&self) -> usize {
        self.views.capacity()
    }

    /// The bytes of all live blocks, each rounded up to a multiple of 16.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed) * UNIT
    }

    /// Whether an address is inside the executable view. Takes no lock: a signal handler may ask.
    pub fn contains(&self, address: *const u8) -> bool {
        address.addr().wrapping_sub(self.base().addr()) < self.capacity()
    }

    fn space(&self) -> MutexGuard<'_, Space> {
        // Nothing under the lock panics between two steps that belong together.
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees the range of a block; for debugging, retires it.
    fn free(&self, start: u32, units: u32) {
        if !self.views.is_owner() {
            return;
        }
        let bytes = start as usize * UNIT..(start + units) as usize * UNIT;
        // Before the lock: until the range is given back it belongs to the block that drops.
        self.views.fill(bytes.clone());
        let mut space = self.space();
        if self.purpose != Purpose::Debugging {
            space.ranges.give(start, units);
        }
        self.used.fetch_sub(units as usize, Ordering::Relaxed);
        space.chunks.vacate(bytes, |part| self.views.release(part));
    }

    /// Writes `fn() -> i32 { 42 }` and calls it.
    fn probe(self: &Arc<Self>) -> Result<(), Unavailable> {
        let code = views::ANSWER;
        let mut block =
            self.allocate(code.len()).ok_or_else(|| Unavailable::new("no memory behind the views"))?;
        if !block.write(0, code) {
            return Err(Unavailable::new("the writable view refuses a write"));
        }
        block.publish();
        // SAFETY: the block starts with a whole function of this processor that takes nothing, touches the result
        // register only and returns; it was published above and lives until the end of this function.
        let answer = unsafe {
            let function = std::mem::transmute::<*const u8, extern "C" fn() -> i32>(block.address());
            function()
        };
        if answer == 42 { Ok(()) } else { Err(Unavailable::new("the views do not show the same memory")) }
    }
}

impl fmt::Debug for CodeMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeMemory")
            .field("purpose", &self.purpose)
            .field("base", &self.base())
            .field("capacity", &self.capacity())
            .field("used", &self.used())
            .finish()
    }
}

/// A range of code memory that belongs to one function or stub; dropping it frees the range.
///
/// Filling it is safe and running it is not: whoever jumps to [`address`](Self::address) vouches for the code. The block
/// must outlive every execution and every pointer, patched jump and return address that leads into it.
pub struct CodeBlock {
    memory: Arc<CodeMemory>,
    /// The first unit.
    start: u32,
    /// The number of units, at least one.
    units: u32,
    len: usize,
}

impl CodeBlock {
    /// The first byte, in the executable view; it can be read, too.
    pub fn address(&self) -> *const u8 {
        self.memory.base().wrapping_add(self.offset())
    }

    /// The number of bytes that were asked for.
    #[expect(clippy::len_without_is_empty, reason = "a block without bytes is of no interest to anybody")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The distance of the first byte from [`CodeMemory::base`], in bytes.
    pub fn offset(&self) -> usize {
        self.start as usize * UNIT
    }

    /// The memory that the block is part of.
    pub fn memory(&self) -> &Arc<CodeMemory> {
        &self.memory
    }

    /// Copies `bytes` to `offset`, through the writable view. Nothing is written and the answer is `false` where they
    /// would reach beyond the block, or the process was forked off since the memory was made.
    ///
    /// While another thread may be running the very bytes, they change one by one; what may be patched then is the
    /// business of the contract for machine code.
    #[must_use = "where it is false, nothing was written"]
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let inside = offset <= self.len && bytes.len() <= self.len - offset;
        if !inside || !self.memory.views.is_owner() {
            return false;
        }
        self.memory.views.write(self.offset() + offset, bytes);
        true
    }

    /// Makes what was written visible to the fetch of instructions: after the last [`write`](Self::write), before the
    /// address is handed to anybody.
    ///
    /// On x86-64 there is nothing to do. On aarch64 it cleans the data cache and invalidates the instruction caches of all
    /// cores for this block; a thread that may have run older code at the same address needs an `isb` of its own before
    /// it comes here, which is not done for it.
    pub fn publish(&self) {
        self.memory.views.publish(self.offset()..self.offset() + self.len);
    }
}

impl Drop for CodeBlock {
    fn drop(&mut self) {
        self.memory.free(self.start, self.units);
    }
}

impl fmt::Debug for CodeBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeBlock").field("address", &self.address()).field("len", &self.len).finish()
    }
}

/// Why there is no memory for machine code here. Nothing is broken: execution goes on without.
#[derive(Clone, Debug)]
pub struct Unavailable {
    reason: String,
}

impl Unavailable {
    pub(crate) fn new(reason: impl Into<String>) -> Unavailable {
        Unavailable { reason: reason.into() }
    }

    /// What was refused, and by what the system says, why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for machine code: {}", self.reason)
    }
}

impl Error for Unavailable {}

/// Maps the views, with as much of `cap` as the system lets us have.
fn reserve(cap: usize, purpose: Purpose) -> Result<Views, Unavailable> {
    let whole = |bytes: usize| (bytes - bytes % chunks::CHUNK).clamp(LEAST, MOST);
    let mut capacity = whole(cap);
    loop {
        match Views::map(capacity, purpose) {
            Err(_) if capacity > LEAST => capacity = whole(capacity / 2),
            result => return result,
        }
    }
}
