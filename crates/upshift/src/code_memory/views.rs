//! The mappings of the code memory, on Linux. The only file of this module that maps or touches memory.
//!
//! There is a view for writing and one for running, each between two inaccessible pages. Offsets are the same in both. What
//! they are made of is a matter of the [`Purpose`]:
//!
//! * execution: an anonymous file (`memfd`), mapped twice and then closed, so that nothing can map it again. Its name shows
//!   in `/proc/<pid>/maps`.
//! * profiling: a shared anonymous mapping, and a second one of the same pages, which `mremap` makes of it when the old size
//!   is said to be 0. Its protection is changed before there is anything in the pages, from writable to executable, so it is
//!   never both. Such memory has no name of its own, and `perf` looks for its functions in the perf map; a `memfd` has a
//!   name, which `perf` takes for that of a file.
//! * debugging: one private mapping that is both views, writable *and* executable. A debugger writes breakpoints through the
//!   system, which refuses where pages are shared and cannot be written. Two views of which the executable one can be written
//!   were not taken: shared pages stay shared after a `fork`, and a debugger that clears its breakpoints out of the child
//!   would clear them out of the parent, while writing through a view of its own buys nothing here. When this mapping goes,
//!   its addresses stay reserved.
//!
//! The first two are shared with processes that are forked off. A private page that the system clears in them tells the
//! views whether this is still the process that made them.
//!
//! `views_unsupported` is the twin for other platforms.

use std::ffi::c_void;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect,
    mremap_fixed, munmap,
};
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};

use super::chunks::CHUNK;
use super::{Purpose, Unavailable};

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
    executable: Mapping,
    /// `None` where the executable view is the one to write to.
    writable: Option<Mapping>,
    owner: Mapping,
    capacity: usize,
}

impl Views {
    /// Maps `capacity` bytes, a multiple of [`CHUNK`].
    pub(super) fn map(capacity: usize, purpose: Purpose) -> Result<Views, Unavailable> {
        if !CHUNK.is_multiple_of(page_size()) {
            return Err(Unavailable::new("the pages of this system are too large"));
        }
        let no_writable = |error| refused("a writable mapping", error);
        let no_executable = |error| refused("an executable mapping", error);
        let (executable, writable) = match purpose {
            Purpose::Execution => {
                let file = anonymous_file(capacity)?;
                let writable = Mapping::of_file(&file, capacity, ProtFlags::READ | ProtFlags::WRITE)
                    .map_err(no_writable)?;
                let executable = Mapping::of_file(&file, capacity, ProtFlags::READ | ProtFlags::EXEC)
                    .map_err(no_executable)?;
                (executable, Some(writable))
            }
            Purpose::Profiling => {
                let writable = Mapping::shared(capacity).map_err(no_writable)?;
                let executable = writable.executable_twin(capacity).map_err(no_executable)?;
                (executable, Some(writable))
            }
            Purpose::Debugging => {
                let all = Mapping::unprotected(capacity)
                    .map_err(|error| refused("a mapping that is writable and executable", error))?;
                (all, None)
            }
        };
        let owner = Mapping::cleared_by_fork().map_err(|error| refused("a page of memory", error))?;
        let views = Views { executable, writable, owner, capacity };
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

    /// The first byte of the view for writing.
    pub(super) fn writable(&self) -> *mut u8 {
        self.writable.as_ref().unwrap_or(&self.executable).start
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
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.writable().add(offset), bytes.len());
        }
    }

    /// Fills a range with traps. The caller has seen to it that the range is inside and its own.
    pub(super) fn fill(&self, range: Range<usize>) {
        debug_assert!(range.end <= self.capacity);
        // Instruction caches are not told: nobody may come here before a new block is published.
        // SAFETY: as for `write`.
        unsafe { self.writable().add(range.start).write_bytes(TRAP, range.len()) };
    }

    /// Puts memory full of traps behind whole chunks that nobody uses; `false` where the system has none.
    pub(super) fn commit(&self, range: Range<usize>) -> bool {
        debug_assert!(range.end <= self.capacity);
        // SAFETY: whole pages of the writable view; their content stays as it is.
        let populated = unsafe {
            madvise(self.writable().add(range.start).cast(), range.len(), Advice::LinuxPopulateWrite)
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
        // Pages of a file, which shared anonymous memory is to the system, go with the file's content; private ones go by
        // themselves.
        let advice = if self.writable.is_some() { Advice::LinuxRemove } else { Advice::LinuxDontNeed };
        // SAFETY: whole pages of the writable view in which no block lives; all views read as zero afterwards.
        unsafe { madvise(self.writable().add(range.start).cast(), range.len(), advice) }.is_ok()
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
    /// Whether the addresses are kept from other mappings after the pages are gone.
    keeps_addresses: bool,
}

// SAFETY: pages have no tie to a thread.
unsafe impl Send for Mapping {}
// SAFETY: `Mapping` itself reads and writes nothing; `Views` writes only what the caller owns, by the free list.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first `len` bytes of a file.
    fn of_file(file: &OwnedFd, len: usize, protection: ProtFlags) -> Result<Mapping, Errno> {
        Mapping::guarded(len, |at| {
            // SAFETY: `guarded` gives a place that is free.
            unsafe { mmap(at, len, protection, MapFlags::SHARED | MapFlags::FIXED, file, 0) }
        })
    }

    /// Fresh memory of `len` bytes that can be written, and be mapped a second time.
    fn shared(len: usize) -> Result<Mapping, Errno> {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
        Mapping::guarded(len, |at| {
            // SAFETY: `guarded` gives a place that is free.
            unsafe { mmap_anonymous(at, len, ProtFlags::READ | ProtFlags::WRITE, flags) }
        })
    }

    /// The `len` bytes of a shared mapping once more, to run them.
    fn executable_twin(&self, len: usize) -> Result<Mapping, Errno> {
        Mapping::guarded(len, |at| {
            // SAFETY: with 0 as the old size the old mapping stays as it is, and `guarded` gives a place that is free. The
            // protection that is changed is that of the new one, which nobody knows yet.
            unsafe {
                mremap_fixed(self.start.cast(), 0, len, MremapFlags::MAYMOVE, at)?;
                mprotect(at, len, MprotectFlags::READ | MprotectFlags::EXEC)?;
            }
            Ok(at)
        })
    }

    /// Fresh memory of `len` bytes that can be written and run, at addresses that will have no other.
    fn unprotected(len: usize) -> Result<Mapping, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let mut mapping = Mapping::guarded(len, |at| {
            // SAFETY: `guarded` gives a place that is free.
            unsafe { mmap_anonymous(at, len, protection, flags) }
        })?;
        mapping.keeps_addresses = true;
        Ok(mapping)
    }

    /// Has `len` bytes mapped with an inaccessible page before and behind. `map` is called with an address at which it may
    /// replace as many bytes, and returns it.
    fn guarded(
        len: usize,
        map: impl FnOnce(*mut c_void) -> Result<*mut c_void, Errno>,
    ) -> Result<Mapping, Errno> {
        let guard = page_size();
        let mut mapping = Mapping::anonymous(len + 2 * guard, ProtFlags::empty())?;
        // What is replaced is inside the mapping made above, which nobody else knows.
        mapping.start = map(mapping.base.wrapping_add(guard).cast())?.cast();
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
        Ok(Mapping { start: base, base, len, keeps_addresses: false })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: exactly what was mapped for `self`, once; its owner lends the addresses only as long as it lives. What
        // replaces it can be neither read nor written nor run, and is never unmapped.
        unsafe {
            if self.keeps_addresses {
                let _ = mmap_anonymous(self.base.cast(), self.len, ProtFlags::empty(), flags);
            } else {
                let _ = munmap(self.base.cast(), self.len);
            }
        }
    }
}
