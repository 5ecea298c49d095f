//! Numbers about numbers: mean, spread, quantiles, correlations, histograms.
//!
//! Everything is computed in f64. A statistic that a sample does not have (the mean of nothing, the
//! correlation with a constant) is `None`, never a NaN that travels on.

use serde::{Deserialize, Serialize};

/// The mean; none of an empty sample.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The variance with divisor `n` (the sample is the whole population); none of an empty sample.
pub fn variance(values: &[f64]) -> Option<f64> {
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    Some(squares / values.len() as f64)
}

/// The standard deviation with divisor `n`; none of an empty sample.
pub fn deviation(values: &[f64]) -> Option<f64> {
    variance(values).map(f64::sqrt)
}

/// The median; of an even count the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The quantile at `p` in [0, 1], linear between the two neighbours (Hyndman and Fan's type 7, numpy's
/// default). None of an empty sample or a `p` outside.
pub fn quantile(values: &[f64], p: f64) -> Option<f64> {
    if values.is_empty() || !(0.0..=1.0).contains(&p) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = p * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = place.ceil() as usize;
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

/// Pearson's correlation of two equally long samples; none when either is constant or shorter than two.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "a correlation needs pairs");
    let (mean_x, mean_y) = (mean(x)?, mean(y)?);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (dx, dy) = (a - mean_x, b - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    let constant = |v: &[f64]| v.iter().all(|a| *a == v[0]);
    if constant(x) || constant(y) || xx == 0.0 || yy == 0.0 {
        return None;
    }
    // Rounding may carry a perfect correlation past the end of the scale.
    Some((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Spearman's correlation: Pearson's of the ranks, equal values sharing their mean rank.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// Kendall's tau-b, which corrects for ties; none when either sample is constant.
///
/// Compares every pair of places, so it takes n^2 / 2 steps: for thousands of values, not for millions.
pub fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "a correlation needs pairs");
    let (mut agreement, mut untied_x, mut untied_y) = (0i64, 0i64, 0i64);
    for i in 0..x.len() {
        for j in 0..i {
            let (sx, sy) = (sign(x[i] - x[j]), sign(y[i] - y[j]));
            agreement += sx * sy;
            untied_x += sx.abs();
            untied_y += sy.abs();
        }
    }
    if untied_x == 0 || untied_y == 0 {
        return None;
    }
    Some(agreement as f64 / ((untied_x as f64).sqrt() * (untied_y as f64).sqrt()))
}

/// Ranks from 1; equal values share the mean of their ranks.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &place in tied {
            ranks[place] = below as f64 + (tied.len() + 1) as f64 / 2.0;
        }
        below += tied.len();
    }
    ranks
}

fn sign(difference: f64) -> i64 {
    i64::from(difference > 0.0) - i64::from(difference < 0.0)
}

/// Counts in equally wide bins from `low` to `high`; the last bin holds `high` too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub low: f64,
    /// Upper edge of the last bin.
    pub high: f64,
    /// How many values fell into each bin.
    pub counts: Vec<usize>,
}

impl Histogram {
    /// The histogram of the finite values; equal values make one bin, no values none.
    pub fn of(values: &[f64], bins: usize) -> Self {
        let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
        let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if finite.is_empty() || bins == 0 {
            return Self {
                low: 0.0,
                high: 0.0,
                counts: Vec::new(),
            };
        }
        if low == high {
            return Self {
                low,
                high,
                counts: vec![finite.len()],
            };
        }
        let mut counts = vec![0; bins];
        for value in finite {
            let bin = ((value - low) / (high - low) * bins as f64) as usize;
            counts[bin.min(bins - 1)] += 1;
        }
        Self { low, high, counts }
    }

    /// Width of one bin; 0 when there is nothing to divide.
    pub fn bin_width(&self) -> f64 {
        (self.high - self.low) / self.counts.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// scipy's and numpy's numbers; tests/golden/statistics.py makes the file.
    fn golden() -> Value {
        serde_json::from_str(include_str!("../../tests/golden/statistics.json"))
            .expect("the golden file is JSON")
    }

    fn numbers(value: &Value) -> Vec<f64> {
        let list = value.as_array().expect("a list of numbers");
        list.iter().map(|v| v.as_f64().expect("a number")).collect()
    }

    fn close(ours: Option<f64>, theirs: &Value, name: &str) {
        let ours = ours.unwrap_or(f64::NAN);
        let theirs = theirs.as_f64().expect("a number");
        assert!(
            (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0),
            "{name}: {ours} is not {theirs}"
        );
    }

    #[test]
    fn moments_and_quantiles_are_numpys() {
        let golden = golden();
        for case in golden["samples"].as_array().expect("cases") {
            let x = numbers(&case["x"]);
            close(mean(&x), &case["mean"], "mean");
            close(deviation(&x), &case["std"], "std");
            close(median(&x), &case["median"], "median");
            for (p, theirs) in [(0.0, "q0"), (0.1, "q10"), (0.75, "q75"), (1.0, "q100")] {
                close(quantile(&x, p), &case[theirs], theirs);
            }
        }
    }

    #[test]
    fn correlations_are_scipys_with_and_without_ties() {
        let golden = golden();
        for case in golden["samples"].as_array().expect("cases") {
            let (x, y) = (numbers(&case["x"]), numbers(&case["y"]));
            close(pearson(&x, &y), &case["pearson"], "pearson");
            close(spearman(&x, &y), &case["spearman"], "spearman");
            close(kendall(&x, &y), &case["kendall"], "kendall");
            assert_eq!(ranks(&x), numbers(&case["ranks"]));
        }
    }

    #[test]
    fn what_does_not_exist_is_none() {
        assert_eq!(mean(&[]), None);
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1.0], 1.5), None);
        for correlation in [pearson, spearman, kendall] {
            assert_eq!(correlation(&[], &[]), None);
            assert_eq!(correlation(&[1.0], &[2.0]), None);
            assert_eq!(correlation(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]), None);
        }
    }

    #[test]
    fn a_histogram_loses_nothing_but_what_is_not_finite() {
        let histogram = Histogram::of(&[0.0, 0.1, 0.5, 1.0, f64::NAN], 2);
        assert_eq!(
            histogram,
            Histogram {
                low: 0.0,
                high: 1.0,
                counts: vec![2, 2]
            }
        );
        assert_eq!(histogram.bin_width(), 0.5);
        assert_eq!(Histogram::of(&[3.0, 3.0], 10).counts, vec![2]);
        assert_eq!(Histogram::of(&[], 10).counts, Vec::<usize>::new());
    }
}
