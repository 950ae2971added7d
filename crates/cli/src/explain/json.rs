//! The report for programs: one JSON object.

use std::time::Duration;

use serde_json::{Value, json};
use upshift::explain::{Compilation, FunctionReport, LoopReport, Outcome, Place, Remark};

use super::{Explained, row_name};

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The whole report.
pub fn json(explained: &Explained<'_>) -> Value {
    let report = explained.report;
    let time: Vec<Value> = report
        .time
        .iter()
        .map(|row| {
            json!({
                "name": explained.row_name(row),
                "kind": row.kind.name(),
                "function": &*row.function,
                "samples": row.samples,
                "share": row.share,
            })
        })
        .collect();
    let stacks: Vec<Value> = report
        .profile
        .stacks()
        .map(|(stack, samples)| {
            let frames: Vec<Value> = stack
                .into_iter()
                .map(
                    |f| json!({"name": row_name(f.kind, &f.function), "kind": f.kind.name(), "line": f.line}),
                )
                .collect();
            json!({"frames": frames, "samples": samples})
        })
        .collect();
    json!({
        "version": 1,
        "program": explained.program,
        "elapsedMs": ms(report.elapsed),
        "samples": report.profile.samples(),
        "frequency": report.profile.frequency(),
        "baselineCompilerMs": ms(report.baseline_time),
        "optimizingCompilerMs": ms(report.optimizing_time),
        "waitedForCompiler": report.sync,
        "collectorMs": ms(report.collector_time),
        "functionsNotRun": report.idle,
        "time": time,
        "functions": report.functions.iter().map(function).collect::<Vec<_>>(),
        "stacks": stacks,
    })
}

fn lines(lines: &Option<(std::sync::Arc<str>, u32, u32)>) -> Value {
    lines.as_ref().map_or(Value::Null, |l| json!({"file": &*l.0, "first": l.1, "last": l.2}))
}

fn place(place: &Place) -> Value {
    json!({
        "file": &*place.source,
        "line": place.line,
        "column": place.column,
        "start": place.start,
        "end": place.end,
    })
}

fn remark(r: &Remark) -> Value {
    json!({
        "code": r.code.text(),
        "topic": r.code.topic().name(),
        "meaning": r.code.meaning(),
        "hint": r.code.hint(),
        "detail": r.detail,
        "count": r.count,
        "values": r.values,
        "place": r.place.as_ref().map(place),
    })
}

fn remarks(all: &[Remark]) -> Vec<Value> {
    all.iter().map(remark).collect()
}

fn function(f: &FunctionReport) -> Value {
    let baseline: Vec<Value> = f
        .baseline
        .iter()
        .map(|b| {
            json!({
                "atMs": ms(b.at),
                "cause": b.cause.name(),
                "heat": b.heat,
                "bytes": b.bytes,
                "compileMs": b.time.map(ms),
            })
        })
        .collect();
    let inlined: Vec<Value> = f
        .inlined_into
        .iter()
        .map(|i| json!({"function": &*i.function, "place": i.place.as_ref().map(place)}))
        .collect();
    json!({
        "number": f.number,
        "name": &*f.name,
        "lines": lines(&f.lines),
        "tier": f.level.name(),
        "steps": f.steps.iter().map(|s| json!({"atMs": ms(s.at), "tier": s.level.name()})).collect::<Vec<_>>(),
        "heat": f.heat,
        "samples": {
            "interpreter": f.samples[0],
            "baseline": f.samples[1],
            "optimized": f.samples[2],
            "inlined": f.samples[3],
        },
        "share": f.share,
        "baseline": baseline,
        "compilations": f.compilations.iter().map(compilation).collect::<Vec<_>>(),
        "inlinedInto": inlined,
        "loops": f.loops.iter().map(of_loop).collect::<Vec<_>>(),
        "remarks": remarks(&f.remarks),
    })
}

fn compilation(c: &Compilation) -> Value {
    let outcome = match c.outcome {
        Outcome::Installed { at, time, bytes, instructions } => json!({
            "outcome": "installed",
            "atMs": ms(at),
            "compileMs": ms(time),
            "bytes": bytes,
            "instructions": instructions,
        }),
        Outcome::Refused { at, time, code } => json!({
            "outcome": "refused",
            "atMs": ms(at),
            "compileMs": ms(time),
            "code": code.text(),
        }),
        _ => json!({"outcome": "pending"}),
    };
    json!({
        "loop": c.of_loop,
        "askedMs": ms(c.asked),
        "cause": c.cause.name(),
        "heat": c.heat,
        "result": outcome,
        "retiredMs": c.retired.map(ms),
        "evictedMs": c.evicted.map(ms),
        "checks": {"built": c.checks.0, "left": c.checks.1},
        "allocations": {"built": c.allocations.0, "left": c.allocations.1, "sunk": c.sunk},
        "calls": {"all": c.calls.0, "inlined": c.calls.1},
        "remarks": remarks(&c.remarks),
    })
}

fn of_loop(l: &LoopReport) -> Value {
    json!({
        "lines": lines(&l.lines),
        "parent": l.parent,
        "tier": l.level.name(),
        "sinceMs": l.since.map(ms),
        "samples": l.samples,
        "share": l.share,
        "remarks": remarks(&l.remarks),
    })
}
