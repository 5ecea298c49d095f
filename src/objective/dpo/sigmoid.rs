//! DPO.

use burn::tensor::Tensor;

use super::Margins;
use crate::objective::stable::log_sigmoid;
use crate::recipe::loss::PairLoss;

/// -(1 - e) log s(b D) - e log s(-b D), with D the margin and e the label smoothing.
///
/// Rafailov et al. 2023, "Direct Preference Optimization", eq. 7; with e > 0 the conservative
/// DPO of Mitchell 2023, "A note on DPO with noisy preferences".
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    smoothed(
        margins.delta().mul_scalar(config.beta),
        config.label_smoothing,
    )
}

/// The same of any logit: cross-entropy with a label that is wrong with probability `smoothing`.
pub fn smoothed(logit: Tensor<1>, smoothing: f64) -> Tensor<1> {
    let right = log_sigmoid(logit.clone()).mul_scalar(smoothing - 1.0);
    if smoothing == 0.0 {
        return right;
    }
    right.sub(log_sigmoid(logit.neg()).mul_scalar(smoothing))
}
