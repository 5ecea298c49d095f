//! Between Burn's CubeCL tensors and the kernels, which are written once for every graphics API.
//!
//! A kernel reads whole buffers in row-major order, computes in f32 whatever the buffers hold, and leaves bounds to
//! itself: sizes are arguments, never part of the kernel, so that another batch compiles nothing new.

use burn::backend::DispatchDevice;
use burn::backend::cubecl::dtype_to_storage_type;
#[cfg(test)]
use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::ir::features::Plane;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::{self, calculate_cube_count_elemwise};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

/// Whether the kernels serve this tensor: on a graphics card, in f32, the only format they were tried in.
pub fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    let on_card = matches!(
        tensor.device().inner().as_dispatch(),
        DispatchDevice::Cube(_)
    );
    on_card && tensor.dtype() == DType::F32
}

/// The tensor with its elements in row-major order without gaps.
pub fn dense(tensor: CubeTensor) -> CubeTensor {
    into_contiguous(tensor)
}

/// A [`dense`] tensor that nobody else holds, for writing in place.
pub fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    match tensor.can_mut() {
        true => tensor,
        false => tensor.copy(),
    }
}

/// A tensor of `shape` beside `like`, in its format, not yet written.
pub fn empty(like: &CubeTensor, shape: &[usize]) -> CubeTensor {
    empty_of(like, shape, like.dtype)
}

/// The same in another format.
pub fn empty_of(like: &CubeTensor, shape: &[usize], dtype: DType) -> CubeTensor {
    let shape = Shape::from(shape.to_vec());
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, dtype)
}

/// Numbers that kernels read beside `like`.
pub fn uploaded(like: &CubeTensor, values: &[u32]) -> CubeTensor {
    // An empty buffer cannot be bound.
    let values = if values.is_empty() { &[0] } else { values };
    let handle = like.client.create_from_slice(u32::as_bytes(values));
    let (client, device) = (like.client.clone(), like.device.clone());
    let shape = Shape::from(vec![values.len()]);
    CubeTensor::new_contiguous(client, device, shape, handle, DType::U32)
}

/// The same for floats.
pub fn uploaded_floats(like: &CubeTensor, values: &[f32]) -> CubeTensor {
    let handle = like.client.create_from_slice(f32::as_bytes(values));
    let (client, device) = (like.client.clone(), like.device.clone());
    let shape = Shape::from(vec![values.len()]);
    CubeTensor::new_contiguous(client, device, shape, handle, DType::F32)
}

/// What a kernel is told of a tensor's format.
pub fn format(tensor: &CubeTensor) -> ElemType {
    dtype_to_storage_type(tensor.dtype)
}

/// The tensor of a card behind a [`Tensor`], for tests of what stands below the ops.
#[cfg(test)]
pub fn primitive(tensor: Tensor<2>) -> CubeTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(BackendTensor::Float(tensor)) => tensor,
        _ => panic!("a tensor of floats on a card"),
    }
}

/// The way back.
#[cfg(test)]
pub fn tensor(tensor: CubeTensor) -> Tensor<2> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Cube(BackendTensor::Float(tensor)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

/// The sizes of a matrix `[rows, columns]`.
pub fn dims2(tensor: &CubeTensor) -> [usize; 2] {
    [tensor.meta.shape()[0], tensor.meta.shape()[1]]
}

/// The number of a tensor's elements.
pub fn count(tensor: &CubeTensor) -> usize {
    tensor.meta.num_elements()
}

/// One unit for each of `elements`.
pub fn by_element(like: &CubeTensor, elements: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(&like.client, elements);
    let count = calculate_cube_count_elemwise(&like.client, elements, dim);
    (count, dim)
}

/// One cube for each of `rows` of `width` elements, whose units share the work on a row. There may be more cubes than
/// rows.
pub fn by_row(like: &CubeTensor, rows: usize, width: usize) -> (CubeCount, CubeDim) {
    let hardware = &like.client.properties().hardware;
    let count = calculate_cube_count_elemwise(&like.client, rows, CubeDim::new_single());
    // A few elements for each unit, and no fewer units than a plane has.
    let units = (width / 4).next_power_of_two().clamp(32, 256) as u32;
    (
        count,
        CubeDim::new_1d(units.min(hardware.max_units_per_cube)),
    )
}

/// Whether cubes of `units` may reduce plane by plane: planes can, all have one size, and they divide a cube.
pub fn adds_in_planes(like: &CubeTensor, units: u32) -> bool {
    let properties = like.client.properties();
    let (least, most) = (
        properties.hardware.plane_size_min,
        properties.hardware.plane_size_max,
    );
    properties.features.plane.contains(Plane::Ops)
        && least == most
        && least > 0
        && units.is_multiple_of(least)
}

/// The sum of `value` over all units of the cube, given to each of them. `shared` has room for one number a unit.
#[cube]
pub fn cube_sum(value: f32, shared: &mut Shared<[f32]>, #[comptime] planes: bool) -> f32 {
    let mut of_plane = value;
    if comptime!(planes) {
        of_plane = plane_sum(value);
    }
    let parts = gather(of_plane, shared, planes);
    let mut sum = 0.0f32;
    for i in 0..parts {
        sum += shared[i];
    }
    sum
}

/// The largest `value` of all units of the cube, given to each of them. `shared` has room for one number a unit.
#[cube]
pub fn cube_max(value: f32, shared: &mut Shared<[f32]>, #[comptime] planes: bool) -> f32 {
    let mut of_plane = value;
    if comptime!(planes) {
        of_plane = plane_max(value);
    }
    let parts = gather(of_plane, shared, planes);
    let mut max = shared[0];
    for i in 1..parts {
        max = max.max(shared[i]);
    }
    max
}

/// Puts the number of each plane, or of each unit where planes cannot reduce, where all units see it: how many.
#[cube]
fn gather(value: f32, shared: &mut Shared<[f32]>, #[comptime] planes: bool) -> usize {
    // What was there before has been read by everyone.
    sync_cube();
    let mut parts = CUBE_DIM as usize;
    if comptime!(planes) {
        if UNIT_POS_PLANE == 0 {
            shared[PLANE_POS as usize] = value;
        }
        parts = (CUBE_DIM / PLANE_DIM) as usize;
    } else {
        shared[UNIT_POS as usize] = value;
    }
    sync_cube();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;

    const UNITS: usize = 64;

    /// Sum and maximum of as many values as there are units.
    #[cube(launch)]
    fn reduce(values: &[f32], out: &mut [f32], #[comptime] planes: bool) {
        let mut shared = Shared::<[f32]>::new_slice(UNITS);
        let value = values[UNIT_POS as usize];
        let sum = cube_sum(value, &mut shared, planes);
        let max = cube_max(value, &mut shared, planes);
        // The last unit writes: every one of them has the result.
        if UNIT_POS as usize == UNITS - 1 {
            out[0] = sum;
            out[1] = max;
        }
    }

    /// A card without plane operations takes the other way, which the cards at hand may never do by themselves.
    #[test]
    fn sums_with_planes_and_without_them_are_equal_on_each_device() {
        for found in device::found() {
            let device = device::open(found.backend, found.index).expect("it was found");
            let DispatchDevice::Cube(device) = device.as_dispatch() else {
                continue;
            };
            let client = device.client();
            let values: Vec<f32> = (0..UNITS).map(|i| (i * 37 % 64) as f32 - 20.0).collect();
            let with_planes = client.properties().features.plane.contains(Plane::Ops)
                && client.properties().hardware.plane_size_max <= UNITS as u32;
            for planes in [false, with_planes] {
                let out = client.create_from_slice(f32::as_bytes(&[0.0, 0.0]));
                let input = client.create_from_slice(f32::as_bytes(&values));
                // SAFETY: the handles hold as many numbers as is said.
                let (input, output) = unsafe {
                    (
                        BufferArg::from_raw_parts(input, UNITS),
                        BufferArg::from_raw_parts(out.clone(), 2),
                    )
                };
                let (count, dim) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(UNITS as u32));
                reduce::launch(&client, count, dim, input, output, planes);
                let bytes = client.read_one(out).expect("the kernel runs");
                assert_eq!(f32::from_bytes(&bytes), [736.0, 43.0], "planes: {planes}");
            }
        }
    }
}
