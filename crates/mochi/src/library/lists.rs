//! Builtins that make lists.
//!
//! A result has the storage that the call's result type asks for; where the type is `any`, that of the list it was made
//! from. Lists that end up in a second list are marked as shared, so that appending to them copies.

use std::cell::Cell;
use std::cmp::Ordering;

use upshift_bytecode::TrapCode;
use upshift_runtime::host::{Args, HostContext, ListView, Ret, Storage, Val};
use upshift_runtime::trap::Trap;

use super::work::{self, Work};
use super::{access, compare, kind_name, mismatch};

/// Elements in a step of the work where they are copied as they are.
const RAW: usize = 8;

/// Marks the elements that are lists as shared.
pub fn share_elements(list: ListView<'_>, ctx: &HostContext<'_>) {
    if list.storage() == Storage::Cell {
        for list in list.iter().filter_map(Val::as_list) {
            ctx.list_share(list);
        }
    }
}

/// A list argument; null is the empty list, as `None`.
///
/// # Errors
/// type-mismatch for other kinds.
pub fn list_arg<'h>(
    ctx: &'h HostContext<'_>,
    args: Args<'h>,
    i: usize,
    what: &str,
) -> Result<Option<ListView<'h>>, Trap> {
    let val = args.val(ctx, i)?;
    match val.as_list() {
        Some(list) => Ok(Some(list)),
        None if val.is_nil() => Ok(None),
        None => Err(mismatch(format!("{what} works on lists, not on {}", kind_name(val)))),
    }
}

/// A new list of these values, for the call's result.
///
/// # Errors
/// type-mismatch where a value does not fit the declared storage; memory-limit.
pub fn result_list<'h>(
    ctx: &'h HostContext<'_>,
    like: Option<ListView<'h>>,
    items: &[Val<'h>],
) -> Result<Val<'h>, Trap> {
    work::steps(ctx, items.len())?;
    let storage = ctx.result_storage();
    if storage.is_none()
        && let Some(like) = like.filter(|l| l.storage() != Storage::Cell)
    {
        let made = ctx.new_list_like(like, items.len())?;
        if fill(ctx, made, items).is_ok() {
            return Ok(made);
        }
    }
    let made = ctx.new_list(storage.unwrap_or(Storage::Cell), items.len())?;
    fill(ctx, made, items)?;
    Ok(made)
}

/// A new list of cells as the call's result.
///
/// # Errors
/// As [`result_list`].
pub fn as_result<'h>(ctx: &'h HostContext<'_>, made: Val<'h>) -> Result<Val<'h>, Trap> {
    match made.as_list() {
        Some(list) if !matches!(ctx.result_storage(), None | Some(Storage::Cell)) => {
            result_list(ctx, None, &list.iter().collect::<Vec<_>>())
        }
        _ => Ok(made),
    }
}

fn fill(ctx: &HostContext<'_>, made: Val<'_>, items: &[Val<'_>]) -> Result<(), Trap> {
    let Some(list) = made.as_list() else { return Ok(()) };
    for &item in items {
        push(ctx, list, item)?;
        if let Some(inner) = item.as_list() {
            ctx.list_share(inner);
        }
    }
    Ok(())
}

/// Appends in place; an int becomes a float where floats are stored under a declared type.
fn push(ctx: &HostContext<'_>, list: ListView<'_>, item: Val<'_>) -> Result<(), Trap> {
    match item.as_int() {
        Some(x) if list.storage() == Storage::Float && ctx.result_storage() == Some(Storage::Float) => {
            ctx.list_push(list, ctx.float(x as f64))
        }
        _ => ctx.list_push(list, item),
    }
}

/// Whether a copy of the list's own representation is what the call returns.
fn keeps_type(ctx: &HostContext<'_>, args: Option<Args<'_>>, list: ListView<'_>) -> bool {
    match ctx.result_storage() {
        None => true,
        Some(Storage::Cell) => {
            list.storage() == Storage::Cell
                && (list.holds_any() || args.is_some_and(|args| args.ty(0) == ctx.result_type()))
        }
        Some(storage) => storage == list.storage(),
    }
}

/// The elements `from..to` as a new list.
///
/// # Errors
/// memory-limit.
pub fn part<'h>(
    ctx: &'h HostContext<'_>,
    list: ListView<'h>,
    from: usize,
    to: usize,
) -> Result<Val<'h>, Trap> {
    if !keeps_type(ctx, None, list) {
        let items: Vec<Val<'h>> = (from..to).filter_map(|i| list.get(i)).collect();
        return result_list(ctx, Some(list), &items);
    }
    work::steps(ctx, to.saturating_sub(from) / RAW)?;
    let made = ctx.list_slice(list, from, to)?;
    if let Some(made) = made.as_list() {
        share_elements(made, ctx);
    }
    Ok(made)
}

/// `append(list, value)`, copying.
pub fn append<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let value = args.val(ctx, 1)?;
    let Some(list) = list_arg(ctx, args, 0, "append")? else {
        return Ok(result_list(ctx, None, &[value])?.into());
    };
    if keeps_type(ctx, Some(args), list) {
        work::steps(ctx, list.len() / RAW)?;
        let made = ctx.list_slice(list, 0, list.len())?;
        if let Some(copy) = made.as_list()
            && push(ctx, copy, value).is_ok()
        {
            share_elements(list, ctx);
            return Ok(made.into());
        }
    }
    let items: Vec<Val<'h>> = list.iter().chain([value]).collect();
    Ok(result_list(ctx, Some(list), &items)?.into())
}

/// `mochi.cut(list, from, to)`: the elements `from..to` of a list that nothing else refers to, unless it is marked.
pub fn cut<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let val = args.val(ctx, 0)?;
    let Some(list) = val.as_list() else { return Ok(val.into()) };
    let made = ctx.list_cut(list, args.int(1)?, args.int(2)?)?;
    if let Some(part) = made.as_list()
        && made.address() != val.address()
    {
        share_elements(part, ctx);
    }
    Ok(made.into())
}

/// `mochi.share_elements(list)`
pub fn share<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    if let Some(list) = args.val(ctx, 0)?.as_list() {
        share_elements(list, ctx);
    }
    Ok(Ret::Nothing)
}

/// `concat(a, b, ..)` and `a union all b`
pub fn concat<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let mut lists = Vec::new();
    for i in 0..args.len() {
        lists.extend(list_arg(ctx, args, i, "concat")?);
    }
    let items: Vec<Val<'h>> = lists.iter().flat_map(|l| l.iter()).collect();
    Ok(result_list(ctx, lists.first().copied(), &items)?.into())
}

/// `a + b` for two lists, one of which may be of another representation.
///
/// # Errors
/// memory-limit.
pub fn add<'h>(ctx: &'h HostContext<'_>, a: ListView<'h>, b: ListView<'h>) -> Result<Val<'h>, Trap> {
    let items: Vec<Val<'h>> = a.iter().chain(b.iter()).collect();
    result_list(ctx, Some(a), &items)
}

/// `distinct(list)`
pub fn distinct<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let list = list_arg(ctx, args, 0, "distinct")?;
    let items = compare::distinct(ctx, list)?.into_items();
    Ok(result_list(ctx, list, &items)?.into())
}

/// The steps of sorting so many keys that are compared in one.
fn sort_steps(len: usize) -> usize {
    len.saturating_mul(len.max(1).ilog2() as usize)
}

/// Sorts, equal ones as they were, by an order that may fail. (The standard library's sorts want an answer of each comparison.)
///
/// # Errors
/// The first one of `order`.
fn merge_sort<T: Copy>(
    items: &mut [T],
    mut order: impl FnMut(&T, &T) -> Result<Ordering, Trap>,
) -> Result<(), Trap> {
    /// Runs of so many are sorted by insertion.
    const RUN: usize = 8;
    for run in items.chunks_mut(RUN) {
        for i in 1..run.len() {
            let item = run[i];
            let mut at = i;
            while at > 0 && order(&run[at - 1], &item)?.is_gt() {
                run[at] = run[at - 1];
                at -= 1;
            }
            run[at] = item;
        }
    }
    let mut left = Vec::new();
    let mut size = RUN;
    while size < items.len() {
        for pair in items.chunks_mut(2 * size) {
            // What is in order already, as most of some texts is, stays where it is.
            if pair.len() <= size || order(&pair[size - 1], &pair[size])?.is_le() {
                continue;
            }
            left.clear();
            left.extend_from_slice(&pair[..size]);
            let (mut from_left, mut from_right) = (0, size);
            while from_left < left.len() && from_right < pair.len() {
                // Behind what was taken from the left, as many places are free as were taken.
                let to = from_left + from_right - size;
                if order(&left[from_left], &pair[from_right])?.is_le() {
                    pair[to] = left[from_left];
                    from_left += 1;
                } else {
                    pair[to] = pair[from_right];
                    from_right += 1;
                }
            }
            let to = from_left + from_right - size;
            pair[to..to + left.len() - from_left].copy_from_slice(&left[from_left..]);
        }
        size *= 2;
    }
    Ok(())
}

/// `sort by` of a query: the elements of a list in the order of their keys, those with equal keys as they were.
pub fn sort_by<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let list = list_arg(ctx, args, 0, "sort by")?;
    let Some(keys) = list_arg(ctx, args, 1, "sort by")? else {
        return Ok(args.val(ctx, 0)?.into());
    };
    let mut items: Vec<Val<'h>> = list.iter().flat_map(|l| l.iter()).collect();
    if let Some(keys) = keys.ints() {
        let mut order: Vec<(i64, Val<'h>)> = keys.iter().map(Cell::get).zip(items).collect();
        work::steps(ctx, sort_steps(order.len()))?;
        order.sort_by_key(|&(key, _)| key);
        items = order.into_iter().map(|(_, item)| item).collect();
    } else {
        let mut order: Vec<(Val<'h>, Val<'h>)> = keys.iter().zip(items).collect();
        let mut work = Work::default();
        merge_sort(&mut order, |a, b| compare::key_order(ctx, &mut work, a.0, b.0))?;
        items = order.into_iter().map(|(_, item)| item).collect();
    }
    Ok(result_list(ctx, list, &items)?.into())
}

/// `a union b`
pub fn union<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (a, b) = (list_arg(ctx, args, 0, "union")?, list_arg(ctx, args, 1, "union")?);
    let items = compare::distinct(ctx, a.into_iter().chain(b))?.into_items();
    Ok(result_list(ctx, a.or(b), &items)?.into())
}

/// `a except b`: the elements of `a` that are not in `b`.
pub fn except<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (a, b) = (list_arg(ctx, args, 0, "except")?, list_arg(ctx, args, 1, "except")?);
    let mut others = compare::distinct(ctx, b)?;
    let mut items = Vec::new();
    for item in a.iter().flat_map(|a| a.iter()) {
        if !others.contains(ctx, item)? {
            items.push(item);
        }
    }
    Ok(result_list(ctx, a, &items)?.into())
}

/// `a intersect b`: the elements of `b` that occur in `a`, once each.
pub fn intersect<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (a, b) = (list_arg(ctx, args, 0, "intersect")?, list_arg(ctx, args, 1, "intersect")?);
    let mut left = compare::distinct(ctx, a)?;
    let mut items = compare::Distinct::default();
    for item in b.iter().flat_map(|b| b.iter()) {
        if left.contains(ctx, item)? {
            items.add(ctx, item)?;
        }
    }
    Ok(result_list(ctx, b, &items.into_items())?.into())
}

/// `collect(list)`
pub fn collect<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    match list_arg(ctx, args, 0, "collect")? {
        Some(list) => Ok(part(ctx, list, 0, list.len())?.into()),
        None => Ok(result_list(ctx, None, &[])?.into()),
    }
}

/// `reverse(x)` of a list or text
pub fn reverse<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let val = args.val(ctx, 0)?;
    if let Some(text) = val.as_str() {
        work::steps(ctx, text.len() / work::WRITTEN)?;
        return Ok(ctx.string(&text.chars().rev().collect::<String>())?.into());
    }
    let list = list_arg(ctx, args, 0, "reverse")?;
    let mut items: Vec<Val<'h>> = list.iter().flat_map(|l| l.iter()).collect();
    items.reverse();
    Ok(result_list(ctx, list, &items)?.into())
}

/// `first(list)`: the first element or null
pub fn first<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let first = list_arg(ctx, args, 0, "first")?.and_then(|list| list.get(0));
    Ok(first.unwrap_or(ctx.nil()).into())
}

/// `range([from,] to[, step])`
pub fn range<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (from, to) = if args.len() == 1 { (0, args.int(0)?) } else { (args.int(0)?, args.int(1)?) };
    let step = if args.len() > 2 { args.int(2)? } else { 1 };
    if step == 0 {
        return Err(Trap::new(TrapCode::InvalidArgument, "range: the step is zero"));
    }
    let made = ctx.new_list(Storage::Int, 0)?;
    let Some(list) = made.as_list() else { return Ok(made.into()) };
    let mut at = from;
    let mut work = Work::default();
    while if step > 0 { at < to } else { at > to } {
        work.steps(ctx, 1)?;
        ctx.list_push(list, ctx.int(at)?)?;
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    if matches!(ctx.result_storage(), None | Some(Storage::Int)) {
        return Ok(made.into());
    }
    Ok(result_list(ctx, None, &list.iter().collect::<Vec<_>>())?.into())
}

/// `keys(map)`: in the order of their texts
pub fn keys<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(keys_of(ctx, args.val(ctx, 0)?)?.into())
}

/// The keys of a map or struct as the call's result.
///
/// # Errors
/// type-mismatch for other kinds.
pub fn keys_of<'h>(ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<Val<'h>, Trap> {
    if let Some(map) = val.as_map() {
        work::steps(ctx, map.len())?;
        let keys = ctx.map_keys(map)?;
        return match keys.as_list() {
            Some(list) if !keeps_type(ctx, None, list) => {
                result_list(ctx, Some(list), &list.iter().collect::<Vec<_>>())
            }
            _ => Ok(keys),
        };
    }
    if val.as_record().is_none() && !val.is_nil() {
        return Err(mismatch(format!("keys works on maps, not on {}", kind_name(val))));
    }
    let names = access::iterate(ctx, val)?;
    let items: Vec<Val<'h>> = names.as_list().into_iter().flat_map(|l| l.iter()).collect();
    result_list(ctx, None, &items)
}

/// `values(map)`: in the order of their keys
pub fn values<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(values_of(ctx, args.val(ctx, 0)?)?.into())
}

/// The values of a map or struct as the call's result.
///
/// # Errors
/// type-mismatch for other kinds.
pub fn values_of<'h>(ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<Val<'h>, Trap> {
    let items: Vec<Val<'h>> = if let Some(map) = val.as_map() {
        work::steps(ctx, map.len())?;
        ctx.map_entries(map)?.1.iter().collect()
    } else if let Some(record) = val.as_record() {
        let mut items = Vec::new();
        for field in super::format::sorted_fields(record) {
            items.push(match field {
                Some(i) => record.get(i).unwrap_or(ctx.nil()),
                None => ctx.string(record.name())?,
            });
        }
        items
    } else if val.is_nil() {
        Vec::new()
    } else {
        return Err(mismatch(format!("values works on maps, not on {}", kind_name(val))));
    };
    result_list(ctx, None, &items)
}
