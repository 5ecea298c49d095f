//! SPPO with hard labels.

use burn::tensor::Tensor;

use super::{Margins, square};
use crate::recipe::loss::PairLoss;

/// (D_w - 1 / (2 b))^2 + (D_l + 1 / (2 b))^2.
///
/// Wu et al. 2024, "Self-Play Preference Optimization", eq. 4.7 with the win probability 1 for the
/// chosen and 0 for the rejected response; 1 / b is their eta.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let target = 0.5 / config.beta;
    let chosen = square(margins.chosen_ratio.clone().sub_scalar(target));
    let rejected = square(margins.rejected_ratio.clone().add_scalar(target));
    chosen.add(rejected)
}
