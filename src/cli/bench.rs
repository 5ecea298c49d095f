//! `duel bench`: rate, peak memory and loss of a kind of work, for comparison with other trainers.

use super::{Global, numbers, output, setup};
use crate::data::{Key, LoadOptions, load_preferences};
use crate::error::{Error, Result};
use crate::generate::{Engine, Prompted};
use crate::judge::RewardJudge;
use crate::model::{LoraShape, Model, init::Random, params::is_adapter};
use crate::objective::{BradleyTerry, Example, Objective, Preference, Sft};
use crate::pipeline::estimate::matrix_rate;
use crate::pipeline::judges::score_with;
use crate::pipeline::responses::GroupRow;
use crate::pipeline::{examples, pairs};
use crate::recipe::{Lora, LrSchedulerType, Overlong, PairLoss, Sampling, Train, WeightDtype};
use crate::run::peak_rss_mib;
use crate::text::{Answer, Chat};
use crate::trainer::{Fit, Plan};
use clap::{Args, ValueEnum};
use duel_backends::clock;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// Rate, peak memory and loss of a kind of work: dpo, reward, sft, generate, judge
///
/// Example: duel bench dpo --model M --data pairs.jsonl --pairs 2 --steps 12 --json
#[derive(Debug, Args)]
pub struct Bench {
    /// The work
    kind: Kind,
    /// The model
    #[arg(long)]
    model: String,
    /// Preference pairs
    #[arg(long)]
    data: PathBuf,
    /// Pairs in an optimiser step
    #[arg(long, default_value_t = 2, value_parser = numbers::from_1)]
    pairs: usize,
    /// Steps that are measured
    #[arg(long, default_value_t = 12, value_parser = numbers::from_1)]
    steps: usize,
    /// Steps before that
    #[arg(long, default_value_t = 2, value_parser = numbers::from_1)]
    warm: usize,
    /// Only pairs whose two sequences fit
    #[arg(long, default_value_t = 256, value_parser = numbers::from_1)]
    max_length: usize,
    /// Train rank-16 adapters instead of all weights
    #[arg(long)]
    lora: bool,
    /// Responses a prompt (generate, judge)
    #[arg(short, long, default_value_t = 8, value_parser = numbers::from_1)]
    k: usize,
    /// Keep only what goes into each block and compute the blocks again for the backward pass
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Tokens a response (generate)
    #[arg(long, default_value_t = 128, value_parser = numbers::from_1)]
    max_new_tokens: usize,
    /// 0 is greedy (generate)
    #[arg(long, default_value_t = 1.0, value_parser = numbers::not_negative)]
    temperature: f64,
    /// What the weights are rounded to (generate)
    #[arg(long, default_value = "f32")]
    dtype: WeightDtype,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Dpo,
    Reward,
    Sft,
    Generate,
    Judge,
}

impl Bench {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<()> {
        let began = Instant::now();
        let model = setup::model(&self.model, global)?;
        let loaded = began.elapsed().as_secs_f64();
        if !matches!(self.kind, Kind::Reward | Kind::Judge) {
            model.must_write(&self.model)?;
        }
        let mut result = match self.kind {
            Kind::Generate => self.generate(&model)?,
            Kind::Judge => self.judge(model, global)?,
            _ => self.train(model, global)?,
        };
        result["load_seconds"] = json!(loaded);
        result["peak_rss_mib"] = json!(peak_rss_mib());
        match global.json {
            true => output::json(&result),
            false => {
                let rows = result.as_object().into_iter().flatten();
                let rows = rows
                    .map(|(key, value)| vec![key.clone(), value.to_string()])
                    .collect();
                output::print(&output::table(&["measure", "value"], rows))
            }
        }
    }

    /// Pairs whose both sequences fit, so that nothing is cut differently elsewhere.
    fn rows(&self, model: &Model, scored: bool, count: usize) -> Result<Vec<Example>> {
        let (rows, _) =
            load_preferences(std::slice::from_ref(&self.data), &LoadOptions::default())?;
        let limits = examples::limits(self.max_length, Overlong::Drop, model);
        let mut rows = examples::pairs(&rows, &model.chat, &limits, scored)?.examples;
        if rows.len() < count {
            return Err(
                Error::data(format!("{} pairs fit, {count} are needed", rows.len()))
                    .hint("lower --steps or --pairs, or raise --max-length"),
            );
        }
        rows.truncate(count);
        Ok(rows)
    }

    fn train(&self, model: Model, global: &Global) -> Result<Value> {
        // A step of SFT learns as many sequences as a step over pairs reads.
        let per_step = match self.kind {
            Kind::Sft => 2 * self.pairs,
            _ => self.pairs,
        };
        let count = (self.steps + self.warm) * per_step;
        let began = Instant::now();
        let mut rows = self.rows(&model, self.kind != Kind::Reward, count)?;
        let mut model = model;
        let mut objective: Box<dyn Objective> = match self.kind {
            Kind::Reward => {
                model = model.with_score_head(Key::new(0), &setup::device(global)?)?;
                Box::new(BradleyTerry {
                    margin: false,
                    center_rewards_coefficient: None,
                })
            }
            Kind::Sft => {
                rows = rows.into_iter().map(whole).collect();
                Box::new(Sft)
            }
            _ => Box::new(Preference::new(PairLoss::default())),
        };
        let mut reference_seconds = 0.0;
        if self.kind == Kind::Dpo {
            let started = Instant::now();
            let open: Vec<&Example> = rows.iter().collect();
            let mut all = Vec::new();
            // In batches of the default size, as every recipe has it: no gradient is kept.
            let budget = Train::default().max_tokens_per_batch;
            pairs::logps(
                &model.decoder,
                &open,
                0,
                budget,
                "reference",
                &mut |_, logps| {
                    all.push(logps);
                    Ok(())
                },
            )?;
            reference_seconds = started.elapsed().as_secs_f64() / (self.steps + self.warm) as f64;
            for (row, logps) in rows.iter_mut().zip(all) {
                row.reference = logps;
            }
        }
        let mut decoder = model.decoder.clone();
        if self.lora {
            let shape = LoraShape {
                r: 16,
                alpha: 32.0,
                rank_stabilised: false,
                targets: Lora::MODULES.map(str::to_owned).to_vec(),
            };
            decoder = decoder.adapt(&shape, &mut Random::new(Key::new(0), 0.0))?;
        }
        let lora = self.lora;
        let decoder = decoder.tracked(|name| !lora || is_adapter(name) || name == "score.weight");
        let train = Train {
            learning_rate: if self.lora { 1e-5 } else { 1e-6 },
            lr_scheduler_type: LrSchedulerType::Constant,
            per_device_train_batch_size: per_step,
            gradient_accumulation_steps: 1,
            max_tokens_per_batch: usize::MAX,
            gradient_checkpointing: self.gradient_checkpointing,
            ..Train::default()
        };
        let lengths = |rows: &[Example]| -> usize {
            let sequences = rows.iter().flat_map(|row| &row.sequences);
            sequences.map(|sequence| sequence.tokens.len()).sum()
        };
        let step_tokens: Vec<usize> = rows.chunks(per_step).skip(self.warm).map(lengths).collect();
        let rows = in_file_order(rows, &train);
        let prepared = began.elapsed().as_secs_f64();
        let parameters = decoder.parameter_counts().0;
        let mut first_step_unix = f64::NAN;
        let mut seconds = Vec::new();
        let mut losses = Vec::new();
        let mut tokens = Vec::new();
        Fit {
            stage: "bench",
            objective: &mut *objective,
            examples: &rows,
            held_out: &[],
            train: &train,
            key: Key::new(0),
            checkpoints: None,
            sink: &mut |record| {
                seconds.push(record.get("seconds").unwrap_or(f64::NAN));
                losses.push(record.get("loss").unwrap_or(f64::NAN));
                tokens.push(record.get("num_tokens").unwrap_or(f64::NAN));
                if record.step == 1 {
                    first_step_unix = unix_now() - seconds[0];
                }
                if record.step == self.warm {
                    clock::start();
                }
                Ok(())
            },
            resumed: &mut |_| Ok(()),
        }
        .run(decoder)?;
        let shares = clock::stop();
        let rate = matrix_rate(&setup::device(global)?);
        let trained: f64 = seconds[self.warm..].iter().sum();
        let measured: Vec<f64> = seconds[self.warm..]
            .iter()
            .map(|s| s + reference_seconds)
            .collect();
        let total: f64 = measured.iter().sum();
        let seen = tokens[tokens.len() - 1] - tokens[self.warm - 1];
        Ok(json!({
            "kind": format!("{:?}", self.kind).to_lowercase(),
            "lora": self.lora,
            "pairs": self.pairs,
            "steps": self.steps,
            "seconds_per_step": total / self.steps as f64,
            "step_seconds": measured,
            // As a trainer without shared prefixes would count them.
            "step_tokens": step_tokens,
            "median_seconds": median(&measured),
            "fastest_seconds": measured.iter().copied().fold(f64::INFINITY, f64::min),
            "reference_seconds": reference_seconds,
            "rows_per_second": (self.steps * per_step) as f64 / total,
            "pairs_per_second": (self.kind != Kind::Sft).then(|| (self.steps * self.pairs) as f64 / total),
            "trie_tokens_per_second": seen / total,
            // The least time of a step: 6 flops a parameter and token at the rate that one matrix product reaches here.
            "share_of_bound": 6.0 * parameters as f64 * seen / rate / trained,
            "matmul_gflops": rate * 1e-9,
            "where": where_it_went(shares, trained),
            "first_loss": losses[0],
            "last_loss": losses[losses.len() - 1],
            "prepare_seconds": prepared,
            "first_step_unix": first_step_unix,
        }))
    }

    fn prompts(&self, model: &Model) -> Result<Vec<Prompted>> {
        let (rows, _) =
            load_preferences(std::slice::from_ref(&self.data), &LoadOptions::default())?;
        let mut prompts = Vec::new();
        for row in rows.iter().take(self.pairs) {
            prompts.push(Prompted {
                id: row.id.clone(),
                tokens: model.chat.prompt(&row.prompt)?,
            });
        }
        Ok(prompts)
    }

    fn generate(&self, model: &Model) -> Result<Value> {
        let how = Sampling {
            num_generations: self.k,
            max_new_tokens: self.max_new_tokens,
            temperature: vec![self.temperature],
            dtype: self.dtype,
            max_tokens_per_batch: usize::MAX,
            ..Sampling::default()
        };
        let chat = model.chat.clone().endless();
        let prompts = self.prompts(model)?;
        let engine = Engine::new(&model.decoder, &chat, &how);
        engine.generate(&prompts, Key::new(1), &mut |_, _| Ok(()))?;
        let began = Instant::now();
        let mut drawn = 0;
        clock::start();
        engine.generate(&prompts, Key::new(0), &mut |_, responses| {
            drawn += responses.iter().map(|r| r.tokens.len()).sum::<usize>();
            Ok(())
        })?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(json!({
            "kind": "generate",
            "dtype": how.dtype,
            "prompts": prompts.len(),
            "k": self.k,
            "tokens": drawn,
            "seconds": seconds,
            "tokens_per_second": drawn as f64 / seconds,
            "where": where_it_went(clock::stop(), seconds),
        }))
    }

    fn judge(&self, model: Model, global: &Global) -> Result<Value> {
        let (rows, _) =
            load_preferences(std::slice::from_ref(&self.data), &LoadOptions::default())?;
        let model = match model.decoder.score {
            Some(_) => model,
            None => model.with_score_head(Key::new(0), &setup::device(global)?)?,
        };
        let groups: Vec<GroupRow> = rows
            .iter()
            .take(self.pairs)
            .map(|row| {
                let chat = &model.chat;
                let both = [words(&row.chosen, chat)?, words(&row.rejected, chat)?];
                let response = |i: usize| format!("{} ({i})", both[i % 2].trim());
                Ok(GroupRow {
                    id: row.id.clone(),
                    prompt: (&row.prompt).into(),
                    responses: (0..self.k).map(response).collect(),
                    finish: Vec::new(),
                    tokens: Vec::new(),
                    rewards: Vec::new(),
                })
            })
            .collect::<Result<_>>()?;
        let mut judge = RewardJudge::new(&model, 2048, 4096)?;
        score_with(&mut judge, groups[..1].to_vec(), &mut |_| Ok(()))?;
        let began = Instant::now();
        let mut judged = 0;
        score_with(&mut judge, groups, &mut |row| {
            judged += row.rewards.len();
            Ok(())
        })?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(json!({
            "kind": "judge",
            "responses": judged,
            "seconds": seconds,
            "responses_per_second": judged as f64 / seconds,
        }))
    }
}

/// Seconds since 1970: whoever started the process can tell how long it took to its first step.
fn unix_now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(f64::NAN, |since| since.as_secs_f64())
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

/// The chosen sequence of a pair as a text that is learned whole.
fn whole(mut pair: Example) -> Example {
    pair.sequences.truncate(1);
    for sequence in &mut pair.sequences {
        sequence.scored.fill(true);
    }
    pair
}

/// The last words of a response.
fn words(answer: &Answer, chat: &Chat) -> Result<String> {
    match answer {
        Answer::Chat(turns) => Ok(turns.last().map_or_else(String::new, |t| t.content.clone())),
        Answer::Text(text) => Ok(text.clone()),
        Answer::Ids(ids) => chat.decode(ids, true),
    }
}

/// Shares of the measured training time by kind of work.
fn where_it_went(kinds: [(&'static str, f64); clock::KINDS.len()], total: f64) -> Value {
    let known: f64 = kinds.iter().map(|(_, seconds)| seconds).sum();
    let rest = ("everything else", total - known);
    let rounded = |seconds: f64| (1000.0 * seconds / total).round() / 1000.0;
    let shares = kinds.into_iter().chain([rest]);
    Value::Object(
        shares
            .map(|(name, seconds)| (name.to_owned(), rounded(seconds).into()))
            .collect(),
    )
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
