//! Histograms, one a round, all on the same scale so that they can be compared by eye.

use super::format::{count, escape, number};
use super::read::Scores;
use super::scale::{Scale, labels};

const BINS: usize = 24;

// In user units; the page scales the drawing to the width there is.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 116.0;
const SIDE: f64 = 10.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 20.0;

/// One figure a round of the numbers that `of` takes from it; `what` names them.
pub(super) fn histograms(scores: &[Scores], what: &str, of: impl Fn(&Scores) -> &[f64]) -> String {
    let Some(scale) = Scale::of(scores.iter().flat_map(|s| of(s).iter().copied())) else {
        return String::new();
    };
    let counted: Vec<_> = scores
        .iter()
        .map(|s| (s.round, bins(of(s), scale), of(s)))
        .collect();
    let tallest = counted
        .iter()
        .flat_map(|(_, shares, _)| shares)
        .fold(0.0, |a: f64, b| a.max(*b));
    counted
        .iter()
        .filter(|(_, _, numbers)| !numbers.is_empty())
        .map(|(round, shares, numbers)| figure(*round, what, shares, numbers, scale, tallest))
        .collect()
}

/// The share of the numbers in each bin.
fn bins(numbers: &[f64], scale: Scale) -> [f64; BINS] {
    let mut shares = [0.0; BINS];
    for number in numbers {
        let bin = (scale.place(*number) * BINS as f64) as usize;
        shares[bin.min(BINS - 1)] += 1.0 / numbers.len() as f64;
    }
    shares
}

fn figure(
    round: usize,
    what: &str,
    shares: &[f64; BINS],
    numbers: &[f64],
    scale: Scale,
    tallest: f64,
) -> String {
    let across = |place: f64| SIDE + place * (WIDTH - 2.0 * SIDE);
    let floor = HEIGHT - BOTTOM;
    let mut svg = format!(
        "<path class=\"grid\" d=\"M{SIDE} {floor}H{}\"/>",
        WIDTH - SIDE
    );
    for (bin, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        let x = across(bin as f64 / BINS as f64) + 0.75;
        let width = across(1.0 / BINS as f64) - SIDE - 1.5;
        let height = (share / tallest * (floor - TOP)).max(1.0);
        svg.push_str(&format!(
            "<rect class=\"c0\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"1\"/>",
            floor - height
        ));
    }
    let ticks = scale.ticks(4);
    for (tick, name) in ticks.iter().zip(labels(&ticks)) {
        let (x, y) = (across(scale.place(*tick)), HEIGHT - 5.0);
        svg.push_str(&format!(
            "<text x=\"{x:.1}\" y=\"{y}\" class=\"x\">{name}</text>"
        ));
    }
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let x = across(scale.place(mean));
    svg.push_str(&format!(
        "<path class=\"mean\" d=\"M{x:.1} {TOP}V{floor}\"/>"
    ));

    let (what, mean) = (escape(what), number(mean));
    let label = format!(
        "{what} in round {round}: {}, mean {mean}",
        count(numbers.len(), "response")
    );
    format!(
        "<figure><figcaption><span>round {round}</span><span class=\"last\"><span>mean <b>{mean}</b></span></span></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">{svg}</svg></figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_falls_in_one_bin_the_ends_included() {
        let numbers = [0.0, 0.5, 1.0, 1.0];
        let shares = bins(
            &numbers,
            Scale {
                low: 0.0,
                high: 1.0,
            },
        );
        assert_eq!(shares.iter().sum::<f64>(), 1.0);
        assert_eq!(
            (shares[0], shares[BINS / 2], shares[BINS - 1]),
            (0.25, 0.25, 0.5)
        );
    }
}
