//! Rows in: preference pairs, prompts and conversations from jsonl and parquet.

pub mod rows;

pub use rows::{Origin, Preference, PromptRow, Sft};
