//! Configurations from a number: which tiers run, when code moves between them, what is inlined, which guards leave.
//!
//! The number says all: printing a [`Schedule`] shows what it chose. Everything is deterministic (the program waits for the optimizing
//! compiler), except one in a while, where compiling goes on beside the program as it does for users.
//!
//! A program is not run in every mode: another program finds more than another schedule of the same one does, so [`of_program`] draws
//! a few, and each mode has its share of a campaign.

use std::fmt;

use upshift::{Config, Tier};
use upshift_bytecode::testing::Random;

/// How a program is run.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What it was made from.
    pub seed: u64,
    /// What runs.
    pub config: Config,
    /// Where fuel ends: so many 32nds of what the whole takes, at 32 one unit too early; 0 for plenty.
    pub fuel: u64,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { tier, gc_stress, tiers, .. } = &self.config;
        write!(
            f,
            "schedule {}: {tier:?}, fuel {}/32, gc_stress: {gc_stress}, {tiers:?}",
            self.seed, self.fuel
        )
    }
}

/// The number of the fixed schedules.
const FIXED: u64 = 5;

/// The schedules of a program: so many that optimize, a third of which are fixed, each as often as the others; and before them, in every
/// second program, one that ends with the baseline compiler, which takes a sixth of the time.
pub fn of_program(program: u64, optimizing: u64) -> impl Iterator<Item = u64> {
    let mut r = Random(program ^ 0x0D15_C0DE);
    (program % 2..=optimizing).map(move |k| {
        let baseline = k == 0;
        let (fixed, pick) = (r.one_in(3), r.below(FIXED as usize - 1) as u64);
        match (baseline, fixed) {
            (true, true) => 0,
            (false, true) => 1 + pick,
            // Even numbers do not optimize.
            (baseline, false) => 2 * (500 + program * 32 + k) + u64::from(!baseline),
        }
    })
}

/// The interpreter alone, which the others are compared with.
pub fn reference() -> Config {
    let mut config = Config::default();
    config.tier = Tier::Interpreter;
    config
}

impl Schedule {
    /// The first few numbers are the tiers as they are, the others are random; even ones of these stop at the baseline compiler.
    pub fn new(seed: u64) -> Schedule {
        let mut config = Config::default();
        config.tiers.eager = true;
        config.tiers.sync = true;
        config.tiers.code_cache = 16 << 20;
        // Nine tenths of the time are the code generator's: where the schedule is about what stands before it, it is quick.
        config.tiers.quick = matches!(seed, 2..=4);
        let mut fuel = 0;
        match seed {
            0 => config.tier = Tier::Baseline,
            1 => config.tier = Tier::Optimized,
            2 => {
                config.tier = Tier::Optimized;
                config.tiers.deopt_stress = true;
            }
            3 => {
                // Each loop alone.
                config.tiers.baseline_heat = 1;
                config.tiers.quantum = 1;
                config.tiers.sample = 1;
                config.tiers.optimize_heat = 0;
                config.tiers.optimize_functions = false;
            }
            4 => {
                // Up through all tiers in the middle of the work.
                config.tiers.baseline_heat = 2;
                config.tiers.quantum = 7;
                config.tiers.sample = 13;
                config.tiers.optimize_heat = 40;
            }
            _ => {
                let r = &mut Random(seed ^ 0x5C4E_D01E);
                random(r, seed % 2 == 1, &mut config);
                if r.one_in(5) {
                    fuel = 1 + r.below(32) as u64;
                }
            }
        }
        Schedule { seed, config, fuel }
    }

    /// Whether it collects at every opportunity.
    pub fn stress(&self) -> bool {
        self.config.gc_stress
    }
}

fn random(r: &mut Random, optimize: bool, config: &mut Config) {
    config.tier = match r.below(3) {
        0 if optimize => Tier::Optimized,
        0 => Tier::Baseline,
        _ => Tier::Auto,
    };
    config.gc_stress = r.one_in(4);
    let t = &mut config.tiers;
    t.pin = !r.one_in(8);
    t.baseline_heat = r.pick(&[1, 1, 2, 3, 10, 60, 400]);
    t.quantum = r.pick(&[1, 1, 2, 3, 7, 31, 97]);
    t.optimize_heat = r.pick(&[0, 1, 3, 10, 40, 150, 600, 2500]);
    t.sample = r.pick(&[1, 1, 3, 13, 97, 400]);
    match r.below(6) {
        0 => t.optimize_functions = false,
        1 => t.optimize_loops = false,
        _ => {}
    }
    t.failures = r.pick(&[1, 2, 8, 8, 100]);
    t.retries = r.pick(&[0, 1, 6, 6, 100]);
    t.inline_callee = r.pick(&[0, 10, 40, 80, 80, 400]);
    t.inline_recursion = r.pick(&[0, 1, 2, 2, 4]);
    t.deopt_stress = r.one_in(4);
    t.sync = !r.one_in(12);
    t.quick = !r.one_in(8);
    t.verify = r.one_in(8);
    if !optimize {
        t.optimize_heat = u32::MAX;
    }
    if r.one_in(10) {
        t.code_cache = r.pick(&[4096, 16384, 65536]);
    }
}
