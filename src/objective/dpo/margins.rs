//! What the losses look at: log-ratios of policy to reference, and their differences.

use burn::tensor::Tensor;

use super::f_divergence;
use crate::objective::pair::PairLogps;
use crate::recipe::loss::PairLoss;

/// The numbers of B pairs in the papers' terms. All tensors \[B\].
#[derive(Debug, Clone)]
pub struct Margins {
    /// log pi(y_w), over the tokens of the chosen response.
    pub chosen: Tensor<1>,
    /// log pi(y_l), over the tokens of the rejected response.
    pub rejected: Tensor<1>,
    /// log ref(y_w); 0 if `reference_free`.
    pub ref_chosen: Tensor<1>,
    /// log ref(y_l); 0 if `reference_free`.
    pub ref_rejected: Tensor<1>,
    /// log pi(y_w) / ref(y_w).
    pub chosen_ratio: Tensor<1>,
    /// log pi(y_l) / ref(y_l).
    pub rejected_ratio: Tensor<1>,
    /// f'(pi / ref) of the chosen response; its log-ratio under reverse KL.
    pub chosen_score: Tensor<1>,
    /// f'(pi / ref) of the rejected response.
    pub rejected_score: Tensor<1>,
    /// Tokens of the chosen response, at least 1.
    pub chosen_tokens: Tensor<1>,
    /// Tokens of the rejected response, at least 1.
    pub rejected_tokens: Tensor<1>,
    /// Chosen tokens per pair, the same number for every pair, at least 1.
    pub tokens_per_pair: Tensor<1>,
}

impl Margins {
    /// Ratios and scores of these log-probs.
    pub fn new(config: &PairLoss, logps: &PairLogps) -> Self {
        let reference = |t: &Tensor<1>| match config.reference_free {
            true => t.zeros_like(),
            false => t.clone(),
        };
        let (ref_chosen, ref_rejected) =
            (reference(&logps.ref_chosen), reference(&logps.ref_rejected));
        let chosen_ratio = logps.chosen.clone().sub(ref_chosen.clone());
        let rejected_ratio = logps.rejected.clone().sub(ref_rejected.clone());
        let tokens_per_pair = match logps.tokens_per_pair {
            Some(tokens) => logps.chosen_tokens.full_like(tokens),
            None => super::spread_mean(logps.chosen_tokens.clone()),
        };
        Self {
            chosen: logps.chosen.clone(),
            rejected: logps.rejected.clone(),
            ref_chosen,
            ref_rejected,
            chosen_score: f_divergence::score(config, chosen_ratio.clone()),
            rejected_score: f_divergence::score(config, rejected_ratio.clone()),
            chosen_ratio,
            rejected_ratio,
            chosen_tokens: logps.chosen_tokens.clone().clamp_min(1.0),
            rejected_tokens: logps.rejected_tokens.clone().clamp_min(1.0),
            tokens_per_pair: tokens_per_pair.clamp_min(1.0),
        }
    }

    /// The margin all of DPO's family pushes up: chosen score less rejected score.
    pub fn delta(&self) -> Tensor<1> {
        self.chosen_score.clone().sub(self.rejected_score.clone())
    }

    /// The same of the scores per token.
    pub fn delta_per_token(&self) -> Tensor<1> {
        let chosen = self.chosen_score.clone().div(self.chosen_tokens.clone());
        let rejected = self
            .rejected_score
            .clone()
            .div(self.rejected_tokens.clone());
        chosen.sub(rejected)
    }

    /// log pi(y_w) / |y_w|.
    pub fn chosen_mean(&self) -> Tensor<1> {
        self.chosen.clone().div(self.chosen_tokens.clone())
    }

    /// log pi(y_l) / |y_l|.
    pub fn rejected_mean(&self) -> Tensor<1> {
        self.rejected.clone().div(self.rejected_tokens.clone())
    }
}
