//! The Mochi front end.
#![forbid(unsafe_code)]

pub mod builtins;
pub mod check;
pub mod diagnostics;
pub mod foreign;
pub mod infer;
pub mod instances;
pub mod library;
pub mod lower;
pub mod resolve;
pub mod source;
pub mod syntax;
pub mod testing;
