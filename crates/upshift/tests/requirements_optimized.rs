//! What later languages need, as optimized code from the first call on: the tests of `requirements.rs` in a binary of another name.

#[path = "requirements.rs"]
mod requirements;
