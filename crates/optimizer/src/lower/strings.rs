//! Strings: what they say of themselves, and appending.

use std::mem::offset_of;

use cranelift_codegen::ir as clif;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, types};
use upshift_runtime::object::{Header, StringBuffer, StringObject, string_bits};
use upshift_runtime::value as cells;

use super::{Lowering, trusted};
use crate::helper::Helper;
use crate::ir::{Inst, InstData, Op, Value};

/// Where the number of scalars and the number of bytes stand, in this order: both grow by one addition.
const SIZES: usize = offset_of!(Header, meta);
const _: () = assert!(offset_of!(StringObject, len) == SIZES + 4);
const _: () = assert!(StringObject::PAYLOAD == StringBuffer::DATA);
/// The most bytes of a short string.
const SHORT_MAX: i64 = cells::SHORT_MAX as i64;

/// Constants of so many bytes are written word by word behind what they are appended to; longer ones are copied by the helper.
const TEXT_MAX: usize = 40;

/// What is known of a string that is appended.
enum Appended {
    Any,
    /// One scalar of ASCII.
    Character,
    Text(String),
}

impl Lowering<'_, '_> {
    /// What strings say of themselves, without branches: of what is no object, the context is read in its place.
    pub(super) fn string(&mut self, op: Op, value: Value) -> clif::Value {
        let s = self.value(value);
        let object = self.is_object(s);
        let safe = self.b.ins().select(object, s, self.ctx);
        let scalars = |c: &mut Self| c.b.ins().uload32(trusted(), safe, offset_of!(Header, meta) as i32);
        match op {
            Op::StringLen => {
                let long = scalars(self);
                let bytes = self.b.ins().ushr_imm_u(s, i64::from(cells::SHORT_LEN_SHIFT));
                let bytes = self.b.ins().band_imm_s(bytes, 7);
                // Bytes 10xxxxxx go on with a scalar.
                let first = self.b.ins().ushr_imm_u(s, 7);
                let second = self.b.ins().ushr_imm_u(s, 6);
                let more = self.b.ins().band_not(first, second);
                let ones = self.iconst(0x01_0101_0101);
                let more = self.b.ins().band(more, ones);
                let sum = self.b.ins().imul(more, ones);
                let sum = self.b.ins().ushr_imm_u(sum, 32);
                let sum = self.b.ins().band_imm_s(sum, 0xFF);
                let short = self.b.ins().isub(bytes, sum);
                self.b.ins().select(object, long, short)
            }
            Op::AsciiLen => {
                let scalars = scalars(self);
                let bytes = self.b.ins().uload32(trusted(), safe, offset_of!(StringObject, len) as i32);
                let ascii = self.b.ins().icmp(IntCC::Equal, scalars, bytes);
                let both = self.b.ins().band(object, ascii);
                let zero = self.iconst(0);
                self.b.ins().select(both, scalars, zero)
            }
            _ => {
                let bits = self.b.ins().uload16(types::I64, trusted(), safe, offset_of!(Header, bits) as i32);
                let bit = self.b.ins().band_imm_s(bits, i64::from(string_bits::BUFFERED));
                let buffer = self.load64(safe, StringObject::PAYLOAD);
                self.b.ins().select(bit, buffer, s)
            }
        }
    }

    /// A string with another behind it: a short one of ASCII or a constant behind an extensible one that has room, or two that are short
    /// together. What is rarer, the helper does, which gives hole for what it does not do either.
    pub(super) fn extend(&mut self, inst: Inst, args: &[clif::Value]) -> Option<clif::Value> {
        let &[a, b] = args else { return None };
        let appended = self.appended(self.func.insts[inst].args[1]);
        if matches!(&appended, Appended::Text(text) if text.is_empty() || text.len() > TEXT_MAX) {
            return self.call_helper(Helper::StringExtend, args);
        }
        let slow = self.cold_block();
        let done = self.b.create_block();
        let result = self.b.append_block_param(done, types::I64);

        // Strings are objects, which are positive, or short.
        if matches!(appended, Appended::Any) {
            let ascii = self.iconst(i64::MIN | 0x80_8080_8080);
            let seen = self.b.ins().band(b, ascii);
            let sign = self.iconst(i64::MIN);
            let plain = self.b.ins().icmp(IntCC::Equal, seen, sign);
            self.require(plain, slow);
        }
        // By how many bytes it gets longer, and by what its two numbers grow.
        let (more, sizes_more) = match &appended {
            Appended::Any => {
                let more = self.short_len(b);
                let high = self.b.ins().ishl_imm_u(more, 32);
                (more, self.b.ins().bor(high, more))
            }
            Appended::Character => (self.iconst(1), self.iconst(1 << 32 | 1)),
            Appended::Text(text) => {
                let (bytes, scalars) = (text.len() as i64, text.chars().count() as i64);
                (self.iconst(bytes), self.iconst(bytes << 32 | scalars))
            }
        };
        let zero = self.iconst(0);
        let short = self.b.ins().icmp(IntCC::SignedLessThan, a, zero);
        let longer_than_short = matches!(&appended, Appended::Text(text) if text.len() > cells::SHORT_MAX);
        let both = if longer_than_short { slow } else { self.b.create_block() };
        let object = self.b.create_block();
        self.b.ins().brif(short, both, &[], object, &[]);

        self.b.switch_to_block(object);
        let bits = self.b.ins().uload16(types::I64, trusted(), a, offset_of!(Header, bits) as i32);
        let extensible = self.b.ins().band_imm_s(bits, i64::from(string_bits::EXTENSIBLE));
        self.require(extensible, slow);
        let sizes = self.load64(a, SIZES);
        let len = self.b.ins().ushr_imm_u(sizes, 32);
        let longer = self.b.ins().iadd(len, more);
        let room = self.b.ins().uload32(trusted(), a, offset_of!(StringObject, hash) as i32);
        let fits = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, longer, room);
        self.require(fits, slow);
        let (buffered, write) = (self.b.create_block(), self.b.create_block());
        let base = self.b.append_block_param(write, types::I64);
        let bit = self.b.ins().band_imm_s(bits, i64::from(string_bits::BUFFERED));
        self.b.ins().brif(bit, buffered, &[], write, &[clif::BlockArg::Value(a)]);
        self.b.switch_to_block(buffered);
        let buffer = self.load64(a, StringObject::PAYLOAD);
        self.b.ins().jump(write, &[clif::BlockArg::Value(buffer)]);
        self.b.switch_to_block(write);
        let end = self.b.ins().iadd(base, len);
        // A word has more bytes than are left: there is room for them.
        let flags = MemFlagsData::new().with_notrap();
        match &appended {
            Appended::Text(text) => {
                for (at, bytes) in (0..).step_by(8).zip(text.as_bytes().chunks(8)) {
                    let mut word = [0; 8];
                    word[..bytes.len()].copy_from_slice(bytes);
                    let word = self.iconst(i64::from_le_bytes(word));
                    self.b.ins().store(flags, word, end, StringObject::PAYLOAD as i32 + at);
                }
            }
            _ => {
                self.b.ins().store(flags, b, end, StringObject::PAYLOAD as i32);
            }
        }
        let sizes = self.b.ins().iadd(sizes, sizes_more);
        self.b.ins().store(trusted(), sizes, a, SIZES as i32);
        self.b.ins().jump(done, &[clif::BlockArg::Value(a)]);

        if !longer_than_short {
            self.b.switch_to_block(both);
            let len = self.short_len(a);
            let longer = self.b.ins().iadd(len, more);
            let fits = self.b.ins().icmp_imm_s(IntCC::SignedLessThanOrEqual, longer, SHORT_MAX);
            self.require(fits, slow);
            let word = self.b.ins().band_imm_s(b, (1 << cells::SHORT_LEN_SHIFT) - 1);
            let at = self.b.ins().ishl_imm_u(len, 3);
            let word = self.b.ins().ishl(word, at);
            let count = self.b.ins().ishl_imm_u(more, i64::from(cells::SHORT_LEN_SHIFT));
            let joined = self.b.ins().iadd(a, count);
            let joined = self.b.ins().bor(joined, word);
            self.b.ins().jump(done, &[clif::BlockArg::Value(joined)]);
        }

        self.b.switch_to_block(slow);
        let made = self.call_helper(Helper::StringExtend, args)?;
        self.b.ins().jump(done, &[clif::BlockArg::Value(made)]);
        self.b.switch_to_block(done);
        Some(result)
    }

    /// What is known of a string.
    fn appended(&self, value: Value) -> Appended {
        let Some(data) = self.func.def(value) else { return Appended::Any };
        let constant = match data.op {
            Op::Cconst => {
                let short = Some(cells::Value::from_bits(data.imm as u64)).filter(|c| c.is_short_string());
                short.and_then(|c| str::from_utf8(c.short_bytes()).ok().map(str::to_owned))
            }
            // What is short is no object.
            Op::Constant => {
                let text = self.facts.text(data.imm as u32).filter(|text| text.len() > cells::SHORT_MAX);
                text.map(str::to_owned)
            }
            // One byte of a string that has ASCII only.
            Op::OfBits => {
                let parts = self.func.def(data.args[0]).filter(|sum| sum.op == Op::Iadd).map(|sum| &sum.args);
                let character = parts.is_some_and(|parts| {
                    let base = cells::Value::short_string_of(0, 1).bits() as i64;
                    self.func.def(parts[0]).is_some_and(InstData::is_character)
                        && self.func.int_const(parts[1]) == Some(base)
                });
                return if character { Appended::Character } else { Appended::Any };
            }
            _ => None,
        };
        constant.map_or(Appended::Any, Appended::Text)
    }

    /// The order of two strings: of short ones that of their words from the other end, where the bytes stand before their number.
    pub(super) fn order(&mut self, args: &[clif::Value]) -> Option<clif::Value> {
        let &[a, b] = args else { return None };
        let (long, done) = (self.b.create_block(), self.b.create_block());
        let result = self.b.append_block_param(done, types::I64);
        // Strings are objects, which are positive, or short.
        let both = self.b.ins().band(a, b);
        let short = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, both, 0);
        self.require(short, long);
        let (x, y) = (self.b.ins().bswap(a), self.b.ins().bswap(b));
        let more = self.b.ins().icmp(IntCC::UnsignedGreaterThan, x, y);
        let less = self.b.ins().icmp(IntCC::UnsignedLessThan, x, y);
        let (more, less) = (self.b.ins().uextend(types::I64, more), self.b.ins().uextend(types::I64, less));
        let order = self.b.ins().isub(more, less);
        self.b.ins().jump(done, &[clif::BlockArg::Value(order)]);
        self.b.switch_to_block(long);
        let order = self.call_helper(Helper::StringCompare, args)?;
        self.b.ins().jump(done, &[clif::BlockArg::Value(order)]);
        self.b.switch_to_block(done);
        Some(result)
    }

    /// Goes on where a condition holds, else in another block.
    fn require(&mut self, cond: clif::Value, otherwise: clif::Block) {
        let next = self.b.create_block();
        self.b.ins().brif(cond, next, &[], otherwise, &[]);
        self.b.switch_to_block(next);
    }

    /// The number of bytes of a short string.
    fn short_len(&mut self, s: clif::Value) -> clif::Value {
        let up = self.b.ins().ushr_imm_u(s, i64::from(cells::SHORT_LEN_SHIFT));
        self.b.ins().band_imm_s(up, 7)
    }
}
