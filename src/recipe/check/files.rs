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

/// Every data file of a tree, under the dotted key `path`, that is not there.
pub(in crate::recipe) fn missing_files(tree: &Table, path: &str, missing: &mut Vec<MissingFile>) {
    for (key, entry) in tree {
        let path = join(path, key);
        match &entry.node {
            Node::Table(_) if FREE_TABLES.contains(&key.as_str()) => {}
            Node::Table(inner) => missing_files(inner, &path, missing),
            Node::Leaf(toml::Value::Array(files), places) if key == "files" => {
                for (index, file) in files.iter().enumerate() {
                    let place = places.get(index).unwrap_or(&entry.value);
                    missing.extend(missing_file(file, &path, place));
                }
            }
            Node::Leaf(file, _) if key == "files" => {
                missing.extend(missing_file(file, &path, &entry.value));
            }
            Node::Leaf(..) => {}
        }
    }
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
    let named = |file: &toml::Value| file.as_str().is_some_and(|f| f.starts_with(HubSet::SCHEME));
    tree.iter().any(|(key, entry)| match &entry.node {
        Node::Table(inner) => !FREE_TABLES.contains(&key.as_str()) && names_data_sets(inner),
        Node::Leaf(toml::Value::Array(files), _) => key == "files" && files.iter().any(named),
        Node::Leaf(file, _) => key == "files" && named(file),
    })
}
