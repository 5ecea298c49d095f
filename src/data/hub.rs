//! Data sets of the Hugging Face hub as files of rows.
//!
//! A set is named as [`HubSet`] says, or by its name in the catalogue; its path is a file, a folder, or has a `*`. Its files come
//! through the hub's cache in its standard layout: what is there works offline. Beside a set's snapshots lies what the hub lists of
//! them, so that a part is not taken for the whole. `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean
//! what they mean everywhere.

mod choice;
pub mod client;
mod listing;
mod memory;
pub mod progress;

pub use choice::Split;
pub use memory::{in_cache, keep_in, located, pin};

use super::DataSet;
use crate::error::{Error, Result};
use crate::recipe::{HubSet, has_rows};
use choice::{Known, choose, parse};
use client::{client, unreachable};
use hf_hub::progress::Progress;
use hf_hub::repository::{RepoTreeEntry, RepoTypeDataset};
use hf_hub::{HFClient, HFClientSync, HFError, HFRepositorySync};
use progress::{Sum, bar};
use std::path::{Path, PathBuf};

/// The data set that a name stands for; none where it stands for a file: where there is one, or the folder of one.
///
/// # Errors
/// A name that begins as a data set's and is none.
pub fn named(name: &Path) -> Result<Option<HubSet>> {
    let folder = name.parent().filter(|folder| *folder != Path::new(""));
    match name.exists() || folder.is_some_and(Path::is_dir) {
        true => Ok(None),
        false => parse(&name.to_string_lossy()),
    }
}

/// What the catalogue knows of the data set that a name stands for.
pub fn known(name: &Path) -> Option<DataSet> {
    choice::known(&named(name).ok()??)
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
    /// The files of a split of a set; of one whose revision is a commit, or that is offline, out of the cache where they are there.
    pub(super) fn located(&self, id: &HubSet, split: &Split) -> Result<Vec<PathBuf>> {
        let client = self.client()?;
        let (endpoint, cache) = (client.endpoint().to_owned(), client.cache_dir().to_owned());
        let blocking = blocking(client)?;
        let set = blocking.dataset(&id.owner, &id.name);
        // A commit never changes: of one whose list is here, what is here needs no network.
        if id.revision.as_deref().is_some_and(is_commit)
            && let Some((Known::All, Ok(cached))) = cached(&set, id, split)
        {
            return Ok(cached);
        }
        if !self.offline {
            match fetched(&set, id, split) {
                Ok(found) => return found,
                Err(error) if !unreachable(&error) => return Err(explain(&error, id, &endpoint)),
                Err(error) => match cached(&set, id, split) {
                    Some((_, found)) => {
                        tracing::warn!("cannot reach {endpoint}: using the cached {}", id.id());
                        return found;
                    }
                    None => return Err(explain(&error, id, &endpoint)),
                },
            }
        }
        let found = cached(&set, id, split).map(|(_, found)| found);
        found.unwrap_or_else(|| {
            Err(Error::user(format!(
                "the data set {} is not in the cache {}, and duel is offline",
                id.id(),
                cache.display()
            ))
            .hint("unset HF_HUB_OFFLINE once to download it, or give a file"))
        })
    }

    /// The files of a split of a set, as far as a plan may know them.
    pub(super) fn in_cache(&self, id: &HubSet, split: &Split) -> Result<Vec<PathBuf>> {
        let blocking = blocking(self.client()?)?;
        let set = blocking.dataset(&id.owner, &id.name);
        let missing = || {
            Err(Error::user(format!(
                "the data set {} is not downloaded yet",
                id.id()
            )))
        };
        let found = cached(&set, id, split).map(|(_, found)| found);
        found
            .unwrap_or_else(missing)
            .map_err(|error| error.hint("the run itself downloads it"))
    }

    fn client(&self) -> Result<HFClient> {
        let (endpoint, cache) = (self.endpoint.as_deref(), self.cache.as_deref());
        client(endpoint, cache, self.retries)
    }
}

/// A hub's client for one set.
type Set = HFRepositorySync<RepoTypeDataset>;

/// Downloads what is missing, all of one commit. The inner result is about the set's files, the outer one about the way to them.
fn fetched(set: &Set, id: &HubSet, split: &Split) -> Result<Result<Vec<PathBuf>>, HFError> {
    let commit = match &id.revision {
        Some(revision) if is_commit(revision) => revision.clone(),
        revision => match set
            .info()
            .maybe_revision(revision.clone())
            .expand(vec!["sha".to_owned()])
            .send()?
            .sha
        {
            Some(commit) => commit,
            None => {
                let fact = format!("the hub names no commit of the data set {}", id.id());
                return Ok(Err(Error::internal(fact).hint("try again later")));
            }
        },
    };
    let tree = set
        .list_tree()
        .revision(commit.clone())
        .recursive(true)
        .send()?;
    let files: Vec<String> = tree
        .into_iter()
        .filter_map(|entry| match entry {
            RepoTreeEntry::File { path, .. } => Some(path),
            RepoTreeEntry::Directory { .. } => None,
        })
        .collect();
    let chosen = match choose(&files, id, split, Known::All) {
        Ok(chosen) => chosen,
        Err(error) => return Ok(Err(error)),
    };
    let folder = set
        .snapshot_download()
        .maybe_revision(id.revision.clone())
        .allow_patterns(chosen.iter().map(|file| literal(file)).collect::<Vec<_>>())
        .progress(Progress::new(Sum::new(bar(&id.id()))))
        .send()?;
    // By the branch's name, so that the cache knows the branch; a push between the two would make it another commit.
    if folder.file_name().is_none_or(|name| *name != *commit) {
        let fact = format!("the data set {} changed while it was downloaded", id.id());
        return Ok(Err(Error::internal(fact).hint("run the same command again")));
    }
    listing::write(&folder, &files);
    Ok(Ok(chosen.iter().map(|file| folder.join(file)).collect()))
}

/// The same out of the cache, as far as it goes, with what is known of the set; nothing where it has none of the files.
fn cached(set: &Set, id: &HubSet, split: &Split) -> Option<(Known, Result<Vec<PathBuf>>)> {
    let folder = set
        .snapshot_download()
        .maybe_revision(id.revision.clone())
        .local_files_only(true)
        .send()
        .ok()?;
    let (files, known) = match listing::read(&folder) {
        Some(files) => (files, Known::All),
        None => {
            let mut files = Vec::new();
            below(&folder, "", &mut files);
            (files, Known::Cached)
        }
    };
    if !files.iter().any(|file| has_rows(file)) {
        return None;
    }
    let chosen = match choose(&files, id, split, known) {
        Ok(chosen) => chosen,
        Err(error) => return Some((known, Err(error))),
    };
    let found: Vec<PathBuf> = chosen.iter().map(|file| folder.join(file)).collect();
    let here = found.iter().all(|file| file.exists());
    here.then_some((known, Ok(found)))
}

/// Whether a revision names one commit for ever.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A glob that matches this one name.
fn literal(name: &str) -> String {
    let one = |sign: char| match sign {
        '*' | '?' | '[' | ']' | '{' | '}' => format!("[{sign}]"),
        sign => sign.to_string(),
    };
    name.chars().map(one).collect()
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
