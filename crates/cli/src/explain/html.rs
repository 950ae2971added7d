//! The report as a page that needs nothing else: no network, no files. Without scripts all but zooming into the flame graph works.

use std::time::Duration;

use inferno::flamegraph::Direction;
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use upshift::explain::{Compilation, FunctionReport, Level, LoopReport, Outcome, Remark, Topic};
use upshift::profile::sampler::{Detail, FrameKind};

use super::lines::{Line, lines};
use super::{Explained, ms, percent, used_codes};
use crate::profile::flame_graph;

/// How many functions the picture of tiers over time has.
const TIMELINE: usize = 40;
/// How wide it is, and the space for names before it, in pixels.
const WIDTH: f64 = 960.0;
const NAMES: f64 = 220.0;
/// How tall the window of the flame graph is at most, in pixels.
const TALLEST: u32 = 700;
/// The height of its rows.
const ROW: f64 = 18.0;

const STYLE: &str = "
:root { color-scheme: light dark; --interpreter: #e2574c; --baseline: #f2aa4c; --optimized: #6ebe69; --inlined: #a5d696;
  --host: #78a5dc; --collector: #be8ccd; --other: #a0a0a0; }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; }
h2 { margin-top: 2em; }
table { border-collapse: collapse; }
td, th { padding: 1px 8px; text-align: left; vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: flex; height: 22px; border-radius: 4px; overflow: hidden; }
.bar div { min-width: 1px; }
.source { font-family: ui-monospace, monospace; font-size: 13px; width: 100%; }
.source td { white-space: pre-wrap; padding: 0 8px; }
.source .no { color: #888; text-align: right; user-select: none; }
.tier { font-weight: bold; }
.remarks { font: 12px/1.4 system-ui, sans-serif; }
.remarks span { display: inline-block; margin: 1px 6px 1px 0; padding: 0 6px; border-radius: 8px; background: #8883; }
.remarks .cost, .remarks .tier { background: #f2aa4c55; font-weight: normal; } .remarks .exit { background: #e2574c55; }
.remarks .done { background: #6ebe6955; }
details { margin: 4px 0; } summary { cursor: pointer; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
iframe { border: 0; background: #fff; }
code { font-family: ui-monospace, monospace; }
";

/// Notes where tests can read it that the page is there, what went wrong, and how many frames the flame graph has.
const SCRIPT: &str = "
const page = document.documentElement.dataset;
window.addEventListener('error', e => { page.error = e.message; });
window.addEventListener('load', () => {
  const flame = document.getElementById('flame');
  page.frames = flame ? flame.contentDocument.querySelectorAll('#frames rect').length : 0;
  page.loaded = 'yes';
});
";

fn color(kind: FrameKind) -> &'static str {
    match kind {
        FrameKind::Interpreter => "var(--interpreter)",
        FrameKind::Baseline => "var(--baseline)",
        FrameKind::Optimized => "var(--optimized)",
        FrameKind::Inlined => "var(--inlined)",
        FrameKind::Host | FrameKind::Foreign => "var(--host)",
        FrameKind::Collector => "var(--collector)",
        _ => "var(--other)",
    }
}

fn level_color(level: Level) -> &'static str {
    color(match level {
        Level::Interpreter => FrameKind::Interpreter,
        Level::Baseline => FrameKind::Baseline,
        Level::Optimized => FrameKind::Optimized,
    })
}

/// The whole report.
pub fn html(explained: &Explained<'_>) -> String {
    let report = explained.report;
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "upshift explain: " (explained.program) }
                style { (PreEscaped(STYLE)) }
                script { (PreEscaped(SCRIPT)) }
            }
            body {
                h1 { (explained.program) }
                p {
                    (ms(report.elapsed)) " in " (report.profile.samples()) " samples; "
                    (report.functions.len()) " functions ran, " (report.idle) " did not. "
                    "Compiling took " (ms(report.baseline_time)) " in the baseline compiler and "
                    (ms(report.optimizing_time)) " in the optimizing compiler"
                    @if report.sync { ", which the program waited for" } @else { ", on another thread" }
                    "; the collector took " (ms(report.collector_time)) "."
                }
                (times(explained))
                h2 { "Tiers over time" }
                (timeline(explained))
                @for name in explained.names() { (source(explained, name)) }
                h2 { "Functions" }
                @for function in &report.functions { (one(explained, function)) }
                (flame(explained))
                (legend(explained))
            }
        }
    };
    page.into_string()
}

fn times(explained: &Explained<'_>) -> Markup {
    let rows = &explained.report.time;
    markup! {
        h2 { "Where the time went" }
        div.bar {
            @for row in rows {
                div style={ "width:" (100.0 * row.share) "%;background:" (color(row.kind)) }
                    title={ (explained.row_name(row)) ": " (percent(row.share)) } {}
            }
        }
        table id="times" {
            @for row in rows {
                tr {
                    td.number data-share=(row.share) { (percent(row.share)) }
                    td style={ "color:" (color(row.kind)) } { "■" }
                    td { (explained.row_name(row)) }
                }
            }
        }
    }
}

fn timeline(explained: &Explained<'_>) -> Markup {
    let report = explained.report;
    let functions: Vec<&FunctionReport> = report
        .functions
        .iter()
        .filter(|f| !f.steps.is_empty() || !f.compilations.is_empty())
        .take(TIMELINE)
        .collect();
    let times = functions.iter().flat_map(|f| f.steps.iter().map(|s| s.at));
    let end = times.chain([report.elapsed, Duration::from_micros(1)]).max().unwrap_or_default();
    let x = |at: Duration| NAMES + (WIDTH - NAMES) * at.as_secs_f64() / end.as_secs_f64();
    let height = ROW * (functions.len() as f64 + 1.5);
    markup! {
        @if functions.is_empty() { p { "Everything stayed in the interpreter." } }
        @else {
            svg id="timeline" viewBox={ "0 0 " (WIDTH) " " (height) } width="100%" role="img" {
                @for (i, f) in functions.iter().enumerate() {
                    @let y = ROW * i as f64;
                    text x="0" y={ (y + 13.0) } { (short(&explained.name(f), 34)) }
                    @for (from, to, level) in segments(f, end) {
                        rect x=(x(from)) y=(y + 2.0) width=(x(to) - x(from)) height=(ROW - 4.0)
                            fill=(level_color(level)) {
                            title { (explained.name(f)) ": " (level.name()) " from " (ms(from)) " to " (ms(to)) }
                        }
                    }
                    @for c in f.compilations.iter().filter(|c| c.of_loop.is_some()) {
                        @if let Some(at) = c.outcome.installed() {
                            @let to = c.retired.or(c.evicted).unwrap_or(end).max(at);
                            rect x=(x(at)) y=(y + 6.0) width=(x(to) - x(at)) height="6"
                                fill=(level_color(Level::Optimized)) stroke="#0004" {
                                title { (explained.name(f)) ": " (what(f, c)) " optimized from " (ms(at)) " to " (ms(to)) }
                            }
                        }
                    }
                }
                text x=(NAMES) y=(height - 6.0) { "0" }
                text x=(WIDTH) y=(height - 6.0) text-anchor="end" { (ms(end)) }
            }
            p {
                @for level in [Level::Interpreter, Level::Baseline, Level::Optimized] {
                    span style={ "color:" (level_color(level)) } { "■" } " " (level.name()) " "
                }
                "(narrow: a loop alone)"
            }
        }
    }
}

/// From when to when a function had code in which tier.
fn segments(f: &FunctionReport, end: Duration) -> Vec<(Duration, Duration, Level)> {
    let mut all = Vec::new();
    let (mut from, mut level) = (Duration::ZERO, Level::Interpreter);
    for step in &f.steps {
        all.push((from, step.at, level));
        (from, level) = (step.at, step.level);
    }
    all.push((from, end.max(from), level));
    all
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_string();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

fn source(explained: &Explained<'_>, name: &str) -> Markup {
    let Some(text) = explained.source(name) else { return markup! {} };
    let found = lines(explained, name);
    let total = explained.report.profile.samples().max(1) as f64;
    markup! {
        h2 { (name) }
        table.source {
            @for (i, content) in text.lines().enumerate() {
                @let line = found.get(&(i as u32 + 1));
                @let share = line.map_or(0.0, |l| l.samples as f64 / total);
                tr style={ "background:rgba(226,87,76," (0.5 * share.sqrt()) ")" } {
                    td.number { @if share > 0.0 { (percent(share)) } }
                    td.tier {
                        @if let Some(level) = line.and_then(Line::level) {
                            span style={ "color:" (level_color(level)) } title=(level.name()) { "■" }
                        }
                    }
                    td.no { (i + 1) }
                    td {
                        (content)
                        @if let Some(line) = line { (remarks_of(line)) }
                    }
                }
            }
        }
    }
}

fn remarks_of(line: &Line) -> Markup {
    markup! {
        @if !line.loops.is_empty() || !line.remarks.is_empty() {
            div.remarks {
                @for text in &line.loops { span { (text) } }
                @for ((_, code, detail), (count, values)) in &line.remarks {
                    span class=(code.topic().name()) title={ (code.meaning()) ". " (code.hint()) } {
                        (super::note(*code, detail, *count, values))
                    }
                }
            }
        }
    }
}

fn what(f: &FunctionReport, c: &Compilation) -> String {
    super::what(f, c)
}

fn one(explained: &Explained<'_>, f: &FunctionReport) -> Markup {
    markup! {
        details open[f.share >= 0.05] {
            summary {
                strong { (explained.name(f)) } " " (percent(f.share)) ", " (super::tier(f))
                @if let Some((source, first, last)) = &f.lines { ", " (source) ":" (first) "–" (last) }
            }
            ul {
                @for b in &f.baseline {
                    li {
                        "baseline at " (ms(b.at)) ": " (b.bytes) " bytes"
                        @if let Some(time) = b.time { ", in " (ms(time)) }
                    }
                }
                @for c in &f.compilations { (compilation(f, c)) }
                @for into in f.inlined_into.iter().take(8) {
                    li {
                        "inlined into " (into.function)
                        @if let Some(p) = &into.place { " at " (p.source) ":" (p.line) }
                    }
                }
                @for l in &f.loops { (of_loop(l)) }
                @for r in &f.remarks { li { (remark(r)) } }
            }
        }
    }
}

fn compilation(f: &FunctionReport, c: &Compilation) -> Markup {
    markup! {
        li {
            @match c.outcome {
                Outcome::Installed { at, time, bytes, instructions } => {
                    "optimized " (what(f, c)) " at " (ms(at)) ": " (bytes) " bytes, " (instructions) " instructions, in "
                    (ms(time)) "; " (super::saved(c))
                }
                Outcome::Refused { at, code, .. } => {
                    (what(f, c)) " refused at " (ms(at)) ": " code { (code.text()) } " " (code.meaning())
                }
                _ => { (what(f, c)) " asked for at " (ms(c.asked)) ", not ready when the run ended" }
            }
            @if let Some(at) = c.retired { "; given up at " (ms(at)) ": assumptions failed" }
            @if let Some(at) = c.evicted { "; given up at " (ms(at)) " for room" }
            ul {
                @for r in c.remarks.iter().filter(|r| r.code.topic() == Topic::Exit) { li { (remark(r)) } }
            }
        }
    }
}

fn of_loop(l: &LoopReport) -> Markup {
    markup! {
        li {
            "loop"
            @if let Some((_, first, last)) = &l.lines { " at lines " (first) "–" (last) }
            ": " (percent(l.share)) ", " (l.level.name())
            @if let Some(at) = l.since { " since " (ms(at)) }
            @for r in l.remarks.iter().filter(|r| r.place.is_none()) { "; " (remark(r)) }
        }
    }
}

fn remark(r: &Remark) -> Markup {
    markup! {
        code { (super::short_remark(r)) }
        @if let Some(p) = &r.place { " line " (p.line) }
        ": " (r.code.meaning())
        @if !r.code.hint().is_empty() { " (" (r.code.hint()) ")" }
    }
}

/// The flame graph, with its own script.
fn flame(explained: &Explained<'_>) -> Markup {
    let profile = &explained.report.profile;
    let detail = Detail { tiers: true, lines: false };
    let folded = profile.folded(detail);
    let mut svg = Vec::new();
    let drawn = |svg| flame_graph(profile, detail, &folded, explained.program, Direction::Inverted, svg);
    if folded.is_empty() || drawn(&mut svg).is_err() {
        return markup! { h2 { "Flame graph" } p { "The run was too short for samples." } };
    }
    let svg = String::from_utf8_lossy(&svg);
    // A page has no XML prologue.
    let svg = &svg[svg.find("<svg").unwrap_or(0)..];
    let height = svg.split_once(" height=\"").and_then(|(_, rest)| rest.split_once('"'));
    let height = height.and_then(|h| h.0.parse::<u32>().ok()).map_or(TALLEST, |h| h.min(TALLEST));
    markup! {
        h2 { "Flame graph" }
        // Its script and style take the first picture of their page for theirs, so it has a page of its own.
        iframe id="flame" title="flame graph" width="100%" height={ (height) "px" }
            srcdoc={ "<!DOCTYPE html><style>body { margin: 0 } body > svg { width: 100% }</style>" (svg) } {}
    }
}

fn legend(explained: &Explained<'_>) -> Markup {
    markup! {
        h2 { "Codes" }
        table {
            @for code in used_codes(explained.report) {
                tr { td { code { (code.text()) } } td { (code.meaning()) } td { (code.hint()) } }
            }
        }
    }
}
