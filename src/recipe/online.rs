//! `[online]`: rounds of generate, judge, pair, train.

use super::stages::default_max_length;
use super::{Data, Judge, Lora, Overlong, PairLoss, Sampling, Train};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Online iterative DPO. Every round draws responses from the newest policy, judges them, makes pairs and trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Online {
    /// The prompts; each round takes the next ones in an order drawn from the seed.
    pub prompts: Data,
    /// How many rounds.
    #[serde(default = "default_rounds")]
    #[schemars(range(min = 1))]
    pub rounds: usize,
    /// Prompts of a round.
    #[serde(default = "default_prompts_per_round")]
    #[schemars(range(min = 1))]
    pub prompts_per_round: usize,
    /// Longest prompt with its response, in tokens.
    #[serde(default = "default_max_length")]
    #[schemars(range(min = 2))]
    pub max_length: usize,
    /// What happens to prompts that leave no room for a response.
    #[serde(default)]
    pub overlong: Overlong,
    /// How responses are drawn.
    #[serde(default)]
    pub generate: Sampling,
    /// Explore with a second agent: half of a prompt's responses are each the judge's best of this many samples. 1
    /// turns it off.
    #[serde(default = "default_best_of_n")]
    #[schemars(range(min = 1))]
    pub best_of_n: usize,
    /// Who ranks the responses.
    #[serde(default)]
    pub judge: Judge,
    /// Which two responses make a pair.
    #[serde(default)]
    pub pairs: Pairs,
    /// The policy that the loss pulls towards.
    #[serde(default)]
    pub reference: Reference,
    /// Whose pairs a round trains on.
    #[serde(default)]
    pub history: History,
    /// A fixed file of pairs that every round trains on, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Data>,
    /// A round begins with the policy of the round before; otherwise with the policy of the start.
    #[serde(default = "default_warm_start")]
    pub warm_start: bool,
    /// The loss over pairs.
    #[serde(default)]
    pub loss: PairLoss,
    /// The optimiser of each round.
    #[serde(default)]
    pub train: Train,
    /// Train adapters instead of all weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

fn default_rounds() -> usize {
    3
}

fn default_prompts_per_round() -> usize {
    64
}

fn default_best_of_n() -> usize {
    1
}

fn default_warm_start() -> bool {
    true
}

/// Which two responses make a pair. Equal rewards and identical texts never do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pairs {
    /// The strategy.
    pub choose: Choose,
    /// Taken from the reward for every character of the response, before anything is compared. The paper's concise
    /// model uses 0.001.
    #[schemars(range(min = 0.0))]
    pub length_penalty: f64,
    /// Taken from the reward of a response that was cut off by `max_new_tokens`.
    #[schemars(range(min = 0.0))]
    pub missing_eos_penalty: f64,
    /// Pairs whose rewards differ by less are dropped.
    #[schemars(range(min = 0.0))]
    pub min_margin: f64,
}

/// Which two of a prompt's responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Choose {
    /// The best against the worst.
    #[default]
    MaxMin,
    /// The best against a random other, drawn from the seed.
    MaxRandom,
    /// The best against the second best.
    MaxMax,
    /// Two at random, drawn from the seed.
    Random,
}

impl Choose {
    /// Every choice, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::MaxMin, Self::MaxRandom, Self::MaxMax, Self::Random];

    /// The word that recipes and commands use.
    pub fn word(self) -> &'static str {
        match self {
            Self::MaxMin => "max_min",
            Self::MaxRandom => "max_random",
            Self::MaxMax => "max_max",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for Choose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Choose {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.word() == word)
            .ok_or_else(|| {
                Error::user(format!("no way to choose pairs is called `{word}`"))
                    .hint("one of `max_min`, `max_random`, `max_max`, `random`")
            })
    }
}

/// The policy that the loss pulls towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The policy that the loop started with, in every round (the paper).
    #[default]
    Sft,
    /// The policy that the round started with.
    Previous,
}

/// Whose pairs a round trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Those of this round.
    #[default]
    Newest,
    /// Those of all rounds so far (the paper's algorithm).
    Cumulative,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_recipes_choose_pairs_with_the_same_words() {
        for choose in Choose::ALL {
            let word = choose.to_string();
            assert_eq!(word.parse::<Choose>().expect("its own word"), choose);
            let written = serde_json::to_value(choose).expect("a word");
            assert_eq!(written, serde_json::Value::String(word));
        }
        let error = "max-min".parse::<Choose>().expect_err("a hyphen");
        assert_eq!(
            error.to_string(),
            "no way to choose pairs is called `max-min`\n\nhint: one of `max_min`, `max_random`, `max_max`, `random`"
        );
    }
}
