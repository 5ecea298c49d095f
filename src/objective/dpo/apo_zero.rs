//! APO-zero.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::Margins;
use crate::recipe::loss::PairLoss;

/// 1 - s(b D_w) + s(b D_l): the chosen response up, the rejected one down.
///
/// D'Oosterlinck et al. 2024, "Anchored Preference Optimization", eq. 7: for chosen responses
/// better than the model's own.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let miss = sigmoid(margins.chosen_ratio.clone().mul_scalar(-config.beta));
    miss.add(sigmoid(
        margins.rejected_ratio.clone().mul_scalar(config.beta),
    ))
}
