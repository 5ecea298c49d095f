//! A model behind an OpenAI-compatible endpoint as the judge: two responses side by side in both orders, or one at a time by
//! a rubric (Zheng et al. 2023, "Judging LLM-as-a-Judge", sections 3.1 and 3.4).

mod endpoint;
mod examiner;
mod replies;
#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;
pub use examiner::Examiner;

use super::judge::{Group, Judge, Scores};
use super::tournament::{Compare, Match};
use crate::error::{Error, Result};
use crate::recipe::RemoteJudge as Table;
use crate::text::Prompt;
use minijinja::{Environment, context};
use replies::{grade, verdict};

/// Asked of two responses; the answer is the last word of the reply.
const PAIR: &str = "Two answers to the same message follow. Decide which one serves the person who wrote the message better: \
which is more helpful, more correct and more to the point. How long an answer is, and which stands first, is no reason.\n\n\
<message>\n{{ prompt }}\n</message>\n\n<answer_A>\n{{ a }}\n</answer_A>\n\n<answer_B>\n{{ b }}\n</answer_B>\n\n\
Reply with one letter: A if answer A is better, B if answer B is better, C if neither is.";

/// Asked of one response; the grade is the last number of the reply.
const SINGLE: &str = "Grade how well the answer below serves the person who wrote the message: how helpful, correct and to the \
point it is. How long it is, is no reason.\n\n<message>\n{{ prompt }}\n</message>\n\n<answer>\n{{ response }}\n</answer>\n\n\
Reply with one number from 1 (useless) to 10 (perfect).";

/// Replies that say nothing, among all that a judge got.
#[derive(Debug, Default)]
struct Silent {
    count: usize,
    asked: usize,
    told: bool,
}

/// Replies from which on an endpoint is taken to be at fault if most say nothing.
const ENOUGH: usize = 20;

/// The same if all say nothing.
const ALL: usize = 4;

impl Silent {
    /// Takes in some replies.
    ///
    /// # Errors
    /// When most of all replies say nothing: such an endpoint judges nothing.
    fn hear(&mut self, replies: &[String], says: fn(&str) -> bool, wanted: &str) -> Result<()> {
        self.asked += replies.len();
        let mut silent = replies.iter().filter(|reply| !says(reply)).peekable();
        let Some(first) = silent.peek() else {
            return Ok(());
        };
        let first: String = first.chars().take(200).collect();
        self.count += silent.count();
        let fact = format!(
            "{} of {} replies have no {wanted}, as this one: {first:?}",
            self.count, self.asked
        );
        let most = self.asked >= ENOUGH && 2 * self.count > self.asked;
        if most || (self.asked >= ALL && self.count == self.asked) {
            return Err(Error::data(fact).hint(
                "in a recipe's table of the judge, raise `max_tokens` if it was cut off, or say in `template` how it has to end",
            ));
        }
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!("judge: {fact}");
        }
        Ok(())
    }
}

/// Compares two responses, in both orders.
pub struct RemotePairs {
    endpoint: Endpoint,
    template: String,
    silent: Silent,
}

impl RemotePairs {
    /// From a table of a recipe.
    ///
    /// # Errors
    /// A key that is not in the environment, a template that is none.
    pub fn new(table: &Table) -> Result<Self> {
        let template = table.template.as_deref().unwrap_or(PAIR).to_owned();
        check(&template, &["prompt", "a", "b"])?;
        Ok(Self {
            endpoint: Endpoint::new(table)?,
            template,
            silent: Silent::default(),
        })
    }
}

impl Compare for RemotePairs {
    fn prefer(&mut self, matches: &[Match]) -> Result<Vec<f32>> {
        let mut questions = Vec::with_capacity(2 * matches.len());
        for Match {
            group,
            first,
            second,
        } in matches
        {
            let prompt = text(group)?;
            let [first, second] = [first, second].map(|&at| &group.responses[at]);
            for (a, b) in [(first, second), (second, first)] {
                questions.push(rendered(
                    &self.template,
                    context! { prompt => &prompt, a, b },
                )?);
            }
        }
        let says = |reply: &str| verdict(reply).is_some();
        let replies = self.endpoint.ask(&questions, says)?;
        self.silent
            .hear(&replies, says, "verdict A, B or C and count as ties")?;
        let of_first = |reply: &String| verdict(reply).unwrap_or(0.5);
        let preferred = replies
            .chunks(2)
            .map(|both| (of_first(&both[0]) + 1.0 - of_first(&both[1])) / 2.0);
        Ok(preferred.collect())
    }
}

/// Grades responses one at a time.
pub struct RemoteGrades {
    endpoint: Endpoint,
    template: String,
    silent: Silent,
}

impl RemoteGrades {
    /// From a table of a recipe.
    ///
    /// # Errors
    /// A key that is not in the environment, a template that is none.
    pub fn new(table: &Table) -> Result<Self> {
        let template = table.template.as_deref().unwrap_or(SINGLE).to_owned();
        check(&template, &["prompt", "response"])?;
        Ok(Self {
            endpoint: Endpoint::new(table)?,
            template,
            silent: Silent::default(),
        })
    }

    fn grades(&mut self, groups: &[Group]) -> Result<Vec<Vec<f32>>> {
        let mut questions = Vec::new();
        for group in groups {
            let prompt = text(group)?;
            for response in &group.responses {
                questions.push(rendered(
                    &self.template,
                    context! { prompt => &prompt, response },
                )?);
            }
        }
        let says = |reply: &str| grade(reply).is_some();
        let replies = self.endpoint.ask(&questions, says)?;
        let wanted = "number; such a response counts as the mean of the others to its prompt";
        self.silent.hear(&replies, says, wanted)?;
        let mut rest = &replies[..];
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let (own, later) = rest.split_at(group.responses.len());
            rest = later;
            all.push(completed(group, own)?);
        }
        Ok(all)
    }
}

/// The grades of a group's responses; one that cannot be read is the mean of the others, which favours nobody.
fn completed(group: &Group, replies: &[String]) -> Result<Vec<f32>> {
    let grades: Vec<Option<f32>> = replies.iter().map(|reply| grade(reply)).collect();
    let known: Vec<f32> = grades.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f32>() / known.len() as f32;
    match replies.first() {
        Some(first) if known.is_empty() => {
            let first: String = first.chars().take(200).collect();
            Err(Error::data(format!(
                "row {}: no reply about it has a number: {first:?}",
                group.id
            ))
            .hint(
                "leave the row out, or in a recipe's table of the judge say in `template` how a reply has to end, or raise `max_tokens`",
            ))
        }
        _ => Ok(grades
            .into_iter()
            .map(|grade| grade.unwrap_or(mean))
            .collect()),
    }
}

/// Prompts that are asked about together.
const TOGETHER: usize = 8;

impl Judge for RemoteGrades {
    fn scores(&mut self, groups: &[Group], from: usize, done: &mut Scores) -> Result<()> {
        for batch in groups[from..].chunks(TOGETHER) {
            let grades = self.grades(batch)?;
            batch
                .iter()
                .zip(grades)
                .try_for_each(|(group, grades)| done(group, grades))?;
        }
        Ok(())
    }
}

/// The prompt as a person reads it; several turns bear their roles.
fn text(group: &Group) -> Result<String> {
    match &group.prompt {
        Prompt::Text(text) => Ok(text.clone()),
        Prompt::Chat(turns) if turns.len() == 1 => Ok(turns[0].content.clone()),
        Prompt::Chat(turns) => {
            let turns = turns
                .iter()
                .map(|turn| format!("{}: {}", turn.role, turn.content));
            Ok(turns.collect::<Vec<_>>().join("\n\n"))
        }
        Prompt::Ids(_) => Err(Error::data(format!(
            "row {}: a prompt of token ids cannot be shown to a judge elsewhere",
            group.id
        ))
        .hint("give prompts as text or as turns")),
    }
}

fn rendered(template: &str, values: minijinja::Value) -> Result<String> {
    let environment = Environment::new();
    environment
        .render_str(template, values)
        .map_err(|error| Error::user(format!("the judge's template: {error}")))
}

/// A template has to use everything that it is given.
fn check(template: &str, names: &[&str]) -> Result<()> {
    let environment = Environment::new();
    let parsed = environment
        .template_from_str(template)
        .map_err(|error| Error::user(format!("the judge's template: {error}")))?;
    let used = parsed.undeclared_variables(false);
    let missing: Vec<&&str> = names.iter().filter(|name| !used.contains(**name)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(
            Error::user(format!("the judge's template does not show {missing:?}"))
                .hint(format!("write each as {{{{ name }}}}: {names:?}")),
        ),
    }
}
