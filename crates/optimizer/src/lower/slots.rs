//! Stack slots and registers that hold the same, followed through finished code.
//!
//! The register allocator splits live ranges so that a value is often loaded twice in a row, and that a loop stores in each turn what it
//! loaded in the last. What holds at an instruction that branches lead to is what holds on all ways there: a forward data-flow analysis
//! whose facts are pairs of slot and register. Only spill slots are followed: stores through other registers than the stack pointer do
//! not reach them.

use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register};

use super::tidy::{BUDGET, Item, copied};

/// What a 64-bit move of a register from or to a stack slot says: the slot, the register, and whether it is a load.
pub(super) fn slot_move(inst: &Instruction) -> Option<(u64, Register, bool)> {
    let (load, memory, register) = match inst.code() {
        Code::Mov_r64_rm64 => (true, 1, 0),
        Code::Mov_rm64_r64 => (false, 0, 1),
        _ => return None,
    };
    (inst.op_kind(memory) == OpKind::Memory
        && inst.memory_base() == Register::RSP
        && inst.memory_index() == Register::None)
        .then(|| (inst.memory_displacement64(), inst.op_register(register), load))
}

/// mov to, from
pub(super) fn move_bytes(to: Register, from: Register) -> Vec<u8> {
    pair_bytes(0x89, to, from)
}

/// An instruction on two registers of 64 bits, of which the first is where there could be memory.
pub(super) fn pair_bytes(opcode: u8, first: Register, second: Register) -> Vec<u8> {
    let (first, second) = (first.number() as u8, second.number() as u8);
    vec![0x48 | second >> 3 << 2 | first >> 3, opcode, 0xC0 | (second & 7) << 3 | first & 7]
}

pub(super) fn is_write(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// What an instruction does to slots and registers that hold the same.
enum Effect {
    /// A load of a slot, or a store to it.
    Move { slot: u64, register: Register, load: bool },
    /// The first register becomes the second.
    Copy(Register, Register),
    /// Registers are overwritten, by their numbers, and so are slots where it says so.
    Overwrites { registers: u16, slots: bool },
}

impl Effect {
    const NOTHING: Effect = Effect::Overwrites { registers: 0, slots: false };
    const EVERYTHING: Effect = Effect::Overwrites { registers: u16::MAX, slots: true };

    fn of(item: &Item<'_>, info: &mut InstructionInfoFactory) -> Effect {
        if item.bytes.is_empty() {
            return Effect::NOTHING;
        }
        let inst = &item.inst;
        if !item.table.is_empty() {
            return Effect::EVERYTHING;
        }
        if let Some((slot, register, load)) = slot_move(inst) {
            return Effect::Move { slot, register, load };
        }
        if let Some((to, from)) = copied(inst) {
            return if to == Register::RSP { Effect::EVERYTHING } else { Effect::Copy(to, from) };
        }
        if matches!(inst.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
            let budget = Effect::Overwrites { registers: 1 << BUDGET.number(), slots: false };
            return if item.called.keeps { budget } else { Effect::EVERYTHING };
        }
        let used = info.info(inst);
        let mut registers = 0;
        for register in used.used_registers().iter().filter(|u| is_write(u.access())) {
            let full = register.register().full_register();
            if full == Register::RSP {
                return Effect::EVERYTHING;
            }
            if full.is_gpr64() {
                registers |= 1 << full.number();
            }
        }
        let slots = used.used_memory().iter().any(|m| is_write(m.access()) && m.base() == Register::RSP);
        Effect::Overwrites { registers, slots }
    }

    /// What holds behind it.
    fn apply(&self, same: &mut Vec<(u64, Register)>) {
        match *self {
            Effect::Move { slot, register, load: true } => {
                if !same.contains(&(slot, register)) {
                    same.retain(|&(_, r)| r != register);
                    same.push((slot, register));
                }
            }
            Effect::Move { slot, register, load: false } => {
                if !same.contains(&(slot, register)) {
                    same.retain(|&(s, _)| s.abs_diff(slot) >= 8);
                    same.push((slot, register));
                }
            }
            Effect::Copy(to, from) if to != from => {
                same.retain(|&(_, r)| r != to);
                let known = same.len();
                for i in 0..known {
                    if same[i].1 == from {
                        same.push((same[i].0, to));
                    }
                }
            }
            Effect::Copy(..) => {}
            Effect::Overwrites { slots: true, .. } => same.clear(),
            Effect::Overwrites { registers, .. } => {
                if registers != 0 {
                    same.retain(|&(_, r)| registers & 1 << r.number() == 0);
                }
            }
        }
    }
}

/// Leaves out loads and stores of what a register or slot holds already. What holds at an instruction that branches lead to is what holds
/// on all ways there.
pub(super) fn run(items: &mut [Item<'_>], targets: &[u32], info: &mut InstructionInfoFactory) {
    let effects: Vec<Effect> = items.iter().map(|item| Effect::of(item, info)).collect();
    let number = |at: u32| targets.binary_search(&at).ok();
    // What holds at each target; nothing is known of those that no way was found to yet.
    let mut known: Vec<Option<Vec<(u64, Register)>>> = vec![None; targets.len()];
    let arrive = |known: &mut Vec<Option<Vec<(u64, Register)>>>, at: u32, same: &[(u64, Register)]| {
        let Some(known) = number(at).and_then(|n| known.get_mut(n)) else { return false };
        let Some(before) = known else {
            *known = Some(same.to_vec());
            return true;
        };
        let len = before.len();
        before.retain(|pair| same.contains(pair));
        before.len() != len
    };
    loop {
        let mut more = false;
        let mut same = Some(Vec::new());
        for (item, effect) in items.iter().zip(&effects) {
            if let Some(n) = number(item.start) {
                if let Some(same) = &same {
                    more |= arrive(&mut known, item.start, same);
                }
                same = known[n].clone();
            }
            let Some(holds) = &mut same else { continue };
            effect.apply(holds);
            for &target in item.table.iter().chain(item.refers.iter().filter(|_| item.is_branch())) {
                more |= arrive(&mut known, target, holds);
            }
            if item.ends() {
                same = None;
            }
        }
        if !more {
            break;
        }
    }
    let mut same = Vec::new();
    for (item, effect) in items.iter_mut().zip(&effects) {
        if let Some(n) = number(item.start) {
            same.clear();
            same.extend(known[n].iter().flatten());
        }
        if let Effect::Move { slot, register, load } = *effect {
            if same.contains(&(slot, register)) {
                item.drop();
            } else if load && let Some(&(_, held)) = same.iter().find(|&&(s, _)| s == slot) {
                item.replace(move_bytes(register, held));
            }
        }
        effect.apply(&mut same);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tidy::{Called, Marks};
    use iced_x86::{Decoder, DecoderOptions, Mnemonic};

    use crate::lower::tidy;

    fn mnemonics(text: &[u8]) -> Vec<Mnemonic> {
        Decoder::new(64, text, DecoderOptions::NONE).iter().map(|i| i.mnemonic()).collect()
    }

    #[test]
    fn slots_are_loaded_once() {
        // mov [rsp+8], rax; mov rcx, [rsp+8]; mov rax, [rsp+8]; mov [rsp+8], rcx; add [rdx], rcx; ret
        let mut text = vec![0x48, 0x89, 0x44, 0x24, 8, 0x48, 0x8B, 0x4C, 0x24, 8, 0x48, 0x8B, 0x44, 0x24, 8];
        text.extend([0x48, 0x89, 0x4C, 0x24, 8, 0x48, 0x01, 0x0A, 0xC3]);
        let tidied = tidy::run(&text, &[0], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text), [Mnemonic::Mov, Mnemonic::Mov, Mnemonic::Add, Mnemonic::Ret]);
        // The second is mov rcx, rax.
        assert_eq!(tidied.text[5..8], [0x48, 0x89, 0xC1]);
    }

    #[test]
    fn calls_and_other_ways_end_what_is_known() {
        // mov [rsp+8], rbx; call rax; mov rbx, [rsp+8]; jmp -7 (to the load)
        let mut text = vec![0x48, 0x89, 0x5C, 0x24, 8, 0xFF, 0xD0, 0x48, 0x8B, 0x5C, 0x24, 8];
        text.extend([0xE9, 0xF6, 0xFF, 0xFF, 0xFF]);
        let tidied = tidy::run(&text, &[0, 7], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text), [Mnemonic::Mov, Mnemonic::Call, Mnemonic::Mov, Mnemonic::Jmp]);
        assert_eq!(tidied.text[12..], [0xEB, 0xF9]);
    }

    #[test]
    fn a_loop_does_not_store_what_it_loaded() {
        // mov rcx, [rsp+8]; add rax, rcx; mov [rsp+8], rcx; js -17 (to the load); ret
        let text = [
            0x48, 0x8B, 0x4C, 0x24, 8, 0x48, 0x01, 0xC8, 0x48, 0x89, 0x4C, 0x24, 8, 0x0F, 0x88, 0xED, 0xFF,
            0xFF, 0xFF, 0xC3,
        ];
        let tidied = tidy::run(&text, &[0, 19], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text), [Mnemonic::Mov, Mnemonic::Add, Mnemonic::Js, Mnemonic::Ret]);
        // Where the register changes in between (add rcx, rax), the store stays.
        let mut other = text.to_vec();
        other[5..8].copy_from_slice(&[0x48, 0x01, 0xC1]);
        let tidied = tidy::run(&other, &[0, 19], &Marks::default()).unwrap();
        assert_eq!(mnemonics(&tidied.text).len(), 5);
    }

    #[test]
    fn a_call_that_keeps_registers_keeps_what_is_known() {
        // mov [rsp+8], rbx; call +0; mov rbx, [rsp+8]; ret
        let text = [0x48, 0x89, 0x5C, 0x24, 8, 0xE8, 0, 0, 0, 0, 0x48, 0x8B, 0x5C, 0x24, 8, 0xC3];
        let tidied = tidy::run(&text, &[0], &Marks { relocated: &[6], ..Marks::default() }).unwrap();
        assert_eq!(mnemonics(&tidied.text).len(), 4);
        let calls = [Called { at: 6, keeps: true, ..Called::default() }];
        let marks = Marks { relocated: &[6], calls: &calls, ..Marks::default() };
        let tidied = tidy::run(&text, &[0], &marks).unwrap();
        assert_eq!(mnemonics(&tidied.text), [Mnemonic::Mov, Mnemonic::Call, Mnemonic::Ret]);
    }
}
