//! Two judges on the same pairs: which of them is right more often, and whether that can be chance.

use super::accuracy::{Accuracy, ScoredPair, judged};
use super::statistics::{Difference, RESAMPLES, mcnemar, paired_bootstrap};
use crate::data::Key;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Two judges' accuracies on the pairs that both judged, and what their difference is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TwoJudges {
    /// Confidence of every interval, 0 to 1.
    pub confidence: f64,
    /// The first judge.
    pub first: Accuracy,
    /// The second.
    pub second: Accuracy,
    /// Pairs on which the first has more credit: right where the other is level or wrong, level where it is wrong.
    pub first_only: usize,
    /// Pairs on which the second has more.
    pub second_only: usize,
    /// [`mcnemar`] of those two numbers. Without ties it is McNemar's exact test; with ties, the sign test, of which
    /// McNemar's is the case without.
    pub p_value: f64,
    /// The first's accuracy less the second's, with its paired bootstrap interval.
    pub difference: Difference,
    /// Pairs that only one of them judged.
    pub left_out: usize,
}

impl TwoJudges {
    /// Compares on the pairs of equal ids. No such pair is an error.
    pub fn of(
        first: &[ScoredPair],
        second: &[ScoredPair],
        confidence: f64,
        seed: u64,
    ) -> Result<Self> {
        let known: HashMap<&str, &ScoredPair> = second.iter().map(|p| (p.id.as_str(), p)).collect();
        let both = first
            .iter()
            .filter_map(|p| Some((judged(p), judged(known.get(p.id.as_str())?))));
        let (a, b): (Vec<f64>, Vec<f64>) = both.unzip();
        let nothing = || Error::data("the two judges have no pair in common");
        let accuracy = |credits| Accuracy::of(credits, confidence).ok_or_else(nothing);
        let ahead = |x: &[f64], y: &[f64]| x.iter().zip(y).filter(|(x, y)| x > y).count();
        let (first_only, second_only) = (ahead(&a, &b), ahead(&b, &a));
        let key = Key::new(seed).fold("two judges");
        let difference = paired_bootstrap(&a, &b, RESAMPLES, confidence, key);
        Ok(Self {
            confidence,
            first: accuracy(&a)?,
            second: accuracy(&b)?,
            first_only,
            second_only,
            p_value: mcnemar(first_only, second_only),
            difference: difference.ok_or_else(nothing)?,
            left_out: first.len() + second.len() - 2 * a.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::CONFIDENCE;
    use super::*;

    fn pairs(credits: &[f64]) -> Vec<ScoredPair> {
        let pair = |(i, credit): (usize, &f64)| ScoredPair {
            id: i.to_string(),
            subset: None,
            chosen_score: *credit,
            rejected_score: 1.0 - credit,
            chosen_chars: 1,
            rejected_chars: 1,
        };
        credits.iter().enumerate().map(pair).collect()
    }

    /// 10 against 3 pairs: scipy's `binomtest(3, 13)` says 0.0923.
    #[test]
    fn only_the_pairs_that_tell_them_apart_count() {
        let a = [vec![1.0; 30], vec![1.0; 10], vec![0.0; 3]].concat();
        let b = [vec![1.0; 30], vec![0.0; 10], vec![1.0; 3]].concat();
        let found = TwoJudges::of(&pairs(&a), &pairs(&b), CONFIDENCE, 0).expect("pairs");
        assert_eq!((found.first_only, found.second_only), (10, 3));
        assert!((found.p_value - 0.0923).abs() < 5e-5, "{found:?}");
        assert!((found.difference.mean - 7.0 / 43.0).abs() < 1e-12);
        assert!(found.difference.low <= found.difference.mean);
        let turned = TwoJudges::of(&pairs(&b), &pairs(&a), CONFIDENCE, 0).expect("pairs");
        assert_eq!(turned.p_value, found.p_value);
    }

    /// A judge against itself can never be the better one; half a credit is less than a whole one.
    #[test]
    fn a_judge_is_no_better_than_itself_and_a_tie_is_half() {
        let a = pairs(&[1.0, 0.5, 0.0]);
        let same = TwoJudges::of(&a, &a, CONFIDENCE, 0).expect("pairs");
        assert_eq!((same.p_value, same.difference.mean), (1.0, 0.0));
        let found = TwoJudges::of(&a, &pairs(&[1.0, 1.0, 0.5]), CONFIDENCE, 0).expect("pairs");
        assert_eq!((found.first_only, found.second_only), (0, 2));
    }

    #[test]
    fn pairs_of_one_judge_alone_are_counted_and_none_in_common_is_an_error() {
        let found = TwoJudges::of(&pairs(&[1.0; 5]), &pairs(&[1.0; 3]), CONFIDENCE, 0);
        assert_eq!(found.expect("three pairs").left_out, 2);
        assert!(TwoJudges::of(&pairs(&[1.0]), &[], CONFIDENCE, 0).is_err());
    }
}
