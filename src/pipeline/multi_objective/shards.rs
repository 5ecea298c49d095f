//! Hidden states in files: shards of so many rows, each written whole or not at all.

use crate::error::{Error, Result};
use crate::model::files::{NamedTensor, Safetensors, StoreDtype, write_safetensors};
use crate::trainer::multi_objective::ridge::Rated;
use blake3::Hash;
use std::path::{Path, PathBuf};

/// Rows of a shard.
pub(super) const ROWS: usize = 1024;

/// The shards of some rows: `<folder>/00001-of-00003.safetensors`. Rated responses have `embeddings [rows, hidden]`, `labels
/// [rows, attributes]` and `validation [rows]`; pairs `embeddings [rows, 2, hidden]` and `prompt_embeddings [rows, 2, hidden]`, the
/// chosen response first, as RLHFlow's scripts have them.
#[derive(Debug, Clone)]
pub(super) struct Shards {
    folder: PathBuf,
    count: usize,
    /// Of what is in them.
    pub digest: Hash,
}

/// Pairs out of a shard.
pub(super) struct Pairs {
    /// `[rows, 2, hidden]`, row-major.
    pub embeddings: Vec<f32>,
    /// The same for where the question ends.
    pub questions: Vec<f32>,
    /// How many pairs.
    pub rows: usize,
}

/// Where shard `number` of `count` lies.
pub(super) fn path(folder: &Path, number: usize, count: usize) -> PathBuf {
    folder.join(format!("{:05}-of-{count:05}.safetensors", number + 1))
}

impl Shards {
    /// Those of a finished stage.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn of(folder: PathBuf, digest: Hash) -> Result<Self> {
        let entries = std::fs::read_dir(&folder).map_err(|e| Error::io(&folder, "read", e))?;
        let shard = |entry: &std::fs::DirEntry| {
            let name = entry.file_name();
            name.to_string_lossy().ends_with(".safetensors")
        };
        let count = entries.filter_map(|entry| entry.ok()).filter(shard).count();
        Ok(Self {
            folder,
            count,
            digest,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    fn open(&self, number: usize) -> Result<(Safetensors, PathBuf)> {
        let path = path(&self.folder, number, self.count);
        Ok((Safetensors::open_file(&path)?, path))
    }

    /// The rated responses of shard `number`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn rated(&self, number: usize) -> Result<Rated> {
        let (file, path) = self.open(number)?;
        let all = |name: &str| read(&file, name, &path);
        Ok(Rated {
            embeddings: all("embeddings")?,
            labels: all("labels")?,
            validation: all("validation")?.iter().map(|flag| *flag > 0.5).collect(),
        })
    }

    /// The pairs of shard `number`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn pairs(&self, number: usize) -> Result<Pairs> {
        let (file, path) = self.open(number)?;
        Ok(Pairs {
            embeddings: read(&file, "embeddings", &path)?,
            questions: read(&file, "prompt_embeddings", &path)?,
            rows: file.shape("embeddings").map_or(0, |shape| shape[0]),
        })
    }

    /// Width of a hidden state.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn hidden(&self) -> Result<usize> {
        let (file, path) = self.open(0)?;
        let shape = file.shape("embeddings").and_then(<[usize]>::last);
        shape.copied().ok_or_else(|| lacking("embeddings", &path))
    }
}

fn read(file: &Safetensors, name: &str, path: &Path) -> Result<Vec<f32>> {
    let shape = file.shape(name).ok_or_else(|| lacking(name, path))?;
    file.read(name, shape)
}

fn lacking(name: &str, path: &Path) -> Error {
    Error::data(format!("{}: no tensor `{name}`", path.display()))
        .hint("delete the stage's folder: the same command makes it again")
}

/// Writes a shard.
///
/// # Errors
/// A failed write; nothing is left behind.
pub(super) fn write(path: &Path, tensors: &[NamedTensor]) -> Result<()> {
    write_safetensors(path, tensors, StoreDtype::F32)
}
