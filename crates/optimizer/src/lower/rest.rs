//! Quotients and remainders: those by constants made for loops that wait for them, both of one division from one.
//!
//! Cranelift divides by a constant with a product's upper half, corrects the quotient by its own sign, and multiplies back; a loop whose
//! next turn needs the remainder waits for all of it, longer than for the processor's division. Here the correction is taken from the
//! dividend and given to the remainder instead, beside the products: two steps less to wait for. The numbers are those of Hacker's
//! Delight (Warren), chapter 10.

use cranelift_codegen::ir as clif;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, types};
use cranelift_entity::EntitySet;

use super::Lowering;
use crate::ir::{Function, Inst, Op, Value};

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
    /// The remainder by a constant, which has the dividend's sign; `None` for divisors that Cranelift does as well.
    pub(super) fn remainder(&mut self, n: clif::Value, d: i64) -> Option<clif::Value> {
        let positive = u64::try_from(d).ok().filter(|d| *d >= 3 && !d.is_power_of_two())?;
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
    ) -> (clif::Value, clif::Value) {
        if let Some(&(_, both)) = self.divided.iter().find(|d| d.0 == of) {
            return both;
        }
        let quotient = match constant {
            Some(_) => self.b.ins().sdiv(a, b),
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
    use super::magic;

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
                }
            }
        }
    }
}
