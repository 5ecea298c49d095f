//! Safetensors weights: one file, or shards with an index. Read by memory map, written atomically.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors};
use serde_json::{Map, Value, json};

use super::config::read_json;
use super::element::{Element, StoreDtype};
use super::mapped::Mapped;
use crate::error::{Error, Result};
use crate::run::{write_atomic_with, write_json};

/// A tensor on its way to a file: name, shape, row-major values.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// The largest file [`write_model_weights`] makes unless told otherwise, as transformers shards.
pub const MAX_SHARD_BYTES: u64 = 5_000_000_000;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// One or more mapped files and where each tensor lies.
#[derive(Debug)]
pub struct Safetensors {
    files: Vec<TensorFile>,
    place: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct TensorFile {
    path: PathBuf,
    bytes: Mapped,
    /// Where the tensors' bytes begin.
    data: usize,
    header: Metadata,
}

impl Safetensors {
    /// Opens `model.safetensors` of a model directory, or the shards of its index.
    ///
    /// # Errors
    /// No weights; a truncated or corrupt file, header or index; a missing shard; an indexed tensor
    /// that its shard does not hold.
    pub fn open(directory: &Path) -> Result<Self> {
        let single = directory.join(SINGLE);
        let index = directory.join(INDEX);
        if single.exists() {
            Self::open_file(&single)
        } else if index.exists() {
            Self::open_index(directory, &index)
        } else {
            Err(no_weights(directory))
        }
    }

    /// Opens one safetensors file.
    pub fn open_file(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let place = file
            .header
            .offset_keys()
            .into_iter()
            .map(|name| (name, 0))
            .collect();
        Ok(Self {
            files: vec![file],
            place,
        })
    }

    fn open_index(directory: &Path, index: &Path) -> Result<Self> {
        let malformed = |why: &str| {
            Error::data(format!("{}: {why}", index.display()))
                .hint("download or copy the index again")
        };
        let json = read_json(index)?;
        let map = json
            .get("weight_map")
            .and_then(Value::as_object)
            .ok_or_else(|| malformed("no object `weight_map`"))?;
        let mut files: Vec<TensorFile> = Vec::new();
        let mut numbers = BTreeMap::new();
        let mut place = BTreeMap::new();
        for (name, shard) in map {
            let shard = shard
                .as_str()
                .filter(|shard| !shard.contains(['/', '\\']))
                .ok_or_else(|| {
                    malformed(&format!("`{name}` does not name a file of this directory"))
                })?;
            let number = match numbers.get(shard) {
                Some(&number) => number,
                None => {
                    files.push(open_shard(&directory.join(shard), index)?);
                    numbers.insert(shard, files.len() - 1);
                    files.len() - 1
                }
            };
            if files[number].header.info(name).is_none() {
                return Err(malformed(&format!("`{name}` is not in {shard}")));
            }
            place.insert(name.clone(), number);
        }
        Ok(Self { files, place })
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.place.keys().map(String::as_str)
    }

    /// The shape of a tensor; `None` where there is none of that name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let file = &self.files[*self.place.get(name)?];
        file.header.info(name).map(|info| info.shape.as_slice())
    }

    /// Reads a tensor as f32, row-major.
    ///
    /// # Errors
    /// No such tensor, another shape than `expected`, a type that is not a float.
    pub fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        let Some(&number) = self.place.get(name) else {
            let first = self
                .files
                .first()
                .map(|file| file.path.display().to_string())
                .unwrap_or_default();
            return Err(Error::data(format!("{first}: no tensor `{name}`")).hint(
                "the weights and config.json belong to different models, or the file is incomplete",
            ));
        };
        self.files[number].read(name, expected)
    }
}

impl TensorFile {
    fn open(path: &Path) -> Result<Self> {
        let bytes = Mapped::open(path)?;
        let (header_size, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| corrupt(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            data: 8 + header_size,
            bytes,
            header,
        })
    }

    fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        let info = self.header.info(name).ok_or_else(|| {
            Error::internal(format!(
                "{}: tensor `{name}` vanished from the header",
                self.path.display()
            ))
        })?;
        if info.shape != expected {
            return Err(wrong_shape(&self.path, name, expected, &info.shape));
        }
        let element = match info.dtype {
            Dtype::F64 => Element::F64,
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            other => {
                return Err(Error::data(format!(
                    "{}: tensor `{name}` has type {other}",
                    self.path.display()
                ))
                .hint("duel reads F64, F32, F16 and BF16: give the unquantised model"));
            }
        };
        let (start, end) = info.data_offsets;
        let values = element.to_f32(&self.bytes[self.data + start..self.data + end]);
        self.bytes.forget(self.data + start, end - start);
        Ok(values)
    }
}

/// The error for a tensor that is not what `config.json` promises.
pub(super) fn wrong_shape(path: &Path, name: &str, expected: &[usize], found: &[usize]) -> Error {
    Error::data(format!(
        "{}: tensor `{name}` has shape {found:?}, config.json asks for {expected:?}",
        path.display()
    ))
    .hint("the weights and config.json belong to different models: take both from one place")
}

fn open_shard(path: &Path, index: &Path) -> Result<TensorFile> {
    if !path.exists() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(
            Error::data(format!("{}: shard {name} is missing", index.display()))
                .hint("download the missing shard into the same directory"),
        );
    }
    TensorFile::open(path)
}

fn corrupt(path: &Path, error: &SafeTensorError) -> Error {
    let what = match error {
        SafeTensorError::MetadataIncompleteBuffer
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::HeaderTooSmall => "truncated or corrupt",
        _ => "corrupt",
    };
    Error::data(format!(
        "{}: {what} safetensors file: {error}",
        path.display()
    ))
    .hint("download or copy the file again")
}

fn no_weights(directory: &Path) -> Error {
    let holds = |name: &str| directory.join(name).exists();
    if holds("pytorch_model.bin") || holds("pytorch_model.bin.index.json") {
        return Error::user(format!(
            "{} holds pickled weights only (pytorch_model.bin)",
            directory.display()
        ))
        .hint("duel reads no pickles, they can run code: save the model with transformers' `save_pretrained`");
    }
    Error::user(format!(
        "{} holds no {SINGLE} and no {INDEX}",
        directory.display()
    ))
    .hint("give a directory with config.json and safetensors weights, or a .gguf file")
}

/// Writes one safetensors file with the metadata `{"format": "pt"}` that transformers asks for.
///
/// # Errors
/// A tensor whose values do not fill its shape, a name given twice, a failed write (nothing is left behind).
pub fn write_safetensors(path: &Path, tensors: &[NamedTensor], dtype: StoreDtype) -> Result<()> {
    let all: Vec<&NamedTensor> = tensors.iter().collect();
    write_file(path, &all, dtype)
}

fn write_file(path: &Path, tensors: &[&NamedTensor], dtype: StoreDtype) -> Result<()> {
    let header = header(tensors, dtype)?;
    write_atomic_with(path, |mut file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors
            .iter()
            .try_for_each(|(_, _, values)| dtype.encode(values, &mut file))
    })
}

/// The JSON header, padded with blanks so that the data begins at a multiple of 8.
fn header(tensors: &[&NamedTensor], dtype: StoreDtype) -> Result<Vec<u8>> {
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut start = 0;
    for (name, shape, values) in tensors {
        let elements: usize = shape.iter().product();
        if elements != values.len() {
            return Err(Error::internal(format!(
                "tensor `{name}` of shape {shape:?} has {} values",
                values.len()
            )));
        }
        let end = start + values.len() * dtype.size();
        let entry = json!({"dtype": dtype.safetensors_name(), "shape": shape, "data_offsets": [start, end]});
        if entries.insert(name.clone(), entry).is_some() {
            return Err(Error::internal(format!("two tensors are called `{name}`")));
        }
        start = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// Writes a model's weights into `directory`: `model.safetensors`, or shards of at most `max_bytes` and
/// their index. Weights of an earlier model in the directory are removed once the new ones stand.
///
/// # Errors
/// As [`write_safetensors`].
pub fn write_model_weights(
    directory: &Path,
    tensors: &[NamedTensor],
    dtype: StoreDtype,
    max_bytes: u64,
) -> Result<()> {
    let shards = shards(tensors, dtype, max_bytes);
    let mut kept = Vec::new();
    if let [single] = &shards[..] {
        write_file(&directory.join(SINGLE), single, dtype)?;
        kept.push(SINGLE.to_string());
    } else {
        let mut weight_map = Map::new();
        for (number, shard) in shards.iter().enumerate() {
            let name = format!("model-{:05}-of-{:05}.safetensors", number + 1, shards.len());
            write_file(&directory.join(&name), shard, dtype)?;
            for (tensor, _, _) in shard {
                weight_map.insert(tensor.clone(), json!(name));
            }
            kept.push(name);
        }
        let elements: usize = tensors.iter().map(|(_, _, values)| values.len()).sum();
        let index =
            json!({"metadata": {"total_size": elements * dtype.size()}, "weight_map": weight_map});
        write_json(&directory.join(INDEX), &index)?;
        kept.push(INDEX.to_string());
    }
    remove_older_weights(directory, &kept)
}

/// Tensors in order, a new shard whenever the next would overfill the last.
fn shards(tensors: &[NamedTensor], dtype: StoreDtype, max_bytes: u64) -> Vec<Vec<&NamedTensor>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        let bytes = (tensor.2.len() * dtype.size()) as u64;
        if filled > 0 && filled + bytes > max_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        if let Some(last) = shards.last_mut() {
            last.push(tensor);
        }
    }
    shards
}

fn remove_older_weights(directory: &Path, kept: &[String]) -> Result<()> {
    let list = |error| Error::io(directory, "list", error);
    for entry in std::fs::read_dir(directory).map_err(list)? {
        let entry = entry.map_err(list)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let shard =
            name.starts_with("model-") && name.contains("-of-") && name.ends_with(".safetensors");
        if (shard || name == SINGLE || name == INDEX) && !kept.contains(&name) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|error| Error::io(&path, "remove", error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "safetensors_tests.rs"]
mod tests;
