//! Numbers of all four kinds: `int`, `float`, `bigint`, `bigrat`, and what operators do with mixtures of them.
//!
//! Big numbers are byte objects of two front-end kinds: a bigint is its two's complement, little-endian; a bigrat is the
//! length of its numerator in four bytes, then numerator and denominator in the same form. They are always reduced and
//! the denominator is positive, so equal numbers have equal bytes.
//!
//! A bigint never turns back into an int by itself: programs ask with `as int`.

use std::cmp::Ordering;

use num_bigint::{BigInt, Sign};
use num_rational::BigRational;
use num_traits::{FromPrimitive, Signed, ToPrimitive, Zero};
use upshift_bytecode::TrapCode;
use upshift_runtime::host::{HostContext, Val};
use upshift_runtime::scalar::int_cmp_float;
use upshift_runtime::trap::Trap;

use crate::lower::{BIGINT_KIND, BIGRAT_KIND};

/// A number.
#[derive(Clone, Debug)]
pub enum Number {
    /// 64 bits.
    Int(i64),
    /// IEEE double.
    Float(f64),
    /// Unbounded integer.
    Big(BigInt),
    /// Exact fraction.
    Rat(BigRational),
}

/// An arithmetic operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
}

impl Op {
    /// As programs write it.
    pub fn text(self) -> &'static str {
        match self {
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Div => "/",
            Op::Rem => "%",
        }
    }
}

/// Bigints of up to so many words of 64 bits are read and written without memory for the words.
const WORDS: usize = 32;

/// The bigint in the bytes of a byte object.
pub fn decode_big(bytes: &[u8]) -> BigInt {
    // Digit by digit: the library goes byte by byte, which takes longer than sums do.
    let negative = bytes.last().is_some_and(|&b| b > 0x7F);
    let fill = if negative { u32::MAX } else { 0 };
    let (words, rest) = bytes.as_chunks::<4>();
    // One more for what the last bytes are a part of, and one for a carry.
    let (mut few, mut many) = ([0; 2 * WORDS], Vec::new());
    let digits = if words.len() + 2 <= few.len() {
        &mut few[..words.len() + 2]
    } else {
        many.resize(words.len() + 2, 0);
        &mut many[..]
    };
    for (digit, &word) in digits.iter_mut().zip(words) {
        *digit = u32::from_le_bytes(word);
    }
    let mut len = words.len();
    if !rest.is_empty() {
        digits[len] = rest.iter().rev().fold(fill, |digit, &byte| digit << 8 | u32::from(byte));
        len += 1;
    }
    if !negative {
        return BigInt::from_slice(Sign::Plus, &digits[..len]);
    }
    let mut carry = true;
    for digit in &mut digits[..len] {
        (*digit, carry) = (!*digit).overflowing_add(carry.into());
    }
    digits[len] = carry.into();
    BigInt::from_slice(Sign::Minus, &digits[..=len])
}

/// The bytes of a bigint: none of 0, by which it is false.
fn encode_big<R>(big: &BigInt, then: impl FnOnce(&[u8]) -> R) -> R {
    let magnitude = big.iter_u64_digits();
    let len = magnitude.len();
    // One more for the sign.
    let (mut few, mut many) = ([[0; 8]; WORDS], Vec::new());
    let words = if len < WORDS {
        &mut few[..=len]
    } else {
        many.resize(len + 1, [0; 8]);
        &mut many[..]
    };
    let negative = big.sign() == Sign::Minus;
    let fill = if negative { 0xFF } else { 0 };
    let mut carry = true;
    for (word, mut digit) in words.iter_mut().zip(magnitude) {
        if negative {
            (digit, carry) = (!digit).overflowing_add(carry.into());
        }
        *word = digit.to_le_bytes();
    }
    words[len] = [fill; 8];
    let bytes = words.as_flattened();
    // As short as possible, with the sign in the highest bit.
    let mut kept = bytes.iter().rposition(|&byte| byte != fill).map_or(0, |last| last + 1);
    if kept.checked_sub(1).map_or(0, |last| bytes[last] & 0x80) != fill & 0x80 {
        kept += 1;
    }
    then(&bytes[..kept])
}

/// A bigint as a guest value.
fn make_big<'h>(ctx: &'h HostContext<'_>, big: &BigInt) -> Result<Val<'h>, Trap> {
    encode_big(big, |bytes| ctx.new_bytes(BIGINT_KIND, bytes))
}

/// The bigrat in the bytes of a byte object.
pub fn decode_rat(bytes: &[u8]) -> BigRational {
    if bytes.is_empty() {
        return BigRational::zero();
    }
    let split = bytes.first_chunk::<4>().map_or(0, |n| u32::from_le_bytes(*n) as usize);
    let (numer, denom) = bytes.get(4..).unwrap_or(&[]).split_at_checked(split).unwrap_or((&[], &[1]));
    BigRational::new_raw(decode_big(numer), decode_big(denom))
}

/// A trap for an integer result outside 64 bits. What shows it adds the advice to declare bigints.
#[cold]
pub fn overflow(operation: impl std::fmt::Display) -> Trap {
    Trap::new(TrapCode::IntegerOverflow, format!("{operation} does not fit 64 bits"))
}

#[cold]
fn division_by_zero() -> Trap {
    Trap::of(TrapCode::DivisionByZero)
}

impl Number {
    /// The number in a value.
    #[inline]
    pub fn of(val: Val<'_>) -> Option<Number> {
        if let Some(i) = val.as_int() {
            return Some(Number::Int(i));
        }
        if let Some(x) = val.as_float() {
            return Some(Number::Float(x));
        }
        match val.as_bytes()? {
            (BIGINT_KIND, bytes) => Some(Number::Big(decode_big(bytes))),
            (BIGRAT_KIND, bytes) => Some(Number::Rat(decode_rat(bytes))),
            _ => None,
        }
    }

    /// As a guest value.
    pub fn make<'h>(&self, ctx: &'h HostContext<'_>) -> Result<Val<'h>, Trap> {
        match self {
            Number::Int(i) => ctx.int(*i),
            Number::Float(x) => Ok(ctx.float(*x)),
            Number::Big(b) => make_big(ctx, b),
            Number::Rat(r) if r.is_zero() => ctx.new_bytes(BIGRAT_KIND, &[]),
            Number::Rat(r) => {
                let [numer, denom] = [r.numer(), r.denom()].map(|part| encode_big(part, <[u8]>::to_vec));
                let mut bytes = Vec::with_capacity(4 + numer.len() + denom.len());
                bytes.extend_from_slice(&(numer.len() as u32).to_le_bytes());
                bytes.extend_from_slice(&numer);
                bytes.extend_from_slice(&denom);
                ctx.new_bytes(BIGRAT_KIND, &bytes)
            }
        }
    }

    /// As a double, rounded.
    pub fn to_float(&self) -> f64 {
        match self {
            Number::Int(i) => *i as f64,
            Number::Float(x) => *x,
            Number::Big(b) => b.to_f64().unwrap_or(f64::NAN),
            Number::Rat(r) if r.is_integer() => r.numer().to_f64().unwrap_or(f64::NAN),
            Number::Rat(r) => r.to_f64().unwrap_or(f64::NAN),
        }
    }

    /// As an unbounded integer, towards zero; `None` for floats that are not finite.
    pub fn to_big(&self) -> Option<BigInt> {
        match self {
            Number::Int(i) => Some(BigInt::from(*i)),
            Number::Float(x) => BigInt::from_f64(x.trunc()),
            Number::Big(b) => Some(b.clone()),
            Number::Rat(r) => Some(r.to_integer()),
        }
    }

    /// As [`Number::to_big`], of a number that is not needed any more.
    fn into_big(self) -> Option<BigInt> {
        match self {
            Number::Big(b) => Some(b),
            other => other.to_big(),
        }
    }

    /// As a fraction; `None` for floats that are not finite.
    pub fn to_rat(&self) -> Option<BigRational> {
        match self {
            Number::Int(i) => Some(BigRational::from_integer(BigInt::from(*i))),
            Number::Float(x) => BigRational::from_float(*x),
            Number::Big(b) => Some(BigRational::from_integer(b.clone())),
            Number::Rat(r) => Some(r.clone()),
        }
    }

    /// As a 64-bit integer, towards zero.
    ///
    /// # Errors
    /// integer-overflow where it does not fit.
    pub fn to_int(&self) -> Result<i64, Trap> {
        let fits = match self {
            Number::Int(i) => return Ok(*i),
            Number::Float(x) => {
                let x = x.trunc();
                // 2^63 itself is outside.
                (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x).then_some(x as i64)
            }
            Number::Big(b) => b.to_i64(),
            Number::Rat(r) => r.to_integer().to_i64(),
        };
        fits.ok_or_else(|| overflow(format_args!("{} as int", self.text())))
    }

    /// Words of 64 bits.
    pub fn words(&self) -> usize {
        match self {
            Number::Int(_) | Number::Float(_) => 1,
            Number::Big(b) => words(b),
            Number::Rat(r) => words(r.numer()) + words(r.denom()),
        }
    }

    /// The steps of the work that writing it in decimal takes: that grows with the square of its size.
    pub fn text_steps(&self) -> usize {
        let words = self.words();
        words.saturating_mul(words) / 2
    }

    /// As `str` shows it.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Writes it as `str` shows it.
    pub fn write(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        let _ = match self {
            Number::Int(i) => write!(out, "{i}"),
            Number::Float(x) => {
                super::float::write_text(out, *x);
                Ok(())
            }
            Number::Big(b) => write!(out, "{b}"),
            Number::Rat(r) => write!(out, "{}/{}", r.numer(), r.denom()),
        };
    }

    /// `-self`
    ///
    /// # Errors
    /// integer-overflow for the least int.
    pub fn negate(self) -> Result<Number, Trap> {
        Ok(match self {
            Number::Int(i) => Number::Int(i.checked_neg().ok_or_else(|| overflow(format_args!("-({i})")))?),
            Number::Float(x) => Number::Float(-x),
            Number::Big(b) => Number::Big(-b),
            Number::Rat(r) => Number::Rat(-r),
        })
    }

    /// The absolute value.
    ///
    /// # Errors
    /// integer-overflow for the least int.
    pub fn absolute(self) -> Result<Number, Trap> {
        Ok(match self {
            Number::Int(i) => Number::Int(i.checked_abs().ok_or_else(|| overflow(format_args!("abs({i})")))?),
            Number::Float(x) => Number::Float(x.abs()),
            Number::Big(b) => Number::Big(b.abs()),
            Number::Rat(r) => Number::Rat(r.abs()),
        })
    }

    /// Which is greater; `None` where one is not a number.
    pub fn compare(&self, other: &Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(b),
            (Number::Int(a), Number::Float(b)) => int_cmp_float(*a, *b),
            (Number::Float(a), Number::Int(b)) => int_cmp_float(*b, *a).map(Ordering::reverse),
            (Number::Float(x), big) => {
                if x.is_finite() {
                    Some(BigRational::from_float(*x)?.cmp(&big.to_rat()?))
                } else {
                    x.partial_cmp(&0.0)
                }
            }
            (big, Number::Float(x)) => {
                if x.is_finite() {
                    Some(big.to_rat()?.cmp(&BigRational::from_float(*x)?))
                } else {
                    0.0.partial_cmp(x)
                }
            }
            (Number::Big(a), Number::Big(b)) => Some(a.cmp(b)),
            (Number::Rat(a), Number::Rat(b)) => Some(a.cmp(b)),
            (a @ Number::Rat(_), b) | (a, b @ Number::Rat(_)) => Some(a.to_rat()?.cmp(&b.to_rat()?)),
            (a, b) => Some(a.to_big()?.cmp(&b.to_big()?)),
        }
    }
}

/// The integer in an int or a bigint of at most 128 bits, and whether it is a bigint.
#[inline]
fn short(val: Val<'_>) -> Option<(i128, bool)> {
    if let Some(i) = val.as_int() {
        return Some((i.into(), false));
    }
    match val.as_bytes()? {
        (BIGINT_KIND, bytes) if bytes.len() <= 16 => {
            let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
            let mut word = if negative { [0xFF; 16] } else { [0; 16] };
            word[..bytes.len()].copy_from_slice(bytes);
            Some((i128::from_le_bytes(word), true))
        }
        _ => None,
    }
}

/// The order of two integers of which at least one is a bigint, where neither has more than 128 bits.
#[inline]
pub fn compare_short(a: Val<'_>, b: Val<'_>) -> Option<Ordering> {
    let ((a, first), (b, second)) = (short(a)?, short(b)?);
    (first || second).then(|| a.cmp(&b))
}

/// `a op b` of integers of which at least one is a bigint, where neither they nor the result have more than 128 bits: most bigints
/// are small, as products of 64 bits are that are divided next, and this takes a fraction of what numbers without a limit take.
///
/// # Errors
/// division-by-zero; memory-limit.
#[inline]
pub fn arithmetic_short<'h>(
    ctx: &'h HostContext<'_>,
    op: Op,
    a: Val<'_>,
    b: Val<'_>,
) -> Option<Result<Val<'h>, Trap>> {
    let ((a, first), (b, second)) = (short(a)?, short(b)?);
    if !first && !second {
        return None;
    }
    if b == 0 && matches!(op, Op::Div | Op::Rem) {
        return Some(Err(division_by_zero()));
    }
    // Halves of 64 bits divide much faster.
    let halves = || Some((i64::try_from(a).ok()?, i64::try_from(b).ok()?));
    let result = match (op, halves()) {
        (Op::Add, _) => a.checked_add(b)?,
        (Op::Sub, _) => a.checked_sub(b)?,
        // The product of halves always fits.
        (Op::Mul, Some(_)) => a.wrapping_mul(b),
        (Op::Mul, None) => a.checked_mul(b)?,
        (Op::Div, Some((a, b))) if b != -1 => (a / b).into(),
        (Op::Div, _) => a.checked_div(b)?,
        (Op::Rem, Some((a, b))) => a.wrapping_rem(b).into(),
        (Op::Rem, None) => a.wrapping_rem(b),
    };
    let mut bytes = [0; 16];
    let len = shortest(result, &mut bytes);
    Some(ctx.new_bytes(BIGINT_KIND, &bytes[..len]))
}

/// A bigint of 64 bits.
///
/// # Errors
/// memory-limit.
pub fn make_short<'h>(ctx: &'h HostContext<'_>, number: i64) -> Result<Val<'h>, Trap> {
    let mut bytes = [0; 16];
    let len = shortest(number.into(), &mut bytes);
    ctx.new_bytes(BIGINT_KIND, &bytes[..len])
}

/// Writes the two's complement of a number, without superfluous bytes; gives its length, which is 0 for 0.
fn shortest(number: i128, bytes: &mut [u8; 16]) -> usize {
    *bytes = number.to_le_bytes();
    if number == 0 {
        return 0;
    }
    // One bit is for the sign.
    let bits = 129 - (number ^ (number >> 127)).leading_zeros();
    bits.div_ceil(8) as usize
}

/// Words in a step of the work where each is looked at once.
const PASS: usize = 8;

/// The words of a big number.
fn words(b: &BigInt) -> usize {
    (b.bits() / 64) as usize + 1
}

/// The steps of the work that a product takes, about.
pub fn product_steps(a: &BigInt, b: &BigInt) -> usize {
    let (few, many) = (words(a).min(words(b)), words(a).max(words(b)));
    // Large factors are multiplied in less than one step for each pair of words.
    many.saturating_mul(few.min(4 * few.isqrt())) / PASS
}

/// The steps of the work that `a op b` takes, about.
pub fn arithmetic_steps(op: Op, a: &Number, b: &Number) -> usize {
    let (few, many) = (a.words().min(b.words()), a.words().max(b.words()));
    match (op, a, b) {
        (_, Number::Rat(_), _) | (_, _, Number::Rat(_)) => {
            // Products, and their greatest common divisor bit by bit.
            (few + many).saturating_mul(few + many).saturating_mul(8)
        }
        (Op::Mul, Number::Big(a), Number::Big(b)) => product_steps(a, b),
        (Op::Div | Op::Rem, ..) => few.saturating_mul(many - few + 1) / PASS,
        _ => many / PASS,
    }
}

/// `a op b`
///
/// # Errors
/// integer-overflow with the operands; division-by-zero, for floats too.
pub fn arithmetic(op: Op, a: Number, b: Number) -> Result<Number, Trap> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => int(op, a, b).map(Number::Int),
        (Number::Float(a), b) => float(op, a, b.to_float()).map(Number::Float),
        (a, Number::Float(b)) => float(op, a.to_float(), b).map(Number::Float),
        (a @ Number::Rat(_), b) | (a, b @ Number::Rat(_)) => {
            let (Some(a), Some(b)) = (a.to_rat(), b.to_rat()) else { return Ok(Number::Float(f64::NAN)) };
            rat(op, a, b).map(Number::Rat)
        }
        (a, b) => {
            let (Some(a), Some(b)) = (a.into_big(), b.into_big()) else {
                return Ok(Number::Float(f64::NAN));
            };
            big(op, a, b).map(Number::Big)
        }
    }
}

fn int(op: Op, a: i64, b: i64) -> Result<i64, Trap> {
    if b == 0 && matches!(op, Op::Div | Op::Rem) {
        return Err(division_by_zero());
    }
    let result = match op {
        Op::Add => a.checked_add(b),
        Op::Sub => a.checked_sub(b),
        Op::Mul => a.checked_mul(b),
        Op::Div => a.checked_div(b),
        Op::Rem => Some(a.wrapping_rem(b)),
    };
    result.ok_or_else(|| overflow(format_args!("{a} {} {b}", op.text())))
}

fn float(op: Op, a: f64, b: f64) -> Result<f64, Trap> {
    if b == 0.0 && matches!(op, Op::Div | Op::Rem) {
        return Err(division_by_zero());
    }
    Ok(match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Rem => a % b,
    })
}

fn big(op: Op, a: BigInt, b: BigInt) -> Result<BigInt, Trap> {
    if b.is_zero() && matches!(op, Op::Div | Op::Rem) {
        return Err(division_by_zero());
    }
    Ok(match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Rem => a % b,
    })
}

fn rat(op: Op, a: BigRational, b: BigRational) -> Result<BigRational, Trap> {
    if b.is_zero() && matches!(op, Op::Div | Op::Rem) {
        return Err(division_by_zero());
    }
    Ok(match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Rem => a % b,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn big(n: i128) -> Number {
        Number::Big(BigInt::from(n))
    }

    fn shown(op: Op, a: Number, b: Number) -> String {
        match arithmetic(op, a, b) {
            Ok(number) => number.text(),
            Err(trap) => format!("{:?}", trap.code()),
        }
    }

    #[test]
    fn kinds_mix() {
        let half = || Number::Rat(BigRational::new(1.into(), 2.into()));
        assert_eq!(shown(Op::Add, Number::Int(1), half()), "3/2");
        assert_eq!(shown(Op::Mul, half(), big(4)), "2/1");
        assert_eq!(shown(Op::Add, half(), Number::Float(0.25)), "0.75");
        assert_eq!(shown(Op::Div, Number::Int(-7), Number::Int(2)), "-3");
        assert_eq!(shown(Op::Rem, Number::Int(-7), Number::Int(3)), "-1");
        assert_eq!(shown(Op::Rem, big(-7), Number::Int(3)), "-1");
        assert_eq!(shown(Op::Div, big(-7), Number::Int(2)), "-3");
        assert_eq!(shown(Op::Rem, Number::Int(i64::MIN), Number::Int(-1)), "0");
        assert_eq!(shown(Op::Div, Number::Int(i64::MIN), Number::Int(-1)), "IntegerOverflow");
        assert_eq!(shown(Op::Div, Number::Float(1.0), Number::Int(0)), "DivisionByZero");
        assert_eq!(shown(Op::Rem, half(), Number::Int(0)), "DivisionByZero");
        assert_eq!(shown(Op::Mul, Number::Int(i64::MAX), big(2)), "18446744073709551614");
    }

    #[test]
    fn overflow_names_the_operands() {
        let trap = arithmetic(Op::Add, Number::Int(i64::MAX), Number::Int(1)).unwrap_err();
        assert_eq!(trap.message(), "9223372036854775807 + 1 does not fit 64 bits");
    }

    #[test]
    fn comparison_crosses_kinds() {
        assert_eq!(Number::Int(1).compare(&Number::Float(1.0)), Some(Ordering::Equal));
        assert_eq!(big(1 << 80).compare(&Number::Int(i64::MAX)), Some(Ordering::Greater));
        assert_eq!(big(1 << 80).compare(&Number::Float(f64::INFINITY)), Some(Ordering::Less));
        assert_eq!(Number::Float(f64::NEG_INFINITY).compare(&big(-1)), Some(Ordering::Less));
        assert_eq!(Number::Float(f64::NAN).compare(&big(1)), None);
        let half = Number::Rat(BigRational::new(1.into(), 2.into()));
        assert_eq!(half.compare(&Number::Float(0.5)), Some(Ordering::Equal));
        assert_eq!(half.compare(&Number::Int(1)), Some(Ordering::Less));
    }

    #[test]
    fn damaged_bytes_do_not_panic() {
        for bytes in [&[][..], &[1], &[255, 255, 255, 255], &[9, 0, 0, 0, 1]] {
            let _ = decode_rat(bytes);
            let _ = decode_big(bytes);
        }
    }

    #[test]
    fn short_bigints_have_the_bytes_of_others() {
        for bits in 0..126 {
            for number in [1i128 << bits, (1 << bits) - 1, (1 << bits) + 1] {
                for number in [number, -number] {
                    let mut bytes = [0; 16];
                    let len = shortest(number, &mut bytes);
                    encode_big(&BigInt::from(number), |whole| assert_eq!(bytes[..len], *whole, "{number}"));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn bigints_have_the_bytes_of_their_twos_complement(bytes: Vec<u8>, shift in 0usize..130) {
            for big in [BigInt::from_signed_bytes_le(&bytes), BigInt::from(1) << shift] {
                for big in [&big - 1, -&big, big] {
                    let bytes = encode_big(&big, <[u8]>::to_vec);
                    let complement = if big.is_zero() { Vec::new() } else { big.to_signed_bytes_le() };
                    prop_assert_eq!(&bytes, &complement);
                    prop_assert_eq!(decode_big(&bytes), big);
                }
            }
            prop_assert_eq!(decode_big(&bytes), BigInt::from_signed_bytes_le(&bytes));
        }

        #[test]
        fn ints_and_bigints_agree(a: i64, b: i64) {
            for op in [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Rem] {
                let wide = shown(op, big(a.into()), Number::Int(b));
                let narrow = shown(op, Number::Int(a), Number::Int(b));
                prop_assert!(narrow == wide || narrow == "IntegerOverflow");
            }
        }
    }
}
