//! From scored responses to a preference pair.
//!
//! Everything is decided on the *penalised* reward `r - length_penalty * chars - missing_eos_penalty`
//! (the second only where the response was cut off): which two responses make the pair, which of them
//! is preferred, and whether they are equal. Deciding with one reward and orienting by another lets
//! the longer answer win exactly where the penalty was meant to matter.

use super::scored::Scored;
use crate::data::Key;
use crate::recipe::Choose;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How pairs are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairRule {
    /// Which two responses.
    pub choose: Choose,
    /// Taken from the reward for each character (a Unicode scalar value) of the response.
    pub length_penalty: f32,
    /// Taken from the reward of a response that was cut off by the token limit (TRL's name).
    pub missing_eos_penalty: f32,
    /// Pairs whose penalised rewards lie closer than this are dropped; equal ones always are.
    pub min_margin: f32,
    /// Where the draws of `max_random` and `random` come from; the prompt's id is folded in.
    pub key: Key,
}

impl PairRule {
    /// Best against worst, no penalties, no minimum margin.
    pub fn new(seed: u64) -> Self {
        Self {
            choose: Choose::MaxMin,
            length_penalty: 0.0,
            missing_eos_penalty: 0.0,
            min_margin: 0.0,
            key: Key::new(seed).fold("pairs"),
        }
    }

    /// The pair of one prompt, or why there is none.
    ///
    /// A response that repeats an earlier one word for word is no candidate. Ties go to the response
    /// that was sampled first, so the same rows always give the same pairs.
    pub fn pair(&self, scored: &Scored<'_>) -> std::result::Result<Chosen, Dropped> {
        let penalised = self.penalised(scored);
        if scored.responses().len() < 2 {
            return Err(Dropped::FewerThanTwo);
        }
        if penalised.iter().any(|r| !r.is_finite()) {
            return Err(Dropped::NonFinite);
        }
        let distinct = distinct(scored.responses());
        if distinct.len() < 2 {
            return Err(Dropped::IdenticalText);
        }
        let (a, b) = self.candidates(&distinct, &penalised, scored.id());
        let (chosen, rejected) = if penalised[a] >= penalised[b] {
            (a, b)
        } else {
            (b, a)
        };
        let margin = penalised[chosen] - penalised[rejected];
        if margin == 0.0 {
            return Err(Dropped::EqualReward);
        }
        if margin < f64::from(self.min_margin) {
            return Err(Dropped::BelowMargin);
        }
        Ok(Chosen {
            chosen,
            rejected,
            margin: margin as f32,
        })
    }

    /// The penalised rewards, one a response; in f64, so that a small penalty on a large reward is not lost.
    pub fn penalised(&self, scored: &Scored<'_>) -> Vec<f64> {
        let each = scored
            .responses()
            .iter()
            .zip(scored.rewards())
            .zip(scored.finished());
        each.map(|((response, reward), finished)| {
            let length = f64::from(self.length_penalty) * response.chars().count() as f64;
            let cut_off = if *finished {
                0.0
            } else {
                f64::from(self.missing_eos_penalty)
            };
            f64::from(*reward) - length - cut_off
        })
        .collect()
    }

    /// Two different places among `distinct` (at least two).
    fn candidates(&self, distinct: &[usize], penalised: &[f64], id: &str) -> (usize, usize) {
        // Best first; the sort is stable, so ties stay in sampling order.
        let mut ranked = distinct.to_vec();
        ranked.sort_by(|&a, &b| penalised[b].total_cmp(&penalised[a]));
        let last = ranked.len() - 1;
        let mut rng = self.key.fold(id).rng();
        match self.choose {
            Choose::MaxMin => {
                let lowest = penalised[ranked[last]];
                let worst = ranked
                    .iter()
                    .position(|&i| penalised[i] == lowest)
                    .unwrap_or(last);
                // All equal: any other place shows that the pair has no margin.
                (ranked[0], ranked[if worst == 0 { last } else { worst }])
            }
            Choose::MaxMax => (ranked[0], ranked[1]),
            Choose::MaxRandom => (ranked[0], ranked[rng.random_range(1..=last)]),
            Choose::Random => {
                let first = rng.random_range(0..=last);
                let other = rng.random_range(0..last);
                (
                    distinct[first],
                    distinct[if other >= first { other + 1 } else { other }],
                )
            }
        }
    }
}

/// Where each distinct text stands first.
fn distinct(responses: &[String]) -> Vec<usize> {
    let mut seen = std::collections::HashSet::new();
    (0..responses.len())
        .filter(|&i| seen.insert(&responses[i]))
        .collect()
}

/// Two responses of one prompt, the first preferred.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// Place of the preferred response.
    pub chosen: usize,
    /// Place of the other one.
    pub rejected: usize,
    /// Penalised reward of `chosen` less that of `rejected`; above 0.
    pub margin: f32,
}

/// Why a prompt gave no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// Fewer than two responses.
    FewerThanTwo,
    /// A reward is NaN or infinite: the judge is broken, so none of its rewards here is trusted.
    NonFinite,
    /// All responses are the same text.
    IdenticalText,
    /// The two have the same penalised reward.
    EqualReward,
    /// The two lie closer than the minimum margin.
    BelowMargin,
}

/// How many prompts gave a pair, and why the others did not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairCounts {
    /// Prompts that gave a pair.
    pub pairs: usize,
    /// Prompts with fewer than two responses.
    pub fewer_than_two: usize,
    /// Prompts with a reward that is NaN or infinite.
    pub non_finite: usize,
    /// Prompts whose responses are all the same text.
    pub identical_text: usize,
    /// Prompts whose two responses have the same penalised reward.
    pub equal_reward: usize,
    /// Prompts whose two responses lie closer than the minimum margin.
    pub below_margin: usize,
}

impl PairCounts {
    /// Counts one prompt.
    pub fn add(&mut self, outcome: &std::result::Result<Chosen, Dropped>) {
        let count = match outcome {
            Ok(_) => &mut self.pairs,
            Err(Dropped::FewerThanTwo) => &mut self.fewer_than_two,
            Err(Dropped::NonFinite) => &mut self.non_finite,
            Err(Dropped::IdenticalText) => &mut self.identical_text,
            Err(Dropped::EqualReward) => &mut self.equal_reward,
            Err(Dropped::BelowMargin) => &mut self.below_margin,
        };
        *count += 1;
    }

    /// Prompts that gave no pair.
    pub fn dropped(&self) -> usize {
        self.reasons().iter().map(|(count, _)| count).sum()
    }

    fn reasons(&self) -> [(usize, &'static str); 5] {
        [
            (self.fewer_than_two, "with fewer than two responses"),
            (self.non_finite, "with a reward that is not finite"),
            (self.identical_text, "with identical responses"),
            (self.equal_reward, "with equal rewards"),
            (self.below_margin, "below the minimum margin"),
        ]
    }
}

impl fmt::Display for PairCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pairs", self.pairs)?;
        let reasons = self.reasons().into_iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<String> = reasons
            .map(|(count, why)| format!("{count} {why}"))
            .collect();
        if !reasons.is_empty() {
            write!(
                f,
                "; {} prompts dropped: {}",
                self.dropped(),
                reasons.join(", ")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair_of(
        rule: &PairRule,
        texts: &[&str],
        rewards: &[f32],
    ) -> std::result::Result<Chosen, Dropped> {
        let responses: Vec<String> = texts.iter().map(|t| t.to_string()).collect();
        let finished = vec![true; texts.len()];
        rule.pair(&Scored::new("prompt", &responses, rewards, &finished).expect("equal counts"))
    }

    fn rule(choose: Choose) -> PairRule {
        PairRule {
            choose,
            ..PairRule::new(0)
        }
    }

    fn places(chosen: std::result::Result<Chosen, Dropped>) -> (usize, usize) {
        let chosen = chosen.expect("a pair");
        (chosen.chosen, chosen.rejected)
    }

    const TEXTS: [&str; 4] = ["a", "b", "c", "d"];
    const REWARDS: [f32; 4] = [0.5, 2.0, -1.0, 1.0];

    #[test]
    fn best_against_worst_and_best_against_second() {
        assert_eq!(
            places(pair_of(&rule(Choose::MaxMin), &TEXTS, &REWARDS)),
            (1, 2)
        );
        assert_eq!(
            places(pair_of(&rule(Choose::MaxMax), &TEXTS, &REWARDS)),
            (1, 3)
        );
        let margin = pair_of(&rule(Choose::MaxMin), &TEXTS, &REWARDS)
            .expect("a pair")
            .margin;
        assert_eq!(margin, 3.0);
    }

    /// The defect of the reference: selected by the penalised reward, oriented by the raw one.
    #[test]
    fn d1_the_penalised_reward_orients_the_pair() {
        let penalty = PairRule {
            length_penalty: 0.1,
            ..rule(Choose::MaxMin)
        };
        let long = "x".repeat(50);
        // Raw: the long answer wins, 3 to 1. Penalised: -2 against 0.9.
        let chosen = pair_of(&penalty, &[&long, "y"], &[3.0, 1.0]).expect("a pair");
        assert_eq!((chosen.chosen, chosen.rejected), (1, 0));
        assert!((chosen.margin - 2.9).abs() < 1e-6);
    }

    #[test]
    fn length_is_counted_in_characters_not_bytes() {
        let penalty = PairRule {
            length_penalty: 1.0,
            ..rule(Choose::MaxMin)
        };
        assert_eq!(
            pair_of(&penalty, &["éé", "ab"], &[1.0, 1.0]),
            Err(Dropped::EqualReward)
        );
    }

    #[test]
    fn a_response_that_was_cut_off_pays_for_it() {
        let rule = PairRule {
            missing_eos_penalty: 1.0,
            ..rule(Choose::MaxMin)
        };
        let responses = vec!["cut o".to_string(), "done".to_string()];
        let scored =
            Scored::new("p", &responses, &[1.5, 1.0], &[false, true]).expect("equal counts");
        assert_eq!(places(rule.pair(&scored)), (1, 0));
    }

    #[test]
    fn what_is_not_a_pair_says_why() {
        let rule = rule(Choose::MaxMin);
        assert_eq!(pair_of(&rule, &["a"], &[1.0]), Err(Dropped::FewerThanTwo));
        assert_eq!(
            pair_of(&rule, &["a", "b"], &[1.0, 1.0]),
            Err(Dropped::EqualReward)
        );
        assert_eq!(
            pair_of(&rule, &["a", "b"], &[1.0, f32::NAN]),
            Err(Dropped::NonFinite)
        );
        assert_eq!(
            pair_of(&rule, &["a", "b"], &[1.0, f32::INFINITY]),
            Err(Dropped::NonFinite)
        );
        // A judge that is not exact may score one text twice differently: still no pair.
        assert_eq!(
            pair_of(&rule, &["a", "a"], &[1.0, 2.0]),
            Err(Dropped::IdenticalText)
        );
        let strict = PairRule {
            min_margin: 1.5,
            ..rule
        };
        assert_eq!(
            pair_of(&strict, &["a", "b"], &[1.0, 2.0]),
            Err(Dropped::BelowMargin)
        );
        assert_eq!(places(pair_of(&strict, &["a", "b"], &[0.5, 2.0])), (1, 0));
    }

    #[test]
    fn repeated_text_is_no_candidate() {
        // Second best is the same text as the best: the pair is made with the next one.
        assert_eq!(
            places(pair_of(
                &rule(Choose::MaxMax),
                &["a", "a", "b"],
                &[2.0, 2.0, 1.0]
            )),
            (0, 2)
        );
    }

    #[test]
    fn ties_go_to_the_first_sample() {
        let tied = [1.0, 3.0, 3.0, 1.0];
        assert_eq!(
            places(pair_of(&rule(Choose::MaxMin), &TEXTS, &tied)),
            (1, 0)
        );
        assert_eq!(
            pair_of(&rule(Choose::MaxMax), &TEXTS, &tied),
            Err(Dropped::EqualReward)
        );
    }

    #[test]
    fn d9_draws_reach_every_response_and_repeat_with_the_seed() {
        for choose in [Choose::MaxRandom, Choose::Random] {
            let draw = |seed| {
                let rule = PairRule {
                    choose,
                    ..PairRule::new(seed)
                };
                places(pair_of(&rule, &TEXTS, &REWARDS))
            };
            let drawn: std::collections::HashSet<_> = (0..200).map(draw).collect();
            let possible = if choose == Choose::Random { 6 } else { 3 };
            assert_eq!(drawn.len(), possible, "{choose}: {drawn:?}");
            assert!(drawn.iter().all(|&(w, l)| REWARDS[w] > REWARDS[l]));
            assert_eq!(draw(5), draw(5));
        }
    }

    #[test]
    fn counts_add_up_and_read_as_a_sentence() {
        let mut counts = PairCounts::default();
        let pair = Chosen {
            chosen: 0,
            rejected: 1,
            margin: 1.0,
        };
        for outcome in [
            Ok(pair),
            Err(Dropped::EqualReward),
            Err(Dropped::EqualReward),
            Err(Dropped::NonFinite),
        ] {
            counts.add(&outcome);
        }
        assert_eq!(
            counts.to_string(),
            "1 pairs; 3 prompts dropped: 1 with a reward that is not finite, 2 with equal rewards"
        );
    }
}
