//! Builds modules without thinking of slots, offsets or words.
