//! Rows by their keys, for the plans of queries with joins.
//!
//! A list of ints leads from each row to the number of the next one that may have the same key; -1 ends the way. At first it leads
//! through all rows. Behind these numbers stands how often a row has been looked for, and once that is often, a table of the first
//! rows of chains follows, by the hashes of keys: equal keys have [equal hashes](sets::hash), so all rows of a key are on one way, in
//! their order, perhaps with others.

use upshift_bytecode::TrapCode;
use upshift_runtime::host::{Args, HostContext, ListView, Ret, Val};
use upshift_runtime::trap::Trap;

use super::lists::list_arg;
use super::work::{Work, steps};
use super::{access, mismatch, sets};

/// So often all rows are gone through: a hash and its place in the table cost about as much as comparing so many keys.
const UNHASHED: i64 = 16;
/// So few rows always are.
const FEW: usize = 4;

/// `links of(rows)`
///
/// # Errors
/// memory-limit; what [`steps`] raises.
pub fn links<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &HostContext<'_> = ctx;
    let len = list_arg(ctx, args, 0, "a join")?.map_or(0, ListView::len);
    steps(ctx, len / 8)?;
    let next = (1..len as i64).chain((len > 0).then_some(-1));
    Ok(ctx.new_list_int(next.chain([0]))?.into())
}

/// `first of(links, rows, key, path)`
///
/// # Errors
/// memory-limit; what [`Work::steps`] raises.
pub fn first<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &HostContext<'_> = ctx;
    let lists = (args.val(ctx, 0)?.as_list(), args.val(ctx, 1)?.as_list());
    let (Some(links), Some(rows)) = lists else { return Err(mismatch("a join works on lists")) };
    if rows.is_empty() {
        return Ok(Ret::Int(-1));
    }
    let count = rows.len();
    let has_table = links.len() > count + 1;
    if !has_table {
        let Some(asked) = links.ints().and_then(|cells| cells.get(count)) else {
            return Err(mismatch("a join follows ints"));
        };
        asked.set(asked.get().saturating_add(1));
        if asked.get() <= UNHASHED || count <= FEW || !tabulate(ctx, links, rows, &args.text(ctx, 3)?)? {
            return Ok(Ret::Int(0));
        }
    }
    let table = links.ints().map_or(&[][..], |cells| &cells[count + 1..]);
    let place = sets::hash(ctx, args.val(ctx, 2)?)? as usize & table.len().wrapping_sub(1);
    Ok(Ret::Int(table.get(place).map_or(0, |head| head.get())))
}

/// Makes the table. If a row has no such field, as where it is an int, rows are looked for one by one forever, which is where an
/// error belongs.
fn tabulate(
    ctx: &HostContext<'_>,
    links: ListView<'_>,
    rows: ListView<'_>,
    path: &str,
) -> Result<bool, Trap> {
    let mut work = Work::default();
    let count = rows.len();
    let size = (count * 2).next_power_of_two();
    let mut hashes = Vec::with_capacity(count);
    for row in rows.iter() {
        work.steps(ctx, 4)?;
        match key(ctx, row, path) {
            Ok(key) => hashes.push(sets::hash(ctx, key)?),
            Err(trap) if trap.code() == TrapCode::TypeMismatch => {
                if let Some(asked) = links.ints().and_then(|cells| cells.get(count)) {
                    asked.set(i64::MIN);
                }
                return Ok(false);
            }
            Err(trap) => return Err(trap),
        }
    }
    let mut heads = vec![-1; size];
    let next = links.ints().unwrap_or(&[]);
    for (row, &hash) in hashes.iter().enumerate().rev() {
        let head = &mut heads[hash as usize & (size - 1)];
        next[row].set(*head);
        *head = row as i64;
    }
    for head in heads {
        work.steps(ctx, 1)?;
        ctx.list_push(links, ctx.int(head)?)?;
    }
    Ok(true)
}

/// The key of a row.
fn key<'h>(ctx: &'h HostContext<'_>, row: Val<'h>, path: &str) -> Result<Val<'h>, Trap> {
    path.split('.')
        .filter(|name| !name.is_empty())
        .try_fold(row, |val, name| access::field_get(ctx, val, name))
}
