//! What a round's rewards say about the policy and about the judge.
//!
//! Mean and top-1 rise when the loop works; their gap closes as the policy comes near its own
//! best-of-K. A reward that follows length makes every later policy longer, whatever it was asked for.

use super::scored::Scored;
use crate::data::summary::{self, Histogram};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Bins of the two histograms.
const BINS: usize = 24;

/// The audit of one round. Shares are of all responses, from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Prompts with at least one response.
    pub prompts: usize,
    /// Responses.
    pub responses: usize,
    /// Rewards that were NaN or infinite; no reward statistic counts them.
    pub non_finite: usize,
    /// Mean over the prompts of their mean reward.
    pub reward_mean: Option<f64>,
    /// Mean over the prompts of their best reward.
    pub reward_top1: Option<f64>,
    /// `reward_top1 - reward_mean`: what best-of-K still adds.
    pub reward_gap: Option<f64>,
    /// Mean over the prompts of the standard deviation (divisor K) of their rewards.
    pub reward_spread: Option<f64>,
    /// Mean over the prompts of Pearson's correlation between reward and characters.
    pub length_correlation: Option<f64>,
    /// Prompts left out of it, because all rewards or all lengths are equal (or there is one response).
    pub length_correlation_skipped: usize,
    /// Share that repeats an earlier response to the same prompt word for word.
    pub duplicates: f64,
    /// Share that was cut off by the token limit.
    pub truncated: f64,
    /// Mean characters.
    pub mean_chars: Option<f64>,
    /// Mean tokens, over the prompts whose tokens were counted.
    pub mean_tokens: Option<f64>,
    /// Rewards of all responses.
    pub reward_histogram: Histogram,
    /// Characters of all responses.
    pub length_histogram: Histogram,
}

impl Audit {
    /// Audits the scored responses of one round.
    pub fn of(rows: &[Scored<'_>]) -> Self {
        let rows: Vec<Judged> = rows
            .iter()
            .filter(|r| !r.responses().is_empty())
            .map(Judged::of)
            .collect();
        let responses: usize = rows.iter().map(|r| r.chars.len()).sum();
        let share = |count: fn(&Judged) -> usize| match responses {
            0 => 0.0,
            n => rows.iter().map(count).sum::<usize>() as f64 / n as f64,
        };
        let prompt_mean = |statistic: fn(&Judged) -> Option<f64>| {
            summary::mean(&rows.iter().filter_map(statistic).collect::<Vec<f64>>())
        };
        let all = |values: fn(&Judged) -> &[f64]| -> Vec<f64> {
            rows.iter()
                .flat_map(|row| values(row).iter().copied())
                .collect()
        };
        let (rewards, chars) = (all(|r| &r.rewards), all(|r| &r.chars));
        let reward_mean = prompt_mean(|r| summary::mean(&r.rewards));
        let reward_top1 = prompt_mean(|r| r.rewards.iter().copied().reduce(f64::max));
        Self {
            prompts: rows.len(),
            responses,
            non_finite: responses - rewards.len(),
            reward_mean,
            reward_top1,
            reward_gap: reward_top1.zip(reward_mean).map(|(top, mean)| top - mean),
            reward_spread: prompt_mean(|r| summary::deviation(&r.rewards)),
            length_correlation: prompt_mean(|r| r.length_correlation),
            length_correlation_skipped: rows
                .iter()
                .filter(|r| r.length_correlation.is_none())
                .count(),
            duplicates: share(|r| r.duplicates),
            truncated: share(|r| r.truncated),
            mean_chars: summary::mean(&chars),
            mean_tokens: summary::mean(&all(|r| &r.tokens)),
            reward_histogram: Histogram::of(&rewards, BINS),
            length_histogram: Histogram::of(&chars, BINS),
        }
    }
}

/// One prompt, counted.
struct Judged {
    /// Finite rewards only.
    rewards: Vec<f64>,
    chars: Vec<f64>,
    tokens: Vec<f64>,
    length_correlation: Option<f64>,
    duplicates: usize,
    truncated: usize,
}

impl Judged {
    fn of(row: &Scored<'_>) -> Self {
        let chars: Vec<f64> = row
            .responses()
            .iter()
            .map(|r| r.chars().count() as f64)
            .collect();
        let with_length = row
            .rewards()
            .iter()
            .map(|&r| f64::from(r))
            .zip(chars.iter().copied());
        let (rewards, lengths): (Vec<f64>, Vec<f64>) =
            with_length.filter(|(reward, _)| reward.is_finite()).unzip();
        let distinct: HashSet<&String> = row.responses().iter().collect();
        Self {
            length_correlation: summary::pearson(&rewards, &lengths),
            rewards,
            tokens: row
                .tokens()
                .unwrap_or_default()
                .iter()
                .map(|&t| t as f64)
                .collect(),
            duplicates: chars.len() - distinct.len(),
            truncated: row.finished().iter().filter(|finished| !**finished).count(),
            chars,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lengths: &[usize]) -> Vec<String> {
        lengths.iter().map(|&n| "é".repeat(n)).collect()
    }

    #[test]
    fn a_round_by_hand() {
        let (first, second) = (texts(&[1, 2, 3]), texts(&[4, 4]));
        let rows = [
            Scored::new("a", &first, &[1.0, 2.0, 3.0], &[true, true, false]).expect("counts"),
            Scored::new("b", &second, &[5.0, 7.0], &[true, true])
                .expect("counts")
                .with_tokens(&[10, 20])
                .expect("counts"),
        ];
        let audit = Audit::of(&rows);
        assert_eq!(
            (audit.prompts, audit.responses, audit.non_finite),
            (2, 5, 0)
        );
        assert_eq!(audit.reward_mean, Some(4.0));
        assert_eq!(audit.reward_top1, Some(5.0));
        assert_eq!(audit.reward_gap, Some(1.0));
        let spread = audit.reward_spread.expect("rewards");
        assert!((spread - ((2.0f64 / 3.0).sqrt() + 1.0) / 2.0).abs() < 1e-12);
        // The second prompt's lengths are equal: it says nothing, and is counted as saying nothing.
        assert!((audit.length_correlation.expect("the first prompt") - 1.0).abs() < 1e-12);
        assert_eq!(audit.length_correlation_skipped, 1);
        assert_eq!(audit.duplicates, 0.2);
        assert_eq!(audit.truncated, 0.2);
        assert_eq!(audit.mean_chars, Some(2.8));
        assert_eq!(audit.mean_tokens, Some(15.0));
        assert_eq!(audit.reward_histogram.counts.iter().sum::<usize>(), 5);
        assert_eq!(
            (audit.length_histogram.low, audit.length_histogram.high),
            (1.0, 4.0)
        );
    }

    /// Prompts differ in difficulty; pooled over all responses this would read as a strong correlation.
    #[test]
    fn the_correlation_is_within_prompts_not_across_them() {
        let (easy, hard) = (texts(&[1, 2]), texts(&[101, 102]));
        let rows = [
            Scored::new("easy", &easy, &[1.0, 0.0], &[true, true]).expect("counts"),
            Scored::new("hard", &hard, &[101.0, 100.0], &[true, true]).expect("counts"),
        ];
        let correlation = Audit::of(&rows).length_correlation.expect("two prompts");
        assert!((correlation + 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_broken_reward_is_counted_and_spoils_nothing() {
        let responses = texts(&[1, 2, 3]);
        let rows =
            [Scored::new("a", &responses, &[1.0, f32::NAN, 3.0], &[true; 3]).expect("counts")];
        let audit = Audit::of(&rows);
        assert_eq!((audit.non_finite, audit.reward_mean), (1, Some(2.0)));
        assert_eq!(audit.responses, 3);
    }

    #[test]
    fn nothing_has_no_statistics() {
        let audit = Audit::of(&[]);
        assert_eq!(
            (audit.prompts, audit.reward_mean, audit.truncated),
            (0, None, 0.0)
        );
    }
}
