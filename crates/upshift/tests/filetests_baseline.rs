//! The modules of `filetests/run`, as machine code from the first call on: the tests of `filetests.rs` in a binary of another name.

#[path = "filetests.rs"]
mod filetests;
