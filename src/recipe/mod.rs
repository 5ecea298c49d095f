//! TOML in, checked recipe out. Knows no tensors.
//!
//! A recipe is nested tables, one per owner: `[model]`, then one table for each stage that shall run (`[sft]`,
//! `[reward]`, `[multi_objective]`, `[pairwise]`, `[verifier]`, `[dpo]`, `[online]`, `[eval]`). A table that is absent is a stage that
//! does not run. A choice is a
//! table name (`[online.judge.reward]` or `[online.judge.rule]`), never a tag: that keeps every error's caret.
//!
//! Read in this order: the tables (`model`, `data`, `train`, `sampling`, `stages`, `judge`, `online`), then how a file
//! becomes one: [`load`](Recipe::load) reads the layers (`source`, `layers`, `set`), checks them against the schema
//! (`schema`, `check`), and keeps the place of every value for errors (`complaint`) and for `show`.

mod catalogue;
mod check;
mod complaint;
mod data;
mod hub_set;
mod judge;
mod layers;
mod load;
pub mod loss;
mod model;
mod multi_objective;
mod one_or_many;
mod online;
mod pairwise;
mod pattern;
mod reference;
mod sampling;
mod schema;
mod set;
mod show;
mod source;
mod stages;
#[cfg(test)]
mod tests;
mod train;
mod verifier;

pub use catalogue::{SHIPPED, Shipped, catalogue};
pub use data::{Data, Overlong};
pub use hub_set::{HubSet, has_rows};
pub use judge::{Ask, CommandJudge, Judge, PairwiseJudge, RemoteJudge, RewardJudge, Rounds, Rule};
pub use load::{Loaded, Origin};
pub use loss::{FDivergence, LossType, PairLoss};
pub use model::{Backend, Device, Dtype, Lora, Model, ModelSource, NewModel};
pub use multi_objective::{DecisionTree, Gating, MultiObjective};
pub use online::{Choose, History, Online, Pairs, Reference};
pub use pairwise::{Odin, Pairwise, Rrm, Ssrm};
pub use pattern::matching;
pub use reference::reference_markdown;
pub use sampling::{Sampling, WeightDtype};
pub use schema::schema;
pub use show::{hash_of, without_effect};
pub use stages::{Dpo, Eval, Reward, Sft};
pub use train::{LrSchedulerType, Optim, Train};
pub use verifier::{Aggregate, Verifier, VerifierJudge, VerifierKind};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything a run does. The stages run in the order they stand in here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run: its folder is `<output_dir>/<name>`. Recipes of one name share that folder, and with it the
    /// stages that are already done.
    pub name: String,
    /// One line that `duel recipe list` prints.
    #[serde(default)]
    pub description: String,
    /// The one seed of the run; every random choice is drawn from it, its purpose and its row.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where runs are kept, from the folder the command is called in.
    #[serde(default = "default_output_dir")]
    pub output_dir: String,
    /// The model to begin with.
    pub model: Model,
    /// Where to compute.
    #[serde(default)]
    pub device: Device,
    /// Supervised fine-tuning; with `[model.new]`, pretraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sft: Option<Sft>,
    /// A Bradley-Terry reward model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<Reward>,
    /// A multi-objective reward model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_objective: Option<MultiObjective>,
    /// A pairwise preference model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairwise: Option<Pairwise>,
    /// A process or an outcome reward model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<Verifier>,
    /// Offline DPO on a fixed file of pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpo: Option<Dpo>,
    /// Online iterative DPO: rounds of generate, judge, pair, train.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<Online>,
    /// Compare the trained policy with the one it started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<Eval>,
}

fn default_seed() -> u64 {
    42
}

fn default_output_dir() -> String {
    "runs".to_owned()
}
