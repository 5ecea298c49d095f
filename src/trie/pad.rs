//! Rows that stand for nothing. A graphics card has other kernels for other sizes, and compiles each on first use: ragged
//! batches are rounded up to a few sizes, so that it soon has all of them.

use super::{Segment, Trie};
use std::borrow::Cow;

/// `count` rounded up to a multiple of `of`, or of a sixteenth of itself where that is more: the waste stays below a
/// sixteenth of a large batch.
pub fn rounded_up(count: usize, of: usize) -> usize {
    if of <= 1 || count == 0 {
        return count;
    }
    let sixteenth = 1 << (count.ilog2().saturating_sub(4));
    count.next_multiple_of(of.max(sixteenth))
}

impl Trie {
    /// This batch with rows behind it that nothing sees and nobody reads, up to [`rounded_up`] rows of `of`.
    pub fn padded(&self, of: usize) -> Cow<'_, Self> {
        let (rows, all) = (self.len(), rounded_up(self.len(), of));
        if rows == all {
            return Cow::Borrowed(self);
        }
        let mut padded = self.clone();
        padded.tokens.resize(all, 0);
        padded.positions.extend((0..all - rows).map(|at| at as u32));
        padded.segments.push(Segment {
            rows: rows..all,
            depth: 0,
            parent: None,
        });
        Cow::Owned(padded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_counts_come_in_few_sizes_and_waste_less_than_a_sixteenth() {
        assert_eq!(
            [0, 1, 64, 65].map(|count| rounded_up(count, 64)),
            [0, 64, 64, 128]
        );
        assert_eq!(rounded_up(77, 1), 77);
        let sizes: std::collections::BTreeSet<usize> =
            (4096..8192).map(|count| rounded_up(count, 64)).collect();
        assert_eq!(sizes.len(), 17);
        for count in 1024..9000 {
            let rounded = rounded_up(count, 64);
            assert!(rounded >= count && (rounded - count) * 16 < count.max(1024));
        }
    }
}
