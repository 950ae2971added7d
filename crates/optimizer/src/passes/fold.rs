//! Constants and algebraic rules.
//!
//! [`simplify`] is a list of rules, each under its equation; GVN uses it too, on operands that are numbered already. Rules move one way
//! only, towards: constants on the right; sums of a value and one constant; `lt` and `ge` instead of `le` and `gt` with
//! constants; comparisons instead of their negations compared with 0. Constants are computed by the functions of
//! [`upshift_runtime::scalar`], as all tiers compute them.
//!
//! Products and quotients with powers of two stay: Cranelift makes shifts of them, and our own analyses read products. Float rules hold for
//! all operands, NaN and signed zeros included; only which of the NaNs a result is may differ, which but `ifrom_bits` nothing
//! sees.
//!
//! [`run`] goes over the function once in layout order. A check that always fails ends its block as an exit, so blocks may become
//! unreachable; they leave the layout.

use upshift_runtime::scalar;
use upshift_runtime::value::{self as cells, Value as Cell};

use super::params::relayout;
use super::{Replacements, Rewriter, is_bool};
use crate::cfg::Analyses;
use crate::ir::{Class, Cond, Function, Inst, InstData, Op, Value, Width};

/// What becomes of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It stays.
    Keep,
    /// Its result is this value.
    Value(Value),
    /// It was changed in place: rules may hold that did not before.
    Again,
    /// It does nothing.
    Drop,
    /// It became an exit: what follows in the block is not reached.
    Ends,
}

/// Runs the pass.
pub fn run(func: &mut Function, analyses: &mut Analyses) -> usize {
    let mut replaced = Replacements::new(func);
    let mut changed = 0;
    let mut ended = false;
    for b in 0..func.layout.len() {
        let block = func.layout[b];
        let insts = std::mem::take(&mut func.blocks[block].insts);
        let mut out = Rewriter { insts: Vec::with_capacity(insts.len()) };
        for inst in insts {
            replaced.apply_to(&mut func.insts[inst]);
            let (outcome, count) = simplify(func, &mut out, inst);
            changed += count;
            match outcome {
                Outcome::Value(with) => {
                    if let Some(result) = func.insts[inst].result.expand() {
                        replaced.replace(result, with);
                    }
                }
                Outcome::Drop => {}
                Outcome::Ends => {
                    out.insts.push(inst);
                    ended = true;
                    break;
                }
                Outcome::Keep | Outcome::Again => out.insts.push(inst),
            }
        }
        func.blocks[block].insts = out.insts;
    }
    replaced.apply_to_states(func);
    if ended {
        relayout(func, analyses);
    } else if changed > 0 {
        // A rule may have exchanged the ways of a branch.
        analyses.forget();
    }
    changed
}

/// Applies rules until none holds; gives what becomes of the instruction and how many held. New operands go to `out`.
pub(crate) fn simplify(func: &mut Function, out: &mut Rewriter, inst: Inst) -> (Outcome, usize) {
    let mut count = 0;
    loop {
        match rules(func, out, inst) {
            // Rules move one way, so this ends; the bound is for mistakes.
            Outcome::Again if count < 16 => count += 1,
            Outcome::Again => return (Outcome::Keep, count),
            Outcome::Keep => return (Outcome::Keep, count),
            other => return (other, count + 1),
        }
    }
}

/// An instruction under simplification.
struct Rule<'a> {
    func: &'a mut Function,
    out: &'a mut Rewriter,
    inst: Inst,
}

/// The operands of an instruction that defines a value, by the instruction's op.
fn operands(func: &Function, value: Value, op: Op) -> Option<(Value, Value)> {
    let data = func.def(value)?;
    (data.op == op).then(|| (data.args[0], *data.args.get(1).unwrap_or(&data.args[0])))
}

impl Rule<'_> {
    fn data(&self) -> &InstData {
        &self.func.insts[self.inst]
    }

    fn int(&self, value: Value) -> Option<i64> {
        self.func.int_const(value)
    }

    fn float(&self, value: Value) -> Option<f64> {
        self.func.def(value).filter(|d| d.op == Op::Fconst).map(|d| f64::from_bits(d.imm as u64))
    }

    fn op_of(&self, value: Value) -> Option<Op> {
        self.func.def(value).map(|d| d.op)
    }

    /// The operands of a value's instruction, if that has this op.
    fn is(&self, value: Value, op: Op) -> Option<(Value, Value)> {
        operands(self.func, value, op)
    }

    /// A value and the constant that the op combines it with.
    fn with_constant(&self, value: Value, op: Op) -> Option<(Value, i64)> {
        let (x, c) = self.is(value, op)?;
        Some((x, self.int(c)?))
    }

    /// The instruction is this one instead, with the same result.
    fn set(&mut self, data: InstData) -> Outcome {
        let result = self.data().result;
        self.func.insts[self.inst] = InstData { result, ..data };
        Outcome::Again
    }

    fn set_op(&mut self, op: Op, args: &[Value]) -> Outcome {
        self.set(InstData::new(op, args))
    }

    /// op(a, constant).
    fn set_with(&mut self, op: Op, a: Value, c: i64) -> Outcome {
        let c = self.out.int(self.func, c);
        self.set_op(op, &[a, c])
    }

    fn set_int(&mut self, value: i64) -> Outcome {
        self.set(InstData::new(Op::Iconst, &[]).imm(value))
    }

    fn set_bool(&mut self, value: bool) -> Outcome {
        self.set_int(i64::from(value))
    }

    fn set_float(&mut self, value: f64) -> Outcome {
        self.set(InstData::new(Op::Fconst, &[]).imm(value.to_bits() as i64))
    }

    fn set_icmp(&mut self, cond: Cond, a: Value, b: Value) -> Outcome {
        self.set(InstData::new(Op::Icmp, &[a, b]).imm(cond as i64))
    }

    fn set_icmp_with(&mut self, cond: Cond, a: Value, c: i64) -> Outcome {
        let c = self.out.int(self.func, c);
        self.set_icmp(cond, a, c)
    }

    /// 1 if an int has 48 bits: (x << 16) >> 16 = x, compared under a condition.
    fn set_fits(&mut self, cond: Cond, x: Value) -> Outcome {
        let c = self.out.int(self.func, 16);
        let up = self.out.def(self.func, InstData::new(Op::Ishl, &[x, c]));
        let down = self.out.def(self.func, InstData::new(Op::IshrS, &[up, c]));
        self.set_icmp(cond, down, x)
    }
}

/// One rule, if one holds.
fn rules(func: &mut Function, out: &mut Rewriter, inst: Inst) -> Outcome {
    let op = func.insts[inst].op;
    let mut rule = Rule { func, out, inst };
    let r = &mut rule;
    match op {
        Op::Iadd
        | Op::Isub
        | Op::Imul
        | Op::Imulh
        | Op::Idiv
        | Op::Irem
        | Op::Iand
        | Op::Ior
        | Op::Ixor
        | Op::Ishl
        | Op::IshrS
        | Op::IshrU
        | Op::Imin
        | Op::Imax => int_binary(r, op),
        Op::IaddExit | Op::IsubExit | Op::ImulExit => checked(r, op),
        Op::IaddOverflows | Op::IsubOverflows | Op::ImulOverflows => overflows(r, op),
        Op::Iextend32 => extend(r),
        Op::Icmp => icmp(r),
        Op::SelectInt | Op::SelectFloat | Op::SelectCell => select(r, op),
        Op::Fadd | Op::Fsub | Op::Fmul | Op::Fdiv | Op::Fmin | Op::Fmax => float_binary(r, op),
        Op::Fneg | Op::Fabs | Op::Fsqrt | Op::Ffloor | Op::Fceil | Op::Ftrunc => float_unary(r, op),
        Op::Fcmp => fcmp(r),
        Op::FfromInt | Op::IfromFloat | Op::FfromBits | Op::IfromBits => convert(r, op),
        Op::BoxFloat | Op::BoxBool | Op::BoxSmall | Op::BoxInt => boxes(r, op),
        Op::Bits | Op::IsSmall | Op::IsFloat | Op::IsObject | Op::SmallInt | Op::CellFloat => of_cell(r, op),
        Op::StringLen | Op::AsciiLen => string_len(r, op),
        Op::Same => same(r),
        Op::Load => load(r),
        Op::Guard => guard(r),
        Op::Branch => branch(r),
        Op::Iconst
        | Op::Fconst
        | Op::Cconst
        | Op::Fcall1
        | Op::Fcall2
        | Op::OfBits
        | Op::AsciiBase
        | Op::Context
        | Op::LoadAt
        | Op::Store
        | Op::StoreAt
        | Op::StoreCell
        | Op::StoreCellAt
        | Op::Code
        | Op::Constant
        | Op::Stack
        | Op::Poll
        | Op::Charge
        | Op::Call
        | Op::CallClosure
        | Op::Routine
        | Op::Helper
        | Op::Alloc
        | Op::Make
        | Op::Virtual
        | Op::Jump
        | Op::Switch
        | Op::Return
        | Op::Exit => Outcome::Keep,
    }
}

/// The result for constants, where the op is defined for them.
fn int_constant(op: Op, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        Op::Iadd => scalar::int_add(a, b),
        Op::Isub => scalar::int_sub(a, b),
        Op::Imul => scalar::int_mul(a, b),
        Op::Imulh => ((i128::from(a) * i128::from(b)) >> 64) as i64,
        Op::Idiv => scalar::int_div(a, b).ok()?,
        Op::Irem => scalar::int_rem(a, b).ok()?,
        Op::Iand => scalar::int_and(a, b),
        Op::Ior => scalar::int_or(a, b),
        Op::Ixor => scalar::int_xor(a, b),
        Op::Ishl => scalar::int_shl(a, b),
        Op::IshrS => scalar::int_shr_s(a, b),
        Op::IshrU => scalar::int_shr_u(a, b),
        Op::Imin => scalar::int_min(a, b),
        Op::Imax => scalar::int_max(a, b),
        _ => return None,
    })
}

fn int_binary(r: &mut Rule<'_>, op: Op) -> Outcome {
    let (a, b) = (r.data().args[0], r.data().args[1]);
    let (ka, kb) = (r.int(a), r.int(b));
    if let (Some(x), Some(y)) = (ka, kb) {
        return int_constant(op, x, y).map_or(Outcome::Keep, |v| r.set_int(v));
    }
    // c . x = x . c
    if ka.is_some() && op.commutes() {
        return r.set_op(op, &[b, a]);
    }
    match op {
        Op::Iadd => add(r, a, b, kb),
        Op::Isub => subtract(r, a, b, ka, kb),
        Op::Imul => match kb {
            // x * 0 = 0; x * 1 = x; x * -1 = 0 - x
            Some(0) => Outcome::Value(b),
            Some(1) => Outcome::Value(a),
            Some(-1) => {
                let zero = r.out.int(r.func, 0);
                r.set_op(Op::Isub, &[zero, a])
            }
            // (x * c) * d = x * (c * d)
            Some(d) => match r.with_constant(a, Op::Imul) {
                Some((x, c)) => r.set_with(Op::Imul, x, c.wrapping_mul(d)),
                None => Outcome::Keep,
            },
            None => Outcome::Keep,
        },
        // x *h 0 = 0
        Op::Imulh if kb == Some(0) => Outcome::Value(b),
        Op::Idiv => match (ka, kb) {
            // x / 1 = x; x / -1 = 0 - x, x being no minimum; 0 / x = 0; x / x = 1, x being not 0
            (_, Some(1)) => Outcome::Value(a),
            (_, Some(-1)) => {
                let zero = r.out.int(r.func, 0);
                r.set_op(Op::Isub, &[zero, a])
            }
            (Some(0), _) => Outcome::Value(a),
            _ if a == b => r.set_int(1),
            _ => Outcome::Keep,
        },
        Op::Irem => match (ka, kb) {
            // x % 1 = x % -1 = 0; 0 % x = 0; x % x = 0
            (_, Some(1 | -1)) => r.set_int(0),
            (Some(0), _) => Outcome::Value(a),
            _ if a == b => r.set_int(0),
            _ => Outcome::Keep,
        },
        Op::Iand => match kb {
            // x & 0 = 0; x & -1 = x; x & x = x; b & 1 = b for booleans
            Some(0) => Outcome::Value(b),
            Some(-1) => Outcome::Value(a),
            Some(1) if is_bool(r.func, a) => Outcome::Value(a),
            // (x & c) & d = x & (c & d)
            Some(d) => match r.with_constant(a, Op::Iand) {
                Some((x, c)) => r.set_with(Op::Iand, x, c & d),
                None => Outcome::Keep,
            },
            None if a == b => Outcome::Value(a),
            None => Outcome::Keep,
        },
        Op::Ior => match kb {
            // x | 0 = x; x | -1 = -1; x | x = x; b | 1 = 1 for booleans
            Some(0) => Outcome::Value(a),
            Some(-1) => Outcome::Value(b),
            Some(1) if is_bool(r.func, a) => Outcome::Value(b),
            // (x | c) | d = x | (c | d)
            Some(d) => match r.with_constant(a, Op::Ior) {
                Some((x, c)) => r.set_with(Op::Ior, x, c | d),
                None => Outcome::Keep,
            },
            None if a == b => Outcome::Value(a),
            None => Outcome::Keep,
        },
        Op::Ixor => match kb {
            // x ^ 0 = x; x ^ x = 0; b ^ 1 = (b = 0) for booleans
            Some(0) => Outcome::Value(a),
            Some(1) if is_bool(r.func, a) => r.set_icmp_with(Cond::Eq, a, 0),
            // (x ^ c) ^ d = x ^ (c ^ d)
            Some(d) => match r.with_constant(a, Op::Ixor) {
                Some((x, c)) => r.set_with(Op::Ixor, x, c ^ d),
                None => Outcome::Keep,
            },
            None if a == b => r.set_int(0),
            None => Outcome::Keep,
        },
        Op::Ishl | Op::IshrS | Op::IshrU => shift(r, op, a, ka, kb),
        Op::Imin | Op::Imax => match kb {
            // min(x, x) = x; min(x, least) = least; min(x, largest) = x; likewise for max
            _ if a == b => Outcome::Value(a),
            Some(i64::MIN) => Outcome::Value(if op == Op::Imin { b } else { a }),
            Some(i64::MAX) => Outcome::Value(if op == Op::Imin { a } else { b }),
            // min(min(x, c), d) = min(x, min(c, d))
            Some(d) => match r.with_constant(a, op) {
                Some((x, c)) => r.set_with(op, x, if op == Op::Imin { c.min(d) } else { c.max(d) }),
                None => Outcome::Keep,
            },
            None => Outcome::Keep,
        },
        _ => Outcome::Keep,
    }
}

fn add(r: &mut Rule<'_>, a: Value, b: Value, kb: Option<i64>) -> Outcome {
    if let Some(d) = kb {
        // x + 0 = x
        if d == 0 {
            return Outcome::Value(a);
        }
        // (x + c) + d = x + (c + d)
        if let Some((x, c)) = r.with_constant(a, Op::Iadd) {
            return r.set_with(Op::Iadd, x, c.wrapping_add(d));
        }
        // (c - x) + d = (c + d) - x
        if let Some((c, x)) = r.is(a, Op::Isub)
            && let Some(c) = r.int(c)
        {
            let c = r.out.int(r.func, c.wrapping_add(d));
            return r.set_op(Op::Isub, &[c, x]);
        }
        return Outcome::Keep;
    }
    // x + (0 - y) = x - y; (0 - y) + x = x - y
    for (x, y) in [(a, b), (b, a)] {
        if let Some((zero, y)) = r.is(y, Op::Isub)
            && r.int(zero) == Some(0)
        {
            return r.set_op(Op::Isub, &[x, y]);
        }
    }
    // (x - y) + y = x; y + (x - y) = x
    for (x, y) in [(a, b), (b, a)] {
        if let Some((x, z)) = r.is(x, Op::Isub)
            && z == y
        {
            return Outcome::Value(x);
        }
    }
    Outcome::Keep
}

fn subtract(r: &mut Rule<'_>, a: Value, b: Value, ka: Option<i64>, kb: Option<i64>) -> Outcome {
    // x - x = 0
    if a == b {
        return r.set_int(0);
    }
    // x - c = x + -c
    if let Some(c) = kb {
        return r.set_with(Op::Iadd, a, c.wrapping_neg());
    }
    if let Some(c) = ka {
        // c - (x + d) = (c - d) - x
        if let Some((x, d)) = r.with_constant(b, Op::Iadd) {
            let c = r.out.int(r.func, c.wrapping_sub(d));
            return r.set_op(Op::Isub, &[c, x]);
        }
        // c - (d - x) = x + (c - d)
        if let Some((d, x)) = r.is(b, Op::Isub)
            && let Some(d) = r.int(d)
        {
            return r.set_with(Op::Iadd, x, c.wrapping_sub(d));
        }
    }
    // (x + y) - x = y; (x + y) - y = x
    if let Some((x, y)) = r.is(a, Op::Iadd) {
        if x == b {
            return Outcome::Value(y);
        }
        if y == b {
            return Outcome::Value(x);
        }
    }
    // x - (x - y) = y
    if let Some((x, y)) = r.is(b, Op::Isub)
        && x == a
    {
        return Outcome::Value(y);
    }
    Outcome::Keep
}

fn shift(r: &mut Rule<'_>, op: Op, a: Value, ka: Option<i64>, kb: Option<i64>) -> Outcome {
    // 0 . x = 0; -1 >> x = -1
    if ka == Some(0) || ka == Some(-1) && op == Op::IshrS {
        return Outcome::Value(a);
    }
    let Some(d) = kb else { return Outcome::Keep };
    // x . c = x . (c & 63); x . 0 = x
    if d & 63 != d {
        return r.set_with(op, a, d & 63);
    }
    if d == 0 {
        return Outcome::Value(a);
    }
    // (x . c) . d = x . (c + d)
    if let Some((x, c)) = r.with_constant(a, op) {
        let sum = (c & 63) + d;
        return match op {
            _ if sum < 64 => r.set_with(op, x, sum),
            Op::IshrS => r.set_with(op, x, 63),
            _ => r.set_int(0),
        };
    }
    Outcome::Keep
}

/// Checked ops that cannot leave are plain ones.
fn checked(r: &mut Rule<'_>, op: Op) -> Outcome {
    let (a, b) = (r.data().args[0], r.data().args[1]);
    let (ka, kb) = (r.int(a), r.int(b));
    if let (Some(x), Some(y)) = (ka, kb) {
        let result = match op {
            Op::IaddExit => scalar::int_add_checked(x, y),
            Op::IsubExit => scalar::int_sub_checked(x, y),
            _ => scalar::int_mul_checked(x, y),
        };
        // One that always leaves stays: its result is needed where it stands.
        return result.map_or(Outcome::Keep, |v| r.set_int(v));
    }
    if ka.is_some() && op.commutes() {
        let data = InstData { args: [b, a].as_slice().into(), ..r.data().clone() };
        return r.set(data);
    }
    match (op, kb) {
        // x + 0 = x - 0 = x * 1 = x; x * 0 = 0; x - x = 0
        (Op::IaddExit | Op::IsubExit, Some(0)) | (Op::ImulExit, Some(1)) => Outcome::Value(a),
        (Op::ImulExit, Some(0)) => Outcome::Value(b),
        (Op::IsubExit, _) if a == b => r.set_int(0),
        _ => Outcome::Keep,
    }
}

fn overflows(r: &mut Rule<'_>, op: Op) -> Outcome {
    let (a, b) = (r.data().args[0], r.data().args[1]);
    let (ka, kb) = (r.int(a), r.int(b));
    if let (Some(x), Some(y)) = (ka, kb) {
        let result = match op {
            Op::IaddOverflows => scalar::int_add_checked(x, y),
            Op::IsubOverflows => scalar::int_sub_checked(x, y),
            _ => scalar::int_mul_checked(x, y),
        };
        return r.set_bool(result.is_err());
    }
    if ka.is_some() && op.commutes() {
        return r.set_op(op, &[b, a]);
    }
    match (op, kb) {
        // x + 0, x - 0, x * 0, x * 1, x - x fit
        (Op::IaddOverflows | Op::IsubOverflows, Some(0)) | (Op::ImulOverflows, Some(0 | 1)) => r.set_int(0),
        (Op::IsubOverflows, _) if a == b => r.set_int(0),
        _ => Outcome::Keep,
    }
}

fn extend(r: &mut Rule<'_>) -> Outcome {
    let a = r.data().args[0];
    if let Some(x) = r.int(a) {
        return r.set_int(scalar::int_extend32(x));
    }
    // extend(extend(x)) = extend(x); extend(x) = x where x is between 0 and 2^31
    let small = match r.func.def(a) {
        Some(d) if d.op == Op::Iextend32 => true,
        Some(d) if d.op == Op::Load || d.op == Op::LoadAt => {
            d.access.is_some_and(|a| matches!(a.width, Width::U8 | Width::U16))
        }
        Some(d) if d.op == Op::Iand => r.int(d.args[1]).is_some_and(|c| (0..1 << 31).contains(&c)),
        Some(d) if d.op == Op::IshrU => r.int(d.args[1]).is_some_and(|c| c & 63 > 32),
        _ => is_bool(r.func, a),
    };
    if small {
        return Outcome::Value(a);
    }
    // extend(x & c) = extend(x) where the low 32 bits of c are set
    if let Some((x, c)) = r.with_constant(a, Op::Iand)
        && c as u32 == u32::MAX
    {
        return r.set_op(Op::Iextend32, &[x]);
    }
    Outcome::Keep
}

/// Whether a comparison of ints holds.
pub(crate) fn holds(cond: Cond, a: i64, b: i64) -> bool {
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Ult => (a as u64) < b as u64,
        Cond::Ule => a as u64 <= b as u64,
        Cond::Ugt => a as u64 > b as u64,
        Cond::Uge => a as u64 >= b as u64,
    }
}

fn icmp(r: &mut Rule<'_>) -> Outcome {
    let cond = r.data().cond();
    let (a, b) = (r.data().args[0], r.data().args[1]);
    let (ka, kb) = (r.int(a), r.int(b));
    if let (Some(x), Some(y)) = (ka, kb) {
        return r.set_bool(holds(cond, x, y));
    }
    // x . x
    if a == b {
        return r.set_bool(holds(cond, 0, 0));
    }
    // c . x = x .' c
    if ka.is_some() {
        return r.set_icmp(cond.swapped(), b, a);
    }
    let Some(c) = kb else {
        return match cond {
            // (x - y) . 0 is below; x + y = x is y = 0; x + y = x + z is y = z
            Cond::Eq | Cond::Ne => {
                for (sum, other) in [(a, b), (b, a)] {
                    if let Some((x, y)) = r.is(sum, Op::Iadd) {
                        if x == other {
                            return r.set_icmp_with(cond, y, 0);
                        }
                        if y == other {
                            return r.set_icmp_with(cond, x, 0);
                        }
                    }
                }
                Outcome::Keep
            }
            _ => Outcome::Keep,
        };
    };
    match cond {
        // x < least, x <u 0 never hold, and their negations always
        Cond::Lt if c == i64::MIN => return r.set_int(0),
        Cond::Ge if c == i64::MIN => return r.set_int(1),
        Cond::Gt if c == i64::MAX => return r.set_int(0),
        Cond::Le if c == i64::MAX => return r.set_int(1),
        Cond::Ult if c == 0 => return r.set_int(0),
        Cond::Uge if c == 0 => return r.set_int(1),
        Cond::Ugt if c == -1 => return r.set_int(0),
        Cond::Ule if c == -1 => return r.set_int(1),
        // x <= c = x < c + 1; x > c = x >= c + 1
        Cond::Le => return r.set_icmp_with(Cond::Lt, a, c + 1),
        Cond::Gt => return r.set_icmp_with(Cond::Ge, a, c + 1),
        Cond::Ule => return r.set_icmp_with(Cond::Ult, a, c.wrapping_add(1)),
        Cond::Ugt => return r.set_icmp_with(Cond::Uge, a, c.wrapping_add(1)),
        // x <u 1 = (x = 0)
        Cond::Ult if c == 1 => return r.set_icmp_with(Cond::Eq, a, 0),
        Cond::Uge if c == 1 => return r.set_icmp_with(Cond::Ne, a, 0),
        _ => {}
    }
    if matches!(cond, Cond::Eq | Cond::Ne) {
        if is_bool(r.func, a) {
            // (b != 0) = (b = 1) = b; (b = 0) = (b != 1) = not b
            let same = match c {
                0 => cond == Cond::Ne,
                1 => cond == Cond::Eq,
                _ => return r.set_bool(cond == Cond::Ne),
            };
            if same {
                return Outcome::Value(a);
            }
            if c == 1 {
                return r.set_icmp_with(Cond::Eq, a, 0);
            }
            // not (x . y) = x .' y
            let data = r.func.def(a).filter(|d| matches!(d.op, Op::Icmp | Op::Fcmp));
            if let Some(data) = data {
                let data = data.clone();
                let negated = data.cond().negated() as i64;
                return r.set(InstData { imm: negated, ..data });
            }
            return Outcome::Keep;
        }
        // x + d = c is x = c - d
        if let Some((x, d)) = r.with_constant(a, Op::Iadd) {
            return r.set_icmp_with(cond, x, c.wrapping_sub(d));
        }
        // x ^ d = c is x = c ^ d
        if let Some((x, d)) = r.with_constant(a, Op::Ixor) {
            return r.set_icmp_with(cond, x, c ^ d);
        }
        // x - y = 0 is x = y, and so is x ^ y = 0
        if c == 0
            && let Some((x, y)) = r.is(a, Op::Isub).or_else(|| r.is(a, Op::Ixor))
        {
            return r.set_icmp(cond, x, y);
        }
        // x % 2^k = 0 is x & (2^k - 1) = 0
        if c == 0
            && let Some((x, d)) = r.with_constant(a, Op::Irem)
            && d.unsigned_abs().is_power_of_two()
        {
            let mask = r.out.int(r.func, (d.unsigned_abs() - 1) as i64);
            let low = r.out.def(r.func, InstData::new(Op::Iand, &[x, mask]));
            return r.set_icmp_with(cond, low, 0);
        }
        // d - x = c is x = d - c
        if let Some((d, x)) = r.is(a, Op::Isub)
            && let Some(d) = r.int(d)
        {
            return r.set_icmp_with(cond, x, d.wrapping_sub(c));
        }
    }
    Outcome::Keep
}

fn select(r: &mut Rule<'_>, op: Op) -> Outcome {
    let (c, x, y) = (r.data().args[0], r.data().args[1], r.data().args[2]);
    // 0 ? x : y = y; c ? x : x = x
    if let Some(k) = r.int(c) {
        return Outcome::Value(if k != 0 { x } else { y });
    }
    if x == y {
        return Outcome::Value(x);
    }
    // (a = 0) ? x : y = a ? y : x; (a != 0) ? x : y = a ? x : y
    if let Some((a, zero)) = r.is(c, Op::Icmp)
        && r.int(zero) == Some(0)
    {
        match r.func.def(c).map(InstData::cond) {
            Some(Cond::Eq) => return r.set_op(op, &[a, y, x]),
            Some(Cond::Ne) => return r.set_op(op, &[a, x, y]),
            _ => {}
        }
    }
    match op {
        Op::SelectInt => {
            // b ? 1 : 0 = b; b ? 0 : 1 = not b
            match (r.int(x), r.int(y)) {
                (Some(1), Some(0)) if is_bool(r.func, c) => return Outcome::Value(c),
                (Some(1), Some(0)) => return r.set_icmp(Cond::Ne, c, y),
                (Some(0), Some(1)) => return r.set_icmp(Cond::Eq, c, x),
                _ => {}
            }
            // x < y ? x : y = min(x, y), and so on
            if let Some((a, b)) = r.is(c, Op::Icmp) {
                let cond = r.func.def(c).map(InstData::cond);
                let min = match cond {
                    Some(Cond::Lt | Cond::Le) => true,
                    Some(Cond::Gt | Cond::Ge) => false,
                    _ => return Outcome::Keep,
                };
                if (a, b) == (x, y) {
                    return r.set_op(if min { Op::Imin } else { Op::Imax }, &[x, y]);
                }
                if (a, b) == (y, x) {
                    return r.set_op(if min { Op::Imax } else { Op::Imin }, &[x, y]);
                }
            }
            Outcome::Keep
        }
        Op::SelectFloat => {
            // b < a ? b : a = fmin(a, b); a < b ? b : a = fmax(a, b)
            if let Some((a, b)) = r.is(c, Op::Fcmp)
                && r.func.def(c).is_some_and(|d| d.cond() == Cond::Lt)
            {
                if (a, b) == (x, y) {
                    return r.set_op(Op::Fmin, &[y, x]);
                }
                if (a, b) == (y, x) {
                    return r.set_op(Op::Fmax, &[y, x]);
                }
            }
            Outcome::Keep
        }
        _ => Outcome::Keep,
    }
}

fn float_binary(r: &mut Rule<'_>, op: Op) -> Outcome {
    let (a, b) = (r.data().args[0], r.data().args[1]);
    let (ka, kb) = (r.float(a), r.float(b));
    if let (Some(x), Some(y)) = (ka, kb) {
        let value = match op {
            Op::Fadd => scalar::float_add(x, y),
            Op::Fsub => scalar::float_sub(x, y),
            Op::Fmul => scalar::float_mul(x, y),
            Op::Fdiv => scalar::float_div(x, y),
            Op::Fmin => scalar::float_min(x, y),
            _ => scalar::float_max(x, y),
        };
        return r.set_float(value);
    }
    if ka.is_some() && op.commutes() {
        return r.set_op(op, &[b, a]);
    }
    // min(x, x) = x
    if matches!(op, Op::Fmin | Op::Fmax) && a == b {
        return Outcome::Value(a);
    }
    let Some(c) = kb else { return Outcome::Keep };
    let negative_zero = c == 0.0 && c.is_sign_negative();
    match op {
        // x + -0 = x - 0 = x * 1 = x / 1 = x
        Op::Fadd if negative_zero => Outcome::Value(a),
        Op::Fsub if c == 0.0 && !negative_zero => Outcome::Value(a),
        Op::Fmul | Op::Fdiv if c == 1.0 => Outcome::Value(a),
        // x / 2^k = x * 2^-k, both being exact
        Op::Fdiv if c.is_normal() && (1.0 / c).is_normal() && c.to_bits() << 12 == 0 => {
            let inverse = InstData::new(Op::Fconst, &[]).imm((1.0 / c).to_bits() as i64);
            let inverse = r.out.def(r.func, inverse);
            r.set_op(Op::Fmul, &[a, inverse])
        }
        _ => Outcome::Keep,
    }
}

fn float_unary(r: &mut Rule<'_>, op: Op) -> Outcome {
    let a = r.data().args[0];
    if let Some(x) = r.float(a) {
        let value = match op {
            Op::Fneg => scalar::float_neg(x),
            Op::Fabs => scalar::float_abs(x),
            Op::Fsqrt => scalar::float_sqrt(x),
            Op::Ffloor => scalar::float_floor(x),
            Op::Fceil => scalar::float_ceil(x),
            _ => scalar::float_trunc(x),
        };
        return r.set_float(value);
    }
    match (op, r.op_of(a)) {
        // -(-x) = x; ||x|| = |x|; |-x| = |x|
        (Op::Fneg, Some(Op::Fneg)) => Outcome::Value(r.func.def(a).map_or(a, |d| d.args[0])),
        (Op::Fabs, Some(Op::Fabs)) => Outcome::Value(a),
        (Op::Fabs, Some(Op::Fneg)) => {
            let x = r.func.def(a).map_or(a, |d| d.args[0]);
            r.set_op(Op::Fabs, &[x])
        }
        // What is integral stays under rounding.
        (Op::Ffloor | Op::Fceil | Op::Ftrunc, Some(Op::Ffloor | Op::Fceil | Op::Ftrunc | Op::FfromInt)) => {
            Outcome::Value(a)
        }
        _ => Outcome::Keep,
    }
}

/// Whether a comparison of floats holds.
pub(crate) fn float_holds(cond: Cond, a: f64, b: f64) -> Option<bool> {
    Some(match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Gt => a.partial_cmp(&b).is_none_or(|o| o.is_gt()),
        Cond::Ge => a.partial_cmp(&b).is_none_or(|o| o.is_ge()),
        Cond::Ult | Cond::Ule | Cond::Ugt | Cond::Uge => return None,
    })
}

fn fcmp(r: &mut Rule<'_>) -> Outcome {
    let cond = r.data().cond();
    let (a, b) = (r.data().args[0], r.data().args[1]);
    match (r.float(a), r.float(b)) {
        (Some(x), Some(y)) => match float_holds(cond, x, y) {
            Some(holds) => r.set_bool(holds),
            None => Outcome::Keep,
        },
        // x < x never holds, nor with NaN; its negation always does
        _ if a == b && cond == Cond::Lt => r.set_int(0),
        _ if a == b && cond == Cond::Ge => r.set_int(1),
        _ => Outcome::Keep,
    }
}

fn convert(r: &mut Rule<'_>, op: Op) -> Outcome {
    let a = r.data().args[0];
    let inner = |r: &Rule<'_>| r.func.def(a).map(|d| d.args[0]);
    match op {
        Op::FfromInt => match r.int(a) {
            Some(x) => r.set_float(x as f64),
            None => Outcome::Keep,
        },
        Op::IfromFloat => match r.float(a).map(scalar::int_from_float) {
            Some(Ok(x)) => r.set_int(x),
            _ => Outcome::Keep,
        },
        Op::FfromBits => match (r.int(a), r.op_of(a)) {
            (Some(x), _) => r.set_float(f64::from_bits(x as u64)),
            // from_bits(bits(x)) = x
            (_, Some(Op::IfromBits)) => inner(r).map_or(Outcome::Keep, Outcome::Value),
            _ => Outcome::Keep,
        },
        _ => match (r.float(a), r.op_of(a)) {
            (Some(x), _) => r.set_int(x.to_bits() as i64),
            (_, Some(Op::FfromBits)) => inner(r).map_or(Outcome::Keep, Outcome::Value),
            _ => Outcome::Keep,
        },
    }
}

fn boxes(r: &mut Rule<'_>, op: Op) -> Outcome {
    let a = r.data().args[0];
    let cell = match op {
        Op::BoxFloat => r.float(a).map(Cell::float),
        Op::BoxBool => r.int(a).map(|x| Cell::bool(x != 0)),
        // A wide int is an object.
        _ => r.int(a).and_then(Cell::small_int),
    };
    match cell {
        Some(cell) => r.set(InstData::new(Op::Cconst, &[]).imm(cell.bits() as i64)),
        None if op == Op::BoxBool => match (r.is(a, Op::Icmp), r.func.def(a)) {
            // box_bool(x != 0) = box_bool(x)
            (Some((x, zero)), Some(d)) if d.cond() == Cond::Ne && r.int(zero) == Some(0) => {
                r.set_op(Op::BoxBool, &[x])
            }
            _ => Outcome::Keep,
        },
        None => Outcome::Keep,
    }
}

fn of_cell(r: &mut Rule<'_>, op: Op) -> Outcome {
    let a = r.data().args[0];
    let Some(def) = r.func.def(a) else { return Outcome::Keep };
    let (made, x, imm) = (def.op, def.args.first().copied(), def.imm);
    if made == Op::Cconst {
        let cell = Cell::from_bits(imm as u64);
        return match op {
            Op::Bits => r.set_int(imm),
            Op::IsSmall => r.set_bool(cell.is_small_int()),
            Op::IsFloat => r.set_bool(cell.is_float()),
            // Constants are no addresses.
            Op::IsObject => r.set_int(0),
            Op::SmallInt => r.set_int(cell.small_int_of()),
            _ if cell.is_float() => {
                let bits = (imm as u64).wrapping_sub(cells::FLOAT_OFFSET);
                r.set_float(f64::from_bits(bits))
            }
            _ => Outcome::Keep,
        };
    }
    if made == Op::SelectCell {
        return of_choice(r, op);
    }
    let kind = match made {
        Op::BoxSmall => Op::IsSmall,
        Op::BoxFloat => Op::IsFloat,
        Op::Alloc | Op::Make => Op::IsObject,
        Op::BoxBool => Op::BoxBool,
        Op::BoxInt => Op::BoxInt,
        Op::OfBits if op == Op::IsObject => return r.set_int(0),
        Op::OfBits if op == Op::Bits => return x.map_or(Outcome::Keep, Outcome::Value),
        _ => return Outcome::Keep,
    };
    match (op, made, x) {
        // The int or float in a box of it. Of a wide int it is any int, so the int itself will do.
        (Op::SmallInt, Op::BoxSmall | Op::BoxInt, Some(x)) | (Op::CellFloat, Op::BoxFloat, Some(x)) => {
            Outcome::Value(x)
        }
        // bits(box_bool(x)) = (x != 0) + bits(false)
        (Op::Bits, Op::BoxBool, Some(x)) => {
            let mut truth = x;
            if !is_bool(r.func, x) {
                let zero = r.out.int(r.func, 0);
                truth = r.out.def(r.func, InstData::new(Op::Icmp, &[x, zero]).imm(Cond::Ne as i64));
            }
            r.set_with(Op::Iadd, truth, Cell::FALSE.bits() as i64)
        }
        // is_small(box_int(x)) = x fits 48 bits; is_object is the negation
        (Op::IsSmall, Op::BoxInt, Some(x)) => r.set_fits(Cond::Eq, x),
        (Op::IsObject, Op::BoxInt, Some(x)) => r.set_fits(Cond::Ne, x),
        (Op::IsSmall | Op::IsFloat | Op::IsObject, ..) => r.set_bool(kind == op),
        _ => Outcome::Keep,
    }
}

/// What is asked of a choice of two boxes is a choice of what is known of them.
fn of_choice(r: &mut Rule<'_>, op: Op) -> Outcome {
    let Some(choice) = r.func.def(r.data().args[0]) else { return Outcome::Keep };
    let c = choice.args[0];
    let inner = |v: Value| r.func.def(v).and_then(|d| Some((d.op, *d.args.first()?)));
    let (Some((a, x)), Some((b, y))) = (inner(choice.args[1]), inner(choice.args[2])) else {
        return Outcome::Keep;
    };
    let boxes = |op| matches!(op, Op::BoxSmall | Op::BoxFloat | Op::BoxBool);
    if !boxes(a) || !boxes(b) {
        return Outcome::Keep;
    }
    match op {
        Op::IsObject => r.set_int(0),
        Op::IsSmall | Op::IsFloat => {
            let made = if op == Op::IsSmall { Op::BoxSmall } else { Op::BoxFloat };
            match (a == made, b == made) {
                (x, y) if x == y => r.set_bool(x),
                (true, _) => r.set_icmp_with(Cond::Ne, c, 0),
                (false, _) => r.set_icmp_with(Cond::Eq, c, 0),
            }
        }
        // Of a cell that is something else any value will do.
        Op::SmallInt => match (a == Op::BoxSmall, b == Op::BoxSmall) {
            (true, true) => r.set_op(Op::SelectInt, &[c, x, y]),
            (true, false) => Outcome::Value(x),
            (false, true) => Outcome::Value(y),
            (false, false) => r.set_int(0),
        },
        Op::CellFloat => match (a == Op::BoxFloat, b == Op::BoxFloat) {
            (true, true) => r.set_op(Op::SelectFloat, &[c, x, y]),
            (true, false) => Outcome::Value(x),
            (false, true) => Outcome::Value(y),
            (false, false) => r.set_float(0.0),
        },
        _ => Outcome::Keep,
    }
}

/// The length of a short string.
fn string_len(r: &mut Rule<'_>, op: Op) -> Outcome {
    let Some(def) = r.func.def(r.data().args[0]) else { return Outcome::Keep };
    match def.op {
        made if op == Op::AsciiLen && made.info().plain => r.set_int(0),
        Op::Cconst => {
            let cell = Cell::from_bits(def.imm as u64);
            if !cell.is_short_string() {
                return Outcome::Keep;
            }
            r.set_int(upshift_runtime::string::count_scalars(cell.short_bytes()) as i64)
        }
        _ => Outcome::Keep,
    }
}

fn same(r: &mut Rule<'_>) -> Outcome {
    let (mut a, mut b) = (r.data().args[0], r.data().args[1]);
    if a == b {
        return r.set_int(1);
    }
    let constant =
        |r: &Rule<'_>, v| r.func.def(v).filter(|d| d.op == Op::Cconst).map(|d| Cell::from_bits(d.imm as u64));
    if constant(r, a).is_some() {
        (a, b) = (b, a);
    }
    let Some(def) = r.func.def(a) else { return Outcome::Keep };
    let (made, x) = (def.op, def.args.first().copied());
    if let Some(k) = constant(r, b) {
        if let Some(c) = constant(r, a) {
            return r.set_bool(c == k);
        }
        return match (made, x) {
            (Op::BoxBool, Some(x)) if k == Cell::TRUE => r.set_icmp_with(Cond::Ne, x, 0),
            (Op::BoxBool, Some(x)) if k == Cell::FALSE => r.set_icmp_with(Cond::Eq, x, 0),
            // An int's cell is the constant's where the int is; that of a wide one is an object.
            (Op::BoxSmall | Op::BoxInt, Some(x)) => match k.as_small_int() {
                Some(i) => r.set_icmp_with(Cond::Eq, x, i),
                None => r.set_int(0),
            },
            (Op::OfBits, Some(x)) => r.set_icmp_with(Cond::Eq, x, k.bits() as i64),
            (Op::BoxFloat, _) if !k.is_float() => r.set_int(0),
            (Op::BoxBool | Op::Alloc | Op::Make, _) => r.set_int(0),
            _ => Outcome::Keep,
        };
    }
    match (made, x, r.func.def(b).map(|d| (d.op, d.args.first().copied()))) {
        (Op::BoxSmall, Some(x), Some((Op::BoxSmall, Some(y))))
        | (Op::OfBits, Some(x), Some((Op::OfBits, Some(y)))) => r.set_icmp(Cond::Eq, x, y),
        // Two objects that are made are two.
        (Op::Alloc | Op::Make, _, Some((Op::Alloc | Op::Make, _))) => r.set_int(0),
        _ => Outcome::Keep,
    }
}

/// What never changes in an object that is made here: its first word.
fn load(r: &mut Rule<'_>) -> Outcome {
    let data = r.data();
    let (base, offset) = (data.args[0], data.imm);
    let Some(access) = data.access.filter(|a| a.class == Class::Fixed) else { return Outcome::Keep };
    let Some(made) = r.func.def(base).filter(|d| matches!(d.op, Op::Alloc | Op::Make)) else {
        return Outcome::Keep;
    };
    let bytes = i64::from(access.width.bytes());
    let raw = matches!(access.width, Width::U8 | Width::U16 | Width::U32 | Width::Int);
    if !raw || offset < 0 || offset + bytes > 8 {
        return Outcome::Keep;
    }
    let word = made.imm as u64 >> (8 * offset);
    let mask = if bytes == 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 };
    r.set_int((word & mask) as i64)
}

fn guard(r: &mut Rule<'_>) -> Outcome {
    let a = r.data().args[0];
    match r.int(a) {
        Some(0) => {
            // The reason and the state stay.
            let data = InstData { op: Op::Exit, args: Default::default(), ..r.data().clone() };
            r.set(data);
            Outcome::Ends
        }
        Some(_) => Outcome::Drop,
        None => Outcome::Keep,
    }
}

fn branch(r: &mut Rule<'_>) -> Outcome {
    let a = r.data().args[0];
    // Constants are for `params.rs`, which changes blocks.
    if r.int(a).is_some() {
        return Outcome::Keep;
    }
    let Some((x, zero)) = r.is(a, Op::Icmp) else { return Outcome::Keep };
    if r.int(zero) != Some(0) || !is_bool(r.func, x) {
        return Outcome::Keep;
    }
    match r.func.def(a).map(InstData::cond) {
        // if (x = 0) p else q = if x q else p; if (x != 0) p else q = if x p else q
        Some(Cond::Eq) => r.func.insts[r.inst].targets.swap(0, 1),
        Some(Cond::Ne) => {}
        _ => return Outcome::Keep,
    }
    r.func.insts[r.inst].args[0] = x;
    Outcome::Again
}
