//! Stencils for aarch64.
//!
//! There are no sections for basic blocks here, but all instructions have one width: a function is cut into blocks at its
//! branches and their targets, and the blocks are placed as those for x86-64 are. Three things differ:
//!
//! * A hole is a whole instruction, at its address, and the instruction says how the number goes in: see [`check`].
//! * Conditional branches reach 1 MB, so they stay holes; `tbz` and `tbnz` reach 32 KB only and, where they leave their part,
//!   become the opposite branch over a `b`.
//! * What does not come out is left out, with a reason, instead of being an error.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SymbolKind};

use super::{HOLES, Hole, Patch, Stencil, hole};

/// `control.c` is in the assembly of x86-64.
pub const SOURCES: &[&str] = &["scalar", "objects"];

pub const FLAGS: &[&str] = &[
    "--target=aarch64-linux-gnu",
    "-O2",
    "-std=gnu11",
    "-Wall",
    "-Wno-unused-variable",
    "-Wno-uninitialized",
    "-Wno-unused-parameter",
    "-Wno-unused-but-set-variable",
    "-fno-pic",
    "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector",
    "-fomit-frame-pointer",
    "-fno-jump-tables",
    "-ffunction-sections",
    "-fno-ident",
    "-ffreestanding",
    "-ffp-contract=off",
];

const R_AARCH64_MOVW_UABS_G0: u32 = 263;
const R_AARCH64_MOVW_UABS_G0_NC: u32 = 264;
const R_AARCH64_MOVW_UABS_G1_NC: u32 = 266;
const R_AARCH64_MOVW_UABS_G2_NC: u32 = 268;
const R_AARCH64_MOVW_UABS_G3: u32 = 269;
const R_AARCH64_MOVW_SABS_G1: u32 = 271;
const R_AARCH64_JUMP26: u32 = 282;
const R_AARCH64_LDST64_ABS_LO12_NC: u32 = 286;

const B: u32 = 0x1400_0000;

/// Where a branch leads: another block of the function, or a symbol outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    Block(usize),
    Hole(u8),
}

/// The branches of A64. All have the distance in instructions, counted from themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Branch {
    /// `b`: 26 bits.
    Always,
    /// `b.cond`, `cbz`, `cbnz`: 19 bits from bit 5 on.
    Condition,
    /// `tbz`, `tbnz`: 14 bits from bit 5 on.
    Test,
}

impl Branch {
    /// The branch that a word is. Calls, returns and what goes through registers or takes addresses relative to itself is an
    /// error, and so is what touches the stack: stencils keep all in registers.
    fn of(word: u32) -> Result<Option<Branch>, String> {
        if word & 0xFC00_0000 == B {
            Ok(Some(Branch::Always))
        } else if word & 0xFF00_0010 == 0x5400_0000 || word & 0x7E00_0000 == 0x3400_0000 {
            Ok(Some(Branch::Condition))
        } else if word & 0x7E00_0000 == 0x3600_0000 {
            Ok(Some(Branch::Test))
        } else if word & 0xFC00_0000 == 0x9400_0000 {
            Err("it calls".to_owned())
        } else if word & 0xFE00_0000 == 0xD600_0000 {
            Err("it jumps through a register or returns".to_owned())
        } else if word & 0x1F00_0000 == 0x1000_0000 || word & 0x3B00_0000 == 0x1800_0000 {
            Err("it refers to data".to_owned())
        } else if word & 0x0A00_0000 == 0x0800_0000 && word >> 5 & 31 == 31
            || word & 0x7F80_0000 == 0x5100_0000 && word & 31 == 31
        {
            // Loads and stores with sp as base, and `sub sp, sp`.
            Err("it needs the stack".to_owned())
        } else {
            Ok(None)
        }
    }

    fn field(self) -> (u32, u32) {
        match self {
            Branch::Always => (26, 0),
            Branch::Condition => (19, 5),
            Branch::Test => (14, 5),
        }
    }

    /// The distance in a word, in instructions.
    fn distance(self, word: u32) -> i64 {
        let (bits, at) = self.field();
        i64::from((word << (32 - bits - at)) as i32 >> (32 - bits))
    }

    fn with_distance(self, word: u32, distance: i64) -> Result<u32, String> {
        let (bits, at) = self.field();
        let mask = (1u32 << bits) - 1;
        let word = word & !(mask << at) | (distance as u32 & mask) << at;
        if self.distance(word) == distance { Ok(word) } else { Err("a branch does not reach".to_owned()) }
    }

    /// The opposite of a conditional branch.
    fn inverted(word: u32) -> u32 {
        if word & 0xFF00_0010 == 0x5400_0000 { word ^ 1 } else { word ^ 1 << 24 }
    }
}

/// A basic block: instructions, holes in them by the instruction's number, a conditional branch, and what follows.
#[derive(Clone, Debug)]
struct Block {
    words: Vec<u32>,
    holes: Vec<(usize, u8, i16)>,
    condition: Option<(u32, Target)>,
    next: Target,
}

/// Whether the patcher could fill a hole, which it tells by the instruction and the kind of hole alone:
///
/// * a load or store of 64 bits gets the number, divided by 8, as its unsigned offset of 12 bits;
/// * `movz` and `movk` get those 16 bits of it that their shift names; where a signed number is negative, `movz` becomes
///   `movn` of the inverted bits;
/// * branches get the distance from themselves in instructions: 26 bits, or 19 from bit 5 on.
fn check(word: u32, r_type: u32, sort: Hole) -> bool {
    let movz = |shift: u32| word & 0xFFE0_0000 == 0xD280_0000 | shift << 21;
    let movk = |shift: u32| word & 0xFFE0_0000 == 0xF280_0000 | shift << 21;
    match (sort, r_type) {
        (Hole::Signed, R_AARCH64_LDST64_ABS_LO12_NC) => {
            word & 0xFF80_0000 == 0xF900_0000 || word & 0xFF80_0000 == 0xFD00_0000
        }
        (Hole::Signed, R_AARCH64_MOVW_SABS_G1) => movz(1),
        (Hole::Signed, R_AARCH64_MOVW_UABS_G0_NC) => movk(0),
        (Hole::Byte, R_AARCH64_MOVW_UABS_G0) => movz(0),
        (Hole::Wide, R_AARCH64_MOVW_UABS_G0_NC) => movz(0),
        (Hole::Wide, R_AARCH64_MOVW_UABS_G1_NC) => movk(1),
        (Hole::Wide, R_AARCH64_MOVW_UABS_G2_NC) => movk(2),
        (Hole::Wide, R_AARCH64_MOVW_UABS_G3) => movk(3),
        (Hole::Jump, R_AARCH64_JUMP26) => word & 0xFC00_0000 == B,
        _ => false,
    }
}

/// Reads all stencils of an object file: those that do not come out go to `failed`, with the reason.
pub fn extract(
    path: &Path,
    stencils: &mut BTreeMap<String, Stencil>,
    failed: &mut BTreeMap<String, String>,
) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let file = ElfFile64::<object::Endianness>::parse(&*bytes)?;
    for symbol in file.symbols() {
        let Some(section) = symbol.section_index() else { continue };
        let section = file.section_by_index(section)?;
        let name = symbol.name()?;
        // Local symbols mark what is code and what is data.
        if symbol.kind() != SymbolKind::Text || symbol.is_local() || !section.name()?.starts_with(".text") {
            continue;
        }
        let mut holes = BTreeMap::new();
        let mut outcome = Ok(());
        for (offset, relocation) in section.relocations() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else {
                return Err("no ELF relocation".into());
            };
            let RelocationTarget::Symbol(target) = relocation.target() else {
                return Err("no symbol".into());
            };
            let target = file.symbol_by_index(target)?.name()?;
            match hole(target) {
                Some((number, _)) => {
                    let addend = i16::try_from(relocation.addend())?;
                    holes.insert(offset as usize / 4, (r_type, number, addend));
                }
                None => outcome = Err(format!("{target} is no hole")),
            }
        }
        let words: Vec<u32> = section.data()?.chunks_exact(4).map(word).collect();
        match outcome.and_then(|()| read_blocks(&words, &holes)).and_then(place) {
            Ok(stencil) => {
                if stencils.insert(name.to_owned(), stencil).is_some() {
                    return Err(format!("{name} is defined twice").into());
                }
            }
            Err(reason) => {
                failed.insert(name.to_owned(), reason);
            }
        }
    }
    Ok(())
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

/// Cuts a function into blocks.
fn read_blocks(words: &[u32], holes: &BTreeMap<usize, (u32, u8, i16)>) -> Result<Vec<Block>, String> {
    let mut leaders = BTreeSet::from([0]);
    let mut branches = vec![None; words.len()];
    for (at, &word) in words.iter().enumerate() {
        let hole = holes.get(&at);
        if let Some(&(r_type, number, addend)) = hole {
            let (name, sort) = HOLES[usize::from(number)];
            if !check(word, r_type, sort) {
                return Err(format!(
                    "{name} has a relocation of type {r_type} at the instruction {word:#010x}"
                ));
            }
            if sort == Hole::Jump && addend != 0 {
                return Err("a jump into the middle of something".to_owned());
            }
        }
        branches[at] = Branch::of(word)?;
        if let Some(branch) = branches[at] {
            leaders.insert(at + 1);
            if hole.is_none() {
                let target = at as i64 + branch.distance(word);
                if target < 0 || target >= words.len() as i64 {
                    return Err("a branch leads out of the function".to_owned());
                }
                leaders.insert(target as usize);
            }
        }
    }
    leaders.remove(&words.len());
    let starts: Vec<usize> = leaders.into_iter().collect();
    let mut blocks = Vec::new();
    for (number, &start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(words.len());
        let last = end - 1;
        let mut block = Block {
            words: words[start..end].to_vec(),
            holes: Vec::new(),
            condition: None,
            next: Target::Block(number + 1),
        };
        if let Some(branch) = branches[last] {
            let target = match holes.get(&last) {
                Some(&(_, number, _)) => Target::Hole(number),
                None => {
                    let target = (last as i64 + branch.distance(words[last])) as usize;
                    Target::Block(starts.binary_search(&target).map_err(|_| "a branch into a block")?)
                }
            };
            block.words.pop();
            if branch == Branch::Always {
                block.next = target;
            } else {
                block.condition = Some((words[last], target));
            }
        }
        if block.next == Target::Block(starts.len()) {
            return Err("it falls through its end".to_owned());
        }
        for at in start..start + block.words.len() {
            if let Some(&(_, number, addend)) = holes.get(&at) {
                block.holes.push((at - start, number, addend));
            }
        }
        blocks.push(block);
    }
    Ok(blocks)
}

/// Places the blocks of a stencil, like those for x86-64.
fn place(mut blocks: Vec<Block>) -> Result<Stencil, String> {
    let (cont, _) = hole("CONT").ok_or("no CONT")?;
    let (hot_part, _) = hole("HOT_PART").ok_or("no HOT_PART")?;
    let (cold_part, _) = hole("COLD_PART").ok_or("no COLD_PART")?;
    // A block that only jumps stands for where it leads.
    let alias: Vec<Option<Target>> = blocks
        .iter()
        .map(|b| {
            (b.words.is_empty() && b.condition.is_none() && b.next != Target::Block(0)).then_some(b.next)
        })
        .collect();
    let resolve = |mut target: Target| {
        for _ in 0..alias.len() {
            match target {
                Target::Block(i) => target = alias[i].unwrap_or(target),
                Target::Hole(_) => break,
            }
        }
        target
    };
    for block in &mut blocks {
        block.next = resolve(block.next);
        if let Some((_, target)) = &mut block.condition {
            *target = resolve(*target);
        }
    }
    let mut placed = vec![false; blocks.len()];
    let chain = |start: usize, blocks: &[Block], placed: &mut [bool]| {
        let mut order = vec![start];
        placed[start] = true;
        let mut at = start;
        while let Target::Block(next) = blocks[at].next
            && !placed[next]
        {
            placed[next] = true;
            order.push(next);
            at = next;
        }
        order
    };
    let hot = chain(0, &blocks, &mut placed);
    // A conditional branch to CONT at the end becomes its opposite, and CONT follows.
    let end = &mut blocks[hot[hot.len() - 1]];
    if let Some((word, target)) = &mut end.condition
        && *target == Target::Hole(cont)
        && end.next != Target::Hole(cont)
    {
        *word = Branch::inverted(*word);
        std::mem::swap(target, &mut end.next);
    }
    let mut order = hot.clone();
    // What is referred to and not placed yet follows in the cold part.
    loop {
        let targets = order.iter().flat_map(|&b| {
            let block = &blocks[b];
            block.condition.map(|c| c.1).into_iter().chain([block.next])
        });
        let next = targets.into_iter().find_map(|t| match t {
            Target::Block(i) if !placed[i] => Some(i),
            _ => None,
        });
        let Some(next) = next else { break };
        order.extend(chain(next, &blocks, &mut placed));
    }
    let is_hot = |block: usize| hot.contains(&block);
    let mut words: Vec<u32> = Vec::new();
    let mut starts = vec![0; blocks.len()];
    let mut hot_words = None;
    // Branches, to be filled in when all places are known.
    let mut open: Vec<(usize, Branch, Target, bool)> = Vec::new();
    let mut patches = Vec::new();
    for (i, &b) in order.iter().enumerate() {
        let block = &blocks[b];
        let in_hot = i < hot.len();
        if !in_hot {
            hot_words.get_or_insert(words.len());
        }
        starts[b] = words.len();
        for &(at, kind, addend) in &block.holes {
            patches.push(Patch { offset: offset(words.len() + at)?, kind, addend });
        }
        words.extend_from_slice(&block.words);
        if let Some((word, target)) = block.condition {
            let local = match target {
                Target::Block(t) => is_hot(t) == in_hot,
                Target::Hole(kind) => kind == cont && in_hot,
            };
            let branch = Branch::of(word)?.ok_or("no branch")?;
            if branch == Branch::Test && !local {
                words.push(branch.with_distance(Branch::inverted(word), 2)?);
                open.push((words.len(), Branch::Always, target, in_hot));
                words.push(B);
            } else {
                open.push((words.len(), branch, target, in_hot));
                words.push(word);
            }
        }
        let follows = match block.next {
            Target::Block(t) => order.get(i + 1) == Some(&t) && i + 1 != hot.len(),
            Target::Hole(kind) => kind == cont && i + 1 == hot.len(),
        };
        if !follows {
            open.push((words.len(), Branch::Always, block.next, in_hot));
            words.push(B);
        }
    }
    let hot_words = hot_words.unwrap_or(words.len());
    for (at, branch, target, in_hot) in open {
        let (kind, addend) = match target {
            Target::Block(t) if is_hot(t) == in_hot => {
                words[at] = branch.with_distance(words[at], starts[t] as i64 - at as i64)?;
                continue;
            }
            Target::Hole(kind) if kind == cont && in_hot => {
                words[at] = branch.with_distance(words[at], hot_words as i64 - at as i64)?;
                continue;
            }
            Target::Block(t) if in_hot => (cold_part, 4 * (starts[t] - hot_words)),
            Target::Block(t) => (hot_part, 4 * starts[t]),
            Target::Hole(kind) => (kind, 0),
        };
        // Where the branch led in the object means nothing any more.
        words[at] = branch.with_distance(words[at], 0)?;
        let addend = i16::try_from(addend).map_err(|_| "it is too long")?;
        patches.push(Patch { offset: offset(at)?, kind, addend });
    }
    patches.sort_by_key(|p| p.offset);
    let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    Ok(Stencil { bytes, hot: 4 * hot_words, patches })
}

fn offset(words: usize) -> Result<u16, String> {
    u16::try_from(4 * words).map_err(|_| "it is too long".to_owned())
}
