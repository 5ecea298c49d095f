//! Attention in plain tensor ops, block by block: what a device runs that no fused body serves. A block of queries looks
//! at the key rows between the first and the last that one of them sees, which in a packed batch are few.

use super::Scores;
use super::spans::{KeySpan, QuerySegment, Spans};
use burn::tensor::Tensor;
use std::ops::Range;

/// As [`super::attention`], with at most `most` queries in a block; holds `[heads, most, keys]`.
pub fn attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    scores: Scores,
    spans: &Spans,
    most: usize,
) -> Tensor<2> {
    let part = |block: Block| {
        let q = q.clone().slice([block.queries]);
        let [k, v] = [&k, &v].map(|x| x.clone().slice([block.keys.clone()]));
        super::reference(q, k, v, scores, &block.spans)
    };
    let mut parts: Vec<Tensor<2>> = blocks(spans, most).into_iter().map(part).collect();
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// Queries that are computed together.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
    /// The visibility among them, counted from the first query and the first key.
    spans: Spans,
}

/// The queries in order, cut into blocks.
fn blocks(spans: &Spans, most: usize) -> Vec<Block> {
    let mut blocks: Vec<Vec<QuerySegment>> = Vec::new();
    let mut room = 0;
    for piece in pieces(spans, most) {
        let rows = piece.rows.len();
        match blocks.last_mut() {
            Some(block) if rows <= room => block.push(piece),
            _ => {
                blocks.push(vec![piece]);
                room = most;
            }
        }
        room -= rows;
    }
    let window = spans.window;
    blocks
        .into_iter()
        .map(|block| from_zero(block, window))
        .collect()
}

/// The segments in order of their rows, each cut to at most `most` queries, with the key rows that those see.
fn pieces(spans: &Spans, most: usize) -> Vec<QuerySegment> {
    let mut segments: Vec<&QuerySegment> = spans.segments.iter().collect();
    segments.sort_by_key(|segment| segment.rows.start);
    let mut pieces = Vec::new();
    for segment in segments {
        for at in (0..segment.rows.len()).step_by(most) {
            let rows =
                segment.rows.start + at..segment.rows.end.min(segment.rows.start + at + most);
            let depth = segment.depth + at;
            let tiles = spans.tiles(segment, depth..depth + rows.len(), usize::MAX);
            let keys = tiles.into_iter().map(|tile| KeySpan {
                rows: tile.start..tile.start + tile.len,
                depth: tile.depth,
            });
            pieces.push(QuerySegment {
                rows,
                depth,
                keys: keys.collect(),
            });
        }
    }
    pieces
}

fn from_zero(mut pieces: Vec<QuerySegment>, window: Option<usize>) -> Block {
    let queries = pieces[0].rows.start..pieces[pieces.len() - 1].rows.end;
    let seen = || {
        pieces
            .iter()
            .flat_map(|piece| &piece.keys)
            .map(|span| &span.rows)
    };
    let first = seen().map(|rows| rows.start).min().unwrap_or(0);
    let keys = first..seen().map(|rows| rows.end).max().unwrap_or(first);
    let back = |rows: &Range<usize>, by: usize| rows.start - by..rows.end - by;
    for piece in &mut pieces {
        piece.rows = back(&piece.rows, queries.start);
        for span in &mut piece.keys {
            span.rows = back(&span.rows, keys.start);
        }
    }
    let spans = Spans {
        segments: pieces,
        window,
    };
    Block {
        queries,
        keys,
        spans,
    }
}
