//! Which data set a name stands for, and which of its files.

use crate::data::{Catalog, DataSet};
use crate::error::{Error, Result};
use crate::recipe::{HubSet, has_rows};
use std::collections::BTreeMap;

/// The set that a name stands for; none of one that can only be a path.
pub(super) fn parse(text: &str) -> Result<Option<HubSet>> {
    let catalog = Catalog::built_in();
    let hub = catalog.find(text).ok().map(|(_, set)| set.hub.as_str());
    HubSet::parse(hub.unwrap_or(text))
}

/// What the catalogue knows of a set.
pub(super) fn known(id: &HubSet) -> Option<DataSet> {
    let catalog = Catalog::built_in();
    let found = catalog.find(&format!("{}/{}", id.owner, id.name));
    found.ok().map(|(_, set)| set.clone())
}

/// Which of a set's splits is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Split {
    /// This one: a set without it is an error.
    Named(String),
    /// The first of these that the set has, or its only one.
    Among(&'static [&'static str]),
}

impl Split {
    /// What is learnt from.
    pub const TRAIN: Self = Self::Among(&["train"]);
    /// What is measured on.
    pub const TEST: Self = Self::Among(&["test", "validation", "eval"]);

    /// The names, the wanted one first. Of a known set its own names for them go before.
    fn names(&self, id: &HubSet) -> Vec<String> {
        let usual = match self {
            Self::Named(name) => return vec![name.clone()],
            Self::Among(usual) => usual.iter(),
        };
        let own = known(id).map(|set| set.splits).unwrap_or_default();
        let means = |own: &String| usual.clone().any(|usual| is_of(own, usual));
        let own: Vec<String> = own.into_iter().filter(means).collect();
        let usual = usual.clone().map(|usual| (*usual).to_owned());
        own.into_iter().chain(usual).collect()
    }
}

/// Which of a set's files are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Those that the hub lists.
    All,
    /// Those of a cache that another program filled: another split may be what was asked for.
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
    split: &Split,
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
    let names = split.names(id);
    let mut left: Vec<&String> = by_split.keys().collect();
    if let Split::Named(name) = split {
        // A word in a path is a guess, which is not for a split that was asked for.
        let asked: Vec<&String> = left
            .iter()
            .copied()
            .filter(|part| is_split(part, name))
            .collect();
        if asked.is_empty() {
            return Err(several(id, &left, &by_split, Some(name)));
        }
        left = asked;
    }
    let wanted = names
        .iter()
        .find(|name| left.iter().any(|part| is_of(part, name)));
    if let Some(name) = wanted {
        left = of_split(left, name);
    }
    match left[..] {
        [only] if known == Known::Cached && is_of_another(only, &names) => Err(Error::user(
            format!("of {} the cache has nothing but {only}", id.id()),
        )
        .hint("unset HF_HUB_OFFLINE once to download the rest, or name the file")),
        [only] => Ok(by_split[only].clone()),
        _ => Err(several(id, &left, &by_split, None)),
    }
}

/// The parts of a split: those of exactly its name, where all lie in one folder, else all with that word in their path.
fn of_split<'a>(mut parts: Vec<&'a String>, split: &str) -> Vec<&'a String> {
    parts.retain(|part| is_of(part, split));
    let folder = |part: &String| part.rfind('/').map(|at| part[..at].to_owned());
    let together = parts.windows(2).all(|two| folder(two[0]) == folder(two[1]));
    if together && parts.iter().any(|part| is_named(part, split)) {
        parts.retain(|part| is_named(part, split));
    }
    parts
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
fn is_of_another(path: &str, asked: &[String]) -> bool {
    let some = SPLITS.iter().any(|split| is_of(path, split));
    !asked.is_empty() && some && !asked.iter().any(|split| is_of(path, split))
}

/// Whether a path's last part, or some word of the path, is the split's name.
fn is_of(path: &str, split: &str) -> bool {
    let mut words = path.split(|sign: char| !sign.is_ascii_alphanumeric());
    is_named(path, split) || words.any(|word| word == split)
}

/// Whether a part is the split: its last part has that name, or a folder has and the file names no split.
fn is_split(part: &str, split: &str) -> bool {
    let mut folders: Vec<&str> = part.split('/').collect();
    let file = folders.pop().unwrap_or_default();
    let tells = SPLITS.iter().any(|known| is_of(file, known));
    is_named(part, split) || folders.contains(&split) && !tells
}

/// Whether a path's last part is the split's name: `train_prefs` has a word that `train_sft` has, too.
fn is_named(path: &str, split: &str) -> bool {
    path.rsplit('/').next() == Some(split)
}

/// Parts that an error names.
const NAMED: usize = 12;

/// A set of which nothing says what part is meant, or that lacks the split that was asked for.
fn several(
    id: &HubSet,
    parts: &[&String],
    files: &BTreeMap<String, Vec<String>>,
    lacking: Option<&str>,
) -> Error {
    let mut named: Vec<&str> = parts.iter().take(NAMED).map(|part| part.as_str()).collect();
    if parts.len() > NAMED {
        named.push("...");
    }
    // A name with a bare `*` behind it may be how another begins.
    let first = match parts.first().map(|part| (part, &files[*part][..])) {
        Some((_, [only])) => only.clone(),
        Some((part, _)) => format!("{part}-0*"),
        None => String::new(),
    };
    let (name, named) = (id.id(), named.join(", "));
    let fact = match lacking {
        Some(split) => format!("{name} has no part `{split}`; it has {named}"),
        None => format!("{name} has several parts: {named}"),
    };
    Error::user(fact).hint(format!(
        "name one, for example {}{name}/{first}, or in a recipe the `split` beside `files`",
        HubSet::SCHEME
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

    const NONE: Split = Split::Among(&[]);

    fn named(split: &str) -> Split {
        Split::Named(split.to_owned())
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
        let chosen = |text: &str, split: &Split| choose(&set, &id(text), split, Known::All);
        let filtered = chosen("me/rows", &named("filtered")).expect("one split");
        assert_eq!(filtered, ["data/filtered-00000-of-00001.parquet"]);
        let raw = [
            "data/raw-00000-of-00002.parquet",
            "data/raw-00001-of-00002.parquet",
        ];
        let pattern = "hf://datasets/me/rows/data/raw*";
        assert_eq!(chosen(pattern, &NONE).expect("a pattern"), raw);
        let second = Split::Among(&["test", "raw"]);
        assert_eq!(chosen("me/rows", &second).expect("the second"), raw);
        let error = chosen("me/rows", &Split::TEST).expect_err("neither");
        assert_eq!(
            error.message,
            "me/rows has several parts: data/filtered, data/raw"
        );
        let hint = error.hint.unwrap_or_default();
        let first = "hf://datasets/me/rows/data/filtered-00000-of-00001.parquet";
        assert!(hint.contains(first), "{hint}");
        let error = chosen("hf://datasets/me/rows/other", &NONE).expect_err("no such folder");
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
            let found = choose(&set, &id("me/rows"), &named(split), Known::All);
            assert_eq!(found.expect("one split"), [set[file].clone()], "{split}");
        }
        assert!(choose(&set[1..], &id("me/rows"), &Split::TRAIN, Known::All).is_err());
        // The catalogue knows which of them is meant.
        let known = choose(&set[1..], &id("ultrafeedback"), &Split::TRAIN, Known::All);
        assert_eq!(known.expect("its own"), [set[1].clone()]);
        // A split of one language is not that of all.
        let folders = files(&["en/train.jsonl", "fr/train_clean.jsonl"]);
        assert!(choose(&folders, &id("me/rows"), &Split::TRAIN, Known::All).is_err());
    }

    #[test]
    fn a_split_that_was_asked_for_is_that_split_or_an_error() {
        let only = files(&["data/train-00000-of-00001.parquet"]);
        let chosen = |split: &Split| choose(&only, &id("me/rows"), split, Known::All);
        assert_eq!(chosen(&Split::TEST).expect("the only one"), only);
        let error = chosen(&named("test")).expect_err("not there");
        assert_eq!(
            error.message,
            "me/rows has no part `test`; it has data/train"
        );
        let words = files(&["test_suite/train.jsonl", "test/0000.jsonl"]);
        let found = choose(&words, &id("me/rows"), &named("test"), Known::All);
        assert_eq!(found.expect("a folder"), ["test/0000.jsonl"]);
        assert!(choose(&words[..1], &id("me/rows"), &named("test"), Known::All).is_err());
    }

    #[test]
    fn subsets_are_folders_that_can_be_named() {
        let set = files(&[
            "all/test-00000-of-00001.parquet",
            "law/test-00000-of-00001.parquet",
            "all/dev-00000-of-00001.parquet",
        ]);
        let chosen =
            |files: &[String], text: &str| choose(files, &id(text), &Split::TEST, Known::All);
        assert!(chosen(&set, "me/rows").is_err());
        let found = chosen(&set, "hf://datasets/me/rows/all").expect("one");
        assert_eq!(found, ["all/test-00000-of-00001.parquet"]);
        let one = chosen(&files(&["question.jsonl"]), "me/rows").expect("the only one");
        assert_eq!(one, ["question.jsonl"]);
    }

    #[test]
    fn a_version_is_part_of_a_name() {
        let set = files(&["q-v0.1.jsonl", "q-v0.2.jsonl.gz"]);
        let error = choose(&set, &id("me/rows"), &Split::TEST, Known::All).expect_err("two");
        assert!(error.message.contains("q-v0.1, q-v0.2"), "{error}");
        let hint = error.hint.unwrap_or_default();
        assert!(hint.contains("/q-v0.1.jsonl,"), "{hint}");
    }

    #[test]
    fn the_cache_is_not_taken_for_the_set() {
        let cached = |names: &[&str], text: &str| {
            choose(&files(names), &id(text), &Split::TEST, Known::Cached)
        };
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
