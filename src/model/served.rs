//! A decoder's matrices as decoding reads them: stacked where they share an input, in the precision asked for,
//! adapters added in.

use super::decoder::{Block, Decoder, Products};
use super::linear::Linear;
use burn::tensor::Tensor;
use duel_backends::ops::{self, Precision};

/// The matrices of a decoder, frozen. Norms and the table of vectors stay the decoder's own.
pub struct Served {
    pub(super) blocks: Vec<ServedBlock>,
    pub(super) head: ops::Served,
}

/// The matrices of a block.
pub(super) struct ServedBlock {
    qkv: Stack<3>,
    o: Stack<1>,
    gate_up: Stack<2>,
    down: Stack<1>,
}

/// `N` layers that read the same input.
struct Stack<const N: usize> {
    weight: ops::Served,
    outs: [usize; N],
    bias: Option<Tensor<1>>,
}

impl<const N: usize> Stack<N> {
    fn new(layers: [&Linear; N], precision: Precision) -> Self {
        let operands = layers[0].operands;
        let layers = layers.map(|layer| layer.clone().merged());
        let weights = layers
            .each_ref()
            .map(|layer| layer.weight.whole().cast(operands.dtype()));
        let outs = weights.each_ref().map(|weight| weight.dims()[0]);
        let bias = layers.iter().any(|layer| layer.bias.is_some()).then(|| {
            let device = weights[0].device();
            let of = |(layer, &out): (&Linear, &usize)| match &layer.bias {
                Some(bias) => bias.val(),
                None => Tensor::zeros([out], &device),
            };
            Tensor::cat(layers.iter().zip(&outs).map(of).collect(), 0)
        });
        Self {
            weight: ops::Served::stacked(&weights, precision, operands),
            outs,
            bias,
        }
    }

    fn forward(&self, x: Tensor<2>) -> [Tensor<2>; N] {
        let mut y = self.weight.linear(x);
        if let Some(bias) = &self.bias {
            y = y + bias.clone().unsqueeze();
        }
        let mut from = 0;
        self.outs.map(|out| {
            from += out;
            y.clone().narrow(1, from - out, out)
        })
    }
}

impl ServedBlock {
    fn new(block: &Block, precision: Precision) -> Self {
        let (attention, mlp) = (&block.self_attn, &block.mlp);
        Self {
            qkv: Stack::new(
                [&attention.q_proj, &attention.k_proj, &attention.v_proj],
                precision,
            ),
            o: Stack::new([&attention.o_proj], precision),
            gate_up: Stack::new([&mlp.gate_proj, &mlp.up_proj], precision),
            down: Stack::new([&mlp.down_proj], precision),
        }
    }
}

impl Products for ServedBlock {
    fn qkv(&self, x: Tensor<2>) -> [Tensor<2>; 3] {
        self.qkv.forward(x)
    }

    fn o(&self, x: Tensor<2>) -> Tensor<2> {
        let [y] = self.o.forward(x);
        y
    }

    fn gate_up(&self, x: Tensor<2>) -> [Tensor<2>; 2] {
        self.gate_up.forward(x)
    }

    fn down(&self, x: Tensor<2>) -> Tensor<2> {
        let [y] = self.down.forward(x);
        y
    }
}

impl Decoder {
    /// The matrices laid out for decoding. They are copies: the decoder's own stay where they are.
    pub fn served(&self, precision: Precision) -> Served {
        let blocks = self.model.layers.iter();
        Served {
            blocks: blocks
                .map(|block| ServedBlock::new(block, precision))
                .collect(),
            head: ops::Served::new(self.output_weight(), precision, self.operands),
        }
    }
}
