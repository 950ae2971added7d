//! Traps: why a run stopped, with where.
//!
//! A [`Trap`] travels as an ordinary error through host functions and out of the engine. While guest code unwinds, the
//! same thing is the instance's *pending* state; a guest exception (any cell) travels as a trap with a payload.

use std::borrow::Cow;
use std::fmt;

use upshift_bytecode::TrapCode;

use crate::host::Root;

/// The most frames of a backtrace that are kept: this many of the innermost and a quarter of it of the outermost.
pub const BACKTRACE_INNER: usize = 24;
/// See [`BACKTRACE_INNER`].
pub const BACKTRACE_OUTER: usize = 8;

/// Why a run stopped.
#[derive(Clone)]
pub struct Trap(Box<TrapInner>);

#[derive(Clone)]
struct TrapInner {
    code: TrapCode,
    message: Cow<'static, str>,
    exit: i32,
    payload: Option<Root>,
    backtrace: Option<Backtrace>,
}

/// The guest frames that were live when a trap was raised, the innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backtrace {
    /// The innermost frames.
    pub inner: Vec<BacktraceFrame>,
    /// How many frames between `inner` and `outer` are left out.
    pub elided: u64,
    /// The outermost frames.
    pub outer: Vec<BacktraceFrame>,
}

/// One guest frame of a backtrace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BacktraceFrame {
    /// The function's name.
    pub function: String,
    /// The source's name, where the code has positions.
    pub source: Option<String>,
    /// Line, from 1; 0 where the code has no position.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
    /// First byte of the span in the source.
    pub start: u32,
    /// First byte behind the span.
    pub end: u32,
}

impl Backtrace {
    /// All kept frames, the innermost first.
    pub fn frames(&self) -> impl Iterator<Item = &BacktraceFrame> {
        self.inner.iter().chain(&self.outer)
    }
}

impl fmt::Display for BacktraceFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} ({source}:{}:{})", self.function, self.line, self.column),
            None => f.write_str(&self.function),
        }
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for frame in &self.inner {
            writeln!(f, "  at {frame}")?;
        }
        if self.elided > 0 {
            writeln!(f, "  … {} more frames …", self.elided)?;
        }
        for frame in &self.outer {
            writeln!(f, "  at {frame}")?;
        }
        Ok(())
    }
}

impl Trap {
    /// A trap with a message.
    #[cold]
    pub fn new(code: TrapCode, message: impl Into<Cow<'static, str>>) -> Trap {
        Trap(Box::new(TrapInner { code, message: message.into(), exit: 0, payload: None, backtrace: None }))
    }

    /// A trap with the code's usual message.
    #[cold]
    pub fn of(code: TrapCode) -> Trap {
        Trap::new(code, default_message(code))
    }

    /// Ends the program on purpose, with an exit status.
    #[cold]
    pub fn exit(status: i32) -> Trap {
        let mut trap = Trap::of(TrapCode::Exit);
        trap.0.exit = status;
        trap
    }

    /// A guest exception. The root must belong to the context that the trap is returned to.
    #[cold]
    pub fn exception(value: Root, message: impl Into<Cow<'static, str>>) -> Trap {
        let mut trap = Trap::new(TrapCode::UncaughtException, message);
        trap.0.payload = Some(value);
        trap
    }

    /// The code.
    pub fn code(&self) -> TrapCode {
        self.0.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The status of an exit; 0 for other traps.
    pub fn status(&self) -> i32 {
        self.0.exit
    }

    /// The exception, where a guest raised one. Valid in the host call that received the trap.
    pub fn payload(&self) -> Option<Root> {
        self.0.payload
    }

    /// The guest frames, where the trap came out of guest code.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.0.backtrace.as_ref()
    }

    pub(crate) fn set_payload(&mut self, payload: Option<Root>) {
        self.0.payload = payload;
    }

    pub(crate) fn set_backtrace(&mut self, backtrace: Backtrace) {
        self.0.backtrace = Some(backtrace);
    }
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trap")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.text(), self.0.message)
    }
}

impl std::error::Error for Trap {}

/// What a trap says where nothing more is known.
pub fn default_message(code: TrapCode) -> &'static str {
    match code {
        TrapCode::IntegerOverflow => "the result does not fit 64 bits",
        TrapCode::DivisionByZero => "division by zero",
        TrapCode::IndexOutOfRange => "index out of range",
        TrapCode::MissingKey => "no such key",
        TrapCode::BadCast => "the value is not of the type that it is cast to",
        TrapCode::TypeMismatch => "the operation does not know values of this kind",
        TrapCode::NullAccess => "a value is needed, but there is none",
        TrapCode::Uninitialized => "read before it was set",
        TrapCode::InvalidArgument => "the argument is outside the operation's domain",
        TrapCode::StackOverflow => "too many nested calls",
        TrapCode::MemoryLimit => "the memory limit is reached",
        TrapCode::OutOfFuel => "the fuel is used up",
        TrapCode::Interrupted => "interrupted",
        TrapCode::TimedOut => "the time limit is reached",
        TrapCode::UncaughtException => "an exception was not caught",
        TrapCode::HostError => "a host function failed",
        TrapCode::ExpectFailed => "an expectation failed",
        TrapCode::Panic => "the program gave up",
        TrapCode::Exit => "the program ended itself",
        TrapCode::Unreachable => "code that should never run was reached",
    }
}

impl From<crate::heap::OutOfMemory> for Trap {
    fn from(_: crate::heap::OutOfMemory) -> Trap {
        Trap::of(TrapCode::MemoryLimit)
    }
}
