//! Runs one program to its end and says what it took.
//!
//! CPU time and peak memory come from `wait4`, so they are those of this child alone. Peak memory has a floor: the
//! kernel counts from the moment before the child replaces the memory it was started with, which is this process's
//! own few megabytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wait4::{ResUse, Wait4};

/// A program that runs longer than this is ended and counts as failed.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What one run printed and took.
pub struct Run {
    /// Standard output, trimmed at the end.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Time from before the start of the process until it was gone.
    pub wall: Duration,
    /// User and system time of the process, all threads.
    pub cpu: Duration,
    /// Peak resident memory in bytes.
    pub peak: u64,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Whether it was ended because it ran too long.
    pub timed_out: bool,
}

impl Run {
    /// The run, or why it does not count: it must exit with 0.
    pub fn checked(self) -> Result<Run, String> {
        if self.code == Some(0) {
            return Ok(self);
        }
        if self.timed_out {
            return Err(format!("takes more than {} s", LIMIT.as_secs()));
        }
        let how =
            self.code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit code {code}"));
        let said: Vec<_> = self.stderr.lines().take(6).collect();
        Err(if said.is_empty() { how } else { format!("{how}: {}", said.join("\n    ")) })
    }
}

/// Runs a command without input and waits for it.
pub fn run(command: &mut Command) -> io::Result<Run> {
    run_with_input(command, None)
}

/// Runs a command with a file as its standard input, if there is one, and waits for it.
pub fn run_with_input(command: &mut Command, input: Option<&Path>) -> io::Result<Run> {
    let stdin = match input {
        Some(path) => Stdio::from(File::open(path)?),
        None => Stdio::null(),
    };
    let start = Instant::now();
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let (used, end, timed_out) = wait(child)?;
    Ok(Run {
        stdout: stdout.join().unwrap_or_default().trim_end().to_owned(),
        stderr: stderr.join().unwrap_or_default(),
        wall: end - start,
        cpu: used.rusage.utime + used.rusage.stime,
        peak: used.rusage.maxrss,
        code: used.status.code(),
        timed_out,
    })
}

/// Reads a pipe to its end on a thread of its own, so that a child never waits for its reader.
fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks ends the output; the exit code tells the rest.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child, at most `LIMIT`, and says whether that was too short. A thread blocks in `wait4`, so that the time of the end is exact.
fn wait(child: Child) -> io::Result<(ResUse, Instant, bool)> {
    let id = child.id();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let result = child.wait4();
        // The receiver is gone only if this process is ending.
        let _ = sender.send((result, Instant::now()));
    });
    let lost = || io::Error::other("lost the child process");
    let mut timed_out = false;
    let (result, end) = match receiver.recv_timeout(LIMIT) {
        Ok(message) => message,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            timed_out = true;
            // Not reaped yet, so the number still names our child.
            Command::new("kill").args(["-9", &id.to_string()]).status()?;
            receiver.recv().map_err(|_| lost())?
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => return Err(lost()),
    };
    Ok((result?, end, timed_out))
}
