//! Rhai.

use std::error::Error;

use rhai::{Engine, Scope};

use crate::Program;

/// As it comes, but with room for the recursion of the kernels.
pub fn load(source: &str) -> Result<Program, Box<dyn Error>> {
    let mut engine = Engine::new();
    engine.set_max_call_levels(1_000);
    let ast = engine.compile(source)?;
    Ok(Box::new(move |n| Ok(engine.call_fn::<i64>(&mut Scope::new(), &ast, "run", (n,))?)))
}
