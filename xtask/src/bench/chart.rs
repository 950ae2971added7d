//! The two charts of the page, as SVG: bars on a scale from zero, and rows of points on a logarithmic scale.
//!
//! Colours of text and lines come from the page's style sheet, so that charts follow light and dark.

use std::fmt::Write as _;

use super::page::escaped;

const WIDTH: f64 = 960.0;
/// Where labels end and the scale begins.
const LEFT: f64 = 150.0;
/// Room behind the scale.
const RIGHT: f64 = 80.0;
const ROW: f64 = 24.0;

/// A bar with its label and the text at its end.
pub struct Bar<'a> {
    pub label: &'a str,
    pub value: f64,
    pub text: String,
    pub colour: &'a str,
}

/// A point of a row, and what is shown when the mouse is over it.
pub struct Point<'a> {
    pub value: f64,
    pub text: String,
    pub colour: &'a str,
    pub filled: bool,
}

/// Bars under each other, their length proportional to the value.
pub fn bars(bars: &[Bar<'_>]) -> String {
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = open(ROW * bars.len() as f64 + 8.0);
    for (index, bar) in bars.iter().enumerate() {
        let y = 4.0 + ROW * index as f64;
        let length = ((WIDTH - LEFT - RIGHT) * bar.value / longest).max(1.0);
        let middle = y + ROW / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\n<rect x=\"{LEFT}\" y=\"{:.1}\" \
             width=\"{length:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"{}\"/>\n<text x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
            LEFT - 8.0,
            escaped(bar.label),
            y + 3.0,
            ROW - 6.0,
            bar.colour,
            LEFT + length + 6.0,
            escaped(&bar.text),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A row for each label, its points on a common logarithmic scale whose marks are powers of two with a `unit`.
pub fn points(rows: &[(&str, Vec<Point<'_>>)], legend: &[(&str, &str)], unit: &str) -> String {
    let values = || rows.iter().flat_map(|(_, points)| points.iter().map(|point| point.value.log2()));
    let low = values().fold(f64::INFINITY, f64::min).floor();
    let high = values().fold(f64::NEG_INFINITY, f64::max).ceil().max(low + 1.0);
    if !low.is_finite() {
        return String::new();
    }
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value.log2() - low) / (high - low);
    let per_line = 6;
    let head = 20.0 * legend.len().div_ceil(per_line) as f64 + 28.0;
    let bottom = head + ROW * rows.len() as f64;
    let mut svg = open(bottom + 8.0);
    for (index, (name, colour)) in legend.iter().enumerate() {
        let at = LEFT + (WIDTH - LEFT) / per_line as f64 * (index % per_line) as f64;
        let y = 12.0 + 20.0 * (index / per_line) as f64;
        let _ = writeln!(
            svg,
            "<circle cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            at + 10.0,
            y + 4.0,
            escaped(name),
        );
    }
    for power in low as i32..=high as i32 {
        let value = f64::from(power).exp2();
        let class = if power == 0 { "one" } else { "line" };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{head:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"soft\" x=\"{0:.1}\" y=\"{1:.1}\" text-anchor=\"middle\">{value}{unit}</text>",
            x(value),
            head - 6.0,
        );
    }
    for (index, (label, points)) in rows.iter().enumerate() {
        let y = head + ROW * (index as f64 + 0.5);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <line class=\"line\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            LEFT - 8.0,
            y + 4.0,
            escaped(label),
            WIDTH - RIGHT,
        );
        // The engine's points come first in the list and are drawn last, above the others.
        for point in points.iter().rev() {
            let (radius, opacity) = if point.filled { (6, 1.0) } else { (4, 0.85) };
            let _ = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{}\" opacity=\"{opacity}\"><title>{}</title></circle>",
                x(point.value),
                point.colour,
                escaped(&point.text),
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

fn open(height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n")
}

#[cfg(test)]
mod tests {
    use super::{Bar, LEFT, Point, RIGHT, WIDTH, bars, points};

    #[test]
    fn the_longest_bar_fills_the_scale() {
        let bar = |value| Bar { label: "a & b", value, text: String::new(), colour: "red" };
        let svg = bars(&[bar(1.0), bar(4.0)]);
        let full = WIDTH - LEFT - RIGHT;
        assert!(
            svg.contains(&format!("width=\"{full:.1}\""))
                && svg.contains(&format!("width=\"{:.1}\"", full / 4.0))
        );
        assert!(svg.contains("a &amp; b"));
    }

    #[test]
    fn points_lie_between_powers_of_two() {
        let point = |value| Point { value, text: String::new(), colour: "red", filled: true };
        let svg = points(&[("row", vec![point(1.0), point(3.0)])], &[("who", "red")], "x");
        assert!(svg.contains(">1x<") && svg.contains(">4x<") && !svg.contains(">8x<"));
        assert_eq!(svg.matches("<title>").count(), 2);
        assert_eq!(points(&[], &[], "x"), "");
    }
}
