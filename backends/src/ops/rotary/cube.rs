//! Rotary positions on graphics cards: one unit a pair of elements.

use super::Rotary;
use crate::cube;
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

/// Turns pair `p` of each row: elements `i` and `i + half` of a head. `sign` turns forth or back.
#[cube(launch_unchecked)]
fn turn<F: Float>(
    x: &[F],
    cos: &[f32],
    sin: &[f32],
    out: &mut [F],
    width: usize,
    half: usize,
    sign: f32,
    #[define(F)] _format: ElemType,
) {
    let pairs = width / 2;
    if ABSOLUTE_POS * 2 < out.len() {
        let row = ABSOLUTE_POS / pairs;
        let pair = ABSOLUTE_POS % pairs;
        let i = pair % half;
        let first = row * width + pair / half * (2 * half) + i;
        let c = cos[row * half + i];
        let s = sin[row * half + i] * sign;
        let a = f32::cast_from(x[first]);
        let b = f32::cast_from(x[first + half]);
        out[first] = F::cast_from(a * c - b * s);
        out[first + half] = F::cast_from(b * c + a * s);
    }
}

impl Rotary for Cube {
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self> {
        let [x, cos, sin] = [x, cos, sin].map(cube::dense);
        let ([rows, width], half) = (cube::dims2(&x), cube::dims2(&cos)[1]);
        let out = cube::empty(&x, &[rows, width]);
        let (count, dim) = cube::by_element(&x, rows * width / 2);
        let (client, format) = (x.client.clone(), cube::format(&x));
        // SAFETY: a unit past the end touches nothing.
        unsafe {
            turn::launch_unchecked(
                &client,
                count,
                dim,
                x.into_buffer_arg(),
                cos.into_buffer_arg(),
                sin.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                width,
                half,
                if back { -1.0 } else { 1.0 },
                format,
            );
        }
        out
    }
}
