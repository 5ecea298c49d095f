//! The name of a data set on the Hugging Face hub.

use crate::error::{Error, Result};
use std::fmt;

/// Files beside the rows that end as files of rows do.
const NO_ROWS: [&str; 3] = ["dataset_infos.json", "dataset_dict.json", "state.json"];

/// A data set's name, taken apart. It is written `owner/name`, `owner/name@revision`, or as other programs have it,
/// `hf://datasets/owner/name@revision/path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubSet {
    /// Whose it is.
    pub owner: String,
    /// What it is called there.
    pub name: String,
    /// Branch, tag or commit.
    pub revision: Option<String>,
    /// A file, a folder, or a pattern with `*`.
    pub path: Option<String>,
}

impl HubSet {
    /// What the long form of a name begins with.
    pub const SCHEME: &'static str = "hf://datasets/";

    /// The set that a text names; none where the text can only be a path.
    ///
    /// # Errors
    /// A text that begins as the long form and is none.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let long = text.strip_prefix(Self::SCHEME);
        if let (None, Some(rest)) = (long, text.strip_prefix("hf://")) {
            return Err(Error::user(format!("{text} names no data set"))
                .hint(format!("write it as {}{rest}", Self::SCHEME)));
        }
        let name = text.split('@').next().unwrap_or_default();
        let is_path =
            text.starts_with(['.', '/', '~']) || name.matches('/').count() != 1 || is_file(text);
        if long.is_none() && is_path {
            return Ok(None);
        }
        match (Self::of(long.unwrap_or(text)), long) {
            (Some(set), _) => Ok(Some(set)),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::user(format!("{text} names no data set")).hint(format!(
                "write it as {0}owner/name, {0}owner/name/file.parquet or {0}owner/name@revision",
                Self::SCHEME
            ))),
        }
    }

    /// `owner/name[@revision][/path]`, taken apart.
    fn of(text: &str) -> Option<Self> {
        let (owner, rest) = text.split_once('/')?;
        let end = rest.find(['@', '/']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let (revision, path) = match rest.strip_prefix('@') {
            Some(rest) => {
                let (revision, path) = rest.split_at(revision_end(rest));
                (Some(revision.replace("%2F", "/")), path)
            }
            None => (None, rest),
        };
        let path = path.trim_matches('/');
        let sound = plain(owner) && plain(name) && revision.as_deref() != Some("");
        sound.then(|| Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision,
            path: (!path.is_empty()).then(|| path.to_owned()),
        })
    }

    /// `owner/name@revision`, without a path in the set.
    pub fn id(&self) -> String {
        let at = self.revision.as_ref();
        let at = at.map(|revision| format!("@{revision}"));
        format!("{}/{}{}", self.owner, self.name, at.unwrap_or_default())
    }
}

/// The long form, which nothing else can be taken for.
impl fmt::Display for HubSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::SCHEME, self.id())?;
        match &self.path {
            Some(path) => write!(f, "/{path}"),
            None => Ok(()),
        }
    }
}

/// Where a revision ends that a path may follow. Two kinds have slashes of their own: `refs/pr/1`, `refs/convert/parquet`.
fn revision_end(text: &str) -> usize {
    let own = ["refs/pr/", "refs/convert/"];
    let head = own.iter().find(|head| text.starts_with(*head));
    let from = head.map_or(0, |head| head.len());
    text[from..].find('/').map_or(text.len(), |at| from + at)
}

fn plain(part: &str) -> bool {
    let known = |sign: char| sign.is_ascii_alphanumeric() || "-_.".contains(sign);
    !part.is_empty() && part.chars().all(known)
}

/// Whether a name ends as a file's does, whether or not duel reads its kind.
fn is_file(name: &str) -> bool {
    let others = [".csv", ".tsv", ".txt", ".arrow", ".toml", ".zip", ".gz"];
    let name = name.to_lowercase();
    has_rows(&name) || others.iter().any(|ending| name.ends_with(ending))
}

/// Whether a file of that name holds rows.
pub fn has_rows(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default().to_lowercase();
    let lines = name.strip_suffix(".gz").unwrap_or(&name);
    let kinds = [".jsonl", ".ndjson", ".json"];
    let kind = kinds.iter().any(|kind| lines.ends_with(kind)) || name.ends_with(".parquet");
    kind && !NO_ROWS.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_unless_it_can_only_be_a_set() {
        for path in [
            "pairs.jsonl",
            "data/pairs.jsonl",
            "./a/b",
            "/a/b",
            "a/b/c",
            "data/x.jsonl.gz",
            "data/train-*.parquet",
            "data/pairs.csv",
        ] {
            assert_eq!(HubSet::parse(path).expect("a path"), None, "{path}");
        }
        for (text, long) in [
            ("me/rows", "hf://datasets/me/rows"),
            ("me/rows@v2", "hf://datasets/me/rows@v2"),
            (
                "hf://datasets/me/rows@v2/data/a.jsonl",
                "hf://datasets/me/rows@v2/data/a.jsonl",
            ),
            ("hf://datasets/me/rows/a/", "hf://datasets/me/rows/a"),
            ("me/rows@refs/pr/1", "hf://datasets/me/rows@refs/pr/1"),
            (
                "hf://datasets/me/rows@refs%2Fconvert%2Fparquet/default/train",
                "hf://datasets/me/rows@refs/convert/parquet/default/train",
            ),
        ] {
            let set = HubSet::parse(text).expect("a name").expect("of a data set");
            assert_eq!(set.to_string(), long);
            assert_eq!(HubSet::parse(long).expect("a name"), Some(set));
        }
        for wrong in [
            "hf://datasets/me",
            "hf://me/rows",
            "hf://datasets//rows",
            "hf://datasets/me/rows@",
        ] {
            assert!(HubSet::parse(wrong).is_err(), "{wrong}");
        }
    }
}
