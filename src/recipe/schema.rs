//! The JSON schema of recipes: what editors read, and what unknown keys and ranges are checked against.

use super::Recipe;
use super::complaint::{Complaint, closest};
use super::layers::{Node, Table, join};
use super::load::STAGE_DEFAULTS;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
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
const SYNONYMS: [(&str, &str); 25] = [
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
    ("quantization_bit", "load_in_4bit"),
    ("choose_type", "choose"),
    ("warmup", "warmup_ratio"),
];

/// What trains in fewer bits, and what does not.
const NARROW: &str = "write `dtype = \"bf16\"`, \"f16\" or \"auto\" into `[model]`: products read that, and the weights that are trained \
                      stay in f32, so that small steps count";

/// Keys of other trainers for which a recipe has another way, and that way.
const ELSEWHERE: [(&str, &str); 4] = [
    ("bf16", NARROW),
    ("fp16", NARROW),
    ("pure_bf16", NARROW),
    (
        "deepspeed",
        "duel trains on one device: `duel plan RECIPE` says what would make the recipe fit",
    ),
];

/// Takes out every key that no recipe has, with a complaint for each.
pub(super) fn take_unknown_keys(tree: &mut Table) -> Vec<Complaint> {
    let mut unknown = Unknown {
        tables: tree.keys().cloned().collect(),
        complaints: Vec::new(),
    };
    unknown.take(tree, root(), "");
    unknown.complaints
}

/// The keys that no recipe has.
struct Unknown {
    /// The recipe's own tables: likelier to be meant than the others.
    tables: BTreeSet<String>,
    complaints: Vec<Complaint>,
}

impl Unknown {
    /// Takes those of the table `tree` at `path`.
    fn take(&mut self, tree: &mut Table, schema: &Value, path: &str) {
        let Some(known) = properties(schema) else {
            return;
        };
        tree.retain(|key, entry| {
            let (message, hint) = match (known.get(key), &mut entry.node) {
                // `extends` is taken out of files as they are read; in a `--set` it comes too late.
                (Some(_), _) if path.is_empty() && key == "extends" => {
                    ("`extends` belongs into a recipe file".to_owned(), None)
                }
                (Some(schema), Node::Table(inner)) => {
                    self.take(inner, schema, &join(path, key));
                    return true;
                }
                (Some(_), Node::Leaf(..)) => return true,
                (None, _) => {
                    let table = match path.is_empty() {
                        true => "a recipe".to_owned(),
                        false => format!("`[{path}]`"),
                    };
                    let hint = self.suggestion(key, known, path);
                    (format!("{table} has no key `{key}`"), Some(hint))
                }
            };
            self.complaints.push(Complaint {
                place: Some(entry.key.clone()),
                message,
                hint,
            });
            false
        });
    }

    /// The key that was meant: by another tool's name or by its exact name in a table below, then by spelling, here and
    /// below, then by its name anywhere.
    fn suggestion(&self, key: &str, known: &Map<String, Value>, path: &str) -> String {
        if let Some((_, way)) = ELSEWHERE.iter().find(|(other, _)| *other == key) {
            return (*way).to_owned();
        }
        let synonym = SYNONYMS.iter().find(|(other, _)| *other == key);
        let synonym = synonym.map(|(_, own)| *own);
        let here = synonym
            .filter(|own| known.contains_key(*own))
            .map(str::to_owned);
        let mut all = Vec::new();
        paths_of(root(), "", &mut all);
        // The stages of this recipe are likelier than the others.
        all.sort_by_key(|other| {
            !self
                .tables
                .contains(other.split('.').next().unwrap_or_default())
        });
        let wanted = synonym.unwrap_or(key);
        let is_wanted = |other: &&String| last(other) == wanted;
        let is_below = |other: &&String| path.is_empty() || other.starts_with(&join(path, ""));
        let below = || all.iter().filter(is_below);
        let spelt = || closest(key, known.keys().map(String::as_str)).map(str::to_owned);
        let spelt_below = || {
            let meant = closest(key, below().map(|other| last(other)))?;
            below().find(|other| last(other) == meant).cloned()
        };
        let likely = here
            .or_else(|| below().find(is_wanted).cloned())
            .or_else(spelt)
            .or_else(spelt_below)
            .or_else(|| all.iter().find(is_wanted).cloned());
        match likely {
            Some(likely) => format!("did you mean `{likely}`?"),
            None => {
                let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                format!("its keys are {}", keys.join(", "))
            }
        }
    }
}

/// The dotted paths of all keys.
fn paths_of(schema: &Value, path: &str, found: &mut Vec<String>) {
    for (key, schema) in properties(schema).into_iter().flatten() {
        let path = join(path, key);
        found.push(path.clone());
        paths_of(schema, &path, found);
    }
}

/// The key at the end of a dotted path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
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

/// The schema at a dotted key.
pub(super) fn at(path: &str) -> Option<&'static Value> {
    path.split('.')
        .try_fold(root(), |schema, key| properties(schema)?.get(key))
}

/// What the value at a dotted key is for, as a hint.
pub(super) fn describe(path: &str) -> Option<String> {
    let text = at(path)?.get("description")?.as_str()?;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(format!("`{}`: {line}", last(path)))
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
