//! Weights out of 4 bits on graphics cards: one unit a word of eight.

use super::{GROUP, Nf4Linear, PER_WORD, Unpack, VALUES, forward};
use crate::cube;
use crate::ops::linear::Operands;
use burn::backend::Cube;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;

/// The weights of word `ABSOLUTE_POS` into `out [rows, width]`.
#[cube(launch_unchecked)]
fn unpack<F: Float>(
    words: &[i32],
    scales: &[f32],
    values: &[f32],
    out: &mut [F],
    width: usize,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < words.len() {
        let words_a_row = width.div_ceil(PER_WORD);
        let row = ABSOLUTE_POS / words_a_row;
        let first = ABSOLUTE_POS % words_a_row * PER_WORD;
        let scale = scales[row * width.div_ceil(GROUP) + first / GROUP];
        let word = u32::reinterpret(words[ABSOLUTE_POS]);
        for i in 0..PER_WORD {
            if first + i < width {
                let code = (word >> (4 * i as u32)) & 0xf;
                out[row * width + first + i] = F::cast_from(values[code as usize] * scale);
            }
        }
    }
}

impl Unpack for Cube {
    fn unpack(
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        width: usize,
        operands: Operands,
    ) -> FloatTensor<Self> {
        let outs = cube::dims2(&words)[0];
        let out = cube::empty_of(&scales, &[outs, width], operands.dtype());
        let (client, format) = (words.client.clone(), cube::format(&out));
        let (count, dim) = cube::by_element(&words, cube::count(&words));
        let values = cube::uploaded_floats(&scales, &VALUES);
        // SAFETY: a unit past the end touches nothing, nor does a weight past the end of its row.
        unsafe {
            unpack::launch_unchecked(
                &client,
                count,
                dim,
                words.into_buffer_arg(),
                scales.into_buffer_arg(),
                values.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                width,
                format,
            );
        }
        out
    }
}

impl Nf4Linear for Cube {
    fn nf4_linear(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        width: usize,
        operands: Operands,
    ) -> FloatTensor<Self> {
        forward::<Self>(x, words, scales, width, operands)
    }
}
