//! Which frame slots are in machine registers at a point of the code.
//!
//! Six int and eight float registers cache raw slots; cells are always in the frame, where the collector looks. A register is
//! *dirty* where its slot in memory is older. Registers are numbered 0 to 5 (ints) and 6 to 13 (floats).

/// The number of int registers.
pub const INTS: usize = 6;
/// The number of all registers.
pub const ALL: usize = 14;
/// No slot. The slot with this number, which a frame may have, is never in a register.
pub const FREE: u16 = u16::MAX;

/// The state of the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Regs {
    /// The slot in each register, or [`FREE`].
    pub slot: [u16; ALL],
    /// A bit for each dirty register.
    pub dirty: u16,
}

/// Nothing is in registers.
pub const EMPTY: Regs = Regs { slot: [FREE; ALL], dirty: 0 };

impl Regs {
    /// The int register that holds a slot.
    #[inline(always)]
    pub fn int(&self, slot: u16) -> Option<usize> {
        self.slot[..INTS].iter().position(|&s| s == slot && s != FREE)
    }

    /// The float register that holds a slot, from 0.
    #[inline(always)]
    pub fn float(&self, slot: u16) -> Option<usize> {
        self.slot[INTS..].iter().position(|&s| s == slot && s != FREE)
    }

    /// The register that holds a slot.
    #[inline(always)]
    pub fn any(&self, slot: u16) -> Option<usize> {
        self.slot.iter().position(|&s| s == slot && s != FREE)
    }

    /// Whether a register is dirty.
    #[inline(always)]
    pub fn is_dirty(&self, reg: usize) -> bool {
        self.dirty & 1 << reg != 0
    }

    /// Forgets what a register holds.
    #[inline(always)]
    pub fn drop_reg(&mut self, reg: usize) {
        self.slot[reg] = FREE;
        self.dirty &= !(1 << reg);
    }

    /// Puts a slot into a register.
    #[inline(always)]
    pub fn put(&mut self, reg: usize, slot: u16, dirty: bool) {
        self.slot[reg] = slot;
        self.dirty = self.dirty & !(1 << reg) | u16::from(dirty) << reg;
    }

    /// The dirty registers.
    pub fn dirty_regs(&self) -> impl Iterator<Item = usize> + use<> {
        let mut rest = self.dirty;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let reg = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                reg
            })
        })
    }
}
