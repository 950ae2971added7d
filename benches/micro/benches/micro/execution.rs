//! Chains of operators in each tier: what an operator costs where all operands, the first alone, or none are variables.

use criterion::{BenchmarkId, Criterion};
use upshift_micro::{Chain, Operands, TIERS, instance, load, still};

use crate::Processor;
use crate::report::Figures;

/// Operators of a chain; without any, what the loop around it costs.
pub const DEPTHS: [usize; 5] = [0, 10, 50, 100, 200];
/// Turns of the loop that a chain is in.
pub const TURNS: i64 = 10_000;

/// Runs them.
///
/// # Panics
/// A program fails.
pub fn bench(c: &mut Criterion<Processor>, figures: &mut Figures) {
    for chain in Chain::ALL {
        for operands in Operands::ALL {
            for depth in DEPTHS {
                let text = chain.program(operands, depth);
                for (tier, force) in TIERS {
                    let name = format!("{} {}", chain.name(), operands.name());
                    let mut group = c.benchmark_group(&name);
                    group.bench_function(BenchmarkId::new(tier, depth), |b| {
                        let mut instance = instance(still(true), |e| load(e, &text), &[("run", force)]);
                        let Ok(run) = instance.function::<(i64, i64, i64), i64>("run") else {
                            panic!("`run` is another function")
                        };
                        b.iter(|| instance.call(&run, (TURNS, 1_000_000, -1)).map_err(|e| e.code()));
                    });
                    figures.elements(&name, tier, depth as u64, TURNS as f64);
                }
            }
        }
    }
}
