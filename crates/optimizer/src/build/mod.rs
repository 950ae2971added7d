//! From bytecode to SSA: blocks in order, inlined functions in place.
//!
//! The environment says which value each frame slot holds. At a block with several ways in, slots whose values differ become
//! parameters; a loop's header has parameters for the live slots that the loop writes, so what it leaves alone keeps its value, and
//! with it what is known of it. A callee that is inlined gets an environment of its own, whose slots stand behind the caller's
//! frame, as its frame would.
//!
//! What traps or was not foreseen leaves to the interpreter at the instruction, which is done again there. So no op is refused: what
//! has no form of its own runs as the interpreter's routine.
//!
//! A loop begins with the block behind its `loop_header`; the header itself is the block before it, with the charge, and each
//! way back charges before it jumps.

mod calls;
mod cells;
mod data;
mod ops;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use upshift_bytecode::ops::Role;
use upshift_bytecode::{Bank, CType, CellType, Effects, KeyPolicy, Op as Code, OrderPolicy, ValueType, Word};
use upshift_runtime::check::Test;
use upshift_runtime::feedback::Feedback;
use upshift_runtime::linked::FunctionMeta;
use upshift_runtime::record::Shape;
use upshift_runtime::value::Value as Cell;

use crate::flow::{self, Flow, Literal, Outline};
use crate::ir::{
    Block, Class, Function, Inlining, Inst, InstData, Op, Reason, Site, SiteData, State, StateData, Target,
    Type, Value, Width,
};
use crate::slots::{SlotMap, Slots};

/// A guest function: what is known of it, and the words from its first on (instructions, then literals).
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// What the runtime knows.
    pub meta: &'a FunctionMeta,
    /// Its code; empty for host functions.
    pub code: &'a [Word],
}

/// What a compilation asks, by engine-wide numbers.
pub trait Facts {
    /// A function.
    fn function(&self, index: u32) -> Option<Guest<'_>>;
    /// What is read of a function once; anew, where nobody keeps it.
    fn outline(&self, index: u32) -> Option<Arc<Outline>> {
        let guest = self.function(index)?;
        Some(Arc::new(Outline::new(guest.code.get(..guest.meta.len as usize)?)))
    }
    /// A shape.
    fn shape(&self, id: u32) -> Option<&Shape>;
    /// The parameters of a C function.
    fn c_params(&self, index: u32) -> Option<Vec<CType>>;
    /// The parameters of closures of a type.
    fn closure_params(&self, ty: CellType) -> Option<Vec<ValueType>>;
    /// The function of a closure that a running frame of the function or loop has: in a slot, or, further on, captured by the closure
    /// there.
    fn closure(&self, path: &[u32]) -> Option<u32>;
    /// The number that a divisor of a loop is in a running frame, by its slot: see [`divisors`].
    fn divisor(&self, slot: u32) -> Option<i64>;
    /// The functions that a call of a closure was seen to call, with weights in proportion to how often.
    fn callees(&self, function: u32, word: u32) -> &[(u32, u64)];
    /// The cell of a constant that is no object: a short string, or a name.
    fn constant(&self, number: u32) -> Option<Cell>;
    /// The text of a constant that is a string.
    fn text(&self, number: u32) -> Option<&str>;
    /// The number of the entry that a constant, a string or the name of a field, is in most map literals that have it as a key.
    fn entry_number(&self, number: u32) -> Option<u32>;
    /// What the header of a box, list or map of a type, given by its code, says of what it holds.
    fn element_code(&self, code: u32) -> Option<u32>;
    /// How maps of a type given by its code hold keys and in which order they show them.
    fn map_policies(&self, code: u32) -> Option<(KeyPolicy, OrderPolicy)>;
    /// What cells of a type given by its code are told by, if that is simple.
    fn test(&self, code: u32) -> Option<Test>;
    /// Whether a type may be none or many.
    fn may_be_results(&self, ty: CellType) -> bool;
    /// What a site saw.
    fn feedback(&self, site: u32) -> Feedback;
    /// Whether an assumption at an instruction failed before; at [`ANYWHERE`], that no position is negative.
    fn failed(&self, function: u32, word: u32) -> bool;
    /// What is known of a watch.
    fn watch(&self, watch: u32) -> Watched;
}

/// What is known of a watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// It was bumped, and stays so.
    Bumped,
    /// It was not, and code that was made for that is not entered once it is.
    Intact,
    /// Code has to look.
    Unknown,
}

/// In place of a word: positions of the function were negative ([`Facts::failed`]).
pub const ANYWHERE: u32 = u32::MAX;

/// How much is inlined.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Functions of at most so many instructions are inlined.
    pub callee: u32,
    /// Until all together have so many.
    pub total: u32,
    /// So deep.
    pub depth: u32,
    /// A function into itself so often.
    pub recursion: u32,
    /// Whether kinds, callees and shapes that were seen are assumed.
    pub speculate: bool,
    /// Whether what was never reached is assumed to stay so.
    pub unseen: bool,
}

impl Options {
    /// Whether a function of so many instructions, and such a [`Flow::weight`], may be inlined where it is on the way there `again`
    /// times and all that is inlined so far has `total`.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, again: u32, instructions: u32, weight: u32, total: u32) -> Result<(), Inlining> {
        if instructions > self.callee {
            return Err(Inlining::TooLarge);
        }
        // Recursion doubles with each level, so it has to be small, and with it what is built in at each.
        let large = weight > self.callee / 4 || total + instructions > self.total / 5;
        if again > self.recursion || again > 0 && large {
            return Err(Inlining::Recursive);
        }
        if total + instructions > self.total {
            return Err(Inlining::Budget);
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Options {
        Options { callee: 80, total: 1500, depth: 8, recursion: 2, speculate: true, unseen: true }
    }
}

/// What is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Start {
    /// A function from its start.
    Function,
    /// One loop of it, by the word of its header.
    Loop(u32),
}

/// Why nothing is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no such function or loop.
    Absent,
    /// It is larger than a compilation may be.
    TooLarge,
    /// A loop is entered past its header.
    Irregular,
}

/// The most instructions that a function or loop may have by itself. A loop may stand in a function of any size.
pub const LIMIT: u32 = 20_000;
/// The most slots of the frame of a function.
const SLOTS: u32 = 8_000;

/// Headers of loops that are built, by word: the block behind each, with the slots of its parameters.
type Headers = HashMap<u32, (Block, Vec<(u32, Type)>)>;

/// Which value each slot holds.
type Env = SlotMap<Option<Value>>;

/// A way into a block: the target of a terminator that is still to be named.
struct Edge {
    inst: Inst,
    target: usize,
    env: Env,
}

/// Where a function begins that has tail calls: these may come back to it.
#[derive(Clone)]
struct Head {
    function: u32,
    block: Block,
    /// The slots of the block's parameters.
    params: Vec<(u32, Type)>,
}

/// One function of the inline tree.
struct Frame<'a> {
    guest: Guest<'a>,
    flow: Rc<Flow>,
    /// Where it begins, in slots from the root's start.
    base: u32,
    /// The caller's state at the call.
    parent: Option<State>,
    /// How deep.
    depth: u32,
    /// The functions from the root to here.
    chain: Vec<u32>,
    /// The functions that had this frame one after the other by tail calls, to this one.
    heads: Vec<Head>,
    /// Ways out with the result, where it is inlined.
    returns: Option<Vec<(Inst, Option<Value>)>>,
    /// The loop that is compiled alone.
    region: Option<(u32, u32)>,
}

struct Builder<'a> {
    facts: &'a dyn Facts,
    options: Options,
    func: Function,
    flows: HashMap<u32, Rc<Flow>>,
    /// The slots of the root's frame.
    root: u32,
    cur: Block,
    /// Nothing is reached from here on.
    dead: bool,
    instructions: u32,
    /// How far frames and windows of what is called from here reach, in slots.
    extent: u32,
    calls: bool,
    /// What is read is inside of a function that is built in as one of several.
    one_of_several: bool,
    // Where the instruction stands.
    env: Env,
    word: u32,
    live: Slots,
    state: Option<State>,
    /// Where closures come from, by [`Facts::closure`]: values of slots at the start, and what those captured.
    paths: HashMap<Value, Vec<u32>>,
    /// Instructions that fill a new list or map, by function and word: the position of what each adds.
    filling: HashMap<(u32, u32), i64>,
    /// The constants that are the keys of new maps so far.
    filled: HashMap<Value, Vec<(Op, i64)>>,
    /// The numbers of constants.
    constants: HashMap<Value, u32>,
}

/// Builds the SSA form of a function or a loop of it.
///
/// # Errors
/// See [`Refusal`].
pub fn build(facts: &dyn Facts, index: u32, start: Start, options: Options) -> Result<Function, Refusal> {
    let guest = facts.function(index).filter(|g| !g.code.is_empty()).ok_or(Refusal::Absent)?;
    let outline = facts.outline(index).ok_or(Refusal::Absent)?;
    let size = guest.meta.layout.size();
    let extent = match start {
        Start::Function => None,
        Start::Loop(header) => Some(outline.at(header).ok_or(Refusal::Absent)?),
    };
    let fits = match extent {
        Some(l) => l.instructions <= LIMIT,
        None => outline.instructions <= LIMIT && size + guest.meta.window <= SLOTS,
    };
    if !fits {
        return Err(Refusal::TooLarge);
    }
    let flow = Rc::new(match extent {
        Some(extent) => Flow::region(facts, guest.meta, guest.code, extent),
        None => Flow::new(facts, guest.meta, guest.code),
    });
    if !flow.regular {
        return Err(Refusal::Irregular);
    }
    let mut func = Function { name: guest.meta.name.to_string(), ..Function::default() };
    func.result = guest.meta.result.map(|ty| type_of(ty.bank()));
    let cur = func.add_block();
    let mut b = Builder {
        facts,
        options,
        func,
        flows: HashMap::new(),
        root: size,
        cur,
        dead: false,
        instructions: 0,
        extent: 0,
        calls: false,
        one_of_several: false,
        env: Env::default(),
        word: 0,
        live: Slots::default(),
        state: None,
        paths: HashMap::new(),
        filling: HashMap::new(),
        filled: HashMap::new(),
        constants: HashMap::new(),
    };
    let mut region = None;
    let first = match extent {
        None => {
            let environment = guest.meta.environment.then(|| (guest.meta.layout.first_cell(), Type::Cell));
            let params = guest.meta.params.iter().map(|p| (p.slot, type_of(p.ty.bank())));
            for (slot, ty) in environment.into_iter().chain(params) {
                b.func.params.push(slot);
                let param = b.func.add_param(cur, ty);
                b.env.set(slot, Some(param));
            }
            0
        }
        Some(l) => {
            region = Some((l.header + 1, l.end));
            let block = flow.block_at(l.header + 1).ok_or(Refusal::Absent)?;
            let banks = banks(facts, guest.meta, guest.code, l);
            let literals = outline.literals(guest.meta, guest.code);
            for slot in flow.blocks[block].live.iter() {
                let Some(ty) = banks.get(slot) else { continue };
                let value = match literals.get(&slot) {
                    Some(&Literal::Int(v)) => b.def(InstData::new(Op::Iconst, &[]).imm(v)),
                    Some(&Literal::Float(bits)) => b.def(InstData::new(Op::Fconst, &[]).imm(bits)),
                    Some(&Literal::Cell(bits)) => b.cconst(Cell::from_bits(bits as u64)),
                    Some(&Literal::Constant(number)) => b.constant(number),
                    None => {
                        b.func.params.push(slot);
                        b.func.add_param(cur, ty)
                    }
                };
                b.env.set(slot, Some(value));
            }
            b.func.osr = Some(l.header + 1);
            l.header + 1
        }
    };
    for (slot, value) in b.env.iter() {
        if let Some(value) = value.filter(|&v| b.func.ty(v) == Type::Cell) {
            b.paths.insert(value, vec![slot]);
        }
    }
    let block = flow.block_at(first).ok_or(Refusal::Absent)?;
    let mut frame = Frame {
        guest,
        flow: flow.clone(),
        base: 0,
        parent: None,
        depth: 0,
        chain: vec![index],
        heads: Vec::new(),
        returns: None,
        region,
    };
    b.word = first;
    b.live = flow.blocks[block].live.clone();
    let state = b.state(&frame);
    b.push(InstData::new(Op::Stack, &[]).state(state));
    if b.func.osr.is_some() && options.speculate && !facts.failed(index, first) {
        b.assume_divisors(&frame);
    }
    b.body(&mut frame, block);
    // Leaf functions need no room.
    let extent = if b.calls { b.extent } else { 0 };
    let entry = b.func.entry();
    let insts = &b.func.blocks[entry].insts;
    if let Some(at) = insts.iter().position(|&i| b.func.insts[i].op == Op::Stack) {
        let inst = insts[at];
        b.func.insts[inst].imm = i64::from(extent);
        if extent == 0 {
            b.func.blocks[entry].insts.remove(at);
        }
    }
    Ok(b.func)
}

/// The slots that a loop divides by and leaves alone. A number that is known makes a product of a division, and of what depends on it
/// more than that; so loops that are compiled alone, with the frame at hand, are compiled for the numbers in it.
pub fn divisors(code: &[Word], of: &flow::Extent) -> Vec<u32> {
    let mut found = Vec::new();
    let mut changed = Slots::default();
    for at in flow::words(code, of.header, of.end + 1) {
        let Some(inst) = flow::instruction(code, at) else { break };
        if matches!(inst.op, Code::IntDiv | Code::IntRem)
            && let Ok(slot) = u32::try_from(inst.operands[2])
            && !found.contains(&slot)
        {
            found.push(slot);
        }
        flow::registers(&inst).filter(|r| r.1 != Role::Use).for_each(|r| {
            changed.insert(r.0);
        });
    }
    found.retain(|&slot| !changed.contains(slot));
    found
}

/// The type of values of a bank.
pub(crate) fn type_of(bank: Bank) -> Type {
    match bank {
        Bank::Int => Type::Int,
        Bank::Float => Type::Float,
        Bank::Cell => Type::Cell,
    }
}

/// What the slots hold that the instructions of a loop name.
fn banks(facts: &dyn Facts, meta: &FunctionMeta, code: &[Word], of: &flow::Extent) -> SlotMap<Option<Type>> {
    let mut banks = SlotMap::default();
    for at in flow::words(code, of.header, of.end + 1) {
        let Some(inst) = flow::instruction(code, at) else { break };
        let mut set = |slot: u32, bank: Bank| banks.set(slot, Some(type_of(bank)));
        flow::registers(&inst).for_each(|(slot, _, bank)| set(slot, bank));
        flow::window_reads(facts, meta, &inst, &mut set);
        if inst.op == Code::CaptureGet {
            set(meta.layout.first_cell(), Bank::Cell);
        }
    }
    banks
}

impl<'a> Builder<'a> {
    // ---- Instructions ----

    fn push(&mut self, data: InstData) -> Option<Value> {
        self.func.append(self.cur, data)
    }

    /// Appends an instruction that defines a value.
    fn def(&mut self, data: InstData) -> Value {
        let (inst, result) = self.func.make(data);
        self.func.blocks[self.cur].insts.push(inst);
        debug_assert!(result.is_some(), "the op defines a value");
        result.unwrap_or(Value::from_u32_checked(0))
    }

    /// Takes divisors for the numbers that the frame had, and leaves where one is another.
    fn assume_divisors(&mut self, frame: &Frame<'a>) {
        let divisors = |(slot, value): (u32, Option<Value>)| Some((slot, value?, self.facts.divisor(slot)?));
        let divisors: Vec<(u32, Value, i64)> = self.env.iter().filter_map(divisors).collect();
        for (slot, value, number) in divisors {
            if self.func.int_const(value).is_none() {
                let known = self.iconst(number);
                let same = self.icmp(crate::ir::Cond::Eq, value, known);
                self.guard(frame, same, Reason::Divisor);
                self.env.set(slot, Some(known));
            }
        }
    }

    fn iconst(&mut self, value: i64) -> Value {
        self.def(InstData::new(Op::Iconst, &[]).imm(value))
    }

    fn fconst(&mut self, value: f64) -> Value {
        self.def(InstData::new(Op::Fconst, &[]).imm(value.to_bits() as i64))
    }

    /// A constant of the instance: itself, where it is no object.
    fn constant(&mut self, number: u32) -> Value {
        let v = match self.facts.constant(number) {
            Some(cell) => self.cconst(cell),
            None => self.def(InstData::new(Op::Constant, &[]).imm(number.into())),
        };
        self.constants.insert(v, number);
        v
    }

    fn cconst(&mut self, value: Cell) -> Value {
        self.def(InstData::new(Op::Cconst, &[]).imm(value.bits() as i64))
    }

    fn unary(&mut self, op: Op, a: Value) -> Value {
        self.def(InstData::new(op, &[a]))
    }

    fn binary(&mut self, op: Op, a: Value, b: Value) -> Value {
        self.def(InstData::new(op, &[a, b]))
    }

    fn icmp(&mut self, cond: crate::ir::Cond, a: Value, b: Value) -> Value {
        self.def(InstData::new(Op::Icmp, &[a, b]).imm(cond as i64))
    }

    fn fcmp(&mut self, cond: crate::ir::Cond, a: Value, b: Value) -> Value {
        self.def(InstData::new(Op::Fcmp, &[a, b]).imm(cond as i64))
    }

    fn load(&mut self, class: Class, width: Width, base: Value, offset: usize) -> Value {
        self.def(InstData::new(Op::Load, &[base]).imm(offset as i64).access(class, width))
    }

    fn load_at(&mut self, class: Class, width: Width, base: Value, index: Value, offset: usize) -> Value {
        self.def(InstData::new(Op::LoadAt, &[base, index]).imm(offset as i64).access(class, width))
    }

    fn store(&mut self, class: Class, width: Width, base: Value, value: Value, offset: usize) {
        self.push(InstData::new(Op::Store, &[base, value]).imm(offset as i64).access(class, width));
    }

    /// Leaves where a condition does not hold.
    fn guard(&mut self, frame: &Frame<'a>, cond: Value, reason: Reason) {
        let state = self.state(frame);
        self.push(InstData::new(Op::Guard, &[cond]).imm(reason as i64).state(state));
    }

    /// Leaves for the interpreter at the instruction.
    fn exit(&mut self, frame: &Frame<'a>, reason: Reason) {
        let state = self.state(frame);
        self.push(InstData::new(Op::Exit, &[]).imm(reason as i64).state(state));
        self.dead = true;
    }

    fn add_block(&mut self, cold: bool) -> Block {
        let block = self.func.add_block();
        self.func.blocks[block].cold = cold;
        block
    }

    /// Ends the block with a branch to two new ones.
    fn split(&mut self, cond: Value, cold: [bool; 2]) -> [Block; 2] {
        let blocks = cold.map(|c| self.add_block(c));
        self.push(InstData::new(Op::Branch, &[cond]).targets(blocks.map(Target::new)));
        blocks
    }

    /// Ends the block with a jump.
    fn goto(&mut self, block: Block, args: &[Value]) {
        let target = Target { block, args: args.iter().copied().collect() };
        self.push(InstData::new(Op::Jump, &[]).targets([target]));
    }

    // ---- Slots ----

    /// What a slot holds. Verified code writes before it reads; where a path did not, what it reads is anything.
    fn get(&mut self, slot: i64, ty: Type) -> Value {
        match self.env.get(slot as u32) {
            Some(v) if self.func.ty(v) == ty => v,
            _ => match ty {
                Type::Float => self.fconst(0.0),
                Type::Cell => self.cconst(Cell::HOLE),
                Type::Int | Type::Ptr => self.iconst(0),
            },
        }
    }

    fn int(&mut self, slot: i64) -> Value {
        self.get(slot, Type::Int)
    }

    fn float(&mut self, slot: i64) -> Value {
        self.get(slot, Type::Float)
    }

    fn cell(&mut self, slot: i64) -> Value {
        self.get(slot, Type::Cell)
    }

    fn set(&mut self, slot: i64, value: Value) {
        self.env.set(slot as u32, Some(value));
    }

    /// The frame state before the instruction.
    fn state(&mut self, frame: &Frame<'a>) -> State {
        if let Some(state) = self.state {
            return state;
        }
        let live = std::mem::take(&mut self.live);
        let state = self.state_at(frame, self.word, live.iter());
        self.live = live;
        self.state = Some(state);
        state
    }

    /// A frame state at an instruction, with the slots that are live there.
    fn state_at(&mut self, frame: &Frame<'a>, word: u32, live: impl Iterator<Item = u32>) -> State {
        let slots = live.filter_map(|s| Some((frame.base + s, self.env.get(s)?))).collect();
        self.func.states.push(StateData {
            parent: frame.parent.into(),
            function: frame.guest.meta.index,
            word,
            origin: None,
            base: frame.base,
            end: frame.base + frame.guest.meta.layout.size(),
            slots,
        })
    }

    // ---- Blocks ----

    /// Reads a function from a block on, with the environment that is set.
    fn body(&mut self, frame: &mut Frame<'a>, first: usize) {
        let flow = frame.flow.clone();
        let mut edges: Vec<Vec<Edge>> = Vec::new();
        edges.resize_with(flow.blocks.len(), Vec::new);
        // Headers that are built: the block behind each, with the slots of its parameters.
        let mut headers: HashMap<u32, (Block, Vec<(u32, Type)>)> = HashMap::new();
        if first == 0 && frame.region.is_none() && flow.tails {
            self.head(frame);
        }
        let env = self.env.clone();
        self.edge(&mut edges[first], env);
        for i in first..flow.blocks.len() {
            let incoming = std::mem::take(&mut edges[i]);
            if incoming.is_empty() {
                continue;
            }
            let span = &flow.blocks[i];
            let behind = span
                .start
                .checked_sub(1)
                .filter(|&h| flow.loops.binary_search_by_key(&h, |l| l.header).is_ok());
            let params = self.enter(
                incoming,
                span,
                behind.and_then(|h| {
                    let l = flow.loops.binary_search_by_key(&h, |l| l.header).ok()?;
                    Some(&flow.loops[l].writes)
                }),
            );
            if let Some(header) = behind {
                headers.insert(header, (self.cur, params));
                self.func.blocks[self.cur].position = Some((frame.guest.meta.index, header));
            }
            self.dead = false;
            let live = flow.live(self.facts, frame.guest.meta, frame.guest.code, i);
            let all: Vec<u32> = flow::words(frame.guest.code, span.start, span.end).collect();
            for (k, &at) in all.iter().enumerate() {
                let Some(inst) = flow::instruction(frame.guest.code, at) else { break };
                self.word = at;
                self.live = live[k].clone();
                self.state = None;
                self.instructions += 1;
                let after = live.get(k + 1).unwrap_or(&span.live_out);
                let next = at + inst.op.words() as u32;
                let effects = inst.op.effects();
                if effects.has(Effects::BRANCH) {
                    self.branch(frame, &inst, &mut edges, &headers);
                } else if inst.op == Code::LoopHeader {
                    let state = self.state(frame);
                    self.push(InstData::new(Op::Poll, &[]).state(state));
                } else {
                    self.inst(frame, &inst, after);
                }
                if self.dead {
                    break;
                }
                if next == span.end && !effects.has(Effects::BRANCH) {
                    self.flow_to(frame, next, &mut edges);
                }
            }
        }
    }

    /// A way from the end of the block to another, whose name is filled in when that is built.
    fn edge(&mut self, edges: &mut Vec<Edge>, env: Env) {
        let (inst, _) = self.func.make(InstData::new(Op::Jump, &[]).targets([Target::new(self.cur)]));
        self.func.blocks[self.cur].insts.push(inst);
        edges.push(Edge { inst, target: 0, env });
    }

    /// Whether a word is outside of what is compiled.
    fn outside(frame: &Frame<'a>, word: u32) -> bool {
        frame.region.is_some_and(|(start, end)| word < start || word > end)
    }

    /// Continues at a word further down.
    fn flow_to(&mut self, frame: &Frame<'a>, word: u32, edges: &mut [Vec<Edge>]) {
        if Self::outside(frame, word) {
            self.leave_region(frame, word);
            return;
        }
        let Some(block) = frame.flow.block_at(word) else {
            // Verified code does not fall off its end.
            self.exit(frame, Reason::Always);
            return;
        };
        let env = self.env.clone();
        self.edge(&mut edges[block], env);
        self.dead = true;
    }

    /// Leaves for the interpreter at another word.
    fn leave_region(&mut self, frame: &Frame<'a>, word: u32) {
        let live = frame.flow.live_at(word).cloned().unwrap_or_default();
        let state = self.state_at(frame, word, live.iter());
        self.push(InstData::new(Op::Exit, &[]).imm(Reason::Region as i64).state(state));
        self.dead = true;
    }

    /// Starts the block that several ways lead to: values that differ become parameters. `written`, for headers of loops: the slots
    /// that get parameters in any case. Gives these.
    fn enter(&mut self, incoming: Vec<Edge>, span: &flow::Span, written: Option<&Slots>) -> Vec<(u32, Type)> {
        let block = self.func.add_block();
        let mut env = Env::default();
        let mut params = Vec::new();
        for slot in span.live.iter() {
            let Some(first) = incoming[0].env.get(slot) else { continue };
            let ty = self.func.ty(first);
            let mut same = true;
            let mut defined = true;
            for e in &incoming[1..] {
                match e.env.get(slot) {
                    Some(v) if self.func.ty(v) == ty => same &= v == first,
                    _ => defined = false,
                }
            }
            if !defined {
                continue;
            }
            if same && written.is_none_or(|w| !w.contains(slot)) {
                env.set(slot, Some(first));
            } else {
                env.set(slot, Some(self.func.add_param(block, ty)));
                params.push((slot, ty));
            }
        }
        for e in &incoming {
            let target = &mut self.func.insts[e.inst].targets[e.target];
            target.block = block;
            target.args = params.iter().filter_map(|&(slot, _)| e.env.get(slot)).collect();
        }
        self.cur = block;
        self.env = env;
        params
    }

    /// Back to the header of a loop: charges, and jumps behind it.
    fn back(&mut self, frame: &Frame<'a>, header: u32, headers: &Headers) {
        // What the instruction wrote is written: the charge comes after it.
        let live = frame.flow.live_at(header + 1).cloned().unwrap_or_default();
        let state = self.state_at(frame, self.word, live.iter());
        self.push(InstData::new(Op::Poll, &[]).state(state));
        match headers.get(&header) {
            Some((block, params)) => {
                let (block, params) = (*block, params.clone());
                let args: Vec<Value> =
                    params.iter().map(|&(slot, ty)| self.get(i64::from(slot), ty)).collect();
                self.goto(block, &args);
                self.dead = true;
            }
            // The header of a loop around the one that is compiled.
            None => self.leave_region(frame, header + 1),
        }
    }

    /// A new block for one way of a branch, from which the way goes on.
    fn way(
        &mut self,
        frame: &Frame<'a>,
        block: Block,
        word: u32,
        back: bool,
        edges: &mut [Vec<Edge>],
        headers: &Headers,
    ) {
        self.cur = block;
        self.dead = false;
        if back { self.back(frame, word, headers) } else { self.flow_to(frame, word, edges) }
    }

    fn site(&mut self, data: SiteData) -> Site {
        self.func.sites.push(data)
    }
}

impl Value {
    fn from_u32_checked(n: u32) -> Value {
        <Value as cranelift_entity::EntityRef>::new(n as usize)
    }
}
