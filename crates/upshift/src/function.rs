//! Functions as Rust sees them: parameter and result types that are checked when the handle is made.

use std::marker::PhantomData;

use upshift_bytecode::{TrapCode, ValueType};
use upshift_runtime::trap::Trap;

use crate::engine::Instance;
use crate::error::RunError;

/// A Rust type that is one guest parameter: `i64`, `f64` or `bool`, raw in the guest, without conversion.
pub trait Param: Copy + sealed::Sealed {
    /// The guest type.
    const TYPE: ValueType;
    /// The name in messages.
    const NAME: &'static str;
    /// The word of a frame.
    fn word(self) -> u64;
    /// From the word of a frame.
    fn of(word: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for f64 {}
    impl Sealed for bool {}
    impl Sealed for () {}
}

macro_rules! params {
    ($($ty:ty, $variant:ident, $name:literal, |$v:ident| $to:expr, |$w:ident| $from:expr;)*) => {$(
        impl Param for $ty {
            const TYPE: ValueType = ValueType::$variant;
            const NAME: &'static str = $name;
            fn word(self) -> u64 { let $v = self; $to }
            fn of($w: u64) -> Self { $from }
        }
        impl ResultType for $ty {
            const NAME: &'static str = $name;
            fn fits(ty: Option<ValueType>) -> bool { ty == Some(ValueType::$variant) }
            fn of(word: u64) -> Self { <$ty as Param>::of(word) }
        }
    )*};
}
params! {
    i64, Int, "int", |v| v as u64, |w| w as i64;
    f64, Float, "float", |v| v.to_bits(), |w| f64::from_bits(w);
    bool, Bool, "bool", |v| u64::from(v), |w| w != 0;
}

/// A Rust type that a guest result becomes: `i64`, `f64`, `bool` or nothing.
pub trait ResultType: sealed::Sealed {
    /// The name in messages.
    const NAME: &'static str;
    /// Whether a guest result is of this type.
    fn fits(ty: Option<ValueType>) -> bool;
    /// From the word of a frame.
    fn of(word: u64) -> Self;
}

impl ResultType for () {
    const NAME: &'static str = "nothing";
    fn fits(ty: Option<ValueType>) -> bool {
        ty.is_none()
    }
    fn of(_word: u64) -> Self {}
}

/// A tuple of parameters.
pub trait Params {
    /// Whether a guest function takes exactly these.
    fn fits(types: &[ValueType]) -> bool;
    /// The names, for messages.
    fn describe() -> String;
    /// Calls with the words of the parameters.
    fn with<R>(self, f: impl FnOnce(&[u64]) -> R) -> R;
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: Param),*> Params for ($($name,)*) {
            fn fits(types: &[ValueType]) -> bool {
                types == [$($name::TYPE),*]
            }
            fn describe() -> String {
                let names: &[&str] = &[$(<$name as Param>::NAME),*];
                names.join(", ")
            }
            fn with<R>(self, f: impl FnOnce(&[u64]) -> R) -> R {
                #[allow(non_snake_case, reason = "a value is named as its type")]
                let ($($name,)*) = self;
                f(&[$($name.word()),*])
            }
        }
    };
}
tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// A function of an instance, with Rust types that were checked when the handle was made.
///
/// ```compile_fail
/// fn wrong(instance: &mut upshift::Instance, f: &upshift::TypedFunction<(i64,), i64>) {
///     instance.call(f, ("one",)).unwrap();
/// }
/// ```
#[derive(Debug)]
pub struct TypedFunction<P, R> {
    index: u32,
    engine: usize,
    instance: usize,
    marker: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedFunction<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P, R> Copy for TypedFunction<P, R> {}

impl<P: Params, R: ResultType> TypedFunction<P, R> {
    pub(crate) fn new(index: u32, engine: usize, instance: usize) -> Self {
        TypedFunction { index, engine, instance, marker: PhantomData }
    }

    pub(crate) fn call(&self, instance: &mut Instance, params: P) -> Result<R, RunError> {
        // An address may be used again after an instance is gone: the types are compared once more in that case by
        // looking at the function itself, which is cheap beside a call.
        let fits = instance.identity() == self.instance
            && instance.inner.function(self.index).is_some_and(|meta| {
                let types: Vec<ValueType> = meta.params.iter().map(|p| p.ty).collect();
                P::fits(&types) && R::fits(meta.result) && !meta.environment
            });
        if !fits || self.engine == 0 {
            let message = "the function belongs to another instance";
            return Err(Trap::new(TrapCode::InvalidArgument, message).into());
        }
        // SAFETY: the parameters' types were compared above.
        let word = instance
            .bounded(|inner| params.with(|words| unsafe { inner.call_raw(self.index, None, words) }))?;
        Ok(R::of(word))
    }
}
