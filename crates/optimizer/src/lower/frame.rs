//! Native frames without a frame pointer.
//!
//! Cranelift begins every body that calls or has stack slots with `push rbp; mov rbp, rsp; sub rsp, n`, and ends it with the opposite.
//! Stack slots are addressed by rsp, and nobody walks native frames by rbp but profilers and debuggers, so where these are not asked for
//! `sub rsp, n + 8` and `add rsp, n + 8` do the same: the pushed word keeps the stack aligned. A body that uses rbp for something else
//! keeps its frame.

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::slots::is_write;
use super::tidy::{Item, is_move, is_register};

/// What an instruction does to the frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// push rbp
    Push,
    /// mov rbp, rsp; or sub rsp, n: goes with the push.
    Make,
    /// mov rsp, rbp; or leave: all of the frame but the pushed word.
    Free,
    /// add rsp, n; or pop rbp: goes with that.
    Rest,
}

/// The frame's part that an instruction is, and how much room it makes or frees.
fn part(inst: &Instruction) -> Option<(Part, Option<u32>)> {
    let room = || {
        matches!(inst.op1_kind(), OpKind::Immediate8to64 | OpKind::Immediate32to64).then(|| inst.immediate(1))
    };
    if is_move(inst, Register::RBP, Register::RSP) {
        return Some((Part::Make, None));
    }
    if is_move(inst, Register::RSP, Register::RBP) {
        return Some((Part::Free, None));
    }
    match inst.mnemonic() {
        Mnemonic::Push if is_register(inst, 0, Register::RBP) => Some((Part::Push, None)),
        Mnemonic::Pop if is_register(inst, 0, Register::RBP) => Some((Part::Rest, None)),
        Mnemonic::Leave => Some((Part::Free, None)),
        Mnemonic::Sub if is_register(inst, 0, Register::RSP) => {
            Some((Part::Make, Some(u32::try_from(room()?).ok()?)))
        }
        Mnemonic::Add if is_register(inst, 0, Register::RSP) => {
            Some((Part::Rest, Some(u32::try_from(room()?).ok()?)))
        }
        _ => None,
    }
}

/// Does without the frame pointer in a body that begins with `push rbp`.
pub(super) fn run(items: &mut [Item<'_>], info: &mut InstructionInfoFactory) {
    let mut room = None;
    let mut calls = false;
    let mut highest = 0;
    for item in items.iter().filter(|item| !item.bytes.is_empty() && item.table.is_empty()) {
        let inst = &item.inst;
        calls |= matches!(inst.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        if let Some((_, size)) = part(inst) {
            match (size, room) {
                (Some(size), Some(room)) if size != room => return,
                (Some(size), _) => room = Some(size),
                (None, _) => {}
            }
            continue;
        }
        for used in info.info(inst).used_registers() {
            let full = used.register().full_register();
            let moves = full == Register::RSP
                && is_write(used.access())
                && !matches!(
                    inst.flow_control(),
                    FlowControl::Call | FlowControl::IndirectCall | FlowControl::Return
                );
            if full == Register::RBP || moves {
                return;
            }
        }
        if inst.memory_base() == Register::RSP {
            highest = highest.max(inst.memory_displacement64());
        }
    }
    let room = room.unwrap_or(0);
    // What stands beyond it would be the caller's.
    if highest >= u64::from(room) && highest > 0 || room % 16 != 0 {
        return;
    }
    // A leaf without slots needs none.
    let size = if calls || room > 0 { room + 8 } else { 0 };
    for item in items.iter_mut().filter(|item| !item.bytes.is_empty() && item.table.is_empty()) {
        let Some((part, _)) = part(&item.inst) else { continue };
        let operand = match part {
            Part::Push if size > 0 => 0xEC,
            Part::Free if size > 0 => 0xC4,
            _ => {
                item.drop();
                continue;
            }
        };
        item.replace([&[0x48, 0x81, operand], &size.to_le_bytes()[..]].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tidy::{self, Marks};

    /// push rbp; mov rbp, rsp
    const PUSH: [u8; 4] = [0x55, 0x48, 0x89, 0xE5];
    /// mov rsp, rbp; pop rbp; ret
    const POP: [u8; 5] = [0x48, 0x89, 0xEC, 0x5D, 0xC3];

    fn tidied(text: &[u8]) -> Vec<u8> {
        tidy::run(text, &[0], &Marks { frameless: true, ..Marks::default() }).unwrap().text
    }

    #[test]
    fn frames_are_room_and_a_word() {
        // sub rsp, 16; mov [rsp+8], rax; call rax; add rsp, 16
        let body = [0x48, 0x83, 0xEC, 16, 0x48, 0x89, 0x44, 0x24, 8, 0xFF, 0xD0, 0x48, 0x83, 0xC4, 16];
        let text = [&PUSH[..], &body, &POP].concat();
        let expected =
            [0x48, 0x83, 0xEC, 24, 0x48, 0x89, 0x44, 0x24, 8, 0xFF, 0xD0, 0x48, 0x83, 0xC4, 24, 0xC3];
        assert_eq!(tidied(&text), expected);
        // Where nobody asks for it, the frame stays.
        assert_eq!(tidy::run(&text, &[0], &Marks::default()).unwrap().text, text);
    }

    #[test]
    fn calls_without_slots_keep_the_stack_aligned() {
        let text = [&PUSH[..], &[0xFF, 0xD0], &POP].concat();
        assert_eq!(tidied(&text), [0x48, 0x83, 0xEC, 8, 0xFF, 0xD0, 0x48, 0x83, 0xC4, 8, 0xC3]);
        // A leaf: mov rax, rdx
        let text = [&PUSH[..], &[0x48, 0x89, 0xD0], &POP].concat();
        assert_eq!(tidied(&text), [0x48, 0x89, 0xD0, 0xC3]);
    }

    #[test]
    fn other_uses_of_the_frame_keep_it() {
        // mov rax, [rbp+16]: an argument in memory.
        let text = [&PUSH[..], &[0x48, 0x8B, 0x45, 16, 0xFF, 0xD0], &POP].concat();
        assert_eq!(tidied(&text), text);
        // sub rsp, 16; mov rax, [rsp+32]; call rax; add rsp, 16: one beyond the frame.
        let body = [0x48, 0x83, 0xEC, 16, 0x48, 0x8B, 0x44, 0x24, 32, 0xFF, 0xD0, 0x48, 0x83, 0xC4, 16];
        let text = [&PUSH[..], &body, &POP].concat();
        assert_eq!(tidied(&text), text);
    }
}
