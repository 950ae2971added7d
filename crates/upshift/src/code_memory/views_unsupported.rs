//! The twin of `views` for platforms that have no such mappings: there are no views, and the reason is said.

use std::ops::Range;

use super::{Purpose, Unavailable};

/// There is no function to try.
pub(super) const ANSWER: &[u8] = &[];

/// Nothing: no value of this type exists.
#[derive(Debug)]
pub(super) enum Views {}

impl Views {
    /// Never maps anything.
    pub(super) fn map(_capacity: usize, _purpose: Purpose) -> Result<Views, Unavailable> {
        Err(Unavailable::new("this platform is not supported (it takes Linux on x86-64 or aarch64)"))
    }

    pub(super) fn capacity(&self) -> usize {
        match *self {}
    }

    pub(super) fn executable(&self) -> *const u8 {
        match *self {}
    }

    pub(super) fn is_owner(&self) -> bool {
        match *self {}
    }

    pub(super) fn write(&self, _offset: usize, _bytes: &[u8]) {
        match *self {}
    }

    pub(super) fn fill(&self, _range: Range<usize>) {
        match *self {}
    }

    pub(super) fn commit(&self, _range: Range<usize>) -> bool {
        match *self {}
    }

    pub(super) fn release(&self, _range: Range<usize>) -> bool {
        match *self {}
    }

    pub(super) fn publish(&self, _range: Range<usize>) {
        match *self {}
    }
}
