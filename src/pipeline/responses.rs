//! `responses.jsonl` and `scores.jsonl`: prompts with their responses, and what a judge gave them.

use crate::data::{Key, PromptRow};
use crate::error::{Error, Result};
use crate::generate::{Engine, Finish, Prompted};
use crate::run::{Journal, Keyed};
use crate::text::{Dialogue, Fit, Limits, Prompt};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// A prompt as it stands in a file: turns, text, or ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PromptField {
    /// A conversation.
    Chat(Dialogue),
    /// Plain text.
    Text(String),
    /// Token ids.
    Ids(Vec<u32>),
}

impl From<&Prompt> for PromptField {
    fn from(prompt: &Prompt) -> Self {
        match prompt {
            Prompt::Chat(turns) => Self::Chat(turns.clone()),
            Prompt::Text(text) => Self::Text(text.clone()),
            Prompt::Ids(ids) => Self::Ids(ids.clone()),
        }
    }
}

impl From<PromptField> for Prompt {
    fn from(field: PromptField) -> Self {
        match field {
            PromptField::Chat(turns) => Self::Chat(turns),
            PromptField::Text(text) => Self::Text(text),
            PromptField::Ids(ids) => Self::Ids(ids),
        }
    }
}

impl PromptField {
    /// The last thing that was asked, for a person to read.
    pub fn shown(&self) -> String {
        match self {
            Self::Chat(turns) => turns
                .last()
                .map(|turn| turn.content.clone())
                .unwrap_or_default(),
            Self::Text(text) => text.clone(),
            Self::Ids(ids) => format!("{} tokens", ids.len()),
        }
    }
}

/// One line of `responses.jsonl`; with rewards, of `scores.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRow {
    /// The prompt's name.
    pub id: String,
    /// The prompt.
    pub prompt: PromptField,
    /// The responses, without end markers.
    pub responses: Vec<String>,
    /// How each ended.
    pub finish: Vec<Finish>,
    /// Tokens of each; absent where nobody counted them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<usize>,
    /// What the judge gave each; in responses.jsonl absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewards: Vec<f32>,
    /// The right answer, where the prompt's row says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl Keyed for GroupRow {
    fn id(&self) -> &str {
        &self.id
    }
}

impl GroupRow {
    /// Whether each response ended by itself.
    pub fn finished(&self) -> Vec<bool> {
        self.finish
            .iter()
            .map(|finish| *finish == Finish::Stop)
            .collect()
    }
}

/// Prompts that a terminal lists.
const SHOWN: usize = 20;

/// Says which prompts get no response.
fn list_left_out(rows: &[&PromptRow]) {
    if rows.is_empty() {
        return;
    }
    tracing::warn!(
        "{} prompts leave no room for a response and were left out",
        rows.len()
    );
    for row in rows.iter().take(SHOWN) {
        tracing::info!("left out: {} ({})", row.origin, row.id);
    }
    if rows.len() > SHOWN {
        tracing::info!("and {} more", rows.len() - SHOWN);
    }
}

/// A prompt that nobody has answered yet: a line of `prompts.jsonl`.
pub fn asked(row: &PromptRow) -> GroupRow {
    GroupRow {
        id: row.id.clone(),
        prompt: (&row.prompt).into(),
        responses: Vec::new(),
        finish: Vec::new(),
        tokens: Vec::new(),
        rewards: Vec::new(),
        answer: row.answer.clone(),
    }
}

/// Responses that a file has, with what it says of them. Files that do not say how they ended are those of other
/// programs: their responses count as ended.
pub fn read(row: &PromptRow) -> GroupRow {
    let ended = |finished: &bool| match finished {
        true => Finish::Stop,
        false => Finish::Length,
    };
    GroupRow {
        id: row.id.clone(),
        prompt: (&row.prompt).into(),
        responses: row.responses.clone(),
        finish: match row.noted.finished.is_empty() {
            true => vec![Finish::Stop; row.responses.len()],
            false => row.noted.finished.iter().map(ended).collect(),
        },
        tokens: row.noted.tokens.clone(),
        rewards: row.noted.rewards.clone(),
        answer: row.answer.clone(),
    }
}

/// Draws responses for the prompts that `out` does not answer yet, and returns all rows in the prompts' order.
///
/// Where `limits` are given, the model reads a long prompt without its beginning, or the prompt is left out. The file
/// keeps it whole: whoever reads it next may have another tokenizer and other limits.
///
/// # Errors
/// What the engine or the file reports; rows already written stay.
pub fn generate(
    engine: &Engine,
    prompts: &[PromptRow],
    limits: Option<&Limits>,
    key: Key,
    out: &Path,
) -> Result<Vec<GroupRow>> {
    let (mut journal, mut rows) = Journal::<GroupRow>::open(out)?;
    let mut open = Vec::new();
    let mut waiting = Vec::new();
    let mut left_out = Vec::new();
    for row in prompts.iter().filter(|row| !journal.contains(&row.id)) {
        let mut tokens = engine
            .chat
            .prompt(&row.prompt)
            .map_err(|e| e.at(&row.origin))?;
        if tokens.is_empty() {
            return Err(Error::data("the prompt has no tokens").at(&row.origin));
        }
        let fit = limits.map_or(Fit::Whole, |limits| limits.prompt(&mut tokens, 0));
        if matches!(fit, Fit::Dropped(_)) {
            left_out.push(row);
            continue;
        }
        open.push(row);
        waiting.push(Prompted {
            id: row.id.clone(),
            tokens,
        });
    }
    list_left_out(&left_out);
    let span = info_span!("generate");
    span.pb_set_message("generate");
    span.pb_set_length(prompts.len() as u64);
    span.pb_set_position(rows.len() as u64);
    let entered = span.enter();
    let mut at = 0;
    engine.generate(&waiting, key, &mut |_, drawn| {
        let row = GroupRow {
            id: open[at].id.clone(),
            prompt: (&open[at].prompt).into(),
            finish: drawn.iter().map(|d| d.finish).collect(),
            tokens: drawn.iter().map(|d| d.tokens.len()).collect(),
            responses: drawn.into_iter().map(|d| d.text).collect(),
            rewards: Vec::new(),
            answer: open[at].answer.clone(),
        };
        journal.append(&row)?;
        rows.push(row);
        at += 1;
        span.pb_inc(1);
        Ok(())
    })?;
    drop(entered);
    journal.finish()?;
    Ok(rows)
}
