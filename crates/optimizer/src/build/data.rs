//! What ops on lists, maps, strings and records share: elements, positions, entries, characters, new objects.

use std::mem::offset_of;
use upshift_bytecode::{Inst as Bytecode, KeyPolicy, Op as Code, OrderPolicy};
use upshift_runtime::check::Told;
use upshift_runtime::linked::type_code;
use upshift_runtime::list::CUT_SMALL;
use upshift_runtime::map::{SMALL, bits_of};
use upshift_runtime::object::{
    Buffer, Header, List, MapObject, ObjectKind, StringObject, list_bits, string_bits,
};
use upshift_runtime::routine::Routine;
use upshift_runtime::value::{SHORT_LEN_SHIFT, Value as Cell};

use super::{ANYWHERE, Builder, Frame};
use crate::flow;
use crate::helper::Helper;
use crate::ir::{Block, Class, Cond, InstData, LIST_WORDS, Op, Reason, Type, Value, Width};

/// Lists of at most so many elements are made of values.
const SMALL_LIST: i64 = 8;

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
        let entry = if self.func.ty(key) == Type::Int {
            self.helper(Helper::MapIntFind, &[map, key])
        } else {
            let expected = self.expected_entry(key);
            self.helper(Helper::MapStringFind, &[map, key, expected])
        };
        let zero = self.iconst(0);
        (entry, self.icmp(Cond::Ge, entry, zero))
    }

    /// The number of the entry that a key is in most literals that have it, if it is a constant; else -1.
    pub(super) fn expected_entry(&mut self, key: Value) -> Value {
        let number = self.constants.get(&key).copied();
        let expected = number.and_then(|number| self.facts.entry_number(number));
        self.iconst(expected.map_or(-1, i64::from))
    }

    /// The entries of a map with keys of one word, and where an entry is in them, in words.
    pub(super) fn entry_value(&mut self, map: Value, entry: Value) -> (Value, Value) {
        let entries = self.load(Class::Map, Width::Ptr, map, offset_of!(MapObject, entries));
        // Two words an entry.
        let one = self.iconst(1);
        (entries, self.binary(Op::Ishl, entry, one))
    }

    /// The value at a key of a map with keys of one word, or nil.
    pub(super) fn map_value(&mut self, map: Value, key: Value) -> Value {
        let (entry, there) = self.find_entry(map, key);
        self.join(
            there,
            Type::Cell,
            [false, false],
            |c| {
                let (entries, at) = c.entry_value(map, entry);
                Some(c.load_at(Class::Entry, Width::Cell, entries, at, Buffer::DATA + 8))
            },
            |c| Some(c.cconst(Cell::NIL)),
        )
    }

    /// Stores a value into an entry, which is at so many words of these entries.
    pub(super) fn store_entry(&mut self, (entries, at): (Value, Value), v: Value) {
        let store = |op| {
            let access = InstData::new(op, &[entries, at, v]);
            access.imm(Buffer::DATA as i64 + 8).access(Class::Entry, Width::Cell)
        };
        // Only objects need a barrier.
        let object = self.unary(Op::IsObject, v);
        let (with, without) = (store(Op::StoreCellAt), store(Op::StoreAt));
        self.meet(
            object,
            [false, false],
            |c| {
                c.push(with);
            },
            |c| {
                c.push(without);
            },
        );
    }

    /// The entry of a key in a map with keys of any kind, whether it is there, and whether it is surely not. Questions about the same
    /// key are one search.
    fn find_cell(&mut self, map: Value, key: Value) -> (Value, Value, Value) {
        let expected = self.expected_entry(key);
        let entry = self.helper(Helper::MapCellFind, &[map, key, expected]);
        let [zero, absent] = [0, -1].map(|n| self.iconst(n));
        (entry, self.icmp(Cond::Ge, entry, zero), self.icmp(Cond::Eq, entry, absent))
    }

    /// The entries of a map with keys that have texts, and where an entry is in them, in words.
    fn entry_with_text(&mut self, map: Value, entry: Value) -> (Value, Value) {
        let entries = self.load(Class::Map, Width::Ptr, map, offset_of!(MapObject, entries));
        let three = self.iconst(3);
        (entries, self.binary(Op::Imul, entry, three))
    }

    /// The value at a key of any kind, or nil: ints and strings in maps by text without the routine, as in what follows.
    pub(super) fn map_cell_get(&mut self, frame: &Frame<'a>, inst: &Bytecode) {
        let (map, key) = (self.cell(inst.operands[1]), self.cell(inst.operands[2]));
        let (entry, there, absent) = self.find_cell(map, key);
        let v = self.join(
            there,
            Type::Cell,
            [false, false],
            |c| {
                let (entries, at) = c.entry_with_text(map, entry);
                Some(c.load_at(Class::Entry, Width::Cell, entries, at, Buffer::DATA + 8))
            },
            |c| {
                Some(c.join(
                    absent,
                    Type::Cell,
                    [false, true],
                    |c| Some(c.cconst(Cell::NIL)),
                    |c| c.routine(frame, inst, Routine::MapCellGet),
                ))
            },
        );
        self.set(inst.operands[0], v);
    }

    /// Whether there is a key of any kind.
    pub(super) fn map_cell_has(&mut self, frame: &Frame<'a>, inst: &Bytecode) {
        let (map, key) = (self.cell(inst.operands[1]), self.cell(inst.operands[2]));
        let (_, there, absent) = self.find_cell(map, key);
        let known = self.binary(Op::Ior, there, absent);
        let v = self.join(
            known,
            Type::Int,
            [false, true],
            |_| Some(there),
            |c| c.routine(frame, inst, Routine::MapCellHas),
        );
        self.set(inst.operands[0], v);
    }

    /// Inserts or replaces at a key of any kind.
    pub(super) fn map_cell_set(&mut self, frame: &Frame<'a>, inst: &Bytecode) {
        let [map, key, value] = [0, 1, 2].map(|i| self.cell(inst.operands[i]));
        if self.fill_map(frame, 3, [map, key, value]) {
            return;
        }
        let (entry, there, _) = self.find_cell(map, key);
        let replace = |c: &mut Self| {
            let place = c.entry_with_text(map, entry);
            c.store_entry(place, value);
        };
        self.meet(there, [false, false], replace, |c| {
            c.routine(frame, inst, Routine::MapCellSet);
        });
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

    /// A new list. Where its elements follow in the code, they are stored without looking for room. If it is short, it is made of
    /// values.
    pub(super) fn list_new(
        &mut self,
        frame: &Frame<'a>,
        inst: &Bytecode,
        kind: ObjectKind,
        routine: Routine,
    ) {
        let o = inst.operands;
        let room = o[1];
        let code = if kind == ObjectKind::ListCell { self.facts.element_code(o[2] as u32) } else { Some(0) };
        self.note_filling(frame, o[0] as u32, room, |op| {
            matches!(op, Code::ListIntPush | Code::ListFloatPush | Code::ListCellPush)
        });
        let Some(code) = code.filter(|_| (1..=SMALL_LIST).contains(&room)) else {
            self.routine(frame, inst, routine);
            return;
        };
        let header = kind as u64 | u64::from(code) << 32;
        let zero = self.iconst(0);
        let empty = match kind {
            ObjectKind::ListFloat => self.fconst(0.0),
            ObjectKind::ListCell => self.cconst(Cell::HOLE),
            _ => zero,
        };
        let words: Vec<Value> = [zero; LIST_WORDS].into_iter().chain((0..room).map(|_| empty)).collect();
        self.alloc(frame, inst, header, &words, routine);
    }

    /// Notes the instructions that fill a list or map, which the current one makes with room for so many elements: those that add to it
    /// before anything else names its slot, in the same block.
    fn note_filling(&mut self, frame: &Frame<'a>, slot: u32, room: i64, adds: fn(Code) -> bool) {
        let (meta, code) = (frame.guest.meta, frame.guest.code);
        let behind = frame.flow.blocks.partition_point(|b| b.start <= self.word);
        let Some(span) = behind.checked_sub(1).map(|i| &frame.flow.blocks[i]) else { return };
        // What is in the window is an argument, which calls do not name.
        if slot >= meta.layout.size() {
            return;
        }
        let mut count = 0;
        for at in flow::words(code, self.word, span.end).skip(1) {
            let Some(inst) = flow::instruction(code, at) else { break };
            let named = flow::registers(&inst).filter(|r| r.0 == slot).count();
            if named == 0 && inst.op != Code::FrameClear {
                continue;
            }
            if !adds(inst.op) || named != 1 || inst.operands[0] != i64::from(slot) || count == room {
                break;
            }
            self.filling.insert((meta.index, at), count);
            count += 1;
        }
    }

    /// A new map. Where entries with constant strings as keys follow in the code, they are stored without looking for their keys.
    pub(super) fn map_new(&mut self, frame: &Frame<'a>, inst: &Bytecode) {
        let [slot, room, ..] = inst.operands;
        let code = inst.operands[2] as u32;
        let known = self.facts.map_policies(code).zip(self.facts.element_code(code));
        let quick = |&((key, _), _): &((KeyPolicy, OrderPolicy), u32)| {
            room <= SMALL as i64 && key != KeyPolicy::Protocol
        };
        let Some(((key, order), element)) = known.filter(quick) else {
            self.routine(frame, inst, Routine::MapNew);
            return;
        };
        match key {
            KeyPolicy::String => self.note_filling(frame, slot as u32, room, |op| op == Code::MapStringSet),
            KeyPolicy::Text => self.note_filling(frame, slot as u32, room, |op| op == Code::MapCellSet),
            _ => {}
        }
        let what = [bits_of(key, order).into(), element.into(), room].map(|n| self.iconst(n));
        self.quick_routine(frame, inst, Routine::MapNew, Helper::MapNew, &what);
    }

    /// Adds an entry of so many words to a map that is being filled, where its key is a constant string that none before it was; whether
    /// it did.
    pub(super) fn fill_map(&mut self, frame: &Frame<'a>, words: i64, [map, key, value]: [Value; 3]) -> bool {
        let Some(&at) = self.filling.get(&(frame.guest.meta.index, self.word)) else { return false };
        let Some(&InstData { op: op @ (Op::Cconst | Op::Constant), imm, .. }) = self.func.def(key) else {
            return false;
        };
        // Only strings are their own texts, and other strings have other ones.
        if self.constants.get(&key).is_none_or(|&number| self.facts.text(number).is_none()) {
            return false;
        }
        // A short text is in the cell itself, and no other has its bits.
        let facts = self.facts;
        let text = |imm: i64| facts.text(imm as u32);
        let same = |&(other, of): &(Op, i64)| {
            op == other && (imm == of || op == Op::Constant && text(imm).is_none_or(|t| text(of) == Some(t)))
        };
        let filled = self.filled.entry(map).or_default();
        if filled.len() as i64 != at || filled.iter().any(same) {
            return false;
        }
        filled.push((op, imm));
        let entries = self.load(Class::Map, Width::Ptr, map, offset_of!(MapObject, entries));
        let place = self.iconst(words * at);
        // A string is its own text.
        let no_text = self.cconst(Cell::HOLE);
        for (v, offset) in [(key, 0), (value, 8), (no_text, 16)].into_iter().take(words as usize) {
            let store = InstData::new(Op::StoreCellAt, &[entries, place, v]);
            self.push(store.imm(Buffer::DATA as i64 + offset).access(Class::Entry, Width::Cell));
        }
        let len = self.iconst(at + 1);
        for field in [offset_of!(MapObject, used), offset_of!(MapObject, len)] {
            self.store(Class::Map, Width::U32, map, len, field);
        }
        true
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
        if let Some(&at) = self.filling.get(&(frame.guest.meta.index, self.word)) {
            let (list, v) = (self.cell(o[0]), self.get(o[1], e.ty));
            let [i, len] = [at, at + 1].map(|n| self.iconst(n));
            self.store_element(list, i, v, e);
            self.store(Class::Len, Width::Int, list, len, offset_of!(List, len));
            return;
        }
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
                    c.require_unshared(list, fail);
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

    /// Goes on where nobody shares a list.
    fn require_unshared(&mut self, list: Value, fail: Block) {
        let bits = self.load(Class::Bits, Width::U16, list, offset_of!(Header, bits));
        let shared = self.iconst(i64::from(list_bits::SHARED));
        let is_shared = self.binary(Op::Iand, bits, shared);
        let alone = self.not(is_shared);
        self.require(alone, fail);
    }

    /// The elements of a part of a list. Where elements go from its end, of cells the last one, and nobody shares the list, that is done
    /// here: its room stays.
    pub(super) fn list_cut(&mut self, frame: &Frame<'a>, inst: &Bytecode) {
        let o = inst.operands;
        let slot = u32::try_from(o[1]).ok();
        let ty = slot.and_then(|slot| frame.guest.meta.cell_type(slot));
        let told = ty.and_then(|ty| self.facts.test(type_code(ty))).map(|t| t.what);
        let raw = matches!(told, Some(Told::Kind(_)));
        let (list, from, to) = (self.cell(o[1]), self.int(o[2]), self.int(o[3]));
        if self.func.int_const(from) != Some(0) {
            self.routine(frame, inst, Routine::ListCut);
            return;
        }
        let len = self.load(Class::Len, Width::Int, list, offset_of!(List, len));
        let buffer = self.load(Class::Buffer, Width::Ptr, list, offset_of!(List, buffer));
        let room = self.load(Class::Capacity, Width::Int, buffer, offset_of!(Buffer, capacity));
        let result = self.attempt(
            Some(Type::Cell),
            true,
            |c, fail| {
                // A position from the end is what it is for the length, and an empty list has no last element.
                let all = c.iconst(63);
                let negative = c.binary(Op::IshrS, to, all);
                let back = c.binary(Op::Iand, negative, len);
                let end = c.binary(Op::Iadd, to, back);
                let (one, zero) = (c.iconst(1), c.iconst(0));
                if raw {
                    let beyond = c.binary(Op::Iadd, len, one);
                    let inside = c.icmp(Cond::Ult, end, beyond);
                    c.require(inside, fail);
                } else {
                    let shorter = c.binary(Op::Isub, len, one);
                    let last = c.icmp(Cond::Eq, end, shorter);
                    c.require(last, fail);
                    let some = c.icmp(Cond::Ge, end, zero);
                    c.require(some, fail);
                }
                // What has become much too large is made anew.
                let eighth = c.iconst(3);
                let least = c.binary(Op::IshrU, room, eighth);
                let filled = c.icmp(Cond::Ge, end, least);
                let small = c.iconst(CUT_SMALL as i64);
                let small = c.icmp(Cond::Le, room, small);
                let either = c.binary(Op::Ior, filled, small);
                c.require(either, fail);
                c.require_unshared(list, fail);
                if !raw {
                    // Of any storage: cells behind the end must keep nothing alive.
                    let kind = c.load(Class::Fixed, Width::U8, list, offset_of!(Header, kind));
                    let cells = c.iconst(ObjectKind::ListCell as i64);
                    let cells = c.icmp(Cond::Eq, kind, cells);
                    c.require(cells, fail);
                    let hole = c.cconst(Cell::HOLE);
                    c.store_element(list, end, hole, CELLS);
                }
                c.store(Class::Len, Width::Int, list, end, offset_of!(List, len));
                Some(list)
            },
            |c| c.routine(frame, inst, Routine::ListCut),
        );
        self.set_result(o[0], result);
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

    /// What `quick` makes of the byte at a position of a string of ASCII; in other cases what `slow` says.
    pub(super) fn ascii(
        &mut self,
        s: Value,
        i: Value,
        quick: impl Fn(&mut Self, Value) -> Value,
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
            |c| Some(c.short_ascii(s, i, &quick, slow)),
        )
    }

    /// As [`Self::ascii`], of short strings.
    fn short_ascii(
        &mut self,
        s: Value,
        i: Value,
        quick: impl FnOnce(&mut Self, Value) -> Value,
        slow: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        // The sign says that it is no object, and these bits of bytes that they are no ASCII.
        let bits = self.unary(Op::Bits, s);
        let mask = self.iconst(i64::MIN | 0x80_8080_8080);
        let seen = self.binary(Op::Iand, bits, mask);
        let sign = self.iconst(i64::MIN);
        let plain = self.icmp(Cond::Eq, seen, sign);
        let shift = self.iconst(i64::from(SHORT_LEN_SHIFT));
        let len = self.binary(Op::IshrU, bits, shift);
        let seven = self.iconst(7);
        let len = self.binary(Op::Iand, len, seven);
        let inside = self.icmp(Cond::Ult, i, len);
        let both = self.binary(Op::Iand, plain, inside);
        self.join(
            both,
            Type::Int,
            [false, true],
            |c| {
                let three = c.iconst(3);
                let at = c.binary(Op::Ishl, i, three);
                let from = c.binary(Op::IshrU, bits, at);
                let byte = c.iconst(0xFF);
                let byte = c.binary(Op::Iand, from, byte);
                Some(quick(c, byte))
            },
            |c| Some(slow(c)),
        )
    }

    /// Makes an extensible string an ordinary one. The value stays the same: nothing read it before.
    pub(super) fn string_share(&mut self, s: Value) {
        let object = self.unary(Op::IsObject, s);
        self.meet(
            object,
            [false, false],
            |c| {
                let bits = c.load(Class::Bits, Width::U16, s, offset_of!(Header, bits));
                let bit = c.iconst(i64::from(string_bits::EXTENSIBLE));
                let extensible = c.binary(Op::Iand, bits, bit);
                c.meet(
                    extensible,
                    [true, false],
                    |c| {
                        let site = c.site(Helper::StringShare.site());
                        c.push(InstData::new(Op::Helper, &[s]).imm(Helper::StringShare as i64).site(site));
                    },
                    |_| {},
                );
            },
            |_| {},
        );
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
