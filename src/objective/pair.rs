//! Losses over preference pairs: from the log-probs of both responses to one loss per pair.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::dpo::{self, Margins};
use crate::recipe::loss::{LossType, PairLoss};

pub use super::dpo::RunningMean;

/// The log-probs of B pairs under policy and reference. All tensors are f32 \[B\].
#[derive(Debug, Clone)]
pub struct PairLogps {
    /// log pi(chosen | prompt), summed over the response's tokens.
    pub chosen: Tensor<1>,
    /// log pi(rejected | prompt), summed likewise.
    pub rejected: Tensor<1>,
    /// The reference's log-prob of the chosen response; zeros where no loss needs a reference.
    pub ref_chosen: Tensor<1>,
    /// The reference's log-prob of the rejected response; zeros likewise.
    pub ref_rejected: Tensor<1>,
    /// Tokens of the chosen response that were summed.
    pub chosen_tokens: Tensor<1>,
    /// Tokens of the rejected response that were summed.
    pub rejected_tokens: Tensor<1>,
    /// Mean number of chosen tokens per pair over the whole optimiser step, the unit of the NLL
    /// terms (sft, orpo, `rpo_alpha`): with it they do not depend on how the step is cut into
    /// micro-batches. None takes this batch's own mean, as TRL does.
    pub tokens_per_pair: Option<f64>,
}

/// What the losses remember from step to step; belongs in a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairState {
    /// BCO's mean of all rewards seen, used with `bco_running_mean`.
    pub bco: RunningMean,
}

/// The weighted sum of the configured losses for each pair, \[B\].
///
/// Sum it over the micro-batches of an optimiser step and divide by the pairs of that step. Losses
/// that couple the pairs of a batch (aot, `aot_unpaired`) give each pair their mean; those,
/// `kto_pair`'s KL and BCO's running mean see one micro-batch at a time and so depend on its size.
///
/// `state` changes only under `bco_running_mean`; evaluation passes a clone of it.
///
/// # Panics
/// If the config names no loss, which [`PairLoss::check`] refuses.
pub fn pair_loss(config: &PairLoss, logps: &PairLogps, state: &mut PairState) -> Tensor<1> {
    let margins = Margins::new(config, logps);
    let losses = config
        .weighted()
        .map(|(kind, weight)| dpo::loss(kind, &margins, config, state).mul_scalar(weight));
    let sum = losses
        .reduce(Tensor::add)
        .expect("a checked config names a loss");
    match config.rpo_alpha {
        Some(alpha) => sum.add(dpo::sft::loss(&margins).mul_scalar(alpha)),
        None => sum,
    }
}

/// Metrics under TRL's names, a value per pair \[B\] each, outside the gradient's graph. Their mean
/// over the pairs is what TRL logs.
///
/// Rewards are beta * (log pi - log ref) whatever the loss and divergence; where every loss is
/// length-normalised and without reference (SimPO, ORPO) they are beta * log pi / tokens, as in
/// those papers.
pub fn pair_metrics(config: &PairLoss, logps: &PairLogps) -> Vec<(&'static str, Tensor<1>)> {
    let logps = logps.without_autodiff();
    let margins = Margins::new(config, &logps);
    let (chosen, rejected) = if by_length(config) {
        (margins.chosen_mean(), margins.rejected_mean())
    } else {
        (margins.chosen_ratio.clone(), margins.rejected_ratio.clone())
    };
    let chosen = chosen.mul_scalar(config.beta);
    let rejected = rejected.mul_scalar(config.beta);
    let right = chosen.clone().greater(rejected.clone()).float();
    let mut metrics = vec![
        ("rewards/chosen", chosen.clone()),
        ("rewards/rejected", rejected.clone()),
        ("rewards/accuracies", right),
        ("rewards/margins", chosen.sub(rejected)),
        ("logps/chosen", logps.chosen),
        ("logps/rejected", logps.rejected),
    ];
    if has_nll(config) {
        metrics.push(("nll_loss", dpo::sft::loss(&margins)));
    }
    metrics
}

/// Whether the reward the losses shape is the log-prob per token.
fn by_length(config: &PairLoss) -> bool {
    let of_length = |loss: &LossType| matches!(loss, LossType::Simpo | LossType::Orpo);
    config.loss_type.iter().all(of_length)
}

/// Whether an NLL of the chosen response is part of the loss.
fn has_nll(config: &PairLoss) -> bool {
    let with_nll = |loss: &LossType| matches!(loss, LossType::Sft | LossType::Orpo);
    config.rpo_alpha.is_some() || config.loss_type.iter().any(with_nll)
}

impl PairLogps {
    /// The same numbers outside the gradient's graph.
    fn without_autodiff(&self) -> Self {
        let plain = |t: &Tensor<1>| t.clone().without_autodiff();
        Self {
            chosen: plain(&self.chosen),
            rejected: plain(&self.rejected),
            ref_chosen: plain(&self.ref_chosen),
            ref_rejected: plain(&self.ref_rejected),
            chosen_tokens: plain(&self.chosen_tokens),
            rejected_tokens: plain(&self.rejected_tokens),
            tokens_per_pair: self.tokens_per_pair,
        }
    }
}
