//! Roto, which compiles before anything runs.

use std::error::Error;

use roto::{FileTree, Runtime};

use crate::Program;

/// As it comes.
pub fn load(source: &str) -> Result<Program, Box<dyn Error>> {
    let runtime = Runtime::new();
    let mut package =
        FileTree::test_file("kernel.roto", source, 0).compile(&runtime).map_err(|e| e.to_string())?;
    // Lengths are unsigned, and ints are not converted.
    if let Ok(run) = package.get_function::<fn(i64) -> u64>("run") {
        return Ok(Box::new(move |n| {
            let _alive = &package;
            Ok(run.call(n).try_into()?)
        }));
    }
    let run = package.get_function::<fn(i64) -> i64>("run").map_err(|e| e.to_string())?;
    Ok(Box::new(move |n| {
        let _alive = &package;
        Ok(run.call(n))
    }))
}
