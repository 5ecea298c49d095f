//! ^C: the first asks the work to stop at the next safe point, the second ends the process at once.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether the user asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Asks the work to stop, as ^C does.
pub fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Takes the wish to stop back, and says whether there was one.
pub fn withdraw() -> bool {
    REQUESTED.swap(false, Ordering::Relaxed)
}

/// Listens to ^C (and SIGTERM). `first` and `second` tell the user what happens; after `second` the
/// process ends with 130.
///
/// # Errors
/// When the system refuses the handler.
pub fn listen(first: fn(), second: fn() -> !) -> Result<()> {
    ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            second();
        }
        first();
    })
    .map_err(|e| Error::internal(format!("cannot listen to ^C: {e}")))
}

/// The error of a stage that stopped at a safe point.
pub fn error(what: &str) -> Error {
    Error::interrupted(format!("{what}; everything up to here is saved"))
        .hint("run the same command again: it continues from here")
}
