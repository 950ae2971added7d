//! `upshift profile`: what the sampler found, as folded stacks, as a flame graph, and as a short table.
//!
//! The files are opened before the program runs, so that a folder that cannot be written is known before the wait.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use inferno::flamegraph::color::{Color, PaletteMap};
use inferno::flamegraph::{Direction, TextTruncateDirection};
use upshift::profile::sampler::{Detail, FrameKind, Profile};

/// What a profile is written to, and how it is taken.
#[derive(Debug, Default, Clone)]
pub struct ProfileOptions {
    /// The folded stacks.
    pub folded: Option<PathBuf>,
    /// The flame graph.
    pub svg: Option<PathBuf>,
    /// Frequency and grain.
    pub sampling: upshift::profile::sampler::Options,
    /// Whether frames are lines instead of functions.
    pub lines: bool,
}

/// How many frames the table has.
const ROWS: usize = 12;

/// The files of a profile, opened.
#[derive(Debug)]
pub struct Files {
    folded: Option<(PathBuf, File)>,
    svg: Option<(PathBuf, File)>,
}

impl Files {
    /// Opens what the options name. Where they name neither, both are opened, in the working directory, under the program's
    /// name.
    ///
    /// # Errors
    /// A sentence about the file that cannot be written.
    pub fn open(options: &ProfileOptions, program: &Path) -> Result<Files, String> {
        let named = |extension: &str| {
            let stem = program.file_stem().filter(|stem| *stem != "-");
            PathBuf::from(stem.unwrap_or("stdin".as_ref())).with_extension(extension)
        };
        let neither = options.folded.is_none() && options.svg.is_none();
        let open = |path: &Option<PathBuf>, extension: &str| {
            let path = path.clone().or_else(|| neither.then(|| named(extension)));
            path.map(|path| match File::create(&path) {
                Ok(file) => Ok((path, file)),
                Err(error) => Err(format!("cannot write `{}`: {error}", path.display())),
            })
            .transpose()
        };
        Ok(Files { folded: open(&options.folded, "folded")?, svg: open(&options.svg, "svg")? })
    }

    /// Writes the profile; gives the paths that were written.
    ///
    /// # Errors
    /// A sentence about the file that cannot be written.
    pub fn write(self, profile: &Profile, lines: bool, title: &str) -> Result<Vec<PathBuf>, String> {
        let detail = Detail { tiers: true, lines };
        let folded = profile.folded(detail);
        let mut written = Vec::new();
        let mut check = |path: PathBuf, result: std::io::Result<()>| match result {
            Ok(()) => {
                written.push(path);
                Ok(())
            }
            Err(error) => Err(format!("cannot write `{}`: {error}", path.display())),
        };
        if let Some((path, mut file)) = self.folded {
            check(path, file.write_all(folded.as_bytes()))?;
        }
        if let Some((path, file)) = self.svg
            && !folded.is_empty()
        {
            check(path, flame_graph(profile, detail, &folded, title, Direction::Straight, file))?;
        }
        Ok(written)
    }
}

/// The colour of what is not a guest function of a known tier, and of the compiler's thread.
const OTHER: Color = Color { r: 160, g: 160, b: 160 };

/// The slower the tier, the hotter the colour; what is no guest code is blue or grey.
fn color(kind: FrameKind) -> Color {
    let (r, g, b) = match kind {
        FrameKind::Interpreter => (226, 87, 76),
        FrameKind::Baseline => (242, 170, 76),
        FrameKind::Optimized => (110, 190, 105),
        FrameKind::Inlined => (165, 214, 150),
        FrameKind::Host | FrameKind::Foreign => (120, 165, 220),
        FrameKind::Collector => (190, 140, 205),
        _ => return OTHER,
    };
    Color { r, g, b }
}

/// Writes folded stacks as a flame graph.
///
/// # Errors
/// What the writer says, or that there is no stack.
pub fn flame_graph(
    profile: &Profile,
    detail: Detail,
    folded: &str,
    title: &str,
    direction: Direction,
    writer: impl Write,
) -> std::io::Result<()> {
    let mut palette = PaletteMap::default();
    for (stack, _) in profile.stacks() {
        for frame in stack {
            palette.insert(detail.name(frame), color(frame.kind));
        }
    }
    for (function, _) in profile.compiler() {
        palette.insert(function, OTHER);
    }
    palette.insert("[compiler thread]", OTHER);
    let mut options = inferno::flamegraph::Options::default();
    options.title = title.to_string();
    options.direction = direction;
    options.subtitle = Some(
        "red interpreter, orange baseline, green optimized, blue host, violet collector, grey compilers"
            .to_string(),
    );
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.count_name = "samples".to_string();
    options.palette_map = Some(&mut palette);
    let mut writer = BufWriter::new(writer);
    inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut writer)?;
    writer.flush()
}

/// The frames with most samples, alone and with what they called, for people.
pub fn table(profile: &Profile) -> String {
    let detail = Detail { tiers: true, lines: false };
    let total = profile.samples();
    let mut text = format!(
        "profile: {total} samples, {} a second, over {:.3} s\n",
        profile.frequency(),
        total as f64 / f64::from(profile.frequency().max(1))
    );
    let mut rows: Vec<(String, u64, u64)> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for (stack, samples) in profile.stacks() {
        let mut seen = std::collections::HashSet::new();
        let last = stack.len() - 1;
        for (i, frame) in stack.into_iter().enumerate() {
            let name = detail.name(frame);
            let row = *known.entry(name.clone()).or_insert_with(|| {
                rows.push((name, 0, 0));
                rows.len() - 1
            });
            if i == last {
                rows[row].1 += samples;
            }
            // A function that calls itself counts once.
            if seen.insert(row) {
                rows[row].2 += samples;
            }
        }
    }
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(b.2.cmp(&a.2)).then_with(|| a.0.cmp(&b.0)));
    let share = |samples: u64| 100.0 * samples as f64 / total.max(1) as f64;
    if !rows.is_empty() {
        text.push_str("   self   total\n");
    }
    for (name, own, all) in rows.iter().filter(|row| row.1 > 0).take(ROWS) {
        text.push_str(&format!("{:6.1}% {:6.1}%  {name}\n", share(*own), share(*all)));
    }
    let compiled: u64 = profile.compiler().iter().map(|c| c.1).sum();
    if compiled > 0 {
        text.push_str(&format!("the compiler's thread was busy in {compiled} samples\n"));
    }
    text
}
