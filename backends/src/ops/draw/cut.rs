//! Which tokens may be drawn: min-p, top-k and top-p each keep the likeliest, down to a logit of its own.

use super::Draw;

/// The smallest logit that all three keep. `max` is the largest, and `weight` what a logit counts in the softmax.
pub fn floor(logits: &[f32], max: f32, draw: &Draw, weight: &dyn Fn(f32) -> f64) -> f32 {
    let mut floor = max - draw.cut;
    let k = draw.top_k as usize;
    if k > 0 && k < logits.len() {
        let mut all = logits.to_vec();
        let (_, kth, _) = all.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        floor = floor.max(*kth);
    }
    if draw.top_p < 1.0 {
        let kept: Vec<f32> = logits.iter().copied().filter(|&l| l >= floor).collect();
        let total: f64 = kept.iter().map(|&l| weight(l)).sum();
        return nucleus(kept, draw.top_p * total, weight).unwrap_or(floor);
    }
    floor
}

/// The logit at which the likeliest tokens together reach `wanted`. Only as many are sorted as it takes: the likeliest
/// hundred hold nearly all of it most of the time.
fn nucleus(mut kept: Vec<f32>, wanted: f64, weight: &dyn Fn(f32) -> f64) -> Option<f32> {
    let (mut sorted, mut sum) = (0, 0.0);
    while sorted < kept.len() {
        let rest = &mut kept[sorted..];
        let count = (2 * sorted).max(128).min(rest.len());
        rest.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        rest[..count].sort_unstable_by(|a, b| b.total_cmp(a));
        for &logit in &rest[..count] {
            sum += weight(logit);
            if sum >= wanted {
                return Some(logit);
            }
        }
        sorted += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nucleus_ends_where_a_full_sort_ends_it() {
        // 5,000 logits in no order, nearly flat, so that the nucleus is wide.
        let logits: Vec<f32> = (0..5_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32)
            .collect();
        let weight = |logit: f32| f64::from(logit).exp();
        let total: f64 = logits.iter().map(|&l| weight(l)).sum();
        let mut sorted = logits.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        for share in [1e-9, 0.01, 0.3, 0.9, 0.999] {
            let mut sum = 0.0;
            let wanted = sorted.iter().copied().find(|&logit| {
                sum += weight(logit);
                sum >= share * total
            });
            assert!(wanted.is_some());
            assert_eq!(nucleus(logits.clone(), share * total, &weight), wanted);
        }
    }
}
