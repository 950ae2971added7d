//! Tier 0: the bytecode interpreter.
//!
//! [`run`] is one loop over 8-byte instructions with its state in locals: the pc, the frame, the function's entry and the
//! budget. Guest calls push frames on the guest stack and never nest Rust calls. Scalar ops name the functions of
//! [`upshift_runtime::scalar`]; ops that touch more than a few words are [`routines`], which machine code can call as well.
//!
//! What the loop relies on: the code was verified and linked, the frame is complete (arguments and header written), and
//! the stack has room for it. The loop trusts that and checks nothing twice.

pub mod routines;
mod run;

pub use run::run;
