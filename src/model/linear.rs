//! A linear layer, with its low-rank adapter beside it where one is trained.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use duel_backends::ops;

/// `y = x W^T + b`, and with an adapter `+ scale (x A^T) B^T` (Hu et al. 2021, equation 3). The full
/// effective weight is never made: a frozen `W` costs no gradient product.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The adapter; its fields carry PEFT's names.
    pub lora: Option<Lora>,
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

impl Linear {
    /// `x [n, in]` to `[n, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val();
        let y = match &self.lora {
            Some(lora) => ops::low_rank(x, weight, lora.a.val(), lora.b.val(), lora.scale),
            None => ops::linear(x, weight),
        };
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }

    /// The layer with its adapter added into the weight.
    pub fn merged(self) -> Self {
        let Some(lora) = self.lora else { return self };
        let id = self.weight.id;
        let update = lora.b.val().matmul(lora.a.val()) * lora.scale;
        Self {
            weight: Param::initialized(id, self.weight.val() + update),
            bias: self.bias,
            lora: None,
        }
    }
}
