//! DPO and its kin: losses over the log-probs of a chosen and a rejected response.

use super::bradley_terry::apart;
use super::causal::note;
use super::example::{Example, Metric, Objective, Outcome};
use super::pair::{PairLogps, PairState, pair_loss, pair_metrics};
use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::recipe::PairLoss;
use crate::trie::{Sequence, Trie};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Any [`PairLoss`] over log-probs that are summed over each response's tokens.
pub struct Preference {
    config: PairLoss,
    state: PairState,
    tokens_per_pair: Option<f64>,
    /// Pairs of the step in progress.
    pairs: usize,
    /// Whether it was said that a loss over several pairs sees only a part of them.
    told: bool,
}

impl Preference {
    /// The objective of a checked config.
    pub fn new(config: PairLoss) -> Self {
        Self {
            config,
            state: PairState::default(),
            tokens_per_pair: None,
            pairs: 0,
            told: false,
        }
    }

    /// Says once that a loss over several pairs sees fewer of them than a step has.
    fn tell_of_split(&mut self, seen: usize) {
        let mut losses = self.config.loss_type.iter();
        let coupled = losses.find(|loss| loss.couples_pairs());
        if let (Some(loss), false, true) = (coupled, self.told, seen < self.pairs) {
            self.told = true;
            tracing::warn!(
                "`{}` compares the pairs of a micro-batch: {seen} of a step's {} here. Raise max_tokens_per_batch to show it all",
                loss.name(),
                self.pairs
            );
        }
    }

    fn logps(&self, sums: Tensor<1>, examples: &[&Example]) -> PairLogps {
        let device = sums.device();
        let (chosen, rejected) = apart(sums);
        let column = |f: &dyn Fn(&Example) -> f32| {
            let values: Vec<f32> = examples.iter().map(|e| f(e)).collect();
            Tensor::from_data(TensorData::new(values, [examples.len()]), &device)
        };
        let tokens = |i: usize| column(&|e| e.sequences[i].scored_count() as f32);
        let reference = |i: usize| column(&|e| e.reference.get(i).copied().unwrap_or(0.0));
        PairLogps {
            chosen,
            rejected,
            ref_chosen: reference(0),
            ref_rejected: reference(1),
            chosen_tokens: tokens(0),
            rejected_tokens: tokens(1),
            tokens_per_pair: self.tokens_per_pair,
        }
    }
}

impl Objective for Preference {
    fn weight(&self, _example: &Example) -> f64 {
        1.0
    }

    fn begin_step(&mut self, examples: &[&Example]) {
        let chosen = |e: &&Example| e.sequences.first().map_or(0, Sequence::scored_count);
        let tokens: usize = examples.iter().map(chosen).sum();
        self.pairs = examples.len();
        self.tokens_per_pair = Some(tokens as f64 / examples.len().max(1) as f64);
    }

    fn loss(&mut self, decoder: &Decoder, examples: &[&Example], trie: &Trie) -> Outcome {
        self.tell_of_split(examples.len());
        let scored = decoder.target_logprobs(trie);
        let logps = self.logps(sequence_sums(scored.logps, trie), examples);
        let mut metrics: Vec<Metric> = pair_metrics(&self.config, &logps)
            .into_iter()
            .map(|(name, values)| Metric::mean(name, values))
            .collect();
        metrics.extend(token_metrics(&scored.notes, trie));
        Outcome {
            loss: pair_loss(&self.config, &logps, &mut self.state).sum(),
            metrics,
        }
    }

    fn state(&self) -> serde_json::Value {
        serde_json::to_value(&self.state).unwrap_or_default()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.state = serde_json::from_value(state.clone())
            .map_err(|e| Error::data(format!("the checkpoint's loss state is not one: {e}")))?;
        Ok(())
    }
}

/// TRL's metrics over tokens, from the notes `[targets, 3]` beside the log-probs: entropy of both responses' tokens, the
/// mean logit of each side, and how often the model would itself have written the chosen token.
fn token_metrics(notes: &Tensor<2>, trie: &Trie) -> [Metric; 4] {
    let side = |odd: u32, column: usize| {
        let at = (0..trie.targets.len()).filter(|&i| trie.targets[i].sequence % 2 == odd);
        let at: Vec<i32> = at.map(|i| i as i32).collect();
        let count = at.len();
        let at = Tensor::<1, Int>::from_data(TensorData::new(at, [count]), &notes.device());
        note(notes, column).select(0, at)
    };
    let (chosen, rejected) = (0, 1);
    [
        Metric::mean("entropy", note(notes, 0)),
        Metric::mean("logits/chosen", side(chosen, 1)),
        Metric::mean("logits/rejected", side(rejected, 1)),
        Metric::mean("mean_token_accuracy", side(chosen, 2)),
    ]
}

/// Sums `logps [targets]` over each sequence of the trie: `[sequences]`.
pub fn sequence_sums(logps: Tensor<1>, trie: &Trie) -> Tensor<1> {
    let (count, sequences) = (trie.targets.len(), trie.sequences());
    // A product with a matrix of zeros and ones: differentiable everywhere, and small.
    let mut member = vec![0.0f32; sequences * count];
    for (i, target) in trie.targets.iter().enumerate() {
        member[target.sequence as usize * count + i] = 1.0;
    }
    let device: Device = logps.device();
    let member = Tensor::<2>::from_data(TensorData::new(member, [sequences, count]), &device);
    member
        .matmul(logps.reshape([count, 1]))
        .reshape([sequences])
}
