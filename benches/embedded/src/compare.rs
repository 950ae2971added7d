//! Builds the peers, runs each kernel in each language in a process of its own, compares the answers and prints a table.
//!
//! `cargo run --release -- [--divisor N] [--languages LIST] [--json FILE]`. A language that does not build is named and left out.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use upshift_embedded::{ABSENT, KERNELS, Record};

/// The builds: what they are called, their features, and the languages in them.
const BUILDS: [(&str, &str, &[&str]); 2] = [
    ("luau", "luau", &["luau", "luau-native"]),
    (
        "rest",
        "upshift,luajit,koto,rune,rhai,roto,fusevm",
        &["upshift", "upshift-interp", "luajit", "roto", "fusevm", "koto", "rune", "rhai"],
    ),
];
/// The order of the columns.
const ORDER: [&str; 10] =
    ["upshift", "upshift-interp", "luajit", "luau-native", "luau", "roto", "fusevm", "koto", "rune", "rhai"];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let (mut divisor, mut languages) = (String::from("1"), ORDER.map(String::from).to_vec());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut json = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match argument.as_str() {
            "--divisor" => divisor = value()?,
            "--languages" => languages = value()?.split(',').map(String::from).collect(),
            "--json" => json = Some(PathBuf::from(value()?)),
            _ => return Err(format!("unknown option {argument}").into()),
        }
    }
    let mut records: Vec<Record> = Vec::new();
    let mut right = true;
    for (target, features, of) in BUILDS {
        let of: Vec<&str> = of.iter().copied().filter(|l| languages.iter().any(|w| w == l)).collect();
        if of.is_empty() {
            continue;
        }
        // Features say which languages are in the program, so each build has its own place.
        let directory = root.join("target").join(target);
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .current_dir(root)
            .args(["build", "--release", "--bin", "peer", "--features", features, "--target-dir"])
            .arg(&directory)
            .status()?;
        if !built.success() {
            eprintln!("{features}: does not build");
            continue;
        }
        for kernel in KERNELS {
            for language in &of {
                let peer = directory.join("release/peer");
                let output = Command::new(peer).args([language, divisor.as_str(), kernel.name]).output()?;
                if output.status.success() {
                    records.push(serde_json::from_slice(&output.stdout)?);
                } else if output.status.code() != Some(ABSENT) {
                    right = false;
                    let error = String::from_utf8_lossy(&output.stderr);
                    eprintln!("{language}, {}: {}", kernel.name, error.trim());
                }
            }
        }
    }
    right &= agree(&records);
    table(&records);
    // What is less than all is kept apart from the figures of a whole run.
    let whole = divisor == "1" && ORDER.iter().all(|l| languages.iter().any(|w| w == l));
    let name = if whole { "embedded.json" } else { "embedded-part.json" };
    let json = json.unwrap_or_else(|| root.join("../../target/bench").join(name));
    if let Some(directory) = json.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&json, serde_json::to_string_pretty(&records)? + "\n")?;
    Ok(right)
}

/// Whether all languages gave the same answers.
fn agree(records: &[Record]) -> bool {
    let mut answers = BTreeMap::new();
    let mut same = true;
    for record in records {
        let (first, answer) = *answers.entry(&record.kernel).or_insert((&record.language, record.answer));
        if answer != record.answer {
            same = false;
            eprintln!("{}: {first} says {answer}, {} says {}", record.kernel, record.language, record.answer);
        }
    }
    same
}

fn table(records: &[Record]) {
    let present: Vec<&str> = ORDER.into_iter().filter(|l| records.iter().any(|r| r.language == *l)).collect();
    let find =
        |kernel: &str, language: &str| records.iter().find(|r| r.kernel == kernel && r.language == language);
    let shown = |record: Option<&Record>, time: fn(&Record) -> f64| {
        record.map_or("-".to_string(), |r| milliseconds(time(r)))
    };
    println!("\nThe first call, CPU time in ms; in brackets the fastest\n");
    println!("| kernel | n | {} |", present.join(" | "));
    println!("|---|--:|{}", "--:|".repeat(present.len()));
    for kernel in KERNELS {
        let Some(n) = records.iter().find(|r| r.kernel == kernel.name).map(|r| r.n) else { continue };
        let cells = present.iter().map(|language| {
            let record = find(kernel.name, language);
            match record {
                None => "-".to_string(),
                Some(_) => format!("{} ({})", shown(record, |r| r.first), shown(record, |r| r.best)),
            }
        });
        println!("| `{}` | {n} | {} |", kernel.name, cells.collect::<Vec<_>>().join(" | "));
    }
    // A mean over the kernels that both have.
    let mean = |language: &&str| {
        let ratios: Vec<f64> = KERNELS
            .iter()
            .filter_map(|k| Some((find(k.name, language)?.best / find(k.name, "upshift")?.best).ln()))
            .collect();
        match ratios.len() {
            0 => "-".to_string(),
            n => format!("{:.2}", (ratios.iter().sum::<f64>() / n as f64).exp()),
        }
    };
    println!(
        "| **geometric mean of the fastest to Upshift** | | {} |",
        present.iter().map(mean).collect::<Vec<_>>().join(" | ")
    );
    let load = |language: &&str| {
        let mut times: Vec<f64> =
            records.iter().filter(|r| r.language == **language).map(|r| r.load).collect();
        times.sort_by(f64::total_cmp);
        milliseconds(times[times.len() / 2])
    };
    println!("| **loading, median** | | {} |", present.iter().map(load).collect::<Vec<_>>().join(" | "));
}

fn milliseconds(seconds: f64) -> String {
    let ms = seconds * 1e3;
    match ms {
        v if v < 9.995 => format!("{ms:.2}"),
        v if v < 99.95 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}
