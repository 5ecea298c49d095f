//! Robust DPO.

use burn::tensor::Tensor;

use super::Margins;
use crate::objective::stable::log_sigmoid;
use crate::recipe::loss::PairLoss;

/// (-(1 - e) log s(b D) + e log s(-b D)) / (1 - 2 e), e the share of flipped labels (below 0.5).
///
/// Chowdhury et al. 2024, "Provably Robust DPO": its mean over labels flipped at the rate e is the
/// loss on clean labels.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let flipped = config.label_smoothing;
    let logit = margins.delta().mul_scalar(config.beta);
    let right = log_sigmoid(logit.clone()).mul_scalar(flipped - 1.0);
    let wrong = log_sigmoid(logit.neg()).mul_scalar(flipped);
    right.add(wrong).div_scalar(1.0 - 2.0 * flipped)
}
