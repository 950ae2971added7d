//! The report as one HTML page: charts as SVG in the text, tables, no script, nothing loaded from elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::chart::{self, Bar, Point};
use super::contestant;
use super::report::{self, Figures};
use super::summary::{BASE, Summary, ratio};

/// What opens each chart, for the check that all of them arrived.
const CHART: &str = "<svg ";

const STYLE: &str = "\
:root { color-scheme: light dark; --text: #1b1b1f; --soft: #6b6b76; --line: #d9d9e0; --back: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6ea; --soft: #9a9aa6; --line: #3a3a44; --back: #17171b; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1, h2 { font-weight: 600; line-height: 1.2; }
h2 { margin-top: 2.5rem; }
.soft, footer { color: var(--soft); }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); }
svg .soft { fill: var(--soft); }
svg .line { stroke: var(--line); stroke-width: 1; }
svg .one { stroke: var(--soft); stroke-width: 1.5; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: 2px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; }
ul { padding-left: 1.2rem; }
";

/// Colours that are told apart on light and on dark ground, in the order of the contestants: the engine's warm, the
/// peers' cool.
const ENGINE_COLOURS: &[&str] = &["#f2b134", "#e8743b", "#c43d6b", "#d62728"];
const PEER_COLOURS: &[&str] = &[
    "#4c4c57", "#8a8a96", "#1f77b4", "#6fb1e0", "#2ca02c", "#8bd18b", "#17becf", "#7e57c2", "#b39ddb",
    "#795548",
];

/// The whole page.
pub fn page(summary: &Summary<'_>, versions: &[String], repeat: usize) -> String {
    let mut body = String::new();
    body.push_str("<h1>Upshift against its peers</h1>\n");
    body.push_str(&format!(
        "<p>Medians of {repeat} interleaved runs, whole processes with start-up and compiling, {}.</p>\n",
        escaped(&report::machine())
    ));
    let versions: String = versions.iter().map(|v| format!("<li>{}</li>\n", escaped(v))).collect();
    body.push_str(&format!("<ul class=\"soft\">\n{versions}</ul>\n"));
    for (title, remark, chart) in charts(summary) {
        body.push_str(&format!(
            "<h2>{}</h2>\n<p class=\"soft\">{}</p>\n{chart}\n",
            escaped(&title),
            escaped(&remark)
        ));
    }
    for (title, rows) in summary.tables() {
        body.push_str(&format!("<h2>{}</h2>\n<div class=\"wide\">{}</div>\n", escaped(&title), table(&rows)));
    }
    with_style("Upshift: benchmarks", &body, "cargo xtask bench")
}

/// A page around its body.
pub fn with_style(title: &str, body: &str, command: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{body}<footer>Made by <code>{command}</code>.</footer>\n</body>\n</html>\n"
    )
}

/// Title, remark and picture of each chart.
fn charts(summary: &Summary<'_>) -> Vec<(String, String, String)> {
    let mut charts = Vec::new();
    let colours = colours(summary);
    let names: Vec<&str> = summary.contestants.iter().map(|one| one.name.as_str()).collect();
    let legend: Vec<(&str, &str)> = names.iter().copied().zip(colours.iter().copied()).collect();
    if let Some(base) = summary.base() {
        let bars: Vec<Bar<'_>> = (0..names.len())
            .filter_map(|index| {
                let value = if index == base { 1.0 } else { summary.mean(index, base)? };
                Some(Bar {
                    label: names[index],
                    value,
                    text: format!("{}x", ratio(value)),
                    colour: colours[index],
                })
            })
            .collect();
        if bars.len() > 1 {
            charts.push((
                format!("CPU time as a multiple of {BASE} -O2's"),
                "Geometric means over the kernels, smaller is better.".to_owned(),
                chart::bars(&bars),
            ));
        }
        let rows = points(summary, &names, &colours, |row, index| {
            let value = Summary::quotient(&summary.measured[row], index, base)?;
            Some((value, format!("{}x", ratio(value))))
        });
        charts.push((
            "Kernel by kernel".to_owned(),
            format!("CPU time as a multiple of {BASE}'s, logarithmic: left is faster."),
            chart::points(&rows, &legend, "x"),
        ));
    }
    let rows = points(summary, &names, &colours, |row, index| {
        let peak = summary.measured[row].figures[index].as_ref()?.peak;
        Some((peak as f64 / f64::from(1 << 20), report::megabytes(peak)))
    });
    charts.push((
        "Peak memory".to_owned(),
        "Resident megabytes, logarithmic.".to_owned(),
        chart::points(&rows, &legend, " MB"),
    ));
    for (title, remark, figures) in [
        ("Start-up", "Hello world, wall time.", summary.start),
        (
            "Time to first result",
            "A program of 10,000 lines, from start to end, wall time.",
            summary.first_result,
        ),
    ] {
        if !figures.is_empty() {
            let bars = wall_bars(figures, &legend);
            charts.push((title.to_owned(), remark.to_owned(), chart::bars(&bars)));
        }
    }
    charts
}

/// A row of points for each kernel, with the figures that `value` finds for a kernel and a contestant.
fn points<'a>(
    summary: &'a Summary<'_>,
    names: &[&str],
    colours: &[&'a str],
    value: impl Fn(usize, usize) -> Option<(f64, String)>,
) -> Vec<(&'a str, Vec<Point<'a>>)> {
    let row = |(row, measured): (usize, &'a super::kernels::Measured)| {
        let points = (0..names.len()).filter_map(|index| {
            let (value, text) = value(row, index)?;
            let text = format!("{}, {}: {text}", measured.kernel, names[index]);
            Some(Point { value, text, colour: colours[index], filled: index < summary.engines })
        });
        (measured.kernel.as_str(), points.collect())
    };
    summary.measured.iter().enumerate().map(row).collect()
}

fn wall_bars<'a>(figures: &'a [(String, Figures)], legend: &[(&str, &'a str)]) -> Vec<Bar<'a>> {
    let bar = |(name, f): &'a (String, Figures)| Bar {
        label: name,
        value: f.wall * 1000.0,
        text: report::time(f.wall),
        colour: legend.iter().find(|(known, _)| known == name).map_or("#888888", |(_, colour)| colour),
    };
    figures.iter().map(bar).collect()
}

fn colours(summary: &Summary<'_>) -> Vec<&'static str> {
    let pick = |index: usize| match index.checked_sub(summary.engines) {
        None => ENGINE_COLOURS[index % ENGINE_COLOURS.len()],
        Some(peer) => PEER_COLOURS[peer % PEER_COLOURS.len()],
    };
    (0..summary.contestants.len()).map(pick).collect()
}

pub fn table(rows: &[Vec<String>]) -> String {
    let line = |(index, row): (usize, &Vec<String>)| {
        let tag = if index == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    format!("<table>\n{}</table>", rows.iter().enumerate().map(line).collect::<String>())
}

/// Text as it stands in HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Lets a browser without a window lay the page out, if one is installed, and says what is wrong with the result.
pub fn look_at(page: &Path) -> Result<Option<String>, std::io::Error> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let Some(browser) = names.iter().find_map(|name| contestant::find(name)) else { return Ok(None) };
    let url = format!("file://{}", page.display());
    let output = Command::new(browser)
        // Without a sandbox, since it is our own page and containers seldom allow one.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", &url])
        .output()?;
    let seen = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || seen.is_empty() {
        eprintln!("the browser does not run here: the page is not checked");
        return Ok(None);
    }
    let count = |text: &str| (text.matches(CHART).count(), text.matches("<tr>").count());
    let (written, seen) = (count(&fs::read_to_string(page)?), count(&seen));
    Ok((written != seen).then(|| {
        format!("a browser sees {} charts and {} rows of {} and {}", seen.0, seen.1, written.0, written.1)
    }))
}

#[cfg(test)]
mod tests {
    use super::{escaped, table};

    #[test]
    fn tables_have_headings_and_escape() {
        let rows = vec![vec!["a<b".to_owned()], vec!["\"1\" & 2".to_owned()]];
        let wanted = "<table>\n<tr><th>a&lt;b</th></tr>\n<tr><td>&quot;1&quot; &amp; 2</td></tr>\n</table>";
        assert_eq!(table(&rows), wanted);
        assert_eq!(escaped("plain"), "plain");
    }
}
