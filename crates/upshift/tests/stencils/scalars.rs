//! Families of ints and floats: arithmetic, comparisons, branches, moves and constants.

use upshift_baseline::table::{Family, Stencil, family};
use upshift_runtime::scalar::{self, Checked};
use upshift_runtime::value::Value;

use crate::harness::{Bits, CONSTANTS, Code, Exit, Holes, Machine, Place};

/// Where operands in slots stand.
const A: usize = 3;
const B: usize = 7;
const D: usize = 12;

const INTS: &[i64] = &[
    0,
    1,
    -1,
    2,
    -2,
    3,
    -7,
    10,
    63,
    64,
    -64,
    255,
    32_767,
    -32_768,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 1,
    -(1 << 31) - 1,
    -(1 << 31),
    -(1 << 31) + 1,
    1 << 32,
    (1 << 53) - 1,
    1 << 53,
    (1 << 53) + 1,
    -(1 << 53) - 1,
    3_037_000_500,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
    i64::MIN + 1,
];

/// Bits of floats: zeros, NaNs of several payloads (one of them signalling), the ends of all ranges, and the neighbours of
/// 2^53 and of 2^63.
const FLOATS: &[u64] = &[
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x3FF0_0000_0000_0000,
    0xBFF0_0000_0000_0000,
    0x3FE0_0000_0000_0000,
    0xBFF8_0000_0000_0000,
    0x7FF0_0000_0000_0000,
    0xFFF0_0000_0000_0000,
    0x7FF8_0000_0000_0000,
    0xFFF8_0000_0000_0000,
    0x7FF8_0000_0000_0001,
    0x7FF0_0000_0000_0001,
    0xFFFF_FFFF_FFFF_FFFF,
    0x0010_0000_0000_0000,
    0x8010_0000_0000_0000,
    0x7FEF_FFFF_FFFF_FFFF,
    0xFFEF_FFFF_FFFF_FFFF,
    0x0000_0000_0000_0001,
    0x800F_FFFF_FFFF_FFFF,
    0x433F_FFFF_FFFF_FFFF,
    0x4340_0000_0000_0000,
    0x4340_0000_0000_0001,
    0x43DF_FFFF_FFFF_FFFF,
    0x43E0_0000_0000_0000,
    0xC3E0_0000_0000_0000,
    0xC3E0_0000_0000_0001,
    0xC3DF_FFFF_FFFF_FFFF,
];

/// Immediates of 16 bits.
const IMMEDIATES: &[i16] = &[
    -32_768, -32_767, -256, -255, -129, -128, -127, -10, -7, -2, -1, 0, 1, 2, 3, 7, 10, 64, 127, 128, 255,
    256, 1000, 32_767,
];

/// What a stencil does with its operands.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// The destination gets these bits.
    Is(u64),
    /// The destination gets some NaN.
    Nan,
    /// Nothing is written: on to the next instruction.
    Next,
    /// Nothing is written: to the target.
    Taken,
    /// Nothing is written: to the slow path.
    Cold,
    /// The destination gets these bits, or the slow path has to find them.
    IsOrCold(u64),
}

fn int(value: i64) -> Answer {
    Answer::Is(value as u64)
}
fn yes(value: bool) -> Answer {
    Answer::Is(u64::from(value))
}
/// The result of arithmetic: of NaNs there is but one.
fn float(value: f64) -> Answer {
    if value.is_nan() { Answer::Nan } else { Answer::Is(value.to_bits()) }
}
/// A float that was only moved, with the payload that it has.
fn bits(value: f64) -> Answer {
    Answer::Is(value.to_bits())
}
fn checked(value: Checked<i64>) -> Answer {
    value.map_or(Answer::Cold, int)
}
fn taken(value: bool) -> Answer {
    if value { Answer::Taken } else { Answer::Next }
}
/// Division: 0 as the divisor is the slow path's, -1 may be.
fn division(value: Checked<i64>, divisor: i64) -> Answer {
    match value {
        Ok(value) if divisor == -1 => Answer::IsOrCold(value as u64),
        Ok(value) => int(value),
        Err(_) => Answer::Cold,
    }
}

/// Families with what their stencils do.
type Rows<const N: usize, F> = &'static [(&'static str, Family<N>, F)];

macro_rules! rows {
    ($($family:ident $answer:expr;)*) => { &[$((stringify!($family), family::$family, $answer)),*] };
}

/// dst, a and b are ints.
const DII: Rows<3, fn(i64, i64) -> Answer> = rows! {
    INT_ADD |a, b| int(scalar::int_add(a, b));
    INT_SUB |a, b| int(scalar::int_sub(a, b));
    INT_MUL |a, b| int(scalar::int_mul(a, b));
    INT_AND |a, b| int(scalar::int_and(a, b));
    INT_OR |a, b| int(scalar::int_or(a, b));
    INT_XOR |a, b| int(scalar::int_xor(a, b));
    INT_SHL |a, b| int(scalar::int_shl(a, b));
    INT_SHR_S |a, b| int(scalar::int_shr_s(a, b));
    INT_SHR_U |a, b| int(scalar::int_shr_u(a, b));
    INT_MIN |a, b| int(scalar::int_min(a, b));
    INT_MAX |a, b| int(scalar::int_max(a, b));
    INT_ADD_CHECKED |a, b| checked(scalar::int_add_checked(a, b));
    INT_SUB_CHECKED |a, b| checked(scalar::int_sub_checked(a, b));
    INT_MUL_CHECKED |a, b| checked(scalar::int_mul_checked(a, b));
    INT_DIV |a, b| division(scalar::int_div(a, b), b);
    INT_REM |a, b| division(scalar::int_rem(a, b), b);
    INT_EQ |a, b| yes(a == b);
    INT_NE |a, b| yes(a != b);
    INT_LT |a, b| yes(a < b);
    INT_LE |a, b| yes(a <= b);
};

/// dst and a are ints.
const DI: Rows<2, fn(i64) -> Answer> = rows! {
    INT_MOVE |a| int(a);
    INT_NEG |a| int(scalar::int_neg(a));
    INT_NEG_CHECKED |a| checked(scalar::int_neg_checked(a));
    INT_ABS_CHECKED |a| checked(scalar::int_abs_checked(a));
    INT_EXTEND32 |a| int(scalar::int_extend32(a));
    BOOL_NOT |a| int(scalar::bool_not(a));
};

/// dst and a are ints, b is an immediate of 16 bits in S2.
const DI_IMMEDIATE: Rows<2, fn(i64, i64) -> Answer> = rows! {
    INT_ADD_IMM |a, b| int(scalar::int_add(a, b));
    INT_ADD_IMM_CHECKED |a, b| checked(scalar::int_add_checked(a, b));
    INT_MUL_IMM_CHECKED |a, b| checked(scalar::int_mul_checked(a, b));
    INT_AND_IMM |a, b| int(scalar::int_and(a, b));
    INT_EQ_IMM |a, b| yes(a == b);
    INT_NE_IMM |a, b| yes(a != b);
    INT_LT_IMM |a, b| yes(a < b);
    INT_LE_IMM |a, b| yes(a <= b);
    INT_GT_IMM |a, b| yes(a > b);
    INT_GE_IMM |a, b| yes(a >= b);
};

/// As above; the immediate is neither 0 nor -1.
const DI_DIVISOR: Rows<2, fn(i64, i64) -> Answer> = rows! {
    INT_DIV_IMM |a, b| int(scalar::int_div_imm(a, b));
    INT_REM_IMM |a, b| int(scalar::int_rem_imm(a, b));
};

/// As above; the immediate is a power of two, its exponent in B0 and what is below it in S2.
const DI_POWER: Rows<2, fn(i64, i64) -> Answer> = rows! {
    INT_DIV_POW2 |a, b| int(scalar::int_div_imm(a, b));
    INT_REM_POW2 |a, b| int(scalar::int_rem_imm(a, b));
};

/// dst and a are ints, b is a count of bits in B0.
const DI_SHIFT: Rows<2, fn(i64, i64) -> Answer> = rows! {
    INT_SHL_IMM |a, b| int(scalar::int_shl(a, b));
    INT_SHR_S_IMM |a, b| int(scalar::int_shr_s(a, b));
};

/// Branches on two ints.
const II: Rows<2, fn(i64, i64) -> Answer> = rows! {
    INT_EQ_BRANCH |a, b| taken(a == b);
    INT_NE_BRANCH |a, b| taken(a != b);
    INT_LT_BRANCH |a, b| taken(a < b);
    INT_LE_BRANCH |a, b| taken(a <= b);
};

/// Branches on an int.
const I: Rows<1, fn(i64) -> Answer> = rows! {
    IF_BRANCH |a| taken(a != 0);
    UNLESS_BRANCH |a| taken(a == 0);
};

/// Branches on an int and an immediate in S2.
const I_IMMEDIATE: Rows<1, fn(i64, i64) -> Answer> = rows! {
    INT_EQ_IMM_BRANCH |a, b| taken(a == b);
    INT_NE_IMM_BRANCH |a, b| taken(a != b);
    INT_LT_IMM_BRANCH |a, b| taken(a < b);
    INT_LE_IMM_BRANCH |a, b| taken(a <= b);
    INT_GT_IMM_BRANCH |a, b| taken(a > b);
    INT_GE_IMM_BRANCH |a, b| taken(a >= b);
};

/// dst, a and b are floats.
const EXX: Rows<3, fn(f64, f64) -> Answer> = rows! {
    FLOAT_ADD |a, b| float(scalar::float_add(a, b));
    FLOAT_SUB |a, b| float(scalar::float_sub(a, b));
    FLOAT_MUL |a, b| float(scalar::float_mul(a, b));
    FLOAT_DIV |a, b| float(scalar::float_div(a, b));
    FLOAT_DIV_CHECKED |a, b| scalar::float_div_checked(a, b).map_or(Answer::Cold, float);
    FLOAT_MIN |a, b| bits(scalar::float_min(a, b));
    FLOAT_MAX |a, b| bits(scalar::float_max(a, b));
};

/// dst and a are floats.
const EX: Rows<2, fn(f64) -> Answer> = rows! {
    FLOAT_MOVE |a| bits(a);
    FLOAT_SQRT |a| float(scalar::float_sqrt(a));
    FLOAT_NEG |a| bits(scalar::float_neg(a));
    FLOAT_ABS |a| bits(scalar::float_abs(a));
};

/// dst is a float, a an int in S2.
const EI: Rows<2, fn(i64) -> Answer> = rows! {
    FLOAT_FROM_INT |a| float(a as f64);
    FLOAT_FROM_BITS |a| int(a);
};

/// dst is an int, a a float. The minimum, which the instruction also answers where the float is none of the ints, is left to
/// the slow path.
const DX: Rows<2, fn(f64) -> Answer> = rows! {
    INT_FROM_BITS |a| bits(a);
    INT_FROM_FLOAT |a| match scalar::int_from_float(a) {
        Ok(i64::MIN) => Answer::Cold,
        other => checked(other),
    };
};

/// dst is an int, a and b are floats in slots.
const DXX: Rows<3, fn(f64, f64) -> Answer> = rows! {
    FLOAT_EQ |a, b| yes(a == b);
    FLOAT_NE |a, b| yes(a != b);
    FLOAT_LT |a, b| yes(a < b);
    FLOAT_LE |a, b| yes(a <= b);
};

/// Branches on two floats.
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is the point")]
const XX: Rows<2, fn(f64, f64) -> Answer> = rows! {
    FLOAT_EQ_BRANCH |a, b| taken(a == b);
    FLOAT_NE_BRANCH |a, b| taken(a != b);
    FLOAT_LT_BRANCH |a, b| taken(a < b);
    FLOAT_LE_BRANCH |a, b| taken(a <= b);
    FLOAT_NOT_LT_BRANCH |a, b| taken(!(a < b));
    FLOAT_NOT_LE_BRANCH |a, b| taken(!(a <= b));
};

/// What has a test of its own.
const OTHERS: &[&str] = &[
    "LOAD_INT",
    "LOAD_FLOAT",
    "LOAD_SPILLED_INT",
    "LOAD_SPILLED_FLOAT",
    "STORE_INT",
    "STORE_FLOAT",
    "INT_ZERO",
    "INT_CONST",
    "INT_CONST_WIDE",
    "FLOAT_ZERO",
    "FLOAT_CONST",
    "CELL_MOVE",
    "CELL_CONST",
    "CONSTANT",
    "JUMP",
    "CHARGE",
    "CHARGE_JUMP",
    "RETURN_INT",
    "RETURN_FLOAT",
    "RETURN_SLOT",
    "RETURN_VOID",
    "RETURN_SUM",
];

/// The families that are tested here.
pub fn names() -> Vec<&'static str> {
    fn of<const N: usize, F>(rows: Rows<N, F>) -> impl Iterator<Item = &'static str> {
        rows.iter().map(|row| row.0)
    }
    of(DII)
        .chain(of(DI))
        .chain(of(DI_IMMEDIATE))
        .chain(of(DI_DIVISOR))
        .chain(of(DI_POWER))
        .chain(of(DI_SHIFT))
        .chain(of(II))
        .chain(of(I))
        .chain(of(I_IMMEDIATE))
        .chain(of(EXX))
        .chain(of(EX))
        .chain(of(EI))
        .chain(of(DX))
        .chain(of(DXX))
        .chain(of(XX))
        .chain(OTHERS.iter().copied())
        .collect()
}

/// One stencil with its operands.
struct Variant<'a> {
    name: &'a str,
    code: Code,
    dst: Option<Place>,
}

impl Variant<'_> {
    fn check(&self, m: &mut Machine, inputs: &[(Place, u64)], answer: Answer, immediate: Option<i64>) {
        let what = || match immediate {
            Some(immediate) => format!("{} {immediate} to {:?}", self.name, self.dst),
            None => format!("{} to {:?}", self.name, self.dst),
        };
        let answer = match answer {
            Answer::IsOrCold(_) if m.may_be_cold(self.code, inputs) => Answer::Cold,
            Answer::IsOrCold(value) => Answer::Is(value),
            other => other,
        };
        let writes = |bits| [(self.dst.expect("a destination"), bits)];
        match answer {
            Answer::Is(value) => m.check(self.code, inputs, Exit::Next, &writes(Bits::Are(value)), what),
            Answer::Nan => m.check(self.code, inputs, Exit::Next, &writes(Bits::Nan), what),
            Answer::Next => m.check(self.code, inputs, Exit::Next, &[], what),
            Answer::Taken => m.check(self.code, inputs, Exit::Taken, &[], what),
            Answer::Cold | Answer::IsOrCold(_) => m.check(self.code, inputs, Exit::Cold, &[], what),
        }
    }
}

/// Two operands: all pairs of values; where both are in one place, all values.
fn binary(
    m: &mut Machine,
    name: &str,
    stencil: Stencil,
    dst: Option<Place>,
    operands: [Place; 2],
    values: &[u64],
    answer: &dyn Fn(u64, u64) -> Answer,
) {
    let code = m.place(stencil, &Holes::slots([D, A, B]));
    let variant = Variant { name, code, dst };
    let [a, b] = operands;
    if a == b {
        for &value in values {
            variant.check(m, &[(a, value)], answer(value, value), None);
        }
        return;
    }
    for &va in values {
        for &vb in values {
            variant.check(m, &[(a, va), (b, vb)], answer(va, vb), None);
        }
    }
    if let (Place::Slot(_), Place::Slot(_)) = (a, b) {
        let code = m.place(stencil, &Holes::slots([D, A, A]));
        let variant = Variant { name, code, dst };
        for &value in values {
            variant.check(m, &[(a, value)], answer(value, value), None);
        }
    }
}

/// One operand.
fn unary(
    m: &mut Machine,
    name: &str,
    stencil: Stencil,
    dst: Option<Place>,
    a: Place,
    values: &[u64],
    answer: &dyn Fn(u64) -> Answer,
) {
    // The operand is S1 in most families and S2 in some, so both name its slot.
    let code = m.place(stencil, &Holes::slots([D, A, A]));
    let variant = Variant { name, code, dst };
    for &value in values {
        variant.check(m, &[(a, value)], answer(value), None);
    }
}

/// An int operand and an immediate, with the holes that it fills.
fn immediate(
    m: &mut Machine,
    name: &str,
    stencil: Stencil,
    dst: Option<Place>,
    a: Place,
    (b, holes): (i64, Holes),
    answer: fn(i64, i64) -> Answer,
) {
    let code = m.place(stencil, &holes);
    let variant = Variant { name, code, dst };
    for &value in INTS {
        variant.check(m, &[(a, value as u64)], answer(value, b), Some(b));
    }
}

fn ints() -> Vec<u64> {
    INTS.iter().map(|&i| i as u64).collect()
}

#[test]
fn ints_of_two_ints() {
    let mut m = Machine::new();
    for &(name, family, answer) in DII {
        let mut variants = 0;
        for d in 0..6 {
            for a in 0..7 {
                for b in 0..7 {
                    let operands = [Place::int(a, A), Place::int(b, B)];
                    let stencil = family.at([d, a, b]);
                    let answer = |a: u64, b: u64| answer(a as i64, b as i64);
                    binary(&mut m, name, stencil, Some(Place::Int(d)), operands, &ints(), &answer);
                    variants += 1;
                }
            }
        }
        m.covered(name, variants);
    }
}

#[test]
fn ints_of_an_int() {
    let mut m = Machine::new();
    for &(name, family, answer) in DI {
        for d in 0..6 {
            for a in 0..7 {
                let answer = |a: u64| answer(a as i64);
                unary(
                    &mut m,
                    name,
                    family.at([d, a]),
                    Some(Place::Int(d)),
                    Place::int(a, A),
                    &ints(),
                    &answer,
                );
            }
        }
        m.covered(name, 6 * 7);
    }
}

#[test]
fn ints_of_an_int_and_an_immediate() {
    let mut m = Machine::new();
    type Row = (&'static str, Family<2>, fn(i64, i64) -> Answer);
    let mut family = |&(name, family, answer): &Row, immediates: &[(i64, Holes)]| {
        for d in 0..6 {
            for a in 0..7 {
                for &(b, holes) in immediates {
                    let (stencil, dst) = (family.at([d, a]), Some(Place::Int(d)));
                    immediate(&mut m, name, stencil, dst, Place::int(a, A), (b, holes), answer);
                }
            }
        }
        m.covered(name, 6 * 7);
    };
    let slots = Holes::slots([D, A, 0]);
    let all: Vec<_> = IMMEDIATES.iter().map(|&b| (i64::from(b), slots.with(2, i32::from(b)))).collect();
    DI_IMMEDIATE.iter().for_each(|row| family(row, &all));
    let divisors: Vec<_> = all.iter().copied().filter(|b| !matches!(b.0, 0 | -1)).collect();
    DI_DIVISOR.iter().for_each(|row| family(row, &divisors));
    let powers: Vec<_> = (0..15).map(|b| (1 << b, Holes { b, ..slots.with(2, (1 << b) - 1) })).collect();
    DI_POWER.iter().for_each(|row| family(row, &powers));
    let counts: Vec<_> = (0..64).map(|b| (i64::from(b), Holes { b, ..slots })).collect();
    DI_SHIFT.iter().for_each(|row| family(row, &counts));
}

#[test]
fn int_branches() {
    let mut m = Machine::new();
    for &(name, family, answer) in II {
        for a in 0..7 {
            for b in 0..7 {
                let operands = [Place::int(a, A), Place::int(b, B)];
                let answer = |a: u64, b: u64| answer(a as i64, b as i64);
                binary(&mut m, name, family.at([a, b]), None, operands, &ints(), &answer);
            }
        }
        m.covered(name, 7 * 7);
    }
    for &(name, family, answer) in I {
        for a in 0..7 {
            unary(&mut m, name, family.at([a]), None, Place::int(a, A), &ints(), &|a| answer(a as i64));
        }
        m.covered(name, 7);
    }
    for &(name, family, answer) in I_IMMEDIATE {
        for a in 0..7 {
            for &b in IMMEDIATES {
                let holes = Holes::slots([D, A, 0]).with(2, i32::from(b));
                immediate(
                    &mut m,
                    name,
                    family.at([a]),
                    None,
                    Place::int(a, A),
                    (i64::from(b), holes),
                    answer,
                );
            }
        }
        m.covered(name, 7);
    }
}

#[test]
fn floats_of_two_floats() {
    let mut m = Machine::new();
    for &(name, family, answer) in EXX {
        for e in 0..8 {
            for a in 0..9 {
                for b in 0..9 {
                    let operands = [Place::float(a, A), Place::float(b, B)];
                    let answer = |a, b| answer(f64::from_bits(a), f64::from_bits(b));
                    let dst = Some(Place::Float(e));
                    binary(&mut m, name, family.at([e, a, b]), dst, operands, FLOATS, &answer);
                }
            }
        }
        m.covered(name, 8 * 9 * 9);
    }
}

#[test]
fn floats_of_a_float_or_an_int() {
    let mut m = Machine::new();
    for &(name, family, answer) in EX {
        for e in 0..8 {
            for a in 0..9 {
                let answer = |a| answer(f64::from_bits(a));
                unary(
                    &mut m,
                    name,
                    family.at([e, a]),
                    Some(Place::Float(e)),
                    Place::float(a, A),
                    FLOATS,
                    &answer,
                );
            }
        }
        m.covered(name, 8 * 9);
    }
    for &(name, family, answer) in EI {
        let values = [ints(), FLOATS.to_vec()].concat();
        for e in 0..8 {
            for a in 0..7 {
                let answer = |a: u64| answer(a as i64);
                unary(
                    &mut m,
                    name,
                    family.at([e, a]),
                    Some(Place::Float(e)),
                    Place::int(a, A),
                    &values,
                    &answer,
                );
            }
        }
        m.covered(name, 8 * 7);
    }
}

#[test]
fn ints_of_floats() {
    let mut m = Machine::new();
    for &(name, family, answer) in DX {
        // Halves and their neighbours, and all powers of two.
        let powers =
            (0..70).flat_map(|e| [2f64.powi(e), -(2f64.powi(e)), 2f64.powi(e) - 0.5, 0.5 - 2f64.powi(e)]);
        let values: Vec<u64> = FLOATS.iter().copied().chain(powers.map(f64::to_bits)).collect();
        for d in 0..6 {
            for a in 0..9 {
                let answer = |a| answer(f64::from_bits(a));
                unary(
                    &mut m,
                    name,
                    family.at([d, a]),
                    Some(Place::Int(d)),
                    Place::float(a, A),
                    &values,
                    &answer,
                );
            }
        }
        m.covered(name, 6 * 9);
    }
    for &(name, family, answer) in DXX {
        for d in 0..6 {
            let answer = |a, b| answer(f64::from_bits(a), f64::from_bits(b));
            let operands = [Place::Slot(A), Place::Slot(B)];
            binary(&mut m, name, family.at([d, 0, 0]), Some(Place::Int(d)), operands, FLOATS, &answer);
        }
        m.covered(name, 6);
    }
}

#[test]
fn float_branches() {
    let mut m = Machine::new();
    for &(name, family, answer) in XX {
        for a in 0..9 {
            for b in 0..9 {
                let operands = [Place::float(a, A), Place::float(b, B)];
                let answer = |a, b| answer(f64::from_bits(a), f64::from_bits(b));
                binary(&mut m, name, family.at([a, b]), None, operands, FLOATS, &answer);
            }
        }
        m.covered(name, 9 * 9);
    }
}

#[test]
fn loads_and_stores() {
    let mut m = Machine::new();
    let values = [ints(), FLOATS.to_vec()].concat();
    // Behind S0 or S1 the slot, in the register any bits.
    let mut ways = |name: &str,
                    stencil: &dyn Fn(usize) -> Stencil,
                    registers: usize,
                    holes: [usize; 3],
                    way: &dyn Fn(usize) -> (Place, Place)| {
        for r in 0..registers {
            let code = m.place(stencil(r), &Holes::slots(holes));
            let (from, to) = way(r);
            for &value in &values {
                m.check(code, &[(from, value)], Exit::Next, &[(to, Bits::Are(value))], || {
                    format!("{name} {r}")
                });
            }
        }
        m.covered(name, registers);
    };
    let (slot, int, float) = (Place::Slot(A), Place::Int, Place::Float);
    ways("LOAD_INT", &|r| family::LOAD_INT.at([r]), 6, [A, D, D], &|r| (slot, int(r)));
    ways("LOAD_FLOAT", &|r| family::LOAD_FLOAT.at([r]), 8, [A, D, D], &|r| (slot, float(r)));
    ways("LOAD_SPILLED_INT", &|r| family::LOAD_SPILLED_INT.at([r]), 6, [D, A, D], &|r| (slot, int(r)));
    ways("LOAD_SPILLED_FLOAT", &|r| family::LOAD_SPILLED_FLOAT.at([r]), 8, [D, A, D], &|r| (slot, float(r)));
    ways("STORE_INT", &|r| family::STORE_INT.at([r]), 6, [A, D, D], &|r| (int(r), slot));
    ways("STORE_FLOAT", &|r| family::STORE_FLOAT.at([r]), 8, [A, D, D], &|r| (float(r), slot));
    ways("CELL_MOVE", &|_| family::CELL_MOVE.at([]), 1, [B, A, D], &|_| (slot, Place::Slot(B)));
    // Behind the context's pointer to the constants.
    let code = m.place(family::CONSTANT.at([]), &Holes::slots([B, A, D]).with(1, 24));
    for &value in &values {
        let (from, to) = (Place::word(CONSTANTS + 24), Place::Slot(B));
        m.check(code, &[(from, value)], Exit::Next, &[(to, Bits::Are(value))], || "CONSTANT".into());
    }
    m.covered("CONSTANT", 1);
}

#[test]
fn constants() {
    let mut m = Machine::new();
    let values = [ints(), FLOATS.to_vec()].concat();
    for r in 0..6 {
        let dst = Place::Int(r);
        for &value in &values {
            let holes = Holes { q: value, ..Holes::default() };
            let code = m.place(family::INT_CONST_WIDE.at([r]), &holes);
            m.check(code, &[], Exit::Next, &[(dst, Bits::Are(value))], || {
                format!("INT_CONST_WIDE {value:#x}")
            });
            let Ok(short) = i32::try_from(value as i64) else { continue };
            let code = m.place(family::INT_CONST.at([r]), &Holes::default().with(2, short));
            m.check(code, &[], Exit::Next, &[(dst, Bits::Are(value))], || format!("INT_CONST {short}"));
        }
        let code = m.place(family::INT_ZERO.at([r]), &Holes::default());
        m.check(code, &[], Exit::Next, &[(dst, Bits::Are(0))], || "INT_ZERO".into());
    }
    for name in ["INT_CONST_WIDE", "INT_CONST", "INT_ZERO"] {
        m.covered(name, 6);
    }
    for r in 0..8 {
        let dst = Place::Float(r);
        for &value in &values {
            let holes = Holes { q: value, ..Holes::default() };
            let code = m.place(family::FLOAT_CONST.at([r]), &holes);
            m.check(code, &[], Exit::Next, &[(dst, Bits::Are(value))], || format!("FLOAT_CONST {value:#x}"));
        }
        let code = m.place(family::FLOAT_ZERO.at([r]), &Holes::default());
        m.check(code, &[], Exit::Next, &[(dst, Bits::Are(0))], || "FLOAT_ZERO".into());
    }
    for name in ["FLOAT_CONST", "FLOAT_ZERO"] {
        m.covered(name, 8);
    }
    for &value in &values {
        let holes = Holes { q: value, ..Holes::slots([D, A, B]) };
        let code = m.place(family::CELL_CONST.at([]), &holes);
        m.check(code, &[], Exit::Next, &[(Place::Slot(D), Bits::Are(value))], || {
            format!("CELL_CONST {value:#x}")
        });
    }
    m.covered("CELL_CONST", 1);
}

#[test]
fn jumps_and_the_budget() {
    let mut m = Machine::new();
    let code = m.place(family::JUMP.at([]), &Holes::default());
    m.check(code, &[], Exit::Taken, &[], || "JUMP".into());
    m.covered("JUMP", 1);
    // One unit is taken first; where there was none, the slow path finds -1.
    for (name, stencil, there) in [
        ("CHARGE", family::CHARGE.at([]), Exit::Next),
        ("CHARGE_JUMP", family::CHARGE_JUMP.at([]), Exit::Taken),
    ] {
        let code = m.place(stencil, &Holes::default());
        for budget in [0, 1, 2, 10_000, 1 << 32, i64::MAX] {
            let after = budget - 1;
            let exit = if after < 0 { Exit::Cold } else { there };
            let writes = [(Place::Budget, Bits::Are(after as u64))];
            m.check(code, &[(Place::Budget, budget as u64)], exit, &writes, || name.into());
        }
        m.covered(name, 1);
    }
}

#[test]
fn returns() {
    let mut m = Machine::new();
    // The header's first word, with an address and no flags.
    let header = Place::Slot(D);
    m.base.set(header, 0x7FFF_0123_4560);
    let returns = |m: &mut Machine,
                   name: &str,
                   stencil: Stencil,
                   inputs: &[Place],
                   result: &dyn Fn(&[u64]) -> Option<u64>| {
        let code = m.place(stencil, &Holes::slots([A, D, B]));
        let values = [ints(), FLOATS.to_vec()].concat();
        for (i, &first) in values.iter().enumerate() {
            let values = [first, values[(i * 7 + 3) % values.len()]];
            let mut inputs: Vec<_> = inputs.iter().copied().zip(values).collect();
            let Some(result) = result(&values) else {
                m.check(code, &inputs, Exit::Cold, &[], || name.into());
                continue;
            };
            let writes = [(Place::Result, Bits::Are(result))];
            m.check(code, &inputs, Exit::Return, &writes, || name.into());
            // Any flag in the header is the slow path's.
            for flag in [1, 2, 4, 7] {
                inputs.push((header, 0x7FFF_0123_4560 | flag));
                m.check(code, &inputs, Exit::SlowReturn, &writes, || format!("{name} with the flag {flag}"));
                inputs.pop();
            }
        }
    };
    for r in 0..6 {
        returns(&mut m, "RETURN_INT", family::RETURN_INT.at([r]), &[Place::Int(r)], &|v| Some(v[0]));
    }
    for r in 0..8 {
        returns(&mut m, "RETURN_FLOAT", family::RETURN_FLOAT.at([r]), &[Place::Float(r)], &|v| Some(v[0]));
    }
    returns(&mut m, "RETURN_SLOT", family::RETURN_SLOT.at([]), &[Place::Slot(A)], &|v| Some(v[0]));
    returns(&mut m, "RETURN_VOID", family::RETURN_VOID.at([]), &[], &|_| Some(Value::NIL.bits()));
    returns(&mut m, "RETURN_SUM", family::RETURN_SUM.at([]), &[Place::Slot(A), Place::Slot(B)], &|v| {
        scalar::int_add_checked(v[0] as i64, v[1] as i64).ok().map(|sum| sum as u64)
    });
    for (name, variants) in
        [("RETURN_INT", 6), ("RETURN_FLOAT", 8), ("RETURN_SLOT", 1), ("RETURN_VOID", 1), ("RETURN_SUM", 1)]
    {
        m.covered(name, variants);
    }
}
