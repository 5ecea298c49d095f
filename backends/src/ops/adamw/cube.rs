//! AdamW on graphics cards: one unit an element, written over what was there.

use super::{AdamW, AdamWOp};
use crate::cube;
use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

/// [`super::Numbers`] inside a kernel.
#[derive(CubeLaunch, CubeType)]
pub struct Numbers {
    pub beta1: f32,
    pub beta2: f32,
    pub rest1: f32,
    pub rest2: f32,
    pub eps: f32,
    pub rate: f32,
    pub inverse_root: f32,
    pub keep: f32,
    pub grad_scale: f32,
}

#[cube(launch_unchecked)]
fn update<F: Float>(
    param: &mut [F],
    grad: &[F],
    first: &mut [F],
    second: &mut [F],
    how: Numbers,
    #[define(F)] _format: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < param.len() {
        let g = f32::cast_from(grad[at]) * how.grad_scale;
        let m = f32::cast_from(first[at]) * how.beta1 + g * how.rest1;
        let v = f32::cast_from(second[at]) * how.beta2 + g * g * how.rest2;
        let moved = m / (v.sqrt() * how.inverse_root + how.eps) * how.rate;
        first[at] = F::cast_from(m);
        second[at] = F::cast_from(v);
        param[at] = F::cast_from(f32::cast_from(param[at]) * how.keep - moved);
    }
}

/// Sums of squares of `each` elements at a time.
#[cube(launch_unchecked)]
fn squares<F: Float>(
    values: &[F],
    partial: &mut [f32],
    each: usize,
    #[comptime] units: usize,
    #[comptime] planes: bool,
    #[define(F)] _format: ElemType,
) {
    if CUBE_POS < partial.len() {
        let mut shared = Shared::<[f32]>::new_slice(units);
        let mut end = (CUBE_POS + 1) * each;
        if end > values.len() {
            end = values.len();
        }
        let mut sum = 0.0f32;
        let mut i = CUBE_POS * each + UNIT_POS as usize;
        while i < end {
            let value = f32::cast_from(values[i]);
            sum += value * value;
            i += units;
        }
        let sum = cube::cube_sum(sum, &mut shared, planes);
        if UNIT_POS == 0 {
            partial[CUBE_POS] = sum;
        }
    }
}

/// Elements whose squares one cube adds up.
const EACH: usize = 1 << 16;

/// [`AdamW`] as the kernels take it.
pub fn numbers(how: AdamW) -> NumbersLaunch {
    let how = super::Numbers::from(how);
    NumbersLaunch::new(
        how.beta1,
        how.beta2,
        how.rest1,
        how.rest2,
        how.eps,
        how.rate,
        how.inverse_root,
        how.keep,
        how.grad_scale,
    )
}

impl AdamWOp for Cube {
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        how: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let grad = cube::dense(grad);
        let [param, first, second] = [param, first, second].map(cube::owned);
        let (count, dim) = cube::by_element(&param, cube::count(&param));
        let (client, format) = (param.client.clone(), cube::format(&param));
        // SAFETY: a unit past the end touches nothing.
        unsafe {
            update::launch_unchecked(
                &client,
                count,
                dim,
                param.clone().into_buffer_arg(),
                grad.into_buffer_arg(),
                first.clone().into_buffer_arg(),
                second.clone().into_buffer_arg(),
                numbers(how),
                format,
            );
        }
        (param, first, second)
    }

    fn squared_norm(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        let tensor = cube::dense(tensor);
        let parts = cube::count(&tensor).div_ceil(EACH).max(1);
        let partial = cube::empty_of(&tensor, &[parts], burn::tensor::DType::F32);
        let (count, dim) = cube::by_row(&tensor, parts, EACH);
        let planes = cube::adds_in_planes(&tensor, dim.num_elems());
        let (client, format) = (tensor.client.clone(), cube::format(&tensor));
        // SAFETY: a cube past the last part touches nothing, nor does a unit past the end.
        unsafe {
            squares::launch_unchecked(
                &client,
                count,
                dim,
                tensor.into_buffer_arg(),
                partial.clone().into_buffer_arg(),
                EACH,
                dim.num_elems() as usize,
                planes,
                format,
            );
        }
        Self::float_sum(partial)
    }
}
