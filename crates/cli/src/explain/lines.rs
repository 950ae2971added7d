//! What stands on the lines of a source: for text and page.

use std::collections::BTreeMap;

use upshift::explain::{Code, Level, Topic};
use upshift::profile::sampler::FrameKind;

use super::{Explained, ms, percent};

/// How many different values of exits a line shows.
const VALUES: usize = 3;

/// What is said of one line.
#[derive(Debug, Default)]
pub struct Line {
    /// Samples that had code of the line innermost.
    pub samples: u64,
    /// In which tier, for the most samples.
    sampled: BTreeMap<Level, u64>,
    /// The tiers of functions and loops that begin here.
    levels: Vec<Level>,
    /// The loops that begin here, in words.
    pub loops: Vec<String>,
    /// Remarks by topic, code and detail, with their number, and for exits the values. Of several compilations the one that says
    /// most counts; exits are counted together, with some of the values that differ.
    pub remarks: BTreeMap<(usize, Code, String), (u64, Vec<String>)>,
}

impl Line {
    /// The tier that most of it ran in, or, where it was not sampled, that there is code in.
    pub fn level(&self) -> Option<Level> {
        let sampled = self.sampled.iter().max_by_key(|s| s.1).map(|s| *s.0);
        sampled.or_else(|| self.levels.iter().max().copied())
    }
}

/// Topics in the order in which they are shown.
fn order(topic: Topic) -> usize {
    Topic::ALL.iter().position(|t| *t == topic).unwrap_or(Topic::ALL.len())
}

/// What is said of the lines of a source.
pub fn lines(explained: &Explained<'_>, name: &str) -> BTreeMap<u32, Line> {
    let report = explained.report;
    let mut lines: BTreeMap<u32, Line> = BTreeMap::new();
    for (frame, samples) in report.profile.innermost() {
        let level = match frame.kind {
            FrameKind::Interpreter => Level::Interpreter,
            FrameKind::Baseline => Level::Baseline,
            FrameKind::Optimized | FrameKind::Inlined => Level::Optimized,
            _ => continue,
        };
        if frame.source.as_deref() == Some(name) && frame.start < frame.end {
            let line = lines.entry(frame.line).or_default();
            line.samples += samples;
            *line.sampled.entry(level).or_default() += samples;
        }
    }
    for function in &report.functions {
        for l in &function.loops {
            if let Some((source, first, _)) = &l.lines
                && **source == *name
            {
                let line = lines.entry(*first).or_default();
                line.levels.push(l.level);
                let since = l.since.map_or(String::new(), |at| format!(" since {}", ms(at)));
                let mut text = format!("loop: {}{since}, {}", l.level.name(), percent(l.share));
                for remark in l.remarks.iter().filter(|r| r.place.is_none()) {
                    text.push_str(", ");
                    text.push_str(remark.code.text());
                }
                line.loops.push(text);
            }
        }
        if let Some((source, first, _)) = &function.lines
            && **source == *name
        {
            lines.entry(*first).or_default().levels.push(function.level);
        }
        for remark in function.compilations.iter().flat_map(|c| &c.remarks) {
            let Some(place) = remark.place.as_ref().filter(|p| *p.source == *name) else { continue };
            let key = (order(remark.code.topic()), remark.code, remark.detail.clone());
            let known = lines.entry(place.line).or_default().remarks.entry(key).or_default();
            known.0 = match remark.code.topic() {
                Topic::Exit => known.0 + remark.count,
                _ if remark.code == Code::CheckHeld => known.0 + remark.count,
                _ => known.0.max(remark.count),
            };
            let values = remark.values.join(", ");
            if !values.is_empty() && known.1.len() < VALUES && !known.1.contains(&values) {
                known.1.push(values);
            }
        }
    }
    lines
}
