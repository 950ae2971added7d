//! The two mappings of the code memory, on Linux. The only file of this module that maps or touches memory.
//!
//! An anonymous file (`memfd`) is mapped once for writing and once for running, each mapping between two inaccessible
//! pages; then the file is closed, and nothing can map it again. Offsets are the same in both views.
//!
//! The file is shared with processes that are forked off. A private page that the system clears in them tells the views
//! whether this is still the process that made them.
//!
//! `views_unsupported` is the twin for other platforms.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};

use super::Unavailable;
use super::chunks::CHUNK;

/// `mov eax, 42; ret`
#[cfg(target_arch = "x86_64")]
pub(super) const ANSWER: &[u8] = &[0xb8, 42, 0, 0, 0, 0xc3];

/// `mov w0, #42; ret`
#[cfg(target_arch = "aarch64")]
pub(super) const ANSWER: &[u8] = &[0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6];

/// The byte of which trapping instructions are made: `int3` on x86-64, and `udf #0` is all zeros on aarch64.
const TRAP: u8 = if cfg!(target_arch = "x86_64") { 0xcc } else { 0 };

/// Both views of the same `capacity` bytes.
#[derive(Debug)]
pub(super) struct Views {
    writable: Mapping,
    executable: Mapping,
    owner: Mapping,
    capacity: usize,
}

impl Views {
    /// Maps `capacity` bytes, a multiple of [`CHUNK`], twice.
    pub(super) fn map(capacity: usize) -> Result<Views, Unavailable> {
        if !CHUNK.is_multiple_of(page_size()) {
            return Err(Unavailable::new("the pages of this system are too large"));
        }
        let file = anonymous_file(capacity)?;
        let writable = Mapping::guarded(&file, capacity, ProtFlags::READ | ProtFlags::WRITE)
            .map_err(|error| refused("a writable mapping", error))?;
        let executable = Mapping::guarded(&file, capacity, ProtFlags::READ | ProtFlags::EXEC)
            .map_err(|error| refused("an executable mapping", error))?;
        let owner = Mapping::cleared_by_fork().map_err(|error| refused("a page of memory", error))?;
        let views = Views { writable, executable, owner, capacity };
        views.owner_mark().store(1, Ordering::Relaxed);
        Ok(views)
    }

    /// The number of bytes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The first byte of the view for running.
    pub(super) fn executable(&self) -> *const u8 {
        self.executable.start
    }

    /// The address of the view for writing.
    #[cfg(test)]
    pub(super) fn writable_address(&self) -> usize {
        self.writable.start.addr()
    }

    /// Whether this is the process that made the mapping, and not one forked off from it.
    pub(super) fn is_owner(&self) -> bool {
        self.owner_mark().load(Ordering::Relaxed) == 1
    }

    /// Copies `bytes` to an offset. The caller has seen to it that the range is inside and its own.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        debug_assert!(offset + bytes.len() <= self.capacity);
        // SAFETY: the range is inside the writable view, which lives as long as `self`; the caller owns it, and a slice
        // never reaches into a view.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.writable.start.add(offset), bytes.len());
        }
    }

    /// Fills a range with traps. The caller has seen to it that the range is inside and its own.
    pub(super) fn fill(&self, range: Range<usize>) {
        debug_assert!(range.end <= self.capacity);
        // Instruction caches are not told: nobody may come here before a new block is published.
        // SAFETY: as for `write`.
        unsafe { self.writable.start.add(range.start).write_bytes(TRAP, range.len()) };
    }

    /// Puts memory full of traps behind whole chunks that nobody uses; `false` where the system has none.
    pub(super) fn commit(&self, range: Range<usize>) -> bool {
        debug_assert!(range.end <= self.capacity);
        // SAFETY: whole pages of the writable view; their content stays as it is.
        let populated = unsafe {
            madvise(self.writable.start.add(range.start).cast(), range.len(), Advice::LinuxPopulateWrite)
        };
        match populated {
            // Systems before 5.14 do not know the request; there, a lack of memory shows when the pages are touched.
            Ok(()) | Err(Errno::INVAL) => {
                self.fill(range);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives the memory behind whole chunks that nobody uses back to the system; `false` where it stays.
    pub(super) fn release(&self, range: Range<usize>) -> bool {
        debug_assert!(range.end <= self.capacity);
        // SAFETY: whole pages of the writable view in which no block lives; both views read as zero afterwards.
        unsafe { madvise(self.writable.start.add(range.start).cast(), range.len(), Advice::LinuxRemove) }
            .is_ok()
    }

    /// Makes what was written to a range visible to the fetch of instructions: nothing on x86-64, whose caches see to it.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn publish(&self, _range: Range<usize>) {}

    /// Makes what was written to a range visible to the fetch of instructions: what `__clear_cache` does.
    #[cfg(target_arch = "aarch64")]
    pub(super) fn publish(&self, range: Range<usize>) {
        use std::arch::asm;
        debug_assert!(range.end <= self.capacity);
        let first = self.executable.start.addr() + range.start;
        let end = self.executable.start.addr() + range.end;
        let sizes: usize;
        // SAFETY: reads a register that says how long the lines of the caches are.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) sizes, options(nomem, nostack, preserves_flags)) };
        let (data_line, code_line) = (4usize << (sizes >> 16 & 15), 4usize << (sizes & 15));
        // SAFETY: the addresses are in the executable view, which can be read; cleaning and invalidating lines changes
        // no memory. Both go by address in any view, because the data caches are physically tagged.
        unsafe {
            for line in (first / data_line * data_line..end).step_by(data_line) {
                asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags));
            }
            asm!("dsb ish", options(nostack, preserves_flags));
            for line in (first / code_line * code_line..end).step_by(code_line) {
                asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags));
            }
            asm!("dsb ish", "isb", options(nostack, preserves_flags));
        }
    }

    fn owner_mark(&self) -> &AtomicU8 {
        // SAFETY: the page is mapped as long as `self` lives, and used in no other way.
        unsafe { AtomicU8::from_ptr(self.owner.start) }
    }
}

/// An anonymous file of `len` bytes.
fn anonymous_file(len: usize) -> Result<OwnedFd, Unavailable> {
    // To grow a file beyond this limit is not an error but a fatal signal.
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < len as u64) {
        return Err(Unavailable::new("the limit on the size of files is too low"));
    }
    let name = c"upshift-code";
    // That the file itself cannot be executed is a flag since 6.3; without it, newer systems complain in their log.
    let file = match memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, MemfdFlags::CLOEXEC),
        result => result,
    };
    let file = file.map_err(|error| refused("an anonymous file", error))?;
    ftruncate(&file, len as u64).map_err(|error| refused("the size of the anonymous file", error))?;
    Ok(file)
}

fn refused(what: &str, error: Errno) -> Unavailable {
    Unavailable::new(format!("the system refuses {what}: {error}"))
}

/// A run of mapped pages, unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    /// The first byte that can be used.
    start: *mut u8,
    /// The first byte of all, guard included.
    base: *mut u8,
    /// The bytes from `base` on, guards included.
    len: usize,
}

// SAFETY: pages have no tie to a thread.
unsafe impl Send for Mapping {}
// SAFETY: `Mapping` itself reads and writes nothing; `Views` writes only what the caller owns, by the free list.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of a file, with an inaccessible page before and behind.
    fn guarded(file: &OwnedFd, len: usize, protection: ProtFlags) -> Result<Mapping, Errno> {
        let guard = page_size();
        let mut mapping = Mapping::anonymous(len + 2 * guard, ProtFlags::empty())?;
        // SAFETY: what is replaced is inside the mapping made above, which nobody else knows.
        mapping.start = unsafe {
            let at = mapping.base.add(guard).cast();
            mmap(at, len, protection, MapFlags::SHARED | MapFlags::FIXED, file, 0)?.cast()
        };
        Ok(mapping)
    }

    /// Maps one zeroed page that is zeroed again in processes that are forked off.
    fn cleared_by_fork() -> Result<Mapping, Errno> {
        let mapping = Mapping::anonymous(page_size(), ProtFlags::READ | ProtFlags::WRITE)?;
        // Systems before 4.14 do not know it, and there a process that is forked off must leave machine code alone.
        // SAFETY: one whole page, made above.
        let _ = unsafe { madvise(mapping.base.cast(), mapping.len, Advice::LinuxWipeOnFork) };
        Ok(mapping)
    }

    fn anonymous(len: usize, protection: ProtFlags) -> Result<Mapping, Errno> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address that the system chooses overlaps nothing.
        let base: *mut u8 = unsafe { mmap_anonymous(null_mut(), len, protection, flags)? }.cast();
        Ok(Mapping { start: base, base, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped for `self`, once; its owner lends the addresses only as long as it lives.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
