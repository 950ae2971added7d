//! Perf maps: names for code that is in no file, as a text file of one line per function.
//!
//! `perf report` looks for `/tmp/perf-<pid>.map` when an address is in memory of no file. A line is
//! `<start> <size> <symbol>`, numbers in hexadecimal without a prefix, the symbol reaching to the end of the line.
//!
//! "In memory of no file" is decided by the name of the mapping. Anonymous memory passes, private or shared; a `memfd` has
//! a name, and `perf` 6.1 does not look further. So while maps are written, code is in a shared anonymous mapping of which
//! `mremap` made the second view: [`Purpose::Profiling`](crate::code_memory::Purpose::Profiling).
//!
//! There is one file per process, opened when the first function is written. A file that is there already is from an
//! earlier process of the same number, as happens each time a container starts, and would give its names to this process's
//! addresses: it is emptied. Code that another JIT of this process wrote there before is lost with it.
//!
//! A line goes out with one write, behind no buffer: it would have to be flushed at exit, but a static is never dropped,
//! and a profiled process often ends by a signal. The write is small beside a compilation. The file is in append mode, so
//! a line stays whole whoever else writes.
//!
//! After an error the file is left alone for good: half a map is still useful, and an error per function is not.

use super::CodeInfo;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The map of this process, from the first line on.
static MAP: Mutex<Option<PerfMap>> = Mutex::new(None);

/// Adds a line for `code` to this process's map.
pub(super) fn append(code: &CodeInfo<'_>) -> Result<(), String> {
    let mut map = MAP.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    // After a fork the child has a number, and so a file, of its own.
    if map.as_ref().is_none_or(|map| map.process != process) {
        *map = Some(PerfMap::create(process, PathBuf::from(format!("/tmp/perf-{process}.map"))));
    }
    map.as_mut().expect("it was just made").append(code)
}

struct PerfMap {
    process: u32,
    path: PathBuf,
    /// The error is the first one.
    file: Result<File, String>,
}

impl PerfMap {
    fn create(process: u32, path: PathBuf) -> PerfMap {
        let file = create(&path).map_err(|error| describe(&path, &error));
        PerfMap { process, path, file }
    }

    fn append(&mut self, code: &CodeInfo<'_>) -> Result<(), String> {
        let file = self.file.as_mut().map_err(|problem| problem.clone())?;
        if let Err(error) = file.write_all(line(code).as_bytes()) {
            let problem = describe(&self.path, &error);
            self.file = Err(problem.clone());
            return Err(problem);
        }
        Ok(())
    }
}

fn line(code: &CodeInfo<'_>) -> String {
    format!("{:x} {:x} {}\n", code.address, code.size, code.symbol())
}

fn describe(path: &Path, error: &io::Error) -> String {
    format!("no perf map is written to {}: {error}", path.display())
}

/// An empty file at `path`, which is in a folder that everybody can write to under a name that everybody can guess. So a
/// new file is preferred, and a present one is used only if it is what the name says, not a link to something dearer.
#[cfg(unix)]
pub(super) fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    match OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result,
    }
    // Looked at before it is opened, as opening a pipe would wait for a reader, and compared after, as it may have been
    // swapped in between.
    let named = path.symlink_metadata()?;
    if !named.is_file() || named.nlink() != 1 {
        return Err(io::Error::other("there is something else of that name"));
    }
    let file = OpenOptions::new().read(true).append(true).open(path)?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(io::Error::other("the file changes while it is opened"));
    }
    file.set_len(0)?;
    Ok(file)
}

#[cfg(not(unix))]
pub(super) fn create(_path: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;

    fn code(name: &str) -> CodeInfo<'_> {
        CodeInfo {
            name,
            tier: "optimized",
            address: 0x7f00_1234_abc0,
            size: 0x1f,
            text: &[0; 0x1f],
            source: Some("f.mochi"),
            lines: &[(0, 1)],
            frame: None,
        }
    }

    /// A folder of its own for a test, removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("upshift-perf-map-{}-{test}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("map")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_line_is_start_size_and_symbol() {
        assert_eq!(line(&code("sum of\nsquares")), "7f001234abc0 1f upshift::sum of?squares [optimized]\n");
    }

    #[test]
    fn each_function_is_in_the_file_at_once() {
        let folder = Folder::new("lines");
        let mut map = PerfMap::create(1, folder.file());
        map.append(&code("a")).unwrap();
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), line(&code("a")));
        map.append(&code("b")).unwrap();
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), line(&code("a")) + &line(&code("b")));
    }

    #[test]
    fn a_file_of_an_earlier_process_is_emptied() {
        let folder = Folder::new("stale");
        fs::write(folder.file(), "0 1 stale\n").unwrap();
        let mut map = PerfMap::create(1, folder.file());
        map.append(&code("a")).unwrap();
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), line(&code("a")));
    }

    #[test]
    fn links_are_not_followed() {
        let folder = Folder::new("links");
        let dear = folder.0.join("dear");
        fs::write(&dear, "contents").unwrap();

        std::os::unix::fs::symlink(&dear, folder.file()).unwrap();
        let problem = PerfMap::create(1, folder.file()).append(&code("a")).unwrap_err();
        assert!(problem.contains("something else of that name"), "{problem}");

        fs::remove_file(folder.file()).unwrap();
        fs::hard_link(&dear, folder.file()).unwrap();
        PerfMap::create(1, folder.file()).append(&code("a")).unwrap_err();
        assert_eq!(fs::read_to_string(dear).unwrap(), "contents");
    }

    #[test]
    fn an_error_is_remembered() {
        let folder = Folder::new("errors");
        let mut map = PerfMap::create(1, folder.0.join("absent").join("map"));
        let problem = map.append(&code("a")).unwrap_err();
        assert!(problem.starts_with("no perf map is written to "), "{problem}");
        fs::create_dir(folder.0.join("absent")).unwrap();
        assert_eq!(map.append(&code("b")).unwrap_err(), problem);
        assert!(!folder.0.join("absent").join("map").exists());
    }

    #[test]
    fn the_map_of_the_process_has_its_number() {
        append(&code("in the map of the process")).unwrap();
        let path = format!("/tmp/perf-{}.map", std::process::id());
        let text = fs::read_to_string(&path).unwrap();
        let _ = fs::remove_file(path);
        assert!(text.contains(&line(&code("in the map of the process"))), "{text}");
    }
}
