//! Two models against each other, prompt by prompt.

use super::statistics::{Interval, RESAMPLES, paired_bootstrap, wilson};
use crate::data::{Key, summary};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How A did against B on one prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A is better.
    Win,
    /// Equal.
    Tie,
    /// B is better.
    Loss,
}

impl Verdict {
    /// From two finite scores, higher is better. Scores are f32, and so may be means of them: two that differ by no more than
    /// f32's rounding are equal, or 0.4 and 0.8 would lose against twice 0.6.
    pub fn of(a: f64, b: f64) -> Self {
        let rounding = f64::from(f32::EPSILON) * a.abs().max(b.abs());
        if (a - b).abs() <= rounding {
            Self::Tie
        } else if a > b {
            Self::Win
        } else {
            Self::Loss
        }
    }

    /// What it adds to the win rate: a tie is half a win.
    pub fn credit(self) -> f64 {
        match self {
            Self::Win => 1.0,
            Self::Tie => 0.5,
            Self::Loss => 0.0,
        }
    }
}

/// One judge's scores of both models' responses to one prompt: at least one each, not always as many.
#[derive(Debug, Clone, PartialEq)]
pub struct Matchup {
    /// The prompt's id: errors name it.
    pub id: String,
    /// Scores of A's samples.
    pub a: Vec<f64>,
    /// Scores of B's samples.
    pub b: Vec<f64>,
}

/// A's win rate against B over prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// Prompts where A's mean score is higher.
    pub wins: usize,
    /// Prompts where the means are equal.
    pub ties: usize,
    /// Prompts where B's mean score is higher.
    pub losses: usize,
    /// `(wins + ties / 2) / prompts`, from 0 to 1.
    pub win_rate: f64,
    /// Lower end of Wilson's interval.
    pub low: f64,
    /// Upper end of Wilson's interval.
    pub high: f64,
    /// Mean over the prompts of A's mean score less B's.
    pub difference: f64,
    /// Lower end of its bootstrap interval.
    pub difference_low: f64,
    /// Upper end of its bootstrap interval.
    pub difference_high: f64,
}

impl WinRate {
    /// Compares the mean scores on each prompt. The samples of a prompt are not independent, so a prompt
    /// counts once however many samples it has. The intervals have that `confidence` (0.95); the seed draws the
    /// bootstrap.
    ///
    /// No prompt, a prompt without samples, or a score that is not finite is an error.
    pub fn of(matchups: &[Matchup], confidence: f64, seed: u64) -> Result<Self> {
        let a = matchups
            .iter()
            .map(|m| prompt_mean(&m.id, &m.a))
            .collect::<Result<Vec<f64>>>()?;
        let b = matchups
            .iter()
            .map(|m| prompt_mean(&m.id, &m.b))
            .collect::<Result<Vec<f64>>>()?;
        let key = Key::new(seed).fold("winrate");
        let difference = paired_bootstrap(&a, &b, RESAMPLES, confidence, key).ok_or_else(|| {
            Error::data("there are no prompts to compare on")
                .hint("check the file: `duel data check FILE`")
        })?;
        let verdicts: Vec<Verdict> = a.iter().zip(&b).map(|(a, b)| Verdict::of(*a, *b)).collect();
        let count = |wanted| verdicts.iter().filter(|v| **v == wanted).count();
        let won: f64 = verdicts.iter().map(|v| v.credit()).sum();
        let Interval { low, high } = wilson(won, verdicts.len(), confidence);
        Ok(Self {
            wins: count(Verdict::Win),
            ties: count(Verdict::Tie),
            losses: count(Verdict::Loss),
            win_rate: won / verdicts.len() as f64,
            low,
            high,
            difference: difference.mean,
            difference_low: difference.low,
            difference_high: difference.high,
        })
    }

    /// Whether A is better beyond the interval: all of it lies above 50 %.
    pub fn excludes_chance(&self) -> bool {
        self.low > 0.5
    }
}

/// What A gets of each prompt with finite scores.
pub fn credits(matchups: &[Matchup]) -> impl Iterator<Item = f64> {
    let mean = |scores: &[f64]| summary::mean(scores).unwrap_or_default();
    matchups
        .iter()
        .map(move |m| Verdict::of(mean(&m.a), mean(&m.b)).credit())
}

fn prompt_mean(id: &str, scores: &[f64]) -> Result<f64> {
    if let Some(broken) = scores.iter().find(|s| !s.is_finite()) {
        return Err(
            Error::data(format!("prompt `{id}` has the score {broken}")).hint(
                "a judge that gives NaN is broken: train it again, or take an earlier checkpoint",
            ),
        );
    }
    summary::mean(scores).ok_or_else(|| {
        Error::data(format!("prompt `{id}` has no scored response"))
            .hint("generate and judge this file again")
    })
}

#[cfg(test)]
mod tests {
    use super::super::statistics::CONFIDENCE;
    use super::*;

    fn matchup(id: usize, a: &[f64], b: &[f64]) -> Matchup {
        Matchup {
            id: id.to_string(),
            a: a.to_vec(),
            b: b.to_vec(),
        }
    }

    #[test]
    fn means_of_rounded_scores_that_are_equal_tie() {
        let [low, middle, high] = [0.4f32, 0.6, 0.8].map(f64::from);
        let apart = f64::from(0.6f32.next_up().next_up());
        let pairs = [
            matchup(1, &[low, high], &[middle, middle]),
            matchup(2, &[apart], &[middle]),
        ];
        let found = WinRate::of(&pairs, CONFIDENCE, 0).expect("prompts");
        assert_eq!((found.ties, found.wins), (1, 1));
    }

    #[test]
    fn a_prompt_counts_once_by_its_mean() {
        let matchups = [
            matchup(0, &[1.0, 3.0], &[1.5]),      // 2.0 against 1.5
            matchup(1, &[0.0], &[0.0, 0.0]),      // level
            matchup(2, &[-1.0, 5.0], &[9.0]),     // 2 against 9
            matchup(3, &[4.0], &[1.0, 2.0, 3.0]), // 4 against 2
        ];
        let rate = WinRate::of(&matchups, CONFIDENCE, 0).expect("four prompts");
        assert_eq!((rate.wins, rate.ties, rate.losses), (2, 1, 1));
        assert_eq!(rate.win_rate, 0.625);
        assert!((rate.difference - (0.5 + 0.0 - 7.0 + 2.0) / 4.0).abs() < 1e-12);
        assert!(rate.difference_low <= rate.difference && rate.difference <= rate.difference_high);
        assert!(!rate.excludes_chance());
    }

    #[test]
    fn a_model_against_itself_is_at_one_half() {
        let matchups: Vec<_> = (0..50)
            .map(|i| matchup(i, &[i as f64], &[i as f64]))
            .collect();
        let rate = WinRate::of(&matchups, CONFIDENCE, 0).expect("fifty prompts");
        assert_eq!((rate.win_rate, rate.ties, rate.difference), (0.5, 50, 0.0));
        assert_eq!(Verdict::of(0.0, -0.0), Verdict::Tie);
    }

    /// Swapping the models mirrors everything.
    #[test]
    fn a_against_b_mirrors_b_against_a() {
        let forward: Vec<_> = (0..40)
            .map(|i| matchup(i, &[(i % 7) as f64], &[(i % 4) as f64]))
            .collect();
        let backward: Vec<_> = forward
            .iter()
            .map(|m| Matchup {
                id: m.id.clone(),
                a: m.b.clone(),
                b: m.a.clone(),
            })
            .collect();
        let (f, b) = (
            WinRate::of(&forward, CONFIDENCE, 0).expect("prompts"),
            WinRate::of(&backward, CONFIDENCE, 0).expect("prompts"),
        );
        assert_eq!((f.wins, f.losses), (b.losses, b.wins));
        assert!((f.low + b.high - 1.0).abs() < 1e-12);
        assert!((f.difference + b.difference).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let error =
            WinRate::of(&[matchup(3, &[f64::NAN], &[0.0])], CONFIDENCE, 0).expect_err("NaN");
        assert_eq!(error.message, "prompt `3` has the score NaN");
        assert!(WinRate::of(&[matchup(3, &[], &[0.0])], CONFIDENCE, 0).is_err());
        assert!(WinRate::of(&[], CONFIDENCE, 0).is_err());
    }
}
