//! What the hub lists of a commit, kept beside the commit's snapshot in the cache: a snapshot holds what somebody asked for.

use crate::run::write_atomic;
use std::fs;
use std::path::{Path, PathBuf};

/// The list of `<set>/snapshots/<commit>`: `<set>/.duel/<commit>.json`. Whoever walks the cache passes it over, as it does `refs`.
fn file(snapshot: &Path) -> Option<PathBuf> {
    let (set, commit) = (snapshot.parent()?.parent()?, snapshot.file_name()?);
    let mut name = commit.to_owned();
    name.push(".json");
    Some(set.join(".duel").join(name))
}

/// The files of the commit of a snapshot, where they were listed.
pub(super) fn read(snapshot: &Path) -> Option<Vec<String>> {
    serde_json::from_slice(&fs::read(file(snapshot)?).ok()?).ok()
}

/// Keeps the list. A cache that cannot be written beside its snapshots costs no more than the knowledge.
pub(super) fn write(snapshot: &Path, files: &[String]) {
    let Some(file) = file(snapshot) else {
        return;
    };
    let folder = file.parent().map(fs::create_dir_all);
    if let (Some(Ok(())), Ok(text)) = (folder, serde_json::to_vec(files)) {
        let _ = write_atomic(&file, &text);
    }
}
