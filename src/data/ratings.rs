//! Rated responses: a conversation with a number for each attribute that somebody rated.

use super::fields::{Fields, Turns};
use super::load::{Shaped, load};
use super::prompts::prompt;
use super::report::{LoadOptions, Report};
use super::rows::{Origin, Rating};
use super::sft::conversation;
use crate::error::{Error, Result};
use crate::text::{Answer, Message, Prompt};
use std::path::PathBuf;

/// The shapes of rated rows, for messages.
const SHAPES: &str =
    "{\"messages\"} or {\"prompt\", \"response\"}, with a number or null for each attribute";

/// Rows with what their numbers mean.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ratings {
    /// The attributes, in the order of every row's ratings.
    pub attributes: Vec<String>,
    /// The rows.
    pub rows: Vec<Rating>,
}

/// Loads rated responses, in file order.
///
/// Rows are `{messages}` or ShareGPT's `{conversations}`, whose last turn is rated, or `{prompt, response}` with text or messages.
/// Ratings are the columns `attributes`; where that is empty, all columns that hold a number in some row and mean nothing else
/// to duel. A column that is null or not there is not rated in that row.
///
/// # Errors
/// Rows that cannot be read, and an attribute that nobody rated or whose rating is the same in every row: there is nothing to
/// learn about it.
pub fn load_ratings(
    paths: &[PathBuf],
    options: &LoadOptions,
    attributes: &[String],
) -> Result<(Ratings, Report)> {
    let attributes = match attributes {
        [] => columns(paths, options)?,
        listed => listed.to_vec(),
    };
    let (rows, report) = load(paths, options, |fields, id, origin| {
        rating(fields, id, origin, options, &attributes)
    })?;
    for (i, name) in attributes.iter().enumerate() {
        let known = || {
            let ratings = rows.iter().map(|row| row.ratings[i]);
            ratings.filter(|rating| !rating.is_nan())
        };
        let file = rows
            .first()
            .map(|row| row.origin.file.display().to_string());
        let at = |error: Error| error.at(file.unwrap_or_default());
        let Some(first) = known().next() else {
            return Err(at(Error::data(format!("no row has a rating of `{name}`"))
                .hint(
                    "correct the name in multi_objective.attributes, or take it out",
                )));
        };
        if known().all(|rating| rating == first) {
            return Err(at(Error::data(format!(
                "the rating of `{name}` is {first} in every row that has one: there is nothing to learn about it"
            ))
            .hint("name the other columns alone in multi_objective.attributes")));
        }
    }
    Ok((Ratings { attributes, rows }, report))
}

/// Whether files hold rated responses: some row has a `response` and a number that means nothing else.
pub fn has_ratings(paths: &[PathBuf], options: &LoadOptions) -> bool {
    let any = LoadOptions {
        skip_bad: true,
        limit: Some(1),
        allow_none: false,
        ..options.clone()
    };
    let rated = |fields: &Fields| {
        fields.has("response") && fields.unknown_numbers().any(|(_, number)| number)
    };
    load(paths, &any, |fields, _, _| match rated(fields) {
        true => Ok(Shaped::Row(())),
        false => Ok(Shaped::Dropped("no rating")),
    })
    .is_ok()
}

/// The columns of numbers that mean nothing else, in the order of their first appearance.
fn columns(paths: &[PathBuf], options: &LoadOptions) -> Result<Vec<String>> {
    let mut found: Vec<(String, bool)> = Vec::new();
    let any = LoadOptions {
        skip_bad: true,
        allow_none: true,
        ..options.clone()
    };
    load(paths, &any, |fields, _, _| {
        for (name, rated) in fields.unknown_numbers() {
            match found.iter_mut().find(|(known, _)| known == name) {
                Some((_, ever)) => *ever |= rated,
                None => found.push((name.to_owned(), rated)),
            }
        }
        Ok(Shaped::Row(()))
    })?;
    let rated = found.into_iter().filter(|(_, ever)| *ever);
    let rated: Vec<String> = rated.map(|(name, _)| name).collect();
    match rated.is_empty() {
        false => Ok(rated),
        true => Err(Error::data(format!(
            "{}: no column holds ratings",
            paths
                .iter()
                .map(|p| p.display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .hint(format!("rows look like {SHAPES}"))),
    }
}

fn rating(
    fields: &Fields,
    id: String,
    origin: Origin,
    options: &LoadOptions,
    attributes: &[String],
) -> Result<Shaped<Rating>> {
    let (prompt, answer) = match rated(fields)? {
        Ok(row) => row,
        Err(reason) => return Ok(Shaped::Dropped(reason)),
    };
    let (prompt, answer) = match options.text_as_chat {
        true => (prompt.into_chat(), answer.into_chat()),
        false => (prompt, answer),
    };
    if prompt.is_blank() {
        return Ok(Shaped::Dropped("empty prompt"));
    }
    if answer.is_blank() {
        return Ok(Shaped::Dropped("empty response"));
    }
    let ratings = attributes
        .iter()
        .map(|name| Ok(fields.number(name)?.unwrap_or(f32::NAN)))
        .collect::<Result<Vec<f32>>>()?;
    if ratings.iter().all(|rating| rating.is_nan()) {
        return Ok(Shaped::Dropped("no rating"));
    }
    Ok(Shaped::Row(Rating {
        id,
        prompt,
        answer,
        ratings,
        origin,
    }))
}

/// The prompt and the response that is rated, or why there is none.
fn rated(fields: &Fields) -> Result<std::result::Result<(Prompt, Answer), &'static str>> {
    if let (Some(mut turns), false) = (conversation(fields)?, fields.has("response")) {
        let last = turns.pop().filter(|turn| turn.role == "assistant");
        return Ok(match last {
            Some(last) => Ok((Prompt::Chat(turns), Answer::Chat(vec![last]))),
            None => Err("no assistant turn at the end"),
        });
    }
    let response = match fields.turns("response")? {
        Some(response) => Some(response),
        None => fields.turns("completion")?,
    };
    let Some(response) = response else {
        return Err(fields.no_shape("no rated response", SHAPES));
    };
    let prompt = prompt(fields)?;
    let answer = match (&prompt, response) {
        (Prompt::Chat(_), Turns::Text(text)) => Answer::Chat(vec![Message::assistant(text)]),
        (_, Turns::Text(text)) => Answer::Text(text),
        (_, Turns::Chat(turns)) => Answer::Chat(turns),
    };
    let prompt = match (prompt, &answer) {
        (Prompt::Text(text), Answer::Chat(_)) => Prompt::Chat(vec![Message::user(text)]),
        (prompt, _) => prompt,
    };
    Ok(Ok((prompt, answer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str, attributes: &[&str]) -> Result<(Ratings, Report)> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ratings.jsonl");
        std::fs::write(&path, lines).expect("written");
        let attributes: Vec<String> = attributes.iter().map(|name| (*name).to_owned()).collect();
        load_ratings(&[path], &LoadOptions::default(), &attributes)
    }

    const ROWS: &str = r#"{"id": "a", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}], "help": 0.5, "length": null}
{"prompt": "Hi", "response": "Hello there", "length": 2, "help": 1}
{"prompt": [{"role": "user", "content": "Hi"}], "response": "Hey", "length": 1, "note": "x"}
"#;

    #[test]
    fn what_nobody_rated_is_no_number() {
        let (ratings, report) = read(ROWS, &[]).expect("read");
        assert_eq!(ratings.attributes, ["help", "length"]);
        assert_eq!(report.kept, 3);
        let rows = &ratings.rows;
        assert!(rows[0].ratings[0] == 0.5 && rows[0].ratings[1].is_nan());
        assert_eq!(rows[1].ratings, [1.0, 2.0]);
        assert!(rows[2].ratings[0].is_nan() && rows[2].ratings[1] == 1.0);
        assert_eq!(rows[0].answer, Answer::Chat(vec![Message::assistant("Yo")]));
        assert_eq!(rows[1].prompt, Prompt::Text("Hi".into()));
        assert_eq!(
            rows[2].answer,
            Answer::Chat(vec![Message::assistant("Hey")])
        );
        // A row that nobody rated at all says nothing, and is counted.
        let (ratings, report) = read(ROWS, &["help"]).expect("read");
        assert_eq!((ratings.rows.len(), report.dropped["no rating"]), (2, 1));
    }

    #[test]
    fn an_attribute_without_anything_to_learn_is_named() {
        for (attributes, wanted) in [
            (&["help", "honesty"][..], "no row has a rating of `honesty`"),
            (
                &["help", "note"],
                "`note` is text, should be a finite number",
            ),
        ] {
            let error = read(ROWS, attributes).expect_err("refused");
            assert!(error.message.contains(wanted), "{error}");
        }
        let same = ROWS.replace("\"help\": 0.5", "\"help\": 1");
        let error = read(&same, &["help"]).expect_err("refused");
        assert!(
            error.message.contains("`help` is 1 in every row"),
            "{error}"
        );
        let none = "{\"prompt\": \"Hi\", \"response\": \"Yo\"}\n";
        let error = read(none, &[]).expect_err("refused");
        assert!(error.message.contains("no column holds ratings"), "{error}");
    }
}
