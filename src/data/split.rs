//! A held-out part that shares no prompt with the rest.
//!
//! A row goes where the hash of its prompt says. So a prompt with several pairs never sits in both parts, the split does not
//! change when rows are added or reordered, and every stage of a run can draw the same line.

use super::rows::{Preference, PromptRow, Rating, Sft};
use crate::text::{Message, Prompt, SftText};
use std::collections::HashSet;

/// A row that can be split by its prompt.
pub trait HasPrompt {
    /// Feeds what identifies the prompt.
    fn hash_prompt(&self, hasher: &mut blake3::Hasher);
}

/// Splits rows into those to learn from and about the share `held_out` (0 to 1) of prompts to evaluate on; both in
/// their old order.
pub fn split<T: HasPrompt>(rows: Vec<T>, held_out: f64, seed: u64) -> (Vec<T>, Vec<T>) {
    rows.into_iter()
        .partition(|row| place(row, seed) >= held_out)
}

/// The prompts of rows, to look others up in: text and a user's turn of the same words are one prompt.
pub fn known_prompts<'a>(rows: impl IntoIterator<Item = &'a Prompt>) -> HashSet<blake3::Hash> {
    rows.into_iter().map(digest).collect()
}

/// Whether a prompt is among those of [`known_prompts`].
pub fn is_among(prompt: &Prompt, prompts: &HashSet<blake3::Hash>) -> bool {
    prompts.contains(&digest(prompt))
}

fn digest(prompt: &Prompt) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    prompt.clone().into_chat().hash_prompt(&mut hasher);
    hasher.finalize()
}

/// Where a row's prompt stands between 0 and 1.
fn place<T: HasPrompt>(row: &T, seed: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"held-out split");
    hasher.update(&seed.to_le_bytes());
    row.hash_prompt(&mut hasher);
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    // 53 bits are what an f64 holds exactly.
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]) >> 11) as f64 / (1u64 << 53) as f64
}

impl HasPrompt for Prompt {
    fn hash_prompt(&self, hasher: &mut blake3::Hasher) {
        match self {
            Prompt::Chat(turns) => chat(turns, hasher),
            Prompt::Text(text) => part(b't', text.as_bytes(), hasher),
            Prompt::Ids(ids) => ids
                .iter()
                .for_each(|id| part(b'i', &id.to_le_bytes(), hasher)),
        }
    }
}

impl HasPrompt for Preference {
    fn hash_prompt(&self, hasher: &mut blake3::Hasher) {
        self.prompt.hash_prompt(hasher);
    }
}

impl HasPrompt for PromptRow {
    fn hash_prompt(&self, hasher: &mut blake3::Hasher) {
        self.prompt.hash_prompt(hasher);
    }
}

impl HasPrompt for Rating {
    fn hash_prompt(&self, hasher: &mut blake3::Hasher) {
        self.prompt.hash_prompt(hasher);
    }
}

impl HasPrompt for Sft {
    fn hash_prompt(&self, hasher: &mut blake3::Hasher) {
        match &self.messages {
            SftText::Chat(turns) => {
                let first = turns.iter().position(|turn| turn.role == "assistant");
                chat(&turns[..first.unwrap_or(turns.len())], hasher);
            }
            SftText::ChatCompletion(prompt, _) => chat(prompt, hasher),
            SftText::Completion(text, _) | SftText::Text(text) => {
                part(b't', text.as_bytes(), hasher)
            }
        }
    }
}

fn chat(turns: &[Message], hasher: &mut blake3::Hasher) {
    for turn in turns {
        part(b'r', turn.role.as_bytes(), hasher);
        part(b'c', turn.content.as_bytes(), hasher);
    }
}

/// A kind, a length and the bytes, so that no two lists of parts hash alike.
fn part(kind: u8, bytes: &[u8], hasher: &mut blake3::Hasher) {
    hasher.update(&[kind]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Origin, Unit};
    use crate::text::Answer;
    use std::path::PathBuf;
    use std::sync::Arc;

    fn row(prompt: &str, id: usize) -> Preference {
        Preference {
            id: id.to_string(),
            prompt: Prompt::Text(prompt.to_string()),
            chosen: Answer::Text(format!("good {id}")),
            rejected: Answer::Text("bad".to_string()),
            margin: None,
            subset: None,
            origin: Origin {
                file: Arc::new(PathBuf::from("x.jsonl")),
                line: id,
                unit: Unit::Line,
            },
        }
    }

    #[test]
    fn a_prompt_never_sits_in_both_parts() {
        let rows: Vec<_> = (0..2000)
            .map(|i| row(&format!("prompt {}", i % 500), i))
            .collect();
        let (train, held) = split(rows, 0.2, 0);
        assert_eq!(train.len() + held.len(), 2000);
        assert!(
            (300..500).contains(&held.len()),
            "{} of 2000 held out",
            held.len()
        );
        assert!(
            held.iter()
                .all(|h| train.iter().all(|t| t.prompt != h.prompt))
        );
        assert!(held.is_sorted_by_key(|row| row.origin.line));
    }

    #[test]
    fn the_line_stays_where_it_is_when_rows_come_and_another_seed_draws_another() {
        let ids = |count: usize, seed: u64| -> Vec<String> {
            let rows = (0..count).map(|i| row(&format!("prompt {i}"), i)).collect();
            split(rows, 0.3, seed)
                .1
                .into_iter()
                .map(|row| row.id)
                .collect()
        };
        let few = ids(100, 1);
        assert_eq!(ids(200, 1)[..few.len()], few);
        assert_ne!(ids(100, 2), few);
        assert_eq!(ids(100, 1), few);
    }

    #[test]
    fn nothing_and_everything_can_be_held_out() {
        let rows = || vec![row("a", 1), row("b", 2)];
        assert_eq!(split(rows(), 0.0, 0).1.len(), 0);
        assert_eq!(split(rows(), 1.0, 0).0.len(), 0);
    }
}
