//! `sort by`: the elements of a list in the order of their keys.
//!
//! Keys of one form, such as ints, texts, or lists of an int and a text each, are taken apart once: into columns of words whose
//! order is that of the keys' parts, a text's being its first bytes. Comparing is then comparing words, and texts where theirs are equal;
//! nothing is allocated or called for it. Other keys are compared as [`compare::key_order`] does.

use std::cmp::Ordering;

use upshift_bytecode::KeyPolicy;
use upshift_runtime::host::{Args, HostContext, ListView, Ret, Text, Val};
use upshift_runtime::trap::Trap;

use super::lists::{list_arg, picked, result_list};
use super::work::{COPIED, Work};
use super::{compare, format};

/// The steps of sorting so many keys that are compared in one.
fn steps(len: usize) -> usize {
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

/// The parts of one place in all keys.
#[derive(Default)]
struct Column<'h> {
    /// In the order of the parts, but that texts with equal words may differ behind their first bytes.
    words: Vec<u64>,
    texts: Vec<Text<'h>>,
}

/// Bytes of a text in a word.
const PREFIX: usize = size_of::<u64>();

impl<'h> Column<'h> {
    /// Adds a part, which must be of the kind of those before it: whether it is, and a number, truth value or text.
    #[inline]
    fn add(&mut self, first: Val<'h>, val: Val<'h>) -> bool {
        if let (Some(i), Some(_)) = (val.as_int(), first.as_int()) {
            self.words.push(int_word(i));
        } else if let (Some(text), Some(_)) = (val.as_str(), first.as_str()) {
            let mut word = [0; PREFIX];
            let len = text.len().min(PREFIX);
            word[..len].copy_from_slice(&text.as_bytes()[..len]);
            self.words.push(u64::from_be_bytes(word));
            self.texts.push(text);
        } else if let (Some(x), Some(_)) = (val.as_float(), first.as_float()) {
            self.words.push(float_word(x));
        } else if let (Some(b), Some(_)) = (val.as_bool(), first.as_bool()) {
            self.words.push(b.into());
        } else {
            return false;
        }
        true
    }

    /// Compares two parts by their numbers.
    #[inline]
    fn order(&self, ctx: &HostContext<'_>, work: &mut Work, a: usize, b: usize) -> Result<Ordering, Trap> {
        match self.words[a].cmp(&self.words[b]) {
            Ordering::Equal if !self.texts.is_empty() => self.behind(ctx, work, a, b),
            order => Ok(order),
        }
    }

    /// Compares two texts with equal words.
    #[inline]
    fn behind(&self, ctx: &HostContext<'_>, work: &mut Work, a: usize, b: usize) -> Result<Ordering, Trap> {
        let (a, b) = (&self.texts[a], &self.texts[b]);
        let (a, b) = (a.as_bytes(), b.as_bytes());
        if a.len() <= PREFIX && b.len() <= PREFIX {
            // The words end with zeros, and so does the longer one if it is another.
            return Ok(a.len().cmp(&b.len()));
        }
        work.steps(ctx, 1 + a.len().min(b.len()) / COPIED)?;
        Ok(a.cmp(b))
    }
}

/// A word in the order of ints.
#[inline]
fn int_word(i: i64) -> u64 {
    i as u64 ^ 1 << 63
}

/// A word in the order of floats: -0.0 is 0.0, and a NaN comes last.
#[inline]
fn float_word(x: f64) -> u64 {
    if x.is_nan() {
        return u64::MAX;
    }
    let bits = (x + 0.0).to_bits() as i64;
    // Of negative ones all bits are turned, of others the sign.
    (bits ^ ((bits >> 63) as u64 >> 1) as i64) as u64 ^ 1 << 63
}

/// The parts of keys by place; `None` where not all keys have the same form, or parts have parts.
fn columns<'h>(
    ctx: &'h HostContext<'_>,
    work: &mut Work,
    keys: ListView<'h>,
) -> Result<Option<Vec<Column<'h>>>, Trap> {
    if let Some(ints) = keys.ints() {
        let words = ints.iter().map(|i| int_word(i.get())).collect();
        return Ok(Some(vec![Column { words, texts: Vec::new() }]));
    }
    if let Some(floats) = keys.floats() {
        let words = floats.iter().map(|x| float_word(x.get())).collect();
        return Ok(Some(vec![Column { words, texts: Vec::new() }]));
    }
    let Some(first) = keys.get(0) else { return Ok(None) };
    if first.as_list().is_none() && first.as_map().is_none() && first.as_record().is_none() {
        let mut column = Column::default();
        for key in keys.iter() {
            work.steps(ctx, 1)?;
            if !column.add(first, key) {
                return Ok(None);
            }
        }
        return Ok(Some(vec![column]));
    }
    // The names of the parts, which are in their order, and the parts of the first key.
    let mut names: Vec<Val<'h>> = Vec::new();
    let mut fields: Vec<usize> = Vec::new();
    let parts: Vec<Val<'h>> = if let Some(list) = first.as_list() {
        list.iter().collect()
    } else if let Some(map) = first.as_map() {
        let (keys, values) = ctx.map_entries(map)?;
        names.extend(keys.iter());
        values.iter().collect()
    } else if let Some(record) = first.as_record() {
        fields.extend(format::sorted_fields(record).into_iter().flatten());
        fields.iter().filter_map(|&i| record.get(i)).collect()
    } else {
        Vec::new()
    };
    let mut columns: Vec<Column<'h>> = parts.iter().map(|_| Column::default()).collect();
    ctx.check_memory(keys.len().saturating_mul(parts.len()).saturating_mul(size_of::<(u64, Text<'_>)>()))?;
    for key in keys.iter() {
        work.steps(ctx, 1 + parts.len())?;
        for (i, (column, &first_part)) in columns.iter_mut().zip(&parts).enumerate() {
            let part = if let (Some(list), Some(_)) = (key.as_list(), first.as_list()) {
                list.get(i).filter(|_| list.len() == parts.len())
            } else if let (Some(map), Some(_)) = (key.as_map(), first.as_map()) {
                // Keys of other maps may have the text of this one and be of another kind.
                if map.len() != parts.len() || map.key_policy() != KeyPolicy::String {
                    return Ok(None);
                }
                ctx.map_get(map, names[i])?
            } else if let (Some(record), Some(like)) = (key.as_record(), first.as_record()) {
                record.get(fields[i]).filter(|_| record.shape_id() == like.shape_id())
            } else {
                None
            };
            match part {
                Some(part) if column.add(first_part, part) => {}
                _ => return Ok(None),
            }
        }
    }
    // Keys of no parts, which all are equal, may be of other kinds.
    Ok(Some(columns).filter(|columns| !columns.is_empty()))
}

/// `sort by` of a query: the elements of a list in the order of their keys, those with equal keys as they were.
pub fn sort_by<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (list, keys) = (list_arg(ctx, args, 0, "sort by")?, list_arg(ctx, args, 1, "sort by")?);
    let Some(keys) = keys else { return Ok(args.val(ctx, 0)?.into()) };
    let Some(list) = list else { return Ok(result_list(ctx, None, &[])?.into()) };
    let mut work = Work::default();
    let columns = columns(ctx, &mut work, keys)?;
    let len = keys.len().min(list.len());
    let places: Vec<usize> = match columns.as_deref() {
        Some([first, rest @ ..]) => {
            work.steps(ctx, steps(len))?;
            let mut order: Vec<(u64, usize)> = first.words.iter().copied().zip(0..len).collect();
            if rest.is_empty() && first.texts.is_empty() {
                order.sort_by_key(|&(word, _)| word);
            } else {
                merge_sort(&mut order, |a, b| {
                    let mut order = a.0.cmp(&b.0);
                    if order.is_eq() && !first.texts.is_empty() {
                        order = first.behind(ctx, &mut work, a.1, b.1)?;
                    }
                    for column in rest {
                        if order.is_ne() {
                            break;
                        }
                        order = column.order(ctx, &mut work, a.1, b.1)?;
                    }
                    Ok(order)
                })?;
            }
            order.into_iter().map(|(_, place)| place).collect()
        }
        _ => {
            let mut order: Vec<(Val<'h>, usize)> = keys.iter().zip(0..len).collect();
            merge_sort(&mut order, |a, b| compare::key_order(ctx, &mut work, a.0, b.0))?;
            order.into_iter().map(|(_, place)| place).collect()
        }
    };
    Ok(picked(ctx, args, 0, list, &places)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_the_order_of_numbers() {
        let floats =
            [f64::NEG_INFINITY, -1e300, -1.5, -1e-310, 0.0, 1e-310, 0.5, 2.0, f64::INFINITY, f64::NAN];
        assert!(floats.windows(2).all(|pair| float_word(pair[0]) < float_word(pair[1])));
        assert_eq!(float_word(-0.0), float_word(0.0));
        let ints = [i64::MIN, -2, -1, 0, 1, i64::MAX];
        assert!(ints.windows(2).all(|pair| int_word(pair[0]) < int_word(pair[1])));
    }
}
