//! Upshift: a tiered execution engine for programming languages.
//!
//! A front end builds a [`Module`](bytecode::Module) of typed bytecode; the engine verifies and links it, and instances run
//! it. This is the whole of it: make an engine, register a host function, load a module, call a typed function, handle an
//! error.
//!
//! ```
//! use upshift::{Config, Engine, Grants, Limits, TrapCode};
//! use upshift::bytecode::{builder::{ModuleBuilder, Reg}, ValueType};
//!
//! // What a front end does: a module with `div(a, b) = scale(a / b)`.
//! let mut builder = ModuleBuilder::new("example");
//! let ints = builder.signature(&[ValueType::Int, ValueType::Int], Some(ValueType::Int));
//! let one = builder.signature(&[ValueType::Int], Some(ValueType::Int));
//! let scale = builder.host("scale", one);
//! let div = builder.declare("div", ints, None);
//! let mut code = builder.define(div);
//! let (a, b) = (code.param(0), code.param(1));
//! let quotient = code.int();
//! code.int_div(quotient, a, b);
//! code.int_move(Reg::window(0), quotient);
//! code.call_host_int(quotient, scale);
//! code.return_int(quotient);
//! code.finish(&mut builder);
//! let module = builder.finish();
//!
//! // What an embedder does.
//! let mut config = Config::default();
//! config.hosts.function("scale", |_: &mut upshift::HostContext<'_>, x: i64| Ok(x * 10));
//! let engine = Engine::new(config);
//! let module = engine.load(&module)?;
//! let mut instance = engine.instantiate(&module, Grants::none(), Limits::default())?;
//! let div = instance.function::<(i64, i64), i64>("div")?;
//! assert_eq!(instance.call(&div, (42, 2))?, 210);
//! let error = instance.call(&div, (1, 0)).unwrap_err();
//! assert_eq!(error.code(), TrapCode::DivisionByZero);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`Engine`] (Send + Sync): configuration, host functions and the tables that loaded modules share.
//! * [`Module`]: verified and linked bytecode, shared by all instances of its engine.
//! * [`Instance`]: heap, stacks and globals; used by one thread at a time, and nothing of it is global.
//! * [`TypedFunction`]: a function of an instance's modules whose types were checked once.
//! * [`RunError`]: why a run stopped, with the guest's backtrace.
//! * [`Grants`] and [`Limits`]: what a guest may touch and use up.
//! * [`Instance::start_sampling`] and [`profile::sampler`]: where its time goes.
//! * [`Instance::start_explaining`] and [`explain`]: what became of each function and loop, and why it is not faster.

#[doc(hidden)]
pub mod code_memory;
mod engine;
mod error;
pub mod explain;
mod function;
pub mod profile;
#[doc(hidden)]
pub mod tiers;

pub use engine::{Config, Engine, Instance, Limits, Module, Tier, TierConfig};
pub use error::{CallError, LoadError, RunError};
pub use function::{Param, Params, ResultType, TypedFunction};
pub use profile::Format as ProfileFormat;
pub use tiers::events::{Cause, Event, What};
pub use tiers::{Counters, MachineCode, OptimizedFunction, SharedMachinery};

pub use upshift_bytecode as bytecode;
pub use upshift_bytecode::TrapCode;
pub use upshift_runtime::context::InterruptHandle;
pub use upshift_runtime::feedback;
pub use upshift_runtime::heap::thread_time;
pub use upshift_runtime::host::{
    Args, HostContext, HostFunction, HostRegistry, ListView, MapView, RecordView, Ret, Root, Storage, Text,
    TupleView, Val,
};
pub use upshift_runtime::io::{Grants, Io};
pub use upshift_runtime::trap::{Backtrace, BacktraceFrame, Trap};
