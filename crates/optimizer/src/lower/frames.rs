//! The interpreter's frames, as code writes them: slots, headers, objects that were not made, and exits.

use std::collections::BTreeMap;
use std::mem::offset_of;

use cranelift_codegen::ir as clif;
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{AliasRegionData, InstBuilder, MemFlagsData, types};
use cranelift_entity::EntitySet;
use cranelift_frontend::FunctionBuilder;
use upshift_bytecode::ops::Role;
use upshift_runtime::context::Context;
use upshift_runtime::heap::{HEAP_END, HEAP_TOP};
use upshift_runtime::object::{Buffer, Header, List, ObjectKind};
use upshift_runtime::value as cells;

use super::code::Stub;
use super::{
    Base, Exit, ExitFrame, Held, Lowering, Made, PendingExit, STABLE, clif_type, collects, common_of,
    constant, first_of, heap, helper_place, object_size, trusted,
};
use crate::cfg::Loop;
use crate::flow::{self, Literal};
use crate::helper::Helper;
use crate::ir::{
    Block, Class, Inst, InstData, LIST_WORDS, Op, Reason, RoutineKind, State, StateData, Type, Value,
    elements_of,
};
use crate::slots::{SlotMap, Slots};

/// The regions that Cranelift is told of where context and frame are put away and read again.
const WRITTEN: (u32, &str) = (1, "context and frame, written");
const READ: (u32, &str) = (2, "context and frame, read");

impl Lowering<'_, '_> {
    pub(super) fn address(&mut self, slot: u32) -> clif::Value {
        if slot == 0 { self.fp } else { self.b.ins().iadd_imm_s(self.fp, i64::from(slot) * 8) }
    }

    pub(super) fn store_slot(&mut self, slot: u32, v: clif::Value) {
        self.b.ins().store(trusted(), v, self.fp, slot as i32 * 8);
    }

    /// What the frame holds when it is entered. The collector reads all its cells, so they are made valid where anything here runs it:
    /// before the first that do if there are few, since ways that do not collect have nothing to write then, or where all ways to them go.
    pub(super) fn enter_frame(&mut self) {
        let func = self.func;
        if func.osr.is_some() {
            for (&param, &slot) in func.blocks[func.entry()].params.iter().zip(&func.params) {
                self.held.set(slot, Held::Value(param));
            }
            for &(slot, value) in &self.literals {
                self.held.set(slot, Held::Value(value));
            }
            for i in 0..self.root_cells.len() {
                let slot = self.root_cells[i];
                if self.held.get(slot) == Held::Unknown {
                    self.held.set(slot, Held::Valid);
                }
            }
            return;
        }
        match first_of(func, &self.cfg, &self.doms, &self.loops, collects) {
            Some(first) => self.collecting = first,
            None => {
                let common = common_of(func, &self.cfg, &self.doms, &self.loops, collects);
                self.clearing = common.filter(|&block| block != func.entry());
                if self.clearing.is_none() {
                    self.clear_at_start();
                }
            }
        }
    }

    /// Makes the root's cells valid where nothing that collects has run: parameters are what they are called with.
    pub(super) fn clear_at_start(&mut self) {
        let func = self.func;
        let params = func.blocks[func.entry()].params.iter();
        let values: Vec<(u32, Value)> = func.params.iter().copied().zip(params.copied()).collect();
        self.clear_frame(&values);
    }

    /// Before an instruction that collects on its slow path and is the first: the root's cells are made valid. (Others write the
    /// frame anyway.)
    pub(super) fn clear_before(&mut self, inst: Inst) {
        let data = &self.func.insts[inst];
        if !matches!(data.op, Op::Alloc | Op::BoxInt) {
            return;
        }
        let mut root = data.state.expand();
        while let Some(parent) = root.and_then(|s| self.func.states[s].parent.expand()) {
            root = Some(parent);
        }
        let values = root.map_or(&[][..], |s| &self.func.states[s].slots);
        self.clear_frame(values);
    }

    /// Makes the root's cells valid that may not be: they get their values, if they are given, or holes.
    fn clear_frame(&mut self, values: &[(u32, Value)]) {
        let mut hole = None;
        for slot in self.cells_of(self.index, 0) {
            if self.is_cell(self.held.get(slot)) {
                continue;
            }
            let value = values.iter().find(|v| v.0 == slot && self.func.virtual_words(v.1).is_none());
            let (v, held) = match value {
                Some(&(_, value)) => (self.value(value), Held::Value(value)),
                None => (
                    *hole.get_or_insert_with(|| {
                        self.b.ins().iconst(types::I64, cells::Value::HOLE.bits() as i64)
                    }),
                    Held::Valid,
                ),
            };
            self.store_slot(slot, v);
            self.held.set(slot, held);
        }
    }

    /// The cell slots of a function's frame at a base that are this code's to make valid: all, but none of the frame in which a loop
    /// was entered, which was complete.
    pub(super) fn cells_of(&self, function: u32, base: u32) -> Vec<u32> {
        if self.func.osr.is_some() && base == 0 {
            return Vec::new();
        }
        let Some(guest) = self.facts.function(function) else { return Vec::new() };
        let l = &guest.meta.layout;
        (l.first_cell()..l.first_raw()).chain(l.first_spilled_cell()..l.size()).map(|s| base + s).collect()
    }

    /// The slots of a frame above the root that the collector does not read, in two ranges: a cell that was left there by a frame that was
    /// here before is not one any more behind a collection.
    fn raws_of(&self, state: &StateData) -> [std::ops::Range<u32>; 2] {
        let guest = self.facts.function(state.function).filter(|_| state.parent.is_some());
        let Some(l) = guest.map(|g| &g.meta.layout) else { return [0..0, 0..0] };
        let at = |slot: u32| state.base + slot;
        [at(0)..at(l.first_cell()), at(l.first_raw())..at(l.first_spilled_cell())]
    }

    /// The end of a frame: where its window begins, from the root's start.
    pub(super) fn end_of(&self, state: &StateData) -> u32 {
        state.end
    }

    /// Stores what the interpreter would find in the frames. With `window` also what stands in the innermost frame's window.
    pub(super) fn flush(&mut self, state: State, window: bool) {
        let func = self.func;
        let mut chain = Vec::new();
        let mut next = Some(state);
        while let Some(s) = next {
            chain.push(s);
            next = func.states[s].parent.expand();
        }
        let mut made = Made::new();
        for (depth, &s) in chain.iter().enumerate().rev() {
            let data = &func.states[s];
            let end = if depth == 0 && window { u32::MAX } else { self.end_of(data) };
            for &(slot, value) in data.slots.iter().filter(|s| s.0 < end) {
                if func.virtual_words(value).is_some() {
                    let v = self.object(value, &mut made);
                    self.store_slot(slot, v);
                    self.held.set(slot, Held::Valid);
                    continue;
                }
                if self.held.get(slot) == Held::Value(value) {
                    continue;
                }
                let v = self.value(value);
                self.store_slot(slot, v);
                self.held.set(slot, Held::Value(value));
            }
            for slot in self.cells_of(data.function, data.base) {
                // A frame that was here before may have had an int in this place.
                if !self.is_cell(self.held.get(slot)) {
                    let hole = self.iconst(cells::Value::HOLE.bits() as i64);
                    self.store_slot(slot, hole);
                    self.held.set(slot, Held::Valid);
                }
            }
            // The header of a frame above the root: return pc and the caller's link.
            if let Some(parent) = data.parent.expand() {
                let outer = &func.states[parent];
                self.store_header(self.header_of(data), outer.function, outer.word);
            }
        }
    }

    /// Where the header of a frame stands, from the root's start.
    pub(super) fn header_of(&self, state: &StateData) -> u32 {
        state.base + self.facts.function(state.function).map_or(0, |g| g.meta.layout.header())
    }

    /// Writes the header of a frame that a function's instruction calls.
    pub(super) fn store_header(&mut self, place: u32, function: u32, word: u32) {
        let words = self
            .facts
            .function(function)
            .and_then(|g| flow::decode(g.code, word))
            .map_or(1, |i| i.op.words() as u32);
        let back = self.code_at(function, word + words);
        self.store_slot(place, back);
        // The collector marks return addresses, so these are always written.
        let bits = self.link(function);
        if self.held.get(place + 1) != Held::Link(bits) {
            let link = self.iconst(bits as i64);
            self.store_slot(place + 1, link);
        }
        self.held.set(place, Held::Unknown);
        self.held.set(place + 1, Held::Link(bits));
    }

    /// Forgets what slots hold at the header of a loop where the loop may write something else there.
    pub(super) fn forget_in_loop(&self, header: Block, held: &mut SlotMap<Held>) {
        let func = self.func;
        let Some(id) = self.loops.innermost(header).filter(|&id| self.loops.loops[id].header == header)
        else {
            held.clear();
            return;
        };
        let blocks = &self.loops.loops[id].blocks;
        let size: usize = blocks.iter().map(|&b| func.blocks[b].insts.len()).sum();
        // Cells of the root frame stay valid.
        let forgotten = |slot: u32| match self.root_cells.binary_search(&slot) {
            Ok(_) => Held::Valid,
            Err(_) => Held::Unknown,
        };
        let forget = |held: &mut SlotMap<Held>, slot: u32| {
            if held.get(slot) != Held::Unknown {
                held.set(slot, forgotten(slot));
            }
        };
        if size > STABLE {
            held.map_from(0, |slot, _| forgotten(slot));
            return;
        }
        for &inst in blocks.iter().flat_map(|&b| &func.blocks[b].insts) {
            let data = &func.insts[inst];
            let Some(state) = data.state.expand().filter(|_| data.op.writes_frames()) else { continue };
            let site = data.site.expand().map(|s| &func.sites[s]);
            if let Some(site) = site {
                forget(held, site.slot);
                held.map_from(func.states[state].end, |slot, _| forgotten(slot));
            }
            let mut next = Some(state);
            while let Some(s) = next {
                let data = &func.states[s];
                for &(slot, value) in &data.slots {
                    if held.get(slot) != Held::Value(value) {
                        forget(held, slot);
                    }
                }
                for slot in self.raws_of(data).into_iter().flatten() {
                    if self.is_cell(held.get(slot)) {
                        forget(held, slot);
                    }
                }
                // Where the engine completes frames, it clears cells that are dead.
                if site.is_none() {
                    for slot in self.cells_of(data.function, data.base) {
                        if !data.slots.iter().any(|&(k, _)| k == slot) {
                            forget(held, slot);
                        }
                    }
                }
                if let Some(parent) = data.parent.expand() {
                    self.forget_header(held, self.header_of(data), parent);
                }
                next = data.parent.expand();
            }
            if let Some(site) = site.filter(|s| s.kind == RoutineKind::Call || s.header != 0) {
                for slot in [site.header, site.header + 1] {
                    held.set(slot, Held::Unknown);
                }
            }
        }
    }

    /// Forgets a header that others may write for a caller in this state, but for a link that stays.
    pub(super) fn forget_header(&self, held: &mut SlotMap<Held>, place: u32, outer: State) {
        let bits = self.link(self.func.states[outer].function);
        for (slot, keep) in [(place, None), (place + 1, Some(Held::Link(bits)))] {
            if Some(held.get(slot)) != keep {
                held.set(slot, Held::Unknown);
            }
        }
    }

    /// The link that callees of a function have.
    pub(super) fn link(&self, function: u32) -> u64 {
        let size = self.facts.function(function).map_or(0, |g| g.meta.layout.size());
        u64::from(function) | u64::from(size * 8) << 32
    }

    /// After what may have collected: cells are read again, and nothing is known of what lies behind the frame. What stood in the
    /// slot of a result is gone, and so are the arguments in the window after a call; else the collector treats these as roots, too.
    pub(super) fn reload(&mut self, state: State, result: u32, calls: bool) {
        let func = self.func;
        self.held.map_from(self.end_of(&func.states[state]), |_, _| Held::Unknown);
        let mut next = Some(state);
        let mut read: Vec<Value> = Vec::new();
        while let Some(s) = next {
            let data = &func.states[s];
            let limit = if s == state && !calls { u32::MAX } else { self.end_of(data) };
            for &(slot, value) in data.slots.iter().filter(|s| s.0 < limit && s.0 != result) {
                if !read.contains(&value) {
                    read.push(value);
                    self.read_again(value, self.fp, slot as i32 * 8);
                }
            }
            for slot in self.raws_of(data).into_iter().flatten() {
                if self.is_cell(self.held.get(slot)) {
                    self.held.set(slot, Held::Unknown);
                }
            }
            next = data.parent.expand();
        }
    }

    /// Reads a cell that may have moved from where it stands; of a virtual object, what was put into it.
    pub(super) fn read_again(&mut self, value: Value, base: clif::Value, offset: i32) {
        let func = self.func;
        let words = func.virtual_words(value);
        if self.vars[value].is_none() && words.is_none() {
            return;
        }
        let v = self.b.ins().load(clif_type(func.ty(value)), trusted(), base, offset);
        if let Some(data) = words.filter(|d| elements_of(d.imm).is_some()) {
            let elements = &data.args[LIST_WORDS..];
            if elements.iter().any(|&e| func.ty(e) == Type::Cell) {
                let buffer = self.load64(v, offset_of!(List, buffer));
                let places = (Buffer::DATA as i32..).step_by(8);
                elements.iter().zip(places).for_each(|(&word, at)| self.read_again(word, buffer, at));
            }
        } else if let Some(data) = words {
            data.args.iter().zip(0..).for_each(|(&word, i)| self.read_again(word, v, 8 + 8 * i));
        } else if let Some(var) = self.vars[value] {
            self.b.def_var(var, v);
        }
    }

    // ---- Objects that were not made ----

    /// The object that a virtual one is, which is made here, once for all that name it here.
    pub(super) fn object(&mut self, value: Value, made: &mut Made) -> clif::Value {
        let func = self.func;
        if let Some(&(_, v)) = made.iter().find(|m| m.0 == value) {
            return v;
        }
        let Some(data) = func.virtual_words(value) else { return self.value(value) };
        let words: Vec<clif::Value> = data.args.iter().map(|&word| self.object(word, made)).collect();
        let v = self.make_slowly(data);
        self.fill(v, data, &words);
        made.push((value, v));
        v
    }

    /// Stores the words of a new object behind its first; those of a list, whose buffer stands behind it, also there.
    pub(super) fn fill(&mut self, object: clif::Value, data: &InstData, words: &[clif::Value]) {
        let Some(elements) = elements_of(data.imm) else {
            for (&word, i) in words.iter().zip(0..) {
                self.b.ins().store(trusted(), word, object, 8 + 8 * i);
            }
            return;
        };
        let buffer = size_of::<List>();
        self.b.ins().store(trusted(), words[0], object, offset_of!(List, len) as i32);
        for (&word, at) in words[LIST_WORDS..].iter().zip((buffer + Buffer::DATA..).step_by(8)) {
            self.b.ins().store(trusted(), word, object, at as i32);
        }
        if constant(self.func, data.args[1]) != Some(0) {
            let at = offset_of!(Header, bits) as i32;
            self.b.ins().istore16(trusted(), words[1], object, at);
        }
        let header = match elements.class {
            Class::Cells => ObjectKind::CellBuffer as i64,
            _ => ObjectKind::RawBuffer as i64 | 8 << 16,
        };
        let room = (words.len() - LIST_WORDS) as i64;
        for (v, at) in [(header, 0), (room, offset_of!(Buffer, capacity))] {
            let v = self.iconst(v);
            self.b.ins().store(trusted(), v, object, (buffer + at) as i32);
        }
        let address = self.b.ins().iadd_imm_s(object, buffer as i64);
        self.b.ins().store(trusted(), address, object, offset_of!(List, buffer) as i32);
    }

    /// A new object with its first word, by the engine; keeps all registers.
    pub(super) fn make_slowly(&mut self, data: &InstData) -> clif::Value {
        let place = match self.place {
            Some(place) => place,
            None => *self.place.insert(stack_slot(&mut self.b, 8)),
        };
        let header = self.iconst(data.imm);
        let size = self.iconst(object_size(data));
        let at = self.b.ins().stack_addr(types::I64, place, 0);
        let helper = self.iconst(helper_place(Helper::Make));
        self.call_quietly([header, size, helper, at]);
        self.b.ins().stack_load(types::I64, types::I64, place, 0)
    }

    /// A new object, where nothing may collect.
    pub(super) fn make(&mut self, inst: Inst) -> Option<clif::Value> {
        let func = self.func;
        let data = &func.insts[inst];
        let top = self.load64(self.ctx, heap(HEAP_TOP));
        let end = self.load64(self.ctx, heap(HEAP_END));
        let next = self.b.ins().iadd_imm_s(top, object_size(data));
        let full = self.b.ins().icmp(IntCC::UnsignedGreaterThan, next, end);
        let fast = self.b.create_block();
        let slow = self.cold_block();
        let done = self.b.create_block();
        let result = self.b.append_block_param(done, types::I64);
        self.b.ins().brif(full, slow, &[], fast, &[]);
        self.b.switch_to_block(fast);
        self.b.ins().store(trusted(), next, self.ctx, heap(HEAP_TOP) as i32);
        let header = self.iconst(data.imm);
        self.b.ins().store(trusted(), header, top, 0);
        self.b.ins().jump(done, &[clif::BlockArg::Value(top)]);
        self.b.switch_to_block(slow);
        let kept = self.begin_cold();
        let object = self.make_slowly(data);
        self.end_cold(kept);
        self.b.ins().jump(done, &[clif::BlockArg::Value(object)]);
        self.b.switch_to_block(done);
        let words: Vec<clif::Value> = data.args.iter().map(|&word| self.value(word)).collect();
        self.fill(result, data, &words);
        Some(result)
    }

    // ---- Exits ----

    pub(super) fn exit_block(&mut self, state: State, reason: Reason) -> clif::Block {
        if let Some(&number) = self.exit_blocks.get(&(state, reason)) {
            let (held, exit) = (&self.held, &mut self.pending[number]);
            exit.written.retain(|&slot| holds(held, slot));
            exit.looping &= self.looping;
            return exit.block;
        }
        let block = self.cold_block();
        self.exit_blocks.insert((state, reason), self.pending.len());
        let written = self.written(state);
        self.pending.push(PendingExit { block, state, reason, written, looping: self.looping });
        block
    }

    /// The slots of a state that hold what they are to hold.
    pub(super) fn written(&self, state: State) -> Vec<(u32, Value)> {
        let mut written = Vec::new();
        let known = |slot: &&(u32, Value)| holds(&self.held, **slot);
        self.func.each_state(state, |data| written.extend(data.slots.iter().filter(known)));
        written
    }

    pub(super) fn fill_exits(&mut self) {
        self.reading = false;
        for exit in std::mem::take(&mut self.pending) {
            self.b.switch_to_block(exit.block);
            self.looping = exit.looping;
            (self.ctx, self.fp) = if exit.looping { self.read_base() } else { self.given };
            self.leave_at(exit.state, exit.reason, &exit.written);
        }
    }

    /// Before a loop: context and frame are put where exits out of the loop read them. Cranelift's register allocator weighs uses by
    /// loops and not by how often code runs, and exits are many: else both have a register each throughout the loop.
    pub(super) fn write_base(&mut self) {
        let place = self.base_place();
        for (v, offset) in [(self.ctx, 0), (self.fp, 8)] {
            let at = self.b.ins().stack_addr(types::I64, place, offset);
            let flags = self.region(WRITTEN);
            self.b.ins().store(flags, v, at, 0);
        }
    }

    /// Before loops: what their frame states name, in one slot throughout, and nothing else in them needs is written, so that it takes no
    /// register for the sake of exits. (A sieve takes 0.93 times as long so.)
    pub(super) fn write_unchanged(&mut self, block: Block) {
        let func = self.func;
        for next in func.successors(block) {
            let Some(mut id) = self.loops.innermost(next) else { continue };
            while let Some(outer) = self.loops.loops[id].parent.expand() {
                id = outer;
            }
            let unchanged = self.unchanged(id);
            for (slot, value) in unchanged {
                let v = self.value(value);
                self.store_slot(slot, v);
                self.held.set(slot, Held::Value(value));
            }
        }
    }

    /// The slots that all frame states of a loop that name them say the same of, with values that come from before it and that only
    /// states use; of frames that are there throughout, where the slot does not hold the value already.
    fn unchanged(&self, id: Loop) -> Vec<(u32, Value)> {
        let func = self.func;
        let blocks = &self.loops.loops[id].blocks;
        if blocks.iter().map(|&b| func.blocks[b].insts.len()).sum::<usize>() > STABLE {
            return Vec::new();
        }
        let mut used = EntitySet::new();
        let mut named: SlotMap<Named> = SlotMap::default();
        let mut bases: Option<Vec<u32>> = None;
        for &inst in blocks.iter().flat_map(|&b| &func.blocks[b].insts) {
            let data = &func.insts[inst];
            for &v in data.args.iter().chain(data.targets.iter().flat_map(|t| &t.args)) {
                used.insert(v);
            }
            let Some(state) = data.state.expand() else { continue };
            let mut here = Vec::new();
            func.each_state(state, |data| {
                here.push(data.base);
                for &(slot, value) in &data.slots {
                    let one = Named::Always(value, data.base);
                    match named.get(slot) {
                        Named::Never => named.set(slot, one),
                        seen if seen == one => {}
                        _ => named.set(slot, Named::Differently),
                    }
                }
            });
            match &mut bases {
                Some(bases) => bases.retain(|base| here.contains(base)),
                None => bases = Some(here),
            }
        }
        let bases = bases.unwrap_or_default();
        let unchanged = named.iter().filter_map(|(slot, seen)| match seen {
            Named::Always(value, base) if bases.contains(&base) => Some((slot, value)),
            _ => None,
        });
        let wanted = |&(slot, value): &(u32, Value)| {
            let before = self.values[value].is_some();
            before
                && !used.contains(value)
                && func.virtual_words(value).is_none()
                && constant(func, value).is_none()
                && !holds(&self.held, (slot, value))
        };
        unchanged.filter(wanted).collect()
    }

    /// Context and frame, as they were put there.
    fn read_base(&mut self) -> Base {
        let place = self.base_place();
        let flags = self.region(READ);
        let mut read = |offset| {
            let at = self.b.ins().stack_addr(types::I64, place, offset);
            self.b.ins().load(types::I64, flags, at, 0)
        };
        (read(0), read(8))
    }

    /// Finds the loops that call helpers and routines, which keep some registers, and no functions, which keep none.
    pub(super) fn find_calling(&mut self) {
        let func = self.func;
        let mut others = EntitySet::new();
        for &block in func.layout.iter().filter(|&&b| !func.blocks[b].cold) {
            let ops = || func.blocks[block].insts.iter().map(|&i| func.insts[i].op);
            let runtime = ops().any(|op| op == Op::Routine || op.info().helper);
            let functions = ops().any(|op| op.info().calls);
            let mut next = self.loops.innermost(block);
            while let Some(id) = next {
                if runtime {
                    self.calling.insert(id);
                }
                if functions {
                    others.insert(id);
                }
                next = self.loops.loops[id].parent.expand();
            }
        }
        others.iter().for_each(|id| {
            self.calling.remove(id);
        });
    }

    /// In a loop that calls: context and frame are read again, so that they take no registers throughout it.
    pub(super) fn read_behind_call(&mut self) {
        if self.reading {
            (self.ctx, self.fp) = self.read_base();
        }
    }

    /// Begins code that runs seldom: in a loop, context and frame are read there. Gives what [`end_cold`](Self::end_cold) takes.
    pub(super) fn begin_cold(&mut self) -> Base {
        let kept = (self.ctx, self.fp);
        // Rare code in rare code has them already.
        if self.looping && (self.reading || self.given.0 == self.ctx) {
            (self.ctx, self.fp) = self.read_base();
        }
        kept
    }

    /// Ends code that runs seldom.
    pub(super) fn end_cold(&mut self, kept: Base) {
        (self.ctx, self.fp) = kept;
    }

    pub(super) fn base_place(&mut self) -> clif::StackSlot {
        match self.base {
            Some(place) => place,
            // Behind context and frame is room for what slow paths take.
            None => *self.base.insert(stack_slot(&mut self.b, 48)),
        }
    }

    /// In a loop: puts at most four arguments behind context and frame.
    pub(super) fn write_arguments(&mut self, arguments: &[clif::Value]) {
        let place = self.base_place();
        for (&v, offset) in arguments.iter().zip((16..).step_by(8)) {
            let at = self.b.ins().stack_addr(types::I64, place, offset);
            let flags = self.region(WRITTEN);
            self.b.ins().store(flags, v, at, 0);
        }
    }

    /// Accesses that Cranelift takes for accesses to memory of their own: it puts no stored value in a load's place.
    fn region(&mut self, id: (u32, &'static str)) -> MemFlagsData {
        let data = AliasRegionData { user_id: id.0, description: id.1.into() };
        let region = self.b.func.dfg.alias_regions.insert(data);
        trusted().with_alias_region(Some(region))
    }

    /// Stores what is neither constant nor `written`, and registers the exit; gives its number.
    pub(super) fn exit_state(&mut self, state: State, reason: Reason, written: &[(u32, Value)]) -> i64 {
        let func = self.func;
        let mut frames = Vec::new();
        let mut constants = Vec::new();
        let mut made = Made::new();
        let mut next = Some(state);
        while let Some(s) = next {
            let data = &func.states[s];
            let mut live = Vec::with_capacity(data.slots.len());
            for &(slot, value) in &data.slots {
                live.push(slot);
                match constant(func, value) {
                    Some(bits) => constants.push((slot, bits)),
                    None => {
                        // Parameters of a loop are in the frame as they came.
                        if self.unmoved.get(&slot) == Some(&value) || written.contains(&(slot, value)) {
                            continue;
                        }
                        let v = self.object(value, &mut made);
                        self.store_slot(slot, v);
                    }
                }
            }
            live.sort_unstable();
            frames.push(ExitFrame {
                function: data.function,
                word: data.word,
                base: data.base,
                live: live.into_boxed_slice(),
            });
            next = data.parent.expand();
        }
        let number = self.exits.len();
        let inner = &func.states[state];
        let windowless = inner.slots.iter().all(|s| s.0 < inner.end);
        let origin = inner.origin.unwrap_or((inner.function, inner.word));
        let (frames, constants) = (frames.into(), constants.into());
        let entered_complete = func.osr.is_some();
        self.exits.push(Exit { reason, origin, frames, constants, windowless, entered_complete });
        (u64::from(self.number) << 32 | number as u64) as i64
    }

    /// Finds the cells of the root frame. Functions that take it over by tail calls may have other things there. Of the frame in which
    /// a loop was entered: those that states name.
    pub(super) fn find_root_cells(&mut self) {
        if self.func.osr.is_some() {
            let func = self.func;
            let roots = func.states.values().filter(|s| s.base == 0);
            let named = roots.flat_map(|s| s.slots.iter().filter(|slot| slot.0 < s.end).copied());
            let params = func.params.iter().copied().zip(func.blocks[func.entry()].params.iter().copied());
            let cells = named.chain(params).filter(|&(_, v)| func.ty(v) == Type::Cell);
            self.root_cells = cells.map(|slot| slot.0).collect();
            self.root_cells.sort_unstable();
            self.root_cells.dedup();
            return;
        }
        let mut cells = self.cells_of(self.index, 0);
        let mut seen = vec![self.index];
        for state in self.func.states.values().filter(|s| s.parent.is_none()) {
            if !seen.contains(&state.function) {
                seen.push(state.function);
                let others = self.cells_of(state.function, 0);
                cells.retain(|slot| others.contains(slot));
            }
        }
        self.root_cells = cells;
    }

    /// The slots that hold a constant since before the loop that is compiled alone, with its value, where states name it: what the
    /// loop reads and does not write was written before it.
    fn literals_around(&self) -> Vec<(u32, Value)> {
        let func = self.func;
        let (Some(guest), Some(outline)) = (self.facts.function(self.index), self.facts.outline(self.index))
        else {
            return Vec::new();
        };
        let Some(extent) = func.osr.and_then(|word| outline.at(word - 1)) else { return Vec::new() };
        let known = outline.literals(guest.meta, guest.code);
        if known.is_empty() {
            return Vec::new();
        }
        let mut read = Slots::default();
        let mut written = Slots::default();
        for at in flow::words(guest.code, extent.header, extent.end + 1) {
            let Some(inst) = flow::instruction(guest.code, at) else { break };
            for (slot, role, _) in flow::registers(&inst) {
                (if role == Role::Use { &mut read } else { &mut written }).insert(slot);
            }
        }
        // Who takes the frame over by a tail call has other things in it.
        if func.states.values().any(|s| s.base == 0 && s.function != self.index) {
            return Vec::new();
        }
        let mut values: BTreeMap<u32, Option<Value>> = BTreeMap::new();
        for &(slot, value) in func.states.values().filter(|s| s.base == 0).flat_map(|s| &s.slots) {
            let Some(&literal) = known.get(&slot).filter(|_| read.contains(slot) && !written.contains(slot))
            else {
                continue;
            };
            let wanted = match literal {
                Literal::Int(v) => (Op::Iconst, v),
                Literal::Float(bits) => (Op::Fconst, bits),
                Literal::Cell(bits) => (Op::Cconst, bits),
                Literal::Constant(number) => match self.facts.constant(number) {
                    Some(cell) => (Op::Cconst, cell.bits() as i64),
                    None => (Op::Constant, number.into()),
                },
            };
            let value = Some(value).filter(|&v| func.def(v).is_some_and(|def| (def.op, def.imm) == wanted));
            values.entry(slot).and_modify(|v| *v = v.filter(|_| *v == value)).or_insert(value);
        }
        values.into_iter().filter_map(|(slot, value)| Some((slot, value?))).collect()
    }

    /// Finds the parameters of a loop whose slots nothing else is ever stored to.
    pub(super) fn find_unmoved(&mut self) {
        let func = self.func;
        if func.osr.is_none() {
            return;
        }
        for (&param, &slot) in func.blocks[func.entry()].params.iter().zip(&func.params) {
            self.unmoved.insert(slot, param);
        }
        self.literals = self.literals_around();
        self.unmoved.extend(self.literals.iter().copied());
        for &(slot, value) in func.states.values().flat_map(|s| &s.slots) {
            if self.unmoved.get(&slot).is_some_and(|&v| v != value) {
                self.unmoved.remove(&slot);
            }
        }
        for site in func.sites.values() {
            self.unmoved.remove(&site.slot);
        }
    }

    pub(super) fn leave_at(&mut self, state: State, reason: Reason, written: &[(u32, Value)]) {
        let id = self.exit_state(state, reason, written);
        let id = self.iconst(id);
        if self.looping && self.in_memory {
            let stub = self.stub(Stub::ExitAt);
            self.b.ins().call(stub, &[id]);
        } else {
            let stub = self.stub(Stub::Exit);
            self.b.ins().call(stub, &[self.ctx, self.fp, id]);
        }
        self.b.ins().trap(clif::TrapCode::unwrap_user(1));
    }

    /// Leaves where the guest's or the native stack has no room for what the function calls.
    pub(super) fn check_room(&mut self, state: State) {
        let end = self.address(self.room);
        let limit = self.load64(self.ctx, offset_of!(Context, stack_limit));
        let full = self.b.ins().icmp(IntCC::UnsignedGreaterThan, end, limit);
        self.exit_if(full, state, Reason::Stack);
        let sp = self.b.ins().get_stack_pointer(types::I64);
        let limit = self.load64(self.ctx, offset_of!(Context, native_limit));
        let low = self.b.ins().icmp(IntCC::UnsignedLessThan, sp, limit);
        self.exit_if(low, state, Reason::Native);
    }

    /// Leaves where a condition holds.
    pub(super) fn exit_if(&mut self, cond: clif::Value, state: State, reason: Reason) {
        let exit = self.exit_block(state, reason);
        let next = self.b.create_block();
        self.b.ins().brif(cond, exit, &[], next, &[]);
        self.b.switch_to_block(next);
        self.count_held(state, reason);
    }

    /// Counts that a check held, where that is asked for.
    fn count_held(&mut self, state: State, reason: Reason) {
        let Some(counters) = self.counters else { return };
        let func = self.func;
        let st = &func.states[state];
        let unused = self.held_checks.len() as u32;
        let counter = *self.held_checks.entry((reason, st.function, st.word)).or_insert(unused);
        if counter >= counters.room {
            return;
        }
        let place = self.iconst(counters.address as i64 + i64::from(counter) * 8);
        let count = self.b.ins().load(types::I64, trusted(), place, 0);
        let count = self.b.ins().iadd_imm_s(count, 1);
        self.b.ins().store(trusted(), count, place, 0);
    }

    /// Leaves where a condition does not hold.
    pub(super) fn exit_unless(&mut self, cond: clif::Value, state: State, reason: Reason) {
        // What stands first in a branch is placed behind everything that the other way leads to, so behind the loop: registers of a
        // loop are not given to what its exits store.
        let dfg = &self.b.func.dfg;
        let compare = dfg.value_def(cond).inst().map(|inst| dfg.insts[inst]);
        let failed = match compare {
            Some(clif::InstructionData::IntCompare { args: [a, b], cond, .. }) => {
                self.b.ins().icmp(cond.complement(), a, b)
            }
            Some(clif::InstructionData::FloatCompare { args: [a, b], cond, .. }) => {
                self.b.ins().fcmp(cond.complement(), a, b)
            }
            _ => self.b.ins().icmp_imm_s(IntCC::Equal, cond, 0),
        };
        self.exit_if(failed, state, reason);
    }
}

/// What the frame states of a loop say of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Named {
    /// Nothing.
    #[default]
    Never,
    /// That it holds a value, in the frame at a base.
    Always(Value, u32),
    /// Several things.
    Differently,
}

/// So many bytes of the native frame, for words.
fn stack_slot(b: &mut FunctionBuilder<'_>, size: u32) -> clif::StackSlot {
    b.create_sized_stack_slot(clif::StackSlotData::new(clif::StackSlotKind::ExplicitSlot, size, 3))
}

/// Whether a slot is known to hold a value.
fn holds(held: &SlotMap<Held>, (slot, value): (u32, Value)) -> bool {
    held.get(slot) == Held::Value(value)
}
