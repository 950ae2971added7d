//! GDB's JIT interface: the list in which a debugger finds object files that exist in memory alone.
//!
//! The debugger knows two symbols. `__jit_debug_descriptor` is the head of a doubly linked list of object files, read when
//! it attaches. `__jit_debug_register_code` is an empty function in which it sets a breakpoint: after each change of the
//! list, with the changed entry named in the descriptor, the process calls it. Names and layouts are those of the chapter
//! "JIT Compilation Interface" of GDB's manual; LLDB reads the same list.
//!
//! The symbols are global to the process by the nature of the interface, the only such state of the engine besides the
//! perf map, and a mutex guards them. Another JIT of the process may have such symbols too:
//!
//! * in another shared object, GDB reads both lists, as it looks for the symbols in each object by itself;
//! * where the dynamic linker makes them one, both JITs use one list. The code here leaves the other's entries alone and
//!   takes none for its own, but the other knows nothing of the mutex, so the two must not compile at the same time;
//! * linked statically into the same executable, the linker reports a symbol defined twice.
//!
//! Names and lines work wherever the code is. Breakpoints of software are written by the system on the debugger's behalf,
//! which it refuses where pages are shared and not writable, as in the run-only view of memory mapped twice. GDB 13 says
//! nothing then and never stops there, though hardware breakpoints (`hbreak`) work. So while this interface is in use, code
//! is in private writable memory: [`Purpose::Debugging`](crate::code_memory::Purpose::Debugging).
//!
//! Taking an entry out of the list does not make GDB 13 take its breakpoints out of the code: it goes on to regard them as
//! set. If other code comes to the same address it is not stopped in, and at the next stop GDB puts the byte of the old
//! code, which it had replaced, into the new. So that memory does not use addresses of freed code again
//! ([`Profiler::keeps_code`](super::Profiler::keeps_code)). Code that is out of use but mapped is harmless, and where memory
//! is gone GDB prints a complaint.
//!
//! Entries are linked through atomics, not because threads race for them, which the mutex prevents, but because the list
//! is shared by raw pointers whose targets others hold too: this way no `&mut` to an entry ever exists.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An object file in the debugger's list, until it is dropped.
pub(super) struct Entry {
    node: NonNull<Node>,
}

// SAFETY: the entry owns its node. Other threads and entries reach the node through the list alone, and only with `LIST`
// locked; nothing in it depends on the thread.
unsafe impl Send for Entry {}
// SAFETY: as above, and there is nothing that can be done with a shared reference to an entry.
unsafe impl Sync for Entry {}

impl Entry {
    /// Puts the object file `image` at the head of the list and tells the debugger.
    pub(super) fn new(image: Vec<u8>) -> Entry {
        let node = Box::into_raw(Box::new(Node {
            link: Link {
                next: AtomicPtr::new(ptr::null_mut()),
                previous: AtomicPtr::new(ptr::null_mut()),
                symfile: AtomicPtr::new(ptr::null_mut()),
                symfile_size: image.len() as u64,
            },
            image,
        }));
        let link = node.cast::<Link>();
        let guard = lock();
        // SAFETY: `node` was just allocated and nobody else knows it.
        let Node { link: Link { next, symfile, .. }, image } = unsafe { &*node };
        // The bytes are only ever read; the pointer is `*mut` because atomics have no other.
        symfile.store(image.as_ptr().cast_mut(), Relaxed);
        let first = __jit_debug_descriptor.first.load(Relaxed);
        next.store(first, Relaxed);
        // SAFETY: what is in the list is alive: entries leave it, with `LIST` locked, before they are freed.
        if let Some(first) = unsafe { first.as_ref() } {
            first.previous.store(link, Relaxed);
        }
        __jit_debug_descriptor.first.store(link, Relaxed);
        notify(&guard, Action::Register, link);
        drop(guard);
        Entry { node: NonNull::new(node).expect("a box is not null") }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let link = self.node.as_ptr().cast::<Link>();
        let guard = lock();
        // SAFETY: the node was allocated by `new` and is freed only below.
        let Link { next, previous, .. } = unsafe { &*link };
        let (next, previous) = (next.load(Relaxed), previous.load(Relaxed));
        // SAFETY: neighbours in the list are alive, as everything in it is.
        match unsafe { previous.as_ref() } {
            Some(previous) => previous.next.store(next, Relaxed),
            None => __jit_debug_descriptor.first.store(next, Relaxed),
        }
        // SAFETY: as above.
        if let Some(next) = unsafe { next.as_ref() } {
            next.previous.store(previous, Relaxed);
        }
        // The debugger drops what it knows under this address and reads the image no more once this returns.
        notify(&guard, Action::Unregister, link);
        drop(guard);
        // SAFETY: the pointer is from `Box::into_raw` in `new`, and with the entry out of the list nobody else has it.
        drop(unsafe { Box::from_raw(self.node.as_ptr()) });
    }
}

/// An entry together with what it points to. The debugger sees a pointer to the link, which is first.
#[repr(C)]
struct Node {
    link: Link,
    image: Vec<u8>,
}

/// `struct jit_code_entry` of the interface.
#[repr(C)]
struct Link {
    next: AtomicPtr<Link>,
    previous: AtomicPtr<Link>,
    symfile: AtomicPtr<u8>,
    symfile_size: u64,
}

/// `struct jit_descriptor` of the interface.
#[repr(C)]
struct Descriptor {
    version: u32,
    action: AtomicU32,
    relevant: AtomicPtr<Link>,
    first: AtomicPtr<Link>,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(offset_of!(Node, link) == 0);
    assert!(offset_of!(Link, next) == 0 && offset_of!(Link, previous) == 8);
    assert!(
        offset_of!(Link, symfile) == 16 && offset_of!(Link, symfile_size) == 24 && size_of::<Link>() == 32
    );
    assert!(offset_of!(Descriptor, version) == 0 && offset_of!(Descriptor, action) == 4);
    assert!(offset_of!(Descriptor, relevant) == 8 && offset_of!(Descriptor, first) == 16);
    assert!(size_of::<Descriptor>() == 24);
};

/// `jit_actions_t` of the interface.
#[repr(u32)]
enum Action {
    None = 0,
    Register = 1,
    Unregister = 2,
}

/// Guards the descriptor and all links of the list.
static LIST: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The head of the list. `used` keeps link-time optimization from taking the unused fields out of it.
// SAFETY: the name is the interface's, and the layout, asserted above, is what it promises under that name.
#[unsafe(no_mangle)]
#[used]
#[allow(non_upper_case_globals, reason = "the debugger looks for this name")]
static __jit_debug_descriptor: Descriptor = Descriptor {
    version: 1,
    action: AtomicU32::new(Action::None as u32),
    relevant: AtomicPtr::new(ptr::null_mut()),
    first: AtomicPtr::new(ptr::null_mut()),
};

/// Where the debugger has its breakpoint.
// SAFETY: the name is the interface's, and a function that takes and returns nothing is what it promises.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn __jit_debug_register_code() {
    // Without it the function would be empty, calls of it removed, and the stores before them moved past.
    #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
    // SAFETY: there is no instruction in it.
    unsafe {
        std::arch::asm!("", options(nostack, preserves_flags));
    }
}

/// Tells a debugger, if there is one, that `link` came or went.
fn notify(_list: &MutexGuard<'_, ()>, action: Action, link: *mut Link) {
    __jit_debug_descriptor.relevant.store(link, Relaxed);
    __jit_debug_descriptor.action.store(action as u32, Relaxed);
    __jit_debug_register_code();
    // The link may be freed next, and the name of a freed one should not stand in the descriptor.
    __jit_debug_descriptor.action.store(Action::None as u32, Relaxed);
    __jit_debug_descriptor.relevant.store(ptr::null_mut(), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of these tests are four bytes, as much as the first of any object file: who made it, and a number.
    type Image = [u8; 4];

    /// Links and images in the order of the list, read as a debugger would. Entries of other tests may be among them.
    fn read() -> Vec<(*mut Link, Image)> {
        let _guard = lock();
        assert_eq!(__jit_debug_descriptor.version, 1);
        assert_eq!(__jit_debug_descriptor.action.load(Relaxed), 0);
        assert!(__jit_debug_descriptor.relevant.load(Relaxed).is_null());
        let mut links = Vec::new();
        let mut previous = ptr::null_mut();
        let mut link = __jit_debug_descriptor.first.load(Relaxed);
        while !link.is_null() {
            // SAFETY: the list is locked, and what is in it is alive.
            let at = unsafe { &*link };
            assert_eq!(at.previous.load(Relaxed), previous);
            assert!(at.symfile_size >= 4);
            // SAFETY: an image is alive as long as its link, and has as many bytes as was just asked.
            links.push((link, unsafe { at.symfile.load(Relaxed).cast::<Image>().read() }));
            previous = link;
            link = at.next.load(Relaxed);
        }
        links
    }

    /// Of the entries that `maker` made, the list holds exactly `entries`, newest first.
    fn check(maker: u8, entries: &[(Image, Entry)]) {
        let ours: Vec<_> = read().into_iter().filter(|(_, image)| image[0] == maker).collect();
        let expected: Vec<_> =
            entries.iter().rev().map(|(image, entry)| (entry.node.as_ptr().cast(), *image)).collect();
        assert_eq!(ours, expected);
    }

    /// Adds and removes `steps` entries in an order that looks random.
    fn exercise(maker: u8, steps: u8) {
        let mut random = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(maker);
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let mut entries = Vec::new();
        for step in 0..steps {
            if entries.is_empty() || below(5) < 3 {
                let image = [maker, step, 0, 0];
                entries.push((image, Entry::new(image.to_vec())));
            } else {
                drop(entries.remove(below(entries.len())));
            }
            check(maker, &entries);
        }
        while !entries.is_empty() {
            drop(entries.remove(below(entries.len())));
            check(maker, &entries);
        }
    }

    #[test]
    fn the_list_holds_in_any_order() {
        exercise(1, 200);
    }

    #[test]
    fn the_list_holds_between_threads() {
        std::thread::scope(|scope| {
            for maker in 2..6 {
                scope.spawn(move || exercise(maker, 50));
            }
        });
    }
}
