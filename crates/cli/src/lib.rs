//! What the `upshift` command does, as a library: so that tests run programs the same way without starting processes.
//!
//! [`session`] takes a program from its text to loaded code, [`report`] turns errors into text, [`args`] reads the command line,
//! [`commands`] carries it out, [`profile`] writes what a sampled run gave, [`explain`] shows what became of it,
//! [`iterations`] runs a program again and again.
#![forbid(unsafe_code)]

pub mod args;
pub mod commands;
pub mod disassembly;
pub mod explain;
pub mod iterations;
pub mod profile;
pub mod report;
pub mod session;
