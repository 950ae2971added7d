//! `cargo xtask docs`: writes the pages of `docs/` that are derived from the code.
//!
//! A generated page is a function without arguments that returns the text of the page; the list below names them.
//! With `--check` nothing is written, and a page that differs from its source is an error: continuous integration
//! runs it that way.

use std::fs;

use lexopt::Arg::{Long, Short};

use crate::{Outcome, root};

const USAGE: &str = "\
Usage: cargo xtask docs [--check]

Writes the generated pages of docs/.

  --check   write nothing, fail if a page is out of date
  -h, --help
";

/// A generated page: its path under the workspace, and where its text comes from.
type Page = (&'static str, fn() -> String);

/// Every generated page.
const PAGES: &[Page] = &[("docs/bytecode.md", upshift_bytecode::ops::reference)];

/// Runs the subcommand on the rest of the arguments.
pub fn run(parser: &mut lexopt::Parser) -> Outcome {
    let mut check = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("check") => check = true,
            Short('h') | Long("help") => {
                print!("{USAGE}");
                return Ok(true);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut current = true;
    for (page, text) in PAGES {
        let path = root().join(page);
        let mut wanted = text();
        if !wanted.ends_with('\n') {
            wanted.push('\n');
        }
        if fs::read_to_string(&path).is_ok_and(|found| found == wanted) {
            continue;
        }
        if check {
            eprintln!("{page} is out of date: run `cargo xtask docs`");
            current = false;
        } else {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, wanted)?;
            println!("wrote {page}");
        }
    }
    Ok(current)
}
