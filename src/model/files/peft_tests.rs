use super::*;

fn config() -> AdapterConfig {
    AdapterConfig {
        r: 2,
        lora_alpha: 4.0,
        lora_dropout: 0.05,
        target_modules: vec!["q_proj".into(), "v_proj".into()],
        task_type: Some("CAUSAL_LM".into()),
        base_model_name_or_path: Some("base".into()),
        revision: Some("v2".into()),
        bias: "none".into(),
        use_rslora: false,
        modules_to_save: None,
        rank_pattern: BTreeMap::new(),
        alpha_pattern: BTreeMap::new(),
    }
}

fn factors() -> Vec<NamedTensor> {
    let q = "model.layers.0.self_attn.q_proj";
    vec![
        (
            format!("{q}.lora_A"),
            vec![2, 3],
            vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        ),
        (format!("{q}.lora_B"), vec![4, 2], vec![0.5; 8]),
    ]
}

/// Writes a good adapter with `changes` made to its config.
fn written(changes: Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_adapter(folder.path(), &config(), factors(), StoreDtype::F32).unwrap();
    let path = folder.path().join(CONFIG);
    let mut json = read_json(&path).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        json[key] = value.clone();
    }
    std::fs::write(&path, json.to_string()).unwrap();
    folder
}

fn refused(changes: Value) -> String {
    let error = read_adapter(written(changes).path()).unwrap_err();
    assert!(error.hint.is_some(), "{error}");
    error.message
}

#[test]
fn an_adapter_is_read_back_as_it_was_written() {
    let read = read_adapter(written(json!({})).path()).unwrap();
    assert_eq!(read.config, config());
    assert_eq!(read.tensors, factors());
}

#[test]
fn names_are_pefts() {
    let plain = "model.layers.3.mlp.up_proj.lora_B";
    let peft = "base_model.model.model.layers.3.mlp.up_proj.lora_B.weight";
    assert_eq!(peft_name(plain), peft);
    assert_eq!(plain_name(peft).unwrap(), plain);
    assert_eq!(
        plain_name(&peft.replace(".weight", ".default.weight")).unwrap(),
        plain
    );
    assert_eq!(peft_name("score.weight"), "base_model.model.score.weight");
    assert_eq!(
        plain_name("base_model.model.score.weight").unwrap(),
        "score.weight"
    );
    for other in [
        "model.x.lora_A.weight",
        "base_model.model.lm_head.weight",
        "base_model.model.x.lora_magnitude_vector",
        "base_model.model.x.lora_embedding_A",
    ] {
        assert_eq!(plain_name(other), None, "{other}");
    }
}

#[test]
fn a_score_head_is_saved_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = factors();
    tensors.push(("score.weight".into(), vec![1, 3], vec![1.0, -1.0, 0.0]));
    let config = AdapterConfig {
        task_type: Some("SEQ_CLS".into()),
        ..config()
    };
    write_adapter(folder.path(), &config, tensors.clone(), StoreDtype::F32).unwrap();
    let read = read_adapter(folder.path()).unwrap();
    assert_eq!(read.config.modules_to_save, Some(vec!["score".into()]));
    assert_eq!(read.tensors, tensors);
}

#[test]
fn scale_and_rank_follow_the_patterns() {
    let module = "model.layers.0.self_attn.q_proj";
    let mut config = config();
    assert_eq!((config.rank_of(module), config.scale_of(module)), (2, 2.0));
    config.use_rslora = true;
    assert!((config.scale_of(module) - 4.0 / 2f64.sqrt()).abs() < 1e-12);
    config.use_rslora = false;
    config
        .rank_pattern
        .insert("layers.0.self_attn.q_proj".into(), 8);
    config.alpha_pattern.insert("q_proj".into(), 16.0);
    assert_eq!((config.rank_of(module), config.scale_of(module)), (8, 2.0));
    assert_eq!(
        config.rank_of("model.layers.10.self_attn.q_proj"),
        2,
        "a whole name, not its tail"
    );
    assert_eq!(config.scale_of("model.layers.0.self_attn.k_proj"), 2.0);
}

#[test]
fn what_duel_does_not_compute_is_refused() {
    assert!(refused(json!({"use_dora": true})).contains("DoRA"));
    assert!(refused(json!({"bias": "all"})).contains("biases"));
    assert!(refused(json!({"target_modules": ".*_proj"})).contains("pattern `.*_proj`"));
    assert!(refused(json!({"target_modules": "all-linear"})).contains("all-linear"));
    assert!(refused(json!({"peft_type": "IA3"})).contains("IA3"));
    assert!(refused(json!({"modules_to_save": ["lm_head"]})).contains("`lm_head`"));
    assert!(refused(json!({"rank_pattern": {"^model.*": 4}})).contains("^model.*"));
    assert!(refused(json!({"layer_replication": [[0, 2]]})).contains("layer_replication"));
    assert!(refused(json!({"r": "eight"})).contains("field `r`"));
    assert!(refused(json!({"r": 0})).contains("rank is 0"));
    assert!(refused(json!({"r": 4})).contains("the config says rank 4"));
}

#[test]
fn half_an_adapter_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let half = factors()[..1].to_vec();
    let message = write_adapter(folder.path(), &config(), half, StoreDtype::F32)
        .unwrap_err()
        .message;
    assert!(message.contains("q_proj.lora_B` is not"), "{message}");
    assert!(read_adapter(folder.path()).is_err(), "nothing was written");
    let cut = written(json!({}));
    let text = std::fs::read(cut.path().join(CONFIG)).unwrap();
    for length in 0..text.len() {
        std::fs::write(cut.path().join(CONFIG), &text[..length]).unwrap();
        assert!(read_adapter(cut.path()).is_err(), "{length} bytes");
    }
}

/// An adapter of PEFT 0.21 for SmolLM2-135M: rank 8 on all seven linear modules of 30 layers.
#[test]
#[ignore = "needs the adapter of tests/golden/make_adapter.py: set DUEL_PEFT"]
fn a_real_peft_adapter_is_read_and_written_again() {
    let directory = std::env::var("DUEL_PEFT").expect("DUEL_PEFT names the adapter's directory");
    let read = read_adapter(Path::new(&directory)).unwrap();
    assert_eq!(read.tensors.len(), 30 * 7 * 2);
    assert_eq!(read.config.scale_of("model.layers.0.self_attn.q_proj"), 2.0);
    let folder = tempfile::tempdir().unwrap();
    write_adapter(
        folder.path(),
        &read.config,
        read.tensors.clone(),
        StoreDtype::F32,
    )
    .unwrap();
    let again = read_adapter(folder.path()).unwrap();
    assert_eq!(again.config, read.config);
    assert_eq!(again.tensors, read.tensors);
}
