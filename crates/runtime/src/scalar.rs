//! The meaning of scalar ops, as pure functions: interpreter, constant folding and tests name these and nothing else, so
//! overflow, rounding and shift rules exist once.

use std::cmp::Ordering;

use upshift_bytecode::TrapCode;

/// A result, or the code of the trap.
pub type Checked<T> = Result<T, TrapCode>;

macro_rules! unary_int {
    ($($(#[$doc:meta])* $name:ident |$a:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name($a: i64) -> i64 { $e }
    )*};
}
macro_rules! binary_int {
    ($($(#[$doc:meta])* $name:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name($a: i64, $b: i64) -> i64 { $e }
    )*};
}
macro_rules! checked_int {
    ($($(#[$doc:meta])* $name:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name($a: i64, $b: i64) -> Checked<i64> { $e }
    )*};
}

unary_int! {
    /// -a modulo 2^64.
    int_neg |a| a.wrapping_neg();
    /// The low 32 bits, sign-extended.
    int_extend32 |a| i64::from(a as i32);
    /// 1 if a = 0, else 0.
    bool_not |a| i64::from(a == 0);
}

binary_int! {
    /// a + b modulo 2^64.
    int_add |a, b| a.wrapping_add(b);
    /// a - b modulo 2^64.
    int_sub |a, b| a.wrapping_sub(b);
    /// a * b modulo 2^64.
    int_mul |a, b| a.wrapping_mul(b);
    /// a / b towards zero, for b that is neither 0 nor -1.
    int_div_imm |a, b| a.wrapping_div(if b == 0 { 1 } else { b });
    /// The remainder of a / b, for b that is neither 0 nor -1.
    int_rem_imm |a, b| a.wrapping_rem(if b == 0 { 1 } else { b });
    /// a & b.
    int_and |a, b| a & b;
    /// a | b.
    int_or |a, b| a | b;
    /// a ^ b.
    int_xor |a, b| a ^ b;
    /// a << (b & 63).
    int_shl |a, b| a.wrapping_shl(b as u32);
    /// a >> (b & 63), sign-filling.
    int_shr_s |a, b| a.wrapping_shr(b as u32);
    /// a >> (b & 63), zero-filling.
    int_shr_u |a, b| (a as u64).wrapping_shr(b as u32) as i64;
    /// The smaller.
    int_min |a, b| a.min(b);
    /// The larger.
    int_max |a, b| a.max(b);
}

checked_int! {
    /// a + b; integer-overflow.
    int_add_checked |a, b| a.checked_add(b).ok_or(TrapCode::IntegerOverflow);
    /// a - b; integer-overflow.
    int_sub_checked |a, b| a.checked_sub(b).ok_or(TrapCode::IntegerOverflow);
    /// a * b; integer-overflow.
    int_mul_checked |a, b| a.checked_mul(b).ok_or(TrapCode::IntegerOverflow);
    /// a / b towards zero; division-by-zero, integer-overflow at minimum / -1.
    int_div |a, b| {
        if b == 0 {
            Err(TrapCode::DivisionByZero)
        } else {
            a.checked_div(b).ok_or(TrapCode::IntegerOverflow)
        }
    };
    /// The remainder with the sign of a; division-by-zero; minimum % -1 = 0.
    int_rem |a, b| if b == 0 { Err(TrapCode::DivisionByZero) } else { Ok(a.wrapping_rem(b)) };
}

/// -a; integer-overflow at the minimum.
#[inline(always)]
pub fn int_neg_checked(a: i64) -> Checked<i64> {
    a.checked_neg().ok_or(TrapCode::IntegerOverflow)
}

/// |a|; integer-overflow at the minimum.
#[inline(always)]
pub fn int_abs_checked(a: i64) -> Checked<i64> {
    a.checked_abs().ok_or(TrapCode::IntegerOverflow)
}

macro_rules! binary_float {
    ($($(#[$doc:meta])* $name:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name($a: f64, $b: f64) -> f64 { $e }
    )*};
}
macro_rules! unary_float {
    ($($(#[$doc:meta])* $name:ident |$a:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name($a: f64) -> f64 { $e }
    )*};
}

binary_float! {
    /// a + b.
    float_add |a, b| a + b;
    /// a - b.
    float_sub |a, b| a - b;
    /// a * b.
    float_mul |a, b| a * b;
    /// a / b.
    float_div |a, b| a / b;
    /// b if b < a, else a.
    float_min |a, b| if b < a { b } else { a };
    /// b if a < b, else a.
    float_max |a, b| if a < b { b } else { a };
}

/// fmod(a, b), sign of a.
#[inline(never)]
pub fn float_rem(a: f64, b: f64) -> f64 {
    a % b
}

/// a to the power of b.
#[inline(never)]
pub fn float_pow(a: f64, b: f64) -> f64 {
    a.powf(b)
}

/// The angle of the point (b, a).
#[inline(never)]
pub fn float_atan2(a: f64, b: f64) -> f64 {
    a.atan2(b)
}

unary_float! {
    /// -a.
    float_neg |a| -a;
    /// |a|.
    float_abs |a| a.abs();
    /// The square root.
    float_sqrt |a| a.sqrt();
    /// The largest integral value <= a.
    float_floor |a| a.floor();
    /// The smallest integral value >= a.
    float_ceil |a| a.ceil();
    /// Rounded towards zero.
    float_trunc |a| a.trunc();
    /// Rounded to the nearest, halves away from zero.
    float_round |a| a.round();
    /// sin.
    float_sin |a| a.sin();
    /// cos.
    float_cos |a| a.cos();
    /// tan.
    float_tan |a| a.tan();
    /// arcsin.
    float_asin |a| a.asin();
    /// arccos.
    float_acos |a| a.acos();
    /// arctan.
    float_atan |a| a.atan();
    /// e to the power of a.
    float_exp |a| a.exp();
    /// The natural logarithm.
    float_log |a| a.ln();
    /// The binary logarithm.
    float_log2 |a| a.log2();
    /// The decimal logarithm.
    float_log10 |a| a.log10();
}

/// a / b; division-by-zero where b is 0 or -0.
#[inline(always)]
pub fn float_div_checked(a: f64, b: f64) -> Checked<f64> {
    if b == 0.0 { Err(TrapCode::DivisionByZero) } else { Ok(a / b) }
}

/// fmod(a, b); division-by-zero where b is 0 or -0.
#[inline(always)]
pub fn float_rem_checked(a: f64, b: f64) -> Checked<f64> {
    if b == 0.0 { Err(TrapCode::DivisionByZero) } else { Ok(float_rem(a, b)) }
}

/// a truncated towards zero; integer-overflow where that is no i64.
#[inline(always)]
pub fn int_from_float(a: f64) -> Checked<i64> {
    // -2^63 is a float; 2^63 is the first float that is too large. NaN fails both comparisons.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&a) {
        Ok(a as i64)
    } else {
        Err(TrapCode::IntegerOverflow)
    }
}

/// How an int and a float compare by value, without rounding either; `None` where the float is not a number.
pub fn int_cmp_float(a: i64, b: f64) -> Option<Ordering> {
    match int_from_float(b) {
        Ok(whole) => Some(a.cmp(&whole).then(0.0.partial_cmp(&b.fract())?)),
        Err(_) => 0.0.partial_cmp(&b),
    }
}

/// What `x` is after `turns` turns that make `(x * factor + added + step * t) % modulus` of it, `t` being 0, 1, 2, ..., in as many steps
/// as `turns` has bits: a turn is an affine map of `x`, `added`, `step` and 1, and the map of twice as many turns is the map applied twice.
///
/// `x` itself if there are no turns. Nothing may be negative, and `modulus` at most 2^31, so that products fit.
pub fn affine_rest(x: i64, factor: i64, modulus: i64, turns: i64, added: i64, step: i64) -> i64 {
    /// x * `x` + added * `added` + step * `step`, and what is added grows by step * `turns`.
    #[derive(Clone, Copy)]
    struct Map {
        x: u64,
        added: u64,
        step: u64,
        turns: u64,
    }
    if turns <= 0 || modulus <= 0 {
        return x;
    }
    let modulus = modulus as u64;
    let rest = |n: u64| n % modulus;
    let then = |a: Map, b: Map| Map {
        x: rest(a.x * b.x),
        added: rest(a.added * b.x + b.added),
        step: rest(rest(a.step * b.x + b.step) + b.added * a.turns),
        turns: rest(a.turns + b.turns),
    };
    let [x, factor, added, step] = [x, factor, added, step].map(|n| n.rem_euclid(modulus as i64) as u64);
    let one = Map { x: factor, added: rest(1), step: 0, turns: rest(1) };
    let mut all = one;
    for bit in (0..turns.ilog2()).rev() {
        all = then(all, all);
        if turns >> bit & 1 != 0 {
            all = then(all, one);
        }
    }
    rest(rest(all.x * x) + rest(all.added * added) + rest(all.step * step)) as i64
}

/// Two numbers below 2^32 in one int, the first in its upper half: how [`affine_pair`] takes and gives them.
pub fn pack(first: u32, second: u32) -> i64 {
    (u64::from(first) << 32 | u64::from(second)) as i64
}

/// What two ints `x` and `y` are after turns that each make `(x * xx + y * xy + added + step * t) % modulus` of `x` and likewise of
/// `y`, both from what they were before, `t` being 0, 1, 2, ..., in as many steps as the number of turns has bits: a turn is a linear
/// map of `x`, `y`, `t` and 1, and the map of twice as many turns is its square.
///
/// All arguments are packed ([`pack`]): `x` and `y`, the factors in the sum for `x`, those in that for `y`, what is added to each,
/// the steps, and the number of turns with the modulus, which is at most 2^31. So are `x` and `y` as they are then.
pub fn affine_pair(state: i64, for_x: i64, for_y: i64, added: i64, step: i64, turns: i64) -> i64 {
    let unpack = |both: i64| [both as u64 >> 32, both as u64 & 0xFFFF_FFFF];
    let [mut turns, modulus] = unpack(turns);
    if turns == 0 || modulus == 0 {
        return state;
    }
    let rest = |n: u64| n % modulus;
    let dot = |a: [u64; 2], b: [u64; 2]| rest(rest(a[0] * b[0]) + rest(a[1] * b[1]));
    // What x and y are times each column; then times t; and 1. And how much t grows.
    let mut of = [unpack(for_x).map(rest), unpack(for_y).map(rest)];
    let (mut step, mut added, mut grows) = (unpack(step).map(rest), unpack(added).map(rest), rest(1));
    let (mut now, mut t) = (unpack(state).map(rest), 0);
    loop {
        let column = |i: usize| [of[0][i], of[1][i]];
        if turns & 1 != 0 {
            now = [0, 1].map(|i| rest(dot(of[i], now) + rest(step[i] * t) + added[i]));
            t = rest(t + grows);
        }
        turns >>= 1;
        if turns == 0 {
            return pack(now[0] as u32, now[1] as u32);
        }
        let squared = [0, 1].map(|i| [0, 1].map(|j| dot(of[i], column(j))));
        added = [0, 1].map(|i| rest(dot(of[i], added) + rest(step[i] * grows) + added[i]));
        step = [0, 1].map(|i| rest(dot(of[i], step) + step[i]));
        (of, grows) = (squared, rest(2 * grows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affine_map_many_times_is_each_turn_once() {
        let moduli = [1, 2, 3, 10, 1_000_003, (1 << 31) - 1, 1 << 31];
        for modulus in moduli {
            for (x, factor, added, step) in [
                (0, 0, 0, 0),
                (42, 16_807, 0, 0),
                (7, 3, 0, 1),
                (5, 1, 9, 4),
                ((1 << 40) + 3, (1 << 31) - 1, 1 << 50, 1 << 33),
            ] {
                let mut turn = i128::from(x);
                for turns in 0..70 {
                    assert_eq!(i128::from(affine_rest(x, factor, modulus, turns, added, step)), turn);
                    let more = i128::from(added) + i128::from(step) * i128::from(turns);
                    turn = (turn * i128::from(factor) + more) % i128::from(modulus);
                }
            }
        }
        // Fermat: the factor's powers come round.
        assert_eq!(affine_rest(42, 16_807, (1 << 31) - 1, ((1 << 31) - 2) * 1000 + 1, 0, 0), 42 * 16_807);
    }

    #[test]
    fn two_values_that_update_each_other_are_each_turn_once() {
        for modulus in [1_u32, 2, 3, 10, 1_000_007, i32::MAX as u32, 1 << 31] {
            for (x, y, for_x, for_y, added, step) in [
                (0, 1, [0, 1], [1, 1], [0, 0], [0, 0]),
                (1, 0, [1, 1], [1, 0], [5, 0], [0, 3]),
                (7, 9, [16_807, 3], [0, 48_271], [1, 2], [3, 4]),
                (u32::MAX, 12, [u32::MAX, 1 << 31], [9, u32::MAX], [u32::MAX, 0], [1, u32::MAX]),
            ] {
                let both = |[a, b]: [u32; 2]| pack(a, b);
                let m = u128::from(modulus);
                let mut now = [u128::from(x), u128::from(y)];
                for turns in 0..70_u32 {
                    let then = affine_pair(
                        pack(x, y),
                        both(for_x),
                        both(for_y),
                        both(added),
                        both(step),
                        pack(turns, modulus),
                    );
                    assert_eq!(then, pack(now[0] as u32, now[1] as u32), "{turns} turns modulo {modulus}");
                    now = [(for_x, 0), (for_y, 1)].map(|(by, i)| {
                        let [a, b] = by.map(u128::from);
                        let more = u128::from(added[i]) + u128::from(step[i]) * u128::from(turns);
                        (now[0] * a + now[1] * b + more) % m
                    });
                }
            }
        }
        // Fibonacci numbers modulo 10 come round after 60.
        let fibonacci = |turns| affine_pair(pack(0, 1), pack(0, 1), pack(1, 1), 0, 0, pack(turns, 10));
        assert_eq!(fibonacci(60 * 70_000_000 + 7), pack(3, 1));
    }

    #[test]
    fn edges() {
        assert_eq!(int_div(i64::MIN, -1), Err(TrapCode::IntegerOverflow));
        assert_eq!(int_rem(i64::MIN, -1), Ok(0));
        assert_eq!(int_div(-7, 2), Ok(-3));
        assert_eq!(int_rem(-7, 2), Ok(-1));
        assert_eq!(int_rem(1, 0), Err(TrapCode::DivisionByZero));
        assert_eq!(int_shl(1, 64), 1);
        assert_eq!(int_shr_s(-8, 65), -4);
        assert_eq!(int_shr_u(-1, 63), 1);
        assert_eq!(int_extend32(0x1_8000_0000), -0x8000_0000);
        assert_eq!(int_abs_checked(i64::MIN), Err(TrapCode::IntegerOverflow));
        assert_eq!(int_from_float(f64::NAN), Err(TrapCode::IntegerOverflow));
        assert_eq!(int_from_float(-9.3e18), Err(TrapCode::IntegerOverflow));
        assert_eq!(int_from_float(-9_223_372_036_854_775_808.0), Ok(i64::MIN));
        assert_eq!(int_from_float(9_223_372_036_854_775_807.0), Err(TrapCode::IntegerOverflow));
        assert!(float_min(f64::NAN, 1.0).is_nan());
        assert_eq!(float_max(1.0, f64::NAN), 1.0);
    }
}
