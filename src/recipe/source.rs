//! Where recipe files are read from (the disk, or the binary), and what a file extends.

use super::catalogue::{shipped_path, shipped_text};
use super::complaint::{self, Complaint};
use super::layers::{FREE_TABLES, Layer, LayerKind, Node, Place, Table, join, merge, parse};
use super::{Data, HubSet};
use crate::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// Where files are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Disk,
    /// The shipped recipes; their paths read `recipes/<family>/<recipe>.toml`.
    Binary,
}

impl Source {
    fn read(self, path: &Path) -> std::result::Result<String, String> {
        match self {
            Self::Disk => {
                let bytes = std::fs::read(path).map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
                    _ => format!("cannot read {}: {error}", path.display()),
                })?;
                String::from_utf8(bytes).map_err(|error| {
                    let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                        .iter()
                        .filter(|byte| **byte == b'\n')
                        .count()
                        + 1;
                    format!("{}:{line}: this is not UTF-8 text", path.display())
                })
            }
            Self::Binary => shipped_text(path)
                .map(str::to_owned)
                .ok_or_else(|| format!("no shipped recipe is called {}", path.display())),
        }
    }
}

impl Source {
    /// Where a name in `extends` leads from a file in `parent`: to a file beside it, else to a shipped recipe.
    fn base(self, named: &str, parent: &Path) -> (Self, PathBuf) {
        let beside = normal(&parent.join(named));
        let is_there = match self {
            Self::Disk => beside.exists(),
            Self::Binary => shipped_text(&beside).is_some(),
        };
        match shipped_path(named) {
            Some(shipped) if !is_there => (Self::Binary, shipped.into()),
            _ => (self, beside),
        }
    }
}

/// Reads a file and everything it extends into one tree; appends the texts to `layers`.
pub(super) fn read(
    source: Source,
    path: &Path,
    folder: &Path,
    layers: &mut Vec<Layer>,
) -> Result<Table> {
    let text = source.read(path).map_err(|message| {
        Error::user(message).hint("`duel recipe list` shows the recipes that come with duel")
    })?;
    read_text(source, path, text, folder, layers, &mut Vec::new())
}

fn read_text(
    source: Source,
    path: &Path,
    text: String,
    folder: &Path,
    layers: &mut Vec<Layer>,
    open: &mut Vec<PathBuf>,
) -> Result<Table> {
    let index = layers.len();
    let parent = path.parent().unwrap_or(Path::new(""));
    let name = path.display().to_string();
    layers.push(Layer {
        name: name.clone(),
        text: text.clone(),
        kind: LayerKind::File,
        base: normal(&folder.join(parent)),
    });
    let fail =
        |complaint: Complaint, layers: &[Layer]| complaint::error(&[complaint], layers, &name);
    let mut own = parse(&text, index).map_err(|complaint| fail(complaint, layers))?;
    let bases = extends(&mut own, index).map_err(|complaint| fail(complaint, layers))?;
    open.push(normal(path));
    let mut merged = Table::new();
    for (named, place) in bases {
        let (source, base) = source.base(&named, parent);
        let complain = |message: String, hint: &str| Complaint {
            place: Some(place.clone()),
            message,
            hint: Some(hint.to_owned()),
        };
        if open.contains(&base) {
            let message = format!("{} extends itself", base.display());
            return Err(fail(
                complain(message, "take one of the `extends` away"),
                layers,
            ));
        }
        let text = source.read(&base).map_err(|message| {
            fail(
                complain(
                    message,
                    "paths in `extends` are relative to this file; a recipe that comes with duel goes by its name \
                     (`duel recipe list`)",
                ),
                layers,
            )
        })?;
        merge(
            &mut merged,
            read_text(source, &base, text, folder, layers, open)?,
        );
    }
    open.pop();
    merge(&mut merged, own);
    Ok(merged)
}

/// Takes `extends` out of a file's tree: the files it names and where it names them.
fn extends(
    table: &mut Table,
    layer: usize,
) -> std::result::Result<Vec<(String, Place)>, Complaint> {
    let Some(entry) = table.remove("extends") else {
        return Ok(Vec::new());
    };
    let wrong = Complaint {
        place: Some(Place {
            layer,
            span: entry.value.span.clone(),
        }),
        message: "`extends` is a list of files".to_owned(),
        hint: Some("write `extends = [\"base.toml\"]`".to_owned()),
    };
    let Node::Leaf(toml::Value::Array(files), places) = entry.node else {
        return Err(wrong);
    };
    files
        .into_iter()
        .zip(places)
        .map(|(file, place)| match file {
            toml::Value::String(file) => Ok((file, place)),
            _ => Err(wrong.clone()),
        })
        .collect()
}

/// Makes the relative paths in a tree absolute: each starts at the folder of the layer that names it. Hub ids and
/// model folders stay as they are, since the two cannot be told apart here.
pub(super) fn resolve_paths(table: &mut Table, layers: &[Layer], path: &str) {
    for (key, entry) in table {
        let path = join(path, key);
        match &mut entry.node {
            Node::Table(_) if FREE_TABLES.contains(&key.as_str()) => {}
            Node::Table(inner) => resolve_paths(inner, layers, &path),
            Node::Leaf(value, _) if key == "files" => {
                each_text(value, &|file| {
                    of_rows(file, &layers[entry.value.layer].base)
                });
            }
            Node::Leaf(value, _) if path == "model.new.tokenizer" => {
                each_text(value, &|path| {
                    absolute(path, &layers[entry.value.layer].base)
                });
            }
            Node::Leaf(..) => {}
        }
    }
}

/// Changes a text, or each text of a list.
fn each_text(value: &mut toml::Value, change: &dyn Fn(&str) -> String) {
    match value {
        toml::Value::Array(values) => values.iter_mut().for_each(|value| each_text(value, change)),
        toml::Value::String(text) => *text = change(text),
        _ => {}
    }
}

/// Rows by a name that means the same everywhere: an absolute path, or the long form of a data set of the hub, where neither a
/// file nor the folder of one has that path. A wrong form of the latter stays, and is complained of later.
fn of_rows(file: &str, base: &Path) -> String {
    if file.starts_with(Data::EMBEDDED) {
        return file.to_owned();
    }
    let folder = file.split_once('/').map_or(file, |(folder, _)| folder);
    if base.join(file).exists() || base.join(folder).is_dir() {
        return absolute(file, base);
    }
    match HubSet::parse(file) {
        Ok(Some(set)) => set.to_string(),
        Ok(None) => absolute(file, base),
        Err(_) => file.to_owned(),
    }
}

fn absolute(path: &str, base: &Path) -> String {
    normal(&base.join(path)).display().to_string()
}

/// Without `.` and, where possible, without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(parts.components().next_back(), Some(Component::Normal(_))) =>
            {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}
