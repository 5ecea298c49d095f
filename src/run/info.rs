//! `run.json`: who ran it, on what, and how it ended.

use super::atomic::write_atomic;
use super::layout::Layout;
use super::lock::is_held;
use crate::error::{Error, Kind, Result};
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;

/// What the caller knows about a run when it begins or goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The command as it was typed.
    pub command: String,
    /// One sentence for the report: what is trained, on what.
    pub about: String,
    /// Facts about the machine, name to value: device, memory, cores, threads, ...
    pub machine: BTreeMap<String, String>,
    /// Stages, done or half done, whose data or model changed may be thrown away and made anew.
    pub redo: bool,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A process works on it.
    Running,
    /// Every stage is finished.
    Done,
    /// The user stopped it; the same command continues.
    Interrupted,
    /// It ended with an error.
    Failed,
    /// The file says running, but no process holds the run. Never written, only read off.
    Killed,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Killed => "killed",
        })
    }
}

/// The content of `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of duel that worked on it last.
    pub version: String,
    /// The command, as typed last.
    pub command: String,
    /// What is trained, on what.
    pub about: String,
    /// When it was first started: UTC, as RFC 3339 writes it, to the second.
    pub started: String,
    /// When it ended last; none while it runs.
    pub finished: Option<String>,
    /// How often it went on after an end.
    pub resumed: usize,
    /// How it stands.
    pub status: Status,
    /// Why it failed or stopped.
    pub error: Option<String>,
    /// Facts about the machine.
    pub machine: BTreeMap<String, String>,
    /// What the products of its models read, as recipes spell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computes_in: Option<String>,
}

impl RunInfo {
    /// The record of a run that begins now.
    pub(super) fn new() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: String::new(),
            about: String::new(),
            started: now(),
            finished: None,
            resumed: 0,
            status: Status::Running,
            error: None,
            machine: BTreeMap::new(),
            computes_in: None,
        }
    }

    /// The record of a run whose own is cut off: the stages know by themselves how far they are, and the recipe was
    /// written when the run began.
    fn lost(layout: &Layout) -> Self {
        tracing::warn!(
            "{} is cut off and is taken as missing; the run's stages are as they were",
            layout.info().display()
        );
        let began = fs::metadata(layout.recipe()).and_then(|facts| facts.modified());
        let began = began.ok().and_then(|time| Timestamp::try_from(time).ok());
        Self {
            started: began.map_or_else(now, |time| format!("{time:.0}")),
            ..Self::new()
        }
    }

    /// When it was first started, in this machine's time zone; none where the file says no time.
    pub fn began(&self) -> Option<DateTime> {
        let began: Timestamp = self.started.parse().ok()?;
        Some(began.to_zoned(jiff::tz::TimeZone::system()).datetime())
    }

    /// The same run, taken up again by this version.
    pub(super) fn resume(&mut self) {
        self.version = env!("CARGO_PKG_VERSION").to_owned();
        self.resumed += 1;
        self.status = Status::Running;
        self.finished = None;
        self.error = None;
    }

    /// Notes how the run ended.
    pub(super) fn end(&mut self, outcome: std::result::Result<(), &Error>) {
        self.finished = Some(now());
        self.error = outcome.err().map(|e| e.message.clone());
        self.status = match outcome {
            Ok(()) => Status::Done,
            Err(error) if error.kind == Kind::Interrupted => Status::Interrupted,
            Err(_) => Status::Failed,
        };
    }

    /// Reads `run.json`. One that is cut off is as good as none. The status is [`Status::Killed`] where it says running and nobody holds the run.
    pub fn read(layout: &Layout) -> Result<Self> {
        let path = layout.info();
        let bytes = fs::read(&path).map_err(|e| {
            Error::io(&path, "read", e).hint("`duel runs list` shows the runs there are")
        })?;
        // What a full disk or a lost power leaves: nothing, a part, or blocks of zeros.
        let cut = |e: &serde_json::Error| e.is_eof() || bytes.iter().all(|byte| *byte == 0);
        let mut info: Self = match serde_json::from_slice(&bytes) {
            Err(e) if cut(&e) && layout.recipe().exists() => Self::lost(layout),
            read => read.map_err(|e| {
                Error::data(format!("{}: {e}", path.display()))
                    .hint("delete the file: the same command writes it again and goes on")
            })?,
        };
        if info.status == Status::Running && !is_held(layout) {
            info.status = Status::Killed;
        }
        Ok(info)
    }

    /// Writes `run.json`.
    pub(super) fn write(&self, layout: &Layout) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::internal(format!("cannot write the run's facts: {e}")))?;
        text.push(b'\n');
        write_atomic(&layout.info(), &text)
    }
}

/// Now, to the second: finer times say nothing about a run.
fn now() -> String {
    format!("{:.0}", Timestamp::now())
}
