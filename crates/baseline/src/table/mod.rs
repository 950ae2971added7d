//! The stencils and their index.
//!
//! A table is three parts in one blob: entries of 12 bytes (offset of the code, length of hot and of cold part, holes), holes
//! of 6 bytes (offset, kind, addend), code. Stencils that differ in operands alone are a [`Family`] and stand in a row.

mod x86_64;

use x86_64::{CODE, HOLES, TABLE};
pub use x86_64::{COMPILER, COUNT, HASH, HoleKind, family};

// The offsets in the machine code are those of this build.
const _: () = assert!(x86_64::LAYOUT == upshift_runtime::layout::HASH, "run `cargo xtask stencils`");
const _: () = assert!(TABLE.len() >= CODE + 32 && HOLES == 12 * COUNT);

/// The number of a stencil.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stencil(u32);

/// Stencils of one name: one for each combination of operands.
#[derive(Clone, Copy, Debug)]
pub struct Family<const N: usize> {
    base: u32,
    dims: [u32; N],
}

impl<const N: usize> Family<N> {
    /// The stencil for these operands: 0 a slot, else a register from 1; for destinations a register from 0.
    #[inline(always)]
    pub const fn at(&self, index: [usize; N]) -> Stencil {
        let mut number = 0;
        let mut i = 0;
        while i < N {
            debug_assert!((index[i] as u32) < self.dims[i]);
            number = number * self.dims[i] + index[i] as u32;
            i += 1;
        }
        Stencil(self.base + number)
    }
}

/// A hole.
#[derive(Clone, Copy, Debug)]
pub struct Hole {
    /// From the start of the code.
    pub offset: usize,
    /// What goes in.
    pub kind: HoleKind,
    /// What is added to it.
    pub addend: i32,
}

/// An entry as it stands in the blob.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawEntry {
    code: u32,
    hot: u16,
    cold: u16,
    /// The number of the first hole, and how many.
    holes: u32,
}

/// A hole as it stands in the blob.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawHole {
    offset: u16,
    kind: HoleKind,
    addend: i16,
}

const _: () = assert!(size_of::<RawEntry>() == 12 && size_of::<RawHole>() == 6);
#[cfg(target_endian = "big")]
compile_error!("the table is read in place and needs a little-endian machine");

impl Stencil {
    /// All stencils.
    pub fn all() -> impl Iterator<Item = Stencil> {
        (0..COUNT as u32).map(Stencil)
    }

    /// The code, with zeros in the holes; its hot part's length.
    #[inline(always)]
    pub fn code(self) -> (&'static [u8], usize) {
        let (at, hot, cold) = self.entry();
        (&TABLE[CODE + at..][..hot + cold], hot)
    }

    /// The 32 bytes from the start of the code on, whatever they are behind its end; for copying short code in one step.
    #[inline(always)]
    pub(crate) fn chunk(self) -> (&'static [u8; 32], usize, usize) {
        let (at, hot, cold) = self.entry();
        let chunk = TABLE[CODE + at..].first_chunk();
        // The blob ends in 32 bytes of padding.
        (chunk.unwrap_or(&[0; 32]), hot, cold)
    }

    #[inline(always)]
    fn raw(self) -> RawEntry {
        debug_assert!((self.0 as usize) < COUNT);
        // SAFETY: stencils have numbers below COUNT, which `Family::at` keeps to; the blob is aligned for entries and begins
        // with as many.
        unsafe { *TABLE.as_ptr().cast::<RawEntry>().add(self.0 as usize) }
    }

    #[inline(always)]
    fn entry(self) -> (usize, usize, usize) {
        let raw = self.raw();
        (raw.code as usize, usize::from(raw.hot), usize::from(raw.cold))
    }

    /// The holes, those of the cold part included.
    #[inline(always)]
    pub fn holes(self) -> impl Iterator<Item = Hole> {
        let raw = self.raw();
        // SAFETY: the generator wrote the holes of each entry behind the entries, aligned for them, with kinds of the list that
        // it wrote into the same module; a test reads all of them with checks.
        let raw = unsafe {
            let first = TABLE.as_ptr().add(HOLES).cast::<RawHole>().add((raw.holes >> 8) as usize);
            std::slice::from_raw_parts(first, (raw.holes & 0xFF) as usize)
        };
        raw.iter().map(|h| Hole { offset: usize::from(h.offset), kind: h.kind, addend: i32::from(h.addend) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_and_hole_is_inside_the_table_and_of_a_known_kind() {
        let u16_at = |at: usize| u16::from_le_bytes([TABLE[at], TABLE[at + 1]]);
        for (number, stencil) in Stencil::all().enumerate() {
            let raw = stencil.raw();
            let (first, count) = ((raw.holes >> 8) as usize, (raw.holes & 0xFF) as usize);
            assert!(HOLES + 6 * (first + count) <= CODE, "stencil {number}");
            let (code, hot) = stencil.code();
            assert!(hot <= code.len());
            let mut last = 0;
            for i in first..first + count {
                assert!(usize::from(u16_at(HOLES + 6 * i + 2)) < HoleKind::ALL.len(), "stencil {number}");
                let offset = usize::from(u16_at(HOLES + 6 * i));
                assert!(offset >= last && offset < code.len(), "stencil {number}: holes in order");
                last = offset;
            }
        }
    }

    #[test]
    fn the_table_is_the_one_that_the_module_was_written_for() {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for &byte in TABLE {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        assert_eq!(hash, HASH);
    }
}
