//! Files that are there whole or not at all: write beside, fsync, rename, fsync the folder.

use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Replaces `path` by `bytes`: after a crash it holds the old content or the new, never a part.
///
/// A link is followed. What is no ordinary file (a pipe, `/dev/stdout`) is written to and not replaced. Missing parent
/// folders are made. A full disk is an [`Error::io`] and leaves the old file as it was.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |out| out.write_all(bytes))
}

/// As [`write_atomic`], for content that is produced piece by piece.
pub fn write_atomic_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    if fs::metadata(path).is_ok_and(|facts| !facts.is_file() && !facts.is_dir()) {
        return write_through(path, fill).map_err(|e| Error::io(path, "write", e));
    }
    let target = fs::read_link(path).map(|link| parent(path).join(link));
    let path = target.as_deref().unwrap_or(path);
    let folder = parent(path);
    create_folder(folder)?;
    let beside = beside(path);
    let written = write_synced(&beside, fill).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // Best effort: the failure of the write is what the user has to hear about.
        let _ = fs::remove_file(&beside);
        return Err(Error::io(path, "write", error));
    }
    sync_folder(folder)
}

/// Writes to what can only be written to.
fn write_through(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(OpenOptions::new().write(true).open(path)?);
    fill(&mut out)?;
    out.flush()
}

/// Writes `value` as indented JSON with a final newline, as [`write_atomic`].
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal(format!("cannot print {}: {error}", path.display())))?;
    text.push('\n');
    write_atomic(path, text.as_bytes())
}

/// Fills a folder beside `path` and puts it in its place: `path` is there whole or not at all.
///
/// An older folder at `path` is moved aside just before and removed once the new one is there. A kill
/// between the two renames leaves neither, which a stage reads as "not written yet".
pub fn write_folder_atomic(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = parent(path);
    let beside = beside(path);
    remove(&beside)?;
    create_folder(&beside)?;
    if let Err(error) = fill(&beside) {
        // Best effort: the failure of the work is what the user has to hear about.
        let _ = remove(&beside);
        return Err(error);
    }
    for file in files_under(&beside)? {
        sync_file(&file)?;
    }
    let old = beside.with_extension("old.tmp");
    remove(&old)?;
    let aside = fs::rename(path, &old);
    if let Err(error) = fs::rename(&beside, path) {
        if aside.is_ok() {
            // Best effort: the write has failed, and what was there is better than nothing.
            let _ = fs::rename(&old, path);
        }
        return Err(Error::io(path, "write", error));
    }
    sync_folder(parent)?;
    remove(&old)
}

/// Waits until the content of a file is on the disk.
pub(super) fn sync_file(path: &Path) -> Result<()> {
    // Windows flushes only handles that may write.
    OpenOptions::new()
        .read(true)
        .write(cfg!(windows))
        .open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::io(path, "write", e))
}

/// Makes a folder and its parents.
pub(super) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::io(path, "make the folder", e))
}

/// Removes a file or a folder with all it holds; nothing there is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) => Err(error),
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(path, "remove", error))
        }
        _ => Ok(()),
    }
}

/// Removes a folder so that it is there whole or not at all: it is moved aside first. What a kill left aside earlier goes,
/// too.
///
/// # Errors
/// A folder that cannot be moved or removed.
pub fn remove_folder_atomic(path: &Path) -> Result<()> {
    let aside = beside(path);
    remove(&aside)?;
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(path, "remove", error))
        }
        _ => remove(&aside),
    }
}

/// All files under a folder, sorted; what is still being written beside, or was when a process was
/// killed, is left out.
pub(super) fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            match path.is_dir() {
                _ if is_beside(&path) => {}
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What a folder holds, sorted by name; a folder that is not there holds nothing.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let reading = |e| Error::io(folder, "read the folder", e);
    let list = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.map_err(reading)?,
    };
    let mut paths = Vec::new();
    for entry in list {
        paths.push(entry.map_err(reading)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn write_synced(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    fill(&mut out)?;
    out.into_inner().map_err(|e| e.into_error())?.sync_all()
}

fn sync_folder(folder: &Path) -> Result<()> {
    // Windows has no handle for this; there the rename itself is journalled.
    if cfg!(unix) {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|e| Error::io(folder, "write", e))?;
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `folder/.name.tmp`: the same name each time, so that what a kill left there is written over.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!(".{name}.tmp"))
}

fn is_beside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".tmp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_folder_goes_although_a_kill_left_an_earlier_one_half_removed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("checkpoint-4");
        let left = beside(&path);
        for folder in [&path, &left] {
            create_folder(folder).unwrap();
            fs::write(folder.join("state"), "4").unwrap();
        }
        remove_folder_atomic(&path).unwrap();
        assert!(!path.exists() && !left.exists());
        fs::create_dir(&left).unwrap();
        remove_folder_atomic(&path).unwrap();
        assert!(!left.exists(), "also where only the leftover is there");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eval.json");
        write_atomic(&path, b"old").unwrap();

        let error = write_atomic_with(&path, |out| {
            out.write_all(b"half of the n")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();

        assert_eq!(error.kind, Kind::Internal);
        assert!(error.hint.unwrap().contains("it continues"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(entries(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn a_folder_appears_whole_and_replaces_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint-4");
        write_folder_atomic(&path, |f| write_atomic(&f.join("a"), b"1")).unwrap();
        write_folder_atomic(&path, |f| write_atomic(&f.join("b"), b"2")).unwrap();
        assert_eq!(files_under(dir.path()).unwrap(), [path.join("b")]);

        let failed = write_folder_atomic(&path, |f| {
            write_atomic(&f.join("c"), b"3")?;
            Err(Error::internal("the power went"))
        });
        assert!(failed.is_err());
        assert_eq!(files_under(&path).unwrap(), [path.join("b")]);
        assert_eq!(entries(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn parents_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("round-1").join("eval.json");
        write_atomic(&path, b"{}").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        write_atomic(&link, b"through a link that led nowhere").unwrap();
        write_atomic(&link, b"and to a file").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"and to a file");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        write_atomic(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
