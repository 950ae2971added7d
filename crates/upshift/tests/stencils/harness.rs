//! Runs one stencil at a time, with known values in all registers and in the memory that it can reach.
//!
//! Code memory holds one shared piece, hand-written but for the stencils that load and store registers: `enter`, called from
//! Rust, loads all registers from the frame, fills the scratch registers with rubbish and jumps to the stencil; the ways out
//! note which one was taken, store all registers and return. Behind the hot part of the stencil stands a jump to the first
//! way out (CONT); the others are TAKEN, COLD, RETURN_COLD, and where a stencil leads that returns.

use std::cell::Cell;
use std::fmt::Write;
use std::sync::Arc;

use upshift::code_memory::{CodeBlock, CodeMemory};
use upshift_baseline::table::{HoleKind, Stencil, family};
use upshift_runtime::layout::LAYOUT;

/// The slots that stencils are given. They stand far from the frame's start, so that a displacement needs more than 16 bits.
pub const SLOTS: usize = 32;
const FIRST_SLOT: usize = 9000;
const FRAME: usize = FIRST_SLOT + SLOTS + 8;
/// Where registers are loaded from and stored to, and what else the ways out note.
const IN: usize = 0;
const OUT: usize = 16;
const EXIT: usize = 32;
const CONTEXT_AFTER: usize = 33;
const FRAME_AFTER: usize = 34;
const BUDGET_AFTER: usize = 35;
const RESULT_AFTER: usize = 36;

/// Words of memory for objects, globals, constants, feedback, watches and the context.
const MEMORY: usize = 88;

/// What the scratch registers hold when a stencil begins.
pub const RUBBISH: u64 = 0xA5A5_5A5A_DEAD_BEEF;

/// The budget when a stencil begins, where no test wants another.
const BUDGET: u64 = 1 << 40;

/// A number of the layout that stencils were compiled for.
pub fn layout(name: &str) -> usize {
    LAYOUT.iter().find(|entry| entry.0 == name).expect("a name of the layout").1 as usize
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// An int register.
    Int(usize),
    /// A float register.
    Float(usize),
    /// A slot of the frame, from 0.
    Slot(usize),
    /// So many bytes of memory, from a byte on; within one word.
    Memory(usize, usize),
    /// The budget.
    Budget,
    /// The result of stencils that return.
    Result,
}

impl Place {
    /// The operand of an int by its index in a family: a slot, or a register from 1.
    pub fn int(index: usize, slot: usize) -> Place {
        if index == 0 { Place::Slot(slot) } else { Place::Int(index - 1) }
    }

    /// The operand of a float by its index in a family.
    pub fn float(index: usize, slot: usize) -> Place {
        if index == 0 { Place::Slot(slot) } else { Place::Float(index - 1) }
    }

    /// A word of memory.
    pub fn word(at: usize) -> Place {
        Place::Memory(at, 8)
    }

    /// A word of the context, by its name in the layout.
    pub fn context(name: &str) -> Place {
        Place::word(CONTEXT + layout(name))
    }
}

/// Everything that a stencil can change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State {
    ints: [u64; 6],
    floats: [u64; 8],
    slots: [u64; SLOTS],
    memory: [u64; MEMORY],
    budget: u64,
    result: u64,
}

impl State {
    /// Puts a value into a place.
    pub fn set(&mut self, place: Place, value: u64) {
        match place {
            Place::Int(r) => self.ints[r] = value,
            Place::Float(r) => self.floats[r] = value,
            Place::Slot(s) => self.slots[s] = value,
            Place::Memory(at, 8) => self.memory[at / 8] = value,
            Place::Memory(at, size) => {
                let (shift, mask) = (at % 8 * 8, (1 << (size * 8)) - 1);
                let word = &mut self.memory[at / 8];
                *word = *word & !(mask << shift) | (value & mask) << shift;
            }
            Place::Budget => self.budget = value,
            Place::Result => self.result = value,
        }
    }

    /// What a place holds.
    pub fn get(&self, place: Place) -> u64 {
        match place {
            Place::Int(r) => self.ints[r],
            Place::Float(r) => self.floats[r],
            Place::Slot(s) => self.slots[s],
            Place::Memory(at, 8) => self.memory[at / 8],
            Place::Memory(at, size) => self.memory[at / 8] >> (at % 8 * 8) & ((1 << (size * 8)) - 1),
            Place::Budget => self.budget,
            Place::Result => self.result,
        }
    }

    /// All places that differ, in words.
    fn difference(&self, got: &State) -> String {
        let mut text = String::new();
        let places = (0..6)
            .map(Place::Int)
            .chain((0..8).map(Place::Float))
            .chain((0..SLOTS).map(Place::Slot))
            .chain((0..MEMORY).map(|w| Place::word(w * 8)))
            .chain([Place::Budget, Place::Result]);
        for place in places {
            let (want, got) = (self.get(place), got.get(place));
            if want != got {
                let _ = write!(text, "\n  {place:?} is {got:#x}, not {want:#x}");
            }
        }
        text
    }
}

/// Where a stencil goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// CONT.
    Next,
    /// TAKEN.
    Taken,
    /// COLD.
    Cold,
    /// RETURN_COLD, with the result.
    SlowReturn,
    /// Back to the caller, with the result.
    Return,
}

impl Exit {
    /// That of a branch.
    pub fn taken(yes: bool) -> Exit {
        if yes { Exit::Taken } else { Exit::Next }
    }
}

/// What a place holds afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bits {
    /// These bits.
    Are(u64),
    /// A float that is no number: which one is the processor's business.
    Nan,
    /// Anything.
    Any,
}

/// What the holes of a stencil are filled with.
#[derive(Clone, Copy, Default)]
pub struct Holes {
    /// `S0` to `S5`.
    pub s: [i32; 6],
    /// `Q0`.
    pub q: u64,
    /// `B0`.
    pub b: u8,
    /// `U0` and `U1`.
    pub u: [u32; 2],
    /// `LIT_CALL`: the two words of a header.
    pub call: [u64; 2],
}

impl Holes {
    /// Slots for `S0`, `S1` and `S2`.
    pub fn slots(slots: [usize; 3]) -> Holes {
        let [a, b, c] = slots.map(displacement);
        Holes { s: [a, b, c, 0, 0, 0], ..Holes::default() }
    }

    /// The same with another value for one of `S0` to `S5`.
    pub fn with(mut self, hole: usize, value: i32) -> Holes {
        self.s[hole] = value;
        self
    }
}

/// What reaches a slot from the frame's start.
fn displacement(slot: usize) -> i32 {
    ((FIRST_SLOT + slot) * 8) as i32
}

/// A stencil in code memory.
#[derive(Clone, Copy)]
pub struct Code(*const u8);

/// Code memory with the shared piece, and the memory that stencils work on.
pub struct Machine {
    code: Arc<CodeMemory>,
    shared: CodeBlock,
    /// The ways out, from the start of the shared piece.
    exits: [usize; 5],
    /// Kept until the end, so that no address is ever used for two stencils.
    blocks: Vec<CodeBlock>,
    frame: Vec<Cell<u64>>,
    memory: Vec<Cell<u64>>,
    /// What is where before a test puts its operands there.
    pub base: State,
    variants: usize,
    runs: usize,
}

impl Machine {
    /// A machine with a value of its own in every place.
    pub fn new() -> Machine {
        let code = CodeMemory::new(64 << 20).expect("memory for code");
        let (text, exits) = shared();
        let mut shared = code.allocate(text.len()).expect("room");
        assert!(shared.write(0, &text));
        shared.publish();
        let words =
            |n: usize, tag: u64| -> Vec<Cell<u64>> { (0..n).map(|i| Cell::new(tag + i as u64)).collect() };
        let base = State {
            ints: std::array::from_fn(|i| 0x1111_0000_0000_0000 + i as u64),
            // Numbers, so that an operand taken from the wrong register does not hide as one NaN among others.
            floats: std::array::from_fn(|i| (1.0e100 * (i + 1) as f64).to_bits()),
            slots: std::array::from_fn(|i| 0x3333_0000_0000_0000 + i as u64),
            memory: std::array::from_fn(|i| 0x4444_0000_0000_0000 + i as u64),
            budget: BUDGET,
            result: 0,
        };
        let mut machine = Machine {
            code,
            shared,
            exits,
            blocks: Vec::new(),
            frame: words(FRAME, 0x5555_0000_0000_0000),
            memory: words(MEMORY, 0),
            base,
            variants: 0,
            runs: 0,
        };
        // What the context points to is the same memory, each part from a place of its own on.
        for (field, at) in [
            ("CTX_GLOBALS", GLOBALS),
            ("CTX_CONSTANTS", CONSTANTS),
            ("CTX_FEEDBACK", FEEDBACK),
            ("CTX_WATCHES", WATCHES),
        ] {
            machine.base.set(Place::context(field), machine.address(at));
        }
        machine
    }

    /// The address of a byte of memory.
    pub fn address(&self, at: usize) -> u64 {
        self.memory.as_ptr().expose_provenance() as u64 + at as u64
    }

    /// The address of a slot.
    pub fn slot_address(&self, slot: usize) -> u64 {
        self.frame.as_ptr().expose_provenance() as u64 + displacement(slot) as u64
    }

    /// Puts a function without arguments into code memory: it returns the address of its frame. What it may change by the
    /// convention of calls it leaves alone.
    pub fn callee(&mut self) -> u64 {
        let mut block = self.code.allocate(4).expect("room");
        assert!(block.write(0, &[0x4C, 0x89, 0xE8, 0xC3])); // mov rax, r13; ret
        block.publish();
        let address = block.address().addr() as u64;
        self.blocks.push(block);
        address
    }

    /// Puts a stencil into code memory.
    pub fn place(&mut self, stencil: Stencil, holes: &Holes) -> Code {
        let (code, hot) = stencil.code();
        // The hot part, the jump to the first way out, the cold part.
        const JUMP: usize = 5;
        let mut text = code[..hot].to_vec();
        text.push(0xE9);
        text.extend_from_slice(&[0; 4]);
        text.extend_from_slice(&code[hot..]);
        let literal = text.len();
        text.extend(holes.call.iter().flat_map(|word| word.to_le_bytes()));
        let mut block = self.code.allocate(text.len()).expect("room");
        let moved = |offset: usize| if offset < hot { offset } else { offset + JUMP };
        let distance_out = |exit: usize, at: usize| {
            (self.shared.offset() + self.exits[exit]) as i64 - (block.offset() + at + 4) as i64
        };
        let mut fill =
            |at: usize, value: i64| text[at..at + 4].copy_from_slice(&(value as i32).to_le_bytes());
        fill(hot + 1, distance_out(0, hot + 1));
        let mut wide = None;
        let mut byte = None;
        for hole in stencil.holes() {
            let at = moved(hole.offset);
            match hole.kind {
                HoleKind::S0 | HoleKind::S1 | HoleKind::S2 | HoleKind::S3 | HoleKind::S4 | HoleKind::S5 => {
                    fill(at, i64::from(holes.s[hole.kind as usize].wrapping_add(hole.addend)));
                }
                HoleKind::U0 | HoleKind::U1 => {
                    let value = holes.u[hole.kind as usize - HoleKind::U0 as usize];
                    fill(at, i64::from(value.wrapping_add(hole.addend as u32)));
                }
                HoleKind::LitCall => fill(at, (literal as i64 + i64::from(hole.addend)) - (at + 4) as i64),
                HoleKind::Q0 => wide = Some((at, holes.q.wrapping_add(i64::from(hole.addend) as u64))),
                HoleKind::B0 => byte = Some(at),
                // Where a stencil ends, its code does not jump there but falls through.
                HoleKind::Cont => {
                    assert!(hole.offset >= hot, "a jump to the end from the hot part");
                    fill(at, hot as i64 - (at + 4) as i64);
                }
                HoleKind::HotPart => fill(at, i64::from(hole.addend) - (at + 4) as i64),
                HoleKind::ColdPart => {
                    fill(at, (hot + JUMP) as i64 + i64::from(hole.addend) - (at + 4) as i64)
                }
                HoleKind::Taken => fill(at, distance_out(1, at)),
                HoleKind::Cold => fill(at, distance_out(2, at)),
                HoleKind::ReturnCold => fill(at, distance_out(3, at)),
                kind => panic!("the harness has nothing for a hole of the kind {kind:?}"),
            }
            assert!(wide.is_none() || byte.is_none());
        }
        if let Some((at, value)) = wide {
            text[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(at) = byte {
            text[at] = holes.b;
        }
        assert!(block.write(0, &text));
        block.publish();
        let address = block.address();
        self.blocks.push(block);
        Code(address)
    }

    /// Runs a stencil from a state.
    fn run(&self, code: Code, state: &State) -> (Exit, State) {
        for (i, &value) in state.ints.iter().chain(&state.floats).enumerate() {
            self.frame[IN + i].set(value);
        }
        for (cell, &value) in self.frame[FIRST_SLOT..].iter().zip(&state.slots) {
            cell.set(value);
        }
        for (cell, &value) in self.memory.iter().zip(&state.memory) {
            cell.set(value);
        }
        let (context, frame) = (self.memory[CONTEXT / 8..].as_ptr(), self.frame.as_ptr());
        // SAFETY: the shared piece starts with a function of this type, which keeps what the convention asks for. The code
        // it jumps to lives as long as the machine and comes back by one of the ways out: it is a stencil whose jumps
        // were all filled with these or with places of its own. It reads and writes the frame, the memory and the
        // context, which are cells, and stays inside them: its displacements are those of `Holes`, its addresses those
        // of `Machine::address`.
        unsafe {
            let enter = std::mem::transmute::<
                *const u8,
                extern "sysv64" fn(*const Cell<u64>, *const Cell<u64>, *const u8, u64),
            >(self.shared.address());
            enter(context, frame, code.0, state.budget);
        }
        let exit = match self.frame[EXIT].get() {
            0 => Exit::Next,
            1 => Exit::Taken,
            2 => Exit::Cold,
            3 => Exit::SlowReturn,
            4 => Exit::Return,
            other => panic!("way out {other}"),
        };
        assert_eq!(self.frame[CONTEXT_AFTER].get(), context.addr() as u64, "the context's register changed");
        assert_eq!(self.frame[FRAME_AFTER].get(), frame.addr() as u64, "the frame's register changed");
        let after = State {
            ints: std::array::from_fn(|i| self.frame[OUT + i].get()),
            floats: std::array::from_fn(|i| self.frame[OUT + 6 + i].get()),
            slots: std::array::from_fn(|i| self.frame[FIRST_SLOT + i].get()),
            memory: std::array::from_fn(|i| self.memory[i].get()),
            budget: self.frame[BUDGET_AFTER].get(),
            result: match exit {
                Exit::SlowReturn | Exit::Return => self.frame[RESULT_AFTER].get(),
                Exit::Next | Exit::Taken | Exit::Cold => state.result,
            },
        };
        (exit, after)
    }

    /// Runs a stencil with these values in these places, and compares where it goes and everything it could change.
    pub fn check(
        &mut self,
        code: Code,
        inputs: &[(Place, u64)],
        exit: Exit,
        writes: &[(Place, Bits)],
        what: impl Fn() -> String,
    ) {
        let mut before = self.base;
        for &(place, value) in inputs {
            before.set(place, value);
        }
        self.runs += 1;
        let (went, got) = self.run(code, &before);
        let told = || {
            let values: Vec<String> = inputs.iter().map(|(p, v)| format!("{p:?} = {v:#x}")).collect();
            format!("{} with {}", what(), values.join(", "))
        };
        assert_eq!(went, exit, "{}", told());
        let mut want = before;
        for &(place, bits) in writes {
            match bits {
                Bits::Are(bits) => want.set(place, bits),
                Bits::Any => want.set(place, got.get(place)),
                Bits::Nan => {
                    let bits = got.get(place);
                    assert!(f64::from_bits(bits).is_nan(), "{}: {place:?} is {bits:#x}, no NaN", told());
                    want.set(place, bits);
                }
            }
        }
        assert!(want == got, "{}:{}", told(), want.difference(&got));
    }

    /// As [`Machine::check`] where the stencil may also take its slow path; whether it did.
    pub fn may_be_cold(&self, code: Code, inputs: &[(Place, u64)]) -> bool {
        let mut before = self.base;
        for &(place, value) in inputs {
            before.set(place, value);
        }
        self.run(code, &before).0 == Exit::Cold
    }

    /// Notes that a family was run with so many combinations of operands, which have to be all.
    pub fn covered(&mut self, name: &str, variants: usize) {
        let (_, dims) = &crate::families()[name];
        assert_eq!(variants, dims.iter().product::<usize>(), "{name} has the dimensions {dims:?}");
        self.variants += variants;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // What no stencil has any business with.
        let untouched = (EXIT + 8..FIRST_SLOT).chain(FIRST_SLOT + SLOTS..FRAME);
        for i in untouched {
            let value = self.frame[i].get();
            if value != 0x5555_0000_0000_0000 + i as u64 && !std::thread::panicking() {
                panic!("word {i} of the frame became {value:#x}");
            }
        }
        println!("{} stencils, {} runs", self.variants, self.runs);
    }
}

/// Where the parts that the context points to begin in memory, and the context; objects stand before them.
pub const GLOBALS: usize = 320;
/// See [`GLOBALS`].
pub const CONSTANTS: usize = 352;
/// See [`GLOBALS`].
pub const FEEDBACK: usize = 384;
/// See [`GLOBALS`].
pub const WATCHES: usize = 448;
/// See [`GLOBALS`].
pub const CONTEXT: usize = 512;

/// The code that all runs share, and where its ways out begin.
fn shared() -> (Vec<u8>, [usize; 5]) {
    let mut text = Vec::new();
    let frame_slot = |stencil: Stencil, slot: usize, text: &mut Vec<u8>| {
        let start = text.len();
        let (code, hot) = stencil.code();
        assert_eq!(code.len(), hot, "loads and stores have no cold part");
        text.extend_from_slice(code);
        for hole in stencil.holes() {
            assert_eq!(hole.kind, HoleKind::S0, "loads and stores have one hole");
            let at = start + hole.offset;
            text[at..at + 4].copy_from_slice(&(slot as i32 * 8 + hole.addend).to_le_bytes());
        }
    };
    // push rbp, rbx, r12, r13, r14, r15, rsi (the frame, for the way out); the target below the stack pointer, where
    // signals leave 128 bytes alone.
    text.extend_from_slice(&[0x55, 0x53, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x56]);
    text.extend_from_slice(&[0x48, 0x8D, 0x05, 0, 0, 0, 0, 0x50]); // lea rax, [where a return leads]; push rax
    let returns = text.len() - 1;
    text.extend_from_slice(&[0x48, 0x89, 0x54, 0x24, 0xF8]); // mov [rsp - 8], rdx
    text.extend_from_slice(&[0x49, 0x89, 0xFC]); // mov r12, rdi
    text.extend_from_slice(&[0x49, 0x89, 0xF5]); // mov r13, rsi
    text.extend_from_slice(&[0x49, 0x89, 0xCE]); // mov r14, rcx
    for r in 0..6 {
        frame_slot(family::LOAD_INT.at([r]), IN + r, &mut text);
    }
    for r in 0..8 {
        frame_slot(family::LOAD_FLOAT.at([r]), IN + 6 + r, &mut text);
    }
    // movabs into rax, rbx, rcx, rdx, r10.
    for opcode in [[0x48, 0xB8], [0x48, 0xBB], [0x48, 0xB9], [0x48, 0xBA], [0x49, 0xBA]] {
        text.extend_from_slice(&opcode);
        text.extend_from_slice(&RUBBISH.to_le_bytes());
    }
    // movq xmm8 to xmm15, rax.
    for r in 0..8 {
        text.extend_from_slice(&[0x66, 0x4C, 0x0F, 0x6E, 0xC0 + 8 * r]);
    }
    text.extend_from_slice(&[0xFF, 0x64, 0x24, 0xF8]); // jmp [rsp - 8]

    // The ways out: which one it was. A return has taken its address from the stack.
    let mut exits = [0; 5];
    let mut jumps = Vec::new();
    for (number, exit) in exits.iter_mut().enumerate() {
        *exit = text.len();
        if number < 4 {
            text.extend_from_slice(&[0x48, 0x83, 0xC4, 0x08]); // add rsp, 8
        }
        text.extend_from_slice(&[0x48, 0x8B, 0x0C, 0x24]); // mov rcx, [rsp]
        text.extend_from_slice(&[0x48, 0xC7, 0x81]); // mov qword [rcx + EXIT], number
        text.extend_from_slice(&(EXIT as i32 * 8).to_le_bytes());
        text.extend_from_slice(&(number as i32).to_le_bytes());
        text.extend_from_slice(&[0xE9, 0, 0, 0, 0]); // jmp common
        jumps.push(text.len());
    }
    text[returns - 4..returns].copy_from_slice(&((exits[4] - returns) as i32).to_le_bytes());
    for at in jumps {
        let distance = (text.len() - at) as i32;
        text[at - 4..at].copy_from_slice(&distance.to_le_bytes());
    }
    // mov [rcx + ...], r12, r13, r14.
    for (modrm, place) in [(0xA1, CONTEXT_AFTER), (0xA9, FRAME_AFTER), (0xB1, BUDGET_AFTER)] {
        text.extend_from_slice(&[0x4C, 0x89, modrm]);
        text.extend_from_slice(&(place as i32 * 8).to_le_bytes());
    }
    text.extend_from_slice(&[0x48, 0x89, 0x81]); // mov [rcx + RESULT_AFTER], rax
    text.extend_from_slice(&(RESULT_AFTER as i32 * 8).to_le_bytes());
    text.extend_from_slice(&[0x49, 0x89, 0xCD]); // mov r13, rcx
    for r in 0..6 {
        frame_slot(family::STORE_INT.at([r]), OUT + r, &mut text);
    }
    for r in 0..8 {
        frame_slot(family::STORE_FLOAT.at([r]), OUT + 6 + r, &mut text);
    }
    // pop rsi, r15, r14, r13, r12, rbx, rbp; ret.
    text.extend_from_slice(&[0x5E, 0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5B, 0x5D, 0xC3]);
    (text, exits)
}

/// Checks that the harness sees an error: a sum that is taken for something else in one respect.
fn sees(exit: Exit, writes: &[(Place, Bits)]) {
    let mut m = Machine::new();
    let code = m.place(family::INT_ADD.at([2, 1, 0]), &Holes::slots([1, 2, 3]));
    let inputs = [(Place::Int(0), 30), (Place::Slot(3), 12)];
    m.check(code, &inputs, Exit::Next, &[(Place::Int(2), Bits::Are(42))], || "a sum".into());
    m.check(code, &inputs, exit, writes, || "a sum".into());
}

#[test]
#[should_panic(expected = "Int(2) is 0x2a, not 0x2b")]
fn a_wrong_value_is_seen() {
    sees(Exit::Next, &[(Place::Int(2), Bits::Are(43))]);
}

#[test]
#[should_panic(expected = "Int(2) is 0x2a, not 0x1111000000000002")]
fn a_write_beside_the_destination_is_seen() {
    sees(Exit::Next, &[]);
}

#[test]
#[should_panic(expected = "Slot(1) is 0x3333000000000001, not 0x2a")]
fn a_missing_write_is_seen() {
    sees(Exit::Next, &[(Place::Int(2), Bits::Are(42)), (Place::Slot(1), Bits::Are(42))]);
}

#[test]
#[should_panic(expected = "left: Next\n right: Cold")]
fn a_wrong_way_is_seen() {
    sees(Exit::Cold, &[]);
}
