//! Checkpoints inside a stage: all that an interrupted training needs to go on bit for bit.

use super::optimizer::{Optimizer, to_host};
use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::model::files::{NamedTensor, Safetensors, StoreDtype, write_safetensors};
use crate::model::params::Remap;
use crate::objective::Objective;
use crate::run::{remove_folder_atomic, write_folder_atomic};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The `checkpoint-N` folders of a stage.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Saved {
    path: PathBuf,
    /// Steps that were done.
    pub step: usize,
    /// Tokens that were computed.
    pub tokens: u64,
    objective: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct State {
    step: usize,
    tokens: u64,
    objective: serde_json::Value,
}

const WEIGHTS: &str = "trained.safetensors";
const MOMENTS: &str = "optimizer.safetensors";
const STATE: &str = "trainer_state.json";

impl Checkpoints {
    /// Checkpoints in `folder`, of which the newest `keep` stay.
    pub fn new(folder: PathBuf, keep: usize) -> Self {
        Self {
            folder,
            keep: keep.max(1),
        }
    }

    /// The newest whole checkpoint. A damaged one is named and left out: the training goes on from an earlier point, or
    /// begins again, and ends the same.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn latest(&self) -> Result<Option<Saved>> {
        for (_, path) in self.all()?.into_iter().rev() {
            match Saved::read(path.clone()) {
                Ok(saved) => return Ok(Some(saved)),
                Err(error) => tracing::warn!(
                    "{} is damaged and is left out: {}",
                    path.display(),
                    error.message
                ),
            }
        }
        Ok(None)
    }

    /// Saves after `step` steps and drops the oldest.
    ///
    /// # Errors
    /// When writing fails; earlier checkpoints stay.
    pub fn save(
        &self,
        step: usize,
        tokens: u64,
        decoder: &Decoder,
        optimizer: &Optimizer,
        objective: &dyn Objective,
    ) -> Result<()> {
        let path = self.folder.join(format!("checkpoint-{step}"));
        write_folder_atomic(&path, |folder| {
            let trained: Vec<NamedTensor> = decoder
                .parameters()
                .into_iter()
                .filter(|p| p.trained)
                .map(|p| (p.name, p.shape, to_host(p.values)))
                .collect();
            write_safetensors(&folder.join(WEIGHTS), &trained, StoreDtype::F32)?;
            optimizer.save(&folder.join(MOMENTS))?;
            let state = State {
                step,
                tokens,
                objective: objective.state(),
            };
            let file = folder.join(STATE);
            let text = serde_json::to_string_pretty(&state)
                .map_err(|e| Error::internal(format!("cannot write the trainer's state: {e}")))?;
            std::fs::write(&file, text).map_err(|e| Error::io(&file, "write", e))
        })?;
        let all = self.all()?;
        for (_, old) in all.iter().rev().skip(self.keep) {
            remove_folder_atomic(old)?;
        }
        Ok(())
    }

    /// Removes all of them: the stage is done.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn clear(&self) -> Result<()> {
        self.all()?
            .iter()
            .try_for_each(|(_, path)| remove_folder_atomic(path))?;
        self.unfinished().iter().try_for_each(|path| {
            std::fs::remove_dir_all(path).map_err(|e| Error::io(path, "remove", e))
        })
    }

    /// What a kill in the middle of saving left.
    fn unfinished(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let name = |path: &PathBuf| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        paths
            .filter(|path| path.is_dir())
            .filter(|path| name(path).starts_with(".checkpoint-") && name(path).ends_with(".tmp"))
            .collect()
    }

    /// By step, oldest first.
    fn all(&self) -> Result<Vec<(usize, PathBuf)>> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let entries =
            std::fs::read_dir(&self.folder).map_err(|e| Error::io(&self.folder, "read", e))?;
        let mut found: Vec<(usize, PathBuf)> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter_map(|path| Some((step_of(&path)?, path)))
            .collect();
        found.sort();
        Ok(found)
    }
}

/// The N of `checkpoint-N`.
fn step_of(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("checkpoint-")?.parse().ok()
}

impl Saved {
    fn read(path: PathBuf) -> Result<Self> {
        let file = path.join(STATE);
        let text = std::fs::read_to_string(&file).map_err(|e| Error::io(&file, "read", e))?;
        let state: State = serde_json::from_str(&text)
            .map_err(|e| Error::data(format!("{}: {e}", file.display())))?;
        // Opening reads where everything lies, and finds files that are cut off.
        Safetensors::open_file(&path.join(WEIGHTS))?;
        Safetensors::open_file(&path.join(MOMENTS))?;
        Ok(Self {
            path,
            step: state.step,
            tokens: state.tokens,
            objective: state.objective,
        })
    }

    /// Puts the saved weights, moments and loss state back.
    ///
    /// # Errors
    /// When a file is damaged or of another model.
    pub fn restore(
        &self,
        decoder: Decoder,
        optimizer: &mut Optimizer,
        objective: &mut dyn Objective,
    ) -> Result<Decoder> {
        objective.restore(&self.objective)?;
        optimizer.load(&self.path.join(MOMENTS), self.step, &decoder)?;
        let mut put = PutBack {
            file: Safetensors::open_file(&self.path.join(WEIGHTS))?,
            failed: None,
        };
        let decoder = decoder.remap(&mut put);
        match put.failed {
            Some(error) => Err(error),
            None => Ok(decoder),
        }
    }
}

struct PutBack {
    file: Safetensors,
    failed: Option<Error>,
}

impl Remap for PutBack {
    fn remap<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Tensor<D> {
        if !value.is_require_grad() {
            return value;
        }
        let shape = value.dims();
        match self.file.read(name, &shape) {
            Ok(values) => {
                let data = TensorData::new(values, shape);
                let fresh = Tensor::from_data(data, &value.device().inner());
                fresh.autodiff().require_grad()
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                value
            }
        }
    }
}
