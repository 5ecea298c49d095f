//! The run directory: the only door to it.
//!
//! Files are the interface between stages, and three laws keep them right when a process dies:
//!
//! 1. A file appears by write, fsync, rename ([`write_atomic`]), or grows line by line and is cut back to
//!    its last whole line when it is opened again ([`Journal`], [`Metrics`]).
//! 2. A stage is done when its manifest says so, which is written last and holds the hash of every output
//!    ([`Stage`]). Its key is the hash of all it depends on: another key never meets old outputs.
//! 3. One process writes at a time ([`RunDir`] holds an OS lock; it dies with the process).
//!
//! So `kill -9` at any moment, then the same command: the run goes on where it was.

mod accuracy;
mod atomic;
mod busy;
mod dir;
mod info;
pub mod interrupt;
mod journal;
mod layout;
mod lines;
mod lock;
mod memory;
mod metrics;
mod recipe_diff;
mod registry;
mod report;
mod stage;
mod summary;
mod tensorboard;

pub use accuracy::{RANKING_STAGES, VERIFIER_STAGE, accuracies};
pub use atomic::{
    remove_folder_atomic, write_atomic, write_atomic_with, write_folder_atomic, write_json,
};
pub use busy::DeviceInUse;
pub use dir::RunDir;
pub use info::{RunInfo, Start, Status};
pub use journal::{Journal, Keyed, read_rows, write_rows};
pub use layout::{Layout, RoundLayout, user_cache};
pub use memory::{available_mib, peak_rss_mib};
pub use metrics::{History, Metrics, Record};
pub use registry::{Comparison, RunEntry, compare, list, show};
pub use report::write_report;
pub use stage::{FileFacts, Stage, StageDir, StageRecord, hash_file, stage_key, stages};
pub use summary::{
    Diagnosis, Measured, Opinion, RoundSummary, Sample, Severity, WinRate, at_equal_length,
    interval_name, read_json,
};
