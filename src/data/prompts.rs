//! Prompts to respond to, and responses to judge.

use super::fields::{Fields, Turns};
use super::load::{Shaped, load};
use super::preference;
use super::report::{LoadOptions, Needs, Report};
use super::rows::{Noted, Origin, PromptRow};
use super::sft::{conversation, instruction};
use crate::error::{Error, Result};
use crate::text::{Answer, Dialogue, Message, Prompt};
use serde_json::Value;
use std::path::PathBuf;

/// The shapes of prompt rows, for messages.
const SHAPES: &str = "{\"prompt\"} with text or messages, {\"prompt\", \"responses\"}, {\"context_messages\"}, {\"messages\"}, \
                      {\"instruction\", \"input\"}, or a preference row";

/// Loads prompts, in file order, with the responses that the rows have.
///
/// Rows are `{prompt}` with text or messages, `{context_messages}`, `{messages}` (a last assistant turn is cut off),
/// `{prompt, responses}`, preference rows (their responses are chosen and rejected, in this order), `{instruction, input}`,
/// or `{prompt_ids}`. Rows with an empty prompt are dropped and counted.
pub fn load_prompts(paths: &[PathBuf], options: &LoadOptions) -> Result<(Vec<PromptRow>, Report)> {
    load(paths, options, |fields, id, origin| {
        prompt_row(fields, id, origin, options)
    })
}

fn prompt_row(
    fields: &Fields,
    id: String,
    origin: Origin,
    options: &LoadOptions,
) -> Result<Shaped<PromptRow>> {
    let mut is_pair = false;
    let (prompt, responses) = match fields.texts("responses")? {
        Some(responses) => (prompt(fields)?, responses),
        None if ["chosen", "rejected", "chosen_ids", "rejected_ids"]
            .iter()
            .any(|name| fields.has(name)) =>
        {
            let (prompt, chosen, rejected) = preference::pair(fields, options)?;
            is_pair = true;
            (prompt, vec![words(chosen)?, words(rejected)?])
        }
        None => (prompt(fields)?, Vec::new()),
    };
    let prompt = match options.text_as_chat {
        true => prompt.into_chat(),
        false => prompt,
    };
    if prompt.is_blank() {
        return Ok(Shaped::Dropped("empty prompt"));
    }
    let noted = match is_pair {
        true => Noted::default(),
        false => noted(fields, responses.len())?,
    };
    let answer = answer(fields);
    if options.needs == Needs::Answer && answer.is_none() {
        return Err(no_answer());
    }
    Ok(Shaped::Row(PromptRow {
        id,
        prompt,
        responses,
        noted,
        is_pair,
        answer,
        origin,
    }))
}

/// Nobody can say whether a response to this row is right.
pub(super) fn no_answer() -> Error {
    Error::data("the row has no `answer` to compare with").hint(
        "give every row its right `answer` (`duel generate` keeps it beside the responses), or leave such rows out with \
         `--skip-bad` (in a recipe, `skip_bad = true` in the data's table)",
    )
}

/// What the row says of each of its `count` responses.
fn noted(fields: &Fields, count: usize) -> Result<Noted> {
    let finished = |value: &Value| match value.as_str()? {
        "stop" => Some(true),
        "length" => Some(false),
        _ => None,
    };
    let tokens = |value: &Value| value.as_u64().map(|tokens| tokens as usize);
    let reward = |value: &Value| value.as_f64().map(|reward| reward as f32);
    Ok(Noted {
        finished: fields.each("finish", count, "\"stop\" or \"length\"", finished)?,
        tokens: fields.each("tokens", count, "a count", tokens)?,
        rewards: fields.each("rewards", count, "a finite number", |value| {
            reward(value).filter(|reward| reward.is_finite())
        })?,
    })
}

/// The right answer, as text or a number. What else stands under the name is not meant for a judge.
pub(super) fn answer(fields: &Fields) -> Option<String> {
    match fields.get("answer")? {
        Value::String(text) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn prompt(fields: &Fields) -> Result<Prompt> {
    if let Some(ids) = fields.prompt_ids()? {
        return Ok(Prompt::Ids(ids));
    }
    if let (Some(turns), false) = (fields.turns("prompt")?, fields.has("context_messages")) {
        return Ok(match turns {
            Turns::Text(text) => Prompt::Text(text),
            Turns::Chat(turns) => Prompt::Chat(turns),
        });
    }
    match asked(fields)? {
        Some(turns) => Ok(Prompt::Chat(turns)),
        None => Err(fields.no_shape("no prompt", SHAPES)),
    }
}

/// The conversation up to the response, of a row that calls it neither `prompt` nor by ids.
pub(super) fn asked(fields: &Fields) -> Result<Option<Dialogue>> {
    if let Some(turns) = fields.dialogue("context_messages")? {
        return Ok(Some(turns));
    }
    match conversation(fields)? {
        Some(turns) => Ok(Some(without_last_answer(turns))),
        None => instruction(fields),
    }
}

/// A conversation up to the assistant's last turn, if it ends with one.
fn without_last_answer(mut turns: Dialogue) -> Dialogue {
    if turns.last().is_some_and(|turn| turn.role == "assistant") {
        turns.pop();
    }
    turns
}

/// The text of a response; whatever judges reads one turn.
fn words(answer: Answer) -> Result<String> {
    match answer {
        Answer::Text(text) => Ok(text),
        Answer::Chat(turns) => match <[Message; 1]>::try_from(turns) {
            Ok([turn]) => Ok(turn.content),
            Err(turns) => Err(Error::data(format!(
                "a response of {} turns cannot be judged, one turn can",
                turns.len()
            ))),
        },
        Answer::Ids(_) => Err(Error::data(
            "responses given as token ids cannot be judged, text can",
        )),
    }
}
