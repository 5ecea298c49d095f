//! The CPU body: blocks of query rows against tiles of key rows, with all query heads of one key head
//! stacked into one matrix.

use super::Scores;
use super::few;
use super::spans::{QuerySegment, Spans, Tile};
use crate::cpu::{self, Shared, Write};
use crate::simd;
use rayon::prelude::*;
use std::ops::Range;

/// Query rows in a block, before the heads of a group are stacked.
const BLOCK: usize = 32;
/// Key rows in a tile.
const TILE: usize = 128;

/// Widths of the matrices.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Width of a head.
    dim: usize,
    /// Key heads.
    kv_heads: usize,
    /// Query heads per key head.
    group: usize,
    /// Of the scores.
    softcap: Option<f32>,
}

impl Sizes {
    pub fn new(width: usize, kv_width: usize, scores: Scores) -> Self {
        let dim = scores.head_dim;
        Self {
            dim,
            softcap: scores.softcap,
            kv_heads: kv_width / dim,
            group: width / kv_width,
        }
    }

    fn width(&self) -> usize {
        self.kv_heads * self.group * self.dim
    }

    fn kv_width(&self) -> usize {
        self.kv_heads * self.dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    /// Column of the first query head of `kv_head`.
    fn column(&self, kv_head: usize) -> usize {
        kv_head * self.group * self.dim
    }
}

/// Query rows of one segment that are worked on together.
struct Block<'a> {
    segment: &'a QuerySegment,
    rows: Range<usize>,
}

impl Block<'_> {
    /// Position of the `i`-th query row.
    fn depth(&self, i: usize) -> usize {
        self.segment.depth + self.rows.start - self.segment.rows.start + i
    }

    /// A token on its own, as in decoding.
    fn single(&self) -> bool {
        self.segment.rows.len() == 1
    }

    fn tiles(&self, spans: &Spans) -> Vec<Tile> {
        spans.tiles(
            self.segment,
            self.depth(0)..self.depth(self.rows.len()),
            TILE,
        )
    }
}

fn blocks(spans: &Spans) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    for segment in &spans.segments {
        for start in segment.rows.clone().step_by(BLOCK) {
            let rows = start..(start + BLOCK).min(segment.rows.end);
            blocks.push(Block { segment, rows });
        }
    }
    blocks
}

/// Copies the stacked heads of a block out of a `[rows, width]` matrix: row `i * group + g` of the result.
#[inline(always)]
fn gather(out: &mut Vec<f32>, x: &[f32], rows: Range<usize>, head: usize, sizes: Sizes, by: f32) {
    out.clear();
    let span = sizes.group * sizes.dim;
    for row in rows {
        let at = row * sizes.width() + sizes.column(head);
        out.extend(x[at..at + span].iter().map(|x| x * by));
    }
}

/// A tile's rows of one head.
#[inline(always)]
fn rows_of(b: &[f32], tile: Tile, head: usize, sizes: Sizes) -> few::Rows<'_> {
    few::Rows {
        values: &b[tile.start * sizes.kv_width() + head * sizes.dim..],
        stride: sizes.kv_width(),
        dim: sizes.dim,
        len: tile.len,
    }
}

/// `scores[i][j] = a[i] . b[j]`.
#[inline(always)]
fn against(scores: &mut [f32], a: &[f32], b: few::Rows, single: bool) {
    if single {
        return few::scores(scores, a, b);
    }
    cpu::gemm(
        [a.len() / b.dim, b.len, b.dim],
        (scores, b.len, 1),
        (a, b.dim, 1),
        (b.values, 1, b.stride),
        Write::Over,
    );
}

/// `out[i] += sum_j p[i][j] b[j]`.
#[inline(always)]
fn mix(out: &mut [f32], p: &[f32], b: few::Rows, single: bool) {
    if single {
        return few::mix(out, p, b);
    }
    cpu::gemm(
        [out.len() / b.dim, b.dim, b.len],
        (out, b.dim, 1),
        (p, b.len, 1),
        (b.values, b.stride, 1),
        Write::Add,
    );
}

/// `out[j] += sum_i p[i][j] a[i]`: a tile's rows of one head's gradient, which lie `dim` apart.
#[inline(always)]
fn mix_back(out: &mut [f32], p: &[f32], a: &[f32], tile: Tile, dim: usize) {
    let rows = a.len() / dim;
    let out = &mut out[tile.start * dim..(tile.start + tile.len) * dim];
    cpu::gemm(
        [tile.len, dim, rows],
        (out, dim, 1),
        (p, 1, tile.len),
        (a, dim, 1),
        Write::Add,
    );
}

/// Items, each a block under one key head, that a task should take so that it is worth waking a thread for: the few
/// tokens of a decoding step are done before it is awake.
fn items_per_task(blocks: &[Block], sizes: Sizes) -> usize {
    /// Multiplications of about 50 microseconds.
    const WORTH: usize = 1 << 20;
    let seen = |block: &Block| {
        let keys: usize = block.segment.keys.iter().map(|span| span.rows.len()).sum();
        block.rows.len() * keys
    };
    let pairs: usize = blocks.iter().map(seen).sum();
    let item = 2 * pairs * sizes.group * sizes.dim / blocks.len().max(1);
    (WORTH / item.max(1)).max(1)
}

/// `(out [queries, width], log-sums [queries, heads])`.
pub fn forward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    sizes: Sizes,
    spans: &Spans,
) -> (Vec<f32>, Vec<f32>) {
    let queries = q.len() / sizes.width();
    let heads = sizes.kv_heads * sizes.group;
    let mut out = vec![0.0f32; q.len()];
    let mut log_sums = vec![0.0f32; queries * heads];
    let (out_at, sums_at) = (Shared(out.as_mut_ptr()), Shared(log_sums.as_mut_ptr()));
    let blocks = blocks(spans);
    let items = blocks.len() * sizes.kv_heads;
    let work = (0..items)
        .into_par_iter()
        .with_min_len(items_per_task(&blocks, sizes));
    work.for_each_init(Scratch::default, |scratch, item| {
        let (block, head) = (&blocks[item / sizes.kv_heads], item % sizes.kv_heads);
        simd::vectorize(|| attend(scratch, block, head, q, k, v, sizes, spans));
        let span = sizes.group * sizes.dim;
        for (i, row) in block.rows.clone().enumerate() {
            let at = row * sizes.width() + sizes.column(head);
            // SAFETY: each (row, key head) belongs to one item of the work.
            let (out, sums) = unsafe {
                (
                    out_at.at(at, span),
                    sums_at.at(row * heads + head * sizes.group, sizes.group),
                )
            };
            out.copy_from_slice(&scratch.out[i * span..(i + 1) * span]);
            let stacked = i * sizes.group..(i + 1) * sizes.group;
            for (sum, m) in sums.iter_mut().zip(stacked) {
                *sum = scratch.max[m] + scratch.sum[m].ln();
            }
        }
    });
    (out, log_sums)
}

/// Buffers that a thread uses again for every block.
#[derive(Default)]
struct Scratch {
    q: Vec<f32>,
    scores: Vec<f32>,
    out: Vec<f32>,
    max: Vec<f32>,
    sum: Vec<f32>,
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn attend(
    scratch: &mut Scratch,
    block: &Block,
    head: usize,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    sizes: Sizes,
    spans: &Spans,
) {
    gather(
        &mut scratch.q,
        q,
        block.rows.clone(),
        head,
        sizes,
        sizes.scale(),
    );
    let rows = block.rows.len() * sizes.group;
    scratch.scores.resize(rows * TILE, 0.0);
    reset(&mut scratch.out, rows * sizes.dim, 0.0);
    reset(&mut scratch.max, rows, f32::NEG_INFINITY);
    reset(&mut scratch.sum, rows, 0.0);
    for tile in block.tiles(spans) {
        let scores = &mut scratch.scores[..rows * tile.len];
        against(
            scores,
            &scratch.q,
            rows_of(k, tile, head, sizes),
            block.single(),
        );
        for (m, scores) in scores.chunks_exact_mut(tile.len).enumerate() {
            let visible = tile.visible(block.depth(m / sizes.group), spans.window);
            if let Some(cap) = sizes.softcap {
                simd::softcap(&mut scores[visible.clone()], cap);
            }
            let max = simd::max(&scores[visible.clone()]).max(scratch.max[m]);
            scores[..visible.start].fill(0.0);
            scores[visible.end..].fill(0.0);
            if max == f32::NEG_INFINITY {
                continue;
            }
            let kept = simd::exp(scratch.max[m] - max);
            scratch.sum[m] = scratch.sum[m] * kept + simd::exp_sum(&mut scores[visible], max);
            scratch.max[m] = max;
            for out in &mut scratch.out[m * sizes.dim..(m + 1) * sizes.dim] {
                *out *= kept;
            }
        }
        let v = rows_of(v, tile, head, sizes);
        mix(&mut scratch.out, scores, v, block.single());
    }
    for (out, sum) in scratch.out.chunks_exact_mut(sizes.dim).zip(&scratch.sum) {
        let inverse = 1.0 / sum;
        for out in out {
            *out *= inverse;
        }
    }
}

fn reset(buffer: &mut Vec<f32>, len: usize, value: f32) {
    buffer.clear();
    buffer.resize(len, value);
}

/// What the backward pass reads.
pub struct Inputs<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub out: &'a [f32],
    pub log_sums: &'a [f32],
    pub grad: &'a [f32],
}

/// `[d q, d k, d v]`. One task per key head: its rows of `d k` and `d v` are summed by one thread, in the
/// order of the blocks.
pub fn backward(inputs: &Inputs, sizes: Sizes, spans: &Spans) -> [Vec<f32>; 3] {
    let keys = inputs.k.len() / sizes.kv_width();
    let blocks = blocks(spans);
    let mut dq = vec![0.0f32; inputs.q.len()];
    let dq_at = Shared(dq.as_mut_ptr());
    let by_head: Vec<[Vec<f32>; 2]> = (0..sizes.kv_heads)
        .into_par_iter()
        .map(|head| {
            let mut work = BackwardScratch::new(keys * sizes.dim);
            for block in &blocks {
                simd::vectorize(|| backward_block(&mut work, block, head, inputs, sizes, spans));
                let span = sizes.group * sizes.dim;
                for (i, row) in block.rows.clone().enumerate() {
                    let at = row * sizes.width() + sizes.column(head);
                    // SAFETY: each (row, key head) belongs to one task.
                    let dq = unsafe { dq_at.at(at, span) };
                    let from = &work.dq[i * span..(i + 1) * span];
                    for (dq, from) in dq.iter_mut().zip(from) {
                        *dq = from * sizes.scale();
                    }
                }
            }
            [work.dk, work.dv]
        })
        .collect();
    let interleave = |which: usize| {
        let mut all = vec![0.0f32; keys * sizes.kv_width()];
        for (row, all) in all.chunks_exact_mut(sizes.kv_width()).enumerate() {
            for (head, all) in all.chunks_exact_mut(sizes.dim).enumerate() {
                let from = row * sizes.dim..(row + 1) * sizes.dim;
                all.copy_from_slice(&by_head[head][which][from]);
            }
        }
        all
    };
    let (dk, dv) = (interleave(0), interleave(1));
    [dq, dk, dv]
}

/// One head's gradients and the buffers of a block.
struct BackwardScratch {
    q: Vec<f32>,
    grad: Vec<f32>,
    out: Vec<f32>,
    p: Vec<f32>,
    dp: Vec<f32>,
    dq: Vec<f32>,
    /// `[keys, dim]` of this head.
    dk: Vec<f32>,
    /// `[keys, dim]` of this head.
    dv: Vec<f32>,
}

impl BackwardScratch {
    fn new(elements: usize) -> Self {
        let empty = Vec::new;
        Self {
            q: empty(),
            grad: empty(),
            out: empty(),
            p: empty(),
            dp: empty(),
            dq: empty(),
            dk: vec![0.0; elements],
            dv: vec![0.0; elements],
        }
    }
}

/// With `p` the probabilities of a tile: `dv += p^T g`, `ds = p (g v^T - g.out)`, `dq += ds k`,
/// `dk += ds^T q`.
#[inline(always)]
fn backward_block(
    work: &mut BackwardScratch,
    block: &Block,
    head: usize,
    inputs: &Inputs,
    sizes: Sizes,
    spans: &Spans,
) {
    let dim = sizes.dim;
    let rows = block.rows.len() * sizes.group;
    gather(
        &mut work.q,
        inputs.q,
        block.rows.clone(),
        head,
        sizes,
        sizes.scale(),
    );
    gather(
        &mut work.grad,
        inputs.grad,
        block.rows.clone(),
        head,
        sizes,
        1.0,
    );
    gather(
        &mut work.out,
        inputs.out,
        block.rows.clone(),
        head,
        sizes,
        1.0,
    );
    work.p.resize(rows * TILE, 0.0);
    work.dp.resize(rows * TILE, 0.0);
    reset(&mut work.dq, rows * dim, 0.0);
    let heads = sizes.kv_heads * sizes.group;
    for tile in block.tiles(spans) {
        let p = &mut work.p[..rows * tile.len];
        let dp = &mut work.dp[..rows * tile.len];
        let k = rows_of(inputs.k, tile, head, sizes);
        let v = rows_of(inputs.v, tile, head, sizes);
        against(p, &work.q, k, block.single());
        against(dp, &work.grad, v, block.single());
        for m in 0..rows {
            let row = block.rows.start + m / sizes.group;
            let log_sum = inputs.log_sums[row * heads + head * sizes.group + m % sizes.group];
            let of_row = m * dim..(m + 1) * dim;
            let pull = simd::dot(&work.grad[of_row.clone()], &work.out[of_row]);
            let visible = tile.visible(block.depth(m / sizes.group), spans.window);
            let (p, dp) = (
                &mut p[m * tile.len..(m + 1) * tile.len],
                &mut dp[m * tile.len..(m + 1) * tile.len],
            );
            for hidden in [0..visible.start, visible.end..tile.len] {
                p[hidden.clone()].fill(0.0);
                dp[hidden].fill(0.0);
            }
            let (p, dp) = (&mut p[visible.clone()], &mut dp[visible]);
            if let Some(cap) = sizes.softcap {
                simd::softcap(p, cap);
                for (p, dp) in p.iter_mut().zip(dp) {
                    let slope = 1.0 - (*p / cap) * (*p / cap);
                    *p = simd::exp(*p - log_sum);
                    *dp = *p * (*dp - pull) * slope;
                }
                continue;
            }
            for (p, dp) in p.iter_mut().zip(dp) {
                *p = simd::exp(*p - log_sum);
                *dp = *p * (*dp - pull);
            }
        }
        mix_back(&mut work.dv, p, &work.grad, tile, dim);
        mix(&mut work.dq, dp, k, block.single());
        mix_back(&mut work.dk, dp, &work.q, tile, dim);
    }
}
