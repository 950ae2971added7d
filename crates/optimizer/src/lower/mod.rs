//! From SSA to machine code by Cranelift.
//!
//! Every function becomes a *body*, which takes context, frame and the arguments in registers and gives the result. A loop that is
//! compiled alone has no arguments: it finds what it needs in the frame. How native code comes into a body is the business of the
//! baseline compiler (`optimized_entry`), which [`Machine`] tells where the arguments stand.
//!
//! **Frames.** Guest frames are the truth at every call: before it, what the interpreter would find in the frames ([`StateData`]) is
//! stored, headers of inlined frames included, so that native frames may be given up whenever something leaves. So no
//! status is checked after a call, and roots are exact: a cell that is used behind a collecting instruction is read again from the slot
//! that was written before it. What a slot is known to hold already is not stored again.
//!
//! **Exits** store what is not constant; the engine writes the rest by the table ([`Exit`]).
//!
//! **Virtual objects** are made wherever a frame that has one is written, once for all slots that name it, by an allocation that neither
//! collects nor fails. After a collection the cells in them are read back from there. The code does not use them otherwise.
//!
//! The budget is in Cranelift's pinned register, which all bodies share and C keeps.
//!
//! Here are bodies, values, blocks and instructions; `frames.rs` writes frames and exits, `calls.rs` calls and charges, `rest.rs`
//! remainders, `code.rs` runs Cranelift; `sweep.rs` comes before it and `tidy.rs` behind it.

mod calls;
mod code;
mod compare;
mod frame;
mod frames;
mod rest;
mod slots;
mod strings;
mod sweep;
mod tidy;
mod wrap;

use std::collections::HashMap;

use cranelift_codegen::binemit::Reloc as Kind;
use cranelift_codegen::ir as clif;
use cranelift_codegen::ir::condcodes::{CondCode, FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, types};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_entity::{EntitySet, SecondaryMap};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Switch, Variable};
use std::mem::offset_of;
use upshift_runtime::context::Context;
use upshift_runtime::frame::FunctionEntry;
use upshift_runtime::heap::{HEAP_END, HEAP_TOP};
use upshift_runtime::instance::Instance;
use upshift_runtime::object::{Buffer, Header, List, MIN_OBJECT, gc};
use upshift_runtime::routine::Routine;
use upshift_runtime::value as cells;

pub use code::{Compiler, Counters, Effort, Machine, Reloc, Stub, Target};

use crate::build::Facts;
use crate::cfg::{Cfg, Dominators, Loop, Loops};
use crate::helper::Helper;
use crate::ir::{
    Block, Cond, Function, Inst, InstData, LIST_WORDS, Op, Reason, RoutineKind, State, Type, Value, Width,
    elements_of,
};
use crate::passes::may_be_object;
use crate::slots::SlotMap;

/// Names of functions of this compilation, of stubs, and of guest code in external names.
const OWN: u32 = 0;
const STUBS: u32 = 1;
const CODE: u32 = 2;

/// One frame of an exit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExitFrame {
    /// The function.
    pub function: u32,
    /// The instruction: for the innermost frame the one to go on with, for the others their call.
    pub word: u32,
    /// Where the frame begins, in slots from the root's start.
    pub base: u32,
    /// The slots that machine code has written, from the root's start, in order.
    pub live: Box<[u32]>,
}

/// Where machine code leaves for the interpreter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Why.
    pub reason: Reason,
    /// The instruction that made the assumption, if it is one: function and word.
    pub origin: (u32, u32),
    /// The frames, the innermost first.
    pub frames: Box<[ExitFrame]>,
    /// Slots with constants, which the engine writes.
    pub constants: Box<[(u32, u64)]>,
    /// Whether nothing is in the innermost frame's window, so that a collection may run once the frames are complete.
    pub windowless: bool,
    /// Whether the root frame was complete when the code was entered, in the middle of a loop: then cells that are dead stay as they
    /// are. They are valid, and a frame may have many more than the loop names.
    pub entered_complete: bool,
}

/// What a slot is known to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Held {
    /// Nothing is known.
    #[default]
    Unknown,
    /// Some valid cell.
    Valid,
    /// A value.
    Value(Value),
    /// The link of a header: nobody changes it in place.
    Link(u64),
}

/// An exit whose block is still to be filled.
struct PendingExit {
    block: clif::Block,
    state: State,
    reason: Reason,
    /// The slots that hold what they are to hold wherever it is left for.
    written: Vec<(u32, Value)>,
    /// Whether only loops are left there, so that context and frame are read from the stack.
    looping: bool,
}

/// A loop of more instructions is not looked through for slots that it leaves alone.
const STABLE: usize = 4_000;

/// Up to so many elements, what a position is more or less than another is part of an instruction's address.
const FAR: u64 = 1 << 20;
/// Before so many first calls and collections is done what they need, rather than at the start.
const FIRST: usize = 3;
/// Context and frame.
type Base = (clif::Value, clif::Value);
/// Virtual objects that were made where frames are written.
type Made = Vec<(Value, clif::Value)>;
/// Constants that charges and frames need again and again: they are made once, since Cranelift makes them anew in each block that uses
/// them anyway.
const CONSTANTS: [i64; 4] = [0, -1, i32::MAX as i64, POLL];
/// Where the driver's poll stands in the table of routines, in bytes: behind all helpers.
const POLL: i64 = (Routine::ALL.len() + Helper::ALL.len()) as i64 * 8;

struct Lowering<'a, 'f> {
    facts: &'a dyn Facts,
    func: &'a Function,
    b: FunctionBuilder<'f>,
    values: SecondaryMap<Value, Option<clif::Value>>,
    /// Comparisons before they are extended.
    bools: SecondaryMap<Value, Option<clif::Value>>,
    vars: SecondaryMap<Value, Option<Variable>>,
    blocks: SecondaryMap<Block, Option<clif::Block>>,
    ctx: clif::Value,
    fp: clif::Value,
    /// What root-relative slots hold.
    held: SlotMap<Held>,
    ends: SecondaryMap<Block, Option<SlotMap<Held>>>,
    exits: Vec<Exit>,
    /// Where in `pending` an exit is.
    exit_blocks: HashMap<(State, Reason), usize>,
    /// Exits that are still to be filled.
    pending: Vec<PendingExit>,
    /// The number that the engine knows this code by.
    number: u32,
    /// Whether guards leave now and then although they hold.
    stress: bool,
    /// Where checks that hold are counted, if they are.
    counters: Option<Counters>,
    /// The counters in use, by reason, function and word.
    held_checks: HashMap<(Reason, u32, u32), u32>,
    index: u32,
    signatures: HashMap<Vec<u8>, clif::SigRef>,
    stubs: [Option<clif::FuncRef>; 10],
    own: Option<clif::FuncRef>,
    /// [`CONSTANTS`], at the start.
    constants: [Option<clif::Value>; CONSTANTS.len()],
    /// The slots that are cells of the root frame whichever function has it, in order.
    root_cells: Vec<u32>,
    /// Slots that hold what they held when a loop was entered, for as long as it is live.
    unmoved: HashMap<u32, Value>,
    /// The slots that held a constant when a loop was entered, and its value.
    literals: Vec<(u32, Value)>,
    /// The instructions before which it is checked that frames have room, if not at the start; and how far frames reach.
    before: Vec<Inst>,
    room: u32,
    /// The first instructions that collect, if the frame's cells were not made valid at the start.
    collecting: Vec<Inst>,
    /// The block where the frame's cells are made valid, if they are neither at the start nor there.
    clearing: Option<Block>,
    /// Whether the block runs seldom.
    cold: bool,
    cfg: Cfg,
    doms: Dominators,
    /// The loops: where a branch stays in one, that way comes next in the code.
    loops: Loops,
    /// Where new objects' addresses are handed over.
    place: Option<clif::StackSlot>,
    /// Where context and frame are while a loop runs.
    base: Option<clif::StackSlot>,
    /// Whether rare code in loops hands its arguments over at the start of the native frame.
    in_memory: bool,
    /// Whether the block is in a loop.
    looping: bool,
    /// Context and frame as the body was given them.
    given: Base,
    /// The loops that call the runtime and no functions.
    calling: EntitySet<Loop>,
    /// Whether context and frame are read from the stack behind each call.
    reading: bool,
    /// Positions that source locations name.
    positions: Vec<(u32, u32)>,
    /// Quotients and remainders of the same operands in one block.
    paired: EntitySet<Inst>,
    /// The remainders that are only compared with 0, which are not computed.
    tested: EntitySet<Value>,
    /// Both, of the operands that the block has divided.
    divided: Vec<((Value, Value), (clif::Value, clif::Value))>,
}

/// The offset from the context of a field of the heap.
const fn heap(field: usize) -> usize {
    offset_of!(Instance, heap) + field
}

fn trusted() -> MemFlagsData {
    MemFlagsData::trusted()
}

fn clif_type(ty: Type) -> clif::Type {
    if ty == Type::Float { types::F64 } else { types::I64 }
}

/// The signature of a body: context and frame, then arguments, and the result. The budget is in the pinned register, which C
/// keeps.
fn body_signature(func: &Function) -> clif::Signature {
    let mut signature = clif::Signature::new(BODY);
    signature.params.extend([clif::AbiParam::new(types::I64); 2]);
    if func.osr.is_none() {
        for &param in &func.blocks[func.entry()].params {
            signature.params.push(clif::AbiParam::new(clif_type(func.ty(param))));
        }
    }
    signature.returns.extend(func.result.map(|ty| clif::AbiParam::new(clif_type(ty))));
    signature
}

const CALL: cranelift_codegen::isa::CallConv = cranelift_codegen::isa::CallConv::SystemV;
/// What bodies are called by: they keep no registers, so a call on a way that ends soon saves none.
const BODY: cranelift_codegen::isa::CallConv = cranelift_codegen::isa::CallConv::Winch;

/// Stands behind a call that becomes a jump.
const JUMPS: clif::TrapCode = clif::TrapCode::unwrap_user(2);

/// What building a body gives: exits; positions in the bytecode, function and word; what counters count.
type Body = (Vec<Exit>, Vec<(u32, u32)>, Vec<(Reason, u32, u32)>);

/// Builds the body of a function; gives its exits, and the positions in the bytecode, function and word, that source locations name by
/// their number, from 1 on.
#[expect(clippy::too_many_arguments, reason = "what a body is built from and into")]
fn body(
    facts: &dyn Facts,
    func: &Function,
    index: u32,
    number: u32,
    stress: bool,
    counters: Option<Counters>,
    target: &mut clif::Function,
    context: &mut FunctionBuilderContext,
    config: TargetFrontendConfig,
) -> Body {
    target.signature = body_signature(func);
    let mut b = FunctionBuilder::new(target, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let cfg = Cfg::new(func);
    let doms = Dominators::new(&cfg);
    let loops = Loops::new(func, &cfg, &doms);
    let mut l = Lowering {
        facts,
        func,
        b,
        values: SecondaryMap::new(),
        bools: SecondaryMap::new(),
        vars: SecondaryMap::new(),
        blocks: SecondaryMap::new(),
        ctx: params[0],
        fp: params[1],
        held: SlotMap::default(),
        ends: SecondaryMap::new(),
        exits: Vec::new(),
        exit_blocks: HashMap::new(),
        pending: Vec::new(),
        number,
        stress,
        counters,
        held_checks: HashMap::new(),
        index,
        signatures: HashMap::new(),
        stubs: [None; 10],
        constants: [const { None }; CONSTANTS.len()],
        own: None,
        root_cells: Vec::new(),
        unmoved: HashMap::new(),
        literals: Vec::new(),
        before: Vec::new(),
        room: 0,
        collecting: Vec::new(),
        clearing: None,
        cold: false,
        cfg,
        doms,
        loops,
        place: None,
        base: None,
        in_memory: false,
        looping: false,
        given: (params[0], params[1]),
        calling: EntitySet::new(),
        reading: false,
        positions: Vec::new(),
        paired: EntitySet::new(),
        tested: EntitySet::new(),
        divided: Vec::new(),
    };
    l.paired = rest::paired(func);
    l.tested = rest::tested(func, &l.paired);
    for (place, v) in l.constants.iter_mut().zip(CONSTANTS) {
        *place = Some(l.b.ins().iconst(types::I64, v));
    }
    if !l.loops.loops.is_empty() && !passes_on_stack(func) {
        // The first stack slot is at the start.
        l.base_place();
        l.in_memory = true;
    }
    l.find_calling();
    l.declare_moved();
    l.find_root_cells();
    l.find_unmoved();
    for &block in &func.layout {
        let clif = l.b.create_block();
        l.blocks[block] = Some(clif);
        if func.blocks[block].cold {
            l.b.set_cold_block(clif);
        }
    }
    // The entry's parameters: arguments, or what the frame holds.
    let first = func.entry();
    let mut arguments = Vec::new();
    for (i, (&param, &slot)) in func.blocks[first].params.iter().zip(&func.params).enumerate() {
        let v = if func.osr.is_some() {
            l.b.ins().load(clif_type(func.ty(param)), trusted(), l.fp, slot as i32 * 8)
        } else {
            params[2 + i]
        };
        arguments.push(v);
    }
    let start = l.clif_block(first);
    for (&param, &v) in func.blocks[first].params.iter().zip(&arguments) {
        l.values[param] = Some(v);
        if let Some(var) = l.vars[param] {
            l.b.def_var(var, v);
        }
    }
    l.enter_frame();
    if l.loops.innermost(first).is_some() {
        l.write_base();
    }
    l.b.ins().jump(start, &[]);
    let mut order: SecondaryMap<Block, u32> = SecondaryMap::with_default(u32::MAX);
    for (i, &block) in func.layout.iter().enumerate() {
        order[block] = i as u32;
    }
    let mut predecessors: SecondaryMap<Block, Vec<Block>> = SecondaryMap::new();
    for &block in &func.layout {
        for next in func.successors(block) {
            predecessors[next].push(block);
        }
    }
    for &block in &func.layout {
        l.block(block, block == first, &predecessors[block], &order);
    }
    l.fill_exits();
    l.b.seal_all_blocks();
    let exits = std::mem::take(&mut l.exits);
    let positions = std::mem::take(&mut l.positions);
    let mut held: Vec<_> = std::mem::take(&mut l.held_checks).into_iter().collect();
    held.sort_unstable_by_key(|h| h.1);
    l.b.finalize(config);
    sweep::run(target);
    (exits, positions, held.into_iter().map(|h| h.0).collect())
}

/// Whether some call has arguments that find no register, which the native frame begins with then.
fn passes_on_stack(func: &Function) -> bool {
    let mut calls = func.layout.iter().flat_map(|&b| &func.blocks[b].insts).map(|&i| &func.insts[i]);
    calls.any(|data| {
        let floats = data.args.iter().filter(|&&v| func.ty(v) == Type::Float).count();
        // Context and frame go before.
        data.op.info().calls && (data.args.len() - floats > 4 || floats > 8)
    })
}

/// The first instructions of a kind on all ways from the start. None where there are many, or where they are in loops.
fn first_of(
    func: &Function,
    cfg: &Cfg,
    doms: &Dominators,
    loops: &Loops,
    is: impl Fn(&Function, Inst) -> bool,
) -> Option<Vec<Inst>> {
    let mut first: Vec<(Block, Inst)> = Vec::new();
    for &block in &cfg.order {
        if first.iter().any(|&(b, _)| doms.dominates(b, block)) {
            continue;
        }
        let Some(&inst) = func.blocks[block].insts.iter().find(|&&i| is(func, i)) else { continue };
        if first.len() == FIRST || loops.innermost(block).is_some() {
            return None;
        }
        first.push((block, inst));
    }
    Some(first.into_iter().map(|(_, inst)| inst).collect())
}

/// The closest block outside of loops that all ways to instructions of a kind go through.
fn common_of(
    func: &Function,
    cfg: &Cfg,
    doms: &Dominators,
    loops: &Loops,
    is: impl Fn(&Function, Inst) -> bool,
) -> Option<Block> {
    let with = cfg.order.iter().copied().filter(|&b| func.blocks[b].insts.iter().any(|&i| is(func, i)));
    let mut common = with.reduce(|a, b| doms.common(cfg, a, b))?;
    while loops.innermost(common).is_some() {
        common = doms.idom(common)?;
    }
    Some(common)
}

/// Whether an instruction makes a frame.
fn needs_room(func: &Function, inst: Inst) -> bool {
    let data = &func.insts[inst];
    match data.op {
        Op::Charge => true,
        Op::Routine => data.site.expand().is_some_and(|s| func.sites[s].kind == RoutineKind::Call),
        op => op.info().calls,
    }
}

impl Lowering<'_, '_> {
    // ---- Values ----

    /// Finds the values that are read again from frames, and makes variables of them: cells that may move while they are in use, and
    /// what is used behind calls, since bodies keep no registers.
    fn declare_moved(&mut self) {
        let func = self.func;
        let last = self.last_uses();
        let mut moved = EntitySet::<Value>::new();
        for &block in &func.layout {
            let looping = self.loops.innermost(block).is_some();
            for (i, &inst) in func.blocks[block].insts.iter().enumerate() {
                let data = &func.insts[inst];
                let Some(state) = data.state.expand().filter(|_| collects(func, inst)) else { continue };
                let call = data.op.info().calls;
                let here = (self.cfg.position(block) as u32, i as u32);
                func.each_state_value(state, |v| {
                    let kept = || {
                        call && func.ty(v) != Type::Cell
                            && last[v].is_some_and(|last| last > here || looping)
                            && constant(func, v).is_none()
                    };
                    if may_be_object(func, v) || kept() {
                        moved.insert(v);
                    }
                });
            }
        }
        for value in moved.iter() {
            self.vars[value] = Some(self.b.declare_var(clif_type(func.ty(value))));
        }
    }

    /// Where each value is used last, but for states: the block's position in reverse postorder, and the place in it.
    fn last_uses(&self) -> SecondaryMap<Value, Option<(u32, u32)>> {
        let mut last = SecondaryMap::new();
        last.resize(self.func.values.len());
        for (at, &block) in self.cfg.order.iter().enumerate() {
            for (i, &inst) in self.func.blocks[block].insts.iter().enumerate() {
                let data = &self.func.insts[inst];
                let targets = data.targets.iter().flat_map(|t| &t.args);
                for &v in data.args.iter().chain(targets) {
                    last[v] = Some((at as u32, i as u32));
                }
            }
        }
        last
    }

    fn define(&mut self, value: Value, v: clif::Value) {
        self.values[value] = Some(v);
        if let Some(var) = self.vars[value] {
            self.b.def_var(var, v);
        }
    }

    fn value(&mut self, value: Value) -> clif::Value {
        if let Some(var) = self.vars[value] {
            return self.b.use_var(var);
        }
        match self.values[value] {
            Some(v) => v,
            // Only where the form is broken, which the verifier finds.
            None => {
                debug_assert!(false, "{value} is used before it is defined");
                match self.func.ty(value) {
                    Type::Float => self.b.ins().f64const(0.0),
                    _ => self.b.ins().iconst(types::I64, 0),
                }
            }
        }
    }

    /// A condition: a comparison as it is, else whether an int is not 0.
    fn condition(&mut self, value: Value) -> clif::Value {
        match self.bools[value] {
            Some(b) => b,
            None => self.value(value),
        }
    }

    /// The first float where a comparison of floats holds, else the second. As lanes of vectors, since Cranelift's choice between scalars is
    /// a branch; where it chooses what it compares that is one instruction.
    fn choose_float(
        &mut self,
        cc: FloatCC,
        compared: [clif::Value; 2],
        from: [clif::Value; 2],
    ) -> clif::Value {
        let lane = |l: &mut Self, v| l.b.ins().scalar_to_vector(types::F64X2, v);
        let [x, y] = compared.map(|v| lane(self, v));
        let [a, b] = from.map(|v| lane(self, v));
        let (cc, [a, b]) = match cc {
            FloatCC::UnorderedOrGreaterThan | FloatCC::UnorderedOrGreaterThanOrEqual => {
                (cc.complement(), [b, a])
            }
            _ => (cc, [a, b]),
        };
        let mask = self.b.ins().fcmp(cc, x, y);
        let flags = MemFlagsData::new().with_endianness(clif::Endianness::Little);
        let mask = self.b.ins().bitcast(types::F64X2, flags, mask);
        let chosen = self.b.ins().bitselect(mask, a, b);
        self.b.ins().extractlane(chosen, 0)
    }

    /// Whether a sum, difference or product is no i64, as a value. (Flags are for branches alone: see `flags.rs`.)
    fn overflows(&mut self, op: Op, a: clif::Value, b: clif::Value) -> clif::Value {
        if op == Op::ImulOverflows {
            // The upper half is the sign of the lower.
            let (low, high) = (self.b.ins().imul(a, b), self.b.ins().smulhi(a, b));
            let sign = self.b.ins().sshr_imm_u(low, 63);
            return self.b.ins().icmp(IntCC::NotEqual, high, sign);
        }
        // Both operands, the second negated for a difference, have another sign than the result.
        let v = if op == Op::IaddOverflows { self.b.ins().iadd(a, b) } else { self.b.ins().isub(a, b) };
        let x = self.b.ins().bxor(a, v);
        let y = if op == Op::IaddOverflows { self.b.ins().bxor(b, v) } else { self.b.ins().bxor(a, b) };
        let both = self.b.ins().band(x, y);
        let zero = self.iconst(0);
        self.b.ins().icmp(IntCC::SignedLessThan, both, zero)
    }

    /// The negation of a comparison.
    fn negated(&mut self, value: Value) -> Option<clif::Value> {
        let func = self.func;
        let data = func.def(value)?;
        let compares = matches!(data.op, Op::Icmp | Op::Fcmp);
        if !compares || data.args.iter().any(|&v| self.vars[v].is_some()) {
            return None;
        }
        let cond = data.cond().negated();
        if data.op == Op::Icmp {
            return Some(self.compare(data, cond));
        }
        let (a, b) = (self.value(data.args[0]), self.value(data.args[1]));
        Some(self.b.ins().fcmp(float_cc(cond), a, b))
    }

    /// A comparison of ints, by this condition.
    fn compare(&mut self, data: &InstData, cond: Cond) -> clif::Value {
        let func = self.func;
        if let Some((n, d)) = rest::is_test(func, data).and_then(|v| self.tested_remainder(v)) {
            let n = self.value(n);
            return self.divides(n, d, cond);
        }
        let (a, b) = (self.value(data.args[0]), self.value(data.args[1]));
        self.b.ins().icmp(int_cc(cond), a, b)
    }

    fn iconst(&mut self, v: i64) -> clif::Value {
        let known = CONSTANTS.iter().position(|&c| c == v).and_then(|i| self.constants[i]);
        known.unwrap_or_else(|| self.b.ins().iconst(types::I64, v))
    }

    fn load64(&mut self, base: clif::Value, offset: usize) -> clif::Value {
        self.b.ins().load(types::I64, trusted(), base, offset as i32)
    }

    fn clif_block(&mut self, block: Block) -> clif::Block {
        match self.blocks[block] {
            Some(b) => b,
            None => {
                let b = self.b.create_block();
                self.blocks[block] = Some(b);
                b
            }
        }
    }

    fn cold_block(&mut self) -> clif::Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        block
    }

    // ---- Callees ----

    fn signature(
        &mut self,
        params: &[Type],
        returns: &[Type],
        call: cranelift_codegen::isa::CallConv,
    ) -> clif::SigRef {
        let key: Vec<u8> = params
            .iter()
            .chain(returns)
            .map(|&t| u8::from(t == Type::Float))
            .chain([params.len() as u8, u8::from(call == BODY)])
            .collect();
        if let Some(&s) = self.signatures.get(&key) {
            return s;
        }
        let mut signature = clif::Signature::new(call);
        signature.params.extend(params.iter().map(|&t| clif::AbiParam::new(clif_type(t))));
        signature.returns.extend(returns.iter().map(|&t| clif::AbiParam::new(clif_type(t))));
        let s = self.b.import_signature(signature);
        self.signatures.insert(key, s);
        s
    }

    fn external(&mut self, namespace: u32, index: u32, signature: clif::SigRef) -> clif::FuncRef {
        let name = self.b.func.declare_imported_user_function(clif::UserExternalName { namespace, index });
        self.b.import_function(clif::ExtFuncData {
            name: clif::ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }

    fn stub(&mut self, stub: Stub) -> clif::FuncRef {
        if let Some(f) = self.stubs[stub as usize] {
            return f;
        }
        // What does not come back keeps all registers, too, as far as the register allocator is concerned, which has less to do then.
        let keep = cranelift_codegen::isa::CallConv::PreserveAll;
        let (returns, call) = if stub == Stub::Call { (1, CALL) } else { (0, keep) };
        let mut signature = clif::Signature::new(call);
        signature.params.resize(stub.arguments().into(), clif::AbiParam::new(types::I64));
        signature.returns.resize(returns, clif::AbiParam::new(types::I64));
        let signature = self.b.import_signature(signature);
        let f = self.external(STUBS, stub as u32, signature);
        self.stubs[stub as usize] = Some(f);
        f
    }

    /// Whether it is what a load gives.
    fn is_loaded(&self, v: clif::Value) -> bool {
        let dfg = &self.b.func.dfg;
        dfg.value_def(v).inst().is_some_and(|inst| dfg.insts[inst].opcode() == clif::Opcode::Load)
    }

    /// Leaves with a status.
    fn leave(&mut self, status: clif::Value) {
        let stub = self.stub(Stub::Leave);
        self.b.ins().call(stub, &[self.ctx, status]);
        self.b.ins().trap(clif::TrapCode::unwrap_user(1));
    }

    /// The address of a word of a function's code.
    fn code(&mut self, function: u32, word: u32) -> clif::Value {
        // A symbol of its own for each use: Cranelift would keep one value in registers, and over calls in memory.
        let name = self
            .b
            .func
            .declare_imported_user_function(clif::UserExternalName { namespace: CODE, index: function });
        let gv = self.b.create_global_value(clif::GlobalValueData::Symbol {
            name: clif::ExternalName::user(name),
            offset: (i64::from(word) * 8).into(),
            colocated: false,
            tls: false,
        });
        self.b.ins().symbol_value(types::I64, gv)
    }

    /// Likewise; in a block that runs seldom it is loaded, since Cranelift computes addresses before loops, where they take registers.
    fn code_at(&mut self, function: u32, word: u32) -> clif::Value {
        if !self.cold {
            return self.code(function, word);
        }
        let entry = self.entry_of(function);
        let start = self.load64(entry, offset_of!(FunctionEntry, code));
        self.b.ins().iadd_imm_s(start, i64::from(word) * 8)
    }

    /// The entry of a function in the instance's table.
    fn entry_of(&mut self, function: u32) -> clif::Value {
        let table = self.load64(self.ctx, offset_of!(Context, functions));
        self.b.ins().iadd_imm_s(table, i64::from(function) << FunctionEntry::SHIFT)
    }

    // ---- Blocks ----

    fn block(&mut self, block: Block, first: bool, predecessors: &[Block], order: &SecondaryMap<Block, u32>) {
        let func = self.func;
        let clif = self.clif_block(block);
        self.b.switch_to_block(clif);
        if !first {
            let mut held: Option<SlotMap<Held>> = None;
            let forward = predecessors.iter().all(|&p| order[p] < order[block]);
            for &p in predecessors {
                match (&mut held, &self.ends[p]) {
                    (_, None) => {}
                    (None, Some(end)) => held = Some(end.clone()),
                    (Some(held), Some(end)) => {
                        held.map_from(0, |slot, h| self.both(h, end.get(slot)));
                    }
                }
            }
            let mut held = held.unwrap_or_default();
            if !forward {
                self.forget_in_loop(block, &mut held);
            }
            self.held = held;
            for &param in &func.blocks[block].params {
                let v = self.b.append_block_param(clif, clif_type(func.ty(param)));
                self.values[param] = Some(v);
            }
            for &param in &func.blocks[block].params {
                if let (Some(var), Some(v)) = (self.vars[param], self.values[param]) {
                    self.b.def_var(var, v);
                }
            }
        }
        self.divided.clear();
        self.cold = func.blocks[block].cold;
        let around = self.loops.innermost(block);
        self.looping = around.is_some();
        self.reading = around.is_some_and(|id| self.calling.contains(id));
        (self.ctx, self.fp) = self.given;
        self.read_behind_call();
        let enters = !self.looping && func.successors(block).any(|next| self.loops.innermost(next).is_some());
        if let Some(position) = func.blocks[block].position {
            self.stands_for(position);
        }
        let kept = self.cold.then(|| self.begin_cold());
        if self.clearing == Some(block) {
            self.clear_at_start();
        }
        let insts = &func.blocks[block].insts;
        let charged = match insts[..] {
            [.., charge, jump] if func.insts[charge].op == Op::Poll && func.insts[jump].op == Op::Jump => 2,
            _ => 0,
        };
        let (before, last) = insts[..].split_at(insts.len() - charged.max(1).min(insts.len()));
        for &inst in before {
            self.inst(inst);
            if func.insts[inst].op.info().helper {
                self.read_behind_call();
            }
        }
        if enters {
            self.write_base();
            self.write_unchanged(block);
        }
        for &inst in &last[charged..] {
            self.inst(inst);
        }
        if charged != 0
            && let [.., charge, jump] = insts[..]
            && let Some(state) = func.insts[charge].state.expand()
        {
            self.poll(state, Some(&func.insts[jump].targets[0]));
        }
        if let Some(kept) = kept {
            self.end_cold(kept);
        }
        self.ends[block] = Some(self.held.clone());
    }

    /// What is known where two ways meet.
    fn both(&self, a: Held, b: Held) -> Held {
        match (a, b) {
            _ if a == b => a,
            _ if self.is_cell(a) && self.is_cell(b) => Held::Valid,
            _ => Held::Unknown,
        }
    }

    fn is_cell(&self, held: Held) -> bool {
        match held {
            Held::Unknown | Held::Link(_) => false,
            Held::Valid => true,
            Held::Value(v) => self.func.ty(v) == Type::Cell,
        }
    }

    fn target_args(&mut self, target: &crate::ir::Target) -> (clif::Block, Vec<clif::BlockArg>) {
        let block = self.clif_block(target.block);
        let args = target.args.iter().map(|&v| clif::BlockArg::Value(self.value(v))).collect();
        (block, args)
    }

    // ---- Instructions ----

    /// Names the instruction of the bytecode, function and word, that the code from here on belongs to.
    fn stands_for(&mut self, position: (u32, u32)) {
        if self.positions.last() != Some(&position) {
            self.positions.push(position);
            self.b.set_srcloc(clif::SourceLoc::new(self.positions.len() as u32));
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm per op")]
    fn inst(&mut self, inst: Inst) {
        let func = self.func;
        let data = &func.insts[inst];
        let result = data.result.expand();
        let state = data.state.expand();
        if let Some(state) = state {
            let st = &func.states[state];
            self.stands_for((st.function, st.word));
        }
        let arg = |i: usize| data.args[i];
        macro_rules! binary {
            ($method:ident) => {{
                let (a, b) = (self.value(arg(0)), self.value(arg(1)));
                Some(self.b.ins().$method(a, b))
            }};
        }
        macro_rules! unary {
            ($method:ident) => {{
                let a = self.value(arg(0));
                Some(self.b.ins().$method(a))
            }};
        }
        macro_rules! boolean {
            ($e:expr) => {{
                let b = $e;
                if let Some(r) = result {
                    self.bools[r] = Some(b);
                }
                Some(self.b.ins().uextend(types::I64, b))
            }};
        }
        if self.collecting.contains(&inst) {
            self.clear_before(inst);
        }
        if !self.before.is_empty()
            && let Some(state) = state
            && self.before.contains(&inst)
        {
            self.check_room(state);
        }
        let v = match data.op {
            Op::Iconst | Op::Cconst => Some(self.iconst(data.imm)),
            Op::Fconst => Some(self.b.ins().f64const(f64::from_bits(data.imm as u64))),
            Op::Iadd => binary!(iadd),
            Op::Isub => binary!(isub),
            Op::Imul => {
                let a = self.value(arg(0));
                Some(match func.int_const(arg(1)).and_then(|c| self.multiple(a, c)) {
                    Some(product) => product,
                    None => {
                        let b = self.value(arg(1));
                        self.b.ins().imul(a, b)
                    }
                })
            }
            Op::Imulh => binary!(smulhi),
            Op::Irem if result.is_some_and(|r| self.tested.contains(r)) => None,
            Op::Idiv | Op::Irem => {
                let (a, b) = (self.value(arg(0)), self.value(arg(1)));
                let rest = data.op == Op::Irem;
                let constant = func.int_const(arg(1));
                let natural = data.imm != 0;
                Some(if self.paired.contains(inst) {
                    let (quotient, remainder) = self.divide_both((arg(0), arg(1)), (a, b), constant, natural);
                    if rest { remainder } else { quotient }
                } else {
                    match constant {
                        None => self.divide(a, b, rest),
                        Some(d) if rest => {
                            self.remainder(a, d, natural).unwrap_or_else(|| self.b.ins().srem(a, b))
                        }
                        Some(d) => self.quotient_by(a, d, natural),
                    }
                })
            }
            Op::Iand => binary!(band),
            Op::Ior => binary!(bor),
            Op::Ixor => binary!(bxor),
            Op::Ishl => binary!(ishl),
            Op::IshrS => binary!(sshr),
            Op::IshrU => binary!(ushr),
            Op::Imin => binary!(smin),
            Op::Imax => binary!(smax),
            Op::Iextend32 => {
                let a = self.value(arg(0));
                let low = self.b.ins().ireduce(types::I32, a);
                Some(self.b.ins().sextend(types::I64, low))
            }
            Op::Icmp => boolean!(self.compare(data, data.cond())),
            Op::Fcmp => {
                let cc = float_cc(data.cond());
                boolean!({
                    let (a, b) = (self.value(arg(0)), self.value(arg(1)));
                    self.b.ins().fcmp(cc, a, b)
                })
            }
            Op::IaddExit | Op::IsubExit | Op::ImulExit => {
                let (mut a, mut b) = (self.value(arg(0)), self.value(arg(1)));
                // Cranelift merges loads of the second operand only.
                if data.op != Op::IsubExit && self.is_loaded(a) && !self.is_loaded(b) {
                    (a, b) = (b, a);
                }
                // `tidy.rs` makes a jump on the flag of it. Of a plain sum with a constant Cranelift would make another one at each use
                // behind the exit.
                let (v, overflow) = match data.op {
                    Op::IaddExit => self.b.ins().sadd_overflow(a, b),
                    Op::IsubExit => self.b.ins().ssub_overflow(a, b),
                    _ => self.b.ins().smul_overflow(a, b),
                };
                if let Some(state) = state {
                    self.exit_if(overflow, state, data.reason());
                }
                Some(v)
            }
            Op::IaddOverflows | Op::IsubOverflows | Op::ImulOverflows => boolean!({
                let (a, b) = (self.value(arg(0)), self.value(arg(1)));
                self.overflows(data.op, a, b)
            }),
            Op::SelectFloat if let Some(compare) = func.def(arg(0)).filter(|d| d.op == Op::Fcmp) => {
                let compared = [compare.args[0], compare.args[1]].map(|v| self.value(v));
                let (a, b) = (self.value(arg(1)), self.value(arg(2)));
                Some(self.choose_float(float_cc(compare.cond()), compared, [a, b]))
            }
            Op::SelectInt | Op::SelectFloat | Op::SelectCell => {
                let c = self.condition(arg(0));
                let (a, b) = (self.value(arg(1)), self.value(arg(2)));
                Some(self.b.ins().select(c, a, b))
            }
            Op::Fadd => binary!(fadd),
            Op::Fsub => binary!(fsub),
            Op::Fmul => binary!(fmul),
            Op::Fdiv => binary!(fdiv),
            Op::Fmin | Op::Fmax => {
                let (a, b) = (self.value(arg(0)), self.value(arg(1)));
                let compared = if data.op == Op::Fmin { [b, a] } else { [a, b] };
                Some(self.choose_float(FloatCC::LessThan, compared, [b, a]))
            }
            Op::Fneg => unary!(fneg),
            Op::Fabs => unary!(fabs),
            Op::Fsqrt => unary!(sqrt),
            Op::Ffloor => unary!(floor),
            Op::Fceil => unary!(ceil),
            Op::Ftrunc => unary!(trunc),
            Op::Fcall1 | Op::Fcall2 => self.helper(inst),
            Op::FfromInt => {
                let a = self.value(arg(0));
                Some(self.b.ins().fcvt_from_sint(types::F64, a))
            }
            Op::IfromFloat => {
                let a = self.value(arg(0));
                Some(self.b.ins().fcvt_to_sint_sat(types::I64, a))
            }
            Op::FfromBits => {
                let a = self.value(arg(0));
                Some(self.b.ins().bitcast(types::F64, MemFlagsData::new(), a))
            }
            Op::IfromBits => {
                let a = self.value(arg(0));
                Some(self.b.ins().bitcast(types::I64, MemFlagsData::new(), a))
            }

            Op::BoxFloat => {
                let a = self.value(arg(0));
                let bits = self.b.ins().bitcast(types::I64, MemFlagsData::new(), a);
                let nan = self.b.ins().fcmp(FloatCC::Unordered, a, a);
                let canonical = self.iconst(cells::CANONICAL_NAN as i64);
                let bits = self.b.ins().select(nan, canonical, bits);
                Some(self.b.ins().iadd_imm_s(bits, cells::FLOAT_OFFSET as i64))
            }
            Op::BoxBool => {
                let is = match self.bools[arg(0)] {
                    Some(b) => self.b.ins().uextend(types::I64, b),
                    None => {
                        let a = self.value(arg(0));
                        let zero = self.iconst(0);
                        let b = self.b.ins().icmp(IntCC::NotEqual, a, zero);
                        self.b.ins().uextend(types::I64, b)
                    }
                };
                Some(self.b.ins().iadd_imm_s(is, cells::Value::FALSE.bits() as i64))
            }
            Op::BoxSmall => {
                let a = self.value(arg(0));
                Some(self.box_small(a))
            }
            Op::BoxInt => self.box_int(inst),
            Op::Bits | Op::OfBits => Some(self.value(arg(0))),
            Op::IsSmall => boolean!({
                let a = self.value(arg(0));
                let tag = self.iconst((cells::TAG_INT << 48) as i64);
                self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, a, tag)
            }),
            Op::IsFloat => boolean!({
                let a = self.value(arg(0));
                let from = self.b.ins().iadd_imm_s(a, (cells::FLOAT_OFFSET as i64).wrapping_neg());
                let last = self.iconst((cells::FLOAT_LAST - cells::FLOAT_OFFSET) as i64);
                self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, from, last)
            }),
            Op::IsObject => boolean!({
                let a = self.value(arg(0));
                self.is_object(a)
            }),
            Op::SmallInt => {
                let a = self.value(arg(0));
                let up = self.b.ins().ishl_imm_u(a, 16);
                Some(self.b.ins().sshr_imm_u(up, 16))
            }
            Op::CellFloat => {
                let a = self.value(arg(0));
                let bits = self.b.ins().iadd_imm_s(a, (cells::FLOAT_OFFSET as i64).wrapping_neg());
                Some(self.b.ins().bitcast(types::F64, MemFlagsData::new(), bits))
            }
            Op::Same => boolean!({
                let (a, b) = (self.value(arg(0)), self.value(arg(1)));
                self.b.ins().icmp(IntCC::Equal, a, b)
            }),

            Op::StringLen | Op::AsciiLen | Op::AsciiBase => Some(self.string(data.op, arg(0))),
            Op::Context => Some(self.load64(self.ctx, data.imm as usize)),
            Op::Constant => {
                let table = self.load64(self.ctx, offset_of!(Context, constants));
                Some(self.load64(table, data.imm as usize * 8))
            }
            Op::Code => Some(self.code((data.imm >> 32) as u32, data.imm as u32)),
            Op::Load | Op::LoadAt => {
                let base = self.value(arg(0));
                let width = data.access.map_or(Width::Int, |a| a.width);
                let (base, distance) =
                    if data.op == Op::LoadAt { self.index(base, arg(1), width) } else { (base, 0) };
                let offset = data.imm as i32 + distance;
                Some(match width {
                    Width::U8 => self.b.ins().uload8(types::I64, trusted(), base, offset),
                    Width::U16 => self.b.ins().uload16(types::I64, trusted(), base, offset),
                    Width::U32 => self.b.ins().uload32(trusted(), base, offset),
                    Width::Float => self.b.ins().load(types::F64, trusted(), base, offset),
                    Width::Int | Width::Cell | Width::Ptr => {
                        self.b.ins().load(types::I64, trusted(), base, offset)
                    }
                })
            }
            Op::Store | Op::StoreAt => {
                let base = self.value(arg(0));
                let width = data.access.map_or(Width::Int, |a| a.width);
                let ((base, distance), value) = if data.op == Op::StoreAt {
                    (self.index(base, arg(1), width), arg(2))
                } else {
                    ((base, 0), arg(1))
                };
                let offset = data.imm as i32 + distance;
                // A constant byte is part of the instruction.
                if let (Width::U8, Some(byte)) = (width, func.int_const(value)) {
                    let byte = self.b.ins().iconst(types::I8, byte & 0xFF);
                    self.b.ins().store(trusted(), byte, base, offset);
                    return;
                }
                let v = self.value(value);
                match width {
                    Width::U8 => self.b.ins().istore8(trusted(), v, base, offset),
                    Width::U16 => self.b.ins().istore16(trusted(), v, base, offset),
                    Width::U32 => self.b.ins().istore32(trusted(), v, base, offset),
                    _ => self.b.ins().store(trusted(), v, base, offset),
                };
                None
            }
            Op::StoreCell | Op::StoreCellAt => {
                let object = self.value(arg(0));
                let ((place, distance), value, helper) = if data.op == Op::StoreCellAt {
                    (self.index(object, arg(1), Width::Cell), arg(2), Helper::WriteBarrierSlot)
                } else {
                    ((object, 0), arg(1), Helper::WriteBarrier)
                };
                let offset = data.imm as i32 + distance;
                let v = self.value(value);
                self.b.ins().store(trusted(), v, place, offset);
                if may_be_object(func, value) {
                    let bits =
                        self.b.ins().uload8(types::I64, trusted(), object, offset_of!(Header, gc) as i32);
                    let bit = self.b.ins().band_imm_s(bits, i64::from(gc::BARRIER));
                    let slow = self.cold_block();
                    let next = self.b.create_block();
                    self.b.ins().brif(bit, slow, &[], next, &[]);
                    self.b.switch_to_block(slow);
                    let kept = self.begin_cold();
                    self.unless_old(v, next);
                    let slot = self.b.ins().iadd_imm_s(place, i64::from(offset));
                    let helper = self.iconst(helper_place(helper));
                    self.call_quietly([object, slot, helper, slot]);
                    self.end_cold(kept);
                    self.b.ins().jump(next, &[]);
                    self.b.switch_to_block(next);
                }
                None
            }

            Op::Guard => {
                let c = self.condition(arg(0));
                if let Some(state) = state {
                    if self.stress {
                        // By the budget, so that runs repeat.
                        let budget = self.budget();
                        let mixed = self.b.ins().iadd_imm_s(budget, i64::from(inst.as_u32() * 5));
                        let low = self.b.ins().band_imm_s(mixed, 7);
                        let zero = self.iconst(0);
                        let now = self.b.ins().icmp(IntCC::Equal, low, zero);
                        self.exit_if(now, state, data.reason());
                    }
                    self.exit_unless(c, state, data.reason());
                }
                None
            }
            Op::Stack => {
                self.room = data.imm as u32;
                // Ways without calls need not look.
                self.before =
                    first_of(func, &self.cfg, &self.doms, &self.loops, needs_room).unwrap_or_default();
                if let Some(state) = state.filter(|_| self.before.is_empty()) {
                    self.check_room(state);
                }
                None
            }
            Op::Poll | Op::Charge => {
                if let Some(state) = state {
                    self.poll(state, None);
                }
                None
            }
            Op::Call | Op::CallClosure => self.call(inst),
            Op::Routine => self.routine(inst),
            Op::Helper => self.helper(inst),
            Op::Alloc => self.alloc(inst),
            Op::Make => self.make(inst),
            // Made where frames are written.
            Op::Virtual => None,

            Op::Jump => {
                let (block, args) = self.target_args(&data.targets[0]);
                self.b.ins().jump(block, &args);
                None
            }
            Op::Branch => {
                let depth = |i: usize| {
                    let id = self.loops.innermost(data.targets[i].block);
                    id.map_or(0, |id| self.loops.loops[id].depth)
                };
                let swapped = depth(0) > depth(1);
                let c = if swapped { self.negated(arg(0)) } else { None };
                let order = if c.is_some() { [1, 0] } else { [0, 1] };
                let c = c.unwrap_or_else(|| self.condition(arg(0)));
                let (mut a, mut x) = self.target_args(&data.targets[order[0]]);
                let (b, y) = self.target_args(&data.targets[order[1]]);
                // The way out of a loop with its arguments, which Cranelift would place in the loop.
                let out = (swapped && order[0] == 1 && !x.is_empty()).then(|| {
                    let args = std::mem::take(&mut x);
                    (std::mem::replace(&mut a, self.b.create_block()), args)
                });
                self.b.ins().brif(c, a, &x, b, &y);
                if let Some((to, args)) = out {
                    self.b.switch_to_block(a);
                    self.b.ins().jump(to, &args);
                }
                None
            }
            Op::Switch => {
                let v = self.value(arg(0));
                let mut switch = Switch::new();
                let mut edges = Vec::new();
                let last = data.targets.len() - 1;
                for (i, target) in data.targets.iter().enumerate() {
                    let (block, args) = self.target_args(target);
                    let block = if args.is_empty() {
                        block
                    } else {
                        let edge = self.b.create_block();
                        edges.push((edge, block, args));
                        edge
                    };
                    if i < last {
                        switch.set_entry(u128::from(func.cases[data.imm as usize][i] as u64), block);
                    } else {
                        std::mem::take(&mut switch).emit(&mut self.b, v, block);
                    }
                }
                for (edge, block, args) in edges {
                    self.b.switch_to_block(edge);
                    self.b.ins().jump(block, &args);
                }
                None
            }
            Op::Return => {
                let v = data.args.first().map(|&v| self.value(v));
                self.b.ins().return_(v.as_slice());
                None
            }
            Op::Exit => {
                if let Some(state) = state {
                    let block = self.exit_block(state, data.reason());
                    self.b.ins().jump(block, &[]);
                }
                None
            }
        };
        if let (Some(r), Some(v)) = (result, v) {
            self.define(r, v);
        }
    }

    /// The address of an element, and the distance from it that the instruction has: a constant that is added to the position.
    fn index(&mut self, base: clif::Value, index: Value, width: Width) -> (clif::Value, i32) {
        let sum = self.func.def(index).filter(|sum| sum.op == Op::Iadd);
        let apart = sum.and_then(|sum| {
            let c = self.func.int_const(sum.args[1]).filter(|c| c.unsigned_abs() <= FAR)?;
            Some((sum.args[0], c as i32 * width.bytes() as i32))
        });
        let (index, distance) = apart.unwrap_or((index, 0));
        let i = self.value(index);
        let i = if width.bytes() == 8 {
            self.b.ins().ishl_imm_u(i, 3)
        } else {
            self.b.ins().imul_imm_s(i, i64::from(width.bytes()))
        };
        (self.b.ins().iadd(base, i), distance)
    }

    fn box_small(&mut self, a: clif::Value) -> clif::Value {
        // The upper 16 bits of an inline int are ones.
        self.b.ins().bor_imm_s(a, (cells::TAG_INT << 48) as i64)
    }

    fn box_int(&mut self, inst: Inst) -> Option<clif::Value> {
        let a = self.func.insts[inst].args[0];
        let a = self.value(a);
        let up = self.b.ins().ishl_imm_u(a, 16);
        let down = self.b.ins().sshr_imm_u(up, 16);
        let fits = self.b.ins().icmp(IntCC::Equal, down, a);
        let small = self.b.create_block();
        let wide = self.cold_block();
        let done = self.b.create_block();
        let result = self.b.append_block_param(done, types::I64);
        self.b.ins().brif(fits, small, &[], wide, &[]);
        self.b.switch_to_block(small);
        let v = self.box_small(a);
        self.b.ins().jump(done, &[clif::BlockArg::Value(v)]);
        self.b.switch_to_block(wide);
        self.slow_alloc(inst, done);
        self.b.switch_to_block(done);
        Some(result)
    }

    fn alloc(&mut self, inst: Inst) -> Option<clif::Value> {
        let func = self.func;
        let data = &func.insts[inst];
        let size = object_size(data);
        let top = self.load64(self.ctx, heap(HEAP_TOP));
        let end = self.load64(self.ctx, heap(HEAP_END));
        let next = self.b.ins().iadd_imm_s(top, size);
        // As where a collection is due.
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
        let words: Vec<clif::Value> = data.args.iter().map(|&word| self.value(word)).collect();
        self.fill(top, data, &words);
        self.b.ins().jump(done, &[clif::BlockArg::Value(top)]);
        self.b.switch_to_block(slow);
        self.slow_alloc(inst, done);
        self.b.switch_to_block(done);
        Some(result)
    }

    /// Whether a cell is an object.
    fn is_object(&mut self, cell: clif::Value) -> clif::Value {
        let from = self.b.ins().iadd_imm_s(cell, -1);
        let end = self.iconst((cells::ADDRESS_END - 1) as i64);
        self.b.ins().icmp(IntCC::UnsignedLessThan, from, end)
    }

    /// Goes on where a cell is stored that is no young object, which no barrier has to know of.
    fn unless_old(&mut self, cell: clif::Value, next: clif::Block) {
        let (object, young) = (self.cold_block(), self.cold_block());
        let is = self.is_object(cell);
        self.b.ins().brif(is, object, &[], next, &[]);
        self.b.switch_to_block(object);
        let bits = self.b.ins().uload8(types::I64, trusted(), cell, offset_of!(Header, gc) as i32);
        let old = self.b.ins().band_imm_s(bits, i64::from(gc::OLD));
        self.b.ins().brif(old, next, &[], young, &[]);
        self.b.switch_to_block(young);
    }
}

/// Where a helper stands in the table of routines, in bytes.
fn helper_place(helper: Helper) -> i64 {
    (Routine::ALL.len() + helper as usize) as i64 * 8
}

/// The size of an object that is made, with the buffer of a list behind it.
fn object_size(data: &InstData) -> i64 {
    let words = data.args.len();
    let size = match elements_of(data.imm) {
        Some(_) => size_of::<List>() + Buffer::DATA + 8 * (words - LIST_WORDS),
        None => (8 + 8 * words).max(MIN_OBJECT),
    };
    size as i64
}

/// Whether an instruction may run the collector.
fn collects(func: &Function, inst: Inst) -> bool {
    let data = &func.insts[inst];
    match data.op {
        Op::Alloc | Op::BoxInt => true,
        Op::Routine => data.site.expand().is_some_and(|s| func.sites[s].effects.collects),
        op => op.info().calls,
    }
}

/// The bits of a constant.
fn constant(func: &Function, value: Value) -> Option<u64> {
    let def = func.def(value)?;
    matches!(def.op, Op::Iconst | Op::Fconst | Op::Cconst).then_some(def.imm as u64)
}

fn int_cc(cond: Cond) -> IntCC {
    match cond {
        Cond::Eq => IntCC::Equal,
        Cond::Ne => IntCC::NotEqual,
        Cond::Lt => IntCC::SignedLessThan,
        Cond::Le => IntCC::SignedLessThanOrEqual,
        Cond::Gt => IntCC::SignedGreaterThan,
        Cond::Ge => IntCC::SignedGreaterThanOrEqual,
        Cond::Ult => IntCC::UnsignedLessThan,
        Cond::Ule => IntCC::UnsignedLessThanOrEqual,
        Cond::Ugt => IntCC::UnsignedGreaterThan,
        Cond::Uge => IntCC::UnsignedGreaterThanOrEqual,
    }
}

fn float_cc(cond: Cond) -> FloatCC {
    match cond {
        Cond::Eq => FloatCC::Equal,
        Cond::Ne => FloatCC::NotEqual,
        Cond::Lt | Cond::Ult => FloatCC::LessThan,
        Cond::Le | Cond::Ule => FloatCC::LessThanOrEqual,
        Cond::Gt | Cond::Ugt => FloatCC::UnorderedOrGreaterThan,
        Cond::Ge | Cond::Uge => FloatCC::UnorderedOrGreaterThanOrEqual,
    }
}
