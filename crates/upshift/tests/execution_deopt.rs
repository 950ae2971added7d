//! Calls, unwinding, traps, limits and host functions, as optimized code whose guards leave although they hold: the tests of `execution.rs` in a binary of another name.

#[path = "execution.rs"]
mod execution;
