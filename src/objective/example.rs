//! What a trainer feeds and what an objective gives back.

use super::reward::Reduce;
use crate::model::Decoder;
use crate::trie::{Sequence, Trie};
use burn::tensor::Tensor;
use std::ops::Range;

/// One row, tokenised: the sequences to score and what the loss needs beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The row's name, for messages.
    pub id: String,
    /// What to score; for a pair the chosen response first.
    pub sequences: Vec<Sequence>,
    /// Log-prob of each sequence under the reference; empty where the objective has none.
    pub reference: Vec<f32>,
    /// By how much the first sequence should win, where the data says so.
    pub margin: Option<f32>,
    /// What is true, from 0 to 1, of each scored token, or of each sequence where none is scored; empty where the tokens
    /// say it.
    pub labels: Vec<f32>,
}

impl Example {
    /// Scored tokens of all sequences.
    pub fn targets(&self) -> usize {
        self.sequences.iter().map(Sequence::scored_count).sum()
    }
}

/// A loss over some examples, with what is worth logging.
pub struct Outcome {
    /// Sum over the examples, `[1]`; the trainer divides it by the weight of the whole optimiser step.
    pub loss: Tensor<1>,
    /// Named values, outside the gradient's graph.
    pub metrics: Vec<Metric>,
}

/// Values of one metric over a micro-batch.
pub struct Metric {
    /// TRL's name.
    pub name: &'static str,
    /// How the values of a whole step become one number.
    pub reduce: Reduce,
    /// One value a pair or a token, `[n]`.
    pub values: Tensor<1>,
}

impl Metric {
    /// A metric that is averaged.
    pub fn mean(name: &'static str, values: Tensor<1>) -> Self {
        Self {
            name,
            reduce: Reduce::Mean,
            values,
        }
    }
}

/// What a model is trained for. Adding one is one file and one line.
pub trait Objective {
    /// How much an example counts in the mean that is minimised: 1 for a pair, its tokens for a text.
    fn weight(&self, example: &Example) -> f64;

    /// Looks at all examples of an optimiser step before its first micro-batch.
    fn begin_step(&mut self, _examples: &[&Example]) {}

    /// Computes what the loss of every micro-batch needs to know of the whole optimiser step: `batches` are runs of `rows`
    /// with their tries, in order.
    fn survey(
        &mut self,
        _decoder: &Decoder,
        _rows: &[&Example],
        _batches: &[(Range<usize>, Trie)],
    ) {
    }

    /// The loss over a micro-batch. `trie` holds the examples' sequences, in order.
    fn loss(&mut self, decoder: &Decoder, examples: &[&Example], trie: &Trie) -> Outcome;

    /// What of the trained decoder is kept.
    fn finished(&self, decoder: Decoder) -> Decoder {
        decoder
    }

    /// What has to be in a checkpoint.
    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Takes a checkpoint's state back.
    ///
    /// # Errors
    /// When the state is not one of this objective.
    fn restore(&mut self, _state: &serde_json::Value) -> crate::Result<()> {
        Ok(())
    }
}
