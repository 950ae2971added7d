//! Who takes part: the engine, once per tier asked for, and the peers that are installed.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::root;

/// One way to run a program.
#[derive(Clone)]
pub struct Contestant {
    /// The name in tables and in `--peers`.
    pub name: String,
    /// The tier of the engine that was asked for; `None` for peers, and for the engine left to choose.
    pub tier: Option<String>,
    kind: Kind,
    /// The extension of the sources it runs.
    extension: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    version_args: &'static [&'static str],
    /// The only kernels it takes part in; empty for all.
    only: &'static [&'static str],
}

/// What a contestant does with a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Runs it, compiling included.
    Runs,
    /// Compiles it once beforehand; only the result is measured.
    Compiles,
}

impl Contestant {
    /// Makes a source ready and returns what `command` is to run: the source itself, or what the compiler made of it.
    pub fn prepare(&self, source: &Path) -> Result<PathBuf, String> {
        if self.kind == Kind::Runs {
            return Ok(source.to_owned());
        }
        let directory = scratch().join(&self.name);
        fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
        let binary = directory.join(source.file_stem().unwrap_or_default());
        let mut command = Command::new(&self.program);
        // Libraries come after what uses them.
        command.args(&self.args).arg("-o").arg(&binary).arg(source).arg("-lm");
        let output = command.output().map_err(|e| e.to_string())?;
        if output.status.success() {
            return Ok(binary);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<_> = said.lines().take(6).collect();
        Err(format!("does not compile: {}", said.join("\n    ")))
    }

    /// The command that runs what `prepare` returned.
    pub fn command(&self, prepared: &Path) -> Command {
        self.command_with(&[], prepared)
    }

    /// The command that runs what `prepare` returned with more options before it.
    pub fn command_with(&self, options: &[&str], prepared: &Path) -> Command {
        let mut command;
        if self.kind == Kind::Runs {
            command = Command::new(&self.program);
            command.args(&self.args).args(options).arg(prepared);
        } else {
            command = Command::new(prepared);
            command.args(options);
        }
        command
    }

    /// The source of a kernel for this contestant, `directory` being the kernel's.
    pub fn source(&self, directory: &Path, kernel: &str) -> PathBuf {
        directory.join(format!("{kernel}.{}", self.extension))
    }

    /// Whether it runs a kernel.
    pub fn takes_part(&self, kernel: &str) -> bool {
        self.only.is_empty() || self.only.contains(&kernel)
    }

    /// Whether it is the engine under test.
    pub fn is_engine(&self) -> bool {
        self.extension == "mochi"
    }

    /// What tables call it beside others of its kind: a tier by its own name.
    pub fn short_name(&self) -> &str {
        self.tier.as_deref().unwrap_or(&self.name)
    }

    /// The first line of what it says about its version.
    pub fn version(&self) -> String {
        let output = Command::new(&self.program).args(self.version_args).output();
        let text = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
    }
}

/// Where compilers put what they make: a directory of this process, for two may run at once. `remove_scratch` clears it.
fn scratch() -> PathBuf {
    root().join("target/bench").join(std::process::id().to_string())
}

/// Removes what the compilers made.
pub fn remove_scratch() {
    // Nothing was compiled, or someone cleaned up before: either way there is nothing left to do.
    let _ = fs::remove_dir_all(scratch());
}

/// A known peer. The name says what is compared: `luajit-joff` is its interpreter.
struct Peer {
    name: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    language: Language,
    /// The only kernels it takes part in unless it is asked for by name; empty for all.
    only: &'static [&'static str],
    part: Part,
}

/// When a peer that is installed takes part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Always,
    /// Only if it is named, or with `all`: it takes many times as long as everyone else.
    Named,
}

/// What the peers of one language share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    C,
    JavaScript,
    Lua,
    Python,
}

impl Language {
    /// The extension of sources, what is done with them, and the arguments that ask for the version.
    fn traits(self) -> (&'static str, Kind, &'static [&'static str]) {
        match self {
            Language::C => ("c", Kind::Compiles, &["--version"]),
            Language::JavaScript => ("js", Kind::Runs, &["--version"]),
            Language::Lua => ("lua", Kind::Runs, &["-v"]),
            Language::Python => ("py", Kind::Runs, &["--version"]),
        }
    }

    /// The program to run for what was found in the search path. A `python3` may be a script that looks for the one to
    /// start, which takes longer than starting it.
    fn program(self, found: PathBuf) -> PathBuf {
        if self != Language::Python {
            return found;
        }
        let output = Command::new(&found).args(["-c", "import sys; print(sys.executable)"]).output();
        let named =
            output.map(|o| PathBuf::from(String::from_utf8_lossy(&o.stdout).trim())).unwrap_or_default();
        if named.is_file() { named } else { found }
    }
}

/// A peer that takes part in every kernel wherever it is installed.
const fn peer(
    name: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    language: Language,
) -> Peer {
    Peer { name, program, args, language, only: &[], part: Part::Always }
}

const PEERS: &[Peer] = &[
    peer("gcc", "gcc", &["-O2", "-std=c11"], Language::C),
    // What calls cost a compiler that may not make them go away: a question for kernels made of calls.
    Peer {
        only: &["fib", "tak"],
        ..peer(
            "gcc-noinline",
            "gcc",
            &["-O2", "-std=c11", "-fno-inline", "-fno-optimize-sibling-calls"],
            Language::C,
        )
    },
    peer("clang", "clang", &["-O2", "-std=c11"], Language::C),
    peer("luajit", "luajit", &[], Language::Lua),
    peer("luajit-joff", "luajit", &["-joff"], Language::Lua),
    peer("lua5.4", "lua5.4", &[], Language::Lua),
    peer("node", "node", &[], Language::JavaScript),
    // Its interpreter and its baseline compiler.
    peer("node-noopt", "node", &["--no-opt"], Language::JavaScript),
    Peer { part: Part::Named, ..peer("python3", "python3", &[], Language::Python) },
    peer("pypy3", "pypy3", &[], Language::Python),
];

impl Peer {
    /// The contestant, if the program is installed.
    fn contestant(&self, only: &'static [&'static str]) -> Option<Contestant> {
        let (extension, kind, version_args) = self.language.traits();
        Some(Contestant {
            name: self.name.to_owned(),
            tier: None,
            kind,
            extension,
            program: self.language.program(find(self.program)?),
            args: self.args.iter().map(OsString::from).collect(),
            version_args,
            only,
        })
    }
}

/// The peers of a comma-separated list, in its order; without a list those that are installed and not slow, with `all`
/// whoever is installed.
pub fn peers(list: Option<&str>) -> Result<Vec<Contestant>, Box<dyn Error>> {
    let list = match list {
        Some(list) if list != "all" => list,
        _ => {
            let part = |peer: &&Peer| list.is_some() || peer.part == Part::Always;
            let installed = PEERS.iter().filter(part);
            return Ok(installed.filter_map(|peer| peer.contestant(peer.only)).collect());
        }
    };
    let mut peers = Vec::new();
    for name in list.split(',').filter(|name| !name.is_empty() && *name != "none") {
        let peer = PEERS.iter().find(|peer| peer.name == name).ok_or_else(|| {
            let known: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
            format!("unknown peer `{name}`; known are {}", known.join(", "))
        })?;
        peers.push(peer.contestant(&[]).ok_or_else(|| format!("`{}` is not installed", peer.program))?);
    }
    Ok(peers)
}

/// The engine: one contestant, or one per tier of a comma-separated list.
pub fn upshift(program: &Path, tiers: Option<&str>) -> Vec<Contestant> {
    let contestant = |tier: Option<&str>| Contestant {
        name: tier.map_or_else(|| "upshift".to_owned(), |tier| format!("upshift:{tier}")),
        tier: tier.map(str::to_owned),
        kind: Kind::Runs,
        extension: "mochi",
        program: program.to_owned(),
        args: ["run"]
            .into_iter()
            .chain(tier.into_iter().flat_map(|t| ["--tier", t]))
            .map(OsString::from)
            .collect(),
        version_args: &["--version"],
        only: &[],
    };
    match tiers {
        None => vec![contestant(None)],
        Some(list) => list.split(',').map(|tier| contestant(Some(tier))).collect(),
    }
}

/// Looks a program up in the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|directory| directory.join(program)).find(|path| path.is_file())
}
