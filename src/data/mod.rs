//! Rows in: preference pairs, prompts and conversations from jsonl and parquet.

pub mod catalog;
mod fields;
pub mod hub;
mod jsonl;
pub mod key;
mod load;
mod parquet;
pub mod preference;
pub mod prompts;
pub mod ratings;
pub mod report;
pub mod rows;
pub mod rrm;
pub mod sft;
pub mod solutions;
pub mod split;
pub mod summary;
mod transcript;

pub use catalog::{Catalog, DataSet, Layout};
pub use fields::Fields;
pub use key::Key;
pub use load::{Shaped, load as load_rows};
pub use preference::{has_pairs, load_preferences};
pub use prompts::load_prompts;
pub use ratings::{Ratings, has_ratings, load_ratings};
pub use report::{EMPTY_LINE, LoadOptions, Needs, Report};
pub use rows::{Noted, Origin, Preference, PromptRow, Rating, Sft, Unit};
pub use sft::load_sft;
pub use solutions::{Problem, Solution, has_labels, load_problems};
pub use split::{HasPrompt, is_among, known_prompts, split};

#[cfg(test)]
mod tests;
