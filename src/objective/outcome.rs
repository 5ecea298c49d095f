//! Scalar outcome reward models: the score head says whether a solution is right.

use super::example::{Example, Metric, Objective, Outcome};
use super::verdict::binary_cross_entropy;
use crate::model::Decoder;
use crate::trie::Trie;
use burn::tensor::{Tensor, TensorData};

/// Binary cross entropy of the score at the last token, with the labels of the examples' sequences ("Training Verifiers to
/// Solve Math Word Problems", Cobbe et al. 2021, on the whole solution). It is computed from the logit: the logarithm
/// of a probability rounded to 1 would be lost.
pub struct OutcomeReward;

impl Objective for OutcomeReward {
    fn weight(&self, example: &Example) -> f64 {
        example.sequences.len() as f64
    }

    fn loss(&mut self, decoder: &Decoder, examples: &[&Example], trie: &Trie) -> Outcome {
        let rewards = decoder.rewards(trie);
        let labels: Vec<f32> = examples.iter().flat_map(|e| e.labels.clone()).collect();
        let count = labels.len();
        let labels = Tensor::<1>::from_data(TensorData::new(labels, [count]), &rewards.device());
        let signs = labels.clone().mul_scalar(2.0).sub_scalar(1.0);
        let margin = rewards.clone().without_autodiff().mul(signs);
        Outcome {
            loss: binary_cross_entropy(rewards, labels).sum(),
            metrics: vec![
                Metric::mean("accuracy", margin.clone().greater_elem(0.0).float()),
                Metric::mean("margin", margin),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// The released script takes the logarithm of a probability with 1e-10 added, which of a sure mistake is never more than 23.
    #[test]
    fn d20_a_sure_mistake_costs_what_its_logit_says() {
        let device = Device::flex();
        let of = |logit: f32, label: f32| -> f32 {
            let logits = Tensor::<1>::from_floats([logit], &device);
            let loss = binary_cross_entropy(logits, Tensor::from_floats([label], &device));
            loss.into_scalar::<f32>()
        };
        assert_eq!((of(40.0, 0.0), of(-40.0, 1.0)), (40.0, 40.0));
        assert!(of(40.0, 1.0) < 1e-6);
    }
}
