//! Data sets of the Hugging Face hub as files of rows.
//!
//! A set is named `owner/name`, `owner/name@revision`, by its name in the catalogue, or as other programs write it,
//! `hf://datasets/owner/name@revision/path`, where the path is a file, a folder, or has a `*`. Its files come through the hub's
//! cache in its standard layout: what is there works offline. `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` and
//! `HF_HUB_OFFLINE` mean what they mean everywhere.

mod choice;
pub mod client;
pub mod progress;

use crate::error::{Error, Result};
use crate::recipe::{HubSet, has_rows};
use choice::{Known, choose, parse};
use client::{client, is_offline, unreachable};
use hf_hub::progress::Progress;
use hf_hub::repository::{RepoTreeEntry, RepoTypeDataset};
use hf_hub::{HFClient, HFClientSync, HFError, HFRepositorySync};
use progress::{Sum, bar};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Names with the splits that were asked for, and the files that were found.
type Found = HashMap<(PathBuf, Vec<String>), Vec<PathBuf>>;

/// The files that `name` stands for: a path as it stands, a data set of the hub as the files of one of its splits, the first of
/// `splits` that it has. The hub is asked once: all stages of a run read the same rows.
///
/// # Errors
/// An unknown or gated set, no network and nothing in the cache, a set of several splits none of which is asked for.
pub fn located(name: &Path, splits: &[&str]) -> Result<Vec<PathBuf>> {
    static FOUND: Mutex<Option<Found>> = Mutex::new(None);
    let key = (
        name.to_owned(),
        splits.iter().map(|split| (*split).to_owned()).collect(),
    );
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let found = found.get_or_insert_default();
    if let Some(files) = found.get(&key) {
        return Ok(files.clone());
    }
    let hub = DataHub {
        offline: is_offline(),
        ..DataHub::default()
    };
    let files = hub.located(name, splits)?;
    found.insert(key, files.clone());
    Ok(files)
}

/// The same without a network: whoever only plans downloads nothing.
///
/// # Errors
/// A set that is not in the cache.
pub fn in_cache(name: &Path, splits: &[&str]) -> Result<Vec<PathBuf>> {
    DataHub::default().in_cache(name, splits)
}

/// Where data sets come from; what is `None` comes from the environment.
#[derive(Default)]
pub(super) struct DataHub {
    pub endpoint: Option<String>,
    pub cache: Option<PathBuf>,
    pub offline: bool,
    /// Attempts after the first failure; `None` leaves the client's own number.
    pub retries: Option<usize>,
}

impl DataHub {
    pub(super) fn located(&self, name: &Path, splits: &[&str]) -> Result<Vec<PathBuf>> {
        let text = name.to_string_lossy();
        let Some(id) = (if name.exists() { None } else { parse(&text)? }) else {
            return Ok(vec![name.to_owned()]);
        };
        let client = self.client()?;
        let (endpoint, cache) = (client.endpoint().to_owned(), client.cache_dir().to_owned());
        let blocking = blocking(client)?;
        let set = blocking.dataset(&id.owner, &id.name);
        if !self.offline {
            match self.fetched(&set, &id, splits) {
                Ok(found) => return found,
                Err(error) if !unreachable(&error) => return Err(explain(&error, &id, &endpoint)),
                Err(error) => match self.cached(&set, &id, splits) {
                    Some(found) => {
                        tracing::warn!("cannot reach {endpoint}: using the cached {}", id.id());
                        return found;
                    }
                    None => return Err(explain(&error, &id, &endpoint)),
                },
            }
        }
        self.cached(&set, &id, splits).unwrap_or_else(|| {
            Err(Error::user(format!(
                "the data set {} is not in the cache {}, and duel is offline",
                id.id(),
                cache.display()
            ))
            .hint("unset HF_HUB_OFFLINE once to download it, or give a file"))
        })
    }

    pub(super) fn in_cache(&self, name: &Path, splits: &[&str]) -> Result<Vec<PathBuf>> {
        let Some(id) = (if name.exists() {
            None
        } else {
            parse(&name.to_string_lossy())?
        }) else {
            return Ok(vec![name.to_owned()]);
        };
        let blocking = blocking(self.client()?)?;
        let set = blocking.dataset(&id.owner, &id.name);
        self.cached(&set, &id, splits).unwrap_or_else(|| {
            Err(
                Error::user(format!("the data set {} is not downloaded yet", id.id()))
                    .hint("the run itself downloads it"),
            )
        })
    }

    /// Downloads what is missing. The inner result is about the set's files, the outer one about the way to them.
    fn fetched(
        &self,
        set: &HFRepositorySync<RepoTypeDataset>,
        id: &HubSet,
        splits: &[&str],
    ) -> Result<Result<Vec<PathBuf>>, HFError> {
        let tree = set
            .list_tree()
            .maybe_revision(id.revision.clone())
            .recursive(true)
            .send()?;
        let files: Vec<String> = tree
            .into_iter()
            .filter_map(|entry| match entry {
                RepoTreeEntry::File { path, .. } => Some(path),
                RepoTreeEntry::Directory { .. } => None,
            })
            .collect();
        let chosen = match choose(&files, id, splits, Known::All) {
            Ok(chosen) => chosen,
            Err(error) => return Ok(Err(error)),
        };
        let mut found = Vec::with_capacity(chosen.len());
        for file in chosen {
            let watch = bar(&format!("{}/{file}", id.id()));
            let path = set
                .download_file()
                .filename(file)
                .maybe_revision(id.revision.clone())
                .maybe_progress(Some(Progress::new(Sum::new(watch))))
                .send()?;
            found.push(path);
        }
        Ok(Ok(found))
    }

    /// The same out of the cache, as far as it goes; nothing where it has no file of rows of the set.
    fn cached(
        &self,
        set: &HFRepositorySync<RepoTypeDataset>,
        id: &HubSet,
        splits: &[&str],
    ) -> Option<Result<Vec<PathBuf>>> {
        let folder = set
            .snapshot_download()
            .maybe_revision(id.revision.clone())
            .local_files_only(true)
            .send()
            .ok()?;
        let mut files = Vec::new();
        below(&folder, "", &mut files);
        if !files.iter().any(|file| has_rows(file)) {
            return None;
        }
        let chosen = choose(&files, id, splits, Known::Cached);
        Some(chosen.map(|chosen| chosen.into_iter().map(|file| folder.join(file)).collect()))
    }

    fn client(&self) -> Result<HFClient> {
        let (endpoint, cache) = (self.endpoint.as_deref(), self.cache.as_deref());
        client(endpoint, cache, self.retries)
    }
}

fn blocking(client: HFClient) -> Result<HFClientSync> {
    HFClientSync::from_inner(client)
        .map_err(|error| Error::internal(format!("cannot start the hub client: {error}")))
}

/// The files below a folder, by their paths in it.
fn below(folder: &Path, within: &str, files: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = format!("{within}{}", entry.file_name().to_string_lossy());
        // The cache's files are links: what they lead to counts.
        match entry.path().is_dir() {
            true => below(&entry.path(), &format!("{name}/"), files),
            false => files.push(name),
        }
    }
}

/// The status with which the hub refused to list or to give, where it did.
fn refused(error: &HFError) -> Option<u16> {
    match error {
        HFError::AuthRequired { .. } => Some(401),
        HFError::Forbidden { .. } => Some(403),
        HFError::RepoNotFound { .. } => Some(404),
        HFError::Http { context } => Some(context.status.as_u16()),
        _ => None,
    }
}

fn explain(error: &HFError, id: &HubSet, endpoint: &str) -> Error {
    let name = id.id();
    match (error, refused(error)) {
        // Of a set that is not there the hub says the same to whoever has no token.
        (_, Some(401 | 403)) => Error::user(format!(
            "{endpoint} has no data set {name}, or does not let you read it"
        ))
        .hint("check the spelling; of a gated set accept the terms on its page, and set HF_TOKEN"),
        (HFError::RevisionNotFound { revision, .. }, _) => {
            Error::user(format!("the data set {name} has no revision `{revision}`"))
                .hint("give a branch, tag or commit")
        }
        (_, Some(404)) => Error::user(format!(
            "there is no file {name}, and {endpoint} knows no data set of that name"
        ))
        .hint("check the spelling, and the revision behind the @; a private set needs HF_TOKEN"),
        (HFError::Io(error), _) => Error::internal(format!(
            "cannot store the data set {name} in the cache: {error}"
        ))
        .hint("free some disk space, or set HF_HOME to another disk"),
        (error, _) if unreachable(error) => Error::internal(format!(
            "cannot reach {endpoint} for the data set {name}: {error}"
        ))
        .hint("give a file, set HF_HUB_OFFLINE=1 to use the cache, or HF_ENDPOINT for a mirror"),
        (error, _) => Error::internal(format!("cannot download the data set {name}: {error}"))
            .hint("try again later"),
    }
}
