//! SimPO.

use burn::tensor::Tensor;

use super::Margins;
use super::sigmoid::smoothed;
use crate::recipe::loss::PairLoss;

/// -log s(b (log pi(y_w) / |y_w| - log pi(y_l) / |y_l|) - gamma), without a reference.
///
/// Meng et al. 2024, "SimPO", eq. 6. Their beta is 2 to 2.5, twenty times DPO's, as it multiplies a
/// mean.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let apart = margins.chosen_mean().sub(margins.rejected_mean());
    let logit = apart.mul_scalar(config.beta).sub_scalar(config.simpo_gamma);
    smoothed(logit, config.label_smoothing)
}
