//! From numbers to pixels: a linear scale with round ticks.

use super::format::number;

/// A range of numbers, never empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
}

impl Scale {
    /// The range of the finite numbers; none if there are none. One number alone gets room around it.
    pub(super) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let finite = numbers.into_iter().filter(|n| n.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), n| {
            (low.min(n), high.max(n))
        });
        match low {
            low if low > high => None,
            low if low == high => {
                let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
                Some(Self {
                    low: low - room,
                    high: high + room,
                })
            }
            low => Some(Self { low, high }),
        }
    }

    /// The range of shares of one; room around a single number ends at 0 and at 1, beyond which no share lies.
    pub(super) fn of_shares(shares: impl IntoIterator<Item = f64>) -> Option<Self> {
        let scale = Self::of(shares)?;
        let (low, high) = (scale.low.max(0.0), scale.high.min(1.0));
        Some(if low < high {
            Self { low, high }
        } else {
            scale
        })
    }

    /// The range with a share of its span added on both sides.
    pub(super) fn padded(self, share: f64) -> Self {
        let room = (self.high - self.low) * share;
        Self {
            low: self.low - room,
            high: self.high + room,
        }
    }

    /// Where `n` lies, from 0 (low) to 1 (high).
    pub(super) fn place(&self, n: f64) -> f64 {
        (n - self.low) / (self.high - self.low)
    }

    /// Round numbers within the range, about `wanted` of them: steps of 1, 2 or 5 times a power of ten.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = match rough / power {
            r if r < 1.5 => 1.0,
            r if r < 3.0 => 2.0,
            r if r < 7.0 => 5.0,
            _ => 10.0,
        } * power;
        // A range that ends on a tick keeps it, whatever the division rounds to.
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        // Not by adding steps: 0.1 + 0.2 would show.
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

/// The labels of ticks, with as many decimals as their distance needs.
pub(super) fn labels(ticks: &[f64]) -> Vec<String> {
    let step = match ticks {
        [a, b, ..] => b - a,
        [a] => a.abs(),
        [] => return Vec::new(),
    };
    let largest = ticks.iter().fold(0.0, |l: f64, t| l.max(t.abs()));
    let decimals = (-(step * 1.001).log10().floor()).clamp(0.0, 6.0) as usize;
    let plain = |tick: &f64| format!("{tick:.decimals$}").replace('-', "−");
    let tiny = |tick: &f64| number(if tick.abs() < step / 2.0 { 0.0 } else { *tick });
    match largest {
        l if l > 0.0 && !(1e-3..1e5).contains(&l) => ticks.iter().map(tiny).collect(),
        _ => ticks.iter().map(plain).collect(),
    }
}

/// The labels of ticks that are shares of one, in per cent, with as many decimals as their distance needs.
pub(super) fn share_labels(ticks: &[f64]) -> Vec<String> {
    let percents: Vec<f64> = ticks.iter().map(|tick| tick * 100.0).collect();
    let percent = |label: String| format!("{label}%");
    labels(&percents).into_iter().map(percent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ticks_of_shares_are_labelled_alike() {
        let shown = |low, high| share_labels(&Scale { low, high }.ticks(4));
        assert_eq!(shown(0.0, 1.0), ["0%", "20%", "40%", "60%", "80%", "100%"]);
        assert_eq!(shown(0.0, 0.02), ["0.0%", "0.5%", "1.0%", "1.5%", "2.0%"]);
        assert_eq!(
            shown(0.0, 0.0011),
            ["0.00%", "0.02%", "0.04%", "0.06%", "0.08%", "0.10%"]
        );
        for power in 1..=9 {
            for high in [1.0, 1.3, 2.6, 3.9, 7.7] {
                let labels = shown(0.0, high * 10f64.powi(-power));
                let mut unique = labels.clone();
                unique.dedup();
                assert_eq!(labels, unique);
            }
        }
    }

    #[test]
    fn a_scale_of_shares_ends_where_shares_end() {
        let ends = |shares: &[f64]| {
            let scale = Scale::of_shares(shares.iter().copied()).unwrap();
            (scale.low, scale.high)
        };
        assert_eq!(ends(&[0.0, 0.0]), (0.0, 1.0));
        assert_eq!(ends(&[1.0]), (0.9, 1.0));
        assert_eq!(ends(&[0.02, 0.0]), (0.0, 0.02));
    }

    #[test]
    fn ticks_are_round_and_labelled_as_they_need() {
        let shown = |low, high| labels(&Scale { low, high }.ticks(4));
        assert_eq!(
            shown(0.0, 1.2),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2"]
        );
        assert_eq!(
            shown(-124.2, -115.9),
            ["−124", "−122", "−120", "−118", "−116"]
        );
        assert_eq!(shown(-0.31, 0.31), ["−0.2", "0.0", "0.2"]);
        assert_eq!(
            shown(0.0, 5e-7),
            ["0", "1e−7", "2e−7", "3e−7", "4e−7", "5e−7"]
        );
        assert_eq!(shown(0.0, 200.0), ["0", "50", "100", "150", "200"]);
        assert_eq!(shown(0.66, 0.70), ["0.66", "0.67", "0.68", "0.69", "0.70"]);
    }

    #[test]
    fn one_number_gets_room_and_none_gets_no_scale() {
        let scale = Scale::of([2.0, f64::NAN]).unwrap();
        assert!((scale.place(2.0) - 0.5).abs() < 1e-9);
        assert_eq!(
            Scale::of([0.0]).unwrap(),
            Scale {
                low: -1.0,
                high: 1.0
            }
        );
        assert!(Scale::of([f64::NAN, f64::INFINITY]).is_none());
    }
}
