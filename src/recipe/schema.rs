//! The JSON schema of recipes: what editors read, and what unknown keys and ranges are checked against.

use super::Recipe;
use super::complaint::{Complaint, closest};
use super::layers::{Node, Table, join};
use super::load::STAGE_DEFAULTS;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> = LazyLock::new(build);

/// The JSON schema (2020-12) of a recipe, with the defaults of every stage.
pub fn schema() -> Value {
    SCHEMA.clone()
}

pub(super) fn root() -> &'static Value {
    &SCHEMA
}

fn build() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<Recipe>()
        .to_value();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let extends = serde_json::json!({
            "description": "Recipes to begin with, left to right, relative to this file; this file's values win.",
            "type": "array",
            "items": { "type": "string" },
            "default": [],
        });
        properties.insert("extends".to_owned(), extends);
    }
    without_null(&mut schema);
    let defaults: toml::Table =
        toml::from_str(STAGE_DEFAULTS).expect("the built-in defaults are TOML: a test parses them");
    put_defaults(&mut schema, &defaults);
    schema
}

/// TOML has no null: an optional key is one that may be left out.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("default") == Some(&Value::Null) {
                map.remove("default");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|one| one != "null");
                if types.len() == 1 {
                    map["type"] = map["type"][0].clone();
                }
            }
            if let Some(Value::Array(any)) = map.get_mut("anyOf") {
                any.retain(|one| one.get("type").and_then(Value::as_str) != Some("null"));
                if any.len() == 1 {
                    let only = any.remove(0);
                    map.remove("anyOf");
                    if let Value::Object(only) = only {
                        for (key, value) in only {
                            map.entry(key).or_insert(value);
                        }
                    }
                }
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn put_defaults(schema: &mut Value, defaults: &toml::Table) {
    for (key, value) in defaults {
        let Some(property) = schema
            .get_mut("properties")
            .and_then(|all| all.get_mut(key))
        else {
            continue;
        };
        // A whole table's default would repeat, and here contradict, those of its keys.
        property.as_object_mut().map(|map| map.remove("default"));
        match value {
            toml::Value::Table(inner) => put_defaults(property, inner),
            value => {
                property["default"] = serde_json::to_value(value).expect("TOML scalars are JSON")
            }
        }
    }
}

/// The keys of a table's schema; `None` for a value or a table of free keys.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// Keys other tools use for what is called otherwise here.
const SYNONYMS: [(&str, &str); 24] = [
    ("k", "num_generations"),
    ("n", "num_generations"),
    ("num_return_sequences", "num_generations"),
    ("max_completion_length", "max_new_tokens"),
    ("max_tokens", "max_new_tokens"),
    ("cutoff_len", "max_length"),
    ("max_seq_length", "max_length"),
    ("lr", "learning_rate"),
    ("epochs", "num_train_epochs"),
    ("batch_size", "per_device_train_batch_size"),
    ("pref_beta", "beta"),
    ("pref_loss", "loss_type"),
    ("lora_r", "r"),
    ("lora_target_modules", "target_modules"),
    ("lora_target", "target_modules"),
    ("data", "prompts"),
    ("prompts", "data"),
    ("dataset_name", "files"),
    ("dataset", "files"),
    ("model_name", "model_name_or_path"),
    ("name_or_path", "model_name_or_path"),
    ("torch_dtype", "dtype"),
    ("choose_type", "choose"),
    ("warmup", "warmup_ratio"),
];

/// A complaint for every key that no recipe has.
pub(super) fn unknown_keys(tree: &Table) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    unknown_in(tree, root(), "", tree, &mut complaints);
    complaints
}

/// The same for the table `tree` at `path` of the recipe `whole`.
fn unknown_in(
    tree: &Table,
    schema: &Value,
    path: &str,
    whole: &Table,
    complaints: &mut Vec<Complaint>,
) {
    let Some(known) = properties(schema) else {
        return;
    };
    for (key, entry) in tree {
        match (known.get(key), &entry.node) {
            // `extends` is taken out of files as they are read; in a `--set` it comes too late.
            (Some(_), _) if path.is_empty() && key == "extends" => complaints.push(Complaint {
                place: Some(entry.key.clone()),
                message: "`extends` belongs into a recipe file".to_owned(),
                hint: None,
            }),
            (Some(schema), Node::Table(inner)) => {
                unknown_in(inner, schema, &join(path, key), whole, complaints);
            }
            (Some(_), Node::Leaf(..)) => {}
            (None, _) => {
                let table = if path.is_empty() {
                    "a recipe".to_owned()
                } else {
                    format!("`[{path}]`")
                };
                complaints.push(Complaint {
                    place: Some(entry.key.clone()),
                    message: format!("{table} has no key `{key}`"),
                    hint: Some(suggestion(key, known, path, whole)),
                });
            }
        }
    }
}

/// Takes away tables that a later layer switched off with `stage = false`, which is how a recipe leaves out a part of
/// the one it extends.
pub(super) fn drop_tables_set_to_false(tree: &mut Table) {
    drop_in(tree, root());
}

fn drop_in(tree: &mut Table, schema: &Value) {
    let Some(known) = properties(schema) else {
        return;
    };
    tree.retain(|key, entry| {
        let Some(schema) = known.get(key) else {
            return true;
        };
        match &mut entry.node {
            Node::Table(inner) => {
                drop_in(inner, schema);
                true
            }
            Node::Leaf(value, _) => {
                properties(schema).is_none() || *value != toml::Value::Boolean(false)
            }
        }
    });
}

/// The key that was meant: by another tool's name or by its exact name in a table below, then by spelling, then by its
/// name anywhere.
fn suggestion(key: &str, known: &Map<String, Value>, path: &str, whole: &Table) -> String {
    let synonym = SYNONYMS
        .iter()
        .find(|(other, _)| *other == key)
        .map(|(_, own)| *own);
    let wanted = synonym.unwrap_or(key);
    let here = synonym
        .filter(|own| known.contains_key(*own))
        .map(str::to_owned);
    let mut anywhere = Vec::new();
    paths_of(root(), "", wanted, &mut anywhere);
    // The stages of this recipe are likelier than the others.
    anywhere.sort_by_key(|other| !whole.contains_key(other.split('.').next().unwrap_or_default()));
    let below = anywhere
        .iter()
        .find(|other| path.is_empty() || other.starts_with(&join(path, "")))
        .cloned();
    let spelt = || closest(key, known.keys().map(String::as_str)).map(str::to_owned);
    let likely = here
        .or(below)
        .or_else(spelt)
        .or_else(|| anywhere.first().cloned());
    match likely {
        Some(likely) => format!("did you mean `{likely}`?"),
        None => {
            let keys: Vec<&str> = known.keys().map(String::as_str).collect();
            format!("its keys are {}", keys.join(", "))
        }
    }
}

fn paths_of(schema: &Value, path: &str, wanted: &str, found: &mut Vec<String>) {
    for (key, schema) in properties(schema).into_iter().flatten() {
        let path = join(path, key);
        if key == wanted {
            found.push(path.clone());
        }
        paths_of(schema, &path, wanted, found);
    }
}

/// The schema at a dotted key.
pub(super) fn at(path: &str) -> Option<&'static Value> {
    path.split('.')
        .try_fold(root(), |schema, key| properties(schema)?.get(key))
}

/// What the value at a dotted key is for, as a hint.
pub(super) fn describe(path: &str) -> Option<String> {
    let text = at(path)?.get("description")?.as_str()?;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let key = path.rsplit('.').next().unwrap_or(path);
    Some(format!("`{key}`: {line}"))
}

/// The range that a schema allows. NaN lies in none.
pub(super) fn range(schema: &Value) -> Option<Range> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let range = Range {
        minimum: bound("minimum"),
        above: bound("exclusiveMinimum"),
        maximum: bound("maximum"),
        below: bound("exclusiveMaximum"),
    };
    (range != Range::default()).then_some(range)
}

/// Bounds of a number, each where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Range {
    minimum: Option<f64>,
    above: Option<f64>,
    maximum: Option<f64>,
    below: Option<f64>,
}

impl Range {
    pub fn holds(&self, value: f64) -> bool {
        self.minimum.is_none_or(|bound| value >= bound)
            && self.above.is_none_or(|bound| value > bound)
            && self.maximum.is_none_or(|bound| value <= bound)
            && self.below.is_none_or(|bound| value < bound)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bounds = [
            ("at least", self.minimum),
            ("above", self.above),
            ("at most", self.maximum),
            ("below", self.below),
        ];
        let words: Vec<String> = bounds
            .iter()
            .filter_map(|(word, bound)| bound.map(|bound| format!("{word} {bound}")))
            .collect();
        f.write_str(&words.join(" and "))
    }
}
