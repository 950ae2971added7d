//! Mutants of random modules, as optimized code from the first call on: the tests of `mutants.rs` in a binary of another name.

#[path = "mutants.rs"]
mod mutants;
