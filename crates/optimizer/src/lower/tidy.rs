//! Machine code made shorter after register allocation.
//!
//! What Cranelift leaves is decoded, changed instruction by instruction, and laid out anew:
//!
//! * **Overflow.** Cranelift has no branch on the flag of `sadd_overflow` and its like: `seto r; test r, r; jne` becomes `jo`. Between the
//!   arithmetic and `seto` stand at most moves, which leave flags alone; the byte has no other use, since the lowering branches on such
//!   a flag once, at the instruction itself, and does nothing else with it.
//! * **Products.** Cranelift's `smul_overflow` multiplies to 128 bits, in rdx and rax, with constants in memory. Where the upper half
//!   is for the flag alone it becomes the product of 64 bits, with the constant in the instruction.
//! * **Charges.** Taking one from the budget and looking whether it is used up is five instructions through another register, which has no
//!   other use: they become `sub; js`.
//! * **Slots.** A load of a stack slot whose value a register holds becomes a move or nothing, and a store of what the slot holds becomes
//!   nothing (`slots.rs`).
//! * **Comparisons.** A load or copy that only a comparison uses becomes its operand (`compare.rs`).
//! * **Frames.** They do without a frame pointer (`frame.rs`).
//! * **Ways back.** Where neither way of a branch follows, as at the end of a loop's turn, the way back is the one that is taken at once.
//! * **Places of loops.** A loop without inner ones that would reach into one line of instructions more than its size needs begins at
//!   the next line. The same few instructions took up to a sixth longer across lines.
//! * **Tail calls.** A call that is marked gives up the frame and jumps.
//! * **Sizes.** Immediates and distances of branches that fit a byte take a byte.
//!
//! Relocations and source positions move along, by [`Tidied::place`]. Code that cannot be followed stays as it is.

use std::borrow::Cow;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

use super::slots::slot_move;

/// What became of some code.
pub(super) struct Tidied {
    /// The code, and behind it the constants that it refers to.
    pub text: Vec<u8>,
    /// How many calls became jumps.
    pub jumps: usize,
    /// Where each instruction stood and stands, in order.
    places: Vec<(u32, u32)>,
}

/// What is known of a direct call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called {
    /// The offset of its relocation.
    pub at: u32,
    /// At most so many registers hold arguments.
    pub arguments: u8,
    /// Whether all registers are kept and no slot is written to.
    pub keeps: bool,
}

impl Default for Called {
    /// A call of which nothing is known.
    fn default() -> Self {
        Called { at: 0, arguments: u8::MAX, keeps: false }
    }
}

/// What is known of places in the code, each in order.
#[derive(Default)]
pub(super) struct Marks<'m> {
    /// The offsets of relocations.
    pub relocated: &'m [u32],
    /// Direct calls.
    pub calls: &'m [Called],
    /// Those of what stands behind calls that are to be jumps.
    pub jumps: &'m [u32],
    /// Whether bodies need no frame pointer.
    pub frameless: bool,
}

impl Tidied {
    /// Where a byte went that stood at `old`; for one of an instruction that is gone, where the next one stands.
    pub(super) fn place(&self, old: u32) -> u32 {
        let at = self.places.partition_point(|&(start, _)| start <= old).saturating_sub(1);
        let Some(&(start, new)) = self.places.get(at) else { return old };
        let next = self.places.get(at + 1).map_or(u32::MAX, |&(_, next)| next);
        (new + (old - start)).min(next)
    }
}

/// Items that did not stand in the code are called by numbers from this on.
pub(super) const INSERTED: u32 = 1 << 31;

/// An instruction.
#[derive(Clone)]
pub(super) struct Item<'a> {
    /// Where it stood, or what it is called by. Those that stood in the code are in this order.
    pub start: u32,
    pub inst: Instruction,
    /// Its bytes; none if it is gone.
    pub bytes: Cow<'a, [u8]>,
    /// What it refers to within the function: the target of a branch, or a constant.
    pub refers: Option<u32>,
    /// Where in its bytes the distance to that stands.
    distance: usize,
    /// For a branch: whether its distance takes a byte.
    short: bool,
    /// For a table of a jump, which stands behind the jump and is no instruction: the targets.
    pub table: Vec<u32>,
    /// Whether it has a relocation.
    pub relocated: bool,
    /// For a call: what is called.
    pub called: Called,
}

impl Item<'_> {
    pub(super) fn is_branch(&self) -> bool {
        matches!(self.inst.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
    }

    /// Whether what follows is not reached from it. The targets of a jump through a register stand in a table behind it.
    pub(super) fn ends(&self) -> bool {
        !self.bytes.is_empty()
            && (!self.table.is_empty()
                || matches!(
                    self.inst.flow_control(),
                    FlowControl::UnconditionalBranch | FlowControl::Return | FlowControl::Exception
                ))
    }

    /// The same by another name.
    pub(super) fn copy(&self, start: u32) -> Self {
        Item { start, ..self.clone() }
    }

    /// A jump.
    pub(super) fn jump(start: u32, target: u32) -> Item<'static> {
        let bytes = [0xE9, 0, 0, 0, 0];
        Item {
            start,
            inst: Decoder::new(64, &bytes, DecoderOptions::NONE).decode(),
            bytes: Cow::Owned(bytes.to_vec()),
            refers: Some(target),
            distance: 1,
            short: false,
            table: Vec::new(),
            relocated: false,
            called: Called::default(),
        }
    }

    /// Makes a branch one with the opposite condition.
    pub(super) fn invert(&mut self) {
        let condition = self.bytes[1] & 0xF ^ 1;
        set_condition(self, condition);
    }

    /// Puts another instruction in its place.
    pub(super) fn replace(&mut self, bytes: Vec<u8>) {
        self.inst = Decoder::with_ip(64, &bytes, u64::from(self.start), DecoderOptions::NONE).decode();
        self.bytes = Cow::Owned(bytes);
        self.refers = None;
    }

    pub(super) fn drop(&mut self) {
        self.bytes = Cow::Borrowed(&[]);
        self.refers = None;
    }

    fn size(&self) -> u32 {
        match (self.is_branch() && self.refers.is_some(), self.short) {
            (true, true) => 2,
            _ => self.bytes.len() as u32,
        }
    }
}

/// `ud2`.
const TRAP: [u8; 2] = [0x0F, 0x0B];

/// Constants are aligned to this, as Cranelift does.
const ALIGN: i64 = 16;

/// Makes code shorter whose basic blocks begin at `starts`. `None` where it cannot be followed.
pub(super) fn run(text: &[u8], starts: &[u32], marks: &Marks<'_>) -> Option<Tidied> {
    let (mut items, end) = decode(text, starts, marks)?;
    let mut targets: Vec<u32> = items.iter().filter(|i| i.is_branch()).filter_map(|i| i.refers).collect();
    targets.extend(items.iter().flat_map(|i| &i.table));
    targets.sort_unstable();
    targets.dedup();
    let item_at = |at: u32| items.binary_search_by_key(&at, |i| i.start).ok().map(|i| &items[i]);
    let is_known = |at: u32| at >= end || item_at(at).is_some_and(|i| !i.table.is_empty());
    let mut constants = items.iter().filter(|i| !i.is_branch()).filter_map(|i| i.refers);
    if targets.iter().any(|&t| item_at(t).is_none()) || !constants.all(is_known) {
        return None;
    }
    let mut info = InstructionInfoFactory::new();
    let mut first = 0;
    while first < items.len() {
        let mut last = first + 1;
        while last < items.len() && targets.binary_search(&items[last].start).is_err() {
            last += 1;
        }
        let block = &mut items[first..last];
        overflow(block);
        products(block, text);
        charges(block, &mut info);
        backwards(block);
        first = last;
    }
    super::slots::run(&mut items, &targets, &mut info);
    for at in 0..items.len() {
        if is_dead(&items[at..], &mut info) {
            items[at].drop();
        }
    }
    super::compare::run(&mut items, &targets, &mut info);
    let framed = super::wrap::frame(&items).is_some();
    super::wrap::run(&mut items, &targets);
    let jumps = if framed { jumps(&mut items, marks.jumps) } else { 0 };
    if framed && marks.frameless {
        super::frame::run(&mut items, &mut info);
    }
    items.iter_mut().for_each(immediate);
    Some(Tidied { jumps, ..layout(text, items, end as usize) })
}

/// The instructions, and where they end.
fn decode<'a>(text: &'a [u8], starts: &[u32], marks: &Marks<'_>) -> Option<(Vec<Item<'a>>, u32)> {
    // Instructions have four to five bytes.
    let mut items: Vec<Item<'_>> = Vec::with_capacity(text.len() / 4);
    // What makes the frame stands before the first block.
    let starts: Vec<u32> = std::iter::once(0).chain(starts.iter().skip(1).copied()).collect();
    let mut end = 0;
    let mut relocated = marks.relocated.iter().copied().peekable();
    for (i, &start) in starts.iter().enumerate() {
        if start != end {
            return None;
        }
        let limit = starts.get(i + 1).map_or(text.len(), |&e| e as usize);
        let block = text.get(start as usize..limit)?;
        let mut decoder = Decoder::with_ip(64, block, u64::from(start), DecoderOptions::NONE);
        while decoder.can_decode() {
            let inst = decoder.decode();
            let (at, next) = (inst.ip() as u32, inst.next_ip() as u32);
            if inst.is_invalid() {
                return None;
            }
            while relocated.next_if(|&r| r < at).is_some() {}
            let is_relocated = relocated.peek().is_some_and(|&r| r < next);
            let (refers, distance) = if is_relocated {
                (None, 0)
            } else if inst.is_jcc_short_or_near() || inst.is_jmp_short_or_near() {
                let offsets = decoder.get_constant_offsets(&inst);
                if offsets.immediate_size() != 4 {
                    return None;
                }
                (Some(inst.near_branch_target() as u32), offsets.immediate_offset())
            } else if inst.is_ip_rel_memory_operand() {
                let offsets = decoder.get_constant_offsets(&inst);
                (Some(inst.ip_rel_memory_address() as u32), offsets.displacement_offset())
            } else {
                (None, 0)
            };
            let bytes = Cow::Borrowed(&text[at as usize..next as usize]);
            let ends = matches!(
                inst.flow_control(),
                FlowControl::UnconditionalBranch | FlowControl::Return | FlowControl::Exception
            );
            items.push(Item {
                start: at,
                inst,
                bytes,
                refers,
                distance,
                short: false,
                table: Vec::new(),
                relocated: is_relocated,
                called: {
                    let first = marks.calls.partition_point(|call| call.at < at);
                    let call = marks.calls.get(first).filter(|call| call.at < next);
                    call.copied().unwrap_or_default()
                },
            });
            end = next;
            if inst.flow_control() == FlowControl::IndirectBranch {
                // Distances of the targets from the start of the table, up to the next block.
                let bytes = if i + 1 < starts.len() { text.get(next as usize..limit)? } else { return None };
                let (entries, rest) = bytes.as_chunks::<4>();
                if entries.is_empty() || !rest.is_empty() {
                    return None;
                }
                let target = |entry: &[u8; 4]| next.wrapping_add_signed(i32::from_le_bytes(*entry));
                items.push(Item {
                    start: next,
                    inst: Instruction::default(),
                    bytes: Cow::Borrowed(bytes),
                    refers: None,
                    distance: 0,
                    short: false,
                    table: entries.iter().map(target).collect(),
                    relocated: false,
                    called: Called::default(),
                });
                end = limit as u32;
                break;
            }
            // Behind the last block stand constants.
            if ends && i + 1 == starts.len() {
                break;
            }
        }
        if i + 1 < starts.len() && end as usize != limit {
            return None;
        }
    }
    // Where divisions by zero, which checks exclude, would go.
    let mut traps: Vec<u32> = items.iter().filter(|i| i.is_branch()).filter_map(|i| i.refers).collect();
    traps.retain(|&to| to >= end);
    traps.sort_unstable();
    traps.dedup();
    for start in traps {
        let bytes = text.get(start as usize..)?.first_chunk::<2>()?;
        if start != end || *bytes != TRAP {
            return None;
        }
        let inst = Decoder::with_ip(64, bytes, u64::from(start), DecoderOptions::NONE).decode();
        let bytes = Cow::Borrowed(&bytes[..]);
        items.push(Item { start, inst, bytes, refers: None, ..Item::jump(start, start) });
        end += TRAP.len() as u32;
    }
    Some((items, end))
}

pub(super) fn is_register(inst: &Instruction, n: u32, register: Register) -> bool {
    inst.op_kind(n) == OpKind::Register && inst.op_register(n) == register
}

/// Gives the branch another condition: the last four bits of its opcode.
fn set_condition(branch: &mut Item<'_>, condition: u8) {
    if let Some(opcode) = branch.bytes.to_mut().get_mut(1) {
        *opcode = 0x80 | condition;
    }
}

fn overflow(items: &mut [Item<'_>]) {
    for i in 2..items.len() {
        let [set, test, branch] = &mut items[i - 2..=i] else { continue };
        let condition = match branch.inst.mnemonic() {
            Mnemonic::Jne => 0x0,
            Mnemonic::Je => 0x1,
            _ => continue,
        };
        let byte = set.inst.op0_register();
        if set.inst.mnemonic() == Mnemonic::Seto
            && test.inst.mnemonic() == Mnemonic::Test
            && set.inst.op0_kind() == OpKind::Register
            && is_register(&test.inst, 0, byte)
            && is_register(&test.inst, 1, byte)
        {
            set.drop();
            test.drop();
            set_condition(branch, condition);
        }
    }
}

/// rdx is only written by what these make shorter: a branch on overflow behind them says that they are no upper halves of products.
fn products(items: &mut [Item<'_>], text: &[u8]) {
    for at in 0..items.len() {
        let inst = items[at].inst;
        if items[at].bytes.is_empty() || inst.code() != Code::Imul_rm64 {
            continue;
        }
        let behind = || items[at + 1..].iter().filter(|item| !item.bytes.is_empty());
        let flagged = behind().find(|item| item.inst.mnemonic() != Mnemonic::Mov);
        if flagged.is_none_or(|item| !matches!(item.bytes[..], [0x0F, 0x80 | 0x81, ..])) {
            continue;
        }
        let constant = items[at].refers.and_then(|place| {
            let word = text.get(place as usize..)?.first_chunk::<8>()?;
            i32::try_from(i64::from_le_bytes(*word)).ok()
        });
        let Some(constant) = constant else {
            // imul rax, operand: the same operand behind another opcode.
            let item = &mut items[at];
            let bytes = &item.bytes;
            let longer = [&[bytes[0], 0x0F, 0xAF, bytes[2] & !0x38], &bytes[3..]].concat();
            let refers = item.refers;
            item.replace(longer);
            (item.refers, item.distance) = (refers, item.distance + 1);
            continue;
        };
        // imul rax, factor, constant: the factor is where rax has it from.
        let before = items[..at].iter().rposition(|item| !item.bytes.is_empty());
        let copied = before.filter(|&i| {
            let inst = &items[i].inst;
            inst.op0_kind() == OpKind::Register && is_move(inst, Register::RAX, inst.op1_register())
        });
        let factor = match copied {
            Some(i) => {
                let factor = items[i].inst.op1_register().number() as u8;
                items[i].drop();
                factor
            }
            None => Register::RAX.number() as u8,
        };
        let head = |opcode| vec![0x48 | factor >> 3, opcode, 0xC0 | factor & 7];
        let bytes = match i8::try_from(constant) {
            Ok(short) => [head(0x6B), vec![short as u8]].concat(),
            Err(_) => [head(0x69), constant.to_le_bytes().to_vec()].concat(),
        };
        items[at].replace(bytes);
    }
}

/// Cranelift's pinned register.
pub(super) const BUDGET: Register = Register::R15;

/// How far apart the instructions of a charge may stand: what the next turn is entered with is computed in between.
const CHARGE: usize = 40;

fn charges(items: &mut [Item<'_>], info: &mut InstructionInfoFactory) {
    for at in 1..items.len() {
        let (compare, branch) = (&items[at - 1].inst, &items[at].inst);
        let condition = match branch.mnemonic() {
            Mnemonic::Ja => 0x8,
            Mnemonic::Jbe => 0x9,
            _ => continue,
        };
        let is_limit = matches!(compare.code(), Code::Cmp_rm64_imm32 | Code::Cmp_RAX_imm32)
            && compare.op0_kind() == OpKind::Register
            && compare.immediate32() == i32::MAX as u32;
        if !is_limit {
            continue;
        }
        // From the comparison backwards: the budget is set, one is taken from it, it is read.
        let less = compare.op0_register();
        let mut found = [0; 3];
        let mut parts = 0;
        let mut read = less;
        let first = (at - 1).saturating_sub(CHARGE);
        for i in (first..at - 1).rev() {
            let inst = &items[i].inst;
            if items[i].bytes.is_empty() {
                continue;
            }
            let is_part = match parts {
                0 => is_move(inst, BUDGET, less),
                1 => match inst.code() {
                    Code::Add_rm64_imm32 | Code::Add_rm64_imm8 | Code::Add_RAX_imm32 => {
                        is_register(inst, 0, less) && inst.immediate(1) == u64::MAX
                    }
                    Code::Lea_r64_m => {
                        read = inst.memory_base();
                        is_register(inst, 0, less)
                            && inst.memory_index() == Register::None
                            && inst.memory_displacement64() == u64::MAX
                    }
                    _ => false,
                },
                _ => is_move(inst, read, BUDGET),
            };
            if is_part {
                found[parts] = i;
                parts += 1;
                if parts == 3 {
                    break;
                }
                continue;
            }
            let touches = info.info(inst).used_registers().iter().any(|used| {
                let register = used.register().full_register();
                register == BUDGET || register == less || register == read
            });
            if touches || inst.flow_control() != FlowControl::Next {
                break;
            }
        }
        if parts == 3 {
            found.iter().for_each(|&i| items[i].drop());
            // sub r15, 1
            items[at - 1].replace(vec![0x49, 0x83, 0xEF, 0x01]);
            set_condition(&mut items[at], condition);
        }
    }
}

/// Exchanges the ways of a branch and the jump behind it where the jump alone leads back.
fn backwards(items: &mut [Item<'_>]) {
    for at in 1..items.len() {
        let [branch, jump] = &mut items[at - 1..=at] else { continue };
        if !branch.inst.is_jcc_near() || !jump.inst.is_jmp_near() {
            continue;
        }
        if let (Some(out), Some(back)) = (branch.refers, jump.refers)
            && back <= branch.start
            && out > jump.start
        {
            branch.invert();
            (branch.refers, jump.refers) = (Some(back), Some(out));
        }
    }
}

/// Makes jumps of calls through a register behind which a mark stands, in a function that has made its frame with `rbp`; gives how
/// many. Arguments are in registers, and bodies keep none for their callers, so nothing of the frame is needed.
fn jumps(items: &mut [Item<'_>], marks: &[u32]) -> usize {
    let mut count = 0;
    let mut call = None;
    for at in 0..items.len() {
        if items[at].bytes.is_empty() {
            continue;
        }
        if let Some(call) = call
            && items[at].inst.code() == Code::Ud2
            && marks.binary_search(&items[at].start).is_ok()
        {
            let item: &mut Item<'_> = &mut items[call];
            let register = item.inst.op0_register().number() as u8;
            // leave
            item.replace(vec![0xC9]);
            let jump = [0xFF, 0xE0 | register & 7];
            items[at].replace(if register < 8 { jump.to_vec() } else { [&[0x41], &jump[..]].concat() });
            count += 1;
        }
        let through = items[at].inst.code() == Code::Call_rm64
            && items[at].inst.op0_kind() == OpKind::Register
            && !matches!(items[at].inst.op0_register(), Register::RSP | Register::RBP);
        call = through.then_some(at);
    }
    count
}

/// The registers that it copies to and from, where that is all it does.
pub(super) fn copied(inst: &Instruction) -> Option<(Register, Register)> {
    let copies = matches!(inst.code(), Code::Mov_rm64_r64 | Code::Mov_r64_rm64)
        && inst.op0_kind() == OpKind::Register
        && inst.op1_kind() == OpKind::Register;
    copies.then(|| (inst.op0_register(), inst.op1_register()))
}

/// Whether it copies the second register to the first.
pub(super) fn is_move(inst: &Instruction, to: Register, from: Register) -> bool {
    copied(inst) == Some((to, from))
}

/// How many instructions are looked at for one that overwrites what another loaded.
const AHEAD: usize = 6;

/// Whether the first instruction loads a slot or copies a register, and the register is overwritten before it is read. Between the two
/// others may join, but none may leave.
fn is_dead(items: &[Item<'_>], info: &mut InstructionInfoFactory) -> bool {
    let Some((first, rest)) = items.split_first() else { return false };
    let inst = &first.inst;
    let loaded = slot_move(inst).filter(|&(_, _, load)| load).map(|(_, register, _)| register);
    let Some(register) = loaded.or_else(|| copied(inst).map(|(to, _)| to)) else { return false };
    if first.bytes.is_empty() || register == Register::RSP || register == BUDGET {
        return false;
    }
    for item in rest.iter().filter(|i| !i.bytes.is_empty()).take(AHEAD) {
        if item.inst.flow_control() != FlowControl::Next {
            return false;
        }
        let mut overwritten = false;
        for used in info.info(&item.inst).used_registers() {
            if used.register().full_register() == register {
                // Writing 32 bits clears the others.
                let whole = used.register().size() >= 4;
                if used.access() != OpAccess::Write || !whole {
                    return false;
                }
                overwritten = true;
            }
        }
        if overwritten {
            return true;
        }
    }
    false
}

/// Shortens an immediate that fits a byte.
fn immediate(item: &mut Item<'_>) {
    let rex = usize::from(item.bytes.first().is_some_and(|b| b & 0xF0 == 0x40));
    let len = item.bytes.len();
    if len < rex + 5 || item.is_branch() || !item.table.is_empty() {
        return;
    }
    let Some(&imm) = item.bytes.last_chunk::<4>() else { return };
    let Ok(byte) = i8::try_from(i32::from_le_bytes(imm)) else { return };
    match item.bytes[rex] {
        0x81 => {
            let bytes = item.bytes.to_mut();
            bytes[rex] = 0x83;
            bytes.truncate(len - 4);
            bytes.push(byte as u8);
        }
        // The forms of the accumulator: operation in bits 3 to 5, no byte for the operand.
        op @ (0x05 | 0x0D | 0x25 | 0x2D | 0x35 | 0x3D) if len == rex + 5 => {
            let bytes = item.bytes.to_mut();
            bytes.truncate(rex);
            bytes.extend([0x83, 0xC0 | op & 0x38, byte as u8]);
        }
        _ => {}
    }
}

/// Where the instructions stand with so many bytes before each, and where they end.
fn place(base: u32, items: &[Item<'_>], pads: &[u8]) -> Vec<u32> {
    let mut end = base;
    let mut places = Vec::with_capacity(items.len() + 1);
    for (item, &pad) in items.iter().zip(pads) {
        places.push(end + u32::from(pad));
        end += u32::from(pad) + item.size();
    }
    places.push(end);
    places
}

/// What processors load instructions by; functions begin at a multiple.
const LINE: u32 = 64;
/// Loops beyond this size are left where they are.
const ALIGNED: u32 = 256;

/// Chooses how many bytes stand before loops without inner ones so that they lie in as few lines as they may; whether there are any.
fn align(items: &[Item<'_>], branches: &[(usize, usize)], places: &[u32], pads: &mut [u8]) -> bool {
    // Ways back from afar, from behind where the function is left, and from behind calls of stubs come out of slow paths. Of several
    // others to a header the last one counts.
    let size = |to: usize, at: usize| places[at + 1] - places[to];
    let leaves = |item: &Item<'_>| match item.inst.flow_control() {
        FlowControl::Return | FlowControl::Exception => true,
        FlowControl::Call => item.relocated,
        _ => false,
    };
    let mut loops: Vec<(usize, usize)> = branches
        .iter()
        .filter(|&&(at, to)| to <= at && size(to, at) <= ALIGNED && !items[to..at].iter().any(leaves))
        .map(|&(at, to)| (to, at))
        .collect();
    loops.sort_unstable();
    let mut more = 0;
    for (i, &(to, at)) in loops.iter().enumerate() {
        if loops.get(i + 1).is_some_and(|next| next.0 <= at) {
            continue;
        }
        let (start, size) = (places[to] + more, size(to, at));
        if (start % LINE + size).div_ceil(LINE) > size.div_ceil(LINE) {
            let pad = LINE - start % LINE;
            pads[to] = pad as u8;
            more += pad;
        }
    }
    more > 0
}

/// The longest instruction without effect.
const LONGEST_NOP: usize = 9;

/// An instruction without effect of 1 to 9 bytes, as Intel's manual recommends them (volume 2, NOP).
fn nop(len: usize) -> &'static [u8] {
    match len {
        1 => &[0x90],
        2 => &[0x66, 0x90],
        3 => &[0x0F, 0x1F, 0x00],
        4 => &[0x0F, 0x1F, 0x40, 0x00],
        5 => &[0x0F, 0x1F, 0x44, 0x00, 0x00],
        6 => &[0x66, 0x0F, 0x1F, 0x44, 0x00, 0x00],
        7 => &[0x0F, 0x1F, 0x80, 0x00, 0x00, 0x00, 0x00],
        8 => &[0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        _ => &[0x66, 0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    }
}

/// Puts the instructions one behind the other, with the constants that stood at `end` and behind.
fn layout(text: &[u8], mut items: Vec<Item<'_>>, end: usize) -> Tidied {
    let mut starts: Vec<(u32, usize)> = (0..).zip(&items).map(|(i, item)| (item.start, i)).collect();
    starts.sort_unstable();
    let count = items.len();
    let index = |old: u32| starts.get(starts.partition_point(|s| s.0 < old)).map_or(count, |s| s.1);
    // Where branches lead, and which may still get shorter.
    let branches: Vec<(usize, usize)> = (0..items.len())
        .filter(|&i| items[i].is_branch())
        .filter_map(|i| Some((i, index(items[i].refers?))))
        .collect();
    let mut long = branches.clone();
    let base = starts.first().map_or(0, |s| s.0);
    let mut pads = vec![0; items.len()];
    let mut places = place(base, &items, &pads);
    let fits = |places: &[u32], (at, to): (usize, usize)| {
        i8::try_from(i64::from(places[to]) - i64::from(places[at]) - 2).is_ok()
    };
    loop {
        // Branches only get shorter, so that one that fits goes on to do so.
        let before = long.len();
        long.retain(|&branch| {
            items[branch.0].short = fits(&places, branch);
            !items[branch.0].short
        });
        if long.len() == before {
            break;
        }
        places = place(base, &items, &pads);
    }
    if align(&items, &branches, &places, &mut pads) {
        loop {
            places = place(base, &items, &pads);
            let mut more = false;
            for &branch in &branches {
                if items[branch.0].short && !fits(&places, branch) {
                    items[branch.0].short = false;
                    more = true;
                }
            }
            if !more {
                break;
            }
        }
    }
    let code_end = places.last().copied().unwrap_or(base) as usize;
    // Constants keep their alignment. Copies may make the code longer than it was.
    let shift = (end as i64 - code_end as i64).div_euclid(ALIGN) * ALIGN;
    let constants = (end as i64 - shift) as usize;
    let mut out = text[..base as usize].to_vec();
    for (i, item) in items.iter().enumerate() {
        let next = places[i] + item.size();
        let mut pad = usize::from(pads[i]);
        while pad > 0 {
            let len = pad.min(LONGEST_NOP);
            out.extend_from_slice(nop(len));
            pad -= len;
        }
        match item.refers {
            Some(target) if item.is_branch() => {
                let to = places[index(target)];
                let distance = i64::from(to) - i64::from(next);
                if item.short {
                    let unconditional = item.inst.is_jmp_short_or_near();
                    let opcode = if unconditional { 0xEB } else { 0x70 | item.bytes[1] & 0x0F };
                    out.extend([opcode, distance as i8 as u8]);
                } else {
                    out.extend_from_slice(&item.bytes[..item.distance]);
                    out.extend((distance as i32).to_le_bytes());
                }
            }
            Some(target) => {
                let table = (target as usize) < end;
                let to = if table { i64::from(places[index(target)]) } else { i64::from(target) - shift };
                let distance = (to - i64::from(next)) as i32;
                let at = out.len() + item.distance;
                out.extend_from_slice(&item.bytes);
                out[at..at + 4].copy_from_slice(&distance.to_le_bytes());
            }
            None if !item.table.is_empty() => {
                let distances = item.table.iter().map(|&t| places[index(t)].wrapping_sub(places[i]));
                out.extend(distances.flat_map(u32::to_le_bytes));
            }
            None => out.extend_from_slice(&item.bytes),
        }
    }
    if end < text.len() {
        out.resize(constants, 0xCC);
        out.extend_from_slice(&text[end..]);
    }
    // What was copied to the front stands there now.
    let copies = items.iter().take_while(|item| item.start >= INSERTED).count();
    let copied = items[copies..].iter().take_while(|item| copies > 0 && item.bytes.is_empty()).count();
    let stood = starts.iter().filter(|s| s.0 < INSERTED);
    let stood = stood.map(|&(start, i)| (start, if i < copies + copied { base } else { places[i] }));
    let places = stood.chain([(end as u32, constants as u32)]).collect();
    Tidied { text: out, jumps: 0, places }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mnemonics(text: &[u8]) -> Vec<Mnemonic> {
        Decoder::new(64, text, DecoderOptions::NONE).iter().map(|i| i.mnemonic()).collect()
    }

    #[test]
    fn branches_on_the_flag() {
        // add rax, rcx; seto cl; test cl, cl; jne +1; ret; ret
        let text =
            [0x48, 0x01, 0xC8, 0x0F, 0x90, 0xC1, 0x84, 0xC9, 0x0F, 0x85, 0x01, 0x00, 0x00, 0x00, 0xC3, 0xC3];
        let tidied = run(&text, &[0, 14, 15], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text), [Mnemonic::Add, Mnemonic::Jo, Mnemonic::Ret, Mnemonic::Ret]);
        // jo in its short form, to the second ret.
        assert_eq!(tidied.text[3..5], [0x70, 1]);
        assert_eq!(tidied.place(15), 6);
    }

    #[test]
    fn traps_of_divisions_stand_behind_the_code() {
        // test rcx, rcx; je to ud2; add rax, rcx; seto cl; test cl, cl; jne +1; ret; ret; ud2
        let text = [
            0x48, 0x85, 0xC9, 0x0F, 0x84, 16, 0, 0, 0, 0x48, 0x01, 0xC8, 0x0F, 0x90, 0xC1, 0x84, 0xC9, 0x0F,
            0x85, 1, 0, 0, 0, 0xC3, 0xC3, 0x0F, 0x0B,
        ];
        let tidied = run(&text, &[0, 23, 24], &Marks::default()).unwrap();
        use Mnemonic::{Add, Je, Jo, Ret, Test, Ud2};
        assert_eq!(mnemonics(&tidied.text), [Test, Je, Add, Jo, Ret, Ret, Ud2]);
        // Something else there is not followed.
        let other = [&text[..25], &[0x90, 0x90]].concat();
        assert!(run(&other, &[0, 23, 24], &Marks::default()).is_none());
    }

    #[test]
    fn marked_calls_are_jumps() {
        // push rbp; mov rbp, rsp; call rax; ud2; call r9; ud2
        let text = [0x55, 0x48, 0x89, 0xE5, 0xFF, 0xD0, 0x0F, 0x0B, 0x41, 0xFF, 0xD1, 0x0F, 0x0B];
        let of = |text: &[u8], jumps: &[u32]| {
            let tidied = run(text, &[0, 8], &Marks { jumps, ..Marks::default() }).unwrap();
            (tidied.jumps, mnemonics(&tidied.text))
        };
        use Mnemonic::{Call, Jmp, Leave, Mov, Push, Ud2};
        assert_eq!(of(&text, &[6, 11]), (2, vec![Push, Mov, Leave, Jmp, Leave, Jmp]));
        assert_eq!(of(&text, &[11]), (1, vec![Push, Mov, Call, Ud2, Leave, Jmp]));
        // Another frame than that, or a call of something in memory: no jump.
        let mut other = text;
        other[3] = 0xEC;
        assert_eq!(of(&other, &[6, 11]).0, 0);
        let text = [0x55, 0x48, 0x89, 0xE5, 0xFF, 0x10, 0x0F, 0x0B, 0xC3];
        assert_eq!(of(&text, &[6]).0, 0);
    }

    #[test]
    fn another_register_stays() {
        // seto cl; test dl, dl; jne +0; ret
        let text = [0x0F, 0x90, 0xC1, 0x84, 0xD2, 0x0F, 0x85, 0, 0, 0, 0, 0xC3];
        let tidied = run(&text, &[0, 11], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text), [Mnemonic::Seto, Mnemonic::Test, Mnemonic::Jne, Mnemonic::Ret]);
    }

    #[test]
    fn products_that_are_checked_have_64_bits() {
        // mov rax, r10; imul qword [rip + 22]; seto cl; test cl, cl; jne +1; ret; ret; the constant at 32
        let mut text = vec![0x4C, 0x89, 0xD0, 0x48, 0xF7, 0x2D, 22, 0, 0, 0];
        text.extend([0x0F, 0x90, 0xC1, 0x84, 0xC9, 0x0F, 0x85, 1, 0, 0, 0, 0xC3, 0xC3]);
        text.resize(32, 0);
        let of = |constant: i64| [text.clone(), constant.to_le_bytes().to_vec()].concat();
        let tidied = |text: &[u8]| run(text, &[0, 21, 22], &Marks::default()).unwrap().text;
        // imul rax, r10, 3; jo +1
        assert_eq!(tidied(&of(3))[..6], [0x49, 0x6B, 0xC2, 3, 0x70, 1]);
        assert_eq!(tidied(&of(-1000))[..9], [0x49, 0x69, 0xC2, 0x18, 0xFC, 0xFF, 0xFF, 0x70, 1]);
        // A constant that is no immediate stays in memory, where its alignment puts it: imul rax, [rip + 21]
        let large = tidied(&of(1 << 40));
        assert_eq!(large[..13], [0x4C, 0x89, 0xD0, 0x48, 0x0F, 0xAF, 5, 21, 0, 0, 0, 0x70, 1]);
        assert_eq!(large[32..], (1i64 << 40).to_le_bytes());
        // imul rcx, checked and as the upper half
        let mut text =
            vec![0x48, 0xF7, 0xE9, 0x0F, 0x90, 0xC1, 0x84, 0xC9, 0x0F, 0x85, 1, 0, 0, 0, 0xC3, 0xC3];
        let checked = run(&text, &[0, 14, 15], &Marks::default()).unwrap().text;
        assert_eq!(checked[..6], [0x48, 0x0F, 0xAF, 0xC1, 0x70, 1]);
        text.splice(3..8, [0x48, 0x85, 0xD2]);
        let upper = run(&text, &[0, 12, 13], &Marks::default()).unwrap().text;
        assert_eq!(upper[..3], [0x48, 0xF7, 0xE9]);
    }

    #[test]
    fn charges_are_two_instructions() {
        // mov rax, r15; add rax, -1; mov r15, rax; xor rbx, rbx; cmp rax, 0x7fffffff; ja +1; ret; ret
        let mut text = vec![0x4C, 0x89, 0xF8, 0x48, 0x81, 0xC0, 0xFF, 0xFF, 0xFF, 0xFF, 0x49, 0x89, 0xC7];
        text.extend([0x48, 0x31, 0xDB, 0x48, 0x81, 0xF8, 0xFF, 0xFF, 0xFF, 0x7F]);
        text.extend([0x0F, 0x87, 1, 0, 0, 0, 0xC3, 0xC3]);
        let tidied = run(&text, &[0, 29, 30], &Marks::default()).unwrap();
        let expected = [Mnemonic::Xor, Mnemonic::Sub, Mnemonic::Js, Mnemonic::Ret, Mnemonic::Ret];
        assert_eq!(mnemonics(&tidied.text), expected);
        // With the copy read in between, nothing is changed.
        text[13..16].copy_from_slice(&[0x48, 0x89, 0xC3]);
        let tidied = run(&text, &[0, 29, 30], &Marks::default()).unwrap();
        assert!(mnemonics(&tidied.text).contains(&Mnemonic::Cmp));
    }

    #[test]
    fn ways_back_are_taken_at_once() {
        // add rax, rcx; js +5 (to the ret); jmp -14 (to the start); ret
        let text = [0x48, 0x01, 0xC8, 0x0F, 0x88, 5, 0, 0, 0, 0xE9, 0xF2, 0xFF, 0xFF, 0xFF, 0xC3];
        let tidied = run(&text, &[0, 14], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text), [Mnemonic::Add, Mnemonic::Jns, Mnemonic::Jmp, Mnemonic::Ret]);
        assert_eq!(tidied.text[3..7], [0x79, 0xFB, 0xEB, 0]);
        // A jump that others come to keeps its way: js to it first.
        let mut text = vec![0x0F, 0x88, 9, 0, 0, 0];
        text.extend([0x48, 0x01, 0xC8, 0x0F, 0x88, 5, 0, 0, 0, 0xE9, 0xF2, 0xFF, 0xFF, 0xFF, 0xC3]);
        let tidied = run(&text, &[0, 6, 15, 20], &Marks::default()).unwrap();
        let expected = [Mnemonic::Js, Mnemonic::Add, Mnemonic::Js, Mnemonic::Jmp, Mnemonic::Ret];
        assert_eq!(mnemonics(&tidied.text), expected);
    }

    #[test]
    fn a_load_that_is_overwritten_goes() {
        // mov r8, [rsp+16]; mov r8, [rsp+16]; lea rax, [r8-1]; ret, with a way to the second load
        let mut text = vec![0x4C, 0x8B, 0x44, 0x24, 16, 0x4C, 0x8B, 0x44, 0x24, 16, 0x49, 0x8D, 0x40, 0xFF];
        text.extend([0xE9, 0xF2, 0xFF, 0xFF, 0xFF]);
        let tidied = run(&text, &[0, 5], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text), [Mnemonic::Mov, Mnemonic::Lea, Mnemonic::Jmp]);
        // A copy of what was loaded keeps the load: mov r8, [rsp+16]; mov rcx, [rsp+16]; mov r8, rax; ret
        let text = [0x4C, 0x8B, 0x44, 0x24, 16, 0x48, 0x8B, 0x4C, 0x24, 16, 0x49, 0x89, 0xC0, 0xC3];
        let tidied = run(&text, &[0], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text).len(), 4);
    }

    #[test]
    fn constants_move_along_and_stay_aligned() {
        // movsd xmm0, [rip+24] (the constant at 32); add rax, 1 (with four bytes); ret; padding; 8 bytes
        let mut text = vec![0xF2, 0x0F, 0x10, 0x05, 24, 0, 0, 0, 0x48, 0x81, 0xC0, 1, 0, 0, 0];
        text.extend([0x48, 0x81, 0xC1, 1, 0, 0, 0, 0x48, 0x81, 0xC2, 1, 0, 0, 0, 0xC3]);
        text.resize(32, 0xCC);
        text.extend(1.5f64.to_le_bytes());
        let tidied = run(&text, &[0], &Marks::default()).unwrap();
        let inst = Decoder::new(64, &tidied.text, DecoderOptions::NONE).decode();
        let at = inst.ip_rel_memory_address() as usize;
        assert_eq!(tidied.text[at..at + 8], 1.5f64.to_le_bytes());
        assert_eq!(at % 16, 0);
    }

    #[test]
    fn small_loops_lie_in_one_line() {
        // 60 bytes of nop; add rax, rcx; jns -9 (to the add); ret
        let mut text = vec![0x90; 60];
        text.extend([0x48, 0x01, 0xC8, 0x0F, 0x89, 0xF7, 0xFF, 0xFF, 0xFF, 0xC3]);
        let tidied = run(&text, &[0, 60, 69], &Marks::default()).unwrap();
        assert_eq!(tidied.text[60..], [0x0F, 0x1F, 0x40, 0x00, 0x48, 0x01, 0xC8, 0x79, 0xFB, 0xC3]);
        assert_eq!(tidied.place(60), 64);
        // One byte earlier it lies in a line as it is.
        let tidied = run(&text[1..], &[0, 59, 68], &Marks::default()).unwrap();
        assert_eq!(tidied.text.len(), 59 + 6);
    }

    #[test]
    fn ways_back_from_slow_paths_are_no_loops() {
        // 60 bytes of nop; add rax, rcx; js +1; ret; add rax, rdx; jmp -15 (to the first add)
        let mut text = vec![0x90; 60];
        text.extend([0x48, 0x01, 0xC8, 0x0F, 0x88, 1, 0, 0, 0, 0xC3, 0x48, 0x01, 0xD0]);
        text.extend([0xE9, 0xEE, 0xFF, 0xFF, 0xFF]);
        let tidied = run(&text, &[0, 60, 69, 70], &Marks::default()).unwrap();
        assert_eq!(tidied.place(60), 60);
        assert_eq!(tidied.text[60..], [0x48, 0x01, 0xC8, 0x78, 1, 0xC3, 0x48, 0x01, 0xD0, 0xEB, 0xF5]);
    }

    #[test]
    fn tables_move_along() {
        // lea rax, [rip+9] (the table); add rax, 1 (with four bytes); jmp rax; the table: to both rets, which follow
        let mut text = vec![0x48, 0x8D, 0x05, 9, 0, 0, 0, 0x48, 0x81, 0xC0, 1, 0, 0, 0, 0xFF, 0xE0];
        text.extend([8, 0, 0, 0, 9, 0, 0, 0, 0xC3, 0xC3]);
        let tidied = run(&text, &[0, 24, 25], &Marks::default()).unwrap();
        let inst = Decoder::new(64, &tidied.text, DecoderOptions::NONE).decode();
        let table = inst.ip_rel_memory_address() as usize;
        assert_eq!(table, 13);
        assert_eq!(tidied.text[table..], [8, 0, 0, 0, 9, 0, 0, 0, 0xC3, 0xC3]);
        // Without a following block the length of the table is not known.
        assert!(run(&text[..24], &[0], &Marks::default()).is_none());
    }
}
