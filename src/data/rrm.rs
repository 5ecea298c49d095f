//! Robust reward models: pairs that teach that a response has to fit its prompt (Liu et al. 2024, "RRM: Robust Reward Model
//! Training Mitigates Reward Hacking", section 3).
//!
//! Any response to a prompt beats one to another prompt, however long or well-mannered that is; of two that both belong
//! elsewhere neither is better. What a judge could learn from looks alone then says nothing.

use super::key::Key;
use super::rows::Preference;
use crate::text::Answer;
use rand::seq::SliceRandom;

/// A pair with the probability that its chosen response is the better one.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The pair.
    pub row: Preference,
    /// 1 where somebody said so, 0.5 of a tie.
    pub share: f32,
}

/// What a row's two responses and two other rows' make: 4 + 4 pairs with a winner, 6 ties.
pub const PER_ROW: usize = 14;

/// At most `per_row` pairs of each row, drawn of the 14 that its responses make with those of two other rows, which are drawn
/// too. The rows themselves are not among them. A row stands beside no row with its own prompt, whose responses are not out of
/// place, and beside none whose responses have another form (text, turns or ids).
pub fn augment(rows: &[Preference], per_row: usize, key: Key) -> Vec<Judged> {
    let shuffled = |name: &str| {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(&mut key.fold(name).rng());
        order
    };
    let (second, third) = (shuffled("second"), shuffled("third"));
    let mut all = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let (j, k) = (&rows[second[i]], &rows[third[i]]);
        let mut made = triplets(row, j, k);
        made.shuffle(&mut key.fold("drawn").fold(&row.id).rng());
        made.truncate(per_row);
        all.extend(made);
    }
    all
}

/// The pairs of `row` and two others, as the paper lists them.
fn triplets(row: &Preference, j: &Preference, k: &Preference) -> Vec<Judged> {
    let foreign = |other: &&Preference| {
        let same_form =
            |a: &Answer, b: &Answer| std::mem::discriminant(a) == std::mem::discriminant(b);
        other.prompt != row.prompt && same_form(&other.chosen, &row.chosen)
    };
    let others: Vec<&Preference> = [j, k].into_iter().filter(foreign).collect();
    let strangers: Vec<&Answer> = others
        .iter()
        .flat_map(|other| [&other.chosen, &other.rejected])
        .collect();
    let mut made = Vec::new();
    let mut make = |chosen: &Answer, rejected: &Answer, share: f32| {
        // Equal responses are no pair: a coin would have to be learnt.
        if chosen != rejected {
            made.push(Judged {
                row: Preference {
                    id: format!("{}/rrm-{}", row.id, made.len() + 1),
                    chosen: chosen.clone(),
                    rejected: rejected.clone(),
                    margin: None,
                    ..row.clone()
                },
                share,
            });
        }
    };
    for own in [&row.chosen, &row.rejected] {
        strangers.iter().for_each(|other| make(own, other, 1.0));
    }
    for (at, first) in strangers.iter().enumerate() {
        let later = &strangers[at + 1..];
        later.iter().for_each(|second| make(first, second, 0.5));
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Origin, Unit};
    use crate::text::Prompt;
    use std::collections::BTreeSet;

    fn row(i: usize) -> Preference {
        Preference {
            id: i.to_string(),
            prompt: Prompt::Text(format!("prompt {}", i / 2)),
            chosen: Answer::Text(format!("w{i}")),
            rejected: Answer::Text(format!("l{i}")),
            margin: Some(1.0),
            subset: None,
            origin: Origin {
                file: Default::default(),
                line: i + 1,
                unit: Unit::Line,
            },
        }
    }

    fn text(answer: &Answer) -> &str {
        match answer {
            Answer::Text(text) => text,
            _ => unreachable!("rows of text"),
        }
    }

    #[test]
    fn a_row_and_two_others_make_eight_wins_and_six_ties() {
        let made = triplets(&row(0), &row(2), &row(4));
        let named = |share: f32| -> Vec<String> {
            let of = made.iter().filter(|pair| pair.share == share);
            of.map(|pair| format!("{}>{}", text(&pair.row.chosen), text(&pair.row.rejected)))
                .collect()
        };
        assert_eq!(
            named(1.0),
            [
                "w0>w2", "w0>l2", "w0>w4", "w0>l4", "l0>w2", "l0>l2", "l0>w4", "l0>l4"
            ]
        );
        assert_eq!(
            named(0.5),
            ["w2>l2", "w2>w4", "w2>l4", "l2>w4", "l2>l4", "w4>l4"]
        );
        assert_eq!(made.len(), PER_ROW);
        assert!(made.iter().all(|pair| pair.row.prompt == row(0).prompt));
    }

    /// D22: seeded, and a response to the same prompt is no stranger.
    #[test]
    fn d22_the_same_seed_makes_the_same_pairs_and_no_response_loses_to_its_own_prompts() {
        let rows: Vec<Preference> = (0..40).map(row).collect();
        let made = augment(&rows, 3, Key::new(1));
        assert_eq!(made, augment(&rows, 3, Key::new(1)));
        assert_ne!(made, augment(&rows, 3, Key::new(2)));
        assert!(made.len() <= 120 && made.len() > 100, "{}", made.len());
        let ids: BTreeSet<&str> = made.iter().map(|pair| pair.row.id.as_str()).collect();
        assert_eq!(ids.len(), made.len());
        let prompt_of = |answer: &Answer| text(answer)[1..].parse::<usize>().expect("a number") / 2;
        for pair in &made {
            let Prompt::Text(prompt) = &pair.row.prompt else {
                unreachable!("rows of text")
            };
            let own: usize = prompt["prompt ".len()..].parse().expect("a number");
            assert_ne!(prompt_of(&pair.row.rejected), own);
            assert_eq!(prompt_of(&pair.row.chosen) == own, pair.share == 1.0);
        }
    }
}
