//! Calls, returns and inlining.
//!
//! Inlined is what is small, by static calls, by closures whose function is known where they are called, and by dynamic calls that
//! saw one callee. The callee's instructions are read where the call stands, with an environment of their own; its returns
//! lead to the block behind the call.

use std::rc::Rc;

use upshift_bytecode::{Bank, Inst as Bytecode, Op as Code, ValueType};
use upshift_runtime::feedback::MEGAMORPHIC;
use upshift_runtime::linked::FunctionMeta;
use upshift_runtime::object::{Closure, Header, ObjectKind};
use upshift_runtime::routine::Routine;

use super::{Builder, Env, Frame, Guest, type_of};
use crate::flow::{self, Flow, Slots};
use crate::ir::{
    CallSite, Class, Cond, Inlining, InstData, Op, Reason, RoutineKind, SiteData, SiteEffects, StateData,
    Target, Type, Value, Width,
};
use std::mem::offset_of;

/// What a call of guest code may do: everything.
const EVERYTHING: SiteEffects = SiteEffects { writes: true, reads: true, collects: true, calls: true };

/// The arguments of a call: slots in the callee's frame with their values.
type Arguments = Vec<(u32, Value)>;

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

    /// Keeps for reports what was made of a call.
    fn note_call(&mut self, frame: &Frame<'a>, callee: Option<u32>, inlining: Inlining) {
        let (function, word) = (frame.guest.meta.index, self.word);
        self.func.calls.push(CallSite { function, word, callee, inlining });
    }

    /// What is known of a function that is inlined here, or why it is not.
    fn inlinable(&mut self, frame: &Frame<'a>, callee: Guest<'a>, index: u32) -> Result<Rc<Flow>, Inlining> {
        let o = self.options;
        let again = frame.chain.iter().filter(|&&f| f == index).count() as u32;
        if again > o.recursion {
            return Err(Inlining::Recursive);
        }
        if frame.depth >= o.depth {
            return Err(Inlining::Depth);
        }
        if callee.meta.len > 2 * o.callee {
            return Err(Inlining::TooLarge);
        }
        if frame.base + frame.guest.meta.layout.size() > 4_000 {
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
        // Recursion doubles with each level, so it has to be small.
        let limit = if again == 0 { o.callee } else { o.callee / 4 };
        // Nor are loops worth having in every copy.
        let repeats = again > 0 || (1..frame.chain.len()).any(|i| frame.chain[..i].contains(&frame.chain[i]));
        if repeats && !flow.loops.is_empty() {
            return Err(Inlining::Recursive);
        }
        if !flow.regular {
            return Err(Inlining::Irregular);
        }
        if flow.instructions > limit {
            return Err(if again == 0 { Inlining::TooLarge } else { Inlining::Recursive });
        }
        if self.instructions + flow.instructions > o.total {
            return Err(Inlining::Budget);
        }
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
            .filter_map(|s| Some((frame.base + s, self.env.get(s as usize).copied().flatten()?)))
            .collect();
        self.live = live;
        let parent = self.func.states.push(StateData {
            parent: frame.parent.into(),
            function: frame.guest.meta.index,
            word: self.word,
            base: frame.base,
            end: frame.base + size,
            slots,
        });
        let mut env: Env = vec![None; flow.slots as usize];
        for (slot, value) in args {
            env[slot as usize] = Some(value);
        }
        let mut chain = frame.chain.clone();
        chain.push(index);
        let mut inner = Frame {
            guest: callee,
            flow,
            base: frame.base + size,
            parent: Some(parent),
            depth: frame.depth + 1,
            chain,
            returns: Some(Vec::new()),
            region: None,
        };
        let saved = (std::mem::replace(&mut self.env, env), self.word);
        self.body(&mut inner, 0);
        (self.env, self.word) = saved;
        self.state = None;
        let returns = inner.returns.take().unwrap_or_default();
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
        // A closure made here has a known function; others, the one that was seen.
        let known = self.known_function(closure);
        let seen = || self.paths.get(&closure).and_then(|path| self.facts.closure(path));
        let seen = seen().filter(|&index| {
            // What was seen may be out of date.
            let fits = |m: &FunctionMeta| {
                m.environment
                    && m.params.iter().map(|p| p.ty.bank()).eq(signature.iter().map(|t| t.bank()))
                    && m.result.map(|ty| type_of(ty.bank())) == Self::result_of(inst).map(|r| r.1)
            };
            known.is_none()
                && self.may_assume(frame)
                && self.facts.function(index).is_some_and(|g| !g.code.is_empty() && fits(g.meta))
        });
        if let Some(index) = seen {
            let function = self.load(Class::Fixed, Width::U32, closure, offset_of!(Header, meta));
            let wanted = self.iconst(i64::from(index));
            let is = self.icmp(Cond::Eq, function, wanted);
            self.guard(frame, is, Reason::Callee);
        }
        if let Some(index) = known.or(seen)
            && let Some(callee) = self.facts.function(index).filter(|c| !c.code.is_empty())
        {
            self.call(frame, inst, callee, index, args, after, 1);
            return;
        }
        self.note_call(frame, None, Inlining::Unknown);
        let size = frame.guest.meta.layout.size();
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
            header: frame.base + size + raws,
            effects: EVERYTHING,
        });
        let values: Vec<Value> = args.iter().map(|a| a.1).collect();
        let state = self.state(frame);
        let v = self.push(InstData::new(Op::CallClosure, &values).state(state).site(site));
        if let (Some(v), Some((slot, _))) = (v, result) {
            self.set(slot, v);
        }
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
        let seen = self.facts.feedback(o[4] as u32);
        let argc = o[2] as usize;
        let any = |ty: &Option<ValueType>| matches!(ty, Some(ValueType::Cell(_)));
        let callee = (seen.cached == 1 && seen.flags & MEGAMORPHIC == 0 && self.may_assume(frame))
            .then(|| self.facts.function(seen.ids[0]))
            .flatten()
            .filter(|c| {
                let m = c.meta;
                !c.code.is_empty() && m.plain && m.environment && m.params.len() == argc && any(&m.result)
            });
        let Some(callee) = callee else {
            let one = seen.cached == 1 && seen.flags & MEGAMORPHIC == 0;
            let inlining = match (one, seen.cached) {
                (true, _) if self.may_assume(frame) => Inlining::Foreign,
                (true, _) | (false, 0) => Inlining::Unknown,
                (false, _) => Inlining::Several,
            };
            self.note_call(frame, one.then_some(seen.ids[0]), inlining);
            self.routine(frame, inst, Routine::CellCall);
            return;
        };
        let closure = self.cell(o[1]);
        if self.known_function(closure) != Some(seen.ids[0]) {
            let object = self.unary(Op::IsObject, closure);
            self.guard(frame, object, Reason::Callee);
            let kind = self.load(Class::Fixed, Width::U8, closure, offset_of!(Header, kind));
            let wanted = self.iconst(ObjectKind::Closure as i64);
            let is = self.icmp(Cond::Eq, kind, wanted);
            self.guard(frame, is, Reason::Callee);
            let function = self.load(Class::Fixed, Width::U32, closure, offset_of!(Header, meta));
            let wanted = self.iconst(i64::from(seen.ids[0]));
            let is = self.icmp(Cond::Eq, function, wanted);
            self.guard(frame, is, Reason::Callee);
        }
        // The closure goes in front of the arguments, which move up.
        let window = i64::from(frame.guest.meta.layout.size());
        let first = callee.meta.layout.first_cell();
        let mut args: Arguments = vec![(first, closure)];
        for i in 0..argc as u32 {
            args.push((first + 1 + i, self.cell(window + 2 + i64::from(i))));
        }
        self.call(frame, inst, callee, seen.ids[0], args, after, 0);
    }
}
