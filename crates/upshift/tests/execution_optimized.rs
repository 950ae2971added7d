//! Calls, unwinding, traps, limits and host functions, as optimized code from the first call on: the tests of `execution.rs` in a binary of another name.

#[path = "execution.rs"]
mod execution;
