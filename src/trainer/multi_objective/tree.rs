//! Fits a shallow classification tree: at each node the split with the least entropy of the two sides, as scikit-learn's
//! `DecisionTreeClassifier(criterion="log_loss")` with the first of equally good splits
//! (Breiman et al. 1984). Only a split that says something is made: where none does, scikit-learn makes one all the same.

use crate::model::tree::{Leaf, Node, Split};

/// How far a tree grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// Questions on the way from the root to a leaf.
    pub max_depth: usize,
    /// Rows that each side of a split must have.
    pub min_samples_leaf: usize,
}

/// Rows with whether the first response was the better one.
struct Rows<'a> {
    /// `[rows, attributes]`, row-major.
    differences: &'a [f32],
    first: &'a [bool],
    attributes: usize,
}

/// Differences closer than this are one value, as in scikit-learn.
const SAME: f32 = 1e-7;

/// The tree over `differences [rows, attributes]`, row-major, whose `first` says of each row whether the first response was the
/// better one.
///
/// # Panics
/// If there is no row, or another number of differences.
pub fn grow(differences: &[f32], first: &[bool], growth: Growth) -> Node {
    assert!(!first.is_empty(), "a tree needs rows");
    let attributes = differences.len() / first.len();
    assert_eq!(differences.len(), attributes * first.len());
    let rows = Rows {
        differences,
        first,
        attributes,
    };
    node(&rows, (0..first.len()).collect(), growth.max_depth, growth)
}

/// Both orders of each pair: `leads [pairs, attributes]` are those of the better response. Without the other order a tree would
/// learn that the first is always the better one.
pub fn both_orders(leads: &[f32], pairs: usize) -> (Vec<f32>, Vec<bool>) {
    let turned = leads.iter().map(|lead| -lead);
    let differences = leads.iter().copied().chain(turned).collect();
    let first = (0..2 * pairs).map(|row| row < pairs).collect();
    (differences, first)
}

fn node(rows: &Rows, members: Vec<usize>, depth: usize, growth: Growth) -> Node {
    let firsts = members.iter().filter(|row| rows.first[**row]).count();
    let leaf = Node::Leaf(Leaf {
        first: firsts as f64 / members.len() as f64,
        comparisons: members.len(),
    });
    if depth == 0 || firsts == 0 || firsts == members.len() {
        return leaf;
    }
    let Some((attribute, threshold)) = best(rows, &members, firsts, growth.min_samples_leaf) else {
        return leaf;
    };
    let at_most = |row: &usize| f64::from(rows.at(*row, attribute)) <= threshold;
    let (low, high) = members.into_iter().partition(at_most);
    Node::Split(Split {
        attribute,
        threshold,
        at_most: Box::new(node(rows, low, depth - 1, growth)),
        more: Box::new(node(rows, high, depth - 1, growth)),
    })
}

/// The attribute and the threshold whose two sides have the least entropy; none where no split says anything.
fn best(rows: &Rows, members: &[usize], firsts: usize, least: usize) -> Option<(usize, f64)> {
    let count = members.len();
    let mut found = None;
    // A split that leaves the entropy as it was is none.
    let mut lowest = entropy(firsts, count) * (1.0 - 1e-12);
    for attribute in 0..rows.attributes {
        let mut sorted: Vec<(f32, bool)> = members
            .iter()
            .map(|row| (rows.at(*row, attribute), rows.first[*row]))
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut left = 0;
        for (size, pair) in (1..).zip(sorted.windows(2)) {
            let [(here, first), (next, _)] = [pair[0], pair[1]];
            left += usize::from(first);
            if next <= here + SAME || size < least || count - size < least {
                continue;
            }
            let both = entropy(left, size) + entropy(firsts - left, count - size);
            if both < lowest {
                lowest = both;
                found = Some((attribute, (f64::from(here) + f64::from(next)) / 2.0));
            }
        }
    }
    found
}

/// The entropy in nats of `count` rows of which `firsts` are of one class, times `count`.
fn entropy(firsts: usize, count: usize) -> f64 {
    let part = |of: usize| match of {
        0 => 0.0,
        of => -(of as f64) * (of as f64 / count as f64).ln(),
    };
    part(firsts) + part(count - firsts)
}

impl Rows<'_> {
    fn at(&self, row: usize, attribute: usize) -> f32 {
        self.differences[row * self.attributes + attribute]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tree::Tree;
    use serde_json::Value;

    const DEEP: Growth = Growth {
        max_depth: 3,
        min_samples_leaf: 1,
    };

    fn floats(value: &Value) -> Vec<f32> {
        let list = value.as_array().expect("a list").iter();
        list.map(|v| v.as_f64().expect("a number") as f32).collect()
    }

    /// Attribute, threshold or share, and rows, from the root on, the lesser side first.
    fn lines(node: &Node, found: &mut Vec<(i64, f64)>) {
        match node {
            Node::Leaf(leaf) => found.push((-(leaf.comparisons as i64), leaf.first)),
            Node::Split(split) => {
                found.push((split.attribute as i64, split.threshold));
                lines(&split.at_most, found);
                lines(&split.more, found);
            }
        }
    }

    #[test]
    fn a_tree_is_that_of_scikit_learn() {
        let text = include_str!("../../../tests/golden/decision_tree.json");
        let golden: Value = serde_json::from_str(text).expect("JSON");
        for case in golden["cases"].as_array().expect("cases") {
            let first: Vec<bool> = floats(&case["first"]).iter().map(|v| *v > 0.5).collect();
            let least = case["min_samples_leaf"].as_u64().expect("a count") as usize;
            let growth = Growth {
                min_samples_leaf: least,
                ..DEEP
            };
            let mut found = Vec::new();
            lines(
                &grow(&floats(&case["differences"]), &first, growth),
                &mut found,
            );
            let expected = case["nodes"].as_array().expect("nodes");
            assert_eq!(found.len(), expected.len());
            for ((kind, value), expected) in found.iter().zip(expected) {
                assert_eq!(*kind, expected[0].as_i64().expect("a place"));
                let expected = expected[1].as_f64().expect("a number");
                assert!((value - expected).abs() < 1e-6, "{value} {expected}");
            }
        }
    }

    #[test]
    fn a_tree_over_both_orders_finds_what_decides() {
        // The better response leads in the second attribute, whatever the first says.
        let leads: Vec<f32> = (0..40)
            .flat_map(|i| [(i as f32 * 0.7).sin(), 0.1 + i as f32 / 40.0])
            .collect();
        let (differences, first) = both_orders(&leads, 40);
        let Node::Split(root) = grow(&differences, &first, DEEP) else {
            panic!("nothing found");
        };
        assert_eq!((root.attribute, root.threshold), (1, 0.0));
        let tree = Tree {
            attributes: vec!["noise".into(), "signal".into()],
            root: Node::Split(root),
        };
        assert_eq!(tree.first(&[0.9, -0.2]), 0.0);
        assert_eq!(tree.first(&[-0.9, 0.2]), 1.0);
    }

    #[test]
    fn rows_that_are_alike_make_a_leaf() {
        let (differences, first) = both_orders(&[0.0; 6], 3);
        let leaf = Leaf {
            first: 0.5,
            comparisons: 6,
        };
        assert_eq!(grow(&differences, &first, DEEP), Node::Leaf(leaf));
    }
}
