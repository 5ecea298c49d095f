//! `duel eval` on RewardBench's rows, two judges on the same pairs, and `duel exam`.

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
fn files_of_rewardbench_count_once_and_a_limit_is_one_of_each() {
    let prior = rewardbench()
        .replace("is rain", "is fog")
        .replace("llmbar-natural", "summarize");
    let folder = folder(&[("bench.jsonl", &rewardbench()), ("prior.jsonl", &prior)]);
    let bench = |more: &[&str]| {
        let words = [
            "eval",
            "--pairwise",
            "quickstart",
            "--json",
            "--rewardbench",
        ];
        duel(&folder, &[&words[..], more].concat())
    };
    let said = bench(&["bench.jsonl", "prior.jsonl", "--limit", "2"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let subsets = &said.json()[0]["accuracy"]["subsets"];
    let pairs = |name: &str| subsets[name]["pairs"].as_u64();
    assert_eq!(
        [
            pairs("mt-bench-hard"),
            pairs("llmbar-natural"),
            pairs("summarize")
        ],
        [Some(2), Some(1), Some(1)],
        "{subsets}"
    );
    let twice = bench(&["bench.jsonl", "./bench.jsonl"]);
    assert_eq!(twice.code, 2, "{}", twice.out);
    assert!(twice.err.contains("named twice"), "{}", twice.err);
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

#[test]
fn an_exam_of_choices_is_put_to_a_model_and_bad_rows_are_counted() {
    let rows = "{\"question\": \"Which can fly?\", \"choices\": [\"a bird\", \"a stone\"], \"answer\": 0}\n\
                {\"question\": \"Which is wet?\", \"choices\": [\"water\"], \"answer\": 0}\n";
    let folder = folder(&[("arc.jsonl", rows)]);
    let words = [
        "exam",
        "arc",
        "--model",
        "quickstart",
        "--data",
        "arc.jsonl",
    ];
    let said = duel(&folder, &words);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(
        said.err.contains("arc.jsonl:2: the question has 1 choices"),
        "{}",
        said.err
    );
    let more = ["--skip-bad", "--json", "--out", "lines.jsonl"];
    let found = &duel(&folder, &[&words[..], &more].concat()).json()[0];
    assert_eq!(
        (&found["questions"], &found["left_out"]["malformed"]),
        (&json!(1), &json!(1))
    );
    let line: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("lines.jsonl")).unwrap())
            .unwrap();
    let logp = |at: usize| line["logps"][at].as_f64().unwrap();
    let right = f64::from(u8::from(logp(0) >= logp(1)));
    assert_eq!(found["scores"]["acc"]["mean"], json!(right));
    let shots = duel(&folder, &[&words[..], &["--shots", "2"]].concat());
    assert_eq!(shots.code, 2, "{}", shots.err);
}

/// Responses that are there already are marked without a model; what has no response, and what cannot be told, is counted.
#[test]
fn answers_of_a_file_are_marked_by_their_ids() {
    let asked = [
        json!({"id": "a", "prompt": "?", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}),
        json!({"id": "b", "prompt": "?", "instruction_id_list": ["startend:quotation"], "kwargs": [{}]}),
        json!({"id": "c", "prompt": "?", "instruction_id_list": ["language:response_language"], "kwargs": [{"language": "sw"}]}),
        json!({"id": "d", "prompt": "?", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}),
    ];
    let asked: String = asked.iter().map(|row| format!("{row}\n")).collect();
    let answers = "{\"id\": \"b\", \"prompt\": \"?\", \"responses\": [\"\\\"So.\\\"\"]}\n\
                   {\"id\": \"a\", \"prompt\": \"?\", \"responses\": [\"One, two.\"]}\n";
    let folder = folder(&[("ifeval.jsonl", &asked), ("answers.jsonl", answers)]);
    let words = [
        "exam",
        "ifeval",
        "--data",
        "ifeval.jsonl",
        "--responses",
        "answers.jsonl",
    ];
    let found = &duel(&folder, &[&words[..], &["--json"]].concat()).json()[0];
    assert_eq!(found["questions"], 2);
    assert_eq!(
        found["scores"]["prompt_level_strict_acc"]["mean"],
        json!(0.5)
    );
    let left_out = json!({"a language that duel cannot tell": 1, "no response of that id": 1});
    assert_eq!(found["left_out"], left_out);
    let said = duel(&folder, &words);
    assert!(
        said.err.contains("no response of that id: 1"),
        "{}",
        said.err
    );
}

/// The function is one of our own; its answers are given, since the model inside the binary writes no Python.
#[test]
fn code_of_a_model_is_run_only_by_a_build_and_a_call_that_ask_for_it() {
    let row = json!({"task_id": "own/0", "id": "a", "entry_point": "half", "prompt": "def half(x):\n    \"\"\" Half of x. \"\"\"\n",
        "canonical_solution": "    return x / 2\n", "test": "def check(f):\n    assert f(4) == 2\n"});
    let other = json!({"id": "b", "entry_point": row["entry_point"], "prompt": row["prompt"], "test": row["test"]});
    let answer =
        |id: &str, text: &str| json!({"id": id, "prompt": row["prompt"], "responses": [text]});
    let answers = [answer("a", "    return x / 2"), answer("b", "    return x")];
    let lines = |rows: &[Value]| {
        rows.iter()
            .map(|row| format!("{row}\n"))
            .collect::<String>()
    };
    let folder = folder(&[
        ("code.jsonl", &lines(&[row, other])),
        ("answers.jsonl", &lines(&answers)),
    ]);
    let words = [
        "exam",
        "humaneval",
        "--data",
        "code.jsonl",
        "--responses",
        "answers.jsonl",
    ];
    let asked = duel(&folder, &[&words[..], &["--run-code", "--json"]].concat());
    if cfg!(not(feature = "code-execution")) {
        assert_eq!(asked.code, 2, "{}", asked.err);
        assert!(
            asked
                .err
                .contains("cargo build --release --features code-execution"),
            "{}",
            asked.err
        );
    } else {
        assert_eq!(asked.code, 0, "{}", asked.err);
        let score = &asked.json()[0]["scores"]["pass@1"];
        assert_eq!((&score["mean"], &score["count"]), (&json!(0.5), &json!(2)));
        let unasked = duel(&folder, &words);
        assert_eq!(unasked.code, 2, "{}", unasked.err);
        assert!(unasked.err.contains("give --run-code"), "{}", unasked.err);
    }
}

#[test]
fn an_exam_of_answers_is_written_by_the_model() {
    let row = "{\"question\": \"How many legs have two cats?\", \"answer\": \"2*4=8\\n#### 8\"}\n";
    let other = row.replace("two cats", "four hens");
    let folder = folder(&[("gsm8k.jsonl", row), ("shots.jsonl", &other)]);
    let words = [
        "exam",
        "gsm8k",
        "--model",
        "quickstart",
        "--data",
        "gsm8k.jsonl",
    ];
    let more = [
        "--shots",
        "1",
        "--shots-from",
        "shots.jsonl",
        "--max-new-tokens",
        "8",
        "--json",
    ];
    let said = duel(&folder, &[&words[..], &more].concat());
    let found = &said.json()[0];
    assert_eq!(
        (&found["questions"], &found["shots"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(found["scores"].as_object().unwrap().len(), 2);
    assert_eq!(found["cut_off"], 1);
    let fact = "1 of 1 answers were cut off before their end";
    assert!(said.err.contains(fact), "{}", said.err);
    // Nothing is answered, and why is said all the same.
    let none = duel(
        &folder,
        &[&words[..], &["--max-length", "9", "--max-new-tokens", "8"]].concat(),
    );
    assert_eq!(none.code, 1, "{}", none.out);
    assert!(
        none.err
            .contains("left out: no room for an answer of 8 tokens: 1"),
        "{}",
        none.err
    );
}
