//! How profilers and debuggers see compiled functions.
//!
//! Machine code that no file on disk holds is a hole for both: a profile shows bare addresses, a backtrace `??`. A tier
//! that has compiled a function tells the [`Profiler`] where the code is and what it was made from, and keeps the
//! [`Registration`] as long as the code exists. From there it goes to
//!
//! * `perf_map`: a line of `/tmp/perf-<pid>.map`, which `perf`, samply and others read when they resolve addresses;
//! * `jitdump`: a file with the code itself and its lines, which `perf inject --jit` reads;
//! * `image` and `gdb`: a small ELF file in memory, with a symbol, a subprogram, a line table and how to find the caller, in
//!   the list that GDB and LLDB read while the process runs.
//!
//! Profilers and debuggers also care what memory the code is in, which is chosen by
//! [`Purpose`](crate::code_memory::Purpose).
//!
//! Which of them is the embedder's choice. A profiler without formats costs nothing, and nothing here changes what a
//! program does: what cannot be written is left out, and [`Profiler::problem`] says why.
//!
//! All formats belong to the process, not to an engine: the files have the process id in their names, and the debugger looks
//! for one list under one symbol. Profilers of several engines therefore write to the same file and list, behind locks,
//! and may come and go in any order.
//!
//! What is absent on purpose: unwind tables for the process itself, since nothing unwinds through machine code; `perf
//! record -g` sees past a compiled frame only where the tier keeps a frame pointer.
//!
//! [`sampler`] is another way to see where time goes, which needs no tool and sees functions of all tiers.

mod gdb;
mod image;
mod jitdump;
mod perf_map;
pub mod sampler;

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A compiled function: where its code is and what it came from.
#[derive(Clone, Copy, Debug)]
pub struct CodeInfo<'a> {
    /// The function's name as the guest knows it.
    pub name: &'a str,
    /// The tier that compiled it, by the name users see.
    pub tier: &'a str,
    /// Address of the first byte of code.
    pub address: usize,
    /// Size of the code in bytes.
    pub size: usize,
    /// The code itself, as it is in memory; what is beyond it up to the size is padding.
    pub text: &'a [u8],
    /// Path of the source file, where there is one. A relative path counts from the working directory.
    pub source: Option<&'a str>,
    /// Pairs of an offset from `address` and the source line that holds from there on; line 0 means "of no line". The
    /// code before the first pair is taken to be of the first pair's line. Offsets past the code are ignored.
    pub lines: &'a [(u32, u32)],
    /// Where the caller's frame is. Without it, a debugger takes its own reading of the first instructions.
    pub frame: Option<Frame<'a>>,
}

/// Where the caller's frame is during the calls that a function makes. One rule holds for all of its code, so between calls,
/// where it may be setting its frame up or giving it up, the rule may be wrong. The return address is taken to be on the
/// stack, right below the caller's part.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The register that the rest counts from, by the number that DWARF has for it on this processor.
    pub register: u16,
    /// The distance from there up to where the caller's stack pointer is after the call.
    pub size: u32,
    /// The caller's registers that are on the stack, by DWARF's numbers, and how far below the caller's stack pointer each
    /// is, in multiples of 8.
    pub saved: &'a [(u16, u32)],
}

impl CodeInfo<'_> {
    /// What the function is called in symbol tables. The tier is part of it: a function compiled twice is two entries of
    /// a profile, which is what tells how long it stayed on the slower one.
    fn symbol(&self) -> String {
        format!("upshift::{} [{}]", printable(self.name), printable(self.tier))
    }
}

/// A way to make compiled functions known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A line per function in `/tmp/perf-<pid>.map`, for `perf` and other sampling profilers. The format cannot take back
    /// a line: where code is freed and its addresses are used again, the file has a line for each.
    PerfMap,
    /// Code and lines of each function in `/tmp/jit-<pid>.dump`, on Linux, for `perf inject --jit` after `perf record -k mono`. Then
    /// `perf report` and `perf annotate` show instructions and source lines. The file stays.
    Jitdump,
    /// An entry per function in the list of GDB's JIT interface, for debuggers, on x86-64 and aarch64. The debugger finds
    /// the list by the names `__jit_debug_descriptor` and `__jit_debug_register_code`, so the executable must have its
    /// symbol table (`strip = "none"` or `"debuginfo"`).
    ///
    /// An engine with this format has its machine code in pages that are **writable and executable**, so that breakpoints
    /// can be set; see [`Purpose::Debugging`](crate::code_memory::Purpose::Debugging). It is for developers only.
    Gdb,
}

/// Makes compiled functions known to profilers and debuggers.
///
/// ```
/// use upshift::profile::{CodeInfo, Format, Profiler};
///
/// // Stands for machine code, which is never called here.
/// let code = [0_u8; 16];
/// let profiler = Profiler::new(&[Format::Gdb]);
/// let registration = profiler.register(&CodeInfo {
///     name: "fib",
///     tier: "baseline",
///     address: code.as_ptr() as usize,
///     size: code.len(),
///     text: &code,
///     source: Some("/guest/fib.guest"),
///     lines: &[(0, 1), (4, 2)],
///     frame: None,
/// });
/// // The code is called, and given up in the end, but not before this:
/// drop(registration);
/// ```
#[derive(Debug, Default)]
pub struct Profiler {
    perf_map: bool,
    jitdump: Mutex<Option<jitdump::User>>,
    gdb: bool,
    problem: Mutex<Option<String>>,
}

impl Profiler {
    /// A profiler that writes all of `formats`; none is a profiler that does nothing. Files are opened when the first
    /// function is registered.
    pub fn new(formats: &[Format]) -> Profiler {
        Profiler {
            perf_map: formats.contains(&Format::PerfMap),
            jitdump: Mutex::new(formats.contains(&Format::Jitdump).then(jitdump::User::new)),
            gdb: formats.contains(&Format::Gdb),
            problem: Mutex::new(None),
        }
    }

    /// Whether there is a format to write, that is, whether the lines of a [`CodeInfo`] are worth collecting.
    pub fn is_active(&self) -> bool {
        self.perf_map || self.gdb || self.jitdump().is_some()
    }

    /// Whether the memory of freed code should stay unused for the rest of the process. A debugger may believe its
    /// breakpoints to be there still, and would write into what comes to these addresses next. The memory for
    /// [`Purpose::Debugging`](crate::code_memory::Purpose::Debugging) sees to it.
    pub fn keeps_code(&self) -> bool {
        self.gdb
    }

    /// Makes a function known. The code must be complete when this is called, since a debugger may put breakpoints into it
    /// before this returns (who writes over one later has the old byte put back there at the next stop), and the
    /// registration must be dropped before the code is freed.
    pub fn register(&self, code: &CodeInfo<'_>) -> Registration {
        if code.size == 0 {
            return Registration { entry: None };
        }
        if self.perf_map
            && let Err(problem) = perf_map::append(code)
        {
            self.remember(problem);
        }
        if let Some(jitdump) = &*self.jitdump()
            && let Err(problem) = jitdump.append(code)
        {
            self.remember(problem);
        }
        let mut entry = None;
        if self.gdb {
            match image::build(code) {
                Ok(image) => entry = Some(gdb::Entry::new(image)),
                Err(problem) => self.remember(problem),
            }
        }
        Registration { entry }
    }

    /// Nothing more will be registered: ends files that have an end. Dropping the profiler does the same.
    pub fn finish(&self) {
        self.jitdump().take();
    }

    fn jitdump(&self) -> std::sync::MutexGuard<'_, Option<jitdump::User>> {
        self.jitdump.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first thing that went wrong, if any, in words for the user. It never stops a run and is never repeated.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, problem: String) {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
    }
}

/// A function that profilers and debuggers know of. Dropping it takes the entry out of the debugger's list; the line of a
/// perf map stays, as profiles are read after the run.
#[must_use = "dropping the registration makes the debugger forget the function"]
pub struct Registration {
    entry: Option<gdb::Entry>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("in_debugger", &self.entry.is_some()).finish()
    }
}

/// `text` without what would end a line of a perf map or a string of an ELF file early, or upset a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> CodeInfo<'static> {
        CodeInfo {
            name: "f",
            tier: "baseline",
            address: 0x5000,
            size: 16,
            text: &[0; 16],
            source: None,
            lines: &[],
            frame: None,
        }
    }

    #[test]
    fn profilers_and_registrations_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Profiler>();
        shared::<Registration>();
    }

    #[test]
    fn symbols_have_no_control_characters() {
        let code = CodeInfo { name: "a\nb\0 \u{85}ü", tier: "opt\timized", ..code() };
        assert_eq!(code.symbol(), "upshift::a?b? ?ü [opt?imized]");
    }

    #[test]
    fn without_formats_nothing_is_registered() {
        let profiler = Profiler::new(&[]);
        assert!(!profiler.is_active() && !profiler.keeps_code());
        assert!(profiler.register(&code()).entry.is_none());
        assert_eq!(profiler.problem(), None);
    }

    #[test]
    fn code_without_bytes_is_left_out() {
        let profiler = Profiler::new(&[Format::Gdb]);
        assert!(profiler.register(&CodeInfo { size: 0, ..code() }).entry.is_none());
    }

    #[test]
    fn the_first_problem_is_kept() {
        let profiler = Profiler::new(&[Format::PerfMap]);
        profiler.remember("first".into());
        profiler.remember("second".into());
        assert_eq!(profiler.problem().as_deref(), Some("first"));
    }
}
