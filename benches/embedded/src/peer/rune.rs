//! Rune.

use std::error::Error;
use std::sync::Arc;

use rune::{Context, Source, Sources, Vm};

use crate::Program;

/// As it comes.
pub fn load(source: &str) -> Result<Program, Box<dyn Error>> {
    let context = Context::with_default_modules()?;
    let runtime = Arc::new(context.runtime()?);
    let mut sources = Sources::new();
    sources.insert(Source::memory(source)?)?;
    let unit = rune::prepare(&mut sources).with_context(&context).build()?;
    let mut vm = Vm::new(runtime, Arc::new(unit));
    Ok(Box::new(move |n| Ok(rune::from_value::<i64>(vm.call(["run"], (n,))?)?)))
}
