//! f-DPO: DPO under another divergence from the reference than reverse KL.

use burn::tensor::Tensor;

use crate::objective::stable::{capped_exp, log_sigmoid};
use crate::recipe::loss::{FDivergence, PairLoss};

/// How near alpha may come to 1, where its divergence becomes the reverse KL and its formula 0 / 0.
const NEAR_ONE: f64 = 1e-6;

/// f'(t) for t = pi / ref, from log t (any \[B\]): what takes the log-ratio's place in the margin.
///
/// Wang et al. 2023, "Beyond Reverse KL", Table 1, less constants that cancel in the margin:
/// reverse KL log t; forward KL 1 - 1/t; Jensen-Shannon log 2t/(1+t); alpha (t^(a-1) - 1) / (a -
/// 1). Alpha 0 is the forward KL, alpha 1 the reverse. Exponents are capped at 80.
pub fn score(config: &PairLoss, log_ratio: Tensor<1>) -> Tensor<1> {
    match config.f_divergence_type {
        FDivergence::ReverseKl => log_ratio,
        FDivergence::ForwardKl => alpha(log_ratio, 0.0),
        FDivergence::JsDivergence => log_sigmoid(log_ratio).add_scalar(std::f64::consts::LN_2),
        FDivergence::AlphaDivergence => alpha(log_ratio, config.f_alpha_divergence_coef),
    }
}

fn alpha(log_ratio: Tensor<1>, alpha: f64) -> Tensor<1> {
    let power = alpha - 1.0;
    if power.abs() < NEAR_ONE {
        return log_ratio;
    }
    let raised = capped_exp(log_ratio.mul_scalar(power));
    raised.sub_scalar(1.0).div_scalar(power)
}
