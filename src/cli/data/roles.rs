//! Roles of messages that chat templates do not know: a template passes such a turn over, or writes it as it stands.

use super::rows::Rows;
use crate::text::{Answer, Dialogue, Prompt, SftText};
use std::collections::BTreeMap;

/// Those of chat templates, and what their programs' callers answer with.
const KNOWN: [&str; 8] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
    "ipython",
    "environment",
];

/// A line for each role that is none of them, with the number of turns that have it.
pub(super) fn notes(rows: &Rows) -> Vec<String> {
    let mut unknown: BTreeMap<&str, usize> = BTreeMap::new();
    let messages = dialogues(rows).into_iter().flatten();
    for message in messages.filter(|message| !KNOWN.contains(&message.role.as_str())) {
        *unknown.entry(&message.role).or_default() += 1;
    }
    let line = |(role, turns): (&str, usize)| {
        let turns = match turns {
            1 => "1 turn has".to_owned(),
            turns => format!("{turns} turns have"),
        };
        format!(
            "{turns} the role `{role}`, which chat templates seldom know: such a turn may be left out without a word"
        )
    };
    unknown.into_iter().map(line).collect()
}

/// The conversations of all rows.
fn dialogues(rows: &Rows) -> Vec<&Dialogue> {
    fn of_prompt(prompt: &Prompt) -> Option<&Dialogue> {
        match prompt {
            Prompt::Chat(turns) => Some(turns),
            _ => None,
        }
    }
    fn of_answer(answer: &Answer) -> Option<&Dialogue> {
        match answer {
            Answer::Chat(turns) => Some(turns),
            _ => None,
        }
    }
    match rows {
        Rows::Preference(rows) => rows
            .iter()
            .flat_map(|row| {
                let answers = [&row.chosen, &row.rejected].map(of_answer);
                of_prompt(&row.prompt)
                    .into_iter()
                    .chain(answers.into_iter().flatten())
            })
            .collect(),
        Rows::Steps(rows) => rows
            .iter()
            .filter_map(|row| of_prompt(&row.prompt))
            .collect(),
        Rows::Ratings(ratings) => ratings
            .rows
            .iter()
            .flat_map(|row| {
                of_prompt(&row.prompt)
                    .into_iter()
                    .chain(of_answer(&row.answer))
            })
            .collect(),
        Rows::Sft(rows) => rows
            .iter()
            .flat_map(|row| match &row.messages {
                SftText::Chat(turns) => vec![turns],
                SftText::ChatCompletion(before, after) => vec![before, after],
                SftText::Completion(..) | SftText::Text(_) => Vec::new(),
            })
            .collect(),
        Rows::Prompt(rows) => rows
            .iter()
            .filter_map(|row| of_prompt(&row.prompt))
            .collect(),
    }
}
