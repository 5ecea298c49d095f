//! Questions to an OpenAI-compatible endpoint: several at once, again where it fails in passing, and never twice for the same
//! question. The key is read from the environment and goes into a header, nowhere else.

use crate::error::{Error, Result};
use crate::recipe::RemoteJudge as Table;
use crate::run::{interrupt, user_cache};
use reqwest::blocking::{Client, Response};
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Where judgements come from.
pub struct Endpoint {
    client: Client,
    url: String,
    key: Option<Key>,
    /// What every question has beside itself.
    body: Value,
    attempts: usize,
    at_once: usize,
    /// Between the beginnings of two questions.
    spacing: Duration,
    next: Mutex<Instant>,
    cache: PathBuf,
}

/// Characters from which on a key is taken for a secret wherever it occurs.
const LEAST_SECRET: usize = 8;

/// An API key. It has no `Debug` and no way into a message.
struct Key(String);

impl Key {
    /// A text without it, for messages that quote what an endpoint says.
    fn out_of(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

/// Why a question has no answer yet.
enum Failure {
    /// It may well have one later: after so long, if the endpoint says it.
    Passing(String, Option<Duration>),
    /// Asking again will not help.
    Lasting(Error),
}

/// The first wait between two attempts; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// No wait is longer, whatever an endpoint asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A wait of which a person should hear.
const WORTH_SAYING: Duration = Duration::from_secs(5);

/// How often a wait looks whether ^C was pressed.
const GLANCE: Duration = Duration::from_millis(100);

impl Endpoint {
    /// From a table of a recipe.
    ///
    /// # Errors
    /// A key that is not in the environment.
    pub fn new(table: &Table) -> Result<Self> {
        let key = table.api_key_env.as_deref().map(|name| {
            // A key that was given for its variable's name is not repeated.
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(Error::user("`api_key_env` is not the name of a variable")
                    .hint("name the environment variable that holds the key, for example JUDGE_KEY"));
            }
            let value = std::env::var(name).ok().filter(|key| !key.is_empty());
            value.map(Key).ok_or_else(|| {
                Error::user(format!("the environment has no {name}, which is to hold the judge's API key"))
                    .hint(format!("export {name}=... in the shell that starts duel; a recipe never holds the key itself"))
            })
        });
        let client = Client::builder()
            .timeout(Duration::from_secs_f64(table.timeout_seconds))
            .build()
            .map_err(|error| Error::internal(format!("no HTTP client: {error}")))?;
        Ok(Self {
            client,
            url: format!("{}/chat/completions", table.base_url.trim_end_matches('/')),
            key: key.transpose()?,
            body: json!({
                "model": table.model,
                "temperature": table.temperature,
                "max_tokens": table.max_tokens,
            }),
            attempts: table.retries.saturating_add(1),
            at_once: table.concurrency,
            spacing: table.requests_per_minute.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(60.0 / rate as f64)
            }),
            next: Mutex::new(Instant::now()),
            cache: user_cache().join("duel").join("judgements"),
        })
    }

    /// The same with its replies kept elsewhere.
    #[cfg(test)]
    pub fn keeping_in(self, cache: &std::path::Path) -> Self {
        Self {
            cache: cache.to_owned(),
            ..self
        }
    }

    /// The replies to `questions`, in their order. Those that `says` something are kept; the others are asked for again when
    /// the question comes again.
    ///
    /// # Errors
    /// An endpoint that refuses, or does not answer a question in all attempts; ^C.
    pub fn ask(&self, questions: &[String], says: fn(&str) -> bool) -> Result<Vec<String>> {
        let replies: Vec<Mutex<Option<Result<String>>>> =
            questions.iter().map(|_| Mutex::new(None)).collect();
        let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..self.at_once.min(questions.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        // One failure ends them all: what has a reply is in the cache.
                        if at >= questions.len() || failed.load(Ordering::Relaxed) > 0 {
                            break;
                        }
                        let reply = self.one(&questions[at], says);
                        failed.fetch_add(usize::from(reply.is_err()), Ordering::Relaxed);
                        *replies[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
                    }
                });
            }
        });
        let replies = replies
            .into_iter()
            .filter_map(|reply| reply.into_inner().unwrap_or_else(PoisonError::into_inner));
        replies.collect()
    }

    /// The reply to one question: from the cache, or from the endpoint in one of several attempts.
    fn one(&self, question: &str, says: fn(&str) -> bool) -> Result<String> {
        let mut body = self.body.clone();
        body["messages"] = json!([{"role": "user", "content": question}]);
        let body = body.to_string();
        let place = self.place(&body);
        if let Ok(reply) = std::fs::read_to_string(&place) {
            return Ok(reply);
        }
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            self.take_turn()?;
            let (why, asked) = match self.attempt(&body) {
                Ok(reply) => {
                    if says(&reply) {
                        self.keep(&place, &reply);
                    }
                    return Ok(reply);
                }
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(why, asked)) => (why, asked),
            };
            if attempt >= self.attempts {
                return Err(Error::data(format!(
                    "{} has not answered in {attempt} of {attempt} attempts, at last so: {why}",
                    self.url
                ))
                .hint("try again later with the same command: what was answered is not asked again; or raise `retries` or `timeout_seconds` in a recipe"));
            }
            let pause = asked.unwrap_or(wait).min(LONGEST_WAIT);
            let seconds = pause.as_secs_f64();
            match pause >= WORTH_SAYING {
                true => tracing::warn!(
                    "judge: {why}; asked again in {seconds} s ({attempt} of {} attempts)",
                    self.attempts
                ),
                false => tracing::debug!("judge: {why}; asked again in {seconds} s"),
            }
            sleep(pause)?;
            wait = wait.saturating_mul(2);
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(&self, body: &str) -> std::result::Result<String, Failure> {
        let mut request = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .body(body.to_owned());
        if let Some(Key(key)) = &self.key {
            request = request.bearer_auth(key);
        }
        // Its text names the address; the key is in a header, which no error shows.
        let response = request
            .send()
            .map_err(|error| match error.is_builder() {
                true => Failure::Lasting(
                    Error::user(format!("{} cannot be asked: {}", self.url, whole(&error)))
                        .hint("check `base_url`, for example http://localhost:8000/v1, and that the key is one line"),
                ),
                false => Failure::Passing(whole(&error), None),
            })?;
        let status = response.status();
        let asked = retry_after(&response);
        let text = response
            .text()
            .map_err(|error| Failure::Passing(whole(&error), None))?;
        if status.is_success() {
            return self.content(&text);
        }
        let fact = format!("{status}: {}", self.shown(&text));
        match status.as_u16() {
            408 | 425 | 429 | 500..=599 => Err(Failure::Passing(fact, asked)),
            _ => Err(Failure::Lasting(
                Error::data(format!("{} refuses: {fact}", self.url)).hint(
                    "check `base_url` (it ends before /chat/completions), `model`, and the key that `api_key_env` names",
                ),
            )),
        }
    }

    /// What the model said.
    fn content(&self, text: &str) -> std::result::Result<String, Failure> {
        let reply: Value = serde_json::from_str(text).unwrap_or_default();
        match reply["choices"][0]["message"]["content"].as_str() {
            Some(content) => Ok(match &self.key {
                // A reply is kept and shown. A short key is a placeholder, and may stand in any text.
                Some(key) if key.0.len() >= LEAST_SECRET => key.out_of(content),
                _ => content.to_owned(),
            }),
            None => Err(Failure::Passing(
                format!(
                    "a reply without `choices[0].message.content`: {}",
                    self.shown(text)
                ),
                None,
            )),
        }
    }

    /// The beginning of what an endpoint said.
    pub(super) fn shown(&self, text: &str) -> String {
        let text = match &self.key {
            Some(key) => key.out_of(text),
            None => text.to_owned(),
        };
        text.trim().chars().take(200).collect()
    }

    /// Waits until another question may begin.
    fn take_turn(&self) -> Result<()> {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(now);
            *next = turn + self.spacing;
            turn
        };
        sleep(turn.saturating_duration_since(now))
    }

    /// The file for the reply to a question; the key is no part of it.
    fn place(&self, body: &str) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.url.as_bytes()).update(body.as_bytes());
        let name = hasher.finalize().to_hex();
        self.cache.join(&name[..2]).join(&name[2..])
    }

    /// Best effort: a reply that is not kept is asked for again.
    fn keep(&self, place: &std::path::Path, reply: &str) {
        let Some(folder) = place.parent() else { return };
        let kept = std::fs::create_dir_all(folder).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            std::io::Write::write_all(&mut file, reply.as_bytes())?;
            file.persist(place).map_err(|error| error.error)
        });
        if let Err(error) = kept {
            tracing::debug!("judge: a reply is not kept: {error}");
        }
    }
}

/// An error with what caused it.
fn whole(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text += &format!(": {deeper}");
        cause = deeper.source();
    }
    text
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: f64 = seconds.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Sleeps, unless ^C is pressed.
fn sleep(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        if interrupt::requested() {
            return Err(interrupt::error("stopped while judging"));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(GLANCE));
    }
}
