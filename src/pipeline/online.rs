//! Online iterative DPO ("RLHF Workflow", algorithm 1): each round draws responses from the newest policy, has
//! them judged, makes pairs of them and trains on those.
//!
//! `prompts -> responses -> scores -> pairs -> reference -> checkpoint -> eval`: files are the interface, every
//! arrow is a stage that is skipped when it is done, and nothing flows back.

use super::context::{Context, Policy};
use super::drift;
use super::evaluate::{Drawn, Evaluation, audit};
use super::examples::{self, Prepared};
use super::explore;
use super::judges::{Own, Seat, prompts_for};
use super::pairs::{self, PairRow};
use super::preference::guess_is_ln2;
use super::responses::{self, GroupRow};
use super::training::{Training, tell_of_plain_prompts, trained};
use crate::data::{Preference as PreferenceRow, PromptRow};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::objective::Preference;
use crate::recipe::{History, Online, Reference, hash_of};
use crate::run::{
    Journal, RoundLayout, StageDir, read_json, read_rows, stage_key, write_json, write_rows,
};
use crate::text::Limits;
use blake3::Hash;
use rand::seq::SliceRandom;

/// Runs all rounds, beginning with `start`; `own` are the judges that the run trained.
///
/// # Errors
/// What is wrong with the data, or whatever a stage reports.
pub fn online(cx: &mut Context, start: &Policy, own: &Own) -> Result<Policy> {
    let Some(table) = cx.recipe.online.clone() else {
        return Ok(start.clone());
    };
    let judge = Seat::of(&table.judge, own)?;
    let prompts = order(cx, &table)?;
    let fixed = fixed(cx, &table)?;
    let mut evaluation = Evaluation::new(cx, start, own)?;
    let mut policy = start.clone();
    let mut history: Vec<PairRow> = Vec::new();
    for number in 1..=table.rounds {
        let round = cx.run.layout().round(number);
        let asked = ask(cx, &round, &table, &prompts)?;
        let answered = respond(cx, &round, &table, &asked, &policy, &judge)?;
        let scored = score(cx, &round, &table, &answered, &judge)?;
        let audit = audit(&read_rows::<GroupRow>(&round.scores())?)?;
        let kl = drifted(cx, &round, &table, &answered, [&policy, start])?;
        evaluation.sampled(cx, &round, &audit, kl)?;
        let paired = pair(cx, &round, &table, &scored)?;
        let rows = read_rows::<PairRow>(&round.pairs())?;
        match table.history {
            History::Newest => history = rows,
            History::Cumulative => history.extend(rows),
        }
        let begin = if table.warm_start { &policy } else { start };
        let reference = match table.reference {
            Reference::Sft => start,
            Reference::Previous => &policy,
        };
        let (begin, reference) = (begin.clone(), reference.clone());
        policy = train(
            cx,
            &round,
            &table,
            Pairs {
                drawn: &history,
                fixed: &fixed,
            },
            &begin,
            &reference,
            paired.digest(),
        )?;
        let drawn = Drawn {
            audit,
            kl,
            pairs: history.len(),
        };
        evaluation.round(cx, &round, &policy, &drawn, number == table.rounds)?;
    }
    Ok(policy)
}

/// All prompts in an order drawn from the seed.
fn order(cx: &Context, table: &Online) -> Result<Vec<PromptRow>> {
    let (mut rows, report) = prompts_for(table.judge.rule.as_ref())(&table.prompts)?;
    examples::tell(cx, "online", &report)?;
    rows.shuffle(&mut cx.key.fold("prompts").rng());
    if let Some(warning) = shortage(rows.len(), table.rounds, table.prompts_per_round) {
        tracing::warn!("online: {warning}");
    }
    Ok(rows)
}

/// What too few prompts lead to: a round asks each at most once, and the next one goes on with the first again.
fn shortage(prompts: usize, rounds: usize, each: usize) -> Option<String> {
    if prompts >= rounds * each {
        return None;
    }
    let come = match prompts < each {
        true => format!("every round asks all {prompts} of them, and no more"),
        false => format!("from round {} on some are asked again", prompts / each + 1),
    };
    Some(format!(
        "{prompts} prompts for {rounds} rounds of {each}: {come}"
    ))
}

/// The pairs of the fixed file that every round trains on, too.
fn fixed(cx: &Context, table: &Online) -> Result<Vec<PreferenceRow>> {
    let Some(offline) = &table.offline else {
        return Ok(Vec::new());
    };
    let (rows, report) = examples::preferences(offline)?;
    examples::tell(cx, "online-offline", &report)?;
    Ok(rows)
}

/// What a round trains on.
#[derive(Clone, Copy)]
struct Pairs<'a> {
    /// Of the run's own responses.
    drawn: &'a [PairRow],
    /// Of a file.
    fixed: &'a [PreferenceRow],
}

/// `prompts.jsonl`: the round's share of the prompts.
fn ask(
    cx: &mut Context,
    round: &RoundLayout,
    table: &Online,
    prompts: &[PromptRow],
) -> Result<Vec<PromptRow>> {
    let first = (round.number() - 1) * table.prompts_per_round;
    let taken: Vec<PromptRow> = (first..first + table.prompts_per_round)
        .map(|i| {
            let mut row = prompts[i % prompts.len()].clone();
            // The same prompt in a later round is another draw, and a row of its own.
            row.id = format!("{}@{}", row.id, round.number());
            row
        })
        .collect();
    let inputs = [examples::hash(&table.prompts)?, hash_of(&cx.recipe.seed)];
    let key = stage_key(
        &(table.prompts_per_round, round.number(), &table.prompts),
        &inputs,
    )?;
    let mut unique = std::collections::HashSet::new();
    let taken: Vec<PromptRow> = taken
        .into_iter()
        .filter(|row| unique.insert(row.id.clone()))
        .collect();
    cx.run.stage(&round.stage("prompts"), key)?.complete(|_| {
        let (mut journal, _) = Journal::<GroupRow>::open(&round.prompts())?;
        for row in &taken {
            if !journal.contains(&row.id) {
                journal.append(&responses::asked(row))?;
            }
        }
        journal.finish()
    })?;
    Ok(taken)
}

/// `responses.jsonl`: K samples a prompt from the newest policy.
fn respond(
    cx: &mut Context,
    round: &RoundLayout,
    table: &Online,
    asked: &[PromptRow],
    policy: &Policy,
    judge: &Seat,
) -> Result<StageDir> {
    let prompts: Vec<(&str, String)> = asked
        .iter()
        .map(|row| (row.id.as_str(), format!("{:?}", row.prompt)))
        .collect();
    let part = (
        hash_of(&table.generate).to_string(),
        table.best_of_n,
        table.max_length,
        prompts,
    );
    let mut inputs = vec![policy.digest, hash_of(&cx.recipe.seed)];
    if table.best_of_n > 1 {
        inputs.push(judge.digest());
    }
    let stage = cx
        .run
        .stage(&round.stage("responses"), stage_key(&part, &inputs)?)?;
    stage.complete(|_| {
        let model = policy.load(&cx.device, cx.frozen())?;
        tell_of_plain_prompts(cx, ["online", "online.prompts"], &model.chat, asked)?;
        let limits = limits(table, &model);
        explore::respond(cx, &model, asked, table, &limits, judge, round)
    })
}

/// `scores.jsonl`: what the judge gives each response.
fn score(
    cx: &mut Context,
    round: &RoundLayout,
    table: &Online,
    answered: &StageDir,
    judge: &Seat,
) -> Result<StageDir> {
    let key = stage_key(&table.max_length, &[answered.digest(), judge.digest()])?;
    cx.run.stage(&round.stage("scores"), key)?.complete(|_| {
        let rows = read_rows::<GroupRow>(&round.responses())?;
        judge
            .score(cx, &rows, table.max_length, &round.scores())
            .map(|_| ())
    })
}

/// `kl.json`: how far the policy that drew the responses is from the start, by the first response to each prompt.
fn drifted(
    cx: &mut Context,
    round: &RoundLayout,
    table: &Online,
    answered: &StageDir,
    [policy, start]: [&Policy; 2],
) -> Result<f64> {
    let inputs = [answered.digest(), policy.digest, start.digest];
    let key = stage_key(&table.max_length, &inputs)?;
    let file = round.kl();
    let stage = cx.run.measurement(&round.stage("kl"), key)?;
    stage.complete(|_| {
        let mut rows = read_rows::<GroupRow>(&round.responses())?;
        rows.iter_mut().for_each(|row| row.responses.truncate(1));
        let kl = drift::kl(cx, [policy, start], &rows, &|model| limits(table, model))?;
        write_json(&file, &kl)
    })?;
    Ok(read_json(&file)?.unwrap_or_default())
}

/// `pairs.jsonl`: at most one pair a prompt.
fn pair(
    cx: &mut Context,
    round: &RoundLayout,
    table: &Online,
    scored: &StageDir,
) -> Result<StageDir> {
    let key = stage_key(
        &hash_of(&table.pairs).to_string(),
        &[scored.digest(), hash_of(&cx.recipe.seed)],
    )?;
    let rule = pairs::rule(&table.pairs, cx.key.fold("pairs"));
    cx.run.stage(&round.stage("pairs"), key)?.complete(|_| {
        let rows = read_rows::<GroupRow>(&round.scores())?;
        let (found, counts) = pairs::choose(&rows, &rule)?;
        tracing::info!("round {}: {counts}", round.number());
        if found.is_empty() {
            return Err(Error::data(format!("round {} gave no pair: {counts}", round.number())).hint(
                "draw more responses (num_generations), raise the temperature, or lower min_margin",
            ));
        }
        write_rows(&round.pairs(), &found)
    })
}

/// `reference.jsonl` and `checkpoint/`: the reference's log-probs once, then DPO.
fn train(
    cx: &mut Context,
    round: &RoundLayout,
    table: &Online,
    rows: Pairs,
    begin: &Policy,
    reference: &Policy,
    paired: Hash,
) -> Result<Policy> {
    let part = (
        hash_of(&table.train).to_string(),
        hash_of(&table.loss).to_string(),
        hash_of(&table.lora).to_string(),
        table.max_length,
        rows.drawn.len(),
    );
    let mut inputs = vec![
        begin.digest,
        reference.digest,
        paired,
        hash_of(&cx.recipe.seed),
    ];
    if let Some(offline) = &table.offline {
        inputs.extend([examples::hash(offline)?, hash_of(offline)]);
    }
    let key = stage_key(&part, &inputs)?;
    let referred = cx
        .run
        .stage(&round.stage("reference"), key)?
        .complete(|_| {
            if !table.loss.needs_reference() {
                return write_rows::<PairRow>(&round.reference(), &[]);
            }
            let model = reference.load(&cx.device, cx.frozen())?;
            let mut prepared = prepare(table, rows, &model)?;
            refer(table, &model, &mut prepared, round)
        })?;
    let stage = cx.run.stage(
        &round.stage("checkpoint"),
        stage_key(&part, &[key, referred.digest()])?,
    )?;
    let out = round.checkpoint();
    let done = stage.complete(|stage| {
        let model = begin.load(&cx.device, cx.trained(table.lora.as_ref()))?;
        let mut prepared = prepare(table, rows, &model)?;
        if table.loss.needs_reference() {
            // Read back from the stage before; nothing is computed again.
            refer(table, &model, &mut prepared, round)?;
        }
        let training = Training {
            stage,
            out: &out,
            objective: &mut Preference::new(table.loss.clone()),
            guess_is_ln2: guess_is_ln2(&table.loss),
            prepared: &prepared,
            held_out: &[],
            train: &table.train,
            lora: table.lora.as_ref(),
            key: cx.key.fold("dpo").fold_index(round.number() as u64),
        };
        training.run(cx, model).map(|_| ())
    })?;
    Ok(trained(&done, &out))
}

/// The round's pairs, and those of a fixed file, as examples.
fn prepare(table: &Online, rows: Pairs, model: &Model) -> Result<Prepared> {
    let mut prepared = pairs::examples(rows.drawn, &model.chat, &limits(table, model))?;
    let limits = examples::limits(table.max_length, table.overlong, model);
    prepared.merge(examples::pairs(rows.fixed, &model.chat, &limits, true)?);
    prepared.not_empty("pair", table.max_length)
}

/// Fills in the reference's log-probs that `reference.jsonl` has, and computes the others with `model`.
fn refer(
    table: &Online,
    model: &Model,
    prepared: &mut Prepared,
    round: &RoundLayout,
) -> Result<()> {
    let budget = table.train.max_tokens_per_batch;
    let file = round.reference();
    pairs::reference(&model.decoder, &mut prepared.examples, budget, &file)
}

/// A prompt leaves room for the longest response.
fn limits(table: &Online, model: &Model) -> Limits {
    let room = table.generate.max_new_tokens;
    examples::limits_of_responses(table.max_length, table.overlong, room, model)
}

#[cfg(test)]
mod tests {
    use super::shortage;

    #[test]
    fn too_few_prompts_are_said_with_what_comes_of_it() {
        assert_eq!(shortage(6, 3, 2), None);
        let said = |prompts| shortage(prompts, 3, 2).expect("too few");
        assert!(said(5).ends_with("from round 3 on some are asked again"));
        assert!(said(4).ends_with("from round 3 on some are asked again"));
        assert!(said(1).ends_with("every round asks all 1 of them, and no more"));
    }
}
