//! The contract between front ends and the engine.
