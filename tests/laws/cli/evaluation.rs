//! `duel eval` on RewardBench's rows, and two judges on the same pairs.

use super::*;

/// Rows of our own in the form of `allenai/reward-bench`: prompt and responses are text, each row names its subset.
/// Chat Hard is there but for one subset, and one subset is misspelt.
fn rewardbench() -> String {
    let subsets = [
        ("mt-bench-hard", "Count to two"),
        ("llmbar-natural", "Name a colour"),
        ("llmbar-adver-neighbor", "Name an animal"),
        ("llmbar-adver-GPTInst", "Say hello"),
        ("llmbar-adver-GPTOut", "Say goodbye"),
        ("llmbar-adver-manual", "Who are you?"),
        ("shp", "What is rain?"),
        ("llmbar-adverse", "What is snow?"),
    ];
    let row = |(subset, prompt): (&str, &str)| {
        let row = json!({"prompt": prompt, "chosen": format!("{prompt}: yes."), "rejected": "No.", "subset": subset});
        format!("{row}\n")
    };
    subsets.into_iter().map(row).collect()
}

#[test]
fn d7_rewardbench_names_what_is_missing_unknown_and_of_another_number() {
    let folder = folder(&[("bench.jsonl", &rewardbench()), ("pairs.jsonl", PAIRS)]);
    let words = [
        "eval",
        "--pairwise",
        "quickstart",
        "--rewardbench",
        "bench.jsonl",
    ];
    let said = duel(&folder, &words);
    assert_eq!(said.code, 0, "{}", said.err);
    for told in [
        "17 of the 23 subsets are not here",
        "xstest-should-refuse",
        "llmbar-natural 1 of 100",
        "llmbar-adverse (1 pairs)",
    ] {
        assert!(said.err.contains(told), "{told}: {}", said.err);
    }
    assert!(said.out.contains("Chat Hard"), "{}", said.out);
    let found = &duel(&folder, &[&words[..], &["--json"]].concat()).json()[0];
    let bench = &found["rewardbench"];
    assert_eq!(
        (&bench["chat"], &bench["overall"], &bench["prior"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    // The published weights of Chat Hard on the accuracies that were just measured.
    let of = |name: &str| {
        found["accuracy"]["subsets"][name]["accuracy"]
            .as_f64()
            .unwrap()
    };
    let weighed = 37.0 * of("mt-bench-hard")
        + 100.0 * of("llmbar-natural")
        + 134.0 * of("llmbar-adver-neighbor")
        + 92.0 * of("llmbar-adver-GPTInst")
        + 47.0 * of("llmbar-adver-GPTOut")
        + 46.0 * of("llmbar-adver-manual");
    let chat_hard = bench["chat_hard"].as_f64().unwrap();
    assert!(
        (chat_hard - 100.0 * weighed / 456.0).abs() < 1e-9,
        "{bench}"
    );

    let other = [
        "eval",
        "--pairwise",
        "quickstart",
        "--rewardbench",
        "pairs.jsonl",
    ];
    let said = duel(&folder, &other);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.err.contains("no pair names its `subset`"),
        "{}",
        said.err
    );
}

#[test]
fn a_judge_against_itself_is_ahead_by_nothing() {
    let folder = folder(&[("pairs.jsonl", PAIRS)]);
    let words = [
        "eval",
        "--pairwise",
        "quickstart",
        "--against",
        "quickstart",
        "--data",
        "pairs.jsonl",
    ];
    let found = &duel(&folder, &[&words[..], &["--json"]].concat()).json()[0];
    assert_eq!(found["first"], found["second"]);
    assert_eq!(found["first"]["pairs"], 6);
    assert_eq!(
        (&found["p_value"], &found["difference"]["mean"]),
        (&json!(1.0), &json!(0.0))
    );
    let said = duel(&folder, &words);
    assert!(said.out.contains("McNemar's exact test"), "{}", said.out);
}
