//! Members of foreign modules, other than `math`: Go's `strings`, and the test package.
//!
//! Functions take arguments of any kind and check them; a member that is a value is a function without arguments.

use upshift_bytecode::{KeyPolicy, OrderPolicy};
use upshift_runtime::host::{Args, HostContext, HostRegistry, Ret, Text, Val};
use upshift_runtime::trap::Trap;

use super::work::{COPIED, WRITTEN, steps};
use super::{Host, access, kind_name, lists, mismatch, system};

/// A text argument of a foreign function.
fn text<'h>(ctx: &'h HostContext<'_>, args: Args<'h>, i: usize) -> Result<Text<'h>, Trap> {
    let val = args.val(ctx, i)?;
    val.as_str().ok_or_else(|| mismatch(format!("argument {} is {}, not string", i + 1, kind_name(val))))
}

/// A member with its name.
type Named<F> = (&'static str, F);
type Mapping = fn(&str) -> String;
type Pair = fn(&str, &str) -> String;
type Question = fn(&str, &str) -> bool;
type Count = fn(&str, &str) -> i64;

/// Functions from one text to another.
const MAPPINGS: &[Named<Mapping>] = &[
    ("ToUpper", |s| s.to_uppercase()),
    ("ToLower", |s| s.to_lowercase()),
    ("TrimSpace", |s| s.trim().to_string()),
];

/// Functions from two texts to a text.
const PAIRS: &[Named<Pair>] = &[
    ("Trim", |s, set| s.trim_matches(|c| set.contains(c)).to_string()),
    ("TrimLeft", |s, set| s.trim_start_matches(|c| set.contains(c)).to_string()),
    ("TrimRight", |s, set| s.trim_end_matches(|c| set.contains(c)).to_string()),
    ("TrimPrefix", |s, p| s.strip_prefix(p).unwrap_or(s).to_string()),
    ("TrimSuffix", |s, p| s.strip_suffix(p).unwrap_or(s).to_string()),
];

/// Questions about two texts.
const QUESTIONS: &[Named<Question>] = &[
    ("Contains", |s, t| s.contains(t)),
    ("HasPrefix", |s, t| s.starts_with(t)),
    ("HasSuffix", |s, t| s.ends_with(t)),
    ("EqualFold", |s, t| s.to_lowercase() == t.to_lowercase()),
];

/// Numbers about two texts; positions count bytes, as in Go.
const COUNTS: &[Named<Count>] = &[
    ("Index", |s, t| s.find(t).map_or(-1, |i| i as i64)),
    ("LastIndex", |s, t| s.rfind(t).map_or(-1, |i| i as i64)),
    ("Count", |s, t| if t.is_empty() { s.chars().count() as i64 + 1 } else { s.matches(t).count() as i64 }),
];

fn fields<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let text = text(ctx, args, 0)?;
    steps(ctx, text.len() / WRITTEN)?;
    let pieces: Vec<Val<'h>> = text.split_whitespace().map(|p| ctx.string(p)).collect::<Result<_, _>>()?;
    Ok(lists::result_list(ctx, None, &pieces)?.into())
}

fn replace_all<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let (s, from, to) = (text(ctx, args, 0)?, text(ctx, args, 1)?, text(ctx, args, 2)?);
    let count = if args.len() > 3 { super::text::int_arg(ctx, args, 3, "strings.Replace")? } else { -1 };
    // As many copies as there may be places, if `to` is the longer one.
    let places = if from.is_empty() { s.len() + 1 } else { s.len() / from.len() };
    let places = usize::try_from(count).map_or(places, |count| count.min(places));
    let grown = places.saturating_mul(to.len());
    steps(ctx, s.len() / WRITTEN + grown / COPIED)?;
    ctx.check_memory(s.len().saturating_add(grown))?;
    let made = match usize::try_from(count) {
        Ok(count) => s.replacen(&*from, &to, count),
        Err(_) => s.replace(&*from, &to),
    };
    Ok(ctx.string(&made)?.into())
}

fn md5_hex<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let text = text(ctx, args, 0)?;
    steps(ctx, text.len() / WRITTEN)?;
    Ok(ctx.string(&system::md5_hex(&text))?.into())
}

/// The values of the test package's signature example.
const ECDSA: &[(&str, &str)] = &[
    ("D", "1234567890"),
    ("X", "43162711582587979080031819627904423023685561091192625653251495188141318209988"),
    ("Y", "86807430002474105664458509423764867536342689150582922106807036347047552480521"),
    ("Hash", "0xe6f9ed0d"),
    ("R", "43162711582587979080031819627904423023685561091192625653251495188141318209988"),
    ("S", "94150071556658883365738746782965214584303361499725266605620843043083873122499"),
];

fn ecdsa_example<'h>(ctx: &'h mut HostContext<'_>, _args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let made = ctx.new_map(KeyPolicy::Text, OrderPolicy::SortedByText)?;
    if let Some(map) = made.as_map() {
        for &(key, value) in ECDSA {
            access::map_set(ctx, map, ctx.string(key)?, ctx.string(value)?)?;
        }
        access::map_set(ctx, map, ctx.string("Valid")?, ctx.bool(true))?;
    }
    Ok(made.into())
}

/// What the test package calls pi.
#[allow(clippy::approx_constant, reason = "two decimals are its value")]
const PI_ROUNDED: f64 = 3.14;

const FIFTEEN_PUZZLE: &str =
    "Solution found in 52 moves: rrrulddluuuldrurdddrullulurrrdddldluurddlulurruldrdrd";

/// The other members of `strings`.
const STRINGS: &[Named<Host>] = &[
    ("Split", super::text::split),
    ("Join", super::text::join),
    ("Repeat", super::text::repeat),
    ("Fields", fields),
    ("Replace", replace_all),
    ("ReplaceAll", replace_all),
];

/// The members of the test package.
const TESTPKG: &[Named<Host>] = &[
    ("Add", |ctx, args| {
        let int = |i| super::text::int_arg(ctx, args, i, "testpkg.Add");
        let (a, b) = (int(0)?, int(1)?);
        let sum = a.checked_add(b);
        sum.map(Ret::Int).ok_or_else(|| super::number::overflow(format_args!("{a} + {b}")))
    }),
    ("Pi", |_, _| Ok(Ret::Float(PI_ROUNDED))),
    ("Answer", |_, _| Ok(Ret::Int(42))),
    ("MD5Hex", md5_hex),
    ("ECDSAExample", ecdsa_example),
    ("FifteenPuzzleExample", |ctx, _| {
        let ctx: &HostContext<'_> = ctx;
        Ok(ctx.string(FIFTEEN_PUZZLE)?.into())
    }),
];

/// Whether `strings` or the test package has a member.
pub fn has_member(module: &str, member: &str) -> bool {
    fn has<F>(table: &[Named<F>], member: &str) -> bool {
        table.iter().any(|(name, _)| *name == member)
    }
    match module {
        "strings" => {
            has(MAPPINGS, member)
                || has(PAIRS, member)
                || has(QUESTIONS, member)
                || has(COUNTS, member)
                || has(STRINGS, member)
        }
        _ => has(TESTPKG, member),
    }
}

/// Registers all members.
pub fn register(registry: &mut HostRegistry) {
    for &(name, f) in MAPPINGS {
        registry.dynamic(&format!("mochi.strings.{name}"), move |ctx, args| {
            let ctx: &HostContext<'_> = ctx;
            let text = text(ctx, args, 0)?;
            steps(ctx, text.len() / WRITTEN)?;
            Ok(ctx.string(&f(&text))?.into())
        });
    }
    for &(name, f) in PAIRS {
        registry.dynamic(&format!("mochi.strings.{name}"), move |ctx, args| {
            let ctx: &HostContext<'_> = ctx;
            let (a, b) = (text(ctx, args, 0)?, text(ctx, args, 1)?);
            // Each character may be looked for in the whole set.
            steps(ctx, a.len() / COPIED + a.len().saturating_mul(b.len()) / (COPIED * WRITTEN))?;
            Ok(ctx.string(&f(&a, &b))?.into())
        });
    }
    for &(name, f) in QUESTIONS {
        registry.dynamic(&format!("mochi.strings.{name}"), move |ctx, args| {
            let (a, b) = (text(ctx, args, 0)?, text(ctx, args, 1)?);
            steps(ctx, (a.len() + b.len()) / COPIED)?;
            Ok(Ret::Bool(f(&a, &b)))
        });
    }
    for &(name, f) in COUNTS {
        registry.dynamic(&format!("mochi.strings.{name}"), move |ctx, args| {
            let (a, b) = (text(ctx, args, 0)?, text(ctx, args, 1)?);
            steps(ctx, (a.len() + b.len()) / COPIED)?;
            Ok(Ret::Int(f(&a, &b)))
        });
    }
    for &(name, f) in STRINGS {
        registry.dynamic(&format!("mochi.strings.{name}"), f);
    }
    for &(name, f) in TESTPKG {
        registry.dynamic(&format!("mochi.testpkg.{name}"), f);
    }
}
