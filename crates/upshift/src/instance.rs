//! Instances: heap, stacks and globals of one running world.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use upshift_bytecode::ValueType;
use upshift_runtime::heap::HeapStats;
use upshift_runtime::host::{HostContext, Root};
use upshift_runtime::instance::{Instance as Runtime, InstanceConfig};
use upshift_runtime::trap::Trap;

use crate::engine::{Code, Engine};
use crate::error::RunError;
use crate::{Grants, InterruptHandle};

/// What a run may use.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes that the heap may hold.
    pub memory: Option<usize>,
    /// The units of work that may be done: one for each call and each turn of a loop.
    pub fuel: Option<u64>,
    /// The longest that one run may take.
    pub timeout: Option<Duration>,
    /// The guest stack in bytes; the default is 512 MiB of address space.
    pub stack: Option<usize>,
    /// Collect at every opportunity and overwrite what was freed: for tests.
    pub gc_stress: bool,
}

/// One running world. It belongs to one thread at a time.
pub struct Instance {
    runtime: Box<Runtime>,
    timeout: Option<Duration>,
    interrupt: InterruptHandle,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.runtime.fmt(f)
    }
}

impl Instance {
    /// An instance that may use what is granted, within limits.
    ///
    /// # Errors
    /// The system does not give it memory.
    pub fn new(engine: &Engine, grants: Grants, limits: &Limits) -> Result<Instance, RunError> {
        let mut config = InstanceConfig::default();
        config.fuel = limits.fuel;
        if let Some(bytes) = limits.memory {
            config.heap.limit = bytes;
            config.heap.nursery = config.heap.nursery.min((bytes / 4).next_power_of_two().max(64 << 10));
        }
        if let Some(bytes) = limits.stack {
            config.stack = bytes;
        }
        config.heap.stress = limits.gc_stress;
        config.heap.poison |= limits.gc_stress;
        let interrupt = InterruptHandle::default();
        let run = upshift_interpreter::run;
        let runtime = Runtime::new(&config, engine.tables().clone(), grants, interrupt.clone(), run)?;
        Ok(Instance { runtime, timeout: limits.timeout, interrupt })
    }

    /// Stops this instance from another thread or a signal handler.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.interrupt.clone()
    }

    /// Gives the instance a value that host functions find by its type: see [`HostContext::data`].
    pub fn set_data<T: std::any::Any + Send>(&mut self, data: T) {
        self.runtime.set_data(data);
    }

    /// The value given to [`Instance::set_data`].
    pub fn data<T: std::any::Any>(&mut self) -> Option<&mut T> {
        self.runtime.data()
    }

    /// The fuel that is left; `None` without a limit.
    pub fn fuel(&self) -> Option<u64> {
        self.runtime.fuel()
    }

    /// What the collector did so far.
    pub fn heap_stats(&self) -> HeapStats {
        self.runtime.heap.stats()
    }

    /// Runs the entry function of a module. Output is flushed, however the run ends.
    ///
    /// # Errors
    /// The trap or exception that stopped it.
    pub fn run(&mut self, code: &Code) -> Result<(), RunError> {
        self.guarded(|runtime| {
            runtime.load(&code.0)?;
            match code.0.entry {
                Some(entry) => runtime.call_function(entry, None, &[]).map(|_| ()),
                None => Ok(()),
            }
        })
    }

    /// A handle to a function of a module, checked once against Rust types: `instance.function::<(i64, f64), i64>(..)`.
    ///
    /// # Errors
    /// There is no such function, or it has another signature.
    pub fn function<P: Params, R: FromGuest>(
        &mut self,
        code: &Code,
        name: &str,
    ) -> Result<TypedFunction<P, R>, FunctionError> {
        self.runtime.load(&code.0).map_err(|t| FunctionError(t.to_string()))?;
        let index =
            code.0.function_named(name).ok_or_else(|| FunctionError(format!("there is no function {name:?}")))?;
        let meta = code.0.function(index).ok_or_else(|| FunctionError(format!("there is no function {name:?}")))?;
        let params: Vec<ValueType> = meta.params.iter().map(|p| p.ty).collect();
        if meta.environment {
            return Err(FunctionError(format!("{name} runs only as a closure")));
        }
        if !P::accepts(&params) {
            return Err(FunctionError(format!("{name} takes other parameters than {}", P::describe())));
        }
        if !R::accepts(meta.result) {
            return Err(FunctionError(format!("{name} does not return {}", R::NAME)));
        }
        Ok(TypedFunction { index, types: PhantomData })
    }

    fn guarded<R>(&mut self, f: impl FnOnce(&mut Runtime) -> Result<R, Trap>) -> Result<R, RunError> {
        self.runtime.set_deadline(self.timeout.map(|t| Instant::now() + t));
        let result = f(&mut self.runtime);
        // A program that wrote nothing needs no standard output.
        let flushed = self.runtime.io.borrow_mut().flush();
        let value = result?;
        flushed?;
        Ok(value)
    }
}

/// Why a typed handle could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError(String);

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for FunctionError {}

/// A function of a module whose types were checked.
pub struct TypedFunction<P, R> {
    index: u32,
    types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedFunction<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P, R> Copy for TypedFunction<P, R> {}

impl<P, R> fmt::Debug for TypedFunction<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypedFunction({})", self.index)
    }
}

impl<P: Params, R: FromGuest> TypedFunction<P, R> {
    /// Calls the function in the instance that the handle was made with.
    ///
    /// # Errors
    /// The trap or exception that stopped it.
    pub fn call(self, instance: &mut Instance, params: P) -> Result<R, RunError> {
        instance.guarded(|runtime| {
            runtime.enter(|ctx| {
                let args = params.into_roots(ctx)?;
                let result = ctx.call_function(self.index, &args)?;
                R::from_guest(ctx, result)
            })
        })
    }
}

/// Rust values that guests take as one argument.
pub trait IntoGuest {
    /// Makes the guest value.
    ///
    /// # Errors
    /// memory-limit.
    fn into_guest(self, ctx: &HostContext<'_>) -> Result<Root, Trap>;
    /// Whether a parameter of this type takes it.
    fn accepts(ty: ValueType) -> bool;
    /// The name in messages.
    const NAME: &'static str;
}

/// Rust values that guest results become.
pub trait FromGuest: Sized {
    /// Reads the guest value.
    ///
    /// # Errors
    /// type-mismatch.
    fn from_guest(ctx: &HostContext<'_>, root: Root) -> Result<Self, Trap>;
    /// Whether a result of this type becomes it.
    fn accepts(ty: Option<ValueType>) -> bool;
    /// The name in messages.
    const NAME: &'static str;
}

macro_rules! scalars {
    ($($ty:ty, $name:literal, $pattern:pat, |$ctx:ident, $v:ident| $into:expr, |$val:ident| $from:expr;)*) => {$(
        impl IntoGuest for $ty {
            fn into_guest(self, $ctx: &HostContext<'_>) -> Result<Root, Trap> {
                let $v = self;
                Ok($ctx.root($into))
            }
            fn accepts(ty: ValueType) -> bool { matches!(ty, $pattern) }
            const NAME: &'static str = $name;
        }
        impl FromGuest for $ty {
            fn from_guest(ctx: &HostContext<'_>, root: Root) -> Result<Self, Trap> {
                let $val = ctx.get(root);
                let mismatch = || Trap::new(
                    upshift_bytecode::TrapCode::TypeMismatch,
                    format!("the result is {}, not {}", $val.kind().text(), $name),
                );
                ($from).ok_or_else(mismatch)
            }
            fn accepts(ty: Option<ValueType>) -> bool { matches!(ty, Some($pattern)) }
            const NAME: &'static str = $name;
        }
    )*};
}
scalars! {
    i64, "int", ValueType::Int | ValueType::Cell(_), |ctx, v| ctx.int(v)?, |val| val.as_int();
    f64, "float", ValueType::Float | ValueType::Cell(_), |ctx, v| ctx.float(v), |val| val.as_float();
    bool, "bool", ValueType::Bool | ValueType::Cell(_), |ctx, v| ctx.bool(v), |val| val.as_bool();
    String, "string", ValueType::Cell(_), |ctx, v| ctx.string(&v)?, |val| val.as_str().map(|t| t.to_string());
}

impl IntoGuest for &str {
    fn into_guest(self, ctx: &HostContext<'_>) -> Result<Root, Trap> {
        Ok(ctx.root(ctx.string(self)?))
    }
    fn accepts(ty: ValueType) -> bool {
        matches!(ty, ValueType::Cell(_))
    }
    const NAME: &'static str = "string";
}

impl FromGuest for () {
    fn from_guest(_: &HostContext<'_>, _: Root) -> Result<(), Trap> {
        Ok(())
    }
    fn accepts(_: Option<ValueType>) -> bool {
        true
    }
    const NAME: &'static str = "nothing";
}

/// Tuples of arguments.
pub trait Params {
    /// Makes the guest values.
    ///
    /// # Errors
    /// memory-limit.
    fn into_roots(self, ctx: &HostContext<'_>) -> Result<Vec<Root>, Trap>;
    /// Whether parameters of these types take them.
    fn accepts(types: &[ValueType]) -> bool;
    /// The types in messages.
    fn describe() -> String;
}

macro_rules! params {
    ($count:literal $($name:ident $i:tt),*) => {
        impl<$($name: IntoGuest),*> Params for ($($name,)*) {
            fn into_roots(self, ctx: &HostContext<'_>) -> Result<Vec<Root>, Trap> {
                let _ = ctx;
                Ok(vec![$(self.$i.into_guest(ctx)?),*])
            }
            fn accepts(types: &[ValueType]) -> bool {
                types.len() == $count $(&& $name::accepts(types[$i]))*
            }
            fn describe() -> String {
                let names: Vec<&str> = vec![$($name::NAME),*];
                format!("({})", names.join(", "))
            }
        }
    };
}
params!(0);
params!(1 A 0);
params!(2 A 0, B 1);
params!(3 A 0, B 1, C 2);
params!(4 A 0, B 1, C 2, D 3);
params!(5 A 0, B 1, C 2, D 3, E 4);
params!(6 A 0, B 1, C 2, D 3, E 4, F 5);
