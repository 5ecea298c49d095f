//! DiscoPOP.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::Margins;
use crate::objective::stable::{capped_exp, log_sigmoid};
use crate::recipe::loss::PairLoss;

/// (1 - m) (-log s(x)) + m e^-x, with x = b D and the mixture m = s(x / tau).
///
/// Lu et al. 2024, "Discovering Preference Optimization Algorithms with and for LLMs", eq. 5. The
/// second term is taken as e^(log m - x): far below 0 the product of m = 0 and e^-x = infinity
/// would be NaN.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let logit = margins.delta().mul_scalar(config.beta);
    let mixture = logit.clone().div_scalar(config.discopop_tau);
    let logistic = log_sigmoid(logit.clone())
        .neg()
        .mul(sigmoid(mixture.clone().neg()));
    logistic.add(capped_exp(log_sigmoid(mixture).sub(logit)))
}
