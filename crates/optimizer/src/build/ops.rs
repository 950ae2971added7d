//! One arm per op of the bytecode, and what arms share: routines, helpers, ways that meet. `cells.rs` has what is dynamic, `data.rs` lists,
//! maps and strings.

use std::mem::offset_of;
use upshift_bytecode::ops::Role;
use upshift_bytecode::{Effects, Immediate, Inst as Bytecode, Op as Code, OperandKind, ValueType};
use upshift_runtime::check::{Test, Told};
use upshift_runtime::context::Context;
use upshift_runtime::linked::type_of_code;
use upshift_runtime::object::{Closure, Header, List, MapObject, ObjectKind, Record, Ref, Tuple};
use upshift_runtime::routine::Routine;
use upshift_runtime::value::Value as Cell;

use super::cells::Arithmetic;
use super::data::{BOOLS, CELLS, FLOATS, INTS};
use super::{Builder, Edge, Frame, Headers, Watched, type_of};
use crate::flow;
use crate::helper::Helper;
use crate::ir::{
    Block, Class, Cond, InstData, Made, Note, Op, Reason, RoutineKind, Site, SiteData, SiteEffects, Target,
    Type, Value, WATCH_BYTES, Width,
};
use crate::slots::Slots;

impl<'a> Builder<'a> {
    /// A branch: the ways go on in blocks of their own.
    pub(super) fn branch(
        &mut self,
        frame: &mut Frame<'a>,
        inst: &Bytecode,
        edges: &mut [Vec<Edge>],
        headers: &Headers,
    ) {
        let at = self.word;
        let next = at + inst.op.words() as u32;
        let back = inst.op.effects().has(Effects::LOOP);
        let o = inst.operands;
        let targets = flow::targets(frame.guest.code, at, inst);
        let target = targets.first().copied().unwrap_or(next);
        match inst.op {
            Code::Jump => return self.flow_to(frame, target, edges),
            Code::JumpLoop => return self.back(frame, target, headers),
            Code::IntSwitch | Code::CellSwitch | Code::StringSwitch => {
                return self.switch(frame, inst, edges);
            }
            Code::WatchBranch => match self.facts.watch(o[0] as u32) {
                Watched::Bumped => return self.flow_to(frame, target, edges),
                Watched::Intact if !self.facts.failed(frame.guest.meta.index, at) => {
                    let watch = o[0] as u32;
                    if let Err(place) = self.func.watches.binary_search(&watch) {
                        self.func.watches.insert(place, watch);
                    }
                    let (bumped, zero) = (self.bumped(o[0]), self.iconst(0));
                    let intact = self.icmp(Cond::Eq, bumped, zero);
                    self.guard(frame, intact, Reason::Watch);
                    return self.flow_to(frame, next, edges);
                }
                Watched::Intact | Watched::Unknown => {}
            },
            Code::IntAddOrJump | Code::IntSubOrJump | Code::IntMulOrJump => {
                let (a, b) = (self.int(o[1]), self.int(o[2]));
                let (test, op) = match inst.op {
                    Code::IntAddOrJump => (Op::IaddOverflows, Op::Iadd),
                    Code::IntSubOrJump => (Op::IsubOverflows, Op::Isub),
                    _ => (Op::ImulOverflows, Op::Imul),
                };
                let overflows = self.binary(test, a, b);
                let [jumps, goes] = self.split(overflows, [true, false]);
                let env = self.env.clone();
                self.way(frame, jumps, target, false, edges, headers);
                self.env = env;
                self.cur = goes;
                self.dead = false;
                let v = self.binary(op, a, b);
                self.set(o[0], v);
                self.way(frame, goes, next, false, edges, headers);
                return;
            }
            _ => {}
        }
        if inst.op == Code::IntForLoop {
            let (i, one) = (self.int(o[0]), self.iconst(1));
            let i = self.binary(Op::Iadd, i, one);
            self.set(o[0], i);
        }
        let cond = self.condition(frame, inst);
        if self.dead {
            return;
        }
        let [taken, not] = self.split(cond, [false, false]);
        let env = self.env.clone();
        self.way(frame, taken, target, back, edges, headers);
        self.env = env;
        self.way(frame, not, next, false, edges, headers);
    }

    /// What the table of watches has.
    fn bumped(&mut self, watch: i64) -> Value {
        let table = self.context(offset_of!(Context, watches));
        self.load(Class::Watch, Width::U32, table, watch as usize * WATCH_BYTES)
    }

    /// The condition of a branch, 1 where it jumps.
    pub(super) fn condition(&mut self, frame: &mut Frame<'a>, inst: &Bytecode) -> Value {
        let o = inst.operands;
        let ints = |c: &mut Self, cond| {
            let (a, b) = (c.int(o[0]), c.int(o[1]));
            c.icmp(cond, a, b)
        };
        let imm = |c: &mut Self, cond| {
            let (a, b) = (c.int(o[0]), c.iconst(o[1]));
            c.icmp(cond, a, b)
        };
        let floats = |c: &mut Self, cond| {
            let (a, b) = (c.float(o[0]), c.float(o[1]));
            c.fcmp(cond, a, b)
        };
        match inst.op {
            Code::IfBranch | Code::IfLoop => {
                let (a, zero) = (self.int(o[0]), self.iconst(0));
                self.icmp(Cond::Ne, a, zero)
            }
            Code::UnlessBranch | Code::UnlessLoop => {
                let (a, zero) = (self.int(o[0]), self.iconst(0));
                self.icmp(Cond::Eq, a, zero)
            }
            Code::IntEqBranch | Code::IntEqLoop => ints(self, Cond::Eq),
            Code::IntNeBranch | Code::IntNeLoop => ints(self, Cond::Ne),
            Code::IntLtBranch | Code::IntLtLoop | Code::IntForLoop => ints(self, Cond::Lt),
            Code::IntLeBranch | Code::IntLeLoop => ints(self, Cond::Le),
            Code::IntEqImmBranch | Code::IntEqImmLoop => imm(self, Cond::Eq),
            Code::IntNeImmBranch | Code::IntNeImmLoop => imm(self, Cond::Ne),
            Code::IntLtImmBranch | Code::IntLtImmLoop => imm(self, Cond::Lt),
            Code::IntLeImmBranch | Code::IntLeImmLoop => imm(self, Cond::Le),
            Code::IntGtImmBranch | Code::IntGtImmLoop => imm(self, Cond::Gt),
            Code::IntGeImmBranch | Code::IntGeImmLoop => imm(self, Cond::Ge),
            Code::FloatEqBranch | Code::FloatEqLoop => floats(self, Cond::Eq),
            Code::FloatNeBranch | Code::FloatNeLoop => floats(self, Cond::Ne),
            Code::FloatLtBranch | Code::FloatLtLoop => floats(self, Cond::Lt),
            Code::FloatLeBranch | Code::FloatLeLoop => floats(self, Cond::Le),
            Code::FloatNotLtBranch | Code::FloatNotLtLoop => floats(self, Cond::Ge),
            Code::FloatNotLeBranch | Code::FloatNotLeLoop => floats(self, Cond::Gt),
            Code::WatchBranch => {
                let bumped = self.bumped(o[0]);
                let zero = self.iconst(0);
                self.icmp(Cond::Ne, bumped, zero)
            }
            Code::TruthyBranch => {
                let a = self.cell(o[0]);
                self.truthy(a, o[1])
            }
            Code::FalsyBranch => {
                let a = self.cell(o[0]);
                let t = self.truthy(a, o[1]);
                self.not(t)
            }
            Code::IsBranch | Code::IsNotBranch => {
                let a = self.cell(o[0]);
                let what = if o[1] == Immediate::Hole as i64 {
                    Cell::HOLE.bits()
                } else {
                    Cell::NIL.bits() - Immediate::Nil as u64 + o[1] as u64
                };
                let what = self.cconst(Cell::from_bits(what));
                let same = self.binary(Op::Same, a, what);
                if inst.op == Code::IsBranch { same } else { self.not(same) }
            }
            Code::StringEqBranch | Code::StringNeBranch => {
                let (a, b) = (self.cell(o[0]), self.cell(o[1]));
                let same = self.string_equal(a, b);
                if inst.op == Code::StringEqBranch { same } else { self.not(same) }
            }
            // Every op that branches is above or in `branch`.
            _ => {
                self.exit(frame, Reason::Always);
                self.iconst_nowhere()
            }
        }
    }

    /// A value where nothing is reached any more: the block has ended, so it stands in no block.
    pub(super) fn iconst_nowhere(&mut self) -> Value {
        let (_, v) = self.func.make(InstData::new(Op::Iconst, &[]));
        v.unwrap_or(Value::from_u32_checked(0))
    }

    pub(super) fn not(&mut self, a: Value) -> Value {
        let zero = self.iconst(0);
        self.icmp(Cond::Eq, a, zero)
    }

    pub(super) fn context(&mut self, offset: usize) -> Value {
        self.def(InstData::new(Op::Context, &[]).imm(offset as i64))
    }

    pub(super) fn switch(&mut self, frame: &mut Frame<'a>, inst: &Bytecode, edges: &mut [Vec<Edge>]) {
        let at = self.word;
        let distance = inst.operands[1] as u32;
        let (cases, value) = match inst.op {
            Code::IntSwitch => {
                let (cases, _) = flow::switch(frame.guest.code, at, distance);
                (cases, self.int(inst.operands[0]))
            }
            Code::CellSwitch => {
                let (cases, _) = flow::switch(frame.guest.code, at, distance);
                let cell = self.cell(inst.operands[0]);
                (cases, self.unary(Op::Bits, cell))
            }
            _ => {
                // The helper finds the distance of the target.
                let (keys, default) = flow::switch(frame.guest.code, at, distance);
                let mut cases: Vec<(i64, i64)> =
                    keys.iter().map(|k| (k.1, k.1)).filter(|k| k.0 != default).collect();
                cases.sort_unstable();
                cases.dedup();
                let place = i64::from(frame.guest.meta.index) << 32 | i64::from(at + distance);
                let table = self.def(InstData::new(Op::Code, &[]).imm(place));
                let cell = self.cell(inst.operands[0]);
                (cases, self.helper(Helper::StringSwitch, &[table, cell]))
            }
        };
        let (_, default) = flow::switch(frame.guest.code, at, distance);
        let words: Vec<u32> =
            cases.iter().map(|c| c.1).chain([default]).map(|d| (i64::from(at) + d) as u32).collect();
        let blocks: Vec<Block> = words.iter().map(|_| self.add_block(false)).collect();
        let number = self.func.cases.len() as i64;
        self.func.cases.push(cases.iter().map(|c| c.0).collect());
        let targets: Vec<Target> = blocks.iter().map(|&b| Target::new(b)).collect();
        self.push(InstData::new(Op::Switch, &[value]).imm(number).targets(targets));
        let env = self.env.clone();
        for (&block, &word) in blocks.iter().zip(&words) {
            self.env.clone_from(&env);
            self.cur = block;
            self.dead = false;
            self.flow_to(frame, word, edges);
        }
        self.dead = true;
    }

    // ---- Routines and helpers ----

    /// What a routine of an op may do.
    pub(super) fn effects(op: Code) -> SiteEffects {
        let e = op.effects();
        let calls = e.has(Effects::CALL);
        SiteEffects {
            writes: calls || e.has(Effects::WRITE),
            reads: true,
            collects: e.collects(),
            calls,
            own: e.has(Effects::OWN),
            grows: e.has(Effects::GROW),
            new: e.has(Effects::NEW),
        }
    }

    /// The register that an instruction defines.
    pub(super) fn destination(inst: &Bytecode) -> Option<(u32, Type)> {
        flow::registers(inst).find(|r| r.1 != Role::Use).map(|(slot, _, bank)| (slot, type_of(bank)))
    }

    /// The site of a routine that does an instruction.
    pub(super) fn routine_site(&mut self, frame: &Frame<'a>, inst: &Bytecode, routine: Routine) -> Site {
        let dst = Self::destination(inst);
        let effects = Self::effects(inst.op);
        self.site(SiteData {
            routine: routine as u32,
            kind: if effects.calls { RoutineKind::Call } else { RoutineKind::Plain },
            slot: dst.map_or(u32::MAX, |d| frame.base + d.0),
            uses: Some(
                flow::registers(inst)
                    .filter(|r| r.1 != Role::Def)
                    .map(|(slot, ..)| frame.base + slot)
                    .collect(),
            ),
            result: dst.map(|d| d.1),
            callee: 0,
            params: Box::default(),
            header: 0,
            effects,
        })
    }

    /// Does an instruction by its routine.
    pub(super) fn routine(&mut self, frame: &Frame<'a>, inst: &Bytecode, routine: Routine) -> Option<Value> {
        let site = self.routine_site(frame, inst, routine);
        if self.func.sites[site].kind == RoutineKind::Call {
            self.calls = true;
            self.reach(frame.base + frame.guest.meta.layout.size());
        }
        let state = self.state(frame);
        let v = self.push(InstData::new(Op::Routine, &[]).state(state).site(site));
        if let (Some(v), Some((slot, _))) = (v, Self::destination(inst)) {
            self.set(i64::from(slot), v);
        }
        v
    }

    /// What a helper makes, or where that is hole, a routine.
    pub(super) fn quick_routine(
        &mut self,
        frame: &Frame<'a>,
        inst: &Bytecode,
        routine: Routine,
        helper: Helper,
        args: &[Value],
    ) {
        let v = self.quick_or_routine(frame, inst, routine, helper, args);
        if let Some((slot, _)) = Self::destination(inst) {
            self.set(i64::from(slot), v);
        }
    }

    /// What the helper gives, or where that is hole, the routine.
    fn quick_or_routine(
        &mut self,
        frame: &Frame<'a>,
        inst: &Bytecode,
        routine: Routine,
        helper: Helper,
        args: &[Value],
    ) -> Value {
        let (function, word) = (frame.guest.meta.index, self.word);
        self.func.notes.push(Note { function, word, made: Made::Quick });
        let made = self.helper(helper, args);
        let bits = self.unary(Op::Bits, made);
        let hole = self.iconst(Cell::HOLE.bits() as i64);
        let there = self.icmp(Cond::Ne, bits, hole);
        self.join(there, Type::Cell, [false, true], |_| Some(made), |c| c.routine(frame, inst, routine))
    }

    /// Whether `b` is known to be `a + 1`.
    fn is_next(&self, a: Value, b: Value) -> bool {
        if let (Some(a), Some(b)) = (self.func.int_const(a), self.func.int_const(b)) {
            return a.checked_add(1) == Some(b);
        }
        self.func.def(b).is_some_and(|data| {
            matches!(data.op, Op::Iadd | Op::IaddExit)
                && data.args[0] == a
                && self.func.int_const(data.args[1]) == Some(1)
        })
    }

    /// A slice of one character, which is short whatever it is.
    fn one_character(&mut self, frame: &Frame<'a>, inst: &Bytecode, s: Value, range: [Value; 2]) {
        let [from, to] = range;
        let bits = self.ascii(s, from, Self::character_bits, |c| {
            let v = c.quick_or_routine(frame, inst, Routine::StringSlice, Helper::StringPart, &[s, from, to]);
            c.unary(Op::Bits, v)
        });
        let v = self.unary(Op::OfBits, bits);
        self.set(inst.operands[0], v);
    }

    /// The bits of the string of one ASCII character.
    fn character_bits(&mut self, byte: Value) -> Value {
        let short = self.iconst(Cell::short_string(b"\0").map_or(0, |s| s.bits() as i64));
        self.binary(Op::Iadd, byte, short)
    }

    /// Notes that frames reach to a slot.
    pub(super) fn reach(&mut self, slot: u32) {
        self.extent = self.extent.max(slot);
    }

    pub(super) fn helper(&mut self, helper: Helper, args: &[Value]) -> Value {
        let site = self.site(helper.site());
        self.def(InstData::new(Op::Helper, args).imm(helper as i64).site(site))
    }

    /// Where two ways meet: `make` appends to each, in the block that it is given, and gives the value.
    pub(super) fn join(
        &mut self,
        cond: Value,
        ty: Type,
        cold: [bool; 2],
        first: impl FnOnce(&mut Self) -> Option<Value>,
        second: impl FnOnce(&mut Self) -> Option<Value>,
    ) -> Value {
        let [a, b] = self.split(cond, cold);
        let mut ends = Vec::new();
        self.cur = a;
        if let Some(v) = first(self) {
            ends.push((self.cur, v));
        }
        self.cur = b;
        if let Some(v) = second(self) {
            ends.push((self.cur, v));
        }
        let after = self.add_block(false);
        let result = self.func.add_param(after, ty);
        for (block, v) in ends {
            self.cur = block;
            self.goto(after, &[v]);
        }
        self.cur = after;
        self.dead = false;
        result
    }

    /// As [`Builder::join`], without a value.
    pub(super) fn meet(
        &mut self,
        cond: Value,
        cold: [bool; 2],
        first: impl FnOnce(&mut Self),
        second: impl FnOnce(&mut Self),
    ) {
        let [a, b] = self.split(cond, cold);
        let after = self.func.blocks.push(Default::default());
        self.cur = a;
        first(self);
        self.goto(after, &[]);
        self.cur = b;
        second(self);
        self.goto(after, &[]);
        self.func.layout.push(after);
        self.cur = after;
    }

    /// What `quick` makes, unless something that it requires does not hold: then what `slow` makes, which runs seldom if `cold`. What it
    /// requires goes to the block that it is given, by [`Builder::require`].
    pub(super) fn attempt(
        &mut self,
        ty: Option<Type>,
        cold: bool,
        quick: impl FnOnce(&mut Self, Block) -> Option<Value>,
        slow: impl FnOnce(&mut Self) -> Option<Value>,
    ) -> Option<Value> {
        let fail = self.func.blocks.push(Default::default());
        let after = self.func.blocks.push(Default::default());
        self.func.blocks[fail].cold = cold;
        let v = quick(self, fail);
        self.goto(after, v.as_slice());
        self.func.layout.push(fail);
        self.cur = fail;
        let v = slow(self);
        self.goto(after, v.as_slice());
        self.func.layout.push(after);
        self.cur = after;
        ty.map(|ty| self.func.add_param(after, ty))
    }

    pub(super) fn set_result(&mut self, slot: i64, value: Option<Value>) {
        if let Some(v) = value {
            self.set(slot, v);
        }
    }

    /// Goes to a block unless a condition holds.
    pub(super) fn require(&mut self, cond: Value, fail: Block) {
        let next = self.add_block(false);
        self.push(InstData::new(Op::Branch, &[cond]).targets([next, fail].map(Target::new)));
        self.cur = next;
    }

    // ---- Ops ----

    pub(super) fn set_unary(&mut self, inst: &Bytecode, op: Op, from: Type) {
        let a = self.get(inst.operands[1], from);
        let v = self.unary(op, a);
        self.set(inst.operands[0], v);
    }

    pub(super) fn set_ints(&mut self, inst: &Bytecode, op: Op) {
        let (a, b) = (self.int(inst.operands[1]), self.int(inst.operands[2]));
        let v = self.binary(op, a, b);
        self.set(inst.operands[0], v);
    }

    pub(super) fn set_imm(&mut self, inst: &Bytecode, op: Op) {
        let (a, b) = (self.int(inst.operands[1]), self.iconst(inst.operands[2]));
        let v = self.binary(op, a, b);
        self.set(inst.operands[0], v);
    }

    pub(super) fn checked(&mut self, frame: &Frame<'a>, op: Op, a: Value, b: Value) -> Value {
        let state = self.state(frame);
        self.def(InstData::new(op, &[a, b]).imm(Reason::Overflow as i64).state(state))
    }

    pub(super) fn set_checked(&mut self, frame: &Frame<'a>, inst: &Bytecode, op: Op, immediate: bool) {
        let o = inst.operands;
        let a = self.int(o[1]);
        let b = if immediate { self.iconst(o[2]) } else { self.int(o[2]) };
        let v = self.checked(frame, op, a, b);
        self.set(o[0], v);
    }

    pub(super) fn set_icmp(&mut self, inst: &Bytecode, cond: Cond, immediate: bool) {
        let o = inst.operands;
        let a = self.int(o[1]);
        let b = if immediate { self.iconst(o[2]) } else { self.int(o[2]) };
        let v = self.icmp(cond, a, b);
        self.set(o[0], v);
    }

    pub(super) fn set_floats(&mut self, inst: &Bytecode, op: Op) {
        let (a, b) = (self.float(inst.operands[1]), self.float(inst.operands[2]));
        let v = self.binary(op, a, b);
        self.set(inst.operands[0], v);
    }

    pub(super) fn set_fcmp(&mut self, inst: &Bytecode, cond: Cond) {
        let (a, b) = (self.float(inst.operands[1]), self.float(inst.operands[2]));
        let v = self.fcmp(cond, a, b);
        self.set(inst.operands[0], v);
    }

    pub(super) fn set_fcall(&mut self, inst: &Bytecode, helper: Helper, two: bool) {
        let o = inst.operands;
        let a = self.float(o[1]);
        let data = if two {
            let b = self.float(o[2]);
            InstData::new(Op::Fcall2, &[a, b])
        } else {
            InstData::new(Op::Fcall1, &[a])
        };
        let v = self.def(data.imm(helper as i64));
        self.set(o[0], v);
    }

    /// Leaves where a float divisor is zero.
    pub(super) fn guard_divisor(&mut self, frame: &Frame<'a>, inst: &Bytecode) {
        let (b, zero) = (self.float(inst.operands[2]), self.fconst(0.0));
        let is = self.fcmp(Cond::Ne, b, zero);
        self.guard(frame, is, Reason::Division);
    }

    pub(super) fn literal(&self, frame: &Frame<'a>, inst: &Bytecode) -> i64 {
        frame.guest.code.get(self.word as usize + inst.operands[1] as usize).map_or(0, |w| w.0 as i64)
    }

    /// One instruction that does not branch.
    #[expect(clippy::too_many_lines, reason = "one arm per op")]
    pub(super) fn inst(&mut self, frame: &mut Frame<'a>, inst: &Bytecode, after: &Slots) {
        let o = inst.operands;
        match inst.op {
            Code::Nop | Code::LoopHeader => {}
            Code::TierEntry => self.exit(frame, Reason::Always),
            Code::FrameClear => {
                let hole = self.cconst(Cell::HOLE);
                for slot in flow::cleared(frame.guest.meta, inst) {
                    self.set(i64::from(slot), hole);
                }
            }
            Code::IntMove | Code::IntLocalGet => {
                let v = self.int(o[1]);
                self.set(o[0], v);
            }
            Code::FloatMove | Code::FloatLocalGet => {
                let v = self.float(o[1]);
                self.set(o[0], v);
            }
            Code::CellMove | Code::CellLocalGet => {
                let v = self.cell(o[1]);
                self.set(o[0], v);
            }
            Code::IntLocalSet => {
                let v = self.int(o[1]);
                self.set(o[0], v);
            }
            Code::FloatLocalSet => {
                let v = self.float(o[1]);
                self.set(o[0], v);
            }
            Code::CellLocalSet => {
                let v = self.cell(o[1]);
                self.set(o[0], v);
            }
            Code::IntConst => {
                let v = self.iconst(o[1]);
                self.set(o[0], v);
            }
            Code::IntConstWide => {
                let v = self.literal(frame, inst);
                let v = self.iconst(v);
                self.set(o[0], v);
            }
            Code::FloatConst => {
                let v = self.literal(frame, inst);
                let v = self.def(InstData::new(Op::Fconst, &[]).imm(v));
                self.set(o[0], v);
            }
            Code::CellConst => {
                let v = self.literal(frame, inst);
                let v = self.cconst(Cell::from_bits(v as u64));
                self.set(o[0], v);
            }
            Code::StringConst | Code::NameConst | Code::RecordConst => {
                let v = self.constant(o[1] as u32);
                self.set(o[0], v);
            }
            Code::IntAdd => self.set_ints(inst, Op::Iadd),
            Code::IntSub => self.set_ints(inst, Op::Isub),
            Code::IntMul => self.set_ints(inst, Op::Imul),
            Code::IntAddChecked => self.set_checked(frame, inst, Op::IaddExit, false),
            Code::IntSubChecked => self.set_checked(frame, inst, Op::IsubExit, false),
            Code::IntMulChecked => self.set_checked(frame, inst, Op::ImulExit, false),
            Code::IntAddImmChecked => self.set_checked(frame, inst, Op::IaddExit, true),
            Code::IntMulImmChecked => self.set_checked(frame, inst, Op::ImulExit, true),
            Code::IntAddImm => self.set_imm(inst, Op::Iadd),
            Code::IntNeg => {
                let (zero, a) = (self.iconst(0), self.int(o[1]));
                let v = self.binary(Op::Isub, zero, a);
                self.set(o[0], v);
            }
            Code::IntNegChecked => {
                let (zero, a) = (self.iconst(0), self.int(o[1]));
                let v = self.checked(frame, Op::IsubExit, zero, a);
                self.set(o[0], v);
            }
            Code::IntAbsChecked => {
                let a = self.int(o[1]);
                let least = self.iconst(i64::MIN);
                let fits = self.icmp(Cond::Ne, a, least);
                self.guard(frame, fits, Reason::Overflow);
                let zero = self.iconst(0);
                let negated = self.binary(Op::Isub, zero, a);
                let v = self.binary(Op::Imax, a, negated);
                self.set(o[0], v);
            }
            Code::IntDiv | Code::IntRem => {
                let (a, b) = (self.int(o[1]), self.int(o[2]));
                let zero = self.iconst(0);
                let some = self.icmp(Cond::Ne, b, zero);
                self.guard(frame, some, Reason::Division);
                if inst.op == Code::IntDiv {
                    let (least, minus) = (self.iconst(i64::MIN), self.iconst(-1));
                    let x = self.icmp(Cond::Ne, a, least);
                    let y = self.icmp(Cond::Ne, b, minus);
                    let fits = self.binary(Op::Ior, x, y);
                    self.guard(frame, fits, Reason::Overflow);
                    let v = self.binary(Op::Idiv, a, b);
                    self.set(o[0], v);
                } else {
                    let v = self.binary(Op::Irem, a, b);
                    self.set(o[0], v);
                }
            }
            Code::IntDivImm => self.set_imm(inst, Op::Idiv),
            Code::IntRemImm => self.set_imm(inst, Op::Irem),
            Code::IntAnd => self.set_ints(inst, Op::Iand),
            Code::IntOr => self.set_ints(inst, Op::Ior),
            Code::IntXor => self.set_ints(inst, Op::Ixor),
            Code::IntShl => self.set_ints(inst, Op::Ishl),
            Code::IntShrS => self.set_ints(inst, Op::IshrS),
            Code::IntShrU => self.set_ints(inst, Op::IshrU),
            Code::IntAndImm => self.set_imm(inst, Op::Iand),
            Code::IntShlImm => self.set_imm(inst, Op::Ishl),
            Code::IntShrSImm => self.set_imm(inst, Op::IshrS),
            Code::IntExtend32 => self.set_unary(inst, Op::Iextend32, Type::Int),
            Code::IntMin => self.set_ints(inst, Op::Imin),
            Code::IntMax => self.set_ints(inst, Op::Imax),
            Code::BoolNot => {
                let a = self.int(o[1]);
                let v = self.not(a);
                self.set(o[0], v);
            }
            Code::IntEq => self.set_icmp(inst, Cond::Eq, false),
            Code::IntNe => self.set_icmp(inst, Cond::Ne, false),
            Code::IntLt => self.set_icmp(inst, Cond::Lt, false),
            Code::IntLe => self.set_icmp(inst, Cond::Le, false),
            Code::IntEqImm => self.set_icmp(inst, Cond::Eq, true),
            Code::IntNeImm => self.set_icmp(inst, Cond::Ne, true),
            Code::IntLtImm => self.set_icmp(inst, Cond::Lt, true),
            Code::IntLeImm => self.set_icmp(inst, Cond::Le, true),
            Code::IntGtImm => self.set_icmp(inst, Cond::Gt, true),
            Code::IntGeImm => self.set_icmp(inst, Cond::Ge, true),

            Code::FloatAdd => self.set_floats(inst, Op::Fadd),
            Code::FloatSub => self.set_floats(inst, Op::Fsub),
            Code::FloatMul => self.set_floats(inst, Op::Fmul),
            Code::FloatDiv => self.set_floats(inst, Op::Fdiv),
            Code::FloatDivChecked => {
                self.guard_divisor(frame, inst);
                self.set_floats(inst, Op::Fdiv);
            }
            Code::FloatRem => self.set_fcall(inst, Helper::FloatRem, true),
            Code::FloatRemChecked => {
                self.guard_divisor(frame, inst);
                self.set_fcall(inst, Helper::FloatRem, true);
            }
            Code::FloatMin => self.set_floats(inst, Op::Fmin),
            Code::FloatMax => self.set_floats(inst, Op::Fmax),
            Code::FloatPow => self.set_fcall(inst, Helper::FloatPow, true),
            Code::FloatAtan2 => self.set_fcall(inst, Helper::FloatAtan2, true),
            Code::FloatNeg => self.set_unary(inst, Op::Fneg, Type::Float),
            Code::FloatAbs => self.set_unary(inst, Op::Fabs, Type::Float),
            Code::FloatSqrt => self.set_unary(inst, Op::Fsqrt, Type::Float),
            Code::FloatFloor => self.set_unary(inst, Op::Ffloor, Type::Float),
            Code::FloatCeil => self.set_unary(inst, Op::Fceil, Type::Float),
            Code::FloatTrunc => self.set_unary(inst, Op::Ftrunc, Type::Float),
            Code::FloatRound => self.set_fcall(inst, Helper::FloatRound, false),
            Code::FloatSin => self.set_fcall(inst, Helper::FloatSin, false),
            Code::FloatCos => self.set_fcall(inst, Helper::FloatCos, false),
            Code::FloatTan => self.set_fcall(inst, Helper::FloatTan, false),
            Code::FloatAsin => self.set_fcall(inst, Helper::FloatAsin, false),
            Code::FloatAcos => self.set_fcall(inst, Helper::FloatAcos, false),
            Code::FloatAtan => self.set_fcall(inst, Helper::FloatAtan, false),
            Code::FloatExp => self.set_fcall(inst, Helper::FloatExp, false),
            Code::FloatLog => self.set_fcall(inst, Helper::FloatLog, false),
            Code::FloatLog2 => self.set_fcall(inst, Helper::FloatLog2, false),
            Code::FloatLog10 => self.set_fcall(inst, Helper::FloatLog10, false),
            Code::FloatEq => self.set_fcmp(inst, Cond::Eq),
            Code::FloatNe => self.set_fcmp(inst, Cond::Ne),
            Code::FloatLt => self.set_fcmp(inst, Cond::Lt),
            Code::FloatLe => self.set_fcmp(inst, Cond::Le),
            Code::FloatFromInt => self.set_unary(inst, Op::FfromInt, Type::Int),
            Code::IntFromFloat => {
                let a = self.float(o[1]);
                let (low, high) =
                    (self.fconst(-9_223_372_036_854_775_808.0), self.fconst(9_223_372_036_854_775_808.0));
                let x = self.fcmp(Cond::Le, low, a);
                self.guard(frame, x, Reason::Overflow);
                let y = self.fcmp(Cond::Lt, a, high);
                self.guard(frame, y, Reason::Overflow);
                self.set_unary(inst, Op::IfromFloat, Type::Float);
            }
            Code::FloatFromBits => self.set_unary(inst, Op::FfromBits, Type::Int),
            Code::IntFromBits => self.set_unary(inst, Op::IfromBits, Type::Float),

            Code::Trap | Code::Throw => self.exit(frame, Reason::Always),
            Code::CallInt | Code::CallFloat | Code::CallCell | Code::CallVoid | Code::CallIntAddImm => {
                self.call_static(frame, inst, after)
            }
            Code::CallClosureInt | Code::CallClosureFloat | Code::CallClosureCell | Code::CallClosureVoid => {
                self.call_closure(frame, inst, after);
            }
            Code::CallHostInt | Code::CallHostFloat | Code::CallHostCell | Code::CallHostVoid => {
                self.routine(frame, inst, Routine::CallHost);
            }
            Code::CallCInt | Code::CallCFloat | Code::CallCVoid => {
                self.routine(frame, inst, Routine::CallC);
            }
            Code::CellCall => self.cell_call(frame, inst, after),
            Code::CellCallSpread => {
                self.routine(frame, inst, Routine::CellCallSpread);
            }
            Code::TailCall => self.tail_static(frame, inst),
            Code::TailClosure => self.tail_closure(frame, inst),
            Code::TailCell => self.tail_cell(frame, inst),
            // The driver goes on with the callee.
            Code::TailCellSpread => self.exit(frame, Reason::Region),
            Code::ReturnInt => {
                let v = self.int(o[0]);
                self.ret(frame, Some(v));
            }
            Code::ReturnIntAddChecked => {
                let (a, b) = (self.int(o[0]), self.int(o[1]));
                let v = self.checked(frame, Op::IaddExit, a, b);
                self.ret(frame, Some(v));
            }
            Code::ReturnFloat => {
                let v = self.float(o[0]);
                self.ret(frame, Some(v));
            }
            Code::ReturnCell => {
                let v = self.cell(o[0]);
                let results = match frame.guest.meta.result {
                    Some(ValueType::Cell(ty)) => self.facts.may_be_results(ty),
                    _ => false,
                };
                if results {
                    // None and many are noted at the call: the interpreter's return does it.
                    let bits = self.unary(Op::Bits, v);
                    let none = self.iconst(Cell::NONE.bits() as i64);
                    let many = self.iconst(Cell::MANY.bits() as i64);
                    let x = self.icmp(Cond::Ne, bits, none);
                    let y = self.icmp(Cond::Ne, bits, many);
                    let one = self.binary(Op::Iand, x, y);
                    self.guard(frame, one, Reason::Results);
                }
                self.ret(frame, Some(v));
            }
            Code::ReturnVoid => self.ret(frame, None),
            Code::ResultsClear => {
                self.routine(frame, inst, Routine::ResultsClear);
            }
            Code::ResultsPush => {
                self.routine(frame, inst, Routine::ResultsPush);
            }
            Code::ResultsLen => {
                self.routine(frame, inst, Routine::ResultsLen);
            }
            Code::ResultsGet => {
                self.routine(frame, inst, Routine::ResultsGet);
            }

            Code::CellAdd => self.arithmetic(frame, inst, Arithmetic::Add, Routine::CellAdd),
            Code::CellSub => self.arithmetic(frame, inst, Arithmetic::Sub, Routine::CellSub),
            Code::CellMul => self.arithmetic(frame, inst, Arithmetic::Mul, Routine::CellMul),
            Code::CellDiv => self.arithmetic(frame, inst, Arithmetic::Div, Routine::CellDiv),
            Code::CellRem => self.arithmetic(frame, inst, Arithmetic::Rem, Routine::CellRem),
            Code::CellNeg => self.negation(frame, inst),
            Code::CellEq => self.comparison(frame, inst, Cond::Eq, Routine::CellEq),
            Code::CellNe => self.comparison(frame, inst, Cond::Ne, Routine::CellNe),
            Code::CellLt => self.comparison(frame, inst, Cond::Lt, Routine::CellLt),
            Code::CellLe => self.comparison(frame, inst, Cond::Le, Routine::CellLe),
            Code::CellIdentical => {
                let (a, b) = (self.cell(o[1]), self.cell(o[2]));
                let v = self.helper(Helper::CellIdentical, &[a, b]);
                self.set(o[0], v);
            }
            Code::CellTruthy => {
                let a = self.cell(o[1]);
                let v = self.truthy(a, o[2]);
                self.set(o[0], v);
            }
            Code::CellKind => {
                let a = self.cell(o[1]);
                let v = self.helper(Helper::CellKind, &[a]);
                self.set(o[0], v);
            }
            Code::CellTest => {
                let a = self.cell(o[1]);
                let v = self.cell_test(a, o[2]);
                self.set(o[0], v);
            }
            Code::CellCast => {
                let a = self.cell(o[1]);
                match self.facts.test(o[2] as u32) {
                    _ if frame.guest.meta.holds_or_nil(o[1] as u32, o[2] as u32) => {
                        if !type_of_code(o[2] as u32).nullable {
                            let nil = self.cconst(Cell::NIL);
                            let none = self.binary(Op::Same, a, nil);
                            let some = self.not(none);
                            self.guard(frame, some, Reason::Mismatch);
                        }
                    }
                    Some(Test { nullable: false, what: Told::Shapes(shapes) })
                        if shapes.len() == 1
                            && let Some(tag) = self.telling_tag(frame, o[1], shapes[0]) =>
                    {
                        let of = self.load(Class::Fixed, Width::U16, a, offset_of!(Header, bits));
                        let wanted = self.iconst(tag);
                        let is = self.icmp(Cond::Eq, of, wanted);
                        self.guard(frame, is, Reason::Mismatch);
                    }
                    Some(Test { nullable: false, what: Told::Shapes(shapes) }) if shapes.len() == 1 => {
                        self.guard_shape(frame, a, shapes[0], Reason::Mismatch);
                    }
                    Some(Test { nullable: false, what: Told::Kind(kind) }) => {
                        self.guard_kind(frame, a, kind, Reason::Mismatch);
                    }
                    _ => {
                        let is = self.cell_test(a, o[2]);
                        self.guard(frame, is, Reason::Mismatch);
                    }
                }
                self.set(o[0], a);
            }
            Code::CellIndexGet => self.index_get(frame, inst),
            Code::CellIndexSet => self.index_set(frame, inst),
            Code::CellFieldGet => self.field_get(frame, inst),
            Code::CellFieldSet => self.field_set(frame, inst),

            Code::BoxInt => {
                let a = self.int(o[1]);
                let v = self.box_int(frame, inst, a);
                self.set(o[0], v);
            }
            Code::BoxFloat => self.set_unary(inst, Op::BoxFloat, Type::Float),
            Code::BoxBool => self.set_unary(inst, Op::BoxBool, Type::Int),
            Code::UnboxInt => {
                let a = self.cell(o[1]);
                let v = self.unbox_int(frame, a);
                self.set(o[0], v);
            }
            Code::UnboxFloat => {
                let a = self.cell(o[1]);
                let is = self.unary(Op::IsFloat, a);
                self.guard(frame, is, Reason::Mismatch);
                let v = self.unary(Op::CellFloat, a);
                self.set(o[0], v);
            }
            Code::UnboxNumber => {
                let a = self.cell(o[1]);
                let is = self.unary(Op::IsFloat, a);
                let frame = &*frame;
                let v = self.join(
                    is,
                    Type::Float,
                    [false, false],
                    |c| Some(c.unary(Op::CellFloat, a)),
                    |c| {
                        let i = c.unbox_int(frame, a);
                        Some(c.unary(Op::FfromInt, i))
                    },
                );
                self.set(o[0], v);
            }
            Code::UnboxBool => {
                let a = self.cell(o[1]);
                let bits = self.unary(Op::Bits, a);
                let no = self.iconst(Cell::FALSE.bits() as i64);
                let v = self.binary(Op::Isub, bits, no);
                let one = self.iconst(1);
                let is = self.icmp(Cond::Ule, v, one);
                self.guard(frame, is, Reason::Mismatch);
                self.set(o[0], v);
            }

            Code::StringLen => {
                let s = self.cell(o[1]);
                let v = self.unary(Op::StringLen, s);
                self.set(o[0], v);
            }
            Code::StringByteLen => {
                let s = self.cell(o[1]);
                let v = self.helper(Helper::StringByteLen, &[s]);
                self.set(o[0], v);
            }
            Code::StringGet | Code::StringGetRel => {
                let (s, mut i) = (self.cell(o[1]), self.int(o[2]));
                let relative = inst.op == Code::StringGetRel;
                let counts = relative && !self.assume_from_start(frame, i);
                let reason = if relative && !counts { Reason::Negative } else { Reason::Bounds };
                if counts {
                    let len = self.unary(Op::StringLen, s);
                    i = self.counted_from_end(i, len);
                }
                let frame = &*frame;
                let bits = self.ascii(s, i, Self::character_bits, |c| {
                    let v = c.helper(Helper::StringChar, &[s, i]);
                    let bits = c.unary(Op::Bits, v);
                    let hole = c.iconst(Cell::HOLE.bits() as i64);
                    let inside = c.icmp(Cond::Ne, bits, hole);
                    c.guard(frame, inside, reason);
                    bits
                });
                let v = self.unary(Op::OfBits, bits);
                self.set(o[0], v);
            }
            Code::StringCodeAt => {
                let (s, i) = (self.cell(o[1]), self.int(o[2]));
                let frame = &*frame;
                let v = self.ascii(
                    s,
                    i,
                    |_, byte| byte,
                    |c| {
                        let len = c.unary(Op::StringLen, s);
                        let inside = c.icmp(Cond::Ult, i, len);
                        c.guard(frame, inside, Reason::Bounds);
                        c.helper(Helper::StringCodeAt, &[s, i])
                    },
                );
                self.set(o[0], v);
            }
            Code::StringConcat => {
                let (a, b) = (self.cell(o[1]), self.cell(o[2]));
                self.quick_routine(frame, inst, Routine::StringConcat, Helper::StringJoin, &[a, b]);
            }
            Code::StringAppend => {
                let (a, b) = (self.cell(o[1]), self.cell(o[2]));
                self.quick_routine(frame, inst, Routine::StringAppend, Helper::StringExtend, &[a, b]);
            }
            Code::StringShare => {
                let a = self.cell(o[1]);
                self.string_share(a);
                self.set(o[0], a);
            }
            Code::StringSlice => {
                let (s, from, to) = (self.cell(o[1]), self.int(o[2]), self.int(o[3]));
                if self.is_next(from, to) {
                    self.one_character(frame, inst, s, [from, to]);
                } else {
                    self.quick_routine(frame, inst, Routine::StringSlice, Helper::StringPart, &[s, from, to]);
                }
            }
            Code::StringFromCode => {
                self.routine(frame, inst, Routine::StringFromCode);
            }
            Code::StringFromInt => {
                let i = self.int(o[1]);
                self.quick_routine(frame, inst, Routine::StringFromInt, Helper::StringDecimal, &[i]);
            }
            Code::StringContains => {
                let (s, part) = (self.cell(o[1]), self.cell(o[2]));
                let at = self.helper(Helper::StringIndexOf, &[s, part]);
                let zero = self.iconst(0);
                let v = self.icmp(Cond::Ge, at, zero);
                self.set(o[0], v);
            }
            Code::StringIndexOf => {
                let (s, part) = (self.cell(o[1]), self.cell(o[2]));
                let v = self.helper(Helper::StringIndexOf, &[s, part]);
                self.set(o[0], v);
            }
            Code::ListIntIndexOf => {
                let (list, i) = (self.cell(o[1]), self.int(o[2]));
                let v = self.helper(Helper::ListIntIndexOf, &[list, i]);
                self.set(o[0], v);
            }
            Code::ListStringIndexOf => {
                let (list, text) = (self.cell(o[1]), self.cell(o[2]));
                let v = self.helper(Helper::ListStringIndexOf, &[list, text]);
                self.set(o[0], v);
            }
            Code::StringCompare => {
                let (a, b) = (self.cell(o[1]), self.cell(o[2]));
                let v = self.helper(Helper::StringCompare, &[a, b]);
                self.set(o[0], v);
            }
            Code::StringEq | Code::StringNe => {
                let (a, b) = (self.cell(o[1]), self.cell(o[2]));
                let same = self.string_equal(a, b);
                let v = if inst.op == Code::StringEq { same } else { self.not(same) };
                self.set(o[0], v);
            }

            Code::ListLen => {
                let l = self.cell(o[1]);
                let v = self.load(Class::Len, Width::Int, l, offset_of!(List, len));
                self.set(o[0], v);
            }
            Code::ListShare => self.list_share(o[0]),
            Code::ListCopy => {
                self.routine(frame, inst, Routine::ListCopy);
            }
            Code::ListCut => self.list_cut(frame, inst),
            Code::ListSlice => {
                self.routine(frame, inst, Routine::ListSlice);
            }
            Code::ListConcat => {
                self.routine(frame, inst, Routine::ListConcat);
            }
            Code::ListExtend => {
                self.routine(frame, inst, Routine::ListExtend);
            }
            Code::ListIntNew => {
                self.list_new(frame, inst, ObjectKind::ListInt, Routine::ListIntNew);
            }
            Code::ListFloatNew => {
                self.list_new(frame, inst, ObjectKind::ListFloat, Routine::ListFloatNew);
            }
            Code::ListBoolNew => {
                self.routine(frame, inst, Routine::ListBoolNew);
            }
            Code::ListCellNew => {
                self.list_new(frame, inst, ObjectKind::ListCell, Routine::ListCellNew);
            }
            Code::ListIntGet => self.list_get(frame, inst, INTS, false),
            Code::ListIntGetRel => self.list_get(frame, inst, INTS, true),
            Code::ListIntSet => self.list_set(frame, inst, INTS, false),
            Code::ListIntSetRel => self.list_set(frame, inst, INTS, true),
            Code::ListIntPush => self.push_element(frame, inst, INTS, Routine::ListIntPush, false),
            Code::ListIntAppend => self.push_element(frame, inst, INTS, Routine::ListIntAppend, true),
            Code::ListFloatGet => self.list_get(frame, inst, FLOATS, false),
            Code::ListFloatGetRel => self.list_get(frame, inst, FLOATS, true),
            Code::ListFloatSet => self.list_set(frame, inst, FLOATS, false),
            Code::ListFloatSetRel => self.list_set(frame, inst, FLOATS, true),
            Code::ListFloatPush => self.push_element(frame, inst, FLOATS, Routine::ListFloatPush, false),
            Code::ListFloatAppend => self.push_element(frame, inst, FLOATS, Routine::ListFloatAppend, true),
            Code::ListBoolGet => self.list_get(frame, inst, BOOLS, false),
            Code::ListBoolGetRel => self.list_get(frame, inst, BOOLS, true),
            Code::ListBoolSet => self.list_set(frame, inst, BOOLS, false),
            Code::ListBoolSetRel => self.list_set(frame, inst, BOOLS, true),
            Code::ListBoolPush => self.push_element(frame, inst, BOOLS, Routine::ListBoolPush, false),
            Code::ListBoolAppend => self.push_element(frame, inst, BOOLS, Routine::ListBoolAppend, true),
            Code::ListCellGet => self.list_get(frame, inst, CELLS, false),
            Code::ListCellGetRel => self.list_get(frame, inst, CELLS, true),
            Code::ListCellSet => self.list_set(frame, inst, CELLS, false),
            Code::ListCellSetRel => self.list_set(frame, inst, CELLS, true),
            Code::ListCellPush => self.push_element(frame, inst, CELLS, Routine::ListCellPush, false),
            Code::ListCellAppend => self.push_element(frame, inst, CELLS, Routine::ListCellAppend, true),

            Code::MapNew => self.map_new(frame, inst),
            Code::MapLen => {
                let m = self.cell(o[1]);
                let v = self.load(Class::Map, Width::U32, m, offset_of!(MapObject, len));
                self.set(o[0], v);
            }
            Code::MapKeys => {
                self.routine(frame, inst, Routine::MapKeys);
            }
            Code::MapValues => {
                self.routine(frame, inst, Routine::MapValues);
            }
            Code::MapIntGet | Code::MapStringGet => {
                let int = inst.op == Code::MapIntGet;
                let (m, k) = (self.cell(o[1]), if int { self.int(o[2]) } else { self.cell(o[2]) });
                let v = self.map_value(m, k);
                self.set(o[0], v);
            }
            Code::MapIntHas | Code::MapStringHas => {
                let int = inst.op == Code::MapIntHas;
                let (m, k) = (self.cell(o[1]), if int { self.int(o[2]) } else { self.cell(o[2]) });
                let (_, there) = self.find_entry(m, k);
                self.set(o[0], there);
            }
            Code::MapIntSet | Code::MapStringSet => {
                let (m, v) = (self.cell(o[0]), self.cell(o[2]));
                let (k, routine) = if inst.op == Code::MapIntSet {
                    (self.int(o[1]), Routine::MapIntSet)
                } else {
                    (self.cell(o[1]), Routine::MapStringSet)
                };
                if inst.op == Code::MapStringSet && self.fill_map(frame, 2, [m, k, v]) {
                    return;
                }
                let (entry, there) = self.find_entry(m, k);
                let frame = &*frame;
                let replace = |c: &mut Self| {
                    let place = c.entry_value(m, entry);
                    c.store_entry(place, v);
                };
                let insert = |c: &mut Self| {
                    c.routine(frame, inst, routine);
                };
                self.meet(there, [false, false], replace, insert);
            }
            Code::MapIntRemove => {
                self.routine(frame, inst, Routine::MapIntRemove);
            }
            Code::MapStringRemove => {
                self.routine(frame, inst, Routine::MapStringRemove);
            }
            Code::MapCellGet => self.map_cell_get(frame, inst),
            Code::MapCellHas => self.map_cell_has(frame, inst),
            Code::MapCellSet => self.map_cell_set(frame, inst),
            Code::MapCellRemove => {
                self.routine(frame, inst, Routine::MapCellRemove);
            }

            Code::RecordNew => {
                let Some(shape) = self.facts.shape(o[1] as u32) else {
                    self.routine(frame, inst, Routine::RecordNew);
                    return;
                };
                let header = ObjectKind::Record as u64 | u64::from(shape.tag) << 16 | (o[1] as u64) << 32;
                let window = frame.guest.meta.layout.size();
                let mut fields: Vec<(u32, Type)> =
                    shape.fields.iter().map(|f| (f.slot, type_of(f.ty.bank()))).collect();
                fields.sort_unstable_by_key(|f| f.0);
                let (cells, raws) = (shape.cells, shape.raws);
                if cells + raws > 64 {
                    self.routine(frame, inst, Routine::RecordNew);
                    return;
                }
                let words: Vec<Value> = fields
                    .iter()
                    .map(|&(slot, ty)| {
                        let place = if slot < cells { raws + 2 + slot } else { slot - cells };
                        self.get(i64::from(window + place), ty)
                    })
                    .collect();
                self.alloc(frame, inst, header, &words, Routine::RecordNew);
            }
            Code::RecordIntGet | Code::RecordFloatGet | Code::RecordCellGet => {
                let width = match inst.op {
                    Code::RecordIntGet => Width::Int,
                    Code::RecordFloatGet => Width::Float,
                    _ => Width::Cell,
                };
                let r = self.cell(o[1]);
                let v = self.load(Class::Field, width, r, Record::FIELDS + 8 * o[2] as usize);
                self.set(o[0], v);
            }
            Code::RecordIntSet => {
                let (r, v) = (self.cell(o[0]), self.int(o[2]));
                self.store(Class::Field, Width::Int, r, v, Record::FIELDS + 8 * o[1] as usize);
            }
            Code::RecordFloatSet => {
                let (r, v) = (self.cell(o[0]), self.float(o[2]));
                self.store(Class::Field, Width::Float, r, v, Record::FIELDS + 8 * o[1] as usize);
            }
            Code::RecordCellSet => {
                let (r, v) = (self.cell(o[0]), self.cell(o[2]));
                self.store_cell(Class::Field, r, v, Record::FIELDS + 8 * o[1] as usize);
            }
            Code::RecordCopy => {
                self.routine(frame, inst, Routine::RecordCopy);
            }
            Code::RecordTag => {
                let r = self.cell(o[1]);
                let v = self.load(Class::Fixed, Width::U16, r, offset_of!(Header, bits));
                self.set(o[0], v);
            }

            Code::ClosureNew => {
                let Some(captures) = self.facts.function(o[1] as u32).map(|g| g.meta.captures.len() as u32)
                else {
                    self.routine(frame, inst, Routine::ClosureNew);
                    return;
                };
                let header = ObjectKind::Closure as u64 | u64::from(captures) << 16 | (o[1] as u64) << 32;
                let window = frame.guest.meta.layout.size();
                let words: Vec<Value> = (0..captures).map(|i| self.cell(i64::from(window + 2 + i))).collect();
                if captures > 64 {
                    self.routine(frame, inst, Routine::ClosureNew);
                    return;
                }
                self.alloc(frame, inst, header, &words, Routine::ClosureNew);
            }
            Code::CaptureGet => {
                let closure = self.cell(i64::from(frame.guest.meta.layout.first_cell()));
                let v = self.load(Class::Fixed, Width::Cell, closure, Closure::CAPTURES + 8 * o[1] as usize);
                if let Some(path) = self.paths.get(&closure) {
                    let path = path.iter().copied().chain([o[1] as u32]).collect();
                    self.paths.insert(v, path);
                }
                self.set(o[0], v);
            }
            Code::RefIntNew => {
                let v = self.int(o[1]);
                self.alloc(frame, inst, ObjectKind::RefInt as u64, &[v], Routine::RefRawNew);
            }
            Code::RefFloatNew => {
                let v = self.float(o[1]);
                self.alloc(frame, inst, ObjectKind::RefFloat as u64, &[v], Routine::RefRawNew);
            }
            Code::RefCellNew => {
                let v = self.cell(o[1]);
                match self.facts.element_code(o[2] as u32) {
                    Some(code) => {
                        let header = ObjectKind::RefCell as u64 | u64::from(code) << 32;
                        self.alloc(frame, inst, header, &[v], Routine::RefCellNew);
                    }
                    None => drop(self.routine(frame, inst, Routine::RefCellNew)),
                }
            }
            Code::RefIntGet | Code::RefFloatGet | Code::RefCellGet => {
                let width = match inst.op {
                    Code::RefIntGet => Width::Int,
                    Code::RefFloatGet => Width::Float,
                    _ => Width::Cell,
                };
                let r = self.cell(o[1]);
                let v = self.load(Class::Ref, width, r, offset_of!(Ref, content));
                self.set(o[0], v);
            }
            Code::RefIntSet => {
                let (r, v) = (self.cell(o[0]), self.int(o[1]));
                self.store(Class::Ref, Width::Int, r, v, offset_of!(Ref, content));
            }
            Code::RefFloatSet => {
                let (r, v) = (self.cell(o[0]), self.float(o[1]));
                self.store(Class::Ref, Width::Float, r, v, offset_of!(Ref, content));
            }
            Code::RefCellSet => {
                let (r, v) = (self.cell(o[0]), self.cell(o[1]));
                self.store_cell(Class::Ref, r, v, offset_of!(Ref, content));
            }

            Code::GlobalIntGet | Code::GlobalFloatGet | Code::GlobalCellGet => {
                let width = match inst.op {
                    Code::GlobalIntGet => Width::Int,
                    Code::GlobalFloatGet => Width::Float,
                    _ => Width::Cell,
                };
                let table = self.context(offset_of!(Context, globals));
                let v = self.load(Class::Global, width, table, 8 * o[1] as usize);
                if width == Width::Cell {
                    let hole = self.cconst(Cell::HOLE);
                    let unset = self.binary(Op::Same, v, hole);
                    let is = self.not(unset);
                    self.guard(frame, is, Reason::Uninitialized);
                }
                self.set(o[0], v);
            }
            Code::GlobalIntSet | Code::GlobalFloatSet | Code::GlobalCellSet => {
                let (width, ty) = match inst.op {
                    Code::GlobalIntSet => (Width::Int, Type::Int),
                    Code::GlobalFloatSet => (Width::Float, Type::Float),
                    _ => (Width::Cell, Type::Cell),
                };
                let v = self.get(o[0], ty);
                let table = self.context(offset_of!(Context, globals));
                // Globals are roots: no barrier.
                self.store(Class::Global, width, table, v, 8 * o[1] as usize);
            }

            Code::TupleNew => {
                self.routine(frame, inst, Routine::TupleNew);
            }
            Code::TupleLen => {
                let t = self.cell(o[1]);
                let v = self.load(Class::Fixed, Width::U32, t, offset_of!(Tuple, len));
                self.set(o[0], v);
            }
            Code::TupleGet => {
                let (t, i) = (self.cell(o[1]), self.int(o[2]));
                let len = self.load(Class::Fixed, Width::U32, t, offset_of!(Tuple, len));
                let inside = self.icmp(Cond::Ult, i, len);
                self.guard(frame, inside, Reason::Bounds);
                let v = self.load_at(Class::Tuple, Width::Cell, t, i, Tuple::CELLS);
                self.set(o[0], v);
            }
            Code::TupleSet => {
                self.routine(frame, inst, Routine::TupleSet);
            }
            Code::TupleBits => {
                let t = self.cell(o[1]);
                let v = self.load(Class::Bits, Width::U16, t, offset_of!(Header, bits));
                self.set(o[0], v);
            }
            Code::TupleSetBits => {
                let t = self.cell(o[0]);
                let bits = self.load(Class::Bits, Width::U16, t, offset_of!(Header, bits));
                let more = self.iconst(o[1]);
                let v = self.binary(Op::Ior, bits, more);
                self.store(Class::Bits, Width::U16, t, v, offset_of!(Header, bits));
            }
            Code::TrailMark => {
                self.routine(frame, inst, Routine::TrailMark);
            }
            Code::TrailUndo => {
                self.routine(frame, inst, Routine::TrailUndo);
            }
            Code::RefCellSetTrailed => {
                self.routine(frame, inst, Routine::RefCellSetTrailed);
            }
            Code::RecordCellSetTrailed => {
                self.routine(frame, inst, Routine::RecordCellSetTrailed);
            }
            Code::TupleSetTrailed => {
                self.routine(frame, inst, Routine::TupleSetTrailed);
            }

            // Branches have a function of their own.
            Code::Jump
            | Code::JumpLoop
            | Code::IfBranch
            | Code::UnlessBranch
            | Code::IntEqBranch
            | Code::IntNeBranch
            | Code::IntLtBranch
            | Code::IntLeBranch
            | Code::IntEqImmBranch
            | Code::IntNeImmBranch
            | Code::IntLtImmBranch
            | Code::IntLeImmBranch
            | Code::IntGtImmBranch
            | Code::IntGeImmBranch
            | Code::FloatEqBranch
            | Code::FloatNeBranch
            | Code::FloatLtBranch
            | Code::FloatLeBranch
            | Code::FloatNotLtBranch
            | Code::FloatNotLeBranch
            | Code::IfLoop
            | Code::UnlessLoop
            | Code::IntEqLoop
            | Code::IntNeLoop
            | Code::IntLtLoop
            | Code::IntLeLoop
            | Code::IntEqImmLoop
            | Code::IntNeImmLoop
            | Code::IntLtImmLoop
            | Code::IntLeImmLoop
            | Code::IntGtImmLoop
            | Code::IntGeImmLoop
            | Code::FloatEqLoop
            | Code::FloatNeLoop
            | Code::FloatLtLoop
            | Code::FloatLeLoop
            | Code::FloatNotLtLoop
            | Code::FloatNotLeLoop
            | Code::IntForLoop
            | Code::IntSwitch
            | Code::CellSwitch
            | Code::StringSwitch
            | Code::WatchBranch
            | Code::IntAddOrJump
            | Code::IntSubOrJump
            | Code::IntMulOrJump
            | Code::TruthyBranch
            | Code::FalsyBranch
            | Code::IsBranch
            | Code::IsNotBranch
            | Code::StringEqBranch
            | Code::StringNeBranch => self.exit(frame, Reason::Always),
        }
        debug_assert!(inst.op.info().operands.iter().all(|o| o.kind != OperandKind::Label), "not a branch");
    }
}
