//! `[multi_objective]`: a reward for each attribute, weighed by the prompt.

use super::{Data, Overlong, Recipe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A multi-objective reward model (ArmoRM): linear rewards for rated attributes on the hidden states of a model that stays as it
/// is, and a network, trained on pairs, that weighs them by the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiObjective {
    /// Pairs that the gate learns from: rows of `chosen` and `rejected`, with or without `prompt`.
    pub data: Data,
    /// Pairs to evaluate on, instead of `data.held_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Data>,
    /// Rated responses: rows of `messages`, or of `prompt` and `response`, with a number for each attribute, or none where
    /// nobody rated it. The scale is the file's own; as probes have no intercept, ratings around 0 are learnt best.
    pub ratings: Data,
    /// The columns that are attributes; absent: all of numbers that mean nothing else to duel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// Take this attribute, usually one of length, out of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debias: Option<String>,
    /// Spearman's correlation with it that an attribute may keep, over the pairs' responses.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub debias_threshold: f64,
    /// Read the hidden states of this model; absent: of that of `[reward]` where there is one, else `[sft]`, else `[model]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_name_or_path: Option<String>,
    /// Branch, tag or commit of a hub id; absent: the main branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Longest response with its prompt, in tokens.
    #[serde(default = "super::stages::default_max_length")]
    #[schemars(range(min = 2))]
    pub max_length: usize,
    /// What happens to longer rows.
    #[serde(default)]
    pub overlong: Overlong,
    /// Tokens computed at once, after shared prefixes are merged.
    #[serde(default = "default_max_tokens_per_batch")]
    #[schemars(range(min = 1))]
    pub max_tokens_per_batch: usize,
    /// Seed of the gate and of its batches; absent: the recipe's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The network that weighs the attributes.
    #[serde(default)]
    pub gate: Gating,
    /// A decision tree beside it, which compares two responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<DecisionTree>,
}

/// A shallow tree over how far one response leads the other in each attribute (RLHFlow's decision-tree reward model): the model can
/// be named wherever a pairwise model can, and what it goes by can be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionTree {
    /// Questions that it may ask of two responses.
    #[schemars(range(min = 1, max = 16))]
    pub max_depth: usize,
    /// Comparisons (two a pair, one in each order) that every answer must stand on.
    #[schemars(range(min = 1))]
    pub min_samples_leaf: usize,
}

impl Recipe {
    /// Whether its multi-objective model has a decision tree, which compares two responses as a pairwise model does.
    pub fn grows_tree(&self) -> bool {
        let has_tree = |table: &MultiObjective| table.tree.is_some();
        self.multi_objective.as_ref().is_some_and(has_tree)
    }
}

impl Default for DecisionTree {
    fn default() -> Self {
        Self {
            max_depth: 3,
            min_samples_leaf: 1,
        }
    }
}

/// The gate and its training, with ArmoRM's numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gating {
    /// Width of its hidden layers.
    #[schemars(range(min = 1))]
    pub hidden_size: usize,
    /// How many hidden layers; 0 weighs the attributes linearly in the hidden state.
    #[schemars(range(min = 0, max = 32))]
    pub n_hidden: usize,
    /// Dropout behind each of them while it is trained.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// What the logits are divided by before the softmax: higher is closer to equal weights.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// What the weights of the attributes sum to at the start; it is learned, too. Where rewards of rated attributes differ by
    /// little, a small sum makes the gate put all of it on the one that differs most.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub logit_scale: f64,
    /// Optimiser steps.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Pairs of a step, drawn with replacement.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// AdamW's rate at the start; it falls to 0 along half a cosine.
    #[schemars(range(min = 0.0))]
    pub learning_rate: f64,
}

impl Default for Gating {
    fn default() -> Self {
        Self {
            hidden_size: 1024,
            n_hidden: 3,
            dropout: 0.2,
            temperature: 10.0,
            logit_scale: 1.0,
            steps: 2000,
            batch_size: 1024,
            learning_rate: 1e-3,
        }
    }
}

fn default_threshold() -> f64 {
    0.03
}

fn default_max_tokens_per_batch() -> usize {
    4096
}
