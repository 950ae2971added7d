//! What library functions charge for their work.
//!
//! A function that goes through data counts its steps here: elements, pairs that are compared, bytes that are written or read by the
//! dozen. Every [`PORTION`] of them is charged to the budget, with a look at interrupts and the deadline as often as running code has
//! one; what is left at the end is not, so what is done in few steps costs an addition and a comparison. A value that refers to another
//! one several times is gone through as often: what is counted is work, not memory, since that is what a program could wait for
//! forever. The steps follow from the arguments alone, so all tiers charge the same.

use upshift_runtime::host::HostContext;
use upshift_runtime::trap::Trap;

/// Steps that are charged together.
pub const PORTION: usize = 1024;
/// Steps in a unit of the budget, which is a turn of a loop.
const STEPS_A_UNIT: usize = 8;
/// Bytes that are written one by one, as texts of numbers are, in a step.
pub const WRITTEN: usize = 8;
/// Bytes that are copied, compared or searched through in a step.
pub const COPIED: usize = 64;

/// The steps of one call that are not charged yet.
#[derive(Debug, Default)]
pub struct Work(usize);

impl Work {
    /// Counts steps.
    ///
    /// # Errors
    /// out-of-fuel, interrupted, timed-out.
    #[inline]
    pub fn steps(&mut self, ctx: &HostContext<'_>, steps: usize) -> Result<(), Trap> {
        self.0 = self.0.saturating_add(steps);
        if self.0 < PORTION { Ok(()) } else { self.charge(ctx) }
    }

    #[cold]
    fn charge(&mut self, ctx: &HostContext<'_>) -> Result<(), Trap> {
        let portions = self.0 / PORTION;
        self.0 %= PORTION;
        ctx.charge((portions * (PORTION / STEPS_A_UNIT)) as u64)
    }
}

/// Counts steps of a call that does no others.
///
/// # Errors
/// As [`Work::steps`].
#[inline]
pub fn steps(ctx: &HostContext<'_>, steps: usize) -> Result<(), Trap> {
    Work::default().steps(ctx, steps)
}
