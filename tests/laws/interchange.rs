//! What duel writes, transformers, PEFT and TRL read with the same numbers, and the other way round.

use crate::tiny;
use burn::tensor::{Device, Tensor, TensorData};
use duel::data::Key;
use duel::model::files::config::HfConfig;
use duel::model::files::{StoreDtype, peft, write_model};
use duel::model::init::Random;
use duel::model::params::{Remap, is_adapter};
use duel::model::{Decoder, LoraShape, Model};
use duel::objective::{BradleyTerry, Example, Objective, Preference};
use duel::recipe::PairLoss;
use duel::text::{Answer, Prompt};
use duel::trie::{Sequence, Trie};
use serde_json::{Value, json};
use std::path::Path;

/// A Llama with biases, grouped queries and a head of its own.
fn model(path: &Path) -> Model {
    model_of(path, json!({"attention_bias": true}))
}

/// The same with other keys in its config.
fn model_of(path: &Path, keys: Value) -> Model {
    let chat = tiny::chat();
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": chat.vocab_size(),
        "hidden_size": 16,
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "initializer_range": 0.5,
        "tie_word_embeddings": false,
        "eos_token_id": 0,
    });
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    let spec = HfConfig::from_value(config.clone())
        .unwrap()
        .resolve()
        .unwrap();
    Model {
        decoder: tiny::decoder(&spec, 40),
        gated: None,
        chat,
        config,
        tokenizer: tiny::tokenizer(),
        path: path.to_owned(),
    }
}

fn lora() -> LoraShape {
    LoraShape {
        r: 3,
        alpha: 5.0,
        rank_stabilised: false,
        targets: ["q_proj", "o_proj", "gate_proj"].map(String::from).into(),
    }
}

/// An adapter whose second factor is no longer zero.
fn adapted(decoder: &Decoder) -> Decoder {
    struct Trained(u64);
    impl Remap for Trained {
        fn remap<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Tensor<D> {
            if !is_adapter(name) {
                return value;
            }
            self.0 += 1;
            let (shape, count) = (value.dims(), value.dims().iter().product::<usize>());
            let wave = (0..count).map(|i| (i as f32 * 1.7 + self.0 as f32).sin() * 0.4);
            let wave: Vec<f32> = wave.collect();
            Tensor::from_data(TensorData::new(wave, shape), &value.device())
        }
    }
    let mut fresh = Random::new(Key::new(2), 0.0);
    decoder
        .clone()
        .adapt(&lora(), &mut fresh)
        .unwrap()
        .remap(&mut Trained(0))
}

/// Everything that is written, and the decoders it was written from.
struct Written {
    folder: tempfile::TempDir,
    decoders: [(&'static str, Decoder); 6],
}

fn write() -> Written {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let language = model(&at("model"));
    let reward = || {
        model(&at("model"))
            .with_score_head(Key::new(41), &Device::flex())
            .unwrap()
    };
    let save = |model: &Model, name, decoder: &Decoder, lora: Option<&LoraShape>| {
        model
            .save(&at(name), decoder, lora, StoreDtype::F32)
            .unwrap();
    };
    // Norms on heads that are not as wide together as the model; a window shorter than the sequences.
    let qwen3 =
        json!({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 6});
    let mistral = json!({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 5});
    let qwen3 = model_of(&at("qwen3"), qwen3);
    let mistral = model_of(&at("mistral"), mistral);
    let adapter = adapted(&language.decoder);
    let reward_adapter = adapted(&reward().decoder);
    save(&language, "model", &language.decoder, None);
    save(&reward(), "reward", &reward().decoder, None);
    save(&language, "adapter", &adapter, Some(&lora()));
    save(&reward(), "reward-adapter", &reward_adapter, Some(&lora()));
    save(&qwen3, "qwen3", &qwen3.decoder, None);
    save(&mistral, "mistral", &mistral.decoder, None);
    let decoders = [
        ("model", language.decoder),
        ("reward", reward().decoder),
        ("adapter", adapter),
        ("reward-adapter", reward_adapter),
        ("qwen3", qwen3.decoder),
        ("mistral", mistral.decoder),
    ];
    Written { folder, decoders }
}

/// Ids from 2: neither the end marker nor the padding, which transformers looks for in reward models.
fn sequences() -> Vec<Vec<u32>> {
    let ids = |n: u32| (0..n).map(|i| 2 + (i * i * 31 + i * 7 + n) % 250).collect();
    [1, 7, 40].map(ids).into()
}

/// Log-probs of all tokens, or the rewards of a model that has a head for them.
fn scores(decoder: &Decoder) -> Vec<f64> {
    let rows: Vec<Sequence> = sequences()
        .iter()
        .map(|ids| Sequence::response(&[], ids))
        .collect();
    let trie = Trie::new(&rows);
    match decoder.score {
        Some(_) => tiny::numbers(decoder.rewards(&trie)),
        None => tiny::token_logps(decoder, &trie),
    }
}

fn load(path: &Path) -> Decoder {
    Model::load(path, &Device::flex()).unwrap().decoder
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit() {
    let written = write();
    for (name, decoder) in &written.decoders {
        let loaded = load(&written.folder.path().join(name));
        assert!(tiny::weights(&loaded) == tiny::weights(decoder), "{name}");
        assert_eq!(loaded.spec, decoder.spec, "{name}");
        assert_eq!(scores(&loaded), scores(decoder), "{name}");
    }
}

#[test]
fn a_whole_model_is_saved_with_its_adapters_merged() {
    let written = write();
    let adapter = Model::load(&written.folder.path().join("adapter"), &Device::flex()).unwrap();
    let merged = written.folder.path().join("merged");
    adapter
        .save(&merged, &adapter.decoder, None, StoreDtype::F32)
        .unwrap();
    let error = tiny::distance(&scores(&load(&merged)), &scores(&adapter.decoder));
    assert!(error < 1e-5, "{error}");
}

/// The head of a reward model goes on learning beside its adapter: the adapter's head is the one that counts.
#[test]
fn an_adapter_brings_its_own_score_head() {
    let written = write();
    let base = written.folder.path().join("reward");
    let mut reward = Model::load(&base, &Device::flex()).unwrap();
    let values: Vec<f32> = (0..16).map(|i| i as f32 / 8.0).collect();
    let spec = (*reward.decoder.spec).clone();
    let trained = adapted(&reward.decoder).with_score(spec, values, &Device::flex());
    reward.decoder = reward.decoder.clone().without_adapters();
    let path = written.folder.path().join("later");
    reward
        .save(&path, &trained, Some(&lora()), StoreDtype::F32)
        .unwrap();
    assert_eq!(scores(&load(&path)), scores(&trained));
}

/// An adapter is used from other folders than the one it was trained in.
#[test]
fn an_adapter_names_its_base_by_an_absolute_path() {
    let relative = model(Path::new("some/base"));
    let folder = tempfile::tempdir().unwrap();
    let adapter = adapted(&relative.decoder);
    relative
        .save(folder.path(), &adapter, Some(&lora()), StoreDtype::F32)
        .unwrap();
    let config = peft::read_config(folder.path()).unwrap();
    let base = std::env::current_dir().unwrap().join("some/base");
    let named = config.base_model_name_or_path.as_deref().map(Path::new);
    assert_eq!(named, Some(&*base), "{config:?}");
    assert_eq!(config.revision, None);
}

/// Stopping is the same after training, here and in transformers and vLLM.
#[test]
fn what_is_saved_ends_where_its_base_ends() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let base = model(&at("base"));
    base.save(&at("base"), &base.decoder, None, StoreDtype::F32)
        .unwrap();
    let settings = at("base").join("generation_config.json");
    std::fs::write(&settings, "{\"eos_token_id\": [0, 70],  \"top_p\": 0.9}").unwrap();
    let mut base = Model::load(&at("base"), &Device::flex()).unwrap();
    assert_eq!(base.chat.stop_ids(), [0, 70]);
    let adapter = adapted(&base.decoder);
    base.save(&at("adapter"), &adapter, Some(&lora()), StoreDtype::F32)
        .unwrap();
    base.save(&at("whole"), &adapter, None, StoreDtype::F32)
        .unwrap();
    for name in ["adapter", "whole"] {
        let written = std::fs::read(at(name).join("generation_config.json")).unwrap();
        assert!(written == std::fs::read(&settings).unwrap(), "{name}");
        let loaded = Model::load(&at(name), &Device::flex()).unwrap();
        assert_eq!(loaded.chat.stop_ids(), [0, 70], "{name}");
    }
    // As from a GGUF file: ids, but no file to copy.
    base.tokenizer.originals.clear();
    base.save(&at("made"), &adapter, None, StoreDtype::F32)
        .unwrap();
    let made = std::fs::read_to_string(at("made").join("generation_config.json")).unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made, json!({"eos_token_id": [0, 70]}));
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let written = write();
    let base = written.folder.path().join("model");
    let model = Model::load(&base, &Device::flex()).unwrap();
    let mut shorter = model.config.clone();
    shorter["num_hidden_layers"] = json!(1);
    let tensors = model
        .decoder
        .parameters()
        .into_iter()
        .filter(|p| !p.name.starts_with("model.layers.1."))
        .map(|p| {
            (
                p.name,
                p.shape,
                p.values.into_data().try_into_vec().unwrap(),
            )
        })
        .collect();
    write_model(&base, &shorter, tensors, StoreDtype::F32).unwrap();
    let error = Model::load(&written.folder.path().join("adapter"), &Device::flex())
        .err()
        .unwrap();
    let wanted =
        "the adapter's model.layers.1.mlp.gate_proj.lora_A belongs to no layer that duel adapts";
    assert!(error.to_string().contains(wanted), "{error}");
}

/// What a script of tests/golden prints about a folder: JSON, as its last line.
fn python(script: &str, folder: &Path) -> Value {
    let python = std::env::var("DUEL_PYTHON").expect("set DUEL_PYTHON to a python");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    // -P: statistics.py beside the script is not Python's.
    let output = std::process::Command::new(python)
        .arg("-P")
        .arg(golden.join(script))
        .arg(folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(said.trim().lines().last().unwrap_or_default()).unwrap()
}

#[test]
#[ignore = "needs Python with transformers and peft: set DUEL_PYTHON"]
fn transformers_and_peft_agree_both_ways() {
    let written = write();
    let folder = written.folder.path();
    std::fs::write(
        folder.join("sequences.json"),
        json!(sequences()).to_string(),
    )
    .unwrap();
    let found = python("check_interchange.py", folder);
    assert_eq!(found["eos"], 0);
    let agree = |name: &str, decoder: &Decoder| {
        let theirs: Vec<f64> = serde_json::from_value(found[name].clone()).unwrap();
        let error = tiny::distance(&scores(decoder), &theirs);
        assert!(error < 1e-4, "{name}: {error}");
    };
    for (name, decoder) in &written.decoders {
        agree(name, decoder);
    }
    for name in ["by-peft", "by-peft-reward", "by-transformers"] {
        agree(name, &load(&folder.join(name)));
    }
}

/// The mean loss of an objective over the examples, as an evaluation gives it.
fn mean_loss(objective: &mut dyn Objective, decoder: &Decoder, examples: &[Example]) -> f64 {
    let rows: Vec<&Example> = examples.iter().collect();
    let sequences: Vec<Sequence> = examples.iter().flat_map(|e| e.sequences.clone()).collect();
    objective.begin_step(&rows);
    let sum = objective.loss(decoder, &rows, &Trie::new(&sequences)).loss;
    tiny::numbers(sum)[0] / examples.len() as f64
}

/// TRL tokenises the same text by itself and evaluates both models.
#[test]
#[ignore = "needs Python with trl: set DUEL_PYTHON"]
fn trl_evaluates_the_same_losses() {
    let written = write();
    let [(_, base), (_, reward), (_, adapter), ..] = &written.decoders;
    let pairs = [
        ("Is it so?", " Yes, I think it is.", " No."),
        ("What rhymes?", " Cat and hat.", " Nothing at all rhymes."),
        ("Count: ", "one, two, three", "three"),
    ];
    let rows = pairs.map(|(p, c, r)| json!({"prompt": p, "chosen": c, "rejected": r}));
    let file = written.folder.path().join("pairs.json");
    std::fs::write(file, json!(rows).to_string()).unwrap();
    let found = python("check_trl.py", written.folder.path());

    let chat = tiny::chat();
    let examples: Vec<Example> = pairs
        .iter()
        .map(|(prompt, chosen, rejected)| {
            let answer = |text: &str| Answer::Text(text.to_owned());
            let prompt = Prompt::Text((*prompt).to_owned());
            let pair = chat.preference(&prompt, &answer(chosen), &answer(rejected));
            let pair = pair.unwrap();
            let sequence = |answer: &[u32]| Sequence::response(&pair.prompt, answer);
            let sequences = vec![sequence(&pair.chosen), sequence(&pair.rejected)];
            let reference = tiny::sequence_logps(base, &sequences).into_iter();
            Example {
                id: pair.prompt.len().to_string(),
                reference: reference.map(|logp| logp as f32).collect(),
                sequences,
                margin: None,
                labels: Vec::new(),
            }
        })
        .collect();
    let loss = PairLoss {
        beta: 0.5,
        ..PairLoss::default()
    };
    let mut bradley_terry = BradleyTerry {
        margin: false,
        center_rewards_coefficient: None,
    };
    let ours = [
        (
            "dpo",
            mean_loss(&mut Preference::new(loss), adapter, &examples),
        ),
        ("reward", mean_loss(&mut bradley_terry, reward, &examples)),
    ];
    for (name, ours) in ours {
        let theirs = found[name].as_f64().unwrap();
        assert!((ours - theirs).abs() < 1e-4, "{name}: {ours}, TRL {theirs}");
        // Neither is what a model that knows nothing gives.
        assert!(
            (theirs - std::f64::consts::LN_2).abs() > 1e-2,
            "{name}: {theirs}"
        );
    }
}
