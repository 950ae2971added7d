//! A program on its way from text to loaded code.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use upshift::bytecode;
use upshift::{Config, Engine, LoadError, Module};
use upshift_mochi::diagnostics::{Diagnostic, Severity};
use upshift_mochi::infer::{Types, infer};
use upshift_mochi::instances::instances;
use upshift_mochi::lower::{Tests, lower};
use upshift_mochi::resolve::{Resolution, resolve};
use upshift_mochi::source::{FileId, SourceMap};
use upshift_mochi::syntax::ast::{Interner, Program};
use upshift_mochi::syntax::parse;

/// How long each phase took, in order.
#[derive(Debug, Default)]
pub struct Phases(pub Vec<(&'static str, Duration)>);

impl Phases {
    /// Runs a phase.
    pub fn time<R>(&mut self, name: &'static str, f: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = f();
        self.0.push((name, start.elapsed()));
        result
    }
}

/// A source text that could not be read.
#[derive(Debug)]
pub struct ReadError(pub String);

/// A parsed program with its texts.
#[derive(Debug)]
pub struct Parsed {
    /// The texts.
    pub sources: SourceMap,
    /// The names.
    pub names: Interner,
    /// The tree.
    pub program: Program,
    /// What the parser and the check for unsupported constructs found.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether it must not run.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// A program ready to load.
#[derive(Debug)]
pub struct Compiled {
    /// The module.
    pub module: bytecode::Module,
    /// The meaning of its names.
    pub resolution: Resolution,
    /// The types of its slots.
    pub types: Types,
}

/// Reads a program; `-` is standard input.
///
/// # Errors
/// A sentence about why it cannot be read.
pub fn read(path: &Path) -> Result<(String, Vec<u8>), ReadError> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let result = std::io::stdin().lock().read_to_end(&mut bytes);
        return match result {
            Ok(_) => Ok(("<stdin>".to_string(), bytes)),
            Err(error) => Err(ReadError(format!("cannot read standard input: {error}"))),
        };
    }
    let name = path.display().to_string();
    if path.is_dir() {
        return Err(ReadError(format!("`{name}` is a folder, not a program")));
    }
    match std::fs::read(path) {
        Ok(bytes) => Ok((name, bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ReadError(format!("there is no file `{name}`")))
        }
        Err(error) => Err(ReadError(format!("cannot read `{name}`: {error}"))),
    }
}

/// Parses a program.
pub fn parse_program(name: &str, bytes: Vec<u8>, phases: &mut Phases) -> Parsed {
    let mut sources = SourceMap::new();
    let mut names = Interner::new();
    let (file, invalid): (FileId, Option<Diagnostic>) = sources.add_bytes(name, bytes);
    if let Some(diagnostic) = invalid {
        return Parsed { sources, names, program: Program::default(), diagnostics: vec![diagnostic] };
    }
    let (program, diagnostics) = phases.time("parse", || parse(&sources, file, &mut names));
    Parsed { sources, names, program, diagnostics }
}

/// Adds what the program uses that cannot run yet to its diagnostics.
pub fn find_unsupported(parsed: &mut Parsed, phases: &mut Phases) {
    if !parsed.has_errors() {
        let found =
            phases.time("check", || upshift_mochi::check::unsupported(&parsed.program, &parsed.names));
        parsed.diagnostics.extend(found);
    }
}

/// Resolves, types and lowers a program without errors.
pub fn compile(parsed: &mut Parsed, tests: Tests, phases: &mut Phases) -> Compiled {
    let Parsed { sources, names, program, .. } = parsed;
    program.plan_queries(names);
    let resolution = phases.time("resolve", || resolve(program, names));
    let types = phases.time("infer", || infer(program, &resolution, names));
    let better = phases.time("instances", || instances(sources, names, program, &resolution, &types));
    let (resolution, types) = match better {
        Some((with_instances, resolution, types)) => {
            *program = with_instances;
            (resolution, types)
        }
        None => (resolution, types),
    };
    let module = phases.time("lower", || lower(program, names, sources, &resolution, &types, tests));
    Compiled { module, resolution, types }
}

/// An engine with the library of the language.
pub fn engine(mut config: Config) -> Engine {
    upshift_mochi::library::register(&mut config.hosts);
    Engine::new(config)
}

/// Verifies and links a module.
///
/// # Errors
/// The tier is not available; anything else is a bug of the front end, whose modules are valid.
pub fn load(engine: &Engine, module: &bytecode::Module, phases: &mut Phases) -> Result<Module, LoadError> {
    phases.time("load", || engine.load(module))
}
