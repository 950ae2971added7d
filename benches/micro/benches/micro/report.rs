//! What was measured, as tables and as JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

/// One measurement.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub group: String,
    /// Of what.
    pub name: String,
    /// At which size.
    pub size: u64,
    /// Nanoseconds: the median, and the bounds of its confidence interval of 95 % or, for few runs, of the middle half.
    pub time: [f64; 3],
    /// What the time is divided by for a figure per instruction, turn or call.
    pub elements: f64,
}

impl Figure {
    /// The median of some runs, in nanoseconds.
    pub fn of_runs(
        group: &str,
        what: &str,
        shape: &str,
        size: u64,
        elements: f64,
        mut runs: Vec<f64>,
    ) -> Figure {
        runs.sort_by(f64::total_cmp);
        let at = |part: f64| runs[((runs.len() - 1) as f64 * part).round() as usize];
        Figure {
            group: group.into(),
            name: format!("{what}/{shape}"),
            size,
            time: [at(0.5), at(0.25), at(0.75)],
            elements,
        }
    }

    /// Nanoseconds for each element.
    pub fn each(&self) -> f64 {
        self.time[0] / self.elements
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Figures {
    all: Vec<Figure>,
    elements: BTreeMap<(String, String, u64), f64>,
}

impl Figures {
    /// Adds one that Criterion does not have.
    pub fn add(&mut self, figure: Figure) {
        self.all.push(figure);
    }

    /// Says what one of Criterion's is divided by.
    pub fn elements(&mut self, group: &str, name: &str, size: u64, elements: f64) {
        self.elements.insert((group.into(), name.into(), size), elements);
    }

    /// Adds what Criterion wrote since a time.
    pub fn read(&mut self, since: SystemTime) {
        for path in estimates(&directory().join("criterion")) {
            let fresh = path.metadata().and_then(|m| m.modified()).is_ok_and(|time| time >= since);
            let figure = fresh.then(|| self.figure(&path)).flatten();
            self.all.extend(figure);
        }
        self.all.sort_by(|a, b| (&a.group, &a.name, a.size).cmp(&(&b.group, &b.name, b.size)));
    }

    fn figure(&self, estimates: &Path) -> Option<Figure> {
        let read = |path: &Path| serde_json::from_str::<Value>(&std::fs::read_to_string(path).ok()?).ok();
        let median = &read(estimates)?["median"];
        let about = read(&estimates.with_file_name("benchmark.json"))?;
        let interval = &median["confidence_interval"];
        let group = about["group_id"].as_str()?.to_string();
        let name = about["function_id"].as_str()?.to_string();
        let size = about["value_str"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
        let time = [&median["point_estimate"], &interval["lower_bound"], &interval["upper_bound"]];
        let time = [time[0].as_f64()?, time[1].as_f64()?, time[2].as_f64()?];
        let elements = self.elements.get(&(group.clone(), name.clone(), size)).copied().unwrap_or(1.0);
        Some(Figure { group, name, size, time, elements })
    }

    /// One of them.
    pub fn get(&self, group: &str, name: &str, size: u64) -> Option<&Figure> {
        self.all.iter().find(|f| f.group == group && f.name == name && f.size == size)
    }

    /// Writes all to `target/bench/micro.json`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> std::io::Result<PathBuf> {
        let path = directory().join("bench/micro.json");
        let all = self.all.iter().map(|f| {
            json!({
                "group": f.group, "name": f.name, "size": f.size, "median_ns": f.time[0], "low_ns": f.time[1],
                "high_ns": f.time[2], "elements": f.elements, "ns_per_element": f.each(),
            })
        });
        std::fs::create_dir_all(directory().join("bench"))?;
        std::fs::write(&path, format!("{:#}\n", Value::Array(all.collect())))?;
        Ok(path)
    }
}

/// The target directory, where Criterion writes, too.
fn directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => directory.into(),
        None => {
            Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).join("target")
        }
    }
}

/// The newest estimates of all benchmarks.
fn estimates(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.ends_with("new") {
            found.push(path.join("estimates.json"));
        } else if path.is_dir() {
            found.extend(estimates(&path));
        }
    }
    found
}

/// A time in a unit that fits, with three digits.
pub fn time(nanos: f64) -> String {
    let (value, unit) = match nanos.abs() {
        n if n < 1e3 => (nanos, "ns"),
        n if n < 1e6 => (nanos / 1e3, "µs"),
        n if n < 1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let digits = match value.abs() {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A table in Markdown, the first column to the left.
pub fn table(title: &str, head: &[String], rows: &[Vec<String>]) {
    if rows.iter().all(|row| row[1..].iter().all(|cell| cell == "-")) {
        return;
    }
    println!("\n**{title}**\n");
    println!("| {} |", head.join(" | "));
    println!("|---|{}", "--:|".repeat(head.len() - 1));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}
