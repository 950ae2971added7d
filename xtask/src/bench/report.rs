//! What the modes share for showing figures: medians, units, tables.

use std::fs;
use std::time::Duration;

use super::child::Run;
use super::json::Json;

/// The figures of several runs of one program by one contestant.
pub struct Figures {
    /// Median CPU time in seconds.
    pub cpu: f64,
    /// Median wall time in seconds.
    pub wall: f64,
    /// Highest peak of resident memory in bytes.
    pub peak: u64,
    cpu_runs: Vec<f64>,
    wall_runs: Vec<f64>,
}

impl Figures {
    /// Sums up one or more runs; `None` for no runs at all.
    pub fn of(runs: &[Run]) -> Option<Figures> {
        let cpu_runs: Vec<f64> = runs.iter().map(|run| run.cpu.as_secs_f64()).collect();
        let wall_runs: Vec<f64> = runs.iter().map(|run| run.wall.as_secs_f64()).collect();
        Some(Figures {
            cpu: median(&cpu_runs)?,
            wall: median(&wall_runs)?,
            peak: runs.iter().map(|run| run.peak).max()?,
            cpu_runs,
            wall_runs,
        })
    }

    /// The figures as the fields of a JSON object.
    pub fn json(&self) -> Vec<(String, Json)> {
        let list = |xs: &[f64]| Json::List(xs.iter().map(|&x| Json::Number(x)).collect());
        vec![
            ("cpu_seconds".into(), Json::Number(self.cpu)),
            ("wall_seconds".into(), Json::Number(self.wall)),
            ("peak_bytes".into(), Json::Number(self.peak as f64)),
            ("cpu_runs".into(), list(&self.cpu_runs)),
            ("wall_runs".into(), list(&self.wall_runs)),
        ]
    }
}

/// The median; the mean of the middle two for an even count.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[middle - 1] + upper) / 2.0 })
}

/// The geometric mean of positive numbers.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logs: f64 = values.iter().map(|value| value.ln()).sum();
    if values.is_empty() { None } else { Some((logs / values.len() as f64).exp()) }
}

/// A time with three significant digits and a unit.
pub fn time(seconds: f64) -> String {
    let (value, unit) = if seconds < 0.001 {
        (seconds * 1e6, "us")
    } else if seconds < 1.0 {
        (seconds * 1e3, "ms")
    } else {
        (seconds, "s")
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// A size in megabytes (of 2^20 bytes, as the targets mean them).
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))
}

/// A value, its limit, and whether it keeps it: `3.1 ms of 4 ms`, with a mark if not.
pub fn against(value: String, limit: String, kept: bool) -> String {
    format!("{value} (target {limit}{})", if kept { "" } else { ", MISSED" })
}

/// Like `against`, for times.
pub fn time_against(seconds: f64, limit: Duration) -> String {
    against(time(seconds), time(limit.as_secs_f64()), seconds <= limit.as_secs_f64())
}

/// Prints rows with columns as wide as their widest cell: the first to the left, the rest to the right.
/// Rows may be shorter than others.
pub fn print_table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                line.push_str(&format!("{cell:<width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        println!("{}", line.trim_end());
    }
}

/// The rows as a table in Markdown: the first row holds the headings, columns behind the first are flush right.
pub fn markdown_table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
        if index == 0 {
            text.push_str(&format!("|---|{}\n", "--:|".repeat(row.len().saturating_sub(1))));
        }
    }
    text
}

/// Prints lines under a title, if there are any.
pub fn print_list(title: &str, lines: &[String]) {
    if !lines.is_empty() {
        println!("\n{title}:");
        for line in lines {
            println!("  {line}");
        }
    }
}

/// The processor, as the system names it, and how many of them.
pub fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()))
        .unwrap_or("unknown processor");
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {count} logical processors, {}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::{geometric_mean, markdown_table, median, time};

    #[test]
    fn markdown_has_a_line_under_the_headings() {
        let rows = [["a", "b"], ["x", "1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(markdown_table(&rows), "| a | b |\n|---|--:|\n| x | 1 |\n");
    }

    #[test]
    fn medians_and_means() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[0.5, 2.0]).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn times_have_three_digits() {
        assert_eq!(time(0.000_001_234), "1.23 us");
        assert_eq!(time(0.0456), "45.6 ms");
        assert_eq!(time(0.456), "456 ms");
        assert_eq!(time(12.34), "12.3 s");
    }
}
