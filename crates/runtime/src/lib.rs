//! What running code needs: values, the heap and its objects, frames, traps, host functions and the context that all
//! tiers see.

pub mod object;
pub mod value;
