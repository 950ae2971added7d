//! The stencils and their index.
//!
//! A table is three parts in one blob: entries of 12 bytes (offset of the code, length of hot and of cold part, holes), holes
//! of 6 bytes (offset, kind, addend), code. Stencils that differ in operands alone are a [`Family`] and stand in a row.
//!
//! There is a table for aarch64 too, which nothing uses yet. It has the same families but for those that its `MISSING` names,
//! and the same kinds of holes. A hole there is a whole instruction, at the hole's offset, and the number goes in as the
//! instruction says: a load or store gets it, divided by 8, as its offset; `movz` and `movk` get 16 bits of it, and `movz`
//! becomes `movn` of the inverted bits where a signed number (S0 to S5) is negative; branches get the distance from themselves
//! in instructions, 26 bits or 19.

#[cfg(any(test, target_arch = "aarch64"))]
#[allow(dead_code, reason = "it is parsed, not run")]
mod aarch64;
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

    #[test]
    fn the_table_for_aarch64_can_be_patched() {
        use aarch64::{CODE, COUNT, HASH, HOLES, HoleKind, MISSING, TABLE};

        assert_eq!(aarch64::LAYOUT, upshift_runtime::layout::HASH, "run `cargo xtask stencils`");
        assert!(HOLES == 12 * COUNT && TABLE.len() >= CODE + 32 && TABLE.len() < 1 << 20);
        let hash = TABLE.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(hash, HASH);
        let u16_at = |at: usize| u16::from_le_bytes([TABLE[at], TABLE[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        for number in 0..COUNT {
            let entry = 12 * number;
            let (hot, cold) = (usize::from(u16_at(entry + 4)), usize::from(u16_at(entry + 6)));
            assert!(hot % 4 == 0 && cold % 4 == 0, "stencil {number}: whole instructions");
            let code = CODE + u32_at(entry) as usize;
            assert!(code + hot + cold <= TABLE.len() - 32, "stencil {number}");
            let (first, count) = ((u32_at(entry + 8) >> 8) as usize, (u32_at(entry + 8) & 0xFF) as usize);
            assert!(HOLES + 6 * (first + count) <= CODE, "stencil {number}");
            let mut last = None;
            for hole in (first..first + count).map(|i| HOLES + 6 * i) {
                let offset = usize::from(u16_at(hole));
                assert!(offset % 4 == 0 && offset < hot + cold, "stencil {number}");
                assert!(last < Some(offset), "stencil {number}: holes in order");
                last = Some(offset);
                let kind = HoleKind::ALL[usize::from(u16_at(hole + 2))];
                let addend = usize::from(u16_at(hole + 4));
                let word = u32_at(code + offset);
                // A load or store of 64 bits, int or float; movz and movk, by their shifts; branches.
                let memory = word & 0xFBBF_FC00 == 0xF900_0000 && word >> 5 & 31 == 21;
                let mov =
                    |shift: u32, keep: u32| word & 0xFFFF_FFE0 == 0xD280_0000 | keep << 29 | shift << 21;
                let branch = word == 0x1400_0000
                    || word & 0xFFFF_FFF0 == 0x5400_0000
                    || word & 0x7EFF_FFE0 == 0x3400_0000;
                let known = match kind {
                    HoleKind::S0
                    | HoleKind::S1
                    | HoleKind::S2
                    | HoleKind::S3
                    | HoleKind::S4
                    | HoleKind::S5 => memory && addend % 8 == 0 || addend == 0 && (mov(1, 0) || mov(0, 1)),
                    HoleKind::Q0 => addend == 0 && (mov(0, 0) || mov(1, 1) || mov(2, 1) || mov(3, 1)),
                    HoleKind::B0 => addend == 0 && mov(0, 0),
                    HoleKind::ColdPart => branch && offset < hot && addend < cold,
                    HoleKind::HotPart => branch && offset >= hot && addend < hot,
                    HoleKind::Cont | HoleKind::Taken | HoleKind::Cold => branch && addend == 0,
                    _ => false,
                };
                assert!(known, "stencil {number}: {kind:?} in {word:#010x}");
            }
        }
        assert!(MISSING.iter().all(|name| !name.is_empty()));
    }
}
