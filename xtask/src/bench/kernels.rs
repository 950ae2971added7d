//! The kernels of `benches/kernels`: same work in each language, same checksum, ratios of CPU time.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use super::child::{self, Run};
use super::contestant::Contestant;
use super::json::Json;
use super::report::{self, Figures};
use super::{Options, Outcome};
use crate::root;

/// A ratio to a peer that the engine is to stay below.
struct Target {
    kernel: &'static str,
    peer: &'static str,
    ratio: f64,
}

const fn target(kernel: &'static str, peer: &'static str, ratio: f64) -> Target {
    Target { kernel, peer, ratio }
}

/// What the interpreter alone is to reach. Faster tiers raise these.
const TARGETS: &[Target] = &[
    target("fib", "luajit-joff", 0.6),
    target("fib", "lua5.4", 0.45),
    target("sieve", "luajit-joff", 1.0),
    target("nbody", "luajit-joff", 1.0),
    target("matmul", "luajit-joff", 1.0),
    target("quicksort", "luajit-joff", 1.0),
    target("string_build", "luajit-joff", 1.0),
    target("map_count_int", "luajit-joff", 1.0),
    target("map_count_string", "luajit-joff", 1.0),
    target("binary_trees", "lua5.4", 0.7),
];

/// Runs of one contestant, or why they do not count.
type Entry = Result<Vec<Run>, String>;

/// One kernel, measured: an entry for each contestant, in their order.
struct Measured {
    kernel: String,
    entries: Vec<Entry>,
}

/// Runs the mode.
pub fn run(options: &Options) -> Outcome {
    let repeat = options.repeat.unwrap_or(5);
    let contestants: Vec<&Contestant> = options.upshift.iter().chain(&options.peers).collect();
    let kernels: Vec<_> =
        directories(&root().join("benches/kernels"))?.into_iter().filter(|k| options.selects(&k.0)).collect();
    if kernels.is_empty() {
        return Err("no kernel has such a name".into());
    }
    let mut measured = Vec::new();
    for (kernel, directory) in &kernels {
        eprintln!("{kernel} ..");
        measured.push(measure(kernel, directory, &contestants, repeat));
    }
    report(options, &contestants, &measured, repeat)
}

/// The kernels: name and directory, by name.
fn directories(path: &Path) -> Result<Vec<(String, PathBuf)>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| format!("{}: {e}", path.display()))? {
        let entry = entry?;
        if entry.path().is_dir() {
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Lets the contestants take turns, each round starting with the next one, then compares what they printed.
fn measure(kernel: &str, directory: &Path, contestants: &[&Contestant], repeat: usize) -> Measured {
    let mut entries: Vec<Entry> = contestants.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..repeat {
        for turn in 0..contestants.len() {
            let who = (round + turn) % contestants.len();
            if let Ok(runs) = &mut entries[who] {
                match run_once(contestants[who], directory, kernel) {
                    Ok(run) => runs.push(run),
                    Err(why) => entries[who] = Err(why),
                }
            }
        }
    }
    // The last contestant that has an answer is the one to agree with: a peer, if there is one.
    let wanted = entries.iter().rev().find_map(|entry| Some(entry.as_ref().ok()?.first()?.stdout.clone()));
    for entry in &mut entries {
        if let (Ok(runs), Some(wanted)) = (&entry, &wanted)
            && let Some(wrong) = runs.iter().find(|run| run.stdout != *wanted)
        {
            *entry = Err(format!("printed {}, not {}", one_line(&wrong.stdout), one_line(wanted)));
        }
    }
    Measured { kernel: kernel.to_owned(), entries }
}

fn run_once(contestant: &Contestant, directory: &Path, kernel: &str) -> Result<Run, String> {
    let source = contestant.source(directory, kernel);
    child::run(&mut contestant.command(&source)).map_err(|e| e.to_string())?.checked()
}

/// A short text for a message.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 60 { line } else { line.chars().take(57).chain("...".chars()).collect() }
}

/// Prints the table, writes the JSON, and says whether every answer was right.
fn report(options: &Options, contestants: &[&Contestant], measured: &[Measured], repeat: usize) -> Outcome {
    let engines = options.upshift.len();
    let mut header = vec!["kernel".to_owned()];
    for contestant in contestants {
        header.extend([contestant.name.clone(), "peak".to_owned()]);
    }
    for engine in &options.upshift {
        header.extend(options.peers.iter().map(|peer| ratio_name(options, engine, peer)));
    }
    let mut table = vec![header];
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); engines * options.peers.len()];
    let mut problems = Vec::new();
    let mut missed = Vec::new();
    let mut json = Vec::new();
    for row in measured {
        let figures: Vec<Option<Figures>> =
            row.entries.iter().map(|entry| Figures::of(entry.as_ref().ok()?)).collect();
        let mut cells = vec![row.kernel.clone()];
        let mut objects = Vec::new();
        for ((contestant, entry), figures) in contestants.iter().zip(&row.entries).zip(&figures) {
            let mut object = Vec::new();
            match figures {
                Some(figures) => {
                    cells.extend([report::time(figures.cpu), report::megabytes(figures.peak)]);
                    object = figures.json();
                }
                None => cells.extend(["failed".to_owned(), "-".to_owned()]),
            }
            if let Err(why) = entry {
                problems.push(format!("{} {}: {why}", row.kernel, contestant.name));
                object.push(("error".into(), Json::Text(why.clone())));
            }
            objects.push((contestant.name.clone(), Json::Object(object)));
        }
        let mut ratio_fields = Vec::new();
        for (e, engine) in options.upshift.iter().enumerate() {
            for (p, peer) in options.peers.iter().enumerate() {
                let (Some(ours), Some(theirs)) = (&figures[e], &figures[engines + p]) else {
                    cells.push("-".to_owned());
                    continue;
                };
                let ratio = ours.cpu / theirs.cpu;
                ratios[e * options.peers.len() + p].push(ratio);
                ratio_fields.push((ratio_name(options, engine, peer), Json::Number(ratio)));
                let target = TARGETS.iter().find(|t| t.kernel == row.kernel && t.peer == peer.name);
                let over = target.filter(|t| ratio > t.ratio);
                cells.push(format!("{ratio:.2}x{}", if over.is_some() { "!" } else { "" }));
                if let Some(target) = over {
                    missed.push(format!(
                        "{} {}: {ratio:.2}x of {}, target {:.2}x",
                        row.kernel, engine.name, peer.name, target.ratio
                    ));
                }
            }
        }
        table.push(cells);
        json.push(Json::Object(vec![
            ("kernel".into(), Json::Text(row.kernel.clone())),
            ("contestants".into(), Json::Object(objects)),
            ("ratios".into(), Json::Object(ratio_fields)),
        ]));
    }
    if ratios.iter().any(|list| list.len() > 1) {
        let mut cells = vec!["geometric mean".to_owned()];
        cells.resize(1 + 2 * contestants.len(), String::new());
        let means = ratios.iter().map(|list| report::geometric_mean(list));
        cells.extend(means.map(|mean| mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.2}x"))));
        table.push(cells);
    }
    println!("CPU time, medians of {repeat} interleaved runs; peak resident memory; ratio = Upshift / peer");
    println!("{}\n", report::machine());
    report::print_table(&table);
    print_list("Targets missed (marked !)", &missed);
    print_list("Failed", &problems);
    options.write_json("kernels", Json::List(json))?;
    Ok(problems.is_empty())
}

/// The heading of a column of ratios; the engine is named only where there are several.
fn ratio_name(options: &Options, engine: &Contestant, peer: &Contestant) -> String {
    if options.upshift.len() == 1 {
        format!("/{}", peer.name)
    } else {
        format!("{}/{}", engine.name, peer.name)
    }
}

fn print_list(title: &str, lines: &[String]) {
    if !lines.is_empty() {
        println!("\n{title}:");
        for line in lines {
            println!("  {line}");
        }
    }
}
