//! Rows of a matrix overwritten in place: how a KV cache grows.

#[cfg(feature = "cube")]
mod cube;

use super::fused;
use crate::cpu;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use std::sync::Arc;

/// `into` with row `rows[i]` replaced by row `i` of `new`. Written in place where nobody else holds `into`.
pub fn write_rows(into: Tensor<2>, new: Tensor<2>, rows: Arc<Vec<u32>>) -> Tensor<2> {
    if !fused(&into) {
        return reference(into, new, &rows);
    }
    Tensor::from_dispatch(<Dispatch as WriteRows>::write_rows(
        into.into_dispatch(),
        new.into_dispatch(),
        rows,
    ))
}

/// The same in plain tensor ops.
#[allow(clippy::single_range_in_vec_init)] // one range for the first dimension is what is meant
pub fn reference(mut into: Tensor<2>, new: Tensor<2>, rows: &[u32]) -> Tensor<2> {
    for (i, &row) in rows.iter().enumerate() {
        let at = row as usize;
        into = into.slice_assign([at..at + 1], new.clone().narrow(0, i, 1));
    }
    into
}

/// The op on a backend's own tensors.
#[backend_extension(Flex, Cube: cfg(feature = "cube"))]
pub trait WriteRows: Backend {
    /// See [`write_rows`].
    fn write_rows(
        into: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<Vec<u32>>,
    ) -> FloatTensor<Self>;
}

impl WriteRows for Flex {
    fn write_rows(
        into: FloatTensor<Self>,
        new: FloatTensor<Self>,
        rows: Arc<Vec<u32>>,
    ) -> FloatTensor<Self> {
        let new = cpu::dense(new);
        let mut into = cpu::owned(into);
        let width = cpu::dims2(&into)[1];
        let all = cpu::slice_mut(&mut into);
        for (new, &row) in cpu::slice(&new).chunks_exact(width).zip(rows.iter()) {
            let at = row as usize * width;
            all[at..at + width].copy_from_slice(new);
        }
        into
    }
}
