//! Calls that the bytecode cannot make directly: with too few or too many arguments, of values that may be no functions,
//! of methods whose receiver is known at run time only.

use upshift_bytecode::ValueType;
use upshift_runtime::host::{Args, HostContext, Ret, Root, Val};
use upshift_runtime::trap::Trap;

use super::{access, cast, kind_name, lists, mismatch, text};

/// The kind of tuples that are function values with some arguments given: the function, then the arguments.
pub const PARTIAL_KIND: u16 = 1;

/// Whether a value can be called.
pub fn is_function(val: Val<'_>) -> bool {
    val.as_function().is_some() || val.as_tuple().is_some_and(|t| t.tuple_kind() == PARTIAL_KIND)
}

fn new_partial<'h>(
    ctx: &'h HostContext<'_>,
    callee: Val<'h>,
    args: impl IntoIterator<Item = Val<'h>>,
) -> Result<Val<'h>, Trap> {
    let mut cells = vec![callee];
    for arg in args {
        if let Some(list) = arg.as_list() {
            ctx.list_share(list);
        }
        cells.push(arg);
    }
    ctx.new_tuple(PARTIAL_KIND, &cells)
}

/// `mochi.partial(callee, arguments)`
pub fn partial<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let callee = args.val(ctx, 0)?;
    if !is_function(callee) {
        return Err(mismatch(format!("cannot call {}", kind_name(callee))));
    }
    let given = args.val(ctx, 1)?;
    Ok(new_partial(ctx, callee, given.as_list().iter().flat_map(|l| l.iter()))?.into())
}

/// `mochi.variants(functions)`: a function that takes several numbers of arguments, of functions that take the least, one more,
/// and so on. It is a function that waits, with them in place of the one function.
pub fn variants<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(ctx.new_tuple(PARTIAL_KIND, &[args.val(ctx, 0)?])?.into())
}

/// Calls a function value; numbers convert where the callee declares float, bigint or bigrat.
///
/// # Errors
/// What the callee raises; type-mismatch where it is no function.
pub fn call(ctx: &mut HostContext<'_>, callee: Root, args: &[Root]) -> Result<Root, Trap> {
    let mut converted = Vec::new();
    {
        let ctx = &*ctx;
        if let Some(function) = ctx.get(callee).as_function() {
            for (i, &arg) in args.iter().enumerate() {
                // The call itself makes floats of ints.
                let Some(ty @ ValueType::Cell(_)) = function.param(i) else { continue };
                if let Some(number) = cast::widened(ctx, ctx.get(arg), ty)? {
                    if converted.is_empty() {
                        converted.extend_from_slice(args);
                    }
                    converted[i] = ctx.root(number);
                }
            }
        }
    }
    ctx.call(callee, if converted.is_empty() { args } else { &converted })
}

/// The protocol's answer to a call of something that is no function, or not for such arguments: a function that waits for
/// arguments goes on, and numbers convert.
pub fn call_other<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let (callee, all) = {
        let ctx = &*ctx;
        let callee = args.val(ctx, 0)?;
        let rest = args.val(ctx, 1)?.as_list();
        let rest = rest.iter().flat_map(|l| l.iter());
        if callee.as_function().is_some() {
            (ctx.root(callee), rest.map(|val| ctx.root(val)).collect::<Vec<Root>>())
        } else {
            let Some(tuple) = callee.as_tuple().filter(|t| t.tuple_kind() == PARTIAL_KIND) else {
                return Err(mismatch(format!("cannot call {}", kind_name(callee))));
            };
            let mut function = tuple.get(0).unwrap_or(ctx.nil());
            let given = (1..tuple.len()).filter_map(|i| tuple.get(i));
            let all: Vec<Val<'_>> = given.chain(rest).collect();
            if let Some(variants) = function.as_list() {
                let arity = |val: Val<'_>| val.as_function().map_or(0, |f| f.arity());
                let fits = |val: &Val<'_>| arity(*val) == all.len();
                // With fewer arguments than any takes, the first waits for more; with more, the last drops some.
                let other = if variants.get(0).is_some_and(|val| arity(val) > all.len()) {
                    variants.get(0)
                } else {
                    variants.get(variants.len().saturating_sub(1))
                };
                function = variants.iter().find(fits).or(other).unwrap_or(ctx.nil());
            }
            (ctx.root(function), all.into_iter().map(|val| ctx.root(val)).collect())
        }
    };
    Ok(Ret::Root(call(ctx, callee, &all)?))
}

/// The protocol's answer to a call with another number of arguments: too few give a function that waits for the rest, of
/// too many the last are dropped.
pub fn call_arity<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let arity = {
        let ctx = &*ctx;
        let callee = args.val(ctx, 0)?;
        callee
            .as_function()
            .map(|f| f.arity())
            .ok_or_else(|| mismatch(format!("cannot call {}", kind_name(callee))))?
    };
    let count = args.val(ctx, 1)?.as_list().map_or(0, |l| l.len());
    if count < arity {
        return partial(ctx, args);
    }
    let (callee, all) = {
        let ctx = &*ctx;
        let given = args.val(ctx, 1)?.as_list();
        let all: Vec<Root> =
            given.iter().flat_map(|l| l.iter()).take(arity).map(|val| ctx.root(val)).collect();
        (ctx.root(args.val(ctx, 0)?), all)
    };
    Ok(Ret::Root(call(ctx, callee, &all)?))
}

/// `reduce(list, function, first)`
pub fn reduce<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    /// Every call leaves its result among the roots; they are dropped after so many.
    const CALLS: usize = 256;
    let (list, function, accumulator, len) = {
        let ctx = &*ctx;
        let len = lists::list_arg(ctx, args, 0, "reduce")?.map_or(0, |l| l.len());
        let function = args.val(ctx, 1)?;
        if !is_function(function) {
            return Err(mismatch(format!("reduce calls a function, not {}", kind_name(function))));
        }
        (ctx.root(args.val(ctx, 0)?), ctx.root(function), ctx.root(args.val(ctx, 2)?), len)
    };
    let mut at = 0;
    while at < len {
        let end = (at + CALLS).min(len);
        let result = ctx.scope(|ctx| {
            let mut result = accumulator;
            for i in at..end {
                let item = {
                    let ctx = &*ctx;
                    let item = ctx.get(list).as_list().and_then(|l| l.get(i));
                    // The function may append to what it gets.
                    if let Some(inner) = item.and_then(|item| item.as_list()) {
                        ctx.list_share(inner);
                    }
                    item.map(|item| ctx.root(item))
                };
                let Some(item) = item else { break };
                result = call(ctx, function, &[result, item])?;
            }
            Ok(result)
        })?;
        ctx.set(accumulator, ctx.get(result));
        at = end;
    }
    Ok(Ret::Root(accumulator))
}

// ---- Methods ----

/// A builtin method: receiver and arguments to result.
type Method = for<'h> fn(&'h HostContext<'_>, Val<'h>, &[Val<'h>]) -> Result<Ret<'h>, Trap>;

/// The builtin methods with their numbers of arguments.
pub const METHODS: &[(&str, std::ops::RangeInclusive<usize>, Method)] = &[
    ("contains", 1..=1, |ctx, of, args| Ok(Ret::Bool(access::contains(ctx, of, args[0])?))),
    ("starts_with", 1..=1, |_, of, args| Ok(Ret::Bool(text::starts_with(of, args[0])?))),
    ("padStart", 1..=2, |ctx, of, args| Ok(text::pad_vals(ctx, of, args[0], args.get(1).copied())?.into())),
    ("keys", 0..=0, |ctx, of, _| Ok(lists::keys_of(ctx, of)?.into())),
    ("values", 0..=0, |ctx, of, _| Ok(lists::values_of(ctx, of)?.into())),
    ("get", 1..=2, |ctx, of, args| {
        let found = match of.as_map() {
            Some(map) => access::map_get(ctx, map, args[0])?,
            None => Some(access::index_get(ctx, of, args[0])?).filter(|v| !v.is_nil()),
        };
        Ok(found.or(args.get(1).copied()).unwrap_or(ctx.nil()).into())
    }),
    ("join", 0..=1, |ctx, of, args| {
        let separator = match args.first() {
            Some(&separator) => separator,
            None => ctx.string("")?,
        };
        Ok(text::join_vals(ctx, of, separator)?.into())
    }),
];

/// Calls a builtin method by its position in [`METHODS`].
///
/// # Errors
/// type-mismatch where receiver or arguments do not fit.
pub fn builtin_method<'h>(
    ctx: &'h HostContext<'_>,
    method: usize,
    receiver: Val<'h>,
    args: &[Val<'h>],
) -> Result<Ret<'h>, Trap> {
    let (name, ref counts, method) = METHODS[method];
    if args.len() < *counts.start() {
        return Err(mismatch(format!("{name} takes {} arguments, not {}", counts.start(), args.len())));
    }
    method(ctx, receiver, args)
}

/// `mochi.op.method(object, name, arguments)`: a field that holds a function, else a builtin method.
pub fn method<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let field = {
        let ctx = &*ctx;
        let receiver = args.val(ctx, 0)?;
        let name = args.text(ctx, 1)?;
        let holder = receiver.as_map().is_some() || receiver.as_record().is_some();
        let field = if holder { Some(access::field_get(ctx, receiver, &name)?) } else { None };
        match field.filter(|f| is_function(*f)) {
            Some(function) => {
                let list = args.val(ctx, 2)?.as_list();
                let given: Vec<Root> = list.iter().flat_map(|l| l.iter()).map(|val| ctx.root(val)).collect();
                Some((ctx.root(function), given))
            }
            None => None,
        }
    };
    if let Some((function, given)) = field {
        return Ok(Ret::Root(call(ctx, function, &given)?));
    }
    let ctx: &'h HostContext<'_> = ctx;
    let receiver = args.val(ctx, 0)?;
    let name = args.text(ctx, 1)?;
    let Some(index) = METHODS.iter().position(|m| m.0 == &*name) else {
        return Err(mismatch(format!("{} has no method {}", kind_name(receiver), &*name)));
    };
    let given: Vec<Val<'h>> = args.val(ctx, 2)?.as_list().iter().flat_map(|l| l.iter()).collect();
    builtin_method(ctx, index, receiver, &given)
}
