//! Branches on the overflow flag.
//!
//! Cranelift has no branch on the flag of `sadd_overflow` and its like: it makes a byte of the flag, tests the byte, and branches. In the
//! finished code that is `seto r; test r, r; jne`, and becomes a no-op and `jo`. Nothing moves, so no offset changes. Between the
//! arithmetic and `seto` stand at most moves, which leave flags alone; the byte has no other use, since the lowering branches on
//! such a flag once, at the instruction itself, and does nothing else with it.
//!
//! Instructions are decoded from the start of each basic block, so what looks like such a sequence inside of other instructions, or in
//! constants, is left alone.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};

/// No-ops by length.
const NOPS: [&[u8]; 3] = [
    &[0x0F, 0x1F, 0x44, 0x00, 0x00],
    &[0x66, 0x0F, 0x1F, 0x44, 0x00, 0x00],
    &[0x0F, 0x1F, 0x80, 0x00, 0x00, 0x00, 0x00],
];

/// Rewrites the code, whose basic blocks begin at these offsets; gives how many branches.
pub(super) fn run(text: &mut [u8], starts: &[u32]) -> usize {
    let mut found: Vec<(usize, usize, u8)> = Vec::new();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).map_or(text.len(), |&e| e as usize);
        let Some(block) = text.get(start as usize..end) else { continue };
        let mut decoder = Decoder::with_ip(64, block, u64::from(start), DecoderOptions::NONE);
        let mut last = [Instruction::default(), Instruction::default()];
        while decoder.can_decode() {
            let inst = decoder.decode();
            if let Some(condition) = overflow_branch(&last[0], &last[1], &inst) {
                found.push((last[0].ip() as usize, inst.ip() as usize, condition));
            }
            // Behind the last block stand constants.
            if matches!(inst.mnemonic(), Mnemonic::Jmp | Mnemonic::Ret | Mnemonic::Ud2) || inst.is_invalid() {
                break;
            }
            last = [last[1], inst];
        }
    }
    let mut done = 0;
    for (from, branch, condition) in found {
        let Some(nop) = NOPS.iter().find(|n| n.len() == branch - from) else { continue };
        text[from..branch].copy_from_slice(nop);
        text[branch + 1] = condition;
        done += 1;
    }
    done
}

/// The second byte of the branch on the flag itself.
fn overflow_branch(set: &Instruction, test: &Instruction, branch: &Instruction) -> Option<u8> {
    let register = |inst: &Instruction, n| inst.op_kind(n) == OpKind::Register;
    let same = set.mnemonic() == Mnemonic::Seto
        && test.mnemonic() == Mnemonic::Test
        && register(set, 0)
        && register(test, 0)
        && register(test, 1)
        && test.op0_register() == set.op0_register()
        && test.op1_register() == set.op0_register();
    // The near form: 0F 8x and a distance of 32 bits.
    match branch.mnemonic() {
        _ if !same || branch.len() != 6 => None,
        Mnemonic::Jne => Some(0x80),
        Mnemonic::Je => Some(0x81),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_on_the_flag() {
        // add rax, rcx; seto cl; test cl, cl; jne +16; ret
        let mut text =
            vec![0x48, 0x01, 0xC8, 0x0F, 0x90, 0xC1, 0x84, 0xC9, 0x0F, 0x85, 0x10, 0x00, 0x00, 0x00, 0xC3];
        assert_eq!(run(&mut text, &[0]), 1);
        let mut decoder = Decoder::new(64, &text, DecoderOptions::NONE);
        let seen: Vec<Mnemonic> = decoder.iter().map(|i| i.mnemonic()).collect();
        assert_eq!(seen, [Mnemonic::Add, Mnemonic::Nop, Mnemonic::Jo, Mnemonic::Ret]);
    }

    #[test]
    fn bytes_inside_other_instructions_stay() {
        // mov rax, imm64 with the bytes of the sequence; ret; the same bytes as a constant.
        let bytes = [0x0F, 0x90, 0xC1, 0x84, 0xC9, 0x0F, 0x85, 0x00];
        let mut text = vec![0x48, 0xB8];
        text.extend(bytes);
        text.push(0xC3);
        text.extend(bytes);
        let before = text.clone();
        assert_eq!(run(&mut text, &[0]), 0);
        assert_eq!(text, before);
    }

    #[test]
    fn another_register_stays() {
        // seto cl; test dl, dl; jne
        let mut text = vec![0x0F, 0x90, 0xC1, 0x84, 0xD2, 0x0F, 0x85, 0, 0, 0, 0];
        assert_eq!(run(&mut text, &[0]), 0);
    }
}
