//! Mutated programs: whatever the input, upshift neither panics nor aborts nor hangs.
//!
//! Programs of the corpus are changed at random (tokens deleted, doubled, swapped, replaced by tokens of other programs,
//! numbers replaced by edge values, bytes flipped) and taken through everything: parser, checker, inference, lowering,
//! verifier and a run with limits. `UPSHIFT_MUTATIONS` sets how many, `UPSHIFT_SEED` from which seed on; a failure names the
//! seed and writes the program to the temporary folder.

use std::io::{Cursor, sink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use upshift::{Config, Engine, Grants, Limits, LoadError, Tier, TrapCode};
use upshift_cli::report::{self, Style};
use upshift_cli::session::{self, Phases};
use upshift_mochi::check::{Mode, check};
use upshift_mochi::lower::Tests;

/// How many mutants a plain `cargo test` runs.
const MUTANTS: u64 = 20_000;

/// The longest that one mutant may take, all in, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn collect(folder: &Path, found: &mut Vec<Vec<u8>>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("readable").map(|e| e.expect("readable").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "mochi") {
            found.push(std::fs::read(path).expect("readable"));
        }
    }
}

/// Words, numbers, strings, white space and single marks.
fn tokens(text: &[u8]) -> Vec<&[u8]> {
    let class = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'0'..=b'9' | 128.. => 1,
        b' ' | b'\n' | b'\t' => 2,
        _ => 3,
    };
    let mut found = Vec::new();
    let mut start = 0;
    for end in 1..=text.len() {
        if end == text.len() || class(text[end]) != class(text[start]) || class(text[start]) == 3 {
            found.push(&text[start..end]);
            start = end;
        }
    }
    found
}

const EDGES: &[&str] = &[
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "281474976710656",
    "0.0",
    "1e308",
    "1e400",
    "0x7fffffffffffffff",
    "none",
    "nil",
    "true",
    "\"\"",
    "\"é𝄞\"",
    "[]",
    "{}",
    "[[]]",
    "x",
    "int",
    "any",
    "list<any>",
    "map<string, int>",
    "fun",
    "return",
    "if",
    "else",
    "for",
    "while",
    "match",
    "=>",
    "as",
    "in",
    "test",
    "expect",
    "type",
    "from",
    "select",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "==",
    "=",
    ".",
    "..",
    ",",
    ":",
    "?",
    "??",
    "-",
    "!",
    "&&",
    "||",
    "/",
    "%",
];

fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let base = &corpus[random.below(corpus.len())];
    let mut parts: Vec<Vec<u8>> = tokens(base).into_iter().map(<[u8]>::to_vec).collect();
    for _ in 0..1 + random.below(4) {
        if parts.is_empty() {
            break;
        }
        let at = random.below(parts.len());
        match random.below(9) {
            0 => {
                parts.remove(at);
            }
            1 => {
                let end = (at + random.below(12)).min(parts.len());
                parts.drain(at..end);
            }
            2 => {
                let part = parts[at].clone();
                parts.insert(at, part);
            }
            3 => {
                let other = random.below(parts.len());
                parts.swap(at, other);
            }
            4 => {
                let donor = &corpus[random.below(corpus.len())];
                let theirs = tokens(donor);
                let from = random.below(theirs.len());
                let count = 1 + random.below(20);
                let piece: Vec<Vec<u8>> = theirs.iter().skip(from).take(count).map(|t| t.to_vec()).collect();
                parts.splice(at..at, piece);
            }
            5 => {
                let from = random.below(parts.len());
                let end = (from + random.below(30)).min(parts.len());
                let copy: Vec<Vec<u8>> = parts[from..end].to_vec();
                parts.splice(at..at, copy);
            }
            6 => {
                if let Some(byte) = parts[at].first_mut() {
                    *byte ^= 1 << random.below(8);
                }
            }
            _ => parts[at] = EDGES[random.below(EDGES.len())].as_bytes().to_vec(),
        }
    }
    let mut text = parts.concat();
    if random.below(20) == 0 {
        text.truncate(random.below(text.len()));
    }
    text
}

/// Takes a program through everything.
fn run(text: Vec<u8>, engine: &Engine) -> Result<(), String> {
    let style = Style::Text { color: false };
    let mut phases = Phases::default();
    let mut parsed = session::parse_program("mutant.mochi", text, &mut phases);
    if !parsed.has_errors() {
        for mode in [Mode::Check, Mode::Strict] {
            let found = check(&parsed.program, &parsed.names, &parsed.sources, mode);
            let _ = report::diagnostics(&parsed.sources, &found.diagnostics, style);
        }
    }
    session::find_unsupported(&mut parsed, &mut phases);
    let _ = report::diagnostics(&parsed.sources, &parsed.diagnostics, style);
    if parsed.has_errors() {
        return Ok(());
    }
    let compiled = session::compile(&mut parsed, Tests::Inline, &mut phases);
    let code = match session::load(engine, &compiled.module, &mut phases) {
        Ok(code) => code,
        Err(error @ LoadError::Verify(_)) => {
            return Err(format!("the front end made an invalid module: {error}"));
        }
        Err(LoadError::Link(_)) | Err(_) => return Ok(()),
    };
    let grants = Grants::none().stdout(sink()).stderr(sink()).stdin(Cursor::new(b"1\ntwo\n3.5\n".to_vec()));
    let mut limits = Limits::default();
    limits.fuel = Some(20_000);
    limits.memory = Some(64 << 20);
    limits.stack = 8 << 20;
    limits.timeout = Some(Duration::from_secs(5));
    let mut instance = engine.instantiate(&code, grants, limits).map_err(|e| e.to_string())?;
    match instance.run() {
        Ok(()) => Ok(()),
        Err(error) if error.code() == TrapCode::TimedOut => {
            Err("20,000 units of work took five seconds".to_string())
        }
        Err(error) => {
            let _ = report::run_error(&parsed.sources, &error, style);
            Ok(())
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn mutated_programs_neither_panic_nor_hang() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut corpus = Vec::new();
    collect(&root.join("programs"), &mut corpus);
    collect(&root.join("examples"), &mut corpus);
    assert!(corpus.len() > 250, "the corpus is there");
    let (count, first) = (number("UPSHIFT_MUTATIONS", MUTANTS), number("UPSHIFT_SEED", 1));
    let next = AtomicU64::new(first);
    let failures = std::sync::Mutex::new(Vec::new());
    let work = || {
        for turn in 0.. {
            // An engine numbers the shapes of all its modules, so it is renewed now and then.
            let mut config = Config::default();
            // Half of them where machine code begins as soon as it can.
            config.tier = if turn % 2 == 0 { Tier::Interpreter } else { Tier::Auto };
            config.tiers.eager = true;
            config.tiers.quantum = 4;
            let engine = session::engine(config);
            for _ in 0..500 {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return;
                }
                let text = mutate(&mut Random(seed), &corpus);
                let start = Instant::now();
                let kept = text.clone();
                let result = catch_unwind(AssertUnwindSafe(|| run(text, &engine)));
                let failure = match result {
                    Ok(Ok(())) if start.elapsed() < PATIENCE => continue,
                    Ok(Ok(())) => format!("took {:?}", start.elapsed()),
                    Ok(Err(message)) => message,
                    Err(panic) => {
                        let text = panic.downcast_ref::<String>().cloned();
                        format!(
                            "panicked: {}",
                            text.or(panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()
                        )
                    }
                };
                let path = std::env::temp_dir().join(format!("upshift-mutant-{seed}.mochi"));
                let _ = std::fs::write(&path, kept);
                failures
                    .lock()
                    .expect("not poisoned")
                    .push(format!("seed {seed}: {failure} ({})", path.display()));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("not poisoned");
    assert!(failures.is_empty(), "{} of {count} mutants failed:\n{}", failures.len(), failures.join("\n"));
}
