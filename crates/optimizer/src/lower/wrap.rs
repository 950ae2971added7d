//! Ways through a function without a frame (shrink wrapping; F. Chow, "Minimizing Register Usage Penalty at Procedure Calls", 1988).
//!
//! Cranelift makes a function's stack frame at its start. A way from there to a return that neither calls nor needs a value back from the
//! stack, as the leaf of a recursion takes it, runs in a copy of its own at the function's start, without making the frame and
//! without the stores of values that only other ways read. Whatever leaves the copy makes the frame and the stores first.
//!
//! The copy is short ([`LIMIT`]), and what was at the function's start goes, since nothing else leads there.

use iced_x86::{Code, FlowControl, InstructionInfoFactory, Mnemonic, Register};

use super::slots::{is_write, move_bytes, slot_move};
use super::tidy::{INSERTED, Item, is_move, is_register};

/// So many instructions a copy may have.
const LIMIT: usize = 28;
/// So many ways may leave it.
const EXITS: usize = 5;

/// A store to a stack slot that the copy leaves out.
#[derive(Clone)]
struct Spill {
    slot: u64,
    register: Register,
    /// Whether the register still has what the slot was given.
    held: bool,
    /// The number of the item that stores.
    item: usize,
}

/// A way out of the copy.
struct Exit {
    /// What it is called by.
    key: u32,
    /// Where it goes on.
    target: u32,
    /// The stores that it makes up for.
    stores: Vec<usize>,
}

struct Wrap<'i, 'a> {
    items: &'i [Item<'a>],
    info: InstructionInfoFactory,
    /// The keys that were given away.
    keys: u32,
    exits: Vec<Exit>,
    /// Instructions that may still be copied.
    left: usize,
}

/// Puts a copy in front where there is such a way. `targets` are the places that branches lead to, in order.
pub(super) fn run(items: &mut Vec<Item<'_>>, targets: &[u32]) {
    let Some(frame) = frame(items) else { return };
    let info = InstructionInfoFactory::new();
    let mut wrap = Wrap { items, info, keys: INSERTED, exits: Vec::new(), left: LIMIT };
    let Some(mut all) = wrap.way(frame, Vec::new()) else { return };
    let Wrap { mut keys, mut exits, .. } = wrap;
    // What nothing leads to any more goes.
    let first = targets.first().copied().into_iter().chain(exits.iter().map(|e| e.target)).min();
    let live = first.map_or(items.len(), |first| items.partition_point(|item| item.start < first));
    if live < frame || items[..live].iter().any(|item| item.relocated) {
        return;
    }
    // The one that goes on where the rest begins falls into it.
    let next = items.get(live).map(|item| item.start);
    exits.sort_by_key(|exit| Some(exit.target) == next);
    let falls = exits.iter().rposition(|exit| Some(exit.target) == next);
    for (i, exit) in exits.iter().enumerate() {
        let mut key = exit.key;
        for from in items[..frame].iter().chain(exit.stores.iter().map(|&store| &items[store])) {
            all.push(from.copy(key));
            keys += 1;
            key = keys;
        }
        if falls != Some(i) {
            all.push(Item::jump(key, exit.target));
            keys += 1;
        }
    }
    items[..live].iter_mut().for_each(Item::drop);
    all.append(items);
    *items = all;
}

/// The number of items that make the frame.
pub(super) fn frame(items: &[Item<'_>]) -> Option<usize> {
    let [push, copy] = items.first_chunk::<2>()?;
    let is_frame = push.inst.code() == Code::Push_r64
        && push.inst.op0_register() == Register::RBP
        && is_move(&copy.inst, Register::RBP, Register::RSP);
    let room = items.get(2).is_some_and(|item| {
        item.inst.mnemonic() == Mnemonic::Sub && is_register(&item.inst, 0, Register::RSP)
    });
    is_frame.then_some(2 + usize::from(room))
}

impl<'a> Wrap<'_, 'a> {
    fn key(&mut self) -> u32 {
        self.keys += 1;
        self.keys
    }

    /// The copy from an item on; `None` where its ways are not short or need the frame.
    fn way(&mut self, mut at: usize, mut spills: Vec<Spill>) -> Option<Vec<Item<'a>>> {
        let mut copied: Vec<Item<'a>> = Vec::new();
        // The frame is given up: nothing but the return follows.
        let mut given_up = false;
        loop {
            let item = self.items.get(at)?;
            if item.bytes.is_empty() {
                at += 1;
                continue;
            }
            if !item.table.is_empty() || item.relocated {
                return None;
            }
            let inst = item.inst;
            match inst.flow_control() {
                FlowControl::Next => {}
                FlowControl::Return if given_up => {
                    copied.push(item.copy(self.key()));
                    return Some(copied);
                }
                FlowControl::UnconditionalBranch if item.refers.is_some() && !given_up => {
                    at = self.find(item.refers?)?;
                    self.left = self.left.checked_sub(1)?;
                    continue;
                }
                FlowControl::ConditionalBranch if item.refers.is_some() && !given_up => {
                    copied.extend(self.branch(at, &spills)?);
                    return Some(copied);
                }
                _ => return None,
            }
            at += 1;
            self.left = self.left.checked_sub(1)?;
            if let Some((slot, register, load)) = slot_move(&inst) {
                if !load {
                    spills.retain(|s| s.slot.abs_diff(slot) >= 8);
                    spills.push(Spill { slot, register, held: true, item: at - 1 });
                    continue;
                }
                let held = spills.iter().find(|s| s.slot == slot && s.held)?.register;
                overwrite(&mut spills, register);
                if held != register {
                    let mut item = item.copy(self.key());
                    item.replace(move_bytes(register, held));
                    copied.push(item);
                }
                continue;
            }
            let frees = inst.mnemonic() == Mnemonic::Add && is_register(&inst, 0, Register::RSP);
            let pops = inst.code() == Code::Pop_r64 && inst.op0_register() == Register::RBP;
            if frees || pops || is_move(&inst, Register::RSP, Register::RBP) {
                given_up |= pops;
                continue;
            }
            let used = self.info.info(&inst);
            for register in used.used_registers() {
                let full = register.register().full_register();
                if matches!(full, Register::RSP | Register::RBP) {
                    return None;
                }
                if is_write(register.access()) {
                    overwrite(&mut spills, full);
                }
            }
            copied.push(item.copy(self.key()));
        }
    }

    /// The copy from a branch on, of which one way at least ends in the copy.
    fn branch(&mut self, at: usize, spills: &[Spill]) -> Option<Vec<Item<'a>>> {
        let item = &self.items[at];
        self.left = self.left.checked_sub(1)?;
        let (taken, follows) = (item.refers?, self.items.get(at + 1)?.start);
        if taken <= item.start {
            return None;
        }
        let branch = item.copy(self.key());
        let through = self.attempt(at + 1, spills);
        let target = self.find(taken)?;
        let aside = self.attempt(target, spills);
        let mut copied = vec![branch];
        let branch = &mut copied[0];
        match (through, aside) {
            (None, None) => return None,
            (Some(through), None) => {
                branch.refers = Some(self.exit(taken, spills)?);
                copied.extend(through);
            }
            (None, Some(aside)) => {
                branch.invert();
                branch.refers = Some(self.exit(follows, spills)?);
                copied.extend(aside);
            }
            (Some(through), Some(aside)) => {
                branch.refers = aside.first().map(|item| item.start);
                copied.extend(through);
                copied.extend(aside);
            }
        }
        Some(copied)
    }

    /// As [`Wrap::way`]; what it had begun is taken back where there is none.
    fn attempt(&mut self, at: usize, spills: &[Spill]) -> Option<Vec<Item<'a>>> {
        let (exits, left) = (self.exits.len(), self.left);
        let way = self.way(at, spills.to_vec());
        if way.is_none() {
            self.exits.truncate(exits);
            self.left = left;
        }
        way
    }

    /// A way out of the copy, which makes up for the stores that it left out.
    fn exit(&mut self, target: u32, spills: &[Spill]) -> Option<u32> {
        if self.exits.len() == EXITS || spills.iter().any(|s| !s.held) {
            return None;
        }
        let key = self.key();
        self.exits.push(Exit { key, target, stores: spills.iter().map(|s| s.item).collect() });
        Some(key)
    }

    fn find(&self, start: u32) -> Option<usize> {
        self.items.binary_search_by_key(&start, |item| item.start).ok()
    }
}

/// A register was given another value.
fn overwrite(spills: &mut [Spill], register: Register) {
    spills.iter_mut().filter(|s| s.register == register).for_each(|s| s.held = false);
}

#[cfg(test)]
mod tests {
    use super::super::tidy::Marks;
    use iced_x86::{Decoder, DecoderOptions, Mnemonic};

    use crate::lower::tidy;

    fn mnemonics(text: &[u8]) -> Vec<Mnemonic> {
        Decoder::new(64, text, DecoderOptions::NONE).iter().map(|i| i.mnemonic()).collect()
    }

    #[test]
    fn a_leaf_makes_no_frame() {
        // push rbp; mov rbp, rsp; sub rsp, 16; mov [rsp+8], rsi; cmp rdx, 2; jge +13 (to the load);
        let mut text = vec![0x55, 0x48, 0x89, 0xE5, 0x48, 0x83, 0xEC, 16, 0x48, 0x89, 0x74, 0x24, 8];
        text.extend([0x48, 0x83, 0xFA, 2, 0x0F, 0x8D, 12, 0, 0, 0]);
        // mov rax, rdx; add rsp, 16; mov rsp, rbp; pop rbp; ret;
        text.extend([0x48, 0x89, 0xD0, 0x48, 0x83, 0xC4, 16, 0x48, 0x89, 0xEC, 0x5D, 0xC3]);
        // call rax; mov rsi, [rsp+8]; add rsp, 16; mov rsp, rbp; pop rbp; ret
        text.extend([
            0xFF, 0xD0, 0x48, 0x8B, 0x74, 0x24, 8, 0x48, 0x83, 0xC4, 16, 0x48, 0x89, 0xEC, 0x5D, 0xC3,
        ]);
        let tidied = tidy::run(&text, &[0, 23, 35], &Marks::default()).unwrap();
        use Mnemonic::*;
        let leaf = [Cmp, Jge, Mov, Ret];
        let rest = [Push, Mov, Sub, Mov, Call, Mov, Add, Mov, Pop, Ret];
        assert_eq!(mnemonics(&tidied.text), [&leaf[..], &rest[..]].concat());
    }
}
