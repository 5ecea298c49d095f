//! `duel bench` measures each kind of work on the rows that the work has.
#![allow(clippy::unwrap_used)]

use super::{PAIRS, duel, folder};
use serde_json::{Value, json};

#[test]
fn each_kind_takes_pairs_and_rows_of_its_own() {
    let pairs = PAIRS.repeat(4);
    let text = json!({"messages": [{"role": "user", "content": "sky?"}, {"role": "assistant", "content": "blue"}]});
    let texts = format!("{text}\n").repeat(8);
    let folder = folder(&[
        ("pairs.jsonl", &pairs),
        ("texts.jsonl", &texts),
        ("prompts.jsonl", "{\"prompt\": \"sky?\"}\n"),
        (
            "responses.jsonl",
            "{\"prompt\": \"sky?\", \"responses\": [\"blue\", \"red\", \"a log\"]}\n",
        ),
    ]);
    let bench = |kind: &str, data: &str| -> Value {
        let small = [
            "--pairs",
            "1",
            "--steps",
            "1",
            "--warm",
            "1",
            "--max-new-tokens",
            "4",
            "-k",
            "2",
        ];
        let words = [
            "bench",
            kind,
            "--model",
            "quickstart",
            "--json",
            "--data",
            data,
        ];
        let said = duel(&folder, &[&words[..], &small].concat());
        assert_eq!(said.code, 0, "{kind} {data}: {}", said.err);
        let measured = said.json().remove(0);
        assert!(
            measured["tokens_per_second"].as_f64().unwrap() > 0.0,
            "{kind} {data}: {measured}"
        );
        assert_eq!(measured["compute"], "f32", "{kind}");
        measured
    };
    for kind in ["dpo", "reward", "sft", "generate", "judge"] {
        bench(kind, "pairs.jsonl");
    }
    bench("sft", "texts.jsonl");
    assert_eq!(bench("generate", "prompts.jsonl")["tokens"], 2 * 4);
    assert_eq!(bench("judge", "responses.jsonl")["responses"], 3);
}
