//! From a sample to what it says about the rest: intervals, and how far best-of-n can move a model.

use crate::data::{Key, summary};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The confidence of intervals where nobody asks for another.
pub const CONFIDENCE: f64 = 0.95;

/// How often a bootstrap draws, where nobody says otherwise.
pub const RESAMPLES: usize = 10_000;

/// A range that holds the true value with a stated confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` is ruled out: it lies outside, the ends belong to the interval.
    pub fn excludes(&self, value: f64) -> bool {
        value < self.low || value > self.high
    }
}

/// Wilson's score interval of a proportion (E. B. Wilson, 1927). A tie counts half a win, so `wins` need
/// not be whole. Nothing tried: the whole range from 0 to 1.
pub fn wilson(wins: f64, trials: usize, confidence: f64) -> Interval {
    if trials == 0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let n = trials as f64;
    let z = normal_quantile(0.5 + confidence / 2.0);
    let p = wins / n;
    let shrink = 1.0 + z * z / n;
    let middle = (p + z * z / (2.0 * n)) / shrink;
    let half = z / shrink * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Interval {
        low: (middle - half).max(0.0),
        high: (middle + half).min(1.0),
    }
}

/// A mean difference between two paired samples, with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean of `a - b`.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The mean of `a[i] - b[i]` with a percentile bootstrap interval (Efron, 1979): prompts are drawn with
/// replacement, each keeps its two values. The same key gives the same interval. None of an empty sample.
pub fn paired_bootstrap(
    a: &[f64],
    b: &[f64],
    resamples: usize,
    confidence: f64,
    key: Key,
) -> Option<Difference> {
    assert_eq!(a.len(), b.len(), "a paired bootstrap needs pairs");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let mean = summary::mean(&differences)?;
    let mut rng = key.fold("bootstrap").rng();
    let n = differences.len();
    let means: Vec<f64> = (0..resamples.max(1))
        .map(|_| {
            (0..n)
                .map(|_| differences[rng.random_range(0..n)])
                .sum::<f64>()
                / n as f64
        })
        .collect();
    let tail = (1.0 - confidence) / 2.0;
    Some(Difference {
        mean,
        low: summary::quantile(&means, tail)?,
        high: summary::quantile(&means, 1.0 - tail)?,
    })
}

/// McNemar's exact test (1947): where two judges differ on `a_only + b_only` pairs, how likely a split at least as
/// uneven is if neither is the better one. Two-sided, from the binomial with p = 1/2; 1 where they never differ.
pub fn mcnemar(a_only: usize, b_only: usize) -> f64 {
    let n = a_only + b_only;
    let fewer = a_only.min(b_only);
    // ln of C(n, k) / 2^n: the probability itself underflows beyond a thousand pairs.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for k in 0..=fewer {
        tail += term.exp();
        term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

/// The most that picking the best of `n` samples can move a policy: KL(best-of-n || base) is at most
/// `ln n - (n - 1) / n` nats, and reaches it when no two samples tie.
pub fn best_of_n_kl(n: usize) -> f64 {
    let n = n.max(1) as f64;
    n.ln() - (n - 1.0) / n
}

/// The standard normal quantile by Wichura's algorithm AS 241 (1988), good to about 16 digits.
///
/// Infinite at 0 and 1, NaN outside.
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let from_half = p - 0.5;
    if from_half.abs() <= 0.425 {
        let r = 0.180625 - from_half * from_half;
        return from_half * ratio(&CENTRE, r);
    }
    let tail = p.min(1.0 - p);
    if tail == 0.0 {
        return if from_half < 0.0 {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
    }
    let r = (-tail.ln()).sqrt();
    let z = if r <= 5.0 {
        ratio(&SHOULDER, r - 1.6)
    } else {
        ratio(&TAIL, r - 5.0)
    };
    z.copysign(from_half)
}

/// Numerator and denominator of a rational function, lowest power first.
type Rational = [[f64; 8]; 2];

fn ratio([above, below]: &Rational, x: f64) -> f64 {
    let horner =
        |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c);
    horner(above) / horner(below)
}

/// |p - 0.5| up to 0.425.
const CENTRE: Rational = [
    [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ],
];

/// Tails down to about 1e-11.
const SHOULDER: Rational = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
];

/// Tails beyond.
const TAIL: Rational = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// scipy's numbers; tests/golden/statistics.py makes the file.
    fn golden() -> Value {
        serde_json::from_str(include_str!("../../tests/golden/statistics.json"))
            .expect("the golden file is JSON")
    }

    fn number(value: &Value) -> f64 {
        value.as_f64().expect("a number")
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value
            .as_array()
            .expect("a list")
            .iter()
            .map(number)
            .collect()
    }

    #[test]
    fn the_normal_quantile_is_scipys() {
        for case in golden()["normal_quantile"].as_array().expect("cases") {
            let (ours, theirs) = (normal_quantile(number(&case["p"])), number(&case["z"]));
            assert!(
                (ours - theirs).abs() <= 1e-13 * theirs.abs().max(1.0),
                "{case}: {ours}"
            );
        }
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        assert!(normal_quantile(1.1).is_nan());
    }

    #[test]
    fn wilson_is_scipys_and_takes_half_wins() {
        for case in golden()["wilson"].as_array().expect("cases") {
            let trials = case["trials"].as_u64().expect("a count") as usize;
            let ours = wilson(number(&case["wins"]), trials, number(&case["confidence"]));
            assert!(
                (ours.low - number(&case["low"])).abs() < 1e-12,
                "{case}: {ours:?}"
            );
            assert!(
                (ours.high - number(&case["high"])).abs() < 1e-12,
                "{case}: {ours:?}"
            );
        }
        assert_eq!(
            wilson(0.0, 0, 0.95),
            Interval {
                low: 0.0,
                high: 1.0
            }
        );
    }

    #[test]
    fn an_interval_excludes_what_lies_outside() {
        let interval = wilson(61.0, 100, CONFIDENCE);
        assert!(interval.excludes(0.5));
        assert!(!interval.excludes(0.6));
        assert!(!interval.excludes(interval.low));
    }

    #[test]
    fn the_bootstrap_agrees_with_scipys_within_its_noise() {
        let golden = golden();
        let case = &golden["bootstrap"];
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let ours =
            paired_bootstrap(&a, &b, RESAMPLES, CONFIDENCE, Key::new(1)).expect("sixty pairs");
        assert!((ours.mean - number(&case["difference"])).abs() < 1e-12);
        assert!((ours.low - number(&case["low"])).abs() < 0.02, "{ours:?}");
        assert!((ours.high - number(&case["high"])).abs() < 0.02, "{ours:?}");
    }

    #[test]
    fn the_bootstrap_is_seeded_and_paired() {
        let a = [1.0, 5.0, 2.0, 8.0];
        let b = [0.5, 4.5, 1.5, 7.5];
        let draw = |seed| paired_bootstrap(&a, &b, 100, CONFIDENCE, Key::new(seed));
        assert_eq!(draw(3), draw(3));
        // Every pair differs by the same 0.5, so pairing leaves nothing uncertain.
        assert_eq!(
            draw(3),
            Some(Difference {
                mean: 0.5,
                low: 0.5,
                high: 0.5
            })
        );
        assert_eq!(
            paired_bootstrap(&[], &[], 100, CONFIDENCE, Key::new(3)),
            None
        );
    }

    #[test]
    fn mcnemar_is_scipys_binomial_test() {
        for case in golden()["mcnemar"].as_array().expect("cases") {
            let count = |name: &str| case[name].as_u64().expect("a count") as usize;
            let (a, b) = (count("a_only"), count("b_only"));
            let (ours, theirs) = (mcnemar(a, b), number(&case["p"]));
            assert!((ours - theirs).abs() <= 1e-9 * theirs, "{case}: {ours}");
            assert_eq!(ours, mcnemar(b, a));
        }
    }

    /// R16 with the numbers of F28.
    #[test]
    fn best_of_n_moves_at_most_ln_n_minus_n_minus_1_over_n() {
        for (n, nats) in [(1, 0.0), (4, 0.6363), (8, 1.2044), (16, 1.8351)] {
            assert!((best_of_n_kl(n) - nats).abs() < 5e-5, "{n}");
        }
    }
}
