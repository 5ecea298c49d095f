//! How often a classifier is right, beside one that always says the same.

use super::statistics::{Interval, wilson};
use serde::{Deserialize, Serialize};

/// What a classifier said of labels that are 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Classified {
    /// Confidence of the interval, 0 to 1.
    pub confidence: f64,
    /// Labels that were said to be what they are, from 0 to 1. The boundary is a probability of 1/2; on it, half.
    pub accuracy: f64,
    /// Lower end of Wilson's interval.
    pub low: f64,
    /// Upper end of Wilson's interval.
    pub high: f64,
    /// The accuracy of always saying what is said of most.
    pub majority: f64,
    /// The probability that a right one is ranked above a wrong one, ties counting half (the area under the ROC curve); none
    /// where all labels are the same.
    pub auc: Option<f64>,
    /// Labels counted.
    pub labels: usize,
    /// Those that are 1.
    pub positive: usize,
    /// Labels between 0 and 1, which are not counted.
    pub undecided: usize,
}

impl Classified {
    /// From `[logit of 1, label]`. None without a label that is 0 or 1.
    pub fn of(said: &[(f64, f64)], confidence: f64) -> Option<Self> {
        let decided = |(_, label): &&(f64, f64)| *label == 0.0 || *label == 1.0;
        let counted: Vec<(f64, bool)> = said
            .iter()
            .filter(decided)
            .map(|(logit, label)| (*logit, *label == 1.0))
            .collect();
        if counted.is_empty() {
            return None;
        }
        let credit = |(logit, label): &(f64, bool)| match logit.partial_cmp(&0.0) {
            Some(std::cmp::Ordering::Equal) | None => 0.5,
            Some(side) => f64::from(u8::from(side.is_gt() == *label)),
        };
        let right: f64 = counted.iter().map(credit).sum();
        let labels = counted.len();
        let positive = counted.iter().filter(|(_, label)| *label).count();
        let Interval { low, high } = wilson(right, labels, confidence);
        Some(Self {
            confidence,
            accuracy: right / labels as f64,
            low,
            high,
            majority: positive.max(labels - positive) as f64 / labels as f64,
            auc: auc(counted),
            labels,
            positive,
            undecided: said.len() - labels,
        })
    }

    /// The report in a line.
    pub fn in_words(&self) -> String {
        let auc = self
            .auc
            .map_or("not defined, all labels are the same".to_owned(), |auc| {
                format!("{auc:.3}")
            });
        format!(
            "right on {:.1} % of {} held-out labels ({:.1} to {:.1}); always the same answer {:.1} %; AUC {auc}",
            100.0 * self.accuracy,
            self.labels,
            100.0 * self.low,
            100.0 * self.high,
            100.0 * self.majority,
        )
    }
}

/// Mann and Whitney's statistic over the number of pairs.
fn auc(mut said: Vec<(f64, bool)>) -> Option<f64> {
    said.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positive = said.iter().filter(|(_, label)| *label).count();
    let negative = said.len() - positive;
    if positive == 0 || negative == 0 {
        return None;
    }
    let (mut below, mut won) = (0.0, 0.0);
    for tied in said.chunk_by(|a, b| a.0 == b.0) {
        let good = tied.iter().filter(|(_, label)| *label).count() as f64;
        let bad = tied.len() as f64 - good;
        won += good * (below + bad / 2.0);
        below += bad;
    }
    Some(won / (positive as f64 * negative as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let said = [
            (2.0, 1.0),
            (1.0, 0.0),
            (1.0, 1.0),
            (-1.0, 0.0),
            (-2.0, 1.0),
            (0.3, 0.5),
        ];
        let found = Classified::of(&said, 0.95).expect("labels");
        // Of 3 x 2 pairs: 2.0 wins both, 1.0 ties one and wins one, -2.0 none.
        assert!((found.auc.expect("two classes") - 3.5 / 6.0).abs() < 1e-12);
        assert!((found.accuracy - 3.0 / 5.0).abs() < 1e-12);
        assert_eq!(
            (
                found.majority,
                found.labels,
                found.positive,
                found.undecided
            ),
            (0.6, 5, 3, 1)
        );
    }

    #[test]
    fn one_class_has_no_area_and_nothing_no_report() {
        let found = Classified::of(&[(1.0, 1.0), (2.0, 1.0)], 0.95).expect("labels");
        assert_eq!((found.auc, found.majority), (None, 1.0));
        assert_eq!(Classified::of(&[(1.0, 0.5)], 0.95), None);
    }
}
