//! From layers to a checked [`Recipe`] that knows where each of its values came from.

use super::complaint::{self, Complaint, line_number};
use super::layers::{self, Layer, LayerKind, Node, Table, combine, find, merge, parse};
use super::source::{self, Source, resolve_paths};
use super::{Recipe, catalogue, check, schema, set, show};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Defaults that differ from stage to stage.
pub(super) const STAGE_DEFAULTS: &str = include_str!("defaults.toml");

/// A recipe, complete and checked.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The recipe. Data files in it are absolute paths.
    pub recipe: Recipe,
    /// Where every value came from, by dotted key.
    pub origins: BTreeMap<String, Origin>,
    /// The whole recipe as TOML, defaults included: loading it gives the same recipe.
    pub text: String,
    tree: Table,
    layers: Vec<Layer>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A recipe file.
    File {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// A `--set` on the command line.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Set => f.write_str("--set"),
        }
    }
}

impl Recipe {
    /// Reads and checks a recipe file, what it extends, and `key=value` overrides on top.
    ///
    /// # Errors
    ///
    /// A user error that names file, line and key with a caret under it: text that is no TOML, an unknown key (with
    /// the likely one), a wrong type, a value out of its range, tables that contradict each other, a file that is not
    /// there, an `extends` that ends in itself.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Loaded> {
        Self::from_source(Some((Source::Disk, path)), overrides)
    }

    /// The same by name: a file, or else a shipped recipe such as `smollm2-hh/online`.
    ///
    /// # Errors
    ///
    /// As [`Recipe::load`], and a name that is neither.
    pub fn open(name: &str, overrides: &[String]) -> Result<Loaded> {
        if Path::new(name).is_file() {
            return Self::load(Path::new(name), overrides);
        }
        match catalogue::shipped_path(name) {
            Some(path) => Self::from_source(Some((Source::Binary, Path::new(path))), overrides),
            None => Err(catalogue::unknown(name)),
        }
    }

    /// A recipe made of overrides alone, as commands without a recipe file build it.
    ///
    /// # Errors
    ///
    /// As [`Recipe::load`].
    pub fn from_overrides(overrides: &[String]) -> Result<Loaded> {
        Self::from_source(None, overrides)
    }

    fn from_source(file: Option<(Source, &Path)>, overrides: &[String]) -> Result<Loaded> {
        let folder = current_folder()?;
        let mut layers = Vec::new();
        let (mut tree, whole) = match file {
            Some((source, path)) => (
                source::read(source, path, &folder, &mut layers)?,
                path.display().to_string(),
            ),
            None => (Table::new(), "--set".to_owned()),
        };
        let mut flags = Table::new();
        for flag in overrides {
            let index = layers.len();
            layers.push(set::layer(flag, &folder));
            let over = set::tree(flag, index)
                .map_err(|complaint| complaint::error(&[complaint], &layers, &whole))?;
            combine(&mut flags, over);
        }
        merge(&mut tree, flags);
        resolve_paths(&mut tree, &layers, "");
        let mut complaints = schema::take_unknown_keys(&mut tree);
        schema::drop_tables_set_to_false(&mut tree);
        under_stage_defaults(&mut tree, &mut layers);
        let recipe = deserialize(&tree).map(measuring);
        complaints.extend(match &recipe {
            Ok(recipe) => check::check(recipe, &tree),
            Err(wrong) => wrong.clone(),
        });
        let recipe = match recipe {
            Ok(recipe) if complaints.is_empty() => recipe,
            _ => {
                complaints.sort_by_key(Complaint::order);
                return Err(complaint::error(&complaints, &layers, &whole));
            }
        };
        let values = show::values(&recipe);
        let mut origins = BTreeMap::new();
        collect_origins(&values, &[], &tree, &layers, &mut origins);
        let text = show::toml_text(&values, |_| None);
        Ok(Loaded {
            recipe,
            origins,
            text,
            tree,
            layers,
        })
    }
}

impl Loaded {
    /// The whole recipe as TOML with the origin of every value beside it.
    pub fn show(&self) -> String {
        show::toml_text(&show::values(&self.recipe), |key| {
            self.origins.get(key).map(ToString::to_string)
        })
    }

    /// The data files that are not there, each as `key: path`.
    pub fn missing_files(&self) -> Vec<String> {
        let missing = self.missing().into_iter();
        missing
            .map(|missing| format!("{}: {}", missing.key, missing.path))
            .collect()
    }

    /// Whether rows are to come from the hub.
    pub fn names_data_sets(&self) -> bool {
        check::names_data_sets(&self.tree)
    }

    fn missing(&self) -> Vec<check::MissingFile> {
        check::missing_files(&self.tree)
    }

    /// A shipped recipe says in its family's README where its data is from.
    fn mend_of_missing(&self, missing: &check::MissingFile) -> String {
        let mend = format!(
            "put the file there, or name yours: `--set {}=PATH`",
            missing.key
        );
        let layer = Path::new(&self.layers[missing.place.layer].name);
        match (catalogue::shipped_text(layer), layer.parent()) {
            (Some(_), Some(family)) => format!(
                // Recipes of the catalogue are named with slashes everywhere.
                "{mend}; {}/README.md says what it holds",
                family.display()
            ),
            _ => mend,
        }
    }

    /// Refuses a recipe whose data files are not there, before anything is computed.
    ///
    /// # Errors
    ///
    /// A user error with a caret under every file that is missing.
    pub fn check_files(&self) -> Result<()> {
        let complaints: Vec<Complaint> = self
            .missing()
            .into_iter()
            .map(|missing| Complaint {
                message: format!("there is no file {}", missing.path),
                hint: Some(self.mend_of_missing(&missing)),
                place: Some(missing.place),
            })
            .collect();
        if complaints.is_empty() {
            Ok(())
        } else {
            Err(complaint::error(
                &complaints,
                &self.layers,
                &self.recipe.name,
            ))
        }
    }
}

fn current_folder() -> Result<PathBuf> {
    std::env::current_dir()
        .map_err(|error| Error::io(Path::new("."), "find the current folder", error))
}

/// Marks the tables of rows that are measured on.
fn measuring(mut recipe: Recipe) -> Recipe {
    let evals = [
        recipe.sft.as_mut().map(|stage| &mut stage.eval),
        recipe.reward.as_mut().map(|stage| &mut stage.eval),
        recipe.multi_objective.as_mut().map(|stage| &mut stage.eval),
        recipe.pairwise.as_mut().map(|stage| &mut stage.eval),
        recipe.verifier.as_mut().map(|stage| &mut stage.eval),
        recipe.dpo.as_mut().map(|stage| &mut stage.eval),
    ];
    let prompts = recipe.eval.as_mut().map(|stage| &mut stage.prompts);
    for data in evals.into_iter().flatten().flatten().chain(prompts) {
        data.measures = true;
    }
    recipe
}

/// Puts the defaults of the stages that are in `tree` under it.
fn under_stage_defaults(tree: &mut Table, layers: &mut Vec<Layer>) {
    let index = layers.len();
    layers.push(Layer {
        name: "default".to_owned(),
        text: STAGE_DEFAULTS.to_owned(),
        kind: LayerKind::Builtin,
        base: PathBuf::new(),
    });
    let defaults =
        parse(STAGE_DEFAULTS, index).expect("the built-in defaults are TOML: a test parses them");
    for (stage, mut entry) in defaults {
        let Some(over) = tree.get_mut(&stage) else {
            continue;
        };
        if let (Node::Table(under), Node::Table(own)) = (&mut entry.node, &mut over.node) {
            merge(under, std::mem::take(own));
            *own = std::mem::take(under);
        }
    }
}

/// The recipe, or every value in it that is of a wrong type. serde stops at the first: it is left out and the rest read
/// again, until nothing but a key that was left out is missing.
fn deserialize(tree: &Table) -> Result<Recipe, Vec<Complaint>> {
    let mut values = layers::plain(tree);
    let mut complaints: Vec<Complaint> = Vec::new();
    let mut left_out: Vec<String> = Vec::new();
    loop {
        let value = toml::Value::Table(values.clone());
        let error = match serde_path_to_error::deserialize(value) {
            Ok(recipe) if complaints.is_empty() => return Ok(recipe),
            Ok(_) => break,
            Err(error) => error,
        };
        let path: Vec<String> = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                _ => None,
            })
            .collect();
        let message = error.inner().message().trim();
        let missing = message.strip_prefix("missing field ");
        let missing = missing.map(|key| layers::join(&path.join("."), key.trim_matches('`')));
        if missing.as_ref().is_some_and(|key| left_out.contains(key)) {
            break;
        }
        complaints.push(wrong_value(message, &path, tree));
        match leave_out(&mut values, &path) {
            Some(key) if missing.is_none() => left_out.push(key),
            _ => break,
        }
    }
    Err(complaints)
}

/// Takes the value at a path out, or the list that holds it. Gives its key.
fn leave_out(values: &mut toml::Table, path: &[String]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    if let (Some(toml::Value::Table(inner)), false) = (values.get_mut(first), rest.is_empty()) {
        return leave_out(inner, rest).map(|key| layers::join(first, &key));
    }
    values.remove(first).map(|_| first.clone())
}

/// serde's words about a value in those of a recipe.
fn wrong_value(message: &str, path: &[String], tree: &Table) -> Complaint {
    let entry = find(tree, path).map(|(entry, _)| entry);
    let index = path.last().and_then(|last| last.parse::<usize>().ok());
    let key = path[..path.len() - usize::from(index.is_some())].join(".");
    if let Some(missing) = message.strip_prefix("missing field ") {
        let table = if key.is_empty() {
            "the recipe".to_owned()
        } else {
            format!("`[{key}]`")
        };
        return Complaint {
            place: entry.map(|entry| entry.key.clone()),
            message: format!("{table} lacks its key {missing}"),
            hint: schema::describe(&layers::join(&key, missing.trim_matches('`'))),
        };
    }
    let place = entry.map(|entry| match (&entry.node, index) {
        (Node::Leaf(_, places), Some(index)) if index < places.len() => places[index].clone(),
        _ => entry.value.clone(),
    });
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (word, expected) = rest.split_once(", expected ").unwrap_or((rest, ""));
        let choices: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let likely = complaint::closest(word.trim_matches('`'), choices.iter().copied());
        return Complaint {
            place,
            message: format!("`{key}` has no choice {word}"),
            hint: Some(match likely {
                Some(likely) => format!("did you mean `{likely}`?"),
                None => format!("choose one of {}", choices.join(", ")),
            }),
        };
    }
    let what = if index.is_some() {
        format!("an entry of `{key}`")
    } else {
        format!("`{key}`")
    };
    let message = match message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        Some((found, expected)) => format!("{what} is {}, not {found}", plain_type(expected)),
        None => format!("{what}: {message}"),
    };
    Complaint {
        place,
        message,
        hint: schema::describe(&key),
    }
}

/// A Rust type in a user's words.
fn plain_type(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" => "a whole number from 0",
        "f64" | "f32" => "a number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

fn collect_origins(
    values: &serde_json::Value,
    path: &[String],
    tree: &Table,
    layers: &[Layer],
    origins: &mut BTreeMap<String, Origin>,
) {
    let serde_json::Value::Object(table) = values else {
        return;
    };
    for (key, value) in table {
        let path = [path, std::slice::from_ref(key)].concat();
        if value.is_object() {
            collect_origins(value, &path, tree, layers, origins);
            continue;
        }
        let origin = match find(tree, &path) {
            Some((entry, true)) => {
                let layer = &layers[entry.key.layer];
                match layer.kind {
                    LayerKind::File => Origin::File {
                        file: layer.name.clone(),
                        line: line_number(&layer.text, entry.key.span.start),
                    },
                    LayerKind::Flag => Origin::Set,
                    LayerKind::Builtin => Origin::Default,
                }
            }
            _ => Origin::Default,
        };
        origins.insert(path.join("."), origin);
    }
}
