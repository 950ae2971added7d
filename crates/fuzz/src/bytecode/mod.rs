//! Modules of bytecode from a number, made with the builder, so that the verifier takes them: loops over many variables of all
//! banks, with statements of all sorts between.
//!
//! `programs.rs` has them as trees, which are made smaller; `code.rs` makes modules of them, `ops.rs` what stands in blocks, `shared.rs`
//! what all programs of a module call.

mod code;
mod ops;
mod programs;
mod shared;

pub use code::module;
pub use programs::{Genes, Program, Stmt, smaller};

use upshift_bytecode::builder::{FunctionBuilder, ModuleBuilder};
use upshift_bytecode::{FuncId, ValueType};

/// What the functions are called with.
pub const INPUTS: &[(i64, f64)] =
    &[(0, 0.0), (3, -1.5), (-123_456_789, 1e18), (i64::MAX, f64::NAN), (0x1234_5678_9ABC, 0.1)];

/// Adds a function whose code `f` emits.
fn function(
    m: &mut ModuleBuilder,
    name: &str,
    params: &[ValueType],
    result: Option<ValueType>,
    f: impl FnOnce(&mut ModuleBuilder, &mut FunctionBuilder),
) -> FuncId {
    let signature = m.signature(params, result);
    let id = m.declare(name, signature, None);
    let mut code = m.define(id);
    f(m, &mut code);
    code.finish(m);
    id
}
