//! Tokens from logits where the logits lie: a step of decoding then brings a number a response to the host, not a
//! vocabulary.

#[cfg(feature = "cube")]
#[allow(clippy::needless_range_loop)] // kernels count places
mod cube;
mod cut;

use crate::clock::{self, Work};
use crate::cpu;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Shape, Tensor, TensorData};
use rayon::prelude::*;
use std::sync::Arc;

/// How one token is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Row of the logits.
    pub row: u32,
    /// Logits are divided by it; at 0 the first largest is taken.
    pub temperature: f64,
    /// From 0 to 1: the token is the one at which the weights, summed in the vocabulary's order, reach this share.
    pub uniform: f64,
    /// Tokens whose logit lies further than this below the largest are never drawn; infinite where all may be.
    pub cut: f32,
    /// No more than this many of the likeliest are drawn, and those that are as likely as the last; at 0 all are.
    pub top_k: u32,
    /// Of what is left, the likeliest that together have this share of the weights are drawn; at 1 all are.
    pub top_p: f64,
}

impl Draw {
    /// Draws from row `row` at the share `uniform`, any token and at temperature 1.
    pub fn of(row: u32, uniform: f64) -> Self {
        Self {
            row,
            temperature: 1.0,
            uniform,
            cut: f32::INFINITY,
            top_k: 0,
            top_p: 1.0,
        }
    }
}

/// Told of a row whose logits are not all finite.
const BROKEN: i32 = -1;

/// A token for each draw from `logits [rows, vocab]`; none where the row's logits are not all finite.
pub fn draw(logits: Tensor<2>, draws: Vec<Draw>) -> Vec<Option<u32>> {
    let drawn = <Dispatch as DrawRows>::draw_rows(logits.into_dispatch(), Arc::new(draws));
    let drawn = Tensor::<1, Int>::from_dispatch(drawn).into_data();
    let token = |token: i32| u32::try_from(token).ok();
    drawn.iter::<i32>().map(token).collect()
}

/// The token of a row of finite logits.
fn drawn(logits: &[f32], draw: &Draw) -> u32 {
    let (best, max) = largest(logits);
    if draw.temperature <= 0.0 {
        return best;
    }
    let scale = 1.0 / draw.temperature as f32;
    let weight = |logit: f32| f64::from(((logit - max) * scale).exp());
    let floor = cut::floor(logits, max, draw, &weight);
    let kept = || logits.iter().enumerate().filter(|(_, l)| **l >= floor);
    let total: f64 = kept().map(|(_, &l)| weight(l)).sum();
    let mut left = draw.uniform * total;
    let reached = kept().find(|(_, logit)| {
        left -= weight(**logit);
        left <= 0.0
    });
    // Rounding may leave a last crumb.
    reached.map_or(best, |(id, _)| id as u32)
}

/// The first largest logit.
fn largest(logits: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &logit) in logits.iter().enumerate() {
        if logit > best.1 {
            best = (id as u32, logit);
        }
    }
    best
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"))]
pub trait DrawRows: Backend {
    /// See [`draw()`]; -1 stands for none.
    fn draw_rows(logits: FloatTensor<Self>, draws: Arc<Vec<Draw>>) -> IntTensor<Self>;
}

impl DrawRows for Flex {
    fn draw_rows(logits: FloatTensor<Self>, draws: Arc<Vec<Draw>>) -> IntTensor<Self> {
        clock::measure(Work::Sampling, || {
            let logits = cpu::dense(logits);
            let vocab = cpu::dims2(&logits)[1];
            let logits = cpu::slice(&logits);
            let one = |draw: &Draw| {
                let row = &logits[draw.row as usize * vocab..][..vocab];
                match row.iter().all(|logit| logit.is_finite()) {
                    true => drawn(row, draw) as i32,
                    false => BROKEN,
                }
            };
            let tokens: Vec<i32> = draws.par_iter().map(one).collect();
            let shape = Shape::from(vec![tokens.len()]);
            FlexTensor::from_data(TensorData::new(tokens, shape))
        })
    }
}
