//! RMSNorm on graphics cards: one cube a row, and the weight's gradient in one pass down the columns.

use super::{RmsNorm, RmsNormBackward};
use crate::cube;
use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

#[cube(launch_unchecked)]
fn forward<F: Float>(
    x: &[F],
    weight: &[F],
    out: &mut [F],
    eps: f32,
    #[comptime] units: usize,
    #[comptime] planes: bool,
    #[define(F)] _format: ElemType,
) {
    let width = weight.len();
    let start = CUBE_POS * width;
    if start < out.len() {
        let mut shared = Shared::<[f32]>::new_slice(units);
        let mut squares = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < width {
            let x = f32::cast_from(x[start + i]);
            squares += x * x;
            i += units;
        }
        let squares = cube::cube_sum(squares, &mut shared, planes);
        let scale = 1.0 / (squares / f32::cast_from(width) + eps).sqrt();
        let mut i = UNIT_POS as usize;
        while i < width {
            let weight = f32::cast_from(weight[i]);
            out[start + i] = F::cast_from(f32::cast_from(x[start + i]) * scale * weight);
            i += units;
        }
    }
}

/// `dx`, and the `1 / rms` of each row for [`weight_gradient`].
#[cube(launch_unchecked)]
fn input_gradient<F: Float>(
    x: &[F],
    weight: &[F],
    grad: &[F],
    dx: &mut [F],
    scales: &mut [f32],
    eps: f32,
    #[comptime] units: usize,
    #[comptime] planes: bool,
    #[define(F)] _format: ElemType,
) {
    let width = weight.len();
    let start = CUBE_POS * width;
    if start < dx.len() {
        let mut shared = Shared::<[f32]>::new_slice(units);
        let mut squares = 0.0f32;
        let mut along = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < width {
            let x = f32::cast_from(x[start + i]);
            squares += x * x;
            along += x * f32::cast_from(grad[start + i]) * f32::cast_from(weight[i]);
            i += units;
        }
        let squares = cube::cube_sum(squares, &mut shared, planes);
        let along = cube::cube_sum(along, &mut shared, planes);
        let mean = f32::cast_from(width);
        let scale = 1.0 / (squares / mean + eps).sqrt();
        let pull = along / mean * scale * scale * scale;
        let mut i = UNIT_POS as usize;
        while i < width {
            let g = f32::cast_from(grad[start + i]) * f32::cast_from(weight[i]);
            dx[start + i] = F::cast_from(g * scale - f32::cast_from(x[start + i]) * pull);
            i += units;
        }
        if UNIT_POS == 0 {
            scales[CUBE_POS] = scale;
        }
    }
}

/// Sums of `grad x scale` over `rows` rows at a time: `partial [parts, width]`.
#[cube(launch_unchecked)]
fn weight_gradient<F: Float>(
    x: &[F],
    grad: &[F],
    scales: &[f32],
    partial: &mut [f32],
    width: usize,
    rows: usize,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < partial.len() {
        let column = ABSOLUTE_POS % width;
        let first = ABSOLUTE_POS / width * rows;
        let mut end = first + rows;
        if end > scales.len() {
            end = scales.len();
        }
        let mut sum = 0.0f32;
        for row in first..end {
            let at = row * width + column;
            sum += f32::cast_from(grad[at]) * f32::cast_from(x[at]) * scales[row];
        }
        partial[ABSOLUTE_POS] = sum;
    }
}

/// Rows that one unit of [`weight_gradient`] adds up.
const ROWS: usize = 64;

impl RmsNorm for Cube {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let (x, weight) = (cube::dense(x), cube::dense(weight));
        let shape = cube::dims2(&x);
        let out = cube::empty(&x, &shape);
        let (count, dim) = cube::by_row(&x, shape[0], shape[1]);
        let planes = cube::adds_in_planes(&x, dim.num_elems());
        let (client, format) = (x.client.clone(), cube::format(&x));
        // SAFETY: a cube past the last row and a unit past the width touch nothing.
        unsafe {
            forward::launch_unchecked(
                &client,
                count,
                dim,
                x.into_buffer_arg(),
                weight.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                eps as f32,
                dim.num_elems() as usize,
                planes,
                format,
            );
        }
        out
    }
}

impl RmsNormBackward for Cube {
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [x, weight, grad] = [x, weight, grad].map(cube::dense);
        let [rows, width] = cube::dims2(&x);
        let dx = cube::empty(&x, &[rows, width]);
        let scales = cube::empty_of(&x, &[rows], DType::F32);
        let (client, format, dtype) = (x.client.clone(), cube::format(&x), x.dtype);
        let (count, dim) = cube::by_row(&x, rows, width);
        let planes = cube::adds_in_planes(&x, dim.num_elems());
        // SAFETY: a cube past the last row and a unit past the width touch nothing.
        unsafe {
            input_gradient::launch_unchecked(
                &client,
                count,
                dim,
                x.clone().into_buffer_arg(),
                weight.into_buffer_arg(),
                grad.clone().into_buffer_arg(),
                dx.clone().into_buffer_arg(),
                scales.clone().into_buffer_arg(),
                eps as f32,
                dim.num_elems() as usize,
                planes,
                format,
            );
        }
        let parts = rows.div_ceil(ROWS).max(1);
        let partial = cube::empty_of(&x, &[parts, width], DType::F32);
        let (count, dim) = cube::by_element(&partial, parts * width);
        // SAFETY: a unit past the end touches nothing.
        unsafe {
            weight_gradient::launch_unchecked(
                &client,
                count,
                dim,
                x.into_buffer_arg(),
                grad.into_buffer_arg(),
                scales.into_buffer_arg(),
                partial.clone().into_buffer_arg(),
                width,
                ROWS,
                format,
            );
        }
        let dw = Self::float_reshape(Self::float_sum_dim(partial, 0), Shape::new([width]));
        (dx, Self::float_cast(dw, dtype.into()))
    }
}
