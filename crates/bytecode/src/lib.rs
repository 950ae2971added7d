//! The contract between language front ends and the Upshift engine.
//!
//! A front end builds a [`Module`] with the [`builder`], the [`verifier`] proves that running it cannot corrupt
//! memory, and the tiers run it. This crate knows nothing of execution: no values, no heap, no machine code.
//!
//! Reading order: [`types`] (what registers may hold), [`ops`] (the one list of operations), [`inst`] (how an
//! operation is encoded in 8-byte words), [`frame`] (where registers live), [`module`] (functions and tables),
//! [`builder`], [`verifier`], [`text`] and [`binary`] (the two serial forms).
//!
//! Invariants that every tier relies on:
//! * the bank of an operand follows from the op alone;
//! * operands are frame slots, so no tier renames registers;
//! * every backward jump lands on a `loop_header`;
//! * a collecting op happens only where every cell slot of the frame holds a valid value.
#![forbid(unsafe_code)]

pub mod binary;
pub mod builder;
pub mod frame;
pub mod inst;
pub mod module;
pub mod ops;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod types;
pub mod verifier;

pub use frame::FrameLayout;
pub use inst::{Inst, Word};
pub use module::*;
pub use ops::{Effects, Op, OperandKind, reference};
pub use types::*;
