//! SLiC's hinge.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::Margins;
use crate::recipe::loss::PairLoss;

/// max(0, 1 - b D).
///
/// Zhao et al. 2023, "SLiC-HF", its calibration loss, on DPO's margin as in Liu et al. 2023,
/// "Statistical Rejection Sampling Improves Preference Optimization".
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    relu(margins.delta().mul_scalar(-config.beta).add_scalar(1.0))
}
