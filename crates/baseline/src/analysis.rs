//! What the compiler wants to know before it emits: leaders, innermost loops with the slots worth pinning, and where values of
//! block-local slots die. Two linear passes over the code.
//!
//! * A *leader* is an instruction that something jumps to; blocks go from leader to leader (a branch that is not taken stays
//!   in its block).
//! * A raw slot is *exposed* where some block reads it before it writes it: its value passes between blocks. Others are local
//!   to their blocks, so they are dead at the ends, and an access is known to be the last.
//! * A loop is the code from its header to its last backward branch. Loops without another header inside are *innermost*;
//!   their most used exposed slots are pinned to registers throughout.

use std::sync::OnceLock;

use upshift_bytecode::ops::Role;
use upshift_bytecode::{Bank, Effects, Op, OperandKind, Word};
use upshift_runtime::linked::{FunctionMeta, switch_table};

use crate::regs::{ALL, EMPTY, INTS, Regs};

/// The raw registers that an op touches, as sets of 16-bit units.
struct Row {
    /// Units that are read (updates included).
    uses: u8,
    /// Units that are written (updates included).
    defs: u8,
    /// Units of the float bank.
    floats: u8,
    /// The units of a branch target, and whether it has 32 bits.
    target: Option<(u8, bool)>,
    words: u8,
    /// The units of a frame slot by its wide number.
    wide: bool,
    switch: bool,
    lop: bool,
}

/// The units of a set.
#[inline(always)]
fn each(set: u8) -> impl Iterator<Item = usize> {
    let mut rest = set;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let unit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            unit
        })
    })
}

fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        Op::ALL
            .iter()
            .map(|op| {
                let info = op.info();
                let mut row = Row {
                    uses: 0,
                    defs: 0,
                    floats: 0,
                    target: None,
                    words: info.words,
                    wide: false,
                    switch: false,
                    lop: info.effects.has(Effects::LOOP) && info.effects.has(Effects::BRANCH),
                };
                for (operand, &unit) in info.operands.iter().zip(&info.layout) {
                    match operand.kind {
                        OperandKind::Label => row.target = Some((unit, true)),
                        OperandKind::Label16 => row.target = Some((unit, false)),
                        OperandKind::Switch => row.switch = true,
                        OperandKind::Slot | OperandKind::SlotDef => row.wide = true,
                        _ => {}
                    }
                    if let Some((role, bank, _)) = operand.kind.register()
                        && bank != Bank::Cell
                    {
                        let bit = 1 << unit;
                        row.uses |= if role == Role::Def { 0 } else { bit };
                        row.defs |= if role == Role::Use { 0 } else { bit };
                        row.floats |= if bank == Bank::Float { bit } else { 0 };
                    }
                }
                row
            })
            .collect()
    })
}

/// Flags of an instruction: bit `n` says that the value in the register operand at unit `n` dies here (for definitions: is
/// never read).
pub type Deaths = u8;

/// A loop without another one inside.
#[derive(Debug)]
pub struct Loop {
    /// The word of its header.
    pub header: u32,
    /// The word of its last backward branch.
    pub end: u32,
    /// What is in registers where its blocks begin.
    pub pins: Regs,
}

/// What the passes found.
#[derive(Debug, Default)]
pub struct Analysis {
    /// For each word: 0, or 1 for a leader; in words where an instruction starts.
    pub leader: Vec<bool>,
    /// The words where instructions start.
    pub starts: Vec<u32>,
    /// What dies, by instruction.
    pub deaths: Vec<Deaths>,
    /// Whether a slot passes between blocks.
    pub exposed: Vec<bool>,
    /// The innermost loops in order.
    pub loops: Vec<Loop>,
    /// The targets of switches and handlers: entered from outside.
    pub entries: Vec<u32>,
    /// By slot, for the passes.
    marks: Vec<u32>,
    counts: Vec<u32>,
}

fn fill<T: Clone>(table: &mut Vec<T>, len: usize, value: T) {
    table.clear();
    table.resize(len, value);
}

/// The op of a word, which is the first of an instruction.
#[inline(always)]
pub fn op_at(code: &[Word], at: usize) -> Op {
    Op::from_number(code[at].op()).unwrap_or(Op::Nop)
}

#[inline(always)]
fn unit(code: &[Word], at: usize, unit: usize) -> u16 {
    (code[at + unit / 4].0 >> (16 * (unit % 4))) as u16
}

/// Analyses the code of a function (`code` is the module's from its first word on, literal pool included).
pub fn analyse(meta: &FunctionMeta, code: &[Word], pin: bool, found: &mut Analysis) {
    let rows = rows();
    let len = meta.len as usize;
    let slots = meta.layout.size() as usize;
    let Analysis { leader, starts, deaths, exposed, loops, entries, marks: defined, counts } = found;
    fill(leader, len + 1, false);
    starts.clear();
    entries.clear();
    loops.clear();
    // Headers in order of their words, each with the end of its loop.
    let mut headers: Vec<(u32, u32)> = Vec::new();
    let mut at = 0;
    while at < len {
        let op = op_at(code, at);
        let row = &rows[op as usize];
        starts.push(at as u32);
        if op == Op::LoopHeader {
            headers.push((at as u32, at as u32));
            leader[at] = true;
        } else if let Some((first, wide)) = row.target {
            let bits = code[at + usize::from(first) / 4].0 >> (16 * (first % 4));
            let distance = if wide { i64::from(bits as i32) } else { i64::from(bits as i16) };
            let target = (at as i64 + distance) as usize;
            leader[target.min(len)] = true;
            if row.lop
                && let Ok(i) = headers.binary_search_by_key(&(target as u32), |h| h.0)
            {
                headers[i].1 = at as u32;
            }
        } else if row.switch {
            for target in switch_targets(op, code, at) {
                let target = (at as i64 + target) as u32;
                leader[(target as usize).min(len)] = true;
                entries.push(target);
            }
        }
        at += usize::from(row.words);
    }
    for handler in &meta.handlers {
        leader[(handler.target as usize).min(len)] = true;
        entries.push(handler.target);
    }
    entries.sort_unstable();
    entries.dedup();

    // Forward: which slots are exposed.
    fill(exposed, slots, false);
    fill(defined, slots, 0);
    let mut block = 0;
    for &at in &*starts {
        let at = at as usize;
        block += u32::from(leader[at] || block == 0);
        let row = &rows[op_at(code, at) as usize];
        for u in each(row.uses) {
            let slot = usize::from(unit(code, at, u));
            if slot < slots && defined[slot] != block {
                exposed[slot] = true;
            }
        }
        // Wide numbers reach every slot, also those that operands name; such slots are kept out of the rest.
        if row.wide && (code[at].wide() as usize) < slots {
            exposed[code[at].wide() as usize] = true;
        }
        for u in each(row.defs) {
            let slot = usize::from(unit(code, at, u));
            if slot < slots {
                defined[slot] = block;
            }
        }
    }

    // Backward: where values of the others die. `defined` now says in which block a slot is read further down.
    fill(deaths, starts.len(), 0);
    let mut block = u32::MAX;
    for (i, &at) in starts.iter().enumerate().rev() {
        let at = at as usize;
        let row = &rows[op_at(code, at) as usize];
        for u in each(row.defs & !row.uses) {
            let slot = usize::from(unit(code, at, u));
            if slot < slots && !exposed[slot] {
                if defined[slot] != block {
                    deaths[i] |= 1 << u;
                }
                defined[slot] = 0;
            }
        }
        for u in each(row.uses) {
            let slot = usize::from(unit(code, at, u));
            if slot < slots && !exposed[slot] && defined[slot] != block {
                if row.defs & 1 << u == 0 {
                    deaths[i] |= 1 << u;
                }
                defined[slot] = block;
            }
        }
        block -= u32::from(leader[at]);
    }

    if pin && !headers.is_empty() {
        fill(counts, slots, 0);
        for (i, &(header, end)) in headers.iter().enumerate() {
            if end > header && headers.get(i + 1).is_none_or(|next| next.0 > end) {
                let pins = pins(code, starts, header, end, exposed, counts);
                loops.push(Loop { header, end, pins });
            }
        }
    }
}

/// The pins of a loop: its most used exposed slots. Some registers stay free for what lives within blocks. `counts` is zero
/// before and after.
fn pins(code: &[Word], starts: &[u32], header: u32, end: u32, exposed: &[bool], counts: &mut [u32]) -> Regs {
    const WRITTEN: u32 = 1 << 31;
    const FLOAT: u32 = 1 << 30;
    let rows = rows();
    let first = starts.partition_point(|&s| s < header);
    let mut seen = Vec::new();
    let mut locals = [false; 2];
    for &at in starts[first..].iter().take_while(|&&s| s <= end) {
        let at = at as usize;
        let row = &rows[op_at(code, at) as usize];
        for u in each(row.uses | row.defs) {
            let float = row.floats & 1 << u != 0;
            let slot = usize::from(unit(code, at, u));
            if slot >= exposed.len() {
                continue;
            }
            if !exposed[slot] {
                locals[usize::from(float)] = true;
                continue;
            }
            if counts[slot] == 0 {
                seen.push(slot);
            }
            counts[slot] += 1;
            if row.defs & 1 << u != 0 {
                counts[slot] |= WRITTEN;
            }
            if float {
                counts[slot] |= FLOAT;
            }
        }
    }
    seen.sort_unstable_by_key(|&s| std::cmp::Reverse(counts[s] & !(WRITTEN | FLOAT)));
    // With few values of blocks two registers do for these; what is read only can be read in memory as well.
    // At least one of each bank is never a pin, so that every op finds a register for its result.
    let mut room = [if locals[0] { INTS - 2 } else { INTS - 1 }, ALL - INTS - if locals[1] { 3 } else { 1 }];
    let mut next = [0, INTS];
    let mut pins = EMPTY;
    for slot in seen {
        let bank = usize::from(counts[slot] & FLOAT != 0);
        if room[bank] > 0 && slot < usize::from(u16::MAX) {
            room[bank] -= 1;
            pins.put(next[bank], slot as u16, counts[slot] & WRITTEN != 0);
            next[bank] += 1;
        }
        counts[slot] = 0;
    }
    pins
}

/// The distances that a switch leads to, from the instruction.
fn switch_targets(op: Op, code: &[Word], at: usize) -> Vec<i64> {
    let table = at + code[at].wide() as usize;
    let kind = code[table].low();
    let mut targets = vec![code[table + 1].0 as i64];
    if op == Op::IntSwitch && kind == switch_table::DENSE {
        targets.extend((0..code[table].wide() as usize).map(|i| code[table + 3 + i].0 as i64));
    } else {
        let slots = 1usize << code[table].wide();
        targets.extend((0..slots).map(|i| code[table + 2 + 2 * i + 1].0 as i64).filter(|&t| t != 0));
    }
    targets
}
