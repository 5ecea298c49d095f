//! The arguments of an instruction.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// As a row has them; null counts as none.
pub(super) struct Arguments<'a>(pub(super) &'a Map<String, Value>);

/// How a count must stand to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    LessThan,
    AtLeast,
}

impl Relation {
    pub(super) fn holds(self, count: usize, number: usize) -> bool {
        match self {
            Self::LessThan => count < number,
            Self::AtLeast => count >= number,
        }
    }
}

impl Arguments<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, should: &str) -> Error {
        match self.get(name) {
            Some(value) => Error::data(format!("`{name}` is {value}, should be {should}")),
            None => Error::data(format!("`{name}` is missing")),
        }
    }

    /// A whole number, which some writers keep as a float.
    pub(super) fn number(&self, name: &str) -> Result<usize> {
        let value = self.get(name);
        let whole = value
            .and_then(Value::as_f64)
            .filter(|n| *n >= 0.0 && n.fract() == 0.0);
        whole
            .map(|n| n as usize)
            .ok_or_else(|| self.wrong(name, "a whole number"))
    }

    pub(super) fn text(&self, name: &str) -> Result<String> {
        let text = self.get(name).and_then(Value::as_str);
        text.map(|text| text.trim().to_owned())
            .ok_or_else(|| self.wrong(name, "text"))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>> {
        let items = self.get(name).and_then(Value::as_array);
        let texts = items.and_then(|items| {
            let text = |item: &Value| item.as_str().map(str::to_owned);
            items.iter().map(text).collect::<Option<Vec<_>>>()
        });
        texts.ok_or_else(|| self.wrong(name, "a list of texts"))
    }

    pub(super) fn relation(&self, name: &str) -> Result<Relation> {
        match self.get(name).and_then(Value::as_str) {
            Some("less than") => Ok(Relation::LessThan),
            Some("at least") => Ok(Relation::AtLeast),
            _ => Err(self.wrong(name, "`less than` or `at least`")),
        }
    }
}
