//! The judges that a recipe names, made ready: reward models loaded, rules parsed.

use super::context::{Context, Policy};
use super::embedded;
use super::examples::{self, Load};
use super::responses::GroupRow;
use crate::data::PromptRow;
use crate::error::{Error, Result};
use crate::judge::{
    CommandJudge, Compare, Examiner, Group, Judge, RemoteGrades, RemotePairs, RewardJudge, Rule,
    RuleJudge, Tournament, Verifier, Versus, comparing_model,
};
use crate::model::{Model, files::hub};
use crate::recipe::{self, Ask, Overlong, Rounds, VerifierKind};
use crate::run::Journal;
use blake3::Hash;
use std::path::Path;
use std::time::Duration;
use tracing::info_span;
use tracing_indicatif::span_ext::IndicatifSpanExt;

/// The judges that a run trained itself.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// The reward models, the one that judges first.
    pub rewards: Vec<Policy>,
    /// The multi-objective reward model.
    pub objectives: Option<Policy>,
    /// The pairwise preference model.
    pub pairwise: Option<Policy>,
    /// The multi-objective model again where it has a decision tree, which compares as a pairwise model does.
    pub tree: Option<Policy>,
    /// The verifier, with the table that it was trained by.
    pub verifier: Option<(Policy, recipe::Verifier)>,
}

impl Own {
    /// The reward model that ranks the loop's responses: the multi-objective one where there is one, which is built on the other.
    fn reward(&self) -> Option<&Policy> {
        self.objectives.as_ref().or(self.rewards.first())
    }

    /// Every reward model by its stage's name.
    pub fn all_rewards(&self) -> Vec<(&'static str, &Policy)> {
        let rewards = ["reward", "reward-second"].into_iter().zip(&self.rewards);
        let objectives = self.objectives.iter().map(|own| ("multi-objective", own));
        rewards.chain(objectives).collect()
    }
}

/// A judge by its files, before anything is loaded.
#[derive(Debug, Clone)]
pub enum Seat {
    /// A reward model that the run trained: it judges over the base that it was trained over.
    Own(Policy),
    /// A reward model from elsewhere, whole.
    Reward(Policy),
    /// A pairwise preference model, whether the run trained it, and how it is asked.
    Pairwise(Policy, bool, recipe::PairwiseJudge),
    /// A process or an outcome reward model, whether the run trained it, and how it is asked.
    Verifier(Policy, bool, recipe::VerifierJudge),
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
    pub fn of(table: &recipe::Judge, own: &Own) -> Result<Self> {
        if let Some(pairwise) = &table.pairwise {
            return Self::pairwise(pairwise, own);
        }
        if let Some(verifier) = &table.verifier {
            return Self::verifier(verifier, own);
        }
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
    pub fn reward(table: &recipe::RewardJudge, own: &Own) -> Result<Self> {
        match (&table.model_name_or_path, own.reward()) {
            (Some(name), _) => Ok(Self::Reward(named(name, table.revision.as_deref())?)),
            (None, Some(own)) => Ok(Self::Own(own.clone())),
            (None, None) => Err(Error::user("the recipe names no judge and trains no reward model").hint(
                "add a [reward] table, or set `online.judge.reward.model_name_or_path` to a reward model",
            )),
        }
    }

    /// The pairwise model of a table: its own, or the run's.
    ///
    /// # Errors
    /// When neither is there.
    pub fn pairwise(table: &recipe::PairwiseJudge, own: &Own) -> Result<Self> {
        let (policy, trained_here) = match (
            &table.model_name_or_path,
            own.pairwise.as_ref().or(own.tree.as_ref()),
        ) {
            (Some(name), _) => (named(name, table.revision.as_deref())?, false),
            (None, Some(own)) => (own.clone(), true),
            (None, None) => {
                return Err(
                    Error::user("the recipe names no pairwise model and trains none").hint(
                        "add a [pairwise] or a [multi_objective.tree] table, or set `online.judge.pairwise.model_name_or_path`",
                    ),
                );
            }
        };
        Ok(Self::Pairwise(policy, trained_here, table.clone()))
    }

    /// The verifier of a table: its own, or the run's, which is asked for what it was trained for.
    ///
    /// # Errors
    /// When neither is there.
    pub fn verifier(table: &recipe::VerifierJudge, own: &Own) -> Result<Self> {
        match (&table.model_name_or_path, &own.verifier) {
            (Some(name), _) => {
                let policy = named(name, table.revision.as_deref())?;
                Ok(Self::Verifier(policy, false, table.clone()))
            }
            (None, Some((policy, trained))) if trained.kind == VerifierKind::Scalar => {
                Ok(Self::Own(policy.clone()))
            }
            (None, Some((policy, trained))) => {
                let table = recipe::VerifierJudge {
                    outcome: trained.kind == VerifierKind::Outcome,
                    separator: trained.separator.clone(),
                    ..table.clone()
                };
                Ok(Self::Verifier(policy.clone(), true, table))
            }
            (None, None) => Err(Error::user("the recipe names no verifier and trains none")
                .hint("add a [verifier] table, or set `online.judge.verifier.model_name_or_path`")),
        }
    }

    /// Whether it compares two responses instead of scoring one.
    pub fn compares(&self) -> bool {
        match self {
            Self::Pairwise(..) => true,
            Self::Remote(table) => table.ask == Ask::Pairs,
            _ => false,
        }
    }

    /// For the key of a stage.
    pub fn digest(&self) -> Hash {
        match self {
            Self::Own(model) | Self::Reward(model) => model.digest,
            Self::Pairwise(model, _, table) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(model.digest.as_bytes());
                hasher.update(recipe::hash_of(&(table.rounds, table.max_length)).as_bytes());
                hasher.finalize()
            }
            Self::Verifier(model, _, table) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(model.digest.as_bytes());
                let how = (table.outcome, &table.separator, table.aggregate);
                hasher.update(recipe::hash_of(&how).as_bytes());
                hasher.finalize()
            }
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
        self.judge(cx, rows, max_length, file, Meet::Each)
    }

    /// Compares the responses of `rows` with those of `others` to the same prompts, for a judge that
    /// [compares](Self::compares): both sides with a response's probability to be the better one as its reward.
    ///
    /// # Errors
    /// As [`Self::score`].
    pub fn versus(
        &self,
        cx: &Context,
        [rows, others]: [&[GroupRow]; 2],
        max_length: usize,
        file: &Path,
    ) -> Result<[Vec<GroupRow>; 2]> {
        let fits = |(row, other): (&GroupRow, &GroupRow)| {
            row.id == other.id && row.responses.len() == other.responses.len()
        };
        if rows.len() != others.len() || !rows.iter().zip(others).all(fits) {
            return Err(Error::internal(
                "the two sides of a comparison have other prompts or another number of responses",
            ));
        }
        let both: Vec<GroupRow> = rows
            .iter()
            .zip(others)
            .map(|(row, other)| GroupRow {
                responses: [&row.responses[..], &other.responses].concat(),
                ..row.clone()
            })
            .collect();
        let judged = self.judge(cx, &both, max_length, file, Meet::Halves)?;
        let side = |rows: &[GroupRow], second: bool| -> Vec<GroupRow> {
            let of = |(row, judged): (&GroupRow, &GroupRow)| {
                let (first, rest) = judged.rewards.split_at(judged.rewards.len() / 2);
                let rewards = if second { rest } else { first };
                GroupRow {
                    rewards: rewards.to_vec(),
                    ..row.clone()
                }
            };
            rows.iter().zip(&judged).map(of).collect()
        };
        Ok([side(rows, false), side(others, true)])
    }

    fn judge(
        &self,
        cx: &Context,
        rows: &[GroupRow],
        max_length: usize,
        file: &Path,
        meet: Meet,
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
                let model = loaded(cx, policy, matches!(self, Self::Own(_)))?;
                let mut judge = RewardJudge::new(&model, max_length, TOKENS_PER_BATCH)?;
                score_from(&mut judge, rows, known, &mut keep)?;
            }
            Self::Pairwise(policy, trained_here, table) => {
                let model = loaded(cx, policy, *trained_here)?;
                let longest = table.max_length.unwrap_or(usize::MAX);
                let limits = examples::limits(longest, Overlong::TruncatePrompt, &model);
                let compare = comparing_model(&model, limits, TOKENS_PER_BATCH)?;
                let mut judge = comparing(compare, table.rounds, meet);
                score_from(&mut *judge, rows, known, &mut keep)?;
            }
            Self::Verifier(policy, trained_here, table) => {
                let model = loaded(cx, policy, *trained_here)?;
                let separator = (!table.outcome).then(|| table.separator.clone());
                let how = table.aggregate;
                // The marks stand beside the response.
                let mut judge =
                    Verifier::new(&model, separator, how, usize::MAX, TOKENS_PER_BATCH)?;
                score_from(&mut judge, rows, known, &mut keep)?;
            }
            Self::Rule(rule) => {
                let rule: Rule = rule.formula.parse()?;
                score_from(&mut RuleJudge::new(rule), rows, known, &mut keep)?;
            }
            Self::Command(table) => {
                score_from(&mut command(table), rows, known, &mut keep)?;
            }
            Self::Remote(table) => {
                let mut judge = match (meet, table.ask) {
                    (Meet::Halves, Ask::Pairs) => {
                        comparing(RemotePairs::new(table)?, table.rounds, meet)
                    }
                    _ => remote(table)?,
                };
                score_from(&mut *judge, rows, known, &mut keep)?;
            }
        }
        journal.finish()?;
        Ok(scored)
    }
}

/// The model that a table names: `quickstart` is the one inside the binary.
fn named(name: &str, revision: Option<&str>) -> Result<Policy> {
    match name == recipe::Model::QUICKSTART {
        true => Policy::at(&embedded::model()?),
        false => Policy::at(&hub::resolve(name, revision, false)?),
    }
}

/// A judge's model: over the base that the run trains over where the run made it, whole where it did not.
fn loaded(cx: &Context, policy: &Policy, trained_here: bool) -> Result<Model> {
    let kept = match trained_here {
        true => cx.frozen(),
        false => cx.frozen().unpacked(),
    };
    policy.load(&cx.device, kept)
}

/// Whom a judge that compares lets meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meet {
    /// The responses of a group, each other.
    Each,
    /// The first half of a group, the second half.
    Halves,
}

fn comparing<'a>(compare: impl Compare + 'a, rounds: Rounds, meet: Meet) -> Box<dyn Judge + 'a> {
    match meet {
        Meet::Each => Box::new(Tournament { compare, rounds }),
        Meet::Halves => Box::new(Versus { compare }),
    }
}

/// A program as the judge.
pub fn command(table: &recipe::CommandJudge) -> CommandJudge {
    CommandJudge {
        program: table.program.clone(),
        timeout: Duration::from_secs_f64(table.timeout_seconds),
    }
}

/// The same by one text, in which blanks divide the program and its arguments.
///
/// # Errors
/// None that a text could cause.
pub fn program(text: &str) -> Result<CommandJudge> {
    let program: Vec<&str> = text.split_whitespace().collect();
    let table = serde_json::from_value(serde_json::json!({"program": program}));
    let table = table.map_err(|error| Error::internal(error.to_string()))?;
    Ok(command(&table))
}

/// Refuses a program that is nowhere, before anything is drawn for it to judge.
///
/// # Errors
/// No program of that name, by its path or in `PATH`.
pub fn must_be_there(text: &str) -> Result<()> {
    let name = text.split_whitespace().next().unwrap_or_default();
    let path = std::path::Path::new(name);
    let places = std::env::var_os("PATH").unwrap_or_default();
    // On Windows a name may lack its ending.
    let endings = std::env::var("PATHEXT").unwrap_or_default();
    let endings = endings.split(';').filter(|_| cfg!(windows)).chain([""]);
    let is_there = |path: &std::path::Path| {
        let mut named = endings.clone().map(|ending| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            std::path::PathBuf::from(name)
        });
        named.any(|path| path.is_file())
    };
    let found = match path.components().count() {
        0 => false,
        1 if !name.contains('/') => {
            std::env::split_paths(&places).any(|folder| is_there(&folder.join(path)))
        }
        _ => is_there(path),
    };
    match found {
        true => Ok(()),
        false => Err(
            Error::user(format!("there is no program `{name}` to judge"))
                .hint("check the spelling, or give its whole path"),
        ),
    }
}

/// A model behind an endpoint as the judge.
///
/// # Errors
/// A key that is not in the environment, a template that is none.
pub fn remote(table: &recipe::RemoteJudge) -> Result<Box<dyn Judge>> {
    check_address(table)?;
    Ok(match table.ask {
        Ask::Grades => Box::new(RemoteGrades::new(table)?),
        Ask::Pairs => Box::new(Tournament {
            compare: RemotePairs::new(table)?,
            rounds: table.rounds,
        }),
    })
}

/// The same for whatever a benchmark asks.
///
/// # Errors
/// An address that is none, a key that is not in the environment.
pub fn examiner(table: &recipe::RemoteJudge) -> Result<Examiner> {
    check_address(table)?;
    Examiner::new(table)
}

fn check_address(table: &recipe::RemoteJudge) -> Result<()> {
    match table.fault() {
        None => Ok(()),
        Some(fault) => Err(Error::user(format!(
            "{:?} is no address to ask: {fault}",
            table.base_url
        ))
        .hint("write it as http://localhost:8000/v1")),
    }
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

/// How prompts are read whose responses that rule judges: where it compares with the right answer, every row needs one.
pub fn prompts_for(rule: Option<&recipe::Rule>) -> Load<PromptRow> {
    let rule = rule.and_then(|rule| rule.formula.parse::<Rule>().ok());
    match rule.is_some_and(|rule| rule.asks_for_answer()) {
        true => examples::answered,
        false => examples::prompts,
    }
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
            answer: row.answer.clone(),
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
