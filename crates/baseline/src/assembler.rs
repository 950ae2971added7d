//! Copying stencils, filling holes, labels, and the cold part of a function.
//!
//! The hot part grows from the front; what is cold (slow paths, exits, edges of branches that need code) is queued as
//! [`Cold`] jobs and emitted behind the hot part when that is complete. Behind both stands the tail: thunks and literals.

use upshift_runtime::routine::Routine;

use crate::regs::Regs;
use crate::table::{HoleKind, Stencil, family};

/// A stub of the code memory that functions jump to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stub {
    /// Gives the native stack up and returns to Rust, with a status.
    Leave,
    /// Calls a routine.
    Routine,
    /// Leaves to the interpreter at an instruction.
    Exit,
    /// A return with flags.
    Return,
}

/// How an instruction was compiled: a set of flags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Way(pub u8);

impl Way {
    /// A stencil does it, or nothing has to be done.
    pub const STENCIL: Way = Way(0);
    /// A routine does it.
    pub const ROUTINE: Way = Way(1);
    /// Where the stencil's fast path does not apply, a routine does it.
    pub const SLOW: Way = Way(2);
    /// Where the stencil does not apply, the interpreter goes on at the instruction.
    pub const EXIT: Way = Way(4);

    /// In words.
    pub fn text(self) -> String {
        let fast = if self.0 & Way::ROUTINE.0 != 0 { "routine" } else { "stencil" };
        let slow = if self.0 & Way::SLOW.0 != 0 { ", else routine" } else { "" };
        let exit = if self.0 & Way::EXIT.0 != 0 { ", else interpreter" } else { "" };
        format!("{fast}{slow}{exit}")
    }
}

/// The machine code of one function. Position-independent but for `stubs` and the `literals`.
#[derive(Debug, Default)]
pub struct Machine {
    /// The bytes; the entry is the first.
    pub text: Vec<u8>,
    /// Displacements of 32 bits to fill with the distance from their end to a stub.
    pub stubs: Vec<(u32, Stub)>,
    /// Where the literals begin: data, not code.
    pub data: u32,
    /// Words of 8 bytes to fill with addresses of bytecode: offset in `text`, and distance in bytes from the function's first
    /// word.
    pub literals: Vec<(u32, u32)>,
    /// Where frames can be continued, all registers in memory: word of the bytecode and offset in `text`, sorted by word.
    pub resume: Vec<(u32, u32)>,
    /// Which instruction code belongs to: offset in `text` and word, sorted by offset. Only where asked for.
    pub map: Vec<(u32, u32)>,
    /// How each instruction was compiled, in order. Only where the map was asked for.
    pub ways: Vec<(upshift_bytecode::Op, Way)>,
    /// The end of the hot part.
    pub hot: u32,
    /// The number of instructions.
    pub instructions: u32,
}

/// What the holes of a stencil are filled with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values {
    /// `S0` to `S5`.
    pub s: [i32; 6],
    /// `U0` and `U1`.
    pub u: [u32; 2],
    /// `Q0`.
    pub q: u64,
    /// `B0`.
    pub b: u8,
}

/// The values of slots in bytes.
#[inline(always)]
pub fn slots(dst: u16, a: u16, b: u16) -> Values {
    Values { s: [i32::from(dst) * 8, i32::from(a) * 8, i32::from(b) * 8, 0, 0, 0], ..Values::default() }
}

/// A place in the bytecode that jumps lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// The instruction at a word, in the state that its block begins with.
    Word(u32),
    /// Behind the header of a loop, by the header's word.
    Behind(u32),
    /// A position in the text.
    At(u32),
    /// The code of a cold job.
    Job(u32),
}

/// Code for the cold part.
#[derive(Clone, Debug)]
pub enum Cold {
    /// To the interpreter, at the instruction with this distance in bytes.
    Exit { pc: u32, regs: Regs },
    /// A routine in place of the fast path, then on.
    Routine { stencil: Stencil, values: Values, before: Regs, after: Regs, back: u32 },
    /// A routine in place of the fast path of a branch, which says whether it is taken.
    Branch { values: Values, regs: Regs, back: u32, taken: Label },
    /// The budget is used up: refilled, then on at a label, whose state `after` is.
    Budget { pc: u32, before: Regs, after: Regs, back: Label },
    /// Another stencil in place of the fast path; where that does not apply either, to the interpreter.
    Companion { stencil: Stencil, values: Values, back: u32, exit: u32 },
    /// A branch between states.
    Edge { from: Regs, to: Regs, target: Label },
    /// Entry from outside, all registers in memory.
    Resume { word: u32, to: Regs, target: Label },
}

#[derive(Clone, Copy, Debug)]
enum TailPart {
    Thunk,
    Exit,
    Return,
    Code,
    /// The header of a call's frame, with the return pc's distance.
    Call,
    /// Its second word.
    CallLink,
}

/// The emitter.
#[derive(Debug)]
pub struct Assembler {
    /// What was emitted.
    pub text: Vec<u8>,
    /// The queue of cold jobs.
    pub jobs: Vec<Cold>,
    job_places: Vec<u32>,
    /// Positions of displacements, with where they lead.
    fixups: Vec<(u32, Label)>,
    tail: Vec<(u32, TailPart, i32)>,
    stubs: Vec<(u32, Stub)>,
    /// Cold parts of stencils: stencil, where its hot part starts, values, the cold job, where a branch leads, and the
    /// displacements that lead to it.
    parts: Vec<Part>,
    /// Positions of words.
    pub words: Vec<u32>,
    /// Positions behind loop headers, by the header's word.
    pub behind: Vec<u32>,
}

#[derive(Debug)]
struct Part {
    stencil: Stencil,
    start: u32,
    values: Values,
    job: u32,
    taken: Option<Label>,
    jumps: Vec<(u32, u32)>,
}

impl Machine {
    /// The code from `at` on, which is the end, belongs to the instruction that the code at `from` does.
    fn continues(&mut self, from: u32, at: u32) {
        let row = self.map.partition_point(|r| r.0 <= from).checked_sub(1);
        if let Some(&(_, word)) = row.and_then(|row| self.map.get(row)) {
            self.map.push((at, word));
        }
    }
}

/// A position that was not reached yet.
pub const UNSET: u32 = u32::MAX;

impl Assembler {
    /// Without anything yet.
    pub fn new() -> Assembler {
        Assembler {
            text: Vec::new(),
            jobs: Vec::new(),
            job_places: Vec::new(),
            fixups: Vec::new(),
            tail: Vec::new(),
            stubs: Vec::new(),
            parts: Vec::new(),
            words: Vec::new(),
            behind: Vec::new(),
        }
    }

    /// Begins a function of so many words. Memory of the last one is used again.
    pub fn reset(&mut self, words: usize) {
        self.text.clear();
        self.jobs.clear();
        self.job_places.clear();
        self.fixups.clear();
        self.tail.clear();
        self.stubs.clear();
        self.parts.clear();
        for places in [&mut self.words, &mut self.behind] {
            places.clear();
            places.resize(words + 1, UNSET);
        }
    }

    /// Takes the memory of code that was placed for the next function.
    pub fn recycle(&mut self, machine: Machine) {
        self.text = machine.text;
        self.stubs = machine.stubs;
    }

    /// Where the next byte goes.
    #[inline(always)]
    pub fn here(&self) -> u32 {
        self.text.len() as u32
    }

    #[inline(always)]
    fn patch32(&mut self, at: usize, value: u32) {
        if let Some(place) = self.text.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Emits the hot part of a stencil without jumps.
    #[inline(always)]
    pub fn plain(&mut self, stencil: Stencil, values: &Values) {
        self.emit(stencil, values, None);
    }

    /// Emits the hot part of a stencil. Jumps to COLD lead to the next job, those to EXIT_HERE to the one behind it; whether
    /// there were any.
    #[inline]
    pub fn emit(&mut self, stencil: Stencil, values: &Values, taken: Option<Label>) -> bool {
        let start = self.text.len();
        let (chunk, hot, cold) = stencil.chunk();
        if hot <= 32 {
            self.text.extend_from_slice(chunk);
            self.text.truncate(start + hot);
        } else {
            self.text.extend_from_slice(&stencil.code().0[..hot]);
        }
        let job = self.jobs.len() as u32;
        let mut used = false;
        let mut part = None;
        for hole in stencil.holes() {
            if hole.offset >= hot {
                break;
            }
            // Most holes: a comparison is predicted where the match below is not.
            if hole.kind as u16 <= HoleKind::S5 as u16 {
                let value = values.s[hole.kind as usize].wrapping_add(hole.addend);
                self.patch32(start + hole.offset, value as u32);
                continue;
            }
            if hole.kind == HoleKind::ColdPart {
                let i = *part.get_or_insert_with(|| {
                    self.parts.push(Part {
                        stencil,
                        start: start as u32,
                        values: *values,
                        job,
                        taken,
                        jumps: Vec::new(),
                    });
                    self.parts.len() - 1
                });
                self.parts[i].jumps.push(((start + hole.offset) as u32, hole.addend as u32));
                // The cold part has the way to the cold job.
                used = true;
                continue;
            }
            used |= self.fill(hole.kind, start + hole.offset, hole.addend, values, job, taken);
        }
        debug_assert!(cold == 0 || part.is_some(), "a cold part that nothing leads to");
        used
    }

    /// Fills a hole; whether it leads to the cold job.
    #[inline(always)]
    fn fill(
        &mut self,
        kind: HoleKind,
        at: usize,
        addend: i32,
        values: &Values,
        job: u32,
        taken: Option<Label>,
    ) -> bool {
        let position = at as u32;
        match kind {
            HoleKind::S0 | HoleKind::S1 | HoleKind::S2 | HoleKind::S3 | HoleKind::S4 | HoleKind::S5 => {
                let value = values.s[kind as usize].wrapping_add(addend);
                self.patch32(at, value as u32);
            }
            HoleKind::U0 | HoleKind::U1 => {
                let value = values.u[kind as usize - HoleKind::U0 as usize].wrapping_add(addend as u32);
                self.patch32(at, value);
            }
            HoleKind::Q0 => {
                if let Some(place) = self.text.get_mut(at..at + 8) {
                    place.copy_from_slice(&values.q.wrapping_add(i64::from(addend) as u64).to_le_bytes());
                }
            }
            HoleKind::B0 => self.text[at] = values.b,
            HoleKind::Taken => {
                debug_assert!(taken.is_some(), "a branch needs a target");
                if let Some(label) = taken {
                    self.fixups.push((position, label));
                }
            }
            HoleKind::Cold => {
                self.fixups.push((position, Label::Job(job)));
                return true;
            }
            HoleKind::ReturnCold => self.tail.push((position, TailPart::Return, 0)),
            HoleKind::ExitHere => {
                self.fixups.push((position, Label::Job(job + 1)));
                return true;
            }
            HoleKind::Thunk => self.tail.push((position, TailPart::Thunk, 0)),
            HoleKind::Exit => self.tail.push((position, TailPart::Exit, 0)),
            HoleKind::ReturnThunk => self.tail.push((position, TailPart::Return, 0)),
            HoleKind::LitCode => self.tail.push((position, TailPart::Code, addend)),
            HoleKind::LitCall if addend == 0 => self.tail.push((position, TailPart::Call, values.s[3])),
            // The second word of the same literal.
            HoleKind::LitCall => self.tail.push((position, TailPart::CallLink, addend)),
            HoleKind::StubLeave => self.stubs.push((position, Stub::Leave)),
            HoleKind::StubRoutine => self.stubs.push((position, Stub::Routine)),
            HoleKind::StubExit => self.stubs.push((position, Stub::Exit)),
            HoleKind::StubReturn => self.stubs.push((position, Stub::Return)),
            // Inside stencils only; `parts` handles these.
            HoleKind::Cont | HoleKind::HotPart | HoleKind::ColdPart => {
                debug_assert!(false, "a hole of the hot part that is none")
            }
        }
        false
    }

    /// A jump.
    pub fn jump(&mut self, label: Label) {
        self.emit(family::JUMP.at([]), &Values::default(), Some(label));
    }

    /// Takes the references to [`UNSET`] out, which the instruction made last.
    pub fn take_unset(&mut self) -> Vec<u32> {
        let mut found = Vec::new();
        while let Some(&(at, Label::At(UNSET))) = self.fixups.last() {
            found.push(at);
            self.fixups.pop();
        }
        found
    }

    /// Behind the jump to the next job, which the last stencil has.
    pub fn job_reference(&self) -> u32 {
        let job = Label::Job(self.jobs.len() as u32);
        self.fixups.iter().rev().find(|f| f.1 == job).map_or(UNSET, |f| f.0 + 4)
    }

    /// Adds a reference to a label at a displacement.
    pub fn refer(&mut self, at: u32, label: Label) {
        self.fixups.push((at, label));
    }

    /// Reads a register from its slot.
    pub fn load(&mut self, reg: usize, slot: u16) {
        use crate::regs::INTS;
        if reg < INTS {
            self.plain(family::LOAD_INT.at([reg]), &slots(slot, 0, 0));
        } else {
            self.plain(family::LOAD_FLOAT.at([reg - INTS]), &slots(slot, 0, 0));
        }
    }

    /// Writes a register to its slot.
    pub fn store(&mut self, reg: usize, slot: u16) {
        use crate::regs::INTS;
        if reg < INTS {
            self.plain(family::STORE_INT.at([reg]), &slots(slot, 0, 0));
        } else {
            self.plain(family::STORE_FLOAT.at([reg - INTS]), &slots(slot, 0, 0));
        }
    }

    /// Writes all dirty registers to their slots.
    pub fn store_all(&mut self, regs: &Regs) {
        for reg in regs.dirty_regs() {
            self.store(reg, regs.slot[reg]);
        }
    }

    /// Loads all registers from their slots.
    pub fn load_all(&mut self, regs: &Regs) {
        for (reg, &slot) in regs.slot.iter().enumerate() {
            if slot != crate::regs::FREE {
                self.load(reg, slot);
            }
        }
    }

    /// Code that takes one state to another where a block begins. Values that pass no block are forgotten.
    pub fn transition(&mut self, from: &Regs, to: &Regs, exposed: &[bool]) {
        if from == to {
            return;
        }
        for reg in from.dirty_regs() {
            let slot = from.slot[reg];
            let stays = to.slot[reg] == slot && to.is_dirty(reg);
            if !stays && exposed.get(usize::from(slot)).copied().unwrap_or(true) {
                self.store(reg, slot);
            }
        }
        for (reg, &slot) in to.slot.iter().enumerate() {
            if slot != crate::regs::FREE && from.slot[reg] != slot {
                self.load(reg, slot);
            }
        }
    }

    /// Emits the cold parts of stencils, then the jobs, then the tail, and resolves all labels.
    pub fn finish(
        &mut self,
        index: u32,
        link: u64,
        exposed: &[bool],
        map: Option<Vec<(u32, u32)>>,
    ) -> Machine {
        let hot = self.here();
        let parts = std::mem::take(&mut self.parts);
        let mut machine = Machine { hot, map: map.unwrap_or_default(), ..Machine::default() };
        for part in &parts {
            machine.continues(part.start, self.here());
            self.cold_part(part);
        }
        let mut i = 0;
        // Jobs may add further jobs' references, but no jobs.
        while i < self.jobs.len() {
            let job = self.jobs[i].clone();
            let here = self.here();
            self.job_places.push(here);
            // All that leads there is of one instruction.
            if !machine.map.is_empty()
                && let Some(from) = self.fixups.iter().find(|f| f.1 == Label::Job(i as u32)).map(|f| f.0)
            {
                machine.continues(from, here);
            }
            self.job(&job, exposed, &mut machine);
            i += 1;
        }
        let number =
            Values { u: [index << upshift_runtime::frame::FunctionEntry::SHIFT, 0], ..Values::default() };
        let mut places = [UNSET; 6];
        for (part, stencil) in [
            (TailPart::Thunk, family::THUNK.at([])),
            (TailPart::Exit, family::EXIT_THUNK.at([])),
            (TailPart::Return, family::RETURN_THUNK.at([])),
        ] {
            if self.tail.iter().any(|t| t.1 as usize == part as usize) {
                places[part as usize] = self.here();
                self.plain(stencil, &number);
            }
        }
        while !self.text.len().is_multiple_of(8) {
            self.text.push(0xCC);
        }
        places[TailPart::Code as usize] = self.here();
        machine.data = self.here();
        machine.literals.push((self.here(), 0));
        self.text.extend_from_slice(&[0; 8]);
        let mut call = UNSET;
        for (at, part, extra) in std::mem::take(&mut self.tail) {
            let place = if let TailPart::Call = part {
                let place = self.here();
                machine.literals.push((place, extra as u32));
                self.text.extend_from_slice(&[0; 8]);
                self.text.extend_from_slice(&link.to_le_bytes());
                call = place;
                place
            } else if let TailPart::CallLink = part {
                call.wrapping_add(extra as u32)
            } else {
                places[part as usize].wrapping_add(extra as u32)
            };
            self.patch32(at as usize, place.wrapping_sub(at + 4));
        }
        for (at, label) in std::mem::take(&mut self.fixups) {
            let target = match label {
                Label::Word(word) => self.words[word as usize],
                Label::Behind(word) => self.behind[word as usize],
                Label::At(position) => position,
                Label::Job(job) => self.job_places[job as usize],
            };
            debug_assert!(target != UNSET, "{label:?} was never reached");
            self.patch32(at as usize, target.wrapping_sub(at + 4));
        }
        machine.resume.sort_unstable();
        machine.resume.dedup_by_key(|r| r.0);
        machine.text = std::mem::take(&mut self.text);
        machine.stubs = std::mem::take(&mut self.stubs);
        machine
    }

    /// The cold part of a stencil, once for each use.
    fn cold_part(&mut self, part: &Part) {
        let (code, hot) = part.stencil.code();
        let start = self.text.len();
        self.text.extend_from_slice(&code[hot..]);
        for hole in part.stencil.holes().filter(|h| h.offset >= hot) {
            let at = start + hole.offset - hot;
            match hole.kind {
                HoleKind::HotPart => self.refer(at as u32, Label::At(part.start + hole.addend as u32)),
                HoleKind::Cont => self.refer(at as u32, Label::At(part.start + hot as u32)),
                kind => {
                    self.fill(kind, at, hole.addend, &part.values, part.job, part.taken);
                }
            }
        }
        for &(at, offset) in &part.jumps {
            self.refer(at, Label::At(start as u32 + offset));
        }
    }

    fn job(&mut self, job: &Cold, exposed: &[bool], machine: &mut Machine) {
        match *job {
            Cold::Exit { pc, ref regs } => {
                self.store_all(regs);
                let values = Values { u: [pc, 0], ..Values::default() };
                self.plain(family::SIDE_EXIT.at([]), &values);
            }
            Cold::Routine { stencil, ref values, ref before, ref after, back } => {
                self.store_all(before);
                self.plain(stencil, values);
                self.load_all(after);
                self.jump(Label::At(back));
            }
            Cold::Branch { ref values, ref regs, back, taken } => {
                // A branch defines nothing, so both ways have the state before it.
                self.store_all(regs);
                self.emit(family::ROUTINE_BRANCH.at([]), values, Some(Label::At(UNSET)));
                let jumps = self.take_unset();
                self.load_all(regs);
                self.jump(Label::At(back));
                let here = self.here();
                for at in jumps {
                    self.refer(at, Label::At(here));
                }
                self.load_all(regs);
                self.jump(taken);
            }
            Cold::Budget { pc, ref before, ref after, back } => {
                self.store_all(before);
                let values = Values { u: [pc, Routine::NativeBudget as u32 * 8], ..Values::default() };
                self.plain(family::ROUTINE.at([]), &values);
                self.load_all(after);
                self.jump(back);
            }
            Cold::Companion { stencil, ref values, back, exit } => {
                let at = self.text.len();
                let (code, hot) = stencil.code();
                self.text.extend_from_slice(&code[..hot]);
                for hole in stencil.holes().filter(|h| h.offset < hot) {
                    self.fill(hole.kind, at + hole.offset, hole.addend, values, exit, None);
                }
                self.jump(Label::At(back));
            }
            Cold::Edge { ref from, ref to, target } => {
                self.transition(from, to, exposed);
                self.jump(target);
            }
            Cold::Resume { word, ref to, target } => {
                machine.resume.push((word, self.here()));
                self.load_all(to);
                self.jump(target);
            }
        }
    }
}
