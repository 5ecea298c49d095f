use super::*;

fn tensor(name: &str, shape: &[usize], start: f32) -> NamedTensor {
    let elements: usize = shape.iter().product();
    (
        name.into(),
        shape.to_vec(),
        (0..elements).map(|i| start + i as f32).collect(),
    )
}

fn three() -> Vec<NamedTensor> {
    vec![
        tensor("b.weight", &[2, 3], 1.0),
        tensor("a.weight", &[4], -2.0),
        tensor("c.weight", &[1, 2], 0.5),
    ]
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read_back_in_every_dtype() {
    let folder = tempfile::tempdir().unwrap();
    for dtype in [StoreDtype::F32, StoreDtype::F16, StoreDtype::Bf16] {
        write_model_weights(folder.path(), &three(), dtype, MAX_SHARD_BYTES).unwrap();
        let read = Safetensors::open(folder.path()).unwrap();
        assert_eq!(
            read.names().collect::<Vec<_>>(),
            ["a.weight", "b.weight", "c.weight"]
        );
        for (name, shape, values) in three() {
            assert_eq!(read.shape(&name), Some(&shape[..]));
            assert_eq!(read.read(&name, &shape).unwrap(), values);
        }
    }
}

#[test]
fn the_file_is_one_that_the_safetensors_crate_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    write_safetensors(&path, &three(), StoreDtype::F32).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!((header + 8) % 8, 0);
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let b = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensor("b.weight")
        .unwrap()
        .data()[..4]
        .to_vec();
    assert_eq!(b, 1f32.to_le_bytes());
}

#[test]
fn large_models_are_sharded_and_a_rewrite_leaves_no_old_weights() {
    let folder = tempfile::tempdir().unwrap();
    write_model_weights(folder.path(), &three(), StoreDtype::F32, MAX_SHARD_BYTES).unwrap();
    write_model_weights(folder.path(), &three(), StoreDtype::F32, 40).unwrap();
    assert_eq!(
        files(folder.path()),
        [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json"
        ]
    );
    let index = read_json(&folder.path().join(INDEX)).unwrap();
    assert_eq!(index["metadata"]["total_size"], 48);
    assert_eq!(
        index["weight_map"]["c.weight"],
        "model-00002-of-00002.safetensors"
    );
    let read = Safetensors::open(folder.path()).unwrap();
    for (name, shape, values) in three() {
        assert_eq!(read.read(&name, &shape).unwrap(), values);
    }
    // Windows removes no file that is mapped.
    drop(read);
    write_model_weights(folder.path(), &three(), StoreDtype::F32, MAX_SHARD_BYTES).unwrap();
    assert_eq!(files(folder.path()), ["model.safetensors"]);
}

#[test]
fn a_wrong_shape_names_tensor_file_and_both_shapes() {
    let folder = tempfile::tempdir().unwrap();
    write_model_weights(folder.path(), &three(), StoreDtype::F32, MAX_SHARD_BYTES).unwrap();
    let read = Safetensors::open(folder.path()).unwrap();
    let message = read.read("b.weight", &[3, 2]).unwrap_err().message;
    for part in ["model.safetensors", "`b.weight`", "[2, 3]", "[3, 2]"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(
        read.read("d.weight", &[1])
            .unwrap_err()
            .message
            .contains("no tensor `d.weight`")
    );
}

#[test]
fn broken_indexes_and_missing_shards_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let failure = || Safetensors::open(folder.path()).unwrap_err();
    assert!(failure().message.contains("holds no model.safetensors"));
    std::fs::write(folder.path().join("pytorch_model.bin"), b"x").unwrap();
    assert!(failure().message.contains("pickled"));
    write_model_weights(folder.path(), &three(), StoreDtype::F32, 40).unwrap();
    let index = folder.path().join(INDEX);
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("c.weight", "d.weight")).unwrap();
    assert!(
        failure()
            .message
            .contains("`d.weight` is not in model-00002-of-00002.safetensors")
    );
    std::fs::write(&index, text.replace("model-00002", "../model-00002")).unwrap();
    assert!(
        failure()
            .message
            .contains("does not name a file of this directory")
    );
    for length in 0..text.trim_end().len() {
        std::fs::write(&index, &text[..length]).unwrap();
        assert!(failure().hint.is_some(), "{length} bytes");
    }
    std::fs::write(&index, &text).unwrap();
    std::fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(
        failure()
            .message
            .contains("shard model-00002-of-00002.safetensors is missing")
    );
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SINGLE);
    write_safetensors(&path, &three(), StoreDtype::Bf16).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(Safetensors::open(folder.path()).is_err(), "{length} bytes");
    }
    for position in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            std::fs::write(&path, &changed).unwrap();
            // Whatever it is now, reading all of it must end in values or an error.
            if let Ok(read) = Safetensors::open(folder.path()) {
                for name in read.names() {
                    let shape = read.shape(name).unwrap().to_vec();
                    let _ = read.read(name, &shape);
                }
            }
        }
    }
}

#[test]
fn integer_tensors_and_impossible_writes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SINGLE);
    let header = br#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0; 8]);
    std::fs::write(&path, &bytes).unwrap();
    let read = Safetensors::open_file(&path).unwrap();
    assert!(
        read.read("a", &[1])
            .unwrap_err()
            .message
            .contains("type I64")
    );
    let short = vec![("a".to_string(), vec![3], vec![1.0])];
    assert!(write_safetensors(&path, &short, StoreDtype::F32).is_err());
    let twice = vec![tensor("a", &[1], 0.0), tensor("a", &[1], 0.0)];
    assert!(write_safetensors(&path, &twice, StoreDtype::F32).is_err());
    assert_eq!(
        std::fs::read(&path).unwrap(),
        bytes,
        "a refused write changes nothing"
    );
}
