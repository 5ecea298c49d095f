//! What an online run notices about its rounds.

use super::limits::*;
use super::{Diagnosis, Given, percent, problem, warning};

/// What the responses of an online round look like. What could not be measured is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RoundAudit {
    /// Which round, from 1.
    pub round: u64,
    /// Responses that were sampled and judged.
    pub responses: usize,
    /// Mean over the prompts of the standard deviation of their rewards.
    pub reward_spread: Option<f64>,
    /// Mean over the prompts of the correlation of reward and characters.
    pub reward_length_correlation: Option<f64>,
    /// KL from the start of the policy that drew them, nats per response.
    pub kl: Option<f64>,
    /// Share of responses cut at the length limit.
    pub truncated: Option<f64>,
}

/// Watches the rounds of an online run.
#[derive(Debug, Clone, Default)]
pub struct RoundDiagnoser {
    given: Given,
    last_kl: Option<f64>,
}

impl RoundDiagnoser {
    /// Takes in the audit of a round's judged responses and gives what is new.
    pub fn sampled(&mut self, audit: &RoundAudit) -> Vec<Diagnosis> {
        let found = [
            equal_rewards(audit),
            length_reward(audit),
            truncated_responses(audit),
            endless_responses(audit),
            audit.kl.and_then(|kl| self.walked(kl)),
        ];
        self.given.new_ones(found, audit.round)
    }

    /// Takes in how far the policy is from its start after a round, where that was measured, and gives what is new.
    pub fn evaluated(&mut self, round: u64, kl: f64) -> Vec<Diagnosis> {
        let found = [self.walked(kl)];
        self.given.new_ones(found, round)
    }

    /// Compares with the distance that was known before.
    fn walked(&mut self, kl: f64) -> Option<Diagnosis> {
        let last = self.last_kl.replace(kl);
        kl_running_away(kl, last)
    }
}

fn equal_rewards(audit: &RoundAudit) -> Option<Diagnosis> {
    (audit.reward_spread?.abs() < EQUAL_REWARDS && audit.responses > 1).then(|| {
        problem(
            "rewards-all-equal",
            format!("all {} responses got the reward of the others to their prompt", audit.responses),
            "look at the responses: at temperature 0 they are equal; else try the judge on two plainly different \
             responses with `duel judge`",
        )
    })
}

fn length_reward(audit: &RoundAudit) -> Option<Diagnosis> {
    let correlation = audit.reward_length_correlation?;
    (correlation > LENGTH_CORRELATION && audit.responses >= LENGTH_RESPONSES).then(|| {
        warning(
            "reward-follows-length",
            format!("reward and length correlate at {correlation:.2} within a prompt: the judge pays for words"),
            "set a length penalty for choosing pairs, or train the reward model on pairs of like length",
        )
    })
}

fn kl_running_away(kl: f64, last: Option<f64>) -> Option<Diagnosis> {
    let leaps = last.is_some_and(|last| kl > KL_LEAP_TIMES * last) && kl > KL_LEAP_LEAST;
    (kl > KL_FAR || leaps).then(|| {
        warning(
            "kl-running-away",
            format!("the policy is {kl:.1} nats per response away from its start"),
            "raise beta, lower learning_rate, or train fewer epochs a round; a reward that keeps rising here \
             is likely the judge's blind spot",
        )
    })
}

fn truncated_responses(audit: &RoundAudit) -> Option<Diagnosis> {
    let share = audit.truncated?;
    (share > TRUNCATED_MANY && share < UNENDED_ALL).then(|| {
        warning(
            "share-truncated",
            format!(
                "{} of the responses were cut at the length limit",
                percent(share)
            ),
            "raise max_new_tokens; a cut response is judged unfinished and teaches no ending",
        )
    })
}

fn endless_responses(audit: &RoundAudit) -> Option<Diagnosis> {
    let share = audit.truncated?;
    (share >= UNENDED_ALL && audit.responses >= UNENDED_RESPONSES).then(|| {
        problem(
            "end-marker-missing",
            format!("{} of {} responses never reached an end marker", percent(share), audit.responses),
            "check the end-of-turn token of the tokenizer and generation_config.json, and that SFT trains on it",
        )
    })
}
