//! Koto.

use std::error::Error;

use koto::Koto;
use koto::runtime::KValue;

use crate::Program;

/// As it comes.
pub fn load(source: &str) -> Result<Program, Box<dyn Error>> {
    let mut koto = Koto::default();
    koto.compile_and_run(source).map_err(|e| e.to_string())?;
    Ok(Box::new(move |n| match koto.call_exported_function("run", n).map_err(|e| e.to_string())? {
        KValue::Number(number) => Ok(i64::from(&number)),
        other => Err(format!("a {} came back", other.type_as_string()).into()),
    }))
}
