//! Mutants of random modules, as optimized code whose guards leave although they hold: the tests of `mutants.rs` in a binary of another name.

#[path = "mutants.rs"]
mod mutants;
