//! Compiled functions under a real debugger.
//!
//! The test runs this same executable under GDB, with the one test that maps machine code and registers it, and reads what
//! GDB prints. Where there is no GDB, or it may not trace processes, the test says so and passes.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use std::ffi::c_void;
use std::process::Command;
use std::{mem, ptr};
use upshift::profile::{CodeInfo, Format, Profiler};

/// `fn guest_answer() { 42 }` with a frame pointer, and the offsets at which lines begin.
#[cfg(target_arch = "x86_64")]
const CODE: (&[u8], &[(u32, u32)]) = (
    &[
        0x55, // push rbp
        0x48, 0x89, 0xe5, // mov rbp, rsp
        0x90, // nop
        0xb8, 42, 0, 0, 0,    // mov eax, 42
        0x5d, // pop rbp
        0xc3, // ret
    ],
    &[(0, 10), (4, 11), (5, 12), (10, 13)],
);
#[cfg(target_arch = "aarch64")]
const CODE: (&[u8], &[(u32, u32)]) = (
    &[
        0xfd, 0x7b, 0xbf, 0xa9, // stp x29, x30, [sp, #-16]!
        0xfd, 0x03, 0x00, 0x91, // mov x29, sp
        0x1f, 0x20, 0x03, 0xd5, // nop
        0x40, 0x05, 0x80, 0x52, // mov w0, #42
        0xfd, 0x7b, 0xc1, 0xa8, // ldp x29, x30, [sp], #16
        0xc0, 0x03, 0x5f, 0xd6, // ret
    ],
    &[(0, 10), (8, 11), (12, 12), (16, 13)],
);

/// At least a page, whatever the size of pages.
const PAGE: usize = 64 << 10;

/// What runs under the debugger: the function as two tiers compile it, called, and out of the debugger's list.
#[test]
fn compiled_functions_are_called_and_forgotten() {
    let profiler = Profiler::new(&[Format::Gdb]);
    let (bytes, lines) = CODE;
    let compiled = ["baseline", "optimized"].map(|tier| {
        // SAFETY: new memory at an address of the system's choice, large enough for the code, not yet executable.
        let page = unsafe {
            let writable = ProtFlags::READ | ProtFlags::WRITE;
            let page = mmap_anonymous(ptr::null_mut(), PAGE, writable, MapFlags::PRIVATE).unwrap();
            ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast(), bytes.len());
            mprotect(page, PAGE, MprotectFlags::READ | MprotectFlags::EXEC).unwrap();
            page
        };
        let registration = profiler.register(&CodeInfo {
            name: "guest_answer",
            tier,
            address: page as usize,
            size: bytes.len(),
            text: bytes,
            source: Some("/guest/answer.guest"),
            lines,
            // The frame pointer, the return address and nothing else.
            frame: None,
        });
        (page, registration)
    });
    assert_eq!(profiler.problem(), None);
    for (page, _) in &compiled {
        // SAFETY: the memory holds a function of this type for this processor. It was never executed before, so there is
        // nothing stale in an instruction cache.
        let answer = unsafe { mem::transmute::<*mut c_void, extern "C" fn() -> i32>(*page) };
        assert_eq!(answer(), 42);
    }
    for (_, registration) in compiled {
        drop(registration);
    }
    // The pages stay, since GDB will want to take its breakpoints out of them.
    guest_functions_are_gone();
}

/// A place for a breakpoint.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guest_functions_are_gone() {
    std::hint::black_box(());
}

#[test]
fn gdb_shows_functions_and_lines() {
    let mut gdb = Command::new("gdb");
    // No initialization files, no downloads, and nothing that containers do not permit.
    gdb.args(["-nx", "-batch"]).env_remove("DEBUGINFOD_URLS");
    for command in [
        "set startup-with-shell off",
        "set disable-randomization off",
        "set width 0",
        "set print thread-events off",
        "set breakpoint pending on",
        "break guest_answer",
        "break guest_functions_are_gone",
        "run",
        "backtrace 2",
        "info symbol $pc",
        "info line *$pc",
        "set $code = (unsigned long) $pc",
        "continue",
        "backtrace 2",
        "info symbol $pc",
        "continue",
        "info symbol $code",
        "continue",
    ] {
        gdb.args(["-ex", command]);
    }
    gdb.arg("--args").arg(std::env::current_exe().unwrap());
    gdb.args(["--exact", "compiled_functions_are_called_and_forgotten", "--test-threads=1"]);
    let output = match gdb.output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: gdb cannot be started: {error}"),
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    println!("{text}");
    if !["hit Breakpoint", "received signal", "[Inferior 1"].iter().any(|sign| text.contains(sign)) {
        return println!("skipped: gdb cannot start a process here");
    }

    let mut rest = &*text;
    for expected in [
        "hit Breakpoint 1",
        "#0  guest_answer () at /guest/answer.guest:11\n",
        // What called the function is there, so the frame pointer was found.
        "compiled_functions_are_called_and_forgotten () at ",
        "upshift::guest_answer [baseline] + ",
        "Line 11 of \"/guest/answer.guest\" starts at address ",
        "<guest_answer+",
        "hit Breakpoint 1",
        "#0  guest_answer () at /guest/answer.guest:11\n",
        "upshift::guest_answer [optimized] + ",
        "hit Breakpoint 2",
        "No symbol matches $code",
        "exited normally",
    ] {
        let Some(at) = rest.find(expected) else { panic!("GDB does not print {expected:?} where it should") };
        rest = &rest[at + expected.len()..];
    }
}
