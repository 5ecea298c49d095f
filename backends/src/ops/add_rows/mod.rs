//! Rows added into a matrix in place: the gradient of a table of vectors, of which a step reads only some rows.

#[cfg(feature = "cube")]
mod cube;

use super::fused;
use crate::clock::{self, Work};
use crate::{cpu, simd};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Int, Tensor, TensorData};
use std::sync::Arc;

/// `into [n, width]` with row `i` of `new` added to its row `rows[i]`, in order; rows may come more than once. Written in
/// place where nobody else holds `into`.
pub fn add_rows(into: Tensor<2>, new: Tensor<2>, rows: Arc<Vec<u32>>) -> Tensor<2> {
    if !fused(&into) {
        return reference(into, new, &rows);
    }
    Tensor::from_dispatch(<Dispatch as AddRows>::add_rows(
        into.into_dispatch(),
        new.into_dispatch(),
        rows,
    ))
}

/// The same in plain tensor ops.
pub fn reference(into: Tensor<2>, new: Tensor<2>, rows: &[u32]) -> Tensor<2> {
    let ids: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [rows.len()]), &into.device());
    into.select_assign(0, ids, new, burn::tensor::IndexingUpdateOp::Add)
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"))]
pub trait AddRows: Backend {
    /// See [`add_rows`].
    fn add_rows(
        into: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<Vec<u32>>,
    ) -> FloatTensor<Self>;
}

impl AddRows for Flex {
    fn add_rows(
        into: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<Vec<u32>>,
    ) -> FloatTensor<Self> {
        clock::measure(Work::Elementwise, || {
            let new = cpu::dense(new);
            let mut into = cpu::owned(into);
            let width = cpu::dims2(&into)[1];
            assert_eq!(cpu::dims2(&new), [rows.len(), width], "a row for each id");
            let all = cpu::slice_mut(&mut into);
            simd::vectorize(|| {
                for (new, &row) in cpu::slice(&new).chunks_exact(width).zip(rows.iter()) {
                    let at = row as usize * width;
                    simd::axpy(&mut all[at..at + width], 1.0, new);
                }
            });
            into
        })
    }
}
