//! DPO with length-normalised rewards.

use burn::tensor::Tensor;

use super::Margins;
use super::sigmoid::smoothed;
use crate::recipe::loss::PairLoss;

/// -log s(b (D_w / |y_w| - D_l / |y_l|)).
///
/// Lambert et al. 2024, "Tulu 3", so that a long response gains nothing by its length.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let logit = margins.delta_per_token().mul_scalar(config.beta);
    smoothed(logit, config.label_smoothing)
}
