//! Rows in: preference pairs, prompts and conversations from jsonl and parquet.

pub mod catalog;
pub mod key;
pub mod rows;
pub mod summary;

pub use catalog::{Catalog, DataSet, Layout};
pub use key::Key;
pub use rows::{Origin, Preference, PromptRow, Sft};
