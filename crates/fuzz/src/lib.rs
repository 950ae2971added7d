//! Differential testing of the tiers: generated programs run in many configurations, and everything that shows must agree.
//!
//! [`mochi`] makes typed, terminating programs from a number (in the manner of Csmith: what is generated is correct by
//! construction, with guards around what would end it), [`bytecode`] makes modules that pass the verifier. [`schedule`] makes
//! configurations from a number: tiers, thresholds, inlining, loops compiled alone, guards that leave although they hold,
//! collections at every opportunity. [`run`] runs one program in one configuration and says what it showed: output, the error
//! with its lines, the fuel used. The interpreter is the reference. [`reduce`] makes finds small on the program's tree
//! (hierarchical delta debugging), and [`campaign`] runs numbers in child processes, so that crashes lose nothing.
//! [`ssa`] compares functions of any origin before and after the optimizer's passes.
#![forbid(unsafe_code)]

pub mod bytecode;
pub mod campaign;
pub mod mochi;
pub mod reduce;
pub mod run;
pub mod schedule;
pub mod ssa;
pub mod tree;
