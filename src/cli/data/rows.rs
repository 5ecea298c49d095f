//! Rows of whichever kind a file holds, and the tokens that they become.

use super::solutions;
use crate::data::{
    LoadOptions, Origin, Preference, Problem, PromptRow, Ratings, Report, Sft, has_labels,
    has_pairs, has_ratings, load_preferences, load_problems, load_prompts, load_ratings, load_sft,
};
use crate::error::Result;
use crate::text::{Chat, Encoded as Answered, EncodedPair, Prompt, SftText, Spans};
use clap::ValueEnum;
use std::path::PathBuf;

/// What `--as` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum As {
    /// The first of the others that some row is.
    Auto,
    /// A prompt with a chosen and a rejected response.
    Preference,
    /// A problem with solutions and labels of them or of their steps.
    Steps,
    /// A conversation or text to imitate.
    Sft,
    /// A response with a number for each attribute that somebody rated.
    Ratings,
    /// Something to respond to.
    Prompt,
}

/// The rows of a file.
pub(super) enum Rows {
    /// Pairs.
    Preference(Vec<Preference>),
    /// Problems with solutions.
    Steps(Vec<Problem>),
    /// Rated responses.
    Ratings(Ratings),
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
    /// A prompt with a response that is judged.
    Judged(Answered),
    /// What a response follows.
    Prompt(Vec<u32>),
}

impl Tokens {
    /// Of the longest sequence that the row becomes.
    pub fn length(&self) -> usize {
        match self {
            Self::Pair(pair) => pair.prompt.len() + pair.chosen.len().max(pair.rejected.len()),
            Self::Learned(spans) => spans.ids.len(),
            Self::Judged(row) => row.prompt.len() + row.answer.len(),
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

/// Loads files as rows of a kind.
///
/// # Errors
/// What the loader reports; of a file that is of no kind, what is wrong with it as prompts, the simplest.
pub(super) fn load(files: &[PathBuf], kind: As, options: &LoadOptions) -> Result<(Rows, Report)> {
    if kind != As::Auto {
        return load_as(files, kind, options);
    }
    if has_pairs(files, options) {
        return load_as(files, As::Preference, options);
    }
    if has_labels(files, options) {
        return load_as(files, As::Steps, options);
    }
    // One good row tells the kind: a bad row before it must not make a file of conversations one of prompts.
    let one_row = LoadOptions {
        skip_bad: true,
        limit: Some(1),
        allow_none: false,
        ..options.clone()
    };
    let kind = match load_as(files, As::Sft, &one_row) {
        Ok(_) => As::Sft,
        Err(_) if has_ratings(files, options) => As::Ratings,
        Err(_) => As::Prompt,
    };
    load_as(files, kind, options)
}

fn load_as(files: &[PathBuf], kind: As, options: &LoadOptions) -> Result<(Rows, Report)> {
    match kind {
        As::Preference => {
            load_preferences(files, options).map(|(rows, report)| (Rows::Preference(rows), report))
        }
        As::Steps => {
            load_problems(files, options).map(|(rows, report)| (Rows::Steps(rows), report))
        }
        As::Ratings => {
            load_ratings(files, options, &[]).map(|(rows, report)| (Rows::Ratings(rows), report))
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
            Self::Steps(_) => "steps",
            Self::Ratings(_) => "ratings",
            Self::Sft(_) => "sft",
            Self::Prompt(_) => "prompt",
        }
    }

    /// The prompt of every row, where it is plain text.
    pub fn plain_prompts(&self) -> Vec<Option<&str>> {
        match self {
            Self::Preference(rows) => rows.iter().map(|row| row.prompt.plain()).collect(),
            // Marks are asked for by the template alone.
            Self::Steps(_) => Vec::new(),
            Self::Ratings(ratings) => ratings.rows.iter().map(|row| row.prompt.plain()).collect(),
            Self::Sft(rows) => rows.iter().map(|row| row.messages.plain()).collect(),
            Self::Prompt(rows) => rows.iter().map(|row| row.prompt.plain()).collect(),
        }
    }

    /// What every row begins with, up to the first answer.
    pub fn prompts(&self) -> Vec<Prompt> {
        match self {
            Self::Preference(rows) => rows.iter().map(|row| row.prompt.clone()).collect(),
            Self::Steps(rows) => rows.iter().map(|row| row.prompt.clone()).collect(),
            Self::Ratings(ratings) => ratings.rows.iter().map(|row| row.prompt.clone()).collect(),
            Self::Sft(rows) => rows.iter().map(|row| asked(&row.messages)).collect(),
            Self::Prompt(rows) => rows.iter().map(|row| row.prompt.clone()).collect(),
        }
    }

    /// What the rows say of themselves beside their number.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Steps(rows) => solutions::notes(rows),
            Self::Ratings(ratings) => vec![format!("ratings of {}", ratings.attributes.join(", "))],
            Self::Prompt(rows) => answers(rows).into_iter().collect(),
            Self::Preference(_) | Self::Sft(_) => Vec::new(),
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
            Self::Steps(rows) => rows
                .iter()
                .flat_map(|row| solutions::encode(row, chat))
                .collect(),
            Self::Ratings(ratings) => ratings
                .rows
                .iter()
                .map(|row| Encoded {
                    id: &row.id,
                    origin: &row.origin,
                    tokens: chat.pair(&row.prompt, &row.answer).map(Tokens::Judged),
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

/// How many prompts have the right answer, where some have.
fn answers(rows: &[PromptRow]) -> Option<String> {
    let there = rows.iter().filter(|row| row.answer.is_some()).count();
    let without = rows.len() - there;
    let line = match without {
        0 => format!("all {there} rows have an `answer`"),
        _ => format!(
            "{without} of {} rows have no `answer`: the rule `answer` and `duel steps` refuse those",
            rows.len()
        ),
    };
    (there > 0).then_some(line)
}

/// What an SFT row asks: running text asks nothing but itself.
fn asked(row: &SftText) -> Prompt {
    match row {
        SftText::Text(text) | SftText::Completion(text, _) => Prompt::Text(text.clone()),
        SftText::ChatCompletion(turns, _) => Prompt::Chat(turns.clone()),
        SftText::Chat(turns) => {
            let before = turns.iter().take_while(|turn| turn.role != "assistant");
            Prompt::Chat(before.cloned().collect())
        }
    }
}
