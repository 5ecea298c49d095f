//! A model by its config: what an estimate knows of it without its weights.

use crate::error::{Error, Result};
use crate::model::DecoderSpec;
use crate::model::files::{Checkpoint, config::HfConfig, hub, peft};
use crate::pipeline::{embedded, start};
use crate::recipe::{ModelSource, Recipe};
use crate::text::{Chat, TokenizerFiles};
use std::path::Path;

/// A model by its config: no weights.
pub(super) struct Base {
    pub spec: DecoderSpec,
    /// None for a new model, whose tokenizer the run makes.
    chat: Option<Chat>,
}

/// The model that the recipe begins with.
pub(super) fn base(recipe: &Recipe) -> Result<Base> {
    match recipe.model.source() {
        Some(ModelSource::Quickstart) => at(&embedded::model()?),
        Some(ModelSource::Named(name)) => named(name, recipe.model.revision.as_deref()),
        Some(ModelSource::New(new)) => {
            let files = new
                .tokenizer
                .as_deref()
                .map(|folder| TokenizerFiles::read(Path::new(folder)));
            let chat = files
                .transpose()?
                .map(|files| Chat::new(&files))
                .transpose()?;
            let spec = HfConfig::from_value(start::config(new))?.resolve()?;
            Ok(Base { spec, chat })
        }
        None => Err(Error::user("the recipe names no model")),
    }
}

/// A model on this machine: nothing is downloaded for an estimate.
pub(super) fn named(name: &str, revision: Option<&str>) -> Result<Base> {
    at(&hub::resolve(name, revision, true)?)
}

fn at(path: &Path) -> Result<Base> {
    if path.join("adapter_config.json").exists() {
        let config = peft::read_config(path)?;
        let base = config.base_model_name_or_path.ok_or_else(|| {
            Error::data(format!(
                "the adapter {} names no base model",
                path.display()
            ))
        })?;
        return named(&base, config.revision.as_deref());
    }
    let (spec, files) = match path.is_dir() {
        true => (HfConfig::read(path)?.resolve()?, TokenizerFiles::read(path)),
        false => {
            let file = Checkpoint::open(path)?;
            let inside = file.tokenizer_files();
            (
                file.spec,
                inside.unwrap_or_else(|| TokenizerFiles::read(path)),
            )
        }
    };
    let chat = Some(Chat::new(&files?)?);
    Ok(Base { spec, chat })
}

impl Base {
    /// Tokenizer and chat template.
    ///
    /// # Errors
    /// A new model has none yet.
    pub fn chat(&self) -> Result<&Chat> {
        let chat = self.chat.as_ref();
        chat.ok_or_else(|| Error::user("the run makes the tokenizer itself"))
    }
}
