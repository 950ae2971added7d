//! Values told apart: hashes, tables of distinct values, and the set operators.
//!
//! Equal values have equal hashes, and nearly all others have different ones, so that `distinct`, `union`, `except` and `intersect` take
//! time in proportion to what they are given. A hash is a sum over the parts of a value, each mixed with the way that leads to it: thus
//! entries of maps and fields of records may come in any order, and nothing recurses. Containers are visited level by level. How many
//! parts lie on a level is the same in equal values, which may differ in what they share, so that is what limits the work: levels
//! beyond [`FEW_PARTS`] parts, which cyclic values have without end, do not count. Where a table meets too many values that are told
//! apart only there, it is made again with hashes that look further.
//!
//! Few values on the right side are compared one by one, and raw ints in a set of ints.

use std::cell::Cell;
use std::rc::Rc;

use rustc_hash::FxHashSet;
use upshift_bytecode::Kind;
use upshift_runtime::host::{Args, HostContext, ListView, MapView, RecordView, Ret, Val, text_hash};
use upshift_runtime::trap::Trap;

use super::lists::{list_arg, picked, result_list};
use super::number::Number;
use super::work::{self, COPIED, Work};
use super::{compare, format};

/// Levels of a value are part of its hash up to so many parts, and then up to [`MORE`] times as many in turn.
const FEW_PARTS: usize = 256;
const MORE: usize = 16;
const MANY_PARTS: usize = 1 << 20;
/// A table that meets so many other values of one hash is made again with hashes that look further.
const MEETINGS: usize = 16;
/// The steps of a look into a table of values.
const LOOKUP: usize = 4;
/// So many values are compared one by one.
const FEW: usize = 4;
/// As [`FEW`], of raw ints.
const FEW_INTS: usize = 8;
/// Elements of lists that store them raw in a step of the work.
const RAW: usize = 8;

/// Where the ways begin.
const ROOT: u64 = 0x9E37_79B9_7F4A_7C15;

#[inline]
fn mix(way: u64, word: u64) -> u64 {
    let product = u128::from(way ^ word.wrapping_mul(ROOT) ^ 0x6A09_E667_F3BC_C908) * 0xD1B5_4A32_D192_ED03;
    product as u64 ^ (product >> 64) as u64
}

/// The hash of a value that is no container; `None` for one that is.
#[inline]
fn leaf(val: Val<'_>) -> Option<u64> {
    // Numbers are equal across kinds, as floats are; -0.0 equals 0.0.
    const NUMBER: u64 = 1;
    let number = |x: f64| mix(NUMBER, (x + 0.0).to_bits());
    if let Some(i) = val.as_int() {
        return Some(number(i as f64));
    }
    if let Some(hash) = val.text_hash() {
        return Some(mix(2, hash.into()));
    }
    if let Some(x) = val.as_float() {
        return Some(number(x));
    }
    if let Some(b) = val.as_bool() {
        return Some(mix(3, b.into()));
    }
    match val.kind() {
        Kind::List | Kind::Map | Kind::Record => None,
        Kind::Bytes => Some(Number::of(val).map_or(4, |big| number(big.to_float()))),
        // Functions are compared by identity, and nothing moves while host code runs.
        kind => Some(mix(5 + kind as u64, val.address().unwrap_or(0) as u64)),
    }
}

/// The number of parts of a container.
fn parts(val: Val<'_>) -> usize {
    let list = val.as_list().map(ListView::len);
    list.or_else(|| val.as_map().map(MapView::len))
        .or_else(|| val.as_record().map(RecordView::len))
        .unwrap_or(0)
}

/// The hash of a map's key: that of its text.
fn key_hash(ctx: &HostContext<'_>, key: Val<'_>) -> Result<u32, Trap> {
    match key.text_hash() {
        Some(hash) => Ok(hash),
        None => Ok(text_hash(&format::text(ctx, key)?)),
    }
}

/// What hashing takes along from value to value.
struct Hasher<'h> {
    /// Levels beyond so many parts do not count.
    limit: usize,
    /// Whether there was such a level.
    cut: bool,
    /// The hashes of the name and the fields' names of the shapes met.
    shapes: Vec<(u32, Rc<[u64]>)>,
    level: Vec<(Val<'h>, u64)>,
    next: Vec<(Val<'h>, u64)>,
}

impl<'h> Hasher<'h> {
    fn new() -> Self {
        Hasher { limit: FEW_PARTS, cut: false, shapes: Vec::new(), level: Vec::new(), next: Vec::new() }
    }

    /// The hash of a value.
    fn hash(&mut self, ctx: &'h HostContext<'_>, work: &mut Work, val: Val<'h>) -> Result<u64, Trap> {
        if let Some(hash) = leaf(val) {
            return Ok(hash);
        }
        let mut sum = 0;
        let mut count = 0;
        self.level.clear();
        self.level.push((val, ROOT));
        loop {
            self.next.clear();
            for at in 0..self.level.len() {
                let (val, way) = self.level[at];
                sum = self.container(ctx, work, val, way, sum)?;
            }
            count += self.next.iter().map(|&(val, _)| 1 + parts(val)).sum::<usize>();
            if self.next.is_empty() {
                return Ok(sum);
            }
            if count > self.limit {
                self.cut = true;
                let sizes = self.next.iter().map(|&(val, way)| mix(way, parts(val) as u64));
                return Ok(sizes.fold(sum, u64::wrapping_add));
            }
            std::mem::swap(&mut self.level, &mut self.next);
        }
    }

    /// Adds a container to the sum except for the containers in it, which are noted.
    fn container(
        &mut self,
        ctx: &'h HostContext<'_>,
        work: &mut Work,
        val: Val<'h>,
        way: u64,
        mut sum: u64,
    ) -> Result<u64, Trap> {
        let next = &mut self.next;
        let mut part = |work: &mut Work, sum: &mut u64, val: Val<'h>, way: u64| {
            match leaf(val) {
                Some(hash) => *sum = sum.wrapping_add(mix(way, hash)),
                None => next.push((val, way)),
            }
            work.steps(ctx, 1)
        };
        sum = sum.wrapping_add(mix(way, val.kind() as u64 + 100));
        if let Some(list) = val.as_list() {
            sum = sum.wrapping_add(mix(way, list.len() as u64));
            for (i, val) in list.iter().enumerate() {
                part(work, &mut sum, val, mix(way, i as u64))?;
            }
        } else if let Some(map) = val.as_map() {
            sum = sum.wrapping_add(mix(way, map.len() as u64));
            for (key, val) in map.inserted() {
                part(work, &mut sum, val, mix(way, key_hash(ctx, key)?.into()))?;
            }
        } else if let Some(record) = val.as_record() {
            // Records of one name may have their fields in another order in another module.
            let shape = record.shape_id();
            let known =
                self.shapes.iter().find(|&&(other, _)| other == shape).map(|(_, names)| names.clone());
            let names = known.unwrap_or_else(|| {
                let fields = (0..record.len()).map(|i| record.field_name(i).unwrap_or(""));
                let names: Rc<[u64]> =
                    std::iter::once(record.name()).chain(fields).map(|name| text_hash(name).into()).collect();
                self.shapes.push((shape, names.clone()));
                names
            });
            sum = sum.wrapping_add(mix(way, names[0]));
            for (i, &name) in names[1..].iter().enumerate() {
                part(work, &mut sum, record.get(i).unwrap_or(ctx.nil()), mix(way, name))?;
            }
        }
        Ok(sum)
    }
}

/// A hash that equal values share.
///
/// # Errors
/// memory-limit; what [`Work::steps`] raises, as all functions below.
pub fn hash<'h>(ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<u64, Trap> {
    Hasher::new().hash(ctx, &mut Work::default(), val)
}

/// Values without repetitions, in the order of their first appearance.
struct Distinct<'h> {
    items: Vec<Val<'h>>,
    hashes: Vec<u64>,
    /// Numbers of items, from where their hashes point on; at most half is in use.
    table: Vec<u32>,
    hasher: Hasher<'h>,
    work: Work,
}

/// An unused place in a table.
const UNUSED: u32 = u32::MAX;

impl<'h> Distinct<'h> {
    fn new() -> Self {
        let (items, hashes) = (Vec::new(), Vec::new());
        Distinct { items, hashes, table: vec![UNUSED; 16], hasher: Hasher::new(), work: Work::default() }
    }

    /// Adds a value unless an equal one is there; says whether it was added.
    fn add(&mut self, ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<bool, Trap> {
        let (hash, found) = self.find(ctx, val)?;
        if !found {
            self.items.push(val);
            self.hashes.push(hash);
            if self.items.len() * 2 > self.table.len() {
                self.tabulate(ctx, self.table.len() * 4)?;
            } else {
                self.enter(self.items.len() - 1);
            }
        }
        Ok(!found)
    }

    /// Adds all elements of a list; the positions of those that were.
    fn extend(&mut self, ctx: &'h HostContext<'_>, list: ListView<'h>) -> Result<Vec<usize>, Trap> {
        let mut added = Vec::new();
        for (at, item) in list.iter().enumerate() {
            if self.add(ctx, item)? {
                added.push(at);
            }
        }
        Ok(added)
    }

    /// Whether an equal value is there.
    fn contains(&mut self, ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<bool, Trap> {
        Ok(self.find(ctx, val)?.1)
    }

    /// The hash of a value, and whether an equal one is there.
    fn find(&mut self, ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<(u64, bool), Trap> {
        self.work.steps(ctx, LOOKUP + val.as_str().map_or(0, |text| text.len() / COPIED))?;
        'again: loop {
            let hash = self.hasher.hash(ctx, &mut self.work, val)?;
            let mask = self.table.len() - 1;
            let mut place = hash as usize & mask;
            let mut met = 0;
            loop {
                let item = self.table[place] as usize;
                if item == UNUSED as usize {
                    return Ok((hash, false));
                }
                if self.hashes[item] == hash {
                    if compare::equal_counted(ctx, &mut self.work, self.items[item], val)? {
                        return Ok((hash, true));
                    }
                    met += 1;
                    if met > MEETINGS && self.hasher.cut && self.hasher.limit < MANY_PARTS {
                        self.look_further(ctx)?;
                        continue 'again;
                    }
                }
                place = (place + 1) & mask;
            }
        }
    }

    /// Makes the table again with hashes of more parts.
    #[cold]
    fn look_further(&mut self, ctx: &'h HostContext<'_>) -> Result<(), Trap> {
        self.hasher.limit *= MORE;
        self.hasher.cut = false;
        for (item, hash) in self.items.iter().zip(&mut self.hashes) {
            *hash = self.hasher.hash(ctx, &mut self.work, *item)?;
        }
        self.tabulate(ctx, self.table.len())
    }

    fn tabulate(&mut self, ctx: &HostContext<'_>, size: usize) -> Result<(), Trap> {
        ctx.check_memory(size * size_of::<u32>() + self.items.capacity() * size_of::<(Val<'_>, u64)>())?;
        self.table.clear();
        self.table.resize(size, UNUSED);
        (0..self.items.len()).for_each(|item| self.enter(item));
        Ok(())
    }

    fn enter(&mut self, item: usize) {
        let mask = self.table.len() - 1;
        let mut place = self.hashes[item] as usize & mask;
        while self.table[place] != UNUSED {
            place = (place + 1) & mask;
        }
        self.table[place] = item as u32;
    }
}

/// What elements are looked up in.
enum Lookup<'h> {
    Few(ListView<'h>, Work),
    Table(Box<Distinct<'h>>),
}

impl<'h> Lookup<'h> {
    fn new(ctx: &'h HostContext<'_>, list: Option<ListView<'h>>) -> Result<Self, Trap> {
        match list {
            Some(list) if list.len() <= FEW => Ok(Lookup::Few(list, Work::default())),
            _ => {
                let mut table = Distinct::new();
                list.map(|list| table.extend(ctx, list)).transpose()?;
                Ok(Lookup::Table(Box::new(table)))
            }
        }
    }

    fn contains(&mut self, ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<bool, Trap> {
        match self {
            Lookup::Table(table) => table.contains(ctx, val),
            Lookup::Few(list, work) => {
                for other in list.iter() {
                    if compare::equal_counted(ctx, work, other, val)? {
                        return Ok(true);
                    }
                }
                work.steps(ctx, 1)?;
                Ok(false)
            }
        }
    }
}

/// As [`Lookup`], for raw ints.
enum Ints<'h> {
    Few(&'h [Cell<i64>]),
    Table(FxHashSet<i64>),
}

impl<'h> Ints<'h> {
    fn new(ctx: &HostContext<'_>, ints: &'h [Cell<i64>]) -> Result<Self, Trap> {
        if ints.len() <= FEW_INTS {
            return Ok(Ints::Few(ints));
        }
        work::steps(ctx, ints.len().saturating_mul(LOOKUP))?;
        Ok(Ints::Table(ints.iter().map(Cell::get).collect()))
    }

    /// The steps of so many looks.
    fn steps(&self, looks: usize) -> usize {
        match self {
            Ints::Few(ints) => looks.saturating_mul(1 + ints.len()) / RAW,
            Ints::Table(_) => looks.saturating_mul(LOOKUP),
        }
    }

    #[inline]
    fn contains(&self, i: i64) -> bool {
        match self {
            Ints::Few(ints) => ints.iter().fold(false, |found, x| found | (x.get() == i)),
            Ints::Table(table) => table.contains(&i),
        }
    }
}

/// The ints of lists without repetitions, in order.
fn distinct_ints<'h>(
    ctx: &HostContext<'_>,
    lists: impl IntoIterator<Item = &'h [Cell<i64>]>,
) -> Result<Vec<i64>, Trap> {
    let (mut items, mut seen) = (Vec::new(), FxHashSet::default());
    for list in lists {
        for chunk in list.chunks(work::PORTION) {
            work::steps(ctx, chunk.len() * LOOKUP)?;
            items.extend(chunk.iter().map(Cell::get).filter(|&i| seen.insert(i)));
        }
    }
    Ok(items)
}

/// Whether the result of the call may be a list of raw ints.
fn gives_ints(ctx: &HostContext<'_>) -> bool {
    use upshift_runtime::host::Storage;
    matches!(ctx.result_storage(), None | Some(Storage::Int))
}

/// `distinct(list)`
pub fn distinct<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let Some(list) = list_arg(ctx, args, 0, "distinct")? else {
        return Ok(result_list(ctx, None, &[])?.into());
    };
    if let (Some(ints), true) = (list.ints(), gives_ints(ctx)) {
        return Ok(ctx.new_list_of_ints(&distinct_ints(ctx, [ints])?)?.into());
    }
    let kept = Distinct::new().extend(ctx, list)?;
    Ok(picked(ctx, args, 0, list, &kept)?.into())
}

/// `a union b`
pub fn union<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (a, b) = (list_arg(ctx, args, 0, "union")?, list_arg(ctx, args, 1, "union")?);
    if let (Some(a), Some(b), true) =
        (a.and_then(ListView::ints), b.and_then(ListView::ints), gives_ints(ctx))
    {
        return Ok(ctx.new_list_of_ints(&distinct_ints(ctx, [a, b])?)?.into());
    }
    let mut table = Distinct::new();
    for list in a.into_iter().chain(b) {
        table.extend(ctx, list)?;
    }
    Ok(result_list(ctx, a.or(b), &table.items)?.into())
}

/// `a except b`: the elements of `a` that are not in `b`.
pub fn except<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (a, b) = (list_arg(ctx, args, 0, "except")?, list_arg(ctx, args, 1, "except")?);
    let Some(a) = a else { return Ok(result_list(ctx, None, &[])?.into()) };
    if let (Some(a), Some(b), true) = (a.ints(), b.and_then(ListView::ints), gives_ints(ctx)) {
        let others = Ints::new(ctx, b)?;
        let mut items = vec![0; a.len()];
        let mut count = 0;
        for chunk in a.chunks(work::PORTION) {
            work::steps(ctx, others.steps(chunk.len()))?;
            for x in chunk {
                items[count] = x.get();
                count += usize::from(!others.contains(x.get()));
            }
        }
        return Ok(ctx.new_list_of_ints(&items[..count])?.into());
    }
    let mut others = Lookup::new(ctx, b)?;
    let mut kept = Vec::with_capacity(a.len());
    for (at, item) in a.iter().enumerate() {
        if !others.contains(ctx, item)? {
            kept.push(at);
        }
    }
    Ok(picked(ctx, args, 0, a, &kept)?.into())
}

/// `a intersect b`: the elements of `b` that occur in `a`, once each.
pub fn intersect<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (a, b) = (list_arg(ctx, args, 0, "intersect")?, list_arg(ctx, args, 1, "intersect")?);
    let Some(b) = b else { return Ok(result_list(ctx, None, &[])?.into()) };
    let mut once = Distinct::new();
    let mut kept = Vec::new();
    match a {
        // Few are looked for in what need not be tabulated.
        Some(a) if b.len() <= FEW => {
            for (at, item) in b.iter().enumerate() {
                let mut found = false;
                for other in a.iter() {
                    found = compare::equal_counted(ctx, &mut once.work, other, item)?;
                    if found {
                        break;
                    }
                }
                if found && once.add(ctx, item)? {
                    kept.push(at);
                }
            }
        }
        _ => {
            let ints = a.and_then(ListView::ints).zip(b.ints()).filter(|_| gives_ints(ctx));
            if let Some((a, b)) = ints {
                let left = Ints::new(ctx, a)?;
                let mut items = distinct_ints(ctx, [b])?;
                work::steps(ctx, left.steps(items.len()))?;
                items.retain(|&i| left.contains(i));
                return Ok(ctx.new_list_of_ints(&items)?.into());
            }
            let mut left = Lookup::new(ctx, a)?;
            for (at, item) in b.iter().enumerate() {
                if left.contains(ctx, item)? && once.add(ctx, item)? {
                    kept.push(at);
                }
            }
        }
    }
    Ok(picked(ctx, args, 1, b, &kept)?.into())
}
