//! Rows added on graphics cards. Rows that come more than once would race: the places of each row are listed first, and
//! one unit adds them up in their order, so that the sum is the same every time.

use super::AddRows;
use crate::cube;
use burn::backend::Cube;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;
use std::sync::Arc;

/// `rows` are the different rows; the places of row `i` in `new` are `places[starts[i]..starts[i + 1]]`.
#[cube(launch_unchecked)]
fn add<F: Float>(
    into: &mut [F],
    new: &[F],
    rows: &[u32],
    starts: &[u32],
    places: &[u32],
    width: usize,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < rows.len() * width {
        let i = ABSOLUTE_POS / width;
        let column = ABSOLUTE_POS % width;
        let at = rows[i] as usize * width + column;
        let mut sum = f32::cast_from(into[at]);
        for j in starts[i]..starts[i + 1] {
            sum += f32::cast_from(new[places[j as usize] as usize * width + column]);
        }
        into[at] = F::cast_from(sum);
    }
}

/// The different rows, where each one's places start, and the places, in the order of `rows`.
fn by_row(rows: &[u32]) -> [Vec<u32>; 3] {
    let mut places: Vec<u32> = (0..rows.len() as u32).collect();
    places.sort_by_key(|&place| rows[place as usize]);
    let (mut different, mut starts) = (Vec::new(), Vec::new());
    for (i, &place) in places.iter().enumerate() {
        let row = rows[place as usize];
        if different.last() != Some(&row) {
            different.push(row);
            starts.push(i as u32);
        }
    }
    starts.push(places.len() as u32);
    [different, starts, places]
}

impl AddRows for Cube {
    fn add_rows(
        into: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<Vec<u32>>,
    ) -> FloatTensor<Self> {
        let (into, new) = (cube::owned(into), cube::dense(new));
        let width = cube::dims2(&into)[1];
        let [different, starts, places] = by_row(&rows);
        let (count, dim) = cube::by_element(&new, different.len() * width);
        let (client, format) = (into.client.clone(), cube::format(&into));
        // SAFETY: a unit past the end touches nothing, and every row and place is one that there is.
        unsafe {
            add::launch_unchecked(
                &client,
                count,
                dim,
                into.clone().into_buffer_arg(),
                new.clone().into_buffer_arg(),
                cube::uploaded(&new, &different).into_buffer_arg(),
                cube::uploaded(&new, &starts).into_buffer_arg(),
                cube::uploaded(&new, &places).into_buffer_arg(),
                width,
                format,
            );
        }
        into
    }
}
