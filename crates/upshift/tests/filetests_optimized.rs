//! The modules of `filetests/run`, as optimized code from the first call on: the tests of `filetests.rs` in a binary of another name.

#[path = "filetests.rs"]
mod filetests;
