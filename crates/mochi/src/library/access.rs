//! Reading and writing parts of values whose kinds are known at run time only: indexes, fields, slices, iteration,
//! membership.
//!
//! Map keys are compared through their text whatever the map's policy is: a map that holds raw ints finds the key `"7"`,
//! one that holds strings the key `7`.

use upshift_bytecode::{KeyPolicy, TrapCode};
use upshift_runtime::host::{Args, HostContext, ListView, MapView, Ret, Storage, Text, Val};
use upshift_runtime::trap::Trap;

use super::format::{self, NAME_FIELD};
use super::work::{COPIED, PORTION, Work, steps};
use super::{cast, compare, kind_name, lists, mismatch};

/// The mark of the map of a row's variables.
const ROW: u8 = 1;

/// The mark of the map of a group's key and items.
pub const GROUP: u8 = 2;

/// Elements of lists that store them raw in a step of the work.
const RAW: usize = 8;

/// The value at a key of a map.
///
/// # Errors
/// memory-limit.
pub fn map_get<'h>(
    ctx: &'h HostContext<'_>,
    map: MapView<'_>,
    key: Val<'_>,
) -> Result<Option<Val<'h>>, Trap> {
    match map.key_policy() {
        KeyPolicy::Int => match int_key(ctx, key)? {
            Some(i) => ctx.map_get(map, ctx.int(i)?),
            None => Ok(None),
        },
        KeyPolicy::String if key.as_str().is_none() => {
            let text = ctx.string(&format::text(ctx, key)?)?;
            ctx.map_get(map, text)
        }
        KeyPolicy::Text if key.as_str().is_none() && key.as_int().is_none() => {
            let text = ctx.string(&format::text(ctx, key)?)?;
            ctx.map_get(map, text)
        }
        _ => ctx.map_get(map, key),
    }
}

/// The int whose text is the key's text.
fn int_key(ctx: &HostContext<'_>, key: Val<'_>) -> Result<Option<i64>, Trap> {
    if let Some(i) = key.as_int() {
        return Ok(Some(i));
    }
    let text = format::text(ctx, key)?;
    Ok(text.parse::<i64>().ok().filter(|i| i.to_string() == text))
}

/// Inserts or replaces the value at a key of a map.
///
/// # Errors
/// type-mismatch where the map holds other keys or values; memory-limit.
pub fn map_set(ctx: &HostContext<'_>, map: MapView<'_>, key: Val<'_>, value: Val<'_>) -> Result<(), Trap> {
    match map.key_policy() {
        KeyPolicy::Int => match int_key(ctx, key)? {
            Some(i) => ctx.map_set(map, ctx.int(i)?, value),
            None => Err(mismatch(format!("the map has int keys, the key is {}", kind_name(key)))),
        },
        KeyPolicy::String if key.as_str().is_none() => {
            let text = ctx.string(&format::text(ctx, key)?)?;
            ctx.map_set(map, text, value)
        }
        KeyPolicy::Text if key.as_str().is_none() && key.as_int().is_none() => {
            let text = ctx.string(&format::text(ctx, key)?)?;
            ctx.map_set_text(map, key, text, value)
        }
        _ => ctx.map_set(map, key, value),
    }
}

/// `object[key]`
///
/// # Errors
/// index-out-of-range; type-mismatch for kinds that cannot be indexed, or not by such a key.
pub fn index_get<'h>(ctx: &'h HostContext<'_>, object: Val<'h>, key: Val<'h>) -> Result<Val<'h>, Trap> {
    if object.is_nil() {
        return Ok(ctx.nil());
    }
    if let Some(list) = object.as_list() {
        let i = position(key, list.len(), "list")?;
        return list.get(i).ok_or_else(|| Trap::of(TrapCode::IndexOutOfRange));
    }
    if object.as_str().is_some() {
        return character(ctx, object, key);
    }
    if let Some(map) = object.as_map() {
        return Ok(map_get(ctx, map, key)?.unwrap_or(ctx.nil()));
    }
    if object.as_record().is_some() {
        return field_get(ctx, object, &format::text(ctx, key)?);
    }
    Err(mismatch(format!("cannot index {}", kind_name(object))))
}

fn character<'h>(ctx: &'h HostContext<'_>, text: Val<'h>, key: Val<'_>) -> Result<Val<'h>, Trap> {
    let i = position(key, text.as_str().map_or(0, Text::char_count), "string")? as i64;
    slice_text(ctx, text, Some(i), Some(i + 1))
}

/// The position that an index means; negative ones count from the end.
fn position(key: Val<'_>, len: usize, what: &str) -> Result<usize, Trap> {
    let Some(i) = super::number::Number::of(key).filter(|_| key.as_float().is_none()) else {
        return Err(mismatch(format!("a {what} is indexed by int, not by {}", kind_name(key))));
    };
    let i = i.to_int()?;
    let at = if i < 0 { i.checked_add_unsigned(len as u64) } else { Some(i) };
    at.and_then(|at| usize::try_from(at).ok()).filter(|&at| at < len).ok_or_else(|| {
        Trap::new(
            TrapCode::IndexOutOfRange,
            format!("index {i} is out of range for a {what} of length {len}"),
        )
    })
}

/// `object[key] = value`
///
/// # Errors
/// As for [`index_get`]; null-access for null.
pub fn index_set(ctx: &HostContext<'_>, object: Val<'_>, key: Val<'_>, value: Val<'_>) -> Result<(), Trap> {
    if let Some(list) = object.as_list() {
        let i = position(key, list.len(), "list")?;
        return list_set(ctx, list, i, value);
    }
    if let Some(map) = object.as_map() {
        return map_set(ctx, map, key, value);
    }
    if object.as_record().is_some() {
        return field_set(ctx, object, &format::text(ctx, key)?, value);
    }
    if object.is_nil() {
        return Err(Trap::new(TrapCode::NullAccess, "cannot store into null"));
    }
    Err(mismatch(format!("cannot store into {}", kind_name(object))))
}

/// Replaces an element; an int becomes a float where floats are stored.
fn list_set(ctx: &HostContext<'_>, list: ListView<'_>, i: usize, value: Val<'_>) -> Result<(), Trap> {
    match (list.storage(), value.as_int()) {
        (Storage::Float, Some(x)) => ctx.list_set(list, i, ctx.float(x as f64)),
        _ => ctx.list_set(list, i, value),
    }
}

/// `object.name`: null where there is no such field.
///
/// # Errors
/// type-mismatch for kinds that have no fields.
pub fn field_get<'h>(ctx: &'h HostContext<'_>, object: Val<'h>, name: &str) -> Result<Val<'h>, Trap> {
    if object.is_nil() {
        return Ok(ctx.nil());
    }
    if let Some(record) = object.as_record() {
        return match record.get_named(name) {
            Some(val) => Ok(val),
            None if name == NAME_FIELD => ctx.string(record.name()),
            None => Ok(ctx.nil()),
        };
    }
    if let Some(map) = object.as_map() {
        let key = ctx.string(name)?;
        return Ok(match map_get(ctx, map, key)? {
            Some(val) => val,
            None if map.mark() == ROW => field_of_row(ctx, map, key, name)?,
            None => ctx.nil(),
        });
    }
    Err(mismatch(format!("{} has no field {name}", kind_name(object))))
}

/// A field of the variables of a row: that of the first one that has it.
fn field_of_row<'h>(
    ctx: &'h HostContext<'_>,
    row: MapView<'h>,
    key: Val<'h>,
    name: &str,
) -> Result<Val<'h>, Trap> {
    for (_, variable) in row.inserted() {
        let found = match (variable.as_record(), variable.as_map()) {
            (Some(record), _) => record.get_named(name),
            (_, Some(map)) => map_get(ctx, map, key)?,
            _ => None,
        };
        if let Some(val) = found {
            return Ok(val);
        }
    }
    Ok(ctx.nil())
}

/// `row of(map)`: the map of a row's variables, by which their fields are found too.
pub fn row<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    marked(ctx, args, ROW)
}

/// `group of(map)`: the map of a group's key and items, which acts as the list of its items.
pub fn group<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    marked(ctx, args, GROUP)
}

fn marked<'h>(ctx: &'h HostContext<'_>, args: Args<'h>, mark: u8) -> Result<Ret<'h>, Trap> {
    let val = args.val(ctx, 0)?;
    if let Some(map) = val.as_map() {
        ctx.map_mark(map, mark);
    }
    Ok(val.into())
}

/// `object.name = value`
///
/// # Errors
/// type-mismatch for kinds that have no fields, records without this one and values that do not fit; null-access for null.
pub fn field_set(ctx: &HostContext<'_>, object: Val<'_>, name: &str, value: Val<'_>) -> Result<(), Trap> {
    if let Some(record) = object.as_record() {
        let Some(i) = record.field_index(name) else {
            return Err(mismatch(format!("{} has no field {name}", record.name())));
        };
        return match ctx.record_set(record, i, value) {
            // A field that is declared float, bigint or bigrat converts.
            Err(trap) if trap.code() == TrapCode::BadCast => {
                let declared = ctx.shape_fields(record.shape_id()).nth(i);
                let number = match declared {
                    Some((_, ty)) => cast::widened(ctx, value, ty)?,
                    None => None,
                };
                match number {
                    Some(number) => ctx.record_set(record, i, number),
                    None => Err(mismatch(format!(
                        "field {name} of {} does not hold values of kind {}",
                        record.name(),
                        kind_name(value)
                    ))),
                }
            }
            done => done,
        };
    }
    if let Some(map) = object.as_map() {
        return map_set(ctx, map, ctx.string(name)?, value);
    }
    if object.is_nil() {
        return Err(Trap::new(TrapCode::NullAccess, format!("cannot set field {name} of null")));
    }
    Err(mismatch(format!("{} has no field {name}", kind_name(object))))
}

/// The positions `from..to` that slice bounds mean for something of this length: negative ones count from the end, then
/// both are clamped; `from` is never behind `to`.
pub fn slice_bounds(from: Option<i64>, to: Option<i64>, len: usize) -> (usize, usize) {
    let clamp = |i: i64| {
        let i = if i < 0 { i.saturating_add_unsigned(len as u64) } else { i };
        usize::try_from(i).unwrap_or(0).min(len)
    };
    let to = to.map_or(len, clamp);
    (from.map_or(0, clamp).min(to), to)
}

/// A part of a text, by positions of characters.
///
/// # Errors
/// memory-limit; what [`steps`] raises.
pub fn slice_text<'h>(
    ctx: &'h HostContext<'_>,
    text: Val<'h>,
    from: Option<i64>,
    to: Option<i64>,
) -> Result<Val<'h>, Trap> {
    if let Some(text) = text.as_str().filter(|text| !text.is_ascii()) {
        // Positions may have to be searched for.
        steps(ctx, text.len() / COPIED)?;
    }
    ctx.string_slice(text, from.unwrap_or(0), to.unwrap_or(i64::MAX))
}

/// `object[from:to]`
///
/// # Errors
/// type-mismatch for kinds that cannot be sliced and bounds that are no ints.
pub fn slice<'h>(
    ctx: &'h HostContext<'_>,
    object: Val<'h>,
    from: Val<'h>,
    to: Val<'h>,
) -> Result<Val<'h>, Trap> {
    let bound = |val: Val<'_>| match val.as_int() {
        Some(i) => Ok(Some(i)),
        None if val.is_nil() => Ok(None),
        None => Err(mismatch(format!("slice bounds are ints, not {}", kind_name(val)))),
    };
    let (from, to) = (bound(from)?, bound(to)?);
    if object.as_str().is_some() {
        return slice_text(ctx, object, from, to);
    }
    if let Some(list) = object.as_list() {
        let (from, to) = slice_bounds(from, to, list.len());
        return lists::part(ctx, list, from, to);
    }
    if object.is_nil() {
        return Ok(ctx.nil());
    }
    Err(mismatch(format!("cannot slice {}", kind_name(object))))
}

/// What `for` runs over: the elements of a list, the keys of a map or struct in order, the characters of a text.
///
/// # Errors
/// type-mismatch for other kinds.
pub fn iterate<'h>(ctx: &'h HostContext<'_>, object: Val<'h>) -> Result<Val<'h>, Trap> {
    let object = lists::items_of_group(ctx, object)?;
    if let Some(list) = object.as_list() {
        // The list itself, so that stores during the loop are seen; lists of another representation are copied.
        if list.holds_any() {
            return Ok(object);
        }
        steps(ctx, list.len())?;
        return ctx.new_list_cells(list.iter());
    }
    if let Some(map) = object.as_map() {
        steps(ctx, map.len())?;
        let keys = ctx.map_keys(map)?;
        return match keys.as_list() {
            Some(list) if !list.holds_any() => ctx.new_list_cells(list.iter()),
            _ => Ok(keys),
        };
    }
    let made = ctx.new_list(Storage::Cell, 0)?;
    let Some(list) = made.as_list() else { return Ok(made) };
    if let Some(text) = object.as_str() {
        steps(ctx, text.len())?;
        let mut buffer = [0; 4];
        for c in text.chars() {
            ctx.list_push(list, ctx.string(c.encode_utf8(&mut buffer))?)?;
        }
    } else if let Some(record) = object.as_record() {
        for field in format::sorted_fields(record) {
            let name = field.map_or(NAME_FIELD, |i| record.field_name(i).unwrap_or(""));
            ctx.list_push(list, ctx.string(name)?)?;
        }
    } else if !object.is_nil() {
        return Err(mismatch(format!("cannot iterate over {}", kind_name(object))));
    }
    Ok(made)
}

/// `item in object`: an element of a list, a key of a map or struct, a part of a text.
///
/// # Errors
/// type-mismatch for other kinds.
pub fn contains<'h>(ctx: &'h HostContext<'_>, object: Val<'h>, item: Val<'h>) -> Result<bool, Trap> {
    if let Some(list) = object.as_list() {
        if let Some(ints) = list.ints() {
            let Some(i) = item.as_int() else { return Ok(false) };
            let found = ints.iter().position(|x| x.get() == i);
            steps(ctx, found.unwrap_or(ints.len()) / RAW)?;
            return Ok(found.is_some());
        }
        let mut work = Work::default();
        if item.as_str().is_some() {
            for from in (0..list.len()).step_by(PORTION) {
                let found = list.find_text(from, from + PORTION, item);
                work.steps(ctx, found.map_or(PORTION.min(list.len() - from), |at| at - from))?;
                if found.is_some() {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        if let Some(record) = item.as_record() {
            let mut from = 0;
            while from < list.len() {
                let to = (from + PORTION).min(list.len());
                let found = list.find_record(from, to, record);
                work.steps(ctx, found.unwrap_or(to) - from)?;
                if let Some(element) = found.and_then(|at| list.get(at))
                    && compare::same(ctx, &mut work, element, item)?
                {
                    return Ok(true);
                }
                from = found.map_or(to, |at| at + 1);
            }
            return Ok(false);
        }
        for element in list.iter() {
            if compare::same(ctx, &mut work, element, item)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    if let Some(map) = object.as_map() {
        return Ok(map_get(ctx, map, item)?.is_some());
    }
    if let Some(record) = object.as_record() {
        let name = format::text(ctx, item)?;
        return Ok(name == NAME_FIELD || record.field_index(&name).is_some());
    }
    if let Some(text) = object.as_str() {
        let Some(part) = item.as_str() else {
            return Err(mismatch(format!("a string contains strings only, not {}", kind_name(item))));
        };
        let found = memchr::memmem::find(text.as_bytes(), part.as_bytes());
        steps(ctx, found.unwrap_or(text.len()) / COPIED)?;
        return Ok(found.is_some());
    }
    if object.is_nil() {
        return Ok(false);
    }
    Err(mismatch(format!("cannot look for a value in {}", kind_name(object))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bounds_are_inside_and_in_order(len in 0usize..6, from in -9i64..9, to in -9i64..9) {
            let (a, b) = slice_bounds(Some(from), Some(to), len);
            prop_assert!(a <= b && b <= len);
            let inside = |i: i64| usize::try_from(if i < 0 { i + len as i64 } else { i }).unwrap_or(0).min(len);
            prop_assert_eq!((a, b), (inside(from).min(inside(to)), inside(to)));
        }
    }
}
