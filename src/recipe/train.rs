//! A stage's `[..train]`: the optimiser, its schedule and the size of a step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a stage trains; keys as in transformers' `TrainingArguments`. Defaults are DPO's of the paper; those of the
/// other stages are in `defaults.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// The peak learning rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// What the learning rate does after its warm-up.
    pub lr_scheduler_type: LrSchedulerType,
    /// Share of the steps in which the learning rate rises from 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup_ratio: f64,
    /// The same as a number of steps; above 0 it replaces `warmup_ratio`.
    pub warmup_steps: usize,
    /// How often every row is seen.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub num_train_epochs: f64,
    /// Stop after this many optimiser steps, whatever the epochs say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_steps: Option<usize>,
    /// Rows of an optimiser step, together with `gradient_accumulation_steps`: only the product counts.
    #[schemars(range(min = 1))]
    pub per_device_train_batch_size: usize,
    /// The other factor of the rows of an optimiser step.
    #[schemars(range(min = 1))]
    pub gradient_accumulation_steps: usize,
    /// Tokens computed at once, after shared prefixes are merged: memory grows with it, results do not change. A row
    /// that is larger goes alone.
    #[schemars(range(min = 1))]
    pub max_tokens_per_batch: usize,
    /// Keep only what goes into each block and compute the blocks again for the backward pass: a fraction of the
    /// memory for activations, 15 to 30 % more time, the same bits.
    pub gradient_checkpointing: bool,
    /// How the optimiser keeps its moments.
    #[serde(skip_serializing_if = "Optim::is_default")]
    pub optim: Optim,
    /// AdamW's decoupled weight decay.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// AdamW's decay of the mean.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub adam_beta1: f64,
    /// AdamW's decay of the square.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub adam_beta2: f64,
    /// AdamW's epsilon.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub adam_epsilon: f64,
    /// Gradients are scaled down to this norm; 0 leaves them alone.
    #[schemars(range(min = 0.0))]
    pub max_grad_norm: f64,
    /// Optimiser steps between two lines of metrics.
    #[schemars(range(min = 1))]
    pub logging_steps: usize,
    /// Optimiser steps between two evaluations on held-out rows; absent: once, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub eval_steps: Option<usize>,
    /// Optimiser steps between two checkpoints to resume from.
    #[schemars(range(min = 1))]
    pub save_steps: usize,
    /// How many such checkpoints are kept.
    #[schemars(range(min = 1))]
    pub save_total_limit: usize,
}

impl Train {
    /// Rows of one optimiser step.
    pub fn rows_per_step(&self) -> usize {
        self.per_device_train_batch_size
            .saturating_mul(self.gradient_accumulation_steps)
    }
}

impl Default for Train {
    fn default() -> Self {
        Self {
            learning_rate: 5e-7,
            lr_scheduler_type: LrSchedulerType::Cosine,
            warmup_ratio: 0.03,
            warmup_steps: 0,
            num_train_epochs: 1.0,
            max_steps: None,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 16,
            max_tokens_per_batch: 4096,
            gradient_checkpointing: false,
            optim: Optim::Adamw,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            logging_steps: 1,
            eval_steps: None,
            save_steps: 50,
            save_total_limit: 1,
        }
    }
}

/// How the optimiser keeps its moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optim {
    /// AdamW, in f32.
    #[default]
    Adamw,
    /// AdamW with 8 bits for each moment: a quarter of their memory.
    #[serde(rename = "adamw_8bit")]
    Adamw8bit,
}

impl Optim {
    /// Left out where it is written, so that a recipe from before the key is the same recipe.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the learning rate does after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    /// Falls to 0 along half a cosine.
    #[default]
    Cosine,
    /// Falls to 0 along a line.
    Linear,
    /// Stays, and there is no warm-up.
    Constant,
    /// Stays after its warm-up.
    ConstantWithWarmup,
}
