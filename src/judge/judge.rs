//! Whoever ranks responses: one trait, a reward model or a rule behind it.

use super::asked::asked;
use super::rules::Rule;
use crate::error::{Error, Result};
use crate::model::{Gated, Model, Opinions};
use crate::run::interrupt;
use crate::text::{Encoded, Fit, Limits, Prompt, final_answer};
use crate::trie::{Sequence, Trie, pack};

/// A prompt with responses to rank.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The prompt's name.
    pub id: String,
    /// The prompt.
    pub prompt: Prompt,
    /// The responses, without end markers.
    pub responses: Vec<String>,
    /// The right answer, where the row says it.
    pub answer: Option<String>,
}

/// Scores responses; higher is better.
pub trait Judge {
    /// One score a response of the groups from `from` on, handed to `done` group by group, in order. The groups before
    /// are known already; batches are cut as if they were not, so that whoever goes on in the middle gets the same bits.
    ///
    /// # Errors
    /// When a group cannot be scored, or whatever `done` reports.
    fn scores(&mut self, groups: &[Group], from: usize, done: &mut Scores) -> Result<()>;
}

/// Takes the scores of one group.
pub type Scores<'a> = dyn FnMut(&Group, Vec<f32>) -> Result<()> + 'a;

/// A Bradley-Terry model: the score head at the last token of prompt and response.
pub struct RewardJudge<'a> {
    model: &'a Model,
    /// Longest prompt with response; longer prompts lose their beginning.
    max_length: usize,
    /// Tokens computed at once.
    max_tokens_per_batch: usize,
}

impl<'a> RewardJudge<'a> {
    /// A judge from a model with a score head.
    ///
    /// # Errors
    /// A model without one.
    pub fn new(model: &'a Model, max_length: usize, max_tokens_per_batch: usize) -> Result<Self> {
        if !model.is_reward_model() {
            return Err(Error::user(format!(
                "{} is no reward model: it has no score head",
                model.path.display()
            ))
            .hint("train one with `duel reward`, or give a `*ForSequenceClassification` model with one label, or a multi-objective one"));
        }
        let longest = model.decoder.spec.max_position_embeddings;
        Ok(Self {
            model,
            max_length: max_length.min(longest),
            max_tokens_per_batch,
        })
    }

    /// The longest prompt with response, tokens.
    pub fn limit(&self) -> usize {
        self.max_length
    }

    /// One score a sequence, of sequences that are already encoded, handed to `done` row by row with the row's index.
    /// Each row has a name, for errors. Rows before `from` are known, as in [`Judge::scores`].
    ///
    /// # Errors
    /// A reward that is not finite, ^C, or whatever `done` reports.
    pub fn rewards(
        &self,
        rows: &[(&str, &[Sequence])],
        from: usize,
        done: &mut dyn FnMut(usize, Vec<f32>) -> Result<()>,
    ) -> Result<()> {
        let sizes: Vec<usize> = rows.iter().map(|(_, row)| Trie::new(row).len()).collect();
        for run in pack(&sizes, self.max_tokens_per_batch) {
            if run.end <= from {
                continue;
            }
            let batch = &rows[run.clone()];
            let flat: Vec<Sequence> = batch.iter().flat_map(|(_, row)| *row).cloned().collect();
            let mut rewards = Vec::new();
            if !flat.is_empty() {
                rewards = self.model.scores(&Trie::new(&flat));
            }
            let mut rest = rewards.into_iter();
            for (at, (id, row)) in run.clone().zip(batch) {
                let rewards: Vec<f32> = rest.by_ref().take(row.len()).collect();
                if let Some(bad) = rewards.iter().position(|reward| !reward.is_finite()) {
                    return Err(Error::data(format!(
                        "the reward of response {} of row {id} is {}",
                        bad + 1,
                        rewards[bad]
                    ))
                    .hint("look at the reward model: its training may have diverged"));
                }
                if at >= from {
                    done(at, rewards)?;
                }
            }
            if interrupt::requested() && run.end < rows.len() {
                return Err(interrupt::error("stopped while judging"));
            }
        }
        Ok(())
    }

    /// What a multi-objective head says of a group's responses, part by part.
    ///
    /// # Errors
    /// A response that does not fit, or a score that is not finite.
    pub fn opinions(&self, gated: &Gated, group: &Group) -> Result<Opinions> {
        self.opinions_of(gated, &group.id, &self.sequences(group)?)
    }

    /// The attributes' rewards of each of a group's responses; none of one that does not fit.
    ///
    /// # Errors
    /// What the template cannot render, or a score that is not finite.
    pub fn attributes(&self, gated: &Gated, group: &Group) -> Result<Vec<Option<Vec<f32>>>> {
        let fitted = self.fitted(group)?;
        let row: Vec<Sequence> = fitted.iter().flatten().cloned().collect();
        let mut rewards = self
            .opinions_of(gated, &group.id, &row)?
            .rewards
            .into_iter();
        let of = |fits: &std::result::Result<_, _>| fits.as_ref().ok().and_then(|_| rewards.next());
        Ok(fitted.iter().map(of).collect())
    }

    /// The same of sequences that are already encoded, of the row `id`.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn opinions_of(&self, gated: &Gated, id: &str, row: &[Sequence]) -> Result<Opinions> {
        if row.is_empty() {
            return Ok(Opinions::default());
        }
        let said = gated.opinions(self.model.decoder.embeddings(&Trie::new(row)));
        match said.scores.iter().all(|score| score.is_finite()) {
            true => Ok(said),
            false => Err(Error::data(format!("row {id}: a score is not finite"))
                .hint("look at the reward model: its training may have diverged")),
        }
    }

    /// A prompt with a response as the model reads it, or why it does not fit.
    ///
    /// # Errors
    /// What the template cannot render.
    pub fn sequence(
        &self,
        prompt: &Prompt,
        response: &str,
        limits: &Limits,
    ) -> Result<std::result::Result<Sequence, &'static str>> {
        let chat = &self.model.chat;
        let row = chat.response(prompt, response, true)?;
        match self.model.gated {
            Some(_) => asked(chat, prompt, row, limits),
            None => Ok(pooled(row, limits)),
        }
    }

    /// The responses as whole turns, each or why it does not fit: a reward model has only seen text that ends properly, so a
    /// response that was cut is judged as if it ended where it stops.
    fn fitted(&self, group: &Group) -> Result<Vec<std::result::Result<Sequence, &'static str>>> {
        let limits = Limits {
            leading_bos: self.model.chat.leading_bos(),
            ..Limits::new(self.max_length)
        };
        let responses = group.responses.iter();
        responses
            .map(|response| {
                self.sequence(&group.prompt, response, &limits)
                    .map_err(|e| e.at(format!("row {}", group.id)))
            })
            .collect()
    }

    fn sequences(&self, group: &Group) -> Result<Vec<Sequence>> {
        let refused = |why| {
            Error::data(format!("row {}: {why}", group.id))
                .hint(format!("raise max_length ({})", self.max_length))
        };
        let fitted = self.fitted(group)?.into_iter();
        fitted.map(|fits| fits.map_err(refused)).collect()
    }
}

/// A prompt with a response under the limits, or why it does not fit.
fn pooled(mut row: Encoded, limits: &Limits) -> std::result::Result<Sequence, &'static str> {
    match limits.response(&mut row) {
        Fit::Dropped(why) => Err(why),
        _ => Ok(Sequence::unscored([row.prompt, row.answer].concat())),
    }
}

impl Judge for RewardJudge<'_> {
    fn scores(&mut self, groups: &[Group], from: usize, done: &mut Scores) -> Result<()> {
        let rows: Vec<Vec<Sequence>> = groups
            .iter()
            .map(|group| self.sequences(group))
            .collect::<Result<_>>()?;
        let ids = groups.iter().map(|group| group.id.as_str());
        let named: Vec<(&str, &[Sequence])> = ids.zip(rows.iter().map(Vec::as_slice)).collect();
        self.rewards(&named, from, &mut |at, rewards| done(&groups[at], rewards))
    }
}

/// A rule over the text alone.
pub struct RuleJudge {
    rule: Rule,
    /// Responses that were judged, and those of them that come to no answer, where the rule asks for one.
    judged: usize,
    silent: usize,
}

impl RuleJudge {
    /// A judge by a rule.
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            judged: 0,
            silent: 0,
        }
    }
}

impl Judge for RuleJudge {
    fn scores(&mut self, groups: &[Group], from: usize, done: &mut Scores) -> Result<()> {
        for group in &groups[from..] {
            let score = |text: &String| {
                let opinion = self.rule.opinion(text, group.answer.as_deref());
                opinion.map(|opinion| opinion.score as f32).ok_or_else(|| {
                    Error::data(format!(
                        "row {} has no `answer`, and the rule asks for it",
                        group.id
                    ))
                    .hint("give every row its right `answer`, or take a rule over the text alone")
                })
            };
            let scores: Result<Vec<f32>> = group.responses.iter().map(score).collect();
            self.judged += group.responses.len();
            if self.rule.asks_for_answer() {
                let silent = |text: &&String| final_answer(text).is_none();
                self.silent += group.responses.iter().filter(silent).count();
            }
            done(group, scores?)?;
        }
        Ok(())
    }
}

impl Drop for RuleJudge {
    /// A zero that nobody earned by a wrong answer is worth knowing of wherever the rule judges.
    fn drop(&mut self) {
        if self.silent > 0 {
            tracing::warn!(
                "judge: {} of {} responses come to no answer, and count as wrong",
                self.silent,
                self.judged
            );
        }
    }
}
