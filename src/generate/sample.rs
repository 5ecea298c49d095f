//! How the next token of a response is drawn, and what is held down before.

use crate::data::key::Key;
use crate::recipe::Sampling;
use duel_backends::ops::{Draw, Held};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Draws the tokens of one response. Its randomness is its own: who else is in the batch does not matter.
pub struct Sampler {
    temperature: f64,
    top_p: f64,
    top_k: usize,
    min_p: f64,
    random: ChaCha8Rng,
}

impl Sampler {
    /// The sampler of response `index` of a prompt, whose key is `key`.
    pub fn new(how: &Sampling, key: Key, index: usize) -> Self {
        let mix = &how.temperature;
        Self {
            temperature: mix.get(index % mix.len().max(1)).copied().unwrap_or(1.0),
            top_p: how.top_p,
            top_k: how.top_k,
            min_p: how.min_p,
            random: key.fold_index(index as u64).rng(),
        }
    }

    /// How the next token is drawn, from row `row` of the logits.
    pub fn next(&mut self, row: usize) -> Draw {
        Draw {
            row: row as u32,
            temperature: self.temperature,
            uniform: match self.temperature > 0.0 {
                true => self.random.random(),
                false => 0.0,
            },
            cut: match self.min_p > 0.0 {
                true => -(self.min_p.ln() * self.temperature) as f32,
                false => f32::INFINITY,
            },
            top_k: u32::try_from(self.top_k).unwrap_or(u32::MAX),
            top_p: self.top_p,
        }
    }
}

/// The tokens that a repetition penalty holds down in one row: each once, in order.
#[derive(Debug, Clone, Default)]
pub struct Seen(Vec<u32>);

impl Seen {
    /// The tokens of a prompt.
    pub fn of(tokens: &[u32]) -> Self {
        let mut ids = tokens.to_vec();
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }

    /// What is held down in row `row` of the logits.
    pub fn in_row(&self, row: usize) -> impl Iterator<Item = Held> {
        let row = row as u32;
        self.0.iter().map(move |&id| Held { row, id })
    }

    /// One more token.
    pub fn add(&mut self, token: u32) {
        if let Err(place) = self.0.binary_search(&token) {
            self.0.insert(place, token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor, TensorData};
    use duel_backends::ops;

    fn logits(row: &[f32]) -> Tensor<2> {
        let row = TensorData::new(row.to_vec(), [1, row.len()]);
        Tensor::from_data(row, &Device::flex())
    }

    fn drawn(sampler: &mut Sampler, row: &[f32], count: usize) -> Vec<u32> {
        let draws = (0..count).map(|_| sampler.next(0)).collect();
        let drawn = ops::draw(logits(row), draws);
        drawn.into_iter().map(|t| t.expect("finite")).collect()
    }

    fn frequencies(how: Sampling, row: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; row.len()];
        for token in drawn(&mut Sampler::new(&how, Key::new(3), 0), row, 20_000) {
            counts[token as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn tokens_come_as_often_as_the_softmax_says() {
        let logits = [0.0, 1.0, 2.0, -1.0];
        let total: f64 = logits.iter().map(|l: &f32| f64::from(*l).exp()).sum();
        for (found, logit) in frequencies(Sampling::default(), &logits).iter().zip(logits) {
            assert!((found - f64::from(logit).exp() / total).abs() < 0.015);
        }
    }

    #[test]
    fn cut_off_tokens_never_come() {
        let logits = [0.0, 1.0, 2.0, 2.5];
        let how = |top_p, top_k, min_p| Sampling {
            top_p,
            top_k,
            min_p,
            ..Sampling::default()
        };
        for (how, kept) in [
            (how(1.0, 2, 0.0), 2),
            (how(0.5, 0, 0.0), 1),
            (how(1.0, 0, 0.5), 2),
            (how(0.8, 3, 0.0), 2),
        ] {
            let found = frequencies(how, &logits);
            let dropped = &found[..4 - kept];
            assert!(dropped.iter().all(|&f| f == 0.0), "{found:?}");
            assert!(found[4 - kept..].iter().all(|&f| f > 0.0), "{found:?}");
        }
    }

    #[test]
    fn temperature_zero_takes_the_first_best_and_a_mix_goes_round() {
        let how = Sampling {
            temperature: vec![0.0, 50.0],
            ..Sampling::default()
        };
        let logits = [1.0, 3.0, 3.0];
        let cold = drawn(&mut Sampler::new(&how, Key::new(3), 2), &logits, 50);
        assert!(cold.iter().all(|&token| token == 1));
        let mut hot = drawn(&mut Sampler::new(&how, Key::new(3), 1), &logits, 50);
        hot.sort_unstable();
        hot.dedup();
        assert!(hot.len() > 1);
    }

    #[test]
    fn what_was_seen_is_held_down_once() {
        let mut seen = Seen::of(&[2, 0, 2]);
        seen.add(0);
        seen.add(3);
        let held = [0, 2, 3].map(|id| Held { row: 7, id });
        assert_eq!(seen.in_row(7).collect::<Vec<_>>(), held);
    }
}
