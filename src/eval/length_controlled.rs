//! The win rate that there would be if all responses were equally long ("Length-Controlled AlpacaEval", Dubois et al. 2024).
//!
//! AlpacaEval 2 models whether a judge prefers model m to the baseline b on prompt x as
//!
//! `logit P = (theta_m - theta_b) + phi * tanh((chars_m - chars_b) / std) + (psi_m - psi_b) * gamma_x`
//!
//! and reports the mean of P with the middle term left out. Here are its first two terms. The third, the difficulty
//! `gamma_x` of a prompt, is fitted there over all models of the leaderboard; from the verdicts on one pair of models it
//! cannot be told apart from chance, and with it left out the controlled rate is `1 / (1 + exp(-theta))`.
//!
//! `phi` alone is held back by `phi^2 / 2`, as sklearn's `LogisticRegression(C=1)` does and leaves the intercept free: a
//! policy that wins exactly where it is longer would else have no finite `phi`. The prompts' verdicts are wins 1, ties 1/2
//! and losses 0; `std` is that of the differences, over n - 1, as in pandas.

use crate::data::{Key, summary};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// How often the fit is drawn again for the interval.
const RESAMPLES: usize = 1000;

/// One prompt: who won, and by how much its response is longer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bout {
    /// What A gets: 1, 1/2 or 0.
    pub credit: f64,
    /// Characters of A's response less those of B's; of several responses, the means.
    pub longer: f64,
}

/// A's win rate at equal length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthControlled {
    /// From 0 to 1.
    pub win_rate: f64,
    /// Lower end of its percentile bootstrap interval: prompts are drawn again, and the model is fitted again.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// `phi`: above 0 where the longer response wins.
    pub length_weight: f64,
}

impl LengthControlled {
    /// From finite differences. None without bouts.
    pub fn of(bouts: &[Bout], confidence: f64, seed: u64) -> Option<Self> {
        let [theta, length_weight] = fitted(bouts)?;
        let mut rng = Key::new(seed).fold("length controlled").rng();
        let mut drawn = Vec::with_capacity(bouts.len());
        let again = |_| {
            drawn.clear();
            drawn.extend((0..bouts.len()).map(|_| bouts[rng.random_range(0..bouts.len())]));
            fitted(&drawn).map(|[theta, _]| logistic(theta))
        };
        let rates: Vec<f64> = (0..RESAMPLES).filter_map(again).collect();
        let tail = (1.0 - confidence) / 2.0;
        Some(Self {
            win_rate: logistic(theta),
            low: summary::quantile(&rates, tail)?,
            high: summary::quantile(&rates, 1.0 - tail)?,
            length_weight,
        })
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `theta` and `phi` at the least loss, by Newton's method. Where all are won or all are lost, `theta` is infinite and
/// length explains nothing.
fn fitted(bouts: &[Bout]) -> Option<[f64; 2]> {
    let credits: Vec<f64> = bouts.iter().map(|bout| bout.credit).collect();
    let rate = summary::mean(&credits)?;
    if rate == 0.0 || rate == 1.0 {
        return Some([
            if rate == 0.0 {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            },
            0.0,
        ]);
    }
    let lengths = squashed(bouts);
    let mut at = [(rate / (1.0 - rate)).ln(), 0.0];
    let mut loss = penalised(&lengths, &credits, at);
    for _ in 0..100 {
        let step = newton(&lengths, &credits, at);
        // Far from the least the full step may lead uphill: it is halved until it does not.
        let mut size = 1.0;
        let (next, lower) = loop {
            let next = [at[0] - size * step[0], at[1] - size * step[1]];
            let lower = penalised(&lengths, &credits, next);
            if lower <= loss || size < 1e-9 {
                break (next, lower);
            }
            size /= 2.0;
        };
        (at, loss) = (next, lower);
        if step.iter().all(|s| s.abs() < 1e-12) {
            break;
        }
    }
    Some(at)
}

/// `tanh` of the differences of length in units of their standard deviation.
fn squashed(bouts: &[Bout]) -> Vec<f64> {
    let n = bouts.len() as f64;
    let mean = bouts.iter().map(|bout| bout.longer).sum::<f64>() / n;
    let squares: f64 = bouts.iter().map(|bout| (bout.longer - mean).powi(2)).sum();
    let std = (squares / (n - 1.0)).sqrt();
    // Differences that are all the same cannot be told from theta.
    match std > 0.0 {
        true => bouts
            .iter()
            .map(|bout| (bout.longer / std).tanh())
            .collect(),
        false => vec![0.0; bouts.len()],
    }
}

/// Cross-entropy of the credits, and the penalty.
fn penalised(lengths: &[f64], credits: &[f64], [theta, phi]: [f64; 2]) -> f64 {
    let each = lengths.iter().zip(credits).map(|(length, credit)| {
        let logit = theta + phi * length;
        // -c log P - (1 - c) log (1 - P), without overflow.
        logit.max(0.0) + (-logit.abs()).exp().ln_1p() - credit * logit
    });
    each.sum::<f64>() + phi * phi / 2.0
}

/// The inverse of the Hessian times the gradient.
fn newton(lengths: &[f64], credits: &[f64], [theta, phi]: [f64; 2]) -> [f64; 2] {
    let mut gradient = [0.0, phi];
    let [mut a, mut b, mut c] = [0.0, 0.0, 1.0];
    for (length, credit) in lengths.iter().zip(credits) {
        let p = logistic(theta + phi * length);
        let (off, curve) = (p - credit, p * (1.0 - p));
        gradient[0] += off;
        gradient[1] += off * length;
        a += curve;
        b += curve * length;
        c += curve * length * length;
    }
    let determinant = a * c - b * b;
    if determinant <= 0.0 {
        return [0.0, 0.0];
    }
    [
        (c * gradient[0] - b * gradient[1]) / determinant,
        (a * gradient[1] - b * gradient[0]) / determinant,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::statistics::CONFIDENCE;
    use super::*;
    use serde_json::Value;

    fn bouts(credits: &[f64], longer: &[f64]) -> Vec<Bout> {
        let bout = |(&credit, &longer): (&f64, &f64)| Bout { credit, longer };
        credits.iter().zip(longer).map(bout).collect()
    }

    #[test]
    fn the_fit_is_sklearns() {
        let text = include_str!("../../tests/golden/length_controlled.json");
        let golden: Value = serde_json::from_str(text).expect("the golden file is JSON");
        for case in golden.as_array().expect("cases") {
            let list = |name: &str| -> Vec<f64> {
                let items = case[name].as_array().expect("a list").iter();
                items.map(|v| v.as_f64().expect("a number")).collect()
            };
            let [theta, phi] = fitted(&bouts(&list("credits"), &list("longer"))).expect("bouts");
            for (ours, name) in [
                (theta, "theta"),
                (phi, "phi"),
                (logistic(theta), "win_rate"),
            ] {
                let theirs = case[name].as_f64().expect("a number");
                assert!(
                    (ours - theirs).abs() < 1e-6,
                    "{name}: {ours}, sklearn {theirs}"
                );
            }
        }
    }

    /// A wins exactly where it is the longer one, on seven of ten prompts: at equal length it is hardly ahead.
    #[test]
    fn what_length_explains_is_taken_off() {
        let longer: Vec<f64> = (0..100)
            .map(|i| {
                if i % 10 < 7 {
                    50.0 + i as f64
                } else {
                    -60.0 - i as f64
                }
            })
            .collect();
        let credits: Vec<f64> = longer
            .iter()
            .map(|l| f64::from(u8::from(*l > 0.0)))
            .collect();
        let found = LengthControlled::of(&bouts(&credits, &longer), CONFIDENCE, 0).expect("bouts");
        assert!(found.length_weight > 1.0, "{found:?}");
        assert!((found.win_rate - 0.5).abs() < 0.15, "{found:?}");
        assert!(found.low <= found.win_rate && found.win_rate <= found.high);
    }

    /// Where length has nothing to do with it, nothing is taken off.
    #[test]
    fn without_a_difference_of_length_it_is_the_plain_rate() {
        let credits = [1.0, 1.0, 0.5, 0.0];
        for longer in [[0.0; 4], [30.0; 4]] {
            let found =
                LengthControlled::of(&bouts(&credits, &longer), CONFIDENCE, 0).expect("bouts");
            assert!((found.win_rate - 0.625).abs() < 1e-9, "{found:?}");
        }
        let swept = LengthControlled::of(&bouts(&[1.0; 3], &[5.0, 1.0, 9.0]), CONFIDENCE, 0);
        assert_eq!(swept.expect("bouts").win_rate, 1.0);
        assert_eq!(LengthControlled::of(&[], CONFIDENCE, 0), None);
    }

    /// Swapping the models mirrors everything.
    #[test]
    fn a_against_b_mirrors_b_against_a() {
        let credits = [1.0, 0.0, 0.5, 1.0, 1.0, 0.0];
        let longer = [10.0, -40.0, 7.0, 80.0, -3.0, 12.0];
        let one = fitted(&bouts(&credits, &longer)).expect("bouts");
        let other = fitted(&bouts(&credits.map(|c| 1.0 - c), &longer.map(|l| -l))).expect("bouts");
        assert!((one[0] + other[0]).abs() < 1e-9 && (one[1] - other[1]).abs() < 1e-9);
    }
}
