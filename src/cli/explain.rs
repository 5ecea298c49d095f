//! `duel judge --explain`: what a multi-objective reward model's score is made of, or why a rule gives it.

use super::faults::Faults;
use super::{Global, output};
use crate::data::PromptRow;
use crate::error::{Error, Result};
use crate::judge::tree::prefer;
use crate::judge::{Group, Opinion, RewardJudge, Rule};
use crate::model::{Gated, Model, Opinions};
use serde_json::{Value, json};

/// Characters of a response that stand over its table.
const SHOWN: usize = 60;

/// Prints every response's score and its parts: a table, or with `--json` a line a row.
///
/// # Errors
/// A model without attributes, or a row that cannot be scored.
pub fn explain(
    model: &Model,
    judge: &RewardJudge,
    rows: &[PromptRow],
    faults: Faults,
    global: &Global,
) -> Result<()> {
    let Some(gated) = &model.gated else {
        return Err(Error::user(format!(
            "{} has one reward and no attributes to explain it by",
            model.path.display()
        ))
        .hint("give a multi-objective model, as `duel multi-objective` makes it, or leave --explain out"));
    };
    if let (Some(tree), false) = (&gated.tree, global.json) {
        output::print(&format!("two responses are compared by a tree:\n{tree}"))?;
    }
    let mut faults = faults.in_order();
    for row in rows {
        let group = Group {
            id: row.id.clone(),
            prompt: row.prompt.clone(),
            responses: row.responses.clone(),
            answer: None,
        };
        let said = judge.opinions(gated, &group)?;
        faults.print_before(row.origin.line)?;
        match global.json {
            true => output::json(&line(row, gated, &said))?,
            false => tables(row, gated, &said)?,
        }
    }
    faults.print_rest()
}

/// Prints every response's score by a rule and why: a line each, or with `--json` a line a row.
///
/// # Errors
/// A row without an answer that the rule asks for, or an stdout that cannot be written.
pub fn explain_rule(
    rule: &Rule,
    rows: &[PromptRow],
    faults: Faults,
    global: &Global,
) -> Result<()> {
    let mut faults = faults.in_order();
    for row in rows {
        let opinion = |text: &String| rule.opinion(text, row.answer.as_deref());
        let said: Option<Vec<Opinion>> = row.responses.iter().map(opinion).collect();
        // The loader has refused rows without one.
        let said = said.ok_or_else(|| Error::internal("a row without an answer was read"))?;
        faults.print_before(row.origin.line)?;
        if global.json {
            let scores: Vec<f64> = said.iter().map(|opinion| opinion.score).collect();
            let why: Vec<&str> = said.iter().map(|opinion| opinion.why.as_str()).collect();
            output::json(&json!({"id": row.id, "rewards": scores, "explained": why}))?;
            continue;
        }
        for (at, (text, opinion)) in row.responses.iter().zip(&said).enumerate() {
            output::print(&format!(
                "row {}, response {}, score {:.4} ({}): {}",
                row.id,
                at + 1,
                opinion.score,
                opinion.why,
                start(text)
            ))?;
        }
    }
    faults.print_rest()
}

/// The beginning of a response, in a line.
fn start(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = words.chars().take(SHOWN).collect();
    if shown.len() < words.len() {
        shown.push('…');
    }
    shown
}

/// Attribute by attribute, each with what it adds to the score.
fn parts(gated: &Gated, said: &Opinions, response: usize) -> Vec<(String, [f32; 4])> {
    let names = gated.attributes.iter().cloned().enumerate();
    names
        .map(|(i, name)| {
            let of = |list: &[Vec<f32>]| list[response][i];
            let numbers = [
                of(&said.rewards),
                of(&said.debiased),
                of(&said.gate),
                of(&said.coefficients),
            ];
            (name, numbers)
        })
        .collect()
}

fn line(row: &PromptRow, gated: &Gated, said: &Opinions) -> Value {
    let objective = |(attribute, [reward, debiased, gate, coefficient]): (String, [f32; 4])| {
        json!({
            "attribute": attribute,
            "reward": reward,
            "debiased": debiased,
            "gate": gate,
            "coefficient": coefficient,
        })
    };
    let response = |at: usize| {
        let objectives = parts(gated, said, at).into_iter().map(objective);
        json!({"score": said.scores[at], "objectives": objectives.collect::<Vec<Value>>()})
    };
    let explained: Vec<Value> = (0..said.scores.len()).map(response).collect();
    let mut line = json!({"id": row.id, "rewards": said.scores, "explained": explained});
    if let Some(first) = by_tree(gated, said) {
        line["first_is_better"] = first.into();
    }
    line
}

/// The tree's probability that the first of two responses is the better one; none where there are not two, or there is no tree.
fn by_tree(gated: &Gated, said: &Opinions) -> Option<f32> {
    match (&gated.tree, &said.rewards[..]) {
        (Some(tree), [first, second]) => Some(prefer(tree, first, second)),
        _ => None,
    }
}

fn tables(row: &PromptRow, gated: &Gated, said: &Opinions) -> Result<()> {
    for (at, (text, score)) in row.responses.iter().zip(&said.scores).enumerate() {
        output::print(&format!(
            "row {}, response {}, score {score:.4}: {}",
            row.id,
            at + 1,
            start(text)
        ))?;
        let cells = |(name, [reward, debiased, gate, coefficient]): (String, [f32; 4])| {
            let adds = gate * debiased;
            let numbers = [reward, debiased, gate, adds, coefficient];
            std::iter::once(name)
                .chain(numbers.map(|number| format!("{number:.4}")))
                .collect()
        };
        let rows = parts(gated, said, at).into_iter().map(cells).collect();
        let header = [
            "attribute",
            "reward",
            "debiased",
            "gate",
            "adds",
            "coefficient",
        ];
        output::print(&output::table(&header, rows))?;
    }
    if let Some(first) = by_tree(gated, said) {
        output::print(&format!(
            "row {}: by the tree, the first response is better than the second with probability {first:.3}",
            row.id
        ))?;
    }
    Ok(())
}
