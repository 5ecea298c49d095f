//! RRM: the pairs and, beside them, pairs that are made of responses to other prompts.

use super::super::context::{Context, Policy};
use super::super::examples;
use super::label::{Label, label};
use super::{Learning, fit, rows};
use crate::data::rrm::{Judged, augment};
use crate::data::{Key, Preference};
use crate::error::Result;
use crate::recipe::{Rrm, hash_of};

/// Trains on the pairs and on what `rrm` makes of them: the stage `pairwise`. Where it filters, a first model
/// (`pairwise-plain`) learns from the pairs alone, and what that already knows is left out.
pub(super) fn train(cx: &mut Context, learning: &Learning, rrm: &Rrm) -> Result<Policy> {
    let key = Key::new(learning.seed).fold("rrm");
    let [originals, _] = rows(cx, learning.table)?;
    let made = augment(&originals, rrm.per_row, key);
    let drawn = made.len();
    let made = match rrm.min_surprise > 0.0 {
        true => surprising(cx, learning, rrm, made)?,
        false => made,
    };
    if made.is_empty() {
        tracing::warn!(
            "pairwise: none of {drawn} pairs across prompts is left: lower pairwise.rrm.min_surprise, or give rows of \
             several prompts"
        );
    }
    let ties = made.iter().filter(|pair| pair.share == 0.5).count();
    tracing::info!(
        "pairwise: {} pairs across prompts beside {} of the file, {ties} of them ties",
        made.len(),
        originals.len()
    );
    let ids: Vec<&str> = made.iter().map(|pair| pair.row.id.as_str()).collect();
    let said = hash_of(&ids);
    fit(cx, learning, "pairwise", &[said], &made)
}

/// Those of which a model that knows the originals alone is wrong by at least `min_surprise`.
fn surprising(
    cx: &mut Context,
    learning: &Learning,
    rrm: &Rrm,
    made: Vec<Judged>,
) -> Result<Vec<Judged>> {
    let plain = fit(cx, learning, "pairwise-plain", &[], &[])?;
    let pairs: Vec<Preference> = made.iter().map(|pair| pair.row.clone()).collect();
    let table = learning.table;
    let inputs = [
        hash_of(&(rrm.per_row, learning.seed)),
        examples::hash(&table.data)?,
    ];
    let labels = label(cx, "pairwise-across", &plain, table, &pairs, &inputs)?;
    let off = |(pair, label): (Judged, &Label)| {
        let off = f64::from((label.p? - pair.share).abs());
        (off >= rrm.min_surprise).then_some(pair)
    };
    Ok(made.into_iter().zip(&labels).filter_map(off).collect())
}
