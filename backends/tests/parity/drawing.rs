//! Tokens drawn from logits: each is the one at which the summed weights reach the share that was asked for.

use super::{Random, everywhere};
use burn::tensor::{Device, Tensor};
use duel_backends::ops::{Draw, Held, draw, penalise, penalty};
use std::sync::Arc;

/// How far sums in f32 may miss the share.
const CRUMB: f64 = 2e-6;

/// What each token weighs, by a full sort: those that are cut off nothing.
fn weights(logits: &[f32], how: &Draw) -> Vec<f64> {
    let max = logits.iter().fold(f32::MIN, |max, logit| max.max(*logit));
    let mut sorted = logits.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let kth = match how.top_k as usize {
        0 => f32::NEG_INFINITY,
        k => sorted[k.min(sorted.len()) - 1],
    };
    let weight = |logit: f32| (f64::from(logit - max) / how.temperature).exp();
    sorted.retain(|&logit| logit >= kth && logit >= max - how.cut);
    let wanted = how.top_p * sorted.iter().map(|&logit| weight(logit)).sum::<f64>();
    let mut together = 0.0;
    let last = sorted.iter().copied().find(|&logit| {
        together += weight(logit);
        together >= wanted
    });
    let floor = last.unwrap_or_else(|| sorted[sorted.len() - 1]);
    let kept = |&logit: &f32| if logit >= floor { weight(logit) } else { 0.0 };
    let all: Vec<f64> = logits.iter().map(kept).collect();
    let total: f64 = all.iter().sum();
    all.into_iter().map(|weight| weight / total).collect()
}

#[test]
fn a_token_is_the_one_at_which_the_weights_reach_the_share() {
    for seed in 0..48 {
        let mut random = Random(seed);
        let (rows, vocab) = (1 + random.below(9), 1 + random.below(3000));
        let logits = random.matrix(rows, vocab, &Device::flex()) * 6.0;
        let host: Vec<f32> = logits.clone().into_data().iter::<f32>().collect();
        let draws: Vec<Draw> = (0..2 * rows)
            .map(|_| Draw {
                row: random.below(rows) as u32,
                temperature: [0.0, 0.7, 1.0, 1.3][random.below(4)],
                uniform: f64::from(random.float()).abs(),
                cut: [f32::INFINITY, 2.3][random.below(2)],
                top_k: [0, 1, 40, 5000][random.below(4)],
                top_p: [1.0, 0.9, 0.3][random.below(3)],
            })
            .collect();
        for device in everywhere() {
            let drawn = draw(logits.clone().to_device(&device), draws.clone());
            assert_eq!(drawn.len(), draws.len());
            for (how, token) in draws.iter().zip(drawn) {
                let token = token.expect("logits are finite") as usize;
                let row = &host[how.row as usize * vocab..][..vocab];
                if how.temperature == 0.0 {
                    let first = row.iter().position(|l| row.iter().all(|other| other <= l));
                    assert_eq!(Some(token), first, "seed {seed}");
                    continue;
                }
                let weights = weights(row, how);
                let before: f64 = weights[..token].iter().sum();
                let reached = before - CRUMB..=before + weights[token] + CRUMB;
                assert!(
                    weights[token] > 0.0,
                    "seed {seed}: {how:?} gave a token that is cut off"
                );
                assert!(
                    reached.contains(&how.uniform),
                    "seed {seed}: {how:?} gave {reached:?}"
                );
            }
        }
    }
}

#[test]
fn a_row_that_is_not_finite_gives_no_token_and_spoils_no_other() {
    for device in everywhere() {
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let rows = [[0.0, 9.0, 1.0], [0.0, 1.0, broken], [broken, 2.0, 1.0]];
            let logits = Tensor::<2>::from_floats(rows, &device);
            let draws = [0, 1, 2, 0].map(|row| Draw::of(row, 0.5));
            assert_eq!(
                draw(logits, draws.to_vec()),
                [Some(1), None, None, Some(1)],
                "{broken}"
            );
        }
    }
}

#[test]
fn a_penalty_equals_its_reference_where_it_holds_and_nowhere_else() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let (rows, vocab) = (1 + random.below(9), 1 + random.below(3000));
        let logits = random.matrix(rows, vocab, &Device::flex()) * 6.0;
        let mut held: Vec<Held> = (0..random.below(200))
            .map(|_| Held {
                row: random.below(rows) as u32,
                id: random.below(vocab) as u32,
            })
            .collect();
        held.sort_unstable_by_key(|held| (held.row, held.id));
        held.dedup();
        // Several penalties at which a logit and its change do not add up to the new one in f32.
        let penalty = [1.2, 2.5, 3.0, 0.4][random.below(4)];
        let host: Vec<f32> = logits.clone().into_data().iter::<f32>().collect();
        let mut want = host.clone();
        for held in &held {
            let logit = &mut want[held.row as usize * vocab + held.id as usize];
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
        for device in everywhere() {
            let there = logits.clone().to_device(&device);
            let fused = penalise(there.clone(), penalty, Arc::new(held.clone()));
            let plain = match held.is_empty() {
                true => there,
                false => penalty::reference(there, penalty, &held),
            };
            for found in [fused, plain] {
                let found: Vec<f32> = found.into_data().iter::<f32>().collect();
                // A card may divide by a reciprocal.
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs();
                assert!(
                    found.iter().zip(&want).all(near),
                    "seed {seed}, penalty {penalty}"
                );
            }
        }
    }
}
