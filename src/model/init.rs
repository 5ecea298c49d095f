//! Random weights: for a model made from nothing, a fresh score head, a fresh adapter.

use super::build::Values;
use crate::data::key::Key;
use crate::error::Result;
use rand::Rng;

/// Values drawn by the name of the tensor, so that neither order nor size of the others matters.
pub struct Random {
    key: Key,
    std: f64,
}

impl Random {
    /// Normal values with standard deviation `std`; norms start at 1, biases and `lora_B` at 0, `lora_A`
    /// uniformly as PEFT's Kaiming rule has it.
    pub fn new(key: Key, std: f64) -> Self {
        Self { key, std }
    }
}

impl Values for Random {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let count = shape.iter().product();
        let mut random = self.key.fold("weight").fold(name).rng();
        if name.ends_with("norm.weight") {
            return Ok(vec![1.0; count]);
        }
        if name.ends_with(".bias") || name.contains("lora_B") {
            return Ok(vec![0.0; count]);
        }
        // Uniform in +-1/sqrt(in): kaiming_uniform with a = sqrt(5).
        let bound = 1.0 / (shape[shape.len() - 1] as f64).sqrt();
        let mut uniform = || (random.next_u32() as f64 + 0.5) / 4_294_967_296.0;
        let draw = || match name.contains("lora_A") {
            true => ((2.0 * uniform() - 1.0) * bound) as f32,
            // Box and Muller.
            false => {
                let radius = (-2.0 * uniform().ln()).sqrt();
                (radius * (2.0 * std::f64::consts::PI * uniform()).cos() * self.std) as f32
            }
        };
        Ok(std::iter::repeat_with(draw).take(count).collect())
    }
}
