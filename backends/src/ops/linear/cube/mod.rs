//! The product on graphics cards: cubek's, whose kernels fit the card, and the kernels that bring operands into f16.

mod tried;

use super::{Linear, Operand, Operands, Product, forward};
use crate::cube;
use burn::backend::Cube;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::ir::ElemType;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::tensor::CubeTensor;

impl Linear for Cube {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        operands: Operands,
    ) -> FloatTensor<Self> {
        forward::<Self>(x, weight, operands)
    }
}

impl Product for Cube {
    fn operand(x: FloatTensor<Self>, operands: Operands) -> Operand<Self> {
        match operands {
            Operands::F16 => scaled(x),
            _ => Self::weight(x, operands),
        }
    }

    fn weight(weight: FloatTensor<Self>, operands: Operands) -> Operand<Self> {
        let values = match weight.dtype == operands.dtype() {
            true => weight,
            false => Self::float_cast(weight, operands.float()),
        };
        Operand {
            values,
            unscale: None,
        }
    }

    fn product(a: Operand<Self>, b: Operand<Self>) -> FloatTensor<Self> {
        let product = tried::product(a.values, b.values);
        let unscales = [a.unscale, b.unscale].into_iter().flatten();
        unscales.fold(product, Self::float_mul)
    }
}

/// Cubes that look for the largest value, each in a share of its own.
const SHARES: usize = 64;

/// Units of such a cube.
const UNITS: usize = 256;

/// The largest absolute value of each share.
#[cube(launch_unchecked)]
fn largest(x: &[f32], out: &mut [f32], #[comptime] units: usize, #[comptime] planes: bool) {
    let mut shared = Shared::<[f32]>::new_slice(units);
    let mut max = 0.0f32;
    let mut i = ABSOLUTE_POS;
    while i < x.len() {
        max = max.max(x[i].abs());
        i += SHARES * units;
    }
    let max = cube::cube_max(max, &mut shared, planes);
    if UNIT_POS == 0 {
        out[CUBE_POS] = max;
    }
}

/// The scale that `super::scale` finds for the largest of all shares, and its inverse.
#[cube(launch_unchecked)]
fn scale_of(shares: &[f32], scale: &mut [f32], unscale: &mut [f32]) {
    let mut max = shares[0];
    for i in 1..shares.len() {
        max = max.max(shares[i]);
    }
    let exponent = (u32::reinterpret(max) >> 23) & 0xff;
    let mut to = 127u32;
    if exponent > 0 {
        to = (267u32 - exponent).clamp(1, 253);
    }
    scale[0] = f32::reinterpret(to << 23);
    unscale[0] = f32::reinterpret((254u32 - to) << 23);
}

/// `x` times the scale, rounded.
#[cube(launch_unchecked)]
fn narrow<F: Float>(x: &[f32], scale: &[f32], out: &mut [F], #[define(F)] _format: ElemType) {
    if ABSOLUTE_POS < out.len() {
        out[ABSOLUTE_POS] = F::cast_from(x[ABSOLUTE_POS] * scale[0]);
    }
}

/// `x` in f16, by a power of two in the upper half of its range.
fn scaled(x: CubeTensor) -> Operand<Cube> {
    let x = cube::dense(x);
    let (client, elements) = (x.client.clone(), cube::count(&x));
    let shares = cube::empty(&x, &[SHARES]);
    let [scale, unscale] = [(); 2].map(|()| cube::empty(&x, &[1, 1]));
    let values = cube::empty_of(&x, x.meta.shape(), DType::F16);
    let units = UNITS.min(client.properties().hardware.max_units_per_cube as usize);
    let planes = cube::adds_in_planes(&x, units as u32);
    let (cubes, dim) = cube::by_element(&x, elements);
    // SAFETY: units past the end touch nothing, and there is a cube for each share.
    unsafe {
        largest::launch_unchecked(
            &client,
            CubeCount::Static(SHARES as u32, 1, 1),
            CubeDim::new_1d(units as u32),
            x.clone().into_buffer_arg(),
            shares.clone().into_buffer_arg(),
            units,
            planes,
        );
        scale_of::launch_unchecked(
            &client,
            CubeCount::Static(1, 1, 1),
            CubeDim::new_single(),
            shares.into_buffer_arg(),
            scale.clone().into_buffer_arg(),
            unscale.clone().into_buffer_arg(),
        );
        narrow::launch_unchecked(
            &client,
            cubes,
            dim,
            x.into_buffer_arg(),
            scale.into_buffer_arg(),
            values.clone().into_buffer_arg(),
            cube::format(&values),
        );
    }
    Operand {
        values,
        unscale: Some(unscale),
    }
}
