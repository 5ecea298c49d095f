//! What ^C says and does, by the work that it stops.

use super::output;
use crate::error::{Error, Result};
use crate::run::interrupt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a command is at work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A run directory, which keeps checkpoints.
    Run,
    /// Rows of a file, or nothing that takes long.
    Rows,
    /// Numbers that are there in the end or not at all.
    Whole,
    /// A talk: there is a prompt to return to.
    Talk,
}

/// Whether a reply is being written.
static REPLYING: AtomicBool = AtomicBool::new(false);

/// Listens to ^C. Of a system that refuses it nothing is said but in the debug log: ^C then ends the process.
pub fn listen(work: Work) {
    let heard = match work {
        Work::Run => interrupt::listen(after_this_step, continues),
        Work::Rows => interrupt::listen(stopping, stopped),
        Work::Whole => interrupt::listen(at_once, stopped),
        Work::Talk => interrupt::listen(in_a_talk, stopped),
    };
    if let Err(error) = heard {
        tracing::debug!("{error}");
    }
}

/// Writes a reply. `None` when ^C ended it: the user is back at the prompt, and the next ^C is a first one.
///
/// # Errors
/// Whatever else ended it.
pub fn reply(write: impl FnOnce() -> Result<()>) -> Result<Option<()>> {
    REPLYING.store(true, Ordering::Relaxed);
    let written = write();
    REPLYING.store(false, Ordering::Relaxed);
    match interrupt::withdraw() && written.is_err() {
        true => Ok(None),
        false => written.map(Some),
    }
}

fn after_this_step() {
    output::note("\nstopping after this step; press ^C again to stop at once");
}

fn continues() -> ! {
    output::leave("\nstopped; the run continues from its last checkpoint with the same command")
}

fn stopping() {
    output::note("\nstopping; press ^C again to stop at once");
}

fn stopped() -> ! {
    output::leave("\nstopped")
}

/// Nothing is kept of the work, so there is nothing to finish first: a batch of it may take a minute.
fn at_once() {
    output::leave(&format!("error: {}", nothing_kept()))
}

/// What is said of a command that goes on nowhere.
pub fn nothing_kept() -> Error {
    Error::interrupted("stopped before the end; this command keeps nothing")
        .hint("run the same command again: it begins anew")
}

/// At the prompt nothing is under way that could stop: the talk ends. A reply ends by itself.
fn in_a_talk() {
    if !REPLYING.load(Ordering::Relaxed) {
        output::leave("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_else_ends_a_reply_is_an_error_and_a_whole_one_is_kept() {
        assert!(reply(|| Ok(())).unwrap().is_some());
        let error = reply(|| Err(Error::device("out of memory"))).unwrap_err();
        assert_eq!(error.message, "out of memory");
        assert!(!REPLYING.load(Ordering::Relaxed));
    }
}
