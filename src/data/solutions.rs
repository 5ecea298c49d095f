//! Problems with solutions, and what is known of each solution or of each of its steps.

use super::fields::Fields;
use super::load::{Shaped, load};
use super::prompts::{self, no_answer};
use super::report::{LoadOptions, Needs, Report};
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

    /// The whole solutions, each with how good it is: its label, or whether it comes to the right answer.
    ///
    /// # Errors
    /// A row without such solutions, or that does not say how good each is.
    pub fn truths(&self) -> Result<Vec<(&str, f64)>> {
        let lacks = |fact: &str| {
            Error::data(fact.to_owned()).hint(
                "rows need `responses` or `answers`, and `labels`, the right `answer`, or the `rewards` of a gold judge",
            )
        };
        if self.solutions.is_empty() {
            return Err(lacks("the row has no answers"));
        }
        let mut truths = Vec::with_capacity(self.solutions.len());
        for solution in &self.solutions {
            let Solution::Whole(text, label) = solution else {
                return Err(lacks(
                    "the row has one solution in steps, not several answers",
                ));
            };
            let by_answer = || Some(f64::from(u8::from(self.is_right(text)?)));
            let known = label.map(f64::from).or_else(by_answer);
            let known = known.ok_or_else(|| lacks("nobody says which of the answers are right"));
            truths.push((text.as_str(), known?));
        }
        Ok(truths)
    }

    /// The whole solutions of a problem whose right answer is known.
    ///
    /// # Errors
    /// A row without an answer, or without such solutions.
    pub fn answered(&self) -> Result<Vec<&str>> {
        if self.answer.is_none() {
            return Err(no_answer());
        }
        if self.solutions.is_empty() {
            return Err(
                Error::data("the row has no solution whose steps could be labelled").hint(
                    "draw some first: `duel generate --prompts FILE --out drawn.jsonl -k 15`",
                ),
            );
        }
        let mut whole = Vec::with_capacity(self.solutions.len());
        for solution in &self.solutions {
            let Solution::Whole(text, _) = solution else {
                return Err(
                    Error::data("the solution is in steps already, with their labels")
                        .hint("give rows with whole `responses`"),
                );
            };
            whole.push(text.as_str());
        }
        Ok(whole)
    }

    /// The solutions in steps.
    ///
    /// # Errors
    /// A solution as one text, whose label says nothing of its steps.
    pub fn stepped(&self) -> Result<()> {
        let whole = |solution: &Solution| matches!(solution, Solution::Whole(..));
        match self.solutions.iter().any(whole) {
            false => Ok(()),
            true => Err(Error::data(
                "the label is of the whole solution, and a process model learns from labels of its steps",
            )
            .hint("draw those with `duel steps`, or set `verifier.kind = \"outcome\"`")),
        }
    }

    /// Refuses a row that does not say what is asked for.
    fn says(&self, needs: Needs) -> Result<()> {
        match needs {
            Needs::Nothing => Ok(()),
            Needs::Answer => self.answered().map(|_| ()),
            Needs::Truth => self.truths().map(|_| ()),
            Needs::Steps => self.stepped(),
        }
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
/// each with the right `answer` where it is known. Labels are true and false, `+` and `-`, numbers from 0 to 1, or null, for
/// which some write -100.
pub fn load_problems(paths: &[PathBuf], options: &LoadOptions) -> Result<(Vec<Problem>, Report)> {
    load(paths, options, |fields, id, origin| {
        let shaped = problem(fields, id, origin, options)?;
        if let Shaped::Row(problem) = &shaped {
            problem.says(options.needs)?;
        }
        Ok(shaped)
    })
}

/// Whether files hold solutions with labels: some row has labels of its steps, of its solutions, or marks in a conversation.
pub fn has_labels(paths: &[PathBuf], options: &LoadOptions) -> bool {
    let any = LoadOptions {
        skip_bad: true,
        limit: Some(1),
        allow_none: false,
        ..options.clone()
    };
    let labelled = |fields: &Fields| {
        let listed = |name: &str| fields.get(name).is_some_and(Value::is_array);
        let labels = listed("labels") || listed("label");
        let solutions = ["completions", "responses", "answers"]
            .into_iter()
            .any(listed);
        (labels && solutions) || marked(fields).is_ok_and(|found| found.is_some())
    };
    load(paths, &any, |fields, _, _| match labelled(fields) {
        true => Ok(Shaped::Row(())),
        false => Ok(Shaped::Dropped("no label")),
    })
    .is_ok()
}

fn problem(
    fields: &Fields,
    id: String,
    origin: Origin,
    options: &LoadOptions,
) -> Result<Shaped<Problem>> {
    let (prompt, solutions) = match marked(fields)? {
        Some((prompt, steps)) => (prompt, vec![Solution::Steps(steps)]),
        None => {
            let prompt = prompts::prompt(fields)?;
            let prompt = match options.text_as_chat {
                true => prompt.into_chat(),
                false => prompt,
            };
            (prompt, solutions(fields)?)
        }
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

/// Reads what stands for one solution or step: none where it is no label, `Some(None)` where it says that nobody knows.
type Read = fn(&Value) -> Option<Option<f32>>;

/// The columns that say how good solutions are, the first of which counts: what should stand there, and how it is read.
const KNOWN: [(&str, &str, Read); 3] = [
    ("labels", LABEL, label),
    ("label", LABEL, label),
    ("rewards", "a number or null", reward),
];

/// What a label is.
const LABEL: &str = "a label: true, false, + or -, a number from 0 to 1, or null";

/// What torch's losses skip, and so many files write for what nobody knows.
const IGNORED: f64 = -100.0;

fn solutions(fields: &Fields) -> Result<Vec<Solution>> {
    let labels = |count: usize| -> Result<Vec<Option<f32>>> {
        // What a judge gave is the truth only where nobody knows better.
        let known = fields.has("labels") || fields.has("label") || fields.has("answer");
        for (name, should, read) in KNOWN {
            if fields.has(name) && !(name == "rewards" && known) {
                let found = fields.each(name, count, should, read)?;
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

/// The probability that a step or a solution is right.
fn label(value: &Value) -> Option<Option<f32>> {
    match (value, value.as_f64()) {
        (Value::Null, _) => Some(None),
        (Value::Bool(truth), _) => Some(Some(f32::from(u8::from(*truth)))),
        (Value::String(word), _) => mark(word).map(Some),
        (_, Some(IGNORED)) => Some(None),
        (_, number) => Some(Some(number.filter(|n| (0.0..=1.0).contains(n))? as f32)),
    }
}

/// What a gold judge gave, on whatever scale.
fn reward(value: &Value) -> Option<Option<f32>> {
    match value {
        Value::Null => Some(None),
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
        problem(&fields, "1".into(), origin, &LoadOptions::default())
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
        let gold = serde_json::json!({"prompt": "q", "responses": ["2"], "rewards": [-0.3]});
        assert_eq!(
            row(&gold).solutions,
            [Solution::Whole("2".into(), Some(-0.3))]
        );
        let steps =
            serde_json::json!({"prompt": "q", "completions": ["a", "b"], "labels": ["+", 0.25]});
        let wanted = vec![("a".into(), Some(1.0)), ("b".into(), Some(0.25))];
        assert_eq!(row(&steps).solutions, [Solution::Steps(wanted)]);
    }

    #[test]
    fn minus_100_is_how_some_say_that_nobody_knows() {
        let steps =
            serde_json::json!({"prompt": "q", "completions": ["a", "b"], "labels": [-100, 1]});
        let wanted = vec![("a".into(), None), ("b".into(), Some(1.0))];
        assert_eq!(row(&steps).solutions, [Solution::Steps(wanted)]);
    }

    #[test]
    fn what_is_no_mark_is_no_row() {
        for bad in [
            serde_json::json!({"prompt": "q", "completions": ["a", "b"], "labels": [1, -1]}),
            serde_json::json!({"prompt": "q", "responses": ["a"], "label": [7]}),
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
