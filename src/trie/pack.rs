//! Rows into micro-batches under a token budget, in a fixed order.

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

#[cfg(test)]
mod tests {
    use super::*;

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
