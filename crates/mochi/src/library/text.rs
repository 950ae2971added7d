//! Builtins on texts. Positions count characters (Unicode scalars).

use std::ops::{Deref, Range};

use upshift_bytecode::TrapCode;
use upshift_runtime::host::{Args, HostContext, Ret, Text, Val};
use upshift_runtime::string::find;
use upshift_runtime::trap::Trap;

use super::number::overflow;
use super::work::{COPIED, WRITTEN, Work, steps};
use super::{access, format, kind_name, lists, mismatch};

/// A text argument.
fn text_arg<'h>(ctx: &'h HostContext<'_>, args: Args<'h>, i: usize, what: &str) -> Result<Text<'h>, Trap> {
    let val = args.val(ctx, i)?;
    val.as_str().ok_or_else(|| mismatch(format!("{what} works on strings, not on {}", kind_name(val))))
}

/// The text of a value.
enum AnyText<'h> {
    /// A string's own.
    Held(Text<'h>),
    /// That of another value.
    Made(String),
}

impl AnyText<'_> {
    /// The number of characters.
    fn char_count(&self) -> usize {
        match self {
            AnyText::Held(text) => text.char_count(),
            AnyText::Made(text) => text.chars().count(),
        }
    }
}

impl Deref for AnyText<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            AnyText::Held(text) => text,
            AnyText::Made(text) => text,
        }
    }
}

fn text_of<'h>(ctx: &'h HostContext<'_>, val: Val<'h>) -> Result<AnyText<'h>, Trap> {
    match val.as_str() {
        Some(text) => Ok(AnyText::Held(text)),
        None => format::text(ctx, val).map(AnyText::Made),
    }
}

/// A text argument, or the text of another value.
fn any_text<'h>(ctx: &'h HostContext<'_>, args: Args<'h>, i: usize) -> Result<AnyText<'h>, Trap> {
    text_of(ctx, args.val(ctx, i)?)
}

/// The text of an argument in upper or lower case; `any` makes that of text which is not ASCII.
fn in_case<'h>(
    ctx: &'h HostContext<'_>,
    args: Args<'h>,
    upper: bool,
    any: impl FnOnce(&str) -> String,
) -> Result<Val<'h>, Trap> {
    let val = args.val(ctx, 0)?;
    let text = text_of(ctx, val)?;
    steps(ctx, text.len() / WRITTEN)?;
    match ctx.ascii_case(val, upper)? {
        Some(changed) => Ok(changed),
        None => ctx.string(&any(&text)),
    }
}

/// An int argument.
pub fn int_arg(ctx: &HostContext<'_>, args: Args<'_>, i: usize, what: &str) -> Result<i64, Trap> {
    args.int(i).or_else(|_| {
        let val = args.val(ctx, i)?;
        Err(mismatch(format!("{what}: argument {} is {}, not int", i + 1, kind_name(val))))
    })
}

/// `str(x)`
pub fn str<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let val = args.val(ctx, 0)?;
    if val.as_str().is_some() {
        return Ok(val.into());
    }
    Ok(ctx.string(&format::text(ctx, val)?)?.into())
}

/// `substring(s, from, to)`, `substr`
pub fn substring<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    text_arg(ctx, args, 0, "substring")?;
    let (from, to) = (int_arg(ctx, args, 1, "substring")?, int_arg(ctx, args, 2, "substring")?);
    Ok(access::slice_text(ctx, args.val(ctx, 0)?, Some(from), Some(to))?.into())
}

/// `lower(x)`
pub fn lower<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(in_case(ctx, args, false, str::to_lowercase)?.into())
}

/// `upper(x)`
pub fn upper<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(in_case(ctx, args, true, str::to_uppercase)?.into())
}

/// `trim(s)`
pub fn trim<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(ctx.string(any_text(ctx, args, 0)?.trim())?.into())
}

/// `split(s, separator)`
pub fn split<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (text, separator) = (text_arg(ctx, args, 0, "split")?, text_arg(ctx, args, 1, "split")?);
    steps(ctx, text.len() / WRITTEN)?;
    let list = if separator.is_empty() {
        let characters = text.char_indices().map(|(at, c)| at..at + c.len_utf8());
        ctx.string_parts(text, characters, text.len())?
    } else if let [byte] = *separator.as_bytes() {
        let ends = memchr::memchr_iter(byte, text.as_bytes());
        let count = memchr::memchr_iter(byte, text.as_bytes()).count() + 1;
        ctx.string_parts(text, between(ends, 1, text.len()), count)?
    } else {
        let ends = memchr::memmem::find_iter(text.as_bytes(), separator.as_bytes());
        ctx.string_parts(text, between(ends, separator.len(), text.len()), 0)?
    };
    Ok(lists::as_result(ctx, list)?.into())
}

/// The ranges between places of a separator, which is `width` bytes long, in a text of `len` bytes.
fn between(
    separators: impl Iterator<Item = usize>,
    width: usize,
    len: usize,
) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    separators.map(Some).chain([None]).map(move |separator| {
        let end = separator.unwrap_or(len);
        let range = start..end;
        start = end + width;
        range
    })
}

/// `join(list, separator)`
pub fn join<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(join_vals(ctx, args.val(ctx, 0)?, args.val(ctx, 1)?)?.into())
}

/// The texts of the elements with a separator between them.
///
/// # Errors
/// type-mismatch where the first is no list.
pub fn join_vals<'h>(ctx: &'h HostContext<'_>, list: Val<'h>, separator: Val<'h>) -> Result<Val<'h>, Trap> {
    if let Some(items) = list.as_list()
        && separator.as_str().is_some()
    {
        steps(ctx, items.len())?;
        if let Some(joined) = ctx.join(items, separator)? {
            steps(ctx, joined.as_str().map_or(0, |text| text.len()) / COPIED)?;
            return Ok(joined);
        }
    }
    let separator = text_of(ctx, separator)?;
    let mut bytes = Vec::new();
    let mut work = Work::default();
    let out = &mut format::Out::new(&mut bytes);
    match list.as_list() {
        Some(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(separator.as_bytes());
                }
                match item.as_str() {
                    Some(text) => {
                        out.extend_from_slice(text.as_bytes());
                        out.charge(ctx)?;
                    }
                    None => format::write(ctx, out, item, format::Notation::Text)?,
                }
                work.steps(ctx, 1)?;
            }
        }
        None if list.is_nil() => {}
        None => return Err(mismatch(format!("join works on lists, not on {}", kind_name(list)))),
    }
    ctx.string(&format::into_string(bytes))
}

/// `indexOf(s, t)`
pub fn index_of<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let val = args.val(ctx, 0)?;
    if let Some(list) = val.as_list() {
        let wanted = args.val(ctx, 1)?;
        let mut work = Work::default();
        for (i, item) in list.iter().enumerate() {
            if super::compare::same(ctx, &mut work, item, wanted)? {
                return Ok(Ret::Int(i as i64));
            }
        }
        return Ok(Ret::Int(-1));
    }
    if val.is_nil() {
        return Ok(Ret::Int(-1));
    }
    let (text, part) = (text_arg(ctx, args, 0, "indexOf")?, text_arg(ctx, args, 1, "indexOf")?);
    steps(ctx, text.len() / COPIED)?;
    Ok(Ret::Int(match find(text.as_bytes(), part.as_bytes()) {
        Some(at) => text[..at].chars().count() as i64,
        None => -1,
    }))
}

/// `contains(s, t)`: as `t in s`
pub fn contains<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(Ret::Bool(access::contains(ctx, args.val(ctx, 0)?, args.val(ctx, 1)?)?))
}

/// `padStart(s, n, pad)`
pub fn pad_start<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let pad = if args.len() > 2 { Some(args.val(ctx, 2)?) } else { None };
    Ok(pad_vals(ctx, args.val(ctx, 0)?, args.val(ctx, 1)?, pad)?.into())
}

/// So many characters of padding are not made in the guest's memory first.
const SHORT_PADDING: i64 = 64;

/// The text of a value, with repetitions of `pad` before it so that it has `width` characters.
///
/// # Errors
/// type-mismatch where the width is no int; memory-limit.
pub fn pad_vals<'h>(
    ctx: &'h HostContext<'_>,
    val: Val<'h>,
    width: Val<'h>,
    pad: Option<Val<'h>>,
) -> Result<Val<'h>, Trap> {
    let Some(width) = width.as_int() else {
        return Err(mismatch(format!("padStart: the width is {}, not int", kind_name(width))));
    };
    let text = text_of(ctx, val)?;
    let pad = match pad {
        Some(pad) => text_of(ctx, pad)?,
        None => AnyText::Made(" ".to_string()),
    };
    let missing = width.saturating_sub_unsigned(text.char_count() as u64);
    if missing <= 0 || pad.is_empty() {
        return if val.as_str().is_some() { Ok(val) } else { ctx.string(&text) };
    }
    if missing <= SHORT_PADDING {
        let mut padded = String::with_capacity(missing as usize * size_of::<char>() + text.len());
        padded.extend(pad.chars().cycle().take(missing as usize));
        padded.push_str(&text);
        return ctx.string(&padded);
    }
    // The padding is made in the guest's memory, so its limit holds.
    let size = pad.char_count() as i64;
    let whole = repeated(ctx, ctx.string(&pad)?, missing / size)?;
    let rest: String = pad.chars().take((missing % size) as usize).chain(text.chars()).collect();
    ctx.concat(whole, ctx.string(&rest)?)
}

/// A text several times, by doubling.
fn repeated<'h>(ctx: &'h HostContext<'_>, text: Val<'h>, times: i64) -> Result<Val<'h>, Trap> {
    let mut result = ctx.string("")?;
    if text.as_str().is_none_or(|t| t.is_empty()) {
        return Ok(result);
    }
    let bytes = text.as_str().map_or(0, |t| t.len()).saturating_mul(usize::try_from(times).unwrap_or(0));
    steps(ctx, bytes / COPIED)?;
    let (mut block, mut left) = (text, times);
    while left > 0 {
        if left & 1 == 1 {
            result = ctx.concat(result, block)?;
        }
        left >>= 1;
        if left > 0 {
            block = ctx.concat(block, block)?;
        }
    }
    Ok(result)
}

/// `repeat(s, n)`
pub fn repeat<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let text = ctx.string(&any_text(ctx, args, 0)?)?;
    let times = int_arg(ctx, args, 1, "repeat")?;
    if times < 0 {
        return Err(Trap::new(TrapCode::InvalidArgument, format!("repeat: the count is {times}")));
    }
    Ok(repeated(ctx, text, times)?.into())
}

/// `parseIntStr(s[, base])`
pub fn parse_int<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let text = any_text(ctx, args, 0)?;
    let text: &str = &text;
    let base = if args.len() > 1 { int_arg(ctx, args, 1, "parseIntStr")? } else { 10 };
    if !(2..=36).contains(&base) {
        return Err(Trap::new(
            TrapCode::InvalidArgument,
            format!("parseIntStr: the base is {base}, not from 2 to 36"),
        ));
    }
    i64::from_str_radix(text, base as u32).map(Ret::Int).map_err(|e| {
        use std::num::IntErrorKind;
        match e.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
                overflow(format_args!("parseIntStr(\"{text}\")"))
            }
            _ => Trap::new(
                TrapCode::InvalidArgument,
                format!("parseIntStr: {text:?} is no number in base {base}"),
            ),
        }
    })
}

/// Starts a method on a text: whether it begins with another.
///
/// # Errors
/// type-mismatch where one is no text.
pub fn starts_with(val: Val<'_>, part: Val<'_>) -> Result<bool, Trap> {
    match (val.as_str(), part.as_str()) {
        (Some(text), Some(part)) => Ok(text.starts_with(&*part)),
        _ => Err(mismatch(format!(
            "starts_with works on strings, not on {} and {}",
            kind_name(val),
            kind_name(part)
        ))),
    }
}
