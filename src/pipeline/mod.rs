//! The order of things: stages in a run directory.
//!
//! [`run()`] is the whole; [`online`] is the recipe of "RLHF Workflow" in one screen.

pub mod context;
pub mod data_sets;
pub mod drift;
pub mod embedded;
pub mod estimate;
pub mod evaluate;
pub mod exam;
pub mod examples;
pub mod explore;
pub mod judged;
pub mod judges;
pub mod jury;
pub mod multi_objective;
pub mod online;
pub mod pairs;
pub mod pairwise;
pub mod preference;
pub mod preflight;
pub mod responses;
pub mod reward;
pub mod sft;
pub mod start;
mod training;
pub mod verifier;
mod worth;

pub use context::{Context, Policy};

use crate::error::{Error, Result};
use crate::recipe::{Loaded, Recipe};
use crate::run::{Layout, Measured, RoundSummary, RunDir, Start};
use crate::text::clock;
use burn::tensor::Device;
use evaluate::Evaluation;
use judges::Own;
use jury::needs_more_than_rewards;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The run directory.
    pub run: PathBuf,
    /// The trained model.
    pub model: PathBuf,
    /// One entry a round.
    pub rounds: Vec<RoundSummary>,
    /// The last evaluation, where the recipe has one.
    pub measured: Option<Measured>,
    /// The page.
    pub report: PathBuf,
    /// Wall time of this command.
    pub seconds: f64,
}

/// How far a command goes through a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// `[sft]`.
    Sft,
    /// `[sft]` and `[reward]`.
    Reward,
    /// `[sft]`, `[reward]` and `[multi_objective]`.
    MultiObjective,
    /// `[sft]` and `[pairwise]`.
    Pairwise,
    /// `[sft]` and `[verifier]`.
    Verifier,
    /// `[sft]` and `[dpo]`, then `[eval]`; `[reward]` where its models are done or nobody else judges.
    Dpo,
    /// Everything but `[dpo]`.
    Online,
    /// Everything.
    End,
}

/// Runs the stages of a recipe that are not done yet, in `directory`.
///
/// # Errors
/// Whatever a stage reports; what is done stays done, and the same call continues.
pub fn run(
    loaded: &Loaded,
    directory: &Path,
    device: Device,
    start: Start,
    until: Until,
) -> Result<Outcome> {
    let began = Instant::now();
    context::check_dtype(loaded.recipe.model.dtype, &device, "model.dtype")?;
    let layout = Layout::new(directory);
    match layout.recipe().exists() {
        // Its stages know what they read, and refuse what has changed.
        true => {
            if !start.redo {
                data_sets::recall(&layout)?;
            }
            judges::check(&loaded.recipe)?;
        }
        false => {
            preflight::check(&loaded.recipe)?;
            if loaded.names_data_sets() {
                // Rows that have just come tell what they take.
                estimate::refuse_too_large(&loaded.recipe, until)?;
            }
        }
    }
    let mut run = RunDir::create_over(directory, &loaded.text, start.redo)?;
    let anew = start.redo;
    data_sets::keep(&layout)?;
    run.begin(start)?;
    if let Some(began) = run.info().began() {
        clock::stop_at(began);
    }
    let metrics = match run.metrics() {
        Ok(metrics) => metrics,
        Err(error) => {
            run.end(Err(&error))?;
            return Err(error);
        }
    };
    let operands = match context::settled(loaded.recipe.model.dtype, &mut run, &device, anew) {
        Ok(operands) => operands,
        Err(error) => {
            run.end(Err(&error))?;
            return Err(error);
        }
    };
    let mut cx = Context::new(loaded.recipe.clone(), run, metrics, device, operands);
    let outcome = stages(&mut cx, until);
    let ended = cx.run.end(outcome.as_ref().map(|_| ()));
    let report = cx.metrics.sync().and_then(|()| cx.run.write_report());
    // What went wrong in the work comes before what then could not be written about it.
    let (policy, measured) = outcome?;
    ended?;
    let report = report?;
    Ok(Outcome {
        run: directory.to_owned(),
        model: policy.path,
        rounds: rounds(&cx)?,
        measured,
        report,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// SFT, a verifier, reward models, a multi-objective model over them, a pairwise model, offline DPO, the online loop, evaluation: those
/// that the recipe has.
fn stages(cx: &mut Context, until: Until) -> Result<(Policy, Option<Measured>)> {
    let begin = start::start(cx)?;
    let tuned = sft::sft(cx, &begin)?;
    if until == Until::Sft {
        return Ok((tuned, None));
    }
    let verifier = match until {
        Until::Verifier | Until::Online | Until::End => verifier::verifier(cx, &tuned)?,
        Until::Dpo if needs_more_than_rewards(&cx.recipe) => verifier::verifier(cx, &tuned)?,
        _ => None,
    };
    if let Some(policy) = &verifier
        && (until == Until::Verifier || nothing_else(&cx.recipe))
    {
        return Ok((policy.clone(), None));
    }
    let rewards = match until {
        Until::Pairwise => Vec::new(),
        Until::Dpo if !reward::wanted_by_eval(cx, &tuned)? => Vec::new(),
        _ => reward::reward(cx, &tuned)?,
    };
    if until == Until::Reward {
        return Ok((rewards.into_iter().next().unwrap_or(tuned), None));
    }
    let over = rewards.first().unwrap_or(&tuned);
    let objectives = match until {
        Until::Pairwise => None,
        Until::Dpo if !needs_more_than_rewards(&cx.recipe) => None,
        _ => multi_objective::multi_objective(cx, over)?,
    };
    if until == Until::MultiObjective {
        return Ok((objectives.unwrap_or(tuned), None));
    }
    let pairwise = match until {
        Until::Dpo if !needs_more_than_rewards(&cx.recipe) => None,
        _ => pairwise::pairwise(cx, &tuned)?,
    };
    if until == Until::Pairwise {
        return Ok((pairwise.unwrap_or(tuned), None));
    }
    let judge = [&pairwise, &objectives, &rewards.first().cloned(), &verifier]
        .into_iter()
        .find_map(Clone::clone);
    let own = Own {
        rewards,
        tree: objectives.clone().filter(|_| cx.recipe.grows_tree()),
        objectives,
        pairwise,
        verifier: verifier.zip(cx.recipe.verifier.clone()),
    };
    let preferred = match until {
        Until::Online => tuned.clone(),
        _ => preference::dpo(cx, &tuned)?,
    };
    let policy = match until {
        Until::Dpo => preferred.clone(),
        _ => online::online(cx, &preferred, &own)?,
    };
    if policy == begin
        && let Some(judge) = judge
    {
        // What the run made is a judge.
        return Ok((judge, None));
    }
    if cx.recipe.eval.is_none() {
        return Ok((policy, None));
    }
    if policy == tuned {
        // Nothing was trained from preferences: what SFT did is measured.
        let measured = match tuned == begin {
            true => None,
            false => Some(Evaluation::new(cx, &begin, &own)?.policy(cx, "eval", &tuned)?),
        };
        if let Some(measured) = &measured {
            cx.run.write_samples(None, &measured.samples)?;
        }
        return Ok((policy, measured));
    }
    let online = cx.recipe.online.as_ref().filter(|_| until != Until::Dpo);
    let name = match online {
        Some(online) if preferred == tuned => cx.run.layout().round(online.rounds).stage("eval"),
        _ => "eval".to_owned(),
    };
    let evaluation = Evaluation::new(cx, &tuned, &own)?;
    let measured = evaluation.policy(cx, &name, &policy)?;
    if name == "eval" {
        cx.run.write_samples(None, &measured.samples)?;
    }
    Ok((policy, Some(measured)))
}

/// Whether no stage comes after `[verifier]`.
fn nothing_else(recipe: &Recipe) -> bool {
    recipe.reward.is_none()
        && recipe.multi_objective.is_none()
        && recipe.pairwise.is_none()
        && recipe.dpo.is_none()
        && recipe.online.is_none()
        && recipe.eval.is_none()
}

fn rounds(cx: &Context) -> Result<Vec<RoundSummary>> {
    let mut rounds = Vec::new();
    for round in cx.run.layout().rounds()? {
        rounds.extend(RoundSummary::read(&round.eval())?);
    }
    Ok(rounds)
}

/// Facts about the machine for `run.json`.
pub fn machine(backend: &str) -> BTreeMap<String, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    BTreeMap::from([
        ("device".to_owned(), backend.to_owned()),
        ("threads".to_owned(), threads.to_string()),
        (
            "system".to_owned(),
            format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        ),
    ])
}

/// Where a recipe's run lies.
pub fn directory(recipe: &Recipe) -> Result<PathBuf> {
    if recipe.name.is_empty() || recipe.name.contains(['/', '\\']) {
        return Err(Error::user(format!("`{}` cannot name a run", recipe.name))
            .hint("set `name` to a word without slashes"));
    }
    Ok(Path::new(&recipe.output_dir).join(&recipe.name))
}
