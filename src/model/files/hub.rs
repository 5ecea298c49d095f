//! From the name of a model to a directory: a local path as it stands, a hub id through the Hugging Face cache.
//!
//! The cache has its standard layout (`HF_HOME`, `HF_HUB_CACHE`), so what any other program has downloaded
//! works offline. `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean everywhere.

use std::path::{Path, PathBuf};

use hf_hub::progress::Progress;
use hf_hub::repository::RepoTypeModel;
use hf_hub::{HFClient, HFError, HFRepositorySync};

use super::config::read_json;
use crate::data::hub::client::{client, is_offline, unreachable};
pub use crate::data::hub::progress::Watch;
use crate::data::hub::progress::{Sum, bar};
use crate::error::{Error, Result};

/// What a decoder, its tokenizer or an adapter may consist of. Other weights of a repository (ONNX, pickles,
/// `consolidated.safetensors`) stay where they are.
const WANTED: [&str; 12] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
    "adapter_model.safetensors",
];

/// What tells a model's shape, or an adapter's base.
const CONFIGS: [&str; 2] = ["config.json", "adapter_config.json"];

/// Finds a model: an existing directory or file is returned as it stands, `owner/name`, `owner/name@revision`
/// or `owner/name/file.gguf` comes from the hub or its cache.
///
/// # Errors
/// A path that does not exist, an unknown or gated repository, no network and nothing in the cache.
pub fn resolve(model: &str, revision: Option<&str>, offline: bool) -> Result<PathBuf> {
    resolve_watched(model, revision, offline, bar(model))
}

/// As [`resolve`], telling `watch` how far a download is.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_watched(
    model: &str,
    revision: Option<&str>,
    offline: bool,
    watch: Watch,
) -> Result<PathBuf> {
    Hub::from_environment(offline, Some(watch)).resolve(model, revision)
}

/// A folder with the `config.json` of the model `model`, or the `adapter_config.json` of an adapter, out of the cache or
/// from the hub: a few kilobytes that tell a model's shape before its weights are fetched.
///
/// # Errors
/// An unknown or gated repository, no network, a GGUF file (whose config is inside it), no permission to ask.
pub fn config(model: &str, revision: Option<&str>) -> Result<PathBuf> {
    let hub = Hub {
        // Whoever only asks does not wait long.
        retries: Some(1),
        ..Hub::from_environment(false, None)
    };
    hub.config(model, revision)
}

/// Where a model in the hub's cache came from: `owner/name` (or `owner/name/file.gguf`) and its commit; `None` for
/// any other place.
pub fn origin(path: &Path) -> Option<(String, String)> {
    Hub::from_environment(false, None).origin(path)
}

/// Where models come from; what is `None` comes from the environment.
#[derive(Default)]
struct Hub {
    endpoint: Option<String>,
    cache: Option<PathBuf>,
    offline: bool,
    /// Attempts after the first failure; `None` leaves the client's own number.
    retries: Option<usize>,
    watch: Option<Watch>,
}

/// A hub id, taken apart.
#[derive(Debug, PartialEq)]
struct Id<'a> {
    owner: &'a str,
    name: &'a str,
    /// One GGUF file of the repository, where it is not a Hugging Face directory.
    file: Option<&'a str>,
    revision: Option<&'a str>,
}

impl Hub {
    fn from_environment(offline: bool, watch: Option<Watch>) -> Self {
        Self {
            offline: offline || is_offline(),
            watch,
            ..Self::default()
        }
    }

    fn resolve(&self, model: &str, revision: Option<&str>) -> Result<PathBuf> {
        let path = Path::new(model);
        if path.exists() {
            return Ok(path.to_owned());
        }
        let mut id = parse(model)?;
        if revision.is_some() {
            id.revision = revision;
        }
        let client = self.client()?;
        let blocking = hf_hub::HFClientSync::from_inner(client.clone())
            .map_err(|error| Error::internal(format!("cannot start the hub client: {error}")))?;
        let repository = blocking.model(id.owner, id.name);
        // A commit never changes: what is here whole needs no network.
        if id.revision.is_some_and(is_commit)
            && let Ok(cached) = self.fetch(&repository, &id, true)
            && is_whole(&cached, &id)
        {
            return Ok(cached);
        }
        let found = if self.offline {
            self.fetch(&repository, &id, true)
                .map_err(|_| Self::not_cached(&id, client.cache_dir()))?
        } else {
            self.fetch_or_cached(&repository, &id, client.endpoint())?
        };
        check_complete(&found, &id)?;
        Ok(found)
    }

    fn config(&self, model: &str, revision: Option<&str>) -> Result<PathBuf> {
        let mut id = parse(model)?;
        if revision.is_some() {
            id.revision = revision;
        }
        if id.file.is_some() {
            let fact = format!(
                "{}: the config is inside the file, which is not here yet",
                id.display()
            );
            return Err(Error::user(fact).hint("the run itself downloads it"));
        }
        let client = self.client()?;
        let blocking = hf_hub::HFClientSync::from_inner(client.clone())
            .map_err(|error| Error::internal(format!("cannot start the hub client: {error}")))?;
        let repository = blocking.model(id.owner, id.name);
        let fetch = |name: &str, cached| {
            repository
                .download_file()
                .filename(name)
                .maybe_revision(id.revision.map(str::to_string))
                .local_files_only(cached)
                .send()
        };
        let cached = CONFIGS.iter().find_map(|name| fetch(name, true).ok());
        let found = match cached {
            Some(file) => Ok(file),
            None if self.offline => return Err(Self::not_cached(&id, client.cache_dir())),
            None => match fetch(CONFIGS[0], false) {
                Err(HFError::EntryNotFound { .. }) => fetch(CONFIGS[1], false),
                found => found,
            },
        };
        let mut folder = found.map_err(|error| explain(&error, &id, client.endpoint()))?;
        folder.pop();
        Ok(folder)
    }

    /// Reads the cache's layout, `models--OWNER--NAME/snapshots/COMMIT`, backwards.
    fn origin(&self, path: &Path) -> Option<(String, String)> {
        let client = self.client().ok()?;
        let path = std::path::absolute(path).ok()?;
        let inside = path.strip_prefix(client.cache_dir()).ok()?;
        let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
        let (folder, commit, file) = match parts?[..] {
            [folder, "snapshots", commit] => (folder, commit, None),
            [folder, "snapshots", commit, file] => (folder, commit, Some(file)),
            _ => return None,
        };
        let (owner, name) = folder.strip_prefix("models--")?.split_once("--")?;
        let file = file.map(|file| format!("/{file}")).unwrap_or_default();
        Some((format!("{owner}/{name}{file}"), commit.to_owned()))
    }

    fn client(&self) -> Result<HFClient> {
        let (endpoint, cache) = (self.endpoint.as_deref(), self.cache.as_deref());
        client(endpoint, cache, self.retries)
    }

    /// Downloads what is missing; without a network, what the cache holds is good enough.
    fn fetch_or_cached(
        &self,
        repository: &HFRepositorySync<RepoTypeModel>,
        id: &Id,
        endpoint: &str,
    ) -> Result<PathBuf> {
        let error = match self.fetch(repository, id, false) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if unreachable(&error)
            && let Ok(cached) = self.fetch(repository, id, true)
            && check_complete(&cached, id).is_ok()
        {
            tracing::warn!(
                "cannot reach {endpoint}: using the cached {}/{}",
                id.owner,
                id.name
            );
            return Ok(cached);
        }
        Err(explain(&error, id, endpoint))
    }

    fn fetch(
        &self,
        repository: &HFRepositorySync<RepoTypeModel>,
        id: &Id,
        cached: bool,
    ) -> Result<PathBuf, HFError> {
        let revision = id.revision.map(str::to_string);
        let progress = self
            .watch
            .clone()
            .map(|watch| Progress::new(Sum::new(watch)));
        match id.file {
            Some(file) => repository
                .download_file()
                .filename(file)
                .maybe_revision(revision)
                .local_files_only(cached)
                .maybe_progress(progress)
                .send(),
            None => repository
                .snapshot_download()
                .maybe_revision(revision)
                .allow_patterns(WANTED.map(str::to_string).to_vec())
                .local_files_only(cached)
                .maybe_progress(progress)
                .send(),
        }
    }

    fn not_cached(id: &Id, cache: &Path) -> Error {
        Error::user(format!(
            "{} is not in the cache {}, and duel is offline",
            id.display(),
            cache.display()
        ))
        .hint("unset HF_HUB_OFFLINE once to download it, or give a local directory")
    }
}

impl Id<'_> {
    /// As [`parse`] takes it.
    fn display(&self) -> String {
        let at = self
            .revision
            .map(|revision| format!("@{revision}"))
            .unwrap_or_default();
        let file = self.file.map(|file| format!("/{file}")).unwrap_or_default();
        format!("{}/{}{file}{at}", self.owner, self.name)
    }
}

/// `owner/name[/file.gguf][@revision]`; anything that can only be a path is an error that says so.
fn parse(model: &str) -> Result<Id<'_>> {
    let no_path = || {
        Error::user(format!("no model at {model}")).hint(
            "check the path, or give a hub id such as owner/name; `~` is not expanded in recipes",
        )
    };
    if model.starts_with(['.', '/', '~']) || model.contains('\\') {
        return Err(no_path());
    }
    let (id, revision) = match model.split_once('@') {
        Some((id, revision)) if !revision.is_empty() => (id, Some(revision)),
        _ => (model, None),
    };
    let mut parts = id.splitn(3, '/');
    let (Some(owner), Some(name), file) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::user(format!(
            "`{model}` is neither a directory, a file, nor a hub id"
        ))
        .hint("a hub id has the form owner/name"));
    };
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|sign| sign.is_ascii_alphanumeric() || "-_.".contains(sign))
    };
    if !plain(owner) || !plain(name) || file.is_some_and(|file| !file.ends_with(".gguf")) {
        return Err(no_path());
    }
    Ok(Id {
        owner,
        name,
        file,
        revision,
    })
}

/// A snapshot folder exists from the first file on, so its existence alone proves little.
fn check_complete(found: &Path, id: &Id) -> Result<()> {
    let has = |name: &str| found.join(name).exists();
    let weights = has("model.safetensors") || has("model.safetensors.index.json");
    if id.file.is_some() || has("adapter_config.json") || (has("config.json") && weights) {
        return Ok(());
    }
    let what = if has("config.json") {
        "safetensors weights"
    } else {
        "config.json"
    };
    Err(Error::user(format!(
        "{} has no {what} at {}",
        id.display(),
        found.display()
    ))
    .hint(
        "name one file of a GGUF repository as owner/name/file.gguf; pickled weights are not read",
    ))
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|sign| sign.is_ascii_hexdigit())
}

/// Whether a snapshot lacks nothing that a model needs: its download may have been interrupted.
fn is_whole(found: &Path, id: &Id) -> bool {
    if id.file.is_some() {
        return true;
    }
    let has = |name: &str| found.join(name).exists();
    let index = read_json(&found.join("model.safetensors.index.json"));
    let shards = index.as_ref().ok().and_then(|index| {
        let map = index.get("weight_map")?.as_object()?;
        Some(map.values().all(|shard| shard.as_str().is_some_and(has)))
    });
    has("config.json") && has("tokenizer.json") && shards.unwrap_or(has("model.safetensors"))
}

fn explain(error: &HFError, id: &Id, endpoint: &str) -> Error {
    let name = id.display();
    match error {
        HFError::AuthRequired { .. } | HFError::Forbidden { .. } => {
            Error::user(format!("{endpoint} does not let you read {name}"))
                .hint("accept the model's terms on its page and set HF_TOKEN")
        }
        HFError::RepoNotFound { .. } => Error::user(format!("{endpoint} knows no model {name}"))
            .hint("check the spelling; a private model needs HF_TOKEN"),
        HFError::RevisionNotFound { revision, .. } => {
            Error::user(format!("{name}: no revision `{revision}`")).hint("give a branch, tag or commit")
        }
        HFError::EntryNotFound { path, .. } => {
            Error::user(format!("{name}: no file `{path}`")).hint("check the file's name on the model's page")
        }
        HFError::Io(error) => Error::internal(format!("cannot store {name} in the cache: {error}"))
            .hint("free some disk space, or set HF_HOME to another disk"),
        error if unreachable(error) => Error::internal(format!("cannot reach {endpoint} for {name}: {error}"))
            .hint("give a local directory, set HF_HUB_OFFLINE=1 to use the cache, or HF_ENDPOINT for a mirror"),
        error => Error::internal(format!("cannot download {name}: {error}")).hint("try again later"),
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
