use super::*;

fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 5, "hidden_size": 4,
        "intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        "rope_theta": 10000.0, "eos_token_id": 2, "bos_token_id": null, "my_key": {"kept": true}
    })
}

fn weights(config: &Value) -> Vec<NamedTensor> {
    let spec = HfConfig::from_value(config.clone())
        .unwrap()
        .resolve()
        .unwrap();
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let elements: usize = shape.iter().product();
        let values = (0..elements)
            .map(|i| (i + name.len()) as f32 * 0.25)
            .collect();
        (name, shape, values)
    };
    parameters(&spec).into_iter().map(tensor).collect()
}

#[test]
fn a_model_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    write_model(&dir, &config(), weights(&config()), StoreDtype::Bf16).unwrap();
    let read = Checkpoint::open(&dir).unwrap();
    assert_eq!(
        read.config["my_key"],
        json!({"kept": true}),
        "unknown keys survive"
    );
    assert_eq!(read.config["dtype"], "bfloat16");
    assert!(!read.is_gguf() && read.tokenizer_files().is_none());
    assert_eq!(read.path(), dir);
    let mut names: Vec<String> = Vec::new();
    for (name, shape, values) in weights(&config()) {
        assert_eq!(read.shape(&name), Some(shape.clone()));
        assert_eq!(read.read(&name, &shape).unwrap(), values);
        names.push(name);
    }
    names.sort();
    assert_eq!(read.names(), names);
    let generation = config::read_json(&dir.join("generation_config.json")).unwrap();
    assert_eq!(generation, json!({"eos_token_id": 2}));
}

#[test]
fn tied_embeddings_have_no_output_head_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = weights(&config());
    tensors.push(("lm_head.weight".into(), vec![5, 4], vec![0.0; 20]));
    write_model(folder.path(), &config(), tensors.clone(), StoreDtype::F32).unwrap();
    assert!(
        Checkpoint::open(folder.path())
            .unwrap()
            .shape("lm_head.weight")
            .is_none()
    );
    // Other programs do write it: it is left out of the names.
    safetensors::write_safetensors(
        &folder.path().join("model.safetensors"),
        &tensors,
        StoreDtype::F32,
    )
    .unwrap();
    let read = Checkpoint::open(folder.path()).unwrap();
    assert!(!read.names().contains(&"lm_head.weight".to_string()));
    let mut untied = config();
    untied["tie_word_embeddings"] = json!(false);
    let error =
        write_model(folder.path(), &untied, weights(&config()), StoreDtype::F32).unwrap_err();
    assert!(error.message.contains("`lm_head.weight`"), "{error}");
}

#[test]
fn a_reward_model_is_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let reward = for_reward(&config(), 0).unwrap();
    write_model(folder.path(), &reward, weights(&reward), StoreDtype::F32).unwrap();
    let read = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(read.spec.head, Head::Score);
    assert_eq!(read.shape("score.weight"), Some(vec![1, 4]));
    drop(read);
    write_model(
        folder.path(),
        &config(),
        weights(&config()),
        StoreDtype::F32,
    )
    .unwrap();
    std::fs::write(folder.path().join("config.json"), reward.to_string()).unwrap();
    let message = Checkpoint::open(folder.path()).unwrap_err().message;
    assert!(message.contains("no tensor `score.weight`"), "{message}");
}

#[test]
fn a_generation_config_that_is_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("generation_config.json");
    std::fs::write(&path, r#"{"eos_token_id":[2,3]}"#).unwrap();
    write_model(
        folder.path(),
        &config(),
        weights(&config()),
        StoreDtype::F32,
    )
    .unwrap();
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        r#"{"eos_token_id":[2,3]}"#
    );
}

#[test]
fn generation_ends_at_every_id_that_duel_stops_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("generation_config.json");
    let write = |ends: &[u32]| write_generation_config(folder.path(), &config(), ends).unwrap();
    let text = || std::fs::read_to_string(&path).unwrap();
    write(&[2, 4]);
    assert_eq!(
        config::read_json(&path).unwrap(),
        json!({"eos_token_id": [2, 4]})
    );
    // What says it all stays byte for byte; what does not keeps its other settings.
    std::fs::write(&path, r#"{"eos_token_id":[4,3,2],"top_p":0.9}"#).unwrap();
    write(&[2, 4]);
    assert_eq!(text(), r#"{"eos_token_id":[4,3,2],"top_p":0.9}"#);
    std::fs::write(&path, r#"{"top_p":0.9,"eos_token_id":2}"#).unwrap();
    write(&[2, 4]);
    assert_eq!(
        config::read_json(&path).unwrap(),
        json!({"top_p": 0.9, "eos_token_id": [2, 4]})
    );
}

#[test]
fn weights_of_another_model_are_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write_model(
        folder.path(),
        &config(),
        weights(&config()),
        StoreDtype::F32,
    )
    .unwrap();
    let mut wider = config();
    wider["intermediate_size"] = json!(7);
    std::fs::write(folder.path().join("config.json"), wider.to_string()).unwrap();
    let message = Checkpoint::open(folder.path()).unwrap_err().message;
    for part in ["mlp.gate_proj.weight", "[6, 4]", "[7, 4]"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn weights_of_a_layer_that_the_config_leaves_out_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut shallow = config();
    shallow["num_hidden_layers"] = json!(1);
    let written = |extra: &str| {
        let mut tensors = weights(&shallow);
        tensors.push((extra.to_owned(), vec![1], vec![0.0]));
        write_model(folder.path(), &shallow, tensors, StoreDtype::F32).unwrap();
        Checkpoint::open(folder.path())
    };
    for harmless in [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "score.weight",
    ] {
        written(harmless).unwrap();
    }
    for dropped in [
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.0.self_attn.q_proj.bias",
    ] {
        let error = written(dropped).unwrap_err();
        assert!(error.message.contains(dropped), "{error}");
    }
}

#[test]
fn what_is_no_model_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let failure = |path: &Path| Checkpoint::open(path).unwrap_err();
    assert!(
        failure(&folder.path().join("none"))
            .message
            .contains("no model at")
    );
    assert!(failure(folder.path()).message.contains("config.json"));
    std::fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    assert!(failure(folder.path()).message.contains("LoRA adapter"));
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no model at all").unwrap();
    assert!(failure(&text).message.contains("not a GGUF file"));
}

/// Dequantised Q4_1 and Q8_0 against transformers' dequantisation of the same file, bit for bit.
#[test]
#[ignore = "needs SmolLM2-135M as GGUF and as directory: DUEL_GGUF, DUEL_SMOLLM2"]
fn the_weights_of_the_real_gguf_are_those_transformers_reads() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("set {name}"));
    let gguf = Checkpoint::open(Path::new(&variable("DUEL_GGUF"))).unwrap();
    let directory = Checkpoint::open(Path::new(&variable("DUEL_SMOLLM2"))).unwrap();
    assert_eq!(gguf.spec, directory.spec);
    assert_eq!(gguf.names(), directory.names());
    for (name, shape) in parameters(&gguf.spec) {
        let ours = gguf.read(&name, &shape).unwrap();
        let theirs = directory.read(&name, &shape).unwrap();
        let different = ours
            .iter()
            .zip(&theirs)
            .filter(|(a, b)| a.to_bits() != b.to_bits())
            .count();
        assert_eq!(different, 0, "{name}");
    }
}
