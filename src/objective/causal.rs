//! SFT: the mean negative log-likelihood of the scored tokens.

use super::example::{Example, Metric, Objective, Outcome};
use crate::model::Decoder;
use crate::trie::Trie;
use burn::tensor::Tensor;
use duel_backends::ops::TargetLogprobs;

/// Next-token prediction on the tokens that a row marks: `-1/T sum log p(t)`.
pub struct Sft;

impl Objective for Sft {
    fn weight(&self, example: &Example) -> f64 {
        example.targets() as f64
    }

    fn loss(&mut self, decoder: &Decoder, _examples: &[&Example], trie: &Trie) -> Outcome {
        let TargetLogprobs { logps, notes } = decoder.target_logprobs(trie);
        Outcome {
            loss: logps.sum().neg(),
            metrics: vec![
                Metric::mean("mean_token_accuracy", note(&notes, 2)),
                Metric::mean("entropy", note(&notes, 0)),
            ],
        }
    }
}

/// One column of the notes beside the log-probs, `[targets]`.
pub(super) fn note(notes: &Tensor<2>, column: usize) -> Tensor<1> {
    let notes = notes.clone().without_autodiff();
    let count = notes.dims()[0];
    notes.narrow(1, column, 1).reshape([count])
}
