//! The parameters of a decoder by their Hugging Face names: the contract between the model and its files.

use crate::model::spec::{DecoderSpec, Head};

/// Name and shape of every parameter that `spec` has, in the order of the forward pass.
///
/// Linear weights are `[out, in]`. A tied output head is not a parameter of its own.
pub fn parameters(spec: &DecoderSpec) -> Vec<(String, Vec<usize>)> {
    let hidden = spec.hidden_size;
    let mut list = vec![(
        "model.embed_tokens.weight".to_string(),
        vec![spec.vocab_size, hidden],
    )];
    for layer in 0..spec.num_hidden_layers {
        block(spec, &format!("model.layers.{layer}"), &mut list);
    }
    list.push(("model.norm.weight".into(), vec![hidden]));
    match spec.head {
        Head::Score => list.push(("score.weight".into(), vec![1, hidden])),
        Head::LanguageModel if !spec.tie_word_embeddings => {
            list.push(("lm_head.weight".into(), vec![spec.vocab_size, hidden]));
        }
        // The sizes of a gate stand in its own part of the config.
        Head::LanguageModel | Head::Gated => {}
    }
    list
}

fn block(spec: &DecoderSpec, prefix: &str, list: &mut Vec<(String, Vec<usize>)>) {
    let hidden = spec.hidden_size;
    let queries = spec.num_attention_heads * spec.head_dim;
    let keys = spec.num_key_value_heads * spec.head_dim;
    let mut add = |name: String, shape: Vec<usize>| list.push((format!("{prefix}.{name}"), shape));
    let mut linear = |module: &str, output: usize, input: usize, bias: bool| {
        add(format!("{module}.weight"), vec![output, input]);
        if bias {
            add(format!("{module}.bias"), vec![output]);
        }
    };
    linear("self_attn.q_proj", queries, hidden, spec.qkv_bias);
    linear("self_attn.k_proj", keys, hidden, spec.qkv_bias);
    linear("self_attn.v_proj", keys, hidden, spec.qkv_bias);
    linear("self_attn.o_proj", hidden, queries, spec.o_bias);
    linear(
        "mlp.gate_proj",
        spec.intermediate_size,
        hidden,
        spec.mlp_bias,
    );
    linear("mlp.up_proj", spec.intermediate_size, hidden, spec.mlp_bias);
    linear(
        "mlp.down_proj",
        hidden,
        spec.intermediate_size,
        spec.mlp_bias,
    );
    add("input_layernorm.weight".into(), vec![hidden]);
    add("post_attention_layernorm.weight".into(), vec![hidden]);
    if spec.post_norms {
        for side in ["pre", "post"] {
            add(format!("{side}_feedforward_layernorm.weight"), vec![hidden]);
        }
    }
    if spec.qk_norm {
        add("self_attn.q_norm.weight".into(), vec![spec.head_dim]);
        add("self_attn.k_norm.weight".into(), vec![spec.head_dim]);
    }
}
