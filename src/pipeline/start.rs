//! The model that a run begins with: one on disk or on the hub, the one inside the binary, or a new one.

use super::context::{Context, Policy};
use super::{embedded, examples};
use crate::error::{Error, Result};
use crate::model::build::Values;
use crate::model::files::{
    NamedTensor, StoreDtype, config::HfConfig, hub, parameters, write_model,
};
use crate::model::init::Random;
use crate::model::must_write;
use crate::recipe::{ModelSource, NewModel, VerifierKind};
use crate::run::stage_key;
use crate::text::{SftText, SpecialTokens, TokenizerFiles, train_bpe};
use serde_json::json;
use std::path::Path;

/// Finds or makes the model of `[model]`.
///
/// # Errors
/// A model that is not there, a reward model where the recipe trains one that writes, or a new one that cannot be
/// made.
pub fn start(cx: &mut Context) -> Result<Policy> {
    let model = cx.recipe.model.clone();
    let policy = match model.source() {
        Some(ModelSource::Quickstart) => Policy::at(&embedded::model()?),
        Some(ModelSource::Named(name)) => {
            Policy::at(&hub::resolve(name, model.revision.as_deref(), false)?)
        }
        Some(ModelSource::New(new)) => make(cx, new),
        None => Err(Error::user("the recipe names no model").hint("set model.model_name_or_path")),
    }?;
    let policy = policy
        .with_template(model.chat_template.as_deref())
        .kept_as(cx);
    let recipe = &cx.recipe;
    // A reward model may well be trained on; everything else needs a model that writes.
    let asks = |table: &crate::recipe::Verifier| {
        table.kind != VerifierKind::Scalar && table.model_name_or_path.is_none()
    };
    let answers = recipe.verifier.as_ref().is_some_and(asks)
        || recipe
            .pairwise
            .as_ref()
            .is_some_and(|table| table.model_name_or_path.is_none());
    if recipe.sft.is_some() || recipe.dpo.is_some() || recipe.online.is_some() || answers {
        must_write(&policy.path)?;
    }
    Ok(policy)
}

/// A small chat template: a line for each turn, and end-of-text after the assistant's.
const TEMPLATE: &str = "{% for message in messages %}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|reply|>' }}{% endif %}{% endfor %}";

/// Random weights and a tokenizer of their own, as the stage `start`.
fn make(cx: &mut Context, new: &NewModel) -> Result<Policy> {
    let table = cx.recipe.sft.clone().ok_or_else(|| {
        Error::user("a new model needs text to learn from").hint("add an [sft] table to the recipe")
    })?;
    let inputs = [
        examples::hash(&table.data)?,
        crate::recipe::hash_of(&cx.recipe.seed),
    ];
    let stage = cx.run.stage(
        "start",
        stage_key(&crate::recipe::hash_of(new).to_string(), &inputs)?,
    )?;
    let out = cx.run.layout().root().join("start/checkpoint");
    let key = cx.key.fold("new model");
    let done = stage.complete(|_| {
        let tokenizer = match &new.tokenizer {
            Some(folder) => TokenizerFiles::read(Path::new(folder))?,
            None => learn_tokenizer(&table.data, new.vocab_size)?,
        };
        let config = config(new);
        let spec = HfConfig::from_value(config.clone())?.resolve()?;
        let mut random = Random::new(key, new.initializer_range);
        let tensors: Vec<NamedTensor> = parameters(&spec)
            .into_iter()
            .map(|(name, shape)| {
                let values = random.values(&name, &shape)?;
                Ok((name, shape, values))
            })
            .collect::<Result<_>>()?;
        std::fs::create_dir_all(&out).map_err(|e| Error::io(&out, "create", e))?;
        tokenizer.write(&out)?;
        write_model(&out, &config, tensors, StoreDtype::F32)
    })?;
    Ok(Policy::of_stage(&done, out))
}

fn learn_tokenizer(data: &crate::recipe::Data, vocab_size: usize) -> Result<TokenizerFiles> {
    let (rows, _) = examples::conversations(data)?;
    let mut texts = Vec::new();
    for row in &rows {
        match &row.messages {
            SftText::Text(text) => texts.push(text.clone()),
            SftText::Completion(prompt, completion) => {
                texts.extend([prompt.clone(), completion.clone()])
            }
            SftText::Chat(turns) => texts.extend(turns.iter().map(|turn| turn.content.clone())),
            SftText::ChatCompletion(before, turns) => {
                texts.extend(before.iter().chain(turns).map(|turn| turn.content.clone()));
            }
        }
    }
    let special = SpecialTokens {
        eos: "<|end|>".into(),
        bos: None,
        pad: Some("<|pad|>".into()),
        others: ["<|user|>", "<|system|>", "<|reply|>"]
            .map(String::from)
            .to_vec(),
    };
    let mut files = train_bpe(texts.iter().map(String::as_str), vocab_size, &special)?;
    files.chat_template = Some(TEMPLATE.into());
    Ok(files)
}

/// `config.json` of a new model.
pub(super) fn config(new: &NewModel) -> serde_json::Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": new.hidden_size,
        "intermediate_size": new.intermediate_size,
        "num_hidden_layers": new.num_hidden_layers,
        "num_attention_heads": new.num_attention_heads,
        "num_key_value_heads": new.num_key_value_heads,
        "head_dim": new.hidden_size / new.num_attention_heads,
        "vocab_size": new.vocab_size,
        "max_position_embeddings": new.max_position_embeddings,
        "rms_norm_eps": new.rms_norm_eps,
        "rope_theta": new.rope_theta,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": new.tie_word_embeddings,
        "initializer_range": new.initializer_range,
        "bos_token_id": null,
        "eos_token_id": 0,
        "pad_token_id": 1,
    })
}
