//! Where the registers of a function live.
//!
//! A frame is a run of 8-byte slots on the instance's guest stack:
//!
//! ```text
//! [ raw params | header (2) | cell params, cell locals | raw locals | spilled raws | spilled cells ] window ...
//! ```
//!
//! Operands of instructions are slot numbers counted from the frame's start. Argument addresses follow from the
//! signature alone, so a caller writes arguments straight into the callee's frame, which begins where the caller's ends:
//! the *window*. Slot numbers from `size` upwards are the window. The cells of a frame are one range (and a second one
//! for functions with more registers than a 16-bit operand reaches).

use crate::module::{Function, Signature};
use crate::types::ValueType;

/// The number of slots of a frame header: the return pc with flags, and the caller's function and frame size.
pub const HEADER_SLOTS: u32 = 2;

/// The slots of one function's frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameLayout {
    /// Raw parameters stand in slots `0..raw_params`.
    pub raw_params: u32,
    /// Cell parameters stand in slots `first_cell()..first_cell() + cell_params`.
    pub cell_params: u32,
    /// All directly addressed cells (parameters included).
    pub cells: u32,
    /// Directly addressed raw locals, behind the cells.
    pub raws: u32,
    /// Spilled raw locals, reached by `int.local.*` and `float.local.*`.
    pub spilled_raws: u32,
    /// Spilled cells, reached by `cell.local.*`.
    pub spilled_cells: u32,
}

impl FrameLayout {
    /// The slot of the header.
    pub fn header(&self) -> u32 {
        self.raw_params
    }
    /// The first cell slot.
    pub fn first_cell(&self) -> u32 {
        self.raw_params + HEADER_SLOTS
    }
    /// The first raw local.
    pub fn first_raw(&self) -> u32 {
        self.first_cell() + self.cells
    }
    /// The first spilled raw local.
    pub fn first_spilled_raw(&self) -> u32 {
        self.first_raw() + self.raws
    }
    /// The first spilled cell.
    pub fn first_spilled_cell(&self) -> u32 {
        self.first_spilled_raw() + self.spilled_raws
    }
    /// The number of slots; the window starts here.
    pub fn size(&self) -> u32 {
        self.first_spilled_cell() + self.spilled_cells
    }

    /// The layout of a function as its registers are declared.
    pub fn of(function: &Function, signature: &Signature) -> FrameLayout {
        let (raw_params, cell_params) = signature.counts();
        FrameLayout {
            raw_params,
            cell_params: cell_params + u32::from(function.environment.is_some()),
            cells: function.cells.len() as u32,
            raws: function.raws.len() as u32,
            spilled_raws: function.spilled_raws.len() as u32,
            spilled_cells: function.spilled_cells.len() as u32,
        }
    }
}

/// The window slot of each item of a list of values, counted from the window's start: raw values from 0, cells behind
/// the header. `environment` says whether the first cell slot is taken by the closure itself.
pub fn window_slots(types: &[ValueType], environment: bool) -> Vec<u32> {
    let raws = types.iter().filter(|t| !t.is_cell()).count() as u32;
    let (mut raw, mut cell) = (0, raws + HEADER_SLOTS + u32::from(environment));
    types
        .iter()
        .map(|t| {
            let next = if t.is_cell() { &mut cell } else { &mut raw };
            *next += 1;
            *next - 1
        })
        .collect()
}
