//! The angles of the rotary embedding, for any positions.

use super::spec::{Rope, RopeScaling};
use burn::tensor::{Device, Tensor, TensorData};
use std::f64::consts::PI;

/// Angular speed of each pair of a head, `[head_dim / 2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Frequencies(Vec<f32>);

impl Frequencies {
    /// `theta^(-2i / head_dim)`, stretched as `rope` says.
    pub fn new(rope: &Rope, head_dim: usize) -> Self {
        let frequencies = (0..head_dim / 2)
            .map(|i| rope.theta.powf(-2.0 * i as f64 / head_dim as f64))
            .map(|frequency| stretch(&rope.scaling, frequency) as f32)
            .collect();
        Self(frequencies)
    }

    /// Cosines and sines of the angles at `positions`, each `[positions, head_dim / 2]`.
    pub fn angles(&self, positions: &[u32], device: &Device) -> (Tensor<2>, Tensor<2>) {
        let shape = [positions.len(), self.0.len()];
        let angles: Vec<f32> = positions
            .iter()
            .flat_map(|&p| self.0.iter().map(move |f| p as f32 * f))
            .collect();
        let table = |f: fn(f32) -> f32| {
            let values: Vec<f32> = angles.iter().map(|&a| f(a)).collect();
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        (table(f32::cos), table(f32::sin))
    }
}

fn stretch(scaling: &RopeScaling, frequency: f64) -> f64 {
    match *scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => {
            let original = original_max_position_embeddings as f64;
            let wavelength = 2.0 * PI / frequency;
            if wavelength < original / high_freq_factor {
                frequency
            } else if wavelength > original / low_freq_factor {
                frequency / factor
            } else {
                let blend = (original / wavelength - low_freq_factor)
                    / (high_freq_factor - low_freq_factor);
                (1.0 - blend) * frequency / factor + blend * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_short_waves_and_divides_long_ones() {
        let rope = |scaling| Rope {
            theta: 500_000.0,
            scaling,
        };
        let plain = Frequencies::new(&rope(RopeScaling::None), 128);
        let stretched = Frequencies::new(
            &rope(RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_max_position_embeddings: 8192,
            }),
            128,
        );
        assert_eq!(plain.0[0], stretched.0[0]);
        assert!((plain.0[63] / stretched.0[63] - 8.0).abs() < 1e-4);
        let ratios: Vec<f32> = plain
            .0
            .iter()
            .zip(&stretched.0)
            .map(|(p, s)| p / s)
            .collect();
        assert!(ratios.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6));
    }
}
