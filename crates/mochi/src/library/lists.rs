//! Builtins that make lists.
//!
//! A result has the storage that the call's result type asks for; where the type is `any`, that of the list it was made
//! from. Lists that end up in a second list are marked as shared, so that appending to them copies.

use upshift_bytecode::TrapCode;
use upshift_runtime::host::{Args, HostContext, ListView, Ret, Storage, Val};
use upshift_runtime::trap::Trap;

use super::work::{self, Work};
use super::{access, kind_name, mismatch, text};

/// Elements in a step of the work where they are copied as they are.
const RAW: usize = 8;

/// The items of a group of a query, which acts as their list; other values as they are.
///
/// # Errors
/// memory-limit.
pub fn items_of_group<'h>(ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<Val<'h>, Trap> {
    match val.as_map() {
        Some(map) if map.mark() == access::GROUP => {
            Ok(access::map_get(ctx, map, ctx.string("items")?)?.unwrap_or(val))
        }
        _ => Ok(val),
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
    match items_of_group(ctx, val)?.as_list() {
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

/// Whether a copy of the list's own representation is what the call returns; `typed` says that the list has its declared type.
fn keeps_type(ctx: &HostContext<'_>, typed: bool, list: ListView<'_>) -> bool {
    match ctx.result_storage() {
        None => true,
        Some(Storage::Cell) => list.storage() == Storage::Cell && (list.holds_any() || typed),
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
    if !keeps_type(ctx, false, list) {
        let items: Vec<Val<'h>> = (from..to).filter_map(|i| list.get(i)).collect();
        return result_list(ctx, Some(list), &items);
    }
    work::steps(ctx, to.saturating_sub(from) / RAW)?;
    let made = ctx.list_slice(list, from, to)?;
    if let Some(made) = made.as_list() {
        ctx.list_share_elements(made);
    }
    Ok(made)
}

/// Elements of a list, argument `i`, as the call's result.
///
/// # Errors
/// As [`result_list`].
pub fn picked<'h>(
    ctx: &'h HostContext<'_>,
    args: Args<'_>,
    i: usize,
    list: ListView<'h>,
    places: &[usize],
) -> Result<Val<'h>, Trap> {
    if !keeps_type(ctx, args.ty(i) == ctx.result_type(), list) {
        let items: Vec<Val<'h>> = places.iter().filter_map(|&at| list.get(at)).collect();
        return result_list(ctx, Some(list), &items);
    }
    work::steps(ctx, places.len() / RAW)?;
    let made = ctx.list_pick(list, places.iter().copied())?;
    if let Some(made) = made.as_list() {
        ctx.list_share_elements(made);
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
    if keeps_type(ctx, args.ty(0) == ctx.result_type(), list) {
        work::steps(ctx, list.len() / RAW)?;
        let made = ctx.list_slice(list, 0, list.len())?;
        if let Some(copy) = made.as_list()
            && push(ctx, copy, value).is_ok()
        {
            ctx.list_share_elements(list);
            return Ok(made.into());
        }
    }
    let items: Vec<Val<'h>> = list.iter().chain([value]).collect();
    Ok(result_list(ctx, Some(list), &items)?.into())
}

/// `mochi.share_elements(list)`
pub fn share<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    if let Some(list) = args.val(ctx, 0)?.as_list() {
        ctx.list_share_elements(list);
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
    let typed = (0..args.len()).all(|i| args.ty(i) == ctx.result_type());
    Ok(joined(ctx, typed, &lists)?.into())
}

/// The elements of lists, one after the other, as the call's result; `typed` says that the lists have its declared type.
fn joined<'h>(ctx: &'h HostContext<'_>, typed: bool, lists: &[ListView<'h>]) -> Result<Val<'h>, Trap> {
    let size = lists.iter().map(|list| list.len()).sum::<usize>();
    let keep = |list: &ListView<'_>| list.storage() == lists[0].storage() && keeps_type(ctx, typed, *list);
    if !lists.is_empty() && lists.iter().all(keep) {
        work::steps(ctx, size / RAW)?;
        let made = ctx.list_concat(lists)?;
        if let Some(made) = made.as_list() {
            ctx.list_share_elements(made);
        }
        return Ok(made);
    }
    let items: Vec<Val<'h>> = lists.iter().flat_map(|l| l.iter()).collect();
    result_list(ctx, lists.first().copied(), &items)
}

/// `a + b` for lists of which one is dynamic, and so the sum: it holds cells of any type, whatever the other one is. Null beside a
/// list is no list.
///
/// # Errors
/// memory-limit.
pub fn add<'h>(ctx: &'h HostContext<'_>, lists: &[ListView<'h>]) -> Result<Val<'h>, Trap> {
    if lists.iter().all(|list| list.holds_any()) {
        return joined(ctx, false, lists);
    }
    let items: Vec<Val<'h>> = lists.iter().flat_map(|l| l.iter()).collect();
    result_list(ctx, None, &items)
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
    let Some(list) = list_arg(ctx, args, 0, "reverse")? else {
        return Ok(result_list(ctx, None, &[])?.into());
    };
    let places: Vec<usize> = (0..list.len()).rev().collect();
    Ok(picked(ctx, args, 0, list, &places)?.into())
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
    let int = |i| text::int_arg(ctx, args, i, "range");
    let (from, to) = if args.len() == 1 { (0, int(0)?) } else { (int(0)?, int(1)?) };
    let step = if args.len() > 2 { int(2)? } else { 1 };
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
            Some(list) if !keeps_type(ctx, false, list) => {
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
