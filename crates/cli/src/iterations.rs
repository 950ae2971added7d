//! `upshift run --iterations N`: a program's top level again and again in one instance, with the time of each.
//!
//! For warm-up measurements: what is compiled in one iteration is there in the next. The program's output is compared, not
//! shown: each iteration has to print what the first one printed. Iterations start from the heap, and so from the garbage,
//! that the one before left; globals are assigned anew by the top level itself.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use upshift::{Grants, Instance, RunError};

/// What an iteration printed: a hash and a length.
type Printed = Arc<Mutex<(DefaultHasher, u64)>>;

/// Takes output and keeps its hash.
struct Compare(Printed);

impl Write for Compare {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Byte for byte, since pieces end where buffers are full.
        bytes.iter().for_each(|byte| byte.hash(&mut printed.0));
        printed.1 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A program that runs several times.
pub struct Iterations {
    count: u32,
    printed: Printed,
    wall: Vec<u64>,
    cpu: Vec<u64>,
    differs: bool,
}

impl Iterations {
    /// Takes the standard output of a program that will run so many times.
    pub fn new(count: u32, grants: Grants) -> (Grants, Iterations) {
        let printed = Printed::default();
        let grants = grants.stdout(Compare(printed.clone()));
        (grants, Iterations { count, printed, wall: Vec::new(), cpu: Vec::new(), differs: false })
    }

    fn take(&self) -> (u64, u64) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let (hasher, len) = std::mem::take(&mut *printed);
        (hasher.finish(), len)
    }

    /// Runs the program until it is done, an iteration fails, or one prints something else than the first.
    ///
    /// # Errors
    /// What stopped an iteration.
    pub fn run(&mut self, instance: &mut Instance) -> Result<(), RunError> {
        let mut first = None;
        for _ in 0..self.count {
            let (wall, cpu) = (Instant::now(), upshift::thread_time());
            instance.run()?;
            self.cpu.push(upshift::thread_time().saturating_sub(cpu).as_nanos() as u64);
            self.wall.push(wall.elapsed().as_nanos() as u64);
            let printed = self.take();
            if *first.get_or_insert(printed) != printed {
                self.differs = true;
                break;
            }
        }
        Ok(())
    }

    /// The times as a line of JSON: nanoseconds by the clock, and of processor time of the program's thread.
    ///
    /// # Errors
    /// A sentence about the iteration that printed something else than the first.
    pub fn report(&self) -> Result<String, String> {
        if self.differs {
            return Err(format!("iteration {} printed something else than the first", self.wall.len()));
        }
        Ok(format!("{}\n", serde_json::json!({ "wall": self.wall, "cpu": self.cpu })))
    }
}

impl std::fmt::Debug for Iterations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iterations").field("count", &self.count).finish_non_exhaustive()
    }
}
