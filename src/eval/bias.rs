//! What a judge goes by beside the response: its length, its place.

use super::accuracy::{Accuracy, ScoredPair, credit, judged};
use crate::data::summary::{pearson, spearman};
use crate::judge::{BothOrders, Places};
use serde::{Deserialize, Serialize};

/// How a judge's scores follow the length of what it judges (the table of "ODIN", Chen et al. 2024).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LengthBias {
    /// Pearson's correlation of score and characters over all responses; none where one of them is constant.
    pub pearson: Option<f64>,
    /// Spearman's.
    pub spearman: Option<f64>,
    /// The judge where the chosen response is the longer one.
    pub chosen_longer: Option<Accuracy>,
    /// The judge where the rejected response is the longer one: what a judge of length gets wrong.
    pub rejected_longer: Option<Accuracy>,
}

impl LengthBias {
    /// Of finite scores.
    pub(super) fn of(pairs: &[ScoredPair], confidence: f64) -> Self {
        let both =
            |of: fn(&ScoredPair) -> [f64; 2]| -> Vec<f64> { pairs.iter().flat_map(of).collect() };
        let scores = both(|p| [p.chosen_score, p.rejected_score]);
        let lengths = both(|p| [p.chosen_chars as f64, p.rejected_chars as f64]);
        let part = |wanted: fn(&ScoredPair) -> bool| {
            let credits: Vec<f64> = pairs.iter().filter(|p| wanted(p)).map(judged).collect();
            Accuracy::of(&credits, confidence)
        };
        Self {
            pearson: pearson(&scores, &lengths),
            spearman: spearman(&scores, &lengths),
            chosen_longer: part(|p| p.chosen_chars > p.rejected_chars),
            rejected_longer: part(|p| p.chosen_chars < p.rejected_chars),
        }
    }
}

/// How much a judge that sees two responses at once goes by their places.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PositionBias {
    /// The mean probability of the first place over both orders; 0.5 of a judge that does not care.
    pub first_place: f64,
    /// The share of pairs whose better response is another one in the other order.
    pub turned_over: f64,
    /// The share put in the right order in one order alone, in the mean of the two: what asking twice is measured against.
    pub one_order: f64,
}

impl PositionBias {
    /// From the probability of the first place with the chosen response there, and with the rejected one there. None
    /// without pairs.
    pub fn of(both: &[[f64; 2]]) -> Option<Self> {
        let mut places = Places::default();
        let mut right = 0.0;
        for &[given, turned] in both {
            places.count(BothOrders { given, turned });
            right += (credit(given, 0.5) + credit(0.5, turned)) / 2.0;
        }
        Some(Self {
            first_place: places.first_place()?,
            turned_over: places.turned_over()?,
            one_order: right / both.len() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_told_from_the_response() {
        assert_eq!(PositionBias::of(&[]), None);
        // The first judge names the right response in both orders, the second one always the first place.
        let of = |both: [f64; 2]| PositionBias::of(&[both]).expect("a pair");
        let (fair, lazy) = (of([0.75, 0.25]), of([0.75, 0.75]));
        let parts = |b: PositionBias| [b.first_place, b.turned_over, b.one_order];
        assert_eq!(parts(fair), [0.5, 0.0, 1.0]);
        assert_eq!(parts(lazy), [0.75, 1.0, 0.5]);
    }

    #[test]
    fn a_judge_of_length_is_right_where_the_chosen_one_is_longer_and_nowhere_else() {
        let pair = |chosen_chars: usize, rejected_chars: usize| ScoredPair {
            id: String::new(),
            subset: None,
            chosen_score: chosen_chars as f64,
            rejected_score: rejected_chars as f64,
            chosen_chars,
            rejected_chars,
        };
        let bias = LengthBias::of(&[pair(9, 2), pair(3, 8), pair(7, 1)], 0.95);
        let parts = [bias.chosen_longer, bias.rejected_longer].map(|part| part.expect("pairs"));
        assert_eq!(
            parts.map(|part| (part.accuracy, part.pairs)),
            [(1.0, 2), (0.0, 1)]
        );
        for rho in [bias.pearson, bias.spearman] {
            assert!((rho.expect("no constant") - 1.0).abs() < 1e-12);
        }
        assert_eq!(LengthBias::of(&[], 0.95), LengthBias::default());
    }
}
