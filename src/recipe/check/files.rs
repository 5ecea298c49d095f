//! Data files that are not there.

use crate::recipe::layers::{FREE_TABLES, Node, Place, Table, join};
use crate::recipe::pattern::matching;
use crate::recipe::{Data, HubSet};
use std::path::Path;

/// A data file that is not there.
#[derive(Debug, Clone)]
pub(in crate::recipe) struct MissingFile {
    /// The dotted key that names it.
    pub key: String,
    /// Its path.
    pub path: String,
    /// Where the recipe names it.
    pub place: Place,
}

/// Hands on every entry of a tree's `files`, under the dotted key `path`, with its key and its place.
fn each_file(tree: &Table, path: &str, found: &mut dyn FnMut(&toml::Value, &str, &Place)) {
    for (key, entry) in tree {
        let path = join(path, key);
        match &entry.node {
            Node::Table(_) if FREE_TABLES.contains(&key.as_str()) => {}
            Node::Table(inner) => each_file(inner, &path, found),
            Node::Leaf(toml::Value::Array(files), places) if key == "files" => {
                for (index, file) in files.iter().enumerate() {
                    found(file, &path, places.get(index).unwrap_or(&entry.value));
                }
            }
            Node::Leaf(file, _) if key == "files" => found(file, &path, &entry.value),
            Node::Leaf(..) => {}
        }
    }
}

/// Every data file of a tree that is not there.
pub(in crate::recipe) fn missing_files(tree: &Table) -> Vec<MissingFile> {
    let mut missing = Vec::new();
    each_file(tree, "", &mut |file, key, place| {
        missing.extend(missing_file(file, key, place));
    });
    missing
}

fn missing_file(file: &toml::Value, key: &str, place: &Place) -> Option<MissingFile> {
    let path = file.as_str()?;
    let elsewhere = path.starts_with(Data::EMBEDDED) || path.starts_with(HubSet::SCHEME);
    let there = elsewhere || !matching(Path::new(path)).is_empty();
    (!there).then(|| MissingFile {
        key: key.to_owned(),
        path: path.to_owned(),
        place: place.clone(),
    })
}

/// Whether some table of a tree takes its rows from a data set of the hub.
pub(in crate::recipe) fn names_data_sets(tree: &Table) -> bool {
    let mut named = false;
    each_file(tree, "", &mut |file, _, _| {
        named |= file.as_str().is_some_and(|f| f.starts_with(HubSet::SCHEME));
    });
    named
}
