//! Calls of functions, routines and helpers, charges, and returns.

use std::mem::offset_of;

use cranelift_codegen::ir as clif;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, types};
use upshift_bytecode::KeyPolicy;
use upshift_runtime::context::{Context, Status};
use upshift_runtime::frame::FunctionEntry;
use upshift_runtime::map::POLICY_MASK;
use upshift_runtime::object::{Buffer, Header, MapObject};
use upshift_runtime::routine::Routine;
use upshift_runtime::value as cells;

use super::code::Stub;
use super::{BODY, CALL, Held, JUMPS, Lowering, OWN, POLL, clif_type, trusted};
use crate::helper::{Helper, Param};
use crate::ir::{Inst, Op, Reason, RoutineKind, SiteData, State, Type};

/// Entries from this number on are searched for: few literals have so many.
const MOST_EXPECTED: u32 = 64;

impl Lowering<'_, '_> {
    pub(super) fn call_helper(&mut self, helper: Helper, args: &[clif::Value]) -> Option<clif::Value> {
        let info = helper.info();
        let mut types = Vec::new();
        let mut values = Vec::new();
        let mut rest = args.iter();
        for p in info.params {
            match p {
                Param::Context => {
                    types.push(Type::Int);
                    values.push(self.ctx);
                }
                Param::Of(ty) => {
                    types.push(*ty);
                    values.extend(rest.next());
                }
            }
        }
        let returns: Vec<Type> = info.result.into_iter().collect();
        let signature = self.signature(&types, &returns, CALL);
        let table = self.load64(self.ctx, offset_of!(Context, routines));
        let number = Routine::ALL.len() + helper as usize;
        let address = self.load64(table, number * 8);
        if info.charges {
            self.save_budget();
        }
        let call = self.b.ins().call_indirect(signature, address, &values);
        let result = self.b.inst_results(call).first().copied();
        if info.charges {
            self.reload_budget();
        }
        result
    }

    pub(super) fn helper(&mut self, inst: Inst) -> Option<clif::Value> {
        let data = &self.func.insts[inst];
        let args: Vec<clif::Value> = data.args.iter().map(|&v| self.value(v)).collect();
        match Helper::ALL[data.imm as usize] {
            // Where it is rare it is short.
            helper if self.cold => self.call_helper(helper, &args),
            Helper::StringExtend => self.extend(inst, &args),
            Helper::StringCompare => self.order(&args),
            Helper::MapIntFind => Some(self.find_int_entry(args[0], args[1])),
            helper
            @ (Helper::MapStringFind | Helper::MapCellFind | Helper::MapTextGet | Helper::MapField) => {
                match self.func.int_const(data.args[2]).and_then(|at| u32::try_from(at).ok()) {
                    Some(at) if at < MOST_EXPECTED => self.expected_entry(helper, &args, at),
                    _ => self.call_helper(helper, &args),
                }
            }
            helper => self.call_helper(helper, &args),
        }
    }

    /// What a helper finds at a string: where it is the key of the entry that is expected, which takes no search.
    fn expected_entry(&mut self, helper: Helper, args: &[clif::Value], at: u32) -> Option<clif::Value> {
        let [map, key] = [args[0], args[1]];
        let (look, search, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let by_value = matches!(helper, Helper::MapTextGet | Helper::MapField);
        let result = self.b.append_block_param(done, types::I64);
        let used = self.b.ins().uload32(trusted(), map, offset_of!(MapObject, used) as i32);
        let there = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, used, i64::from(at));
        self.b.ins().brif(there, look, &[], search, &[]);
        self.b.switch_to_block(look);
        let entries = self.load64(map, offset_of!(MapObject, entries));
        let bytes = |words: u32| i64::from(words * at * 8);
        let place = if helper == Helper::MapStringFind {
            self.b.ins().iadd_imm_s(entries, bytes(2))
        } else {
            // Maps by text have a third word an entry; those of other policies have other keys.
            let bits = self.b.ins().uload16(types::I64, trusted(), map, offset_of!(Header, bits) as i32);
            let policy = self.b.ins().band_imm_s(bits, i64::from(POLICY_MASK));
            let by_text = self.b.ins().icmp_imm_u(IntCC::Equal, policy, KeyPolicy::Text as i64);
            let known = self.b.create_block();
            if by_value {
                let strings = self.b.create_block();
                let offset = self.b.append_block_param(known, types::I64);
                let [two, three] = [2, 3].map(|words| self.iconst(bytes(words)));
                self.b.ins().brif(by_text, known, &[clif::BlockArg::Value(three)], strings, &[]);
                self.b.switch_to_block(strings);
                let by_string = self.b.ins().icmp_imm_u(IntCC::Equal, policy, KeyPolicy::String as i64);
                self.b.ins().brif(by_string, known, &[clif::BlockArg::Value(two)], search, &[]);
                self.b.switch_to_block(known);
                self.b.ins().iadd(entries, offset)
            } else {
                self.b.ins().brif(by_text, known, &[], search, &[]);
                self.b.switch_to_block(known);
                self.b.ins().iadd_imm_s(entries, bytes(3))
            }
        };
        let found = self.load64(place, Buffer::DATA);
        let same = self.b.ins().icmp(IntCC::Equal, found, key);
        if helper == Helper::MapField {
            // What is none may be another thing's field.
            let here = self.b.create_block();
            self.b.ins().brif(same, here, &[], search, &[]);
            self.b.switch_to_block(here);
            let value = self.load64(place, Buffer::DATA + 8);
            let none = self.b.ins().icmp_imm_u(IntCC::Equal, value, cells::Value::NIL.bits() as i64);
            self.b.ins().brif(none, search, &[], done, &[clif::BlockArg::Value(value)]);
        } else if by_value {
            let value = self.load64(place, Buffer::DATA + 8);
            self.b.ins().brif(same, done, &[clif::BlockArg::Value(value)], search, &[]);
        } else {
            let entry = self.iconst(at.into());
            self.b.ins().brif(same, done, &[clif::BlockArg::Value(entry)], search, &[]);
        }
        self.b.switch_to_block(search);
        let found = self.call_helper(helper, args);
        let args: Vec<clif::BlockArg> = found.into_iter().map(clif::BlockArg::Value).collect();
        self.b.ins().jump(done, &args);
        self.b.switch_to_block(done);
        Some(result)
    }

    /// The number of an int key's entry, or -1: the entry that the map expects, where keys are dense the only one, else what a search
    /// finds.
    fn find_int_entry(&mut self, map: clif::Value, key: clif::Value) -> clif::Value {
        let base = self.load64(map, offset_of!(MapObject, base));
        let used = self.b.ins().uload32(trusted(), map, offset_of!(MapObject, used) as i32);
        let entry = self.b.ins().isub(key, base);
        let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, entry, used);
        let (look, here) = (self.b.create_block(), self.b.create_block());
        let (other, search) = (self.b.create_block(), self.b.create_block());
        let done = self.b.create_block();
        let result = self.b.append_block_param(done, types::I64);
        self.b.ins().brif(inside, look, &[], other, &[]);
        self.b.switch_to_block(look);
        let entries = self.load64(map, offset_of!(MapObject, entries));
        // Two words an entry.
        let offset = self.b.ins().ishl_imm_u(entry, 4);
        let place = self.b.ins().iadd(entries, offset);
        let found = self.load64(place, Buffer::DATA);
        let same = self.b.ins().icmp(IntCC::Equal, found, key);
        self.b.ins().brif(same, here, &[], other, &[]);
        self.b.switch_to_block(here);
        let value = self.load64(place, Buffer::DATA + 8);
        let gone = self.b.ins().icmp_imm_u(IntCC::Equal, value, cells::Value::TOMBSTONE.bits() as i64);
        self.b.ins().brif(gone, other, &[], done, &[clif::BlockArg::Value(entry)]);
        self.b.switch_to_block(other);
        let bits = self.b.ins().uload16(types::I64, trusted(), map, offset_of!(Header, bits) as i32);
        let dense = self.b.ins().band_imm_s(bits, i64::from(upshift_runtime::map::DENSE));
        let none = self.iconst(-1);
        self.b.ins().brif(dense, done, &[clif::BlockArg::Value(none)], search, &[]);
        self.b.switch_to_block(search);
        let found = self.call_helper(Helper::MapIntFind, &[map, key]);
        let args: Vec<clif::BlockArg> = found.into_iter().map(clif::BlockArg::Value).collect();
        self.b.ins().jump(done, &args);
        self.b.switch_to_block(done);
        result
    }

    /// Charges one unit; where the budget is used up the engine refills it or leaves. Goes on where `next` leads, if it is given: then
    /// nothing stands between the charge and the way back of a loop.
    pub(super) fn poll(&mut self, state: State, next: Option<&crate::ir::Target>) {
        let budget = self.budget();
        let one = self.iconst(-1);
        let less = self.b.ins().iadd(budget, one);
        self.set_budget(less);
        let (block, args) = match next {
            Some(target) => self.target_args(target),
            None => (self.b.create_block(), Vec::new()),
        };
        // Below zero, written as a comparison of unsigned numbers: the budget is far below 2^31, and Cranelift's test against zero
        // takes two more registers.
        let most = self.iconst(i32::MAX.into());
        let some = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, less, most);
        let slow = self.cold_block();
        // In this order a way back that moves nothing is one branch.
        self.b.ins().brif(some, block, &args, slow, &[]);
        self.b.switch_to_block(slow);
        let kept = self.begin_cold();
        let written = self.written(state);
        let id = self.exit_state(state, Reason::Region, &written);
        let (id, routine) = (self.iconst(id), self.iconst(POLL));
        self.call_for_state(Stub::Poll, [id, routine]);
        self.end_cold(kept);
        self.b.ins().jump(block, &args);
        if next.is_none() {
            self.b.switch_to_block(block);
        }
        self.completed(state);
    }

    /// The engine may have completed the frames of a state: what slots and headers hold is known only where that is the same.
    pub(super) fn completed(&mut self, state: State) {
        let func = self.func;
        let mut next = Some(state);
        while let Some(s) = next {
            let data = &func.states[s];
            for slot in self.cells_of(data.function, data.base) {
                let h = self.held.get(slot);
                if matches!(h, Held::Value(_)) && !data.slots.iter().any(|&(k, _)| k == slot) {
                    let valid = if self.is_cell(h) { Held::Valid } else { Held::Unknown };
                    self.held.set(slot, valid);
                }
            }
            for &(slot, value) in &data.slots {
                let h = self.held.get(slot);
                self.held.set(slot, self.both(h, Held::Value(value)));
            }
            if let Some(parent) = data.parent.expand() {
                let mut held = std::mem::take(&mut self.held);
                self.forget_header(&mut held, self.header_of(data), parent);
                self.held = held;
            }
            next = data.parent.expand();
        }
    }

    pub(super) fn of_bits(&mut self, ty: Type, bits: clif::Value) -> clif::Value {
        if ty == Type::Float { self.b.ins().bitcast(types::F64, MemFlagsData::new(), bits) } else { bits }
    }

    /// A call of a function: in registers where it is optimized, through its frame where it is not.
    pub(super) fn call(&mut self, inst: Inst) -> Option<clif::Value> {
        let func = self.func;
        let data = &func.insts[inst];
        let (Some(site), Some(state)) = (data.site.expand(), data.state.expand()) else { return None };
        let site = &func.sites[site];
        if site.kind == RoutineKind::Jump {
            return self.jump(inst, state, site);
        }
        let tail = site.kind == RoutineKind::Tail;
        let st = &func.states[state];
        let base = if tail { 0 } else { self.end_of(st) };
        if !tail {
            self.flush(state, false);
            self.store_header(site.header, st.function, st.word);
        }
        let frame = self.address(base);
        let args: Vec<clif::Value> = data.args.iter().map(|&v| self.value(v)).collect();
        let result = site.result;
        let closure = data.op == Op::CallClosure;
        let signature = self.signature_of(inst, result);
        let mut all = vec![self.ctx, frame];
        all.extend(&args);
        // What is entered by its own calls would go on being entered after a watch was bumped.
        let own = !closure && site.callee == self.index && func.osr.is_none() && func.watches.is_empty();
        let done = self.b.create_block();
        let value = result.map(|ty| self.b.append_block_param(done, clif_type(ty)));
        if own {
            let f = match self.own {
                Some(f) => f,
                None => {
                    let f = self.external(OWN, 0, signature);
                    *self.own.insert(f)
                }
            };
            let call = self.b.ins().call(f, &all);
            let results: Vec<clif::BlockArg> =
                self.b.inst_results(call).iter().map(|&v| clif::BlockArg::Value(v)).collect();
            self.b.ins().jump(done, &results);
        } else {
            let index = if closure {
                self.b.ins().uload32(trusted(), args[0], offset_of!(Header, meta) as i32)
            } else {
                self.iconst(i64::from(site.callee))
            };
            let table = self.load64(self.ctx, offset_of!(Context, fast));
            let fast = if closure {
                let offset = self.b.ins().ishl_imm_u(index, 3);
                let place = self.b.ins().iadd(table, offset);
                self.load64(place, 0)
            } else {
                self.load64(table, site.callee as usize * 8)
            };
            let quick = self.b.create_block();
            let slow = self.cold_block();
            self.b.ins().brif(fast, quick, &[], slow, &[]);
            self.b.switch_to_block(quick);
            let call = self.b.ins().call_indirect(signature, fast, &all);
            let results: Vec<clif::BlockArg> =
                self.b.inst_results(call).iter().map(|&v| clif::BlockArg::Value(v)).collect();
            self.b.ins().jump(done, &results);
            // Through the frame.
            self.b.switch_to_block(slow);
            for (&slot, &v) in site.params.iter().zip(&args) {
                self.store_slot(slot, v);
            }
            let stub = self.stub(Stub::Call);
            let call = self.b.ins().call(stub, &[self.ctx, frame, index]);
            let bits = self.b.inst_results(call)[0];
            let out: Vec<clif::BlockArg> =
                result.iter().map(|&ty| clif::BlockArg::Value(self.of_bits(ty, bits))).collect();
            self.b.ins().jump(done, &out);
        }
        self.b.switch_to_block(done);
        if tail {
            return value;
        }
        self.reload(state, u32::MAX, true);
        // The link in the callee's header is as it was written, unless others took the frame over.
        if !closure && self.facts.function(site.callee).is_some_and(|g| !g.meta.hands_over) {
            let link = self.link(st.function);
            self.held.set(site.header + 1, Held::Link(link));
        }
        value
    }

    /// The signature of the body that an instruction calls.
    fn signature_of(&mut self, inst: Inst, result: Option<Type>) -> clif::SigRef {
        let args = self.func.insts[inst].args.iter().map(|&v| self.func.ty(v));
        let types: Vec<Type> = [Type::Int; 2].into_iter().chain(args).collect();
        let returns: Vec<Type> = result.into_iter().collect();
        self.signature(&types, &returns, BODY)
    }

    /// A tail call that is a jump. Cranelift has those in a convention of their own only, so this is a call that never comes back: what
    /// makes the code shorter afterwards makes it give up the native frame and jump (`tidy.rs`).
    fn jump(&mut self, inst: Inst, state: State, site: &SiteData) -> Option<clif::Value> {
        let func = self.func;
        let args: Vec<clif::Value> = func.insts[inst].args.iter().map(|&v| self.value(v)).collect();
        let table = self.load64(self.ctx, offset_of!(Context, fast));
        let fast = self.load64(table, site.callee as usize * 8);
        let (quick, slow, behind) = (self.b.create_block(), self.cold_block(), self.b.create_block());
        self.b.ins().brif(fast, quick, &[], slow, &[]);

        // The driver does the instruction again, and charges for it.
        self.b.switch_to_block(slow);
        let kept = self.begin_cold();
        let budget = self.budget();
        let back = self.b.ins().iadd_imm_s(budget, 1);
        self.set_budget(back);
        let written = self.written(state);
        self.leave_at(state, Reason::Region, &written);
        self.end_cold(kept);

        self.b.switch_to_block(quick);
        let signature = self.signature_of(inst, site.result);
        let all: Vec<clif::Value> = [self.ctx, self.fp].into_iter().chain(args).collect();
        self.b.ins().call_indirect(signature, fast, &all);
        self.b.ins().trap(JUMPS);
        // Nothing leads here, where the result is returned.
        self.b.switch_to_block(behind);
        site.result.map(|ty| match ty {
            Type::Float => self.b.ins().f64const(0.0),
            _ => self.iconst(0),
        })
    }

    /// Runs the interpreter's routine for the state's instruction.
    pub(super) fn routine(&mut self, inst: Inst) -> Option<clif::Value> {
        let func = self.func;
        let data = &func.insts[inst];
        let (Some(site), Some(state)) = (data.site.expand(), data.state.expand()) else { return None };
        let site = &func.sites[site];
        self.flush(state, true);
        let calls = site.kind == RoutineKind::Call;
        if !calls {
            if self.cold {
                self.routine_rarely(state, site.routine);
            } else {
                // A call of its own at each site: through one stub for all, `dynamic` took a sixth longer.
                self.save_budget();
                let status = self.run_routine(state, site.routine);
                self.read_behind_call();
                self.reload_budget();
                let (other, good) = (self.cold_block(), self.b.create_block());
                self.b.ins().brif(status, other, &[], good, &[]);
                self.b.switch_to_block(other);
                self.leave(status);
                self.b.switch_to_block(good);
            }
            let value = site
                .result
                .map(|ty| self.b.ins().load(clif_type(ty), trusted(), self.fp, site.slot as i32 * 8));
            self.ran(inst, site.effects.collects, false);
            return value;
        }
        self.save_budget();
        let status = self.run_routine(state, site.routine);
        self.read_behind_call();
        let done = self.b.create_block();
        let ty = site.result;
        let value = ty.map(|ty| self.b.append_block_param(done, clif_type(ty)));
        let other = self.cold_block();
        let good = self.b.create_block();
        self.b.ins().brif(status, other, &[], good, &[]);
        self.b.switch_to_block(other);
        self.reload_budget();
        let is = self.b.ins().icmp_imm_s(IntCC::Equal, status, Status::Call as i64);
        let pushed = self.cold_block();
        let left = self.cold_block();
        self.b.ins().brif(is, pushed, &[], left, &[]);
        self.b.switch_to_block(pushed);
        let frame = self.load64(self.ctx, offset_of!(Context, fp));
        let entry = self.load64(self.ctx, offset_of!(Context, entry));
        let index = self.b.ins().uload32(trusted(), entry, offset_of!(FunctionEntry, link) as i32);
        let stub = self.stub(Stub::Call);
        let call = self.b.ins().call(stub, &[self.ctx, frame, index]);
        let bits = self.b.inst_results(call)[0];
        let out: Vec<clif::BlockArg> =
            ty.iter().map(|&ty| clif::BlockArg::Value(self.of_bits(ty, bits))).collect();
        self.b.ins().jump(done, &out);
        self.b.switch_to_block(left);
        self.leave(status);
        self.b.switch_to_block(good);
        self.reload_budget();
        let out: Vec<clif::BlockArg> = ty
            .iter()
            .map(|&ty| {
                let v = self.b.ins().load(clif_type(ty), trusted(), self.fp, site.slot as i32 * 8);
                clif::BlockArg::Value(v)
            })
            .collect();
        self.b.ins().jump(done, &out);
        self.b.switch_to_block(done);
        self.read_behind_call();
        self.ran(inst, site.effects.collects, calls);
        value
    }

    /// After a routine: what may have moved, and what slots hold.
    pub(super) fn ran(&mut self, inst: Inst, collects: bool, calls: bool) {
        let func = self.func;
        let data = &func.insts[inst];
        let (Some(site), Some(state)) = (data.site.expand(), data.state.expand()) else { return };
        let site = &func.sites[site];
        if collects {
            self.reload(state, site.slot, calls);
        } else {
            self.held.map_from(func.states[state].end, |_, _| Held::Unknown);
        }
        // A frame that was pushed gave its result in a register, so the slot holds it on one way only; a cell there is valid.
        if site.slot != u32::MAX {
            let held = match (data.result.expand(), site.result) {
                (Some(v), _) if !calls => Held::Value(v),
                (_, Some(Type::Cell)) => Held::Valid,
                _ => Held::Unknown,
            };
            self.held.set(site.slot, held);
        }
    }

    /// Puts the budget where routines have it.
    fn save_budget(&mut self) {
        let budget = self.budget();
        self.b.ins().store(trusted(), budget, self.ctx, offset_of!(Context, budget) as i32);
    }

    pub(super) fn reload_budget(&mut self) {
        let budget = self.load64(self.ctx, offset_of!(Context, budget));
        self.set_budget(budget);
    }

    /// Calls a routine for the instruction of a state; gives the status.
    fn run_routine(&mut self, state: State, routine: u32) -> clif::Value {
        let st = &self.func.states[state];
        let frame = self.address(st.base);
        let pc = self.code_at(st.function, st.word);
        let args = [self.ctx, frame, pc, self.entry_of(st.function)];
        let table = self.load64(self.ctx, offset_of!(Context, routines));
        let address = self.load64(table, routine as usize * 8);
        let mut signature = clif::Signature::new(CALL);
        signature.params.extend([clif::AbiParam::new(types::I64); 4]);
        signature.returns.push(clif::AbiParam::new(types::I32));
        let key = b"routine".to_vec();
        let signature = match self.signatures.get(&key) {
            Some(&s) => s,
            None => {
                let s = self.b.import_signature(signature);
                self.signatures.insert(key, s);
                s
            }
        };
        let call = self.b.ins().call_indirect(signature, address, &args);
        let status = self.b.inst_results(call)[0];
        self.b.ins().uextend(types::I64, status)
    }

    /// Calls a routine that neither calls nor branches, through a stub that finds the instruction's address, which takes less code
    /// here, and leaves by itself.
    fn routine_rarely(&mut self, state: State, routine: u32) {
        let st = &self.func.states[state];
        let instruction = self.iconst(i64::from(st.function) << 32 | i64::from(st.word));
        let routine = self.iconst(i64::from(st.base) << 16 | i64::from(routine));
        self.call_for_state(Stub::Run, [instruction, routine]);
    }

    /// Calls a stub that keeps all registers, with context, frame and these. In a loop they are handed over in memory: in registers they
    /// would keep the loop from having values there, since a value has one register all the way through, rare code included.
    fn call_for_state(&mut self, stub: Stub, arguments: [clif::Value; 2]) {
        if self.looping && self.in_memory {
            self.write_arguments(&arguments);
            let stub = self.stub(if stub == Stub::Poll { Stub::PollAt } else { Stub::RunAt });
            self.b.ins().call(stub, &[]);
            return;
        }
        let stub = self.stub(stub);
        let [first, second] = arguments;
        self.b.ins().call(stub, &[self.ctx, self.fp, first, second]);
    }

    /// Likewise calls a helper with these.
    pub(super) fn call_quietly(&mut self, arguments: [clif::Value; 4]) {
        if self.looping && self.in_memory {
            self.write_arguments(&arguments);
            let stub = self.stub(Stub::QuietAt);
            self.b.ins().call(stub, &[]);
            return;
        }
        let stub = self.stub(Stub::Quiet);
        let [first, second, helper, third] = arguments;
        self.b.ins().call(stub, &[self.ctx, first, second, helper, third]);
    }

    /// The slow path of an allocation: the routine does the instruction, and its result is in the frame.
    pub(super) fn slow_alloc(&mut self, inst: Inst, done: clif::Block) {
        let func = self.func;
        let data = &func.insts[inst];
        let (Some(site), Some(state)) = (data.site.expand(), data.state.expand()) else { return };
        let site = &func.sites[site];
        let held = self.held.clone();
        let kept = self.begin_cold();
        self.flush(state, true);
        self.routine_rarely(state, site.routine);
        let v = self.b.ins().load(types::I64, trusted(), self.fp, site.slot as i32 * 8);
        self.reload(state, site.slot, false);
        self.end_cold(kept);
        self.b.ins().jump(done, &[clif::BlockArg::Value(v)]);
        // The other way knows what was known before; what this one changed holds on neither.
        let slow = std::mem::take(&mut self.held);
        let mut held = held;
        held.map_from(0, |slot, h| self.both(h, slow.get(slot)));
        if held.get(site.slot) != Held::Unknown {
            held.set(site.slot, Held::Valid);
        }
        self.held = held;
    }

    /// The budget. It has a register of its own, since all loops, calls and exits take part in it, and a register allocator that
    /// splits by length would keep it in memory.
    pub(super) fn budget(&mut self) -> clif::Value {
        self.b.ins().get_pinned_reg(types::I64)
    }

    pub(super) fn set_budget(&mut self, budget: clif::Value) {
        self.b.ins().set_pinned_reg(budget);
    }
}
