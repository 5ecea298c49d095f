//! What a person meets at the command line: help, tables, errors, exit codes. Runs the binary.
#![allow(clippy::unwrap_used)]

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/best_of.rs"]
mod best_of;
#[path = "cli/chat_benchmarks.rs"]
mod chat_benchmarks;
#[path = "cli/data.rs"]
mod data;
#[path = "cli/data_sets.rs"]
mod data_sets;
#[path = "cli/dry_run.rs"]
mod dry_run;
#[path = "cli/evaluation.rs"]
mod evaluation;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/hub.rs"]
mod hub;
#[cfg(unix)]
#[path = "cli/interrupted.rs"]
mod interrupted;
#[path = "cli/judges.rs"]
mod judges;
#[path = "cli/killed.rs"]
mod killed;
#[path = "cli/lines.rs"]
mod lines;
#[path = "cli/multi_objective.rs"]
mod multi_objective;
#[path = "cli/narrow.rs"]
mod narrow;
#[path = "cli/newcomer.rs"]
mod newcomer;
#[path = "cli/pairwise.rs"]
mod pairwise;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/rounds.rs"]
mod rounds;
#[path = "cli/rows.rs"]
mod rows;
#[path = "cli/runs.rs"]
mod runs;
#[path = "cli/template.rs"]
mod template;
#[path = "cli/verdicts.rs"]
mod verdicts;
#[path = "cli/verifier.rs"]
mod verifier;
#[path = "cli/wrong_rows.rs"]
mod wrong_rows;

use insta::assert_snapshot;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A few pairs, each with a prompt of its own.
const PAIRS: &str = r#"{"prompt": [{"role": "user", "content": "Say hello"}], "chosen": "Hello, my friend.", "rejected": "No."}
{"prompt": [{"role": "user", "content": "Count to three"}], "chosen": "One, two, three.", "rejected": "Three."}
{"prompt": [{"role": "user", "content": "Name a colour"}], "chosen": "Blue is a colour.", "rejected": "A cat."}
{"prompt": [{"role": "user", "content": "Name an animal"}], "chosen": "A cat is one.", "rejected": "Blue."}
{"prompt": [{"role": "user", "content": "What is the sun?"}], "chosen": "A star that gives us light.", "rejected": "I cannot say."}
{"prompt": [{"role": "user", "content": "Who are you?"}], "chosen": "I am here to help you.", "rejected": "Nobody."}
"#;

/// What a command said and how it ended.
struct Said {
    out: String,
    err: String,
    code: i32,
}

impl Said {
    /// Every line of stdout as JSON.
    fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duel"));
    command
        .current_dir(folder)
        .args(arguments)
        .env_remove("DUEL_LOG")
        .env("COLUMNS", "100")
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("HF_HUB_CACHE")
        .env("HF_HOME", folder.join("hf"));
    command
}

/// Runs `duel` with these arguments in a folder.
fn duel(folder: &TempDir, arguments: &[&str]) -> Said {
    said(&mut command(folder.path(), arguments))
}

/// The same with a hub at `endpoint` and nothing in the cache but what earlier calls in the folder left there.
fn duel_online(folder: &TempDir, endpoint: &str, arguments: &[&str]) -> Said {
    said(
        command(folder.path(), arguments)
            .env_remove("HF_HUB_OFFLINE")
            .env("HF_ENDPOINT", endpoint),
    )
}

fn said(command: &mut Command) -> Said {
    let output = command.output().expect("duel starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("duel writes UTF-8");
    Said {
        out: text(output.stdout).replace("duel.exe", "duel"),
        err: text(output.stderr).replace("duel.exe", "duel"),
        code: output.status.code().expect("duel exits"),
    }
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn help_says_what_a_command_is_for_with_an_example() {
    let help = |arguments: &[&str]| {
        let said = duel(&folder(&[]), arguments).out;
        // Between a flag's help and its default clap leaves a line of blanks.
        said.lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect::<String>()
    };
    assert_snapshot!(help(&["data", "check", "--help"]), @"
    Say what files hold: the kind of rows, counts, and each bad row with its line, its field and the
    mend

    Exit code 1 when there are malformed rows, unless --skip-bad says that they are no failure. With a
    model also the lengths in tokens; with --max-length what the limit does to them. With --json one
    line a file.

    Example: duel data check pairs.jsonl --model HuggingFaceTB/SmolLM2-135M-Instruct --max-length 512

    Usage: duel data check [OPTIONS] <FILE>...

    Arguments:
      <FILE>...
              Files of rows: jsonl or parquet, data sets of the hub, or `quickstart:NAME`

    Options:
          --model <MODEL>
              Whose tokenizer and chat template count the tokens

          --max-length <N>
              Prompt and response together, in tokens: what is longer loses the head of its prompt

          --apart-from <FILE>...
              Say how many rows have a prompt that these files have, too: those that a judge or a model
              will be measured on

          --as <KIND>
              What the rows are: `auto` takes the first of the others that some row is

              Possible values:
              - auto:       The first of the others that some row is
              - preference: A prompt with a chosen and a rejected response
              - steps:      A problem with solutions and labels of them or of their steps
              - sft:        A conversation or text to imitate
              - ratings:    A response with a number for each attribute that somebody rated
              - prompt:     Something to respond to

              [default: auto]

          --skip-bad
              Count and list rows that cannot be read instead of stopping at the first

          --text-as-chat
              Take text prompts as a user's turn, with the model's chat template around them; text is
              else taken as it stands

          --column <NAME=COLUMN>
              The file's name of a column: `prompt=question`; may be repeated

      -h, --help
              Print help (see a summary with '-h')

    Global options:
          --backend <NAME>
              Where to compute: auto, cpu, vulkan, metal, dx12, webgpu, cuda, rocm

              [default: auto]

          --device <N>
              Which device of that backend; left out, the first

          --json
              Print JSON instead of a table

      -q, --quiet
              No progress bars and no line a step
    ");
    assert_snapshot!(help(&["runs", "--help"]), @"
    List, show and compare runs, and write their reports

    Example: duel runs list

    Usage: duel runs [OPTIONS] <COMMAND>

    Commands:
      list     List the runs, the latest first
      show     Show how a run stands: its stages and the numbers of its last round
      compare  Put runs side by side: their results, and the recipe keys in which they differ
      report   Write report.html anew and print its path
      help     Print this message or the help of the given subcommand(s)

    Options:
          --output-dir <DIR>
              The folder of runs: where a run is looked for by its name

              [default: runs]

      -h, --help
              Print help (see a summary with '-h')

    Global options:
          --backend <NAME>
              Where to compute: auto, cpu, vulkan, metal, dx12, webgpu, cuda, rocm

              [default: auto]

          --device <N>
              Which device of that backend; left out, the first

          --json
              Print JSON instead of a table

      -q, --quiet
              No progress bars and no line a step
    ");
}

#[test]
fn every_command_has_an_example() {
    let reference = duel::cli::reference::markdown();
    let sections: Vec<&str> = reference.split("\n## duel ").skip(1).collect();
    assert!(sections.len() > 15, "{} commands", sections.len());
    for section in sections {
        assert!(
            section.contains("\n\n    duel "),
            "no example in: duel {section}"
        );
    }
}

#[test]
fn a_missing_file_is_a_mistake_in_the_command() {
    let folder = folder(&[]);
    let said = duel(&folder, &["data", "check", "pairs.jsonl"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(
        said.err.starts_with("error: cannot open pairs.jsonl: "),
        "{}",
        said.err
    );
    assert!(said.err.ends_with("hint: check the path\n"), "{}", said.err);
    let said = duel(&folder, &["export", "no/such/model", "--out", "x"]);
    assert_ne!(said.code, 0);
    assert!(
        said.err.contains("no/such/model") && said.err.contains("hint: "),
        "{}",
        said.err
    );
}

#[test]
fn a_flag_that_does_not_exist_exits_with_2() {
    let said = duel(&folder(&[]), &["runs", "list", "--al"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("unexpected argument '--al'"),
        "{}",
        said.err
    );
}

#[test]
fn an_unknown_recipe_key_gets_a_caret() {
    let recipe = "name = \"mine\"\n[model]\nmodel_name_or_path = \"quickstart\"\n[sft.data]\nfiles = \"rows.jsonl\"\n[sft.train]\nlearning_rat = 1e-5\n";
    let row = "{\"prompt\": \"sky?\", \"completion\": \"blue\"}\n";
    let folder = folder(&[("mine.toml", recipe), ("rows.jsonl", row)]);
    let said = duel(&folder, &["recipe", "check", "mine.toml"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert_snapshot!(said.err, @"
    error: mine.toml:7: `[sft.train]` has no key `learning_rat`
      |
    7 | learning_rat = 1e-5
      | ^^^^^^^^^^^^

    hint: did you mean `learning_rate`?
    ");
    fs::write(
        folder.path().join("mine.toml"),
        recipe.replace("rat ", "rate "),
    )
    .unwrap();
    let said = duel(&folder, &["recipe", "check", "mine.toml"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "mine.toml is sound: `mine` runs sft\n"),
        "{}",
        said.err
    );
    fs::write(folder.path().join("rows.jsonl"), format!("{row}{{}}\n")).unwrap();
    let said = duel(&folder, &["recipe", "check", "mine.toml"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("rows.jsonl:2: "), "{}", said.err);
    fs::remove_file(folder.path().join("rows.jsonl")).unwrap();
    let said = duel(&folder, &["recipe", "check", "mine.toml"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("mine.toml:5: ") && said.err.contains("^^^"),
        "{}",
        said.err
    );
}

#[test]
fn a_shown_recipe_says_where_its_values_came_from() {
    let folder = folder(&[]);
    let arguments = ["recipe", "show", "smollm2-hh/online", "--set", "seed=7"];
    let said = duel(&folder, &arguments);
    let seed = said
        .out
        .lines()
        .find(|line| line.starts_with("seed = "))
        .expect("a seed");
    assert!(
        seed.starts_with("seed = 7 ") && seed.ends_with("# --set"),
        "{seed}"
    );
    let shown = duel(&folder, &[&arguments[..], &["--json"]].concat())
        .json()
        .remove(0);
    assert_eq!(
        (&shown["recipe"]["seed"], &shown["origins"]["seed"]),
        (&json!(7), &json!("--set"))
    );
    let names = duel(&folder, &["recipe", "list", "--json"]).json();
    assert!(
        names
            .iter()
            .any(|recipe| recipe["name"] == "smollm2-hh/online")
    );
    let schema: Value = serde_json::from_str(&duel(&folder, &["recipe", "schema"]).out).unwrap();
    assert!(schema["properties"]["online"].is_object());
}

#[test]
fn devices_are_listed() {
    let devices = duel(&folder(&[]), &["devices", "--json"]).json();
    assert_eq!(
        (&devices[0]["backend"], &devices[0]["chosen"]),
        (&json!("cpu"), &json!(true))
    );
    let note = devices[0]["note"].as_str().unwrap();
    assert!(note.contains("auto takes it: "), "{note}");
    let of = |backend: &str| duel(&folder(&[]), &["devices", "--json", "--backend", backend]);
    assert!(
        of("cpu")
            .json()
            .iter()
            .all(|device| device["backend"] == "cpu")
    );
    let none = of("abacus");
    assert_eq!(none.code, 2, "{}", none.out);
    assert!(none.err.contains("abacus"), "{}", none.err);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = folder(&[]);
    let mut child = command(folder.path(), &["recipe", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("duel starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("duel exits");
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}
