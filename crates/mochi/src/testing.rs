//! Test blocks that report instead of ending the program: the host functions around them, and what they record.
//!
//! With [`crate::lower::Tests::Report`] each test block begins with `mochi.test_begin(name)`, which says whether it is to run,
//! and ends with `mochi.test_end(error)`, where the error is none for a test that passed.

use std::time::{Duration, Instant};

use upshift_runtime::host::{HostContext, HostRegistry, Ret};

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutcome {
    /// The name of the block.
    pub name: String,
    /// How long it ran.
    pub time: Duration,
    /// What stopped it.
    pub error: Option<String>,
}

/// What the tests of one program did. Given to an instance as data before it runs.
#[derive(Clone, Debug, Default)]
pub struct TestReport {
    /// Only tests whose name contains this run.
    pub filter: Option<String>,
    /// The tests that ran, in order.
    pub outcomes: Vec<TestOutcome>,
    running: Option<(String, Instant)>,
}

impl TestReport {
    /// A report that lets tests run whose name contains a text.
    pub fn new(filter: Option<String>) -> TestReport {
        TestReport { filter, ..TestReport::default() }
    }

    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.outcomes.iter().filter(|o| o.error.is_none()).count()
    }

    /// How many tests failed.
    pub fn failed(&self) -> usize {
        self.outcomes.len() - self.passed()
    }
}

/// Registers the functions around test blocks.
pub fn register(registry: &mut HostRegistry) {
    registry.dynamic("mochi.test_begin", |ctx, args| {
        let name = args.text(ctx, 0)?.to_string();
        let Some(report) = ctx.data::<TestReport>() else { return Ok(Ret::Bool(true)) };
        let selected = report.filter.as_ref().is_none_or(|part| name.contains(part.as_str()));
        if selected {
            report.running = Some((name, Instant::now()));
        }
        Ok(Ret::Bool(selected))
    });
    registry.dynamic("mochi.test_end", |ctx: &mut HostContext<'_>, args| {
        let error = {
            let error = args.val(ctx, 0)?;
            match error.as_str() {
                Some(text) => Some(text.to_string()),
                None if error.is_nil() => None,
                None => Some(format!("an exception of kind {}", error.kind().text())),
            }
        };
        if let Some(report) = ctx.data::<TestReport>()
            && let Some((name, start)) = report.running.take()
        {
            report.outcomes.push(TestOutcome { name, time: start.elapsed(), error });
        }
        Ok(Ret::Nothing)
    });
}
