//! The model and the data inside the binary, laid out as files when they are asked for.

use crate::error::{Error, Result};
use crate::run::user_cache;
use std::fs::File;
use std::io::Write;
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
    lay_out(&folder)?;
    Ok(folder)
}

/// Puts the files into `folder`, unless they are there. Of several programs that begin at once each writes a folder of its
/// own, and the first one's stays.
fn lay_out(folder: &Path) -> Result<()> {
    let there = || folder.join(FILES[0].0).is_file();
    if there() {
        return Ok(());
    }
    let cache = folder.parent().unwrap_or(Path::new("."));
    let failed = |e| Error::io(cache, "write to", e);
    std::fs::create_dir_all(cache).map_err(failed)?;
    let own = tempfile::Builder::new()
        .prefix(".quickstart-")
        .tempdir_in(cache)
        .map_err(failed)?;
    for (name, content) in FILES {
        let path = own.path().join(name);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        written.map_err(|e| Error::io(&path, "write", e))?;
    }
    match std::fs::rename(own.path(), folder) {
        Err(error) if !there() => {
            let hint = format!("delete what is left of it: {}", folder.display());
            Err(Error::io(folder, "write", error).hint(hint))
        }
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_that_begin_at_once_all_find_the_files_and_leave_nothing_else() {
        let cache = tempfile::tempdir().expect("a folder");
        let folder = cache.path().join("quickstart");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    lay_out(&folder).expect("laid out");
                    assert!(FILES.iter().all(|(name, _)| folder.join(name).is_file()));
                });
            }
        });
        assert_eq!(std::fs::read_dir(cache.path()).expect("there").count(), 1);
    }
}
