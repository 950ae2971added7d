//! From linked bytecode to machine code: one arm per op.
//!
//! Instructions are taken in order. The state ([`Regs`]) says which slots are in registers; every block begins in a state that
//! is known beforehand, the pins of the innermost loop around it, so each block is emitted when it is met. Before a branch
//! what is dirty and passes blocks is written; a branch that leaves its loop gets an edge in the cold part.
//!
//! What is not inline runs as a routine, with all registers written before and given up; pins are loaded again behind it.

use upshift_bytecode::ops::Role;
use upshift_bytecode::{Effects, Immediate, NumberPolicy, Op, TruthMask, Word};
use upshift_runtime::check::{self, Test, Told};
use upshift_runtime::feedback::Feedback;
use upshift_runtime::frame::FunctionEntry;
use upshift_runtime::linked::{FunctionMeta, LinkedModule};
use upshift_runtime::object::{Closure, ObjectKind, Record, Ref};
use upshift_runtime::value::Value;

use crate::analysis::{Analysis, Deaths, analyse, op_at};
use crate::assembler::{Assembler, Cold, Label, Machine, UNSET, Values, Way, slots};
use crate::regs::{ALL, EMPTY, FREE, INTS, Regs};
use crate::table::{Family, Stencil, family as f};
use upshift_runtime::routine::Routine;

/// What is compiled.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "it holds the caller's trait object")]
pub struct Input<'a> {
    /// The function.
    pub meta: &'a FunctionMeta,
    /// The words of its module from its first one on: instructions, then the literal pool.
    pub code: &'a [Word],
    /// What else is known.
    pub facts: &'a dyn Facts,
    /// Whether to keep the map from code to instructions.
    pub map: bool,
    /// Whether loops keep their variables in registers. Off for tests.
    pub pin: bool,
}

/// What a compilation asks about other functions and records, by engine-wide numbers.
pub trait Facts {
    /// Where a function's header stands in its frame, in bytes.
    fn header(&self, function: u32) -> Option<u32>;
    /// The number of captures of a function's closures.
    fn captures(&self, function: u32) -> Option<u32>;
    /// Cells, raw words and tag of the records of a shape.
    fn shape(&self, shape: u32) -> Option<(u32, u32, u16)>;
    /// What the cells of the type with a code are told by.
    fn test(&self, code: u32) -> Option<Test>;
}

/// What is known of a module alone.
impl Facts for LinkedModule {
    fn header(&self, function: u32) -> Option<u32> {
        self.function(function).map(|m| m.layout.header() * 8)
    }
    fn captures(&self, function: u32) -> Option<u32> {
        self.function(function).map(|m| m.captures.len() as u32)
    }
    fn shape(&self, shape: u32) -> Option<(u32, u32, u16)> {
        let i = shape.checked_sub(self.bases.shapes)?;
        self.shapes.get(i as usize).map(|s| (s.cells, s.raws, s.tag))
    }
    fn test(&self, code: u32) -> Option<Test> {
        check::test(&self.tables().lock(), code)
    }
}

/// The function is beyond what offsets in machine code reach: more than 2^27 words, or a number beyond 2^25.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge;

/// The compiler's memory, kept from function to function.
#[derive(Debug)]
pub struct Scratch {
    asm: Assembler,
    analysis: Analysis,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { asm: Assembler::new(), analysis: Analysis::default() }
    }
}

impl Scratch {
    /// Takes the memory of code that is not needed any more.
    pub fn recycle(&mut self, machine: Machine) {
        self.asm.recycle(machine);
    }
}

/// Compiles a function.
///
/// # Errors
/// See [`TooLarge`].
pub fn compile(input: Input<'_>, scratch: &mut Scratch) -> Result<Machine, TooLarge> {
    let meta = input.meta;
    if meta.len > 1 << 27 || meta.index >= 1 << 25 || meta.layout.size() > 1 << 26 {
        return Err(TooLarge);
    }
    analyse(meta, input.code, input.pin, &mut scratch.analysis);
    scratch.asm.reset(meta.len as usize);
    let analysis = &scratch.analysis;
    let mut c = Compiler {
        input,
        asm: &mut scratch.asm,
        regs: EMPTY,
        pinned: 0,
        next_int: 0,
        next_float: 0,
        at: 0,
        word: input.code.first().copied().unwrap_or_default(),
        deaths: 0,
        window: meta.layout.size(),
        next_loop: 0,
        analysis,
        dead: false,
        map: input.map.then(Vec::new),
        way: Way::STENCIL,
    };
    let mut resume = vec![(0u32, 0u32)];
    let mut ways = Vec::new();
    for (i, &at) in analysis.starts.iter().enumerate() {
        c.at = at;
        c.word = input.code[at as usize];
        c.deaths = analysis.deaths[i];
        c.begin();
        let op = op_at(input.code, at as usize);
        c.way = Way::STENCIL;
        c.inst(op, &mut resume)?;
        if input.map {
            ways.push((op, c.way));
        }
    }
    // Entries from outside: headers of loops, targets of switches and handlers.
    for l in &analysis.loops {
        let target = Label::Behind(l.header);
        c.asm.jobs.push(Cold::Resume { word: l.header + 1, to: l.pins, target });
    }
    for i in 0..analysis.starts.len() {
        let at = analysis.starts[i];
        if op_at(input.code, at as usize) == Op::LoopHeader && c.asm.behind[at as usize] != UNSET {
            let known = analysis.loops.binary_search_by_key(&at, |l| l.header).is_ok();
            if !known {
                resume.push((at + 1, c.asm.behind[at as usize]));
            }
        }
    }
    for &word in &analysis.entries {
        let to = c.entry_state(word);
        c.asm.jobs.push(Cold::Resume { word, to, target: Label::Word(word) });
    }
    let map = c.map.take();
    let link = u64::from(meta.index) | u64::from(meta.layout.size() * 8) << 32;
    let mut machine = c.asm.finish(meta.index, link, &analysis.exposed, map);
    machine.instructions = analysis.starts.len() as u32;
    machine.ways = ways;
    machine.resume.extend(resume);
    // Where a call ends at a place that has an entry of its own, either will do.
    machine.resume.sort_unstable();
    machine.resume.dedup_by_key(|r| r.0);
    Ok(machine)
}

struct Compiler<'a> {
    input: Input<'a>,
    asm: &'a mut Assembler,
    regs: Regs,
    /// The registers that the loop around keeps.
    pinned: u16,
    next_int: usize,
    next_float: usize,
    /// The instruction: its word's position, its first word, what dies in it.
    at: u32,
    word: Word,
    deaths: Deaths,
    /// The slot where the window begins.
    window: u32,
    /// The first loop that does not end before the instruction.
    next_loop: usize,
    analysis: &'a Analysis,
    /// Whether nothing falls through to the next instruction.
    dead: bool,
    map: Option<Vec<(u32, u32)>>,
    /// How the instruction is compiled.
    way: Way,
}

impl Compiler<'_> {
    // ---- Blocks and states ----

    /// What is in registers where the block at a word begins.
    fn entry_state(&self, word: u32) -> Regs {
        let i = self.analysis.loops.partition_point(|l| l.end < word);
        match self.analysis.loops.get(i) {
            Some(l) if l.header <= word => l.pins,
            _ => EMPTY,
        }
    }

    /// At the start of an instruction: where a block begins, its state is entered.
    fn begin(&mut self) {
        while self.analysis.loops.get(self.next_loop).is_some_and(|l| l.end < self.at) {
            self.next_loop += 1;
            self.pinned = 0;
        }
        if self.analysis.leader[self.at as usize] {
            let state = match self.analysis.loops.get(self.next_loop) {
                Some(l) if l.header <= self.at => l.pins,
                _ => EMPTY,
            };
            if !self.dead {
                let from = self.regs;
                self.asm.transition(&from, &state, &self.analysis.exposed);
            }
            self.regs = state;
            self.pinned = 0;
            for (reg, &slot) in state.slot.iter().enumerate() {
                self.pinned |= u16::from(slot != FREE) << reg;
            }
            self.dead = false;
        }
        let here = self.asm.here();
        self.asm.words[self.at as usize] = here;
        if let Some(map) = &mut self.map {
            map.push((here, self.at));
        }
    }

    fn exposed(&self, slot: u16) -> bool {
        self.analysis.exposed.get(usize::from(slot)).copied().unwrap_or(true)
    }

    /// Writes what is dirty, passes blocks and is no pin.
    fn write_exposed(&mut self) {
        for reg in self.regs.dirty_regs() {
            let slot = self.regs.slot[reg];
            if self.pinned & 1 << reg == 0 && self.exposed(slot) {
                self.asm.store(reg, slot);
                self.regs.dirty &= !(1 << reg);
            }
        }
    }

    /// Writes everything that is dirty and not dead, and gives all registers up.
    fn flush(&mut self) {
        let regs = self.regs;
        self.asm.store_all(&regs);
        self.regs = EMPTY;
    }

    /// Loads the pins of the loop around again.
    fn reload(&mut self) {
        if self.pinned == 0 {
            return;
        }
        if let Some(l) = self.analysis.loops.get(self.next_loop) {
            let mut pins = l.pins;
            self.asm.load_all(&pins);
            pins.dirty = 0;
            self.regs = pins;
        }
    }

    // ---- Operands ----

    fn a(&self) -> u16 {
        self.word.a()
    }
    fn b(&self) -> u16 {
        self.word.b()
    }
    fn c(&self) -> u16 {
        self.word.c()
    }
    fn wide(&self) -> u32 {
        self.word.wide()
    }
    fn second(&self) -> Word {
        self.input.code[self.at as usize + 1]
    }
    /// The instruction's distance from the function's first word in bytes.
    fn pc(&self) -> u32 {
        self.at * 8
    }
    fn target(&self, distance: i64) -> u32 {
        (i64::from(self.at) + distance) as u32
    }

    /// The variant of an int operand.
    #[inline(always)]
    fn int(&self, slot: u16) -> usize {
        self.regs.int(slot).map_or(0, |r| r + 1)
    }

    /// The variant of a float operand.
    #[inline(always)]
    fn float(&self, slot: u16) -> usize {
        self.regs.float(slot).map_or(0, |r| r + 1)
    }

    /// Makes sure that a slot is valid in memory.
    fn sync(&mut self, slot: u16) {
        if let Some(reg) = self.regs.any(slot)
            && self.regs.is_dirty(reg)
        {
            self.asm.store(reg, slot);
            self.regs.dirty &= !(1 << reg);
        }
    }

    /// As [`Compiler::sync`], for the slot that the op names by a wide number, which may be any.
    fn sync_wide(&mut self) {
        if let Ok(slot) = u16::try_from(self.wide()) {
            self.sync(slot);
        }
    }

    /// Gives the registers of operands up whose values are read for the last time.
    #[inline(always)]
    fn free_dead(&mut self) {
        if self.deaths & 0b1110 != 0 {
            for (bit, slot) in [(1, self.a()), (2, self.b()), (3, self.c())] {
                if self.deaths & 1 << bit != 0
                    && let Some(reg) = self.regs.any(slot)
                {
                    self.regs.drop_reg(reg);
                }
            }
        }
    }

    /// A register for an int that is written, dirty from now on. The evicted value is written.
    fn def_int(&mut self, slot: u16) -> usize {
        let reg = match self.regs.int(slot) {
            Some(reg) => reg,
            None => self.take(0, INTS),
        };
        self.regs.put(reg, slot, true);
        reg
    }

    /// As [`Compiler::def_int`], for floats; registers from 0.
    fn def_float(&mut self, slot: u16) -> usize {
        let reg = match self.regs.float(slot) {
            Some(reg) => reg + INTS,
            None => self.take(INTS, ALL),
        };
        self.regs.put(reg, slot, true);
        reg - INTS
    }

    /// A free register of a bank; where there is none, one that is no pin is evicted, in turn.
    fn take(&mut self, first: usize, end: usize) -> usize {
        if let Some(reg) = (first..end).find(|&r| self.regs.slot[r] == FREE && self.pinned & 1 << r == 0) {
            return reg;
        }
        let next = if first == 0 { &mut self.next_int } else { &mut self.next_float };
        let mut reg;
        loop {
            *next = (*next + 1) % (end - first);
            reg = first + *next;
            if self.pinned & 1 << reg == 0 {
                break;
            }
        }
        if self.regs.is_dirty(reg) {
            self.asm.store(reg, self.regs.slot[reg]);
        }
        self.regs.drop_reg(reg);
        reg
    }

    /// After an op that wrote a register: values of the window go to memory at once, and dead ones are forgotten.
    #[inline(always)]
    fn defined(&mut self, slot: u16, reg: usize) {
        if u32::from(slot) >= self.window || slot == FREE {
            self.asm.store(reg, slot);
            self.regs.drop_reg(reg);
        } else if self.pinned & 1 << reg == 0 {
            if self.deaths & 2 != 0 {
                // The first operand is the destination: a value that nobody reads.
                self.regs.drop_reg(reg);
            } else if self.exposed(slot) {
                // It has to be in memory at the end of the block anyway, and exits have less to write if it is now.
                self.asm.store(reg, slot);
                self.regs.dirty &= !(1 << reg);
            }
        }
    }

    /// After an op that wrote a slot in memory: a register that held it is stale.
    fn written(&mut self, slot: u16) {
        if let Some(reg) = self.regs.any(slot) {
            let pinned = self.pinned & 1 << reg != 0;
            self.regs.drop_reg(reg);
            if pinned {
                self.asm.load(reg, slot);
                self.regs.put(reg, slot, false);
            }
        }
    }

    // ---- Shapes of ops ----

    /// The cold job that leaves to the interpreter at the instruction, in the state that it began in.
    fn exit_job(&mut self, regs: Regs) {
        self.way.0 |= Way::EXIT.0;
        let pc = self.pc();
        self.asm.jobs.push(Cold::Exit { pc, regs });
    }

    /// dst = a op b of ints; COLD leaves to the interpreter.
    fn dii(&mut self, family: Family<3>) {
        let (d, a, b) = (self.a(), self.b(), self.c());
        let (ia, ib) = (self.int(a), self.int(b));
        let before = self.regs;
        self.free_dead();
        let reg = self.def_int(d);
        if self.asm.emit(family.at([reg, ia, ib]), &slots(0, a, b), None) {
            self.exit_job(before);
        }
        self.defined(d, reg);
    }

    /// dst = a op immediate.
    fn di_with(&mut self, family: Family<2>, values: Values) {
        let (d, a) = (self.a(), self.b());
        let ia = self.int(a);
        let before = self.regs;
        self.free_dead();
        let reg = self.def_int(d);
        let values = Values { s: [0, i32::from(a) * 8, values.s[2], 0, 0, 0], ..values };
        if self.asm.emit(family.at([reg, ia]), &values, None) {
            self.exit_job(before);
        }
        self.defined(d, reg);
    }

    fn di(&mut self, family: Family<2>) {
        self.di_with(family, Values::default());
    }

    fn di_imm(&mut self, family: Family<2>) {
        let value = i32::from(self.c() as i16);
        self.di_with(family, Values { s: [0, 0, value, 0, 0, 0], ..Values::default() });
    }

    fn di_shift(&mut self, family: Family<2>) {
        let b = (self.c() & 63) as u8;
        self.di_with(family, Values { b, ..Values::default() });
    }

    /// Division by a constant.
    fn div_imm(&mut self, remainder: bool) {
        let value = i32::from(self.c() as i16);
        if value > 0 && value & (value - 1) == 0 {
            let mask = value - 1;
            let mut values = Values { b: value.trailing_zeros() as u8, ..Values::default() };
            values.s[2] = mask;
            if remainder {
                // The low bits of a biased sum, the bias taken off again.
                self.di_with(f::INT_REM_POW2, values);
            } else {
                self.di_with(f::INT_DIV_POW2, values);
            }
        } else {
            self.di_imm(if remainder { f::INT_REM_IMM } else { f::INT_DIV_IMM });
        }
    }

    fn exx(&mut self, family: Family<3>) {
        let (d, a, b) = (self.a(), self.b(), self.c());
        let (xa, xb) = (self.float(a), self.float(b));
        let before = self.regs;
        self.free_dead();
        let reg = self.def_float(d);
        if self.asm.emit(family.at([reg, xa, xb]), &slots(0, a, b), None) {
            self.exit_job(before);
        }
        self.defined(d, reg + INTS);
    }

    fn ex(&mut self, family: Family<2>) {
        let (d, a) = (self.a(), self.b());
        let xa = self.float(a);
        self.free_dead();
        let reg = self.def_float(d);
        self.asm.emit(family.at([reg, xa]), &slots(0, a, 0), None);
        self.defined(d, reg + INTS);
    }

    /// dst (float) = an int operand.
    fn ei(&mut self, family: Family<2>) {
        let (d, a) = (self.a(), self.b());
        let ia = self.int(a);
        self.free_dead();
        let reg = self.def_float(d);
        self.asm.emit(family.at([reg, ia]), &slots(0, 0, a), None);
        self.defined(d, reg + INTS);
    }

    fn dx(&mut self, family: Family<2>) {
        let (d, a) = (self.a(), self.b());
        let xa = self.float(a);
        let before = self.regs;
        self.free_dead();
        let reg = self.def_int(d);
        if self.asm.emit(family.at([reg, xa]), &slots(0, a, 0), None) {
            self.exit_job(before);
        }
        self.defined(d, reg);
    }

    /// A float comparison as a value: its operands are read from memory.
    fn dxx(&mut self, family: Family<3>) {
        let (d, a, b) = (self.a(), self.b(), self.c());
        self.sync(a);
        self.sync(b);
        self.free_dead();
        let reg = self.def_int(d);
        self.asm.emit(family.at([reg, 0, 0]), &slots(0, a, b), None);
        self.defined(d, reg);
    }

    /// dst (int) from memory, by a stencil that has its operands in S1 and S2.
    fn d(&mut self, family: Family<1>, s1: i32, s2: i32) {
        let d = self.a();
        let before = self.regs;
        self.free_dead();
        let reg = self.def_int(d);
        let values = Values { s: [0, s1, s2, 0, 0, 0], ..Values::default() };
        if self.asm.emit(family.at([reg]), &values, None) {
            self.exit_job(before);
        }
        self.defined(d, reg);
    }

    fn e(&mut self, family: Family<1>, s1: i32, s2: i32) {
        let d = self.a();
        let before = self.regs;
        self.free_dead();
        let reg = self.def_float(d);
        let values = Values { s: [0, s1, s2, 0, 0, 0], ..Values::default() };
        if self.asm.emit(family.at([reg]), &values, None) {
            self.exit_job(before);
        }
        self.defined(d, reg + INTS);
    }

    // ---- Routines ----

    /// The op as a routine, in place.
    fn routine(&mut self, routine: Routine) {
        self.way.0 |= Way::ROUTINE.0;
        self.flush();
        let values = Values { u: [self.pc(), routine as u32 * 8], ..Values::default() };
        self.asm.plain(f::ROUTINE.at([]), &values);
        self.reload();
    }

    /// The cold job that does the whole op as a routine, where the stencil at the end of the text did not. `before` is the
    /// state that the op began in.
    fn slow(&mut self, routine: Routine, before: Regs) {
        self.way.0 |= Way::SLOW.0;
        let mut after = self.regs;
        // Everything is in memory after a routine, so nothing is dirty on that way; the state says more, which does no harm.
        after.dirty = 0;
        let back = self.asm.here();
        let effects = op_at(self.input.code, self.at as usize).effects();
        let (stencil, values) = if effects.has(Effects::CALL) {
            self.pushing(routine)
        } else {
            let values = Values { u: [self.pc(), routine as u32 * 8], ..Values::default() };
            (f::ROUTINE.at([]), values)
        };
        self.asm.jobs.push(Cold::Routine { stencil, values, before, after, back });
    }

    /// An op on slots: its stencil, with a routine for what it does not do. The slots of raw operands are written first.
    fn plain(&mut self, stencil: Stencil, values: &Values, routine: Option<Routine>) {
        let before = self.regs;
        if self.asm.emit(stencil, values, None) {
            match routine {
                Some(routine) => self.slow(routine, before),
                None => self.exit_job(before),
            }
        }
    }

    // ---- Branches ----

    /// The label of a forward branch from the present state.
    fn branch_label(&mut self, word: u32) -> Label {
        let to = self.entry_state(word);
        self.edge(to, Label::Word(word))
    }

    /// A label that takes the present state to another one first, where that needs code.
    fn edge(&mut self, to: Regs, target: Label) -> Label {
        let from = self.regs;
        let exposed = |slot: u16| self.exposed(slot);
        let needed = (0..ALL).any(|reg| {
            let slot = from.slot[reg];
            let written = from.is_dirty(reg) && exposed(slot) && !(to.slot[reg] == slot && to.is_dirty(reg));
            written || to.slot[reg] != FREE && to.slot[reg] != slot
        });
        if !needed {
            return target;
        }
        self.asm.jobs.push(Cold::Edge { from, to, target });
        Label::Job(self.asm.jobs.len() as u32 - 1)
    }

    /// A forward branch on ints.
    fn branch_ii(&mut self, family: Family<2>, a: u16, b: u16, distance: i64) {
        self.write_exposed();
        let label = self.branch_label(self.target(distance));
        let (ia, ib) = (self.int(a), self.int(b));
        self.asm.emit(family.at([ia, ib]), &slots(0, a, b), Some(label));
        self.free_dead();
    }

    fn branch_i(&mut self, family: Family<1>, a: u16, value: i16, distance: i64) {
        self.write_exposed();
        let label = self.branch_label(self.target(distance));
        let ia = self.int(a);
        let values = Values { s: [0, i32::from(a) * 8, i32::from(value), 0, 0, 0], ..Values::default() };
        self.asm.emit(family.at([ia]), &values, Some(label));
        self.free_dead();
    }

    fn branch_xx(&mut self, family: Family<2>, a: u16, b: u16, distance: i64) {
        self.write_exposed();
        let label = self.branch_label(self.target(distance));
        let (xa, xb) = (self.float(a), self.float(b));
        self.asm.emit(family.at([xa, xb]), &slots(0, a, b), Some(label));
        self.free_dead();
    }

    /// A backward branch: `inverse` is emitted as a branch around the way back.
    fn loop_branch(&mut self, distance: i64, inverse: impl FnOnce(&mut Self, Label)) {
        self.write_exposed();
        inverse(self, Label::At(UNSET));
        let skips = self.asm.take_unset();
        self.loop_back(distance);
        let here = self.asm.here();
        for at in skips {
            self.asm.refer(at, Label::At(here));
        }
        self.free_dead();
    }

    /// The way back to a loop header: charges, and continues behind it.
    fn loop_back(&mut self, distance: i64) {
        let header = self.target(distance);
        let to = self.entry_state(header);
        let from = self.regs;
        self.asm.transition(&from, &to, &self.analysis.exposed);
        let back = Label::Behind(header);
        if self.asm.emit(f::CHARGE_JUMP.at([]), &Values::default(), Some(back)) {
            let pc = self.pc();
            self.asm.jobs.push(Cold::Budget { pc, before: to, after: to, back });
        }
    }

    fn loop_ii(&mut self, family: Family<2>, a: u16, b: u16) {
        let distance = i64::from(self.c() as i16);
        self.loop_branch(distance, |c, skip| {
            let (ia, ib) = (c.int(a), c.int(b));
            c.asm.emit(family.at([ia, ib]), &slots(0, a, b), Some(skip));
        });
    }

    fn loop_imm(&mut self, family: Family<1>) {
        let (a, value, distance) = (self.a(), self.b() as i16, i64::from(self.c() as i16));
        self.loop_branch(distance, |c, skip| {
            let values = Values { s: [0, i32::from(a) * 8, i32::from(value), 0, 0, 0], ..Values::default() };
            let ia = c.int(a);
            c.asm.emit(family.at([ia]), &values, Some(skip));
        });
    }

    fn loop_if(&mut self, family: Family<1>) {
        let (a, distance) = (self.a(), i64::from(self.wide() as i32));
        self.loop_branch(distance, |c, skip| {
            let ia = c.int(a);
            c.asm.emit(family.at([ia]), &slots(0, a, 0), Some(skip));
        });
    }

    fn loop_xx(&mut self, family: Family<2>) {
        let (a, b, distance) = (self.a(), self.b(), i64::from(self.c() as i16));
        self.loop_branch(distance, |c, skip| {
            let (xa, xb) = (c.float(a), c.float(b));
            c.asm.emit(family.at([xa, xb]), &slots(0, a, b), Some(skip));
        });
    }

    /// A branch on cells, in slots; COLD asks a routine.
    fn branch_plain(&mut self, stencil: Stencil, values: &Values, distance: i64, routine: Option<Routine>) {
        self.write_exposed();
        let label = self.branch_label(self.target(distance));
        let before = self.regs;
        if self.asm.emit(stencil, values, Some(label)) {
            let (pc, back) = (self.pc(), self.asm.here());
            match routine {
                Some(routine) => {
                    self.way.0 |= Way::SLOW.0;
                    let values = Values { u: [pc, routine as u32 * 8], ..Values::default() };
                    self.asm.jobs.push(Cold::Branch { values, regs: before, back, taken: label });
                }
                None => self.exit_job(before),
            }
        }
    }

    // ---- Calls ----

    /// A call whose arguments stand in the window. Registers were flushed.
    fn call(
        &mut self,
        callee: u32,
        words: u32,
        dst: Option<u16>,
        resume: &mut Vec<(u32, u32)>,
    ) -> Result<(), TooLarge> {
        let size = self.window * 8;
        let header = self.input.facts.header(callee).ok_or(TooLarge)?;
        if callee >= 1 << 25 {
            return Err(TooLarge);
        }
        let entry =
            (callee << FunctionEntry::SHIFT) as i32 + std::mem::offset_of!(FunctionEntry, native) as i32;
        let back = (self.at + words) * 8;
        let values = Values {
            s: [0, size as i32, (size + header) as i32, back as i32, entry, 0],
            u: [callee, 0],
            ..Values::default()
        };
        self.asm.emit(f::CALL_STATIC.at([]), &values, None);
        self.call_jobs();
        self.call_end(words, dst, resume);
        Ok(())
    }

    fn call_closure(&mut self, slot: u16, dst: Option<u16>, resume: &mut Vec<(u32, u32)>) {
        self.flush();
        let size = self.window * 8;
        let back = (self.at + 1) * 8;
        let values =
            Values { s: [i32::from(slot) * 8, size as i32, 0, back as i32, 0, 0], ..Values::default() };
        self.asm.emit(f::CALL_CLOSURE.at([]), &values, None);
        self.call_jobs();
        self.call_end(1, dst, resume);
    }

    /// The jobs of a call: the budget, and the interpreter where the stack is full.
    fn call_jobs(&mut self) {
        let pc = self.pc();
        // Behind the conditional jump to COLD.
        let back = Label::At(self.asm.job_reference());
        self.asm.jobs.push(Cold::Budget { pc, before: EMPTY, after: EMPTY, back });
        self.exit_job(EMPTY);
    }

    fn call_end(&mut self, words: u32, dst: Option<u16>, resume: &mut Vec<(u32, u32)>) {
        if let Some(dst) = dst {
            self.asm.plain(f::RESULT.at([]), &slots(dst, 0, 0));
        }
        resume.push((self.at + words, self.asm.here()));
        self.reload();
    }

    /// A return, the value being in a slot or a register.
    fn ret(&mut self, stencil: Stencil, slot: u16) {
        let header = self.input.meta.layout.header() * 8;
        let s = [i32::from(slot) * 8, header as i32, 0, 0, 0, 0];
        self.asm.emit(stencil, &Values { s, ..Values::default() }, None);
        self.dead = true;
    }

    fn feedback(&self, site: u32) -> Option<i32> {
        i32::try_from(u64::from(site) * size_of::<Feedback>() as u64).ok()
    }

    /// Forgets a slot that is about to be written in memory, unless it is a pin.
    fn regs_without(&mut self, slot: u16) {
        if let Some(reg) = self.regs.any(slot)
            && self.pinned & 1 << reg == 0
        {
            self.regs.drop_reg(reg);
        }
    }

    /// Continues at a word: nothing where it is the next one.
    fn jump(&mut self, distance: i64) {
        let word = self.target(distance);
        let to = self.entry_state(word);
        let from = self.regs;
        self.asm.transition(&from, &to, &self.analysis.exposed);
        if word != self.at + 1 {
            self.asm.jump(Label::Word(word));
        } else {
            // The next instruction begins in this state; its own transition finds nothing to do.
            self.regs = to;
            return;
        }
        self.dead = true;
    }

    /// Whether an offset that is a multiple of 8 fits a hole.
    fn times8(number: u32) -> Option<i32> {
        i32::try_from(u64::from(number) * 8).ok()
    }

    /// One instruction.
    #[expect(clippy::too_many_lines, reason = "one arm per op")]
    fn inst(&mut self, op: Op, resume: &mut Vec<(u32, u32)>) -> Result<(), TooLarge> {
        let (a, b, c) = (self.a(), self.b(), self.c());
        match op {
            Op::Nop => {}
            Op::TierEntry => return Err(TooLarge),
            Op::FrameClear => {
                let (mut slot, mut count) = (a, b);
                while count > 0 {
                    let (stencil, n) = match count {
                        4.. => (f::CLEAR_4, 4),
                        2.. => (f::CLEAR_2, 2),
                        _ => (f::CLEAR_1, 1),
                    };
                    self.asm.plain(stencil.at([]), &slots(slot, 0, 0));
                    slot += n;
                    count -= n;
                }
                if c != 0 {
                    self.routine(Routine::ClearSpilled);
                }
            }
            Op::IntMove => self.di(f::INT_MOVE),
            Op::FloatMove => self.ex(f::FLOAT_MOVE),
            Op::CellMove => self.asm.plain(f::CELL_MOVE.at([]), &slots(a, b, 0)),
            Op::FloatFromBits => self.ei(f::FLOAT_FROM_BITS),
            Op::IntFromBits => self.dx(f::INT_FROM_BITS),
            Op::IntConst => {
                let value = self.wide() as i32;
                if value == 0 { self.d(f::INT_ZERO, 0, 0) } else { self.d(f::INT_CONST, 0, value) }
            }
            Op::IntConstWide => {
                let q = self.literal();
                let reg = self.def_int(a);
                self.asm.plain(f::INT_CONST_WIDE.at([reg]), &Values { q, ..Values::default() });
                self.defined(a, reg);
            }
            Op::FloatConst => {
                let q = self.literal();
                let reg = self.def_float(a);
                if q == 0 {
                    self.asm.plain(f::FLOAT_ZERO.at([reg]), &Values::default());
                } else {
                    self.asm.plain(f::FLOAT_CONST.at([reg]), &Values { q, ..Values::default() });
                }
                self.defined(a, reg + INTS);
            }
            Op::CellConst => {
                let q = self.literal();
                self.asm.plain(f::CELL_CONST.at([]), &Values { q, ..slots(a, 0, 0) });
            }
            Op::StringConst | Op::NameConst | Op::RecordConst => {
                let offset = Self::times8(self.wide()).ok_or(TooLarge)?;
                let values = Values { s: [i32::from(a) * 8, offset, 0, 0, 0, 0], ..Values::default() };
                self.asm.plain(f::CONSTANT.at([]), &values);
            }
            Op::IntLocalGet => {
                self.sync_wide();
                self.d(f::LOAD_SPILLED_INT, Self::times8(self.wide()).ok_or(TooLarge)?, 0);
            }
            Op::FloatLocalGet => {
                self.sync_wide();
                self.e(f::LOAD_SPILLED_FLOAT, Self::times8(self.wide()).ok_or(TooLarge)?, 0);
            }
            Op::CellLocalGet => {
                let offset = Self::times8(self.wide()).ok_or(TooLarge)?;
                let values = Values { s: [i32::from(a) * 8, offset, 0, 0, 0, 0], ..Values::default() };
                self.asm.plain(f::CELL_MOVE.at([]), &values);
            }
            Op::IntLocalSet | Op::FloatLocalSet | Op::CellLocalSet => {
                let from = self.second().op();
                self.sync(from);
                let offset = Self::times8(self.wide()).ok_or(TooLarge)?;
                let values = Values { s: [offset, i32::from(from) * 8, 0, 0, 0, 0], ..Values::default() };
                self.asm.plain(f::CELL_MOVE.at([]), &values);
                if let Ok(slot) = u16::try_from(self.wide()) {
                    self.written(slot);
                }
            }

            Op::IntAdd => self.dii(f::INT_ADD),
            Op::IntSub => self.dii(f::INT_SUB),
            Op::IntMul => self.dii(f::INT_MUL),
            Op::IntAddChecked => self.dii(f::INT_ADD_CHECKED),
            Op::IntSubChecked => self.dii(f::INT_SUB_CHECKED),
            Op::IntMulChecked => self.dii(f::INT_MUL_CHECKED),
            Op::IntAddOrJump => self.or_jump(f::INT_ADD_CHECKED),
            Op::IntSubOrJump => self.or_jump(f::INT_SUB_CHECKED),
            Op::IntMulOrJump => self.or_jump(f::INT_MUL_CHECKED),
            Op::IntAddImm => self.di_imm(f::INT_ADD_IMM),
            Op::IntAddImmChecked => self.di_imm(f::INT_ADD_IMM_CHECKED),
            Op::IntMulImmChecked => self.di_imm(f::INT_MUL_IMM_CHECKED),
            Op::IntNeg => self.di(f::INT_NEG),
            Op::IntNegChecked => self.di(f::INT_NEG_CHECKED),
            Op::IntAbsChecked => self.di(f::INT_ABS_CHECKED),
            Op::IntDiv => self.dii(f::INT_DIV),
            Op::IntRem => self.dii(f::INT_REM),
            Op::IntDivImm => self.div_imm(false),
            Op::IntRemImm => self.div_imm(true),
            Op::IntAnd => self.dii(f::INT_AND),
            Op::IntOr => self.dii(f::INT_OR),
            Op::IntXor => self.dii(f::INT_XOR),
            Op::IntShl => self.dii(f::INT_SHL),
            Op::IntShrS => self.dii(f::INT_SHR_S),
            Op::IntShrU => self.dii(f::INT_SHR_U),
            Op::IntAndImm => self.di_imm(f::INT_AND_IMM),
            Op::IntShlImm => self.di_shift(f::INT_SHL_IMM),
            Op::IntShrSImm => self.di_shift(f::INT_SHR_S_IMM),
            Op::IntExtend32 => self.di(f::INT_EXTEND32),
            Op::IntMin => self.dii(f::INT_MIN),
            Op::IntMax => self.dii(f::INT_MAX),
            Op::BoolNot => self.di(f::BOOL_NOT),
            Op::IntEq => self.dii(f::INT_EQ),
            Op::IntNe => self.dii(f::INT_NE),
            Op::IntLt => self.dii(f::INT_LT),
            Op::IntLe => self.dii(f::INT_LE),
            Op::IntEqImm => self.di_imm(f::INT_EQ_IMM),
            Op::IntNeImm => self.di_imm(f::INT_NE_IMM),
            Op::IntLtImm => self.di_imm(f::INT_LT_IMM),
            Op::IntLeImm => self.di_imm(f::INT_LE_IMM),
            Op::IntGtImm => self.di_imm(f::INT_GT_IMM),
            Op::IntGeImm => self.di_imm(f::INT_GE_IMM),

            Op::FloatAdd => self.exx(f::FLOAT_ADD),
            Op::FloatSub => self.exx(f::FLOAT_SUB),
            Op::FloatMul => self.exx(f::FLOAT_MUL),
            Op::FloatDiv => self.exx(f::FLOAT_DIV),
            Op::FloatDivChecked => self.exx(f::FLOAT_DIV_CHECKED),
            Op::FloatMin => self.exx(f::FLOAT_MIN),
            Op::FloatMax => self.exx(f::FLOAT_MAX),
            Op::FloatNeg => self.ex(f::FLOAT_NEG),
            Op::FloatAbs => self.ex(f::FLOAT_ABS),
            Op::FloatSqrt => self.ex(f::FLOAT_SQRT),
            Op::FloatRem | Op::FloatRemChecked | Op::FloatPow | Op::FloatAtan2 => {
                self.routine(Routine::Scalar)
            }
            Op::FloatFloor | Op::FloatCeil | Op::FloatTrunc | Op::FloatRound => self.routine(Routine::Scalar),
            Op::FloatSin | Op::FloatCos | Op::FloatTan | Op::FloatAsin => self.routine(Routine::Scalar),
            Op::FloatAcos | Op::FloatAtan | Op::FloatExp | Op::FloatLog => self.routine(Routine::Scalar),
            Op::FloatLog2 | Op::FloatLog10 => self.routine(Routine::Scalar),
            Op::FloatEq => self.dxx(f::FLOAT_EQ),
            Op::FloatNe => self.dxx(f::FLOAT_NE),
            Op::FloatLt => self.dxx(f::FLOAT_LT),
            Op::FloatLe => self.dxx(f::FLOAT_LE),
            Op::FloatFromInt => self.ei(f::FLOAT_FROM_INT),
            Op::IntFromFloat => self.dx(f::INT_FROM_FLOAT),

            Op::LoopHeader => {
                if self.asm.emit(f::CHARGE.at([]), &Values::default(), None) {
                    let (pc, regs) = (self.pc(), self.regs);
                    let back = Label::At(self.asm.here());
                    self.asm.jobs.push(Cold::Budget { pc, before: regs, after: regs, back });
                }
                self.asm.behind[self.at as usize] = self.asm.here();
            }
            Op::Jump => self.jump(i64::from(self.wide() as i32)),
            Op::JumpLoop => {
                self.loop_back(i64::from(self.wide() as i32));
                self.dead = true;
            }
            Op::IfBranch => self.branch_i(f::IF_BRANCH, a, 0, i64::from(self.wide() as i32)),
            Op::UnlessBranch => self.branch_i(f::UNLESS_BRANCH, a, 0, i64::from(self.wide() as i32)),
            Op::IntEqBranch => self.branch_ii(f::INT_EQ_BRANCH, a, b, i64::from(c as i16)),
            Op::IntNeBranch => self.branch_ii(f::INT_NE_BRANCH, a, b, i64::from(c as i16)),
            Op::IntLtBranch => self.branch_ii(f::INT_LT_BRANCH, a, b, i64::from(c as i16)),
            Op::IntLeBranch => self.branch_ii(f::INT_LE_BRANCH, a, b, i64::from(c as i16)),
            Op::IntEqImmBranch => self.branch_i(f::INT_EQ_IMM_BRANCH, a, b as i16, i64::from(c as i16)),
            Op::IntNeImmBranch => self.branch_i(f::INT_NE_IMM_BRANCH, a, b as i16, i64::from(c as i16)),
            Op::IntLtImmBranch => self.branch_i(f::INT_LT_IMM_BRANCH, a, b as i16, i64::from(c as i16)),
            Op::IntLeImmBranch => self.branch_i(f::INT_LE_IMM_BRANCH, a, b as i16, i64::from(c as i16)),
            Op::IntGtImmBranch => self.branch_i(f::INT_GT_IMM_BRANCH, a, b as i16, i64::from(c as i16)),
            Op::IntGeImmBranch => self.branch_i(f::INT_GE_IMM_BRANCH, a, b as i16, i64::from(c as i16)),
            Op::FloatEqBranch => self.branch_xx(f::FLOAT_EQ_BRANCH, a, b, i64::from(c as i16)),
            Op::FloatNeBranch => self.branch_xx(f::FLOAT_NE_BRANCH, a, b, i64::from(c as i16)),
            Op::FloatLtBranch => self.branch_xx(f::FLOAT_LT_BRANCH, a, b, i64::from(c as i16)),
            Op::FloatLeBranch => self.branch_xx(f::FLOAT_LE_BRANCH, a, b, i64::from(c as i16)),
            Op::FloatNotLtBranch => self.branch_xx(f::FLOAT_NOT_LT_BRANCH, a, b, i64::from(c as i16)),
            Op::FloatNotLeBranch => self.branch_xx(f::FLOAT_NOT_LE_BRANCH, a, b, i64::from(c as i16)),
            // Backward branches: the opposite branches around the way back.
            Op::IfLoop => self.loop_if(f::UNLESS_BRANCH),
            Op::UnlessLoop => self.loop_if(f::IF_BRANCH),
            Op::IntEqLoop => self.loop_ii(f::INT_NE_BRANCH, a, b),
            Op::IntNeLoop => self.loop_ii(f::INT_EQ_BRANCH, a, b),
            Op::IntLtLoop => self.loop_ii(f::INT_LE_BRANCH, b, a),
            Op::IntLeLoop => self.loop_ii(f::INT_LT_BRANCH, b, a),
            Op::IntEqImmLoop => self.loop_imm(f::INT_NE_IMM_BRANCH),
            Op::IntNeImmLoop => self.loop_imm(f::INT_EQ_IMM_BRANCH),
            Op::IntLtImmLoop => self.loop_imm(f::INT_GE_IMM_BRANCH),
            Op::IntLeImmLoop => self.loop_imm(f::INT_GT_IMM_BRANCH),
            Op::IntGtImmLoop => self.loop_imm(f::INT_LE_IMM_BRANCH),
            Op::IntGeImmLoop => self.loop_imm(f::INT_LT_IMM_BRANCH),
            Op::FloatEqLoop => self.loop_xx(f::FLOAT_NE_BRANCH),
            Op::FloatNeLoop => self.loop_xx(f::FLOAT_EQ_BRANCH),
            Op::FloatLtLoop => self.loop_xx(f::FLOAT_NOT_LT_BRANCH),
            Op::FloatLeLoop => self.loop_xx(f::FLOAT_NOT_LE_BRANCH),
            Op::FloatNotLtLoop => self.loop_xx(f::FLOAT_LT_BRANCH),
            Op::FloatNotLeLoop => self.loop_xx(f::FLOAT_LE_BRANCH),
            Op::IntForLoop => {
                let ia = self.int(a);
                let reg = self.def_int(a);
                let values = Values { s: [0, i32::from(a) * 8, 1, 0, 0, 0], ..Values::default() };
                self.asm.plain(f::INT_ADD_IMM.at([reg, ia]), &values);
                // i < limit goes back, so limit <= i goes on.
                self.loop_ii(f::INT_LE_BRANCH, b, a);
            }
            Op::IntSwitch => self.switch(Routine::IntSwitch),
            Op::CellSwitch => self.switch(Routine::CellSwitch),
            Op::StringSwitch => self.switch(Routine::StringSwitch),
            Op::WatchBranch => {
                let offset = i32::try_from(u64::from(self.wide()) * 4).map_err(|_| TooLarge)?;
                let values = Values { s: [0, 0, offset, 0, 0, 0], ..Values::default() };
                let distance = i64::from(self.second().op() as i16);
                self.branch_plain(f::WATCH_BRANCH.at([]), &values, distance, None);
            }
            Op::Trap => self.leave_to_interpreter(),
            Op::Throw => {
                self.routine(Routine::Throw);
                self.dead = true;
            }

            Op::CallInt | Op::CallFloat | Op::CallCell => {
                self.flush();
                self.call(self.wide(), 1, Some(a), resume)?;
            }
            Op::CallVoid => {
                self.flush();
                self.call(self.wide(), 1, None, resume)?;
            }
            Op::CallIntAddImm => {
                let (dst, value) = (self.second().a(), self.second().b() as i16);
                self.sync(a);
                let values = Values {
                    s: [i32::from(a) * 8, self.window as i32 * 8, 0, i32::from(value), 0, 0],
                    ..Values::default()
                };
                let before = self.regs;
                if self.asm.emit(f::ADD_TO_WINDOW.at([]), &values, None) {
                    self.exit_job(before);
                }
                self.flush();
                self.call(self.wide(), 2, Some(dst), resume)?;
            }
            Op::CallClosureInt | Op::CallClosureFloat | Op::CallClosureCell => {
                self.call_closure(b, Some(a), resume);
            }
            Op::CallClosureVoid => self.call_closure(b, None, resume),
            Op::CallHostInt | Op::CallHostFloat | Op::CallHostCell | Op::CallHostVoid => {
                self.calling(Routine::CallHost, 1, resume);
            }
            Op::CallCInt | Op::CallCFloat | Op::CallCVoid => self.calling(Routine::CallC, 1, resume),
            Op::CellCall => self.cell_call(resume),
            Op::CellCallSpread => self.calling(Routine::CellCallSpread, 2, resume),
            Op::TailCall => self.tail(Routine::TailCall),
            Op::TailClosure => self.tail(Routine::TailClosure),
            Op::TailCell => self.tail(Routine::TailCell),
            Op::TailCellSpread => self.tail(Routine::TailCellSpread),
            Op::ReturnInt => match self.regs.int(a) {
                Some(reg) => self.ret(f::RETURN_INT.at([reg]), 0),
                None => self.ret(f::RETURN_SLOT.at([]), a),
            },
            Op::ReturnFloat => match self.regs.float(a) {
                Some(reg) => self.ret(f::RETURN_FLOAT.at([reg]), 0),
                None => self.ret(f::RETURN_SLOT.at([]), a),
            },
            Op::ReturnIntAddChecked => {
                self.sync(a);
                self.sync(b);
                let header = self.input.meta.layout.header() * 8;
                let s = [i32::from(a) * 8, header as i32, i32::from(b) * 8, 0, 0, 0];
                let regs = self.regs;
                self.asm.emit(f::RETURN_SUM.at([]), &Values { s, ..Values::default() }, None);
                self.exit_job(regs);
                self.dead = true;
            }
            Op::ReturnCell => {
                let any = matches!(self.input.meta.result, Some(upshift_bytecode::ValueType::Cell(c)) if c.id.0 == 0);
                // `any` has neither none nor many; other types are not known here.
                if !any {
                    let regs = self.regs;
                    if self.asm.emit(f::CHECK_RESULTS.at([]), &slots(0, a, 0), None) {
                        self.slow(Routine::NoteResults, regs);
                    }
                }
                self.ret(f::RETURN_SLOT.at([]), a);
            }
            Op::ReturnVoid => self.ret(f::RETURN_VOID.at([]), 0),
            Op::ResultsClear => self.routine(Routine::ResultsClear),
            Op::ResultsPush => self.routine(Routine::ResultsPush),
            Op::ResultsLen => self.routine(Routine::ResultsLen),
            Op::ResultsGet => self.routine(Routine::ResultsGet),

            Op::CellAdd => self.arithmetic(f::CELL_ADD, f::CELL_ADD_P, Routine::CellAdd, resume),
            Op::CellSub => self.arithmetic(f::CELL_SUB, f::CELL_SUB_P, Routine::CellSub, resume),
            Op::CellMul => self.arithmetic(f::CELL_MUL, f::CELL_MUL_P, Routine::CellMul, resume),
            // Where ints have other quotients, they are the routine's.
            Op::CellDiv if self.second().op() & NumberPolicy::INT_DIV.0 == 0 => {
                self.calling(Routine::CellDiv, 2, resume);
            }
            Op::CellDiv => self.arithmetic(f::CELL_DIV, f::CELL_DIV_P, Routine::CellDiv, resume),
            Op::CellRem => self.arithmetic(f::CELL_REM, f::CELL_REM, Routine::CellRem, resume),
            Op::CellNeg => self.calling(Routine::CellNeg, 2, resume),
            Op::CellEq => self.equality(f::CELL_EQ, f::CELL_EQ_K, Routine::CellEq, resume),
            Op::CellNe => self.equality(f::CELL_NE, f::CELL_NE_K, Routine::CellNe, resume),
            Op::CellLt => self.comparison(f::CELL_LT, f::CELL_LT_P, Routine::CellLt, resume),
            Op::CellLe => self.comparison(f::CELL_LE, f::CELL_LE_P, Routine::CellLe, resume),
            Op::CellIdentical => self.routine(Routine::CellIdentical),
            Op::CellTruthy => self.routine(Routine::CellTruthy),
            Op::TruthyBranch => self.truth(f::TRUTHY_BRANCH, Routine::TruthyBranch),
            Op::FalsyBranch => self.truth(f::FALSY_BRANCH, Routine::FalsyBranch),
            Op::IsBranch | Op::IsNotBranch => {
                let hole = b == Immediate::Hole as u16;
                let stencil = match (op == Op::IsBranch, hole) {
                    (true, true) => f::IS_HOLE_BRANCH,
                    (true, false) => f::IS_BRANCH,
                    (false, true) => f::IS_NOT_HOLE_BRANCH,
                    (false, false) => f::IS_NOT_BRANCH,
                };
                let q = Value::NIL.bits() - Immediate::Nil as u64 + u64::from(b);
                let values = Values { q, ..slots(0, a, 0) };
                self.branch_plain(stencil.at([]), &values, i64::from(c as i16), None);
            }
            Op::CellKind => self.routine(Routine::CellKind),
            Op::CellTest => self.cell_test(),
            Op::CellCast => self.cell_cast(),
            Op::CellIndexGet => self.dynamic(f::CELL_INDEX_GET, Routine::CellIndexGet, false, resume),
            Op::CellIndexSet => self.calling(Routine::CellIndexSet, 2, resume),
            Op::CellFieldGet => self.dynamic(f::CELL_FIELD_GET, Routine::CellFieldGet, false, resume),
            Op::CellFieldSet => self.calling(Routine::CellFieldSet, 2, resume),

            Op::BoxInt => {
                let ia = self.int(b);
                let before = self.regs;
                self.free_dead();
                if self.asm.emit(f::BOX_INT.at([ia]), &slots(a, b, 0), None) {
                    self.slow(Routine::BoxInt, before);
                }
            }
            Op::BoxFloat => {
                let xa = self.float(b);
                let before = self.regs;
                self.free_dead();
                if self.asm.emit(f::BOX_FLOAT.at([xa]), &slots(a, b, 0), None) {
                    self.slow(Routine::BoxFloat, before);
                }
            }
            Op::BoxBool => {
                let ia = self.int(b);
                self.free_dead();
                self.asm.emit(f::BOX_BOOL.at([ia]), &slots(a, b, 0), None);
            }
            Op::UnboxInt => self.d(f::UNBOX_INT, i32::from(b) * 8, 0),
            Op::UnboxBool => self.d(f::UNBOX_BOOL, i32::from(b) * 8, 0),
            Op::UnboxFloat => self.e(f::UNBOX_FLOAT, i32::from(b) * 8, 0),
            Op::UnboxNumber => self.e(f::UNBOX_NUMBER, i32::from(b) * 8, 0),

            Op::StringLen => {
                let before = self.regs;
                let reg = self.def_int(a);
                if self.asm.emit(f::STRING_LEN.at([reg]), &slots(0, b, 0), None) {
                    self.slow(Routine::StringLen, before);
                }
                self.defined(a, reg);
            }
            Op::StringByteLen => self.routine(Routine::StringByteLen),
            Op::StringConcat => self.routine(Routine::StringConcat),
            Op::StringAppend => {
                self.plain(f::STRING_APPEND.at([]), &slots(a, b, c), Some(Routine::StringAppend));
            }
            Op::StringShare => self.asm.plain(f::STRING_SHARE.at([]), &slots(a, b, 0)),
            Op::StringGet => self.string_get(Routine::StringGet),
            Op::StringGetRel => self.string_get(Routine::StringGetRel),
            Op::StringSlice => self.routine(Routine::StringSlice),
            Op::StringCodeAt => self.routine(Routine::StringCodeAt),
            Op::StringFromCode => self.routine(Routine::StringFromCode),
            Op::StringFromInt => self.routine(Routine::StringFromInt),
            Op::StringCompare => self.routine(Routine::StringCompare),
            Op::StringEq => self.string_equal(f::STRING_EQ, Routine::StringEq),
            Op::StringNe => self.string_equal(f::STRING_NE, Routine::StringNe),
            Op::StringContains => self.routine(Routine::StringContains),
            Op::StringIndexOf => self.routine(Routine::StringIndexOf),
            Op::ListIntIndexOf => self.routine(Routine::ListIntIndexOf),
            Op::ListStringIndexOf => self.routine(Routine::ListStringIndexOf),
            Op::StringEqBranch | Op::StringNeBranch => {
                let (family, routine) = if op == Op::StringEqBranch {
                    (f::STRING_EQ_BRANCH, Routine::StringEqBranch)
                } else {
                    (f::STRING_NE_BRANCH, Routine::StringNeBranch)
                };
                self.branch_plain(family.at([]), &slots(0, a, b), i64::from(c as i16), Some(routine));
            }

            Op::ListLen => self.d(f::LIST_LEN, i32::from(b) * 8, 0),
            Op::ListShare => self.asm.plain(f::LIST_SHARE.at([]), &slots(a, 0, 0)),
            Op::ListCopy => self.routine(Routine::ListCopy),
            Op::ListSlice => self.routine(Routine::ListSlice),
            Op::ListCut => self.routine(Routine::ListCut),
            Op::ListExtend => self.routine(Routine::ListExtend),
            Op::ListConcat => self.routine(Routine::ListConcat),
            Op::ListIntNew => self.routine(Routine::ListIntNew),
            Op::ListIntGet => self.get_int(f::LIST_INT_GET, None),
            Op::ListIntGetRel => self.get_int(f::LIST_INT_GET, Some(f::LIST_INT_GET_END)),
            Op::ListIntSet => self.set_int(f::LIST_INT_SET, None),
            Op::ListIntSetRel => self.set_int(f::LIST_INT_SET, Some(f::LIST_INT_SET_END)),
            Op::ListIntPush => self.push_int(f::LIST_INT_PUSH, Routine::ListIntPush),
            Op::ListIntAppend => self.append_int(f::LIST_INT_APPEND, Routine::ListIntAppend),
            Op::ListFloatNew => self.routine(Routine::ListFloatNew),
            Op::ListFloatGet => self.get_float(None),
            Op::ListFloatGetRel => self.get_float(Some(f::LIST_FLOAT_GET_END)),
            Op::ListFloatSet => self.set_float(None),
            Op::ListFloatSetRel => self.set_float(Some(f::LIST_FLOAT_SET_END)),
            Op::ListFloatPush => {
                let xa = self.float(b);
                let before = self.regs;
                self.free_dead();
                if self.asm.emit(f::LIST_FLOAT_PUSH.at([xa]), &slots(a, b, 0), None) {
                    self.slow(Routine::ListFloatPush, before);
                }
            }
            Op::ListFloatAppend => {
                let xa = self.float(c);
                let before = self.regs;
                self.free_dead();
                if self.asm.emit(f::LIST_FLOAT_APPEND.at([xa]), &slots(a, c, b), None) {
                    self.slow(Routine::ListFloatAppend, before);
                }
            }
            Op::ListBoolNew => self.routine(Routine::ListBoolNew),
            Op::ListBoolGet => self.get_int(f::LIST_BOOL_GET, None),
            Op::ListBoolGetRel => self.get_int(f::LIST_BOOL_GET, Some(f::LIST_BOOL_GET_END)),
            Op::ListBoolSet => self.set_int(f::LIST_BOOL_SET, None),
            Op::ListBoolSetRel => self.set_int(f::LIST_BOOL_SET, Some(f::LIST_BOOL_SET_END)),
            Op::ListBoolPush => self.push_int(f::LIST_BOOL_PUSH, Routine::ListBoolPush),
            Op::ListBoolAppend => self.append_int(f::LIST_BOOL_APPEND, Routine::ListBoolAppend),
            Op::ListCellNew => self.routine(Routine::ListCellNew),
            Op::ListCellGet => self.get_cell(None),
            Op::ListCellGetRel => self.get_cell(Some(f::LIST_CELL_GET_END)),
            Op::ListCellSet => self.set_cell(Routine::ListCellSet),
            Op::ListCellSetRel => self.set_cell(Routine::ListCellSetRel),
            Op::ListCellPush => {
                self.plain(f::LIST_CELL_PUSH.at([]), &slots(a, b, 0), Some(Routine::ListCellPush));
            }
            Op::ListCellAppend => {
                self.plain(f::LIST_CELL_APPEND.at([]), &slots(a, b, c), Some(Routine::ListCellAppend));
            }

            Op::MapNew => self.routine(Routine::MapNew),
            Op::MapLen => {
                self.d(
                    f::FIELD_U32_GET,
                    i32::from(b) * 8,
                    std::mem::offset_of!(upshift_runtime::object::MapObject, len) as i32,
                );
            }
            Op::MapKeys => self.routine(Routine::MapKeys),
            Op::MapValues => self.routine(Routine::MapValues),
            Op::MapIntGet => self.map_int(f::MAP_INT_GET, (a, b, c), Routine::MapIntGet),
            Op::MapIntHas => {
                let ic = self.int(c);
                let before = self.regs;
                self.regs_without(a);
                if self.asm.emit(f::MAP_INT_HAS.at([ic]), &slots(a, b, c), None) {
                    self.slow(Routine::MapIntHas, before);
                }
                self.free_dead();
                self.written(a);
            }
            Op::MapIntSet => self.map_int(f::MAP_INT_SET, (c, a, b), Routine::MapIntSet),
            Op::MapIntRemove => self.routine(Routine::MapIntRemove),
            Op::MapStringGet => {
                self.plain(f::MAP_STRING_GET.at([]), &slots(a, b, c), Some(Routine::MapStringGet))
            }
            Op::MapStringHas => self.routine(Routine::MapStringHas),
            Op::MapStringSet => {
                self.plain(f::MAP_STRING_SET.at([]), &slots(c, a, b), Some(Routine::MapStringSet))
            }
            Op::MapStringRemove => self.routine(Routine::MapStringRemove),
            Op::MapCellGet => self.calling(Routine::MapCellGet, 2, resume),
            Op::MapCellHas => self.calling(Routine::MapCellHas, 2, resume),
            Op::MapCellSet => self.calling(Routine::MapCellSet, 2, resume),
            Op::MapCellRemove => self.calling(Routine::MapCellRemove, 2, resume),

            Op::RecordNew => match self.input.facts.shape(self.wide()) {
                Some((cells, raws, tag)) => {
                    let header = u64::from(ObjectKind::Record as u8)
                        | u64::from(tag) << 16
                        | u64::from(self.wide()) << 32;
                    self.allocate(header, cells, raws, Routine::RecordNew);
                }
                None => self.routine(Routine::RecordNew),
            },
            Op::RecordIntGet => self.d(f::FIELD_INT_GET, i32::from(b) * 8, field(c)),
            Op::RecordFloatGet => self.e(f::FIELD_FLOAT_GET, i32::from(b) * 8, field(c)),
            Op::RecordCellGet => self.field_get(a, b, field(c)),
            Op::RecordIntSet => self.field_set_int(a, c, field(b)),
            Op::RecordFloatSet => self.field_set_float(a, c, field(b)),
            Op::RecordCellSet => self.field_set(a, c, field(b), Routine::RecordCellSet),
            Op::RecordCopy => self.routine(Routine::RecordCopy),
            Op::RecordTag | Op::TupleBits => {
                self.d(
                    f::FIELD_U16_GET,
                    i32::from(b) * 8,
                    std::mem::offset_of!(upshift_runtime::object::Header, bits) as i32,
                );
            }

            Op::ClosureNew => match self.input.facts.captures(self.wide()) {
                Some(count) => {
                    let header = u64::from(ObjectKind::Closure as u8)
                        | u64::from(count) << 16
                        | u64::from(self.wide()) << 32;
                    self.allocate(header, count, 0, Routine::ClosureNew);
                }
                None => self.routine(Routine::ClosureNew),
            },
            Op::CaptureGet => self.field_get(a, c, Closure::CAPTURES as i32 + i32::from(b) * 8),
            Op::RefIntNew | Op::RefFloatNew => {
                let kind = if op == Op::RefIntNew { ObjectKind::RefInt } else { ObjectKind::RefFloat };
                self.sync(b);
                let before = self.regs;
                let values = Values { q: u64::from(kind as u8), ..slots(a, b, 0) };
                if self.asm.emit(f::ALLOCATE.at([1, 0]), &values, None) {
                    self.slow(Routine::RefRawNew, before);
                }
            }
            Op::RefIntGet => self.d(f::FIELD_INT_GET, i32::from(b) * 8, CONTENT),
            Op::RefFloatGet => self.e(f::FIELD_FLOAT_GET, i32::from(b) * 8, CONTENT),
            Op::RefCellGet => self.field_get(a, b, CONTENT),
            Op::RefIntSet => self.field_set_int(a, b, CONTENT),
            Op::RefFloatSet => self.field_set_float(a, b, CONTENT),
            Op::RefCellNew => self.routine(Routine::RefCellNew),
            Op::RefCellSet => self.field_set(a, b, CONTENT, Routine::RefCellSet),

            Op::GlobalIntGet => self.d(f::GLOBAL_INT_GET, 0, Self::times8(self.wide()).ok_or(TooLarge)?),
            Op::GlobalFloatGet => self.e(f::GLOBAL_FLOAT_GET, 0, Self::times8(self.wide()).ok_or(TooLarge)?),
            Op::GlobalIntSet => {
                let offset = Self::times8(self.wide()).ok_or(TooLarge)?;
                let ia = self.int(a);
                let values = Values { s: [0, i32::from(a) * 8, offset, 0, 0, 0], ..Values::default() };
                self.asm.plain(f::GLOBAL_INT_SET.at([ia]), &values);
                self.free_dead();
            }
            Op::GlobalFloatSet => {
                let offset = Self::times8(self.wide()).ok_or(TooLarge)?;
                let xa = self.float(a);
                let values = Values { s: [0, i32::from(a) * 8, offset, 0, 0, 0], ..Values::default() };
                self.asm.plain(f::GLOBAL_FLOAT_SET.at([xa]), &values);
                self.free_dead();
            }
            Op::GlobalCellSet => {
                let offset = Self::times8(self.wide()).ok_or(TooLarge)?;
                let values = Values { s: [0, i32::from(a) * 8, offset, 0, 0, 0], ..Values::default() };
                self.asm.plain(f::GLOBAL_INT_SET.at([0]), &values);
            }
            Op::GlobalCellGet => {
                let offset = Self::times8(self.wide()).ok_or(TooLarge)?;
                let values = Values { s: [i32::from(a) * 8, 0, offset, 0, 0, 0], ..Values::default() };
                self.plain(f::GLOBAL_CELL_GET.at([]), &values, None);
            }

            Op::TupleNew => self.routine(Routine::TupleNew),
            Op::TupleLen => {
                self.d(
                    f::FIELD_U32_GET,
                    i32::from(b) * 8,
                    std::mem::offset_of!(upshift_runtime::object::Tuple, len) as i32,
                );
            }
            Op::TupleGet => {
                let ic = self.int(c);
                let before = self.regs;
                if self.asm.emit(f::TUPLE_GET.at([ic]), &slots(a, b, c), None) {
                    self.exit_job(before);
                }
                self.free_dead();
            }
            Op::TupleSet => self.routine(Routine::TupleSet),
            Op::TupleSetBits => {
                let values = Values { s: [i32::from(a) * 8, 0, i32::from(b), 0, 0, 0], ..Values::default() };
                self.asm.plain(f::TUPLE_SET_BITS.at([]), &values);
            }
            Op::TrailMark => self.routine(Routine::TrailMark),
            Op::TrailUndo => self.routine(Routine::TrailUndo),
            Op::RefCellSetTrailed => self.routine(Routine::RefCellSetTrailed),
            Op::RecordCellSetTrailed => self.routine(Routine::RecordCellSetTrailed),
            Op::TupleSetTrailed => self.routine(Routine::TupleSetTrailed),
        }
        debug_assert!(
            !op.effects().has(Effects::END) || self.dead || op == Op::Jump,
            "{op:?} ends its block"
        );
        Ok(())
    }

    /// The literal that the instruction names.
    fn literal(&self) -> u64 {
        self.input.code.get(self.at as usize + self.wide() as usize).map_or(0, |w| w.0)
    }

    /// A checked op whose overflow is a branch.
    fn or_jump(&mut self, family: Family<3>) {
        let (d, a, b) = (self.a(), self.b(), self.c());
        let word = self.target(i64::from(self.second().low() as i32));
        self.write_exposed();
        let (ia, ib) = (self.int(a), self.int(b));
        let from = self.regs;
        let to = self.entry_state(word);
        self.free_dead();
        let reg = self.def_int(d);
        // What was evicted for the destination is in memory, and clean.
        if self.asm.emit(family.at([reg, ia, ib]), &slots(0, a, b), None) {
            self.asm.jobs.push(Cold::Edge { from, to, target: Label::Word(word) });
        }
        self.defined(d, reg);
    }

    fn switch(&mut self, routine: Routine) {
        self.way.0 |= Way::ROUTINE.0;
        self.flush();
        let values = Values { u: [self.pc(), routine as u32 * 8], ..Values::default() };
        self.asm.plain(f::ROUTINE_LEAVE.at([]), &values);
        self.dead = true;
    }

    fn leave_to_interpreter(&mut self) {
        self.way.0 |= Way::EXIT.0;
        self.flush();
        let values = Values { u: [self.pc(), 0], ..Values::default() };
        self.asm.plain(f::SIDE_EXIT.at([]), &values);
        self.dead = true;
    }

    /// A routine that gives the frame to another function.
    fn tail(&mut self, routine: Routine) {
        self.way.0 |= Way::ROUTINE.0;
        self.flush();
        let values = Values { u: [self.pc(), routine as u32 * 8], ..Values::default() };
        self.asm.plain(f::ROUTINE_TAIL.at([]), &values);
        self.dead = true;
    }

    /// A routine that may push a frame, whose return continues behind the instruction.
    fn calling(&mut self, routine: Routine, words: u32, resume: &mut Vec<(u32, u32)>) {
        self.way.0 |= Way::ROUTINE.0;
        self.flush();
        let (stencil, values) = self.pushing(routine);
        self.asm.plain(stencil, &values);
        resume.push((self.at + words, self.asm.here()));
        self.reload();
    }

    /// A dynamic call: of the callee that the site saw first in place, else by the routine.
    fn cell_call(&mut self, resume: &mut Vec<(u32, u32)>) {
        let (dst, callee, arguments) = (self.a(), self.b(), self.c());
        let Some(site) = self.feedback(self.second().wide()).filter(|_| arguments <= 3) else {
            self.calling(Routine::CellCall, 2, resume);
            return;
        };
        self.flush();
        let back = (self.at + 2) * 8;
        let size = self.window as i32 * 8;
        let values = Values {
            s: [i32::from(callee) * 8, size, i32::from(dst) * 8, back as i32, site, 0],
            u: [u32::from(arguments) + 1, 0],
            ..Values::default()
        };
        if self.asm.emit(f::CELL_CALL.at([usize::from(arguments)]), &values, None) {
            self.slow(Routine::CellCall, EMPTY);
        }
        resume.push((self.at + 2, self.asm.here()));
        self.reload();
    }

    /// The stencil that runs such a routine, with its values. The result of a frame goes to the first operand, if that is a
    /// destination.
    fn pushing(&self, routine: Routine) -> (Stencil, Values) {
        let op = op_at(self.input.code, self.at as usize);
        let first = op.info().operands.first().and_then(|o| o.kind.register());
        let stencil = match first {
            Some((Role::Def, ..)) => f::ROUTINE_CALL.at([]),
            _ => f::ROUTINE_CALL_VOID.at([]),
        };
        let values = Values {
            s: [i32::from(self.a()) * 8, self.window as i32 * 8, 0, 0, 0, 0],
            u: [self.pc(), routine as u32 * 8],
            ..Values::default()
        };
        (stencil, values)
    }

    fn arithmetic(
        &mut self,
        plain: Family<0>,
        promoting: Family<0>,
        routine: Routine,
        resume: &mut Vec<(u32, u32)>,
    ) {
        let policy = self.second().op();
        // A sum that wraps at 32 bits is the routine's.
        if policy & NumberPolicy::WRAP32.0 != 0 {
            self.calling(routine, 2, resume);
            return;
        }
        let promotes = policy & NumberPolicy::PROMOTE.0 != 0;
        self.dynamic(if promotes { promoting } else { plain }, routine, false, resume);
    }

    fn comparison(
        &mut self,
        plain: Family<0>,
        promoting: Family<0>,
        routine: Routine,
        resume: &mut Vec<(u32, u32)>,
    ) {
        let promotes = self.second().op() & NumberPolicy::PROMOTE.0 != 0;
        self.dynamic(if promotes { promoting } else { plain }, routine, true, resume);
    }

    fn equality(
        &mut self,
        plain: Family<0>,
        kinds: Family<0>,
        routine: Routine,
        resume: &mut Vec<(u32, u32)>,
    ) {
        let differ = self.second().op() & NumberPolicy::KINDS_DIFFER.0 != 0;
        self.dynamic(if differ { kinds } else { plain }, routine, true, resume);
    }

    /// A dynamic op with a fast path on slots. The routine behind it may push a frame, so there is an entry behind the
    /// instruction. The result of a comparison is an int in memory.
    fn dynamic(&mut self, fast: Family<0>, routine: Routine, int_result: bool, resume: &mut Vec<(u32, u32)>) {
        let Some(site) = self.feedback(self.second().wide()) else {
            self.calling(routine, 2, resume);
            return;
        };
        let (d, a, b) = (self.a(), self.b(), self.c());
        let mut values = slots(d, a, b);
        values.s[4] = site;
        let before = self.regs;
        if int_result {
            self.regs_without(d);
        }
        if self.asm.emit(fast.at([]), &values, None) {
            self.slow(routine, before);
        }
        if int_result {
            self.written(d);
        }
        let (word, to) = (self.at + 2, self.regs);
        let target = Label::At(self.asm.here());
        self.asm.jobs.push(Cold::Resume { word, to, target });
    }

    fn truth(&mut self, family: Family<0>, routine: Routine) {
        let (a, mask, distance) = (self.a(), TruthMask(self.b()), i64::from(self.c() as i16));
        if mask.has(TruthMask::FALSE) {
            self.branch_plain(family.at([]), &slots(0, a, 0), distance, Some(routine));
        } else {
            self.branch_plain(f::ALWAYS_COLD.at([]), &slots(0, a, 0), distance, Some(routine));
        }
    }

    fn string_equal(&mut self, family: Family<0>, routine: Routine) {
        let (d, a, b) = (self.a(), self.b(), self.c());
        let before = self.regs;
        self.regs_without(d);
        if self.asm.emit(family.at([]), &slots(d, a, b), None) {
            self.slow(routine, before);
        }
        self.written(d);
    }

    fn map_int(&mut self, family: Family<1>, (cell, map, key): (u16, u16, u16), routine: Routine) {
        let ik = self.int(key);
        let before = self.regs;
        if self.asm.emit(family.at([ik]), &slots(cell, map, key), None) {
            self.slow(routine, before);
        }
        self.free_dead();
    }

    fn string_get(&mut self, routine: Routine) {
        let (d, s, i) = (self.a(), self.b(), self.c());
        let ii = self.int(i);
        let before = self.regs;
        if self.asm.emit(f::STRING_GET.at([ii]), &slots(d, s, i), None) {
            self.slow(routine, before);
        }
        self.free_dead();
    }

    /// A small object whose fields stand in the window.
    fn allocate(&mut self, header: u64, cells: u32, raws: u32, routine: Routine) {
        if cells > 4 || raws > 4 {
            self.routine(routine);
            return;
        }
        let window = self.window as i32 * 8;
        let values = Values {
            s: [i32::from(self.a()) * 8, window + (raws as i32 + 2) * 8, window, 0, 0, 0],
            q: header,
            ..Values::default()
        };
        let before = self.regs;
        if self.asm.emit(f::ALLOCATE.at([cells as usize, raws as usize]), &values, None) {
            self.slow(routine, before);
        }
    }

    // ---- Lists ----

    /// The job of an access that was out of range: from the end, where negative positions count from there.
    fn range_job(&mut self, end: Option<Stencil>, values: Values, before: Regs) {
        match end {
            None => self.exit_job(before),
            Some(stencil) => {
                let back = self.asm.here();
                let exit = self.asm.jobs.len() as u32 + 1;
                self.asm.jobs.push(Cold::Companion { stencil, values, back, exit });
                self.exit_job(before);
            }
        }
    }

    fn get_int(&mut self, family: Family<2>, end: Option<Family<2>>) {
        let (d, l, i) = (self.a(), self.b(), self.c());
        let ii = self.int(i);
        let before = self.regs;
        self.free_dead();
        let reg = self.def_int(d);
        let values = slots(0, l, i);
        if self.asm.emit(family.at([reg, ii]), &values, None) {
            self.range_job(end.map(|f| f.at([reg, ii])), values, before);
        }
        self.defined(d, reg);
    }

    fn get_float(&mut self, end: Option<Family<2>>) {
        let (d, l, i) = (self.a(), self.b(), self.c());
        let ii = self.int(i);
        let before = self.regs;
        self.free_dead();
        let reg = self.def_float(d);
        let values = slots(0, l, i);
        if self.asm.emit(f::LIST_FLOAT_GET.at([reg, ii]), &values, None) {
            self.range_job(end.map(|f| f.at([reg, ii])), values, before);
        }
        self.defined(d, reg + INTS);
    }

    fn get_cell(&mut self, end: Option<Family<1>>) {
        let (d, l, i) = (self.a(), self.b(), self.c());
        let ii = self.int(i);
        let before = self.regs;
        let values = slots(d, l, i);
        if self.asm.emit(f::LIST_CELL_GET.at([ii]), &values, None) {
            self.range_job(end.map(|f| f.at([ii])), values, before);
        }
        self.free_dead();
    }

    fn set_int(&mut self, family: Family<2>, end: Option<Family<2>>) {
        let (l, i, v) = (self.a(), self.b(), self.c());
        let (ii, iv) = (self.int(i), self.int(v));
        let before = self.regs;
        let values = slots(l, i, v);
        if self.asm.emit(family.at([ii, iv]), &values, None) {
            self.range_job(end.map(|f| f.at([ii, iv])), values, before);
        }
        self.free_dead();
    }

    fn set_float(&mut self, end: Option<Family<2>>) {
        let (l, i, v) = (self.a(), self.b(), self.c());
        let (ii, xv) = (self.int(i), self.float(v));
        let before = self.regs;
        let values = slots(l, i, v);
        if self.asm.emit(f::LIST_FLOAT_SET.at([ii, xv]), &values, None) {
            self.range_job(end.map(|f| f.at([ii, xv])), values, before);
        }
        self.free_dead();
    }

    fn set_cell(&mut self, routine: Routine) {
        let (l, i, v) = (self.a(), self.b(), self.c());
        let ii = self.int(i);
        let before = self.regs;
        if self.asm.emit(f::LIST_CELL_SET.at([ii]), &slots(l, i, v), None) {
            self.slow(routine, before);
        }
        self.free_dead();
    }

    fn push_int(&mut self, family: Family<1>, routine: Routine) {
        let (l, v) = (self.a(), self.b());
        let iv = self.int(v);
        let before = self.regs;
        if self.asm.emit(family.at([iv]), &slots(l, v, 0), None) {
            self.slow(routine, before);
        }
        self.free_dead();
    }

    fn append_int(&mut self, family: Family<1>, routine: Routine) {
        let (d, l, v) = (self.a(), self.b(), self.c());
        let iv = self.int(v);
        let before = self.regs;
        if self.asm.emit(family.at([iv]), &slots(d, v, l), None) {
            self.slow(routine, before);
        }
        self.free_dead();
    }

    // ---- Fields ----

    /// The holes of a test of a type and which of the families it is; `None` where the routine tells it.
    fn told(&self) -> Option<(i32, i32, Family<0>, Family<1>)> {
        let Test { nullable, what } = self.input.facts.test(self.second().low())?;
        let hole = |n: u32| i32::try_from(n).ok();
        let (one, more, cast, test) = match what {
            Told::Kind(kind) => {
                (kind as i32, 0, [f::CAST_KIND, f::CAST_KIND_N], [f::TEST_KIND, f::TEST_KIND_N])
            }
            Told::Shapes(shapes) => {
                let (first, last) = (*shapes.first()?, *shapes.last()?);
                // Those of a union stand one behind the other, if no other union has some of them.
                if (last - first) as usize != shapes.len() - 1 {
                    return None;
                }
                let tests = [f::TEST_SHAPES, f::TEST_SHAPES_N];
                (hole(first)?, hole(last - first)?, [f::CAST_SHAPES, f::CAST_SHAPES_N], tests)
            }
            Told::String => (0, 0, [f::CAST_STRING, f::CAST_STRING_N], [f::TEST_STRING, f::TEST_STRING_N]),
            Told::Elements(code) => {
                let tests = [f::TEST_ELEMENTS, f::TEST_ELEMENTS_N];
                (hole(code)?, 0, [f::CAST_ELEMENTS, f::CAST_ELEMENTS_N], tests)
            }
            Told::Int => (0, 0, [f::CAST_INT, f::CAST_INT_N], [f::TEST_INT, f::TEST_INT_N]),
            Told::Float => (0, 0, [f::CAST_FLOAT, f::CAST_FLOAT_N], [f::TEST_FLOAT, f::TEST_FLOAT_N]),
            Told::Bool => (0, 0, [f::CAST_BOOL, f::CAST_BOOL_N], [f::TEST_BOOL, f::TEST_BOOL_N]),
        };
        let nullable = usize::from(nullable);
        Some((one, more, cast[nullable], test[nullable]))
    }

    fn cell_test(&mut self) {
        let Some((one, more, _, test)) = self.told() else {
            self.routine(Routine::CellTest);
            return;
        };
        let (d, a) = (self.a(), self.b());
        let before = self.regs;
        let reg = self.def_int(d);
        let values = Values { s: [0, i32::from(a) * 8, one, more, 0, 0], ..Values::default() };
        if self.asm.emit(test.at([reg]), &values, None) {
            self.slow(Routine::CellTest, before);
        }
        self.defined(d, reg);
    }

    fn cell_cast(&mut self) {
        let (source, code) = (self.b(), self.second().low());
        let (one, more, cast) = if self.input.meta.holds_or_nil(source.into(), code) {
            (0, 0, f::CAST_PRESENT)
        } else if let Some((one, more, cast, _)) = self.told() {
            (one, more, cast)
        } else {
            self.routine(Routine::CellCast);
            return;
        };
        let values = Values {
            s: [i32::from(self.a()) * 8, i32::from(source) * 8, one, more, 0, 0],
            ..Values::default()
        };
        self.plain(cast.at([]), &values, Some(Routine::CellCast));
    }

    fn field_get(&mut self, dst: u16, object: u16, offset: i32) {
        let values =
            Values { s: [i32::from(dst) * 8, i32::from(object) * 8, offset, 0, 0, 0], ..Values::default() };
        self.asm.plain(f::FIELD_CELL_GET.at([]), &values);
    }

    fn field_set(&mut self, object: u16, value: u16, offset: i32, routine: Routine) {
        let values =
            Values { s: [i32::from(object) * 8, i32::from(value) * 8, offset, 0, 0, 0], ..Values::default() };
        self.plain(f::FIELD_CELL_SET.at([]), &values, Some(routine));
    }

    fn field_set_int(&mut self, object: u16, value: u16, offset: i32) {
        let iv = self.int(value);
        let values =
            Values { s: [i32::from(object) * 8, i32::from(value) * 8, offset, 0, 0, 0], ..Values::default() };
        self.asm.plain(f::FIELD_INT_SET.at([iv]), &values);
        self.free_dead();
    }

    fn field_set_float(&mut self, object: u16, value: u16, offset: i32) {
        let xv = self.float(value);
        let values =
            Values { s: [i32::from(object) * 8, i32::from(value) * 8, offset, 0, 0, 0], ..Values::default() };
        self.asm.plain(f::FIELD_FLOAT_SET.at([xv]), &values);
        self.free_dead();
    }
}

/// Where a record's field stands.
fn field(slot: u16) -> i32 {
    Record::FIELDS as i32 + i32::from(slot) * 8
}

/// Where the content of a box stands.
const CONTENT: i32 = std::mem::offset_of!(Ref, content) as i32;
