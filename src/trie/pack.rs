//! Rows into micro-batches under a token budget, in a fixed order.

use super::Sequence;

/// Cuts `sizes` (tokens each row would take alone) into runs of consecutive rows whose sizes add up to at
/// most `budget`. A row larger than the budget stands alone: it must be computed somewhere.
pub fn pack(sizes: &[usize], budget: usize) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    let mut filled = 0;
    for (i, &size) in sizes.iter().enumerate() {
        if i > start && filled + size > budget {
            runs.push(start..i);
            start = i;
            filled = 0;
        }
        filled += size;
    }
    if start < sizes.len() {
        runs.push(start..sizes.len());
    }
    runs
}

/// Cuts sequences that begin alike, such as the solutions of one problem, into runs whose tries hold at most `budget` tokens:
/// what a sequence shares with the first of its run counts once. A sequence larger than the budget stands alone.
pub fn siblings(sequences: &[Sequence], budget: usize) -> Vec<std::ops::Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut filled) = (0, 0);
    for (i, sequence) in sequences.iter().enumerate() {
        let shared = |first: &Sequence| {
            let both = first.tokens.iter().zip(&sequence.tokens);
            both.take_while(|(a, b)| a == b).count()
        };
        let more = sequence.tokens.len()
            - if i > start {
                shared(&sequences[start])
            } else {
                0
            };
        if i > start && filled + more > budget {
            runs.push(start..i);
            (start, filled) = (i, sequence.tokens.len());
        } else {
            filled += more;
        }
    }
    if start < sequences.len() {
        runs.push(start..sequences.len());
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::super::Trie;
    use super::*;

    #[test]
    fn siblings_share_what_they_begin_with_and_stay_within_the_budget() {
        let sequences: Vec<Sequence> = (0..20)
            .map(|i| Sequence::unscored([vec![7; 10], vec![100 + i; 3]].concat()))
            .collect();
        let runs = siblings(&sequences, 30);
        let covered: Vec<usize> = runs.iter().cloned().flatten().collect();
        assert_eq!(covered, (0..20).collect::<Vec<_>>());
        let sizes = runs
            .iter()
            .map(|run| Trie::new(&sequences[run.clone()]).len());
        assert!(sizes.clone().all(|size| size <= 30));
        // Six endings of three tokens and the common ten fit, a seventh does not.
        assert_eq!(sizes.max(), Some(28));
        assert_eq!(siblings(&sequences[..1], 5).len(), 1);
        assert!(siblings(&[], 5).is_empty());
    }

    #[test]
    fn every_row_is_in_one_run_and_no_run_is_over_budget() {
        let sizes = [3, 4, 9, 1, 1, 1, 20, 2];
        let runs = pack(&sizes, 8);
        let covered: Vec<usize> = runs.iter().cloned().flatten().collect();
        assert_eq!(covered, (0..8).collect::<Vec<_>>());
        for run in &runs {
            assert!(run.len() == 1 || sizes[run.clone()].iter().sum::<usize>() <= 8);
        }
        assert!(pack(&[], 8).is_empty());
    }
}
