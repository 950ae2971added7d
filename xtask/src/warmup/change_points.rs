//! Where a series changes its level: optimal segmentation by PELT (Killick, Fearnhead and Eckley, "Optimal detection of
//! changepoints with a linear computational cost", JASA 2012), under a normal model whose mean and variance both may change.
//!
//! The cost of a segment is twice its negative log-likelihood, `n (ln σ² + 1)`; each change costs a penalty of `15 ln n`, as in
//! Barrett et al. The variance has a floor: times of iterations may be equal to the last digit of the clock, and a level that
//! differs by less than the floor is no other level. The floor also gives segments of one iteration a cost, so the first
//! iteration alone may be a level, as it often is where code is compiled early.

/// The floor of a segment's standard deviation, as a part of the series' median.
const FLOOR: f64 = 0.01;

/// The penalty of each change, in units of the logarithm of the length.
const PENALTY: f64 = 15.0;

/// Sums of a series and of its squares, for costs of segments in constant time.
struct Costs {
    sums: Vec<f64>,
    squares: Vec<f64>,
    floor: f64,
}

impl Costs {
    /// Of values around a middle, which is taken off first: the difference of squares would lose digits otherwise.
    fn new(values: &[f64], middle: f64) -> Costs {
        let floor = (FLOOR * middle).powi(2).max(f64::MIN_POSITIVE);
        let mut costs = Costs { sums: vec![0.0], squares: vec![0.0], floor };
        let (mut sum, mut square) = (0.0, 0.0);
        for value in values {
            let centred = value - middle;
            sum += centred;
            square += centred * centred;
            costs.sums.push(sum);
            costs.squares.push(square);
        }
        costs
    }

    fn of(&self, from: usize, to: usize) -> f64 {
        let n = (to - from) as f64;
        let mean = (self.sums[to] - self.sums[from]) / n;
        let variance = (self.squares[to] - self.squares[from]) / n - mean * mean;
        // With a floor the likelihood is that of the floor's variance, so the squares count beside it.
        let model = variance.max(self.floor);
        n * (model.ln() + variance.max(0.0) / model)
    }
}

/// The segments of a series, as starts: the first is 0. `middle` is the series' median.
pub fn segments(values: &[f64], middle: f64) -> Vec<usize> {
    let n = values.len();
    if n == 0 {
        return Vec::new();
    }
    let costs = Costs::new(values, middle);
    let penalty = PENALTY * (n as f64).ln();
    // The best cost of the first i values, and where their last segment starts.
    let mut best = vec![-penalty];
    let mut last = vec![0];
    let mut candidates = vec![0];
    for end in 1..=n {
        let price = |&start: &usize| best[start] + costs.of(start, end);
        let (start, cost) = candidates
            .iter()
            .map(|start| (*start, price(start)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or((0, f64::INFINITY));
        // Who is worse by now than a new segment would be is never best again.
        candidates.retain(|start| price(start) <= cost + penalty);
        best.push(cost + penalty);
        last.push(start);
        candidates.push(end);
    }
    let mut starts = Vec::new();
    let mut end = n;
    while end > 0 {
        starts.push(last[end]);
        end = last[end];
    }
    starts.reverse();
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels with lengths, with noise of so many percent that repeats.
    pub fn series(levels: &[(f64, usize)], noise: f64) -> Vec<f64> {
        let mut random = 1_u64;
        let mut values = Vec::new();
        for &(level, len) in levels {
            for _ in 0..len {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // The sum of four is nearly normal.
                let parts = (0..4).map(|i| f64::from((random >> (i * 16)) as u16) / 65_536.0 - 0.5);
                values.push(level * (1.0 + noise * 1.7 * parts.sum::<f64>()));
            }
        }
        values
    }

    #[test]
    fn levels_are_found() {
        for noise in [0.0, 0.01, 0.03] {
            assert_eq!(segments(&series(&[(1.0, 300)], noise), 1.0), [0], "{noise}");
            assert_eq!(segments(&series(&[(4.0, 1), (1.0, 299)], noise), 1.0), [0, 1], "{noise}");
            let three = series(&[(4.0, 7), (1.5, 30), (1.0, 263)], noise);
            assert_eq!(segments(&three, 1.0), [0, 7, 37], "{noise}");
        }
    }

    #[test]
    fn pruning_loses_nothing() {
        let values = series(&[(2.0, 12), (1.2, 9), (1.0, 30), (1.1, 29)], 0.02);
        let n = values.len();
        let costs = Costs::new(&values, 1.0);
        let penalty = PENALTY * (n as f64).ln();
        // The same by trying all, as optimal partitioning (Jackson et al., 2005).
        let mut best = vec![(-penalty, 0)];
        for end in 1..=n {
            let all = (0..end).map(|start| (best[start].0 + costs.of(start, end) + penalty, start));
            best.push(all.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap());
        }
        let mut starts = Vec::new();
        let mut end = n;
        while end > 0 {
            end = best[end].1;
            starts.push(end);
        }
        starts.reverse();
        assert_eq!(segments(&values, 1.0), starts);
        assert_eq!(starts.len(), 4);
    }

    #[test]
    fn nothing_has_no_segments() {
        assert_eq!(segments(&[], 1.0), Vec::<usize>::new());
        assert_eq!(segments(&[1.0], 1.0), [0]);
    }
}
