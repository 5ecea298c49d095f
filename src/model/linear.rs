//! A linear layer, with its low-rank adapter beside it where one is trained.

use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use duel_backends::ops::{self, Nf4, Operands, low_rank};
use std::sync::Arc;

/// `y = x W^T + b`, and with an adapter `+ scale (x A^T) B^T` (Hu et al. 2021, equation 3). The full
/// effective weight is never made: a frozen `W` costs no gradient product.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Weight,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The adapter; its fields carry PEFT's names.
    pub lora: Option<Lora>,
    /// How its products are read.
    #[module(skip)]
    pub operands: Operands,
}

/// How a layer's matrix is kept.
#[derive(Module, Debug)]
pub enum Weight {
    /// Number by number: in f32 where it is trained, in the operands' format where it may be frozen.
    Whole(Param<Tensor<2>>),
    /// In 4 bits, frozen.
    Packed(Packed),
}

/// A matrix in 4 bits. It is no parameter: nothing trains it, and nothing writes it to a file.
#[derive(Module, Debug)]
pub struct Packed {
    /// The codes.
    #[module(skip)]
    pub codes: Arc<Nf4>,
}

/// A low-rank adapter.
#[derive(Module, Debug)]
pub struct Lora {
    /// `lora_A.weight [r, in]`.
    pub a: Param<Tensor<2>>,
    /// `lora_B.weight [out, r]`; zero at the start, so that training starts at the base model.
    pub b: Param<Tensor<2>>,
    /// `lora_alpha / r` (or `/ sqrt(r)` for rank-stabilised adapters).
    #[module(skip)]
    pub scale: f64,
}

impl Weight {
    /// `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Whole(weight) => weight.val().dims(),
            Self::Packed(packed) => packed.codes.dims(),
        }
    }

    /// Every number of it, `[out, in]`, in the format it is kept in; in f32 out of 4 bits.
    pub fn whole(&self) -> Tensor<2> {
        match self {
            Self::Whole(weight) => weight.val(),
            Self::Packed(packed) => packed.codes.whole(),
        }
    }
}

impl Linear {
    /// A layer without bias or adapter.
    pub fn new(weight: Weight) -> Self {
        Self {
            weight,
            bias: None,
            lora: None,
            operands: Operands::default(),
        }
    }

    /// `x [n, in]` to `[n, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let operands = self.operands;
        let y = match (&self.weight, &self.lora) {
            (Weight::Whole(weight), None) => ops::linear(x, weight.val(), operands),
            (Weight::Whole(weight), Some(lora)) => {
                let (a, b) = (lora.a.val(), lora.b.val());
                ops::low_rank(x, weight.val(), a, b, lora.scale, operands)
            }
            (Weight::Packed(packed), None) => packed.codes.linear(x, operands),
            (Weight::Packed(packed), Some(lora)) => {
                let y = packed.codes.linear(x.clone(), operands);
                let (a, b) = (lora.a.val(), lora.b.val());
                y + low_rank::update(x, a, b, lora.scale, operands)
            }
        };
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }

    /// The layer with its adapter added into the weight, which is whole and in f32 then.
    pub fn merged(self) -> Self {
        let Some(lora) = &self.lora else { return self };
        let update = lora.b.val().matmul(lora.a.val()) * lora.scale;
        let weight = self.weight.whole().cast(DType::F32) + update;
        Self {
            weight: Weight::Whole(Param::from_tensor(weight)),
            lora: None,
            ..self
        }
    }
}
