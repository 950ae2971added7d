//! The codes of remarks: what was done, and why something is not faster, each with what it means and what to do about it.
//!
//! One list. Codes are stable: tools may compare them. `docs/explain.md` has each of them.

use upshift_optimizer::ir::{Inlining, Reason};

/// What a remark is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Topic {
    /// What the compilers did.
    Done,
    /// Why a function or loop is in no higher tier.
    Tier,
    /// What costs time in the tier that it is in.
    Cost,
    /// Why machine code was left.
    Exit,
}

impl Topic {
    /// All topics.
    pub const ALL: &'static [Topic] = &[Topic::Done, Topic::Tier, Topic::Cost, Topic::Exit];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Done => "done",
            Topic::Tier => "tier",
            Topic::Cost => "cost",
            Topic::Exit => "exit",
        }
    }
}

macro_rules! codes {
    ($($topic:ident { $($variant:ident $text:literal $meaning:literal $hint:literal;)* })*) => {
        /// What a remark says.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $meaning] $variant,)*)* }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Code] = &[$($(Code::$variant),*),*];

            /// The code as reports write it. It never changes.
            pub const fn text(self) -> &'static str { match self { $($(Code::$variant => $text,)*)* } }

            /// What it means, in a few words.
            pub const fn meaning(self) -> &'static str { match self { $($(Code::$variant => $meaning,)*)* } }

            /// What to do about it; empty where there is nothing to do.
            pub const fn hint(self) -> &'static str { match self { $($(Code::$variant => $hint,)*)* } }

            /// What it is about.
            pub const fn topic(self) -> Topic { match self { $($(Code::$variant => Topic::$topic,)*)* } }
        }
    };
}

codes! {
    Done {
        Inlined "inlined" "the callee is built in place" "";
        ChecksRemoved "checks-removed" "a check is not made: values show that it holds, or it was made before" "";
        ChecksHoisted "checks-hoisted" "a check is made before the loop instead of in each turn" "";
        AllocationRemoved "allocation-removed" "the object is not made: its fields are values" "";
        AllocationSunk "allocation-sunk" "objects are made only on the ways that need them" "";
        TurnsSkipped "turns-skipped" "what many turns of the loop would compute is computed at once before it" "";
        QuickRoutine "quick-routine" "the runtime does the instruction quickly, with values in registers" "";
        RoutineRemoved "routine-removed" "an instruction that would call the runtime is not needed" "";
    }
    Tier {
        InterpreterOnly "interpreter-only" "the run was asked to stay in the interpreter" "run it without `--tier interp`";
        NoMachineCode "no-machine-code" "there is no machine code on this machine" "`--verbose` says what is missing";
        NoExecutableMemory "no-executable-memory" "the system gives no executable memory" "`--verbose` says why; security modules and containers may forbid it";
        Cold "cold" "it was not called or turned often enough for machine code to pay" "nothing to do: it costs little";
        TooEarly "too-early" "compiling would have cost more than the run had earned so far" "nothing to do: the run is short; a longer one compiles it";
        NoRoom "no-room" "the code memory is full" "give more with `--code-cache`";
        Evicted "evicted" "its machine code was given up to make room" "give more with `--code-cache`";
        TooLargeForMachineCode "too-large-for-machine-code" "it is beyond what machine code can address" "split the function";
        BaselineOnly "baseline-only" "the run was asked to stay in the baseline tier" "run it without `--tier baseline`";
        Warm "warm" "it did not run long enough for the optimizing compiler" "nothing to do: a longer run compiles it";
        Pending "pending" "the run ended before the optimizing compiler was done" "nothing to do: a longer run gets the code; `--sync` waits for it";
        TooLarge "too-large" "it has more instructions than the optimizing compiler takes" "nothing to do for a function whose hot loops are optimized alone; what is hot and too large has to be split";
        IrregularLoop "irregular-loop" "a loop is entered past its header" "enter the loop at one place";
        GivenUp "given-up" "its assumptions failed so often that it is not optimized again" "let each place see values of one type, and call one function";
        Retired "retired" "its optimized code was given up because assumptions failed, and the run ended before there was new code" "let each place see values of one type, and call one function";
        CompilerFailed "compiler-failed" "the code generator refused it" "this is a bug of upshift: please report it with the program";
        NoCompiler "no-compiler" "there is no optimizing compiler" "the system gives no more threads, or the code generator does not know the machine";
        LoopsAlone "loops-alone" "the function is in a lower tier, but its loops are optimized" "nothing to do: it was called too seldom for code of its own";
        OnlyInlined "only-inlined" "it has no machine code of its own: it runs inside its callers" "nothing to do";
    }
    Cost {
        ChecksKept "checks-kept" "a check is made here" "positions and sums that follow from the loop's counter and from lengths need none";
        CheckHeld "check-held" "a check of optimized code held, as often as is said: `--guards`" "";
        AllocationKept "allocation-kept" "an object is made here" "it is needed as an object: it is stored in another, returned, or passed to a call that is not inlined";
        Routine "routine" "the runtime does the instruction" "what it works on is dynamic, or the operation has no machine code of its own";
        HostCall "host-call" "a function of the library or the host is called" "call it less often, or outside of the loop";
        CalleeTooLarge "callee-too-large" "a call is not inlined: the callee is too large" "split what is called often from what is not";
        InlineBudget "inline-budget" "a call is not inlined: so much was inlined already" "move rare calls to functions of their own";
        InlineDepth "inline-depth" "a call is not inlined: it is inside too many others" "";
        Recursive "recursive" "a call is not inlined: the callee is inlined into itself as often as pays" "a loop is faster than recursion where it can be written";
        CalleeIrregular "callee-irregular" "a call is not inlined: a loop of the callee is entered past its header" "enter the loop at one place";
        CalleeUnknown "callee-unknown" "a call is not inlined: which function it calls is not known" "pass functions to where they are called, so that one is seen there";
        SeveralCallees "several-callees" "a call is not inlined: several functions were called here" "call one function at each place";
        OtherCallees "other-callees" "of the several functions that were called here those called most are inlined; others are called" "";
        CalleeForeign "callee-foreign" "a call is not inlined: it calls the host, or the arguments have to be converted" "declare the types of the callee's parameters";
    }
    Exit {
        ExitBounds "exit-bounds" "a position was outside of its list, string or tuple" "an error of the program";
        ExitOverflow "exit-overflow" "an int result did not fit 64 bits" "an error of the program";
        ExitDivision "exit-division" "a divisor was zero, or a quotient did not fit" "an error of the program";
        ExitMismatch "exit-mismatch" "a value was not of the type that the operation needs" "an error of the program";
        ExitUninitialized "exit-uninitialized" "a global was read before it was set" "an error of the program";
        ExitAlways "exit-always" "an instruction was reached that always fails" "an error of the program";
        ExitStack "exit-stack" "the guest stack was full" "recursion is too deep";
        ExitNative "exit-native" "the native stack was nearly full: the run went on from its frames" "nothing to do: deep recursion costs this now and then";
        ExitKind "exit-kind" "a value was of another type than those seen before" "let the place see values of one type";
        ExitWide "exit-wide" "a dynamic int left the 48 bits that fit a cell" "declare the variable `int`, so that it has 64 bits";
        ExitCallee "exit-callee" "another function was called than the one seen before" "call one function at each place";
        ExitShape "exit-shape" "a record was of another type than the one seen before" "let the place see records of one type";
        ExitUnseen "exit-unseen" "a way was taken that was never taken before" "nothing to do: the next code has the way";
        ExitRegion "exit-region" "a loop that was compiled alone ended" "nothing to do: the rest of the function ran in a lower tier";
        ExitResults "exit-results" "a number of results differed from what was seen before" "let the place see one number of results";
        ExitDivisor "exit-divisor" "a divisor was another one than when the loop was compiled; it is not assumed again" "nothing to do: this happens once";
        ExitNegative "exit-negative" "a position was below zero, so it counts from the end" "count positions from the start where it matters";
        ExitWatch "exit-watch" "something was redefined that the code was made for as it was before" "define what is called often before it is";
    }
}

impl Code {
    /// The code with this text.
    pub fn from_text(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.text() == text)
    }

    /// For an exit of machine code.
    pub(crate) fn of_exit(reason: Reason) -> Code {
        match reason {
            Reason::Bounds => Code::ExitBounds,
            Reason::Overflow => Code::ExitOverflow,
            Reason::Division => Code::ExitDivision,
            Reason::Mismatch => Code::ExitMismatch,
            Reason::Uninitialized => Code::ExitUninitialized,
            Reason::Always => Code::ExitAlways,
            Reason::Stack => Code::ExitStack,
            Reason::Native => Code::ExitNative,
            Reason::Kind => Code::ExitKind,
            Reason::Wide => Code::ExitWide,
            Reason::Callee => Code::ExitCallee,
            Reason::Shape => Code::ExitShape,
            Reason::Unseen => Code::ExitUnseen,
            Reason::Region => Code::ExitRegion,
            Reason::Results => Code::ExitResults,
            Reason::Negative => Code::ExitNegative,
            Reason::Divisor => Code::ExitDivisor,
            Reason::Watch => Code::ExitWatch,
        }
    }

    /// For what was made of a call.
    pub(crate) fn of_call(inlining: Inlining) -> Code {
        match inlining {
            Inlining::Done => Code::Inlined,
            Inlining::TooLarge => Code::CalleeTooLarge,
            Inlining::Budget => Code::InlineBudget,
            Inlining::Depth => Code::InlineDepth,
            Inlining::Recursive => Code::Recursive,
            Inlining::Irregular => Code::CalleeIrregular,
            Inlining::Unknown => Code::CalleeUnknown,
            Inlining::Several => Code::SeveralCallees,
            Inlining::Rest => Code::OtherCallees,
            Inlining::Foreign => Code::CalleeForeign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_plain_and_differ() {
        for (i, code) in Code::ALL.iter().enumerate() {
            let text = code.text();
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{text}");
            assert_eq!(Code::from_text(text), Some(*code));
            assert!(!code.meaning().is_empty());
            assert!(Code::ALL[..i].iter().all(|other| other.text() != text));
            assert_eq!(code.topic() == Topic::Exit, text.starts_with("exit-"), "{text}");
        }
    }
}
