//! The control: the same kernels in C, measured and classified in the same way.
//!
//! Code that gcc compiled beforehand cannot warm up or get slower, so whatever its curves show is the machine's doing. The share
//! of its processes that are steady is what an engine can reach on that machine at best.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Small;
use crate::bench::child;

/// Compiles a kernel's C program, made small, into a program that takes the number of iterations.
///
/// # Errors
///
/// Where the file is not there, does not have the text to be replaced once, or gcc fails.
pub fn compile(kernels: &Path, small: &Small, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let text = small_text(kernels, small)?;
    let source = folder.join(format!("{}.c", small.kernel));
    fs::write(&source, text).map_err(|e| format!("{}: {e}", source.display()))?;
    let program = folder.join(format!("{}-control", small.kernel));
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-std=c11", "-Dmain=kernel_main"]).arg(&source);
    gcc.arg(kernels.with_file_name("control.c")).arg("-o").arg(&program).arg("-lm");
    child::run(&mut gcc).map_err(|e| format!("gcc: {e}"))?.checked().map_err(|e| format!("gcc: {e}"))?;
    Ok(program)
}

/// The C program of a kernel with little to do.
fn small_text(kernels: &Path, small: &Small) -> Result<String, Box<dyn Error>> {
    let path = kernels.join(&small.kernel).join(format!("{}.c", small.kernel));
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (large, less) = (&small.in_c.0, &small.in_c.1);
    if text.matches(large.as_str()).count() != 1 {
        return Err(format!("{}: `{large}` must be there once", path.display()).into());
    }
    Ok(text.replace(large.as_str(), less))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    #[test]
    fn every_c_program_can_be_made_small() {
        let kernels = root().join("benches/kernels");
        for small in super::super::small(&kernels, &[]).unwrap() {
            let text = small_text(&kernels, &small).unwrap();
            assert!(text.contains(&small.in_c.1), "{}", small.kernel);
        }
    }
}
