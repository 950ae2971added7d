//! Memory that the engine keeps. A process of its own, with one test, since what a process holds is all tests' together.

mod common;

use common::sums;
use upshift::{Config, Engine, Grants, Limits, Tier};

/// Kilobytes of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) * 4
}

#[test]
fn modules_that_come_and_go_leave_nothing() {
    let rounds = std::env::var("UPSHIFT_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(3_000);
    let mut config = Config::default();
    config.tiers.eager = true;
    config.tier = Tier::Baseline;
    let engine = Engine::new(config);
    let (mut after_warm_up, mut bytes) = (0, 0);
    for round in 0..rounds {
        let module = engine.load(&sums()).expect("it loads");
        let limits = Limits::default().stack(64 << 10);
        let mut i = engine.instantiate(&module, Grants::none(), limits).expect("an instance");
        let sum = i.function::<(i64,), i64>("sum").expect("the function");
        assert_eq!(i.call(&sum, (10,)).expect("no trap"), 90);
        assert_eq!(i.tier_counters().compiled, 2, "round {round}");
        bytes += i.tier_counters().bytes;
        if round == rounds / 3 {
            after_warm_up = resident();
        }
    }
    let grown = resident().saturating_sub(after_warm_up);
    assert!(grown < 2_000, "{grown} KB more after {rounds} rounds with {bytes} bytes of code");
}
