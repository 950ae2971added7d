//! What running code needs: values, the heap and its objects, frames, traps, host functions and the context that all
//! tiers see.

pub mod check;
pub mod closure;
pub mod context;
pub mod feedback;
pub mod frame;
pub mod hash;
pub mod heap;
pub mod host;
pub mod instance;
pub mod io;
pub mod layout;
pub mod linked;
pub mod list;
pub mod map;
pub mod object;
pub mod record;
pub mod routine;
pub mod sampling;
pub mod scalar;
pub mod stack;
pub mod string;
pub mod trap;
pub mod tuple;
pub mod value;
