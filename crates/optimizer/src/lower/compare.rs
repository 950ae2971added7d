//! Comparisons that read memory themselves.
//!
//! Cranelift merges a load into the instruction that uses it, but not into a comparison that a branch uses. So checks of positions and
//! looks at the stacks' ends load into a register first: `mov r, [m]; cmp a, r` becomes `cmp a, [m]`, and likewise `mov r, b; cmp r, a`
//! becomes `cmp b, a`. The register must not be read afterwards, which a backward data-flow analysis of finished code says
//! (`live`), and nothing between may change what it was given.

use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register};

use super::slots::{is_write, pair_bytes};
use super::tidy::{Item, copied};

/// How far behind a load or copy its comparison may stand.
const AHEAD: usize = 6;

/// Sets of registers are words with a bit for each number.
type Registers = u16;

const ALL: Registers = Registers::MAX;

fn bit(register: Register) -> Registers {
    let full = register.full_register();
    if full.is_gpr64() { 1 << full.number() } else { 0 }
}

/// Registers of arguments, in order.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

fn set(registers: &[Register]) -> Registers {
    registers.iter().fold(0, |set, &register| set | bit(register))
}

fn arguments(count: usize) -> Registers {
    set(ARGUMENTS.get(..count).unwrap_or(&ARGUMENTS))
}

/// Registers that hold nothing at a return: neither the result, of which there is one at most, nor anything of the caller's.
fn lost_at_return() -> Registers {
    use Register::{R8, R9, R10, R11, RCX, RDI, RDX, RSI};
    set(&[R8, R9, R10, R11, RCX, RDI, RDX, RSI])
}

/// What an instruction does to registers and memory.
#[derive(Clone, Copy, Default)]
struct Effect {
    reads: Registers,
    /// What it gives another value.
    writes: Registers,
    /// What it overwrites as a whole, whatever was in it.
    kills: Registers,
    /// Whether it writes to memory.
    stores: bool,
}

impl Effect {
    fn of(item: &Item<'_>, info: &mut InstructionInfoFactory) -> Effect {
        let mut effect = Effect::default();
        if item.bytes.is_empty() || !item.table.is_empty() {
            return effect;
        }
        let info = info.info(&item.inst);
        for used in info.used_registers() {
            let bit = bit(used.register());
            // Writing 32 bits clears the others.
            let whole = used.access() == OpAccess::Write && used.register().size() >= 4;
            let changed = if is_write(used.access()) { bit } else { 0 };
            effect.writes |= changed;
            if whole {
                effect.kills |= bit;
            } else {
                effect.reads |= bit;
            }
        }
        effect.stores = info.used_memory().iter().any(|m| is_write(m.access()));
        match item.inst.flow_control() {
            // What lives on across a call is read behind it.
            FlowControl::Call => effect.reads |= arguments(item.called.arguments.into()),
            FlowControl::IndirectCall => effect.reads |= arguments(ARGUMENTS.len()),
            FlowControl::Return => effect.reads = !lost_at_return(),
            _ => {}
        }
        effect
    }
}

/// The number of the target that each item is, if it is one; both are in order.
fn numbers(items: &[Item<'_>], targets: &[u32]) -> Vec<Option<u32>> {
    let mut next = (0..).zip(targets).peekable();
    let number = |item: &Item<'_>| {
        while next.next_if(|(_, target)| **target < item.start).is_some() {}
        next.next_if(|(_, target)| **target == item.start).map(|(n, _)| n)
    };
    items.iter().map(number).collect()
}

/// What is live behind each item: registers that may be read before they are overwritten. `targets` are the places that branches lead
/// to, in order, and `numbers` which item is which of them.
fn live(items: &[Item<'_>], effects: &[Effect], targets: &[u32], numbers: &[Option<u32>]) -> Vec<Registers> {
    let mut behind = vec![0; items.len()];
    // What is live at each target.
    let mut known: Vec<Registers> = vec![0; targets.len()];
    let number = |at: u32| targets.binary_search(&at).ok();
    loop {
        let mut more = false;
        let mut live = 0;
        for (i, (item, effect)) in items.iter().zip(effects).enumerate().rev() {
            if item.ends() {
                live = 0;
            }
            if !item.bytes.is_empty() {
                for &target in item.table.iter().chain(item.refers.iter().filter(|_| item.is_branch())) {
                    live |= number(target).map_or(ALL, |n| known[n]);
                }
            }
            behind[i] = live;
            live = live & !effect.kills | effect.reads;
            if let Some(n) = numbers[i]
                && known[n as usize] != live
            {
                known[n as usize] = live;
                more = true;
            }
        }
        if !more {
            return behind;
        }
    }
}

/// What a register was given by one instruction.
enum Source {
    /// A word of memory.
    Memory,
    /// Another register.
    Register(Register),
}

fn source(item: &Item<'_>) -> Option<(Register, Source)> {
    let inst = &item.inst;
    if item.bytes.is_empty() || item.refers.is_some() || item.relocated {
        return None;
    }
    if let Some((to, from)) = copied(inst) {
        return Some((to, Source::Register(from)));
    }
    let loads = inst.code() == Code::Mov_r64_rm64 && matches!(item.bytes[..], [0x48..=0x4F, 0x8B, ..]);
    loads.then(|| (inst.op0_register(), Source::Memory))
}

/// The registers that it compares.
fn compared(inst: &Instruction) -> Option<[Register; 2]> {
    let compares = matches!(inst.code(), Code::Cmp_r64_rm64 | Code::Cmp_rm64_r64)
        && inst.op0_kind() == OpKind::Register
        && inst.op1_kind() == OpKind::Register;
    compares.then(|| [inst.op0_register(), inst.op1_register()])
}

/// Merges loads and copies into the comparisons behind them.
pub(super) fn run(items: &mut [Item<'_>], targets: &[u32], info: &mut InstructionInfoFactory) {
    let effects: Vec<Effect> = items.iter().map(|item| Effect::of(item, info)).collect();
    let numbers = numbers(items, targets);
    let live = live(items, &effects, targets, &numbers);
    // Copies first: a comparison with memory takes no other operand.
    merge(items, &numbers, &effects, &live, false);
    merge(items, &numbers, &effects, &live, true);
}

/// Merges either loads or copies.
fn merge(
    items: &mut [Item<'_>],
    numbers: &[Option<u32>],
    effects: &[Effect],
    live: &[Registers],
    loads: bool,
) {
    for at in 0..items.len() {
        let Some((register, source)) = source(&items[at]) else { continue };
        if matches!(source, Source::Memory) != loads {
            continue;
        }
        // What must not change up to the comparison.
        let inputs = effects[at].reads | effects[at].writes;
        let mut found = None;
        // Others may also join at an instruction that is gone.
        let block = (at + 1..items.len()).take_while(|&i| numbers[i].is_none());
        for i in block.filter(|&i| !items[i].bytes.is_empty()).take(AHEAD) {
            let (item, effect) = (&items[i], &effects[i]);
            if item.inst.flow_control() != FlowControl::Next {
                break;
            }
            if let Some(pair) = compared(&item.inst)
                && pair.contains(&register)
            {
                let free = pair[0] != pair[1] && live[i] & bit(register) == 0;
                found = free.then_some((i, pair));
                break;
            }
            if effect.reads & bit(register) != 0 || effect.writes & inputs != 0 || loads && effect.stores {
                break;
            }
        }
        let Some((i, [first, second])) = found else { continue };
        let bytes = match source {
            Source::Memory => {
                // The load with another opcode, and what is compared with in place of its register.
                let (opcode, other) = if first == register { (0x39, second) } else { (0x3B, first) };
                let (load, number) = (&items[at].bytes, other.number() as u8);
                let head = [load[0] & !4 | number >> 3 << 2, opcode, load[2] & !0x38 | (number & 7) << 3];
                [&head, &load[3..]].concat()
            }
            Source::Register(from) => {
                let [first, second] = [first, second].map(|r| if r == register { from } else { r });
                pair_bytes(0x39, first, second)
            }
        };
        items[i].replace(bytes);
        items[at].drop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tidy::{self, Marks};

    fn tidied(text: &[u8], starts: &[u32]) -> Vec<u8> {
        tidy::run(text, starts, &Marks::default()).unwrap().text
    }

    #[test]
    fn comparisons_read_memory() {
        // mov rcx, [rax+8]; cmp rdx, rcx; jae +1; ret; ret
        let text = [0x48, 0x8B, 0x48, 8, 0x48, 0x39, 0xCA, 0x0F, 0x83, 1, 0, 0, 0, 0xC3, 0xC3];
        // cmp rdx, [rax+8]
        assert_eq!(tidied(&text, &[0, 13, 14]), [0x48, 0x3B, 0x50, 8, 0x73, 1, 0xC3, 0xC3]);
        // mov r9, [r8+8]; cmp r9, r10: cmp [r8+8], r10
        let text = [0x4D, 0x8B, 0x48, 8, 0x4D, 0x39, 0xD1, 0x0F, 0x83, 1, 0, 0, 0, 0xC3, 0xC3];
        assert_eq!(tidied(&text, &[0, 13, 14]), [0x4D, 0x39, 0x50, 8, 0x73, 1, 0xC3, 0xC3]);
        // mov rdx, rsp; cmp rdx, rcx; jb +1; ret; ret: cmp rsp, rcx
        let text = [0x48, 0x89, 0xE2, 0x48, 0x39, 0xCA, 0x0F, 0x82, 1, 0, 0, 0, 0xC3, 0xC3];
        assert_eq!(tidied(&text, &[0, 12, 13])[..5], [0x48, 0x39, 0xCC, 0x72, 1]);
    }

    #[test]
    fn what_is_read_later_or_changes_stays() {
        let unchanged = |text: &[u8], compare: usize| {
            let end = text.len() as u32;
            assert_eq!(tidied(text, &[0, end - 1])[compare..compare + 3], text[compare..compare + 3]);
        };
        // mov rax, [rdx+8]; cmp rcx, rax; jae +0; ret: the result
        unchanged(&[0x48, 0x8B, 0x42, 8, 0x48, 0x39, 0xC1, 0x0F, 0x83, 0, 0, 0, 0, 0xC3], 4);
        // mov rcx, [rax+8]; mov [rsi], rdx; cmp rdx, rcx; jae +0; ret
        unchanged(
            &[0x48, 0x8B, 0x48, 8, 0x48, 0x89, 0x16, 0x48, 0x39, 0xCA, 0x0F, 0x83, 0, 0, 0, 0, 0xC3],
            7,
        );
        // mov rcx, [rax+8]; add rax, rdx; cmp rdx, rcx; jae +0; ret
        unchanged(
            &[0x48, 0x8B, 0x48, 8, 0x48, 0x01, 0xD0, 0x48, 0x39, 0xCA, 0x0F, 0x83, 0, 0, 0, 0, 0xC3],
            7,
        );
        // mov rcx, [rax+8]; cmp rdx, rcx; jae +3 (to the ret); mov rax, rcx; ret
        let text = [0x48, 0x8B, 0x48, 8, 0x48, 0x39, 0xCA, 0x0F, 0x83, 3, 0, 0, 0, 0x48, 0x89, 0xC8, 0xC3];
        assert_eq!(tidied(&text, &[0, 13, 16])[4..7], text[4..7]);
    }

    #[test]
    fn where_others_join_at_what_is_gone_a_load_stays() {
        // mov [rsp+8], rbx; test rdx, rdx; je +4 (to the second store); mov rcx, [rax+8]; mov [rsp+8], rbx; cmp rdx, rcx; jae +1;
        // ret; ret
        let mut text = vec![0x48, 0x89, 0x5C, 0x24, 8, 0x48, 0x85, 0xD2, 0x0F, 0x84, 4, 0, 0, 0];
        text.extend([0x48, 0x8B, 0x48, 8, 0x48, 0x89, 0x5C, 0x24, 8, 0x48, 0x39, 0xCA]);
        text.extend([0x0F, 0x83, 1, 0, 0, 0, 0xC3, 0xC3]);
        let short = [0x48, 0x89, 0x5C, 0x24, 8, 0x48, 0x85, 0xD2, 0x74, 4, 0x48, 0x8B, 0x48, 8];
        let expected = [&short[..], &[0x48, 0x39, 0xCA, 0x73, 1, 0xC3, 0xC3]].concat();
        assert_eq!(tidied(&text, &[0, 14, 18, 32, 33]), expected);
    }

    #[test]
    fn what_a_loop_reads_again_stays() {
        // mov rcx, [rax+8]; add rdx, rcx; cmp rdx, rcx; jb -9 (to the add); ret
        let text = [
            0x48, 0x8B, 0x48, 8, 0x48, 0x01, 0xCA, 0x48, 0x39, 0xCA, 0x0F, 0x82, 0xF4, 0xFF, 0xFF, 0xFF, 0xC3,
        ];
        assert_eq!(tidied(&text, &[0, 4, 16])[7..10], text[7..10]);
    }
}
