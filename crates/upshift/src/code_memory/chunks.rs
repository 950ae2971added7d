//! Which parts of the code memory have memory behind them.
//!
//! The reservation is cut into chunks of 64 KiB. A chunk is committed before a block in it is first written, in a way that
//! can fail; touching a page of a file for which the system finds no memory would be a fatal signal instead. A chunk with
//! no live block in it is idle. Idle chunks are kept for the next block until there are more than [`IDLE_MOST`] of them,
//! then all are given back at once, so that a function compiled and freed again and again costs no system call.
//!
//! Works on numbers; the caller passes what commits and what releases.

use std::ops::Range;

/// The bytes of a chunk.
pub(super) const CHUNK: usize = 64 << 10;

/// The number of idle chunks that are kept: 1 MiB.
const IDLE_MOST: usize = 16;

/// The state of every chunk. `idle` is the number of chunks that are committed and have no live bytes; a chunk with live
/// bytes is committed.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    idle: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Chunk {
    /// The bytes of live blocks in it.
    live: u32,
    /// Whether there is memory behind it.
    committed: bool,
}

impl Chunk {
    fn is_idle(self) -> bool {
        self.committed && self.live == 0
    }
}

impl Chunks {
    /// Nothing is committed in `capacity` bytes, a multiple of [`CHUNK`].
    pub(super) fn new(capacity: usize) -> Chunks {
        Chunks { chunks: vec![Chunk::default(); capacity / CHUNK], idle: 0 }
    }

    /// Counts a block's bytes as live, after `commit` got memory for the chunks under it. Where it fails, the answer is
    /// `false` and no byte is counted.
    pub(super) fn occupy(
        &mut self,
        bytes: Range<usize>,
        mut commit: impl FnMut(Range<usize>) -> bool,
    ) -> bool {
        let all = bytes.start / CHUNK..bytes.end.div_ceil(CHUNK);
        for index in all.clone() {
            if !self.chunks[index].committed {
                if !commit(index * CHUNK..(index + 1) * CHUNK) {
                    return false;
                }
                self.chunks[index].committed = true;
                self.idle += 1;
            }
        }
        for index in all {
            let chunk = &mut self.chunks[index];
            self.idle -= usize::from(chunk.live == 0);
            chunk.live += overlap(index, &bytes);
        }
        true
    }

    /// Counts a block's bytes as live no more, and lets `release` have the idle chunks where there are too many.
    pub(super) fn vacate(&mut self, bytes: Range<usize>, release: impl FnMut(Range<usize>) -> bool) {
        let idle = self.idle;
        for index in bytes.start / CHUNK..bytes.end.div_ceil(CHUNK) {
            let chunk = &mut self.chunks[index];
            debug_assert!(chunk.live >= overlap(index, &bytes), "a block is freed twice");
            chunk.live -= overlap(index, &bytes);
            self.idle += usize::from(chunk.live == 0);
        }
        if self.idle > idle && self.idle > IDLE_MOST {
            self.release_idle(release);
        }
    }

    /// Gives idle chunks back, neighbours in one go. Those that `release` refuses stay.
    fn release_idle(&mut self, mut release: impl FnMut(Range<usize>) -> bool) {
        let mut first = 0;
        for run in self.chunks.chunk_by_mut(|a, b| a.is_idle() == b.is_idle()) {
            let bytes = first * CHUNK..(first + run.len()) * CHUNK;
            first += run.len();
            if run[0].is_idle() && release(bytes) {
                self.idle -= run.len();
                run.fill(Chunk::default());
            }
        }
    }
}

/// The bytes of a chunk that are in a range.
fn overlap(index: usize, bytes: &Range<usize>) -> u32 {
    (bytes.end.min((index + 1) * CHUNK) - bytes.start.max(index * CHUNK)) as u32
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Chunks, IDLE_MOST};

    #[test]
    fn a_chunk_is_committed_once_and_only_when_needed() {
        let mut chunks = Chunks::new(4 * CHUNK);
        let mut committed = Vec::new();
        for bytes in [0..16, 16..CHUNK, CHUNK - 16..2 * CHUNK + 16, 2 * CHUNK + 16..2 * CHUNK + 32] {
            assert!(chunks.occupy(bytes, |part| {
                committed.push(part.start / CHUNK);
                part.len() == CHUNK
            }));
        }
        assert_eq!(committed, [0, 1, 2]);
        assert_eq!(chunks.idle, 0);
    }

    #[test]
    fn a_failed_commit_counts_nothing() {
        let mut chunks = Chunks::new(4 * CHUNK);
        assert!(!chunks.occupy(0..3 * CHUNK, |part| part.start < 2 * CHUNK));
        assert!(chunks.chunks.iter().all(|chunk| chunk.live == 0));
        assert_eq!(chunks.idle, 2);
        // The first two have their memory already.
        assert!(chunks.occupy(0..2 * CHUNK, |_| false));
    }

    #[test]
    fn idle_chunks_are_given_back_when_there_are_too_many() {
        let mut chunks = Chunks::new(2 * IDLE_MOST * CHUNK);
        let block = |index: usize| index * CHUNK..index * CHUNK + 16;
        for index in 0..2 * IDLE_MOST {
            assert!(chunks.occupy(block(index), |_| true));
        }
        for index in 0..IDLE_MOST {
            chunks.vacate(block(index), |_| panic!("{index} chunks are few enough"));
        }
        // Not a neighbour of the others: two runs.
        let mut released = Vec::new();
        chunks.vacate(block(IDLE_MOST + 2), |part| {
            released.push(part);
            true
        });
        assert_eq!(released, [0..IDLE_MOST * CHUNK, (IDLE_MOST + 2) * CHUNK..(IDLE_MOST + 3) * CHUNK]);
        assert_eq!(chunks.idle, 0);
        // Back again, at the price of a commit.
        assert!(!chunks.occupy(block(0), |_| false));
        assert!(chunks.occupy(block(0), |_| true));
    }

    #[test]
    fn a_system_that_keeps_idle_chunks_is_believed() {
        let mut chunks = Chunks::new(2 * IDLE_MOST * CHUNK);
        assert!(chunks.occupy(0..2 * IDLE_MOST * CHUNK, |_| true));
        chunks.vacate(0..2 * IDLE_MOST * CHUNK, |_| false);
        assert_eq!(chunks.idle, 2 * IDLE_MOST);
        assert!(chunks.occupy(0..16, |_| false));
        assert_eq!(chunks.idle, 2 * IDLE_MOST - 1);
    }
}
