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
        self.set(parts, 2 * inst.index() as u32 + 2);
    }

    fn set(&mut self, mut parts: Parts, version: Version) {
        while parts != 0 {
            let part = parts.trailing_zeros() as usize;
            let Some(v) = self.0.get_mut(part) else { break };
            *v = version;
            parts &= parts - 1;
        }
    }
}

/// The versions at the start of each block.
#[derive(Debug)]
pub(crate) struct Entries {
    blocks: SecondaryMap<Block, u32>,
    versions: Vec<Versions>,
    /// The parts that the blocks of each loop may change.
    pub(crate) loops: SecondaryMap<Loop, Parts>,
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
        let mut masks: SecondaryMap<Block, Parts> = SecondaryMap::new();
        let mut of_loops: SecondaryMap<Loop, Parts> = SecondaryMap::new();
        for &block in &cfg.order {
            for &inst in &func.blocks[block].insts {
                masks[block] |= memory.changes(func, &func.insts[inst]);
            }
            let mut next = loops.innermost(block);
            while let Some(id) = next {
                of_loops[id] |= masks[block];
                next = loops.loops[id].parent.expand();
            }
        }
        let mut this = Entries { blocks: SecondaryMap::new(), versions: Vec::new(), loops: of_loops };
        // What each block leaves, by its position.
        let mut ends: Vec<Versions> = Vec::with_capacity(cfg.order.len());
        for (position, &block) in cfg.order.iter().enumerate() {
            let fresh = 2 * position as u32 + 1;
            let mut versions = Versions(vec![0; memory.parts()]);
            let mut anew: Parts = 0;
            let mut first = true;
            for edge in cfg.preds(block) {
                if cfg.is_backward(edge.from, block) {
                    // A natural loop's way back changes what the loop changes; of other cycles nothing is known.
                    anew |= if doms.dominates(block, edge.from) {
                        loops.innermost(block).map_or(!0, |id| this.loops[id])
                    } else {
                        !0
                    };
                    continue;
                }
                let end = &ends[cfg.position(edge.from)];
                if first {
                    versions.clone_from(end);
                    first = false;
                    continue;
                }
                for (part, (a, b)) in versions.0.iter().zip(&end.0).enumerate() {
                    anew |= Parts::from(a != b) << part;
                }
            }
            versions.set(anew, fresh);
            this.blocks[block] = position as u32;
            this.versions.push(versions.clone());
            if masks[block] != 0 {
                for &inst in &func.blocks[block].insts {
                    let parts = memory.changes(func, &func.insts[inst]);
                    versions.change(parts, inst);
                }
            }
            ends.push(versions);
        }
        this
    }

    /// The versions at the start of a reachable block.
    pub(crate) fn start(&self, block: Block) -> &Versions {
        &self.versions[self.blocks[block] as usize]
    }
}
