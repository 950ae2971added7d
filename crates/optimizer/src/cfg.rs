//! The shape of a function: predecessors, reverse postorder, dominators, loops.
//!
//! Analyses of one state of a [`Function`]: whoever changes its blocks or terminators computes them again. All are dense tables, and
//! their cost is linear in blocks and edges, but for the lists of the loops' blocks, which is linear for each level of nesting.
//!
//! Dominators are those of Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm": on graphs of the size of functions it
//! beats Lengauer and Tarjan. Loops are natural loops; a cycle with several entries is no loop here, and passes that reason
//! about ways back ask [`Cfg::is_backward`] and not the loops alone.

use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, SecondaryMap, entity_impl};
use smallvec::SmallVec;

use crate::ir::{Block, Function, Target};

/// A way into a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The block that it comes from.
    pub from: Block,
    /// Which of the targets of that block's terminator it is.
    pub target: u32,
}

/// Reachable blocks in reverse postorder, with the ways into them.
#[derive(Debug)]
pub struct Cfg {
    /// The reachable blocks; the first target of a branch comes before the second where nothing else decides.
    pub order: Vec<Block>,
    /// The place of each block in the order.
    positions: SecondaryMap<Block, u32>,
    /// Where the edges of each block of the order begin; one more at the end.
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

const UNREACHABLE: u32 = u32::MAX;

impl Cfg {
    /// Computes it.
    pub fn new(func: &Function) -> Cfg {
        let mut positions = SecondaryMap::with_default(UNREACHABLE);
        positions.resize(func.blocks.len());
        // Each reachable block with all its targets, in postorder until it is reversed.
        let mut found: Vec<(Block, &[Target])> = Vec::with_capacity(func.layout.len());
        // Postorder, with how many targets are left to visit on the stack; seen blocks are marked by a position below, which counts
        // the ways into them until it is known.
        let mut stack: Vec<(Block, &[Target], usize)> = Vec::new();
        let entry = func.entry();
        let targets =
            |block: Block| func.terminator(block).map_or(&[][..], |i| func.insts[i].targets.as_slice());
        positions[entry] = 0;
        let first = targets(entry);
        stack.push((entry, first, first.len()));
        let mut count = 0;
        while let Some((block, all, left)) = stack.last_mut() {
            if *left == 0 {
                found.push((*block, all));
                stack.pop();
                continue;
            }
            *left -= 1;
            count += 1;
            let next = all[*left].block;
            let ways = &mut positions[next];
            if *ways == UNREACHABLE {
                *ways = 1;
                let all = targets(next);
                stack.push((next, all, all.len()));
            } else {
                *ways += 1;
            }
        }
        found.reverse();
        let mut order = Vec::with_capacity(found.len());
        let mut starts = Vec::with_capacity(found.len() + 1);
        let mut start = 0;
        for (i, &(block, _)) in found.iter().enumerate() {
            order.push(block);
            starts.push(start);
            start += std::mem::replace(&mut positions[block], i as u32);
        }
        starts.push(start);
        let mut edges = vec![Edge { from: entry, target: 0 }; count];
        let mut fill = starts.clone();
        for &(block, all) in &found {
            for (target, next) in all.iter().enumerate() {
                let at = &mut fill[positions[next.block] as usize];
                edges[*at as usize] = Edge { from: block, target: target as u32 };
                *at += 1;
            }
        }
        Cfg { order, positions, starts, edges }
    }

    /// Whether a block is reached from the entry.
    pub fn reachable(&self, block: Block) -> bool {
        self.positions[block] != UNREACHABLE
    }

    /// The place of a reachable block in the order.
    pub fn position(&self, block: Block) -> usize {
        debug_assert!(self.reachable(block), "{block} is not reachable");
        self.positions[block] as usize
    }

    /// The ways into a reachable block, in the order of where they come from.
    pub fn preds(&self, block: Block) -> &[Edge] {
        let i = self.position(block);
        &self.edges[self.starts[i] as usize..self.starts[i + 1] as usize]
    }

    /// Whether an edge leads to a block that is not behind the one that it comes from.
    pub fn is_backward(&self, from: Block, to: Block) -> bool {
        self.positions[from] >= self.positions[to]
    }
}

/// Which blocks every way from the entry to a block passes.
#[derive(Debug)]
pub struct Dominators {
    /// By positions of blocks.
    idoms: Vec<u32>,
    /// The first and the last number of a walk over the tree that is spent on a block and those below it.
    spans: SecondaryMap<Block, (u32, u32)>,
    /// The blocks in the order of that walk, which visits children in reverse postorder.
    pub walk: Vec<Block>,
    entries: SecondaryMap<Block, PackedOption<Block>>,
}

impl Dominators {
    /// Computes them.
    pub fn new(cfg: &Cfg) -> Dominators {
        let n = cfg.order.len();
        let mut idoms = vec![UNREACHABLE; n];
        idoms[0] = 0;
        let mut changed = true;
        while changed {
            changed = false;
            for i in 1..n {
                let mut new = UNREACHABLE;
                for edge in cfg.preds(cfg.order[i]) {
                    let p = cfg.position(edge.from) as u32;
                    if idoms[p as usize] == UNREACHABLE {
                        continue;
                    }
                    new = if new == UNREACHABLE { p } else { meet(&idoms, new, p) };
                }
                if idoms[i] != new {
                    idoms[i] = new;
                    changed = true;
                }
            }
        }
        // Children in the order of their positions, as linked lists.
        let mut child = vec![UNREACHABLE; n];
        let mut sibling = vec![UNREACHABLE; n];
        for i in (1..n).rev() {
            let parent = idoms[i] as usize;
            sibling[i] = child[parent];
            child[parent] = i as u32;
        }
        let blocks = cfg.positions.keys().len();
        let mut spans = SecondaryMap::with_default((UNREACHABLE, 0));
        spans.resize(blocks);
        let mut entries = SecondaryMap::default();
        entries.resize(blocks);
        let mut walk = Vec::with_capacity(n);
        let mut stack = vec![0u32];
        spans[cfg.order[0]].0 = 0;
        walk.push(cfg.order[0]);
        while let Some(&top) = stack.last() {
            let next = child[top as usize];
            if next == UNREACHABLE {
                spans[cfg.order[top as usize]].1 = walk.len() as u32 - 1;
                stack.pop();
                continue;
            }
            child[top as usize] = sibling[next as usize];
            let block = cfg.order[next as usize];
            spans[block].0 = walk.len() as u32;
            entries[block] = cfg.order[top as usize].into();
            walk.push(block);
            stack.push(next);
        }
        Dominators { idoms, spans, walk, entries }
    }

    /// The closest block that dominates a block and is another; none for the entry and unreachable blocks.
    pub fn idom(&self, block: Block) -> Option<Block> {
        self.entries[block].expand()
    }

    /// Whether every way to `b` passes `a`; a block dominates itself. False where one of them is unreachable.
    pub fn dominates(&self, a: Block, b: Block) -> bool {
        let (first, last) = self.spans[a];
        let at = self.spans[b].0;
        at != UNREACHABLE && first <= at && at <= last
    }

    /// The only way into a block, but for those that come from blocks that it dominates: every way to the block passes this edge.
    pub fn way_in(&self, cfg: &Cfg, block: Block) -> Option<Edge> {
        let mut ways = cfg.preds(block).iter().filter(|e| !self.dominates(block, e.from));
        ways.next().copied().filter(|_| ways.next().is_none())
    }

    /// The closest block that dominates both.
    pub fn common(&self, cfg: &Cfg, a: Block, b: Block) -> Block {
        cfg.order[meet(&self.idoms, cfg.position(a) as u32, cfg.position(b) as u32) as usize]
    }
}

/// The closest common dominator of two positions; a dominator has a smaller position.
fn meet(idoms: &[u32], mut a: u32, mut b: u32) -> u32 {
    while a != b {
        while a > b {
            a = idoms[a as usize];
        }
        while b > a {
            b = idoms[b as usize];
        }
    }
    a
}

/// A loop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Loop(u32);
entity_impl!(Loop, "loop");

/// What is known of a loop.
#[derive(Debug)]
pub struct LoopData {
    /// The block that all ways into it lead to, and that dominates its blocks.
    pub header: Block,
    /// The loop around it.
    pub parent: PackedOption<Loop>,
    /// How many loops it is in, itself included.
    pub depth: u32,
    /// Its blocks, those of inner loops included, in reverse postorder.
    pub blocks: Vec<Block>,
    /// The blocks that lead back to the header.
    pub latches: SmallVec<[Block; 2]>,
    /// The ways out.
    pub exits: Vec<Edge>,
}

/// The natural loops of a function.
#[derive(Debug)]
pub struct Loops {
    /// Inner loops come before those around them.
    pub loops: PrimaryMap<Loop, LoopData>,
    of: SecondaryMap<Block, PackedOption<Loop>>,
}

impl Loops {
    /// Computes them.
    pub fn new(func: &Function, cfg: &Cfg, doms: &Dominators) -> Loops {
        let mut loops: PrimaryMap<Loop, LoopData> = PrimaryMap::new();
        let mut of: SecondaryMap<Block, PackedOption<Loop>> = SecondaryMap::default();
        let mut work = Vec::new();
        for &header in cfg.order.iter().rev() {
            let latches: SmallVec<[Block; 2]> =
                cfg.preds(header).iter().map(|e| e.from).filter(|&b| doms.dominates(header, b)).collect();
            if latches.is_empty() {
                continue;
            }
            work.extend(&latches);
            let this = loops.push(LoopData {
                header,
                parent: None.into(),
                depth: 0,
                blocks: Vec::new(),
                latches,
                exits: Vec::new(),
            });
            while let Some(block) = work.pop() {
                match of[block].expand() {
                    None => {
                        of[block] = this.into();
                        if block != header {
                            work.extend(cfg.preds(block).iter().map(|e| e.from));
                        }
                    }
                    Some(inner) => {
                        // Whatever was found of this loop so far belongs to the outermost loop around the block.
                        let mut outer = inner;
                        while let Some(parent) = loops[outer].parent.expand() {
                            outer = parent;
                        }
                        if outer != this {
                            loops[outer].parent = this.into();
                            work.extend(cfg.preds(loops[outer].header).iter().map(|e| e.from));
                        }
                    }
                }
            }
        }
        for id in loops.keys().rev() {
            loops[id].depth = 1 + loops[id].parent.expand().map_or(0, |p| loops[p].depth);
        }
        for &block in &cfg.order {
            let mut next = of[block];
            while let Some(id) = next.expand() {
                loops[id].blocks.push(block);
                next = loops[id].parent;
            }
        }
        let mut this = Loops { loops, of };
        for &from in &cfg.order {
            let Some(inner) = this.of[from].expand() else { continue };
            for (target, to) in func.successors(from).enumerate() {
                let mut next = Some(inner);
                while let Some(id) = next.filter(|&id| !this.contains(id, to)) {
                    this.loops[id].exits.push(Edge { from, target: target as u32 });
                    next = this.loops[id].parent.expand();
                }
            }
        }
        this
    }

    /// The innermost loop that a block is in.
    pub fn innermost(&self, block: Block) -> Option<Loop> {
        self.of[block].expand()
    }

    /// Whether a block is in a loop or in one inside it.
    pub fn contains(&self, id: Loop, block: Block) -> bool {
        let depth = self.loops[id].depth;
        let mut next = self.of[block].expand();
        while let Some(at) = next {
            if at == id {
                return true;
            }
            if self.loops[at].depth <= depth {
                return false;
            }
            next = self.loops[at].parent.expand();
        }
        false
    }

    /// How many loops a block is in.
    pub fn depth(&self, block: Block) -> u32 {
        self.of[block].expand().map_or(0, |id| self.loops[id].depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{InstData, Op, Target, Type};

    /// A function whose blocks lead where the table says.
    fn graph(blocks: &[&[usize]]) -> (Function, Vec<Block>) {
        let mut func = Function::default();
        let all: Vec<Block> = blocks.iter().map(|_| func.add_block()).collect();
        let cond = func.add_param(all[0], Type::Int);
        for (i, to) in blocks.iter().enumerate() {
            let targets: Vec<Target> = to.iter().map(|&t| Target::new(all[t])).collect();
            let data = match to.len() {
                0 => InstData::new(Op::Return, &[]),
                1 => InstData::new(Op::Jump, &[]),
                2 => InstData::new(Op::Branch, &[cond]),
                _ => InstData::new(Op::Switch, &[cond]),
            };
            func.append(all[i], data.targets(targets));
        }
        (func, all)
    }

    fn analyse(blocks: &[&[usize]]) -> (Vec<Block>, Cfg, Dominators, Loops) {
        let (func, all) = graph(blocks);
        let cfg = Cfg::new(&func);
        let doms = Dominators::new(&cfg);
        let loops = Loops::new(&func, &cfg, &doms);
        (all, cfg, doms, loops)
    }

    #[test]
    fn diamond() {
        let (b, cfg, doms, loops) = analyse(&[&[1, 2], &[3], &[3], &[], &[3]]);
        assert_eq!(cfg.order, [b[0], b[1], b[2], b[3]]);
        assert!(!cfg.reachable(b[4]));
        assert_eq!(cfg.preds(b[3]).len(), 2);
        assert_eq!(doms.idom(b[3]), Some(b[0]));
        assert!(doms.dominates(b[0], b[3]) && !doms.dominates(b[1], b[3]) && doms.dominates(b[3], b[3]));
        assert!(!doms.dominates(b[4], b[4]));
        assert_eq!(doms.common(&cfg, b[1], b[2]), b[0]);
        assert_eq!(loops.loops.len(), 0);
    }

    #[test]
    fn nested_loops() {
        // 1 is the outer header, 2 the inner, with an exit from the inner to the end.
        let (b, cfg, doms, loops) = analyse(&[&[1], &[2], &[3, 5], &[2, 4], &[1, 5], &[]]);
        assert_eq!(loops.loops.len(), 2);
        let inner = loops.innermost(b[2]).unwrap();
        let outer = loops.innermost(b[1]).unwrap();
        assert_eq!(loops.loops[inner].parent.expand(), Some(outer));
        assert_eq!((loops.loops[inner].depth, loops.loops[outer].depth), (2, 1));
        assert_eq!(loops.loops[inner].blocks, [b[2], b[3]]);
        assert_eq!(loops.loops[outer].blocks, [b[1], b[2], b[3], b[4]]);
        assert_eq!(&loops.loops[outer].latches[..], &[b[4]]);
        assert_eq!(loops.loops[inner].exits.len(), 2);
        assert_eq!(
            loops.loops[outer].exits,
            [Edge { from: b[2], target: 1 }, Edge { from: b[4], target: 1 }]
        );
        assert!(loops.contains(outer, b[3]) && !loops.contains(inner, b[4]));
        assert!(doms.dominates(b[2], b[5]));
        assert_eq!(doms.way_in(&cfg, b[2]), Some(Edge { from: b[1], target: 0 }));
        assert_eq!(doms.way_in(&cfg, b[5]), None);
    }

    #[test]
    fn several_entries_are_no_loop() {
        let (b, cfg, doms, loops) = analyse(&[&[1, 2], &[2], &[1, 3], &[]]);
        assert_eq!(loops.loops.len(), 0);
        assert_eq!(doms.idom(b[1]), Some(b[0]));
        assert_eq!(doms.idom(b[2]), Some(b[0]));
        assert!(cfg.is_backward(b[2], b[1]) || cfg.is_backward(b[1], b[2]));
    }
}
