//! The repetition penalty: logits of tokens that were seen, moved towards less likely where they lie.

#[cfg(feature = "cube")]
mod cube;

use super::fused;
use crate::clock::{self, Work};
use crate::cpu;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use std::sync::Arc;

/// A token that is held down in one row of the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The row.
    pub row: u32,
    /// The token.
    pub id: u32,
}

/// `logits [rows, vocab]` with those of `held`, each of which comes once, divided by `penalty` where they are above 0 and
/// multiplied by it where they are below: less likely whatever the sign (Keskar et al. 2019, section 4.1).
pub fn penalise(logits: Tensor<2>, penalty: f32, held: Arc<Vec<Held>>) -> Tensor<2> {
    if held.is_empty() {
        return logits;
    }
    if !fused(&logits) {
        return reference(logits, penalty, &held);
    }
    Tensor::from_dispatch(<Dispatch as Penalise>::penalise(
        logits.into_dispatch(),
        penalty,
        held,
    ))
}

/// The same in plain tensor ops.
pub fn reference(logits: Tensor<2>, penalty: f32, held: &[Held]) -> Tensor<2> {
    let [rows, vocab] = logits.dims();
    let place = |held: &Held| (held.row as usize * vocab + held.id as usize) as i32;
    let places = TensorData::new(held.iter().map(place).collect(), [held.len()]);
    let places = Tensor::<1, Int>::from_data(places, &logits.device());
    let flat = logits.reshape([rows * vocab]);
    let old = flat.clone().select(0, places.clone());
    let above = old.clone().greater_elem(0.0);
    let new = (old.clone() * penalty).mask_where(above, old / penalty);
    let written = flat.select_assign(0, places, new, IndexingUpdateOp::Assign);
    written.reshape([rows, vocab])
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"))]
pub trait Penalise: Backend {
    /// See [`penalise`].
    fn penalise(logits: FloatTensor<Self>, penalty: f32, held: Arc<Vec<Held>>)
    -> FloatTensor<Self>;
}

impl Penalise for Flex {
    fn penalise(
        logits: FloatTensor<Self>,
        penalty: f32,
        held: Arc<Vec<Held>>,
    ) -> FloatTensor<Self> {
        let mut logits = cpu::owned(logits);
        let vocab = cpu::dims2(&logits)[1];
        let all = cpu::slice_mut(&mut logits);
        clock::measure(Work::Sampling, || {
            for held in held.iter() {
                let logit = &mut all[held.row as usize * vocab + held.id as usize];
                *logit = match *logit > 0.0 {
                    true => *logit / penalty,
                    false => *logit * penalty,
                };
            }
        });
        logits
    }
}
