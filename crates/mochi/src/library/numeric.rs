//! Builtins on numbers and the aggregates.

use num_bigint::BigInt;
use upshift_bytecode::{HeapType, TrapCode, ValueType};
use upshift_runtime::host::{Args, HostContext, ListView, Ret, Val};
use upshift_runtime::trap::Trap;

use super::number::{Number, Op, arithmetic, arithmetic_steps, overflow, product_steps};
use super::work::{Work, steps};
use super::{cast, compare, kind_name, lists, mismatch, text};
use crate::lower::BIGINT_KIND;

/// A number argument.
fn number_arg(ctx: &HostContext<'_>, args: Args<'_>, i: usize, what: &str) -> Result<Number, Trap> {
    let val = args.val(ctx, i)?;
    Number::of(val).ok_or_else(|| mismatch(format!("{what} works on numbers, not on {}", kind_name(val))))
}

/// A number as the result that the call declares: an int becomes a float or a bigint where that is wanted.
fn ret<'h>(ctx: &'h HostContext<'_>, number: Number) -> Result<Ret<'h>, Trap> {
    match (ctx.result_type(), &number) {
        (_, Number::Float(x)) => Ok(Ret::Float(*x)),
        (Some(ValueType::Float), _) => Ok(Ret::Float(number.to_float())),
        (Some(ValueType::Int), _) => Ok(Ret::Int(number.to_int()?)),
        (Some(ValueType::Cell(cell)), Number::Int(i)) => match ctx.heap_type(cell.id) {
            Some(HeapType::Bytes(BIGINT_KIND)) => Ok(Number::Big((*i).into()).make(ctx)?.into()),
            Some(HeapType::Float) => Ok(Ret::Float(*i as f64)),
            _ => Ok(Ret::Int(*i)),
        },
        (_, Number::Int(i)) => Ok(Ret::Int(*i)),
        _ => Ok(number.make(ctx)?.into()),
    }
}

/// `int(x)`
pub fn int<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(Ret::Int(cast::to_int(args.val(ctx, 0)?)?))
}

/// `float(x)`, `to_float(x)`
pub fn float<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(Ret::Float(cast::to_float(args.val(ctx, 0)?)?))
}

/// `abs(x)`
pub fn abs<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    ret(ctx, number_arg(ctx, args, 0, "abs")?.absolute()?)
}

/// `floor(x)`
pub fn floor<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(Ret::Float(number_arg(ctx, args, 0, "floor")?.to_float().floor()))
}

/// `ceil(x)`
pub fn ceil<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(Ret::Float(number_arg(ctx, args, 0, "ceil")?.to_float().ceil()))
}

/// `round(x[, digits])`: half away from zero; an int stays one without digits
pub fn round<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let number = number_arg(ctx, args, 0, "round")?;
    let digits = if args.len() > 1 { text::int_arg(ctx, args, 1, "round")? } else { 0 };
    if digits == 0 && !matches!(number, Number::Float(_) | Number::Rat(_)) {
        return ret(ctx, number);
    }
    Ok(Ret::Float(round_float(number.to_float(), digits)))
}

fn round_float(x: f64, digits: i64) -> f64 {
    /// Floats from here on have no fraction.
    const WHOLE: f64 = 4_503_599_627_370_496.0;
    // No float has more digits, on either side of the point.
    let power = match digits.unsigned_abs().min(400) {
        exact @ 0..=22 => 10f64.powi(exact as i32),
        // Products would not be the nearest floats.
        large => format!("1e{large}").parse().unwrap_or(f64::INFINITY),
    };
    let scaled = if digits < 0 { x / power } else { x * power };
    if !scaled.is_finite() || scaled.abs() >= WHOLE {
        return x;
    }
    let rounded = scaled.round();
    if rounded == 0.0 {
        rounded
    } else if digits < 0 {
        rounded * power
    } else {
        rounded / power
    }
}

/// `pow(a, b)`: exact for integers (a negative exponent gives 1), else as floats
pub fn pow<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (base, exponent) = (number_arg(ctx, args, 0, "pow")?, number_arg(ctx, args, 1, "pow")?);
    match (&base, &exponent) {
        (Number::Int(_) | Number::Big(_), Number::Int(n)) if *n <= 0 => ret(ctx, Number::Int(1)),
        (Number::Int(b), Number::Int(n)) => {
            let power = u32::try_from(*n).ok().and_then(|n| b.checked_pow(n));
            // These never overflow, however large the exponent.
            let power = match b {
                0 | 1 => Some(*b),
                -1 => Some(if n % 2 == 0 { 1 } else { -1 }),
                _ => power,
            };
            ret(ctx, Number::Int(power.ok_or_else(|| overflow(format_args!("pow({b}, {n})")))?))
        }
        (Number::Big(b), Number::Int(n)) => {
            /// More bits than this are refused: they would take minutes and gigabytes.
            const BITS: u64 = 1 << 32;
            let n = u32::try_from(*n).ok().filter(|&n| b.bits().saturating_mul(u64::from(n)) < BITS);
            let n = n.ok_or_else(|| Trap::new(TrapCode::MemoryLimit, "pow: the result is too large"))?;
            ctx.check_memory((b.bits() / 8) as usize * n as usize)?;
            ret(ctx, Number::Big(power(ctx, b, n)?))
        }
        _ => Ok(Ret::Float(base.to_float().powf(exponent.to_float()))),
    }
}

/// A power by squares, of which each is counted.
fn power(ctx: &HostContext<'_>, base: &BigInt, exponent: u32) -> Result<BigInt, Trap> {
    let mut result = BigInt::from(1);
    for bit in (0..u32::BITS - exponent.leading_zeros()).rev() {
        steps(ctx, product_steps(&result, &result))?;
        result = &result * &result;
        if exponent >> bit & 1 == 1 {
            steps(ctx, product_steps(&result, base))?;
            result *= base;
        }
    }
    Ok(result)
}

fn fraction_part<'h>(
    ctx: &'h HostContext<'_>,
    args: Args<'h>,
    what: &str,
    part: impl Fn(num_rational::BigRational) -> BigInt,
) -> Result<Ret<'h>, Trap> {
    let number = number_arg(ctx, args, 0, what)?;
    let Some(fraction) = number.to_rat() else {
        return Err(Trap::new(
            TrapCode::InvalidArgument,
            format!("{what}: {} is no fraction", number.text()),
        ));
    };
    ret(ctx, Number::Big(part(fraction)))
}

/// `num(x)`
pub fn num<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    fraction_part(ctx, args, "num", |f| f.numer().clone())
}

/// `denom(x)`
pub fn denom<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    fraction_part(ctx, args, "denom", |f| f.denom().clone())
}

/// `sum(list)`: exact while all elements are integers; nulls are left out
pub fn sum<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let Some(list) = lists::list_arg(ctx, args, 0, "sum")? else { return ret(ctx, Number::Int(0)) };
    steps(ctx, list.len() / 8)?;
    if let Some(ints) = list.ints() {
        let total: i128 = ints.iter().map(|x| i128::from(x.get())).sum();
        let total = i64::try_from(total).map_err(|_| overflow(format_args!("sum: {total}")))?;
        return ret(ctx, Number::Int(total));
    }
    if let Some(floats) = list.floats() {
        // In order from the left, from 0.0; an empty sum is 0.
        return Ok(Ret::Float(floats.iter().fold(0.0, |total, x| total + x.get())));
    }
    let mut total = Number::Int(0);
    let mut work = Work::default();
    for item in list.iter().filter(|v| !v.is_nil()) {
        let Some(number) = Number::of(item) else {
            return Err(mismatch(format!("sum works on numbers, not on {}", kind_name(item))));
        };
        work.steps(ctx, 1 + arithmetic_steps(Op::Add, &total, &number))?;
        total = arithmetic(Op::Add, total, number)?;
    }
    ret(ctx, total)
}

/// `avg(list)`: the mean of what is not null; of nothing 0
pub fn avg<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let Some(list) = lists::list_arg(ctx, args, 0, "avg")? else { return Ok(Ret::Float(0.0)) };
    let raw: Option<f64> = match (list.ints(), list.floats()) {
        (Some(ints), _) => Some(ints.iter().fold(0.0, |total, x| total + x.get() as f64)),
        (_, Some(floats)) => Some(floats.iter().fold(0.0, |total, x| total + x.get())),
        _ => None,
    };
    if let Some(total) = raw.filter(|_| !list.is_empty()) {
        steps(ctx, list.len() / 8)?;
        return Ok(Ret::Float(total / list.len() as f64));
    }
    let (mut total, mut count) = (0.0, 0u64);
    let mut work = Work::default();
    for item in list.iter() {
        work.steps(ctx, 1)?;
        if item.is_nil() {
            continue;
        }
        let Some(number) = Number::of(item) else {
            return Err(mismatch(format!("avg works on numbers, not on {}", kind_name(item))));
        };
        total += number.to_float();
        count += 1;
    }
    Ok(Ret::Float(if count == 0 { 0.0 } else { total / count as f64 }))
}

/// `min(list)`
pub fn min<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    extreme(ctx, args, "min", std::cmp::Ordering::Less)
}

/// `max(list)`
pub fn max<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    extreme(ctx, args, "max", std::cmp::Ordering::Greater)
}

/// The first element that no other exceeds; a float if any element is; 0 of nothing; nulls are left out.
fn extreme<'h>(
    ctx: &'h HostContext<'_>,
    args: Args<'h>,
    what: &str,
    better: std::cmp::Ordering,
) -> Result<Ret<'h>, Trap> {
    // `min(a, b)` of two numbers is what other languages offer; so it works here too.
    let items: Vec<Val<'h>> = if args.len() > 1 {
        (0..args.len()).map(|i| args.val(ctx, i)).collect::<Result<_, _>>()?
    } else {
        let list: Option<ListView<'h>> = lists::list_arg(ctx, args, 0, what)?;
        steps(ctx, list.map_or(0, ListView::len) / 8)?;
        if let Some(ints) = list.and_then(ListView::ints) {
            let values = ints.iter().map(std::cell::Cell::get);
            let best = if better.is_lt() { values.min() } else { values.max() };
            return ret(ctx, Number::Int(best.unwrap_or(0)));
        }
        list.iter().flat_map(|l| l.iter()).collect()
    };
    let mut best: Option<Val<'h>> = None;
    let mut float = false;
    let mut work = Work::default();
    for item in items.into_iter().filter(|v| !v.is_nil()) {
        if Number::of(item).is_none() && item.as_str().is_none() && item.as_bool().is_none() {
            return Err(mismatch(format!("{what} works on numbers and strings, not on {}", kind_name(item))));
        }
        work.steps(ctx, 1)?;
        float |= item.as_float().is_some();
        let replaces = match best {
            None => true,
            Some(best) => compare::order(item, best)? == Some(better),
        };
        if replaces {
            best = Some(item);
        }
    }
    let Some(best) = best else { return empty_extreme(ctx) };
    match Number::of(best) {
        Some(number) if float => Ok(Ret::Float(number.to_float())),
        Some(number) => ret(ctx, number),
        None => Ok(best.into()),
    }
}

/// What `min` and `max` give for nothing: the zero value of the declared type.
fn empty_extreme<'h>(ctx: &'h HostContext<'_>) -> Result<Ret<'h>, Trap> {
    match ctx.result_type() {
        Some(ValueType::Cell(cell)) => match ctx.heap_type(cell.id) {
            Some(HeapType::String) => Ok(ctx.string("")?.into()),
            _ => ret(ctx, Number::Int(0)),
        },
        Some(ValueType::Bool) => Ok(Ret::Bool(false)),
        _ => ret(ctx, Number::Int(0)),
    }
}
