//! Runs the kernels in the languages that this program was built with, and prints a record in JSON for each.
//!
//! `peer LANGUAGE DIVISOR KERNEL`. One process for each, so that nobody's heap or warm code is another's.
#![forbid(unsafe_code)]

#[cfg(feature = "fusevm")]
mod fusevm;
#[cfg(feature = "koto")]
mod koto;
#[cfg(any(feature = "luajit", feature = "luau"))]
mod lua;
#[cfg(feature = "rhai")]
mod rhai;
#[cfg(feature = "roto")]
mod roto;
#[cfg(feature = "rune")]
mod rune;
#[cfg(feature = "upshift")]
mod upshift;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use cpu_time::ProcessTime;
use upshift_embedded::{ABSENT, KERNELS, Record};

/// A program that can be called.
pub type Program = Box<dyn FnMut(i64) -> Result<i64, Box<dyn Error>>>;
/// How a language makes one of a source.
pub type Load = fn(&str) -> Result<Program, Box<dyn Error>>;

/// The languages: name, ending of the sources.
const LANGUAGES: &[(&str, &str, Load)] = &[
    #[cfg(feature = "upshift")]
    ("upshift", "mochi", upshift::auto),
    #[cfg(feature = "upshift")]
    ("upshift-interp", "mochi", upshift::interpreter),
    #[cfg(feature = "luajit")]
    ("luajit", "lua", lua::load),
    #[cfg(feature = "luau")]
    ("luau", "lua", lua::interpreted),
    #[cfg(feature = "luau")]
    ("luau-native", "lua", lua::load),
    #[cfg(feature = "fusevm")]
    ("fusevm", "fuse", fusevm::load),
    #[cfg(feature = "roto")]
    ("roto", "roto", roto::load),
    #[cfg(feature = "koto")]
    ("koto", "koto", koto::load),
    #[cfg(feature = "rune")]
    ("rune", "rn", rune::load),
    #[cfg(feature = "rhai")]
    ("rhai", "rhai", rhai::load),
];

/// Calls are repeated so often at most, and while together they took less than this.
const REPEAT: u32 = 7;
const PATIENCE: Duration = Duration::from_millis(1_500);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [language, divisor, kernel] = &arguments[..] else {
        return Err("usage: peer LANGUAGE DIVISOR KERNEL".into());
    };
    let found = LANGUAGES.iter().find(|l| l.0 == language);
    let &(name, extension, load) = found.ok_or("this program was built without the language")?;
    let kernel = KERNELS.iter().find(|k| k.name == kernel).ok_or("there is no such kernel")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("kernels/{}.{extension}", kernel.name));
    if !path.exists() {
        std::process::exit(ABSENT);
    }
    let source = std::fs::read_to_string(path)?;
    let n = kernel.size(divisor.parse()?);

    let started = ProcessTime::now();
    let mut program = load(&source)?;
    let loaded = started.elapsed();
    let (mut times, mut total) = (Vec::new(), Duration::ZERO);
    let mut answers = Vec::new();
    while times.is_empty() || times.len() < REPEAT as usize && total < PATIENCE {
        let started = ProcessTime::now();
        answers.push(program(n)?);
        let time = started.elapsed();
        total += time;
        times.push(time);
    }
    if answers.iter().any(|&a| a != answers[0]) {
        return Err(format!("the answers differ from call to call: {answers:?}").into());
    }
    let record = Record {
        language: name.into(),
        kernel: kernel.name.into(),
        n,
        answer: answers[0],
        load: loaded.as_secs_f64(),
        first: times[0].as_secs_f64(),
        best: times.iter().min().copied().unwrap_or_default().as_secs_f64(),
        calls: times.len() as u32,
    };
    println!("{}", serde_json::to_string(&record)?);
    Ok(())
}
