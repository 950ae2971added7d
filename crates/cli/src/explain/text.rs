//! The report for the terminal: where the time went, the source with shares and remarks on its lines, and each function.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use upshift::explain::{Code, Compilation, FunctionReport, Level, Outcome, Remark, Topic};

use super::{Explained, letter, row_name};

/// The most rows of the table of times that are shown one by one.
const ROWS: usize = 20;

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

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
    out.push_str("\nWhere the time went\n");
    for row in report.time.iter().take(ROWS) {
        let _ = writeln!(out, "  {:>6}  {}", percent(row.share), row_name(row.kind, &row.function));
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
        one(&mut out, function);
    }
    out
}

/// What stands on one line of a source.
#[derive(Default)]
struct Line {
    samples: u64,
    levels: Vec<Level>,
    remarks: BTreeMap<(usize, Code, String), u64>,
    loops: Vec<String>,
}

fn source(out: &mut String, explained: &Explained<'_>, name: &str) {
    let Some(text) = explained.source(name) else { return };
    let report = explained.report;
    let mut lines: BTreeMap<u32, Line> = BTreeMap::new();
    for (frame, samples) in report.profile.innermost() {
        if frame.source.as_deref() == Some(name) && frame.start < frame.end {
            let line = lines.entry(frame.line).or_default();
            line.samples += samples;
        }
    }
    for function in &report.functions {
        for l in &function.loops {
            if let Some((source, first, _)) = &l.lines
                && **source == *name
            {
                let line = lines.entry(*first).or_default();
                line.levels.push(l.level);
                let since = l.since.map_or(String::new(), |at| format!(" since {}", ms(at)));
                line.loops.push(format!("loop: {}{since}, {}", l.level.name(), percent(l.share)));
            }
        }
        if let Some((source, first, _)) = &function.lines
            && **source == *name
        {
            lines.entry(*first).or_default().levels.push(function.level);
        }
        for compilation in &function.compilations {
            for remark in &compilation.remarks {
                let Some(place) = remark.place.as_ref().filter(|p| *p.source == *name) else { continue };
                let line = lines.entry(place.line).or_default();
                let key = (order(remark.code.topic()), remark.code, remark.detail.clone());
                let count = line.remarks.entry(key).or_default();
                *count = (*count).max(remark.count);
            }
        }
    }
    let total = report.profile.samples().max(1) as f64;
    let _ = writeln!(out, "\n{name}");
    for (i, content) in text.lines().enumerate() {
        let number = i as u32 + 1;
        let line = lines.get(&number);
        let share = line.filter(|l| l.samples > 0).map(|l| percent(l.samples as f64 / total));
        let level = line.and_then(|l| l.levels.iter().max()).map_or(" ", |&l| letter(l));
        let _ = writeln!(out, "{:>6} {level} {number:4} | {content}", share.unwrap_or_default());
        let Some(line) = line else { continue };
        for text in &line.loops {
            let _ = writeln!(out, "              |   ^ {text}");
        }
        for ((_, code, detail), count) in &line.remarks {
            let _ = writeln!(out, "              |   ^ {}", remark(*code, detail, *count, &[]));
        }
    }
}

/// Topics in the order in which they are shown.
fn order(topic: Topic) -> usize {
    Topic::ALL.iter().position(|t| *t == topic).unwrap_or(Topic::ALL.len())
}

fn remark(code: Code, detail: &str, count: u64, values: &[String]) -> String {
    let mut text = code.text().to_string();
    if !detail.is_empty() {
        let _ = write!(text, " ({detail})");
    }
    if count > 1 {
        let _ = write!(text, " x{count}");
    }
    let _ = write!(text, ": {}", code.meaning());
    if !values.is_empty() {
        let _ = write!(text, "; it worked on {}", values.join(", "));
    }
    if code.topic() != Topic::Done && !code.hint().is_empty() {
        let _ = write!(text, "; {}", code.hint());
    }
    text
}

fn one(out: &mut String, f: &FunctionReport) {
    let place = f.lines.as_ref().map_or(String::new(), |l| format!(" {}:{}-{}", l.0, l.1, l.2));
    let _ = writeln!(out, "\n  {}{place}: {}, {}", f.name, f.level.name(), percent(f.share));
    for b in &f.baseline {
        let time = b
            .time
            .map_or("by another instance".to_string(), |t| format!("in {:.1} us", t.as_secs_f64() * 1e6));
        let _ = writeln!(out, "    baseline at {}: {} bytes, {time}", ms(b.at), b.bytes);
    }
    for c in &f.compilations {
        compilation(out, f, c);
    }
    for into in f.inlined_into.iter().take(8) {
        let at = into.place.as_ref().map_or(String::new(), |p| format!(" at {}:{}", p.source, p.line));
        let _ = writeln!(out, "    inlined into {}{at}", into.function);
    }
    for r in &f.remarks {
        let _ = writeln!(out, "    {}", remark(r.code, &r.detail, r.count, &r.values));
    }
}

fn compilation(out: &mut String, f: &FunctionReport, c: &Compilation) {
    let what = match c.of_loop.and_then(|l| f.loops[l].lines.as_ref()) {
        Some((_, first, _)) => format!("loop at line {first}"),
        None if c.of_loop.is_some() => "loop".to_string(),
        None => "function".to_string(),
    };
    match c.outcome {
        Outcome::Installed { at, time, bytes, instructions } => {
            let _ = writeln!(
                out,
                "    optimized {what} at {}: {bytes} bytes, {instructions} instructions, in {}; asked at {}",
                ms(at),
                ms(time),
                ms(c.asked)
            );
            let _ = writeln!(
                out,
                "      calls inlined {} of {}, checks left {} of {}, allocations left {} of {}",
                c.calls.1, c.calls.0, c.checks.1, c.checks.0, c.allocations.1, c.allocations.0
            );
        }
        Outcome::Refused { at, code, .. } => {
            let _ = writeln!(out, "    {what} refused at {}: {}", ms(at), remark(code, "", 1, &[]));
        }
        _ => {
            let _ = writeln!(
                out,
                "    {what} asked for at {}: {}",
                ms(c.asked),
                remark(Code::Pending, "", 1, &[])
            );
        }
    }
    for (when, word) in [(c.retired, "failed assumptions"), (c.evicted, "room")] {
        if let Some(at) = when {
            let _ = writeln!(out, "      given up at {} for {word}", ms(at));
        }
    }
    for r in c.remarks.iter().filter(|r| r.code.topic() == Topic::Exit) {
        exit(out, r);
    }
}

fn exit(out: &mut String, r: &Remark) {
    let at = r.place.as_ref().map_or(String::new(), |p| format!(" line {}", p.line));
    let _ = writeln!(out, "      left{at}: {}", remark(r.code, &r.detail, r.count, &r.values));
}
