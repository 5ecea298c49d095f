//! `duel eval --against`: two judges on the same pairs.

use super::super::{Global, output};
use super::{Judged, row};
use crate::error::Result;
use crate::eval::TwoJudges;
use crate::eval::statistics::CONFIDENCE;
use crate::run::interval_name;

/// Compares them and prints it.
pub(super) fn show(judges: [&Judged; 2], global: &Global) -> Result<()> {
    let [first, second] = judges;
    let found = TwoJudges::of(&first.pairs, &second.pairs, CONFIDENCE, 0)?;
    if global.json {
        return output::json(&found);
    }
    if found.left_out > 0 {
        output::note(&format!(
            "{} pairs are not compared: only one of the judges could read them",
            found.left_out
        ));
    }
    let interval = interval_name(Some(found.confidence));
    let name = |place: &str, judge: &Judged| format!("{place}: {}", judge.kind);
    output::print(&output::table(
        &["judge", "right", &interval, "pairs", "ties"],
        vec![
            row(&name("first", first), &found.first),
            row(&name("second", second), &found.second),
        ],
    ))?;
    let difference = found.difference;
    output::print(&format!(
        "the first alone is right on {}, the second alone on {}: the first is ahead by {:.1} points ({:.1} to {:.1}); by \
         chance so uneven with probability {:.4} (McNemar's exact test)",
        found.first_only,
        found.second_only,
        100.0 * difference.mean,
        100.0 * difference.low,
        100.0 * difference.high,
        found.p_value
    ))
}
