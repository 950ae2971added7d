//! What the `upshift` command does, as a library: so that tests run programs the same way without starting processes.
//!
//! [`explain`] shows what became of a run. [`session`] takes a program from its text to loaded code, [`report`] turns errors into text, [`args`] reads the command line,
//! [`commands`] carries it out.
#![forbid(unsafe_code)]

pub mod args;
pub mod commands;
pub mod disassembly;
pub mod explain;
pub mod report;
pub mod session;
