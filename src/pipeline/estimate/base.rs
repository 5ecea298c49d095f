//! A model by its config: what an estimate knows of it without its weights.

use crate::error::{Error, Result};
use crate::model::DecoderSpec;
use crate::model::files::{Checkpoint, config::HfConfig, hub, peft};
use crate::pipeline::{embedded, start};
use crate::recipe::{Model, ModelSource, Recipe};
use crate::text::{Chat, TokenizerFiles};
use std::path::Path;

/// A model by its config: no weights.
pub(super) struct Base {
    pub spec: DecoderSpec,
    /// Missing for a new model, whose tokenizer the run makes, and for one that is not downloaded.
    chat: Result<Chat>,
}

/// The model that the recipe begins with.
pub(super) fn base(recipe: &Recipe) -> Result<Base> {
    let template = recipe.model.chat_template.as_deref();
    match recipe.model.source() {
        Some(ModelSource::Quickstart) => at(&embedded::model()?, template),
        Some(ModelSource::Named(name)) => under(name, recipe.model.revision.as_deref(), template),
        Some(ModelSource::New(new)) => {
            let chat = match &new.tokenizer {
                Some(folder) => chat(TokenizerFiles::read(Path::new(folder))?, template),
                None => Err(Error::user("the run makes the tokenizer itself")),
            };
            let spec = HfConfig::from_value(start::config(new))?.resolve()?;
            Ok(Base { spec, chat })
        }
        None => Err(Error::user("the recipe names no model")),
    }
}

/// A model on this machine, or the shape of one on the hub: no weights are downloaded for an estimate.
pub(super) fn named(name: &str, revision: Option<&str>) -> Result<Base> {
    under(name, revision, None)
}

/// The same under the recipe's chat template, where it has one.
fn under(name: &str, revision: Option<&str>, template: Option<&str>) -> Result<Base> {
    match hub::resolve(name, revision, true) {
        _ if name == Model::QUICKSTART => at(&embedded::model()?, template),
        Ok(path) => at(&path, template),
        Err(_) => shape(name, &hub::config(name, revision)?, template),
    }
}

/// What the config in `folder` alone tells of the model `name`.
fn shape(name: &str, folder: &Path, template: Option<&str>) -> Result<Base> {
    if !folder.join("config.json").exists() {
        return at(folder, template);
    }
    let spec = HfConfig::read(folder).and_then(|config| config.resolve());
    let files = TokenizerFiles::read(folder)
        .map_err(|_| Error::user(format!("{name} is not downloaded yet, nor its tokenizer")));
    Ok(Base {
        spec: spec.map_err(|error| error.at(name))?,
        chat: files.and_then(|files| chat(files, template)),
    })
}

fn chat(mut files: TokenizerFiles, template: Option<&str>) -> Result<Chat> {
    if let Some(template) = template {
        files.chat_template = Some(template.to_owned());
    }
    Chat::new(&files)
}

fn at(path: &Path, template: Option<&str>) -> Result<Base> {
    if path.join("adapter_config.json").exists() {
        let config = peft::read_config(path)?;
        let base = config.base_model_name_or_path.ok_or_else(|| {
            Error::data(format!(
                "the adapter {} names no base model",
                path.display()
            ))
        })?;
        return under(&base, config.revision.as_deref(), template);
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
    let chat = Ok(chat(files?, template)?);
    Ok(Base { spec, chat })
}

impl Base {
    /// Tokenizer and chat template.
    ///
    /// # Errors
    /// A new model, and one that is not downloaded, have none yet.
    pub fn chat(&self) -> Result<&Chat> {
        self.chat.as_ref().map_err(Clone::clone)
    }
}
