//! Rows of whichever kind a file holds, and the tokens that they become.

use crate::data::{
    LoadOptions, Origin, Preference, PromptRow, Report, Sft, has_pairs, load_preferences,
    load_prompts, load_sft,
};
use crate::error::Result;
use crate::text::{Chat, EncodedPair, Spans};
use clap::ValueEnum;
use std::path::PathBuf;

/// What `--as` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum As {
    /// The first of the other three that some row is.
    Auto,
    /// A prompt with a chosen and a rejected response.
    Preference,
    /// A conversation or text to imitate.
    Sft,
    /// Something to respond to.
    Prompt,
}

/// The rows of a file.
pub(super) enum Rows {
    /// Pairs.
    Preference(Vec<Preference>),
    /// Conversations to imitate.
    Sft(Vec<Sft>),
    /// Prompts.
    Prompt(Vec<PromptRow>),
}

/// A row as tokens.
pub(super) enum Tokens {
    /// A prompt with two responses.
    Pair(EncodedPair),
    /// A sequence with what is learned of it.
    Learned(Spans),
    /// What a response follows.
    Prompt(Vec<u32>),
}

impl Tokens {
    /// Of the longest sequence that the row becomes.
    pub fn length(&self) -> usize {
        match self {
            Self::Pair(pair) => pair.prompt.len() + pair.chosen.len().max(pair.rejected.len()),
            Self::Learned(spans) => spans.ids.len(),
            Self::Prompt(ids) => ids.len(),
        }
    }
}

/// A row's name and place, with its tokens or why it has none.
pub(super) struct Encoded<'a> {
    pub id: &'a str,
    pub origin: &'a Origin,
    pub tokens: Result<Tokens>,
}

/// Loads a file as rows of a kind.
///
/// # Errors
/// What the loader reports; of a file that is of no kind, what is wrong with it as prompts, the simplest.
pub(super) fn load(file: PathBuf, kind: As, options: &LoadOptions) -> Result<(Rows, Report)> {
    let files = [file];
    if kind != As::Auto {
        return load_as(&files, kind, options);
    }
    if has_pairs(&files, options) {
        return load_as(&files, As::Preference, options);
    }
    // One good row tells the kind: a bad row before it must not make a file of conversations one of prompts.
    let one_row = LoadOptions {
        skip_bad: true,
        limit: Some(1),
        allow_none: false,
        ..options.clone()
    };
    let kind = match load_as(&files, As::Sft, &one_row) {
        Ok(_) => As::Sft,
        Err(_) => As::Prompt,
    };
    load_as(&files, kind, options)
}

fn load_as(files: &[PathBuf], kind: As, options: &LoadOptions) -> Result<(Rows, Report)> {
    match kind {
        As::Preference => {
            load_preferences(files, options).map(|(rows, report)| (Rows::Preference(rows), report))
        }
        As::Sft => load_sft(files, options).map(|(rows, report)| (Rows::Sft(rows), report)),
        As::Prompt | As::Auto => {
            load_prompts(files, options).map(|(rows, report)| (Rows::Prompt(rows), report))
        }
    }
}

impl Rows {
    /// The kind's name, as `--as` takes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Preference(_) => "preference",
            Self::Sft(_) => "sft",
            Self::Prompt(_) => "prompt",
        }
    }

    /// The prompt of every row, where it is plain text.
    pub fn plain_prompts(&self) -> Vec<Option<&str>> {
        match self {
            Self::Preference(rows) => rows.iter().map(|row| row.prompt.plain()).collect(),
            Self::Sft(rows) => rows.iter().map(|row| row.messages.plain()).collect(),
            Self::Prompt(rows) => rows.iter().map(|row| row.prompt.plain()).collect(),
        }
    }

    /// The tokens of every row.
    pub fn encode(&self, chat: &Chat) -> Vec<Encoded<'_>> {
        match self {
            Self::Preference(rows) => rows
                .iter()
                .map(|row| Encoded {
                    id: &row.id,
                    origin: &row.origin,
                    tokens: chat
                        .preference(&row.prompt, &row.chosen, &row.rejected)
                        .map(Tokens::Pair),
                })
                .collect(),
            Self::Sft(rows) => rows
                .iter()
                .map(|row| Encoded {
                    id: &row.id,
                    origin: &row.origin,
                    tokens: chat.sft(&row.messages).map(Tokens::Learned),
                })
                .collect(),
            Self::Prompt(rows) => rows
                .iter()
                .map(|row| Encoded {
                    id: &row.id,
                    origin: &row.origin,
                    tokens: chat.prompt(&row.prompt).map(Tokens::Prompt),
                })
                .collect(),
        }
    }
}
