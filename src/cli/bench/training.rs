//! The training kinds: steps of the real trainer on rows in the file's order.

use super::{Bench, Global, Kind, setup, where_it_went};
use crate::data::{Key, has_pairs, load_preferences, load_sft};
use crate::error::{Error, Result};
use crate::model::memory::parameter_count;
use crate::model::{Decoder, LoraShape, Model, init::Random, params::is_adapter};
use crate::objective::{BradleyTerry, Example, Objective, Preference, Sft};
use crate::pipeline::{examples, pairs};
use crate::recipe::{Lora, LrSchedulerType, Overlong, PairLoss, Train};
use crate::trainer::{Fit, Plan, StepRecord};
use duel_backends::clock;
use duel_backends::device::matrix_rate;
use serde_json::{Value, json};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Trains `warm` steps and then the measured ones.
pub fn measure(bench: &Bench, mut model: Model, global: &Global) -> Result<Value> {
    let began = Instant::now();
    // A step of SFT learns as many sequences as a step over pairs reads.
    let per_step = match bench.kind {
        Kind::Sft => 2 * bench.pairs,
        _ => bench.pairs,
    };
    let device = setup::device(global)?;
    if bench.kind == Kind::Reward {
        model = model.with_score_head(Key::new(0), &device)?;
    }
    let mut rows = rows(bench, &model, (bench.steps + bench.warm) * per_step)?;
    let reference_seconds = match bench.kind {
        Kind::Dpo => refer(&model.decoder, &mut rows)? / (bench.steps + bench.warm) as f64,
        _ => 0.0,
    };
    let step_tokens: Vec<usize> = rows.chunks(per_step).skip(bench.warm).map(tokens).collect();
    let parameters = parameter_count(&model.decoder.spec);
    let decoder = trained(bench, model)?;
    let prepared = began.elapsed().as_secs_f64();
    let seen = run(bench, decoder, rows, per_step)?;
    let shares = clock::stop();
    let rate = matrix_rate(&device, bench.operands(&device));
    let alone: f64 = seen.seconds.iter().sum();
    let steps: Vec<f64> = seen.seconds.iter().map(|s| s + reference_seconds).collect();
    let total: f64 = steps.iter().sum();
    // 6 operations a parameter and token, 4 where the weights are frozen (Chowdhery et al. 2022, appendix B, without
    // attention), of the tokens that were computed.
    let per_token = if bench.lora { 4.0 } else { 6.0 } * parameters as f64;
    let reached = per_token * seen.tokens / alone;
    Ok(json!({
        "kind": format!("{:?}", bench.kind).to_lowercase(),
        "lora": bench.lora,
        "pairs": bench.pairs,
        "steps": bench.steps,
        "seconds_per_step": total / bench.steps as f64,
        "step_seconds": steps,
        // As a trainer without shared prefixes would count them.
        "step_tokens": step_tokens,
        "median_seconds": median(&steps),
        "fastest_seconds": steps.iter().copied().fold(f64::INFINITY, f64::min),
        "reference_seconds": reference_seconds,
        "rows_per_second": (bench.steps * per_step) as f64 / total,
        "pairs_per_second": (bench.kind != Kind::Sft).then(|| (bench.steps * bench.pairs) as f64 / total),
        "tokens_per_second": step_tokens.iter().sum::<usize>() as f64 / total,
        "trie_tokens_per_second": seen.tokens / total,
        "load_in_4bit": bench.load_in_4bit,
        // The least time of a step: that many at the rate that one matrix product reaches here.
        "share_of_bound": reached / rate,
        "model_gflops": reached * 1e-9,
        "model_flops_utilisation": bench.peak_tflops.map(|peak| reached * 1e-12 / peak),
        "matmul_gflops": rate * 1e-9,
        "where": where_it_went(shares, alone),
        "first_loss": seen.first_loss,
        "last_loss": seen.last_loss,
        "prepare_seconds": prepared,
        "first_step_unix": seen.first_step_unix,
    }))
}

/// `count` rows that fit whole, so that nothing is cut differently elsewhere.
fn rows(bench: &Bench, model: &Model, count: usize) -> Result<Vec<Example>> {
    let limits = examples::limits(bench.max_length, Overlong::Drop, model);
    let (files, options) = bench.source()?;
    let files = &files[..];
    let texts = bench.kind == Kind::Sft && !has_pairs(files, &options);
    let mut rows = match texts {
        true => examples::texts(&load_sft(files, &options)?.0, &model.chat, &limits)?.examples,
        false => {
            let (rows, _) = load_preferences(files, &options)?;
            let scored = bench.kind != Kind::Reward;
            examples::pairs(&rows, &model.chat, &limits, scored)?.examples
        }
    };
    if rows.len() < count {
        return Err(
            Error::data(format!("{} rows fit, {count} are needed", rows.len()))
                .hint("lower --steps or --pairs, or raise --max-length"),
        );
    }
    rows.truncate(count);
    if bench.kind == Kind::Sft && !texts {
        rows.iter_mut().for_each(learn_chosen);
    }
    Ok(rows)
}

/// The chosen sequence of a pair as a text that is learned whole.
fn learn_chosen(pair: &mut Example) {
    pair.sequences.truncate(1);
    for sequence in &mut pair.sequences {
        sequence.scored.fill(true);
    }
}

/// Fills in the reference's log-probs and returns the seconds that took.
fn refer(decoder: &Decoder, rows: &mut [Example]) -> Result<f64> {
    let began = Instant::now();
    let open: Vec<&Example> = rows.iter().collect();
    let mut all = Vec::new();
    // In batches of the default size, as every recipe has it: no gradient is kept.
    let budget = Train::default().max_tokens_per_batch;
    let mut keep = |_: &Example, logps| {
        all.push(logps);
        Ok(())
    };
    pairs::logps(decoder, &open, 0, budget, "reference", &mut keep)?;
    for (row, logps) in rows.iter_mut().zip(all) {
        row.reference = logps;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// The adapter that `--lora` trains.
pub fn adapter() -> LoraShape {
    LoraShape {
        r: 16,
        alpha: 32.0,
        rank_stabilised: false,
        targets: Lora::MODULES.map(str::to_owned).to_vec(),
    }
}

/// The decoder with the weights tracked that are to be trained.
fn trained(bench: &Bench, model: Model) -> Result<Decoder> {
    let mut decoder = model.decoder;
    if bench.lora {
        decoder = decoder.adapt(&adapter(), &mut Random::new(Key::new(0), 0.0))?;
    }
    let lora = bench.lora;
    Ok(decoder.tracked(|name| !lora || is_adapter(name) || name == "score.weight"))
}

/// What the measured steps came to.
struct Seen {
    /// Of each step.
    seconds: Vec<f64>,
    /// Tokens that were computed, shared prefixes once.
    tokens: f64,
    first_loss: f64,
    last_loss: f64,
    /// When the first step began: whoever started the process can tell how long it took to it.
    first_step_unix: f64,
}

fn run(bench: &Bench, decoder: Decoder, rows: Vec<Example>, per_step: usize) -> Result<Seen> {
    let train = Train {
        learning_rate: if bench.lora { 1e-5 } else { 1e-6 },
        lr_scheduler_type: LrSchedulerType::Constant,
        per_device_train_batch_size: per_step,
        gradient_accumulation_steps: 1,
        max_tokens_per_batch: usize::MAX,
        gradient_checkpointing: bench.gradient_checkpointing,
        ..Train::default()
    };
    let mut objective: Box<dyn Objective> = match bench.kind {
        Kind::Reward => Box::new(BradleyTerry {
            margin: false,
            center_rewards_coefficient: None,
        }),
        Kind::Sft => Box::new(Sft),
        _ => Box::new(Preference::new(PairLoss::default())),
    };
    let mut first_step_unix = f64::NAN;
    let (mut seconds, mut losses, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    let of = |record: &StepRecord, name| record.get(name).unwrap_or(f64::NAN);
    Fit {
        stage: "bench",
        objective: &mut *objective,
        examples: &in_file_order(rows, &train),
        held_out: &[],
        train: &train,
        key: Key::new(0),
        checkpoints: None,
        sink: &mut |record| {
            seconds.push(of(record, "seconds"));
            losses.push(of(record, "loss"));
            tokens.push(of(record, "num_tokens"));
            if record.step == 1 {
                first_step_unix = unix_now() - seconds[0];
            }
            if record.step == bench.warm {
                clock::start();
            }
            Ok(())
        },
        resumed: &mut |_| Ok(()),
    }
    .run(decoder)?;
    Ok(Seen {
        seconds: seconds.split_off(bench.warm),
        tokens: tokens[tokens.len() - 1] - tokens[bench.warm - 1],
        first_loss: losses[0],
        last_loss: losses[losses.len() - 1],
        first_step_unix,
    })
}

/// The tokens of all sequences.
fn tokens(rows: &[Example]) -> usize {
    let sequences = rows.iter().flat_map(|row| &row.sequences);
    sequences.map(|sequence| sequence.tokens.len()).sum()
}

/// The rows placed so that the trainer, which draws an order of its own, takes them as the file has them: another
/// trainer can be given the same steps.
fn in_file_order(rows: Vec<Example>, train: &Train) -> Vec<Example> {
    let plan = Plan::new(rows.len(), train, Key::new(0));
    let order = (0..plan.steps).flat_map(|step| plan.rows_of(step));
    let mut placed: Vec<(usize, Example)> = order.zip(rows).collect();
    placed.sort_unstable_by_key(|(at, _)| *at);
    placed.into_iter().map(|(_, row)| row).collect()
}

/// Seconds since 1970.
fn unix_now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(f64::NAN, |since| since.as_secs_f64())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
