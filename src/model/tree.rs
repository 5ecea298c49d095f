//! A shallow decision tree over the differences of two responses' attributes: which of two is the better one, in words that a
//! person can read (the decision-tree reward model of RLHFlow, 2025).

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// The tree with the names of what it asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The attributes, in the order of the differences.
    pub attributes: Vec<String>,
    /// The first question.
    pub root: Node,
}

/// A question, or what it comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Node {
    /// Which way to go.
    Split(Split),
    /// The end.
    Leaf(Leaf),
}

/// Whether the first response leads in one attribute by more than a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The attribute's place.
    pub attribute: usize,
    /// A difference of rewards, first less second.
    pub threshold: f64,
    /// Where the difference is at most the threshold.
    pub at_most: Box<Node>,
    /// Where it is more.
    pub more: Box<Node>,
}

/// The comparisons of the training set that ended here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// The share of them whose first response was the better one.
    pub first: f64,
    /// How many there were.
    pub comparisons: usize,
}

/// The file beside the weights of the model that the attributes come from.
pub const FILE: &str = "decision_tree.json";

impl Tree {
    /// The tree of a model's folder; none where it has none.
    ///
    /// # Errors
    /// A file that is no tree over these attributes.
    pub fn open(folder: &Path, attributes: &[String]) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path, "read", error)),
        };
        let damaged = |why: String| {
            Error::data(format!("{}: {why}", path.display()))
                .hint("take it from the same model as the weights, or make both anew with `duel multi-objective`")
        };
        let tree: Self =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if tree.attributes != attributes {
            return Err(damaged(format!(
                "the tree asks for {}, the model has {}",
                tree.attributes.join(", "),
                attributes.join(", ")
            )));
        }
        match tree.root.fits(attributes.len()) {
            true => Ok(Some(tree)),
            false => Err(damaged(
                "a question names no attribute, or a share is none".to_owned(),
            )),
        }
    }

    /// Writes it beside the model's weights.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal(format!("cannot write the tree: {error}")))?;
        std::fs::write(&path, text).map_err(|error| Error::io(&path, "write", error))
    }

    /// The probability that the first response is the better one, from the differences of the rewards, first less second, as the
    /// tree was trained: the other order may say something else.
    pub fn first(&self, differences: &[f32]) -> f64 {
        let mut node = &self.root;
        loop {
            node = match node {
                Node::Leaf(leaf) => return leaf.first,
                Node::Split(split) => {
                    let more = f64::from(differences[split.attribute]) > split.threshold;
                    if more { &split.more } else { &split.at_most }
                }
            };
        }
    }
}

impl Node {
    /// Whether it asks for nothing beyond `count` attributes and every share is one.
    fn fits(&self, count: usize) -> bool {
        match self {
            Self::Leaf(leaf) => (0.0..=1.0).contains(&leaf.first),
            Self::Split(split) => {
                split.attribute < count
                    && split.threshold.is_finite()
                    && split.at_most.fits(count)
                    && split.more.fits(count)
            }
        }
    }

    fn print(&self, names: &[String], indent: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let margin = "  ".repeat(indent);
        match self {
            Self::Leaf(leaf) => {
                let (better, share) = match leaf.first >= 0.5 {
                    true => ("first", leaf.first),
                    false => ("second", 1.0 - leaf.first),
                };
                writeln!(
                    f,
                    "{margin}the {better} is better: {:.1} % of {}",
                    100.0 * share,
                    leaf.comparisons
                )
            }
            Self::Split(split) => {
                let name = &names[split.attribute];
                let threshold = split.threshold;
                writeln!(f, "{margin}{name}, first less second, > {threshold:.4}:")?;
                split.more.print(names, indent + 1, f)?;
                writeln!(f, "{margin}{name}, first less second, <= {threshold:.4}:")?;
                split.at_most.print(names, indent + 1, f)
            }
        }
    }
}

/// One line a question and a leaf, indented.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.print(&self.attributes, 0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(first: f64) -> Box<Node> {
        let comparisons = 10;
        Box::new(Node::Leaf(Leaf { first, comparisons }))
    }

    fn tree() -> Tree {
        let inner = Node::Split(Split {
            attribute: 1,
            threshold: -0.25,
            at_most: leaf(0.4),
            more: leaf(0.9),
        });
        Tree {
            attributes: vec!["helpful".into(), "wordy".into()],
            root: Node::Split(Split {
                attribute: 0,
                threshold: 0.5,
                at_most: leaf(0.1),
                more: Box::new(inner),
            }),
        }
    }

    #[test]
    fn a_difference_at_the_threshold_goes_with_the_lesser_ones() {
        let tree = tree();
        assert_eq!(tree.first(&[0.5, 9.0]), 0.1);
        assert_eq!(tree.first(&[0.6, 0.0]), 0.9);
        assert_eq!(tree.first(&[0.6, -0.25]), 0.4);
    }

    #[test]
    fn a_tree_reads_as_text() {
        insta::assert_snapshot!(tree(), @r"
        helpful, first less second, > 0.5000:
          wordy, first less second, > -0.2500:
            the first is better: 90.0 % of 10
          wordy, first less second, <= -0.2500:
            the second is better: 60.0 % of 10
        helpful, first less second, <= 0.5000:
          the second is better: 90.0 % of 10
        ");
    }

    #[test]
    fn a_tree_comes_back_from_its_file_and_a_foreign_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = tree().attributes;
        let open = |names: &[String]| Tree::open(folder.path(), names);
        assert_eq!(open(&names).expect("no tree"), None);
        tree().write(folder.path()).expect("written");
        assert_eq!(open(&names).expect("read"), Some(tree()));
        let foreign = open(&names[..1]).expect_err("another model's");
        assert!(foreign.message.contains("asks for helpful, wordy"));
        std::fs::write(folder.path().join(FILE), "{}").expect("written");
        assert!(open(&names).is_err());
    }
}
