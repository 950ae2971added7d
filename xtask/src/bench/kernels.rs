//! The kernels of `benches/kernels`: same work in each language, same checksum, CPU time as a multiple of `gcc -O2`.
//!
//! A run without filters is the whole report: start-up and the time to the first result of a 10,000-line program come
//! with it. Besides the terminal, figures go to `target/bench/` as JSON, as tables in Markdown and as a page with
//! charts; those of a part of it to `target/bench/part/`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::{self, Run};
use super::contestant::Contestant;
use super::json::Json;
use super::progress::Progress;
use super::report::{self, Figures};
use super::summary::{BASE, Summary};
use super::targets::{Against, Checked, Over};
use super::{Options, Outcome, lines, page, startup};
use crate::root;

/// Where the base takes less than this, ratios to it are rough: starting and ending a process counts.
const SHORT: f64 = 0.05;

/// Who takes more CPU time than this in the first round runs no second, unless `--patience` says otherwise: the figure is
/// good enough, and the others wait.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs of one contestant, or why they do not count; `None` if it does not take part.
type Entry = Option<Result<Vec<Run>, Lost>>;

/// Why there is no figure.
struct Lost {
    why: String,
    /// A peer that took too long says something about the peer. Everything else is a failure of this command.
    failure: bool,
}

/// One kernel, measured: an entry for each contestant, in their order, the engine first.
pub struct Measured {
    pub kernel: String,
    entries: Vec<Entry>,
    pub figures: Vec<Option<Figures>>,
}

impl Measured {
    /// What a table shows where there are no figures.
    pub fn gap(&self, contestant: usize) -> &'static str {
        match &self.entries[contestant] {
            Some(Err(lost)) if lost.failure => "failed",
            Some(Err(_)) => "too slow",
            _ => "-",
        }
    }
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
    let progress = Progress::new(kernels.len() * repeat * contestants.len());
    let patience = options.patience.unwrap_or(PATIENCE);
    let mut measured = Vec::new();
    for (kernel, directory) in &kernels {
        measured.push(measure(kernel, directory, &contestants, repeat, patience, &progress));
        progress.done(&one_kernel(&measured[measured.len() - 1], &contestants));
    }
    progress.finish();
    // The rest of the whole report.
    let (mut start, mut first_result) = (Vec::new(), Vec::new());
    if options.filters.is_empty() && !options.upshift.is_empty() {
        eprintln!("start-up and a program of 10,000 lines ..");
        start = startup::measure(&contestants, 20)?;
        first_result = lines::measure_short(&options.upshift, repeat)?;
    }
    let summary = Summary {
        contestants: &contestants,
        engines: options.upshift.len(),
        measured: &measured,
        start: &start,
        first_result: &first_result,
    };
    report(options, &summary, repeat)
}

/// What a kernel came to, on one line.
fn one_kernel(row: &Measured, contestants: &[&Contestant]) -> String {
    let time = |(index, contestant): (usize, &&Contestant)| {
        let time = row.figures[index].as_ref().map(|figures| report::time(figures.cpu));
        format!("{} {}", contestant.short_name(), time.unwrap_or_else(|| row.gap(index).to_owned()))
    };
    let times: Vec<_> = contestants.iter().enumerate().map(time).collect();
    format!("{}: {}", row.kernel, times.join(", "))
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
fn measure(
    kernel: &str,
    directory: &Path,
    contestants: &[&Contestant],
    repeat: usize,
    patience: Duration,
    progress: &Progress,
) -> Measured {
    let failure = |why| Lost { why, failure: true };
    let mut prepared = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for contestant in contestants {
        let part = contestant.takes_part(kernel);
        let ready = part.then(|| contestant.prepare(&contestant.source(directory, kernel)));
        let (path, entry) = match ready {
            None => (PathBuf::new(), None),
            Some(Ok(path)) => (path, Some(Ok(Vec::new()))),
            Some(Err(why)) => (PathBuf::new(), Some(Err(failure(why)))),
        };
        prepared.push(path);
        entries.push(entry);
    }
    for round in 0..repeat {
        for turn in 0..contestants.len() {
            let who = (round + turn) % contestants.len();
            progress.step(kernel, &contestants[who].name);
            if let Some(Ok(runs)) = &mut entries[who]
                && runs.first().is_none_or(|run| run.cpu < patience)
            {
                match run_once(contestants[who], &prepared[who]) {
                    Ok(run) => runs.push(run),
                    Err(lost) => entries[who] = Some(Err(lost)),
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
            *entry = Err(failure(format!("printed {}, not {}", one_line(&wrong.stdout), one_line(wanted))));
        }
    }
    let figures = entries.iter().map(|entry| Figures::of(entry.as_ref()?.as_ref().ok()?)).collect();
    Measured { kernel: kernel.to_owned(), entries, figures }
}

fn run_once(contestant: &Contestant, prepared: &Path) -> Result<Run, Lost> {
    let run = child::run(&mut contestant.command(prepared))
        .map_err(|e| Lost { why: e.to_string(), failure: true })?;
    let failure = !run.timed_out || contestant.is_engine();
    run.checked().map_err(|why| Lost { why, failure })
}

/// A short text for a message.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 60 { line } else { line.chars().take(57).chain("...".chars()).collect() }
}

/// Prints the tables, writes the files, and says whether every answer was right.
fn report(options: &Options, summary: &Summary<'_>, repeat: usize) -> Outcome {
    println!("Medians of {repeat} interleaved runs");
    println!("{}", report::machine());
    println!("{}", options.versions().join("\n"));
    for (title, rows) in summary.tables() {
        println!("\n{title}:\n");
        report::print_table(&rows);
    }
    let short: Vec<_> = summary.measured.iter().filter_map(|row| short(row, summary)).collect();
    if !short.is_empty() {
        let limit = report::time(SHORT);
        println!("\n{BASE} takes under {limit}, so that ratios to it are rough: {}", short.join(", "));
    }
    let checked = check(summary, options.filters.is_empty());
    if checked.count > 0 {
        println!("\n{} targets checked, {} missed", checked.count, checked.missed.len());
    }
    report::print_list("Targets missed", &checked.missed);
    report::print_list("Not in the figures", &lost(summary, false));
    let problems = lost(summary, true);
    report::print_list("Failed", &problems);

    let kernels = summary.measured.iter().map(|row| kernel_json(row, summary));
    let figures = |all: &[(String, Figures)]| {
        Json::Object(all.iter().map(|(name, f)| (name.clone(), Json::Object(f.json()))).collect())
    };
    let more = vec![
        ("geometric_means".to_owned(), means_json(summary)),
        ("start_up".to_owned(), figures(summary.start)),
        ("first_result_of_10000_lines".to_owned(), figures(summary.first_result)),
        ("targets_missed".to_owned(), Json::List(checked.missed.into_iter().map(Json::Text).collect())),
    ];
    let document = options.document("kernels", Json::List(kernels.collect()), more);
    let directory = super::reports(options.part)?;
    fs::write(directory.join("results.json"), format!("{document}\n"))?;
    fs::write(directory.join("tables.md"), summary.markdown())?;
    let html = directory.join("index.html");
    fs::write(&html, page::page(summary, &options.versions(), repeat))?;
    println!("\nWritten: {}, and results.json and tables.md beside it", html.display());
    if let Some(trouble) = page::look_at(&html)? {
        return Err(trouble.into());
    }
    options.write(&document)?;
    Ok(problems.is_empty())
}

/// Compares the quotients with their targets. Those for means hold only for the `complete` set of kernels.
fn check(summary: &Summary<'_>, complete: bool) -> Checked {
    let mut checked = Checked::default();
    let first = summary.contestants.first();
    for (engine, contestant) in summary.contestants.iter().enumerate().take(summary.engines) {
        let tier = contestant.tier.as_deref();
        for (other, peer) in summary.contestants.iter().enumerate() {
            let (upper, lower, against) = match first {
                _ if other >= summary.engines => (engine, other, Against::Peer(&peer.name)),
                Some(first) if other == 0 && engine > 0 => (0, engine, Against::Tier(first.short_name())),
                _ => continue,
            };
            for row in summary.measured {
                if let Some(value) = Summary::quotient(row, upper, lower) {
                    checked.check(tier, Over::Kernel(&row.kernel), against, value);
                }
            }
            let everywhere =
                summary.measured.iter().all(|row| Summary::quotient(row, upper, lower).is_some());
            if let (true, Some(mean)) = (complete && everywhere, summary.mean(upper, lower)) {
                checked.check(tier, Over::Mean, against, mean);
            }
        }
    }
    checked
}

/// The kernel and the base's time, if that is so short that it says little.
fn short(row: &Measured, summary: &Summary<'_>) -> Option<String> {
    let cpu = row.figures[summary.base()?].as_ref()?.cpu;
    (cpu < SHORT).then(|| format!("{} ({})", row.kernel, report::time(cpu)))
}

/// A line for each contestant without figures in a kernel: those that failed, or those that were only too slow.
fn lost(summary: &Summary<'_>, failures: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for row in summary.measured {
        for (contestant, entry) in summary.contestants.iter().zip(&row.entries) {
            if let Some(Err(lost)) = entry
                && lost.failure == failures
            {
                lines.push(format!("{} {}: {}", row.kernel, contestant.name, lost.why));
            }
        }
    }
    lines
}

/// The JSON of one kernel: everyone's figures, and everyone's time over that of the base.
fn kernel_json(row: &Measured, summary: &Summary<'_>) -> Json {
    let mut objects = Vec::new();
    let mut ratios = Vec::new();
    for (index, contestant) in summary.contestants.iter().enumerate() {
        let mut object = row.figures[index].as_ref().map(Figures::json).unwrap_or_default();
        if let Some(Err(lost)) = &row.entries[index] {
            object.push(("error".into(), Json::Text(lost.why.clone())));
        }
        objects.push((contestant.name.clone(), Json::Object(object)));
        if let Some(value) = summary.base().and_then(|base| Summary::quotient(row, index, base)) {
            ratios.push((contestant.name.clone(), Json::Number(value)));
        }
    }
    Json::Object(vec![
        ("kernel".into(), Json::Text(row.kernel.clone())),
        ("contestants".into(), Json::Object(objects)),
        (format!("ratios_to_{BASE}"), Json::Object(ratios)),
    ])
}

/// Geometric means of everyone's time over everyone else's.
fn means_json(summary: &Summary<'_>) -> Json {
    let row = |upper: usize| {
        let names = summary.contestants.iter().enumerate();
        let means = names.filter(|(lower, _)| *lower != upper).filter_map(|(lower, contestant)| {
            Some((contestant.name.clone(), Json::Number(summary.mean(upper, lower)?)))
        });
        Json::Object(means.collect())
    };
    let names = summary.contestants.iter().enumerate();
    Json::Object(names.map(|(upper, contestant)| (contestant.name.clone(), row(upper))).collect())
}
