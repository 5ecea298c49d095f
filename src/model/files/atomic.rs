//! Files that appear whole or not at all: written beside their place, synced, then renamed.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes `path` through `fill`: a temporary sibling, fsync, rename.
///
/// # Errors
/// Whatever the disk says. The temporary file is removed and an older `path` stays as it was.
pub fn write_atomic(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<()> {
    let temporary = sibling(path);
    let written = write_and_sync(&temporary, fill).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one worth reporting, whether or not the clean-up succeeds.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io(path, "write", error));
    }
    sync_folder(path);
    Ok(())
}

/// Writes `value` as indented JSON with a final newline, atomically.
pub fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal(format!("cannot print {}: {error}", path.display())))?;
    text.push('\n');
    write_atomic(path, |file| file.write_all(text.as_bytes()))
}

fn write_and_sync(
    temporary: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let file = File::create(temporary)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, &file);
    fill(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.sync_all()
}

/// The process id keeps two processes that write one file from sharing a temporary.
fn sibling(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// A rename survives a power cut only once its folder is synced; not every file system can.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, |file| file.write_all(b"old")).unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(b"half")?;
            Err(std::io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(error.hint.unwrap().contains("free some disk space"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
