//! Which keys differ between two recipes.

use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// A recipe as dotted keys, each with its value as TOML writes it.
pub(super) type Keys = BTreeMap<String, String>;

/// One key that two recipes do not share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// The dotted key.
    pub key: String,
    /// Its value in the first recipe; none where it lacks the key.
    pub old: Option<String>,
    /// Its value in the second recipe.
    pub new: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not set)".into());
        write!(
            f,
            "{}: {} -> {}",
            self.key,
            side(&self.old),
            side(&self.new)
        )
    }
}

/// Reads a recipe as dotted keys; comments, order and layout do not count.
pub(super) fn keys(recipe: &str) -> Result<Keys> {
    let table: Table = recipe.parse().map_err(|e: toml::de::Error| {
        Error::data(format!("the recipe is no TOML: {}", e.message()))
    })?;
    let mut keys = Keys::new();
    flatten("", &table, &mut keys);
    Ok(keys)
}

/// The keys that differ, in the order of their names.
pub(super) fn differences(old: &Keys, new: &Keys) -> Vec<Difference> {
    let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    all.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Difference {
            key: key.clone(),
            old: old.get(key).cloned(),
            new: new.get(key).cloned(),
        })
        .collect()
}

fn flatten(prefix: &str, table: &Table, keys: &mut Keys) {
    for (name, value) in table {
        let key = match prefix {
            "" => name.clone(),
            _ => format!("{prefix}.{name}"),
        };
        match value {
            // An empty table is a choice too: `[judge.rules]`.
            Value::Table(inner) if !inner.is_empty() => flatten(&key, inner, keys),
            value => {
                keys.insert(key, value.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> Vec<String> {
        let (old, new) = (keys(old).unwrap(), keys(new).unwrap());
        differences(&old, &new)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn layout_and_comments_do_not_count() {
        let dotted = "train.beta = 0.1 # weak\nseed = 1";
        assert!(diff("seed = 1\n[train]\nbeta = 0.10", dotted).is_empty());
    }

    #[test]
    fn changed_added_and_removed_keys_are_named_with_their_tables() {
        let old = "seed = 1\n[train]\nbeta = 0.1\n[judge.rules]";
        let new = "seed = 2\n[train]\nbeta = 0.1\nepochs = 2";
        let want = [
            "judge.rules: {} -> (not set)",
            "seed: 1 -> 2",
            "train.epochs: (not set) -> 2",
        ];
        assert_eq!(diff(old, new), want);
    }
}
