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

fn u16_at(at: usize) -> u16 {
    u16::from_le_bytes([TABLE[at], TABLE[at + 1]])
}

impl Stencil {
    /// All stencils.
    pub fn all() -> impl Iterator<Item = Stencil> {
        (0..COUNT as u32).map(Stencil)
    }

    /// The code, with zeros in the holes; its hot part's length.
    #[inline(always)]
    pub fn code(self) -> (&'static [u8], usize) {
        let (at, hot, cold, _) = self.entry();
        (&TABLE[CODE + at..][..hot + cold], hot)
    }

    /// The 32 bytes from the start of the code on, whatever they are behind its end; for copying short code in one step.
    #[inline(always)]
    pub(crate) fn chunk(self) -> (&'static [u8; 32], usize, usize) {
        let (at, hot, cold, _) = self.entry();
        let chunk = TABLE[CODE + at..].first_chunk();
        // The blob ends in 32 bytes of padding.
        (chunk.unwrap_or(&[0; 32]), hot, cold)
    }

    #[inline(always)]
    fn entry(self) -> (usize, usize, usize, u32) {
        let at = 12 * self.0 as usize;
        let e: &[u8; 12] = TABLE[at..].first_chunk().unwrap_or(&[0; 12]);
        (
            u32::from_le_bytes([e[0], e[1], e[2], e[3]]) as usize,
            usize::from(u16::from_le_bytes([e[4], e[5]])),
            usize::from(u16::from_le_bytes([e[6], e[7]])),
            u32::from_le_bytes([e[8], e[9], e[10], e[11]]),
        )
    }

    /// The holes, those of the cold part included.
    #[inline(always)]
    pub fn holes(self) -> impl Iterator<Item = Hole> {
        let (_, _, _, packed) = self.entry();
        let first = HOLES + 6 * (packed >> 8) as usize;
        (0..(packed & 0xFF) as usize).map(move |i| {
            let at = first + 6 * i;
            Hole {
                offset: usize::from(u16_at(at)),
                kind: HoleKind::ALL[usize::from(u16_at(at + 2))],
                addend: i32::from(u16_at(at + 4) as i16),
            }
        })
    }
}
