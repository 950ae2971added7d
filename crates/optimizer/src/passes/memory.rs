//! Which memory may have changed between two instructions.
//!
//! Memory is divided into at most 64 *parts*: a part for each class, one for each offset in classes whose objects are only reached
//! field by field, one that any write changes, and one that collections change. A *version* of a part is a token for the
//! last thing that may have changed it: an instruction, or a block where several versions meet. Where two points have the same version
//! of a part and one dominates the other, nothing on the ways between them changed it.
//!
//! One sweep in reverse postorder finds the versions at the start of each block: a loop's header starts parts that the loop may
//! change anew, and where a cycle has several entries everything starts anew, so no fixpoint is needed.

use cranelift_entity::{EntityRef, SecondaryMap};

use super::{Writes, collects, writes};
use crate::cfg::{Cfg, Dominators, Loop, Loops};
use crate::helper::{Helper, Reads};
use crate::ir::{Access, Block, Class, Function, Inst, InstData, Op};

/// A set of parts.
pub(crate) type Parts = u64;

/// What any write changes.
const ANY: usize = Class::ALL.len();
/// What collections change.
const MOVES: usize = ANY + 1;
/// The first part that is an offset's.
const FIRST: usize = MOVES + 1;

/// The parts of memory that the accesses of a function fall into.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Classes with parts for offsets, with the offset of each such part.
    offsets: Vec<(Class, i64)>,
    /// For each class, its part and those of its offsets.
    classes: [Parts; Class::ALL.len()],
}

impl Memory {
    /// Looks at the accesses of a function.
    pub(crate) fn new(func: &Function) -> Memory {
        let mut whole = [false; Class::ALL.len()];
        let mut offsets: Vec<(Class, i64)> = Vec::new();
        for &block in &func.layout {
            for &inst in &func.blocks[block].insts {
                let data = &func.insts[inst];
                let Some(access) = data.access else { continue };
                let class = access.class as usize;
                let aligned = access.width.bytes() == 8 && data.imm % 8 == 0;
                let plain = matches!(data.op, Op::Load | Op::Store | Op::StoreCell);
                if !aligned || !plain {
                    whole[class] = true;
                } else if access.class != Class::Fixed
                    && offsets.len() < 64 - FIRST
                    && !whole[class]
                    && !offsets.contains(&(access.class, data.imm))
                {
                    offsets.push((access.class, data.imm));
                }
            }
        }
        offsets.retain(|(class, _)| !whole[*class as usize]);
        let mut classes = [0; Class::ALL.len()];
        for (i, parts) in classes.iter_mut().enumerate() {
            *parts = 1 << i;
        }
        for (i, (class, _)) in offsets.iter().enumerate() {
            classes[*class as usize] |= 1 << (FIRST + i);
        }
        Memory { offsets, classes }
    }

    /// The version that a part has from the function's entry on.
    pub(crate) const AT_ENTRY: Version = 0;

    /// How many parts there are.
    fn parts(&self) -> usize {
        FIRST + self.offsets.len()
    }

    /// The part that an access at an offset falls into.
    pub(crate) fn part(&self, access: Access, offset: i64) -> usize {
        match self.offsets.iter().position(|&o| o == (access.class, offset)) {
            Some(i) => FIRST + i,
            None => access.class as usize,
        }
    }

    /// The part that a helper reads; none if it depends on its arguments alone.
    pub(crate) fn read_by(helper: i64) -> Option<usize> {
        let helper = usize::try_from(helper).ok().and_then(|n| Helper::ALL.get(n));
        match helper.map_or(Reads::Anything, |h| h.info().reads) {
            Reads::Nothing => None,
            Reads::Anything => Some(ANY),
            Reads::Of(class) => Some(class as usize),
        }
    }

    /// The part that any write changes.
    pub(crate) const fn any() -> usize {
        ANY
    }

    /// The part that collections change.
    pub(crate) const fn moves() -> usize {
        MOVES
    }

    /// The parts that an instruction may change.
    pub(crate) fn changes(&self, func: &Function, data: &InstData) -> Parts {
        let info = data.op.info();
        if !info.stores && !info.site {
            return 0;
        }
        let mut parts = match writes(func, data) {
            Writes::Nothing => 0,
            Writes::Access(access) => 1 << self.part(access, data.imm) | 1 << ANY,
            Writes::Memory => !(self.classes[Class::Context as usize] | self.classes[Class::Watch as usize]),
            Writes::Everything => !0,
        };
        parts &= !(self.classes[Class::Fixed as usize] | 1 << MOVES);
        if collects(func, data) {
            parts |= 1 << MOVES;
        }
        parts
    }
}

/// A version of a part.
pub(crate) type Version = u32;

/// The versions of all parts at one point.
#[derive(Clone, Debug, Default)]
pub(crate) struct Versions(Vec<Version>);

impl Versions {
    /// The version of a part.
    pub(crate) fn get(&self, part: usize) -> Version {
        self.0[part]
    }

    /// An instruction changes parts.
    pub(crate) fn change(&mut self, parts: Parts, inst: Inst) {
        change(&mut self.0, parts, 2 * inst.index() as u32 + 2);
    }

    /// These are as at the start of a block.
    pub(crate) fn enter(&mut self, entries: &Entries, block: Block) {
        self.0.clear();
        self.0.extend_from_slice(entries.start(block));
    }
}

fn change(versions: &mut [Version], mut parts: Parts, version: Version) {
    while parts != 0 {
        let part = parts.trailing_zeros() as usize;
        let Some(v) = versions.get_mut(part) else { break };
        *v = version;
        parts &= parts - 1;
    }
}

/// The versions at the start of each block.
#[derive(Debug)]
pub(crate) struct Entries {
    positions: SecondaryMap<Block, u32>,
    /// How many parts there are.
    parts: usize,
    /// By position and part.
    starts: Vec<Version>,
}

impl Entries {
    /// Computes them.
    pub(crate) fn new(
        func: &Function,
        memory: &Memory,
        cfg: &Cfg,
        doms: &Dominators,
        loops: &Loops,
    ) -> Entries {
        let parts = memory.parts();
        let mut masks: SecondaryMap<Loop, Parts> = SecondaryMap::with_capacity(loops.loops.len());
        let mut positions: SecondaryMap<Block, u32> = SecondaryMap::with_capacity(func.blocks.len());
        // What changes something, with the position of its block.
        let mut changes: Vec<(u32, Inst, Parts)> = Vec::new();
        for (position, &block) in cfg.order.iter().enumerate() {
            positions[block] = position as u32;
            let first = changes.len();
            for &inst in &func.blocks[block].insts {
                let parts = memory.changes(func, &func.insts[inst]);
                if parts != 0 {
                    changes.push((position as u32, inst, parts));
                }
            }
            let mask = changes[first..].iter().fold(0, |m, c| m | c.2);
            let mut next = loops.innermost(block).filter(|_| mask != 0);
            while let Some(id) = next {
                masks[id] |= mask;
                next = loops.loops[id].parent.expand();
            }
        }
        let mut starts = vec![Memory::AT_ENTRY; parts * cfg.order.len()];
        // What each block leaves.
        let mut ends = starts.clone();
        let mut changes = changes.into_iter().peekable();
        for (position, &block) in cfg.order.iter().enumerate() {
            let at = position * parts;
            let mut anew: Parts = 0;
            let mut first = true;
            let start = &mut starts[at..at + parts];
            for edge in cfg.preds(block) {
                if cfg.is_backward(edge.from, block) {
                    // A natural loop's way back changes what the loop changes; of other cycles nothing is known.
                    anew |= if doms.dominates(block, edge.from) {
                        loops.innermost(block).map_or(!0, |id| masks[id])
                    } else {
                        !0
                    };
                    continue;
                }
                let from = cfg.position(edge.from) * parts;
                let end = &ends[from..from + parts];
                if first {
                    start.copy_from_slice(end);
                    first = false;
                    continue;
                }
                // Mostly nothing differs.
                if start != end {
                    for (part, (a, b)) in start.iter().zip(end).enumerate() {
                        anew |= Parts::from(a != b) << part;
                    }
                }
            }
            change(start, anew, 2 * position as u32 + 1);
            let end = &mut ends[at..at + parts];
            end.copy_from_slice(start);
            while let Some((_, inst, parts)) = changes.next_if(|c| c.0 == position as u32) {
                change(end, parts, 2 * inst.index() as u32 + 2);
            }
        }
        Entries { positions, parts, starts }
    }

    /// The versions at the start of a reachable block.
    fn start(&self, block: Block) -> &[Version] {
        let at = self.positions[block] as usize * self.parts;
        &self.starts[at..at + self.parts]
    }
}
