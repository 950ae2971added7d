//! Equality and order of values. Sets are built on it in `sets.rs`.
//!
//! Equality is structural and deep. It works off a list of pairs that have yet to be compared; once that has gone on for a
//! while, pairs that were seen are not looked at again, which ends the comparison of cyclic values (two values are equal
//! unless a difference is found). All of it is charged by what is compared.

use std::cell::Cell;
use std::cmp::Ordering;

use rustc_hash::FxHashSet;
use upshift_bytecode::Kind;
use upshift_runtime::host::{HostContext, MapView, Val};
use upshift_runtime::trap::Trap;

use super::number::{Number, compare_short};
use super::work::{COPIED, PORTION, Work};
use super::{access, format, kind_name, mismatch};

/// Elements of lists that store them raw in a step of the work: they are compared by the vector.
const RAW: usize = 8;

/// `a == b`
///
/// # Errors
/// memory-limit; what [`Work::steps`] raises, as all functions below that count.
pub fn equal<'h>(ctx: &'h HostContext<'_>, a: Val<'h>, b: Val<'h>) -> Result<bool, Trap> {
    equal_counted(ctx, &mut Work::default(), a, b)
}

/// As [`equal`], of many comparisons one.
///
/// # Errors
/// See there.
pub fn equal_counted<'h>(
    ctx: &'h HostContext<'_>,
    work: &mut Work,
    a: Val<'h>,
    b: Val<'h>,
) -> Result<bool, Trap> {
    if let Some(answer) = equal_scalars(a, b) {
        work.steps(ctx, scalar_steps(a, b))?;
        return Ok(answer);
    }
    /// So many pairs are compared without taking notes.
    const UNNOTED: usize = 2000;
    let mut count = 0;
    let mut seen = FxHashSet::default();
    let mut pairs = Vec::new();
    let mut next = Some((a, b));
    while let Some((a, b)) = next.take().or_else(|| pairs.pop()) {
        count += 1;
        if count > UNNOTED && !seen.insert((a.address(), b.address())) {
            continue;
        }
        if !equal_parts(ctx, work, a, b, &mut pairs)? {
            return Ok(false);
        }
        if count % PORTION == 0 {
            ctx.check_memory(
                pairs.capacity() * size_of_val(&(a, b)) + seen.capacity() * 2 * size_of::<usize>(),
            )?;
        }
    }
    Ok(true)
}

/// The steps of comparing two values that are no containers.
#[inline]
fn scalar_steps(a: Val<'_>, b: Val<'_>) -> usize {
    match (a.as_str(), b.as_str()) {
        (Some(a), Some(b)) => 1 + a.len().min(b.len()) / COPIED,
        _ => 1,
    }
}

/// Compares two values of which at least one is no container, or two records whose fields tell it; `None` for other different
/// containers.
fn equal_scalars(a: Val<'_>, b: Val<'_>) -> Option<bool> {
    if a.identical(b) {
        // A NaN does not equal itself.
        return Some(a.as_float().is_none_or(|x| !x.is_nan()));
    }
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Some(a == b);
    }
    if let Some(same) = a.same_text(b) {
        return Some(same);
    }
    match (a.kind(), b.kind()) {
        (Kind::Int | Kind::Float | Kind::Bytes, Kind::Int | Kind::Float | Kind::Bytes) => {
            if let Some(order) = compare_short(a, b) {
                return Some(order.is_eq());
            }
            let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) else { return Some(false) };
            Some(a.compare(&b) == Some(Ordering::Equal))
        }
        (Kind::List, Kind::List) | (Kind::Map, Kind::Map) => None,
        (Kind::Record, Kind::Record) => match (a.as_record(), b.as_record()) {
            (Some(a), Some(b)) if a.shape_id() == b.shape_id() => a.equal_fields(b),
            _ => None,
        },
        _ => Some(false),
    }
}

/// Compares two containers except for the containers in them, which become pairs to compare.
fn equal_parts<'h>(
    ctx: &'h HostContext<'_>,
    work: &mut Work,
    a: Val<'h>,
    b: Val<'h>,
    pairs: &mut Vec<(Val<'h>, Val<'h>)>,
) -> Result<bool, Trap> {
    let mut part = |work: &mut Work, a: Val<'h>, b: Val<'h>| {
        work.steps(ctx, scalar_steps(a, b))?;
        Ok(equal_scalars(a, b).unwrap_or_else(|| {
            pairs.push((a, b));
            true
        }))
    };
    if let (Some(a), Some(b)) = (a.as_list(), b.as_list()) {
        if a.len() != b.len() {
            return Ok(false);
        }
        if let (Some(a), Some(b)) = (a.ints(), b.ints()) {
            return equal_raw(ctx, work, a, b);
        }
        if let (Some(a), Some(b)) = (a.floats(), b.floats()) {
            return equal_raw(ctx, work, a, b);
        }
        if let (Some(a), Some(b)) = (a.bools(), b.bools()) {
            return equal_raw(ctx, work, a, b);
        }
        let mut at = 0;
        while at < a.len() {
            let same = a.same_from(b, at, PORTION);
            work.steps(ctx, same)?;
            at += same;
            if same == PORTION {
                continue;
            }
            let (Some(x), Some(y)) = (a.get(at), b.get(at)) else { break };
            if !part(work, x, y)? {
                return Ok(false);
            }
            at += 1;
        }
        return Ok(true);
    }
    if let (Some(a), Some(b)) = (a.as_map(), b.as_map()) {
        return equal_maps(ctx, work, a, b, part);
    }
    if let (Some(a), Some(b)) = (a.as_record(), b.as_record()) {
        if a.shape_id() != b.shape_id() && (a.name() != b.name() || a.len() != b.len()) {
            return Ok(false);
        }
        for i in 0..a.len() {
            let other = if a.shape_id() == b.shape_id() {
                b.get(i)
            } else {
                a.field_name(i).and_then(|name| b.get_named(name))
            };
            match (a.get(i), other) {
                (Some(a), Some(b)) if part(work, a, b)? => {}
                _ => return Ok(false),
            }
        }
        return Ok(true);
    }
    Ok(false)
}

/// Compares the elements of two lists that store them raw and are as long as each other.
fn equal_raw<T: Copy + PartialEq>(
    ctx: &HostContext<'_>,
    work: &mut Work,
    a: &[Cell<T>],
    b: &[Cell<T>],
) -> Result<bool, Trap> {
    for (a, b) in a.chunks(PORTION).zip(b.chunks(PORTION)) {
        work.steps(ctx, a.len() / RAW)?;
        if !a.iter().zip(b).all(|(a, b)| a.get() == b.get()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_maps<'h>(
    ctx: &'h HostContext<'_>,
    work: &mut Work,
    a: MapView<'h>,
    b: MapView<'h>,
    mut part: impl FnMut(&mut Work, Val<'h>, Val<'h>) -> Result<bool, Trap>,
) -> Result<bool, Trap> {
    if a.len() != b.len() {
        return Ok(false);
    }
    work.steps(ctx, a.len())?;
    for (key, value) in a.inserted() {
        match access::map_get(ctx, b, key)? {
            Some(other) if part(work, value, other)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The order of two values for `<` and its kin; `None` where one is null or not a number.
///
/// # Errors
/// type-mismatch for kinds without order.
pub fn order(a: Val<'_>, b: Val<'_>) -> Result<Option<Ordering>, Trap> {
    if a.is_nil() || b.is_nil() {
        return Ok(None);
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(Some(a.as_bytes().cmp(b.as_bytes())));
    }
    if let Some(order) = compare_short(a, b) {
        return Ok(Some(order));
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(&b));
    }
    if let (Some(a), Some(b)) = (a.as_bool(), b.as_bool()) {
        return Ok(Some(a.cmp(&b)));
    }
    Err(mismatch(format!("cannot compare {} with {}", kind_name(a), kind_name(b))))
}

/// The order of two keys of `sort by`, a total one: numbers by value, strings by bytes, false before true, lists
/// and maps part by part, maps in the order of their keys; null comes last, and a NaN behind other numbers. Keys of
/// different kinds go by kind.
///
/// # Errors
/// memory-limit; what [`Work::steps`] raises.
pub fn key_order<'h>(
    ctx: &'h HostContext<'_>,
    work: &mut Work,
    a: Val<'h>,
    b: Val<'h>,
) -> Result<Ordering, Trap> {
    /// So many parts are compared: cyclic keys have no end.
    const PARTS: usize = 1_000_000;
    enum Step<'h> {
        Compare(Val<'h>, Val<'h>),
        /// The order if all before it are equal.
        Decide(Ordering),
    }
    let is_container = |val: Val<'_>| matches!(val.kind(), Kind::List | Kind::Map | Kind::Record);
    if !is_container(a) || !is_container(b) {
        work.steps(ctx, scalar_steps(a, b))?;
        return Ok(scalar_key_order(a, b));
    }
    let mut steps = vec![Step::Compare(a, b)];
    let mut count = 0;
    while let Some(step) = steps.pop() {
        count += 1;
        let order = match step {
            Step::Decide(order) => order,
            Step::Compare(a, b) => match (key_parts(ctx, a)?, key_parts(ctx, b)?) {
                (Some(a), Some(b)) if count < PARTS => {
                    // Both were taken apart as a whole.
                    work.steps(ctx, 1 + a.len() + b.len())?;
                    ctx.check_memory((steps.capacity() + 2 * a.len() + 2 * b.len()) * size_of::<Step<'_>>())?;
                    steps.push(Step::Decide(a.len().cmp(&b.len())));
                    let pairs = a.into_iter().zip(b).collect::<Vec<_>>();
                    steps.extend(pairs.into_iter().rev().map(|(a, b)| Step::Compare(a, b)));
                    Ordering::Equal
                }
                _ => {
                    work.steps(ctx, scalar_steps(a, b))?;
                    scalar_key_order(a, b)
                }
            },
        };
        if order.is_ne() {
            return Ok(order);
        }
    }
    Ok(Ordering::Equal)
}

/// What containers are compared by: elements, or keys and values by turns.
fn key_parts<'h>(ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<Option<Vec<Val<'h>>>, Trap> {
    if let Some(list) = val.as_list() {
        return Ok(Some(list.iter().collect()));
    }
    if let Some(map) = val.as_map() {
        let (keys, values) = ctx.map_entries(map)?;
        return Ok(Some(keys.iter().zip(values.iter()).flat_map(|(key, value)| [key, value]).collect()));
    }
    let Some(record) = val.as_record() else { return Ok(None) };
    let mut parts = Vec::new();
    for field in format::sorted_fields(record) {
        let name = field.and_then(|i| record.field_name(i)).unwrap_or(format::NAME_FIELD);
        parts.push(ctx.string(name)?);
        parts.push(match field {
            Some(i) => record.get(i).unwrap_or(ctx.nil()),
            None => ctx.string(record.name())?,
        });
    }
    Ok(Some(parts))
}

fn scalar_key_order(a: Val<'_>, b: Val<'_>) -> Ordering {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return a.as_bytes().cmp(b.as_bytes());
    }
    if let Some(order) = compare_short(a, b) {
        return order;
    }
    if let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) {
        let is_nan = |val: Val<'_>| val.as_float().is_some_and(f64::is_nan);
        return x.compare(&y).unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)));
    }
    if let (Some(a), Some(b)) = (a.as_bool(), b.as_bool()) {
        return a.cmp(&b);
    }
    let rank = |val: Val<'_>| match val.kind() {
        _ if val.is_nil() => u32::MAX,
        Kind::Int | Kind::Float | Kind::Bytes => 0,
        kind => 1 + kind as u32,
    };
    rank(a).cmp(&rank(b))
}

/// Whether two values are of the same kind and equal, as `in` asks.
///
/// # Errors
/// memory-limit; what [`Work::steps`] raises.
pub fn same<'h>(ctx: &'h HostContext<'_>, work: &mut Work, a: Val<'h>, b: Val<'h>) -> Result<bool, Trap> {
    if a.kind() != b.kind() {
        work.steps(ctx, 1)?;
        return Ok(false);
    }
    if let (Some((a, _)), Some((b, _))) = (a.as_bytes(), b.as_bytes())
        && a != b
    {
        work.steps(ctx, 1)?;
        return Ok(false);
    }
    equal_counted(ctx, work, a, b)
}
