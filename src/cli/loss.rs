//! The flags of a loss over pairs, each named as TRL names it.

use super::numbers;
use crate::error::Result;
use crate::recipe::{FDivergence, LossType, PairLoss};
use clap::Args;

/// Everything that shapes a preference loss.
#[derive(Debug, Args)]
pub struct Loss {
    /// The loss, as TRL spells it; several, parted by commas, are added
    #[arg(long, default_value = "sigmoid", value_delimiter = ',')]
    loss: Vec<LossType>,
    /// Weights of several losses, parted by commas
    #[arg(long, value_delimiter = ',', value_name = "W,W")]
    loss_weights: Vec<f64>,
    /// Strength of the pull to the reference
    #[arg(long, default_value_t = 0.1)]
    beta: f64,
    /// Share of pairs believed to be labelled wrongly
    #[arg(long, default_value_t = 0.0)]
    label_smoothing: f64,
    /// The divergence from the reference: reverse_kl, forward_kl, js_divergence, alpha_divergence
    #[arg(long, default_value = "reverse_kl")]
    f_divergence_type: FDivergence,
    /// The alpha of `alpha_divergence`
    #[arg(long, default_value_t = 0.5)]
    f_alpha_divergence_coef: f64,
    /// Weight of the NLL of the chosen response, added to the loss (RPO)
    #[arg(long, value_parser = numbers::positive)]
    rpo_alpha: Option<f64>,
    /// Take the reference as uniform: its log-probs count as 0
    #[arg(long)]
    reference_free: bool,
    /// Temperature of `discopop`
    #[arg(long, default_value_t = 0.05)]
    discopop_tau: f64,
    /// Target margin of `simpo`
    #[arg(long, default_value_t = 0.5)]
    simpo_gamma: f64,
    /// Shift the rewards of `bco_pair` by their running mean
    #[arg(long)]
    bco_running_mean: bool,
}

impl Loss {
    /// The loss, checked.
    ///
    /// # Errors
    /// Values that no loss can work with.
    pub fn config(&self) -> Result<PairLoss> {
        let config = PairLoss {
            loss_type: self.loss.clone(),
            loss_weights: self.loss_weights.clone(),
            beta: self.beta,
            label_smoothing: self.label_smoothing,
            f_divergence_type: self.f_divergence_type,
            f_alpha_divergence_coef: self.f_alpha_divergence_coef,
            rpo_alpha: self.rpo_alpha,
            reference_free: self.reference_free,
            discopop_tau: self.discopop_tau,
            simpo_gamma: self.simpo_gamma,
            bco_running_mean: self.bco_running_mean,
        };
        config.check()?;
        Ok(config)
    }
}
