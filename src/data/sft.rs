//! Conversations to imitate.

use super::fields::{Fields, Turns};
use super::load::{Shaped, load};
use super::report::{LoadOptions, Report};
use super::rows::{Origin, Sft};
use crate::error::Result;
use crate::text::{Dialogue, Message, SftText};
use std::path::PathBuf;

/// The shapes of SFT rows, for messages.
const SHAPES: &str = "{\"messages\"}, {\"conversations\"} (ShareGPT), {\"prompt\", \"completion\"}, {\"prompt\", \"chosen\"}, \
                      {\"instruction\", \"input\", \"output\"} (Alpaca), or {\"text\"}";

/// The reason of an answer that its reader did not like (`label`, as KTO's data has it).
const DISLIKED: &str = "`label` is false: not to be imitated";

/// Loads rows for supervised fine-tuning, in file order.
///
/// Rows are `{messages}`, `{conversations}` with `role`/`content` or ShareGPT's `from`/`value`, `{prompt, completion}` with text or
/// messages, preference rows (`chosen` is learned), Alpaca's `{instruction, input, output}`, or running `{text}`.
/// Rows without an assistant turn or without words, and those whose `label` is false, are dropped and counted.
pub fn load_sft(paths: &[PathBuf], options: &LoadOptions) -> Result<(Vec<Sft>, Report)> {
    load(paths, options, |fields, id, origin| {
        sft(fields, id, origin, options)
    })
}

fn sft(fields: &Fields, id: String, origin: Origin, options: &LoadOptions) -> Result<Shaped<Sft>> {
    if fields.truth("label")? == Some(false) {
        return Ok(Shaped::Dropped(DISLIKED));
    }
    let mut messages = text(fields)?;
    if let (SftText::Completion(prompt, completion), true) = (&messages, options.text_as_chat) {
        messages = SftText::ChatCompletion(
            vec![Message::user(prompt)],
            vec![Message::assistant(completion)],
        );
    }
    Ok(match unusable(&messages) {
        Some(reason) => Shaped::Dropped(reason),
        None => Shaped::Row(Sft {
            id,
            messages,
            origin,
        }),
    })
}

fn text(fields: &Fields) -> Result<SftText> {
    if let Some(turns) = conversation(fields)? {
        return Ok(SftText::Chat(turns));
    }
    for name in ["completion", "chosen"] {
        if let (Some(prompt), Some(completion)) = (fields.turns("prompt")?, fields.turns(name)?) {
            return Ok(completed(prompt, completion));
        }
    }
    if let Some(Turns::Chat(turns)) = fields.turns("chosen")? {
        return Ok(last_turn(turns));
    }
    if let Some(mut turns) = instruction(fields)? {
        let output = fields
            .text("output")?
            .ok_or_else(|| fields.missing("output"))?;
        turns.push(Message::assistant(output));
        return Ok(SftText::Chat(turns));
    }
    match fields.text("text")? {
        Some(text) => Ok(SftText::Text(text)),
        None => Err(fields.no_shape("nothing to learn from", SHAPES)),
    }
}

fn completed(prompt: Turns, completion: Turns) -> SftText {
    match (prompt, completion) {
        (Turns::Text(prompt), Turns::Text(completion)) => SftText::Completion(prompt, completion),
        (Turns::Chat(prompt), Turns::Text(completion)) => {
            SftText::ChatCompletion(prompt, vec![Message::assistant(completion)])
        }
        // Beside a prompt as text, `chosen` may be the whole conversation.
        (Turns::Text(_), Turns::Chat(turns))
            if turns.first().is_some_and(|m| m.role != "assistant") =>
        {
            last_turn(turns)
        }
        (Turns::Text(prompt), Turns::Chat(turns)) => {
            SftText::ChatCompletion(vec![Message::user(prompt)], turns)
        }
        (Turns::Chat(prompt), Turns::Chat(turns)) => match turns.strip_prefix(prompt.as_slice()) {
            Some(rest) => SftText::ChatCompletion(prompt.clone(), rest.to_vec()),
            None => SftText::ChatCompletion(prompt, turns),
        },
    }
}

/// A conversation of which the last turn is learned.
fn last_turn(mut turns: Dialogue) -> SftText {
    let last = turns.pop();
    SftText::ChatCompletion(turns, last.into_iter().collect())
}

/// `messages` or ShareGPT's `conversations`, with the `system` turn that some keep beside them.
pub(super) fn conversation(fields: &Fields) -> Result<Option<Dialogue>> {
    for name in ["messages", "conversations"] {
        if let Some(turns) = fields.dialogue(name)? {
            return Ok(Some(match turns.first() {
                Some(first) if first.role == "system" => turns,
                _ => [system(fields)?.into_iter().collect(), turns].concat(),
            }));
        }
    }
    Ok(None)
}

/// The system turn of a row that has a column for it.
fn system(fields: &Fields) -> Result<Option<Message>> {
    let system = fields.text("system")?.filter(|system| !system.is_empty());
    Ok(system.map(|system| Message::new("system", system)))
}

/// Alpaca's instruction with its optional input, its system turn and the turns before it.
pub(super) fn instruction(fields: &Fields) -> Result<Option<Dialogue>> {
    let Some(instruction) = fields.text("instruction")? else {
        return Ok(None);
    };
    let mut turns: Dialogue = system(fields)?.into_iter().collect();
    for (question, answer) in fields.exchanges("history")? {
        turns.extend([Message::user(question), Message::assistant(answer)]);
    }
    turns.push(Message::user(match fields.text("input")? {
        Some(input) if !input.is_empty() => format!("{instruction}\n\n{input}"),
        _ => instruction,
    }));
    Ok(Some(turns))
}

/// Why a row teaches nothing.
fn unusable(text: &SftText) -> Option<&'static str> {
    let (turns, words) = match text {
        SftText::Chat(turns) | SftText::ChatCompletion(_, turns) => (Some(turns), ""),
        SftText::Completion(_, words) | SftText::Text(words) => (None, words.as_str()),
    };
    let Some(turns) = turns else {
        return words.trim().is_empty().then_some("empty response");
    };
    let mut answers = turns
        .iter()
        .filter(|turn| turn.role == "assistant")
        .peekable();
    if answers.peek().is_none() {
        return Some("no assistant turn");
    }
    answers
        .all(|turn| turn.content.trim().is_empty())
        .then_some("empty response")
}
