//! A recipe as values, as TOML, and as a hash.

use super::Recipe;
use super::layers::join;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// A recipe as plain values, in the order its tables are documented in.
pub(super) fn values(recipe: &Recipe) -> Value {
    serde_json::to_value(recipe)
        .expect("a recipe has text keys and finite numbers: check() saw to it")
}

/// TOML of `values`; `note` may put a comment beside a dotted key.
pub(super) fn toml_text(values: &Value, note: impl Fn(&str) -> Option<String>) -> String {
    let mut lines = Vec::new();
    write_table(values, "", &note, &mut lines);
    let width = lines
        .iter()
        .filter(|(_, note)| note.is_some())
        .map(|(line, _)| line.chars().count())
        .filter(|width| *width <= NOTE_COLUMN)
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (line, note) in lines {
        let _ = match note {
            Some(note) => writeln!(text, "{line:width$}  # {note}"),
            None => writeln!(text, "{line}"),
        };
    }
    text
}

/// Comments are aligned up to this column; longer lines have theirs right behind them.
const NOTE_COLUMN: usize = 60;

fn write_table(
    values: &Value,
    path: &str,
    note: &impl Fn(&str) -> Option<String>,
    lines: &mut Vec<(String, Option<String>)>,
) {
    let Value::Object(table) = values else {
        return;
    };
    // A table's own values must stand before the headers of the tables in it.
    for (key, value) in table.iter().filter(|(_, value)| !value.is_object()) {
        let path = join(path, key);
        lines.push((
            format!("{} = {}", toml_key(key), toml_value(value)),
            note(&path),
        ));
    }
    for (key, value) in table.iter().filter(|(_, value)| value.is_object()) {
        let path = join(path, &toml_key(key));
        lines.push((String::new(), None));
        lines.push((format!("[{path}]"), None));
        write_table(value, &path, note, lines);
    }
}

fn toml_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        toml_string(key)
    }
}

/// A scalar or list as TOML.
pub(super) fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => toml_string(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        // Debug keeps the point of 1.0 and writes 2e-5 as people do.
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .map_or_else(|| number.to_string(), |number| format!("{number:?}")),
        // JSON's whole numbers, true and false are TOML's.
        other => other.to_string(),
    }
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Keys that decide what is written while a stage runs and what is kept in memory, not what comes out of it.
const WITHOUT_EFFECT: [&str; 10] = [
    // How patiently a judge elsewhere is asked, and with whose key.
    "timeout_seconds",
    "retries",
    "concurrency",
    "requests_per_minute",
    "api_key_env",
    "logging_steps",
    "save_steps",
    "save_total_limit",
    "gradient_checkpointing",
    "memory_gib",
];

/// Whether the value of a dotted key, `dpo.train.save_steps`, changes nothing that comes out of a run.
pub fn without_effect(key: &str) -> bool {
    // All devices compute the same, within rounding: a run may begin on one and end on another.
    let of_device = key.starts_with("device.");
    let last = key.rsplit('.').next();
    of_device || last.is_some_and(|last| WITHOUT_EFFECT.contains(&last))
}

/// blake3 of a part of a recipe: a stage keys on it. Two parts that lead to the same result hash the same: the order
/// of keys does not count, nor do the keys that only decide how often something is written or whether it is kept.
pub fn hash_of<T: Serialize>(part: &T) -> blake3::Hash {
    let value = serde_json::to_value(part).expect("parts of a recipe have text keys");
    let mut canonical = String::new();
    write_canonical(&value, &mut canonical);
    blake3::hash(canonical.as_bytes())
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(table) => {
            let mut keys: Vec<&String> = table
                .keys()
                .filter(|key| !WITHOUT_EFFECT.contains(&key.as_str()))
                .collect();
            keys.sort_unstable();
            out.push('{');
            for key in keys {
                let _ = write!(out, "{}:", Value::String(key.clone()));
                write_canonical(&table[key], out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}
