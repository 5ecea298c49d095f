//! Chat benchmarks: answers of the model inside the binary, and a judge that is a server on this machine.

use super::hub::Hub;
use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A chat endpoint that answers every question by `reply`, and remembers them.
struct Endpoint {
    url: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Endpoint {
    fn start(reply: fn(&str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || answer(stream.unwrap(), reply, &log));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request and closes.
fn answer(mut stream: TcpStream, reply: fn(&str) -> String, log: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let said = reply(body["messages"][0]["content"].as_str().unwrap());
    log.lock().unwrap().push(body);
    let said = json!({"choices": [{"message": {"content": said}}]}).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        said.len()
    );
    stream.write_all((head + &said).as_bytes()).unwrap();
}

/// Runs `duel` with a cache of its own in the folder.
fn judged(folder: &TempDir, arguments: &[&str]) -> Said {
    let cache = folder.path().join("cache");
    said(
        command(folder.path(), arguments)
            .env("XDG_CACHE_HOME", &cache)
            .env("LOCALAPPDATA", &cache)
            .env("HOME", &cache),
    )
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// Two questions of our own in MT-Bench's form.
fn questions() -> String {
    lines(&[
        json!({"question_id": 81, "category": "writing", "turns": ["Say hello.", "Again, please."]}),
        json!({"question_id": 111, "category": "math", "turns": ["Count to two.", "And to three?"], "reference": ["1 2", "1 2 3"]}),
    ])
}

/// First turns are graded 8, second turns 5, those with a reference one less.
fn grader(question: &str) -> String {
    let second = question.contains("question 2, and");
    let less = usize::from(question.to_lowercase().contains("[reference"));
    format!("Rating: [[{}]]", if second { 5 } else { 8 } - less)
}

#[test]
fn mt_bench_is_written_in_two_turns_graded_elsewhere_and_nothing_is_done_twice() {
    let server = Endpoint::start(grader);
    let folder = folder(&[("question.jsonl", &questions())]);
    let words = [
        "exam",
        "mt_bench",
        "--model",
        "quickstart",
        "--data",
        "question.jsonl",
        "--remote",
        &server.url,
        "--remote-model",
        "judge-1",
        "--max-new-tokens",
        "8",
        "--answers",
        "answers.jsonl",
    ];
    let json = judged(
        &folder,
        &[&words[..], &["--json", "--out", "lines.jsonl"]].concat(),
    );
    assert_eq!(json.code, 0, "{}", json.err);
    let found = &json.json()[0];
    let mean = |of: &Value, measure: &str| of[measure]["mean"].as_f64().unwrap();
    let scores = &found["scores"];
    assert_eq!(
        (mean(scores, "first_turn"), mean(scores, "second_turn")),
        (7.5, 4.5)
    );
    assert_eq!(
        (mean(scores, "both_turns"), &found["questions"]),
        (6.0, &json!(2))
    );
    assert_eq!(mean(&found["parts"]["math"], "both_turns"), 5.5);
    assert_eq!(
        (&found["exam"], &found["judge"]),
        (&json!("mt_bench"), &json!("judge-1"))
    );
    let interval = [&scores["both_turns"]["low"], &scores["both_turns"]["high"]];
    assert_eq!(interval, [&json!(5.5), &json!(6.5)]);

    // The judge sees the model's own answers, the second turn's with the whole conversation.
    let answers = fs::read_to_string(folder.path().join("answers.jsonl")).unwrap();
    let rows: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 4);
    let asked = server.asked();
    assert_eq!(asked.len(), 4);
    let question = |body: &Value| body["messages"][0]["content"].as_str().unwrap().to_owned();
    let second = asked
        .iter()
        .map(question)
        .find(|q| q.contains("Again, please."))
        .unwrap();
    for row in rows
        .iter()
        .filter(|row| row["id"].as_str().unwrap().starts_with("81"))
    {
        let answer = row["responses"][0].as_str().unwrap();
        assert!(
            second.contains(&format!("### Assistant:\n{answer}\n")),
            "{second}"
        );
    }
    assert_eq!(
        (&asked[0]["temperature"], &asked[0]["max_tokens"]),
        (&json!(0.0), &json!(2048))
    );
    let line = fs::read_to_string(folder.path().join("lines.jsonl")).unwrap();
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&line["points"], &line["replies"][0]),
        (&json!([8.0, 5.0]), &json!("Rating: [[8]]"))
    );

    // The same command again draws nothing and asks nothing.
    let again = judged(&folder, &words);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(server.asked().len(), 4);
    assert_eq!(
        fs::read_to_string(folder.path().join("answers.jsonl")).unwrap(),
        answers
    );
    for shown in ["both turns", "6.00", "5.50 to 6.50", "judged by judge-1"] {
        assert!(again.out.contains(shown), "{shown}: {}", again.out);
    }
    let longer = judged(&folder, &[&words[..], &["--max-length", "99"]].concat());
    assert_eq!(longer.code, 2, "{}", longer.err);
    assert!(
        longer.err.contains("was made by another call"),
        "{}",
        longer.err
    );
    assert!(
        longer.err.contains("give another --answers"),
        "{}",
        longer.err
    );
}

/// Whoever stands as A wins by far, unless the other is marked as good.
fn arena(question: &str) -> String {
    let good = |side: &str| question.contains(&format!("[Assistant {side}'s answer begins]\ngood"));
    match (good("A"), good("B")) {
        (true, false) => "[[A>>B]]".to_owned(),
        (false, true) => "[[B>A]]".to_owned(),
        _ => "[[A>B]]".to_owned(),
    }
}

#[test]
fn arena_hard_is_two_games_against_a_baseline_and_by_far_counts_three_times() {
    let server = Endpoint::start(arena);
    let asked = ["a", "b", "c"].map(|id| {
        json!({"question_id": id, "category": "arena-hard-v0.1", "cluster": "x", "turns": [{"content": "Explain."}]})
    });
    let row = |id: &str, model: &str, text: &str| json!({"question_id": id, "model_id": model, "choices": [{"index": 0, "turns": [{"content": text}]}]});
    let own = lines(&[row("a", "m", "good one"), row("b", "m", "plain")]);
    let baseline = ["a", "b", "c"].map(|id| row(id, "gpt-4-0314", "plain"));
    let folder = folder(&[
        ("question.jsonl", &lines(&asked)),
        ("own.jsonl", &own),
        ("gpt-4-0314.jsonl", &lines(&baseline)),
    ]);
    let words = [
        "exam",
        "arena_hard",
        "--responses",
        "own.jsonl",
        "--data",
        "question.jsonl",
        "--remote",
        &server.url,
        "--remote-model",
        "judge-1",
    ];
    let said = judged(&folder, &words);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err.contains("none are named") && said.err.contains("--baseline FILE"),
        "{}",
        said.err
    );
    let words = [&words[..], &["--baseline", "gpt-4-0314.jsonl", "--json"]].concat();
    let said = judged(&folder, &words);
    assert_eq!(said.code, 0, "{}", said.err);
    let found = &said.json()[0];
    // `a` wins once as B and by far as A: 1 + 3 of 4. `b` loses as B and wins as A: 1 of 2.
    assert_eq!(found["scores"]["win_rate"]["count"], 6);
    let rate = found["scores"]["win_rate"]["mean"].as_f64().unwrap();
    assert!((rate - 5.0 / 6.0).abs() < 1e-12, "{found}");
    assert_eq!(found["baseline"], json!(["gpt-4-0314"]));
    assert_eq!(found["left_out"], json!({"no answer": 1}));
    assert!(!said.err.contains("of another scale"), "{}", said.err);
}

#[test]
fn alpaca_eval_compares_with_its_own_rows_or_another_file_and_is_controlled_for_length() {
    let server = Endpoint::start(|question| {
        let good = |side: &str| question.contains(&format!("[Model `{side}` begins]\ngood"));
        if good("M") {
            "M".to_owned()
        } else {
            "m".to_owned()
        }
    });
    let row = |instruction: &str, output: &str, generator: &str| json!({"dataset": "koala", "instruction": instruction, "output": output, "generator": generator});
    let data = json!([
        row("A?", "plain", "gpt4_1106_preview"),
        row("B?", "plain", "gpt4_1106_preview")
    ]);
    // In another order: answers go by their instruction.
    let own = json!([row("B?", "plain", "mine"), row("A?", "good", "mine")]);
    let folder = folder(&[
        ("alpaca_eval.json", &data.to_string()),
        ("own.json", &own.to_string()),
    ]);
    let words = [
        "exam",
        "alpaca_eval",
        "--responses",
        "own.json",
        "--data",
        "alpaca_eval.json",
        "--remote",
        &server.url,
        "--remote-model",
        "judge-1",
    ];
    let said = judged(&folder, &[&words[..], &["--json"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let scores = &said.json()[0]["scores"];
    assert_eq!(scores["win_rate"]["mean"], json!(0.75));
    assert!(
        scores["length_controlled_win_rate"]["mean"]
            .as_f64()
            .is_some(),
        "{scores}"
    );
    let shown = judged(&folder, &[&words[..], &["--baseline", "own.json"]].concat());
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(
        shown
            .err
            .contains("compare with gpt4_1106_preview, these with mine"),
        "{}",
        shown.err
    );
    assert!(
        shown.out.contains("length controlled win rate"),
        "{}",
        shown.out
    );
}

#[test]
fn a_rule_judges_without_a_network_and_what_is_asked_wrongly_says_how() {
    let folder = folder(&[("question.jsonl", &questions())]);
    let words = [
        "exam",
        "mt_bench",
        "--model",
        "quickstart",
        "--data",
        "question.jsonl",
        "--max-new-tokens",
        "6",
    ];
    let said = duel(&folder, &[&words[..], &["--rule", "length:3"]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("judged by length:3"), "{}", said.out);
    let wrong = |more: &[&str], told: &str| {
        let said = duel(&folder, &[&words[..], more].concat());
        assert_eq!(said.code, 2, "{}", said.err);
        assert!(said.err.contains(told), "{told}: {}", said.err);
    };
    wrong(&[], "no judge was named");
    wrong(
        &["--rule", "length:3", "--baseline", "x.jsonl"],
        "leave --baseline away",
    );
    wrong(
        &["--remote", "localhost", "--remote-model", "m"],
        "is no address to ask",
    );
    wrong(&["--judge", "quickstart"], "grades each by itself");
    let kept = ["--answers", "kept.jsonl"];
    wrong(
        &[&kept[..], &["--command", "no-such-judge x"]].concat(),
        "no program `no-such-judge`",
    );
    assert!(
        !folder.path().join("kept.jsonl").exists(),
        "nothing was drawn"
    );
    let same = ["--rule", "length:3", "--out", "kept.jsonl"];
    wrong(&[&kept[..], &same].concat(), "is the file of --answers too");
    let said = duel(
        &folder,
        &[
            "exam",
            "gsm8k",
            "--model",
            "quickstart",
            "--data",
            "question.jsonl",
            "--rule",
            "answer",
        ],
    );
    assert!(said.err.contains("nobody judges gsm8k"), "{}", said.err);
}

#[test]
fn rows_come_from_the_hub_and_then_from_the_cache() {
    let rows = "{\"question\": \"Which can fly?\", \"choices\": [\"a bird\", \"a stone\"], \"answer\": 0}\n";
    let bench = lines(&[
        json!({"prompt": "Hi", "chosen": "Hello.", "rejected": "No.", "subset": "llmbar-natural"}),
    ]);
    let hub = Hub::with_rows(&[
        ("data/filtered-00000-of-00001.jsonl", &bench[..]),
        ("data/raw-00000-of-00001.jsonl", "no rows"),
        ("ARC/test.jsonl", rows),
        ("ARC/train.jsonl", rows),
    ]);
    let folder = folder(&[]);
    let exam = [
        "exam",
        "arc",
        "--model",
        "quickstart",
        "--data",
        "hf://datasets/me/rows/ARC",
        "--json",
    ];
    let eval = [
        "eval",
        "--pairwise",
        "quickstart",
        "--rewardbench",
        "me/rows",
        "--json",
    ];
    for words in [&exam[..], &eval] {
        let said = duel_online(&folder, &hub.endpoint, words);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    let asked = hub.asked();
    assert!(
        !asked
            .iter()
            .any(|target| target.contains("raw-") || target.contains("train")),
        "{asked:?}"
    );
    // The hub is gone: the cache has what was asked for.
    let offline = said(
        command(folder.path(), &exam)
            .env_remove("HF_HUB_CACHE")
            .env("HF_HOME", folder.path().join("hf")),
    );
    assert_eq!(offline.code, 0, "{}", offline.err);
    assert_eq!(offline.json()[0]["questions"], 1);
    let missing = duel(
        &folder,
        &[
            "eval",
            "--pairwise",
            "quickstart",
            "--data",
            "nobody/nothing",
        ],
    );
    assert_eq!(missing.code, 2, "{}", missing.err);
    assert!(missing.err.contains("duel is offline"), "{}", missing.err);
}
