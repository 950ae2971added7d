//! Input and output: what the embedder grants, nothing else.
//!
//! Standard output is collected here and handed on in large pieces: at 64 KB, before standard input is read, and when the
//! embedder flushes (the engine does so at the end of every run, however it ends).

use std::fmt;
use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use upshift_bytecode::TrapCode;

use crate::trap::Trap;

/// The output buffer is handed on where it is so long.
pub const FLUSH_AT: usize = 64 << 10;

/// What an instance may do outside itself. Everything is denied until it is granted.
#[derive(Default)]
#[non_exhaustive]
pub struct Grants {
    /// Where standard output goes.
    pub stdout: Option<Box<dyn Write + Send>>,
    /// Where standard error goes.
    pub stderr: Option<Box<dyn Write + Send>>,
    /// Where standard input comes from.
    pub stdin: Option<Box<dyn BufRead + Send>>,
    /// Whether files may be read.
    pub read_files: bool,
    /// Whether files may be written.
    pub write_files: bool,
    /// Whether the clock may be read.
    pub clock: bool,
    /// Whether random numbers may be drawn.
    pub random: bool,
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("stdout", &self.stdout.is_some())
            .field("stderr", &self.stderr.is_some())
            .field("stdin", &self.stdin.is_some())
            .field("read_files", &self.read_files)
            .field("write_files", &self.write_files)
            .field("clock", &self.clock)
            .field("random", &self.random)
            .finish()
    }
}

impl Grants {
    /// Nothing.
    pub fn none() -> Grants {
        Grants::default()
    }

    /// Everything that the process has.
    pub fn all() -> Grants {
        Grants {
            stdout: Some(Box::new(std::io::stdout())),
            stderr: Some(Box::new(std::io::stderr())),
            stdin: Some(Box::new(std::io::BufReader::new(std::io::stdin()))),
            read_files: true,
            write_files: true,
            clock: true,
            random: true,
        }
    }

    /// Grants standard output.
    #[must_use]
    pub fn stdout(mut self, to: impl Write + Send + 'static) -> Grants {
        self.stdout = Some(Box::new(to));
        self
    }

    /// Grants standard error.
    #[must_use]
    pub fn stderr(mut self, to: impl Write + Send + 'static) -> Grants {
        self.stderr = Some(Box::new(to));
        self
    }

    /// Grants standard input.
    #[must_use]
    pub fn stdin(mut self, from: impl BufRead + Send + 'static) -> Grants {
        self.stdin = Some(Box::new(from));
        self
    }

    /// Grants the clock.
    #[must_use]
    pub fn clock(mut self) -> Grants {
        self.clock = true;
        self
    }

    /// Grants random numbers.
    #[must_use]
    pub fn random(mut self) -> Grants {
        self.random = true;
        self
    }

    /// Grants reading of files.
    #[must_use]
    pub fn read_files(mut self) -> Grants {
        self.read_files = true;
        self
    }
}

/// The granted input and output of an instance, with its output buffer.
pub struct Io {
    grants: Grants,
    out: Vec<u8>,
    start: Instant,
    random: u64,
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("grants", &self.grants)
            .field("buffered", &self.out.len())
            .finish_non_exhaustive()
    }
}

fn denied(what: &str) -> Trap {
    Trap::new(TrapCode::HostError, format!("{what} is not granted"))
}

fn failed(what: &str, error: &std::io::Error) -> Trap {
    Trap::new(TrapCode::HostError, format!("{what}: {error}"))
}

/// Standard output apart from its buffer.
pub struct Outlet<'a>(&'a mut (dyn Write + Send));

impl fmt::Debug for Outlet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlet")
    }
}

impl Outlet<'_> {
    /// Writes bytes, past the buffer.
    ///
    /// # Errors
    /// host-error where that fails.
    pub fn hand_on(&mut self, bytes: &[u8]) -> Result<(), Trap> {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).map_err(|e| failed("standard output", &e))
    }
}

impl Io {
    pub(crate) fn new(grants: Grants) -> Io {
        Io { grants, out: Vec::new(), start: Instant::now(), random: 0 }
    }

    /// Replaces the grants; buffered output is flushed first.
    pub fn set_grants(&mut self, grants: Grants) {
        let _ = self.flush();
        self.grants = grants;
    }

    /// Writes to standard output, through the buffer.
    ///
    /// # Errors
    /// host-error where it is not granted or fails.
    #[inline]
    pub fn write_stdout(&mut self, bytes: &[u8]) -> Result<(), Trap> {
        if self.grants.stdout.is_none() {
            return Err(denied("standard output"));
        }
        self.out.extend_from_slice(bytes);
        self.commit()
    }

    /// The output buffer, to append to, and where it is handed on to while a long text is still being made; [`Io::commit`] when done.
    ///
    /// # Errors
    /// host-error where standard output is not granted.
    #[inline]
    pub fn stdout_parts(&mut self) -> Result<(&mut Vec<u8>, Outlet<'_>), Trap> {
        let Some(to) = &mut self.grants.stdout else { return Err(denied("standard output")) };
        Ok((&mut self.out, Outlet(to)))
    }

    /// Hands the buffer on where it has grown large.
    ///
    /// # Errors
    /// host-error where writing fails.
    #[inline]
    pub fn commit(&mut self) -> Result<(), Trap> {
        if self.out.len() >= FLUSH_AT { self.flush() } else { Ok(()) }
    }

    /// Hands all buffered output on.
    ///
    /// # Errors
    /// host-error where writing fails; the output is dropped then.
    pub fn flush(&mut self) -> Result<(), Trap> {
        if self.out.is_empty() {
            return Ok(());
        }
        let (out, mut to) = self.stdout_parts()?;
        let result = to.hand_on(out);
        out.clear();
        result
    }

    /// Writes to standard error, at once.
    ///
    /// # Errors
    /// host-error where it is not granted or fails.
    pub fn write_stderr(&mut self, bytes: &[u8]) -> Result<(), Trap> {
        let to = self.grants.stderr.as_mut().ok_or_else(|| denied("standard error"))?;
        to.write_all(bytes).and_then(|()| to.flush()).map_err(|e| failed("standard error", &e))
    }

    /// The next line of standard input without its end; `None` at the end of input.
    ///
    /// # Errors
    /// host-error where it is not granted or fails.
    pub fn read_line(&mut self) -> Result<Option<Vec<u8>>, Trap> {
        if self.grants.stdout.is_some() {
            self.flush()?;
        }
        let from = self.grants.stdin.as_mut().ok_or_else(|| denied("standard input"))?;
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line).map_err(|e| failed("standard input", &e))? == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        Ok(Some(line))
    }

    /// The rest of standard input.
    ///
    /// # Errors
    /// host-error where it is not granted or fails.
    pub fn read_all(&mut self) -> Result<Vec<u8>, Trap> {
        let from = self.grants.stdin.as_mut().ok_or_else(|| denied("standard input"))?;
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map_err(|e| failed("standard input", &e))?;
        Ok(bytes)
    }

    /// The content of a file.
    ///
    /// # Errors
    /// host-error where it is not granted or fails.
    pub fn read_file(&mut self, path: impl AsRef<Path>) -> Result<Vec<u8>, Trap> {
        if !self.grants.read_files {
            return Err(denied("reading files"));
        }
        let path = path.as_ref();
        std::fs::read(path).map_err(|e| failed(&path.display().to_string(), &e))
    }

    /// Replaces the content of a file.
    ///
    /// # Errors
    /// host-error where it is not granted or fails.
    pub fn write_file(&mut self, path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Trap> {
        if !self.grants.write_files {
            return Err(denied("writing files"));
        }
        let path = path.as_ref();
        std::fs::write(path, bytes).map_err(|e| failed(&path.display().to_string(), &e))
    }

    /// The time since 1970.
    ///
    /// # Errors
    /// host-error where the clock is not granted.
    pub fn now(&self) -> Result<Duration, Trap> {
        if !self.grants.clock {
            return Err(denied("the clock"));
        }
        Ok(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The time since the instance was made; never goes back.
    ///
    /// # Errors
    /// host-error where the clock is not granted.
    pub fn elapsed(&self) -> Result<Duration, Trap> {
        if !self.grants.clock {
            return Err(denied("the clock"));
        }
        Ok(self.start.elapsed())
    }

    /// A random number. Not for secrets.
    ///
    /// # Errors
    /// host-error where random numbers are not granted.
    pub fn random(&mut self) -> Result<u64, Trap> {
        if !self.grants.random {
            return Err(denied("randomness"));
        }
        if self.random == 0 {
            use std::hash::{BuildHasher, Hasher};
            // The standard library's hasher is the one source of randomness without a dependency.
            self.random = std::collections::hash_map::RandomState::new().build_hasher().finish() | 1;
        }
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(z ^ z >> 31)
    }
}
