//! Memory straight from the operating system: aligned, zeroed, touched lazily, returned when dropped.
//!
//! Where there is no `mmap` (and under Miri) the allocator of the standard library stands in.

/// A run of pages that nobody else uses.
#[derive(Debug)]
pub(crate) struct Pages {
    base: *mut u8,
    len: usize,
    #[cfg(any(not(unix), miri))]
    align: usize,
}

impl Pages {
    /// The first byte.
    #[inline]
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    /// The number of bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The byte behind the last one.
    #[inline]
    pub(crate) fn end(&self) -> *mut u8 {
        self.base.wrapping_add(self.len)
    }
}

#[cfg(all(unix, not(miri)))]
impl Pages {
    /// Zeroed pages at a multiple of `align`, a power of two; both are multiples of the page size. `None` where the
    /// system has none.
    pub(crate) fn map(len: usize, align: usize) -> Option<Pages> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
        let page = rustix::param::page_size();
        let len = len.next_multiple_of(page);
        let slack = align.saturating_sub(page);
        // SAFETY: a fresh private mapping at an address that the system chooses overlaps nothing.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len + slack,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .ok()?
        .cast::<u8>();
        let before = start.align_offset(align.max(1)).min(slack);
        let base = start.wrapping_add(before);
        // SAFETY: both parts belong to the mapping made above and nobody knows them.
        unsafe {
            if before > 0 {
                let _ = munmap(start.cast(), before);
            }
            if slack > before {
                let _ = munmap(base.wrapping_add(len).cast(), slack - before);
            }
        }
        base.expose_provenance();
        Some(Pages { base, len })
    }

    /// Fetches pages that will be written at once: cheaper than one fault each.
    pub(crate) fn populate(base: *mut u8, len: usize) {
        #[cfg(target_os = "linux")]
        // SAFETY: the range is mapped, and its content stays as it is.
        let _ = unsafe { rustix::mm::madvise(base.cast(), len, rustix::mm::Advice::LinuxPopulateWrite) };
        #[cfg(not(target_os = "linux"))]
        let _ = (base, len);
    }

    /// Asks for huge pages inside a large fresh range: tables of megabytes are read at random.
    pub(crate) fn prefer_huge(base: *mut u8, len: usize) {
        #[cfg(target_os = "linux")]
        {
            let page = rustix::param::page_size();
            let skip = base.align_offset(page);
            if len > skip + page {
                let len = (len - skip) & !(page - 1);
                // SAFETY: whole pages of a mapped range, whose content stays as it is.
                let _ = unsafe {
                    rustix::mm::madvise(
                        base.wrapping_add(skip).cast(),
                        len,
                        rustix::mm::Advice::LinuxHugepage,
                    )
                };
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (base, len);
    }

    /// Gives the memory of whole pages back; they read as zero afterwards.
    pub(crate) fn discard(base: *mut u8, len: usize) {
        // SAFETY: the caller owns the range and keeps nothing in it; the mapping stays.
        let _ = unsafe { rustix::mm::madvise(base.cast(), len, rustix::mm::Advice::LinuxDontNeed) };
    }
}

#[cfg(all(unix, not(miri)))]
impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and is unmapped once.
        let _ = unsafe { rustix::mm::munmap(self.base.cast(), self.len) };
    }
}

#[cfg(any(not(unix), miri))]
impl Pages {
    /// Zeroed memory at a multiple of `align`, a power of two. `None` where there is none.
    pub(crate) fn map(len: usize, align: usize) -> Option<Pages> {
        let layout = std::alloc::Layout::from_size_align(len, align.max(16)).ok()?;
        // SAFETY: the length is not zero.
        let base = unsafe { std::alloc::alloc_zeroed(layout) };
        if base.is_null() {
            return None;
        }
        base.expose_provenance();
        Some(Pages { base, len, align: align.max(16) })
    }

    /// Does nothing here.
    pub(crate) fn populate(_base: *mut u8, _len: usize) {}

    /// Does nothing here.
    pub(crate) fn prefer_huge(_base: *mut u8, _len: usize) {}

    /// Does nothing here.
    pub(crate) fn discard(_base: *mut u8, _len: usize) {}
}

#[cfg(any(not(unix), miri))]
impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated by `map` with the same layout.
        unsafe {
            std::alloc::dealloc(
                self.base,
                std::alloc::Layout::from_size_align_unchecked(self.len, self.align),
            )
        };
    }
}
