//! Frozen weights as decoding reads them: in panels, in f32, bf16 or int8.
//!
//! A decoding step multiplies a few rows with every weight of the model once, so it takes as long as reading the
//! weights takes. Panels are read from front to back, and narrower weights are less to read: bf16 halves them, int8
//! with one scale for [`GROUP`] inputs quarters them. What is computed stays f32.

mod panels;

use super::linear::Operands;
use crate::clock::{self, Work};
use crate::cpu;
use burn::tensor::{DType, Device, Tensor, TensorData};
use panels::Panels;

/// How a served weight is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As it is.
    #[default]
    F32,
    /// Rounded to bf16.
    Bf16,
    /// Rounded to 127 steps either way of the largest of [`GROUP`] inputs of one output.
    Int8,
}

/// Inputs that share one scale in int8.
pub const GROUP: usize = 64;

impl Precision {
    /// Bytes that one weight takes, its share of a scale included.
    pub fn bytes_per_weight(self) -> f64 {
        match self {
            Self::F32 => 4.0,
            Self::Bf16 => 2.0,
            Self::Int8 => 1.0 + 4.0 / GROUP as f64,
        }
    }
}

/// A weight `[out, in]` that is only multiplied with.
pub struct Served {
    body: Body,
    outs: usize,
}

enum Body {
    Panels(Panels),
    /// On a card: the rounded values, and how they are multiplied.
    Plain(Box<Tensor<2>>, Operands),
}

impl Served {
    /// Several weights `[out, in]` of one input, stacked into one. A card multiplies it as `operands` says, and keeps it
    /// in their format.
    ///
    /// # Panics
    /// If there is none, or their inputs differ.
    pub fn stacked(weights: &[Tensor<2>], precision: Precision, operands: Operands) -> Self {
        let weight = match weights {
            [weight] => weight.clone(),
            several => Tensor::cat(several.to_vec(), 0),
        };
        let weight = weight.cast(operands.dtype());
        let [outs, width] = weight.dims();
        let whole = weight.clone().cast(DType::F32);
        let body = match (cpu::serves(&whole), precision) {
            (true, _) => Body::Panels(Panels::new(&host(whole), width, precision)),
            (false, Precision::F32) => Body::Plain(Box::new(weight), operands),
            (false, Precision::Bf16) if operands == Operands::Bf16 => {
                Body::Plain(Box::new(weight), operands)
            }
            (false, _) => {
                // On the host: not every card knows bf16, and what it does not know it computes wrong.
                let device = whole.device();
                let rounded = rounded(whole.to_device(&Device::flex()), precision);
                let rounded = rounded.to_device(&device).cast(operands.dtype());
                Body::Plain(Box::new(rounded), operands)
            }
        };
        Self { body, outs }
    }

    /// One weight.
    pub fn new(weight: Tensor<2>, precision: Precision, operands: Operands) -> Self {
        Self::stacked(&[weight], precision, operands)
    }

    /// `x [n, in]` to `[n, out]`. A row's result does not depend on the rows beside it.
    pub fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.body {
            Body::Plain(weight, operands) => {
                let (rows, x) = (x.dims()[0], in_few_sizes(x));
                super::linear(x, (**weight).clone(), *operands).narrow(0, 0, rows)
            }
            Body::Panels(panels) => {
                let (rows, device) = (x.dims()[0], x.device());
                let x = host(x);
                let mut out = vec![0.0; rows * self.outs];
                clock::measure(Work::Matmul, || panels.multiply(&x, &mut out));
                Tensor::from_data(TensorData::new(out, [rows, self.outs]), &device)
            }
        }
    }

    /// Bytes of the weight as it is kept.
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Plain(weight, _) => {
                weight.dtype().size() * weight.dims().iter().product::<usize>()
            }
            Body::Panels(panels) => panels.bytes(),
        }
    }
}

/// The values that a weight served in `precision` stands for, in plain tensor ops: the oracle of the panels.
pub fn rounded(weight: Tensor<2>, precision: Precision) -> Tensor<2> {
    let [outs, width] = weight.dims();
    match precision {
        Precision::F32 => weight,
        Precision::Bf16 => weight.cast(DType::BF16).cast(DType::F32),
        Precision::Int8 => {
            let groups = width.div_ceil(GROUP);
            let padded = Tensor::zeros([outs, groups * GROUP], &weight.device());
            let padded = padded.slice_assign([0..outs, 0..width], weight);
            let grouped: Tensor<3> = padded.reshape([outs, groups, GROUP]);
            let scale = grouped.clone().abs().max_dim(2) / 127.0;
            // A group of zeros has no scale and needs none.
            let none = scale.clone().equal_elem(0.0);
            let steps = (grouped / scale.clone().mask_fill(none, 1.0)).round();
            (steps * scale)
                .reshape([outs, groups * GROUP])
                .narrow(1, 0, width)
        }
    }
}

/// Rows of zeros below, up to a power of two or a multiple of 64: as responses end, a card would else get a kernel for
/// every number of them.
fn in_few_sizes(x: Tensor<2>) -> Tensor<2> {
    let [rows, width] = x.dims();
    let size = match rows {
        ..=64 => rows.next_power_of_two(),
        _ => rows.next_multiple_of(64),
    };
    match size - rows {
        0 => x,
        missing => {
            let zeros = Tensor::zeros([missing, width], &x.device());
            Tensor::cat(vec![x, zeros], 0)
        }
    }
}

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("served tensors are f32")
}
