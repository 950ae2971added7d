//! What the builder knows of a function's bytecode before it reads it: blocks, loops with the slots that they write, and which
//! slots are live.
//!
//! Backward branches lead to loop headers only, so the code's order is one in which blocks come before those that they lead to,
//! but for the ways back; a loop lies between its header and its last backward branch. Liveness counts handlers: what a
//! handler reads is live throughout its range. Slots are numbered as operands number them, the window behind the frame.

use upshift_bytecode::ops::Role;
use upshift_bytecode::{Bank, CType, CellType, Effects, Inst, Op, OperandKind, ValueType, Word};
use upshift_runtime::linked::{FunctionMeta, Param, switch_table};

use crate::build::Facts;

/// A set of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots(Vec<u64>);

impl Slots {
    /// The empty set, with room for so many slots.
    pub fn new(slots: usize) -> Slots {
        Slots(vec![0; slots.div_ceil(64)])
    }
    /// Adds a slot.
    pub fn insert(&mut self, slot: u32) {
        if let Some(word) = self.0.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
    }
    /// Removes a slot.
    pub fn remove(&mut self, slot: u32) {
        if let Some(word) = self.0.get_mut(slot as usize / 64) {
            *word &= !(1 << (slot % 64));
        }
    }
    /// Whether a slot is in it.
    pub fn contains(&self, slot: u32) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }
    /// Adds all slots of another set; whether that changed this one.
    pub fn union(&mut self, other: &Slots) -> bool {
        let mut changed = false;
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            changed |= b & !*a != 0;
            *a |= b;
        }
        changed
    }
    /// The slots in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    i as u32 * 64 + bit
                })
            })
        })
    }
}

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
    /// The number of slots, window included.
    pub slots: u32,
    /// The number of instructions.
    pub instructions: u32,
    /// Whether every loop is entered through its header alone.
    pub regular: bool,
    /// Whether there are tail calls.
    pub tails: bool,
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
        Op::CallClosureInt
        | Op::CallClosureFloat
        | Op::CallClosureCell
        | Op::CallClosureVoid
        | Op::TailClosure => {
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

/// The parameters of the closures that a cell slot holds.
pub fn closure_signature(facts: &dyn Facts, meta: &FunctionMeta, slot: u32) -> Option<Vec<ValueType>> {
    facts.closure_params(cell_type(meta, slot)?)
}

/// The declared type of a cell slot; none for those in the spill area and the window.
pub fn cell_type(meta: &FunctionMeta, slot: u32) -> Option<CellType> {
    meta.cells.get(slot.checked_sub(meta.layout.first_cell())? as usize).copied()
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
        let slots = meta.layout.size() + meta.window + 2;
        let len = meta.len;
        let mut leader = vec![false; len as usize + 1];
        let mut loops: Vec<Loop> = Vec::new();
        let mut instructions = 0;
        let mut tails = false;
        let mut jumps: Vec<(u32, u32)> = Vec::new();
        leader[0] = true;
        let mut mark = |at: u32| {
            if let Some(l) = leader.get_mut(at as usize) {
                *l = true;
            }
        };
        let mut at = 0;
        while at < len {
            let Some(inst) = instruction(code, at) else { break };
            instructions += 1;
            let effects = inst.op.effects();
            let next = at + inst.op.words() as u32;
            tails |= effects.has(Effects::CALL) && effects.has(Effects::END);
            if inst.op == Op::LoopHeader {
                mark(at);
                mark(next);
                loops.push(Loop { header: at, end: at, writes: Slots::new(slots as usize), parent: None });
            }
            if effects.has(Effects::BRANCH) {
                for target in targets(code, at, &inst) {
                    mark(target);
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
            }
            at = next;
        }
        for handler in &meta.handlers {
            mark(handler.target);
            mark(handler.start);
            mark(handler.end);
        }
        let starts: Vec<u32> = (0..len).filter(|&w| leader[w as usize]).collect();
        let mut blocks: Vec<Span> = starts
            .iter()
            .enumerate()
            .map(|(i, &start)| Span {
                start,
                end: starts.get(i + 1).copied().unwrap_or(len),
                live: Slots::new(slots as usize),
                live_out: Slots::new(slots as usize),
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
            .iter()
            .map(|b| {
                let (mut reads, mut kills) = (Slots::new(slots as usize), Slots::new(slots as usize));
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
                        let find = |w: u32| starts.binary_search(&w).ok();
                        if !inst.op.effects().has(Effects::END) {
                            successors.extend(find(b.end));
                        }
                        if inst.op.effects().has(Effects::BRANCH) {
                            successors.extend(targets(code, at, &inst).into_iter().filter_map(find));
                        }
                    }
                }
                (reads, kills, successors)
            })
            .collect();
        let handlers = |b: &Span| -> Vec<(usize, u16)> {
            let covers = |h: &&upshift_bytecode::Handler| h.start < b.end && h.end > b.start;
            let find = |h: &upshift_bytecode::Handler| Some((starts.binary_search(&h.target).ok()?, h.slot));
            meta.handlers.iter().filter(covers).filter_map(find).collect()
        };
        let caught: Vec<Vec<(usize, u16)>> = blocks.iter().map(handlers).collect();
        loop {
            let mut changed = false;
            for i in (0..blocks.len()).rev() {
                let (reads, kills, successors) = &sets[i];
                let mut out = blocks[i].live_out.clone();
                for &s in successors {
                    out.union(&blocks[s].live);
                }
                let mut live = out.clone();
                for (l, k) in live.0.iter_mut().zip(&kills.0) {
                    *l &= !k;
                }
                live.union(reads);
                for &(h, slot) in &caught[i] {
                    let mut needs = blocks[h].live.clone();
                    needs.remove(u32::from(slot));
                    live.union(&needs);
                    out.union(&needs);
                }
                changed |= blocks[i].live_out.union(&out);
                changed |= blocks[i].live.union(&live);
            }
            if !changed {
                break;
            }
        }
        Flow { blocks, loops, slots, instructions, regular, tails }
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
        let mut kept = Slots::new(self.slots as usize);
        for h in meta.handlers.iter().filter(|h| h.start < span.end && h.end > span.start) {
            if let Some(target) = self.block_at(h.target) {
                let mut needs = self.blocks[target].live.clone();
                needs.remove(u32::from(h.slot));
                kept.union(&needs);
            }
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

/// The header of the outermost loop around the loop with a header.
pub fn outermost(code: &[Word], header: u32) -> Option<u32> {
    extents(code)?.into_iter().find(|l| l.0 <= header && l.1 >= header).map(|l| l.0)
}

/// The header of the innermost loop around an instruction.
pub fn innermost(code: &[Word], word: u32) -> Option<u32> {
    extents(code)?.into_iter().rfind(|l| l.0 <= word && l.1 >= word).map(|l| l.0)
}

/// The loops of a function by their headers, with the last branch back of each.
pub fn extents(code: &[Word]) -> Option<Vec<(u32, u32)>> {
    let mut ends: Vec<(u32, u32)> = Vec::new();
    for at in words(code, 0, code.len() as u32) {
        let inst = decode(code, at)?;
        if inst.op == Op::LoopHeader {
            ends.push((at, at));
        } else if inst.op.effects().has(Effects::LOOP) {
            for target in targets(code, at, &inst) {
                if let Ok(i) = ends.binary_search_by_key(&target, |l| l.0) {
                    ends[i].1 = at;
                }
            }
        }
    }
    Some(ends)
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
