//! The words on the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

use crate::data::Report;
use crate::error::{Error, Result};
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Prints an error with its hint to stderr.
pub fn error(error: &Error) {
    eprintln!("error: {error}");
}

/// A line to stderr, for a person.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// What became of the rows of a file, and the first that were left out.
pub fn report(report: &Report) {
    note(&report.summary());
    for line in report.first_lines() {
        note(&format!("  {line}"));
    }
}

/// A question mark for somebody who types.
pub fn prompt(text: &str) {
    eprint!("{text}");
}

/// Refuses to write `out` where something would be lost: over the file that the command reads, ever; over another
/// file, unless `force`. What is no regular file (`/dev/stdout`) holds nothing.
///
/// # Errors
/// When the file is there.
pub fn check_free(out: &Path, read: &Path, force: bool) -> Result<()> {
    let place = |path: &Path| path.canonicalize().ok();
    let fact = match (place(out), place(read)) {
        _ if !out.is_file() => return Ok(()),
        (Some(out_at), Some(read_at)) if out_at == read_at => {
            let fact = format!("{} is the file that --data reads", out.display());
            return Err(Error::user(fact).hint("name another file with `--out`"));
        }
        _ if force => return Ok(()),
        _ => format!("{} is there already", out.display()),
    };
    Err(Error::user(fact)
        .hint("name another file with `--out`, or replace this one with `--force`"))
}

/// Text to stdout; a reader that went away (`| head`) is no error.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::internal(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

/// One line of JSON to stdout.
///
/// # Errors
/// When the value has no JSON form or stdout cannot be written.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::internal(format!("cannot write JSON: {e}")))?;
    print(&text)
}

/// A table with a header.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}

/// What the first ^C says.
pub fn stopping() {
    eprintln!("\nstopping after this step; press ^C again to stop at once");
}

/// What the second ^C does.
pub fn stop_now() -> ! {
    eprintln!("\nstopped; the run continues from its last checkpoint with the same command");
    std::process::exit(130)
}
