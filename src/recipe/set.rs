//! `--set a.b=value`: a layer of one value, typed as TOML or left as a bare word.

use super::complaint::Complaint;
use super::layers::{Entry, Layer, LayerKind, Node, Place, Table, parse};
use std::path::Path;

/// What stands before the assignment in the text that errors show.
const FLAG: &str = "--set ";

/// The text of one flag as a layer; relative paths in it start at `folder`.
pub(super) fn layer(flag: &str, folder: &Path) -> Layer {
    Layer {
        name: "--set".to_owned(),
        text: format!("{FLAG}{flag}"),
        kind: LayerKind::Flag,
        base: folder.to_owned(),
    }
}

/// The tree of the flag `a.b=value`, which is layer number `layer`.
pub(super) fn tree(flag: &str, layer: usize) -> Result<Table, Complaint> {
    let whole = FLAG.len()..FLAG.len() + flag.len();
    let Some((path, value)) = flag.split_once('=') else {
        return Err(Complaint {
            place: Some(Place { layer, span: whole }),
            message: "a value is missing".to_owned(),
            hint: Some("write `--set table.key=value`".to_owned()),
        });
    };
    // One parse for the key, with a stand-in for its value, and one for the value: if that is no TOML, it is a word.
    let mut table = parse(&format!("{path}=0"), layer).map_err(|complaint| Complaint {
        place: Some(Place {
            layer,
            span: FLAG.len()..FLAG.len() + path.len(),
        }),
        message: format!("`{path}` is not the name of a key"),
        hint: complaint.hint,
    })?;
    let value_place = Place {
        layer,
        span: FLAG.len() + path.len() + 1..whole.end,
    };
    shift(&mut table, FLAG.len());
    put(&mut table, value_of(value), &value_place);
    Ok(table)
}

fn value_of(text: &str) -> toml::Value {
    match toml::from_str::<toml::Table>(&format!("value = {text}")) {
        Ok(mut table) if table.len() == 1 => match table.remove("value") {
            Some(toml::Value::Datetime(_)) | None => toml::Value::String(text.to_owned()),
            Some(value) => value,
        },
        _ => toml::Value::String(text.to_owned()),
    }
}

/// Moves every place to the right: the key was parsed without the `--set ` in front of it.
fn shift(table: &mut Table, by: usize) {
    for entry in table.values_mut() {
        entry.key.span = entry.key.span.start + by..entry.key.span.end + by;
        if let Node::Table(inner) = &mut entry.node {
            shift(inner, by);
        }
    }
}

/// Replaces the stand-in at the end of the only path.
fn put(table: &mut Table, value: toml::Value, place: &Place) {
    for entry in table.values_mut() {
        entry.value = place.clone();
        match &mut entry.node {
            Node::Table(inner) => put(inner, value.clone(), place),
            Node::Leaf(..) => entry.node = node(value.clone(), place),
        }
    }
}

/// A value as a node: an inline table can be merged like any other.
fn node(value: toml::Value, place: &Place) -> Node {
    match value {
        toml::Value::Table(table) => Node::Table(
            table
                .into_iter()
                .map(|(key, value)| {
                    let entry = Entry {
                        key: place.clone(),
                        value: place.clone(),
                        node: node(value, place),
                    };
                    (key, entry)
                })
                .collect(),
        ),
        value => Node::Leaf(value, Vec::new()),
    }
}
