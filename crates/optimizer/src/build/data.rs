//! What ops on lists, maps, strings and records share: elements, positions, entries, characters, new objects.

use std::mem::offset_of;
use upshift_bytecode::Inst as Bytecode;
use upshift_runtime::object::{Buffer, Header, List, MapObject, ObjectKind, StringObject, list_bits};
use upshift_runtime::routine::Routine;

use super::{ANYWHERE, Builder, Frame};
use crate::helper::Helper;
use crate::ir::{Class, Cond, InstData, Op, Reason, Type, Value, Width};

/// Which memory the elements of lists of a storage kind are, how wide they are, and the routine that appends where there is no room.
#[derive(Clone, Copy)]
pub(super) struct Elements {
    pub class: Class,
    pub width: Width,
    pub ty: Type,
}

pub(super) const INTS: Elements = Elements { class: Class::Ints, width: Width::Int, ty: Type::Int };
pub(super) const FLOATS: Elements = Elements { class: Class::Floats, width: Width::Float, ty: Type::Float };
pub(super) const BOOLS: Elements = Elements { class: Class::Bools, width: Width::U8, ty: Type::Int };
pub(super) const CELLS: Elements = Elements { class: Class::Cells, width: Width::Cell, ty: Type::Cell };

impl<'a> Builder<'a> {
    /// The number of the entry of an int or string key, and whether there is one. Questions about the same key are one search.
    pub(super) fn find_entry(&mut self, map: Value, key: Value) -> (Value, Value) {
        let int = self.func.ty(key) == Type::Int;
        let entry = self.helper(if int { Helper::MapIntFind } else { Helper::MapStringFind }, &[map, key]);
        let zero = self.iconst(0);
        (entry, self.icmp(Cond::Ge, entry, zero))
    }

    /// The entries of a map with keys of one word, and where an entry is in them, in words.
    pub(super) fn entry_value(&mut self, map: Value, entry: Value) -> (Value, Value) {
        let entries = self.load(Class::Map, Width::Ptr, map, offset_of!(MapObject, entries));
        // Two words an entry.
        let one = self.iconst(1);
        (entries, self.binary(Op::Ishl, entry, one))
    }

    pub(super) fn element(&mut self, list: Value, i: Value, e: Elements) -> Value {
        let buffer = self.load(Class::Buffer, Width::Ptr, list, offset_of!(List, buffer));
        self.load_at(e.class, e.width, buffer, i, Buffer::DATA)
    }

    /// The position that an index means, which is in the list.
    pub(super) fn position(&mut self, frame: &Frame<'a>, list: Value, i: Value, relative: bool) -> Value {
        let len = self.load(Class::Len, Width::Int, list, offset_of!(List, len));
        let counts = relative && !self.assume_from_start(frame, i);
        let i = if counts { self.counted_from_end(i, len) } else { i };
        let inside = self.icmp(Cond::Ult, i, len);
        let reason = if relative && !counts { Reason::Negative } else { Reason::Bounds };
        self.guard(frame, inside, reason);
        i
    }

    /// Whether a position that may count from the end is taken for one from the start: nearly all are.
    pub(super) fn assume_from_start(&self, frame: &Frame<'a>, i: Value) -> bool {
        // One negative position of a function is rarely the only one.
        self.may_assume(frame)
            && !self.facts.failed(frame.guest.meta.index, ANYWHERE)
            && self.func.int_const(i).is_none_or(|c| c >= 0)
    }

    /// A position that counts from the end where it is negative.
    pub(super) fn counted_from_end(&mut self, i: Value, len: Value) -> Value {
        let zero = self.iconst(0);
        let negative = self.icmp(Cond::Lt, i, zero);
        let back = self.binary(Op::Iadd, i, len);
        self.def(InstData::new(Op::SelectInt, &[negative, back, i]))
    }

    pub(super) fn list_get(&mut self, frame: &Frame<'a>, inst: &Bytecode, e: Elements, relative: bool) {
        let o = inst.operands;
        let (list, i) = (self.cell(o[1]), self.int(o[2]));
        let i = self.position(frame, list, i, relative);
        let v = self.element(list, i, e);
        self.set(o[0], v);
    }

    pub(super) fn list_set(&mut self, frame: &Frame<'a>, inst: &Bytecode, e: Elements, relative: bool) {
        let o = inst.operands;
        let (list, i) = (self.cell(o[0]), self.int(o[1]));
        let v = self.get(o[2], e.ty);
        let i = self.position(frame, list, i, relative);
        self.store_element(list, i, v, e);
    }

    pub(super) fn store_element(&mut self, list: Value, i: Value, v: Value, e: Elements) {
        let buffer = self.load(Class::Buffer, Width::Ptr, list, offset_of!(List, buffer));
        let op = if e.ty == Type::Cell { Op::StoreCellAt } else { Op::StoreAt };
        let v = if e.width == Width::U8 { self.truth(v) } else { v };
        self.push(InstData::new(op, &[buffer, i, v]).imm(Buffer::DATA as i64).access(e.class, e.width));
    }

    /// 1 where an int is not 0.
    pub(super) fn truth(&mut self, v: Value) -> Value {
        let zero = self.iconst(0);
        self.icmp(Cond::Ne, v, zero)
    }

    /// Appends in place where there is room and nobody shares the list, else by the routine; gives the list for `append`.
    pub(super) fn push_element(
        &mut self,
        frame: &Frame<'a>,
        inst: &Bytecode,
        e: Elements,
        routine: Routine,
        append: bool,
    ) {
        let o = inst.operands;
        let (list, v) = if append {
            (self.cell(o[1]), self.get(o[2], e.ty))
        } else {
            (self.cell(o[0]), self.get(o[1], e.ty))
        };
        let len = self.load(Class::Len, Width::Int, list, offset_of!(List, len));
        let buffer = self.load(Class::Buffer, Width::Ptr, list, offset_of!(List, buffer));
        let room = self.load(Class::Capacity, Width::Int, buffer, offset_of!(Buffer, capacity));
        let result = self.attempt(
            append.then_some(Type::Cell),
            true,
            |c, fail| {
                let fits = c.icmp(Cond::Ult, len, room);
                c.require(fits, fail);
                if append {
                    let bits = c.load(Class::Bits, Width::U16, list, offset_of!(Header, bits));
                    let shared = c.iconst(i64::from(list_bits::SHARED));
                    let is_shared = c.binary(Op::Iand, bits, shared);
                    let alone = c.not(is_shared);
                    c.require(alone, fail);
                }
                c.store_element(list, len, v, e);
                let one = c.iconst(1);
                let longer = c.binary(Op::Iadd, len, one);
                c.store(Class::Len, Width::Int, list, longer, offset_of!(List, len));
                append.then_some(list)
            },
            |c| c.routine(frame, inst, routine).filter(|_| append),
        );
        if append {
            self.set_result(o[0], result);
        }
    }

    /// A new object from values.
    pub(super) fn alloc(
        &mut self,
        frame: &Frame<'a>,
        inst: &Bytecode,
        header: u64,
        words: &[Value],
        routine: Routine,
    ) {
        let site = self.routine_site(frame, inst, routine);
        let state = self.state(frame);
        let v = self.def(InstData::new(Op::Alloc, words).imm(header as i64).state(state).site(site));
        self.set(inst.operands[0], v);
    }

    pub(super) fn store_cell(&mut self, class: Class, base: Value, value: Value, offset: usize) {
        self.push(InstData::new(Op::StoreCell, &[base, value]).imm(offset as i64).access(class, Width::Cell));
    }

    /// What `quick` makes of the byte at a position of a string object of ASCII; in other cases what `slow` says.
    pub(super) fn ascii(
        &mut self,
        s: Value,
        i: Value,
        quick: impl FnOnce(&mut Self, Value) -> Value,
        slow: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let len = self.unary(Op::AsciiLen, s);
        let inside = self.icmp(Cond::Ult, i, len);
        self.join(
            inside,
            Type::Int,
            [false, false],
            |c| {
                let base = c.unary(Op::AsciiBase, s);
                let byte = c.load_at(Class::Fixed, Width::U8, base, i, StringObject::PAYLOAD);
                Some(quick(c, byte))
            },
            |c| Some(slow(c)),
        )
    }

    pub(super) fn list_share(&mut self, slot: i64) {
        let l = self.cell(slot);
        let object = self.unary(Op::IsObject, l);
        self.meet(
            object,
            [false, false],
            |c| {
                let kind = c.load(Class::Fixed, Width::U8, l, offset_of!(Header, kind));
                let first = c.iconst(ObjectKind::ListInt as i64);
                let from = c.binary(Op::Isub, kind, first);
                let four = c.iconst(4);
                let list = c.icmp(Cond::Ult, from, four);
                c.meet(
                    list,
                    [false, false],
                    |c| {
                        let bits = c.load(Class::Bits, Width::U16, l, offset_of!(Header, bits));
                        let shared = c.iconst(i64::from(list_bits::SHARED));
                        let v = c.binary(Op::Ior, bits, shared);
                        c.store(Class::Bits, Width::U16, l, v, offset_of!(Header, bits));
                    },
                    |_| {},
                );
            },
            |_| {},
        );
    }
}
