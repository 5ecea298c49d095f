//! Rows overwritten on graphics cards: one unit an element.

use super::WriteRows;
use crate::cube;
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;
use std::sync::Arc;

#[cube(launch_unchecked)]
fn write<F: Float>(
    into: &mut [F],
    new: &[F],
    rows: &[u32],
    width: usize,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < new.len() {
        let row = rows[ABSOLUTE_POS / width] as usize;
        into[row * width + ABSOLUTE_POS % width] = new[ABSOLUTE_POS];
    }
}

impl WriteRows for Cube {
    fn write_rows(
        into: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<Vec<u32>>,
    ) -> FloatTensor<Self> {
        let (into, new) = (cube::owned(into), cube::dense(new));
        let (count, dim) = cube::by_element(&new, cube::count(&new));
        let (client, format) = (into.client.clone(), cube::format(&into));
        // SAFETY: a unit past the end touches nothing, and every row is one of `into`.
        unsafe {
            write::launch_unchecked(
                &client,
                count,
                dim,
                into.clone().into_buffer_arg(),
                new.clone().into_buffer_arg(),
                cube::uploaded(&new, &rows).into_buffer_arg(),
                cube::dims2(&into)[1],
                format,
            );
        }
        into
    }
}
