//! AOT on unpaired data.

use burn::tensor::Tensor;

use super::sigmoid::smoothed;
use super::{Margins, spread_mean};
use crate::recipe::loss::PairLoss;

/// DPO's loss on the sorted rewards of all chosen against the sorted rewards of all rejected
/// responses.
///
/// Melnyk et al. 2024, "Distributional Preference Alignment of LLMs via Optimal Transport",
/// unpaired; `aot_pair` in TRL before 1.0. It belongs to the batch, so every pair is given the
/// mean.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let chosen = margins.chosen_ratio.clone().sort(0);
    let rejected = margins.rejected_ratio.clone().sort(0);
    let apart = chosen.sub(rejected).mul_scalar(config.beta);
    spread_mean(smoothed(apart, config.label_smoothing))
}
