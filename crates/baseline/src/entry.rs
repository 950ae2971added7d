//! The way from native code into optimized code, which stands in front of each piece of it.
//!
//! Native code has context, frame and budget in r12, r13 and r14 and arguments in the frame, and no call of it keeps other registers.
//! Optimized code takes context, frame and arguments as C does (rdi, rsi, rdx, rcx, r8, r9, xmm0 to xmm7, then the stack), has the
//! budget in r15, keeps no registers, and wants an aligned stack, which native code does not have. So each signature needs a few
//! moves of its own; they are assembled here, since compiling them took longer than compiling a small function.
//!
//! Optimized code calls other optimized code without this, and writes no flags into the header of a frame that it calls for. So a
//! return looks for flags here and not in the body.

use std::mem::offset_of;

use upshift_runtime::context::Context;
use upshift_runtime::frame::{FLAGS, FunctionEntry};
use upshift_runtime::value::Value;

/// Which registers a value is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bank {
    /// Those of ints and cells.
    Int,
    /// Those of floats.
    Float,
}

/// The code of a way in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The bytes.
    pub text: Vec<u8>,
    /// Where the distance of 32 bits to the optimized code goes, counted from its end.
    pub call: usize,
    /// Where the distance of 32 bits to [`crate::Stub::Return`] goes, counted from its end.
    pub slow_return: usize,
}

/// The numbers of the registers that C passes arguments in, behind context and frame: rdx, rcx, r8, r9.
const INTS: [u8; 4] = [2, 1, 8, 9];
/// How many arguments C passes in xmm registers, from xmm0 on.
const FLOATS: u8 = 8;
const RAX: u8 = 0;

/// The way into code that takes arguments from these slots of the frame, in their order, and gives a result of this bank. `function`
/// is the number of the function whose frame it is, `header` the slot of its header.
pub fn optimized_entry(arguments: &[(u32, Bank)], result: Option<Bank>, function: u32, header: u32) -> Entry {
    let mut ints = INTS.into_iter();
    let mut floats = 0..FLOATS;
    let mut moves = Vec::new();
    let mut pushed = 0;
    for &(slot, bank) in arguments {
        let (register, bank) = match bank {
            Bank::Int => (ints.next(), bank),
            Bank::Float => (floats.next(), bank),
        };
        match register {
            Some(register) => load(&mut moves, register, bank, slot),
            None => {
                load(&mut moves, RAX, Bank::Int, slot);
                // mov [rsp + 8 * pushed], rax
                moves.extend([0x48, 0x89, 0x84, 0x24]);
                moves.extend((8 * pushed as u32).to_le_bytes());
                pushed += 1;
            }
        }
    }
    let mut text = vec![
        0x55, // push rbp
        0x48, 0x89, 0xE5, // mov rbp, rsp
        0x41, 0x54, // push r12
        0x41, 0x55, // push r13
    ];
    if pushed > 0 {
        text.extend([0x48, 0x81, 0xEC]); // sub rsp, 8 * pushed
        text.extend((8 * pushed as u32).to_le_bytes());
    }
    text.extend([
        0x48, 0x83, 0xE4, 0xF0, // and rsp, -16
        0x4C, 0x89, 0xE7, // mov rdi, r12
        0x4C, 0x89, 0xEE, // mov rsi, r13
        0x4D, 0x89, 0xF7, // mov r15, r14
    ]);
    text.extend(moves);
    text.push(0xE8); // call
    let call = text.len();
    text.extend([0; 4]);
    match result {
        Some(Bank::Int) => {}
        Some(Bank::Float) => text.extend([0x66, 0x48, 0x0F, 0x7E, 0xC0]), // movq rax, xmm0
        None => {
            text.extend([0x48, 0xB8]); // mov rax, nil
            text.extend(Value::NIL.bits().to_le_bytes());
        }
    }
    text.extend([
        0x4D, 0x89, 0xFE, // mov r14, r15
        0x4C, 0x8B, 0x65, 0xF8, // mov r12, [rbp - 8]
        0x4C, 0x8B, 0x6D, 0xF0, // mov r13, [rbp - 16]
        0xC9, // leave
        0x41, 0xF6, 0x85, // test byte [r13 + header], flags
    ]);
    text.extend((8 * header).to_le_bytes());
    text.extend([
        FLAGS as u8,
        0x75,
        1,    // jne behind the return
        0xC3, // ret
        0xB9, // mov ecx, distance of the entry
    ]);
    text.extend((function << FunctionEntry::SHIFT).to_le_bytes());
    text.extend([0x49, 0x03, 0x4C, 0x24, offset_of!(Context, functions) as u8]); // add rcx, [r12 + functions]
    text.push(0xE9); // jmp
    let slow_return = text.len();
    text.extend([0; 4]);
    Entry { text, call, slow_return }
}

/// Loads a register from a slot of the frame.
fn load(text: &mut Vec<u8>, register: u8, bank: Bank, slot: u32) {
    let high = register >> 3 << 2;
    match bank {
        Bank::Int => text.extend([0x49 | high, 0x8B]), // mov
        Bank::Float => text.extend([0xF2, 0x41 | high, 0x0F, 0x10]), // movsd
    }
    // [r13 + distance]
    let (distance, low) = (8 * slot, (register & 7) << 3);
    match i8::try_from(distance) {
        Ok(distance) => text.extend([0x45 | low, distance as u8]),
        Err(_) => {
            text.push(0x85 | low);
            text.extend(distance.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: [u8; 21] = [
        0x55, // push rbp
        0x48, 0x89, 0xE5, // mov rbp, rsp
        0x41, 0x54, 0x41, 0x55, // push r12; push r13
        0x48, 0x83, 0xE4, 0xF0, // and rsp, -16
        0x4C, 0x89, 0xE7, // mov rdi, r12
        0x4C, 0x89, 0xEE, // mov rsi, r13
        0x4D, 0x89, 0xF7, // mov r15, r14
    ];
    const BEHIND: [u8; 38] = [
        0x4D, 0x89, 0xFE, // mov r14, r15
        0x4C, 0x8B, 0x65, 0xF8, // mov r12, [rbp - 8]
        0x4C, 0x8B, 0x6D, 0xF0, // mov r13, [rbp - 16]
        0xC9, // leave
        0x41, 0xF6, 0x85, 40, 0, 0, 0, 7, // test byte [r13 + 40], 7
        0x75, 0x01, 0xC3, // jne +1; ret
        0xB9, 0xC0, 0, 0, 0, // mov ecx, 192
        0x49, 0x03, 0x4C, 0x24, 0x10, // add rcx, [r12 + 16]
        0xE9, 0, 0, 0, 0, // jmp
    ];

    #[test]
    fn loops_take_nothing() {
        let entry = optimized_entry(&[], Some(Bank::Int), 3, 5);
        assert_eq!(entry.text[..entry.call - 1], BEFORE);
        assert_eq!(entry.text[entry.call - 1], 0xE8);
        assert_eq!(entry.text[entry.call + 4..], BEHIND);
        assert_eq!(entry.slow_return + 4, entry.text.len());
    }

    #[test]
    fn arguments_come_from_the_frame() {
        let arguments = [(0, Bank::Int), (1, Bank::Float), (20, Bank::Int), (3, Bank::Int)];
        let entry = optimized_entry(&arguments, None, 3, 5);
        let moves = [
            0x49, 0x8B, 0x55, 0x00, // mov rdx, [r13]
            0xF2, 0x41, 0x0F, 0x10, 0x45, 0x08, // movsd xmm0, [r13 + 8]
            0x49, 0x8B, 0x8D, 0xA0, 0, 0, 0, // mov rcx, [r13 + 160]
            0x4D, 0x8B, 0x45, 0x18, // mov r8, [r13 + 24]
        ];
        assert_eq!(entry.text[BEFORE.len()..entry.call - 1], moves);
        let nil = Value::NIL.bits().to_le_bytes();
        assert_eq!(entry.text[entry.call + 4..][..2], [0x48, 0xB8]);
        assert_eq!(entry.text[entry.call + 6..][..8], nil);
        assert_eq!(entry.text[entry.call + 14..], BEHIND);
    }

    #[test]
    fn what_has_no_register_is_on_the_stack() {
        let arguments: Vec<(u32, Bank)> = (0..6).map(|slot| (slot, Bank::Int)).collect();
        let entry = optimized_entry(&arguments, Some(Bank::Float), 3, 5);
        let room = [0x48, 0x81, 0xEC, 16, 0, 0, 0]; // sub rsp, 16
        assert_eq!(entry.text[8..15], room);
        let moves = [
            0x49, 0x8B, 0x45, 0x20, // mov rax, [r13 + 32]
            0x48, 0x89, 0x84, 0x24, 0, 0, 0, 0, // mov [rsp], rax
            0x49, 0x8B, 0x45, 0x28, // mov rax, [r13 + 40]
            0x48, 0x89, 0x84, 0x24, 8, 0, 0, 0, // mov [rsp + 8], rax
        ];
        assert!(entry.text[..entry.call - 1].ends_with(&moves));
        assert_eq!(entry.text[entry.call + 4..][..5], [0x66, 0x48, 0x0F, 0x7E, 0xC0]); // movq rax, xmm0
        assert_eq!(entry.text[entry.call + 9..], BEHIND);
    }
}
