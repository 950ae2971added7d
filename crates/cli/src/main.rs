//! The `upshift` command.
#![forbid(unsafe_code)]
fn main() {}
