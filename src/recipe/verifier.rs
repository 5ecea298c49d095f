//! `[verifier]`: a model that says whether a solution, or each of its steps, is right.

use super::{Data, Lora, Train};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A process or an outcome reward model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    /// Rows of `prompt`, `completions` and `labels` (a label for each step), of `conversations` whose assistant answers `+` or
    /// `-`, or of `prompt`, `responses` and `labels` (a label for each solution) or the right `answer`.
    pub data: Data,
    /// Rows to evaluate on, instead of `data.held_out`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Data>,
    /// What it says of a solution.
    #[serde(default)]
    pub kind: VerifierKind,
    /// What stands between the steps of a solution that is one text.
    #[serde(default = "default_separator")]
    pub separator: String,
    /// Begin with this model; absent: with that of `[sft]` where there is one, else that of `[model]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_name_or_path: Option<String>,
    /// Branch, tag or commit of a hub id; absent: the main branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Longest problem with its solution and its marks, in tokens; what is longer is left out.
    #[serde(default = "default_solution_length")]
    #[schemars(range(min = 2))]
    pub max_length: usize,
    /// Seed of a fresh score head and of the order of rows; absent: the recipe's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The optimiser.
    #[serde(default)]
    pub train: Train,
    /// Train adapters instead of all weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

/// What a verifier says of a solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifierKind {
    /// `+` or `-` after every step (a process reward model).
    #[default]
    Process,
    /// `+` or `-` after the whole solution (an outcome reward model).
    Outcome,
    /// A score head at the end of the solution (a scalar outcome reward model): a reward model like that of `[reward]`.
    Scalar,
}

/// How the probabilities of a solution's steps become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Their mean, as RLHFlow's evaluation has it.
    #[default]
    Mean,
    /// The smallest.
    Min,
    /// Their product.
    Product,
    /// That of the last step.
    Last,
}

/// A process or an outcome reward model as the judge: its probability that a response is right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerifierJudge {
    /// A folder or hub id with a chat model that answers `+` or `-`; absent: the model that `[verifier]` trains, asked for what it
    /// was trained for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name_or_path: Option<String>,
    /// Branch, tag or commit of a hub id; absent: the main branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Asked after the whole response, not after every step.
    pub outcome: bool,
    /// What stands between the steps of a response.
    pub separator: String,
    /// How the steps' probabilities become one score.
    pub aggregate: Aggregate,
}

impl Default for VerifierJudge {
    fn default() -> Self {
        Self {
            model_name_or_path: None,
            revision: None,
            outcome: false,
            separator: default_separator(),
            aggregate: Aggregate::default(),
        }
    }
}

fn default_separator() -> String {
    "\n\n".to_owned()
}

fn default_solution_length() -> usize {
    2048
}
