//! The stubs of a code memory: the way in, the way out, and what functions share.

use crate::assembler::Stub;
use crate::table::{HoleKind, Stencil, family};

/// The stubs as one piece of code, and where each begins.
#[derive(Debug)]
pub struct Stubs {
    /// The bytes; position-independent.
    pub text: Vec<u8>,
    /// The entry from Rust: `extern "C" fn(context, frame, target) -> status`.
    pub enter: u32,
    /// The entry of functions without machine code.
    pub uncompiled: u32,
    places: [u32; 4],
}

impl Stubs {
    /// Where a stub begins.
    pub fn place(&self, stub: Stub) -> u32 {
        self.places[stub as usize]
    }

    /// Makes them.
    pub fn new() -> Stubs {
        let mut stubs = Stubs { text: Vec::new(), enter: 0, uncompiled: 0, places: [0; 4] };
        let mut holes = Vec::new();
        let mut add = |text: &mut Vec<u8>, stencil: Stencil| {
            while !text.len().is_multiple_of(16) {
                text.push(0xCC);
            }
            let at = text.len();
            text.extend_from_slice(stencil.code().0);
            holes.extend(stencil.holes().map(|h| (at + h.offset, h.kind)));
            at as u32
        };
        stubs.enter = add(&mut stubs.text, family::STUB_ENTER.at([]));
        stubs.uncompiled = add(&mut stubs.text, family::STUB_UNCOMPILED.at([]));
        stubs.places = [
            add(&mut stubs.text, family::STUB_LEAVE.at([])),
            add(&mut stubs.text, family::STUB_ROUTINE.at([])),
            add(&mut stubs.text, family::STUB_EXIT.at([])),
            add(&mut stubs.text, family::STUB_RETURN.at([])),
        ];
        for (at, kind) in holes {
            let stub = match kind {
                HoleKind::StubLeave => Stub::Leave,
                HoleKind::StubRoutine => Stub::Routine,
                HoleKind::StubExit => Stub::Exit,
                HoleKind::StubReturn => Stub::Return,
                _ => {
                    debug_assert!(false, "a stub refers to stubs only");
                    continue;
                }
            };
            let distance = stubs.place(stub).wrapping_sub(at as u32 + 4);
            if let Some(hole) = stubs.text.get_mut(at..at + 4) {
                hole.copy_from_slice(&distance.to_le_bytes());
            }
        }
        stubs
    }
}

impl Default for Stubs {
    fn default() -> Stubs {
        Stubs::new()
    }
}
