//! The tiles that the kernels visit: pieces of a segment's queries beside the pieces of keys that one of them sees.

use super::spans::Spans;

/// Numbers of one entry: first query row, queries, position of the first, first key row, keys, position of the first.
pub const ENTRY: usize = 6;

/// All visible tiles of a batch, in order of their queries.
pub struct Tiles {
    entries: Vec<[u32; ENTRY]>,
    /// Keys to a tile; no tile crosses a multiple of it.
    tile: usize,
}

impl Tiles {
    /// Tiles of at most `tile` keys and of as many queries of one segment as leave `group` heads of each room in `tile`
    /// rows.
    pub fn new(spans: &Spans, tile: usize, group: usize) -> Self {
        let together = (tile / group).max(1);
        let mut entries = Vec::new();
        for segment in &spans.segments {
            for at in (0..segment.rows.len()).step_by(together) {
                let queries = together.min(segment.rows.len() - at);
                let depth = segment.depth + at;
                for seen in spans.tiles(segment, depth..depth + queries, usize::MAX) {
                    let (mut start, end) = (seen.start, seen.start + seen.len);
                    while start < end {
                        let next = end.min((start / tile + 1) * tile);
                        let depth_of_key = seen.depth + start - seen.start;
                        let entry = [
                            segment.rows.start + at,
                            queries,
                            depth,
                            start,
                            next - start,
                            depth_of_key,
                        ];
                        entries.push(entry.map(|number| number as u32));
                        start = next;
                    }
                }
            }
        }
        Self { entries, tile }
    }

    /// The entries, and where those of each piece of queries start.
    pub fn by_query(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = Vec::new();
        let mut last = None;
        for (i, entry) in self.entries.iter().enumerate() {
            if last != Some(entry[0]) {
                starts.push(i as u32);
                last = Some(entry[0]);
            }
        }
        starts.push(self.entries.len() as u32);
        (self.entries.concat(), starts)
    }

    /// The entries in order of their keys, and where those of each `tile` of `keys` start, seen or not.
    pub fn by_key(&self, keys: usize) -> (Vec<u32>, Vec<u32>) {
        let mut entries = self.entries.clone();
        let of = |entry: &[u32; ENTRY]| entry[3] as usize / self.tile;
        entries.sort_by_key(of);
        let count = keys.div_ceil(self.tile);
        let starts =
            (0..=count).map(|tile| entries.partition_point(|entry| of(entry) < tile) as u32);
        let starts = starts.collect();
        (entries.concat(), starts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_visible_pair_lies_in_exactly_one_tile() {
        let spans = Spans::causal(70);
        let tiles = Tiles::new(&spans, 32, 3);
        let mut seen = vec![0; 70 * 70];
        for [q, queries, _, k, keys, _] in &tiles.entries {
            assert!(keys + k % 32 <= 32 && queries * 3 <= 32);
            for row in *q..q + queries {
                for key in *k..k + keys {
                    seen[(row * 70 + key) as usize] += 1;
                }
            }
        }
        for row in 0..70 {
            assert!((0..=row).all(|key| seen[row * 70 + key] == 1), "{row}");
        }
        assert!(seen.iter().all(|count| *count <= 1));
    }

    #[test]
    fn every_key_has_its_group_seen_or_not() {
        let tiles = Tiles::new(&Spans::causal(40), 32, 1);
        let (entries, starts) = tiles.by_key(100);
        assert_eq!(starts, [0, 2, 3, 3, 3]);
        assert_eq!(entries.len(), 3 * ENTRY);
        assert_eq!(tiles.by_query().1, [0, 1, 3]);
    }
}
