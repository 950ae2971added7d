//! Upshift with Mochi, through its embedding API.

use std::error::Error;

use upshift::{Config, Grants, Limits, Tier};
use upshift_cli::session::{self, Phases};
use upshift_mochi::lower::Tests;

use crate::Program;

/// As users get it.
pub fn auto(source: &str) -> Result<Program, Box<dyn Error>> {
    load(source, Tier::Auto)
}

/// The interpreter alone.
pub fn interpreter(source: &str) -> Result<Program, Box<dyn Error>> {
    load(source, Tier::Interpreter)
}

fn load(source: &str, tier: Tier) -> Result<Program, Box<dyn Error>> {
    let phases = &mut Phases::default();
    let mut parsed = session::parse_program("kernel.mochi", source.into(), phases);
    session::find_unsupported(&mut parsed, phases);
    if parsed.has_errors() {
        return Err(format!("{:?}", parsed.diagnostics).into());
    }
    let module = session::compile(&mut parsed, Tests::Inline, phases).module;
    let mut config = Config::default();
    config.tier = tier;
    let engine = session::engine(config);
    let module = session::load(&engine, &module, phases)?;
    let mut instance = engine.instantiate(&module, Grants::none(), Limits::default())?;
    instance.run()?;
    let run = instance.function::<(i64,), i64>("run")?;
    Ok(Box::new(move |n| Ok(instance.call(&run, (n,))?)))
}
