//! Calls, returns and inlining.
//!
//! Inlined is what is small, by static calls, by closures whose function is known where they are called, and by dynamic calls that
//! saw one callee. The callee's instructions are read where the call stands, with an environment of their own; its returns
//! lead to the block behind the call.
//!
//! A tail call gives the caller's frame to the callee, so what it leads to is built in place of the caller: at the same base, with the
//! same parent. If the callee had this frame before, the call is a jump to where it began: a loop, with a charge for each turn. Each
//! such way back leads to a function that all ways here came through, so these loops have one entry. What is too large to be built
//! in place is called from where the caller was called; the root has nobody to call from, and leaves.

use std::cmp::Reverse;
use std::rc::Rc;

use upshift_bytecode::{Bank, Inst as Bytecode, Op as Code, ValueType};
use upshift_runtime::feedback::{Feedback, MEGAMORPHIC};
use upshift_runtime::linked::FunctionMeta;
use upshift_runtime::object::{Closure, Header, ObjectKind};
use upshift_runtime::routine::Routine;

use super::{Builder, Env, Frame, Guest, Head, type_of};
use crate::flow::{self, Flow};
use crate::ir::{
    CallSite, Class, Cond, Inlining, Inst, InstData, Op, Reason, RoutineKind, SiteData, SiteEffects, State,
    StateData, Target, Type, Value, Width,
};
use crate::slots::Slots;
use std::mem::offset_of;

/// What a call of guest code may do: everything.
const EVERYTHING: SiteEffects = SiteEffects {
    writes: true,
    reads: true,
    collects: true,
    calls: true,
    own: false,
    grows: false,
    new: false,
};

/// The arguments of a call: slots in the callee's frame with their values.
type Arguments = Vec<(u32, Value)>;

/// At most so many functions are built in at one call.
const CALLEES: usize = 4;
/// And each if one call in so many is of it.
const CALLEES_SHARE: u64 = 8;

/// Frames of inlined functions lie within so many slots behind the root's.
const FRAMES: u32 = 4_000;

impl<'a> Builder<'a> {
    /// A return.
    pub(super) fn ret(&mut self, frame: &mut Frame<'a>, value: Option<Value>) {
        match &mut frame.returns {
            Some(returns) => {
                let (inst, _) = self.func.make(InstData::new(Op::Jump, &[]).targets([Target::new(self.cur)]));
                self.func.blocks[self.cur].insts.push(inst);
                returns.push((inst, value));
            }
            None => {
                let args: &[Value] = match &value {
                    Some(v) => std::slice::from_ref(v),
                    None => &[],
                };
                self.push(InstData::new(Op::Return, args));
            }
        }
        self.dead = true;
    }

    fn charge(&mut self, frame: &Frame<'a>) {
        let state = self.state(frame);
        self.push(InstData::new(Op::Charge, &[]).state(state));
    }

    /// Where the result of a call goes.
    fn result_of(inst: &Bytecode) -> Option<(i64, Type)> {
        let reg = flow::registers(inst).find(|r| r.1 == upshift_bytecode::ops::Role::Def)?;
        Some((i64::from(reg.0), type_of(reg.2)))
    }

    pub(super) fn call_static(&mut self, frame: &mut Frame<'a>, inst: &Bytecode, after: &Slots) {
        let add = inst.op == Code::CallIntAddImm;
        let index = inst.operands[match inst.op {
            Code::CallVoid => 0,
            _ => 1,
        }] as u32;
        let Some(callee) = self.facts.function(index).filter(|c| !c.code.is_empty()) else {
            return self.exit(frame, Reason::Always);
        };
        let window = i64::from(frame.guest.meta.layout.size());
        let first = add.then(|| {
            let (a, b) = (self.int(inst.operands[0]), self.iconst(inst.operands[4]));
            let state = self.state(frame);
            self.def(InstData::new(Op::IaddExit, &[a, b]).imm(Reason::Overflow as i64).state(state))
        });
        let args: Arguments = callee
            .meta
            .params
            .iter()
            .map(|p| {
                let v = match first {
                    Some(v) if p.slot == 0 => v,
                    _ => self.get(window + i64::from(p.slot), type_of(p.ty.bank())),
                };
                (p.slot, v)
            })
            .collect();
        self.call(frame, inst, callee, index, args, after, 1);
    }

    /// A call of a known function.
    #[expect(clippy::too_many_arguments, reason = "one call has all of these")]
    fn call(
        &mut self,
        frame: &mut Frame<'a>,
        inst: &Bytecode,
        callee: Guest<'a>,
        index: u32,
        args: Arguments,
        after: &Slots,
        direct: u32,
    ) {
        let size = frame.guest.meta.layout.size();
        let reach = frame.base + size + if direct == 0 { callee.meta.layout.size() } else { 0 };
        self.reach(reach);
        self.calls = true;
        self.charge(frame);
        let result = Self::result_of(inst);
        match self.inlinable(frame, callee, index) {
            Ok(flow) => {
                self.note_call(frame, Some(index), Inlining::Done);
                self.inline(frame, inst, callee, index, flow, args, after);
                return;
            }
            Err(reason) => self.note_call(frame, Some(index), reason),
        }
        let site = self.site(SiteData {
            routine: u32::MAX,
            kind: RoutineKind::Call,
            slot: u32::MAX,
            uses: None,
            result: callee.meta.result.map(|ty| type_of(ty.bank())),
            callee: index,
            params: args.iter().map(|a| frame.base + size + a.0).collect(),
            header: frame.base + size + callee.meta.layout.header(),
            effects: EVERYTHING,
        });
        let values: Vec<Value> = args.iter().map(|a| a.1).collect();
        let state = self.state(frame);
        let v = self.push(InstData::new(Op::Call, &values).state(state).site(site));
        if let (Some(v), Some((slot, _))) = (v, result) {
            self.set(slot, v);
        }
    }

    // ---- Tail calls ----

    /// Begins a function with a block that tail calls can come back to.
    pub(super) fn head(&mut self, frame: &mut Frame<'a>) {
        let function = frame.guest.meta.index;
        let block = self.func.add_block();
        self.func.blocks[block].position = Some((function, 0));
        let values: Vec<(u32, Value)> = self.env.iter().filter_map(|(slot, v)| Some((slot, v?))).collect();
        let args: Vec<Value> = values.iter().map(|v| v.1).collect();
        self.goto(block, &args);
        self.cur = block;
        let mut params = Vec::new();
        for (slot, value) in values {
            let ty = self.func.ty(value);
            let param = self.func.add_param(block, ty);
            // Closures that are passed on are likely the same.
            if let Some(path) = self.paths.get(&value).cloned() {
                self.paths.insert(param, path);
            }
            self.env.set(slot, Some(param));
            params.push((slot, ty));
        }
        frame.heads.push(Head { function, block, params });
    }

    pub(super) fn tail_static(&mut self, frame: &mut Frame<'a>, inst: &Bytecode) {
        let index = inst.operands[0] as u32;
        let Some(callee) = self.facts.function(index).filter(|c| !c.code.is_empty()) else {
            // The driver calls the host.
            return self.exit(frame, Reason::Region);
        };
        let args = self.window_arguments(frame, callee);
        self.tail(frame, callee, index, args);
    }

    /// What stands in the window as the callee's parameters.
    fn window_arguments(&mut self, frame: &Frame<'a>, callee: Guest<'a>) -> Arguments {
        let window = i64::from(frame.guest.meta.layout.size());
        let params = callee.meta.params.iter();
        params.map(|p| (p.slot, self.get(window + i64::from(p.slot), type_of(p.ty.bank())))).collect()
    }

    pub(super) fn tail_closure(&mut self, frame: &mut Frame<'a>, inst: &Bytecode) {
        let slot = flow::closure_slot(inst);
        let Some(signature) = flow::closure_signature(self.facts, frame.guest.meta, slot) else {
            return self.exit(frame, Reason::Always);
        };
        let closure = self.cell(i64::from(slot));
        let result = frame.guest.meta.result.map(|ty| type_of(ty.bank()));
        let Some((index, callee)) = self.callee_of(frame, closure, None, &signature, result) else {
            self.note_call(frame, None, Inlining::Unknown);
            return self.exit(frame, Reason::Region);
        };
        let mut args = self.window_arguments(frame, callee);
        args.push((callee.meta.layout.first_cell(), closure));
        self.tail(frame, callee, index, args);
    }

    pub(super) fn tail_cell(&mut self, frame: &mut Frame<'a>, inst: &Bytecode) {
        let o = inst.operands;
        let seen = self.facts.feedback(o[3] as u32);
        let Some((index, callee)) = self.callee_seen(frame, o[0], o[1] as usize, &seen) else {
            self.note_not_seen(frame, &seen);
            return self.exit(frame, Reason::Region);
        };
        let args = self.moved_up(frame.guest.meta.layout.size(), callee, o[0], o[1] as u32);
        self.tail(frame, callee, index, args);
    }

    /// A tail call of a known function.
    fn tail(&mut self, frame: &mut Frame<'a>, callee: Guest<'a>, index: u32, args: Arguments) {
        if let Some(head) = frame.heads.iter().find(|h| h.function == index) {
            let (block, params) = (head.block, head.params.clone());
            self.note_call(frame, Some(index), Inlining::Done);
            self.room_for(frame, callee);
            let state = self.state(frame);
            self.push(InstData::new(Op::Poll, &[]).state(state));
            let value = |slot| args.iter().find(|a| a.0 == slot).map(|a| a.1);
            let values: Vec<Value> = params.iter().filter_map(|p| value(p.0)).collect();
            self.goto(block, &values);
            self.dead = true;
            return;
        }
        // The root's frame was made by others, who have to find its header where it was.
        let fits = frame.parent.is_some()
            || frame.region.is_none() && frame.guest.meta.layout.header() == callee.meta.layout.header();
        let inlined = if fits { self.inlinable(frame, callee, index) } else { Err(Inlining::Foreign) };
        self.note_call(frame, Some(index), inlined.as_ref().map_or_else(|e| *e, |_| Inlining::Done));
        let replaces = fits && callee.meta.result == frame.guest.meta.result;
        match (inlined, frame.parent) {
            (Ok(flow), _) => {
                self.room_for(frame, callee);
                self.charge(frame);
                self.replace(frame, callee, index, flow, args);
            }
            (Err(_), Some(parent)) => self.hand_over(frame, RoutineKind::Call, parent, callee, index, &args),
            // Others could move the header on, for which whoever went into the root looks, unless they are jumped to.
            (Err(_), None) if replaces && callee.meta.hands_over => {
                let state = self.state(frame);
                self.hand_over(frame, RoutineKind::Jump, state, callee, index, &args);
            }
            (Err(_), None) if replaces => {
                // Nothing of the frame is left.
                let state = self.state_at(frame, self.word, std::iter::empty());
                self.hand_over(frame, RoutineKind::Tail, state, callee, index, &args);
            }
            // The driver goes on with the callee.
            (Err(_), None) => self.exit(frame, Reason::Region),
        }
    }

    /// Calls a function that gets this frame, and returns what it gives.
    fn hand_over(
        &mut self,
        frame: &mut Frame<'a>,
        kind: RoutineKind,
        state: State,
        callee: Guest<'a>,
        index: u32,
        args: &Arguments,
    ) {
        self.room_for(frame, callee);
        self.charge(frame);
        let site = self.site(SiteData {
            routine: u32::MAX,
            kind,
            slot: u32::MAX,
            uses: None,
            result: callee.meta.result.map(|ty| type_of(ty.bank())),
            callee: index,
            params: args.iter().map(|a| frame.base + a.0).collect(),
            header: frame.base + callee.meta.layout.header(),
            effects: EVERYTHING,
        });
        let values: Vec<Value> = args.iter().map(|a| a.1).collect();
        let v = self.push(InstData::new(Op::Call, &values).state(state).site(site));
        self.ret(frame, v);
    }

    /// Notes that a callee takes this frame. The interpreter looks for all of it, where calls look for where it begins.
    fn room_for(&mut self, frame: &Frame<'a>, callee: Guest<'a>) {
        self.reach(frame.base + callee.meta.layout.size());
        self.calls = true;
    }

    /// Reads a function that is built in place, with its arguments.
    fn read(&mut self, inner: &mut Frame<'a>, args: Arguments) {
        let mut env = Env::default();
        for (slot, value) in args {
            env.set(slot, Some(value));
        }
        let saved = (std::mem::replace(&mut self.env, env), self.word);
        self.body(inner, 0);
        (self.env, self.word) = saved;
        self.state = None;
    }

    /// Reads a function in place of the one that calls it last of all.
    fn replace(
        &mut self,
        frame: &mut Frame<'a>,
        callee: Guest<'a>,
        index: u32,
        flow: Rc<Flow>,
        args: Arguments,
    ) {
        let mut chain = frame.chain.clone();
        chain.push(index);
        let mut inner = Frame {
            guest: callee,
            flow,
            base: frame.base,
            parent: frame.parent,
            depth: frame.depth + 1,
            chain,
            heads: frame.heads.clone(),
            returns: frame.returns.take(),
            region: None,
        };
        self.read(&mut inner, args);
        frame.returns = inner.returns;
        self.dead = true;
    }

    /// Keeps for reports what was made of a call.
    fn note_call(&mut self, frame: &Frame<'a>, callee: Option<u32>, inlining: Inlining) {
        let (function, word) = (frame.guest.meta.index, self.word);
        self.func.calls.push(CallSite { function, word, callee, inlining });
    }

    /// What is known of a function that is inlined here, or why it is not.
    fn inlinable(&mut self, frame: &Frame<'a>, callee: Guest<'a>, index: u32) -> Result<Rc<Flow>, Inlining> {
        let o = self.options;
        let again = frame.chain.iter().filter(|&&f| f == index).count() as u32;
        if frame.depth >= o.depth {
            return Err(Inlining::Depth);
        }
        if callee.meta.len > 2 * o.callee {
            return Err(Inlining::TooLarge);
        }
        if frame.base + frame.guest.meta.layout.size() > self.root + FRAMES {
            return Err(Inlining::Budget);
        }
        let flow = match self.flows.get(&index) {
            Some(flow) => flow.clone(),
            None => {
                let flow = Rc::new(Flow::new(self.facts, callee.meta, callee.code));
                self.flows.insert(index, flow.clone());
                flow
            }
        };
        // Nor are loops worth having in every copy.
        let repeats = again > 0 || (1..frame.chain.len()).any(|i| frame.chain[..i].contains(&frame.chain[i]));
        if repeats && !flow.loops.is_empty() {
            return Err(Inlining::Recursive);
        }
        if !flow.regular {
            return Err(Inlining::Irregular);
        }
        o.fits(again, flow.instructions, flow.weight, self.instructions)?;
        Ok(flow)
    }

    #[expect(clippy::too_many_arguments, reason = "one call has all of these")]
    fn inline(
        &mut self,
        frame: &mut Frame<'a>,
        inst: &Bytecode,
        callee: Guest<'a>,
        index: u32,
        flow: Rc<Flow>,
        args: Arguments,
        after: &Slots,
    ) {
        let size = frame.guest.meta.layout.size();
        let result = Self::result_of(inst);
        // What the caller's frame holds while the callee runs: what is live behind the call. The place of the result keeps what it
        // had if a handler may ask for it.
        let live = std::mem::take(&mut self.live);
        let slots = after
            .iter()
            .filter(|&s| s < size && (result.is_none_or(|r| r.0 != i64::from(s)) || live.contains(s)))
            .filter_map(|s| Some((frame.base + s, self.env.get(s)?)))
            .collect();
        self.live = live;
        let parent = self.func.states.push(StateData {
            parent: frame.parent.into(),
            function: frame.guest.meta.index,
            word: self.word,
            origin: None,
            base: frame.base,
            end: frame.base + size,
            slots,
        });
        let mut chain = frame.chain.clone();
        chain.push(index);
        let mut inner = Frame {
            guest: callee,
            flow,
            base: frame.base + size,
            parent: Some(parent),
            depth: frame.depth + 1,
            chain,
            heads: Vec::new(),
            returns: Some(Vec::new()),
            region: None,
        };
        self.read(&mut inner, args);
        let returns = inner.returns.take().unwrap_or_default();
        self.go_behind(returns, result);
    }

    /// The block behind a call, from ways there with the result.
    fn go_behind(&mut self, returns: Vec<(Inst, Option<Value>)>, result: Option<(i64, Type)>) {
        if returns.is_empty() {
            self.dead = true;
            return;
        }
        // From one return comes one value.
        if let [(inst, value)] = returns[..] {
            let block = self.func.add_block();
            self.func.insts[inst].targets[0].block = block;
            self.cur = block;
            self.dead = false;
            if let (Some(v), Some((slot, _))) = (value, result) {
                self.set(slot, v);
            }
            return;
        }
        let block = self.func.add_block();
        let param = match (result, returns[0].1) {
            (Some((_, ty)), Some(_)) => Some(self.func.add_param(block, ty)),
            _ => None,
        };
        for (inst, value) in returns {
            let target = &mut self.func.insts[inst].targets[0];
            target.block = block;
            if param.is_some() {
                target.args.extend(value);
            }
        }
        self.cur = block;
        self.dead = false;
        if let (Some(v), Some((slot, _))) = (param, result) {
            self.set(slot, v);
        }
    }

    pub(super) fn call_closure(&mut self, frame: &mut Frame<'a>, inst: &Bytecode, after: &Slots) {
        let slot = flow::closure_slot(inst);
        let Some(signature) = flow::closure_signature(self.facts, frame.guest.meta, slot) else {
            return self.exit(frame, Reason::Always);
        };
        let closure = self.cell(i64::from(slot));
        let slots = upshift_bytecode::frame::window_slots(&signature, true);
        let window = i64::from(frame.guest.meta.layout.size());
        let raws = signature.iter().filter(|t| t.bank() != Bank::Cell).count() as u32;
        let mut args: Arguments = vec![(raws + 2, closure)];
        for (ty, slot) in signature.iter().zip(slots) {
            args.push((slot, self.get(window + i64::from(slot), type_of(ty.bank()))));
        }
        let result = Self::result_of(inst);
        let ty = result.map(|r| r.1);
        if let Some((index, callee)) = self.callee_of(frame, closure, Some(slot), &signature, ty) {
            self.call(frame, inst, callee, index, args, after, 1);
            return;
        }
        let mut several = self.likely(frame, closure, Some(slot), &signature, ty);
        several.retain(|&(index, callee)| self.may_be_one_of_several(frame, callee, index));
        if several.is_empty() {
            self.call_any(frame, inst, args, Inlining::Unknown);
            return;
        }
        let ways = self.call_one_of(frame, inst, closure, several, after, 1, |_, _| args.clone());
        let env = self.env.clone();
        self.call_any(frame, inst, args, Inlining::Rest);
        self.meet_others(ways, result, env);
    }

    /// Calls that of these functions which a closure is of, and goes on where it is of none of them. Gives the ways behind the calls.
    #[expect(clippy::too_many_arguments, reason = "one call has all of these")]
    fn call_one_of(
        &mut self,
        frame: &mut Frame<'a>,
        inst: &Bytecode,
        closure: Value,
        several: Vec<(u32, Guest<'a>)>,
        after: &Slots,
        direct: u32,
        mut arguments: impl FnMut(&mut Self, Guest<'a>) -> Arguments,
    ) -> Vec<(Inst, Option<Value>)> {
        let function = self.load(Class::Fixed, Width::U32, closure, offset_of!(Header, meta));
        let result = Self::result_of(inst);
        let state = self.state(frame);
        let (env, live, word) = (self.env.clone(), self.live.clone(), self.word);
        let mut ways = Vec::new();
        for (index, callee) in several {
            let wanted = self.iconst(i64::from(index));
            let is = self.icmp(Cond::Eq, function, wanted);
            let [this, other] = self.split(is, [false; 2]);
            self.cur = this;
            let args = arguments(self, callee);
            self.one_of_several = true;
            self.call(frame, inst, callee, index, args, after, direct);
            self.one_of_several = false;
            self.end_way(result, &mut ways);
            (self.env, self.live, self.word) = (env.clone(), live.clone(), word);
            (self.cur, self.dead, self.state) = (other, false, Some(state));
        }
        ways
    }

    /// Goes on behind a call with the environment before it, where the ways to several functions meet that to all others, which ends
    /// here.
    fn meet_others(&mut self, mut ways: Vec<(Inst, Option<Value>)>, result: Option<(i64, Type)>, env: Env) {
        self.end_way(result, &mut ways);
        self.env = env;
        self.go_behind(ways, result);
    }

    /// Whether a function may be built in at a call that calls several: smaller ones than elsewhere, and not in one another, which would
    /// multiply.
    fn may_be_one_of_several(&mut self, frame: &Frame<'a>, callee: Guest<'a>, index: u32) -> bool {
        !self.one_of_several
            && self
                .inlinable(frame, callee, index)
                .is_ok_and(|flow| flow.instructions <= self.options.callee / 2)
    }

    /// Ends one of several ways through a call.
    fn end_way(&mut self, result: Option<(i64, Type)>, ways: &mut Vec<(Inst, Option<Value>)>) {
        if self.dead {
            return;
        }
        let value = result.map(|(slot, ty)| self.get(slot, ty));
        let (inst, _) = self.func.make(InstData::new(Op::Jump, &[]).targets([Target::new(self.cur)]));
        self.func.blocks[self.cur].insts.push(inst);
        ways.push((inst, value));
    }

    /// A call of a closure whose function is not known.
    fn call_any(&mut self, frame: &Frame<'a>, inst: &Bytecode, args: Arguments, inlining: Inlining) {
        self.note_call(frame, None, inlining);
        let size = frame.guest.meta.layout.size();
        // The header stands behind the raw arguments, and the closure behind that.
        let header = args[0].0 - 2;
        self.reach(frame.base + size);
        self.calls = true;
        self.charge(frame);
        let result = Self::result_of(inst);
        let site = self.site(SiteData {
            routine: u32::MAX,
            kind: RoutineKind::Call,
            slot: u32::MAX,
            uses: None,
            result: result.map(|r| r.1),
            callee: 0,
            params: args.iter().map(|a| frame.base + size + a.0).collect(),
            header: frame.base + size + header,
            effects: EVERYTHING,
        });
        let values: Vec<Value> = args.iter().map(|a| a.1).collect();
        let state = self.state(frame);
        let v = self.push(InstData::new(Op::CallClosure, &values).state(state).site(site));
        if let (Some(v), Some((slot, _))) = (v, result) {
            self.set(slot, v);
        }
    }

    /// The functions that a call of a closure likely calls, those that it calls most first: what it was seen to call, and what the
    /// frame has there now. What was seen may be out of date. Where the slot of a parameter is given, what other calls of it in the function
    /// were seen to call counts, too: each saw few of the values that it may have.
    fn likely(
        &mut self,
        frame: &Frame<'a>,
        closure: Value,
        slot: Option<u32>,
        signature: &[ValueType],
        result: Option<Type>,
    ) -> Vec<(u32, Guest<'a>)> {
        if !self.options.speculate {
            return Vec::new();
        }
        let function = frame.guest.meta.index;
        let mut seen = self.facts.callees(function, self.word).to_vec();
        let param = slot.filter(|&slot| frame.guest.meta.params.iter().any(|p| p.slot == slot));
        for &(word, _) in frame.flow.closure_calls.iter().filter(|call| Some(call.1) == param) {
            let others = self.facts.callees(function, word).iter().filter(|_| word != self.word);
            for &(callee, weight) in others {
                match seen.iter_mut().find(|c| c.0 == callee) {
                    Some(known) => known.1 = known.1.saturating_add(weight),
                    None => seen.push((callee, weight)),
                }
            }
        }
        let least = seen.iter().map(|c| c.1).sum::<u64>() / CALLEES_SHARE;
        let now = self.paths.get(&closure).and_then(|path| self.facts.closure(path));
        let mut often: Vec<(u32, u64)> =
            seen.iter().filter(|c| Some(c.0) == now || c.1 >= least).copied().collect();
        often.sort_by_key(|c| Reverse(c.1));
        let mut all: Vec<u32> = often.into_iter().map(|c| c.0).collect();
        if let Some(now) = now.filter(|now| !all.contains(now)) {
            all.insert(0, now);
        }
        all.truncate(CALLEES);
        let fits = |m: &FunctionMeta| {
            m.environment
                && m.params.iter().map(|p| p.ty.bank()).eq(signature.iter().map(|t| t.bank()))
                && m.result.map(|ty| type_of(ty.bank())) == result
        };
        let guest = |index| Some((index, self.facts.function(index)?));
        all.into_iter().filter_map(guest).filter(|(_, g)| !g.code.is_empty() && fits(g.meta)).collect()
    }

    /// The function of a closure that is called: one that is made here has a known one; others, the one that was seen, if there was
    /// only one, which is checked.
    fn callee_of(
        &mut self,
        frame: &Frame<'a>,
        closure: Value,
        slot: Option<u32>,
        signature: &[ValueType],
        result: Option<Type>,
    ) -> Option<(u32, Guest<'a>)> {
        if let Some(known) = self.known_function(closure) {
            return Some((known, self.facts.function(known).filter(|c| !c.code.is_empty())?));
        }
        if !self.may_assume(frame) {
            return None;
        }
        let likely = self.likely(frame, closure, slot, signature, result);
        let (index, callee) = match likely[..] {
            [only] => only,
            _ => {
                let captured = self.captured_now(closure)?;
                likely.into_iter().find(|&(index, _)| index == captured)?
            }
        };
        let function = self.load(Class::Fixed, Width::U32, closure, offset_of!(Header, meta));
        let wanted = self.iconst(i64::from(index));
        let is = self.icmp(Cond::Eq, function, wanted);
        self.guard(frame, is, Reason::Callee);
        Some((index, callee))
    }

    /// The function of a closure that one in the running frame has captured, where its loop is compiled alone: as long as the loop turns, the
    /// frame has that one. Calls in functions that put others together see many functions, of which it calls one.
    fn captured_now(&self, closure: Value) -> Option<u32> {
        let path = self.paths.get(&closure).filter(|path| path.len() > 1 && self.func.osr.is_some())?;
        self.facts.closure(path)
    }

    /// The function of a closure that was made here.
    fn known_function(&self, closure: Value) -> Option<u32> {
        let mut def = self.func.def(closure)?;
        // Captured by one that was made here.
        while let (Op::Load, Some(Class::Fixed)) = (def.op, def.access.map(|a| a.class)) {
            let made = self.func.def(def.args[0]).filter(|d| d.op == Op::Alloc)?;
            let capture = (def.imm as usize).checked_sub(Closure::CAPTURES)? / 8;
            def = self.func.def(*made.args.get(capture)?)?;
        }
        let header = def.imm as u64;
        (def.op == Op::Alloc && header as u8 == ObjectKind::Closure as u8).then_some((header >> 32) as u32)
    }

    pub(super) fn cell_call(&mut self, frame: &mut Frame<'a>, inst: &Bytecode, after: &Slots) {
        let o = inst.operands;
        let argc = o[2] as usize;
        let seen = self.facts.feedback(o[4] as u32);
        if let Some((index, callee)) = self.callee_seen(frame, o[1], argc, &seen) {
            let args = self.moved_up(frame.guest.meta.layout.size(), callee, o[1], o[2] as u32);
            self.call(frame, inst, callee, index, args, after, 0);
            return;
        }
        let mut several = Vec::new();
        if self.options.speculate && seen.flags & MEGAMORPHIC == 0 {
            for &index in &seen.ids[..usize::from(seen.cached)] {
                if let Some(callee) = self.plain(index, argc)
                    && self.may_be_one_of_several(frame, callee, index)
                {
                    several.push((index, callee));
                }
            }
        }
        if several.is_empty() {
            self.note_not_seen(frame, &seen);
            self.routine(frame, inst, Routine::CellCall);
            return;
        }
        let closure = self.cell(o[1]);
        let other = self.func.blocks.push(Default::default());
        self.check_kind(closure, ObjectKind::Closure, &mut |c, is| c.require(is, other));
        let (size, result) = (frame.guest.meta.layout.size(), Self::result_of(inst));
        let ways = self.call_one_of(frame, inst, closure, several, after, 0, |c, callee| {
            c.moved_up(size, callee, o[1], o[2] as u32)
        });
        self.goto(other, &[]);
        self.func.layout.push(other);
        self.cur = other;
        self.note_call(frame, None, Inlining::Rest);
        let env = self.env.clone();
        self.routine(frame, inst, Routine::CellCall);
        self.meet_others(ways, result, env);
    }

    /// A function that takes so many dynamic arguments as they are.
    fn plain(&self, index: u32, argc: usize) -> Option<Guest<'a>> {
        let any = |ty: &Option<ValueType>| matches!(ty, Some(ValueType::Cell(_)));
        self.facts.function(index).filter(|c| {
            let m = c.meta;
            !c.code.is_empty() && m.plain && m.environment && m.params.len() == argc && any(&m.result)
        })
    }

    /// Notes that nothing is built in at a dynamic call that saw this.
    fn note_not_seen(&mut self, frame: &Frame<'a>, seen: &Feedback) {
        let one = seen.cached == 1 && seen.flags & MEGAMORPHIC == 0;
        let inlining = match (one, seen.cached) {
            (true, _) if self.may_assume(frame) => Inlining::Foreign,
            (true, _) | (false, 0) => Inlining::Unknown,
            (false, _) => Inlining::Several,
        };
        self.note_call(frame, one.then_some(seen.ids[0]), inlining);
    }

    /// The only callee that a dynamic call saw, which is checked.
    fn callee_seen(
        &mut self,
        frame: &Frame<'a>,
        slot: i64,
        argc: usize,
        seen: &Feedback,
    ) -> Option<(u32, Guest<'a>)> {
        let one = seen.cached == 1 && seen.flags & MEGAMORPHIC == 0 && self.may_assume(frame);
        let callee = one.then(|| self.plain(seen.ids[0], argc)).flatten()?;
        let closure = self.cell(slot);
        if self.known_function(closure) != Some(seen.ids[0]) {
            self.guard_kind(frame, closure, ObjectKind::Closure, Reason::Callee);
            let function = self.load(Class::Fixed, Width::U32, closure, offset_of!(Header, meta));
            let wanted = self.iconst(i64::from(seen.ids[0]));
            let is = self.icmp(Cond::Eq, function, wanted);
            self.guard(frame, is, Reason::Callee);
        }
        Some((seen.ids[0], callee))
    }

    /// The arguments of a dynamic call: the closure goes in front of what stands in the window, which moves up.
    fn moved_up(&mut self, window: u32, callee: Guest<'a>, closure: i64, argc: u32) -> Arguments {
        let first = callee.meta.layout.first_cell();
        let mut args: Arguments = vec![(first, self.cell(closure))];
        for i in 0..argc {
            args.push((first + 1 + i, self.cell(i64::from(window + 2 + i))));
        }
        args
    }
}
