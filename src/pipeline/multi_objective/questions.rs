//! Rows as sequences that mark where the question ends.

use super::super::examples::{Kept, Prepared};
use crate::data::{Preference, Rating};
use crate::error::Result;
use crate::judge::{asked, question};
use crate::objective::Example;
use crate::text::{Chat, Fit, Limits};
use crate::trie::Sequence;
use rayon::prelude::*;

/// A rated response as a sequence; none where it does not fit.
///
/// # Errors
/// A row that cannot be rendered.
pub fn rated(row: &Rating, chat: &Chat, limits: &Limits) -> Result<Option<Sequence>> {
    let encoded = chat
        .pair(&row.prompt, &row.answer)
        .map_err(|e| e.at(&row.origin))?;
    let asked = asked(chat, &row.prompt, encoded, limits);
    Ok(asked.map_err(|e| e.at(&row.origin))?.ok())
}

/// Pairs as examples, the chosen sequence first; both mark the same place.
///
/// # Errors
/// A row that cannot be rendered.
pub fn pairs(rows: &[Preference], chat: &Chat, limits: &Limits) -> Result<Prepared> {
    let one = |row: &Preference| -> Result<Option<Kept>> {
        let at = |e: crate::Error| e.at(&row.origin);
        let mut pair = chat
            .preference(&row.prompt, &row.chosen, &row.rejected)
            .map_err(at)?;
        let whole = pair.prompt.len();
        let fit = limits.pair(&mut pair);
        if let Fit::Dropped(_) = fit {
            return Ok(None);
        }
        let question = question(chat, &row.prompt, whole, pair.prompt.len()).map_err(at)?;
        let sequence = |answer: &[u32]| {
            let tokens = [&pair.prompt[..], answer].concat();
            (tokens.len() > 1).then(|| Sequence::asked(tokens, question))
        };
        let (Some(chosen), Some(rejected)) = (sequence(&pair.chosen), sequence(&pair.rejected))
        else {
            return Ok(None);
        };
        Ok(Some(Kept {
            example: Example {
                id: row.id.clone(),
                sequences: vec![chosen, rejected],
                reference: Vec::new(),
                margin: row.margin,
                labels: Vec::new(),
            },
            truncated: fit != Fit::Whole,
            ended: true,
        }))
    };
    let found: Result<Vec<_>> = rows.par_iter().map(one).collect();
    Ok(Prepared::gather(found?))
}
