//! The products of a block with the few query rows of one token: a packed product would spend its time packing.
//!
//! Which path a row takes depends on its own segment alone, so its result does not depend on who is decoded beside it.

use super::super::linear::tile;
use pulp::{Simd, WithSimd};

/// Rows of keys or values of one head: row `j` begins at `j * stride`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// From the first row on.
    pub values: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
    /// Width of a row, above 0.
    pub dim: usize,
    /// Number of rows.
    pub len: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn row(&self, j: usize) -> &'a [f32] {
        &self.values[j * self.stride..j * self.stride + self.dim]
    }
}

/// `out[i][j] = a[i] . rows[j]`, for `a [n, dim]` and `out [n, rows]`.
pub fn scores(out: &mut [f32], a: &[f32], rows: Rows) {
    pulp::Arch::new().dispatch(Scores { out, a, rows });
}

/// `out[i] += sum_j p[i][j] rows[j]`, for `p [n, rows]` and `out [n, dim]`.
pub fn mix(out: &mut [f32], p: &[f32], rows: Rows) {
    pulp::Arch::new().dispatch(Mix { out, p, rows });
}

struct Scores<'a> {
    out: &'a mut [f32],
    a: &'a [f32],
    rows: Rows<'a>,
}

impl WithSimd for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut key = 0;
        while key + 4 <= self.rows.len {
            self.keys::<S, 4>(simd, key);
            key += 4;
        }
        while key < self.rows.len {
            self.keys::<S, 1>(simd, key);
            key += 1;
        }
    }
}

impl Scores<'_> {
    /// All rows of `a` against `N` keys.
    #[inline(always)]
    fn keys<S: Simd, const N: usize>(&mut self, simd: S, key: usize) {
        let keys: [&[f32]; N] = std::array::from_fn(|n| self.rows.row(key + n));
        let dim = self.rows.dim;
        let mut row = 0;
        let mut rest = self.a;
        while rest.len() >= 3 * dim {
            let three: [&[f32]; 3] = std::array::from_fn(|m| &rest[m * dim..(m + 1) * dim]);
            self.put(row, key, tile(simd, three, keys));
            rest = &rest[3 * dim..];
            row += 3;
        }
        for a in rest.chunks_exact(dim) {
            self.put(row, key, tile(simd, [a], keys));
            row += 1;
        }
    }

    #[inline(always)]
    fn put<const M: usize, const N: usize>(&mut self, row: usize, key: usize, dots: [[f32; N]; M]) {
        for (m, dots) in dots.iter().enumerate() {
            let at = (row + m) * self.rows.len + key;
            self.out[at..at + N].copy_from_slice(dots);
        }
    }
}

struct Mix<'a> {
    out: &'a mut [f32],
    p: &'a [f32],
    rows: Rows<'a>,
}

impl WithSimd for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (dim, len) = (self.rows.dim, self.rows.len);
        let count = self.out.len() / dim;
        assert_eq!(self.p.len(), count * len);
        let whole = dim - dim % (2 * S::F32_LANES);
        for at in (0..whole).step_by(2 * S::F32_LANES) {
            let mut row = 0;
            while row + 3 <= count {
                self.columns::<S, 3>(simd, row, at);
                row += 3;
            }
            while row < count {
                self.columns::<S, 1>(simd, row, at);
                row += 1;
            }
        }
        for (out, p) in self.out.chunks_exact_mut(dim).zip(self.p.chunks_exact(len)) {
            for (j, p) in p.iter().enumerate() {
                let row = &self.rows.row(j)[whole..];
                for (out, value) in out[whole..].iter_mut().zip(row) {
                    *out += p * value;
                }
            }
        }
    }
}

impl Mix<'_> {
    /// Two vectors of columns of `M` outputs, which stay in registers while the rows go by.
    #[inline(always)]
    fn columns<S: Simd, const M: usize>(&mut self, simd: S, row: usize, at: usize) {
        let (dim, len, lanes) = (self.rows.dim, self.rows.len, S::F32_LANES);
        let mut sums = [[simd.splat_f32s(0.0); 2]; M];
        for j in 0..len {
            let values = &self.rows.row(j)[at..at + 2 * lanes];
            // SAFETY: the slice has two vectors of values; the copies ask for no alignment.
            let [first, second] = [0, lanes].map(|from| unsafe {
                std::ptr::read_unaligned(values.as_ptr().add(from).cast::<S::f32s>())
            });
            for (m, sums) in sums.iter_mut().enumerate() {
                let p = simd.splat_f32s(self.p[(row + m) * len + j]);
                sums[0] = simd.mul_add_e_f32s(p, first, sums[0]);
                sums[1] = simd.mul_add_e_f32s(p, second, sums[1]);
            }
        }
        for (m, sums) in sums.iter().enumerate() {
            for (n, sums) in sums.iter().enumerate() {
                let from = (row + m) * dim + at + n * lanes;
                let out = &mut self.out[from..from + lanes];
                let sum = simd.add_f32s(simd.partial_load_f32s(out), *sums);
                simd.partial_store_f32s(out, sum);
            }
        }
    }
}
