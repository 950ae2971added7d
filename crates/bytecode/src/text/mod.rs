//! The text form of modules: for tests, dumps and bug reports.
//!
//! [`print`] writes every table of a module and every instruction, and [`parse`] reads it back: `parse(&print(m))`
//! gives `m` again, for modules that the verifier would refuse too. [`dump`] adds source lines as comments.
//!
//! ```text
//! module "example"
//! sig0 = (int) -> int
//! fn0 "double" sig0 {
//!   window 0
//!   raws i3
//!   code
//!     int.add i3, i0, i0   @0:4..9
//!     return.int i3
//! }
//! ```
//!
//! Registers are written as the letter of their bank and their slot (`i3`, `f4`, `c2`), window slots as `w0`, wide slots as
//! `s70000`; labels are numbered by position; a trailing `@source:start..end` starts a span. Raw `int`, `bool` and `float` are told from
//! boxed ones by the names `boxed.int`, `boxed.bool` and `boxed.float`. A `;` starts a comment.
//!
//! What no mnemonic can express is written raw, so that broken modules survive too: `.word 0x…` for words that do not decode (or whose
//! unused units are not zero), `+7` or `-7` for branch distances that do not lead to an instruction.

mod lexer;
mod parser;
mod printer;

pub use lexer::TextError;
pub use parser::parse;
pub use printer::{cell_type, dump, instruction, print, value_type};

use crate::module::{Function, Module};
use crate::types::HeapType;

/// The slots before the directly addressed cells, and the frame's size, as far as a (possibly broken) function tells.
#[derive(Clone, Copy)]
struct Slots {
    first_cell: u64,
    first_raw: u64,
    first_spilled_raw: u64,
    first_spilled_cell: u64,
    size: u64,
}

impl Slots {
    fn of(module: &Module, function: &Function) -> Slots {
        let raw_params = module.signatures.get(function.signature.index()).map_or(0, |s| s.counts().0);
        let first_cell = u64::from(raw_params + crate::frame::HEADER_SLOTS);
        let first_raw = first_cell + function.cells.len() as u64;
        let first_spilled_raw = first_raw + function.raws.len() as u64;
        let first_spilled_cell = first_spilled_raw + function.spilled_raws.len() as u64;
        let size = first_spilled_cell + function.spilled_cells.len() as u64;
        Slots { first_cell, first_raw, first_spilled_raw, first_spilled_cell, size }
    }
}

/// The heap types that are written as one word, with that word.
const SIMPLE_TYPES: &[(HeapType, &str)] = &[
    (HeapType::Any, "any"),
    (HeapType::Results, "results"),
    (HeapType::Int, "boxed.int"),
    (HeapType::Float, "boxed.float"),
    (HeapType::Bool, "boxed.bool"),
    (HeapType::Name, "name"),
    (HeapType::String, "string"),
    (HeapType::ListInt, "list.int"),
    (HeapType::ListFloat, "list.float"),
    (HeapType::ListBool, "list.bool"),
    (HeapType::Function, "function"),
    (HeapType::RefInt, "ref.int"),
    (HeapType::RefFloat, "ref.float"),
];

/// The key policies with their names.
const KEY_POLICIES: &[(crate::types::KeyPolicy, &str)] = {
    use crate::types::KeyPolicy::*;
    &[(Int, "int"), (String, "string"), (Value, "value"), (Text, "text"), (Protocol, "protocol")]
};

/// The order policies with their names.
const ORDER_POLICIES: &[(crate::types::OrderPolicy, &str)] = {
    use crate::types::OrderPolicy::*;
    &[(Insertion, "insertion"), (SortedByText, "sorted")]
};

/// The C types with their names.
const C_TYPES: &[(crate::module::CType, &str)] = {
    use crate::module::CType::*;
    &[
        (Void, "void"),
        (Int32, "int32"),
        (Int64, "int64"),
        (Double, "double"),
        (Pointer, "pointer"),
        (CString, "cstring"),
    ]
};

#[cfg(test)]
mod tests;
