//! `[sft]`, `[reward]`, `[pairwise]`, `[dpo]` and `[eval]`: the stages around the online loop.

use super::{
    CommandJudge, Data, Lora, Odin, Overlong, PairLoss, PairwiseJudge, RemoteJudge, RewardJudge,
    Rule, Sampling, Train, VerifierJudge,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Supervised fine-tuning: the assistant's turns of a conversation, the completion of a prompt, or whole running text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sft {
    /// Rows of `messages`, `prompt` and `completion`, or `text`.
    pub data: Data,
    /// Rows to evaluate on, instead of `data.held_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Data>,
    /// Longest row in tokens; running text is cut into pieces of this length.
    #[serde(default = "default_max_length")]
    #[schemars(range(min = 2))]
    pub max_length: usize,
    /// What happens to longer rows.
    #[serde(default)]
    pub overlong: Overlong,
    /// The optimiser.
    #[serde(default)]
    pub train: Train,
    /// Train adapters instead of all weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

/// A Bradley-Terry reward model: the model with a scalar head, read at the last token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reward {
    /// Rows of `chosen` and `rejected`, with or without `prompt`.
    pub data: Data,
    /// Rows to evaluate on, instead of `data.held_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Data>,
    /// Begin with this model; absent: with that of `[sft]` where there is one, else that of `[model]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_name_or_path: Option<String>,
    /// Branch, tag or commit of a hub id; absent: the main branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Longest response with its prompt, in tokens.
    #[serde(default = "default_max_length")]
    #[schemars(range(min = 2))]
    pub max_length: usize,
    /// What happens to longer rows.
    #[serde(default)]
    pub overlong: Overlong,
    /// Weight of the square of the two rewards' sum, which centres rewards at 0; TRL's documentation uses 0.01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub center_rewards_coefficient: Option<f64>,
    /// Ask for a reward difference of at least the row's `margin`.
    #[serde(default)]
    pub use_margin: bool,
    /// Take the length out of the reward with a second head (ODIN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odin: Option<Odin>,
    /// Seed of the head and of the order of rows; absent: the recipe's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Train a second reward model from this seed, which only evaluates: an opinion the policy was not trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_seed: Option<u64>,
    /// The optimiser.
    #[serde(default)]
    pub train: Train,
    /// Train adapters instead of all weights; the head is always trained whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

/// Offline DPO on a fixed file of pairs: the baseline of the online loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dpo {
    /// Rows of `chosen` and `rejected`, with or without `prompt`.
    pub data: Data,
    /// Rows to evaluate on, instead of `data.held_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Data>,
    /// The reference model; absent: the model the stage begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_model: Option<String>,
    /// Branch, tag or commit of `ref_model`, where that is a hub id; absent: the main branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_model_revision: Option<String>,
    /// Longest response with its prompt, in tokens.
    #[serde(default = "default_max_length")]
    #[schemars(range(min = 2))]
    pub max_length: usize,
    /// What happens to longer rows.
    #[serde(default)]
    pub overlong: Overlong,
    /// The loss over pairs.
    #[serde(default)]
    pub loss: PairLoss,
    /// The optimiser.
    #[serde(default)]
    pub train: Train,
    /// Train adapters instead of all weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

/// The trained policy against the one it started from, on prompts of its own. The models of the run that judge always do,
/// the second-seeded, the pairwise one and the verifier included; the tables here add judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// The prompts; keep them apart from those that were trained on.
    pub prompts: Data,
    /// Longest prompt with its response, in tokens.
    #[serde(default = "default_max_length")]
    #[schemars(range(min = 2))]
    pub max_length: usize,
    /// What happens to prompts that leave no room for a response.
    #[serde(default)]
    pub overlong: Overlong,
    /// Evaluate after every online round, not only after the last.
    #[serde(default = "default_every_round")]
    pub every_round: bool,
    /// How responses are drawn; the KL estimate needs temperature 1.
    #[serde(default)]
    pub generate: Sampling,
    /// Coverage of the intervals that are printed.
    #[serde(default = "default_confidence")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub confidence: f64,
    /// Judge with a reward model that this run did not train, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardJudge>,
    /// Judge with a rule, too (the gold rule of the quickstart).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Judge with a pairwise preference model that this run did not train, too; it compares the two models' responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairwise: Option<PairwiseJudge>,
    /// Judge with a process or an outcome reward model that this run did not train, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<VerifierJudge>,
    /// Judge with a program, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandJudge>,
    /// Judge with a model behind an endpoint, too. With `ask = "pairs"` it compares the two models' responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteJudge>,
}

impl Eval {
    /// Whether one of its own tables judges.
    pub fn names_a_judge(&self) -> bool {
        self.reward.is_some()
            || self.rule.is_some()
            || self.pairwise.is_some()
            || self.verifier.is_some()
            || self.command.is_some()
            || self.remote.is_some()
    }
}

pub(super) fn default_max_length() -> usize {
    1024
}

fn default_every_round() -> bool {
    true
}

fn default_confidence() -> f64 {
    0.95
}
