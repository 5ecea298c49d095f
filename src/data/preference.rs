//! Preference rows: a prompt and two responses, one preferred.

use super::fields::{Fields, Turns};
use super::load::{Shaped, load};
use super::prompts::asked;
use super::report::{LoadOptions, Report};
use super::rows::{Origin, Preference};
use super::transcript;
use crate::error::{Error, Result};
use crate::text::{Answer, Dialogue, Message, Prompt};
use std::path::PathBuf;

/// The shapes of preference rows, for messages.
const SHAPES: &str = "{\"prompt\", \"chosen\", \"rejected\"} with text or messages, {\"chosen\", \"rejected\"} with whole \
                      conversations, or {\"prompt_ids\", \"chosen_ids\", \"rejected_ids\"}";

const EQUAL: &str = "chosen and rejected are equal";
const NO_ASSISTANT: &str = "no assistant turn";
const NO_PROMPT: &str = "empty prompt";
const NO_RESPONSE: &str = "empty response";
const NOT_STANDARD: &str = "not in the standard format";

/// Loads preference pairs, in file order.
///
/// Rows are `{prompt, chosen, rejected}` with text, messages or one message each, `{chosen, rejected}` with whole
/// conversations (the prompt is what they share), Anthropic's `\n\nHuman: ` transcripts, or ids. `margin`, or
/// `chosen_score` and `rejected_score`, say by how much. Equal or empty responses are dropped and counted.
pub fn load_preferences(
    paths: &[PathBuf],
    options: &LoadOptions,
) -> Result<(Vec<Preference>, Report)> {
    load(paths, options, |fields, id, origin| {
        preference(fields, id, origin, options)
    })
}

/// Whether some row is meant to be a pair, well-formed or not: it has `chosen` or `rejected`, or something spelt much
/// like them.
pub fn has_pairs(paths: &[PathBuf], options: &LoadOptions) -> bool {
    let any = LoadOptions {
        skip_bad: true,
        limit: Some(1),
        allow_none: false,
        ..options.clone()
    };
    let meant = |fields: &Fields| {
        let names = ["chosen", "rejected"];
        let ids = ["chosen_ids", "rejected_ids"];
        names.iter().chain(&ids).any(|name| fields.has(name))
            || names.iter().all(|name| fields.misspelt(name).is_some())
    };
    load(paths, &any, |fields, _, _| match meant(fields) {
        true => Ok(Shaped::Row(())),
        false => Ok(Shaped::Dropped("no pair")),
    })
    .is_ok()
}

fn preference(
    fields: &Fields,
    id: String,
    origin: Origin,
    options: &LoadOptions,
) -> Result<Shaped<Preference>> {
    let (prompt, chosen, rejected) = pair(fields, options)?;
    if let Some(reason) = unusable(&prompt, &chosen, &rejected) {
        return Ok(Shaped::Dropped(reason));
    }
    if options.standard_only && !standard(&prompt, &chosen, &rejected) {
        return Ok(Shaped::Dropped(NOT_STANDARD));
    }
    let margin = margin(fields)?;
    Ok(Shaped::Row(Preference {
        id,
        prompt,
        chosen,
        rejected,
        margin,
        subset: fields.name("subset"),
        origin,
    }))
}

/// The prompt and the two responses of a row, usable or not.
pub(super) fn pair(fields: &Fields, options: &LoadOptions) -> Result<(Prompt, Answer, Answer)> {
    if let Some(prompt) = fields.prompt_ids()? {
        if let (Some(chosen), Some(rejected)) = (fields.text("chosen")?, fields.text("rejected")?) {
            return Ok((
                Prompt::Ids(prompt),
                Answer::Text(chosen),
                Answer::Text(rejected),
            ));
        }
        let ids = |name| fields.ids(name)?.ok_or_else(|| fields.missing(name));
        let [chosen, rejected] = [ids("chosen_ids")?, ids("rejected_ids")?];
        return Ok((
            Prompt::Ids(prompt),
            Answer::Ids(chosen),
            Answer::Ids(rejected),
        ));
    }
    if !fields.has("chosen") && !fields.has("rejected") {
        return Err(fields.no_shape("no preference pair", SHAPES));
    }
    let response = |name| fields.turns(name)?.ok_or_else(|| fields.missing(name));
    let [chosen, rejected] = [response("chosen")?, response("rejected")?];
    let prompt = match fields.turns("prompt")? {
        Some(prompt) => Some(prompt),
        None => asked(fields)?.map(Turns::Chat),
    };
    let (prompt, chosen, rejected) = match prompt {
        Some(prompt) => explicit(prompt, chosen, rejected)?,
        None => {
            if let (Turns::Text(_), Some(column)) = (&chosen, unread_prompt(fields)) {
                return Err(Error::data(format!(
                    "`prompt` is missing, and `{column}` is not read"
                ))
                .hint(format!(
                    "`--column prompt={column}` says that it is the prompt (in a recipe, `columns = {{ prompt = \"{column}\" \
                     }}` in the data's table)"
                )));
            }
            implicit(chosen, rejected)?
        }
    };
    Ok(match options.text_as_chat {
        true => (prompt.into_chat(), chosen.into_chat(), rejected.into_chat()),
        false => (prompt, chosen, rejected),
    })
}

/// A column that other data sets keep their prompt in. What both responses begin with is then hardly the prompt.
fn unread_prompt(fields: &Fields) -> Option<&'static str> {
    let usual = ["question", "query", "problem", "input", "context", "text"];
    usual.into_iter().find(|name| fields.has(name))
}

/// A row that names its prompt.
fn explicit(prompt: Turns, chosen: Turns, rejected: Turns) -> Result<(Prompt, Answer, Answer)> {
    let prompt = match (prompt, &chosen, &rejected) {
        (Turns::Text(prompt), Turns::Text(c), Turns::Text(r)) => {
            return Ok((
                Prompt::Text(prompt),
                Answer::Text(c.clone()),
                Answer::Text(r.clone()),
            ));
        }
        // A prompt repeated as text beside whole conversations, as in UltraFeedback: the conversations are complete.
        (Turns::Text(_), Turns::Chat(c), Turns::Chat(_))
            if c.first().is_some_and(|m| m.role != "assistant") =>
        {
            return implicit(chosen, rejected);
        }
        (Turns::Text(prompt), ..) => vec![Message::user(prompt)],
        (Turns::Chat(prompt), ..) => prompt,
    };
    let [chosen, rejected] = [chosen, rejected].map(|turns| Answer::Chat(after(&prompt, turns)));
    Ok((Prompt::Chat(prompt), chosen, rejected))
}

/// The turns of a response, without the prompt where the row repeats it.
fn after(prompt: &[Message], turns: Turns) -> Dialogue {
    match turns {
        Turns::Text(text) => vec![Message::assistant(text)],
        Turns::Chat(turns) => match turns.strip_prefix(prompt) {
            Some(rest) => rest.to_vec(),
            None => turns,
        },
    }
}

/// A row whose prompt is what both responses begin with.
fn implicit(chosen: Turns, rejected: Turns) -> Result<(Prompt, Answer, Answer)> {
    let (chosen, rejected) = match (chosen, rejected) {
        (Turns::Chat(chosen), Turns::Chat(rejected)) => (chosen, rejected),
        (Turns::Text(c), Turns::Text(r)) => match (transcript::turns(&c), transcript::turns(&r)) {
            (Some(chosen), Some(rejected)) => (chosen, rejected),
            _ => return Ok(shared_text(&c, &r)),
        },
        _ => {
            return Err(Error::data("`chosen` and `rejected` have different forms")
                .hint("give both as messages or both as text"));
        }
    };
    let shared = chosen
        .iter()
        .zip(&rejected)
        .take_while(|(c, r)| c == r)
        .count();
    // Two equal conversations share even the response; the row is dropped as equal, with its prompt intact.
    let shared = match chosen == rejected {
        true => shared.saturating_sub(1),
        false => shared,
    };
    if shared == 0 {
        for (name, turns) in [("chosen", &chosen), ("rejected", &rejected)] {
            if !turns.iter().any(|turn| turn.role == "assistant") {
                return Err(Error::data(format!("`{name}` has no assistant turn")));
            }
        }
        return Err(Error::data(
            "`prompt` is missing, and `chosen` and `rejected` share no first turn",
        ));
    }
    let [c, r] = [&chosen, &rejected].map(|turns| Answer::Chat(turns[shared..].to_vec()));
    Ok((Prompt::Chat(chosen[..shared].to_vec()), c, r))
}

/// The common beginning of two texts, as TRL cuts it: a space before the parting stays with the responses.
fn shared_text(chosen: &str, rejected: &str) -> (Prompt, Answer, Answer) {
    let same = chosen
        .chars()
        .zip(rejected.chars())
        .take_while(|(c, r)| c == r);
    let at: usize = same.map(|(c, _)| c.len_utf8()).sum();
    let at = chosen[..at].strip_suffix(' ').map_or(at, str::len);
    let text = |text: &str| Answer::Text(text[at..].to_string());
    (
        Prompt::Text(chosen[..at].to_string()),
        text(chosen),
        text(rejected),
    )
}

/// `margin`, or the difference of the scores.
fn margin(fields: &Fields) -> Result<Option<f32>> {
    if let Some(margin) = fields.number("margin")? {
        return Ok(Some(margin));
    }
    for [chosen, rejected] in [
        ["chosen_score", "rejected_score"],
        ["score_chosen", "score_rejected"],
    ] {
        match (fields.number(chosen)?, fields.number(rejected)?) {
            (Some(chosen), Some(rejected)) => return Ok(Some(chosen - rejected)),
            (None, None) => {}
            (Some(_), None) => return Err(fields.missing(rejected)),
            (None, Some(_)) => return Err(fields.missing(chosen)),
        }
    }
    Ok(None)
}

/// Why a pair teaches nothing.
fn unusable(prompt: &Prompt, chosen: &Answer, rejected: &Answer) -> Option<&'static str> {
    if prompt.is_blank() {
        return Some(NO_PROMPT);
    }
    if chosen == rejected {
        return Some(EQUAL);
    }
    for answer in [chosen, rejected] {
        if let Answer::Chat(turns) = answer
            && !turns.iter().any(|turn| turn.role == "assistant")
        {
            return Some(NO_ASSISTANT);
        }
        if answer.is_blank() {
            return Some(NO_RESPONSE);
        }
    }
    None
}

/// The filter of "RLHF Workflow" before preference models: both conversations have an even, equal number of turns that
/// strictly alternate between user and assistant, no turn is empty, and only the last one differs. Only
/// conversations are judged.
fn standard(prompt: &Prompt, chosen: &Answer, rejected: &Answer) -> bool {
    let (Prompt::Chat(prompt), Answer::Chat(chosen), Answer::Chat(rejected)) =
        (prompt, chosen, rejected)
    else {
        return true;
    };
    let alternates = |answer: &Dialogue| {
        let turns: Vec<&Message> = prompt.iter().chain(answer).collect();
        let even = turns.len().is_multiple_of(2);
        even && turns
            .iter()
            .enumerate()
            .all(|(i, turn)| turn.role == ["user", "assistant"][i % 2] && !turn.content.is_empty())
    };
    let one_turn = chosen.len() == 1 && rejected.len() == 1;
    one_turn && alternates(chosen) && alternates(rejected)
}
