//! The recipe reference of the documentation, generated from the schema.

use super::layers::join;
use super::schema::{properties, range, root};
use super::show::toml_value;
use serde_json::Value;
use std::fmt::Write;

/// Tables of one shape, wherever they stand: `[sft.train]` and `[online.train]` share a section.
struct Section {
    paths: Vec<String>,
    schemas: Vec<&'static Value>,
}

/// The reference of every key: one table per owner with type, default and what it does.
pub fn reference_markdown() -> String {
    let mut sections = Vec::new();
    collect(root(), "", &mut sections);
    let mut text = String::from(
        "# Recipe reference\n\n\
         Generated from the types that read recipes. A recipe is TOML; unknown keys are errors.\n\
         `extends = [\"base.toml\"]` begins with other files, `--set table.key=value` changes one value, and\n\
         `--set table=false` leaves a table out. Relative data paths start at the file that names them.\n",
    );
    for section in &sections {
        write_section(&mut text, section);
    }
    text
}

fn collect(schema: &'static Value, path: &str, sections: &mut Vec<Section>) {
    let Some(keys) = properties(schema) else {
        return;
    };
    match sections
        .iter_mut()
        .find(|section| shape(section.schemas[0]) == shape(schema))
    {
        Some(section) => {
            section.paths.push(path.to_owned());
            section.schemas.push(schema);
        }
        None => sections.push(Section {
            paths: vec![path.to_owned()],
            schemas: vec![schema],
        }),
    }
    for (key, schema) in keys {
        collect(schema, &join(path, key), sections);
    }
}

/// What two tables of one type have in common: everything about their keys but the defaults.
fn shape(schema: &Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("default");
                map.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut keys = schema["properties"].clone();
    strip(&mut keys);
    keys
}

fn write_section(text: &mut String, section: &Section) {
    let names: Vec<String> = section
        .paths
        .iter()
        .map(|path| format!("`[{path}]`"))
        .collect();
    let title = if section.paths[0].is_empty() {
        "The top of the file".to_owned()
    } else {
        names.join(", ")
    };
    let _ = write!(text, "\n## {title}\n\n{}\n", about(section));
    let rows: Vec<(&String, &Value)> = properties(section.schemas[0])
        .into_iter()
        .flatten()
        .filter(|(_, schema)| properties(schema).is_none())
        .collect();
    if rows.is_empty() {
        return;
    }
    text.push_str("\n| key | type | default | what it does |\n|---|---|---|---|\n");
    for (key, schema) in rows {
        let _ = writeln!(
            text,
            "| `{key}` | {} | {} | {} |",
            kind(schema),
            defaults(section, key),
            what(schema)
        );
    }
}

/// What the table is for; of tables that share a section and differ in that, of each.
fn about(section: &Section) -> String {
    let all: Vec<String> = section
        .schemas
        .iter()
        .map(|schema| description(schema))
        .collect();
    if all.iter().all(|one| *one == all[0]) {
        return all[0].clone();
    }
    let lines = section
        .paths
        .iter()
        .zip(&all)
        .map(|(path, about)| format!("- `[{path}]`: {about}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The default of a key, and where in the section's tables it is another.
fn defaults(section: &Section, key: &str) -> String {
    let all: Vec<String> = section
        .schemas
        .iter()
        .map(|schema| default(schema, key))
        .collect();
    let common = all
        .iter()
        .rev()
        .max_by_key(|one| all.iter().filter(|other| other == one).count())
        .cloned()
        .unwrap_or_default();
    let others: Vec<String> = section
        .paths
        .iter()
        .zip(&all)
        .filter(|(_, one)| **one != common)
        .map(|(path, one)| format!("{one} in `{path}`"))
        .collect();
    if others.is_empty() {
        common
    } else {
        format!("{common}; {}", others.join(", "))
    }
}

fn default(table: &Value, key: &str) -> String {
    let required = table["required"]
        .as_array()
        .is_some_and(|keys| keys.iter().any(|one| one == key));
    match table["properties"][key].get("default") {
        _ if required => "required".to_owned(),
        Some(Value::Object(_)) => "empty".to_owned(),
        Some(value) => format!("`{}`", toml_value(value)),
        None => "absent".to_owned(),
    }
}

fn kind(schema: &Value) -> String {
    if choices(schema).is_some() {
        return "choice".to_owned();
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        return format!("{} or a list", any.first().map(kind).unwrap_or_default());
    }
    match schema
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "integer" => "whole number".to_owned(),
        "number" => "number".to_owned(),
        "string" => "text".to_owned(),
        "boolean" => "`true` / `false`".to_owned(),
        "array" => format!(
            "list of {}",
            schema.get("items").map(kind).unwrap_or_default()
        ),
        "object" => "table of text".to_owned(),
        other => other.to_owned(),
    }
}

/// The words of a choice, each with what it means.
fn choices(schema: &Value) -> Option<Vec<(String, String)>> {
    let words = schema.get("oneOf")?.as_array()?.iter().map(|one| {
        let word = one.get("const").and_then(Value::as_str).unwrap_or_default();
        (word.to_owned(), description(one))
    });
    Some(words.collect())
}

fn what(schema: &Value) -> String {
    let mut text = description(schema);
    if let Some(range) = range(schema) {
        let range = range.to_string();
        // Every count is at least 0: that says nothing.
        if range != "at least 0" || schema["type"] != "integer" {
            let _ = write!(text, " Must be {range}.");
        }
    }
    let inner = schema
        .get("anyOf")
        .and_then(|any| any.get(0))
        .unwrap_or(schema);
    for (word, about) in choices(inner).into_iter().flatten() {
        let _ = write!(text, "<br>`{word}`: {about}");
    }
    text.replace('|', "\\|")
}

/// A schema's description on one line.
fn description(schema: &Value) -> String {
    let text = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
