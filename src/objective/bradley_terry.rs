//! Bradley-Terry reward models: a score head at the last token, the chosen response above the rejected.

use super::example::{Example, Metric, Objective, Outcome};
use super::reward::{reward_loss, reward_metrics};
use crate::model::Decoder;
use crate::trie::Trie;
use burn::tensor::{Tensor, TensorData};

/// `-log sigmoid(r_chosen - r_rejected)`, with the options of [`reward_loss`].
pub struct BradleyTerry {
    /// Subtract the rows' margins.
    pub margin: bool,
    /// Pull of the mean reward to 0.
    pub center_rewards_coefficient: Option<f64>,
}

impl Objective for BradleyTerry {
    fn weight(&self, _example: &Example) -> f64 {
        1.0
    }

    fn loss(&mut self, decoder: &Decoder, examples: &[&Example], trie: &Trie) -> Outcome {
        let (chosen, rejected) = apart(decoder.rewards(trie));
        let margin = self.margin.then(|| {
            let margins: Vec<f32> = examples.iter().map(|e| e.margin.unwrap_or(0.0)).collect();
            Tensor::from_data(TensorData::new(margins, [examples.len()]), &chosen.device())
        });
        let metrics = metrics(chosen.clone(), rejected.clone());
        let losses = reward_loss(chosen, rejected, margin, self.center_rewards_coefficient);
        Outcome {
            loss: losses.sum(),
            metrics,
        }
    }
}

/// What is logged of the rewards of pairs, `[pairs]` each.
pub(super) fn metrics(chosen: Tensor<1>, rejected: Tensor<1>) -> Vec<Metric> {
    let metric = |(name, reduce, values)| Metric {
        name,
        reduce,
        values,
    };
    reward_metrics(chosen, rejected)
        .into_iter()
        .map(metric)
        .collect()
}

/// `[2 pairs]` with chosen and rejected in turn to two of `[pairs]`.
pub(super) fn apart(both: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
    let pairs = both.dims()[0] / 2;
    let both = both.reshape([pairs, 2]);
    let side = |i| both.clone().narrow(1, i, 1).reshape([pairs]);
    (side(0), side(1))
}
