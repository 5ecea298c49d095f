//! What a recipe will take before anything is loaded: memory and least time of every stage, from the models' configs
//! and the rows. Of a model that is not downloaded the config is fetched, which is small. What cannot be known yet (rows
//! that an earlier program writes) is named and no error; a model of which nothing is known is both.

mod base;
mod judges;
mod known;
mod reach;
mod scores;
mod sizes;
mod ways;

pub use known::{Known, Method, known};
pub use ways::{Way, gib, hint_of, memory_of, refuse_too_large, ways};

use super::context::operands;
use super::examples::{self, Load, Prepared};
use super::judges::TOKENS_PER_BATCH;
use crate::data::{HasPrompt, Key};
use crate::error::{Error, Result};
use crate::generate::precision;
use crate::model::build::Kept;
use crate::model::memory::{self, Batch, Drawing, Training};
use crate::model::{DecoderSpec, Head};
use crate::recipe::{Data, Dtype, History, Lora, Optim, Overlong, Recipe, Sampling, Train};
use crate::text::{Chat, Limits};
use crate::trainer::Plan;
use base::{Base, base};
use burn::tensor::Device;
use duel_backends::device::{computes, matrix_rate};
use duel_backends::ops::Operands;
use scores::Judged;
use serde::Serialize;
use sizes::{Sizes, sample};

/// What all stages take.
#[derive(Debug, Default, Serialize)]
pub struct Estimate {
    /// Most resident memory of all stages, bytes.
    pub peak_bytes: Option<u64>,
    /// Least seconds of all stages together; none where those of a stage are unknown.
    pub seconds: Option<f64>,
    /// What a matrix product of this device was just measured to reach.
    pub flops_per_second: Option<f64>,
    /// The stages that the recipe has, in their order.
    pub stages: Vec<StageEstimate>,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
    /// A model of which nothing is known: its stages are missing here. By whose it is.
    #[serde(skip)]
    pub unread: Option<(String, Error)>,
}

impl Estimate {
    /// What could not be found out but for the error that ends the command, which is said there.
    pub fn unknown_beside<'a>(
        &'a self,
        unread: Option<&(String, Error)>,
    ) -> impl Iterator<Item = &'a String> {
        let said = unread.map(|(whose, error)| format!("{whose}: {}", error.message));
        let unknown = self.unknown.iter();
        unknown.filter(move |line| said.as_ref() != Some(line))
    }
}

/// What one stage takes.
#[derive(Debug, Serialize)]
pub struct StageEstimate {
    /// Its name, as the run directory has it; `round-*` stands for all rounds.
    pub stage: String,
    /// Resident memory at its peak, bytes.
    pub peak_bytes: u64,
    /// What it takes whatever the rows are like, bytes: less than the peak where their lengths are guessed.
    #[serde(skip)]
    pub sure_bytes: u64,
    /// The terms, where it trains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// The terms, where it draws responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drawing: Option<Drawing>,
    /// Optimiser steps, where it trains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Trie tokens that it computes; for responses that nobody has drawn yet, as many as the limits allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Least seconds: the matrix products alone, at the measured rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The same of one optimiser step whose rows are all as long as they may be, where the rows are not there to be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_of_a_full_step: Option<f64>,
}

/// What `recipe` takes on `device`; without a device no time is estimated.
pub fn estimate(recipe: &Recipe, device: Option<&Device>) -> Estimate {
    let mut planner = Planner {
        recipe,
        rate: device.and_then(|device| {
            let operands = operands(recipe.model.dtype, device);
            computes(device, operands).then(|| matrix_rate(device, operands))
        }),
        on_card: ways::on_card(recipe),
        found: Estimate::default(),
    };
    planner.found.flops_per_second = planner.rate;
    match base(recipe) {
        Ok(base) => planner.stages(&base),
        Err(error) => planner.unread("the model's config", error),
    }
    let mut found = planner.found;
    found.peak_bytes = found.stages.iter().map(|stage| stage.peak_bytes).max();
    let seconds: Option<Vec<f64>> = found.stages.iter().map(|stage| stage.seconds).collect();
    let whole = found.unknown.is_empty();
    found.seconds = seconds
        .filter(|all| whole && !all.is_empty())
        .map(|all| all.iter().sum());
    found
}

/// Which rows a stage learns from.
struct Wanted<'a> {
    data: &'a Data,
    /// Held-out rows come from another file.
    own_eval: bool,
    max_length: usize,
    overlong: Overlong,
}

/// Makes examples of rows.
type Prepare<T> = dyn Fn(&[T], &Chat, &Limits) -> Result<Prepared>;

/// How a stage trains.
struct Fit<'a> {
    stage: &'a str,
    spec: &'a DecoderSpec,
    train: &'a Train,
    lora: Option<&'a Lora>,
    /// Passes over the rows without gradients before it (the reference's).
    references: f64,
    /// How often it happens (rounds).
    times: f64,
    /// The rows are not there yet: their sizes are the largest that the limits allow.
    guessed: bool,
    /// Tokens of the longest row that the limits allow.
    longest: usize,
}

struct Planner<'a> {
    recipe: &'a Recipe,
    rate: Option<f64>,
    on_card: bool,
    found: Estimate,
}

impl Planner<'_> {
    fn unknown(&mut self, what: &str, error: &Error) {
        self.found
            .unknown
            .push(format!("{what}: {}", error.message));
    }

    /// A model's config that cannot be read. Without a network every model has the one long reason, which is said once.
    fn unread(&mut self, what: &str, error: Error) {
        let network = |error: &Error| {
            let (hub, _) = error.message.split_once(" for ")?;
            hub.starts_with("cannot reach ").then(|| hub.to_owned())
        };
        let first = self.found.unread.as_ref();
        let first = first.and_then(|(_, first)| network(first));
        match network(&error).filter(|hub| first.as_ref() == Some(hub)) {
            Some(hub) => self.found.unknown.push(format!("{what}: {hub} either")),
            None => self.unknown(what, &error),
        }
        self.found.unread.get_or_insert((what.to_owned(), error));
    }

    fn seconds(&self, operations: f64) -> Option<f64> {
        self.rate.map(|rate| operations / rate)
    }

    /// How a model is kept that is only read, or trained by an adapter over it.
    fn kept(&self) -> Kept {
        let model = &self.recipe.model;
        Kept {
            operands: match (model.dtype, self.on_card) {
                (Dtype::F16, _) => Operands::F16,
                (Dtype::Bf16, _) | (Dtype::Auto, true) => Operands::Bf16,
                (Dtype::F32, _) | (Dtype::Auto, false) => Operands::F32,
            },
            frozen: true,
            packed: model.load_in_4bit,
        }
    }

    /// What a stage will show at its peak that holds `alive` bytes at once. A card sees nothing of the file that a model is
    /// read from.
    fn shown(&self, spec: &DecoderSpec, alive: u64, kept: Kept) -> u64 {
        let loading = if self.on_card {
            0
        } else {
            memory::loading(spec, kept)
        };
        memory::resident(alive).max(loading)
    }

    fn stages(&mut self, base: &Base) {
        self.sft(base);
        self.reward(base);
        self.multi_objective(base);
        self.pairwise(base);
        self.verifier(base);
        self.dpo(base);
        self.online(base);
        self.eval(base);
    }

    fn sft(&mut self, base: &Base) {
        let Some(table) = &self.recipe.sft else {
            return;
        };
        let wanted = Wanted {
            data: &table.data,
            own_eval: table.eval.is_some(),
            max_length: table.max_length,
            overlong: table.overlong,
        };
        let sizes = self.sizes(
            "sft",
            base,
            wanted,
            examples::conversations,
            &examples::texts,
        );
        let fit = Fit {
            stage: "sft",
            spec: &base.spec,
            train: &table.train,
            lora: table.lora.as_ref(),
            references: 0.0,
            times: 1.0,
            guessed: false,
            longest: table.max_length,
        };
        self.training(fit, sizes);
    }

    fn dpo(&mut self, base: &Base) {
        let Some(table) = &self.recipe.dpo else {
            return;
        };
        let wanted = Wanted {
            data: &table.data,
            own_eval: table.eval.is_some(),
            max_length: table.max_length,
            overlong: table.overlong,
        };
        let prepare =
            |rows: &[_], chat: &Chat, limits: &Limits| examples::pairs(rows, chat, limits, true);
        let sizes = self.sizes("dpo", base, wanted, examples::preferences, &prepare);
        let fit = Fit {
            stage: "dpo",
            spec: &base.spec,
            train: &table.train,
            lora: table.lora.as_ref(),
            references: f64::from(u8::from(table.loss.needs_reference())),
            times: 1.0,
            guessed: false,
            longest: 2 * table.max_length,
        };
        self.training(fit, sizes);
    }

    /// All rounds: responses as long as they may be, at most one pair a prompt.
    fn online(&mut self, base: &Base) {
        let Some(table) = &self.recipe.online else {
            return;
        };
        let (rounds, prompts) = (table.rounds as f64, table.prompts_per_round);
        let how = &table.generate;
        let prompt = self.prompt_length("online", base, &table.prompts, how, table.max_length);
        let drawn = how
            .num_generations
            .max(how.num_generations / 2 * (1 + table.best_of_n));
        let how = Sampling {
            num_generations: drawn,
            ..how.clone()
        };
        self.drawing(
            "round-*/responses",
            &base.spec,
            &how,
            Some(prompts),
            prompt,
            rounds,
        );
        let response = how
            .max_new_tokens
            .min(table.max_length.saturating_sub(prompt).max(1));
        let judged = Judged {
            prompts,
            prompt,
            responses: table.generate.num_generations,
            response,
        };
        self.scores(base, &table.judge, judged, rounds);
        let pairs = match table.history {
            History::Newest => prompts,
            History::Cumulative => prompts * table.rounds,
        };
        let sizes = Sizes {
            rows: pairs,
            tokens: vec![prompt + 2 * response],
            scored: (2 * response) as f64 / (prompt + 2 * response) as f64,
        };
        let fit = Fit {
            stage: "round-*/checkpoint",
            spec: &base.spec,
            train: &table.train,
            lora: table.lora.as_ref(),
            references: f64::from(u8::from(table.loss.needs_reference())),
            times: rounds,
            guessed: true,
            longest: 2 * table.max_length,
        };
        self.training(fit, Some(sizes));
    }

    /// The start's responses once and the policy's at every evaluation; the KL reads them with one model after the
    /// other.
    fn eval(&mut self, base: &Base) {
        let Some(table) = &self.recipe.eval else {
            return;
        };
        let prompt = self.prompt_length(
            "eval",
            base,
            &table.prompts,
            &table.generate,
            table.max_length,
        );
        let rows = match examples::here(&table.prompts).and_then(|data| examples::prompts(&data)) {
            Ok((rows, _)) => Some(rows.len()),
            // Why is named by `prompt_length`.
            Err(_) => None,
        };
        let rounds = match &self.recipe.online {
            Some(online) if table.every_round => online.rounds as f64,
            _ => 1.0,
        };
        self.drawing(
            "eval/responses",
            &base.spec,
            &table.generate,
            rows,
            prompt,
            1.0 + rounds,
        );
        let how = &table.generate;
        let sizes = rows.map(|rows| {
            let responses = (rows * how.num_generations * how.max_new_tokens) as u64;
            [(rows * prompt) as u64 + responses, responses]
        });
        self.scoring("eval", &base.spec, sizes, 2.0 * rounds, self.kept());
    }

    /// The mean length of a prompt in tokens; where the rows are not there yet, the longest that leaves room.
    fn prompt_length(
        &mut self,
        stage: &str,
        base: &Base,
        data: &Data,
        how: &Sampling,
        max_length: usize,
    ) -> usize {
        let room = max_length.saturating_sub(how.max_new_tokens).max(1);
        let rows = examples::here(data).and_then(|data| examples::prompts(&data));
        let lengths = rows.and_then(|(rows, _)| {
            let chat = base.chat()?;
            sample(&rows)
                .iter()
                .map(|row| Ok(chat.prompt(&row.prompt)?.len().min(room)))
                .collect::<Result<Vec<usize>>>()
        });
        match lengths {
            Ok(lengths) => lengths.iter().sum::<usize>() / lengths.len().max(1),
            Err(error) => {
                self.unknown(&format!("{stage}: the prompts' lengths"), &error);
                room
            }
        }
    }

    /// Reads and tokenises the rows of a stage; what stands in the way is noted.
    fn sizes<T: HasPrompt + Clone>(
        &mut self,
        stage: &str,
        base: &Base,
        wanted: Wanted,
        load: Load<T>,
        prepare: &Prepare<T>,
    ) -> Option<Sizes> {
        let seed = self.recipe.seed;
        let rows = examples::here(wanted.data).and_then(|data| load(&data));
        let found = rows.and_then(|(rows, _)| {
            let chat = base.chat()?;
            let eval = wanted.own_eval.then(Vec::new);
            let [rows, _] = examples::split(rows, eval, wanted.data, seed);
            let limits = examples::limits_of(wanted.max_length, wanted.overlong, chat, &base.spec);
            let sample = sample(&rows);
            Sizes::of(&prepare(&sample, chat, &limits)?, rows.len(), sample.len())
        });
        found
            .map_err(|error| self.unknown(&format!("{stage}: the rows"), &error))
            .ok()
    }

    /// A training stage; without rows its memory is that of full micro-batches.
    fn training(&mut self, fit: Fit, sizes: Option<Sizes>) {
        let Fit { spec, train, .. } = fit;
        let lora = fit.lora.map(super::training::lora_shape);
        let kept = match lora {
            Some(_) => self.kept(),
            None => Kept::default(),
        };
        let budget = train.max_tokens_per_batch as u64;
        let full = Batch {
            tokens: budget,
            targets: if spec.head == Head::Score { 0 } else { budget },
            accumulated: train.rows_per_step() > 1,
            saved: true,
            recomputed: train.gradient_checkpointing,
            packed: train.optim == Optim::Adamw8bit,
        };
        let plan = sizes
            .as_ref()
            .map(|sizes| Plan::new(sizes.rows, train, Key::new(self.recipe.seed)));
        let batch = match (&sizes, &plan) {
            (Some(sizes), Some(plan)) => sizes.largest(plan, train),
            _ => full,
        };
        let batch = Batch {
            // A graphics card writes its checkpoints out of the host's memory.
            saved: batch.saved && !self.on_card,
            ..batch
        };
        let memory = memory::training(spec, lora.as_ref(), batch, kept);
        let counted = sizes.as_ref().zip(plan.as_ref()).map(|(sizes, plan)| {
            let rows = plan.epoch(plan.steps) * sizes.rows as f64;
            let tokens = sizes.mean() * rows * fit.times;
            let once = sizes.mean() * sizes.rows as f64 * fit.times * fit.references;
            (tokens, tokens * sizes.scored, once, once * sizes.scored)
        });
        let (blocks, head) = (
            memory::block_matrices(spec) as f64,
            memory::head_matrix(spec) as f64,
        );
        // 2 operations a number forward, 2 for the gradient of the input, 2 for that of the weight; the head makes its
        // logits a second time. A frozen weight has no gradient.
        let (in_blocks, in_head) = if lora.is_some() {
            (4.0, 6.0)
        } else {
            (6.0, 8.0)
        };
        // Once more forward.
        let in_blocks = in_blocks + 2.0 * f64::from(u8::from(train.gradient_checkpointing));
        let trained =
            |tokens: f64, targets: f64| tokens * in_blocks * blocks + targets * in_head * head;
        let seconds = counted.and_then(|(tokens, targets, once, scored)| {
            let read = 2.0 * (once * blocks + scored * head);
            self.seconds(trained(tokens, targets) + read)
        });
        let of_a_full_step = || {
            let tokens = (train.rows_per_step() * fit.longest) as f64;
            let targets = if full.targets == 0 { 0.0 } else { tokens };
            self.seconds(trained(tokens, targets))
        };
        let seconds_of_a_full_step = match counted {
            Some(_) => None,
            None => of_a_full_step(),
        };
        self.found.stages.push(StageEstimate {
            stage: fit.stage.to_owned(),
            peak_bytes: self.shown(spec, memory.peak, kept),
            sure_bytes: match fit.guessed || sizes.is_none() {
                true => memory::resident(memory.start + memory.weights + memory.moments),
                false => memory::resident(memory.peak),
            },
            training: Some(memory),
            drawing: None,
            steps: plan.map(|plan| plan.steps),
            tokens: counted.map(|(tokens, ..)| tokens as u64),
            seconds,
            seconds_of_a_full_step,
        });
    }

    /// A stage that draws responses to `prompts` prompts of `length` tokens, `times` times; where nobody knows how many, its memory
    /// is that of full batches.
    fn drawing(
        &mut self,
        stage: &str,
        spec: &DecoderSpec,
        how: &Sampling,
        prompts: Option<usize>,
        length: usize,
        times: f64,
    ) {
        let k = how.num_generations;
        let one = length + k * how.max_new_tokens;
        let most = prompts.unwrap_or(usize::MAX).max(1);
        let together = (how.max_tokens_per_batch / one.max(1)).clamp(1, most);
        let kept = self.kept();
        let mut bytes_per_weight = precision(how.dtype).bytes_per_weight();
        if self.on_card {
            // A card keeps them as its products read them.
            bytes_per_weight = kept.operands.bytes() as f64;
        }
        let (rows, live) = ((together * one) as u64, (together * k) as u64);
        let memory = memory::drawing(spec, rows, live, bytes_per_weight, kept);
        let count = prompts.unwrap_or(0) as f64 * times;
        let drawn = count * (k * how.max_new_tokens) as f64;
        let tokens = count * length as f64 + drawn;
        let operations = 2.0
            * (tokens * memory::block_matrices(spec) as f64
                + drawn * memory::head_matrix(spec) as f64);
        self.found.stages.push(StageEstimate {
            stage: stage.to_owned(),
            peak_bytes: self.shown(spec, memory.peak, kept),
            sure_bytes: memory::resident(memory.weights + memory.served),
            training: None,
            drawing: Some(memory),
            steps: None,
            tokens: prompts.map(|_| tokens as u64),
            seconds: prompts.and_then(|_| self.seconds(operations)),
            seconds_of_a_full_step: None,
        });
    }

    /// A stage that scores `[tokens, targets]`, the targets under the head, `times` times; none where nobody knows how many: then it
    /// has full batches and takes no known time.
    fn scoring(
        &mut self,
        stage: &str,
        spec: &DecoderSpec,
        sizes: Option<[u64; 2]>,
        times: f64,
        kept: Kept,
    ) {
        let [tokens, targets] = sizes.unwrap_or([TOKENS_PER_BATCH as u64, 0]);
        let at_once = tokens.min(TOKENS_PER_BATCH as u64);
        let batch = Batch {
            tokens: at_once,
            targets: targets.min(at_once),
            ..Batch::default()
        };
        let products = tokens as f64 * memory::block_matrices(spec) as f64
            + targets as f64 * memory::head_matrix(spec) as f64;
        self.found.stages.push(StageEstimate {
            stage: stage.to_owned(),
            peak_bytes: self.shown(spec, memory::scoring(spec, batch, kept), kept),
            sure_bytes: memory::resident(memory::scoring(spec, Batch::default(), kept)),
            training: None,
            drawing: None,
            steps: None,
            tokens: sizes.map(|_| (tokens as f64 * times) as u64),
            seconds: sizes.and_then(|_| self.seconds(2.0 * products * times)),
            seconds_of_a_full_step: None,
        });
    }
}

/// The decoder as a reward model.
fn scored(spec: &DecoderSpec) -> DecoderSpec {
    DecoderSpec {
        head: Head::Score,
        ..spec.clone()
    }
}
