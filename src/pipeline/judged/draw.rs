//! The answers of a model to a chat benchmark.
//!
//! An answer is part of the next turn's prompt, so that turns are drawn one after the other, each for all questions together.

use super::TurnAnswers;
use crate::data::{Key, Noted, PromptRow};
use crate::error::{Error, Result};
use crate::eval::judged::answers::turn_id;
use crate::eval::judged::{Benchmark, Task};
use crate::generate::Engine;
use crate::model::Model;
use crate::pipeline::{examples, responses};
use crate::recipe::{Overlong, Sampling};
use crate::text::Prompt;
use std::collections::HashMap;
use std::path::Path;

/// How answers are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Drawing {
    /// Longest answer, in tokens; absent: the benchmark's.
    pub max_new_tokens: Option<usize>,
    /// Longest prompt with answer, in tokens.
    pub max_length: usize,
    /// Tokens held in the cache at once.
    pub max_tokens_per_batch: usize,
}

/// The model's answers, each question's at its part's temperature. They go into `out` as they come, a row for each turn, and
/// what is there is not drawn again. A turn that leaves no room for an answer ends its conversation.
///
/// # Errors
/// A model without a chat template, ^C, a file that cannot be written.
pub fn draw(
    model: &Model,
    benchmark: &dyn Benchmark,
    tasks: &[Task],
    drawing: &Drawing,
    out: &Path,
) -> Result<TurnAnswers> {
    if !model.chat.has_template() {
        return Err(Error::user(format!(
            "{} has no chat template, and the questions are a user's turns",
            model.path.display()
        ))
        .hint("take a chat model: one whose tokenizer_config.json or chat_template.jinja has a template"));
    }
    let limits = examples::limits_of_responses(drawing.max_length, Overlong::Drop, 1, model);
    let mut answers = TurnAnswers::new();
    let turns = tasks.iter().map(|task| task.turns.len()).max();
    for turn in 0..turns.unwrap_or(0) {
        for (temperature, rows) in by_temperature(benchmark, tasks, turn, &answers) {
            let how = Sampling {
                num_generations: 1,
                temperature: vec![temperature],
                max_new_tokens: drawing.max_new_tokens.unwrap_or(benchmark.max_new_tokens()),
                max_tokens_per_batch: drawing.max_tokens_per_batch,
                ..Sampling::default()
            };
            let engine = Engine::new(&model.decoder, &model.chat, &how);
            let key = Key::new(0).fold("exam");
            let written = responses::generate(&engine, &rows, Some(&limits), key, out)?;
            let mut written: HashMap<String, Vec<String>> = written
                .into_iter()
                .map(|row| (row.id, row.responses))
                .collect();
            for task in tasks {
                let own = answers.entry(task.id.clone()).or_default();
                if own.len() == turn {
                    own.extend(
                        written
                            .remove(&turn_id(&task.id, turn))
                            .into_iter()
                            .flatten()
                            .take(1),
                    );
                }
            }
        }
    }
    Ok(answers)
}

/// The prompts of a turn whose conversations have come so far, for each temperature.
fn by_temperature(
    benchmark: &dyn Benchmark,
    tasks: &[Task],
    turn: usize,
    answers: &TurnAnswers,
) -> Vec<(f64, Vec<PromptRow>)> {
    let mut found: Vec<(f64, Vec<PromptRow>)> = Vec::new();
    for task in tasks.iter().filter(|task| task.turns.len() > turn) {
        let own = answers.get(&task.id).map_or(&[][..], Vec::as_slice);
        if own.len() < turn {
            continue;
        }
        let row = PromptRow {
            id: turn_id(&task.id, turn),
            prompt: Prompt::Chat(task.dialogue(turn, own)),
            responses: Vec::new(),
            noted: Noted::default(),
            is_pair: false,
            answer: task.reference(turn).map(str::to_owned),
            origin: task.origin.clone(),
        };
        let temperature = benchmark.temperature(task.part.as_deref());
        match found.iter_mut().find(|(known, _)| *known == temperature) {
            Some((_, rows)) => rows.push(row),
            None => found.push((temperature, vec![row])),
        }
    }
    found
}
