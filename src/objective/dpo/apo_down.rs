//! APO-down.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::Margins;
use crate::recipe::loss::PairLoss;

/// s(b D_w) + 1 - s(b (D_w - D_l)): both responses down, the rejected one more.
///
/// D'Oosterlinck et al. 2024, "Anchored Preference Optimization", eq. 8: for chosen responses worse
/// than the model's own.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let chosen = margins.chosen_ratio.clone();
    let apart = chosen.clone().sub(margins.rejected_ratio.clone());
    let miss = sigmoid(apart.mul_scalar(-config.beta));
    sigmoid(chosen.mul_scalar(config.beta)).add(miss)
}
