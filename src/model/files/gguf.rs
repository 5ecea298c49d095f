//! The GGUF container, versions 2 and 3: metadata, tensor table, data. What the tensors and keys mean for
//! a decoder is in [`super::gguf_model`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::gguf_quant::GgmlType;
use super::mapped::Mapped;
use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// ggml itself allows no more.
const MAX_DIMENSIONS: u32 = 4;
/// Arrays of arrays deeper than any writer makes them would only exhaust the stack.
const MAX_NESTING: usize = 4;

/// A metadata value; integers of all widths are one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Metadatum {
    /// Any integer type.
    Int(i128),
    /// `float32`; kept apart from [`Self::Double`] because 1e-5f is not 1e-5.
    Float(f32),
    /// `float64`.
    Double(f64),
    /// `bool`.
    Bool(bool),
    /// `string`.
    Text(String),
    /// `array`.
    Array(Vec<Metadatum>),
}

/// A tensor's entry in the table.
#[derive(Debug, Clone)]
pub struct TensorInfo {
    /// Row-major shape (ggml lists the fastest dimension first; here it is last).
    pub shape: Vec<usize>,
    /// How it is stored.
    pub kind: GgmlType,
    /// First byte, from the start of the file.
    start: usize,
    /// Bytes.
    size: usize,
}

/// A mapped GGUF file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    bytes: Mapped,
    metadata: BTreeMap<String, Metadatum>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Maps and parses `path`.
    ///
    /// # Errors
    /// Not a GGUF file, another version, a truncated or corrupt one, a tensor type that duel does not read.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = Mapped::open(path)?;
        let (metadata, tensors) = parse(&bytes).map_err(|error| error.at(path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
            metadata,
            tensors,
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensor table by ggml's names.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// The stored bytes of a tensor of this file.
    pub fn data(&self, info: &TensorInfo) -> &[u8] {
        &self.bytes[info.start..info.start + info.size]
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<&Metadatum> {
        self.metadata.get(key)
    }

    /// A string.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Metadatum::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A non-negative integer.
    pub fn integer(&self, key: &str) -> Option<usize> {
        match self.get(key)? {
            Metadatum::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A number; an f32 becomes the f64 of its shortest decimal, so that 1e-5 reads as 1e-5.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.get(key)? {
            Metadatum::Int(value) => Some(*value as f64),
            Metadatum::Float(value) => Some(shortest(*value)),
            Metadatum::Double(value) => Some(*value),
            _ => None,
        }
    }

    /// A truth value.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Metadatum::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An array's values, each through `take`; `None` where the key is missing or a value is of another type.
    pub fn list<'a, T>(
        &'a self,
        key: &str,
        take: impl Fn(&'a Metadatum) -> Option<T>,
    ) -> Option<Vec<T>> {
        match self.get(key)? {
            Metadatum::Array(values) => values.iter().map(take).collect(),
            _ => None,
        }
    }
}

/// `value` as its shortest decimal reads in f64.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

type Parsed = (BTreeMap<String, Metadatum>, BTreeMap<String, TensorInfo>);

fn parse(bytes: &[u8]) -> Result<Parsed> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4)? != MAGIC {
        return Err(Error::data("not a GGUF file")
            .hint("give a .gguf file or a Hugging Face model directory"));
    }
    let version = cursor.u32()?;
    if !(2..=3).contains(&version) {
        let why = if version.swap_bytes() < 16 {
            " (big-endian)"
        } else {
            ""
        };
        return Err(
            Error::data(format!("GGUF version {version}{why} is not supported"))
                .hint("duel reads little-endian versions 2 and 3: convert the model anew"),
        );
    }
    let tensor_count = cursor.u64()?;
    let pair_count = cursor.u64()?;
    let mut metadata = BTreeMap::new();
    for _ in 0..pair_count {
        let key = cursor.text()?;
        let kind = cursor.u32()?;
        let value = cursor.value(kind, 0)?;
        metadata.insert(key, value);
    }
    let mut entries = Vec::new();
    for _ in 0..tensor_count {
        entries.push(cursor.tensor()?);
    }
    let alignment = match metadata.get("general.alignment") {
        Some(Metadatum::Int(value)) => u64::try_from(*value).unwrap_or(0),
        _ => DEFAULT_ALIGNMENT,
    };
    if !alignment.is_power_of_two() {
        return Err(corrupt(format!("general.alignment is {alignment}")));
    }
    let data = (cursor.at as u64)
        .checked_next_multiple_of(alignment)
        .ok_or_else(truncated)?;
    let mut tensors = BTreeMap::new();
    for (name, mut info, offset) in entries {
        let start = data
            .checked_add(offset)
            .and_then(|start| usize::try_from(start).ok());
        let end = start.and_then(|start| start.checked_add(info.size));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(corrupt(format!("tensor `{name}` lies outside any file")));
        };
        if end > bytes.len() {
            return Err(truncated_at(&format!("inside tensor `{name}`")));
        }
        info.start = start;
        if tensors.insert(name.clone(), info).is_some() {
            return Err(corrupt(format!("two tensors are called `{name}`")));
        }
    }
    Ok((metadata, tensors))
}

/// Reads little-endian fields; every length is checked against what is left of the file before it is trusted.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self
            .at
            .checked_add(count)
            .filter(|&end| end <= self.bytes.len())
            .ok_or_else(truncated)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn size(&mut self) -> Result<usize> {
        usize::try_from(self.u64()?).map_err(|_| truncated())
    }

    fn text(&mut self) -> Result<String> {
        let length = self.size()?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            corrupt(format!(
                "the string at byte {} is not UTF-8",
                self.at - length
            ))
        })
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Metadatum> {
        Ok(match kind {
            0 => Metadatum::Int(u8::from_le_bytes(self.array()?).into()),
            1 => Metadatum::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Metadatum::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Metadatum::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Metadatum::Int(self.u32()?.into()),
            5 => Metadatum::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Metadatum::Float(f32::from_le_bytes(self.array()?)),
            7 => Metadatum::Bool(self.take(1)?[0] != 0),
            8 => Metadatum::Text(self.text()?),
            9 if depth < MAX_NESTING => {
                let kind = self.u32()?;
                let count = self.size()?;
                // No reservation by `count`: a corrupt one would ask for more memory than there is.
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(kind, depth + 1)?);
                }
                Metadatum::Array(values)
            }
            10 => Metadatum::Int(self.u64()?.into()),
            11 => Metadatum::Int(i64::from_le_bytes(self.array()?).into()),
            12 => Metadatum::Double(f64::from_le_bytes(self.array()?)),
            other => {
                return Err(corrupt(format!(
                    "metadata of unknown type {other} at byte {}",
                    self.at
                )));
            }
        })
    }

    /// One entry of the tensor table: name, its place still unknown, offset into the data.
    fn tensor(&mut self) -> Result<(String, TensorInfo, u64)> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(corrupt(format!(
                "tensor `{name}` has {dimensions} dimensions"
            )));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(self.size()?);
        }
        let number = self.u32()?;
        let offset = self.u64()?;
        let kind = GgmlType::from_number(number).ok_or_else(|| {
            Error::data(format!(
                "tensor `{name}` has ggml type {number}, which duel does not read"
            ))
            .hint("supported: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K")
        })?;
        let row = shape.first().copied().unwrap_or(1);
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &n| product.checked_mul(n));
        let size = elements
            .filter(|&elements| elements > 0 && row.is_multiple_of(kind.block_len()))
            .and_then(|elements| (elements / kind.block_len()).checked_mul(kind.block_bytes()))
            .ok_or_else(|| {
                corrupt(format!(
                    "tensor `{name}` has the impossible shape {shape:?}"
                ))
            })?;
        shape.reverse();
        Ok((
            name,
            TensorInfo {
                shape,
                kind,
                start: 0,
                size,
            },
            offset,
        ))
    }
}

fn truncated() -> Error {
    truncated_at("inside the header")
}

fn truncated_at(place: &str) -> Error {
    Error::data(format!("truncated GGUF file: it ends {place}"))
        .hint("download or copy the file again")
}

fn corrupt(what: String) -> Error {
    Error::data(format!("corrupt GGUF file: {what}")).hint("download or copy the file again")
}

#[cfg(test)]
#[path = "gguf_tests.rs"]
pub(super) mod tests;
