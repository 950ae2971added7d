//! What is compared: kernels, each with a source per language, and one record for each run.
//!
//! A kernel's `run(n)` gives an int, which must be the same in all languages. Sources are in `kernels/`, in the manner of their
//! language; a language without a file leaves the kernel out.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// How a peer ends that has no source of the kernel.
pub const ABSENT: i32 = 3;

/// A kernel.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// The name of its files.
    pub name: &'static str,
    /// What `run` is called with, unless the sizes are scaled.
    pub n: i64,
    /// Whether a smaller size has to be a little smaller only: the work grows faster than the size.
    pub steep: bool,
}

/// The kernels.
pub const KERNELS: [Kernel; 6] = [
    Kernel { name: "fib", n: 32, steep: true },
    Kernel { name: "lcg", n: 5_000_000, steep: false },
    Kernel { name: "sieve", n: 2_000_000, steep: false },
    Kernel { name: "map_count_int", n: 2_000_000, steep: false },
    Kernel { name: "string_build", n: 300_000, steep: false },
    Kernel { name: "closures", n: 500, steep: false },
];

impl Kernel {
    /// The argument where the sizes are divided.
    pub fn size(&self, divisor: i64) -> i64 {
        // Each step of fib is a factor of 1.618.
        let steps = (divisor as f64).log(1.618).round() as i64;
        if self.steep { (self.n - steps).max(1) } else { (self.n / divisor).max(1) }
    }
}

/// What a language showed in a kernel. Times are CPU seconds of all threads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The language.
    pub language: String,
    /// The kernel.
    pub kernel: String,
    /// The argument.
    pub n: i64,
    /// What `run` gave.
    pub answer: i64,
    /// From nothing to a program that can be called: engine, library, compiler.
    pub load: f64,
    /// The first call.
    pub first: f64,
    /// The fastest of the calls, the first included.
    pub best: f64,
    /// How many calls there were.
    pub calls: u32,
}
