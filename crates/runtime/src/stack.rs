//! The guest stack: one contiguous run of 8-byte slots per instance.
//!
//! Address space is reserved at once and committed by touching, so a deep recursion costs what it uses and an idle
//! instance costs nothing. Where the reservation does not fit the process's limits it is halved until it does.

use std::ptr::NonNull;

/// The smallest stack that is worth running on: 64 KiB.
const LEAST: usize = 64 << 10;

/// The slots of an instance's frames.
#[derive(Debug)]
pub struct GuestStack {
    base: NonNull<u64>,
    bytes: usize,
}

// SAFETY: the memory belongs to the stack alone and has no tie to a thread.
unsafe impl Send for GuestStack {}

impl GuestStack {
    /// Reserves up to `bytes`; `None` where not even 64 KiB can be had.
    pub fn new(bytes: usize) -> Option<GuestStack> {
        let mut bytes = bytes.max(LEAST).next_multiple_of(64 << 10);
        while bytes >= LEAST {
            if let Some(base) = reserve(bytes) {
                return Some(GuestStack { base, bytes });
            }
            bytes = (bytes / 2).next_multiple_of(64 << 10);
            if bytes == LEAST {
                return reserve(LEAST).map(|base| GuestStack { base, bytes: LEAST });
            }
        }
        None
    }

    /// The first slot.
    pub fn base(&self) -> *mut u64 {
        self.base.as_ptr()
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.bytes / 8
    }

    /// Gives memory beyond the first `keep` slots back to the system, where that is a lot.
    pub fn trim(&self, keep: usize) {
        let keep = (keep * 8).next_multiple_of(64 << 10);
        if self.bytes > keep {
            // SAFETY: the range is inside the reservation and no live frame is in it, by the caller's `keep`.
            unsafe { give_back(self.base.as_ptr().byte_add(keep), self.bytes - keep) };
        }
    }
}

#[cfg(all(unix, not(miri)))]
fn reserve(bytes: usize) -> Option<NonNull<u64>> {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
    const GUARD: usize = 64 << 10;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh anonymous mapping touches nothing that exists.
    unsafe {
        let base =
            mmap_anonymous(std::ptr::null_mut(), bytes + GUARD, ProtFlags::READ | ProtFlags::WRITE, flags)
                .ok()?;
        // The limit check keeps frames away from the guard; it is a second line of defence.
        let _ = mprotect(base.byte_add(bytes), GUARD, MprotectFlags::empty());
        NonNull::new(base.cast())
    }
}

#[cfg(all(unix, not(miri)))]
unsafe fn give_back(at: *mut u64, bytes: usize) {
    // SAFETY: by the caller.
    let _ = unsafe { rustix::mm::madvise(at.cast(), bytes, rustix::mm::Advice::LinuxDontNeed) };
}

#[cfg(all(unix, not(miri)))]
impl Drop for GuestStack {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `reserve` made.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes + (64 << 10)) };
    }
}

#[cfg(any(not(unix), miri))]
fn reserve(bytes: usize) -> Option<NonNull<u64>> {
    let layout = std::alloc::Layout::from_size_align(bytes, 4096).ok()?;
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }.cast())
}

#[cfg(any(not(unix), miri))]
unsafe fn give_back(_at: *mut u64, _bytes: usize) {}

#[cfg(any(not(unix), miri))]
impl Drop for GuestStack {
    fn drop(&mut self) {
        if let Ok(layout) = std::alloc::Layout::from_size_align(self.bytes, 4096) {
            // SAFETY: allocated with this layout.
            unsafe { std::alloc::dealloc(self.base.as_ptr().cast(), layout) };
        }
    }
}
