//! The verdicts as a table on the terminal and in Markdown, all figures as JSON, and a page with the curves.

use std::error::Error;
use std::fs;
use std::path::Path;

use super::classify::{Curve, Verdict};
use super::{Measured, Options, count};
use crate::bench::json::Json;
use crate::bench::page::{escaped, table, with_style};
use crate::bench::report::{self, markdown_table, print_table};

/// Colours of verdicts in pictures, in their order.
const COLOURS: [&str; 4] = ["#5b8def", "#2f9e6e", "#e8743b", "#c43d6b"];

/// A picture's size.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 110.0;

/// Writes everything to a folder, and the table to the terminal.
pub fn write(measured: &[Measured], options: &Options, folder: &Path) -> Result<(), Box<dyn Error>> {
    let rows = rows(measured);
    print_table(&rows);
    for (name, text) in [
        ("warmup.md", markdown_table(&rows)),
        ("warmup.json", format!("{}\n", json(measured, options))),
        ("warmup.html", page(measured, options, &rows)),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        eprintln!("{}", path.display());
    }
    Ok(())
}

/// A share of processes in percent; nothing for none.
fn share(count: usize, of: usize) -> String {
    if count == 0 { "-".to_owned() } else { format!("{:.0} %", 100.0 * count as f64 / of.max(1) as f64) }
}

/// The table: headings, kernels, all processes together, and those of the control.
fn rows(measured: &[Measured]) -> Vec<Vec<String>> {
    let mut head = vec!["kernel".to_owned()];
    head.extend(Verdict::ALL.iter().map(|verdict| verdict.name().to_owned()));
    head.push("together".to_owned());
    head.extend(["iteration", "first", "to 90 % speed"].map(str::to_owned));
    let mut rows = vec![head];
    for one in measured {
        let mut row = vec![one.kernel.clone()];
        row.extend(Verdict::ALL.iter().map(|&v| share(one.count(v), one.curves.len())));
        row.push(one.together().verdict.name().to_owned());
        let time = |value: Option<f64>| value.map_or("-".to_owned(), report::time);
        row.push(time(one.median(|curve| Some(curve.steady))));
        row.push(time(one.median(|curve| curve.times.first().copied())));
        row.push(time(one.median(|curve| Some(curve.to_speed))));
        rows.push(row);
    }
    let mut together = |name: &str, curves: fn(&Measured) -> &[Curve]| {
        let processes: usize = measured.iter().map(|one| curves(one).len()).sum();
        if processes > 0 {
            let of = |v| measured.iter().map(|one| count(curves(one), v)).sum();
            let mut row = vec![name.to_owned()];
            row.extend(Verdict::ALL.iter().map(|&v| share(of(v), processes)));
            row.extend(["", "", "", ""].map(str::to_owned));
            rows.push(row);
        }
    };
    together("all", |one| &one.curves);
    together("all in C", |one| &one.control);
    rows
}

fn json(measured: &[Measured], options: &Options) -> Json {
    let numbers = |values: &[f64]| Json::List(values.iter().map(|&v| Json::Number(v)).collect());
    let curve = |curve: &Curve| {
        let starts: Vec<f64> = curve.segments.iter().map(|&start| start as f64).collect();
        Json::Object(vec![
            ("verdict".into(), Json::Text(curve.verdict.name().into())),
            ("steady_seconds".into(), Json::Number(curve.steady)),
            ("to_90_percent_seconds".into(), Json::Number(curve.to_speed)),
            ("segments".into(), numbers(&starts)),
            ("seconds".into(), numbers(&curve.times)),
        ])
    };
    let kernel = |one: &Measured| {
        let counts = Verdict::ALL.iter().map(|&v| (v.name().into(), Json::Number(one.count(v) as f64)));
        Json::Object(vec![
            ("kernel".into(), Json::Text(one.kernel.clone())),
            ("verdicts".into(), Json::Object(counts.collect())),
            ("together".into(), curve(&one.together())),
            ("processes".into(), Json::List(one.curves.iter().map(curve).collect())),
            ("control".into(), Json::List(one.control.iter().map(curve).collect())),
        ])
    };
    Json::Object(vec![
        ("mode".into(), Json::Text("warmup".into())),
        ("machine".into(), Json::Text(report::machine())),
        ("tier".into(), Json::Text(options.tier.clone())),
        ("clock".into(), Json::Text(clock(options).into())),
        ("iterations".into(), Json::Number(options.iterations as f64)),
        ("results".into(), Json::List(measured.iter().map(kernel).collect())),
    ])
}

fn clock(options: &Options) -> &'static str {
    if options.wall { "wall time" } else { "processor time of the program's thread" }
}

fn page(measured: &[Measured], options: &Options, rows: &[Vec<String>]) -> String {
    let mut body = String::from("<h1>How Upshift warms up</h1>\n");
    body.push_str(&format!(
        "<p>{} iterations in each of {} processes, tier <code>{}</code>, {}, {}.</p>\n",
        options.iterations,
        options.processes,
        escaped(&options.tier),
        clock(options),
        escaped(&report::machine())
    ));
    body.push_str(&format!("<div class=\"wide\">{}</div>\n", table(rows)));
    let legend: Vec<String> = Verdict::ALL
        .iter()
        .zip(COLOURS)
        .map(|(verdict, colour)| format!("<b style=\"color:{colour}\">{}</b>", verdict.name()))
        .collect();
    body.push_str(&format!(
        "<p class=\"soft\">The curves: time of each iteration as a multiple of the steady one, logarithmic, a line \
         for each process; ticks are where levels change. The strong line is the curve of medians. {}</p>\n",
        legend.join(", ")
    ));
    for one in measured {
        body.push_str(&format!("<h2>{}</h2>\n{}\n", escaped(&one.kernel), picture(one)));
    }
    with_style("Upshift: warm-up", &body, "cargo xtask warmup")
}

/// The curves of a kernel.
fn picture(one: &Measured) -> String {
    let longest = one.curves.iter().map(|curve| curve.times.len()).max().unwrap_or(1).max(2);
    let ratios = |curve: &Curve| -> Vec<f64> {
        curve.times.iter().map(|time| (time / curve.steady).max(1e-3).log2()).collect()
    };
    let all: Vec<Vec<f64>> = one.curves.iter().map(ratios).collect();
    let bound = |start: f64, pick: fn(f64, f64) -> f64| all.iter().flatten().copied().fold(start, pick);
    let (low, high) = (bound(-0.5, f64::min), bound(1.0, f64::max));
    let x = |i: usize| 34.0 + (WIDTH - 40.0) * i as f64 / (longest - 1) as f64;
    let y = |value: f64| 8.0 + (HEIGHT - 16.0) * (high - value) / (high - low);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    for power in low.ceil() as i32..=high.floor() as i32 {
        let at = y(f64::from(power));
        svg.push_str(&format!(
            "<line class=\"line\" x1=\"34\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"soft\" x=\"30\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            WIDTH - 6.0,
            at + 4.0,
            2_f64.powi(power)
        ));
    }
    for (curve, values) in one.curves.iter().zip(&all) {
        let colour = COLOURS[Verdict::ALL.iter().position(|&v| v == curve.verdict).unwrap_or(0)];
        let points: Vec<String> =
            values.iter().enumerate().map(|(i, &v)| format!("{:.1},{:.1}", x(i), y(v))).collect();
        svg.push_str(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-opacity=\"0.5\"/>\n",
            points.join(" ")
        ));
        for &start in curve.segments.iter().skip(1) {
            let (at, level) = (x(start), y(values[start]));
            svg.push_str(&format!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>\n",
                level - 4.0,
                level + 4.0
            ));
        }
    }
    let together = one.together();
    let points: Vec<String> =
        ratios(&together).iter().enumerate().map(|(i, &v)| format!("{:.1},{:.1}", x(i), y(v))).collect();
    svg.push_str(&format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\"/>\n",
        points.join(" ")
    ));
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_kernel_and_one_for_all() {
        let curve = |first: f64| Curve::of([vec![first], vec![0.001; 99]].concat());
        let measured = [
            Measured {
                kernel: "a".into(),
                curves: vec![curve(0.01), curve(0.001)],
                control: vec![curve(0.001)],
            },
            Measured {
                kernel: "b<".into(),
                curves: vec![curve(0.01), curve(0.01)],
                control: vec![curve(0.01)],
            },
        ];
        let rows = rows(&measured);
        assert_eq!(rows.len(), 5);
        assert_eq!(rows[1], ["a", "50 %", "50 %", "-", "-", "warm-up", "1.00 ms", "5.50 ms", "5.00 ms"]);
        assert_eq!(rows[2], ["b<", "-", "100 %", "-", "-", "warm-up", "1.00 ms", "10.0 ms", "10.0 ms"]);
        assert_eq!(rows[3][..5], ["all", "25 %", "75 %", "-", "-"]);
        assert_eq!(rows[4][..5], ["all in C", "50 %", "50 %", "-", "-"]);
        let options = Options {
            filters: Vec::new(),
            processes: 2,
            iterations: 100,
            tier: "auto".into(),
            wall: false,
            control: true,
        };
        let page = page(&measured, &options, &rows);
        assert_eq!((page.matches("<svg ").count(), page.matches("<polyline ").count()), (2, 6));
        assert!(page.contains("<h2>b&lt;</h2>"));
        assert!(json(&measured, &options).to_string().contains("\"no steady state\": 0"));
    }
}
