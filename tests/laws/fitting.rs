//! A training small enough for a test: rows, objectives, and a fit that can crash.

use crate::tiny;
use duel::data::Key;
use duel::model::build::Values;
use duel::model::init::Random;
use duel::model::{Decoder, DecoderSpec, Head, LoraShape};
use duel::objective::{BradleyTerry, Example, Objective, Preference};
use duel::recipe::loss::LossType;
use duel::recipe::{LrSchedulerType, PairLoss, Train};
use duel::trainer::{Checkpoints, Fit, StepRecord};
use duel::trie::{Sequence, Trie};
use rand::RngExt;
use std::collections::BTreeMap;
use std::path::Path;

/// Pairs of random tokens with prompts that come in twos.
pub fn pairs(count: usize) -> Vec<Example> {
    let ids = |key: Key, count: usize| -> Vec<u32> {
        let mut random = key.rng();
        (0..count).map(|_| random.random_range(0..24)).collect()
    };
    let pair = |i: usize| {
        let key = Key::new(17).fold_index(i as u64);
        let prompt = ids(
            Key::new(17).fold("prompt").fold_index(i as u64 / 2),
            2 + i / 2 % 5,
        );
        let side = |name, more: usize| {
            Sequence::response(&prompt, &ids(key.fold(name), 1 + (i + more) % 6))
        };
        Example {
            id: format!("row-{i}"),
            sequences: vec![side("chosen", 0), side("rejected", 2)],
            reference: vec![-9.0 - i as f32, -11.0],
            margin: Some(0.25 * i as f32),
            labels: Vec::new(),
        }
    };
    (0..count).map(pair).collect()
}

/// Eight rows a step at a constant rate. The large epsilon of AdamW keeps entries whose gradient is zero
/// but for rounding from being moved by the whole learning rate.
pub fn train(steps: usize) -> Train {
    Train {
        learning_rate: 3e-3,
        lr_scheduler_type: LrSchedulerType::Constant,
        max_steps: Some(steps),
        per_device_train_batch_size: 8,
        gradient_accumulation_steps: 1,
        weight_decay: 0.01,
        adam_epsilon: 1e-4,
        save_steps: 1_000_000,
        ..Train::default()
    }
}

/// A loss over pairs; BCO's remembers its rewards.
pub fn dpo(loss_type: LossType) -> Box<dyn Objective> {
    let config = PairLoss {
        loss_type: vec![loss_type],
        bco_running_mean: true,
        ..PairLoss::default()
    };
    Box::new(Preference::new(config))
}

/// A random decoder with an output head.
pub fn language_model(seed: u64) -> Decoder {
    tiny::decoder(&tiny::spec(), seed)
}

/// A random decoder with a score head.
pub fn reward_model(seed: u64) -> Decoder {
    let spec = DecoderSpec {
        head: Head::Score,
        ..tiny::spec()
    };
    tiny::decoder(&spec, seed)
}

/// The same with a second score head.
pub fn two_heads(seed: u64) -> Decoder {
    let decoder = reward_model(seed);
    let mut random = Random::new(Key::new(seed + 1), 0.2);
    let values = random.values("score.weight", &[1, decoder.spec.hidden_size]);
    decoder.with_head_more(values.unwrap())
}

/// Bradley-Terry with all its options.
pub fn bradley_terry() -> Box<dyn Objective> {
    Box::new(BradleyTerry {
        margin: true,
        center_rewards_coefficient: Some(0.01),
    })
}

/// Step, name and bits of a metric.
pub type Number = (usize, String, u64);

/// A training with what it told on the way.
pub struct Trained {
    pub decoder: duel::Result<Decoder>,
    pub records: Vec<StepRecord>,
    pub resumed: Vec<usize>,
}

impl Trained {
    /// The trained weights, bit for bit.
    pub fn weights(&self) -> BTreeMap<String, Vec<u32>> {
        tiny::weights(self.decoder.as_ref().unwrap())
    }

    /// Everything but the seconds, bit for bit, of the steps after `step`.
    pub fn numbers(&self, step: usize) -> Vec<Number> {
        let records = self.records.iter().filter(|record| record.step > step);
        records
            .flat_map(|r| {
                r.values
                    .iter()
                    .map(|(name, value)| (r.step, name.clone(), value.to_bits()))
            })
            .filter(|(_, name, _)| name != "seconds")
            .collect()
    }

    /// A metric of every step.
    pub fn curve(&self, name: &str) -> Vec<f64> {
        let of = |record: &StepRecord| record.get(name).unwrap();
        self.records.iter().map(of).collect()
    }

    /// A metric of the last step.
    pub fn last(&self, name: &str) -> f64 {
        self.records.last().unwrap().get(name).unwrap()
    }

    /// A metric of the first step.
    pub fn first(&self, name: &str) -> f64 {
        self.records[0].get(name).unwrap()
    }
}

/// Trains a tracked decoder; stops like a crash before the record of step `crash`.
pub fn fit(
    decoder: Decoder,
    mut objective: Box<dyn Objective>,
    examples: &[Example],
    train: &Train,
    checkpoints: Option<(&Path, usize)>,
) -> Trained {
    let (mut records, mut resumed) = (Vec::new(), Vec::new());
    let crash = checkpoints.map_or(usize::MAX, |(_, crash)| crash);
    let mut sink = |record: &StepRecord| {
        if record.step == crash {
            return Err(duel::Error::internal("the power is gone"));
        }
        records.push(record.clone());
        Ok(())
    };
    let decoder = Fit {
        stage: "test",
        objective: &mut *objective,
        examples,
        held_out: &examples[..2],
        train,
        key: Key::new(4),
        checkpoints: checkpoints.map(|(folder, _)| Checkpoints::new(folder.to_owned(), 2)),
        sink: &mut sink,
        resumed: &mut |step| {
            resumed.push(step);
            Ok(())
        },
    }
    .run(decoder);
    Trained {
        decoder,
        records,
        resumed,
    }
}

/// Every parameter is trained.
pub fn all(decoder: &Decoder) -> Decoder {
    decoder.clone().tracked(|_| true)
}

/// Attention and MLP, but not all of either.
pub fn lora() -> LoraShape {
    LoraShape {
        r: 3,
        alpha: 6.0,
        rank_stabilised: true,
        targets: ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
            .map(String::from)
            .into(),
    }
}

/// With a fresh adapter.
pub fn adapted(decoder: &Decoder) -> Decoder {
    decoder
        .clone()
        .adapt(&lora(), &mut Random::new(Key::new(2), 0.0))
        .unwrap()
}

/// All weights.
pub fn values(decoder: &Decoder) -> tiny::Named {
    let parameters = decoder.parameters().into_iter();
    parameters
        .map(|p| (p.name, tiny::numbers(p.values)))
        .collect()
}

/// The largest difference of any weight.
pub fn apart(a: &Decoder, b: &Decoder) -> f64 {
    let (a, b) = (values(a), values(b));
    assert!(a.keys().eq(b.keys()));
    a.iter()
        .map(|(name, a)| tiny::distance(a, &b[name]))
        .fold(0.0, f64::max)
}

/// Log-probs of all scored tokens.
pub fn logps(decoder: &Decoder, rows: &[Example]) -> Vec<f64> {
    let sequences: Vec<Sequence> = rows.iter().flat_map(|row| row.sequences.clone()).collect();
    tiny::token_logps(decoder, &Trie::new(&sequences))
}
