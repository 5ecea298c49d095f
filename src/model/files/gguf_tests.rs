use super::*;

/// Builds GGUF files for tests, field by field as the format's description lists them.
pub struct Builder {
    pairs: Vec<u8>,
    pair_count: u64,
    table: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Builder {
    pub fn new(architecture: &str) -> Self {
        let empty = Self {
            pairs: Vec::new(),
            pair_count: 0,
            table: Vec::new(),
            tensor_count: 0,
            data: Vec::new(),
        };
        empty.text("general.architecture", architecture)
    }

    fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.pairs.extend(string(key));
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend(value);
        self.pair_count += 1;
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.pair(key, 8, &string(value))
    }

    pub fn int(self, key: &str, value: u32) -> Self {
        self.pair(key, 4, &value.to_le_bytes())
    }

    pub fn float(self, key: &str, value: f32) -> Self {
        self.pair(key, 6, &value.to_le_bytes())
    }

    pub fn flag(self, key: &str, value: bool) -> Self {
        self.pair(key, 7, &[u8::from(value)])
    }

    fn list(self, key: &str, kind: u32, values: Vec<Vec<u8>>) -> Self {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.concat());
        self.pair(key, 9, &bytes)
    }

    pub fn texts<S: AsRef<str>>(self, key: &str, values: &[S]) -> Self {
        self.list(
            key,
            8,
            values.iter().map(|value| string(value.as_ref())).collect(),
        )
    }

    pub fn ints(self, key: &str, values: &[i32]) -> Self {
        self.list(
            key,
            5,
            values
                .iter()
                .map(|value| value.to_le_bytes().to_vec())
                .collect(),
        )
    }

    pub fn floats(self, key: &str, values: &[f32]) -> Self {
        self.list(
            key,
            6,
            values
                .iter()
                .map(|value| value.to_le_bytes().to_vec())
                .collect(),
        )
    }

    /// An F32 tensor; `shape` row-major.
    pub fn tensor(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.raw(name, shape, 0, &bytes)
    }

    pub fn raw(mut self, name: &str, shape: &[usize], kind: u32, bytes: &[u8]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.table.extend(string(name));
        self.table.extend((shape.len() as u32).to_le_bytes());
        for &size in shape.iter().rev() {
            self.table.extend((size as u64).to_le_bytes());
        }
        self.table.extend(kind.to_le_bytes());
        self.table.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(bytes);
        self.tensor_count += 1;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(self.tensor_count.to_le_bytes());
        bytes.extend(self.pair_count.to_le_bytes());
        bytes.extend(&self.pairs);
        bytes.extend(&self.table);
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }

    /// Bytes of tensors at the end of the file.
    pub fn data_len(&self) -> usize {
        self.data.len()
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn small() -> Builder {
    Builder::new("llama")
        .int("llama.block_count", 2)
        .float("llama.eps", 1e-5)
        .flag("flag", true)
        .texts("tokens", &["a", "bé"])
        .ints("types", &[1, -3])
        .tensor("x", &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
        .raw("q", &[32], 8, &[0; 34])
}

#[test]
fn every_field_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    small().write(&path);
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.text("general.architecture"), Some("llama"));
    assert_eq!(gguf.integer("llama.block_count"), Some(2));
    assert_eq!(
        gguf.number("llama.eps"),
        Some(1e-5),
        "the f64 of the shortest decimal"
    );
    assert_eq!(gguf.flag("flag"), Some(true));
    assert_eq!(gguf.text("flag"), None, "another type is no value");
    let types = gguf.list("types", |value| match value {
        Metadatum::Int(value) => Some(*value),
        _ => None,
    });
    assert_eq!(types, Some(vec![1, -3]));
    let x = &gguf.tensors()["x"];
    assert_eq!(x.shape, [2, 3]);
    assert_eq!(
        x.kind.dequantise_rows(gguf.data(x), 3, |row| row),
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    );
    assert_eq!(gguf.tensors()["q"].kind, GgmlType::Q8_0);
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_a_panic() {
    let bytes = small().bytes();
    assert!(parse(&bytes).is_ok());
    for length in 0..bytes.len() {
        let error = parse(&bytes[..length]).unwrap_err();
        assert!(error.hint.is_some(), "{length} bytes: {error}");
    }
}

#[test]
fn a_changed_byte_never_panics() {
    let bytes = small().bytes();
    for position in 0..bytes.len() {
        for flip in [0x01, 0x04, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            if let Ok((_, tensors)) = parse(&changed) {
                assert!(
                    tensors
                        .values()
                        .all(|info| info.start + info.size <= changed.len())
                );
            }
        }
    }
}

#[test]
fn what_duel_does_not_read_is_named() {
    let message = |bytes: &[u8]| parse(bytes).unwrap_err().message;
    assert!(message(b"PK\x03\x04rest of a zip").contains("not a GGUF file"));
    let mut version = small().bytes();
    version[4..8].copy_from_slice(&1u32.to_le_bytes());
    assert!(message(&version).contains("version 1"));
    version[4..8].copy_from_slice(&3u32.to_be_bytes());
    assert!(message(&version).contains("big-endian"));
    assert!(
        message(&small().raw("iq", &[256], 16, &[0; 66]).bytes()).contains("`iq` has ggml type 16")
    );
    assert!(message(&small().raw("odd", &[33], 8, &[0; 34]).bytes()).contains("impossible shape"));
    assert!(message(&small().tensor("x", &[1], &[0.0]).bytes()).contains("two tensors"));
    assert!(message(&small().int("general.alignment", 3).bytes()).contains("alignment"));
}
