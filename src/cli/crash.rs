//! Panics as errors: what a driver cannot do ends in one, somewhere in Burn.

use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::sync::{Mutex, PoisonError};

/// What the last thread that panicked said, and where: earlier ones were devices that were tried and failed.
static SAID: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`; a panic in it becomes an error.
///
/// # Errors
/// That of the work, or what a panic comes to.
pub fn guard(work: impl FnOnce() -> Result<()>) -> Result<()> {
    set_hook(Box::new(remember));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).take();
        Err(explain(&said.unwrap_or_default()))
    })
}

fn remember(panic: &PanicHookInfo<'_>) {
    let words = panic.payload_as_str().unwrap_or("no words");
    let place = panic
        .location()
        .map_or(String::new(), |at| format!(" ({at})"));
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    *said = Some(format!("{words}{place}"));
}

/// What a panic's words mean to whoever typed the command.
fn explain(said: &str) -> Error {
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    // The last line of a chain of causes says what happened.
    let cause = || {
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut told = lines.filter(|line| !line.contains("backtrace") && *line != "Asked at:");
        told.next_back().unwrap_or_default().to_owned()
    };
    if any(&[
        "can't allocate",
        "out of memory",
        "OutOfMemory",
        "Not enough memory",
    ]) {
        return Error::device(format!("the device has not enough memory: {}", cause())).hint(
            "set gradient_checkpointing = true, and the same command goes on from the last checkpoint; a smaller \
             max_tokens_per_batch or an adapter ([..lora]) is another training: give it a name of its own (--set name=NAME)",
        );
    }
    if any(&[
        "device lost",
        "DeviceLost",
        "Device lost",
        "is lost",
        "wgpu error",
        "Error while reading data",
    ]) {
        return Error::device(format!("the device failed: {}", cause())).hint(
            format!(
                "`{}` goes on from the last checkpoint; if the device fails again, update its driver, or go on with `{}`",
                typed(None),
                typed(Some("cpu"))
            ),
        );
    }
    Error::internal(format!("duel has a defect: {said}")).hint(
        "please report it with the command; the same command goes on from the last checkpoint",
    )
}

/// The command that runs now, as a shell takes it, to go on with what it did: nothing is redone. On `backend` where it is given.
fn typed(backend: Option<&str>) -> String {
    resumed(std::env::args().skip(1), backend)
}

fn resumed(typed: impl Iterator<Item = String>, backend: Option<&str>) -> String {
    let mut words = vec!["duel".to_owned()];
    let mut typed = typed;
    while let Some(word) = typed.next() {
        let of_device = ["--backend", "--device"].iter().find_map(|flag| {
            let rest = word.strip_prefix(flag)?;
            (rest.is_empty() || rest.starts_with('=')).then_some(rest.is_empty())
        });
        match (of_device, backend) {
            (Some(apart), Some(_)) => {
                // Its value goes with it.
                if apart {
                    typed.next();
                }
            }
            _ if word == "--redo" => {}
            _ => words.push(shown(&word)),
        }
    }
    words.extend(backend.map(|backend| format!("--backend {backend}")));
    words.join(" ")
}

/// A word of a command; in quotes where it holds more than a name, a path or a setting does.
fn shown(word: &str) -> String {
    let plain = |sign: char| sign.is_alphanumeric() || "-_./=:@,+%".contains(sign);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_full_device_says_what_to_change_and_a_defect_that_it_is_one() {
        let full = "Error while reading data: An error happened\nCaused by:\n  An IO error happened\nCaused by:\n  can't \
                    allocate buffer of size: 208051776\nNo backtrace available\nAsked at:\nNo backtrace available";
        let error = explain(full);
        assert_eq!(error.kind, Kind::Device);
        assert_eq!(
            error.message,
            "the device has not enough memory: can't allocate buffer of size: 208051776"
        );
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.contains("max_tokens_per_batch"))
        );
        assert!(
            explain("wgpu error: Device lost")
                .hint
                .is_some_and(|hint| hint.contains("--backend cpu"))
        );
        let typed = [
            "dpo",
            "--redo",
            "--backend",
            "vulkan",
            "--set",
            "a.b=[1, 2]",
            "it's",
        ];
        let typed = |backend| resumed(typed.map(str::to_owned).into_iter(), backend);
        assert_eq!(
            typed(None),
            r"duel dpo --backend vulkan --set 'a.b=[1, 2]' 'it'\''s'"
        );
        assert_eq!(
            typed(Some("cpu")),
            r"duel dpo --set 'a.b=[1, 2]' 'it'\''s' --backend cpu"
        );
        assert!(
            explain("index out of bounds")
                .message
                .contains("a defect: index out of bounds")
        );
    }
}
