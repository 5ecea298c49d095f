//! Target log-probs on graphics cards: the product by cubek, chunk of the vocabulary by chunk, and one kernel either way
//! that takes a chunk's logits in before they are overwritten.

use super::{LOGITS, Saved, TargetLogprobsBackward, TargetLogprobsOp};
use crate::cube;
use crate::ops::linear::{Operands, Product};
use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Slice};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;
use std::sync::Arc;

/// Numbers that a row keeps between chunks: maximum, sum of `e^(l - max)`, sum of `l e^(l - max)`, sum of the logits,
/// and the target's logit.
const KEPT: usize = 5;

/// A logit as it counts: under the soft cap, where there is one.
#[cube]
fn counted(logit: f32, cap: f32, #[comptime] capped: bool) -> f32 {
    let mut shown = logit;
    if comptime!(capped) {
        shown = (logit / cap).tanh() * cap;
    }
    shown
}

/// Takes one chunk of logits in, whose first entry is token `first`: one cube a row of `size` logits.
#[cube(launch_unchecked)]
fn take<F: Float>(
    logits: &[F],
    targets: &[u32],
    kept: &mut [f32],
    first: usize,
    size: usize,
    rows: usize,
    cap: f32,
    #[comptime] capped: bool,
    #[comptime] units: usize,
    #[comptime] planes: bool,
    #[define(F)] _format: ElemType,
) {
    if CUBE_POS < rows {
        let mut shared = Shared::<[f32]>::new_slice(units);
        let start = CUBE_POS * size;
        let row = CUBE_POS * KEPT;
        let mut max = counted(f32::cast_from(logits[start]), cap, capped);
        let mut all = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < size {
            let logit = counted(f32::cast_from(logits[start + i]), cap, capped);
            max = max.max(logit);
            all += logit;
            i += units;
        }
        let all = cube::cube_sum(all, &mut shared, planes);
        let mut max = cube::cube_max(max, &mut shared, planes);
        let mut before = 0.0f32;
        let mut before_weighted = 0.0f32;
        let mut before_all = 0.0f32;
        if first > 0 {
            let old = kept[row];
            max = max.max(old);
            let faded = (old - max).exp();
            before = kept[row + 1] * faded;
            before_weighted = kept[row + 2] * faded;
            before_all = kept[row + 3];
        }
        let mut sum = 0.0f32;
        let mut weighted = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < size {
            let logit = counted(f32::cast_from(logits[start + i]), cap, capped);
            let e = (logit - max).exp();
            sum += e;
            weighted += e * logit;
            i += units;
        }
        let sum = cube::cube_sum(sum, &mut shared, planes);
        let weighted = cube::cube_sum(weighted, &mut shared, planes);
        // The old numbers have been read by every unit before the sums' barriers.
        if UNIT_POS == 0 {
            kept[row] = max;
            kept[row + 1] = before + sum;
            kept[row + 2] = before_weighted + weighted;
            kept[row + 3] = before_all + all;
            let target = targets[CUBE_POS] as usize;
            if target >= first && target < first + size {
                let logit = f32::cast_from(logits[start + target - first]);
                kept[row + 4] = counted(logit, cap, capped);
            }
        }
    }
}

/// From what the rows kept to what is told of their targets.
#[cube(launch_unchecked)]
fn finish(kept: &[f32], logps: &mut [f32], notes: &mut [f32], log_sums: &mut [f32], vocab: usize) {
    let row = ABSOLUTE_POS;
    if row < logps.len() {
        let max = kept[row * KEPT];
        let sum = kept[row * KEPT + 1];
        let target = kept[row * KEPT + 4];
        let log_sum = max + sum.ln();
        logps[row] = target - log_sum;
        log_sums[row] = log_sum;
        notes[row * 3] = log_sum - kept[row * KEPT + 2] / sum;
        notes[row * 3 + 1] = kept[row * KEPT + 3] / f32::cast_from(vocab);
        let mut top = 0.0f32;
        if target >= max {
            top = 1.0;
        }
        notes[row * 3 + 2] = top;
    }
}

/// A chunk's logits into their gradients, in place: `g ([v = target] - p_v)`.
#[cube(launch_unchecked)]
fn spread<F: Float>(
    logits: &mut [F],
    targets: &[u32],
    grad: &[f32],
    log_sums: &[f32],
    first: usize,
    size: usize,
    cap: f32,
    #[comptime] capped: bool,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < logits.len() {
        let row = ABSOLUTE_POS / size;
        let token = first + ABSOLUTE_POS % size;
        let logit = counted(f32::cast_from(logits[ABSOLUTE_POS]), cap, capped);
        let mut share = -(logit - log_sums[row]).exp();
        if token == targets[row] as usize {
            share += 1.0;
        }
        if comptime!(capped) {
            share *= 1.0 - (logit / cap) * (logit / cap);
        }
        logits[ABSOLUTE_POS] = F::cast_from(share * grad[row]);
    }
}

/// Tokens of a chunk for `rows` targets: as many as the buffer holds, in few different sizes.
fn chunk(rows: usize, vocab: usize) -> usize {
    let most = (LOGITS / rows.max(1)).max(256);
    vocab.min(1 << most.ilog2())
}

/// Rows `first..first + size` of a matrix.
fn rows(matrix: &CubeTensor, first: usize, size: usize) -> CubeTensor {
    Cube::float_slice(
        matrix.clone(),
        &[Slice::from(first..first + size), Slice::full()],
    )
}

/// `hidden weight^T` for a chunk of the weight's rows.
fn logits(hidden: &CubeTensor, weight: &CubeTensor, operands: Operands) -> CubeTensor {
    let hidden = Cube::operand(hidden.clone(), operands);
    let weight = Cube::weight(weight.clone(), operands);
    cube::dense(Cube::product_of_rows(hidden, weight))
}

impl TargetLogprobsOp for Cube {
    fn target_logprobs(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: Arc<Vec<u32>>,
        operands: Operands,
        softcap: Option<f32>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (count, vocab) = (cube::dims2(&hidden)[0], cube::dims2(&weight)[0]);
        let kept = cube::empty_of(&hidden, &[count, KEPT], DType::F32);
        let client = hidden.client.clone();
        let targets = cube::uploaded(&hidden, &targets);
        let chunk = chunk(count, vocab);
        for first in (0..vocab).step_by(chunk) {
            let size = chunk.min(vocab - first);
            let logits = logits(&hidden, &rows(&weight, first, size), operands);
            let (cubes, dim) = cube::by_row(&hidden, count, size);
            let planes = cube::adds_in_planes(&hidden, dim.num_elems());
            let format = cube::format(&logits);
            // SAFETY: a cube past the last row touches nothing, nor does a unit past the chunk.
            unsafe {
                take::launch_unchecked(
                    &client,
                    cubes,
                    dim,
                    logits.into_buffer_arg(),
                    targets.clone().into_buffer_arg(),
                    kept.clone().into_buffer_arg(),
                    first,
                    size,
                    count,
                    softcap.unwrap_or(1.0),
                    softcap.is_some(),
                    dim.num_elems() as usize,
                    planes,
                    format,
                );
            }
        }
        let [logps, log_sums] = [(); 2].map(|()| cube::empty_of(&hidden, &[count], DType::F32));
        let notes = cube::empty_of(&hidden, &[count, 3], DType::F32);
        let (cubes, dim) = cube::by_element(&hidden, count);
        // SAFETY: a unit past the end touches nothing.
        unsafe {
            finish::launch_unchecked(
                &client,
                cubes,
                dim,
                kept.into_buffer_arg(),
                logps.clone().into_buffer_arg(),
                notes.clone().into_buffer_arg(),
                log_sums.clone().into_buffer_arg(),
                vocab,
            );
        }
        (logps, notes, log_sums)
    }
}

impl TargetLogprobsBackward for Cube {
    fn target_logprobs_backward(
        saved: &Saved<Self>,
        grad: FloatTensor<Self>,
        weight_tracked: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        let (hidden, weight, grad) = (&saved.hidden, &saved.weight, cube::dense(grad));
        let ([count, _], [vocab, width]) = (cube::dims2(hidden), cube::dims2(weight));
        let (client, operands) = (hidden.client.clone(), saved.operands);
        let targets = cube::uploaded(hidden, &saved.targets);
        let mut d_hidden: Option<CubeTensor> = None;
        let mut d_weight =
            weight_tracked.then(|| cube::empty_of(weight, &[vocab, width], DType::F32));
        let chunk = chunk(count, vocab);
        for first in (0..vocab).step_by(chunk) {
            let size = chunk.min(vocab - first);
            let weight = rows(weight, first, size);
            let logits = logits(hidden, &weight, operands);
            let (cubes, dim) = cube::by_element(&logits, count * size);
            // SAFETY: a unit past the end touches nothing.
            unsafe {
                spread::launch_unchecked(
                    &client,
                    cubes,
                    dim,
                    logits.clone().into_buffer_arg(),
                    targets.clone().into_buffer_arg(),
                    grad.clone().into_buffer_arg(),
                    saved.log_sums.clone().into_buffer_arg(),
                    first,
                    size,
                    saved.softcap.unwrap_or(1.0),
                    saved.softcap.is_some(),
                    cube::format(&logits),
                );
            }
            let logits = || Self::operand(logits.clone(), operands);
            let part = Self::product(logits(), Self::weight(weight, operands));
            d_hidden = Some(match d_hidden {
                Some(sum) => Self::float_add(sum, part),
                None => part,
            });
            d_weight = d_weight.map(|all| {
                let hidden = Self::operand(hidden.clone(), operands);
                let part = Self::product(logits().transposed(), hidden);
                let at = [Slice::from(first..first + size), Slice::full()];
                Self::float_slice_assign(all, &at, part)
            });
        }
        let d_hidden = d_hidden.expect("a vocabulary has a token");
        (d_hidden, d_weight)
    }
}
