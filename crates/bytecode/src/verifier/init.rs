//! Definite initialisation across blocks.
//!
//! The pass over the instructions settles every register that is written and read in one block. What remains are registers
//! that some block reads before it writes them. For those: a block starts with the registers that all ways into it
//! have written; a register once written stays so. That is the textbook forward data flow, run for 256 registers at a
//! time over blocks in code order, where all but loop edges lead forward, so that it settles after one round and a confirming one.
//! Only crossing registers take part, and of those only what [`Reach`] cannot settle by looking at nearby writes: a function
//! of a million instructions with 300,000 crossing registers took 30 seconds without that, and takes 0.3 with it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Where an edge takes its facts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum From {
    /// What holds at the start of the block: for exceptions.
    Start(u32),
    /// What holds at its end.
    End(u32),
}

/// A way into a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub from: From,
    pub to: u32,
    /// A register that is written on the way only.
    pub writes: Option<u32>,
}

/// A register that a block reads before it writes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub slot: u32,
    pub block: u32,
    /// The first instruction that reads it.
    pub pc: u32,
}

const LANES: usize = 4;
const CHUNK: usize = LANES * 64;
type Set = [u64; LANES];

/// A register that is read although some path does not write it, if there is one: the need, with the lowest position among those
/// found together.
///
/// `writes` lists (register, block) pairs. Block 0 is where the function starts, with nothing written.
pub(super) fn unwritten(
    blocks: u32,
    mut edges: Vec<Edge>,
    writes: &[(u32, u32)],
    needs: &[Need],
) -> Option<Need> {
    if needs.is_empty() {
        return None;
    }
    let mut writes = writes.to_vec();
    writes.sort_unstable();
    let reach = Reach::new(blocks, &edges);
    let needs: Vec<Need> = needs.iter().filter(|n| !reach.settles(&writes, n)).copied().collect();
    if needs.is_empty() {
        return None;
    }
    let slots = needs.iter().map(|n| n.slot).max().unwrap_or(0) as usize + 1;
    let mut number = vec![u32::MAX; slots];
    let mut count = 0;
    for need in &needs {
        let n = &mut number[need.slot as usize];
        if *n == u32::MAX {
            *n = count;
            count += 1;
        }
    }
    let numbered = |slot: u32| number.get(slot as usize).copied().filter(|&n| n != u32::MAX);
    let mut writes: Vec<(u32, u32)> =
        writes.iter().filter_map(|&(slot, block)| Some((numbered(slot)?, block))).collect();
    writes.sort_unstable();
    let mut needs: Vec<(u32, Need)> = needs.iter().filter_map(|&n| Some((numbered(n.slot)?, n))).collect();
    needs.sort_unstable_by_key(|(n, need)| (*n, need.pc));
    edges.sort_unstable_by_key(|e| e.to);
    let edges: Vec<(Edge, u32)> =
        edges.into_iter().map(|e| (e, e.writes.and_then(numbered).unwrap_or(u32::MAX))).collect();

    let mut start = vec![[0; LANES]; blocks as usize];
    let mut written = vec![[0; LANES]; blocks as usize];
    let (mut write, mut need) = (0, 0);
    let mut base = 0;
    while base < count {
        let end = base + CHUNK as u32;
        let first_write = write;
        while let Some(&(n, block)) = writes.get(write).filter(|w| w.0 < end) {
            insert(&mut written[block as usize], n - base);
            write += 1;
        }
        settle(&edges, &written, &mut start, base);
        let mut worst: Option<Need> = None;
        while let Some((n, found)) = needs.get(need).filter(|n| n.0 < end) {
            if !contains(&start[found.block as usize], n - base) && worst.is_none_or(|w| found.pc < w.pc) {
                worst = Some(*found);
            }
            need += 1;
        }
        if worst.is_some() {
            return worst;
        }
        for &(_, block) in &writes[first_write..write] {
            written[block as usize] = [0; LANES];
        }
        base = end;
    }
    None
}

/// For each block how far it surely comes before: every way into the blocks behind it and before `until[block]` leads through
/// it to its end.
///
/// Ways lead forward in code order but for loop edges, so a way passes a block unless a forward edge leaps over it, and then arrives at the
/// edge's target or behind. From there only a loop edge leads back; [`Reach::nested`] says that no loop has an entry beside its
/// header, so such a loop holds the block itself, or lies behind the target.
struct Reach {
    until: Vec<u32>,
    nested: bool,
}

impl Reach {
    fn new(blocks: u32, edges: &[Edge]) -> Reach {
        let mut forward: Vec<(u32, u32, bool)> = Vec::with_capacity(edges.len());
        let mut back: Vec<(u32, u32)> = Vec::new();
        for edge in edges {
            let (from, early) = match edge.from {
                From::Start(b) => (b, true),
                From::End(b) => (b, false),
            };
            if edge.to > from {
                forward.push((from, edge.to, early));
            } else {
                back.push((from, edge.to));
            }
        }
        forward.sort_unstable();
        let mut until = Vec::with_capacity(blocks as usize);
        let mut leaps: BinaryHeap<Reverse<u32>> = BinaryHeap::new();
        let mut next = forward.iter().peekable();
        for block in 0..blocks {
            // An exception leaves the block before its end.
            let mut own = u32::MAX;
            let mut later = Vec::new();
            while let Some(&&(_, to, early)) = next.peek().filter(|e| e.0 == block) {
                own = if early { own.min(to) } else { own };
                later.push(Reverse(to));
                next.next();
            }
            while leaps.peek().is_some_and(|to| to.0 <= block) {
                leaps.pop();
            }
            until.push(own.min(leaps.peek().map_or(u32::MAX, |to| to.0)));
            leaps.extend(later);
        }
        let nested = back.iter().all(|&(from, header)| until[header as usize] > from);
        Reach { until, nested }
    }

    /// Whether some write near the need, or the first, surely comes before it. Writes are sorted.
    fn settles(&self, writes: &[(u32, u32)], need: &Need) -> bool {
        let first = writes.partition_point(|w| w.0 < need.slot);
        let behind = writes.partition_point(|&w| w < (need.slot, need.block));
        let near = behind.saturating_sub(8).max(first)..behind;
        near.chain((first < behind).then_some(first)).any(|i| {
            let until = self.until[writes[i].1 as usize];
            // Where nothing leaps, not even a loop with several entries leads around the block.
            need.block < until && (self.nested || until == u32::MAX)
        })
    }
}

fn insert(set: &mut Set, bit: u32) {
    set[bit as usize / 64] |= 1 << (bit % 64);
}

fn contains(set: &Set, bit: u32) -> bool {
    set[bit as usize / 64] & (1 << (bit % 64)) != 0
}

/// Finds the largest solution: what holds at the start of every block. Edges are sorted by the block they lead to.
fn settle(edges: &[(Edge, u32)], written: &[Set], start: &mut [Set], base: u32) {
    start.fill([u64::MAX; LANES]);
    start[0] = [0; LANES];
    loop {
        let mut changed = false;
        let mut at = 0;
        while let Some((first, _)) = edges.get(at) {
            let to = first.to as usize;
            let mut facts = [u64::MAX; LANES];
            while let Some((edge, writes)) = edges.get(at).filter(|e| e.0.to as usize == to) {
                let (block, end) = match edge.from {
                    From::Start(b) => (b as usize, 0),
                    From::End(b) => (b as usize, u64::MAX),
                };
                let mut way = start[block];
                for (lane, w) in way.iter_mut().zip(&written[block]) {
                    *lane |= w & end;
                }
                if writes.wrapping_sub(base) < CHUNK as u32 {
                    insert(&mut way, writes - base);
                }
                for (lane, w) in facts.iter_mut().zip(&way) {
                    *lane &= w;
                }
                at += 1;
            }
            if to != 0 && start[to] != facts {
                start[to] = facts;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(from: u32, to: u32) -> Edge {
        Edge { from: From::End(from), to, writes: None }
    }

    #[test]
    fn a_register_must_be_written_on_all_ways() {
        // 0 -> 1, 2 -> 3; 3 -> 1 back.
        let edges = vec![end(0, 1), end(0, 2), end(1, 3), end(2, 3), end(3, 1)];
        let need = Need { slot: 7, block: 3, pc: 9 };
        assert!(unwritten(4, edges.clone(), &[(7, 1)], &[need]).is_some());
        assert!(unwritten(4, edges.clone(), &[(7, 1), (7, 2)], &[need]).is_none());
        assert!(unwritten(4, edges, &[(7, 0)], &[need]).is_none());
    }

    #[test]
    fn exceptions_leave_with_what_held_at_the_start() {
        let way = Edge { from: From::Start(1), to: 2, writes: Some(4) };
        let need = |slot| Need { slot, block: 2, pc: 0 };
        assert!(unwritten(3, vec![end(0, 1), way], &[(3, 1)], &[need(3)]).is_some());
        assert!(unwritten(3, vec![end(0, 1), way], &[(3, 0)], &[need(3), need(4)]).is_none());
    }

    /// Everything is settled as the data flow alone would settle it.
    #[test]
    fn reach_agrees_with_the_data_flow() {
        let mut r = crate::testing::Random(1);
        let (mut settled, mut open) = (0, 0);
        for _ in 0..20_000 {
            let blocks = 2 + r.below(8) as u32;
            let mut edges = Vec::new();
            for b in 0..blocks {
                if b + 1 < blocks && !r.one_in(6) {
                    edges.push(end(b, b + 1));
                }
                if b + 1 < blocks && r.one_in(2) {
                    let to = b + 1 + r.below((blocks - b - 1) as usize) as u32;
                    edges.push(if r.one_in(4) {
                        Edge { from: From::Start(b), to, writes: None }
                    } else {
                        end(b, to)
                    });
                }
                if r.one_in(4) {
                    edges.push(end(b, r.below(b as usize + 1) as u32));
                }
            }
            let mut writes: Vec<(u32, u32)> =
                (0..1 + r.below(3)).map(|_| (0, r.below(blocks as usize) as u32)).collect();
            writes.sort_unstable();
            let need = Need { slot: 0, block: r.below(blocks as usize) as u32, pc: 0 };
            if !Reach::new(blocks, &edges).settles(&writes, &need) {
                open += 1;
                continue;
            }
            settled += 1;
            let mut written = vec![[0; LANES]; blocks as usize];
            writes.iter().for_each(|w| insert(&mut written[w.1 as usize], 0));
            edges.sort_unstable_by_key(|e| e.to);
            let numbered: Vec<(Edge, u32)> = edges.iter().map(|e| (*e, u32::MAX)).collect();
            let mut start = vec![[0; LANES]; blocks as usize];
            settle(&numbered, &written, &mut start, 0);
            assert!(contains(&start[need.block as usize], 0), "{edges:?} {writes:?} {need:?}");
        }
        assert!(settled > 1000 && open > 1000, "{settled} {open}");
    }

    #[test]
    fn registers_beyond_one_chunk_are_told_apart() {
        let writes: Vec<(u32, u32)> = (0..1000).filter(|n| *n != 777).map(|n| (n, 0)).collect();
        let needs: Vec<Need> = (0..1000).map(|n| Need { slot: n, block: 1, pc: n }).collect();
        assert_eq!(unwritten(2, vec![end(0, 1)], &writes, &needs).map(|n| n.slot), Some(777));
    }
}
