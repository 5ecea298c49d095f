//! Dialogue, chat templates, tokenizer, loss spans. Knows no tensors.

pub mod dialogue;
pub mod files;

pub use dialogue::{Answer, Dialogue, Message, Prompt, SftText};
pub use files::TokenizerFiles;
