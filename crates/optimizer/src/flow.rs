//! What the builder knows of a function's bytecode before it reads it: blocks, loops with the slots that they write, and which
//! slots are live.
//!
//! Backward branches lead to loop headers only, so the code's order is one in which blocks come before those that they lead to,
//! but for the ways back; a loop lies between its header and its last backward branch. Liveness counts handlers: what a
//! handler reads is live throughout its range. Slots are numbered as operands number them, the window behind the frame.
//!
//! Of a loop that is compiled alone only the loop is read ([`Flow::region`]), whatever the size of the function around it. Where it is left
//! for, a bounded walk finds which of the slots that it names are live; what the walk does not decide is taken for live, which is safe:
//! such a slot is kept up to date in the frame. What a function has in all, its loops above all, is read once ([`Outline`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use upshift_bytecode::ops::Role;
use upshift_bytecode::{Bank, CType, Effects, Handler, Inst, Op, OperandKind, ValueType, Word};
use upshift_runtime::linked::{FunctionMeta, Param, switch_table};

use crate::build::Facts;
use crate::slots::Slots;

/// A block of bytecode.
#[derive(Debug)]
pub struct Span {
    /// The first word.
    pub start: u32,
    /// The first word behind it.
    pub end: u32,
    /// What is live where it begins.
    pub live: Slots,
    /// What is live where it ends.
    pub live_out: Slots,
}

/// A loop.
#[derive(Debug)]
pub struct Loop {
    /// The word of its header.
    pub header: u32,
    /// The word of its last backward branch.
    pub end: u32,
    /// The slots that its code may write.
    pub writes: Slots,
    /// The loop around it.
    pub parent: Option<usize>,
}

/// What is known of a function.
#[derive(Debug)]
pub struct Flow {
    /// The blocks in order.
    pub blocks: Vec<Span>,
    /// The loops in the order of their headers.
    pub loops: Vec<Loop>,
    /// What is live at words that are led to from a loop that was read alone.
    pub outside: BTreeMap<u32, Slots>,
    /// The number of instructions.
    pub instructions: u32,
    /// Those of them that become code: neither constants nor what only moves values or control about.
    pub weight: u32,
    /// Whether every loop is entered through its header alone.
    pub regular: bool,
    /// Whether there are tail calls.
    pub tails: bool,
    /// The calls of closures: where they stand, and the slot of what they call.
    pub closure_calls: Vec<(u32, u32)>,
    /// The handlers whose ranges were read.
    handlers: Vec<Handler>,
}

/// An instruction at a word: decoded, or `None` behind the end.
pub fn decode(code: &[Word], at: u32) -> Option<Inst> {
    Inst::decode(code.get(at as usize..)?).ok()
}

/// Where the branches of an instruction lead, as words; a switch's default comes last.
pub fn targets(code: &[Word], at: u32, inst: &Inst) -> Vec<u32> {
    let word = |distance: i64| (i64::from(at) + distance) as u32;
    for (kind, value) in inst.iter() {
        match kind {
            OperandKind::Label | OperandKind::Label16 => return vec![word(value)],
            OperandKind::Switch => {
                let (cases, default) = switch(code, at, value as u32);
                return cases.into_iter().map(|c| c.1).chain([default]).map(word).collect();
            }
            _ => {}
        }
    }
    Vec::new()
}

/// The cases of a switch table, each with its distance, and the default's: for tables of ints and bits.
pub fn switch(code: &[Word], at: u32, distance: u32) -> (Vec<(i64, i64)>, i64) {
    let table = (at + distance) as usize;
    let word = |i: usize| code.get(table + i).map_or(0, |w| w.0);
    let default = word(1) as i64;
    let mut cases = Vec::new();
    if word(0) as u32 == switch_table::DENSE {
        let first = word(2) as i64;
        for i in 0..(word(0) >> 32) as usize {
            let target = word(3 + i) as i64;
            if target != default {
                cases.push((first.wrapping_add(i as i64), target));
            }
        }
    } else {
        for i in 0..1usize << (word(0) >> 32 & 31) {
            let target = word(2 + 2 * i + 1) as i64;
            if target != 0 {
                cases.push((word(2 + 2 * i) as i64, target));
            }
        }
        cases.sort_unstable();
    }
    (cases, default)
}

/// Calls `f` for the window slots (as operands number them) that an instruction reads beside its operands.
pub fn window_reads(facts: &dyn Facts, meta: &FunctionMeta, inst: &Inst, mut f: impl FnMut(u32, Bank)) {
    let window = meta.layout.size();
    let mut params = |params: &[Param], but: Option<u32>| {
        for p in params.iter().filter(|p| Some(p.slot) != but) {
            f(window + p.slot, p.ty.bank());
        }
    };
    let find = |kind: OperandKind| inst.iter().find(|o| o.0 == kind).map(|o| o.1 as u32);
    match inst.op {
        Op::CallInt | Op::CallFloat | Op::CallCell | Op::CallVoid | Op::TailCall => {
            if let Some(callee) = find(OperandKind::FuncId).and_then(|i| facts.function(i)) {
                params(&callee.meta.params, None);
            }
        }
        Op::CallIntAddImm => {
            if let Some(callee) = find(OperandKind::FuncId).and_then(|i| facts.function(i)) {
                params(&callee.meta.params, Some(0));
            }
        }
        Op::CallHostInt | Op::CallHostFloat | Op::CallHostCell | Op::CallHostVoid => {
            if let Some(callee) = find(OperandKind::HostId).and_then(|i| facts.function(i)) {
                params(&callee.meta.params, None);
            }
        }
        op if is_closure_call(op) => {
            // The linker puts the callee of void calls where the others have it; the rest has it first.
            if let Some(signature) = closure_signature(facts, meta, closure_slot(inst)) {
                let slots = upshift_bytecode::frame::window_slots(&signature, true);
                for (ty, slot) in signature.iter().zip(slots) {
                    f(window + slot, ty.bank());
                }
            }
        }
        Op::CallCInt | Op::CallCFloat | Op::CallCVoid => {
            if let Some(import) = find(OperandKind::CFuncId).and_then(|i| facts.c_params(i)) {
                let raws = import.iter().filter(|p| **p != CType::CString).count() as u32;
                let (mut raw, mut cell) = (0, raws + 2);
                for p in import {
                    let (next, bank) = match p {
                        CType::CString => (&mut cell, Bank::Cell),
                        CType::Double => (&mut raw, Bank::Float),
                        _ => (&mut raw, Bank::Int),
                    };
                    f(window + *next, bank);
                    *next += 1;
                }
            }
        }
        Op::CellCall | Op::CellCallSpread | Op::TailCell | Op::TailCellSpread => {
            let argc = inst.op.info().operands.iter().position(|o| o.name == "argc");
            for i in 0..argc.map_or(0, |i| inst.operands[i] as u32) {
                f(window + 2 + i, Bank::Cell);
            }
        }
        Op::TupleNew => (0..inst.operands[1] as u32).for_each(|i| f(window + 2 + i, Bank::Cell)),
        Op::ClosureNew => {
            let captures = facts.function(inst.operands[1] as u32).map_or(0, |c| c.meta.captures.len());
            (0..captures as u32).for_each(|i| f(window + 2 + i, Bank::Cell));
        }
        Op::RecordNew => {
            if let Some(shape) = facts.shape(inst.operands[1] as u32) {
                let mut raws: Vec<_> = shape.fields.iter().filter(|f| !f.ty.is_cell()).collect();
                raws.sort_by_key(|f| f.slot);
                for (i, field) in raws.iter().enumerate() {
                    f(window + i as u32, field.ty.bank());
                }
                (0..shape.cells).for_each(|i| f(window + shape.raws + 2 + i, Bank::Cell));
            }
        }
        _ => {}
    }
}

/// The slot of the closure that an instruction calls.
pub fn closure_slot(inst: &Inst) -> u32 {
    match inst.op {
        Op::TailClosure => inst.operands[0] as u32,
        // Rewritten by the linker: the word decodes with the place of the result first.
        Op::CallClosureVoid => inst.operands[0] as u32,
        _ => inst.operands[1] as u32,
    }
}

fn is_closure_call(op: Op) -> bool {
    use Op::{CallClosureCell, CallClosureFloat, CallClosureInt, CallClosureVoid, TailClosure};
    matches!(op, CallClosureInt | CallClosureFloat | CallClosureCell | CallClosureVoid | TailClosure)
}

/// The parameters of the closures that a cell slot holds.
pub fn closure_signature(facts: &dyn Facts, meta: &FunctionMeta, slot: u32) -> Option<Vec<ValueType>> {
    facts.closure_params(meta.cell_type(slot)?)
}

/// The register operands of an instruction: slot, role, bank. Wide slots included.
pub fn registers(inst: &Inst) -> impl Iterator<Item = (u32, Role, Bank)> + '_ {
    let wide = match inst.op {
        Op::FloatLocalGet | Op::FloatLocalSet => Bank::Float,
        Op::CellLocalGet | Op::CellLocalSet => Bank::Cell,
        _ => Bank::Int,
    };
    inst.iter().filter_map(move |(kind, value)| match kind {
        OperandKind::Slot => Some((value as u32, Role::Use, wide)),
        OperandKind::SlotDef => Some((value as u32, Role::Def, wide)),
        _ => kind.register().map(|(role, bank, _)| (value as u32, role, bank)),
    })
}

/// The instruction as it runs: the linker's rewritten void calls of closures are put right.
pub fn instruction(code: &[Word], at: u32) -> Option<Inst> {
    let mut inst = decode(code, at)?;
    if inst.op == Op::CallClosureVoid {
        inst.operands[0] = i64::from(code.get(at as usize)?.b());
    }
    Some(inst)
}

/// The slots that `frame.clear` clears.
pub fn cleared(meta: &FunctionMeta, inst: &Inst) -> impl Iterator<Item = u32> + use<> {
    let (first, count) = (inst.operands[0] as u32, inst.operands[1] as u32);
    let spilled = meta.layout.first_spilled_cell()..meta.layout.size();
    (first..first + count).chain(spilled)
}

impl Flow {
    /// Reads a function.
    pub fn new(facts: &dyn Facts, meta: &FunctionMeta, code: &[Word]) -> Flow {
        Flow::read(facts, meta, code, 0, meta.len)
    }

    /// Reads a loop alone.
    pub fn region(facts: &dyn Facts, meta: &FunctionMeta, code: &[Word], extent: &Extent) -> Flow {
        let last = decode(code, extent.end).map_or(1, |inst| inst.op.words() as u32);
        Flow::read(facts, meta, code, extent.header, extent.end + last)
    }

    /// Reads what is between two words.
    fn read(facts: &dyn Facts, meta: &FunctionMeta, code: &[Word], first: u32, behind: u32) -> Flow {
        let inside = |w: u32| first <= w && w < behind;
        let mut leader = vec![false; (behind - first) as usize + 1];
        let mut loops: Vec<Loop> = Vec::new();
        let (mut instructions, mut weight) = (0, 0);
        let mut tails = false;
        let mut closure_calls = Vec::new();
        let mut jumps: Vec<(u32, u32)> = Vec::new();
        let mut outside: BTreeMap<u32, Slots> = BTreeMap::new();
        let mut named = Slots::default();
        leader[0] = true;
        let mut mark = |at: u32| {
            if let Some(l) = at.checked_sub(first).and_then(|i| leader.get_mut(i as usize)) {
                *l = true;
            }
        };
        let mut at = first;
        while at < behind {
            let Some(inst) = instruction(code, at) else { break };
            instructions += 1;
            let effects = inst.op.effects();
            weight += u32::from(!effects.has(Effects::FREE));
            let next = at + inst.op.words() as u32;
            tails |= effects.is_tail_call();
            if is_closure_call(inst.op) {
                closure_calls.push((at, closure_slot(&inst)));
            }
            if inst.op == Op::LoopHeader {
                mark(at);
                mark(next);
                loops.push(Loop { header: at, end: at, writes: Slots::default(), parent: None });
            }
            if effects.has(Effects::BRANCH) {
                for target in targets(code, at, &inst) {
                    mark(target);
                    if !inside(target) {
                        outside.insert(target, Slots::default());
                    }
                    if !effects.has(Effects::LOOP) {
                        jumps.push((at, target));
                    }
                    if effects.has(Effects::LOOP)
                        && let Ok(i) = loops.binary_search_by_key(&target, |l| l.header)
                    {
                        loops[i].end = at;
                    }
                }
                mark(next);
            }
            if effects.has(Effects::END) {
                mark(next);
            } else if next >= behind && next < meta.len {
                outside.insert(next, Slots::default());
            }
            step(facts, meta, &inst, &mut |slot, _| {
                if slot < meta.layout.size() {
                    named.insert(slot);
                }
            });
            at = next;
        }
        let handlers: Vec<_> =
            meta.handlers.iter().filter(|h| h.start < behind && h.end > first).copied().collect();
        for handler in &handlers {
            mark(handler.target);
            mark(handler.start);
            mark(handler.end);
            if !inside(handler.target) {
                outside.insert(handler.target, Slots::default());
            }
        }
        if !outside.is_empty() {
            let mut walk = Walk { facts, meta, code, left: REACH };
            for (&word, live) in &mut outside {
                *live = walk.live(word, &named);
            }
            // Ways back to the loop around lead behind its header.
            let headers: Vec<_> = outside.iter().filter(|(w, _)| **w < first).collect();
            let behind: Vec<_> = headers.into_iter().map(|(w, live)| (w + 1, live.clone())).collect();
            outside.extend(behind);
        }
        let starts: Vec<u32> = (first..behind).filter(|&w| leader[(w - first) as usize]).collect();
        let mut blocks: Vec<Span> = starts
            .iter()
            .enumerate()
            .map(|(i, &start)| Span {
                start,
                end: starts.get(i + 1).copied().unwrap_or(behind),
                live: Slots::default(),
                live_out: Slots::default(),
            })
            .collect();
        // A branch from outside into the middle of a loop.
        let mut regular = true;
        for &(at, target) in &jumps {
            let enters = |l: &Loop| l.header + 1 < target && target <= l.end && (at < l.header || at > l.end);
            regular &= !loops.iter().any(enters);
        }
        // Loops nest by their extents.
        for i in 0..loops.len() {
            let inner = (loops[i].header, loops[i].end);
            loops[i].parent = (0..i).rev().find(|&j| loops[j].header < inner.0 && loops[j].end >= inner.1);
            for at in words(code, inner.0, inner.1 + 1) {
                if let Some(inst) = instruction(code, at) {
                    for (slot, role, _) in registers(&inst) {
                        if role != Role::Use {
                            loops[i].writes.insert(slot);
                        }
                    }
                    if inst.op == Op::FrameClear {
                        cleared(meta, &inst).for_each(|s| loops[i].writes.insert(s));
                    }
                }
            }
        }
        // Liveness: gen and kill of each block, then to a fixpoint from behind.
        let sets: Vec<(Slots, Slots, Vec<usize>)> = blocks
            .iter_mut()
            .map(|b| {
                let (mut reads, mut kills) = (Slots::default(), Slots::default());
                let all: Vec<u32> = words(code, b.start, b.end).collect();
                let mut successors = Vec::new();
                for (i, &at) in all.iter().enumerate().rev() {
                    let Some(inst) = instruction(code, at) else { continue };
                    step(facts, meta, &inst, &mut |slot, role| {
                        if role == Role::Def {
                            reads.remove(slot);
                            kills.insert(slot);
                        } else {
                            reads.insert(slot);
                            kills.remove(slot);
                        }
                    });
                    if i + 1 == all.len() {
                        let falls = (!inst.op.effects().has(Effects::END)).then_some(b.end);
                        let branches = inst.op.effects().has(Effects::BRANCH);
                        let targets = if branches { targets(code, at, &inst) } else { Vec::new() };
                        for word in falls.into_iter().chain(targets) {
                            match starts.binary_search(&word) {
                                Ok(successor) => successors.push(successor),
                                Err(_) => {
                                    if let Some(live) = outside.get(&word) {
                                        b.live_out.union(live);
                                    }
                                }
                            }
                        }
                    }
                }
                (reads, kills, successors)
            })
            .collect();
        let covering = |b: &Span| -> Vec<Handler> {
            handlers.iter().filter(|h| h.start < b.end && h.end > b.start).copied().collect()
        };
        let caught: Vec<Vec<Handler>> = blocks.iter().map(covering).collect();
        let mut flow =
            Flow { blocks, loops, outside, instructions, weight, regular, tails, closure_calls, handlers };
        loop {
            let mut changed = false;
            for i in (0..flow.blocks.len()).rev() {
                let (reads, kills, successors) = &sets[i];
                let mut out = flow.blocks[i].live_out.clone();
                for &s in successors {
                    out.union(&flow.blocks[s].live);
                }
                let mut live = out.clone();
                live.subtract(kills);
                live.union(reads);
                for h in &caught[i] {
                    let needs = flow.caught(h);
                    live.union(&needs);
                    out.union(&needs);
                }
                changed |= flow.blocks[i].live_out.union(&out);
                changed |= flow.blocks[i].live.union(&live);
            }
            if !changed {
                break;
            }
        }
        flow
    }

    /// What a handler needs of what is live where it catches.
    fn caught(&self, handler: &Handler) -> Slots {
        let mut needs = self.live_at(handler.target).cloned().unwrap_or_default();
        needs.remove(u32::from(handler.slot));
        needs
    }

    /// What is live where a block begins, or where a loop that was read alone leads to.
    pub fn live_at(&self, word: u32) -> Option<&Slots> {
        self.block_at(word).map(|b| &self.blocks[b].live).or_else(|| self.outside.get(&word))
    }

    /// The block that begins at a word.
    pub fn block_at(&self, word: u32) -> Option<usize> {
        self.blocks.binary_search_by_key(&word, |b| b.start).ok()
    }

    /// What is live before each instruction of a block, in order.
    pub fn live(&self, facts: &dyn Facts, meta: &FunctionMeta, code: &[Word], block: usize) -> Vec<Slots> {
        let span = &self.blocks[block];
        let all: Vec<u32> = words(code, span.start, span.end).collect();
        let mut live = span.live_out.clone();
        let mut kept = Slots::default();
        for h in self.handlers.iter().filter(|h| h.start < span.end && h.end > span.start) {
            kept.union(&self.caught(h));
        }
        live.union(&kept);
        let mut states = vec![Slots::default(); all.len()];
        for (i, &at) in all.iter().enumerate().rev() {
            if let Some(inst) = instruction(code, at) {
                step(facts, meta, &inst, &mut |slot, role| {
                    if role == Role::Def { live.remove(slot) } else { live.insert(slot) }
                });
            }
            live.union(&kept);
            states[i] = live.clone();
        }
        states
    }
}

/// A walk of so many instructions finds what is live where a loop that was read alone is left for.
const REACH: u32 = 10_000;
/// A walk looks at no more handlers.
const HANDLERS: usize = 64;

/// Finds which of some slots are live at words, looking at so many instructions in all.
struct Walk<'a> {
    facts: &'a dyn Facts,
    meta: &'a FunctionMeta,
    code: &'a [Word],
    left: u32,
}

impl Walk<'_> {
    /// Those of the slots that are live at a word, and those of which that was not found out.
    fn live(&mut self, word: u32, slots: &Slots) -> Slots {
        let mut live = Slots::default();
        // What was looked for from a word on.
        let mut seen: HashMap<u32, Slots> = HashMap::new();
        let mut work = vec![(word, slots.clone())];
        while let Some((mut at, mut open)) = work.pop() {
            let before = seen.entry(at).or_default();
            open.subtract(before);
            before.union(&open);
            open.subtract(&live);
            while !open.is_empty() {
                let Some(inst) = instruction(self.code, at).filter(|_| at < self.meta.len) else { break };
                let covers = |h: &Handler| h.start <= at && at < h.end;
                let handlers = &self.meta.handlers;
                if self.left == 0 || handlers.len() > HANDLERS || handlers.iter().any(covers) {
                    live.union(&open);
                    break;
                }
                self.left -= 1;
                step(self.facts, self.meta, &inst, &mut |slot, role| {
                    if role == Role::Use && open.contains(slot) {
                        live.insert(slot);
                        open.remove(slot);
                    }
                });
                step(self.facts, self.meta, &inst, &mut |slot, role| {
                    if role == Role::Def {
                        open.remove(slot);
                    }
                });
                let effects = inst.op.effects();
                if effects.has(Effects::BRANCH) {
                    work.extend(targets(self.code, at, &inst).into_iter().map(|t| (t, open.clone())));
                }
                if effects.has(Effects::END) {
                    break;
                }
                at += inst.op.words() as u32;
            }
        }
        live
    }
}

/// Where a loop is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The word of its header.
    pub header: u32,
    /// The word of its last branch back.
    pub end: u32,
    /// How many instructions there are from the one to the other.
    pub instructions: u32,
    /// The loop around it.
    pub parent: Option<u32>,
}

/// A constant that a slot holds wherever it holds something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Literal {
    /// An int.
    Int(i64),
    /// The bits of a float.
    Float(i64),
    /// The bits of a cell.
    Cell(i64),
    /// One of the instance's constants.
    Constant(u32),
}

/// What is read of a function once, in time linear in its size, however many of its loops are compiled.
#[derive(Debug, Default)]
pub struct Outline {
    /// Its loops in the order of their headers.
    pub loops: Vec<Extent>,
    /// The number of its instructions.
    pub instructions: u32,
    /// As [`Flow::weight`].
    pub weight: u32,
    literals: OnceLock<HashMap<u32, Literal>>,
}

impl Outline {
    /// Reads a function.
    pub fn new(code: &[Word]) -> Outline {
        let mut loops: Vec<Extent> = Vec::new();
        let mut before = Vec::new();
        let (mut instructions, mut weight) = (0, 0);
        for at in words(code, 0, code.len() as u32) {
            // Few instructions have to be decoded, and a function may have a million.
            let Some(op) = Op::from_number(code[at as usize].op()) else { break };
            if op == Op::LoopHeader {
                loops.push(Extent { header: at, end: at, instructions: 1, parent: None });
                before.push(instructions);
            }
            instructions += 1;
            weight += u32::from(!op.effects().has(Effects::FREE));
            if op.effects().has(Effects::LOOP)
                && let Some(inst) = decode(code, at)
            {
                for target in targets(code, at, &inst) {
                    if let Ok(i) = loops.binary_search_by_key(&target, |l| l.header) {
                        loops[i].end = at;
                        loops[i].instructions = instructions - before[i];
                    }
                }
            }
        }
        let mut around: Vec<usize> = Vec::new();
        for i in 0..loops.len() {
            while around.last().is_some_and(|&j| loops[j].end < loops[i].header) {
                around.pop();
            }
            loops[i].parent = around.last().map(|&j| j as u32);
            around.push(i);
        }
        Outline { loops, instructions, weight, literals: OnceLock::new() }
    }

    /// The loop with a header.
    pub fn at(&self, header: u32) -> Option<&Extent> {
        self.loops.binary_search_by_key(&header, |l| l.header).ok().map(|i| &self.loops[i])
    }

    /// The innermost loop around an instruction.
    pub fn innermost(&self, word: u32) -> Option<&Extent> {
        let before = self.loops.partition_point(|l| l.header <= word).checked_sub(1)?;
        let mut next = Some(before as u32);
        while let Some(l) = next.and_then(|i| self.loops.get(i as usize)) {
            if l.end >= word {
                return Some(l);
            }
            next = l.parent;
        }
        None
    }

    /// The loop with a header and those around it, from inside outwards, as far as they have at most so many instructions.
    pub fn around(&self, header: u32, limit: u32) -> impl Iterator<Item = &Extent> {
        let parent = |l: &&Extent| l.parent.and_then(|i| self.loops.get(i as usize));
        std::iter::successors(self.at(header), parent).take_while(move |l| l.instructions <= limit)
    }

    /// The outermost loop around the loop with a header, or this itself, that has at most so many instructions.
    pub fn outermost(&self, header: u32, limit: u32) -> Option<&Extent> {
        self.around(header, limit).last()
    }

    /// The constants that slots hold wherever they hold something: those that one instruction writes, which loads a constant. A loop
    /// that is compiled alone finds constants in the frame that stood before it in the code. (`frame.clear`, which stands at a function's
    /// start, counts for no value: what reads a slot comes behind a write.)
    pub fn literals(&self, meta: &FunctionMeta, code: &[Word]) -> &HashMap<u32, Literal> {
        self.literals.get_or_init(|| {
            // How often each slot is written, as far as that matters.
            let mut written = vec![0u8; (meta.layout.size() + meta.window + 2) as usize];
            // Counts writes; whether there were none before.
            let mut write = |slot: u32, times: u8| {
                let count = written.get_mut(slot as usize);
                count.is_some_and(|count| std::mem::replace(count, count.saturating_add(times)) == 0)
            };
            let mut found = Vec::new();
            for p in &meta.params {
                write(p.slot, 2);
            }
            if meta.environment {
                write(meta.layout.first_cell(), 2);
            }
            for handler in &meta.handlers {
                write(handler.slot.into(), 2);
            }
            for at in words(code, 0, meta.len) {
                let Some(inst) = instruction(code, at) else { break };
                let o = inst.operands;
                let literal = || code.get(at as usize + o[1] as usize).map(|w| w.0 as i64);
                let constant = match inst.op {
                    Op::IntConst => Some(Literal::Int(o[1])),
                    Op::IntConstWide => literal().map(Literal::Int),
                    Op::FloatConst => literal().map(Literal::Float),
                    Op::CellConst => literal().map(Literal::Cell),
                    Op::StringConst | Op::NameConst | Op::RecordConst => Some(Literal::Constant(o[1] as u32)),
                    _ => None,
                };
                for (slot, role, _) in registers(&inst) {
                    if role != Role::Use {
                        let first = write(slot, if constant.is_some() { 1 } else { 2 });
                        found.extend(constant.filter(|_| first).map(|constant| (slot, constant)));
                    }
                }
            }
            found.into_iter().filter(|f| written.get(f.0 as usize) == Some(&1)).collect()
        })
    }
}

/// The words where the instructions between two words start.
pub fn words(code: &[Word], start: u32, end: u32) -> impl Iterator<Item = u32> + '_ {
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let here = at;
        let op = code.get(at as usize).and_then(|w| Op::from_number(w.op()))?;
        at += op.words() as u32;
        Some(here)
    })
}

/// The definitions of an instruction, then its uses.
fn step(facts: &dyn Facts, meta: &FunctionMeta, inst: &Inst, f: &mut dyn FnMut(u32, Role)) {
    for (slot, role, _) in registers(inst) {
        if role == Role::Def {
            f(slot, Role::Def);
        }
    }
    if inst.op == Op::FrameClear {
        cleared(meta, inst).for_each(|s| f(s, Role::Def));
    }
    // Where a branch also writes, the way that it takes leaves the register as it was.
    let kept = inst.op.effects().has(Effects::BRANCH);
    for (slot, role, _) in registers(inst) {
        if role != Role::Def || kept {
            f(slot, Role::Use);
        }
    }
    if inst.op == Op::CaptureGet {
        f(meta.layout.first_cell(), Role::Use);
    }
    window_reads(facts, meta, inst, |slot, _| f(slot, Role::Use));
}
