//! What the pipeline hands over to be shown: typed records, read by the report and the registry.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// One online round in numbers: the content of `round-N/eval.json`. What could not be measured is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoundSummary {
    /// Which round, from 1.
    pub round: usize,
    /// Prompts that were answered.
    pub prompts: usize,
    /// Mean reward over all responses.
    pub reward_mean: Option<f64>,
    /// Mean over the prompts of the best response's reward.
    pub reward_top1: Option<f64>,
    /// Mean over the prompts of best minus worst reward.
    pub reward_spread: Option<f64>,
    /// Correlation of reward and response length; near 1 the reward may only be counting words.
    pub reward_length_correlation: Option<f64>,
    /// KL of the policy from the start, nats per response.
    pub kl: Option<f64>,
    /// Share of responses that repeat another one to the same prompt, 0 to 1.
    pub duplicates: Option<f64>,
    /// Share of responses that were cut at the length limit, 0 to 1.
    pub truncated: Option<f64>,
    /// Share of prompts on which the policy beats the start, ties half, 0 to 1.
    pub win_rate: Option<f64>,
    /// Lower end of the win rate's 95 % interval.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// Mean response length in tokens.
    pub length_mean: Option<f64>,
    /// Pairs that were trained on.
    pub pairs: usize,
    /// Wall time of the round.
    pub seconds: f64,
}

impl RoundSummary {
    /// The win rate with its interval, where all three are known.
    pub fn win(&self) -> Option<WinRate> {
        Some(WinRate {
            rate: self.win_rate?,
            low: self.low?,
            high: self.high?,
        })
    }

    /// Every number that can be measured by its name, for curves over the rounds and for comparing runs.
    pub fn numbers(&self) -> [(&'static str, Option<f64>); 12] {
        [
            ("win_rate", self.win_rate),
            ("win_rate_low", self.low),
            ("win_rate_high", self.high),
            ("reward_mean", self.reward_mean),
            ("reward_top1", self.reward_top1),
            ("reward_spread", self.reward_spread),
            ("reward_length_correlation", self.reward_length_correlation),
            ("kl", self.kl),
            ("length_mean", self.length_mean),
            ("pairs", Some(self.pairs as f64)),
            ("duplicates", self.duplicates),
            ("truncated", self.truncated),
        ]
    }

    /// Reads `round-N/eval.json`; none when the round is not evaluated yet.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|e| Error::io(path, "read", e))?,
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::data(format!("{}: {e}", path.display())))
    }
}

/// A win rate and its 95 % interval, all 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// Share of wins, ties half.
    pub rate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl WinRate {
    /// Whether the interval leaves out 50 %.
    pub fn is_decided(&self) -> bool {
        self.low > 0.5 || self.high < 0.5
    }
}

/// One prompt with the answer of the starting model and of the trained one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The prompt as text.
    pub prompt: String,
    /// The starting model's response.
    pub before: String,
    /// The trained model's response.
    pub after: String,
    /// Reward of `before`.
    pub reward_before: Option<f64>,
    /// Reward of `after`.
    pub reward_after: Option<f64>,
}

/// How much a diagnosis matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The result may be worse than it could be.
    Warning,
    /// The result is not to be trusted.
    Problem,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// Something the run noticed about itself, with the mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Its short name, for example `loss-stuck-at-ln2`.
    pub name: String,
    /// How much it matters.
    pub severity: Severity,
    /// The fact, with its numbers.
    pub message: String,
    /// What to change.
    pub mend: String,
    /// Where it was noticed.
    pub stage: String,
    /// At which step of the stage.
    pub step: u64,
}
