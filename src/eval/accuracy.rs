//! How often a judge prefers what the data prefer.
//!
//! An accuracy means little alone: on some sets a judge that only counts length is right two times out
//! of three. So every report carries that baseline and a seeded coin beside it.

use super::bias::{LengthBias, PositionBias};
use super::statistics::{Difference, Interval, RESAMPLES, paired_bootstrap, wilson};
use crate::data::Key;
use crate::error::{Error, Result};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A pair with the scores of its two responses, any scale, higher is better.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredPair {
    /// The row's id: errors name it, the coin is keyed by it.
    pub id: String,
    /// The part of the set it belongs to, where the set has parts.
    pub subset: Option<String>,
    /// Score of the preferred response.
    pub chosen_score: f64,
    /// Score of the other one.
    pub rejected_score: f64,
    /// Characters of the preferred response.
    pub chosen_chars: usize,
    /// Characters of the other one.
    pub rejected_chars: usize,
}

/// The share of pairs put in the right order, a tie counting half.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// From 0 to 1.
    pub accuracy: f64,
    /// Lower end of Wilson's interval.
    pub low: f64,
    /// Upper end of Wilson's interval.
    pub high: f64,
    /// Pairs counted.
    pub pairs: usize,
    /// Pairs whose two scores are equal. All of them: the judge says nothing.
    pub ties: usize,
}

impl Accuracy {
    /// From the credit of each pair: 1 right, 0.5 tie, 0 wrong. None without pairs.
    pub fn of(credits: &[f64], confidence: f64) -> Option<Self> {
        let pairs = credits.len();
        let right: f64 = credits.iter().sum();
        let Interval { low, high } = wilson(right, pairs, confidence);
        (pairs > 0).then(|| Self {
            accuracy: right / pairs as f64,
            low,
            high,
            pairs,
            ties: credits.iter().filter(|c| **c == 0.5).count(),
        })
    }

    /// Whether the whole interval lies above 50 %.
    pub fn beats_chance(&self) -> bool {
        self.low > 0.5
    }
}

/// A judge's accuracy with its baselines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccuracyReport {
    /// Confidence of every interval, 0 to 1.
    pub confidence: f64,
    /// The judge.
    pub judge: Accuracy,
    /// The baseline that always prefers the longer response.
    pub length_only: Accuracy,
    /// The baseline that tosses a coin for each pair.
    pub random: Accuracy,
    /// The judge's percentile bootstrap interval, beside Wilson's: it asks for no formula, only for pairs drawn again.
    #[serde(default)]
    pub bootstrap: Option<Interval>,
    /// The judge on each subset, where the set has them.
    pub subsets: BTreeMap<String, Accuracy>,
    /// What the length has to do with it.
    #[serde(default)]
    pub length: LengthBias,
    /// Of a judge that is shown both responses at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionBias>,
}

impl AccuracyReport {
    /// Measures `pairs`, with intervals of that `confidence` (0.95). No pair, or a score that is not finite, is an error.
    pub fn of(pairs: &[ScoredPair], confidence: f64, seed: u64) -> Result<Self> {
        if let Some(broken) = pairs
            .iter()
            .find(|p| !p.chosen_score.is_finite() || !p.rejected_score.is_finite())
        {
            let (chosen, rejected) = (broken.chosen_score, broken.rejected_score);
            return Err(Error::data(format!(
                "pair `{}` has scores {chosen} and {rejected}",
                broken.id
            ))
            .hint(
                "a judge that gives NaN is broken: train it again, or take an earlier checkpoint",
            ));
        }
        let coin = Key::new(seed).fold("accuracy/random");
        let over_all = |credit: &dyn Fn(&ScoredPair) -> f64| {
            Accuracy::of(&pairs.iter().map(credit).collect::<Vec<f64>>(), confidence).ok_or_else(
                || {
                    Error::data("there are no pairs to measure")
                        .hint("check the file: `duel data check FILE`")
                },
            )
        };
        Ok(Self {
            confidence,
            judge: over_all(&judged)?,
            length_only: over_all(&|p| credit(p.chosen_chars as f64, p.rejected_chars as f64))?,
            random: over_all(&|p| f64::from(u8::from(coin.fold(&p.id).rng().random::<bool>())))?,
            bootstrap: bootstrap(pairs, confidence, seed),
            subsets: by_subset(pairs, confidence),
            length: LengthBias::of(pairs, confidence),
            position: None,
        })
    }

    /// Each subset's accuracy by name, as RewardBench's sections want it.
    pub fn subset_accuracies(&self) -> BTreeMap<&str, f64> {
        self.subsets
            .iter()
            .map(|(name, a)| (name.as_str(), a.accuracy))
            .collect()
    }
}

fn bootstrap(pairs: &[ScoredPair], confidence: f64, seed: u64) -> Option<Interval> {
    let credits: Vec<f64> = pairs.iter().map(judged).collect();
    let nothing = vec![0.0; credits.len()];
    let key = Key::new(seed).fold("accuracy");
    let found = paired_bootstrap(&credits, &nothing, RESAMPLES, confidence, key)?;
    let Difference { low, high, .. } = found;
    Some(Interval { low, high })
}

fn by_subset(pairs: &[ScoredPair], confidence: f64) -> BTreeMap<String, Accuracy> {
    let mut credits: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for pair in pairs {
        if let Some(subset) = &pair.subset {
            credits.entry(subset).or_default().push(judged(pair));
        }
    }
    let measured = credits
        .into_iter()
        .filter_map(|(name, c)| Some((name.to_string(), Accuracy::of(&c, confidence)?)));
    measured.collect()
}

/// What a pair counts: see [`credit`].
pub(super) fn judged(pair: &ScoredPair) -> f64 {
    credit(pair.chosen_score, pair.rejected_score)
}

/// 1 when the chosen one is ahead, 0.5 when they are level, 0 when it is behind.
pub(super) fn credit(chosen: f64, rejected: f64) -> f64 {
    if chosen == rejected {
        0.5
    } else {
        f64::from(u8::from(chosen > rejected))
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::CONFIDENCE;
    use super::*;

    fn pair(
        id: usize,
        chosen: f64,
        rejected: f64,
        chars: (usize, usize),
        subset: &str,
    ) -> ScoredPair {
        ScoredPair {
            id: id.to_string(),
            subset: (!subset.is_empty()).then(|| subset.to_string()),
            chosen_score: chosen,
            rejected_score: rejected,
            chosen_chars: chars.0,
            rejected_chars: chars.1,
        }
    }

    #[test]
    fn ties_count_half_and_baselines_stand_beside() {
        let pairs = [
            pair(0, 2.0, 1.0, (10, 5), "a"),
            pair(1, 1.0, 1.0, (10, 5), "a"),
            pair(2, 0.0, 1.0, (5, 5), "b"),
            pair(3, 3.0, 1.0, (1, 5), ""),
        ];
        let report = AccuracyReport::of(&pairs, CONFIDENCE, 0).expect("four pairs");
        assert_eq!(
            (report.judge.accuracy, report.judge.pairs, report.judge.ties),
            (0.625, 4, 1)
        );
        assert_eq!(
            (report.length_only.accuracy, report.length_only.ties),
            (0.625, 1)
        );
        assert_eq!(
            report.subset_accuracies(),
            BTreeMap::from([("a", 0.75), ("b", 0.0)])
        );
        assert!(report.judge.low < 0.625 && 0.625 < report.judge.high);
        let drawn = report.bootstrap.expect("four pairs");
        assert!(0.0 <= drawn.low && drawn.low < 0.625 && 0.625 < drawn.high && drawn.high <= 1.0);
    }

    /// A judge that scores everything equal gets exactly one half, not nought and not one.
    #[test]
    fn a_judge_that_says_nothing_is_at_one_half() {
        let pairs: Vec<_> = (0..100).map(|i| pair(i, 0.7, 0.7, (i, 3), "")).collect();
        let judge = AccuracyReport::of(&pairs, CONFIDENCE, 0)
            .expect("pairs")
            .judge;
        assert_eq!((judge.accuracy, judge.ties), (0.5, 100));
        assert!(!judge.beats_chance());
    }

    #[test]
    fn the_coin_is_seeded_fair_and_blind_to_order() {
        let pairs: Vec<_> = (0..2000).map(|i| pair(i, 1.0, 0.0, (1, 1), "")).collect();
        let toss = |pairs: &[ScoredPair], seed| {
            AccuracyReport::of(pairs, CONFIDENCE, seed)
                .expect("pairs")
                .random
        };
        let reversed: Vec<_> = pairs.iter().rev().cloned().collect();
        assert_eq!(toss(&pairs, 1), toss(&reversed, 1));
        assert_ne!(toss(&pairs, 1), toss(&pairs, 2));
        assert!((toss(&pairs, 1).accuracy - 0.5).abs() < 0.04);
        assert!(
            AccuracyReport::of(&pairs, CONFIDENCE, 1)
                .expect("pairs")
                .judge
                .beats_chance()
        );
    }

    #[test]
    fn nan_names_the_pair_and_nothing_is_an_error() {
        let error = AccuracyReport::of(&[pair(9, f64::NAN, 0.0, (1, 1), "")], CONFIDENCE, 0)
            .expect_err("NaN");
        assert_eq!(error.message, "pair `9` has scores NaN and 0");
        assert!(AccuracyReport::of(&[], CONFIDENCE, 0).is_err());
    }
}
