//! Dialogue, chat templates, tokenizer, loss spans. Knows no tensors.

pub mod answer;
pub mod chat;
pub mod clock;
pub mod comparison;
pub mod dialogue;
pub mod files;
pub mod fit;
mod generation;
mod plain;
mod python;
mod question;
mod solution;
pub mod template;
pub mod tokenizer;
pub mod train;

pub use answer::{comes_to, equivalent, final_answer, meaning, reference_answer};
pub use chat::{Chat, Encoded, EncodedPair, Spans};
pub use comparison::{Comparison, Letters};
pub use dialogue::{Answer, Dialogue, Message, Prompt, SftText};
pub use files::TokenizerFiles;
pub use fit::{Fit, Limits, Overflow};
pub use plain::lacks_template;
pub use solution::{Marked, Marks, steps};
pub use template::{ChatTemplate, Rendered};
pub use tokenizer::Tokenizer;
pub use train::{SpecialTokens, train_bpe};
