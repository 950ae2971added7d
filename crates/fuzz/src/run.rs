//! Runs one program in one configuration, in this process, and says what it showed.
//!
//! Compared are standard output, the error with its message and the lines of its backtrace, and the fuel that was used. A panic
//! anywhere in the engine, also on the compiler's thread, is part of what is shown, so that it is a difference.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once};

use upshift::{Config, Grants, Limits};
use upshift_bytecode::Module;
use upshift_cli::report::{self, Style};
use upshift_cli::session::{self, Parsed, Phases};
use upshift_mochi::lower::Tests;

/// What a run showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Standard output.
    pub output: String,
    /// How it ended: the error as users see it; empty for success.
    pub end: String,
    /// Units of fuel used.
    pub fuel: u64,
}

/// A program that is ready to run.
#[derive(Debug)]
pub struct Ready {
    parsed: Parsed,
    module: Module,
}

/// Bytes of heap. Beyond them nothing is compared: optimized code allocates less than the interpreter.
const MEMORY: usize = 256 << 20;
/// Bytes of the guest stack.
const STACK: usize = 64 << 20;

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static HOOK: Once = Once::new();

/// Keeps what panics say instead of printing it.
fn catch_panics() {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            if let Ok(mut panics) = PANICS.lock() {
                panics.push(info.to_string());
            }
        }));
    });
}

fn panics() -> String {
    let mut panics = PANICS.lock().unwrap_or_else(|e| e.into_inner());
    std::mem::take(&mut *panics).join("\n")
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Compiles a Mochi program.
///
/// # Errors
/// The diagnostics, or the panic of the front end.
pub fn compile(text: &str) -> Result<Ready, String> {
    catch_panics();
    let compiled = catch_unwind(|| {
        let mut phases = Phases::default();
        let mut parsed = session::parse_program("p.mochi", text.as_bytes().to_vec(), &mut phases);
        session::find_unsupported(&mut parsed, &mut phases);
        if parsed.has_errors() {
            let style = Style::Text { color: false };
            return Err(report::diagnostics(&parsed.sources, &parsed.diagnostics, style));
        }
        let compiled = session::compile(&mut parsed, Tests::Inline, &mut phases);
        Ok(Ready { parsed, module: compiled.module })
    });
    compiled.unwrap_or_else(|_| Err(format!("panic: {}", panics())))
}

impl Ready {
    /// Runs it; `None` where nothing can be said, since it ran out of memory.
    pub fn run(&self, config: &Config, fuel: u64) -> Option<Outcome> {
        let output = Output::default();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let engine = session::engine(config.clone());
            let code = match session::load(&engine, &self.module, &mut Phases::default()) {
                Ok(code) => code,
                Err(error) => return Some((format!("not loaded: {error}"), 0)),
            };
            let grants = Grants::none().stdout(output.clone());
            let limits = Limits::default().memory(MEMORY).stack(STACK).fuel(fuel);
            let mut instance = match engine.instantiate(&code, grants, limits) {
                Ok(instance) => instance,
                Err(error) => return Some((format!("no instance: {error}"), 0)),
            };
            let end = match instance.run() {
                Ok(()) => String::new(),
                Err(error) if error.code() == upshift_bytecode::TrapCode::MemoryLimit => return None,
                Err(error) => report::run_error(&self.parsed.sources, &error, Style::Text { color: false }),
            };
            Some((end, fuel - instance.fuel().unwrap_or(0)))
        }));
        let (mut end, fuel) = ran.unwrap_or_else(|_| Some((String::new(), 0)))?;
        let panics = panics();
        if !panics.is_empty() {
            end = format!("panic: {panics}");
        }
        let output = output.0.lock().unwrap_or_else(|e| e.into_inner());
        Some(Outcome { output: String::from_utf8_lossy(&output).into_owned(), end, fuel })
    }
}
