//! LuaJIT or Luau, through mlua.

use std::error::Error;

use mlua::{Function, Lua};

use crate::Program;

/// With the compiler to machine code.
pub fn load(source: &str) -> Result<Program, Box<dyn Error>> {
    with(Lua::new(), source)
}

/// Without.
#[cfg(feature = "luau")]
pub fn interpreted(source: &str) -> Result<Program, Box<dyn Error>> {
    let lua = Lua::new();
    lua.enable_jit(false);
    with(lua, source)
}

fn with(lua: Lua, source: &str) -> Result<Program, Box<dyn Error>> {
    lua.load(source).exec()?;
    let run: Function = lua.globals().get("run")?;
    Ok(Box::new(move |n| {
        let _alive = &lua;
        Ok(run.call(n)?)
    }))
}
