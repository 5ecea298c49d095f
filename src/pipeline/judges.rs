//! The judges that a recipe names, made ready: reward models loaded, rules parsed.

use super::context::{Context, Policy};
use super::embedded;
use super::responses::GroupRow;
use crate::error::{Error, Result};
use crate::judge::{Group, Judge, RewardJudge, Rule, RuleJudge};
use crate::model::{Model, files::hub};
use crate::recipe::{self, RewardJudge as RewardTable};
use crate::run::Journal;
use blake3::Hash;
use std::path::Path;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// A judge by its files, before anything is loaded.
#[derive(Debug, Clone)]
pub enum Seat {
    /// A reward model.
    Reward(Policy),
    /// A rule.
    Rule(recipe::Rule),
}

impl Seat {
    /// The reward model of a table: its own, or the run's.
    ///
    /// # Errors
    /// When neither is there.
    pub fn reward(table: &RewardTable, own: &[Policy]) -> Result<Self> {
        match (&table.model_name_or_path, own.first()) {
            (Some(name), _) if name == recipe::Model::QUICKSTART => {
                Ok(Self::Reward(Policy::at(&embedded::model()?)?))
            }
            (Some(name), _) => Ok(Self::Reward(Policy::at(&hub::resolve(
                name,
                table.revision.as_deref(),
                false,
            )?)?)),
            (None, Some(own)) => Ok(Self::Reward(own.clone())),
            (None, None) => Err(Error::user("the recipe names no judge and trains no reward model").hint(
                "add a [reward] table, or set `online.judge.reward.model_name_or_path` to a reward model",
            )),
        }
    }

    /// For the key of a stage.
    pub fn digest(&self) -> Hash {
        match self {
            Self::Reward(model) => model.digest,
            Self::Rule(rule) => recipe::hash_of(rule),
        }
    }

    /// Gives `rows` their rewards and writes them to `file` as they come, so that a run that was stopped in the middle
    /// judges only what is left.
    ///
    /// # Errors
    /// What is wrong with the model, the rule or a row, or a file that cannot be written.
    pub fn score(
        &self,
        cx: &Context,
        rows: &[GroupRow],
        max_length: usize,
        file: &Path,
    ) -> Result<Vec<GroupRow>> {
        let (mut journal, mut scored) = Journal::<GroupRow>::open(file)?;
        let known = scored.len();
        let mut keep = |row: GroupRow| {
            journal.append(&row)?;
            scored.push(row);
            Ok(())
        };
        match self {
            _ if known == rows.len() => {}
            Self::Reward(policy) => {
                let model: Model = policy.load(&cx.device, cx.frozen().unpacked())?;
                let mut judge = RewardJudge::new(&model, max_length, TOKENS_PER_BATCH)?;
                score_from(&mut judge, rows, known, &mut keep)?;
            }
            Self::Rule(rule) => {
                let rule: Rule = rule.formula.parse()?;
                score_from(&mut RuleJudge(rule), rows, known, &mut keep)?;
            }
        }
        journal.finish()?;
        Ok(scored)
    }
}

/// Parses every rule of a recipe, so that a mistake is found before anything is computed.
///
/// # Errors
/// The first formula that is none.
pub fn check_rules(recipe: &recipe::Recipe) -> Result<()> {
    let online = recipe
        .online
        .as_ref()
        .and_then(|online| online.judge.rule.as_ref());
    let eval = recipe.eval.as_ref().and_then(|eval| eval.rule.as_ref());
    let rules = [
        ("online.judge.rule.formula", online),
        ("eval.rule.formula", eval),
    ];
    for (key, rule) in rules {
        if let Some(rule) = rule {
            rule.formula.parse::<Rule>().map_err(|e| e.at(key))?;
        }
    }
    Ok(())
}

/// Tokens that a judge computes at once.
pub const TOKENS_PER_BATCH: usize = 4096;

/// Hands `rows` with their rewards to `done`, by a judge that is ready.
///
/// # Errors
/// A row that cannot be scored, or whatever `done` reports.
pub fn score_with(
    judge: &mut dyn Judge,
    rows: Vec<GroupRow>,
    done: &mut dyn FnMut(GroupRow) -> Result<()>,
) -> Result<()> {
    score_from(judge, &rows, 0, done)
}

/// The same for the rows from `from` on; those before are known.
fn score_from(
    judge: &mut dyn Judge,
    rows: &[GroupRow],
    from: usize,
    done: &mut dyn FnMut(GroupRow) -> Result<()>,
) -> Result<()> {
    let groups: Vec<Group> = rows
        .iter()
        .map(|row| Group {
            id: row.id.clone(),
            prompt: row.prompt.clone().into(),
            responses: row.responses.clone(),
        })
        .collect();
    let span = info_span!("judge");
    span.pb_set_message("judge");
    span.pb_set_length(groups.len() as u64);
    span.pb_set_position(from as u64);
    let _entered = span.enter();
    let mut rest = rows[from..].iter();
    judge.scores(&groups, from, &mut |_, rewards| {
        span.pb_inc(1);
        let row = rest.next().expect("a judge answers each group once");
        done(GroupRow {
            rewards,
            ..row.clone()
        })
    })
}
