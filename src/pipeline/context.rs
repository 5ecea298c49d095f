//! What every stage of a run has at hand, and how it says what it found.

use crate::data::{Key, Report};
use crate::error::{Error, Result};
use crate::model::build::Kept;
use crate::model::files::hub;
use crate::model::{Model, must_write};
use crate::recipe::{self, Dtype, Lora, Recipe};
use crate::run::{self, Metrics, RunDir, StageDir};
use crate::trainer::diagnose::{Diagnosis, Severity};
use blake3::Hash;
use burn::tensor::Device;
use duel_backends::device::{computes, narrowest};
use duel_backends::ops::Operands;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A run in progress.
pub struct Context {
    /// The checked recipe.
    pub recipe: Recipe,
    /// Its directory.
    pub run: RunDir,
    /// Its metrics.
    pub metrics: Metrics,
    /// Where to compute.
    pub device: Device,
    /// What products read there: `auto` tries the device, once.
    operands: Operands,
    /// The root of everything random.
    pub key: Key,
    said: BTreeSet<(String, String)>,
    /// What became of each stage's rows, as far as it was told.
    told: RefCell<Vec<(String, Report)>>,
}

/// A model on disk, with a hash of what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its folder or GGUF file.
    pub path: PathBuf,
    /// Hash of its content.
    pub digest: Hash,
    /// A chat template in place of its own.
    pub chat_template: Option<String>,
}

impl Policy {
    /// The model that lies at `path`.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn at(path: &Path) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        for file in model_files(path)? {
            hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hasher.update(run::hash_file(&file)?.as_bytes());
        }
        Ok(Self {
            path: path.to_owned(),
            digest: hasher.finalize(),
            chat_template: None,
        })
    }

    /// The model `name`, a folder or hub id, as `[model]` has it computed here; it has to be one that writes.
    ///
    /// # Errors
    /// A model that is not there, or that only scores.
    pub fn writer(cx: &Context, name: &str, revision: Option<&str>) -> Result<Self> {
        let path = hub::resolve(name, revision, false)?;
        must_write(&path)?;
        Ok(Self::at(&path)?.kept_as(cx))
    }

    /// What a finished stage left in `folder`.
    pub fn of_stage(stage: &StageDir, folder: PathBuf) -> Self {
        Self {
            path: folder,
            digest: stage.digest(),
            chat_template: None,
        }
    }

    /// The same under another chat template: another model, as all that comes from it.
    pub fn with_template(self, template: Option<&str>) -> Self {
        let Some(template) = template else {
            return self;
        };
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(self.digest.as_bytes())
            .update(template.as_bytes());
        Self {
            digest: hasher.finalize(),
            chat_template: Some(template.to_owned()),
            ..self
        }
    }

    /// The same as `[model]` has it computed here: in other numbers it is another model, as all that comes from it.
    pub fn kept_as(self, cx: &Context) -> Self {
        self.kept(cx.frozen())
    }

    /// The same as a command has it computed.
    pub fn kept(self, kept: Kept) -> Self {
        if kept.operands == Operands::F32 && !kept.packed {
            return self;
        }
        let how = recipe::hash_of(&(kept.operands.name(), kept.packed));
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.digest.as_bytes()).update(how.as_bytes());
        Self {
            digest: hasher.finalize(),
            ..self
        }
    }

    /// Reads it, its matrices kept as asked: see [`Context::frozen`] and [`Context::trained`].
    ///
    /// # Errors
    /// What is wrong with its files.
    pub fn load(&self, device: &Device, kept: Kept) -> Result<Model> {
        let model = Model::load_kept(&self.path, device, kept)?;
        match &self.chat_template {
            Some(template) => model.with_chat_template(template),
            None => Ok(model),
        }
    }
}

/// What products read where a recipe asks for `dtype`.
pub fn operands(dtype: Dtype, device: &Device) -> Operands {
    match dtype {
        Dtype::Auto => narrowest(device),
        Dtype::F32 => Operands::F32,
        Dtype::Bf16 => Operands::Bf16,
        Dtype::F16 => Operands::F16,
    }
}

/// What products read in this run. What `auto` came to when the run began it stays, so that the run goes on where the
/// device is another; `anew` lets it be chosen again.
///
/// # Errors
/// A device that does not compute in it, or a record that cannot be written.
pub(super) fn settled(
    dtype: Dtype,
    run: &mut RunDir,
    device: &Device,
    anew: bool,
) -> Result<Operands> {
    let began = run.info().computes_in.as_deref().and_then(Operands::named);
    let settled = match (dtype, began) {
        (Dtype::Auto, Some(began)) if !anew => began,
        _ => operands(dtype, device),
    };
    if !computes(device, settled) {
        return Err(Error::device(format!(
            "the run computes in {}, as it began, and this device does not",
            settled.name()
        ))
        .hint("go on with it on the device of before, or begin anew with --set name=NAME"));
    }
    run.computes_in(settled.name())?;
    Ok(settled)
}

/// Refuses a type that the device does not compute in.
///
/// # Errors
/// A device error.
pub fn check_dtype(dtype: Dtype, device: &Device, setting: &str) -> Result<()> {
    let asked = operands(dtype, device);
    if computes(device, asked) {
        if asked != Operands::F32 && narrowest(device) == Operands::F32 {
            tracing::warn!(
                "the CPU multiplies {} no faster than f32: it rounds what it multiplies, which costs time and saves the \
                 memory of frozen weights alone; leave {setting} out for f32",
                dtype.name()
            );
        }
        return Ok(());
    }
    Err(Error::device(format!(
        "this device does not compute in {}: a small product in it fails or comes out wrong",
        dtype.name()
    ))
    .hint(format!(
        "take \"auto\" or \"f32\" for {setting}; `duel devices` lists what each device computes in"
    )))
}

/// The files of a model, in a fixed order.
fn model_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| Error::io(path, "read", e))?;
    let wanted = |file: &PathBuf| {
        let extension = file.extension().and_then(|e| e.to_str());
        file.is_file() && matches!(extension, Some("json" | "safetensors" | "jinja"))
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(wanted)
        .collect();
    files.sort();
    Ok(files)
}

impl Context {
    /// The context of a run that was just opened, with its metrics.
    pub fn new(
        recipe: Recipe,
        run: RunDir,
        metrics: Metrics,
        device: Device,
        operands: Operands,
    ) -> Self {
        let key = Key::new(recipe.seed);
        Self {
            recipe,
            run,
            metrics,
            device,
            operands,
            key,
            said: BTreeSet::new(),
            told: RefCell::default(),
        }
    }

    /// How a model is kept that is only read.
    pub fn frozen(&self) -> Kept {
        Kept {
            operands: self.operands,
            frozen: true,
            packed: self.recipe.model.load_in_4bit,
        }
    }

    /// How a model is kept that is trained: whole and in f32, unless only an adapter over it learns.
    pub fn trained(&self, lora: Option<&Lora>) -> Kept {
        let frozen = self.frozen();
        match lora {
            Some(_) => frozen,
            None => Kept {
                operands: frozen.operands,
                ..Kept::default()
            },
        }
    }

    /// Whether a stage has not yet told of these rows; from now on it has.
    pub fn is_news(&self, stage: &str, report: &Report) -> bool {
        let mut told = self.told.borrow_mut();
        let known = told.iter().any(|(of, it)| of == stage && it == report);
        if !known {
            told.push((stage.to_owned(), report.clone()));
        }
        !known
    }

    /// The same in place of what an earlier process recorded: of a stage whose result is read again whenever a run comes by.
    ///
    /// # Errors
    /// When the metrics cannot be written.
    pub fn diagnose_again(&mut self, stage: &str, found: Vec<Diagnosis>) -> Result<()> {
        let said = |diagnosis: &Diagnosis| {
            let key = (stage.to_owned(), diagnosis.name.to_owned());
            self.said.contains(&key)
        };
        if found.iter().any(said) {
            return Ok(());
        }
        self.metrics.resume(stage, 0)?;
        self.diagnose(stage, found)
    }

    /// Says and records what a stage noticed about itself, each thing once a stage.
    ///
    /// # Errors
    /// When the metrics cannot be written.
    pub fn diagnose(&mut self, stage: &str, found: Vec<Diagnosis>) -> Result<()> {
        for diagnosis in found {
            if !self
                .said
                .insert((stage.to_owned(), diagnosis.name.to_owned()))
            {
                continue;
            }
            tracing::warn!(
                "{stage}: {}: {}. {}",
                diagnosis.name,
                diagnosis.message,
                diagnosis.mend
            );
            self.metrics.diagnose(&run::Diagnosis {
                name: diagnosis.name.to_owned(),
                severity: match diagnosis.severity {
                    Severity::Warning => run::Severity::Warning,
                    Severity::Problem => run::Severity::Problem,
                },
                message: diagnosis.message,
                mend: diagnosis.mend,
                stage: stage.to_owned(),
                step: diagnosis.step,
            })?;
        }
        Ok(())
    }
}
