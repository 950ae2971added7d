//! The text tests of the bytecode: `filetests/verify` (a module and what the verifier says of it) and `filetests/text`
//! (modules as the printer writes them), and the generated reference page.
//!
//! `BLESS=1` rewrites what is expected; look at the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};
use upshift_bytecode::{binary, reference, text, verifier};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs every file of a folder. `check` gives the file as it should be.
fn run(folder: &str, first_line: &str, check: impl Fn(&str) -> String) {
    let folder = root().join("filetests").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "no tests in {}", folder.display());
    let mut failures = String::new();
    for path in paths {
        let found = fs::read_to_string(&path).unwrap();
        assert!(found.starts_with(first_line), "{} does not begin with `{first_line}`", path.display());
        let expected = check(&found);
        if found != expected {
            if std::env::var_os("BLESS").is_some() {
                fs::write(&path, &expected).unwrap();
            } else {
                failures.push_str(&format!("--- {}\n{expected}\n", path.display()));
            }
        }
    }
    assert!(failures.is_empty(), "these files should be (BLESS=1 writes them):\n{failures}");
}

#[test]
fn verify() {
    run("verify", "; test verify\n", |file| {
        let body: String =
            file.lines().filter(|l| !l.starts_with("; expect:")).map(|l| format!("{l}\n")).collect();
        let said = match text::parse(&body) {
            Ok(module) => match verifier::verify(&module) {
                Ok(()) => "ok".to_string(),
                Err(e) => e.to_string(),
            },
            Err(e) => format!("no module: {e}"),
        };
        format!("{body}; expect: {said}\n")
    });
}

#[test]
fn every_rule_has_a_test() {
    let folder = root().join("filetests/verify");
    let files: String =
        fs::read_dir(folder).unwrap().map(|e| fs::read_to_string(e.unwrap().path()).unwrap()).collect();
    for rule in verifier::Rule::ALL {
        assert!(files.contains(&format!("[{}]\n", rule.text())), "no test for rule {}", rule.text());
    }
}

#[test]
fn text() {
    run("text", "; test text\n", |file| {
        let module = text::parse(file).unwrap_or_else(|e| panic!("{e}\n{file}"));
        assert_eq!(verifier::verify(&module).map_err(|e| e.to_string()), Ok(()), "{file}");
        assert_eq!(binary::decode(&binary::encode(&module)).as_ref(), Ok(&module));
        format!("; test text\n{}", text::print(&module))
    });
}

#[test]
fn the_reference_page_is_current() {
    let path = root().join("docs/bytecode.md");
    let expected = reference();
    if fs::read_to_string(&path).ok().as_ref() != Some(&expected) {
        assert!(
            std::env::var_os("BLESS").is_some(),
            "docs/bytecode.md is not what the op list says: run with BLESS=1"
        );
        fs::write(&path, expected).unwrap();
    }
}
