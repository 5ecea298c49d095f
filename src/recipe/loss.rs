//! The words for losses over preference pairs, spelt as TRL spells them. The maths is in `objective/`.

use super::one_or_many::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A loss over the log-probs of a chosen and a rejected response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// DPO: -log sigmoid(beta * margin), with label smoothing as cDPO.
    Sigmoid,
    /// DPO on log-probs divided by the response lengths.
    SigmoidNorm,
    /// The unbiased estimate under label noise (Robust DPO).
    Robust,
    /// EXO for pairs.
    ExoPair,
    /// SLiC's hinge.
    Hinge,
    /// Squared distance of the length-averaged margin from 1 / (2 beta).
    Ipo,
    /// BCO: a classifier of each response around a running mean.
    BcoPair,
    /// SPPO with hard labels.
    SppoHard,
    /// NCA for pairs.
    NcaPair,
    /// Distributional alignment: sorted margins of policy against those of the reference.
    Aot,
    /// Distributional alignment on sorted rewards of chosen and of rejected (`aot_pair` in old TRL).
    #[serde(alias = "aot_pair")]
    AotUnpaired,
    /// APO: chosen up, rejected down.
    ApoZero,
    /// APO: both down, rejected more.
    ApoDown,
    /// DiscoPOP, the log-ratio modulated loss.
    Discopop,
    /// Negative log-likelihood of the chosen response.
    Sft,
    /// SimPO: no reference, length-normalised, with a target margin.
    Simpo,
    /// ORPO: NLL of the chosen response plus the odds ratio.
    Orpo,
    /// KTO on pairs.
    KtoPair,
}

/// How far from the reference: the f of the f-divergence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FDivergence {
    /// The usual DPO.
    #[default]
    ReverseKl,
    /// KL of the reference from the policy.
    ForwardKl,
    /// Jensen-Shannon.
    JsDivergence,
    /// Alpha divergence with `f_alpha_divergence_coef`.
    AlphaDivergence,
}

/// Everything that shapes a preference loss; keys and defaults as in TRL's `DPOConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairLoss {
    /// One loss, or several that are added with `loss_weights`.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<LossType>")]
    pub loss_type: Vec<LossType>,
    /// Weight of each loss; empty: 1 each.
    pub loss_weights: Vec<f64>,
    /// Strength of the pull to the reference.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub beta: f64,
    /// Share of pairs believed to be labelled wrongly.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub label_smoothing: f64,
    /// The divergence from the reference.
    pub f_divergence_type: FDivergence,
    /// The alpha of `alpha_divergence`.
    pub f_alpha_divergence_coef: f64,
    /// Weight of the NLL of the chosen response, added to the loss (RPO); none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rpo_alpha: Option<f64>,
    /// Take the reference as uniform: its log-probs count as 0.
    pub reference_free: bool,
    /// Temperature of DiscoPOP's modulation.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub discopop_tau: f64,
    /// SimPO's target margin over beta (`gamma / beta`).
    pub simpo_gamma: f64,
}

impl Default for PairLoss {
    fn default() -> Self {
        Self {
            loss_type: vec![LossType::Sigmoid],
            loss_weights: Vec::new(),
            beta: 0.1,
            label_smoothing: 0.0,
            f_divergence_type: FDivergence::ReverseKl,
            f_alpha_divergence_coef: 0.5,
            rpo_alpha: None,
            reference_free: false,
            discopop_tau: 0.05,
            simpo_gamma: 0.5,
        }
    }
}
