//! A Bradley-Terry reward model, with the baselines that its accuracy must beat.

use super::context::{Context, Policy};
use super::examples;
use super::jury::only_own;
use super::multi_objective::questions;
use super::training::{Training, trained};
use super::worth;
use crate::data::{Key, Preference};
use crate::error::{Error, Result};
use crate::eval::statistics::CONFIDENCE;
use crate::eval::{AccuracyReport, ScoredPair};
use crate::judge::RewardJudge;
use crate::model::Model;
use crate::model::files::hub;
use crate::objective::{BradleyTerry, Example, Objective, Odin};
use crate::recipe::{Overlong, Reward};
use crate::run::{stage_key, stages, write_atomic};
use crate::text::{Answer, Chat};
use crate::trie::Sequence;
use blake3::Hash;
use std::collections::{HashMap, HashSet};

/// Trains the recipe's reward model, and the second one that only evaluates.
///
/// # Errors
/// What is wrong with the data, or whatever the trainer reports.
pub fn reward(cx: &mut Context, start: &Policy) -> Result<Vec<Policy>> {
    let Some(table) = cx.recipe.reward.clone() else {
        return Ok(Vec::new());
    };
    let base = base(cx, start, &table)?;
    let mut models = Vec::new();
    for (name, seed) in seeds(cx, &table) {
        models.push(one(cx, &base, &table, name, seed)?);
    }
    Ok(models)
}

/// Whether `[eval]` of a command that needs no reward model itself is to be judged by the run's own: they are done
/// already, or nobody else judges.
///
/// # Errors
/// Data or a model that cannot be read.
pub fn wanted_by_eval(cx: &Context, start: &Policy) -> Result<bool> {
    let (Some(_), Some(table)) = (&cx.recipe.eval, &cx.recipe.reward) else {
        return Ok(false);
    };
    let others = !only_own(&cx.recipe);
    let done = done(cx, start, table)?;
    if !done && !others {
        tracing::info!(
            "[eval] has no judge but the recipe's reward models: they are trained first"
        );
    }
    Ok(done || !others)
}

/// Whether all reward models of this very recipe lie in the run.
fn done(cx: &Context, start: &Policy, table: &Reward) -> Result<bool> {
    let records = stages(cx.run.layout())?;
    let seeds = seeds(cx, table);
    let finished = |name: &str| records.iter().find(|r| r.done && r.name == name);
    // A base on the hub is only asked for where there is something to compare.
    if seeds.iter().any(|(name, _)| finished(name).is_none()) {
        return Ok(false);
    }
    let base = base(cx, start, table)?;
    for (name, seed) in seeds {
        let key = key(cx, &base, table, seed)?.to_string();
        if finished(name).is_none_or(|record| record.key != key) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The model that the reward models begin with.
fn base(cx: &Context, start: &Policy, table: &Reward) -> Result<Policy> {
    match &table.model_name_or_path {
        Some(name) => {
            let path = hub::resolve(name, table.revision.as_deref(), false)?;
            Ok(Policy::at(&path)?.kept_as(cx))
        }
        None => Ok(start.clone()),
    }
}

/// The stages of the reward models, each with its seed.
fn seeds(cx: &Context, table: &Reward) -> Vec<(&'static str, u64)> {
    let first = ("reward", table.seed.unwrap_or(cx.recipe.seed));
    let second = table.second_seed.map(|seed| ("reward-second", seed));
    std::iter::once(first).chain(second).collect()
}

fn key(cx: &Context, base: &Policy, table: &Reward, seed: u64) -> Result<Hash> {
    let mut inputs = vec![
        base.digest,
        examples::hash(&table.data)?,
        crate::recipe::hash_of(&seed),
        // It draws the held-out rows.
        crate::recipe::hash_of(&cx.recipe.seed),
    ];
    inputs.extend(table.eval.as_ref().map(examples::hash).transpose()?);
    stage_key(&crate::recipe::hash_of(table).to_string(), &inputs)
}

fn one(cx: &mut Context, base: &Policy, table: &Reward, name: &str, seed: u64) -> Result<Policy> {
    examples::readable(cx, examples::preferences, &table.data, table.eval.as_ref())?;
    let stage = cx.run.stage(name, key(cx, base, table, seed)?)?;
    let out = cx.run.layout().root().join(name).join("checkpoint");
    let done = stage.complete(|stage| {
        let key = Key::new(seed).fold("reward");
        let model = base.load(&cx.device, cx.trained(table.lora.as_ref()))?;
        let model = match model.decoder.score {
            Some(_) => model,
            None => model.with_score_head(key, &cx.device)?,
        };
        let model = match table.odin {
            Some(_) => model.with_head_more(key.fold("length head"))?,
            None => model,
        };
        let [rows, eval] = rows(cx, table)?;
        let limits = examples::limits(table.max_length, table.overlong, &model);
        // ODIN counts the response's tokens.
        let marked = table.odin.is_some();
        let prepared = examples::pairs(&rows, &model.chat, &limits, marked)?;
        let prepared = prepared.not_empty("pair", table.max_length)?;
        let held_out = examples::pairs(&eval, &model.chat, &limits, marked)?;
        let held_out = held_out.held_out(name, limits.max_length);
        let mut objective = objective(table);
        let training = Training {
            stage,
            out: &out,
            objective: &mut *objective,
            guess_is_ln2: !table.use_margin
                && table.center_rewards_coefficient.is_none()
                && table.odin.is_none(),
            prepared: &prepared,
            held_out: &held_out,
            train: &table.train,
            lora: table.lora.as_ref(),
            key,
        };
        training.run(cx, model)?;
        Ok(())
    })?;
    let policy = trained(&done, &out);
    measure(cx, &policy, table, name)?;
    Ok(policy)
}

/// What the table trains for.
fn objective(table: &Reward) -> Box<dyn Objective> {
    match &table.odin {
        Some(odin) => Box::new(Odin::new(odin.length_weight, odin.orthogonality)),
        None => Box::new(BradleyTerry {
            margin: table.use_margin,
            center_rewards_coefficient: table.center_rewards_coefficient,
        }),
    }
}

/// `<name>-eval.json`: the accuracy on the held-out pairs, as a stage of its own.
fn measure(cx: &mut Context, policy: &Policy, table: &Reward, name: &str) -> Result<()> {
    let name_of_eval = format!("{name}-eval");
    let mut inputs = vec![policy.digest, examples::hash(&table.data)?];
    if let Some(eval) = &table.eval {
        // The same weights may be measured on other rows of the same file.
        inputs.extend([examples::hash(eval)?, crate::recipe::hash_of(eval)]);
    }
    let file = cx.run.layout().accuracy(name);
    cx.run
        .measurement(&name_of_eval, stage_key(&table.max_length, &inputs)?)?
        .complete(|_| {
            let model = policy.load(&cx.device, cx.frozen())?;
            let [_, eval] = rows(cx, table)?;
            let limits = examples::limits(table.max_length, table.overlong, &model);
            let fitting = examples::pairs(&eval, &model.chat, &limits, false)?;
            let fitting = fitting.held_out(&name_of_eval, limits.max_length);
            if fitting.is_empty() {
                let why = match table.eval.is_none() && table.data.held_out == 0.0 {
                    true => "nothing was held out: add --set reward.data.held_out=0.1",
                    false => "no held-out pair is left (reward.data.held_out, [reward.eval])",
                };
                tracing::warn!("{name}: the accuracy is not measured: {why}");
                return write_atomic(&file, b"null\n");
            }
            let budget = table.train.max_tokens_per_batch;
            let scored = compare(&model, &eval, &fitting, limits.max_length, budget)?;
            let report = AccuracyReport::of(&scored, CONFIDENCE, 0)?;
            tracing::info!("{name}: {}", in_words(&report));
            let text = serde_json::to_vec_pretty(&report)
                .map_err(|e| Error::internal(format!("cannot write the accuracy: {e}")))?;
            write_atomic(&file, &text)
        })?;
    worth::of_pairs(cx, &name_of_eval, &file)
}

/// Pairs to learn from and pairs to evaluate on.
fn rows(cx: &Context, table: &Reward) -> Result<[Vec<Preference>; 2]> {
    let load = examples::preferences;
    examples::read(cx, "reward", load, &table.data, table.eval.as_ref())
}

/// Pairs too long to be judged that a terminal lists.
const SHOWN: usize = 20;

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
    let scored = scored(model, rows, max_length, max_tokens_per_batch)?;
    AccuracyReport::of(&scored, CONFIDENCE, 0)
}

/// The model's scores of every pair that fits; the others are said.
///
/// # Errors
/// A row that cannot be scored, or no row that fits.
pub fn scored(
    model: &Model,
    rows: &[Preference],
    max_length: usize,
    max_tokens_per_batch: usize,
) -> Result<Vec<ScoredPair>> {
    let pairs = fitting(model, rows, max_length)?;
    compare(model, rows, &pairs, max_length, max_tokens_per_batch)
}

/// The pairs that fit, as the model reads them; the others are said.
///
/// # Errors
/// A row that cannot be rendered, or no row that fits.
pub(super) fn fitting(
    model: &Model,
    rows: &[Preference],
    max_length: usize,
) -> Result<Vec<Example>> {
    let limits = examples::limits(max_length, Overlong::TruncatePrompt, model);
    let pairs = match model.gated {
        Some(_) => questions::pairs(rows, &model.chat, &limits)?.examples,
        None => examples::pairs(rows, &model.chat, &limits, false)?.examples,
    };
    let fits: HashSet<&str> = pairs.iter().map(|pair| pair.id.as_str()).collect();
    let long: Vec<&Preference> = rows
        .iter()
        .filter(|row| !fits.contains(row.id.as_str()))
        .collect();
    let limit = limits.max_length;
    if let (Some(row), true) = (long.first(), pairs.is_empty()) {
        let fact = format!(
            "no pair can be judged: each has a response that is not shorter than {limit} tokens"
        );
        let hint = match limit < max_length {
            true => {
                format!("{limit} is the model's own limit: drop such rows, or take another model")
            }
            false => format!("raise the limit ({max_length})"),
        };
        return Err(Error::data(fact).at(&row.origin).hint(hint));
    }
    if !long.is_empty() {
        tracing::warn!(
            "{} pairs are not judged: a response is not shorter than {limit} tokens",
            long.len()
        );
        for row in long.iter().take(SHOWN) {
            tracing::warn!("not judged: {}", row.origin);
        }
    }
    Ok(pairs)
}

/// Ranks `pairs`, encoded as in training; their `rows` give the length baseline its characters.
pub(super) fn compare(
    model: &Model,
    rows: &[Preference],
    pairs: &[Example],
    max_length: usize,
    max_tokens_per_batch: usize,
) -> Result<Vec<ScoredPair>> {
    let judge = RewardJudge::new(model, max_length, max_tokens_per_batch)?;
    let encoded: Vec<(&str, &[Sequence])> = pairs
        .iter()
        .map(|pair| (pair.id.as_str(), pair.sequences.as_slice()))
        .collect();
    let mut scores = Vec::with_capacity(encoded.len());
    judge.rewards(&encoded, 0, &mut |_, of_pair| {
        scores.push(of_pair);
        Ok(())
    })?;
    ranked(rows, pairs, &scores, &model.chat)
}

/// Pairs with their scores, the chosen one's first, beside what a baseline goes by.
pub(super) fn ranked(
    rows: &[Preference],
    pairs: &[Example],
    scores: &[Vec<f32>],
    chat: &Chat,
) -> Result<Vec<ScoredPair>> {
    let by_id: HashMap<&str, &Preference> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let mut scored = Vec::with_capacity(pairs.len());
    for (pair, scores) in pairs.iter().zip(scores) {
        let row = by_id[pair.id.as_str()];
        scored.push(ScoredPair {
            id: pair.id.clone(),
            subset: row.subset.clone(),
            chosen_score: f64::from(scores[0]),
            rejected_score: f64::from(scores[1]),
            chosen_chars: chars(&row.chosen, chat)?,
            rejected_chars: chars(&row.rejected, chat)?,
        });
    }
    Ok(scored)
}

/// Characters of a whole response: of all its turns.
fn chars(answer: &Answer, chat: &Chat) -> Result<usize> {
    let count = |text: &str| text.chars().count();
    Ok(match answer {
        Answer::Chat(turns) => turns.iter().map(|turn| count(&turn.content)).sum(),
        Answer::Text(text) => count(text),
        Answer::Ids(ids) => count(&chat.decode(ids, true)?),
    })
}

/// The report in a line.
pub(super) fn in_words(report: &AccuracyReport) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::rows::{Origin, Unit};
    use crate::model::build::Values;
    use crate::model::init::Random;
    use crate::pipeline::embedded;
    use crate::text::{Message, Prompt};
    use burn::tensor::Device;

    /// The model inside the binary under a random head: it ranks by whatever it is shown.
    fn model() -> Model {
        let device = Device::flex();
        let model = Model::load(&embedded::model().expect("unpacked"), &device).expect("loaded");
        let model = model.with_score_head(Key::new(5), &device).expect("a head");
        let spec = (*model.decoder.spec).clone();
        let mut random = Random::new(Key::new(6), 1.0);
        let values = random.values("score.weight", &[1, spec.hidden_size]);
        let decoder = model.decoder.clone();
        let decoder = decoder.with_score(spec, values.expect("values"), &device);
        Model { decoder, ..model }
    }

    fn row(chosen: Answer, rejected: Answer) -> Preference {
        Preference {
            id: "1".into(),
            prompt: Prompt::Chat(vec![Message::user("Tell me a story.")]),
            chosen,
            rejected,
            margin: None,
            subset: None,
            origin: Origin {
                file: Default::default(),
                line: 1,
                unit: Unit::Line,
            },
        }
    }

    /// Two answers that end in the same words differ in the turns before: the last turn alone is a tie.
    #[test]
    fn a_multi_turn_response_is_ranked_whole() {
        let model = model();
        let answer = |first: &str| {
            let end = [Message::user("And then?"), Message::assistant("The end.")];
            let turns = [vec![Message::assistant(first)], end.to_vec()];
            Answer::Chat(turns.concat())
        };
        let rows = [row(answer("A cat sat."), answer("No, I will not do that."))];
        let report = accuracy(&model, &rows, 512, 512).expect("ranked");
        assert_eq!((report.judge.pairs, report.judge.ties), (1, 0));
        // 10 + 9 + 8 characters against 23 + 9 + 8: the longer response is the rejected one.
        assert_eq!(report.length_only.accuracy, 0.0);
        let turned = [row(answer("No, I will not do that."), answer("A cat sat."))];
        let turned = accuracy(&model, &turned, 512, 512).expect("ranked");
        assert_eq!(report.judge.accuracy + turned.judge.accuracy, 1.0);
    }
}
