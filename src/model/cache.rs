//! Keys and values of tokens already seen, allocated once and shared by every sample of a prompt.

use super::spec::DecoderSpec;
use burn::tensor::{Device, Tensor};
use duel_backends::ops;
use std::sync::Arc;

/// One matrix of keys and one of values for each layer, `[rows, kv_heads * d]`.
pub struct Cache {
    layers: Vec<Option<(Tensor<2>, Tensor<2>)>>,
    rows: Arc<Vec<u32>>,
}

impl Cache {
    /// Room for `rows` tokens in every layer.
    pub fn new(spec: &DecoderSpec, rows: usize, device: &Device) -> Self {
        let shape = [rows, spec.num_key_value_heads * spec.head_dim];
        let room = || Some((Tensor::zeros(shape, device), Tensor::zeros(shape, device)));
        Self {
            layers: (0..spec.num_hidden_layers).map(|_| room()).collect(),
            rows: Arc::default(),
        }
    }

    /// Bytes that a cache of `rows` tokens takes in f32.
    pub fn bytes(spec: &DecoderSpec, rows: usize) -> usize {
        2 * 4 * spec.num_hidden_layers * rows * spec.num_key_value_heads * spec.head_dim
    }

    /// Says in which rows the next tokens' keys and values go.
    pub fn place(&mut self, rows: Vec<u32>) {
        self.rows = Arc::new(rows);
    }

    /// Writes new keys and values into a layer and returns all of it.
    pub(super) fn write(
        &mut self,
        layer: usize,
        k: Tensor<2>,
        v: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        // Taken out, so that nobody else holds the matrices and they are written in place.
        let (keys, values) = self.layers[layer].take().expect("put back below");
        let keys = ops::write_rows(keys, k, self.rows.clone());
        let values = ops::write_rows(values, v, self.rows.clone());
        self.layers[layer] = Some((keys.clone(), values.clone()));
        (keys, values)
    }
}
