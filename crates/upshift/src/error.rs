//! The three ways in which using the engine fails: loading, looking up, running.

use std::fmt;

use upshift_bytecode::verifier::VerifyError;
use upshift_bytecode::{TrapCode, ValueType};
use upshift_runtime::linked::LinkError;
use upshift_runtime::trap::{Backtrace, Trap};

/// Why a module cannot be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// It breaks a rule of the bytecode.
    Verify(VerifyError),
    /// It needs what the engine does not have.
    Link(LinkError),
    /// The engine is configured for a tier that this build does not have.
    AbsentTier(&'static str),
}

impl LoadError {
    pub(crate) fn verify(error: VerifyError) -> LoadError {
        LoadError::Verify(error)
    }
    pub(crate) fn link(error: LinkError) -> LoadError {
        LoadError::Link(error)
    }
    pub(crate) fn absent(tier: &'static str) -> LoadError {
        LoadError::AbsentTier(tier)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Verify(error) => write!(f, "invalid bytecode: {error}"),
            LoadError::Link(error) => write!(f, "cannot link: {error}"),
            LoadError::AbsentTier(tier) => {
                write!(f, "the {tier} tier is not part of this build; use the interpreter or auto")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Why a function cannot be had under the wanted type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// No loaded module has a function of this name.
    Unknown(String),
    /// Its parameters or result are others.
    Types {
        /// The function.
        name: String,
        /// The types that were asked for.
        wanted: String,
        /// The types that it has.
        found: String,
    },
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Unknown(name) => write!(f, "no function is called {name:?}"),
            CallError::Types { name, wanted, found } => write!(f, "{name} is {found}, not {wanted}"),
        }
    }
}

impl std::error::Error for CallError {}

pub(crate) fn describe(params: &[ValueType], result: Option<ValueType>) -> String {
    let kind = |ty: &ValueType| match ty {
        ValueType::Int => "int",
        ValueType::Bool => "bool",
        ValueType::Float => "float",
        ValueType::Cell(_) => "cell",
    };
    let params: Vec<&str> = params.iter().map(kind).collect();
    format!("({}) -> {}", params.join(", "), result.as_ref().map_or("nothing", kind))
}

/// Why a run stopped: a trap, with the guest frames that were live.
#[derive(Clone, Debug)]
pub struct RunError(Box<Trap>);

impl RunError {
    /// The trap's code.
    pub fn code(&self) -> TrapCode {
        self.0.code()
    }

    /// The message, without the code.
    pub fn message(&self) -> &str {
        self.0.message()
    }

    /// Whether the program ended itself on purpose, and with which status.
    pub fn status(&self) -> Option<i32> {
        (self.0.code() == TrapCode::Exit).then(|| self.0.status())
    }

    /// The guest frames, the innermost first; empty where no guest code ran.
    pub fn backtrace(&self) -> &Backtrace {
        static NONE: std::sync::OnceLock<Backtrace> = std::sync::OnceLock::new();
        self.0.backtrace().unwrap_or_else(|| NONE.get_or_init(Backtrace::default))
    }
}

impl From<Trap> for RunError {
    fn from(trap: Trap) -> RunError {
        RunError(Box::new(trap))
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for RunError {}
