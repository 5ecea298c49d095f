//! What was found once: all stages of a run read the same rows of a data set, and so does whoever goes on with it.

use super::client::is_offline;
use super::{DataHub, Split, named};
use crate::error::Result;
use crate::recipe::HubSet;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Memory {
    found: HashMap<(HubSet, Split), Vec<PathBuf>>,
    /// The commit that a set's name stands for, by [`HubSet::id`].
    commits: BTreeMap<String, String>,
}

fn memory() -> MutexGuard<'static, Memory> {
    static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(Mutex::default);
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files that `name` stands for: a path as it stands, a data set of the hub as the files of one of its splits. The hub is
/// asked once in a process; it is the one lock, so that no two threads download the same.
///
/// # Errors
/// An unknown or gated set, no network and nothing in the cache, a set of several parts of which none is meant.
pub fn located(name: &Path, split: &Split) -> Result<Vec<PathBuf>> {
    let Some(set) = named(name)? else {
        return Ok(vec![name.to_owned()]);
    };
    let mut memory = memory();
    let key = (set, split.clone());
    if let Some(files) = memory.found.get(&key) {
        return Ok(files.clone());
    }
    let hub = DataHub {
        offline: is_offline(),
        ..DataHub::default()
    };
    let set = &key.0;
    let revision = memory.commits.get(&set.id()).cloned();
    let at = HubSet {
        revision: revision.or_else(|| set.revision.clone()),
        ..set.clone()
    };
    let files = hub.located(&at, split)?;
    if let Some(commit) = files.first().and_then(|file| commit(file, set)) {
        memory.commits.insert(set.id(), commit);
    }
    memory.found.insert(key, files.clone());
    Ok(files)
}

/// The commit of a file in the cache: the folder below the set's `snapshots`.
fn commit(file: &Path, set: &HubSet) -> Option<String> {
    let folder = format!("datasets--{}--{}", set.owner, set.name);
    let mut parts = file.iter().map(|part| part.to_string_lossy());
    parts.find(|part| part.eq_ignore_ascii_case(&folder))?;
    parts.next().filter(|part| part == "snapshots")?;
    parts.next().map(|commit| commit.into_owned())
}

/// Lets names of sets, as [`HubSet::id`] writes them, stand for the commits that they stood for before.
pub fn pin(commits: BTreeMap<String, String>) {
    memory().commits.extend(commits);
}

/// The commits that sets were found at, by their names.
pub fn pinned() -> BTreeMap<String, String> {
    memory().commits.clone()
}
