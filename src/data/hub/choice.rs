//! Which data set a name stands for, and which of its files.

use crate::data::Catalog;
use crate::error::{Error, Result};
use crate::recipe::{HubSet, has_rows};
use std::collections::BTreeMap;

/// The set that a name stands for; none of one that can only be a path.
pub(super) fn parse(text: &str) -> Result<Option<HubSet>> {
    let catalog = Catalog::built_in();
    let hub = catalog.find(text).ok().map(|(_, set)| set.hub.as_str());
    HubSet::parse(hub.unwrap_or(text))
}

/// Which of a set's files are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Those that the hub lists.
    All,
    /// Those of the cache: another split may be what was asked for.
    Cached,
}

/// Words of which a path tells its split.
const SPLITS: [&str; 9] = [
    "train",
    "test",
    "validation",
    "valid",
    "val",
    "dev",
    "eval",
    "filtered",
    "raw",
];

/// The files that a name asks for, of those that a set has.
pub(super) fn choose(
    files: &[String],
    id: &HubSet,
    splits: &[&str],
    known: Known,
) -> Result<Vec<String>> {
    let path = id.path.as_deref();
    if let Some(path) = path.filter(|path| files.iter().any(|file| file == path)) {
        return Ok(vec![path.to_owned()]);
    }
    let asked = |file: &&String| match path {
        None => true,
        Some(path) if path.contains('*') => matches(path, file),
        Some(folder) => file
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/')),
    };
    let mut found: Vec<String> = files
        .iter()
        .filter(|file| has_rows(file))
        .filter(asked)
        .cloned()
        .collect();
    found.sort();
    if found.is_empty() {
        let within = path.map_or(String::new(), |path| format!(" at `{path}`"));
        return Err(Error::user(format!("{} has no file of rows{within}", id.id()))
            .hint("duel reads .jsonl, .ndjson, .json and .parquet; look at the set's page for the files' names"));
    }
    if let Some(missing) = found
        .iter()
        .flat_map(|file| shards(file))
        .find(|(stem, ending)| {
            asked(&&format!("{stem}{ending}")) && !found.iter().any(|file| file.starts_with(stem))
        })
    {
        return Err(incomplete(id, &missing.0, known));
    }
    if path.is_some_and(|path| path.contains('*')) {
        return Ok(found);
    }
    let mut by_split: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in found {
        by_split
            .entry(split_of(&file).to_owned())
            .or_default()
            .push(file);
    }
    let mut left: Vec<&String> = by_split.keys().collect();
    if let Some(wanted) = splits
        .iter()
        .find(|wanted| left.iter().any(|split| is_of(split, wanted)))
    {
        left.retain(|split| is_of(split, wanted));
        if left.iter().any(|split| is_named(split, wanted)) {
            left.retain(|split| is_named(split, wanted));
        }
    }
    match left[..] {
        [only] if known == Known::Cached && is_of_another(only, splits) => Err(Error::user(
            format!("of {} the cache has nothing but {only}", id.id()),
        )
        .hint("unset HF_HUB_OFFLINE once to download the rest, or name the file")),
        [only] => Ok(by_split[only].clone()),
        _ => Err(several(id, &left, &by_split)),
    }
}

/// The stem and the ending of each shard of which a file is one: `data/test-00000-of-00002` and `.parquet`.
fn shards(file: &str) -> Vec<(String, String)> {
    let stem = split_of(file);
    let parts = file[stem.len()..]
        .strip_prefix('-')
        .and_then(|rest| rest.split_once("-of-"));
    let Some((number, rest)) = parts else {
        return Vec::new();
    };
    let digits = rest
        .find(|sign: char| !sign.is_ascii_digit())
        .unwrap_or(rest.len());
    let (all, ending) = rest.split_at(digits);
    let (width, count) = (number.len(), all.parse().unwrap_or(0_usize));
    (0..count)
        .map(|at| (format!("{stem}-{at:0width$}-of-{all}"), ending.to_owned()))
        .collect()
}

fn incomplete(id: &HubSet, missing: &str, known: Known) -> Error {
    let (place, hint) = match known {
        Known::All => ("the hub", "name the files that are there, with a `*`"),
        Known::Cached => (
            "the cache",
            "unset HF_HUB_OFFLINE once to download the rest",
        ),
    };
    Error::user(format!("of {} {place} lacks {missing}", id.id())).hint(hint)
}

/// A file's path without the number of its shard and its ending: `data/test` of `data/test-00000-of-00002.parquet`.
fn split_of(file: &str) -> &str {
    let from = file.rfind('/').map_or(0, |at| at + 1);
    let name = &file[from..];
    let shard = name.find("-0").filter(|at| name[*at..].contains("-of-"));
    // Of `q-v0.1.jsonl` only the ending is none of the name.
    let mut plain = name;
    for ending in [".gz", ".jsonl", ".ndjson", ".json", ".parquet"] {
        let cut = plain.len().saturating_sub(ending.len());
        if plain
            .get(cut..)
            .is_some_and(|end| end.eq_ignore_ascii_case(ending))
        {
            plain = &plain[..cut];
        }
    }
    &file[..from + shard.unwrap_or(plain.len())]
}

/// Whether a path names a split, and none of those that are asked for.
fn is_of_another(path: &str, asked: &[&str]) -> bool {
    let of = |splits: &[&str]| splits.iter().any(|split| is_of(path, split));
    !asked.is_empty() && of(&SPLITS) && !of(asked)
}

/// Whether a path's last part, or some word of the path, is the split's name.
fn is_of(path: &str, split: &str) -> bool {
    let mut words = path.split(|sign: char| !sign.is_ascii_alphanumeric());
    is_named(path, split) || words.any(|word| word == split)
}

/// Whether a path's last part is the split's name: `train_prefs` has a word that `train_sft` has, too.
fn is_named(path: &str, split: &str) -> bool {
    path.rsplit('/').next() == Some(split)
}

/// Parts that an error names.
const NAMED: usize = 12;

fn several(id: &HubSet, splits: &[&String], files: &BTreeMap<String, Vec<String>>) -> Error {
    let mut named: Vec<&str> = splits
        .iter()
        .take(NAMED)
        .map(|split| split.as_str())
        .collect();
    if splits.len() > NAMED {
        named.push("...");
    }
    // A name with a bare `*` behind it may be how another begins.
    let first = match splits.first().map(|split| (split, &files[*split][..])) {
        Some((_, [only])) => only.clone(),
        Some((split, _)) => format!("{split}-0*"),
        None => String::new(),
    };
    Error::user(format!(
        "{} has several parts: {}",
        id.id(),
        named.join(", ")
    ))
    .hint(format!(
        "name one, for example {}{}/{first}",
        HubSet::SCHEME,
        id.id()
    ))
}

/// Whether a name fits a pattern, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn id(text: &str) -> HubSet {
        parse(text).expect("a name").expect("of a data set")
    }

    #[test]
    fn the_catalogue_knows_sets_by_short_names() {
        assert_eq!(id("reward-bench").id(), "allenai/reward-bench");
        assert_eq!(parse("pairs.jsonl").expect("a path"), None);
    }

    #[test]
    fn of_several_splits_the_wanted_one_is_taken_with_all_its_shards() {
        let set = files(&[
            "README.md",
            "dataset_infos.json",
            "data/filtered-00000-of-00001.parquet",
            "data/raw-00001-of-00002.parquet",
            "data/raw-00000-of-00002.parquet",
        ]);
        let chosen = |text: &str, splits: &[&str]| choose(&set, &id(text), splits, Known::All);
        let filtered = chosen("me/rows", &["filtered"]).expect("one split");
        assert_eq!(filtered, ["data/filtered-00000-of-00001.parquet"]);
        let raw = [
            "data/raw-00000-of-00002.parquet",
            "data/raw-00001-of-00002.parquet",
        ];
        assert_eq!(
            chosen("hf://datasets/me/rows/data/raw*", &[]).expect("a pattern"),
            raw
        );
        assert_eq!(
            chosen("me/rows", &["test", "raw"]).expect("the second"),
            raw
        );
        let error = chosen("me/rows", &["test"]).expect_err("neither");
        assert_eq!(
            error.message,
            "me/rows has several parts: data/filtered, data/raw"
        );
        assert_eq!(
            error.hint.as_deref(),
            Some(
                "name one, for example hf://datasets/me/rows/data/filtered-00000-of-00001.parquet"
            )
        );
        let error = chosen("hf://datasets/me/rows/other", &[]).expect_err("no such folder");
        assert!(
            error.message.contains("no file of rows at `other`"),
            "{error}"
        );
    }

    #[test]
    fn a_split_of_its_own_name_goes_before_those_that_share_a_word() {
        let set = files(&[
            "data/train-00000-of-00001.parquet",
            "data/train_prefs-00000-of-00001.parquet",
            "data/train_sft-00000-of-00001.parquet",
        ]);
        for (split, file) in [("train", 0), ("train_prefs", 1)] {
            let found = choose(&set, &id("me/rows"), &[split], Known::All).expect("one split");
            assert_eq!(found, [set[file].clone()], "{split}");
        }
        assert!(choose(&set[1..], &id("me/rows"), &["train"], Known::All).is_err());
    }

    #[test]
    fn subsets_are_folders_that_can_be_named() {
        let set = files(&[
            "all/test-00000-of-00001.parquet",
            "law/test-00000-of-00001.parquet",
            "all/dev-00000-of-00001.parquet",
        ]);
        assert!(choose(&set, &id("me/rows"), &["test"], Known::All).is_err());
        let found = choose(
            &set,
            &id("hf://datasets/me/rows/all"),
            &["test"],
            Known::All,
        )
        .expect("one");
        assert_eq!(found, ["all/test-00000-of-00001.parquet"]);
        let one = choose(
            &files(&["question.jsonl"]),
            &id("me/rows"),
            &["test"],
            Known::All,
        )
        .expect("the only one");
        assert_eq!(one, ["question.jsonl"]);
    }

    #[test]
    fn a_version_is_part_of_a_name() {
        let set = files(&["q-v0.1.jsonl", "q-v0.2.jsonl.gz"]);
        let error = choose(&set, &id("me/rows"), &["test"], Known::All).expect_err("two");
        assert!(error.message.contains("q-v0.1, q-v0.2"), "{error}");
        let hint = error.hint.unwrap_or_default();
        assert!(hint.ends_with("/q-v0.1.jsonl"), "{hint}");
    }

    #[test]
    fn the_cache_is_not_taken_for_the_set() {
        let cached =
            |names: &[&str], text: &str| choose(&files(names), &id(text), &["test"], Known::Cached);
        let half = ["data/test-00001-of-00002.parquet"];
        let error = cached(&half, "me/rows").expect_err("a shard is missing");
        assert!(
            error.message.contains("lacks data/test-00000-of-00002"),
            "{error}"
        );
        let one = "hf://datasets/me/rows/data/test-00001*";
        assert_eq!(cached(&half, one).expect("as asked"), half);
        let train = ["data/train-00000-of-00001.parquet"];
        let error = cached(&train, "me/rows").expect_err("no test");
        assert!(error.message.contains("nothing but data/train"), "{error}");
        for fine in ["data/test-00000-of-00001.parquet", "question.jsonl"] {
            assert_eq!(cached(&[fine], "me/rows").expect("fine"), [fine]);
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fits) in [
            ("data/*", "data/a.jsonl", true),
            ("data/*.parquet", "data/a.jsonl", false),
            ("*a*b*", "xaxbx", true),
            ("*a*b", "xbxa", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
