//! Which kind of curve the times of a process's iterations are.
//!
//! The series is cleaned of outliers, cut into segments, and each segment's mean is compared with that of the last one. Two
//! levels are equal where they differ by less than the last segment's standard deviation or by [`TOLERANCE`].
//!
//! * *Flat*: all segments are equal to the last.
//! * *Warm-up*: it settles, and nothing before was faster.
//! * *Slow-down*: it settles, but something before was faster.
//! * *No steady state*: it does not settle, that is, in the last quarter of the iterations there is a segment that is not equal to
//!   the last.

use super::change_points;
use crate::bench::report::median;

/// Fewer iterations say nothing.
pub const LEAST: usize = 20;

/// Levels that differ by less than this part of the last are one. Processor time on a machine that others use changes by some
/// percent with what these do.
const TOLERANCE: f64 = 0.05;

/// The part of the iterations, from the end, in which the level must not change.
const SETTLED: usize = 4;

/// Outliers are looked for in windows of a tenth of the iterations, which is the paper's part: so many parts are to each side.
const WINDOW: usize = 20;
/// But at least among so many iterations to each side.
const NEIGHBOURS: usize = 10;

/// What a curve is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Flat,
    WarmUp,
    SlowDown,
    NoSteadyState,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 4] = [Verdict::Flat, Verdict::WarmUp, Verdict::SlowDown, Verdict::NoSteadyState];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Flat => "flat",
            Verdict::WarmUp => "warm-up",
            Verdict::SlowDown => "slow-down",
            Verdict::NoSteadyState => "no steady state",
        }
    }
}

/// The curve of one process.
pub struct Curve {
    /// The times of the iterations in seconds, as they were.
    pub times: Vec<f64>,
    /// Where segments start.
    pub segments: Vec<usize>,
    pub verdict: Verdict,
    /// The mean time of an iteration in the last segment; in the last quarter where there is no steady state.
    pub steady: f64,
    /// How long it took, in seconds of what was measured, until iterations ran at 90 % of that speed.
    pub to_speed: f64,
}

impl Curve {
    /// Looks at the times of a process's iterations.
    pub fn of(times: Vec<f64>) -> Curve {
        let clean = without_outliers(&times);
        let middle = median(&clean).unwrap_or(0.0);
        let segments = change_points::segments(&clean, middle);
        let verdict = verdict(&clean, &segments);
        let from = match verdict {
            Verdict::NoSteadyState => times.len() - times.len() / SETTLED,
            _ => segments.last().copied().unwrap_or(0),
        };
        let steady = mean(&clean[from..]);
        let to_speed = to_speed(&times, steady);
        Curve { times, segments, verdict, steady, to_speed }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    (values.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// The series with the median of their neighbours in the place of outliers (after Tukey): an iteration may meet an interrupt,
/// and a few in a row a neighbour on the machine, which are nobody's level. The first half window is what warm-up looks like,
/// and has none.
fn without_outliers(times: &[f64]) -> Vec<f64> {
    let mut clean = times.to_vec();
    let near = (times.len() / WINDOW).max(NEIGHBOURS);
    for (i, value) in clean.iter_mut().enumerate().skip(near) {
        let around = &times[i - near..(i + near + 1).min(times.len())];
        let mut sorted = around.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| sorted[(part * (sorted.len() - 1) as f64).round() as usize];
        let width = (3.0 * (at(0.9) - at(0.1))).max(TOLERANCE * at(0.5));
        if (*value - at(0.5)).abs() > width {
            *value = at(0.5);
        }
    }
    clean
}

fn verdict(values: &[f64], segments: &[usize]) -> Verdict {
    let ends = segments.iter().skip(1).copied().chain([values.len()]);
    let all: Vec<(&[f64], usize)> =
        segments.iter().zip(ends).map(|(&start, end)| (&values[start..end], end)).collect();
    let Some(&(last, _)) = all.last() else { return Verdict::Flat };
    let (level, width) = (mean(last), deviation(last).max(TOLERANCE * mean(last)));
    let differs = |segment: &[f64]| (mean(segment) - level).abs() > width;
    let settled_from = values.len() - values.len() / SETTLED;
    if all.iter().any(|&(segment, end)| end > settled_from && differs(segment)) {
        return Verdict::NoSteadyState;
    }
    let others: Vec<f64> = all.iter().filter(|s| differs(s.0)).map(|s| mean(s.0)).collect();
    if others.is_empty() {
        Verdict::Flat
    } else if others.iter().all(|&other| other > level) {
        Verdict::WarmUp
    } else {
        Verdict::SlowDown
    }
}

/// The time before the first three iterations in a row that run at 90 % of the steady speed.
fn to_speed(times: &[f64], steady: f64) -> f64 {
    let fast = |time: &f64| *time <= steady / 0.9;
    let first = times.windows(3).position(|three| three.iter().all(fast)).unwrap_or(times.len());
    times[..first].iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels with lengths and noise of one percent.
    fn curve(levels: &[(f64, usize)]) -> Curve {
        let mut random = 7_u64;
        let mut times = Vec::new();
        for &(level, len) in levels {
            for _ in 0..len {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let noise: f64 =
                    (0..4).map(|i| f64::from((random >> (i * 16)) as u16) / 65_536.0 - 0.5).sum();
                times.push(level * (1.0 + 0.017 * noise));
            }
        }
        Curve::of(times)
    }

    #[track_caller]
    fn check(levels: &[(f64, usize)], verdict: Verdict) -> Curve {
        let curve = curve(levels);
        assert_eq!(curve.verdict, verdict, "{levels:?}: {:?}", curve.segments);
        curve
    }

    #[test]
    fn each_kind_of_curve_is_told() {
        check(&[(1.0, 300)], Verdict::Flat);
        check(&[(5.0, 1), (1.0, 299)], Verdict::WarmUp);
        check(&[(5.0, 4), (2.0, 20), (1.0, 276)], Verdict::WarmUp);
        check(&[(1.0, 100), (1.5, 200)], Verdict::SlowDown);
        // Fast once, and never again as fast.
        check(&[(5.0, 3), (1.0, 100), (1.3, 197)], Verdict::SlowDown);
        check(&[(3.0, 5), (1.0, 255), (1.5, 40)], Verdict::NoSteadyState);
        let cycle: Vec<(f64, usize)> = (0..10).map(|i| (1.0 + f64::from(i % 2), 30)).collect();
        check(&cycle, Verdict::NoSteadyState);
    }

    #[test]
    fn small_changes_are_none() {
        check(&[(1.0, 150), (1.02, 150)], Verdict::Flat);
        check(&[(5.0, 3), (0.98, 150), (1.0, 147)], Verdict::WarmUp);
    }

    #[test]
    fn single_outliers_are_none() {
        check(&[(1.0, 100), (8.0, 1), (1.0, 100), (0.1, 1), (1.0, 98)], Verdict::Flat);
        check(&[(4.0, 2), (1.0, 280), (8.0, 1), (1.0, 17)], Verdict::WarmUp);
    }

    #[test]
    fn bursts_are_outliers_where_they_are_short() {
        check(&[(4.0, 20), (1.0, 780), (1.7, 8), (1.0, 192)], Verdict::WarmUp);
        check(&[(4.0, 20), (1.0, 780), (1.7, 40), (1.0, 160)], Verdict::NoSteadyState);
        // What is as short as that at the start is warm-up all the same.
        let curve = check(&[(4.0, 8), (1.0, 992)], Verdict::WarmUp);
        assert!((curve.to_speed - 32.0).abs() < 1.0, "{}", curve.to_speed);
    }

    #[test]
    fn the_time_to_speed_is_what_came_before() {
        let curve = check(&[(5.0, 4), (1.0, 296)], Verdict::WarmUp);
        assert!((curve.steady - 1.0).abs() < 0.01);
        assert!((curve.to_speed - 20.0).abs() < 0.5, "{}", curve.to_speed);
        assert!(check(&[(1.0, 300)], Verdict::Flat).to_speed < 1e-9);
        // A level of more than 90 % of the speed is fast enough.
        assert!((check(&[(5.0, 2), (1.08, 50), (1.0, 248)], Verdict::WarmUp).to_speed - 10.0).abs() < 0.5);
    }

    #[test]
    fn few_iterations_do_no_harm() {
        for len in 1..LEAST {
            curve(&[(1.0, len)]);
        }
    }
}
