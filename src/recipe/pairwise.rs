//! `[pairwise]`, and the ways to make judges robust: `[pairwise.ssrm]`, `[pairwise.rrm]`, `[reward.odin]`.

use super::{Data, Lora, Overlong, Train};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pairwise preference model: a chat model that learns to answer with the letter of the better of two responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pairwise {
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
    /// Longest comparison (prompt and both responses), in tokens.
    #[serde(default = "default_comparison_length")]
    #[schemars(range(min = 2))]
    pub max_length: usize,
    /// What happens to longer rows.
    #[serde(default)]
    pub overlong: Overlong,
    /// Learn from pairs that nobody judged, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssrm: Option<Ssrm>,
    /// Learn that a response has to fit its prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rrm: Option<Rrm>,
    /// Show every pair in both orders; otherwise the chosen response's place is drawn from the seed and the row.
    #[serde(default)]
    pub both_orders: bool,
    /// Seed of the places and of the order of rows; absent: the recipe's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The optimiser.
    #[serde(default)]
    pub train: Train,
    /// Train adapters instead of all weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

/// Learn from pairs that nobody judged ("Semi-Supervised Reward Modeling", He et al. 2024): a model that was trained on the
/// labelled pairs labels them, those it is sure of join the labelled ones, and the next model is trained on both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ssrm {
    /// Rows with two `responses`. Of rows with `chosen` and `rejected` it is told how often the labels are right; their own
    /// order is not learnt from.
    pub data: Data,
    /// How often it labels and trains again.
    #[serde(default = "default_iterations")]
    #[schemars(range(min = 1, max = 20))]
    pub iterations: usize,
    /// How sure the model has to be of a pair: the probability of the response that it prefers, in both orders' mean.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 0.5), extend("exclusiveMaximum" = 1))]
    pub threshold: f64,
}

/// Learn that a response has to fit its prompt ("RRM", Liu et al. 2024): beside the pairs, pairs of a response with one to another
/// prompt, which it beats, and of two that both belong elsewhere, which tie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rrm {
    /// Pairs made of each row, drawn from the 14 that it makes with two others.
    #[schemars(range(min = 1, max = 14))]
    pub per_row: usize,
    /// Leave out what a model that was trained on the pairs alone knows already: of which its probability is off by less than
    /// this. The paper makes all 14 and takes 0.2; 0 filters nothing and trains no such model.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_surprise: f64,
}

impl Default for Rrm {
    fn default() -> Self {
        Self {
            per_row: 2,
            min_surprise: 0.0,
        }
    }
}

/// A second score head that takes the length upon itself, so that the first rewards something else; it is thrown away after
/// the training ("ODIN", Chen et al. 2024).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Odin {
    /// Weight of the two heads' correlations with the length, over all responses of an optimiser step: take many pairs a step.
    #[schemars(range(min = 0.0))]
    pub length_weight: f64,
    /// Weight of the cosine between the two heads.
    #[schemars(range(min = 0.0))]
    pub orthogonality: f64,
}

impl Default for Odin {
    fn default() -> Self {
        Self {
            length_weight: 1.0,
            orthogonality: 1.0,
        }
    }
}

fn default_comparison_length() -> usize {
    2048
}

fn default_iterations() -> usize {
    2
}

fn default_threshold() -> f64 {
    0.8
}
