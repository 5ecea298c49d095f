//! The judges that a recipe names, made ready: reward models loaded, rules parsed.

use super::context::{Context, Policy};
use super::embedded;
use super::responses::GroupRow;
use crate::error::{Error, Result};
use crate::judge::{
    CommandJudge, Group, Judge, RemoteGrades, RemotePairs, RewardJudge, Rule, RuleJudge, Tournament,
};
use crate::model::{Model, files::hub};
use crate::recipe::{self, Ask, RewardJudge as RewardTable};
use crate::run::Journal;
use blake3::Hash;
use std::path::Path;
use std::time::Duration;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// A judge by its files, before anything is loaded.
#[derive(Debug, Clone)]
pub enum Seat {
    /// A reward model that the run trained: it judges over the base that it was trained over.
    Own(Policy),
    /// A reward model from elsewhere, whole.
    Reward(Policy),
    /// A rule.
    Rule(recipe::Rule),
    /// A program.
    Command(recipe::CommandJudge),
    /// A model behind an endpoint.
    Remote(recipe::RemoteJudge),
}

impl Seat {
    /// The judge of the online loop.
    ///
    /// # Errors
    /// A reward model that is not there.
    pub fn of(table: &recipe::Judge, own: &[Policy]) -> Result<Self> {
        match (&table.rule, &table.command, &table.remote) {
            (Some(rule), ..) => Ok(Self::Rule(rule.clone())),
            (_, Some(command), _) => Ok(Self::Command(command.clone())),
            (.., Some(remote)) => Ok(Self::Remote(remote.clone())),
            _ => Self::reward(&table.reward.clone().unwrap_or_default(), own),
        }
    }

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
            (None, Some(own)) => Ok(Self::Own(own.clone())),
            (None, None) => Err(Error::user("the recipe names no judge and trains no reward model").hint(
                "add a [reward] table, or set `online.judge.reward.model_name_or_path` to a reward model",
            )),
        }
    }

    /// For the key of a stage.
    pub fn digest(&self) -> Hash {
        match self {
            Self::Own(model) | Self::Reward(model) => model.digest,
            Self::Rule(rule) => recipe::hash_of(rule),
            Self::Command(command) => recipe::hash_of(command),
            Self::Remote(remote) => recipe::hash_of(remote),
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
            Self::Own(policy) | Self::Reward(policy) => {
                let kept = match self {
                    Self::Own(_) => cx.frozen(),
                    _ => cx.frozen().unpacked(),
                };
                let model: Model = policy.load(&cx.device, kept)?;
                let mut judge = RewardJudge::new(&model, max_length, TOKENS_PER_BATCH)?;
                score_from(&mut judge, rows, known, &mut keep)?;
            }
            Self::Rule(rule) => {
                let rule: Rule = rule.formula.parse()?;
                score_from(&mut RuleJudge(rule), rows, known, &mut keep)?;
            }
            Self::Command(table) => {
                score_from(&mut command(table), rows, known, &mut keep)?;
            }
            Self::Remote(table) => {
                score_from(&mut *remote(table)?, rows, known, &mut keep)?;
            }
        }
        journal.finish()?;
        Ok(scored)
    }
}

/// A program as the judge.
pub fn command(table: &recipe::CommandJudge) -> CommandJudge {
    CommandJudge {
        program: table.program.clone(),
        timeout: Duration::from_secs_f64(table.timeout_seconds),
    }
}

/// A model behind an endpoint as the judge.
///
/// # Errors
/// A key that is not in the environment, a template that is none.
pub fn remote(table: &recipe::RemoteJudge) -> Result<Box<dyn Judge>> {
    if let Some(fault) = table.fault() {
        return Err(Error::user(format!(
            "{:?} is no address to ask: {fault}",
            table.base_url
        ))
        .hint("write it as http://localhost:8000/v1"));
    }
    Ok(match table.ask {
        Ask::Grades => Box::new(RemoteGrades::new(table)?),
        Ask::Pairs => Box::new(Tournament {
            compare: RemotePairs::new(table)?,
            rounds: table.rounds,
        }),
    })
}

/// Parses every rule and template of a recipe and looks for the keys of judges elsewhere, so that a mistake is found
/// before anything is computed.
///
/// # Errors
/// The first formula or template that is none, or a key that is not in the environment.
pub fn check(recipe: &recipe::Recipe) -> Result<()> {
    let online = recipe
        .online
        .as_ref()
        .and_then(|online| online.judge.rule.as_ref());
    let eval = recipe.eval.as_ref().and_then(|eval| eval.rule.as_ref());
    let judges = [
        recipe.online.as_ref().and_then(|t| t.judge.remote.as_ref()),
        recipe.eval.as_ref().and_then(|t| t.remote.as_ref()),
    ];
    for table in judges.into_iter().flatten() {
        remote(table)?;
    }
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
