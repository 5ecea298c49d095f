//! AOT on paired data.

use burn::tensor::Tensor;

use super::sigmoid::smoothed;
use super::{Margins, spread_mean};
use crate::recipe::loss::PairLoss;

/// DPO's loss on the sorted log-ratios chosen / rejected of the policy against the sorted ones of
/// the reference.
///
/// Melnyk et al. 2024, "Distributional Preference Alignment of LLMs via Optimal Transport", paired:
/// the policy's margins shall dominate the reference's as a distribution. It belongs to the batch,
/// so every pair is given the mean.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let policy = margins.chosen.clone().sub(margins.rejected.clone());
    let reference = margins.ref_chosen.clone().sub(margins.ref_rejected.clone());
    let apart = policy.sort(0).sub(reference.sort(0));
    spread_mean(smoothed(
        apart.mul_scalar(config.beta),
        config.label_smoothing,
    ))
}
