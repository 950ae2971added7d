//! What the engine is to reach, tier by tier: ratios of CPU time to a peer, and speed-ups over another tier.
//!
//! A target belongs to a tier. The engine left to choose its tier is held to what the interpreter must reach.

/// What a target is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over<'a> {
    /// One kernel.
    Kernel(&'a str),
    /// The geometric mean over all kernels.
    Mean,
}

/// What the engine is compared with, and so which side of the limit is the good one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Against<'a> {
    /// Time as a multiple of this peer's: at most the limit.
    Peer(&'a str),
    /// Speed as a multiple of this tier's: at least the limit.
    Tier(&'a str),
}

/// One row of the list; a kernel of `EVERY` means each of them.
struct Target {
    tier: &'static str,
    over: Over<'static>,
    against: Against<'static>,
    limit: f64,
}

const EVERY: &str = "*";

const fn kernel(tier: &'static str, kernel: &'static str, peer: &'static str, limit: f64) -> Target {
    Target { tier, over: Over::Kernel(kernel), against: Against::Peer(peer), limit }
}

const fn mean(tier: &'static str, against: Against<'static>, limit: f64) -> Target {
    Target { tier, over: Over::Mean, against, limit }
}

const TARGETS: &[Target] = &[
    kernel("interp", "fib", "luajit-joff", 0.6),
    kernel("interp", "fib", "lua5.4", 0.45),
    kernel("interp", "sieve", "luajit-joff", 1.0),
    kernel("interp", "nbody", "luajit-joff", 1.0),
    kernel("interp", "matmul", "luajit-joff", 1.0),
    kernel("interp", "quicksort", "luajit-joff", 1.0),
    kernel("interp", "string_build", "luajit-joff", 1.0),
    kernel("interp", "map_count_int", "luajit-joff", 1.0),
    kernel("interp", "map_count_string", "luajit-joff", 1.0),
    kernel("interp", "binary_trees", "lua5.4", 0.7),
    mean("baseline", Against::Tier("interp"), 3.0),
    mean("baseline", Against::Peer("node-noopt"), 1.0),
    kernel("baseline", EVERY, "luajit-joff", 1.0),
    kernel("baseline", "fib", "gcc-noinline", 1.5),
    kernel("baseline", "nbody", "gcc", 3.0),
    kernel("baseline", "matmul", "gcc", 3.0),
    kernel("baseline", "sieve", "gcc", 3.0),
    kernel("baseline", "collatz", "gcc", 2.2),
    kernel("baseline", "mandelbrot", "gcc", 2.2),
];

/// The targets that were looked at, and what was missed, in words.
#[derive(Default)]
pub struct Checked {
    /// How many targets applied.
    pub count: usize,
    /// A line for each that was missed.
    pub missed: Vec<String>,
}

impl Checked {
    /// Compares a value with its target, if there is one. `tier` is `None` for the engine left to choose.
    pub fn check(&mut self, tier: Option<&str>, over: Over<'_>, against: Against<'_>, value: f64) {
        let tier = tier.filter(|tier| *tier != "auto").unwrap_or("interp");
        let Some(limit) = limit(tier, over, against) else { return };
        self.count += 1;
        let kept = match against {
            Against::Peer(_) => value <= limit,
            Against::Tier(_) => value >= limit,
        };
        if kept {
            return;
        }
        let subject = match over {
            Over::Kernel(kernel) => kernel,
            Over::Mean => "geometric mean",
        };
        self.missed.push(match against {
            Against::Peer(peer) => {
                format!("{subject} {tier}: {value:.2}x of {peer}, target at most {limit:.2}x")
            }
            Against::Tier(other) => {
                format!("{subject} {tier}: {value:.2}x as fast as {other}, target at least {limit:.2}x")
            }
        });
    }
}

/// The limit that applies: a row for the kernel itself comes before one for every kernel.
fn limit(tier: &str, over: Over<'_>, against: Against<'_>) -> Option<f64> {
    let find = |over: Over<'_>| {
        TARGETS.iter().find(|t| t.tier == tier && t.over == over && t.against == against).map(|t| t.limit)
    };
    match over {
        Over::Kernel(_) => find(over).or_else(|| find(Over::Kernel(EVERY))),
        Over::Mean => find(over),
    }
}

#[cfg(test)]
mod tests {
    use super::{Against, Checked, Over};

    #[test]
    fn a_miss_is_named() {
        let mut checked = Checked::default();
        let fib = Over::Kernel("fib");
        checked.check(None, fib, Against::Peer("luajit-joff"), 0.5);
        checked.check(Some("interp"), fib, Against::Peer("luajit-joff"), 0.7);
        checked.check(Some("baseline"), fib, Against::Peer("luajit-joff"), 0.7);
        checked.check(Some("baseline"), fib, Against::Peer("lua5.4"), 9.0);
        checked.check(Some("baseline"), Over::Mean, Against::Tier("interp"), 3.5);
        checked.check(Some("baseline"), Over::Mean, Against::Tier("interp"), 2.5);
        assert_eq!(checked.count, 5);
        let missed = [
            "fib interp: 0.70x of luajit-joff, target at most 0.60x",
            "geometric mean baseline: 2.50x as fast as interp, target at least 3.00x",
        ];
        assert_eq!(checked.missed, missed);
    }
}
