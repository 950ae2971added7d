//! Scalar ops on edge values, as optimized code from the first call on: the tests of `scalars.rs` in a binary of another name.

#[path = "scalars.rs"]
mod scalars;
