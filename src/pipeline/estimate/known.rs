//! Models of common sizes, and what it takes to train them: an answer before there is a recipe.

use crate::model::DecoderSpec;
use crate::model::build::Kept;
use crate::model::files::config::HfConfig;
use crate::model::memory::{self, Batch};
use crate::pipeline::training::lora_shape;
use crate::recipe::Lora;
use duel_backends::ops::Operands;
use serde_json::json;

/// A model by its shape.
pub struct Known {
    /// Its size as it is spoken of.
    pub size: &'static str,
    /// A model of that size.
    pub example: &'static str,
    /// Its shape.
    pub spec: DecoderSpec,
}

/// A way to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// All weights, or an adapter of rank 16 over every linear layer.
    pub lora: bool,
    /// Blocks are computed again for the backward pass.
    pub recomputed: bool,
    /// AdamW's moments have 8 bits.
    pub packed: bool,
    /// The weights under the adapter have 4 bits, their tables 16.
    pub four_bits: bool,
}

impl Method {
    /// All of them: all weights, then an adapter, each with less memory than the one before.
    pub const ALL: [Self; 6] = [
        Self::new(false, false, false),
        Self::new(false, true, false),
        Self::new(false, true, true),
        Self::new(true, false, false),
        Self::new(true, true, false),
        Self {
            four_bits: true,
            ..Self::new(true, true, false)
        },
    ];

    const fn new(lora: bool, recomputed: bool, packed: bool) -> Self {
        Self {
            lora,
            recomputed,
            packed,
            four_bits: false,
        }
    }

    /// As a table names it.
    pub fn name(self) -> &'static str {
        if self.four_bits {
            return "QLoRA (load_in_4bit), gradient_checkpointing";
        }
        match (self.lora, self.recomputed, self.packed) {
            (false, false, _) => "all weights",
            (false, true, false) => "all weights, gradient_checkpointing",
            (false, true, true) => "all weights, gradient_checkpointing, adamw_8bit",
            (true, false, _) => "LoRA",
            (true, true, _) => "LoRA, gradient_checkpointing",
        }
    }
}

impl Known {
    /// Bytes at the peak of a DPO step on a graphics card: one pair, both rows of `max_length` tokens, half of them prompt.
    pub fn dpo_bytes(&self, method: Method, max_length: u64) -> u64 {
        let lora = lora_shape(&Lora::default());
        let batch = Batch {
            // The prompt once.
            tokens: max_length / 2 * 3,
            targets: max_length,
            accumulated: true,
            saved: false,
            recomputed: method.recomputed,
            packed: method.packed,
        };
        let lora = method.lora.then_some(&lora);
        let kept = Kept {
            operands: match method.four_bits {
                true => Operands::Bf16,
                false => Operands::F32,
            },
            frozen: method.lora,
            packed: method.four_bits,
        };
        memory::resident(memory::training(&self.spec, lora, batch, kept).peak)
    }
}

/// Qwen2.5 of 0.5 and 1.5, Llama 3.2 of 3 and Llama 3.1 of 8 billion parameters, as their configs have them.
pub fn known() -> Vec<Known> {
    let qwen = |hidden, inner, layers, heads, kv| {
        json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
            "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": 151_936,
            "max_position_embeddings": 32_768, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
            "tie_word_embeddings": true,
        })
    };
    let llama = |hidden, inner, layers, heads, tied| {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": 8, "head_dim": 128,
            "vocab_size": 128_256, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
            "rope_theta": 5e5, "tie_word_embeddings": tied,
        })
    };
    let sizes = [
        ("0.5B", "Qwen2.5-0.5B", qwen(896, 4864, 24, 14, 2)),
        ("1.5B", "Qwen2.5-1.5B", qwen(1536, 8960, 28, 12, 2)),
        ("3B", "Llama-3.2-3B", llama(3072, 8192, 28, 24, true)),
        ("8B", "Llama-3.1-8B", llama(4096, 14_336, 32, 32, false)),
    ];
    let resolved = sizes.into_iter().map(|(size, example, config)| {
        let config = HfConfig::from_value(config).and_then(|config| config.resolve());
        Known {
            size,
            example,
            spec: config.expect("a published config"),
        }
    });
    resolved.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_the_parameters_that_their_publishers_count() {
        let counts: Vec<u64> = known()
            .iter()
            .map(|known| memory::parameter_count(&known.spec))
            .collect();
        assert_eq!(
            counts,
            [494_032_768, 1_543_714_304, 3_212_749_824, 8_030_261_248]
        );
    }

    #[test]
    fn recomputing_and_packing_save_memory_with_and_without_an_adapter() {
        for known in known() {
            let bytes = Method::ALL.map(|method| known.dpo_bytes(method, 2048));
            let [whole, adapter] = [&bytes[..3], &bytes[3..]];
            assert!(
                whole.is_sorted_by(|a, b| a >= b),
                "{}: {bytes:?}",
                known.size
            );
            assert!(
                adapter.is_sorted_by(|a, b| a >= b),
                "{}: {bytes:?}",
                known.size
            );
        }
    }

    /// The weights of Llama-3.1-8B in 16 bits are the 16 GB that everybody knows; in 4 bits bitsandbytes' are 5.4 GB, with
    /// the tables in 16 bits and scales that take 4.127 bits a weight where these take 4.5.
    #[test]
    fn frozen_weights_take_what_their_format_takes() {
        let known = known();
        let spec = &known.iter().find(|known| known.size == "8B").unwrap().spec;
        let gigabytes = |packed| {
            let kept = Kept {
                operands: Operands::Bf16,
                frozen: true,
                packed,
            };
            (memory::weights(spec, kept) as f64 / 1e8).round() / 10.0
        };
        assert_eq!((gigabytes(false), gigabytes(true)), (16.1, 6.0));
        assert_eq!(
            memory::weights(spec, Kept::default()),
            4 * memory::parameter_count(spec)
        );
    }
}
