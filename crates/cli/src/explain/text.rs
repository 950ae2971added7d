//! The report for the terminal: where the time went, the source with shares and remarks on its lines, each function, and what the
//! codes mean.

use std::fmt::Write;

use upshift::explain::{Compilation, FunctionReport, Outcome, Remark, Topic};

use super::lines::{Line, lines};
use super::{Explained, letter, ms, note, percent, saved, short_remark, tier, used_codes, what};

/// The most rows of the table of times that are shown one by one.
const ROWS: usize = 20;
/// With fewer samples the report says that shares are rough.
const FEW: u64 = 20;
/// The most places that are shown where a function is inlined.
const PLACES: usize = 8;

/// The whole report.
pub fn text(explained: &Explained<'_>) -> String {
    let mut out = String::new();
    let report = explained.report;
    let samples = report.profile.samples();
    let _ = writeln!(
        out,
        "{}: {} in {samples} samples; {} functions ran, {} did not",
        explained.program,
        ms(report.elapsed),
        report.functions.len(),
        report.idle
    );
    let _ = writeln!(
        out,
        "compiling: baseline {}, optimizing {} ({}); collector {}",
        ms(report.baseline_time),
        ms(report.optimizing_time),
        if report.sync { "the program waited" } else { "on another thread" },
        ms(report.collector_time)
    );
    if samples < FEW {
        out.push_str("the run was short for samples: shares are rough, all else is exact\n");
    }
    out.push_str("\nWhere the time went\n");
    for row in report.time.iter().take(ROWS) {
        let _ = writeln!(out, "  {:>6}  {}", percent(row.share), explained.row_name(row));
    }
    if report.time.len() > ROWS {
        let rest: f64 = report.time[ROWS..].iter().map(|r| r.share).sum();
        let _ = writeln!(out, "  {:>6}  {} more", percent(rest), report.time.len() - ROWS);
    }
    for name in explained.names() {
        source(&mut out, explained, name);
    }
    out.push_str("\nFunctions, most time first\n");
    for function in &report.functions {
        one(&mut out, explained, function);
    }
    let codes = used_codes(report);
    if !codes.is_empty() {
        out.push_str("\nCodes\n");
    }
    for code in codes {
        let _ = write!(out, "  {}: {}", code.text(), code.meaning());
        let _ = match code.hint() {
            "" => writeln!(out),
            hint => writeln!(out, "; {hint}"),
        };
    }
    out
}

fn source(out: &mut String, explained: &Explained<'_>, name: &str) {
    let Some(text) = explained.source(name) else { return };
    let found = lines(explained, name);
    let total = explained.report.profile.samples().max(1) as f64;
    let _ = writeln!(
        out,
        "\n{name}    (I interpreter, B baseline, O optimized; + done, - costs, ! left machine code)"
    );
    for (i, content) in text.lines().enumerate() {
        let number = i as u32 + 1;
        let line = found.get(&number);
        let share = line.filter(|l| l.samples > 0).map(|l| percent(l.samples as f64 / total));
        let level = line.and_then(Line::level).map_or(" ", letter);
        let _ = writeln!(out, "{:>6} {level} {number:4} | {content}", share.unwrap_or_default());
        let Some(line) = line else { continue };
        for text in &line.loops {
            let _ = writeln!(out, "              |   > {text}");
        }
        for (topic, mark) in [(Topic::Done, '+'), (Topic::Cost, '-'), (Topic::Exit, '!')] {
            let of = line.remarks.iter().filter(|r| r.0.1.topic() == topic);
            let notes: Vec<String> =
                of.map(|((_, code, detail), (count, values))| note(*code, detail, *count, values)).collect();
            if !notes.is_empty() {
                let _ = writeln!(out, "              |   {mark} {}", notes.join("; "));
            }
        }
    }
}

fn one(out: &mut String, explained: &Explained<'_>, f: &FunctionReport) {
    let place = f.lines.as_ref().map_or(String::new(), |l| format!(" {}:{}-{}", l.0, l.1, l.2));
    let _ = writeln!(out, "\n  {}{place}: {}, {}", explained.name(f), tier(f), percent(f.share));
    for b in &f.baseline {
        let time = b.time.map_or("made by another instance".to_string(), |t| format!("in {}", ms(t)));
        let _ = writeln!(
            out,
            "    baseline at {} after {} ({}): {} bytes, {time}",
            ms(b.at),
            b.heat,
            b.cause.name(),
            b.bytes
        );
    }
    for c in &f.compilations {
        compilation(out, f, c);
    }
    for into in f.inlined_into.iter().take(PLACES) {
        let at = into.place.as_ref().map_or(String::new(), |p| format!(" at {}:{}", p.source, p.line));
        let _ = writeln!(out, "    inlined into {}{at}", into.function);
    }
    if f.inlined_into.len() > PLACES {
        let _ = writeln!(out, "    inlined in {} more places", f.inlined_into.len() - PLACES);
    }
    for r in &f.remarks {
        let _ = writeln!(out, "    {}", remark(r));
    }
}

/// A remark about a function, a loop or a way out.
fn remark(r: &Remark) -> String {
    let at = r.place.as_ref().map_or(String::new(), |p| format!(" at line {}", p.line));
    format!("{}{at}: {}", short_remark(r), r.code.meaning())
}

fn compilation(out: &mut String, f: &FunctionReport, c: &Compilation) {
    let what = what(f, c);
    match c.outcome {
        Outcome::Installed { at, time, bytes, instructions } => {
            let _ = writeln!(
                out,
                "    optimized {what} at {}: {bytes} bytes, {instructions} instructions, in {}; asked for at {}",
                ms(at),
                ms(time),
                ms(c.asked)
            );
            let _ = writeln!(out, "      {}", saved(c));
        }
        Outcome::Refused { at, code, .. } => {
            let _ = writeln!(out, "    {what} refused at {}: {}: {}", ms(at), code.text(), code.meaning());
        }
        _ => {
            let _ = writeln!(out, "    {what} asked for at {}: not ready when the run ended", ms(c.asked));
        }
    }
    for (when, why) in [(c.retired, "assumptions failed"), (c.evicted, "for room")] {
        if let Some(at) = when {
            let _ = writeln!(out, "      given up at {}: {why}", ms(at));
        }
    }
    for r in c.remarks.iter().filter(|r| r.code.topic() == Topic::Exit) {
        let _ = writeln!(out, "      {}", remark(r));
    }
}
