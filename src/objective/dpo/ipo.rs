//! IPO.

use burn::tensor::Tensor;

use super::{Margins, square};
use crate::recipe::loss::PairLoss;

/// (D' - 1 / (2 b))^2, with D' the margin of the scores per token.
///
/// Azar et al. 2023, "A General Theoretical Paradigm", eq. 17 (b is their tau). Per token as in
/// TRL, whose authors asked those of the paper: with sums the target would depend on the length.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    square(margins.delta_per_token().sub_scalar(0.5 / config.beta))
}
