//! The Mochi front end.
#![forbid(unsafe_code)]
