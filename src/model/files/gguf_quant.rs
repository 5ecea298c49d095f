//! ggml's block formats to f32: every block of 32 or 256 weights carries its own scale.
//!
//! Layouts and rounding follow ggml's reference dequantisation, so the numbers are those that
//! llama.cpp and transformers see.

use half::f16;
use rayon::prelude::*;

use super::element::Element;

/// Weights of a "K" super-block.
const SUPER_BLOCK: usize = 256;
/// Bytes of the eight packed 6-bit scales and minima of Q4_K and Q5_K.
const K_SCALES: usize = 12;

/// How a GGUF tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgmlType {
    /// Plain floats.
    Plain(Element),
    /// 32 x 4 bit, `d * (q - 8)`.
    Q4_0,
    /// 32 x 4 bit, `d * q + m`.
    Q4_1,
    /// 32 x 5 bit, `d * (q - 16)`.
    Q5_0,
    /// 32 x 5 bit, `d * q + m`.
    Q5_1,
    /// 32 x 8 bit, `d * q`.
    Q8_0,
    /// 8 x 32 x 4 bit, `d * s * q - dmin * m` with 6-bit s and m.
    Q4K,
    /// 8 x 32 x 5 bit, `d * s * q - dmin * m` with 6-bit s and m.
    Q5K,
    /// 16 x 16 x 6 bit, `d * s * (q - 32)` with 8-bit s.
    Q6K,
}

impl GgmlType {
    /// The type of ggml's number, `None` where duel does not read it.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Plain(Element::F32),
            1 => Self::Plain(Element::F16),
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            28 => Self::Plain(Element::F64),
            30 => Self::Plain(Element::Bf16),
            _ => return None,
        })
    }

    /// Weights of one block.
    pub fn block_len(self) -> usize {
        match self {
            Self::Plain(_) => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => SUPER_BLOCK,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Plain(element) => element.size(),
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 2 + 2 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 2 + 2 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 2 + 2 + K_SCALES + 128,
            Self::Q5K => 2 + 2 + K_SCALES + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }

    /// Dequantises rows of `row_len` weights on all cores; row `i` of the result is row `source(i)` of `bytes`.
    ///
    /// `row_len` is a multiple of [`Self::block_len`]; `bytes` holds whole rows.
    pub fn dequantise_rows(
        self,
        bytes: &[u8],
        row_len: usize,
        source: impl Fn(usize) -> usize + Sync,
    ) -> Vec<f32> {
        let row_bytes = row_len / self.block_len() * self.block_bytes();
        let mut out = vec![0.0; bytes.len() / row_bytes * row_len];
        out.par_chunks_mut(row_len)
            .enumerate()
            .with_min_len(16)
            .for_each(|(row, out)| {
                let start = source(row) * row_bytes;
                self.dequantise(&bytes[start..start + row_bytes], out);
            });
        out
    }

    /// Dequantises whole blocks.
    fn dequantise(self, bytes: &[u8], out: &mut [f32]) {
        let block: fn(&[u8], &mut [f32]) = match self {
            Self::Plain(element) => return element.decode(bytes, out),
            Self::Q4_0 => q4_0,
            Self::Q4_1 => q4_1,
            Self::Q5_0 => q5_0,
            Self::Q5_1 => q5_1,
            Self::Q8_0 => q8_0,
            Self::Q4K => q4_k,
            Self::Q5K => q5_k,
            Self::Q6K => q6_k,
        };
        for (bytes, out) in bytes
            .chunks_exact(self.block_bytes())
            .zip(out.chunks_exact_mut(self.block_len()))
        {
            block(bytes, out);
        }
    }
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The low nibbles of 16 bytes are weights 0-15, the high ones 16-31.
fn nibbles(bytes: &[u8], out: &mut [f32], value: impl Fn(u8) -> f32) {
    let (low, high) = out.split_at_mut(bytes.len());
    for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = value(byte & 15);
        *high = value(byte >> 4);
    }
}

fn q4_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    nibbles(&block[2..], out, |q| d * (f32::from(q) - 8.0));
}

fn q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    nibbles(&block[4..], out, |q| d * f32::from(q) + m);
}

/// Bit `i` of the 32-bit `high` is the fifth bit of weight `i`.
fn five_bits(high: &[u8], low: &[u8], out: &mut [f32], value: impl Fn(u8) -> f32) {
    for (i, out) in out.iter_mut().enumerate() {
        let low = if i < 16 {
            low[i] & 15
        } else {
            low[i - 16] >> 4
        };
        let high = (high[i / 8] >> (i % 8)) & 1;
        *out = value(low | high << 4);
    }
}

fn q5_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    five_bits(&block[2..6], &block[6..], out, |q| {
        d * (f32::from(q) - 16.0)
    });
}

fn q5_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    five_bits(&block[4..8], &block[8..], out, |q| d * f32::from(q) + m);
}

fn q8_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (&q, out) in block[2..].iter().zip(out) {
        *out = d * f32::from(q as i8);
    }
}

/// Scale and minimum `j` of 8, six bits each: the first four of either lie in the low six bits of bytes
/// 0-3 and 4-7, the last four are split between the nibbles of bytes 8-11 and those bytes' top bits.
fn scale_and_min(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        let split = packed[j + 4];
        (
            (split & 15) | (packed[j - 4] >> 6) << 4,
            (split >> 4) | (packed[j] >> 6) << 4,
        )
    };
    (f32::from(scale), f32::from(min))
}

/// 32 bytes hold two sub-blocks: one in the low nibbles, the next in the high ones.
fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, quants) = (&block[4..4 + K_SCALES], &block[4 + K_SCALES..]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(scales, j);
        let (scale, min) = (d * scale, dmin * min);
        let shift = 4 * (j % 2);
        for (&byte, out) in quants[j / 2 * 32..].iter().zip(out) {
            *out = scale * f32::from(byte >> shift & 15) - min;
        }
    }
}

/// As Q4_K, with the fifth bit of sub-block `j` in bit `j` of 32 shared bytes.
fn q5_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, rest) = block[4..].split_at(K_SCALES);
    let (high, quants) = rest.split_at(32);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(scales, j);
        let (scale, min) = (d * scale, dmin * min);
        let shift = 4 * (j % 2);
        for ((&byte, &high), out) in quants[j / 2 * 32..].iter().zip(high).zip(out) {
            let q = (byte >> shift & 15) | (high >> j & 1) << 4;
            *out = scale * f32::from(q) - min;
        }
    }
}

/// Two halves of 128 weights; in each, 64 bytes of low nibbles and 32 bytes of upper bit pairs serve four
/// runs of 32 weights, and every 16 weights have a signed scale.
fn q6_k(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 208);
    let (low, rest) = block.split_at(128);
    let (high, scales) = rest.split_at(64);
    for (run, out) in out.chunks_exact_mut(32).enumerate() {
        let (half, within) = (run / 4, run % 4);
        let low = &low[half * 64 + within % 2 * 32..];
        let high = &high[half * 32..];
        for (i, out) in out.iter_mut().enumerate() {
            let q = (low[i] >> (within / 2 * 4) & 15) | (high[i] >> (within * 2) & 3) << 4;
            let scale = f32::from(scales[run * 2 + i / 16] as i8);
            *out = d * scale * (f32::from(q) - 32.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn one_block(kind: GgmlType, bytes: &[u8]) -> Vec<f32> {
        assert_eq!(bytes.len(), kind.block_bytes());
        kind.dequantise_rows(bytes, kind.block_len(), |row| row)
    }

    fn half(value: f32) -> [u8; 2] {
        f16::from_f32(value).to_le_bytes()
    }

    #[test]
    fn blocks_made_by_hand() {
        // Byte i holds low nibble i and high nibble 15 - i: the weights count up, then down.
        let packed: Vec<u8> = (0..16u8).map(|i| i | (15 - i) << 4).collect();
        let count = (0..16).chain((0..16).rev());

        let bytes = [&half(0.5)[..], &packed].concat();
        let expected: Vec<f32> = count.clone().map(|q| 0.5 * (q as f32 - 8.0)).collect();
        assert_eq!(one_block(GgmlType::Q4_0, &bytes), expected);

        let bytes = [&half(0.5)[..], &half(-3.0), &packed].concat();
        let expected: Vec<f32> = count.clone().map(|q| 0.5 * q as f32 - 3.0).collect();
        assert_eq!(one_block(GgmlType::Q4_1, &bytes), expected);

        // The fifth bit is set for the last 16 weights.
        let high = [0, 0, 0xff, 0xff];
        let five = (0..16).chain((16..32).rev());
        let bytes = [&half(2.0)[..], &high, &packed].concat();
        let expected: Vec<f32> = five.clone().map(|q| 2.0 * (q as f32 - 16.0)).collect();
        assert_eq!(one_block(GgmlType::Q5_0, &bytes), expected);
        let bytes = [&half(2.0)[..], &half(1.0), &high, &packed].concat();
        let expected: Vec<f32> = five.map(|q| 2.0 * q as f32 + 1.0).collect();
        assert_eq!(one_block(GgmlType::Q5_1, &bytes), expected);

        let signed: Vec<u8> = (-16..16i8).map(|q| q as u8).collect();
        let bytes = [&half(0.25)[..], &signed].concat();
        let expected: Vec<f32> = (-16..16).map(|q| 0.25 * q as f32).collect();
        assert_eq!(one_block(GgmlType::Q8_0, &bytes), expected);
    }

    /// Random bytes of every format, dequantised by the `gguf` package (tests/golden/gguf_blocks.py).
    #[test]
    fn random_blocks_agree_with_gguf_py_bit_for_bit() {
        let golden: Value =
            serde_json::from_str(include_str!("../../../tests/golden/gguf_blocks.json")).unwrap();
        let formats = golden.as_object().unwrap();
        assert_eq!(formats.len(), 9);
        for (number, case) in formats {
            let kind = GgmlType::from_number(number.parse().unwrap()).unwrap();
            let hex = case["bytes"].as_str().unwrap();
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
                .collect();
            let expected: Vec<u32> = case["bits"]
                .as_array()
                .unwrap()
                .iter()
                .map(|bits| bits.as_u64().unwrap() as u32)
                .collect();
            let found = kind.dequantise_rows(&bytes, expected.len(), |row| row);
            let found: Vec<u32> = found.into_iter().map(f32::to_bits).collect();
            assert_eq!(found, expected, "{kind:?}");
        }
    }

    #[test]
    fn rows_are_taken_from_where_the_caller_says() {
        let kind = GgmlType::Plain(Element::F32);
        let bytes: Vec<u8> = (0..6).flat_map(|v| (v as f32).to_le_bytes()).collect();
        assert_eq!(
            kind.dequantise_rows(&bytes, 2, |row| 2 - row),
            [4.0, 5.0, 2.0, 3.0, 0.0, 1.0]
        );
    }
}
