//! Scalar ops on edge values, as optimized code whose guards leave although they hold: the tests of `scalars.rs` in a binary of another name.

#[path = "scalars.rs"]
mod scalars;
