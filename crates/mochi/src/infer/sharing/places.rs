//! Sets of places that lists may grow in, for the question whether an append in place may change a list that something else looks at.
//!
//! A list without the mark is what one place refers to, and what was read from that place. So an append to a field changes nothing
//! that was read from another field, nor from an element or another variable; and a list of ints is no list of texts.
//! Places are told apart by the last step that leads to them and by the kind of the list's elements; only those that the program
//! appends to are known by a bit, and where there are more than bits, the last bit stands for all others.

use std::collections::HashMap;
use std::ops::BitOr;

use crate::infer::{TyId, TyKind, Types};
use crate::syntax::ast::{BindId, Name};

/// A set of places that the program appends to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Places(u64);

impl Places {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u64::MAX);

    /// Whether a place may be in both.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Places {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The last step that leads to a place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Step {
    /// A variable that is no register.
    Variable(BindId),
    /// A field of a struct or of a variant.
    Field(Name),
    /// An element of a list, or what a map has for a key.
    Element,
}

/// What lists hold; lists of different kinds are different lists. Structs are one kind with unions, whose variants they may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Elements {
    Ints,
    Floats,
    Bools,
    Texts,
    Lists,
    Maps,
    Records,
    Functions,
}

impl Elements {
    /// That of the lists of a type; nothing where it may be any of them.
    fn of(types: &Types, list: TyId) -> Option<Self> {
        let TyKind::List(element) = types.get(list).kind else { return None };
        match types.get(element).kind {
            TyKind::Int => Some(Self::Ints),
            TyKind::Float => Some(Self::Floats),
            TyKind::Bool => Some(Self::Bools),
            TyKind::String => Some(Self::Texts),
            TyKind::List(_) => Some(Self::Lists),
            TyKind::Map(..) => Some(Self::Maps),
            TyKind::Struct(_) | TyKind::Union(_) => Some(Self::Records),
            TyKind::Fun(..) => Some(Self::Functions),
            TyKind::Any | TyKind::Null | TyKind::BigInt | TyKind::BigRat => None,
        }
    }
}

/// The bits of the places that the program appends to.
#[derive(Default)]
pub(super) struct Table {
    bits: HashMap<Step, Vec<(Option<Elements>, u32)>>,
    count: u32,
}

impl Table {
    /// Enters the places of lists of a type that a step leads to, where the program appends.
    pub fn add(&mut self, types: &Types, step: Step, list: TyId) {
        let elements = Elements::of(types, list);
        let known = self.bits.entry(step).or_default();
        if known.iter().all(|&(other, _)| other != elements) {
            known.push((elements, self.count.min(u64::BITS - 1)));
            self.count += 1;
        }
    }

    /// Those of the places that are entered which the step may lead to.
    pub fn places(&self, types: &Types, step: Step, list: TyId) -> Places {
        let elements = Elements::of(types, list);
        let known = self.bits.get(&step).map_or(&[][..], Vec::as_slice);
        let same =
            known.iter().filter(|&&(other, _)| elements.is_none() || other.is_none() || other == elements);
        Places(same.fold(0, |found, &(_, bit)| found | 1 << bit))
    }
}
