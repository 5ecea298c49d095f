//! KTO on pairs.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::{Margins, spread_mean};
use crate::recipe::loss::PairLoss;

/// Half of 1 - s(b (D_w - K_l)) + 1 - s(b (K_w - D_l)), K = max(0, mean of D over the batch), a
/// constant for the gradient.
///
/// Ethayarajh et al. 2024, "KTO", eq. 7, in the paired form of TRL before 0.9: a pair is one
/// desirable and one undesirable example, each measured against the other side's KL. Half, as it is
/// a mean over examples.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let (chosen, rejected) = (margins.chosen_ratio.clone(), margins.rejected_ratio.clone());
    let (chosen_kl, rejected_kl) = (kl(chosen.clone()), kl(rejected.clone()));
    let miss = |gain: Tensor<1>| sigmoid(gain.mul_scalar(-config.beta));
    let both = miss(chosen.sub(rejected_kl)).add(miss(chosen_kl.sub(rejected)));
    both.mul_scalar(0.5)
}

/// The batch's estimate of the KL divergence, \[B\] copies of one number that is never negative.
fn kl(ratios: Tensor<1>) -> Tensor<1> {
    spread_mean(ratios.without_autodiff()).clamp_min(0.0)
}
