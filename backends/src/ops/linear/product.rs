//! The matrix product that linear layers and the head share. What it reads may be narrower than f32; what it adds up and
//! gives never is, and the narrow copies live no longer than the product: weights that are trained, gradients and
//! everything between two products stay f32 (Micikevicius et al. 2018, "Mixed Precision Training", section 3).

use super::dots::dots;
use crate::clock::{self, Work};
use crate::cpu;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex};
use burn::tensor::{DType, FloatDType};

/// The format that matrix products read their operands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Operands {
    /// As they are.
    #[default]
    F32,
    /// Rounded to 8 significant bits.
    Bf16,
    /// Rounded to 11 significant bits. f16 ends at 65,504 and loses bits below 6e-5: whatever is not a weight is brought
    /// to the upper half of its range first, by a power of two, and the product back.
    F16,
}

impl Operands {
    /// The format itself.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// That of a name, as recipes spell it.
    pub fn named(name: &str) -> Option<Self> {
        [Self::F32, Self::Bf16, Self::F16]
            .into_iter()
            .find(|operands| operands.name() == name)
    }

    /// As recipes spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        self.dtype().size()
    }

    pub(super) fn float(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }
}

/// A matrix as a product reads it.
pub struct Operand<B: Backend> {
    /// In the operands' format.
    pub values: FloatTensor<B>,
    /// `[1, 1]`: what the product is multiplied by, where the values were scaled.
    pub unscale: Option<FloatTensor<B>>,
}

impl<B: Backend> Operand<B> {
    /// The matrix, rows for columns.
    pub fn transposed(self) -> Self {
        Self {
            values: B::float_transpose(self.values),
            unscale: self.unscale,
        }
    }
}

/// A backend's product.
pub trait Product: Backend {
    /// Values of any size, as `operands` says.
    fn operand(x: FloatTensor<Self>, operands: Operands) -> Operand<Self>;

    /// A weight, as `operands` says; it may be kept in that format already.
    fn weight(weight: FloatTensor<Self>, operands: Operands) -> Operand<Self>;

    /// `a b`, in f32.
    fn product(a: Operand<Self>, b: Operand<Self>) -> FloatTensor<Self>;

    /// `x W^T` for `weight [out, in]`, in f32.
    fn product_of_rows(x: Operand<Self>, weight: Operand<Self>) -> FloatTensor<Self> {
        Self::product(x, weight.transposed())
    }
}

/// The power of two that brings `largest` between 2^13 and 2^14.
fn scale(largest: f32) -> f32 {
    let exponent = (largest.to_bits() >> 23) & 0xff;
    match exponent {
        0 => 1.0,
        _ => f32::from_bits((13 + 2 * 127 - exponent).clamp(1, 253) << 23),
    }
}

/// The CPU has no narrow products worth having: it rounds, and multiplies in f32.
impl Product for Flex {
    fn operand(x: FloatTensor<Self>, operands: Operands) -> Operand<Self> {
        match operands {
            Operands::F16 => {
                let x = cpu::dense(x);
                let largest = cpu::slice(&x).iter().fold(0.0, |m: f32, v| m.max(v.abs()));
                let scale = scale(largest);
                let scaled = Self::float_mul_scalar(x, scale.into());
                let rounded = Self::weight(scaled, operands).values;
                Operand {
                    values: Self::float_mul_scalar(rounded, (1.0 / scale).into()),
                    unscale: None,
                }
            }
            _ => Self::weight(x, operands),
        }
    }

    fn weight(weight: FloatTensor<Self>, operands: Operands) -> Operand<Self> {
        let rounded = match weight.dtype() == operands.dtype() {
            true => weight,
            false => Self::float_cast(weight, operands.float()),
        };
        let values = match operands {
            Operands::F32 => rounded,
            _ => Self::float_cast(rounded, FloatDType::F32),
        };
        Operand {
            values,
            unscale: None,
        }
    }

    fn product(a: Operand<Self>, b: Operand<Self>) -> FloatTensor<Self> {
        clock::measure(Work::Matmul, || Self::float_matmul(a.values, b.values))
    }

    /// By dot products for any number of rows: as fast as a packed product (`cargo bench`), and a row's result does not
    /// depend on the rows beside it.
    fn product_of_rows(x: Operand<Self>, weight: Operand<Self>) -> FloatTensor<Self> {
        let (x, weight) = (cpu::dense(x.values), cpu::dense(weight.values));
        let ([rows, own], [outs, width]) = (cpu::dims2(&x), cpu::dims2(&weight));
        assert_eq!(own, width, "x [n, in] and weight [out, in] share `in`");
        let mut out = vec![0.0; rows * outs];
        clock::measure(Work::Matmul, || {
            dots(cpu::slice(&x), cpu::slice(&weight), width, &mut out);
        });
        cpu::tensor(out, &[rows, outs])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_a_power_of_two_that_fits_the_largest_into_f16() {
        for largest in [1e-30f32, 3e-7, 0.02, 1.0, 8191.9, 8192.0, 1e6, 3e38] {
            let scale = scale(largest);
            assert_eq!(scale.to_bits() << 9, 0, "{scale} is a power of two");
            let scaled = largest * scale;
            assert!((8192.0..16384.0).contains(&scaled), "{largest}: {scaled}");
        }
        assert_eq!(scale(0.0), 1.0);
    }
}
