//! The angles of the rotary embedding, for any positions.

use super::spec::{Rope, RopeScaling};
use burn::tensor::{Device, Tensor, TensorData};
use std::f64::consts::PI;

/// Angular speed of each pair of a head, `[head_dim / 2]`, and what cosines and sines are multiplied by.
#[derive(Debug, Clone, PartialEq)]
pub struct Frequencies {
    speeds: Vec<f32>,
    attention_factor: f32,
}

impl Frequencies {
    /// `theta^(-2i / head_dim)`, stretched as `rope` says.
    pub fn new(rope: &Rope, head_dim: usize) -> Self {
        let ramp = Ramp::new(rope, head_dim);
        let speeds = (0..head_dim / 2)
            .map(|i| {
                let frequency = rope.theta.powf(-2.0 * i as f64 / head_dim as f64);
                stretch(&rope.scaling, frequency, ramp.at(i)) as f32
            })
            .collect();
        let attention_factor = match rope.scaling {
            RopeScaling::Yarn {
                attention_factor, ..
            } => attention_factor as f32,
            _ => 1.0,
        };
        Self {
            speeds,
            attention_factor,
        }
    }

    /// Cosines and sines of the angles at `positions`, each `[positions, head_dim / 2]`.
    pub fn angles(&self, positions: &[u32], device: &Device) -> (Tensor<2>, Tensor<2>) {
        let shape = [positions.len(), self.speeds.len()];
        let angles: Vec<f32> = positions
            .iter()
            .flat_map(|&p| self.speeds.iter().map(move |f| p as f32 * f))
            .collect();
        let table = |f: fn(f32) -> f32| {
            let values: Vec<f32> = angles
                .iter()
                .map(|&a| f(a) * self.attention_factor)
                .collect();
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        (table(f32::cos), table(f32::sin))
    }
}

/// YaRN's ramp over the pairs: 0 where a pair is kept, 1 where it is divided.
struct Ramp {
    low: f64,
    high: f64,
}

impl Ramp {
    fn new(rope: &Rope, head_dim: usize) -> Self {
        let RopeScaling::Yarn {
            original_max_position_embeddings,
            beta_fast,
            beta_slow,
            truncate,
            ..
        } = rope.scaling
        else {
            return Self {
                low: 0.0,
                high: 1.0,
            };
        };
        let dim = head_dim as f64;
        // The pair that turns `turns` times in the original context.
        let pair = |turns: f64| {
            let wavelength = original_max_position_embeddings as f64 / turns;
            dim * (wavelength / (2.0 * PI)).ln() / (2.0 * rope.theta.ln())
        };
        let (mut low, mut high) = (pair(beta_fast), pair(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(dim - 1.0));
        if low == high {
            // A step instead of a ramp, of transformers' width.
            high += 0.001;
        }
        Self { low, high }
    }

    fn at(&self, pair: usize) -> f64 {
        ((pair as f64 - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn stretch(scaling: &RopeScaling, frequency: f64, ramp: f64) -> f64 {
    match *scaling {
        RopeScaling::Yarn { factor, .. } => ramp * frequency / factor + (1.0 - ramp) * frequency,
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
        assert_eq!(plain.speeds[0], stretched.speeds[0]);
        assert!((plain.speeds[63] / stretched.speeds[63] - 8.0).abs() < 1e-4);
        let ratios: Vec<f32> = plain
            .speeds
            .iter()
            .zip(&stretched.speeds)
            .map(|(p, s)| p / s)
            .collect();
        assert!(ratios.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6));
    }

    /// What each of some pairs is divided by.
    const YARN: [(usize, f32); 5] = [
        (24, 1.046_154),
        (26, 1.152_542),
        (30, 1.446_809),
        (35, 2.125),
        (39, 3.4),
    ];
    const YARN_NOT_TRUNCATED: f32 = 1.426_865;

    /// Numbers by transformers 5.23 for Qwen2.5's stretch to 131072 positions: `theta` 1e6, `factor` 4.
    #[test]
    fn yarn_keeps_fast_pairs_divides_slow_ones_and_lengthens_all() {
        let rope = |scaling| Rope {
            theta: 1e6,
            scaling,
        };
        let yarn = |truncate| {
            let scaling = RopeScaling::Yarn {
                factor: 4.0,
                original_max_position_embeddings: 32768,
                beta_fast: 32.0,
                beta_slow: 1.0,
                truncate,
                attention_factor: 0.1 * 4f64.ln() + 1.0,
            };
            Frequencies::new(&rope(scaling), 128)
        };
        let plain = Frequencies::new(&rope(RopeScaling::None), 128);
        let ratio = |f: &Frequencies, i: usize| plain.speeds[i] / f.speeds[i];
        let whole = yarn(true);
        assert_eq!((ratio(&whole, 23), ratio(&whole, 40)), (1.0, 4.0));
        for (pair, expected) in YARN {
            assert!((ratio(&whole, pair) - expected).abs() < 1e-4, "{pair}");
        }
        assert!((ratio(&yarn(false), 30) - YARN_NOT_TRUNCATED).abs() < 1e-4);
        let (cos, _) = whole.angles(&[0], &Device::flex());
        let first = cos.into_data().iter::<f32>().next();
        assert!((first.expect("a pair") - 1.138_629_4).abs() < 1e-6);
    }
}
