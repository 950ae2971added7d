//! The modules of `filetests/run`, as optimized code whose guards leave although they hold: the tests of `filetests.rs` in a binary of another name.

#[path = "filetests.rs"]
mod filetests;
