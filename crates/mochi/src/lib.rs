//! The Mochi front end.
#![forbid(unsafe_code)]

pub mod builtins;
pub mod diagnostics;
pub mod source;
pub mod syntax;
