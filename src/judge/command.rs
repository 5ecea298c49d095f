//! Any program as the judge: a line of JSON for each prompt on its input, a line of JSON with the rewards on its output.
//!
//! In: `{"id": "…", "prompt": [turns] or "text", "responses": ["…", …]}`, with the row's `answer` where it has one. Out, in the same order: `{"rewards": [0.5, …]}`, one
//! number a response, higher is better. What the program writes to its error output is shown when it fails.

use super::judge::{Group, Judge, Scores};
use crate::error::{Error, Result};
use crate::run::interrupt;
use crate::text::Prompt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A program that scores.
pub struct CommandJudge {
    /// The program and its arguments.
    pub program: Vec<String>,
    /// How long it may take for one prompt's responses.
    pub timeout: Duration,
}

/// A line that it answers with.
#[derive(Deserialize)]
struct Answer {
    rewards: Vec<f64>,
}

/// Lines of the error output that are kept for a message.
const LAST_WORDS: usize = 8;

/// How long a program may take to end when there is nothing more to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often a wait looks whether ^C was pressed.
const GLANCE: Duration = Duration::from_millis(200);

impl Judge for CommandJudge {
    fn scores(&mut self, groups: &[Group], from: usize, done: &mut Scores) -> Result<()> {
        let mut running = self.start(&groups[from..])?;
        for group in &groups[from..] {
            let line = running.line(group, self.timeout)?;
            let rewards = rewards(&line).and_then(|rewards| fitting(group, rewards));
            done(group, rewards.map_err(|why| running.error(group, &why))?)?;
        }
        running.failed = false;
        Ok(())
    }
}

/// The numbers of a line.
fn rewards(line: &str) -> std::result::Result<Vec<f64>, String> {
    let answer: Answer = serde_json::from_str(line).map_err(|error| {
        let shown: String = line.chars().take(200).collect();
        format!("a line that is no JSON with `rewards` ({error}): {shown}")
    })?;
    Ok(answer.rewards)
}

/// One finite number a response.
fn fitting(group: &Group, rewards: Vec<f64>) -> std::result::Result<Vec<f32>, String> {
    let responses = group.responses.len();
    if rewards.len() != responses {
        return Err(format!(
            "{} rewards for {responses} responses",
            rewards.len()
        ));
    }
    let rewards: Vec<f32> = rewards.into_iter().map(|reward| reward as f32).collect();
    match rewards.iter().find(|reward| !reward.is_finite()) {
        Some(bad) => Err(format!("the reward {bad}")),
        None => Ok(rewards),
    }
}

/// What the program is told of a group.
fn question(group: &Group) -> Value {
    let prompt = match &group.prompt {
        Prompt::Chat(turns) => json!(turns),
        Prompt::Text(text) => json!(text),
        Prompt::Ids(ids) => json!(ids),
    };
    let mut question = json!({"id": group.id, "prompt": prompt, "responses": group.responses});
    if let Some(answer) = &group.answer {
        question["answer"] = json!(answer);
    }
    question
}

/// The program at work. Dropped, it is ended.
struct Running {
    name: String,
    child: Child,
    lines: Receiver<std::io::Result<String>>,
    last_words: Arc<Mutex<VecDeque<String>>>,
    listener: JoinHandle<()>,
    /// It has not answered everything: there is nothing to wait for.
    failed: bool,
}

impl CommandJudge {
    fn start(&self, groups: &[Group]) -> Result<Running> {
        let Some((name, arguments)) = self.program.split_first() else {
            return Err(Error::user("the judge's command is empty")
                .hint("write the program and its arguments, for example `python3 judge.py`"));
        };
        let mut command = Command::new(name);
        command.args(arguments);
        // A terminal's ^C is for duel, which then ends the program.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Error::user(format!("the judge {name} does not start: {error}")).hint(
                    "`program` is a list, the program and its arguments: it is looked for in PATH, and relative paths \
                     begin where duel was started",
                )
            })?;
        let mut input = child.stdin.take().expect("it is piped");
        let questions: Vec<Value> = groups.iter().map(question).collect();
        thread::spawn(move || {
            // A program that has gone is noticed by whoever waits for its answer.
            let _ = questions
                .iter()
                .try_for_each(|question| writeln!(input, "{question}"));
        });
        let (send, lines) = channel();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        thread::spawn(move || {
            let nobody_listens = |line| send.send(line).is_err();
            output.lines().any(nobody_listens)
        });
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let (words, errors) = (
            last_words.clone(),
            child.stderr.take().expect("it is piped"),
        );
        let listener = thread::spawn(move || {
            for line in BufReader::new(errors)
                .lines()
                .map_while(std::io::Result::ok)
            {
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                words.push_back(line);
                if words.len() > LAST_WORDS {
                    words.pop_front();
                }
            }
        });
        Ok(Running {
            name: name.clone(),
            child,
            lines,
            last_words,
            listener,
            failed: true,
        })
    }
}

impl Running {
    /// The next line that is not empty.
    fn line(&mut self, group: &Group, timeout: Duration) -> Result<String> {
        let began = Instant::now();
        loop {
            if interrupt::requested() {
                return Err(interrupt::error("stopped while judging"));
            }
            match self.lines.recv_timeout(GLANCE) {
                Ok(Ok(line)) if line.trim().is_empty() => {}
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(error)) => return Err(self.error(group, &format!("no text: {error}"))),
                Err(RecvTimeoutError::Disconnected) => return Err(self.gone(group)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if began.elapsed() >= timeout {
                return Err(Error::data(format!(
                    "the judge {} gave no answer for row {} within {} s{}",
                    self.name,
                    group.id,
                    timeout.as_secs_f64(),
                    self.last_words()
                ))
                .hint(
                    "raise the judge's `timeout_seconds` in the recipe (the first row's time is also that of starting), or \
                     let it flush its output after each line",
                ));
            }
        }
    }

    fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if began.elapsed() < patience => {
                    thread::sleep(Duration::from_millis(5));
                }
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }

    fn gone(&mut self, group: &Group) -> Error {
        // It may have closed its output and live on.
        let status = match self.ended_within(PATIENCE) {
            Some(status) => status.to_string(),
            None => "it closed its output".to_owned(),
        };
        // Its error output may still be on the way, and another program may hold it open.
        let began = Instant::now();
        while !self.listener.is_finished() && began.elapsed() < Duration::from_secs(1) {
            thread::sleep(Duration::from_millis(5));
        }
        Error::data(format!(
            "the judge {} ended before it answered row {} ({status}){}",
            self.name,
            group.id,
            self.last_words()
        ))
        .hint("it has to read lines until there are none, and answer each; in a run, rows that are judged stay judged")
    }

    fn error(&self, group: &Group, gave: &str) -> Error {
        Error::data(format!(
            "the judge {} gave {gave} (row {}){}",
            self.name,
            group.id,
            self.last_words()
        ))
        .hint("each line has to be {\"rewards\": [...]}, one number a response, in the order of the rows")
    }

    fn last_words(&self) -> String {
        let words = self
            .last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match words.is_empty() {
            true => String::new(),
            false => format!("; it said:\n  {}", Vec::from(words.clone()).join("\n  ")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its input is at an end: it may still have something to put away.
        let patience = if self.failed {
            Duration::ZERO
        } else {
            PATIENCE
        };
        if self.ended_within(patience).is_none() {
            end_with_its_own(&mut self.child);
        }
    }
}

/// Ends a program and those that it has started.
fn end_with_its_own(child: &mut Child) {
    // It leads a group of its own. Best effort: the program itself is ended in any case.
    #[cfg(unix)]
    let _ = Command::new("sh")
        .args(["-c", "kill -s KILL -- -$0", &child.id().to_string()])
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn groups(count: usize) -> Vec<Group> {
        let group = |i: usize| Group {
            id: format!("row-{i}"),
            prompt: Prompt::Text("Hi".into()),
            responses: vec!["yes".into(), "no\n".into()],
            answer: None,
        };
        (0..count).map(group).collect()
    }

    /// What a shell script as the judge comes to.
    fn judged(script: &str, seconds: f64, from: usize) -> Result<Vec<Vec<f32>>> {
        let mut judge = CommandJudge {
            program: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: Duration::from_secs_f64(seconds),
        };
        let mut all = Vec::new();
        judge.scores(&groups(3), from, &mut |_, rewards| {
            all.push(rewards);
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn each_row_is_asked_once_and_answered_in_order() {
        let count = r#"n=0; while read -r line; do n=$((n+1)); case "$line" in *'"responses":["yes","no\n"]'*) ;; *) exit 3;; esac; echo "{\"rewards\": [$n, 0.5]}"; done"#;
        assert_eq!(
            judged(count, 10.0, 0).unwrap(),
            [[1.0, 0.5], [2.0, 0.5], [3.0, 0.5]]
        );
        assert_eq!(judged(count, 10.0, 2).unwrap(), [[1.0, 0.5]]);
    }

    #[test]
    fn whatever_is_no_answer_is_told_with_the_row_and_the_programs_last_words() {
        let cases = [
            (
                "echo hello >&2; read -r line; exit 7",
                "ended before it answered row row-0 (exit status: 7); it said:\n  hello",
            ),
            ("read -r line; echo nonsense", "no JSON with `rewards`"),
            (
                "read -r line; echo '{\"rewards\": [1]}'",
                "1 rewards for 2 responses",
            ),
            (
                "read -r line; echo '{\"rewards\": [1, null]}'",
                "no JSON with `rewards`",
            ),
            (
                "read -r line; echo '{\"rewards\": [1, 1e999]}'",
                "no JSON with `rewards`",
            ),
            (
                "read -r line; echo '{\"rewards\": [1, 1e200]}'",
                "the reward inf",
            ),
            ("sleep 30", "no answer for row row-0 within 0.3 s"),
        ];
        for (script, fact) in cases {
            let error = judged(script, 0.3, 0).expect_err(script);
            assert!(error.message.contains(fact), "{script}: {}", error.message);
        }
        let missing = CommandJudge {
            program: vec!["no-such-program-of-duel".into()],
            timeout: Duration::from_secs(1),
        };
        let error = missing.start(&groups(1)).err().expect("there is none");
        assert!(
            error.message.contains("does not start"),
            "{}",
            error.message
        );
    }

    /// A shell script that runs a test has a child of its own.
    #[test]
    fn what_the_program_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("alive");
        let script = format!("(while :; do date > {0:?}; sleep 0.02; done) & wait", mark);
        judged(&script, 0.4, 0).expect_err("it never answers");
        std::fs::remove_file(&mark).unwrap();
        thread::sleep(Duration::from_millis(200));
        assert!(!mark.exists(), "it still writes");
    }
}
