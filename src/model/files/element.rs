//! Element types of weight files, to and from f32.

use std::io::Write;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use rayon::prelude::*;

/// Elements converted at a time: the copy stays in the first-level cache.
const CHUNK: usize = 4096;

/// A float type that duel reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// IEEE double precision, rounded to the nearest f32.
    F64,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl Element {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Converts little-endian `bytes` (a multiple of [`Self::size`] long) to f32, on all cores.
    pub fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; bytes.len() / self.size()];
        out.par_chunks_mut(CHUNK)
            .zip(bytes.par_chunks(CHUNK * self.size()))
            .for_each(|(out, bytes)| self.decode(bytes, out));
        out
    }

    /// Converts `out.len()` little-endian elements of `bytes`.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F64 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *value = f64::from_le_bytes(*bytes) as f32;
                }
            }
            Self::F32 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Self::F16 => decode_f16(bytes, out),
            Self::Bf16 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
                }
            }
        }
    }
}

/// The crate converts whole slices with the processor's own instructions, so the bits are lined up first.
fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    let mut bits = [0u16; CHUNK];
    for (out, bytes) in out.chunks_mut(CHUNK).zip(bytes.chunks(CHUNK * 2)) {
        for (bits, bytes) in bits.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *bits = u16::from_le_bytes(*bytes);
        }
        bits[..out.len()]
            .reinterpret_cast::<f16>()
            .convert_to_f32_slice(out);
    }
}

/// A type that duel stores weights in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreDtype {
    /// Exact.
    #[default]
    F32,
    /// Rounded to the nearest, ties to even.
    F16,
    /// Rounded to the nearest, ties to even.
    Bf16,
}

impl StoreDtype {
    /// The name in `config.json`'s `dtype`.
    pub fn config_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    /// The name in a safetensors header.
    pub fn safetensors_name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Writes `values` as little-endian elements, a chunk at a time.
    pub fn encode(self, values: &[f32], file: &mut impl Write) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(CHUNK * self.size());
        for chunk in values.chunks(CHUNK) {
            bytes.clear();
            for &value in chunk {
                match self {
                    Self::F32 => bytes.extend_from_slice(&value.to_le_bytes()),
                    Self::F16 => bytes.extend_from_slice(&f16::from_f32(value).to_le_bytes()),
                    Self::Bf16 => bytes.extend_from_slice(&bf16::from_f32(value).to_le_bytes()),
                }
            }
            file.write_all(&bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(dtype: StoreDtype, values: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        dtype.encode(values, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_type_returns_what_it_can_hold() {
        // More than one chunk, all exactly representable in eight bits of mantissa.
        let values: Vec<f32> = (0..10_000)
            .map(|i| (i % 256) as f32 * 0.25 - 32.0)
            .collect();
        for (dtype, element) in [
            (StoreDtype::F32, Element::F32),
            (StoreDtype::F16, Element::F16),
            (StoreDtype::Bf16, Element::Bf16),
        ] {
            assert_eq!(element.to_f32(&stored(dtype, &values)), values, "{dtype:?}");
        }
        let doubles: Vec<u8> = values
            .iter()
            .flat_map(|&v| f64::from(v).to_le_bytes())
            .collect();
        assert_eq!(Element::F64.to_f32(&doubles), values);
    }

    #[test]
    fn rounding_is_to_nearest_even_and_keeps_what_is_not_finite() {
        // 1 + 2^-8 lies half-way between two bf16 numbers; the even one is 1.
        assert_eq!(
            Element::Bf16.to_f32(&stored(StoreDtype::Bf16, &[1.003_906_3])),
            [1.0]
        );
        // 2049 lies half-way between 2048 and 2050 in f16.
        assert_eq!(
            Element::F16.to_f32(&stored(StoreDtype::F16, &[2049.0])),
            [2048.0]
        );
        let odd = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-30];
        let back = Element::F16.to_f32(&stored(StoreDtype::F16, &odd));
        assert_eq!(back[..2], odd[..2]);
        assert!(back[2].is_nan());
        assert_eq!(back[3], 0.0);
    }
}
