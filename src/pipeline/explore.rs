//! Who draws a round's responses: the policy itself, and where the recipe explores, an enhancer that takes the
//! judge's best of n samples for half of them ("RLHF Workflow", section 3; KL from the policy at most ln n - (n-1)/n).

use super::context::Context;
use super::judges::Seat;
use super::responses::{self, GroupRow};
use crate::data::PromptRow;
use crate::error::Result;
use crate::generate::Engine;
use crate::model::Model;
use crate::recipe::{Online, Sampling};
use crate::run::RoundLayout;
use crate::text::Limits;

/// Writes `responses.jsonl` of a round.
///
/// # Errors
/// Whatever the engine, the judge or the file reports.
pub fn respond(
    cx: &Context,
    model: &Model,
    asked: &[PromptRow],
    table: &Online,
    limits: &Limits,
    judge: &Seat,
    round: &RoundLayout,
) -> Result<()> {
    let key = cx.key.fold("round").fold_index(round.number() as u64);
    let k = table.generate.num_generations;
    let explored = if table.best_of_n > 1 { k / 2 } else { 0 };
    let how = Sampling {
        num_generations: k - explored + explored * table.best_of_n,
        ..table.generate.clone()
    };
    let engine = Engine::new(&model.decoder, &model.chat, &how);
    if explored == 0 {
        responses::generate(&engine, asked, Some(limits), key, &round.responses())?;
        return Ok(());
    }
    let all = round.responses().with_file_name("responses.drawn.jsonl");
    let drawn = responses::generate(&engine, asked, Some(limits), key, &all)?;
    // Its copy of the weights makes room for the judge.
    drop(engine);
    let scores = all.with_file_name("responses.drawn-scores.jsonl");
    let drawn = judge.score(cx, &drawn, table.max_length, &scores)?;
    let kept: Vec<GroupRow> = drawn
        .iter()
        .map(|row| best_of(row, k - explored, table.best_of_n))
        .collect();
    crate::run::write_rows(&round.responses(), &kept)
}

/// The first `plain` responses as they are, then of each run of `n` the one with the highest reward.
fn best_of(row: &GroupRow, plain: usize, n: usize) -> GroupRow {
    let count = row.responses.len();
    let mut kept: Vec<usize> = (0..plain.min(count)).collect();
    for start in (plain..count).step_by(n) {
        let best = (start..(start + n).min(count)).reduce(|best, i| {
            if row.rewards[i] > row.rewards[best] {
                i
            } else {
                best
            }
        });
        kept.extend(best);
    }
    GroupRow {
        responses: kept.iter().map(|&i| row.responses[i].clone()).collect(),
        finish: kept.iter().map(|&i| row.finish[i]).collect(),
        tokens: kept.iter().map(|&i| row.tokens[i]).collect(),
        rewards: Vec::new(),
        ..row.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Finish;
    use crate::pipeline::responses::PromptField;

    #[test]
    fn the_enhancer_takes_the_best_of_each_run_and_the_rest_stays() {
        let row = GroupRow {
            id: "1".into(),
            prompt: PromptField::Text("p".into()),
            responses: ["a", "b", "c", "d", "e", "f"].map(String::from).to_vec(),
            finish: vec![Finish::Stop; 6],
            tokens: vec![1, 2, 3, 4, 5, 6],
            rewards: vec![9.0, 0.0, 1.0, 2.0, 5.0, 3.0],
            answer: None,
        };
        let kept = best_of(&row, 2, 2);
        assert_eq!(kept.responses, ["a", "b", "d", "e"]);
        assert_eq!(kept.tokens, [1, 2, 4, 5]);
    }
}
