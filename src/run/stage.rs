//! Stages: the unit of work that is done, half done or not begun.
//!
//! A stage `a/b` owns the folder `a/b/` and the files `a/b.*` of the run directory, nothing else. While it
//! is open, `a/b.open.json` holds its key; when it is finished, `a/b.done.json` is written last, with the
//! key and the hash of every output. What happens when the same run comes by again:
//!
//! | found                 | key the same         | key different                        |
//! |-----------------------|----------------------|--------------------------------------|
//! | done, outputs intact  | skipped              | refused; with `redo` outputs removed, starts afresh |
//! | done, but stale or a measurement | counts again | outputs removed, starts afresh      |
//! | done, outputs changed | outputs removed, starts afresh | outputs removed, starts afresh |
//! | half done             | continues            | refused if it left outputs; with `redo` they are removed, starts afresh |
//! | half done, but stale or a measurement | continues | outputs removed, starts afresh    |
//! | outputs, no record    | outputs removed, starts afresh | outputs removed, starts afresh |
//!
//! What is finished, or half done, may be the work of days, and a line more in a data file is no wish to lose it: only
//! a command that says so (`redo`) replaces it. A measurement is repeated without asking: it is made of what
//! the run holds, and two commands may measure two models under one name.
//!
//! When a stage starts afresh, the stages that came after it are marked stale (after a measurement the
//! measurements alone: nothing is trained on one): the report leaves them out, yet none is thrown away
//! before its turn. One whose key still fits when it is reached (it did not depend on what changed) counts
//! again; the others start afresh in their turn. So outputs of two recipes or of two inputs never stand
//! side by side unnoticed, and no hour is lost for nothing.

use super::atomic::{create_folder, entries, files_under, remove, sync_file, write_atomic};
use super::layout::{Layout, round_number};
use crate::error::{Error, Kind, Result};
use blake3::{Hash, Hasher};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Outputs up to this size are hashed again before a stage is skipped; larger ones are compared by size.
const REHASHED_BYTES: u64 = 64 << 20;

/// The names of the run's own files, which no stage may own.
const RESERVED: [&str; 8] = [
    "recipe", "run", "metrics", "events", "report", "logs", "rounds", "round",
];

/// A stage as it was found.
#[derive(Debug)]
pub enum Stage {
    /// Finished with this key: skip it and read its outputs.
    Done(StageDir),
    /// Begun now, or half done with this key: do what is missing, then [`StageDir::finish`].
    Open(StageDir),
}

impl Stage {
    /// Does the work unless it is done. After a failure the time spent is noted and the stage stays open.
    pub fn complete(self, work: impl FnOnce(&StageDir) -> Result<()>) -> Result<StageDir> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Open(open) => match work(&open) {
                Ok(()) => open.finish(),
                Err(error) => {
                    // The failure of the work is what the user has to hear about.
                    let _ = open.pause();
                    Err(error)
                }
            },
        }
    }
}

/// One output of a finished stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Hash of the content, in hexadecimal.
    pub blake3: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// The content of `<stage>.open.json` and `<stage>.done.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// The stage, for example `round-1/responses`.
    pub name: String,
    /// Hash of all its outputs depend on, in hexadecimal.
    pub key: String,
    /// Its place among the stages of the run, from 1: the order in which they were first begun.
    pub order: u64,
    /// Time spent on it. A killed process could not note its share.
    pub seconds: f64,
    /// A stage before it was redone: its outputs do not count until its own turn comes.
    pub stale: bool,
    /// It measures what other stages made, and no stage but a measurement reads it.
    #[serde(default)]
    pub measures: bool,
    /// Whether it is finished.
    pub done: bool,
    /// Its outputs by path within the run; empty while it is open.
    pub files: BTreeMap<String, FileFacts>,
}

/// The folder and files of one stage.
#[derive(Debug)]
pub struct StageDir {
    layout: Layout,
    record: StageRecord,
    begun: Instant,
}

impl StageDir {
    /// The stage's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Its record: key, seconds, and, once finished, the outputs.
    pub fn record(&self) -> &StageRecord {
        &self.record
    }

    /// The stage's folder, made if it is not there.
    pub fn folder(&self) -> Result<PathBuf> {
        let folder = self.layout.root().join(&self.record.name);
        create_folder(&folder)?;
        Ok(folder)
    }

    /// The stage's file with this extension: `round-1/responses.jsonl` for `"jsonl"`.
    pub fn file(&self, extension: &str) -> PathBuf {
        beside(&self.layout, &self.record.name, extension)
    }

    /// Finishes the stage: hashes every output, then writes the manifest.
    pub fn finish(mut self) -> Result<Self> {
        self.record.files = BTreeMap::new();
        for path in outputs(&self.layout, &self.record.name)? {
            sync_file(&path)?;
            let facts = FileFacts {
                blake3: hash_file(&path)?.to_string(),
                bytes: size(&path)?,
            };
            self.record
                .files
                .insert(relative(&self.layout, &path), facts);
        }
        self.record.seconds += self.begun.elapsed().as_secs_f64();
        self.record.done = true;
        write_record(&self.layout, &self.record)?;
        remove(&self.file("open.json"))?;
        Ok(self)
    }

    /// Leaves the stage half done and notes the time spent on it.
    pub fn pause(mut self) -> Result<()> {
        self.record.seconds += self.begun.elapsed().as_secs_f64();
        write_record(&self.layout, &self.record)
    }

    /// One hash over all outputs of a finished stage: what the key of a stage that reads them holds.
    pub fn digest(&self) -> Hash {
        let mut hasher = Hasher::new();
        for (path, facts) in &self.record.files {
            hasher.update(format!("{path}\0{}\n", facts.blake3).as_bytes());
        }
        hasher.finalize()
    }
}

/// The key of a stage: its part of the recipe, and the hashes of its inputs in a fixed order.
pub fn stage_key(recipe_part: &impl Serialize, inputs: &[Hash]) -> Result<Hash> {
    let part = serde_json::to_vec(recipe_part)
        .map_err(|e| Error::internal(format!("cannot hash a part of the recipe: {e}")))?;
    let mut hasher = Hasher::new_derive_key("duel stage key 1");
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(&part);
    for input in inputs {
        hasher.update(input.as_bytes());
    }
    Ok(hasher.finalize())
}

/// The blake3 hash of a file's content.
pub fn hash_file(path: &Path) -> Result<Hash> {
    let mut hasher = Hasher::new();
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(|_| ()))
        .map_err(|e| Error::io(path, "read", e))?;
    Ok(hasher.finalize())
}

/// The records of all stages of a run, in their order.
pub fn stages(layout: &Layout) -> Result<Vec<StageRecord>> {
    let mut found: BTreeMap<String, StageRecord> = BTreeMap::new();
    let rounds = layout.rounds()?;
    let roots = rounds
        .iter()
        .map(|round| layout.root().join(round.stage("")));
    for folder in std::iter::once(layout.root().to_path_buf()).chain(roots) {
        for path in entries(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with('.')
                && (name.ends_with(".open.json") || name.ends_with(".done.json"))
            {
                let record = read_record(&path)?;
                // A kill between writing the one and removing the other leaves both: done is the later.
                let known = found.get(&record.name);
                if record.done || known.is_none() {
                    found.insert(record.name.clone(), record);
                }
            }
        }
    }
    let mut records: Vec<_> = found.into_values().collect();
    records.sort_by_key(|record| record.order);
    Ok(records)
}

/// What a caller wants of a stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The stage's name.
    pub name: &'a str,
    /// Hash of all its outputs depend on.
    pub key: Hash,
    /// See [`StageRecord::measures`].
    pub measures: bool,
    /// Whether a finished stage may be thrown away because its key changed.
    pub redo: bool,
}

pub(super) fn open(layout: &Layout, wanted: Wanted<'_>) -> Result<Stage> {
    let name = wanted.name;
    check_name(name)?;
    let all = stages(layout)?;
    let Some(found) = all.iter().find(|record| record.name == name) else {
        let order = 1 + all.last().map_or(0, |record| record.order);
        return afresh(layout, wanted, order);
    };
    let same = found.key == wanted.key.to_string();
    let kept = !found.done || intact(layout, found);
    if same && kept {
        return go_on(layout, found);
    }
    if kept && !wanted.redo && holds_work(layout, found)? {
        return Err(changed(layout, found));
    }
    match same {
        true => tracing::warn!("{name}: its outputs were changed or removed, starting it afresh"),
        false => tracing::info!("{name}: its recipe or its inputs changed, starting it afresh"),
    }
    let later = all.iter().filter(|record| record.order > found.order);
    mark_stale(
        layout,
        later.filter(|record| record.measures || !wanted.measures),
    )?;
    afresh(layout, wanted, found.order)
}

/// The stage as it was left, done or half done.
fn go_on(layout: &Layout, found: &StageRecord) -> Result<Stage> {
    let record = StageRecord {
        stale: false,
        ..found.clone()
    };
    if found.stale {
        write_record(layout, &record)?;
    }
    let done = record.done;
    let dir = StageDir {
        layout: layout.clone(),
        record,
        begun: Instant::now(),
    };
    if !done {
        return Ok(Stage::Open(dir));
    }
    remove(&dir.file("open.json"))?;
    Ok(Stage::Done(dir))
}

/// Whether a stage holds what nobody wants to lose for a changed key: it is finished, or left outputs on the way.
pub(super) fn holds_work(layout: &Layout, record: &StageRecord) -> Result<bool> {
    if record.stale || record.measures {
        return Ok(false);
    }
    Ok(record.done || !outputs(layout, &record.name)?.is_empty())
}

/// A stage that holds work is not thrown away unasked.
fn changed(layout: &Layout, found: &StageRecord) -> Error {
    let name = &found.name;
    let state = match found.done {
        true => "finished",
        false => "half done",
    };
    Error::user(format!(
        "{}: the stage `{name}` is {state}, but its data, its part of the recipe or the model it began with has changed \
         since",
        layout.root().display()
    ))
    .hint(format!(
        "nothing was touched; give the new run a name of its own (--set name={}-2), or replace what the \
         stage made: the same command with --redo",
        layout.name()
    ))
}

/// Removes whatever the stage left and begins it. A kill on the way leaves no record, or the old one over
/// missing outputs: both start afresh again.
fn afresh(layout: &Layout, wanted: Wanted<'_>, order: u64) -> Result<Stage> {
    let name = wanted.name;
    remove(&beside(layout, name, "done.json"))?;
    remove(&layout.root().join(name))?;
    for path in outputs(layout, name)? {
        remove(&path)?;
    }
    let record = StageRecord {
        name: name.to_owned(),
        key: wanted.key.to_string(),
        order,
        seconds: 0.0,
        stale: false,
        measures: wanted.measures,
        done: false,
        files: BTreeMap::new(),
    };
    write_record(layout, &record)?;
    Ok(Stage::Open(StageDir {
        layout: layout.clone(),
        record,
        begun: Instant::now(),
    }))
}

fn mark_stale<'a>(layout: &Layout, later: impl Iterator<Item = &'a StageRecord>) -> Result<()> {
    for record in later {
        let stale = StageRecord {
            stale: true,
            ..record.clone()
        };
        write_record(layout, &stale)?;
    }
    Ok(())
}

/// Whether the outputs are still those that the manifest lists.
fn intact(layout: &Layout, record: &StageRecord) -> bool {
    record.files.iter().all(|(name, facts)| {
        let path = layout.root().join(name);
        let same_size = size(&path).is_ok_and(|bytes| bytes == facts.bytes);
        let same_hash =
            || hash_file(&path).is_ok_and(|hash| hash.to_hex().as_str() == facts.blake3);
        same_size && (facts.bytes > REHASHED_BYTES || same_hash())
    })
}

/// The files that a stage owns, its records left out.
fn outputs(layout: &Layout, name: &str) -> Result<Vec<PathBuf>> {
    let folder = layout.root().join(name);
    let mut found = files_under(&folder)?;
    let prefix = format!(
        "{}.",
        folder.file_name().unwrap_or_default().to_string_lossy()
    );
    for path in entries(folder.parent().unwrap_or(layout.root()))? {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(extension) = file.strip_prefix(&prefix) else {
            continue;
        };
        if path.is_file() && extension != "open.json" && extension != "done.json" {
            found.push(path);
        }
    }
    Ok(found)
}

fn write_record(layout: &Layout, record: &StageRecord) -> Result<()> {
    let kind = if record.done {
        "done.json"
    } else {
        "open.json"
    };
    let mut text = serde_json::to_vec_pretty(record)
        .map_err(|e| Error::internal(format!("cannot write a stage's record: {e}")))?;
    text.push(b'\n');
    write_atomic(&beside(layout, &record.name, kind), &text)
}

fn read_record(path: &Path) -> Result<StageRecord> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    serde_json::from_slice(&bytes).map_err(|e| Error {
        kind: Kind::Data,
        message: format!("{}: {e}", path.display()),
        hint: Some("delete the file: the stage starts afresh".to_owned()),
    })
}

fn beside(layout: &Layout, name: &str, extension: &str) -> PathBuf {
    layout.root().join(format!("{name}.{extension}"))
}

/// The path within the run, with `/` on every system.
fn relative(layout: &Layout, path: &Path) -> String {
    let inner = path.strip_prefix(layout.root()).unwrap_or(path);
    let parts: Vec<_> = inner.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

fn size(path: &Path) -> Result<u64> {
    let facts = fs::metadata(path).map_err(|e| Error::io(path, "read", e))?;
    Ok(facts.len())
}

/// `part` or `round-N/part`, of small letters, digits, `-` and `_`.
fn check_name(name: &str) -> Result<()> {
    let plain = |part: &str| {
        let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        !part.is_empty() && part.chars().all(small)
    };
    let fits = match name.split_once('/') {
        None => plain(name) && !RESERVED.contains(&name) && round_number(name).is_none(),
        Some((folder, part)) => round_number(folder).is_some() && plain(part),
    };
    if fits {
        return Ok(());
    }
    Err(Error::internal(format!(
        "`{name}` cannot be the name of a stage"
    )))
}

#[cfg(test)]
mod tests;
