//! Feedback: what a site of a dynamic op has seen. Ids only, never heap references.

use crate::value::Value;
use upshift_bytecode::Kind;

/// How many callees or shapes a site remembers.
pub const CACHE: usize = 4;

/// The record of one site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Feedback {
    /// The kinds of the first operand: bit `n` for [`Kind`] number `n`.
    pub left: u16,
    /// The kinds of the second operand.
    pub right: u16,
    /// What else happened.
    pub flags: u16,
    /// How many of `ids` are in use.
    pub cached: u16,
    /// Callees (function numbers) or shapes.
    pub ids: [u32; CACHE],
    /// For shapes: the slot of the field with the type's bank: see [`FieldSlot`].
    pub slots: [FieldSlot; CACHE],
}

/// Where a cached shape has a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FieldSlot {
    /// The slot in the record.
    pub slot: u16,
    /// 0 for a cell of type `any`, 1 int, 2 bool, 3 float, 4 a cell of another type (stores are checked).
    pub kind: u16,
}

/// An int result left 64 bits.
pub const OVERFLOW: u16 = 1;
/// The protocol was called.
pub const SLOW: u16 = 2;
/// More callees or shapes than the cache holds.
pub const MEGAMORPHIC: u16 = 4;
/// A callee gave no result.
pub const RESULT_NONE: u16 = 8;
/// A callee gave several results.
pub const RESULT_MANY: u16 = 16;

impl Feedback {
    /// Notes the kinds of both operands.
    #[inline(always)]
    pub fn see(&mut self, left: Value, right: Value) {
        self.left |= 1 << left.kind() as u16;
        self.right |= 1 << right.kind() as u16;
    }

    /// Notes the kind of the one operand.
    #[inline(always)]
    pub fn see_one(&mut self, left: Value) {
        self.left |= 1 << left.kind() as u16;
    }

    /// Notes kinds that are known.
    #[inline(always)]
    pub fn see_kinds(&mut self, left: Kind, right: Kind) {
        self.left |= 1 << left as u16;
        self.right |= 1 << right as u16;
    }

    /// Notes two numbers, each an int or a float.
    #[inline(always)]
    pub fn see_numbers(&mut self, left_float: bool, right_float: bool) {
        const { assert!(Kind::Float as u16 == Kind::Int as u16 + 1) };
        self.left |= 1 << (Kind::Int as u16 + u16::from(left_float));
        self.right |= 1 << (Kind::Int as u16 + u16::from(right_float));
    }

    /// The position of an id in the cache.
    #[inline(always)]
    pub fn find(&self, id: u32) -> Option<usize> {
        (0..CACHE).find(|&i| self.ids[i] == id && id != 0)
    }

    /// Adds an id; where the cache is full the site is megamorphic from then on.
    pub fn remember(&mut self, id: u32, slot: FieldSlot) {
        let n = self.cached as usize;
        if n < CACHE {
            self.ids[n] = id;
            self.slots[n] = slot;
            self.cached += 1;
        } else {
            self.flags |= MEGAMORPHIC;
        }
    }
}
