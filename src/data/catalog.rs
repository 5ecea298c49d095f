//! The known data sets: `datasets/catalog.toml`, built in.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const TEXT: &str = include_str!("../../datasets/catalog.toml");

/// The known sets by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Catalog {
    sets: BTreeMap<String, DataSet>,
}

/// One known set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// Its id on the Hugging Face hub, `owner/name`.
    pub hub: String,
    /// How a row is read.
    pub layout: Layout,
    /// Its splits, the one to train on first.
    pub splits: Vec<String>,
    /// duel's column names to the set's own, where they differ.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// An SPDX name, or a sentence that begins with "not stated".
    pub licence: String,
    /// A benchmark: training on it spoils what it measures.
    #[serde(default)]
    pub evaluation: bool,
    /// What it holds, in a sentence.
    pub about: String,
}

/// How a set's rows are laid out; the catalogue's head explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Two whole conversations, as messages.
    Pairs,
    /// Two whole conversations, each as one text of Human and Assistant turns.
    Transcripts,
    /// A prompt and two responses.
    Preference,
    /// A conversation that ends with the user's turn.
    Prompts,
    /// A conversation to imitate.
    Messages,
    /// A conversation whose answers label steps.
    Process,
    /// A prompt with many labelled answers.
    BestOfN,
    /// A response with a number for each attribute.
    Attributes,
}

impl Catalog {
    /// The catalogue that was built in.
    pub fn built_in() -> Self {
        Self::parse(TEXT).expect("datasets/catalog.toml parses: a test holds it")
    }

    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text)
            .map_err(|error| Error::internal(format!("datasets/catalog.toml: {error}")))
    }

    /// All sets in the order of their names.
    pub fn sets(&self) -> impl Iterator<Item = (&str, &DataSet)> {
        self.sets.iter().map(|(name, set)| (name.as_str(), set))
    }

    /// The set of that name or hub id; else an error that names the nearest.
    pub fn find(&self, name: &str) -> Result<(&str, &DataSet)> {
        let same =
            |(known, set): &(&str, &DataSet)| *known == name || set.hub.eq_ignore_ascii_case(name);
        self.sets().find(same).ok_or_else(|| {
            let error = Error::user(format!("no data set is called `{name}`"));
            match self.nearest(name) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(
                    "give a file, a hub id (`owner/name`), or a name from datasets/catalog.toml",
                ),
            }
        })
    }

    fn nearest(&self, name: &str) -> Option<&str> {
        let likeness = |known: &str| strsim::jaro_winkler(known, &name.to_lowercase());
        let near = self
            .sets()
            .map(|(known, _)| known)
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        (likeness(near) > 0.75).then_some(near)
    }
}

impl DataSet {
    /// The set's own name of duel's column `name`.
    pub fn column<'a>(&'a self, name: &'a str) -> &'a str {
        self.columns.get(name).map_or(name, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_whole() {
        let catalog = Catalog::built_in();
        assert!(catalog.sets().count() >= 20);
        for (name, set) in catalog.sets() {
            assert_eq!(
                set.hub.split('/').count(),
                2,
                "{name}: a hub id is `owner/name`"
            );
            assert!(!set.splits.is_empty(), "{name}: no split");
            assert!(
                !set.licence.is_empty(),
                "{name}: no licence, not even `not stated`"
            );
            assert!(set.about.ends_with('.'), "{name}: `about` is a sentence");
        }
    }

    #[test]
    fn a_set_is_found_by_its_name_and_by_its_hub_id() {
        let catalog = Catalog::built_in();
        let (name, set) = catalog
            .find("anthropic/hh-rlhf")
            .expect("in any case of letters");
        assert_eq!((name, set.layout), ("hh-rlhf", Layout::Transcripts));
        let (_, prompts) = catalog.find("prompts-iter1").expect("by its name");
        assert_eq!(prompts.column("prompt"), "context_messages");
        assert_eq!(prompts.column("id"), "id");
    }

    #[test]
    fn a_wrong_name_gets_the_nearest_right_one() {
        let error = Catalog::built_in()
            .find("ultrafedback")
            .expect_err("a letter is missing");
        assert_eq!(
            error.to_string(),
            "no data set is called `ultrafedback`\n\nhint: did you mean `ultrafeedback`?"
        );
        let far = Catalog::built_in()
            .find("zzz")
            .expect_err("nothing like it");
        assert!(far.to_string().contains("owner/name"));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let set = "[x]\nhub = 'a/b'\nlayout = 'pairs'\nsplits = ['train']\nlicence = 'MIT'\nabout = 'X.'\n";
        assert!(Catalog::parse(set).is_ok());
        let error = Catalog::parse(&format!("{set}licens = 'MIT'\n")).expect_err("a typo");
        assert!(error.message.contains("licens"), "{error}");
    }
}
