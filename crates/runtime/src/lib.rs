//! What running code needs: values, the heap and its objects, frames, traps, host functions and the context that all
//! tiers see.

pub mod closure;
pub mod hash;
pub mod heap;
pub mod list;
pub mod map;
pub mod object;
pub mod record;
pub mod string;
pub mod tuple;
pub mod value;
