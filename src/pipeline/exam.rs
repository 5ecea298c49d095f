//! Exams put to a model: questions to tokens, tokens to marks.
//!
//! The choices of a question share its prompt, and questions of one headline share that and the examples: the trie
//! computes whatever is shared once.

mod given;

pub use given::given;

use super::pairs;
use crate::data::{Fields, Key, LoadOptions, Report, Shaped, load_rows};
use crate::error::{Error, Result};
use crate::eval::exam::{Answers, Asked, Choices, Mark, Marked, Question};
use crate::generate::{Engine, Finish, Prompted};
use crate::model::Model;
use crate::objective::Example;
use crate::recipe::Sampling;
use crate::text::{Chat, Message};
use crate::trie::Sequence;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// How an exam is put.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Examples before each question.
    pub shots: usize,
    /// The whole prompt becomes a user's turn of the model's chat template.
    pub chat: bool,
    /// Longest prompt with answer, in tokens.
    pub max_length: usize,
    /// Tokens computed at once.
    pub max_tokens_per_batch: usize,
}

/// A question that was marked.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// The row's name.
    pub id: String,
    /// What it was marked by: the log-likelihood of each choice, nats.
    pub logps: Vec<f64>,
    /// Or the answer.
    pub answer: Option<String>,
    /// How an answer that was drawn here ended.
    pub finish: Option<Finish>,
    /// The marks.
    pub marked: Marked,
}

/// Questions by their names, and what became of the others.
pub type Questions<T> = (Vec<(String, T)>, Report);

/// Rows as questions, in file order.
///
/// # Errors
/// Files that cannot be read, and rows of another form unless `options` skip them.
pub fn questions<T>(
    files: &[PathBuf],
    options: &LoadOptions,
    question: impl Fn(&Fields) -> Result<Shaped<T>>,
) -> Result<Questions<T>> {
    load_rows(files, options, |row, id, _| {
        Ok(match question(row)? {
            Shaped::Row(question) => Shaped::Row((id, question)),
            Shaped::Dropped(reason) => Shaped::Dropped(reason),
        })
    })
}

/// Questions with their answers, to be shown before others of the same part; parts with too few are an error.
struct Shots<'a, T> {
    by_part: BTreeMap<Option<&'a str>, Vec<&'a T>>,
    count: usize,
}

/// A question that may be shown as an example.
trait Shown {
    /// What is asked.
    fn prompt(&self) -> &str;
    /// The part of the exam it belongs to.
    fn part(&self) -> Option<&str>;
}

impl Shown for Question {
    fn prompt(&self) -> &str {
        &self.prompt
    }
    fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }
}

impl Shown for Asked {
    fn prompt(&self) -> &str {
        &self.prompt
    }
    fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }
}

impl<'a, T: Shown> Shots<'a, T> {
    fn of(shown: &'a [(String, T)], count: usize) -> Self {
        let mut by_part: BTreeMap<Option<&str>, Vec<&T>> = BTreeMap::new();
        for (_, question) in shown {
            by_part.entry(question.part()).or_default().push(question);
        }
        Self { by_part, count }
    }

    /// The first ones of its part that are not the question itself: shown with its answer, it would be no question.
    fn before(&self, asked: &T) -> Result<Vec<&'a T>> {
        if self.count == 0 {
            return Ok(Vec::new());
        }
        let of_part = self.by_part.get(&asked.part());
        let others = of_part.into_iter().flatten().copied();
        let others = others.filter(|shot| shot.prompt().trim() != asked.prompt().trim());
        let found: Vec<&T> = others.take(self.count).collect();
        if found.len() == self.count {
            return Ok(found);
        }
        let of = asked
            .part()
            .map_or(String::new(), |part| format!(" of `{part}`"));
        let fact = format!(
            "the examples{of} beside the question itself are {}, and {} are asked for",
            found.len(),
            self.count
        );
        Err(Error::user(fact)
            .hint("lower --shots, or name a file with more examples by --shots-from"))
    }
}

/// What the model reads before its answer, and what stands between the two.
fn opened(chat: &Chat, prompt: String, setting: &Setting) -> Result<(String, &'static str)> {
    match setting.chat {
        true => Ok((chat.render(&[Message::user(prompt)], true)?.text, "")),
        false => Ok((prompt, " ")),
    }
}

/// A prompt and what follows it as ids. As in the harness the two are tokenised together and cut where the prompt alone
/// ends; blanks at its end go to what follows, since tokens begin with them. In one thing not as there: a tokenizer's
/// BOS is kept, as the model was trained, where the harness wants `add_bos_token=True` for it.
fn encoded(chat: &Chat, prompt: &str, following: &str) -> Result<[Vec<u32>; 2]> {
    let bare = prompt.trim_end();
    let tokenizer = chat.tokenizer();
    let whole = format!("{prompt}{following}");
    let (mut whole, bare) = (
        tokenizer.encode_with_bos(&whole)?,
        tokenizer.encode_with_bos(bare)?,
    );
    let following = whole.split_off(bare.len().min(whole.len()));
    Ok([bare, following])
}

/// The log-likelihoods of every question's choices, and their marks. Second, the questions that are left out, by reason.
///
/// # Errors
/// Too few examples, text that the tokenizer refuses, or ^C.
pub fn choices(
    model: &Model,
    exam: &dyn Choices,
    questions: &[(String, Question)],
    shown: &[(String, Question)],
    setting: &Setting,
) -> Result<(Vec<Done>, BTreeMap<String, usize>)> {
    let shots = Shots::of(shown, setting.shots);
    let limit = setting
        .max_length
        .min(model.decoder.spec.max_position_embeddings);
    let mut examples = Vec::with_capacity(questions.len());
    let mut left_out = BTreeMap::new();
    for (id, question) in questions {
        let sequences = sequences(&model.chat, exam, question, &shots, setting)?;
        let why = match sequences.iter().map(|s| s.tokens.len()).max() {
            Some(longest) if longest > limit => format!("longer than {limit} tokens"),
            _ if sequences.iter().any(|s| s.scored_count() == 0) => {
                "a choice has no token of its own".to_owned()
            }
            _ => {
                examples.push((question, example(id, sequences)));
                continue;
            }
        };
        *left_out.entry(why).or_default() += 1;
    }
    let rows: Vec<&Example> = examples.iter().map(|(_, example)| example).collect();
    let mut done = Vec::with_capacity(rows.len());
    let budget = setting.max_tokens_per_batch;
    pairs::logps(
        &model.decoder,
        &rows,
        0,
        budget,
        "exam",
        &mut |row, logps| {
            let (question, _) = &examples[done.len()];
            let logps: Vec<f64> = logps.into_iter().map(f64::from).collect();
            if let Some(broken) = logps.iter().find(|logp| !logp.is_finite()) {
                return Err(Error::data(format!(
                    "question `{}` has the log-likelihood {broken}",
                    row.id
                )));
            }
            let marks = exam.metrics().iter();
            let marks = marks.map(|metric| Mark::one(metric.name(), metric.of(question, &logps)));
            done.push(Done {
                id: row.id.clone(),
                marked: Marked {
                    part: question.part.clone(),
                    marks: marks.collect(),
                },
                logps,
                answer: None,
                finish: None,
            });
            Ok(())
        },
    )?;
    Ok((done, left_out))
}

fn example(id: &str, sequences: Vec<Sequence>) -> Example {
    Example {
        id: id.to_owned(),
        sequences,
        reference: Vec::new(),
        margin: None,
        labels: Vec::new(),
    }
}

/// All that stands before a choice: headline, examples, question.
fn whole_prompt(exam: &dyn Choices, asked: &Question, shots: &Shots<Question>) -> Result<String> {
    let mut prompt = exam.headline(asked.part.as_deref());
    for shot in shots.before(asked)? {
        prompt += &format!("{} {}\n\n", shot.prompt, shot.answer());
    }
    Ok(prompt + &asked.prompt)
}

/// A question's prompt with each of its choices.
fn sequences(
    chat: &Chat,
    exam: &dyn Choices,
    question: &Question,
    shots: &Shots<Question>,
    setting: &Setting,
) -> Result<Vec<Sequence>> {
    let prompt = whole_prompt(exam, question, shots)?;
    let (prompt, between) = opened(chat, prompt, setting)?;
    let sequence = |choice: &String| -> Result<Sequence> {
        let [before, choice] = encoded(chat, &prompt, &format!("{between}{choice}"))?;
        Ok(Sequence::response(&before, &choice))
    };
    question.choices.iter().map(sequence).collect()
}

/// The model's answers to every question, drawn greedily as in the harness, and their marks. Second, the questions that
/// are left out, by reason.
///
/// # Errors
/// Too few examples, text that the tokenizer refuses, or ^C.
pub fn answers(
    model: &Model,
    exam: &dyn Answers,
    questions: &[(String, Asked)],
    shown: &[(String, Asked)],
    setting: &Setting,
    max_new_tokens: usize,
) -> Result<(Vec<Done>, BTreeMap<String, usize>)> {
    let shots = Shots::of(shown, setting.shots);
    let limit = setting
        .max_length
        .min(model.decoder.spec.max_position_embeddings);
    let limit = limit.saturating_sub(max_new_tokens);
    let mut prompted = Vec::with_capacity(questions.len());
    let mut open = Vec::with_capacity(questions.len());
    let mut left_out = BTreeMap::new();
    for (id, question) in questions {
        let mut prompt = String::new();
        for shot in shots.before(question)? {
            prompt += &format!("{}{}\n\n", shot.prompt, shot.shown);
        }
        prompt += &question.prompt;
        let (prompt, _) = opened(&model.chat, prompt, setting)?;
        let tokens = match setting.chat {
            true => model.chat.tokenizer().encode(&prompt)?,
            false => model.chat.tokenizer().encode_with_bos(&prompt)?,
        };
        if tokens.is_empty() || tokens.len() > limit {
            let why = format!("no room for an answer of {max_new_tokens} tokens");
            *left_out.entry(why).or_default() += 1;
            continue;
        }
        open.push(question);
        prompted.push(Prompted {
            id: id.clone(),
            tokens,
        });
    }
    let how = Sampling {
        num_generations: 1,
        temperature: vec![0.0],
        max_new_tokens,
        stop: exam.stops().iter().map(|stop| (*stop).to_owned()).collect(),
        max_tokens_per_batch: setting.max_tokens_per_batch,
        ..Sampling::default()
    };
    let span = info_span!("exam");
    span.pb_set_message("exam");
    span.pb_set_length(prompted.len() as u64);
    let _entered = span.enter();
    let engine = Engine::new(&model.decoder, &model.chat, &how);
    let mut done: Vec<Done> = Vec::with_capacity(prompted.len());
    engine.generate(&prompted, Key::new(0).fold("exam"), &mut |prompt, drawn| {
        let (answer, finish) = drawn
            .into_iter()
            .next()
            .map(|drawn| (drawn.text, drawn.finish))
            .unzip();
        let marked = marked(&prompt.id, open[done.len()], answer.unwrap_or_default());
        done.push(Done { finish, ..marked });
        span.pb_inc(1);
        Ok(())
    })?;
    Ok((done, left_out))
}

/// Marks an answer.
pub fn marked(id: &str, question: &Asked, answer: String) -> Done {
    Done {
        id: id.to_owned(),
        logps: Vec::new(),
        marked: Marked {
            part: question.part.clone(),
            marks: (question.mark)(&answer),
        },
        answer: Some(answer),
        finish: None,
    }
}

#[cfg(test)]
mod tests;
