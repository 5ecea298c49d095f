//! Who sees whom: queries in segments, keys in spans, visibility decided by depth alone.

use std::ops::Range;

/// A run of key rows whose depths (positions in the sequence) count up from `depth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    /// Rows of the key matrix.
    pub rows: Range<usize>,
    /// Position of the first of them.
    pub depth: usize,
}

/// A run of query rows with consecutive depths, and the spans they see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySegment {
    /// Rows of the query matrix.
    pub rows: Range<usize>,
    /// Position of the first of them.
    pub depth: usize,
    /// Everything that stands before some query of the segment or beside it: the ancestors, and the
    /// segment's own keys as the last span. A query sees the keys in it that are not deeper than itself.
    pub keys: Vec<KeySpan>,
}

/// The visibility of a whole batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans {
    /// Disjoint segments that cover the query rows.
    pub segments: Vec<QuerySegment>,
    /// A query sees only keys less than `window` positions back, itself included.
    pub window: Option<usize>,
}

/// A piece of a key span that some query of a block sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    /// First key row.
    pub start: usize,
    /// Number of key rows.
    pub len: usize,
    /// Position of the first key.
    pub depth: usize,
}

impl Tile {
    /// The keys of the tile that a query at `depth` sees, as indices into the tile.
    pub fn visible(&self, depth: usize, window: Option<usize>) -> Range<usize> {
        let end = (depth + 1).saturating_sub(self.depth).min(self.len);
        let start = match window {
            Some(window) => (depth + 1).saturating_sub(window + self.depth).min(end),
            None => 0,
        };
        start..end
    }
}

impl Spans {
    /// Tiles of at most `width` keys that at least one query at `depths` sees, in order of depth.
    pub(super) fn tiles(
        &self,
        segment: &QuerySegment,
        depths: Range<usize>,
        width: usize,
    ) -> Vec<Tile> {
        let oldest = self
            .window
            .map_or(0, |w| (depths.start + 1).saturating_sub(w));
        let mut tiles = Vec::new();
        for span in &segment.keys {
            let skipped = oldest.saturating_sub(span.depth).min(span.rows.len());
            let seen = depths.end.saturating_sub(span.depth).min(span.rows.len());
            for at in (skipped..seen).step_by(width) {
                tiles.push(Tile {
                    start: span.rows.start + at,
                    len: width.min(seen - at),
                    depth: span.depth + at,
                });
            }
        }
        tiles
    }

    /// The dense mask, `true` where a key is hidden: `[queries, keys]`, row by row.
    pub fn hidden_mask(&self, queries: usize, keys: usize) -> Vec<bool> {
        let mut hidden = vec![true; queries * keys];
        for segment in &self.segments {
            for (i, row) in segment.rows.clone().enumerate() {
                let depth = segment.depth + i;
                for tile in self.tiles(segment, depth..depth + 1, usize::MAX) {
                    for j in tile.visible(depth, self.window) {
                        hidden[row * keys + tile.start + j] = false;
                    }
                }
            }
        }
        hidden
    }

    /// One causal sequence of `len` tokens.
    pub fn causal(len: usize) -> Self {
        Self {
            segments: vec![QuerySegment {
                rows: 0..len,
                depth: 0,
                keys: vec![KeySpan {
                    rows: 0..len,
                    depth: 0,
                }],
            }],
            window: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_causal_sequence_hides_what_comes_later() {
        let mask = Spans::causal(3).hidden_mask(3, 3);
        assert_eq!(
            mask,
            [false, true, true, false, false, true, false, false, false]
        );
    }

    #[test]
    fn a_window_hides_what_is_too_far_back() {
        let spans = Spans {
            window: Some(2),
            ..Spans::causal(4)
        };
        let mask = spans.hidden_mask(4, 4);
        assert_eq!(&mask[12..], [true, true, false, false]);
        assert_eq!(&mask[..4], [false, true, true, true]);
    }
}
