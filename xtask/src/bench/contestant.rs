//! Who takes part: the engine, once per tier asked for, and the peers that are installed.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One way to run a program.
#[derive(Clone)]
pub struct Contestant {
    /// The name in tables and in `--peers`.
    pub name: String,
    /// The extension of the sources it runs.
    pub extension: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    version_args: &'static [&'static str],
}

impl Contestant {
    /// The command that runs `source`.
    pub fn command(&self, source: &Path) -> Command {
        self.command_with(&[], source)
    }

    /// The command that runs `source` with more options before it.
    pub fn command_with(&self, options: &[&str], source: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).args(options).arg(source);
        command
    }

    /// The source of a kernel for this contestant, `directory` being the kernel's.
    pub fn source(&self, directory: &Path, kernel: &str) -> PathBuf {
        directory.join(format!("{kernel}.{}", self.extension))
    }

    /// The first line of what it says about its version.
    pub fn version(&self) -> String {
        let output = Command::new(&self.program).args(self.version_args).output();
        let text = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
    }
}

/// The known peers: name, program, options. The name says what is compared: `luajit-joff` is its interpreter.
const PEERS: &[(&str, &str, &[&str])] =
    &[("luajit-joff", "luajit", &["-joff"]), ("luajit", "luajit", &[]), ("lua5.4", "lua5.4", &[])];

/// The peers of a comma-separated list, in its order; without a list all that are installed.
pub fn peers(list: Option<&str>) -> Result<Vec<Contestant>, Box<dyn Error>> {
    let peer = |&(name, program, args): &(&str, &str, &[&str])| {
        find(program).map(|program| Contestant {
            name: name.to_owned(),
            extension: "lua",
            program,
            args: args.iter().map(OsString::from).collect(),
            version_args: &["-v"],
        })
    };
    let Some(list) = list else { return Ok(PEERS.iter().filter_map(peer).collect()) };
    let mut peers = Vec::new();
    for name in list.split(',').filter(|name| !name.is_empty() && *name != "none") {
        let row = PEERS.iter().find(|row| row.0 == name);
        let row = row.ok_or_else(|| {
            let known: Vec<_> = PEERS.iter().map(|row| row.0).collect();
            format!("unknown peer `{name}`; known are {}", known.join(", "))
        })?;
        peers.push(peer(row).ok_or_else(|| format!("`{}` is not installed", row.1))?);
    }
    Ok(peers)
}

/// The engine: one contestant, or one per tier of a comma-separated list.
pub fn upshift(program: &Path, tiers: Option<&str>) -> Vec<Contestant> {
    let contestant = |name: String, args: &[&str]| Contestant {
        name,
        extension: "mochi",
        program: program.to_owned(),
        args: args.iter().map(OsString::from).collect(),
        version_args: &["--version"],
    };
    match tiers {
        None => vec![contestant("upshift".to_owned(), &["run"])],
        Some(list) => list
            .split(',')
            .map(|tier| contestant(format!("upshift:{tier}"), &["run", "--tier", tier]))
            .collect(),
    }
}

/// Looks a program up in the search path.
fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|directory| directory.join(program)).find(|path| path.is_file())
}
