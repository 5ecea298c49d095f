//! Frozen weights as decoding reads them: in panels, in f32, bf16 or int8.
//!
//! A decoding step multiplies a few rows with every weight of the model once, so it takes as long as reading the
//! weights takes. Panels are read from front to back, and narrower weights are less to read: bf16 halves them, int8
//! with one scale for [`GROUP`] inputs quarters them. What is computed stays f32.

mod panels;

use crate::clock::{self, Work};
use crate::cpu;
use burn::tensor::{DType, Tensor, TensorData};
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
    /// Where no CPU body serves: the rounded values.
    Plain(Tensor<2>),
}

impl Served {
    /// Several weights `[out, in]` of one input, stacked into one.
    ///
    /// # Panics
    /// If there is none, or their inputs differ.
    pub fn stacked(weights: &[Tensor<2>], precision: Precision) -> Self {
        let weight = match weights {
            [weight] => weight.clone(),
            several => Tensor::cat(several.to_vec(), 0),
        };
        let [outs, width] = weight.dims();
        let body = match cpu::serves(&weight) {
            true => {
                let values: Vec<f32> = host(weight);
                Body::Panels(Panels::new(&values, width, precision))
            }
            false => Body::Plain(rounded(weight, precision)),
        };
        Self { body, outs }
    }

    /// One weight.
    pub fn new(weight: Tensor<2>, precision: Precision) -> Self {
        Self::stacked(&[weight], precision)
    }

    /// `x [n, in]` to `[n, out]`. A row's result does not depend on the rows beside it.
    pub fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.body {
            Body::Plain(weight) => super::linear::reference(x, weight.clone()),
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
            Body::Plain(weight) => 4 * weight.dims().iter().product::<usize>(),
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

fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("served tensors are f32")
}
