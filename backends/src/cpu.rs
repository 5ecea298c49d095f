//! Between Burn's flex tensors and the slices that the CPU bodies work on.

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape, Tensor, TensorData};

/// Whether the fused CPU bodies serve this tensor: flex, in f32.
pub fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    use burn::backend::DispatchDevice;
    let on_cpu = matches!(
        tensor.device().inner().as_dispatch(),
        DispatchDevice::Flex(_)
    );
    on_cpu && tensor.dtype() == DType::F32
}

/// The tensor with its elements in row-major order without gaps.
pub fn dense(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of a [`dense`] tensor.
pub fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice::<f32>()
        .expect("a dense f32 tensor is one slice")
}

/// A [`dense`] tensor that starts at the beginning of its buffer, for writing in place.
pub fn owned(tensor: FlexTensor) -> FlexTensor {
    let whole = tensor.is_contiguous() && tensor.layout().start_offset() == 0;
    if whole {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of an [`owned`] tensor, copied first if somebody else holds them too.
pub fn slice_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let elements = tensor.layout().num_elements();
    &mut tensor.storage_mut::<f32>()[..elements]
}

/// A tensor around `values`.
pub fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, Shape::from(shape.to_vec())))
}

/// The sizes of a matrix `[rows, columns]`.
pub fn dims2(tensor: &FlexTensor) -> [usize; 2] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1]]
}

/// Rows a task should take so that `rows` split evenly over the threads but stay worth a task.
pub fn rows_per_task(rows: usize, width: usize) -> usize {
    let at_least = (16_384 / width.max(1)).max(1);
    rows.div_ceil(4 * rayon::current_num_threads())
        .max(at_least)
}

/// A pointer that tasks share to write disjoint places of one buffer.
#[derive(Clone, Copy)]
pub struct Shared(pub *mut f32);

// SAFETY: every user writes places that no other task touches, and says why at the use.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// `len` elements from `start`.
    ///
    /// # Safety
    /// The range lies inside the buffer and no other live slice overlaps it.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn at(&self, start: usize, len: usize) -> &mut [f32] {
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// How a product is written, and by how many threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// `out = a b`, on this thread.
    Over,
    /// `out += a b`, on this thread.
    Add,
    /// `out = a b`, on all threads.
    OverParallel,
    /// `out += a b`, on all threads.
    AddParallel,
}

/// The product of the strided matrices `a [m, k]` and `b [k, n]` into `out [m, n]`.
///
/// A matrix is (slice, row stride, column stride).
pub fn gemm(
    [m, n, k]: [usize; 3],
    out: (&mut [f32], usize, usize),
    a: (&[f32], usize, usize),
    b: (&[f32], usize, usize),
    write: Write,
) {
    if m == 0 || n == 0 {
        return;
    }
    let accumulate = matches!(write, Write::Add | Write::AddParallel);
    let parallel = matches!(write, Write::OverParallel | Write::AddParallel);
    assert!((m - 1) * out.1 + (n - 1) * out.2 < out.0.len());
    assert!(k == 0 || (m - 1) * a.1 + (k - 1) * a.2 < a.0.len());
    assert!(k == 0 || (k - 1) * b.1 + (n - 1) * b.2 < b.0.len());
    // SAFETY: the assertions above state that every element lies inside its slice.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.0.as_mut_ptr(),
            out.2 as isize,
            out.1 as isize,
            accumulate,
            a.0.as_ptr(),
            a.2 as isize,
            a.1 as isize,
            b.0.as_ptr(),
            b.2 as isize,
            b.1 as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            if parallel {
                gemm::Parallelism::Rayon(0)
            } else {
                gemm::Parallelism::None
            },
        );
    }
}
