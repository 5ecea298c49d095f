//! ORPO.

use burn::tensor::Tensor;

use super::{Margins, sft};
use crate::objective::stable::{log_one_minus_exp, log_sigmoid};
use crate::recipe::loss::PairLoss;

/// NLL of the chosen response - b log s(log odds(y_w) - log odds(y_l)), without a reference.
///
/// Hong et al. 2024, "ORPO", eq. 6 and 7; b is their lambda, odds = p / (1 - p) of the mean
/// probability per token. The NLL is over the response, as in the paper; TRL counts the prompt in.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let log_odds = |mean: Tensor<1>| mean.clone().sub(log_one_minus_exp(mean));
    let apart = log_odds(margins.chosen_mean()).sub(log_odds(margins.rejected_mean()));
    sft::loss(margins).sub(log_sigmoid(apart).mul_scalar(config.beta))
}
