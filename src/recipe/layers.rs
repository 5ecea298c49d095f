//! The layers of a recipe as one tree in which every value still knows the text it came from.

use super::complaint::Complaint;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::de::{DeTable, DeValue};

/// One text that gives values: a file, a `--set`, or the built-in defaults.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// What errors call it: the path of the file, or `--set`.
    pub name: String,
    /// The whole text.
    pub text: String,
    pub kind: LayerKind,
    /// What relative paths in it are relative to.
    pub base: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerKind {
    File,
    Flag,
    Builtin,
}

/// A stretch of a layer's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the layer.
    pub layer: usize,
    /// Bytes of its text.
    pub span: Range<usize>,
}

/// A table's value and where its key and value stand.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: Place,
    pub value: Place,
    pub node: Node,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Table(Table),
    /// Anything else; of a list, also the places of its entries.
    Leaf(toml::Value, Vec<Place>),
}

/// Keys to values, sorted.
pub(super) type Table = BTreeMap<String, Entry>;

/// Parses `text` as layer number `layer`.
pub(super) fn parse(text: &str, layer: usize) -> Result<Table, Complaint> {
    let broken = |error: toml::de::Error| Complaint {
        place: Some(Place {
            layer,
            span: error.span().unwrap_or(text.len()..text.len()),
        }),
        message: format!("this is not TOML: {}", error.message()),
        hint: None,
    };
    // Twice: one parse knows the places, the other the values.
    let places = DeTable::parse(text).map_err(broken)?;
    let values: toml::Table = toml::from_str(text).map_err(broken)?;
    Ok(table(places.get_ref(), values, layer))
}

fn table(places: &DeTable<'_>, mut values: toml::Table, layer: usize) -> Table {
    let place = |span: Range<usize>| Place { layer, span };
    let mut entries = Table::new();
    for (key, value) in places {
        let Some(plain) = values.remove(key.get_ref().as_ref()) else {
            continue;
        };
        let node = match (value.get_ref(), plain) {
            (DeValue::Table(inner), toml::Value::Table(plain)) => {
                Node::Table(table(inner, plain, layer))
            }
            (DeValue::Array(items), plain) => {
                Node::Leaf(plain, items.iter().map(|item| place(item.span())).collect())
            }
            (_, plain) => Node::Leaf(plain, Vec::new()),
        };
        entries.insert(
            key.get_ref().to_string(),
            Entry {
                key: place(key.span()),
                value: place(value.span()),
                node,
            },
        );
    }
    entries
}

/// Tables of which a recipe has one alternative: a later layer's replaces an earlier one's.
const CHOICES: [&str; 1] = ["online.judge"];

/// Tables whose keys are the user's own: a column called `files` names no file.
pub(super) const FREE_TABLES: [&str; 2] = ["columns", "filter"];

/// Puts `over` on top of `under`: tables are merged key by key, everything else is replaced.
pub(super) fn merge(under: &mut Table, over: Table) {
    merge_at(under, over, "", true);
}

/// The same of two parts of one layer, such as two `--set`: neither takes anything of the other away.
pub(super) fn combine(under: &mut Table, over: Table) {
    merge_at(under, over, "", false);
}

fn merge_at(under: &mut Table, over: Table, path: &str, replaces: bool) {
    if CHOICES.contains(&path)
        && over
            .values()
            .any(|entry| matches!(entry.node, Node::Table(_)))
    {
        under.retain(|key, _| over.contains_key(key));
    }
    // A split is of the sets that are named beside it.
    if replaces && over.contains_key("files") && !over.contains_key("split") {
        under.remove("split");
    }
    for (key, entry) in over {
        let path = join(path, &key);
        match (under.get_mut(&key), entry.node) {
            (Some(old), Node::Table(new)) => {
                if let Node::Table(inner) = &mut old.node {
                    merge_at(inner, new, &path, replaces);
                } else {
                    old.node = Node::Table(new);
                }
                old.key = entry.key;
                old.value = entry.value;
            }
            (_, node) => {
                under.insert(key, Entry { node, ..entry });
            }
        }
    }
}

/// `"a.b"` and `"c"` to `"a.b.c"`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The entry at a path, or the deepest one on the way there; `true` if the path was followed to its end.
pub(super) fn find<'t>(table: &'t Table, path: &[String]) -> Option<(&'t Entry, bool)> {
    let (first, rest) = path.split_first()?;
    let entry = table.get(first)?;
    match &entry.node {
        Node::Table(inner) if !rest.is_empty() => Some(find(inner, rest).unwrap_or((entry, false))),
        _ => Some((entry, rest.is_empty())),
    }
}

/// The same tree as plain TOML.
pub(super) fn plain(table: &Table) -> toml::Table {
    table
        .iter()
        .map(|(key, entry)| {
            let value = match &entry.node {
                Node::Table(inner) => toml::Value::Table(plain(inner)),
                Node::Leaf(value, _) => value.clone(),
            };
            (key.clone(), value)
        })
        .collect()
}
