//! duel teaches a chat model from preferences on whatever GPU is in the machine.
//!
//! Read in this order; every module knows only those above it (a test holds the arrows):
//!
//! - [`error`]: what can go wrong and what to type next
//! - [`recipe`]: TOML in, checked recipe out
//! - [`run`]: the run directory: stages, journal, metrics, report
//! - [`text`]: dialogue, chat templates, tokenizer, loss spans
//! - [`data`]: rows in from jsonl and parquet
//! - [`trie`]: sequences to one packed batch, shared prefixes stored once
//! - [`model`]: one decoder for all architectures; files in and out
//! - [`objective`]: one file per loss
//! - [`trainer`]: the loop: one optimiser step, checkpoints, diagnoses
//! - [`generate`]: K samples a prompt from one shared prefix
//! - [`judge`]: whatever ranks responses, and the pairs made of it
//! - [`eval`]: win rates, accuracies, intervals, exams
//! - [`pipeline`]: the order of things; `pipeline/online.rs` is the recipe in one screen
//! - [`cli`]: one file per command; the only place that prints

pub mod cli;
pub mod data;
pub mod error;
pub mod eval;
pub mod generate;
pub mod judge;
pub mod model;
pub mod objective;
pub mod pipeline;
pub mod recipe;
pub mod run;
pub mod text;
pub mod trainer;
pub mod trie;

pub use error::{Error, Result};
