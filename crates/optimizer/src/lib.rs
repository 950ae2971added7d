//! Tier 2: the optimizing compiler.
//!
//! From linked bytecode and feedback to machine code:
//!
//! * `flow.rs`: what is known of the bytecode: blocks, loops, liveness; `slots.rs`: sets of slots.
//! * `build/`: bytecode to SSA, with inlining and speculation.
//! * `ops.rs`, `ir.rs`: the SSA form.
//! * `cfg.rs`: its shape: dominators, loops.
//! * `passes/`: what makes it better.
//! * `lower/`: SSA to machine code by Cranelift.
//! * `summary.rs`: what a compilation saved, for reports.
#![forbid(unsafe_code)]

pub mod build;
pub mod cfg;
pub mod entries;
pub mod eval;
pub mod flow;
pub mod helper;
pub mod ir;
pub mod lower;
pub mod ops;
pub mod passes;
pub mod slots;
pub mod summary;
pub mod text;
pub mod verify;
