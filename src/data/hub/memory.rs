//! What was found once: all stages of a run read the same rows of a data set, and so does whoever goes on with it.

use super::client::is_offline;
use super::{DataHub, Split, named};
use crate::error::{Error, Result};
use crate::recipe::HubSet;
use crate::run::write_json;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Memory {
    found: HashMap<(HubSet, Split), Vec<PathBuf>>,
    /// The commit that a set's name stands for, by [`HubSet::id`].
    commits: BTreeMap<String, String>,
    /// The file that they are kept in.
    file: Option<PathBuf>,
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
    let files = hub.located(&memory.at(set), split)?;
    if let Some(commit) = files.first().and_then(|file| commit(file, set)) {
        memory.commits.insert(set.id(), commit);
        memory.keep()?;
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

/// Keeps the commits that names were found to stand for in a file, from now on; a file of before goes where there are none.
///
/// # Errors
/// A file that cannot be written.
pub fn keep_in(file: PathBuf) -> Result<()> {
    let mut memory = memory();
    if memory.commits.is_empty() && file.exists() {
        std::fs::remove_file(&file).map_err(|error| Error::io(&file, "remove", error))?;
    }
    memory.file = Some(file);
    memory.keep()
}

/// The files of [`located`] without a network: whoever only plans downloads nothing.
///
/// # Errors
/// A set that is not in the cache.
pub fn in_cache(name: &Path, split: &Split) -> Result<Vec<PathBuf>> {
    match named(name)? {
        Some(set) => DataHub::default().in_cache(&memory().at(&set), split),
        None => Ok(vec![name.to_owned()]),
    }
}

impl Memory {
    fn keep(&self) -> Result<()> {
        match &self.file {
            Some(file) if !self.commits.is_empty() => write_json(file, &self.commits),
            _ => Ok(()),
        }
    }

    /// A set at the commit that its name stands for.
    fn at(&self, set: &HubSet) -> HubSet {
        let revision = self.commits.get(&set.id()).cloned();
        HubSet {
            revision: revision.or_else(|| set.revision.clone()),
            ..set.clone()
        }
    }
}
