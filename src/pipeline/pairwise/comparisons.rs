//! Pairs as comparisons.

use super::super::examples::{Kept, Prepared};
use crate::data::rrm::Judged;
use crate::data::{Key, Preference};
use crate::error::Result;
use crate::objective::Example;
use crate::recipe::Pairwise;
use crate::text::{Chat, Comparison, Letters, Limits};
use crate::trie::Sequence;
use rand::RngExt;
use rayon::prelude::*;

/// In which places a pair's responses are shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Of the places that are drawn.
    key: Key,
    both_orders: bool,
}

impl Shown {
    /// As a recipe's table says; `key` is the stage's.
    pub fn new(table: &Pairwise, key: Key) -> Self {
        Self {
            key: key.fold("place"),
            both_orders: table.both_orders,
        }
    }

    /// Whether the chosen response stands first: once, or in both orders.
    fn places(&self, row: &Preference) -> Vec<bool> {
        match self.both_orders {
            true => vec![true, false],
            false => vec![self.key.fold(&row.id).rng().random()],
        }
    }
}

/// Pairs as comparisons, each a sequence whose only scored token is the letter of the chosen response; of a
/// pair without a clear winner the label says how clear it is.
///
/// # Errors
/// A row the template cannot render.
pub fn comparisons(
    rows: &[Judged],
    chat: &Chat,
    limits: &Limits,
    letters: Letters,
    shown: Shown,
) -> Result<Prepared> {
    let one = |Judged { row, share }: &Judged| -> Result<Option<Kept>> {
        let chosen_first = Comparison::of(chat, &row.prompt, &row.chosen, &row.rejected)
            .map_err(|e| e.at(&row.origin))?;
        let mut sequences = Vec::new();
        let mut truncated = false;
        let mut labels = Vec::new();
        for first in shown.places(row) {
            let (comparison, letter) = match first {
                true => (chosen_first.clone(), letters.a),
                false => (chosen_first.turned(), letters.b),
            };
            let fit = comparison
                .encode(chat, limits)
                .map_err(|e| e.at(&row.origin))?;
            let Some(asked) = fit else {
                return Ok(None);
            };
            truncated |= asked.truncated;
            if *share != 1.0 {
                labels.push(if first { *share } else { 1.0 - *share });
            }
            sequences.push(Sequence::response(&asked.ids, &[letter]));
        }
        Ok(Some(Kept {
            example: Example {
                id: row.id.clone(),
                sequences,
                reference: Vec::new(),
                margin: None,
                labels,
            },
            truncated,
            // A comparison has no answer that could lack its end.
            ended: true,
        }))
    };
    let found: Result<Vec<_>> = rows.par_iter().map(one).collect();
    Ok(Prepared::gather(found?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Origin, Unit};
    use crate::text::TokenizerFiles;
    use crate::text::{Answer, Prompt};

    fn row(id: usize) -> Preference {
        Preference {
            id: id.to_string(),
            prompt: Prompt::Text("?".into()),
            chosen: Answer::Text("good".into()),
            rejected: Answer::Text("bad".into()),
            margin: None,
            subset: None,
            origin: Origin {
                file: Default::default(),
                line: id,
                unit: Unit::Line,
            },
        }
    }

    /// D28: the released training spends most of its loss on tokens that are the same in every row.
    #[test]
    fn d28_the_loss_of_a_comparison_is_of_its_letter_alone() {
        let model = crate::pipeline::embedded::model().expect("unpacked");
        let chat = Chat::new(&TokenizerFiles::read(&model).expect("read")).expect("a chat");
        let letters = Letters::of(&chat).expect("letters");
        let shown = Shown {
            key: Key::new(1),
            both_orders: true,
        };
        let rows = super::super::known(vec![row(1), row(2)]);
        let found = comparisons(&rows, &chat, &Limits::new(512), letters, shown);
        let examples = found.expect("comparisons").examples;
        let sequences: Vec<&Sequence> = examples.iter().flat_map(|row| &row.sequences).collect();
        assert_eq!(sequences.len(), 4);
        for sequence in sequences {
            let last = sequence.tokens.len() - 1;
            let scored: Vec<usize> = (0..=last).filter(|&i| sequence.scored[i]).collect();
            assert_eq!(scored, [last]);
            assert!([letters.a, letters.b].contains(&sequence.tokens[last]));
        }
    }

    /// D26: a generator without a seed, shared by forked workers, draws the places of the released data.
    #[test]
    fn d26_a_pairs_place_hangs_on_the_seed_and_the_row_alone() {
        let shown = |seed| Shown {
            key: Key::new(seed).fold("place"),
            both_orders: false,
        };
        let places = |seed, ids: &mut dyn Iterator<Item = usize>| -> Vec<bool> {
            ids.flat_map(|id| shown(seed).places(&row(id))).collect()
        };
        let forward = places(1, &mut (0..400));
        let mut backward = places(1, &mut (0..400).rev());
        backward.reverse();
        assert_eq!(forward, backward);
        assert_ne!(forward, places(2, &mut (0..400)));
        let first = forward.iter().filter(|first| **first).count();
        assert!((150..250).contains(&first), "{first} of 400 stand first");
        let both = Shown {
            both_orders: true,
            ..shown(1)
        };
        assert_eq!(both.places(&row(1)), [true, false]);
    }
}
