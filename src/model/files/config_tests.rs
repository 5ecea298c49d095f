use super::*;

fn smollm2() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152,
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "hidden_act": "silu",
        "rope_theta": 100000.0, "rope_scaling": null, "torch_dtype": "bfloat16", "is_llama_config": true
    })
}

fn with(mut config: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn resolve(config: Value) -> Result<DecoderSpec> {
    HfConfig::from_value(config)?.resolve()
}

fn refused(changes: Value) -> String {
    let error = resolve(with(smollm2(), changes)).unwrap_err();
    assert!(error.hint.is_some(), "{error}");
    error.message
}

#[test]
fn both_generations_of_transformers_resolve_alike() {
    let old = resolve(smollm2()).unwrap();
    let mut new = with(
        smollm2(),
        json!({"rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"}}),
    );
    new.as_object_mut()
        .unwrap()
        .retain(|key, _| key != "rope_theta" && key != "rope_scaling");
    assert_eq!(resolve(new).unwrap(), old);
    assert_eq!(old.head_dim, 64);
    assert_eq!(
        old.rope,
        Rope {
            theta: 100_000.0,
            scaling: RopeScaling::None
        }
    );
    assert!(old.tie_word_embeddings && !old.qkv_bias && !old.qk_norm);
    assert_eq!(old.head, Head::LanguageModel);
}

#[test]
fn llama3_rope_is_read_in_both_spellings() {
    let scaling = json!({"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"});
    let expected = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    let old = resolve(with(
        smollm2(),
        json!({"rope_scaling": scaling, "rope_theta": 5e5}),
    ))
    .unwrap();
    assert_eq!(
        old.rope,
        Rope {
            theta: 5e5,
            scaling: expected.clone()
        }
    );
    let new = with(scaling, json!({"rope_theta": 5e5}));
    assert_eq!(
        resolve(with(smollm2(), json!({"rope_parameters": new})))
            .unwrap()
            .rope,
        old.rope
    );
    let linear = resolve(with(
        smollm2(),
        json!({"rope_scaling": {"type": "linear", "factor": 4}}),
    ))
    .unwrap();
    assert_eq!(linear.rope.scaling, RopeScaling::Linear { factor: 4.0 });
}

#[test]
fn yarn_is_read_with_the_defaults_of_transformers() {
    let read = |scaling: Value, more: Value| {
        let config = with(with(smollm2(), more), json!({"rope_scaling": scaling}));
        resolve(config).unwrap().rope.scaling
    };
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        original_max_position_embeddings: 2048,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
        attention_factor: 0.1 * 4f64.ln() + 1.0,
    };
    let plain = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048});
    assert_eq!(read(plain.clone(), json!({})), yarn);
    // Without an original length it is the model's own; with a null factor that is the ratio of the two.
    let short = json!({"max_position_embeddings": 2048});
    assert_eq!(
        read(json!({"rope_type": "yarn", "factor": 4.0}), short),
        yarn
    );
    let stretched = json!({"max_position_embeddings": 8192});
    let no_factor = with(plain.clone(), json!({"factor": null}));
    assert_eq!(read(no_factor, stretched), yarn);
    let all = json!({"mscale": 0.5, "mscale_all_dim": 1.0, "beta_fast": 16, "truncate": false});
    let RopeScaling::Yarn {
        beta_fast,
        truncate,
        attention_factor,
        ..
    } = read(with(plain.clone(), all), json!({}))
    else {
        panic!("not YaRN")
    };
    let expected = (0.05 * 4f64.ln() + 1.0) / (0.1 * 4f64.ln() + 1.0);
    assert_eq!(
        (beta_fast, truncate, attention_factor),
        (16.0, false, expected)
    );
    assert!(refused(json!({"rope_scaling": {"rope_type": "yarn"}})).contains("`factor`"),);
}

/// NTK scaling sets in beyond `max_position_embeddings`, where duel cuts.
#[test]
fn dynamic_scaling_is_none_within_the_models_own_length() {
    let dynamic = with(
        smollm2(),
        json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    );
    assert_eq!(resolve(dynamic).unwrap().rope.scaling, RopeScaling::None);
}

#[test]
fn each_family_has_its_own_switches() {
    let family = |name: &str, changes: Value| {
        resolve(with(
            with(
                smollm2(),
                json!({"architectures": [format!("{name}ForCausalLM")]}),
            ),
            changes,
        ))
        .unwrap()
    };
    let qwen2 = family(
        "Qwen2",
        json!({"sliding_window": 4096, "use_sliding_window": false}),
    );
    assert!(qwen2.qkv_bias && !qwen2.o_bias && !qwen2.qk_norm);
    assert_eq!(qwen2.sliding_window, None);
    let qwen3 = family("Qwen3", json!({"head_dim": 128, "attention_bias": false}));
    assert!(qwen3.qk_norm && !qwen3.qkv_bias);
    assert_eq!(
        (qwen3.head_dim, family("Qwen3", json!({})).head_dim),
        (128, 128)
    );
    assert_eq!(
        family("Mistral", json!({"sliding_window": 4096})).sliding_window,
        Some(4096)
    );
    assert_eq!(
        family("Mistral", json!({"sliding_window": null})).sliding_window,
        None
    );
    assert_eq!(
        family("Llama", json!({"sliding_window": 4096})).sliding_window,
        None
    );
    let biased = family("Llama", json!({"attention_bias": true, "mlp_bias": true}));
    assert!(biased.qkv_bias && biased.o_bias && biased.mlp_bias);
    let windowed =
        json!({"sliding_window": 64, "use_sliding_window": true, "max_window_layers": 0});
    assert_eq!(family("Qwen2", windowed).sliding_window, Some(64));
}

#[test]
fn what_the_decoder_cannot_compute_is_refused_with_a_hint() {
    assert!(refused(json!({"architectures": ["PhiForCausalLM"]})).contains("`PhiForCausalLM`"));
    let silu = json!({"architectures": ["GemmaForCausalLM"], "hidden_activation": "silu"});
    assert!(refused(silu).contains("`silu`"));
    assert!(refused(json!({"architectures": ["LlamaModel"]})).contains("`LlamaModel`"));
    assert!(
        refused(json!({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}))
            .contains("`longrope`")
    );
    assert!(
        refused(json!({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}))
            .contains("low_freq_factor")
    );
    assert!(refused(json!({"num_key_value_heads": 2})).contains("not a multiple"));
    assert!(
        refused(json!({"num_attention_heads": 7, "num_key_value_heads": 7}))
            .contains("hidden_size 576")
    );
    assert!(refused(json!({"num_key_value_heads": 0})).contains("`num_key_value_heads` is 0"));
    assert!(refused(json!({"num_hidden_layers": 1u64 << 60})).contains("num_hidden_layers"));
    assert!(refused(json!({"vocab_size": null})).contains("`vocab_size` is missing"));
    assert!(refused(json!({"hidden_act": "gelu"})).contains("`gelu`"));
    assert!(refused(json!({"head_dim": 63})).contains("odd"));
    assert!(refused(json!({"quantization_config": {"quant_method": "gptq"}})).contains("gptq"));
    assert!(refused(json!({"hidden_size": "wide"})).contains("field `hidden_size`"));
}

#[test]
fn windows_and_caps_are_read_with_the_defaults_of_transformers() {
    let of = |name: &str, keys: Value| {
        let keys = with(json!({"architectures": [name], "hidden_act": null}), keys);
        resolve(with(smollm2(), keys)).unwrap()
    };
    let mixed = json!({"sliding_window": 64, "use_sliding_window": true, "max_window_layers": 10});
    let mixed = of("Qwen2ForCausalLM", mixed);
    assert_eq!((mixed.window(9), mixed.window(10)), (None, Some(64)));
    assert_eq!(mixed.full_attention_layers.len(), 10);

    let gemma2 = of("Gemma2ForCausalLM", json!({"head_dim": null}));
    assert_eq!((gemma2.window(0), gemma2.window(1)), (Some(4096), None));
    assert_eq!(
        (
            gemma2.attn_logit_softcapping,
            gemma2.final_logit_softcapping
        ),
        (Some(50.0), Some(30.0))
    );
    assert_eq!((gemma2.head_dim, gemma2.query_pre_attn_scalar), (256, 256));
    let plain = json!({"attn_logit_softcapping": null, "final_logit_softcapping": null,
        "layer_types": vec!["full_attention"; 30]});
    let plain = of("Gemma2ForCausalLM", plain);
    assert_eq!(plain.sliding_window, None);
    assert_eq!(
        plain
            .attn_logit_softcapping
            .or(plain.final_logit_softcapping),
        None
    );

    // The first configs of Gemma say `gelu`, which transformers reads as the one by tanh.
    let gemma = of("GemmaForCausalLM", json!({"hidden_act": "gelu"}));
    assert_eq!(gemma.activation, Activation::GeluTanh);
    assert_eq!(gemma.embedding_scale, 24.0);
    assert!(gemma.attn_logit_softcapping.is_none() && !gemma.post_norms);
}

#[test]
fn a_missing_architecture_falls_back_to_the_model_type() {
    let config = with(
        smollm2(),
        json!({"architectures": null, "model_type": "qwen3"}),
    );
    assert_eq!(resolve(config).unwrap().architecture, Architecture::Qwen3);
}

#[test]
fn a_reward_config_has_one_label_and_keeps_everything_else() {
    let reward = for_reward(&with(smollm2(), json!({"num_labels": 2, "my_key": [1]})), 7).unwrap();
    assert_eq!(
        reward["architectures"],
        json!(["LlamaForSequenceClassification"])
    );
    assert_eq!(reward["id2label"], json!({"0": "LABEL_0"}));
    assert_eq!(reward["label2id"], json!({"LABEL_0": 0}));
    assert_eq!(
        (&reward["pad_token_id"], &reward["my_key"]),
        (&json!(7), &json!([1]))
    );
    assert!(reward.get("num_labels").is_none());
    assert_eq!(resolve(reward.clone()).unwrap().head, Head::Score);
    assert_eq!(
        for_reward(&reward, 7).unwrap(),
        reward,
        "a reward model stays one"
    );
}

#[test]
fn a_head_with_two_labels_is_no_reward_model() {
    let class = json!({"architectures": ["LlamaForSequenceClassification"]});
    let two = json!({"id2label": {"0": "a", "1": "b"}});
    assert!(refused(with(class.clone(), two)).contains("2 labels"));
    assert!(
        refused(with(
            class.clone(),
            json!({"id2label": {"0": "a", "1": "b", "2": "c"}})
        ))
        .contains("3 labels")
    );
    // Where nothing is stated, the weights say it.
    for stated in [json!({"num_labels": 1}), json!({})] {
        let one = with(smollm2(), with(class.clone(), stated));
        assert_eq!(resolve(one).unwrap().head, Head::Score);
    }
}

#[test]
fn only_a_score_is_read_past_the_padding() {
    let pad = |class: &str, pad: Value| {
        let changes = json!({"architectures": [class], "num_labels": 1, "pad_token_id": pad});
        resolve(with(smollm2(), changes)).unwrap().pad_token_id
    };
    let reward = "LlamaForSequenceClassification";
    assert_eq!(pad(reward, json!(7)), Some(7));
    assert_eq!(pad(reward, json!(-1)), None, "as Llama 1's config has it");
    assert_eq!(pad(reward, json!(null)), None);
    assert_eq!(pad("LlamaForCausalLM", json!(7)), None);
}

#[test]
fn a_reward_model_with_code_of_its_own_is_named_as_such() {
    for name in ["LlamaForSomeRewardModel", "InternLM2ForRewardModel"] {
        let message = refused(json!({"architectures": [name]}));
        assert!(
            message.contains(name) && message.contains("code of its own"),
            "{message}"
        );
    }
}

#[test]
fn a_cut_config_is_an_error_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let text = smollm2().to_string();
    for length in 0..text.len() {
        std::fs::write(&path, &text[..length]).unwrap();
        assert!(HfConfig::read(folder.path()).is_err(), "{length} bytes");
    }
    std::fs::write(&path, &text).unwrap();
    assert_eq!(
        HfConfig::read(folder.path()).unwrap().json()["is_llama_config"],
        json!(true)
    );
}
