//! The context: what running code of every tier sees of an instance, at fixed offsets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use upshift_bytecode::Word;

use crate::feedback::Feedback;
use crate::frame::FunctionEntry;
use crate::value::Value;

/// The first part of every instance. Machine code reaches everything through it.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    /// What is left of the budget while no interpreter loop has it in a register.
    pub budget: i64,
    /// Frames must start at or before this address; behind it is room for the largest frame with its window.
    pub stack_limit: *mut u64,
    /// Functions by number.
    pub functions: *const FunctionEntry,
    /// Globals by number, raw words.
    pub globals: *mut u64,
    /// String constants and names by number.
    pub constants: *const Value,
    /// Feedback by site.
    pub feedback: *mut Feedback,
    /// Watches by number: not 0 where bumped.
    pub watches: *const u32,
    /// With `Status::Reload`: where to continue.
    pub pc: *const Word,
    /// With `Status::Reload`: the frame.
    pub fp: *mut u64,
    /// With `Status::Reload`: the function of the frame.
    pub entry: *const FunctionEntry,
    /// With `Status::Exit` after a return into Rust, and with `Status::Returned`: the result's bits.
    pub result: u64,
    /// The native stack pointer at which machine code was entered last; it leaves from there.
    pub native_base: usize,
    /// The function of the frame that machine code was entered with last, or that it gave this frame to since: by this the driver knows
    /// what returned to it.
    pub entered: u32,
    /// The routines that machine code calls, by number.
    pub routines: *const Helper,
    /// Where functions without machine code have theirs: a stub that leaves to the driver. Null without tiers.
    pub uncompiled: *const u8,
    /// What the driver of the tiers keeps for this instance; null where only the interpreter runs.
    pub tiers: *mut (),
    /// Optimized functions leave where their stack pointer is below it; 0 where they run on the caller's stack.
    pub native_limit: usize,
    /// By function number: where its optimized code takes arguments in registers; null where there is none.
    pub fast: *const *const u8,
}

/// A routine's address, in the table that machine code calls through.
pub type Helper = *const ();

const _: () = {
    assert!(std::mem::offset_of!(Context, budget) == 0);
    assert!(std::mem::offset_of!(Context, stack_limit) == 8);
    assert!(std::mem::offset_of!(Context, functions) == 16);
    assert!(std::mem::offset_of!(Context, globals) == 24);
    assert!(std::mem::offset_of!(Context, constants) == 32);
    assert!(std::mem::offset_of!(Context, feedback) == 40);
};

/// How a routine ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Status {
    /// With the next instruction.
    Continue = 0,
    /// Wherever the context says: a frame was pushed, or a handler found.
    Reload = 1,
    /// In Rust: the frame that entered the guest returned or was unwound.
    Exit = 2,
    /// At the branch target of the instruction.
    Branch = 3,
    /// In the interpreter, at the instruction that the context says, which machine code did not do.
    Interpret = 4,
    /// Machine code returned from the frame that it was entered with.
    Returned = 5,
    /// Wherever the context says, after a look at the tiers: the interpreter asks for a better one.
    Switch = 6,
    /// At the start of the frame that the context says, which was pushed for the instruction; its return continues behind.
    Call = 7,
    /// In the interpreter: machine code left at the exit that the context's result names.
    Deopt = 8,
}

/// A routine: the meaning of an op that is no pure function of scalars.
pub type Routine = unsafe extern "C" fn(*mut Context, *mut u64, *const Word, *const FunctionEntry) -> Status;

/// How an interpreter loop ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunEnd {
    /// The entry frame returned; the result is in the context.
    Returned,
    /// A trap or exception reached the entry frame; it is pending in the instance.
    Unwound,
    /// A better tier may go on: the context says where.
    Switch,
}

/// Runs the pushed frame until it returns: what an instance needs of tier 0.
pub type Run = unsafe fn(*mut Context, *mut u64, *const Word, *const FunctionEntry) -> RunEnd;

/// Stops a running instance from another thread or a signal handler.
#[derive(Clone, Debug, Default)]
pub struct InterruptHandle(pub(crate) Arc<AtomicBool>);

impl InterruptHandle {
    /// Makes the running guest trap with `interrupted` at its next safepoint. Safe to call in a signal handler.
    pub fn interrupt(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Takes an interrupt back that was not seen yet.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    pub(crate) fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}
