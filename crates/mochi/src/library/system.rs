//! Builtins that reach outside: output, input, clock, files; and what benchmarks report.

use std::time::Duration;

use md5::Md5;
use sha2::{Digest, Sha256};
use upshift_bytecode::TrapCode;
use upshift_runtime::host::{Args, HostContext, Ret, Val};
use upshift_runtime::trap::Trap;

use super::format::{self, Notation, Out};
use super::work::{WRITTEN, steps};
use super::{kind_name, lists, mismatch};

/// What the library remembers per instance. Embedders may give the instance one as its data; else one is made on first
/// use.
#[derive(Debug, Default)]
pub struct State {
    /// The state of the clock where it is replaced by a sequence of numbers.
    pub now_seed: Option<i64>,
    benches: Vec<(String, Duration, usize)>,
}

impl State {
    /// A state as the process environment says: `MOCHI_NOW_SEED` replaces the clock.
    pub fn from_environment() -> State {
        let seed = std::env::var("MOCHI_NOW_SEED").ok();
        State { now_seed: seed.and_then(|s| s.trim().parse().ok()), ..State::default() }
    }
}

fn state<'a>(ctx: &'a mut HostContext<'_>) -> &'a mut State {
    ctx.data_or_insert(State::from_environment)
}

// ---- Output ----

/// `print(..)`
pub fn print<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let mut io = ctx.io();
    let out = &mut Out::line(io.stdout_parts()?, args.len() >= 3);
    for i in 0..args.len() {
        if i > 0 {
            out.push(b' ');
        }
        if let Err(trap) = args.val(ctx, i).and_then(|val| format::write_printed(ctx, out, val)) {
            out.drop_line();
            return Err(trap);
        }
    }
    out.end_line();
    io.commit()?;
    Ok(Ret::Nothing)
}

/// `json(x)`
pub fn json<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let mut out = Vec::new();
    format::write(ctx, &mut Out::new(&mut out), args.val(ctx, 0)?, Notation::Json)?;
    out.push(b'\n');
    ctx.io().write_stdout(&out)?;
    Ok(Ret::Nothing)
}

/// `to_json(x)`
pub fn to_json<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let mut out = Vec::new();
    format::write(ctx, &mut Out::new(&mut out), args.val(ctx, 0)?, Notation::CompactJson)?;
    Ok(ctx.string(&format::into_string(out))?.into())
}

// ---- Input, clock, files ----

/// `input()`: the next line, or the empty text behind the last
pub fn input<'h>(ctx: &'h mut HostContext<'_>, _args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let line = ctx.io().read_line()?.unwrap_or_default();
    Ok(ctx.string(&String::from_utf8_lossy(&line))?.into())
}

/// `now()`: nanoseconds since 1970, or the next number of the seeded sequence
pub fn now<'h>(ctx: &'h mut HostContext<'_>, _args: Args<'h>) -> Result<Ret<'h>, Trap> {
    if let Some(seed) = &mut state(ctx).now_seed {
        *seed = (i128::from(*seed) * 1_664_525 + 1_013_904_223).rem_euclid(2_147_483_647) as i64;
        return Ok(Ret::Int(*seed));
    }
    let now = ctx.io().now()?;
    Ok(Ret::Int(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)))
}

/// `mem()`
pub fn mem<'h>(ctx: &'h mut HostContext<'_>, _args: Args<'h>) -> Result<Ret<'h>, Trap> {
    Ok(Ret::Int(ctx.memory_in_use() as i64))
}

/// `read_file(path)`
pub fn read_file<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let path = args.text(ctx, 0)?;
    let bytes = ctx.io().read_file(&*path)?;
    Ok(ctx.string(&String::from_utf8_lossy(&bytes))?.into())
}

// ---- Digests ----

/// The bytes of a text or of a list of ints, for a digest.
fn bytes_of(ctx: &HostContext<'_>, val: Val<'_>, what: &str) -> Result<Vec<u8>, Trap> {
    let len = val.as_str().map_or(0, |text| text.len()).max(val.as_list().map_or(0, |list| list.len()));
    steps(ctx, len / WRITTEN)?;
    if let Some(text) = val.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let Some(list) = val.as_list() else {
        return Err(mismatch(format!(
            "{what} works on strings and lists of bytes, not on {}",
            kind_name(val)
        )));
    };
    let byte = |v: Val<'_>| {
        v.as_int()
            .and_then(|i| u8::try_from(i).ok())
            .ok_or_else(|| mismatch(format!("{what}: a byte is an int from 0 to 255, not {}", kind_name(v))))
    };
    list.iter().map(byte).collect()
}

/// `sha256(x)`
pub fn sha256<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    let digest = Sha256::digest(bytes_of(ctx, args.val(ctx, 0)?, "sha256")?);
    let items: Vec<Val<'h>> = digest.iter().map(|&b| ctx.int(i64::from(b))).collect::<Result<_, _>>()?;
    match ctx.result_storage() {
        None => Ok(ctx.new_list_int(digest.iter().map(|&b| i64::from(b)))?.into()),
        Some(_) => Ok(lists::result_list(ctx, None, &items)?.into()),
    }
}

/// The MD5 digest of a text in hexadecimal.
pub fn md5_hex(text: &str) -> String {
    use std::fmt::Write;
    let mut hex = String::new();
    for byte in Md5::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

// ---- Ends ----

/// `panic(message)`
pub fn panic<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    Err(Trap::new(TrapCode::Panic, format::text(ctx, args.val(ctx, 0)?)?))
}

/// `eval(source)`
pub fn eval<'h>(_ctx: &'h mut HostContext<'_>, _args: Args<'h>) -> Result<Ret<'h>, Trap> {
    Err(Trap::new(TrapCode::HostError, "eval is not supported yet"))
}

/// `mochi.expect_failed(line)`
pub fn expect_failed<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    Err(Trap::new(TrapCode::ExpectFailed, format!("expectation failed: {}", &*args.text(ctx, 0)?)))
}

/// `mochi.outside_of_loops(word)`: a `break` or `continue` that no loop is around was reached.
pub fn outside_of_loops<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let message = format!("`{}` is possible only in a loop", &*args.text(ctx, 0)?);
    Err(Trap::new(TrapCode::InvalidArgument, message))
}

/// The protocol's value for a caught trap: its text, for what reports tests.
pub fn trap_value<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let ctx: &'h HostContext<'_> = ctx;
    Ok(args.val(ctx, 1)?.into())
}

// ---- Benchmarks ----

/// `mochi.bench_begin(name)`
pub fn bench_begin<'h>(ctx: &'h mut HostContext<'_>, args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let name = args.text(ctx, 0)?.to_string();
    let start = ctx.io().elapsed().unwrap_or_default();
    let memory = ctx.memory_in_use();
    state(ctx).benches.push((name, start, memory));
    Ok(Ret::Nothing)
}

/// `mochi.bench_end()`: prints duration and memory of the innermost benchmark
pub fn bench_end<'h>(ctx: &'h mut HostContext<'_>, _args: Args<'h>) -> Result<Ret<'h>, Trap> {
    let end = ctx.io().elapsed().unwrap_or_default();
    let memory = ctx.memory_in_use();
    let Some((name, start, before)) = state(ctx).benches.pop() else { return Ok(Ret::Nothing) };
    let report = serde_json::json!({
        "duration_us": end.saturating_sub(start).as_micros() as u64,
        "memory_bytes": memory.saturating_sub(before),
        "name": name,
    });
    ctx.print(&format!("{report:#}\n"))?;
    Ok(Ret::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests() {
        assert_eq!(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    }
}
