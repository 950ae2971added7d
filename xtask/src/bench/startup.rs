//! Start-up: how long hello world takes from the start of the process to its end, and how much memory.

use std::error::Error;
use std::time::Duration;

use super::child::{self, Run};
use super::contestant::Contestant;
use super::json::Json;
use super::report::{self, Figures};
use super::{Options, Outcome};
use crate::root;

const WALL_TARGET: Duration = Duration::from_millis(4);
const PEAK_TARGET: u64 = 10 << 20;

/// Runs the mode.
pub fn run(options: &Options) -> Outcome {
    let repeat = options.repeat.unwrap_or(50);
    let contestants: Vec<&Contestant> = options.upshift.iter().chain(&options.peers).collect();
    let measured = measure(&contestants, repeat)?;
    let mut table = vec![["hello world", "wall", "CPU", "peak"].map(str::to_owned).to_vec()];
    let mut json = Vec::new();
    for (name, figures) in &measured {
        let (wall, peak) = if name.starts_with("upshift") {
            let limit = report::megabytes(PEAK_TARGET);
            let peak = report::against(report::megabytes(figures.peak), limit, figures.peak <= PEAK_TARGET);
            (report::time_against(figures.wall, WALL_TARGET), peak)
        } else {
            (report::time(figures.wall), report::megabytes(figures.peak))
        };
        table.push(vec![name.clone(), wall, report::time(figures.cpu), peak]);
        json.push((name.clone(), Json::Object(figures.json())));
    }
    println!("Medians of {repeat} runs\n");
    report::print_table(&table);
    options.write_json("startup", Json::Object(json))?;
    Ok(true)
}

/// Runs hello world, each contestant in turn: one unmeasured run of each first, so that files are cached for all.
pub fn measure(contestants: &[&Contestant], repeat: usize) -> Result<Vec<(String, Figures)>, Box<dyn Error>> {
    let directory = root().join("benches/memory");
    let contestants: Vec<_> = contestants.iter().filter(|one| one.takes_part("hello")).collect();
    let mut prepared = Vec::new();
    for contestant in &contestants {
        let ready = contestant.prepare(&contestant.source(&directory, "hello"));
        prepared.push(ready.map_err(|why| format!("{}: {why}", contestant.name))?);
    }
    let mut runs: Vec<Vec<Run>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=repeat {
        for ((contestant, prepared), runs) in contestants.iter().zip(&prepared).zip(&mut runs) {
            let run = child::run(&mut contestant.command(prepared))?.checked();
            let run = run.map_err(|why| format!("{}: {why}", contestant.name))?;
            if run.stdout != "Hello, world!" {
                return Err(format!("{} printed {:?}", contestant.name, run.stdout).into());
            }
            if round > 0 {
                runs.push(run);
            }
        }
    }
    let figures = contestants.iter().zip(&runs);
    Ok(figures.filter_map(|(one, runs)| Some((one.name.clone(), Figures::of(runs)?))).collect())
}
