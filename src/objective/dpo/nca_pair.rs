//! NCA for pairs.

use burn::tensor::Tensor;

use super::Margins;
use crate::objective::stable::log_sigmoid;
use crate::recipe::loss::PairLoss;

/// -log s(r_w) - 1/2 log s(-r_w) - 1/2 log s(-r_l), with r = b D of each response.
///
/// Chen et al. 2024, "Noise Contrastive Alignment", NCA for K = 2: it also keeps the likelihood of
/// the chosen response from falling.
pub fn loss(margins: &Margins, config: &PairLoss) -> Tensor<1> {
    let chosen = margins.chosen_ratio.clone().mul_scalar(config.beta);
    let rejected = margins.rejected_ratio.clone().mul_scalar(config.beta);
    let noise = log_sigmoid(chosen.clone().neg()).add(log_sigmoid(rejected.neg()));
    log_sigmoid(chosen).add(noise.mul_scalar(0.5)).neg()
}
