//! ^C: once, and a run stops at a safe point and says how to go on; twice, and it ends at once. A command that keeps
//! nothing does not say otherwise.

use super::killed::{RECIPE, RUN, outputs, undisturbed, wait_for};
use super::{Said, command, duel, folder};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

const FIRST: &str = "stopping after this step; press ^C again to stop at once\n";

fn spawn(folder: &Path, arguments: &[&str]) -> (Child, BufReader<ChildStderr>) {
    let mut child = command(folder, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let err = BufReader::new(child.stderr.take().unwrap());
    (child, err)
}

fn press(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success(), "no process {pid}");
}

/// What it says from here on.
fn end(mut child: Child, mut err: BufReader<ChildStderr>) -> Said {
    let mut said = Said {
        out: String::new(),
        err: String::new(),
        code: 0,
    };
    err.read_to_string(&mut said.err).unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_to_string(&mut said.out).unwrap();
    said.code = child.wait().unwrap().code().expect("it exits by itself");
    said
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_ends_with_the_same_bits() {
    let torn = folder(&[("recipe.toml", RECIPE)]);
    for moment in [
        "reward.open.json",
        "round-1/responses.jsonl",
        "round-1/checkpoint.open.json",
        "round-2/responses.jsonl",
    ] {
        let (mut child, err) = spawn(torn.path(), &RUN);
        wait_for(&mut child, &torn.path().join("runs/killed").join(moment));
        press(&child);
        let said = end(child, err);
        assert_eq!(said.code, 130, "{moment}: {}", said.err);
        let (first, error) = said.err.split_once("error: stopped ").unwrap_or_default();
        assert!(first.contains(FIRST), "{moment}: {}", said.err);
        let hint = "; everything up to here is saved\n\nhint: run the same command again: it continues from here\n";
        assert!(error.ends_with(hint), "{moment}: {}", said.err);
    }
    let said = duel(&torn, &RUN);
    assert_eq!(said.code, 0, "{}", said.err);
    let torn = outputs(&torn.path().join("runs/killed"));
    let whole = undisturbed();
    assert!(whole.keys().eq(torn.keys()), "{:?}", torn.keys());
    for (path, bytes) in whole {
        assert!(bytes == &torn[path], "{} differs", path.display());
    }
}

#[test]
fn the_second_interrupt_does_not_wait_for_the_step() {
    let one_long_step = RECIPE
        .replacen("max_rows = 48", "max_rows = 400", 1)
        .replacen(
            "gradient_accumulation_steps = 1",
            "gradient_accumulation_steps = 40",
            1,
        );
    let folder = folder(&[("recipe.toml", &one_long_step)]);
    let (mut child, mut err) = spawn(folder.path(), &RUN);
    wait_for(
        &mut child,
        &folder.path().join("runs/killed/reward.open.json"),
    );
    press(&child);
    let mut line = String::new();
    while line != FIRST {
        line.clear();
        assert_ne!(err.read_line(&mut line).unwrap(), 0, "no word of the first");
    }
    press(&child);
    let said = end(child, err);
    assert_eq!(
        (said.code, said.err.as_str()),
        (
            130,
            "\nstopped; the run continues from its last checkpoint with the same command\n"
        )
    );
}

#[test]
fn a_command_without_a_journal_does_not_promise_to_continue() {
    let rows: String = (0..1500)
        .map(|i| json!({"prompt": format!("Count to {i}"), "chosen": " One, two.", "rejected": " No, not I."}))
        .map(|row| format!("{row}\n"))
        .collect();
    let folder = folder(&[("pairs.jsonl", &rows)]);
    let arguments = [
        "score",
        "--model",
        "quickstart",
        "--data",
        "pairs.jsonl",
        "--max-tokens-per-batch",
        "256",
    ];
    let (child, mut err) = spawn(folder.path(), &arguments);
    let mut report = String::new();
    err.read_line(&mut report).unwrap();
    press(&child);
    let said = end(child, err);
    assert_eq!((said.code, said.out.as_str()), (130, ""), "{}", said.err);
    let wanted = "error: stopped before the end; this command keeps nothing\n\n\
                  hint: run the same command again: it begins anew\n";
    assert!(said.err.ends_with(wanted), "{}", said.err);
}

/// One batch of it takes longer than anybody waits.
#[test]
fn what_keeps_nothing_ends_at_the_first_interrupt() {
    let words = "Tell me why the sky is blue. ".repeat(40);
    let row = json!({"question": words, "answer": "#### 3"});
    let rows = format!("{row}\n").repeat(600);
    let folder = folder(&[("gsm8k.jsonl", &rows)]);
    let arguments = [
        "exam",
        "gsm8k",
        "--model",
        "quickstart",
        "--data",
        "gsm8k.jsonl",
        "--max-new-tokens",
        "64",
        "--max-tokens-per-batch",
        "40000",
    ];
    let (child, mut err) = spawn(folder.path(), &arguments);
    let mut report = String::new();
    err.read_line(&mut report).unwrap();
    let pressed = Instant::now();
    press(&child);
    let said = end(child, err);
    assert!(pressed.elapsed() < Duration::from_secs(2), "{}", said.err);
    let wanted = "error: stopped before the end; this command keeps nothing\n\n\
                  hint: run the same command again: it begins anew\n";
    assert_eq!(said.code, 130);
    assert!(said.err.ends_with(wanted), "{}", said.err);
}
