//! The model and the data inside the binary, laid out as files when they are asked for.

use crate::error::{Error, Result};
use crate::run::{user_cache, write_folder_atomic};
use std::path::{Path, PathBuf};

macro_rules! file {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../datasets/quickstart/", $name)),
        )
    };
}

/// The files of `datasets/quickstart`, by name.
static FILES: [(&str, &[u8]); 10] = [
    file!("config.json"),
    file!("generation_config.json"),
    file!("model.safetensors"),
    file!("tokenizer.json"),
    file!("tokenizer_config.json"),
    file!("chat_template.jinja"),
    file!("sft.jsonl"),
    file!("pairs.jsonl"),
    file!("prompts.jsonl"),
    file!("eval.jsonl"),
];

/// Where the files are laid out: a folder named after their content, in the user's cache.
fn place() -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    for (name, content) in FILES {
        hasher.update(name.as_bytes());
        hasher.update(content);
    }
    let name = format!("quickstart-{}", &hasher.finalize().to_hex()[..12]);
    user_cache().join("duel").join(name)
}

/// Whether a file is one of them.
pub(super) fn holds(file: &Path) -> bool {
    file.parent() == Some(&place())
}

/// The folder with the files in it: written once, whole or not at all.
fn folder() -> Result<PathBuf> {
    let folder = place();
    if folder.join(FILES[0].0).is_file() {
        return Ok(folder);
    }
    if let Some(cache) = folder.parent() {
        std::fs::create_dir_all(cache).map_err(|e| Error::io(cache, "write to", e))?;
    }
    write_folder_atomic(&folder, |folder| {
        FILES.iter().try_for_each(|(name, content)| {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(|e| Error::io(&path, "write", e))
        })
    })?;
    Ok(folder)
}

/// The folder of the embedded model.
///
/// # Errors
/// When the temporary folder cannot be written.
pub fn model() -> Result<PathBuf> {
    folder()
}

/// A sample inside the binary, by the NAME of `quickstart:NAME`.
///
/// # Errors
/// An unknown name, or a temporary folder that cannot be written.
pub fn data(name: &str) -> Result<PathBuf> {
    let file = format!("{name}.jsonl");
    if FILES.iter().any(|(own, _)| *own == file) {
        return Ok(folder()?.join(file));
    }
    let known: Vec<&str> = FILES
        .iter()
        .filter_map(|(own, _)| own.strip_suffix(".jsonl"))
        .collect();
    Err(
        Error::user(format!("no sample inside the binary is called `{name}`"))
            .hint(format!("there are {}", known.join(", "))),
    )
}
