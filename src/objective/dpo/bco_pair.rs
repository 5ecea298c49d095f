//! BCO on pairs.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::Margins;
use crate::objective::stable::log_sigmoid;
use crate::recipe::loss::PairLoss;

/// -log s(b D_w - d) - log s(-(b D_l - d)), where d is 0 or, with `bco_running_mean`, the mean of all rewards so far.
///
/// Jung et al. 2024, "Binary Classifier Optimization" (d is their reward shift, a constant
/// for the gradient). Reads one number from the device when d is used.
pub fn loss(margins: &Margins, config: &PairLoss, mean: &mut RunningMean) -> Tensor<1> {
    let chosen = margins.chosen_ratio.clone().mul_scalar(config.beta);
    let rejected = margins.rejected_ratio.clone().mul_scalar(config.beta);
    let shift = match config.bco_running_mean {
        true => mean.take_in(&chosen, &rejected),
        false => 0.0,
    };
    let chosen = log_sigmoid(chosen.sub_scalar(shift));
    let rejected = log_sigmoid(rejected.sub_scalar(shift).neg());
    chosen.add(rejected).neg()
}

/// The mean of every reward seen since the start of training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningMean {
    /// The mean; 0 before the first pair.
    pub mean: f64,
    /// How many pairs it holds. (TRL counts batches: the same while they are of one size.)
    pub pairs: u64,
}

impl RunningMean {
    /// Takes in the rewards of a batch \[B\], whose graph it leaves alone, and gives the new mean.
    ///
    /// A mean that is not finite is not taken in: the trainer refuses that step, and the state
    /// outlives it.
    fn take_in(&mut self, chosen: &Tensor<1>, rejected: &Tensor<1>) -> f64 {
        let [pairs] = chosen.dims();
        let both = chosen.clone().add(rejected.clone()).without_autodiff();
        let batch = f64::from(both.mean().into_scalar::<f32>()) * 0.5;
        if batch.is_finite() {
            self.pairs += pairs as u64;
            self.mean += (batch - self.mean) * pairs as f64 / self.pairs as f64;
        }
        self.mean
    }
}
