//! One token from one row of logits, without sorting the vocabulary.

use crate::data::key::Key;
use crate::recipe::Sampling;
use duel_backends::ops::Draw;
use duel_backends::ops::draw::{at_share, largest};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Draws the tokens of one response. Its randomness is its own: who else is in the batch does not matter.
pub struct Sampler {
    temperature: f64,
    top_p: f64,
    top_k: usize,
    min_p: f64,
    repetition_penalty: f32,
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
            repetition_penalty: how.repetition_penalty as f32,
            random: key.fold_index(index as u64).rng(),
        }
    }

    /// The next token. `seen` are the tokens that the repetition penalty holds down.
    pub fn draw(&mut self, logits: &[f32], seen: &[&[u32]]) -> u32 {
        if self.repetition_penalty == 1.0 {
            return self.pick(logits);
        }
        let mut logits = logits.to_vec();
        let mut ids: Vec<u32> = seen.iter().flat_map(|ids| ids.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let logit = &mut logits[id as usize];
            // Keskar et al. 2019: towards less likely, whatever the sign.
            *logit = match *logit > 0.0 {
                true => *logit / self.repetition_penalty,
                false => *logit * self.repetition_penalty,
            };
        }
        self.pick(&logits)
    }

    /// How the next token is drawn from row `row`, where it can be said without the logits: no top-k, top-p or
    /// repetition penalty. It uses the randomness up that [`Sampler::draw`] would.
    pub fn blind(&mut self, row: usize) -> Option<Draw> {
        let plain = self.repetition_penalty == 1.0 && self.top_k == 0 && self.top_p >= 1.0;
        plain.then(|| Draw {
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
        })
    }

    fn pick(&mut self, logits: &[f32]) -> u32 {
        let (best, max) = largest(logits);
        if self.temperature <= 0.0 {
            return best;
        }
        let scale = 1.0 / self.temperature as f32;
        let weight = |logit: f32| f64::from(((logit - max) * scale).exp());
        let uniform: f64 = self.random.random();
        let floor = self.floor(logits, max, &weight);
        at_share(logits, max, floor, self.temperature, uniform).unwrap_or(best)
    }

    /// The smallest logit that top-k, top-p and min-p all keep.
    fn floor(&self, logits: &[f32], max: f32, weight: &dyn Fn(f32) -> f64) -> f32 {
        let mut floor = f32::NEG_INFINITY;
        if self.min_p > 0.0 {
            floor = max + (self.min_p.ln() * self.temperature) as f32;
        }
        if self.top_k > 0 && self.top_k < logits.len() {
            let mut all = logits.to_vec();
            let (_, kth, _) = all.select_nth_unstable_by(self.top_k - 1, |a, b| b.total_cmp(a));
            floor = floor.max(*kth);
        }
        if self.top_p < 1.0 {
            let kept: Vec<f32> = logits.iter().copied().filter(|&l| l >= floor).collect();
            let total: f64 = kept.iter().map(|&l| weight(l)).sum();
            return nucleus(kept, self.top_p * total, weight).unwrap_or(floor);
        }
        floor
    }
}

/// The logit at which the likeliest tokens together reach `wanted`. Only as many are sorted as it takes: the likeliest
/// hundred hold nearly all of it most of the time.
fn nucleus(mut kept: Vec<f32>, wanted: f64, weight: &dyn Fn(f32) -> f64) -> Option<f32> {
    let (mut sorted, mut sum) = (0, 0.0);
    while sorted < kept.len() {
        let rest = &mut kept[sorted..];
        let count = (2 * sorted).max(128).min(rest.len());
        rest.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        rest[..count].sort_unstable_by(|a, b| b.total_cmp(a));
        for &logit in &rest[..count] {
            sum += weight(logit);
            if sum >= wanted {
                return Some(logit);
            }
        }
        sorted += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(how: Sampling, index: usize) -> Sampler {
        Sampler::new(&how, Key::new(3), index)
    }

    fn frequencies(how: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut sampler = sampler(how, 0);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.draw(logits, &[]) as usize] += 1.0 / 20_000.0;
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
    fn a_nucleus_ends_where_a_full_sort_ends_it() {
        // 5,000 logits in no order, nearly flat, so that the nucleus is wide.
        let logits: Vec<f32> = (0..5_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32)
            .collect();
        let weight = |logit: f32| f64::from(logit).exp();
        let total: f64 = logits.iter().map(|&l| weight(l)).sum();
        let mut sorted = logits.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for share in [1e-9, 0.01, 0.3, 0.9, 0.999] {
            let mut sum = 0.0;
            let wanted = sorted.iter().copied().find(|&logit| {
                sum += weight(logit);
                sum >= share * total
            });
            assert!(wanted.is_some());
            assert_eq!(nucleus(logits.clone(), share * total, &weight), wanted);
        }
    }

    #[test]
    fn temperature_zero_takes_the_first_best_and_a_mix_goes_round() {
        let how = Sampling {
            temperature: vec![0.0, 50.0],
            ..Sampling::default()
        };
        let logits = [1.0, 3.0, 3.0];
        assert!((0..50).all(|_| sampler(how.clone(), 2).draw(&logits, &[]) == 1));
        let mut hot = sampler(how, 1);
        let drawn: std::collections::BTreeSet<u32> =
            (0..50).map(|_| hot.draw(&logits, &[])).collect();
        assert!(drawn.len() > 1);
    }

    #[test]
    fn the_repetition_penalty_holds_down_what_was_seen() {
        let how = Sampling {
            temperature: vec![0.0],
            repetition_penalty: 2.0,
            ..Sampling::default()
        };
        assert_eq!(sampler(how, 0).draw(&[3.0, 2.0, -1.0], &[&[0]]), 1);
    }
}
