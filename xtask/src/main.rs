//! Everything that Cargo does not do.
#![forbid(unsafe_code)]
fn main() {}
