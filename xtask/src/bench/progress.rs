//! A bar on the terminal while contestants run, and a line for each kernel that is done.

use indicatif::{ProgressBar, ProgressStyle};

/// How far a run is.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for this many steps.
    pub fn new(steps: usize) -> Progress {
        let bar = ProgressBar::new(steps as u64);
        // A template that does not parse is a bug seen at once by who changed it; the default would do.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}, {eta} left: {msg}") {
            bar.set_style(style);
        }
        Progress { bar }
    }

    /// Before a step.
    pub fn step(&self, kernel: &str, who: &str) {
        self.bar.set_message(format!("{kernel}, {who}"));
        self.bar.inc(1);
    }

    /// After a kernel. Where standard error is no terminal, there is no bar above which to write.
    pub fn done(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// After the last.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
