//! Micro-benchmarks: what each phase of compiling costs, what chains of operators cost in each tier, and what it costs to change
//! between tiers. `cargo xtask micro` runs them and shows tables; `cargo bench -p upshift-micro` does the same.
//!
//! Criterion times what can be repeated by itself. The optimizer's phases come several out of one run (`compile.rs`), which it cannot
//! time one by one; they are repeated here, and medians are taken.

mod compile;
mod execution;
mod report;
mod tables;
mod transitions;

use std::time::{Duration, SystemTime};

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use report::Figures;
use upshift_micro::clock;

/// Processor time of the thread, which is what all benchmarks are measured in.
#[derive(Debug)]
pub struct Processor;

impl Measurement for Processor {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock()
    }
    fn end(&self, started: Duration) -> Duration {
        clock() - started
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn main() {
    let started = SystemTime::now();
    let mut criterion = Criterion::default()
        .with_measurement(Processor)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(400))
        .nresamples(2_000)
        .configure_from_args();
    // As Criterion reads them: without `--bench` everything runs once, as a test.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let bench = arguments.iter().any(|a| a == "--bench");
    let filter = arguments.iter().find(|a| !a.starts_with('-')).cloned().unwrap_or_default();
    let mut figures = Figures::default();
    compile::front(&mut criterion, &mut figures);
    if bench && "optimizer".contains(&filter) {
        compile::optimizer(&mut figures);
    }
    execution::bench(&mut criterion, &mut figures);
    transitions::bench(&mut criterion, &mut figures);
    criterion.final_summary();
    if bench {
        figures.read(started);
        tables::print(&figures);
        match figures.write() {
            Ok(path) => println!("\nwritten to {}", path.display()),
            Err(error) => {
                eprintln!("error: the figures cannot be written: {error}");
                std::process::exit(2);
            }
        }
    }
}
