//! The text tests of the SSA form: `filetests/ssa`.
//!
//! The first line says what happens to the function below it: `; test verify` (the verifier's answer), `; test print` (as the printer
//! writes it), `; test opt PASS, PASS` (after these passes) or `; test opt` (after the whole pipeline), `; test eval` (what it
//! computes), `; test eval PASS, PASS` (what it computes after these). Functions are verified before they run, and before and after each pass. `; expect:` lines hold what comes out.
//!
//! A test of evaluation has a line `; run 1, 2.5, nil` for each run, with the arguments, and may have objects, which are new for each
//! run: `; object 0x1000: 1 2 0x1100` with the words. Objects that a run changed stand below its outcome.
//!
//! `BLESS=1` rewrites what is expected; look at the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};
use upshift_optimizer::eval::{Memory, World, evaluate};
use upshift_optimizer::ir::{Function, Type};
use upshift_optimizer::passes;
use upshift_optimizer::text::{parse, parse_bits, print};
use upshift_optimizer::verify::{Rule, verify};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filetests/ssa")
}

fn files() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "ssa"));
    paths.sort();
    assert!(!paths.is_empty(), "no tests in {}", folder().display());
    paths.into_iter().map(|p| (p.clone(), fs::read_to_string(p).unwrap())).collect()
}

/// What a test gives.
fn outcome(command: &str, body: &str) -> String {
    let func = match parse(body) {
        Ok(func) => func,
        Err(e) => return format!("no function: {e}"),
    };
    let printed = print(&func);
    assert_eq!(parse(&printed).map(|f| print(&f)).as_ref(), Ok(&printed), "print and parse disagree");
    match command.split_once(' ').unwrap_or((command, "")) {
        ("verify", "") => verify(&func).err().unwrap_or_else(|| "ok".into()),
        ("print", "") => printed,
        ("eval", "") => evaluated(&func, body),
        ("eval", passes) => optimized(func, passes).map_or_else(|e| e, |func| evaluated(&func, body)),
        ("opt", passes) => match optimized(func, passes) {
            Ok(func) => print(&func),
            Err(e) => e,
        },
        _ => panic!("unknown test `{command}`"),
    }
}

fn optimized(mut func: Function, names: &str) -> Result<Function, String> {
    verify(&func).map_err(|e| format!("wrong before any pass: {e}"))?;
    if names.is_empty() {
        passes::optimize(&mut func);
        verify(&func).map_err(|e| format!("wrong after the pipeline: {e}"))?;
    }
    for name in names.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        assert!(passes::run_named(&mut func, name), "there is no pass `{name}`");
        verify(&func).map_err(|e| format!("wrong after {name}: {e}\n{}", print(&func)))?;
    }
    Ok(func)
}

fn evaluated(func: &Function, body: &str) -> String {
    if let Err(e) = verify(func) {
        return e;
    }
    let bits = |ty, text: &str| parse_bits(ty, text).unwrap_or_else(|e| panic!("{text}: {}", e.message));
    let mut memory = Memory::default();
    for line in body.lines().filter_map(|l| l.strip_prefix("; object ")) {
        let (address, words) = line.split_once(':').expect("an address, a colon, words");
        let words = words.split_whitespace().map(|w| bits(Type::Int, w));
        memory.put(bits(Type::Ptr, address), &words.collect::<Vec<_>>());
    }
    let params = &func.blocks[func.entry()].params;
    let mut out = String::new();
    for line in body.lines().filter_map(|l| l.strip_prefix("; run")) {
        let args: Vec<&str> = line.split(',').map(str::trim).filter(|a| !a.is_empty()).collect();
        assert_eq!(args.len(), params.len(), "{line}");
        let args: Vec<u64> = params.iter().zip(args).map(|(&p, a)| bits(func.ty(p), a)).collect();
        let mut world = World::new(memory.clone());
        let outcome = evaluate(func, &args, &mut world, 10_000);
        out.push_str(&format!("{} -> {}\n", line.trim(), outcome.show(func)));
        for (now, before) in world.memory.objects().zip(memory.objects()).filter(|(a, b)| a != b) {
            assert_eq!(now.0, before.0, "new objects stand behind those of the test");
            let words: Vec<String> = now.1.iter().map(|w| (*w as i64).to_string()).collect();
            out.push_str(&format!("    {:#x}: {}\n", now.0, words.join(" ")));
        }
    }
    out
}

#[test]
fn ssa() {
    let mut failures = String::new();
    for (path, found) in files() {
        let body: String =
            found.lines().filter(|l| !l.starts_with("; expect:")).map(|l| format!("{l}\n")).collect();
        let Some(command) = found.lines().next().and_then(|l| l.strip_prefix("; test ")) else {
            panic!("{} does not begin with `; test`", path.display());
        };
        let mut expected = body.clone();
        for line in outcome(command, &body).lines() {
            expected.push_str(&format!("; expect: {line}\n"));
        }
        if found == expected {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &expected).unwrap();
        } else {
            failures.push_str(&format!("--- {}\n{expected}\n", path.display()));
        }
    }
    assert!(failures.is_empty(), "these files should be (BLESS=1 writes them):\n{failures}");
}

#[test]
fn every_rule_has_a_test() {
    let files: String = files().into_iter().map(|f| f.1).collect();
    // What breaks this one cannot be written as text; `verify/tests.rs` has it.
    for rule in Rule::ALL.iter().filter(|&&r| r != Rule::Definition) {
        assert!(files.contains(&format!("[{}]\n", rule.text())), "no test for rule {}", rule.text());
    }
}
