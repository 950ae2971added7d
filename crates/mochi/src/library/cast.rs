//! Casts, `e as T`.
//!
//! The target comes as text that the lowering wrote: `i` int, `f` float, `b` bool, `s` string, `I` bigint, `R` bigrat,
//! `a` any, `F` function, `?X` nullable, `[X` list of X, `]X` list of X that stores cells, `{KV` map from K (`i`, `s`,
//! `a`) to V, `r<number>;` record of the module and `u<number>|<number>..;` union of such records. Behind it stands `#<number>:X,Y,..`
//! for each record whose slots hold anything where its declaration says more, and those with unions in their fields; other records are
//! cast to what their slots hold. A map becomes the variant of a union that its entry `__name` says, as a saved value has it.
//!
//! Containers are cast by element into new ones, with a stack of our own: what is cast may be nested deeply.

use num_bigint::BigInt;
use num_rational::BigRational;
use upshift_bytecode::{HeapType, KeyPolicy, OrderPolicy, RecordId, TrapCode, ValueType};
use upshift_runtime::host::{Args, HostContext, ListView, MapView, Ret, Storage, Val};
use upshift_runtime::linked::ShapeId;
use upshift_runtime::trap::Trap;

use super::number::{self, Number, overflow};
use super::work::{Work, steps};
use super::{access, kind_name};
use crate::lower::{BIGINT_KIND, BIGRAT_KIND};

/// Decimal digits in a word of 64 bits.
const DIGITS_A_WORD: usize = 19;
/// The steps of the work that a part takes.
const PART: usize = 4;

/// Containers nested deeper than this are taken to contain themselves.
const DEPTH_MAX: usize = 1 << 20;

#[cold]
fn failed(val: Val<'_>, to: &str) -> Trap {
    let shown = match val.as_str() {
        Some(text) if text.chars().count() <= 40 => format!("the string {:?}", &*text),
        _ => kind_name(val).to_string(),
    };
    Trap::new(TrapCode::BadCast, format!("cannot cast {shown} to {to}"))
}

/// The value as int.
///
/// # Errors
/// bad-cast; integer-overflow where it does not fit.
pub fn to_int(val: Val<'_>) -> Result<i64, Trap> {
    if let Some(number) = Number::of(val) {
        return number.to_int();
    }
    if let Some(text) = val.as_str() {
        if !is_decimal(&text) {
            return Err(failed(val, "int"));
        }
        return text.parse().map_err(|_| overflow(format_args!("{:?} as int", &*text)));
    }
    if val.is_nil() { Ok(0) } else { Err(failed(val, "int")) }
}

/// Decimal digits with an optional sign.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The value as float.
///
/// # Errors
/// bad-cast.
pub fn to_float(val: Val<'_>) -> Result<f64, Trap> {
    if let Some(number) = Number::of(val) {
        return Ok(number.to_float());
    }
    if let Some(text) = val.as_str() {
        return text.parse().map_err(|_| failed(val, "float"));
    }
    if val.is_nil() { Ok(0.0) } else { Err(failed(val, "float")) }
}

fn to_bigint(val: Val<'_>) -> Result<BigInt, Trap> {
    let number = match val.as_str() {
        Some(text) if is_decimal(&text) => text.parse().ok(),
        Some(_) => None,
        None if val.is_nil() => Some(BigInt::from(0)),
        None => Number::of(val).and_then(|n| n.to_big()),
    };
    number.ok_or_else(|| failed(val, "bigint"))
}

fn to_bigrat(val: Val<'_>) -> Result<BigRational, Trap> {
    let number = match val.as_str() {
        Some(text) => parse_fraction(&text),
        None if val.is_nil() => Some(BigRational::from_integer(0.into())),
        None => Number::of(val).and_then(|n| n.to_rat()),
    };
    number.ok_or_else(|| failed(val, "bigrat"))
}

/// `12`, `-3/4` or `1.25`
fn parse_fraction(text: &str) -> Option<BigRational> {
    if let Some((numer, denom)) = text.split_once('/') {
        if !is_decimal(numer) || !is_decimal(denom) {
            return None;
        }
        let denom: BigInt = denom.parse().ok()?;
        let zero = BigInt::from(0);
        return (denom != zero).then_some(BigRational::new(numer.parse().ok()?, denom));
    }
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{decimals}");
    if !is_decimal(&digits) || decimals.contains(['-', '+']) {
        return None;
    }
    let scale = BigInt::from(10).pow(u32::try_from(decimals.len()).ok()?);
    Some(BigRational::new(digits.parse().ok()?, scale))
}

/// The number as one of the wider kind that a slot of the type declares; `None` where it is of the kind already, or no number.
///
/// # Errors
/// memory-limit.
pub fn widened<'h>(ctx: &'h HostContext<'_>, val: Val<'h>, ty: ValueType) -> Result<Option<Val<'h>>, Trap> {
    let target = Target::Slot(ty);
    let shape = target.resolve(ctx)?.1;
    let widens = match shape {
        Shape::Float => val.as_int().is_some(),
        Shape::BigInt | Shape::BigRat if let Some(bytes) = val.as_bytes() => {
            let own = if matches!(shape, Shape::BigInt) { BIGINT_KIND } else { BIGRAT_KIND };
            bytes.0 != own && Number::of(val).is_some()
        }
        Shape::BigInt | Shape::BigRat => val.as_int().is_some() || val.as_float().is_some(),
        _ => false,
    };
    Ok(if widens { Some(cast_to(ctx, val, target)?) } else { None })
}

/// What a value is cast to.
#[derive(Clone, Copy, Debug)]
enum Target<'t> {
    /// The beginning of this text says it.
    Text(&'t str),
    /// The type of a slot or of a part of one.
    Slot(ValueType),
}

/// What the fields of records are cast to where that is not what their slots say.
#[derive(Default)]
struct Fields<'t>(Vec<(ShapeId, Vec<&'t str>)>);

impl<'t> Fields<'t> {
    /// What stands behind a target.
    fn of_text(ctx: &HostContext<'_>, text: &'t str) -> Result<Fields<'t>, Trap> {
        let row = |row: &'t str| {
            let (number, fields) = row.split_once(':')?;
            let shape = ctx.shape_of(RecordId(number.parse().ok()?))?;
            Some((shape, fields.split_terminator(',').collect()))
        };
        let rows = text.split('#').skip(1).map(|text| row(text).ok_or_else(|| no_type(text)));
        Ok(Fields(rows.collect::<Result<_, _>>()?))
    }

    /// The fields of a record, with what they are cast to.
    fn of(&self, ctx: &HostContext<'_>, shape: ShapeId) -> Vec<(String, Target<'t>)> {
        let texts = self.0.iter().find(|row| row.0 == shape).map_or(&[][..], |row| &row.1);
        let field = |(index, (name, ty)): (usize, (&str, ValueType))| {
            (name.to_string(), texts.get(index).map_or(Target::Slot(ty), |text| Target::Text(text)))
        };
        ctx.shape_fields(shape).enumerate().map(field).collect()
    }
}

#[cold]
fn no_type(text: &str) -> Trap {
    Trap::new(TrapCode::InvalidArgument, format!("{text:?} describes no type"))
}

/// A target, taken apart.
enum Shape<'t> {
    Int,
    Float,
    Bool,
    String,
    BigInt,
    BigRat,
    Any,
    Function,
    List(Storage, Target<'t>),
    Map(KeyPolicy, Target<'t>),
    Record(ShapeId),
    /// The numbers of the variants, where they are known.
    Union(&'t str),
}

impl<'t> Target<'t> {
    /// Whether null belongs to it, and the rest.
    fn resolve(self, ctx: &HostContext<'_>) -> Result<(bool, Shape<'t>), Trap> {
        match self {
            Target::Text(text) => match text.strip_prefix('?') {
                Some(rest) => Ok((true, Target::of_text(ctx, rest)?)),
                None => Ok((false, Target::of_text(ctx, text)?)),
            },
            Target::Slot(ty) => Target::of_slot(ctx, ty),
        }
    }

    fn of_text(ctx: &HostContext<'_>, text: &'t str) -> Result<Shape<'t>, Trap> {
        let bad = || no_type(text);
        let rest = text.get(1..).unwrap_or("");
        let number = || rest.split(';').next().and_then(|n| n.parse().ok());
        Ok(match text.bytes().next() {
            Some(b'i') => Shape::Int,
            Some(b'f') => Shape::Float,
            Some(b'b') => Shape::Bool,
            Some(b's') => Shape::String,
            Some(b'I') => Shape::BigInt,
            Some(b'R') => Shape::BigRat,
            Some(b'a') => Shape::Any,
            Some(b'F') => Shape::Function,
            Some(b'[') => {
                let storage = match rest.bytes().next() {
                    Some(b'i') => Storage::Int,
                    Some(b'f') => Storage::Float,
                    Some(b'b') => Storage::Bool,
                    _ => Storage::Cell,
                };
                Shape::List(storage, Target::Text(rest))
            }
            Some(b']') => Shape::List(Storage::Cell, Target::Text(rest)),
            Some(b'{') => {
                let policy = match rest.bytes().next() {
                    Some(b'i') => KeyPolicy::Int,
                    Some(b's') => KeyPolicy::String,
                    Some(b'a') => KeyPolicy::Text,
                    _ => return Err(bad()),
                };
                Shape::Map(policy, Target::Text(&rest[1..]))
            }
            Some(b'r') => {
                let shape = number().and_then(|n| ctx.shape_of(RecordId(n)));
                Shape::Record(shape.ok_or_else(bad)?)
            }
            Some(b'u') => Shape::Union(rest.split(';').next().unwrap_or("")),
            _ => return Err(bad()),
        })
    }

    fn of_slot(ctx: &HostContext<'_>, ty: ValueType) -> Result<(bool, Shape<'t>), Trap> {
        let cell = match ty {
            ValueType::Int => return Ok((false, Shape::Int)),
            ValueType::Float => return Ok((false, Shape::Float)),
            ValueType::Bool => return Ok((false, Shape::Bool)),
            ValueType::Cell(cell) => cell,
        };
        let shape = match ctx.heap_type(cell.id) {
            Some(HeapType::Int) => Shape::Int,
            Some(HeapType::Float) => Shape::Float,
            Some(HeapType::Bool) => Shape::Bool,
            Some(HeapType::String) => Shape::String,
            Some(HeapType::ListInt) => Shape::List(Storage::Int, Target::Slot(ValueType::Int)),
            Some(HeapType::ListFloat) => Shape::List(Storage::Float, Target::Slot(ValueType::Float)),
            Some(HeapType::ListBool) => Shape::List(Storage::Bool, Target::Slot(ValueType::Bool)),
            Some(HeapType::ListCell(element)) => {
                Shape::List(Storage::Cell, Target::Slot(ValueType::Cell(element)))
            }
            Some(HeapType::Map { key, value, .. }) => Shape::Map(key, Target::Slot(ValueType::Cell(value))),
            Some(HeapType::Record(shape)) => Shape::Record(shape.0),
            Some(HeapType::Union(_)) => Shape::Union(""),
            Some(HeapType::Bytes(BIGINT_KIND)) => Shape::BigInt,
            Some(HeapType::Bytes(BIGRAT_KIND)) => Shape::BigRat,
            Some(HeapType::Closure(_) | HeapType::Function) => Shape::Function,
            _ => Shape::Any,
        };
        Ok((cell.nullable, shape))
    }
}

/// How the texts of a table become values, before they are cast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Ints, floats, or else texts.
    Guess,
    /// Texts.
    Text,
    /// `true` and `false`.
    Bool,
    /// Numbers that floats may not hold: texts, but for those that only a float can be read from, which contain one of these characters.
    Exact(&'static [char]),
    /// Lists, maps and records in JSON.
    Json,
}

/// How the columns of a table are read.
pub struct Columns {
    named: Vec<(String, Column)>,
    others: Column,
}

/// How a column is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// Whether an empty cell is none.
    pub optional: bool,
    /// How other cells are read.
    pub reading: Reading,
}

impl Columns {
    /// The columns of rows that are cast to the list that the text describes.
    ///
    /// # Errors
    /// invalid-argument for a text that is no type.
    pub fn of_rows(ctx: &HostContext<'_>, text: &str) -> Result<Columns, Trap> {
        let fields = Fields::of_text(ctx, text)?;
        let (mut named, mut others) = (Vec::new(), Column { optional: false, reading: Reading::Guess });
        if let (_, Shape::List(_, row)) = Target::Text(text).resolve(ctx)? {
            match row.resolve(ctx)?.1 {
                Shape::Record(shape) => {
                    for (name, target) in fields.of(ctx, shape) {
                        named.push((name, Column::of(ctx, target)?));
                    }
                }
                Shape::Map(_, value) => others = Column::of(ctx, value)?,
                _ => {}
            }
        }
        Ok(Columns { named, others })
    }

    /// The column of a name.
    pub fn get(&self, name: &str) -> Column {
        self.named.iter().find(|column| column.0 == name).map_or(self.others, |column| column.1)
    }
}

impl Column {
    fn of(ctx: &HostContext<'_>, target: Target<'_>) -> Result<Column, Trap> {
        let (nullable, shape) = target.resolve(ctx)?;
        let reading = match shape {
            Shape::Int | Shape::Float | Shape::Any | Shape::Function => Reading::Guess,
            Shape::Bool => Reading::Bool,
            Shape::String => Reading::Text,
            Shape::BigInt => Reading::Exact(&['.', 'e', 'E']),
            Shape::BigRat => Reading::Exact(&['e', 'E']),
            Shape::List(..) | Shape::Map(..) | Shape::Record(_) | Shape::Union(_) => Reading::Json,
        };
        Ok(Column { optional: nullable && !matches!(shape, Shape::Any), reading })
    }
}

/// A container in the making.
enum Open<'h, 't> {
    List { from: ListView<'h>, next: usize, to: Val<'h>, element: Target<'t> },
    Map { keys: ListView<'h>, values: ListView<'h>, next: usize, to: MapView<'h>, value: Target<'t> },
    Record { from: Val<'h>, shape: ShapeId, fields: Vec<(String, Target<'t>)>, made: Vec<Val<'h>> },
}

enum Step<'h, 't> {
    Done(Val<'h>),
    Open(Open<'h, 't>),
}

/// `mochi.cast(value, descriptor)`
pub fn cast<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let val = args.val(ctx, 0)?;
    let descriptor = args.text(ctx, 1)?;
    // Scalars need no walk.
    match descriptor.as_bytes() {
        b"i" => return Ok(Ret::Int(to_int(val)?)),
        b"f" => return Ok(Ret::Float(to_float(val)?)),
        b"I" if let Some(i) = val.as_int() => return Ok(number::make_short(ctx, i)?.into()),
        _ => {}
    }
    Ok(cast_to(ctx, val, Target::Text(&descriptor))?.into())
}

fn cast_to<'h>(ctx: &'h HostContext<'_>, val: Val<'h>, target: Target<'_>) -> Result<Val<'h>, Trap> {
    let mut stack: Vec<Open<'h, '_>> = Vec::new();
    let mut work = Work::default();
    let fields = match target {
        Target::Text(text) => Fields::of_text(ctx, text)?,
        Target::Slot(_) => Fields::default(),
    };
    let mut step = begin(ctx, val, target, &fields)?;
    loop {
        work.steps(ctx, PART)?;
        let done = match step {
            Step::Open(open) => {
                if stack.len() >= DEPTH_MAX {
                    return Err(Trap::new(
                        TrapCode::InvalidArgument,
                        "the value to cast is nested too deeply",
                    ));
                }
                stack.push(open);
                None
            }
            Step::Done(val) => Some(val),
        };
        let Some(top) = stack.last_mut() else {
            return done.ok_or_else(|| Trap::of(TrapCode::BadCast));
        };
        if let Some(val) = done {
            accept(ctx, top, val)?;
        }
        step = match next(ctx, top)? {
            Some((val, target)) => begin(ctx, val, target, &fields)?,
            None => Step::Done(finish(ctx, stack.pop())?),
        };
    }
}

/// Casts a scalar, or opens a container.
fn begin<'h, 't>(
    ctx: &'h HostContext<'_>,
    val: Val<'h>,
    target: Target<'t>,
    fields: &Fields<'t>,
) -> Result<Step<'h, 't>, Trap> {
    let (nullable, shape) = target.resolve(ctx)?;
    if nullable && val.is_nil() {
        return Ok(Step::Done(val));
    }
    let done = match shape {
        Shape::Int => ctx.int(to_int(val)?)?,
        Shape::Float => ctx.float(to_float(val)?),
        Shape::Bool if val.as_bool().is_some() => val,
        Shape::Bool => return Err(failed(val, "bool")),
        Shape::String if val.as_str().is_some() => val,
        Shape::String => return Err(failed(val, "string")),
        Shape::BigInt | Shape::BigRat if let Some(text) = val.as_str() => {
            // Reading digits takes time with the square of their number.
            let words = text.len() / DIGITS_A_WORD;
            steps(ctx, words.saturating_mul(words) / 16)?;
            match shape {
                Shape::BigInt => Number::Big(to_bigint(val)?).make(ctx)?,
                _ => Number::Rat(to_bigrat(val)?).make(ctx)?,
            }
        }
        Shape::BigInt => match val.as_bytes() {
            Some((BIGINT_KIND, _)) => val,
            _ if let Some(i) = val.as_int() => number::make_short(ctx, i)?,
            _ => Number::Big(to_bigint(val)?).make(ctx)?,
        },
        Shape::BigRat => match val.as_bytes() {
            Some((BIGRAT_KIND, _)) => val,
            _ => Number::Rat(to_bigrat(val)?).make(ctx)?,
        },
        Shape::Any | Shape::Function => val,
        Shape::Union(_) if val.as_record().is_some() => val,
        Shape::Union(variants) => {
            let shape = variant(ctx, val, variants)?.ok_or_else(|| failed(val, "a union"))?;
            return Ok(begin_record(ctx, val, shape, fields));
        }
        Shape::List(storage, element) => {
            let from = val.as_list().ok_or_else(|| failed(val, "a list"))?;
            if from.storage() == storage && storage != Storage::Cell {
                steps(ctx, from.len() / 8)?;
                ctx.list_slice(from, 0, from.len())?
            } else {
                let to = ctx.new_list(storage, from.len())?;
                return Ok(Step::Open(Open::List { from, next: 0, to, element }));
            }
        }
        Shape::Map(policy, value) => {
            let made = ctx.new_map(policy, OrderPolicy::SortedByText)?;
            let Some(to) = made.as_map() else { return Ok(Step::Done(made)) };
            if let Some(record) = val.as_record() {
                // A struct is a map that also holds its name.
                for field in super::format::sorted_fields(record) {
                    let (name, val) = match field {
                        Some(i) => (record.field_name(i).unwrap_or(""), record.get(i).unwrap_or(ctx.nil())),
                        None => (super::format::NAME_FIELD, ctx.string(record.name())?),
                    };
                    access::map_set(ctx, to, ctx.string(name)?, val)?;
                }
                return begin_map(ctx, to, policy, value);
            }
            let from = val.as_map().ok_or_else(|| failed(val, "a map"))?;
            let (keys, values) = ctx.map_entries(from)?;
            return Ok(Step::Open(Open::Map { keys, values, next: 0, to, value }));
        }
        Shape::Record(shape) => {
            if val.as_record().is_some_and(|r| r.shape_id() == shape) {
                val
            } else if val.as_map().is_some() || val.as_record().is_some() {
                return Ok(begin_record(ctx, val, shape, fields));
            } else {
                return Err(failed(val, ctx.shape_name(shape)));
            }
        }
    };
    Ok(Step::Done(done))
}

/// The variant among those with these numbers that a map's entry for the name says.
fn variant(ctx: &HostContext<'_>, val: Val<'_>, variants: &str) -> Result<Option<ShapeId>, Trap> {
    let Some(map) = val.as_map() else { return Ok(None) };
    let name = access::map_get(ctx, map, ctx.string(super::format::NAME_FIELD)?)?;
    let Some(name) = name.and_then(|name| name.as_str()) else { return Ok(None) };
    let mut shapes = variants.split('|').filter_map(|number| ctx.shape_of(RecordId(number.parse().ok()?)));
    // Of variants of one name the last counts, as in the program.
    Ok(shapes.rfind(|&shape| *ctx.shape_name(shape) == *name))
}

/// Casts the entries of a map, or the fields of another record, that are fields of a record.
fn begin_record<'h, 't>(
    ctx: &'h HostContext<'_>,
    from: Val<'h>,
    shape: ShapeId,
    fields: &Fields<'t>,
) -> Step<'h, 't> {
    let fields = fields.of(ctx, shape);
    let made = Vec::with_capacity(fields.len());
    Step::Open(Open::Record { from, shape, fields, made })
}

/// Casts the values of a map.
fn begin_map<'h, 't>(
    ctx: &'h HostContext<'_>,
    from: MapView<'h>,
    policy: KeyPolicy,
    value: Target<'t>,
) -> Result<Step<'h, 't>, Trap> {
    let (keys, values) = ctx.map_entries(from)?;
    let made = ctx.new_map(policy, OrderPolicy::SortedByText)?;
    match made.as_map() {
        Some(to) => Ok(Step::Open(Open::Map { keys, values, next: 0, to, value })),
        None => Ok(Step::Done(made)),
    }
}

/// The next part of a container to cast, with what to cast it to.
fn next<'h, 't>(
    ctx: &'h HostContext<'_>,
    open: &mut Open<'h, 't>,
) -> Result<Option<(Val<'h>, Target<'t>)>, Trap> {
    match open {
        Open::List { from, next, element, .. } => {
            let val = from.get(*next);
            *next += 1;
            Ok(val.map(|val| (val, *element)))
        }
        Open::Map { values, next, value, .. } => {
            let val = values.get(*next);
            *next += 1;
            Ok(val.map(|val| (val, *value)))
        }
        Open::Record { from, shape, fields, made } => {
            let Some((name, target)) = fields.get(made.len()) else { return Ok(None) };
            let present = match (from.as_map(), from.as_record()) {
                (Some(map), _) => access::map_get(ctx, map, ctx.string(name)?)?,
                (None, Some(record)) => record.get_named(name),
                (None, None) => None,
            };
            match present {
                Some(val) => Ok(Some((val, *target))),
                None => Err(Trap::new(
                    TrapCode::BadCast,
                    format!(
                        "cannot cast {} to {}: field {name} is missing",
                        kind_name(*from),
                        ctx.shape_name(*shape)
                    ),
                )),
            }
        }
    }
}

/// Stores a part that was cast.
fn accept<'h>(ctx: &'h HostContext<'_>, open: &mut Open<'h, '_>, val: Val<'h>) -> Result<(), Trap> {
    match open {
        Open::List { to, .. } => match to.as_list() {
            Some(list) => ctx.list_push(list, val),
            None => Ok(()),
        },
        Open::Map { keys, next, to, .. } => {
            let key = keys.get(*next - 1).unwrap_or(ctx.nil());
            access::map_set(ctx, *to, key, val)
        }
        Open::Record { made, .. } => {
            made.push(val);
            Ok(())
        }
    }
}

fn finish<'h>(ctx: &'h HostContext<'_>, open: Option<Open<'h, '_>>) -> Result<Val<'h>, Trap> {
    match open {
        Some(Open::List { to, .. }) => Ok(to),
        Some(Open::Map { to, .. }) => Ok(to.val()),
        Some(Open::Record { shape, made, .. }) => ctx.new_record_of(shape, &made),
        None => Err(Trap::of(TrapCode::BadCast)),
    }
}
