//! What a run over the kernels comes to, as tables: the same rows for the terminal and for Markdown.

use super::contestant::Contestant;
use super::kernels::Measured;
use super::report::{self, Figures};

/// The contestant that ratios refer to.
pub const BASE: &str = "gcc";

/// The figures of a run.
pub struct Summary<'a> {
    /// The engine, tier by tier, then the peers.
    pub contestants: &'a [&'a Contestant],
    /// How many of them are the engine.
    pub engines: usize,
    pub measured: &'a [Measured],
    /// Hello world, by contestant. Empty if not measured.
    pub start: &'a [(String, Figures)],
    /// The generated program of 10,000 lines, by tier. Empty if not measured.
    pub first_result: &'a [(String, Figures)],
}

/// Rows of cells, the first with the headings.
type Rows = Vec<Vec<String>>;

impl Summary<'_> {
    /// The contestant that ratios refer to, if it takes part.
    pub fn base(&self) -> Option<usize> {
        self.contestants.iter().position(|contestant| contestant.name == BASE)
    }

    /// The CPU time of one contestant as a multiple of another's.
    pub fn quotient(row: &Measured, upper: usize, lower: usize) -> Option<f64> {
        Some(row.figures[upper].as_ref()?.cpu / row.figures[lower].as_ref()?.cpu)
    }

    /// The geometric mean of such quotients over the kernels where both have an answer, if there is more than one.
    pub fn mean(&self, upper: usize, lower: usize) -> Option<f64> {
        let values: Vec<f64> =
            self.measured.iter().filter_map(|row| Self::quotient(row, upper, lower)).collect();
        report::geometric_mean(&values).filter(|_| values.len() > 1)
    }

    /// All tables, with titles.
    pub fn tables(&self) -> Vec<(String, Rows)> {
        let mut tables = Vec::new();
        match self.base() {
            Some(base) => {
                let title =
                    format!("CPU time of {BASE}, and of the others as a multiple of it (smaller is better)");
                tables.push((title, self.ratios(base)));
            }
            None => {
                let rows = self.per_kernel(|figures| report::time(figures.cpu));
                tables.push(("CPU time".to_owned(), rows));
            }
        }
        if self.measured.len() > 1 && self.engines > 0 {
            let title = "Geometric means of Upshift's CPU time as a multiple of each other's";
            tables.push((title.to_owned(), self.means()));
        }
        let rows = self.per_kernel(|figures| report::megabytes(figures.peak));
        tables.push(("Peak resident memory".to_owned(), rows));
        for (title, figures) in [
            ("Start-up: hello world", self.start),
            (
                "From start to result of a program of 10,000 lines and 3,000 functions, each called once",
                self.first_result,
            ),
        ] {
            if !figures.is_empty() {
                tables.push((title.to_owned(), whole_runs(figures)));
            }
        }
        tables
    }

    /// All tables in Markdown, under headings.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (title, rows) in self.tables() {
            text.push_str(&format!("### {title}\n\n{}\n", report::markdown_table(&rows)));
        }
        text
    }

    /// The base's time and everyone's ratio to it, a row for each kernel and one for the mean.
    fn ratios(&self, base: usize) -> Rows {
        let others: Vec<usize> = (0..self.contestants.len()).filter(|index| *index != base).collect();
        let mut headings = vec!["kernel".to_owned(), BASE.to_owned()];
        headings.extend(others.iter().map(|other| self.contestants[*other].short_name().to_owned()));
        let mut rows = vec![headings];
        for row in self.measured {
            let time = row.figures[base].as_ref().map(|figures| report::time(figures.cpu));
            let mut cells = vec![row.kernel.clone(), time.unwrap_or_else(|| row.gap(base).to_owned())];
            cells.extend(others.iter().map(|other| match Self::quotient(row, *other, base) {
                Some(value) => ratio(value),
                None => row.gap(*other).to_owned(),
            }));
            rows.push(cells);
        }
        if self.measured.len() > 1 {
            let mut cells = vec!["geometric mean".to_owned(), String::new()];
            cells.extend(others.iter().map(|other| self.mean(*other, base).map_or("-".to_owned(), ratio)));
            rows.push(cells);
        }
        rows
    }

    /// One figure of everyone, a row for each kernel.
    fn per_kernel(&self, cell: impl Fn(&Figures) -> String) -> Rows {
        let mut headings = vec!["kernel".to_owned()];
        headings.extend(self.contestants.iter().map(|contestant| contestant.short_name().to_owned()));
        let mut rows = vec![headings];
        for row in self.measured {
            let mut cells = vec![row.kernel.clone()];
            let figures = row.figures.iter().enumerate();
            cells.extend(figures.map(|(i, f)| f.as_ref().map_or_else(|| row.gap(i).to_owned(), &cell)));
            rows.push(cells);
        }
        rows
    }

    /// Each tier against everyone, the other tiers included.
    fn means(&self) -> Rows {
        let mut headings = vec!["tier".to_owned()];
        headings.extend(self.contestants.iter().map(|contestant| contestant.short_name().to_owned()));
        let mut rows = vec![headings];
        for engine in 0..self.engines {
            let mut cells = vec![self.contestants[engine].short_name().to_owned()];
            cells.extend((0..self.contestants.len()).map(|other| match self.mean(engine, other) {
                Some(mean) if other != engine => ratio(mean),
                _ => "-".to_owned(),
            }));
            rows.push(cells);
        }
        rows
    }
}

/// Figures of one program, a row for each who ran it.
fn whole_runs(figures: &[(String, Figures)]) -> Rows {
    let mut rows = vec![["", "wall", "CPU", "peak"].map(str::to_owned).to_vec()];
    rows.extend(figures.iter().map(|(name, f)| {
        vec![name.clone(), report::time(f.wall), report::time(f.cpu), report::megabytes(f.peak)]
    }));
    rows
}

/// A quotient with as many digits as mean something.
pub fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}
