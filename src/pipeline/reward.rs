//! A Bradley-Terry reward model, with the baselines that its accuracy must beat.

use super::context::{Context, Policy};
use super::examples;
use super::training::{Training, trained};
use crate::data::{Key, Preference};
use crate::error::Result;
use crate::eval::{AccuracyReport, ScoredPair};
use crate::judge::{Group, Judge, RewardJudge};
use crate::model::Model;
use crate::objective::BradleyTerry;
use crate::recipe::Reward;
use crate::run::{stage_key, write_atomic};
use crate::text::Answer;
use std::collections::HashSet;

/// Trains the recipe's reward model, and the second one that only evaluates.
///
/// # Errors
/// What is wrong with the data, or whatever the trainer reports.
pub fn reward(cx: &mut Context, start: &Policy) -> Result<Vec<Policy>> {
    let Some(table) = cx.recipe.reward.clone() else {
        return Ok(Vec::new());
    };
    let base = match &table.model_name_or_path {
        Some(name) => Policy::at(&crate::model::files::hub::resolve(name, None, false)?)?,
        None => start.clone(),
    };
    let first = table.seed.unwrap_or(cx.recipe.seed);
    let mut models = vec![one(cx, &base, &table, "reward", first)?];
    if let Some(second) = table.second_seed {
        models.push(one(cx, &base, &table, "reward-second", second)?);
    }
    Ok(models)
}

fn one(cx: &mut Context, base: &Policy, table: &Reward, name: &str, seed: u64) -> Result<Policy> {
    let key = crate::recipe::hash_of(table).to_string();
    let inputs = [
        base.digest,
        examples::hash(&table.data)?,
        crate::recipe::hash_of(&seed),
    ];
    let stage = cx.run.stage(name, stage_key(&key, &inputs)?)?;
    let out = cx.run.layout().root().join(name).join("checkpoint");
    let done = stage.complete(|stage| {
        let key = Key::new(seed).fold("reward");
        let model = base.load(&cx.device)?;
        let model = match model.decoder.score {
            Some(_) => model,
            None => model.with_score_head(key, &cx.device)?,
        };
        let [rows, eval] = rows(cx, table)?;
        let limits = examples::limits(table.max_length, table.overlong, &model);
        let prepared = examples::pairs(&rows, &model.chat, &limits, false)?;
        let prepared = prepared.not_empty("pair", table.max_length)?;
        let held_out = examples::pairs(&eval, &model.chat, &limits, false)?.examples;
        let mut objective = BradleyTerry {
            margin: table.use_margin,
            center_rewards_coefficient: table.center_rewards_coefficient,
        };
        let training = Training {
            stage,
            out: &out,
            objective: &mut objective,
            guess_is_ln2: !table.use_margin && table.center_rewards_coefficient.is_none(),
            prepared: &prepared,
            held_out: &held_out,
            train: &table.train,
            lora: table.lora.as_ref(),
            key,
        };
        training.run(cx, &model)?;
        Ok(())
    })?;
    let policy = trained(&done, &out);
    measure(cx, &policy, table, name)?;
    Ok(policy)
}

/// `<name>-eval.json`: the accuracy on the held-out pairs, as a stage of its own.
fn measure(cx: &mut Context, policy: &Policy, table: &Reward, name: &str) -> Result<()> {
    let name_of_eval = format!("{name}-eval");
    let mut inputs = vec![policy.digest, examples::hash(&table.data)?];
    if let Some(eval) = &table.eval {
        inputs.push(examples::hash(eval)?);
    }
    let file = cx.run.layout().accuracy(name);
    cx.run
        .stage(&name_of_eval, stage_key(&table.max_length, &inputs)?)?
        .complete(|_| {
            let model = policy.load(&cx.device)?;
            let [_, eval] = rows(cx, table)?;
            let limits = examples::limits(table.max_length, table.overlong, &model);
            let fitting = examples::pairs(&eval, &model.chat, &limits, false)?.examples;
            let fitting: HashSet<&str> = fitting.iter().map(|row| row.id.as_str()).collect();
            let eval: Vec<Preference> = eval
                .iter()
                .filter(|row| fitting.contains(row.id.as_str()))
                .cloned()
                .collect();
            if eval.is_empty() {
                return write_atomic(&file, b"null\n");
            }
            let budget = table.train.max_tokens_per_batch;
            let report = accuracy(&model, &eval, limits.max_length, budget)?;
            tracing::info!("{name}: {}", in_words(&report));
            let text = serde_json::to_vec_pretty(&report)
                .map_err(|e| crate::Error::internal(format!("cannot write the accuracy: {e}")))?;
            write_atomic(&file, &text)
        })?;
    Ok(())
}

/// Pairs to learn from and pairs to evaluate on.
fn rows(cx: &Context, table: &Reward) -> Result<[Vec<Preference>; 2]> {
    let (rows, report) = examples::preferences(&table.data)?;
    tracing::info!("reward: {}", report.summary());
    let eval = match &table.eval {
        Some(eval) => Some(examples::preferences(eval)?.0),
        None => None,
    };
    Ok(examples::split(rows, eval, &table.data, cx.recipe.seed))
}

/// How often the model ranks the chosen response higher, beside the baselines.
///
/// # Errors
/// A row that cannot be scored.
pub fn accuracy(
    model: &Model,
    rows: &[Preference],
    max_length: usize,
    max_tokens_per_batch: usize,
) -> Result<AccuracyReport> {
    let mut judge = RewardJudge::new(model, max_length, max_tokens_per_batch)?;
    let group = |row: &Preference| Group {
        id: row.id.clone(),
        prompt: row.prompt.clone(),
        responses: vec![words(&row.chosen), words(&row.rejected)],
    };
    let groups: Vec<Group> = rows.iter().map(group).collect();
    let scores = judge.scores(&groups, &mut |_| {})?;
    let pairs: Vec<ScoredPair> = groups
        .iter()
        .zip(&scores)
        .map(|(group, scores)| ScoredPair {
            id: group.id.clone(),
            subset: None,
            chosen_score: f64::from(scores[0]),
            rejected_score: f64::from(scores[1]),
            chosen_chars: group.responses[0].chars().count(),
            rejected_chars: group.responses[1].chars().count(),
        })
        .collect();
    AccuracyReport::of(&pairs, crate::eval::statistics::CONFIDENCE, 0)
}

/// The text of a response.
pub fn words(answer: &Answer) -> String {
    match answer {
        Answer::Chat(turns) => turns
            .last()
            .map(|turn| turn.content.clone())
            .unwrap_or_default(),
        Answer::Text(text) => text.clone(),
        Answer::Ids(ids) => format!("{ids:?}"),
    }
}

fn in_words(report: &AccuracyReport) -> String {
    let percent = |share: f64| 100.0 * share;
    format!(
        "right on {:.1} % of {} held-out pairs ({:.1} to {:.1}); the longer response {:.1} %, a coin {:.1} %",
        percent(report.judge.accuracy),
        report.judge.pairs,
        percent(report.judge.low),
        percent(report.judge.high),
        percent(report.length_only.accuracy),
        percent(report.random.accuracy),
    )
}
