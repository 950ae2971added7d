//! Frames at run time: headers, links, walking.
//!
//! A frame pointer is the address of the frame's first slot. The header stands at slot `raw_params`:
//!
//! * word 0: the return pc (the word behind the call instruction) with flags in the three low bits;
//! * word 1: the *caller's* link: its function number in the lower half, its frame size in bytes in the upper.
//!
//! The caller's function and not the own one is stored, since the place of a header follows from the function: whoever
//! knows the function of the top frame can walk down, and a return restores the caller's state from one word. The
//! distance to the caller's frame is the caller's frame size, as windows start where frames end.
//!
//! `CLEAN` says that no frame below this one has run since a collection, so that their cells hold only what was promoted then and a
//! minor collection stops here. A collection marks every [`CLEAN_STEP`]th of the frames that it scans, so that nobody has to look for
//! marks where frames return: as long as a frame lives, those below it do not run, and whoever calls writes a header without the mark.
//! (Cheng, Harper, Lee, "Generational Stack Collection and Profile-Driven Pretenuring", PLDI 1998, puts markers in the same way, but
//! finds out by their return addresses which were passed.)

use upshift_bytecode::Word;

use crate::context::Context;
use crate::linked::FunctionMeta;

/// The return takes the slow path: into Rust, or with a conversion of the result.
pub const SPECIAL: u64 = 1;
/// With [`SPECIAL`]: the call instruction has two words. Without it: the caller may go on in machine code, so the return
/// leaves the interpreter's loop for a look at the tiers.
pub const LONG: u64 = 2;
/// Frames below were not touched since the last collection.
pub const CLEAN: u64 = 4;
/// All flags.
pub const FLAGS: u64 = 7;

/// One of so many frames gets the `CLEAN` mark: a minor collection may scan as many for nothing.
pub const CLEAN_STEP: usize = 16;

/// What a call needs of a function. Indexed by the engine-wide number, in the instance's table.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct FunctionEntry {
    /// The first instruction; null for host functions.
    pub code: *const Word,
    /// What callees of this function store as word 1 of their header.
    pub link: u64,
    /// The header's distance from the frame's start in bytes.
    pub header: u32,
    /// The position of the module in the instance.
    pub module: u32,
    /// Everything else.
    pub meta: *const FunctionMeta,
    /// Where the interpreter begins: the first instruction, or one that counts the call and looks at the tiers first.
    pub start: *const Word,
    /// Where machine code begins: the function's own, or a stub that leaves to the driver.
    pub native: *const u8,
    /// How warm the function is: calls and turns of loops in the interpreter.
    pub heat: u32,
    /// At this heat the driver looks at the function again.
    pub threshold: u32,
    /// For functions that dynamic calls enter without conversions, with a closure in front of the arguments: the number of
    /// parameters plus one. 0 for others.
    pub simple: u32,
}

impl FunctionEntry {
    /// The binary logarithm of an entry's size.
    pub const SHIFT: u32 = 6;

    /// The entry of numbers that no function has.
    pub const NONE: FunctionEntry = FunctionEntry {
        code: std::ptr::null(),
        link: 0,
        header: 0,
        module: u32::MAX,
        meta: std::ptr::null(),
        start: std::ptr::null(),
        native: std::ptr::null(),
        heat: 0,
        threshold: u32::MAX,
        simple: 0,
    };

    /// The frame size in bytes.
    #[inline(always)]
    pub fn size(&self) -> usize {
        (self.link >> 32) as usize
    }

    /// The function's number.
    #[inline(always)]
    pub fn index(&self) -> u32 {
        self.link as u32
    }

    /// Everything else.
    ///
    /// # Safety
    /// The entry is of a loaded function.
    #[inline(always)]
    pub unsafe fn meta<'a>(&self) -> &'a FunctionMeta {
        // SAFETY: by the contract; modules are loaded as long as the instance lives.
        unsafe { &*self.meta }
    }
}

const _: () = {
    assert!(size_of::<FunctionEntry>() == 1 << FunctionEntry::SHIFT);
    assert!(std::mem::offset_of!(FunctionEntry, code) == 0);
    assert!(std::mem::offset_of!(FunctionEntry, link) == 8);
    assert!(std::mem::offset_of!(FunctionEntry, header) == 16);
};

/// A frame on the stack, with its function.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The first slot.
    pub fp: *mut u64,
    /// The function.
    pub entry: *const FunctionEntry,
}

impl Frame {
    /// The header.
    ///
    /// # Safety
    /// The frame is live.
    #[inline(always)]
    pub unsafe fn header(self) -> *mut u64 {
        // SAFETY: the header is inside the frame.
        unsafe { self.fp.byte_add((*self.entry).header as usize) }
    }

    /// Where the next frame starts.
    ///
    /// # Safety
    /// The frame is live.
    #[inline(always)]
    pub unsafe fn window(self) -> *mut u64 {
        // SAFETY: the window begins at most at the end of the stack.
        unsafe { self.fp.byte_add((*self.entry).size()) }
    }

    /// The frame below; `None` at the bottom.
    ///
    /// # Safety
    /// The frame is live and so are those below.
    #[inline]
    pub unsafe fn caller(self, context: &Context) -> Option<Frame> {
        // SAFETY: headers of live frames lead to live frames.
        unsafe {
            let link = *self.header().add(1);
            let index = link as u32;
            if index == 0 {
                return None;
            }
            Some(Frame {
                fp: self.fp.byte_sub((link >> 32) as usize),
                entry: context.functions.add(index as usize),
            })
        }
    }
}
