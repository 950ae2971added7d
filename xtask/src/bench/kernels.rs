//! The kernels of `benches/kernels`: same work in each language, same checksum, ratios of CPU time.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use super::child::{self, Run};
use super::contestant::Contestant;
use super::json::Json;
use super::report::{self, Figures};
use super::targets::{Against, Checked, Over};
use super::{Options, Outcome};
use crate::root;

/// Where this peer takes less than `SHORT` seconds, ratios to it are rough: starting and ending a process counts.
const SHORT_PEER: &str = "gcc";
const SHORT: f64 = 0.05;

/// Runs of one contestant, or why they do not count; `None` if it does not take part.
type Entry = Option<Result<Vec<Run>, String>>;

/// One kernel, measured: an entry for each contestant, in their order, the engine first.
struct Measured {
    kernel: String,
    entries: Vec<Entry>,
    figures: Vec<Option<Figures>>,
}

/// Runs the mode.
pub fn run(options: &Options) -> Outcome {
    let repeat = options.repeat.unwrap_or(5);
    let kernels: Vec<_> =
        directories(&root().join("benches/kernels"))?.into_iter().filter(|k| options.selects(&k.0)).collect();
    if kernels.is_empty() {
        return Err("no kernel has such a name".into());
    }
    let peers: Vec<&Contestant> =
        options.peers.iter().filter(|peer| kernels.iter().any(|k| peer.takes_part(&k.0))).collect();
    let contestants: Vec<&Contestant> = options.upshift.iter().chain(peers).collect();
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
    let mut prepared = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for contestant in contestants {
        let part = contestant.takes_part(kernel);
        let ready = part.then(|| contestant.prepare(&contestant.source(directory, kernel)));
        let (path, entry) = match ready {
            None => (PathBuf::new(), None),
            Some(Ok(path)) => (path, Some(Ok(Vec::new()))),
            Some(Err(why)) => (PathBuf::new(), Some(Err(why))),
        };
        prepared.push(path);
        entries.push(entry);
    }
    for round in 0..repeat {
        for turn in 0..contestants.len() {
            let who = (round + turn) % contestants.len();
            if let Some(Ok(runs)) = &mut entries[who] {
                match run_once(contestants[who], &prepared[who]) {
                    Ok(run) => runs.push(run),
                    Err(why) => entries[who] = Some(Err(why)),
                }
            }
        }
    }
    // The last contestant that has an answer is the one to agree with: a peer, if there is one.
    let wanted =
        entries.iter().rev().flatten().find_map(|entry| Some(entry.as_ref().ok()?.first()?.stdout.clone()));
    for entry in entries.iter_mut().flatten() {
        if let (Ok(runs), Some(wanted)) = (&entry, &wanted)
            && let Some(wrong) = runs.iter().find(|run| run.stdout != *wanted)
        {
            *entry = Err(format!("printed {}, not {}", one_line(&wrong.stdout), one_line(wanted)));
        }
    }
    let figures = entries.iter().map(|entry| Figures::of(entry.as_ref()?.as_ref().ok()?)).collect();
    Measured { kernel: kernel.to_owned(), entries, figures }
}

fn run_once(contestant: &Contestant, prepared: &Path) -> Result<Run, String> {
    child::run(&mut contestant.command(prepared)).map_err(|e| e.to_string())?.checked()
}

/// A short text for a message.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 60 { line } else { line.chars().take(57).chain("...".chars()).collect() }
}

/// Prints the tables, writes the JSON, and says whether every answer was right.
fn report(options: &Options, contestants: &[&Contestant], measured: &[Measured], repeat: usize) -> Outcome {
    println!("Medians of {repeat} interleaved runs");
    println!("{}", report::machine());
    println!("{}", options.versions().join("\n"));
    println!("\nCPU time:\n");
    report::print_table(&figures_table(contestants, measured, |figures| report::time(figures.cpu)));
    println!("\nPeak resident memory:\n");
    report::print_table(&figures_table(contestants, measured, |figures| report::megabytes(figures.peak)));
    let mut checked = Checked::default();
    let mut all_columns = Vec::new();
    for engine in 0..options.upshift.len() {
        let columns = columns(options, contestants, measured, engine);
        if !columns.is_empty() {
            println!("\nCPU time of {} as a multiple of its peers':\n", contestants[engine].name);
            let tier = contestants[engine].tier.as_deref();
            let complete = options.filters.is_empty();
            report::print_table(&ratio_table(tier, &columns, measured, complete, &mut checked));
        }
        all_columns.extend(columns);
    }
    let short: Vec<_> = measured.iter().filter_map(|row| short(row, contestants)).collect();
    if !short.is_empty() {
        let limit = report::time(SHORT);
        println!("\n{SHORT_PEER} takes under {limit}, so that ratios to it are rough: {}", short.join(", "));
    }
    if checked.count > 0 {
        println!("\n{} targets checked, {} missed", checked.count, checked.missed.len());
    }
    report::print_list("Targets missed (marked !)", &checked.missed);
    let problems = problems(contestants, measured);
    report::print_list("Failed", &problems);
    let kernels = measured.iter().enumerate().map(|(row, m)| kernel_json(m, row, contestants, &all_columns));
    let means = all_columns.iter().filter_map(|c| Some((c.key.clone(), Json::Number(c.mean()?))));
    let more = vec![
        ("geometric_means".to_owned(), Json::Object(means.collect())),
        ("targets_missed".to_owned(), Json::List(checked.missed.into_iter().map(Json::Text).collect())),
    ];
    options.write_json_with("kernels", Json::List(kernels.collect()), more)?;
    Ok(problems.is_empty())
}

/// A table of one figure of each contestant for each kernel.
fn figures_table(
    contestants: &[&Contestant],
    measured: &[Measured],
    cell: impl Fn(&Figures) -> String,
) -> Vec<Vec<String>> {
    let mut table = vec![vec!["kernel".to_owned()]];
    table[0].extend(contestants.iter().map(|contestant| contestant.name.clone()));
    for row in measured {
        let mut cells = vec![row.kernel.clone()];
        cells.extend(row.entries.iter().zip(&row.figures).map(|(entry, figures)| match figures {
            Some(figures) => cell(figures),
            None if entry.is_some() => "failed".to_owned(),
            None => "-".to_owned(),
        }));
        table.push(cells);
    }
    table
}

/// A column of quotients: an engine against one other contestant.
struct Column<'a> {
    against: Against<'a>,
    heading: String,
    /// The name in the JSON, where the columns of all engines come together.
    key: String,
    /// One for each kernel, where both have an answer.
    values: Vec<Option<f64>>,
}

impl Column<'_> {
    /// The geometric mean, if there is more than one value.
    fn mean(&self) -> Option<f64> {
        let values: Vec<f64> = self.values.iter().copied().flatten().collect();
        report::geometric_mean(&values).filter(|_| values.len() > 1)
    }
}

/// The columns of an engine: its time over that of each peer, and the first engine's time over its own.
fn columns<'a>(
    options: &Options,
    contestants: &[&'a Contestant],
    measured: &[Measured],
    engine: usize,
) -> Vec<Column<'a>> {
    let engines = options.upshift.len();
    let quotients = |upper: usize, lower: usize| {
        let quotient =
            |row: &Measured| Some(row.figures[upper].as_ref()?.cpu / row.figures[lower].as_ref()?.cpu);
        measured.iter().map(quotient).collect()
    };
    let name = contestants[engine].short_name();
    let mut columns = Vec::new();
    for (index, peer) in contestants.iter().enumerate().skip(engines) {
        let heading = format!("/{}", peer.name);
        let key = if engines == 1 { heading.clone() } else { format!("{name}{heading}") };
        let values = quotients(engine, index);
        columns.push(Column { against: Against::Peer(&peer.name), heading, key, values });
    }
    if engine > 0 {
        let first = contestants[0].short_name();
        let heading = format!("faster than {first}");
        let key = format!("{first}/{name}");
        columns.push(Column { against: Against::Tier(first), heading, key, values: quotients(0, engine) });
    }
    columns
}

/// The table of an engine's columns. Targets for means hold only for the `complete` set of kernels.
fn ratio_table(
    tier: Option<&str>,
    columns: &[Column<'_>],
    measured: &[Measured],
    complete: bool,
    checked: &mut Checked,
) -> Vec<Vec<String>> {
    let mut table = vec![vec!["kernel".to_owned()]];
    table[0].extend(columns.iter().map(|column| column.heading.clone()));
    let none = || "-".to_owned();
    for (i, row) in measured.iter().enumerate() {
        let mut cells = vec![row.kernel.clone()];
        for column in columns {
            let over = Over::Kernel(&row.kernel);
            let cell = column.values[i].map(|value| checked.cell(tier, over, column.against, value));
            cells.push(cell.unwrap_or_else(none));
        }
        table.push(cells);
    }
    if measured.len() > 1 {
        let mut cells = vec!["geometric mean".to_owned()];
        for column in columns {
            let cell = column.mean().map(|mean| {
                if complete && column.values.iter().all(Option::is_some) {
                    checked.cell(tier, Over::Mean, column.against, mean)
                } else {
                    format!("{mean:.2}x")
                }
            });
            cells.push(cell.unwrap_or_else(none));
        }
        table.push(cells);
    }
    table
}

/// The kernel and the peer's time, if that is so short that it says little.
fn short(row: &Measured, contestants: &[&Contestant]) -> Option<String> {
    let peer = contestants.iter().position(|contestant| contestant.name == SHORT_PEER)?;
    let cpu = row.figures[peer].as_ref()?.cpu;
    (cpu < SHORT).then(|| format!("{} ({})", row.kernel, report::time(cpu)))
}

/// A line for each contestant that failed in a kernel.
fn problems(contestants: &[&Contestant], measured: &[Measured]) -> Vec<String> {
    let mut problems = Vec::new();
    for row in measured {
        for (contestant, entry) in contestants.iter().zip(&row.entries) {
            if let Some(Err(why)) = entry {
                problems.push(format!("{} {}: {why}", row.kernel, contestant.name));
            }
        }
    }
    problems
}

/// The JSON of one kernel, the values in that `row` of the columns with it.
fn kernel_json(measured: &Measured, row: usize, contestants: &[&Contestant], columns: &[Column<'_>]) -> Json {
    let mut objects = Vec::new();
    for ((contestant, entry), figures) in contestants.iter().zip(&measured.entries).zip(&measured.figures) {
        let mut object = figures.as_ref().map(Figures::json).unwrap_or_default();
        if let Some(Err(why)) = entry {
            object.push(("error".into(), Json::Text(why.clone())));
        }
        objects.push((contestant.name.clone(), Json::Object(object)));
    }
    let mut ratios = Vec::new();
    let mut speed_ups = Vec::new();
    for column in columns {
        let Some(value) = column.values[row] else { continue };
        let fields = if matches!(column.against, Against::Tier(_)) { &mut speed_ups } else { &mut ratios };
        fields.push((column.key.clone(), Json::Number(value)));
    }
    Json::Object(vec![
        ("kernel".into(), Json::Text(measured.kernel.clone())),
        ("contestants".into(), Json::Object(objects)),
        ("ratios".into(), Json::Object(ratios)),
        ("speed_ups".into(), Json::Object(speed_ups)),
    ])
}
