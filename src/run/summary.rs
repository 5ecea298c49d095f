//! What the pipeline hands over to be shown: typed records, read by the report and the registry.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
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
    /// Mean over the prompts of their mean reward.
    pub reward_mean: Option<f64>,
    /// Mean over the prompts of the best response's reward.
    pub reward_top1: Option<f64>,
    /// Mean over the prompts of the standard deviation (divisor K) of their rewards.
    pub reward_spread: Option<f64>,
    /// Mean over the prompts of the correlation of reward and characters; near 1 the reward may only be
    /// counting words.
    pub reward_length_correlation: Option<f64>,
    /// KL of the policy from the start after the round, on the evaluation's prompts, nats per response.
    pub kl: Option<f64>,
    /// KL from the start of the policy that drew the round's own samples, before it is trained on them.
    pub kl_samples: Option<f64>,
    /// Share of responses that repeat another one to the same prompt, 0 to 1.
    pub duplicates: Option<f64>,
    /// Share of responses that were cut at the length limit, 0 to 1.
    pub truncated: Option<f64>,
    /// Share of prompts on which the policy beats the start, ties half, 0 to 1.
    pub win_rate: Option<f64>,
    /// Lower end of the win rate's interval.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// Confidence of the interval, 0 to 1.
    pub confidence: Option<f64>,
    /// Mean length of the responses to the evaluation's prompts, after the round, in tokens.
    pub length_eval: Option<f64>,
    /// Mean length of the round's own samples, drawn before it is trained on them, in tokens.
    pub length_samples: Option<f64>,
    /// Pairs of the run's own responses that the round learnt from, those too long for it included.
    pub pairs: Option<usize>,
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
            confidence: self.confidence,
        })
    }

    /// Every number that can be measured by its name, for curves over the rounds and for comparing runs.
    pub fn numbers(&self) -> [(&'static str, Option<f64>); 14] {
        let pairs = self.pairs.map(|pairs| pairs as f64);
        [
            ("win_rate", self.win_rate),
            ("win_rate_low", self.low),
            ("win_rate_high", self.high),
            ("reward_mean", self.reward_mean),
            ("reward_top1", self.reward_top1),
            ("reward_spread", self.reward_spread),
            ("reward_length_correlation", self.reward_length_correlation),
            ("kl", self.kl),
            ("kl_samples", self.kl_samples),
            ("length_eval", self.length_eval),
            ("length_samples", self.length_samples),
            ("pairs", pairs),
            ("duplicates", self.duplicates),
            ("truncated", self.truncated),
        ]
    }

    /// Reads `round-N/eval.json`; none when the round is not evaluated yet.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        read_json(path)
    }
}

/// The value in a file of JSON; none when there is no such file.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|e| Error::io(path, "read", e))?,
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Error::data(format!("{}: {e}", path.display())))
}

/// A win rate and its interval, all 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WinRate {
    /// Share of wins, ties half.
    pub rate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence of the interval, where it was written down.
    pub confidence: Option<f64>,
}

impl WinRate {
    /// Whether the interval leaves out 50 %.
    pub fn is_decided(&self) -> bool {
        self.low > 0.5 || self.high < 0.5
    }
}

/// What an interval of that confidence (0 to 1) is called: `95 % interval`.
pub fn interval_name(confidence: Option<f64>) -> String {
    match confidence {
        // Rounded, as 100 times 0.997 is 99.69999999999999.
        Some(confidence) => format!("{} % interval", (confidence * 1e5).round() / 1e3),
        None => "interval".to_owned(),
    }
}

/// What one judge says of a policy against the model it started from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opinion {
    /// `rule`, `reward`, `reward-second`, or a model's path.
    pub judge: String,
    /// Mean score of the start's responses.
    pub before: f64,
    /// Mean score of the policy's responses.
    pub after: f64,
    /// Share of prompts won, ties half, with its interval.
    pub win_rate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Prompts won, tied, lost.
    pub counts: [usize; 3],
    /// The win rate at equal length (AlpacaEval 2's logistic model), then the ends of its interval.
    #[serde(default)]
    pub length_controlled: Option<[f64; 3]>,
}

impl Opinion {
    /// The win rate at equal length in words: `rule: 52.1 % (45.0 to 59.3 %)`.
    pub fn at_equal_length(&self) -> Option<String> {
        let [rate, low, high] = self.length_controlled?.map(|share| 100.0 * share);
        Some(format!(
            "{}: {rate:.1} % ({low:.1} to {high:.1} %)",
            self.judge
        ))
    }
}

/// The win rates at equal length of those judges that have one, in a line.
pub fn at_equal_length(opinions: &[Opinion]) -> Option<String> {
    let known: Vec<String> = opinions
        .iter()
        .filter_map(Opinion::at_equal_length)
        .collect();
    let words = "win rate at equal length (AlpacaEval 2's model without the prompts' difficulty): ";
    (!known.is_empty()).then(|| format!("{words}{}", known.join(", ")))
}

/// The evaluation of one policy against its start: the content of an evaluation's `result.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Confidence of the opinions' intervals, 0 to 1.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// The judges' opinions; the first one is the headline.
    pub opinions: Vec<Opinion>,
    /// KL from the start, nats a response: mean of log pi(y) - log start(y) over the policy's own responses.
    pub kl: Option<f64>,
    /// Mean response length of the start, tokens.
    pub length_before: f64,
    /// Mean response length of the policy, tokens.
    pub length_after: f64,
    /// Samples for the report.
    pub samples: Vec<Sample>,
}

impl Measured {
    /// What a round of a loop would note of it, where it was made after the last stage of a run: the number of the round is 0.
    pub fn summary(&self) -> RoundSummary {
        let win = self.headline().map(|opinion| self.win(opinion));
        RoundSummary {
            win_rate: win.map(|win| win.rate),
            low: win.map(|win| win.low),
            high: win.map(|win| win.high),
            confidence: self.confidence,
            kl: self.kl,
            length_eval: Some(self.length_after),
            ..RoundSummary::default()
        }
    }

    /// The first judge's opinion.
    pub fn headline(&self) -> Option<&Opinion> {
        self.opinions.first()
    }

    /// The win rate of one of its opinions.
    pub fn win(&self, opinion: &Opinion) -> WinRate {
        WinRate {
            rate: opinion.win_rate,
            low: opinion.low,
            high: opinion.high,
            confidence: self.confidence,
        }
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
    /// Who scored them, as in [`Opinion::judge`].
    #[serde(default)]
    pub judge: Option<String>,
    /// The judge's score of `before`.
    #[serde(alias = "reward_before")]
    pub score_before: Option<f64>,
    /// The judge's score of `after`.
    #[serde(alias = "reward_after")]
    pub score_after: Option<f64>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_called_by_its_confidence() {
        let named = [Some(0.95), Some(0.9), Some(0.997), Some(0.999), None].map(interval_name);
        let want = "95 % interval, 90 % interval, 99.7 % interval, 99.9 % interval, interval";
        assert_eq!(named.join(", "), want);
    }

    #[test]
    fn what_an_earlier_duel_wrote_is_still_read() {
        let old = r#"{"opinions": [], "kl": 1.5, "length_before": 20.0, "length_after": 21.0, "samples": [
            {"prompt": "p", "before": "b", "after": "a", "reward_before": 0.25, "reward_after": null}]}"#;
        let measured: Measured = serde_json::from_str(old).unwrap();
        assert_eq!((measured.confidence, measured.headline()), (None, None));
        let sample = &measured.samples[0];
        assert_eq!(
            (&sample.judge, sample.score_before, sample.score_after),
            (&None, Some(0.25), None)
        );
    }
}
