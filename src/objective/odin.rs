//! ODIN: two reward heads, of which one takes the length upon itself (Chen et al. 2024, "ODIN: Disentangled Reward
//! Mitigates Hacking in RLHF").

use super::bradley_terry::{self, apart};
use super::example::{Example, Metric, Objective, Outcome};
use super::reward::reward_loss;
use crate::data::summary::{mean, pearson};
use crate::model::Decoder;
use crate::trie::{Sequence, Trie};
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// `rank + length_weight (|rho(q, len)| - rho(l, len)) + orthogonality |cos(W_q, W_l)|`: the sum of both heads ranks the
/// responses, Pearson's rho drives the length `len` (tokens of the response) out of the quality q and into l, and the heads
/// are kept apart. Only q is kept when the training is over.
///
/// Each pair has its own ranking term, and rho is that of all responses of an optimiser step, however it is cut into
/// micro-batches: the rewards are computed once without gradients, rho's gradient by each of them is taken from there, and
/// goes into the backward pass of the micro-batch that holds it. So the gradient is that of the whole step.
pub struct Odin {
    /// Weight of the two correlations.
    pub length_weight: f64,
    /// Weight of the cosine between the heads.
    pub orthogonality: f64,
    step: Survey,
}

/// The rows of the heads, `[2, hidden]`.
const QUALITY: usize = 0;
const LENGTH: usize = 1;

/// What is known of a step before its gradients.
#[derive(Default)]
struct Survey {
    /// Pairs of the step.
    pairs: usize,
    /// Rho of each head, 0 where all lengths or all rewards are equal.
    rho: [f64; 2],
    /// The correlations' gradient by the rewards of each sequence, in order.
    slopes: Vec<[f32; 2]>,
    /// Sequences that have had their backward pass.
    seen: usize,
}

impl Odin {
    /// The objective with its two weights.
    pub fn new(length_weight: f64, orthogonality: f64) -> Self {
        Self {
            length_weight,
            orthogonality,
            step: Survey::default(),
        }
    }

    /// `|rho(q, len)| - rho(l, len)` of the step.
    fn correlations(&self) -> f64 {
        self.step.rho[QUALITY].abs() - self.step.rho[LENGTH]
    }
}

impl Objective for Odin {
    fn weight(&self, _example: &Example) -> f64 {
        1.0
    }

    fn survey(&mut self, decoder: &Decoder, rows: &[&Example], batches: &[(Range<usize>, Trie)]) {
        let sequences = || rows.iter().flat_map(|row| &row.sequences);
        let lengths: Vec<f64> = sequences().map(length).collect();
        let decoder = decoder.untracked();
        let mut rewards = [Vec::new(), Vec::new()];
        for (_, trie) in batches {
            let both = host(decoder.heads(trie));
            for pair in both.chunks(2) {
                for head in [QUALITY, LENGTH] {
                    rewards[head].push(f64::from(pair[head]));
                }
            }
        }
        let [quality, of_length] = rewards.map(|rewards| correlation(&rewards, &lengths));
        let sign = quality.0.signum();
        let slopes = quality.1.iter().zip(&of_length.1);
        self.step = Survey {
            pairs: rows.len(),
            rho: [quality.0, of_length.0],
            slopes: slopes
                .map(|(q, l)| [(sign * q) as f32, (-l) as f32])
                .collect(),
            seen: 0,
        };
    }

    fn loss(&mut self, decoder: &Decoder, examples: &[&Example], trie: &Trie) -> Outcome {
        let both = decoder.heads(trie);
        let device = both.device();
        let count = both.dims()[0];
        let head = |head| both.clone().narrow(1, head, 1).reshape([count]);
        let ranked = apart(head(QUALITY).add(head(LENGTH)));
        let pairs = examples.len();

        let slopes = &self.step.slopes[self.step.seen..][..count];
        self.step.seen += count;
        let slopes = TensorData::new(slopes.concat(), [count, 2]);
        let pull = both.clone().mul(Tensor::from_data(slopes, &device)).sum();
        // Its gradient is the correlations', and its value is theirs, too: the trainer divides by the step's pairs.
        let value = pull.clone().without_autodiff();
        let share = self.correlations() * pairs as f64;
        let correlations = pull.sub(value).mul_scalar(self.step.pairs as f64);
        let correlations = correlations.add_scalar(share);

        let loss = reward_loss(ranked.0, ranked.1, None, None).sum();
        let loss = loss.add(correlations.mul_scalar(self.length_weight));
        let loss = loss.add(
            cosine(decoder)
                .abs()
                .mul_scalar(self.orthogonality * pairs as f64),
        );
        Outcome {
            loss,
            metrics: self.metrics(head(QUALITY), decoder),
        }
    }

    fn finished(&self, decoder: Decoder) -> Decoder {
        decoder.with_first_head()
    }
}

impl Odin {
    /// Those of the quality alone, which is what will judge, and what the length still does to it.
    fn metrics(&self, quality: Tensor<1>, decoder: &Decoder) -> Vec<Metric> {
        let device = quality.device();
        let (chosen, rejected) = apart(quality);
        let mut metrics = bradley_terry::metrics(chosen, rejected);
        let rho = |head: usize| Tensor::from_floats([self.step.rho[head] as f32], &device);
        metrics.push(Metric::mean("length_correlation/quality", rho(QUALITY)));
        metrics.push(Metric::mean("length_correlation/length", rho(LENGTH)));
        let cosine = cosine(decoder).without_autodiff();
        metrics.push(Metric::mean("heads_cosine", cosine));
        metrics
    }
}

/// Tokens of the response, whose tokens are marked.
fn length(sequence: &Sequence) -> f64 {
    sequence.scored_count() as f64
}

/// The cosine between the two heads, `[1]`: their product when both have norm 1.
fn cosine(decoder: &Decoder) -> Tensor<1> {
    let weight = decoder
        .score
        .as_ref()
        .expect("a reward model has a score head")
        .weight
        .whole();
    let row = |head| weight.clone().narrow(0, head, 1);
    let dot = |a: Tensor<2>, b: Tensor<2>| a.mul(b).sum();
    let norms = dot(row(QUALITY), row(QUALITY)).mul(dot(row(LENGTH), row(LENGTH)));
    dot(row(QUALITY), row(LENGTH)).div(norms.sqrt())
}

/// Pearson's rho of `x` and `y`, and its gradient by each `x`; zeros where one of them is constant.
fn correlation(x: &[f64], y: &[f64]) -> (f64, Vec<f64>) {
    let (Some(rho), Some(mean_x), Some(mean_y)) = (pearson(x, y), mean(x), mean(y)) else {
        return (0.0, vec![0.0; x.len()]);
    };
    let norm = |v: &[f64], mean: f64| v.iter().map(|a| (a - mean).powi(2)).sum::<f64>().sqrt();
    let (norm_x, norm_y) = (norm(x, mean_x), norm(y, mean_y));
    let slope = |(x, y): (&f64, &f64)| {
        (y - mean_y) / (norm_x * norm_y) - rho * (x - mean_x) / (norm_x * norm_x)
    };
    (rho, x.iter().zip(y).map(slope).collect())
}

fn host(t: Tensor<2>) -> Vec<f32> {
    t.into_data().iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_correlation_is_its_finite_difference() {
        let x = [0.3, -1.2, 2.0, 0.7, 0.1];
        let y = [4.0, 9.0, 3.0, 5.0, 30.0];
        let (rho, slopes) = correlation(&x, &y);
        assert_eq!(Some(rho), pearson(&x, &y));
        for i in 0..x.len() {
            let at = |step: f64| {
                let mut moved = x;
                moved[i] += step;
                pearson(&moved, &y).expect("not constant")
            };
            let wanted = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((slopes[i] - wanted).abs() < 1e-8, "{} {wanted}", slopes[i]);
        }
        assert_eq!(
            correlation(&[1.0; 3], &[1.0, 2.0, 3.0]),
            (0.0, vec![0.0; 3])
        );
    }
}
