//! Judges of duel's on a chat benchmark: a reward is a grade, and of two answers the one of the higher score has won.

use super::{Exhibit, Verdicts, count};
use crate::error::{Error, Result};
use crate::eval::Verdict;
use crate::eval::judged::Kind;
use crate::eval::judged::answers::turn_id;
use crate::judge::{Group, Judge, PairwiseModel, RewardJudge, Versus};
use crate::model::Model;
use crate::pipeline::examples;
use crate::recipe::Overlong;
use crate::text::Prompt;
use std::collections::BTreeMap;
use std::path::Path;

/// Says why a group cannot be read, if it cannot.
type Unread<'a> = dyn Fn(&Group) -> Result<Option<&'static str>> + 'a;

/// A judge of duel's, and what it can read.
pub struct Local<'a> {
    judge: Box<dyn Judge + 'a>,
    /// It compares two answers and grades none.
    compares: bool,
    /// Why a group cannot be read, if it cannot.
    unread: Box<Unread<'a>>,
}

impl<'a> Local<'a> {
    /// A judge that reads everything: a rule, a program.
    pub fn of(judge: impl Judge + 'a) -> Self {
        Self {
            judge: Box::new(judge),
            compares: false,
            unread: Box::new(|_| Ok(None)),
        }
    }

    /// A reward model, or a pairwise one, as its files say.
    ///
    /// # Errors
    /// A model that is neither.
    pub fn model(model: &'a Model, max_length: usize, max_tokens_per_batch: usize) -> Result<Self> {
        if !model.is_reward_model() {
            let limits = examples::limits(max_length, Overlong::TruncatePrompt, model);
            let compare = PairwiseModel::new(model, limits, max_tokens_per_batch)?;
            return Ok(Self {
                compares: true,
                ..Self::of(Versus { compare })
            });
        }
        let judge = RewardJudge::new(model, max_length, max_tokens_per_batch)?;
        let reader = RewardJudge::new(model, max_length, max_tokens_per_batch)?;
        let limits = examples::limits(max_length, Overlong::TruncatePrompt, model);
        Ok(Self {
            judge: Box::new(judge),
            compares: false,
            unread: Box::new(move |group| {
                for response in &group.responses {
                    if reader.sequence(&group.prompt, response, &limits)?.is_err() {
                        return Ok(Some("longer than the judge reads"));
                    }
                }
                Ok(None)
            }),
        })
    }

    pub(super) fn judge(
        &mut self,
        kind: Kind,
        exhibits: &[Exhibit],
        found: &mut Verdicts,
    ) -> Result<()> {
        if self.compares && kind == Kind::Grades {
            return Err(grades_none());
        }
        let mut points: BTreeMap<usize, Vec<Option<f64>>> = BTreeMap::new();
        let mut groups = Vec::new();
        let mut owners = Vec::new();
        for (at, one) in exhibits.iter().enumerate() {
            let own = groups_of(one, kind);
            for (turn, group) in own.into_iter().enumerate() {
                match (self.unread)(&group)? {
                    Some(reason) => count(&mut found.left_out, reason),
                    None => {
                        // A turn that cannot be read keeps its place; the others count.
                        points.entry(at).or_default().resize(turn + 1, None);
                        owners.push((at, turn));
                        groups.push(group);
                    }
                }
            }
        }
        let mut next = owners.into_iter();
        self.judge.scores(&groups, 0, &mut |_, scores| {
            let point = match (kind, &scores[..]) {
                (Kind::Versus, [own, other]) => {
                    Verdict::of(f64::from(*own), f64::from(*other)).credit()
                }
                (_, [own, ..]) => f64::from(*own),
                _ => return Err(Error::internal("a judge gave no score")),
            };
            if let Some((at, turn)) = next.next() {
                points.entry(at).or_default()[turn] = Some(point);
            }
            Ok(())
        })?;
        let judged = points.into_iter();
        found
            .judged
            .extend(judged.map(|(at, points)| exhibits[at].judgement(points, Vec::new())));
        Ok(())
    }
}

/// Refuses a pairwise model where grades are asked for, by its files, before anything is drawn.
///
/// # Errors
/// Such a model. What else is wrong with the files is said where they are read.
pub fn must_grade(path: &Path) -> Result<()> {
    match crate::model::must_write(path) {
        Ok(()) => Err(grades_none()),
        Err(_) => Ok(()),
    }
}

fn grades_none() -> Error {
    Error::user("a pairwise model compares two answers, and this benchmark grades each by itself")
        .hint("give a reward model by --judge, a rule by --rule, or a model behind an endpoint by --remote")
}

/// What a judge of duel's is shown: each turn with what came before it, or both answers.
fn groups_of(one: &Exhibit, kind: Kind) -> Vec<Group> {
    let group = |turn: usize, responses: Vec<String>| Group {
        id: turn_id(&one.task.id, turn),
        prompt: Prompt::Chat(one.task.dialogue(turn, one.answers)),
        responses,
        answer: one.task.reference(turn).map(str::to_owned),
    };
    match (kind, &one.baseline) {
        (Kind::Versus, Some(other)) => vec![group(0, vec![one.answers[0].clone(), other.clone()])],
        _ => {
            let turns = one.answers.iter().enumerate();
            turns
                .map(|(turn, answer)| group(turn, vec![answer.clone()]))
                .collect()
        }
    }
}
