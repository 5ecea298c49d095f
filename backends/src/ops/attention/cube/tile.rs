//! A tile of scores: its geometry, which rows and keys it holds, and the two products that are made of it.

use super::super::tiles::ENTRY;
use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

/// What a kernel is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Packed rows and keys of a tile.
    pub tile: usize,
    pub head_dim: usize,
    /// Scores have a soft cap.
    pub capped: bool,
}

/// Columns of two matrices that are multiplied from one load.
pub const COLUMNS: usize = 16;
/// Rows, and columns of scores, that one unit computes.
pub const OWN: usize = 4;
/// The score of a hidden key: far below every score, and still a number to subtract from.
pub const HIDDEN: f32 = -1e30;

impl Shape {
    /// Units along each side of a tile.
    pub fn lanes(self) -> usize {
        self.tile / OWN
    }

    pub fn units(self) -> usize {
        self.lanes() * self.lanes()
    }

    /// Distance of two rows of scores, and of two columns of a load: one more than a tile, so that units that walk down
    /// a column do not wait for each other.
    pub fn pitch(self) -> usize {
        self.tile + 1
    }

    /// Columns of an output that one unit computes.
    pub fn outputs(self) -> usize {
        self.head_dim.div_ceil(self.lanes())
    }

    /// Numbers in the memory that loads go through.
    pub fn stage(self) -> usize {
        let columns = 2 * COLUMNS * self.pitch();
        columns.max(self.head_dim + self.lanes())
    }

    /// Whole rows of one head that fit there.
    pub fn rows_staged(self) -> usize {
        ((self.stage() - self.lanes()) / self.head_dim).min(self.tile)
    }

    /// Bytes of a cube's memory.
    pub fn shared_bytes(self) -> usize {
        4 * (self.stage() + self.tile * self.pitch())
    }
}

/// The rows of a tile, `count` of them: row `r` is row `start + r / group` of the matrix, head `r % group` of the group.
#[derive(CubeType, Clone, Copy)]
pub struct Rows {
    pub start: usize,
    pub count: usize,
    pub kv_head: usize,
    pub kv_heads: usize,
    /// Heads of the matrix to a key head: 1 in keys and values.
    pub group: usize,
}

/// The number of row `r` among all heads of all rows of its matrix.
#[cube]
pub fn number(rows: &Rows, r: usize) -> usize {
    let row = rows.start + r / rows.group;
    (row * rows.kv_heads + rows.kv_head) * rows.group + r % rows.group
}

/// Columns `from..from + COLUMNS` of a tile's rows, column by column, zeros past the ends.
#[cube]
pub fn load_columns<F: Float>(
    x: &[F],
    rows: &Rows,
    from: usize,
    stage: &mut Shared<[f32]>,
    at: usize,
    #[comptime] shape: Shape,
) {
    let mut i = UNIT_POS as usize;
    while i < comptime!(COLUMNS * shape.tile) {
        let r = i / COLUMNS;
        let c = i % COLUMNS;
        let mut value = 0.0f32;
        if r < rows.count && from + c < shape.head_dim {
            value = f32::cast_from(x[number(rows, r) * shape.head_dim + from + c]);
        }
        stage[at + c * comptime!(shape.pitch()) + r] = value;
        i += comptime!(shape.units());
    }
}

/// `products[i, j] = a[4 uy + i] . b[4 ux + j]` over the width of a head.
#[cube]
pub fn multiply<F: Float>(
    a: &[F],
    a_rows: &Rows,
    b: &[F],
    b_rows: &Rows,
    products: &mut Array<f32>,
    stage: &mut Shared<[f32]>,
    #[comptime] shape: Shape,
) {
    let lanes = comptime!(shape.lanes());
    let pitch = comptime!(shape.pitch());
    let row = UNIT_POS as usize / lanes * OWN;
    let key = UNIT_POS as usize % lanes * OWN;
    let second = comptime!(COLUMNS * shape.pitch());
    #[unroll]
    for i in 0..comptime!(OWN * OWN) {
        products[i] = 0.0;
    }
    let mut from = 0usize;
    while from < shape.head_dim {
        sync_cube();
        load_columns(a, a_rows, from, stage, 0usize, shape);
        load_columns(b, b_rows, from, stage, second, shape);
        sync_cube();
        for c in 0..COLUMNS {
            #[unroll]
            for i in 0..OWN {
                let left = stage[c * pitch + row + i];
                #[unroll]
                for j in 0..OWN {
                    products[i * OWN + j] += left * stage[second + c * pitch + key + j];
                }
            }
        }
        from += COLUMNS;
    }
}

/// Adds `weights x` onto `sums`, for the unit's four rows (or, `across`, its four keys): `x` has one row for each of the
/// weights' columns (or rows).
#[cube]
pub fn accumulate<F: Float>(
    weights: &Shared<[f32]>,
    x: &[F],
    rows: &Rows,
    sums: &mut Array<f32>,
    stage: &mut Shared<[f32]>,
    #[comptime] across: bool,
    #[comptime] shape: Shape,
) {
    let lanes = comptime!(shape.lanes());
    let pitch = comptime!(shape.pitch());
    let outputs = comptime!(shape.outputs());
    let together = comptime!(shape.rows_staged());
    let dim = shape.head_dim;
    let own = UNIT_POS as usize / lanes * OWN;
    let column = UNIT_POS as usize % lanes;
    let mut first = 0usize;
    while first < rows.count {
        sync_cube();
        let mut i = UNIT_POS as usize;
        while i < comptime!(shape.rows_staged() * shape.head_dim) {
            let r = first + i / dim;
            let mut value = 0.0f32;
            if r < rows.count {
                value = f32::cast_from(x[number(rows, r) * dim + i % dim]);
            }
            stage[i] = value;
            i += comptime!(shape.units());
        }
        sync_cube();
        let mut end = together.runtime();
        if first + end > rows.count {
            end = rows.count - first;
        }
        for r in 0..end {
            #[unroll]
            for i in 0..OWN {
                let mut at = (own + i) * pitch + first + r;
                if comptime!(across) {
                    at = (first + r) * pitch + own + i;
                }
                let weight = weights[at];
                #[unroll]
                for j in 0..outputs {
                    sums[i * outputs + j] += weight * stage[r * dim + column + j * lanes];
                }
            }
        }
        first += together;
    }
}

/// One tile: which rows and keys, and how they see each other.
#[derive(CubeType, Clone, Copy)]
pub struct Tile {
    pub q: Rows,
    pub k: Rows,
    /// Position of the first query.
    pub q_depth: u32,
    /// Keys of the tile that belong to it.
    pub k_first: usize,
    pub k_end: usize,
    /// Position of key `k_first`.
    pub k_depth: u32,
}

/// Heads of the keys, and query heads to each of them.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub struct Heads {
    pub kv_heads: usize,
    pub group: usize,
}

/// How scores are made, and who is too far away to be seen.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub struct Scoring {
    pub scale: f32,
    /// The soft cap, where there is one.
    pub cap: f32,
    /// Keys that a query sees, itself included; 0 for all before it.
    pub window: u32,
}

/// The keys of one tile from row `base`.
#[cube]
pub fn key_rows(base: usize, keys: usize, heads: &Heads, #[comptime] shape: Shape) -> Rows {
    let mut count = keys - base;
    if count > shape.tile {
        count = shape.tile.runtime();
    }
    Rows {
        start: base,
        count,
        kv_head: CUBE_POS_Y as usize,
        kv_heads: heads.kv_heads,
        group: 1usize.runtime(),
    }
}

#[cube]
pub fn tile_of(
    entries: &[u32],
    entry: usize,
    keys: usize,
    heads: &Heads,
    #[comptime] shape: Shape,
) -> Tile {
    let at = entry * ENTRY;
    let k_start = entries[at + 3] as usize;
    let base = k_start / shape.tile * shape.tile;
    let k_first = k_start - base;
    Tile {
        q: Rows {
            start: entries[at] as usize,
            count: entries[at + 1] as usize * heads.group,
            kv_head: CUBE_POS_Y as usize,
            kv_heads: heads.kv_heads,
            group: heads.group,
        },
        k: key_rows(base, keys, heads, shape),
        q_depth: entries[at + 2],
        k_first,
        k_end: k_first + entries[at + 4] as usize,
        k_depth: entries[at + 5],
    }
}

/// The score of a product: scaled, and where there is a cap bent below it.
#[cube]
pub fn score(product: f32, how: &Scoring, #[comptime] shape: Shape) -> f32 {
    let mut score = product * how.scale;
    if comptime!(shape.capped) {
        // From 10 on the hyperbolic tangent is 1, and some drivers have none of large numbers.
        score = how.cap * (score / how.cap).clamp(-10.0f32, 10.0f32).tanh();
    }
    score
}

/// `d score / d product`, of the score itself.
#[cube]
pub fn score_slope(score: f32, how: &Scoring, #[comptime] shape: Shape) -> f32 {
    let mut slope = how.scale;
    if comptime!(shape.capped) {
        let share = score / how.cap;
        slope *= 1.0 - share * share;
    }
    slope
}

/// Whether packed row `r` sees key `key` of a tile.
#[cube]
pub fn sees(tile: &Tile, r: usize, key: usize, how: &Scoring) -> bool {
    let mut seen = r < tile.q.count && key >= tile.k_first && key < tile.k_end;
    if seen {
        let depth = tile.q_depth + (r / tile.q.group) as u32;
        let of_key = tile.k_depth + (key - tile.k_first) as u32;
        seen = of_key <= depth && (how.window == 0 || depth - of_key < how.window);
    }
    seen
}
