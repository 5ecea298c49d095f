//! A model small enough to be made in a test: random weights, a tokenizer of its own, a chat template.
#![allow(clippy::unwrap_used)]

use duel::data::Key;
use duel::model::build::Values;
use duel::model::files::config::HfConfig;
use duel::model::files::{StoreDtype, parameters, write_model};
use duel::model::init::Random;
use duel::text::{SpecialTokens, TokenizerFiles, train_bpe};
use serde_json::json;
use std::path::Path;

/// What the tokenizer is learned from: every word occurs twice, so that each becomes few tokens.
const TEXTS: [&str; 4] = [
    "Tell me a story about a cat. Once a cat sat on a mat.",
    "Tell me a story about a dog. Once a dog sat on a log.",
    "What is the colour of the sky? The sky is blue.",
    "What is the colour of the sea? The sea is blue and green.",
];

const TEMPLATE: &str = "{% for turn in messages %}<|{{ turn.role }}|>{{ turn.content }}<|end|>{% endfor %}\
                        {% if add_generation_prompt %}<|assistant|>{% endif %}";

/// Writes a Llama of 2 layers, hidden size 32 and about 300 tokens in Hugging Face layout; the same at every call.
/// `<|end|>` ends turns and texts.
pub fn model(dir: &Path) {
    let tokenizer = tokenizer();
    std::fs::create_dir_all(dir).unwrap();
    tokenizer.write(dir).unwrap();
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300, "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
        "eos_token_id": tokenizer.eos_token_ids[0],
    });
    let spec = HfConfig::from_value(config.clone())
        .unwrap()
        .resolve()
        .unwrap();
    let mut random = Random::new(Key::new(7), 0.1);
    let tensors = parameters(&spec).into_iter().map(|(name, shape)| {
        let values = random.values(&name, &shape).unwrap();
        (name, shape, values)
    });
    write_model(dir, &config, tensors.collect(), StoreDtype::F32).unwrap();
}

fn tokenizer() -> TokenizerFiles {
    let mark = |role: &str| format!("<|{role}|>");
    let special = SpecialTokens {
        eos: mark("end"),
        others: ["system", "user", "assistant"].map(mark).to_vec(),
        ..SpecialTokens::default()
    };
    let mut files = train_bpe(TEXTS.into_iter(), 300, &special).unwrap();
    files.chat_template = Some(TEMPLATE.to_owned());
    files
}
