//! From sequences to the flat radix tree.

use super::Sequence;
use duel_backends::ops::{KeySpan, QuerySegment, Spans};
use std::ops::Range;

/// A run of tokens without a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Rows in the flat batch.
    pub rows: Range<usize>,
    /// Position of the first token in its sequences.
    pub depth: usize,
    /// The segment that ends just before this one; none for a root.
    pub parent: Option<usize>,
}

/// One scored token: the hidden state of `row` predicts `token` of `sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Row of the hidden state that predicts.
    pub row: u32,
    /// The token it should predict.
    pub token: u32,
    /// Index of the sequence that is scored.
    pub sequence: u32,
}

/// Sequences packed into one flat row of N tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trie {
    /// Token ids, `[N]`.
    pub tokens: Vec<u32>,
    /// Position of each token in its sequences, `[N]`.
    pub positions: Vec<u32>,
    /// The runs, parents before children.
    pub segments: Vec<Segment>,
    /// Scored tokens, sequence by sequence.
    pub targets: Vec<Target>,
    /// Row of the last token of each sequence.
    pub last: Vec<u32>,
    /// The segment in which each sequence ends.
    pub leaf: Vec<usize>,
}

/// A node while the tree is built: token runs split where sequences part.
struct Node {
    tokens: Vec<u32>,
    depth: usize,
    parent: Option<usize>,
    children: Vec<usize>,
}

impl Trie {
    /// Packs `sequences`; every prefix that two of them share is stored once.
    ///
    /// # Panics
    /// If a sequence is empty: rows are checked before they come here.
    pub fn new(sequences: &[Sequence]) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        let mut roots: Vec<usize> = Vec::new();
        for sequence in sequences {
            assert!(!sequence.tokens.is_empty(), "a sequence has tokens");
            insert(&mut nodes, &mut roots, &sequence.tokens);
        }
        let mut trie = Trie::default();
        let mut placed = vec![usize::MAX; nodes.len()];
        for &root in &roots {
            trie.place(&nodes, root, &mut placed);
        }
        for (index, sequence) in sequences.iter().enumerate() {
            let path = path_of(&nodes, &roots, &sequence.tokens);
            let rows: Vec<usize> = path
                .iter()
                .flat_map(|&node| trie.segments[placed[node]].rows.clone())
                .take(sequence.tokens.len())
                .collect();
            for at in 1..sequence.tokens.len() {
                if sequence.scored[at] {
                    trie.targets.push(Target {
                        row: rows[at - 1] as u32,
                        token: sequence.tokens[at],
                        sequence: index as u32,
                    });
                }
            }
            trie.last.push(rows[rows.len() - 1] as u32);
            let leaf = path.last().expect("a sequence has tokens");
            trie.leaf.push(placed[*leaf]);
        }
        trie
    }

    /// Packs `sequences` without looking for what they share: each is computed just as if it were alone, to the last
    /// bit, whatever the others are.
    ///
    /// # Panics
    /// If a sequence is empty.
    pub fn apart(sequences: &[Sequence]) -> Self {
        let mut all = Trie::default();
        for sequence in sequences {
            all.append(Self::new(std::slice::from_ref(sequence)));
        }
        all
    }

    /// Puts another trie behind this one.
    fn append(&mut self, other: Trie) {
        let (rows, segments) = (self.len(), self.segments.len());
        let sequences = self.sequences() as u32;
        self.tokens.extend(other.tokens);
        self.positions.extend(other.positions);
        self.segments
            .extend(other.segments.into_iter().map(|segment| Segment {
                rows: rows + segment.rows.start..rows + segment.rows.end,
                depth: segment.depth,
                parent: segment.parent.map(|parent| segments + parent),
            }));
        self.targets
            .extend(other.targets.into_iter().map(|target| Target {
                row: rows as u32 + target.row,
                token: target.token,
                sequence: sequences + target.sequence,
            }));
        self.last
            .extend(other.last.iter().map(|row| rows as u32 + row));
        self.leaf
            .extend(other.leaf.iter().map(|leaf| segments + leaf));
    }

    /// Number of tokens in the flat row.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.last.len()
    }

    /// Row of the last token of each sequence that is not `pad`; its first token where all are.
    pub fn last_but(&self, pad: u32) -> Vec<u32> {
        let ends = self.last.iter().zip(&self.leaf);
        let row = |(&last, &leaf): (&u32, &usize)| {
            let (mut row, mut segment) = (last as usize, &self.segments[leaf]);
            while self.tokens[row] == pad {
                row = match segment.parent {
                    _ if row > segment.rows.start => row - 1,
                    None => break,
                    Some(parent) => {
                        segment = &self.segments[parent];
                        segment.rows.end - 1
                    }
                };
            }
            row as u32
        };
        ends.map(row).collect()
    }

    /// Scored tokens of each sequence.
    pub fn target_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.sequences()];
        for target in &self.targets {
            counts[target.sequence as usize] += 1;
        }
        counts
    }

    /// The key spans that a token at the end of `segment` sees, oldest first.
    pub fn spans_of(&self, segment: usize) -> Vec<KeySpan> {
        let mut spans = Vec::new();
        let mut at = Some(segment);
        while let Some(i) = at {
            let segment = &self.segments[i];
            spans.push(KeySpan {
                rows: segment.rows.clone(),
                depth: segment.depth,
            });
            at = segment.parent;
        }
        spans.reverse();
        spans
    }

    /// Who sees whom, for the attention op.
    pub fn spans(&self, window: Option<usize>) -> Spans {
        let segments = (0..self.segments.len())
            .map(|i| QuerySegment {
                rows: self.segments[i].rows.clone(),
                depth: self.segments[i].depth,
                keys: self.spans_of(i),
            })
            .collect();
        Spans { segments, window }
    }

    fn place(&mut self, nodes: &[Node], root: usize, placed: &mut [usize]) {
        // Depth first, on a stack of our own: a degenerate tree may be as deep as a sequence is long.
        let mut stack = vec![root];
        while let Some(at) = stack.pop() {
            let node = &nodes[at];
            let start = self.tokens.len();
            self.tokens.extend_from_slice(&node.tokens);
            let end = node.depth + node.tokens.len();
            self.positions.extend((node.depth..end).map(|p| p as u32));
            placed[at] = self.segments.len();
            self.segments.push(Segment {
                rows: start..self.tokens.len(),
                depth: node.depth,
                parent: node.parent.map(|p| placed[p]),
            });
            stack.extend(node.children.iter().rev());
        }
    }
}

/// Tokens that two runs share at their beginning.
fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn insert(nodes: &mut Vec<Node>, roots: &mut Vec<usize>, tokens: &[u32]) {
    let mut rest = tokens;
    let mut depth = 0;
    let mut parent: Option<usize> = None;
    loop {
        let siblings: &[usize] = parent.map_or(roots, |p| &nodes[p].children);
        let Some(&next) = siblings.iter().find(|&&c| nodes[c].tokens[0] == rest[0]) else {
            let index = nodes.len();
            nodes.push(Node {
                tokens: rest.to_vec(),
                depth,
                parent,
                children: Vec::new(),
            });
            match parent {
                Some(parent) => nodes[parent].children.push(index),
                None => roots.push(index),
            }
            return;
        };
        let common = shared(&nodes[next].tokens, rest);
        if common < nodes[next].tokens.len() {
            split(nodes, next, common);
        }
        rest = &rest[common..];
        depth += common;
        parent = Some(next);
        if rest.is_empty() {
            return;
        }
    }
}

/// Cuts a node after `at` tokens: it keeps the head, a new child takes the tail and the children.
fn split(nodes: &mut Vec<Node>, index: usize, at: usize) {
    let tail = nodes[index].tokens.split_off(at);
    let children = std::mem::take(&mut nodes[index].children);
    let child = nodes.len();
    for &grandchild in &children {
        nodes[grandchild].parent = Some(child);
    }
    let depth = nodes[index].depth + at;
    nodes.push(Node {
        tokens: tail,
        depth,
        parent: Some(index),
        children,
    });
    nodes[index].children.push(child);
}

/// The nodes from a root to the end of `tokens`, which were inserted.
fn path_of(nodes: &[Node], roots: &[usize], tokens: &[u32]) -> Vec<usize> {
    let mut path = Vec::new();
    let mut rest = tokens;
    let mut siblings = roots;
    while !rest.is_empty() {
        let next = *siblings
            .iter()
            .find(|&&c| nodes[c].tokens[0] == rest[0])
            .expect("every sequence was inserted");
        path.push(next);
        rest = &rest[nodes[next].tokens.len().min(rest.len())..];
        siblings = &nodes[next].children;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(prompt: &[u32], response: &[u32]) -> Sequence {
        Sequence::response(prompt, response)
    }

    #[test]
    fn a_pair_stores_its_prompt_once() {
        let trie = Trie::new(&[
            sequence(&[1, 2, 3], &[4, 5]),
            sequence(&[1, 2, 3], &[4, 6, 7]),
        ]);
        assert_eq!(trie.tokens, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(trie.positions, [0, 1, 2, 3, 4, 4, 5]);
        assert_eq!(trie.last, [4, 6]);
        let targets: Vec<_> = trie
            .targets
            .iter()
            .map(|t| (t.row, t.token, t.sequence))
            .collect();
        assert_eq!(
            targets,
            [(2, 4, 0), (3, 5, 0), (2, 4, 1), (3, 6, 1), (5, 7, 1)]
        );
    }

    #[test]
    fn padding_is_passed_over_from_segment_to_segment() {
        let both = [
            sequence(&[1, 9], &[9, 2]),
            sequence(&[1, 9], &[9, 9]),
            sequence(&[9], &[9]),
        ];
        let trie = Trie::new(&both);
        let last = trie.last_but(9);
        let tokens: Vec<u32> = last.iter().map(|&row| trie.tokens[row as usize]).collect();
        assert_eq!(tokens, [2, 1, 9], "all padding: the first token");
        assert_eq!(trie.positions[last[2] as usize], 0);
        assert_eq!(trie.last_but(8), trie.last);
    }

    #[test]
    fn a_sequence_that_is_a_prefix_of_another_ends_inside() {
        for order in [[0, 1], [1, 0]] {
            let both = [sequence(&[1], &[2]), sequence(&[1], &[2, 3])];
            let trie = Trie::new(&order.map(|i: usize| both[i].clone()));
            assert_eq!(trie.tokens, [1, 2, 3]);
            assert_eq!(trie.last[order.iter().position(|&i| i == 0).unwrap()], 1);
        }
    }

    #[test]
    fn unrelated_sequences_do_not_see_each_other() {
        let trie = Trie::new(&[sequence(&[1, 2], &[3]), sequence(&[4], &[5, 6])]);
        let hidden = trie.spans(None).hidden_mask(6, 6);
        assert!(hidden[3 * 6] && hidden[5 * 6 + 2]);
        assert!(!hidden[5 * 6 + 3]);
    }

    #[test]
    fn a_lone_token_is_a_sequence() {
        let trie = Trie::new(&[sequence(&[], &[9])]);
        assert_eq!((trie.len(), trie.targets.len(), trie.last[0]), (1, 0, 0));
    }

    #[test]
    fn every_sequence_reads_back_along_its_path() {
        let sequences: Vec<_> = (0..50u32)
            .map(|i| sequence(&[7, i % 3, i % 2], &[i % 5, i, 1, 1]))
            .collect();
        let trie = Trie::new(&sequences);
        for (i, sequence) in sequences.iter().enumerate() {
            let tokens: Vec<u32> = trie
                .spans_of(trie.leaf[i])
                .iter()
                .flat_map(|span| &trie.tokens[span.rows.clone()])
                .copied()
                .collect();
            assert_eq!(tokens, sequence.tokens);
        }
        assert!(trie.len() < sequences.iter().map(|s| s.tokens.len()).sum());
    }
}
