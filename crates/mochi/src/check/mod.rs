//! The strict type checker behind `check`.
//!
//! It finds the type errors that the language defines, with their codes and places. Running a program does not depend on
//! it: there, types are hints, and programs that this checker rejects run.
//!
//! Names of types come first, then signatures of functions, bodies of types, and the statements in their order. The
//! first error in a statement of the top level ends the check of that statement, so there is at most one per statement.
//! In [`Mode::Check`] whatever depends on a statement with an error is passed over silently; [`Mode::Strict`] keeps to the
//! letter of upstream, where such a statement declares nothing and errors follow from that.
//!
//! | file | part |
//! |---|---|
//! | `types`, `relations` | types, and how they relate |
//! | `scope` | visible names and facts about variables |
//! | `declare` | type declarations, signatures, annotations |
//! | `effects` | effects of functions, before any type is known |
//! | `stmt`, `expr`, `access`, `call`, `operand`, `matching`, `query` | the rules |
//! | `exhaustive` | what arms of a `match` leave out |
//! | `narrow`, `alias` | facts from tests; sharing of lists, maps and structs |
//! | `place`, `suggest` | where errors point, and what may help |
//! | `unsupported` | constructs that cannot run yet |

mod access;
mod alias;
mod call;
mod declare;
mod effects;
mod exhaustive;
mod expr;
mod matching;
mod narrow;
mod operand;
mod place;
mod query;
mod relations;
mod scope;
mod stmt;
mod suggest;
mod types;
mod unsupported;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use crate::builtins::{Builtin, Effects};
use crate::diagnostics::{Code, Diagnostic};
use crate::source::{SourceMap, Span};
use crate::syntax::ast::{ExprId, FunId, Interner, Name, Program, StmtId, StmtKind};

use self::effects::Inferred;
use self::narrow::Fact;
use self::scope::{Horizon, Mark, Scope};
use self::types::{FunEffects, Ty, Types, VarId};

pub use self::unsupported::unsupported;

/// Which rules apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// All type rules, but text may be cast to numbers, `nil` and all builtins are known, and what merely follows from
    /// another error is not reported.
    Check,
    /// The letter of upstream's checker.
    Strict,
}

/// What the check of a program found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CheckResult {
    /// Errors: those of type declarations, then those of other statements in their order.
    pub diagnostics: Vec<Diagnostic>,
}

impl CheckResult {
    /// Whether nothing was found.
    pub fn is_ok(&self) -> bool {
        self.diagnostics.is_empty()
    }
}

/// Checks a program that was parsed without errors.
///
/// Constructs that cannot run yet are reported by [`unsupported`] if there is nothing else to say, in [`Mode::Check`] only.
///
/// ```
/// use upshift_mochi::check::{Mode, check};
/// use upshift_mochi::diagnostics::Code;
/// use upshift_mochi::source::SourceMap;
/// use upshift_mochi::syntax::{ast::Interner, parse};
///
/// let (mut sources, mut names) = (SourceMap::new(), Interner::new());
/// let file = sources.add("sum.mochi", "let sum: int = \"one\" + 2");
/// let (program, _) = parse(&sources, file, &mut names);
/// let result = check(&program, &names, &sources, Mode::Check);
/// assert_eq!(result.diagnostics[0].code, Code::T008);
/// assert_eq!(result.diagnostics[0].message, "expected int, got string");
/// ```
pub fn check(program: &Program, names: &Interner, sources: &SourceMap, mode: Mode) -> CheckResult {
    let text = sources.file(program.file).text();
    let mut diagnostics = Checker::new(program, names, text, mode).program();
    if diagnostics.is_empty() && mode == Mode::Check {
        diagnostics = unsupported(program, names);
    }
    CheckResult { diagnostics }
}

/// Why the check of a statement ends early.
#[derive(Debug)]
enum Stop {
    /// This is wrong.
    Error(Box<Diagnostic>),
    /// Something that an error made unknown is needed.
    Silent,
}

type Check<T> = Result<T, Stop>;

/// What `return` must give.
#[derive(Clone, Copy, Debug)]
enum Returns {
    /// A value of this type.
    Declared(Ty),
    /// Anything; the type of the values so far.
    Inferred(Option<Ty>),
}

/// Effects of the calls that were checked.
#[derive(Clone, Copy, Default, Debug)]
struct CallLog {
    effects: FunEffects,
    /// The first call with an effect that has a label.
    first: Option<(Name, Span, Effects)>,
}

impl CallLog {
    /// Whether one of the calls may have assigned variables.
    fn may_assign(self) -> bool {
        !self.effects.effects.is_pure() || self.effects.assigns
    }

    /// These calls, then others.
    fn then(self, later: CallLog) -> CallLog {
        CallLog { effects: self.effects.union(later.effects), first: self.first.or(later.first) }
    }
}

struct Checker<'a> {
    ast: &'a Program,
    names: &'a Interner,
    text: &'a str,
    mode: Mode,
    types: Types,
    scope: Scope,
    effects: Vec<Inferred>,
    /// Type parameters of functions.
    generics: HashMap<FunId, Box<[VarId]>>,
    /// Types of annotated parameters and of results, once resolved.
    param_types: Vec<Option<Ty>>,
    result_types: Vec<Option<Ty>>,
    /// Types of expressions, as far as they were checked.
    expr_types: Vec<Ty>,
    /// Expressions `m[k]` of which tests tell that they have a value.
    present: HashSet<ExprId>,
    /// Types of extern names with dots.
    externs: HashMap<Vec<Name>, Ty>,
    /// Streams that were declared so far.
    streams: HashSet<Name>,
    returns: Returns,
    in_loop: bool,
    log: CallLog,
    /// What the statement that was checked last tells those behind it.
    behind: Vec<Fact>,
    /// The statement of the top level that is checked, and the error of each.
    current: usize,
    errors: Vec<Option<Box<Diagnostic>>>,
    /// How many errors have asked for a suggestion.
    suggestions: Cell<u32>,
}

/// What a failed check must put back.
struct Checkpoint {
    mark: Mark,
    horizon: Horizon,
    returns: Returns,
    in_loop: bool,
    log: CallLog,
}

impl<'a> Checker<'a> {
    fn new(ast: &'a Program, names: &'a Interner, text: &'a str, mode: Mode) -> Checker<'a> {
        let (effects, assigned) = effects::infer(ast, names);
        Checker {
            ast,
            names,
            text,
            mode,
            types: Types::new(),
            scope: Scope::new(names.len(), assigned),
            effects,
            generics: HashMap::new(),
            param_types: vec![None; ast.binds.len()],
            result_types: vec![None; ast.funs.len()],
            expr_types: vec![Ty::POISON; ast.exprs.len()],
            present: HashSet::new(),
            externs: HashMap::new(),
            streams: HashSet::new(),
            returns: Returns::Declared(Ty::UNIT),
            in_loop: false,
            log: CallLog::default(),
            behind: Vec::new(),
            current: 0,
            errors: vec![None; ast[ast.body.stmts].len()],
            suggestions: Cell::new(0),
        }
    }

    /// Checks everything.
    fn program(mut self) -> Vec<Diagnostic> {
        let ast = self.ast;
        let stmts = &ast[ast.body.stmts];
        self.bind_builtins();
        self.declare_types(stmts, true);
        self.declare_functions(stmts);
        self.declare_methods(stmts, true);
        if self.strict() {
            self.type_bodies(stmts);
        }
        for (index, &stmt) in stmts.iter().enumerate() {
            self.current = index;
            // A failed declaration needs no second opinion.
            if self.errors[index].is_some() && matches!(ast[stmt].kind, StmtKind::Fun(_)) {
                continue;
            }
            if matches!(ast[stmt].kind, StmtKind::Type(_)) {
                continue;
            }
            if !self.attempt(|checker| checker.stmt_of_top(stmt)) {
                self.bind_poisoned(stmt);
            }
        }
        if !self.strict() {
            // Upstream lets methods see no variables of the top level; these see all.
            self.type_bodies(stmts);
        }
        let is_type = |index: usize| matches!(ast[stmts[index]].kind, StmtKind::Type(_));
        let (first, second): (Vec<_>, Vec<_>) = self
            .errors
            .into_iter()
            .enumerate()
            .filter(|(_, error)| error.is_some())
            .partition(|&(at, _)| is_type(at));
        first.into_iter().chain(second).filter_map(|(_, error)| error).map(|error| *error).collect()
    }

    /// Checks the methods that statements of the top level declare.
    fn type_bodies(&mut self, stmts: &[StmtId]) {
        for (index, &stmt) in stmts.iter().enumerate() {
            if let StmtKind::Type(id) = self.ast[stmt].kind
                && self.errors[index].is_none()
            {
                self.current = index;
                self.attempt(|checker| checker.check_methods(id));
            }
        }
    }

    /// Checks something; an error ends that and is reported. Whether all went well.
    fn attempt(&mut self, what: impl FnOnce(&mut Self) -> Check<()>) -> bool {
        let before = self.checkpoint();
        let Err(stop) = what(self) else { return true };
        self.restore(before);
        if let Stop::Error(error) = stop {
            self.report(*error);
        }
        false
    }

    fn strict(&self) -> bool {
        self.mode == Mode::Strict
    }

    fn checkpoint(&self) -> Checkpoint {
        let Checker { returns, in_loop, log, .. } = *self;
        Checkpoint { mark: self.scope.enter(), horizon: self.scope.horizon(), returns, in_loop, log }
    }

    fn restore(&mut self, point: Checkpoint) {
        self.scope.leave(point.mark);
        self.scope.leave_closure(point.horizon);
        (self.returns, self.in_loop, self.log) = (point.returns, point.in_loop, point.log);
    }

    /// Keeps an error, if it is the first of the statement.
    fn report(&mut self, error: Diagnostic) {
        self.errors[self.current].get_or_insert_with(|| Box::new(error));
    }

    fn show(&self, ty: Ty) -> String {
        self.types.show(ty, self.names)
    }

    /// The text of a name, to be used while the checker changes.
    fn text_of(&self, name: Name) -> &'a str {
        let names = self.names;
        &names[name]
    }

    /// Makes the builtin functions known.
    fn bind_builtins(&mut self) {
        for &builtin in Builtin::ALL {
            let info = builtin.info();
            // A name that was never interned does not occur in the program.
            let Some(name) = self.names.lookup(info.name) else { continue };
            if info.predeclared || !self.strict() {
                let ty = self.builtin_type(info);
                self.scope.bind_builtin(name, ty, builtin);
            }
        }
    }
}

/// As [`error`], for an error that is there already.
fn stop<T>(diagnostic: Diagnostic) -> Check<T> {
    Err(Stop::Error(Box::new(diagnostic)))
}

/// An error that ends a check.
fn error<T>(code: Code, span: Span, message: impl Into<String>) -> Check<T> {
    stop(Diagnostic::error(code, span, message))
}
