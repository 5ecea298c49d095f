//! Files that a command goes on with where it was stopped: a note beside each says which call made it.

use super::output;
use crate::error::{Error, Result};
use crate::run::write_atomic;
use std::path::{Path, PathBuf};

/// Notes beside `out` what makes it, and refuses to go on with a file of another call: rows are known by their ids alone.
/// Both files come with the flags that name them; `key` stands for all that decides what is written.
///
/// # Errors
/// A file of another call or another program, or a note that cannot be written.
pub fn claim(
    (own, out): (&str, &Path),
    (flag, read): (&str, &Path),
    key: &str,
    command: &str,
) -> Result<()> {
    if output::is_same(out, read) {
        return Err(
            Error::user(format!("{} is the file that {flag} reads", out.display()))
                .hint(format!("name another file with `{own}`")),
        );
    }
    let note = note(out);
    if out.exists() && !note.exists() {
        let fact = format!(
            "{} is there already, and `{command}` did not write it",
            out.display()
        );
        return Err(Error::user(fact).hint(format!("name another file with `{own}`")));
    }
    let known = std::fs::read_to_string(&note).unwrap_or_default();
    if out.exists() && known.trim() != key {
        return Err(Error::user(format!(
            "{} was made by another call: another model, other prompts or other settings",
            out.display()
        ))
        .hint(format!(
            "give another {own}, or remove {} first",
            out.display()
        )));
    }
    write_atomic(&note, key.as_bytes())
}

/// Takes the note of a call back that failed before it wrote a row: the call that mends it need not be the same.
pub fn release(out: &Path) {
    let written = std::fs::metadata(out).is_ok_and(|facts| facts.len() > 0);
    if !written {
        // Nothing is lost if they stay: the next call says what is in its way.
        let _ = std::fs::remove_file(out);
        let _ = std::fs::remove_file(note(out));
    }
}

/// The file beside `out` that says which call made it.
fn note(out: &Path) -> PathBuf {
    let mut note = out.as_os_str().to_owned();
    note.push(".key");
    PathBuf::from(note)
}
