//! What running code needs.
