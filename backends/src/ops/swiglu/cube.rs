//! SwiGLU on graphics cards: one unit an element.

use super::{SwiGlu, SwiGluBackward};
use crate::cube;
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

#[cube(launch_unchecked)]
fn forward<F: Float>(gate: &[F], up: &[F], out: &mut [F], #[define(F)] _format: ElemType) {
    let at = ABSOLUTE_POS;
    if at < out.len() {
        let gate = f32::cast_from(gate[at]);
        out[at] = F::cast_from(gate * sigmoid(gate) * f32::cast_from(up[at]));
    }
}

#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cube(launch_unchecked)]
fn backward<F: Float>(
    gate: &[F],
    up: &[F],
    grad: &[F],
    d_gate: &mut [F],
    d_up: &mut [F],
    #[define(F)] _format: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < d_gate.len() {
        let gate = f32::cast_from(gate[at]);
        let grad = f32::cast_from(grad[at]);
        let s = sigmoid(gate);
        d_up[at] = F::cast_from(grad * gate * s);
        let slope = s * (1.0 + gate * (1.0 - s));
        d_gate[at] = F::cast_from(grad * f32::cast_from(up[at]) * slope);
    }
}

impl SwiGlu for Cube {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let (gate, up) = (cube::dense(gate), cube::dense(up));
        let out = cube::empty(&gate, &cube::dims2(&gate));
        let (count, dim) = cube::by_element(&out, cube::count(&out));
        let (client, format) = (out.client.clone(), cube::format(&out));
        // SAFETY: a unit past the end touches nothing.
        unsafe {
            forward::launch_unchecked(
                &client,
                count,
                dim,
                gate.into_buffer_arg(),
                up.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                format,
            );
        }
        out
    }
}

impl SwiGluBackward for Cube {
    fn swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [gate, up, grad] = [gate, up, grad].map(cube::dense);
        let [d_gate, d_up] = [(); 2].map(|()| cube::empty(&gate, &cube::dims2(&gate)));
        let (count, dim) = cube::by_element(&gate, cube::count(&gate));
        let (client, format) = (gate.client.clone(), cube::format(&gate));
        // SAFETY: a unit past the end touches nothing.
        unsafe {
            backward::launch_unchecked(
                &client,
                count,
                dim,
                gate.into_buffer_arg(),
                up.into_buffer_arg(),
                grad.into_buffer_arg(),
                d_gate.clone().into_buffer_arg(),
                d_up.clone().into_buffer_arg(),
                format,
            );
        }
        (d_gate, d_up)
    }
}
