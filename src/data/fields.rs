//! Typed access to the columns of one row. Errors name the field, what it holds and what it should.

use crate::error::{Error, Result};
use crate::recipe::Data;
use crate::text::{Dialogue, Message};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How alike (Jaro-Winkler) a column's name and the one that was meant are, at least.
const LIKE: f64 = 0.9;

/// One row with the names that its columns have.
pub struct Fields<'a> {
    row: &'a Map<String, Value>,
    columns: &'a BTreeMap<String, String>,
}

/// A column that holds text or a conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Turns {
    /// Plain text.
    Text(String),
    /// Messages.
    Chat(Dialogue),
}

impl<'a> Fields<'a> {
    /// The fields of a row, which must be a JSON object.
    pub fn new(row: &'a Value, columns: &'a BTreeMap<String, String>) -> Result<Self> {
        match row {
            Value::Object(row) => Ok(Self { row, columns }),
            other => Err(Error::data(format!(
                "the row is {}, should be an object",
                kind(other)
            ))),
        }
    }

    /// The name that a column has in the file.
    fn column<'n>(&'n self, name: &'n str) -> &'n str {
        self.columns.get(name).map_or(name, String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.row
            .get(self.column(name))
            .filter(|value| !value.is_null())
    }

    /// The value of a column; null counts as none.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.get(name)
    }

    /// Whether the row has a value in this column; null counts as none.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The columns that hold a number or null and have no meaning of their own, by the file's names, each with whether it is a
    /// number.
    pub(super) fn unknown_numbers(&self) -> impl Iterator<Item = (&'a str, bool)> {
        let renamed: Vec<&String> = self.columns.values().collect();
        let own = move |name: &str| {
            Data::COLUMNS.contains(&name) || renamed.iter().any(|column| *column == name)
        };
        let columns = self.row.iter();
        let columns = columns.filter(|(_, value)| value.is_number() || value.is_null());
        columns
            .map(|(name, value)| (name.as_str(), value.is_number()))
            .filter(move |(name, _)| !own(name))
    }

    /// A name for the row: its id, or what IFEval calls so, as text or number.
    pub fn id(&self) -> Option<String> {
        let names = ["id", "prompt_id", "key"];
        names.into_iter().find_map(|name| self.name(name))
    }

    /// A column that names something, as text or number; what is neither is no name.
    pub fn name(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A column of text.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.wrong(name, other, "text")),
        };
        self.get(name).map(text).transpose()
    }

    /// A column of finite numbers.
    pub fn number(&self, name: &str) -> Result<Option<f32>> {
        let number = |value: &Value| match value.as_f64().map(|number| number as f32) {
            Some(number) if number.is_finite() => Ok(number),
            _ => Err(self.wrong(name, value, "a finite number")),
        };
        self.get(name).map(number).transpose()
    }

    /// A column of yes or no, as JSON or 0 and 1 write it.
    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>> {
        let truth = |value: &Value| match (value, value.as_u64()) {
            (Value::Bool(truth), _) => Ok(*truth),
            (_, Some(number @ (0 | 1))) => Ok(number == 1),
            _ => Err(self.wrong(name, value, "true or false")),
        };
        self.get(name).map(truth).transpose()
    }

    /// Refuses what changes the text of a conversation in a way that is not rendered: the model would be taught other
    /// tokens than the row means.
    pub(super) fn refuse_unrendered(&self) -> Result<()> {
        for name in ["tools", "chat_template_kwargs"] {
            let value = self.get(name);
            let nothing = value.is_none_or(|value| match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(entries) => entries.is_empty(),
                Value::String(text) => text.is_empty(),
                _ => false,
            });
            if !nothing {
                return Err(Error::data(format!(
                    "`{name}` is not supported: the chat template is rendered without it"
                ))
                .hint(format!(
                    "take `{name}` out of the row if its conversation stands without it, or leave such rows out with \
                     `--skip-bad` (in a recipe, `skip_bad = true` in the data's table)"
                )));
            }
        }
        Ok(())
    }

    /// A column with a value of one kind for each of `count` responses; an empty list where there is no such column.
    pub(super) fn each<T>(
        &self,
        name: &str,
        count: usize,
        should: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>> {
        // An empty list is how some writers say that they do not know.
        let known = |value: &&Value| value.as_array().is_none_or(|items| !items.is_empty());
        let Some(value) = self.get(name).filter(known) else {
            return Ok(Vec::new());
        };
        let items = value.as_array().filter(|items| items.len() == count);
        let Some(items) = items else {
            let should = format!("a list of {count}, one for each of the responses");
            return Err(self.wrong(name, value, &should));
        };
        let one = |(i, item): (usize, &Value)| {
            let place = format!("{}[{i}]", self.column(name));
            read(item).ok_or_else(|| wrong(&place, item, should))
        };
        items.iter().enumerate().map(one).collect()
    }

    /// A column of token ids.
    pub(super) fn ids(&self, name: &str) -> Result<Option<Vec<u32>>> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = |value: &Value| {
            let ids = value.as_array().map(|ids| ids.iter().map(id).collect());
            ids.flatten()
                .ok_or_else(|| self.wrong(name, value, "a list of token ids"))
        };
        self.get(name).map(ids).transpose()
    }

    /// A prompt of token ids: `prompt_ids`, or a `prompt` that is a list of numbers, as duel's own files have it.
    pub(super) fn prompt_ids(&self) -> Result<Option<Vec<u32>>> {
        let listed = self.get("prompt").and_then(Value::as_array);
        let numbers = listed.is_some_and(|items| items.first().is_some_and(Value::is_number));
        self.ids(if numbers { "prompt" } else { "prompt_ids" })
    }

    /// A column of several texts.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        let texts = |value: &Value| {
            let texts = value.as_array().map(|texts| {
                let text = |text: &Value| text.as_str().map(str::to_string);
                texts.iter().map(text).collect()
            });
            texts
                .flatten()
                .ok_or_else(|| self.wrong(name, value, "a list of texts"))
        };
        self.get(name).map(texts).transpose()
    }

    /// A column of `[question, answer]` pairs; none where there is no such column.
    pub(super) fn exchanges(&self, name: &str) -> Result<Vec<(String, String)>> {
        let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([Value::String(question), Value::String(answer)]) => {
                Some((question.clone(), answer.clone()))
            }
            _ => None,
        };
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let pairs = value
            .as_array()
            .map(|pairs| pairs.iter().map(pair).collect());
        pairs
            .flatten()
            .ok_or_else(|| self.wrong(name, value, "a list of [question, answer] pairs"))
    }

    /// A column that holds text, one message, or a list of messages.
    pub(super) fn turns(&self, name: &str) -> Result<Option<Turns>> {
        let turns = |value: &Value| match value {
            Value::String(text) => Ok(Turns::Text(text.clone())),
            Value::Object(_) => Ok(Turns::Chat(vec![self.message(value, self.column(name))?])),
            Value::Array(items) => Ok(Turns::Chat(self.messages(items, name)?)),
            other => Err(self.wrong(name, other, "text or a list of messages")),
        };
        self.get(name).map(turns).transpose()
    }

    /// A column that holds a list of messages.
    pub(super) fn dialogue(&self, name: &str) -> Result<Option<Dialogue>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(self.messages(items, name)?)),
            Some(other) => Err(self.wrong(name, other, "a list of messages")),
        }
    }

    /// An error about a column that the row lacks.
    pub fn missing(&self, name: &str) -> Error {
        match (self.columns.get(name), self.misspelt(name)) {
            (Some(column), _) => {
                Error::data(format!("`{column}` (the column for `{name}`) is missing"))
            }
            (None, Some(own)) => Error::data(format!(
                "`{name}` is missing: did you mean `{name}` by `{own}`?"
            )),
            (None, None) => Error::data(format!("`{name}` is missing")),
        }
    }

    /// A column of no known name that was probably meant to be this one.
    pub(super) fn misspelt(&self, name: &str) -> Option<&'a str> {
        let own = self.row.keys().map(String::as_str);
        own.filter(|own| !Data::COLUMNS.contains(own) && !own.contains(name))
            .find(|own| strsim::jaro_winkler(own, name) > LIKE)
    }

    /// An error about a row of which no shape is known.
    pub(super) fn no_shape(&self, what: &str, shapes: &str) -> Error {
        let names: Vec<String> = self.row.keys().map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() {
            "no field".to_string()
        } else {
            names.join(", ")
        };
        let known = ["prompt", "chosen", "rejected", "messages", "completion"];
        let meant = known
            .iter()
            .filter_map(|name| Some(format!("`{name}` by `{}`", self.misspelt(name)?)));
        let meant: Vec<String> = meant.collect();
        let meant = match meant.is_empty() {
            true => String::new(),
            false => format!(": did you mean {}?", meant.join(" and ")),
        };
        Error::data(format!("the row is {what}: it has {names}{meant}")).hint(format!(
            "rows look like {shapes}; `--column prompt=question` maps another name (in a recipe, `columns = {{ prompt = \
             \"question\" }}` in the data's table)"
        ))
    }

    fn messages(&self, items: &[Value], name: &str) -> Result<Dialogue> {
        let column = self.column(name);
        let each = items.iter().enumerate();
        each.map(|(i, item)| self.message(item, &format!("{column}[{i}]")))
            .collect()
    }

    /// `{"role", "content"}`, or ShareGPT's `{"from", "value"}`.
    fn message(&self, item: &Value, place: &str) -> Result<Message> {
        let Value::Object(entries) = item else {
            return Err(wrong(place, item, "a message with `role` and `content`"));
        };
        let entry = |name: &str| {
            entries
                .get(self.column(name))
                .filter(|value| !value.is_null())
        };
        let (role, content) = match (entry("role"), entry("from")) {
            (None, Some(from)) => (from, "value"),
            (Some(role), _) => (role, "content"),
            (None, None) => {
                return Err(Error::data(format!(
                    "`{place}.{}` is missing",
                    self.column("role")
                )));
            }
        };
        let Value::String(role) = role else {
            return Err(wrong(&format!("{place}.role"), role, "text"));
        };
        if let Some(calls) = entry("tool_calls")
            && calls.as_array().is_none_or(|calls| !calls.is_empty())
        {
            return Err(Error::data(format!(
                "`{place}.tool_calls`: tool calls are not supported"
            )));
        }
        let place = format!("{place}.{}", self.column(content));
        match entry(content) {
            Some(words) => Ok(Message::new(role_of(role), content_of(words, &place)?)),
            None => Err(Error::data(format!("`{place}` is missing"))),
        }
    }

    fn wrong(&self, name: &str, value: &Value, should: &str) -> Error {
        wrong(self.column(name), value, should)
    }
}

/// ShareGPT's names of the roles are given their usual ones.
fn role_of(name: &str) -> &str {
    match name {
        "human" => "user",
        "gpt" | "chatgpt" | "model" => "assistant",
        other => other,
    }
}

/// Text, or a list of text parts.
fn content_of(value: &Value, place: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let part = |part: &Value| part.get("text").and_then(Value::as_str).map(str::to_string);
            let texts: Option<String> = parts.iter().map(part).collect();
            texts.ok_or_else(|| Error::data(format!("`{place}` has parts that are not text")))
        }
        other => Err(wrong(place, other, "text")),
    }
}

fn wrong(place: &str, value: &Value, should: &str) -> Error {
    Error::data(format!("`{place}` is {}, should be {should}", kind(value)))
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "text".to_string(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_string(),
    }
}
