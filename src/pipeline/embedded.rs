//! The model and the data inside the binary, laid out as files when they are asked for.

use crate::error::{Error, Result};
use std::path::PathBuf;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The files of `datasets/quickstart`, by name.
static FILES: [(&str, &[u8]); 0] = [];

/// The folder lives as long as the process.
static FOLDER: OnceLock<TempDir> = OnceLock::new();

fn folder() -> Result<PathBuf> {
    if let Some(folder) = FOLDER.get() {
        return Ok(folder.path().to_owned());
    }
    let folder = tempfile::Builder::new()
        .prefix("duel-quickstart-")
        .tempdir()
        .map_err(|e| Error::internal(format!("cannot make a temporary folder: {e}")))?;
    for (name, content) in FILES {
        let path = folder.path().join(name);
        std::fs::write(&path, content).map_err(|e| Error::io(&path, "write", e))?;
    }
    Ok(FOLDER.get_or_init(|| folder).path().to_owned())
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
    let known: Vec<&str> = FILES.iter().filter_map(|(own, _)| own.strip_suffix(".jsonl")).collect();
    Err(Error::user(format!("no sample inside the binary is called `{name}`"))
        .hint(format!("there are {}", known.join(", "))))
}
