//! From source text to syntax tree.
//!
//! [`parse`] turns one file of a [`SourceMap`] into a [`Program`] and a list of diagnostics. There is always a program: what
//! could not be understood is an `Error` node in it. If any diagnostic is an error, the program must not be run; checking it
//! further is possible and skips the `Error` nodes.
//!
//! ```
//! use upshift_mochi::source::SourceMap;
//! use upshift_mochi::syntax::{ast::*, parse};
//!
//! let (mut sources, mut names) = (SourceMap::new(), Interner::new());
//! let file = sources.add("sum.mochi", "print(1 + 2)");
//! let (program, diagnostics) = parse(&sources, file, &mut names);
//! assert!(diagnostics.is_empty());
//! for &stmt in &program[program.body.stmts] {
//!     let StmtKind::Expr(expr) = program[stmt].kind else { panic!() };
//!     let ExprKind::Call { callee, args } = program[expr].kind else { panic!() };
//!     assert_eq!(program.as_name(callee).map(|name| &names[name]), Some("print"));
//!     assert_eq!(program[args].len(), 1);
//! }
//! ```
//!
//! Later phases index the tree by id, keep their findings in `Vec`s beside it (`vec![..; program.exprs.len()]`), and recurse
//! over its nodes, except along [`Program::binary_spine`]; see [`ast`] for what they can rely on. The interner is shared by all
//! files of a session, so that names of different programs compare.

pub mod ast;
mod lexer;
mod lint;
mod parser;
mod printer;
mod quiet;
pub(crate) mod walk;

use crate::diagnostics::Diagnostic;
use crate::source::{FileId, SourceMap};
use ast::{Interner, Program};

pub use lexer::{MAX_ERRORS, MAX_TOKENS};
pub use lint::idle_statements;
pub(crate) use parser::Again;
pub use printer::{print, print_expr, print_type};

/// Parses a file. Diagnostics come in the order of their places.
pub fn parse(sources: &SourceMap, file: FileId, names: &mut Interner) -> (Program, Vec<Diagnostic>) {
    parser::parse(file, sources.file(file).text(), names)
}
