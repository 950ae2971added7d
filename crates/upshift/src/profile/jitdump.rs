//! Jitdump: compiled code with its bytes and source lines, as a file that `perf inject --jit` turns into ELF files.
//!
//! A perf map gives `perf report` names; this gives `perf annotate` instructions and lines as well, and tells code apart that
//! came to the same address at another time. The format is Linux's
//! (`tools/perf/Documentation/jitdump-specification.txt`): a header, then records. For a function there are two, its lines
//! (`JIT_CODE_DEBUG_INFO`, which has to come first) and its code with name and address (`JIT_CODE_LOAD`). The last record is
//! `JIT_CODE_CLOSE`.
//!
//! How it is used:
//!
//! ```text
//! perf record -k mono upshift run --perf jitdump program.mochi
//! perf inject --jit -i perf.data -o jitted.data
//! perf annotate -i jitted.data
//! ```
//!
//! Times are those of the monotonic clock, hence `-k mono`. `perf` finds the file by a mapping: the process maps its first page
//! executable, for no other purpose, so that the recording has an event with the file's name, which must be
//! `jit-<pid>.dump`. Where the file's folder forbids that (`noexec`), no file is written and the problem is told.
//!
//! As with perf maps there is one file per process, in `/tmp`, opened at the first function. It is closed when the last profiler
//! that writes to it is done; what is registered later still follows, and readers skip the record in between.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::CodeInfo;
use super::perf_map;

const MAGIC: u32 = 0x4A69_5444;
const VERSION: u32 = 1;
const HEADER: u32 = 40;
/// A record's kind, size and time.
const PREFIX: u32 = 16;

/// The kinds of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Load = 0,
    DebugInfo = 2,
    Close = 3,
}

/// ELF's number of this processor.
const MACHINE: u32 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

/// The file of this process, from the first function on.
static DUMP: Mutex<State> = Mutex::new(State { users: 0, dump: None });

struct State {
    /// Profilers that write to the file.
    users: u32,
    dump: Option<Dump>,
}

/// A profiler that writes to the file. With the last one the file is closed.
#[derive(Debug)]
pub(super) struct User(());

impl User {
    pub(super) fn new() -> User {
        DUMP.lock().unwrap_or_else(PoisonError::into_inner).users += 1;
        User(())
    }

    /// Adds a function.
    pub(super) fn append(&self, code: &CodeInfo<'_>) -> Result<(), String> {
        let mut state = DUMP.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        // After a fork the child has a number, and so a file, of its own.
        if state.dump.as_ref().is_none_or(|dump| dump.process != process) {
            state.dump = Some(Dump::create(process, Path::new("/tmp")));
        }
        state.dump.as_mut().expect("it was just made").append(code)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut state = DUMP.lock().unwrap_or_else(PoisonError::into_inner);
        state.users -= 1;
        if state.users == 0
            && let Some(dump) = &mut state.dump
            && dump.process == std::process::id()
        {
            // An error was told before, or comes at the very end, where nothing is lost by it.
            let _ = dump.record(Kind::Close, &[]);
        }
    }
}

struct Dump {
    process: u32,
    path: PathBuf,
    /// How many functions there are, which numbers them.
    functions: u64,
    /// The error is the first one.
    file: Result<File, String>,
}

impl Dump {
    fn create(process: u32, folder: &Path) -> Dump {
        let path = folder.join(format!("jit-{process}.dump"));
        let file = open(&path, process).map_err(|error| describe(&path, &error));
        Dump { process, path, functions: 0, file }
    }

    fn append(&mut self, code: &CodeInfo<'_>) -> Result<(), String> {
        if let Some(lines) = lines(code) {
            self.record(Kind::DebugInfo, &lines)?;
        }
        let number = self.functions;
        self.functions += 1;
        self.record(Kind::Load, &load(code, self.process, thread(), number))
    }

    /// A record goes out with one write, so that the file is whole wherever the process ends.
    fn record(&mut self, kind: Kind, body: &[u8]) -> Result<(), String> {
        let file = self.file.as_mut().map_err(|problem| problem.clone())?;
        let mut record = Vec::with_capacity(PREFIX as usize + body.len());
        record.extend((kind as u32).to_ne_bytes());
        record.extend((PREFIX + body.len() as u32).to_ne_bytes());
        record.extend(now().to_ne_bytes());
        record.extend(body);
        if let Err(error) = file.write_all(&record) {
            let problem = describe(&self.path, &error);
            self.file = Err(problem.clone());
            return Err(problem);
        }
        Ok(())
    }
}

fn describe(path: &Path, error: &io::Error) -> String {
    format!("no jitdump is written to {}: {error}", path.display())
}

/// The body of a record of code: process, thread, address twice (where it is, and where it was made), size, number, name,
/// bytes.
fn load(code: &CodeInfo<'_>, process: u32, thread: u32, number: u64) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(process.to_ne_bytes());
    body.extend(thread.to_ne_bytes());
    for word in [code.address as u64, code.address as u64, code.text.len() as u64, number] {
        body.extend(word.to_ne_bytes());
    }
    body.extend(code.symbol().as_bytes());
    body.push(0);
    body.extend(code.text);
    body
}

/// The body of a record of lines: address, number of entries, and for each an address, the line, a discriminator and the file's
/// name. `None` where there are none.
fn lines(code: &CodeInfo<'_>) -> Option<Vec<u8>> {
    let source = code.source?;
    // Whoever reads the file later may be in another folder.
    let path = std::path::absolute(source).unwrap_or_else(|_| PathBuf::from(source));
    let name = super::printable(&path.to_string_lossy());
    let mut pairs: Vec<(u32, u32)> =
        code.lines.iter().copied().filter(|&(at, line)| line != 0 && (at as usize) < code.size).collect();
    // What comes before the first line is of it.
    pairs.first_mut()?.0 = 0;
    let mut body = Vec::new();
    body.extend((code.address as u64).to_ne_bytes());
    body.extend((pairs.len() as u64).to_ne_bytes());
    for (at, line) in pairs {
        body.extend((code.address as u64 + u64::from(at)).to_ne_bytes());
        body.extend(line.to_ne_bytes());
        body.extend(0_u32.to_ne_bytes());
        body.extend(name.as_bytes());
        body.push(0);
    }
    Some(body)
}

/// The file with its header, mapped for `perf` to see.
fn open(path: &Path, process: u32) -> io::Result<File> {
    let mut file = perf_map::create(path)?;
    let mut header = Vec::with_capacity(HEADER as usize);
    for word in [MAGIC, VERSION, HEADER, MACHINE, 0, process] {
        header.extend(word.to_ne_bytes());
    }
    // When it began, and flags: none.
    header.extend(now().to_ne_bytes());
    header.extend(0_u64.to_ne_bytes());
    file.write_all(&header)?;
    show(&file)?;
    Ok(file)
}

/// Maps the file's first page executable, for as long as the process lives. Nobody reads or runs it.
#[cfg(target_os = "linux")]
fn show(file: &File) -> io::Result<()> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let size = rustix::param::page_size();
    // SAFETY: new memory at an address of the system's choice, which nothing refers to.
    unsafe {
        mmap(std::ptr::null_mut(), size, ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE, file, 0)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn show(_file: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nanoseconds of the monotonic clock, which `perf record -k mono` uses too.
#[cfg(target_os = "linux")]
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
fn now() -> u64 {
    0
}

#[cfg(target_os = "linux")]
fn thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

#[cfg(not(target_os = "linux"))]
fn thread() -> u32 {
    0
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;
    use std::fs;

    /// Reads a dump back: a cursor over its bytes.
    struct Reader<'a>(&'a [u8]);

    impl<'a> Reader<'a> {
        fn take(&mut self, len: usize) -> &'a [u8] {
            let (head, tail) = self.0.split_at(len);
            self.0 = tail;
            head
        }
        fn u32(&mut self) -> u32 {
            u32::from_ne_bytes(self.take(4).try_into().unwrap())
        }
        fn u64(&mut self) -> u64 {
            u64::from_ne_bytes(self.take(8).try_into().unwrap())
        }
        fn text(&mut self) -> &'a str {
            let len = self.0.iter().position(|&b| b == 0).unwrap();
            let text = std::str::from_utf8(self.take(len)).unwrap();
            self.take(1);
            text
        }
    }

    fn folder(test: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("upshift-jitdump-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_was_written_can_be_read() {
        let folder = folder("read");
        let code = CodeInfo {
            name: "sum of\nsquares",
            tier: "optimized",
            address: 0x7f00_1234_abc0,
            size: 6,
            text: &[1, 2, 3, 4, 5, 6],
            source: Some("/guest/f.guest"),
            lines: &[(2, 7), (4, 0), (5, 9), (6, 10)],
            frame: None,
        };
        let mut dump = Dump::create(77, &folder);
        dump.append(&code).unwrap();
        dump.append(&CodeInfo { name: "g", source: None, lines: &[], size: 1, text: &[0xC3], ..code })
            .unwrap();
        dump.record(Kind::Close, &[]).unwrap();

        let bytes = fs::read(folder.join("jit-77.dump")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let mut r = Reader(&bytes);
        let header: Vec<u32> = (0..6).map(|_| r.u32()).collect();
        assert_eq!(header, [0x4A69_5444, 1, 40, MACHINE, 0, 77]);
        let (began, flags) = (r.u64(), r.u64());
        assert_eq!(flags, 0);
        let mut last = began;
        let mut records = Vec::new();
        while !r.0.is_empty() {
            let (kind, size, time) = (r.u32(), r.u32(), r.u64());
            assert!(time >= last, "time goes on");
            last = time;
            records.push((kind, Reader(r.take(size as usize - 16))));
        }
        let kinds: Vec<u32> = records.iter().map(|r| r.0).collect();
        assert_eq!(kinds, [2, 0, 0, 3]);

        let r = &mut records[0].1;
        assert_eq!((r.u64(), r.u64()), (0x7f00_1234_abc0, 2));
        let entries: Vec<_> = (0..2).map(|_| (r.u64(), r.u32(), r.u32(), r.text())).collect();
        // Lines that are none, and those past the code, are left out; the first one begins with the code.
        assert_eq!(
            entries,
            [(0x7f00_1234_abc0, 7, 0, "/guest/f.guest"), (0x7f00_1234_abc5, 9, 0, "/guest/f.guest")]
        );
        assert!(r.0.is_empty());

        for (record, name, number, text) in [
            (1, "upshift::sum of?squares [optimized]", 0, &[1, 2, 3, 4, 5, 6][..]),
            (2, "upshift::g [optimized]", 1, &[0xC3]),
        ] {
            let r = &mut records[record].1;
            assert_eq!((r.u32(), r.u32()), (77, thread()));
            assert_eq!((r.u64(), r.u64()), (0x7f00_1234_abc0, 0x7f00_1234_abc0));
            assert_eq!((r.u64(), r.u64()), (text.len() as u64, number));
            assert_eq!(r.text(), name);
            assert_eq!(r.0, text);
        }
        assert!(records[3].1.0.is_empty());
    }

    #[test]
    fn the_file_is_mapped_for_perf_to_see() {
        let folder = folder("mapped");
        let dump = Dump::create(78, &folder);
        dump.file.unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let path = folder.join("jit-78.dump");
        let line = maps.lines().find(|l| l.ends_with(path.to_str().unwrap()));
        fs::remove_dir_all(&folder).unwrap();
        assert!(line.is_some_and(|l| l.contains("r-xp")), "{maps}");
    }

    #[test]
    fn an_error_is_remembered() {
        let folder = folder("errors");
        let code = CodeInfo {
            name: "f",
            tier: "baseline",
            address: 64,
            size: 1,
            text: &[0],
            source: None,
            lines: &[],
            frame: None,
        };
        let mut dump = Dump::create(79, &folder.join("absent"));
        let problem = dump.append(&code).unwrap_err();
        assert!(problem.starts_with("no jitdump is written to "), "{problem}");
        assert_eq!(dump.append(&code).unwrap_err(), problem);
        fs::remove_dir_all(&folder).unwrap();
    }
}
