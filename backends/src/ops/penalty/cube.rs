//! The penalty on graphics cards: one unit a token that is held down.

use super::{Held, Penalise};
use crate::cube;
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;
use std::sync::Arc;

/// `held` are rows and tokens in turn.
#[cube(launch_unchecked)]
fn hold(logits: &mut [f32], held: &[u32], vocab: usize, penalty: f32) {
    let at = ABSOLUTE_POS * 2;
    if at + 1 < held.len() {
        let place = held[at] as usize * vocab + held[at + 1] as usize;
        let logit = logits[place];
        let mut less = logit * penalty;
        if logit > 0.0 {
            less = logit / penalty;
        }
        logits[place] = less;
    }
}

impl Penalise for Cube {
    fn penalise(
        logits: FloatTensor<Self>,
        penalty: f32,
        held: Arc<Vec<Held>>,
    ) -> FloatTensor<Self> {
        let logits = cube::owned(logits);
        let vocab = cube::dims2(&logits)[1];
        let (count, dim) = cube::by_element(&logits, held.len());
        let list: Vec<u32> = held.iter().flat_map(|held| [held.row, held.id]).collect();
        let client = logits.client.clone();
        // SAFETY: a unit past the end touches nothing, every place is one of the logits and comes once.
        unsafe {
            hold::launch_unchecked(
                &client,
                count,
                dim,
                logits.clone().into_buffer_arg(),
                cube::uploaded(&logits, &list).into_buffer_arg(),
                vocab,
                penalty,
            );
        }
        logits
    }
}
