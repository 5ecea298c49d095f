//! EXO for pairs.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::Margins;
use crate::objective::stable::log_sigmoid;
use crate::recipe::loss::PairLoss;

/// The smoothing at `label_smoothing` = 0, where the loss would need log 0: the paper's value. It
/// stays in this function: other losses of the same config keep their 0.
const LEAST_SMOOTHING: f64 = 1e-3;

/// KL(q || p) with q = (s(b D), s(-b D)) and p = (1 - e, e).
///
/// Ji et al. 2024, "Towards Efficient Exact Optimization of Language Model Alignment", eq. 16.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let smoothing = match config.label_smoothing {
        0.0 => LEAST_SMOOTHING,
        given => given,
    };
    let logit = margins.delta().mul_scalar(config.beta);
    let term = |logit: Tensor<1>, label: f64| {
        sigmoid(logit.clone()).mul(log_sigmoid(logit).sub_scalar(label.ln()))
    };
    term(logit.clone(), 1.0 - smoothing).add(term(logit.neg(), smoothing))
}
