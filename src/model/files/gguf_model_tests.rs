use super::super::gguf::tests::Builder;
use super::*;
use crate::model::files::Checkpoint;
use crate::model::spec::{Architecture, Rope};

const HIDDEN: usize = 8;

/// One block: 2 query heads and 1 key/value head of width 4; each row of q and k holds its own number.
fn tiny(architecture: &str) -> Builder {
    let rows = |n: usize, width: usize| -> Vec<f32> {
        (0..n * width).map(|i| (i / width) as f32).collect()
    };
    let key = |name: &str| format!("{architecture}.{name}");
    Builder::new(architecture)
        .int(&key("block_count"), 1)
        .int(&key("context_length"), 64)
        .int(&key("embedding_length"), HIDDEN as u32)
        .int(&key("feed_forward_length"), 6)
        .int(&key("attention.head_count"), 2)
        .int(&key("attention.head_count_kv"), 1)
        .float(&key("attention.layer_norm_rms_epsilon"), 1e-6)
        .float(&key("rope.freq_base"), 10_000.0)
        .int("tokenizer.ggml.eos_token_id", 2)
        .tensor("token_embd.weight", &[5, HIDDEN], &rows(5, HIDDEN))
        .tensor("output_norm.weight", &[HIDDEN], &[1.0; HIDDEN])
        .tensor("blk.0.attn_norm.weight", &[HIDDEN], &[1.0; HIDDEN])
        .tensor("blk.0.ffn_norm.weight", &[HIDDEN], &[1.0; HIDDEN])
        .tensor("blk.0.attn_q.weight", &[8, HIDDEN], &rows(8, HIDDEN))
        .tensor("blk.0.attn_k.weight", &[4, HIDDEN], &rows(4, HIDDEN))
        .tensor("blk.0.attn_v.weight", &[4, HIDDEN], &rows(4, HIDDEN))
        .tensor("blk.0.attn_output.weight", &[HIDDEN, 8], &rows(HIDDEN, 8))
        .tensor("blk.0.ffn_gate.weight", &[6, HIDDEN], &rows(6, HIDDEN))
        .tensor("blk.0.ffn_up.weight", &[6, HIDDEN], &rows(6, HIDDEN))
        .tensor("blk.0.ffn_down.weight", &[HIDDEN, 6], &rows(HIDDEN, 6))
}

fn open(builder: &Builder) -> Result<GgufModel> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    builder.write(&path);
    GgufModel::open(&path)
}

/// The number that each row of a tensor holds.
fn row_numbers(model: &GgufModel, name: &str) -> Vec<f32> {
    let shape = model.shape(name).unwrap().to_vec();
    model
        .read(name, &shape)
        .unwrap()
        .chunks(shape[1])
        .map(|row| row[0])
        .collect()
}

#[test]
fn metadata_becomes_a_config_and_a_spec() {
    let model = open(&tiny("llama")).unwrap();
    let spec = model.spec();
    assert_eq!(spec.architecture, Architecture::Llama);
    assert_eq!(
        (spec.vocab_size, spec.hidden_size, spec.intermediate_size),
        (5, 8, 6)
    );
    assert_eq!(
        (
            spec.num_attention_heads,
            spec.num_key_value_heads,
            spec.head_dim
        ),
        (2, 1, 4)
    );
    assert_eq!(spec.rms_norm_eps, 1e-6);
    assert_eq!(
        spec.rope,
        Rope {
            theta: 10_000.0,
            scaling: RopeScaling::None
        }
    );
    assert!(spec.tie_word_embeddings, "no output.weight");
    assert_eq!(model.config()["eos_token_id"], 2);
    let untied = open(&tiny("llama").tensor("output.weight", &[5, HIDDEN], &[0.0; 40])).unwrap();
    assert!(!untied.spec().tie_word_embeddings);
    assert!(untied.names().any(|name| name == "lm_head.weight"));
}

#[test]
fn llama_rows_of_q_and_k_come_back_in_hugging_face_order() {
    let llama = open(&tiny("llama")).unwrap();
    // Stored row 2i + half belongs at half * 2 + i within each head of four.
    assert_eq!(
        row_numbers(&llama, "model.layers.0.self_attn.q_proj.weight"),
        [0., 2., 1., 3., 4., 6., 5., 7.]
    );
    assert_eq!(
        row_numbers(&llama, "model.layers.0.self_attn.k_proj.weight"),
        [0., 2., 1., 3.]
    );
    assert_eq!(
        row_numbers(&llama, "model.layers.0.self_attn.v_proj.weight"),
        [0., 1., 2., 3.]
    );
    let qwen = open(&tiny("qwen2").tensor("blk.0.attn_q.bias", &[8], &[0.0; 8])).unwrap();
    assert_eq!(
        row_numbers(&qwen, "model.layers.0.self_attn.q_proj.weight"),
        [0., 1., 2., 3., 4., 5., 6., 7.]
    );
    assert!(qwen.spec().qkv_bias);
}

#[test]
fn a_sliding_window_makes_a_llama_file_a_mistral() {
    let spec = open(&tiny("llama").int("llama.attention.sliding_window", 16))
        .unwrap()
        .spec()
        .clone();
    assert_eq!(
        (spec.architecture, spec.sliding_window),
        (Architecture::Mistral, Some(16))
    );
}

#[test]
fn rope_scaling_is_read_or_refused() {
    let linear = tiny("llama")
        .text("llama.rope.scaling.type", "linear")
        .float("llama.rope.scaling.factor", 4.0);
    assert_eq!(
        open(&linear).unwrap().spec().rope.scaling,
        RopeScaling::Linear { factor: 4.0 }
    );
    let yarn = tiny("llama")
        .text("llama.rope.scaling.type", "yarn")
        .float("llama.rope.scaling.factor", 4.0)
        .int("llama.rope.scaling.original_context_length", 512);
    let RopeScaling::Yarn {
        factor,
        original_max_position_embeddings,
        beta_fast,
        ..
    } = open(&yarn).unwrap().spec().rope.scaling
    else {
        panic!("not YaRN")
    };
    assert_eq!(
        (factor, original_max_position_embeddings, beta_fast),
        (4.0, 512, 32.0)
    );
    let own = yarn.float("llama.rope.scaling.attn_factor", 0.5);
    assert!(open(&own).unwrap_err().message.contains("attn_factor` 0.5"));
    let longrope = tiny("llama").text("llama.rope.scaling.type", "longrope");
    assert!(open(&longrope).unwrap_err().message.contains("`longrope`"));
}

#[test]
fn llama3_factors_are_recognised_and_others_refused() {
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    // Of the wavelengths 2 pi and 2 pi 100, both turn more than four times in 8192 positions.
    assert!(open(&tiny("llama").tensor(ROPE_FACTORS, &[2], &[1.0, 8.0])).is_err());
    // With theta 5e8 the second is 2 pi 22361, longer than the original context.
    let long =
        tiny("llama")
            .float("llama.rope.freq_base", 5e8)
            .tensor(ROPE_FACTORS, &[2], &[1.0, 8.0]);
    assert_eq!(open(&long).unwrap().spec().rope.scaling, scaling);
}

#[test]
fn the_blend_between_long_and_short_wavelengths_is_llama3s() {
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    assert_eq!(llama3_divisor(&scaling, 9000.0), 8.0);
    assert_eq!(llama3_divisor(&scaling, 1000.0), 1.0);
    // 2.5 turns lie half-way between 1 and 4: the frequency is the mean of f and f / 8.
    assert!((llama3_divisor(&scaling, 8192.0 / 2.5) - 16.0 / 9.0).abs() < 1e-12);
}

#[test]
fn what_the_decoder_does_not_have_is_named() {
    let message = |builder: &Builder| open(builder).unwrap_err().message;
    assert!(
        message(&tiny("llama").tensor("blk.0.ffn_gate_inp.weight", &[2, 8], &[0.0; 16]))
            .contains("ffn_gate_inp")
    );
    assert!(message(&tiny("gemma2")).contains("`gemma2`"));
    assert!(message(&Builder::new("llama")).contains("token_embd.weight"));
    let model = open(&tiny("llama")).unwrap();
    let error = model.read("model.norm.weight", &[9]).unwrap_err();
    assert!(
        error.message.contains("[8]") && error.message.contains("[9]"),
        "{error}"
    );
    assert!(model.read("lm_head.weight", &[5, 8]).is_err());
}

#[test]
fn a_changed_byte_of_a_model_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let tiny = tiny("llama");
    let bytes = tiny.bytes();
    for position in (0..bytes.len() - tiny.data_len()).step_by(2) {
        let mut changed = bytes.clone();
        changed[position] ^= [0x01, 0x10, 0xff][position % 3];
        std::fs::write(&path, &changed).unwrap();
        // Whatever it is now, it ends in weights or an error.
        if let Ok(read) = Checkpoint::open(&path) {
            for name in read.names() {
                let shape = read.shape(&name).unwrap();
                let _ = read.read(&name, &shape);
            }
        }
    }
}
