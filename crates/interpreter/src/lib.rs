//! Tier 0.
