//! Programs that a model wrote, run apart from everything else. Only a build with the feature `code-execution` can, and only
//! where `--run-code` asks for it.
//!
//! What holds a program: an interpreter in isolated mode (`python3 -I`) in a process of its own, in an empty folder that is
//! removed afterwards, with an environment that has `PATH` and that folder as `HOME`; limits on processor time, memory, sizes and
//! numbers of open files; a wall-clock limit, after which its whole process group is killed. On Linux, where the system lets
//! a user make namespaces (`unshare`), also: no network, and a process table of its own, so that nothing it starts outlives it.
//!
//! What does not: it runs as the same user and reads, and outside of its folder writes, whatever that user may. Whoever runs
//! code of a model that they do not trust does so in a container or a virtual machine.

use crate::error::Result;

#[cfg(all(feature = "code-execution", unix))]
mod child;

/// Whether programs can be run, and a warning where they cannot be cut off from the network.
///
/// # Errors
/// A build without the feature, a system that is no Unix, no `python3`.
#[cfg(all(feature = "code-execution", unix))]
pub fn check() -> Result<()> {
    child::check()
}

/// Why no program can be run here.
///
/// # Errors
/// Ever: a build without the feature, or a system that is no Unix.
#[cfg(not(all(feature = "code-execution", unix)))]
pub fn check() -> Result<()> {
    use crate::error::Error;
    let fact = "to mark these answers is to run code of the model";
    Err(match cfg!(feature = "code-execution") {
        true => Error::user(format!(
            "{fact}, and duel does that on Linux and macOS only"
        ))
        .hint("mark them there: `--responses FILE` takes answers that were drawn here"),
        false => Error::user(format!("{fact}, and this duel was built without that"))
            .hint("cargo build --release --features code-execution"),
    })
}

/// Whether a Python program comes to its end: within the limits, without an error, and not by leaving early.
#[cfg(all(feature = "code-execution", unix))]
pub fn passes(program: &str) -> bool {
    child::run(program, child::WALL) == child::Ended::Passed
}

/// No program does where none is run: whoever marks has asked [`check`] first.
#[cfg(not(all(feature = "code-execution", unix)))]
pub fn passes(_program: &str) -> bool {
    false
}
