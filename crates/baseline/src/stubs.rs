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
    /// `extern "sysv64" fn(context, frame of the callee, number of the callee) -> bits`, as all that follow with the budget in r15:
    /// native code, called from optimized code.
    pub call: u32,
    /// `extern "sysv64" fn(context, status) -> !`.
    pub leave: u32,
    /// `extern "sysv64" fn(context, frame, exit) -> !`: leaves with the exit as the context's result.
    pub deopt: u32,
    /// As `deopt` for an exit, with context and frame in the first two words of the caller's native frame.
    pub deopt_at: u32,
    /// `extern "sysv64" fn(context, frame, exit, poll)`. Calls a function of the context's table, which stands there so many bytes from
    /// the start, with the other arguments, and leaves where it answers with a status that is not 0. All registers but the budget's
    /// are kept.
    pub poll: u32,
    /// `extern "sysv64" fn(context, frame, instruction, routine)`. Likewise calls a routine for an instruction: `instruction` is
    /// its function's number, shifted by 32, and its word, `routine` the distance of its frame from `frame` in slots, shifted by 16,
    /// and the routine's number.
    pub run: u32,
    /// `extern "sysv64" fn(context, argument, argument, helper, argument)`. Likewise as `poll`, without an answer, and without the budget.
    pub quiet: u32,
    /// As `poll`, with the arguments in the first four words of the caller's native frame.
    pub poll_at: u32,
    /// Likewise as `run`.
    pub run_at: u32,
    /// As `quiet`, with the context in the first word of the caller's native frame and the other arguments from the third on.
    pub quiet_at: u32,
    places: [u32; 4],
}

impl Stubs {
    /// Where a stub begins.
    pub fn place(&self, stub: Stub) -> u32 {
        self.places[stub as usize]
    }

    /// Makes them.
    pub fn new() -> Stubs {
        let mut stubs = Stubs {
            text: Vec::new(),
            enter: 0,
            uncompiled: 0,
            call: 0,
            leave: 0,
            deopt: 0,
            deopt_at: 0,
            poll: 0,
            run: 0,
            quiet: 0,
            poll_at: 0,
            run_at: 0,
            quiet_at: 0,
            places: [0; 4],
        };
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
        stubs.call = add(&mut stubs.text, family::STUB_OPT_CALL.at([]));
        stubs.leave = add(&mut stubs.text, family::STUB_OPT_LEAVE.at([]));
        stubs.deopt = add(&mut stubs.text, family::STUB_OPT_EXIT.at([]));
        stubs.deopt_at = add(&mut stubs.text, family::STUB_OPT_EXIT_AT.at([]));
        stubs.poll = add(&mut stubs.text, family::STUB_OPT_POLL.at([]));
        stubs.run = add(&mut stubs.text, family::STUB_OPT_RUN.at([]));
        stubs.quiet = add(&mut stubs.text, family::STUB_OPT_QUIET.at([]));
        stubs.poll_at = add(&mut stubs.text, family::STUB_OPT_POLL_AT.at([]));
        stubs.run_at = add(&mut stubs.text, family::STUB_OPT_RUN_AT.at([]));
        stubs.quiet_at = add(&mut stubs.text, family::STUB_OPT_QUIET_AT.at([]));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_stand_apart_and_refer_to_each_other() {
        let stubs = Stubs::new();
        let slow = [stubs.poll, stubs.run, stubs.quiet, stubs.poll_at, stubs.run_at, stubs.quiet_at];
        let places = [stubs.enter, stubs.uncompiled, stubs.call, stubs.leave, stubs.deopt, stubs.deopt_at];
        let shared = [Stub::Leave, Stub::Routine, Stub::Exit, Stub::Return].map(|stub| stubs.place(stub));
        let mut all: Vec<u32> = places.into_iter().chain(slow).chain(shared).collect();
        assert!(all.iter().all(|place| place.is_multiple_of(16)));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 16);
        // The one that is a jump to the way out and nothing before but moves.
        let leave = &stubs.text[stubs.leave as usize..];
        let moves = [0x49, 0x89, 0xFC, 0x4D, 0x89, 0xFE, 0x89, 0xF0, 0xE9];
        assert_eq!(leave[..9], moves);
        let distance = i32::from_le_bytes([leave[9], leave[10], leave[11], leave[12]]);
        assert_eq!((stubs.leave as i32 + 13).wrapping_add(distance), stubs.place(Stub::Leave) as i32);
    }
}
