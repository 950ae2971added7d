//! The run-time library: what Mochi programs call that is not bytecode.
//!
//! [`register`] puts three families of host functions into a registry: the builtins, as `mochi.<name>`; the operators'
//! answers for values that the bytecode's fast paths leave alone (the protocol entries and their kin), as `mochi.op.<name>`;
//! and members of foreign modules, as `mochi.<module>.<member>`. They take their arguments however the calling module holds
//! them (raw ints, floats and booleans, typed lists, cells of any kind), and give results as the call's declared result
//! type wants them.
//!
//! Common rules: null acts as the empty list; arguments of other kinds than a function works on are type-mismatch traps that
//! name the function and the kind; nothing here recurses along guest data.

mod access;
mod call;
mod cast;
mod compare;
mod files;
mod float;
mod foreign;
mod format;
mod join;
mod lists;
mod number;
mod numeric;
mod sets;
mod sort;
mod system;
mod text;
mod work;
mod yaml;

use std::borrow::Cow;
use std::cmp::Ordering;

use upshift_bytecode::{Kind, TrapCode};
use upshift_runtime::host::{Args, HostContext, HostRegistry, Ret, Val};
use upshift_runtime::trap::Trap;

use crate::builtins::Builtin;
use number::{Number, Op};

pub(crate) use call::PARTIAL_KIND;
pub(crate) use foreign::has_member;
pub use system::State;

type Host = for<'h> fn(&'h mut HostContext<'_>, Args<'h>) -> Result<Ret<'h>, Trap>;

/// Registers the library.
pub fn register(registry: &mut HostRegistry) {
    for &builtin in Builtin::ALL {
        registry.dynamic(&format!("mochi.{}", builtin.name()), implementation(builtin));
    }
    for &(name, function) in OPERATORS {
        registry.dynamic(name, function);
    }
    for (index, method) in call::METHODS.iter().enumerate() {
        registry.dynamic(&format!("mochi.method.{}", method.0), move |ctx, args| {
            let ctx: &HostContext<'_> = ctx;
            let given: Vec<Val<'_>> = (1..args.len()).map(|i| args.val(ctx, i)).collect::<Result<_, _>>()?;
            call::builtin_method(ctx, index, args.val(ctx, 0)?, &given)
        });
    }
    foreign::register(registry);
    crate::testing::register(registry);
}

/// The function behind a builtin.
fn implementation(builtin: Builtin) -> Host {
    match builtin {
        Builtin::Print => system::print,
        Builtin::Len => len,
        Builtin::Str => text::str,
        Builtin::Append | Builtin::Push => lists::append,
        Builtin::Input => system::input,
        Builtin::Panic => system::panic,
        Builtin::Substring | Builtin::Substr => text::substring,
        Builtin::Slice => slice,
        Builtin::Int => numeric::int,
        Builtin::Now => system::now,
        Builtin::Lower => text::lower,
        Builtin::Upper => text::upper,
        Builtin::Concat => lists::concat,
        Builtin::Json => system::json,
        Builtin::Count => count,
        Builtin::Float | Builtin::ToFloat => numeric::float,
        Builtin::Split => text::split,
        Builtin::Join => text::join,
        Builtin::Sum => numeric::sum,
        Builtin::Avg => numeric::avg,
        Builtin::Min => numeric::min,
        Builtin::Max => numeric::max,
        Builtin::IndexOf => text::index_of,
        Builtin::Keys => lists::keys,
        Builtin::Values => lists::values,
        Builtin::ParseIntStr => text::parse_int,
        Builtin::PadStart => text::pad_start,
        Builtin::Num => numeric::num,
        Builtin::Denom => numeric::denom,
        Builtin::Sha256 => system::sha256,
        Builtin::Contains => text::contains,
        Builtin::Exists => exists,
        Builtin::Floor => numeric::floor,
        Builtin::Ceil => numeric::ceil,
        Builtin::Abs => numeric::abs,
        Builtin::First => lists::first,
        Builtin::Repeat => text::repeat,
        Builtin::Reverse => lists::reverse,
        Builtin::Round => numeric::round,
        Builtin::Pow => numeric::pow,
        Builtin::Distinct => sets::distinct,
        Builtin::Row => access::row,
        Builtin::Group => access::group,
        Builtin::SortBy => sort::sort_by,
        Builtin::LinksOf => join::links,
        Builtin::FirstOf => join::first,
        Builtin::Collect => lists::collect,
        Builtin::Range => lists::range,
        Builtin::Reduce => call::reduce,
        Builtin::Trim => text::trim,
        Builtin::ToJson => system::to_json,
        Builtin::Mem => system::mem,
        Builtin::Eval => system::eval,
    }
}

/// Everything that the lowering imports besides builtins, methods and foreign members.
const OPERATORS: &[(&str, Host)] = &[
    ("mochi.op.add", |ctx, args| binary(ctx, args, Op::Add)),
    ("mochi.op.sub", |ctx, args| binary(ctx, args, Op::Sub)),
    ("mochi.op.mul", |ctx, args| binary(ctx, args, Op::Mul)),
    ("mochi.op.div", |ctx, args| binary(ctx, args, Op::Div)),
    ("mochi.op.rem", |ctx, args| binary(ctx, args, Op::Rem)),
    ("mochi.op.neg", neg),
    ("mochi.op.less", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        let order = compare::order(args.val(ctx, 0)?, args.val(ctx, 1)?)?;
        Ok(Ret::Bool(order == Some(Ordering::Less)))
    }),
    ("mochi.op.less_equal", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        let order = compare::order(args.val(ctx, 0)?, args.val(ctx, 1)?)?;
        Ok(Ret::Bool(order.is_some_and(Ordering::is_le)))
    }),
    ("mochi.op.equal", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        Ok(Ret::Bool(compare::equal(ctx, args.val(ctx, 0)?, args.val(ctx, 1)?)?))
    }),
    ("mochi.op.hash", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        // Hashes stay inline as cells.
        Ok(Ret::Int((sets::hash(ctx, args.val(ctx, 0)?)? >> 32) as i64))
    }),
    ("mochi.op.text", text::str),
    ("mochi.op.index_get", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        Ok(access::index_get(ctx, args.val(ctx, 0)?, args.val(ctx, 1)?)?.into())
    }),
    ("mochi.op.index_set", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        access::index_set(ctx, args.val(ctx, 0)?, args.val(ctx, 1)?, args.val(ctx, 2)?)?;
        Ok(Ret::Nothing)
    }),
    ("mochi.op.field_get", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        let name = args.text(ctx, 1)?;
        Ok(access::field_get(ctx, args.val(ctx, 0)?, &name)?.into())
    }),
    ("mochi.op.field_set", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        let name = args.text(ctx, 1)?;
        access::field_set(ctx, args.val(ctx, 0)?, &name, args.val(ctx, 2)?)?;
        Ok(Ret::Nothing)
    }),
    ("mochi.op.call", call::call_other),
    ("mochi.op.arity", call::call_arity),
    ("mochi.op.trap_value", system::trap_value),
    ("mochi.op.method", call::method),
    ("mochi.op.in", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        Ok(Ret::Bool(access::contains(ctx, args.val(ctx, 1)?, args.val(ctx, 0)?)?))
    }),
    ("mochi.op.slice", slice),
    ("mochi.op.iterate", |ctx, args| {
        let ctx: &HostContext<'_> = ctx;
        Ok(access::iterate(ctx, args.val(ctx, 0)?)?.into())
    }),
    ("mochi.op.union", sets::union),
    ("mochi.op.union_all", lists::concat),
    ("mochi.op.except", sets::except),
    ("mochi.op.intersect", sets::intersect),
    ("mochi.partial", call::partial),
    ("mochi.variants", call::variants),
    ("mochi.cast", cast::cast),
    ("mochi.share_elements", lists::share),
    ("mochi.expect_failed", system::expect_failed),
    ("mochi.outside_of_loops", system::outside_of_loops),
    ("mochi.bench_begin", system::bench_begin),
    ("mochi.bench_end", system::bench_end),
    ("mochi.read_file", system::read_file),
    ("mochi.load", files::load),
    ("mochi.save", files::save),
];

/// A trap for values of kinds that an operation does not know.
#[cold]
fn mismatch(message: impl Into<Cow<'static, str>>) -> Trap {
    Trap::new(TrapCode::TypeMismatch, message)
}

/// What a value is, in messages.
fn kind_name(val: Val<'_>) -> Cow<'static, str> {
    Cow::Borrowed(match val.kind() {
        Kind::Nil => "null",
        Kind::Bool => "bool",
        Kind::Int => "int",
        Kind::Float => "float",
        Kind::String => "string",
        Kind::List => "list",
        Kind::Map => "map",
        Kind::Record => return Cow::Owned(val.as_record().map_or("struct", |r| r.name()).to_string()),
        Kind::Bytes => match Number::of(val) {
            Some(Number::Big(_)) => "bigint",
            _ => "bigrat",
        },
        Kind::Function | Kind::Tuple => "function",
        other => other.text(),
    })
}

/// An arithmetic operator on values of any kind.
fn binary<'h>(ctx: &'h HostContext<'_>, args: Args<'h>, op: Op) -> Result<Ret<'h>, Trap> {
    let (a, b) = (args.val(ctx, 0)?, args.val(ctx, 1)?);
    if let Some(result) = number::arithmetic_short(ctx, op, a, b) {
        return Ok(result?.into());
    }
    if let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) {
        work::steps(ctx, number::arithmetic_steps(op, &x, &y))?;
        return Ok(match number::arithmetic(op, x, y)? {
            Number::Int(i) => Ret::Int(i),
            Number::Float(x) => Ret::Float(x),
            big => big.make(ctx)?.into(),
        });
    }
    if op == Op::Add {
        if a.as_str().is_some() || b.as_str().is_some() {
            let part = |val: Val<'h>| match val.as_str() {
                Some(_) => Ok(val),
                None => ctx.string(&format::text(ctx, val)?),
            };
            return Ok(ctx.concat(part(a)?, part(b)?)?.into());
        }
        match (a.as_list(), b.as_list()) {
            (Some(a), Some(b)) => return Ok(lists::add(ctx, &[a, b])?.into()),
            // Null is the empty list beside a list.
            (Some(list), None) if b.is_nil() => return Ok(lists::add(ctx, &[list])?.into()),
            (None, Some(list)) if a.is_nil() => return Ok(lists::add(ctx, &[list])?.into()),
            _ => {}
        }
    }
    if a.is_nil() || b.is_nil() {
        return Ok(ctx.nil().into());
    }
    Err(mismatch(format!("cannot compute {} {} {}", kind_name(a), op.text(), kind_name(b))))
}

fn neg<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let val = args.val(ctx, 0)?;
    match Number::of(val) {
        Some(number) => Ok(number.negate()?.make(ctx)?.into()),
        None if val.is_nil() => Ok(val.into()),
        None => Err(mismatch(format!("cannot negate {}", kind_name(val)))),
    }
}

/// The number of elements, entries (of a struct with its name), or characters; of a number, those of its text.
fn size<'h>(ctx: &'h HostContext<'_>, args: Args<'h>, what: &str) -> Result<i64, Trap> {
    let val = lists::items_of_group(ctx, args.val(ctx, 0)?)?;
    let size = if let Some(text) = val.as_str() {
        text.char_count()
    } else if let Some(list) = val.as_list() {
        list.len()
    } else if let Some(map) = val.as_map() {
        map.len()
    } else if let Some(record) = val.as_record() {
        record.len() + 1
    } else if val.is_nil() {
        0
    } else if let Some(number) = Number::of(val).filter(|_| what == "len") {
        number.text().len()
    } else {
        return Err(mismatch(format!("{what} works on lists, maps and strings, not on {}", kind_name(val))));
    };
    Ok(size as i64)
}

/// `len(x)`
fn len<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    Ok(Ret::Int(size(ctx, args, "len")?))
}

/// `count(x)`
fn count<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    Ok(Ret::Int(size(ctx, args, "count")?))
}

/// `exists(x)`: whether there is anything in it; nothing is in a number or truth value.
fn exists<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let val = args.val(ctx, 0)?;
    let scalar = val.as_bool().is_some() || Number::of(val).is_some();
    Ok(Ret::Bool(!scalar && size(ctx, args, "exists")? > 0))
}

/// `slice(x, from, to)` and `x[from:to]`
fn slice<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(access::slice(ctx, args.val(ctx, 0)?, args.val(ctx, 1)?, args.val(ctx, 2)?)?.into())
}
