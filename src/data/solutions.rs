//! Problems with solutions, and what is known of each solution or of each of its steps.

use super::fields::Fields;
use super::load::{Shaped, load};
use super::prompts;
use super::report::{LoadOptions, Report};
use super::rows::Origin;
use super::split::HasPrompt;
use crate::error::{Error, Result};
use crate::text::{Marks, Message, Prompt, comes_to, reference_answer};
use serde_json::Value;
use std::path::PathBuf;

/// The shapes of rows with solutions, for messages.
const SHAPES: &str = "{\"prompt\", \"completions\", \"labels\"} with a label for each step, {\"conversations\"} whose assistant \
                      answers + or -, {\"prompt\", \"responses\", \"labels\"} with a label for each solution, or \
                      {\"prompt\", \"answer\"}";

/// A problem with solutions.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Stable name of the row.
    pub id: String,
    /// The problem. Empty text where the row does not tell it from the first step.
    pub prompt: Prompt,
    /// The solutions that the row has.
    pub solutions: Vec<Solution>,
    /// The right answer, where the row says it.
    pub answer: Option<String>,
    /// Where the row stood.
    pub origin: Origin,
}

/// A solution.
#[derive(Debug, Clone, PartialEq)]
pub enum Solution {
    /// In steps, each with what is known of it: 1 for right, 0 for wrong.
    Steps(Vec<(String, Option<f32>)>),
    /// As one text.
    Whole(String, Option<f32>),
}

impl Problem {
    /// Whether a solution comes to the right answer; none where the row does not say that. A solution that comes to no answer is
    /// wrong.
    pub fn is_right(&self, solution: &str) -> Option<bool> {
        Some(comes_to(
            solution,
            &reference_answer(self.answer.as_deref()?),
        ))
    }
}

impl HasPrompt for Problem {
    fn hash_prompt(&self, hasher: &mut blake3::Hasher) {
        match (&self.prompt, self.solutions.first()) {
            (Prompt::Text(nothing), Some(Solution::Steps(steps))) if nothing.is_empty() => {
                let first = steps.first().map_or("", |(step, _)| step);
                Prompt::Text(first.to_owned()).hash_prompt(hasher);
            }
            (prompt, _) => prompt.hash_prompt(hasher),
        }
    }
}

/// Loads problems with their solutions, in file order.
///
/// Rows are `{prompt, completions, labels}` (TRL's stepwise supervision), `{conversations}` whose assistant turns are `+` or
/// `-` (RLHFlow's), or `{prompt, responses, labels}` with whole solutions (`answers`, `label` and `rewards` are read, too),
/// each with the right `answer` where it is known. Labels are true and false, `+` and `-`, numbers, or null.
pub fn load_problems(paths: &[PathBuf], options: &LoadOptions) -> Result<(Vec<Problem>, Report)> {
    load(paths, options, problem)
}

fn problem(fields: &Fields, id: String, origin: Origin) -> Result<Shaped<Problem>> {
    let (prompt, solutions) = match marked(fields)? {
        Some((prompt, steps)) => (prompt, vec![Solution::Steps(steps)]),
        None => (prompts::prompt(fields)?.into_chat(), solutions(fields)?),
    };
    let answer = prompts::answer(fields);
    if solutions.is_empty() && answer.is_none() {
        return Err(fields.no_shape("no solution and no answer", SHAPES));
    }
    if prompt.is_blank() && !matches!(solutions[..], [Solution::Steps(_)]) {
        return Ok(Shaped::Dropped("empty prompt"));
    }
    Ok(Shaped::Row(Problem {
        id,
        prompt,
        solutions,
        answer,
        origin,
    }))
}

fn solutions(fields: &Fields) -> Result<Vec<Solution>> {
    let labels = |count: usize| -> Result<Vec<Option<f32>>> {
        // What a judge gave is the truth only where nobody knows better.
        let known = fields.has("labels") || fields.has("label") || fields.has("answer");
        for name in ["labels", "label", "rewards"] {
            if fields.has(name) && !(name == "rewards" && known) {
                let found = fields.each(
                    name,
                    count,
                    "a label: true, false, + or -, a number, or null",
                    label,
                )?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
        }
        Ok(vec![None; count])
    };
    if let Some(steps) = fields.texts("completions")? {
        let labels = labels(steps.len())?;
        return Ok(vec![Solution::Steps(
            steps.into_iter().zip(labels).collect(),
        )]);
    }
    for name in ["responses", "answers"] {
        if let Some(texts) = fields.texts(name)? {
            let labels = labels(texts.len())?.into_iter();
            let whole = |(text, label)| Solution::Whole(text, label);
            return Ok(texts.into_iter().zip(labels).map(whole).collect());
        }
    }
    Ok(Vec::new())
}

/// A label, where it is one: `Some(None)` for null.
fn label(value: &Value) -> Option<Option<f32>> {
    match value {
        Value::Null => Some(None),
        Value::Bool(truth) => Some(Some(f32::from(u8::from(*truth)))),
        Value::String(word) => mark(word).map(Some),
        _ => Some(Some(value.as_f64().filter(|n| n.is_finite())? as f32)),
    }
}

/// What a mark says.
fn mark(word: &str) -> Option<f32> {
    let [good, bad] = Marks::WORDS;
    match word.trim() {
        word if word == good => Some(1.0),
        word if word == bad => Some(0.0),
        _ => None,
    }
}

/// A problem and its steps as a conversation in which the assistant marks each step.
type MarkedSteps = (Prompt, Vec<(String, Option<f32>)>);

fn marked(fields: &Fields) -> Result<Option<MarkedSteps>> {
    let mut turns = None;
    for name in ["conversations", "messages"] {
        turns = turns.or(fields.dialogue(name)?);
    }
    let Some(turns) = turns else {
        return Ok(None);
    };
    let wrong = |fact: String| {
        Error::data(fact).hint("user turns are steps, and the assistant answers each with + or -")
    };
    let (exchanges, rest) = turns.as_chunks::<2>();
    if let Some(turn) = rest.first() {
        return Err(wrong(format!(
            "the last turn, of {}, has no mark",
            turn.role
        )));
    }
    let mut steps = Vec::with_capacity(exchanges.len());
    for [step, verdict] in exchanges {
        let label = mark(&verdict.content).filter(|_| verdict.role == "assistant");
        let label = label.ok_or_else(|| {
            let start: String = verdict.content.chars().take(20).collect();
            wrong(format!(
                "a step is answered by {} with `{start}`",
                verdict.role
            ))
        })?;
        steps.push((step.content.clone(), Some(label)));
    }
    let Some((first, _)) = steps.first_mut() else {
        return Ok(None);
    };
    // Where the first step says that it is one, what stands before it is the problem.
    let prompt = match first.split_once(" Step 1:") {
        Some((problem, step)) if !problem.trim().is_empty() => {
            let problem = problem.to_owned();
            *first = format!("Step 1:{step}");
            Prompt::Chat(vec![Message::user(problem)])
        }
        _ => Prompt::Text(String::new()),
    };
    Ok(Some((prompt, steps)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(row: &Value) -> Result<Shaped<Problem>> {
        let columns = std::collections::BTreeMap::new();
        let fields = Fields::new(row, &columns)?;
        let origin = Origin {
            file: Default::default(),
            line: 1,
            unit: super::super::Unit::Line,
        };
        problem(&fields, "1".into(), origin)
    }

    fn row(row: &Value) -> Problem {
        match read(row).expect("a row") {
            Shaped::Row(problem) => problem,
            Shaped::Dropped(reason) => panic!("{reason}"),
        }
    }

    /// `Step 10` holds `Step 1`: cut there, the scalar script of the released recipe loses most of the solution.
    #[test]
    fn d20_a_solution_of_ten_steps_is_not_cut_at_the_tenth() {
        let first = "How many? Step 10: not the first. Step 1: one.";
        let found = row(&serde_json::json!({"conversations": [
            {"role": "user", "content": first}, {"role": "assistant", "content": "+"},
            {"role": "user", "content": "Step 10: ten."}, {"role": "assistant", "content": "-"},
        ]}));
        let problem = "How many? Step 10: not the first.";
        assert_eq!(found.prompt, Prompt::Chat(vec![Message::user(problem)]));
        let steps = [
            ("Step 1: one.".into(), Some(1.0)),
            ("Step 10: ten.".into(), Some(0.0)),
        ];
        assert_eq!(found.solutions, [Solution::Steps(steps.into())]);
        let unnumbered = row(&serde_json::json!({"conversations": [
            {"role": "user", "content": "1 + 1? It is 2."}, {"role": "assistant", "content": "+"},
        ]}));
        assert_eq!(unnumbered.prompt, Prompt::Text(String::new()));
    }

    /// The data of the released evaluation say `label` in some sets and `labels` in others.
    #[test]
    fn d21_labels_are_read_by_either_name_and_in_every_spelling() {
        for name in ["label", "labels"] {
            let mut value = serde_json::json!({"prompt": "1 + 1?", "answers": ["2", "3", "4"]});
            value[name] = serde_json::json!([1, false, null]);
            let whole = |text: &str, label| Solution::Whole(text.into(), label);
            let wanted = [
                whole("2", Some(1.0)),
                whole("3", Some(0.0)),
                whole("4", None),
            ];
            assert_eq!(row(&value).solutions, wanted);
        }
        // A judge's rewards are no labels where the right answer is known.
        let judged =
            serde_json::json!({"prompt": "q", "responses": ["2"], "rewards": [0.3], "answer": "2"});
        assert_eq!(row(&judged).solutions, [Solution::Whole("2".into(), None)]);
        let gold = serde_json::json!({"prompt": "q", "responses": ["2"], "rewards": [0.3]});
        assert_eq!(
            row(&gold).solutions,
            [Solution::Whole("2".into(), Some(0.3))]
        );
        let steps =
            serde_json::json!({"prompt": "q", "completions": ["a", "b"], "labels": ["+", 0.25]});
        let wanted = vec![("a".into(), Some(1.0)), ("b".into(), Some(0.25))];
        assert_eq!(row(&steps).solutions, [Solution::Steps(wanted)]);
    }

    #[test]
    fn what_is_no_mark_is_no_row() {
        for bad in [
            serde_json::json!({"conversations": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "yes"}]}),
            serde_json::json!({"conversations": [{"role": "user", "content": "a"}]}),
            serde_json::json!({"prompt": "q", "completions": ["a", "b"], "labels": [1]}),
            serde_json::json!({"prompt": "q", "responses": ["a"], "labels": ["maybe"]}),
            serde_json::json!({"prompt": "q"}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
