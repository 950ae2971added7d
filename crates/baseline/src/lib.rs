//! Tier 1: the copy-and-patch baseline compiler.
//!
//! [`compile`] turns the linked bytecode of one function into machine code: for each instruction it copies a stencil, which
//! Clang made from C when the table was generated, and fills its holes. Ops without a stencil call the interpreter's routine,
//! so no op is refused. The result is position-independent but for jumps to the stubs of the code memory ([`Machine::stubs`])
//! and literals, addresses in the function's bytecode; the engine places it.
//!
//! * `table/`: the stencils (generated, checked in) and their index.
//! * `analysis.rs`: leaders, innermost loops, which values die where: one pass forward, one backward.
//! * `regs.rs`: which frame slots are in machine registers at a point of the code.
//! * `assembler.rs`: copying, holes, labels, the cold part.
//! * `compile.rs`: one arm per op.
//! * `entry.rs`: the way from this code into optimized code.
//!
//! What machine code relies on is in `docs/architecture.md`, "Machine code". After the idea of Xu and Kjolstad, "Copy-and-Patch
//! Compilation" (OOPSLA 2021), and for the registers after V8's Liftoff.

/// Whether this machine runs what the compiler makes: x86-64, with the System V calling convention in routines.
pub const SUPPORTED: bool = cfg!(all(target_arch = "x86_64", unix, not(miri)));

mod analysis;
mod assembler;
mod compile;
mod entry;
mod regs;
mod stubs;
pub mod table;

pub use assembler::{Machine, Stub, Way};
pub use compile::{Facts, Input, Scratch, TooLarge, compile};
pub use entry::{Bank, Entry, optimized_entry};
pub use stubs::Stubs;
pub use upshift_runtime::routine::Routine;
