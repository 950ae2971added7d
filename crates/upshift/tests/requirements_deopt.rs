//! What later languages need, as optimized code whose guards leave although they hold: the tests of `requirements.rs` in a binary of another name.

#[path = "requirements.rs"]
mod requirements;
