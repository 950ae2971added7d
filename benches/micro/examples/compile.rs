//! Compiles all functions of Mochi programs by the optimizer, so often, on one thread, and says what each phase took: for profilers,
//! which see neither a driver nor a queue here.
//!
//! `cargo run --release -p upshift-micro --example compile -- TIMES FILES`

use std::time::Duration;

use upshift::Config;
use upshift::tiers::measure::{Optimizer, Session};
use upshift_cli::session;
use upshift_micro::{clock, load};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let times: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let texts: Vec<String> = arguments.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let Some(mut session) = Session::new() else { return };
    let modules: Vec<_> = texts
        .iter()
        .map(|text| {
            let engine = session::engine(Config::default());
            let module = load(&engine, text);
            (engine, module)
        })
        .collect();
    let runs: Vec<Vec<Optimizer>> = (0..times)
        .map(|_| {
            modules.iter().filter_map(|(_, module)| session.optimize(module, None, clock).ok()).collect()
        })
        .collect();
    let least = |of: &dyn Fn(&Optimizer) -> Duration| -> Duration {
        (0..modules.len()).filter_map(|i| runs.iter().map(|run| of(&run[i])).min()).sum()
    };
    let sum = |of: &dyn Fn(&Optimizer) -> u64| -> u64 { runs[0].iter().map(of).sum() };
    let (bytecode, built, clif) = (sum(&|r| r.instructions), sum(&|r| r.built), sum(&|r| r.clif));
    println!(
        "{bytecode} instructions of bytecode, {built} of SSA, {} after the passes, {clif} of Cranelift's form, {} bytes",
        sum(&|r| r.lowered),
        sum(&|r| r.bytes)
    );
    let all = least(&Optimizer::time);
    let show = |name: &str, time: Duration, elements: u64, what: &str| {
        println!(
            "{name:12} {:9.1} us {:5.1} % {:8.0} ns per instruction of {what}",
            time.as_nanos() as f64 / 1e3,
            100.0 * time.as_secs_f64() / all.as_secs_f64(),
            time.as_nanos() as f64 / elements as f64
        );
    };
    show("build", least(&|r| r.build), bytecode, "bytecode");
    show("passes", least(&|r| r.passes), built, "SSA");
    let names: Vec<&str> = runs[0].iter().flat_map(|r| r.each.iter().map(|e| e.0)).collect();
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let time = |r: &Optimizer| r.each.iter().find(|e| e.0 == name).map_or(Duration::ZERO, |e| e.1);
        show(name, least(&time), built, "SSA");
    }
    show("lower", least(&|r| r.lower), clif, "Cranelift's form");
    show("Cranelift", least(&|r| r.cranelift), clif, "Cranelift's form");
    show("all", all, bytecode, "bytecode");
}
