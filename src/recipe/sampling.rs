//! `[online.generate]` and `[eval.generate]`: how responses are drawn.

use super::one_or_many::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How responses are drawn; keys as in transformers' `GenerationConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Responses for each prompt (the K of best-of-K).
    #[schemars(range(min = 1))]
    pub num_generations: usize,
    /// One temperature, or a mix that the responses of a prompt go through in turn; 0 is greedy. The paper mixes
    /// 1.0 and 0.7.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<f64>")]
    pub temperature: Vec<f64>,
    /// Keep the likeliest tokens that together have this probability; 1 keeps all.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub top_p: f64,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Drop tokens less likely than this share of the likeliest; 0 drops none.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub min_p: f64,
    /// Divide the logits of tokens that already occurred; 1 does nothing.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub repetition_penalty: f64,
    /// Longest response, in tokens.
    #[schemars(range(min = 1))]
    pub max_new_tokens: usize,
    /// Texts that end a response, beside the model's own end-of-turn tokens.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub stop: Vec<String>,
    /// What the weights are rounded to while responses are drawn; sums stay f32. `bf16` halves and `int8` quarters what
    /// each token has to read, and the responses are those of the rounded policy. Training never rounds.
    pub dtype: WeightDtype,
    /// Tokens held in the cache at once, which decides how many prompts decode together.
    #[schemars(range(min = 1))]
    pub max_tokens_per_batch: usize,
}

/// What weights are kept as while they are only read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightDtype {
    /// As they are.
    #[default]
    F32,
    /// Half the bytes.
    Bf16,
    /// A quarter of the bytes: 127 steps either way of the largest of 64 neighbours.
    Int8,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            num_generations: 4,
            temperature: vec![1.0],
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_new_tokens: 256,
            stop: Vec::new(),
            dtype: WeightDtype::F32,
            max_tokens_per_batch: 16_384,
        }
    }
}
