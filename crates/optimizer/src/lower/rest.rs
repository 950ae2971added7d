//! Quotients and remainders: those by constants made for loops that wait for them, both of one division from one, and whether there is
//! a remainder.
//!
//! Cranelift divides by a constant with a product's upper half, corrects the quotient by its own sign, and multiplies back; a loop whose
//! next turn needs the remainder waits for all of it, longer than for the processor's division. Here the correction is taken from the
//! dividend and given to the remainder instead, beside the products: two steps less to wait for. The numbers are those of Hacker's
//! Delight (Warren), chapter 10. Where the dividend is known not to be negative there is nothing to correct.
//!
//! Whether a constant divides a number is seen without dividing: times the inverse of its odd part modulo 2^64, multiples become
//! their quotients, which are few, and all others something else (Granlund and Montgomery, "Division by Invariant Integers using
//! Multiplication", PLDI 1994, section 9).

use cranelift_codegen::ir as clif;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, types};
use cranelift_entity::EntitySet;

use super::Lowering;
use crate::ir::{Cond, Function, Inst, InstData, Op, Value};

/// The quotients and remainders of which the same block has the other, too. Powers of two are left out: each is a few instructions then.
pub(super) fn paired(func: &Function) -> EntitySet<Inst> {
    let mut paired = EntitySet::new();
    for &block in &func.layout {
        let divides = |i: &&Inst| matches!(func.insts[**i].op, Op::Idiv | Op::Irem);
        let divisions: Vec<Inst> = func.blocks[block].insts.iter().filter(divides).copied().collect();
        for &inst in &divisions {
            let data = &func.insts[inst];
            let simple = func.int_const(data.args[1]).is_some_and(|d| d < 3 || d.count_ones() == 1);
            let other = |&i: &Inst| func.insts[i].op != data.op && func.insts[i].args == data.args;
            if !simple && divisions.iter().any(other) {
                paired.insert(inst);
            }
        }
    }
    paired
}

/// The remainders by constants that are nothing but compared with 0, and are not one of a pair.
pub(super) fn tested(func: &Function, paired: &EntitySet<Inst>) -> EntitySet<Value> {
    let insts = || func.layout.iter().flat_map(|&b| &func.blocks[b].insts).map(|&i| (i, &func.insts[i]));
    let by_constant = insts().filter(|(inst, data)| {
        let divisor = || func.int_const(data.args[1]).filter(|&d| d >= 3 && d.count_ones() != 1);
        data.op == Op::Irem && divisor().is_some() && !paired.contains(*inst)
    });
    let mut tested: EntitySet<Value> = EntitySet::new();
    tested.extend(by_constant.filter_map(|(_, data)| data.result.expand()));
    if tested.is_empty() {
        return tested;
    }
    for (_, data) in insts() {
        let test = is_test(func, data);
        let args = data.args.iter().chain(data.targets.iter().flat_map(|t| &t.args));
        args.filter(|&&v| test != Some(v)).for_each(|&v| {
            tested.remove(v);
        });
    }
    for &(_, v) in func.states.values().flat_map(|s| &s.slots) {
        tested.remove(v);
    }
    tested
}

/// What an instruction compares with 0 for being equal, or not.
pub(super) fn is_test(func: &Function, data: &InstData) -> Option<Value> {
    let equality = data.op == Op::Icmp && matches!(data.cond(), Cond::Eq | Cond::Ne);
    (equality && func.int_const(data.args[1]) == Some(0)).then(|| data.args[0])
}

/// For a divisor of at least 3 that is no power of two: what the odd part of it has to be multiplied by for 1 modulo 2^64, how often 2 is
/// in it, and the largest quotient.
fn inverse(d: i64) -> (i64, u32, i64) {
    let twos = d.trailing_zeros();
    let odd = d >> twos;
    // Newton: each step doubles how many bits are right, of which there are three at first.
    let inverse = (0..5).fold(odd, |x, _| x.wrapping_mul(2_i64.wrapping_sub(odd.wrapping_mul(x))));
    (inverse, twos, i64::MAX / d)
}

/// For a divisor of at least 3 that is no power of two, `m` and `s` such that `m * n / 2^(64 + s)`, rounded down, is `n / d` rounded down
/// for all n from 0 up, and one less than `n / d` rounded up for all below.
fn magic(d: u64) -> (u64, u32) {
    let d = u128::from(d);
    let mut s = 0;
    loop {
        let power = 1u128 << (64 + s);
        let excess = d - power % d;
        // The error of all dividends together is less than what they differ by.
        if excess <= 1 << (s + 1) {
            return ((power / d + 1) as u64, s);
        }
        s += 1;
    }
}

impl Lowering<'_, '_> {
    /// Dividend and divisor of a remainder that is only compared with 0.
    pub(super) fn tested_remainder(&self, value: Value) -> Option<(Value, i64)> {
        let data = self.func.def(value).filter(|_| self.tested.contains(value))?;
        Some((data.args[0], self.func.int_const(data.args[1])?))
    }

    /// A product with a constant of two or three instructions that are done sooner than a multiplication (strength reduction): one more
    /// or less than a power of two, times a power of two where that takes one address.
    pub(super) fn multiple(&mut self, n: clif::Value, c: i64) -> Option<clif::Value> {
        let twos = c.trailing_zeros();
        let odd = c.checked_shr(twos).filter(|&odd| odd >= 3)?;
        let one = match (odd - 1, odd.wrapping_add(1)) {
            (less, _) if less.count_ones() == 1 && (twos == 0 || less <= 8) => {
                let shifted = self.b.ins().ishl_imm_u(n, i64::from(less.trailing_zeros()));
                self.b.ins().iadd(n, shifted)
            }
            // Wraps for the largest.
            (_, more) if more.count_ones() == 1 && twos == 0 => {
                let shifted = self.b.ins().ishl_imm_u(n, i64::from(more.trailing_zeros()));
                self.b.ins().isub(shifted, n)
            }
            _ => return None,
        };
        Some(if twos == 0 { one } else { self.b.ins().ishl_imm_u(one, i64::from(twos)) })
    }

    /// Whether a number is a multiple of a constant, as a condition of Cranelift's.
    pub(super) fn divides(&mut self, n: clif::Value, d: i64, cond: Cond) -> clif::Value {
        let (inverse, twos, most) = inverse(d);
        let inverse = self.iconst(inverse);
        let quotient = self.b.ins().imul(n, inverse);
        // From the least quotient, which is as far from 0 as the largest.
        let from = self.iconst(most.wrapping_shl(twos));
        let mut above = self.b.ins().iadd(quotient, from);
        if twos != 0 {
            above = self.b.ins().rotr_imm_u(above, i64::from(twos));
        }
        let most = self.iconst(2_i64.wrapping_mul(most));
        let code = if cond == Cond::Eq { IntCC::UnsignedLessThanOrEqual } else { IntCC::UnsignedGreaterThan };
        self.b.ins().icmp(code, above, most)
    }

    /// The quotient of what is not negative by a constant of at least 3 that is no power of two.
    fn natural_quotient(&mut self, n: clif::Value, d: u64) -> clif::Value {
        let (m, s) = magic(d);
        let factor = self.iconst(m as i64);
        let high = self.b.ins().umulhi(n, factor);
        self.b.ins().ushr_imm_u(high, i64::from(s))
    }

    /// The quotient by a constant.
    pub(super) fn quotient_by(&mut self, n: clif::Value, d: i64, natural: bool) -> clif::Value {
        match u64::try_from(d) {
            Ok(d) if natural && d >= 3 && !d.is_power_of_two() => self.natural_quotient(n, d),
            _ => {
                let d = self.iconst(d);
                self.b.ins().sdiv(n, d)
            }
        }
    }

    /// The remainder by a constant, which has the dividend's sign; `None` for divisors that Cranelift does as well.
    pub(super) fn remainder(&mut self, n: clif::Value, d: i64, natural: bool) -> Option<clif::Value> {
        let positive = u64::try_from(d).ok().filter(|d| *d >= 3 && !d.is_power_of_two())?;
        if natural {
            let quotient = self.natural_quotient(n, positive);
            let divisor = self.iconst(d);
            let product = self.b.ins().imul(quotient, divisor);
            return Some(self.b.ins().isub(n, product));
        }
        let (m, s) = magic(positive);
        let factor = self.iconst(m as i64);
        let mut high = self.b.ins().smulhi(n, factor);
        if (m as i64) < 0 {
            high = self.b.ins().iadd(high, n);
        }
        let quotient = self.b.ins().sshr_imm_u(high, i64::from(s));
        let sign = self.b.ins().sshr_imm_u(n, 63);
        let divisor = self.iconst(d);
        let less = self.b.ins().band(sign, divisor);
        let from = self.b.ins().isub(n, less);
        let product = self.b.ins().imul(quotient, divisor);
        Some(self.b.ins().isub(from, product))
    }
}

impl Lowering<'_, '_> {
    /// The quotient and the remainder of two values, once for a block; the divisor is not 0.
    pub(super) fn divide_both(
        &mut self,
        of: (Value, Value),
        (a, b): (clif::Value, clif::Value),
        constant: Option<i64>,
        natural: bool,
    ) -> (clif::Value, clif::Value) {
        if let Some(&(_, both)) = self.divided.iter().find(|d| d.0 == of) {
            return both;
        }
        let quotient = match constant {
            Some(d) => self.quotient_by(a, d, natural),
            None => self.quotient(a, b),
        };
        let product = self.b.ins().imul(quotient, b);
        let both = (quotient, self.b.ins().isub(a, product));
        self.divided.push((of, both));
        both
    }

    /// A quotient that wraps: what comes first may be the remainder, which is 0 where the minimum is divided by -1.
    fn quotient(&mut self, a: clif::Value, b: clif::Value) -> clif::Value {
        self.by_halves(a, b, false, |l| {
            let (minus, other, done) = (l.b.create_block(), l.b.create_block(), l.b.create_block());
            let result = l.b.append_block_param(done, types::I64);
            let is_minus = l.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
            l.b.ins().brif(is_minus, minus, &[], other, &[]);
            l.b.switch_to_block(minus);
            let v = l.b.ins().ineg(a);
            l.b.ins().jump(done, &[clif::BlockArg::Value(v)]);
            l.b.switch_to_block(other);
            let v = l.b.ins().sdiv(a, b);
            l.b.ins().jump(done, &[clif::BlockArg::Value(v)]);
            l.b.switch_to_block(done);
            result
        })
    }

    /// A quotient or remainder by what is not known before.
    pub(super) fn divide(&mut self, a: clif::Value, b: clif::Value, rest: bool) -> clif::Value {
        self.by_halves(a, b, rest, |l| if rest { l.b.ins().srem(a, b) } else { l.b.ins().sdiv(a, b) })
    }

    /// A quotient or remainder. Where both operands are below 2^32 and not negative, as most are, processors divide the halves in
    /// less time than the whole: LLVM calls it a bypass of slow division. `long` divides others.
    fn by_halves(
        &mut self,
        a: clif::Value,
        b: clif::Value,
        rest: bool,
        long: impl FnOnce(&mut Self) -> clif::Value,
    ) -> clif::Value {
        let (halves, wholes, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let result = self.b.append_block_param(done, types::I64);
        let both = self.b.ins().bor(a, b);
        let high = self.b.ins().ushr_imm_u(both, 32);
        self.b.ins().brif(high, wholes, &[], halves, &[]);
        self.b.switch_to_block(halves);
        let (low, by) = (self.b.ins().ireduce(types::I32, a), self.b.ins().ireduce(types::I32, b));
        let v = if rest { self.b.ins().urem(low, by) } else { self.b.ins().udiv(low, by) };
        let v = self.b.ins().uextend(types::I64, v);
        self.b.ins().jump(done, &[clif::BlockArg::Value(v)]);
        self.b.switch_to_block(wholes);
        let v = long(self);
        self.b.ins().jump(done, &[clif::BlockArg::Value(v)]);
        self.b.switch_to_block(done);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::{inverse, magic};

    /// As the instructions do it.
    fn remainder(n: i64, d: i64) -> i64 {
        let (m, s) = magic(d as u64);
        let mut high = ((i128::from(n) * i128::from(m as i64)) >> 64) as i64;
        if (m as i64) < 0 {
            high = high.wrapping_add(n);
        }
        let less = (n >> 63) & d;
        n.wrapping_sub(less).wrapping_sub((high >> s).wrapping_mul(d))
    }

    fn natural_quotient(n: i64, d: i64) -> i64 {
        let (m, s) = magic(d as u64);
        ((u128::from(n as u64) * u128::from(m)) >> (64 + s)) as i64
    }

    fn divides(n: i64, d: i64) -> bool {
        let (inverse, twos, most) = inverse(d);
        let above = n.wrapping_mul(inverse).wrapping_add(most.wrapping_shl(twos));
        above.rotate_right(twos) as u64 <= 2 * most as u64
    }

    #[test]
    fn remainders_are_exact() {
        let near = |x: i64| (-3..=3).map(move |k| x.wrapping_add(k));
        let mut divisors: Vec<i64> = (3..200).collect();
        divisors.extend([641, 1_000_003, 1_000_000_007, 2_147_483_647, 6_700_417, i64::MAX, i64::MAX - 1]);
        divisors.extend((2..63).flat_map(|k| near(1i64 << k)));
        divisors.retain(|d| *d >= 3 && !(*d as u64).is_power_of_two());
        for d in divisors {
            let mut dividends: Vec<i64> = (0..64).flat_map(|k| near(1i64.wrapping_shl(k))).collect();
            dividends.extend((1..40).flat_map(|k| near(d.wrapping_mul(k))));
            dividends.extend((1..40).flat_map(|k| near(d.wrapping_mul(i64::MAX / d - k))));
            dividends.extend(near(i64::MAX / d * d));
            let mut seed = d as u64;
            dividends.extend(
                std::iter::repeat_with(|| {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    seed as i64
                })
                .take(200),
            );
            for n in dividends {
                for n in [n, n.wrapping_neg()] {
                    assert_eq!(remainder(n, d), n % d, "{n} % {d}");
                    assert_eq!(divides(n, d), n % d == 0, "{d} | {n}");
                    if n >= 0 {
                        assert_eq!(natural_quotient(n, d), n / d, "{n} / {d}");
                    }
                }
            }
        }
    }
}
